/* SPDX-License-Identifier: Apache-2.0 */
/* What the files that make up the history share; nobody else includes it. */
#ifndef BOURSE_TESTS_SIM_HISTORY_PARTS_H
#define BOURSE_TESTS_SIM_HISTORY_PARTS_H

#include "tests/sim/history.h"

/* Makes room for one more element and returns the array. */
void *history_grow(void *array, uint32_t count, uint32_t *capacity, size_t size);

#define HISTORY_PUSH(array, count, capacity)                                                       \
    ((array) = history_grow((array), (count), &(capacity), sizeof(*(array))), &(array)[(count)++])

/* The broker is gone: what is due is never handed out again. */
void history_expire_written(struct history *history);

/* The positions of something that is there or gone for good. */
static const struct history_span HISTORY_ALWAYS = {0, 0};

#endif
