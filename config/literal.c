/* SPDX-License-Identifier: Apache-2.0 */
/* One parser per kind of value, in a table; units are tables as well. */
#include "config/literal.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/assert.h"
#include "config/hints.h"
#include "config/report.h"

enum { NAME_SIZE_MAX = 255 };

struct unit {
    const char *text;
    int64_t factor;
};

static const struct unit duration_units[] = {
    {"ms", 1}, {"s", 1000}, {"m", 60000}, {"h", 3600000}, {"d", 86400000}, {"w", 604800000},
};

static const struct unit size_units[] = {
    {"B", 1},
    {"KiB", INT64_C(1) << 10},
    {"MiB", INT64_C(1) << 20},
    {"GiB", INT64_C(1) << 30},
    {"TiB", INT64_C(1) << 40},
    {"KB", 1000},
    {"MB", 1000000},
    {"GB", 1000000000},
    {"TB", 1000000000000},
};

/* Plain scalars ------------------------------------------------------------------------------ */

bool
literal_is_boolean(const struct node *node, bool *value_out)
{
    bool is_true = bytes_equal_text(node->text, "true");
    if (!node->is_plain || (!is_true && !bytes_equal_text(node->text, "false"))) {
        return false;
    }
    *value_out = is_true;
    return true;
}

static bool
is_digit(uint8_t octet)
{
    return octet >= '0' && octet <= '9';
}

static size_t
count_digits(struct bytes text, size_t from)
{
    size_t at = from;
    while (at < text.size && is_digit(text.data[at])) {
        at++;
    }
    return at - from;
}

bool
literal_is_integer(const struct node *node, int64_t *value_out)
{
    struct bytes text = node->text;
    size_t sign = text.size > 0 && (text.data[0] == '-' || text.data[0] == '+') ? 1 : 0;
    size_t digits = count_digits(text, sign);
    if (!node->is_plain || digits == 0 || sign + digits != text.size) {
        return false;
    }
    errno = 0;
    long long value = strtoll((const char *)text.data, NULL, 10);
    *value_out = value;
    return errno == 0;
}

/* Digits, and then a fraction or an exponent or both. */
bool
literal_is_number(const struct node *node, double *value_out)
{
    struct bytes text = node->text;
    size_t at = text.size > 0 && (text.data[0] == '-' || text.data[0] == '+') ? 1 : 0;
    size_t digits = count_digits(text, at);
    at += digits;
    if (at < text.size && text.data[at] == '.') {
        size_t fraction = count_digits(text, at + 1);
        digits += fraction;
        at += 1 + fraction;
    }
    if (digits > 0 && at < text.size && (text.data[at] == 'e' || text.data[at] == 'E')) {
        size_t sign = at + 1 < text.size && (text.data[at + 1] == '-' || text.data[at + 1] == '+');
        size_t exponent = count_digits(text, at + 1 + sign);
        at += exponent > 0 ? 1 + sign + exponent : 0;
    }
    if (!node->is_plain || digits == 0 || at != text.size) {
        return false;
    }
    *value_out = strtod((const char *)text.data, NULL);
    return isfinite(*value_out);
}

/* Whole numbers with a unit ------------------------------------------------------------------ */

enum unit_result { UNIT_OK, UNIT_MISSING, UNIT_WRONG };

static enum unit_result
parse_with_unit(struct bytes text, const struct unit *units, size_t unit_count, int64_t *value_out)
{
    size_t digits = count_digits(text, 0);
    if (digits == 0) {
        return UNIT_WRONG;
    }
    if (digits == text.size) {
        return UNIT_MISSING;
    }
    errno = 0;
    long long count = strtoll((const char *)text.data, NULL, 10);
    struct bytes rest = bytes_make(text.data + digits, text.size - digits);
    for (size_t i = 0; i < unit_count; i++) {
        if (bytes_equal_text(rest, units[i].text)) {
            bool overflows =
                errno != 0 || __builtin_mul_overflow(count, units[i].factor, value_out);
            *value_out = overflows ? INT64_MAX : *value_out;
            return UNIT_OK;
        }
    }
    return UNIT_WRONG;
}

static bool
parse_percent(struct bytes text, int64_t *value_out)
{
    size_t digits = count_digits(text, 0);
    if (digits == 0 || digits > 3 || digits + 1 != text.size || text.data[digits] != '%') {
        return false;
    }
    *value_out = strtoll((const char *)text.data, NULL, 10);
    return *value_out <= 100;
}

/* Bounds as a person would write them. */
static const char *
bound_text(enum literal_type type, int64_t value, char out[static 32])
{
    const struct unit *units = type == LITERAL_DURATION ? duration_units : size_units;
    size_t count = type == LITERAL_DURATION ? ARRAY_LEN(duration_units) : 5;
    size_t best = 0;
    if (type == LITERAL_INTEGER) {
        snprintf(out, 32, "%" PRId64, value);
        return out;
    }
    for (size_t i = 0; i < count; i++) {
        if (value != 0 && value % units[i].factor == 0) {
            best = i;
        }
    }
    snprintf(out, 32, "%" PRId64 "%s", value / units[best].factor, units[best].text);
    return out;
}

static bool
check_range(const struct literal_rule *rule, int64_t value, char *why)
{
    int64_t max = rule->max == 0 ? INT64_MAX : rule->max;
    char low[32];
    char high[32];
    if (value >= rule->min && value <= max) {
        return true;
    }
    bound_text(rule->type, rule->min, low);
    if (rule->max == 0) {
        snprintf(why, LITERAL_WHY_SIZE, "is at least %s", low);
    } else if (rule->max == rule->min) {
        snprintf(why, LITERAL_WHY_SIZE, "is %s: this version knows no other", low);
    } else {
        snprintf(why, LITERAL_WHY_SIZE, "is between %s and %s", low,
                 bound_text(rule->type, rule->max, high));
    }
    return false;
}

/* "takes WHAT, not "TEXT"". Long texts are not repeated whole. */
static bool
refuse(const struct node *node, const char *what, char *why)
{
    enum { SHOWN_MAX = 60 };
    struct bytes text = node->text;
    const char *dots = text.size > SHOWN_MAX ? "..." : "";
    text.size = bytes_utf8_prefix(text, SHOWN_MAX);
    snprintf(why, LITERAL_WHY_SIZE, "takes %s, not \"%.*s%s\"", what, BYTES_FORMAT(text), dots);
    return false;
}

/* Kinds -------------------------------------------------------------------------------------- */

typedef bool literal_parser(const struct literal_rule *rule, const struct node *node,
                            struct literal *out, char *why);

/* Puts more behind what is wrong. Always false. */
static bool
add_hint(char *why, const char *hint)
{
    size_t length = strlen(why);
    snprintf(why + length, LITERAL_WHY_SIZE - length, "%s", hint);
    return false;
}

static bool
parse_boolean(const struct literal_rule *rule, const struct node *node, struct literal *out,
              char *why)
{
    bool value = false;
    (void)rule;
    if (!literal_is_boolean(node, &value)) {
        bool is_quoted =
            bytes_equal_text(node->text, "true") || bytes_equal_text(node->text, "false");
        (void)refuse(node, "true or false", why);
        return add_hint(why, is_quoted ? "; write it without quotes" : hint_for_word(node->text));
    }
    out->integer = value ? 1 : 0;
    return true;
}

static bool
parse_integer(const struct literal_rule *rule, const struct node *node, struct literal *out,
              char *why)
{
    if (!literal_is_integer(node, &out->integer)) {
        return refuse(node, "a whole number without quotes or unit", why);
    }
    return check_range(rule, out->integer, why);
}

static bool
parse_number(const struct literal_rule *rule, const struct node *node, struct literal *out,
             char *why)
{
    if (!literal_is_number(node, &out->number)) {
        return refuse(node, "a number", why);
    }
    if (out->number < (double)rule->min || (rule->max != 0 && out->number > (double)rule->max)) {
        snprintf(why, LITERAL_WHY_SIZE, "is between %" PRId64 " and %" PRId64, rule->min,
                 rule->max);
        return false;
    }
    return true;
}

static bool
parse_duration(const struct literal_rule *rule, const struct node *node, struct literal *out,
               char *why)
{
    enum unit_result result =
        parse_with_unit(node->text, duration_units, ARRAY_LEN(duration_units), &out->integer);
    if (result == UNIT_MISSING) {
        snprintf(why, LITERAL_WHY_SIZE, "needs a unit: %.20sms, %.20ss, m, h, d or w",
                 (const char *)node->text.data, (const char *)node->text.data);
        return false;
    }
    if (result == UNIT_WRONG) {
        return refuse(node, "a duration such as 500ms, 30s, 5m, 24h, 14d or 2w", why);
    }
    return check_range(rule, out->integer, why);
}

static bool
parse_size(const struct literal_rule *rule, const struct node *node, struct literal *out, char *why)
{
    enum unit_result result =
        parse_with_unit(node->text, size_units, ARRAY_LEN(size_units), &out->integer);
    if (result == UNIT_MISSING) {
        snprintf(why, LITERAL_WHY_SIZE,
                 "needs a unit: %.20sB, KiB, MiB, GiB, TiB, KB, MB, GB or TB",
                 (const char *)node->text.data);
        return false;
    }
    if (result == UNIT_WRONG) {
        return refuse(node,
                      rule->type == LITERAL_SIZE
                          ? "a size such as 64KiB, 2GiB or 500MB"
                          : "a size such as 2GiB or a percentage such as 40%",
                      why);
    }
    return check_range(rule, out->integer, why);
}

static bool
parse_size_or_percent(const struct literal_rule *rule, const struct node *node, struct literal *out,
                      char *why)
{
    if (!parse_percent(node->text, &out->integer)) {
        return parse_size(rule, node, out, why);
    }
    if (out->integer == 0) {
        snprintf(why, LITERAL_WHY_SIZE, "is at least 1%%");
        return false;
    }
    out->is_percent = true;
    return true;
}

static bool
find_word(const struct literal_rule *rule, struct bytes text, int64_t *value_out)
{
    for (const struct literal_word *word = rule->words; word != NULL && word->text != NULL;
         word++) {
        if (bytes_equal_text(text, word->text)) {
            *value_out = word->value;
            return true;
        }
    }
    return false;
}

static bool
parse_percent_or_word(const struct literal_rule *rule, const struct node *node, struct literal *out,
                      char *why)
{
    out->is_word = find_word(rule, node->text, &out->integer);
    if (out->is_word) {
        return true;
    }
    out->is_percent = parse_percent(node->text, &out->integer);
    if (out->is_percent) {
        return true;
    }
    int64_t bare = 0;
    if (literal_is_integer(node, &bare)) {
        snprintf(why, LITERAL_WHY_SIZE, "needs a unit: %.20s%%", (const char *)node->text.data);
        return false;
    }
    return refuse(node, rule->words == NULL ? "0% to 100%" : "0% to 100% or \"full\"", why);
}

static bool
parse_text(const struct literal_rule *rule, const struct node *node, struct literal *out, char *why)
{
    (void)out;
    if (rule->type == LITERAL_TEXT && node->text.size == 0) {
        snprintf(why, LITERAL_WHY_SIZE, "is empty");
        return false;
    }
    return true;
}

const char *
literal_name_problem(struct bytes name)
{
    if (name.size == 0) {
        return "is empty";
    }
    if (name.size > NAME_SIZE_MAX) {
        return "is longer than 255 octets";
    }
    for (size_t i = 0; i < name.size; i++) {
        if (name.data[i] < 0x20 || name.data[i] == 0x7F) {
            return "contains a control character";
        }
    }
    return NULL;
}

static bool
parse_name(const struct literal_rule *rule, const struct node *node, struct literal *out, char *why)
{
    const char *problem = literal_name_problem(node->text);
    (void)rule;
    (void)out;
    if (problem != NULL) {
        snprintf(why, LITERAL_WHY_SIZE, "%s", problem);
    }
    return problem == NULL;
}

static bool
parse_key(const struct literal_rule *rule, const struct node *node, struct literal *out, char *why)
{
    (void)rule;
    (void)out;
    if (node->text.size > NAME_SIZE_MAX) {
        snprintf(why, LITERAL_WHY_SIZE, "is longer than 255 octets");
        return false;
    }
    return true;
}

static bool
parse_word(const struct literal_rule *rule, const struct node *node, struct literal *out, char *why)
{
    if (find_word(rule, node->text, &out->integer)) {
        return true;
    }
    char known[120] = "";
    size_t used = 0;
    struct suggestion suggestion = suggestion_for(node->text);
    for (const struct literal_word *word = rule->words; word->text != NULL; word++) {
        const char *separator = word == rule->words ? "" : word[1].text == NULL ? " or " : ", ";
        used += (size_t)snprintf(known + used, sizeof(known) - used, "%s%s", separator, word->text);
        assert(used < sizeof(known));
        suggestion_offer(&suggestion, bytes_of(word->text));
    }
    char guess[SUGGESTION_TEXT_SIZE];
    refuse(node, known, why);
    const char *hint = hint_for_word(node->text);
    return add_hint(why, hint[0] != '\0' ? hint : suggestion_text(&suggestion, guess));
}

static literal_parser *const literal_parsers[] = {
    [LITERAL_BOOLEAN] = parse_boolean,
    [LITERAL_INTEGER] = parse_integer,
    [LITERAL_NUMBER] = parse_number,
    [LITERAL_DURATION] = parse_duration,
    [LITERAL_SIZE] = parse_size,
    [LITERAL_SIZE_OR_PERCENT] = parse_size_or_percent,
    [LITERAL_PERCENT] = parse_percent_or_word,
    [LITERAL_TEXT] = parse_text,
    [LITERAL_ANY_TEXT] = parse_text,
    [LITERAL_NAME] = parse_name,
    [LITERAL_KEY] = parse_key,
    [LITERAL_WORD] = parse_word,
};

bool
literal_parse(const struct literal_rule *rule, const struct node *node, struct literal *literal_out,
              char why[static LITERAL_WHY_SIZE])
{
    struct literal literal = {.text = node->text};
    if (node_is_null(node)) {
        snprintf(why, LITERAL_WHY_SIZE, "has no value");
        return false;
    }
    if (!literal_parsers[rule->type](rule, node, &literal, why)) {
        return false;
    }
    *literal_out = literal;
    return true;
}
