/* SPDX-License-Identifier: Apache-2.0 */
/* Messages that wait for a time, through delayed exchanges and otherwise, on a clock that only
 * moves when it is stepped. */
#include "broker/upkeep/waiting.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <stdio.h>

#include "amqp/properties.h"
#include "amqp/table.h"
#include "tests/support/alloc_faults.h"
#include "tests/unit/broker/log_harness.h"

static struct log_rig *disk; /* NULL: in memory only */
static struct rig *rig;
static uint64_t a, b;

static void
declare_delayed(const char *name, const char *inner)
{
    struct buffer arguments;
    buffer_init(&arguments);
    table_put_text(&arguments, "x-delayed-type", bytes_of(inner));
    struct method method = {
        .id = METHOD_EXCHANGE_DECLARE,
        .exchange_declare = {.exchange = bytes_of(name),
                             .type = bytes_of("x-delayed-message"),
                             .arguments = buffer_bytes(&arguments)},
    };
    rig_send(rig, a, 1, &method);
    buffer_fini(&arguments);
    (void)rig_expect(rig, a, 1, METHOD_EXCHANGE_DECLARE_OK);
}

static void
start_clients(void)
{
    a = messaging_client(rig);
    b = messaging_client(rig);
}

static void
set_up(void)
{
    disk = NULL;
    rig = messaging_rig(NULL);
    start_clients();
    declare_queue(rig, a, "q");
    declare_delayed("later", "direct");
    bind_queue(rig, a, "q", "later", "k");
}

static void
check_queue(void)
{
    if (find_queue(rig, "q") != NULL) {
        queue_check(find_queue(rig, "q"));
    }
}

static void
tear_down(void)
{
    check_queue();
    rig_free(&rig);
}

static void
set_up_log(void)
{
    disk = log_rig_new(NULL, 0);
    rig = disk->rig;
    start_clients();
    log_declare(disk, a, "q");
    declare_delayed("later", "direct");
    bind_queue(rig, a, "q", "later", "k");
    log_settle(disk);
}

static void
tear_down_log(void)
{
    check_queue();
    log_rig_free(&disk);
}

TestSuite(waits, .init = set_up, .fini = tear_down);
TestSuite(logged_waits, .init = set_up_log, .fini = tear_down_log);

/* 0 in `delay_ms` and `at_ms`: no such header. */
struct delayed {
    const char *exchange, *key, *text;
    int64_t delay_ms, at_ms;
    const char *expiration; /* NULL: none */
    bool mandatory, is_persistent;
};

static void
publish_delayed(const struct delayed *message)
{
    struct buffer headers;
    struct buffer block;
    buffer_init(&headers);
    buffer_init(&block);
    if (message->delay_ms != 0) {
        table_put_integer(&headers, "x-delay", message->delay_ms);
    }
    if (message->at_ms != 0) {
        table_put_integer(&headers, "x-deliver-at", message->at_ms);
    }
    struct properties properties = {.flags = PROPERTY_HEADERS, .headers = buffer_bytes(&headers)};
    if (message->expiration != NULL) {
        properties.flags |= PROPERTY_EXPIRATION;
        properties.expiration = bytes_of(message->expiration);
    }
    if (message->is_persistent) {
        properties.flags |= PROPERTY_DELIVERY_MODE;
        properties.delivery_mode = 2;
    }
    properties_encode(&block, &properties);
    struct rig_publish publish = {
        .exchange = message->exchange,
        .routing_key = message->key,
        .properties = buffer_bytes(&block),
        .body = bytes_of(message->text),
        .mandatory = message->mandatory,
        .is_persistent = message->is_persistent,
        .has_headers = true,
    };
    rig_publish_as(rig, a, 1, &publish);
    buffer_fini(&block);
    buffer_fini(&headers);
}

static void
delay(const char *text, int64_t delay_ms)
{
    publish_delayed(&(struct delayed){"later", "k", text, delay_ms, 0, NULL, false, disk != NULL});
}

static uint64_t
waiting_count(void)
{
    return queue_waiting_count(find_queue(rig, "q"));
}

/* Delays --------------------------------------------------------------------------------------- */

Test(waits, a_message_comes_when_its_delay_is_over_and_not_before)
{
    consume(rig, b, 1, "q", "c", true);
    delay("x", 1000);
    rig_step(rig, 990);
    cr_expect(eq(str, (char *)deliveries(rig, b), ""));
    cr_expect(eq(u64, waiting_count(), 1));
    rig_step(rig, 20);
    cr_expect(eq(str, (char *)deliveries(rig, b), "x"));
    cr_expect(eq(u64, waiting_count(), 0));
}

/* Both clocks are cut to milliseconds, and the message may have come late in one. */
Test(waits, a_message_does_not_come_within_the_millisecond_in_which_it_is_due)
{
    rig->now.monotonic_ms += 5;
    rig->now.wall_ms += 5;
    core_begin_tick(rig->core, rig->now);
    delay("x", 95);
    rig->now.monotonic_ms += 95;
    rig->now.wall_ms += 95;
    core_begin_tick(rig->core, rig->now);
    core_look_at_waiting(rig->core, find_queue(rig, "q"), queue_next_due_ms(find_queue(rig, "q")));
    rig_turn(rig);
    cr_expect(eq(u64, ready_count(rig, "q"), 0));
    rig_step(rig, 10);
    cr_expect(eq(u64, ready_count(rig, "q"), 1));
}

Test(waits, messages_come_in_the_order_in_which_they_are_due)
{
    delay("3", 3000);
    delay("1", 1000);
    delay("2", 2000);
    publish_text(rig, a, "q", "0");
    rig_step(rig, 4000);
    consume(rig, b, 1, "q", "c", true);
    cr_expect(eq(str, (char *)deliveries(rig, b), "0 1 2 3"));
}

Test(waits, a_message_without_a_delay_comes_at_once)
{
    delay("none", 0);
    delay("past", -1000);
    publish_delayed(
        &(struct delayed){"later", "k", "time", 0, rig->now.wall_ms - 5, NULL, false, false});
    consume(rig, b, 1, "q", "c", true);
    cr_expect(eq(str, (char *)deliveries(rig, b), "none past time"));
}

Test(waits, an_absolute_time_is_kept)
{
    publish_delayed(
        &(struct delayed){"later", "k", "x", 0, rig->now.wall_ms + 5000, NULL, false, false});
    rig_step(rig, 4990);
    cr_expect(eq(u64, ready_count(rig, "q"), 0));
    rig_step(rig, 20);
    cr_expect(eq(u64, ready_count(rig, "q"), 1));
}

Test(waits, a_delay_of_years_is_kept)
{
    static const int64_t YEARS_MS = INT64_C(300000000000);
    delay("x", YEARS_MS);
    rig_step(rig, (uint64_t)YEARS_MS - 1000);
    cr_expect(eq(u64, ready_count(rig, "q"), 0));
    rig_step(rig, 1010);
    cr_expect(eq(u64, ready_count(rig, "q"), 1));
}

Test(waits, other_exchanges_take_no_note_of_the_header)
{
    bind_queue(rig, a, "q", "amq.direct", "k");
    publish_delayed(&(struct delayed){"amq.direct", "k", "x", 1000, 0, NULL, false, false});
    cr_expect(eq(u64, ready_count(rig, "q"), 1));
}

Test(waits, a_header_that_is_no_number_closes_the_channel)
{
    struct buffer headers, block;
    buffer_init(&headers);
    buffer_init(&block);
    table_put_text(&headers, "x-delay", bytes_of("soon"));
    properties_encode(
        &block, &(struct properties){.flags = PROPERTY_HEADERS, .headers = buffer_bytes(&headers)});
    rig_publish_as(rig, a, 1,
                   &(struct rig_publish){.exchange = "later",
                                         .routing_key = "k",
                                         .properties = buffer_bytes(&block),
                                         .body = bytes_of("x"),
                                         .has_headers = true});
    rig_expect_channel_close(rig, a, 1, 406,
                             "invalid header 'x-delay': 'soon' of type "
                             "'longstr' is no number of milliseconds");
    buffer_fini(&block);
    buffer_fini(&headers);
}

/* What waits is no part of what the queue says it has, and a purge leaves it. */
Test(waits, waiting_messages_are_neither_counted_nor_purged)
{
    delay("x", 1000);
    publish_text(rig, a, "q", "y");
    struct method purge = {.id = METHOD_QUEUE_PURGE, .queue_purge = {.queue = bytes_of("q")}};
    rig_send(rig, a, 1, &purge);
    cr_expect(
        eq(u32, rig_expect(rig, a, 1, METHOD_QUEUE_PURGE_OK)->queue_purge_ok.message_count, 1));
    rig_step(rig, 1010);
    cr_expect(eq(u64, ready_count(rig, "q"), 1));
}

Test(waits, a_deleted_queue_takes_what_waits_with_it)
{
    for (int i = 0; i < 1000; i++) {
        delay("x", 1000 + i);
    }
    struct method delete = {.id = METHOD_QUEUE_DELETE, .queue_delete = {.queue = bytes_of("q")}};
    rig_send(rig, a, 1, &delete);
    cr_expect(
        eq(u32, rig_expect(rig, a, 1, METHOD_QUEUE_DELETE_OK)->queue_delete_ok.message_count, 0));
    rig_step(rig, 3000);
    cr_expect(eq(u64, rig->core->queue_memory.bytes, 0));
}

Test(waits, many_that_are_due_come_in_slices)
{
    for (int i = 0; i < CORE_WAITED_PER_QUEUE + 10; i++) {
        delay("x", 1000);
    }
    rig->now.monotonic_ms += 1010;
    rig->now.wall_ms += 1010;
    core_begin_tick(rig->core, rig->now);
    core_end_tick(rig->core);
    cr_expect(eq(u64, ready_count(rig, "q"), CORE_WAITED_PER_QUEUE));
    cr_expect(eq(u64, core_wait_ms(rig->core), 0), "the next tick goes on");
    rig_turn(rig);
    cr_expect(eq(u64, ready_count(rig, "q"), CORE_WAITED_PER_QUEUE + 10));
}

Test(waits, a_message_for_which_there_is_no_memory_is_tried_again)
{
    delay("x", 1000);
    alloc_faults_plan(1);
    rig_step(rig, 1010);
    alloc_faults_plan(0);
    cr_expect(eq(u64, ready_count(rig, "q"), 0));
    cr_expect(eq(u64, waiting_count(), 1));
    rig_step(rig, 110);
    cr_expect(eq(u64, ready_count(rig, "q"), 1));
}

/* Limits and time to live ---------------------------------------------------------------------- */

static void
declare_with(const char *name, const char *argument, int64_t value)
{
    struct buffer arguments;
    buffer_init(&arguments);
    table_put_integer(&arguments, argument, value);
    struct queue_declare declare = {.queue = bytes_of(name), .arguments = buffer_bytes(&arguments)};
    declare_queue_as(rig, a, &declare);
    buffer_fini(&arguments);
    bind_queue(rig, a, name, "later", name);
}

static void
delay_to(const char *queue, const char *text, int64_t delay_ms, const char *expiration)
{
    publish_delayed(&(struct delayed){"later", queue, text, delay_ms, 0, expiration, false, false});
}

/* Otherwise it would never come. */
Test(waits, time_to_live_counts_from_when_the_message_comes)
{
    declare_with("mortal", "x-message-ttl", 500);
    delay_to("mortal", "x", 1000, NULL);
    delay_to("mortal", "y", 1000, "200");
    rig_step(rig, 1010);
    cr_expect(eq(u64, ready_count(rig, "mortal"), 2));
    rig_step(rig, 210);
    cr_expect(eq(u64, ready_count(rig, "mortal"), 1));
    rig_step(rig, 300);
    cr_expect(eq(u64, ready_count(rig, "mortal"), 0));
}

Test(waits, a_message_that_lives_for_no_time_reaches_who_waits)
{
    consume(rig, b, 1, "q", "c", true);
    delay_to("k", "x", 1000, "0");
    rig_step(rig, 1010);
    cr_expect(eq(str, (char *)deliveries(rig, b), "x"));
}

/* Also behind one that may still be handed out. */
Test(waits, a_message_that_comes_later_than_it_lives_reaches_nobody)
{
    consume(rig, b, 1, "q", "c", true);
    delay_to("k", "x", 1000, "0");
    delay_to("k", "y", 1000, "5");
    rig_step(rig, 1010);
    cr_expect(eq(str, (char *)deliveries(rig, b), "x"));
    cr_expect(eq(u64, ready_count(rig, "q"), 0));
}

Test(waits, a_queue_that_is_too_long_drops_its_head_when_one_comes)
{
    declare_with("short", "x-max-length", 1);
    delay_to("short", "late", 1000, NULL);
    publish_text(rig, a, "short", "early");
    cr_expect(eq(u64, ready_count(rig, "short"), 1));
    rig_step(rig, 1010);
    rig_turn(rig);
    cr_expect(eq(u64, ready_count(rig, "short"), 1));
    const struct posted *left = get_message(rig, b, "short", true);
    cr_expect(bytes_equal_text(left->body, "late"));
}

/* Otherwise who takes them meets all of a downtime at once. */
Test(waits, overdue_messages_come_in_at_the_rate_of_their_queue)
{
    declare_with("paced", "x-release-rate", 100);
    for (int i = 0; i < 300; i++) {
        delay_to("paced", "x", 1000, NULL);
    }
    rig_step(rig, 60000);
    cr_expect(le(u64, ready_count(rig, "paced"), 4));
    for (int i = 0; i < 100; i++) {
        rig_step(rig, 10);
    }
    cr_expect(ge(u64, ready_count(rig, "paced"), 98));
    cr_expect(le(u64, ready_count(rig, "paced"), 104));
    for (int i = 0; i < 300; i++) {
        rig_step(rig, 10);
    }
    cr_expect(eq(u64, ready_count(rig, "paced"), 300));
}

Test(waits, punctual_messages_know_no_rate)
{
    declare_with("paced", "x-release-rate", 1);
    for (int i = 0; i < 300; i++) {
        delay_to("paced", "x", 1000, NULL);
    }
    rig_step(rig, 1010);
    rig_turn(rig);
    cr_expect(eq(u64, ready_count(rig, "paced"), 300));
}

/* Exchanges ------------------------------------------------------------------------------------ */

Test(waits, the_inner_type_does_the_matching)
{
    declare_delayed("topics", "topic");
    bind_queue(rig, a, "q", "topics", "a.#");
    publish_delayed(&(struct delayed){"topics", "a.b", "x", 100, 0, NULL, false, false});
    publish_delayed(&(struct delayed){"topics", "b", "y", 100, 0, NULL, false, false});
    rig_step(rig, 110);
    cr_expect(eq(u64, ready_count(rig, "q"), 1));
}

static void
bind_exchanges(const char *destination, const char *source)
{
    bind_exchange(rig, a, destination, source, "k");
}

/* What a message reaches another way it has at once; behind the delayed exchange it comes later. */
Test(waits, a_delayed_exchange_behind_another_holds_back_its_own)
{
    declare_queue(rig, a, "direct");
    declare_exchange(rig, a, "front", "direct", NULL);
    bind_exchanges("later", "front");
    bind_queue(rig, a, "direct", "front", "k");
    bind_queue(rig, a, "direct", "later", "k");
    publish_delayed(&(struct delayed){"front", "k", "x", 1000, 0, NULL, false, false});
    cr_expect(eq(u64, ready_count(rig, "direct"), 1));
    cr_expect(eq(u64, ready_count(rig, "q"), 0));
    rig_step(rig, 1010);
    cr_expect(eq(u64, ready_count(rig, "direct"), 1), "once, whatever leads there");
    cr_expect(eq(u64, ready_count(rig, "q"), 1));
}

Test(waits, a_message_that_was_delayed_is_not_delayed_again)
{
    declare_delayed("second", "direct");
    declare_queue(rig, a, "end");
    bind_exchanges("second", "later");
    bind_queue(rig, a, "end", "second", "k");
    delay("x", 1000);
    rig_step(rig, 1010);
    cr_expect(eq(u64, ready_count(rig, "q"), 1));
    cr_expect(eq(u64, ready_count(rig, "end"), 1));
}

Test(waits, a_message_that_reaches_nobody_is_returned_at_once)
{
    publish_delayed(&(struct delayed){"later", "nowhere", "x", 1000, 0, NULL, true, false});
    (void)rig_expect(rig, a, 1, METHOD_BASIC_RETURN);
    delay("x", 1000);
    rig_expect_nothing(rig, a);
}

Test(waits, a_full_queue_refuses_what_comes_at_once_only)
{
    struct buffer arguments;
    buffer_init(&arguments);
    table_put_integer(&arguments, "x-max-length", 1);
    table_put_text(&arguments, "x-overflow", bytes_of("reject-publish"));
    declare_queue_as(
        rig, a,
        &(struct queue_declare){.queue = bytes_of("full"), .arguments = buffer_bytes(&arguments)});
    buffer_fini(&arguments);
    bind_queue(rig, a, "full", "later", "k");
    bind_queue(rig, a, "full", "amq.direct", "k");
    bind_exchanges("later", "amq.direct");
    publish_text(rig, a, "full", "first");
    publish_delayed(&(struct delayed){"amq.direct", "k", "x", 1000, 0, NULL, false, false});
    delay("y", 1000);
    cr_expect(eq(u64, queue_waiting_count(find_queue(rig, "full")), 1));
    rig_step(rig, 1010);
    cr_expect(eq(u64, ready_count(rig, "full"), 2), "what waited is let in above the limit");
    cr_expect(eq(u64, ready_count(rig, "q"), 2));
}

/* Transactions --------------------------------------------------------------------------------- */

static void
send_tx(enum method_id id, enum method_id answer)
{
    rig_send_id(rig, a, 1, id);
    if (disk != NULL) {
        log_settle(disk);
    }
    (void)rig_expect(rig, a, 1, answer);
}

Test(waits, a_commit_carries_delays_that_count_from_the_publish)
{
    send_tx(METHOD_TX_SELECT, METHOD_TX_SELECT_OK);
    delay("x", 1000);
    delay("y", 100);
    rig_step(rig, 500);
    cr_expect(eq(u64, waiting_count(), 0));
    send_tx(METHOD_TX_COMMIT, METHOD_TX_COMMIT_OK);
    cr_expect(eq(u64, ready_count(rig, "q"), 1), "that was due before");
    cr_expect(eq(u64, waiting_count(), 1));
    rig_step(rig, 510);
    cr_expect(eq(u64, ready_count(rig, "q"), 2));
}

Test(waits, a_rollback_forgets_delayed_messages)
{
    send_tx(METHOD_TX_SELECT, METHOD_TX_SELECT_OK);
    delay("x", 1000);
    send_tx(METHOD_TX_ROLLBACK, METHOD_TX_ROLLBACK_OK);
    rig_step(rig, 1010);
    cr_expect(eq(u64, ready_count(rig, "q"), 0));
}

/* All or none, whichever allocation fails. */
Test(waits, a_commit_without_memory_leaves_nothing_behind)
{
    declare_queue(rig, a, "other");
    bind_queue(rig, a, "other", "later", "k");
    for (uint32_t nth = 1; nth <= 4; nth++) {
        a = messaging_client(rig);
        send_tx(METHOD_TX_SELECT, METHOD_TX_SELECT_OK);
        for (int i = 0; i < 3; i++) {
            delay("x", 1000 + i);
        }
        uint64_t before = waiting_count();
        alloc_faults_plan(nth);
        rig_send_id(rig, a, 1, METHOD_TX_COMMIT);
        bool has_failed = alloc_faults_left() == 0;
        alloc_faults_plan(0);
        uint64_t added = has_failed ? 0 : 3;
        cr_expect(eq(u64, waiting_count(), before + added));
        cr_expect(eq(u64, queue_waiting_count(find_queue(rig, "other")), before + added));
        check_queue();
    }
}

/* The log -------------------------------------------------------------------------------------- */

Test(logged_waits, the_log_says_until_when_a_message_waits_and_lives)
{
    uint64_t wall_ms = (uint64_t)rig->now.wall_ms;
    publish_delayed(&(struct delayed){"later", "k", "1", 5000, 0, "700", false, true});
    log_settle(disk);
    cr_expect(eq(u64, disk->last_state.row_state.state.due_ms, wall_ms + 5000));
    cr_expect(eq(u64, disk->last_state.row_state.state.deadline_ms, wall_ms + 5700));
    delay("2", 3000);
    log_settle(disk);
    cr_expect(eq(u64, disk->last_state.row_state.state.deadline_ms, 0));
    cr_expect(eq(u64, waiting_count(), 2));
}

/* A consumer that waits does not get it now. */
Test(logged_waits, a_delayed_message_is_not_told_as_handed_out)
{
    consume(rig, b, 1, "q", "c", false);
    delay("1", 5000);
    log_settle(disk);
    cr_assert(eq(sz, disk->row_count, 1));
    cr_expect(not(disk->rows[0].is_marked));
    rig_step(rig, 5010);
    log_settle(disk);
    cr_expect(log_tells_of_handout(disk, find_queue(rig, "q")->target.id, 1));
    (void)expect_delivery(rig, b, "1");
    send_ack(rig, b, 1, 1, false);
    log_settle(disk);
    log_check(disk);
}

Test(logged_waits, a_commit_writes_delays_down)
{
    uint64_t wall_ms = (uint64_t)rig->now.wall_ms;
    send_tx(METHOD_TX_SELECT, METHOD_TX_SELECT_OK);
    for (int i = 1; i <= 20; i++) {
        char text[12];
        (void)snprintf(text, sizeof(text), "%d", i);
        delay(text, 1000 * i);
    }
    send_tx(METHOD_TX_COMMIT, METHOD_TX_COMMIT_OK);
    cr_expect(eq(u32, disk->records[RECORD_ROW_STATE], 20));
    cr_expect(eq(u64, disk->last_state.row_state.state.due_ms, wall_ms + 20000));
}

/* Recovery ------------------------------------------------------------------------------------- */

static void
restore(uint64_t lsn, const struct row_state *state, bool was_handed_out)
{
    struct recovered_row row = {
        .lsn = lsn,
        .queue = find_queue(rig, "q")->target.id,
        .body_size = 1,
        .was_handed_out = was_handed_out,
        .state = *state,
    };
    enum status status = core_restore_row(rig->core, &row);
    cr_assert(eq(int, status, STATUS_OK));
}

/* Takes what is ready, as far as memory has it: no contents here. */
static uint64_t
pop_lsn(uint8_t *flags_out)
{
    struct queue_entry entry;
    uint64_t position;
    cr_assert(queue_pop(find_queue(rig, "q"), &entry, &position));
    *flags_out = queue_entry_flags(&entry);
    return queue_entry_lsn(&entry);
}

static void
step_without_log(uint64_t ms)
{
    core_attach_store(rig->core, NULL, NULL); /* it knows nothing of these rows */
    rig_step(rig, ms);
}

Test(logged_waits, restored_messages_wait_on_and_the_overdue_come_in_due_order)
{
    uint64_t wall_ms = (uint64_t)rig->now.wall_ms;
    uint8_t flags;
    restore(8, &(struct row_state){.due_ms = wall_ms - 86400000}, true);
    restore(16, &(struct row_state){.due_ms = wall_ms - 86400500}, false);
    restore(24, &(struct row_state){.due_ms = wall_ms + 1000}, true);
    restore(32, &(struct row_state){0}, false);
    step_without_log(10);
    struct queue *queue = find_queue(rig, "q");
    cr_expect(eq(u64, queue->ready_count, 3));
    cr_expect(eq(u64, pop_lsn(&flags), 32));
    cr_expect(eq(u64, pop_lsn(&flags), 16), "the longest overdue first");
    cr_expect(eq(int, flags &ENTRY_REDELIVERED, 0));
    cr_expect(eq(u64, pop_lsn(&flags), 8));
    cr_expect(ne(int, flags &ENTRY_REDELIVERED, 0));
    rig_step(rig, 1010);
    cr_expect(eq(u64, pop_lsn(&flags), 24));
    cr_expect(eq(int, flags &ENTRY_REDELIVERED, 0), "nobody had it before it was due");
}

Test(logged_waits, restored_message_that_was_due_long_ago_has_lived_since)
{
    uint64_t wall_ms = (uint64_t)rig->now.wall_ms;
    restore(8, &(struct row_state){.due_ms = wall_ms - 5000, .deadline_ms = wall_ms - 1000}, false);
    restore(16, &(struct row_state){.due_ms = wall_ms - 5000, .deadline_ms = wall_ms + 1000},
            false);
    step_without_log(10);
    rig_turn(rig);
    cr_expect(eq(u64, find_queue(rig, "q")->ready_count, 1));
    rig_step(rig, 1010);
    cr_expect(eq(u64, find_queue(rig, "q")->ready_count, 0));
}

/* It comes back between those that it stood between. */
Test(logged_waits, restored_retry_comes_back_at_its_place)
{
    uint64_t wall_ms = (uint64_t)rig->now.wall_ms;
    uint8_t flags;
    struct row_state retry = {
        .due_ms = wall_ms + 1000, .acquired_count = 1, .verdict = ROW_VERDICT_NACK};
    struct row_state parked = {.due_ms = INT64_MAX, .acquired_count = 3, .deadline_ms = wall_ms};
    restore(8, &(struct row_state){0}, true);
    restore(16, &retry, true);
    restore(24, &(struct row_state){0}, true);
    restore(32, &parked, true);
    restore(40, &(struct row_state){0}, false);
    struct queue *queue = find_queue(rig, "q");
    queue_check(queue);
    cr_expect(eq(u64, queue->ready_count, 3));
    cr_expect(eq(u64, queue->waiting->counts[WAITING_RETRY], 1));
    cr_expect(eq(u64, queue->waiting->counts[WAITING_PARKED], 1));
    step_without_log(1010);
    cr_expect(eq(u64, queue->ready_count, 4));
    static const uint64_t order[] = {8, 16, 24, 40};
    for (size_t i = 0; i < 4; i++) {
        cr_expect(eq(u64, pop_lsn(&flags), order[i]));
        cr_expect(eq(int, flags &ENTRY_REDELIVERED, i < 3 ? ENTRY_REDELIVERED : 0));
    }
    cr_expect(eq(u64, queue_next_due_ms(queue), NEVER_MS), "parked for ever");
}

/* Retrying ------------------------------------------------------------------------------------- */

Test(waits, a_lent_message_that_waits_comes_back_and_wakes_consumers)
{
    struct queue *queue = find_queue(rig, "q");
    struct queue_entry entry;
    uint64_t position;
    publish_text(rig, a, "q", "x");
    enum status status = queue_lend(queue, &entry, &position);
    cr_assert(eq(int, status, STATUS_OK));
    uint64_t now_ms = rig->now.monotonic_ms - rig->core->base_ms;
    status = core_wait(rig->core, queue, &entry, position, now_ms + 1000);
    cr_assert(eq(int, status, STATUS_OK));
    consume(rig, b, 1, "q", "c", true);
    rig_step(rig, 990);
    cr_expect(eq(str, (char *)deliveries(rig, b), ""));
    rig_step(rig, 20);
    cr_expect(eq(str, (char *)deliveries(rig, b), "x"));
}
