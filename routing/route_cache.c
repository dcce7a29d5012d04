/* SPDX-License-Identifier: Apache-2.0 */
/* An entry owns one block that holds its targets and, behind them, its key; the block only grows,
 * so that a cache in use seldom allocates. */
#include "routing/route_cache.h"

#include <stdlib.h>

#include "base/alloc.h"
#include "base/assert.h"

_Static_assert((ROUTE_CACHE_ENTRIES & (ROUTE_CACHE_ENTRIES - 1)) == 0, "slots are masked");

struct route_cache_entry {
    uint64_t source_id;
    uint64_t generation;
    uint32_t hash;      /* of source and key, the part that chose no slot */
    uint32_t candidate; /* the same of a result that was not kept: kept if it comes once more */
    uint16_t key_size;
    uint16_t target_count;
    uint32_t block_size;         /* octets; 0: the entry was never used */
    struct route_target **block; /* owned */
};

struct route_cache {
    struct route_cache_entry *entries; /* owned; NULL before the first store */
    uint64_t seed;
};

struct route_cache *
route_cache_new(uint64_t seed)
{
    struct route_cache *cache = xalloc(sizeof(*cache));
    cache->seed = seed;
    return cache;
}

void
route_cache_free(struct route_cache **cache_pointer)
{
    struct route_cache *cache = *cache_pointer;
    if (cache == NULL) {
        return;
    }
    for (size_t i = 0; cache->entries != NULL && i < ROUTE_CACHE_ENTRIES; i++) {
        free(cache->entries[i].block);
    }
    free(cache->entries);
    free(cache);
    *cache_pointer = NULL;
}

static uint64_t
hash_of(const struct route_cache *cache, uint64_t source_id, struct bytes routing_key)
{
    return bytes_hash(routing_key, cache->seed ^ source_id);
}

static struct route_cache_entry *
entry_of(const struct route_cache *cache, uint64_t hash)
{
    return &cache->entries[hash & (ROUTE_CACHE_ENTRIES - 1)];
}

static bool
entry_has_key(const struct route_cache_entry *entry, struct bytes routing_key)
{
    const uint8_t *key = (const uint8_t *)(entry->block + entry->target_count);
    return entry->key_size == routing_key.size &&
           (routing_key.size == 0 || memcmp(key, routing_key.data, routing_key.size) == 0);
}

bool
route_cache_find(const struct route_cache *cache, uint64_t source_id, uint64_t generation,
                 struct bytes routing_key, struct route_set *set)
{
    if (cache->entries == NULL) {
        return false;
    }
    uint64_t hash = hash_of(cache, source_id, routing_key);
    const struct route_cache_entry *entry = entry_of(cache, hash);
    if (entry->block_size == 0 || entry->hash != (uint32_t)(hash >> 32) ||
        entry->source_id != source_id || entry->generation != generation ||
        !entry_has_key(entry, routing_key)) {
        return false;
    }
    for (uint32_t i = 0; i < entry->target_count; i++) {
        route_set_add(set, entry->block[i]);
    }
    return true;
}

/* One result is kept at once, another in its place only when it is stored twice in a row: under
 * more keys than there are entries most results would be gone before they are asked for, and
 * copying them would be for nothing. */
static bool
is_admitted(struct route_cache_entry *entry, uint32_t hash)
{
    if (entry->block_size == 0 || entry->hash == hash || entry->candidate == hash) {
        return true;
    }
    entry->candidate = hash;
    return false;
}

void
route_cache_store(struct route_cache *cache, uint64_t source_id, uint64_t generation,
                  struct bytes routing_key, struct route_target *const *targets,
                  uint32_t target_count)
{
    if (target_count > ROUTE_CACHE_TARGETS_MAX || routing_key.size > ROUTE_CACHE_KEY_SIZE_MAX) {
        return;
    }
    if (cache->entries == NULL) {
        cache->entries = xalloc(ROUTE_CACHE_ENTRIES * sizeof(*cache->entries));
    }
    uint64_t hash = hash_of(cache, source_id, routing_key);
    struct route_cache_entry *entry = entry_of(cache, hash);
    if (!is_admitted(entry, (uint32_t)(hash >> 32))) {
        return;
    }
    size_t targets_size = target_count * sizeof(struct route_target *);
    size_t block_size = targets_size + routing_key.size;
    if (block_size > entry->block_size || entry->block_size == 0) {
        /* Rounded up, so that keys of about one length share a size; never 0. */
        entry->block_size = (uint32_t)(block_size / 64 + 1) * 64;
        entry->block = xrealloc(entry->block, entry->block_size);
    }
    entry->source_id = source_id;
    entry->generation = generation;
    entry->hash = (uint32_t)(hash >> 32);
    entry->key_size = (uint16_t)routing_key.size;
    entry->target_count = (uint16_t)target_count;
    if (target_count > 0) {
        memcpy(entry->block, targets, targets_size);
    }
    if (routing_key.size > 0) {
        memcpy(entry->block + target_count, routing_key.data, routing_key.size);
    }
}
