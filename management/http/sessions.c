/* SPDX-License-Identifier: Apache-2.0 */
#include "management/http/sessions.h"

#include <stdlib.h>

#include "base/alloc.h"

/* Both have RANDOM_NAME_SIZE - 1 characters, or are not the same. */
static bool
is_same_token(const char *token, const char *other)
{
    unsigned difference = 0;
    if (other == NULL || strlen(other) != RANDOM_NAME_SIZE - 1) {
        return false;
    }
    for (size_t i = 0; i < RANDOM_NAME_SIZE - 1; i++) {
        difference |= (unsigned)(token[i] ^ other[i]);
    }
    return difference == 0;
}

static void
end_at(struct sessions *sessions, uint32_t at)
{
    explicit_bzero(sessions->rows[at], sizeof(*sessions->rows[at]));
    free(sessions->rows[at]);
    sessions->rows[at] = sessions->rows[--sessions->count];
}

void
sessions_fini(struct sessions *sessions)
{
    while (sessions->count > 0) {
        end_at(sessions, sessions->count - 1);
    }
}

static void
end_idle(struct sessions *sessions, uint64_t now_ms)
{
    for (uint32_t i = sessions->count; i > 0; i--) {
        if (now_ms - sessions->rows[i - 1]->used_ms > SESSION_IDLE_MS) {
            end_at(sessions, i - 1);
        }
    }
}

/* Makes room where there are `max` of that user (NULL: of all). */
static void
make_room(struct sessions *sessions, const char *user, uint32_t max)
{
    uint32_t count = 0;
    uint32_t oldest = 0;
    for (uint32_t i = 0; i < sessions->count; i++) {
        const struct session *row = sessions->rows[i];
        if (user != NULL && strcmp(row->user.name, user) != 0) {
            continue;
        }
        oldest = count == 0 || row->used_ms < sessions->rows[oldest]->used_ms ? i : oldest;
        count++;
    }
    if (count >= max) {
        end_at(sessions, oldest);
    }
}

const struct session *
sessions_begin(struct sessions *sessions, const struct random_source *random,
               const struct call_user *user, uint64_t now_ms)
{
    end_idle(sessions, now_ms);
    make_room(sessions, user->name, SESSIONS_OF_USER_MAX);
    make_room(sessions, NULL, SESSIONS_MAX);
    struct session *session = xalloc(sizeof(*session));
    random_name(random, session->id);
    random_name(random, session->proof);
    session->user = *user;
    session->used_ms = now_ms;
    sessions->rows[sessions->count++] = session;
    return session;
}

static struct session *
find(struct sessions *sessions, const char *id, uint64_t now_ms)
{
    end_idle(sessions, now_ms);
    for (uint32_t i = 0; i < sessions->count; i++) {
        if (is_same_token(sessions->rows[i]->id, id)) {
            return sessions->rows[i];
        }
    }
    return NULL;
}

const struct session *
sessions_find(struct sessions *sessions, const char *id, uint64_t now_ms)
{
    return find(sessions, id, now_ms);
}

const struct session *
sessions_use(struct sessions *sessions, const char *id, uint64_t now_ms)
{
    struct session *session = find(sessions, id, now_ms);
    if (session != NULL) {
        session->used_ms = now_ms;
    }
    return session;
}

void
sessions_end(struct sessions *sessions, const char *id)
{
    for (uint32_t i = 0; i < sessions->count; i++) {
        if (is_same_token(sessions->rows[i]->id, id)) {
            end_at(sessions, i);
            return;
        }
    }
}

bool
session_is_proven(const struct session *session, const char *proof)
{
    return is_same_token(session->proof, proof);
}
