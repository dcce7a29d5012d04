/* SPDX-License-Identifier: Apache-2.0 */
/* Copies of one message in one queue: what tells them from each other. As long as the broker lives
 * that is the position that it has given each of them, and after a crash their places in the log.
 *
 * The broker gives positions in the order in which messages come, and the history hears that they
 * have come before that (those that have waited) or after (the others): so a position goes to the
 * first copy of its message that awaits one, as soon as both are there. */
#include <inttypes.h>

#include "tests/sim/history_parts.h"

void
history_hear_position(struct history *history, uint32_t handle, struct history_position position)
{
    struct history_queue *queue = &history->queues[handle];
    *HISTORY_PUSH(queue->positions, queue->position_count, queue->position_capacity) = position;
}

static bool
is_of(const struct history *history, const struct history_copy *copy,
      const struct history_position *position)
{
    if (!copy->awaits_position) {
        return false;
    }
    return position->message != HISTORY_NONE
               ? copy->message == position->message
               : !copy->is_durable && history->messages[copy->message].size == position->size;
}

static bool
give(const struct history *history, struct history_queue *queue,
     const struct history_position *position)
{
    for (uint32_t at = queue->first_awaiting; at < queue->copy_count; at++) {
        struct history_copy *copy = &queue->copies[at];
        if (is_of(history, copy, position)) {
            copy->position = position->position;
            copy->awaits_position = false;
            return true;
        }
    }
    return false;
}

static void
skip_given(struct history_queue *queue)
{
    while (queue->first_awaiting < queue->copy_count &&
           !queue->copies[queue->first_awaiting].awaits_position) {
        queue->first_awaiting++;
    }
}

void
history_settle_positions(const struct history *history, struct history_queue *queue)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < queue->position_count; i++) {
        struct history_position position = queue->positions[i];
        if (!give(history, queue, &position)) {
            queue->positions[kept++] = position;
        }
    }
    queue->position_count = kept;
    skip_given(queue);
}

enum history_likeness
history_compare(const struct history_copy *copy, struct history_identity identity)
{
    if (copy->position != 0 && identity.position != 0) {
        return copy->position == identity.position ? HISTORY_IS_IT : HISTORY_IS_ANOTHER;
    }
    if (copy->lsn != 0 && identity.lsn != 0) {
        return copy->lsn == identity.lsn ? HISTORY_IS_IT : HISTORY_IS_ANOTHER;
    }
    return HISTORY_MAY_BE_IT;
}

void
history_check_identity(struct history *history, uint32_t handle, uint32_t at,
                       struct history_identity identity)
{
    struct history_queue *queue = &history->queues[handle];
    history_settle_positions(history, queue);
    const struct history_copy *copy = &queue->copies[at];
    if (history_compare(copy, identity) == HISTORY_IS_ANOTHER) {
        history_wrong(history, HISTORY_ORDER,
                      "queue q%" PRIu32 " hands out another copy of message %" PRIu32
                      " than its turn is: at %" PRIu64 " (%" PRIu64
                      " in the log) instead of %" PRIu64 " (%" PRIu64 ")",
                      queue->name, copy->message, identity.position, identity.lsn, copy->position,
                      copy->lsn);
    }
}
