/* SPDX-License-Identifier: Apache-2.0 */
/* The commands of the one binary. What a command is called, takes and prints stands in one table
 * (cli/commands.c); parser, help, manual page and completion are made from it, so that none of them
 * can forget a word. A new command is a file of its own and a row there. */
#ifndef BOURSE_CLI_COMMAND_COMMAND_H
#define BOURSE_CLI_COMMAND_COMMAND_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

/* How a command exits; exits.h says in words what each means. */
enum {
    COMMAND_OK = 0,
    COMMAND_FAILED = 1,
    COMMAND_DIFFERS = 2,      /* nothing failed: what was compared is not the same */
    COMMAND_WARNED = 3,       /* warnings, where they were asked to count */
    COMMAND_MISUSED = 64,     /* the command line itself is wrong */
    COMMAND_NOT_FOUND = 66,   /* the broker has no object of this name */
    COMMAND_UNREACHABLE = 69, /* no broker answers */
    COMMAND_DENIED = 77,      /* the broker does not let this user do that */
    COMMAND_OPTIONS_MAX = 24, /* of a command, without those that are shared */
};

/* Where a command reads and writes; tests give it memory. */
struct command_io {
    FILE *out;
    FILE *err;
    FILE *in; /* NULL: there is nothing to read */
};

/* Options that many commands share; a command's row says which (`shared`), as bits. */
enum shared_option {
    SHARED_CONTEXT,
    SHARED_TIMEOUT,
    SHARED_VHOST,
    SHARED_OUTPUT,
    SHARED_NO_COLOR,
    SHARED_WATCH,
    SHARED_QUIET,
    SHARED_OPTION_COUNT,
};

enum {
    /* Of a command that prints rows. */
    SHARED_BY_TABLE = 1 << SHARED_OUTPUT | 1 << SHARED_NO_COLOR,
    /* Of a command that asks a running broker and writes what it gets as it is. */
    SHARED_BY_FILE = 1 << SHARED_CONTEXT | 1 << SHARED_TIMEOUT | 1 << SHARED_QUIET,
    /* Of any other that asks one; about objects of one vhost. */
    SHARED_BY_CLIENT = SHARED_BY_FILE | SHARED_BY_TABLE,
    SHARED_BY_VHOST = SHARED_BY_CLIENT | 1 << SHARED_VHOST,
};

/* An option with a value, `--NAME ARGUMENT`, or a flag, `--NAME`. Its letter, if any, stands in
 * command_letter(): a letter means the same everywhere.
 *
 * Words of `argument` tell the completion what may follow, and the parser what is wrong: see
 * cli/command/words.h. One that ends in "..." may be given several times. */
struct command_option {
    const char *name;
    const char *argument; /* NULL: a flag */
    const char *help;
};

/* An option of the command as it was given. */
struct command_given {
    size_t option;    /* index in the command's table */
    const char *text; /* its value, or the name of a flag */
};

/* What was given after the command's name. All text is argv's. */
struct command_line {
    const struct command *command;
    char *const *operands;
    size_t operand_count;
    const char *options[COMMAND_OPTIONS_MAX]; /* as in the command's table; NULL: not given;
                                                 a flag that is given is its name; of several
                                                 the last */
    const char *shared[SHARED_OPTION_COUNT];  /* the same of the shared options */
    const struct command_given *given;        /* the command's own options in the order given */
    size_t given_count;
};

struct command {
    const char *name;     /* one word, or two: "queue declare" */
    const char *operands; /* as in the help: "[FILE...]"; their words as in command_option */
    size_t operand_min;
    size_t operand_max;
    const char *summary; /* one line */
    const char *details; /* some lines, each ended by a newline; NULL: none */
    const char *heading; /* of the part of the list that begins here; NULL: goes on */
    const char *exits;   /* lines like `details`: what else an exit status means; NULL: nothing */
    unsigned shared;     /* bits of enum shared_option */
    const struct command_option *options;
    size_t option_count;
    int (*run)(const struct command_line *line, const struct command_io *io);
};

/* Runs what the command line says and returns the exit status. */
int command_main(int argc, char **argv, const struct command_io *io);

/* Writes one line, "bourse: ...", to io->err and returns COMMAND_MISUSED. */
int command_misused(const struct command_io *io, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* The same, returning `status`. What it says is: what went wrong, why, and what to do next. */
int command_error(const struct command_io *io, int status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Writes one line to io->err as it is, without "bourse: ". Like the others it may say names and
 * reasons of others: control characters, and what turns the direction of writing, are escaped. */
void command_note(const struct command_io *io, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* The next value of an option that may be given several times, from `*at` on, which is moved behind
 * it and is 0 at first; NULL: no more. */
const char *command_line_next(const struct command_line *line, size_t option, size_t *at);

/* The table ---------------------------------------------------------------------------------- */

size_t command_count(void);
const struct command *command_at(size_t index);

/* The command that the words begin with, and how many of them are its name; NULL: none. */
const struct command *command_find(const char *const *words, size_t count, size_t *words_out);

/* True for the first word of commands that have two. */
bool command_is_group(const char *word);
/* True when `command` has two words, the first of which is `word`. */
bool command_is_of_group(const struct command *command, const char *word);

/* All options of a command, its own first, then the shared ones it has, then --help; NULL behind
 * the last. */
const struct command_option *command_option_at(const struct command *command, size_t index);

/* Which shared option it is; SHARED_OPTION_COUNT: none. */
enum shared_option command_shared_option(const struct command_option *option);

/* The letter of an option; 0: none. */
char command_letter(const struct command_option *option);

/* One line about a word that is not a command, with a guess what was meant. */
int command_report_unknown(const struct command_io *io, const char *const *words, size_t count);

#endif
