/* SPDX-License-Identifier: Apache-2.0 */
/* Messages that come back to queues that count how often. */
#include <inttypes.h>

#include "tests/sim/history_parts.h"

enum { STEP_MS = 10 }; /* deadlines are rounded up to it */

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

/* Delays --------------------------------------------------------------------------------------- */

struct range {
    uint64_t low, high;
};

/* Before the jitter. */
static uint64_t
delay_of(const struct history_retry *retry, uint32_t number)
{
    uint64_t delay_ms = retry->factor == 0 ? retry->first_ms * number : retry->first_ms;
    for (uint32_t i = 1; i < number && retry->factor != 0 && delay_ms < retry->max_ms; i++) {
        delay_ms *= retry->factor;
    }
    return delay_ms < retry->max_ms ? delay_ms : retry->max_ms;
}

static struct range
range_of(const struct history_retry *retry, uint32_t number)
{
    uint64_t delay_ms = delay_of(retry, number);
    if (retry->jitter == HISTORY_JITTER_FULL) {
        return (struct range){.low = 0, .high = delay_ms};
    }
    uint64_t width_ms = (delay_ms * retry->jitter + 99) / 100;
    return (struct range){.low = delay_ms - width_ms, .high = delay_ms + width_ms};
}

static bool
waits(const struct history_retry *retry, bool is_counted)
{
    switch ((enum history_retry_type)retry->type) {
    case HISTORY_RETRIES_COUNTED:
        return is_counted;
    case HISTORY_RETRIES_UNCOUNTED:
        return !is_counted;
    case HISTORY_RETRIES_NOTHING:
        break;
    }
    return false;
}

/* Where the range is wide, many draws are in either half of it. */
static void
note_draw(struct history *history, struct range range, uint64_t drawn_ms)
{
    enum { WIDE_MS = 20 };
    if (range.high - range.low >= WIDE_MS) {
        history->delays.count++;
        history->delays.low_count += drawn_ms < range.low + (range.high - range.low) / 2;
    }
}

static void
check_delay(struct history *history, const struct history_queue *queue,
            const struct history_copy *copy, const struct history_failure *failure, bool is_counted)
{
    uint32_t number = is_counted ? copy->delivery_count : copy->acquired_count;
    struct range range = {0, 0};
    if (queue->retry.first_ms > 0 && waits(&queue->retry, is_counted)) {
        range = range_of(&queue->retry, number);
    }
    uint64_t drawn_ms = failure->due_ms == 0 ? 0 : failure->due_ms - history->now_ms;
    if (drawn_ms < range.low || drawn_ms > range.high) {
        history_wrong(history, HISTORY_ANSWER,
                      "message %" PRIu32 " of queue q%" PRIu32 " waits for %" PRIu64
                      " ms after failure %" PRIu32 ", should for %" PRIu64 " to %" PRIu64,
                      copy->message, queue->name, drawn_ms, number, range.low, range.high);
    }
    note_draw(history, range, drawn_ms);
}

/* Coming back ---------------------------------------------------------------------------------- */

/* What it dies of. */
enum fate { FATE_LIVES, FATE_EITHER, FATE_DIES };

/* The broker knows arrivals to a hundredth of the age. */
static enum fate
fate_by_age(const struct history *history, const struct history_queue *queue,
            const struct history_copy *copy)
{
    if (queue->retry.max_age_ms < 0) {
        return FATE_LIVES;
    }
    int64_t oldest_ms = (int64_t)(history->now_ms - copy->arrived_ms);
    int64_t youngest_ms = (int64_t)(history->now_ms - copy->arrived_end_ms);
    int64_t error_ms = oldest_ms / 100 + 2;
    if (!copy->is_age_free && youngest_ms - error_ms > queue->retry.max_age_ms) {
        return FATE_DIES;
    }
    return copy->is_age_free || oldest_ms + error_ms > queue->retry.max_age_ms ? FATE_EITHER
                                                                               : FATE_LIVES;
}

static enum fate
fate_of(const struct history *history, const struct history_queue *queue,
        const struct history_copy *copy, bool is_counted)
{
    if (!is_counted) {
        return FATE_LIVES;
    }
    if (history_is_tried_out(queue, copy)) {
        return copy->has_other ? FATE_EITHER : FATE_DIES;
    }
    return fate_by_age(history, queue, copy);
}

static void
check_fate(struct history *history, const struct history_queue *queue,
           const struct history_copy *copy, bool is_counted)
{
    enum fate fate = fate_of(history, queue, copy, is_counted);
    bool is_dying = copy->place == HISTORY_DYING;
    if (fate != FATE_EITHER && is_dying != (fate == FATE_DIES)) {
        history_wrong(history, is_dying ? HISTORY_LOST : HISTORY_ANSWER,
                      "message %" PRIu32 " of queue q%" PRIu32 " %s after failure %" PRIu32,
                      copy->message, queue->name, is_dying ? "dies" : "is to be tried again",
                      copy->delivery_count);
    }
}

/* One that is certain of what it has been through so far. */
static void
count_return(struct history_copy *copy, const struct history_failure *failure, bool is_counted)
{
    copy->was_heard = true;
    copy->acquired_count++;
    copy->delivery_count += is_counted;
    copy->other_count += is_counted;
    if (failure->verdict != HISTORY_NO_VERDICT) {
        copy->verdict = failure->verdict;
        copy->note = failure->note != 0 ? failure->note : copy->note;
    }
}

/* It waits elsewhere, or at its place where strict order is kept. */
static void
wait_again(struct history *history, struct history_queue *queue, uint32_t at,
           const struct history_failure *failure)
{
    struct history_copy *copy = &queue->copies[at];
    if (failure->is_held != queue->retry.holds) {
        history_wrong(history, HISTORY_ORDER,
                      "message %" PRIu32 " of queue q%" PRIu32 " waits %s its place", copy->message,
                      queue->name, failure->is_held ? "at" : "elsewhere than at");
    }
    history->sums.retried++;
    if (failure->is_held) {
        history->sums.held++;
        history_come_back(history, queue, at);
        copy->held_until_ms = failure->due_ms;
        return;
    }
    history_begin_waiting(history, queue, copy, failure->due_ms);
    copy->is_retry = true;
    copy->is_marked = true;
    copy->is_mark_free = false;
}

void
history_hear_return(struct history *history, uint32_t handle, uint32_t at,
                    const struct history_failure *failure)
{
    struct history_queue *queue = &history->queues[handle];
    struct history_copy *copy = &queue->copies[at];
    bool is_counted = (queue->retry.verdicts & failure->verdict) != 0;
    count_return(copy, failure, is_counted);
    check_fate(history, queue, copy, is_counted);
    struct history_state state = {.due_ms = failure->due_ms,
                                  .delivery_count = copy->delivery_count,
                                  .acquired_count = copy->acquired_count,
                                  .verdict = copy->verdict,
                                  .is_return = true,
                                  .is_endless = copy->deadline_ms == 0};
    if (is_counted || failure->due_ms != 0) {
        history_note_state(history, handle, at, state, failure->span);
    }
    if (copy->place == HISTORY_DYING) {
        return;
    }
    check_delay(history, queue, copy, failure, is_counted);
    if (failure->due_ms == 0) {
        history_come_back(history, queue, at);
    } else {
        wait_again(history, queue, at, failure);
    }
}

static bool
is_meant_held(const struct history_copy *copy, uint32_t message, uint64_t lsn, uint64_t due_ms)
{
    bool is_it = copy->lsn != 0 && lsn != 0 ? copy->lsn == lsn
                                            : message == HISTORY_NONE || copy->message == message;
    return is_it && history_is_there(copy) && copy->held_until_ms == due_ms;
}

void
history_hear_release_of_hold(struct history *history, uint32_t handle, uint32_t message,
                             uint64_t lsn, uint64_t due_ms)
{
    struct history_queue *queue = &history->queues[handle];
    uint32_t at = history_first(queue, true); /* one that is overdue dies when it comes in */
    while (at < queue->copy_count && queue->copies[at].is_maybe &&
           !is_meant_held(&queue->copies[at], message, lsn, due_ms)) {
        history_give_up_maybe(history, queue, at);
        at = history_first(queue, true);
    }
    if (at == queue->copy_count || !is_meant_held(&queue->copies[at], message, lsn, due_ms) ||
        queue->retry.holds) {
        history_wrong(history, HISTORY_ORDER,
                      "message %" PRIu32 " of queue q%" PRIu32 " goes to wait for %" PRIu64
                      ", though it is not held at its head",
                      message, queue->name, due_ms);
        return;
    }
    history_prove(history, handle, at);
    history_leave(queue, at, HISTORY_WAITING);
    struct history_copy *copy = &queue->copies[at];
    history_begin_waiting(history, queue, copy, due_ms);
    copy->is_retry = true;
    copy->held_until_ms = 0;
    copy->is_hold_free = false;
}

/* Headers -------------------------------------------------------------------------------------- */

static void
check_header(struct history *history, const struct history_queue *queue,
             const struct history_copy *copy, uint64_t given, uint64_t wanted, const char *what)
{
    if (given != wanted) {
        history_wrong(history, HISTORY_ANSWER,
                      "message %" PRIu32 " of queue q%" PRIu32 " has %s %" PRIu64
                      " by its headers, should have %" PRIu64,
                      copy->message, queue->name, what, given, wanted);
    }
}

/* One of which the log may say either: the headers say which it is. */
static void
settle_other(struct history_copy *copy, const struct history_headers *headers)
{
    const struct history_state *other = &copy->other;
    if (copy->has_other && headers->delivery_count == copy->other_count &&
        headers->acquired_count == other->acquired_count) {
        copy->delivery_count = copy->other_count;
        copy->acquired_count = other->acquired_count;
        copy->verdict = other->verdict;
    }
    copy->has_other = false;
}

/* Before anything came back here, it says what it did where it died before. */
static struct history_headers
headers_of(const struct history_copy *copy)
{
    if (copy->acquired_count == 0 && copy->delivery_count == 0) {
        return copy->carried;
    }
    return (struct history_headers){
        .delivery_count = copy->delivery_count,
        .acquired_count = copy->acquired_count,
        .verdict = copy->verdict,
        .note = copy->carried.note,
    };
}

/* What was said of an attempt that does not count is told when another one has counted. */
struct history_headers
history_carry(const struct history_copy *copy)
{
    struct history_headers carried = headers_of(copy);
    bool is_told = copy->note != 0 && (copy->delivery_count > 0 || copy->is_note_last);
    carried.note = is_told ? copy->note : carried.note;
    return carried;
}

void
history_check_headers(struct history *history, uint32_t handle, uint32_t at,
                      const struct history_headers *headers)
{
    const struct history_queue *queue = &history->queues[handle];
    struct history_copy *copy = &queue->copies[at];
    settle_other(copy, headers);
    struct history_headers wanted = headers_of(copy);
    if (!copy->is_count_free) {
        check_header(history, queue, copy, headers->delivery_count, wanted.delivery_count,
                     "failures");
        check_header(history, queue, copy, headers->acquired_count, wanted.acquired_count,
                     "deliveries");
        check_header(history, queue, copy, headers->verdict, wanted.verdict, "verdict");
        check_header(history, queue, copy, headers->note, wanted.note, "note");
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

/* Where strict order is kept, it is ready, and held. What is parked waits in any queue. */
static void
keep_place(const struct history_queue *queue, struct history_copy *copy, uint64_t now_ms)
{
    const struct history_state *state = &copy->logged;
    bool has_time = state->due_ms != 0 && (!state->is_return || state->due_ms > now_ms);
    bool is_held =
        has_time && state->is_return && queue->retry.holds && state->due_ms != HISTORY_PARKED_MS;
    copy->place = has_time && !is_held ? HISTORY_WAITING : HISTORY_READY;
    copy->due_ms = state->due_ms;
    copy->is_retry = copy->place == HISTORY_WAITING && state->is_return;
    copy->held_until_ms = is_held ? state->due_ms : 0;
    copy->is_hold_free = false;
    if (copy->has_other && queue->retry.holds) {
        uint64_t other_ms = copy->other.due_ms == HISTORY_PARKED_MS ? 0 : copy->other.due_ms;
        copy->held_until_ms = other_ms > copy->held_until_ms ? other_ms : copy->held_until_ms;
        copy->is_hold_free = true;
    }
    copy->standing = HISTORY_STANDS_IN_LINE;
}

static void
keep_deadline(struct history_copy *copy)
{
    const struct history_state *state = &copy->logged;
    if (copy->place == HISTORY_WAITING && !state->is_return) {
        copy->deadline_ms = 0; /* its time to live has not begun */
    } else if (state->is_endless) {
        copy->deadline_ms = 0;
        copy->is_instant = false;
    } else if (copy->written_ms != 0) {
        copy->deadline_ms = (copy->written_ms + STEP_MS - 1) / STEP_MS * STEP_MS;
        /* What came back has it in the log as it was rounded, and it is rounded anew. */
        copy->deadline_ms += state->is_return ? STEP_MS : 0;
    }
}

void
history_keep_failures(const struct history_queue *queue, struct history_copy *copy, uint64_t now_ms)
{
    const struct history_state *state = &copy->logged;
    keep_place(queue, copy, now_ms);
    keep_deadline(copy);
    copy->was_found = false;
    copy->was_heard = false;
    copy->delivery_count = state->delivery_count;
    copy->other_count = copy->other.delivery_count;
    copy->acquired_count = state->acquired_count;
    copy->verdict = state->verdict;
    copy->note = 0;
    copy->is_age_free |= state->acquired_count == 0;
}
