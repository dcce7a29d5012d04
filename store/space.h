/* SPDX-License-Identifier: Apache-2.0 */
/* Which part of the log is still needed: for every segment how many rows and states of rows in it
 * live, and which older segments its removals speak of. Decides what may be used again, and what is
 * worth folding, packing, or a snapshot. Only counts; files are touched by the jobs that it asks
 * for.
 *
 * What may be used again (design: I8), and why each condition is there:
 * - It has its index. Then it is full, and its batches are committed.
 * - No row in it lives and no state of one, and the batch that ended the last one is committed:
 *   otherwise a crash could take the removal back and find the message gone.
 * - Its removals speak of no older segment that is still there and has not folded them in:
 *   otherwise a later recovery would find the old row and nothing that ends it. A removal in the
 *   segment of its row goes with the row. Since an older segment that goes lets newer ones go,
 *   it must be gone for certain (the directory is flushed) before that is reported here.
 * - Its topology and HANDOUT records are covered by the snapshot that the manifest names. A queue
 *   that was deleted takes its rows along without a removal; then it is the record that deletes it
 *   that must be committed.
 * - The segments around it are gone or have their indexes. A recovery reads the others batch by
 *   batch, and that a segment was read to its end is seen from the first batch of the next.
 *
 * What is worth packing: neighbours of which little lives, when too much is wasted; a pack by
 * itself that is larger than a slot and has become sparse. And, when there is nothing else to do,
 * old backlog of queues that are interleaved, which is sorted by queue, so that draining one of
 * them reads on where it read last: 8 neighbours or more, about 16 slots in all, each with an
 * average run of less than 64 KiB and at least a quarter of it alive. They lie at least 8 segments
 * behind the journal, since what is consumed soon need not be sorted. A pack is never sorted again,
 * so this writes each message once more at most; later a sparse one is packed each time that it has
 * shrunk to a quarter, which is a third of it in all.
 *
 * Removals speak of older segments only, so the oldest dead segment never waits for a younger one,
 * and whatever is dead goes in the end.
 *
 * Owner: the core thread. Makes no system call. */
#ifndef BOURSE_STORE_SPACE_H
#define BOURSE_STORE_SPACE_H

#include "base/status.h"

#include <stdbool.h>
#include <stdint.h>

struct space;

struct space_settings {
    uint64_t slot_size;
    uint64_t snapshot_octets; /* dead segments that wait for nothing but a snapshot may take so much
                                 together; 0: 64 MiB, or 4 slots if they are less */
    uint32_t sort_slots;      /* of old backlog so many slots are sorted together at most, half as
                                 many at least, and as far behind the journal; 0: 8 */
    bool may_pack;            /* somebody can do what SPACE_PACK asks for */
};

struct space *space_new(const struct space_settings *settings);
void space_free(struct space **space);

/* A segment begins, or recovery found it: by rising number.
 * `capacity` counts as used space. The journal goes from slot to slot by itself, and the segments
 * behind the last one are added when an LSN in them comes up. Only segments of one `epoch` are
 * packed together. `last` is `number` but of a pack. */
void space_add_segment(struct space *space, uint64_t number, uint64_t last, uint64_t epoch,
                       uint64_t base_lsn, uint64_t capacity);
/* The journal has come to the segment of `lsn`. */
void space_journal_at(struct space *space, uint64_t lsn);
/* It is full, committed, and has its index: from now on it may be used again. */
void space_segment_indexed(struct space *space, uint64_t number);
/* Its contents have so many octets and lie in so many runs of one queue (store/index.h). Until this
 * is reported it is not sorted. */
void space_segment_runs(struct space *space, uint64_t number, uint64_t octets, uint64_t runs);

/* What a row counts for: its body, and about what goes with it. An estimate that everybody makes in
 * the same way, since entries know the size of the body only. */
static inline uint64_t
space_row_octets(uint32_t body_size)
{
    return (uint64_t)body_size + 64;
}

/* `count` rows more live at `lsn` (or anywhere in its segment), with `octets` in all. A content in
 * several queues counts several times: live octets of a segment are bounded by its capacity, and
 * err on the side of leaving it alone. */
void space_add_rows(struct space *space, uint64_t lsn, uint64_t count, uint64_t octets);
/* A row at `lsn` is done with, by a removal that stands in a batch at `batch_lsn`; 0: no removal is
 * needed, because its queue is gone, of which a record was reported before (space_add_topology). */
void space_remove_row(struct space *space, uint64_t lsn, uint64_t octets, uint64_t batch_lsn);
/* What a state that was returned counts for. */
enum { SPACE_STATE_OCTETS = 64 };

/* What the log keeps of a row stands at `state_lsn` (journal_return), whose segment is needed for
 * it. A state that came with its message is not counted: it goes with the row. */
void space_add_state(struct space *space, uint64_t state_lsn);
/* The state that stands there means nothing any more: the batch at `batch_lsn` has the next one of
 * the row, or removes the row; 0: as with space_remove_row. It needs no removal to be kept: without
 * its row it is nothing, and with an older state of the same row a newer one is always there. */
void space_remove_state(struct space *space, uint64_t state_lsn, uint64_t batch_lsn);
/* A removal in the batch at `batch_lsn` speaks of the segment of `lsn`, whose row was not counted:
 * recovery found both. */
void space_add_removal(struct space *space, uint64_t lsn, uint64_t batch_lsn);
/* A topology or HANDOUT record stands in the batch at `batch_lsn`. */
void space_add_topology(struct space *space, uint64_t batch_lsn);

/* Reports of finished jobs. */
void space_snapshot_taken(struct space *space, uint64_t snapshot_lsn);
void space_folded(struct space *space, uint64_t number, uint64_t folded_lsn);
/* The segments from `first` to `last` are one file now, of `capacity` octets, without the rows that
 * batches below `folded_lsn` removed. */
void space_packed(struct space *space, uint64_t first, uint64_t last, uint64_t folded_lsn,
                  uint64_t capacity);
/* It failed: they are not sorted by this process any more, lest a GiB is copied again and again up
 * to what cannot be read. */
void space_pack_failed(struct space *space, uint64_t first, uint64_t last);
void space_retired(struct space *space, uint64_t number); /* the files are gone for certain */

/* What to do next, given what is committed. At most one job at a time is under way; ask again when
 * it is done. Costs nothing while nothing has changed. */
enum space_work { SPACE_NOTHING, SPACE_RETIRE, SPACE_SNAPSHOT, SPACE_FOLD, SPACE_PACK };
struct space_job {
    enum space_work work;
    uint64_t number;   /* RETIRE, FOLD: the segment; PACK: the first */
    uint64_t last;     /* PACK: the last; RETIRE: the last of a pack, else `number` */
    uint64_t capacity; /* RETIRE: of its file */
    bool is_pack;      /* RETIRE */
    bool is_sort;      /* PACK: nothing is gained but order */
    uint64_t octets;   /* PACK: about what is copied */
    uint64_t lsn;      /* SNAPSHOT: of what to take it; FOLD, PACK: up to where removals count.
                          Always the beginning of a segment below which all have their indexes. */
};
struct space_job space_next(struct space *space, uint64_t commit_lsn);

/* Whether there is topology that no snapshot covers. */
bool space_wants_snapshot(const struct space *space);

/* Octets in segments, and of live contents among them. */
uint64_t space_used_octets(const struct space *space);
uint64_t space_live_octets(const struct space *space);
uint64_t space_oldest_lsn(const struct space *space); /* base of the oldest segment; 0: none */

#endif
