/* SPDX-License-Identifier: Apache-2.0 */
/* `bourse store dump DIR`: what the data of a stopped broker holds, as text or as one JSON object a
 * line. */
#ifndef BOURSE_CLI_STORE_DUMP_H
#define BOURSE_CLI_STORE_DUMP_H

#include "cli/command/command.h"

enum { DUMP_OPTION_COUNT = 2 };
extern const struct command_option dump_options[DUMP_OPTION_COUNT];

int dump_run(const struct command_line *line, const struct command_io *io);

#endif
