/* SPDX-License-Identifier: Apache-2.0 */
/* Exchanges, queues and bindings as methods declare, compare and delete them: answers and texts. */
#include "broker/topology/vhost.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <stdio.h>

#include "amqp/table.h"
#include "base/alloc.h"
#include "base/assert.h"
#include "broker/publishing/route.h"
#include "broker/topology/doomed.h"
#include "tests/unit/broker/core_harness.h"

static struct rig *rig;
static struct vhost *vhost;
static uint64_t client;

static void
set_up(void)
{
    rig = rig_new(NULL);
    rig_add_user(rig, "guest", "guest");
    vhost = rig_vhost(rig);
    client = rig_connect(rig, "guest", "guest");
    rig_open_channel(rig, client, 1);
}

static void
tear_down(void)
{
    rig_free(&rig);
}

TestSuite(vhost, .init = set_up, .fini = tear_down);

static uint64_t
connect_another(void)
{
    uint64_t other = rig_connect(rig, "guest", "guest");
    rig_open_channel(rig, other, 1);
    return other;
}

/* The next thing that was sent to the client, or NULL. */
static const struct method *
next_method(uint64_t to)
{
    const struct posted *posted = rig_next(rig, to);
    return posted == NULL ? NULL : &posted->method;
}

/* Whether the next thing that was sent is this method. */
static bool
is_answered(uint64_t to, enum method_id id)
{
    const struct method *method = next_method(to);
    return method != NULL && method->id == id;
}

/* Takes one message from "q" and leaves it open. */
static void
get_one(uint64_t from)
{
    struct method get = {.id = METHOD_BASIC_GET, .basic_get = {.queue = bytes_of("q")}};
    rig_send(rig, from, 1, &get);
    cr_assert(is_answered(from, METHOD_BASIC_GET_OK));
}

/* What follows sends one method on the first connection and takes its answer. */

static void
declare_exchange(const char *name, const char *type)
{
    struct method method = {
        .id = METHOD_EXCHANGE_DECLARE,
        .exchange_declare = {.exchange = bytes_of(name), .type = bytes_of(type)},
    };
    rig_send(rig, client, 1, &method);
    cr_assert(is_answered(client, METHOD_EXCHANGE_DECLARE_OK), "%s", name);
}

static void
declare_auto_delete_exchange(const char *name)
{
    struct method method = {
        .id = METHOD_EXCHANGE_DECLARE,
        .exchange_declare = {.exchange = bytes_of(name),
                             .type = bytes_of("fanout"),
                             .auto_delete = true},
    };
    rig_send(rig, client, 1, &method);
    cr_assert(is_answered(client, METHOD_EXCHANGE_DECLARE_OK));
}

static void
declare_queue(const char *name)
{
    struct method method = {
        .id = METHOD_QUEUE_DECLARE,
        .queue_declare = {.queue = bytes_of(name)},
    };
    rig_send(rig, client, 1, &method);
    cr_assert(is_answered(client, METHOD_QUEUE_DECLARE_OK), "%s", name);
}

static void
bind_queue(const char *queue, const char *exchange, const char *key)
{
    struct method method = {
        .id = METHOD_QUEUE_BIND,
        .queue_bind = {.queue = bytes_of(queue),
                       .exchange = bytes_of(exchange),
                       .routing_key = bytes_of(key)},
    };
    rig_send(rig, client, 1, &method);
    cr_assert(is_answered(client, METHOD_QUEUE_BIND_OK));
}

static void
bind_exchange(const char *destination, const char *source)
{
    struct method method = {
        .id = METHOD_EXCHANGE_BIND,
        .exchange_bind = {.destination = bytes_of(destination), .source = bytes_of(source)},
    };
    rig_send(rig, client, 1, &method);
    cr_assert(is_answered(client, METHOD_EXCHANGE_BIND_OK));
}

static void
consume(uint64_t from, const char *queue, const char *tag)
{
    struct method method = {
        .id = METHOD_BASIC_CONSUME,
        .basic_consume = {.queue = bytes_of(queue), .consumer_tag = bytes_of(tag), .no_ack = true},
    };
    rig_send(rig, from, 1, &method);
    cr_assert(is_answered(from, METHOD_BASIC_CONSUME_OK));
}

static bool
has_exchange(const char *name)
{
    return vhost_find_exchange(vhost, bytes_of(name)) != NULL;
}

static bool
has_queue(const char *name)
{
    return vhost_find_queue(vhost, bytes_of(name)) != NULL;
}

/* A table body with one text. */
static struct buffer
text_argument(const char *name, const char *text)
{
    struct buffer table;
    buffer_init(&table);
    table_put_text(&table, name, bytes_of(text));
    return table;
}

/* The channel was closed with exactly this text; it is opened again. */
static void
expect_closed(uint64_t to, uint16_t code, const char *text)
{
    const struct method *method = next_method(to);
    cr_assert(ne(ptr, (void *)method, NULL), "nothing came for: %s", text);
    cr_assert(eq(int, method->id, METHOD_CHANNEL_CLOSE), "%s", text);
    char got[256];
    snprintf(got, sizeof(got), "%.*s", BYTES_FORMAT(method->channel_close.reply_text));
    cr_expect(eq(u16, method->channel_close.reply_code, code));
    cr_expect(eq(str, got, (char *)text));
    rig_send_id(rig, to, 1, METHOD_CHANNEL_CLOSE_OK);
    rig_open_channel(rig, to, 1);
}

/* A method that must be refused. */
static void
expect_fault(uint64_t from, const struct method *method, uint16_t code, const char *text)
{
    rig_send(rig, from, 1, method);
    expect_closed(from, code, text);
}

/* The exchanges that the reference lists for every vhost. */
Test(vhost, it_comes_with_the_predeclared_exchanges)
{
    static const struct {
        const char *name;
        const struct exchange_type *type;
        bool internal;
    } rows[] = {
        {"", &exchange_type_direct, false},
        {"amq.direct", &exchange_type_direct, false},
        {"amq.fanout", &exchange_type_fanout, false},
        {"amq.topic", &exchange_type_topic, false},
        {"amq.headers", &exchange_type_headers, false},
        {"amq.match", &exchange_type_headers, false},
        {"amq.rabbitmq.trace", &exchange_type_topic, true},
        {"bourse.control", &exchange_type_direct, false},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        const struct exchange *exchange = vhost_find_exchange(vhost, bytes_of(rows[i].name));
        cr_assert(ne(ptr, (void *)exchange, NULL), "%s", rows[i].name);
        cr_expect(eq(ptr, (void *)exchange->type, (void *)rows[i].type));
        cr_expect(exchange->durable);
        cr_expect(not(exchange->auto_delete));
        cr_expect(eq(int, exchange->internal, rows[i].internal));
    }
    cr_expect(eq(u32, map_count(&vhost->exchanges), ARRAY_LEN(rows)));
}

/* Every refusal of exchange.declare and exchange.delete, letter for letter. */
Test(vhost, exchange_methods_are_refused_with_rabbitmqs_texts)
{
    struct buffer alternate = text_argument("alternate-exchange", "ae");
    struct buffer other_alternate = text_argument("alternate-exchange", "be");
    struct buffer bad_alternate;
    buffer_init(&bad_alternate);
    table_put_integer(&bad_alternate, "alternate-exchange", 1);
    declare_exchange("x", "direct");
    struct method with_alternate = {
        .id = METHOD_EXCHANGE_DECLARE,
        .exchange_declare = {.exchange = bytes_of("with-ae"),
                             .type = bytes_of("direct"),
                             .arguments = buffer_bytes(&alternate)},
    };
    rig_send(rig, client, 1, &with_alternate);
    cr_assert(is_answered(client, METHOD_EXCHANGE_DECLARE_OK));
    declare_queue("q");
    bind_queue("q", "x", "k");

    const struct {
        struct exchange_declare args;
        uint16_t code;
        const char *text;
    } rows[] = {
        {{.exchange = bytes_of("y"), .type = bytes_of("nosuch")},
         406,
         "PRECONDITION_FAILED - unknown exchange type 'nosuch'"},
        {{.exchange = bytes_of(""), .type = bytes_of("direct")},
         403,
         "ACCESS_REFUSED - operation not permitted on the default exchange"},
        {{.exchange = bytes_of(""), .passive = true},
         403,
         "ACCESS_REFUSED - operation not permitted on the default exchange"},
        {{.exchange = bytes_of("amq.mine"), .type = bytes_of("direct")},
         403,
         "ACCESS_REFUSED - exchange name 'amq.mine' contains reserved prefix 'amq.*'"},
        {{.exchange = bytes_of("gone"), .passive = true, .nowait = true},
         404,
         "NOT_FOUND - no exchange 'gone' in vhost '/'"},
        {{.exchange = bytes_of("x"), .type = bytes_of("topic")},
         406,
         "PRECONDITION_FAILED - inequivalent arg 'type' for exchange 'x' in vhost '/': received "
         "'topic' but current is 'direct'"},
        {{.exchange = bytes_of("x"), .type = bytes_of("direct"), .durable = true},
         406,
         "PRECONDITION_FAILED - inequivalent arg 'durable' for exchange 'x' in vhost '/': received "
         "'true' but current is 'false'"},
        {{.exchange = bytes_of("x"), .type = bytes_of("direct"), .auto_delete = true},
         406,
         "PRECONDITION_FAILED - inequivalent arg 'auto_delete' for exchange 'x' in vhost '/': "
         "received 'true' but current is 'false'"},
        {{.exchange = bytes_of("x"), .type = bytes_of("direct"), .internal = true},
         406,
         "PRECONDITION_FAILED - inequivalent arg 'internal' for exchange 'x' in vhost '/': "
         "received "
         "'true' but current is 'false'"},
        {{.exchange = bytes_of("x"),
          .type = bytes_of("direct"),
          .arguments = buffer_bytes(&alternate)},
         406,
         "PRECONDITION_FAILED - inequivalent arg 'alternate-exchange' for exchange 'x' in vhost "
         "'/': received the value 'ae' of type 'longstr' but current is none"},
        {{.exchange = bytes_of("with-ae"), .type = bytes_of("direct")},
         406,
         "PRECONDITION_FAILED - inequivalent arg 'alternate-exchange' for exchange 'with-ae' in "
         "vhost '/': received none but current is the value 'ae' of type 'longstr'"},
        {{.exchange = bytes_of("with-ae"),
          .type = bytes_of("direct"),
          .arguments = buffer_bytes(&other_alternate)},
         406,
         "PRECONDITION_FAILED - inequivalent arg 'alternate-exchange' for exchange 'with-ae' in "
         "vhost '/': received 'be' but current is 'ae'"},
        {{.exchange = bytes_of("new"),
          .type = bytes_of("direct"),
          .arguments = buffer_bytes(&bad_alternate)},
         406,
         "PRECONDITION_FAILED - invalid type 'long' for arg 'alternate-exchange' in exchange 'new' "
         "in vhost '/'"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct method method = {.id = METHOD_EXCHANGE_DECLARE, .exchange_declare = rows[i].args};
        expect_fault(client, &method, rows[i].code, rows[i].text);
    }
    const struct {
        struct exchange_delete args;
        uint16_t code;
        const char *text;
    } deletes[] = {
        {{.exchange = bytes_of("")},
         403,
         "ACCESS_REFUSED - operation not permitted on the default exchange"},
        {{.exchange = bytes_of("amq.topic")},
         403,
         "ACCESS_REFUSED - deletion of system exchange 'amq.topic' in vhost '/' not allowed"},
        {{.exchange = bytes_of("bourse.control")},
         403,
         "ACCESS_REFUSED - deletion of system exchange 'bourse.control' in vhost '/' not allowed"},
        {{.exchange = bytes_of("x"), .if_unused = true},
         406,
         "PRECONDITION_FAILED - exchange 'x' in vhost '/' in use"},
    };
    for (size_t i = 0; i < ARRAY_LEN(deletes); i++) {
        struct method method = {.id = METHOD_EXCHANGE_DELETE, .exchange_delete = deletes[i].args};
        expect_fault(client, &method, deletes[i].code, deletes[i].text);
    }
    cr_expect(has_exchange("x"));
    buffer_fini(&alternate);
    buffer_fini(&other_alternate);
    buffer_fini(&bad_alternate);
}

Test(vhost, declaring_what_is_there_with_the_same_properties_succeeds)
{
    struct buffer noise = text_argument("x-custom", "kept and not compared");
    declare_exchange("x", "topic");
    declare_exchange("x", "topic");
    struct method method = {
        .id = METHOD_EXCHANGE_DECLARE,
        .exchange_declare = {.exchange = bytes_of("x"),
                             .type = bytes_of("topic"),
                             .arguments = buffer_bytes(&noise)},
    };
    rig_send(rig, client, 1, &method);
    cr_expect(is_answered(client, METHOD_EXCHANGE_DECLARE_OK));
    struct method predeclared = {
        .id = METHOD_EXCHANGE_DECLARE,
        .exchange_declare = {.exchange = bytes_of("amq.topic"),
                             .type = bytes_of("topic"),
                             .durable = true},
    };
    rig_send(rig, client, 1, &predeclared);
    cr_expect(is_answered(client, METHOD_EXCHANGE_DECLARE_OK));
    buffer_fini(&noise);
}

Test(vhost, nowait_gets_no_answer)
{
    struct method methods[] = {
        {.id = METHOD_EXCHANGE_DECLARE,
         .exchange_declare = {.exchange = bytes_of("x"),
                              .type = bytes_of("direct"),
                              .nowait = true}},
        {.id = METHOD_EXCHANGE_DECLARE,
         .exchange_declare = {.exchange = bytes_of("x"), .passive = true, .nowait = true}},
        {.id = METHOD_QUEUE_DECLARE, .queue_declare = {.queue = bytes_of("q"), .nowait = true}},
        {.id = METHOD_QUEUE_BIND, .queue_bind = {.exchange = bytes_of("x"), .nowait = true}},
        {.id = METHOD_EXCHANGE_BIND,
         .exchange_bind = {.destination = bytes_of("x"),
                           .source = bytes_of("amq.topic"),
                           .nowait = true}},
        {.id = METHOD_EXCHANGE_UNBIND,
         .exchange_unbind = {.destination = bytes_of("x"),
                             .source = bytes_of("amq.topic"),
                             .nowait = true}},
        {.id = METHOD_QUEUE_PURGE, .queue_purge = {.nowait = true}},
        {.id = METHOD_QUEUE_DELETE, .queue_delete = {.nowait = true}},
        {.id = METHOD_EXCHANGE_DELETE,
         .exchange_delete = {.exchange = bytes_of("x"), .nowait = true}},
    };
    for (size_t i = 0; i < ARRAY_LEN(methods); i++) {
        rig_send(rig, client, 1, &methods[i]);
        cr_expect(eq(ptr, (void *)next_method(client), NULL), "method %zu", i);
    }
    cr_expect(not(has_exchange("x")));
    cr_expect(not(has_queue("q")));
}

/* Every refusal of class queue, letter for letter. */
Test(vhost, queue_methods_are_refused_with_rabbitmqs_texts)
{
    struct buffer ttl;
    buffer_init(&ttl);
    table_put_integer(&ttl, "x-message-ttl", 5);
    struct buffer quorum = text_argument("x-queue-type", "quorum");
    struct buffer bad_dead_letter;
    buffer_init(&bad_dead_letter);
    table_put_integer(&bad_dead_letter, "x-dead-letter-exchange", 1);
    const struct method rows[] = {
        {.id = METHOD_QUEUE_BIND, .queue_bind = {.exchange = bytes_of("amq.topic")}},
        {.id = METHOD_QUEUE_DECLARE, .queue_declare = {.queue = bytes_of("amq.mine")}},
        {.id = METHOD_QUEUE_DECLARE, .queue_declare = {.queue = bytes_of("gone"), .passive = true}},
        {.id = METHOD_QUEUE_DECLARE, .queue_declare = {.queue = bytes_of("q"), .durable = true}},
        {.id = METHOD_QUEUE_DECLARE,
         .queue_declare = {.queue = bytes_of("q"), .auto_delete = true}},
        {.id = METHOD_QUEUE_DECLARE,
         .queue_declare = {.queue = bytes_of("q"), .arguments = buffer_bytes(&ttl)}},
        {.id = METHOD_QUEUE_DECLARE,
         .queue_declare = {.queue = bytes_of("n"), .arguments = buffer_bytes(&bad_dead_letter)}},
        {.id = METHOD_QUEUE_DECLARE,
         .queue_declare = {.queue = bytes_of("n"), .arguments = buffer_bytes(&quorum)}},
        {.id = METHOD_QUEUE_DECLARE,
         .queue_declare = {.queue = bytes_of("n"),
                           .durable = true,
                           .exclusive = true,
                           .arguments = buffer_bytes(&quorum)}},
        {.id = METHOD_QUEUE_DECLARE,
         .queue_declare = {.durable = true, .arguments = buffer_bytes(&quorum)}},
        {.id = METHOD_QUEUE_BIND,
         .queue_bind = {.queue = bytes_of("q"), .exchange = bytes_of("gone")}},
        {.id = METHOD_QUEUE_BIND,
         .queue_bind = {.queue = bytes_of("gone"), .exchange = bytes_of("amq.topic")}},
        {.id = METHOD_QUEUE_BIND, .queue_bind = {.queue = bytes_of("q")}},
        {.id = METHOD_QUEUE_BIND,
         .queue_bind = {.queue = bytes_of("amq.rabbitmq.reply-to.token"),
                        .exchange = bytes_of("amq.topic")}},
        {.id = METHOD_QUEUE_DECLARE,
         .queue_declare = {.queue = bytes_of("amq.rabbitmq.reply-to.token"), .passive = true}},
        {.id = METHOD_EXCHANGE_BIND, .exchange_bind = {.source = bytes_of("amq.topic")}},
        {.id = METHOD_EXCHANGE_BIND, .exchange_bind = {.destination = bytes_of("amq.topic")}},
        {.id = METHOD_EXCHANGE_BIND,
         .exchange_bind = {.destination = bytes_of("gone"), .source = bytes_of("amq.topic")}},
        {.id = METHOD_QUEUE_PURGE, .queue_purge = {.queue = bytes_of("gone")}},
        {.id = METHOD_QUEUE_PURGE},
    };
    static const struct {
        uint16_t code;
        const char *text;
    } expected[ARRAY_LEN(rows)] = {
        {404, "NOT_FOUND - no previously declared queue"},
        {403, "ACCESS_REFUSED - queue name 'amq.mine' contains reserved prefix 'amq.*'"},
        {404, "NOT_FOUND - no queue 'gone' in vhost '/'"},
        {406, "PRECONDITION_FAILED - inequivalent arg 'durable' for queue 'q' in vhost '/': "
              "received 'true' but current is 'false'"},
        {406, "PRECONDITION_FAILED - inequivalent arg 'auto_delete' for queue 'q' in vhost '/': "
              "received 'true' but current is 'false'"},
        {406, "PRECONDITION_FAILED - inequivalent arg 'x-message-ttl' for queue 'q' in vhost '/': "
              "received the value '5' of type 'long' but current is none"},
        {406, "PRECONDITION_FAILED - invalid type 'long' for arg 'x-dead-letter-exchange' in queue "
              "'n' in vhost '/'"},
        {406, "PRECONDITION_FAILED - invalid property 'non-durable' for queue 'n' in vhost '/'"},
        {406, "PRECONDITION_FAILED - invalid property 'exclusive-owner' for queue 'n' in vhost "
              "'/'"},
        {406, "PRECONDITION_FAILED - Cannot declare a server-named queue for type "
              "rabbit_quorum_queue"},
        {404, "NOT_FOUND - no exchange 'gone' in vhost '/'"},
        {404, "NOT_FOUND - no queue 'gone' in vhost '/'"},
        {403, "ACCESS_REFUSED - operation not permitted on the default exchange"},
        {403, "ACCESS_REFUSED - queue 'amq.rabbitmq.reply-to.token' in vhost '/' cannot be bound"},
        {404, "NOT_FOUND - no queue 'amq.rabbitmq.reply-to.token' in vhost '/'"},
        {403, "ACCESS_REFUSED - operation not permitted on the default exchange"},
        {403, "ACCESS_REFUSED - operation not permitted on the default exchange"},
        {404, "NOT_FOUND - no exchange 'gone' in vhost '/'"},
        {404, "NOT_FOUND - no queue 'gone' in vhost '/'"},
        {404, "NOT_FOUND - no previously declared queue"},
    };
    struct method make = {.id = METHOD_QUEUE_DECLARE,
                          .queue_declare = {.queue = bytes_of("q"), .nowait = true}};
    uint64_t other = connect_another();
    rig_send(rig, other, 1, &make);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        expect_fault(client, &rows[i], expected[i].code, expected[i].text);
    }
    buffer_fini(&ttl);
    buffer_fini(&quorum);
    buffer_fini(&bad_dead_letter);
}

Test(vhost, names_lose_line_ends)
{
    declare_exchange("a\r\nb\n", "direct");
    cr_expect(has_exchange("ab"));
    declare_queue("\r\nq\n");
    cr_expect(has_queue("q"));
    bind_queue("q\n", "\rab", "k");
    cr_expect(eq(u32, vhost_find_exchange(vhost, bytes_of("ab"))->bindings.count, 1));
    struct method line_end = {
        .id = METHOD_EXCHANGE_DECLARE,
        .exchange_declare = {.exchange = bytes_of("\n"), .type = bytes_of("direct")}};
    expect_fault(client, &line_end, 403,
                 "ACCESS_REFUSED - operation not permitted on the default exchange");
}

/* 22 characters of URL-safe base64 behind the prefix, and a new name each time. */
Test(vhost, the_server_makes_names_of_its_own)
{
    struct method method = {.id = METHOD_QUEUE_DECLARE};
    char names[2][64];
    for (size_t i = 0; i < 2; i++) {
        rig_send(rig, client, 1, &method);
        const struct method *answer = next_method(client);
        cr_assert(eq(int, answer->id, METHOD_QUEUE_DECLARE_OK));
        struct bytes name = answer->queue_declare_ok.queue;
        cr_assert(eq(sz, name.size, strlen("amq.gen-") + 22));
        snprintf(names[i], sizeof(names[i]), "%.*s", BYTES_FORMAT(name));
        cr_expect(has_queue(names[i]));
    }
    cr_expect(ne(str, names[0], names[1]));
    /* It is the channel's last queue now, and with no key the name is the key. */
    struct method bind = {.id = METHOD_QUEUE_BIND,
                          .queue_bind = {.exchange = bytes_of("amq.direct")}};
    rig_send(rig, client, 1, &bind);
    cr_assert(is_answered(client, METHOD_QUEUE_BIND_OK));
    struct exchange *direct = vhost_find_exchange(vhost, bytes_of("amq.direct"));
    const struct binding *binding = binding_table_any(&direct->bindings);
    cr_expect(bytes_equal_text(binding_routing_key(binding), names[1]));
}

/* Only when the queue was left out, too, does the queue's name stand in for an empty key. */
Test(vhost, an_empty_key_with_a_named_queue_stays_empty)
{
    declare_queue("q");
    bind_queue("q", "amq.direct", "");
    struct exchange *direct = vhost_find_exchange(vhost, bytes_of("amq.direct"));
    const struct binding *binding = binding_table_any(&direct->bindings);
    cr_expect(eq(sz, binding_routing_key(binding).size, 0));
}

/* Ready messages only; consumers all. */
Test(vhost, declare_ok_counts_ready_messages_and_consumers)
{
    declare_queue("q");
    for (int i = 0; i < 3; i++) {
        rig_publish(rig, client, 1, "", "q", "x");
    }
    get_one(client);
    struct method passive = {.id = METHOD_QUEUE_DECLARE,
                             .queue_declare = {.queue = bytes_of("q"), .passive = true}};
    rig_send(rig, client, 1, &passive);
    const struct method *answer = next_method(client);
    cr_assert(eq(int, answer->id, METHOD_QUEUE_DECLARE_OK));
    cr_expect(eq(u32, answer->queue_declare_ok.message_count, 2));
    cr_expect(eq(u32, answer->queue_declare_ok.consumer_count, 0));
}

static void
expect_locked(uint64_t from, const struct method *method)
{
    expect_fault(from, method, 405,
                 "RESOURCE_LOCKED - cannot obtain exclusive access to locked queue 'own' in vhost "
                 "'/'. It could be originally declared on another connection or the exclusive "
                 "property value does not match that of the original declaration.");
}

/* 405 comes before 406: the second row has another `durable` as well. */
Test(vhost, an_exclusive_queue_is_its_connections_alone_and_ends_with_it)
{
    struct method own = {.id = METHOD_QUEUE_DECLARE,
                         .queue_declare = {.queue = bytes_of("own"), .exclusive = true}};
    rig_send(rig, client, 1, &own);
    cr_assert(is_answered(client, METHOD_QUEUE_DECLARE_OK));
    rig_send(rig, client, 1, &own);
    cr_assert(is_answered(client, METHOD_QUEUE_DECLARE_OK));
    /* What was asked to be durable is the same queue: it would not survive its connection. */
    struct method durable = {
        .id = METHOD_QUEUE_DECLARE,
        .queue_declare = {.queue = bytes_of("own"), .exclusive = true, .durable = true}};
    rig_send(rig, client, 1, &durable);
    cr_assert(is_answered(client, METHOD_QUEUE_DECLARE_OK));
    struct method shared = {.id = METHOD_QUEUE_DECLARE,
                            .queue_declare = {.queue = bytes_of("own")}};
    expect_locked(client, &shared);

    uint64_t other = connect_another();
    struct method passive = {.id = METHOD_QUEUE_DECLARE,
                             .queue_declare = {.queue = bytes_of("own"), .passive = true}};
    struct method bind = {
        .id = METHOD_QUEUE_BIND,
        .queue_bind = {.queue = bytes_of("own"), .exchange = bytes_of("amq.topic")}};
    struct method unbind = {
        .id = METHOD_QUEUE_UNBIND,
        .queue_unbind = {.queue = bytes_of("own"), .exchange = bytes_of("amq.topic")}};
    struct method purge = {.id = METHOD_QUEUE_PURGE, .queue_purge = {.queue = bytes_of("own")}};
    struct method delete = {.id = METHOD_QUEUE_DELETE, .queue_delete = {.queue = bytes_of("own")}};
    expect_locked(other, &own);
    expect_locked(other, &durable);
    expect_locked(other, &shared);
    expect_locked(other, &passive);
    expect_locked(other, &bind);
    expect_locked(other, &unbind);
    expect_locked(other, &purge);
    expect_locked(other, &delete);
    cr_assert(has_queue("own"));
    rig_hang_up(rig, client);
    cr_expect(not(has_queue("own")));
    rig_send(rig, other, 1, &own);
    cr_expect(is_answered(other, METHOD_QUEUE_DECLARE_OK));
}

/* A limit concerns new queues: what is there may be declared again. */
Test(vhost, the_queue_limit_stops_new_queues)
{
    vhost->queues_max = 1;
    declare_queue("first");
    declare_queue("first");
    struct method second = {.id = METHOD_QUEUE_DECLARE,
                            .queue_declare = {.queue = bytes_of("second")}};
    expect_fault(client, &second, 406,
                 "PRECONDITION_FAILED - cannot declare queue 'second': queue limit in vhost '/' "
                 "(1) is reached");
}

Test(vhost, unbinding_is_idempotent_also_without_the_ends)
{
    static const struct {
        const char *queue;
        const char *exchange;
    } rows[] = {{"q", "amq.topic"}, {"gone", "amq.topic"}, {"q", "gone"}, {"gone", "gone"}};
    declare_queue("q");
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct method unbind = {.id = METHOD_QUEUE_UNBIND,
                                .queue_unbind = {.queue = bytes_of(rows[i].queue),
                                                 .exchange = bytes_of(rows[i].exchange)}};
        rig_send(rig, client, 1, &unbind);
        cr_expect(is_answered(client, METHOD_QUEUE_UNBIND_OK), "row %zu", i);
    }
    struct method exchange_unbind = {
        .id = METHOD_EXCHANGE_UNBIND,
        .exchange_unbind = {.destination = bytes_of("gone"), .source = bytes_of("amq.topic")}};
    rig_send(rig, client, 1, &exchange_unbind);
    cr_expect(is_answered(client, METHOD_EXCHANGE_UNBIND_OK));
}

/* The last binding as source counts, and only it. */
Test(vhost, an_auto_delete_exchange_goes_with_its_last_binding_as_source)
{
    declare_auto_delete_exchange("x");
    declare_queue("q");
    bind_exchange("x", "amq.topic");
    struct method unbind_destination = {
        .id = METHOD_EXCHANGE_UNBIND,
        .exchange_unbind = {.destination = bytes_of("x"), .source = bytes_of("amq.topic")}};
    rig_send(rig, client, 1, &unbind_destination);
    cr_assert(is_answered(client, METHOD_EXCHANGE_UNBIND_OK));
    cr_expect(has_exchange("x"), "it never was a source");
    bind_queue("q", "x", "1");
    bind_queue("q", "x", "2");
    struct method unbind = {.id = METHOD_QUEUE_UNBIND,
                            .queue_unbind = {.queue = bytes_of("q"),
                                             .exchange = bytes_of("x"),
                                             .routing_key = bytes_of("1")}};
    rig_send(rig, client, 1, &unbind);
    cr_assert(is_answered(client, METHOD_QUEUE_UNBIND_OK));
    cr_expect(has_exchange("x"));
    unbind.queue_unbind.routing_key = bytes_of("2");
    rig_send(rig, client, 1, &unbind);
    cr_assert(is_answered(client, METHOD_QUEUE_UNBIND_OK));
    cr_expect(not(has_exchange("x")));
}

/* A chain that a peer can make as long as it likes must not end the process. */
Test(vhost, a_long_chain_of_auto_delete_exchanges_falls_with_one_queue)
{
    enum { LENGTH = 20000 };
    struct exchange_properties properties = {.type = &exchange_type_fanout, .auto_delete = true};
    struct exchange *previous = NULL;
    struct fault fault;
    for (uint32_t i = 0; i < LENGTH; i++) {
        char name[16];
        snprintf(name, sizeof(name), "x%u", i);
        properties.name = bytes_of(name);
        struct exchange *exchange;
        cr_assert(
            eq(int, vhost_declare_exchange(vhost, &properties, &exchange, &fault), STATUS_OK));
        if (previous != NULL) {
            cr_assert(eq(int,
                         vhost_bind(vhost, previous, &exchange->target, bytes_of(""), bytes_of(""),
                                    NULL, &fault),
                         STATUS_OK));
        }
        previous = exchange;
    }
    declare_queue("q");
    struct queue *queue = vhost_find_queue(vhost, bytes_of("q"));
    cr_assert(eq(
        int, vhost_bind(vhost, previous, &queue->target, bytes_of(""), bytes_of(""), NULL, &fault),
        STATUS_OK));
    uint32_t count = map_count(&vhost->exchanges);
    (void)vhost_delete_queue(vhost, queue);
    for (uint32_t i = 0; i < LENGTH / CORE_UNBINDS_PER_TICK; i++) {
        rig_turn(rig);
    }
    cr_expect(eq(u32, map_count(&vhost->exchanges), count - LENGTH));
}

/* Deleting what has very many bindings: everybody else is served meanwhile. */

enum { MANY_BINDINGS = 3 * CORE_UNBINDS_PER_TICK };

static void
bind_many(const char *queue_name, const char *exchange_name)
{
    struct queue *queue = vhost_find_queue(vhost, bytes_of(queue_name));
    struct exchange *exchange = vhost_find_exchange(vhost, bytes_of(exchange_name));
    struct fault fault;
    char key[16];
    for (uint32_t i = 0; i < MANY_BINDINGS; i++) {
        snprintf(key, sizeof(key), "%u", i);
        cr_assert(eq(
            int,
            vhost_bind(vhost, exchange, &queue->target, bytes_of(key), bytes_of(""), NULL, &fault),
            STATUS_OK));
    }
}

static uint32_t
list_count(const struct list *list)
{
    uint32_t count = 0;
    LIST_FOR_EACH(list, link)
    {
        count++;
    }
    return count;
}

static uint32_t
route_count(const char *exchange, const char *key)
{
    struct bytes routing_key = bytes_of(key);
    struct route_message message = {.keys = &routing_key, .key_count = 1};
    core_route(rig->core, vhost, vhost_find_exchange(vhost, bytes_of(exchange)), &message);
    return rig->core->routes.count;
}

/* The name is free and the answer there at once; the memory comes back tick by tick. */
Test(vhost, deleting_an_exchange_takes_so_many_bindings_a_tick)
{
    declare_exchange("x", "direct");
    declare_queue("q");
    bind_many("q", "x");
    const struct list *left = &vhost_find_queue(vhost, bytes_of("q"))->target.bindings;
    struct method delete = {.id = METHOD_EXCHANGE_DELETE,
                            .exchange_delete = {.exchange = bytes_of("x")}};
    rig_send(rig, client, 1, &delete);
    cr_assert(is_answered(client, METHOD_EXCHANGE_DELETE_OK));
    cr_expect(not(has_exchange("x")));
    uint32_t before = list_count(left);
    cr_expect(before >= MANY_BINDINGS - 2 * CORE_UNBINDS_PER_TICK,
              "in the call and its tick's end");
    cr_expect(before > 0);
    cr_expect(eq(u64, core_wait_ms(rig->core), 0));
    declare_exchange("x", "direct");
    bind_queue("q", "x", "1");
    cr_expect(eq(u32, route_count("x", "1"), 1));
    rig_turn(rig);
    rig_turn(rig);
    cr_expect(eq(u32, list_count(left), 1), "that of the new exchange");
    cr_expect(eq(u32, route_count("x", "1"), 1));
}

/* What was deleted is reached by nothing, although it is bound for some ticks more: not even
 * through what is remembered, and the alternate exchange takes what reaches nobody else. */
Test(vhost, a_deleted_queue_with_bindings_left_is_not_routed_to)
{
    declare_exchange("spare", "fanout");
    declare_queue("caught");
    bind_queue("caught", "spare", "");
    struct buffer arguments;
    buffer_init(&arguments);
    table_put_text(&arguments, "alternate-exchange", bytes_of("spare"));
    struct method declare = {
        .id = METHOD_EXCHANGE_DECLARE,
        .exchange_declare = {.exchange = bytes_of("x"),
                             .type = bytes_of("topic"),
                             .arguments = buffer_bytes(&arguments)},
    };
    rig_send(rig, client, 1, &declare);
    cr_assert(is_answered(client, METHOD_EXCHANGE_DECLARE_OK));
    buffer_fini(&arguments);
    declare_queue("q");
    bind_many("q", "x");
    char key[16];
    snprintf(key, sizeof(key), "%u", (uint32_t)MANY_BINDINGS - 1);
    cr_expect(eq(u32, route_count("x", key), 1));
    (void)vhost_delete_queue(vhost, vhost_find_queue(vhost, bytes_of("q")));
    cr_expect(ge(u32, vhost_find_exchange(vhost, bytes_of("x"))->bindings.count, 1));
    for (uint32_t i = 0; i < MANY_BINDINGS; i += 1000) {
        snprintf(key, sizeof(key), "%u", i);
        cr_assert(eq(u32, route_count("x", key), 1));
        const struct queue *reached = queue_of_target(rig->core->routes.targets[0]);
        cr_assert(bytes_equal_text(queue_name(reached), "caught"));
    }
    rig_turn(rig);
    rig_turn(rig);
    cr_expect(eq(u32, vhost_find_exchange(vhost, bytes_of("x"))->bindings.count, 0));
}

/* "In use" must not mean bindings to what the same client has deleted. */
Test(vhost, deleting_an_unused_exchange_waits_for_bindings_that_go)
{
    declare_exchange("x", "direct");
    declare_queue("q");
    bind_many("q", "x");
    struct method delete_queue = {.id = METHOD_QUEUE_DELETE,
                                  .queue_delete = {.queue = bytes_of("q")}};
    struct method delete_exchange = {
        .id = METHOD_EXCHANGE_DELETE,
        .exchange_delete = {.exchange = bytes_of("x"), .if_unused = true},
    };
    rig->holds_turn = true;
    rig_send(rig, client, 1, &delete_queue);
    rig_send(rig, client, 1, &delete_exchange);
    rig->holds_turn = false;
    cr_assert(is_answered(client, METHOD_QUEUE_DELETE_OK));
    cr_expect(eq(ptr, (void *)next_method(client), NULL), "it waits");
    for (int i = 0; i < 4; i++) {
        rig_turn(rig);
    }
    cr_expect(is_answered(client, METHOD_EXCHANGE_DELETE_OK));
    cr_expect(not(has_exchange("x")));
}

/* Whoever leaves while waiting is waited for no more. */
Test(vhost, a_connection_may_end_while_it_waits_for_bindings_that_go)
{
    declare_exchange("x", "direct");
    declare_queue("q");
    bind_many("q", "x");
    uint64_t other = connect_another();
    struct method delete_exchange = {
        .id = METHOD_EXCHANGE_DELETE,
        .exchange_delete = {.exchange = bytes_of("x"), .if_unused = true},
    };
    rig->holds_turn = true;
    (void)vhost_delete_queue(vhost, vhost_find_queue(vhost, bytes_of("q")));
    rig_send(rig, other, 1, &delete_exchange);
    rig_hang_up(rig, other);
    rig->holds_turn = false;
    for (int i = 0; i < 4; i++) {
        rig_turn(rig);
    }
    cr_expect(has_exchange("x"));
    cr_expect(eq(u32, vhost_find_exchange(vhost, bytes_of("x"))->bindings.count, 0));
}

/* Bindings on both sides go with an exchange, in a ring as well. */
Test(vhost, deleting_an_exchange_takes_its_bindings_on_both_sides)
{
    declare_exchange("x", "direct");
    declare_exchange("y", "direct");
    declare_queue("q");
    bind_exchange("x", "y");
    bind_exchange("y", "x");
    bind_exchange("x", "x");
    bind_queue("q", "x", "k");
    struct method delete = {.id = METHOD_EXCHANGE_DELETE,
                            .exchange_delete = {.exchange = bytes_of("x")}};
    rig_send(rig, client, 1, &delete);
    cr_assert(is_answered(client, METHOD_EXCHANGE_DELETE_OK));
    cr_expect(not(has_exchange("x")));
    cr_expect(eq(u32, vhost_find_exchange(vhost, bytes_of("y"))->bindings.count, 0));
    cr_expect(list_is_empty(&vhost_find_queue(vhost, bytes_of("q"))->target.bindings));
    rig_send(rig, client, 1, &delete);
    cr_expect(is_answered(client, METHOD_EXCHANGE_DELETE_OK), "again");
}

/* The number of ready messages is the answer; consumers hear of it; what is out can still be
 * acknowledged. */
Test(vhost, deleting_a_queue_tells_consumers_and_drops_messages)
{
    declare_queue("q");
    bind_queue("q", "amq.topic", "#");
    uint64_t other = connect_another();
    for (int i = 0; i < 3; i++) {
        rig_publish(rig, client, 1, "amq.topic", "any", "x");
    }
    get_one(client);
    struct method delete = {.id = METHOD_QUEUE_DELETE,
                            .queue_delete = {.queue = bytes_of("q"), .if_empty = true}};
    expect_fault(other, &delete, 406, "PRECONDITION_FAILED - queue 'q' in vhost '/' not empty");
    struct method qos = {.id = METHOD_BASIC_QOS, .basic_qos = {.prefetch_count = 1}};
    rig_send(rig, other, 1, &qos);
    cr_assert(is_answered(other, METHOD_BASIC_QOS_OK));
    struct method consume_acked = {
        .id = METHOD_BASIC_CONSUME,
        .basic_consume = {.queue = bytes_of("q"), .consumer_tag = bytes_of("tag")}};
    rig_send(rig, other, 1, &consume_acked);
    cr_assert(is_answered(other, METHOD_BASIC_CONSUME_OK));
    delete.queue_delete = (struct queue_delete){.queue = bytes_of("q"), .if_unused = true};
    expect_fault(client, &delete, 406, "PRECONDITION_FAILED - queue 'q' in vhost '/' in use");
    /* The fault closed the channel: what it had got is ready again, behind the one that is out. */
    delete.queue_delete.if_unused = false;
    rig_send(rig, client, 1, &delete);
    const struct method *answer = next_method(client);
    cr_assert(eq(int, answer->id, METHOD_QUEUE_DELETE_OK));
    cr_expect(eq(u32, answer->queue_delete_ok.message_count, 2));
    cr_assert(is_answered(other, METHOD_BASIC_DELIVER));
    const struct method *cancel = next_method(other);
    cr_assert(eq(int, cancel->id, METHOD_BASIC_CANCEL));
    cr_expect(bytes_equal_text(cancel->basic_cancel.consumer_tag, "tag"));
    cr_expect(cancel->basic_cancel.nowait);
    struct method ack = {.id = METHOD_BASIC_ACK, .basic_ack = {.delivery_tag = 1}};
    rig_send(rig, other, 1, &ack);
    cr_expect(eq(ptr, (void *)next_method(other), NULL));
    cr_expect(eq(u32, vhost_find_exchange(vhost, bytes_of("amq.topic"))->bindings.count, 0));
    rig_send(rig, client, 1, &delete);
    answer = next_method(client);
    cr_assert(eq(int, answer->id, METHOD_QUEUE_DELETE_OK));
    cr_expect(eq(u32, answer->queue_delete_ok.message_count, 0), "a missing queue was deleted");
}

Test(vhost, an_auto_delete_queue_with_consumers_is_deleted_once)
{
    struct method declare = {.id = METHOD_QUEUE_DECLARE,
                             .queue_declare = {.queue = bytes_of("q"), .auto_delete = true}};
    rig_send(rig, client, 1, &declare);
    cr_assert(is_answered(client, METHOD_QUEUE_DECLARE_OK));
    consume(client, "q", "one");
    consume(client, "q", "two");
    (void)vhost_delete_queue(vhost, vhost_find_queue(vhost, bytes_of("q")));
    cr_expect(is_answered(client, METHOD_BASIC_CANCEL));
    cr_expect(is_answered(client, METHOD_BASIC_CANCEL));
    cr_expect(not(has_queue("q")));
}

Test(vhost, purging_answers_with_the_ready_messages_and_leaves_the_others)
{
    declare_queue("q");
    for (int i = 0; i < 4; i++) {
        rig_publish(rig, client, 1, "", "q", "x");
    }
    get_one(client);
    struct method purge = {.id = METHOD_QUEUE_PURGE, .queue_purge = {.queue = bytes_of("q")}};
    rig_send(rig, client, 1, &purge);
    const struct method *answer = next_method(client);
    cr_assert(eq(int, answer->id, METHOD_QUEUE_PURGE_OK));
    cr_expect(eq(u32, answer->queue_purge_ok.message_count, 3));
    const struct queue *queue = vhost_find_queue(vhost, bytes_of("q"));
    cr_expect(eq(u64, queue->unacked_count, 1));
}

/* A direct reply-to name is a question whether the requester still lives. */
Test(vhost, declaring_a_reply_name_asks_for_its_requester)
{
    struct method consume_replies = {
        .id = METHOD_BASIC_CONSUME,
        .basic_consume = {.queue = bytes_of(REPLY_TO_QUEUE), .no_ack = true}};
    rig_send(rig, client, 1, &consume_replies);
    cr_assert(is_answered(client, METHOD_BASIC_CONSUME_OK));
    const struct connection *connection = core_find_connection(rig->core, client);
    char name[64];
    snprintf(name, sizeof(name), REPLY_TO_QUEUE ".%s",
             connection_find_channel(connection, 1)->reply_token);
    uint64_t other = connect_another();
    struct method declare = {.id = METHOD_QUEUE_DECLARE,
                             .queue_declare = {.queue = bytes_of(name), .passive = true}};
    rig_send(rig, other, 1, &declare);
    const struct method *answer = next_method(other);
    cr_assert(eq(int, answer->id, METHOD_QUEUE_DECLARE_OK));
    cr_expect(eq(u32, answer->queue_declare_ok.message_count, 0));
    cr_expect(eq(u32, answer->queue_declare_ok.consumer_count, 1));
    rig_hang_up(rig, client);
    char text[128];
    snprintf(text, sizeof(text), "NOT_FOUND - no queue '%s' in vhost '/'", name);
    expect_fault(other, &declare, 404, text);
}
