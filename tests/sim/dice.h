/* SPDX-License-Identifier: Apache-2.0 */
/* Where every decision of the simulator comes from: one number, the seed. */
#ifndef BOURSE_TESTS_SIM_DICE_H
#define BOURSE_TESTS_SIM_DICE_H

#include <stdbool.h>
#include <stdint.h>

struct dice {
    uint64_t state;
};

/* splitmix64 */
static inline uint64_t
dice_mix(uint64_t value)
{
    value = (value ^ (value >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    value = (value ^ (value >> 27)) * UINT64_C(0x94d049bb133111eb);
    return value ^ (value >> 31);
}

static inline uint64_t
dice_roll(struct dice *dice)
{
    dice->state += UINT64_C(0x9e3779b97f4a7c15);
    return dice_mix(dice->state);
}

/* 0 to `limit` - 1; `limit` is at least 1. */
static inline uint32_t
dice_below(struct dice *dice, uint32_t limit)
{
    return (uint32_t)(((dice_roll(dice) >> 32) * limit) >> 32);
}

/* True in so many of a thousand cases. */
static inline bool
dice_chance(struct dice *dice, uint32_t permille)
{
    return dice_below(dice, 1000) < permille;
}

#endif
