/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/fuzz/draw.h"

struct draw
draw_make(uint64_t seed)
{
    return (struct draw){.state = seed};
}

/* SplitMix64: every state is a good one, also 0. */
uint64_t
draw_u64(struct draw *draw)
{
    draw->state += UINT64_C(0x9E3779B97F4A7C15);
    uint64_t value = draw->state;
    value = (value ^ (value >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
    value = (value ^ (value >> 27)) * UINT64_C(0x94D049BB133111EB);
    return value ^ (value >> 31);
}

uint32_t
draw_below(struct draw *draw, uint32_t bound)
{
    return bound == 0 ? 0 : (uint32_t)(draw_u64(draw) % bound);
}

bool
draw_chance(struct draw *draw, uint32_t percent)
{
    return draw_below(draw, 100) < percent;
}

uint64_t
draw_number(struct draw *draw)
{
    uint32_t kind = draw_below(draw, 10);
    if (kind < 7) {
        return draw_below(draw, 6);
    }
    return kind < 9 ? (UINT64_C(1) << draw_below(draw, 64)) - draw_below(draw, 2) : draw_u64(draw);
}
