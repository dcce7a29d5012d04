/* SPDX-License-Identifier: Apache-2.0 */
/* How long flushes of the log took, since its thread began. */
#ifndef BOURSE_STORE_FLUSHES_H
#define BOURSE_STORE_FLUSHES_H

#include <stdint.h>

/* Upper ends of all buckets but the last (store/threads.c). */
enum { FLUSH_BUCKET_COUNT = 14 };
extern const uint64_t store_flush_bounds_us[FLUSH_BUCKET_COUNT];

struct store_flushes {
    uint64_t counts[FLUSH_BUCKET_COUNT];
    uint64_t sum_us;
};

#endif
