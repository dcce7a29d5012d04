/* SPDX-License-Identifier: Apache-2.0 */
/* The system's clocks. */
#include "base/clock.h"

#include <time.h>

#include "base/assert.h"

enum { MS_PER_SECOND = 1000, NS_PER_MS = 1000000 };

static int64_t
read_ms(clockid_t clock)
{
    struct timespec time;
    int result = clock_gettime(clock, &time);
    assert(result == 0);
    return (int64_t)time.tv_sec * MS_PER_SECOND + time.tv_nsec / NS_PER_MS;
}

static struct clock_reading
read_system(void *context)
{
    (void)context;
    return (struct clock_reading){
        .monotonic_ms = (uint64_t)read_ms(CLOCK_BOOTTIME),
        .wall_ms = read_ms(CLOCK_REALTIME),
        .begun_ms = 1,
    };
}

struct clock_source
clock_system(void)
{
    return (struct clock_source){.read = read_system, .context = NULL};
}
