/* SPDX-License-Identifier: Apache-2.0 */
/* The broker in numbers, as the monitor saw it the last times it looked. The wall clock is only
 * shown: it may be set back or forth, and what lies how far apart is told by the broker's own time.
 *
 * Owner: the admin thread. */
#ifndef BOURSE_MANAGEMENT_MONITOR_POINT_RING_H
#define BOURSE_MANAGEMENT_MONITOR_POINT_RING_H

#include <stdint.h>

enum { MONITOR_POINTS = 120 }; /* ten minutes of the broker, an hour of a queue */

/* The broker at one time; rates a second since the point before. */
struct monitor_point {
    int64_t at_ms;      /* since 1970 */
    uint64_t uptime_ms; /* since the broker began; never goes back */
    double published, confirmed, delivered, acked;
    uint64_t ready, unacked, oldest_ready_ms, dead_letters, connections, memory_bytes;
    uint64_t opened, closed; /* connections, since the broker began */
};

/* All zero: nothing has been seen. */
struct point_ring {
    struct monitor_point points[MONITOR_POINTS];
    uint32_t count, next;
};

void point_ring_add(struct point_ring *ring, const struct monitor_point *point);

/* Oldest first; `at` from 0 on. NULL behind the last. */
const struct monitor_point *point_ring_at(const struct point_ring *ring, uint32_t at);

/* Connections that were opened and closed within a minute before the last point, or since the
 * broker began; of points that lie further apart, a minute's part. Nothing is written before there
 * is one. */
void point_ring_churn(const struct point_ring *ring, uint64_t *opened_out, uint64_t *closed_out);

#endif
