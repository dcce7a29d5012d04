/* SPDX-License-Identifier: Apache-2.0 */
/* What to do next about the segments, from what is counted of them. */
#include "store/space_account.h"

enum {
    PACK_MIN = 2, /* segments that are worth packing together */
    SORT_RUN = 64 * 1024,
    SORT_ROWS = 512 * 1024, /* that are held in memory meanwhile: about 120 octets each at most */
};

static bool
is_wasted(const struct space *space)
{
    return space->used_octets - space->live_octets > space->used_octets / WASTED_SHARE;
}

/* No row lives, and that is certain. */
static bool
is_dead(const struct space_segment *segment, uint64_t commit_lsn)
{
    return segment->is_indexed && segment->live_entries == 0 && segment->dead_lsn < commit_lsn;
}

static bool
needs_snapshot(const struct space *space, const struct space_segment *segment)
{
    return segment->topology_lsn != 0 && segment->topology_lsn >= space->snapshot_lsn;
}

/* Whether the segments around it are gone or have their indexes. */
static bool
neighbours_are_indexed(const struct space *space, uint32_t position)
{
    const struct space_segment *segment = space->segments[position];
    if (position + 1 == space->segment_count) {
        return false;
    }
    const struct space_segment *next = space->segments[position + 1];
    if (next->number == segment->last + 1 && !next->is_indexed) {
        return false;
    }
    if (position == 0) {
        return true;
    }
    const struct space_segment *previous = space->segments[position - 1];
    return previous->last + 1 != segment->number || previous->is_indexed;
}

static bool
find_retire(const struct space *space, uint64_t commit_lsn, struct space_job *job)
{
    for (uint32_t i = 0; i < space->segment_count; i++) {
        const struct space_segment *segment = space->segments[i];
        if (is_dead(segment, commit_lsn) && segment->debt_count == 0 &&
            !needs_snapshot(space, segment) && neighbours_are_indexed(space, i)) {
            *job = (struct space_job){
                .work = SPACE_RETIRE,
                .number = segment->number,
                .last = segment->last,
                .capacity = segment->capacity,
                .is_pack = segment->last != segment->number,
            };
            return true;
        }
    }
    return false;
}

/* Where the first segment begins that has no index; 0: below nothing. */
static uint64_t
indexed_lsn(const struct space *space)
{
    for (uint32_t i = 0; i < space->segment_count; i++) {
        if (!space->segments[i]->is_indexed) {
            return space->segments[i]->base_lsn;
        }
    }
    return 0;
}

/* Whether a snapshot would let the segment go, now or behind others. */
static bool
would_go(const struct space *space, const struct space_segment *segment, uint64_t commit_lsn)
{
    if (!is_dead(segment, commit_lsn)) {
        return false;
    }
    for (uint32_t i = 0; i < segment->debt_count; i++) {
        if (!space_segment_of_number(space, segment->debts[i].number)->would_go) {
            return false;
        }
    }
    return true;
}

static bool
find_snapshot(const struct space *space, uint64_t commit_lsn, uint64_t lsn, struct space_job *job)
{
    uint64_t waiting = 0;
    for (uint32_t i = 0; i < space->segment_count; i++) {
        struct space_segment *segment = space->segments[i];
        segment->would_go = segment->base_lsn < lsn && would_go(space, segment, commit_lsn);
        if (segment->would_go && (needs_snapshot(space, segment) || segment->debt_count > 0)) {
            waiting += segment->capacity;
        }
    }
    if (waiting <= space->settings.snapshot_octets) {
        return false;
    }
    *job = (struct space_job){.work = SPACE_SNAPSHOT, .lsn = lsn};
    return true;
}

/* The first live segment of which removals in `segment` speak; NULL: none is to be folded. */
static const struct space_segment *
live_creditor(const struct space *space, const struct space_segment *segment, uint64_t lsn)
{
    for (uint32_t i = 0; i < segment->debt_count; i++) {
        const struct space_segment *creditor =
            space_segment_of_number(space, segment->debts[i].number);
        if (creditor->live_entries > 0 && creditor->is_indexed &&
            segment->debts[i].batch_lsn < lsn) {
            return creditor;
        }
    }
    return NULL;
}

/* Folds for the sake of a dead segment. Live segments that it speaks of would otherwise keep it. */
static bool
find_fold(const struct space *space, uint64_t commit_lsn, uint64_t lsn, struct space_job *job)
{
    for (uint32_t i = 0; i < space->segment_count; i++) {
        const struct space_segment *segment = space->segments[i];
        const struct space_segment *creditor =
            is_dead(segment, commit_lsn) ? live_creditor(space, segment, lsn) : NULL;
        if (creditor != NULL) {
            *job = (struct space_job){.work = SPACE_FOLD, .number = creditor->number, .lsn = lsn};
            return true;
        }
    }
    return false;
}

/* A pack that was made of many segments is worth packing by itself when it has become sparse, and
 * is too much for one segment. */
static bool
is_sparse_pack(const struct space *space, uint32_t position, uint64_t lsn)
{
    const struct space_segment *segment = space->segments[position];
    return segment->last != segment->number && segment->base_lsn < lsn &&
           segment->live_entries > 0 && segment_is_sparse(segment) &&
           segment_live_share(segment) > space->settings.slot_size / WASTED_SHARE;
}

/* How many segments from `position` on are sparse, and fit one segment together. One without a live
 * row goes by itself. */
static uint32_t
count_sparse(const struct space *space, uint32_t position, uint64_t lsn)
{
    uint64_t live = 0;
    uint32_t count = 0;
    for (uint32_t i = position; i < space->segment_count; i++, count++) {
        const struct space_segment *segment = space->segments[i];
        live += segment_live_share(segment);
        if (segment->base_lsn >= lsn || segment->live_entries == 0 || !segment_is_sparse(segment) ||
            segment->epoch != space->segments[position]->epoch ||
            live > space->settings.slot_size / WASTED_SHARE) {
            break;
        }
    }
    return count;
}

/* An older segment that removals speak of, and that is not to be packed along; 0: none. */
static uint64_t
outer_creditor(const struct space_segment *segment, uint64_t first)
{
    return segment->debt_count > 0 && segment->debts[0].number < first ? segment->debts[0].number
                                                                       : 0;
}

/* What a pack keeps is rows. What else its segments hold must not be needed any more: a snapshot
 * covers the topology, older segments fold in the removals. */
static void
make_packable(const struct space *space, uint32_t position, uint32_t count, uint64_t lsn,
              struct space_job *job)
{
    *job = (struct space_job){
        .work = SPACE_PACK,
        .number = space->segments[position]->number,
        .last = space->segments[position + count - 1]->last,
        .lsn = lsn,
    };
    for (uint32_t i = position; i < position + count; i++) {
        const struct space_segment *segment = space->segments[i];
        job->octets += segment_live_share(segment);
        uint64_t creditor = outer_creditor(segment, space->segments[position]->number);
        if (creditor != 0) {
            *job = (struct space_job){.work = SPACE_FOLD, .number = creditor, .lsn = lsn};
            return;
        }
        if (needs_snapshot(space, segment)) {
            *job = (struct space_job){.work = SPACE_SNAPSHOT, .lsn = lsn};
            return;
        }
    }
}

static bool
find_pack(const struct space *space, uint64_t lsn, struct space_job *job)
{
    for (uint32_t i = 0; i < space->segment_count; i++) {
        uint32_t count = count_sparse(space, i, lsn);
        if (count >= PACK_MIN || is_sparse_pack(space, i, lsn)) {
            make_packable(space, i, count > 0 ? count : 1, lsn, job);
            return true;
        }
    }
    return false;
}

/* Whether it is old, not a pack, mostly alive, and its queues alternate. */
static bool
is_unsorted(const struct space *space, const struct space_segment *segment, uint64_t lsn)
{
    const struct space_segment *newest = space->segments[space->segment_count - 1];
    return segment->base_lsn < lsn && segment->last == segment->number &&
           segment->number + space->settings.sort_slots / 2 <= newest->number &&
           segment->run_octets < SORT_RUN && segment->live_entries > 0 &&
           !segment_is_sparse(segment);
}

/* How many segments from `position` on are to be sorted together. */
static uint32_t
count_unsorted(const struct space *space, uint32_t position, uint64_t lsn)
{
    uint64_t octets = 0;
    uint64_t rows = 0;
    uint32_t count = 0;
    for (uint32_t i = position; i < space->segment_count; i++, count++) {
        const struct space_segment *segment = space->segments[i];
        octets += segment->capacity;
        rows += segment->live_entries;
        if (!is_unsorted(space, segment, lsn) ||
            segment->epoch != space->segments[position]->epoch ||
            octets > space->settings.sort_slots * space->settings.slot_size || rows > SORT_ROWS) {
            break;
        }
    }
    return count;
}

static bool
find_sort(const struct space *space, uint64_t lsn, struct space_job *job)
{
    for (uint32_t i = 0; i < space->segment_count; i++) {
        uint32_t count = count_unsorted(space, i, lsn);
        if (count >= space->settings.sort_slots / 2) {
            make_packable(space, i, count, lsn, job);
            job->is_sort = job->work == SPACE_PACK;
            return true;
        }
    }
    return false;
}

/* From how much committed on a segment is dead that is not yet; UINT64_MAX: none is waiting. */
static uint64_t
find_wake_lsn(const struct space *space, uint64_t commit_lsn)
{
    uint64_t wake_lsn = UINT64_MAX;
    for (uint32_t i = 0; i < space->segment_count; i++) {
        const struct space_segment *segment = space->segments[i];
        if (segment->is_indexed && segment->live_entries == 0 && segment->dead_lsn >= commit_lsn &&
            segment->dead_lsn < wake_lsn) {
            wake_lsn = segment->dead_lsn;
        }
    }
    return wake_lsn;
}

struct space_job
space_next(struct space *space, uint64_t commit_lsn)
{
    struct space_job job = {.work = SPACE_NOTHING};
    bool wasted = is_wasted(space);
    if (!space->is_stale && commit_lsn <= space->wake_lsn && wasted == space->was_wasted) {
        return job;
    }
    space->is_stale = true;
    space->was_wasted = wasted;
    uint64_t lsn = indexed_lsn(space);
    if (find_retire(space, commit_lsn, &job) || find_snapshot(space, commit_lsn, lsn, &job) ||
        (wasted && find_fold(space, commit_lsn, lsn, &job)) ||
        (wasted && space->settings.may_pack && find_pack(space, lsn, &job)) ||
        (space->settings.may_pack && find_sort(space, lsn, &job))) {
        return job;
    }
    space->is_stale = false;
    space->wake_lsn = find_wake_lsn(space, commit_lsn);
    return job;
}
