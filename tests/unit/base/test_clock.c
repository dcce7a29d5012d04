/* SPDX-License-Identifier: Apache-2.0 */
/* The system's clocks. */
#include "base/clock.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#include <time.h>

Test(clock, the_monotonic_clock_never_goes_back)
{
    struct clock_source clock = clock_system();
    uint64_t last = 0;
    for (int i = 0; i < 1000; i++) {
        struct clock_reading now = clock.read(clock.context);
        cr_assert(ge(u64, now.monotonic_ms, last));
        last = now.monotonic_ms;
    }
}

Test(clock, the_wall_clock_is_in_milliseconds_since_1970)
{
    struct clock_source clock = clock_system();
    int64_t before = (int64_t)time(NULL) - 1;
    struct clock_reading now = clock.read(clock.context);
    int64_t after = (int64_t)time(NULL) + 1;
    cr_expect(ge(i64, now.wall_ms, before * 1000));
    cr_expect(le(i64, now.wall_ms, after * 1000));
}
