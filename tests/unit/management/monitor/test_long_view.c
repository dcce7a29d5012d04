/* SPDX-License-Identifier: Apache-2.0 */
/* What the console says of the last minute and of the day before. */
#include "management/monitor/long_view.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>

enum { TICK_MS = 5000, HOUR_MS = 3600 * 1000 };

static struct long_view view;
static struct store_flushes flushes;

static void
set_up(void)
{
    view = (struct long_view){.minute_count = 0};
    flushes = (struct store_flushes){.sum_us = 0};
}

TestSuite(long_view, .init = set_up);

Test(long_view, without_a_flush_nothing_is_said)
{
    uint64_t p99;
    struct long_view_letters before;
    cr_assert(not(long_view_flush_p99(&view, &p99)));
    cr_assert(not(long_view_letters_before(&view, &before)));
    flushes.counts[3] = 100;
    long_view_add(&view, 0, &flushes, 0);
    long_view_add(&view, TICK_MS, &flushes, 0);
    cr_assert(not(long_view_flush_p99(&view, &p99)));
}

Test(long_view, the_slowest_but_one_of_a_hundred_is_told)
{
    uint64_t p99;
    long_view_add(&view, 0, &flushes, 0);
    flushes.counts[3] = 99;
    flushes.counts[9] = 1;
    long_view_add(&view, TICK_MS, &flushes, 0);
    cr_assert(long_view_flush_p99(&view, &p99));
    cr_assert(eq(u64, p99, store_flush_bounds_us[3]));
    flushes.counts[9] = 2;
    long_view_add(&view, TICK_MS + 1, &flushes, 0);
    cr_assert(long_view_flush_p99(&view, &p99));
    cr_assert(eq(u64, p99, store_flush_bounds_us[9]));
}

Test(long_view, flushes_are_forgotten_after_a_minute)
{
    uint64_t p99;
    long_view_add(&view, 0, &flushes, 0);
    flushes.counts[12] = 5;
    for (int64_t at = TICK_MS; at <= 12 * TICK_MS; at += TICK_MS) {
        long_view_add(&view, at, &flushes, 0);
        cr_assert(long_view_flush_p99(&view, &p99), "at %d", (int)at);
    }
    long_view_add(&view, 13 * TICK_MS, &flushes, 0);
    cr_assert(not(long_view_flush_p99(&view, &p99)));
}

/* Where looks come seldom, what is older than a minute is not of the last one. */
Test(long_view, a_look_of_long_ago_is_not_compared_with)
{
    uint64_t p99;
    long_view_add(&view, 0, &flushes, 0);
    flushes.counts[12] = 5;
    long_view_add(&view, HOUR_MS, &flushes, 0);
    cr_assert(not(long_view_flush_p99(&view, &p99)));
}

Test(long_view, dead_letters_are_compared_with_a_day_ago)
{
    struct long_view_letters before;
    for (int64_t at = 0; at <= INT64_C(30) * HOUR_MS; at += TICK_MS) {
        long_view_add(&view, at, &flushes, (uint64_t)(at / HOUR_MS));
    }
    cr_assert(long_view_letters_before(&view, &before));
    cr_assert(eq(u64, view.letters.count, 30));
    cr_assert(eq(u64, before.count, 6));
    cr_assert(eq(i64, before.at_ms, INT64_C(6) * HOUR_MS));
}

Test(long_view, a_younger_broker_compares_with_its_beginning)
{
    struct long_view_letters before;
    long_view_add(&view, 1000, &flushes, 4);
    long_view_add(&view, HOUR_MS, &flushes, 9);
    cr_assert(long_view_letters_before(&view, &before));
    cr_assert(eq(u64, before.count, 4));
    cr_assert(eq(i64, before.at_ms, 1000));
}

/* Else nothing would be kept until the clock is where it was. */
Test(long_view, a_wall_clock_that_is_set_back_takes_no_day_away)
{
    struct long_view_letters before;
    long_view_add(&view, INT64_C(99) * HOUR_MS, &flushes, 4);
    long_view_add(&view, INT64_C(100) * HOUR_MS, &flushes, 5);
    for (int64_t at = INT64_C(10) * HOUR_MS; at <= INT64_C(40) * HOUR_MS; at += TICK_MS) {
        long_view_add(&view, at, &flushes, (uint64_t)(at / HOUR_MS));
        cr_assert(long_view_letters_before(&view, &before));
        cr_assert(le(i64, before.at_ms, at));
    }
    cr_assert(eq(u64, before.count, 16));
    cr_assert(eq(i64, before.at_ms, INT64_C(16) * HOUR_MS));
}
