/* SPDX-License-Identifier: Apache-2.0 */
/* An option that takes a whole number. */
#ifndef BOURSE_CLI_COMMAND_WHOLE_NUMBER_H
#define BOURSE_CLI_COMMAND_WHOLE_NUMBER_H

#include <stdint.h>

#include "cli/command/command.h"

/* The value of the option, 1 to `max`. One that was not given leaves `*out` as it is. COMMAND_OK,
 * or what was reported. */
int whole_number_read(uint64_t *out, const struct command_line *line, size_t option, uint64_t max,
                      const struct command_io *io) __attribute__((warn_unused_result));

#endif
