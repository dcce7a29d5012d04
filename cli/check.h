/* SPDX-License-Identifier: Apache-2.0 */
/* `bourse check FILE...`: what is wrong with the files, and what they declare. */
#ifndef BOURSE_CLI_CHECK_H
#define BOURSE_CLI_CHECK_H

#include "cli/command.h"

int check_run(const struct command_line *line, const struct command_io *io);

#endif
