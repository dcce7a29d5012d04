/* SPDX-License-Identifier: Apache-2.0 */
/* What exit statuses mean, in words: for help, manual page and `bourse explain`. */
#ifndef BOURSE_CLI_COMMAND_EXITS_H
#define BOURSE_CLI_COMMAND_EXITS_H

#include "cli/command/command.h"

struct exit_meaning {
    int status;
    const char *meaning; /* part of a sentence */
    const char *next;    /* what to do about it; a sentence */
};

/* In order of status; NULL behind the last. */
const struct exit_meaning *exit_meaning_at(size_t index);

/* True when `command` may exit so by what all commands have in common; what else it may do stands
 * in its `exits`. */
bool exit_is_of_command(const struct exit_meaning *meaning, const struct command *command);

#endif
