/* SPDX-License-Identifier: Apache-2.0 */
/* What a segment holds without its contents: rows, removals of older rows, and small records. Built
 * by reading the segment once it is full and flushed, or by recovery; written as seg.N.idx. */
#ifndef BOURSE_STORE_INDEX_H
#define BOURSE_STORE_INDEX_H

#include "base/buffer.h"
#include "base/disk.h"
#include "base/status.h"
#include "store/segment.h"

struct index_row {
    uint64_t lsn;
    uint64_t queue; /* with flag */
    uint32_t body_size;
    uint32_t content_size;
};

struct index_removal {
    uint64_t lsn;
    uint64_t queue;
};

struct segment_index {
    uint64_t number, base_lsn, end_lsn, epoch;
    struct index_row *rows; /* by LSN, then queue; owned */
    uint64_t row_count;
    struct index_removal *removals; /* of rows in older segments; owned */
    uint64_t removal_count;
    struct buffer records; /* u64 LSN of the batch, then the record, for each */
    uint64_t topology_lsn; /* 0: none */
};

void segment_index_fini(struct segment_index *index);

/* Writes seg.N.idx aside and renames it. A disposable file: STATUS_IO harms nobody. */
MUST_CHECK enum status segment_index_write(const struct segment_index *index,
                                           const struct disk *disk);
/* STATUS_IO with ENOENT: none; STATUS_CORRUPT: not to be used (the segment is read instead). */
MUST_CHECK enum status segment_index_read(struct segment_index *index, const struct disk *disk,
                                          uint64_t number);

/* The job behind a full segment: reads it from front to `end_lsn` (every batch is known to be
 * committed) and writes its index. STATUS_CORRUPT when the disk gives something else back than was
 * written: that segment stays without index and is reported. */
MUST_CHECK enum status segment_index_build(struct segment_index *index, const struct disk *disk,
                                           uint64_t number, uint64_t end_lsn);

#endif
