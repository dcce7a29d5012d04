/* SPDX-License-Identifier: Apache-2.0 */
/* Taking a message out of a queue wherever it stands, for good: not because it comes next, nor
 * because its time is over, but because somebody said so. What becomes of it is the broker's.
 *
 * Owner: the core thread. */
#ifndef BOURSE_QUEUES_TAKE_H
#define BOURSE_QUEUES_TAKE_H

#include "queues/queue.h"

/* Where a ready message stands. */
enum queue_stand {
    STAND_RETURNED, /* among those that came back */
    STAND_IN_DEQUE,
    STAND_SPILLED, /* its entry is in a spill file */
};

/* Takes the message at `position`, which stands there and lives; `entry` is what is known of it
 * (for a spilled one what the file says), and becomes what it was at the end. The count of its
 * content passes to the caller. STATUS_NO_MEMORY changes nothing; never of STAND_IN_DEQUE.
 *
 * Nothing that was reserved in the queue is given up before queue_end_taking, but by taking one of
 * STAND_IN_DEQUE: who has reserved in that queue, pushes first. */
MUST_CHECK enum status queue_take_at(struct queue *queue, enum queue_stand stand, uint64_t position,
                                     struct queue_entry *entry);

/* The second step: the head is one that lives again. */
void queue_end_taking(struct queue *queue, uint64_t position);

#endif
