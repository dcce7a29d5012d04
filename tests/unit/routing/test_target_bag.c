/* SPDX-License-Identifier: Apache-2.0 */
#include "routing/target_bag.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>

enum { TARGET_COUNT = 100 };

static struct route_target targets[TARGET_COUNT];
static struct target_bag bag;
static struct route_set set;

static void
set_up(void)
{
    for (size_t i = 0; i < TARGET_COUNT; i++) {
        route_target_init(&targets[i], ROUTE_TARGET_QUEUE, i + 1);
    }
    bag = (struct target_bag){0};
    route_set_init(&set);
}

static void
tear_down(void)
{
    target_bag_fini(&bag);
    route_set_fini(&set);
}

TestSuite(target_bag, .init = set_up, .fini = tear_down);

static uint32_t
collect(void)
{
    route_set_begin(&set);
    target_bag_collect(&bag, &set);
    return set.count;
}

Test(target_bag, each_target_is_there_once)
{
    for (size_t round = 0; round < 3; round++) {
        for (size_t i = 0; i < TARGET_COUNT; i++) {
            target_bag_add(&bag, &targets[i]);
            uint32_t expected = round == 0 ? (uint32_t)i + 1 : TARGET_COUNT;
            cr_assert(eq(u32, collect(), expected));
        }
    }
}

Test(target_bag, a_target_leaves_when_it_was_removed_as_often_as_added)
{
    for (size_t i = 0; i < TARGET_COUNT; i++) {
        target_bag_add(&bag, &targets[i]);
        target_bag_add(&bag, &targets[i]);
    }
    for (uint32_t i = 0; i < TARGET_COUNT; i++) {
        struct route_target *leaving = &targets[(i * 37) % TARGET_COUNT];
        target_bag_remove(&bag, leaving);
        cr_assert(eq(u32, collect(), TARGET_COUNT - i));
        cr_assert(eq(u64, leaving->stamp, set.stamp));
        target_bag_remove(&bag, leaving);
        cr_assert(eq(u32, collect(), TARGET_COUNT - i - 1));
        cr_assert(ne(u64, leaving->stamp, set.stamp));
    }
    target_bag_add(&bag, &targets[3]);
    cr_expect(eq(u32, collect(), 1));
}

/* The part of a set that one match contributes is whole although some of it was there before. */
Test(target_bag, a_split_set_collects_known_targets_again_and_drops_them_in_the_merge)
{
    target_bag_add(&bag, &targets[0]);
    target_bag_add(&bag, &targets[1]);
    route_set_begin(&set);
    route_set_add(&set, &targets[1]);
    route_set_add(&set, &targets[2]);
    uint32_t start = route_set_split(&set);
    cr_assert(eq(u32, start, 2));
    target_bag_collect(&bag, &set);
    cr_assert(eq(u32, set.count, 4));
    route_set_merge(&set, start);
    cr_expect(eq(u32, set.count, 3));
    cr_expect(eq(ptr, set.targets[2], &targets[0]));
    for (size_t i = 0; i < 3; i++) {
        route_set_add(&set, &targets[i]);
    }
    cr_expect(eq(u32, set.count, 3));
}
