/* SPDX-License-Identifier: Apache-2.0 */
/* The entry point. */
#include <errno.h>
#include <string.h>

#include "cli/command/command.h"

/* What was printed is not there when the disk is full: whoever relies on the exit status, as a
 * script that keeps an export does, has to hear of it. */
static int
finish(int result, const struct command_io *io)
{
    errno = 0;
    bool is_written = fflush(io->out) == 0 && ferror(io->out) == 0;
    if (is_written || result != COMMAND_OK) {
        return result;
    }
    return command_error(io, COMMAND_FAILED,
                         "standard output cannot be written: %s; what was printed is not all",
                         errno != 0 ? strerror(errno) : "an earlier part of it failed");
}

int
main(int argc, char **argv)
{
    struct command_io io = {.out = stdout, .err = stderr, .in = stdin};
    return finish(command_main(argc, argv, &io), &io);
}
