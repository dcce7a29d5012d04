/* SPDX-License-Identifier: Apache-2.0 */
/* `bourse explain CODE|KEY`: what a reply code, an exit status or a key of the file means, without
 * a broker. */
#ifndef BOURSE_CLI_MANUAL_EXPLAIN_H
#define BOURSE_CLI_MANUAL_EXPLAIN_H

#include "cli/command/command.h"

int explain_run(const struct command_line *line, const struct command_io *io);

#endif
