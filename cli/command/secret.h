/* SPDX-License-Identifier: Apache-2.0 */
/* Passwords that a command needs. They come from a file, the environment or the terminal, never
 * from the command line, which every user of the machine can read. */
#ifndef BOURSE_CLI_COMMAND_SECRET_H
#define BOURSE_CLI_COMMAND_SECRET_H

#include "cli/command/command.h"

enum { SECRET_BYTES_MAX = 1024 };

/* The one line of a file, without its end. COMMAND_OK, or what was reported; `*secret_out` is the
 * caller's, to be released with secret_free. */
int secret_from_file(char **secret_out, const char *path, const struct command_io *io);

/* The value of an environment variable. */
int secret_from_variable(char **secret_out, const char *name, const struct command_io *io);

/* A line of io->in; on a terminal it is asked for, and not shown. */
int secret_from_input(char **secret_out, const char *prompt, const struct command_io *io);

/* Overwrites and releases; NULL is fine. Leaves NULL behind. */
void secret_free(char **secret);

#endif
