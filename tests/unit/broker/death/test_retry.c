/* SPDX-License-Identifier: Apache-2.0 */
/* Messages that consumers fail on: what counts, what they then say, how long they wait, and where
 * they end. The clock only moves when a test steps it. */
#include "broker/death/retry.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#include "amqp/properties.h"
#include "amqp/reply.h"
#include "amqp/table.h"
#include "broker/death/dead_letter.h"
#include "broker/delivery/handing_out.h"
#include "broker/topology/policies.h"
#include "broker/upkeep/limits.h"
#include "broker/upkeep/waiting.h"
#include "store/recovery.h"
#include "tests/support/alloc_faults.h"
#include "tests/unit/broker/log_harness.h"

static struct rig *rig;
static struct log_rig *disk; /* NULL: there is no log */
static uint64_t a, b;
static struct buffer arguments;

static void
set_up(void)
{
    rig = messaging_rig(NULL);
    a = messaging_client(rig);
    b = messaging_client(rig);
    buffer_init(&arguments);
}

static void
tear_down(void)
{
    buffer_fini(&arguments);
    if (disk != NULL) {
        log_rig_free(&disk);
    } else {
        rig_free(&rig);
    }
}

TestSuite(retry_broker, .init = set_up, .fini = tear_down);

static void
start_log(void)
{
    rig_free(&rig);
    disk = log_rig_new(NULL, 0);
    rig = disk->rig;
    a = messaging_client(rig);
    b = messaging_client(rig);
}

/* What the next queue is declared with. */
static void
say_number(const char *name, int64_t value)
{
    table_put_integer(&arguments, name, value);
}

static void
say_text(const char *name, const char *value)
{
    table_put_text(&arguments, name, bytes_of(value));
}

static struct queue *
declare(const char *name, bool durable)
{
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
    buffer_clear(&arguments);
    return find_queue(rig, name);
}

/* First delay, its multiplier, delivery limit; below 0: not said. */
static struct queue *
declare_retrying(int64_t first_ms, int64_t multiplier, int64_t limit)
{
    if (first_ms > 0) {
        say_number("x-delayed-retry-min", first_ms);
    }
    if (multiplier > 0) {
        say_number("x-delayed-retry-multiplier", multiplier);
    }
    if (limit >= -1) {
        say_number("x-delivery-limit", limit);
    }
    return declare("q", disk != NULL);
}

/* Client b takes the next message, which is there. */
static const struct posted *
take(void)
{
    struct method get = {.id = METHOD_BASIC_GET, .basic_get = {.queue = bytes_of("q")}};
    rig_send(rig, b, 1, &get);
    if (disk != NULL) {
        log_settle(disk);
    }
    return rig_expect_posted(rig, b, 1, METHOD_BASIC_GET_OK);
}

static void
expect_empty(void)
{
    struct method get = {.id = METHOD_BASIC_GET, .basic_get = {.queue = bytes_of("q")}};
    rig_send(rig, b, 1, &get);
    (void)rig_expect(rig, b, 1, METHOD_BASIC_GET_EMPTY);
}

static uint64_t
tag_of(const struct posted *posted)
{
    return posted->type == NET_ACTION_DELIVER ? posted->method.basic_deliver.delivery_tag
                                              : posted->method.basic_get_ok.delivery_tag;
}

static void
reject(uint64_t link, uint64_t tag, bool requeue)
{
    struct method method = {.id = METHOD_BASIC_REJECT,
                            .basic_reject = {.delivery_tag = tag, .requeue = requeue}};
    rig_send(rig, link, 1, &method);
}

/* Client b takes the next message, and gives it back by basic.nack. */
static void
fail(void)
{
    send_nack(rig, b, 1, tag_of(take()), false, true);
}

/* What a message says of its failures; -1 and NULL: nothing. */
static int64_t
number_in(const struct posted *posted, const char *name)
{
    struct properties properties;
    struct fault fault;
    struct table_value value;
    enum status status = properties_decode(&properties, posted->properties, &fault);
    cr_assert(eq(int, status, STATUS_OK));
    if (!table_find(properties.headers, name, &value)) {
        return -1;
    }
    cr_expect(eq(int, value.type, 'l'));
    return table_value_integer(&value);
}

static bool
says(const struct posted *posted, const char *name, const char *text)
{
    struct properties properties;
    struct fault fault;
    struct table_value value;
    enum status status = properties_decode(&properties, posted->properties, &fault);
    cr_assert(eq(int, status, STATUS_OK));
    if (!table_find(properties.headers, name, &value)) {
        return text == NULL;
    }
    return text != NULL && value.type == 'S' && bytes_equal_text(value.raw, text);
}

static void
expect_counts(const struct posted *posted, int64_t delivery_count, int64_t acquired_count,
              const char *verdict)
{
    cr_expect(eq(i64, number_in(posted, "x-delivery-count"), delivery_count));
    cr_expect(eq(i64, number_in(posted, "x-acquired-count"), acquired_count));
    cr_expect(says(posted, "x-last-verdict", verdict), "%s", verdict == NULL ? "none" : verdict);
}

static uint64_t
waiting_of(const struct queue *queue, enum waiting_kind kind)
{
    return queue->waiting == NULL ? 0 : queue->waiting->counts[kind];
}

/* Counting ------------------------------------------------------------------------------------- */

/* No limit and no retry: as if none of this existed. */
Test(retry_broker, a_plain_queue_counts_nothing)
{
    const struct queue *queue = declare("q", false);
    publish_text(rig, a, "q", "1");
    fail();
    const struct posted *again = take();
    cr_expect(again->method.basic_get_ok.redelivered);
    cr_expect(eq(sz, again->properties.size, sizeof(uint16_t)), "no header is added");
    cr_expect(eq(ptr, queue->failures, NULL));
}

Test(retry_broker, each_failure_is_counted_and_told_at_the_next_delivery)
{
    (void)declare_retrying(0, 0, -1);
    publish_text(rig, a, "q", "1");
    expect_counts(take(), -1, -1, NULL);
    send_nack(rig, b, 1, 1, false, true);
    expect_counts(take(), 1, 1, "nack");
    reject(b, 2, true);
    expect_counts(take(), 2, 2, "reject");
    cr_expect(eq(u64, rig->core->counters.failed, 2));
    send_ack(rig, b, 1, 3, false);
    cr_expect(eq(u32, find_queue(rig, "q")->failures->count, 0));
}

/* A limit of 20 unless somebody says otherwise; -1 is none, and it counts all the same. */
Test(retry_broker, quorum_queue_counts_whatever_it_is_told)
{
    for (int64_t limit = -2; limit <= -1; limit++) {
        say_text("x-queue-type", "quorum");
        if (limit == -1) {
            say_number("x-delivery-limit", -1);
        }
        const struct queue *queue = declare(limit == -1 ? "unlimited" : "limited", true);
        cr_expect(eq(i64, queue->settings->delivery_limit, limit == -1 ? -1 : 20));
        cr_expect(queue->settings->counts_failures);
    }
}

Test(retry_broker, consumers_are_told_as_well_with_and_without_acknowledgement)
{
    (void)declare_retrying(0, 0, 5);
    publish_text(rig, a, "q", "1");
    fail();
    consume(rig, b, 1, "q", "c", false);
    expect_counts(expect_delivery(rig, b, "1"), 1, 1, "nack");
    cancel(rig, b, "c");
    reject(b, 2, true);
    consume(rig, a, 1, "q", "d", true);
    expect_counts(expect_delivery(rig, a, "1"), 2, 2, "reject");
    cr_expect(eq(u32, find_queue(rig, "q")->failures->count, 0), "it is gone for good");
}

/* What is shown is made for that delivery: the message in the queue is as it was published. */
Test(retry_broker, headers_of_the_client_stay_as_they_are)
{
    struct buffer headers;
    struct buffer block;
    buffer_init(&headers);
    buffer_init(&block);
    table_put_text(&headers, "mine", bytes_of("yes"));
    struct properties properties = {.flags = PROPERTY_HEADERS | PROPERTY_MESSAGE_ID,
                                    .headers = buffer_bytes(&headers),
                                    .message_id = bytes_of("m")};
    properties_encode(&block, &properties);
    (void)declare_retrying(0, 0, 5);
    struct rig_publish publish = {.exchange = "",
                                  .routing_key = "q",
                                  .properties = buffer_bytes(&block),
                                  .body = bytes_of("1"),
                                  .has_headers = true};
    rig_publish_as(rig, a, 1, &publish);
    fail();
    fail();
    const struct posted *again = take();
    expect_counts(again, 2, 2, "nack");
    cr_expect(says(again, "mine", "yes"));
    struct fault fault;
    enum status status = properties_decode(&properties, again->properties, &fault);
    cr_assert(eq(int, status, STATUS_OK));
    cr_expect(bytes_equal_text(properties.message_id, "m"));
    buffer_fini(&block);
    buffer_fini(&headers);
}

/* product: only the message in work counts, not the whole prefetch. */
Test(retry_broker, of_a_lost_consumer_only_the_oldest_open_message_has_failed)
{
    (void)declare_retrying(0, 0, 5);
    publish_numbers(rig, a, "q", 1, 3);
    uint64_t c = messaging_client(rig);
    consume(rig, c, 1, "q", "c", false);
    cr_assert_str_eq(deliveries(rig, c), "1 2 3");
    send_ack(rig, c, 1, 1, false);
    rig_hang_up(rig, c);
    expect_counts(take(), 1, 1, "lost");
    expect_counts(take(), -1, 1, NULL);
    cr_expect(eq(u64, rig->core->counters.failed, 1));
}

Test(retry_broker, each_consumer_of_a_lost_channel_has_its_own_oldest_message)
{
    (void)declare_retrying(0, 0, 5);
    uint64_t c = messaging_client(rig);
    consume(rig, c, 1, "q", "c", false);
    consume(rig, c, 1, "q", "d", false);
    publish_numbers(rig, a, "q", 1, 4);
    cr_assert_str_eq(deliveries(rig, c), "1 2 3 4");
    rig_hang_up(rig, c);
    expect_counts(take(), 1, 1, "lost");
    expect_counts(take(), 1, 1, "lost");
    expect_counts(take(), -1, 1, NULL);
    expect_counts(take(), -1, 1, NULL);
}

Test(retry_broker, messages_of_get_are_lost_each_by_itself)
{
    (void)declare_retrying(0, 0, 5);
    publish_numbers(rig, a, "q", 1, 2);
    uint64_t c = messaging_client(rig);
    (void)get_message(rig, c, "q", false);
    (void)get_message(rig, c, "q", false);
    rig_hang_up(rig, c);
    expect_counts(take(), 1, 1, "lost");
    expect_counts(take(), 1, 1, "lost");
}

/* What was settled in a transaction that is not committed is open: it is the oldest. */
Test(retry_broker, a_transaction_that_is_lost_has_settled_nothing)
{
    (void)declare_retrying(0, 0, 5);
    publish_numbers(rig, a, "q", 1, 2);
    uint64_t c = messaging_client(rig);
    rig_send_id(rig, c, 1, METHOD_TX_SELECT);
    (void)rig_expect(rig, c, 1, METHOD_TX_SELECT_OK);
    consume(rig, c, 1, "q", "c", false);
    cr_assert_str_eq(deliveries(rig, c), "1 2");
    send_ack(rig, c, 1, 1, false);
    rig_hang_up(rig, c);
    const struct posted *first = take();
    cr_expect(bytes_equal_text(first->body, "1"));
    expect_counts(first, 1, 1, "lost");
    expect_counts(take(), -1, 1, NULL);
}

Test(retry_broker, a_committed_settlement_counts_by_what_it_was)
{
    (void)declare_retrying(0, 0, 5);
    publish_numbers(rig, a, "q", 1, 1);
    rig_send_id(rig, b, 1, METHOD_TX_SELECT);
    (void)rig_expect(rig, b, 1, METHOD_TX_SELECT_OK);
    reject(b, tag_of(take()), true);
    cr_expect(eq(u64, rig->core->counters.failed, 0));
    rig_send_id(rig, b, 1, METHOD_TX_COMMIT);
    (void)rig_expect(rig, b, 1, METHOD_TX_COMMIT_OK);
    expect_counts(take(), 1, 1, "reject");
}

/* Nobody says that a message failed which basic.recover gives back. */
Test(retry_broker, recovered_messages_come_back_uncounted)
{
    (void)declare_retrying(1000, 0, 1);
    publish_text(rig, a, "q", "1");
    for (int64_t i = 1; i <= 5; i++) {
        (void)take();
        struct method recover = {.id = METHOD_BASIC_RECOVER, .basic_recover = {.requeue = true}};
        rig_send(rig, b, 1, &recover);
        (void)rig_expect(rig, b, 1, METHOD_BASIC_RECOVER_OK);
    }
    expect_counts(take(), -1, 5, NULL);
}

Test(retry_broker, a_stop_of_the_broker_is_nobodys_failure)
{
    const struct queue *queue = declare_retrying(0, 0, 5);
    publish_text(rig, a, "q", "1");
    (void)take();
    core_hold_publishers(rig->core);
    rig_hang_up(rig, b);
    cr_expect(eq(u64, queue->ready_count, 1));
    cr_expect(eq(u64, rig->core->counters.failed, 0));
}

Test(retry_broker, ack_timeout_of_a_consumer_is_a_verdict)
{
    say_number("x-consumer-timeout", 1000);
    (void)declare_retrying(0, 0, 5);
    uint64_t c = messaging_client(rig);
    consume(rig, c, 1, "q", "c", false);
    publish_numbers(rig, a, "q", 1, 1);
    (void)expect_delivery(rig, c, "1");
    rig_step(rig, 1010);
    expect_counts(take(), 1, 1, "timeout");
}

/* The channel is closed for one message; what else is open on it has not failed. */
Test(retry_broker, ack_timeout_of_a_channel_counts_for_its_message_only)
{
    say_number("x-consumer-timeout", 1000);
    (void)declare_retrying(0, 0, 5);
    publish_numbers(rig, a, "q", 1, 2);
    uint64_t c = messaging_client(rig);
    (void)get_message(rig, c, "q", false);
    rig_step(rig, 500);
    (void)get_message(rig, c, "q", false);
    rig_step(rig, 510);
    (void)rig_expect(rig, c, 1, METHOD_CHANNEL_CLOSE);
    expect_counts(take(), 1, 1, "timeout");
    expect_counts(take(), -1, 1, NULL);
}

/* product: a verdict left out of `counts` returns the message at once and is not counted. */
Test(retry_broker, a_verdict_that_does_not_count_returns_the_message_at_once)
{
    say_text("x-delayed-retry-counts", "reject, lost");
    (void)declare_retrying(1000, 0, 1);
    publish_text(rig, a, "q", "1");
    fail();
    fail();
    fail();
    expect_counts(take(), -1, 3, "nack");
    cr_expect(eq(u64, rig->core->counters.failed, 0));
}

Test(retry_broker, without_memory_for_the_headers_a_message_stays_where_it_is)
{
    const struct queue *queue = declare_retrying(0, 0, 5);
    publish_text(rig, a, "q", "1");
    fail();
    alloc_faults_plan(1);
    consume(rig, a, 1, "q", "c", false);
    alloc_faults_plan(0);
    if (queue->unacked_count == 0) {
        cr_expect(eq(u64, queue->ready_count, 1));
    }
    queue_check(queue);
}

/* Waiting -------------------------------------------------------------------------------------- */

Test(retry_broker, a_failed_message_waits_longer_each_time_and_blocks_nobody)
{
    const struct queue *queue = declare_retrying(1000, 2, 5);
    publish_numbers(rig, a, "q", 1, 2);
    fail();
    cr_expect(eq(u64, queue->ready_count, 1));
    cr_expect(eq(u64, waiting_of(queue, WAITING_RETRY), 1));
    const struct posted *other = take();
    cr_expect(bytes_equal_text(other->body, "2"));
    send_ack(rig, b, 1, tag_of(other), false);
    for (uint64_t delay_ms = 1000; delay_ms <= 4000; delay_ms *= 2) {
        rig_step(rig, delay_ms - 1);
        expect_empty();
        rig_step(rig, 11);
        fail();
    }
    cr_expect(eq(u64, rig->core->counters.retried, 4));
}

Test(retry_broker, waiting_consumers_get_a_message_when_it_is_due)
{
    (void)declare_retrying(1000, 2, 5);
    publish_text(rig, a, "q", "1");
    fail();
    consume(rig, b, 1, "q", "c", false);
    rig_step(rig, 999);
    rig_expect_nothing(rig, b);
    rig_step(rig, 11);
    expect_counts(expect_delivery(rig, b, "1"), 1, 1, "nack");
}

Test(retry_broker, type_disabled_counts_and_does_not_wait)
{
    say_text("x-delayed-retry-type", "disabled");
    (void)declare_retrying(1000, 2, 5);
    publish_text(rig, a, "q", "1");
    fail();
    expect_counts(take(), 1, 1, "nack");
}

/* In RabbitMQ's words: returned is what came back while its count did not go up. */
Test(retry_broker, type_returned_has_those_wait_that_do_not_count)
{
    say_text("x-delayed-retry-type", "returned");
    say_text("x-delayed-retry-counts", "reject");
    (void)declare_retrying(1000, 0, 5);
    publish_text(rig, a, "q", "1");
    fail();
    expect_empty();
    rig_step(rig, 1010);
    reject(b, tag_of(take()), true);
    expect_counts(take(), 1, 2, "reject");
}

/* The random number is the broker's: a wait of the same message differs, within its bounds. */
Test(retry_broker, jitter_moves_the_due_time_within_its_bounds)
{
    const struct queue *queue;
    say_number("x-delayed-retry-jitter", 50);
    queue = declare_retrying(10000, 1, -1);
    publish_numbers(rig, a, "q", 1, 200);
    uint64_t now_ms = rig->now.monotonic_ms - rig->core->base_ms;
    for (int i = 0; i < 200; i++) {
        fail();
    }
    uint64_t first_ms = queue_next_due_ms(queue);
    cr_expect(ge(u64, first_ms, now_ms + 5000));
    cr_expect(lt(u64, first_ms, now_ms + 6000));
    cr_expect(eq(u64, waiting_of(queue, WAITING_RETRY), 200));
    rig_step(rig, 4999);
    expect_empty();
    rig_step(rig, 10011);
    cr_expect(eq(u64, queue->ready_count, 200));
}

/* `order: hold`: nothing behind it is handed out, however many consumers ask. */
Test(retry_broker, strict_order_holds_everything_behind_a_failed_message)
{
    say_text("x-delayed-retry-order", "hold");
    const struct queue *queue = declare_retrying(1000, 2, 5);
    publish_numbers(rig, a, "q", 1, 3);
    fail();
    consume(rig, b, 1, "q", "c", false);
    rig_step(rig, 999);
    rig_expect_nothing(rig, b);
    cr_expect(eq(u64, queue->ready_count, 3), "it stands at its place");
    rig_step(rig, 11);
    cr_assert_str_eq(deliveries(rig, b), "1 2 3");
}

Test(retry_broker, a_hold_lasts_its_whole_time_though_its_millisecond_had_begun)
{
    say_text("x-delayed-retry-order", "hold");
    (void)declare_retrying(1000, 2, 5);
    publish_text(rig, a, "q", "1");
    uint64_t tag = tag_of(take());
    rig->now.begun_ms = 1;
    rig_step(rig, 10);
    send_nack(rig, b, 1, tag, false, true);
    consume(rig, b, 1, "q", "c", false);
    rig_step(rig, 1000);
    rig_expect_nothing(rig, b);
    rig_step(rig, 10);
    (void)expect_delivery(rig, b, "1");
}

Test(retry_broker, strict_order_is_that_of_a_quorum_queue_too)
{
    say_text("x-queue-type", "quorum");
    say_text("x-delayed-retry-order", "hold");
    say_number("x-delayed-retry-min", 1000);
    (void)declare("q", true);
    publish_numbers(rig, a, "q", 1, 3);
    uint64_t first = tag_of(take());
    uint64_t second = tag_of(take());
    reject(b, second, true);
    reject(b, first, true);
    consume(rig, b, 1, "q", "c", false);
    rig_step(rig, 999);
    rig_expect_nothing(rig, b);
    rig_step(rig, 11);
    cr_assert_str_eq(deliveries(rig, b), "1 2 3");
}

/* It would have to wait for as long as the delay is, and whatever the client sends behind it. */
Test(retry_broker, get_finds_nothing_while_the_head_is_held)
{
    say_text("x-delayed-retry-order", "hold");
    (void)declare_retrying(1000, 2, 5);
    publish_numbers(rig, a, "q", 1, 2);
    fail();
    expect_empty();
    rig_step(rig, 1010);
    expect_counts(take(), 1, 1, "nack");
}

/* Timers come in steps: somebody may get the head between its time and that of the timer, which is
 * called off then. Those who waited for it are served all the same. */
Test(retry_broker, a_get_of_a_head_that_was_held_leaves_nobody_waiting_for_the_rest)
{
    say_text("x-delayed-retry-order", "hold");
    (void)declare_retrying(1000, 2, 5);
    publish_numbers(rig, a, "q", 1, 3);
    fail();
    consume(rig, b, 1, "q", "c", false);
    rig_step(rig, 995);
    rig->now.monotonic_ms += 5;
    rig->core->now = rig->now; /* the timer's step is not over */
    struct method get = {.id = METHOD_BASIC_GET,
                         .basic_get = {.queue = bytes_of("q"), .no_ack = true}};
    rig_send(rig, a, 1, &get);
    rig_turn(rig);
    rig_turn(rig);
    cr_assert_str_eq(deliveries(rig, b), "2 3");
}

/* It is over the limit by now, but this tick has moved as many as it may. */
Test(retry_broker, get_waits_while_a_held_head_is_on_its_way_out)
{
    say_text("x-delayed-retry-order", "hold");
    struct queue *queue = declare_retrying(1000, 2, 5);
    publish_numbers(rig, a, "q", 1, 2);
    fail();
    expect_empty();
    say_text("x-delayed-retry-order", "hold");
    say_number("x-delivery-limit", 0);
    uint32_t changed;
    enum status status = queue_set_arguments(queue, buffer_bytes(&arguments), &changed);
    cr_assert(eq(int, status, STATUS_OK));
    struct method get = {.id = METHOD_BASIC_GET, .basic_get = {.queue = bytes_of("q")}};
    rig->holds_turn = true;
    rig->core->deaths_left = 0;
    rig_send(rig, b, 1, &get);
    rig->holds_turn = false;
    for (int turn = 0; turn < 4; turn++) {
        rig_turn(rig);
    }
    const struct posted *next = rig_expect_posted(rig, b, 1, METHOD_BASIC_GET_OK);
    cr_expect(bytes_equal_text(next->body, "2"));
    cr_expect(eq(u64, waiting_of(queue, WAITING_PARKED), 1));
}

/* The head that everything waited for is gone: what comes next need not wait. */
Test(retry_broker, a_hold_ends_when_its_message_leaves)
{
    say_text("x-delayed-retry-order", "hold");
    say_number("x-message-ttl", 500);
    (void)declare_retrying(100000, 2, 5);
    publish_text(rig, a, "q", "1");
    fail();
    consume(rig, b, 1, "q", "c", false);
    rig_step(rig, 100);
    publish_text(rig, a, "q", "2");
    rig_expect_nothing(rig, b);
    rig_step(rig, 420);
    rig_turn(rig);
    (void)expect_delivery(rig, b, "2");
    cr_expect(eq(u32, find_queue(rig, "q")->failures->count, 0));
}

Test(retry_broker, a_purge_ends_a_hold)
{
    say_text("x-delayed-retry-order", "hold");
    const struct queue *queue = declare_retrying(100000, 2, 5);
    publish_text(rig, a, "q", "1");
    fail();
    consume(rig, b, 1, "q", "c", false);
    struct method purge = {.id = METHOD_QUEUE_PURGE, .queue_purge = {.queue = bytes_of("q")}};
    rig_send(rig, a, 1, &purge);
    (void)rig_expect(rig, a, 1, METHOD_QUEUE_PURGE_OK);
    cr_expect(eq(u32, queue->failures->count, 0));
    publish_text(rig, a, "q", "2");
    (void)expect_delivery(rig, b, "2");
}

/* It keeps its time and waits without its queue, whether somebody waits for what is behind it. */
Test(retry_broker, a_hold_ends_when_strict_order_is_given_up)
{
    say_text("x-delayed-retry-order", "hold");
    struct queue *queue = declare_retrying(100000, 2, 5);
    publish_numbers(rig, a, "q", 1, 3);
    uint64_t first = tag_of(take());
    uint64_t second = tag_of(take());
    send_nack(rig, b, 1, first, false, true);
    send_nack(rig, b, 1, second, false, true);
    consume(rig, b, 1, "q", "c", false);
    rig_expect_nothing(rig, b);
    say_number("x-delivery-limit", 5);
    uint32_t changed;
    enum status status = queue_set_arguments(queue, buffer_bytes(&arguments), &changed);
    cr_assert(eq(int, status, STATUS_OK));
    core_settings_changed(rig->core, queue, changed);
    rig_turn(rig);
    cr_assert_str_eq(deliveries(rig, b), "3");
    cr_expect(eq(u64, waiting_of(queue, WAITING_RETRY), 2));
    queue_check(queue);
    rig_step(rig, 99000);
    rig_expect_nothing(rig, b);
    rig_step(rig, 1010);
    cr_assert_str_eq(deliveries(rig, b), "1 2");
}

/* Never an early retry, never a lost message. */
Test(retry_broker, without_memory_for_waiting_the_message_holds_its_queue)
{
    struct queue *queue = declare_retrying(1000, 2, 5);
    publish_numbers(rig, a, "q", 1, 2);
    uint64_t tag = tag_of(take());
    have_rates(rig, "q");
    rig->holds_turn = true;
    alloc_faults_plan(2); /* behind that for the queue's rates */
    send_nack(rig, b, 1, tag, false, true);
    cr_expect(eq(u32, alloc_faults_left(), 0));
    alloc_faults_plan(0);
    rig->holds_turn = false;
    rig_turn(rig);
    cr_expect(eq(u64, waiting_of(queue, WAITING_RETRY), 0));
    cr_expect(eq(u64, queue->ready_count, 2));
    alloc_faults_plan(1);
    cr_expect(not(core_head_may_be_tried(rig->core, queue)), "there is no memory yet");
    alloc_faults_plan(0);
    cr_expect(eq(u64, queue->ready_count, 2));
    consume(rig, b, 1, "q", "c", false);
    cr_assert_str_eq(deliveries(rig, b), "2");
    cr_expect(eq(u64, waiting_of(queue, WAITING_RETRY), 1));
    rig_step(rig, 999);
    rig_expect_nothing(rig, b);
    rig_step(rig, 11);
    cr_assert_str_eq(deliveries(rig, b), "1");
}

Test(retry_broker, a_message_that_waits_expires_at_its_deadline)
{
    say_number("x-message-ttl", 2000);
    const struct queue *queue = declare_retrying(60000, 2, 5);
    publish_text(rig, a, "q", "1");
    fail();
    rig_step(rig, 2020);
    cr_expect(eq(u64, rig->core->counters.expired, 1));
    cr_expect(eq(u64, waiting_of(queue, WAITING_RETRY), 0));
    cr_expect(eq(u32, queue->failures->count, 0));
}

Test(retry_broker, a_deleted_queue_takes_what_waits_with_it)
{
    (void)declare_retrying(1000, 2, 5);
    publish_numbers(rig, a, "q", 1, 3);
    fail();
    uint64_t tag = tag_of(take());
    struct method delete = {.id = METHOD_QUEUE_DELETE, .queue_delete = {.queue = bytes_of("q")}};
    rig_send(rig, a, 1, &delete);
    (void)rig_expect(rig, a, 1, METHOD_QUEUE_DELETE_OK);
    send_nack(rig, b, 1, tag, false, true);
    rig_step(rig, 5000);
    rig_expect_nothing(rig, b);
}

/* The end ---------------------------------------------------------------------------------------*/

static void
declare_dead_letters(void)
{
    declare_exchange(rig, a, "dead", "fanout", NULL);
    (void)declare("dlq", disk != NULL);
    bind_queue(rig, a, "dlq", "dead", "");
}

/* RabbitMQ: a limit of 3 allows four deliveries. The counts go with the dead letter. */
Test(retry_broker, over_its_limit_a_message_goes_to_the_dead_letter_exchange)
{
    declare_dead_letters();
    say_text("x-dead-letter-exchange", "dead");
    const struct queue *queue = declare_retrying(0, 0, 3);
    publish_text(rig, a, "q", "1");
    for (int i = 0; i < 4; i++) {
        fail();
    }
    expect_empty();
    const struct posted *dead = get_message(rig, b, "dlq", true);
    cr_assert(ne(ptr, (void *)dead, NULL));
    expect_counts(dead, 4, 4, "nack");
    cr_expect(says(dead, "x-first-death-reason", "delivery_limit"));
    cr_expect(eq(u64, rig->core->counters.dead_lettered[DEATH_DELIVERY_LIMIT], 1));
    cr_expect(eq(u32, queue->failures->count, 0));
}

/* requeue=false is permanent: at once, whatever is left of the attempts. */
Test(retry_broker, a_message_that_is_rejected_for_good_does_not_wait)
{
    declare_dead_letters();
    say_text("x-dead-letter-exchange", "dead");
    const struct queue *queue = declare_retrying(1000, 2, 3);
    publish_text(rig, a, "q", "1");
    fail();
    rig_step(rig, 1010);
    reject(b, tag_of(take()), false);
    const struct posted *dead = get_message(rig, b, "dlq", true);
    cr_assert(ne(ptr, (void *)dead, NULL));
    expect_counts(dead, 1, 1, "nack");
    cr_expect(says(dead, "x-first-death-reason", "rejected"));
    cr_expect(eq(u32, queue->failures->count, 0));
}

Test(retry_broker, without_a_dead_letter_exchange_it_is_parked_and_never_dropped)
{
    const struct queue *queue = declare_retrying(0, 0, 1);
    publish_numbers(rig, a, "q", 1, 2);
    for (int i = 0; i < 4; i++) {
        fail();
    }
    cr_expect(eq(u64, waiting_of(queue, WAITING_PARKED), 2));
    cr_expect(eq(u64, rig->core->counters.quarantined, 2));
    cr_expect(eq(u64, rig->core->counters.dead_letters_dropped, 0));
    cr_expect(rig_logged(rig, "event=queue.quarantined"));
    rig_step(rig, 100000);
    expect_empty();
    queue_check(queue);
}

Test(retry_broker, a_dead_letter_that_reaches_no_queue_is_parked)
{
    declare_exchange(rig, a, "nowhere", "fanout", NULL);
    say_text("x-dead-letter-exchange", "nowhere");
    const struct queue *queue = declare_retrying(0, 0, 0);
    publish_text(rig, a, "q", "1");
    fail();
    cr_expect(eq(u64, waiting_of(queue, WAITING_PARKED), 1));
    cr_expect(eq(u64, rig->core->counters.dead_lettered[DEATH_DELIVERY_LIMIT], 0));
}

Test(retry_broker, where_the_dead_letter_exchange_is_missing_it_is_parked)
{
    say_text("x-dead-letter-exchange", "missing");
    const struct queue *queue = declare_retrying(0, 0, 0);
    publish_text(rig, a, "q", "1");
    fail();
    cr_expect(eq(u64, waiting_of(queue, WAITING_PARKED), 1));
}

/* There is no memory for the row: it is neither dropped nor handed out, and tried again. */
Test(retry_broker, parking_is_tried_again_when_there_is_no_memory)
{
    const struct queue *queue = declare_retrying(0, 0, 0);
    publish_text(rig, a, "q", "1");
    uint64_t tag = tag_of(take());
    rig->holds_turn = true;
    alloc_faults_plan(4); /* behind those for the queue's rates and its death */
    send_nack(rig, b, 1, tag, false, true);
    rig->holds_turn = false;
    rig_turn(rig);
    cr_expect(eq(u32, alloc_faults_left(), 0));
    alloc_faults_plan(0);
    cr_expect(eq(u64, waiting_of(queue, WAITING_PARKED), 0));
    expect_empty();
    rig_step(rig, CORE_DEATH_RETRY_MS + 10);
    rig_turn(rig);
    cr_expect(eq(u64, waiting_of(queue, WAITING_PARKED), 1));
}

/* There is no memory to keep it among the dead: it goes back to its place, and dies from there. */
Test(retry_broker, without_memory_for_its_death_a_message_is_not_handed_out_and_dies_later)
{
    const struct queue *queue = declare_retrying(0, 0, 0);
    publish_numbers(rig, a, "q", 1, 2);
    uint64_t tag = tag_of(take());
    have_rates(rig, "q");
    rig->holds_turn = true;
    alloc_faults_plan(2); /* behind that for the queue's rates */
    send_nack(rig, b, 1, tag, false, true);
    cr_expect(eq(u32, alloc_faults_left(), 0));
    cr_expect(eq(u64, queue->ready_count, 2));
    alloc_faults_plan(1);
    rig->holds_turn = false;
    consume(rig, b, 1, "q", "c", false);
    cr_expect(eq(u32, alloc_faults_left(), 0));
    rig_expect_nothing(rig, b);
    rig_step(rig, 110);
    cr_assert_str_eq(deliveries(rig, b), "2");
    rig_turn(rig);
    cr_expect(eq(u64, waiting_of(queue, WAITING_PARKED), 1));
}

Test(retry_broker, a_message_that_is_too_old_is_not_tried_again)
{
    declare_dead_letters();
    say_text("x-dead-letter-exchange", "dead");
    say_number("x-delayed-retry-max-age", 5000);
    (void)declare_retrying(1000, 1, -1);
    publish_text(rig, a, "q", "1");
    for (int i = 0; i < 5; i++) {
        fail();
        rig_step(rig, 1010);
    }
    fail();
    rig_step(rig, 1010);
    expect_empty();
    const struct posted *dead = get_message(rig, b, "dlq", true);
    cr_assert(ne(ptr, (void *)dead, NULL));
    cr_expect(says(dead, "x-first-death-reason", "delivery_limit"));
}

/* Whoever is over a limit that was lowered is not handed out again. */
Test(retry_broker, a_lowered_limit_holds_for_messages_that_are_there)
{
    struct queue *queue = declare_retrying(0, 0, 10);
    publish_numbers(rig, a, "q", 1, 2);
    for (int i = 0; i < 5; i++) {
        fail();
    }
    say_number("x-delivery-limit", 3);
    uint32_t changed;
    enum status status = queue_set_arguments(queue, buffer_bytes(&arguments), &changed);
    cr_assert(eq(int, status, STATUS_OK));
    const struct posted *next = take();
    cr_expect(bytes_equal_text(next->body, "2"));
    cr_expect(eq(u64, waiting_of(queue, WAITING_PARKED), 1));
}

/* What is released is tried as if it had never failed. */
Test(retry_broker, a_parked_message_that_is_forgiven_begins_anew)
{
    struct queue *queue = declare_retrying(0, 0, 1);
    publish_text(rig, a, "q", "1");
    fail();
    fail();
    const struct due_row row = *queue_first_waiting(queue);
    core_forgive(rig->core, queue, &row.entry, row.key.position);
    struct queue_entry entry;
    enum status status = queue_end_retry(queue, &row.key, &entry);
    cr_assert(eq(int, status, STATUS_OK));
    expect_counts(take(), -1, 2, "nack");
    reject(b, 3, true);
    expect_counts(take(), 1, 3, "reject");
}

/* A hold ends with its message's parking: released, it does not wait for what it was to wait for.
 */
Test(retry_broker, a_message_that_was_parked_while_it_was_held_is_not_held_when_it_is_released)
{
    say_text("x-delayed-retry-order", "hold");
    struct queue *queue = declare_retrying(100000, 2, 5);
    publish_text(rig, a, "q", "1");
    fail();
    say_number("x-delivery-limit", 0);
    uint32_t changed;
    enum status status = queue_set_arguments(queue, buffer_bytes(&arguments), &changed);
    cr_assert(eq(int, status, STATUS_OK));
    consume(rig, b, 1, "q", "c", false);
    rig_turn(rig);
    cr_assert(eq(u64, waiting_of(queue, WAITING_PARKED), 1));
    const struct due_row row = *queue_first_waiting(queue);
    core_forgive(rig->core, queue, &row.entry, row.key.position);
    struct queue_entry entry;
    status = queue_end_retry(queue, &row.key, &entry);
    cr_assert(eq(int, status, STATUS_OK));
    core_head_is_there(rig->core, queue);
    rig_turn(rig);
    cr_assert_str_eq(deliveries(rig, b), "1");
}

/* Slices ------------------------------------------------------------------------------------- */

enum { MANY = 1000, SLICE = 256 };

/* Client b has many messages open, and a tick has time for few of them. */
static struct queue *
have_many_open(void)
{
    struct queue *queue = declare_retrying(0, 0, 5);
    rig->holds_turn = true;
    publish_numbers(rig, a, "q", 1, MANY);
    rig->holds_turn = false;
    consume(rig, b, 1, "q", "c", false);
    for (int i = 0; i < 10; i++) {
        rig_turn(rig);
    }
    cr_assert(eq(u64, queue->unacked_count, MANY));
    while (rig_next(rig, b) != NULL) {
    }
    rig->core->settings.work_per_tick = 1;
    rig_turn(rig);
    return queue;
}

/* One nack of very many would make one tick as long as that takes. What follows on the channel
 * waits for all of it. */
Test(retry_broker, very_many_failures_are_noted_in_slices_and_what_follows_waits)
{
    const struct queue *queue = have_many_open();
    cancel(rig, b, "c");
    rig->holds_turn = true;
    send_nack(rig, b, 1, MANY, true, true);
    send_ack(rig, b, 1, MANY + 1, false);
    rig->holds_turn = false;
    for (uint64_t expected = SLICE; expected < MANY; expected += SLICE) {
        cr_expect(eq(u64, queue->failures->failed_count, expected));
        cr_expect(eq(u64, core_wait_ms(rig->core), 0));
        rig_expect_nothing(rig, b);
        rig_turn(rig);
    }
    cr_expect(eq(u64, queue->failures->failed_count, MANY));
    cr_expect(eq(u64, queue->ready_count, MANY));
    rig_turn(rig);
    rig_expect_channel_close(rig, b, 1, REPLY_PRECONDITION_FAILED, "unknown delivery tag 1001");
}

/* What came while others were settled is settled before what comes later, whatever each says. */
Test(retry_broker, settlements_keep_their_order_behind_slices)
{
    const struct queue *queue = have_many_open();
    cancel(rig, b, "c");
    rig->holds_turn = true;
    send_nack(rig, b, 1, SLICE + 100, true, true);
    send_ack(rig, b, 1, MANY - 100, true); /* waits for that */
    rig->core->work_left = 0;              /* and goes on waiting when it is over */
    core_go_on_settling(rig->core);
    send_nack(rig, b, 1, MANY, true, true);
    rig->holds_turn = false;
    for (int i = 0; i < 20; i++) {
        rig_turn(rig);
    }
    rig_expect_nothing(rig, b);
    cr_expect(eq(u64, queue->failures->failed_count, SLICE + 200));
    cr_expect(eq(u64, rig->core->counters.acked, MANY - SLICE - 200));
}

/* Tag 0 means what is open now, not what the consumer is handed meanwhile. */
Test(retry_broker, what_is_handed_out_between_slices_is_not_settled_with_them)
{
    const struct queue *queue = have_many_open();
    send_nack(rig, b, 1, 0, true, true);
    for (int i = 0; i < 20; i++) {
        rig_turn(rig);
    }
    cr_expect(eq(u64, queue->failures->failed_count, MANY));
    cr_expect(eq(u64, queue->unacked_count, MANY));
}

/* Slices have an end when their channel has one, and a close waits for them. */
Test(retry_broker, a_close_waits_for_the_last_slice_and_a_loss_does_not)
{
    const struct queue *queue = have_many_open();
    cancel(rig, b, "c");
    send_nack(rig, b, 1, MANY, true, true);
    rig_send_id(rig, b, 1, METHOD_CHANNEL_CLOSE);
    for (int i = 0; i < 20; i++) {
        rig_turn(rig);
    }
    (void)rig_expect(rig, b, 1, METHOD_CHANNEL_CLOSE_OK);
    cr_expect(eq(u64, queue->failures->failed_count, MANY));
    cr_expect(eq(u64, queue->ready_count, MANY));
    uint64_t c = messaging_client(rig);
    consume(rig, c, 1, "q", "c", false);
    for (int i = 0; i < 20; i++) {
        rig_turn(rig);
    }
    cr_assert(eq(u64, queue->unacked_count, MANY));
    send_nack(rig, c, 1, 0, true, true);
    rig_hang_up(rig, c);
    rig_turn(rig);
    cr_expect(eq(u64, queue->ready_count, MANY));
    cr_expect(ne(u64, core_wait_ms(rig->core), 0));
    queue_check(queue);
}

/* As many as rows have room for: a message that is parked is lent once more, which makes room. */
Test(retry_broker, as_many_as_rows_have_room_for_are_parked_at_once)
{
    const struct queue *queue = declare_retrying(0, 0, 0);
    publish_numbers(rig, a, "q", 1, 48);
    for (int i = 0; i < 48; i++) {
        (void)take();
    }
    send_nack(rig, b, 1, 48, true, true);
    rig_turn(rig);
    cr_expect(eq(u64, waiting_of(queue, WAITING_PARKED), 48));
    cr_expect(eq(u64, rig->core->counters.quarantined, 48));
    queue_check(queue);
}

/* A queue that is looked at meanwhile, for a deadline that is gone, is not looked at for ever. */
Test(retry_broker, a_held_head_leaves_the_broker_in_peace)
{
    say_text("x-delayed-retry-order", "hold");
    say_number("x-message-ttl", 5000);
    (void)declare_retrying(1000, 2, 5);
    publish_text(rig, a, "q", "0");
    send_ack(rig, b, 1, tag_of(take()), false);
    rig_step(rig, 4500);
    publish_numbers(rig, a, "q", 1, 2);
    fail();
    consume(rig, b, 1, "q", "c", false);
    rig_step(rig, 510);
    for (int i = 0; i < 5; i++) {
        rig_turn(rig);
    }
    cr_expect(lt(u64, 0, core_wait_ms(rig->core)));
    rig_step(rig, 500);
    cr_assert_str_eq(deliveries(rig, b), "1 2");
}

/* More than a tick may drop, the first of which everybody waits for. */
Test(retry_broker, a_held_head_and_all_behind_it_are_dropped_when_the_limit_is_lowered)
{
    say_text("x-delayed-retry-order", "hold");
    struct queue *queue = declare_retrying(100000, 2, 5);
    publish_text(rig, a, "q", "0");
    fail();
    consume(rig, b, 1, "q", "c", false);
    rig->holds_turn = true;
    publish_numbers(rig, a, "q", 1, CORE_DROPS_PER_TICK + 5);
    rig->holds_turn = false;
    rig_turn(rig);
    rig_expect_nothing(rig, b);
    cancel(rig, b, "c");
    say_number("x-max-length", 1);
    uint32_t changed;
    enum status status = queue_set_arguments(queue, buffer_bytes(&arguments), &changed);
    cr_assert(eq(int, status, STATUS_OK));
    core_heed_limit(rig->core, queue);
    for (int i = 0; i < 4; i++) {
        rig_turn(rig);
    }
    cr_expect(eq(u64, queue->ready_count, 1));
    queue_check(queue);
}

/* The log -------------------------------------------------------------------------------------- */

Test(retry_broker, a_failure_and_its_wait_are_written_down)
{
    start_log();
    struct queue *queue = declare_retrying(1000, 2, 5);
    log_publish(disk, a, "", "q", "1");
    uint64_t wall_ms = (uint64_t)rig->now.wall_ms;
    log_settle(disk);
    fail();
    log_settle(disk);
    const struct row_state *state = &disk->last_state.row_state.state;
    cr_expect(le(u64, wall_ms + 1000, state->due_ms));
    cr_expect(le(u64, state->due_ms, (uint64_t)rig->now.wall_ms + 1000));
    cr_expect(eq(u32, state->delivery_count, 1));
    cr_expect(eq(u32, state->acquired_count, 1));
    cr_expect(eq(int, state->verdict, ROW_VERDICT_NACK));
    cr_expect(ne(u64, state->arrival_ms, 0));
    log_check(disk);
    rig_step(rig, 1010);
    send_ack(rig, b, 1, tag_of(take()), false);
    log_settle(disk);
    cr_expect(eq(u64, space_live_octets(disk->space), 0), "the state has gone with its message");
    cr_expect(eq(u32, queue->failures->count, 0));
    log_check(disk);
}

/* However it leaves, nothing of it is left in the account of space. */
Test(retry_broker, every_way_out_takes_the_state_along)
{
    start_log();
    declare_dead_letters();
    say_text("x-dead-letter-exchange", "dead");
    say_number("x-message-ttl", 60000);
    struct queue *queue = declare_retrying(1000, 1, 5);
    log_publish_numbers(disk, a, "q", 1, 6);
    log_settle(disk);
    for (int i = 0; i < 6; i++) {
        fail();
    }
    rig_step(rig, 1010);
    log_settle(disk);
    send_ack(rig, b, 1, tag_of(take()), false);
    reject(b, tag_of(take()), false);
    consume(rig, a, 1, "q", "c", true);
    log_settle(disk);
    while (rig_next(rig, a) != NULL) {
    }
    cancel(rig, a, "c");
    log_settle(disk);
    cr_expect(eq(u32, queue->failures->count, 0));
    log_check(disk);
    log_publish_numbers(disk, a, "q", 7, 9);
    log_settle(disk);
    fail();
    fail();
    rig_step(rig, 1010);
    uint64_t tag = tag_of(take());
    send_nack(rig, b, 1, tag, false, true); /* this one waits, one is ready */
    struct method purge = {.id = METHOD_QUEUE_PURGE, .queue_purge = {.queue = bytes_of("q")}};
    rig_send(rig, a, 1, &purge);
    log_settle(disk);
    cr_expect(eq(u32, queue->failures->count, 1), "what waits is not purged");
    log_check(disk);
    rig_step(rig, 61000);
    log_settle(disk);
    cr_expect(eq(u32, queue->failures->count, 0), "it has expired");
    log_check(disk);
}

Test(retry_broker, a_deadline_is_written_again_with_the_state)
{
    start_log();
    say_number("x-message-ttl", 60000);
    (void)declare_retrying(1000, 1, 5);
    log_publish(disk, a, "", "q", "1");
    log_settle(disk);
    uint64_t deadline_ms = disk->last_state.row_state.state.deadline_ms;
    cr_assert(ne(u64, deadline_ms, 0));
    fail();
    log_settle(disk);
    uint64_t again_ms = disk->last_state.row_state.state.deadline_ms;
    cr_expect(ge(u64, again_ms, deadline_ms));
    cr_expect(lt(u64, again_ms, deadline_ms + DUE_STEP_MS), "rounded up once");
    cr_expect(eq(u32, disk->last_state.row_state.state.delivery_count, 1));
}

Test(retry_broker, a_commit_has_room_for_what_it_gives_back)
{
    start_log();
    (void)declare_retrying(1000, 1, 5);
    log_publish_numbers(disk, a, "q", 1, 3);
    log_settle(disk);
    rig_send_id(rig, b, 1, METHOD_TX_SELECT);
    (void)rig_expect(rig, b, 1, METHOD_TX_SELECT_OK);
    for (int i = 0; i < 3; i++) {
        fail();
    }
    rig_send_id(rig, b, 1, METHOD_TX_COMMIT);
    uint32_t batch_count = disk->batch_count;
    log_settle(disk);
    (void)rig_expect(rig, b, 1, METHOD_TX_COMMIT_OK);
    cr_expect(eq(u32, disk->records[RECORD_ROW_STATE], 3));
    cr_expect(le(u32, disk->batch_count, batch_count + 1), "all of it is one batch");
    log_check(disk);
}

/* As recovery hands it over. */
static void
restore(struct queue *queue, uint64_t lsn, const struct row_state *state)
{
    struct recovered_row row = {
        .lsn = lsn, .queue = queue->target.id, .body_size = 1, .state = *state, .state_lsn = 0};
    enum status status = core_restore_row(rig->core, &row);
    cr_assert(eq(int, status, STATUS_OK));
}

static struct row_state
failed_state(uint64_t due_ms)
{
    return (struct row_state){
        .due_ms = due_ms,
        .arrival_ms = (uint64_t)rig->now.wall_ms - 1000,
        .delivery_count = 2,
        .acquired_count = 3,
        .verdict = ROW_VERDICT_LOST,
    };
}

/* Times are counted from the arrival, and so mean the same after a restart; newest and first only.
 */
Test(retry_broker, times_of_failures_are_written_down)
{
    start_log();
    struct queue *queue = declare_retrying(1000, 1, 5);
    log_publish(disk, a, "", "q", "1");
    log_settle(disk);
    fail();
    rig_step(rig, 1010);
    fail();
    log_settle(disk);
    uint32_t at = 0;
    const struct failure_row *row = queue_next_failure(queue, &at);
    struct row_attempts known = failure_row_attempts(row);
    const struct row_attempts *attempts = &disk->last_attempts;
    cr_expect(row_attempts_equals(attempts, &known));
    cr_expect(lt(u32, attempts->times_ms[0] + 1000, attempts->times_ms[1]));
    cr_expect(eq(u32, attempts->times_ms[2], 0));
    cr_expect(eq(int, row_attempts_verdict(attempts, 1), ROW_VERDICT_NACK));
    log_check(disk);
}

Test(retry_broker, times_of_failures_survive_a_restart)
{
    start_log();
    struct queue *queue = declare_retrying(1000, 2, 5);
    struct recovered_row recovered = {
        .lsn = 8,
        .queue = queue->target.id,
        .body_size = 1,
        .state = failed_state(0),
        .attempts = {.times_ms = {101, 501}, .verdicts = 1 | 3 << 3},
    };
    enum status status = core_restore_row(rig->core, &recovered);
    cr_assert(eq(int, status, STATUS_OK));
    int64_t now_ms = (int64_t)(rig->now.monotonic_ms - rig->core->base_ms);
    const struct failure_row *row = queue_find_failure(queue, queue_head_position(queue));
    int64_t time_ms;
    cr_assert(failure_row_time_ms(row, 1, &time_ms));
    cr_expect(eq(i64, time_ms, now_ms - 900));
    cr_assert(failure_row_time_ms(row, 2, &time_ms));
    cr_expect(eq(i64, time_ms, now_ms - 500));
    cr_expect(eq(int, (int)failure_row_verdict(row, 2), RETRY_LOST));
    core_attach_store(rig->core, NULL, NULL); /* it knows nothing of these rows */
}

/* By the wall clock, which has gone on; order is that of the log, but for what is not due yet. */
Test(retry_broker, counts_and_waits_survive_a_restart)
{
    start_log();
    struct queue *queue = declare_retrying(1000, 2, 5);
    uint64_t wall_ms = (uint64_t)rig->now.wall_ms;
    uint64_t now_ms = rig->now.monotonic_ms - rig->core->base_ms;
    struct row_state overdue = failed_state(wall_ms - 1);
    struct row_state soon = failed_state(wall_ms + 500);
    struct row_state parked = failed_state(INT64_MAX);
    restore(queue, 8, &(struct row_state){0});
    restore(queue, 16, &overdue);
    restore(queue, 24, &soon);
    restore(queue, 32, &parked);
    restore(queue, 40, &(struct row_state){0});
    cr_expect(eq(u64, queue->ready_count, 3));
    cr_expect(eq(u64, waiting_of(queue, WAITING_RETRY), 1));
    cr_expect(eq(u64, waiting_of(queue, WAITING_PARKED), 1));
    cr_expect(eq(u64, queue_next_due_ms(queue), now_ms + 500));
    cr_expect(eq(u32, queue->failures->count, 3));
    queue_check(queue);
    struct queue_entry entry;
    uint64_t position;
    cr_assert(queue_pop(queue, &entry, &position));
    cr_expect(eq(u64, queue_entry_lsn(&entry), 8));
    cr_assert(queue_pop(queue, &entry, &position));
    cr_expect(eq(u64, queue_entry_lsn(&entry), 16));
    const struct failure_row *row = queue_find_failure(queue, position);
    cr_assert(ne(ptr, (void *)row, NULL));
    cr_expect(eq(u32, row->delivery_count, 2));
    cr_expect(eq(int, row->verdict, RETRY_LOST));
    cr_expect(eq(i64, row->arrival_ms, (int64_t)now_ms - 1000));
    core_attach_store(rig->core, NULL, NULL); /* it knows nothing of these rows */
}

Test(retry_broker, a_deadline_of_what_waits_survives_as_well)
{
    start_log();
    struct queue *queue = declare_retrying(1000, 2, 5);
    uint64_t wall_ms = (uint64_t)rig->now.wall_ms;
    struct row_state state = failed_state(wall_ms + 60000);
    state.deadline_ms = wall_ms + 2000;
    core_attach_store(rig->core, NULL, NULL);
    restore(queue, 8, &state);
    state.deadline_ms = wall_ms + UINT64_C(60000000000);
    restore(queue, 16, &state);
    queue_check(queue);
    rig_step(rig, 2020);
    cr_expect(eq(u64, rig->core->counters.expired, 1));
    cr_expect(eq(u64, waiting_of(queue, WAITING_RETRY), 1));
    queue_check(queue);
}

Test(retry_broker, strict_order_survives_a_restart)
{
    start_log();
    say_text("x-delayed-retry-order", "hold");
    struct queue *queue = declare_retrying(1000, 2, 5);
    uint64_t wall_ms = (uint64_t)rig->now.wall_ms;
    struct row_state soon = failed_state(wall_ms + 500);
    core_attach_store(rig->core, NULL, NULL);
    restore(queue, 8, &soon);
    restore(queue, 16, &(struct row_state){0});
    cr_expect(eq(u64, queue->ready_count, 2));
    cr_expect(not(core_head_may_be_tried(rig->core, queue)));
    rig_step(rig, 510);
    cr_expect(core_head_may_be_tried(rig->core, queue));
    cr_expect(eq(u64, queue_head_position(queue), queue_deque_position(queue)));
}

/* It has died between others and waits for its exchange, as what is dying outlives a purge. */
Test(retry_broker, a_purge_leaves_the_counts_of_what_died_between_others)
{
    start_log();
    declare_dead_letters();
    say_text("x-dead-letter-exchange", "dead");
    struct queue *queue = declare_retrying(0, 0, 5);
    core_attach_store(rig->core, NULL, NULL);
    struct row_state state = failed_state(0);
    state.deadline_ms = (uint64_t)rig->now.wall_ms + 1000;
    restore(queue, 8, &(struct row_state){0});
    restore(queue, 16, &state);
    rig->core->alarms |= ALARM_DISK;
    rig_step(rig, 1020);
    cr_assert(eq(u64, rig->core->counters.died[DEATH_EXPIRED], 1));
    cr_assert(eq(u64, queue->ready_count, 1));
    core_purge_failures(rig->core, queue);
    const struct failure_row *row = queue_find_failure(queue, queue_first_dying(queue)->position);
    cr_assert(ne(ptr, (void *)row, NULL));
    cr_expect(eq(u32, row->delivery_count, 2));
}

/* The failure was written down, the move was not: it is not tried once more. */
Test(retry_broker, a_message_over_its_limit_is_not_handed_out_after_a_crash)
{
    start_log();
    struct queue *queue = declare_retrying(0, 0, 1);
    struct row_state state = failed_state(0);
    core_attach_store(rig->core, NULL, NULL);
    restore(queue, 8, &state);
    expect_empty();
    cr_expect(eq(u64, rig->core->counters.died[DEATH_DELIVERY_LIMIT], 1));
    rig_turn(rig);
    cr_expect(eq(u64, waiting_of(queue, WAITING_PARKED), 1));
}
