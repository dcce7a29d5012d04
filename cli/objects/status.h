/* SPDX-License-Identifier: Apache-2.0 */
/* How a broker is: `bourse status`, `bourse top`, `bourse ping`. */
#ifndef BOURSE_CLI_OBJECTS_STATUS_H
#define BOURSE_CLI_OBJECTS_STATUS_H

#include "cli/command/command.h"

int status_run(const struct command_line *line, const struct command_io *io);
int top_run(const struct command_line *line, const struct command_io *io);
int ping_run(const struct command_line *line, const struct command_io *io);

#endif
