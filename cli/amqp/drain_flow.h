/* SPDX-License-Identifier: Apache-2.0 */
/* Messages on their way from one broker to another. Each is published and confirmed there before it
 * is acknowledged here, so that at no time it is nowhere; who is killed between the two has it
 * twice. Both ends keep order: one channel each, and what is acknowledged is always the front. */
#ifndef BOURSE_CLI_AMQP_DRAIN_FLOW_H
#define BOURSE_CLI_AMQP_DRAIN_FLOW_H

#include "base/random.h"
#include "cli/amqp/amqp_client.h"

enum flight_state { FLIGHT_OPEN, FLIGHT_CONFIRMED, FLIGHT_REFUSED };

/* A message that is published and not yet acknowledged. */
struct flight {
    uint64_t tag; /* of its delivery */
    enum flight_state state;
};

enum { DRAIN_EXCHANGE_SIZE = 16 + RANDOM_NAME_SIZE };

struct drain_flow {
    struct amqp_client *source, *target; /* borrowed */
    const char *source_queue;
    const char *target_queue;    /* NULL: to the exchange */
    const char *target_exchange; /* under the keys that they have */
    const char *target_user;     /* who publishes there */
    bool drops_user_id; /* a user-id that is not this one's is left away; else it ends it */
    uint64_t limit;     /* messages; 0: all */
    double rate;        /* messages a second; 0: as many as go */

    struct flight *flights; /* owned; those from `settled` to `published`, by number */
    uint32_t flight_max;
    uint64_t settled, published;      /* sequence numbers: of the first that is open, of the next */
    uint64_t done_count;              /* acknowledged */
    uint64_t again_count;             /* of those that came, which had been delivered before */
    double allowance;                 /* messages that may go now */
    uint64_t filled_ms;               /* when it was counted last */
    char bypass[DRAIN_EXCHANGE_SIZE]; /* an exchange of our own; empty: none was needed */
    bool is_ending;                   /* nothing more is published */
    bool was_returned;                /* a message found no queue, nobody knows which */
    int result;                       /* COMMAND_OK, or what was reported */
};

/* As many flights as the source's prefetch allows. */
void drain_flow_init(struct drain_flow *flow, uint32_t flight_max);
void drain_flow_fini(struct drain_flow *flow);

/* Takes what has come from both sides, as far as rate and limit allow. `*was_idle_out`: the source
 * had nothing. `*count_out` is what a queue.declare-ok of the source said, -1: none came. False: it
 * is over, flow->result says how. */
bool drain_flow_turn(struct drain_flow *flow, bool *was_idle_out, int64_t *count_out);

/* Nothing more is published. */
static inline void
drain_flow_end(struct drain_flow *flow)
{
    flow->is_ending = true;
}

static inline bool
drain_flow_is_empty(const struct drain_flow *flow)
{
    return flow->settled == flow->published;
}

/* The last word to both brokers: acknowledges what was confirmed behind one that was refused, and
 * takes away the exchange of our own. */
void drain_flow_settle(struct drain_flow *flow);

#endif
