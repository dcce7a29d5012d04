/* SPDX-License-Identifier: Apache-2.0 */
/* Times that something took, counted: eight steps within every power of two nanoseconds, so that a
 * percentile is right to 13 % at any magnitude, and noting one is an increment. */
#ifndef BOURSE_CLI_AMQP_LATENCIES_H
#define BOURSE_CLI_AMQP_LATENCIES_H

#include <stddef.h>
#include <stdint.h>

enum {
    LATENCY_STEP_BITS = 3,
    LATENCY_STEPS = 1 << LATENCY_STEP_BITS,
    LATENCY_BUCKETS = (64 - LATENCY_STEP_BITS + 1) * LATENCY_STEPS,
};

/* All zero is none. */
struct latencies {
    uint64_t counts[LATENCY_BUCKETS];
    uint64_t total;
    uint64_t max_ns;
};

void latencies_note(struct latencies *latencies, uint64_t ns);

/* The time within which `share` (0 to 1) of them were over, up to the end of its bucket and at most
 * the longest; 0: there are none. */
uint64_t latencies_quantile(const struct latencies *latencies, double share);

/* How many took at least 2^power nanoseconds and less than twice as much; of power 0, below that,
 * too. */
uint64_t latencies_of_power(const struct latencies *latencies, unsigned power);

#endif
