/* SPDX-License-Identifier: Apache-2.0 */
/* Messages that die: whose turn it was, and where they go. */
#include <inttypes.h>
#include <string.h>

#include "base/assert.h"
#include "tests/sim/history_parts.h"

static bool
has_dead_letters(const struct history_queue *queue)
{
    return queue->presence == HISTORY_PRESENT && queue->dead_letter_name != HISTORY_NONE;
}

static void
begin_dying(struct history_queue *queue, uint32_t at, enum history_reason reason)
{
    queue->copies[at].place = HISTORY_DYING;
    *HISTORY_PUSH(queue->dying, queue->dying_count, queue->dying_capacity) =
        (struct history_dying){.copy = at, .reason = reason};
}

/* Whose turn it was --------------------------------------------------------------------------- */

/* By what tells it from others, if that is known of both; else by its message, as far as that is,
 * of which there may be several copies. */
static bool
is_meant(const struct history *history, const struct history_copy *copy,
         const struct history_death *death)
{
    struct history_identity identity = {.position = death->position, .lsn = death->lsn};
    enum history_likeness likeness = history_compare(copy, identity);
    if (likeness != HISTORY_MAY_BE_IT) {
        return likeness == HISTORY_IS_IT;
    }
    if (death->message != HISTORY_NONE) {
        bool is_like_it = (copy->acquired_count > 0) == death->has_failed &&
                          copy->delivery_count == death->failure_count;
        return copy->message == death->message && (is_like_it || copy->has_other);
    }
    return !copy->is_durable && history->messages[copy->message].size == death->size;
}

/* With the clock, or as a new broker reads it in the log. */
static bool
is_over(const struct history *history, const struct history_copy *copy)
{
    return copy->is_instant || (copy->deadline_ms != 0 && copy->written_ms <= history->now_ms);
}

/* Of one that nobody can name, and of several copies of a message, the deadline has to tell which
 * it is. */
static bool
has_that_deadline(const struct history_copy *copy, const struct history_death *death)
{
    enum { STEP_MS = 10 };
    if (death->deadline_ms == 0 && copy->due_ms != 0) {
        return true; /* it had waited until then */
    }
    return copy->is_instant || (copy->written_ms <= death->deadline_ms &&
                                death->deadline_ms < copy->written_ms + STEP_MS);
}

/* Of several that it may be, the one that is served first. */
static uint32_t
find_expired_with(const struct history *history, const struct history_queue *queue,
                  const struct history_death *death, bool with_deadline)
{
    uint32_t found = queue->copy_count;
    for (uint32_t at = history_next_there(queue, queue->first_ready); at < queue->copy_count;
         at = history_next_there(queue, at + 1)) {
        const struct history_copy *copy = &queue->copies[at];
        if (is_over(history, copy) && (!with_deadline || has_that_deadline(copy, death)) &&
            is_meant(history, copy, death) &&
            (found == queue->copy_count || copy->level > queue->copies[found].level)) {
            found = at;
        }
    }
    return found;
}

/* What a crash had the broker count anew is due a little later than it was before. */
static uint32_t
find_expired(const struct history *history, const struct history_queue *queue,
             const struct history_death *death)
{
    uint32_t at = find_expired_with(history, queue, death, true);
    return at < queue->copy_count || death->message == HISTORY_NONE
               ? at
               : find_expired_with(history, queue, death, false);
}

static bool
is_over_limit(const struct history *history, const struct history_queue *queue)
{
    return queue->limit.overflow == HISTORY_DROPS &&
           (queue->ready_count + queue->due_count > queue->limit.length_max ||
            history_there_bytes(history, queue, true) > queue->limit.bytes_max);
}

/* The head of the queue: what is perhaps not there before it is not, then. */
static uint32_t
find_head(struct history *history, struct history_queue *queue, const struct history_death *death)
{
    if (!is_over_limit(history, queue)) {
        history_wrong(history, HISTORY_LOST,
                      "queue q%" PRIu32 " drops message %" PRIu32 " within its limit", queue->name,
                      death->message);
    }
    uint32_t at = history_first(queue, true);
    while (at < queue->copy_count && queue->copies[at].is_maybe &&
           !is_meant(history, &queue->copies[at], death)) {
        history_give_up_maybe(history, queue, at);
        at = history_first(queue, true);
    }
    bool is_head = at < queue->copy_count && is_meant(history, &queue->copies[at], death);
    return is_head ? at : queue->copy_count;
}

/* One that a new broker has found so. */
static uint32_t
find_tried_out(const struct history *history, const struct history_queue *queue,
               const struct history_death *death)
{
    for (uint32_t at = queue->first_ready; at < queue->copy_count; at++) {
        const struct history_copy *copy = &queue->copies[at];
        if (history_is_there(copy) && is_meant(history, copy, death) &&
            history_is_tried_out(queue, copy)) {
            return at;
        }
    }
    return queue->copy_count;
}

/* What happens to them --------------------------------------------------------------------------
 */

/* It never was in the queue, and the log does not know of it. */
static void
bury(struct history *history, struct history_queue *queue, uint32_t number)
{
    struct history_load load = {.count = 1, .bytes = history->messages[number].size};
    if (!history_is_full_for(history, queue, load, true)) {
        history_wrong(history, HISTORY_LOST,
                      "queue q%" PRIu32 " buries message %" PRIu32 ", though it is not full",
                      queue->name, number);
    }
    if (!has_dead_letters(queue)) {
        return;
    }
    *HISTORY_PUSH(queue->copies, queue->copy_count, queue->copy_capacity) =
        (struct history_copy){.message = number};
    begin_dying(queue, queue->copy_count - 1, HISTORY_TOO_MANY);
}

/* Where nobody gets the dead it is done with when the client has it so (history_die). */
static void
hear_rejection(struct history *history, struct history_queue *queue,
               const struct history_death *death)
{
    uint32_t at = death->copy;
    if (at == HISTORY_NONE || queue->copies[at].place != HISTORY_LENT) {
        history_wrong(history, HISTORY_LOST,
                      "message %" PRIu32 " of queue q%" PRIu32 " is rejected, and nobody had it",
                      death->message, queue->name);
    } else if (has_dead_letters(queue)) {
        queue->copies[at].note = death->note != 0 ? death->note : queue->copies[at].note;
        queue->copies[at].is_note_last = death->note != 0;
        begin_dying(queue, at, HISTORY_REJECTED);
    }
}

/* It has just come back, or did so before a crash. */
static void
hear_last_try(struct history *history, struct history_queue *queue,
              const struct history_death *death)
{
    uint32_t at = death->copy;
    if (at == HISTORY_NONE) {
        at = find_tried_out(history, queue, death);
        if (at == queue->copy_count) {
            history_wrong(history, HISTORY_LOST,
                          "message %" PRIu32 " of queue q%" PRIu32
                          " dies though it may be tried again",
                          death->message, queue->name);
            return;
        }
        history_prove(history, (uint32_t)(queue - history->queues), at);
        history_leave(queue, at, HISTORY_DYING);
    }
    begin_dying(queue, at, HISTORY_TRIED_OUT);
}

static void
end_copy(struct history *history, uint32_t handle, uint32_t at, enum history_reason reason,
         uint64_t first)
{
    struct history_queue *queue = &history->queues[handle];
    history_prove(history, handle, at);
    history_leave(queue, at, HISTORY_DONE);
    history->sums.dropped += reason == HISTORY_TOO_MANY;
    if (has_dead_letters(queue)) {
        begin_dying(queue, at, reason);
        return;
    }
    queue->copies[at].gone = (struct history_span){.first = first, .last = UINT64_MAX};
    history_note_unfinished(history, handle, at, false);
}

void
history_hear_death(struct history *history, uint32_t handle, const struct history_death *death,
                   uint64_t first)
{
    struct history_queue *queue = &history->queues[handle];
    history_settle_positions(history, queue);
    if (death->is_refused) {
        bury(history, queue, death->message);
        return;
    }
    if (death->reason == HISTORY_TRIED_OUT) {
        hear_last_try(history, queue, death);
        return;
    }
    if (death->reason == HISTORY_REJECTED) {
        hear_rejection(history, queue, death);
        return;
    }
    uint32_t at = death->reason == HISTORY_EXPIRED ? find_expired(history, queue, death)
                                                   : find_head(history, queue, death);
    if (at == queue->copy_count) {
        history_wrong(history, HISTORY_LOST,
                      "message %" PRIu32 " of queue q%" PRIu32 " %s, though it was not its turn",
                      death->message, queue->name,
                      death->reason == HISTORY_EXPIRED ? "expires" : "is dropped");
        return;
    }
    end_copy(history, handle, at, death->reason, first);
}

void
history_die(struct history *history, uint32_t handle, uint32_t at, struct history_span span)
{
    struct history_queue *queue = &history->queues[handle];
    if (!has_dead_letters(queue)) {
        history_settle(history, handle, at, span);
    } else if (queue->copies[at].place == HISTORY_LENT) {
        history_wrong(history, HISTORY_LOST,
                      "message %" PRIu32 " of queue q%" PRIu32 " is rejected, and does not die",
                      queue->copies[at].message, queue->name);
    }
}

/* Where they go -------------------------------------------------------------------------------- */

/* The death comes to the front of those that the headers speak of. */
static void
add_death(struct history_copy *copy, uint32_t name, enum history_reason reason)
{
    uint8_t death = (uint8_t)(name * HISTORY_REASONS + (uint32_t)reason);
    uint8_t *end = memchr(copy->deaths, death, copy->death_count);
    size_t before_count = end == NULL ? copy->death_count : (size_t)(end - copy->deaths);
    memmove(copy->deaths + 1, copy->deaths, before_count);
    copy->deaths[0] = death;
    copy->death_count = (uint8_t)(copy->death_count + (end == NULL ? 1 : 0));
}

/* It has been in that queue since anybody rejected it. */
static bool
goes_in_circles(const struct history_copy *copy, uint32_t target_name)
{
    for (uint8_t i = 0; i < copy->death_count; i++) {
        if (copy->deaths[i] % HISTORY_REASONS == HISTORY_REJECTED) {
            return false;
        }
        if (copy->deaths[i] / HISTORY_REASONS == target_name) {
            return true;
        }
    }
    return false;
}

/* Where it goes; `moved` gets its death. HISTORY_NONE: nobody takes it. */
static uint32_t
find_target(const struct history *history, const struct history_queue *queue,
            enum history_reason reason, struct history_copy *moved)
{
    add_death(moved, queue->name, reason);
    if (queue->dead_letter_name == HISTORY_NONE ||
        (!moved->is_replayed && goes_in_circles(moved, queue->dead_letter_name))) {
        return HISTORY_NONE;
    }
    return history->queue_by_name[queue->dead_letter_name];
}

static void
park_dead(struct history *history, uint32_t handle, struct history_dying dying,
          struct history_span span)
{
    struct history_queue *queue = &history->queues[handle];
    struct history_copy *copy = &queue->copies[dying.copy];
    struct history_copy moved = *copy;
    if (dying.reason != HISTORY_TRIED_OUT ||
        find_target(history, queue, dying.reason, &moved) != HISTORY_NONE) {
        history_wrong(history, HISTORY_LOST,
                      "message %" PRIu32 " of queue q%" PRIu32
                      " is parked, though it has somewhere to go",
                      copy->message, queue->name);
    }
    struct history_state state = {.due_ms = HISTORY_PARKED_MS,
                                  .delivery_count = copy->delivery_count,
                                  .acquired_count = copy->acquired_count,
                                  .verdict = copy->verdict,
                                  .is_return = true,
                                  .is_endless = true};
    history_note_state(history, handle, dying.copy, state, span);
    history_begin_waiting(history, queue, copy, HISTORY_PARKED_MS);
    copy->is_retry = true;
    copy->deadline_ms = 0;
    copy->is_instant = false;
    history->sums.parked++;
    history->sums.moved++;
}

static void
move_dead(struct history *history, uint32_t handle, struct history_dying dying,
          struct history_span span)
{
    struct history_queue *queue = &history->queues[handle];
    struct history_copy *copy = &queue->copies[dying.copy];
    assert(copy->place == HISTORY_DYING);
    copy->place = HISTORY_DONE;
    copy->gone = span;
    history->sums.moved++;
    if (copy->chain == 0) {
        copy->chain = history_begin_chain(history);
    }
    struct history_copy moved = *copy;
    uint32_t target = find_target(history, queue, dying.reason, &moved);
    moved.is_timeless = true;
    moved.is_replayed = false;
    if (target == HISTORY_NONE) {
        if (dying.reason == HISTORY_TRIED_OUT && queue->presence == HISTORY_PRESENT) {
            history_wrong(history, HISTORY_LOST,
                          "message %" PRIu32 " of queue q%" PRIu32
                          " was tried too often and is dropped",
                          copy->message, queue->name);
        }
        return;
    }
    moved.carried = history_carry(copy);
    bool is_count_free = copy->is_count_free || copy->has_other;
    /* It may come to the same queue, whose copies may move then. */
    struct history_copy *letter = history_append_copy(history, target, copy->message, &moved);
    letter->moved = span;
    letter->is_count_free = is_count_free;
    history->sums.dead_lettered++;
}

/* False: there is none. */
static bool
take_first(struct history *history, struct history_queue *queue, struct history_dying *dying_out)
{
    if (queue->dying_count == 0) {
        history_wrong(history, HISTORY_UNEXPECTED,
                      "queue q%" PRIu32 " moves a message that is not dying", queue->name);
        return false;
    }
    *dying_out = queue->dying[0];
    queue->dying_count--;
    memmove(queue->dying, queue->dying + 1, queue->dying_count * sizeof(*queue->dying));
    return true;
}

void
history_move_dead(struct history *history, uint32_t handle, struct history_span span)
{
    struct history_dying dying;
    if (take_first(history, &history->queues[handle], &dying)) {
        move_dead(history, handle, dying, span);
    }
}

void
history_park_dead(struct history *history, uint32_t handle, struct history_span span)
{
    struct history_dying dying;
    if (take_first(history, &history->queues[handle], &dying)) {
        park_dead(history, handle, dying, span);
    }
}
