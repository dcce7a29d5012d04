/* SPDX-License-Identifier: Apache-2.0 */
/* What a queue is told to do: by its x-arguments, and by policies. Here the arguments are validated
 * with RabbitMQ's reasons, compared where a queue is declared again, and read; settings_merge.c
 * puts what they say together with policies. Arguments that are not known are kept and ignored. */
#ifndef BOURSE_QUEUES_SETTINGS_H
#define BOURSE_QUEUES_SETTINGS_H

#include "amqp/table.h"
#include "base/bytes.h"
#include "base/status.h"
#include "queues/retry_settings.h"

enum queue_type { QUEUE_TYPE_CLASSIC, QUEUE_TYPE_QUORUM };
enum queue_overflow { OVERFLOW_DROP_HEAD, OVERFLOW_REJECT_PUBLISH, OVERFLOW_REJECT_PUBLISH_DLX };
enum dead_letter_strategy { DEAD_LETTER_AT_MOST_ONCE, DEAD_LETTER_AT_LEAST_ONCE };

/* What a policy can set. Each is an argument as well. */
enum queue_setting {
    SETTING_MESSAGE_TTL,
    SETTING_EXPIRES,
    SETTING_MAX_LENGTH,
    SETTING_MAX_LENGTH_BYTES,
    SETTING_OVERFLOW,
    SETTING_DEAD_LETTER_EXCHANGE,
    SETTING_DEAD_LETTER_ROUTING_KEY,
    SETTING_DEAD_LETTER_STRATEGY,
    SETTING_DELIVERY_LIMIT,
    SETTING_CONSUMER_TIMEOUT,
    SETTING_RETRY_TYPE,
    SETTING_RETRY_MIN,
    SETTING_RETRY_MAX,
    SETTING_RETRY_MULTIPLIER,
    SETTING_RETRY_JITTER,
    SETTING_RETRY_MAX_AGE,
    SETTING_RETRY_COUNTS,
    SETTING_RETRY_ORDER,
    SETTING_RELEASE_RATE,
    QUEUE_SETTING_COUNT,
};

enum setting_source {
    SETTING_IS_DEFAULT, /* nobody has said anything */
    SETTING_FROM_ARGUMENT,
    SETTING_FROM_POLICY,
    SETTING_FROM_OPERATOR_POLICY,
};

/* Numbers are -1 where nobody has given one; views point into the arguments or the policies that
 * they were read from. */
struct queue_settings {
    enum queue_type type;
    enum queue_overflow overflow;
    enum dead_letter_strategy dead_letter_strategy;
    bool single_active_consumer;
    bool has_dead_letter_exchange;
    bool has_dead_letter_routing_key;
    bool counts_failures; /* how often messages come back: a quorum queue, and one with a delivery
                             limit or something to say of retries */
    int64_t expires_ms;
    int64_t message_ttl_ms;
    int64_t max_length;
    int64_t max_length_bytes;
    int64_t max_priority; /* 0 acts as 1 */
    int64_t consumer_timeout_ms;
    int64_t release_rate; /* overdue messages that come in, per second (broker/upkeep/waiting.h) */
    int64_t delivery_limit; /* -1 is what "none" is given as, too; 20 by default in quorum queues */
    struct bytes dead_letter_exchange; /* may be empty: the default exchange */
    struct bytes dead_letter_routing_key;
    struct retry_settings retry;
    uint8_t sources[QUEUE_SETTING_COUNT]; /* of enum setting_source */
};

/* Arguments ------------------------------------------------------------------------------------ */

/* Reads and validates `arguments` (a validated table body). `subject` is how the queue is named in
 * texts: "queue 'q' in vhost '/'". `settings` points into `arguments` afterwards. STATUS_FAULT: 406
 * at channel scope, `invalid arg 'NAME' for SUBJECT: REASON`, and for an argument that the queue's
 * type does not have `invalid arg 'NAME' for SUBJECT of queue type TYPE`. */
MUST_CHECK enum status queue_settings_read(struct queue_settings *settings, struct bytes arguments,
                                           const char *subject, struct fault *fault);

/* The argument that queue_settings_read complains of; NULL: of none. Static memory. */
const char *queue_settings_culprit(struct bytes arguments);

/* What it reads from no arguments at all. Static memory. */
const struct queue_settings *queue_settings_default(void);

/* Whether `value` is good for the argument called `name`, which is one of a queue's; else writes
 * the REASON. `arguments` are those that it stands among. */
enum { QUEUE_ARGUMENT_REASON_SIZE = 128 };
bool queue_argument_check(const char *name, const struct table_value *value, struct bytes arguments,
                          char reason[static QUEUE_ARGUMENT_REASON_SIZE]);

/* Compares what a redeclaration passes with what the queue has, argument by argument in a fixed
 * order: STATUS_OK when every compared argument agrees, else STATUS_FAULT: 406 `inequivalent arg
 * 'NAME' for SUBJECT: received ... but current is ...`. Arguments that are not known may differ. */
MUST_CHECK enum status queue_settings_compare(struct bytes received, struct bytes current,
                                              const char *subject, struct fault *fault);

/* The same for a property such as `durable`: 406 `inequivalent arg 'durable' for SUBJECT: received
 * 'false' but current is 'true'`. */
MUST_CHECK enum status queue_property_compare(const char *name, bool received, bool current,
                                              const char *subject, struct fault *fault);

/* What a queue of type quorum must be: not auto-delete, not exclusive, durable. STATUS_FAULT: 406.
 * Queues of other types pass. */
MUST_CHECK enum status queue_settings_check_quorum(const struct queue_settings *settings,
                                                   bool auto_delete, bool durable, bool exclusive,
                                                   const char *subject, struct fault *fault);

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

/* Settings ------------------------------------------------------------------------------------- */

/* Reads what a validated table says about a queue of `type`; everything else becomes what it is by
 * default. Names in the table are those of arguments, or with SETTINGS_OF_POLICY of keys of a
 * policy, which lack the "x-". `source` is written down for what is found. */
enum settings_names { SETTINGS_OF_ARGUMENTS, SETTINGS_OF_POLICY };
void queue_settings_fill(struct queue_settings *settings, enum queue_type type, struct bytes table,
                         enum settings_names names, enum setting_source source);

/* What is in force where a queue is declared with `arguments` and those policies match it (NULL:
 * none does), by the table of docs/policies.md. Views point where those of the parts do. */
void queue_settings_merge(struct queue_settings *settings, const struct queue_settings *arguments,
                          const struct queue_settings *policy,
                          const struct queue_settings *operator_policy);

/* Appends what the definitions of a policy and an operator policy say together, key by key as above
 * and without any argument. Keys that are no setting of a queue are the operator's, then the
 * policy's. */
void queue_settings_merge_definitions(struct buffer *out, struct bytes policy,
                                      struct bytes operator_policy);

/* The settings whose values differ: bit 1 << SETTING of each. */
uint32_t queue_settings_differences(const struct queue_settings *a, const struct queue_settings *b);

/* Who has set it to what it is. */
static inline enum setting_source
queue_settings_source(const struct queue_settings *settings, enum queue_setting setting)
{
    return (enum setting_source)settings->sources[setting];
}

/* The name as in a policy: "message-ttl". Static memory. */
const char *queue_setting_name(enum queue_setting setting);

#endif
