/* SPDX-License-Identifier: Apache-2.0 */
/* The ring against a list of points that is looked through. */
#include "routing/hash_ring.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#include "base/random.h"

enum { POINTS_MAX = 2000, NOBODY = UINT32_MAX };

struct model_point {
    uint64_t at;
    uint32_t owner;
};

static struct hash_ring ring;
static struct model_point model[POINTS_MAX];
static uint32_t model_count;
static uint64_t state = 7;

static void
tear_down(void)
{
    hash_ring_fini(&ring);
}

TestSuite(hash_ring, .fini = tear_down);

static uint64_t
draw(void)
{
    struct random_source source = random_seeded(&state);
    return random_u64(&source);
}

static void
add(uint64_t at, uint32_t owner)
{
    hash_ring_add(&ring, at, owner);
    model[model_count++] = (struct model_point){.at = at, .owner = owner};
}

static void
remove_one(uint32_t place)
{
    hash_ring_remove(&ring, model[place].at, model[place].owner);
    model[place] = model[--model_count];
}

/* The owner of the nearest point, going up and round. */
static uint32_t
model_owner(uint64_t hash)
{
    uint32_t nearest = NOBODY;
    for (uint32_t i = 0; i < model_count; i++) {
        if (nearest == NOBODY || model[i].at - hash < model[nearest].at - hash) {
            nearest = i;
        }
    }
    return nearest == NOBODY ? NOBODY : model[nearest].owner;
}

static uint32_t
owner(uint64_t hash)
{
    struct ring_walk walk;
    uint32_t found;
    hash_ring_walk(&ring, hash, &walk);
    return hash_ring_next(&ring, &walk, &found) ? found : NOBODY;
}

Test(hash_ring, an_empty_ring_has_no_owner)
{
    cr_expect(eq(u32, owner(5), NOBODY));
    hash_ring_add(&ring, 9, 1);
    hash_ring_remove(&ring, 9, 1);
    cr_expect(eq(u32, owner(5), NOBODY));
    cr_expect(eq(ptr, ring.points, NULL), "it holds no memory");
}

Test(hash_ring, a_hash_belongs_to_the_first_point_that_is_not_below_it)
{
    hash_ring_add(&ring, 100, 1);
    hash_ring_add(&ring, UINT64_MAX - 5, 2);
    cr_expect(eq(u32, owner(0), 1));
    cr_expect(eq(u32, owner(100), 1));
    cr_expect(eq(u32, owner(101), 2));
    cr_expect(eq(u32, owner(UINT64_MAX - 5), 2));
    cr_expect(eq(u32, owner(UINT64_MAX - 4), 1), "round the end");
}

Test(hash_ring, what_comes_and_goes_leaves_it_as_a_search_through_all_points_has_it)
{
    for (int round = 0; round < 6; round++) {
        while (model_count < POINTS_MAX) {
            add(draw(), model_count % 50);
        }
        for (int i = 0; i < 300; i++) {
            uint64_t hash = draw();
            cr_assert(eq(u32, owner(hash), model_owner(hash)));
        }
        while (model_count > (round == 2 ? 0u : 30u)) {
            remove_one((uint32_t)(draw() % model_count));
        }
        for (int i = 0; i < 300; i++) {
            uint64_t hash = draw();
            cr_assert(eq(u32, owner(hash), model_owner(hash)));
        }
    }
}

Test(hash_ring, a_walk_passes_every_point_once_in_order)
{
    for (uint32_t i = 0; i < 500; i++) {
        add(draw(), i);
    }
    struct ring_walk walk;
    uint64_t start = draw();
    uint64_t passed = 0;
    uint32_t count = 0;
    uint32_t found;
    hash_ring_walk(&ring, start, &walk);
    while (hash_ring_next(&ring, &walk, &found)) {
        cr_assert(ge(u64, model[found].at - start, passed));
        passed = model[found].at - start;
        count++;
    }
    cr_expect(eq(u32, count, 500));
}

Test(hash_ring, points_at_one_place_are_told_apart_by_their_owners)
{
    hash_ring_add(&ring, 7, 1);
    hash_ring_add(&ring, 7, 2);
    hash_ring_add(&ring, 7, 3);
    hash_ring_remove(&ring, 7, 2);
    hash_ring_remove(&ring, 7, 3);
    cr_expect(eq(u32, owner(0), 1));
}

/* What is left of a large ring is found as in one that was never large: a walk over empty arcs is
 * work that nobody counts. */
Test(hash_ring, a_ring_that_has_become_small_is_divided_as_a_small_one)
{
    for (uint32_t i = 0; i < POINTS_MAX; i++) {
        add(draw(), i % 7);
    }
    uint32_t large_bits = ring.arc_bits;
    while (model_count > 3) {
        remove_one((uint32_t)(draw() % model_count));
        cr_expect(eq(u32, owner(model[0].at), model[0].owner));
        cr_assert(le(u64, UINT64_C(1) << ring.arc_bits, 8 * (uint64_t)model_count + 64));
    }
    cr_expect(lt(u32, ring.arc_bits, large_bits));
    for (int i = 0; i < 1000; i++) {
        uint64_t hash = draw();
        cr_expect(eq(u32, owner(hash), model_owner(hash)));
    }
}
