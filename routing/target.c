/* SPDX-License-Identifier: Apache-2.0 */
/* The growing array of a routing pass. */
#include "routing/target.h"

#include <stdlib.h>

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
