/* SPDX-License-Identifier: Apache-2.0 */

/* One consuming connection. It takes deliveries apart only as far as checking needs: which
 * consumer tag, how long, which stamp. */

#ifndef BENCH_LOADGEN_CONSUMER_H
#define BENCH_LOADGEN_CONSUMER_H

#include <stdbool.h>
#include <stdint.h>

#include "bench/loadgen_histogram.h"
#include "bench/loadgen_ledger.h"
#include "bench/loadgen_link.h"
#include "bench/loadgen_topology.h"

struct consumer {
    struct link link;
    bool readable; /* set by the event loop, cleared once nothing is left to read */
    bool writable;
    uint32_t index;
    const struct topology *topology; /* borrowed */
    struct ledger *ledger;           /* borrowed */
    bool alone;                      /* the only consumer of its queues */
    uint64_t *next;                  /* by lane: see ledger_deliver(); owned */

    /* The delivery that is coming in. */
    uint32_t queue;
    uint64_t body_left_bytes;
    bool header_due;

    uint64_t delivery_tag; /* of the last complete delivery */
    uint64_t acked_tag;    /* everything up to it is acknowledged, or about to be */
    uint8_t *acks;         /* owned; acknowledgements waiting to be written */
    size_t acks_bytes;
};

/* Opens the connection and starts consuming its share of the queues: with fewer consumers than
 * queues several of them, with more the same one as others. Pointers are borrowed for its life. */
void consumer_open(struct consumer *consumer, uint32_t index, const struct topology *topology,
                   struct ledger *ledger, SSL_CTX *tls);
void consumer_close(struct consumer *consumer);

/* Takes in one read's worth of deliveries and acknowledges them as the options say. `latency` gets
 * the time from each message's intended send time until now, if it is not NULL. */
void consumer_read(struct consumer *consumer, struct histogram *latency);

/* Acknowledges what is left under the last full group. */
void consumer_ack_rest(struct consumer *consumer);

/* Writes acknowledgements that did not fit before. */
void consumer_flush(struct consumer *consumer);

#endif
