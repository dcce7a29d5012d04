/* SPDX-License-Identifier: Apache-2.0 */
/* A hierarchical timer wheel: steps of 10 ms, four levels of 64 slots (the last about 46 hours
 * wide; later deadlines wait there and are put down again). Arming, re-arming and cancelling cost
 * the same whatever the number of timers. Reads no clock. */
#ifndef BOURSE_BASE_TIMER_H
#define BOURSE_BASE_TIMER_H

#include "base/list.h"

#include <stdint.h>

enum { TIMER_STEP_MS = 10, TIMER_LEVELS = 4, TIMER_SLOTS = 64 };

struct timer;
typedef void timer_callback(struct timer *timer, void *context);

/* Embedded in the object that waits; all zero is a timer that is not armed. */
struct timer {
    struct list_link link;
    uint64_t due_ms; /* monotonic */
    timer_callback *callback;
    void *context;
};

struct timer_wheel {
    struct list slots[TIMER_LEVELS][TIMER_SLOTS]; /* point at timers, own none */
    uint64_t busy[TIMER_LEVELS];                  /* a bit for each slot that holds timers */
    uint64_t now_step;                            /* steps of TIMER_STEP_MS handled so far */
    uint32_t armed_count;
};

void timer_wheel_init(struct timer_wheel *wheel, uint64_t now_ms);

/* Calls `callback(timer, context)` from timer_wheel_advance once `due_ms` has passed (never early,
 * at most one step late). Re-arms a timer that is armed already. */
void timer_arm(struct timer_wheel *wheel, struct timer *timer, uint64_t due_ms,
               timer_callback *callback, void *context);
void timer_cancel(struct timer_wheel *wheel, struct timer *timer);

static inline int
timer_is_armed(const struct timer *timer)
{
    return list_link_is_linked(&timer->link);
}

/* Fires what is due. A callback may arm and cancel any timer, its own included. */
void timer_wheel_advance(struct timer_wheel *wheel, uint64_t now_ms);

/* Milliseconds until timer_wheel_advance should next be called; UINT64_MAX when no timer is armed.
 * May be earlier than the next deadline (a level has to be put down), never later. */
uint64_t timer_wheel_wait_ms(const struct timer_wheel *wheel, uint64_t now_ms);

#endif
