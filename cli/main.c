/* SPDX-License-Identifier: Apache-2.0 */
/* The entry point. */
#include "cli/command.h"

int
main(int argc, char **argv)
{
    struct command_io io = {.out = stdout, .err = stderr, .in = stdin};
    return command_main(argc, argv, &io);
}
