/* SPDX-License-Identifier: Apache-2.0 */
/* Bells: who sleeps is woken, who does not is left alone. */
#include "base/bell.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#include <poll.h>

static struct bell bell;

static void
set_up(void)
{
    cr_assert(eq(int, bell_open(&bell), STATUS_OK));
}

static void
tear_down(void)
{
    bell_close(&bell);
}

TestSuite(bell, .init = set_up, .fini = tear_down);

static bool
is_readable(void)
{
    struct pollfd wait = {.fd = bell.fd, .events = POLLIN};
    return poll(&wait, 1, 0) == 1;
}

Test(bell, a_busy_thread_is_not_woken)
{
    bell_ring(&bell);
    cr_expect(not(is_readable()));
}

Test(bell, a_sleeping_thread_is_woken_once)
{
    bell_announce_sleep(&bell);
    cr_expect(not(bell_was_rung(&bell)));
    bell_ring(&bell);
    bell_ring(&bell);
    cr_expect(bell_was_rung(&bell));
    uint64_t count;
    cr_assert(is_readable());
    cr_assert(eq(sz, read(bell.fd, &count, sizeof(count)), sizeof(count)));
    cr_expect(eq(u64, count, 1));
}

Test(bell, after_waking_up_the_descriptor_is_quiet_again)
{
    for (int i = 0; i < 3; i++) {
        bell_announce_sleep(&bell);
        bell_ring(&bell);
        bell_end_sleep(&bell);
        cr_expect(not(is_readable()));
    }
}

Test(bell, who_found_work_and_did_not_sleep_is_not_woken)
{
    bell_announce_sleep(&bell);
    bell_end_sleep(&bell);
    bell_ring(&bell);
    cr_expect(not(is_readable()));
}

static void
write_late(void)
{
    uint64_t one = 1;
    cr_assert(eq(sz, write(bell.fd, &one, sizeof(one)), sizeof(one)));
}

/* The other thread has cleared the flag and not yet written: what it writes wakes once for nothing,
 * and never again. */
Test(bell, what_is_written_late_is_read_after_the_next_sleep)
{
    enum { LATE_COUNT = 2 };
    for (int i = 0; i < LATE_COUNT; i++) {
        bell_announce_sleep(&bell);
        atomic_store(&bell.is_asleep, false);
        bell_end_sleep(&bell);
    }
    for (int i = 0; i < LATE_COUNT; i++) {
        write_late();
        bell_announce_sleep(&bell);
        cr_expect(is_readable());
        bell_end_sleep(&bell);
        cr_expect(not(is_readable()));
    }
}

Test(bell, without_a_descriptor_the_sleeper_asks)
{
    struct bell silent;
    bell_init(&silent);
    bell_announce_sleep(&silent);
    cr_expect(not(bell_was_rung(&silent)));
    bell_ring(&silent);
    cr_expect(bell_was_rung(&silent));
    bell_end_sleep(&silent);
    bell_close(&silent);
}
