/* SPDX-License-Identifier: Apache-2.0 */
/* The desk in memory and with a log whose disk is the test's: what is shown, that looking changes
 * nothing, where replayed messages go, and that each is in exactly one place whatever fails. */
#include "broker/desk/desk.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#include <stdio.h>
#include <stdlib.h>

#include "amqp/properties.h"
#include "amqp/table.h"
#include "broker/changes/audit.h"
#include "broker/upkeep/waiting.h"
#include "tests/support/alloc_faults.h"
#include "tests/unit/broker/desk_harness.h"
#include "tests/unit/broker/log_harness.h"

static struct rig *rig;
static struct log_rig *disk; /* NULL: there is no log */
static uint64_t a, b;
static struct desk_outcome outcome;

static void
set_up(void)
{
    rig = messaging_rig(NULL);
    a = messaging_client(rig);
    b = messaging_client(rig);
}

static void
tear_down(void)
{
    if (disk != NULL) {
        log_rig_free(&disk);
    } else {
        rig_free(&rig);
    }
}

TestSuite(desk, .init = set_up, .fini = tear_down);

/* The same with a log. */
static void
start_log(uint64_t slot_size)
{
    rig_free(&rig);
    disk = log_rig_new(NULL, slot_size);
    rig = disk->rig;
    a = messaging_client(rig);
    b = messaging_client(rig);
}

static void
pump(void)
{
    rig_turn(rig);
    if (disk != NULL) {
        log_commit(disk);
    }
    rig_step(rig, 10);
}

static void
declare_with(const char *name, struct buffer *arguments)
{
    struct method method = {
        .id = METHOD_QUEUE_DECLARE,
        .queue_declare = {.queue = bytes_of(name),
                          .arguments = buffer_bytes(arguments),
                          .durable = disk != NULL},
    };
    rig_send(rig, a, 1, &method);
    if (disk != NULL) {
        log_commit(disk);
    }
    (void)rig_expect(rig, a, 1, METHOD_QUEUE_DECLARE_OK);
}

/* A queue whose dead letters go to the queue `dead`. */
static void
declare_source(const char *name, const char *dead)
{
    struct buffer arguments;
    buffer_init(&arguments);
    table_put_text(&arguments, "x-dead-letter-exchange", bytes_of(""));
    table_put_text(&arguments, "x-dead-letter-routing-key", bytes_of(dead));
    declare_with(name, &arguments);
    buffer_fini(&arguments);
}

static void
publish(const char *exchange, const char *key, const char *body, const char *message_id,
        const char *kind)
{
    struct buffer headers;
    struct buffer block;
    buffer_init(&headers);
    buffer_init(&block);
    table_put_text(&headers, "kind", bytes_of(kind));
    struct properties properties = {
        .flags = PROPERTY_HEADERS | PROPERTY_MESSAGE_ID | PROPERTY_DELIVERY_MODE,
        .headers = buffer_bytes(&headers),
        .message_id = bytes_of(message_id),
        .delivery_mode = 2,
    };
    properties_encode(&block, &properties);
    rig_publish_as(rig, a, 1,
                   &(struct rig_publish){.exchange = exchange,
                                         .routing_key = key,
                                         .properties = buffer_bytes(&block),
                                         .body = bytes_of(body),
                                         .is_persistent = true,
                                         .has_headers = true});
    buffer_fini(&block);
    buffer_fini(&headers);
}

static uint64_t
take(const char *queue)
{
    struct method get = {.id = METHOD_BASIC_GET, .basic_get = {.queue = bytes_of(queue)}};
    rig_send(rig, b, 1, &get);
    if (disk != NULL) {
        log_settle(disk);
    }
    return rig_expect_posted(rig, b, 1, METHOD_BASIC_GET_OK)->method.basic_get_ok.delivery_tag;
}

static void
reject_all_of(const char *queue, int count)
{
    for (int i = 0; i < count; i++) {
        send_nack(rig, b, 1, take(queue), false, false);
    }
    if (disk != NULL) {
        log_settle(disk);
    }
}

static void
browse(const char *queue, const struct desk_filter *filter)
{
    struct desk_order request = {.action = DESK_BROWSE};
    if (filter != NULL) {
        request.filter = *filter;
    }
    desk_run(rig, queue, &request, pump, &outcome);
}

static uint64_t
replay(const char *queue, enum replay_to to, const char *batch)
{
    struct desk_order request = {
        .action = DESK_REPLAY,
        .target = {.to = to},
        .batch = bytes_of(batch),
        .user = bytes_of("ops"),
        .note = bytes_of("fixed"),
    };
    desk_run(rig, queue, &request, pump, &outcome);
    return outcome.progress.done_count;
}

static uint64_t
drop(const char *queue, const struct desk_filter *filter, uint64_t limit)
{
    struct desk_order request = {
        .action = DESK_DROP, .filter = *filter, .limit = limit, .user = bytes_of("ops")};
    desk_run(rig, queue, &request, pump, &outcome);
    return outcome.progress.done_count;
}

/* Browsing ------------------------------------------------------------------------------------- */

Test(desk, browsing_shows_what_is_ready_returned_and_at_consumers_in_order)
{
    declare_queue(rig, a, "q");
    publish_numbers(rig, a, "q", 1, 5);
    uint64_t first = take("q");
    uint64_t second = take("q");
    (void)take("q");
    send_nack(rig, b, 1, second, false, true);
    (void)first;
    browse("q", NULL);
    cr_expect(eq(str, (char *)shown_bodies(&outcome), "2 4 5 1 3"));
    cr_expect(outcome.shown[0].is_redelivered);
    cr_expect(not(outcome.shown[1].is_redelivered));
    cr_expect(eq(int, (int)outcome.shown[3].place, DESK_UNACKED));
    browse("q", &(struct desk_filter){.places = 1 << DESK_READY});
    cr_expect(eq(str, (char *)shown_bodies(&outcome), "2 4 5"));
}

/* Everything that can be seen of a queue is the same afterwards. */
Test(desk, browsing_changes_nothing)
{
    declare_source("q", "dead");
    declare_queue(rig, a, "dead");
    publish_numbers(rig, a, "q", 1, 5);
    (void)take("q");
    send_nack(rig, b, 1, take("q"), false, true);
    struct queue before;
    struct queue after;
    memcpy(&before, find_queue(rig, "q"), sizeof(before));
    struct core_counters counters = rig->core->counters;
    browse("q", NULL);
    browse("q", &(struct desk_filter){.message_id = bytes_of("x")});
    struct desk_order group = {.action = DESK_GROUP};
    desk_run(rig, "q", &group, pump, &outcome);
    memcpy(&after, find_queue(rig, "q"), sizeof(after));
    cr_expect(eq(int, memcmp(&before, &after, sizeof(before)), 0));
    cr_expect(eq(int, memcmp(&counters, &rig->core->counters, sizeof(counters)), 0));
    queue_check(find_queue(rig, "q"));
    const struct posted *next = get_message(rig, b, "q", true);
    cr_expect(bytes_equal_text(next->body, "2"));
    next = get_message(rig, b, "q", true);
    cr_expect(bytes_equal_text(next->body, "3"));
    cr_expect(not(next->method.basic_get_ok.redelivered));
}

Test(desk, a_page_ends_where_the_next_begins)
{
    declare_queue(rig, a, "q");
    publish_numbers(rig, a, "q", 1, 9);
    send_nack(rig, b, 1, take("q"), false, true);
    char seen[64] = "";
    struct desk_cursor cursor = {0};
    for (int page = 0; page < 3; page++) {
        struct desk_order request = {.action = DESK_BROWSE, .from = cursor, .limit = 4};
        desk_run(rig, "q", &request, pump, &outcome);
        cursor = outcome.progress.cursor;
        (void)snprintf(seen + strlen(seen), sizeof(seen) - strlen(seen), "%s|",
                       shown_bodies(&outcome));
    }
    cr_expect(eq(str, seen, "1 2 3 4|5 6 7 8|9|"));
}

Test(desk, levels_are_shown_in_the_order_of_service)
{
    struct buffer arguments;
    buffer_init(&arguments);
    table_put_integer(&arguments, "x-max-priority", 3);
    declare_with("p", &arguments);
    buffer_fini(&arguments);
    for (int i = 1; i <= 6; i++) {
        struct buffer block;
        buffer_init(&block);
        struct properties properties = {.flags = PROPERTY_PRIORITY, .priority = (uint8_t)(i % 3)};
        properties_encode(&block, &properties);
        char body[16];
        (void)snprintf(body, sizeof(body), "%d", i);
        rig_publish_as(rig, a, 1,
                       &(struct rig_publish){.exchange = "",
                                             .routing_key = "p",
                                             .properties = buffer_bytes(&block),
                                             .body = bytes_of(body)});
        buffer_fini(&block);
    }
    browse("p", NULL);
    cr_expect(eq(str, (char *)shown_bodies(&outcome), "2 5 1 4 3 6"));
    struct desk_filter one = {.ids = &outcome.shown[3].id, .id_count = 1};
    cr_expect(eq(u64, drop("p", &one, 0), 1));
    one.ids = &outcome.shown[0].id;
    browse("p", NULL);
    cr_expect(eq(str, (char *)shown_bodies(&outcome), "2 5 1 3 6"));
    queue_check(find_queue(rig, "p"));
    const char *const rest[] = {"2", "5", "1", "3", "6"};
    for (size_t i = 0; i < ARRAY_LEN(rest); i++) {
        cr_expect(bytes_equal_text(get_message(rig, b, "p", true)->body, rest[i]));
    }
}

Test(desk, filters_are_about_what_a_message_says_and_where_it_is_from)
{
    declare_source("orders", "dead");
    declare_source("mails", "dead");
    declare_queue(rig, a, "dead");
    publish("", "orders", "1", "id-1", "a");
    publish("", "orders", "2", "id-2", "b");
    publish("", "mails", "3", "id-3", "a");
    reject_all_of("orders", 2);
    reject_all_of("mails", 1);
    static const struct {
        struct desk_filter filter;
        const char *bodies;
    } rows[] = {
        {{.origin_queue = {(const uint8_t *)"orders", 6}}, "1 2"},
        {{.reason = {(const uint8_t *)"rejected", 8}}, "1 2 3"},
        {{.reason = {(const uint8_t *)"expired", 7}}, ""},
        {{.routing_key = {(const uint8_t *)"mails", 5}}, "3"},
        {{.routing_key = {(const uint8_t *)"dead", 4}}, "1 2 3"},
        {{.header_name = {(const uint8_t *)"kind", 4}, .header_text = {(const uint8_t *)"a", 1}},
         "1 3"},
        {{.message_id = {(const uint8_t *)"-2", 2}}, "2"},
        {{.message_id = {(const uint8_t *)"id", 2}, .origin_queue = {(const uint8_t *)"mails", 5}},
         "3"},
        {{.exchange = {(const uint8_t *)"x", 1}}, ""},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        browse("dead", &rows[i].filter);
        cr_expect(eq(str, (char *)shown_bodies(&outcome), (char *)rows[i].bodies), "row %zu", i);
    }
    rig_step(rig, 60000);
    publish("", "dead", "4", "id-4", "c");
    browse("dead", &(struct desk_filter){.age_min_ms = 30000});
    cr_expect(eq(str, (char *)shown_bodies(&outcome), "1 2 3"));
    browse("dead", &(struct desk_filter){.age_max_ms = 30000});
    cr_expect(eq(str, (char *)shown_bodies(&outcome), "4"));
}

/* The filter of a group must mean nothing else: what is dropped is gone. */
Test(desk, messages_are_chosen_by_the_key_of_their_group_alone)
{
    declare_source("orders", "dead");
    declare_queue(rig, a, "dead");
    declare_exchange(rig, a, "x", "fanout", NULL);
    bind_queue(rig, a, "orders", "x", "");
    publish("", "orders", "1", "id-1", "a");
    publish("x", "dead", "2", "id-2", "a");
    reject_all_of("orders", 2);
    browse("dead", &(struct desk_filter){.routing_key = bytes_of("dead")});
    cr_expect(eq(str, (char *)shown_bodies(&outcome), "1 2"));
    browse("dead", &(struct desk_filter){.origin_key = bytes_of("dead")});
    cr_expect(eq(str, (char *)shown_bodies(&outcome), "2"));
    browse("dead", &(struct desk_filter){.origin_key = bytes_of("orders")});
    cr_expect(eq(str, (char *)shown_bodies(&outcome), "1"));
}

/* JSON has U+FFFD for an octet that is of no character, and nobody can ask for anything else. */
Test(desk, a_text_that_is_not_utf8_is_asked_for_as_it_is_shown)
{
    static const struct {
        const char *wanted;
        uint32_t count;
    } rows[] = {
        {"\xef\xbf\xbd"
         "a\xc3\xbc",
         1},
        {"\xff"
         "a\xc3\xbc",
         1},
        {"\xef\xbf\xbd"
         "a",
         0},
        {"\xef\xbf\xbd"
         "a\xc3\xbc"
         "b",
         0},
        {"\xef\xbf\xbd", 0},
        {"", 0},
    };
    declare_queue(rig, a, "q");
    publish("", "q", "1", "id-1",
            "\xff"
            "a\xc3\xbc");
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        browse("q", &(struct desk_filter){.header_name = bytes_of("kind"),
                                          .header_text = bytes_of(rows[i].wanted)});
        cr_expect(eq(u32, outcome.shown_count, rows[i].count), "row %zu", i);
    }
}

Test(desk, groups_count_what_has_the_same_origin_reason_class_and_key)
{
    declare_source("orders", "dead");
    declare_source("mails", "dead");
    declare_queue(rig, a, "dead");
    publish("", "orders", "1", "id", "a");
    publish("", "orders", "22", "id", "b");
    publish("", "mails", "3", "id", "a");
    reject_all_of("orders", 2);
    rig_step(rig, 5000);
    reject_all_of("mails", 1);
    struct desk_order request = {.action = DESK_GROUP};
    desk_run(rig, "dead", &request, pump, &outcome);
    cr_assert(eq(u32, outcome.group_count, 2));
    cr_expect(eq(str, outcome.group_texts[0][0], "orders"));
    cr_expect(eq(str, outcome.group_texts[0][1], "rejected"));
    cr_expect(eq(str, outcome.group_texts[0][3], "orders"));
    cr_expect(eq(u64, outcome.groups[0].count, 2));
    cr_expect(eq(u64, outcome.groups[0].octets, 3));
    cr_expect(ge(u64, outcome.groups[0].oldest_ms, 4900));
    cr_expect(eq(str, outcome.group_texts[1][0], "mails"));
    cr_expect(lt(u64, outcome.groups[1].oldest_ms, 1000));
    cr_expect(eq(u64, outcome.others_count, 0));
}

Test(desk, beyond_so_many_groups_the_rest_is_in_one)
{
    declare_exchange(rig, a, "x", "fanout", NULL);
    declare_queue(rig, a, "q");
    bind_queue(rig, a, "q", "x", "");
    for (int i = 0; i < DESK_GROUPS_MAX + 50; i++) {
        char key[16];
        (void)snprintf(key, sizeof(key), "%d", i);
        rig_publish(rig, a, 1, "x", key, "m");
    }
    struct desk_order request = {.action = DESK_GROUP};
    desk_run(rig, "q", &request, pump, &outcome);
    cr_expect(eq(u64, outcome.others_count, 50));
    cr_expect(eq(u64, outcome.progress.done_count, DESK_GROUPS_MAX + 50));
}

/* Replaying ------------------------------------------------------------------------------------ */

static struct bytes
headers_of(const struct posted *posted)
{
    struct properties properties;
    struct fault fault;
    cr_assert(eq(int, (int)properties_decode(&properties, posted->properties, &fault), STATUS_OK));
    return properties.headers;
}

static bool
says(struct bytes table, const char *name, const char *text)
{
    struct table_value value;
    return table_find(table, name, &value) && value.type == 'S' &&
           bytes_equal_text(value.raw, text);
}

static int64_t
number_in(struct bytes table, const char *name)
{
    struct table_value value;
    return table_find(table, name, &value) ? table_value_integer(&value) : -1;
}

Test(desk, a_replayed_message_goes_back_to_where_it_died_and_says_so)
{
    declare_source("orders", "dead");
    declare_queue(rig, a, "dead");
    publish("", "orders", "1", "id-1", "a");
    reject_all_of("orders", 1);
    cr_expect(eq(u64, replay("dead", REPLAY_TO_ORIGIN_QUEUE, "batch-1"), 1));
    cr_expect(eq(u64, ready_count(rig, "dead"), 0));
    const struct posted *back = get_message(rig, b, "orders", false);
    cr_assert(ne(ptr, (void *)back, NULL));
    cr_expect(bytes_equal_text(back->body, "1"));
    cr_expect(not(back->method.basic_get_ok.redelivered), "it is new there");
    struct bytes headers = headers_of(back);
    cr_expect(says(headers, "x-replay-batch", "batch-1"));
    cr_expect(says(headers, "x-replay-queue", "dead"));
    cr_expect(eq(i64, number_in(headers, "x-replay-count"), 1));
    cr_expect(eq(i64, number_in(headers, "x-replay-time"), rig->now.wall_ms / 1000));
    cr_expect(says(headers, "x-first-death-queue", "orders"));
    cr_expect(says(headers, "kind", "a"));
    /* A second failure is recognised. */
    send_nack(rig, b, 1, back->method.basic_get_ok.delivery_tag, false, false);
    browse("dead", &(struct desk_filter){.batch = bytes_of("batch-1")});
    cr_assert(eq(u32, outcome.shown_count, 1));
    cr_expect(eq(i64, outcome.shown[0].replay_count, 1));
    cr_expect(eq(u64, replay("dead", REPLAY_TO_ORIGIN_QUEUE, "batch-2"), 1));
    browse("orders", NULL);
    cr_expect(eq(i64, outcome.shown[0].replay_count, 2));
    cr_expect(eq(str, outcome.shown[0].batch, "batch-2"));
    cr_expect(eq(u64, rig->core->counters.desk_replayed, 2));
}

static void
publish_forged(const char *key, int64_t replay_count)
{
    struct buffer headers;
    struct buffer block;
    buffer_init(&headers);
    buffer_init(&block);
    table_put_text(&headers, "x-first-death-queue", bytes_of("forged"));
    table_put_text(&headers, "x-last-death-reason", bytes_of("forged"));
    table_put_integer(&headers, "x-replay-count", replay_count);
    struct properties properties = {.flags = PROPERTY_HEADERS, .headers = buffer_bytes(&headers)};
    properties_encode(&block, &properties);
    rig_publish_as(rig, a, 1,
                   &(struct rig_publish){.exchange = "",
                                         .routing_key = key,
                                         .properties = buffer_bytes(&block),
                                         .body = bytes_of("m"),
                                         .has_headers = true});
    buffer_fini(&block);
    buffer_fini(&headers);
}

/* docs/dead-letter-desk.md: before the first death, and after it. */
Test(desk, what_a_client_says_of_deaths_counts_for_nothing)
{
    declare_source("orders", "dead");
    declare_queue(rig, a, "dead");
    publish_forged("dead", 1);
    publish_forged("orders", 1);
    reject_all_of("orders", 1);
    browse("dead", NULL);
    cr_assert(eq(u32, outcome.shown_count, 2));
    cr_expect(eq(str, outcome.shown[0].origin, ""));
    cr_expect(eq(str, outcome.shown[0].reason, ""));
    cr_expect(eq(str, outcome.shown[1].origin, "orders"));
    cr_expect(eq(str, outcome.shown[1].reason, "rejected"));
}

/* The next replay would count beyond what the header holds. */
Test(desk, a_number_of_replays_that_cannot_be_is_none)
{
    static const int64_t counts[] = {INT64_MAX, INT64_MIN, -1};
    declare_queue(rig, a, "q");
    for (size_t i = 0; i < sizeof(counts) / sizeof(counts[0]); i++) {
        publish_forged("q", counts[i]);
    }
    struct desk_order request = {
        .action = DESK_REPLAY,
        .target = {.to = REPLAY_TO_EXCHANGE,
                   .exchange = bytes_of(""),
                   .routing_key = bytes_of("q")},
    };
    desk_run(rig, "q", &request, pump, &outcome);
    browse("q", NULL);
    cr_assert(eq(u32, outcome.shown_count, 3));
    for (uint32_t i = 0; i < 3; i++) {
        cr_expect(eq(i64, outcome.shown[i].replay_count, 1));
    }
}

/* A consumer that counts by these headers would give up at once. */
Test(desk, a_replayed_message_says_nothing_of_the_attempts_before)
{
    struct buffer arguments;
    buffer_init(&arguments);
    table_put_text(&arguments, "x-dead-letter-exchange", bytes_of(""));
    table_put_text(&arguments, "x-dead-letter-routing-key", bytes_of("dead"));
    table_put_integer(&arguments, "x-delivery-limit", 0);
    declare_with("orders", &arguments);
    buffer_fini(&arguments);
    declare_queue(rig, a, "dead");
    publish("", "orders", "1", "id-1", "a");
    send_nack(rig, b, 1, take("orders"), false, true);
    browse("dead", NULL);
    cr_assert(eq(u32, outcome.shown_count, 1));
    cr_expect(eq(u64, replay("dead", REPLAY_TO_ORIGIN_QUEUE, "b"), 1));
    const struct posted *back = get_message(rig, b, "orders", false);
    cr_assert(ne(ptr, (void *)back, NULL));
    struct bytes headers = headers_of(back);
    struct table_value value;
    cr_expect(not(table_find(headers, "x-delivery-count", &value)));
    cr_expect(not(table_find(headers, "x-acquired-count", &value)));
    cr_expect(not(table_find(headers, "x-last-verdict", &value)));
    cr_expect(eq(i64, number_in(headers, "x-failure-count"), 1), "which is about then");
}

Test(desk, the_exchange_of_its_first_publish_takes_it_under_its_key_of_then)
{
    declare_exchange(rig, a, "shop", "topic", NULL);
    declare_source("orders", "dead");
    declare_queue(rig, a, "copy");
    declare_queue(rig, a, "dead");
    bind_queue(rig, a, "orders", "shop", "order.*");
    publish("shop", "order.new", "1", "id", "a");
    reject_all_of("orders", 1);
    bind_queue(rig, a, "copy", "shop", "order.new");
    cr_expect(eq(u64, replay("dead", REPLAY_TO_ORIGIN_EXCHANGE, "b"), 1));
    const struct posted *back = get_message(rig, b, "copy", true);
    cr_assert(ne(ptr, (void *)back, NULL));
    cr_expect(bytes_equal_text(back->method.basic_get_ok.exchange, "shop"));
    cr_expect(bytes_equal_text(back->method.basic_get_ok.routing_key, "order.new"));
    cr_expect(eq(u64, ready_count(rig, "orders"), 1));
}

Test(desk, what_has_nowhere_to_go_stays_and_is_counted)
{
    declare_source("orders", "dead");
    declare_queue(rig, a, "dead");
    publish("", "orders", "1", "id", "a");
    reject_all_of("orders", 1);
    publish("", "dead", "2", "id", "a");
    struct method method = {.id = METHOD_QUEUE_DELETE,
                            .queue_delete = {.queue = bytes_of("orders")}};
    rig_send(rig, a, 1, &method);
    (void)rig_expect(rig, a, 1, METHOD_QUEUE_DELETE_OK);
    cr_expect(eq(u64, replay("dead", REPLAY_TO_ORIGIN_QUEUE, "b"), 0));
    cr_expect(eq(u64, outcome.progress.no_target_count, 2));
    browse("dead", NULL);
    cr_expect(eq(str, (char *)shown_bodies(&outcome), "1 2"));
    cr_expect(not(outcome.shown[0].is_redelivered));
}

Test(desk, a_dry_run_counts_and_changes_nothing)
{
    declare_source("orders", "dead");
    declare_source("mails", "dead");
    declare_queue(rig, a, "dead");
    for (int i = 0; i < 5; i++) {
        publish("", i < 3 ? "orders" : "mails", "m", "id", "a");
    }
    publish("", "dead", "x", "id", "a");
    reject_all_of("orders", 3);
    reject_all_of("mails", 2);
    struct queue before;
    struct queue after;
    memcpy(&before, find_queue(rig, "dead"), sizeof(before));
    struct desk_order request = {
        .action = DESK_REPLAY, .target = {.to = REPLAY_TO_ORIGIN_QUEUE}, .is_dry = true};
    desk_run(rig, "dead", &request, pump, &outcome);
    memcpy(&after, find_queue(rig, "dead"), sizeof(after));
    for (size_t i = 0; i < sizeof(before); i++) {
        cr_expect(eq(u8, ((uint8_t *)&before)[i], ((uint8_t *)&after)[i]), "octet %zu", i);
    }
    cr_expect(eq(u64, outcome.progress.done_count, 5));
    cr_expect(eq(u64, outcome.progress.no_target_count, 1));
    const struct desk_job *job = desk_find(rig->core, outcome.number);
    uint32_t at = 0;
    const struct desk_target_count *target = desk_job_next_target(job, &at);
    cr_expect(bytes_equal_text(target->name, "orders"));
    cr_expect(eq(u64, target->count, 3));
    target = desk_job_next_target(job, &at);
    cr_expect(bytes_equal_text(target->name, "mails"));
    cr_expect(eq(u64, target->count, 2));
    cr_expect(eq(ptr, (void *)desk_job_next_target(job, &at), NULL));
    cr_expect(eq(ptr, (void *)audit_next(rig->core, 0), NULL), "nothing was done");
}

/* The dead-letter queue is bound where its messages go: each goes round once. */
Test(desk, a_replay_to_the_queue_itself_ends)
{
    declare_queue(rig, a, "q");
    publish_numbers(rig, a, "q", 1, 1000);
    struct desk_order request = {
        .action = DESK_REPLAY,
        .target = {.to = REPLAY_TO_EXCHANGE,
                   .exchange = bytes_of(""),
                   .routing_key = bytes_of("q")},
    };
    desk_run(rig, "q", &request, pump, &outcome);
    cr_expect(eq(u64, outcome.progress.done_count, 1000));
    cr_expect(eq(u64, ready_count(rig, "q"), 1000));
    queue_check(find_queue(rig, "q"));
    browse("q", NULL);
    cr_expect(eq(str, outcome.shown[0].body, "1"));
    cr_expect(eq(str, outcome.shown[999].body, "1000"));
}

Test(desk, a_selection_leaves_the_others_in_their_places)
{
    declare_source("orders", "dead");
    declare_queue(rig, a, "dead");
    publish_numbers(rig, a, "orders", 1, 9);
    reject_all_of("orders", 9);
    send_nack(rig, b, 1, take("dead"), false, true); /* one that came back */
    browse("dead", NULL);
    struct desk_id ids[] = {outcome.shown[8].id, outcome.shown[0].id, outcome.shown[4].id,
                            outcome.shown[4].id};
    struct desk_order request = {
        .action = DESK_REPLAY,
        .filter = {.ids = ids, .id_count = ARRAY_LEN(ids)},
        .target = {.to = REPLAY_TO_ORIGIN_QUEUE},
    };
    desk_run(rig, "dead", &request, pump, &outcome);
    cr_expect(eq(u64, outcome.progress.done_count, 3));
    queue_check(find_queue(rig, "dead"));
    browse("orders", NULL);
    cr_expect(eq(str, (char *)shown_bodies(&outcome), "1 5 9"));
    browse("dead", NULL);
    cr_expect(eq(str, (char *)shown_bodies(&outcome), "2 3 4 6 7 8"));
    cr_expect(bytes_equal_text(get_message(rig, b, "dead", true)->body, "2"));
}

/* A full queue that refuses is waited for, and a job that waits for it can be ended. */
Test(desk, a_replay_waits_for_a_queue_that_is_full)
{
    struct buffer arguments;
    buffer_init(&arguments);
    table_put_integer(&arguments, "x-max-length", 2);
    table_put_text(&arguments, "x-overflow", bytes_of("reject-publish"));
    declare_with("small", &arguments);
    buffer_fini(&arguments);
    declare_queue(rig, a, "q");
    publish_numbers(rig, a, "q", 1, 5);
    struct desk_order request = {
        .action = DESK_REPLAY,
        .target = {.to = REPLAY_TO_EXCHANGE,
                   .exchange = bytes_of(""),
                   .routing_key = bytes_of("small")},
    };
    desk_begin_job(rig, "q", &request, &outcome);
    for (int i = 0; i < 20; i++) {
        pump();
    }
    const struct desk_progress *progress = desk_job_progress(desk_find(rig->core, outcome.number));
    cr_expect(eq(int, (int)progress->state, DESK_WAITS_FOR_ROOM));
    cr_expect(eq(u64, progress->done_count, 2));
    cr_expect(eq(u64, progress->full_count, 1));
    cr_expect(ne(u64, core_wait_ms(rig->core), 0), "the broker sleeps meanwhile");
    (void)get_message(rig, b, "small", true);
    for (int i = 0; i < 20; i++) {
        pump();
    }
    cr_expect(eq(u64, progress->done_count, 3));
    cr_assert(desk_cancel(rig->core, outcome.number));
    pump();
    cr_assert(outcome.is_done);
    cr_expect(eq(int, (int)outcome.progress.state, DESK_IS_CANCELLED));
    cr_expect(not(desk_cancel(rig->core, outcome.number)));
    cr_expect(eq(u64, ready_count(rig, "q"), 2));
    desk_run(rig, "q", &request, pump, &outcome);
    cr_expect(eq(int, (int)outcome.progress.state, DESK_HAS_GIVEN_UP), "after a minute");
    cr_expect(eq(u64, ready_count(rig, "q"), 2));
}

Test(desk, a_rate_bounds_what_goes_in_a_second)
{
    declare_queue(rig, a, "q");
    declare_queue(rig, a, "t");
    publish_numbers(rig, a, "q", 1, 300);
    struct desk_order request = {
        .action = DESK_REPLAY,
        .target = {.to = REPLAY_TO_EXCHANGE,
                   .exchange = bytes_of(""),
                   .routing_key = bytes_of("t")},
        .rate = 100,
    };
    uint64_t begun_ms = rig->now.monotonic_ms;
    desk_run(rig, "q", &request, pump, &outcome);
    uint64_t took_ms = rig->now.monotonic_ms - begun_ms;
    cr_expect(ge(u64, took_ms, 2850));
    cr_expect(le(u64, took_ms, 3200));
    cr_expect(eq(u64, ready_count(rig, "t"), 300));
}

/* It has died in the queue to which it would go again: an operator has sent it, so it may. */
Test(desk, what_was_replayed_is_not_taken_for_one_that_goes_round)
{
    struct buffer arguments;
    buffer_init(&arguments);
    table_put_text(&arguments, "x-dead-letter-exchange", bytes_of(""));
    table_put_text(&arguments, "x-dead-letter-routing-key", bytes_of("second"));
    table_put_integer(&arguments, "x-message-ttl", 100);
    declare_with("first", &arguments);
    buffer_clear(&arguments);
    table_put_text(&arguments, "x-dead-letter-exchange", bytes_of(""));
    table_put_text(&arguments, "x-dead-letter-routing-key", bytes_of("third"));
    table_put_integer(&arguments, "x-message-ttl", 100);
    declare_with("second", &arguments);
    buffer_fini(&arguments);
    declare_queue(rig, a, "third");
    publish_text(rig, a, "first", "1");
    for (int i = 0; i < 50; i++) {
        pump();
    }
    cr_assert(eq(u64, ready_count(rig, "third"), 1));
    cr_expect(eq(u64, replay("third", REPLAY_TO_ORIGIN_QUEUE, "b"), 1));
    for (int i = 0; i < 50; i++) {
        pump();
    }
    cr_expect(eq(u64, ready_count(rig, "third"), 1));
    cr_expect(eq(u64, rig->core->counters.dead_letter_cycles, 0));
}

/* Dropping ------------------------------------------------------------------------------------- */

Test(desk, so_many_are_dropped_as_were_asked_for)
{
    declare_queue(rig, a, "q");
    publish_numbers(rig, a, "q", 1, 9);
    cr_expect(eq(u64, drop("q", &(struct desk_filter){.places = 1 << DESK_READY}, 4), 4));
    browse("q", NULL);
    cr_expect(eq(str, (char *)shown_bodies(&outcome), "5 6 7 8 9"));
    cr_expect(eq(u64, rig->core->counters.desk_dropped, 4));
    cr_expect(eq(u64, rig->core->counters.dead_letters_dropped, 0));
}

/* Who has a message settles it. */
Test(desk, what_is_at_a_consumer_is_never_dropped)
{
    declare_queue(rig, a, "q");
    publish_numbers(rig, a, "q", 1, 2);
    uint64_t tag = take("q");
    browse("q", &(struct desk_filter){.places = 1 << DESK_UNACKED});
    struct desk_filter filter = {.ids = &outcome.shown[0].id, .id_count = 1};
    struct desk_id id = outcome.shown[0].id;
    filter.ids = &id;
    cr_expect(eq(u64, drop("q", &filter, 0), 0));
    send_ack(rig, b, 1, tag, false);
    cr_expect(eq(u64, ready_count(rig, "q"), 1));
}

/* After a restart a position may be another message's: the LSN tells. */
Test(desk, an_id_with_another_lsn_means_nothing)
{
    declare_queue(rig, a, "q");
    publish_numbers(rig, a, "q", 1, 2);
    browse("q", NULL);
    struct desk_id id = {.position = outcome.shown[0].id.position, .lsn = 4096};
    cr_expect(eq(u64, drop("q", &(struct desk_filter){.ids = &id, .id_count = 1}, 0), 0));
}

/* The quarantine ------------------------------------------------------------------------------- */

Test(desk, what_is_parked_is_grouped_and_replayed_to_its_own_queue)
{
    struct buffer arguments;
    buffer_init(&arguments);
    table_put_text(&arguments, "x-queue-type", bytes_of("quorum"));
    table_put_integer(&arguments, "x-delivery-limit", 1);
    struct method method = {
        .id = METHOD_QUEUE_DECLARE,
        .queue_declare = {.queue = bytes_of("q"),
                          .arguments = buffer_bytes(&arguments),
                          .durable = true},
    };
    rig_send(rig, a, 1, &method);
    (void)rig_expect(rig, a, 1, METHOD_QUEUE_DECLARE_OK);
    buffer_fini(&arguments);
    publish_text(rig, a, "q", "bad");
    for (int i = 0; i < 2; i++) {
        send_nack(rig, b, 1, take("q"), false, true);
        pump();
    }
    browse("q", NULL);
    cr_assert(eq(u32, outcome.shown_count, 1));
    cr_expect(eq(int, (int)outcome.shown[0].place, DESK_PARKED));
    cr_expect(eq(str, outcome.shown[0].origin, "q"));
    cr_expect(eq(str, outcome.shown[0].reason, "delivery_limit"));
    cr_expect(ge(u32, outcome.shown[0].delivery_count, 1));
    cr_expect(eq(u64, replay("q", REPLAY_TO_ORIGIN_QUEUE, "b"), 1));
    queue_check(find_queue(rig, "q"));
    const struct posted *back = get_message(rig, b, "q", true);
    cr_assert(ne(ptr, (void *)back, NULL));
    cr_expect(says(headers_of(back), "x-replay-batch", "b"));
    cr_expect(eq(u64, queue_waiting_count(find_queue(rig, "q")), 0));
}

/* Rights --------------------------------------------------------------------------------------- */

static const struct desk_progress *
replay_by(const char *user, const char *exchange)
{
    struct desk_order request = {
        .action = DESK_REPLAY,
        .target = {.to = REPLAY_TO_EXCHANGE,
                   .exchange = bytes_of(exchange),
                   .routing_key = bytes_of("t")},
        .user = bytes_of(user),
        .is_by_user = true,
    };
    desk_run(rig, "q", &request, pump, &outcome);
    return &outcome.progress;
}

static void
add_writer(const char *name, const char *write)
{
    char hash[RIG_HASH_SIZE];
    struct config_user user = rig_user(name, rig_slow_hash("x", hash));
    user.write = write;
    rig_put_user(rig, &user);
}

Test(desk, a_replay_goes_only_where_its_user_may_publish)
{
    declare_queue(rig, a, "q");
    declare_queue(rig, a, "t");
    declare_exchange(rig, a, "x", "direct", NULL);
    bind_queue(rig, a, "t", "x", "t");
    publish_numbers(rig, a, "q", 1, 3);
    add_writer("writer", "^x$");
    cr_expect(eq(u64, replay_by("nobody", "x")->not_allowed_count, 3));
    cr_expect(eq(u64, replay_by("writer", "")->not_allowed_count, 3));
    cr_expect(eq(u64, outcome.progress.done_count, 0));
    cr_expect(eq(u64, ready_count(rig, "q"), 3));
    cr_expect(eq(u64, replay_by("writer", "x")->done_count, 3));
    cr_expect(eq(u64, ready_count(rig, "t"), 3));
}

/* Leaving -------------------------------------------------------------------------------------- */

Test(desk, who_looked_and_left_is_not_told)
{
    declare_queue(rig, a, "q");
    publish_numbers(rig, a, "q", 1, 10);
    struct desk_order request = {.action = DESK_BROWSE};
    desk_begin_job(rig, "q", &request, &outcome);
    desk_leave(rig->core, outcome.number);
    pump();
    cr_expect(not(outcome.is_done));
    cr_expect(eq(u32, outcome.shown_count, 0));
    cr_expect(eq(ptr, (void *)desk_find(rig->core, outcome.number), NULL));
    desk_leave(rig->core, outcome.number);
}

Test(desk, what_was_asked_for_goes_on_without_who_asked)
{
    declare_queue(rig, a, "q");
    declare_queue(rig, a, "t");
    publish_numbers(rig, a, "q", 1, 10);
    for (int is_dry = 1; is_dry >= 0; is_dry--) {
        struct desk_order request = {
            .action = DESK_REPLAY,
            .target = {.to = REPLAY_TO_EXCHANGE,
                       .exchange = bytes_of(""),
                       .routing_key = bytes_of("t")},
            .is_dry = is_dry != 0,
        };
        desk_begin_job(rig, "q", &request, &outcome);
        desk_leave(rig->core, outcome.number);
        pump();
        const struct desk_progress *progress =
            desk_job_progress(desk_find(rig->core, outcome.number));
        cr_expect(not(outcome.is_done));
        cr_expect(eq(int, (int)progress->state, DESK_IS_DONE));
        cr_expect(eq(u64, progress->done_count, 10));
        cr_expect(eq(u64, progress->total_count, 10));
    }
    cr_expect(eq(u64, ready_count(rig, "t"), 10));
}

/* Many ----------------------------------------------------------------------------------------- */

Test(desk, ten_thousand_take_no_more_ticks_than_their_share_says)
{
    enum { COUNT = 10000 };
    declare_source("orders", "dead");
    declare_queue(rig, a, "dead");
    publish_numbers(rig, a, "orders", 1, COUNT);
    reject_all_of("orders", COUNT);
    struct desk_order request = {.action = DESK_REPLAY};
    uint64_t begun_ms = rig->now.monotonic_ms;
    desk_run(rig, "dead", &request, pump, &outcome);
    cr_expect(eq(u64, outcome.progress.done_count, COUNT));
    cr_expect(eq(u64, ready_count(rig, "orders"), COUNT));
    uint64_t ticks = (rig->now.monotonic_ms - begun_ms) / 10;
    cr_expect(le(u64, ticks, COUNT / DESK_MOVES_PER_TICK + 3));
    queue_check(find_queue(rig, "orders"));
    queue_check(find_queue(rig, "dead"));
}

Test(desk, a_queue_that_is_deleted_ends_its_jobs)
{
    declare_queue(rig, a, "q");
    publish_numbers(rig, a, "q", 1, 10);
    struct desk_order request = {.action = DESK_BROWSE};
    desk_begin_job(rig, "q", &request, &outcome);
    rig->holds_turn = true;
    (void)vhost_delete_queue(rig_vhost(rig), find_queue(rig, "q"));
    rig->holds_turn = false;
    pump();
    cr_assert(outcome.is_done);
    cr_expect(eq(u32, outcome.shown_count, 0));
    cr_expect(eq(int, (int)outcome.progress.state, DESK_HAS_GIVEN_UP));
}

Test(desk, jobs_that_are_under_way_end_with_the_core)
{
    declare_queue(rig, a, "q");
    declare_queue(rig, a, "t");
    publish_numbers(rig, a, "q", 1, 2000);
    struct desk_order request = {
        .action = DESK_REPLAY,
        .target = {.to = REPLAY_TO_EXCHANGE,
                   .exchange = bytes_of(""),
                   .routing_key = bytes_of("t")},
        .rate = 1,
    };
    desk_begin_job(rig, "q", &request, &outcome);
    pump();
    cr_expect(not(outcome.is_done));
}

/* With a log ----------------------------------------------------------------------------------- */

/* I7: any prefix of the log is a consistent state. */
Test(desk, a_replayed_message_is_in_exactly_one_place_after_every_batch)
{
    enum { COUNT = 600, SMALL_SLOT = 16 * 1024 };
    start_log(SMALL_SLOT);
    log_declare(disk, a, "dead");
    log_declare(disk, a, "t");
    for (int i = 1; i <= COUNT; i++) {
        char text[128];
        (void)snprintf(text, sizeof(text), "%d %0*d", i, i * 7 % 97, 0);
        log_publish(disk, a, "", "dead", text);
    }
    log_settle(disk);
    uint32_t first_batch = disk->batch_count;
    struct desk_order request = {
        .action = DESK_REPLAY,
        .target = {.to = REPLAY_TO_EXCHANGE,
                   .exchange = bytes_of(""),
                   .routing_key = bytes_of("t")},
        .rate = 2000, /* over some ticks */
    };
    desk_run(rig, "dead", &request, pump, &outcome);
    log_settle(disk);
    log_check(disk);
    cr_expect(eq(u64, outcome.progress.done_count, COUNT));
    cr_expect(core_is_committed(rig->core, outcome.progress.token));
    cr_expect(ge(u32, disk->batch_count, first_batch + 10));
    uint64_t from = find_queue(rig, "dead")->target.id;
    uint64_t to = find_queue(rig, "t")->target.id;
    for (uint32_t batches = first_batch; batches <= disk->batch_count; batches++) {
        for (uint64_t number = 1; number <= COUNT; number++) {
            bool is_marked;
            bool is_here = log_has_row(disk, from, number, batches, &is_marked);
            bool is_there = log_has_row(disk, to, number, batches, &is_marked);
            cr_assert(ne(int, is_here, is_there), "message %zu after batch %u", (size_t)number,
                      batches);
        }
    }
}

Test(desk, nothing_is_lost_or_doubled_when_memory_runs_out)
{
    start_log(0);
    log_declare(disk, a, "dead");
    log_declare(disk, a, "t");
    uint32_t failed_count = 0;
    for (uint32_t nth = 1; nth < 60; nth++) {
        log_publish_numbers(disk, a, "dead", 1, 3);
        log_settle(disk);
        send_nack(rig, b, 1, take("dead"), false, true); /* one that came back */
        log_settle(disk);
        struct desk_order request = {
            .action = DESK_REPLAY,
            .target = {.to = REPLAY_TO_EXCHANGE,
                       .exchange = bytes_of(""),
                       .routing_key = bytes_of("t")},
        };
        desk_begin_job(rig, "dead", &request, &outcome);
        alloc_faults_plan(nth);
        core_end_tick(rig->core);
        failed_count += alloc_faults_left() == 0 ? 1 : 0;
        alloc_faults_plan(0);
        for (int i = 0; i < 100 && !outcome.is_done; i++) {
            pump();
        }
        cr_assert(outcome.is_done);
        log_settle(disk);
        log_check(disk);
        cr_assert(eq(u64, ready_count(rig, "dead"), 0), "%u", nth);
        cr_assert(eq(u64, ready_count(rig, "t"), 3 * nth), "%u", nth);
        queue_check(find_queue(rig, "dead"));
    }
    cr_expect(ge(u32, failed_count, 1));
}

Test(desk, nothing_is_replayed_while_the_disk_is_nearly_full)
{
    start_log(0);
    log_declare(disk, a, "dead");
    log_declare(disk, a, "t");
    log_publish_numbers(disk, a, "dead", 1, 3);
    log_settle(disk);
    core_set_disk_space(rig->core, 1, 1000000000);
    struct desk_order request = {
        .action = DESK_REPLAY,
        .target = {.to = REPLAY_TO_EXCHANGE,
                   .exchange = bytes_of(""),
                   .routing_key = bytes_of("t")},
    };
    desk_begin_job(rig, "dead", &request, &outcome);
    for (int i = 0; i < 20; i++) {
        pump();
    }
    cr_expect(eq(u64, ready_count(rig, "t"), 0));
    cr_expect(eq(int, (int)desk_job_progress(desk_find(rig->core, outcome.number))->state,
                 DESK_WAITS_FOR_ALARM));
    core_set_disk_space(rig->core, UINT64_C(1) << 60, UINT64_C(1) << 60);
    for (int i = 0; i < 20; i++) {
        pump();
    }
    cr_expect(outcome.is_done);
    cr_expect(eq(u64, ready_count(rig, "t"), 3));
}

/* The audit ------------------------------------------------------------------------------------ */

Test(desk, what_was_done_can_be_read_and_is_in_the_log)
{
    declare_source("orders", "dead");
    declare_queue(rig, a, "dead");
    publish("", "orders", "1", "id", "a");
    reject_all_of("orders", 1);
    (void)replay("dead", REPLAY_TO_ORIGIN_QUEUE, "batch-7");
    const struct audit_entry *begun = audit_next(rig->core, 0);
    cr_assert(ne(ptr, (void *)begun, NULL));
    cr_expect(eq(int, (int)begun->action, AUDIT_REPLAY));
    cr_expect(eq(int, (int)begun->phase, AUDIT_BEGUN));
    const struct audit_entry *ended = audit_next(rig->core, begun->number);
    cr_assert(ne(ptr, (void *)ended, NULL));
    cr_expect(eq(int, (int)ended->phase, AUDIT_ENDED));
    cr_expect(bytes_equal_text(ended->user, "ops"));
    cr_expect(bytes_equal_text(ended->note, "fixed"));
    cr_expect(bytes_equal_text(ended->batch, "batch-7"));
    cr_expect(bytes_equal_text(ended->queue, "dead"));
    cr_expect(bytes_equal_text(ended->outcome, "done"));
    cr_expect(eq(u64, ended->done_count, 1));
    cr_expect(eq(ptr, (void *)audit_next(rig->core, ended->number), NULL));
    cr_expect(rig_logged(rig, "event=audit.replay"));
    cr_expect(rig_logged(rig, "batch=\"batch-7\""));
}

/* Whoever stops a broker finds out afterwards how far its replay came. */
Test(desk, a_replay_that_a_stop_ends_says_how_far_it_came)
{
    declare_source("orders", "dead");
    declare_queue(rig, a, "dead");
    publish("", "orders", "1", "id-1", "a");
    publish("", "orders", "2", "id-2", "a");
    reject_all_of("orders", 2);
    struct desk_order request = {.action = DESK_REPLAY, .rate = 1, .user = bytes_of("ops")};
    desk_begin_job(rig, "dead", &request, &outcome);
    pump();
    core_hold_publishers(rig->core);
    const struct audit_entry *ended = audit_next(rig->core, 1);
    cr_assert(ne(ptr, (void *)ended, NULL));
    cr_expect(eq(int, (int)ended->phase, AUDIT_ENDED));
    cr_expect(bytes_equal_text(ended->outcome, "interrupted"));
    cr_expect(eq(u64, ended->done_count, 1));
    for (int i = 0; i < 10; i++) {
        rig_step(rig, 1000);
    }
    cr_expect(outcome.is_done);
    cr_expect(eq(u64, ready_count(rig, "orders"), 1));
    cr_expect(eq(ptr, (void *)audit_next(rig->core, 2), NULL), "told twice");
}

Test(desk, the_audit_keeps_the_last_ones)
{
    declare_queue(rig, a, "q");
    for (int i = 0; i < AUDIT_KEPT + 5; i++) {
        struct desk_order request = {.action = DESK_DROP, .limit = 1};
        desk_run(rig, "q", &request, pump, &outcome);
    }
    const struct audit_entry *oldest = audit_next(rig->core, 0);
    cr_expect(eq(u64, oldest->number, AUDIT_KEPT + 10 + 1));
}
