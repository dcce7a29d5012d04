/* SPDX-License-Identifier: Apache-2.0 */
/* A command that is one request to the broker, and one line that says that it was done. */
#ifndef BOURSE_CLI_CLIENT_CHANGE_H
#define BOURSE_CLI_CLIENT_CHANGE_H

#include "cli/client/client.h"

/* The path with its "{}", of which the first is the virtual host if `in_vhost`, and the others are
 * `names`. */
struct change {
    const char *method;
    const char *path;
    bool in_vhost;
    const char *names[3];
    json_t *body;     /* taken: released by change_run; NULL: none, of a DELETE only */
    const char *done; /* "queue declared"; the first operand follows */
};

/* Does it. Returns the exit status of the command. */
int change_run(const struct change *change, const struct command_line *line,
               const struct command_io *io);

#endif
