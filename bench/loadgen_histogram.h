/* SPDX-License-Identifier: Apache-2.0 */

/* A latency histogram of fixed size: one bucket for each of 64 steps within every power of two
 * nanoseconds, so that a percentile is exact to 1.6 % at any magnitude and recording is one
 * increment. The largest value is kept as it is. */

#ifndef BENCH_LOADGEN_HISTOGRAM_H
#define BENCH_LOADGEN_HISTOGRAM_H

#include <stdint.h>

enum {
    HISTOGRAM_STEP_BITS = 6,
    HISTOGRAM_STEPS = 1 << HISTOGRAM_STEP_BITS,
    HISTOGRAM_BUCKETS = (64 - HISTOGRAM_STEP_BITS + 1) * HISTOGRAM_STEPS,
};

/* All zeros is an empty histogram. */
struct histogram {
    uint64_t counts[HISTOGRAM_BUCKETS];
    uint64_t total;
    uint64_t max_ns;
};

void histogram_record(struct histogram *histogram, uint64_t value_ns);

/* Returns the value below or at which `percent` (0 to 100) of the recorded values lie, rounded up
 * to the end of its bucket; 0 if nothing was recorded. */
uint64_t histogram_percentile(const struct histogram *histogram, double percent);

#endif
