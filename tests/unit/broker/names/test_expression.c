/* SPDX-License-Identifier: Apache-2.0 */
/* Expressions: searched and not anchored, bounded in cost, and never refused early by a prefix that
 * they do not demand. */
#include "broker/names/expression.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#include "base/assert.h"

static struct expression_runner runner;

static void
set_up(void)
{
    cr_assert(eq(int, expression_runner_init(&runner), STATUS_OK));
}

static void
tear_down(void)
{
    expression_runner_fini(&runner);
}

TestSuite(broker_expression, .init = set_up, .fini = tear_down);

static enum expression_verdict
match(const char *pattern, struct bytes name)
{
    struct expression expression;
    struct expression_error error;
    cr_assert(expression_compile(&expression, bytes_of(pattern), &error), "%s", pattern);
    enum expression_verdict verdict = expression_match(&expression, &runner, name);
    expression_fini(&expression);
    return verdict;
}

Test(broker_expression, is_searched_and_not_anchored)
{
    static const struct {
        const char *pattern, *name;
        bool matches;
    } rows[] = {
        {"b", "abc", true},         {"^b", "abc", false},       {"c$", "abc", true},
        {".*", "", true},           {"", "abc", true},          {"^$", "", true},
        {"^amq\\.", "amq.x", true}, {"^amq\\.", "amqx", false},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        bool matches = match(rows[i].pattern, bytes_of(rows[i].name)) == EXPRESSION_MATCHES;
        cr_expect(eq(int, matches, rows[i].matches), "row %zu", i);
    }
}

/* Most names are told apart without running anything; what follows the prefix may make its last
 * octet optional, or lead past it. */
Test(broker_expression, a_prefix_is_only_what_every_match_begins_with)
{
    static const struct {
        const char *pattern, *name;
        enum expression_verdict verdict;
    } rows[] = {
        {"^orders\\.", "billing.x", EXPRESSION_DIFFERS_AT_ONCE},
        {"^orders\\.", "orders", EXPRESSION_DIFFERS_AT_ONCE},
        {"^orders\\.", "orders.x", EXPRESSION_MATCHES},
        {"^ab?c", "ac", EXPRESSION_MATCHES},
        {"^ab*c", "ac", EXPRESSION_MATCHES},
        {"^ab{0,1}c", "ac", EXPRESSION_MATCHES},
        {"^ab+c", "abbc", EXPRESSION_MATCHES},
        {"^ab+c", "ac", EXPRESSION_DIFFERS_AT_ONCE},
        {"^ab|c", "c", EXPRESSION_MATCHES},
        {"^a(b|c)", "ac", EXPRESSION_MATCHES},
        {"^(?i)abc", "ABC", EXPRESSION_MATCHES},
        {"^a\\.?b", "ab", EXPRESSION_MATCHES},
        {"^a\\d", "a5", EXPRESSION_MATCHES},
        {"^\\Qa|b\\E", "a|b", EXPRESSION_MATCHES},
        {"^a\\x62", "ab", EXPRESSION_MATCHES},
        {"^[ab]c", "bc", EXPRESSION_MATCHES},
        {"^abcdefghijklmnopqrstuvwxyz0123456789", "abcdefghijklmnopqrstuvwxyz0123456789",
         EXPRESSION_MATCHES},
        {"^abcdefghijklmnopqrstuvwxyz0123456789", "abcdefghijklmnopqrstuvwxyz012345678x",
         EXPRESSION_DIFFERS},
        {"orders", "billing", EXPRESSION_DIFFERS},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        cr_expect(eq(int, match(rows[i].pattern, bytes_of(rows[i].name)), rows[i].verdict),
                  "row %zu", i);
    }
}

Test(broker_expression, one_that_explodes_gives_up)
{
    cr_expect(eq(int, match("^(a+)+$", bytes_of("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab")),
                 EXPRESSION_GAVE_UP));
}

Test(broker_expression, one_that_does_not_compile_tells_where_and_matches_nothing)
{
    struct expression expression;
    struct expression_error error;
    cr_expect(not(expression_compile(&expression, bytes_of("ab(c"), &error)));
    cr_expect(eq(sz, error.offset, 4));
    cr_expect(eq(str, error.reason, "missing closing parenthesis"));
    cr_expect(eq(int, expression_match(&expression, &runner, bytes_of("ab(c")),
                 EXPRESSION_DIFFERS_AT_ONCE));
    expression_fini(&expression);
}

/* Most rights are ".*": they cost neither time nor memory, and end like any other. */
Test(broker_expression, one_that_matches_all_is_not_compiled)
{
    struct expression expression;
    struct expression_error error;
    cr_assert(expression_compile(&expression, bytes_of(".*"), &error));
    cr_expect(eq(ptr, expression.code, NULL));
    cr_expect(eq(int, expression_match(&expression, &runner, bytes_of("")), EXPRESSION_MATCHES));
    cr_expect(
        eq(int, expression_match(&expression, &runner, bytes_of("a\nb")), EXPRESSION_MATCHES));
    expression_fini(&expression);
    cr_expect(
        eq(int, expression_match(&expression, &runner, bytes_of("a")), EXPRESSION_DIFFERS_AT_ONCE));
}
