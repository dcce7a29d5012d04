/* SPDX-License-Identifier: Apache-2.0 */
/* Positions count octets since the ring was made and never wrap; the place in memory is the rest of
 * the division by the capacity. */
#include "base/ring.h"

#include "base/alloc.h"
#include "base/assert.h"

#include <stdalign.h>
#include <stdlib.h>
#include <string.h>

enum {
    ITEM_ALIGNMENT = 8,
    CAPACITY_MIN = 64,
    /* Two cache lines, since processors fetch them in pairs. */
    RING_ALIGNMENT = 128,
    BLOCK_SIZE = 64 * 1024,
};

/* Sizes that no item of a caller has. */
static const uint32_t SIZE_PADDING = 0;        /* the next item lies at the start of the memory */
static const uint32_t SIZE_LARGE = UINT32_MAX; /* a struct large_item */

/* Stands for an item that lies outside of the ring. */
struct large_item {
    struct ring_item item;
    struct ring_item *memory; /* owned by whoever has the item */
};

/* A piece of the FIFO: items as they lie in the ring. */
struct overflow_block {
    struct overflow_block *next;
    size_t start; /* of the first item that waits */
    size_t end;
    alignas(ITEM_ALIGNMENT) uint8_t octets[BLOCK_SIZE];
};

struct overflow {
    struct overflow_block *first; /* owned, and so are all behind it; NULL: nothing waits */
    struct overflow_block *last;  /* NULL: nothing waits */
    struct overflow_block *spare; /* owned; NULL, or one that has run empty */
    size_t octets;
};

struct ring {
    /* Never changed. */
    alignas(RING_ALIGNMENT) uint8_t *memory;
    void *allocation; /* what holds this struct and the memory */
    uint64_t capacity;
    struct bell *consumer;
    struct bell *producer;

    /* The producer's alone. */
    alignas(RING_ALIGNMENT) uint64_t write_at; /* behind the last item */
    uint64_t flushed_at;                       /* what `published` says */
    uint64_t released_seen;                    /* what `released` said when it was last read */
    struct overflow overflow;

    /* Written by the producer, read by the consumer. */
    alignas(RING_ALIGNMENT) _Atomic uint64_t published; /* behind the last item that is shown */
    atomic_bool wants_room;                             /* something waits: ring when there is */

    /* The consumer's alone. */
    alignas(RING_ALIGNMENT) uint64_t read_at; /* behind the last item taken */
    uint64_t released_at;                     /* what `released` says */
    uint64_t peeked_at;                       /* behind the last item peeked at */
    uint64_t published_seen;                  /* what `published` said at the last look */
    struct ring_item *large;                  /* owned: the item taken last, if it was large */

    /* Written by the consumer, read by the producer. */
    alignas(RING_ALIGNMENT) _Atomic uint64_t released; /* in front of this everything is free */
};

static size_t
stride_of(size_t size)
{
    return (size + ITEM_ALIGNMENT - 1) & ~(size_t)(ITEM_ALIGNMENT - 1);
}

static uint32_t
stored_size(const struct ring_item *item)
{
    return item->size == SIZE_LARGE ? sizeof(struct large_item) : item->size;
}

static struct ring_item *
item_at(const struct ring *ring, uint64_t position)
{
    return (struct ring_item *)(ring->memory + (position & (ring->capacity - 1)));
}

/* Life ---------------------------------------------------------------------------------------- */

struct ring *
ring_new(size_t capacity, struct bell *consumer, struct bell *producer)
{
    assert(capacity >= CAPACITY_MIN);
    assert((capacity & (capacity - 1)) == 0);
    /* Zeroed by the system where it is large, so that it becomes resident only as it is used. */
    void *allocation = xalloc(RING_ALIGNMENT + sizeof(struct ring) + capacity);
    size_t misplaced = (uintptr_t)allocation % RING_ALIGNMENT;
    struct ring *ring = (void *)((uint8_t *)allocation + RING_ALIGNMENT - misplaced);
    ring->allocation = allocation;
    ring->memory = (uint8_t *)(ring + 1);
    ring->capacity = capacity;
    ring->consumer = consumer;
    ring->producer = producer;
    return ring;
}

static void
free_large(const struct ring_item *item)
{
    if (item->size == SIZE_LARGE) {
        free(((const struct large_item *)item)->memory);
    }
}

static void
overflow_free(struct overflow *overflow)
{
    while (overflow->first != NULL) {
        struct overflow_block *block = overflow->first;
        overflow->first = block->next;
        while (block->start < block->end) {
            const struct ring_item *item = (struct ring_item *)(block->octets + block->start);
            free_large(item);
            block->start += stride_of(stored_size(item));
        }
        free(block);
    }
    free(overflow->spare);
}

void
ring_free(struct ring **ring)
{
    struct ring *dying = *ring;
    if (dying == NULL) {
        return;
    }
    *ring = NULL;
    dying->published_seen = dying->write_at;
    while (ring_next(dying) != NULL) {
    }
    overflow_free(&dying->overflow);
    free(dying->allocation);
}

/* The FIFO ------------------------------------------------------------------------------------ */

static struct overflow_block *
overflow_add_block(struct overflow *overflow)
{
    struct overflow_block *block = overflow->spare;
    overflow->spare = NULL;
    if (block == NULL) {
        block = xalloc(sizeof(*block));
    }
    block->next = NULL;
    block->start = 0;
    block->end = 0;
    if (overflow->last == NULL) {
        overflow->first = block;
    } else {
        overflow->last->next = block;
    }
    overflow->last = block;
    return block;
}

static struct ring_item *
overflow_append(struct overflow *overflow, size_t stride)
{
    struct overflow_block *block = overflow->last;
    if (block == NULL || BLOCK_SIZE - block->end < stride) {
        block = overflow_add_block(overflow);
    }
    struct ring_item *item = (struct ring_item *)(block->octets + block->end);
    block->end += stride;
    overflow->octets += stride;
    return item;
}

static struct ring_item *
overflow_first(const struct overflow *overflow)
{
    return (struct ring_item *)(overflow->first->octets + overflow->first->start);
}

/* Drops the first item, of which there is one. */
static void
overflow_pop(struct overflow *overflow, size_t stride)
{
    struct overflow_block *block = overflow->first;
    block->start += stride;
    overflow->octets -= stride;
    if (block->start < block->end) {
        return;
    }
    overflow->first = block->next;
    overflow->last = overflow->first == NULL ? NULL : overflow->last;
    if (overflow->spare == NULL) {
        overflow->spare = block;
    } else {
        free(block);
    }
}

/* Producing ----------------------------------------------------------------------------------- */

/* Octets that an item takes from `write_at` on, with what it skips at the end of the memory. */
static uint64_t
octets_needed(const struct ring *ring, size_t stride)
{
    uint64_t left = ring->capacity - (ring->write_at & (ring->capacity - 1));
    return left < stride ? left + stride : stride;
}

static bool
has_room(const struct ring *ring, uint64_t released, uint64_t needed)
{
    return ring->capacity - (ring->write_at - released) >= needed;
}

/* Room for an item behind the last one; NULL when the consumer has not given back enough. */
static struct ring_item *
take_room(struct ring *ring, size_t stride)
{
    uint64_t needed = octets_needed(ring, stride);
    if (!has_room(ring, ring->released_seen, needed)) {
        ring->released_seen = atomic_load_explicit(&ring->released, memory_order_acquire);
        if (!has_room(ring, ring->released_seen, needed)) {
            return NULL;
        }
    }
    if (needed != stride) {
        item_at(ring, ring->write_at)->size = SIZE_PADDING;
        ring->write_at += needed - stride;
    }
    struct ring_item *item = item_at(ring, ring->write_at);
    ring->write_at += stride;
    return item;
}

/* Room for an item that fits the ring, in the ring or where it waits for it. */
static struct ring_item *
append(struct ring *ring, size_t size)
{
    size_t stride = stride_of(size);
    struct ring_item *item = ring->overflow.octets == 0 ? take_room(ring, stride) : NULL;
    return item != NULL ? item : overflow_append(&ring->overflow, stride);
}

static struct ring_item *
append_large(struct ring *ring, size_t size)
{
    struct large_item *item = (struct large_item *)append(ring, sizeof(*item));
    item->item.size = SIZE_LARGE;
    item->memory = xalloc(size);
    return item->memory;
}

/* Two things bound what lies in the ring itself: an item and the padding in front of it must fit
 * an empty ring, and an item must fit a block. */
static bool
is_large(const struct ring *ring, size_t size)
{
    return size > ring->capacity / 4 || size > BLOCK_SIZE;
}

void *
ring_append(struct ring *ring, size_t size)
{
    assert(size >= sizeof(struct ring_item));
    assert(size < SIZE_LARGE);
    struct ring_item *item = is_large(ring, size) ? append_large(ring, size) : append(ring, size);
    item->size = (uint32_t)size;
    return item;
}

/* Moves over what waits, oldest first, as far as there is room. */
static void
move_overflow(struct ring *ring)
{
    while (ring->overflow.octets > 0) {
        const struct ring_item *waiting = overflow_first(&ring->overflow);
        size_t stride = stride_of(stored_size(waiting));
        struct ring_item *item = take_room(ring, stride);
        if (item == NULL) {
            return;
        }
        memcpy(item, waiting, stored_size(waiting));
        overflow_pop(&ring->overflow, stride);
    }
}

/* The consumer looks at this flag after every release. */
static void
tell_what_is_wanted(struct ring *ring)
{
    bool wants_room = ring->overflow.octets > 0;
    if (wants_room != atomic_load_explicit(&ring->wants_room, memory_order_relaxed)) {
        atomic_store(&ring->wants_room, wants_room);
    }
}

void
ring_flush(struct ring *ring)
{
    move_overflow(ring);
    tell_what_is_wanted(ring);
    if (ring->write_at == ring->flushed_at) {
        return;
    }
    ring->flushed_at = ring->write_at;
    atomic_store(&ring->published, ring->write_at);
    if (ring->consumer != NULL) {
        bell_ring(ring->consumer);
    }
}

size_t
ring_overflow_octets(const struct ring *ring)
{
    return ring->overflow.octets;
}

bool
ring_can_move(const struct ring *ring)
{
    if (ring->overflow.octets == 0) {
        return false;
    }
    size_t stride = stride_of(stored_size(overflow_first(&ring->overflow)));
    return has_room(ring, atomic_load(&ring->released), octets_needed(ring, stride));
}

/* Consuming ----------------------------------------------------------------------------------- */

bool
ring_has_items(const struct ring *ring)
{
    return atomic_load(&ring->published) != ring->read_at;
}

void
ring_look(struct ring *ring)
{
    ring->published_seen = atomic_load_explicit(&ring->published, memory_order_acquire);
}

/* The item at `*position`, behind the padding if there is some; there is one. */
static struct ring_item *
skip_padding(const struct ring *ring, uint64_t *position)
{
    struct ring_item *item = item_at(ring, *position);
    if (item->size == SIZE_PADDING) {
        *position += ring->capacity - (*position & (ring->capacity - 1));
        assert(*position < ring->published_seen); /* padding is never the last */
        item = item_at(ring, *position);
    }
    return item;
}

const void *
ring_next(struct ring *ring)
{
    if (ring->large != NULL) {
        free(ring->large);
        ring->large = NULL;
    }
    if (ring->read_at == ring->published_seen) {
        return NULL;
    }
    struct ring_item *item = skip_padding(ring, &ring->read_at);
    ring->read_at += stride_of(stored_size(item));
    assert(ring->read_at <= ring->published_seen);
    if (item->size != SIZE_LARGE) {
        return item;
    }
    ring->large = ((struct large_item *)item)->memory;
    return ring->large;
}

const void *
ring_peek(struct ring *ring)
{
    if (ring->peeked_at < ring->read_at) {
        ring->peeked_at = ring->read_at;
    }
    if (ring->peeked_at == ring->published_seen) {
        return NULL;
    }
    const struct ring_item *item = skip_padding(ring, &ring->peeked_at);
    ring->peeked_at += stride_of(stored_size(item));
    return item->size == SIZE_LARGE ? NULL : item;
}

void
ring_release(struct ring *ring)
{
    if (ring->read_at == ring->released_at) {
        return;
    }
    ring->released_at = ring->read_at;
    atomic_store(&ring->released, ring->read_at);
    if (ring->producer != NULL && atomic_load(&ring->wants_room)) {
        bell_ring(ring->producer);
    }
}
