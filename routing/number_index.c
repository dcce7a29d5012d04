/* SPDX-License-Identifier: Apache-2.0 */
/* Linear probing over slots of eight octets. */
#include "routing/number_index.h"

#include <stdlib.h>

#include "base/alloc.h"
#include "base/assert.h"

enum { CAPACITY_MIN = 8 };

void
number_index_fini(struct number_index *index)
{
    free(index->slots);
    *index = (struct number_index){0};
}

static void
place(struct number_index *index, struct number_slot slot)
{
    uint32_t mask = index->capacity - 1;
    uint32_t at = slot.hash & mask;
    while (index->slots[at].number != NUMBER_NONE) {
        at = (at + 1) & mask;
    }
    index->slots[at] = slot;
}

static void
resize(struct number_index *index, uint32_t capacity)
{
    struct number_slot *old = index->slots;
    uint32_t old_capacity = index->capacity;
    index->slots = xrealloc(NULL, capacity * sizeof(*index->slots));
    index->capacity = capacity;
    for (uint32_t i = 0; i < capacity; i++) {
        index->slots[i] = (struct number_slot){.number = NUMBER_NONE};
    }
    for (uint32_t i = 0; i < old_capacity; i++) {
        if (old[i].number != NUMBER_NONE) {
            place(index, old[i]);
        }
    }
    free(old);
}

void
number_index_insert(struct number_index *index, uint32_t hash, uint32_t number)
{
    assert(number != NUMBER_NONE);
    if (index->capacity == 0) {
        resize(index, CAPACITY_MIN);
    } else if (2 * (index->count + 1) > index->capacity) {
        assert(index->capacity < UINT32_C(1) << 31);
        resize(index, 2 * index->capacity);
    }
    place(index, (struct number_slot){.hash = hash, .number = number});
    index->count++;
}

/* The slot that holds the pair, which is there. */
static uint32_t
slot_of(const struct number_index *index, uint32_t hash, uint32_t number)
{
    uint32_t mask = index->capacity - 1;
    uint32_t at = hash & mask;
    while (index->slots[at].hash != hash || index->slots[at].number != number) {
        assert(index->slots[at].number != NUMBER_NONE);
        at = (at + 1) & mask;
    }
    return at;
}

void
number_index_remove(struct number_index *index, uint32_t hash, uint32_t number)
{
    assert(index->count > 0);
    uint32_t mask = index->capacity - 1;
    uint32_t hole = slot_of(index, hash, number);
    /* Whatever follows and would be found through the hole moves into it. */
    for (uint32_t at = (hole + 1) & mask; index->slots[at].number != NUMBER_NONE;
         at = (at + 1) & mask) {
        uint32_t home = index->slots[at].hash & mask;
        if (((at - home) & mask) >= ((at - hole) & mask)) {
            index->slots[hole] = index->slots[at];
            hole = at;
        }
    }
    index->slots[hole].number = NUMBER_NONE;
    index->count--;
    if (index->capacity > CAPACITY_MIN && 16 * index->count < index->capacity) {
        resize(index, index->capacity / 4);
    }
}

void
number_index_renumber(struct number_index *index, uint32_t hash, uint32_t from, uint32_t to)
{
    assert(to != NUMBER_NONE);
    index->slots[slot_of(index, hash, from)].number = to;
}
