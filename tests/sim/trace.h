/* SPDX-License-Identifier: Apache-2.0 */
/* What happened in a run, in order: always as one number, which is the same for two runs exactly
 * when the same happened in both, and as lines of text when somebody wants to read it. */
#ifndef BOURSE_TESTS_SIM_TRACE_H
#define BOURSE_TESTS_SIM_TRACE_H

#include <stdint.h>
#include <stdio.h>

struct trace {
    uint64_t digest;
    uint64_t step; /* of the world; stands in front of every line */
    FILE *out;     /* NULL: nobody reads */
};

/* `what` has blanks between its words and none elsewhere; `a`, `b` and `c` are what it is about. */
void trace_note(struct trace *trace, const char *what, uint64_t a, uint64_t b, uint64_t c);
/* The same about something that has a name. */
void trace_note_name(struct trace *trace, const char *what, const char *name, uint64_t a);

#endif
