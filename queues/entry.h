/* SPDX-License-Identifier: Apache-2.0 */
/* One message in one queue: 24 octets, whatever the message's size. */
#ifndef BOURSE_QUEUES_ENTRY_H
#define BOURSE_QUEUES_ENTRY_H

#include "store/chunk.h"

#include <stdbool.h>

enum queue_entry_flag {
    ENTRY_REDELIVERED = 1 << 0, /* was handed out before and came back */
    ENTRY_PERSISTENT = 1 << 1,  /* delivery mode 2 in a durable queue */
    ENTRY_HANDED_OUT = 1 << 2,  /* the log says that it may have been handed out */
    ENTRY_DEAD = 1 << 3,       /* a place in a deque whose message has died: it names no content, is
                                  in no log and has no size */
    ENTRY_INDEXED = 1 << 4,    /* its deadline has a row in the due index of its queue */
    ENTRY_IS_BACK = 1 << 5,    /* in that row: the message stands among the returned ones */
    ENTRY_HAS_FAILED = 1 << 6, /* it came back before, and its queue has a row of it (failures.h) */
};

struct queue_entry {
    struct content_ref content; /* named in the chunk pool; unset: only in the log */
    uint64_t lsn_and_flags;     /* LSN / 8 in the upper 56 bits (0: not in any log), flags below */
    uint32_t size;              /* octets of the body */
    uint32_t due;               /* deadline in steps of 10 ms since the core's base time; 0: none */
};

_Static_assert(sizeof(struct queue_entry) == 24, "millions of these wait");

static inline uint8_t
queue_entry_flags(const struct queue_entry *entry)
{
    return (uint8_t)entry->lsn_and_flags;
}

/* Where the log has the message; 0: in no log. */
static inline uint64_t
queue_entry_lsn(const struct queue_entry *entry)
{
    return entry->lsn_and_flags >> 8 << 3;
}

/* `lsn` is a multiple of 8 below 2^59. */
static inline uint64_t
queue_entry_pack(uint64_t lsn, uint8_t flags)
{
    return lsn >> 3 << 8 | flags;
}

/* The entry names its content, and lets go of it. Whoever copies an entry passes the name on. */
static inline void
queue_entry_retain(const struct queue_entry *entry, struct chunk_pool *pool)
{
    chunk_pool_retain_entry(pool, entry->content, queue_entry_lsn(entry));
}

static inline void
queue_entry_release(const struct queue_entry *entry, struct chunk_pool *pool)
{
    chunk_pool_release_entry(pool, entry->content, queue_entry_lsn(entry));
}

/* Word by word: a copy as a whole is made of 16 octets at a time, and waits where these were just
 * written as two words. */
static inline void
queue_entry_copy(struct queue_entry *to, const struct queue_entry *from)
{
    to->content = from->content;
    to->lsn_and_flags = from->lsn_and_flags;
    to->size = from->size;
    to->due = from->due;
}

static inline bool
queue_entry_is_dead(const struct queue_entry *entry)
{
    return (entry->lsn_and_flags & ENTRY_DEAD) != 0;
}

/* Whether its queue knows of failures of the message (failures.h). */
static inline bool
queue_entry_has_failed(const struct queue_entry *entry)
{
    return (entry->lsn_and_flags & ENTRY_HAS_FAILED) != 0;
}

static inline void
queue_entry_set_flag(struct queue_entry *entry, enum queue_entry_flag flag)
{
    entry->lsn_and_flags |= (uint64_t)flag;
}

static inline void
queue_entry_clear_flag(struct queue_entry *entry, enum queue_entry_flag flag)
{
    entry->lsn_and_flags &= ~(uint64_t)flag;
}

#endif
