/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/amqp/latencies.h"

/* Values below LATENCY_STEPS have a bucket each; above, the first bits choose it. */
static unsigned
bucket_of(uint64_t ns)
{
    if (ns < LATENCY_STEPS) {
        return (unsigned)ns;
    }
    unsigned power = 63U - (unsigned)__builtin_clzll(ns);
    unsigned step = (unsigned)(ns >> (power - LATENCY_STEP_BITS)) & (LATENCY_STEPS - 1);
    return (power - LATENCY_STEP_BITS + 1) * LATENCY_STEPS + step;
}

/* The largest value of a bucket. */
static uint64_t
end_of(unsigned bucket)
{
    if (bucket < LATENCY_STEPS) {
        return bucket;
    }
    unsigned power = bucket / LATENCY_STEPS + LATENCY_STEP_BITS - 1;
    uint64_t width = UINT64_C(1) << (power - LATENCY_STEP_BITS);
    return (UINT64_C(1) << power) + (bucket % LATENCY_STEPS) * width + (width - 1);
}

void
latencies_note(struct latencies *latencies, uint64_t ns)
{
    latencies->counts[bucket_of(ns)]++;
    latencies->total++;
    latencies->max_ns = ns > latencies->max_ns ? ns : latencies->max_ns;
}

uint64_t
latencies_quantile(const struct latencies *latencies, double share)
{
    uint64_t wanted = (uint64_t)(share * (double)latencies->total);
    uint64_t seen = 0;
    for (unsigned i = 0; i < LATENCY_BUCKETS; i++) {
        seen += latencies->counts[i];
        if (seen > 0 && seen >= wanted) {
            return end_of(i) < latencies->max_ns ? end_of(i) : latencies->max_ns;
        }
    }
    return latencies->max_ns;
}

uint64_t
latencies_of_power(const struct latencies *latencies, unsigned power)
{
    uint64_t count = 0;
    for (unsigned i = 0; i < LATENCY_BUCKETS; i++) {
        uint64_t end = end_of(i);
        unsigned of = end == 0 ? 0 : 63U - (unsigned)__builtin_clzll(end);
        count += of == power ? latencies->counts[i] : 0;
    }
    return count;
}
