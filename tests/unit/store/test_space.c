/* SPDX-License-Identifier: Apache-2.0 */
/* The account of space: what may be used again and what is worth a job, case by case and against a
 * model that remembers every row and every removal. */
#include "store/space.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#include <stdlib.h>

#include "base/assert.h"
#include "base/random.h"

enum { SLOT = 64 * 1024, ROW = 1000 };

static struct space *space;

static void
set_up(void)
{
    struct space_settings settings = {.slot_size = SLOT, .sort_slots = 16, .may_pack = true};
    space = space_new(&settings);
    space_add_segment(space, 1, 1, 1, SLOT, SLOT);
}

static void
tear_down(void)
{
    space_free(&space);
}

TestSuite(space, .init = set_up, .fini = tear_down);

/* An LSN in the segment of that number; all stand in steps of a slot here. */
static uint64_t
lsn_in(uint64_t number, uint64_t offset)
{
    return number * SLOT + 4096 + offset;
}

static void
add_rows(uint64_t number, uint32_t count)
{
    space_add_rows(space, lsn_in(number, 0), count, (uint64_t)count * ROW);
}

static void
remove_rows(uint64_t number, uint32_t count, uint64_t batch_lsn)
{
    for (uint32_t i = 0; i < count; i++) {
        space_remove_row(space, lsn_in(number, 0), ROW, batch_lsn);
    }
}

/* The journal has left everything below the segment of that number, and that is indexed. */
static void
index_below(uint64_t number)
{
    space_journal_at(space, lsn_in(number, 0));
    for (uint64_t i = 1; i < number; i++) {
        space_segment_indexed(space, i);
    }
}

static void
expect_nothing(uint64_t commit_lsn)
{
    cr_expect(eq(int, space_next(space, commit_lsn).work, SPACE_NOTHING));
}

static void
expect_retire(uint64_t number, uint64_t commit_lsn)
{
    struct space_job job = space_next(space, commit_lsn);
    cr_assert(eq(int, job.work, SPACE_RETIRE));
    cr_expect(eq(u64, job.number, number));
}

/* I8: what lives is kept. */
Test(space, a_segment_with_a_live_row_is_kept)
{
    add_rows(1, 2);
    remove_rows(1, 1, lsn_in(1, 64));
    index_below(4);
    space_retired(space, 2);
    space_retired(space, 3);
    cr_expect(ne(int, space_next(space, UINT64_MAX).work, SPACE_RETIRE));
    remove_rows(1, 1, lsn_in(1, 128));
    expect_retire(1, UINT64_MAX);
}

/* I8: a crash may take back a removal that is not committed. */
Test(space, a_segment_is_kept_until_the_last_removal_of_its_rows_is_committed)
{
    add_rows(1, 2);
    remove_rows(1, 1, lsn_in(1, 64));
    remove_rows(1, 1, lsn_in(1, 128));
    index_below(4);
    expect_retire(2, lsn_in(1, 128));
    space_retired(space, 2);
    expect_nothing(lsn_in(1, 128));
    expect_retire(1, lsn_in(1, 128) + 1);
}

/* I8: what the log keeps of a message elsewhere than with it lives by itself. */
Test(space, a_segment_with_the_state_of_a_live_row_is_kept)
{
    add_rows(1, 1);
    space_add_state(space, lsn_in(2, 64));
    index_below(5);
    expect_retire(3, UINT64_MAX);
    space_retired(space, 3);
    cr_expect(ne(int, space_next(space, UINT64_MAX).work, SPACE_RETIRE));
    space_remove_state(space, lsn_in(2, 64), lsn_in(4, 64));
    expect_retire(2, UINT64_MAX);
}

/* I8: the next state of the row, or its end, must be on the disk before the last one goes. */
Test(space, a_segment_is_kept_until_what_replaced_its_states_is_committed)
{
    add_rows(1, 1);
    space_add_state(space, lsn_in(2, 64));
    index_below(4);
    space_retired(space, 3);
    space_add_state(space, lsn_in(4, 64));
    space_remove_state(space, lsn_in(2, 64), lsn_in(4, 64));
    expect_nothing(lsn_in(4, 64));
    expect_retire(2, lsn_in(4, 64) + 1);
}

/* A state that means nothing any more needs nobody who says so: its row is gone or has another. */
Test(space, who_ended_a_state_is_not_kept_for_it)
{
    add_rows(1, 1);
    space_add_rows(space, lsn_in(2, 0), 1, ROW);
    space_add_state(space, lsn_in(2, 64));
    space_remove_state(space, lsn_in(2, 64), lsn_in(3, 64));
    index_below(5);
    expect_retire(3, UINT64_MAX);
}

/* I8: the log is read batch by batch where there is no index. */
Test(space, a_segment_without_index_is_kept)
{
    index_below(3);
    add_rows(3, 1);
    remove_rows(3, 1, lsn_in(3, 64));
    expect_retire(1, UINT64_MAX);
    space_retired(space, 1);
    expect_nothing(UINT64_MAX);
}

/* A recovery that reads a segment learns from the next one that it has read all of it. */
Test(space, a_segment_is_kept_while_one_beside_it_has_no_index)
{
    space_journal_at(space, lsn_in(5, 0));
    space_segment_indexed(space, 2);
    space_segment_indexed(space, 3);
    expect_nothing(UINT64_MAX);
    space_segment_indexed(space, 1);
    expect_retire(1, UINT64_MAX);
    space_retired(space, 1);
    expect_retire(2, UINT64_MAX);
    space_retired(space, 2);
    expect_nothing(UINT64_MAX);
    space_segment_indexed(space, 4);
    expect_retire(3, UINT64_MAX);
}

/* I8: the row would come back if what ends it went first. */
Test(space, a_segment_is_kept_while_its_removals_speak_of_an_older_one)
{
    add_rows(1, 60);
    remove_rows(1, 1, lsn_in(2, 64));
    index_below(5);
    expect_retire(3, UINT64_MAX);
    space_retired(space, 3);
    cr_expect(ne(int, space_next(space, UINT64_MAX).work, SPACE_RETIRE));
    remove_rows(1, 59, lsn_in(5, 64));
    expect_retire(1, UINT64_MAX);
    space_retired(space, 1);
    expect_retire(2, UINT64_MAX);
}

/* A removal in the segment of its row goes with the row. */
Test(space, a_removal_in_the_segment_of_its_row_keeps_nothing)
{
    add_rows(1, 1);
    add_rows(2, 1);
    remove_rows(2, 1, lsn_in(2, 64));
    index_below(4);
    expect_retire(2, UINT64_MAX);
}

/* The dead file of the older segment stands for the removals below the LSN that it was folded to,
 * and for no others. */
Test(space, removals_that_were_folded_in_keep_nothing_and_later_ones_do)
{
    add_rows(1, 3);
    remove_rows(1, 1, lsn_in(2, 64));
    remove_rows(1, 1, lsn_in(3, 64));
    index_below(5);
    space_folded(space, 1, 3 * SLOT);
    expect_retire(2, UINT64_MAX);
    space_retired(space, 2);
    cr_expect(ne(int, space_next(space, UINT64_MAX).work, SPACE_RETIRE));
    space_folded(space, 1, 5 * SLOT);
    expect_retire(3, UINT64_MAX);
}

/* Topology is in no other place than its records, until a snapshot has it. */
Test(space, a_segment_with_topology_is_kept_until_a_snapshot_covers_it)
{
    space_add_topology(space, lsn_in(2, 64));
    index_below(5);
    space_snapshot_taken(space, lsn_in(2, 64));
    expect_retire(1, UINT64_MAX);
    space_retired(space, 1);
    expect_retire(3, UINT64_MAX);
    space_retired(space, 3);
    expect_nothing(UINT64_MAX);
    space_snapshot_taken(space, lsn_in(2, 64) + 1);
    expect_retire(2, UINT64_MAX);
}

/* Rows of a deleted queue need no removal, but the record that deleted it must be committed. */
Test(space, rows_of_a_deleted_queue_are_dead_once_its_deletion_is_committed)
{
    add_rows(1, 1);
    index_below(3);
    space_retired(space, 2);
    space_add_topology(space, lsn_in(3, 640));
    remove_rows(1, 1, 0);
    expect_nothing(lsn_in(3, 640));
    expect_retire(1, lsn_in(3, 640) + 1);
}

/* One snapshot for many segments, but not too many of them wait for it. */
Test(space, a_snapshot_is_due_when_dead_segments_wait_for_nothing_else)
{
    for (uint64_t number = 1; number <= 4; number++) {
        space_add_topology(space, lsn_in(number, 64));
    }
    index_below(5);
    expect_nothing(UINT64_MAX);
    space_add_topology(space, lsn_in(5, 64));
    index_below(6);
    struct space_job job = space_next(space, UINT64_MAX);
    cr_assert(eq(int, job.work, SPACE_SNAPSHOT));
    cr_expect(eq(u64, job.lsn, 6 * SLOT));
    space_snapshot_taken(space, job.lsn);
    expect_retire(1, UINT64_MAX);
}

/* What lives would stay anyhow: a snapshot for its sake frees nothing. */
Test(space, a_snapshot_is_not_taken_for_segments_that_live)
{
    for (uint64_t number = 1; number <= 8; number++) {
        space_add_topology(space, lsn_in(number, 64));
        add_rows(number, 60);
    }
    index_below(9);
    expect_nothing(UINT64_MAX);
}

/* A segment that waits for one that waits for a snapshot waits for the snapshot as well. */
Test(space, segments_held_by_others_that_wait_for_a_snapshot_count_as_waiting)
{
    space_add_topology(space, lsn_in(1, 64));
    for (uint64_t number = 1; number <= 5; number++) {
        add_rows(number, 1);
        remove_rows(number, 1, lsn_in(number + 1, 64));
    }
    index_below(6);
    cr_expect(eq(int, space_next(space, UINT64_MAX).work, SPACE_SNAPSHOT));
}

/* A single slow queue must not hold everybody's segments. */
Test(space, removals_are_folded_into_a_live_segment_when_they_keep_too_much)
{
    add_rows(1, 50);
    for (uint64_t number = 2; number <= 5; number++) {
        remove_rows(1, 1, lsn_in(number, 64));
    }
    index_below(6);
    struct space_job job = space_next(space, UINT64_MAX);
    cr_assert(eq(int, job.work, SPACE_FOLD));
    cr_expect(eq(u64, job.number, 1));
    cr_expect(eq(u64, job.lsn, 6 * SLOT));
    space_folded(space, 1, job.lsn);
    for (uint64_t number = 2; number <= 4; number++) {
        expect_retire(number, UINT64_MAX);
        space_retired(space, number);
    }
    expect_nothing(UINT64_MAX);
}

/* Folding reads a segment's worth of indexes: not while most of the space is in use anyhow. */
Test(space, nothing_is_folded_while_little_is_wasted)
{
    for (uint64_t number = 1; number <= 4; number++) {
        add_rows(number, 60);
    }
    remove_rows(1, 1, lsn_in(5, 64));
    index_below(6);
    expect_nothing(UINT64_MAX);
}

/* Neighbours that are nearly empty become one file. */
Test(space, sparse_neighbours_are_packed_when_too_much_is_wasted)
{
    for (uint64_t number = 1; number <= 4; number++) {
        add_rows(number, 10);
    }
    index_below(5);
    struct space_job job = space_next(space, UINT64_MAX);
    cr_assert(eq(int, job.work, SPACE_PACK));
    cr_expect(eq(u64, job.number, 1));
    cr_expect(eq(u64, job.last, 3), "half a slot in all");
    cr_expect(eq(u64, job.lsn, 5 * SLOT));
    space_packed(space, 1, 3, job.lsn, 32 * 1024);
    cr_expect(eq(u64, space_used_octets(space), 32 * 1024 + 2 * SLOT));
    cr_expect(eq(u64, space_live_octets(space), 40 * ROW));
    remove_rows(2, 10, lsn_in(5, 64));
    remove_rows(3, 10, lsn_in(5, 64));
    cr_expect(ne(int, space_next(space, UINT64_MAX).work, SPACE_RETIRE));
    remove_rows(1, 10, lsn_in(5, 64));
    job = space_next(space, UINT64_MAX);
    cr_assert(eq(int, job.work, SPACE_RETIRE));
    cr_expect(eq(u64, job.number, 1));
    cr_expect(eq(u64, job.last, 3));
    cr_expect(job.is_pack);
}

/* A file belongs to one epoch: where that ended decides which of its octets exist. */
Test(space, segments_of_different_epochs_are_not_packed_together)
{
    space_add_segment(space, 2, 2, 2, 2 * SLOT, SLOT);
    add_rows(1, 10);
    add_rows(2, 10);
    index_below(4);
    space_retired(space, 3);
    expect_nothing(UINT64_MAX);
}

/* A pack holds rows and nothing else: what else its segments are needed for comes first. */
Test(space, what_a_pack_does_not_keep_is_brought_to_safety_before)
{
    for (uint64_t number = 1; number <= 6; number++) {
        add_rows(number, number == 1 ? 60 : 6);
    }
    remove_rows(1, 1, lsn_in(3, 64));
    space_add_topology(space, lsn_in(4, 64));
    index_below(7);
    struct space_job job = space_next(space, UINT64_MAX);
    cr_assert(eq(int, job.work, SPACE_FOLD));
    cr_expect(eq(u64, job.number, 1));
    space_folded(space, 1, job.lsn);
    job = space_next(space, UINT64_MAX);
    cr_assert(eq(int, job.work, SPACE_SNAPSHOT));
    space_snapshot_taken(space, job.lsn);
    job = space_next(space, UINT64_MAX);
    cr_assert(eq(int, job.work, SPACE_PACK));
    cr_expect(eq(u64, job.number, 2));
}

/* One look per message: the account of thousands of segments must not be searched for nothing. */
Test(space, a_search_that_found_nothing_is_not_repeated_until_something_changes)
{
    add_rows(1, 2);
    index_below(4000);
    for (uint64_t number = 2; number < 3999; number++) {
        expect_retire(number, UINT64_MAX);
        space_retired(space, number);
    }
    expect_nothing(UINT64_MAX);
}

/* Old backlog ---------------------------------------------------------------------------------- */

/* Segments up to `newest`, nearly full of messages in runs of that many octets. */
static void
make_backlog(uint64_t newest, uint64_t run_octets)
{
    index_below(newest);
    for (uint64_t number = 1; number < newest; number++) {
        add_rows(number, 50);
        space_segment_runs(space, number, 60 * run_octets, 60);
    }
}

static void
expect_sort(uint64_t first, uint64_t last)
{
    struct space_job job = space_next(space, UINT64_MAX);
    cr_assert(eq(int, job.work, SPACE_PACK));
    cr_expect(job.is_sort);
    cr_expect(eq(u64, job.number, first));
    cr_expect(eq(u64, job.last, last));
}

/* One queue of a hundred is read by large reads only where its messages lie together; and what was
 * sorted once is in order. */
Test(space, old_backlog_of_many_queues_is_sorted_once)
{
    make_backlog(33, 1000);
    expect_sort(1, 16);
    space_packed(space, 1, 16, 33 * SLOT, 16 * SLOT);
    expect_sort(17, 25);
    space_packed(space, 17, 25, 33 * SLOT, 9 * SLOT);
    expect_nothing(UINT64_MAX);
}

/* A backlog that is consumed soon is not worth the copy, nor are few segments. */
Test(space, backlog_near_the_journal_is_left_alone)
{
    make_backlog(15, 1000);
    expect_nothing(UINT64_MAX);
    space_journal_at(space, lsn_in(16, 0));
    space_segment_indexed(space, 15);
    expect_sort(1, 8);
}

/* Where runs are long, draining one queue reads in large pieces anyhow. */
Test(space, backlog_in_long_runs_is_not_sorted)
{
    make_backlog(33, 64 * 1024);
    expect_nothing(UINT64_MAX);
    for (uint64_t number = 1; number < 33; number++) {
        space_segment_runs(space, number, 0, 0);
    }
    expect_nothing(UINT64_MAX);
    space_segment_runs(space, 4, 64 * 1024 - 1, 1);
    expect_nothing(UINT64_MAX);
}

/* What of a group is nearly gone, in order, or of another epoch ends it: nobody copies what is
 * about to be packed, and a file belongs to one epoch. */
Test(space, only_neighbours_that_mostly_live_are_sorted_together)
{
    make_backlog(33, 1000);
    remove_rows(4, 40, lsn_in(33, 64));
    space_segment_runs(space, 14, 64 * 1024, 1);
    expect_sort(5, 13);
    remove_rows(7, 40, lsn_in(33, 64));
    expect_sort(15, 25);
}

/* Rows are held in memory while they are sorted. */
Test(space, no_more_messages_are_sorted_at_once_than_memory_holds)
{
    make_backlog(33, 1000);
    for (uint64_t number = 1; number < 33; number++) {
        space_add_rows(space, lsn_in(number, 0), 60 * 1000, 1000);
    }
    expect_sort(1, 8);
}

/* A pack holds rows and nothing else: what else its segments are needed for comes first. */
Test(space, what_sorted_backlog_does_not_keep_is_brought_to_safety_before)
{
    make_backlog(33, 1000);
    space_segment_runs(space, 1, 64 * 1024, 1);
    remove_rows(1, 1, lsn_in(3, 64));
    space_add_topology(space, lsn_in(4, 64));
    struct space_job job = space_next(space, UINT64_MAX);
    cr_assert(eq(int, job.work, SPACE_FOLD));
    cr_expect(not(job.is_sort));
    cr_expect(eq(u64, job.number, 1));
    space_folded(space, 1, job.lsn);
    job = space_next(space, UINT64_MAX);
    cr_assert(eq(int, job.work, SPACE_SNAPSHOT));
    space_snapshot_taken(space, job.lsn);
    expect_sort(2, 17);
}

/* What gives room back goes before what only brings order. */
Test(space, backlog_is_sorted_after_everything_else)
{
    make_backlog(33, 1000);
    remove_rows(20, 50, lsn_in(33, 64));
    space_folded(space, 20, 33 * SLOT);
    expect_retire(20, UINT64_MAX);
    space_retired(space, 20);
    expect_sort(1, 16);
}

/* A content in it may be damaged: it is not copied up to there once a minute. */
Test(space, backlog_that_could_not_be_sorted_is_left_alone)
{
    make_backlog(33, 1000);
    expect_sort(1, 16);
    space_pack_failed(space, 1, 16);
    expect_sort(17, 25);
    space_pack_failed(space, 17, 25);
    expect_nothing(UINT64_MAX);
}

/* Draining the queues of sorted backlog one by one frees no file of it until the last: its room
 * comes back in steps. */
Test(space, sorted_backlog_that_has_become_sparse_is_packed_by_itself)
{
    make_backlog(25, 1000);
    expect_sort(1, 16);
    space_packed(space, 1, 16, 25 * SLOT, 16 * SLOT);
    for (uint64_t number = 1; number <= 16; number++) {
        remove_rows(number, 38, lsn_in(25, 64));
    }
    for (uint64_t number = 17; number < 25; number++) {
        remove_rows(number, 20, lsn_in(25, 64));
    }
    struct space_job job = space_next(space, UINT64_MAX);
    cr_assert(eq(int, job.work, SPACE_PACK));
    cr_expect(not(job.is_sort));
    cr_expect(eq(u64, job.number, 1));
    cr_expect(eq(u64, job.last, 16));
    space_packed(space, 1, 16, job.lsn, 4 * SLOT);
    expect_nothing(UINT64_MAX);
}

/* Against a model ------------------------------------------------------------------------------ */

enum { MODEL_ROWS = 6000, MODEL_SEGMENTS = 400, STEPS = 6000 };

struct model_row {
    uint64_t lsn;
    uint32_t octets;
    bool is_dead;
    uint64_t batch_lsn; /* of the removal; the record that deleted its queue counts too */
    bool has_removal;   /* a removal in that batch */
};

struct model_segment {
    bool is_there, is_indexed;
    uint64_t last; /* of a pack */
    uint64_t capacity;
    uint64_t folded_lsn;
    uint64_t topology_lsn;
};

struct model {
    struct model_row rows[MODEL_ROWS];
    uint32_t row_count;
    struct model_segment segments[MODEL_SEGMENTS]; /* by number */
    uint64_t newest;
    uint64_t next_lsn;
    uint64_t commit_lsn;
    uint64_t snapshot_lsn;
    uint64_t topology_lsn;
    struct random_source random;
};

static uint64_t
draw(struct model *model, uint64_t below)
{
    return random_u64(&model->random) % below;
}

/* The number under which the segment of an LSN goes; 0: it is gone. */
static uint64_t
number_of(const struct model *model, uint64_t lsn)
{
    for (uint64_t number = lsn / SLOT; number > 0; number--) {
        if (model->segments[number].is_there) {
            return model->segments[number].last >= lsn / SLOT ? number : 0;
        }
    }
    return 0;
}

static uint64_t
live_octets_of(const struct model *model, uint64_t number)
{
    uint64_t octets = 0;
    for (uint32_t i = 0; i < model->row_count; i++) {
        const struct model_row *row = &model->rows[i];
        octets += !row->is_dead && number_of(model, row->lsn) == number ? row->octets : 0;
    }
    uint64_t capacity = model->segments[number].capacity;
    return octets < capacity ? octets : capacity;
}

/* The definition, row by row. */
static bool
is_needed_for_rows(const struct model *model, uint64_t number)
{
    for (uint32_t i = 0; i < model->row_count; i++) {
        const struct model_row *row = &model->rows[i];
        uint64_t home = number_of(model, row->lsn);
        if (home == number && (!row->is_dead || row->batch_lsn >= model->commit_lsn)) {
            return true;
        }
        bool is_told_here = row->has_removal && number_of(model, row->batch_lsn) == number;
        if (is_told_here && home != 0 && home != number &&
            model->segments[home].folded_lsn <= row->batch_lsn) {
            return true;
        }
    }
    return false;
}

static bool
may_be_retired(const struct model *model, uint64_t number)
{
    const struct model_segment *segment = &model->segments[number];
    if (!segment->is_there || !segment->is_indexed || segment->last == model->newest) {
        return false;
    }
    const struct model_segment *next = &model->segments[segment->last + 1];
    uint64_t before = number_of(model, number * SLOT - 1);
    return (!next->is_there || next->is_indexed) &&
           (before == 0 || model->segments[before].is_indexed) &&
           (segment->topology_lsn == 0 || segment->topology_lsn < model->snapshot_lsn) &&
           !is_needed_for_rows(model, number);
}

static uint64_t
oldest_retirable(const struct model *model)
{
    for (uint64_t number = 1; number <= model->newest; number++) {
        if (may_be_retired(model, number)) {
            return number;
        }
    }
    return 0;
}

/* A batch begins; sometimes in the next segment, as rows do not fill them here. */
static uint64_t
begin_batch(struct model *model)
{
    model->next_lsn += 64 * (1 + draw(model, 20));
    if (draw(model, 12) == 0 || model->next_lsn / SLOT != (model->next_lsn + 2048) / SLOT) {
        model->next_lsn = (model->next_lsn / SLOT + 1 + (draw(model, 8) == 0 ? 1 : 0)) * SLOT;
        model->next_lsn += 4096;
    }
    while (model->newest < model->next_lsn / SLOT) {
        model->newest++;
        cr_assert(lt(u64, model->newest, MODEL_SEGMENTS - 1));
        model->segments[model->newest] =
            (struct model_segment){.is_there = true, .last = model->newest, .capacity = SLOT};
    }
    space_journal_at(space, model->next_lsn);
    return model->next_lsn;
}

static void
add_some(struct model *model)
{
    uint64_t batch_lsn = begin_batch(model);
    for (uint64_t count = 1 + draw(model, 8); count > 0 && model->row_count < MODEL_ROWS; count--) {
        struct model_row *row = &model->rows[model->row_count++];
        *row = (struct model_row){.lsn = batch_lsn + 64,
                                  .octets = (uint32_t)(500 + draw(model, 4000))};
        space_add_rows(space, row->lsn, 1, row->octets);
    }
}

static void
remove_some(struct model *model)
{
    uint64_t batch_lsn = begin_batch(model);
    bool by_deletion = draw(model, 30) == 0;
    if (by_deletion) {
        space_add_topology(space, batch_lsn);
        model->segments[batch_lsn / SLOT].topology_lsn = batch_lsn;
        model->topology_lsn = batch_lsn;
    }
    uint64_t from = draw(model, 4) != 0 ? draw(model, model->row_count + 1) : 0;
    uint64_t count = 1 + draw(model, 12);
    uint64_t step_size = draw(model, 2) == 0 ? 1 : 12; /* one by one, or here and there */
    for (uint64_t i = from; i < model->row_count && count > 0; i += 1 + draw(model, step_size)) {
        struct model_row *row = &model->rows[i];
        if (!row->is_dead) {
            row->is_dead = true;
            row->batch_lsn = batch_lsn;
            row->has_removal = !by_deletion;
            space_remove_row(space, row->lsn, row->octets, by_deletion ? 0 : batch_lsn);
            count--;
        }
    }
}

/* Segments get their indexes in order, once they are full and committed. */
static void
index_some(struct model *model)
{
    for (uint64_t number = 1; number < model->newest; number++) {
        struct model_segment *segment = &model->segments[number];
        if (segment->is_there && !segment->is_indexed) {
            if ((number + 1) * SLOT <= model->commit_lsn) {
                segment->is_indexed = true;
                space_segment_indexed(space, number);
                space_segment_runs(space, number, 1000, draw(model, 4));
            }
            return;
        }
    }
}

static void
pack(struct model *model, const struct space_job *job)
{
    uint64_t octets = 4096;
    for (uint64_t number = job->number; number <= job->last; number++) {
        struct model_segment *segment = &model->segments[number];
        if (!segment->is_there) {
            continue;
        }
        uint64_t live = live_octets_of(model, number);
        cr_assert(segment->is_indexed);
        cr_assert(eq(int, job->is_sort, live >= segment->capacity / 4), "sparse ones, or old ones");
        cr_assert(segment->topology_lsn == 0 || segment->topology_lsn < model->snapshot_lsn);
        octets += live;
    }
    struct model_segment *into = &model->segments[job->number];
    for (uint32_t i = 0; i < model->row_count; i++) {
        const struct model_row *row = &model->rows[i];
        uint64_t home = number_of(model, row->lsn);
        uint64_t told = row->has_removal ? number_of(model, row->batch_lsn) : 0;
        cr_assert(told < job->number || told > job->last || home == 0 || home >= job->number ||
                      model->segments[home].folded_lsn > row->batch_lsn,
                  "a removal that is still needed is not packed away");
    }
    for (uint64_t number = job->number + 1; number <= job->last; number++) {
        model->segments[number].is_there = false;
    }
    into->last = job->last;
    into->capacity = octets;
    into->folded_lsn = job->lsn;
    space_packed(space, job->number, job->last, job->lsn, octets);
}

/* Carries out what the account asks for, after comparing it with the definition. */
static bool
work(struct model *model)
{
    struct space_job job = space_next(space, model->commit_lsn);
    uint64_t retirable = oldest_retirable(model);
    cr_assert(eq(int, job.work == SPACE_RETIRE, retirable != 0));
    switch (job.work) {
    case SPACE_RETIRE:
        cr_assert(eq(u64, job.number, retirable));
        cr_assert(eq(u64, job.last, model->segments[retirable].last));
        cr_assert(eq(u64, job.capacity, model->segments[retirable].capacity));
        model->segments[retirable].is_there = false;
        space_retired(space, retirable);
        return true;
    case SPACE_SNAPSHOT:
        cr_assert(lt(u64, model->snapshot_lsn, job.lsn));
        cr_assert(le(u64, job.lsn, model->commit_lsn));
        model->snapshot_lsn = job.lsn;
        space_snapshot_taken(space, job.lsn);
        return true;
    case SPACE_FOLD:
        cr_assert(model->segments[job.number].is_there);
        cr_assert(model->segments[job.number].is_indexed);
        cr_assert(lt(u64, model->segments[job.number].folded_lsn, job.lsn));
        cr_assert(le(u64, job.lsn, model->commit_lsn));
        model->segments[job.number].folded_lsn = job.lsn;
        space_folded(space, job.number, job.lsn);
        return true;
    case SPACE_PACK:
        pack(model, &job);
        return true;
    case SPACE_NOTHING:
        return false;
    }
    return false;
}

static void
compare_octets(const struct model *model)
{
    uint64_t used = 0;
    uint64_t live = 0;
    for (uint64_t number = 1; number <= model->newest; number++) {
        if (model->segments[number].is_there) {
            used += model->segments[number].capacity;
            live += live_octets_of(model, number);
        }
    }
    cr_assert(eq(u64, space_used_octets(space), used));
    cr_assert(eq(u64, space_live_octets(space), live));
}

static void
step(struct model *model)
{
    switch (draw(model, 10)) {
    case 0:
    case 1:
    case 2:
        add_some(model);
        break;
    case 3:
    case 4:
    case 5:
        remove_some(model);
        break;
    case 6:
        model->commit_lsn = begin_batch(model);
        break;
    case 7:
        index_some(model);
        break;
    case 8:
        for (uint32_t jobs = 0; jobs < 4 && work(model); jobs++) {
        }
        break;
    default:
        if (draw(model, 20) == 0) {
            uint64_t batch_lsn = begin_batch(model);
            model->segments[batch_lsn / SLOT].topology_lsn = batch_lsn;
            model->topology_lsn = batch_lsn;
            space_add_topology(space, batch_lsn);
        }
        break;
    }
}

/* Everything goes that is not needed: no row left, no segment left but those at the end of the log.
 */
static void
empty_out(struct model *model)
{
    uint64_t batch_lsn = begin_batch(model);
    for (uint32_t i = 0; i < model->row_count; i++) {
        struct model_row *row = &model->rows[i];
        if (!row->is_dead) {
            row->is_dead = true;
            row->batch_lsn = batch_lsn;
            row->has_removal = true;
            space_remove_row(space, row->lsn, row->octets, batch_lsn);
        }
    }
    for (uint64_t newest = model->newest; model->newest < newest + 2;) {
        (void)begin_batch(model);
    }
    model->commit_lsn = begin_batch(model);
    for (uint64_t number = 1; number < model->newest; number++) {
        index_some(model);
    }
    space_snapshot_taken(space, model->newest * SLOT);
    model->snapshot_lsn = model->newest * SLOT;
    for (uint32_t jobs = 0; work(model); jobs++) {
        cr_assert(lt(u32, jobs, 10 * MODEL_SEGMENTS), "it comes to an end");
    }
    compare_octets(model);
    cr_expect(le(u64, space_used_octets(space), 3 * SLOT));
}

/* I8, in every order of events: what is offered for use again is exactly what the definition gives
 * free, oldest first; and whatever is dead goes in the end. */
Test(space, what_is_used_again_agrees_with_the_definition)
{
    static struct model model;
    for (uint64_t seed = 1; seed <= 6; seed++) {
        tear_down();
        set_up();
        model = (struct model){.newest = 1, .next_lsn = SLOT + 4096};
        model.segments[1] = (struct model_segment){.is_there = true, .last = 1, .capacity = SLOT};
        uint64_t state = seed;
        model.random = random_seeded(&state);
        for (uint32_t i = 0; i < STEPS && model.newest < MODEL_SEGMENTS - 60; i++) {
            step(&model);
            if (i % 64 == 0) {
                compare_octets(&model);
            }
        }
        empty_out(&model);
    }
}
