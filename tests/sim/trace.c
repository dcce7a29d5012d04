/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/sim/trace.h"

#include <inttypes.h>

#include "tests/sim/dice.h"

static void
take_in(struct trace *trace, const char *text)
{
    for (const char *at = text; *at != '\0'; at++) {
        trace->digest = trace->digest * 31 + (uint8_t)*at;
    }
}

void
trace_note(struct trace *trace, const char *what, uint64_t a, uint64_t b, uint64_t c)
{
    take_in(trace, what);
    trace->digest = dice_mix(trace->digest + a);
    trace->digest = dice_mix(trace->digest + b);
    trace->digest = dice_mix(trace->digest + c);
    if (trace->out != NULL) {
        (void)fprintf(trace->out, "%8" PRIu64 " %-24s %" PRIu64 " %" PRIu64 " %" PRIu64 "\n",
                      trace->step, what, a, b, c);
    }
}

void
trace_note_name(struct trace *trace, const char *what, const char *name, uint64_t a)
{
    take_in(trace, what);
    take_in(trace, name);
    trace->digest = dice_mix(trace->digest + a);
    if (trace->out != NULL) {
        (void)fprintf(trace->out, "%8" PRIu64 " %-24s %s %" PRIu64 "\n", trace->step, what, name,
                      a);
    }
}
