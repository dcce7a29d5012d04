/* SPDX-License-Identifier: Apache-2.0 */

/* One publishing connection. Its publishes are laid out once, side by side in a block; sending a
 * message means writing its key and its stamp into the next place, and one write carries as many
 * as are allowed now. That keeps a message cheap enough for the broker to be the slower side. */

#ifndef BENCH_LOADGEN_PRODUCER_H
#define BENCH_LOADGEN_PRODUCER_H

#include <stdbool.h>
#include <stdint.h>

#include "bench/loadgen_confirms.h"
#include "bench/loadgen_ledger.h"
#include "bench/loadgen_link.h"
#include "bench/loadgen_topology.h"

struct producer {
    struct link link;
    bool readable; /* set by the event loop, cleared once nothing is left to read */
    bool writable;
    uint32_t index;
    const struct topology *topology; /* borrowed */
    struct ledger *ledger;           /* borrowed */
    struct confirms confirms;

    uint8_t *block;       /* owned; `places` prebuilt publishes of message_bytes each */
    size_t message_bytes; /* all frames of one publish */
    size_t key_offset;    /* of the routing key within a publish */
    size_t body_offset;   /* of the first body octet */
    size_t places;
    size_t filled_bytes;  /* of the block, ready to be written */
    size_t written_bytes; /* of these, taken by the socket */

    uint32_t key;         /* the next one */
    uint64_t due_ns;      /* of the next message; used with a rate only */
    uint64_t interval_ns; /* between messages; zero: as fast as it goes */
};

/* Opens the connection and builds the block. All pointers are borrowed for the producer's life. */
void producer_open(struct producer *producer, uint32_t index, const struct topology *topology,
                   struct ledger *ledger, SSL_CTX *tls);
void producer_close(struct producer *producer);

/* Spreads the messages of all producers evenly over time, from `start_ns` on. */
void producer_start_rate(struct producer *producer, uint64_t start_ns);

/* Publishes what rate, window and `room` (messages allowed in flight) permit, until the socket is
 * full or one block is through. `lag` gets how late each message left, if it is not NULL. */
void producer_publish(struct producer *producer, uint64_t room, uint64_t now_ns,
                      struct histogram *lag);

/* Writes on what is left of a block, publishing nothing new. */
void producer_flush(struct producer *producer);

/* Takes in the broker's confirms; `latency` may be NULL. */
void producer_read(struct producer *producer, uint64_t now_ns, struct histogram *latency);

/* Whether everything published is on its way and confirmed. */
bool producer_is_settled(const struct producer *producer);

#endif
