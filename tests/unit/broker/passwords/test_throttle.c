/* SPDX-License-Identifier: Apache-2.0 */
/* Guessing a password gets slower with every failure, and only for whom it concerns. */
#include "broker/passwords/throttle.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <stdio.h>

static struct throttle *throttle;

static void
set_up(void)
{
    throttle = throttle_new(1);
}

static void
tear_down(void)
{
    throttle_free(&throttle);
}

TestSuite(throttle, .init = set_up, .fini = tear_down);

Test(throttle, the_first_check_need_not_wait)
{
    cr_expect(eq(u64, throttle_due_ms(throttle, bytes_of("ualice"), 1000), 0));
}

Test(throttle, the_delay_doubles_from_a_quarter_second_to_half_a_minute)
{
    static const uint64_t delays[] = {250, 500, 1000, 2000, 4000, 8000, 16000, 30000, 30000};
    for (size_t i = 0; i < sizeof(delays) / sizeof(delays[0]); i++) {
        throttle_failed(throttle, bytes_of("ualice"), 1000);
        cr_expect(eq(u64, throttle_due_ms(throttle, bytes_of("ualice"), 1000), 1000 + delays[i]),
                  "failure %zu", i + 1);
    }
}

Test(throttle, the_delay_ends_when_its_time_is_over)
{
    throttle_failed(throttle, bytes_of("ualice"), 1000);
    cr_expect(eq(u64, throttle_due_ms(throttle, bytes_of("ualice"), 1249), 1250));
    cr_expect(eq(u64, throttle_due_ms(throttle, bytes_of("ualice"), 1250), 0));
}

Test(throttle, one_users_failures_do_not_slow_another)
{
    throttle_failed(throttle, bytes_of("ualice"), 1000);
    cr_expect(eq(u64, throttle_due_ms(throttle, bytes_of("ubob"), 1000), 0));
}

Test(throttle, a_success_forgets_what_went_wrong_before)
{
    throttle_failed(throttle, bytes_of("ualice"), 1000);
    throttle_failed(throttle, bytes_of("ualice"), 2000);
    throttle_succeeded(throttle, bytes_of("ualice"));
    cr_expect(eq(u64, throttle_due_ms(throttle, bytes_of("ualice"), 2000), 0));
    throttle_failed(throttle, bytes_of("ualice"), 3000);
    cr_expect(eq(u64, throttle_due_ms(throttle, bytes_of("ualice"), 3000), 3250));
}

Test(throttle, ten_quiet_minutes_begin_a_new_count)
{
    for (int i = 0; i < 5; i++) {
        throttle_failed(throttle, bytes_of("ualice"), 1000);
    }
    uint64_t later = 1000 + UINT64_C(600000);
    throttle_failed(throttle, bytes_of("ualice"), later);
    cr_expect(eq(u64, throttle_due_ms(throttle, bytes_of("ualice"), later), later + 250));
}

/* A stranger who tries a new name each time must not fill the memory. */
Test(throttle, the_oldest_record_makes_room_when_too_many_names_fail)
{
    throttle_failed(throttle, bytes_of("ufirst"), 1000);
    for (int i = 0; i < 4096; i++) {
        char name[32];
        (void)snprintf(name, sizeof(name), "u%d", i);
        throttle_failed(throttle, bytes_of(name), 1001);
    }
    cr_expect(eq(u64, throttle_due_ms(throttle, bytes_of("ufirst"), 1001), 0));
    cr_expect(eq(u64, throttle_due_ms(throttle, bytes_of("u4095"), 1001), 1251));
}
