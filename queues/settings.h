/* SPDX-License-Identifier: Apache-2.0 */
/* What a queue's x-arguments say: validation with RabbitMQ's reasons, and the comparison that
 * decides whether a redeclaration is the same queue. Arguments that are not known are kept and
 * ignored. */
#ifndef BOURSE_QUEUES_SETTINGS_H
#define BOURSE_QUEUES_SETTINGS_H

#include "base/bytes.h"
#include "base/status.h"

enum queue_type { QUEUE_TYPE_CLASSIC, QUEUE_TYPE_QUORUM };
enum queue_overflow { OVERFLOW_DROP_HEAD, OVERFLOW_REJECT_PUBLISH, OVERFLOW_REJECT_PUBLISH_DLX };

/* -1 where the argument is absent; views point into the arguments they were read from. */
struct queue_settings {
    enum queue_type type;
    enum queue_overflow overflow;
    bool single_active_consumer;
    bool has_dead_letter_exchange;
    bool has_dead_letter_routing_key;
    int64_t expires_ms;
    int64_t message_ttl_ms;
    int64_t max_length;
    int64_t max_length_bytes;
    int64_t max_priority; /* 0 acts as 1 */
    int64_t consumer_timeout_ms;
    int64_t delivery_limit;
    struct bytes dead_letter_exchange; /* may be empty: the default exchange */
    struct bytes dead_letter_routing_key;
};

/* Reads and validates `arguments` (a validated table body). `subject` is how the queue is named in
 * texts: "queue 'q' in vhost '/'". `settings` points into `arguments` afterwards. STATUS_FAULT: 406
 * at channel scope, `invalid arg 'NAME' for SUBJECT: REASON`, and for an argument that the queue's
 * type does not have `invalid arg 'NAME' for SUBJECT of queue type TYPE`. */
MUST_CHECK enum status queue_settings_read(struct queue_settings *settings, struct bytes arguments,
                                           const char *subject, struct fault *fault);

/* What it reads from no arguments at all. Static memory. */
const struct queue_settings *queue_settings_default(void);

/* Compares what a redeclaration passes with what the queue has, argument by argument in a fixed
 * order: STATUS_OK when every compared argument agrees, else STATUS_FAULT: 406 `inequivalent arg
 * 'NAME' for SUBJECT: received ... but current is ...`. Arguments that are not known may differ. */
MUST_CHECK enum status queue_settings_compare(struct bytes received, struct bytes current,
                                              const char *subject, struct fault *fault);

/* The same for a property such as `durable`: 406 `inequivalent arg 'durable' for SUBJECT: received
 * 'false' but current is 'true'`. */
MUST_CHECK enum status queue_property_compare(const char *name, bool received, bool current,
                                              const char *subject, struct fault *fault);

/* What a queue of type quorum must be: named by the client, not exclusive, durable. STATUS_FAULT:
 * 406. Queues of other types pass. */
MUST_CHECK enum status queue_settings_check_quorum(const struct queue_settings *settings,
                                                   bool is_server_named, bool durable,
                                                   bool exclusive, const char *subject,
                                                   struct fault *fault);

/* What the arguments of basic.consume say. */
struct consume_settings {
    int64_t priority;   /* 0 when absent */
    int64_t timeout_ms; /* -1 when absent */
};

/* Validates the arguments of basic.consume for a queue of `type`. STATUS_FAULT: 406 as in
 * queue_settings_read. */
MUST_CHECK enum status queue_consume_arguments_read(struct consume_settings *settings_out,
                                                    struct bytes arguments, enum queue_type type,
                                                    const char *subject, struct fault *fault);

/* Such as "classic". Static memory. */
const char *queue_type_name(enum queue_type type);

/* Writes the names of the present arguments that have no effect yet, separated by ", ", into `out`;
 * false when there is none. A list that does not fit is cut behind a whole name. */
bool queue_settings_without_effect(struct bytes arguments, char *out, size_t out_size);

#endif
