/* SPDX-License-Identifier: Apache-2.0 */
/* How a message that is routed, and written down, comes into its queues: with its deadline, at its
 * level, or to wait there for its time.
 *
 * Owner: the core thread. */
#ifndef BOURSE_BROKER_PUBLISHING_ENQUEUE_H
#define BOURSE_BROKER_PUBLISHING_ENQUEUE_H

#include "amqp/properties.h"
#include "base/status.h"
#include "broker/core/core.h"

/* What is known of a message that is about to be enqueued. */
struct logged_message {
    uint64_t lsn;         /* where the log has it; 0: in no log */
    uint32_t next_target; /* which of core->log_targets is the next durable queue's */
    uint64_t expiration;  /* what the message says of its time to live, in ms, and 1; 0: nothing */
    uint64_t due_ms;      /* when the queue is to have it, as a row of it is due (queues/waiting.h);
                             0: at once */
};

/* Appends the message to the queue, which has reserved room for it, and has it dispatched; or has
 * it wait there. The queue counts the content for itself. `content` is what `ref` names. `message`
 * is what core_log_publish gave for it, and its queues come in the order of core_log_target. */
void core_enqueue(struct core *core, struct queue *queue, struct content_ref ref,
                  const struct content *content, struct logged_message *message);

/* Room in those queues of core->routes that are to have the message later. STATUS_NO_MEMORY: in
 * none of them. The other gives it up again, in those up to target `end`. */
MUST_CHECK enum status core_reserve_delayed(struct core *core);
void core_forget_delayed(struct core *core, uint32_t end);

/* The level at which the content stands in the queue; 0 in one without priorities. Properties are
 * looked at only where there are levels. */
static inline uint8_t
content_level(const struct content *content, const struct queue *queue)
{
    return queue->level_max == 0
               ? 0
               : queue_level(queue, properties_priority(content_properties(content)));
}

#endif
