/* SPDX-License-Identifier: Apache-2.0 */
/* `bourse bench`: a quick measure of a broker, as a client program sees it. */
#ifndef BOURSE_CLI_AMQP_BENCH_H
#define BOURSE_CLI_AMQP_BENCH_H

#include "cli/command/command.h"

enum { BENCH_OPTION_COUNT = 8 };
extern const struct command_option bench_options[BENCH_OPTION_COUNT];

int bench_run(const struct command_line *line, const struct command_io *io);

#endif
