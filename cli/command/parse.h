/* SPDX-License-Identifier: Apache-2.0 */
/* Reading what follows a command's name. */
#ifndef BOURSE_CLI_COMMAND_PARSE_H
#define BOURSE_CLI_COMMAND_PARSE_H

#include "cli/command/command.h"

/* Reads options and operands and runs the command; `argv[0]` is its name. What is wrong with them
 * is told in one line and is COMMAND_MISUSED. */
int parse_and_run(const struct command *command, int argc, char **argv,
                  const struct command_io *io);

#endif
