/* SPDX-License-Identifier: Apache-2.0 */
/* How a topic trie lies in memory, for the files that build it (topic_trie.c) and match with it
 * (topic_pass.c).
 *
 * Nodes lie in an array, leaves in blocks of one size, and both go by number. A leaf is a binding
 * key of which only the words up to its parent are shared with others: the rest, its tail, begins
 * with a word (not with
 * `*` or `#`) and has no nodes. So a million keys that differ are a million leaves and a few nodes.
 *
 * The edges to what stands behind a word are rows of one hash index for the whole trie, by parent
 * and word, and hold no key of their own: node and leaf know both. A row's number says which of the
 * two it is; behind one word of a node there is one of them. The edges with `*` and `#` are fields
 * of the parent. */
#ifndef BOURSE_ROUTING_TOPIC_NODES_H
#define BOURSE_ROUTING_TOPIC_NODES_H

#include "base/assert.h"
#include "base/bytes.h"
#include "base/number_index.h"
#include "routing/key_targets.h"
#include "routing/target_bag.h"
#include "routing/topic_trie.h"
#include "routing/topic_words.h"

enum { TOPIC_ROOT = 0 };

/* What stands in place of a word's number on the edges of `*` and `#`. */
enum { WORD_STAR = UINT32_MAX - 1, WORD_HASH = UINT32_MAX - 2 };

struct topic_node {
    struct target_bag targets; /* bound to the key that ends here */
    uint32_t parent;
    uint32_t word;        /* on the edge from the parent, or WORD_STAR, WORD_HASH */
    uint32_t star;        /* the child behind `*`; NUMBER_NONE: none */
    uint32_t hash;        /* the child behind `#` */
    uint32_t first_child; /* node or leaf, of those behind words */
    uint32_t child_count;
    uint32_t next; /* sibling behind a word; the next free node while this one is free */
    uint32_t previous;
};

_Static_assert(sizeof(struct topic_node) == 48, "a million keys may share their words in pairs");

/* In `targets` the place is that of the parent; the tail begins at `tail_at` of the key. */
struct topic_leaf {
    struct key_targets targets;
    uint32_t next; /* sibling; the next free leaf while this one is free */
    uint32_t previous;
};

_Static_assert(sizeof(struct topic_leaf) == 32, "a million bindings are a million of these");

enum { TOPIC_LEAF_BLOCK = 1024 }; /* leaves */

/* Which of a kind of places are in use; they go by number. */
struct topic_places {
    uint32_t used; /* ever; free ones included */
    uint32_t capacity;
    uint32_t first_free; /* NUMBER_NONE: none */
    uint32_t count;      /* in use */
};

struct topic_trie {
    struct topic_words words; /* on the edges between nodes */
    struct topic_node *nodes; /* owned */
    struct topic_places node_places;
    struct topic_leaf **leaf_blocks; /* owned; the first grows up to its size, so that a trie with
                                        few bindings is small */
    struct topic_places leaf_places;
    struct number_index edges; /* children behind words, by topic_edge_hash */
    uint64_t seed;
    struct topic_pass *pass; /* owned; NULL before the first */
};

void topic_pass_free(struct topic_pass **pass);

/* Children ----------------------------------------------------------------------------------- */

static const uint32_t TOPIC_LEAF_BIT = UINT32_C(1) << 31;

static inline bool
topic_child_is_leaf(uint32_t child)
{
    return (child & TOPIC_LEAF_BIT) != 0;
}

static inline struct topic_leaf *
topic_leaf_of(const struct topic_trie *trie, uint32_t child)
{
    uint32_t number = child & ~TOPIC_LEAF_BIT;
    return &trie->leaf_blocks[number / TOPIC_LEAF_BLOCK][number % TOPIC_LEAF_BLOCK];
}

static inline uint32_t
topic_child_next(const struct topic_trie *trie, uint32_t child)
{
    return topic_child_is_leaf(child) ? topic_leaf_of(trie, child)->next : trie->nodes[child].next;
}

/* A word of a key, as it is looked for. */
struct topic_text {
    struct bytes text;
    uint32_t hash; /* topic_words_hash */
};

static inline struct topic_text
topic_text_make(const struct topic_words *words, struct bytes text)
{
    return (struct topic_text){.text = text, .hash = topic_words_hash(words, text)};
}

/* Numbers of nodes follow from the order of bindings, which peers choose: hence the seed. */
static inline uint32_t
topic_edge_hash(const struct topic_trie *trie, uint32_t parent, uint32_t word_hash)
{
    uint64_t mixed = ((uint64_t)parent << 32 | word_hash) ^ trie->seed;
    mixed *= UINT64_C(0x9fb21c651e98df25);
    mixed ^= mixed >> 35;
    mixed *= UINT64_C(0x9fb21c651e98df25);
    return (uint32_t)(mixed >> 32);
}

/* Whether the first word of the leaf's tail is that one. */
static inline bool
topic_leaf_starts_with(const struct topic_leaf *leaf, struct bytes word)
{
    struct bytes key = key_targets_key(&leaf->targets);
    size_t end = leaf->targets.tail_at + word.size;
    return end <= key.size && (end == key.size || key.data[end] == '.') &&
           (word.size == 0 || memcmp(key.data + leaf->targets.tail_at, word.data, word.size) == 0);
}

static inline bool
topic_child_is_behind(const struct topic_trie *trie, uint32_t child, uint32_t parent,
                      const struct topic_text *word)
{
    if (topic_child_is_leaf(child)) {
        const struct topic_leaf *leaf = topic_leaf_of(trie, child);
        return leaf->targets.place == parent && topic_leaf_starts_with(leaf, word->text);
    }
    const struct topic_node *node = &trie->nodes[child];
    return node->parent == parent &&
           topic_word_is(&trie->words.words[node->word], word->text, word->hash);
}

/* The child of `parent` behind a word, or NUMBER_NONE. */
static inline uint32_t
topic_find_child(const struct topic_trie *trie, uint32_t parent, const struct topic_text *word)
{
    uint32_t slot;
    uint32_t hash = topic_edge_hash(trie, parent, word->hash);
    uint32_t child = number_index_first(&trie->edges, hash, &slot);
    while (child != NUMBER_NONE && !topic_child_is_behind(trie, child, parent, word)) {
        child = number_index_next(&trie->edges, hash, &slot);
    }
    return child;
}

/* Walking keys ------------------------------------------------------------------------------- */

struct key_reader {
    struct bytes key;
    size_t next; /* where the next word starts; behind the key's end when there is none left */
};

static inline struct key_reader
key_reader_make(struct bytes key)
{
    /* The empty key has no words, where "." has two empty ones. */
    return (struct key_reader){.key = key, .next = key.size == 0 ? 1 : 0};
}

static inline bool
key_reader_next(struct key_reader *reader, struct bytes *word_out)
{
    if (reader->next > reader->key.size) {
        return false;
    }
    const uint8_t *start = reader->key.data + reader->next;
    size_t left = reader->key.size - reader->next;
    size_t size = 0;
    while (size < left && start[size] != '.') {
        size++;
    }
    *word_out = bytes_make(start, size);
    reader->next += size + 1;
    return true;
}

/* The word that starts at `start` of the key; there is one, be it empty. */
static inline struct bytes
topic_word_at(struct bytes key, size_t start)
{
    struct key_reader reader = {.key = key, .next = start};
    struct bytes word = bytes_make(NULL, 0);
    bool is_there = key_reader_next(&reader, &word);
    assert(is_there);
    return word;
}

/* The first word of the leaf's tail. */
static inline struct bytes
topic_leaf_word(const struct topic_leaf *leaf)
{
    return topic_word_at(key_targets_key(&leaf->targets), leaf->targets.tail_at);
}

static inline bool
topic_is_star(struct bytes text)
{
    return text.size == 1 && text.data[0] == '*';
}

static inline bool
topic_is_hash(struct bytes text)
{
    return text.size == 1 && text.data[0] == '#';
}

#endif
