/* SPDX-License-Identifier: Apache-2.0 */
/* The expressions that words compile to, run by the library that the broker runs them with. */
#include "config/expression.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>
#include <stdio.h>

#include "base/assert.h"
#include "base/random.h"

static bool
search(const char *expression, struct bytes subject)
{
    int problem = 0;
    PCRE2_SIZE offset = 0;
    pcre2_code *code =
        pcre2_compile((PCRE2_SPTR)expression, PCRE2_ZERO_TERMINATED, 0, &problem, &offset, NULL);
    cr_assert(ne(ptr, code, NULL), "%s", expression);
    pcre2_match_data *match = pcre2_match_data_create(1, NULL);
    int result = pcre2_match(code, subject.data, subject.size, 0, 0, match, NULL);
    pcre2_match_data_free(match);
    pcre2_code_free(code);
    return result >= 0;
}

/* Specification, 3.1.3.3. The empty key and the empty pattern have no words. Bounded by the eight
 * words of a test. */
static bool
words_match(const struct bytes *pattern, size_t pattern_count, const struct bytes *key,
            size_t key_count)
{
    bool row[2][16] = {{true}};
    for (size_t p = 1; p <= pattern_count; p++) {
        const bool *before = row[(p - 1) % 2];
        bool *now = row[p % 2];
        for (size_t k = 0; k <= key_count; k++) {
            bool is_hash = bytes_equal_text(pattern[p - 1], "#");
            bool is_equal = k > 0 && (bytes_equal_text(pattern[p - 1], "*") ||
                                      bytes_equal(pattern[p - 1], key[k - 1]));
            now[k] = is_hash ? before[k] || (k > 0 && now[k - 1]) : is_equal && before[k - 1];
        }
    }
    return row[pattern_count % 2][key_count];
}

static size_t
split(struct bytes text, struct bytes words[static 16])
{
    size_t count = text.size == 0 ? 0 : 1;
    size_t start = 0;
    for (size_t i = 0; i < text.size; i++) {
        if (text.data[i] == '.') {
            words[count - 1] = bytes_make(text.data + start, i - start);
            start = i + 1;
            count++;
        }
    }
    if (count > 0) {
        words[count - 1] = bytes_make(text.data + start, text.size - start);
    }
    return count;
}

static bool
reference_matches(struct bytes pattern, struct bytes key)
{
    struct bytes pattern_words[16];
    struct bytes key_words[16];
    size_t pattern_count = split(pattern, pattern_words);
    size_t key_count = split(key, key_words);
    return words_match(pattern_words, pattern_count, key_words, key_count);
}

static struct bytes
random_words(const struct random_source *random, const char *const *pieces, size_t piece_count,
             char out[static 64])
{
    size_t count = random_u64(random) % 6;
    size_t size = 0;
    for (size_t i = 0; i < count; i++) {
        const char *piece = pieces[random_u64(random) % piece_count];
        size += (size_t)snprintf(out + size, 64 - size, "%s%s", i == 0 ? "" : ".", piece);
    }
    return bytes_make(out, size);
}

/* A wrong expression grants what the file does not say. */
Test(expression, patterns_match_the_keys_that_a_topic_exchange_would_match)
{
    static const char *const pattern_pieces[] = {"a", "b", "*", "#", "", "a+", "(", "{username}"};
    static const char *const key_pieces[] = {"a", "b", "", "a\n", "aa", "a+", "(", "{username}"};
    uint64_t state = 20240229;
    struct random_source random = random_seeded(&state);
    size_t matches = 0;

    for (size_t i = 0; i < 12000; i++) {
        char pattern_text[64];
        char key_text[64];
        struct arena arena;
        arena_init(&arena);
        struct bytes pattern =
            random_words(&random, pattern_pieces, ARRAY_LEN(pattern_pieces), pattern_text);
        struct bytes key = random_words(&random, key_pieces, ARRAY_LEN(key_pieces), key_text);
        const char *expression = expression_from_patterns(&arena, &pattern, 1);
        bool expected = reference_matches(pattern, key);
        bool found = search(expression, key);
        cr_expect(eq(int, found, expected), "\"%.*s\" on \"%.*s\" as %s", BYTES_FORMAT(pattern),
                  BYTES_FORMAT(key), expression);
        matches += expected ? 1 : 0;
        arena_fini(&arena);
    }
    cr_expect(lt(sz, 800, matches), "too few matches to prove anything");
}

Test(expression, several_patterns_are_alternatives)
{
    struct bytes patterns[] = {bytes_of("order.*.placed"), bytes_of("refund.#"), bytes_of("")};
    static const struct {
        const char *key;
        bool matches;
    } rows[] = {
        {"order.eu.placed", true},
        {"order.eu.placed.x", false},
        {"x.order.eu.placed", false},
        {"order.placed", false},
        {"refund", true},
        {"refund.a.b", true},
        {"refunds", false},
        {"", true},
        {"order.eu.placed\n", false},
    };
    struct arena arena;
    arena_init(&arena);
    const char *expression = expression_from_patterns(&arena, patterns, ARRAY_LEN(patterns));

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        cr_expect(eq(int, search(expression, bytes_of(rows[i].key)), rows[i].matches), "%s",
                  rows[i].key);
    }
    arena_fini(&arena);
}

Test(expression, names_are_quoted_and_anchored)
{
    struct arena arena;
    struct bytes one[] = {bytes_of("orders")};
    struct bytes more[] = {bytes_of("a.b"), bytes_of("x(|)[$"), bytes_of("pay-*")};
    static const struct {
        const char *name;
        bool matches;
    } rows[] = {
        {"a.b", true},    {"aXb", false}, {"xa.b", false}, {"x(|)[$", true}, {"pay-", true},
        {"pay-eu", true}, {"pay", false}, {"", false},     {"a.bc", false},
    };
    arena_init(&arena);

    cr_expect(eq(str, (char *)expression_from_names(&arena, one, 1), "^orders$"));
    cr_expect(eq(str, (char *)expression_from_names(&arena, NULL, 0), ""));
    const char *expression = expression_from_names(&arena, more, ARRAY_LEN(more));
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        cr_expect(eq(int, search(expression, bytes_of(rows[i].name)), rows[i].matches), "%s",
                  rows[i].name);
    }
    arena_fini(&arena);
}

Test(expression, a_trailing_star_covers_every_name_that_begins_so)
{
    cr_expect(name_pattern_matches(bytes_of("or*"), bytes_of("orders")));
    cr_expect(name_pattern_matches(bytes_of("*"), bytes_of("")));
    cr_expect(not(name_pattern_matches(bytes_of("or*"), bytes_of("o"))));
    cr_expect(not(name_pattern_matches(bytes_of("o*r"), bytes_of("orr"))));
}

/* The way back -------------------------------------------------------------------------------- */

static const char *
joined(const struct bytes *items, size_t count)
{
    static char text[512];
    size_t used = 0;
    text[0] = '\0';
    for (size_t i = 0; i < count; i++) {
        used += (size_t)snprintf(text + used, sizeof(text) - used, "%s%.*s", i == 0 ? "" : "|",
                                 BYTES_FORMAT(items[i]));
    }
    return text;
}

/* Rights are shown in the words that they were given in. */
Test(expression, of_names_comes_back_as_names)
{
    static const char *const rows[][3] = {
        {"orders"}, {"a.b", "pre*", "x(|)y"}, {"*"}, {"a\\b", "c d"}, {"\xc3\xbc", "9-_"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct arena arena = {0};
        struct bytes names[3];
        size_t count = 0;
        for (; count < 3 && rows[i][count] != NULL; count++) {
            names[count] = bytes_of(rows[i][count]);
        }
        const char *expression = expression_from_names(&arena, names, count);
        struct bytes *found = NULL;
        size_t found_count = 0;
        cr_assert(expression_to_names(&arena, expression, &found, &found_count), "%s", expression);
        cr_assert(eq(sz, found_count, count), "%s: %s", expression, joined(found, found_count));
        for (size_t j = 0; j < count; j++) {
            cr_expect(bytes_equal(found[j], names[j]), "%s: %s", expression,
                      joined(found, found_count));
        }
        arena_fini(&arena);
    }
}

Test(expression, written_by_hand_is_no_list_of_names)
{
    static const char *const rows[] = {"orders",   ".*",      "^orders",   "orders$",
                                       "^(a|b$",   "^a\\d$",  "^a.b$",     "^a+$",
                                       "^(a|b)c$", "^(?:a)$", "^a\\.b|c$", "^[ab]$"};
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct arena arena = {0};
        struct bytes *found = NULL;
        size_t count = 0;
        cr_expect(not(expression_to_names(&arena, rows[i], &found, &count)), "%s: %s", rows[i],
                  joined(found, count));
        arena_fini(&arena);
    }
}

/* Any pattern; one that is only `#` several times over comes back as one of it. */
Test(expression, of_patterns_comes_back_as_patterns)
{
    static const char *const pieces[] = {"a", "#", "*", "", "b+", "(x)", "#", "a\\"};
    uint64_t state = 42;
    struct random_source random = random_seeded(&state);
    for (size_t i = 0; i < 5000; i++) {
        char texts[2][64];
        struct arena arena = {0};
        struct bytes patterns[2];
        patterns[0] = random_words(&random, pieces, ARRAY_LEN(pieces), texts[0]);
        patterns[1] = random_words(&random, pieces, ARRAY_LEN(pieces), texts[1]);
        size_t count = 1 + i % 2;
        const char *expression = expression_from_patterns(&arena, patterns, count);
        struct bytes *found = NULL;
        size_t found_count = 0;
        cr_assert(expression_to_patterns(&arena, expression, &found, &found_count), "%s",
                  expression);
        cr_assert(eq(sz, found_count, count));
        for (size_t j = 0; j < count; j++) {
            bool is_hashes = bytes_equal_text(found[j], "#");
            cr_expect(is_hashes || bytes_equal(found[j], patterns[j]), "\"%.*s\" as %s: %s",
                      BYTES_FORMAT(patterns[j]), expression, joined(found, found_count));
        }
        arena_fini(&arena);
    }
}
