/* SPDX-License-Identifier: Apache-2.0 */

/* What the micro-benchmarks share: one case after the other is repeated until the clock can tell,
 * and costs are printed per step: nanoseconds of CPU time, instructions where the processor counts
 * them for us, allocations. Figures to compare, not to assert.
 *
 *     micro_crc                          a table of all cases
 *     micro_crc --json                   the same, one JSON object a line
 *     micro_crc --case NAME --count N    that case once, N steps after as many to warm up
 *
 * The last form is for callgrind, which counts instructions where no counter is to be had: it
 * collects within micro_measured alone (bench/costs.py does it). */

#ifndef BENCH_MICRO_H
#define BENCH_MICRO_H

#include <stdbool.h>
#include <stdint.h>

struct micro {
    bool json;
    const char *only;   /* the case to run; NULL: all */
    uint64_t count;     /* steps to run it once; 0: until the clock can tell */
    int instruction_fd; /* -1: nobody counts for us */
};

/* Does `count` steps of what is measured. */
typedef void micro_body(void *context, uint64_t count);

/* Reads the command line; ends the program with status 2 when it is not as above. */
void micro_init(struct micro *micro, int argc, char **argv);

/* Whether this case was asked for: what it needs is not made otherwise. */
bool micro_wants(const struct micro *micro, const char *name);

/* Measures one case and prints it. `words` say what one step is. */
void micro_run(const struct micro *micro, const char *name, const char *words, micro_body *body,
               void *context);

/* Keeps the compiler from leaving out what computes `value`. */
static inline void
micro_use(uint64_t value)
{
    __asm__ volatile("" : : "r"(value) : "memory");
}

#endif
