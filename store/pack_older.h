/* SPDX-License-Identifier: Apache-2.0 */
/* A file older than a new pack, as far as the pack must know it: which of its rows are alive, by
 * its index and its dead file. Part of pack.c. */
#ifndef BOURSE_STORE_PACK_OLDER_H
#define BOURSE_STORE_PACK_OLDER_H

#include "store/catalog.h"
#include "store/fold.h"
#include "store/index.h"

struct older_rows {
    const struct catalog_entry *entry; /* NULL: no file */
    struct segment_index index;        /* owned */
    struct dead_rows dead;             /* owned; without bits where no dead file is of use: then all
                                          rows count as alive */
    uint64_t cursor;
};

/* Reads both files of `entry`, in place of those of the entry before; on anything but STATUS_OK
 * there are none. Begins with all zeros, ends with older_rows_fini. */
MUST_CHECK enum status older_rows_read(struct older_rows *older, const struct disk *disk,
                                       const struct catalog_entry *entry);
void older_rows_fini(struct older_rows *older);

/* Whether the message is in that queue, as far as the files say. */
bool older_rows_has(struct older_rows *older, uint64_t lsn, uint64_t queue);

#endif
