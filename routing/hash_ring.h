/* SPDX-License-Identifier: Apache-2.0 */
/* Points on a ring of 64-bit numbers, each of which belongs to an owner: a hash belongs to the
 * owner of the first point that is not below it. Where the points lie is the caller's; what the
 * ring answers depends on them and on nothing else: neither on the order in which they came nor on
 * what was taken away again. Adding, removing and finding cost the same however many there are, as
 * long as points are spread as hashes are. */
#ifndef BOURSE_ROUTING_HASH_RING_H
#define BOURSE_ROUTING_HASH_RING_H

#include <stdbool.h>
#include <stdint.h>

struct ring_point;

/* All zero is an empty ring that holds no memory. */
struct hash_ring {
    struct ring_point *points; /* owned; chained by arc, in order */
    uint32_t count;            /* on the ring */
    uint32_t used_count;       /* free ones included */
    uint32_t capacity;
    uint32_t first_free; /* number of a point + 1; 0: none */
    uint32_t *arcs;      /* owned; the first point of each arc, + 1; 0: it has none */
    uint32_t arc_bits;   /* there are as many arcs as so many bits can number */
};

void hash_ring_fini(struct hash_ring *ring); /* also makes it empty again */

/* Adds a point; several may lie at the same place. */
void hash_ring_add(struct hash_ring *ring, uint64_t at, uint32_t owner);

/* Takes away one point of that owner at that place; it is there. */
void hash_ring_remove(struct hash_ring *ring, uint64_t at, uint32_t owner);

/* A walk round the ring, point by point. */
struct ring_walk {
    uint64_t arc;
    uint32_t point; /* + 1; 0: the arc's are through */
    uint32_t left;  /* points not yet passed */
};

/* Starts at `hash`: the first owner that hash_ring_next gives is the one to whom it belongs. */
void hash_ring_walk(const struct hash_ring *ring, uint64_t hash, struct ring_walk *walk);

/* The owner of the next point. False when every point was passed. */
bool hash_ring_next(const struct hash_ring *ring, struct ring_walk *walk, uint32_t *owner_out);

#endif
