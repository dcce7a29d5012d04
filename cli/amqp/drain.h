/* SPDX-License-Identifier: Apache-2.0 */
/* `bourse drain`: has the messages of a queue of another broker come here. */
#ifndef BOURSE_CLI_AMQP_DRAIN_H
#define BOURSE_CLI_AMQP_DRAIN_H

#include "cli/command/command.h"

enum { DRAIN_OPTION_COUNT = 9 };
extern const struct command_option drain_options[DRAIN_OPTION_COUNT];

int drain_run(const struct command_line *line, const struct command_io *io);

#endif
