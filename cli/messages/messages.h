/* SPDX-License-Identifier: Apache-2.0 */
/* Messages, one by one: seen, taken, and published. */
#ifndef BOURSE_CLI_MESSAGES_MESSAGES_H
#define BOURSE_CLI_MESSAGES_MESSAGES_H

#include "cli/command/command.h"

enum { PEEK_OPTION_COUNT = 1, GET_OPTION_COUNT = 2, PUBLISH_OPTION_COUNT = 4 };

extern const struct command_option peek_options[PEEK_OPTION_COUNT];
extern const struct command_option get_options[GET_OPTION_COUNT];
extern const struct command_option publish_options[PUBLISH_OPTION_COUNT];

int peek_run(const struct command_line *line, const struct command_io *io);
int get_run(const struct command_line *line, const struct command_io *io);
int publish_run(const struct command_line *line, const struct command_io *io);

#endif
