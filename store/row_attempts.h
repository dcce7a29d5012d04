/* SPDX-License-Identifier: Apache-2.0 */
/* When consumers have failed on a message, and how: of the failures that count the first and the
 * last ones. Few rows have any, so they lie beside the states (row_state.h), which name them by a
 * number. */
#ifndef BOURSE_STORE_ROW_ATTEMPTS_H
#define BOURSE_STORE_ROW_ATTEMPTS_H

#include "base/status.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

enum {
    ROW_ATTEMPTS_MAX = 5,
    ROW_ATTEMPTS_SIZE = 24, /* octets, in records and indexes */
};

struct row_attempts {
    uint32_t times_ms[ROW_ATTEMPTS_MAX]; /* since the message arrived, plus 1; 0: nobody knows. Of
                                            the first, and of failure n > 1 at 1 + (n - 2) % 4 */
    uint16_t verdicts; /* three bits for each of them, the lowest first, of enum row_verdict */
};

/* Where failure `number`, from 1 on, is, while it is there. */
static inline uint32_t
row_attempts_place(uint32_t number)
{
    return number == 1 ? 0 : 1 + (number - 2) % (ROW_ATTEMPTS_MAX - 1);
}

/* Which failure comes next behind `number` of `count`, of those that have a place: the first (after
 * 0), and the last ones. */
static inline uint32_t
row_attempts_next(uint32_t number, uint32_t count)
{
    bool leaves_some_out = number == 1 && count > ROW_ATTEMPTS_MAX;
    return leaves_some_out ? count - ROW_ATTEMPTS_MAX + 2 : number + 1;
}

/* Of enum row_verdict: how the failure at that place ended. */
static inline uint8_t
row_attempts_verdict(const struct row_attempts *attempts, uint32_t place)
{
    return attempts->verdicts >> 3 * place & 7;
}

static inline bool
row_attempts_equals(const struct row_attempts *a, const struct row_attempts *b)
{
    return memcmp(a->times_ms, b->times_ms, sizeof(a->times_ms)) == 0 && a->verdicts == b->verdicts;
}

static inline bool
row_attempts_is_empty(const struct row_attempts *attempts)
{
    static const struct row_attempts empty;
    return row_attempts_equals(attempts, &empty);
}

/* Whether a disk may have given it: verdicts that there are. */
bool row_attempts_is_right(const struct row_attempts *attempts);

void row_attempts_encode(const struct row_attempts *attempts,
                         uint8_t out[static ROW_ATTEMPTS_SIZE]);
/* Not judged. */
struct row_attempts row_attempts_decode(const uint8_t octets[static ROW_ATTEMPTS_SIZE]);

/* Those of many states, by numbers from 1 on; 0 is that of a state which has none. */
struct row_attempts_list {
    struct row_attempts *items; /* owned; NULL: none */
    uint32_t count, capacity;
};

/* Room for `more` of them. */
MUST_CHECK enum status row_attempts_list_reserve(struct row_attempts_list *list, uint64_t more);

/* There is room. Returns the number. */
uint32_t row_attempts_list_add(struct row_attempts_list *list, const struct row_attempts *attempts);

/* NULL for 0. Valid until something is added. */
const struct row_attempts *row_attempts_list_at(const struct row_attempts_list *list,
                                                uint32_t number);

void row_attempts_list_fini(struct row_attempts_list *list);

#endif
