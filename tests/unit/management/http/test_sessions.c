/* SPDX-License-Identifier: Apache-2.0 */
/* Sessions of the web console. */
#include "management/http/sessions.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <stdio.h>
#include <string.h>

static struct sessions sessions;
static struct random_source dice;
static uint64_t seed;

static void
set_up(void)
{
    memset(&sessions, 0, sizeof(sessions));
    seed = 7;
    dice = random_seeded(&seed);
}

static void
tear_down(void)
{
    sessions_fini(&sessions);
}

TestSuite(sessions, .init = set_up, .fini = tear_down);

/* Signs somebody in; the id lives in `id_out`. */
static void
sign_in(const char *name, uint64_t now_ms, char id_out[static RANDOM_NAME_SIZE])
{
    struct call_user user = {.id = 1, .version = 1};
    (void)snprintf(user.name, sizeof(user.name), "%s", name);
    const struct session *session = sessions_begin(&sessions, &dice, &user, now_ms);
    memcpy(id_out, session->id, RANDOM_NAME_SIZE);
}

Test(sessions, one_is_found_by_its_id_and_by_nothing_else)
{
    char id[RANDOM_NAME_SIZE];
    char other[RANDOM_NAME_SIZE];
    sign_in("ann", 0, id);
    cr_assert(ne(ptr, (void *)sessions_find(&sessions, id, 0), NULL));
    memcpy(other, id, sizeof(other));
    other[3] = other[3] == 'x' ? 'y' : 'x';
    cr_expect(eq(ptr, (void *)sessions_find(&sessions, other, 0), NULL));
    cr_expect(eq(ptr, (void *)sessions_find(&sessions, "", 0), NULL));
}

Test(sessions, a_proof_is_not_the_id_and_belongs_to_one_session)
{
    char ann[RANDOM_NAME_SIZE];
    char bob[RANDOM_NAME_SIZE];
    sign_in("ann", 0, ann);
    sign_in("bob", 0, bob);
    const struct session *of_ann = sessions_find(&sessions, ann, 0);
    const struct session *of_bob = sessions_find(&sessions, bob, 0);
    cr_expect(session_is_proven(of_ann, of_ann->proof));
    cr_expect(not(session_is_proven(of_ann, of_bob->proof)));
    cr_expect(not(session_is_proven(of_ann, of_ann->id)));
    cr_expect(not(session_is_proven(of_ann, NULL)));
    cr_expect(not(session_is_proven(of_ann, "")));
}

/* Eight hours after the last use, however long ago it began. Being looked up by a stream is no use.
 */
Test(sessions, one_ends_when_it_was_idle_for_too_long)
{
    char id[RANDOM_NAME_SIZE];
    sign_in("ann", 0, id);
    cr_assert(ne(ptr, (void *)sessions_use(&sessions, id, SESSION_IDLE_MS), NULL));
    cr_assert(ne(ptr, (void *)sessions_find(&sessions, id, UINT64_C(2) * SESSION_IDLE_MS), NULL));
    cr_expect(
        eq(ptr, (void *)sessions_find(&sessions, id, UINT64_C(2) * SESSION_IDLE_MS + 1), NULL));
    cr_expect(eq(u32, sessions.count, 0));
}

Test(sessions, of_too_many_of_a_user_the_one_that_was_idle_for_longest_ends)
{
    char first[RANDOM_NAME_SIZE];
    char second[RANDOM_NAME_SIZE];
    char other[RANDOM_NAME_SIZE];
    char id[RANDOM_NAME_SIZE];
    sign_in("bob", 0, other);
    sign_in("ann", 1, first);
    sign_in("ann", 2, second);
    (void)sessions_use(&sessions, first, 3);
    for (uint64_t i = 2; i <= SESSIONS_OF_USER_MAX; i++) {
        sign_in("ann", 4 + i, id);
    }
    cr_expect(eq(ptr, (void *)sessions_find(&sessions, second, 100), NULL));
    cr_expect(ne(ptr, (void *)sessions_find(&sessions, first, 100), NULL));
    cr_expect(ne(ptr, (void *)sessions_find(&sessions, other, 100), NULL));
}

Test(sessions, there_are_never_more_than_the_limit)
{
    char id[RANDOM_NAME_SIZE];
    char name[32];
    for (int i = 0; i < SESSIONS_MAX + 20; i++) {
        (void)snprintf(name, sizeof(name), "user%d", i);
        sign_in(name, (uint64_t)i, id);
    }
    cr_expect(eq(u32, sessions.count, SESSIONS_MAX));
    cr_expect(ne(ptr, (void *)sessions_find(&sessions, id, 1000), NULL));
}

Test(sessions, one_that_was_ended_is_gone)
{
    char id[RANDOM_NAME_SIZE];
    sign_in("ann", 0, id);
    sessions_end(&sessions, id);
    sessions_end(&sessions, id);
    cr_expect(eq(ptr, (void *)sessions_find(&sessions, id, 0), NULL));
}
