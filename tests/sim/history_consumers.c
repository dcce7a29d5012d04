/* SPDX-License-Identifier: Apache-2.0 */
/* Who takes messages from a queue where only one may at a time. In a classic queue that is the one
 * who has been there longest. In a quorum queue priorities come first: a newcomer of a higher one
 * takes over as soon as the active one has settled all that it has, and gets nothing meanwhile. */
#include <inttypes.h>
#include <string.h>

#include "tests/sim/history_parts.h"

/* Its place, or the number of consumers. */
static uint32_t
find_consumer(const struct history_queue *queue, uint32_t number)
{
    uint32_t at = 0;
    while (at < queue->consumer_count && queue->consumers[at].number != number) {
        at++;
    }
    return at;
}

/* The first of those of the highest priority, or simply the first; 0: there is nobody. */
static uint32_t
find_next(const struct history_queue *queue)
{
    uint32_t next = 0;
    for (uint32_t at = 1; queue->is_quorum && at < queue->consumer_count; at++) {
        next = queue->consumers[at].priority > queue->consumers[next].priority ? at : next;
    }
    return queue->consumer_count == 0 ? 0 : queue->consumers[next].number;
}

/* Whether another one is to take over. */
static bool
is_superseded(const struct history_queue *queue)
{
    uint32_t next = find_next(queue);
    uint32_t active = find_consumer(queue, queue->active);
    return queue->is_quorum && next != queue->active &&
           queue->consumers[find_consumer(queue, next)].priority >
               queue->consumers[active].priority;
}

static void
choose_active(struct history *history, struct history_queue *queue)
{
    uint32_t at = find_consumer(queue, queue->active);
    bool is_gone = at == queue->consumer_count;
    if (!queue->is_single_active ||
        (!is_gone && (queue->consumers[at].held_count > 0 || !is_superseded(queue)))) {
        return;
    }
    history->sums.taken_over += queue->active != 0;
    queue->active = find_next(queue);
}

void
history_add_consumer(struct history *history, uint32_t handle, uint32_t number, int32_t priority)
{
    struct history_queue *queue = &history->queues[handle];
    *HISTORY_PUSH(queue->consumers, queue->consumer_count, queue->consumer_capacity) =
        (struct history_consumer){.number = number, .priority = priority};
    choose_active(history, queue);
}

void
history_end_consumer(struct history *history, uint32_t handle, uint32_t number)
{
    struct history_queue *queue = &history->queues[handle];
    uint32_t at = find_consumer(queue, number);
    if (at == queue->consumer_count) {
        return;
    }
    queue->consumer_count--;
    memmove(queue->consumers + at, queue->consumers + at + 1,
            (queue->consumer_count - at) * sizeof(*queue->consumers));
    choose_active(history, queue);
}

const struct history_consumer *
history_find_consumer(const struct history *history, uint32_t handle, uint32_t number)
{
    const struct history_queue *queue = &history->queues[handle];
    uint32_t at = find_consumer(queue, number);
    return at == queue->consumer_count ? NULL : &queue->consumers[at];
}

void
history_serve(struct history *history, uint32_t handle, uint32_t number, bool is_final)
{
    struct history_queue *queue = &history->queues[handle];
    uint32_t at = find_consumer(queue, number);
    if (at == queue->consumer_count) {
        history_wrong(history, HISTORY_ANSWER,
                      "queue q%" PRIu32 " serves consumer %" PRIu32 ", who is not there",
                      queue->name, number);
        return;
    }
    if (queue->is_single_active && (number != queue->active || is_superseded(queue))) {
        history_wrong(history, HISTORY_ORDER,
                      "queue q%" PRIu32 " serves consumer %" PRIu32 ", but only %" PRIu32
                      " is active%s",
                      queue->name, number, queue->active,
                      number == queue->active ? ", and is to give way" : "");
    }
    queue->consumers[at].held_count += !is_final;
}

void
history_end_service(struct history *history, uint32_t handle, uint32_t number)
{
    struct history_queue *queue = &history->queues[handle];
    uint32_t at = find_consumer(queue, number);
    if (at < queue->consumer_count) {
        queue->consumers[at].held_count--;
        choose_active(history, queue);
    }
}

bool
history_may_serve(const struct history *history, uint32_t handle, uint32_t number)
{
    const struct history_queue *queue = &history->queues[handle];
    return !queue->is_single_active || (number == queue->active && !is_superseded(queue));
}

void
history_check_active(struct history *history, uint32_t handle, uint32_t number)
{
    const struct history_queue *queue = &history->queues[handle];
    if (queue->is_single_active && number != queue->active) {
        history_wrong(history, HISTORY_ORDER,
                      "consumer %" PRIu32 " of queue q%" PRIu32 " is active, should be %" PRIu32,
                      number, queue->name, queue->active);
    }
}

void
history_forget_consumers(struct history_queue *queue)
{
    queue->consumer_count = 0;
    queue->active = 0;
}
