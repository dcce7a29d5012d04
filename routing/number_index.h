/* SPDX-License-Identifier: Apache-2.0 */
/* A hash index from 32-bit hashes to the numbers under which a caller keeps its own records. It
 * holds no keys: a search yields every number filed under a hash, and the caller compares. Linear
 * probing, at most half full; a removal moves up what stands behind it, so nothing decays, and an
 * index that has become mostly empty shrinks. */
#ifndef BOURSE_ROUTING_NUMBER_INDEX_H
#define BOURSE_ROUTING_NUMBER_INDEX_H

#include <stdint.h>

enum { NUMBER_NONE = UINT32_MAX }; /* no record has this number */

struct number_slot {
    uint32_t hash;
    uint32_t number; /* NUMBER_NONE: empty */
};

/* All zero is an empty index that holds no memory. */
struct number_index {
    struct number_slot *slots; /* owned */
    uint32_t capacity;         /* a power of two; 0 before the first insertion */
    uint32_t count;
};

void number_index_fini(struct number_index *index); /* also makes it empty again */

/* Files `number` under `hash`. The same pair must not be there yet. */
void number_index_insert(struct number_index *index, uint32_t hash, uint32_t number);

/* Takes that pair out; it is there. */
void number_index_remove(struct number_index *index, uint32_t hash, uint32_t number);

/* The record of the pair (hash, from) is now kept under `to`. */
void number_index_renumber(struct number_index *index, uint32_t hash, uint32_t from, uint32_t to);

/* The next number under `hash` from slot `*slot` on, or NUMBER_NONE; `*slot` is where to go on. */
static inline uint32_t
number_index_probe(const struct number_index *index, uint32_t hash, uint32_t *slot)
{
    uint32_t mask = index->capacity - 1;
    for (uint32_t at = *slot & mask; index->slots[at].number != NUMBER_NONE; at = (at + 1) & mask) {
        if (index->slots[at].hash == hash) {
            *slot = at + 1;
            return index->slots[at].number;
        }
    }
    return NUMBER_NONE;
}

/* The first number under `hash`, or NUMBER_NONE; number_index_next gives the others. */
static inline uint32_t
number_index_first(const struct number_index *index, uint32_t hash, uint32_t *slot)
{
    *slot = hash;
    return index->count == 0 ? (uint32_t)NUMBER_NONE : number_index_probe(index, hash, slot);
}

static inline uint32_t
number_index_next(const struct number_index *index, uint32_t hash, uint32_t *slot)
{
    return number_index_probe(index, hash, slot);
}

#endif
