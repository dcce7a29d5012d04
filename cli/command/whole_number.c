/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/command/whole_number.h"

#include <errno.h>
#include <stdlib.h>

int
whole_number_read(uint64_t *out, const struct command_line *line, size_t option, uint64_t max,
                  const struct command_io *io)
{
    const char *text = line->options[option];
    char *end;
    if (text == NULL) {
        return COMMAND_OK;
    }
    errno = 0;
    unsigned long long number = strtoull(text, &end, 10);
    bool is_number = text[0] >= '0' && text[0] <= '9' && *end == '\0' && errno == 0;
    if (!is_number || number < 1 || number > max) {
        return command_misused(io, "--%s \"%s\" is not a number, 1 to %llu",
                               line->command->options[option].name, text, (unsigned long long)max);
    }
    *out = number;
    return COMMAND_OK;
}
