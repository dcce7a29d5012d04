/* SPDX-License-Identifier: Apache-2.0 */
/* The file that says which epochs and which snapshot are valid; replaced as a whole. */
#ifndef BOURSE_STORE_MANIFEST_H
#define BOURSE_STORE_MANIFEST_H

#include "base/disk.h"
#include "base/status.h"
#include "store/log_failure.h"
#include "store/segment.h"

struct manifest_epoch {
    uint64_t number;
    uint64_t first_lsn; /* base of its first segment */
    uint64_t end_lsn;   /* 0: it has not ended */
};

struct manifest {
    uint8_t cluster_id[CLUSTER_ID_SIZE];
    uint32_t group;
    bool is_clean;                 /* the last process stopped in an orderly way */
    uint64_t snapshot_lsn;         /* 0: none */
    struct manifest_epoch *epochs; /* rising; owned */
    uint32_t epoch_count;
};

/* STATUS_IO with ENOENT when there is none; STATUS_CORRUPT when its octets are not right,
 * STATUS_REJECTED when they are those of a version still to come: nothing of the directory is to be
 * touched then. The reason is in `why`. */
MUST_CHECK enum status manifest_read(struct manifest *manifest, const struct disk *disk, char *why,
                                     size_t why_size);
/* Writes aside, flushes, renames, flushes the directory. STATUS_IO: what holds is not known, but
 * for want of room before the directory is flushed. `failure` may be NULL. */
MUST_CHECK enum status manifest_write(const struct manifest *manifest, const struct disk *disk,
                                      struct log_failure *failure);
void manifest_fini(struct manifest *manifest);

void manifest_add_epoch(struct manifest *manifest, uint64_t number, uint64_t first_lsn);
/* Drops epochs that ended at or below `lsn`. */
void manifest_drop_epochs(struct manifest *manifest, uint64_t lsn);

#endif
