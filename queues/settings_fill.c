/* SPDX-License-Identifier: Apache-2.0 */
/* Tables to settings: validated values become fields. One row says where a setting is kept and how
 * it is written. */
#include "queues/settings_fill.h"

#include <stddef.h>

#include "base/assert.h"
#include "queues/settings_words.h"

/* A message that has been delivered so often is poison, in quorum queues where nobody says how
 * often: RabbitMQ's number. */
static const int64_t QUORUM_DELIVERY_LIMIT = 20;

/* Words -------------------------------------------------------------------------------------- */

const char *const queue_overflow_words[] = {
    [OVERFLOW_DROP_HEAD] = "drop-head",
    [OVERFLOW_REJECT_PUBLISH] = "reject-publish",
    [OVERFLOW_REJECT_PUBLISH_DLX] = "reject-publish-dlx",
    NULL,
};

const char *const dead_letter_strategy_words[] = {
    [DEAD_LETTER_AT_MOST_ONCE] = "at-most-once",
    [DEAD_LETTER_AT_LEAST_ONCE] = "at-least-once",
    NULL,
};

const char *const retry_type_words[] = {
    [RETRY_DISABLED] = "disabled",
    [RETRY_ALL] = "all",
    [RETRY_FAILED] = "failed",
    [RETRY_RETURNED] = "returned",
    NULL,
};

const char *const retry_order_words[] = {
    [RETRY_ORDER_FREE] = "free",
    [RETRY_ORDER_HOLD] = "hold",
    NULL,
};

const char *const retry_verdict_words[] = {"nack", "reject", "lost", "timeout", NULL};

int
words_find(const char *const *words, struct bytes word)
{
    for (int place = 0; words[place] != NULL; place++) {
        if (bytes_equal_text(word, words[place])) {
            return place;
        }
    }
    return -1;
}

bool
comma_list_next(struct bytes list, size_t *at, struct bytes *item_out)
{
    if (*at > list.size) {
        return false;
    }
    struct bytes item = bytes_make(list.data + *at, list.size - *at);
    const uint8_t *comma = item.size == 0 ? NULL : memchr(item.data, ',', item.size);
    if (comma != NULL) {
        item.size = (size_t)(comma - item.data);
    }
    *at += item.size + 1;
    while (item.size > 0 && item.data[0] == ' ') {
        item = bytes_make(item.data + 1, item.size - 1);
    }
    while (item.size > 0 && item.data[item.size - 1] == ' ') {
        item.size--;
    }
    *item_out = item;
    return true;
}

/* Reading values ----------------------------------------------------------------------------- */

static void
read_integer(void *field, const struct table_value *value)
{
    int64_t number = table_value_integer(value);
    memcpy(field, &number, sizeof(number));
}

static void
read_text(void *field, const struct table_value *value)
{
    memcpy(field, &value->raw, sizeof(value->raw));
}

static void
read_overflow(void *field, const struct table_value *value)
{
    *(enum queue_overflow *)field =
        (enum queue_overflow)words_find(queue_overflow_words, value->raw);
}

static void
read_strategy(void *field, const struct table_value *value)
{
    *(enum dead_letter_strategy *)field =
        (enum dead_letter_strategy)words_find(dead_letter_strategy_words, value->raw);
}

static void
read_retry_type(void *field, const struct table_value *value)
{
    *(enum retry_type *)field = (enum retry_type)words_find(retry_type_words, value->raw);
}

static void
read_retry_order(void *field, const struct table_value *value)
{
    *(enum retry_order *)field = (enum retry_order)words_find(retry_order_words, value->raw);
}

static void
read_multiplier(void *field, const struct table_value *value)
{
    *(double *)field = table_value_class(value) == TABLE_CLASS_INTEGER
                           ? (double)table_value_integer(value)
                           : table_value_float(value);
}

static void
read_jitter(void *field, const struct table_value *value)
{
    struct retry_jitter *jitter = field;
    jitter->is_full = table_value_class(value) == TABLE_CLASS_STRING;
    jitter->percent = jitter->is_full ? 0 : (uint8_t)table_value_integer(value);
}

static void
read_counts(void *field, const struct table_value *value)
{
    uint8_t *counts = field;
    struct bytes word;
    *counts = 0;
    for (size_t at = 0; comma_list_next(value->raw, &at, &word);) {
        *counts |= (uint8_t)(1 << words_find(retry_verdict_words, word));
    }
}

#define KEPT_IN(member)                                                                            \
    .offset = offsetof(struct queue_settings, member),                                             \
    .size = sizeof(((struct queue_settings *)NULL)->member)

static const struct setting_row rows[QUEUE_SETTING_COUNT] = {
    [SETTING_MESSAGE_TTL] = {"x-message-ttl", read_integer, KEPT_IN(message_ttl_ms)},
    [SETTING_EXPIRES] = {"x-expires", read_integer, KEPT_IN(expires_ms)},
    [SETTING_MAX_LENGTH] = {"x-max-length", read_integer, KEPT_IN(max_length)},
    [SETTING_MAX_LENGTH_BYTES] = {"x-max-length-bytes", read_integer, KEPT_IN(max_length_bytes)},
    [SETTING_OVERFLOW] = {"x-overflow", read_overflow, KEPT_IN(overflow)},
    [SETTING_DEAD_LETTER_EXCHANGE] = {"x-dead-letter-exchange", read_text,
                                      KEPT_IN(dead_letter_exchange), .is_text = true},
    [SETTING_DEAD_LETTER_ROUTING_KEY] = {"x-dead-letter-routing-key", read_text,
                                         KEPT_IN(dead_letter_routing_key), .is_text = true},
    [SETTING_DEAD_LETTER_STRATEGY] = {"x-dead-letter-strategy", read_strategy,
                                      KEPT_IN(dead_letter_strategy)},
    [SETTING_DELIVERY_LIMIT] = {"x-delivery-limit", read_integer, KEPT_IN(delivery_limit)},
    [SETTING_CONSUMER_TIMEOUT] = {"x-consumer-timeout", read_integer, KEPT_IN(consumer_timeout_ms)},
    [SETTING_RETRY_TYPE] = {"x-delayed-retry-type", read_retry_type, KEPT_IN(retry.type)},
    [SETTING_RETRY_MIN] = {"x-delayed-retry-min", read_integer, KEPT_IN(retry.min_ms)},
    [SETTING_RETRY_MAX] = {"x-delayed-retry-max", read_integer, KEPT_IN(retry.max_ms)},
    [SETTING_RETRY_MULTIPLIER] = {"x-delayed-retry-multiplier", read_multiplier,
                                  KEPT_IN(retry.multiplier)},
    [SETTING_RETRY_JITTER] = {"x-delayed-retry-jitter", read_jitter, KEPT_IN(retry.jitter)},
    [SETTING_RETRY_MAX_AGE] = {"x-delayed-retry-max-age", read_integer, KEPT_IN(retry.max_age_ms)},
    [SETTING_RETRY_COUNTS] = {"x-delayed-retry-counts", read_counts, KEPT_IN(retry.counts)},
    [SETTING_RETRY_ORDER] = {"x-delayed-retry-order", read_retry_order, KEPT_IN(retry.order)},
};

const struct setting_row *
setting_row(enum queue_setting setting)
{
    return &rows[setting];
}

const char *
queue_setting_name(enum queue_setting setting)
{
    return rows[setting].argument + strlen("x-");
}

/* Filling ------------------------------------------------------------------------------------ */

static bool
says_something_of_failures(const uint8_t *sources)
{
    bool is_said = sources[SETTING_DELIVERY_LIMIT] != SETTING_IS_DEFAULT;
    for (enum queue_setting i = SETTING_RETRY_TYPE; i <= SETTING_RETRY_ORDER; i++) {
        is_said = is_said || sources[i] != SETTING_IS_DEFAULT;
    }
    return is_said;
}

/* A first delay and no type: who gives one wants messages to wait. */
static void
choose_retry_type(struct queue_settings *settings)
{
    if (settings->sources[SETTING_RETRY_TYPE] == SETTING_IS_DEFAULT) {
        settings->retry.type =
            settings->sources[SETTING_RETRY_MIN] == SETTING_IS_DEFAULT ? RETRY_DISABLED : RETRY_ALL;
    }
}

void
queue_settings_finish(struct queue_settings *settings)
{
    const uint8_t *sources = settings->sources;
    settings->has_dead_letter_exchange =
        sources[SETTING_DEAD_LETTER_EXCHANGE] != SETTING_IS_DEFAULT;
    settings->has_dead_letter_routing_key =
        sources[SETTING_DEAD_LETTER_ROUTING_KEY] != SETTING_IS_DEFAULT;
    if (settings->type == QUEUE_TYPE_QUORUM &&
        sources[SETTING_DELIVERY_LIMIT] == SETTING_IS_DEFAULT) {
        settings->delivery_limit = QUORUM_DELIVERY_LIMIT;
    }
    choose_retry_type(settings);
    settings->counts_failures =
        settings->type == QUEUE_TYPE_QUORUM || says_something_of_failures(sources);
}

const struct queue_settings *
queue_settings_default(void)
{
    static const struct queue_settings settings = {
        .type = QUEUE_TYPE_CLASSIC,
        .overflow = OVERFLOW_DROP_HEAD,
        .expires_ms = -1,
        .message_ttl_ms = -1,
        .max_length = -1,
        .max_length_bytes = -1,
        .max_priority = -1,
        .consumer_timeout_ms = -1,
        .delivery_limit = -1,
        .retry = {.min_ms = -1, .max_ms = -1, .max_age_ms = -1, .counts = RETRY_ANY_VERDICT},
    };
    return &settings;
}

/* What no policy can set. */
static void
fill_fixed(struct queue_settings *settings, struct bytes arguments)
{
    struct table_value value;
    settings->single_active_consumer =
        table_find(arguments, "x-single-active-consumer", &value) && table_value_boolean(&value);
    if (table_find(arguments, "x-max-priority", &value)) {
        settings->max_priority = table_value_integer(&value);
    }
}

void
queue_settings_fill(struct queue_settings *settings, enum queue_type type, struct bytes table,
                    enum settings_names names, enum setting_source source)
{
    size_t prefix = names == SETTINGS_OF_POLICY ? strlen("x-") : 0;
    *settings = *queue_settings_default();
    settings->type = type;
    if (names == SETTINGS_OF_ARGUMENTS) {
        fill_fixed(settings, table);
    }
    for (size_t i = 0; i < QUEUE_SETTING_COUNT; i++) {
        struct table_value value;
        if (table_find(table, rows[i].argument + prefix, &value)) {
            rows[i].read((uint8_t *)settings + rows[i].offset, &value);
            settings->sources[i] = (uint8_t)source;
        }
    }
    queue_settings_finish(settings);
}
