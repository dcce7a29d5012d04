/* SPDX-License-Identifier: Apache-2.0 */
/* Who has signed in to the web console. A session is known by 128 random bits in a cookie and
 * proves itself by another 128 in a header of whatever changes something, which a page of another
 * site cannot know. It holds no password, but which version of which user signed in: it ends when
 * that user is changed or deleted (management/http/admission.c), after eight hours without a
 * request, and when there are too many: the one that was idle for longest goes.
 *
 * Owner: the admin thread. */
#ifndef BOURSE_MANAGEMENT_HTTP_SESSIONS_H
#define BOURSE_MANAGEMENT_HTTP_SESSIONS_H

#include "base/random.h"
#include "management/http/call.h"

enum { SESSIONS_MAX = 256, SESSIONS_OF_USER_MAX = 16, SESSION_IDLE_MS = 8 * 3600 * 1000 };

struct session {
    char id[RANDOM_NAME_SIZE];    /* in the cookie */
    char proof[RANDOM_NAME_SIZE]; /* in X-Bourse-CSRF */
    struct call_user user;
    uint64_t used_ms; /* the last request of it, monotonic */
};

struct sessions {
    struct session *rows[SESSIONS_MAX]; /* owned, without gaps */
    uint32_t count;
};

void sessions_fini(struct sessions *sessions);

/* A new one for who has just proven to be that user. Valid until the next call but one. */
const struct session *sessions_begin(struct sessions *sessions, const struct random_source *random,
                                     const struct call_user *user, uint64_t now_ms);

/* The session of that name; NULL: there is none (any more). */
const struct session *sessions_find(struct sessions *sessions, const char *id, uint64_t now_ms);
/* The same, and it was used just now. */
const struct session *sessions_use(struct sessions *sessions, const char *id, uint64_t now_ms);

void sessions_end(struct sessions *sessions, const char *id);

/* Whether that is the session's proof; takes as long whatever is wrong with it. */
bool session_is_proven(const struct session *session, const char *proof);

#endif
