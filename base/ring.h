/* SPDX-License-Identifier: Apache-2.0 */
/* A ring that carries items from one thread to one other, in order, without locks. An item is a run
 * of octets that begins with its size. The producer writes items where nobody looks yet and shows
 * them all at once with ring_flush, the consumer takes what one look has shown and gives its room
 * back at once with ring_release: two stores that the other side sees, however many items.
 *
 * Neither side ever waits for the other. What has no room waits in a FIFO on the producer's side,
 * ahead of everything newer, and is moved over by later flushes; the producer sees how much that is
 * (ring_overflow_octets) and must stop making more, for nothing here bounds it. Memory for it comes
 * from xalloc: an item that is lost would be a message or an answer lost, so the process ends when
 * the machine has none.
 *
 * Ownership: the functions say which of the two threads calls them, and the struct says of each
 * field whose it is. Creating and freeing happens while the other thread does not run. */
#ifndef BOURSE_BASE_RING_H
#define BOURSE_BASE_RING_H

#include "base/bell.h"

#include <stddef.h>

/* The beginning of every item; embed it as the first member. */
struct ring_item {
    uint32_t size; /* octets, these four included; written by ring_append */
};

struct ring;

/* `capacity` in octets, a power of two from 64 on. An item over a quarter of it is allocated by
 * itself and goes through the ring as a pointer. `consumer` is rung when there are items,
 * `producer` when there is room that it waits for; both are borrowed, and NULL for a side that
 * never sleeps. */
struct ring *ring_new(size_t capacity, struct bell *consumer, struct bell *producer);
void ring_free(struct ring **ring); /* with the items in it */

/* The producer's ------------------------------------------------------------------------------ */

/* An item of `size` octets at the end, 8-byte aligned, all but its size yet to be written: before
 * the next call of ring_append or ring_flush. */
void *ring_append(struct ring *ring, size_t size);

/* Moves over what waits and has room now, and shows the consumer everything up to here. */
void ring_flush(struct ring *ring);

/* Octets of items that wait for room. */
size_t ring_overflow_octets(const struct ring *ring);

/* A flush would move something that waits. To be asked, like ring_has_items, after sleep was
 * announced. */
bool ring_can_move(const struct ring *ring);

/* The consumer's ------------------------------------------------------------------------------ */

/* Something was flushed that is not taken yet. */
bool ring_has_items(const struct ring *ring);

/* Looks how far the producer has flushed; ring_next goes no further until the next look. */
void ring_look(struct ring *ring);

/* Takes the next item; NULL when there is none. Valid until the next ring_next, and until
 * ring_release. */
const void *ring_next(struct ring *ring);

/* The item behind the one that the last call returned, or behind the one taken last if that is
 * further, to look at before its turn comes; NULL when the last look did not show it, or it lies
 * elsewhere. Valid until it is taken and given back. */
const void *ring_peek(struct ring *ring);

/* Gives the room of all items taken back. */
void ring_release(struct ring *ring);

#endif
