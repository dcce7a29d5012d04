/* SPDX-License-Identifier: Apache-2.0 */
/* `bourse backup DIR`: has a running broker copy its data. */
#ifndef BOURSE_CLI_STORE_BACKUP_H
#define BOURSE_CLI_STORE_BACKUP_H

#include "cli/command/command.h"

int backup_run(const struct command_line *line, const struct command_io *io);

#endif
