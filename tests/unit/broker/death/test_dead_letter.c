/* SPDX-License-Identifier: Apache-2.0 */
/* Where dead letters go, under which keys and with which properties; and that a message is in
 * exactly one place, whatever fails and whenever the process dies. */
#include "broker/death/dead_letter.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#include <stdio.h>

#include "amqp/properties.h"
#include "amqp/table.h"
#include "tests/support/alloc_faults.h"
#include "tests/unit/broker/log_harness.h"

static struct rig *rig;
static struct log_rig *disk; /* NULL: there is no log */
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
    if (disk != NULL) {
        log_rig_free(&disk);
    } else {
        rig_free(&rig);
    }
}

TestSuite(dead_letter, .init = set_up, .fini = tear_down);

/* The same with a log. */
static void
start_log(const struct core_settings *settings, uint64_t slot_size)
{
    rig_free(&rig);
    disk = log_rig_new(settings, slot_size);
    rig = disk->rig;
    a = messaging_client(rig);
    b = messaging_client(rig);
}

/* A queue whose dead letters go to `exchange`, under `key` if there is one. */
static void
declare_source(const char *name, const char *exchange, const char *key, bool durable)
{
    struct buffer arguments;
    buffer_init(&arguments);
    table_put_text(&arguments, "x-dead-letter-exchange", bytes_of(exchange));
    if (key != NULL) {
        table_put_text(&arguments, "x-dead-letter-routing-key", bytes_of(key));
    }
    struct method method = {
        .id = METHOD_QUEUE_DECLARE,
        .queue_declare = {.queue = bytes_of(name),
                          .arguments = buffer_bytes(&arguments),
                          .durable = durable},
    };
    rig_send(rig, a, 1, &method);
    if (disk != NULL) {
        log_commit(disk);
    }
    (void)rig_expect(rig, a, 1, METHOD_QUEUE_DECLARE_OK);
    buffer_fini(&arguments);
}

static void
publish_with(const char *key, const struct properties *properties)
{
    buffer_clear(&block);
    properties_encode(&block, properties);
    struct rig_publish publish = {
        .exchange = "",
        .routing_key = key,
        .properties = buffer_bytes(&block),
        .body = bytes_of("body"),
        .has_headers = (properties->flags & PROPERTY_HEADERS) != 0,
    };
    rig_publish_as(rig, a, 1, &publish);
}

/* Client b takes what is next in the queue, which may wait until the log says so. Returns the
 * delivery tag. */
static uint64_t
take(const char *queue, bool no_ack)
{
    struct method get = {.id = METHOD_BASIC_GET,
                         .basic_get = {.queue = bytes_of(queue), .no_ack = no_ack}};
    rig_send(rig, b, 1, &get);
    if (disk != NULL) {
        log_settle(disk);
    }
    const struct posted *posted = rig_expect_posted(rig, b, 1, METHOD_BASIC_GET_OK);
    return posted->method.basic_get_ok.delivery_tag;
}

/* Client b takes what is in the queue and rejects it. */
static void
reject_from(const char *queue)
{
    send_nack(rig, b, 1, take(queue, false), false, false);
}

static struct properties
properties_of(const struct posted *posted)
{
    struct properties properties;
    struct fault fault;
    cr_assert(eq(int, (int)properties_decode(&properties, posted->properties, &fault), STATUS_OK));
    return properties;
}

/* The newest death in x-death. */
static struct bytes
newest_death(struct bytes headers)
{
    struct table_value value;
    cr_assert(table_find(headers, "x-death", &value));
    struct byte_reader reader = byte_reader_make(value.raw);
    struct table_value item;
    cr_assert(table_array_next(&reader, &item));
    cr_assert(eq(int, item.type, 'F'));
    return item.raw;
}

static bool
says(struct bytes table, const char *name, const char *text)
{
    struct table_value value;
    return table_find(table, name, &value) && value.type == 'S' &&
           bytes_equal_text(value.raw, text);
}

static int64_t
count_in(struct bytes table)
{
    struct table_value value;
    return table_find(table, "count", &value) ? table_value_integer(&value) : 0;
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

/* Where it goes -------------------------------------------------------------------------------- */

Test(dead_letter, a_rejected_message_goes_to_the_dead_letter_exchange_under_its_own_key)
{
    declare_exchange(rig, a, "dlx", "direct", NULL);
    declare_queue(rig, a, "dead");
    bind_queue(rig, a, "dead", "dlx", "q");
    declare_source("q", "dlx", NULL, false);
    publish_text(rig, a, "q", "hello");
    reject_from("q");
    const struct posted *dead = get_message(rig, b, "dead", true);
    cr_assert(ne(ptr, (void *)dead, NULL));
    cr_expect(bytes_equal_text(dead->body, "hello"));
    cr_expect(bytes_equal_text(dead->method.basic_get_ok.exchange, "dlx"));
    cr_expect(bytes_equal_text(dead->method.basic_get_ok.routing_key, "q"));
    cr_expect(not(dead->method.basic_get_ok.redelivered), "it is new there");
    struct bytes death = newest_death(properties_of(dead).headers);
    cr_expect(says(death, "queue", "q"));
    cr_expect(says(death, "reason", "rejected"));
    cr_expect(says(death, "exchange", ""));
    cr_expect(eq(i64, count_in(death), 1));
    struct queue_dying *dying = find_queue(rig, "q")->dying;
    cr_expect(eq(u64, dying->died_count[DEATH_REJECTED], 1));
    cr_expect(eq(u64, dying->moved_count, 1));
    cr_expect(eq(u64, rig->core->counters.dead_lettered[DEATH_REJECTED], 1));
}

/* The default exchange is one like any other: its name is empty. */
Test(dead_letter, a_key_of_its_own_takes_the_place_of_the_messages)
{
    declare_queue(rig, a, "dead");
    declare_source("q", "", "dead", false);
    publish_text(rig, a, "q", "hello");
    reject_from("q");
    const struct posted *dead = get_message(rig, b, "dead", true);
    cr_assert(ne(ptr, (void *)dead, NULL));
    cr_expect(bytes_equal_text(dead->method.basic_get_ok.exchange, ""));
    cr_expect(bytes_equal_text(dead->method.basic_get_ok.routing_key, "dead"));
}

/* amqp-reference 16.2: all the message's own keys, those of BCC included, which nobody is shown. */
Test(dead_letter, all_keys_of_the_message_are_tried_and_bcc_is_not_shown)
{
    declare_exchange(rig, a, "dlx", "direct", NULL);
    static const char *const keys[] = {"q", "cc", "bcc"};
    for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
        char name[16];
        (void)snprintf(name, sizeof(name), "dead-%s", keys[i]);
        declare_queue(rig, a, name);
        bind_queue(rig, a, name, "dlx", keys[i]);
    }
    declare_source("q", "dlx", NULL, false);
    struct buffer headers;
    buffer_init(&headers);
    put_keys(&headers, "CC", (const char *const[]){"cc", NULL});
    put_keys(&headers, "BCC", (const char *const[]){"bcc", NULL});
    publish_with(
        "q", &(struct properties){.flags = PROPERTY_HEADERS, .headers = buffer_bytes(&headers)});
    buffer_fini(&headers);
    for (int round = 0; round < 2; round++) {
        reject_from("q");
        for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
            char name[16];
            (void)snprintf(name, sizeof(name), "dead-%s", keys[i]);
            const struct posted *dead = get_message(rig, b, name, true);
            cr_assert(ne(ptr, (void *)dead, NULL), "nothing in %s", name);
            struct bytes seen = properties_of(dead).headers;
            struct table_value value;
            cr_expect(table_find(seen, "CC", &value));
            cr_expect(not(table_find(seen, "BCC", &value)));
            cr_assert(table_find(newest_death(seen), "routing-keys", &value));
            cr_expect(eq(sz, value.raw.size, (size_t)(5 + 1 + 5 + 2)), "q and cc");
        }
        if (round == 0) { /* the dead letter of a dead letter has the same keys */
            declare_source("again", "dlx", NULL, false);
            bind_queue(rig, a, "again", "dlx", "bcc");
            buffer_init(&headers);
            put_keys(&headers, "CC", (const char *const[]){"cc", NULL});
            put_keys(&headers, "BCC", (const char *const[]){"bcc", NULL});
            publish_with("q", &(struct properties){.flags = PROPERTY_HEADERS,
                                                   .headers = buffer_bytes(&headers)});
            buffer_fini(&headers);
        }
    }
    cr_expect(eq(u64, ready_count(rig, "again"), 1));
    reject_from("again");
    cr_expect(eq(u64, ready_count(rig, "dead-cc"), 1));
    cr_expect(eq(u64, ready_count(rig, "dead-bcc"), 1));
    cr_expect(eq(u64, ready_count(rig, "again"), 1));
}

Test(dead_letter, a_key_of_its_own_takes_cc_and_bcc_away)
{
    declare_exchange(rig, a, "dlx", "fanout", NULL);
    declare_queue(rig, a, "dead");
    declare_source("q", "dlx", "key", false);
    declare_source("second", "dlx", NULL, false);
    bind_queue(rig, a, "second", "dlx", "");
    struct buffer headers;
    buffer_init(&headers);
    table_put_text(&headers, "kept", bytes_of("1"));
    put_keys(&headers, "CC", (const char *const[]){"cc", NULL});
    put_keys(&headers, "BCC", (const char *const[]){"bcc", NULL});
    publish_with(
        "q", &(struct properties){.flags = PROPERTY_HEADERS, .headers = buffer_bytes(&headers)});
    buffer_fini(&headers);
    reject_from("q");
    bind_queue(rig, a, "dead", "dlx", "");
    reject_from("second");
    const struct posted *dead = get_message(rig, b, "dead", true);
    cr_assert(ne(ptr, (void *)dead, NULL));
    struct bytes seen = properties_of(dead).headers;
    struct table_value value;
    cr_expect(says(seen, "kept", "1"));
    cr_expect(not(table_find(seen, "CC", &value)));
    cr_assert(table_find(newest_death(seen), "routing-keys", &value));
    cr_expect(eq(sz, value.raw.size, (size_t)(5 + 3)), "key alone");
    cr_expect(bytes_equal_text(dead->method.basic_get_ok.routing_key, "key"));
}

/* amqp-reference 15: what has expired once must not do so again. */
Test(dead_letter, expiration_is_taken_away_and_told_in_x_death)
{
    declare_queue(rig, a, "dead");
    declare_source("q", "", "dead", false);
    publish_with("q", &(struct properties){
                          .flags = PROPERTY_EXPIRATION | PROPERTY_CONTENT_TYPE |
                                   PROPERTY_DELIVERY_MODE | PROPERTY_MESSAGE_ID,
                          .expiration = bytes_of("60000"),
                          .content_type = bytes_of("text/plain"),
                          .delivery_mode = 1,
                          .message_id = bytes_of("id"),
                      });
    reject_from("q");
    const struct posted *dead = get_message(rig, b, "dead", true);
    struct properties properties = properties_of(dead);
    cr_expect(eq(u16, properties.flags,
                 PROPERTY_HEADERS | PROPERTY_CONTENT_TYPE | PROPERTY_DELIVERY_MODE |
                     PROPERTY_MESSAGE_ID));
    cr_expect(bytes_equal_text(properties.content_type, "text/plain"));
    cr_expect(bytes_equal_text(properties.message_id, "id"));
    cr_expect(says(newest_death(properties.headers), "original-expiration", "60000"));
}

/* 4.0.1.md: libraries that republish what they got start anew. */
Test(dead_letter, deaths_are_counted_by_the_broker_and_not_by_what_a_client_publishes)
{
    declare_queue(rig, a, "dead");
    declare_source("q", "", "q", false); /* back to itself, by rejection only */
    publish_text(rig, a, "q", "hello");
    for (int64_t i = 1; i <= 3; i++) {
        reject_from("q");
        const struct posted *dead = get_message(rig, b, "q", false);
        cr_assert(ne(ptr, (void *)dead, NULL));
        struct bytes headers = properties_of(dead).headers;
        cr_expect(eq(i64, count_in(newest_death(headers)), i));
        uint64_t tag = dead->method.basic_get_ok.delivery_tag;
        if (i == 3) {
            publish_with("q", &(struct properties){.flags = PROPERTY_HEADERS, .headers = headers});
            send_ack(rig, b, 1, tag, false);
        } else {
            send_nack(rig, b, 1, tag, false, true);
        }
    }
    reject_from("q");
    const struct posted *dead = get_message(rig, b, "q", true);
    cr_expect(eq(i64, count_in(newest_death(properties_of(dead).headers)), 1));
}

Test(dead_letter, what_has_nowhere_to_go_is_dropped_and_counted)
{
    declare_exchange(rig, a, "dlx", "direct", NULL);
    declare_queue(rig, a, "plain");
    declare_source("missing", "no such exchange", NULL, false);
    declare_source("unbound", "dlx", NULL, false);
    static const char *const names[] = {"plain", "missing", "unbound"};
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        publish_text(rig, a, names[i], "x");
        reject_from(names[i]);
        cr_expect(eq(u64, rig->core->counters.dead_letters_dropped, i + 1), "%s", names[i]);
        cr_expect(eq(u64, find_queue(rig, names[i])->dying->died_count[DEATH_REJECTED], 1));
    }
    rig_expect_nothing(rig, b);
}

Test(dead_letter, the_alternate_exchange_of_the_dead_letter_exchange_applies)
{
    declare_exchange(rig, a, "rest", "fanout", NULL);
    declare_exchange(rig, a, "dlx", "direct", "rest");
    declare_queue(rig, a, "dead");
    bind_queue(rig, a, "dead", "rest", "");
    declare_source("q", "dlx", NULL, false);
    publish_text(rig, a, "q", "x");
    reject_from("q");
    const struct posted *dead = get_message(rig, b, "dead", true);
    cr_assert(ne(ptr, (void *)dead, NULL));
    cr_expect(bytes_equal_text(dead->method.basic_get_ok.exchange, "dlx"));
}

/* A rule looks at the exchange when the message dies. */
Test(dead_letter, a_dead_letter_exchange_may_come_later)
{
    declare_source("q", "later", NULL, false);
    publish_numbers(rig, a, "q", 1, 2);
    reject_from("q");
    declare_exchange(rig, a, "later", "fanout", NULL);
    declare_queue(rig, a, "dead");
    bind_queue(rig, a, "dead", "later", "");
    reject_from("q");
    cr_expect(eq(u64, ready_count(rig, "dead"), 1));
}

Test(dead_letter, order_is_that_of_the_deaths)
{
    declare_queue(rig, a, "dead");
    declare_source("q", "", "dead", false);
    publish_numbers(rig, a, "q", 1, 5);
    consume(rig, b, 1, "q", "c", false);
    cr_expect(eq(str, (char *)deliveries(rig, b), "1 2 3 4 5"));
    send_nack(rig, b, 1, 4, false, false);
    send_nack(rig, b, 1, 3, true, false);
    send_nack(rig, b, 1, 5, false, false);
    consume(rig, a, 1, "dead", "d", true);
    cr_expect(eq(str, (char *)deliveries(rig, a), "4 1 2 3 5"));
}

/* amqp-reference 16.3, for every reason that clients have no hand in. */
Test(dead_letter, a_circle_without_a_rejection_ends_and_is_told_once)
{
    declare_source("q", "", "q", false);
    publish_numbers(rig, a, "q", 1, 3);
    struct queue *queue = find_queue(rig, "q");
    for (int i = 0; i < 3; i++) {
        struct queue_entry entry;
        uint64_t position;
        cr_assert(queue_pop(queue, &entry, &position));
        cr_assert(eq(int, core_reserve_deaths(queue, DEATH_EXPIRED, 1), STATUS_OK));
        core_let_die(rig->core, queue, &entry, 0, DEATH_EXPIRED);
        rig_turn(rig);
        cr_expect(eq(int, rig_logged(rig, "dead_letter.cycle"), i == 0));
        buffer_clear(&rig->log_text);
    }
    cr_expect(eq(u64, queue->ready_count, 0));
    cr_expect(eq(u64, rig->core->counters.dead_letter_cycles, 3));
    cr_expect(eq(u64, rig->core->counters.dead_letters_dropped, 3));
}

/* Bounds --------------------------------------------------------------------------------------- */

/* Design, part 6: at most 256 per queue and tick; what is left comes by itself. */
Test(dead_letter, many_deaths_are_moved_over_several_ticks)
{
    enum { COUNT = CORE_DEATHS_PER_QUEUE * 2 + 10 };
    declare_queue(rig, a, "dead");
    declare_source("q", "", "dead", false);
    publish_numbers(rig, a, "q", 1, COUNT);
    for (int i = 0; i < COUNT; i++) {
        cr_assert(ne(ptr, (void *)get_message(rig, b, "q", false), NULL));
    }
    rig->holds_turn = true;
    send_nack(rig, b, 1, 0, true, false);
    cr_expect(eq(u64, ready_count(rig, "dead"), CORE_DEATHS_PER_QUEUE));
    cr_expect(eq(u64, find_queue(rig, "q")->dying->count, CORE_DEATHS_PER_QUEUE + 10));
    cr_expect(eq(u64, core_wait_ms(rig->core), 0));
    rig->holds_turn = false;
    rig_turn(rig);
    rig_turn(rig);
    rig_turn(rig);
    cr_expect(eq(u64, ready_count(rig, "dead"), COUNT));
    cr_expect(ne(u64, core_wait_ms(rig->core), 0));
    consume(rig, a, 1, "dead", "d", true);
    const char *all = deliveries(rig, a);
    cr_expect(eq(int, strncmp(all, "1 2 3 4 5 6", 11), 0));
}

/* Each may reach many queues: what is counted is what they are copied to. */
Test(dead_letter, deaths_that_reach_many_queues_are_moved_over_more_ticks)
{
    enum { QUEUES = 128, COUNT = CORE_DEATHS_PER_QUEUE };
    enum { AT_ONCE_MAX = CORE_DEATH_WORK_PER_TICK / QUEUES + 1, TURNS_MAX = COUNT / 32 };
    declare_exchange(rig, a, "dlx", "fanout", NULL);
    for (int i = 0; i < QUEUES; i++) {
        char name[16];
        (void)snprintf(name, sizeof(name), "d%d", i);
        declare_queue(rig, a, name);
        bind_queue(rig, a, name, "dlx", "");
    }
    declare_source("q", "dlx", NULL, false);
    publish_numbers(rig, a, "q", 1, COUNT);
    for (int i = 0; i < COUNT; i++) {
        cr_assert(ne(ptr, (void *)get_message(rig, b, "q", false), NULL));
    }
    rig->holds_turn = true;
    send_nack(rig, b, 1, 0, true, false);
    uint64_t moved = ready_count(rig, "d0");
    cr_expect(le(u64, 1, moved));
    cr_expect(le(u64, moved, AT_ONCE_MAX));
    cr_expect(eq(u64, core_wait_ms(rig->core), 0));
    rig->holds_turn = false;
    for (int i = 0; i < TURNS_MAX; i++) {
        rig_turn(rig);
    }
    cr_expect(eq(u64, ready_count(rig, "d0"), COUNT));
    cr_expect(eq(u64, ready_count(rig, "d127"), COUNT));
}

/* Bodies are copied, so large ones take several ticks as well; one goes in any case. */
Test(dead_letter, large_bodies_are_moved_over_several_ticks)
{
    static uint8_t body[CORE_DEATH_OCTETS_PER_TICK + 1];
    declare_queue(rig, a, "dead");
    declare_source("q", "", "dead", false);
    struct rig_publish publish = {
        .exchange = "", .routing_key = "q", .body = bytes_make(body, sizeof(body))};
    rig_publish_as(rig, a, 1, &publish);
    rig_publish_as(rig, a, 1, &publish);
    for (int i = 0; i < 2; i++) {
        cr_assert(ne(ptr, (void *)get_message(rig, b, "q", false), NULL));
    }
    rig->holds_turn = true;
    send_nack(rig, b, 1, 0, true, false);
    cr_expect(eq(u64, ready_count(rig, "dead"), 1));
    rig->holds_turn = false;
    rig_turn(rig);
    cr_expect(eq(u64, ready_count(rig, "dead"), 2));
}

/* What is deleted with its queue does not die, but what has died before goes where it was going. */
Test(dead_letter, a_deleted_or_purged_queue_keeps_what_is_dying)
{
    enum { COUNT = CORE_DEATHS_PER_QUEUE + 10 };
    declare_queue(rig, a, "dead");
    declare_source("q", "", "dead", false);
    publish_numbers(rig, a, "q", 1, COUNT + 5);
    for (int i = 0; i < COUNT + 1; i++) {
        cr_assert(ne(ptr, (void *)get_message(rig, b, "q", false), NULL));
    }
    rig->holds_turn = true;
    send_nack(rig, b, 1, COUNT, true, false);
    struct method purge = {.id = METHOD_QUEUE_PURGE, .queue_purge = {.queue = bytes_of("q")}};
    struct method delete = {.id = METHOD_QUEUE_DELETE, .queue_delete = {.queue = bytes_of("q")}};
    rig_send(rig, a, 1, &purge);
    cr_expect(
        eq(u32, rig_expect(rig, a, 1, METHOD_QUEUE_PURGE_OK)->queue_purge_ok.message_count, 4));
    rig_send(rig, a, 1, &delete);
    (void)rig_expect(rig, a, 1, METHOD_QUEUE_DELETE_OK);
    send_nack(rig, b, 1, COUNT + 1, false, false); /* too late: its queue is gone */
    rig->holds_turn = false;
    rig_turn(rig);
    rig_turn(rig);
    cr_expect(eq(u64, ready_count(rig, "dead"), COUNT));
}

Test(dead_letter, what_is_dying_when_the_broker_ends_is_let_go)
{
    enum { COUNT = CORE_DEATHS_PER_QUEUE + 10 };
    declare_queue(rig, a, "dead");
    declare_source("q", "", "dead", false);
    publish_numbers(rig, a, "q", 1, COUNT);
    for (int i = 0; i < COUNT; i++) {
        cr_assert(ne(ptr, (void *)get_message(rig, b, "q", false), NULL));
    }
    rig->holds_turn = true;
    send_nack(rig, b, 1, 0, true, false);
    cr_expect(ne(u64, find_queue(rig, "q")->dying->count, 0));
}

/* Every allocation on the way is refused once: the message is where it was, and goes a little
 * later.
 */
Test(dead_letter, nothing_is_lost_when_memory_runs_out)
{
    start_log(NULL, 0);
    log_declare(disk, a, "dead");
    log_declare(disk, a, "other");
    declare_exchange(rig, a, "dlx", "fanout", NULL);
    bind_queue(rig, a, "dead", "dlx", "");
    bind_queue(rig, a, "other", "dlx", "");
    declare_source("q", "dlx", NULL, true);
    uint32_t failed_count = 0;
    for (uint32_t nth = 1; nth < 40; nth++) {
        log_publish(disk, a, "", "q", "7");
        log_settle(disk);
        uint64_t tag = take("q", false);
        rig->holds_turn = true;
        alloc_faults_plan(nth);
        send_nack(rig, b, 1, tag, false, false);
        failed_count += alloc_faults_left() == 0 ? 1 : 0;
        alloc_faults_plan(0);
        rig->holds_turn = false;
        log_settle(disk);
        log_check(disk);
        if (ready_count(rig, "q") == 1) { /* it could not even die: the connection is closed */
            b = messaging_client(rig);
            send_nack(rig, b, 1, take("q", false), false, false);
            log_settle(disk);
        }
        rig_step(rig, CORE_DEATH_RETRY_MS);
        rig_turn(rig);
        cr_assert(eq(u64, find_queue(rig, "q")->dying->count, 0), "%u", nth);
        cr_assert(eq(u64, ready_count(rig, "dead"), nth));
        cr_assert(eq(u64, ready_count(rig, "other"), nth));
        log_settle(disk);
        log_check(disk);
    }
    cr_expect(ge(u32, failed_count, 1));
}

/* With a log ----------------------------------------------------------------------------------- */

static uint64_t
queue_id(const char *name)
{
    return find_queue(rig, name)->target.id;
}

/* I7: any prefix of the log is a consistent state. Whenever the process dies, the message is in
 * exactly one of the two queues. */
Test(dead_letter, a_message_is_in_exactly_one_place_after_every_batch)
{
    enum {
        COUNT = 600,
        SMALL_SLOT = 16 * 1024
    }; /* the end of a segment comes between all things */
    start_log(NULL, SMALL_SLOT);
    log_declare(disk, a, "dead");
    declare_source("q", "", "dead", true);
    for (int i = 1; i <= COUNT; i++) {
        char text[128];
        (void)snprintf(text, sizeof(text), "%d %0*d", i, i * 7 % 97, 0);
        log_publish(disk, a, "", "q", text);
    }
    log_settle(disk);
    for (int i = 0; i < COUNT; i++) {
        (void)take("q", false);
    }
    uint32_t first_batch = disk->batch_count;
    for (uint64_t tag = 1; tag <= COUNT; tag += 20) {
        send_nack(rig, b, 1, tag + 19, true, false);
    }
    log_settle(disk);
    log_check(disk);
    cr_expect(ge(u32, disk->batch_count, first_batch + COUNT / 20 + 1));
    for (uint32_t batches = first_batch; batches <= disk->batch_count; batches++) {
        for (uint64_t number = 1; number <= COUNT; number++) {
            bool is_marked;
            bool is_here = log_has_row(disk, queue_id("q"), number, batches, &is_marked);
            bool is_there = log_has_row(disk, queue_id("dead"), number, batches, &is_marked);
            cr_assert(ne(int, is_here, is_there), "message %zu after batch %u", (size_t)number,
                      batches);
        }
    }
    cr_expect(eq(u64, ready_count(rig, "dead"), COUNT));
}

/* What the log has to say of each combination of durable and transient queues and messages. */
Test(dead_letter, only_what_is_durable_is_written_down)
{
    start_log(NULL, 0);
    declare_exchange(rig, a, "dlx", "fanout", NULL);
    log_declare(disk, a, "durable");
    declare_queue(rig, a, "transient");
    declare_source("from-durable", "dlx", NULL, true);
    declare_source("from-transient", "dlx", NULL, false);
    static const struct {
        const char *source, *target;
        bool is_persistent;
        uint32_t publishes, removals; /* written when it dies */
    } rows[] = {
        {"from-durable", "durable", true, 1, 1},     {"from-durable", "transient", true, 0, 1},
        {"from-durable", "durable", false, 0, 0},    {"from-transient", "durable", true, 1, 0},
        {"from-transient", "transient", true, 0, 0}, {"from-transient", "durable", false, 0, 0},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        bind_queue(rig, a, rows[i].target, "dlx", "");
        struct rig_publish publish = {.exchange = "",
                                      .routing_key = rows[i].source,
                                      .body = bytes_of("1"),
                                      .is_persistent = rows[i].is_persistent};
        rig_publish_as(rig, a, 1, &publish);
        uint64_t tag = take(rows[i].source, false);
        uint32_t publishes = disk->records[RECORD_PUBLISH];
        uint32_t removals = disk->records[RECORD_ACK];
        send_nack(rig, b, 1, tag, false, false);
        log_settle(disk);
        cr_expect(eq(u32, disk->records[RECORD_PUBLISH] - publishes, rows[i].publishes), "row %zu",
                  i);
        cr_expect(eq(u32, disk->records[RECORD_ACK] - removals, rows[i].removals), "row %zu", i);
        cr_expect(eq(u64, ready_count(rig, rows[i].target), 1), "row %zu", i);
        (void)take(rows[i].target, true);
        struct method unbind = {
            .id = METHOD_QUEUE_UNBIND,
            .queue_unbind = {.queue = bytes_of(rows[i].target), .exchange = bytes_of("dlx")},
        };
        rig_send(rig, a, 1, &unbind);
        log_settle(disk);
        (void)rig_expect(rig, a, 1, METHOD_QUEUE_UNBIND_OK);
        log_check(disk);
    }
}

/* I1: commit-ok says that the rejections have happened, so it waits for what they have moved. */
Test(dead_letter, commit_ok_waits_for_the_dead_letters_of_the_transaction)
{
    start_log(NULL, 0);
    log_declare(disk, a, "dead");
    declare_source("q", "", "dead", true);
    log_publish(disk, a, "", "q", "1");
    log_settle(disk);
    rig_send_id(rig, b, 1, METHOD_TX_SELECT);
    (void)rig_expect(rig, b, 1, METHOD_TX_SELECT_OK);
    send_nack(rig, b, 1, take("q", false), false, false);
    cr_expect(eq(u64, ready_count(rig, "dead"), 0), "not before the commit");
    rig_send_id(rig, b, 1, METHOD_TX_COMMIT);
    cr_expect(eq(u64, ready_count(rig, "dead"), 1));
    log_write(disk, UINT32_MAX);
    rig_expect_nothing(rig, b);
    log_commit(disk);
    (void)rig_expect(rig, b, 1, METHOD_TX_COMMIT_OK);
    bool is_marked;
    cr_expect(log_has_row(disk, queue_id("dead"), 1, disk->committed_count, &is_marked));
    cr_expect(not(log_has_row(disk, queue_id("q"), 1, disk->committed_count, &is_marked)));
}

/* The same when a tick does not move all of them; a commit without dead letters does not wait for
 * those of others. */
Test(dead_letter, commit_ok_waits_for_dead_letters_that_take_several_ticks)
{
    enum { COUNT = CORE_DEATHS_PER_QUEUE + 10 };
    start_log(NULL, 0);
    log_declare(disk, a, "dead");
    declare_source("q", "", "dead", true);
    log_publish_numbers(disk, a, "q", 1, COUNT);
    log_settle(disk);
    rig_send_id(rig, b, 1, METHOD_TX_SELECT);
    (void)rig_expect(rig, b, 1, METHOD_TX_SELECT_OK);
    rig_send_id(rig, a, 1, METHOD_TX_SELECT);
    (void)rig_expect(rig, a, 1, METHOD_TX_SELECT_OK);
    for (int i = 0; i < COUNT; i++) {
        (void)take("q", false);
    }
    send_nack(rig, b, 1, 0, true, false);
    rig->holds_turn = true;
    rig_send_id(rig, b, 1, METHOD_TX_COMMIT);
    rig_send_id(rig, b, 1, METHOD_TX_ROLLBACK); /* is answered behind it */
    cr_expect(eq(u64, find_queue(rig, "q")->dying->count, 10));
    rig_send_id(rig, a, 1, METHOD_TX_COMMIT);
    rig->holds_turn = false;
    core_set_disk_space(rig->core, 1, 1000000000); /* so that nothing moves for a while */
    log_settle(disk);
    (void)rig_expect(rig, a, 1, METHOD_TX_COMMIT_OK);
    rig_expect_nothing(rig, b);
    core_set_disk_space(rig->core, UINT64_C(1) << 60, UINT64_C(1) << 60);
    log_settle(disk);
    (void)rig_expect(rig, b, 1, METHOD_TX_COMMIT_OK);
    (void)rig_expect(rig, b, 1, METHOD_TX_ROLLBACK_OK);
    cr_expect(eq(u64, ready_count(rig, "dead"), COUNT));
    log_check(disk);
}

Test(dead_letter, a_channel_that_waits_for_its_dead_letters_may_be_lost)
{
    enum { COUNT = CORE_DEATHS_PER_QUEUE + 10 };
    start_log(NULL, 0);
    log_declare(disk, a, "dead");
    declare_source("q", "", "dead", true);
    log_publish_numbers(disk, a, "q", 1, COUNT);
    log_settle(disk);
    rig_send_id(rig, b, 1, METHOD_TX_SELECT);
    (void)rig_expect(rig, b, 1, METHOD_TX_SELECT_OK);
    for (int i = 0; i < COUNT; i++) {
        (void)take("q", false);
    }
    send_nack(rig, b, 1, 0, true, false);
    rig->holds_turn = true;
    rig_send_id(rig, b, 1, METHOD_TX_COMMIT);
    rig_hang_up(rig, b);
    rig->holds_turn = false;
    log_settle(disk);
    cr_expect(eq(u64, ready_count(rig, "dead"), COUNT));
    cr_expect(list_is_empty(&rig->core->committers));
}

/* Design: publishes and settlements of a commit go into one batch, and their dead letters with
 * them: wherever in a segment it happens. */
Test(dead_letter, a_transaction_and_its_dead_letters_are_one_batch)
{
    start_log(NULL, 64 * 1024);
    log_declare(disk, a, "dead");
    log_declare(disk, a, "other");
    declare_source("q", "", "dead", true);
    rig_send_id(rig, b, 1, METHOD_TX_SELECT);
    (void)rig_expect(rig, b, 1, METHOD_TX_SELECT_OK);
    for (int i = 1; i <= 200; i++) {
        char text[700];
        (void)snprintf(text, sizeof(text), "%d %0600d", i, 0);
        log_publish(disk, a, "", "q", text);
        uint64_t tag = take("q", false);
        log_publish(disk, b, "", "other", text);
        send_nack(rig, b, 1, tag, false, false);
        rig_send_id(rig, b, 1, METHOD_TX_COMMIT);
        log_settle(disk);
        (void)rig_expect(rig, b, 1, METHOD_TX_COMMIT_OK);
    }
    for (uint32_t batches = 1; batches <= disk->batch_count; batches++) {
        bool is_marked;
        for (uint64_t number = 1; number <= 200; number++) {
            bool is_other = log_has_row(disk, queue_id("other"), number, batches, &is_marked);
            bool is_dead = log_has_row(disk, queue_id("dead"), number, batches, &is_marked);
            bool is_here = log_has_row(disk, queue_id("q"), number, batches, &is_marked);
            cr_assert(eq(int, is_other, is_dead), "message %zu, batch %u", (size_t)number, batches);
            cr_assert(not(is_here && is_dead), "message %zu, batch %u", (size_t)number, batches);
        }
    }
}

/* A disk that is nearly full has room for acknowledgements, not for messages that change places. */
Test(dead_letter, nothing_moves_while_the_disk_is_nearly_full)
{
    start_log(NULL, 0);
    log_declare(disk, a, "dead");
    declare_source("q", "", "dead", true);
    log_publish(disk, a, "", "q", "1");
    log_settle(disk);
    uint64_t tag = take("q", false);
    core_set_disk_space(rig->core, 1, 1000000000);
    send_nack(rig, b, 1, tag, false, false);
    rig_turn(rig);
    cr_expect(eq(u64, ready_count(rig, "dead"), 0));
    cr_expect(ne(u64, core_wait_ms(rig->core), 0), "and the broker sleeps meanwhile");
    log_check(disk);
    core_set_disk_space(rig->core, UINT64_C(1) << 60, UINT64_C(1) << 60);
    rig_turn(rig);
    cr_expect(eq(u64, ready_count(rig, "dead"), 1));
}

/* Without memory ------------------------------------------------------------------------------- */

/* The next allocation fails, which is that for what has died. */
static void
run_out_of_memory(void)
{
    rig->holds_turn = true;
    alloc_faults_plan(1);
}

static void
expect_ran_out(void)
{
    cr_expect(eq(u32, alloc_faults_left(), 0));
    alloc_faults_plan(0);
    rig->holds_turn = false;
}

/* A client that rejects what cannot be kept is told so, and the message is where it was. */
Test(dead_letter, a_rejection_that_there_is_no_memory_for_ends_the_connection)
{
    declare_source("q", "", "t", false);
    declare_queue(rig, a, "t");
    publish_text(rig, a, "q", "1");
    uint64_t tag = take("q", false);
    run_out_of_memory();
    send_nack(rig, b, 1, tag, false, false);
    expect_ran_out();
    rig_expect_close(rig, b, 506, "no memory for the rejected message");
    cr_expect(eq(u64, ready_count(rig, "q"), 1));
    cr_expect(eq(u64, ready_count(rig, "t"), 0));
    cr_expect(get_message(rig, a, "q", true)->method.basic_get_ok.redelivered);
}

/* Client b holds `count` messages of `queue` open on the channel; a tick has time for few. */
static void
hold_many(uint16_t channel, const char *queue, int count)
{
    declare_source(queue, "", "t", false);
    rig->holds_turn = true;
    publish_numbers(rig, a, queue, 1, count);
    rig->holds_turn = false;
    consume(rig, b, channel, queue, "", false);
    while (find_queue(rig, queue)->unacked_count < (uint64_t)count) {
        rig_turn(rig);
    }
    (void)deliveries(rig, b);
    rig->core->settings.work_per_tick = 1;
    rig_turn(rig);
}

/* The connection ends while more than one of its channels has more to settle. */
Test(dead_letter, rejections_in_slices_end_with_their_connection)
{
    enum { MANY = 600 };
    declare_queue(rig, a, "t");
    rig_open_channel(rig, b, 2);
    hold_many(1, "q1", MANY);
    hold_many(2, "q2", MANY);
    rig->holds_turn = true;
    send_nack(rig, b, 1, MANY, true, false);
    send_nack(rig, b, 2, MANY, true, false);
    alloc_faults_plan(1);
    core_go_on_settling(rig->core);
    expect_ran_out();
    cr_expect(list_is_empty(&rig->core->settling));
    rig_turn(rig);
    rig_expect_close(rig, b, 506, "no memory for the rejected message");
    cr_expect(ne(u64, ready_count(rig, "q1"), 0));
    cr_expect(eq(u64, ready_count(rig, "q2"), MANY - 256));
}

/* The last of a slice is the one that ends the connection: before the slice as many are rejected as
 * let it be the first of a block. The very first has gone its way by then. */
Test(dead_letter, a_channel_that_has_ended_settles_no_further_slice)
{
    enum { SLICE = 256, BLOCK = 72, BLOCKS = 4, BEFORE = BLOCKS * BLOCK + 2 - SLICE };
    enum { MANY = BEFORE + SLICE + 10 };
    declare_queue(rig, a, "t");
    hold_many(1, "q", MANY);
    rig->holds_turn = true;
    for (uint64_t tag = 1; tag <= BEFORE; tag++) {
        send_nack(rig, b, 1, tag, false, false);
    }
    rig->core->work_left = 1;
    alloc_faults_plan(7); /* as the count at the end says, it is that of the last */
    send_nack(rig, b, 1, MANY, true, false);
    expect_ran_out();
    cr_expect(list_is_empty(&rig->core->settling));
    rig_turn(rig);
    rig_expect_close(rig, b, 506, "no memory for the rejected message");
    cr_expect(eq(u64, ready_count(rig, "q"), MANY - BEFORE - SLICE + 1));
}

Test(dead_letter, a_transaction_that_rejects_without_memory_has_settled_nothing)
{
    declare_source("q", "", "t", false);
    declare_queue(rig, a, "t");
    publish_text(rig, a, "q", "1");
    rig_send_id(rig, b, 1, METHOD_TX_SELECT);
    (void)rig_expect(rig, b, 1, METHOD_TX_SELECT_OK);
    uint64_t tag = take("q", false);
    send_nack(rig, b, 1, tag, false, false);
    run_out_of_memory();
    rig_send_id(rig, b, 1, METHOD_TX_COMMIT);
    expect_ran_out();
    rig_expect_close(rig, b, 506, "no memory for the message");
    cr_expect(eq(u64, ready_count(rig, "q"), 1));
    cr_expect(eq(u64, ready_count(rig, "t"), 0));
}

/* Declares "q", which has dead letters, with one argument more. */
static void
declare_with(const char *name, int64_t value, const char *overflow)
{
    struct buffer arguments;
    buffer_init(&arguments);
    table_put_text(&arguments, "x-dead-letter-exchange", bytes_of(""));
    table_put_text(&arguments, "x-dead-letter-routing-key", bytes_of("t"));
    table_put_integer(&arguments, name, value);
    if (overflow != NULL) {
        table_put_text(&arguments, "x-overflow", bytes_of(overflow));
    }
    struct queue_declare declare = {.queue = bytes_of("q"), .arguments = buffer_bytes(&arguments)};
    declare_queue_as(rig, a, &declare);
    declare_queue(rig, a, "t");
    buffer_fini(&arguments);
}

/* Nobody gets it any more, and it dies when there is memory. */
Test(dead_letter, what_expires_without_memory_dies_later)
{
    declare_with("x-message-ttl", 1000, NULL);
    publish_text(rig, a, "q", "1");
    alloc_faults_plan(1);
    rig_step(rig, 1010);
    cr_expect(eq(u32, alloc_faults_left(), 0));
    cr_expect(eq(u64, ready_count(rig, "t"), 0));
    cr_expect(zero(ptr, (void *)get_message(rig, b, "q", true)));
    rig_step(rig, 200);
    rig_turn(rig);
    cr_expect(eq(u64, ready_count(rig, "t"), 1));
    cr_expect(eq(u64, ready_count(rig, "q"), 0));
}

/* It is too long until then, and no message is lost. */
Test(dead_letter, a_queue_that_is_too_long_without_memory_is_cut_with_the_next_message)
{
    declare_with("x-max-length", 1, "drop-head");
    publish_text(rig, a, "q", "1");
    rig->holds_turn = true;
    publish_text(rig, a, "q", "2");
    alloc_faults_plan(1);
    rig->holds_turn = false;
    rig_turn(rig);
    cr_expect(eq(u32, alloc_faults_left(), 0));
    cr_expect(eq(u64, ready_count(rig, "q"), 2));
    publish_text(rig, a, "q", "3");
    rig_turn(rig);
    cr_expect(eq(u64, ready_count(rig, "q"), 1));
    cr_expect(eq(u64, ready_count(rig, "t"), 2));
}

Test(dead_letter, a_refusal_that_there_is_no_memory_for_ends_the_connection)
{
    declare_with("x-max-length", 0, "reject-publish-dlx");
    run_out_of_memory();
    publish_text(rig, b, "q", "1");
    expect_ran_out();
    rig_expect_close(rig, b, 506, "no memory for the message");
    cr_expect(eq(u64, ready_count(rig, "t"), 0));
}
