/* SPDX-License-Identifier: Apache-2.0 */
/* The deadlines of the messages in one queue, exact wherever a message stands (expiry.c). A queue
 * has this only once a message with a deadline came, or when the queue itself expires.
 *
 * Deadlines mostly come in order: under a time to live of the queue each is later than those
 * before. Such a message needs nothing here, for what stands in front of it is due before it is. A
 * message that is due earlier than one before it, or than one without a deadline, has a row in an
 * index, from when it comes until it is gone for good. So what is due next is the head of the queue
 * or the first row.
 *
 * Times are milliseconds since the broker's base time, which is the broker's to choose. */
#ifndef BOURSE_QUEUES_TIMES_H
#define BOURSE_QUEUES_TIMES_H

#include "base/list.h"
#include "base/timer.h"
#include "queues/due_index.h"

#include <stdbool.h>
#include <stdint.h>

struct queue;

/* What `due` of an entry holds. */
enum {
    DUE_STEP_MS = 10, /* one step; rounded up */
    DUE_NONE = 0,
    DUE_AT_ONCE = 1, /* a time to live of 0, or a deadline before the broker began */
};
/* Beyond what 32 bits of steps hold (497 days): the time stands in the queue's index of its own. */
#define DUE_FAR UINT32_MAX

/* No deadline. */
#define NEVER_MS UINT64_MAX

/* What is known of the deadlines of messages that stand in one order: of the queue, or of a level
 * of it. */
struct queue_deadlines {
    uint64_t latest_ms;    /* of all since the queue was empty; NEVER_MS: one had none */
    uint64_t at_once_tick; /* the last tick in which messages came that are due at once */
    uint64_t at_once_from; /* the position of the first of them */
};

struct queue_times {
    struct queue *queue;
    struct queue_deadlines order; /* of the level in front; others have their own (levels.h) */
    struct due_index index;
    struct due_index far;           /* due 0, position; the deadline stands where a content would */
    struct due_index dead_returned; /* due 0, position: returned messages that have died, and still
                                       stand among the others */
    bool is_out_of_order; /* something without a deadline stands among returned messages that have
                             one: these need rows, until the queue is empty */
    bool lacks_rows;      /* there was no memory for the row of a returned message */
    uint64_t expired_count;

    /* The broker's (broker/upkeep/expiry.c). */
    struct list_link link; /* in its list of queues in which something is due */
    struct timer timer;    /* fires when something is due, or before that */
    struct timer lease;    /* fires when the queue may have been unused for too long */
    uint64_t used_ms;      /* when the queue was last used, or a little later; monotonic */
    uint64_t death_tick;   /* the last tick in which messages died */
    uint32_t death_count;  /* in it */
};

#endif
