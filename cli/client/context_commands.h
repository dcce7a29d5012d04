/* SPDX-License-Identifier: Apache-2.0 */
/* `bourse context add|use|ls|rm`: which brokers there are by name. */
#ifndef BOURSE_CLI_CLIENT_CONTEXT_COMMANDS_H
#define BOURSE_CLI_CLIENT_CONTEXT_COMMANDS_H

#include "cli/command/command.h"

enum { CONTEXT_ADD_OPTION_COUNT = 7 };
extern const struct command_option context_add_options[CONTEXT_ADD_OPTION_COUNT];

int context_add_run(const struct command_line *line, const struct command_io *io);
int context_use_run(const struct command_line *line, const struct command_io *io);
int context_list_run(const struct command_line *line, const struct command_io *io);
int context_remove_run(const struct command_line *line, const struct command_io *io);

#endif
