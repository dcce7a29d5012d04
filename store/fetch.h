/* SPDX-License-Identifier: Apache-2.0 */
/* Messages whose contents are on disk only come back into memory: a list of LSNs, all of one queue
 * and rising, is read with as few reads as fit a window, and every content is checked before
 * anybody sees it. The octets lie in a block that the chunk pool takes over as a chunk. */
#ifndef BOURSE_STORE_FETCH_H
#define BOURSE_STORE_FETCH_H

#include "base/disk.h"
#include "base/status.h"
#include "store/log_failure.h"

enum {
    FETCH_ENTRIES_MAX = 256,
    FETCH_WINDOW = 256 * 1024, /* octets of one fetch; a single larger content has one of its own */
};

struct io_fetch {
    uint64_t queue; /* whose; not looked at by the job */
    uint32_t count;
    uint64_t lsns[FETCH_ENTRIES_MAX];  /* rising */
    uint32_t sizes[FETCH_ENTRIES_MAX]; /* octets of the body: what room a content needs at least */
    uint32_t offsets[FETCH_ENTRIES_MAX]; /* out: of the content in `block`, a multiple of 8 */
    uint32_t fetched_count;              /* out: so many from the front were read and are right */
    uint8_t *block; /* where they go: mapped by the core, FETCH_WINDOW octets or more. STATUS_OK
                       with nothing fetched: the first content does not fit, a larger block might do
                     */
    uint32_t block_size;
};

/* Where the segment of an LSN lies: kept by the fetching thread, filled as files are met. */
struct fetch_files;
struct fetch_files *fetch_files_new(const struct disk *disk);
void fetch_files_free(struct fetch_files **files);

/* Reads. STATUS_CORRUPT: the first content that is not right, named in `*failure_out`; those before
 * it are in `fetch`. STATUS_IO: a read failed. A segment that was packed or retired meanwhile is
 * looked up anew. Blocks. */
MUST_CHECK enum status fetch_run(struct fetch_files *files, struct io_fetch *fetch,
                                 struct log_failure *failure_out);

#endif
