/* SPDX-License-Identifier: Apache-2.0 */

/* The window is a ring: numbers from lowest_open to published are in it, so a slot is free again
 * once the lowest open number has passed it. Room is counted from the lowest open number, as a
 * client with an ordered window does. */

#include "bench/loadgen_confirms.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>

#include "bench/loadgen_die.h"

void
confirms_init(struct confirms *confirms, uint32_t window)
{
    *confirms = (struct confirms){.window = window, .lowest_open = 1};
    if (window == 0) {
        return;
    }
    size_t slots = 1;
    while (slots < (size_t)window + 1) {
        slots *= 2;
    }
    confirms->mask = slots - 1;
    confirms->due_ns = die_calloc(slots, sizeof *confirms->due_ns);
    confirms->open = die_calloc(slots, sizeof *confirms->open);
}

void
confirms_fini(struct confirms *confirms)
{
    free(confirms->due_ns);
    free(confirms->open);
    *confirms = (struct confirms){0};
}

uint64_t
confirms_room(const struct confirms *confirms)
{
    if (confirms->window == 0) {
        return UINT64_MAX;
    }
    return confirms->window - (confirms->published + 1 - confirms->lowest_open);
}

void
confirms_publish(struct confirms *confirms, uint64_t due_ns)
{
    if (confirms->window == 0) {
        return;
    }
    assert(confirms_room(confirms) > 0);
    confirms->published++;
    confirms->due_ns[confirms->published & confirms->mask] = due_ns;
    confirms->open[confirms->published & confirms->mask] = true;
}

static void
confirms_close_one(struct confirms *confirms, uint64_t number, uint64_t now_ns,
                   struct histogram *latency)
{
    uint64_t due_ns = confirms->due_ns[number & confirms->mask];
    confirms->open[number & confirms->mask] = false;
    if (latency != NULL) {
        histogram_record(latency, now_ns > due_ns ? now_ns - due_ns : 0);
    }
}

uint64_t
confirms_ack(struct confirms *confirms, uint64_t number, bool multiple, uint64_t now_ns,
             struct histogram *latency)
{
    if (multiple && number == 0) {
        number = confirms->published; /* AMQP 0-9-1: zero with multiple means all outstanding */
    }
    if (number > confirms->published || number < confirms->lowest_open ||
        !confirms->open[number & confirms->mask]) {
        die("producer: publish %" PRIu64 " was confirmed twice or never made", number);
    }
    uint64_t closed = 0;
    for (uint64_t at = multiple ? confirms->lowest_open : number; at <= number; at++) {
        if (confirms->open[at & confirms->mask]) {
            confirms_close_one(confirms, at, now_ns, latency);
            closed++;
        }
    }
    while (confirms->lowest_open <= confirms->published &&
           !confirms->open[confirms->lowest_open & confirms->mask]) {
        confirms->lowest_open++;
    }
    return closed;
}
