/* SPDX-License-Identifier: Apache-2.0 */
/* Messages that come back to queues that count how often. */
#include <inttypes.h>

#include "tests/sim/history_parts.h"

bool
history_is_tried_out(const struct history_queue *queue, const struct history_copy *copy)
{
    int64_t count = copy->delivery_count;
    if (copy->has_other && copy->other_count > copy->delivery_count) {
        count = copy->other_count;
    }
    return queue->retry.limit >= 0 && count > queue->retry.limit;
}

void
history_note_state(struct history *history, uint32_t queue, uint32_t copy,
                   struct history_state state, struct history_span span)
{
    *HISTORY_PUSH(history->returns, history->return_count, history->return_capacity) =
        (struct history_return){.queue = queue, .copy = copy, .state = state, .span = span};
}

/* The longest delay that it may have to wait for. */
static uint64_t
delay_of(const struct history_retry *retry, uint32_t failure_count)
{
    uint64_t delay_ms = retry->first_ms * failure_count;
    return delay_ms < retry->max_ms ? delay_ms : retry->max_ms;
}

static void
check_delay(struct history *history, const struct history_queue *queue,
            const struct history_copy *copy, const struct history_failure *failure)
{
    uint64_t delay_ms = failure->is_counted ? delay_of(&queue->retry, copy->delivery_count) : 0;
    uint64_t drawn_ms = failure->due_ms == 0 ? 0 : failure->due_ms - history->now_ms;
    if (drawn_ms > delay_ms || (drawn_ms < delay_ms && !queue->retry.is_spread)) {
        history_wrong(history, HISTORY_ANSWER,
                      "message %" PRIu32 " of queue q%" PRIu32 " waits for %" PRIu64
                      " ms after failure %" PRIu32 ", should for %" PRIu64,
                      copy->message, queue->name, drawn_ms, copy->delivery_count, delay_ms);
    }
}

/* One that is certain of what it has been through so far. */
static void
count_return(struct history_copy *copy, bool is_counted)
{
    copy->was_heard = true;
    copy->acquired_count++;
    copy->delivery_count += is_counted;
    copy->other_count += is_counted;
}

void
history_hear_return(struct history *history, uint32_t handle, uint32_t at,
                    const struct history_failure *failure)
{
    struct history_queue *queue = &history->queues[handle];
    struct history_copy *copy = &queue->copies[at];
    count_return(copy, failure->is_counted);
    bool is_dying = copy->place == HISTORY_DYING;
    bool must_die = failure->is_counted && history_is_tried_out(queue, copy);
    if (is_dying != must_die && !copy->has_other) {
        history_wrong(history, is_dying ? HISTORY_LOST : HISTORY_ANSWER,
                      "message %" PRIu32 " of queue q%" PRIu32 " %s after failure %" PRIu32,
                      copy->message, queue->name, is_dying ? "dies" : "is to be tried again",
                      copy->delivery_count);
    }
    struct history_state state = {.due_ms = failure->due_ms,
                                  .delivery_count = copy->delivery_count,
                                  .is_return = true,
                                  .is_endless = copy->deadline_ms == 0};
    if (failure->is_counted) {
        history_note_state(history, handle, at, state, failure->span);
    }
    if (is_dying) {
        return;
    }
    check_delay(history, queue, copy, failure);
    if (failure->due_ms == 0) {
        history_come_back(history, queue, at);
        return;
    }
    history_begin_waiting(queue, copy, failure->due_ms);
    copy->is_retry = true;
    copy->is_marked = true;
    copy->is_mark_free = false;
    history->sums.retried++;
}

void
history_check_count(struct history *history, uint32_t handle, uint32_t at, uint64_t count)
{
    const struct history_queue *queue = &history->queues[handle];
    struct history_copy *copy = &queue->copies[at];
    bool is_right = count == copy->delivery_count;
    if (copy->has_other && count == copy->other_count) {
        copy->delivery_count = copy->other_count;
        is_right = true;
    }
    copy->has_other = false;
    if (copy->delivery_count == 0 && copy->carried_count > 0) {
        bool is_carried = copy->acquired_count == 0 || !queue->retry.counts;
        is_right = (is_carried && count == copy->carried_count) || (!is_carried && count == 0);
    }
    if (!is_right && !(copy->is_count_free && (count == 0 || count == copy->carried_count))) {
        history_wrong(history, HISTORY_ANSWER,
                      "message %" PRIu32 " of queue q%" PRIu32 " has failed %" PRIu64
                      " times by its headers, should have %" PRIu32,
                      copy->message, queue->name, count, copy->delivery_count);
    }
    if (queue->retry.limit >= 0 && (int64_t)copy->delivery_count > queue->retry.limit) {
        history_wrong(history, HISTORY_ANSWER,
                      "message %" PRIu32 " of queue q%" PRIu32 " is tried again after %" PRIu32
                      " failures",
                      copy->message, queue->name, copy->delivery_count);
    }
}

/* Crashes -------------------------------------------------------------------------------------- */

void
history_crash_returns(struct history *history, uint64_t cut)
{
    for (uint32_t i = 0; i < history->return_count; i++) {
        const struct history_return *back = &history->returns[i];
        struct history_copy *copy = &history->queues[back->queue].copies[back->copy];
        if (back->span.last <= cut) {
            copy->logged = back->state;
        } else if (back->span.first <= cut) {
            copy->other = back->state;
            copy->other.is_return = true;
        }
    }
    for (uint32_t i = 0; i < history->return_count; i++) {
        const struct history_return *back = &history->returns[i];
        struct history_copy *copy = &history->queues[back->queue].copies[back->copy];
        copy->has_other = back->span.first <= cut && cut < back->span.last;
    }
    history->return_count = 0;
}

void
history_keep_failures(struct history_copy *copy, uint64_t now_ms)
{
    const struct history_state *state = &copy->logged;
    bool waits = state->due_ms != 0 && (!state->is_return || state->due_ms > now_ms);
    copy->place = waits ? HISTORY_WAITING : HISTORY_READY;
    copy->due_ms = state->due_ms;
    copy->is_retry = waits && state->is_return;
    copy->was_found = false;
    copy->was_heard = false;
    copy->delivery_count = state->delivery_count;
    copy->other_count = copy->other.delivery_count;
    copy->acquired_count = state->delivery_count;
    copy->is_count_free = true;
    if (waits && !state->is_return) {
        copy->deadline_ms = 0; /* its time to live has not begun */
    } else if (state->is_endless) {
        copy->deadline_ms = 0;
        copy->is_instant = false;
    } else if (copy->written_ms != 0) {
        enum { STEP_MS = 10 };
        copy->deadline_ms = (copy->written_ms + STEP_MS - 1) / STEP_MS * STEP_MS;
    }
}
