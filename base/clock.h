/* SPDX-License-Identifier: Apache-2.0 */
/* Time, as it is handed to those who may not ask the system for it. */
#ifndef BOURSE_BASE_CLOCK_H
#define BOURSE_BASE_CLOCK_H

#include <stdint.h>

/* One reading of both clocks. */
struct clock_reading {
    uint64_t monotonic_ms; /* never goes back; its zero means nothing */
    int64_t wall_ms;       /* since 1970-01-01 UTC; may jump */
    uint8_t begun_ms;      /* 1: of the next millisecond, in either, a part may be over; what is to
                              last so many ms from now on ends that much later */
};

/* Where a reading comes from: the system in production, a number that a test steps. */
struct clock_source {
    struct clock_reading (*read)(void *context);
    void *context;
};

/* CLOCK_BOOTTIME, so that deadlines come nearer while the machine is suspended, and
 * CLOCK_REALTIME. */
struct clock_source clock_system(void);

#endif
