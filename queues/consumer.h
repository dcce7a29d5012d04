/* SPDX-License-Identifier: Apache-2.0 */
/* A subscription of a channel to a queue. It belongs to both: the queue walks it to hand messages
 * out, the channel to find it by tag and to end it. */
#ifndef BOURSE_QUEUES_CONSUMER_H
#define BOURSE_QUEUES_CONSUMER_H

#include "base/bytes.h"
#include "base/list.h"

#include <stdint.h>

struct channel; /* the broker's; not followed here */
struct queue;

struct consumer {
    struct list_link queue_link;   /* of the queue, in order of registration */
    struct list_link channel_link; /* channel->consumers */
    struct queue *queue;           /* NULL once cancelled */
    struct channel *channel;       /* borrowed; NULL once cancelled */
    struct bytes tag;              /* owned, in the same allocation */
    int64_t priority;              /* x-priority, default 0 */
    int64_t timeout_ms;            /* x-consumer-timeout; 0: none; -1: the queue's */
    uint32_t ready_slot; /* its place + 1 among the ready ones; 0: it may take no message */
    uint32_t heir_slot;  /* its place + 1 among those of whom one is served; 0: it is in none */
    uint32_t references; /* the registration, and one per open delivery */
    uint32_t unacked_count;
    uint16_t prefetch_count; /* limit of unacked_count; 0: none. Ignored with no_ack */
    bool no_ack;
    bool exclusive;
    bool has_lost; /* its channel has ended, and its oldest open message has gone back */
};

/* One reference, held by the registration. `tag` is copied. */
struct consumer *consumer_new(struct bytes tag);
struct consumer *consumer_ref(struct consumer *consumer);
void consumer_unref(struct consumer **consumer);

static inline bool
consumer_is_ready(const struct consumer *consumer)
{
    return consumer->ready_slot != 0;
}

/* Whether its own prefetch leaves room. */
static inline bool
consumer_has_room(const struct consumer *consumer)
{
    return consumer->no_ack || consumer->prefetch_count == 0 ||
           consumer->unacked_count < consumer->prefetch_count;
}

#endif
