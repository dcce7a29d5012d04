/* SPDX-License-Identifier: Apache-2.0 */
/* `bourse delayed`: messages that wait for a time. */
#ifndef BOURSE_CLI_DESK_DELAYED_H
#define BOURSE_CLI_DESK_DELAYED_H

#include "cli/command/command.h"

enum { DELAYED_LS_OPTION_COUNT = 3, DELAYED_SETTLE_OPTION_COUNT = 3 };

extern const struct command_option delayed_ls_options[DELAYED_LS_OPTION_COUNT];
extern const struct command_option delayed_settle_options[DELAYED_SETTLE_OPTION_COUNT];

int delayed_ls_run(const struct command_line *line, const struct command_io *io);
int delayed_release_run(const struct command_line *line, const struct command_io *io);
int delayed_cancel_run(const struct command_line *line, const struct command_io *io);

#endif
