/* SPDX-License-Identifier: Apache-2.0 */

/* The one clock of a run: monotonic nanoseconds. */

#ifndef BENCH_LOADGEN_CLOCK_H
#define BENCH_LOADGEN_CLOCK_H

#include <stdint.h>
#include <time.h>

static inline uint64_t
clock_now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * UINT64_C(1000000000) + (uint64_t)now.tv_nsec;
}

static inline uint64_t
clock_ns_of_s(double seconds)
{
    return (uint64_t)(seconds * 1e9);
}

#endif
