/* SPDX-License-Identifier: Apache-2.0 */
/* How single values are written. */
#include "config/literal.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#include "base/assert.h"

static struct node
scalar(const char *text, bool is_plain)
{
    return (struct node){.kind = NODE_SCALAR, .is_plain = is_plain, .text = bytes_of(text)};
}

static bool
parse(struct literal_rule rule, const char *text, struct literal *out, char *why)
{
    struct node node = scalar(text, true);
    return literal_parse(&rule, &node, out, why);
}

Test(literal, durations_and_sizes_are_whole_numbers_with_a_unit)
{
    static const struct {
        enum literal_type type;
        const char *text;
        int64_t value;
    } rows[] = {
        {LITERAL_DURATION, "500ms", 500},
        {LITERAL_DURATION, "0s", 0},
        {LITERAL_DURATION, "30s", 30000},
        {LITERAL_DURATION, "5m", 300000},
        {LITERAL_DURATION, "24h", 86400000},
        {LITERAL_DURATION, "14d", 1209600000},
        {LITERAL_DURATION, "2w", 1209600000},
        {LITERAL_SIZE, "7B", 7},
        {LITERAL_SIZE, "64KiB", 65536},
        {LITERAL_SIZE, "3MiB", 3145728},
        {LITERAL_SIZE, "2GiB", INT64_C(2147483648)},
        {LITERAL_SIZE, "1TiB", INT64_C(1099511627776)},
        {LITERAL_SIZE, "5KB", 5000},
        {LITERAL_SIZE, "5MB", 5000000},
        {LITERAL_SIZE, "5GB", INT64_C(5000000000)},
        {LITERAL_SIZE, "5TB", INT64_C(5000000000000)},
        {LITERAL_SIZE_OR_PERCENT, "40%", 40},
        {LITERAL_PERCENT, "0%", 0},
        {LITERAL_PERCENT, "100%", 100},
        {LITERAL_INTEGER, "+12", 12},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct literal value = {0};
        char why[LITERAL_WHY_SIZE] = "";
        struct literal_rule rule = {.type = rows[i].type};
        cr_expect(parse(rule, rows[i].text, &value, why), "%s: %s", rows[i].text, why);
        cr_expect(eq(i64, value.integer, rows[i].value), "%s", rows[i].text);
    }
}

Test(literal, what_is_wrong_is_told_with_an_example)
{
    static const struct literal_word words[] = {{"free", 0}, {"hold", 1}, {NULL, 0}};
    static const struct {
        struct literal_rule rule;
        const char *text;
        const char *why;
    } rows[] = {
        {{.type = LITERAL_DURATION}, "5", "needs a unit: 5ms, 5s, m, h, d or w"},
        {{.type = LITERAL_DURATION},
         "5min",
         "takes a duration such as 500ms, 30s, 5m, 24h, 14d or 2w, not \"5min\""},
        {{.type = LITERAL_DURATION},
         "1.5h",
         "takes a duration such as 500ms, 30s, 5m, 24h, 14d or 2w, not \"1.5h\""},
        {{.type = LITERAL_DURATION},
         "-1s",
         "takes a duration such as 500ms, 30s, 5m, 24h, 14d or 2w, not \"-1s\""},
        {{.type = LITERAL_DURATION, .min = 1, .max = 60000}, "0s", "is between 1ms and 1m"},
        {{.type = LITERAL_DURATION, .min = 1, .max = 60000},
         "99999999999999999999999w",
         "is between 1ms and 1m"},
        {{.type = LITERAL_SIZE}, "10", "needs a unit: 10B, KiB, MiB, GiB, TiB, KB, MB, GB or TB"},
        {{.type = LITERAL_SIZE}, "10kb", "takes a size such as 64KiB, 2GiB or 500MB, not \"10kb\""},
        {{.type = LITERAL_SIZE, .min = 65536, .max = INT64_C(4) << 30},
         "1KiB",
         "is between 64KiB and 4GiB"},
        {{.type = LITERAL_SIZE_OR_PERCENT},
         "140%",
         "takes a size such as 2GiB or a percentage such as 40%, not \"140%\""},
        {{.type = LITERAL_SIZE_OR_PERCENT}, "0%", "is at least 1%"},
        {{.type = LITERAL_PERCENT}, "20", "needs a unit: 20%"},
        {{.type = LITERAL_PERCENT}, "101%", "takes 0% to 100%, not \"101%\""},
        {{.type = LITERAL_BOOLEAN}, "yes", "takes true or false, not \"yes\"; write true"},
        {{.type = LITERAL_INTEGER},
         "1e3",
         "takes a whole number without quotes or unit, not \"1e3\""},
        {{.type = LITERAL_INTEGER}, "-1", "is at least 0"},
        {{.type = LITERAL_INTEGER, .min = 1, .max = 64}, "65", "is between 1 and 64"},
        {{.type = LITERAL_INTEGER},
         "99999999999999999999",
         "takes a whole number without quotes or unit, not \"99999999999999999999\""},
        {{.type = LITERAL_NUMBER, .min = 1, .max = 9}, "0.5", "is between 1 and 9"},
        {{.type = LITERAL_NUMBER}, "1.2.3", "takes a number, not \"1.2.3\""},
        {{.type = LITERAL_NUMBER}, "1e999", "takes a number, not \"1e999\""},
        {{.type = LITERAL_TEXT}, "~", "has no value"},
        {{.type = LITERAL_NAME}, "a\nb", "contains a control character"},
        {{.type = LITERAL_WORD, .words = words},
         "fee",
         "takes free or hold, not \"fee\" (did you "
         "mean \"free\"?)"},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct literal value = {0};
        char why[LITERAL_WHY_SIZE] = "";
        cr_expect(not(parse(rows[i].rule, rows[i].text, &value, why)), "%s", rows[i].text);
        cr_expect(eq(str, why, (char *)rows[i].why), "%s", rows[i].text);
    }
}

/* YAML's quotes say that something is text; a unit says so as well. */
Test(literal, quotes_make_numbers_and_booleans_text)
{
    static const struct {
        enum literal_type type;
        const char *text;
        bool is_accepted;
    } rows[] = {
        {LITERAL_INTEGER, "5", false},  {LITERAL_BOOLEAN, "true", false},
        {LITERAL_NUMBER, "1.5", false}, {LITERAL_DURATION, "5s", true},
        {LITERAL_SIZE, "5MB", true},    {LITERAL_TEXT, "null", true},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct node node = scalar(rows[i].text, false);
        struct literal_rule rule = {.type = rows[i].type};
        struct literal value = {0};
        char why[LITERAL_WHY_SIZE] = "";
        bool accepted = literal_parse(&rule, &node, &value, why);
        cr_expect(eq(int, accepted, rows[i].is_accepted), "\"%s\"", rows[i].text);
    }
}

Test(literal, names_have_at_most_255_octets)
{
    char name[257];
    memset(name, 'q', sizeof(name));
    cr_expect(eq(ptr, (void *)literal_name_problem(bytes_make(name, 255)), NULL));
    cr_expect(ne(ptr, (void *)literal_name_problem(bytes_make(name, 256)), NULL));
    cr_expect(ne(ptr, (void *)literal_name_problem(bytes_make(name, 0)), NULL));
}
