/* SPDX-License-Identifier: Apache-2.0 */
/* What the index of a segment needs, kept by the log's thread as it writes the segment, so that
 * whoever makes the index of a full one need not read it again. Memory is bounded: a segment with
 * too many rows is not kept, and read when its index is made. */
#ifndef BOURSE_STORE_INDEX_SHELF_H
#define BOURSE_STORE_INDEX_SHELF_H

#include "store/index.h"

#include <stdbool.h>

/* Octets that a segment may take here, and how many full ones there are at most. */
enum { INDEX_SHELF_OCTETS = 16 * 1024 * 1024, INDEX_SHELF_SEGMENTS = 2 };

struct index_shelf;

struct index_shelf *index_shelf_new(void);
void index_shelf_free(struct index_shelf **shelf);

/* The log's thread: begins the segment whose first batch is laid out next, and forgets the one
 * before if it was not ended. */
void index_shelf_begin(struct index_shelf *shelf, const struct segment_header *segment);
/* A record of that batch; `body_size` is that of its content, of a PUBLISH. The
 * records of a segment come in their order, and none is left out. */
void index_shelf_add(struct index_shelf *shelf, const struct record *record,
                     const struct batch_header *batch, uint32_t body_size);
/* The segment is full; its last batch ends at `end_lsn`. Nothing when none was begun. */
void index_shelf_end(struct index_shelf *shelf, uint64_t end_lsn);

/* Any thread: moves what was kept of a full segment to `*index_out`. False when it is not here: the
 * segment is to be read. */
bool index_shelf_take(struct index_shelf *shelf, uint64_t number, uint64_t end_lsn,
                      struct segment_index *index_out);

#endif
