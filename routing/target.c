/* SPDX-License-Identifier: Apache-2.0 */
/* The growing array of a routing pass, and the part of it that one match contributed. */
#include "routing/target.h"

#include <stdlib.h>
#include <string.h>

#include "base/assert.h"

enum { ROUTE_SET_CAPACITY_MIN = 16 };

void
route_set_fini(struct route_set *set)
{
    free(set->targets);
    route_set_init(set);
}

void
route_set_grow(struct route_set *set)
{
    uint32_t capacity = set->capacity == 0 ? ROUTE_SET_CAPACITY_MIN : 2 * set->capacity;
    set->targets = xrealloc(set->targets, capacity * sizeof(struct route_target *));
    set->capacity = capacity;
}

void
route_set_put_first(struct route_set *set, struct route_target *target)
{
    assert(target->stamp == set->stamp);
    if (set->count == set->capacity) {
        route_set_grow(set);
    }
    memmove(set->targets + 1, set->targets, set->count * sizeof(struct route_target *));
    set->targets[0] = target;
    set->count++;
}

uint32_t
route_set_split(struct route_set *set)
{
    if (set->count > 0) {
        set->stamp++;
    }
    return set->count;
}

void
route_set_merge(struct route_set *set, uint32_t start)
{
    if (start == 0) {
        return;
    }
    set->stamp++;
    for (uint32_t i = 0; i < start; i++) {
        set->targets[i]->stamp = set->stamp;
    }
    uint32_t end = set->count;
    set->count = start;
    for (uint32_t i = start; i < end; i++) {
        route_set_add(set, set->targets[i]);
    }
}
