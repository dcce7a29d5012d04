/* SPDX-License-Identifier: Apache-2.0 */

/* Buckets of equal relative width; the first HISTOGRAM_STEPS ones are one nanosecond wide. */

#include "bench/loadgen_histogram.h"

#include <stddef.h>

static size_t
histogram_bucket_of(uint64_t value_ns)
{
    if (value_ns < HISTOGRAM_STEPS) {
        return (size_t)value_ns;
    }
    unsigned shift = 63U - (unsigned)__builtin_clzll(value_ns) - HISTOGRAM_STEP_BITS;
    return ((size_t)shift << HISTOGRAM_STEP_BITS) + (size_t)(value_ns >> shift);
}

/* The largest value that lands in `bucket`. */
static uint64_t
histogram_bucket_end(size_t bucket)
{
    if (bucket < 2 * (size_t)HISTOGRAM_STEPS) {
        return bucket;
    }
    size_t shift = (bucket >> HISTOGRAM_STEP_BITS) - 1;
    uint64_t step = HISTOGRAM_STEPS + bucket % HISTOGRAM_STEPS;
    return ((step + 1) << shift) - 1;
}

void
histogram_record(struct histogram *histogram, uint64_t value_ns)
{
    histogram->counts[histogram_bucket_of(value_ns)]++;
    histogram->total++;
    if (value_ns > histogram->max_ns) {
        histogram->max_ns = value_ns;
    }
}

uint64_t
histogram_percentile(const struct histogram *histogram, double percent)
{
    double wanted = (double)histogram->total * percent / 100.0;
    uint64_t seen = 0;
    for (size_t i = 0; i < HISTOGRAM_BUCKETS; i++) {
        seen += histogram->counts[i];
        if (seen > 0 && (double)seen >= wanted) {
            uint64_t end = histogram_bucket_end(i);
            return end < histogram->max_ns ? end : histogram->max_ns;
        }
    }
    return 0;
}
