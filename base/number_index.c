/* SPDX-License-Identifier: Apache-2.0 */
#include "base/number_index.h"

#include "base/assert.h"

static uint32_t
hash_of(const void *context, uint64_t slot)
{
    (void)context;
    return (uint32_t)(slot >> 32);
}

static const struct slot_hasher hasher = {.hash = hash_of};

/* Never SLOT_EMPTY: no number is the highest, so that one more than it is not 0. */
static uint64_t
slot_make(uint32_t hash, uint32_t number)
{
    assert(number != NUMBER_NONE);
    return (uint64_t)hash << 32 | (number + 1);
}

void
number_index_fini(struct number_index *index)
{
    slot_directory_fini(&index->slots);
}

enum status
number_index_reserve(struct number_index *index, uint32_t hash)
{
    return slot_directory_reserve(&index->slots, &hasher, hash);
}

void
number_index_insert(struct number_index *index, uint32_t hash, uint32_t number)
{
    slot_directory_insert(&index->slots, &hasher, hash, slot_make(hash, number));
}

void
number_index_remove(struct number_index *index, uint32_t hash, uint32_t number)
{
    slot_directory_remove(&index->slots, &hasher, hash, slot_make(hash, number));
}

void
number_index_renumber(struct number_index *index, uint32_t hash, uint32_t from, uint32_t to)
{
    slot_directory_replace(&index->slots, hash, slot_make(hash, from), slot_make(hash, to));
}
