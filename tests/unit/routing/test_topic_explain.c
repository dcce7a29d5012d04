/* SPDX-License-Identifier: Apache-2.0 */
/* Why a topic pattern does not match: where it stops, and that it says no exactly when routing
 * does. */
#include "routing/topic_explain.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#include <stdio.h>

#include "base/assert.h"
#include "base/random.h"
#include "tests/fuzz/reference.h"

TestSuite(topic_explain);

Test(topic_explain, says_where_the_pattern_stops)
{
    static const struct {
        const char *pattern, *key;
        enum topic_stop stop;
        uint32_t word;
        const char *found, *wanted;
        uint32_t unmatched;
    } rows[] = {
        {"a.b", "a.b", TOPIC_MATCHES, 0, "", "", 0},
        {"#", "", TOPIC_MATCHES, 0, "", "", 0},
        {"a.#.c", "a.c", TOPIC_MATCHES, 0, "", "", 0},
        {"a.#.c", "a.b.b.c", TOPIC_MATCHES, 0, "", "", 0},
        {"*", "", TOPIC_KEY_ENDS, 1, "", "*", 1},
        {"*.b", ".b", TOPIC_MATCHES, 0, "", "", 0},
        {"order.us.placed", "order.eu.placed", TOPIC_WORD_DIFFERS, 2, "eu", "us", 4},
        {"order.*", "order.eu.placed", TOPIC_PATTERN_ENDS, 3, "placed", "", 1},
        {"order.*.placed", "order.eu", TOPIC_KEY_ENDS, 3, "", "placed", 1},
        {"", "a", TOPIC_PATTERN_ENDS, 1, "a", "", 1},
        {"a", "", TOPIC_KEY_ENDS, 1, "", "a", 1},
        {"a.#.z", "a.b.c", TOPIC_KEY_ENDS, 4, "", "z", 1},
        {"a..b", "a.x.b", TOPIC_WORD_DIFFERS, 2, "x", "", 4},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct topic_finding finding;
        topic_explain(bytes_of(rows[i].pattern), bytes_of(rows[i].key), &finding);
        cr_expect(eq(int, finding.stop, rows[i].stop), "row %zu", i);
        cr_expect(eq(u32, finding.word, rows[i].word), "row %zu", i);
        cr_expect(bytes_equal_text(finding.found, rows[i].found), "row %zu", i);
        cr_expect(bytes_equal_text(finding.wanted, rows[i].wanted), "row %zu", i);
        cr_expect(eq(u32, finding.unmatched, rows[i].unmatched), "row %zu", i);
    }
}

/* As only CC and BCC can name one. */
Test(topic_explain, a_key_over_255_octets_matches_not_even_a_hash)
{
    char key[257];
    struct topic_finding finding;
    memset(key, 'k', 256);
    key[256] = '\0';
    topic_explain(bytes_of("#"), bytes_of(key), &finding);
    cr_expect(eq(int, finding.stop, TOPIC_KEY_TOO_LONG));
}

static void
draw_key(const struct random_source *random, const char *letters, char *out)
{
    size_t size = random_u64(random) % 9;
    for (size_t i = 0; i < size; i++) {
        out[i] = letters[random_u64(random) % strlen(letters)];
    }
    out[size] = '\0';
}

Test(topic_explain, says_no_exactly_when_the_reference_does)
{
    enum { ROUNDS = 200000 };
    uint64_t state = 7;
    struct random_source random = random_seeded(&state);
    uint32_t match_count = 0;
    for (int i = 0; i < ROUNDS; i++) {
        char pattern[10];
        char key[10];
        struct topic_finding finding;
        draw_key(&random, "ab*#...", pattern);
        draw_key(&random, "ab...", key);
        topic_explain(bytes_of(pattern), bytes_of(key), &finding);
        bool wanted = reference_topic_matches(bytes_of(pattern), bytes_of(key));
        cr_assert(eq(int, finding.stop == TOPIC_MATCHES, wanted), "\"%s\" \"%s\"", pattern, key);
        match_count += wanted ? 1 : 0;
    }
    cr_expect(match_count > ROUNDS / 50);
}

/* The longest that there can be: every octet a dot. */
Test(topic_explain, keys_of_nothing_but_dots_fit)
{
    char dots[256];
    struct topic_finding finding;
    memset(dots, '.', 255);
    dots[255] = '\0';
    topic_explain(bytes_of(dots), bytes_of(dots), &finding);
    cr_expect(eq(int, finding.stop, TOPIC_MATCHES));
    struct bytes key = bytes_make(dots, 253);
    char pattern[256];
    memcpy(pattern, dots, sizeof(pattern));
    pattern[254] = '#';
    topic_explain(bytes_of(pattern), key, &finding);
    cr_expect(eq(int, finding.stop, TOPIC_MATCHES));
}
