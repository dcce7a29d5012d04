/* SPDX-License-Identifier: Apache-2.0 */
/* How fast a queue lets in what is overdue, as after a downtime; and pauses, in which it hands out
 * nothing. */
#include <inttypes.h>

#include "tests/sim/history_parts.h"

/* Pace ----------------------------------------------------------------------------------------- */

enum {
    OVERDUE_MS = 1000, /* what is later than that counts */
    BURST_MS = 20,     /* what it may let in at once, behind a while in which it let in nothing */
    LATE_MS = 50,      /* steps of the timers, and turns */
};

void
history_set_rate(struct history_queue *queue, uint32_t rate)
{
    queue->pace.rate = rate;
    queue->pace.count = 0;
}

/* What may come within any time that is so long. */
static uint32_t
count_allowed(const struct history_pace *pace, uint64_t ms)
{
    return 1 + (uint32_t)((ms + BURST_MS) * pace->rate / 1000);
}

/* Of those that came last, how many within that time up to now. */
static uint32_t
count_within(const struct history *history, const struct history_pace *pace, uint64_t ms)
{
    uint32_t count = 0;
    while (count < pace->count && count < HISTORY_PACE_TIMES &&
           pace->times_ms[(pace->count - 1 - count) % HISTORY_PACE_TIMES] + ms > history->now_ms) {
        count++;
    }
    return count;
}

void
history_keep_pace(struct history *history, struct history_queue *queue, uint64_t due_ms)
{
    static const uint64_t windows_ms[] = {100, 1000};
    struct history_pace *pace = &queue->pace;
    if (pace->rate == 0 || history->now_ms - due_ms <= OVERDUE_MS) {
        return;
    }
    pace->times_ms[pace->count++ % HISTORY_PACE_TIMES] = history->now_ms;
    pace->next_ms = history->now_ms + 1000 / pace->rate + 1;
    history->sums.paced++;
    for (size_t i = 0; i < sizeof(windows_ms) / sizeof(windows_ms[0]); i++) {
        uint32_t count = count_within(history, pace, windows_ms[i]);
        if (count > count_allowed(pace, windows_ms[i])) {
            history_wrong(history, HISTORY_UNEXPECTED,
                          "%" PRIu32 " messages that are overdue come into queue q%" PRIu32
                          " within %" PRIu64 " ms, with a rate of %" PRIu32 " a second",
                          count, queue->name, windows_ms[i], pace->rate);
        }
    }
}

/* When the first of those that wait is due; UINT64_MAX: none does. */
static uint64_t
first_due_ms(const struct history_queue *queue)
{
    uint64_t due_ms = UINT64_MAX;
    for (uint32_t at = 0; at < queue->copy_count; at++) {
        const struct history_copy *copy = &queue->copies[at];
        if (copy->place == HISTORY_WAITING && copy->due_ms < due_ms) {
            due_ms = copy->due_ms;
        }
    }
    return due_ms;
}

void
history_check_pace(struct history *history, const struct history_queue *queue)
{
    const struct history_pace *pace = &queue->pace;
    if (pace->rate == 0 || queue->waiting_count == 0 || history->now_ms < pace->next_ms + LATE_MS) {
        return;
    }
    uint64_t due_ms = first_due_ms(queue);
    if (due_ms < HISTORY_PARKED_MS && due_ms + OVERDUE_MS + LATE_MS < history->now_ms) {
        history_wrong(history, HISTORY_LOST,
                      "nothing comes into queue q%" PRIu32 " since %" PRIu64
                      ", though something was due at %" PRIu64 " and its rate is %" PRIu32,
                      queue->name, pace->next_ms, due_ms, pace->rate);
    }
}

/* Pauses --------------------------------------------------------------------------------------- */

void
history_pause(struct history *history, uint32_t handle, bool is_paused, struct history_span span)
{
    struct history_pauses *pauses = &history->queues[handle].pauses;
    pauses->is_paused = is_paused;
    history->sums.paused += is_paused;
    *HISTORY_PUSH(pauses->items, pauses->count, pauses->capacity) =
        (struct history_pause){.is_paused = is_paused, .span = span};
}

void
history_crash_pauses(struct history_queue *queue, uint64_t cut)
{
    struct history_pauses *pauses = &queue->pauses;
    pauses->may_be = pauses->was_paused;
    pauses->may_not_be = !pauses->was_paused;
    for (uint32_t i = 0; i < pauses->count; i++) {
        const struct history_pause *item = &pauses->items[i];
        bool is_certain = item->span.last <= cut;
        bool may_be_there = item->span.first <= cut;
        pauses->may_be =
            is_certain ? item->is_paused : pauses->may_be || (may_be_there && item->is_paused);
        pauses->may_not_be = is_certain ? !item->is_paused
                                        : pauses->may_not_be || (may_be_there && !item->is_paused);
    }
    pauses->count = 0;
}

void
history_found_pause(struct history *history, uint64_t id, bool is_paused)
{
    for (uint32_t handle = 0; handle < history->queue_count; handle++) {
        struct history_queue *queue = &history->queues[handle];
        struct history_pauses *pauses = &queue->pauses;
        if (queue->id != id || queue->presence != HISTORY_PRESENT) {
            continue;
        }
        pauses->is_paused = is_paused;
        pauses->was_paused = is_paused;
        if (is_paused ? !pauses->may_be : !pauses->may_not_be) {
            history_wrong(history, HISTORY_LOST, "queue q%" PRIu32 " is %s after a restart",
                          queue->name, is_paused ? "paused" : "not paused");
        }
    }
}
