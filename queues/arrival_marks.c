/* SPDX-License-Identifier: Apache-2.0 */
#include "queues/arrival_marks.h"

#include <stdlib.h>

#include "base/alloc.h"
#include "base/assert.h"

/* Marks are taken together while what they span is at most that part of their age; asked for its
 * middle, a mark is wrong by half of it. */
enum { SPAN_PART = 50 };

void
arrival_marks_fini(struct arrival_marks *marks)
{
    free(marks->older);
    *marks = (struct arrival_marks){0};
}

void
arrival_marks_move(struct arrival_marks *from, struct arrival_marks *to)
{
    *to = *from;
    to->found = &to->newest;
    to->found_count = to->newest.position != 0 ? INT64_MAX : 0;
    arrival_marks_init(from);
}

/* Reading -------------------------------------------------------------------------------------- */

uint32_t
arrival_marks_place(const struct arrival_marks *marks, uint64_t position)
{
    if (position >= marks->newest.position) {
        return marks->older_count;
    }
    uint32_t low = 0;
    uint32_t high = marks->older_count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (marks->older[middle].position <= position) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low > 0 ? low - 1 : 0;
}

static struct arrival_mark *
mark_at(const struct arrival_marks *marks, uint32_t place)
{
    return place < marks->older_count ? &marks->older[place]
                                      : (struct arrival_mark *)(uintptr_t)&marks->newest;
}

static uint64_t
end_of(const struct arrival_marks *marks, uint32_t place)
{
    return place < marks->older_count ? mark_at(marks, place + 1)->position : UINT64_MAX;
}

int64_t
arrival_marks_ms(const struct arrival_marks *marks, uint64_t position)
{
    return arrival_mark_ms(mark_at(marks, arrival_marks_place(marks, position)));
}

const struct arrival_mark *
arrival_marks_next(const struct arrival_marks *marks, uint32_t *at, uint64_t *end_out)
{
    if (*at > marks->older_count) {
        return NULL;
    }
    *end_out = end_of(marks, *at);
    return mark_at(marks, (*at)++);
}

int64_t
arrival_marks_living(const struct arrival_marks *marks, uint64_t end)
{
    int64_t living = 0;
    uint64_t mark_end;
    uint32_t at = 0;
    for (const struct arrival_mark *mark;
         (mark = arrival_marks_next(marks, &at, &mark_end)) != NULL;) {
        living += (int64_t)((mark_end == UINT64_MAX ? end : mark_end) - mark->position);
        living -= mark->gone_count;
    }
    return living;
}

/* Taking together ------------------------------------------------------------------------------ */

/* How many messages of the older mark are there; after a loss the count may be a little off for
 * each, but never for all of them together. */
static int64_t
living_count(const struct arrival_marks *marks, uint32_t place)
{
    return (int64_t)(end_of(marks, place) - marks->older[place].position) -
           marks->older[place].gone_count;
}

/* The pointer to what was found is good no longer. */
static void
forget_found(struct arrival_marks *marks)
{
    marks->found = &marks->newest;
    marks->found_count = INT64_MAX;
    marks->search_count = 0;
}

static void
absorb(struct arrival_mark *mark, const struct arrival_mark *next)
{
    mark->gone_count += next->gone_count;
    mark->earliest_ms =
        mark->earliest_ms < next->earliest_ms ? mark->earliest_ms : next->earliest_ms;
    mark->latest_ms = mark->latest_ms > next->latest_ms ? mark->latest_ms : next->latest_ms;
}

/* Gives up marks whose messages are all gone. What those count too many or too few is counted with
 * a neighbour. */
static void
squeeze(struct arrival_marks *marks)
{
    uint32_t kept_count = 0;
    int64_t surplus = 0;
    for (uint32_t i = 0; i < marks->older_count; i++) {
        struct arrival_mark mark = marks->older[i];
        int64_t living = living_count(marks, i);
        if (living > 0) {
            mark.gone_count += surplus;
            surplus = 0;
            marks->older[kept_count++] = mark;
        } else if (kept_count > 0) {
            marks->older[kept_count - 1].gone_count += mark.gone_count;
        } else {
            surplus -= living;
        }
    }
    marks->newest.gone_count += surplus;
    marks->older_count = kept_count;
    forget_found(marks);
}

/* Takes neighbours together that came within a part of their age, from the oldest on. */
static void
thin(struct arrival_marks *marks, int64_t now_ms, int64_t part)
{
    uint32_t kept_count = 0;
    for (uint32_t i = 0; i < marks->older_count; i++) {
        struct arrival_mark mark = marks->older[i];
        if (kept_count > 0) {
            struct arrival_mark both = marks->older[kept_count - 1];
            absorb(&both, &mark);
            if (both.latest_ms - both.earliest_ms <= (now_ms - both.latest_ms) / part) {
                marks->older[kept_count - 1] = both;
                continue;
            }
        }
        marks->older[kept_count++] = mark;
    }
    marks->older_count = kept_count;
    forget_found(marks);
}

/* Every second mark goes, whatever that does to the times. */
static void
halve(struct arrival_marks *marks)
{
    uint32_t kept_count = 0;
    for (uint32_t i = 0; i < marks->older_count; i++) {
        if (i % 2 == 0) {
            marks->older[kept_count++] = marks->older[i];
        } else {
            absorb(&marks->older[kept_count - 1], &marks->older[i]);
        }
    }
    marks->older_count = kept_count;
    forget_found(marks);
}

/* Room ----------------------------------------------------------------------------------------- */

static bool
resize(struct arrival_marks *marks, uint32_t capacity)
{
    struct arrival_mark *older = try_realloc(marks->older, capacity * sizeof(*older));
    if (older == NULL) {
        return false;
    }
    marks->older = older;
    marks->older_capacity = capacity;
    forget_found(marks);
    return true;
}

/* A quarter of the table is free, so that the work is shared by as many marks to come. */
static bool
has_room(const struct arrival_marks *marks)
{
    return marks->older_count < marks->older_capacity / 4 * 3;
}

/* A smaller table that fails leaves the larger one, which is as good. */
static void
shrink(struct arrival_marks *marks)
{
    uint32_t capacity = marks->older_capacity;
    while (capacity > ARRIVAL_MARKS_FIRST && marks->older_count <= capacity / 8) {
        capacity /= 2;
    }
    if (capacity < marks->older_capacity) {
        (void)resize(marks, capacity);
    }
}

static void
make_room(struct arrival_marks *marks, int64_t now_ms)
{
    enum { COARSENINGS = 4 };
    squeeze(marks);
    for (int64_t part = SPAN_PART; !has_room(marks) && part > 0; part /= COARSENINGS) {
        thin(marks, now_ms, part);
        uint32_t capacity = marks->older_capacity;
        if (!has_room(marks) && capacity < ARRIVAL_MARKS_MAX &&
            resize(marks, capacity == 0 ? ARRIVAL_MARKS_FIRST : capacity * 2)) {
            return;
        }
    }
    if (!has_room(marks)) {
        halve(marks);
    }
}

/* Coming --------------------------------------------------------------------------------------- */

/* The newest mark becomes an older one. False: there is no memory for the first of them. */
static bool
put_aside_newest(struct arrival_marks *marks, uint64_t position, int64_t now_ms)
{
    bool is_gone = marks->newest.gone_count == (int64_t)(position - marks->newest.position);
    if (is_gone && marks->older_count == 0) {
        return true;
    }
    if (is_gone) {
        marks->older[marks->older_count - 1].gone_count += marks->newest.gone_count;
        return true;
    }
    if (marks->older_count == marks->older_capacity) {
        make_room(marks, now_ms);
    }
    if (marks->older_count == marks->older_capacity) {
        return false;
    }
    marks->older[marks->older_count++] = marks->newest;
    return true;
}

void
arrival_marks_add(struct arrival_marks *marks, uint64_t position, int64_t now_ms)
{
    if (marks->newest.position != 0 && !put_aside_newest(marks, position, now_ms)) {
        marks->newest.latest_ms = now_ms;
        return;
    }
    marks->newest =
        (struct arrival_mark){.position = position, .earliest_ms = now_ms, .latest_ms = now_ms};
    forget_found(marks);
}

/* Finding -------------------------------------------------------------------------------------- */

/* Whoever searches has mostly come to the end of a mark; after so many searches, many marks are of
 * no use. */
struct arrival_mark *
arrival_marks_search(struct arrival_marks *marks, uint64_t position)
{
    if (++marks->search_count > marks->older_count && marks->older_count >= ARRIVAL_MARKS_FIRST) {
        squeeze(marks);
        shrink(marks);
    }
    uint32_t place = arrival_marks_place(marks, position);
    struct arrival_mark *mark = mark_at(marks, place);
    if (position >= mark->position) {
        marks->found = mark;
        marks->found_count =
            place < marks->older_count ? end_of(marks, place) - mark->position : INT64_MAX;
    }
    return mark;
}

void
arrival_marks_lose(struct arrival_marks *marks, uint64_t position, uint64_t count)
{
    int64_t left = (int64_t)count;
    for (uint32_t i = arrival_marks_place(marks, position); i < marks->older_count && left > 0;
         i++) {
        int64_t living = living_count(marks, i);
        int64_t lost = living < left ? living : left;
        if (lost > 0) {
            marks->older[i].gone_count += lost;
            left -= lost;
        }
    }
    marks->newest.gone_count += left;
}

/* Of the mark of `position` it is not known which of its messages are gone: those that are kept
 * there are what is left of all that are. */
void
arrival_marks_purge(struct arrival_marks *marks, uint64_t position, uint64_t end,
                    uint64_t kept_count)
{
    uint32_t last = arrival_marks_place(marks, position);
    int64_t kept = (int64_t)kept_count;
    for (uint32_t i = 0; i < last; i++) {
        kept -= living_count(marks, i);
    }
    for (uint32_t i = last; i <= marks->older_count; i++) {
        struct arrival_mark *mark = mark_at(marks, i);
        uint64_t mark_end = i < marks->older_count ? end_of(marks, i) : end;
        mark->gone_count = (int64_t)(mark_end - mark->position) - (i == last ? kept : 0);
    }
    squeeze(marks);
    shrink(marks);
}

/* Checking ------------------------------------------------------------------------------------- */

void
arrival_marks_check(const struct arrival_marks *marks, uint64_t end)
{
    uint64_t mark_end;
    uint32_t at = 0;
    assert(marks->older_count <= marks->older_capacity);
    assert(marks->older_capacity <= ARRIVAL_MARKS_MAX);
    for (const struct arrival_mark *mark;
         (mark = arrival_marks_next(marks, &at, &mark_end)) != NULL;) {
        assert(mark->position < (mark_end == UINT64_MAX ? end : mark_end));
        assert(mark->earliest_ms <= mark->latest_ms);
    }
}
