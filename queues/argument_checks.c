/* SPDX-License-Identifier: Apache-2.0 */
#include "queues/argument_checks.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/assert.h"
#include "queues/settings_words.h"

/* Ten years, as RabbitMQ bounds times. */
static const int64_t EXPIRY_MS_MAX = INT64_C(315360000000);
static const int64_t PRIORITY_MAX = 255;
static const int64_t JITTER_PERCENT_MAX = 100;

enum { REASON_SIZE = QUEUE_ARGUMENT_REASON_SIZE, VALUE_TEXT_SIZE = 96 };

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

bool
queue_type_is_none(struct bytes type)
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
        queue_type_is_none(value->raw)) {
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

const struct argument queue_arguments[] = {
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

const struct argument consume_arguments[] = {
    {"x-priority", check_integer, TYPE_ANY, false},
    {"x-consumer-timeout", check_not_negative, TYPE_ANY, false},
    {"x-stream-offset", check_anything, TYPE_STREAM, false},
};

const size_t queue_argument_count = ARRAY_LEN(queue_arguments);
const size_t consume_argument_count = ARRAY_LEN(consume_arguments);

const struct argument *
argument_find(const char *name)
{
    for (size_t i = 0; i < ARRAY_LEN(queue_arguments); i++) {
        if (strcmp(queue_arguments[i].name, name) == 0) {
            return &queue_arguments[i];
        }
    }
    return NULL;
}
