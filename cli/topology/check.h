/* SPDX-License-Identifier: Apache-2.0 */
/* `bourse check FILE...`: what is wrong with the files, and what they declare. Exits with 1 when
 * there is an error; with --strict, with 3 when there are warnings. */
#ifndef BOURSE_CLI_TOPOLOGY_CHECK_H
#define BOURSE_CLI_TOPOLOGY_CHECK_H

#include "cli/command/command.h"

enum { CHECK_OPTION_COUNT = 2 };
extern const struct command_option check_options[CHECK_OPTION_COUNT];

int check_run(const struct command_line *line, const struct command_io *io);

#endif
