/* SPDX-License-Identifier: Apache-2.0 */
/* The report of a configuration for programs: JSON of our own, and SARIF 2.1.0, which code hosts
 * show beside the lines of a pull request. */
#ifndef BOURSE_CLI_TOPOLOGY_REPORT_FORMATS_H
#define BOURSE_CLI_TOPOLOGY_REPORT_FORMATS_H

#include "cli/command/command.h"
#include "config/config.h"

/* {"errors", "warnings", "left_out", "items": [{"severity", "file", "line", "column", "text"}]} on
 * io->out. */
void report_print_json(const struct config *config, const struct command_io *io);

void report_print_sarif(const struct config *config, const struct command_io *io);

#endif
