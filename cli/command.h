/* SPDX-License-Identifier: Apache-2.0 */
/* The commands of the one binary: a table of them, the parser of their options and the help that is
 * made from the table. */
#ifndef BOURSE_CLI_COMMAND_H
#define BOURSE_CLI_COMMAND_H

#include <stddef.h>
#include <stdio.h>

enum {
    COMMAND_OK = 0,
    COMMAND_FAILED = 1,
    COMMAND_WARNED = 3,   /* warnings, where they were asked to count */
    COMMAND_MISUSED = 64, /* the command line itself is wrong */
    COMMAND_OPTIONS_MAX = 8,
};

/* Where a command writes; tests collect it. */
struct command_io {
    FILE *out;
    FILE *err;
};

/* What was given after the command's name. All text is argv's. */
struct command_line {
    char *const *operands;
    size_t operand_count;
    const char *options[COMMAND_OPTIONS_MAX]; /* as in the command's table; NULL: not given;
                                                 a flag that is given is its name */
};

/* An option with a value, `--NAME ARGUMENT`, or a flag, `--NAME`. */
struct command_option {
    const char *name;
    const char *argument; /* NULL: a flag */
    const char *help;
};

struct command {
    const char *name;
    const char *operands; /* as in the help: "[FILE...]" */
    size_t operand_min;
    size_t operand_max;
    const char *summary; /* one line */
    const char *details; /* some lines, each ended by a newline; NULL: none */
    const struct command_option *options;
    size_t option_count;
    int (*run)(const struct command_line *line, const struct command_io *io);
};

/* Runs what the command line says and returns the exit status. */
int command_main(int argc, char **argv, const struct command_io *io);

/* Writes one line, "bourse: ...", to io->err and returns COMMAND_MISUSED. */
int command_misused(const struct command_io *io, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

#endif
