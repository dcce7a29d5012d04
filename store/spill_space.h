/* SPDX-License-Identifier: Apache-2.0 */
/* Where in the spill files something may lie: room is handed out and taken back in units of 8 KiB,
 * in files of 64 MiB (larger for what is larger). A file that is empty again is to be removed, all
 * but one, so what was lent to the disk goes back to it. Numbers only; whoever uses the room writes
 * and reads (store/spill.h).
 *
 * Owner: the core thread. */
#ifndef BOURSE_STORE_SPILL_SPACE_H
#define BOURSE_STORE_SPILL_SPACE_H

#include "base/status.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    SPILL_UNIT = 8 * 1024,
    SPILL_FILE_SIZE = 64 * 1024 * 1024,
};

struct spill_space;

/* A place: number of the file in the upper half, unit within it in the lower. */
static inline uint64_t
spill_place_file(uint64_t place)
{
    return place >> 32;
}

static inline uint64_t
spill_place_offset(uint64_t place)
{
    return (place & UINT32_MAX) * SPILL_UNIT;
}

struct spill_space *spill_space_new(void);
void spill_space_free(struct spill_space **space);

/* Room for `size` octets (at least 1) in one piece; never 0. STATUS_NO_MEMORY: no memory for the
 * account of it. */
MUST_CHECK enum status spill_space_take(struct spill_space *space, size_t size,
                                        uint64_t *place_out);
void spill_space_give_back(struct spill_space *space, uint64_t place, size_t size);

/* Takes the number of a file that nothing lies in any more; false when there is none. It is not
 * used again. */
bool spill_space_take_empty(struct spill_space *space, uint64_t *number_out);

/* Octets handed out. */
uint64_t spill_space_bytes(const struct spill_space *space);

#endif
