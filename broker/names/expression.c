/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/names/expression.h"

#include <stdint.h>

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

/* What one match may cost: an expression that runs into a limit gives up. Measured on a pattern
 * made to explode: 0.7 ms under these limits, 1.3 s under PCRE2's own. */
static const uint32_t MATCH_LIMIT = 10000;
static const uint32_t MATCH_DEPTH_LIMIT = 1000;
static const uint32_t MATCH_HEAP_LIMIT_KIB = 1024;

static bool
is_word_octet(uint8_t octet)
{
    return (octet >= '0' && octet <= '9') || (octet >= 'A' && octet <= 'Z') ||
           (octet >= 'a' && octet <= 'z') || octet == '_';
}

/* Whether the octet stands for itself, unless a repeat follows it. */
static bool
is_literal(uint8_t octet)
{
    return is_word_octet(octet) || octet == '-' || octet == ':' || octet == '/' || octet == '@';
}

/* The literal at `at`, an octet or one behind a backslash; returns how long it is in the pattern,
 * 0: there is none. A backslash before a letter or digit means something else. */
static size_t
read_literal(struct bytes pattern, size_t at, uint8_t *octet_out)
{
    if (at < pattern.size && is_literal(pattern.data[at])) {
        *octet_out = pattern.data[at];
        return 1;
    }
    if (at + 1 < pattern.size && pattern.data[at] == '\\' && pattern.data[at + 1] < 0x80 &&
        !is_word_octet(pattern.data[at + 1])) {
        *octet_out = pattern.data[at + 1];
        return 2;
    }
    return 0;
}

/* As a repeat of what stands before it. */
static bool
makes_optional(uint8_t octet)
{
    return octet == '?' || octet == '*' || octet == '{';
}

/* Most patterns begin with "^" and a text, and most names do not begin with that text. An
 * alternative anywhere could lead past it; a repeat makes the octet before it optional. */
static void
find_prefix(struct expression *expression, struct bytes pattern)
{
    if (pattern.size == 0 || pattern.data[0] != '^' ||
        memchr(pattern.data, '|', pattern.size) != NULL) {
        return;
    }
    uint8_t octet;
    size_t length;
    for (size_t at = 1; (length = read_literal(pattern, at, &octet)) > 0; at += length) {
        size_t next = at + length;
        if (expression->prefix_size == EXPRESSION_PREFIX_SIZE ||
            (next < pattern.size && makes_optional(pattern.data[next]))) {
            return;
        }
        expression->prefix[expression->prefix_size++] = octet;
    }
}

bool
expression_compile(struct expression *expression, struct bytes pattern,
                   struct expression_error *error)
{
    static const uint8_t empty[1] = {0};
    int code;
    PCRE2_SIZE offset;
    *expression = (struct expression){.matches_all = bytes_equal_text(pattern, ".*")};
    if (expression->matches_all) {
        return true; /* most rights are just that, and it needs no program */
    }
    expression->code = pcre2_compile(pattern.size == 0 ? empty : pattern.data, pattern.size,
                                     PCRE2_NEVER_UTF | PCRE2_NEVER_UCP, &code, &offset, NULL);
    if (expression->code == NULL) {
        error->offset = offset;
        (void)pcre2_get_error_message(code, (PCRE2_UCHAR *)error->reason, sizeof(error->reason));
        return false;
    }
    find_prefix(expression, pattern);
    return true;
}

void
expression_fini(struct expression *expression)
{
    pcre2_code_free(expression->code);
    expression->code = NULL;
    expression->matches_all = false;
}

enum status
expression_runner_init(struct expression_runner *runner)
{
    runner->context = pcre2_match_context_create(NULL);
    runner->data = pcre2_match_data_create(1, NULL);
    if (runner->context == NULL || runner->data == NULL) {
        expression_runner_fini(runner);
        return STATUS_NO_MEMORY;
    }
    pcre2_set_match_limit(runner->context, MATCH_LIMIT);
    pcre2_set_depth_limit(runner->context, MATCH_DEPTH_LIMIT);
    pcre2_set_heap_limit(runner->context, MATCH_HEAP_LIMIT_KIB);
    return STATUS_OK;
}

void
expression_runner_fini(struct expression_runner *runner)
{
    pcre2_match_data_free(runner->data);
    pcre2_match_context_free(runner->context);
    *runner = (struct expression_runner){0};
}

enum expression_verdict
expression_match(const struct expression *expression, const struct expression_runner *runner,
                 struct bytes subject)
{
    static const uint8_t empty[1] = {0};
    if (expression->matches_all) {
        return EXPRESSION_MATCHES;
    }
    if (expression->code == NULL ||
        (expression->prefix_size > 0 &&
         (subject.size < expression->prefix_size ||
          memcmp(subject.data, expression->prefix, expression->prefix_size) != 0))) {
        return EXPRESSION_DIFFERS_AT_ONCE;
    }
    int found = pcre2_match(expression->code, subject.size == 0 ? empty : subject.data,
                            subject.size, 0, 0, runner->data, runner->context);
    if (found >= 0) {
        return EXPRESSION_MATCHES;
    }
    return found == PCRE2_ERROR_NOMATCH ? EXPRESSION_DIFFERS : EXPRESSION_GAVE_UP;
}
