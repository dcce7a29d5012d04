/* SPDX-License-Identifier: Apache-2.0 */
/* `bourse completion bash|zsh|fish`: a script for that shell, made from the table of commands. */
#ifndef BOURSE_CLI_MANUAL_COMPLETION_H
#define BOURSE_CLI_MANUAL_COMPLETION_H

#include "cli/command/command.h"
#include "cli/command/words.h"

int completion_run(const struct command_line *line, const struct command_io *io);

/* bash and zsh share a table and a finder and differ in how they are told what was found. */
void completion_print_bash(FILE *out);
void completion_print_zsh(FILE *out);
void completion_print_fish(FILE *out);

/* The words of which group names consist, each behind a blank. */
void completion_print_groups(FILE *out);

/* True when no earlier command begins with the same word as the one at `index`. */
bool completion_is_first_of_word(size_t index);

/* The first word of a command's name. */
struct bytes completion_first_word(const struct command *command);

#endif
