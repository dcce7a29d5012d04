/* SPDX-License-Identifier: Apache-2.0 */
/* The words of the pattern are states; a set of them is where a match may stand after so many words
 * of the key. */
#include "routing/topic_explain.h"

#include "base/assert.h"

enum { KEY_SIZE_MAX = 255, WORDS_MAX = KEY_SIZE_MAX + 1 };

struct words {
    struct bytes items[WORDS_MAX];
    uint32_t count;
};

/* States: how many words of the pattern lie behind. */
struct states {
    bool may_be[WORDS_MAX + 1];
};

static void
split(struct bytes key, struct words *words)
{
    size_t start = 0;
    words->count = 0;
    for (size_t at = 0; key.size > 0 && at <= key.size; at++) {
        if (at == key.size || key.data[at] == '.') {
            words->items[words->count++] = bytes_make(key.data + start, at - start);
            start = at + 1;
        }
    }
}

static bool
is_hash(struct bytes word)
{
    return bytes_equal_text(word, "#");
}

/* A `#` may stand for nothing. */
static void
step_over_hashes(struct states *states, const struct words *pattern)
{
    for (uint32_t i = 0; i < pattern->count; i++) {
        if (states->may_be[i] && is_hash(pattern->items[i])) {
            states->may_be[i + 1] = true;
        }
    }
}

/* Takes one word of the key; false when no state can. */
static bool
take_word(const struct states *before, const struct words *pattern, struct bytes word,
          struct states *after)
{
    bool any = false;
    memset(after, 0, sizeof(*after));
    for (uint32_t i = 0; i < pattern->count; i++) {
        struct bytes wanted = pattern->items[i];
        if (!before->may_be[i]) {
            continue;
        }
        if (is_hash(wanted)) {
            after->may_be[i] = true;
            any = true;
        } else if (bytes_equal_text(wanted, "*") || bytes_equal(wanted, word)) {
            after->may_be[i + 1] = true;
            any = true;
        }
    }
    step_over_hashes(after, pattern);
    return any;
}

static uint32_t
furthest(const struct states *states, uint32_t count)
{
    uint32_t at = count;
    while (!states->may_be[at]) {
        assert(at > 0);
        at--;
    }
    return at;
}

/* Words of the pattern from `at` on that ask for one of the key. */
static uint32_t
count_wanted(const struct words *pattern, uint32_t at)
{
    uint32_t count = 0;
    for (; at < pattern->count; at++) {
        count += is_hash(pattern->items[at]) ? 0 : 1;
    }
    return count;
}

static void
tell_stop(const struct words *pattern, const struct words *key, uint32_t taken,
          const struct states *states, struct topic_finding *finding)
{
    uint32_t at = furthest(states, pattern->count);
    bool key_ends = taken == key->count;
    bool pattern_ends = at == pattern->count;
    finding->stop = key_ends       ? TOPIC_KEY_ENDS
                    : pattern_ends ? TOPIC_PATTERN_ENDS
                                   : TOPIC_WORD_DIFFERS;
    finding->word = taken + 1;
    finding->found = key_ends ? bytes_make(NULL, 0) : key->items[taken];
    finding->wanted = pattern_ends ? bytes_make(NULL, 0) : pattern->items[at];
    finding->unmatched = key->count - taken + count_wanted(pattern, at);
}

void
topic_explain(struct bytes pattern, struct bytes key, struct topic_finding *finding_out)
{
    struct words wanted;
    struct words given;
    struct states states[2] = {0};
    assert(pattern.size <= KEY_SIZE_MAX);
    *finding_out = (struct topic_finding){.stop = TOPIC_MATCHES};
    if (key.size > KEY_SIZE_MAX) {
        *finding_out = (struct topic_finding){.stop = TOPIC_KEY_TOO_LONG, .unmatched = UINT16_MAX};
        return;
    }
    split(pattern, &wanted);
    split(key, &given);
    states[0].may_be[0] = true;
    step_over_hashes(&states[0], &wanted);
    uint32_t taken = 0;
    while (taken < given.count &&
           take_word(&states[taken % 2], &wanted, given.items[taken], &states[(taken + 1) % 2])) {
        taken++;
    }
    const struct states *last = &states[taken % 2];
    if (taken < given.count || !last->may_be[wanted.count]) {
        tell_stop(&wanted, &given, taken, last, finding_out);
    }
}
