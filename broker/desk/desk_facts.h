/* SPDX-License-Identifier: Apache-2.0 */
/* What a message says of how it came to be where it is: its deaths and failures, as far as the
 * broker wrote that (a client may publish what it likes), what its queue knows of it, and whether
 * it was replayed before. Everything is a view of the content, or of the queue.
 *
 * Owner: the core thread. */
#ifndef BOURSE_BROKER_DESK_DESK_FACTS_H
#define BOURSE_BROKER_DESK_DESK_FACTS_H

#include "amqp/properties.h"
#include "broker/desk/desk_rows.h"

struct desk_facts {
    struct properties properties;
    struct bytes origin_queue;    /* of its first death; of a parked message its own queue; without
                                     `data`: it has not died */
    struct bytes origin_exchange; /* to which it had been published before; `data` as above */
    struct bytes origin_keys;     /* body of an array of its keys then; empty: not known */
    struct bytes reason;          /* of its last death; of a parked message "delivery_limit" */
    struct bytes routing_key;     /* the first of those keys, or else its own */
    struct bytes error_class;     /* that a failure note gave; empty: none */
    struct bytes replay_batch;    /* the last replay that it was part of; empty: none */
    int64_t replay_count;
    const struct failure_row *failure; /* what the queue has counted; NULL: nothing */
    uint64_t arrival_wall_ms;          /* when it came into the queue, as far as is known */
    uint64_t expiry_wall_ms;           /* when its time is over; 0: never */
};

/* Of a row that has its content. */
void desk_facts_read(struct desk_facts *facts, const struct core *core, struct queue *queue,
                     const struct desk_row *row);

/* How long it has been in the queue. */
uint64_t desk_row_age_ms(const struct core *core, const struct queue *queue,
                         const struct desk_row *row);

#endif
