/* SPDX-License-Identifier: Apache-2.0 */
/* An array without holes, and an index of it by target once a search through it would cost more. */
#include "routing/target_bag.h"

#include <stdlib.h>

#include "base/number_index.h"

enum { LIST_CAPACITY_MIN = 4, LIST_INDEXED_FROM = 16 };

struct target_item {
    struct route_target *target; /* borrowed */
    uint32_t count;              /* how often it was added */
};

struct target_list {
    struct target_item *items; /* owned */
    uint32_t capacity;
    struct number_index places; /* of items by target, from LIST_INDEXED_FROM targets on */
};

/* Ids are dealt out by the core, not by a peer: spreading them is enough. */
static uint32_t
target_hash(const struct route_target *target)
{
    return (uint32_t)((target->id * UINT64_C(0x9e3779b97f4a7c15)) >> 32);
}

static bool
is_indexed(const struct target_list *list)
{
    return number_index_count(&list->places) > 0;
}

void
target_bag_fini(struct target_bag *bag)
{
    if (bag->count > 1) {
        number_index_fini(&bag->list->places);
        free(bag->list->items);
        free(bag->list);
    }
    *bag = (struct target_bag){0};
}

/* The place of `target` among `count` items, or NUMBER_NONE. */
static uint32_t
find_place(const struct target_list *list, uint32_t count, const struct route_target *target)
{
    if (!is_indexed(list)) {
        for (uint32_t i = 0; i < count; i++) {
            if (list->items[i].target == target) {
                return i;
            }
        }
        return NUMBER_NONE;
    }
    uint32_t slot;
    uint32_t hash = target_hash(target);
    uint32_t place = number_index_first(&list->places, hash, &slot);
    while (place != NUMBER_NONE && list->items[place].target != target) {
        place = number_index_next(&list->places, hash, &slot);
    }
    return place;
}

/* Puts an item at the end of `count` items, filing it if the list is indexed or now should be. */
static void
append(struct target_list *list, uint32_t count, struct target_item item)
{
    if (count == list->capacity) {
        list->capacity = count < LIST_CAPACITY_MIN ? LIST_CAPACITY_MIN : 2 * count;
        list->items = xrealloc(list->items, list->capacity * sizeof(*list->items));
    }
    list->items[count] = item;
    if (is_indexed(list)) {
        number_index_insert(&list->places, target_hash(item.target), count);
    } else if (count + 1 == LIST_INDEXED_FROM) {
        for (uint32_t i = 0; i <= count; i++) {
            number_index_insert(&list->places, target_hash(list->items[i].target), i);
        }
    }
}

/* A second target is coming: the first moves into a list. */
static void
make_list(struct target_bag *bag)
{
    struct target_list *list = xalloc(sizeof(*list));
    append(list, 0, (struct target_item){.target = bag->only, .count = bag->only_count});
    bag->list = list;
    bag->only_count = 0;
}

void
target_bag_add(struct target_bag *bag, struct route_target *target)
{
    if (bag->count == 0) {
        *bag = (struct target_bag){.only = target, .count = 1, .only_count = 1};
        return;
    }
    if (bag->count == 1) {
        if (bag->only == target) {
            bag->only_count++;
            return;
        }
        make_list(bag);
    }
    uint32_t place = find_place(bag->list, bag->count, target);
    if (place != NUMBER_NONE) {
        bag->list->items[place].count++;
        return;
    }
    append(bag->list, bag->count, (struct target_item){.target = target, .count = 1});
    bag->count++;
}

/* The last item takes the place of the one that leaves. */
static void
drop_item(struct target_list *list, uint32_t count, uint32_t place)
{
    uint32_t last = count - 1;
    if (is_indexed(list)) {
        number_index_remove(&list->places, target_hash(list->items[place].target), place);
        if (place != last) {
            number_index_renumber(&list->places, target_hash(list->items[last].target), last,
                                  place);
        }
    }
    list->items[place] = list->items[last];
}

/* One target is left: the list goes. */
static void
drop_list(struct target_bag *bag)
{
    struct target_item item = bag->list->items[0];
    target_bag_fini(bag);
    *bag = (struct target_bag){.only = item.target, .count = 1, .only_count = item.count};
}

void
target_bag_remove(struct target_bag *bag, struct route_target *target)
{
    assert(bag->count > 0);
    if (bag->count == 1) {
        assert(bag->only == target);
        bag->only_count--;
        bag->count = bag->only_count == 0 ? 0 : 1;
        return;
    }
    struct target_list *list = bag->list;
    uint32_t place = find_place(list, bag->count, target);
    assert(place != NUMBER_NONE);
    list->items[place].count--;
    if (list->items[place].count > 0) {
        return;
    }
    drop_item(list, bag->count, place);
    if (bag->count == 2) {
        drop_list(bag);
    } else {
        bag->count--;
    }
}

void
target_list_collect(const struct target_list *list, uint32_t count, struct route_set *set)
{
    for (uint32_t i = 0; i < count; i++) {
        route_set_add(set, list->items[i].target);
    }
}
