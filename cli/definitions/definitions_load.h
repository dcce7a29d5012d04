/* SPDX-License-Identifier: Apache-2.0 */
/* Where the commands get definitions from: a JSON file, or configuration files. */
#ifndef BOURSE_CLI_DEFINITIONS_DEFINITIONS_LOAD_H
#define BOURSE_CLI_DEFINITIONS_DEFINITIONS_LOAD_H

#include "cli/client/context.h"
#include "cli/command/command.h"
#include "management/definitions/definitions.h"

/* Reads a definitions.json ("-": standard input). `vhost` NULL takes all; else that one alone,
 * which is also the name of what does not say its own. False, with a line on io->err. */
bool definitions_load_json(struct definitions *definitions, const char *path, const char *vhost,
                           const struct command_io *io);

/* Reads a configuration file; what is wrong with it is printed. */
bool definitions_load_config(struct definitions *definitions, const char *path,
                             const struct command_io *io);

/* Either of them, by what the file begins with: "{" is JSON. */
bool definitions_load(struct definitions *definitions, const char *path, const char *vhost,
                      const struct command_io *io);

/* Asks a running broker, of RabbitMQ's kind as well, for its own: those of --vhost or the context's
 * vhost alone, else of all. COMMAND_OK, or what was reported. */
int definitions_load_broker(struct definitions *definitions, const struct command_line *line,
                            const struct command_io *io);

/* The same of a place that the command was given; takes it. */
int definitions_load_place(struct definitions *definitions, struct context *place,
                           const struct command_line *line, const struct command_io *io);

/* "bourse: warning: ...", one a line. */
void definitions_print_warnings(const struct definitions *definitions, FILE *out);

#endif
