/* SPDX-License-Identifier: Apache-2.0 */
/* The keys of policies. Most are arguments without the "x-", and take what those take; what is
 * refused is told in RabbitMQ's words, with the reason that a client would be told, and what would
 * have been right. */
#include <inttypes.h>
#include <stdio.h>

#include "base/assert.h"
#include "queues/policy.h"

enum {
    ON_QUEUE = POLICY_ON_CLASSIC_QUEUE | POLICY_ON_QUORUM_QUEUE,
    ON_ANY_QUEUE = ON_QUEUE | POLICY_ON_STREAM,
    KEY_SIZE_MAX = 64,
    VALUE_TEXT_SIZE = 96,
    FILTER_BYTES_MIN = 16,
    FILTER_BYTES_MAX = 255,
};

enum key_check {
    CHECK_ARGUMENT, /* as the argument of that name */
    CHECK_TEXT,
    CHECK_NOT_NEGATIVE,
    CHECK_POSITIVE,
    CHECK_FILTER_SIZE,
    CHECK_AGE,
};

struct policy_key {
    const char *name;
    uint8_t objects; /* that have it; of enum policy_object */
    bool is_for_operators;
    bool is_without_effect; /* of what other brokers have and this one does not */
    enum key_check check;
    const char *what; /* "message TTL", as in "... is not a valid message TTL" */
    const char *takes;
};

#define TIME_FROM(number) "milliseconds from " number " to 315360000000"
static const char TEXT[] = "a text";
static const char NUMBER[] = "a whole number from 0 on";

static const struct policy_key keys[] = {
    {"message-ttl", ON_QUEUE, true, false, CHECK_ARGUMENT, "message TTL", TIME_FROM("0")},
    {"expires", ON_QUEUE, true, false, CHECK_ARGUMENT, "queue expiry", TIME_FROM("1")},
    {"max-length", ON_QUEUE, true, false, CHECK_ARGUMENT, "maximum length", NUMBER},
    {"max-length-bytes", ON_ANY_QUEUE, true, false, CHECK_ARGUMENT, "maximum length in bytes",
     NUMBER},
    {"overflow", ON_QUEUE, true, false, CHECK_ARGUMENT, "overflow value",
     "drop-head, reject-publish or reject-publish-dlx"},
    {"dead-letter-exchange", ON_QUEUE, false, false, CHECK_TEXT, "dead letter exchange name", TEXT},
    {"dead-letter-routing-key", ON_QUEUE, false, false, CHECK_TEXT, "dead letter routing key",
     TEXT},
    {"dead-letter-strategy", POLICY_ON_QUORUM_QUEUE, false, false, CHECK_ARGUMENT,
     "dead letter strategy", "at-most-once or at-least-once"},
    {"delivery-limit", ON_QUEUE, true, false, CHECK_ARGUMENT, "delivery limit",
     "a whole number from 0 on, or -1 for none"},
    {"consumer-timeout", ON_QUEUE, false, false, CHECK_ARGUMENT, "consumer timeout",
     "milliseconds from 0 on"},
    {"consumer-disconnected-timeout", ON_QUEUE, false, false, CHECK_ARGUMENT,
     "consumer disconnected timeout", "milliseconds from 0 on"},
    {"release-rate", ON_QUEUE, true, false, CHECK_ARGUMENT, "release rate",
     "messages per second from 1 on"},
    {"delayed-retry-type", ON_QUEUE, true, false, CHECK_ARGUMENT, "delayed retry type",
     "all, failed, returned or disabled"},
    {"delayed-retry-min", ON_QUEUE, true, false, CHECK_ARGUMENT, "delayed retry min",
     "milliseconds from 1 on"},
    {"delayed-retry-max", ON_QUEUE, true, false, CHECK_ARGUMENT, "delayed retry max",
     "milliseconds from delayed-retry-min on"},
    {"delayed-retry-multiplier", ON_QUEUE, true, false, CHECK_ARGUMENT, "delayed retry multiplier",
     "a number from 1 on"},
    {"delayed-retry-jitter", ON_QUEUE, true, false, CHECK_ARGUMENT, "delayed retry jitter",
     "a percentage from 0 to 100 as a number, or full"},
    {"delayed-retry-max-age", ON_QUEUE, true, false, CHECK_ARGUMENT, "delayed retry max age",
     "milliseconds from 0 on"},
    {"delayed-retry-counts", ON_QUEUE, true, false, CHECK_ARGUMENT, "list of delayed retry counts",
     "nack, reject, lost and timeout, separated by commas"},
    {"delayed-retry-order", ON_QUEUE, true, false, CHECK_ARGUMENT, "delayed retry order",
     "free or hold"},
    {"queue-leader-locator", ON_ANY_QUEUE, false, false, CHECK_ARGUMENT,
     "queue leader locator value", "client-local or balanced"},
    {"initial-cluster-size", POLICY_ON_QUORUM_QUEUE | POLICY_ON_STREAM, false, false,
     CHECK_POSITIVE, "cluster size", "a whole number from 1 on"},
    {"target-group-size", POLICY_ON_QUORUM_QUEUE, true, false, CHECK_POSITIVE, "target count",
     "a whole number from 1 on"},
    {"queue-mode", POLICY_ON_CLASSIC_QUEUE, false, false, CHECK_ARGUMENT, "queue-mode value",
     "default or lazy"},
    {"queue-version", POLICY_ON_CLASSIC_QUEUE, true, false, CHECK_ARGUMENT, "queue version", "2"},
    {"max-age", POLICY_ON_STREAM, false, true, CHECK_AGE, "max age",
     "a number and Y, M, D, h, m or s, such as 7D"},
    {"stream-max-segment-size-bytes", POLICY_ON_STREAM, false, true, CHECK_NOT_NEGATIVE,
     "segment size", NUMBER},
    {"stream-filter-size-bytes", POLICY_ON_STREAM, false, true, CHECK_FILTER_SIZE, "filter size",
     "a whole number from 16 to 255"},
    {"alternate-exchange", POLICY_ON_EXCHANGE, false, false, CHECK_TEXT, "alternate exchange name",
     TEXT},
    {"federation-upstream", ON_ANY_QUEUE | POLICY_ON_EXCHANGE, false, true, CHECK_TEXT,
     "federation upstream name", TEXT},
    {"federation-upstream-set", ON_ANY_QUEUE | POLICY_ON_EXCHANGE, false, true, CHECK_TEXT,
     "federation upstream set name", TEXT},
};

static const struct policy_key *
find_key(struct bytes name)
{
    for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
        if (bytes_equal_text(name, keys[i].name)) {
            return &keys[i];
        }
    }
    return NULL;
}

const char *
policy_key_name(size_t at)
{
    return at < ARRAY_LEN(keys) ? keys[at].name : NULL;
}

static const char *
argument_name(const struct policy_key *key, char out[static KEY_SIZE_MAX])
{
    (void)snprintf(out, KEY_SIZE_MAX, "x-%s", key->name);
    return out;
}

bool
policy_key_is_without_effect(struct bytes name)
{
    const struct policy_key *key = find_key(name);
    return key != NULL && key->is_without_effect;
}

bool
policy_does_nothing_by(enum policy_target target, struct bytes key)
{
    return target == POLICY_FOR_STREAMS || policy_key_is_without_effect(key);
}

/* Values ------------------------------------------------------------------------------------- */

static bool
check_number(const struct table_value *value, int64_t min, int64_t max, char *reason)
{
    if (table_value_class(value) != TABLE_CLASS_INTEGER) {
        (void)snprintf(reason, QUEUE_ARGUMENT_REASON_SIZE, "\"expected integer, got %s\"",
                       table_type_name(value->type));
        return false;
    }
    int64_t number = table_value_integer(value);
    if (number >= min && number <= max) {
        return true;
    }
    const char *why = number > max  ? "value_too_large"
                      : number == 0 ? "value_zero"
                      : number < 0  ? "value_negative"
                                    : "value_too_small";
    (void)snprintf(reason, QUEUE_ARGUMENT_REASON_SIZE, "{%s,%" PRId64 "}", why, number);
    return false;
}

static bool
check_text(const struct table_value *value, char *reason)
{
    if (table_value_class(value) == TABLE_CLASS_STRING) {
        return true;
    }
    (void)snprintf(reason, QUEUE_ARGUMENT_REASON_SIZE, "{unacceptable_type,%s}",
                   table_type_name(value->type));
    return false;
}

static bool
is_age_unit(uint8_t octet)
{
    return octet == 'Y' || octet == 'M' || octet == 'D' || octet == 'h' || octet == 'm' ||
           octet == 's';
}

static bool
check_age(const struct table_value *value, char *reason)
{
    if (!check_text(value, reason)) {
        return false;
    }
    size_t digits = 0;
    while (digits < value->raw.size && value->raw.data[digits] >= '0' &&
           value->raw.data[digits] <= '9') {
        digits++;
    }
    if (digits > 0 && digits + 1 == value->raw.size && is_age_unit(value->raw.data[digits])) {
        return true;
    }
    (void)snprintf(reason, QUEUE_ARGUMENT_REASON_SIZE, "invalid_max_age");
    return false;
}

static bool
check_value(const struct policy_key *key, const struct table_value *value, char *reason)
{
    char argument[KEY_SIZE_MAX];
    switch (key->check) {
    case CHECK_TEXT:
        return check_text(value, reason);
    case CHECK_NOT_NEGATIVE:
        return check_number(value, 0, INT64_MAX, reason);
    case CHECK_POSITIVE:
        return check_number(value, 1, INT64_MAX, reason);
    case CHECK_FILTER_SIZE:
        return check_number(value, FILTER_BYTES_MIN, FILTER_BYTES_MAX, reason);
    case CHECK_AGE:
        return check_age(value, reason);
    case CHECK_ARGUMENT:
        break;
    }
    return queue_argument_check(argument_name(key, argument), value, bytes_make(NULL, 0), reason);
}

static bool
refuse_value(struct policy_problem *problem, const struct policy_key *key,
             const struct table_value *value, const char *reason)
{
    char text[VALUE_TEXT_SIZE];
    bool is_text = table_value_class(value) == TABLE_CLASS_STRING;
    problem->kind = POLICY_PROBLEM_VALUE;
    (void)snprintf(problem->text, sizeof(problem->text),
                   "%s%s%s is not a valid %s (%s); it takes %s", is_text ? "\"" : "",
                   table_value_text(value, text, sizeof(text)), is_text ? "\"" : "", key->what,
                   reason, key->takes);
    return false;
}

/* Keys beside each other --------------------------------------------------------------------- */

/* A type that has messages wait says how long. */
static bool
check_retry_has_delay(const struct policy_properties *properties, const struct table_value *value,
                      struct policy_problem *problem)
{
    struct table_value min;
    if (bytes_equal_text(value->raw, "disabled") ||
        table_find(properties->definition, "delayed-retry-min", &min)) {
        return true;
    }
    problem->kind = POLICY_PROBLEM_VALUE;
    (void)snprintf(problem->text, sizeof(problem->text),
                   "\"delayed-retry-type\" needs \"delayed-retry-min\" beside it, the delay after "
                   "the first failure in milliseconds");
    return false;
}

static bool
check_retry_bounds(const struct policy_properties *properties, const struct table_value *value,
                   struct policy_problem *problem)
{
    struct table_value min;
    if (!table_find(properties->definition, "delayed-retry-min", &min) ||
        table_value_class(&min) != TABLE_CLASS_INTEGER ||
        table_value_integer(value) >= table_value_integer(&min)) {
        return true;
    }
    problem->kind = POLICY_PROBLEM_VALUE;
    (void)snprintf(problem->text, sizeof(problem->text),
                   "\"delayed-retry-max\" (%" PRId64 ") must not be smaller than "
                   "\"delayed-retry-min\" (%" PRId64 ")",
                   table_value_integer(value), table_value_integer(&min));
    return false;
}

static bool
check_beside_others(const struct policy_properties *properties, const struct policy_key *key,
                    const struct table_value *value, struct policy_problem *problem)
{
    if (strcmp(key->name, "delayed-retry-type") == 0) {
        return check_retry_has_delay(properties, value, problem);
    }
    if (strcmp(key->name, "delayed-retry-max") == 0) {
        return check_retry_bounds(properties, value, problem);
    }
    return true;
}

/* Keys --------------------------------------------------------------------------------------- */

static bool
refuse_unknown(struct policy_problem *problem, struct bytes key)
{
    struct table_value value = {.type = 'S', .raw = key};
    char text[VALUE_TEXT_SIZE];
    problem->is_unknown = true;
    (void)snprintf(problem->text, sizeof(problem->text), "\"%s\" is not a key of policies",
                   table_value_text(&value, text, sizeof(text)));
    return false;
}

/* "queues", where it is for more than one type of them. */
static const char *
objects_text(uint8_t objects)
{
    for (int i = POLICY_TARGET_COUNT - 1; i > POLICY_FOR_QUEUES; i--) {
        if ((policy_target_objects((enum policy_target)i) & objects) == objects) {
            return policy_target_name((enum policy_target)i);
        }
    }
    return policy_target_name((objects & POLICY_ON_EXCHANGE) != 0 ? POLICY_FOR_ALL
                                                                  : POLICY_FOR_QUEUES);
}

static bool
refuse_target(struct policy_problem *problem, const struct policy_key *key,
              enum policy_target target)
{
    (void)snprintf(problem->text, sizeof(problem->text),
                   "\"%s\" is for %s, and this policy applies to %s; change \"apply-to\" or leave "
                   "the key out",
                   key->name, objects_text(key->objects), policy_target_name(target));
    return false;
}

static bool
refuse_operator(struct policy_problem *problem, const struct policy_key *key)
{
    (void)snprintf(problem->text, sizeof(problem->text),
                   "\"%s\" is not for operator policies; set it in a policy", key->name);
    return false;
}

bool
policy_key_check(const struct policy_properties *properties, struct bytes name,
                 const struct table_value *value, struct policy_problem *problem)
{
    char reason[QUEUE_ARGUMENT_REASON_SIZE];
    const struct policy_key *key = find_key(name);
    *problem = (struct policy_problem){.kind = POLICY_PROBLEM_KEY};
    if (key == NULL) {
        return refuse_unknown(problem, name);
    }
    if (properties->kind == POLICY_OPERATOR && !key->is_for_operators) {
        return refuse_operator(problem, key);
    }
    if ((key->objects & policy_target_objects(properties->target)) == 0) {
        return refuse_target(problem, key, properties->target);
    }
    if (!check_value(key, value, reason)) {
        return refuse_value(problem, key, value, reason);
    }
    return check_beside_others(properties, key, value, problem);
}

bool
policy_definition_check(const struct policy_properties *properties, char *why, size_t why_size)
{
    struct byte_reader reader = byte_reader_make(properties->definition);
    struct bytes key;
    struct table_value value;
    struct policy_problem problem;
    if (properties->definition.size == 0) {
        (void)snprintf(why, why_size, "the definition is empty");
        return false;
    }
    while (table_next(&reader, &key, &value)) {
        if (!policy_key_check(properties, key, &value, &problem)) {
            (void)snprintf(why, why_size, "%s", problem.text);
            return false;
        }
    }
    return true;
}
