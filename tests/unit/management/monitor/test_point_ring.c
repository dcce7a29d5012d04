/* SPDX-License-Identifier: Apache-2.0 */
/* What the monitor keeps of the last minutes. */
#include "management/monitor/point_ring.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>

enum { TICK_MS = 5000, MINUTE_MS = 60 * 1000, HOUR_MS = 60 * MINUTE_MS };

static struct point_ring ring;
static uint64_t uptime_ms;
static uint64_t connections;

static void
set_up(void)
{
    ring = (struct point_ring){.count = 0};
    uptime_ms = 0;
    connections = 0;
}

TestSuite(point_ring, .init = set_up);

/* Looks so many times; ten connections come and five go between two looks. */
static void
look(uint32_t times, int64_t wall_ms)
{
    for (uint32_t i = 0; i < times; i++) {
        connections += 10;
        uptime_ms += TICK_MS;
        point_ring_add(&ring, &(const struct monitor_point){.at_ms = wall_ms + (int64_t)uptime_ms,
                                                            .uptime_ms = uptime_ms,
                                                            .opened = connections,
                                                            .closed = connections / 2});
    }
}

static void
expect_churn(uint64_t expected_opened, uint64_t expected_closed)
{
    uint64_t opened = UINT64_MAX;
    uint64_t closed = UINT64_MAX;
    point_ring_churn(&ring, &opened, &closed);
    cr_expect(eq(u64, opened, expected_opened));
    cr_expect(eq(u64, closed, expected_closed));
}

Test(point_ring, points_come_oldest_first_and_the_oldest_goes)
{
    look(MONITOR_POINTS + 3, 0);
    cr_expect(eq(u64, point_ring_at(&ring, 0)->opened, 40));
    cr_expect(eq(u64, point_ring_at(&ring, MONITOR_POINTS - 1)->opened, connections));
    cr_expect(eq(ptr, (void *)point_ring_at(&ring, MONITOR_POINTS), NULL));
}

Test(point_ring, churn_is_that_of_a_minute)
{
    expect_churn(UINT64_MAX, UINT64_MAX);
    look(3, 0);
    expect_churn(30, 15); /* since the broker began */
    look(500, 0);
    expect_churn(120, 60);
}

/* Of a million queues there is a look every four minutes. */
Test(point_ring, churn_of_looks_that_lie_far_apart_is_that_of_a_minute_too)
{
    for (int i = 0; i < 3; i++) {
        uptime_ms += 4 * MINUTE_MS - TICK_MS;
        connections += 390;
        look(1, 0);
        expect_churn(100, 50);
    }
}

/* Set back, all that ever connected would be of the last minute; set forth, only the last look. */
Test(point_ring, churn_does_not_go_by_the_wall_clock)
{
    look(500, 0);
    look(1, -INT64_C(2) * HOUR_MS);
    expect_churn(120, 60);
    look(1, INT64_C(5) * HOUR_MS);
    expect_churn(120, 60);
}
