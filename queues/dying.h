/* SPDX-License-Identifier: Apache-2.0 */
/* Messages of a queue that have died and have not been moved yet, in the order of their deaths, and
 * how many have died so far. They are neither ready nor unacked; where they go is the broker's
 * business (broker/death/dead_letter.h). */
#ifndef BOURSE_QUEUES_DYING_H
#define BOURSE_QUEUES_DYING_H

#include "base/list.h"
#include "base/status.h"
#include "queues/entry.h"

struct queue;

enum death_reason {
    DEATH_REJECTED,       /* by a client, with requeue=false */
    DEATH_EXPIRED,        /* its time to live is over */
    DEATH_MAXLEN,         /* dropped from the head of a queue that was too long, or refused */
    DEATH_DELIVERY_LIMIT, /* returned more often than its queue allows */
    DEATH_REASON_COUNT,
};

/* As clients read it: "rejected", "expired", "maxlen", "delivery_limit". Static memory. */
const char *death_reason_name(enum death_reason reason);

struct failure; /* the broker's (broker/message/failure.h) */

struct dying_message {
    struct queue_entry entry; /* the content's count is held here */
    uint64_t number;          /* of the death; rises along the list */
    uint64_t position;        /* where it stood in the queue; 0: it never came in */
    struct failure *failure;  /* what is known of why; owned by whoever has the message; NULL: no
                                 more than the reason */
    enum death_reason reason;
};

struct dying_block; /* dying.c */

/* Made with the first death in a queue, or before it; kept for its counters. */
struct queue_dying {
    struct list_link link; /* in the broker's list of queues whose dying can be moved, or of those
                              that wait for something */
    struct list_link all_link;       /* in that of all queues in which something is dying */
    struct list_link overlong_link;  /* in that of queues over their limit, of which messages are
                                        about to die */
    struct queue *queue;             /* whose it is; not counted */
    uint32_t announced_count;        /* that a commit under way will let die; 0 outside of one */
    struct dying_block *head, *tail; /* owned; NULL while nothing is dying */
    struct dying_block *spare;       /* for those that come next; owned */
    uint32_t spare_count;
    uint64_t count;
    uint64_t died_count[DEATH_REASON_COUNT]; /* ever, dropped ones included */
    uint64_t moved_count;                    /* of them: that have reached a queue */

    /* The broker's. */
    uint64_t tick; /* in which `tick_count` were moved */
    uint32_t tick_count;
    uint32_t block_size;       /* of the next block that is fetched for them; 0: the usual */
    struct content_ref window; /* pinned: was fetched for them; unset: none */
    uint64_t window_octets;
    bool is_fetching;    /* a job is under way */
    bool is_alone;       /* the last fetch did not bring the first: ask for nothing else */
    bool has_told_cycle; /* the log has said that messages go in circles from here */
};

/* Has the queue have one, and in it room for so many more messages, whose adding cannot fail then.
 * STATUS_NO_MEMORY: there is not that much. The memory counts as the queue's. */
MUST_CHECK enum status queue_reserve_dying(struct queue *queue, uint32_t count);

/* Adds a message behind those that are dying, for which there is room; it is copied, the count of
 * its content passes on. While there is one, the queue has one more reference. */
void queue_add_dying(struct queue *queue, const struct dying_message *message);

/* The one that died first, and the one that died last; NULL: none is dying. */
struct dying_message *queue_first_dying(struct queue *queue);
const struct dying_message *queue_last_dying(const struct queue *queue);

/* Takes that one out; the count of its content passes to the caller. May free the queue, if nobody
 * else has a reference. */
void queue_take_dying(struct queue *queue);

/* Walks them from the first on; ends with NULL. Nothing is added or taken meanwhile. */
struct dying_cursor {
    struct dying_block *block;
    uint32_t at;
};
struct dying_cursor queue_dying_begin(struct queue *queue);
struct dying_message *dying_cursor_next(struct dying_cursor *cursor);

/* With the queue. */
void queue_free_dying(struct queue *queue);

/* Octets of memory that are counted as the queue's; walks them and asserts that the count agrees.
 */
uint64_t queue_check_dying(const struct queue *queue);

#endif
