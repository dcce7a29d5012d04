/* SPDX-License-Identifier: Apache-2.0 */
/* Which rows are left, and the last state of each. A removal always stands behind the row that it
 * ends, so the segments are walked from the newest to the oldest: what is still to be removed from
 * a segment is known in full when the walk comes to it, and only removals of segments not yet seen
 * are in memory. What later segments say of the state of a row stays there until the row is handed
 * over. */
#include "store/recovery_work.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "store/fold.h"
#include "store/little_endian.h"
#include "store/space.h"

/* The removals of one segment that speak of one older segment. */
struct removal_run {
    uint64_t source_end; /* LSN behind the segment that holds them */
    uint64_t first;      /* number of the first among those collected */
};

/* What is to be removed from one segment, and what is said of the state of its rows. */
struct removal_list {
    struct index_removal *removals; /* owned */
    uint64_t count, capacity;
    struct removal_run *runs; /* owned */
    uint32_t run_count, run_capacity;
    struct index_state *states; /* owned */
    uint64_t state_count, state_capacity;
    struct row_attempts_list attempts; /* of the states */
};

/* Collecting ----------------------------------------------------------------------------------- */

static enum status
add_run(struct removal_list *list, uint64_t source_end)
{
    if (list->run_count > 0 && list->runs[list->run_count - 1].source_end == source_end) {
        return STATUS_OK;
    }
    if (list->run_count == list->run_capacity) {
        uint32_t capacity = list->run_capacity == 0 ? 8 : list->run_capacity * 2;
        struct removal_run *runs = try_realloc(list->runs, capacity * sizeof(*runs));
        if (runs == NULL) {
            return STATUS_NO_MEMORY;
        }
        list->runs = runs;
        list->run_capacity = capacity;
    }
    list->runs[list->run_count++] =
        (struct removal_run){.source_end = source_end, .first = list->count};
    return STATUS_OK;
}

static enum status
add_removal(struct removal_list *list, const struct index_removal *removal, uint64_t source_end)
{
    enum status status = add_run(list, source_end);
    if (status != STATUS_OK) {
        return status;
    }
    if (list->count == list->capacity) {
        uint64_t capacity = list->capacity == 0 ? 256 : list->capacity * 2;
        struct index_removal *removals = try_realloc(list->removals, capacity * sizeof(*removals));
        if (removals == NULL) {
            return STATUS_NO_MEMORY;
        }
        list->removals = removals;
        list->capacity = capacity;
    }
    list->removals[list->count++] = *removal;
    return STATUS_OK;
}

/* With its attempts, where they are not NULL. */
static enum status
add_state(struct removal_list *list, const struct index_state *state,
          const struct row_attempts *attempts)
{
    if (list->state_count == list->state_capacity) {
        uint64_t capacity = list->state_capacity == 0 ? 64 : list->state_capacity * 2;
        struct index_state *states = try_realloc(list->states, capacity * sizeof(*states));
        if (states == NULL) {
            return STATUS_NO_MEMORY;
        }
        list->states = states;
        list->state_capacity = capacity;
    }
    uint32_t number = 0;
    if (attempts != NULL) {
        if (row_attempts_list_reserve(&list->attempts, 1) != STATUS_OK) {
            return STATUS_NO_MEMORY;
        }
        number = row_attempts_list_add(&list->attempts, attempts);
    }
    struct index_state *added = &list->states[list->state_count++];
    *added = *state;
    added->attempts = number;
    return STATUS_OK;
}

static void
free_list(struct removal_list *list)
{
    free(list->removals);
    free(list->runs);
    free(list->states);
    row_attempts_list_fini(&list->attempts);
    *list = (struct removal_list){0};
}

static bool
holds(const struct found_segment *segment, uint64_t lsn)
{
    return lsn >= segment->header.base_lsn && lsn < segment->end_lsn;
}

/* The segment below `count` that holds an LSN; `count` when there is none any more. */
static uint32_t
find_segment(const struct recovery_work *work, uint32_t count, uint64_t lsn)
{
    uint32_t low = 0;
    uint32_t high = count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (work->segments[middle].header.base_lsn <= lsn) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low > 0 && holds(&work->segments[low - 1], lsn) ? low - 1 : count;
}

/* Gives the removals of segment `at` to the older segments that they speak of. */
static enum status
distribute(struct recovery_work *work, struct removal_list *lists, uint32_t at)
{
    const struct found_segment *segment = &work->segments[at];
    const struct segment_index *index = &segment->index;
    uint32_t target = at;
    for (uint64_t i = 0; i < index->removal_count; i++) {
        const struct index_removal *removal = &index->removals[i];
        if (target == at || !holds(&work->segments[target], removal->lsn)) {
            target = find_segment(work, at, removal->lsn);
        }
        if (target == at || work->segments[target].is_surplus) {
            continue;
        }
        enum status status = add_removal(&lists[target], removal, segment->end_lsn);
        if (status != STATUS_OK) {
            return recovery_refuse(work, status, "too little memory for what was acknowledged");
        }
    }
    return STATUS_OK;
}

/* The same with what it says of the state of older rows. */
static enum status
distribute_states(struct recovery_work *work, struct removal_list *lists, uint32_t at)
{
    const struct segment_index *index = &work->segments[at].index;
    uint32_t target = at;
    for (uint64_t i = 0; i < index->state_count && index->states[i].lsn < index->base_lsn; i++) {
        const struct index_state *state = &index->states[i];
        if (target == at || !holds(&work->segments[target], state->lsn)) {
            target = find_segment(work, at, state->lsn);
        }
        if (target == at || work->segments[target].is_surplus) {
            continue;
        }
        enum status status = add_state(&lists[target], state,
                                       row_attempts_list_at(&index->attempts, state->attempts));
        if (status != STATUS_OK) {
            return recovery_refuse(work, status, "too little memory for states of messages");
        }
    }
    return STATUS_OK;
}

/* Applying ------------------------------------------------------------------------------------- */

/* Space asks by segment, so any place in the last batch's reach names the segment of a removal. */
static void
note_needed(struct recovery_work *work, uint64_t lsn, uint64_t source_end)
{
    struct recovery *result = work->result;
    if ((result->removal_count & (result->removal_count - 1)) == 0) {
        size_t capacity = result->removal_count == 0 ? 1 : (size_t)result->removal_count * 2;
        result->removals = xrealloc(result->removals, capacity * sizeof(*result->removals));
    }
    result->removals[result->removal_count++] =
        (struct recovered_removal){.lsn = lsn, .batch_lsn = source_end - BATCH_ALIGNMENT};
}

static void
apply_list(struct recovery_work *work, struct found_segment *segment, struct dead_rows *dead,
           const struct removal_list *list)
{
    const struct segment_index *index = &segment->index;
    uint64_t cursor = 0;
    for (uint32_t run = 0; run < list->run_count; run++) {
        uint64_t end = run + 1 < list->run_count ? list->runs[run + 1].first : list->count;
        uint64_t needed = 0;
        for (uint64_t i = list->runs[run].first; i < end; i++) {
            const struct index_removal *removal = &list->removals[i];
            uint64_t at = index_find_row(index->rows, index->row_count, removal->lsn,
                                         removal->queue, &cursor);
            if (at < index->row_count) {
                dead_bit_set(dead->bits, at);
                needed = removal->lsn;
            }
        }
        if (needed != 0 && list->runs[run].source_end > dead->folded_lsn) {
            note_needed(work, needed, list->runs[run].source_end);
        }
    }
}

static bool
has_dead_file(const struct recovery_work *work, uint64_t number)
{
    for (uint32_t i = 0; i < work->dead_count; i++) {
        if (work->dead_files[i] == number) {
            return true;
        }
    }
    return false;
}

/* What was folded into a dead file that is lost cannot be found again where the segments that said
 * so are gone: such messages come back, but not as if nobody had seen them. One that cannot be read
 * this time is not lost. */
static enum status
read_dead(struct recovery_work *work, struct found_segment *segment, struct dead_rows *dead)
{
    uint64_t number = segment->header.number;
    enum status status = STATUS_CORRUPT;
    if (has_dead_file(work, number)) {
        status = dead_rows_read(dead, work->disk, &segment->index);
        if (status != STATUS_CORRUPT && status != STATUS_AGAIN) {
            return status;
        }
        /* What a segment's file said, the pack that took its place has left out. */
        segment->is_distrusted = status != STATUS_AGAIN || !segment->is_pack;
        if (segment->is_distrusted) {
            log_warn(work->log, "store.dead_file_lost", "file=seg.%016" PRIx64 ".dead", number);
        }
    }
    return dead_rows_init(dead, &segment->index);
}

/* Keeps the last of what was said of each row that lives. */
static void
take_states(struct found_segment *segment, struct removal_list *list)
{
    const struct segment_index *index = &segment->index;
    uint64_t count = index_states_order(list->states, list->state_count);
    uint64_t cursor = 0;
    for (uint64_t i = 0; i < count; i++) {
        const struct index_state *state = &list->states[i];
        uint64_t at =
            index_find_row(index->rows, index->row_count, state->lsn, state->queue, &cursor);
        if (at < index->row_count && !dead_bit(segment->dead, at)) {
            list->states[segment->newer_count++] = *state;
        }
    }
    segment->newer = list->states;
    list->states = NULL;
    segment->newer_attempts = list->attempts;
    list->attempts = (struct row_attempts_list){0};
}

static enum status
mark_segment(struct recovery_work *work, struct found_segment *segment, struct removal_list *list)
{
    struct dead_rows dead;
    enum status status = read_dead(work, segment, &dead);
    if (status == STATUS_IO) {
        return recovery_refuse(work, status, "%s.dead cannot be read", segment->name);
    }
    if (status != STATUS_OK) {
        return recovery_refuse(work, status, "too little memory for %s", segment->name);
    }
    apply_list(work, segment, &dead, list);
    segment->dead = dead.bits;
    segment->dead_count = dead.row_count;
    take_states(segment, list);
    free_list(list);
    return STATUS_OK;
}

/* Of the index only the rows are needed again. */
static void
take_what_is_left(struct found_segment *segment)
{
    struct segment_index *index = &segment->index;
    segment->topology_lsn = index->topology_lsn;
    segment->records = index->records;
    index->records = (struct buffer){0};
    free(index->removals);
    index->removals = NULL;
    index->removal_count = 0;
}

static enum status
walk_back(struct recovery_work *work, struct removal_list *lists)
{
    for (uint32_t left = work->segment_count; left > 0; left--) {
        struct found_segment *segment = &work->segments[left - 1];
        if (segment->is_surplus) {
            continue;
        }
        enum status status = log_end_load_index(work, segment);
        if (status == STATUS_OK) {
            status = distribute(work, lists, left - 1);
        }
        if (status == STATUS_OK) {
            status = distribute_states(work, lists, left - 1);
        }
        if (status == STATUS_OK) {
            status = mark_segment(work, segment, &lists[left - 1]);
        }
        if (status != STATUS_OK) {
            return status;
        }
        take_what_is_left(segment);
        log_end_release_index(work, segment);
    }
    return STATUS_OK;
}

enum status
live_rows_find(struct recovery_work *work)
{
    struct removal_list *lists = xalloc(((size_t)work->segment_count + 1) * sizeof(*lists));
    enum status status = walk_back(work, lists);
    for (uint32_t i = 0; i < work->segment_count; i++) {
        free_list(&lists[i]);
    }
    free(lists);
    return status;
}

/* Handing over --------------------------------------------------------------------------------- */

struct known_queues {
    uint64_t *ids;      /* rising; owned */
    uint64_t *handouts; /* owned */
    uint32_t count;
    uint32_t latest; /* the one that was asked for last */
};

static bool
find_queue(struct known_queues *queues, uint64_t id)
{
    if (queues->latest < queues->count && queues->ids[queues->latest] == id) {
        return true;
    }
    uint32_t low = 0;
    uint32_t high = queues->count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (queues->ids[middle] < id) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    queues->latest = low;
    return low < queues->count && queues->ids[low] == id;
}

/* States in the order of the rows that they are looked up for. */
struct state_cursor {
    const struct index_state *states;
    uint64_t count, at;
    const struct row_attempts_list *attempts;
};

static const struct index_state *
state_of_row(struct state_cursor *cursor, const struct index_row *row)
{
    uint64_t queue = row->queue & ~RECORD_QUEUE_HANDED_OUT;
    int order = -1;
    while (cursor->at < cursor->count &&
           (order = index_state_compare(&cursor->states[cursor->at], row->lsn, queue)) < 0) {
        cursor->at++;
    }
    return cursor->at < cursor->count && order == 0 ? &cursor->states[cursor->at] : NULL;
}

/* What is known of the rows of the segment that is handed over: said in it, and later. */
struct known_states {
    struct state_cursor own, newer;
};

/* NULL: there is none. */
static const struct index_state *
last_state(struct known_states *states, const struct index_row *row,
           const struct row_attempts **attempts_out)
{
    const struct index_state *own = state_of_row(&states->own, row);
    const struct index_state *newer = state_of_row(&states->newer, row);
    const struct index_state *last = newer != NULL ? newer : own;
    const struct row_attempts_list *attempts =
        newer != NULL ? states->newer.attempts : states->own.attempts;
    *attempts_out = last == NULL ? NULL : row_attempts_list_at(attempts, last->attempts);
    return last;
}

/* A state that was returned is a live entry of the segment that its record stands in. */
static void
take_state(struct recovery_work *work, struct found_segment *segment,
           const struct index_state *state, struct recovered_row *row)
{
    row->state = state->state;
    row->arrival_ms = state->state.arrival_ms != 0 ? state->state.arrival_ms : row->arrival_ms;
    if (state->came_with_message) {
        return;
    }
    row->state_lsn = state->place;
    struct found_segment *holder = segment;
    if (!holds(segment, state->place)) {
        uint32_t at = find_segment(work, work->segment_count, state->place);
        assert(at < work->segment_count);
        holder = &work->segments[at];
    }
    holder->live_count++;
    holder->live_octets += SPACE_STATE_OCTETS;
}

static enum status
emit_row(struct recovery_work *work, struct found_segment *segment, const struct index_row *row,
         struct known_states *states, struct known_queues *queues)
{
    uint64_t id = row->queue & ~RECORD_QUEUE_HANDED_OUT;
    topology_fold_see_id(&work->topology, id);
    if (!find_queue(queues, id)) {
        return STATUS_OK;
    }
    struct recovered_row recovered = {
        .lsn = row->lsn,
        .queue = id,
        .body_size = row->body_size,
        .content_size = row->content_size,
        .arrival_ms = row->arrival_ms >> 63 == 0 ? row->arrival_ms : 0,
        .was_handed_out = segment->is_distrusted || (row->queue & RECORD_QUEUE_HANDED_OUT) != 0 ||
                          row->lsn <= queues->handouts[queues->latest],
    };
    const struct row_attempts *attempts;
    const struct index_state *state = last_state(states, row, &attempts);
    if (state != NULL) {
        take_state(work, segment, state, &recovered);
    }
    if (attempts != NULL) {
        recovered.attempts = *attempts;
    }
    segment->live_count++;
    segment->live_octets += space_row_octets(row->body_size);
    index_runs_add(&segment->runs, row);
    work->result->row_count++;
    return work->sink->row(work->sink->context, &recovered);
}

static enum status
emit_segment(struct recovery_work *work, struct found_segment *segment, struct known_queues *queues)
{
    enum status status = log_end_load_index(work, segment);
    if (status != STATUS_OK) {
        return status;
    }
    const struct segment_index *index = &segment->index;
    if (index->row_count != segment->dead_count) {
        return recovery_refuse(work, STATUS_CORRUPT, "%s.idx changed while it was read",
                               segment->name);
    }
    struct known_states states = {
        .own = {.states = index->states, .count = index->state_count, .attempts = &index->attempts},
        .newer = {.states = segment->newer,
                  .count = segment->newer_count,
                  .attempts = &segment->newer_attempts},
    };
    for (uint64_t i = 0; i < index->row_count && status == STATUS_OK; i++) {
        if (!dead_bit(segment->dead, i)) {
            status = emit_row(work, segment, &index->rows[i], &states, queues);
        }
    }
    log_end_release_index(work, segment);
    return status;
}

static enum status
load_queues(struct recovery_work *work, struct known_queues *queues)
{
    enum status status = topology_fold_queues(&work->topology, &queues->ids, &queues->count);
    if (status == STATUS_OK && queues->count > 0) {
        queues->handouts = try_alloc(queues->count * sizeof(*queues->handouts));
        status = queues->handouts == NULL ? STATUS_NO_MEMORY : STATUS_OK;
    }
    if (status != STATUS_OK) {
        return recovery_refuse(work, status, "too little memory for the queues");
    }
    for (uint32_t i = 0; i < queues->count; i++) {
        queues->handouts[i] = topology_fold_handout(&work->topology, queues->ids[i]);
    }
    return STATUS_OK;
}

enum status
live_rows_emit(struct recovery_work *work)
{
    struct known_queues queues = {0};
    enum status status = load_queues(work, &queues);
    for (uint32_t i = 0; i < work->segment_count && status == STATUS_OK; i++) {
        if (!work->segments[i].is_surplus) {
            status = emit_segment(work, &work->segments[i], &queues);
        }
    }
    free(queues.ids);
    free(queues.handouts);
    return status;
}
