/* SPDX-License-Identifier: Apache-2.0 */
#include "store/space.h"

#include "base/alloc.h"
#include "base/assert.h"
#include "store/space_account.h"

#include <stdlib.h>
#include <string.h>

enum {
    SNAPSHOT_SLOTS = 4, /* see space_settings */
    SORT_SLOTS = 8,     /* see space_settings */
};

static const uint64_t SNAPSHOT_OCTETS = UINT64_C(64) * 1024 * 1024;

struct space *
space_new(const struct space_settings *settings)
{
    struct space *space = xalloc(sizeof(*space));
    space->settings = *settings;
    if (space->settings.snapshot_octets == 0) {
        uint64_t slots = SNAPSHOT_SLOTS * settings->slot_size;
        space->settings.snapshot_octets = slots < SNAPSHOT_OCTETS ? slots : SNAPSHOT_OCTETS;
    }
    if (space->settings.sort_slots == 0) {
        space->settings.sort_slots = SORT_SLOTS;
    }
    space->is_stale = true;
    return space;
}

static void
segment_free(struct space_segment *segment)
{
    free(segment->debts);
    free(segment);
}

void
space_free(struct space **space_pointer)
{
    struct space *space = *space_pointer;
    if (space == NULL) {
        return;
    }
    *space_pointer = NULL;
    for (uint32_t i = 0; i < space->segment_count; i++) {
        segment_free(space->segments[i]);
    }
    free(space->segments);
    free(space);
}

/* Finding segments ----------------------------------------------------------------------------- */

/* The last segment whose number is at most `number`; there is one. */
static uint32_t
position_of_number(const struct space *space, uint64_t number)
{
    uint32_t low = 0;
    uint32_t high = space->segment_count;
    while (high - low > 1) {
        uint32_t middle = low + (high - low) / 2;
        if (space->segments[middle]->number <= number) {
            low = middle;
        } else {
            high = middle;
        }
    }
    return low;
}

struct space_segment *
space_segment_of_number(const struct space *space, uint64_t number)
{
    assert(space->segment_count > 0);
    struct space_segment *segment = space->segments[position_of_number(space, number)];
    assert(segment->number == number);
    return segment;
}

static bool
holds(const struct space *space, uint32_t position, uint64_t lsn)
{
    return position < space->segment_count && space->segments[position]->base_lsn <= lsn &&
           (position + 1 == space->segment_count || space->segments[position + 1]->base_lsn > lsn);
}

static uint32_t
search_lsn(const struct space *space, uint64_t lsn)
{
    uint32_t low = 0;
    uint32_t high = space->segment_count;
    while (high - low > 1) {
        uint32_t middle = low + (high - low) / 2;
        if (space->segments[middle]->base_lsn <= lsn) {
            low = middle;
        } else {
            high = middle;
        }
    }
    return low;
}

/* Adds the segments up to that of `lsn`, into which the journal has gone. The last one that
 * recovery found may have been longer than a slot is now. */
static void
follow_journal(struct space *space, uint64_t lsn)
{
    const struct space_segment *newest = space->segments[space->segment_count - 1];
    uint64_t slot_size = space->settings.slot_size;
    while (lsn - newest->base_lsn >= slot_size && lsn - newest->base_lsn >= newest->capacity) {
        space_add_segment(space, newest->last + 1, newest->last + 1, newest->epoch,
                          newest->base_lsn + slot_size, slot_size);
        newest = space->segments[space->segment_count - 1];
    }
}

/* The segment of an LSN. New messages lie in the newest one, and those that leave lie where the one
 * before did: nearly every search ends at one of these. */
static struct space_segment *
segment_of_lsn(struct space *space, uint64_t lsn)
{
    assert(space->segment_count > 0);
    if (lsn >= space->segments[space->segment_count - 1]->base_lsn) {
        follow_journal(space, lsn);
        return space->segments[space->segment_count - 1];
    }
    if (!holds(space, space->last_found, lsn)) {
        space->last_found = search_lsn(space, lsn);
        assert(holds(space, space->last_found, lsn));
    }
    return space->segments[space->last_found];
}

void
space_add_segment(struct space *space, uint64_t number, uint64_t last, uint64_t epoch,
                  uint64_t base_lsn, uint64_t capacity)
{
    assert(last >= number);
    if (space->segment_count > 0) {
        const struct space_segment *newest = space->segments[space->segment_count - 1];
        assert(number > newest->last);
        assert(base_lsn > newest->base_lsn);
    }
    if (space->segment_count == space->segment_capacity) {
        space->segment_capacity = space->segment_capacity == 0 ? 16 : 2 * space->segment_capacity;
        space->segments =
            xrealloc(space->segments, space->segment_capacity * sizeof(struct space_segment *));
    }
    struct space_segment *segment = xalloc(sizeof(*segment));
    segment->number = number;
    segment->last = last;
    segment->epoch = epoch;
    segment->base_lsn = base_lsn;
    segment->capacity = capacity;
    segment->run_octets = UINT64_MAX;
    space->segments[space->segment_count++] = segment;
    space->used_octets += capacity;
    space->is_stale = true;
}

void
space_journal_at(struct space *space, uint64_t lsn)
{
    (void)segment_of_lsn(space, lsn);
}

void
space_segment_indexed(struct space *space, uint64_t number)
{
    space_segment_of_number(space, number)->is_indexed = true;
    space->is_stale = true;
}

void
space_segment_runs(struct space *space, uint64_t number, uint64_t octets, uint64_t runs)
{
    space_segment_of_number(space, number)->run_octets = runs == 0 ? UINT64_MAX : octets / runs;
    space->is_stale = true;
}

/* Counting ------------------------------------------------------------------------------------- */

static void
set_live_octets(struct space *space, struct space_segment *segment, uint64_t octets)
{
    space->live_octets -= segment_live_share(segment);
    segment->live_octets = octets;
    space->live_octets += segment_live_share(segment);
}

void
space_add_rows(struct space *space, uint64_t lsn, uint64_t count, uint64_t octets)
{
    struct space_segment *segment = segment_of_lsn(space, lsn);
    segment->live_entries += count;
    set_live_octets(space, segment, segment->live_octets + octets);
}

static uint32_t
debt_position(const struct space_segment *segment, uint64_t number)
{
    uint32_t low = 0;
    uint32_t high = segment->debt_count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (segment->debts[middle].number < number) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

static bool
debt_is(const struct space_segment *segment, uint32_t position, uint64_t number)
{
    return position < segment->debt_count && segment->debts[position].number == number;
}

static void
insert_debt(struct space_segment *segment, uint32_t position, uint64_t number)
{
    if (segment->debt_count == segment->debt_capacity) {
        segment->debt_capacity = segment->debt_capacity == 0 ? 4 : 2 * segment->debt_capacity;
        segment->debts = xrealloc(segment->debts, segment->debt_capacity * sizeof(*segment->debts));
    }
    struct space_debt *at = segment->debts + position;
    memmove(at + 1, at, (segment->debt_count - position) * sizeof(*at));
    *at = (struct space_debt){.number = number};
    segment->debt_count++;
}

/* Removals in `segment` at `batch_lsn` speak of the segment of that number. */
static void
add_debt(struct space_segment *segment, uint64_t number, uint64_t batch_lsn)
{
    if (!debt_is(segment, segment->last_debt, number)) {
        segment->last_debt = debt_position(segment, number);
        if (!debt_is(segment, segment->last_debt, number)) {
            insert_debt(segment, segment->last_debt, number);
        }
    }
    struct space_debt *debt = &segment->debts[segment->last_debt];
    if (debt->batch_lsn < batch_lsn) {
        debt->batch_lsn = batch_lsn;
    }
}

static void
remove_debt(struct space_segment *segment, uint32_t position)
{
    struct space_debt *at = segment->debts + position;
    segment->debt_count--;
    memmove(at, at + 1, (segment->debt_count - position) * sizeof(*at));
}

/* The batch at `batch_lsn` ends an entry of the segment; 0: the last record about topology does. */
static inline void
remove_entry(struct space *space, struct space_segment *segment, uint64_t octets,
             uint64_t batch_lsn)
{
    assert(segment->live_entries > 0);
    assert(segment->live_octets >= octets);
    bool was_sparse = segment_is_sparse(segment);
    segment->live_entries--;
    set_live_octets(space, segment, segment->live_octets - octets);
    uint64_t dead_lsn = batch_lsn != 0 ? batch_lsn : space->topology_lsn;
    if (segment->dead_lsn < dead_lsn) {
        segment->dead_lsn = dead_lsn;
    }
    space->is_stale |= segment->live_entries == 0 || (segment_is_sparse(segment) && !was_sparse);
}

void
space_remove_row(struct space *space, uint64_t lsn, uint64_t octets, uint64_t batch_lsn)
{
    remove_entry(space, segment_of_lsn(space, lsn), octets, batch_lsn);
    if (batch_lsn != 0) {
        space_add_removal(space, lsn, batch_lsn);
    }
}

void
space_add_state(struct space *space, uint64_t state_lsn)
{
    space_add_rows(space, state_lsn, 1, SPACE_STATE_OCTETS);
}

void
space_remove_state(struct space *space, uint64_t state_lsn, uint64_t batch_lsn)
{
    remove_entry(space, segment_of_lsn(space, state_lsn), SPACE_STATE_OCTETS, batch_lsn);
}

void
space_add_removal(struct space *space, uint64_t lsn, uint64_t batch_lsn)
{
    const struct space_segment *segment = segment_of_lsn(space, lsn);
    struct space_segment *speaker = segment_of_lsn(space, batch_lsn);
    if (speaker != segment) {
        assert(speaker->base_lsn > segment->base_lsn);
        add_debt(speaker, segment->number, batch_lsn);
    }
}

void
space_add_topology(struct space *space, uint64_t batch_lsn)
{
    struct space_segment *segment = segment_of_lsn(space, batch_lsn);
    if (segment->topology_lsn < batch_lsn) {
        segment->topology_lsn = batch_lsn;
    }
    if (space->topology_lsn < batch_lsn) {
        space->topology_lsn = batch_lsn;
    }
}

/* Reports -------------------------------------------------------------------------------------- */

void
space_snapshot_taken(struct space *space, uint64_t snapshot_lsn)
{
    if (space->snapshot_lsn < snapshot_lsn) {
        space->snapshot_lsn = snapshot_lsn;
    }
    space->is_stale = true;
}

/* Removals in batches below `folded_lsn` need not speak of that segment any more. */
static void
forgive_debts(struct space *space, uint64_t number, uint64_t folded_lsn)
{
    for (uint32_t i = 0; i < space->segment_count; i++) {
        struct space_segment *segment = space->segments[i];
        uint32_t position = debt_position(segment, number);
        if (debt_is(segment, position, number) && segment->debts[position].batch_lsn < folded_lsn) {
            remove_debt(segment, position);
        }
    }
    space->is_stale = true;
}

void
space_folded(struct space *space, uint64_t number, uint64_t folded_lsn)
{
    forgive_debts(space, number, folded_lsn);
}

static void
remove_segment(struct space *space, uint32_t position)
{
    struct space_segment *segment = space->segments[position];
    space->used_octets -= segment->capacity;
    space->live_octets -= segment_live_share(segment);
    segment_free(segment);
    struct space_segment **at = space->segments + position;
    space->segment_count--;
    memmove(at, at + 1, (space->segment_count - position) * sizeof(struct space_segment *));
}

void
space_retired(struct space *space, uint64_t number)
{
    assert(space_segment_of_number(space, number)->live_entries == 0);
    forgive_debts(space, number, UINT64_MAX);
    remove_segment(space, position_of_number(space, number));
}

/* What spoke of the segment of one number speaks of that of another, which it has become part of.
 */
static void
redirect_debts(struct space *space, uint64_t from, uint64_t to)
{
    for (uint32_t i = 0; i < space->segment_count; i++) {
        struct space_segment *segment = space->segments[i];
        uint32_t position = debt_position(segment, from);
        if (debt_is(segment, position, from)) {
            uint64_t batch_lsn = segment->debts[position].batch_lsn;
            remove_debt(segment, position);
            add_debt(segment, to, batch_lsn);
        }
    }
}

/* What `from` counts is `into`'s. */
static void
merge_counts(struct space *space, struct space_segment *into, const struct space_segment *from)
{
    into->live_entries += from->live_entries;
    set_live_octets(space, into, into->live_octets + from->live_octets);
    into->dead_lsn = into->dead_lsn > from->dead_lsn ? into->dead_lsn : from->dead_lsn;
    into->topology_lsn =
        into->topology_lsn > from->topology_lsn ? into->topology_lsn : from->topology_lsn;
}

void
space_packed(struct space *space, uint64_t first, uint64_t last, uint64_t folded_lsn,
             uint64_t capacity)
{
    struct space_segment *pack = space_segment_of_number(space, first);
    uint32_t next = position_of_number(space, first) + 1;
    forgive_debts(space, first, folded_lsn);
    while (next < space->segment_count && space->segments[next]->number <= last) {
        struct space_segment *segment = space->segments[next];
        forgive_debts(space, segment->number, folded_lsn);
        redirect_debts(space, segment->number, first);
        assert(segment->debt_count == 0);
        merge_counts(space, pack, segment);
        remove_segment(space, next);
    }
    assert(pack->debt_count == 0);
    space->live_octets -= segment_live_share(pack);
    space->used_octets = space->used_octets - pack->capacity + capacity;
    pack->capacity = capacity;
    space->live_octets += segment_live_share(pack);
    pack->last = last;
}

void
space_pack_failed(struct space *space, uint64_t first, uint64_t last)
{
    for (uint32_t i = position_of_number(space, first);
         i < space->segment_count && space->segments[i]->number <= last; i++) {
        space->segments[i]->run_octets = UINT64_MAX;
    }
}

/* Questions ------------------------------------------------------------------------------------ */

bool
space_wants_snapshot(const struct space *space)
{
    return space->topology_lsn != 0 && space->topology_lsn >= space->snapshot_lsn;
}

uint64_t
space_used_octets(const struct space *space)
{
    return space->used_octets;
}

uint64_t
space_live_octets(const struct space *space)
{
    return space->live_octets;
}

uint64_t
space_oldest_lsn(const struct space *space)
{
    return space->segment_count == 0 ? 0 : space->segments[0]->base_lsn;
}
