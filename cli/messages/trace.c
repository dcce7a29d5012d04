/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/messages/trace.h"

#include <stdlib.h>

#include "cli/client/client.h"
#include "cli/output/output.h"

static int
ask(const struct command_line *line, const struct command_io *io, const char *method, json_t *body)
{
    struct output output = output_of(line, io);
    struct client *client;
    json_t *answer = NULL;
    int result = client_open(&client, line, io);
    if (result == COMMAND_OK) {
        char *path = client_path_new("/api/bourse/vhosts/{}/tracing", client_vhost(client));
        result = client_call(client, method, path, body, &answer);
        free(path);
    }
    if (result == COMMAND_OK) {
        bool is_on = json_is_true(json_object_get(answer, "tracing"));
        result = output_result(
            &output, json_pack("{s:s, s:b}", "vhost", client_vhost(client), "tracing", (int)is_on),
            "%s",
            is_on ? "tracing is on: copies go to the exchange amq.rabbitmq.trace"
                  : "tracing is off");
    }
    json_decref(answer);
    json_decref(body);
    client_close(&client);
    return result;
}

int
trace_on_run(const struct command_line *line, const struct command_io *io)
{
    return ask(line, io, "POST", json_pack("{s:b}", "tracing", 1));
}

int
trace_off_run(const struct command_line *line, const struct command_io *io)
{
    return ask(line, io, "POST", json_pack("{s:b}", "tracing", 0));
}

int
trace_status_run(const struct command_line *line, const struct command_io *io)
{
    return ask(line, io, "GET", NULL);
}
