/* SPDX-License-Identifier: Apache-2.0 */
/* Words in one array, a hash index over it, and a list of free places through the array itself. */
#include "routing/topic_words.h"

#include <stdlib.h>

#include "base/alloc.h"
#include "base/assert.h"

enum { WORDS_CAPACITY_MIN = 16 };

void
topic_words_init(struct topic_words *words, uint64_t seed)
{
    *words = (struct topic_words){.first_free = NUMBER_NONE, .seed = seed};
}

static bool
is_far(const struct topic_word *word)
{
    return word->size > TOPIC_WORD_NEAR_SIZE;
}

void
topic_words_fini(struct topic_words *words)
{
    for (uint32_t i = 0; i < words->used_count; i++) {
        if (words->words[i].references > 0 && is_far(&words->words[i])) {
            free(words->words[i].far);
        }
    }
    free(words->words);
    number_index_fini(&words->index);
    topic_words_init(words, words->seed);
}

uint32_t
topic_words_hash(const struct topic_words *words, struct bytes text)
{
    return (uint32_t)bytes_hash(text, words->seed);
}

/* The number of `text`, or NUMBER_NONE. */
static uint32_t
find(const struct topic_words *words, struct bytes text, uint32_t hash)
{
    uint32_t slot;
    uint32_t number = number_index_first(&words->index, hash, &slot);
    while (number != NUMBER_NONE && !topic_word_is(&words->words[number], text, hash)) {
        number = number_index_next(&words->index, hash, &slot);
    }
    return number;
}

/* A place for a new word: a free one, or one more at the end. */
static uint32_t
take_place(struct topic_words *words)
{
    uint32_t number = words->first_free;
    if (number != NUMBER_NONE) {
        words->first_free = words->words[number].next_free;
        return number;
    }
    if (words->used_count == words->capacity) {
        words->capacity = words->capacity == 0 ? WORDS_CAPACITY_MIN : 2 * words->capacity;
        words->words = xrealloc(words->words, words->capacity * sizeof(*words->words));
    }
    return words->used_count++;
}

static void
fill(struct topic_word *word, struct bytes text, uint32_t hash)
{
    *word = (struct topic_word){.hash = hash, .references = 1, .size = (uint8_t)text.size};
    if (is_far(word)) {
        word->far = xalloc(text.size);
    }
    if (text.size > 0) {
        memcpy(is_far(word) ? word->far : word->near, text.data, text.size);
    }
}

uint32_t
topic_words_ref(struct topic_words *words, struct bytes text)
{
    assert(text.size <= UINT8_MAX);
    uint32_t hash = topic_words_hash(words, text);
    uint32_t number = find(words, text, hash);
    if (number != NUMBER_NONE) {
        words->words[number].references++;
        return number;
    }
    number = take_place(words);
    fill(&words->words[number], text, hash);
    number_index_insert(&words->index, hash, number);
    return number;
}

void
topic_words_unref(struct topic_words *words, uint32_t number)
{
    struct topic_word *word = &words->words[number];
    assert(word->references > 0);
    word->references--;
    if (word->references > 0) {
        return;
    }
    number_index_remove(&words->index, word->hash, number);
    if (is_far(word)) {
        free(word->far);
    }
    word->next_free = words->first_free;
    words->first_free = number;
}
