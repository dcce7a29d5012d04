/* SPDX-License-Identifier: Apache-2.0 */
/* `bourse trace`: the firehose of a virtual host, on and off. */
#ifndef BOURSE_CLI_MESSAGES_TRACE_H
#define BOURSE_CLI_MESSAGES_TRACE_H

#include "cli/command/command.h"

int trace_on_run(const struct command_line *line, const struct command_io *io);
int trace_off_run(const struct command_line *line, const struct command_io *io);
int trace_status_run(const struct command_line *line, const struct command_io *io);

#endif
