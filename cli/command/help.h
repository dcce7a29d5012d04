/* SPDX-License-Identifier: Apache-2.0 */
/* `bourse help`: what the table of commands says, for people. */
#ifndef BOURSE_CLI_COMMAND_HELP_H
#define BOURSE_CLI_COMMAND_HELP_H

#include "cli/command/command.h"

/* All commands, a line each. */
void help_print_list(FILE *out);

/* Usage, options and exit statuses of one. */
void help_print_command(const struct command *command, FILE *out);

/* `[COMMAND]`; with --quiet the names only, for completion. */
int help_run(const struct command_line *line, const struct command_io *io);

/* `bourse version` */
int version_run(const struct command_line *line, const struct command_io *io);

#endif
