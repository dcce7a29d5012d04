/* SPDX-License-Identifier: Apache-2.0 */
/* Matching. A pass keeps a work list of (node, positions). Position p of a routing key of n words
 * stands before word p, position n behind the last; positions are a set of bits. A word moves those
 * of them where it stands by one, `*` moves all, `#` sets every bit from the lowest one on. The
 * tail of a leaf is matched in the same way, in one go.
 *
 * Where a word stands in the routing key is asked only behind a `#`; without one there is a single
 * position. */
#include "routing/topic_nodes.h"

#include <stdlib.h>

#include "base/alloc.h"
#include "base/assert.h"

enum {
    WORK_CAPACITY_MIN = 64,
    KEY_WORDS_MAX = TOPIC_KEY_SIZE_MAX + 1, /* a key of nothing but dots */
    POSITION_BLOCKS_MAX = (KEY_WORDS_MAX + 1 + 63) / 64,
    FILED_SLOTS = 2 * KEY_WORDS_MAX,
};

_Static_assert((FILED_SLOTS & (FILED_SLOTS - 1)) == 0, "slots are masked");

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
    uint32_t word_count;
    uint32_t block_count; /* of position sets: word_count / 64 + 1 */
    struct topic_text words[KEY_WORDS_MAX];
    struct work_item *work; /* owned */
    uint32_t work_count;
    uint32_t work_capacity;
    uint64_t visit_count;

    /* Where each word stands; filled in when it is asked for. */
    bool is_filed;
    uint32_t distinct_count;            /* words, each once */
    uint8_t distinct[KEY_WORDS_MAX];    /* where each of them stands first */
    struct positions at[KEY_WORDS_MAX]; /* by first position: everywhere the word stands */
    uint16_t filed[FILED_SLOTS];        /* first positions + 1 by hash of the word; 0: empty */
};

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

static void
positions_drop(struct positions *positions, uint32_t position)
{
    positions->blocks[position / 64] &= ~(UINT64_C(1) << (position % 64));
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

/* Every position by one; `to` may be `from`. */
static void
positions_move(struct positions *to, const struct positions *from, uint32_t block_count)
{
    uint64_t carry = 0;
    for (uint32_t i = 0; i < block_count; i++) {
        uint64_t block = from->blocks[i];
        to->blocks[i] = block << 1 | carry;
        carry = block >> 63;
    }
}

/* `#` was reached at `lowest`: every position from there on. */
static void
positions_fill(struct positions *to, uint32_t lowest, const struct topic_pass *pass)
{
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

/* Work --------------------------------------------------------------------------------------- */

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
    positions_move(push(pass, node), from, pass->block_count);
}

/* `#` was reached at `lowest`. */
static void
push_rest(struct topic_pass *pass, uint32_t node, uint32_t lowest)
{
    positions_fill(push(pass, node), lowest, pass);
}

/* The routing key ---------------------------------------------------------------------------- */

static void
read_key(struct topic_trie *trie, struct topic_pass *pass, struct bytes routing_key)
{
    struct key_reader reader = key_reader_make(routing_key);
    struct bytes text;
    pass->word_count = 0;
    pass->is_filed = false;
    while (key_reader_next(&reader, &text)) {
        pass->words[pass->word_count++] = topic_text_make(&trie->words, text);
    }
    pass->block_count = pass->word_count / 64 + 1;
}

/* The slot of `filed` that holds the word, or the empty one where the search ends. */
static uint32_t
filed_slot(const struct topic_pass *pass, struct bytes text, uint32_t hash)
{
    uint32_t slot = hash & (FILED_SLOTS - 1);
    for (; pass->filed[slot] != 0; slot = (slot + 1) & (FILED_SLOTS - 1)) {
        const struct topic_text *word = &pass->words[pass->filed[slot] - 1];
        if (word->hash == hash && bytes_equal(word->text, text)) {
            break;
        }
    }
    return slot;
}

/* Notes where each word of the routing key stands. */
static void
file_words(struct topic_pass *pass)
{
    pass->is_filed = true;
    pass->distinct_count = 0;
    memset(pass->filed, 0, sizeof(pass->filed));
    for (uint32_t i = 0; i < pass->word_count; i++) {
        uint32_t slot = filed_slot(pass, pass->words[i].text, pass->words[i].hash);
        if (pass->filed[slot] == 0) {
            pass->filed[slot] = (uint16_t)(i + 1);
            pass->distinct[pass->distinct_count++] = (uint8_t)i;
            memset(&pass->at[i], 0, pass->block_count * sizeof(uint64_t));
        }
        positions_add(&pass->at[pass->filed[slot] - 1], i);
    }
}

/* Where a word stands first; NUMBER_NONE: nowhere. */
static uint32_t
first_place(struct topic_pass *pass, struct bytes text, uint32_t hash)
{
    if (!pass->is_filed) {
        file_words(pass);
    }
    uint32_t filed = pass->filed[filed_slot(pass, text, hash)];
    return filed == 0 ? (uint32_t)NUMBER_NONE : filed - 1;
}

/* Leaves ------------------------------------------------------------------------------------- */

/* The rest of a tail, from many positions. */
static bool
rest_matches(struct topic_trie *trie, struct key_reader *reader, struct positions *positions)
{
    struct topic_pass *pass = trie->pass;
    struct bytes text;
    while (key_reader_next(reader, &text)) {
        if (topic_is_hash(text)) {
            positions_fill(positions, positions_lowest(positions), pass);
            continue;
        }
        positions_drop(positions, pass->word_count);
        if (!topic_is_star(text)) {
            uint32_t first = first_place(pass, text, topic_words_hash(&trie->words, text));
            if (first == NUMBER_NONE ||
                !positions_intersect(positions, positions, &pass->at[first], pass->block_count)) {
                return false;
            }
        } else if (positions_are_empty(positions, pass->block_count)) {
            return false;
        }
        positions_move(positions, positions, pass->block_count);
    }
    return positions_have(positions, pass->word_count);
}

/* The rest of a tail, from one position on: word by word up to the first `#`. */
static bool
rest_matches_from(struct topic_trie *trie, struct key_reader *reader, uint32_t position)
{
    const struct topic_pass *pass = trie->pass;
    struct bytes text;
    while (key_reader_next(reader, &text)) {
        if (topic_is_hash(text)) {
            struct positions positions;
            memset(&positions, 0, pass->block_count * sizeof(uint64_t));
            positions_fill(&positions, position, pass);
            return rest_matches(trie, reader, &positions);
        }
        if (position == pass->word_count ||
            (!topic_is_star(text) && !bytes_equal(text, pass->words[position].text))) {
            return false;
        }
        position++;
    }
    return position == pass->word_count;
}

/* The first word of the leaf's tail stands at each of `positions`, at one at least. */
static void
visit_leaf(struct topic_trie *trie, uint32_t child, const struct positions *positions,
           struct route_set *set)
{
    struct topic_pass *pass = trie->pass;
    const struct key_targets *targets = &topic_leaf_of(trie, child)->targets;
    size_t first_size = topic_leaf_word(topic_leaf_of(trie, child)).size;
    struct key_reader reader = {.key = key_targets_key(targets),
                                .next = targets->tail_at + first_size + 1};
    pass->visit_count++;
    bool matches;
    if (positions_are_single(positions, pass->block_count)) {
        matches = rest_matches_from(trie, &reader, positions_lowest(positions) + 1);
    } else {
        struct positions behind;
        positions_move(&behind, positions, pass->block_count);
        matches = rest_matches(trie, &reader, &behind);
    }
    if (matches) {
        key_targets_collect(targets, set);
    }
}

/* Nodes -------------------------------------------------------------------------------------- */

/* The child's word stands at each of `positions`. */
static void
enter_child(struct topic_trie *trie, uint32_t child, const struct positions *positions,
            struct route_set *set)
{
    if (topic_child_is_leaf(child)) {
        visit_leaf(trie, child, positions, set);
    } else {
        push_moved(trie->pass, child, positions);
    }
}

/* Asks for a child behind each word of the routing key that stands at some of `positions`. */
static void
enter_children_by_word(struct topic_trie *trie, uint32_t node, const struct positions *positions,
                       struct route_set *set)
{
    const struct topic_pass *pass = trie->pass;
    struct positions matched;
    for (uint32_t i = 0; i < pass->distinct_count; i++) {
        uint32_t first = pass->distinct[i];
        if (!positions_intersect(&matched, positions, &pass->at[first], pass->block_count)) {
            continue;
        }
        uint32_t child = topic_find_child(trie, node, &pass->words[first]);
        if (child != NUMBER_NONE) {
            enter_child(trie, child, &matched, set);
        }
    }
}

/* Where the child's word stands first in the routing key, or NUMBER_NONE. */
static uint32_t
first_place_of_child(struct topic_trie *trie, uint32_t child)
{
    if (topic_child_is_leaf(child)) {
        struct bytes text = topic_leaf_word(topic_leaf_of(trie, child));
        return first_place(trie->pass, text, topic_words_hash(&trie->words, text));
    }
    const struct topic_word *word = &trie->words.words[trie->nodes[child].word];
    return first_place(trie->pass, topic_word_text(word), word->hash);
}

/* Asks each child whether its word stands at some of `positions`. */
static void
enter_children_by_child(struct topic_trie *trie, uint32_t node, const struct positions *positions,
                        struct route_set *set)
{
    const struct topic_pass *pass = trie->pass;
    struct positions matched;
    uint32_t child = trie->nodes[node].first_child;
    for (; child != NUMBER_NONE; child = topic_child_next(trie, child)) {
        uint32_t first = first_place_of_child(trie, child);
        if (first != NUMBER_NONE &&
            positions_intersect(&matched, positions, &pass->at[first], pass->block_count)) {
            enter_child(trie, child, &matched, set);
        }
    }
}

/* The children whose word stands at some of `positions`, looked for from the side that has fewer:
 * so the cost of a pass stays within the number of nodes. */
static void
enter_children(struct topic_trie *trie, uint32_t node, const struct positions *positions,
               struct route_set *set)
{
    if (!trie->pass->is_filed) {
        file_words(trie->pass);
    }
    if (trie->nodes[node].child_count > trie->pass->distinct_count) {
        enter_children_by_word(trie, node, positions, set);
    } else {
        enter_children_by_child(trie, node, positions, set);
    }
}

/* The same for one position, where there is one word to look for: all there is without `#`. */
static void
enter_single_child(struct topic_trie *trie, uint32_t node, const struct positions *position,
                   struct route_set *set)
{
    const struct topic_text *word = &trie->pass->words[positions_lowest(position)];
    uint32_t child = topic_find_child(trie, node, word);
    if (child != NUMBER_NONE) {
        enter_child(trie, child, position, set);
    }
}

static bool
has_no_children(const struct topic_node *node)
{
    return node->child_count == 0 && node->star == NUMBER_NONE && node->hash == NUMBER_NONE;
}

/* Most `#` stand at the end of their key: nothing is left to be matched there. */
static void
visit_hash(struct topic_trie *trie, uint32_t number, uint32_t lowest, struct route_set *set)
{
    const struct topic_node *node = &trie->nodes[number];
    if (has_no_children(node)) {
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
    pass->visit_count++;
    if (node->hash != NUMBER_NONE) {
        visit_hash(trie, node->hash, positions_lowest(positions), set);
    }
    if (positions_have(positions, pass->word_count)) {
        target_bag_collect(&node->targets, set);
        positions_drop(positions, pass->word_count);
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
        enter_single_child(trie, number, positions, set);
    } else {
        enter_children(trie, number, positions, set);
    }
}

/* Entrance ----------------------------------------------------------------------------------- */

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
    struct positions *start = push(pass, TOPIC_ROOT);
    memset(start, 0, pass->block_count * sizeof(uint64_t));
    positions_add(start, 0);
    while (pass->work_count > 0) {
        struct work_item *item = &pass->work[--pass->work_count];
        struct positions positions;
        memcpy(&positions, &item->positions, pass->block_count * sizeof(uint64_t));
        visit(trie, item->node, &positions, set);
    }
    set->visit_count += (uint32_t)pass->visit_count;
}

uint64_t
topic_trie_visit_count(const struct topic_trie *trie)
{
    return trie->pass == NULL ? 0 : trie->pass->visit_count;
}

void
topic_pass_free(struct topic_pass **pass_pointer)
{
    struct topic_pass *pass = *pass_pointer;
    if (pass != NULL) {
        free(pass->work);
        free(pass);
        *pass_pointer = NULL;
    }
}
