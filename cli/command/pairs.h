/* SPDX-License-Identifier: Apache-2.0 */
/* Words of the command line as members of a JSON object: NAME=VALUE, as arguments of queues and
 * headers of messages are given, and texts. */
#ifndef BOURSE_CLI_COMMAND_PAIRS_H
#define BOURSE_CLI_COMMAND_PAIRS_H

#include <jansson.h>

#include "cli/command/command.h"

/* All values of an option as one object. A value that is a number, true, false, null, or an object
 * or list in JSON is that; every other one is text, and so is one in quotes. COMMAND_OK, or what
 * was reported; the object is the caller's. */
int pairs_read(json_t **object_out, const struct command_line *line, size_t option,
               const struct command_io *io);

/* Puts a text, if one is given (not NULL). What is not UTF-8 is no text of JSON, and reported. */
int pairs_put_text(json_t *object, const char *name, const char *text, const struct command_io *io);

#endif
