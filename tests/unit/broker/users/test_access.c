/* SPDX-License-Identifier: Apache-2.0 */
/* Rights: three expressions for a user and vhost, two more for a topic exchange, one place that is
 * asked. */
#include "broker/users/access.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <stdio.h>
#include <time.h>

#include "amqp/reply.h"
#include "tests/unit/broker/core_harness.h"

static struct rig *rig;
static char hash[RIG_HASH_SIZE];

static void
set_up(void)
{
    rig = rig_new(NULL);
    (void)rig_slow_hash("secret", hash);
}

static void
tear_down(void)
{
    rig_free(&rig);
}

TestSuite(access, .init = set_up, .fini = tear_down);

static struct user *
put_user(const char *configure, const char *write, const char *read)
{
    struct config_user user = rig_user("alice", hash);
    user.configure = configure;
    user.write = write;
    user.read = read;
    rig_put_user(rig, &user);
    return core_find_user(rig->core, bytes_of("alice"));
}

static bool
allows(struct user *user, enum access_right right, enum access_kind kind, const char *name)
{
    return access_allows(rig->core, user, bytes_of("/"), right, kind, bytes_of(name));
}

/* Expressions are searched, as RabbitMQ does, so "a" allows every name with an a in it. */
Test(access, an_expression_is_searched_in_the_name)
{
    static const struct {
        const char *pattern, *name;
        bool allowed;
    } rows[] = {
        {"", "", false},
        {"", "orders", false}, /* RabbitMQ's word for "nothing" */
        {".*", "orders", true},
        {".*", "", true},
        {"order", "orders", true},
        {"order", "my-orders-2", true},
        {"order", "ordinary", false},
        {"^order", "my-orders", false},
        {"^order", "orders", true},
        {"^orders$", "orders", true},
        {"^orders$", "orders2", false},
        {"^(orders|mails)$", "mails", true},
        {"^$", "", true},
        {"^$", "x", false},
        {"^amq\\.gen", "amq.gen-abc", true},
        {"^amq\\.gen", "amqXgen", false},
        {"ORDERS", "orders", false},
        {"(?i)ORDERS", "orders", true},
        {"^\xC3\xA4.*", "\xC3\xA4pfel", true},
        {"^..$", "\xC3\xA4", true},     /* octets, not characters */
        {"^orders$", "orders\n", true}, /* as Erlang's re: $ also stands before a last newline */
    };
    static const enum access_kind kinds[] = {ACCESS_EXCHANGE, ACCESS_QUEUE};
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct user *user = put_user(rows[i].pattern, rows[i].pattern, rows[i].pattern);
        for (int right = 0; right < ACCESS_RIGHT_COUNT; right++) {
            for (size_t k = 0; k < 2; k++) {
                if (rows[i].name[0] == '\0' && kinds[k] == ACCESS_EXCHANGE) {
                    continue; /* the default exchange, which has a name of its own here */
                }
                for (int again = 0; again < 2; again++) { /* the second time from memory */
                    cr_expect(eq(int,
                                 allows(user, (enum access_right)right, kinds[k], rows[i].name),
                                 rows[i].allowed),
                              "\"%s\" on \"%s\", right %d", rows[i].pattern, rows[i].name, right);
                }
            }
        }
    }
}

Test(access, each_right_has_its_own_expression)
{
    struct user *user = put_user("^c", "^w", "^r");
    static const struct {
        const char *name;
        bool allowed[ACCESS_RIGHT_COUNT];
    } rows[] = {
        {"c", {true, false, false}},
        {"w", {false, true, false}},
        {"r", {false, false, true}},
        {"x", {false, false, false}},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        for (int right = 0; right < ACCESS_RIGHT_COUNT; right++) {
            for (int kind = ACCESS_EXCHANGE; kind <= ACCESS_QUEUE; kind++) {
                cr_expect(
                    eq(int,
                       allows(user, (enum access_right)right, (enum access_kind)kind, rows[i].name),
                       rows[i].allowed[right]),
                    "%s, right %d", rows[i].name, right);
            }
        }
    }
}

/* The default exchange has an empty name on the wire and amq.default in expressions. */
Test(access, the_default_exchange_is_called_amq_default)
{
    struct user *user = put_user("^amq\\.default$", "^$", "amq");
    cr_expect(allows(user, ACCESS_CONFIGURE, ACCESS_EXCHANGE, ""));
    cr_expect(not(allows(user, ACCESS_WRITE, ACCESS_EXCHANGE, "")));
    cr_expect(allows(user, ACCESS_READ, ACCESS_EXCHANGE, ""));
    cr_expect(not(allows(user, ACCESS_CONFIGURE, ACCESS_QUEUE, "")), "a queue is not");
    cr_expect(allows(user, ACCESS_WRITE, ACCESS_QUEUE, ""));
}

Test(access, without_a_record_for_the_vhost_nothing_is_allowed)
{
    struct user *user = put_user(".*", ".*", ".*");
    (void)rig_add_vhost(rig, "tenant");
    cr_expect(access_may_enter(user, bytes_of("/")));
    cr_expect(not(access_may_enter(user, bytes_of("tenant"))));
    for (int right = 0; right < ACCESS_RIGHT_COUNT; right++) {
        cr_expect(not(access_allows(rig->core, user, bytes_of("tenant"), (enum access_right)right,
                                    ACCESS_QUEUE, bytes_of("orders"))));
    }
}

/* The same name in two vhosts is two things. */
Test(access, rights_of_one_vhost_are_not_those_of_another)
{
    struct user *user = put_user(".*", ".*", "^here$");
    struct config_user elsewhere = rig_user("alice", hash);
    elsewhere.read = "^there$";
    cr_assert(eq(int, core_put_user(rig->core, &elsewhere, bytes_of("tenant")), STATUS_OK));
    for (int again = 0; again < 2; again++) {
        cr_expect(allows(user, ACCESS_READ, ACCESS_QUEUE, "here"));
        cr_expect(not(allows(user, ACCESS_READ, ACCESS_QUEUE, "there")));
        cr_expect(access_allows(rig->core, user, bytes_of("tenant"), ACCESS_READ, ACCESS_QUEUE,
                                bytes_of("there")));
        cr_expect(not(access_allows(rig->core, user, bytes_of("tenant"), ACCESS_READ, ACCESS_QUEUE,
                                    bytes_of("here"))));
    }
}

Test(access, a_disabled_user_may_nothing)
{
    struct user *user = put_user(".*", ".*", ".*");
    cr_assert(allows(user, ACCESS_READ, ACCESS_QUEUE, "orders"));
    user->is_disabled = true;
    cr_expect(not(allows(user, ACCESS_READ, ACCESS_QUEUE, "orders")));
    cr_expect(not(access_may_enter(user, bytes_of("/"))));
}

Test(access, an_expression_that_does_not_compile_refuses_the_user)
{
    enum { CONFIGURE, WRITE, READ, TOPIC_WRITE, TOPIC_READ, PLACE_COUNT };
    (void)put_user("^kept$", "", "");
    for (int place = 0; place < PLACE_COUNT; place++) {
        struct config_topic_right topic = {.exchange = bytes_of("events"),
                                           .write = place == TOPIC_WRITE ? "(" : ".*",
                                           .read = place == TOPIC_READ ? "[" : ".*"};
        struct config_user user = rig_user("alice", hash);
        user.configure = place == CONFIGURE ? "(" : "^other$";
        user.write = place == WRITE ? "a{2,1}" : "";
        user.read = place == READ ? "*" : "";
        user.topics = &topic;
        user.topic_count = 1;
        cr_expect(eq(int, core_put_user(rig->core, &user, bytes_of("/")), STATUS_REJECTED),
                  "place %d", place);
    }
    cr_expect(rig_logged(rig, "access.bad_expression"));
    struct user *kept = core_find_user(rig->core, bytes_of("alice"));
    cr_expect(allows(kept, ACCESS_CONFIGURE, ACCESS_QUEUE, "kept"), "nothing has changed");
    cr_expect(not(allows(kept, ACCESS_CONFIGURE, ACCESS_QUEUE, "other")));
}

Test(access, the_name_of_a_user_forges_no_field_of_the_log)
{
    struct config_user user = rig_user("eve\" at=\"0", hash);
    user.read = "*";
    cr_expect(eq(int, core_put_user(rig->core, &user, bytes_of("/")), STATUS_REJECTED));
    cr_expect(rig_logged(rig, "user=\"eve\\\" at=\\\"0\" expression=\"*\""));
}

/* A pattern made to explode runs into the match limit, denies, and does not hold the core up. */
Test(access, a_catastrophic_pattern_denies_quickly)
{
    char name[251];
    memset(name, 'a', sizeof(name) - 1);
    name[sizeof(name) - 1] = '\0';
    struct user *user = put_user("^(([a-z])+.)+[A-Z]([a-z])+$", "", "");
    clock_t start = clock();
    cr_expect(not(allows(user, ACCESS_CONFIGURE, ACCESS_QUEUE, name)));
    cr_expect(lt(dbl, (double)(clock() - start) / CLOCKS_PER_SEC, 0.5),
              "without limits it takes seconds of processor time");
}

/* Texts ----------------------------------------------------------------------------------------
 */

static void
expect_refused(enum status status, const struct fault *fault, const char *text)
{
    cr_assert(eq(int, status, STATUS_FAULT));
    cr_expect(eq(int, fault->scope, FAULT_CHANNEL));
    cr_expect(eq(u16, fault->reply_code, REPLY_ACCESS_REFUSED));
    cr_expect(eq(str, (char *)fault->text, (char *)text));
}

Test(access, a_refusal_names_right_object_vhost_and_user)
{
    (void)put_user("^c$", "^w$", "^r$");
    const struct connection *connection =
        core_find_connection(rig->core, rig_connect(rig, "alice", "secret"));
    static const struct {
        enum access_right right;
        enum access_kind kind;
        const char *name, *text;
    } rows[] = {
        {ACCESS_CONFIGURE, ACCESS_QUEUE, "q",
         "configure access to queue 'q' in vhost '/' refused for user 'alice'"},
        {ACCESS_WRITE, ACCESS_EXCHANGE, "x",
         "write access to exchange 'x' in vhost '/' refused for user 'alice'"},
        {ACCESS_READ, ACCESS_QUEUE, "q",
         "read access to queue 'q' in vhost '/' refused for user 'alice'"},
        {ACCESS_WRITE, ACCESS_EXCHANGE, "",
         "write access to exchange 'amq.default' in vhost '/' refused for user 'alice'"},
    };
    struct fault fault;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        enum status status =
            access_require(connection, rows[i].right, rows[i].kind, bytes_of(rows[i].name), &fault);
        expect_refused(status, &fault, rows[i].text);
    }
    cr_expect(eq(int, access_require(connection, ACCESS_WRITE, ACCESS_QUEUE, bytes_of("w"), &fault),
                 STATUS_OK));
}

/* What passive declares ask. */
Test(access, any_of_the_three_rights_is_enough_to_look)
{
    (void)put_user("^c$", "^w$", "^r$");
    const struct connection *connection =
        core_find_connection(rig->core, rig_connect(rig, "alice", "secret"));
    static const char *const names[] = {"c", "w", "r"};
    struct fault fault;
    for (size_t i = 0; i < 3; i++) {
        cr_expect(eq(int, access_require_any(connection, ACCESS_QUEUE, bytes_of(names[i]), &fault),
                     STATUS_OK));
    }
    expect_refused(access_require_any(connection, ACCESS_QUEUE, bytes_of("x"), &fault), &fault,
                   "configure access to queue 'x' in vhost '/' refused for user 'alice'");
}

/* Topic rights ---------------------------------------------------------------------------------
 */

static struct connection *
connect_with_topics(const char *name, struct config_topic_right *topics, size_t count)
{
    struct config_user user = rig_user(name, hash);
    user.topics = topics;
    user.topic_count = count;
    rig_put_user(rig, &user);
    return core_find_connection(rig->core, rig_connect(rig, name, "secret"));
}

static bool
topic_allows(const struct connection *connection, enum access_right right, const char *exchange,
             const char *key)
{
    struct fault fault;
    return access_require_topic(connection, right, bytes_of(exchange), bytes_of(key), &fault) ==
           STATUS_OK;
}

Test(access, topic_rights_bind_their_exchange_only)
{
    struct config_topic_right topics[] = {
        {.exchange = bytes_of("events"), .write = "^orders\\.", .read = "^mails\\."},
        {.exchange = bytes_of("closed"), .write = "", .read = ""},
    };
    const struct connection *connection = connect_with_topics("alice", topics, 2);
    for (int again = 0; again < 2; again++) {
        cr_expect(topic_allows(connection, ACCESS_WRITE, "events", "orders.eu"));
        cr_expect(not(topic_allows(connection, ACCESS_WRITE, "events", "mails.eu")));
        cr_expect(topic_allows(connection, ACCESS_READ, "events", "mails.eu"));
        cr_expect(not(topic_allows(connection, ACCESS_READ, "events", "orders.eu")));
        cr_expect(not(topic_allows(connection, ACCESS_WRITE, "closed", "orders.eu")));
        cr_expect(topic_allows(connection, ACCESS_WRITE, "another", "orders.eu"));
        cr_expect(topic_allows(connection, ACCESS_WRITE, "another", ""));
    }
    struct fault fault;
    expect_refused(access_require_topic(connection, ACCESS_WRITE, bytes_of("events"),
                                        bytes_of("mails.eu"), &fault),
                   &fault,
                   "write access to topic 'mails.eu' in exchange 'events' in vhost '/' refused for "
                   "user 'alice'");
}

/* A user who chose a name with meaning in an expression gets no more than that name. */
Test(access, username_and_vhost_are_put_into_a_topic_expression_quoted)
{
    static const struct {
        const char *user, *pattern, *key;
        bool allowed;
    } rows[] = {
        {"alice", "^{username}\\.", "alice.orders", true},
        {"alice", "^{username}\\.", "bob.orders", false},
        {"a.c", "^{username}$", "a.c", true},
        {"a.c", "^{username}$", "abc", false},
        {".*", "^{username}$", "anything", false},
        {".*", "^{username}$", ".*", true},
        {"a|b", "^{username}$", "a", false},
        {"(", "^{username}$", "(", true},
        {"\\E.*", "^{username}$", "\\E.*", true},
        {"\\E.*", "^{username}$", "x", false},
        {"\xC3\xA4", "^{username}$", "\xC3\xA4", true},
        {"bob", "^{vhost}{username}{vhost}$", "/bob/", true},
        {"bob", "^{user}$", "bob", false},
        {"{vhost}", "^{username}$", "/", false}, /* what was put in is not looked at again */
        {"{vhost}", "^{username}$", "{vhost}", true},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct config_topic_right topic = {
            .exchange = bytes_of("events"), .write = rows[i].pattern, .read = ".*"};
        const struct connection *connection = connect_with_topics(rows[i].user, &topic, 1);
        cr_expect(
            eq(int, topic_allows(connection, ACCESS_WRITE, "events", rows[i].key), rows[i].allowed),
            "row %zu: %s", i, rows[i].user);
    }
}

/* Keys of a CC header may be longer than any shortstr; they are asked about as they are. */
Test(access, a_key_longer_than_255_octets_is_looked_at_whole)
{
    struct config_topic_right topic = {
        .exchange = bytes_of("events"), .write = "^a+z$", .read = ".*"};
    const struct connection *connection = connect_with_topics("alice", &topic, 1);
    char key[1002];
    memset(key, 'a', sizeof(key));
    key[1000] = 'z';
    key[1001] = '\0';
    for (int again = 0; again < 2; again++) {
        cr_expect(topic_allows(connection, ACCESS_WRITE, "events", key));
        cr_expect(not(topic_allows(connection, ACCESS_WRITE, "events", key + 1001)));
    }
    key[1000] = 'x';
    cr_expect(not(topic_allows(connection, ACCESS_WRITE, "events", key)));
    struct user *user = put_user("^a+z$", "", "");
    key[1000] = 'z';
    cr_expect(allows(user, ACCESS_CONFIGURE, ACCESS_QUEUE, key));
}

/* Remembered verdicts --------------------------------------------------------------------------
 */

/* A right that was taken away is gone with the next question. */
Test(access, a_changed_user_is_asked_about_anew)
{
    struct user *user = put_user("^orders$", "^orders$", "^orders$");
    cr_assert(allows(user, ACCESS_READ, ACCESS_QUEUE, "orders"));
    cr_assert(not(allows(user, ACCESS_READ, ACCESS_QUEUE, "mails")));
    uint64_t version = user->version;
    cr_expect(eq(ptr, put_user("", "", "^mails$"), user), "the same user, so logins go on");
    cr_expect(lt(u64, version, user->version));
    cr_expect(not(allows(user, ACCESS_READ, ACCESS_QUEUE, "orders")));
    cr_expect(allows(user, ACCESS_READ, ACCESS_QUEUE, "mails"));
    cr_expect(not(allows(user, ACCESS_WRITE, ACCESS_QUEUE, "orders")));
}

Test(access, a_changed_topic_right_is_asked_about_anew)
{
    struct config_topic_right topic = {
        .exchange = bytes_of("events"), .write = "^orders", .read = ".*"};
    const struct connection *connection = connect_with_topics("alice", &topic, 1);
    cr_assert(topic_allows(connection, ACCESS_WRITE, "events", "orders"));
    topic.write = "^mails";
    struct config_user user = rig_user("alice", hash);
    user.topics = &topic;
    user.topic_count = 1;
    rig_put_user(rig, &user);
    cr_expect(not(topic_allows(connection, ACCESS_WRITE, "events", "orders")));
    cr_expect(topic_allows(connection, ACCESS_WRITE, "events", "mails"));
}

/* Names are the peer's choice: what is remembered about them is bounded, and still right. */
Test(access, more_names_than_are_remembered_are_all_answered)
{
    struct user *user = put_user("[02468]$", "", "");
    for (int round = 0; round < 2; round++) {
        for (int i = 0; i < 5000; i++) {
            char name[32];
            (void)snprintf(name, sizeof(name), "queue-%d", i);
            cr_assert(eq(int, allows(user, ACCESS_CONFIGURE, ACCESS_QUEUE, name), i % 2 == 0));
            cr_assert(not(allows(user, ACCESS_WRITE, ACCESS_QUEUE, name)));
        }
    }
}

/* The choke point as a client meets it: the channel is closed, before a 404 could tell a name. */
Test(access, a_client_without_the_right_is_refused_before_it_learns_what_exists)
{
    (void)put_user("", "", "");
    uint64_t link = rig_connect(rig, "alice", "secret");
    struct method declare = {.id = METHOD_QUEUE_DECLARE,
                             .queue_declare = {.queue = bytes_of("q"), .passive = true}};
    rig_open_channel(rig, link, 1);
    rig_send(rig, link, 1, &declare);
    rig_expect_channel_close(rig, link, 1, REPLY_ACCESS_REFUSED,
                             "configure access to queue 'q' in vhost '/' refused for user 'alice'");
    rig_open_channel(rig, link, 2);
    rig_publish(rig, link, 2, "missing", "key", "body");
    rig_expect_channel_close(
        rig, link, 2, REPLY_ACCESS_REFUSED,
        "write access to exchange 'missing' in vhost '/' refused for user 'alice'");
    rig_open_channel(rig, link, 3);
    rig_publish(rig, link, 3, "", "key", "body");
    rig_expect_channel_close(
        rig, link, 3, REPLY_ACCESS_REFUSED,
        "write access to exchange 'amq.default' in vhost '/' refused for user 'alice'");
}
