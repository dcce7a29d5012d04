/* SPDX-License-Identifier: Apache-2.0 */
/* `bourse export`: a topology in another form: YAML, definitions.json, a graph (DOT), or AsyncAPI.
 */
#ifndef BOURSE_CLI_DEFINITIONS_EXPORT_H
#define BOURSE_CLI_DEFINITIONS_EXPORT_H

#include "cli/command/command.h"

enum { EXPORT_OPTION_COUNT = 7 };
extern const struct command_option export_options[EXPORT_OPTION_COUNT];

int export_run(const struct command_line *line, const struct command_io *io);

#endif
