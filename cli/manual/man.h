/* SPDX-License-Identifier: Apache-2.0 */
/* `bourse man`: the manual page bourse(1), in roff, made from the table of commands. One page for
 * all of them: what is shared stands once, and a word is found by one search. `bourse man PAGE`
 * prints one of the others (cli/manual/man_pages.h). */
#ifndef BOURSE_CLI_MANUAL_MAN_H
#define BOURSE_CLI_MANUAL_MAN_H

#include "cli/command/command.h"

int man_run(const struct command_line *line, const struct command_io *io);

#endif
