/* SPDX-License-Identifier: Apache-2.0 */
/* What a queue's x-arguments say: validation with RabbitMQ's reasons, and the comparison that decides
 * whether a redeclaration is the same queue. Arguments that are not known are kept and ignored. */
#ifndef BOURSE_QUEUES_SETTINGS_H
#define BOURSE_QUEUES_SETTINGS_H

#include "base/bytes.h"
#include "base/status.h"

enum queue_type { QUEUE_TYPE_CLASSIC, QUEUE_TYPE_QUORUM };
enum queue_overflow { OVERFLOW_DROP_HEAD, OVERFLOW_REJECT_PUBLISH, OVERFLOW_REJECT_PUBLISH_DLX };

/* -1 where the argument is absent; views point into the arguments they were read from. */
struct queue_settings {
    enum queue_type type;
    bool single_active_consumer;
    enum queue_overflow overflow;
    int64_t expires_ms;
    int64_t message_ttl_ms;
    int64_t max_length;
    int64_t max_length_bytes;
    int64_t max_priority; /* 0 acts as 1 */
    int64_t consumer_timeout_ms;
    int64_t delivery_limit;
    bool has_dead_letter_exchange;
    struct bytes dead_letter_exchange; /* may be empty: the default exchange */
    bool has_dead_letter_routing_key;
    struct bytes dead_letter_routing_key;
};

/* Reads and validates `arguments` (a validated table body). `subject` is how the queue is named in
 * texts: "queue 'q' in vhost '/'". STATUS_FAULT: 406 at channel scope, `invalid arg 'NAME' for
 * SUBJECT: REASON`. */
MUST_CHECK enum status queue_settings_read(struct queue_settings *settings, struct bytes arguments,
                                           const char *subject, struct fault *fault);

/* Compares what a redeclaration passes with what the queue has, argument by argument in a fixed order:
 * STATUS_OK when every compared argument agrees, else STATUS_FAULT: 406 `inequivalent arg 'NAME' for
 * SUBJECT: received ... but current is ...`. */
MUST_CHECK enum status queue_settings_compare(struct bytes received, struct bytes current,
                                              const char *subject, struct fault *fault);

/* Writes the names of the present arguments that have no effect yet, separated by ", ", into `out`;
 * false when there is none. */
bool queue_settings_without_effect(struct bytes arguments, char *out, size_t out_size);

#endif
