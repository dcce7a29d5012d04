/* SPDX-License-Identifier: Apache-2.0 */
/* The timer wheel. Level 0 has one slot for each of the next steps; a slot of level n stands for as
 * many steps as the whole level below has. When the wheel comes to the first step of such a slot,
 * its timers are put down: each finds its place anew, on a lower level. */
#include "base/timer.h"

enum { SLOT_BITS = 6 };
static_assert(TIMER_SLOTS == 1 << SLOT_BITS, "slots are taken from bits of the step");
static_assert(TIMER_SLOTS == 64, "each has its bit in a word");

/* Deadlines further ahead wait in the last slot of the highest level. */
static const uint64_t ahead_max = (UINT64_C(1) << (SLOT_BITS * TIMER_LEVELS)) - 1;

void
timer_wheel_init(struct timer_wheel *wheel, uint64_t now_ms)
{
    for (int level = 0; level < TIMER_LEVELS; level++) {
        for (int slot = 0; slot < TIMER_SLOTS; slot++) {
            list_init(&wheel->slots[level][slot]);
        }
    }
    for (int level = 0; level < TIMER_LEVELS; level++) {
        wheel->busy[level] = 0;
    }
    wheel->now_step = now_ms / TIMER_STEP_MS;
    wheel->armed_count = 0;
}

/* The first step that begins at or after `due_ms`. */
static uint64_t
due_step(uint64_t due_ms)
{
    return due_ms / TIMER_STEP_MS + (due_ms % TIMER_STEP_MS != 0);
}

static uint64_t
slot_number(int level, uint64_t step)
{
    return (step >> (SLOT_BITS * level)) % TIMER_SLOTS;
}

static struct list *
slot_at(struct timer_wheel *wheel, int level, uint64_t step)
{
    return &wheel->slots[level][slot_number(level, step)];
}

static void
mark_free(struct timer_wheel *wheel, int level, uint64_t step)
{
    wheel->busy[level] &= ~(UINT64_C(1) << slot_number(level, step));
}

/* Puts a timer where it belongs, not before `earliest_step`. */
static void
place(struct timer_wheel *wheel, struct timer *timer, uint64_t earliest_step)
{
    uint64_t step = due_step(timer->due_ms);
    if (step < earliest_step) {
        step = earliest_step;
    }
    uint64_t ahead = step - wheel->now_step;
    if (ahead > ahead_max) {
        ahead = ahead_max;
        step = wheel->now_step + ahead_max;
    }
    int level = 0;
    while (ahead >> (SLOT_BITS * (level + 1)) != 0) {
        level++;
    }
    list_append(slot_at(wheel, level, step), &timer->link);
    wheel->busy[level] |= UINT64_C(1) << slot_number(level, step);
}

void
timer_arm(struct timer_wheel *wheel, struct timer *timer, uint64_t due_ms, timer_callback *callback,
          void *context)
{
    timer_cancel(wheel, timer);
    timer->due_ms = due_ms;
    timer->callback = callback;
    timer->context = context;
    place(wheel, timer, wheel->now_step + 1);
    wheel->armed_count++;
}

/* Whether a timer that is armed has its slot to itself. */
static bool
is_alone(const struct timer *timer)
{
    return timer->link.next == timer->link.previous;
}

/* The slot that holds nothing but this timer is free from now on: its neighbour is the list. */
static void
mark_left(struct timer_wheel *wheel, const struct timer *timer)
{
    const struct list *slot = CONTAINER_OF(timer->link.next, struct list, head);
    size_t number = (size_t)(slot - &wheel->slots[0][0]);
    assert(number < (size_t)TIMER_LEVELS * TIMER_SLOTS);
    wheel->busy[number / TIMER_SLOTS] &= ~(UINT64_C(1) << number % TIMER_SLOTS);
}

void
timer_cancel(struct timer_wheel *wheel, struct timer *timer)
{
    if (timer_is_armed(timer)) {
        if (is_alone(timer)) {
            mark_left(wheel, timer);
        }
        list_remove(&timer->link);
        wheel->armed_count--;
    }
}

/* The slots of a level in the order in which the wheel comes to them, the one behind `current`
 * first: bit n is slot current + 1 + n. */
static uint64_t
busy_from(uint64_t busy, uint64_t current)
{
    unsigned shift = (unsigned)((current + 1) % TIMER_SLOTS);
    return shift == 0 ? busy : busy >> shift | busy << (TIMER_SLOTS - shift);
}

/* The next step at which timers fire or are put down; UINT64_MAX when there are none. A slot that
 * has the index of the current step lies a whole turn ahead. */
static uint64_t
next_busy_step(const struct timer_wheel *wheel)
{
    uint64_t nearest = UINT64_MAX;
    for (int level = 0; level < TIMER_LEVELS; level++) {
        uint64_t current = wheel->now_step >> (SLOT_BITS * level);
        uint64_t busy = busy_from(wheel->busy[level], current);
        if (busy != 0) {
            uint64_t slot = current + 1 + (uint64_t)__builtin_ctzll(busy);
            uint64_t step = slot << (SLOT_BITS * level);
            nearest = step < nearest ? step : nearest;
        }
    }
    return nearest;
}

/* Puts down the slots that begin with the current step, the highest level first, since its timers
 * may go to the next one. None goes back to the slot it comes from: what is left of its time is
 * less than the slot is wide, or else the slot is ahead_max steps ahead. */
static void
put_down(struct timer_wheel *wheel)
{
    for (int level = TIMER_LEVELS - 1; level > 0; level--) {
        uint64_t slot_width = UINT64_C(1) << (SLOT_BITS * level);
        if (wheel->now_step % slot_width != 0) {
            continue;
        }
        struct list *slot = slot_at(wheel, level, wheel->now_step);
        for (struct list_link *link = list_pop(slot); link != NULL; link = list_pop(slot)) {
            place(wheel, CONTAINER_OF(link, struct timer, link), wheel->now_step);
        }
        mark_free(wheel, level, wheel->now_step);
    }
}

/* Fires the timers of the current step. Whatever a callback arms goes to a later step, so this
 * ends. */
static void
fire(struct timer_wheel *wheel)
{
    struct list *slot = slot_at(wheel, 0, wheel->now_step);
    for (struct list_link *link = list_pop(slot); link != NULL; link = list_pop(slot)) {
        struct timer *timer = CONTAINER_OF(link, struct timer, link);
        wheel->armed_count--;
        timer->callback(timer, timer->context);
    }
    mark_free(wheel, 0, wheel->now_step);
}

void
timer_wheel_advance(struct timer_wheel *wheel, uint64_t now_ms)
{
    uint64_t target = now_ms / TIMER_STEP_MS;
    while (wheel->now_step < target) {
        uint64_t step = next_busy_step(wheel);
        if (step > target) {
            wheel->now_step = target;
            return;
        }
        wheel->now_step = step;
        put_down(wheel);
        fire(wheel);
    }
}

uint64_t
timer_wheel_wait_ms(const struct timer_wheel *wheel, uint64_t now_ms)
{
    uint64_t step = next_busy_step(wheel);
    if (step == UINT64_MAX) {
        return UINT64_MAX;
    }
    uint64_t due_ms = step * TIMER_STEP_MS;
    return due_ms > now_ms ? due_ms - now_ms : 0;
}
