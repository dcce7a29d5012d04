/* SPDX-License-Identifier: Apache-2.0 */
/* When a turn of the loop reads the clock. */
#include "broker/turn_clock.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>

TestSuite(turn_clock);

Test(turn_clock, the_first_event_of_a_turn_reads_it)
{
    struct turn_clock clock = {0};
    turn_clock_begin(&clock);
    cr_expect(turn_clock_is_stale(&clock, 7));
    cr_expect(not(turn_clock_is_stale(&clock, 7)));
    turn_clock_begin(&clock);
    cr_expect(turn_clock_is_stale(&clock, 7));
}

/* The octets of another link were read while those of the first were handled, or later. */
Test(turn_clock, what_comes_from_another_link_reads_it_again)
{
    struct turn_clock clock = {0};
    turn_clock_begin(&clock);
    (void)turn_clock_is_stale(&clock, 7);
    cr_expect(turn_clock_is_stale(&clock, 8));
    cr_expect(turn_clock_is_stale(&clock, 7));
}

/* A method that takes long ages what is handled behind it by as much, so it is not many. */
Test(turn_clock, one_reading_stands_for_so_many_events_of_a_link)
{
    struct turn_clock clock = {0};
    turn_clock_begin(&clock);
    uint32_t readings = 0;
    for (int i = 0; i < 10 * TURN_CLOCK_EVENTS_MAX; i++) {
        readings += turn_clock_is_stale(&clock, 7);
    }
    cr_expect(eq(u32, readings, 10));
}

Test(turn_clock, what_comes_from_no_link_always_reads_it)
{
    struct turn_clock clock = {0};
    turn_clock_begin(&clock);
    cr_expect(turn_clock_is_stale(&clock, TURN_CLOCK_NO_LINK));
    cr_expect(turn_clock_is_stale(&clock, TURN_CLOCK_NO_LINK));
}

/* What was written says nothing that a time is counted from; but timers are due by some reading. */
Test(turn_clock, news_of_the_network_ask_for_any_reading_of_the_turn)
{
    struct turn_clock clock = {0};
    turn_clock_begin(&clock);
    cr_expect(turn_clock_is_unread(&clock));
    (void)turn_clock_is_stale(&clock, 7);
    cr_expect(not(turn_clock_is_unread(&clock)));
    cr_expect(not(turn_clock_is_stale(&clock, 7)), "they do not pass for the link's own");
    turn_clock_begin(&clock);
    cr_expect(turn_clock_is_unread(&clock));
}
