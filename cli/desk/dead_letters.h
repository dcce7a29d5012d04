/* SPDX-License-Identifier: Apache-2.0 */
/* `bourse dlq`: looking at dead letters and messages in quarantine, dropping them, and taking them
 * out as lines. Sending them on is replay.h. */
#ifndef BOURSE_CLI_DESK_DEAD_LETTERS_H
#define BOURSE_CLI_DESK_DEAD_LETTERS_H

#include "cli/command/command.h"
#include "cli/desk/desk_filter.h"

enum {
    DLQ_SHOW_OPTION_COUNT = DESK_FILTER_OPTION_COUNT + 2,
    DLQ_GROUP_OPTION_COUNT = DESK_FILTER_OPTION_COUNT,
    DLQ_DROP_OPTION_COUNT = DESK_FILTER_OPTION_COUNT + 3,
    DLQ_EXPORT_OPTION_COUNT = DESK_FILTER_OPTION_COUNT + 1,
};

extern const struct command_option dlq_show_options[DLQ_SHOW_OPTION_COUNT];
extern const struct command_option dlq_group_options[DLQ_GROUP_OPTION_COUNT];
extern const struct command_option dlq_drop_options[DLQ_DROP_OPTION_COUNT];
extern const struct command_option dlq_export_options[DLQ_EXPORT_OPTION_COUNT];

int dlq_ls_run(const struct command_line *line, const struct command_io *io);
int dlq_show_run(const struct command_line *line, const struct command_io *io);
int dlq_group_run(const struct command_line *line, const struct command_io *io);
int dlq_drop_run(const struct command_line *line, const struct command_io *io);
int dlq_export_run(const struct command_line *line, const struct command_io *io);

#endif
