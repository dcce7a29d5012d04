/* SPDX-License-Identifier: Apache-2.0 */
/* `bourse store verify DIR` and `bourse store repair DIR --salvage`: what is wrong with the data of
 * a broker that is stopped, and how it goes on without what is lost. */
#ifndef BOURSE_CLI_STORE_STORE_H
#define BOURSE_CLI_STORE_STORE_H

#include "base/disk.h"
#include "cli/command/command.h"

enum { STORE_REPAIR_OPTION_COUNT = 1 };
extern const struct command_option store_repair_options[STORE_REPAIR_OPTION_COUNT];

int store_verify_run(const struct command_line *line, const struct command_io *io);
int store_repair_run(const struct command_line *line, const struct command_io *io);

/* Opens a directory that no broker uses, and keeps brokers out while it is open; NULL when that was
 * not possible, which has been reported. */
struct disk_directory *store_open_to_read(const char *path, const struct command_io *io);

#endif
