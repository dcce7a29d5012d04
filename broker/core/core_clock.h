/* SPDX-License-Identifier: Apache-2.0 */
/* What time it is in the tick under way: in the clock of queues/times.h, which begins with the
 * broker, and as the log keeps times, by the wall clock. The log has no times before 1970, whatever
 * the machine's clock says. */
#ifndef BOURSE_BROKER_CORE_CORE_CLOCK_H
#define BOURSE_BROKER_CORE_CORE_CLOCK_H

#include "broker/core/core.h"

static inline uint64_t
core_now_ms(const struct core *core)
{
    return core->now.monotonic_ms - core->base_ms;
}

/* Since the first tick began; 0 before it. */
static inline uint64_t
core_uptime_ms(const struct core *core)
{
    return core->first_tick_ms == 0 ? 0 : core_from_now_ms(core) - core->first_tick_ms;
}

/* As the log keeps it: milliseconds since 1970. */
static inline uint64_t
core_now_wall_ms(const struct core *core)
{
    return core->now.wall_ms > 0 ? (uint64_t)core->now.wall_ms : 1;
}

/* The same of a time of queues/times.h, which may be before the broker began. */
static inline uint64_t
core_wall_of_ms(const struct core *core, int64_t time_ms)
{
    int64_t wall_ms = core->now.wall_ms + (time_ms - (int64_t)core_now_ms(core));
    return wall_ms > 0 ? (uint64_t)wall_ms : 1;
}

#endif
