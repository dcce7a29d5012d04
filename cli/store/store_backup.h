/* SPDX-License-Identifier: Apache-2.0 */
/* `bourse store backup DIR TARGET`: a copy of the data directory of a broker that does not run. */
#ifndef BOURSE_CLI_STORE_STORE_BACKUP_H
#define BOURSE_CLI_STORE_STORE_BACKUP_H

#include "cli/command/command.h"

int store_backup_run(const struct command_line *line, const struct command_io *io);

#endif
