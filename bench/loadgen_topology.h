/* SPDX-License-Identifier: Apache-2.0 */

/* The queues, the exchange and the bindings of a run, and the routing keys that are published.
 * All keys of a run have one length, so that a prebuilt frame can take any of them. */

#ifndef BENCH_LOADGEN_TOPOLOGY_H
#define BENCH_LOADGEN_TOPOLOGY_H

#include <stdint.h>

#include "bench/loadgen_link.h"
#include "bench/loadgen_options.h"

struct topology {
    const struct options *options; /* borrowed */
    char exchange[WIRE_SHORTSTR_MAX + 1];
    char *keys;          /* owned; options->keys texts of key_bytes each, not terminated */
    uint8_t key_bytes;   /* length of every key */
    uint32_t copies;     /* queues that one message reaches */
    double bind_seconds; /* what the bindings took; zero if there were none to make */
};

/* Makes the keys; asks nothing of the broker. */
void topology_init(struct topology *topology, const struct options *options);
void topology_fini(struct topology *topology);

/* Declares everything afresh over `link`, after deleting what an earlier run may have left. */
void topology_declare(struct topology *topology, struct link *link);

/* Deletes the queues and the exchange, with what is in them. */
void topology_delete(const struct topology *topology, struct link *link);

/* The queue that key number `key` leads to; with fanout, where all queues get all, zero. */
uint32_t topology_queue_of_key(const struct topology *topology, uint32_t key);

/* Writes the name of queue `queue` into `name_out`. */
void topology_queue_name(const struct topology *topology, uint32_t queue,
                         char name_out[WIRE_SHORTSTR_MAX + 1]);

#endif
