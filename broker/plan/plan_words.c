/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/plan/plan_words.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

#include "base/assert.h"
#include "base/log.h"

enum word_unit { UNIT_PLAIN, UNIT_DURATION, UNIT_SIZE, UNIT_OVERFLOW, UNIT_ATTEMPTS, UNIT_PERCENT };

struct word {
    const char *argument, *key;
    enum word_unit unit;
};

static const struct word words[] = {
    {"alternate-exchange", "unrouted", UNIT_PLAIN},
    {"x-queue-type", "type", UNIT_PLAIN},
    {"x-max-length", "limits.max-length", UNIT_PLAIN},
    {"x-max-length-bytes", "limits.max-bytes", UNIT_SIZE},
    {"x-overflow", "limits.on-full", UNIT_OVERFLOW},
    {"x-message-ttl", "ttl", UNIT_DURATION},
    {"x-expires", "expires", UNIT_DURATION},
    {"x-max-priority", "priorities", UNIT_PLAIN},
    {"x-single-active-consumer", "consumers.single-active", UNIT_PLAIN},
    {"x-consumer-timeout", "ack-timeout", UNIT_DURATION},
    {"x-release-rate", "release-rate", UNIT_PLAIN},
    {"x-delayed-retry-type", "retry", UNIT_PLAIN},
    {"x-delayed-retry-min", "retry.first", UNIT_DURATION},
    {"x-delayed-retry-max", "retry.max", UNIT_DURATION},
    {"x-delayed-retry-multiplier", "retry.factor", UNIT_PLAIN},
    {"x-delayed-retry-jitter", "retry.jitter", UNIT_PERCENT},
    {"x-delivery-limit", "retry.attempts", UNIT_ATTEMPTS},
    {"x-delayed-retry-max-age", "retry.max-age", UNIT_DURATION},
    {"x-delayed-retry-counts", "retry.counts", UNIT_PLAIN},
    {"x-delayed-retry-order", "retry.order", UNIT_PLAIN},
    {"x-dead-letter-exchange", "dead-letter.exchange", UNIT_PLAIN},
    {"x-dead-letter-routing-key", "dead-letter.key", UNIT_PLAIN},
};

static const struct {
    const char *value, *word;
} overflows[] = {
    {"reject-publish", "reject"},
    {"drop-head", "drop-oldest"},
    {"reject-publish-dlx", "dead-letter"},
};

static const struct word *
find_word(struct bytes argument)
{
    for (size_t i = 0; i < ARRAY_LEN(words); i++) {
        if (bytes_equal_text(argument, words[i].argument)) {
            return &words[i];
        }
    }
    return NULL;
}

static const char *arena_printf(struct arena *arena, const char *format, ...) PRINTF_LIKE(2, 3);

static const char *
arena_printf(struct arena *arena, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    int size = vsnprintf(NULL, 0, format, arguments);
    va_end(arguments);
    assert(size >= 0);
    char *out = arena_alloc(arena, (size_t)size + 1);
    va_start(arguments, format);
    (void)vsnprintf(out, (size_t)size + 1, format, arguments);
    va_end(arguments);
    return out;
}

const char *
plan_word_own(struct bytes argument)
{
    const struct word *word = find_word(argument);
    return word != NULL ? word->key : NULL;
}

const char *
plan_word(struct arena *arena, struct bytes argument)
{
    const struct word *word = find_word(argument);
    return word != NULL ? word->key
                        : arena_printf(arena, "arguments.%s", plan_quoted(arena, argument));
}

/* Numbers ------------------------------------------------------------------------------------- */

struct unit {
    const char *name;
    int64_t size;
};

/* In the largest of the units, of which the last is 1, that leaves no rest. */
static const char *
in_units(struct arena *arena, int64_t value, const struct unit *units, size_t count)
{
    size_t at = 0;
    while (at + 1 < count && (value == 0 || value % units[at].size != 0)) {
        at++;
    }
    return arena_printf(arena, "%" PRId64 "%s", value / units[at].size, units[at].name);
}

const char *
plan_duration(struct arena *arena, int64_t ms)
{
    static const struct unit units[] = {{"w", 604800000}, {"d", 86400000}, {"h", 3600000},
                                        {"m", 60000},     {"s", 1000},     {"ms", 1}};
    return in_units(arena, ms, units, ARRAY_LEN(units));
}

const char *
plan_size(struct arena *arena, int64_t octets)
{
    static const struct unit units[] = {
        {"TiB", INT64_C(1) << 40}, {"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}, {"B", 1}};
    return in_units(arena, octets, units, ARRAY_LEN(units));
}

const char *
plan_number(struct arena *arena, int64_t number)
{
    return arena_printf(arena, "%" PRId64, number);
}

/* Texts --------------------------------------------------------------------------------------- */

static bool
is_harmless(struct bytes text)
{
    static const char special[] = "._:/-#*";
    for (size_t i = 0; i < text.size; i++) {
        uint8_t octet = text.data[i];
        bool is_word = (octet >= 'a' && octet <= 'z') || (octet >= 'A' && octet <= 'Z') ||
                       (octet >= '0' && octet <= '9');
        if (!is_word && memchr(special, octet, sizeof(special) - 1) == NULL) {
            return false;
        }
    }
    return text.size > 0;
}

const char *
plan_quoted(struct arena *arena, struct bytes text)
{
    if (is_harmless(text)) {
        return (const char *)arena_copy(arena, text).data;
    }
    size_t size = 6 * text.size + 8; /* an escape has at most six octets */
    return log_escape(arena_alloc(arena, size), size, text);
}

static const char *
plain_text(struct arena *arena, const struct table_value *value)
{
    if (table_value_class(value) == TABLE_CLASS_STRING) {
        return plan_quoted(arena, value->raw);
    }
    char text[512];
    return arena_strdup(arena, table_value_text(value, text, sizeof(text)));
}

const char *
plan_table_text(struct arena *arena, struct bytes table)
{
    struct byte_reader reader = byte_reader_make(table);
    struct bytes name;
    struct table_value value;
    const char *text = "";
    while (table_next(&reader, &name, &value)) {
        text = arena_printf(arena, "%s%s%s: %s", text, text[0] == '\0' ? "" : ", ",
                            plan_quoted(arena, name), plain_text(arena, &value));
    }
    return text;
}

static const char *
overflow_word(struct arena *arena, const struct table_value *value)
{
    for (size_t i = 0; i < ARRAY_LEN(overflows); i++) {
        if (table_value_class(value) == TABLE_CLASS_STRING &&
            bytes_equal_text(value->raw, overflows[i].value)) {
            return overflows[i].word;
        }
    }
    return plain_text(arena, value);
}

const char *
plan_word_value(struct arena *arena, struct bytes argument, const struct table_value *value)
{
    const struct word *word = find_word(argument);
    enum word_unit unit = word == NULL ? UNIT_PLAIN : word->unit;
    if (unit == UNIT_OVERFLOW) {
        return overflow_word(arena, value);
    }
    if (unit == UNIT_PLAIN || table_value_class(value) != TABLE_CLASS_INTEGER) {
        return plain_text(arena, value);
    }
    int64_t integer = table_value_integer(value);
    switch (unit) {
    case UNIT_DURATION:
        return plan_duration(arena, integer);
    case UNIT_SIZE:
        return plan_size(arena, integer);
    case UNIT_ATTEMPTS:
        return plan_number(arena, integer + 1);
    default:
        return arena_printf(arena, "%" PRId64 "%%", integer);
    }
}
