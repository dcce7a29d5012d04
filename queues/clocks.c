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

/* Arrival -------------------------------------------------------------------------------------- */

/* Each level has marks of its own, once there are several. */
static struct arrival_marks *
marks_of(const struct queue *queue, uint64_t position)
{
    assert(queue->clocks != NULL);
    return queue->levels == NULL ? &queue->clocks->marks
                                 : &queue->levels->of[position_level(position)].marks;
}

uint64_t
queue_arrival_ms(const struct queue *queue, uint64_t position)
{
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

enum status
queue_make_clocks(struct queue *queue)
{
    if (queue->clocks != NULL) {
        return STATUS_OK;
    }
    struct queue_clocks *clocks = try_alloc(sizeof(*clocks));
    if (clocks == NULL) {
        return STATUS_NO_MEMORY;
    }
    int64_t now_ms = now_of(queue);
    /* Some came before the broker began. */
    *clocks = (struct queue_clocks){.began_ms = now_ms < 0 ? 0 : now_ms};
    arrival_marks_init(&clocks->marks);
    queue->clocks = clocks;
    queue_clocks_on_levels(queue);
    return STATUS_OK;
}

void
queue_clocks_on_new_time(struct queue *queue, uint64_t position)
{
    int64_t now_ms = now_of(queue);
    if (now_ms - queue->clocks->began_ms >= RATE_STEP_MS) {
        queue_clocks_touch(queue);
    }
    struct arrival_marks *marks = marks_of(queue, position);
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

/* Of the level in front. */
void
queue_clocks_on_lost(struct queue *queue, uint64_t count)
{
    uint64_t first = queue_deque_position(queue);
    arrival_marks_lose(marks_of(queue, first), first, count);
}

/* Those of a deque were dropped: what its marks still count is lent. */
static void
purge_marks(struct queue *queue, uint64_t first, uint64_t end, uint64_t ready_count)
{
    struct arrival_marks *marks = marks_of(queue, first);
    if (marks->newest.position == 0) {
        return; /* no message of that level has come yet */
    }
    int64_t kept_count = arrival_marks_living(marks, end) - (int64_t)ready_count;
    size_t before = arrival_marks_bytes(marks);
    arrival_marks_purge(marks, first, end, kept_count < 0 ? 0 : (uint64_t)kept_count);
    count_memory(queue, marks, before);
}

void
queue_clocks_on_purged(struct queue *queue)
{
    if (queue->clocks == NULL) {
        return;
    }
    purge_marks(queue, queue_deque_position(queue), queue->next_position,
                queue_deque_living(queue));
    for (unsigned i = 0; queue->levels != NULL && i <= queue->level_max; i++) {
        const struct queue_level *level = &queue->levels->of[i];
        if (i != queue_front_level(queue)) {
            purge_marks(queue, queue_first_position_of(queue, level->next_position),
                        level->next_position, level->ready_count);
        }
    }
}

void
queue_clocks_on_levels(struct queue *queue)
{
    if (queue->clocks != NULL && queue->levels != NULL) {
        struct queue_level *level = &queue->levels->of[queue_front_level(queue)];
        arrival_marks_move(&queue->clocks->marks, &level->marks);
        queue->clocks->served = (struct served_messages){0};
    }
}

static void
forget_marks(struct queue *queue, struct arrival_marks *marks)
{
    size_t before = arrival_marks_bytes(marks);
    arrival_marks_fini(marks);
    count_memory(queue, marks, before);
}

void
queue_forget_clocks(struct queue *queue)
{
    if (queue->clocks == NULL) {
        return;
    }
    forget_marks(queue, &queue->clocks->marks);
    for (unsigned i = 0; queue->levels != NULL && i <= queue->level_max; i++) {
        forget_marks(queue, &queue->levels->of[i].marks);
    }
    free(queue->clocks->activity);
    free(queue->clocks);
    queue->clocks = NULL;
}

/* Rates ---------------------------------------------------------------------------------------- */

/* NULL: there is no memory for it. */
static struct queue_activity *
activity_of(struct queue_clocks *clocks)
{
    if (clocks->activity == NULL) {
        clocks->activity = try_alloc(sizeof(*clocks->activity));
        if (clocks->activity != NULL) {
            *clocks->activity = (struct queue_activity){.folded_ms = clocks->began_ms};
        }
    }
    return clocks->activity;
}

static uint64_t
count_waits(const struct queue_activity *activity)
{
    uint64_t count = 0;
    for (int i = 0; i < WAIT_BUCKET_COUNT; i++) {
        count += activity->waits.counts[i];
    }
    return count;
}

static void
read_counters(const struct queue *queue, uint64_t counters_out[static EVENT_COUNT])
{
    counters_out[EVENT_ARRIVED] = queue->clocks->published_count;
    counters_out[EVENT_SERVED] = count_waits(queue->clocks->activity);
    counters_out[EVENT_ACKED] = queue->clocks->acked_count;
    for (int i = 0; i < DELIVERY_KIND_COUNT; i++) {
        counters_out[EVENT_DELIVERED + i] = queue->clocks->delivered_counts[i];
    }
    counters_out[EVENT_REDELIVERED] = queue->clocks->redelivered_count;
    counters_out[EVENT_GOT_NOTHING] = queue->clocks->get_empty_count;
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
    int64_t seconds = activity == NULL ? 0 : (now_of(queue) - activity->folded_ms) / RATE_STEP_MS;
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

/* How many positions of the mark that was found there are: not beyond its level. */
static uint64_t
count_found(const struct arrival_marks *marks, const struct arrival_mark *mark)
{
    uint64_t end = (UINT64_C(1) << POSITION_LEVEL_SHIFT) - position_number(mark->position);
    return marks->found_count < end ? marks->found_count : end;
}

/* The first of its mark at this time; the others will have waited as long. */
void
queue_clocks_on_others_served(struct queue *queue, uint64_t position)
{
    struct queue_clocks *clocks = queue->clocks;
    struct arrival_marks *marks = marks_of(queue, position);
    size_t before = arrival_marks_bytes(marks);
    const struct arrival_mark *mark = arrival_marks_find(marks, position);
    count_memory(queue, marks, before);
    struct queue_activity *activity = activity_of(clocks);
    if (activity == NULL) {
        return;
    }
    queue_clocks_fold(queue);
    int64_t now_ms = now_of(queue);
    int64_t waited_ms = now_ms - arrival_mark_ms(mark);
    uint64_t wait_ms = waited_ms < 0 ? 0 : (uint64_t)waited_ms;
    uint32_t bucket = 63 - (uint32_t)__builtin_clzll(wait_ms << 1 | 1);
    bool is_known = queue->deque.memory != NULL && position >= mark->position;
    clocks->served = (struct served_messages){
        .position = mark->position,
        .count = is_known ? count_found(marks, mark) : 0,
        .now_ms = now_ms,
        .wait_ms = wait_ms,
        .bucket = bucket < WAIT_BUCKET_COUNT ? bucket : WAIT_BUCKET_COUNT - 1,
    };
    wait_times_count(&activity->waits, clocks->served.bucket, wait_ms);
    if (queue->deque.memory != NULL) {
        wait_times_count(&queue->deque.memory->waits, clocks->served.bucket, wait_ms);
    }
}

/* Reading -------------------------------------------------------------------------------------- */

/* How old a message is that came at `ms`; INT64_MAX: there is none. */
static uint64_t
age_of(const struct queue *queue, int64_t ms)
{
    if (ms == INT64_MAX) {
        return NEVER_MS;
    }
    int64_t age_ms = now_of(queue) - ms;
    return age_ms < 0 ? 0 : (uint64_t)age_ms;
}

/* Of which kind a message is that is there. */
struct oldest {
    int64_t ready_ms, lent_ms; /* when the oldest came; INT64_MAX: there is none */
};

static int64_t
earlier(int64_t a_ms, int64_t b_ms)
{
    return a_ms < b_ms ? a_ms : b_ms;
}

/* How many messages that came back each mark of a level counts; NULL: none has come back, or there
 * is no memory, and they are taken for lent ones. Owned by the caller. */
static uint32_t *
count_returned(struct queue *queue, const struct arrival_marks *marks)
{
    if (queue->returned_count == 0) {
        return NULL;
    }
    size_t size = (marks->older_count + 1) * sizeof(uint32_t);
    uint32_t *counts = try_alloc(size);
    if (counts == NULL) {
        return NULL;
    }
    memset(counts, 0, size);
    for (uint32_t i = 0; i < queue->returned_count; i++) {
        uint64_t position = queue_returned_position(queue, i);
        if (marks_of(queue, position) == marks && queue_returned_entry(queue, i) != NULL) {
            counts[arrival_marks_place(marks, position)]++;
        }
    }
    return counts;
}

/* When the oldest message of a level came that is lent: it is of the first mark in front of the
 * deque that counts more messages than came back. Where the deque begins within a mark, it is the
 * only one left, if messages are missing. */
static int64_t
find_oldest_lent(struct queue *queue, uint64_t first, uint64_t next, uint64_t ready_count)
{
    const struct arrival_marks *marks = marks_of(queue, first);
    uint32_t *returned = count_returned(queue, marks);
    int64_t left = arrival_marks_living(marks, next) - (int64_t)ready_count;
    const struct arrival_mark *mark;
    int64_t found_ms = INT64_MAX;
    uint64_t end;
    uint32_t at = 0;
    while (left > 0 && found_ms == INT64_MAX &&
           (mark = arrival_marks_next(marks, &at, &end)) != NULL) {
        int64_t back = returned == NULL ? 0 : (int64_t)returned[at - 1];
        int64_t living = (int64_t)(end - mark->position) - mark->gone_count;
        left -= back;
        if (end <= first ? living > back : left > 0) {
            found_ms = arrival_mark_ms(mark);
        }
    }
    free(returned);
    return found_ms;
}

/* What a level says of it, but for what came back. */
static void
look_at_level(struct queue *queue, uint64_t first, uint64_t next, uint64_t ready_count,
              struct oldest *oldest)
{
    if (marks_of(queue, first)->newest.position == 0) {
        return; /* no message of it has come yet */
    }
    if (ready_count > 0) {
        oldest->ready_ms = earlier(oldest->ready_ms, (int64_t)queue_arrival_ms(queue, first));
    }
    if (queue->unacked_count > 0) {
        oldest->lent_ms =
            earlier(oldest->lent_ms, find_oldest_lent(queue, first, next, ready_count));
    }
}

/* What came back is a heap: of a plain queue its first is the oldest. */
static void
look_at_returned(struct queue *queue, struct oldest *oldest)
{
    bool is_in_order = queue->settings->type != QUEUE_TYPE_QUORUM && queue->levels == NULL;
    uint32_t count = is_in_order && queue->returned_count > 0 ? 1 : queue->returned_count;
    for (uint32_t i = 0; i < count; i++) {
        if (queue_returned_entry(queue, i) != NULL) {
            uint64_t arrival_ms = queue_arrival_ms(queue, queue_returned_position(queue, i));
            oldest->ready_ms = earlier(oldest->ready_ms, (int64_t)arrival_ms);
        }
    }
}

static struct oldest
find_oldest(struct queue *queue)
{
    struct oldest oldest = {.ready_ms = INT64_MAX, .lent_ms = INT64_MAX};
    if (queue->clocks == NULL) {
        return oldest;
    }
    look_at_returned(queue, &oldest);
    look_at_level(queue, queue_deque_position(queue), queue->next_position,
                  queue_deque_living(queue), &oldest);
    for (unsigned i = 0; queue->levels != NULL && i <= queue->level_max; i++) {
        const struct queue_level *level = &queue->levels->of[i];
        if (i != queue_front_level(queue)) {
            look_at_level(queue, queue_first_position_of(queue, level->next_position),
                          level->next_position, level->ready_count, &oldest);
        }
    }
    return oldest;
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
        .acked = rates[EVENT_ACKED] / weight,
        .redelivered = rates[EVENT_REDELIVERED] / weight,
        .got_nothing = rates[EVENT_GOT_NOTHING] / weight,
    };
    for (int i = 0; i < DELIVERY_KIND_COUNT; i++) {
        rates_out->delivered_by[i] = rates[EVENT_DELIVERED + i] / weight;
        rates_out->delivered += rates_out->delivered_by[i];
    }
    rates_out->retried_part = part_of(rates_out->redelivered, rates_out->delivered);
    for (int i = 0; i < DEATH_REASON_COUNT; i++) {
        rates_out->died[i] = rates[EVENT_DIED + i] / weight;
    }
    rates_out->drained_ms = time_to_drain(queue, rates_out);
}

void
queue_rates_add(struct queue_rates *sum, const struct queue_rates *rates)
{
    sum->arrived += rates->arrived;
    sum->served += rates->served;
    sum->acked += rates->acked;
    sum->delivered += rates->delivered;
    sum->redelivered += rates->redelivered;
    sum->got_nothing += rates->got_nothing;
    for (int i = 0; i < DELIVERY_KIND_COUNT; i++) {
        sum->delivered_by[i] += rates->delivered_by[i];
    }
}

static void
read_activity(const struct queue *queue, struct queue_clock_reading *reading)
{
    const struct queue_activity *activity = queue->clocks->activity;
    for (int i = 0; i < DEATH_REASON_COUNT && queue->dying != NULL; i++) {
        reading->died[i] = queue->dying->died_count[i];
    }
    if (activity == NULL) {
        return;
    }
    for (int window = 0; window < RATE_WINDOW_COUNT; window++) {
        read_rates(queue, (enum rate_window)window, &reading->rates[window]);
    }
    reading->waits = activity->waits;
    reading->wait_count = count_waits(activity);
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
    struct oldest oldest = find_oldest(queue);
    reading.oldest_ready_ms = age_of(queue, oldest.ready_ms);
    reading.oldest_unacked_ms = age_of(queue, oldest.lent_ms);
    *reading_out = reading;
}

/* Checking ------------------------------------------------------------------------------------- */

/* Returns how many messages they count. */
static int64_t
check_marks(const struct arrival_marks *marks, uint64_t next)
{
    if (marks->newest.position == 0) {
        return 0;
    }
    arrival_marks_check(marks, next);
    return arrival_marks_living(marks, next);
}

uint64_t
queue_check_clocks(const struct queue *queue)
{
    if (queue->clocks == NULL) {
        assert(position_number(queue->next_position) == 1);
        return 0;
    }
    int64_t living = check_marks(marks_of(queue, queue->next_position), queue->next_position);
    uint64_t bytes = arrival_marks_bytes(&queue->clocks->marks);
    for (unsigned i = 0; queue->levels != NULL && i <= queue->level_max; i++) {
        const struct queue_level *level = &queue->levels->of[i];
        bytes += arrival_marks_bytes(&level->marks);
        living +=
            i == queue_front_level(queue) ? 0 : check_marks(&level->marks, level->next_position);
    }
    assert(living == (int64_t)(queue->ready_count + queue->unacked_count));
    assert(queue->unacked_count > 0 || queue->clocks->lent_bytes == 0);
    return bytes;
}
