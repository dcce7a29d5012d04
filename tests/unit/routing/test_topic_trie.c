/* SPDX-License-Identifier: Apache-2.0 */
/* Topic matching, held against a ten-line reference. */
#include "routing/topic_trie.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "base/assert.h"

enum { TARGET_COUNT = 64 };

static struct topic_trie *trie;
static struct route_target targets[TARGET_COUNT];
static struct route_set set;

static void
set_up(void)
{
    trie = topic_trie_new(42);
    route_set_init(&set);
    for (size_t i = 0; i < TARGET_COUNT; i++) {
        route_target_init(&targets[i], ROUTE_TARGET_QUEUE, i + 1);
    }
}

static void
tear_down(void)
{
    route_set_fini(&set);
    topic_trie_free(&trie);
}

TestSuite(topic_trie, .init = set_up, .fini = tear_down);

static uint32_t
route(struct bytes key)
{
    route_set_begin(&set);
    topic_trie_route(trie, key, &set);
    return set.count;
}

static uint32_t
route_text(const char *key)
{
    return route(bytes_of(key));
}

static bool
is_routed_to(const struct route_target *target)
{
    return target->stamp == set.stamp;
}

/* The reference: the definition, word by word, with recursion where `#` leaves a choice. The empty
 * text has no words; NULL is the end of a text. */
static const char *
after_word(const char *text)
{
    const char *dot = strchr(text, '.');
    return dot == NULL ? NULL : dot + 1;
}

static size_t
word_size(const char *text)
{
    return strcspn(text, ".");
}

static bool
words_match(const char *pattern, const char *key)
{
    if (pattern == NULL) {
        return key == NULL;
    }
    bool is_hash = word_size(pattern) == 1 && pattern[0] == '#';
    if (is_hash) {
        return words_match(after_word(pattern), key) ||
               (key != NULL && words_match(pattern, after_word(key)));
    }
    bool is_star = word_size(pattern) == 1 && pattern[0] == '*';
    return key != NULL &&
           (is_star ||
            (word_size(pattern) == word_size(key) && memcmp(pattern, key, word_size(key)) == 0)) &&
           words_match(after_word(pattern), after_word(key));
}

static bool
reference_matches(const char *pattern, const char *key)
{
    return words_match(pattern[0] == '\0' ? NULL : pattern, key[0] == '\0' ? NULL : key);
}

/* AMQP 0-9-1, 3.1.3.3: `*` one word, `#` zero or more. The empty key has no words, `a..b` an empty
 * middle one: so RabbitMQ has it. */
Test(topic_trie, a_pattern_matches_what_the_specification_says)
{
    static const struct {
        const char *pattern;
        const char *key;
        bool matches;
    } rows[] = {
        {"", "", true},
        {"", ".", false},
        {"", "a", false},
        {"#", "", true},
        {"#", ".", true},
        {"#", "a.b.c", true},
        {"*", "", false},
        {"*", "a", true},
        {"*", "a.b", false},
        {"*", ".", false},
        {".", ".", true},
        {".", "", false},
        {"*.*", ".", true},
        {"*.#", "", false},
        {"*.#", "a", true},
        {"*.#", "a.b.c", true},
        {"#.*", "", false},
        {"#.*", "a", true},
        {"#.*", "a.b", true},
        {"a..b", "a..b", true},
        {"a.*.b", "a..b", true},
        {"a..b", "a.b", false},
        {"a.#", "a", true},
        {"a.#", "a.", true},
        {"a.#", "ab", false},
        {"#.a", "a", true},
        {"#.a", "b.a", true},
        {"#.a", "a.b", false},
        {"#.a.#", "b.a.c", true},
        {"#.a.#.b", "a.b", true},
        {"#.a.#.b", "b.a", false},
        {"#.#", "", true},
        {"#.#.a", "a", true},
        {"#.*.#", "", false},
        {"#.*.#", "x", true},
        {"orders.*.placed", "orders.eu.placed", true},
        {"orders.*.placed", "orders.placed", false},
        {"A", "a", false},
        {"a.b", "a.b.", false},
        {"**", "ab", false},
        {"a*", "a*", true},
        {"##", "a", false},
        {"*", "*", true},
        {"#", "#", true},
        {"a.#", "a.*.#", true},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        topic_trie_bind(trie, bytes_of(rows[i].pattern), &targets[0]);
        uint32_t count = route_text(rows[i].key);
        cr_expect(eq(u32, count, rows[i].matches), "pattern \"%s\", key \"%s\"", rows[i].pattern,
                  rows[i].key);
        cr_expect(eq(int, reference_matches(rows[i].pattern, rows[i].key), rows[i].matches),
                  "reference: pattern \"%s\", key \"%s\"", rows[i].pattern, rows[i].key);
        topic_trie_unbind(trie, bytes_of(rows[i].pattern), &targets[0]);
        cr_assert(eq(u32, topic_trie_node_count(trie), 1), "pattern \"%s\"", rows[i].pattern);
    }
}

static uint32_t
next_number(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return (uint32_t)(*state >> 32);
}

/* Up to `words_max` words of few letters: short alphabets meet in the corners. */
static void
random_key(uint64_t *state, char *out, size_t out_size, const char *const *words,
           uint32_t word_count, uint32_t words_max)
{
    uint32_t count = next_number(state) % (words_max + 1);
    size_t used = 0;
    out[0] = '\0';
    for (uint32_t i = 0; i < count; i++) {
        const char *word = words[next_number(state) % word_count];
        int size = snprintf(out + used, out_size - used, "%s%s", i == 0 ? "" : ".", word);
        cr_assert(size >= 0 && (size_t)size < out_size - used);
        used += (size_t)size;
    }
}

static const char *const pattern_words[] = {"a", "b", "c", "", "*", "*", "#", "#"};
static const char *const key_words[] = {"a", "b", "c", "d", ""};

/* Thousands of cases against the reference: sets of bindings, one key each, then all taken away. */
Test(topic_trie, it_agrees_with_the_reference_on_random_patterns)
{
    uint64_t state = 88172645463325252U;
    char patterns[TARGET_COUNT][64];
    char key[64];
    for (int round = 0; round < 300; round++) {
        for (size_t i = 0; i < TARGET_COUNT; i++) {
            random_key(&state, patterns[i], sizeof(patterns[i]), pattern_words,
                       ARRAY_LEN(pattern_words), 6);
            topic_trie_bind(trie, bytes_of(patterns[i]), &targets[i]);
        }
        for (int j = 0; j < 10; j++) {
            random_key(&state, key, sizeof(key), key_words, ARRAY_LEN(key_words), 7);
            (void)route_text(key);
            cr_assert(topic_trie_visit_count(trie) <= topic_trie_node_count(trie));
            for (size_t i = 0; i < TARGET_COUNT; i++) {
                cr_assert(eq(int, is_routed_to(&targets[i]), reference_matches(patterns[i], key)),
                          "pattern \"%s\", key \"%s\"", patterns[i], key);
            }
        }
        for (size_t i = 0; i < TARGET_COUNT; i++) {
            topic_trie_unbind(trie, bytes_of(patterns[i]), &targets[i]);
        }
        cr_assert(eq(u32, topic_trie_node_count(trie), 1));
    }
}

static void
toggle(char **bound, uint32_t slot, uint64_t *state)
{
    if (bound[slot] == NULL) {
        char pattern[64];
        random_key(state, pattern, sizeof(pattern), pattern_words, ARRAY_LEN(pattern_words), 5);
        bound[slot] = xstrdup(pattern);
        topic_trie_bind(trie, bytes_of(bound[slot]), &targets[slot]);
    } else {
        topic_trie_unbind(trie, bytes_of(bound[slot]), &targets[slot]);
        free(bound[slot]);
        bound[slot] = NULL;
    }
}

/* In any order, each with a text of its own that goes with it: what is borrowed and what was copied
 * for a second binding is told apart by the address sanitizer. */
Test(topic_trie, it_agrees_with_the_reference_while_bindings_come_and_go)
{
    uint64_t state = 4711;
    char *bound[TARGET_COUNT] = {NULL};
    char key[64];
    for (int step = 0; step < 20000; step++) {
        toggle(bound, next_number(&state) % TARGET_COUNT, &state);
        random_key(&state, key, sizeof(key), key_words, ARRAY_LEN(key_words), 6);
        (void)route_text(key);
        for (size_t i = 0; i < TARGET_COUNT; i++) {
            bool expected = bound[i] != NULL && reference_matches(bound[i], key);
            cr_assert(eq(int, is_routed_to(&targets[i]), expected), "key \"%s\"", key);
        }
    }
    for (uint32_t i = 0; i < TARGET_COUNT; i++) {
        if (bound[i] != NULL) {
            toggle(bound, i, &state);
        }
    }
    cr_expect(eq(u32, topic_trie_node_count(trie), 1));
}

/* Keys of more words than one block of positions holds. */
Test(topic_trie, it_agrees_with_the_reference_on_long_keys)
{
    uint64_t state = 1234567891234567U;
    char patterns[TARGET_COUNT][TOPIC_KEY_SIZE_MAX + 1];
    char key[TOPIC_KEY_SIZE_MAX + 1];
    static const char *const long_words[] = {"a", "b", "*", "*", "*", "a", "b", "#"};
    for (int round = 0; round < 40; round++) {
        for (size_t i = 0; i < TARGET_COUNT; i++) {
            /* Few `#`, or the reference would not end. */
            char tail[TOPIC_KEY_SIZE_MAX - 8];
            random_key(&state, tail, sizeof(tail), long_words, i % 3 == 0 ? 7 : 6, 100);
            size_t hash_count = 0;
            for (char *at = tail; (at = strchr(at, '#')) != NULL; at++) {
                hash_count++;
                *at = hash_count > 3 ? '*' : '#';
            }
            snprintf(patterns[i], sizeof(patterns[i]), "#%s%s", tail[0] == '\0' ? "" : ".", tail);
            topic_trie_bind(trie, bytes_of(patterns[i]), &targets[i]);
        }
        random_key(&state, key, sizeof(key), long_words, 2, 120);
        (void)route_text(key);
        cr_assert(topic_trie_visit_count(trie) <= topic_trie_node_count(trie));
        for (size_t i = 0; i < TARGET_COUNT; i++) {
            cr_assert(eq(int, is_routed_to(&targets[i]), reference_matches(patterns[i], key)),
                      "pattern \"%s\", key \"%s\"", patterns[i], key);
        }
        for (size_t i = 0; i < TARGET_COUNT; i++) {
            topic_trie_unbind(trie, bytes_of(patterns[i]), &targets[i]);
        }
    }
}

static void
fill_key(char key[static TOPIC_KEY_SIZE_MAX], char letter)
{
    for (size_t i = 0; i < TOPIC_KEY_SIZE_MAX; i++) {
        key[i] = i % 2 == 0 ? letter : '.';
    }
}

Test(topic_trie, the_longest_keys_match)
{
    char key[TOPIC_KEY_SIZE_MAX];
    char stars[TOPIC_KEY_SIZE_MAX];
    char dots[TOPIC_KEY_SIZE_MAX];
    char word[TOPIC_KEY_SIZE_MAX];
    fill_key(key, 'a');
    fill_key(stars, '*');
    memset(dots, '.', sizeof(dots));
    memset(word, 'w', sizeof(word));
    topic_trie_bind(trie, bytes_make(key, sizeof(key)), &targets[0]);
    topic_trie_bind(trie, bytes_make(stars, sizeof(stars)), &targets[1]);
    topic_trie_bind(trie, bytes_of("#"), &targets[2]);
    topic_trie_bind(trie, bytes_make(dots, sizeof(dots)), &targets[3]);
    topic_trie_bind(trie, bytes_make(word, sizeof(word)), &targets[4]);
    cr_expect(eq(u32, route(bytes_make(key, sizeof(key))), 3));
    cr_expect(not(is_routed_to(&targets[3])));
    cr_expect(eq(u32, route(bytes_make(dots, sizeof(dots))), 2));
    cr_expect(is_routed_to(&targets[3]));
    cr_expect(eq(u32, route(bytes_make(word, sizeof(word))), 2));
    cr_expect(is_routed_to(&targets[4]));
    topic_trie_unbind(trie, bytes_make(word, sizeof(word)), &targets[4]);
    cr_expect(eq(u32, route(bytes_make(word, sizeof(word))), 1));
}

/* A CC header can hold any text: one that is no routing key matches nothing, not even `#`. */
Test(topic_trie, what_is_longer_than_a_key_matches_nothing)
{
    char text[TOPIC_KEY_SIZE_MAX + 1];
    memset(text, 'w', sizeof(text));
    topic_trie_bind(trie, bytes_of("#"), &targets[0]);
    cr_expect(eq(u32, route(bytes_make(text, sizeof(text))), 0));
    cr_expect(eq(u32, route(bytes_make(text, sizeof(text) - 1)), 1));
}

Test(topic_trie, a_target_is_collected_once_however_many_bindings_match)
{
    topic_trie_bind(trie, bytes_of("a.b"), &targets[0]);
    topic_trie_bind(trie, bytes_of("a.*"), &targets[0]);
    topic_trie_bind(trie, bytes_of("#"), &targets[0]);
    topic_trie_bind(trie, bytes_of("#.b"), &targets[1]);
    cr_expect(eq(u32, route_text("a.b"), 2));
}

/* Bindings that differ in their arguments alone are distinct, and one pair here. */
Test(topic_trie, a_pair_stays_until_it_was_taken_away_as_often_as_added)
{
    topic_trie_bind(trie, bytes_of("a.#"), &targets[0]);
    topic_trie_bind(trie, bytes_of("a.#"), &targets[0]);
    topic_trie_bind(trie, bytes_of("a.#"), &targets[1]);
    topic_trie_unbind(trie, bytes_of("a.#"), &targets[0]);
    cr_expect(eq(u32, route_text("a"), 2));
    topic_trie_unbind(trie, bytes_of("a.#"), &targets[0]);
    cr_expect(eq(u32, route_text("a"), 1));
    cr_expect(is_routed_to(&targets[1]));
}

Test(topic_trie, adjacent_hashes_are_one_node)
{
    topic_trie_bind(trie, bytes_of("#.#.#.#"), &targets[0]);
    cr_expect(eq(u32, topic_trie_node_count(trie), 2));
    topic_trie_unbind(trie, bytes_of("#"), &targets[0]);
    cr_expect(eq(u32, topic_trie_node_count(trie), 1));
}

/* As a binding does, keys live as long as they are bound. */
static struct bytes
device_key(uint32_t number, const char *rest)
{
    static char keys[10000][64];
    snprintf(keys[number], sizeof(keys[number]), "dev.%u.%s", number, rest);
    return bytes_of(keys[number]);
}

Test(topic_trie, unbinding_gives_nodes_and_words_back)
{
    static const char rest[] = "*.a word of more than sixteen octets";
    for (uint32_t i = 0; i < 2000; i++) {
        const char *last = i % 2 == 0 ? rest : "*.b";
        topic_trie_bind(trie, device_key(i, last), &targets[i % TARGET_COUNT]);
    }
    uint32_t node_count = topic_trie_node_count(trie);
    uint64_t memory_bytes = topic_trie_memory_bytes(trie);
    for (int round = 0; round < 3; round++) {
        for (uint32_t i = 0; i < 2000; i++) {
            const char *last = i % 2 == 0 ? rest : "*.b";
            topic_trie_unbind(trie, device_key(i, last), &targets[i % TARGET_COUNT]);
        }
        cr_assert(eq(u32, topic_trie_node_count(trie), 1));
        for (uint32_t i = 0; i < 2000; i++) {
            const char *last = i % 2 == 0 ? rest : "*.b";
            topic_trie_bind(trie, device_key(i, last), &targets[i % TARGET_COUNT]);
        }
        cr_assert(eq(u32, topic_trie_node_count(trie), node_count));
        cr_assert(eq(u64, topic_trie_memory_bytes(trie), memory_bytes));
    }
}

/* The cost of a message must not grow with bindings that do not match. */
Test(topic_trie, bindings_that_do_not_match_are_not_visited)
{
    for (uint32_t i = 0; i < 10000; i++) {
        topic_trie_bind(trie, device_key(i, "*.temp"), &targets[i % TARGET_COUNT]);
    }
    cr_expect(eq(u32, route_text("dev.77.kitchen.temp"), 1));
    cr_expect(is_routed_to(&targets[77 % TARGET_COUNT]));
    cr_expect(eq(u64, topic_trie_visit_count(trie), 3)); /* the root, "dev" and the leaf */
    cr_expect(eq(u32, route_text("dev.unknown.kitchen.temp"), 0));
    cr_expect(eq(u64, topic_trie_visit_count(trie), 2));
}

/* A binding that shares no more than its first words with others costs a leaf and a row. */
Test(topic_trie, a_key_of_its_own_is_one_leaf)
{
    for (uint32_t i = 0; i < 10000; i++) {
        topic_trie_bind(trie, device_key(i, "*.temp.#"), &targets[i % TARGET_COUNT]);
    }
    cr_expect(eq(u32, topic_trie_node_count(trie), 10002));
    cr_expect(lt(u64, topic_trie_memory_bytes(trie), UINT64_C(64) * 10000),
              "leaves come in blocks");
}

/* What lay in one leaf is told apart when another key comes along, however far they agree. */
Test(topic_trie, keys_that_agree_for_some_words_are_told_apart)
{
    static const char *const keys[] = {"a.b.c.d", "a.b.c.e", "a.b.*.d", "a.b.#", "a.b",
                                       "a.b.c",   "a",       "a.b.c.d", "a..",   "a."};
    for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
        topic_trie_bind(trie, bytes_of(keys[i]), &targets[i]);
    }
    cr_expect(eq(u32, route_text("a.b.c.d"), 4));
    cr_expect(eq(u32, route_text("a.b.x.d"), 2));
    cr_expect(eq(u32, route_text("a.b"), 2));
    cr_expect(eq(u32, route_text("a"), 1));
    cr_expect(eq(u32, route_text("a."), 1));
    cr_expect(eq(u32, route_text("a.."), 1));
    for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
        topic_trie_unbind(trie, bytes_of(keys[i]), &targets[i]);
    }
    cr_expect(eq(u32, topic_trie_node_count(trie), 1));
}

/* Of two bindings with one key either may go first, and its text with it. */
Test(topic_trie, a_shared_key_outlives_the_binding_that_brought_it)
{
    char *first = xstrdup("dev.*.temp");
    topic_trie_bind(trie, bytes_of(first), &targets[0]);
    topic_trie_bind(trie, bytes_of("dev.*.temp"), &targets[1]);
    topic_trie_unbind(trie, bytes_of(first), &targets[0]);
    free(first);
    cr_expect(eq(u32, route_text("dev.1.temp"), 1));
    cr_expect(is_routed_to(&targets[1]));
}

/* Behind a `#` a leaf is reached at every place where its first word stands, and visited once. */
Test(topic_trie, a_leaf_behind_a_hash_is_visited_once)
{
    topic_trie_bind(trie, bytes_of("#.a.b.#.c"), &targets[0]);
    topic_trie_bind(trie, bytes_of("#.a.x"), &targets[1]);
    cr_expect(eq(u32, route_text("a.a.a.b.a.b.a.c"), 1));
    cr_expect(is_routed_to(&targets[0]));
    cr_expect(topic_trie_visit_count(trie) <= topic_trie_node_count(trie));
    cr_expect(eq(u32, route_text("a.a.a.b.a.b.a.d"), 0));
}

/* Patterns in which `#` and `*` leave as many ways as there can be: a pass visits each node at most
 * once, where walking the ways one by one would take longer than the test may. */
Test(topic_trie, hostile_patterns_cost_no_more_than_their_nodes)
{
    uint64_t state = 88172645463325252U;
    static char patterns[1000][TOPIC_KEY_SIZE_MAX];
    char key[TOPIC_KEY_SIZE_MAX];
    for (uint32_t i = 0; i < 1000; i++) {
        char *pattern = patterns[i];
        for (size_t at = 0; at < TOPIC_KEY_SIZE_MAX; at++) {
            pattern[at] = at % 2 == 1                      ? '.'
                          : at % 4 == 0                    ? '#'
                          : (next_number(&state) & 1) != 0 ? 'a'
                                                           : '*';
        }
        topic_trie_bind(trie, bytes_make(pattern, TOPIC_KEY_SIZE_MAX), &targets[i % TARGET_COUNT]);
    }
    fill_key(key, 'a');
    cr_expect(eq(u32, route(bytes_make(key, sizeof(key))), TARGET_COUNT));
    cr_expect(topic_trie_visit_count(trie) <= topic_trie_node_count(trie));
    fill_key(key, 'b');
    (void)route(bytes_make(key, sizeof(key)));
    cr_expect(topic_trie_visit_count(trie) <= topic_trie_node_count(trie));
}
