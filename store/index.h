/* SPDX-License-Identifier: Apache-2.0 */
/* What a segment holds without its contents: rows, removals of older rows, states of rows here and
 * in older segments, and small records. Built by reading the segment once it is full and flushed,
 * or by recovery; written as seg.N.idx. */
#ifndef BOURSE_STORE_INDEX_H
#define BOURSE_STORE_INDEX_H

#include "base/buffer.h"
#include "base/disk.h"
#include "base/status.h"
#include "store/scan.h"
#include "store/segment.h"

struct index_row {
    uint64_t lsn;
    uint64_t queue; /* with flag */
    uint32_t body_size;
    uint32_t content_size;
    uint64_t arrival_ms; /* wall clock of its batch; 0: an older version wrote the index */
};

struct index_removal {
    uint64_t lsn;
    uint64_t queue;
};

/* The last that the segment says of a row. */
struct index_state {
    uint64_t lsn;
    uint64_t queue;
    uint64_t place; /* LSN of the batch of its record, plus the number of records before it there:
                       of two states of a row the one with the higher place counts */
    struct row_state state;
    bool came_with_message; /* it goes with its row; else it is a live entry by itself */
    uint32_t attempts;      /* those at the message, by their number in the list that comes with the
                               states; 0: none */
};

_Static_assert(sizeof(struct index_state) == 72, "many are in memory while a segment is indexed");

struct segment_index {
    uint64_t number, base_lsn, end_lsn, epoch;
    struct index_row *rows; /* by LSN, then queue; owned */
    uint64_t row_count;
    struct index_removal *removals; /* of rows in older segments; owned */
    uint64_t removal_count;
    struct index_state *states; /* by LSN, then queue, one for each; owned */
    uint64_t state_count;
    struct row_attempts_list attempts; /* of the states; some may belong to none */
    struct buffer records;             /* u64 LSN of the batch, then the record, for each */
    uint64_t topology_lsn;             /* 0: none */
};

void segment_index_fini(struct segment_index *index);

/* How much the queues of a segment are interleaved: a run is contents of one queue behind each
 * other. A content of several queues counts by the first. */
struct index_runs {
    uint64_t octets; /* of all contents */
    uint64_t count;
    uint64_t last_lsn, last_queue; /* of the last row */
};

/* Rows come in their order. */
static inline void
index_runs_add(struct index_runs *runs, const struct index_row *row)
{
    uint64_t queue = row->queue & ~RECORD_QUEUE_HANDED_OUT;
    if (row->lsn == runs->last_lsn) {
        return;
    }
    runs->count += runs->count == 0 || queue != runs->last_queue;
    runs->octets += row->content_size;
    runs->last_lsn = row->lsn;
    runs->last_queue = queue;
}

struct index_runs segment_index_runs(const struct segment_index *index);

/* Writes seg.N.idx aside, flushes it, and renames it. A disposable file: STATUS_IO harms nobody,
 * and its name is on the disk with whatever flushes the directory next. */
MUST_CHECK enum status segment_index_write(const struct segment_index *index,
                                           const struct disk *disk);
/* STATUS_IO with ENOENT: none; STATUS_CORRUPT: not to be used (the segment is read instead). */
MUST_CHECK enum status segment_index_read(struct segment_index *index, const struct disk *disk,
                                          uint64_t number);

/* The same octets within another file, of which they have `size` from `offset` on: an index in a
 * pack. Writing flushes nothing. */
MUST_CHECK enum status segment_index_write_at(const struct segment_index *index,
                                              const struct disk *disk, struct disk_file *file,
                                              uint64_t offset);
MUST_CHECK enum status segment_index_read_at(struct segment_index *index, const struct disk *disk,
                                             struct disk_file *file, uint64_t offset, uint64_t size,
                                             uint64_t number);
uint64_t segment_index_size(const struct segment_index *index);

/* Reads the header alone: numbers and LSNs, not what it counts. As segment_index_read, which may
 * still find that the rest is not to be used. */
MUST_CHECK enum status segment_index_peek(struct segment_index *index, const struct disk *disk,
                                          uint64_t number);

/* Reads a full segment from front to `end_lsn` (every batch is known to be committed) and writes
 * its index. STATUS_CORRUPT when the disk gives something else back than was written: that segment
 * stays without index and is reported. */
MUST_CHECK enum status segment_index_build(struct segment_index *index, const struct disk *disk,
                                           uint64_t number, uint64_t end_lsn);

/* The index of batches that are scanned one after the other. */
struct index_builder {
    struct segment_index index;
    uint64_t row_capacity, removal_capacity, state_capacity;
    uint64_t cursor;       /* the row that the last removal ended */
    uint64_t ended;        /* rows that are marked as ended */
    uint64_t batch_lsn;    /* of the last record */
    uint64_t record_count; /* that came before the next one of that batch */
};

void index_builder_init(struct index_builder *builder, const struct segment_header *segment);
/* Takes in a record of that batch; `body_size` is that of its content, of a PUBLISH. */
MUST_CHECK enum status index_builder_add_record(struct index_builder *builder,
                                                const struct record *record,
                                                const struct batch_header *batch,
                                                uint32_t body_size);
/* Takes in the batch that scan_next has just found. */
MUST_CHECK enum status index_builder_add(struct index_builder *builder, struct scan *scan);
/* Moves the result out; `end_lsn` is the LSN behind the last batch. */
void index_builder_finish(struct index_builder *builder, uint64_t end_lsn,
                          struct segment_index *index_out);
void index_builder_fini(struct index_builder *builder);

/* Memory that it takes. */
static inline uint64_t
index_builder_octets(const struct index_builder *builder)
{
    return builder->row_capacity * sizeof(struct index_row) +
           builder->removal_capacity * sizeof(struct index_removal) +
           builder->state_capacity * sizeof(struct index_state) +
           builder->index.attempts.capacity * sizeof(struct row_attempts) +
           builder->index.records.capacity;
}

/* Below, at or above a row in the order of rows. */
static inline int
index_row_compare(const struct index_row *row, uint64_t lsn, uint64_t queue)
{
    uint64_t own = row->queue & ~RECORD_QUEUE_HANDED_OUT;
    if (row->lsn != lsn) {
        return row->lsn < lsn ? -1 : 1;
    }
    return own == queue ? 0 : own < queue ? -1 : 1;
}

/* Below, at or above a state in the order of states. */
static inline int
index_state_compare(const struct index_state *state, uint64_t lsn, uint64_t queue)
{
    if (state->lsn != lsn) {
        return state->lsn < lsn ? -1 : 1;
    }
    return state->queue == queue ? 0 : state->queue < queue ? -1 : 1;
}

/* Orders states by LSN and queue, and keeps of each row the one with the highest place. Returns how
 * many are left. */
uint64_t index_states_order(struct index_state *states, uint64_t count);

/* The state of a message in a queue; NULL when there is none. */
const struct index_state *index_find_state(const struct index_state *states, uint64_t count,
                                           uint64_t lsn, uint64_t queue);

/* Drops states of rows that would be in the index, and are not. */
void index_drop_rowless_states(struct segment_index *index);

/* The row of a message in a queue, searched from `*cursor` on, where removals in the order of
 * messages find it at once; moves the cursor there. `count` when there is none. */
uint64_t index_find_row(const struct index_row *rows, uint64_t count, uint64_t lsn, uint64_t queue,
                        uint64_t *cursor);

#endif
