/* SPDX-License-Identifier: Apache-2.0 */
/* One table says what an argument may be: who checks it, which queue types have it, whether it has
 * an effect. Its order is RabbitMQ's, which decides what a declaration with several mistakes is
 * told. Reasons are printed as RabbitMQ prints its terms: clients show them. */
#include "queues/settings.h"

#include <inttypes.h>
#include <stdio.h>

#include "amqp/reply.h"
#include "amqp/table.h"
#include "base/assert.h"
#include "queues/settings_words.h"

/* Ten years, as RabbitMQ bounds times. */
static const int64_t EXPIRY_MS_MAX = INT64_C(315360000000);
static const int64_t PRIORITY_MAX = 255;
static const int64_t JITTER_PERCENT_MAX = 100;

enum { REASON_SIZE = QUEUE_ARGUMENT_REASON_SIZE, VALUE_TEXT_SIZE = 96 };

enum type_mask {
    TYPE_CLASSIC = 1 << QUEUE_TYPE_CLASSIC,
    TYPE_QUORUM = 1 << QUEUE_TYPE_QUORUM,
    TYPE_ANY = TYPE_CLASSIC | TYPE_QUORUM,
    TYPE_STREAM = 0, /* a type that we do not have */
};

/* Returns true when the value is good, else writes why it is not. `arguments` is the whole table.
 */
typedef bool check_function(const struct table_value *value, struct bytes arguments, char *reason);

struct argument {
    const char *name;
    check_function *check;
    uint8_t types;    /* of enum type_mask */
    bool is_compared; /* redeclarations must agree on it */
};

/* Checks --------------------------------------------------------------------------------------- */

static bool
refuse(char *reason, const char *text)
{
    (void)snprintf(reason, REASON_SIZE, "%s", text);
    return false;
}

static bool
refuse_number(char *reason, const char *why, int64_t value)
{
    (void)snprintf(reason, REASON_SIZE, "{%s,%" PRId64 "}", why, value);
    return false;
}

static bool
refuse_type(char *reason, const struct table_value *value)
{
    (void)snprintf(reason, REASON_SIZE, "{unacceptable_type,%s}", table_type_name(value->type));
    return false;
}

static bool
check_anything(const struct table_value *value, struct bytes arguments, char *reason)
{
    (void)value;
    (void)arguments;
    (void)reason;
    return true;
}

static bool
check_integer(const struct table_value *value, struct bytes arguments, char *reason)
{
    (void)arguments;
    if (table_value_class(value) == TABLE_CLASS_INTEGER) {
        return true;
    }
    (void)snprintf(reason, REASON_SIZE, "\"expected integer, got %s\"",
                   table_type_name(value->type));
    return false;
}

static bool
check_integer_from(const struct table_value *value, int64_t min, char *reason)
{
    if (!check_integer(value, (struct bytes){0}, reason)) {
        return false;
    }
    int64_t number = table_value_integer(value);
    if (number >= min) {
        return true;
    }
    return refuse_number(reason, number == 0 ? "value_zero" : "value_negative", number);
}

static bool
check_not_negative(const struct table_value *value, struct bytes arguments, char *reason)
{
    (void)arguments;
    return check_integer_from(value, 0, reason);
}

static bool
check_positive(const struct table_value *value, struct bytes arguments, char *reason)
{
    (void)arguments;
    return check_integer_from(value, 1, reason);
}

static bool
check_time_from(const struct table_value *value, int64_t min, char *reason)
{
    if (!check_integer_from(value, min, reason)) {
        return false;
    }
    int64_t number = table_value_integer(value);
    return number <= EXPIRY_MS_MAX || refuse_number(reason, "value_too_large", number);
}

static bool
check_expires(const struct table_value *value, struct bytes arguments, char *reason)
{
    (void)arguments;
    return check_time_from(value, 1, reason);
}

static bool
check_message_ttl(const struct table_value *value, struct bytes arguments, char *reason)
{
    (void)arguments;
    return check_time_from(value, 0, reason);
}

static bool
check_max_priority(const struct table_value *value, struct bytes arguments, char *reason)
{
    (void)arguments;
    if (!check_integer_from(value, 0, reason)) {
        return false;
    }
    int64_t number = table_value_integer(value);
    return number <= PRIORITY_MAX || refuse_number(reason, "max_value_exceeded", number);
}

/* -1 means that there is no limit. */
static bool
check_delivery_limit(const struct table_value *value, struct bytes arguments, char *reason)
{
    (void)arguments;
    return check_integer_from(value, -1, reason);
}

static bool
check_boolean(const struct table_value *value, struct bytes arguments, char *reason)
{
    (void)arguments;
    return table_value_class(value) == TABLE_CLASS_BOOLEAN || refuse_type(reason, value);
}

static bool
check_string(const struct table_value *value, struct bytes arguments, char *reason)
{
    (void)arguments;
    return table_value_class(value) == TABLE_CLASS_STRING || refuse_type(reason, value);
}

/* `words` ends with NULL. */
static bool
check_word(const struct table_value *value, const char *const *words, const char *why, char *reason)
{
    if (!check_string(value, (struct bytes){0}, reason)) {
        return false;
    }
    return words_find(words, value->raw) >= 0 || refuse(reason, why);
}

static bool
check_overflow(const struct table_value *value, struct bytes arguments, char *reason)
{
    (void)arguments;
    return check_word(value, queue_overflow_words, "invalid_overflow", reason);
}

static bool
check_dead_letter_routing_key(const struct table_value *value, struct bytes arguments, char *reason)
{
    struct table_value exchange;
    if (!check_string(value, arguments, reason)) {
        return false;
    }
    return table_find(arguments, "x-dead-letter-exchange", &exchange) ||
           refuse(reason, "routing_key_but_no_dlx_defined");
}

static bool
check_dead_letter_strategy(const struct table_value *value, struct bytes arguments, char *reason)
{
    (void)arguments;
    return check_word(value, dead_letter_strategy_words, "invalid_dlx_strategy", reason);
}

static bool
check_queue_mode(const struct table_value *value, struct bytes arguments, char *reason)
{
    if (!check_string(value, arguments, reason)) {
        return false;
    }
    if (bytes_equal_text(value->raw, "default") || bytes_equal_text(value->raw, "lazy")) {
        return true;
    }
    char text[VALUE_TEXT_SIZE];
    (void)snprintf(reason, REASON_SIZE, "\"unsupported queue mode '%s'\"",
                   table_value_text(value, text, sizeof(text)));
    return false;
}

static bool
check_queue_version(const struct table_value *value, struct bytes arguments, char *reason)
{
    (void)arguments;
    if (!check_integer_from(value, 0, reason)) {
        return false;
    }
    int64_t number = table_value_integer(value);
    if (number == 2) {
        return true;
    }
    (void)snprintf(reason, REASON_SIZE, "\"unsupported queue version '%" PRId64 "'\"", number);
    return false;
}

static bool
check_leader_locator(const struct table_value *value, struct bytes arguments, char *reason)
{
    static const char *const words[] = {"client-local", "balanced", NULL};
    (void)arguments;
    return check_word(value, words, "invalid_queue_locator_arg", reason);
}

/* Names that leave the choice to the broker. */
static bool
names_no_type(struct bytes type)
{
    return type.size == 0 || bytes_equal_text(type, "undefined");
}

static bool
check_queue_type(const struct table_value *value, struct bytes arguments, char *reason)
{
    if (!check_string(value, arguments, reason)) {
        return false;
    }
    if (bytes_equal_text(value->raw, "classic") || bytes_equal_text(value->raw, "quorum") ||
        names_no_type(value->raw)) {
        return true;
    }
    char text[VALUE_TEXT_SIZE];
    (void)snprintf(reason, REASON_SIZE, "\"unsupported queue type '%s'\"",
                   table_value_text(value, text, sizeof(text)));
    return false;
}

static bool
check_retry_type(const struct table_value *value, struct bytes arguments, char *reason)
{
    (void)arguments;
    return check_word(value, retry_type_words, "invalid_delayed_retry_type", reason);
}

static bool
check_retry_max(const struct table_value *value, struct bytes arguments, char *reason)
{
    if (!check_positive(value, arguments, reason)) {
        return false;
    }
    struct table_value min;
    if (!table_find(arguments, "x-delayed-retry-min", &min) ||
        table_value_class(&min) != TABLE_CLASS_INTEGER ||
        table_value_integer(value) >= table_value_integer(&min)) {
        return true;
    }
    (void)snprintf(reason, REASON_SIZE,
                   "\"x-delayed-retry-max (%" PRId64 ") must not be smaller than "
                   "x-delayed-retry-min (%" PRId64 ")\"",
                   table_value_integer(value), table_value_integer(&min));
    return false;
}

/* A number, whole or not, of at least 1. */
static bool
check_retry_multiplier(const struct table_value *value, struct bytes arguments, char *reason)
{
    (void)arguments;
    bool is_good;
    switch (table_value_class(value)) {
    case TABLE_CLASS_INTEGER:
        is_good = table_value_integer(value) >= 1;
        break;
    case TABLE_CLASS_FLOAT:
        is_good = table_value_float(value) >= 1.0; /* which a NaN is not */
        break;
    default:
        return refuse_type(reason, value);
    }
    return is_good || refuse(reason, "invalid_delayed_retry_multiplier");
}

/* Percent, or "full". */
static bool
check_retry_jitter(const struct table_value *value, struct bytes arguments, char *reason)
{
    (void)arguments;
    if (table_value_class(value) == TABLE_CLASS_STRING) {
        return bytes_equal_text(value->raw, "full") ||
               refuse(reason, "invalid_delayed_retry_jitter");
    }
    if (!check_integer_from(value, 0, reason)) {
        return false;
    }
    int64_t number = table_value_integer(value);
    return number <= JITTER_PERCENT_MAX || refuse_number(reason, "max_value_exceeded", number);
}

/* Verdicts that count as a failure, separated by commas; blanks around them are fine. */
static bool
check_retry_counts(const struct table_value *value, struct bytes arguments, char *reason)
{
    if (!check_string(value, arguments, reason)) {
        return false;
    }
    struct bytes word;
    for (size_t at = 0; comma_list_next(value->raw, &at, &word);) {
        if (words_find(retry_verdict_words, word) < 0) {
            return refuse(reason, "invalid_delayed_retry_counts");
        }
    }
    return true;
}

static bool
check_retry_order(const struct table_value *value, struct bytes arguments, char *reason)
{
    (void)arguments;
    return check_word(value, retry_order_words, "invalid_delayed_retry_order", reason);
}

/* The table ------------------------------------------------------------------------------------ */

static const struct argument queue_arguments[] = {
    /* name, check, types, is compared */
    {"x-expires", check_expires, TYPE_ANY, true},
    {"x-message-ttl", check_message_ttl, TYPE_ANY, true},
    {"x-dead-letter-exchange", check_string, TYPE_ANY, true},
    {"x-dead-letter-routing-key", check_dead_letter_routing_key, TYPE_ANY, true},
    {"x-dead-letter-strategy", check_dead_letter_strategy, TYPE_QUORUM, true},
    {"x-max-length", check_not_negative, TYPE_ANY, true},
    {"x-max-length-bytes", check_not_negative, TYPE_ANY, true},
    {"x-max-in-memory-length", check_not_negative, TYPE_QUORUM, true},
    {"x-max-in-memory-bytes", check_not_negative, TYPE_QUORUM, true},
    {"x-max-priority", check_max_priority, TYPE_CLASSIC, true},
    {"x-overflow", check_overflow, TYPE_ANY, true},
    {"x-queue-mode", check_queue_mode, TYPE_CLASSIC, true},
    {"x-queue-version", check_queue_version, TYPE_CLASSIC, true},
    {"x-single-active-consumer", check_boolean, TYPE_ANY, true},
    {"x-consumer-timeout", check_not_negative, TYPE_ANY, true},
    {"x-consumer-disconnected-timeout", check_not_negative, TYPE_ANY, true},
    {"x-queue-type", check_queue_type, TYPE_ANY, true},
    {"x-quorum-initial-group-size", check_positive, TYPE_QUORUM, true},
    {"x-queue-master-locator", check_anything, TYPE_CLASSIC, true},
    {"x-queue-leader-locator", check_leader_locator, TYPE_ANY, true},
    {"x-delivery-limit", check_delivery_limit, TYPE_ANY, true},
    {"x-delayed-retry-type", check_retry_type, TYPE_ANY, true},
    {"x-delayed-retry-min", check_positive, TYPE_ANY, true},
    {"x-delayed-retry-max", check_retry_max, TYPE_ANY, true},
    {"x-delayed-retry-multiplier", check_retry_multiplier, TYPE_ANY, true},
    {"x-delayed-retry-jitter", check_retry_jitter, TYPE_ANY, true},
    {"x-delayed-retry-max-age", check_not_negative, TYPE_ANY, true},
    {"x-delayed-retry-counts", check_retry_counts, TYPE_ANY, true},
    {"x-delayed-retry-order", check_retry_order, TYPE_ANY, true},
    {"x-release-rate", check_positive, TYPE_ANY, true},
    {"x-max-age", check_anything, TYPE_STREAM, false},
    {"x-stream-max-segment-size-bytes", check_anything, TYPE_STREAM, false},
    {"x-stream-filter-size-bytes", check_anything, TYPE_STREAM, false},
    {"x-initial-cluster-size", check_anything, TYPE_STREAM, false},
};

static const struct argument consume_arguments[] = {
    {"x-priority", check_integer, TYPE_ANY, false},
    {"x-consumer-timeout", check_not_negative, TYPE_ANY, false},
    {"x-stream-offset", check_anything, TYPE_STREAM, false},
};

/* Reading -------------------------------------------------------------------------------------- */

const char *
queue_type_name(enum queue_type type)
{
    return type == QUEUE_TYPE_QUORUM ? "quorum" : "classic";
}

static enum status
check_argument(const struct argument *argument, const struct table_value *value,
               struct bytes arguments, const char *subject, struct fault *fault)
{
    char reason[REASON_SIZE];
    if (argument->check(value, arguments, reason)) {
        return STATUS_OK;
    }
    return fault_channel(fault, REPLY_PRECONDITION_FAILED, "invalid arg '%s' for %s: %s",
                         argument->name, subject, reason);
}

/* Values first, then arguments that belong to other types: RabbitMQ's order. */
static enum status
check_arguments(const struct argument *known, size_t known_count, struct bytes arguments,
                enum queue_type type, const char *subject, struct fault *fault)
{
    struct table_value value;
    const char *foreign = NULL;
    for (size_t i = 0; i < known_count; i++) {
        if (!table_find(arguments, known[i].name, &value)) {
            continue;
        }
        if ((known[i].types & 1 << type) == 0) {
            foreign = foreign == NULL ? known[i].name : foreign;
        } else if (check_argument(&known[i], &value, arguments, subject, fault) != STATUS_OK) {
            return STATUS_FAULT;
        }
    }
    if (foreign != NULL) {
        return fault_channel(fault, REPLY_PRECONDITION_FAILED,
                             "invalid arg '%s' for %s of queue type %s", foreign, subject,
                             queue_type_name(type));
    }
    return STATUS_OK;
}

/* The type decides which arguments there are, so it is read before them. */
static enum status
read_type(enum queue_type *type_out, struct bytes arguments, const char *subject,
          struct fault *fault)
{
    static const struct argument type_argument = {.name = "x-queue-type",
                                                  .check = check_queue_type};
    struct table_value value;
    if (!table_find(arguments, type_argument.name, &value)) {
        *type_out = QUEUE_TYPE_CLASSIC;
        return STATUS_OK;
    }
    if (check_argument(&type_argument, &value, arguments, subject, fault) != STATUS_OK) {
        return STATUS_FAULT;
    }
    *type_out = bytes_equal_text(value.raw, "quorum") ? QUEUE_TYPE_QUORUM : QUEUE_TYPE_CLASSIC;
    return STATUS_OK;
}

enum status
queue_settings_read(struct queue_settings *settings, struct bytes arguments, const char *subject,
                    struct fault *fault)
{
    enum queue_type type;
    if (read_type(&type, arguments, subject, fault) != STATUS_OK ||
        check_arguments(queue_arguments, ARRAY_LEN(queue_arguments), arguments, type, subject,
                        fault) != STATUS_OK) {
        return STATUS_FAULT;
    }
    queue_settings_fill(settings, type, arguments, SETTINGS_OF_ARGUMENTS, SETTING_FROM_ARGUMENT);
    return STATUS_OK;
}

static const struct argument *
find_argument(const char *name)
{
    for (size_t i = 0; i < ARRAY_LEN(queue_arguments); i++) {
        if (strcmp(queue_arguments[i].name, name) == 0) {
            return &queue_arguments[i];
        }
    }
    return NULL;
}

bool
queue_argument_check(const char *name, const struct table_value *value, struct bytes arguments,
                     char reason[static QUEUE_ARGUMENT_REASON_SIZE])
{
    const struct argument *argument = find_argument(name);
    assert(argument != NULL);
    return argument->check(value, arguments, reason);
}

enum status
queue_consume_arguments_read(struct consume_settings *settings_out, struct bytes arguments,
                             enum queue_type type, const char *subject, struct fault *fault)
{
    if (check_arguments(consume_arguments, ARRAY_LEN(consume_arguments), arguments, type, subject,
                        fault) != STATUS_OK) {
        return STATUS_FAULT;
    }
    struct table_value value;
    *settings_out = (struct consume_settings){.timeout_ms = -1};
    if (table_find(arguments, "x-priority", &value)) {
        settings_out->priority = table_value_integer(&value);
    }
    if (table_find(arguments, "x-consumer-timeout", &value)) {
        settings_out->timeout_ms = table_value_integer(&value);
    }
    return STATUS_OK;
}

enum status
queue_settings_check_quorum(const struct queue_settings *settings, bool auto_delete, bool durable,
                            bool exclusive, const char *subject, struct fault *fault)
{
    if (settings->type != QUEUE_TYPE_QUORUM) {
        return STATUS_OK;
    }
    if (auto_delete) {
        return fault_channel(fault, REPLY_PRECONDITION_FAILED,
                             "invalid property 'auto-delete' for %s", subject);
    }
    if (exclusive) {
        return fault_channel(fault, REPLY_PRECONDITION_FAILED,
                             "invalid property 'exclusive-owner' for %s", subject);
    }
    if (!durable) {
        return fault_channel(fault, REPLY_PRECONDITION_FAILED,
                             "invalid property 'non-durable' for %s", subject);
    }
    return STATUS_OK;
}

/* Comparing ------------------------------------------------------------------------------------ */

/* As it stands after "received" and "current is". The type is named only where the other side has
 * no value at all. */
static const char *
describe(const struct table_value *value, bool with_type, char *out, size_t out_size)
{
    char text[VALUE_TEXT_SIZE];
    if (value == NULL) {
        (void)snprintf(out, out_size, "none");
    } else if (with_type) {
        (void)snprintf(out, out_size, "the value '%s' of type '%s'",
                       table_value_text(value, text, sizeof(text)), table_type_name(value->type));
    } else {
        (void)snprintf(out, out_size, "'%s'", table_value_text(value, text, sizeof(text)));
    }
    return out;
}

static enum status
fault_inequivalent(const char *name, const struct table_value *received,
                   const struct table_value *current, const char *subject, struct fault *fault)
{
    char received_text[VALUE_TEXT_SIZE + 64];
    char current_text[VALUE_TEXT_SIZE + 64];
    return fault_channel(fault, REPLY_PRECONDITION_FAILED,
                         "inequivalent arg '%s' for %s: received %s but current is %s", name,
                         subject,
                         describe(received, current == NULL, received_text, sizeof(received_text)),
                         describe(current, received == NULL, current_text, sizeof(current_text)));
}

/* No type at all means classic. */
static bool
is_default_type(const char *name, const struct table_value *value)
{
    return bytes_equal_text(bytes_of("x-queue-type"), name) &&
           table_value_class(value) == TABLE_CLASS_STRING &&
           (bytes_equal_text(value->raw, "classic") || names_no_type(value->raw));
}

static bool
is_equivalent(const char *name, const struct table_value *received,
              const struct table_value *current)
{
    if (received == NULL && current == NULL) {
        return true;
    }
    if (received == NULL) {
        return is_default_type(name, current);
    }
    if (current == NULL) {
        return is_default_type(name, received);
    }
    return table_value_equal(received, current);
}

enum status
queue_settings_compare(struct bytes received, struct bytes current, const char *subject,
                       struct fault *fault)
{
    for (size_t i = 0; i < ARRAY_LEN(queue_arguments); i++) {
        if (!queue_arguments[i].is_compared) {
            continue;
        }
        const char *name = queue_arguments[i].name;
        struct table_value received_value;
        struct table_value current_value;
        const struct table_value *a =
            table_find(received, name, &received_value) ? &received_value : NULL;
        const struct table_value *b =
            table_find(current, name, &current_value) ? &current_value : NULL;
        if (!is_equivalent(name, a, b)) {
            return fault_inequivalent(name, a, b, subject, fault);
        }
    }
    return STATUS_OK;
}

enum status
queue_property_compare(const char *name, bool received, bool current, const char *subject,
                       struct fault *fault)
{
    if (received == current) {
        return STATUS_OK;
    }
    return fault_channel(fault, REPLY_PRECONDITION_FAILED,
                         "inequivalent arg '%s' for %s: received '%s' but current is '%s'", name,
                         subject, received ? "true" : "false", current ? "true" : "false");
}
