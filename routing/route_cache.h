/* SPDX-License-Identifier: Apache-2.0 */
/* Remembers what matching found: 4,096 results under (exchange, routing key), good while the
 * exchange's generation is unchanged. Direct mapped: a collision replaces when it was stored twice.
 * Memory of the targets is never followed for a stale entry, so an exchange or queue that is gone
 * cannot be reached. */
#ifndef BOURSE_ROUTING_ROUTE_CACHE_H
#define BOURSE_ROUTING_ROUTE_CACHE_H

#include "base/bytes.h"
#include "routing/target.h"

enum { ROUTE_CACHE_ENTRIES = 4096, ROUTE_CACHE_TARGETS_MAX = 64, ROUTE_CACHE_KEY_SIZE_MAX = 255 };

struct route_cache;

/* The table itself is allocated with the first store. */
struct route_cache *route_cache_new(uint64_t seed);
void route_cache_free(struct route_cache **cache);

/* Adds the remembered targets to `set` and returns true, or returns false. */
bool route_cache_find(const struct route_cache *cache, uint64_t source_id, uint64_t generation,
                      struct bytes routing_key, struct route_set *set);

/* Remembers `targets`, also that there are none, unless another result has its place and this is
 * the first time it is stored; results over ROUTE_CACHE_TARGETS_MAX targets and keys over
 * ROUTE_CACHE_KEY_SIZE_MAX octets are not kept. */
void route_cache_store(struct route_cache *cache, uint64_t source_id, uint64_t generation,
                       struct bytes routing_key, struct route_target *const *targets,
                       uint32_t target_count);

#endif
