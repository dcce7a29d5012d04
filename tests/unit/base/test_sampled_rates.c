/* SPDX-License-Identifier: Apache-2.0 */
#include "base/sampled_rates.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#include "tests/support/alloc_faults.h"

static struct sampled_rates *sampled;

static void
tear_down(void)
{
    sampled_rates_free(&sampled);
}

TestSuite(sampled_rates, .fini = tear_down);

static bool
is_about(double found, double wanted)
{
    return found > wanted - 0.001 && found < wanted + 0.001;
}

static double
look(uint64_t counter, uint64_t now_ms, uint64_t lived_ms)
{
    double rate;
    sampled_rates_look(&sampled, &counter, 1, now_ms, lived_ms, &rate);
    return rate;
}

Test(sampled_rates, the_first_look_is_over_the_whole_life)
{
    cr_expect(is_about(look(500, 90000, 10000), 50.0));
}

/* A channel that was opened this very millisecond does no thousands a second. */
Test(sampled_rates, a_life_of_less_than_a_second_counts_as_one)
{
    cr_expect(is_about(look(7, 90000, 2), 7.0));
}

Test(sampled_rates, the_next_look_is_over_the_time_since_the_last)
{
    (void)look(500, 90000, 10000);
    cr_expect(is_about(look(700, 92000, 12000), 100.0));
    cr_expect(is_about(look(700, 97000, 17000), 0.0));
}

/* Two who look in turn do not cut each other's time to pieces. */
Test(sampled_rates, a_look_within_a_second_repeats_the_last)
{
    (void)look(0, 90000, 10000);
    (void)look(100, 91000, 11000);
    cr_expect(is_about(look(5000, 91999, 11999), 100.0));
    cr_expect(is_about(look(5100, 92000, 12000), 5000.0));
}

Test(sampled_rates, without_memory_it_is_always_the_whole_life)
{
    alloc_faults_plan(1);
    cr_expect(is_about(look(500, 90000, 10000), 50.0));
    cr_expect(zero(ptr, sampled));
    cr_expect(is_about(look(1000, 91000, 20000), 50.0));
    cr_expect(not(zero(ptr, sampled)));
}
