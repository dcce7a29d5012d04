/* SPDX-License-Identifier: Apache-2.0 */
/* Messages that wait for a time before they come into their queue. */
#include <inttypes.h>

#include "tests/sim/history_parts.h"

void
history_begin_waiting(struct history *history, struct history_queue *queue,
                      struct history_copy *copy, uint64_t due_ms)
{
    copy->wait_number = history->wait_count++;
    copy->place = HISTORY_WAITING;
    copy->due_ms = due_ms;
    queue->waiting_count++;
}

/* One that expires before it may be tried again comes in for that. */
bool
history_is_its_time(const struct history_copy *copy, uint64_t due_ms)
{
    enum { STEPS_MS = 20 };
    bool is_to_expire = copy->is_retry && copy->deadline_ms != 0 && due_ms <= copy->due_ms &&
                        (copy->is_instant || due_ms >= copy->written_ms) &&
                        due_ms < copy->written_ms + STEPS_MS;
    return copy->due_ms == due_ms || is_to_expire;
}

/* By what tells it from others, if that is known of both; else by its message, as far as that is.
 */
static bool
is_meant(const struct history *history, const struct history_copy *copy,
         const struct history_coming *coming)
{
    if (copy->place != HISTORY_WAITING || !history_is_its_time(copy, coming->due_ms) ||
        copy->is_retry != coming->is_retry) {
        return false;
    }
    struct history_identity identity = {.position = coming->position, .lsn = coming->lsn};
    enum history_likeness likeness = history_compare(copy, identity);
    if (likeness != HISTORY_MAY_BE_IT) {
        return likeness == HISTORY_IS_IT;
    }
    return coming->message != HISTORY_NONE
               ? copy->message == coming->message
               : !copy->is_durable && history->messages[copy->message].size == coming->size;
}

/* Whether it comes before another that it may be as well: of those that nobody can name the highest
 * level is first, and each waits for that very time. */
static bool
is_rather(const struct history_queue *queue, uint32_t at, uint32_t found,
          const struct history_coming *coming)
{
    const struct history_copy *copy = &queue->copies[at];
    if (found == queue->copy_count) {
        return true;
    }
    bool is_exact = copy->due_ms == coming->due_ms;
    bool was_exact = queue->copies[found].due_ms == coming->due_ms;
    bool is_above = coming->message == HISTORY_NONE && copy->level > queue->copies[found].level;
    return is_exact && (!was_exact || is_above);
}

static uint32_t
find_coming(const struct history *history, const struct history_queue *queue,
            const struct history_coming *coming)
{
    uint32_t found = queue->copy_count;
    for (uint32_t at = 0; at < queue->copy_count; at++) {
        if (is_rather(queue, at, found, coming) && is_meant(history, &queue->copies[at], coming)) {
            found = at;
        }
    }
    return found;
}

/* Whether another one has to come before it: an earlier one, or of those that have not come in yet
 * and are due together one that was there first. */
static bool
is_overtaking(const struct history_queue *queue, uint32_t at, uint64_t due_ms)
{
    bool is_retry = queue->copies[at].is_retry;
    for (uint32_t i = 0; i < queue->copy_count; i++) {
        const struct history_copy *other = &queue->copies[i];
        bool is_first = i < at && !is_retry && !other->is_retry;
        if (other->place == HISTORY_WAITING &&
            (other->due_ms < due_ms || (other->due_ms == due_ms && is_first))) {
            return true;
        }
    }
    return false;
}

static void
check_turn(struct history *history, const struct history_queue *queue, uint32_t at, uint64_t due_ms)
{
    const struct history_copy *copy = &queue->copies[at];
    if (due_ms > history->now_ms) {
        history_wrong(history, HISTORY_UNEXPECTED,
                      "message %" PRIu32 " comes into queue q%" PRIu32 " at %" PRIu64
                      ", before its time, %" PRIu64,
                      copy->message, queue->name, history->now_ms, copy->due_ms);
    } else if (is_overtaking(queue, at, due_ms)) {
        history_wrong(history, HISTORY_ORDER,
                      "message %" PRIu32 " comes into queue q%" PRIu32 " before its turn",
                      copy->message, queue->name);
    }
}

/* As the last of its queue; its time to live counts from when it was due. */
static uint32_t
come_in(struct history *history, struct history_queue *queue, uint32_t at)
{
    struct history_copy copy = queue->copies[at];
    queue->copies[at] = (struct history_copy){.message = copy.message, .place = HISTORY_DONE};
    copy.place = HISTORY_READY;
    copy.position = 0;
    copy.awaits_position = true;
    copy.arrived_end_ms = history->now_ms;
    history_set_deadline(history, queue, &copy,
                         copy.due_ms < history->now_ms ? copy.due_ms : history->now_ms);
    queue->ready_count++;
    queue->has_moved = true;
    *HISTORY_PUSH(queue->copies, queue->copy_count, queue->copy_capacity) = copy;
    if (!copy.is_instant) {
        history_expire_if_due(history, queue, queue->copy_count - 1);
    }
    return queue->copy_count - 1;
}

/* It is tried anew, as the log says. */
static void
forgive(struct history *history, uint32_t handle, uint32_t at, const struct history_coming *coming)
{
    struct history_copy *copy = &history->queues[handle].copies[at];
    struct history_state state = {.acquired_count = copy->acquired_count,
                                  .verdict = copy->verdict,
                                  .is_return = true,
                                  .is_endless = copy->deadline_ms == 0};
    copy->delivery_count = 0;
    copy->note = 0;
    history_note_state(history, handle, at, state,
                       (struct history_span){.first = coming->first, .last = UINT64_MAX});
}

static void
let_in(struct history *history, uint32_t handle, uint32_t at, const struct history_coming *coming)
{
    struct history_queue *queue = &history->queues[handle];
    queue->waiting_count--;
    if (queue->copies[at].is_retry) {
        queue->copies[at].is_retry = false;
        history_come_back(history, queue, at);
    } else {
        at = come_in(history, queue, at);
    }
    if (coming->is_released && coming->due_ms > history->now_ms) {
        forgive(history, handle, at, coming);
    }
}

void
history_hear_coming(struct history *history, uint32_t handle, const struct history_coming *coming)
{
    struct history_queue *queue = &history->queues[handle];
    history_settle_positions(history, queue);
    uint32_t at = find_coming(history, queue, coming);
    if (at == queue->copy_count) {
        history_wrong(history, HISTORY_UNEXPECTED,
                      "message %" PRIu32 " comes into queue q%" PRIu32
                      ", where it does not wait for %" PRIu64,
                      coming->message, queue->name, coming->due_ms);
        return;
    }
    if (coming->is_taken) {
        queue->waiting_count--;
        queue->copies[at].place = HISTORY_DONE;
        queue->copies[at].gone = (struct history_span){.first = coming->first, .last = UINT64_MAX};
        history_note_unfinished(history, handle, at, false);
        return;
    }
    if (!coming->is_released) {
        check_turn(history, queue, at, coming->due_ms);
        history_keep_pace(history, queue, coming->due_ms);
    }
    let_in(history, handle, at, coming);
}

void
history_end_release(struct history *history, uint64_t last)
{
    for (uint32_t i = history->return_count;
         i > 0 && history->returns[i - 1].span.last == UINT64_MAX; i--) {
        history->returns[i - 1].span.last = last;
    }
}

void
history_check_waiting(struct history *history, uint32_t handle, uint64_t waiting_count,
                      bool none_is_due)
{
    enum { LATE_MS = 20 };
    const struct history_queue *queue = &history->queues[handle];
    if (waiting_count != queue->waiting_count) {
        history_wrong(history,
                      waiting_count > queue->waiting_count ? HISTORY_UNEXPECTED : HISTORY_LOST,
                      "in queue q%" PRIu32 " %" PRIu64 " messages wait, should be %" PRIu32,
                      queue->name, waiting_count, queue->waiting_count);
    }
    history_check_pace(history, queue);
    for (uint32_t at = 0; none_is_due && queue->waiting_count > 0 && at < queue->copy_count; at++) {
        const struct history_copy *copy = &queue->copies[at];
        if (copy->place == HISTORY_WAITING && copy->due_ms < history->now_ms - LATE_MS) {
            history_wrong(history, HISTORY_LOST,
                          "message %" PRIu32 " of queue q%" PRIu32 " was to come in at %" PRIu64
                          ", and did not",
                          copy->message, queue->name, copy->due_ms);
            return;
        }
    }
}

static enum history_wait
why_it_waits(const struct history_copy *copy)
{
    if (copy->due_ms == HISTORY_PARKED_MS) {
        return HISTORY_WAITS_PARKED;
    }
    return copy->is_retry ? HISTORY_WAITS_RETRY : HISTORY_WAITS_DELAYED;
}

void
history_check_worked_off(struct history *history, uint32_t handle,
                         const struct history_worked_off *meant)
{
    const struct history_queue *queue = &history->queues[handle];
    for (uint32_t at = 0; queue->presence == HISTORY_PRESENT && at < queue->copy_count; at++) {
        const struct history_copy *copy = &queue->copies[at];
        if (copy->place == HISTORY_WAITING && copy->wait_number < meant->waits_before &&
            (meant->kinds & 1U << why_it_waits(copy)) != 0 &&
            copy->message % meant->id_count == meant->id) {
            history_wrong(history, HISTORY_ANSWER,
                          "message %" PRIu32 " of queue q%" PRIu32 " still waits for %" PRIu64
                          ", though all of its kind were worked off",
                          copy->message, queue->name, copy->due_ms);
            return;
        }
    }
}

/* Crashes -------------------------------------------------------------------------------------- */

/* Few stand elsewhere than in the log, and mostly at the end. */
void
history_sort_copies(struct history_queue *queue)
{
    for (uint32_t i = 1; queue->has_moved && i < queue->copy_count; i++) {
        struct history_copy copy = queue->copies[i];
        uint32_t at = i;
        for (; at > 0 && queue->copies[at - 1].lsn > copy.lsn; at--) {
            queue->copies[at] = queue->copies[at - 1];
        }
        queue->copies[at] = copy;
    }
    queue->has_moved = false;
}

static uint32_t
find_handle(const struct history *history, uint64_t id)
{
    uint32_t handle = history->queue_count;
    while (handle > 0 && (history->queues[handle - 1].id != id ||
                          history->queues[handle - 1].presence == HISTORY_ABSENT)) {
        handle--;
    }
    return handle == 0 ? HISTORY_NONE : handle - 1;
}

/* A new broker has what is over already come at once, by its own clock. */
static bool
is_over_by_now(const struct history *history, const struct history_copy *copy, uint64_t due_ms)
{
    return copy->is_retry && copy->deadline_ms != 0 && copy->written_ms < history->now_ms &&
           due_ms <= copy->due_ms && due_ms < history->now_ms;
}

/* Whether the copy waits for that; one of which the log may say either does if that is so. */
static bool
may_wait(struct history *history, struct history_queue *queue, uint32_t at, uint64_t due_ms)
{
    struct history_copy *copy = &queue->copies[at];
    if (copy->place == HISTORY_WAITING) {
        return history_is_its_time(copy, due_ms) || is_over_by_now(history, copy, due_ms);
    }
    bool may_be_other = copy->has_other && copy->other.due_ms == due_ms;
    bool may_be_held = queue->is_governed && copy->held_until_ms == due_ms;
    if (copy->place != HISTORY_READY || !(may_be_other || may_be_held)) {
        return false;
    }
    queue->ready_count--;
    queue->maybe_count -= copy->is_maybe;
    copy->held_until_ms = 0;
    history_begin_waiting(history, queue, copy, due_ms);
    copy->is_retry = true;
    return true;
}

static bool
find_waiting(struct history *history, uint32_t handle, uint64_t lsn, uint64_t due_ms)
{
    struct history_queue *queue = &history->queues[handle];
    for (uint32_t at = 0; at < queue->copy_count; at++) {
        struct history_copy *copy = &queue->copies[at];
        if (copy->lsn == lsn && !copy->was_found && may_wait(history, queue, at, due_ms)) {
            copy->was_found = true;
            copy->due_ms = due_ms;
            history_prove(history, handle, at);
            return true;
        }
    }
    return false;
}

void
history_found_waiting(struct history *history, uint64_t id, uint64_t lsn, uint64_t due_ms)
{
    uint32_t handle = find_handle(history, id);
    if (handle != HISTORY_NONE && !find_waiting(history, handle, lsn, due_ms)) {
        history_wrong(history, HISTORY_UNEXPECTED,
                      "message %" PRIu32 " of queue q%" PRIu32 " should not wait for %" PRIu64,
                      history_logged_message(history, lsn), history->queues[handle].name, due_ms);
    }
}

/* The log may lack the policy that ends strict order: then it is held at its place, as long as that
 * is not known. */
static bool
may_be_held(const struct history_queue *queue, const struct history_copy *copy)
{
    return queue->is_governed && copy->is_retry && copy->due_ms != HISTORY_PARKED_MS;
}

/* It stands where it stood before the crash, and may be held there. */
static void
hold_again(struct history_queue *queue, uint32_t at, uint64_t due_ms)
{
    struct history_copy *copy = &queue->copies[at];
    copy->standing = HISTORY_STANDS_IN_LINE;
    copy->held_until_ms = due_ms == HISTORY_PARKED_MS ? 0 : due_ms;
    copy->is_hold_free = copy->has_other;
}

void
history_end_waiting(struct history *history, uint32_t handle)
{
    struct history_queue *queue = &history->queues[handle];
    for (uint32_t at = 0; queue->waiting_count > 0 && at < queue->copy_count; at++) {
        const struct history_copy *copy = &queue->copies[at];
        if (copy->place != HISTORY_WAITING || copy->was_found) {
            continue;
        }
        if (copy->has_other || may_be_held(queue, copy)) {
            uint64_t due_ms = copy->due_ms;
            queue->waiting_count--;
            queue->maybe_count += copy->is_maybe;
            history_come_back(history, queue, at);
            hold_again(queue, at, due_ms);
            continue;
        }
        if (!copy->is_maybe) {
            history_wrong(history, HISTORY_LOST,
                          "message %" PRIu32 " of queue q%" PRIu32 " should wait for %" PRIu64,
                          copy->message, queue->name, copy->due_ms);
            return;
        }
        history_give_up_maybe(history, queue, at);
    }
}
