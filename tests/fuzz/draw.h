/* SPDX-License-Identifier: Apache-2.0 */
/* Repeatable random choices: the same seed draws the same. */
#ifndef BOURSE_TESTS_FUZZ_DRAW_H
#define BOURSE_TESTS_FUZZ_DRAW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct draw {
    uint64_t state;
};

struct draw draw_make(uint64_t seed);
uint64_t draw_u64(struct draw *draw);
uint32_t draw_below(struct draw *draw, uint32_t bound); /* 0 for a bound of 0 */
bool draw_chance(struct draw *draw, uint32_t percent);

/* Mostly a small number, sometimes one next to a boundary, sometimes any. */
uint64_t draw_number(struct draw *draw);

#endif
