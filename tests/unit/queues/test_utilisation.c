/* SPDX-License-Identifier: Apache-2.0 */
#include "queues/utilisation.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>

static struct utilisation utilisation;

static void
set_up(void)
{
    utilisation_begin(&utilisation, -5000);
}

TestSuite(utilisation, .init = set_up);

static void
expect(double part, int64_t now_ms)
{
    double found = utilisation_read(&utilisation, now_ms);
    cr_expect(found > part - 1e-9 && found < part + 1e-9, "%f instead of %f", found, part);
}

Test(utilisation, is_whole_while_nobody_was_full)
{
    expect(1, -5000);
    expect(1, 0);
    expect(1, 1000000000);
}

Test(utilisation, is_the_part_of_the_time_in_which_somebody_had_room)
{
    utilisation_block(&utilisation, true, 0);
    expect(1, 0);
    expect(0.5, 5000);
    utilisation_block(&utilisation, true, 5000);
    utilisation_block(&utilisation, false, 15000);
    expect(0.25, 15000);
    expect(0.4, 20000);
}

Test(utilisation, forgets_what_was_before_the_last_windows)
{
    utilisation_block(&utilisation, true, -5000);
    utilisation_block(&utilisation, false, 25000);
    expect(0, 25000);
    expect(1.0 / 3, 40000);
    expect(1, 55000);
    utilisation_block(&utilisation, true, 85000);
    expect(1, 85000);
    expect(0.8, 100000);
    utilisation_block(&utilisation, false, 145000);
    expect(0, 145000);
}

Test(utilisation, is_that_of_the_end_when_nothing_has_changed_for_long)
{
    utilisation_block(&utilisation, true, 0);
    expect(0, 1000000);
    utilisation_block(&utilisation, false, 1000000);
    expect(0, 1000000);
    expect(1, 3000000);
}
