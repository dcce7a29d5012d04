/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/client/change.h"

#include <stdlib.h>
#include <string.h>

#include "cli/output/output.h"

static char *
path_new(const struct change *change, const struct client *client)
{
    const char *const *names = change->names;
    if (change->in_vhost) {
        return client_path_new(change->path, client_vhost(client), names[0], names[1], names[2]);
    }
    return client_path_new(change->path, names[0], names[1], names[2]);
}

/* "WHAT: NAME", with what could steer a terminal in the name escaped. */
static int
say_done(const struct change *change, const struct command_line *line, const struct command_io *io)
{
    struct output output = output_of(line, io);
    struct buffer name;
    buffer_init(&name);
    const char *given = line->operand_count > 0 ? line->operands[0] : "";
    cell_put_escaped(&name, bytes_of(given));
    int result =
        output_result(&output, json_pack("{s:s, s:s}", "name", given, "done", change->done),
                      "%s: %.*s", change->done, BYTES_FORMAT(buffer_bytes(&name)));
    buffer_fini(&name);
    return result;
}

int
change_run(const struct change *change, const struct command_line *line,
           const struct command_io *io)
{
    struct client *client;
    if (change->body == NULL && strcmp(change->method, "DELETE") != 0) {
        return command_misused(io, "what is given is not UTF-8");
    }
    int result = client_open(&client, line, io);
    if (result == COMMAND_OK) {
        char *path = path_new(change, client);
        result = client_call(client, change->method, path, change->body, NULL);
        free(path);
    }
    if (result == COMMAND_OK) {
        result = say_done(change, line, io);
    }
    json_decref(change->body);
    client_close(&client);
    return result;
}
