/* SPDX-License-Identifier: Apache-2.0 */
/* The timer wheel. Time is a number that the tests step. */
#include "base/timer.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#include <string.h>

#include "base/random.h"

enum { TIMERS = 200, START_MS = 123456789 };

static const uint64_t second_ms = 1000;
static const uint64_t day_ms = UINT64_C(86400) * 1000;

static struct timer_wheel wheel;
static struct timer timers[TIMERS];
static uint64_t now_ms;
static int fired_count;

static void
set_up(void)
{
    now_ms = START_MS;
    timer_wheel_init(&wheel, now_ms);
    memset(timers, 0, sizeof(timers));
    fired_count = 0;
}

TestSuite(timer, .init = set_up);

static void
advance_to(uint64_t ms)
{
    now_ms = ms;
    timer_wheel_advance(&wheel, now_ms);
}

static void
count_fired(struct timer *timer, void *context)
{
    (void)context;
    cr_assert(not(timer_is_armed(timer)), "it is free to be armed again");
    cr_assert(ge(u64, now_ms, timer->due_ms), "never early");
    fired_count++;
}

Test(timer, fires_once_at_its_time_and_at_most_one_step_late)
{
    static const uint64_t delays[] = {
        0,       1,       5,         9,         10,        11,         99,          630,
        639,     640,     641,       650,       40950,     40960,      40970,       2621430,
        2621440, 2621450, 167772150, 167772160, 167772170, 1000000000, 100000000000};
    for (size_t i = 0; i < sizeof(delays) / sizeof(delays[0]); i++) {
        for (uint64_t offset = 0; offset < 20; offset += 3) {
            fired_count = 0;
            advance_to(now_ms + offset);
            uint64_t due_ms = now_ms + delays[i];
            timer_arm(&wheel, &timers[0], due_ms, count_fired, NULL);
            if (delays[i] > 0) {
                advance_to(due_ms - 1);
                cr_assert(eq(int, fired_count, 0), "delay %zu, offset %zu", i, (size_t)offset);
            }
            advance_to(due_ms + TIMER_STEP_MS);
            cr_assert(eq(int, fired_count, 1), "delay %zu, offset %zu", i, (size_t)offset);
            advance_to(due_ms + 100 * second_ms);
            cr_assert(eq(int, fired_count, 1));
        }
    }
    cr_expect(eq(u32, wheel.armed_count, 0));
}

Test(timer, one_that_was_due_long_ago_fires_at_the_next_step)
{
    timer_arm(&wheel, &timers[0], 0, count_fired, NULL);
    timer_wheel_advance(&wheel, now_ms);
    cr_expect(eq(int, fired_count, 0), "not within the same step");
    advance_to(now_ms + TIMER_STEP_MS);
    cr_expect(eq(int, fired_count, 1));
}

Test(timer, a_deadline_that_never_comes_is_no_burden)
{
    timer_arm(&wheel, &timers[0], UINT64_MAX, count_fired, NULL);
    advance_to(now_ms + 3650 * day_ms);
    cr_expect(eq(int, fired_count, 0));
    cr_expect(timer_is_armed(&timers[0]));
}

Test(timer, arming_again_moves_the_deadline)
{
    timer_arm(&wheel, &timers[0], now_ms + 100, count_fired, NULL);
    timer_arm(&wheel, &timers[0], now_ms + 500, count_fired, NULL);
    cr_expect(eq(u32, wheel.armed_count, 1));
    advance_to(now_ms + 400);
    cr_expect(eq(int, fired_count, 0));
    advance_to(now_ms + 110);
    cr_expect(eq(int, fired_count, 1));
}

Test(timer, a_cancelled_one_does_not_fire)
{
    timer_arm(&wheel, &timers[0], now_ms + 100, count_fired, NULL);
    timer_cancel(&wheel, &timers[0]);
    timer_cancel(&wheel, &timers[0]);
    cr_expect(not(timer_is_armed(&timers[0])));
    advance_to(now_ms + 1000);
    cr_expect(eq(int, fired_count, 0));
    cr_expect(eq(u64, timer_wheel_wait_ms(&wheel, now_ms), UINT64_MAX));
}

static void
arm_itself_again(struct timer *timer, void *context)
{
    (void)context;
    fired_count++;
    timer_arm(&wheel, timer, 0, arm_itself_again, NULL);
}

/* A callback that always wants to run at once must not keep the loop for ever. */
Test(timer, a_callback_that_arms_itself_runs_once_a_step)
{
    timer_arm(&wheel, &timers[0], 0, arm_itself_again, NULL);
    advance_to((now_ms / TIMER_STEP_MS + 50) * TIMER_STEP_MS);
    cr_expect(eq(int, fired_count, 50));
}

static void
cancel_the_others(struct timer *timer, void *context)
{
    (void)timer;
    (void)context;
    fired_count++;
    for (int i = 0; i < TIMERS; i++) {
        timer_cancel(&wheel, &timers[i]);
    }
}

Test(timer, a_callback_may_cancel_what_is_due_with_it)
{
    for (int i = 0; i < TIMERS; i++) {
        timer_arm(&wheel, &timers[i], now_ms + 50, cancel_the_others, NULL);
    }
    advance_to(now_ms + 60);
    cr_expect(eq(int, fired_count, 1));
    cr_expect(eq(u32, wheel.armed_count, 0));
}

/* The model: every timer's deadline, or none. A timer armed for the past counts as due when it was
 * armed. */
static uint64_t deadlines[TIMERS];
static struct random_source source;

static uint64_t
random_delay(void)
{
    static const uint64_t spans[] = {20, 1000, 60000, 3600000, 200000000, 2000000000};
    return random_u64(&source) % spans[random_u64(&source) % 6];
}

static void arm_in_model(int number);

static void
fire_in_model(struct timer *timer, void *context)
{
    ptrdiff_t number = timer - timers;
    cr_assert(eq(ptr, context, &deadlines[number]));
    cr_assert(ne(u64, deadlines[number], 0), "fires only when armed");
    cr_assert(ge(u64, now_ms, deadlines[number]), "never early");
    deadlines[number] = 0;
    fired_count++;
    if (random_u64(&source) % 2 == 0) {
        arm_in_model((int)(random_u64(&source) % TIMERS));
    }
    if (random_u64(&source) % 8 == 0) {
        int other = (int)(random_u64(&source) % TIMERS);
        timer_cancel(&wheel, &timers[other]);
        deadlines[other] = 0;
    }
}

static void
arm_in_model(int number)
{
    uint64_t back = random_u64(&source) % 4 == 0 ? 1000 : 0;
    uint64_t due_ms = now_ms + random_delay() - back;
    deadlines[number] = due_ms < now_ms ? now_ms : due_ms;
    timer_arm(&wheel, &timers[number], due_ms, fire_in_model, &deadlines[number]);
}

/* A slot that is wrongly marked wakes the loop for nothing, or not at all. */
static void
check_marks(void)
{
    for (int level = 0; level < TIMER_LEVELS; level++) {
        for (int slot = 0; slot < TIMER_SLOTS; slot++) {
            bool is_marked = (wheel.busy[level] >> slot & 1) != 0;
            cr_assert(ne(int, is_marked, list_is_empty(&wheel.slots[level][slot])));
        }
    }
}

static void
check_against_model(void)
{
    check_marks();
    uint32_t armed = 0;
    uint64_t nearest = UINT64_MAX;
    for (int i = 0; i < TIMERS; i++) {
        cr_assert(eq(int, timer_is_armed(&timers[i]) != 0, deadlines[i] != 0));
        if (deadlines[i] != 0) {
            armed++;
            nearest = deadlines[i] < nearest ? deadlines[i] : nearest;
        }
    }
    cr_assert(eq(u32, wheel.armed_count, armed));
    if (armed == 0) {
        cr_assert(eq(u64, timer_wheel_wait_ms(&wheel, now_ms), UINT64_MAX));
        return;
    }
    cr_assert(lt(u64, now_ms, nearest + TIMER_STEP_MS), "at most one step late");
    cr_assert(lt(u64, timer_wheel_wait_ms(&wheel, now_ms), nearest + TIMER_STEP_MS - now_ms + 1),
              "who waits as long as told is not late");
}

Test(timer, agrees_with_a_model_under_random_arming_cancelling_and_time)
{
    uint64_t seed = 11;
    source = random_seeded(&seed);
    for (int round = 0; round < 30000; round++) {
        int number = (int)(random_u64(&source) % TIMERS);
        switch (random_u64(&source) % 4) {
        case 0:
        case 1:
            arm_in_model(number);
            break;
        case 2:
            timer_cancel(&wheel, &timers[number]);
            deadlines[number] = 0;
            break;
        default:
            advance_to(now_ms + random_delay() / 4);
            break;
        }
        check_against_model();
    }
    cr_expect(lt(int, 1000, fired_count), "the test tests something");
}

/* The loop sleeps for timer_wheel_wait_ms each time; everything fires in time nonetheless. */
Test(timer, waiting_as_long_as_told_meets_every_deadline)
{
    uint64_t seed = 12;
    source = random_seeded(&seed);
    for (int i = 0; i < TIMERS; i++) {
        timer_arm(&wheel, &timers[i], now_ms + random_delay(), count_fired, NULL);
    }
    int turns = 0;
    for (uint64_t wait = timer_wheel_wait_ms(&wheel, now_ms); wait != UINT64_MAX;
         wait = timer_wheel_wait_ms(&wheel, now_ms)) {
        advance_to(now_ms + wait);
        for (int i = 0; i < TIMERS; i++) {
            bool is_late = timer_is_armed(&timers[i]) && timers[i].due_ms + TIMER_STEP_MS <= now_ms;
            cr_assert(not(is_late));
        }
        turns++;
    }
    cr_expect(eq(int, fired_count, TIMERS));
    cr_expect(lt(int, turns, 10 * TIMERS), "without waking up all the time");
}
