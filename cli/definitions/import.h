/* SPDX-License-Identifier: Apache-2.0 */
/* `bourse import DEFINITIONS`: RabbitMQ's or LavinMQ's definitions.json becomes configuration
 * files, one for each vhost. */
#ifndef BOURSE_CLI_DEFINITIONS_IMPORT_H
#define BOURSE_CLI_DEFINITIONS_IMPORT_H

#include "cli/command/command.h"

enum { IMPORT_OPTION_COUNT = 3 };
extern const struct command_option import_options[IMPORT_OPTION_COUNT];

int import_run(const struct command_line *line, const struct command_io *io);

#endif
