/* SPDX-License-Identifier: Apache-2.0 */
/* Nodes lie in one array and go by number. An edge with a word is a row of one hash index for the
 * whole trie, keyed (parent, word) and holding no key of its own: the child knows both. The edges
 * with `*` and `#` are fields of the parent.
 *
 * A pass keeps a work list of (node, positions). Position p of a routing key of n words stands
 * before word p, position n behind the last; positions are a set of bits. A word moves those of
 * them where it stands by one, `*` moves all, `#` sets every bit from the lowest one on. */
#include "routing/topic_trie.h"

#include <stdlib.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "routing/number_index.h"
#include "routing/target_bag.h"
#include "routing/topic_words.h"

enum {
    ROOT = 0,
    NODES_CAPACITY_MIN = 16,
    WORK_CAPACITY_MIN = 64,
    KEY_WORDS_MAX = TOPIC_KEY_SIZE_MAX + 1, /* a key of nothing but dots */
    POSITION_BLOCKS_MAX = (KEY_WORDS_MAX + 1 + 63) / 64,
};

/* What stands in place of a word's number on the edges of `*` and `#`. */
enum { WORD_STAR = UINT32_MAX - 1, WORD_HASH = UINT32_MAX - 2 };

struct topic_node {
    struct target_bag targets; /* bound to the key that ends here */
    uint32_t parent;
    uint32_t word;        /* on the edge from the parent, or WORD_STAR, WORD_HASH */
    uint32_t star;        /* the child behind `*`; NUMBER_NONE: none */
    uint32_t hash;        /* the child behind `#` */
    uint32_t first_child; /* of those behind words */
    uint32_t child_count;
    uint32_t next; /* sibling behind a word; the next free node while this one is free */
    uint32_t previous;
};

_Static_assert(sizeof(struct topic_node) == 48, "a million bindings are some millions of these");

/* A set of positions; only the pass's `block_count` blocks are used. */
struct positions {
    uint64_t blocks[POSITION_BLOCKS_MAX];
};

struct work_item {
    uint32_t node;
    struct positions positions;
};

/* What a pass knows about its routing key, and what it has still to do. */
struct topic_pass {
    uint64_t number;
    uint32_t word_count;
    uint32_t block_count;               /* of position sets: word_count / 64 + 1 */
    uint32_t distinct_count;            /* known words, each once */
    uint8_t distinct[KEY_WORDS_MAX];    /* where each of them stands first */
    uint32_t words[KEY_WORDS_MAX];      /* numbers; NUMBER_NONE: in no binding key */
    struct positions at[KEY_WORDS_MAX]; /* by first position: everywhere the word stands */
    struct work_item *work;             /* owned */
    uint32_t work_count;
    uint32_t work_capacity;
    uint64_t visit_count;
};

struct topic_trie {
    struct topic_words words;
    struct topic_node *nodes; /* owned */
    uint32_t used_count;      /* of `nodes`, free ones included */
    uint32_t capacity;
    uint32_t first_free;
    uint32_t node_count;
    struct number_index edges; /* children behind words, by edge_hash */
    uint64_t seed;
    struct topic_pass *pass; /* owned; NULL before the first */
};

/* Nodes -------------------------------------------------------------------------------------- */

/* The next place for a node; pointers to nodes end here. */
static uint32_t
take_place(struct topic_trie *trie)
{
    trie->node_count++;
    uint32_t number = trie->first_free;
    if (number != NUMBER_NONE) {
        trie->first_free = trie->nodes[number].next;
        return number;
    }
    if (trie->used_count == trie->capacity) {
        trie->capacity = trie->capacity == 0 ? NODES_CAPACITY_MIN : 2 * trie->capacity;
        trie->nodes = xrealloc(trie->nodes, trie->capacity * sizeof(*trie->nodes));
    }
    assert(trie->used_count < WORD_HASH);
    return trie->used_count++;
}

static uint32_t
make_node(struct topic_trie *trie, uint32_t parent, uint32_t word)
{
    uint32_t number = take_place(trie);
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
    trie->nodes[number].next = trie->first_free;
    trie->first_free = number;
    trie->node_count--;
}

struct topic_trie *
topic_trie_new(uint64_t seed)
{
    struct topic_trie *trie = xalloc(sizeof(*trie));
    topic_words_init(&trie->words, seed);
    trie->seed = seed;
    trie->first_free = NUMBER_NONE;
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
    for (uint32_t i = 0; i < trie->used_count; i++) {
        target_bag_fini(&trie->nodes[i].targets); /* of a free node it is empty */
    }
    topic_words_fini(&trie->words);
    number_index_fini(&trie->edges);
    if (trie->pass != NULL) {
        free(trie->pass->work);
    }
    free(trie->pass);
    free(trie->nodes);
    free(trie);
    *trie_pointer = NULL;
}

/* Edges -------------------------------------------------------------------------------------- */

/* Numbers of nodes and words follow from the order of bindings, which peers choose: hence the seed.
 */
static uint32_t
edge_hash(const struct topic_trie *trie, uint32_t parent, uint32_t word)
{
    uint64_t mixed = ((uint64_t)parent << 32 | word) ^ trie->seed;
    mixed *= UINT64_C(0x9fb21c651e98df25);
    mixed ^= mixed >> 35;
    mixed *= UINT64_C(0x9fb21c651e98df25);
    return (uint32_t)(mixed >> 32);
}

/* The child of `parent` behind a word, or NUMBER_NONE. */
static uint32_t
find_child(const struct topic_trie *trie, uint32_t parent, uint32_t word)
{
    uint32_t slot;
    uint32_t hash = edge_hash(trie, parent, word);
    uint32_t child = number_index_first(&trie->edges, hash, &slot);
    while (child != NUMBER_NONE &&
           (trie->nodes[child].parent != parent || trie->nodes[child].word != word)) {
        child = number_index_next(&trie->edges, hash, &slot);
    }
    return child;
}

static uint32_t
add_child(struct topic_trie *trie, uint32_t parent_number, struct bytes text)
{
    uint32_t word = topic_words_ref(&trie->words, text);
    uint32_t child = make_node(trie, parent_number, word);
    struct topic_node *parent = &trie->nodes[parent_number];
    trie->nodes[child].next = parent->first_child;
    if (parent->first_child != NUMBER_NONE) {
        trie->nodes[parent->first_child].previous = child;
    }
    parent->first_child = child;
    parent->child_count++;
    number_index_insert(&trie->edges, edge_hash(trie, parent_number, word), child);
    return child;
}

static void
cut_child(struct topic_trie *trie, uint32_t child_number)
{
    struct topic_node *child = &trie->nodes[child_number];
    struct topic_node *parent = &trie->nodes[child->parent];
    if (child->previous == NUMBER_NONE) {
        parent->first_child = child->next;
    } else {
        trie->nodes[child->previous].next = child->next;
    }
    if (child->next != NUMBER_NONE) {
        trie->nodes[child->next].previous = child->previous;
    }
    parent->child_count--;
    number_index_remove(&trie->edges, edge_hash(trie, child->parent, child->word), child_number);
    topic_words_unref(&trie->words, child->word);
}

static void
cut_edge(struct topic_trie *trie, uint32_t child_number)
{
    const struct topic_node *child = &trie->nodes[child_number];
    if (child->word == WORD_STAR) {
        trie->nodes[child->parent].star = NUMBER_NONE;
    } else if (child->word == WORD_HASH) {
        trie->nodes[child->parent].hash = NUMBER_NONE;
    } else {
        cut_child(trie, child_number);
    }
}

/* Walking keys ------------------------------------------------------------------------------- */

struct key_reader {
    struct bytes key;
    size_t next; /* where the next word starts; behind the key's end when there is none left */
};

static struct key_reader
key_reader_make(struct bytes key)
{
    /* The empty key has no words, where "." has two empty ones. */
    return (struct key_reader){.key = key, .next = key.size == 0 ? 1 : 0};
}

static bool
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

static bool
is_word(struct bytes text, char letter)
{
    return text.size == 1 && text.data[0] == (uint8_t)letter;
}

/* The child of a binding key's next word, or NUMBER_NONE. `#` behind `#` leads nowhere new. */
static uint32_t
step_down(const struct topic_trie *trie, uint32_t node, struct bytes text)
{
    if (is_word(text, '*')) {
        return trie->nodes[node].star;
    }
    if (is_word(text, '#')) {
        return trie->nodes[node].word == WORD_HASH ? node : trie->nodes[node].hash;
    }
    uint32_t word = topic_words_find(&trie->words, text);
    return word == NUMBER_NONE ? (uint32_t)NUMBER_NONE : find_child(trie, node, word);
}

/* Makes the child that step_down did not find. */
static uint32_t
grow_down(struct topic_trie *trie, uint32_t node, struct bytes text)
{
    uint32_t child;
    if (is_word(text, '*')) {
        child = make_node(trie, node, WORD_STAR);
        trie->nodes[node].star = child;
    } else if (is_word(text, '#')) {
        child = make_node(trie, node, WORD_HASH);
        trie->nodes[node].hash = child;
    } else {
        child = add_child(trie, node, text);
    }
    return child;
}

void
topic_trie_bind(struct topic_trie *trie, struct bytes key, struct route_target *target)
{
    assert(key.size <= TOPIC_KEY_SIZE_MAX);
    struct key_reader reader = key_reader_make(key);
    struct bytes text;
    uint32_t node = ROOT;
    while (key_reader_next(&reader, &text)) {
        uint32_t child = step_down(trie, node, text);
        node = child != NUMBER_NONE ? child : grow_down(trie, node, text);
    }
    target_bag_add(&trie->nodes[node].targets, target);
}

static bool
is_leaf(const struct topic_node *node)
{
    return node->child_count == 0 && node->star == NUMBER_NONE && node->hash == NUMBER_NONE;
}

void
topic_trie_unbind(struct topic_trie *trie, struct bytes key, struct route_target *target)
{
    struct key_reader reader = key_reader_make(key);
    struct bytes text;
    uint32_t node = ROOT;
    while (key_reader_next(&reader, &text)) {
        node = step_down(trie, node, text);
        assert(node != NUMBER_NONE);
    }
    target_bag_remove(&trie->nodes[node].targets, target);
    /* Cuts off what leads to no target any more. */
    while (node != ROOT && trie->nodes[node].targets.count == 0 && is_leaf(&trie->nodes[node])) {
        uint32_t parent = trie->nodes[node].parent;
        cut_edge(trie, node);
        drop_node(trie, node);
        node = parent;
    }
}

/* Positions ---------------------------------------------------------------------------------- */

static bool
positions_have(const struct positions *positions, uint32_t position)
{
    return (positions->blocks[position / 64] >> (position % 64) & 1) != 0;
}

static void
positions_add(struct positions *positions, uint32_t position)
{
    positions->blocks[position / 64] |= UINT64_C(1) << (position % 64);
}

/* The lowest position; there is one. */
static uint32_t
positions_lowest(const struct positions *positions)
{
    uint32_t block = 0;
    while (positions->blocks[block] == 0) {
        block++;
    }
    return 64 * block + (uint32_t)__builtin_ctzll(positions->blocks[block]);
}

static bool
positions_are_empty(const struct positions *positions, uint32_t block_count)
{
    uint64_t any = 0;
    for (uint32_t i = 0; i < block_count; i++) {
        any |= positions->blocks[i];
    }
    return any == 0;
}

/* Whether there is just one; there is at least one. */
static bool
positions_are_single(const struct positions *positions, uint32_t block_count)
{
    uint64_t seen = 0;
    for (uint32_t i = 0; i < block_count; i++) {
        uint64_t block = positions->blocks[i];
        if ((block & (block - 1)) != 0 || (block != 0 && seen != 0)) {
            return false;
        }
        seen |= block;
    }
    return true;
}

/* What is in both; false when nothing is. */
static bool
positions_intersect(struct positions *out, const struct positions *a, const struct positions *b,
                    uint32_t block_count)
{
    uint64_t any = 0;
    for (uint32_t i = 0; i < block_count; i++) {
        out->blocks[i] = a->blocks[i] & b->blocks[i];
        any |= out->blocks[i];
    }
    return any != 0;
}

/* A pass ------------------------------------------------------------------------------------- */

/* Room for one more item of work; its positions are not set. */
static struct positions *
push(struct topic_pass *pass, uint32_t node)
{
    if (pass->work_count == pass->work_capacity) {
        pass->work_capacity =
            pass->work_capacity == 0 ? WORK_CAPACITY_MIN : 2 * pass->work_capacity;
        pass->work = xrealloc(pass->work, pass->work_capacity * sizeof(*pass->work));
    }
    struct work_item *item = &pass->work[pass->work_count++];
    item->node = node;
    return &item->positions;
}

/* One word was matched at each of `from`. */
static void
push_moved(struct topic_pass *pass, uint32_t node, const struct positions *from)
{
    struct positions *to = push(pass, node);
    uint64_t carry = 0;
    for (uint32_t i = 0; i < pass->block_count; i++) {
        to->blocks[i] = from->blocks[i] << 1 | carry;
        carry = from->blocks[i] >> 63;
    }
}

/* `#` was reached at `lowest`: every position from there on. */
static void
push_rest(struct topic_pass *pass, uint32_t node, uint32_t lowest)
{
    struct positions *to = push(pass, node);
    for (uint32_t i = 0; i < pass->block_count; i++) {
        uint32_t base = 64 * i;
        uint64_t from = lowest <= base       ? UINT64_MAX
                        : lowest - base < 64 ? UINT64_MAX << (lowest - base)
                                             : 0;
        uint64_t until = pass->word_count - base >= 63
                             ? UINT64_MAX
                             : (UINT64_C(1) << (pass->word_count - base + 1)) - 1;
        to->blocks[i] = from & until;
    }
}

/* Notes which words of the routing key are known, and where each of them stands. */
static void
read_key(struct topic_trie *trie, struct topic_pass *pass, struct bytes routing_key)
{
    struct key_reader reader = key_reader_make(routing_key);
    struct bytes text;
    pass->number++;
    pass->word_count = 0;
    pass->distinct_count = 0;
    while (key_reader_next(&reader, &text)) {
        pass->words[pass->word_count++] = topic_words_find(&trie->words, text);
    }
    pass->block_count = pass->word_count / 64 + 1;
    for (uint32_t i = 0; i < pass->word_count; i++) {
        if (pass->words[i] == NUMBER_NONE) {
            continue;
        }
        struct topic_word *word = &trie->words.words[pass->words[i]];
        if (word->pass != pass->number) {
            word->pass = pass->number;
            word->first_at = (uint8_t)i;
            pass->distinct[pass->distinct_count++] = (uint8_t)i;
            memset(&pass->at[i], 0, pass->block_count * sizeof(uint64_t));
        }
        positions_add(&pass->at[word->first_at], i);
    }
}

/* Asks for a child behind each known word of the routing key that stands at some of `positions`. */
static void
push_children_by_word(struct topic_trie *trie, uint32_t node, const struct positions *positions)
{
    struct topic_pass *pass = trie->pass;
    struct positions matched;
    for (uint32_t i = 0; i < pass->distinct_count; i++) {
        uint32_t first = pass->distinct[i];
        if (!positions_intersect(&matched, positions, &pass->at[first], pass->block_count)) {
            continue;
        }
        uint32_t child = find_child(trie, node, pass->words[first]);
        if (child != NUMBER_NONE) {
            push_moved(pass, child, &matched);
        }
    }
}

/* Asks each child whether its word stands at some of `positions`. */
static void
push_children_by_child(struct topic_trie *trie, uint32_t node, const struct positions *positions)
{
    struct topic_pass *pass = trie->pass;
    struct positions matched;
    uint32_t child = trie->nodes[node].first_child;
    for (; child != NUMBER_NONE; child = trie->nodes[child].next) {
        const struct topic_word *word = &trie->words.words[trie->nodes[child].word];
        if (word->pass == pass->number &&
            positions_intersect(&matched, positions, &pass->at[word->first_at],
                                pass->block_count)) {
            push_moved(pass, child, &matched);
        }
    }
}

/* The children whose word stands at some of `positions`, looked for from the side that has fewer:
 * so the cost of a pass stays within the number of nodes. */
static void
push_children(struct topic_trie *trie, uint32_t node, const struct positions *positions)
{
    if (trie->nodes[node].child_count > trie->pass->distinct_count) {
        push_children_by_word(trie, node, positions);
    } else {
        push_children_by_child(trie, node, positions);
    }
}

/* The same for one position, where there is one word to look for: all there is without `#`. */
static void
push_child(struct topic_trie *trie, uint32_t node, const struct positions *position)
{
    uint32_t word = trie->pass->words[positions_lowest(position)];
    if (word == NUMBER_NONE) {
        return;
    }
    uint32_t child = find_child(trie, node, word);
    if (child != NUMBER_NONE) {
        push_moved(trie->pass, child, position);
    }
}

/* Most `#` stand at the end of their key: nothing is left to be matched there. */
static void
visit_hash(struct topic_trie *trie, uint32_t number, uint32_t lowest, struct route_set *set)
{
    const struct topic_node *node = &trie->nodes[number];
    if (is_leaf(node)) {
        trie->pass->visit_count++;
        target_bag_collect(&node->targets, set);
    } else {
        push_rest(trie->pass, number, lowest);
    }
}

static void
visit(struct topic_trie *trie, uint32_t number, struct positions *positions, struct route_set *set)
{
    const struct topic_node *node = &trie->nodes[number];
    struct topic_pass *pass = trie->pass;
    uint32_t end = pass->word_count;
    pass->visit_count++;
    if (node->hash != NUMBER_NONE) {
        visit_hash(trie, node->hash, positions_lowest(positions), set);
    }
    if (positions_have(positions, end)) {
        target_bag_collect(&node->targets, set);
        positions->blocks[end / 64] &= ~(UINT64_C(1) << (end % 64));
    }
    if (positions_are_empty(positions, pass->block_count)) {
        return;
    }
    if (node->star != NUMBER_NONE) {
        push_moved(pass, node->star, positions);
    }
    if (node->child_count == 0) {
        return;
    }
    if (positions_are_single(positions, pass->block_count)) {
        push_child(trie, number, positions);
    } else {
        push_children(trie, number, positions);
    }
}

void
topic_trie_route(struct topic_trie *trie, struct bytes routing_key, struct route_set *set)
{
    if (trie->pass == NULL) {
        trie->pass = xalloc(sizeof(*trie->pass));
    }
    struct topic_pass *pass = trie->pass;
    pass->visit_count = 0;
    if (routing_key.size > TOPIC_KEY_SIZE_MAX) {
        return;
    }
    read_key(trie, pass, routing_key);
    struct positions *start = push(pass, ROOT);
    memset(start, 0, pass->block_count * sizeof(uint64_t));
    positions_add(start, 0);
    while (pass->work_count > 0) {
        struct work_item *item = &pass->work[--pass->work_count];
        struct positions positions;
        memcpy(&positions, &item->positions, pass->block_count * sizeof(uint64_t));
        visit(trie, item->node, &positions, set);
    }
}

uint64_t
topic_trie_visit_count(const struct topic_trie *trie)
{
    return trie->pass == NULL ? 0 : trie->pass->visit_count;
}

uint32_t
topic_trie_node_count(const struct topic_trie *trie)
{
    return trie->node_count;
}

uint64_t
topic_trie_memory_bytes(const struct topic_trie *trie)
{
    return sizeof(*trie) + trie->capacity * sizeof(struct topic_node) +
           trie->words.capacity * sizeof(struct topic_word) +
           ((uint64_t)trie->edges.capacity + trie->words.index.capacity) *
               sizeof(struct number_slot);
}
