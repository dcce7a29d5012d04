/* SPDX-License-Identifier: Apache-2.0 */
/* Walks the batches of a segment file, one after the other, and judges each as
 * docs/store-format.md says: header, place in the chain, control section, records, contents. Says
 * where it stopped and why. Memory is bounded by a window and the largest control section; contents
 * pass through the window. Blocks. */
#ifndef BOURSE_STORE_SCAN_H
#define BOURSE_STORE_SCAN_H

#include "base/buffer.h"
#include "base/disk.h"
#include "base/status.h"
#include "store/batch_header.h"
#include "store/record.h"
#include "store/segment.h"

/* Why scan_next found no batch; what comes later is worse. */
enum scan_stop {
    SCAN_STOP_NONE,
    SCAN_STOP_END,     /* no room for another one */
    SCAN_STOP_NOTHING, /* no header that this segment's epoch wrote there */
    SCAN_STOP_HEADER,  /* such a header, but it contradicts itself or the chain */
    SCAN_STOP_CONTROL, /* the records are not those that were written */
    SCAN_STOP_RECORD,  /* they are, and one of them is nothing that this version knows */
    SCAN_STOP_CONTENT, /* a content is not; header and records are right */
};

struct scan {
    const struct disk *disk;
    struct disk_file *file; /* owned */
    char name[STORE_NAME_SIZE];
    struct segment_header segment;
    uint64_t file_size;
    uint64_t limit;  /* offset that batches must not cross */
    uint64_t offset; /* where the next batch begins */

    /* The batch that scan_next found, or stopped at when it says SCAN_STOP_CONTENT. */
    struct batch_header batch;
    struct bytes control; /* until the next call */

    enum scan_stop stop;
    const char *reason;   /* static; what stopped it, for a message */
    uint64_t stop_offset; /* of what is wrong: the batch, or the content */

    uint8_t *window; /* owned, as is `large` */
    uint64_t window_offset;
    size_t window_size, window_capacity;
    uint8_t *large; /* a control section that does not fit the window */
    size_t large_capacity;
};

/* Opens `name`, a segment, and reads its header. STATUS_CORRUPT with the reason in scan->reason;
 * the header is then not to be trusted. Whether the numbers in it fit the directory is the
 * caller's to judge. Ends with scan_close, whatever it returned. */
MUST_CHECK enum status scan_open(struct scan *scan, const struct disk *disk, const char *name);
void scan_close(struct scan *scan);

/* Takes the next batch and moves behind it. STATUS_AGAIN: `stop` is END or NOTHING; STATUS_CORRUPT:
 * something worse, see `stop`; neither moves. STATUS_IO: a read failed. */
MUST_CHECK enum status scan_next(struct scan *scan);

/* Moves on from `offset` in steps of BATCH_ALIGNMENT to the next header that this segment's epoch
 * wrote at that place, and leaves it in `batch`; nothing but the header is judged. STATUS_AGAIN:
 * there is none, and the scan stands at the limit. */
MUST_CHECK enum status scan_seek(struct scan *scan, uint64_t offset);

/* Reads the header of the batch at `offset` alone, by the same rule. STATUS_AGAIN: none there. */
MUST_CHECK enum status scan_peek(struct scan *scan, uint64_t offset, struct batch_header *header);

/* Whether the content that a PUBLISH of the current batch names is what was written. */
MUST_CHECK enum status scan_check_content(struct scan *scan, const struct record *publish);

/* The same for a content that an index names: by the check word in it, and its size. */
MUST_CHECK enum status scan_check_row(struct scan *scan, uint64_t lsn, uint32_t content_size);

/* Octets of the body of such a content, which was checked. */
MUST_CHECK enum status scan_body_size(struct scan *scan, const struct record *publish,
                                      uint32_t *size_out);

/* LSN of a content of the current batch. */
static inline uint64_t
scan_content_lsn(const struct scan *scan, const struct record *publish)
{
    return scan->batch.base_lsn + BATCH_HEADER_SIZE + publish->publish.offset;
}

/* LSN at an offset of the file. */
static inline uint64_t
scan_lsn(const struct scan *scan, uint64_t offset)
{
    return scan->segment.base_lsn + offset;
}

#endif
