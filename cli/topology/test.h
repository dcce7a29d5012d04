/* SPDX-License-Identifier: Apache-2.0 */
/* `bourse test TOPOLOGY TESTS`: whether messages go where a file of tests says, without a server.
 */
#ifndef BOURSE_CLI_TOPOLOGY_TEST_H
#define BOURSE_CLI_TOPOLOGY_TEST_H

#include "cli/command/command.h"

enum { TEST_OPTION_COUNT = 1 };
extern const struct command_option test_options[TEST_OPTION_COUNT];

/* Exits with 1 when a test fails or a file has errors. */
int test_run(const struct command_line *line, const struct command_io *io);

#endif
