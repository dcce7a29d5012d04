/* SPDX-License-Identifier: Apache-2.0 */
/* How long a consumer may take to settle a delivery: x-consumer-timeout of the consumer, else that
 * of the queue; 0 or none: for ever. A delivery that took longer goes back to its queue, alone, and
 * its consumer is cancelled. A client that cannot hear of that (it announced no
 * consumer_cancel_notify), or took the message with basic.get, has its channel closed with 406
 * instead, and everything that was open on it goes back.
 *
 * Settling such a delivery afterwards is no error: the client could not know. */
#ifndef BOURSE_BROKER_UPKEEP_ACK_TIMEOUT_H
#define BOURSE_BROKER_UPKEEP_ACK_TIMEOUT_H

#include "base/timer.h"

#include <stdbool.h>
#include <stdint.h>

struct channel;
struct queue;
struct unacked;

/* Tags that timed out and that the client may still settle; more are not remembered, and settling
 * those closes the channel. */
enum { ACK_TIMEOUT_TAGS_MAX = 1024 };

/* Of one channel. All zero: nothing. */
struct ack_timeouts {
    struct timer timer; /* armed while an open delivery has a timeout */
    uint64_t *tags;     /* timed out and not settled since, rising; owned; NULL: none ever */
    uint32_t tag_count;
};

/* A delivery was noted as open just now. */
void channel_watch_delivery(struct channel *channel, const struct unacked *item);

/* Deliveries have become open again: has all that are looked at, at the next step of the clock. Not
 * at once, for that may close the channel, and the caller has still to answer on it. */
void channel_review_timeouts(struct channel *channel);

/* The queue's timeout has changed: has the channels of its consumers look at what they hold, at the
 * next step of the clock. */
void queue_review_timeouts(struct queue *queue);

/* Whether the delivery has timed out and nobody has settled it since. */
bool channel_has_timed_out(const struct channel *channel, uint64_t tag);

/* The same; each is forgotten when it was asked for. */
bool channel_take_timed_out(struct channel *channel, uint64_t tag);

void channel_end_timeouts(struct channel *channel);

#endif
