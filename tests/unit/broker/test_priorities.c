/* SPDX-License-Identifier: Apache-2.0 */
/* What publishers and consumers of queues with priorities see, and what the log keeps of it. */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <stdio.h>

#include "amqp/properties.h"
#include "amqp/table.h"
#include "broker/upkeep/expiry.h"
#include "broker/upkeep/waiting.h"
#include "tests/support/alloc_faults.h"
#include "tests/unit/broker/log_harness.h"

static struct log_rig *disk; /* NULL: all is in memory */
static struct rig *rig;
static uint64_t a, b;

static void
set_up(void)
{
    disk = NULL;
    rig = messaging_rig(NULL);
    a = messaging_client(rig);
    b = messaging_client(rig);
}

static void
set_up_log(void)
{
    disk = log_rig_new(NULL, 0);
    rig = disk->rig;
    a = messaging_client(rig);
}

static void
tear_down(void)
{
    if (find_queue(rig, "q") != NULL) {
        queue_check(find_queue(rig, "q"));
    }
    if (disk != NULL) {
        log_rig_free(&disk);
    } else {
        rig_free(&rig);
    }
}

TestSuite(priorities, .init = set_up, .fini = tear_down);
TestSuite(logged_priorities, .init = set_up_log, .fini = tear_down);

/* Declares a queue with these arguments, which it takes. */
static void
declare(const char *name, struct buffer *arguments)
{
    struct queue_declare declare = {
        .queue = bytes_of(name), .durable = disk != NULL, .arguments = buffer_bytes(arguments)};
    struct method method = {.id = METHOD_QUEUE_DECLARE, .queue_declare = declare};
    rig_send(rig, a, 1, &method);
    if (disk != NULL) {
        log_commit(disk);
    }
    (void)rig_expect(rig, a, 1, METHOD_QUEUE_DECLARE_OK);
    buffer_fini(arguments);
}

static void
declare_with_levels(const char *name, int64_t max_priority)
{
    struct buffer arguments;
    buffer_init(&arguments);
    table_put_integer(&arguments, "x-max-priority", max_priority);
    declare(name, &arguments);
}

static void
declare_quorum(const char *name)
{
    struct buffer arguments;
    buffer_init(&arguments);
    table_put_text(&arguments, "x-queue-type", bytes_of("quorum"));
    declare(name, &arguments);
}

/* Other properties stand in front of the priority. `expiration` NULL: none. */
static void
publish_until(const char *exchange, const char *key, const char *text, int priority,
              const char *expiration)
{
    struct properties properties = {
        .flags = PROPERTY_CONTENT_TYPE | PROPERTY_CONTENT_ENCODING | PROPERTY_DELIVERY_MODE,
        .content_type = bytes_of("text/plain"),
        .content_encoding = bytes_of("utf-8"),
        .delivery_mode = DELIVERY_MODE_PERSISTENT,
    };
    if (priority != PRIORITY_ABSENT) {
        properties.flags |= PROPERTY_PRIORITY;
        properties.priority = (uint8_t)priority;
    }
    if (expiration != NULL) {
        properties.flags |= PROPERTY_EXPIRATION;
        properties.expiration = bytes_of(expiration);
    }
    struct buffer block;
    buffer_init(&block);
    properties_encode(&block, &properties);
    struct rig_publish publish = {
        .exchange = exchange,
        .routing_key = key,
        .properties = buffer_bytes(&block),
        .body = bytes_of(text),
        .is_persistent = true,
    };
    rig_publish_as(rig, a, 1, &publish);
    buffer_fini(&block);
}

static void
publish(const char *text, int priority)
{
    publish_until("", "q", text, priority, NULL);
}

/* Takes everything that is there, in order. */
static void
expect_messages(const char *queue, const char *texts)
{
    char got[256] = "";
    const struct posted *posted;
    while ((posted = get_message(rig, a, queue, true)) != NULL) {
        size_t used = strlen(got);
        (void)snprintf(got + used, sizeof(got) - used, "%s%.*s", used == 0 ? "" : " ",
                       BYTES_FORMAT(posted->body));
    }
    cr_expect(eq(str, got, (char *)texts));
}

/* Handing out ---------------------------------------------------------------------------------- */

Test(priorities, urgent_messages_are_handed_out_first)
{
    declare_with_levels("q", 9);
    publish("low", 1);
    publish("none", PRIORITY_ABSENT);
    publish("high", 9);
    publish("higher", 200);
    publish("middle", 5);
    consume(rig, b, 1, "q", "c", false);
    cr_expect(eq(str, (char *)deliveries(rig, b), "high higher middle low none"));
}

Test(priorities, queue_without_levels_keeps_the_order_of_publishing)
{
    declare_queue(rig, a, "q");
    publish("1", 1);
    publish("2", 9);
    publish("3", 0);
    expect_messages("q", "1 2 3");
}

/* RabbitMQ 4.3. */
Test(priorities, message_without_one_stands_at_4_in_a_quorum_queue)
{
    struct buffer arguments;
    struct queue_properties properties;
    struct fault fault;
    buffer_init(&arguments);
    table_put_text(&arguments, "x-queue-type", bytes_of("quorum"));
    properties = (struct queue_properties){
        .name = bytes_of("q"), .arguments = buffer_bytes(&arguments), .durable = true};
    enum status status = vhost_declare_queue(rig_vhost(rig), &properties, NULL, &fault);
    cr_assert(eq(int, status, STATUS_OK));
    buffer_fini(&arguments);
    publish("3", 3);
    publish("none", PRIORITY_ABSENT);
    publish("5", 5);
    publish("4", 4);
    publish("40", 40);
    expect_messages("q", "40 5 none 4 3");
}

/* What a consumer holds is out of reach of what comes later. */
Test(priorities, urgent_message_overtakes_only_what_was_not_handed_out)
{
    declare_with_levels("q", 5);
    set_prefetch(rig, b, 1, 2, false);
    consume(rig, b, 1, "q", "c", false);
    for (int i = 1; i <= 4; i++) {
        char text[2] = {(char)('0' + i), 0};
        publish(text, 1);
    }
    publish("urgent", 5);
    cr_expect(eq(str, (char *)deliveries(rig, b), "1 2"));
    send_ack(rig, b, 1, 2, true);
    cr_expect(eq(str, (char *)deliveries(rig, b), "urgent 3"));
}

Test(priorities, requeued_message_takes_its_place_in_its_level)
{
    declare_with_levels("q", 5);
    publish("low1", 1);
    publish("low2", 1);
    consume(rig, b, 1, "q", "c", false);
    cr_expect(eq(str, (char *)deliveries(rig, b), "low1 low2"));
    cancel(rig, b, "c");
    publish("high", 5);
    publish("low3", 1);
    send_nack(rig, b, 1, 2, true, true);
    const struct posted *posted = get_message(rig, a, "q", true);
    cr_expect(bytes_equal_text(posted->body, "high"));
    cr_expect(not(posted->method.basic_get_ok.redelivered));
    posted = get_message(rig, a, "q", true);
    cr_expect(bytes_equal_text(posted->body, "low1"));
    cr_expect(posted->method.basic_get_ok.redelivered);
    expect_messages("q", "low2 low3");
}

/* A connection that is lost gives back what it held, of all levels. */
Test(priorities, lost_connection_returns_messages_to_their_levels)
{
    declare_with_levels("q", 5);
    publish("low", 0);
    publish("high", 5);
    publish("middle", 3);
    consume(rig, b, 1, "q", "c", false);
    cr_expect(eq(str, (char *)deliveries(rig, b), "high middle low"));
    publish("higher", 5);
    rig_hang_up(rig, b);
    expect_messages("q", "high higher middle low");
}

/* Expiry is exact in every level. */
Test(priorities, messages_die_on_time_in_levels_that_are_not_served)
{
    declare_with_levels("q", 5);
    publish("stays", 5);
    publish_until("", "q", "low", 0, "100");
    publish_until("", "q", "middle", 3, "200");
    publish_until("", "q", "middle2", 3, "150");
    rig_step(rig, 110);
    cr_expect(eq(u64, ready_count(rig, "q"), 3));
    rig_step(rig, 50);
    cr_expect(eq(u64, ready_count(rig, "q"), 2));
    rig_step(rig, 50);
    expect_messages("q", "stays");
    cr_expect(eq(u64, rig->core->counters.expired, 3));
}

/* A time to live of 0: handed out in the tick in which it comes, or never. */
Test(priorities, messages_of_all_levels_that_are_due_at_once_meet_a_consumer)
{
    declare_with_levels("q", 5);
    rig->holds_turn = true;
    publish_until("", "q", "low", 0, "0");
    publish_until("", "q", "high", 5, "0");
    consume(rig, b, 1, "q", "c", false);
    rig->holds_turn = false;
    rig_turn(rig);
    cr_expect(eq(str, (char *)deliveries(rig, b), "high low"));
    cancel(rig, b, "c");
    publish_until("", "q", "late", 0, "0");
    expect_messages("q", "");
}

/* Reference, part 17: the head is dropped, that is, possibly the most urgent. */
Test(priorities, limit_drops_the_head_of_the_highest_level)
{
    struct buffer arguments;
    buffer_init(&arguments);
    table_put_integer(&arguments, "x-max-priority", 5);
    table_put_integer(&arguments, "x-max-length", 3);
    declare("q", &arguments);
    publish("low1", 0);
    publish("high1", 5);
    publish("low2", 0);
    publish("high2", 5);
    cr_expect(eq(u64, ready_count(rig, "q"), 3), "over all levels");
    publish("low3", 0);
    expect_messages("q", "low1 low2 low3");
}

Test(priorities, dead_letter_stands_where_its_priority_says)
{
    struct buffer arguments;
    declare_with_levels("dead", 5);
    buffer_init(&arguments);
    table_put_text(&arguments, "x-dead-letter-exchange", bytes_of(""));
    table_put_text(&arguments, "x-dead-letter-routing-key", bytes_of("dead"));
    table_put_integer(&arguments, "x-message-ttl", 100);
    declare("q", &arguments);
    publish("low", 1);
    publish("high", 4);
    publish("none", PRIORITY_ABSENT);
    rig_step(rig, 110);
    rig_turn(rig); /* moves what has died */
    expect_messages("dead", "high low none");
}

Test(priorities, purge_and_count_are_of_all_levels)
{
    declare_with_levels("q", 5);
    publish("1", 0);
    publish("2", 3);
    publish("3", 5);
    struct method purge = {.id = METHOD_QUEUE_PURGE, .queue_purge = {.queue = bytes_of("q")}};
    rig_send(rig, a, 1, &purge);
    const struct method *answer = rig_expect(rig, a, 1, METHOD_QUEUE_PURGE_OK);
    cr_expect(eq(u32, answer->queue_purge_ok.message_count, 3));
    publish("4", 2);
    expect_messages("q", "4");
}

Test(priorities, transaction_is_in_order_of_priority_when_it_is_committed)
{
    declare_with_levels("q", 5);
    publish("before", 2);
    rig_send_id(rig, a, 1, METHOD_TX_SELECT);
    (void)rig_expect(rig, a, 1, METHOD_TX_SELECT_OK);
    publish("low", 1);
    publish("high", 5);
    publish("high2", 5);
    cr_expect(eq(u64, ready_count(rig, "q"), 1));
    rig_send_id(rig, a, 1, METHOD_TX_COMMIT);
    (void)rig_expect(rig, a, 1, METHOD_TX_COMMIT_OK);
    expect_messages("q", "high high2 before low");
}

/* Who waits is served while the transaction looks for room: another level is in front then. */
Test(priorities, level_in_front_may_change_while_a_transaction_is_committed)
{
    struct buffer arguments;
    buffer_init(&arguments);
    table_put_integer(&arguments, "x-max-priority", 5);
    table_put_integer(&arguments, "x-max-length", 3);
    table_put_text(&arguments, "x-overflow", bytes_of("reject-publish"));
    struct queue_declare declare = {.queue = bytes_of("q"), .arguments = buffer_bytes(&arguments)};
    declare_queue_as(rig, a, &declare);
    buffer_fini(&arguments);
    set_prefetch(rig, b, 1, 1, false);
    consume(rig, b, 1, "q", "c", false);
    rig->holds_turn = true;
    publish("high", 5);
    publish("low", 1);
    rig_send_id(rig, a, 1, METHOD_TX_SELECT);
    (void)rig_expect(rig, a, 1, METHOD_TX_SELECT_OK);
    publish("low2", 1);
    publish("low3", 1);
    rig_send_id(rig, a, 1, METHOD_TX_COMMIT);
    (void)rig_expect(rig, a, 1, METHOD_TX_COMMIT_OK);
    rig->holds_turn = false;
    rig_turn(rig);
    (void)expect_delivery(rig, b, "high");
    queue_check(find_queue(rig, "q"));
    publish("middle", 2);
    queue_check(find_queue(rig, "q"));
}

/* Waiting -------------------------------------------------------------------------------------- */

static void
declare_delayed_exchange(void)
{
    struct buffer arguments;
    buffer_init(&arguments);
    table_put_text(&arguments, "x-delayed-type", bytes_of("fanout"));
    struct method method = {.id = METHOD_EXCHANGE_DECLARE,
                            .exchange_declare = {.exchange = bytes_of("later"),
                                                 .type = bytes_of("x-delayed-message"),
                                                 .arguments = buffer_bytes(&arguments)}};
    rig_send(rig, a, 1, &method);
    (void)rig_expect(rig, a, 1, METHOD_EXCHANGE_DECLARE_OK);
    buffer_fini(&arguments);
}

static void
publish_delayed(const char *text, int64_t delay_ms, int priority)
{
    struct buffer headers;
    struct buffer block;
    buffer_init(&headers);
    buffer_init(&block);
    table_put_integer(&headers, "x-delay", delay_ms);
    struct properties properties = {.flags = PROPERTY_HEADERS | PROPERTY_PRIORITY,
                                    .headers = buffer_bytes(&headers),
                                    .priority = (uint8_t)priority};
    properties_encode(&block, &properties);
    struct rig_publish publish = {
        .exchange = "later",
        .routing_key = "",
        .properties = buffer_bytes(&block),
        .body = bytes_of(text),
        .is_persistent = true,
        .has_headers = true,
    };
    rig_publish_as(rig, a, 1, &publish);
    buffer_fini(&block);
    buffer_fini(&headers);
}

Test(priorities, delayed_message_comes_in_at_its_level)
{
    declare_with_levels("q", 5);
    declare_delayed_exchange();
    bind_queue(rig, a, "q", "later", "");
    publish("low", 1);
    publish("high", 5);
    publish_delayed("middle", 1000, 3);
    publish_delayed("later", 1000, 1);
    publish_delayed("highest", 2000, 5);
    cr_expect(eq(u64, ready_count(rig, "q"), 2));
    rig_step(rig, 1010);
    queue_check(find_queue(rig, "q"));
    expect_messages("q", "high middle low later");
    rig_step(rig, 1010);
    expect_messages("q", "highest");
}

Test(priorities, delayed_messages_of_a_transaction_come_in_at_their_levels)
{
    declare_with_levels("q", 5);
    declare_delayed_exchange();
    bind_queue(rig, a, "q", "later", "");
    rig_send_id(rig, a, 1, METHOD_TX_SELECT);
    (void)rig_expect(rig, a, 1, METHOD_TX_SELECT_OK);
    publish_delayed("low", 1000, 1);
    publish_delayed("high", 1500, 5);
    publish("now", 2);
    rig_send_id(rig, a, 1, METHOD_TX_COMMIT);
    (void)rig_expect(rig, a, 1, METHOD_TX_COMMIT_OK);
    cr_expect(eq(u64, ready_count(rig, "q"), 1));
    rig_step(rig, 2000);
    expect_messages("q", "high now low");
}

/* It takes its old place among those of its level, whatever is served meanwhile. */
Test(priorities, message_that_waits_to_be_tried_again_comes_back_to_its_level)
{
    declare_with_levels("q", 5);
    publish("low1", 1);
    publish("low2", 1);
    struct queue *queue = find_queue(rig, "q");
    struct queue_entry entry;
    uint64_t position;
    enum status status = queue_lend(queue, &entry, &position);
    cr_assert(eq(int, status, STATUS_OK));
    publish("high", 5);
    uint64_t now_ms = rig->now.monotonic_ms - rig->core->base_ms;
    status = core_wait(rig->core, queue, &entry, position, now_ms + 1000);
    cr_assert(eq(int, status, STATUS_OK));
    queue_check(queue);
    rig_step(rig, 1010);
    queue_check(queue);
    expect_messages("q", "high low1 low2");
}

/* The log ---------------------------------------------------------------------------------------
 */

Test(logged_priorities, level_of_a_message_is_written_with_it)
{
    declare_with_levels("q", 9);
    publish("none", PRIORITY_ABSENT);
    publish("zero", 0);
    log_settle(disk);
    cr_expect(eq(u32, disk->records[RECORD_ROW_STATE], 0), "most cost nothing");
    publish("high", 7);
    log_settle(disk);
    cr_expect(eq(u32, disk->records[RECORD_ROW_STATE], 1));
    cr_expect(eq(u8, disk->last_state.row_state.state.priority, 7));
    publish("higher", 77);
    log_settle(disk);
    cr_expect(eq(u8, disk->last_state.row_state.state.priority, 9), "as it counts");
    log_check(disk);
    consume(rig, a, 1, "q", "c", true);
    log_settle(disk);
    cr_expect(eq(str, (char *)deliveries(rig, a), "higher high none zero"));
    log_check(disk);
}

/* A quorum queue that never sees a priority costs what it costs without. */
Test(logged_priorities, what_stands_at_the_usual_level_of_a_quorum_queue_costs_nothing)
{
    declare_quorum("q");
    publish("none", PRIORITY_ABSENT);
    publish("four", 4);
    log_settle(disk);
    cr_expect(eq(u32, disk->records[RECORD_ROW_STATE], 0));
    cr_expect(eq(ptr, find_queue(rig, "q")->levels, NULL));
    publish("zero", 0);
    log_settle(disk);
    cr_expect(eq(u32, disk->records[RECORD_ROW_STATE], 1));
    cr_expect(eq(u8, disk->last_state.row_state.state.priority, 252), "four below");
}

/* As recovery hands it over. */
static void
restore_row(uint64_t lsn, uint8_t priority, uint64_t deadline_ms)
{
    struct recovered_row row = {
        .lsn = lsn,
        .queue = find_queue(rig, "q")->target.id,
        .body_size = 1,
        .state = {.priority = priority, .deadline_ms = deadline_ms},
    };
    enum status status = core_restore_row(rig->core, &row);
    cr_assert(eq(int, status, STATUS_OK));
}

static void
expect_restored(const uint64_t *lsns, size_t count)
{
    struct queue *queue = find_queue(rig, "q");
    queue_check(queue);
    cr_expect(eq(u64, queue->ready_count, count));
    for (size_t i = 0; i < count; i++) {
        struct queue_entry entry;
        uint64_t position;
        cr_assert(queue_pop(queue, &entry, &position));
        cr_expect(eq(u64, queue_entry_lsn(&entry), lsns[i]));
    }
    core_attach_store(rig->core, NULL, NULL); /* it knows nothing of these rows */
}

Test(logged_priorities, restored_messages_stand_at_their_levels)
{
    declare_with_levels("q", 9);
    uint64_t later_ms = (uint64_t)rig->now.wall_ms + 5000;
    restore_row(8, 0, 0);
    restore_row(16, 9, 0);
    restore_row(24, 5, later_ms);
    restore_row(32, 9, later_ms);
    restore_row(40, 0, 0);
    expect_restored((const uint64_t[]){16, 32, 24, 8, 40}, 5);
}

Test(logged_priorities, restored_messages_of_a_quorum_queue_stand_at_their_levels)
{
    declare_quorum("q");
    restore_row(8, 0, 0);    /* 4 */
    restore_row(16, 252, 0); /* 0 */
    restore_row(24, 1, 0);   /* 5 */
    expect_restored((const uint64_t[]){24, 8, 16}, 3);
}

/* One that is delayed takes its place when it is due, one that was delivered keeps what it had. */
Test(logged_priorities, restored_messages_that_wait_come_in_at_their_levels)
{
    declare_with_levels("q", 9);
    struct queue *queue = find_queue(rig, "q");
    uint64_t due_ms = (uint64_t)rig->now.wall_ms + 1000;
    struct recovered_row delayed = {
        .lsn = 8,
        .queue = queue->target.id,
        .body_size = 1,
        .state = {.priority = 5, .due_ms = due_ms},
    };
    struct recovered_row retried = delayed;
    retried.lsn = 16;
    retried.state.delivery_count = 1;
    retried.state.acquired_count = 1;
    restore_row(24, 5, 0);
    enum status status = core_restore_row(rig->core, &delayed);
    cr_assert(eq(int, status, STATUS_OK));
    status = core_restore_row(rig->core, &retried);
    cr_assert(eq(int, status, STATUS_OK));
    restore_row(32, 5, 0);
    restore_row(40, 9, 0);
    cr_expect(eq(u64, queue->ready_count, 3));
    cr_expect(eq(u64, queue_waiting_count(queue), 2));
    queue_check(queue);
    rig_step(rig, 1010);
    expect_restored((const uint64_t[]){40, 24, 16, 32, 8}, 5);
}

Test(logged_priorities, level_of_a_delayed_message_is_written_with_it)
{
    declare_with_levels("q", 9);
    declare_delayed_exchange();
    bind_queue(rig, a, "q", "later", "");
    log_settle(disk);
    publish_delayed("x", 1000, 7);
    log_settle(disk);
    cr_expect(eq(u32, disk->records[RECORD_ROW_STATE], 1));
    cr_expect(eq(u8, disk->last_state.row_state.state.priority, 7));
    cr_expect(ne(u64, disk->last_state.row_state.state.due_ms, 0));
}

Test(logged_priorities, no_memory_for_a_level_ends_the_recovery)
{
    declare_with_levels("q", 9);
    struct recovered_row row = {
        .lsn = 8,
        .queue = find_queue(rig, "q")->target.id,
        .body_size = 1,
        .state = {.priority = 3},
    };
    alloc_faults_plan(1);
    enum status status = core_restore_row(rig->core, &row);
    alloc_faults_plan(0);
    cr_expect(eq(int, status, STATUS_NO_MEMORY));
    cr_expect(eq(u64, find_queue(rig, "q")->ready_count, 0));
}

/* Memory --------------------------------------------------------------------------------------- */

static void
start_again(void)
{
    tear_down();
    set_up_log();
    declare_exchange(rig, a, "x", "fanout", NULL);
    declare_with_levels("q", 9);
    declare_quorum("r");
    bind_queue(rig, a, "q", "x", "");
    bind_queue(rig, a, "r", "x", "");
    log_settle(disk);
}

static bool
all_agree(void)
{
    bool failed = alloc_faults_left() == 0;
    alloc_faults_plan(0);
    log_settle(disk);
    log_check(disk);
    queue_check(find_queue(rig, "q"));
    queue_check(find_queue(rig, "r"));
    cr_expect(eq(u64, ready_count(rig, "q"), ready_count(rig, "r")));
    return failed;
}

/* Two queues get it, or none does. */
Test(logged_priorities, publish_without_memory_leaves_log_and_queues_agreeing)
{
    uint32_t nth = 1;
    for (bool failed = true; failed; nth++) {
        start_again();
        alloc_faults_plan(nth);
        publish_until("x", "", "1", 5, NULL);
        failed = all_agree();
        cr_assert(lt(u32, nth, 50));
    }
    cr_expect(ge(u32, nth, 6), "nothing was made to fail");
}

Test(logged_priorities, commit_without_memory_leaves_log_and_queues_agreeing)
{
    uint32_t nth = 1;
    for (bool failed = true; failed; nth++) {
        start_again();
        rig_send_id(rig, a, 1, METHOD_TX_SELECT);
        (void)rig_expect(rig, a, 1, METHOD_TX_SELECT_OK);
        for (int i = 0; i < 100; i++) {
            publish_until("x", "", "1", i % 5, "5000");
        }
        alloc_faults_plan(nth);
        rig_send_id(rig, a, 1, METHOD_TX_COMMIT);
        failed = all_agree();
        cr_expect(eq(u64, ready_count(rig, "q"), failed ? 0 : 100));
        cr_assert(lt(u32, nth, 100));
    }
    cr_expect(ge(u32, nth, 10), "nothing was made to fail");
}
