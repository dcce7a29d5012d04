/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/amqp/latencies.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>

static struct latencies latencies;

/* What is told is never less than what was, and at most an eighth more. */
Test(latencies, a_quantile_is_right_to_an_eighth_at_any_magnitude)
{
    for (uint64_t ns = 1; ns < UINT64_C(1) << 60; ns = ns * 3 + 1) {
        latencies = (struct latencies){.total = 0};
        latencies_note(&latencies, ns);
        latencies_note(&latencies, UINT64_MAX); /* so that the longest does not cut it */
        uint64_t told = latencies_quantile(&latencies, 0.5);
        cr_expect(told >= ns && told - ns <= ns / 8, "%llu is told as %llu", (unsigned long long)ns,
                  (unsigned long long)told);
    }
}

Test(latencies, a_quantile_has_its_share_at_or_below_it)
{
    for (uint64_t ns = 1; ns <= 1000; ns++) {
        latencies_note(&latencies, ns * 1000);
    }
    cr_expect(eq(u64, latencies_quantile(&latencies, 1), 1000000));
    cr_expect(latencies_quantile(&latencies, 0.5) >= 500000);
    cr_expect(latencies_quantile(&latencies, 0.5) < 570000);
    cr_expect(latencies_quantile(&latencies, 0.99) >= 990000);
}

Test(latencies, none_is_zero_and_powers_hold_all)
{
    cr_expect(eq(u64, latencies_quantile(&latencies, 0.99), 0));
    latencies_note(&latencies, 0);
    latencies_note(&latencies, 1);
    latencies_note(&latencies, 1024);
    latencies_note(&latencies, 2047);
    latencies_note(&latencies, 2048);
    cr_expect(eq(u64, latencies_of_power(&latencies, 0), 2));
    cr_expect(eq(u64, latencies_of_power(&latencies, 10), 2));
    cr_expect(eq(u64, latencies_of_power(&latencies, 11), 1));
}
