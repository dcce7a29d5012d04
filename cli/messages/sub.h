/* SPDX-License-Identifier: Apache-2.0 */
/* `bourse sub`: looks on while messages pass an exchange or enter a queue, and changes nothing. */
#ifndef BOURSE_CLI_MESSAGES_SUB_H
#define BOURSE_CLI_MESSAGES_SUB_H

#include "cli/command/command.h"

enum { SUB_OPTION_COUNT = 4 };
extern const struct command_option sub_options[SUB_OPTION_COUNT];

int sub_run(const struct command_line *line, const struct command_io *io);

#endif
