/* SPDX-License-Identifier: Apache-2.0 */
/* The clocks of a queue, as clients move them. */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#include "amqp/table.h"
#include "broker/upkeep/queue_clocks.h"
#include "tests/unit/broker/messaging.h"

static struct rig *rig;
static uint64_t a;
static struct queue_clock_reading reading;

static void
set_up(void)
{
    rig = messaging_rig(NULL);
    a = messaging_client(rig);
    declare_queue(rig, a, "q");
}

static void
tear_down(void)
{
    rig_free(&rig);
}

TestSuite(queue_clocks, .init = set_up, .fini = tear_down);

static void
read_clocks(void)
{
    core_read_queue_clocks(rig->core, find_queue(rig, "q"), &reading);
}

/* The example of docs/queue-clocks.md, line by line. */
Test(queue_clocks, follow_a_message)
{
    publish_text(rig, a, "q", "one");
    read_clocks();
    cr_expect(eq(u64, reading.oldest_ready_ms, 0));
    cr_expect(eq(u64, reading.oldest_unacked_ms, NEVER_MS));
    rig_step(rig, 300);
    read_clocks();
    cr_expect(eq(u64, reading.oldest_ready_ms, 300));
    cr_expect(eq(u64, reading.oldest_unacked_ms, NEVER_MS));
    consume(rig, a, 1, "q", "c", false);
    (void)expect_delivery(rig, a, "one");
    read_clocks();
    cr_expect(eq(u64, reading.oldest_ready_ms, NEVER_MS));
    cr_expect(eq(u64, reading.oldest_unacked_ms, 300));
    rig_step(rig, 700);
    read_clocks();
    cr_expect(eq(u64, reading.oldest_ready_ms, NEVER_MS));
    cr_expect(eq(u64, reading.oldest_unacked_ms, 1000));
    send_ack(rig, a, 1, 1, false);
    read_clocks();
    cr_expect(eq(u64, reading.oldest_unacked_ms, NEVER_MS));
    cr_expect(eq(u64, reading.wait_count, 1));
    cr_expect(eq(u64, reading.waits.sum_ms, 1000));
    cr_expect(eq(u64, reading.waits.counts[10], 1));
}

/* What is delivered without acknowledgement has waited until it was delivered. */
Test(queue_clocks, count_deliveries_for_good)
{
    publish_text(rig, a, "q", "one");
    publish_text(rig, a, "q", "two");
    rig_step(rig, 50);
    (void)get_message(rig, a, "q", true);
    consume(rig, a, 1, "q", "c", true);
    read_clocks();
    cr_expect(eq(u64, reading.wait_count, 2));
    cr_expect(eq(u64, reading.waits.sum_ms, 100));
}

/* A client that returns every message: all deliveries but the first are repeated ones. */
Test(queue_clocks, tell_how_many_deliveries_are_repeated)
{
    publish_text(rig, a, "q", "one");
    for (int i = 0; i < 100; i++) {
        (void)get_message(rig, a, "q", false);
        send_nack(rig, a, 1, (uint64_t)i + 1, false, true);
        rig_step(rig, 1000);
    }
    read_clocks();
    cr_expect(lt(dbl, 0.99, reading.rates[RATE_10_S].retried_part));
    cr_expect(eq(u64, reading.wait_count, 0));
    cr_expect(eq(u64, reading.oldest_ready_ms, 100000));
}

/* Messages that are overdue are no longer ready when the clocks are read. */
Test(queue_clocks, do_not_know_what_is_overdue)
{
    struct buffer arguments;
    buffer_init(&arguments);
    table_put_integer(&arguments, "x-message-ttl", 100);
    struct queue_declare declare = {.queue = bytes_of("short"),
                                    .arguments = buffer_bytes(&arguments)};
    declare_queue_as(rig, a, &declare);
    buffer_fini(&arguments);
    publish_text(rig, a, "short", "one");
    rig->now.monotonic_ms += 500;
    core_begin_tick(rig->core, rig->now);
    core_read_queue_clocks(rig->core, find_queue(rig, "short"), &reading);
    cr_expect(eq(u64, reading.oldest_ready_ms, NEVER_MS));
    cr_expect(eq(u64, reading.died[DEATH_EXPIRED], 1));
}

/* Rejected, as many as were acknowledged: both were served. */
Test(queue_clocks, tell_what_dies)
{
    for (int i = 0; i < 60; i++) {
        publish_numbers(rig, a, "q", 1, 2);
        (void)get_message(rig, a, "q", false);
        (void)get_message(rig, a, "q", false);
        send_ack(rig, a, 1, (uint64_t)i * 2 + 1, false);
        send_nack(rig, a, 1, (uint64_t)i * 2 + 2, false, false);
        rig_step(rig, 1000);
    }
    read_clocks();
    cr_expect(eq(u64, reading.died[DEATH_REJECTED], 60));
    for (int window = 0; window < RATE_WINDOW_COUNT; window++) {
        cr_expect(epsilon_eq(dbl, reading.rates[window].died[DEATH_REJECTED], 1, 0.05));
        cr_expect(epsilon_eq(dbl, reading.rates[window].arrived, 2, 0.05));
        cr_expect(epsilon_eq(dbl, reading.rates[window].served, 2, 0.05));
    }
}
