/* SPDX-License-Identifier: Apache-2.0 */
#include "queues/clocks.h"

#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/assert.h"

/* What is left of a second after another one: e to the power of -1/10 and -1/60. */
static const double remainders[RATE_WINDOW_COUNT] = {0.9048374180359595, 0.9834714538216174};

static int64_t
now_of(const struct queue *queue)
{
    return queue->deque.memory == NULL ? 0 : queue->deque.memory->now_ms;
}

/* Levels --------------------------------------------------------------------------------------- */

/* Messages in one order: of the queue, or of one of its levels. */
struct order {
    struct arrival_marks *marks;
    uint64_t first; /* the position of the oldest in the deque */
    uint64_t end;   /* of the next that is pushed */
    uint64_t ready_count;
};

static struct order
order_in_front(const struct queue *queue)
{
    return (struct order){
        .marks = &queue->clocks->marks,
        .first = queue_deque_position(queue),
        .end = queue->next_position,
        .ready_count = queue_deque_living(queue),
    };
}

static unsigned
order_count(const struct queue *queue)
{
    return queue->levels == NULL ? 1 : (unsigned)queue->level_max + 1;
}

static struct order
order_at(const struct queue *queue, unsigned at)
{
    if (queue->levels == NULL || at == queue_front_level(queue)) {
        return order_in_front(queue);
    }
    struct queue_level *level = &queue->levels->of[at];
    return (struct order){
        .marks = &level->marks,
        .first = queue_first_position_of(queue, position_of_level((uint8_t)at)),
        .end = level->next_position,
        .ready_count = level->ready_count,
    };
}

static struct arrival_marks *
marks_of(const struct queue *queue, uint64_t position)
{
    uint8_t level = position_level(position);
    bool is_in_front = queue->levels == NULL || level == queue_front_level(queue);
    return is_in_front ? &queue->clocks->marks : &queue->levels->of[level].marks;
}

/* Arrival -------------------------------------------------------------------------------------- */

uint64_t
queue_arrival_ms(const struct queue *queue, uint64_t position)
{
    assert(queue->clocks != NULL);
    return (uint64_t)arrival_marks_ms(marks_of(queue, position), position);
}

/* Call with what the marks took before they were changed. */
static void
count_memory(struct queue *queue, const struct arrival_marks *marks, size_t before)
{
    size_t after = arrival_marks_bytes(marks);
    if (after != before) {
        entry_deque_count_memory(&queue->deque, before, after);
    }
}

void
queue_clocks_on_new_time(struct queue *queue, uint64_t position)
{
    int64_t now_ms = now_of(queue);
    if (queue->clocks == NULL) {
        queue->clocks = xalloc(sizeof(*queue->clocks));
        queue->clocks->began_ms = now_ms < 0 ? 0 : now_ms; /* some came before the broker began */
    } else if (now_ms - queue->clocks->began_ms >= RATE_STEP_MS) {
        queue_clocks_touch(queue);
    }
    struct arrival_marks *marks = &queue->clocks->marks;
    size_t before = arrival_marks_bytes(marks);
    arrival_marks_note(marks, position, now_ms);
    count_memory(queue, marks, before);
}

void
queue_clocks_on_gone_elsewhere(struct queue *queue, uint64_t position)
{
    struct arrival_marks *marks = marks_of(queue, position);
    size_t before = arrival_marks_bytes(marks);
    arrival_marks_take(marks, position);
    count_memory(queue, marks, before);
}

void
queue_clocks_on_back(struct queue *queue, uint64_t position)
{
    struct arrival_marks *marks = marks_of(queue, position);
    size_t before = arrival_marks_bytes(marks);
    arrival_marks_bring_back(marks, position);
    count_memory(queue, marks, before);
}

void
queue_clocks_on_lost(struct queue *queue, uint64_t count)
{
    arrival_marks_lose(&queue->clocks->marks, queue_deque_position(queue), count);
}

/* What is there and not in the deque is lent. */
static void
purge_order(struct queue *queue, const struct order *order)
{
    int64_t lent = arrival_marks_living(order->marks, order->end) - (int64_t)order->ready_count;
    size_t before = arrival_marks_bytes(order->marks);
    arrival_marks_purge(order->marks, order->first, order->end, (uint64_t)lent);
    count_memory(queue, order->marks, before);
}

void
queue_clocks_on_purged(struct queue *queue)
{
    for (unsigned i = 0; queue->clocks != NULL && i < order_count(queue); i++) {
        struct order order = order_at(queue, i);
        if (order.marks->newest.position != 0) {
            purge_order(queue, &order);
        }
    }
}

void
queue_forget_clocks(struct queue *queue)
{
    if (queue->clocks == NULL) {
        return;
    }
    for (unsigned i = 0; i < order_count(queue); i++) {
        struct arrival_marks *marks = order_at(queue, i).marks;
        size_t before = arrival_marks_bytes(marks);
        arrival_marks_fini(marks);
        count_memory(queue, marks, before);
    }
    free(queue->clocks->activity);
    free(queue->clocks);
    queue->clocks = NULL;
}

/* Rates ---------------------------------------------------------------------------------------- */

static struct queue_activity *
activity_of(struct queue_clocks *clocks)
{
    if (clocks->activity == NULL) {
        clocks->activity = xalloc(sizeof(*clocks->activity));
        clocks->activity->folded_ms = clocks->began_ms;
    }
    return clocks->activity;
}

static uint64_t
count_waits(const struct queue_activity *activity)
{
    uint64_t count = 0;
    for (int i = 0; i < WAIT_BUCKET_COUNT; i++) {
        count += activity->waits[i];
    }
    return count;
}

static void
read_counters(const struct queue *queue, uint64_t counters_out[static EVENT_COUNT])
{
    counters_out[EVENT_ARRIVED] = queue->published_count;
    counters_out[EVENT_SERVED] = count_waits(queue->clocks->activity);
    counters_out[EVENT_DELIVERED] = queue->delivered_count;
    counters_out[EVENT_REDELIVERED] = queue->redelivered_count;
    for (int i = 0; i < DEATH_REASON_COUNT; i++) {
        counters_out[EVENT_DIED + i] = queue->dying == NULL ? 0 : queue->dying->died_count[i];
    }
    counters_out[EVENT_SERVED] += counters_out[EVENT_DIED + DEATH_REJECTED];
}

/* `base` to the power of `exponent`; beyond some thousand nothing is left of it. */
static double
power(double base, int64_t exponent)
{
    enum { EXPONENT_MAX = 1 << 14 };
    double result = 1;
    for (int64_t left = exponent < EXPONENT_MAX ? exponent : EXPONENT_MAX; left > 0; left /= 2) {
        result *= left % 2 != 0 ? base : 1;
        base *= base;
    }
    return result;
}

/* Whatever happens when a second is over comes here first: so what is new since the last time
 * happened in the second after it, and nothing in those that followed. */
void
queue_clocks_fold(struct queue *queue)
{
    struct queue_activity *activity = activity_of(queue->clocks);
    int64_t seconds = (now_of(queue) - activity->folded_ms) / RATE_STEP_MS;
    if (seconds <= 0) {
        return;
    }
    uint64_t counters[EVENT_COUNT];
    read_counters(queue, counters);
    for (int window = 0; window < RATE_WINDOW_COUNT; window++) {
        double remainder = remainders[window];
        double idle = power(remainder, seconds - 1);
        for (int i = 0; i < EVENT_COUNT; i++) {
            double *rate = &activity->rates[window][i];
            double happened = (double)(counters[i] - activity->known[i]);
            *rate = (*rate * remainder + happened * (1 - remainder)) * idle;
        }
    }
    memcpy(activity->known, counters, sizeof(counters));
    activity->folded_ms += seconds * RATE_STEP_MS;
}

void
queue_clocks_on_served(struct queue *queue, uint64_t position)
{
    queue_clocks_touch(queue);
    struct queue_activity *activity = activity_of(queue->clocks);
    struct arrival_marks *marks = marks_of(queue, position);
    size_t before = arrival_marks_bytes(marks);
    int64_t waited_ms = now_of(queue) - arrival_mark_ms(arrival_marks_find(marks, position));
    count_memory(queue, marks, before);
    uint64_t wait_ms = waited_ms < 0 ? 0 : (uint64_t)waited_ms;
    int bucket = 63 - __builtin_clzll(wait_ms << 1 | 1);
    activity->waits[bucket < WAIT_BUCKET_COUNT ? bucket : WAIT_BUCKET_COUNT - 1]++;
    activity->wait_sum_ms += wait_ms;
}

/* Reading -------------------------------------------------------------------------------------- */

/* How old a message is that came at `ms`. */
static uint64_t
age_of(const struct queue *queue, int64_t ms)
{
    int64_t age_ms = now_of(queue) - ms;
    return age_ms < 0 ? 0 : (uint64_t)age_ms;
}

static int64_t
earlier(int64_t a_ms, int64_t b_ms)
{
    return a_ms < b_ms ? a_ms : b_ms;
}

/* When the oldest message that is ready came. In a quorum queue what came back comes in another
 * order than that of positions, and levels are in none. */
static int64_t
oldest_ready_ms(struct queue *queue)
{
    int64_t oldest_ms = (int64_t)queue_arrival_ms(queue, queue_head_position(queue));
    bool is_ordered = queue->settings->type != QUEUE_TYPE_QUORUM && queue->levels == NULL;
    for (uint32_t i = 0; i < queue->returned_count && !is_ordered; i++) {
        if (queue_returned_entry(queue, i) != NULL) {
            uint64_t position = queue_returned_position(queue, i);
            oldest_ms = earlier(oldest_ms, (int64_t)queue_arrival_ms(queue, position));
        }
    }
    for (unsigned i = 0; queue->levels != NULL && i < order_count(queue); i++) {
        struct order order = order_at(queue, i);
        if (order.ready_count > 0) {
            oldest_ms = earlier(oldest_ms, arrival_marks_ms(order.marks, order.first));
        }
    }
    return oldest_ms;
}

/* How many returned messages each mark of the order counts, and how many that is. NULL: none has
 * come back, or there is no memory, and they are taken for lent ones. Owned by the caller. */
static uint32_t *
count_returned(struct queue *queue, const struct order *order, uint32_t *returned_count_out)
{
    *returned_count_out = 0;
    if (queue->returned_count == 0) {
        return NULL;
    }
    size_t size = (order->marks->older_count + 1) * sizeof(uint32_t);
    uint32_t *counts = try_alloc(size);
    if (counts == NULL) {
        return NULL;
    }
    memset(counts, 0, size);
    for (uint32_t i = 0; i < queue->returned_count; i++) {
        uint64_t position = queue_returned_position(queue, i);
        if (marks_of(queue, position) == order->marks && queue_returned_entry(queue, i) != NULL) {
            counts[arrival_marks_place(order->marks, position)]++;
            (*returned_count_out)++;
        }
    }
    return counts;
}

/* The mark of the oldest message of the order that is lent: the first in front of the deque that
 * counts more messages than came back. Where the deque begins within a mark, it is the only one
 * left. NULL: none is lent. */
static const struct arrival_mark *
find_oldest_lent(struct queue *queue, const struct order *order)
{
    uint32_t returned_count;
    uint32_t *returned = count_returned(queue, order, &returned_count);
    int64_t lent_count = arrival_marks_living(order->marks, order->end) -
                         (int64_t)order->ready_count - returned_count;
    const struct arrival_mark *mark = NULL;
    uint64_t end;
    uint32_t at = 0;
    while (lent_count > 0 && (mark = arrival_marks_next(order->marks, &at, &end)) != NULL &&
           end <= order->first) {
        int64_t living = (int64_t)(end - mark->position) - mark->gone_count;
        if (living > (returned == NULL ? 0 : (int64_t)returned[at - 1])) {
            break;
        }
    }
    free(returned);
    return mark;
}

static int64_t
oldest_lent_ms(struct queue *queue)
{
    int64_t oldest_ms = INT64_MAX;
    for (unsigned i = 0; i < order_count(queue); i++) {
        struct order order = order_at(queue, i);
        const struct arrival_mark *mark = find_oldest_lent(queue, &order);
        oldest_ms = mark == NULL ? oldest_ms : earlier(oldest_ms, arrival_mark_ms(mark));
    }
    return oldest_ms;
}

static double
part_of(double part, double whole)
{
    return whole > 0 ? part / whole : 0;
}

static uint64_t
time_to_drain(const struct queue *queue, const struct queue_rates *rates)
{
    if (queue->ready_count == 0) {
        return 0;
    }
    double surplus = rates->served - rates->arrived;
    double ms = surplus > 0 ? (double)queue->ready_count / surplus * 1000 : -1;
    return ms >= 0 && ms < (double)INT64_MAX ? (uint64_t)ms : NEVER_MS;
}

/* A young queue has no past that was idle: what it has counts for what is missing. */
static void
read_rates(const struct queue *queue, enum rate_window window, struct queue_rates *rates_out)
{
    const struct queue_clocks *clocks = queue->clocks;
    const struct queue_activity *activity = clocks->activity;
    const double *rates = activity->rates[window];
    int64_t seconds = (activity->folded_ms - clocks->began_ms) / RATE_STEP_MS;
    double weight = seconds > 0 ? 1 - power(remainders[window], seconds) : 1;
    *rates_out = (struct queue_rates){
        .arrived = rates[EVENT_ARRIVED] / weight,
        .served = rates[EVENT_SERVED] / weight,
        .retried_part = part_of(rates[EVENT_REDELIVERED], rates[EVENT_DELIVERED]),
    };
    for (int i = 0; i < DEATH_REASON_COUNT; i++) {
        rates_out->died[i] = rates[EVENT_DIED + i] / weight;
    }
    rates_out->drained_ms = time_to_drain(queue, rates_out);
}

static void
read_activity(const struct queue *queue, struct queue_clock_reading *reading)
{
    const struct queue_activity *activity = queue->clocks->activity;
    for (int window = 0; window < RATE_WINDOW_COUNT; window++) {
        read_rates(queue, (enum rate_window)window, &reading->rates[window]);
    }
    memcpy(reading->waits, activity->waits, sizeof(activity->waits));
    reading->wait_count = count_waits(activity);
    reading->wait_sum_ms = activity->wait_sum_ms;
    for (int i = 0; i < DEATH_REASON_COUNT && queue->dying != NULL; i++) {
        reading->died[i] = queue->dying->died_count[i];
    }
}

void
queue_read_clocks(struct queue *queue, struct queue_clock_reading *reading_out)
{
    struct queue_clock_reading reading = {.oldest_ready_ms = NEVER_MS,
                                          .oldest_unacked_ms = NEVER_MS};
    if (queue->clocks != NULL) {
        queue_clocks_fold(queue);
        read_activity(queue, &reading);
    }
    if (queue->ready_count > 0) {
        reading.oldest_ready_ms = age_of(queue, oldest_ready_ms(queue));
    }
    if (queue->unacked_count > 0) {
        reading.oldest_unacked_ms = age_of(queue, oldest_lent_ms(queue));
    }
    *reading_out = reading;
}

/* Checking ------------------------------------------------------------------------------------- */

uint64_t
queue_check_clocks(const struct queue *queue)
{
    if (queue->clocks == NULL) {
        assert(queue->ready_count == 0);
        assert(queue->unacked_count == 0);
        return 0;
    }
    int64_t living = 0;
    uint64_t bytes = 0;
    for (unsigned i = 0; i < order_count(queue); i++) {
        struct order order = order_at(queue, i);
        living += arrival_marks_check(order.marks, order.end);
        bytes += arrival_marks_bytes(order.marks);
    }
    assert(living == (int64_t)(queue->ready_count + queue->unacked_count));
    return bytes;
}
