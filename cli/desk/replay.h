/* SPDX-License-Identifier: Apache-2.0 */
/* `bourse dlq replay` and what is alike of dropping: a job of the broker that is begun, waited for
 * with a bar on a terminal, and told of. */
#ifndef BOURSE_CLI_DESK_REPLAY_H
#define BOURSE_CLI_DESK_REPLAY_H

#include "cli/client/client.h"
#include "cli/desk/desk_filter.h"

enum { DLQ_REPLAY_OPTION_COUNT = DESK_FILTER_OPTION_COUNT + 8 };

extern const struct command_option dlq_replay_options[DLQ_REPLAY_OPTION_COUNT];

int dlq_replay_run(const struct command_line *line, const struct command_io *io);
int dlq_jobs_run(const struct command_line *line, const struct command_io *io);
int dlq_audit_run(const struct command_line *line, const struct command_io *io);
int dlq_cancel_run(const struct command_line *line, const struct command_io *io);

/* Has the broker do `action` ("replay", "drop") with messages of the first operand's queue. Takes
 * `body`. */
int desk_change_run(const struct command_line *line, const struct command_io *io,
                    const char *action, json_t *body, bool waits);

#endif
