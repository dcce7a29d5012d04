/* SPDX-License-Identifier: Apache-2.0 */
/* snap.LSN: the topology as of an LSN, so that the segments below it need not be kept for their
 * topology records (docs/store-format.md). */
#ifndef BOURSE_STORE_SNAPSHOT_H
#define BOURSE_STORE_SNAPSHOT_H

#include "base/disk.h"
#include "base/status.h"
#include "store/log_failure.h"
#include "store/manifest.h"
#include "store/topology_fold.h"

/* Feeds an empty fold with what the snapshot holds. STATUS_CORRUPT: it is not to be used, nor is
 * the fold. */
MUST_CHECK enum status snapshot_read(struct topology_fold *fold, const struct disk *disk,
                                     uint64_t lsn);

/* The job: folds the snapshot that the manifest names and the records above it, below `lsn`, which
 * is committed; writes the new one aside, renames it, makes the manifest name it, and removes the
 * old one. `manifest` is changed only on STATUS_OK. STATUS_IO and STATUS_CORRUPT: `*failure_out`
 * says what and where. */
MUST_CHECK enum status snapshot_take(const struct disk *disk, struct manifest *manifest,
                                     uint64_t lsn, uint64_t *octets_out,
                                     struct log_failure *failure_out);

#endif
