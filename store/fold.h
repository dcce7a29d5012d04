/* SPDX-License-Identifier: Apache-2.0 */
/* seg.N.dead: which rows of a segment's index are done with, so that the segments whose removals
 * say so need not be kept for it (docs/store-format.md). */
#ifndef BOURSE_STORE_FOLD_H
#define BOURSE_STORE_FOLD_H

#include "base/disk.h"
#include "base/status.h"
#include "store/index.h"
#include "store/log_failure.h"

#include <stdbool.h>
#include <stdint.h>

/* One bit a row of the index, in words; set: done with. */
struct dead_rows {
    uint64_t number;     /* of the segment */
    uint64_t folded_lsn; /* all removals in batches below are in the bits */
    uint64_t row_count;
    uint32_t rows_crc; /* of the rows that it speaks of, so that it cannot be taken for another's */
    uint64_t *bits;    /* owned */
};

static inline bool
dead_bit(const uint64_t *bits, uint64_t at)
{
    return (bits[at / 64] >> (at % 64) & 1) != 0;
}

static inline void
dead_bit_set(uint64_t *bits, uint64_t at)
{
    bits[at / 64] |= UINT64_C(1) << (at % 64);
}

/* No row of the index is dead. STATUS_NO_MEMORY. */
MUST_CHECK enum status dead_rows_init(struct dead_rows *dead, const struct segment_index *index);
void dead_rows_fini(struct dead_rows *dead);

/* STATUS_IO with ENOENT: none; STATUS_CORRUPT: not to be used; STATUS_AGAIN: it is about other rows
 * than those of the index, as that of a segment may be whose place a pack has taken. */
MUST_CHECK enum status dead_rows_read(struct dead_rows *dead, const struct disk *disk,
                                      const struct segment_index *index);
/* Writes aside, flushes, renames, flushes the directory. */
MUST_CHECK enum status dead_rows_write(const struct dead_rows *dead, const struct disk *disk,
                                       struct log_failure *failure_out);

/* The job: folds the removals of all batches below `folded_lsn`, which are committed, into
 * seg.<number>.dead. STATUS_CORRUPT also where the file that is there cannot be read: what it held
 * may stand nowhere else any more. */
MUST_CHECK enum status fold_run(const struct disk *disk, uint64_t number, uint64_t folded_lsn,
                                struct log_failure *failure_out);

#endif
