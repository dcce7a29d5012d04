/* SPDX-License-Identifier: Apache-2.0 */
/* Where a binding leads: queues and exchanges embed a route_target, so that matching knows neither.
 * A route_set collects targets of one routing pass, each once, however many bindings match. */
#ifndef BOURSE_ROUTING_TARGET_H
#define BOURSE_ROUTING_TARGET_H

#include "base/alloc.h"
#include "base/list.h"

#include <stdint.h>

enum route_target_kind {
    ROUTE_TARGET_QUEUE,
    ROUTE_TARGET_EXCHANGE,
    ROUTE_TARGET_GONE, /* was either, and is deleted; its bindings are being taken away */
};

/* Owned by the core thread, like everything that embeds it. */
struct route_target {
    enum route_target_kind kind;
    uint64_t id;          /* never reused; what orders and hashes targets, never their address */
    uint64_t stamp;       /* the last routing pass that collected it */
    struct list bindings; /* of struct binding.target_link: bindings that lead here; points only */
};

static inline void
route_target_init(struct route_target *target, enum route_target_kind kind, uint64_t id)
{
    target->kind = kind;
    target->id = id;
    target->stamp = 0;
    list_init(&target->bindings);
}

/* Reused from pass to pass, so that routing allocates nothing once it has grown. */
struct route_set {
    struct route_target **targets; /* owned array of borrowed targets, in the order of collection */
    uint32_t count;
    uint32_t capacity;
    uint32_t visit_count; /* nodes of tries, and what takes as long, that the pass has looked at */
    uint64_t stamp;       /* of the pass under way */
};

static inline void
route_set_init(struct route_set *set)
{
    *set = (struct route_set){.stamp = 0};
}

void route_set_fini(struct route_set *set);

/* Starts a pass with an empty set. One set per core, so stamps never repeat. */
static inline void
route_set_begin(struct route_set *set)
{
    set->stamp++;
    set->count = 0;
    set->visit_count = 0;
}

void route_set_grow(struct route_set *set);

/* Puts the target, which has the pass's stamp and is not in the set, in front of the others. */
void route_set_put_first(struct route_set *set, struct route_target *target);

/* What is collected between the two calls is whole: route_set_split lets targets be added that are
 * in the set already, and returns where they start; route_set_merge takes those away again. */
uint32_t route_set_split(struct route_set *set);
void route_set_merge(struct route_set *set, uint32_t start);

static inline void
route_set_add(struct route_set *set, struct route_target *target)
{
    if (target->stamp == set->stamp) {
        return;
    }
    target->stamp = set->stamp;
    if (set->count == set->capacity) {
        route_set_grow(set);
    }
    set->targets[set->count++] = target;
}

#endif
