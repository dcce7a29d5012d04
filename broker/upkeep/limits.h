/* SPDX-License-Identifier: Apache-2.0 */
/* Queues with a limit on their ready messages. A queue that drops from its head takes every message
 * and is cut down to its limit at the end of the tick, after its consumers were served; a queue
 * that refuses is asked before a message is written down for it. What came back to a queue, or
 * comes as a dead letter, is never refused. */
#ifndef BOURSE_BROKER_UPKEEP_LIMITS_H
#define BOURSE_BROKER_UPKEEP_LIMITS_H

#include "broker/core/core.h"
#include "queues/queue.h"

/* Messages that queues drop in one tick. While there are more to drop, publishes are held. */
enum { CORE_DROPS_PER_TICK = 16384 };

void core_note_overlong(struct core *core, struct queue *queue);

/* Call when the queue has more ready messages than before, or another limit. */
static inline void
core_heed_limit(struct core *core, struct queue *queue)
{
    if (queue_is_over_limit(queue)) {
        core_note_overlong(core, queue);
    }
}

/* Whether the queue refuses a message with a body of so many octets that is published now. Who
 * waits in the queue is served before: in the end it is full only for what nobody takes. */
bool core_refuses(struct core *core, struct queue *queue, uint32_t body_size);

/* Room for so many dead letters of what the queue refuses, where it wants them. STATUS_NO_MEMORY:
 * nothing may be refused there. */
MUST_CHECK enum status core_reserve_burial(struct queue *queue, uint32_t count);

/* What becomes of a message that the queue has refused: a dead letter where the queue wants it so,
 * for which there is room. `content` is what `ref` names, and is not in the queue. Uses the core's
 * route set. */
void core_end_refused(struct core *core, struct queue *queue, struct content_ref ref,
                      const struct content *content);

/* Cuts the queue down to its limit now, as far as the tick allows. */
void core_cut_queue(struct core *core, struct queue *queue);

/* The same for all that are too long, once per tick, behind core_dispatch. */
void core_cut_queues(struct core *core);

#endif
