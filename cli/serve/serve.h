/* SPDX-License-Identifier: Apache-2.0 */
/* `bourse serve [FILE...]`: the broker as a process, with its signals. */
#ifndef BOURSE_CLI_SERVE_SERVE_H
#define BOURSE_CLI_SERVE_SERVE_H

#include "cli/serve/serve_options.h"

/* Prints what has to be said first and the line `bourse ready: amqp://ADDR:PORT ...` to io->out,
 * then runs until SIGTERM or SIGINT. The second one ends the process at once, with the signal's
 * status, whatever the first is waiting for. Changes the process: umask, no core dumps, blocked
 * signals. */
int serve_run(const struct command_line *line, const struct command_io *io);

#endif
