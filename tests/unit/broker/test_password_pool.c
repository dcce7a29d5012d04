/* SPDX-License-Identifier: Apache-2.0 */
/* The two password threads: real threads and real hashes, waited for through the descriptor. */
#include "broker/password_pool.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <poll.h>
#include <stdio.h>

#include "broker/connections/connection.h"
#include "broker/passwords/password.h"
#include "broker/users/new_password.h"
#include "broker/users/user.h"
#include "tests/unit/broker/core_harness.h"

enum { PATIENCE_MS = 30000 }; /* for verdicts under sanitizers on a busy machine */

/* RabbitMQ's form of the password "secret" under SHA-256: quick to check. */
static const char QUICK_HASH[] = "AQIDBDB9kM21iEUzN1lZ+6VReCsdNqS0sERdAQTcY6Xs3PMz";

static struct rig *rig; /* its core starts checks at the pool, not at the rig */
static struct password_pool *pool;

static void
set_up(void)
{
    rig = rig_new(NULL);
    pool = password_pool_new();
    cr_assert(ne(ptr, pool, NULL));
    rig->core->ports.password = password_pool_port(pool);
}

static void
tear_down(void)
{
    password_pool_free(&pool);
    rig_free(&rig);
}

TestSuite(password_pool, .init = set_up, .fini = tear_down);

static void
wait_for_verdict(void)
{
    struct pollfd descriptor = {.fd = password_pool_fd(pool), .events = POLLIN};
    cr_assert(eq(int, poll(&descriptor, 1, PATIENCE_MS), 1), "a verdict comes");
    password_pool_collect(pool, rig->core);
}

static void
put_user(const char *name, const char *hash)
{
    struct config_user user = rig_user(name, hash);
    rig_put_user(rig, &user);
}

static uint64_t
start_login(const char *user, const char *password)
{
    uint64_t link = rig_open(rig);
    (void)rig_expect(rig, link, 0, METHOD_CONNECTION_START);
    rig_start_plain(rig, link, user, password);
    return link;
}

Test(password_pool, a_right_password_is_verified_by_its_slow_hash)
{
    char hash[PASSWORD_HASH_SIZE];
    cr_assert(
        eq(int, password_hash(bytes_of("secret"), &rig->core->ports.random, hash), STATUS_OK));
    put_user("alice", hash);
    uint64_t link = start_login("alice", "secret");
    rig_expect_nothing(rig, link);
    wait_for_verdict();
    (void)rig_expect(rig, link, 0, METHOD_CONNECTION_TUNE);
}

/* The quick hash says no, then the slow one that nobody passes takes its time. */
Test(password_pool, a_wrong_password_is_refused_after_a_slow_check)
{
    put_user("alice", QUICK_HASH);
    uint64_t right = start_login("alice", "secret");
    wait_for_verdict();
    (void)rig_expect(rig, right, 0, METHOD_CONNECTION_TUNE);
    uint64_t wrong = start_login("alice", "Secret");
    wait_for_verdict();
    rig_expect_nothing(rig, wrong);
    wait_for_verdict();
    (void)rig_expect(rig, wrong, 0, METHOD_CONNECTION_CLOSE);
}

/* A new password's hash is one that the password matches, and no other. */
Test(password_pool, a_new_password_is_hashed_beside_the_core)
{
    struct new_password password = {.id = 0};
    cr_assert(new_password_begin(&password, rig->core, bytes_of("secret")));
    cr_expect(not(password.is_done));
    wait_for_verdict();
    cr_assert(password.is_done);
    cr_expect(eq(int, password_verify(bytes_of("secret"), password.hash), STATUS_OK));
    cr_expect(eq(int, password_verify(bytes_of("Secret"), password.hash), STATUS_REJECTED));
}

/* The login is wiped as soon as its connection goes; the check goes on with what it was given. */
Test(password_pool, what_is_checked_was_copied)
{
    put_user("alice", QUICK_HASH);
    rig_hang_up(rig, start_login("alice", "secret"));
    wait_for_verdict();
    uint64_t link = start_login("alice", "secret");
    (void)rig_expect(rig, link, 0, METHOD_CONNECTION_TUNE);
}

/* Two run, 64 wait, and whoever comes then is told so. */
Test(password_pool, more_than_64_waiting_are_told_that_there_is_no_room)
{
    struct password_port port = password_pool_port(pool);
    size_t taken = 0;
    enum status status = STATUS_OK;
    while (taken < 200 && status == STATUS_OK) {
        status = port.check(port.context, 1000 + taken, bytes_of("guess"), password_hash_nobody);
        taken += status == STATUS_OK ? 1 : 0;
    }
    cr_assert(eq(int, status, STATUS_FULL));
    cr_expect(ge(sz, taken, PASSWORD_WAITING_MAX));
    /* As many more as were finished while the loop ran; each takes the better part of a second. */
    cr_expect(le(sz, taken, PASSWORD_WAITING_MAX + 4 * PASSWORD_THREADS));
}

/* Nobody waits for checks whose broker is gone: only those under way are finished. */
Test(password_pool, freeing_drops_what_waits)
{
    struct password_port port = password_pool_port(pool);
    for (uint64_t id = 1; id <= 20; id++) {
        cr_assert(eq(int, port.check(port.context, id, bytes_of("guess"), password_hash_nobody),
                     STATUS_OK));
    }
    password_pool_free(&pool);
    cr_expect(eq(ptr, pool, NULL));
    password_pool_free(&pool);
}

/* Many verdicts may wait behind one wake-up, and none is lost. */
Test(password_pool, every_login_hears_its_own_verdict)
{
    enum { USERS = 40 };
    uint64_t links[USERS];
    for (int i = 0; i < USERS; i++) {
        char name[32];
        (void)snprintf(name, sizeof(name), "user%d", i);
        put_user(name, QUICK_HASH);
        links[i] = start_login(name, "secret");
    }
    while (rig->core->counters.logins_succeeded < USERS) {
        wait_for_verdict();
    }
    for (int i = 0; i < USERS; i++) {
        (void)rig_expect(rig, links[i], 0, METHOD_CONNECTION_TUNE);
    }
}
