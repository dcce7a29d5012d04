/* SPDX-License-Identifier: Apache-2.0 */
/* basic.publish: the checks and their order, properties that the broker reads, returns, confirms.
 */
#include "broker/publishing/publish.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#include <stdio.h>

#include "amqp/properties.h"
#include "amqp/table.h"
#include "tests/unit/broker/messaging.h"

static struct rig *rig;
static uint64_t a, b;
static struct buffer block; /* a property block */

static void
set_up(void)
{
    rig = messaging_rig(NULL);
    a = messaging_client(rig);
    b = messaging_client(rig);
    buffer_init(&block);
}

static void
tear_down(void)
{
    buffer_fini(&block);
    rig_free(&rig);
}

TestSuite(publish, .init = set_up, .fini = tear_down);

/* `key` and `properties` to the default exchange. */
static void
publish_with(const char *key, const struct properties *properties)
{
    buffer_clear(&block);
    properties_encode(&block, properties);
    struct rig_publish publish = {
        .exchange = "", .routing_key = key, .properties = buffer_bytes(&block)};
    publish.body = bytes_of("body");
    publish.has_headers = (properties->flags & PROPERTY_HEADERS) != 0;
    rig_publish_as(rig, a, 1, &publish);
}

/* The channel of `a` was closed; it opens another one. */
static void
expect_refusal(uint16_t code, const char *text)
{
    rig_expect_channel_close(rig, a, 1, code, text);
    rig_send_id(rig, a, 1, METHOD_CHANNEL_CLOSE_OK);
    rig_open_channel(rig, a, 1);
}

static void
put_keys(struct buffer *headers, const char *name, const char *const *keys)
{
    struct buffer array;
    buffer_init(&array);
    for (; *keys != NULL; keys++) {
        buffer_put_u8(&array, 'S');
        buffer_put_longstr(&array, bytes_of(*keys));
    }
    struct table_value value = {.type = 'A', .raw = buffer_bytes(&array)};
    table_put_value(headers, bytes_of(name), &value);
    buffer_fini(&array);
}

Test(publish, refuses_bad_expirations_with_the_reason)
{
    static const struct {
        const char *expiration;
        const char *why; /* NULL: accepted */
    } rows[] = {
        {"0", NULL},
        {"60000", NULL},
        {"+5", NULL},
        {"-0", NULL},
        {"315360000000", NULL},
        {"315360000001", "{value_too_large,315360000001}"},
        {"99999999999999999999999999", "{value_too_large,99999999999999999999999999}"},
        {"-1", "{value_negative,-1}"},
        {"", "no_integer"},
        {"-", "no_integer"},
        {"soon", "no_integer"},
        {" 5", "no_integer"},
        {"5s", "{leftover_string,\"s\"}"},
        {"1.5", "{leftover_string,\".5\"}"},
    };
    declare_queue(rig, a, "q");
    uint64_t accepted_count = 0;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct properties properties = {.flags = PROPERTY_EXPIRATION,
                                        .expiration = bytes_of(rows[i].expiration)};
        publish_with("q", &properties);
        if (rows[i].why == NULL) {
            accepted_count++;
            continue;
        }
        char text[256];
        snprintf(text, sizeof(text), "invalid expiration '%s': %s", rows[i].expiration,
                 rows[i].why);
        expect_refusal(406, text);
    }
    cr_expect(eq(u64, ready_count(rig, "q") + rig->core->counters.expired, accepted_count));
    cr_expect(eq(u64, rig->core->counters.expired, 2), "no time at all, twice");
}

Test(publish, refuses_a_user_id_that_is_not_the_logins)
{
    declare_queue(rig, a, "q");
    struct properties properties = {.flags = PROPERTY_USER_ID, .user_id = bytes_of("u")};
    publish_with("q", &properties);
    properties.user_id = bytes_of("root");
    publish_with("q", &properties);
    expect_refusal(406, "user_id property set to 'root' but authenticated user was 'u'");
    properties.user_id = bytes_of("\xff");
    publish_with("q", &properties);
    expect_refusal(406, "user_id property set to '?' but authenticated user was 'u'");
    cr_expect(eq(u64, ready_count(rig, "q"), 1));
}

/* RabbitMQ: the order can be seen from outside. Each row breaks the rule of its line and all those
 * that come after it. */
Test(publish, makes_its_checks_in_the_order_of_rabbitmq)
{
    char hash[RIG_HASH_SIZE];
    struct config_user user = rig_user("u", rig_slow_hash("p", hash));
    user.write = "^(visible|internal)$";
    rig_put_user(rig, &user);
    struct method internal = {.id = METHOD_EXCHANGE_DECLARE,
                              .exchange_declare = {.exchange = bytes_of("internal"),
                                                   .type = bytes_of("fanout"),
                                                   .internal = true}};
    rig_send(rig, a, 1, &internal);
    (void)rig_expect(rig, a, 1, METHOD_EXCHANGE_DECLARE_OK);
    struct properties properties = {.flags = PROPERTY_EXPIRATION | PROPERTY_USER_ID,
                                    .expiration = bytes_of("never"),
                                    .user_id = bytes_of("root")};
    properties_encode(&block, &properties);
    struct rig_publish publish = {.exchange = "visible",
                                  .routing_key = "k",
                                  .properties = buffer_bytes(&block),
                                  .body = bytes_of("x")};

    publish.oversize = UINT64_C(17) << 20;
    publish.exchange = "forbidden";
    rig_publish_as(rig, a, 1, &publish);
    expect_refusal(406, "message size 17825792 is larger than configured max size 16777216");
    publish.oversize = 0;
    rig_publish_as(rig, a, 1, &publish);
    expect_refusal(403, "write access to exchange 'forbidden' in vhost '/' refused for user 'u'");
    publish.exchange = "visible";
    rig_publish_as(rig, a, 1, &publish);
    expect_refusal(404, "no exchange 'visible' in vhost '/'");
    publish.exchange = "internal";
    rig_publish_as(rig, a, 1, &publish);
    expect_refusal(403, "cannot publish to internal exchange 'internal' in vhost '/'");
    declare_exchange(rig, a, "visible", "topic", NULL);
    publish.exchange = "visible";
    rig_publish_as(rig, a, 1, &publish);
    expect_refusal(406, "invalid expiration 'never': no_integer");
    publish.immediate = true;
    publish.oversize = UINT64_C(17) << 20;
    rig_publish_as(rig, a, 1, &publish);
    rig_expect_close(rig, a, 540, "immediate=true");
}

Test(publish, asks_for_the_right_to_every_key_of_a_topic_exchange)
{
    char hash[RIG_HASH_SIZE];
    struct config_topic_right right = {.exchange = bytes_of("t"), .write = "^eu\\.", .read = ".*"};
    struct config_user user = rig_user("u", rig_slow_hash("p", hash));
    user.topics = &right;
    user.topic_count = 1;
    rig_put_user(rig, &user);
    declare_exchange(rig, a, "t", "topic", NULL);
    rig_publish(rig, a, 1, "t", "eu.x", "");
    rig_expect_nothing(rig, a);
    rig_publish(rig, a, 1, "t", "us.x", "");
    expect_refusal(403, "write access to topic 'us.x' in exchange 't' in vhost '/' refused for "
                        "user 'u'");
    struct buffer headers;
    buffer_init(&headers);
    put_keys(&headers, "CC", (const char *const[]){"eu.y", "us.y", NULL});
    struct properties properties = {.flags = PROPERTY_HEADERS, .headers = buffer_bytes(&headers)};
    properties_encode(&block, &properties);
    struct rig_publish publish = {.exchange = "t",
                                  .routing_key = "eu.x",
                                  .properties = buffer_bytes(&block),
                                  .has_headers = true};
    rig_publish_as(rig, a, 1, &publish);
    expect_refusal(403, "write access to topic 'us.y' in exchange 't' in vhost '/' refused for "
                        "user 'u'");
    buffer_fini(&headers);
}

Test(publish, routes_by_cc_and_bcc_and_shows_cc_only)
{
    struct buffer headers;
    buffer_init(&headers);
    put_keys(&headers, "CC", (const char *const[]){"q2", "q1", NULL});
    table_put_text(&headers, "kept", bytes_of("as it is"));
    put_keys(&headers, "BCC", (const char *const[]){"q3", NULL});
    static const char *const queues[] = {"q1", "q2", "q3"};
    for (size_t i = 0; i < ARRAY_LEN(queues); i++) {
        declare_queue(rig, a, queues[i]);
    }
    struct properties properties = {.flags = PROPERTY_HEADERS | PROPERTY_TYPE,
                                    .type = bytes_of("a type"),
                                    .headers = buffer_bytes(&headers)};
    publish_with("q1", &properties);
    for (size_t i = 0; i < ARRAY_LEN(queues); i++) {
        cr_expect(eq(u64, ready_count(rig, queues[i]), 1), "one copy in %s", queues[i]);
        const struct posted *posted = get_message(rig, b, queues[i], true);
        struct properties got;
        struct fault fault;
        struct table_value value;
        cr_assert(eq(int, properties_decode(&got, posted->properties, &fault), STATUS_OK));
        cr_expect(table_find(got.headers, "CC", &value));
        cr_expect(table_find(got.headers, "kept", &value));
        cr_expect(not(table_find(got.headers, "BCC", &value)));
        cr_expect(bytes_equal_text(got.type, "a type"));
        cr_expect(bytes_equal_text(posted->body, "body"));
        cr_expect(bytes_equal_text(posted->method.basic_get_ok.routing_key, "q1"));
    }
    buffer_fini(&headers);
}

Test(publish, refuses_cc_that_is_no_array)
{
    struct buffer headers;
    buffer_init(&headers);
    table_put_text(&headers, "CC", bytes_of("q"));
    struct properties properties = {.flags = PROPERTY_HEADERS, .headers = buffer_bytes(&headers)};
    publish_with("q", &properties);
    expect_refusal(406, "invalid message: {unacceptable_type_in_header,\"CC\",longstr}");
    buffer_clear(&headers);
    table_put_integer(&headers, "BCC", 1);
    properties.headers = buffer_bytes(&headers);
    publish_with("q", &properties);
    expect_refusal(406, "invalid message: {unacceptable_type_in_header,\"BCC\",long}");
    buffer_fini(&headers);
}

/* Threat: one message that is routed under a million keys. */
Test(publish, takes_a_bounded_number_of_keys)
{
    enum { MAX = PUBLISH_HEADER_KEYS_MAX };
    static const char *keys[MAX + 2];
    struct buffer headers;
    declare_queue(rig, a, "q");
    for (int count = MAX; count <= MAX + 1; count++) {
        for (int i = 0; i < count; i++) {
            keys[i] = i == count - 1 ? "q" : "nowhere";
        }
        keys[count] = NULL;
        buffer_init(&headers);
        put_keys(&headers, "BCC", keys);
        struct properties properties = {.flags = PROPERTY_HEADERS,
                                        .headers = buffer_bytes(&headers)};
        publish_with("", &properties);
        buffer_fini(&headers);
    }
    expect_refusal(406, "invalid message: CC and BCC name more than 64 routing keys");
    cr_expect(eq(u64, ready_count(rig, "q"), 1));
}

static void
select_confirms(void)
{
    rig_send_id(rig, a, 1, METHOD_CONFIRM_SELECT);
    (void)rig_expect(rig, a, 1, METHOD_CONFIRM_SELECT_OK);
}

static void
expect_confirm(uint64_t number, bool multiple)
{
    const struct basic_ack *ack = &rig_expect(rig, a, 1, METHOD_BASIC_ACK)->basic_ack;
    cr_expect(eq(u64, ack->delivery_tag, number));
    cr_expect(eq(int, ack->multiple, multiple));
}

/* A client counts a returned message as published only after it has seen the return. */
Test(publish, returns_a_mandatory_message_before_it_confirms_it)
{
    struct rig_publish publish = {
        .exchange = "", .routing_key = "nowhere", .body = bytes_of("back"), .mandatory = true};
    select_confirms();
    rig_publish_as(rig, a, 1, &publish);
    const struct posted *returned = rig_expect_posted(rig, a, 1, METHOD_BASIC_RETURN);
    cr_expect(eq(u16, returned->method.basic_return.reply_code, 312));
    cr_expect(bytes_equal_text(returned->method.basic_return.reply_text, "NO_ROUTE"));
    cr_expect(bytes_equal_text(returned->method.basic_return.exchange, ""));
    cr_expect(bytes_equal_text(returned->method.basic_return.routing_key, "nowhere"));
    cr_expect(bytes_equal_text(returned->body, "back"));
    expect_confirm(1, false);
}

Test(publish, drops_what_is_neither_routable_nor_mandatory)
{
    publish_text(rig, a, "nowhere", "x");
    rig_expect_nothing(rig, a);
    cr_expect(eq(u64, rig->core->counters.unroutable_dropped, 1));
}

Test(publish, confirms_all_of_a_tick_at_once)
{
    declare_queue(rig, a, "q");
    select_confirms();
    publish_text(rig, a, "q", "1");
    expect_confirm(1, false);
    rig->holds_turn = true;
    publish_numbers(rig, a, "q", 2, 4);
    rig_expect_nothing(rig, a);
    rig_turn(rig);
    expect_confirm(4, true);
}

Test(publish, confirms_what_was_accepted_before_the_channel_closes)
{
    declare_queue(rig, a, "q");
    select_confirms();
    rig->holds_turn = true;
    publish_numbers(rig, a, "q", 1, 2);
    rig_publish(rig, a, 1, "missing", "k", "x");
    rig_turn(rig);
    expect_confirm(2, true);
    rig_expect_channel_close(rig, a, 1, 404, "no exchange 'missing' in vhost '/'");
}

Test(publish, confirm_and_tx_do_not_mix)
{
    select_confirms();
    select_confirms();
    rig_send_id(rig, a, 1, METHOD_TX_SELECT);
    expect_refusal(406, "cannot switch from confirm to tx mode");
    rig_send_id(rig, a, 1, METHOD_TX_SELECT);
    (void)rig_expect(rig, a, 1, METHOD_TX_SELECT_OK);
    rig_send_id(rig, a, 1, METHOD_CONFIRM_SELECT);
    expect_refusal(406, "cannot switch from tx to confirm mode");
}

Test(publish, marks_what_is_persistent_in_a_durable_queue)
{
    struct queue_declare declare = {.queue = bytes_of("durable"), .durable = true};
    declare_queue_as(rig, a, &declare);
    declare_queue(rig, a, "transient");
    static const struct {
        const char *queue;
        bool is_persistent, is_marked;
    } rows[] = {{"durable", true, true}, {"durable", false, false}, {"transient", true, false}};
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct rig_publish publish = {
            .exchange = "", .routing_key = rows[i].queue, .is_persistent = rows[i].is_persistent};
        rig_publish_as(rig, a, 1, &publish);
        struct queue_entry entry;
        uint64_t position;
        cr_assert(queue_pop(find_queue(rig, rows[i].queue), &entry, &position));
        bool is_marked = (queue_entry_flags(&entry) & ENTRY_PERSISTENT) != 0;
        cr_expect(eq(int, is_marked, rows[i].is_marked), "row %zu", i);
        queue_entry_release(&entry, rig->pool);
    }
}

/* A channel remembers the exchange it published to last; what it remembers must not outlive it. */
Test(publish, notices_that_the_exchange_of_the_publish_before_is_gone)
{
    declare_exchange(rig, a, "x", "fanout", NULL);
    rig_publish(rig, a, 1, "x", "", "first");
    struct method delete = {.id = METHOD_EXCHANGE_DELETE,
                            .exchange_delete = {.exchange = bytes_of("x")}};
    rig_send(rig, b, 1, &delete);
    (void)rig_expect(rig, b, 1, METHOD_EXCHANGE_DELETE_OK);
    rig_publish(rig, a, 1, "x", "", "second");
    expect_refusal(404, "no exchange 'x' in vhost '/'");
}

/* The new exchange of the same name has bindings of its own. */
Test(publish, finds_the_exchange_that_took_the_name_of_a_deleted_one)
{
    declare_queue(rig, a, "q");
    declare_exchange(rig, a, "x", "fanout", NULL);
    rig_publish(rig, a, 1, "x", "", "to nobody");
    struct method delete = {.id = METHOD_EXCHANGE_DELETE,
                            .exchange_delete = {.exchange = bytes_of("x")}};
    rig_send(rig, b, 1, &delete);
    (void)rig_expect(rig, b, 1, METHOD_EXCHANGE_DELETE_OK);
    declare_exchange(rig, b, "x", "fanout", NULL);
    bind_queue(rig, b, "q", "x", "");
    rig_publish(rig, a, 1, "x", "", "to q");
    cr_expect(eq(u64, ready_count(rig, "q"), 1));
}

Test(publish, notices_that_a_right_was_taken_away_since_the_publish_before)
{
    rig_publish(rig, a, 1, "amq.fanout", "", "allowed");
    char hash[RIG_HASH_SIZE];
    struct config_user user = rig_user("u", rig_slow_hash("p", hash));
    user.write = "^nothing$";
    rig_put_user(rig, &user);
    rig_publish(rig, a, 1, "amq.fanout", "", "refused");
    expect_refusal(403, "write access to exchange 'amq.fanout' in vhost '/' "
                        "refused for user 'u'");
}

/* The network side could lay the content down, but the core has no slot for its chunk. Nobody else
 * notices. */
Test(publish, content_that_the_core_cannot_take_is_a_resource_error)
{
    static const struct content content;
    struct net_event event = {
        .type = NET_EVENT_PUBLISH,
        .channel = 1,
        .link = a,
        .publish = {.place = {.content = &content, .chunk = 77}, .body_size = 1234},
    };
    rig->events.handle(rig->events.context, &event);
    rig_turn(rig);
    rig_expect_close(rig, a, 506, "no memory for a message of 1234 octets");
    rig->events.handle(rig->events.context, &event);
    rig_turn(rig);
    rig_expect_nothing(rig, a);
    rig_publish(rig, b, 1, "", "nowhere", "body");
    rig_expect_nothing(rig, b);
}

/* A network on another thread gets the memory back that it has filled. */
Test(publish, memory_of_a_chunk_goes_back_to_the_network_that_told_of_it)
{
    static uint8_t memory[64];
    struct net_event event = {
        .type = NET_EVENT_CHUNK_OPENED,
        .link = net_no_link(3),
        .chunk = {.memory = memory, .capacity = sizeof(memory), .chunk = 5, .is_own = true},
    };
    rig->events.handle(rig->events.context, &event);
    rig_turn(rig);
    cr_expect(eq(sz, rig->returned_count, 0));
    event.type = NET_EVENT_CHUNK_CLOSED;
    rig->events.handle(rig->events.context, &event);
    rig_turn(rig);
    cr_assert(eq(sz, rig->returned_count, 1));
    cr_expect(eq(u64, rig->returned.link, net_no_link(3)));
    cr_expect(eq(ptr, rig->returned.chunk_returned.memory, memory));
    cr_expect(eq(sz, rig->returned.chunk_returned.capacity, sizeof(memory)));
}

/* The queue that was named last is remembered: as long as it is there, and for its own name only.
 */
Test(publish, a_name_reaches_the_queue_that_has_it_now)
{
    declare_queue(rig, a, "one");
    declare_queue(rig, a, "two");
    publish_text(rig, a, "one", "1");
    publish_text(rig, a, "two", "2");
    publish_text(rig, a, "nobody", "3");
    publish_text(rig, a, "one", "4");
    cr_expect(eq(u64, ready_count(rig, "one"), 2));
    cr_expect(eq(u64, ready_count(rig, "two"), 1));
    struct method delete = {.id = METHOD_QUEUE_DELETE, .queue_delete = {.queue = bytes_of("one")}};
    rig_send(rig, a, 1, &delete);
    (void)rig_expect(rig, a, 1, METHOD_QUEUE_DELETE_OK);
    publish_text(rig, a, "one", "5");
    declare_queue(rig, a, "one");
    publish_text(rig, a, "one", "6");
    cr_expect(eq(u64, ready_count(rig, "one"), 1));
}
