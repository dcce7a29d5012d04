/* SPDX-License-Identifier: Apache-2.0 */
/* A hash table from octets to objects that remembers the order of insertion, so that a walk gives
 * the same order in every run. Keys are borrowed: they live in the object that the value points to
 * (or in its owner) for as long as it is in the map. Hashes are seeded (bytes_hash). */
#ifndef BOURSE_BASE_MAP_H
#define BOURSE_BASE_MAP_H

#include "base/bytes.h"

struct map_entry {
    struct bytes key; /* borrowed */
    void *value;      /* NULL: the entry was removed */
    uint64_t hash;
};

struct map {
    struct map_entry *entries; /* in order of insertion, with holes; owned */
    uint32_t *index;           /* hash table of entry numbers + 1; owned */
    uint32_t entry_count;      /* used slots of `entries`, holes included */
    uint32_t entry_capacity;
    uint32_t index_capacity; /* a power of two; 0 before the first insertion */
    uint32_t count;          /* live entries */
    uint64_t seed;
};

void map_init(struct map *map, uint64_t seed);
void map_fini(struct map *map); /* does not touch keys or values */

/* The value under `key`, or NULL. */
void *map_get(const struct map *map, struct bytes key);

/* Inserts or replaces; `value` is not NULL. A replaced entry takes the new key pointer and keeps
 * its place in the order. */
void map_put(struct map *map, struct bytes key, void *value);

/* Removes and returns the value under `key`; NULL when there is none. */
void *map_remove(struct map *map, struct bytes key);

static inline uint32_t
map_count(const struct map *map)
{
    return map->count;
}

/* The first live entry at or after `*position` in order of insertion, or NULL at the end; moves
 * `*position` behind it. Start with 0. Entries may be removed during a walk; after an insertion
 * start anew. */
struct map_entry *map_next(const struct map *map, uint32_t *position);

#endif
