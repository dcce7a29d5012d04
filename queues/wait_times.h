/* SPDX-License-Identifier: Apache-2.0 */
/* How long messages waited until they were served, in buckets: the first is of those below 1 ms,
 * each other one of those from 2^(n-1) ms to less than 2^n; the last has no end. */
#ifndef BOURSE_QUEUES_WAIT_TIMES_H
#define BOURSE_QUEUES_WAIT_TIMES_H

#include <stdint.h>

enum { WAIT_BUCKET_COUNT = 32 };

struct wait_times {
    uint64_t counts[WAIT_BUCKET_COUNT];
    uint64_t sum_ms;
};

static inline void
wait_times_count(struct wait_times *times, uint32_t bucket, uint64_t wait_ms)
{
    times->counts[bucket]++;
    times->sum_ms += wait_ms;
}

#endif
