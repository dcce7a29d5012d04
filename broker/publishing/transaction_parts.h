/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of a transaction share: what it keeps, and the first half of its commit, which
 * makes room for all of it (transaction_reserve.c). */
#ifndef BOURSE_BROKER_PUBLISHING_TRANSACTION_PARTS_H
#define BOURSE_BROKER_PUBLISHING_TRANSACTION_PARTS_H

#include "broker/publishing/publish.h"
#include "broker/publishing/reply_to.h"
#include "broker/publishing/transaction.h"

enum buffered_kind {
    BUFFERED_MESSAGE,
    BUFFERED_REPLY,
    BUFFERED_RETURN,
};

struct buffered_publish {
    enum buffered_kind kind;
    bool is_refused;            /* BUFFERED_MESSAGE: its queue is full; set by the commit */
    struct content_ref content; /* counted */
    struct queue *queue;        /* BUFFERED_MESSAGE: a reference */
    uint64_t due_ms;            /* the same: when the queue is to have it, as a row of it is due; 0:
                                   with the commit */
    uint8_t reply_name_size;    /* BUFFERED_REPLY */
    char reply_name[REPLY_NAME_SIZE];
};

struct transaction {
    struct channel *channel;
    struct list_link link;              /* core->transactions, while it has messages */
    uint64_t memory_octets;             /* that its messages keep, at most */
    struct buffered_publish *publishes; /* owned */
    uint32_t publish_count;
    uint32_t publish_capacity;
    struct unacked *settled; /* owned; a settlement for each in `verdicts` */
    uint8_t *verdicts;       /* of enum settlement; owned */
    uint32_t settled_count;
    uint32_t settled_capacity; /* of both */
    uint64_t octets;
};

/* Whether there is a queue that takes this copy. */
static inline bool
buffered_publish_is_taken(const struct buffered_publish *publish)
{
    return publish->queue != NULL && !publish->is_refused;
}

/* How many publishes from `first` on are the same message for one queue after the other; 0: it is
 * none for a queue. */
uint32_t transaction_copies_at(const struct transaction *transaction, uint32_t first);

/* Finds out whom the commit reaches, and makes room for all of it in the queues and in the log.
 * STATUS_FAULT: 506, or 406 when it does not fit the log; nothing has changed then. */
MUST_CHECK enum status transaction_reserve(struct channel *channel, struct fault *fault);

#endif
