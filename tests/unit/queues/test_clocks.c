/* SPDX-License-Identifier: Apache-2.0 */
/* What a queue knows of time, on a clock that the test steps. */
#include "queues/clocks.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <inttypes.h>

#include "queues/expiry.h"
#include "tests/support/alloc_faults.h"

enum { LENT_MAX = 64 };

static struct queue *queue;
static struct entry_memory memory;
static struct queue_clock_reading reading;
static struct {
    struct queue_entry entry;
    uint64_t position;
} lent[LENT_MAX];
static int lent_count;

static void
make_queue(struct bytes arguments)
{
    queue = queue_new(1, &(struct queue_properties){.name = bytes_of("q"), .arguments = arguments});
    queue_count_memory(queue, &memory);
}

static void
set_up(void)
{
    entry_memory_init(&memory);
    memory.now_ms = 10;
    lent_count = 0;
    make_queue(bytes_make(NULL, 0));
}

static void
release_nothing(void *context, uint64_t queue_id, const struct queue_entry *entry)
{
    (void)context;
    (void)queue_id;
    (void)entry;
}

static void
purge(void)
{
    struct queue_discards discards;
    queue_discards_init(&discards);
    discards.release = release_nothing;
    (void)queue_purge(queue, &discards);
    queue_discards_fini(&discards);
}

static void
tear_down(void)
{
    queue_check(queue);
    while (lent_count > 0) {
        lent_count--;
        queue_settle(queue, &lent[lent_count].entry, lent[lent_count].position);
    }
    purge();
    queue_unref(&queue);
    cr_expect(eq(u64, memory.bytes, 0));
}

TestSuite(clocks, .init = set_up, .fini = tear_down);

static void
step(int64_t ms)
{
    memory.now_ms += ms;
}

static void
push(int count)
{
    struct queue_entry entry = {.size = 1};
    for (int i = 0; i < count; i++) {
        cr_assert(eq(int, queue_push(queue, &entry), STATUS_OK));
        queue->clocks->published_count++;
    }
}

/* Lends the next message to slot `lent_count`. */
static void
lend(void)
{
    cr_assert(lt(int, lent_count, LENT_MAX));
    cr_assert(
        eq(int, queue_lend(queue, &lent[lent_count].entry, &lent[lent_count].position), STATUS_OK));
    queue->clocks->delivered_counts[DELIVERY_CONSUMED]++;
    bool is_again = (queue_entry_flags(&lent[lent_count].entry) & ENTRY_REDELIVERED) != 0;
    queue->clocks->redelivered_count += is_again ? 1 : 0;
    lent_count++;
}

static void
forget_lent(int at)
{
    for (int i = at; i + 1 < lent_count; i++) {
        lent[i] = lent[i + 1];
    }
    lent_count--;
}

static void
acknowledge(int at)
{
    queue_clocks_on_served(queue, lent[at].position);
    queue_settle(queue, &lent[at].entry, lent[at].position);
    forget_lent(at);
}

static void
give_back(int at)
{
    queue_clocks_touch(queue);
    queue_return(queue, &lent[at].entry, lent[at].position);
    forget_lent(at);
}

static void
read_clocks(void)
{
    queue_check(queue);
    queue_read_clocks(queue, &reading);
}

/* Whether `rate` is about `expected`. */
static bool
is_about(double rate, double expected)
{
    return rate > expected * 0.98 - 0.001 && rate < expected * 1.02 + 0.001;
}

/* Ages ----------------------------------------------------------------------------------------- */

/* Nothing has ever come: there is no age, no rate and nothing to drain. */
Test(clocks, an_empty_queue_has_no_ages)
{
    read_clocks();
    cr_expect(eq(u64, reading.oldest_ready_ms, NEVER_MS));
    cr_expect(eq(u64, reading.oldest_unacked_ms, NEVER_MS));
    cr_expect(eq(u64, reading.wait_count, 0));
    cr_expect(eq(u64, reading.rates[RATE_10_S].drained_ms, 0));
}

/* The oldest ready message is the one that came first, though it was away in between. */
Test(clocks, what_is_returned_keeps_its_age)
{
    push(1);
    step(500);
    push(1);
    step(100);
    lend();
    read_clocks();
    cr_expect(eq(u64, reading.oldest_ready_ms, 100));
    cr_expect(eq(u64, reading.oldest_unacked_ms, 600));
    give_back(0);
    step(5);
    read_clocks();
    cr_expect(eq(u64, reading.oldest_ready_ms, 605));
    cr_expect(eq(u64, reading.oldest_unacked_ms, NEVER_MS));
}

/* One consumer holds a message for an hour while others are served: it stays the oldest one. */
Test(clocks, the_oldest_that_is_lent_is_found_among_many)
{
    push(1);
    step(7);
    lend();
    for (int i = 0; i < 20000; i++, step(3)) {
        push(1);
        lend();
        acknowledge(1);
    }
    push(1);
    lend();
    give_back(1);
    read_clocks();
    cr_expect(eq(u64, reading.oldest_unacked_ms, 60007));
    cr_expect(eq(u64, reading.oldest_ready_ms, 0));
    acknowledge(0);
    read_clocks();
    cr_expect(eq(u64, reading.oldest_unacked_ms, NEVER_MS));
}

/* Messages that came back stand in front of the one that is lent, and are not taken for it. */
Test(clocks, what_came_back_is_not_taken_for_what_is_lent)
{
    for (int i = 0; i < 5; i++, step(100)) {
        push(1);
        lend();
    }
    give_back(0);
    give_back(0);
    read_clocks();
    cr_expect(eq(u64, reading.oldest_unacked_ms, 300));
    cr_expect(eq(u64, reading.oldest_ready_ms, 500));
}

/* In a quorum queue the first to be delivered again need not be the oldest. */
Test(clocks, the_oldest_in_a_quorum_queue_is_not_the_next)
{
    static const uint8_t arguments[] = "\x0cx-queue-typeS\0\0\0\6quorum";
    queue_unref(&queue);
    make_queue(bytes_make(arguments, sizeof(arguments) - 1));
    for (int i = 0; i < 3; i++, step(100)) {
        push(1);
        lend();
    }
    give_back(2);
    give_back(0);
    read_clocks();
    cr_expect(eq(u64, reading.oldest_ready_ms, 300));
    cr_expect(eq(u64, reading.oldest_unacked_ms, 200));
}

/* A purge leaves what is lent; an expired message in the middle is gone. */
Test(clocks, what_was_purged_or_has_expired_has_no_age)
{
    struct queue_entry entry = {.size = 1};
    uint64_t position;
    push(2);
    lend();
    step(100);
    cr_assert(eq(int, queue_push_until(queue, &entry, 150), STATUS_OK));
    step(100);
    cr_assert(eq(int, queue_take_expired(queue, 200, &entry, &position), STATUS_OK));
    read_clocks();
    cr_expect(eq(u64, reading.oldest_ready_ms, 200));
    purge();
    read_clocks();
    cr_expect(eq(u64, reading.oldest_ready_ms, NEVER_MS));
    cr_expect(eq(u64, reading.oldest_unacked_ms, 200));
}

/* Waiting -------------------------------------------------------------------------------------- */

/* From the arrival to the acknowledgement, in buckets of a factor two. */
Test(clocks, waiting_times_are_counted_in_buckets)
{
    static const struct {
        int64_t wait_ms;
        int bucket;
    } rows[] = {{0, 0}, {1, 1}, {2, 2}, {3, 2}, {4, 3}, {1000, 10}, {1024, 11}, {60000, 16}};

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        uint64_t before = 0;
        read_clocks();
        before = reading.waits.counts[rows[i].bucket];
        push(1);
        step(rows[i].wait_ms);
        lend();
        acknowledge(0);
        read_clocks();
        cr_expect(eq(u64, reading.waits.counts[rows[i].bucket], before + 1), "%" PRId64 " ms",
                  rows[i].wait_ms);
    }
    cr_expect(eq(u64, reading.wait_count, ARRAY_LEN(rows)));
    cr_expect(eq(u64, reading.waits.sum_ms, 62034));
}

/* No wait is too long to be counted. */
Test(clocks, the_last_bucket_has_no_end)
{
    memory.now_ms = -INT64_C(10) * 366 * 24 * 3600 * 1000;
    push(1);
    memory.now_ms = 10;
    lend();
    acknowledge(0);
    read_clocks();
    cr_expect(eq(u64, reading.waits.counts[WAIT_BUCKET_COUNT - 1], 1));
}

/* Into a queue with priorities. */
static void
push_at(uint8_t level)
{
    struct queue_entry entry = {.size = 1};
    cr_assert(eq(int, queue_reserve(queue, level), STATUS_OK));
    queue_turn_to_level(queue, level);
    cr_assert(eq(int, queue_push(queue, &entry), STATUS_OK));
    queue_serve_highest(queue);
}

/* One that was served says nothing of those of other levels, though they are served at the same
 * moment. */
Test(clocks, each_level_has_its_own_waiting_times)
{
    static const uint8_t arguments[] = "\x0ex-max-priorityI\0\0\0\5";
    queue_unref(&queue);
    make_queue(bytes_make(arguments, sizeof(arguments) - 1));
    push_at(1);
    step(400);
    push_at(3);
    step(100);
    lend();
    lend();
    acknowledge(0);
    acknowledge(0);
    read_clocks();
    cr_expect(eq(u64, reading.waits.sum_ms, 600));
    cr_expect(eq(u64, reading.waits.counts[7], 1));
    cr_expect(eq(u64, reading.waits.counts[9], 1));
}

/* Rates ---------------------------------------------------------------------------------------- */

/* So many come in each of `seconds`, and so many are served. */
static void
flow(int seconds, int arrived, int served)
{
    for (int i = 0; i < seconds; i++) {
        push(arrived);
        for (int j = 0; j < served; j++) {
            lend();
            acknowledge(0);
        }
        step(1000);
    }
}

/* A steady flow has its rate from the first second on, over both windows. */
Test(clocks, a_steady_flow_has_its_rate)
{
    for (int i = 0; i < 10; i++) {
        flow(i == 0 ? 1 : 30, 10, 5);
        read_clocks();
        for (int window = 0; window < RATE_WINDOW_COUNT; window++) {
            cr_expect(is_about(reading.rates[window].arrived, 10), "%f",
                      reading.rates[window].arrived);
            cr_expect(is_about(reading.rates[window].served, 5));
        }
    }
}

/* 2,500 are ready when 10 came and 5 went: it never ends. With 60 served and 10 coming, 50 a second
 * go. */
Test(clocks, the_time_to_drain_follows_from_the_rates)
{
    flow(500, 10, 5);
    read_clocks();
    cr_expect(eq(u64, queue->ready_count, 2500));
    cr_expect(eq(u64, reading.rates[RATE_10_S].drained_ms, NEVER_MS));
    flow(40, 10, 60);
    read_clocks();
    cr_expect(eq(u64, queue->ready_count, 500));
    cr_expect(lt(u64, 9900, reading.rates[RATE_10_S].drained_ms));
    cr_expect(lt(u64, reading.rates[RATE_10_S].drained_ms, 11000));
    flow(10, 10, 60);
    read_clocks();
    cr_expect(eq(u64, reading.rates[RATE_10_S].drained_ms, 0));
}

/* e to the power of -1 is left after as long as the window. A queue that nobody touches needs no
 * help to forget. */
Test(clocks, a_burst_is_forgotten)
{
    flow(1, 1, 0);
    flow(600, 0, 0);
    flow(1, 1000, 0);
    step(9000);
    read_clocks();
    cr_expect(is_about(reading.rates[RATE_10_S].arrived, 1000 * (1 - 0.904837) * 0.40657), "%f",
              reading.rates[RATE_10_S].arrived);
    step(51000);
    read_clocks();
    cr_expect(is_about(reading.rates[RATE_1_MIN].arrived, 1000 * (1 - 0.983471) * 0.37406));
    step(INT64_C(3600) * 1000 * 24);
    read_clocks();
    cr_expect(is_about(reading.rates[RATE_1_MIN].arrived, 0));
}

/* After an hour in which nobody asked, what was consumed in the last seconds counts as just that.
 */
Test(clocks, a_queue_that_is_only_consumed_keeps_its_rates_up_to_date)
{
    push(1000);
    step(3600 * 1000);
    flow(100, 0, 7);
    read_clocks();
    cr_expect(is_about(reading.rates[RATE_10_S].served, 7), "%f", reading.rates[RATE_10_S].served);
    cr_expect(is_about(reading.rates[RATE_10_S].arrived, 0));
}

/* Each is delivered twice: half of the deliveries are repeated ones. */
Test(clocks, the_retried_part_is_that_of_deliveries)
{
    for (int i = 0; i < 100; i++, step(1000)) {
        push(1);
        lend();
        give_back(0);
        lend();
        acknowledge(0);
    }
    read_clocks();
    cr_expect(is_about(reading.rates[RATE_10_S].retried_part, 0.5));
}

/* By what they died of; a rejected message was served as well. */
Test(clocks, deaths_have_rates_by_reason)
{
    for (int i = 0; i < 100; i++, step(1000)) {
        push(2);
        queue_clocks_touch(queue);
        cr_assert(eq(int, queue_reserve_dying(queue, 0), STATUS_OK));
        queue->dying->died_count[DEATH_REJECTED]++;
        queue->dying->died_count[DEATH_MAXLEN] += 2;
    }
    read_clocks();
    cr_expect(is_about(reading.rates[RATE_1_MIN].died[DEATH_REJECTED], 1));
    cr_expect(is_about(reading.rates[RATE_1_MIN].died[DEATH_MAXLEN], 2));
    cr_expect(is_about(reading.rates[RATE_1_MIN].died[DEATH_EXPIRED], 0));
    cr_expect(is_about(reading.rates[RATE_1_MIN].served, 1));
    cr_expect(eq(u64, reading.died[DEATH_MAXLEN], 200));
}

/* A message that is published and waits is counted before any has come. The first that comes then
 * has its time, even if that is the one that a table of marks without messages begins with. */
Test(clocks, are_there_for_what_is_published_and_has_not_come)
{
    memory.now_ms = 0;
    cr_assert(eq(int, queue_make_clocks(queue), STATUS_OK));
    queue->clocks->published_count++;
    queue_check(queue);
    read_clocks();
    cr_expect(eq(u64, reading.oldest_ready_ms, NEVER_MS));
    push(1);
    memory.now_ms = 70;
    read_clocks();
    cr_expect(eq(u64, reading.oldest_ready_ms, 70));
    cr_expect(eq(u64, queue->clocks->published_count, 2));
}

/* Memory --------------------------------------------------------------------------------------- */

/* A message can be refused, or there is room for it and for what is known of its time. */
Test(clocks, without_memory_for_them_no_message_comes)
{
    struct queue_entry entry = {.size = 1};
    alloc_faults_plan(1);
    cr_expect(eq(int, queue_push(queue, &entry), STATUS_NO_MEMORY));
    cr_expect(eq(u64, queue->ready_count, 0));
    queue_check(queue);
    alloc_faults_plan(1);
    cr_expect(eq(int, queue_reserve(queue, 0), STATUS_NO_MEMORY));
    cr_assert(eq(int, queue_reserve(queue, 0), STATUS_OK));
    alloc_faults_plan(1);
    cr_expect(eq(int, queue_push(queue, &entry), STATUS_OK));
    alloc_faults_plan(0);
    entry_memory_free_spares(&memory);
    queue_check(queue);
}

/* Statistics are no reason to end a broker: what happens while there is no memory for them is left
 * out, and they begin as soon as there is. */
Test(clocks, without_memory_for_rates_nothing_is_counted_until_there_is)
{
    push(3);
    for (int i = 0; i < 3; i++) {
        lend();
    }
    step(40);
    alloc_faults_plan(1);
    acknowledge(0);
    cr_expect(eq(u32, alloc_faults_left(), 0));
    cr_expect(zero(ptr, queue->clocks->activity));
    alloc_faults_plan(1);
    read_clocks();
    cr_expect(eq(u64, reading.oldest_unacked_ms, 40));
    cr_expect(eq(u64, reading.wait_count, 0));
    acknowledge(0);
    acknowledge(0);
    read_clocks();
    cr_expect(eq(u64, reading.wait_count, 2));
    cr_expect(eq(u64, reading.waits.sum_ms, 80));
}
