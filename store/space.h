/* SPDX-License-Identifier: Apache-2.0 */
/* Which part of the log is still needed: for every segment how many rows in it live, and which
 * older segments its removals speak of. Decides what may be used again, and what is worth folding,
 * compacting, or a snapshot. Only counts; files are touched by the jobs that it asks for.
 *
 * Rules (design: I8). A segment is reusable when no row in it lives, its batches are committed,
 * every older segment that its removals speak of is gone or has folded them in, its topology and
 * HANDOUT records are covered by a snapshot, and the removals that made it so are committed.
 *
 * Owner: the core thread. Makes no system call. */
#ifndef BOURSE_STORE_SPACE_H
#define BOURSE_STORE_SPACE_H

#include "base/status.h"

#include <stdint.h>

struct space;

struct space_settings {
    uint64_t slot_size;
};

struct space *space_new(const struct space_settings *settings);
void space_free(struct space **space);

/* A segment begins (the journal rolls, or recovery found it). `capacity` counts as used space. */
void space_add_segment(struct space *space, uint64_t number, uint64_t base_lsn, uint64_t end_lsn,
                       uint64_t capacity);
/* It is full, flushed and has its index: from now on it may be reused. */
void space_segment_indexed(struct space *space, uint64_t number);

/* `count` rows more live at `lsn`, of contents of `octets` each way. */
void space_add_rows(struct space *space, uint64_t lsn, uint32_t count, uint32_t octets);
/* A row at `lsn` is done with, by a removal that stands in a batch at `batch_lsn`; 0: no removal is
 * needed (its queue is gone). */
void space_remove_row(struct space *space, uint64_t lsn, uint32_t octets, uint64_t batch_lsn);
/* A topology or HANDOUT record stands in the batch at `batch_lsn`. */
void space_add_topology(struct space *space, uint64_t batch_lsn, uint32_t octets);

/* Reports of finished jobs. */
void space_snapshot_taken(struct space *space, uint64_t snapshot_lsn);
void space_folded(struct space *space, uint64_t number, uint64_t folded_lsn);

/* What to do next, given what is committed. At most one job at a time is under way; ask again when
 * it is done. */
enum space_work { SPACE_NOTHING, SPACE_RETIRE, SPACE_SNAPSHOT, SPACE_FOLD, SPACE_PACK };
struct space_job {
    enum space_work work;
    uint64_t number; /* RETIRE, FOLD: the segment; PACK: the first */
    uint64_t last;   /* PACK: the last */
    uint64_t lsn;    /* SNAPSHOT: of what to take it; FOLD, PACK: up to where removals count */
};
struct space_job space_next(struct space *space, uint64_t commit_lsn);
void space_retired(struct space *space, uint64_t number); /* the files are gone */

/* Octets in segments, and of live contents among them. */
uint64_t space_used_octets(const struct space *space);
uint64_t space_live_octets(const struct space *space);

#endif
