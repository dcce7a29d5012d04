/* SPDX-License-Identifier: Apache-2.0 */
/* A configuration applied to a core that is running: additions, differences, users and rights. */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <stdio.h>

#include "amqp/table.h"
#include "base/assert.h"
#include "tests/unit/broker/core_harness.h"

static struct rig *rig;
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
    enum status status = core_apply(rig->core, &parts->config);
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
    cr_expect(not(rig_logged(rig, "topology.differs")));
}

/* What clients made may hold messages, and stays; the log says where the file differs. */
Test(topology, what_exists_differently_is_left_and_logged_with_its_place)
{
    rig_add_user(rig, "alice", "pw");
    uint64_t client = connect_as("alice");
    struct method exchange = {
        .id = METHOD_EXCHANGE_DECLARE,
        .exchange_declare = {.exchange = bytes_of("orders"), .type = bytes_of("direct")}};
    rig_send(rig, client, 1, &exchange);
    (void)rig_expect(rig, client, 1, METHOD_EXCHANGE_DECLARE_OK);
    struct method queue = {.id = METHOD_QUEUE_DECLARE,
                           .queue_declare = {.queue = bytes_of("mail")}};
    rig_send(rig, client, 1, &queue);
    (void)rig_expect(rig, client, 1, METHOD_QUEUE_DECLARE_OK);
    struct parts parts;
    apply_parts(&parts);
    cr_expect(eq(str, (char *)find_exchange("orders")->type->name, "direct"));
    cr_expect(not(find_exchange("orders")->from_file));
    cr_expect(not(find_queue("mail")->durable));
    cr_expect(rig_logged(rig, "file=\"shop.yaml\" line=1 column=3"));
    cr_expect(rig_logged(rig,
                         "inequivalent arg 'type' for exchange 'orders' in vhost '/': received "
                         "'topic' but current is 'direct'"));
    cr_expect(rig_logged(rig, "file=\"shop.yaml\" line=4 column=3"));
    cr_expect(ne(ptr, find_queue("billing"), NULL), "the rest is made");
}

/* Somebody's own queue of that name is not what the file means: it must not get messages. */
Test(topology, a_queue_that_is_exclusive_to_a_connection_is_not_bound)
{
    rig_add_user(rig, "alice", "pw");
    uint64_t client = connect_as("alice");
    struct method queue = {.id = METHOD_QUEUE_DECLARE,
                           .queue_declare = {.queue = bytes_of("mail"), .exclusive = true}};
    rig_send(rig, client, 1, &queue);
    (void)rig_expect(rig, client, 1, METHOD_QUEUE_DECLARE_OK);
    struct parts parts;
    apply_parts(&parts);
    cr_expect(list_is_empty(&find_queue("mail")->target.bindings));
    cr_expect(rig_logged(rig, "line=7"));
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
    for (int row = 0; row < 7; row++) {
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
        default:
            parts.config.queues_max = 1;
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
