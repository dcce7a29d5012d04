/* SPDX-License-Identifier: Apache-2.0 */
/* When messages came, against a list that knows the time of each. */
#include "queues/arrival_marks.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <stdlib.h>

#include "base/random.h"
#include "tests/support/alloc_faults.h"

enum { MESSAGES_MAX = 200000 };

static struct arrival_marks marks;
static int64_t *times; /* by position */
static bool *are_gone; /* by position */
static uint64_t pushed_count, living_count;
static int64_t now_ms;

static void
set_up(void)
{
    marks = (struct arrival_marks){0};
    times = calloc(MESSAGES_MAX + 1, sizeof(*times));
    are_gone = calloc(MESSAGES_MAX + 1, sizeof(*are_gone));
    pushed_count = living_count = 0;
    now_ms = 10;
}

static void
tear_down(void)
{
    arrival_marks_fini(&marks);
    free(times);
    free(are_gone);
}

TestSuite(arrival_marks, .init = set_up, .fini = tear_down);

static void
push(void)
{
    cr_assert(lt(u64, pushed_count, MESSAGES_MAX));
    times[++pushed_count] = now_ms;
    arrival_marks_note(&marks, pushed_count, now_ms);
    living_count++;
}

static void
take(uint64_t position)
{
    cr_assert(not(are_gone[position]));
    are_gone[position] = true;
    arrival_marks_take(&marks, position);
    living_count--;
}

/* The largest error of the time of a message that is there, in parts of its age; what is within a
 * millisecond is none. */
static double
largest_error(void)
{
    double largest = 0;
    for (uint64_t i = 1; i <= pushed_count; i++) {
        int64_t error = llabs(arrival_marks_ms(&marks, i) - times[i]);
        if (!are_gone[i] && error > 1) {
            double part = (double)error / (double)(now_ms - times[i]);
            largest = part > largest ? part : largest;
        }
    }
    return largest;
}

static void
check(void)
{
    arrival_marks_check(&marks, pushed_count + 1);
    cr_assert(eq(i64, arrival_marks_living(&marks, pushed_count + 1), (int64_t)living_count));
}

/* What is young is known to the millisecond. */
Test(arrival_marks, messages_of_the_last_seconds_have_their_own_times)
{
    for (int i = 0; i < 50; i++, now_ms += 7) {
        push();
        push();
    }
    for (uint64_t i = 1; i <= pushed_count; i++) {
        cr_assert(eq(i64, arrival_marks_ms(&marks, i), times[i]));
    }
    check();
}

/* Ten years of a message now and then: the bound holds, and so does that of the table. */
Test(arrival_marks, a_time_is_wrong_by_at_most_a_hundredth_of_the_age)
{
    static const int64_t TEN_YEARS_MS = INT64_C(10) * 366 * 24 * 3600 * 1000;
    uint64_t seed = 1;
    struct random_source random = random_seeded(&seed);
    for (int64_t gap = 1; now_ms < TEN_YEARS_MS; now_ms += gap) {
        gap = 1 + (int64_t)(random_u64(&random) % (TEN_YEARS_MS / 50000));
        push();
    }
    cr_expect(lt(dbl, largest_error(), 0.0101));
    cr_expect(le(u32, marks.older_count, (uint32_t)ARRIVAL_MARKS_MAX));
    now_ms += 3;
    for (int i = 0; i < 20000; i++, now_ms += 1) {
        push();
    }
    cr_expect(lt(dbl, largest_error(), 0.0101));
    cr_expect(le(sz, arrival_marks_bytes(&marks), (size_t)ARRIVAL_MARKS_MAX * 32));
    check();
}

/* A queue that is drained as it is filled has a handful of marks, whatever one consumer holds. */
Test(arrival_marks, marks_whose_messages_are_gone_go)
{
    push();
    for (uint64_t i = 0; i < 50000; i++, now_ms++) {
        push();
        if (i >= 3) {
            take(i - 1);
        }
    }
    cr_expect(le(u32, marks.older_capacity, (uint32_t)ARRIVAL_MARKS_FIRST));
    cr_expect(eq(i64, arrival_marks_ms(&marks, 1), times[1]));
    check();
}

/* What a long backlog took is given back while it is consumed. */
Test(arrival_marks, the_table_shrinks_as_a_backlog_is_consumed)
{
    for (int i = 0; i < 5000; i++, now_ms += 1 + i) {
        push();
    }
    cr_assert(lt(u32, 256U, marks.older_capacity));
    for (uint64_t i = 1; i <= pushed_count; i++) {
        take(i);
    }
    cr_expect(le(u32, marks.older_capacity, (uint32_t)ARRIVAL_MARKS_FIRST * 4));
    check();
}

/* Messages leave in any order; nothing is counted twice, and the oldest is always known. */
Test(arrival_marks, messages_leave_in_any_order)
{
    uint64_t seed = 2;
    struct random_source random = random_seeded(&seed);
    for (int round = 0; round < 20000; round++) {
        now_ms += (int64_t)(random_u64(&random) % 50);
        push();
        uint64_t position = 1 + random_u64(&random) % pushed_count;
        if (!are_gone[position]) {
            take(position);
        }
        if (round % 1000 == 0) {
            check();
        }
    }
    cr_expect(lt(dbl, largest_error(), 0.0101));
    check();
}

/* One that had left is there again: it came when it came, as far as that is still known. */
Test(arrival_marks, a_message_that_comes_back_is_counted_again)
{
    for (int i = 0; i < 100; i++, now_ms += 3) {
        push();
    }
    take(1);
    take(50);
    arrival_marks_bring_back(&marks, 50);
    arrival_marks_bring_back(&marks, 1);
    living_count += 2;
    check();
    cr_expect(eq(i64, arrival_marks_ms(&marks, 50), times[50]));
}

/* A purge leaves the messages that are lent. */
Test(arrival_marks, a_purge_leaves_what_is_lent)
{
    for (int i = 0; i < 1000; i++, now_ms += 3) {
        push();
    }
    take(2);
    arrival_marks_purge(&marks, 8, pushed_count + 1, 6);
    living_count = 6;
    check();
    cr_expect(le(u32, marks.older_count, 7U));
    for (uint64_t i = 8; i <= pushed_count; i++) {
        are_gone[i] = true;
    }
    cr_expect(lt(dbl, largest_error(), 0.0101));
    take(7);
    check();
}

/* The disk has lost some: the others are still counted, all together. */
Test(arrival_marks, a_loss_is_taken_from_the_oldest_in_the_deque)
{
    for (int i = 0; i < 100; i++, now_ms += 3) {
        push();
    }
    arrival_marks_lose(&marks, 10, 30);
    living_count -= 30;
    check();
    for (uint64_t i = 60; i <= 100; i++) {
        take(i);
    }
    check();
    now_ms += 3;
    push();
    check();
}

/* Times from the log may go back, when somebody has set the clock. */
Test(arrival_marks, times_may_go_back)
{
    for (int i = 0; i < 20000; i++) {
        now_ms = i % 2 == 0 ? -i : i - 50000;
        push();
    }
    cr_expect(le(u32, marks.older_capacity, (uint32_t)ARRIVAL_MARKS_MAX));
    check();
}

/* Without memory, times are what they can be. */
Test(arrival_marks, without_memory_marks_become_coarse)
{
    for (int i = 0; i < 1000; i++, now_ms++) {
        alloc_faults_plan(1);
        push();
    }
    alloc_faults_plan(0);
    check();
    cr_expect(ge(i64, arrival_marks_ms(&marks, 1), 10));
    cr_expect(le(i64, arrival_marks_ms(&marks, 1), now_ms));
    push();
    check();
}
