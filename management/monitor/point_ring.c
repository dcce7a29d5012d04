/* SPDX-License-Identifier: Apache-2.0 */
#include "management/monitor/point_ring.h"

#include <stddef.h>

enum { MINUTE_MS = 60 * 1000 };

void
point_ring_add(struct point_ring *ring, const struct monitor_point *point)
{
    ring->points[ring->next] = *point;
    ring->next = (ring->next + 1) % MONITOR_POINTS;
    ring->count += ring->count < MONITOR_POINTS ? 1 : 0;
}

const struct monitor_point *
point_ring_at(const struct point_ring *ring, uint32_t at)
{
    uint32_t first = (ring->next + MONITOR_POINTS - ring->count) % MONITOR_POINTS;
    return at < ring->count ? &ring->points[(first + at) % MONITOR_POINTS] : NULL;
}

/* Looks may lie further apart. */
static uint64_t
of_a_minute(uint64_t count, uint64_t elapsed_ms)
{
    return elapsed_ms > MINUTE_MS ? count * MINUTE_MS / elapsed_ms : count;
}

void
point_ring_churn(const struct point_ring *ring, uint64_t *opened_out, uint64_t *closed_out)
{
    struct monitor_point before = {.opened = 0}; /* a minute ago the broker was not there yet */
    if (ring->count == 0) {
        return;
    }
    const struct monitor_point *last = point_ring_at(ring, ring->count - 1);
    for (uint32_t at = ring->count; at > 0; at--) {
        const struct monitor_point *point = point_ring_at(ring, at - 1);
        if (last->uptime_ms - point->uptime_ms >= MINUTE_MS) {
            before = *point;
            break;
        }
    }
    uint64_t elapsed_ms = last->uptime_ms - before.uptime_ms;
    *opened_out = of_a_minute(last->opened - before.opened, elapsed_ms);
    *closed_out = of_a_minute(last->closed - before.closed, elapsed_ms);
}
