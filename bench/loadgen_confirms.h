/* SPDX-License-Identifier: Apache-2.0 */

/* A producer's window of publishes that the broker has not confirmed yet. Publishes count from 1
 * for each channel, confirms come one by one or for all up to a number, and in any order. */

#ifndef BENCH_LOADGEN_CONFIRMS_H
#define BENCH_LOADGEN_CONFIRMS_H

#include <stdbool.h>
#include <stdint.h>

#include "bench/loadgen_histogram.h"

struct confirms {
    uint32_t window;      /* zero: confirms are off, and the rest is unused */
    uint64_t mask;        /* slots minus one; the slots are the power of two above the window */
    uint64_t *due_ns;     /* by number & mask, when the publish was due; owned */
    bool *open;           /* by number & mask; owned */
    uint64_t published;   /* number of the last publish */
    uint64_t lowest_open; /* every number below is confirmed */
};

void confirms_init(struct confirms *confirms, uint32_t window);
void confirms_fini(struct confirms *confirms);

/* How many more publishes the window allows now; the largest number there is if it is off. */
uint64_t confirms_room(const struct confirms *confirms);

/* Enters the next publish, which confirms_room() allowed. */
void confirms_publish(struct confirms *confirms, uint64_t due_ns);

/* Enters a basic.ack. Records the time from due to `now_ns` for each publish it covers, if
 * `latency` is not NULL, and returns how many that were. Ends the program if the number was never
 * published or is confirmed already. */
uint64_t confirms_ack(struct confirms *confirms, uint64_t number, bool multiple, uint64_t now_ns,
                      struct histogram *latency);

#endif
