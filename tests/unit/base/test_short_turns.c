/* SPDX-License-Identifier: Apache-2.0 */
#include "base/short_turns.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <sched.h>
#include <stdint.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

/* The runtime that the scheduler keeps for this thread, in ns; 0: it keeps none. */
static uint64_t
runtime_ns(void)
{
    uint64_t words[6] = {0};
    cr_assert(eq(long, syscall(SYS_sched_getattr, 0, words, sizeof(words), 0), 0));
    return words[3];
}

Test(short_turns, policy_and_niceness_stay)
{
    cr_assert(eq(int, setpriority(PRIO_PROCESS, 0, 3), 0));
    short_turns_ask();
    cr_expect(eq(int, getpriority(PRIO_PROCESS, 0), 3));
    cr_expect(eq(int, sched_getscheduler(0), SCHED_OTHER));
}

/* Systems before 6.12 keep no turn, and say so by 0. */
Test(short_turns, are_shorter_than_those_of_others)
{
    uint64_t before_ns = runtime_ns();
    short_turns_ask();
    if (before_ns == 0) {
        cr_skip_test("this system has one turn for all");
    }
    cr_expect(lt(u64, runtime_ns(), before_ns));
}

Test(short_turns, who_was_given_another_policy_keeps_it)
{
    struct sched_param none = {0};
    cr_assert(eq(int, sched_setscheduler(0, SCHED_BATCH, &none), 0));
    short_turns_ask();
    cr_expect(eq(int, sched_getscheduler(0), SCHED_BATCH));
}
