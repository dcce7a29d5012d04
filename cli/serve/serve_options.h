/* SPDX-License-Identifier: Apache-2.0 */
/* What `serve` is to run with: its files, and what the command line says in place of them. */
#ifndef BOURSE_CLI_SERVE_SERVE_OPTIONS_H
#define BOURSE_CLI_SERVE_SERVE_OPTIONS_H

#include "cli/command/command.h"
#include "config/config.h"

enum {
    SERVE_OPTION_DATA_DIR,
    SERVE_OPTION_EPHEMERAL,
    SERVE_OPTION_AMQP,
    SERVE_OPTION_AMQPS,
    SERVE_OPTION_HTTP,
    SERVE_OPTION_HTTPS,
    SERVE_OPTION_METRICS,
    SERVE_OPTION_THREADS,
    SERVE_OPTION_COUNT,
};

extern const struct command_option serve_options[SERVE_OPTION_COUNT];

/* A file that the environment names stands for one on the command line: in a container nobody
 * writes one. `*file` lives as long as the line. */
void serve_take_file_of_environment(struct command_line *line, char **file);

/* Reads the files, or makes the configuration for development where there is none. Never NULL; use
 * it only when report.error_count is 0. */
struct config *serve_read_configuration(const struct command_line *line);

/* Puts what the command line says in place of the file's. COMMAND_OK, or what was
 * reported. */
int serve_apply_overrides(struct config *config, const struct command_line *line,
                          const struct command_io *io);

/* All of that, for a start. NULL: what is wrong has been printed, and `*result_out` is the exit
 * status. */
struct config *serve_first_configuration(const struct command_line *line,
                                         const struct command_io *io, int *result_out);

#endif
