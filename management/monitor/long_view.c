/* SPDX-License-Identifier: Apache-2.0 */
#include "management/monitor/long_view.h"

static void
add_flushes(struct long_view *view, int64_t at_ms, const struct store_flushes *flushes)
{
    view->minute[view->minute_next].at_ms = at_ms;
    view->minute[view->minute_next].flushes = *flushes;
    view->minute_next = (view->minute_next + 1) % LONG_VIEW_MINUTE_POINTS;
    view->minute_count += view->minute_count < LONG_VIEW_MINUTE_POINTS ? 1 : 0;
}

static const struct long_view_letters *
letters_at(const struct long_view *view, uint32_t at)
{
    uint32_t first = (view->day_next + LONG_VIEW_QUARTERS - view->day_count) % LONG_VIEW_QUARTERS;
    return &view->day[(first + at) % LONG_VIEW_QUARTERS];
}

/* Where the wall clock was set back nobody can say when it was what has not come yet. */
static void
forget_future(struct long_view *view, int64_t at_ms)
{
    while (view->day_count > 0 && letters_at(view, view->day_count - 1)->at_ms > at_ms) {
        view->day_next = (view->day_next + LONG_VIEW_QUARTERS - 1) % LONG_VIEW_QUARTERS;
        view->day_count--;
    }
}

static void
add_letters(struct long_view *view, int64_t at_ms, uint64_t count)
{
    forget_future(view, at_ms);
    view->letters = (struct long_view_letters){at_ms, count};
    if (view->day_count > 0 &&
        at_ms - letters_at(view, view->day_count - 1)->at_ms < LONG_VIEW_QUARTER_MS) {
        return;
    }
    view->day[view->day_next] = view->letters;
    view->day_next = (view->day_next + 1) % LONG_VIEW_QUARTERS;
    view->day_count += view->day_count < LONG_VIEW_QUARTERS ? 1 : 0;
}

void
long_view_add(struct long_view *view, int64_t at_ms, const struct store_flushes *flushes,
              uint64_t dead_letters)
{
    add_flushes(view, at_ms, flushes);
    add_letters(view, at_ms, dead_letters);
}

/* Flushes by bucket between the oldest point of the last minute and the newest one. */
static uint64_t
count_flushes(const struct long_view *view, uint64_t counts_out[static FLUSH_BUCKET_COUNT])
{
    uint32_t last = (view->minute_next + LONG_VIEW_MINUTE_POINTS - 1) % LONG_VIEW_MINUTE_POINTS;
    uint32_t first = last;
    uint64_t total = 0;
    for (uint32_t back = 1; back < view->minute_count; back++) {
        uint32_t at = (last + LONG_VIEW_MINUTE_POINTS - back) % LONG_VIEW_MINUTE_POINTS;
        if (view->minute[last].at_ms - view->minute[at].at_ms > LONG_VIEW_MINUTE_MS) {
            break;
        }
        first = at;
    }
    for (int i = 0; i < FLUSH_BUCKET_COUNT; i++) {
        counts_out[i] =
            view->minute[last].flushes.counts[i] - view->minute[first].flushes.counts[i];
        total += counts_out[i];
    }
    return total;
}

bool
long_view_flush_p99(const struct long_view *view, uint64_t *microseconds_out)
{
    uint64_t counts[FLUSH_BUCKET_COUNT];
    uint64_t total = view->minute_count < 2 ? 0 : count_flushes(view, counts);
    uint64_t rank = total - total / 100; /* 99 of 100 are no slower; of fewer, all */
    uint64_t sum = 0;
    for (int i = 0; i < FLUSH_BUCKET_COUNT && total > 0; i++) {
        sum += counts[i];
        if (sum >= rank) {
            *microseconds_out = store_flush_bounds_us[i];
            return true;
        }
    }
    return false;
}

bool
long_view_letters_before(const struct long_view *view, struct long_view_letters *letters_out)
{
    for (uint32_t at = 0; at < view->day_count; at++) {
        *letters_out = *letters_at(view, at);
        if (view->letters.at_ms - letters_out->at_ms <= LONG_VIEW_DAY_MS) {
            return true;
        }
    }
    return false;
}
