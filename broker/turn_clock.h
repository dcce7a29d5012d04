/* SPDX-License-Identifier: Apache-2.0 */
/* When the clock is read within a turn of the loop. What a client asks for is counted from the
 * reading before it was handled, and a time to live or a wait must not end early: so the clock is
 * read after the wait, and again for what comes from another link, whose octets may have been read
 * only now, and where a link brings much. Not for each message: that costs more than some messages
 * do. */
#ifndef BOURSE_BROKER_TURN_CLOCK_H
#define BOURSE_BROKER_TURN_CLOCK_H

#include <stdbool.h>
#include <stdint.h>

/* Events of one link that one reading stands for, at most: some tens of microseconds. */
enum { TURN_CLOCK_EVENTS_MAX = 64 };

/* For what comes from no link; always stale. */
#define TURN_CLOCK_NO_LINK UINT64_MAX

struct turn_clock {
    uint64_t link;        /* of the events since the last reading */
    uint32_t events_left; /* that it still stands for; 0: none, as when a turn begins */
};

/* A turn begins: what was read before the wait counts no more. */
static inline void
turn_clock_begin(struct turn_clock *clock)
{
    clock->events_left = 0;
}

/* An event of that link is about to be handled: whether the clock is to be read first, which the
 * caller then does. */
static inline bool
turn_clock_is_stale(struct turn_clock *clock, uint64_t link)
{
    if (clock->events_left > 0 && clock->link == link && link != TURN_CLOCK_NO_LINK) {
        clock->events_left--;
        return false;
    }
    clock->link = link;
    clock->events_left = TURN_CLOCK_EVENTS_MAX - 1;
    return true;
}

/* Whether the clock was not read in this turn, or not for long: news of the network side that no
 * time is counted from, such as octets that were written, ask for no more than that. */
static inline bool
turn_clock_is_unread(const struct turn_clock *clock)
{
    return clock->events_left == 0;
}

#endif
