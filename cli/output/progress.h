/* SPDX-License-Identifier: Apache-2.0 */
/* How far long work is, on one line of standard error that is drawn over and over: on a terminal
 * only, and not with --quiet. Without a total a mark goes to and fro. */
#ifndef BOURSE_CLI_OUTPUT_PROGRESS_H
#define BOURSE_CLI_OUTPUT_PROGRESS_H

#include <stdint.h>

#include "cli/command/command.h"

struct progress {
    FILE *out;        /* NULL: nothing is shown */
    uint64_t next_ms; /* nothing is drawn before; of a clock that never goes back */
    unsigned step;    /* how often it was drawn */
};

/* `is_quiet`: nothing is shown in any case. */
struct progress progress_begin(const struct command_io *io, bool is_quiet);

/* Draws the line anew, ten times a second at most: `done` of `total`, which is 0 when nobody knows
 * it, and the words, which fit a line. */
void progress_show(struct progress *progress, uint64_t done, uint64_t total, const char *format,
                   ...) __attribute__((format(printf, 4, 5)));

/* Takes the line away: what comes next is written in its place. */
void progress_end(struct progress *progress);

#endif
