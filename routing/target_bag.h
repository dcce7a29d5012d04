/* SPDX-License-Identifier: Apache-2.0 */
/* Targets with a count each: what is bound under one key, or to one fanout exchange. A target that
 * was added several times is there once and leaves when it was removed as often. One target, the
 * usual case, needs no memory of its own; adding and removing cost the same however many there
 * are. */
#ifndef BOURSE_ROUTING_TARGET_BAG_H
#define BOURSE_ROUTING_TARGET_BAG_H

#include "routing/target.h"

struct target_list; /* two targets and more */

/* All zero is an empty bag. */
struct target_bag {
    union {
        struct route_target *only; /* borrowed; while `count` is 1 */
        struct target_list *list;  /* owned; while `count` is greater */
    };
    uint32_t count;      /* distinct targets */
    uint32_t only_count; /* how often `only` was added; while `count` is 1 */
};

void target_bag_fini(struct target_bag *bag); /* also makes it empty again */
void target_bag_add(struct target_bag *bag, struct route_target *target);

/* The target is there. */
void target_bag_remove(struct target_bag *bag, struct route_target *target);

/* Adds `count` list items to `set`. */
void target_list_collect(const struct target_list *list, uint32_t count, struct route_set *set);

/* Adds every target to `set`. */
static inline void
target_bag_collect(const struct target_bag *bag, struct route_set *set)
{
    if (bag->count == 1) {
        route_set_add(set, bag->only);
    } else if (bag->count > 1) {
        target_list_collect(bag->list, bag->count, set);
    }
}

#endif
