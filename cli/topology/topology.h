/* SPDX-License-Identifier: Apache-2.0 */
/* `bourse plan`, `apply`, `rollback`, `drift`: what a running broker would have to change to be
 * what files say, and that it is done. */
#ifndef BOURSE_CLI_TOPOLOGY_TOPOLOGY_H
#define BOURSE_CLI_TOPOLOGY_TOPOLOGY_H

#include "cli/command/command.h"

enum {
    PLAN_OPTION_COUNT = 5,
    APPLY_OPTION_COUNT = 5,
    ROLLBACK_OPTION_COUNT = 4,
    DRIFT_OPTION_COUNT = 1,
};

extern const struct command_option plan_options[PLAN_OPTION_COUNT];
extern const struct command_option apply_options[APPLY_OPTION_COUNT];
extern const struct command_option rollback_options[ROLLBACK_OPTION_COUNT];
extern const struct command_option drift_options[DRIFT_OPTION_COUNT];

int plan_run(const struct command_line *line, const struct command_io *io);
int apply_run(const struct command_line *line, const struct command_io *io);
int rollback_run(const struct command_line *line, const struct command_io *io);
int drift_run(const struct command_line *line, const struct command_io *io);

#endif
