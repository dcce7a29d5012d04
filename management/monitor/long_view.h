/* SPDX-License-Identifier: Apache-2.0 */
/* What is told of longer times than a point of the monitor: how long flushes of the log took in the
 * last minute, and how many dead letters there were a day ago.
 *
 * Owner: the admin thread. */
#ifndef BOURSE_MANAGEMENT_MONITOR_LONG_VIEW_H
#define BOURSE_MANAGEMENT_MONITOR_LONG_VIEW_H

#include <stdbool.h>

#include "broker/broker.h"

enum {
    LONG_VIEW_MINUTE_MS = 60 * 1000,
    LONG_VIEW_QUARTER_MS = 15 * 60 * 1000,
    LONG_VIEW_DAY_MS = 24 * 60 * 60 * 1000,
    LONG_VIEW_MINUTE_POINTS = 13, /* one every five seconds, and the one they are compared with */
    LONG_VIEW_QUARTERS = 97,      /* of an hour: a day of them, and its beginning */
};

/* All zero: nothing has been seen. */
struct long_view {
    struct {
        int64_t at_ms;
        struct store_flushes flushes;
    } minute[LONG_VIEW_MINUTE_POINTS];
    uint32_t minute_count, minute_next;
    struct long_view_letters {
        int64_t at_ms; /* since 1970 */
        uint64_t count;
    } day[LONG_VIEW_QUARTERS], letters; /* now */
    uint32_t day_count, day_next;
};

/* What is so at `at_ms`, by the wall clock. When that was set back, what lies in its future is
 * forgotten. */
void long_view_add(struct long_view *view, int64_t at_ms, const struct store_flushes *flushes,
                   uint64_t dead_letters);

/* How long of a hundred flushes of the last minute the slowest but one took: the upper end of its
 * bucket, in microseconds; UINT64_MAX: it is in the last one. False: there was none. */
bool long_view_flush_p99(const struct long_view *view, uint64_t *microseconds_out);

/* The dead letters a day ago, or when the view began. False: nothing has been seen. */
bool long_view_letters_before(const struct long_view *view, struct long_view_letters *letters_out);

#endif
