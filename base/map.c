/* SPDX-License-Identifier: Apache-2.0 */
/* Entries lie in blocks and go by their place; an index finds the place of a key. A removal leaves
 * a hole, so removing during a walk is safe. When there are more holes than entries, insertions
 * close them, a few each, from the first place on: entries keep their order, and places behind the
 * last one are given back. */
#include "base/map.h"

#include <stdlib.h>

#include "base/alloc.h"
#include "base/assert.h"

enum {
    MAP_ENTRIES_MIN = 4,
    MAP_BLOCK = 1024,    /* entries */
    MAP_CLOSE_STEPS = 8, /* places that an insertion looks at */
};

void
map_init(struct map *map, uint64_t seed)
{
    *map = (struct map){.seed = seed};
}

/* Blocks ------------------------------------------------------------------------------------- */

static struct map_entry *
entry_at(const struct map *map, uint32_t place)
{
    return &map->blocks[place / MAP_BLOCK][place % MAP_BLOCK];
}

static uint32_t
block_count(uint32_t entries)
{
    return (entries + MAP_BLOCK - 1) / MAP_BLOCK;
}

/* What to do when there is no memory. */
enum need { NEED_OR_ABORT, NEED_OR_FAIL };

/* `memory` is NULL or of another size, and stays as it is when there is none for it. */
static void *
reallocate(void *memory, size_t size, enum need need)
{
    return need == NEED_OR_ABORT ? xrealloc(memory, size) : try_realloc(memory, size);
}

static bool
grow_first_block(struct map *map, enum need need)
{
    if (map->blocks == NULL) {
        map->blocks = reallocate(NULL, sizeof(struct map_entry *), need);
        if (map->blocks == NULL) {
            return false;
        }
        map->blocks[0] = NULL;
    }
    uint32_t capacity = map->entry_capacity == 0 ? MAP_ENTRIES_MIN : 2 * map->entry_capacity;
    struct map_entry *block = reallocate(map->blocks[0], capacity * sizeof(struct map_entry), need);
    if (block == NULL) {
        return false;
    }
    map->blocks[0] = block;
    map->entry_capacity = capacity;
    return true;
}

/* The array of blocks has a power of two places. */
static bool
add_block(struct map *map, enum need need)
{
    uint32_t count = block_count(map->entry_capacity);
    if ((count & (count - 1)) == 0) {
        struct map_entry **blocks =
            reallocate(map->blocks, 2 * count * sizeof(struct map_entry *), need);
        if (blocks == NULL) {
            return false;
        }
        map->blocks = blocks;
    }
    struct map_entry *block = reallocate(NULL, MAP_BLOCK * sizeof(struct map_entry), need);
    if (block == NULL) {
        return false;
    }
    map->blocks[count] = block;
    map->entry_capacity += MAP_BLOCK;
    return true;
}

static bool
make_place(struct map *map, enum need need)
{
    if (map->entry_count < map->entry_capacity) {
        return true;
    }
    return map->entry_capacity < MAP_BLOCK ? grow_first_block(map, need) : add_block(map, need);
}

/* Frees the blocks behind the first `kept`, of which there is one at least. */
static void
free_blocks(struct map *map, uint32_t kept)
{
    uint32_t count = block_count(map->entry_capacity);
    for (uint32_t i = kept; i < count; i++) {
        free(map->blocks[i]);
    }
    if (kept < count) {
        map->entry_capacity = kept * MAP_BLOCK;
    }
}

void
map_fini(struct map *map)
{
    free_blocks(map, 0);
    free(map->blocks);
    number_index_fini(&map->index);
    map_init(map, map->seed);
}

/* Finding ------------------------------------------------------------------------------------ */

static uint32_t
hash_of(const struct map *map, struct bytes key)
{
    return (uint32_t)bytes_hash(key, map->seed);
}

/* The entry under `key`, or NULL. */
static struct map_entry *
find(const struct map *map, struct bytes key, uint32_t hash, uint32_t *place_out)
{
    uint32_t slot;
    uint32_t place = number_index_first(&map->index, hash, &slot);
    for (; place != NUMBER_NONE; place = number_index_next(&map->index, hash, &slot)) {
        struct map_entry *entry = entry_at(map, place);
        if (bytes_equal(map_entry_key(entry), key)) {
            *place_out = place;
            return entry;
        }
    }
    return NULL;
}

void *
map_get(const struct map *map, struct bytes key)
{
    if (map_count(map) == 0) {
        return NULL;
    }
    uint32_t place;
    const struct map_entry *entry = find(map, key, hash_of(map, key), &place);
    return entry == NULL ? NULL : entry->value;
}

struct map_entry *
map_next(const struct map *map, uint32_t *position)
{
    while (*position < map->entry_count) {
        struct map_entry *entry = entry_at(map, (*position)++);
        if (entry->value != NULL) {
            return entry;
        }
    }
    return NULL;
}

/* Entries keep their order and only ever move forward, to places that the walk has yet to reach. */
struct map_entry *
map_previous(const struct map *map, uint32_t *position)
{
    *position = *position < map->entry_count ? *position : map->entry_count;
    while (*position > 0) {
        struct map_entry *entry = entry_at(map, --*position);
        if (entry->value != NULL) {
            return entry;
        }
    }
    return NULL;
}

/* Inserting ---------------------------------------------------------------------------------- */

static bool
has_many_holes(const struct map *map)
{
    uint32_t holes = map->entry_count - map_count(map);
    return holes > map_count(map) && holes > MAP_ENTRIES_MIN;
}

/* Looks at the next place; a live entry there moves to the first hole. */
static void
close_hole(struct map *map)
{
    uint32_t from = map->looked_to++;
    struct map_entry *entry = entry_at(map, from);
    if (entry->value == NULL) {
        return;
    }
    uint32_t to = map->closed_to++;
    if (to != from) {
        number_index_renumber(&map->index, entry->hash, from, to);
        *entry_at(map, to) = *entry;
        *entry = (struct map_entry){0};
    }
}

/* Gives back what is not used, but for a block, or half of the only one, that may be needed next.
 */
static void
shrink(struct map *map)
{
    bool is_small = map->entry_count <= MAP_BLOCK / 4;
    free_blocks(map, is_small ? 1 : block_count(map->entry_count) + 1);
    uint32_t capacity = map->entry_capacity;
    while (is_small && capacity > MAP_ENTRIES_MIN && capacity > 4 * map->entry_count) {
        capacity /= 2;
    }
    if (capacity != map->entry_capacity) {
        map->entry_capacity = capacity;
        map->blocks[0] = xrealloc(map->blocks[0], capacity * sizeof(struct map_entry));
    }
}

static void
end_closing(struct map *map)
{
    map->entry_count = map->closed_to;
    map->closed_to = 0;
    map->looked_to = 0;
    shrink(map);
}

static void
close_some_holes(struct map *map)
{
    if (map->looked_to == 0 && !has_many_holes(map)) {
        return;
    }
    for (int i = 0; i < MAP_CLOSE_STEPS && map->looked_to < map->entry_count; i++) {
        close_hole(map);
    }
    if (map->looked_to == map->entry_count) {
        end_closing(map);
    }
}

static void
append(struct map *map, const struct map_entry *entry)
{
    bool is_made = make_place(map, NEED_OR_ABORT);
    assert(is_made);
    assert(map->entry_count < UINT32_C(1) << 31);
    number_index_insert(&map->index, entry->hash, map->entry_count);
    *entry_at(map, map->entry_count++) = *entry;
}

enum status
map_reserve(struct map *map, struct bytes key)
{
    bool has_room = make_place(map, NEED_OR_FAIL) &&
                    number_index_reserve(&map->index, hash_of(map, key)) == STATUS_OK;
    return has_room ? STATUS_OK : STATUS_NO_MEMORY;
}

void
map_put(struct map *map, struct bytes key, void *value)
{
    assert(value != NULL);
    assert(key.size <= UINT32_MAX);
    struct map_entry entry = {.key_data = key.data,
                              .key_size = (uint32_t)key.size,
                              .hash = hash_of(map, key),
                              .value = value};
    uint32_t place;
    struct map_entry *there = find(map, key, entry.hash, &place);
    if (there != NULL) {
        *there = entry;
        return;
    }
    close_some_holes(map);
    append(map, &entry);
}

/* Removing ----------------------------------------------------------------------------------- */

/* Keeps the first block. */
static void
forget_places(struct map *map)
{
    map->entry_count = 0;
    map->closed_to = 0;
    map->looked_to = 0;
    free_blocks(map, 1);
}

void *
map_remove(struct map *map, struct bytes key)
{
    uint32_t hash = hash_of(map, key);
    uint32_t place;
    struct map_entry *entry = find(map, key, hash, &place);
    if (entry == NULL) {
        return NULL;
    }
    void *value = entry->value;
    number_index_remove(&map->index, hash, place);
    *entry = (struct map_entry){0};
    if (map_count(map) == 0) {
        forget_places(map);
    }
    return value;
}
