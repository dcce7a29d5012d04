/* SPDX-License-Identifier: Apache-2.0 */
/* Consumers say why they reject a message, and the dead letter says it on. */
#include "broker/channels/failure_notes.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <stdio.h>

#include "amqp/properties.h"
#include "amqp/table.h"
#include "tests/support/alloc_faults.h"
#include "tests/unit/broker/log_harness.h"

enum { DEAD_SECONDS = 1700000000 };

static struct rig *rig;
static uint64_t a, b;
static struct buffer block;   /* a property block */
static struct buffer headers; /* of the note that is made */

static void
declare_source(const char *name)
{
    struct buffer arguments;
    buffer_init(&arguments);
    table_put_text(&arguments, "x-dead-letter-exchange", bytes_of(""));
    table_put_text(&arguments, "x-dead-letter-routing-key", bytes_of("dead"));
    struct queue_declare declare = {.queue = bytes_of(name), .arguments = buffer_bytes(&arguments)};
    declare_queue_as(rig, a, &declare);
    buffer_fini(&arguments);
}

static void
set_up(void)
{
    buffer_init(&block);
    buffer_init(&headers);
    rig = messaging_rig(NULL);
    a = messaging_client(rig);
    b = messaging_client(rig);
    declare_source("q");
    declare_queue(rig, a, "dead");
}

static void
tear_down(void)
{
    rig_free(&rig);
    buffer_fini(&block);
    buffer_fini(&headers);
}

TestSuite(failure_notes, .init = set_up, .fini = tear_down);

/* Making notes --------------------------------------------------------------------------------- */

static struct buffer *
begin_note(int64_t tag)
{
    buffer_clear(&headers);
    table_put_integer(&headers, "delivery-tag", tag);
    return &headers;
}

static void
publish_with_headers(const char *exchange, const char *key, const char *body)
{
    struct properties properties = {.flags = PROPERTY_HEADERS | PROPERTY_MESSAGE_ID,
                                    .message_id = bytes_of("m-1"),
                                    .headers = buffer_bytes(&headers)};
    buffer_clear(&block);
    properties_encode(&block, &properties);
    struct rig_publish publish = {
        .exchange = exchange,
        .routing_key = key,
        .properties = buffer_bytes(&block),
        .body = bytes_of(body),
        .has_headers = true,
    };
    rig_publish_as(rig, a, 1, &publish);
}

static void
send_note(void)
{
    publish_with_headers("bourse.control", "failure-note", "");
}

static void
note(int64_t tag, const char *class, const char *text)
{
    (void)begin_note(tag);
    table_put_text(&headers, "class", bytes_of(class));
    table_put_text(&headers, "text", bytes_of(text));
    send_note();
}

static void
expect_refusal(const char *text)
{
    rig_expect_channel_close(rig, a, 1, 406, text);
}

/* Reading dead letters ------------------------------------------------------------------------- */

static struct bytes
dead_headers(void)
{
    const struct posted *posted = get_message(rig, b, "dead", true);
    cr_assert(posted != NULL);
    struct properties properties;
    struct fault fault;
    cr_assert(eq(int, (int)properties_decode(&properties, posted->properties, &fault), STATUS_OK));
    return properties.headers;
}

static void
expect_text(struct bytes table, const char *name, const char *text)
{
    struct table_value value;
    cr_assert(table_find(table, name, &value), "%s", name);
    cr_expect(eq(int, value.type, 'S'));
    cr_expect(bytes_equal_text(value.raw, text), "%s: %.*s", name, BYTES_FORMAT(value.raw));
}

static void
expect_time(struct bytes table, const char *name, uint64_t time_s)
{
    struct table_value value;
    cr_assert(table_find(table, name, &value), "%s", name);
    cr_expect(eq(int, value.type, 'T'));
    cr_expect(eq(i64, table_value_integer(&value), (int64_t)time_s));
}

static void
expect_absent(struct bytes table, const char *name)
{
    struct table_value value;
    cr_expect(not(table_find(table, name, &value)), "%s", name);
}

static uint64_t
memory(void)
{
    return rig->core->queue_memory.bytes;
}

/* What a note is for --------------------------------------------------------------------------- */

/* The note and what the broker knows stand beside x-death, which is as ever. */
Test(failure_notes, travel_with_the_dead_letter)
{
    static const char trace[] = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    buffer_clear(&headers);
    table_put_text(&headers, "traceparent", bytes_of(trace));
    publish_with_headers("", "q", "body");
    consume(rig, a, 1, "q", "c", false);
    (void)expect_delivery(rig, a, "body");
    (void)begin_note(1);
    table_put_text(&headers, "consumer-tag", bytes_of("c"));
    table_put_text(&headers, "class", bytes_of("ValueError"));
    table_put_text(&headers, "text", bytes_of("no such customer"));
    table_put_text(&headers, "advice", bytes_of("create the customer, then replay"));
    send_note();
    rig->now.wall_ms = DEAD_SECONDS * INT64_C(1000) + 999;
    core_begin_tick(rig->core, rig->now);
    send_nack(rig, a, 1, 1, false, false);

    struct bytes dead = dead_headers();
    expect_text(dead, "x-failure-class", "ValueError");
    expect_text(dead, "x-failure-text", "no such customer");
    expect_text(dead, "x-failure-advice", "create the customer, then replay");
    expect_text(dead, "x-failure-queue", "q");
    expect_text(dead, "x-failure-message-id", "m-1");
    expect_text(dead, "x-failure-trace-id", "4bf92f3577b34da6a3ce929d0e0e4736");
    expect_time(dead, "x-failure-first-time", DEAD_SECONDS);
    expect_time(dead, "x-failure-last-time", DEAD_SECONDS);
    struct table_value value;
    cr_assert(table_find(dead, "x-failure-count", &value));
    cr_expect(eq(i64, table_value_integer(&value), 1));
    cr_assert(table_find(dead, "x-failure-attempts", &value));
    struct byte_reader reader = byte_reader_make(value.raw);
    struct table_value attempt;
    cr_assert(table_array_next(&reader, &attempt));
    expect_time(attempt.raw, "time", DEAD_SECONDS);
    expect_text(attempt.raw, "verdict", "nack");
    expect_text(attempt.raw, "class", "ValueError");
    cr_expect(not(table_array_next(&reader, &attempt)));
    expect_text(dead, "x-first-death-reason", "rejected");
}

/* Without a note a dead letter has nothing but its death. */
Test(failure_notes, nothing_is_said_where_there_is_none)
{
    publish_text(rig, a, "q", "one");
    (void)get_message(rig, a, "q", false);
    send_nack(rig, a, 1, 1, false, false);
    struct bytes dead = dead_headers();
    expect_absent(dead, "x-failure-queue");
    expect_absent(dead, "x-failure-count");
    expect_text(dead, "x-first-death-queue", "q");
}

/* The last one counts, and each delivery has its own. */
Test(failure_notes, belong_to_one_delivery_and_the_last_counts)
{
    publish_numbers(rig, a, "q", 1, 2);
    (void)get_message(rig, a, "q", false);
    (void)get_message(rig, a, "q", false);
    note(2, "B", "two");
    note(1, "A", "first");
    note(1, "A", "second");
    send_nack(rig, a, 1, 2, true, false);
    expect_text(dead_headers(), "x-failure-text", "second");
    expect_text(dead_headers(), "x-failure-class", "B");
}

/* It was of the attempt that was noted, and that one is over. */
Test(failure_notes, go_with_an_acknowledgement_or_a_return)
{
    publish_numbers(rig, a, "q", 1, 2);
    (void)get_message(rig, a, "q", false);
    (void)get_message(rig, a, "q", false);
    uint64_t without = memory();
    note(1, "A", "one");
    note(2, "B", "two");
    cr_expect(lt(u64, without, memory()), "a note counts");
    send_ack(rig, a, 1, 1, false);
    send_nack(rig, a, 1, 2, false, true);
    cr_expect(le(u64, memory(), without));
    (void)get_message(rig, a, "q", false);
    send_nack(rig, a, 1, 3, false, false);
    expect_absent(dead_headers(), "x-failure-text");
}

/* The channel goes, and with it what was said on it. */
Test(failure_notes, go_with_their_channel)
{
    publish_text(rig, a, "q", "one");
    (void)get_message(rig, a, "q", false);
    uint64_t without = memory();
    note(1, "A", "one");
    rig_send_id(rig, a, 1, METHOD_CHANNEL_CLOSE);
    (void)rig_expect(rig, a, 1, METHOD_CHANNEL_CLOSE_OK);
    rig_turn(rig);
    cr_expect(le(u64, memory(), without));
}

/* Where there is nowhere to go, nothing is kept. */
Test(failure_notes, go_with_a_message_that_is_dropped)
{
    declare_queue(rig, a, "plain");
    publish_text(rig, a, "plain", "one");
    (void)get_message(rig, a, "plain", false);
    note(1, "A", "one");
    send_nack(rig, a, 1, 1, false, false);
    cr_expect(eq(u64, find_queue(rig, "plain")->dying->died_count[DEATH_REJECTED], 1));
}

/* A dead letter that dies again says why it died the last time; without another note it keeps what
 * it says. */
Test(failure_notes, of_a_later_death_take_the_place_of_earlier_ones)
{
    declare_source("again");
    publish_text(rig, a, "q", "one");
    (void)get_message(rig, a, "q", false);
    note(1, "A", "first");
    send_nack(rig, a, 1, 1, false, false);
    bind_queue(rig, a, "again", "amq.direct", "k");
    struct bytes dead = dead_headers();
    expect_text(dead, "x-failure-text", "first");

    buffer_clear(&headers);
    buffer_put_bytes(&headers, dead);
    publish_with_headers("", "q", "two");
    (void)get_message(rig, a, "q", false);
    send_nack(rig, a, 1, 2, false, false);
    expect_text(dead_headers(), "x-failure-text", "first");

    publish_with_headers("", "q", "three");
    (void)get_message(rig, a, "q", false);
    (void)begin_note(3);
    table_put_text(&headers, "class", bytes_of("B"));
    send_note();
    send_nack(rig, a, 1, 3, false, false);
    dead = dead_headers();
    expect_text(dead, "x-failure-class", "B");
    expect_absent(dead, "x-failure-text");
}

/* Attempts --------------------------------------------------------------------------------------
 */

static void
declare_counting(const char *name, int64_t limit)
{
    struct buffer arguments;
    buffer_init(&arguments);
    table_put_text(&arguments, "x-dead-letter-exchange", bytes_of(""));
    table_put_text(&arguments, "x-dead-letter-routing-key", bytes_of("dead"));
    table_put_integer(&arguments, "x-delivery-limit", limit);
    struct queue_declare declare = {.queue = bytes_of(name), .arguments = buffer_bytes(&arguments)};
    declare_queue_as(rig, a, &declare);
    buffer_fini(&arguments);
}

static void
send_reject(uint64_t tag, bool requeue)
{
    struct method reject = {.id = METHOD_BASIC_REJECT,
                            .basic_reject = {.delivery_tag = tag, .requeue = requeue}};
    rig_send(rig, a, 1, &reject);
}

/* Takes the next message and gives it back, ten seconds after the one before. */
static void
fail(const char *queue, uint64_t tag)
{
    (void)get_message(rig, a, queue, false);
    send_nack(rig, a, 1, tag, false, true);
    rig_step(rig, 10000);
}

static void
expect_count(struct bytes dead, int64_t count)
{
    struct table_value value;
    cr_assert(table_find(dead, "x-failure-count", &value));
    cr_expect(eq(i64, table_value_integer(&value), count));
}

/* One attempt; `class` and `verdict` are NULL: there is none. */
struct expected_attempt {
    uint64_t time_s;
    const char *verdict, *class;
};

static void
expect_optional_text(struct bytes table, const char *name, const char *text)
{
    if (text == NULL) {
        expect_absent(table, name);
    } else {
        expect_text(table, name, text);
    }
}

static void
expect_attempts(struct bytes dead, const struct expected_attempt *expected, size_t count)
{
    struct table_value value;
    struct table_value attempt;
    cr_assert(table_find(dead, "x-failure-attempts", &value));
    struct byte_reader reader = byte_reader_make(value.raw);
    for (size_t i = 0; i < count; i++) {
        cr_assert(table_array_next(&reader, &attempt), "attempt %zu", i + 1);
        expect_time(attempt.raw, "time", expected[i].time_s);
        expect_optional_text(attempt.raw, "verdict", expected[i].verdict);
        expect_optional_text(attempt.raw, "class", expected[i].class);
    }
    cr_expect(not(table_array_next(&reader, &attempt)));
}

/* What a queue has counted before is told as well, with its times. */
Test(failure_notes, stand_beside_the_attempts_that_were_counted)
{
    declare_counting("counts", 2);
    publish_text(rig, a, "counts", "one");
    rig_step(rig, 5000);
    uint64_t first_s = (uint64_t)rig->now.wall_ms / 1000;
    for (uint64_t tag = 1; tag <= 3; tag++) {
        (void)get_message(rig, a, "counts", false);
        note((int64_t)tag, tag == 3 ? "C" : "A", tag == 3 ? "third" : "earlier");
        send_nack(rig, a, 1, tag, false, true);
        rig_step(rig, 10000);
    }
    struct bytes dead = dead_headers();
    expect_text(dead, "x-first-death-reason", "delivery_limit");
    expect_text(dead, "x-failure-text", "third");
    expect_count(dead, 3);
    expect_time(dead, "x-failure-first-time", first_s);
    expect_time(dead, "x-failure-last-time", first_s + 20);
    expect_attempts(dead,
                    (struct expected_attempt[]){{first_s, "nack", "A"},
                                                {first_s + 10, "nack", "A"},
                                                {first_s + 20, "nack", "C"}},
                    3);
}

/* Nobody has to say anything for what the broker knows. */
Test(failure_notes, are_not_needed_for_what_the_broker_knows)
{
    declare_counting("counts", 1);
    publish_text(rig, a, "counts", "one");
    uint64_t first_s = (uint64_t)rig->now.wall_ms / 1000;
    fail("counts", 1);
    (void)get_message(rig, a, "counts", false);
    send_reject(2, true);
    struct bytes dead = dead_headers();
    expect_text(dead, "x-first-death-reason", "delivery_limit");
    expect_text(dead, "x-failure-queue", "counts");
    expect_count(dead, 2);
    expect_time(dead, "x-failure-first-time", first_s);
    expect_time(dead, "x-failure-last-time", first_s + 10);
    expect_attempts(
        dead, (struct expected_attempt[]){{first_s, "nack", NULL}, {first_s + 10, "reject", NULL}},
        2);
    expect_absent(dead, "x-failure-text");
}

/* A rejection for good is an attempt as well, and says with which method it came. */
Test(failure_notes, are_not_needed_when_a_message_is_rejected_after_failures)
{
    static const char *const verdicts[] = {"nack", "reject"};
    declare_counting("counts", 5);
    for (uint64_t i = 0; i < ARRAY_LEN(verdicts); i++) {
        publish_text(rig, a, "counts", "one");
        uint64_t first_s = (uint64_t)rig->now.wall_ms / 1000;
        fail("counts", 2 * i + 1);
        (void)get_message(rig, a, "counts", false);
        if (i == 0) {
            send_nack(rig, a, 1, 2, false, false);
        } else {
            send_reject(4, false);
        }
        struct bytes dead = dead_headers();
        expect_text(dead, "x-first-death-reason", "rejected");
        expect_count(dead, 2);
        expect_attempts(
            dead,
            (struct expected_attempt[]){{first_s, "nack", NULL}, {first_s + 10, verdicts[i], NULL}},
            2);
    }
}

/* Also where the message dies of something else. */
Test(failure_notes, are_not_needed_when_a_message_expires_after_failures)
{
    declare_counting("counts", 5);
    struct properties properties = {.flags = PROPERTY_EXPIRATION, .expiration = bytes_of("15000")};
    properties_encode(&block, &properties);
    struct rig_publish publish = {.exchange = "",
                                  .routing_key = "counts",
                                  .properties = buffer_bytes(&block),
                                  .body = bytes_of("one")};
    rig_publish_as(rig, a, 1, &publish);
    uint64_t first_s = (uint64_t)rig->now.wall_ms / 1000;
    fail("counts", 1);
    rig_step(rig, 10000);
    rig_turn(rig);
    struct bytes dead = dead_headers();
    expect_text(dead, "x-first-death-reason", "expired");
    expect_count(dead, 1);
    expect_attempts(dead, (struct expected_attempt[]){{first_s, "nack", NULL}}, 1);
}

/* What was said last stays while the message is tried again, and each attempt keeps its class: of
 * the first, and of the last four. */
Test(failure_notes, stay_while_a_message_is_tried_again)
{
    static char long_class[FAILURE_CLASS_MAX + 10];
    memset(long_class, 'x', sizeof(long_class) - 1);
    declare_counting("counts", 6);
    publish_text(rig, a, "counts", "one");
    uint64_t first_s = (uint64_t)rig->now.wall_ms / 1000;
    static const char *const classes[] = {"A", "B", NULL, "D", long_class, NULL, NULL};
    for (uint64_t tag = 1; tag <= ARRAY_LEN(classes); tag++) {
        (void)get_message(rig, a, "counts", false);
        if (classes[tag - 1] != NULL) {
            note((int64_t)tag, classes[tag - 1], tag == 5 ? "the last word" : "earlier");
        }
        send_nack(rig, a, 1, tag, false, true);
        rig_step(rig, 10000);
    }
    struct bytes dead = dead_headers();
    expect_text(dead, "x-failure-text", "the last word");
    expect_text(dead, "x-failure-class", long_class);
    expect_count(dead, 7);
    char cut_class[FAILURE_CLASS_MAX + 1] = {0};
    memset(cut_class, 'x', FAILURE_CLASS_MAX);
    expect_attempts(dead,
                    (struct expected_attempt[]){{first_s, "nack", "A"},
                                                {first_s + 30, "nack", "D"},
                                                {first_s + 40, "nack", cut_class},
                                                {first_s + 50, "nack", NULL},
                                                {first_s + 60, "nack", NULL}},
                    5);
}

/* Its memory counts until then. */
Test(failure_notes, that_stay_with_a_message_go_with_it)
{
    declare_counting("counts", 5);
    publish_numbers(rig, a, "counts", 1, 2);
    (void)get_message(rig, a, "counts", false);
    (void)get_message(rig, a, "counts", false);
    send_nack(rig, a, 1, 2, true, true);
    uint64_t without = memory();
    (void)get_message(rig, a, "counts", false);
    note(3, "A", "one");
    send_nack(rig, a, 1, 3, false, true);
    cr_expect(lt(u64, without, memory()));
    (void)get_message(rig, a, "counts", false);
    send_ack(rig, a, 1, 4, false);
    cr_expect(le(u64, memory(), without));
}

/* Whoever goes away or has the message back for another reason has not said that it failed. */
Test(failure_notes, go_with_a_return_that_is_no_failure)
{
    declare_counting("counts", 5);
    publish_text(rig, a, "counts", "one");
    (void)get_message(rig, a, "counts", false);
    note(1, "A", "one");
    struct method recover = {.id = METHOD_BASIC_RECOVER, .basic_recover = {.requeue = true}};
    rig_send(rig, a, 1, &recover);
    (void)rig_expect(rig, a, 1, METHOD_BASIC_RECOVER_OK);
    fail("counts", 2);
    (void)get_message(rig, a, "counts", false);
    send_nack(rig, a, 1, 3, false, false);
    struct bytes dead = dead_headers();
    expect_count(dead, 2);
    expect_absent(dead, "x-failure-text");
}

/* A dead letter that fails elsewhere says where, and keeps what was said of it until somebody says
 * something else. */
Test(failure_notes, stay_over_a_later_death_of_which_nothing_is_said)
{
    declare_counting("counts", 0);
    (void)begin_note(1);
    publish_text(rig, a, "q", "one");
    (void)get_message(rig, a, "q", false);
    note(1, "A", "first");
    send_nack(rig, a, 1, 1, false, false);
    struct bytes dead = dead_headers();
    buffer_clear(&headers);
    buffer_put_bytes(&headers, dead);
    publish_with_headers("", "counts", "one");
    (void)get_message(rig, a, "counts", false);
    send_nack(rig, a, 1, 2, false, true);
    dead = dead_headers();
    expect_text(dead, "x-failure-queue", "counts");
    expect_text(dead, "x-failure-text", "first");
    struct table_value value;
    cr_assert(table_find(dead, "x-failure-attempts", &value));
    struct byte_reader reader = byte_reader_make(value.raw);
    struct table_value attempt;
    cr_assert(table_array_next(&reader, &attempt));
    expect_absent(attempt.raw, "class");
}

/* Refusals ------------------------------------------------------------------------------------- */

/* Each with a text that says what is wrong. */
Test(failure_notes, are_refused_when_they_are_malformed)
{
    static const struct {
        const char *name;
        char type; /* S: a text, l: an integer */
        const char *text;
    } rows[] = {
        {"class", 'l', "failure note: header 'class' is no text"},
        {"text", 'l', "failure note: header 'text' is no text"},
        {"advice", 'l', "failure note: header 'advice' is no text"},
        {"consumer-tag", 'l', "failure note: header 'consumer-tag' is no text"},
        {"consumer-tag", 'S', "failure note: header 'consumer-tag' is not that of the delivery"},
        {"delivery-tag", 'S', "failure note: header 'delivery-tag' is no integer"},
        {"other", 'S', "failure note: header 'delivery-tag' is missing"},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        publish_text(rig, a, "q", "one");
        (void)get_message(rig, a, "q", false);
        buffer_clear(&headers);
        if (rows[i].type == 'l') {
            table_put_integer(&headers, rows[i].name, 5);
        } else {
            table_put_text(&headers, rows[i].name, bytes_of("other"));
        }
        if (strcmp(rows[i].name, "other") != 0) {
            table_put_integer(&headers, "delivery-tag", 1);
        }
        table_put_text(&headers, "class", bytes_of("A"));
        send_note();
        expect_refusal(rows[i].text);
        rig_send_id(rig, a, 1, METHOD_CHANNEL_CLOSE_OK);
        rig_open_channel(rig, a, 1);
    }
}

/* Something has to be said. */
Test(failure_notes, are_refused_when_they_say_nothing)
{
    publish_text(rig, a, "q", "one");
    (void)get_message(rig, a, "q", false);
    (void)begin_note(1);
    send_note();
    expect_refusal("failure note: none of the headers 'class', 'text' and "
                   "'advice' is there");
}

/* 4 KiB of properties and body together. */
Test(failure_notes, are_refused_when_they_are_too_large)
{
    static char text[FAILURE_NOTE_OCTETS_MAX + 1];
    memset(text, 'x', sizeof(text) - 1);
    publish_text(rig, a, "q", "one");
    (void)get_message(rig, a, "q", false);
    text[4000] = '\0';
    note(1, "A", text);
    rig_expect_nothing(rig, a);
    text[4000] = 'x';
    note(1, "A", text);
    const struct method *close = rig_expect(rig, a, 1, METHOD_CHANNEL_CLOSE);
    cr_expect(eq(int, close->channel_close.reply_code, 406));
    cr_expect(strstr((const char *)close->channel_close.reply_text.data,
                     "octets of properties and body are more than 4096") != NULL);
}

/* Zero, negative, settled, and never delivered. */
Test(failure_notes, are_refused_for_deliveries_that_are_not_open)
{
    static const struct {
        int64_t tag;
        const char *text;
    } rows[] = {
        {0, "unknown delivery tag 0"},
        {-1, "unknown delivery tag -1"},
        {1, "unknown delivery tag 1"},
        {2, "unknown delivery tag 2"},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        publish_text(rig, a, "q", "one");
        (void)get_message(rig, a, "q", false);
        send_ack(rig, a, 1, 1, false);
        note(rows[i].tag, "A", "one");
        expect_refusal(rows[i].text);
        rig_send_id(rig, a, 1, METHOD_CHANNEL_CLOSE_OK);
        rig_open_channel(rig, a, 1);
    }
}

/* What a connection may say of open deliveries is bounded, over all its channels. */
Test(failure_notes, are_refused_when_there_are_too_many)
{
    publish_numbers(rig, a, "q", 1, FAILURE_NOTES_MAX + 1);
    for (int i = 1; i <= FAILURE_NOTES_MAX + 1; i++) {
        (void)get_message(rig, a, "q", false);
    }
    for (int i = FAILURE_NOTES_MAX; i > 0; i--) {
        note(i, "A", "one");
    }
    note(5, "A", "takes the place of another");
    rig_expect_nothing(rig, a);
    cr_expect(eq(u32, core_find_connection(rig->core, a)->note_count, FAILURE_NOTES_MAX));
    cr_expect(eq(u64, rig->core->counters.failure_notes, FAILURE_NOTES_MAX + 1));
    note(FAILURE_NOTES_MAX + 1, "A", "one");
    expect_refusal("failure note: more than 1024 are of open deliveries of "
                   "this connection");
    cr_expect(eq(u64, rig->core->counters.failure_notes_refused, 1));
}

static void
note_on(uint16_t channel, int64_t tag, const char *text)
{
    (void)begin_note(tag);
    table_put_text(&headers, "text", bytes_of(text));
    struct properties properties = {.flags = PROPERTY_HEADERS, .headers = buffer_bytes(&headers)};
    buffer_clear(&block);
    properties_encode(&block, &properties);
    struct rig_publish publish = {
        .exchange = "bourse.control",
        .routing_key = "failure-note",
        .properties = buffer_bytes(&block),
        .body = bytes_of(""),
        .has_headers = true,
    };
    rig_publish_as(rig, a, channel, &publish);
}

/* Octets count as well, so that a mark is not filled by one connection; each that goes makes room,
 * and one that takes the place of another counts for what it is more. */
Test(failure_notes, are_refused_when_they_are_too_much)
{
    static char text[4001];
    memset(text, 'x', sizeof(text) - 1);
    rig_open_channel(rig, a, 2);
    publish_numbers(rig, a, "q", 1, 300);
    for (int i = 1; i <= 150; i++) {
        (void)get_message(rig, a, "q", false);
        note_on(1, i, text);
    }
    struct method get = {.id = METHOD_BASIC_GET, .basic_get = {.queue = bytes_of("q")}};
    const struct connection *connection = core_find_connection(rig->core, a);
    uint64_t one = connection->note_octets / 150;
    int64_t tag = 0;
    while (connection->note_octets + one <= FAILURE_NOTES_OCTETS_MAX) {
        rig_send(rig, a, 2, &get);
        (void)rig_expect(rig, a, 2, METHOD_BASIC_GET_OK);
        note_on(2, ++tag, text);
    }
    note_on(2, tag, text);
    send_ack(rig, a, 1, 150, false);
    rig_send(rig, a, 2, &get);
    (void)rig_expect(rig, a, 2, METHOD_BASIC_GET_OK);
    note_on(2, ++tag, text);
    rig_expect_nothing(rig, a);
    rig_send(rig, a, 2, &get);
    (void)rig_expect(rig, a, 2, METHOD_BASIC_GET_OK);
    note_on(2, ++tag, text);
    rig_expect_channel_close(rig, a, 2, 406,
                             "failure note: more than 1048576 octets are of open deliveries of "
                             "this connection");
    cr_expect(eq(u32, connection->note_count, 149), "those of the channel have gone with it");
}

/* Without memory the publisher is told as of any other message: for the note, and for the table of
 * notes, which the channel has none of yet. */
Test(failure_notes, without_memory_end_the_connection)
{
    for (uint64_t failing = 1; failing <= 2; failing++) {
        uint64_t link = messaging_client(rig);
        a = link;
        publish_text(rig, a, "q", "one");
        (void)get_message(rig, a, "q", false);
        (void)begin_note(1);
        table_put_text(&headers, "text", bytes_of("one"));
        publish_with_headers("", "dead", ""); /* the test has all that it needs now */
        alloc_faults_plan(failing);
        send_note();
        alloc_faults_plan(0);
        rig_expect_close(rig, a, 506, "no memory for the message");
    }
}

/* A rejection cannot be refused: where there is no memory to carry what was said, the dead letter
 * says nothing of it. */
Test(failure_notes, are_left_out_where_there_is_no_memory_to_carry_them)
{
    publish_numbers(rig, a, "q", 1, 2);
    (void)get_message(rig, a, "q", false);
    (void)get_message(rig, a, "q", false);
    note(1, "A", "one");
    note(2, "B", "two");
    alloc_faults_plan(3); /* behind those for its death */
    send_nack(rig, a, 1, 1, false, false);
    alloc_faults_plan(0);
    expect_absent(dead_headers(), "x-failure-text");
    cr_expect(eq(u32, core_find_connection(rig->core, a)->note_count, 1));
    send_nack(rig, a, 1, 2, false, false);
    expect_text(dead_headers(), "x-failure-text", "two");
}

/* Modes and rights ----------------------------------------------------------------------------- */

/* It is confirmed like any message that was taken, and is in no queue. */
Test(failure_notes, are_confirmed)
{
    publish_text(rig, a, "q", "one");
    (void)get_message(rig, a, "q", false);
    rig_send_id(rig, a, 1, METHOD_CONFIRM_SELECT);
    (void)rig_expect(rig, a, 1, METHOD_CONFIRM_SELECT_OK);
    bind_queue(rig, a, "dead", "bourse.control", "failure-note");
    note(1, "A", "one");
    const struct method *ack = rig_expect(rig, a, 1, METHOD_BASIC_ACK);
    cr_expect(eq(u64, ack->basic_ack.delivery_tag, 1));
    cr_expect(eq(u64, ready_count(rig, "dead"), 0));
}

/* In a transaction it takes effect at once, and outlives a rollback with its delivery. */
Test(failure_notes, do_not_wait_for_a_commit)
{
    publish_text(rig, a, "q", "one");
    (void)get_message(rig, a, "q", false);
    rig_send_id(rig, a, 1, METHOD_TX_SELECT);
    (void)rig_expect(rig, a, 1, METHOD_TX_SELECT_OK);
    note(1, "A", "one");
    send_nack(rig, a, 1, 1, false, false);
    rig_send_id(rig, a, 1, METHOD_TX_ROLLBACK);
    (void)rig_expect(rig, a, 1, METHOD_TX_ROLLBACK_OK);
    send_nack(rig, a, 1, 1, false, false);
    rig_send_id(rig, a, 1, METHOD_TX_COMMIT);
    (void)rig_expect(rig, a, 1, METHOD_TX_COMMIT_OK);
    expect_text(dead_headers(), "x-failure-class", "A");
}

/* Other keys are routed as by any direct exchange, before and after notes. */
Test(failure_notes, are_only_of_their_key)
{
    bind_queue(rig, a, "dead", "bourse.control", "other");
    publish_text(rig, a, "q", "one");
    (void)get_message(rig, a, "q", false);
    rig_publish(rig, a, 1, "bourse.control", "other", "ordinary");
    note(1, "A", "one");
    rig_publish(rig, a, 1, "bourse.control", "other", "ordinary");
    cr_expect(eq(u64, ready_count(rig, "dead"), 2));
    (void)get_message(rig, b, "dead", true);
    (void)get_message(rig, b, "dead", true);
    send_nack(rig, a, 1, 1, false, false);
    expect_text(dead_headers(), "x-failure-class", "A");
}

/* Who holds the delivery may speak of it, whatever it may write to. */
Test(failure_notes, need_no_right_to_write)
{
    publish_text(rig, a, "q", "one");
    (void)get_message(rig, a, "q", false);
    char hash[RIG_HASH_SIZE];
    struct config_user reader = rig_user("u", rig_slow_hash("p", hash));
    reader.write = "";
    rig_put_user(rig, &reader);
    note(1, "A", "one");
    rig_expect_nothing(rig, a);
}

/* A publisher that is blocked still says why, for its rejection goes through as well. */
Test(failure_notes, go_through_while_publishers_are_blocked)
{
    publish_text(rig, a, "q", "one");
    (void)get_message(rig, a, "q", false);
    core_set_alarm(rig->core, ALARM_MEMORY, true);
    rig_publish(rig, a, 1, "", "dead", "is held");
    note(1, "A", "one");
    send_nack(rig, a, 1, 1, false, false);
    expect_text(dead_headers(), "x-failure-class", "A");
    core_set_alarm(rig->core, ALARM_MEMORY, false);
    rig_turn(rig);
}

/* In confirm mode it has a number behind what is held, and comes too late; nobody is to blame. */
Test(failure_notes, that_come_late_through_a_block_are_no_fault)
{
    rig_send_id(rig, a, 1, METHOD_CONFIRM_SELECT);
    (void)rig_expect(rig, a, 1, METHOD_CONFIRM_SELECT_OK);
    publish_text(rig, b, "q", "one");
    (void)get_message(rig, a, "q", false);
    core_set_alarm(rig->core, ALARM_MEMORY, true);
    rig_publish(rig, a, 1, "", "dead", "is held");
    note(1, "A", "one");
    send_nack(rig, a, 1, 1, false, false);
    expect_absent(dead_headers(), "x-failure-class");
    core_set_alarm(rig->core, ALARM_MEMORY, false);
    rig_turn(rig);
    rig_turn(rig);
    for (uint64_t acked = 0; acked < 2;) {
        const struct posted *posted = rig_next(rig, a);
        cr_assert(posted != NULL);
        if (posted->method.id == METHOD_BASIC_ACK) {
            acked = posted->method.basic_ack.delivery_tag;
        }
    }
    rig_expect_nothing(rig, a);
}
