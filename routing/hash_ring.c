/* SPDX-License-Identifier: Apache-2.0 */
/* The ring is cut into arcs of equal length, about one for two points; the points of an arc are
 * chained in order. When arcs are cut in half, a chain falls apart into two that are each in
 * order; when few points are left, neighbours are joined again. */
#include "routing/hash_ring.h"

#include <stdlib.h>

#include "base/alloc.h"
#include "base/assert.h"

enum {
    ARC_BITS_MIN = 6,
    POINTS_PER_ARC = 2,
    EMPTY_ARCS_MAX = 8, /* arcs for each point; with more, whoever walks the ring steps over them */
    POINTS_CAPACITY_MIN = 128,
};

struct ring_point {
    uint64_t at;
    uint32_t owner;
    uint32_t next; /* in its arc, or of the free ones; + 1; 0: none */
};

void
hash_ring_fini(struct hash_ring *ring)
{
    free(ring->points);
    free(ring->arcs);
    *ring = (struct hash_ring){.count = 0};
}

static uint64_t
arc_of(const struct hash_ring *ring, uint64_t at)
{
    return at >> (64 - ring->arc_bits);
}

/* Where the number of the first point of the arc that is not below `at` stands. */
static uint32_t *
find_link(struct hash_ring *ring, uint64_t at)
{
    uint32_t *link = &ring->arcs[arc_of(ring, at)];
    while (*link != 0 && ring->points[*link - 1].at < at) {
        link = &ring->points[*link - 1].next;
    }
    return link;
}

static void
make_arcs(struct hash_ring *ring, uint32_t bits)
{
    ring->arc_bits = bits;
    ring->arcs = xalloc((sizeof(*ring->arcs)) << bits);
}

static void
halve_arcs(struct hash_ring *ring)
{
    uint32_t *old = ring->arcs;
    uint64_t old_count = UINT64_C(1) << ring->arc_bits;
    make_arcs(ring, ring->arc_bits + 1);
    for (uint64_t arc = 0; arc < old_count; arc++) {
        uint32_t *link = &old[arc];
        while (*link != 0 && arc_of(ring, ring->points[*link - 1].at) == 2 * arc) {
            link = &ring->points[*link - 1].next;
        }
        ring->arcs[2 * arc + 1] = *link;
        *link = 0;
        ring->arcs[2 * arc] = old[arc];
    }
    free(old);
}

static void
join_arcs(struct hash_ring *ring)
{
    uint32_t *old = ring->arcs;
    make_arcs(ring, ring->arc_bits - 1);
    for (uint64_t arc = 0; arc < UINT64_C(1) << ring->arc_bits; arc++) {
        uint32_t *link = &ring->arcs[arc];
        *link = old[2 * arc];
        while (*link != 0) {
            link = &ring->points[*link - 1].next;
        }
        *link = old[2 * arc + 1];
    }
    free(old);
}

static uint32_t
take_point(struct hash_ring *ring)
{
    uint32_t number = ring->first_free;
    if (number != 0) {
        ring->first_free = ring->points[number - 1].next;
        return number;
    }
    if (ring->used_count == ring->capacity) {
        ring->capacity = ring->capacity == 0 ? POINTS_CAPACITY_MIN : 2 * ring->capacity;
        ring->points = xrealloc(ring->points, ring->capacity * sizeof(*ring->points));
    }
    return ++ring->used_count;
}

void
hash_ring_add(struct hash_ring *ring, uint64_t at, uint32_t owner)
{
    if (ring->arcs == NULL) {
        make_arcs(ring, ARC_BITS_MIN);
    } else if (ring->count >= (uint32_t)POINTS_PER_ARC << ring->arc_bits) {
        halve_arcs(ring);
    }
    uint32_t number = take_point(ring);
    uint32_t *link = find_link(ring, at);
    ring->points[number - 1] = (struct ring_point){.at = at, .owner = owner, .next = *link};
    *link = number;
    ring->count++;
}

void
hash_ring_remove(struct hash_ring *ring, uint64_t at, uint32_t owner)
{
    uint32_t *link = find_link(ring, at);
    while (*link != 0 && ring->points[*link - 1].owner != owner) {
        link = &ring->points[*link - 1].next;
    }
    assert(*link != 0);
    uint32_t number = *link;
    struct ring_point *point = &ring->points[number - 1];
    assert(point->at == at);
    *link = point->next;
    point->next = ring->first_free;
    ring->first_free = number;
    ring->count--;
    if (ring->count == 0) {
        hash_ring_fini(ring);
    } else if (ring->arc_bits > ARC_BITS_MIN &&
               ring->count < (UINT64_C(1) << ring->arc_bits) / EMPTY_ARCS_MAX) {
        join_arcs(ring);
    }
}

void
hash_ring_walk(const struct hash_ring *ring, uint64_t hash, struct ring_walk *walk)
{
    *walk = (struct ring_walk){.left = ring->count};
    if (ring->count == 0) {
        return;
    }
    walk->arc = arc_of(ring, hash);
    walk->point = ring->arcs[walk->arc];
    while (walk->point != 0 && ring->points[walk->point - 1].at < hash) {
        walk->point = ring->points[walk->point - 1].next;
    }
}

bool
hash_ring_next(const struct hash_ring *ring, struct ring_walk *walk, uint32_t *owner_out)
{
    if (walk->left == 0) {
        return false;
    }
    uint64_t last_arc = (UINT64_C(1) << ring->arc_bits) - 1;
    while (walk->point == 0) {
        walk->arc = walk->arc == last_arc ? 0 : walk->arc + 1;
        walk->point = ring->arcs[walk->arc];
    }
    const struct ring_point *point = &ring->points[walk->point - 1];
    walk->point = point->next;
    walk->left--;
    *owner_out = point->owner;
    return true;
}
