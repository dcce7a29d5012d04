/* SPDX-License-Identifier: Apache-2.0 */
/* What becomes of a message that was accepted: shared by publishing at once and by tx.commit. */
#ifndef BOURSE_BROKER_PUBLISH_H
#define BOURSE_BROKER_PUBLISH_H

#include "amqp/properties.h"
#include "base/status.h"
#include "broker/channel.h"

/* Keys that the headers CC and BCC may name together. */
enum { PUBLISH_HEADER_KEYS_MAX = 64 };

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

/* Adds the keys that one of the headers CC and BCC names behind those in `keys` (room for 1 +
 * PUBLISH_HEADER_KEYS_MAX); items that are no strings are skipped. STATUS_FAULT: 406, too many, or
 * the header is no array; never for a message that was published. */
MUST_CHECK enum status publish_collect_keys(struct bytes headers, const char *name,
                                            struct bytes *keys, uint32_t *key_count,
                                            struct fault *fault);

/* The property expiration: milliseconds as decimal digits, at most ten years; a sign is read, as
 * RabbitMQ does. `*expiration_out` as in struct logged_message. STATUS_FAULT: 406. */
MUST_CHECK enum status publish_read_expiration(struct bytes text, uint64_t *expiration_out,
                                               struct fault *fault);

/* The level at which the content stands in the queue; 0 in one without priorities. Properties are
 * looked at only where there are levels. */
static inline uint8_t
content_level(const struct content *content, const struct queue *queue)
{
    return queue->level_max == 0
               ? 0
               : queue_level(queue, properties_priority(content_properties(content)));
}

/* The expiration of a content that has passed the checks of a publish, as in logged_message. */
uint64_t content_expiration(const struct content *content);

/* Sends basic.return 312 NO_ROUTE with the message to its publisher. */
void channel_return_message(struct channel *channel, struct content_ref content);

/* 506 at connection scope: the machine has no memory for what the peer sends. */
enum status fault_no_memory(struct fault *fault);

/* What a message that could not be written down is answered with: STATUS_FULL is 406, for it
 * reaches more queues than a segment of the log can name; STATUS_NO_MEMORY is 506. */
enum status fault_not_logged(struct fault *fault, enum status status);

#endif
