/* SPDX-License-Identifier: Apache-2.0 */
/* Deliveries that are not settled in time. */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#include "amqp/table.h"
#include "broker/connections/connection.h"
#include "broker/upkeep/ack_timeout.h"
#include "tests/unit/broker/messaging.h"

enum { TIMEOUT_MS = 1000 };

static struct rig *rig;
static uint64_t a, b;

static void
declare_with_timeout(const char *name, int64_t timeout_ms)
{
    struct buffer arguments;
    buffer_init(&arguments);
    table_put_integer(&arguments, "x-consumer-timeout", timeout_ms);
    struct queue_declare declare = {.queue = bytes_of(name), .arguments = buffer_bytes(&arguments)};
    declare_queue_as(rig, a, &declare);
    buffer_fini(&arguments);
}

static void
set_up(void)
{
    rig = messaging_rig(NULL);
    a = messaging_client(rig);
    b = messaging_client(rig);
    declare_with_timeout("q", TIMEOUT_MS);
}

static void
tear_down(void)
{
    rig_free(&rig);
}

TestSuite(ack_timeout, .init = set_up, .fini = tear_down);

static void
consume_with_timeout(uint64_t link, const char *tag, int64_t timeout_ms)
{
    struct buffer arguments;
    buffer_init(&arguments);
    table_put_integer(&arguments, "x-consumer-timeout", timeout_ms);
    struct method method = {.id = METHOD_BASIC_CONSUME,
                            .basic_consume = {.queue = bytes_of("q"),
                                              .consumer_tag = bytes_of(tag),
                                              .arguments = buffer_bytes(&arguments)}};
    rig_send(rig, link, 1, &method);
    (void)rig_expect(rig, link, 1, METHOD_BASIC_CONSUME_OK);
    buffer_fini(&arguments);
}

static uint64_t
open_count(void)
{
    return find_queue(rig, "q")->unacked_count;
}

/* Never early, and at most one step of the wheel late. */
Test(ack_timeout, a_message_that_is_not_settled_in_time_goes_back_and_its_consumer_is_cancelled)
{
    consume(rig, b, 1, "q", "c", false);
    publish_numbers(rig, a, "q", 1, 1);
    (void)expect_delivery(rig, b, "1");
    rig_step(rig, TIMEOUT_MS - 1);
    cr_expect(eq(u64, open_count(), 1));
    rig_expect_nothing(rig, b);
    rig_step(rig, 11);
    const struct method *cancelled = rig_expect(rig, b, 1, METHOD_BASIC_CANCEL);
    cr_expect(bytes_equal_text(cancelled->basic_cancel.consumer_tag, "c"));
    cr_expect(eq(u64, open_count(), 0));
    cr_expect(eq(u64, ready_count(rig, "q"), 1));
    cr_expect(eq(u64, rig->core->counters.timed_out, 1));
    const struct posted *again = get_message(rig, a, "q", true);
    cr_expect(again->method.basic_get_ok.redelivered);
}

Test(ack_timeout, a_delivery_has_its_whole_time_though_its_millisecond_had_begun)
{
    rig->now.begun_ms = 1;
    rig_step(rig, 10);
    consume(rig, b, 1, "q", "c", false);
    publish_numbers(rig, a, "q", 1, 1);
    (void)expect_delivery(rig, b, "1");
    cancel(rig, b, "c");
    publish_numbers(rig, a, "q", 1, 1);
    (void)get_message(rig, a, "q", false);
    rig_step(rig, TIMEOUT_MS);
    cr_expect(eq(u64, open_count(), 2));
    rig_step(rig, 10);
    cr_expect(eq(u64, open_count(), 0));
}

/* A clock that goes on by a millisecond with every reading. */
static struct clock_reading
read_ticking_clock(void *context)
{
    struct rig *of = context;
    of->now.monotonic_ms++;
    return of->now;
}

/* The clock is read within the tick: what was handed out late in it has its whole time. */
Test(ack_timeout, a_delivery_of_a_long_tick_has_its_whole_time)
{
    enum { COUNT = 1000, STEPS = 64 }; /* deliveries that one reading stands for */
    publish_numbers(rig, a, "q", 1, COUNT);
    rig->core->ports.clock = (struct clock_source){.read = read_ticking_clock, .context = rig};
    uint64_t first_ms = rig->now.monotonic_ms;
    consume(rig, b, 1, "q", "c", false);
    for (int i = 0; i < 10; i++) {
        rig_turn(rig);
    }
    rig->core->ports.clock = (struct clock_source){0};
    cr_assert(eq(u64, open_count(), COUNT));
    uint64_t last_ms = rig->now.monotonic_ms;
    cr_expect(ge(u64, last_ms, first_ms + COUNT / STEPS));
    while (rig_next(rig, b) != NULL) {
    }
    cancel(rig, b, "c");
    rig->now.monotonic_ms = last_ms + TIMEOUT_MS - 5;
    rig_turn(rig);
    cr_expect(ge(u64, open_count(), 4 * STEPS), "those of the last milliseconds");
    rig_step(rig, 20);
    cr_expect(eq(u64, open_count(), 0));
}

Test(ack_timeout, who_settles_in_time_goes_on)
{
    consume(rig, b, 1, "q", "c", false);
    for (uint64_t tag = 1; tag <= 5; tag++) {
        publish_numbers(rig, a, "q", 1, 1);
        (void)expect_delivery(rig, b, "1");
        rig_step(rig, TIMEOUT_MS - 20);
        send_ack(rig, b, 1, tag, false);
    }
    rig_step(rig, 10 * TIMEOUT_MS);
    rig_expect_nothing(rig, b);
    cr_expect(eq(u64, rig->core->counters.timed_out, 0));
    cr_expect(eq(u64, core_wait_ms(rig->core), UINT64_MAX), "nothing is left to look at");
}

/* The client could not know; what it settles after that is looked at as ever. */
Test(ack_timeout, settling_too_late_is_no_error_once)
{
    consume(rig, b, 1, "q", "c", false);
    publish_numbers(rig, a, "q", 1, 1);
    (void)expect_delivery(rig, b, "1");
    rig_step(rig, TIMEOUT_MS + 10);
    (void)rig_expect(rig, b, 1, METHOD_BASIC_CANCEL);
    send_ack(rig, b, 1, 1, false);
    rig_expect_nothing(rig, b);
    cr_expect(eq(u64, ready_count(rig, "q"), 1), "it is not acknowledged");
    send_ack(rig, b, 1, 1, false);
    (void)rig_expect(rig, b, 1, METHOD_CHANNEL_CLOSE);
}

/* With `multiple`, the tags below it that are open are settled. */
Test(ack_timeout, settling_too_late_settles_what_came_before)
{
    consume_with_timeout(b, "patient", 0);
    publish_numbers(rig, a, "q", 1, 1);
    (void)expect_delivery(rig, b, "1");
    cancel(rig, b, "patient");
    consume(rig, b, 1, "q", "c", false);
    publish_numbers(rig, a, "q", 2, 2);
    (void)expect_delivery(rig, b, "2");
    rig_step(rig, TIMEOUT_MS + 10);
    (void)rig_expect(rig, b, 1, METHOD_BASIC_CANCEL);
    cr_expect(eq(u64, open_count(), 1), "the patient one holds its message");
    send_ack(rig, b, 1, 2, true);
    rig_expect_nothing(rig, b);
    cr_expect(eq(u64, open_count(), 0));
}

Test(ack_timeout, other_deliveries_of_the_consumer_have_their_own_time)
{
    consume(rig, b, 1, "q", "c", false);
    publish_numbers(rig, a, "q", 1, 1);
    rig_step(rig, TIMEOUT_MS / 2);
    publish_numbers(rig, a, "q", 2, 2);
    cr_assert_str_eq(deliveries(rig, b), "1 2");
    rig_step(rig, TIMEOUT_MS / 2 + 10);
    (void)rig_expect(rig, b, 1, METHOD_BASIC_CANCEL);
    cr_expect(eq(u64, open_count(), 1));
    send_ack(rig, b, 1, 2, false);
    rig_expect_nothing(rig, b);
    cr_expect(eq(u64, ready_count(rig, "q"), 1));
}

Test(ack_timeout, the_consumers_own_counts_before_the_queues)
{
    consume_with_timeout(b, "hasty", TIMEOUT_MS / 10);
    publish_numbers(rig, a, "q", 1, 1);
    (void)expect_delivery(rig, b, "1");
    rig_step(rig, TIMEOUT_MS / 10 + 10);
    (void)rig_expect(rig, b, 1, METHOD_BASIC_CANCEL);
    consume_with_timeout(a, "patient", 0);
    (void)expect_delivery(rig, a, "1");
    rig_step(rig, 100 * TIMEOUT_MS);
    rig_expect_nothing(rig, a);
}

/* basic.get has no consumer that could be cancelled. */
Test(ack_timeout, a_message_that_was_fetched_closes_the_channel)
{
    publish_numbers(rig, a, "q", 1, 2);
    (void)get_message(rig, b, "q", false);
    (void)get_message(rig, b, "q", false);
    rig_step(rig, TIMEOUT_MS + 10);
    rig_expect_channel_close(rig, b, 1, 406,
                             "delivery acknowledgement on channel 1 timed "
                             "out. Timeout value used: 1000 ms. It is set by x-consumer-timeout "
                             "of the consumer or the queue, or by a policy");
    cr_expect(eq(u64, open_count(), 0));
    cr_expect(eq(u64, ready_count(rig, "q"), 2));
}

Test(ack_timeout, a_client_that_hears_of_no_cancel_has_its_channel_closed)
{
    core_find_connection(rig->core, b)->capabilities = 0;
    consume(rig, b, 1, "q", "c", false);
    publish_numbers(rig, a, "q", 1, 1);
    (void)expect_delivery(rig, b, "1");
    rig_step(rig, TIMEOUT_MS + 10);
    (void)rig_expect(rig, b, 1, METHOD_CHANNEL_CLOSE);
    cr_expect(eq(u64, ready_count(rig, "q"), 1));
}

/* The one that stood by gets it, and no message behind it first. */
Test(ack_timeout, the_next_single_active_consumer_begins_with_what_came_back)
{
    struct buffer arguments;
    buffer_init(&arguments);
    table_put_integer(&arguments, "x-consumer-timeout", TIMEOUT_MS);
    table_put_boolean(&arguments, "x-single-active-consumer", true);
    struct queue_declare declare = {.queue = bytes_of("single"),
                                    .arguments = buffer_bytes(&arguments)};
    declare_queue_as(rig, a, &declare);
    buffer_fini(&arguments);
    set_prefetch(rig, b, 1, 1, false);
    consume(rig, b, 1, "single", "first", false);
    uint64_t c = messaging_client(rig);
    consume(rig, c, 1, "single", "second", false);
    publish_numbers(rig, a, "single", 1, 3);
    (void)expect_delivery(rig, b, "1");
    rig_step(rig, TIMEOUT_MS + 10);
    (void)rig_expect(rig, b, 1, METHOD_BASIC_CANCEL);
    cr_expect_str_eq(deliveries(rig, c), "1 2 3");
}

/* What a transaction has settled is not open; a rollback opens it again. */
Test(ack_timeout, a_rollback_opens_what_has_waited_too_long)
{
    struct method select = {.id = METHOD_TX_SELECT};
    rig_send(rig, b, 1, &select);
    (void)rig_expect(rig, b, 1, METHOD_TX_SELECT_OK);
    consume(rig, b, 1, "q", "c", false);
    publish_numbers(rig, a, "q", 1, 1);
    (void)expect_delivery(rig, b, "1");
    send_ack(rig, b, 1, 1, false);
    rig_step(rig, 2 * TIMEOUT_MS);
    rig_expect_nothing(rig, b);
    struct method rollback = {.id = METHOD_TX_ROLLBACK};
    rig_send(rig, b, 1, &rollback);
    (void)rig_expect(rig, b, 1, METHOD_TX_ROLLBACK_OK);
    rig_step(rig, 10);
    (void)rig_expect(rig, b, 1, METHOD_BASIC_CANCEL);
    cr_expect(eq(u64, ready_count(rig, "q"), 1));
}

/* Nothing follows channel.close but its answer: the rollback is answered first. */
Test(ack_timeout, a_rollback_is_answered_before_its_channel_is_closed)
{
    core_find_connection(rig->core, b)->capabilities = 0;
    struct method select = {.id = METHOD_TX_SELECT};
    rig_send(rig, b, 1, &select);
    (void)rig_expect(rig, b, 1, METHOD_TX_SELECT_OK);
    consume(rig, b, 1, "q", "c", false);
    publish_numbers(rig, a, "q", 1, 1);
    (void)expect_delivery(rig, b, "1");
    send_ack(rig, b, 1, 1, false);
    rig_step(rig, 2 * TIMEOUT_MS);
    struct method rollback = {.id = METHOD_TX_ROLLBACK};
    rig_send(rig, b, 1, &rollback);
    (void)rig_expect(rig, b, 1, METHOD_TX_ROLLBACK_OK);
    rig_step(rig, 10);
    (void)rig_expect(rig, b, 1, METHOD_CHANNEL_CLOSE);
    rig_expect_nothing(rig, b);
}

/* A timeout that is set while deliveries are open holds for them. */
Test(ack_timeout, a_change_of_the_queues_holds_for_what_is_open)
{
    declare_with_timeout("later", 0);
    consume(rig, b, 1, "later", "c", false);
    publish_numbers(rig, a, "later", 1, 1);
    (void)expect_delivery(rig, b, "1");
    rig_step(rig, 3 * TIMEOUT_MS);
    struct queue *queue = find_queue(rig, "later");
    uint32_t changed = 0;
    cr_assert(
        eq(int, queue_set_arguments(queue, find_queue(rig, "q")->arguments, &changed), STATUS_OK));
    cr_expect(eq(u32, changed, 1u << SETTING_CONSUMER_TIMEOUT));
    core_settings_changed(rig->core, queue, changed);
    rig_step(rig, 10);
    (void)rig_expect(rig, b, 1, METHOD_BASIC_CANCEL);
}

/* More than can be remembered: the last ones are. */
Test(ack_timeout, as_many_late_tags_are_forgiven_as_are_remembered)
{
    enum { COUNT = ACK_TIMEOUT_TAGS_MAX + 10 };
    consume(rig, b, 1, "q", "c", false);
    publish_numbers(rig, a, "q", 1, COUNT);
    rig_step(rig, TIMEOUT_MS + 10);
    rig_step(rig, TIMEOUT_MS);
    cr_expect(eq(u64, open_count(), 0));
    while (rig_next(rig, b) != NULL) {
    }
    for (uint64_t tag = 11; tag <= COUNT; tag++) {
        send_ack(rig, b, 1, tag, false);
    }
    rig_expect_nothing(rig, b);
    send_ack(rig, b, 1, 10, false);
    (void)rig_expect(rig, b, 1, METHOD_CHANNEL_CLOSE);
}
