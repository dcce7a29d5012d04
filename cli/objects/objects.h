/* SPDX-License-Identifier: Apache-2.0 */
/* Queues, exchanges, bindings and virtual hosts: made, changed and deleted, and connections closed.
 */
#ifndef BOURSE_CLI_OBJECTS_OBJECTS_H
#define BOURSE_CLI_OBJECTS_OBJECTS_H

#include "cli/command/command.h"

enum {
    QUEUE_DECLARE_OPTION_COUNT = 4,
    EXCHANGE_DECLARE_OPTION_COUNT = 5,
    DELETE_OPTION_COUNT = 2,
    BIND_OPTION_COUNT = 3,
    CLOSE_OPTION_COUNT = 1,
    PAUSE_OPTION_COUNT = 1,
};

extern const struct command_option queue_declare_options[QUEUE_DECLARE_OPTION_COUNT];
extern const struct command_option exchange_declare_options[EXCHANGE_DECLARE_OPTION_COUNT];
extern const struct command_option queue_delete_options[DELETE_OPTION_COUNT];
extern const struct command_option exchange_delete_options[1];
extern const struct command_option bind_options[BIND_OPTION_COUNT];
extern const struct command_option pause_options[PAUSE_OPTION_COUNT];
extern const struct command_option close_options[CLOSE_OPTION_COUNT];

int queue_declare_run(const struct command_line *line, const struct command_io *io);
int queue_delete_run(const struct command_line *line, const struct command_io *io);
int purge_run(const struct command_line *line, const struct command_io *io);
int pause_run(const struct command_line *line, const struct command_io *io);
int resume_run(const struct command_line *line, const struct command_io *io);
int exchange_declare_run(const struct command_line *line, const struct command_io *io);
int exchange_delete_run(const struct command_line *line, const struct command_io *io);
int bind_run(const struct command_line *line, const struct command_io *io);
int unbind_run(const struct command_line *line, const struct command_io *io);
int vhost_add_run(const struct command_line *line, const struct command_io *io);
int vhost_delete_run(const struct command_line *line, const struct command_io *io);
int conn_close_run(const struct command_line *line, const struct command_io *io);

#endif
