/* SPDX-License-Identifier: Apache-2.0 */
/* Extendible hashing. A table of depth d stands in 2^(depth of the directory - d) places that
 * follow each other. It is divided by the next bit of the hash; before that the directory is
 * doubled, if the table stands in one place only. Tables that empty shrink and stay; the directory
 * goes when nothing is left. */
#include "base/slot_directory.h"

#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/assert.h"

enum { CAPACITY_MIN = 8 };

static uint32_t
place_count(const struct slot_directory *directory)
{
    return UINT32_C(1) << directory->depth;
}

/* The next place that holds another table. */
static uint32_t
next_place(const struct slot_directory *directory, uint32_t place)
{
    return place + (UINT32_C(1) << (directory->depth - directory->tables[place]->depth));
}

static struct slot_table *
table_of(struct slot_directory *directory, uint32_t hash)
{
    return (struct slot_table *)slot_directory_table(directory, hash);
}

static void
free_table(struct slot_table *table)
{
    if (table != NULL) {
        free(table->slots);
        free(table);
    }
}

void
slot_directory_fini(struct slot_directory *directory)
{
    for (uint32_t place = 0; directory->tables != NULL && place < place_count(directory);) {
        struct slot_table *table = directory->tables[place];
        place = next_place(directory, place);
        free_table(table);
    }
    free(directory->tables);
    free(directory->only.slots);
    *directory = (struct slot_directory){.depth = 0};
}

/* What to do when there is no memory. */
enum need { NEED_OR_ABORT, NEED_OR_FAIL };

/* Zeroed. */
static void *
allocate(size_t size, enum need need)
{
    if (need == NEED_OR_ABORT) {
        return xalloc(size);
    }
    void *memory = try_alloc(size);
    if (memory != NULL) {
        memset(memory, 0, size);
    }
    return memory;
}

/* One table ---------------------------------------------------------------------------------- */

static void
put(struct slot_table *table, uint32_t hash, uint64_t slot)
{
    uint32_t mask = table->capacity - 1;
    uint32_t at = hash & mask;
    while (table->slots[at] != SLOT_EMPTY) {
        at = (at + 1) & mask;
    }
    table->slots[at] = slot;
}

static bool
resize(struct slot_table *table, const struct slot_hasher *hasher, uint32_t capacity,
       enum need need)
{
    uint64_t *old = table->slots;
    uint32_t old_capacity = table->capacity;
    uint64_t *slots = allocate(capacity * sizeof(*table->slots), need);
    if (slots == NULL) {
        return false;
    }
    table->slots = slots;
    table->capacity = capacity;
    for (uint32_t i = 0; i < old_capacity; i++) {
        if (old[i] != SLOT_EMPTY) {
            put(table, hasher->hash(hasher->context, old[i]), old[i]);
        }
    }
    free(old);
    return true;
}

/* Where `slot` stands, which is there. */
static uint32_t
find(const struct slot_table *table, uint32_t hash, uint64_t slot)
{
    uint32_t mask = table->capacity - 1;
    uint32_t at = hash & mask;
    while (table->slots[at] != slot) {
        assert(table->slots[at] != SLOT_EMPTY);
        at = (at + 1) & mask;
    }
    return at;
}

static void
take_out(struct slot_table *table, const struct slot_hasher *hasher, uint32_t hole)
{
    uint32_t mask = table->capacity - 1;
    /* Whatever follows and would be found through the hole moves into it. */
    for (uint32_t at = (hole + 1) & mask; table->slots[at] != SLOT_EMPTY; at = (at + 1) & mask) {
        uint32_t home = hasher->hash(hasher->context, table->slots[at]) & mask;
        if (((at - home) & mask) >= ((at - hole) & mask)) {
            table->slots[hole] = table->slots[at];
            hole = at;
        }
    }
    table->slots[hole] = SLOT_EMPTY;
    table->count--;
}

/* The directory ------------------------------------------------------------------------------ */

/* Every table stands in twice as many places. */
static bool
double_directory(struct slot_directory *directory, enum need need)
{
    uint32_t count = place_count(directory);
    struct slot_table **tables = allocate(2 * (size_t)count * sizeof(struct slot_table *), need);
    if (tables == NULL) {
        return false;
    }
    if (directory->depth == 0) {
        tables[0] = allocate(sizeof(*tables[0]), need);
        if (tables[0] == NULL) {
            free(tables);
            return false;
        }
        *tables[0] = directory->only;
        directory->only = (struct slot_table){.slots = NULL};
        tables[1] = tables[0];
    }
    for (uint32_t i = 0; directory->tables != NULL && i < 2 * count; i++) {
        tables[i] = directory->tables[i / 2];
    }
    free(directory->tables);
    directory->tables = tables;
    directory->depth++;
    return true;
}

/* The slots of `old` whose next bit is `bit`, as a table of their own; NULL: there is no memory. */
static struct slot_table *
half_of(const struct slot_table *old, const struct slot_hasher *hasher, uint32_t bit,
        enum need need)
{
    struct slot_table *half = allocate(sizeof(*half), need);
    uint64_t *slots = half == NULL ? NULL : allocate(old->capacity * sizeof(*slots), need);
    if (slots == NULL) {
        free(half);
        return NULL;
    }
    half->depth = old->depth + 1;
    half->capacity = old->capacity;
    half->slots = slots;
    for (uint32_t i = 0; i < old->capacity; i++) {
        if (old->slots[i] == SLOT_EMPTY) {
            continue;
        }
        uint32_t hash = hasher->hash(hasher->context, old->slots[i]);
        if ((hash >> (31 - old->depth) & 1) == bit) {
            put(half, hash, old->slots[i]);
            half->count++;
        }
    }
    return half;
}

static bool
divide(struct slot_directory *directory, const struct slot_hasher *hasher, uint32_t hash,
       enum need need)
{
    if (table_of(directory, hash)->depth == directory->depth &&
        !double_directory(directory, need)) {
        return false;
    }
    struct slot_table *old = table_of(directory, hash);
    uint32_t each = UINT32_C(1) << (directory->depth - old->depth - 1);
    uint32_t first = hash >> (32 - directory->depth) & ~(2 * each - 1);
    struct slot_table *halves[2] = {half_of(old, hasher, 0, need), half_of(old, hasher, 1, need)};
    if (halves[0] == NULL || halves[1] == NULL) {
        free_table(halves[0]);
        free_table(halves[1]);
        return false;
    }
    for (uint32_t i = 0; i < 2 * each; i++) {
        directory->tables[first + i] = halves[i / each];
    }
    free_table(old);
    return true;
}

/* Makes room for one more slot of that hash. */
static bool
make_room(struct slot_directory *directory, const struct slot_hasher *hasher, uint32_t hash,
          enum need need)
{
    bool is_made = true;
    while (is_made) {
        struct slot_table *table = table_of(directory, hash);
        if (2 * (table->count + 1) <= table->capacity) {
            break;
        }
        if (table->capacity < SLOT_TABLE_CAPACITY_MAX || table->depth == SLOT_DIRECTORY_DEPTH_MAX) {
            assert(table->capacity < UINT32_C(1) << 31);
            uint32_t capacity = table->capacity == 0 ? CAPACITY_MIN : 2 * table->capacity;
            is_made = resize(table, hasher, capacity, need);
        } else {
            is_made = divide(directory, hasher, hash, need);
        }
    }
    return is_made;
}

enum status
slot_directory_reserve(struct slot_directory *directory, const struct slot_hasher *hasher,
                       uint32_t hash)
{
    return make_room(directory, hasher, hash, NEED_OR_FAIL) ? STATUS_OK : STATUS_NO_MEMORY;
}

void
slot_directory_insert(struct slot_directory *directory, const struct slot_hasher *hasher,
                      uint32_t hash, uint64_t slot)
{
    assert(slot != SLOT_EMPTY);
    bool is_made = make_room(directory, hasher, hash, NEED_OR_ABORT);
    assert(is_made);
    struct slot_table *table = table_of(directory, hash);
    put(table, hash, slot);
    table->count++;
    directory->count++;
}

void
slot_directory_remove(struct slot_directory *directory, const struct slot_hasher *hasher,
                      uint32_t hash, uint64_t slot)
{
    assert(directory->count > 0);
    struct slot_table *table = table_of(directory, hash);
    take_out(table, hasher, find(table, hash, slot));
    directory->count--;
    if (directory->count == 0) {
        slot_directory_fini(directory);
    } else if (table->capacity > CAPACITY_MIN && 16 * table->count < table->capacity) {
        (void)resize(table, hasher, table->capacity / 4, NEED_OR_FAIL); /* else it stays large */
    }
}

void
slot_directory_replace(struct slot_directory *directory, uint32_t hash, uint64_t from, uint64_t to)
{
    assert(to != SLOT_EMPTY);
    struct slot_table *table = table_of(directory, hash);
    table->slots[find(table, hash, from)] = to;
}

/* Walking ------------------------------------------------------------------------------------ */

/* The slot in use in that table at or behind `*at`. */
static uint64_t
next_in(const struct slot_table *table, uint32_t *at)
{
    while (*at < table->capacity) {
        if (table->slots[*at] != SLOT_EMPTY) {
            return table->slots[*at];
        }
        (*at)++;
    }
    return SLOT_EMPTY;
}

/* A position is the place of a table and, in the lower half, a slot in it. */
uint64_t
slot_directory_next(const struct slot_directory *directory, uint64_t *position)
{
    uint32_t place = (uint32_t)(*position >> 32);
    uint32_t at = (uint32_t)*position;
    uint64_t slot = SLOT_EMPTY;
    while (place < place_count(directory)) {
        bool is_only = directory->depth == 0;
        const struct slot_table *table = is_only ? &directory->only : directory->tables[place];
        slot = next_in(table, &at);
        if (slot != SLOT_EMPTY) {
            break;
        }
        place = is_only ? 1 : next_place(directory, place);
        at = 0;
    }
    *position = (uint64_t)place << 32 | at;
    return slot;
}

uint32_t
slot_directory_first_hash(const struct slot_directory *directory, uint64_t position)
{
    enum { HASH_BITS = 32 };
    return directory->depth == 0 ? 0 : (uint32_t)(position >> 32) << (HASH_BITS - directory->depth);
}

uint64_t
slot_directory_position(const struct slot_directory *directory, uint32_t first_hash)
{
    enum { HASH_BITS = 32 };
    uint64_t place = directory->depth == 0 ? 0 : first_hash >> (HASH_BITS - directory->depth);
    return place << 32;
}

uint64_t
slot_directory_memory_bytes(const struct slot_directory *directory)
{
    uint64_t octets = directory->only.capacity * sizeof(uint64_t);
    for (uint32_t place = 0; directory->tables != NULL && place < place_count(directory);
         place = next_place(directory, place)) {
        octets += sizeof(struct slot_table) + directory->tables[place]->capacity * sizeof(uint64_t);
    }
    return octets +
           (directory->tables == NULL ? 0 : place_count(directory) * sizeof(struct slot_table *));
}
