/* SPDX-License-Identifier: Apache-2.0 */
/* A hash table from octets to objects that remembers the order of insertion, so that a walk gives
 * the same order in every run. Keys are borrowed: they live in the object that the value points to
 * (or in its owner) for as long as it is in the map. Hashes are seeded (bytes_hash).
 *
 * No call moves more than some thousand entries, however many there are. */
#ifndef BOURSE_BASE_MAP_H
#define BOURSE_BASE_MAP_H

#include "base/bytes.h"
#include "base/number_index.h"

struct map_entry {
    const uint8_t *key_data; /* borrowed */
    uint32_t key_size;
    uint32_t hash;
    void *value; /* NULL: the entry was removed */
};

static inline struct bytes
map_entry_key(const struct map_entry *entry)
{
    return bytes_make(entry->key_data, entry->key_size);
}

struct map {
    struct map_entry **blocks; /* in order of insertion, with holes; the first grows up to the size
                                  of the others; owned */
    struct number_index index; /* of live entries */
    uint32_t entry_count;      /* used places in `blocks`, holes included */
    uint32_t entry_capacity;
    uint32_t closed_to; /* holes are being closed: there is none before this place, */
    uint32_t looked_to; /* and only holes from there to here; 0: none are being closed */
    uint64_t seed;
};

void map_init(struct map *map, uint64_t seed);
void map_fini(struct map *map); /* does not touch keys or values */

/* The value under `key`, or NULL. */
void *map_get(const struct map *map, struct bytes key);

/* Room for an entry under `key`: the next map_put, if it is of that key, cannot fail then.
 * STATUS_NO_MEMORY: there is none. */
MUST_CHECK enum status map_reserve(struct map *map, struct bytes key);

/* Inserts or replaces; `value` is not NULL. A replaced entry takes the new key pointer and keeps
 * its place in the order. */
void map_put(struct map *map, struct bytes key, void *value);

/* Removes and returns the value under `key`; NULL when there is none. */
void *map_remove(struct map *map, struct bytes key);

static inline uint32_t
map_count(const struct map *map)
{
    return number_index_count(&map->index);
}

/* The first live entry at or after `*position` in order of insertion, or NULL at the end; moves
 * `*position` behind it. Start with 0. Entries may be removed during a walk; after an insertion
 * start anew. */
struct map_entry *map_next(const struct map *map, uint32_t *position);

/* The same backwards: the last live entry before `*position`, or NULL; moves `*position` to it.
 * Start with map_places. Entries may be removed and inserted during such a walk: those that were
 * there when it began and still are, are all met, some of them perhaps twice, and new ones are not
 * looked for. */
struct map_entry *map_previous(const struct map *map, uint32_t *position);

static inline uint32_t
map_places(const struct map *map)
{
    return map->entry_count;
}

#endif
