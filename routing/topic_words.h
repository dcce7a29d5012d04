/* SPDX-License-Identifier: Apache-2.0 */
/* The words that several topic binding keys share, interned: each distinct word is stored once,
 * counted, and known by a 32-bit number that is used again when the last use of the word has ended.
 * Private to the topic trie. */
#ifndef BOURSE_ROUTING_TOPIC_WORDS_H
#define BOURSE_ROUTING_TOPIC_WORDS_H

#include "base/bytes.h"
#include "base/number_index.h"

enum { TOPIC_WORD_NEAR_SIZE = 16 };

struct topic_word {
    union {
        uint8_t near[TOPIC_WORD_NEAR_SIZE]; /* words up to that size */
        uint8_t *far;                       /* longer ones; owned */
        uint32_t next_free;                 /* while `references` is 0 */
    };
    uint32_t hash;
    uint32_t references; /* edges of the trie that bear it */
    uint8_t size;
};

struct topic_words {
    struct topic_word *words;  /* by number; owned */
    struct number_index index; /* of words by hash */
    uint32_t used_count;       /* of `words`, free ones included */
    uint32_t capacity;
    uint32_t first_free; /* NUMBER_NONE: none */
    uint64_t seed;
};

void topic_words_init(struct topic_words *words, uint64_t seed);
void topic_words_fini(struct topic_words *words);

static inline struct bytes
topic_word_text(const struct topic_word *word)
{
    return bytes_make(word->size > TOPIC_WORD_NEAR_SIZE ? word->far : word->near, word->size);
}

/* Whether it is `text`, which has that hash. */
static inline bool
topic_word_is(const struct topic_word *word, struct bytes text, uint32_t hash)
{
    return word->hash == hash && bytes_equal(topic_word_text(word), text);
}

uint32_t topic_words_hash(const struct topic_words *words, struct bytes text);

/* One more use of `text` (at most 255 octets); returns its number. */
uint32_t topic_words_ref(struct topic_words *words, struct bytes text);

/* One use less. */
void topic_words_unref(struct topic_words *words, uint32_t number);

#endif
