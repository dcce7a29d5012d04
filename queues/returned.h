/* SPDX-License-Identifier: Apache-2.0 */
/* Messages that were lent and came back, the one that comes next first: a heap. Room for all that
 * is lent is kept, so that coming back cannot fail. Part of queue.c; what others see of it is in
 * queue.h. */
#ifndef BOURSE_QUEUES_RETURNED_H
#define BOURSE_QUEUES_RETURNED_H

#include "queues/queue.h"

/* Ordered by `order`: the position, or in a quorum queue that does not keep strict order the number
 * of the return, which is behind all positions. */
struct returned_message {
    uint64_t order;
    uint64_t position;
    struct queue_entry entry;
};

/* Places that are taken, or may be by what is lent. */
static inline uint64_t
queue_return_room_needed(const struct queue *queue)
{
    return (uint64_t)queue->returned_count + queue->unacked_count;
}

MUST_CHECK enum status queue_grow_return_room(struct queue *queue);

/* Room to take one message more back. STATUS_NO_MEMORY changes nothing. */
static inline MUST_CHECK enum status
queue_keep_return_room(struct queue *queue)
{
    return queue_return_room_needed(queue) < queue->returned_capacity
               ? STATUS_OK
               : queue_grow_return_room(queue);
}

/* Takes the one that comes next. There is one. */
void queue_take_returned(struct queue *queue, struct queue_entry *entry_out,
                         uint64_t *position_out);

/* It has died, and is not counted any more. */
void queue_drop_first_returned(struct queue *queue);

/* Nothing has come back, and nothing is lent. */
void queue_free_returned(struct queue *queue);

/* Octets of the bodies of those that live; asserts that everything agrees. */
uint64_t queue_check_returned(const struct queue *queue);

#endif
