/* SPDX-License-Identifier: Apache-2.0 */
/* A row whose content is not in memory stops the walk; its content is read, with those of the rows
 * behind it, into a block, and the walk comes to the same row again and finds it there. So nothing
 * that was noted before a job has to be right after it. */
#include "broker/desk/desk_walk.h"

#include <stdlib.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "broker/paging/paging_state.h"

/* Contents as they were read. */
struct read_block {
    uint8_t *octets; /* lent by the pool; NULL: none */
    uint32_t size;
    uint32_t count;
    uint64_t lsns[FETCH_ENTRIES_MAX]; /* rising */
    uint32_t offsets[FETCH_ENTRIES_MAX];
};

struct desk_walk {
    struct core *core;
    struct list_link link; /* paging->walks: it has a block, and does not look at it now */
    struct desk_rows rows;
    struct desk_cursor cursor;
    bool brings_contents;
    bool is_reading; /* a job is under way */
    bool is_alone;   /* the last fetch did not bring what was wanted: ask for nothing else */
    void (*wake)(void *context);
    void *context;
    uint64_t wanted_lsn;     /* what the fetch under way is for */
    uint64_t unreadable_lsn; /* could not be read; 0: none */
    uint32_t block_size;     /* of the next block; 0: the usual */
    uint64_t unreadable;     /* entries that could not be read */
    struct read_block block;
    struct content_ref chunk; /* pinned: was restored for it; unset: none */
    struct entry_look look;   /* the run of entries that is being read */
    uint64_t look_first;
    uint8_t *look_octets; /* owned */
    struct timer retry;
};

/* Life ----------------------------------------------------------------------------------------- */

struct desk_walk *
desk_walk_new(struct core *core, struct queue *queue, uint32_t places, bool brings_contents,
              const struct desk_cursor *from, const struct desk_positions *only,
              void (*wake)(void *context), void *context)
{
    struct desk_walk *walk = try_alloc(sizeof(*walk));
    if (walk == NULL) {
        return NULL;
    }
    *walk = (struct desk_walk){
        .core = core,
        .brings_contents = brings_contents,
        .wake = wake,
        .context = context,
    };
    if (desk_rows_init(&walk->rows, core, queue, places) != STATUS_OK) {
        free(walk);
        return NULL;
    }
    if (from != NULL) {
        walk->cursor = *from;
    }
    if (only != NULL) {
        walk->rows.only = *only;
    }
    return walk;
}

static void
give_back_block(struct desk_walk *walk)
{
    struct read_block *block = &walk->block;
    if (block->octets == NULL) {
        return;
    }
    list_remove(&walk->link);
    chunk_pool_take_back_block(walk->core->pool, block->octets, block->size);
    walk->core->paging->window_octets -= block->size;
    paging_wake_waiting(walk->core->paging);
    block->octets = NULL;
    block->count = 0;
}

static void
release_chunk(struct desk_walk *walk)
{
    if (content_ref_is_set(walk->chunk)) {
        chunk_pool_release(walk->core->pool, walk->chunk);
        walk->chunk = (struct content_ref){0};
    }
}

void
desk_walk_free(struct desk_walk **walk_pointer)
{
    struct desk_walk *walk = *walk_pointer;
    if (walk == NULL) {
        return;
    }
    *walk_pointer = NULL;
    assert(!walk->is_reading);
    timer_cancel(&walk->core->timers, &walk->retry);
    give_back_block(walk);
    release_chunk(walk);
    free(walk->look_octets);
    desk_rows_fini(&walk->rows);
    free(walk);
}

void
desk_walk_let_go(struct desk_walk *walk)
{
    give_back_block(walk);
    release_chunk(walk);
}

bool
desk_walk_give_way(struct paging *paging)
{
    struct list_link *link = list_first(&paging->walks);
    if (link == NULL) {
        return false;
    }
    give_back_block(CONTAINER_OF(link, struct desk_walk, link));
    return true;
}

bool
desk_walk_is_reading(const struct desk_walk *walk)
{
    return walk->is_reading;
}

struct desk_cursor
desk_walk_cursor(const struct desk_walk *walk)
{
    return walk->cursor;
}

uint64_t
desk_walk_unreadable(const struct desk_walk *walk)
{
    return walk->unreadable;
}

/* Waiting -------------------------------------------------------------------------------------- */

static void
on_retry(struct timer *timer, void *context)
{
    struct desk_walk *walk = CONTAINER_OF(timer, struct desk_walk, retry);
    (void)context;
    walk->wake(walk->context);
}

static void
try_again_later(struct desk_walk *walk)
{
    struct core *core = walk->core;
    timer_arm(&core->timers, &walk->retry, core->now.monotonic_ms + DESK_RETRY_MS, on_retry, NULL);
}

static void
end_reading(struct desk_walk *walk, struct paging_job *job)
{
    struct paging *paging = walk->core->paging;
    walk->is_reading = false;
    paging_job_free(&job);
    paging_wake_waiting(paging);
    walk->wake(walk->context);
}

/* Where room is short, the block that the walk has itself goes as well: else it might wait for that
 * for ever, and everybody else with it. */
static bool
may_read(struct desk_walk *walk)
{
    struct paging *paging = walk->core->paging;
    if (paging == NULL || !paging_is_open(paging)) {
        return false;
    }
    if (!paging_make_room(paging, FETCH_WINDOW)) {
        give_back_block(walk);
    }
    return paging_make_room(paging, FETCH_WINDOW);
}

/* Contents that are in the log ----------------------------------------------------------------- */

struct wanted_content {
    uint64_t lsn;
    uint32_t size;
};

static int
compare_wanted(const void *left, const void *right)
{
    const struct wanted_content *a = left;
    const struct wanted_content *b = right;
    return (a->lsn > b->lsn) - (a->lsn < b->lsn);
}

/* The row's own, and those of the rows behind it that are in the log only, as far as a window holds
 * them; in the order of the log. */
static uint32_t
choose(struct desk_walk *walk, const struct desk_looker *looker, const struct desk_row *first,
       struct desk_cursor cursor, struct wanted_content chosen[static FETCH_ENTRIES_MAX])
{
    const struct core *core = walk->core;
    uint64_t octets = paging_expected_octets(&first->entry);
    uint32_t count = 1;
    chosen[0] = (struct wanted_content){queue_entry_lsn(&first->entry), first->entry.size};
    for (uint32_t i = 0; i < FETCH_ENTRIES_MAX && count < FETCH_ENTRIES_MAX && !walk->is_alone;
         i++) {
        struct desk_row row;
        enum desk_next next = desk_rows_next(&walk->rows, &cursor, &row);
        if (next == DESK_NEXT_SPILLED || next == DESK_NEXT_END) {
            break;
        }
        if (next == DESK_NEXT_PASSED || !looker->is_meant(looker->context, &row) ||
            chunk_pool_place(core->pool, row.entry.content) != CONTENT_IN_LOG) {
            continue;
        }
        octets += paging_expected_octets(&row.entry);
        if (octets > FETCH_WINDOW) {
            break;
        }
        chosen[count++] = (struct wanted_content){queue_entry_lsn(&row.entry), row.entry.size};
    }
    qsort(chosen, count, sizeof(*chosen), compare_wanted);
    return count;
}

static void
fetch(struct desk_walk *walk, const struct desk_looker *looker, const struct desk_row *row,
      const struct desk_cursor *behind)
{
    struct paging *paging = walk->core->paging;
    give_back_block(walk);
    if (!may_read(walk)) {
        try_again_later(walk);
        return;
    }
    uint32_t usual = walk->block_size == 0 ? FETCH_WINDOW : walk->block_size;
    uint32_t block_size = paging_block_size(usual, &row->entry);
    walk->is_alone = walk->is_alone || block_size > FETCH_WINDOW;
    struct wanted_content chosen[FETCH_ENTRIES_MAX];
    uint32_t count = choose(walk, looker, row, *behind, chosen);
    struct paging_job *job = paging_job_new(paging, TASK_FETCH, walk->rows.queue);
    job->desk = walk;
    for (uint32_t i = 0; i < count; i++) {
        if (i == 0 || chosen[i].lsn != chosen[i - 1].lsn) {
            job->fetch.lsns[job->fetch.count] = chosen[i].lsn;
            job->fetch.sizes[job->fetch.count++] = chosen[i].size;
        }
    }
    walk->wanted_lsn = queue_entry_lsn(&row->entry);
    walk->is_reading = true;
    if (!paging_submit_fetch(paging, job, block_size)) {
        walk->is_reading = false;
        try_again_later(walk);
    }
}

/* Nothing came: the block was too small, or the content with the lowest LSN cannot be had. If that
 * is not the one that is wanted, that is asked for alone. */
static void
on_nothing(struct desk_walk *walk, const struct paging_job *job)
{
    walk->is_alone = true;
    if (job->io.status == STATUS_OK && job->fetch.block_size < UINT32_MAX / 4) {
        walk->block_size = job->fetch.block_size * 2;
    } else if (job->io.status != STATUS_NO_MEMORY && job->fetch.lsns[0] == walk->wanted_lsn) {
        walk->unreadable_lsn = walk->wanted_lsn;
    }
}

static bool
block_has(const struct read_block *block, uint64_t lsn, uint32_t *at_out)
{
    uint32_t low = 0;
    uint32_t high = block->count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (block->lsns[middle] < lsn) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    *at_out = low;
    return low < block->count && block->lsns[low] == lsn;
}

void
desk_walk_end_fetch(struct core *core, struct paging_job *job)
{
    struct desk_walk *walk = job->desk;
    struct read_block *block = &walk->block;
    const struct io_fetch *fetched = &job->fetch;
    uint32_t at;
    (void)core;
    block->octets = fetched->block;
    block->size = fetched->block_size;
    block->count = fetched->fetched_count;
    memcpy(block->lsns, fetched->lsns, block->count * sizeof(*block->lsns));
    memcpy(block->offsets, fetched->offsets, block->count * sizeof(*block->offsets));
    if (block->count == 0) {
        on_nothing(walk, job);
        give_back_block(walk);
    } else {
        walk->block_size = 0;
        walk->is_alone = !block_has(block, walk->wanted_lsn, &at);
    }
    end_reading(walk, job);
}

/* Contents in a spill file --------------------------------------------------------------------- */

static void
restore(struct desk_walk *walk, struct content_ref content)
{
    struct paging *paging = walk->core->paging;
    release_chunk(walk);
    if (!may_read(walk)) {
        try_again_later(walk);
        return;
    }
    struct paging_job *job = paging_job_new(paging, TASK_RESTORE, walk->rows.queue);
    job->desk = walk;
    walk->is_reading = true;
    if (!paging_submit_restore(paging, job, content)) {
        walk->is_reading = false;
        try_again_later(walk);
    }
}

void
desk_walk_end_restore(struct core *core, struct paging_job *job)
{
    struct desk_walk *walk = job->desk;
    walk->chunk = paging_take_restored(core->paging, job);
    end_reading(walk, job);
}

/* Entries in a spill file ---------------------------------------------------------------------- */

static void
read_run(struct desk_walk *walk)
{
    struct paging *paging = walk->core->paging;
    if (!may_read(walk)) {
        try_again_later(walk);
        return;
    }
    walk->look_first = desk_rows_find_run(&walk->rows, &walk->cursor, &walk->look);
    walk->look_octets = try_alloc(walk->look.size);
    if (walk->look_octets == NULL) {
        try_again_later(walk);
        return;
    }
    struct paging_job *job = paging_job_new(paging, TASK_LOOK_AT_ENTRIES, walk->rows.queue);
    job->desk = walk;
    job->spill = (struct io_spill){
        .number = spill_place_file(walk->look.place),
        .offset = spill_place_offset(walk->look.place),
        .octets = walk->look_octets,
        .size = walk->look.size,
        .crc = walk->look.crc,
    };
    walk->is_reading = true;
    paging_submit(paging, job);
}

/* Whether the cursor still stands at entries that are in the same place of a file. */
static bool
is_still_there(struct desk_walk *walk)
{
    struct desk_cursor cursor = walk->cursor;
    struct desk_row row;
    struct entry_look look;
    desk_rows_begin_slice(&walk->rows);
    if (desk_rows_next(&walk->rows, &cursor, &row) != DESK_NEXT_SPILLED) {
        return false;
    }
    (void)desk_rows_find_run(&walk->rows, &cursor, &look);
    return look.place == walk->look.place;
}

/* A place in a file may have been given up, and used again, while it was read: then it is looked
 * for anew. */
void
desk_walk_end_look(struct core *core, struct paging_job *job)
{
    struct desk_walk *walk = job->desk;
    bool is_read = job->io.status == STATUS_OK;
    if (is_read) {
        desk_rows_take_run(&walk->rows, &walk->look, walk->look_first, walk->look_octets);
    } else {
        free(walk->look_octets);
        if (is_still_there(walk)) {
            paging_log_spill_failure(core->paging, job, "entries.unreadable");
            uint64_t end = walk->look_first + walk->look.count;
            walk->unreadable += end - walk->cursor.first;
            walk->cursor.first = end;
        }
    }
    walk->look_octets = NULL;
    end_reading(walk, job);
}

/* Walking -------------------------------------------------------------------------------------- */

static bool
take_from_block(const struct desk_walk *walk, struct desk_row *row)
{
    uint32_t at;
    const struct read_block *block = &walk->block;
    if (!block_has(block, queue_entry_lsn(&row->entry), &at)) {
        return false;
    }
    row->content = (const struct content *)(const void *)(block->octets + block->offsets[at]);
    return true;
}

/* False: it has to be read first, or cannot be now. */
static bool
bring(struct desk_walk *walk, const struct desk_looker *looker, struct desk_row *row,
      const struct desk_cursor *behind)
{
    const struct chunk_pool *pool = walk->core->pool;
    switch (chunk_pool_place(pool, row->entry.content)) {
    case CONTENT_IN_MEMORY:
        row->content = chunk_pool_content(pool, row->entry.content);
        return true;
    case CONTENT_IN_LOG:
        row->is_unreadable = queue_entry_lsn(&row->entry) == walk->unreadable_lsn;
        if (row->is_unreadable || take_from_block(walk, row)) {
            return true;
        }
        fetch(walk, looker, row, behind);
        return false;
    case CONTENT_SPILLED:
        restore(walk, row->entry.content);
        return false;
    case CONTENT_COMING:
        try_again_later(walk);
        return false;
    case CONTENT_LOST:
        break;
    }
    row->is_unreadable = true;
    return true;
}

/* What a row makes of the slice: DESK_STEP_MORE is to go on. */
static enum desk_step
look_at(struct desk_walk *walk, const struct desk_looker *looker, struct desk_row *row,
        const struct desk_cursor *behind)
{
    if (walk->brings_contents && !bring(walk, looker, row, behind)) {
        return DESK_STEP_WAITS;
    }
    enum desk_answer answer = looker->look(looker->context, row);
    if (answer == DESK_LATER) {
        return DESK_STEP_LATER;
    }
    walk->cursor = *behind;
    return answer == DESK_ENOUGH ? DESK_STEP_ENOUGH : DESK_STEP_MORE;
}

/* One place. */
static enum desk_step
step(struct desk_walk *walk, const struct desk_looker *looker, uint32_t *contents_left)
{
    struct desk_row row;
    struct desk_cursor cursor = walk->cursor;
    switch (desk_rows_next(&walk->rows, &cursor, &row)) {
    case DESK_NEXT_ROW:
        if (looker->is_meant(looker->context, &row)) {
            *contents_left -= 1;
            return look_at(walk, looker, &row, &cursor);
        }
        break;
    case DESK_NEXT_PASSED:
        break;
    case DESK_NEXT_SPILLED:
        walk->cursor = cursor;
        read_run(walk);
        return DESK_STEP_WAITS;
    case DESK_NEXT_END:
        walk->cursor = cursor;
        return DESK_STEP_END;
    }
    walk->cursor = cursor;
    return DESK_STEP_MORE;
}

/* Moves on to the next row that is meant, as far as that is to be seen without reading: where there
 * is none the walk stands at its end, and nobody asks for a page that is empty. */
static void
pass_by(struct desk_walk *walk, const struct desk_looker *looker)
{
    struct desk_row row;
    for (uint32_t i = 0; i < DESK_ROWS_PER_TICK; i++) {
        struct desk_cursor cursor = walk->cursor;
        enum desk_next next = desk_rows_next(&walk->rows, &cursor, &row);
        bool is_meant = next == DESK_NEXT_ROW && looker->is_meant(looker->context, &row);
        if (is_meant || next == DESK_NEXT_SPILLED) {
            break;
        }
        walk->cursor = cursor;
        if (next == DESK_NEXT_END) {
            break;
        }
    }
}

enum desk_step
desk_walk_step(struct desk_walk *walk, const struct desk_looker *looker)
{
    assert(!walk->is_reading);
    timer_cancel(&walk->core->timers, &walk->retry);
    list_remove(&walk->link);
    desk_rows_begin_slice(&walk->rows);
    enum desk_step result = DESK_STEP_MORE;
    uint32_t contents_left = DESK_CONTENTS_PER_TICK;
    for (uint32_t i = 0; i < DESK_ROWS_PER_TICK && contents_left > 0 && result == DESK_STEP_MORE;
         i++) {
        result = step(walk, looker, &contents_left);
    }
    if (result == DESK_STEP_ENOUGH) {
        pass_by(walk, looker);
    }
    if (walk->block.octets != NULL) {
        list_append(&walk->core->paging->walks, &walk->link);
    }
    return result;
}
