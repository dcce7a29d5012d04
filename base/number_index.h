/* SPDX-License-Identifier: Apache-2.0 */
/* A hash index from 32-bit hashes to the numbers under which a caller keeps its own records. It
 * holds no keys: a search yields every number filed under a hash, and the caller compares. Nothing
 * decays, no call moves more than some thousand records, and an index that has become mostly empty
 * shrinks (slot_directory.h). */
#ifndef BOURSE_BASE_NUMBER_INDEX_H
#define BOURSE_BASE_NUMBER_INDEX_H

#include <stdint.h>

#include "base/slot_directory.h"

enum { NUMBER_NONE = UINT32_MAX }; /* no record has this number */

/* All zero is an empty index that holds no memory. A slot is hash and number + 1. */
struct number_index {
    struct slot_directory slots;
};

void number_index_fini(struct number_index *index); /* also makes it empty again */

/* Room for one more number under `hash`: filing it cannot fail then. STATUS_NO_MEMORY: there is
 * none. */
MUST_CHECK enum status number_index_reserve(struct number_index *index, uint32_t hash);

/* Files `number` under `hash`. The same pair must not be there yet. */
void number_index_insert(struct number_index *index, uint32_t hash, uint32_t number);

/* Takes that pair out; it is there. */
void number_index_remove(struct number_index *index, uint32_t hash, uint32_t number);

/* The record of the pair (hash, from) is now kept under `to`. */
void number_index_renumber(struct number_index *index, uint32_t hash, uint32_t from, uint32_t to);

static inline uint32_t
number_index_count(const struct number_index *index)
{
    return index->slots.count;
}

static inline uint64_t
number_index_memory_bytes(const struct number_index *index)
{
    return slot_directory_memory_bytes(&index->slots);
}

/* The next number under `hash` from slot `*slot` on, or NUMBER_NONE; `*slot` is where to go on. */
static inline uint32_t
number_index_next(const struct number_index *index, uint32_t hash, uint32_t *slot)
{
    const struct slot_table *table = slot_directory_table(&index->slots, hash);
    uint32_t mask = table->capacity - 1;
    for (uint32_t at = *slot & mask; table->slots[at] != SLOT_EMPTY; at = (at + 1) & mask) {
        if ((uint32_t)(table->slots[at] >> 32) == hash) {
            *slot = at + 1;
            return (uint32_t)table->slots[at] - 1;
        }
    }
    return NUMBER_NONE;
}

/* The first number under `hash`, or NUMBER_NONE; number_index_next gives the others. */
static inline uint32_t
number_index_first(const struct number_index *index, uint32_t hash, uint32_t *slot)
{
    *slot = hash;
    return index->slots.count == 0 ? (uint32_t)NUMBER_NONE : number_index_next(index, hash, slot);
}

#endif
