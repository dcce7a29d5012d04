/* SPDX-License-Identifier: Apache-2.0 */
/* Moving one message that has died to the dead-letter exchange of its queue, as a new message with
 * headers that tell of its deaths (death_headers.h) and failures (failure.h). When, and how many at
 * a time, is dead_letter.c's business.
 *
 * Owner: the core thread. */
#ifndef BOURSE_BROKER_DEATH_DEATH_MOVE_H
#define BOURSE_BROKER_DEATH_DEATH_MOVE_H

#include "base/buffer.h"
#include "broker/core/core.h"
#include "queues/queue.h"

/* What became of the attempt to move a message. */
enum moving {
    MOVING_DONE,
    MOVING_FETCHES, /* its content is on its way; core_dying_is_there is called */
    MOVING_WAITS,   /* for memory */
};

/* Kept from one message to the next. */
struct death_scratch {
    struct buffer headers, failures, block;
};
void death_scratch_init(struct death_scratch *scratch);
void death_scratch_fini(struct death_scratch *scratch);

/* What moving it took: octets that were copied, and work as core_spend counts it. */
struct moving_cost {
    uint32_t octets, work;
};

/* Moves, drops or parks the message of the queue that died first; it is not dying any more then. */
enum moving core_move_first_dead(struct core *core, struct queue *queue,
                                 struct death_scratch *scratch, struct moving_cost *cost_out);

#endif
