/* SPDX-License-Identifier: Apache-2.0 */
/* The words of topic binding keys, interned: each distinct word is stored once, counted, and known
 * by a 32-bit number that is used again when the last use of the word has ended. Private to the
 * topic trie. */
#ifndef BOURSE_ROUTING_TOPIC_WORDS_H
#define BOURSE_ROUTING_TOPIC_WORDS_H

#include "base/bytes.h"
#include "routing/number_index.h"

enum { TOPIC_WORD_NEAR_SIZE = 16 };

struct topic_word {
    union {
        uint8_t near[TOPIC_WORD_NEAR_SIZE]; /* words up to that size */
        uint8_t *far;                       /* longer ones; owned */
        uint32_t next_free;                 /* while `references` is 0 */
    };
    uint64_t pass; /* the last pass whose routing key had the word */
    uint32_t hash;
    uint32_t references; /* edges of the trie that bear it */
    uint8_t size;
    uint8_t first_at; /* where the word stood first in that pass's routing key */
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

/* The number of `text` (at most 255 octets), or NUMBER_NONE when no binding key has the word. */
uint32_t topic_words_find(const struct topic_words *words, struct bytes text);

/* One more use of `text`; returns its number. */
uint32_t topic_words_ref(struct topic_words *words, struct bytes text);

/* One use less. */
void topic_words_unref(struct topic_words *words, uint32_t number);

#endif
