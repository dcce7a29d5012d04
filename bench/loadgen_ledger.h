/* SPDX-License-Identifier: Apache-2.0 */

/* The books of a run: what was published, what came back, and whether they agree.
 *
 * A lane is one producer's way to one queue. Every body starts with a stamp that says which lane
 * it took and which number it had there, so each delivery can be checked the moment it arrives:
 * right queue, right size, in order, none missing, none twice. Bodies under STAMP_BYTES have no
 * room for that; they are counted and measured only. */

#ifndef BENCH_LOADGEN_LEDGER_H
#define BENCH_LOADGEN_LEDGER_H

#include <stdbool.h>
#include <stdint.h>

#include "bench/wire.h"

enum {
    STAMP_BYTES = 16,       /* producer, queue, sequence */
    STAMP_TIMED_BYTES = 24, /* and the intended send time */
};

struct stamp {
    uint32_t producer;
    uint32_t queue;       /* zero if the message goes to all queues */
    uint64_t sequence;    /* within the lane, from zero */
    uint64_t intended_ns; /* when it was due to be sent; zero if the body has no room for it */
};

struct ledger {
    uint32_t producers;
    uint32_t queues;
    uint32_t copies;          /* queues that one message reaches: 1, or all of them */
    uint32_t body_bytes;      /* every body is this long */
    uint64_t *sent;           /* messages published into each lane; owned */
    uint64_t *received_count; /* deliveries out of each lane; owned */
    uint64_t *received_sum;   /* of their sequence numbers, modulo 2^64; owned */
    uint64_t published;       /* handed to a producer's socket or about to be */
    uint64_t delivered;
    uint64_t confirmed;
};

void ledger_init(struct ledger *ledger, uint32_t producers, uint32_t queues, uint32_t copies,
                 uint32_t body_bytes);
void ledger_fini(struct ledger *ledger);

/* Enters one publish; returns its sequence number in its lane. */
uint64_t ledger_publish(struct ledger *ledger, uint32_t producer, uint32_t queue);

/* Enters `count` messages that an earlier run of one producer published round the queues in turn,
 * or to all of them: those in the `queue_count` queues from `first_queue` on are now due. */
void ledger_expect(struct ledger *ledger, uint64_t count, uint32_t first_queue,
                   uint32_t queue_count);

/* Enters one delivery that a consumer got from `queue`. `next` holds, for each lane, the sequence
 * number this consumer may see next at the earliest; `alone` says that it has the queue for
 * itself, so that it has to see every number. Ends the program if the books say otherwise. */
void ledger_deliver(struct ledger *ledger, const struct stamp *stamp, uint32_t queue,
                    uint64_t *next, bool alone);

/* Messages that are published and not yet received everywhere. */
uint64_t ledger_in_flight(const struct ledger *ledger);

/* Ends the program unless every message of every lane came back exactly once. */
void ledger_check_complete(const struct ledger *ledger);

static inline void
stamp_store(uint8_t *body, uint32_t body_bytes, const struct stamp *stamp)
{
    if (body_bytes >= STAMP_BYTES) {
        wire_store_long(body, stamp->producer);
        wire_store_long(body + 4, stamp->queue);
        wire_store_longlong(body + 8, stamp->sequence);
    }
    if (body_bytes >= STAMP_TIMED_BYTES) {
        wire_store_longlong(body + STAMP_BYTES, stamp->intended_ns);
    }
}

/* Reads what stamp_store() wrote; `body` holds at least the stamp of a body that long. */
static inline struct stamp
stamp_load(const uint8_t *body, uint32_t body_bytes)
{
    struct stamp stamp = {0};
    if (body_bytes >= STAMP_BYTES) {
        stamp.producer = wire_load_long(body);
        stamp.queue = wire_load_long(body + 4);
        stamp.sequence = wire_load_longlong(body + 8);
    }
    if (body_bytes >= STAMP_TIMED_BYTES) {
        stamp.intended_ns = wire_load_longlong(body + STAMP_BYTES);
    }
    return stamp;
}

#endif
