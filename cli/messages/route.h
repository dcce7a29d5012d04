/* SPDX-License-Identifier: Apache-2.0 */
/* `bourse route EXCHANGE KEY`: where a message would go, step by step, and why not elsewhere. */
#ifndef BOURSE_CLI_MESSAGES_ROUTE_H
#define BOURSE_CLI_MESSAGES_ROUTE_H

#include "cli/command/command.h"

enum { ROUTE_OPTION_COUNT = 5 };
extern const struct command_option route_options[ROUTE_OPTION_COUNT];

/* Exits with 0 when a queue gets the message, with 1 when none does, when publishing is refused, or
 * when the file has errors. */
int route_run(const struct command_line *line, const struct command_io *io);

#endif
