/* SPDX-License-Identifier: Apache-2.0 */
/* What items of the rings have in common: for seam_ring_events.c and seam_ring_actions.c, which
 * write and read them, and nobody else. Every item begins with a head of two words. What is read
 * was written by the other half of the same file, so it is asserted and never doubted. */
#ifndef BOURSE_NET_SEAM_ITEMS_H
#define BOURSE_NET_SEAM_ITEMS_H

#include "base/assert.h"
#include "net/seam_ring.h"

#include <string.h>

/* The type of a mark: a tick's number, in either direction. */
enum { ITEM_TICK = 0xFF };

enum item_flag {
    ITEM_MANDATORY = 1 << 0,
    ITEM_IMMEDIATE = 1 << 1,
    ITEM_REDELIVERED = 1 << 2,
    ITEM_OWN_EXCHANGE = 1 << 3, /* the content's own: nothing behind the item */
    ITEM_OWN_KEY = 1 << 4,
    ITEM_LOAN = 1 << 5, /* its number is the last that lies behind the item */
};

struct item_head {
    struct ring_item item;
    uint8_t type;  /* of enum net_event_type or net_action_type, or ITEM_TICK */
    uint8_t flags; /* of enum item_flag */
    uint16_t channel;
    uint64_t link;
};

struct number_item { /* WRITTEN, CLOSED, LOAN_RETURNED, CLOSE, and marks */
    struct item_head head;
    uint64_t number;
};

_Static_assert(sizeof(struct item_head) == 16, "an item's head is two words");

static inline void *
append_head(struct ring *ring, size_t size, unsigned int type, uint16_t channel, uint64_t link)
{
    struct item_head *head = ring_append(ring, size);
    head->type = (uint8_t)type;
    head->flags = 0;
    head->channel = channel;
    head->link = link;
    return head;
}

static inline void
append_tick(struct ring *ring, uint64_t tick)
{
    struct number_item *item = append_head(ring, sizeof(*item), ITEM_TICK, 0, 0);
    item->number = tick;
}

static inline uint8_t *
put_octets(uint8_t *at, struct bytes octets)
{
    if (octets.size > 0) {
        memcpy(at, octets.data, octets.size);
    }
    return at + octets.size;
}

/* The item behind `head`, of which at least `size` octets must be there. */
static inline const void *
item_of(const struct item_head *head, size_t size)
{
    assert(head->item.size >= size);
    return head;
}

/* The octets of `item` from `at` on. */
static inline struct bytes
octets_behind(const struct item_head *item, const void *at)
{
    size_t before = (size_t)((const uint8_t *)at - (const uint8_t *)item);
    assert(before <= item->item.size);
    return bytes_make(at, item->item.size - before);
}

static inline uint64_t
read_number(const struct item_head *head)
{
    const struct number_item *item = item_of(head, sizeof(*item));
    return item->number;
}

static inline struct bytes
take_octets(struct bytes *left, size_t size)
{
    assert(size <= left->size);
    struct bytes taken = bytes_make(left->data, size);
    *left = bytes_make(left->data + size, left->size - size);
    return taken;
}

/* Contents whose items come next are on their way while what is in front of them is handled: they
 * were written on another processor, or some time ago. */
enum { ITEMS_AHEAD = 8, FRONT_SIZE = 40 };

static inline void
prefetch_content(const struct content *content)
{
    if (content != NULL) {
        __builtin_prefetch(content);
        /* Names and properties of usual size, mostly in the same line. */
        __builtin_prefetch((const uint8_t *)content + FRONT_SIZE);
    }
}

#endif
