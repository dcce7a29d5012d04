/* SPDX-License-Identifier: Apache-2.0 */
/* A file that is there for the room it takes. On a disk that copies on write, writing over what a
 * segment held before takes room anew, so that the log of a full disk could not even take the
 * acknowledgements that would make room. While there is room enough the ballast takes some of it;
 * it is given up when room becomes scarce (store/keeper.h says when). What is in it means nothing
 * (docs/adr/0014-a-ballast-where-writing-over-takes-room.md). */
#ifndef BOURSE_STORE_BALLAST_H
#define BOURSE_STORE_BALLAST_H

#include "base/disk.h"
#include "base/status.h"
#include "store/log_failure.h"

#include <stdint.h>

enum {
    BALLAST_SEGMENTS = 2,        /* how large it is: the segment under way, and the next one */
    BALLAST_SLICE = 1024 * 1024, /* octets written at once, so that nobody waits long */
};

/* Adds the next slice to a ballast of `*octets` octets, flushed when it returns STATUS_OK, up to
 * `octets_max`; from the first one on it is a new file. Its octets cannot be compressed and, where
 * `seed` differs, are nobody else's. STATUS_IO: what there is of it is of no use. Blocks. */
MUST_CHECK enum status ballast_extend(const struct disk *disk, uint64_t *octets,
                                      uint64_t octets_max, uint64_t seed,
                                      struct log_failure *failure);

/* Removes it, for certain: before that its room may still be taken. That it is not there is fine.
 * Where it was the directory that could not be flushed, the process is to end (I9). Blocks. */
MUST_CHECK enum status ballast_give_up(const struct disk *disk, struct log_failure *failure);

#endif
