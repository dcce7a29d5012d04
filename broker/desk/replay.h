/* SPDX-License-Identifier: Apache-2.0 */
/* One message that an operator sends on, or takes out: from where it stands in a queue to where it
 * came from, or to any exchange, as a letter (letter.h). Its removal and the new message are in one
 * batch of the log, so that after a crash it is in exactly one of the two places.
 *
 * What it says of its deaths and failures stays, and its new headers say that it was replayed:
 * x-replay-batch, x-replay-count, x-replay-time, x-replay-queue. A message that was replayed may
 * come back to queues in which it has died before (death_move.c).
 *
 * Owner: the core thread. */
#ifndef BOURSE_BROKER_DESK_REPLAY_H
#define BOURSE_BROKER_DESK_REPLAY_H

#include "base/buffer.h"
#include "broker/desk/desk_facts.h"

/* Where to. */
enum replay_to {
    REPLAY_TO_ORIGIN_QUEUE,    /* in which it died first, and to no other */
    REPLAY_TO_ORIGIN_EXCHANGE, /* to which it was published before that, under its keys of then */
    REPLAY_TO_EXCHANGE,
};
struct replay_target {
    enum replay_to to;
    struct bytes exchange;    /* REPLAY_TO_EXCHANGE; empty: the default exchange */
    struct bytes routing_key; /* the same; without `data`: the keys that it has */
};

enum replay_result {
    REPLAY_DONE,
    REPLAY_NO_TARGET,   /* nothing is known of its origin, or no queue is there */
    REPLAY_TARGET_FULL, /* a queue that refuses what it has no room for has none */
    REPLAY_TOO_LARGE,   /* no segment of the log holds it with all its queues */
    REPLAY_NOT_ALLOWED, /* the user may not publish it there */
    REPLAY_NO_MEMORY,
};

/* What all messages of a batch share. */
struct replay {
    struct core *core;
    struct queue *queue; /* from which */
    struct replay_target target;
    struct bytes batch;
    struct bytes user;            /* by whose rights; data NULL: nobody's, it may go anywhere */
    bool is_dry;                  /* finds out what would be done, and does nothing */
    struct buffer headers, block; /* scratch */
};

/* Borrows everything. */
void replay_init(struct replay *replay, struct core *core, struct queue *queue);
void replay_fini(struct replay *replay);

/* Sends the message on; it is ready, waiting or parked, and has its content. All but REPLAY_DONE
 * leave it as it is. With REPLAY_DONE and REPLAY_TARGET_FULL the queues that it reaches stand in
 * core->routes until the next routing. */
enum replay_result replay_message(struct replay *replay, const struct desk_row *row,
                                  const struct desk_facts *facts);

/* Takes the message out for good; it is no dead letter. STATUS_NO_MEMORY: it stays. */
MUST_CHECK enum status desk_drop_message(struct core *core, struct queue *queue,
                                         const struct desk_row *row);

#endif
