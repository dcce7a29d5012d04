/* SPDX-License-Identifier: Apache-2.0 */
/* Logins: what a response may look like, that a refusal tells nothing, and what a check costs. */
#include "broker/connections/login.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <stdio.h>

#include "amqp/reply.h"
#include "amqp/table.h"
#include "broker/passwords/password.h"
#include "tests/unit/broker/core_harness.h"

#define REFUSED(mechanism)                                                                         \
    "Login was refused using authentication mechanism " mechanism                                  \
    ". For details see the broker logfile."

static struct rig *rig;

static void
set_up(void)
{
    rig = rig_new(NULL);
    rig_add_user(rig, "alice", "secret");
}

static void
tear_down(void)
{
    rig_free(&rig);
}

TestSuite(login, .init = set_up, .fini = tear_down);

static uint64_t
open_started(const struct net_peer *peer)
{
    uint64_t link = rig_open_as(rig, peer);
    (void)rig_expect(rig, link, 0, METHOD_CONNECTION_START);
    return link;
}

static uint64_t
open_local(void)
{
    struct net_peer peer = rig_local_peer();
    return open_started(&peer);
}

/* A peer that no other test row comes from, so that no failure slows the next. */
static uint64_t
open_from(unsigned number)
{
    char address[NET_ADDRESS_SIZE];
    (void)snprintf(address, sizeof(address), "192.0.2.%u", number);
    struct net_peer peer = rig_remote_peer(address);
    return open_started(&peer);
}

static struct net_peer
certificate_peer(const char *user)
{
    struct net_peer peer = rig_remote_peer("192.0.2.99");
    peer.is_tls = true;
    peer.has_certificate = true;
    (void)snprintf(peer.user, sizeof(peer.user), "%s", user);
    return peer;
}

static void
put_secret_user(const char *name, const char *secret)
{
    struct config_user user = rig_user(name, NULL);
    user.password = secret;
    rig_put_user(rig, &user);
}

/* Responses ------------------------------------------------------------------------------------
 */

/* RFC 4616 without its authorisation id: NUL user NUL password. */
Test(login, plain_is_a_user_and_a_password_behind_a_nul_each)
{
    static const struct {
        const char *octets;
        size_t size;
        bool is_wellformed;
    } rows[] = {
        {"\0alice\0secret", 13, true},
        {"\0alice\0", 7, true}, /* well-formed; the password is wrong */
        {"\0\0", 2, true},
        {"", 0, false},
        {"\0", 1, false},
        {"alice", 5, false},
        {"\0alice", 6, false},
        {"alice\0secret", 12, false},
        {"admin\0alice\0secret", 18, false},
        {"\0alice\0secret\0", 14, false},
        {"\0alice\0sec\0ret", 14, false},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        uint64_t link = open_from((unsigned)i);
        rig_start_ok(rig, link, "PLAIN", bytes_make(rows[i].octets, rows[i].size), true);
        if (!rows[i].is_wellformed) {
            rig_expect_close(rig, link, REPLY_SYNTAX_ERROR,
                             "response of authentication mechanism PLAIN is invalid");
            continue;
        }
        rig_step(rig, 30000); /* alice's own record of failures */
        enum method_id answer = rig_next(rig, link)->method.id;
        cr_expect(eq(int, answer, i == 0 ? METHOD_CONNECTION_TUNE : METHOD_CONNECTION_CLOSE),
                  "row %zu", i);
    }
}

/* A name or password that no check is worth. */
Test(login, a_response_that_is_too_long_is_502)
{
    char response[2 + 2000] = {0};
    uint64_t link = open_local();
    memset(response + 1, 'a', 256); /* the user's name */
    rig_start_ok(rig, link, "PLAIN", bytes_make(response, 300), true);
    rig_expect_close(rig, link, REPLY_SYNTAX_ERROR,
                     "response of authentication mechanism PLAIN is invalid");
    uint64_t other = open_local();
    memset(response, 0, sizeof(response));
    memcpy(response + 1, "alice", 5);
    memset(response + 7, 'p', 1025);
    rig_start_ok(rig, other, "PLAIN", bytes_make(response, 7 + 1025), true);
    rig_expect_close(rig, other, REPLY_SYNTAX_ERROR,
                     "response of authentication mechanism PLAIN is invalid");
    cr_expect(eq(sz, rig->checks_started, 0));
}

static void
put_amqplain(struct buffer *response, const char *user, char type, const char *password)
{
    table_put_text(response, "LOGIN", bytes_of(user));
    struct table_value value = {.type = (uint8_t)type, .raw = bytes_of(password)};
    table_put_value(response, bytes_of("PASSWORD"), &value);
}

/* The body of a table; libraries write the password as a string or as bytes. */
Test(login, amqplain_takes_strings_and_bytes)
{
    static const char types[] = {'S', 'x'};
    for (size_t i = 0; i < sizeof(types); i++) {
        struct buffer response;
        buffer_init(&response);
        put_amqplain(&response, "alice", types[i], "secret");
        uint64_t link = open_local();
        rig_start_ok(rig, link, "AMQPLAIN", buffer_bytes(&response), true);
        (void)rig_expect(rig, link, 0, METHOD_CONNECTION_TUNE);
        buffer_fini(&response);
    }
}

Test(login, amqplain_that_is_no_such_table_is_502)
{
    enum { EMPTY, NO_PASSWORD, NO_LOGIN, NUMBER, CUT, NOT_A_TABLE, CASE_COUNT };
    for (int i = 0; i < CASE_COUNT; i++) {
        struct buffer response;
        buffer_init(&response);
        if (i == NO_PASSWORD || i == NUMBER) {
            table_put_text(&response, "LOGIN", bytes_of("alice"));
        }
        if (i == NO_LOGIN) {
            table_put_text(&response, "PASSWORD", bytes_of("secret"));
        }
        if (i == NUMBER) {
            table_put_integer(&response, "PASSWORD", 1);
        }
        if (i == CUT) {
            put_amqplain(&response, "alice", 'S', "secret");
            response.end--;
        }
        if (i == NOT_A_TABLE) {
            buffer_put(&response, "\0alice\0secret", 13);
        }
        uint64_t link = open_local();
        rig_start_ok(rig, link, "AMQPLAIN", buffer_bytes(&response), true);
        rig_expect_close(rig, link, REPLY_SYNTAX_ERROR,
                         "response of authentication mechanism AMQPLAIN is invalid");
        buffer_fini(&response);
    }
    cr_expect(eq(sz, rig->checks_started, 0));
}

Test(login, a_mechanism_that_was_not_offered_is_503)
{
    static const struct {
        const char *mechanism;
        const char *text;
    } rows[] = {
        {"ANONYMOUS", "unknown authentication mechanism 'ANONYMOUS'"},
        {"plain", "unknown authentication mechanism 'plain'"},
        {"", "unknown authentication mechanism ''"},
        {"PLAIN ", "unknown authentication mechanism 'PLAIN '"},
        {"EXTERNAL", "invalid authentication mechanism 'EXTERNAL'"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        uint64_t link = open_local();
        rig_start_ok(rig, link, rows[i].mechanism, bytes_make("\0alice\0secret", 13), i % 2 == 0);
        rig_expect_close(rig, link, REPLY_COMMAND_INVALID, rows[i].text);
    }
}

/* Refusals -------------------------------------------------------------------------------------
 */

static void
refuse_with_capability(uint64_t link, const char *user, const char *password)
{
    size_t before = rig->checks_started;
    rig_start_plain(rig, link, user, password);
    rig_expect_close(rig, link, REPLY_ACCESS_REFUSED, REFUSED("PLAIN"));
    cr_expect(eq(sz, rig->checks_started - before, 1), "%s costs one check", user);
}

/* Nobody learns from the answer, or from what it costs, which users exist and what is wrong. */
Test(login, every_refusal_looks_the_same_and_costs_one_slow_check)
{
    struct config_user certified = rig_user("service", NULL);
    certified.auth = AUTH_CERTIFICATE;
    rig_put_user(rig, &certified);
    put_secret_user("robot", "clear");
    char hash[RIG_HASH_SIZE];
    struct config_user guest = rig_user("guest", rig_slow_hash("guest", hash));
    guest.loopback_only = true;
    rig_put_user(rig, &guest);
    rig_add_user(rig, "gone", "secret");
    core_find_user(rig->core, bytes_of("gone"))->is_disabled = true;
    struct config_user passwordless = rig_user("nothing", NULL);
    rig_put_user(rig, &passwordless);

    static const struct {
        const char *user, *password;
    } rows[] = {
        {"nobody", "secret"}, {"alice", "wrong"}, {"alice", ""},
        {"gone", "secret"},   {"service", ""},    {"robot", "wrong"},
        {"guest", "guest"},   {"nothing", ""},    {"", ""},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        refuse_with_capability(open_from((unsigned)i), rows[i].user, rows[i].password);
        rig_step(rig, 30000);
    }
    cr_expect(eq(u64, rig->core->counters.logins_failed, sizeof(rows) / sizeof(rows[0])));
}

/* Imported hashes are quick to check: what is missing to a slow one is spent on one. */
Test(login, a_quick_hash_that_says_no_is_followed_by_a_slow_check)
{
    char hash[RIG_HASH_SIZE];
    struct config_user imported = rig_user("imported", rig_fast_hash("secret", hash));
    rig_put_user(rig, &imported);
    uint64_t right = open_from(1);
    rig_start_plain(rig, right, "imported", "secret");
    (void)rig_expect(rig, right, 0, METHOD_CONNECTION_TUNE);
    cr_expect(eq(sz, rig->checks_started, 1));

    rig->keeps_verdicts = true;
    uint64_t wrong = open_from(2);
    rig_start_plain(rig, wrong, "imported", "wrong");
    rig_verdict(rig);
    rig_turn(rig);
    rig_expect_nothing(rig, wrong);
    cr_expect(eq(sz, rig->check_count, 1), "the slow one is under way");
    rig_verdict(rig);
    rig_expect_close(rig, wrong, REPLY_ACCESS_REFUSED, REFUSED("PLAIN"));
    cr_expect(eq(sz, rig->checks_started, 3));
}

Test(login, a_loopback_only_user_gets_in_from_loopback)
{
    char hash[RIG_HASH_SIZE];
    struct config_user guest = rig_user("guest", rig_slow_hash("guest", hash));
    guest.loopback_only = true;
    rig_put_user(rig, &guest);
    uint64_t link = open_local();
    rig_start_plain(rig, link, "guest", "guest");
    (void)rig_expect(rig, link, 0, METHOD_CONNECTION_TUNE);
}

/* The right password from the wrong place must not spoil the right one from the right place, nor
 * be let in by it: neither as long as both are being checked, nor when one is remembered. */
Test(login, equal_logins_from_inside_and_outside_do_not_share_a_verdict)
{
    char hash[RIG_HASH_SIZE];
    struct config_user guest = rig_user("guest", rig_slow_hash("guest", hash));
    guest.loopback_only = true;
    rig_put_user(rig, &guest);
    rig->keeps_verdicts = true;
    uint64_t outside = open_from(1);
    rig_start_plain(rig, outside, "guest", "guest");
    uint64_t inside = open_local();
    rig_start_plain(rig, inside, "guest", "guest");
    rig->keeps_verdicts = false;
    rig_turn(rig);
    rig_expect_close(rig, outside, REPLY_ACCESS_REFUSED, REFUSED("PLAIN"));
    (void)rig_expect(rig, inside, 0, METHOD_CONNECTION_TUNE);
    rig_step(rig, 250);
    uint64_t again = open_from(2);
    rig_start_plain(rig, again, "guest", "guest");
    rig_expect_close(rig, again, REPLY_ACCESS_REFUSED, REFUSED("PLAIN"));
}

/* A client that cannot hear why is closed without a word, and not at once. */
Test(login, without_the_capability_a_refusal_is_a_silent_close_after_three_seconds)
{
    uint64_t link = open_local();
    rig_start_ok(rig, link, "PLAIN", bytes_make("\0alice\0wrong", 12), false);
    rig_expect_nothing(rig, link);
    cr_expect(rig_link(rig, link)->is_paused, "nothing it says is read meanwhile");
    rig_step(rig, 2999);
    cr_expect(not(rig_is_closed(rig, link)));
    rig_step(rig, 1 + TIMER_STEP_MS);
    cr_expect(rig_is_closed(rig, link));
    rig_expect_nothing(rig, link);
}

Test(login, a_refusal_is_logged_without_the_password)
{
    uint64_t link = open_local();
    rig_start_plain(rig, link, "ali\nce", "canary");
    cr_expect(rig_logged(rig, "login.refused"));
    cr_expect(rig_logged(rig, "user=\"ali\\nce\" mechanism=PLAIN"));
    cr_expect(not(rig_logged(rig, "canary")));
}

/* EXTERNAL -------------------------------------------------------------------------------------
 */

/* The name comes from the certificate, whatever the response says. */
Test(login, external_logs_in_who_the_certificate_names)
{
    struct config_user certified = rig_user("service", NULL);
    certified.auth = AUTH_CERTIFICATE;
    rig_put_user(rig, &certified);
    static const char *const responses[] = {"", "alice"};
    for (size_t i = 0; i < 2; i++) {
        struct net_peer peer = certificate_peer("service");
        uint64_t link = open_started(&peer);
        rig_start_ok(rig, link, "EXTERNAL", bytes_of(responses[i]), true);
        (void)rig_expect(rig, link, 0, METHOD_CONNECTION_TUNE);
        cr_expect(bytes_equal_text(core_find_connection(rig->core, link)->user->name, "service"));
    }
    cr_expect(eq(sz, rig->checks_started, 0), "a certificate is not guessed");
}

Test(login, external_refuses_whom_the_certificate_does_not_make_a_user)
{
    struct config_user certified = rig_user("service", NULL);
    certified.auth = AUTH_CERTIFICATE;
    rig_put_user(rig, &certified);
    certified.name = bytes_of("gone");
    rig_put_user(rig, &certified);
    core_find_user(rig->core, bytes_of("gone"))->is_disabled = true;
    certified.name = bytes_of("local");
    certified.loopback_only = true;
    rig_put_user(rig, &certified);
    static const struct {
        const char *user;
        bool has_certificate;
    } rows[] = {
        {"", true},     {"nobody", true}, {"alice", true}, /* logs in by password */
        {"gone", true}, {"local", true},  {"service", false},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct net_peer peer = certificate_peer(rows[i].user);
        peer.has_certificate = rows[i].has_certificate;
        uint64_t link = open_started(&peer);
        rig_start_ok(rig, link, "EXTERNAL", bytes_of("service"), true);
        rig_expect_close(rig, link, REPLY_ACCESS_REFUSED, REFUSED("EXTERNAL"));
    }
}

Test(login, external_without_the_capability_is_closed_silently_too)
{
    struct net_peer peer = certificate_peer("nobody");
    uint64_t link = open_started(&peer);
    rig_start_ok(rig, link, "EXTERNAL", bytes_of(""), false);
    rig_expect_nothing(rig, link);
    rig_step(rig, 3000 + TIMER_STEP_MS);
    cr_expect(rig_is_closed(rig, link));
}

/* What a check costs ---------------------------------------------------------------------------
 */

/* A fleet that reconnects at once costs one hash. */
Test(login, equal_logins_share_one_check)
{
    enum { FLEET = 50 };
    rig->keeps_verdicts = true;
    uint64_t links[FLEET];
    for (unsigned i = 0; i < FLEET; i++) {
        links[i] = open_from(i);
        rig_start_plain(rig, links[i], "alice", "secret");
        cr_expect(rig_link(rig, links[i])->is_paused, "unread until the verdict");
    }
    cr_assert(eq(sz, rig->checks_started, 1));
    rig_verdict(rig);
    for (unsigned i = 0; i < FLEET; i++) {
        (void)rig_expect(rig, links[i], 0, METHOD_CONNECTION_TUNE);
        cr_expect(not(rig_link(rig, links[i])->is_paused));
    }
}

Test(login, logins_that_differ_do_not_share_a_check)
{
    rig_add_user(rig, "bob", "secret");
    rig->keeps_verdicts = true;
    uint64_t first = open_from(1);
    rig_start_plain(rig, first, "alice", "secret");
    uint64_t second = open_from(2);
    rig_start_plain(rig, second, "bob", "secret");
    uint64_t third = open_from(3);
    rig_start_plain(rig, third, "alice", "wrong");
    cr_expect(eq(sz, rig->checks_started, 3));
}

Test(login, a_verified_credential_is_taken_for_60_seconds)
{
    (void)rig_connect(rig, "alice", "secret");
    cr_assert(eq(sz, rig->checks_started, 1));
    rig_step(rig, 59999);
    (void)rig_connect(rig, "alice", "secret");
    cr_expect(eq(sz, rig->checks_started, 1));
    rig_step(rig, 1);
    (void)rig_connect(rig, "alice", "secret");
    cr_expect(eq(sz, rig->checks_started, 2), "60 s count from the check, not from the last use");
}

Test(login, a_refused_credential_is_not_remembered)
{
    for (unsigned i = 0; i < 2; i++) {
        refuse_with_capability(open_from(i), "alice", "wrong");
        rig_step(rig, 30000);
    }
}

/* A changed password is a new question. */
Test(login, a_changed_password_ends_what_was_remembered)
{
    (void)rig_connect(rig, "alice", "secret");
    rig_add_user(rig, "alice", "other");
    uint64_t link = open_local();
    rig_start_plain(rig, link, "alice", "secret");
    rig_expect_close(rig, link, REPLY_ACCESS_REFUSED, REFUSED("PLAIN"));
    rig_step(rig, 250);
    (void)rig_connect(rig, "alice", "other");
}

/* Nor does the old one get in because its check was under way when it changed. */
Test(login, a_password_that_changes_during_its_check_is_checked_again)
{
    rig->keeps_verdicts = true;
    uint64_t link = open_local();
    rig_start_plain(rig, link, "alice", "secret");
    rig_add_user(rig, "alice", "other");
    rig->keeps_verdicts = false;
    rig_turn(rig);
    rig_expect_close(rig, link, REPLY_ACCESS_REFUSED, REFUSED("PLAIN"));
}

Test(login, a_user_disabled_during_the_check_is_refused)
{
    rig->keeps_verdicts = true;
    uint64_t link = open_local();
    rig_start_plain(rig, link, "alice", "secret");
    core_find_user(rig->core, bytes_of("alice"))->is_disabled = true;
    rig_verdict(rig);
    rig_expect_close(rig, link, REPLY_ACCESS_REFUSED, REFUSED("PLAIN"));
}

/* A secret in clear text is compared, not hashed. */
Test(login, a_secret_from_a_file_needs_no_slow_check)
{
    put_secret_user("robot", "clear");
    (void)rig_connect(rig, "robot", "clear");
    cr_expect(eq(sz, rig->checks_started, 0));
    put_secret_user("robot", "changed");
    uint64_t link = open_local();
    rig_start_plain(rig, link, "robot", "clear");
    rig_expect_close(rig, link, REPLY_ACCESS_REFUSED, REFUSED("PLAIN"));
}

static void
start_guess(uint64_t link, unsigned number)
{
    char password[32];
    (void)snprintf(password, sizeof(password), "guess%u", number);
    char user[32];
    (void)snprintf(user, sizeof(user), "user%u", number);
    rig_start_plain(rig, link, user, password);
}

/* Whoever finds the password threads busy waits; nobody is refused unchecked. */
Test(login, logins_beyond_64_wait_for_a_verdict)
{
    rig->keeps_verdicts = true;
    for (unsigned i = 0; i < 64; i++) {
        start_guess(open_from(i), i);
    }
    cr_assert(eq(sz, rig->check_count, 64));
    uint64_t waiting[3];
    for (unsigned i = 0; i < 3; i++) {
        waiting[i] = open_from(100 + i);
        rig_start_plain(rig, waiting[i], i == 1 ? "alice" : "bob", "secret");
        rig_expect_nothing(rig, waiting[i]);
        cr_expect(rig_link(rig, waiting[i])->is_paused);
    }
    cr_expect(eq(sz, rig->checks_started, 64));
    rig_hang_up(rig, waiting[0]);
    rig_verdict(rig);
    cr_expect(eq(sz, rig->checks_started, 65), "the first that still waits took the room");
    rig_verdict(rig);
    cr_expect(eq(sz, rig->checks_started, 66));
    while (rig->check_count > 0) {
        rig_verdict(rig);
    }
    (void)rig_expect(rig, waiting[1], 0, METHOD_CONNECTION_TUNE);
    rig_expect_close(rig, waiting[2], REPLY_ACCESS_REFUSED, REFUSED("PLAIN"));
}

/* Throttling -----------------------------------------------------------------------------------
 */

/* 250 ms, doubled by every failure: for the user wherever the guess comes from. */
Test(login, every_failure_doubles_how_long_the_next_check_waits)
{
    static const uint64_t delays[] = {250, 500, 1000, 2000, 4000, 8000, 16000, 30000, 30000};
    refuse_with_capability(open_from(200), "alice", "wrong");
    for (size_t i = 0; i < sizeof(delays) / sizeof(delays[0]); i++) {
        size_t before = rig->checks_started;
        uint64_t link = open_from((unsigned)i);
        rig_start_plain(rig, link, "alice", "wrong");
        rig_step(rig, delays[i] - 1);
        cr_expect(eq(sz, rig->checks_started, before), "delay %zu", i);
        rig_step(rig, 1 + TIMER_STEP_MS);
        cr_expect(eq(sz, rig->checks_started, before + 1), "delay %zu", i);
        rig_expect_close(rig, link, REPLY_ACCESS_REFUSED, REFUSED("PLAIN"));
    }
}

/* And for the source whichever user it guesses at. */
Test(login, a_source_that_guesses_waits_with_every_user)
{
    refuse_with_capability(open_from(1), "nobody", "wrong");
    uint64_t link = open_from(1);
    rig_start_plain(rig, link, "alice", "secret");
    rig_expect_nothing(rig, link);
    uint64_t elsewhere = open_from(2);
    rig_start_plain(rig, elsewhere, "alice", "secret");
    (void)rig_expect(rig, elsewhere, 0, METHOD_CONNECTION_TUNE);
    rig_step(rig, 250 + TIMER_STEP_MS);
    (void)rig_expect(rig, link, 0, METHOD_CONNECTION_TUNE);
}

/* Otherwise anyone could lock a service out by guessing beside it. */
Test(login, what_is_known_to_be_right_does_not_wait)
{
    (void)rig_connect(rig, "alice", "secret");
    put_secret_user("robot", "clear");
    refuse_with_capability(open_from(1), "alice", "wrong");
    refuse_with_capability(open_from(2), "robot", "wrong");
    (void)rig_connect(rig, "alice", "secret");
    (void)rig_connect(rig, "robot", "clear");
}

Test(login, a_success_clears_the_delay)
{
    refuse_with_capability(open_from(1), "alice", "wrong");
    rig_step(rig, 250);
    uint64_t link = open_from(1);
    rig_start_plain(rig, link, "alice", "secret");
    (void)rig_expect(rig, link, 0, METHOD_CONNECTION_TUNE);
    refuse_with_capability(open_from(1), "alice", "wrong");
    uint64_t last = open_from(1);
    rig_start_plain(rig, last, "alice", "wrong");
    rig_step(rig, 250 + TIMER_STEP_MS);
    rig_expect_close(rig, last, REPLY_ACCESS_REFUSED, REFUSED("PLAIN"));
}

/* Connections that go meanwhile ----------------------------------------------------------------
 */

/* The verdict comes back for somebody who is not there: during the check, while another shares it,
 * and during the delay before it. */
Test(login, a_connection_that_is_gone_is_told_nothing)
{
    rig->keeps_verdicts = true;
    uint64_t gone = open_from(1);
    rig_start_plain(rig, gone, "alice", "secret");
    uint64_t here = open_from(2);
    rig_start_plain(rig, here, "alice", "secret");
    rig_hang_up(rig, gone);
    rig_verdict(rig);
    (void)rig_expect(rig, here, 0, METHOD_CONNECTION_TUNE);

    uint64_t alone = open_from(3);
    rig_start_plain(rig, alone, "nobody", "wrong");
    rig_hang_up(rig, alone);
    rig_verdict(rig);
    cr_expect(eq(u64, rig->core->counters.logins_failed, 0));

    uint64_t failed = open_from(4);
    rig_start_plain(rig, failed, "nobody", "wrong");
    rig_verdict(rig);
    uint64_t delayed = open_from(4);
    rig_start_plain(rig, delayed, "nobody", "wrong");
    rig_hang_up(rig, delayed);
    size_t before = rig->checks_started;
    rig_step(rig, 1000);
    cr_expect(eq(sz, rig->checks_started, before));
}

/* Its link was told to close but is not gone yet. */
Test(login, a_verdict_after_the_shutdown_began_changes_nothing)
{
    rig->keeps_verdicts = true;
    uint64_t right = open_from(1);
    rig_start_plain(rig, right, "alice", "secret");
    uint64_t wrong = open_from(2);
    rig_start_plain(rig, wrong, "alice", "wrong");
    core_shut_down(rig->core, "shutdown");
    cr_assert(rig_is_closed(rig, right));
    rig_verdict(rig);
    rig_verdict(rig);
    rig_expect_nothing(rig, right);
    rig_expect_nothing(rig, wrong);
    cr_expect(eq(u64, rig->core->counters.logins_succeeded, 0));
}

Test(login, the_core_may_end_while_checks_are_under_way)
{
    rig->keeps_verdicts = true;
    rig->checks_max = 1;
    rig_start_plain(rig, open_from(1), "alice", "secret");
    rig_start_plain(rig, open_from(2), "alice", "other");
    cr_expect(eq(sz, rig->check_count, 1));
}

/* update-secret --------------------------------------------------------------------------------
 */

static void
send_update_secret(uint64_t link, const char *secret)
{
    struct method method = {
        .id = METHOD_CONNECTION_UPDATE_SECRET,
        .connection_update_secret = {.new_secret = bytes_of(secret), .reason = bytes_of("due")}};
    rig_send(rig, link, 0, &method);
}

/* Users of a file have no secret that expires, so a new one proves nothing and costs nothing. */
Test(login, update_secret_takes_any_secret_and_checks_none)
{
    static const char *const secrets[] = {"secret", "another", ""};
    uint64_t link = rig_connect(rig, "alice", "secret");
    size_t before = rig->checks_started;
    for (size_t i = 0; i < sizeof(secrets) / sizeof(secrets[0]); i++) {
        send_update_secret(link, secrets[i]);
        (void)rig_expect(rig, link, 0, METHOD_CONNECTION_UPDATE_SECRET_OK);
    }
    cr_expect(eq(sz, rig->checks_started, before));
}

Test(login, update_secret_of_a_user_who_may_no_longer_enter_is_530)
{
    uint64_t link = rig_connect(rig, "alice", "secret");
    core_find_user(rig->core, bytes_of("alice"))->is_disabled = true;
    send_update_secret(link, "secret");
    const struct connection_close close =
        rig_expect(rig, link, 0, METHOD_CONNECTION_CLOSE)->connection_close;
    cr_expect(eq(u16, close.reply_code, REPLY_NOT_ALLOWED));
    cr_expect(bytes_equal_text(close.reply_text,
                               "NOT_ALLOWED - access to vhost '/' refused for user 'alice'"));
    cr_expect(eq(u16, close.class_id, 10));
    cr_expect(eq(u16, close.method_id, 70));
}

/* RabbitMQ asks for the rights anew on that occasion: a consumer that lost its right is told. */
Test(login, update_secret_cancels_consumers_that_may_no_longer_read)
{
    uint64_t link = rig_connect(rig, "alice", "secret");
    rig_open_channel(rig, link, 1);
    static const char *const queues[] = {"open", "closed"};
    for (size_t i = 0; i < 2; i++) {
        struct method declare = {.id = METHOD_QUEUE_DECLARE,
                                 .queue_declare = {.queue = bytes_of(queues[i])}};
        rig_send(rig, link, 1, &declare);
        (void)rig_expect(rig, link, 1, METHOD_QUEUE_DECLARE_OK);
        struct method consume = {
            .id = METHOD_BASIC_CONSUME,
            .basic_consume = {.queue = bytes_of(queues[i]), .consumer_tag = bytes_of(queues[i])}};
        rig_send(rig, link, 1, &consume);
        (void)rig_expect(rig, link, 1, METHOD_BASIC_CONSUME_OK);
    }
    char hash[RIG_HASH_SIZE];
    struct config_user narrowed = rig_user("alice", rig_slow_hash("secret", hash));
    narrowed.read = "^open$";
    rig_put_user(rig, &narrowed);
    send_update_secret(link, "secret");
    const struct method *cancel = rig_expect(rig, link, 1, METHOD_BASIC_CANCEL);
    cr_expect(bytes_equal_text(cancel->basic_cancel.consumer_tag, "closed"));
    (void)rig_expect(rig, link, 0, METHOD_CONNECTION_UPDATE_SECRET_OK);
    rig_expect_nothing(rig, link);
}
