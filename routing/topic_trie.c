/* SPDX-License-Identifier: Apache-2.0 */
/* Building: a key goes down along nodes as far as they share its words, and ends in a node, or in a
 * leaf for what nobody else has. When another key comes along a leaf's first word, that word
 * becomes a node and the leaf moves behind it. What became nodes stays so until nothing is bound
 * behind them. */
#include "routing/topic_trie.h"

#include <stdlib.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "routing/topic_nodes.h"

enum { CAPACITY_MIN = 16 }; /* of nodes and leaves */

/* Numbers and the bit of leaves make a child, which is never NUMBER_NONE. */
enum { PLACES_MAX = INT32_MAX - 8 };

/* Places ------------------------------------------------------------------------------------- */

/* The place behind all that were ever in use; there is room for it. */
static uint32_t
places_append(struct topic_places *places)
{
    assert(places->used < places->capacity);
    assert(places->used < PLACES_MAX);
    places->count++;
    return places->used++;
}

/* The first free place; the next one is `next_free`. */
static uint32_t
places_reuse(struct topic_places *places, uint32_t next_free)
{
    uint32_t number = places->first_free;
    places->first_free = next_free;
    places->count++;
    return number;
}

/* Returns which place is free behind it. */
static uint32_t
places_drop(struct topic_places *places, uint32_t number)
{
    uint32_t next_free = places->first_free;
    places->first_free = number;
    places->count--;
    return next_free;
}

static uint32_t
doubled(uint32_t capacity)
{
    return capacity == 0 ? CAPACITY_MIN : 2 * capacity;
}

/* The next place for a node; pointers to nodes end here. */
static uint32_t
take_node(struct topic_trie *trie)
{
    struct topic_places *places = &trie->node_places;
    if (places->first_free != NUMBER_NONE) {
        return places_reuse(places, trie->nodes[places->first_free].next);
    }
    if (places->used == places->capacity) {
        places->capacity = doubled(places->capacity);
        trie->nodes = xrealloc(trie->nodes, places->capacity * sizeof(*trie->nodes));
    }
    return places_append(places);
}

static uint32_t
make_node(struct topic_trie *trie, uint32_t parent, uint32_t word)
{
    uint32_t number = take_node(trie);
    trie->nodes[number] = (struct topic_node){
        .parent = parent,
        .word = word,
        .star = NUMBER_NONE,
        .hash = NUMBER_NONE,
        .first_child = NUMBER_NONE,
        .next = NUMBER_NONE,
        .previous = NUMBER_NONE,
    };
    return number;
}

static void
drop_node(struct topic_trie *trie, uint32_t number)
{
    trie->nodes[number].next = places_drop(&trie->node_places, number);
}

/* So many blocks have room for that many leaves. */
static uint32_t
leaf_block_count(uint32_t capacity)
{
    return (capacity + TOPIC_LEAF_BLOCK - 1) / TOPIC_LEAF_BLOCK;
}

static void
grow_first_block(struct topic_trie *trie)
{
    struct topic_places *places = &trie->leaf_places;
    if (trie->leaf_blocks == NULL) {
        trie->leaf_blocks = xalloc(sizeof(struct topic_leaf *));
    }
    places->capacity = doubled(places->capacity);
    trie->leaf_blocks[0] =
        xrealloc(trie->leaf_blocks[0], places->capacity * sizeof(struct topic_leaf));
}

/* The array of blocks has a power of two places. */
static void
add_leaf_block(struct topic_trie *trie)
{
    struct topic_places *places = &trie->leaf_places;
    uint32_t count = leaf_block_count(places->capacity);
    if ((count & (count - 1)) == 0) {
        trie->leaf_blocks = xrealloc(trie->leaf_blocks, 2 * count * sizeof(struct topic_leaf *));
    }
    trie->leaf_blocks[count] = xalloc(TOPIC_LEAF_BLOCK * sizeof(struct topic_leaf));
    places->capacity += TOPIC_LEAF_BLOCK;
}

/* The next place for a leaf; pointers to leaves end here. */
static uint32_t
take_leaf(struct topic_trie *trie)
{
    struct topic_places *places = &trie->leaf_places;
    if (places->first_free != NUMBER_NONE) {
        return places_reuse(places, topic_leaf_of(trie, places->first_free)->next);
    }
    if (places->used == places->capacity) {
        places->capacity < TOPIC_LEAF_BLOCK ? grow_first_block(trie) : add_leaf_block(trie);
    }
    return places_append(places);
}

/* Its targets are gone already. */
static void
drop_leaf(struct topic_trie *trie, uint32_t leaf)
{
    topic_leaf_of(trie, leaf)->next = places_drop(&trie->leaf_places, leaf & ~TOPIC_LEAF_BIT);
}

struct topic_trie *
topic_trie_new(uint64_t seed)
{
    struct topic_trie *trie = xalloc(sizeof(*trie));
    topic_words_init(&trie->words, seed);
    trie->seed = seed;
    trie->node_places.first_free = NUMBER_NONE;
    trie->leaf_places.first_free = NUMBER_NONE;
    (void)make_node(trie, NUMBER_NONE, NUMBER_NONE);
    return trie;
}

void
topic_trie_free(struct topic_trie **trie_pointer)
{
    struct topic_trie *trie = *trie_pointer;
    if (trie == NULL) {
        return;
    }
    for (uint32_t i = 0; i < trie->node_places.used; i++) {
        target_bag_fini(&trie->nodes[i].targets); /* of a free node it is empty */
    }
    for (uint32_t i = 0; i < trie->leaf_places.used; i++) {
        key_targets_fini(&topic_leaf_of(trie, i)->targets); /* the same */
    }
    for (uint32_t i = 0; i < leaf_block_count(trie->leaf_places.capacity); i++) {
        free(trie->leaf_blocks[i]);
    }
    topic_words_fini(&trie->words);
    number_index_fini(&trie->edges);
    topic_pass_free(&trie->pass);
    free(trie->nodes);
    free(trie->leaf_blocks);
    free(trie);
    *trie_pointer = NULL;
}

/* Children ----------------------------------------------------------------------------------- */

static void
set_next(struct topic_trie *trie, uint32_t child, uint32_t next)
{
    if (topic_child_is_leaf(child)) {
        topic_leaf_of(trie, child)->next = next;
    } else {
        trie->nodes[child].next = next;
    }
}

static void
set_previous(struct topic_trie *trie, uint32_t child, uint32_t previous)
{
    if (topic_child_is_leaf(child)) {
        topic_leaf_of(trie, child)->previous = previous;
    } else {
        trie->nodes[child].previous = previous;
    }
}

/* Hangs node or leaf, which names its parent, behind a word of that hash. */
static void
link_child(struct topic_trie *trie, uint32_t parent_number, uint32_t word_hash, uint32_t child)
{
    struct topic_node *parent = &trie->nodes[parent_number];
    set_next(trie, child, parent->first_child);
    set_previous(trie, child, NUMBER_NONE);
    if (parent->first_child != NUMBER_NONE) {
        set_previous(trie, parent->first_child, child);
    }
    parent->first_child = child;
    parent->child_count++;
    number_index_insert(&trie->edges, topic_edge_hash(trie, parent_number, word_hash), child);
}

static void
unlink_child(struct topic_trie *trie, uint32_t parent_number, uint32_t word_hash, uint32_t child)
{
    struct topic_node *parent = &trie->nodes[parent_number];
    bool is_leaf = topic_child_is_leaf(child);
    uint32_t next = topic_child_next(trie, child);
    uint32_t previous =
        is_leaf ? topic_leaf_of(trie, child)->previous : trie->nodes[child].previous;
    if (previous == NUMBER_NONE) {
        parent->first_child = next;
    } else {
        set_next(trie, previous, next);
    }
    if (next != NUMBER_NONE) {
        set_previous(trie, next, previous);
    }
    parent->child_count--;
    number_index_remove(&trie->edges, topic_edge_hash(trie, parent_number, word_hash), child);
}

/* A new node behind a word. */
static uint32_t
add_node(struct topic_trie *trie, uint32_t parent, struct bytes text)
{
    uint32_t word = topic_words_ref(&trie->words, text);
    uint32_t node = make_node(trie, parent, word);
    link_child(trie, parent, trie->words.words[word].hash, node);
    return node;
}

static void
cut_node(struct topic_trie *trie, uint32_t number)
{
    const struct topic_node *node = &trie->nodes[number];
    if (node->word == WORD_STAR) {
        trie->nodes[node->parent].star = NUMBER_NONE;
    } else if (node->word == WORD_HASH) {
        trie->nodes[node->parent].hash = NUMBER_NONE;
    } else {
        uint32_t word = node->word;
        unlink_child(trie, node->parent, trie->words.words[word].hash, number);
        topic_words_unref(&trie->words, word);
    }
    drop_node(trie, number);
}

static bool
is_wild(struct bytes text)
{
    return topic_is_star(text) || topic_is_hash(text);
}

/* The node behind `*` or `#`, made if need be. `#` behind `#` leads nowhere new. */
static uint32_t
step_wild(struct topic_trie *trie, uint32_t node, struct bytes text)
{
    bool is_star = topic_is_star(text);
    if (!is_star && trie->nodes[node].word == WORD_HASH) {
        return node;
    }
    uint32_t child = is_star ? trie->nodes[node].star : trie->nodes[node].hash;
    if (child != NUMBER_NONE) {
        return child;
    }
    child = make_node(trie, node, is_star ? WORD_STAR : WORD_HASH);
    if (is_star) {
        trie->nodes[node].star = child;
    } else {
        trie->nodes[node].hash = child;
    }
    return child;
}

/* Leaves ------------------------------------------------------------------------------------- */

static void
hang_leaf(struct topic_trie *trie, uint32_t leaf, uint32_t parent, size_t tail_at)
{
    struct key_targets *targets = &topic_leaf_of(trie, leaf)->targets;
    targets->place = parent;
    targets->tail_at = (uint8_t)tail_at;
    struct bytes word = topic_word_at(key_targets_key(targets), tail_at);
    link_child(trie, parent, topic_words_hash(&trie->words, word), leaf);
}

static void
unhang_leaf(struct topic_trie *trie, uint32_t leaf)
{
    const struct key_targets *targets = &topic_leaf_of(trie, leaf)->targets;
    struct bytes word = topic_leaf_word(topic_leaf_of(trie, leaf));
    unlink_child(trie, targets->place, topic_words_hash(&trie->words, word), leaf);
}

static void
add_leaf(struct topic_trie *trie, uint32_t parent, struct bytes key, size_t tail_at,
         struct route_target *target)
{
    uint32_t leaf = take_leaf(trie) | TOPIC_LEAF_BIT;
    key_targets_init(&topic_leaf_of(trie, leaf)->targets, key, target);
    hang_leaf(trie, leaf, parent, tail_at);
}

/* Hangs a leaf that was taken from above behind `node`, where its words from `next` on are left; as
 * that is new, nobody is in the way. */
static void
move_leaf(struct topic_trie *trie, uint32_t leaf, uint32_t node, size_t next)
{
    struct key_targets *targets = &topic_leaf_of(trie, leaf)->targets;
    struct key_reader reader = {.key = key_targets_key(targets), .next = next};
    struct bytes text;
    for (size_t start = reader.next; key_reader_next(&reader, &text); start = reader.next) {
        if (!is_wild(text)) {
            hang_leaf(trie, leaf, node, start);
            return;
        }
        node = step_wild(trie, node, text);
    }
    key_targets_move(targets, &trie->nodes[node].targets);
    drop_leaf(trie, leaf);
}

/* The leaf's first word becomes a node, which is returned. */
static uint32_t
divide_leaf(struct topic_trie *trie, uint32_t leaf)
{
    const struct key_targets *targets = &topic_leaf_of(trie, leaf)->targets;
    uint32_t parent = targets->place;
    struct bytes word = topic_leaf_word(topic_leaf_of(trie, leaf));
    size_t next = targets->tail_at + word.size + 1;
    unhang_leaf(trie, leaf);
    uint32_t node = add_node(trie, parent, word);
    move_leaf(trie, leaf, node, next);
    return node;
}

/* Whether the leaf's tail is the rest of `key` from `start` on. */
static bool
has_tail(const struct topic_trie *trie, uint32_t leaf, struct bytes key, size_t start)
{
    const struct key_targets *targets = &topic_leaf_of(trie, leaf)->targets;
    struct bytes own = key_targets_key(targets);
    return bytes_equal(bytes_make(own.data + targets->tail_at, own.size - targets->tail_at),
                       bytes_make(key.data + start, key.size - start));
}

/* Binding ------------------------------------------------------------------------------------ */

static uint32_t
find_child(const struct topic_trie *trie, uint32_t node, struct bytes text)
{
    struct topic_text word = topic_text_make(&trie->words, text);
    return topic_find_child(trie, node, &word);
}

void
topic_trie_bind(struct topic_trie *trie, struct bytes key, struct route_target *target)
{
    assert(key.size <= TOPIC_KEY_SIZE_MAX);
    struct key_reader reader = key_reader_make(key);
    struct bytes text;
    uint32_t node = TOPIC_ROOT;
    for (size_t start = reader.next; key_reader_next(&reader, &text); start = reader.next) {
        if (is_wild(text)) {
            node = step_wild(trie, node, text);
            continue;
        }
        uint32_t child = find_child(trie, node, text);
        if (child == NUMBER_NONE) {
            add_leaf(trie, node, key, start, target);
            return;
        }
        if (topic_child_is_leaf(child) && has_tail(trie, child, key, start)) {
            key_targets_add(&topic_leaf_of(trie, child)->targets, target);
            return;
        }
        node = topic_child_is_leaf(child) ? divide_leaf(trie, child) : child;
    }
    target_bag_add(&trie->nodes[node].targets, target);
}

static bool
is_unused(const struct topic_node *node)
{
    return node->targets.count == 0 && node->child_count == 0 && node->star == NUMBER_NONE &&
           node->hash == NUMBER_NONE;
}

/* Cuts off what leads to no target any more, from `node` upwards. */
static void
prune(struct topic_trie *trie, uint32_t node)
{
    while (node != TOPIC_ROOT && is_unused(&trie->nodes[node])) {
        uint32_t parent = trie->nodes[node].parent;
        cut_node(trie, node);
        node = parent;
    }
}

static void
unbind_leaf(struct topic_trie *trie, uint32_t leaf, struct route_target *target)
{
    struct key_targets *targets = &topic_leaf_of(trie, leaf)->targets;
    uint32_t parent = targets->place;
    struct bytes word = topic_leaf_word(topic_leaf_of(trie, leaf));
    uint32_t word_hash = topic_words_hash(&trie->words, word);
    if (key_targets_remove(targets, target)) {
        return;
    }
    unlink_child(trie, parent, word_hash, leaf);
    drop_leaf(trie, leaf);
    prune(trie, parent);
}

void
topic_trie_unbind(struct topic_trie *trie, struct bytes key, struct route_target *target)
{
    struct key_reader reader = key_reader_make(key);
    struct bytes text;
    uint32_t node = TOPIC_ROOT;
    for (size_t start = reader.next; key_reader_next(&reader, &text); start = reader.next) {
        if (is_wild(text)) {
            node = step_wild(trie, node, text);
            continue;
        }
        uint32_t child = find_child(trie, node, text);
        assert(child != NUMBER_NONE);
        if (topic_child_is_leaf(child)) {
            assert(has_tail(trie, child, key, start));
            unbind_leaf(trie, child, target);
            return;
        }
        node = child;
    }
    target_bag_remove(&trie->nodes[node].targets, target);
    prune(trie, node);
}

/* Questions ---------------------------------------------------------------------------------- */

uint32_t
topic_trie_node_count(const struct topic_trie *trie)
{
    return trie->node_places.count + trie->leaf_places.count;
}

uint64_t
topic_trie_memory_bytes(const struct topic_trie *trie)
{
    const struct topic_places *leaves = &trie->leaf_places;
    return sizeof(*trie) + trie->node_places.capacity * sizeof(struct topic_node) +
           leaves->capacity * sizeof(struct topic_leaf) +
           leaf_block_count(leaves->capacity) * sizeof(struct topic_leaf *) +
           trie->words.capacity * sizeof(struct topic_word) +
           number_index_memory_bytes(&trie->edges) + number_index_memory_bytes(&trie->words.index);
}
