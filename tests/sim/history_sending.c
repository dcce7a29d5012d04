/* SPDX-License-Identifier: Apache-2.0 */
/* Messages that somebody at the dead-letter desk sends on to another queue, or takes out: gone here
 * and there in one step, whatever they were: ready, waiting or parked. */
#include <inttypes.h>

#include "tests/sim/history_parts.h"

static bool
is_at_its_place(const struct history_copy *copy, const struct history_sending *sending)
{
    return sending->is_ready
               ? history_is_there(copy)
               : copy->place == HISTORY_WAITING && history_is_its_time(copy, sending->due_ms);
}

static bool
is_meant(const struct history_copy *copy, const struct history_sending *sending)
{
    struct history_identity identity = {.position = sending->position, .lsn = sending->lsn};
    enum history_likeness likeness = history_compare(copy, identity);
    if (likeness != HISTORY_MAY_BE_IT) {
        return likeness == HISTORY_IS_IT;
    }
    bool is_like_it = copy->delivery_count == sending->failure_count &&
                      copy->acquired_count == sending->return_count;
    return copy->message == sending->message &&
           (is_like_it || copy->has_other || copy->is_count_free);
}

/* The number of copies: there is none. */
static uint32_t
find_meant(const struct history_queue *queue, const struct history_sending *sending)
{
    uint32_t at = 0;
    while (at < queue->copy_count && !(is_at_its_place(&queue->copies[at], sending) &&
                                       is_meant(&queue->copies[at], sending))) {
        at++;
    }
    return at;
}

static void
take_out(struct history *history, uint32_t handle, uint32_t at, struct history_span span)
{
    struct history_queue *queue = &history->queues[handle];
    struct history_copy *copy = &queue->copies[at];
    history_prove(history, handle, at);
    if (copy->place == HISTORY_WAITING) {
        queue->waiting_count--;
        copy->place = HISTORY_DONE;
    } else {
        history_leave(queue, at, HISTORY_DONE);
    }
    copy->gone = span;
}

/* What is known of its failures here stays here; what its headers say goes with it. */
static void
come_there(struct history *history, uint32_t target, const struct history_copy *copy,
           struct history_span span)
{
    struct history_copy sent = *copy;
    sent.is_replayed = true;
    struct history_copy *letter = history_append_copy(history, target, copy->message, &sent);
    letter->moved = span;
    letter->is_count_free = copy->is_count_free;
}

void
history_send_on(struct history *history, uint32_t handle, const struct history_sending *sending)
{
    struct history_queue *queue = &history->queues[handle];
    history_settle_positions(history, queue);
    uint32_t at = find_meant(queue, sending);
    if (at == queue->copy_count) {
        history_wrong(history, HISTORY_UNEXPECTED,
                      "message %" PRIu32 " is sent on from queue q%" PRIu32 ", where it is not",
                      sending->message, queue->name);
        return;
    }
    struct history_copy *copy = &queue->copies[at];
    if (copy->chain == 0) {
        copy->chain = history_begin_chain(history);
    }
    take_out(history, handle, at, sending->span);
    if (sending->target == HISTORY_NONE) {
        history->sums.taken_out++;
        return;
    }
    history->sums.sent_on++;
    history->messages[sending->message].is_sent_on = true;
    struct history_copy before = *copy; /* it may come to the same queue, whose copies move then */
    come_there(history, sending->target, &before, sending->span);
}
