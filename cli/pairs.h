/* SPDX-License-Identifier: Apache-2.0 */
/* NAME=VALUE on the command line: arguments of queues, headers of messages. */
#ifndef BOURSE_CLI_PAIRS_H
#define BOURSE_CLI_PAIRS_H

#include <jansson.h>

#include "cli/command.h"

/* All values of an option as one object. A value that is a number, true, false, null, or an object
 * or list in JSON is that; every other one is text, and so is one in quotes. COMMAND_OK, or what
 * was reported; the object is the caller's. */
int pairs_read(json_t **object_out, const struct command_line *line, size_t option,
               const struct command_io *io);

#endif
