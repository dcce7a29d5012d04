/* SPDX-License-Identifier: Apache-2.0 */
/* A configuration applied to a core that is running: additions, differences, users and rights. */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <stdio.h>

#include "amqp/table.h"
#include "base/assert.h"
#include "tests/unit/broker/core_harness.h"

static struct rig *rig;
static char why[512];
static char hash[RIG_HASH_SIZE];

static void
set_up(void)
{
    rig = rig_new(NULL);
    (void)rig_fast_hash("pw", hash);
}

static void
tear_down(void)
{
    rig_free(&rig);
}

TestSuite(topology, .init = set_up, .fini = tear_down);

static struct config_mark
mark(uint32_t line)
{
    return (struct config_mark){.file = "shop.yaml", .line = line, .column = 3};
}

/* The configuration of most tests: two exchanges, two queues, three bindings, two users. A test
 * changes its copy. */
struct parts {
    struct config config;
    struct config_exchange exchanges[2];
    struct config_queue queues[2];
    struct config_binding bindings[3];
    struct config_user users[2];
};

static void
fill_parts(struct parts *parts)
{
    *parts = (struct parts){
        .exchanges =
            {
                {.name = bytes_of("orders"), .type = "topic", .durable = true, .mark = mark(1)},
                {.name = bytes_of("events"), .type = "fanout", .durable = true, .mark = mark(2)},
            },
        .queues =
            {
                {.name = bytes_of("billing"), .durable = true, .mark = mark(3)},
                {.name = bytes_of("mail"), .durable = true, .mark = mark(4)},
            },
        .bindings =
            {
                {.source = bytes_of("orders"),
                 .destination = bytes_of("events"),
                 .to_exchange = true,
                 .routing_key = bytes_of("order.*.placed"),
                 .mark = mark(5)},
                {.source = bytes_of("orders"),
                 .destination = bytes_of("billing"),
                 .routing_key = bytes_of("order.#"),
                 .mark = mark(6)},
                {.source = bytes_of("events"), .destination = bytes_of("mail"), .mark = mark(7)},
            },
        .users = {rig_user("alice", hash), rig_user("bob", hash)},
    };
    parts->config = (struct config){
        .vhost = bytes_of("/"),
        .connections_max = -1,
        .queues_max = -1,
        .exchanges = parts->exchanges,
        .exchange_count = ARRAY_LEN(parts->exchanges),
        .queues = parts->queues,
        .queue_count = ARRAY_LEN(parts->queues),
        .bindings = parts->bindings,
        .binding_count = ARRAY_LEN(parts->bindings),
        .users = parts->users,
        .user_count = ARRAY_LEN(parts->users),
    };
}

static enum status
apply(const struct parts *parts)
{
    enum status status = core_apply(rig->core, &parts->config, why, sizeof(why));
    rig_turn(rig);
    return status;
}

static void
apply_parts(struct parts *parts)
{
    fill_parts(parts);
    cr_assert(eq(int, apply(parts), STATUS_OK));
}

static uint64_t
connect_as(const char *user)
{
    uint64_t client = rig_connect(rig, user, "pw");
    rig_open_channel(rig, client, 1);
    return client;
}

static void
consume(uint64_t client, const char *queue)
{
    struct method method = {
        .id = METHOD_BASIC_CONSUME,
        .basic_consume = {.queue = bytes_of(queue), .consumer_tag = bytes_of(queue)}};
    rig_send(rig, client, 1, &method);
    (void)rig_expect(rig, client, 1, METHOD_BASIC_CONSUME_OK);
}

static struct exchange *
find_exchange(const char *name)
{
    return vhost_find_exchange(rig_vhost(rig), bytes_of(name));
}

static struct queue *
find_queue(const char *name)
{
    return vhost_find_queue(rig_vhost(rig), bytes_of(name));
}

Test(topology, what_the_file_declares_is_there_and_routes)
{
    struct parts parts;
    apply_parts(&parts);
    cr_assert(ne(ptr, find_exchange("orders"), NULL));
    cr_assert(ne(ptr, find_queue("mail"), NULL));
    cr_expect(find_exchange("orders")->from_file);
    cr_expect(find_exchange("orders")->durable);
    cr_expect(find_queue("mail")->from_file);
    cr_expect(find_queue("mail")->durable);
    uint64_t client = connect_as("alice");
    rig_publish(rig, client, 1, "orders", "order.eu.placed", "x");
    rig_publish(rig, client, 1, "orders", "order.eu.paid", "x");
    cr_expect(eq(u64, find_queue("billing")->ready_count, 2));
    cr_expect(eq(u64, find_queue("mail")->ready_count, 1));
}

Test(topology, applying_it_again_changes_nothing)
{
    struct parts parts;
    apply_parts(&parts);
    uint64_t client = connect_as("alice");
    rig_publish(rig, client, 1, "orders", "order.eu.placed", "x");
    const struct queue *mail = find_queue("mail");
    consume(client, "billing");
    (void)rig_expect_posted(rig, client, 1, METHOD_BASIC_DELIVER);
    cr_assert(eq(int, apply(&parts), STATUS_OK));
    cr_expect(eq(ptr, (void *)find_queue("mail"), (void *)mail));
    cr_expect(eq(u64, mail->ready_count, 1));
    cr_expect(eq(u32, find_exchange("orders")->bindings.count, 2));
    cr_expect(not(rig_is_closed(rig, client)));
    rig_expect_nothing(rig, client);
    cr_expect(not(rig_logged(rig, "topology.")));
}

static void
declare_exchange(uint64_t client, const struct exchange_declare *declare)
{
    struct method method = {.id = METHOD_EXCHANGE_DECLARE, .exchange_declare = *declare};
    rig_send(rig, client, 1, &method);
    (void)rig_expect(rig, client, 1, METHOD_EXCHANGE_DECLARE_OK);
}

static void
declare_queue(uint64_t client, const struct queue_declare *declare)
{
    struct method method = {.id = METHOD_QUEUE_DECLARE, .queue_declare = *declare};
    rig_send(rig, client, 1, &method);
    (void)rig_expect(rig, client, 1, METHOD_QUEUE_DECLARE_OK);
}

/* What clients made may hold messages: a difference that only a new object could settle refuses the
 * file as a whole, with the place in it and the value that is there. */
Test(topology, a_difference_that_needs_replacing_refuses_the_file_and_changes_nothing)
{
    rig_add_user(rig, "alice", "pw");
    uint64_t client = connect_as("alice");
    declare_exchange(client, &(struct exchange_declare){.exchange = bytes_of("orders"),
                                                        .type = bytes_of("direct"),
                                                        .durable = true});
    declare_queue(client, &(struct queue_declare){.queue = bytes_of("mail")});
    struct parts parts;
    fill_parts(&parts);
    cr_expect(eq(int, apply(&parts), STATUS_REJECTED));
    cr_expect(eq(str, why,
                 "shop.yaml:1:3: error: exchange 'orders' has type 'direct' in the running broker, "
                 "the file says 'topic'; delete it or change the file (and 1 more in the log)"));
    cr_expect(rig_logged(rig, "file=\"shop.yaml\" line=4 column=3 reason=\"queue 'mail' has "
                              "durable 'false' in the running broker, the file says 'true'; delete "
                              "it or change the file\""));
    cr_expect(not(find_exchange("orders")->from_file));
    cr_expect(eq(ptr, find_exchange("events"), NULL));
    cr_expect(eq(ptr, find_queue("billing"), NULL));
    cr_expect(eq(ptr, core_find_user(rig->core, bytes_of("bob")), NULL));
}

/* Each row makes one thing by hand that the file has otherwise. */
Test(topology, every_property_that_cannot_change_in_place_refuses)
{
    struct buffer arguments[3];
    buffer_init(&arguments[0]);
    buffer_init(&arguments[1]);
    buffer_init(&arguments[2]);
    table_put_text(&arguments[0], "x-queue-type", bytes_of("quorum"));
    table_put_integer(&arguments[1], "x-max-priority", 5);
    table_put_boolean(&arguments[2], "x-single-active-consumer", true);
    const struct {
        struct exchange_properties exchange;
        struct queue_properties queue;
        const char *reason;
    } rows[] = {
        {.exchange = {.type = &exchange_type_fanout, .durable = true}, .reason = "type 'fanout'"},
        {.exchange = {.type = &exchange_type_topic}, .reason = "durable 'false'"},
        {.exchange = {.type = &exchange_type_topic, .durable = true, .auto_delete = true},
         .reason = "auto-delete 'true'"},
        {.exchange = {.type = &exchange_type_topic, .durable = true, .internal = true},
         .reason = "internal 'true'"},
        {.queue = {.name = bytes_of("mail")}, .reason = "durable 'false'"},
        {.queue = {.name = bytes_of("mail"), .durable = true, .auto_delete = true},
         .reason = "auto-delete 'true'"},
        {.queue = {.name = bytes_of("mail"),
                   .durable = true,
                   .arguments = buffer_bytes(&arguments[0])},
         .reason = "x-queue-type 'quorum'"},
        {.queue = {.name = bytes_of("mail"),
                   .durable = true,
                   .arguments = buffer_bytes(&arguments[1])},
         .reason = "x-max-priority '5'"},
        {.queue = {.name = bytes_of("mail"),
                   .durable = true,
                   .arguments = buffer_bytes(&arguments[2])},
         .reason = "x-single-active-consumer 'true'"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct vhost *vhost = rig_vhost(rig);
        struct exchange_properties exchange = rows[i].exchange;
        struct fault fault;
        exchange.name = bytes_of("orders");
        if (exchange.type != NULL) {
            cr_assert(eq(int, vhost_declare_exchange(vhost, &exchange, NULL, &fault), STATUS_OK));
        } else {
            cr_assert(eq(int, vhost_declare_queue(vhost, &rows[i].queue, NULL, &fault), STATUS_OK));
        }
        struct parts parts;
        fill_parts(&parts);
        cr_expect(eq(int, apply(&parts), STATUS_REJECTED), "row %zu", i);
        cr_expect(ne(ptr, strstr(why, rows[i].reason), NULL), "row %zu: %s", i, why);
        cr_expect(eq(ptr, find_queue("billing"), NULL), "row %zu", i);
        if (exchange.type != NULL) {
            vhost_delete_exchange(vhost, find_exchange("orders"));
        } else {
            (void)vhost_delete_queue(vhost, find_queue("mail"));
        }
    }
    for (size_t i = 0; i < ARRAY_LEN(arguments); i++) {
        buffer_fini(&arguments[i]);
    }
}

/* The operator can change arguments in place, for which a client is told 406; messages stay. */
Test(topology, arguments_and_limits_become_what_the_file_says)
{
    struct parts parts;
    apply_parts(&parts);
    uint64_t client = connect_as("alice");
    rig_publish(rig, client, 1, "orders", "order.eu.placed", "x");
    struct queue *mail = find_queue("mail");
    struct buffer ttl;
    struct buffer alternate;
    buffer_init(&ttl);
    buffer_init(&alternate);
    table_put_integer(&ttl, "x-message-ttl", 5000);
    table_put_text(&alternate, "alternate-exchange", bytes_of("events"));
    parts.queues[1].arguments = buffer_bytes(&ttl);
    parts.exchanges[0].arguments = buffer_bytes(&alternate);
    parts.config.queues_max = 7;
    cr_assert(eq(int, apply(&parts), STATUS_OK));
    cr_expect(eq(ptr, (void *)find_queue("mail"), (void *)mail));
    cr_expect(eq(u64, mail->ready_count, 1));
    cr_expect(eq(i64, mail->settings->message_ttl_ms, 5000));
    cr_expect(eq(i64, rig_vhost(rig)->queues_max, 7));
    rig_publish(rig, client, 1, "orders", "nowhere", "x");
    cr_expect(eq(u64, mail->ready_count, 2), "the alternate exchange takes it");
    parts.queues[1].arguments = bytes_of("");
    cr_assert(eq(int, apply(&parts), STATUS_OK));
    cr_expect(eq(i64, mail->settings->message_ttl_ms, -1));
    buffer_fini(&ttl);
    buffer_fini(&alternate);
}

/* Somebody's own queue of that name is not what the file means. */
Test(topology, a_queue_that_is_exclusive_to_a_connection_refuses)
{
    rig_add_user(rig, "alice", "pw");
    uint64_t client = connect_as("alice");
    declare_queue(client, &(struct queue_declare){.queue = bytes_of("mail"), .exclusive = true});
    struct parts parts;
    fill_parts(&parts);
    cr_expect(eq(int, apply(&parts), STATUS_REJECTED));
    cr_expect(eq(str, why,
                 "shop.yaml:4:3: error: queue 'mail' belongs to a connection, for which it is "
                 "exclusive"));
    cr_expect(list_is_empty(&find_queue("mail")->target.bindings));
}

/* What clients made and the file names as it is belongs to the file from then on. */
Test(topology, what_is_there_as_the_file_says_is_taken_over)
{
    rig_add_user(rig, "alice", "pw");
    uint64_t client = connect_as("alice");
    declare_queue(client, &(struct queue_declare){.queue = bytes_of("mail"), .durable = true});
    struct queue *mail = find_queue("mail");
    cr_expect(not(mail->from_file));
    struct parts parts;
    apply_parts(&parts);
    cr_expect(eq(ptr, (void *)find_queue("mail"), (void *)mail));
    cr_expect(mail->from_file);
}

/* As `apply` without --prune: nothing is deleted, and nobody is told twice. */
Test(topology, what_has_left_the_file_stays_and_is_reported_once)
{
    struct parts parts;
    apply_parts(&parts);
    uint64_t client = connect_as("alice");
    declare_queue(client, &(struct queue_declare){.queue = bytes_of("by-hand"), .durable = true});
    parts.config.queue_count = 1;
    parts.config.binding_count = 2;
    parts.config.exchange_count = 1;
    parts.exchanges[0].mark = mark(1);
    parts.bindings[0] = parts.bindings[1];
    parts.config.binding_count = 1;
    cr_assert(eq(int, apply(&parts), STATUS_OK));
    cr_expect(rig_logged(rig, "event=topology.left_file kind=queue vhost=\"/\" name=\"mail\""));
    cr_expect(rig_logged(rig, "kind=exchange vhost=\"/\" name=\"events\""));
    cr_expect(rig_logged(rig, "kind=binding vhost=\"/\" source=\"orders\" exchange=\"events\" "
                              "key=\"order.*.placed\""));
    cr_expect(rig_logged(rig, "kind=binding vhost=\"/\" source=\"events\" queue=\"mail\""));
    cr_expect(not(rig_logged(rig, "by-hand")), "a client made it");
    cr_expect(not(rig_logged(rig, "name=\"billing\"")));
    rig_publish(rig, client, 1, "orders", "order.eu.placed", "x");
    cr_expect(eq(u64, find_queue("mail")->ready_count, 1), "it still gets messages");
    buffer_clear(&rig->log_text);
    cr_assert(eq(int, apply(&parts), STATUS_OK));
    cr_expect(not(rig_logged(rig, "topology.left_file")));
    struct parts whole;
    apply_parts(&whole);
    cr_expect(find_queue("mail")->from_file, "it is back");
}

Test(topology, a_vhost_that_has_left_the_file_is_reported_with_what_is_in_it)
{
    struct parts parts;
    apply_parts(&parts);
    parts.config.vhost = bytes_of("shop");
    cr_assert(eq(int, apply(&parts), STATUS_OK));
    cr_expect(rig_logged(rig, "kind=vhost vhost=\"/\" name=\"/\""));
    cr_expect(rig_logged(rig, "kind=queue vhost=\"/\" name=\"mail\""));
    cr_expect(not(rig_logged(rig, "vhost=\"shop\"")));
}

/* Users and their rights are the file's alone: what they might do in the vhost of an earlier file
 * is over, also for those that both files name. */
Test(topology, rights_in_the_vhost_of_an_earlier_file_are_taken_away)
{
    struct parts parts;
    apply_parts(&parts);
    uint64_t alice = connect_as("alice");
    parts.config.vhost = bytes_of("shop");
    cr_assert(eq(int, apply(&parts), STATUS_OK));
    const struct user *user = core_find_user(rig->core, bytes_of("alice"));
    cr_expect(access_may_enter(user, bytes_of("shop")));
    cr_expect(not(access_may_enter(user, bytes_of("/"))));
    rig_expect_close(rig, alice, 320, "access to vhost '/' was revoked for user 'alice'");
}

/* Development mode has no file: on a data directory that a file filled it adds its user, and takes
 * nobody and nothing away. */
Test(topology, development_mode_leaves_what_a_file_made)
{
    struct parts parts;
    apply_parts(&parts);
    struct config *development = config_new_development();
    cr_assert(eq(int, core_apply(rig->core, development, why, sizeof(why)), STATUS_OK));
    cr_expect(not(rig_logged(rig, "topology.left_file")));
    cr_expect(not(core_find_user(rig->core, bytes_of("alice"))->is_disabled));
    cr_expect(ne(ptr, core_find_user(rig->core, bytes_of("guest")), NULL));
    cr_assert(eq(int, apply(&parts), STATUS_OK));
    cr_expect(core_find_user(rig->core, bytes_of("guest"))->is_disabled, "no file names it");
    config_free(&development);
}

/* Each row breaks one thing; nothing at all may have been made, users included. */
Test(topology, a_configuration_that_cannot_be_had_changes_nothing)
{
    struct buffer x_match;
    buffer_init(&x_match);
    table_put_text(&x_match, "x-match", bytes_of("none"));
    struct buffer bad_ttl;
    buffer_init(&bad_ttl);
    table_put_text(&bad_ttl, "x-message-ttl", bytes_of("soon"));
    static char long_key[256];
    memset(long_key, 'k', sizeof(long_key));
    struct buffer hash_property;
    buffer_init(&hash_property);
    table_put_text(&hash_property, "hash-property", bytes_of("app_id"));
    for (int row = 0; row < 10; row++) {
        struct parts parts;
        fill_parts(&parts);
        switch (row) {
        case 0:
            parts.exchanges[1].type = "nosuch";
            break;
        case 1:
            parts.queues[1].arguments = buffer_bytes(&bad_ttl);
            break;
        case 2:
            parts.exchanges[1].type = "headers";
            parts.bindings[2].arguments = buffer_bytes(&x_match);
            break;
        case 3:
            parts.bindings[2].source = bytes_of("gone");
            break;
        case 4:
            parts.bindings[2].destination = bytes_of("gone");
            break;
        case 5:
            parts.bindings[2].routing_key = bytes_make(long_key, sizeof(long_key));
            break;
        case 6:
            parts.config.queues_max = 1;
            break;
        case 7:
            parts.exchanges[1].type = "x-consistent-hash"; /* and a key that is no weight */
            break;
        case 8:
            parts.exchanges[1].type = "x-consistent-hash";
            parts.exchanges[1].arguments = buffer_bytes(&hash_property);
            parts.bindings[2].routing_key = bytes_of("1");
            break;
        default:
            parts.users[1].read = "(";
            parts.users[1].mark = mark(8);
            break;
        }
        buffer_clear(&rig->log_text);
        cr_expect(eq(int, apply(&parts), STATUS_REJECTED), "row %d", row);
        cr_expect(rig_logged(rig, "topology.rejected"), "row %d", row);
        cr_expect(eq(ptr, find_exchange("orders"), NULL), "row %d", row);
        cr_expect(eq(ptr, find_queue("billing"), NULL), "row %d", row);
        cr_expect(eq(ptr, core_find_user(rig->core, bytes_of("alice")), NULL), "row %d", row);
    }
    buffer_fini(&x_match);
    buffer_fini(&bad_ttl);
    buffer_fini(&hash_property);
}

Test(topology, a_new_vhost_comes_with_its_limits_or_not_at_all)
{
    struct parts parts;
    fill_parts(&parts);
    parts.config.vhost = bytes_of("shop");
    parts.config.queues_max = 1;
    cr_expect(eq(int, apply(&parts), STATUS_REJECTED));
    cr_expect(eq(ptr, core_find_vhost(rig->core, bytes_of("shop")), NULL));
    parts.config.queues_max = 2;
    parts.config.connections_max = 5;
    cr_expect(eq(int, apply(&parts), STATUS_OK));
    const struct vhost *shop = core_find_vhost(rig->core, bytes_of("shop"));
    cr_assert(ne(ptr, (void *)shop, NULL));
    cr_expect(eq(i64, shop->queues_max, 2));
    cr_expect(eq(i64, shop->connections_max, 5));
    cr_expect(access_may_enter(core_find_user(rig->core, bytes_of("alice")), shop->name));
    cr_expect(not(access_may_enter(core_find_user(rig->core, bytes_of("alice")), bytes_of("/"))));
}

/* RabbitMQ closes the connections of a deleted user with 320. */
Test(topology, a_user_that_left_the_file_is_disconnected_and_others_are_not)
{
    struct parts parts;
    apply_parts(&parts);
    uint64_t alice = connect_as("alice");
    uint64_t bob = connect_as("bob");
    parts.config.user_count = 1;
    cr_assert(eq(int, apply(&parts), STATUS_OK));
    rig_expect_close(rig, bob, 320, "user 'bob' was deleted");
    cr_expect(core_find_user(rig->core, bytes_of("bob"))->is_disabled);
    rig_expect_nothing(rig, alice);
    parts.config.user_count = 2;
    cr_assert(eq(int, apply(&parts), STATUS_OK));
    cr_expect(not(core_find_user(rig->core, bytes_of("bob"))->is_disabled), "it is back");
    (void)connect_as("bob");
}

/* Permission lost: a server-sent basic.cancel. The other consumer goes on. */
Test(topology, consumers_that_may_no_longer_read_are_cancelled)
{
    struct parts parts;
    apply_parts(&parts);
    uint64_t alice = connect_as("alice");
    consume(alice, "billing");
    consume(alice, "mail");
    parts.users[0].read = "^mail$";
    cr_assert(eq(int, apply(&parts), STATUS_OK));
    const struct method *cancel = rig_expect(rig, alice, 1, METHOD_BASIC_CANCEL);
    cr_expect(bytes_equal_text(cancel->basic_cancel.consumer_tag, "billing"));
    rig_expect_nothing(rig, alice);
    cr_expect(eq(u32, find_queue("billing")->consumer_count, 0));
    cr_expect(eq(u32, find_queue("mail")->consumer_count, 1));
}

Test(topology, publishing_asks_the_changed_rights)
{
    struct parts parts;
    apply_parts(&parts);
    uint64_t alice = connect_as("alice");
    rig_publish(rig, alice, 1, "orders", "order.eu.placed", "x");
    rig_expect_nothing(rig, alice);
    parts.users[0].write = "";
    cr_assert(eq(int, apply(&parts), STATUS_OK));
    rig_publish(rig, alice, 1, "orders", "order.eu.placed", "x");
    rig_expect_channel_close(rig, alice, 1, 403,
                             "write access to exchange 'orders' in vhost '/' refused for user "
                             "'alice'");
}

Test(topology, additions_appear_while_clients_are_connected)
{
    struct parts parts;
    fill_parts(&parts);
    parts.config.queue_count = 1;
    parts.config.binding_count = 2;
    cr_assert(eq(int, apply(&parts), STATUS_OK));
    uint64_t alice = connect_as("alice");
    rig_publish(rig, alice, 1, "orders", "order.eu.placed", "x");
    parts.config.queue_count = 2;
    parts.config.binding_count = 3;
    cr_assert(eq(int, apply(&parts), STATUS_OK));
    rig_publish(rig, alice, 1, "orders", "order.eu.placed", "x");
    cr_expect(eq(u64, find_queue("billing")->ready_count, 2));
    cr_expect(eq(u64, find_queue("mail")->ready_count, 1));
}
