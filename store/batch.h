/* SPDX-License-Identifier: Apache-2.0 */
/* What one tick of the core made durable, on its way to the disk: records, and runs of contents as
 * they lie in the chunks. The core fills a batch (journal.c) and hands it to the log thread, whose
 * it is until it reports it written; then the core gives the contents back and uses the batch
 * again. */
#ifndef BOURSE_STORE_BATCH_H
#define BOURSE_STORE_BATCH_H

#include "base/buffer.h"
#include "base/list.h"
#include "store/batch_header.h"
#include "store/chunk.h"
#include "store/index_shelf.h"
#include "store/record.h"

#include <sys/uio.h>

struct batch {
    struct list_link link;      /* in the queue of whose it is */
    struct batch_header header; /* control_crc and durable_lsn are set by batch_finish */
    uint8_t header_octets[BATCH_HEADER_SIZE]; /* as they are written; by batch_finish */
    uint64_t end_lsn;
    uint64_t segment_number; /* the segment that it goes to */
    uint64_t segment_base;
    bool wants_flush;      /* somebody waits for its commit */
    bool wants_report;     /* somebody waits until it is written */
    struct buffer control; /* the control section */
    struct iovec *runs;    /* the data section, in order; octets of chunks, each a multiple of 8
                              octets long; owned array */
    size_t run_count, run_capacity;
    struct content_ref *held; /* one count each in the chunk pool: keeps the runs' octets; owned */
    size_t held_count, held_capacity;
};

struct batch *batch_new(void);
void batch_free(struct batch **batch); /* holds nothing any more */
void batch_clear(struct batch *batch); /* keeps memory; the held contents were released */

/* Octets that the batch takes in the log. */
static inline uint64_t
batch_size(const struct batch *batch)
{
    return batch->end_lsn - batch->header.base_lsn;
}

/* Computes what needs the octets themselves: the check word of every content, which goes into the
 * content and into its PUBLISH record, the CRC of the control section, and the header with
 * `durable_lsn`. Its records are shown to `shelf` (NULL: to nobody). Off the core: the log thread.
 */
void batch_finish(struct batch *batch, uint64_t durable_lsn, struct index_shelf *shelf);

/* The check word of a content at `lsn` (docs/store-format.md); `octets` is the whole content. */
uint32_t content_check(struct bytes octets, uint64_t lsn);

#endif
