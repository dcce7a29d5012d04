/* SPDX-License-Identifier: Apache-2.0 */
/* How a message dies: it was rejected, its time is over, its queue is too long or it came back too
 * often. Every way in which a message leaves a queue unwanted ends in core_let_die and nowhere
 * else; what was consumed, purged, or lay in a deleted queue does not die. */
#ifndef BOURSE_BROKER_DEAD_LETTER_H
#define BOURSE_BROKER_DEAD_LETTER_H

#include "broker/core.h"
#include "queues/queue.h"

enum death_reason {
    DEATH_REJECTED,       /* by a client, with requeue=false */
    DEATH_EXPIRED,        /* its time to live is over */
    DEATH_MAXLEN,         /* dropped from the head of a queue that was too long, or refused */
    DEATH_DELIVERY_LIMIT, /* returned more often than its queue allows */
    DEATH_REASON_COUNT,
};

/* A message of `queue` dies: it goes to the queue's dead-letter exchange, or is dropped where there
 * is none or the queue is deleted. Its removal from the queue and what is published in its place
 * are in one batch of the log.
 *
 * The message has left the queue's ready and unacked ones before (queue_pop, queue_settle): the
 * caller passes on the entry, which is copied, and with it the count of its content and its row in
 * the log. Never fails: what cannot be moved now is kept and moved later. */
void core_let_die(struct core *core, struct queue *queue, const struct queue_entry *entry,
                  enum death_reason reason);

#endif
