/* SPDX-License-Identifier: Apache-2.0 */
/* Linear probing over an index of entry numbers, never more than half full. A removal leaves a hole
 * among the entries, which keeps their order, but none in the index: the entries behind it move up.
 * Holes go when an insertion rebuilds the map, so removing during a walk is safe. */
#include "base/map.h"

#include <stdlib.h>

#include "base/alloc.h"
#include "base/assert.h"

enum { MAP_ENTRIES_MIN = 4 };

void
map_init(struct map *map, uint64_t seed)
{
    *map = (struct map){.seed = seed};
}

void
map_fini(struct map *map)
{
    free(map->entries);
    free(map->index);
    map_init(map, map->seed);
}

/* The slot of the index where `key` stands, or the empty one where the search for it ends. There is
 * an empty one, for at least half of them are. */
static uint32_t
find_slot(const struct map *map, struct bytes key, uint64_t hash)
{
    uint32_t mask = map->index_capacity - 1;
    uint32_t slot = (uint32_t)hash & mask;
    for (; map->index[slot] != 0; slot = (slot + 1) & mask) {
        const struct map_entry *entry = &map->entries[map->index[slot] - 1];
        if (entry->hash == hash && bytes_equal(entry->key, key)) {
            break;
        }
    }
    return slot;
}

void *
map_get(const struct map *map, struct bytes key)
{
    if (map->count == 0) {
        return NULL;
    }
    uint32_t number = map->index[find_slot(map, key, bytes_hash(key, map->seed))];
    return number == 0 ? NULL : map->entries[number - 1].value;
}

/* Moves the live entries together, in their order. */
static void
close_holes(struct map *map)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < map->entry_count; i++) {
        if (map->entries[i].value != NULL) {
            map->entries[kept++] = map->entries[i];
        }
    }
    assert(kept == map->count);
    map->entry_count = kept;
}

static void
fill_index(struct map *map)
{
    uint32_t mask = map->index_capacity - 1;
    for (uint32_t i = 0; i < map->entry_count; i++) {
        uint32_t slot = (uint32_t)map->entries[i].hash & mask;
        while (map->index[slot] != 0) {
            slot = (slot + 1) & mask;
        }
        map->index[slot] = i + 1;
    }
}

/* Makes the map twice as large as its live entries need, be that more or less than it was. */
static void
rebuild(struct map *map)
{
    assert(map->count < UINT32_C(1) << 29);
    uint32_t capacity = MAP_ENTRIES_MIN;
    while (capacity < 2 * map->count) {
        capacity *= 2;
    }
    close_holes(map);
    map->entries = xrealloc(map->entries, capacity * sizeof(*map->entries));
    map->entry_capacity = capacity;
    free(map->index);
    map->index_capacity = 2 * capacity;
    map->index = xalloc(map->index_capacity * sizeof(*map->index));
    fill_index(map);
}

/* Full, or more holes than entries. */
static bool
wants_rebuild(const struct map *map)
{
    uint32_t holes = map->entry_count - map->count;
    return map->entry_count == map->entry_capacity ||
           (holes > map->count && holes > MAP_ENTRIES_MIN);
}

void
map_put(struct map *map, struct bytes key, void *value)
{
    assert(value != NULL);
    if (wants_rebuild(map)) {
        rebuild(map);
    }
    struct map_entry entry = {.key = key, .value = value, .hash = bytes_hash(key, map->seed)};
    uint32_t slot = find_slot(map, key, entry.hash);
    if (map->index[slot] != 0) {
        map->entries[map->index[slot] - 1] = entry;
        return;
    }
    map->entries[map->entry_count++] = entry;
    map->index[slot] = map->entry_count;
    map->count++;
}

/* Empties `slot` and moves up what was placed behind it only because it was taken, so that no
 * search ends too early. */
static void
clear_slot(struct map *map, uint32_t slot)
{
    uint32_t mask = map->index_capacity - 1;
    for (uint32_t next = (slot + 1) & mask; map->index[next] != 0; next = (next + 1) & mask) {
        uint32_t home = (uint32_t)map->entries[map->index[next] - 1].hash & mask;
        if (((next - home) & mask) >= ((next - slot) & mask)) {
            map->index[slot] = map->index[next];
            slot = next;
        }
    }
    map->index[slot] = 0;
}

void *
map_remove(struct map *map, struct bytes key)
{
    if (map->count == 0) {
        return NULL;
    }
    uint32_t slot = find_slot(map, key, bytes_hash(key, map->seed));
    if (map->index[slot] == 0) {
        return NULL;
    }
    struct map_entry *entry = &map->entries[map->index[slot] - 1];
    void *value = entry->value;
    clear_slot(map, slot);
    *entry = (struct map_entry){0};
    map->count--;
    if (map->count == 0) {
        map->entry_count = 0;
    }
    return value;
}

struct map_entry *
map_next(const struct map *map, uint32_t *position)
{
    while (*position < map->entry_count) {
        struct map_entry *entry = &map->entries[(*position)++];
        if (entry->value != NULL) {
            return entry;
        }
    }
    return NULL;
}
