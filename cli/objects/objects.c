/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/objects/objects.h"

#include <stdlib.h>
#include <string.h>

#include "cli/client/change.h"
#include "cli/command/pairs.h"
#include "cli/output/output.h"

/* Queues ------------------------------------------------------------------------------------- */

enum { QUEUE_TYPE, QUEUE_TRANSIENT, QUEUE_AUTO_DELETE, QUEUE_ARGUMENT };

const struct command_option queue_declare_options[QUEUE_DECLARE_OPTION_COUNT] = {
    [QUEUE_TYPE] = {"type", "classic|quorum", "what RabbitMQ promises of a queue of that name"},
    [QUEUE_TRANSIENT] = {"transient", NULL, "not durable: gone after a restart"},
    [QUEUE_AUTO_DELETE] = {"auto-delete", NULL, "deleted with its last consumer"},
    [QUEUE_ARGUMENT] = {"argument", "NAME=VALUE...", "an x-argument, such as x-max-length=1000"},
};

int
queue_declare_run(const struct command_line *line, const struct command_io *io)
{
    json_t *arguments;
    int result = pairs_read(&arguments, line, QUEUE_ARGUMENT, io);
    if (result != COMMAND_OK) {
        return result;
    }
    if (line->options[QUEUE_TYPE] != NULL) {
        json_object_set_new(arguments, "x-queue-type", json_string(line->options[QUEUE_TYPE]));
    }
    struct change change = {
        .method = "PUT",
        .path = "/api/queues/{}/{}",
        .in_vhost = true,
        .names = {line->operands[0]},
        .body = json_pack("{s:b, s:b, s:o}", "durable", line->options[QUEUE_TRANSIENT] == NULL,
                          "auto_delete", line->options[QUEUE_AUTO_DELETE] != NULL, "arguments",
                          arguments),
        .done = "queue declared",
    };
    return change_run(&change, line, io);
}

enum { DELETE_IF_EMPTY, DELETE_IF_UNUSED };

const struct command_option queue_delete_options[DELETE_OPTION_COUNT] = {
    [DELETE_IF_EMPTY] = {"if-empty", NULL, "only when it holds no message"},
    [DELETE_IF_UNUSED] = {"if-unused", NULL, "only when nobody consumes from it"},
};

int
queue_delete_run(const struct command_line *line, const struct command_io *io)
{
    static const char *const paths[2][2] = {
        {"/api/queues/{}/{}", "/api/queues/{}/{}?if-unused=true"},
        {"/api/queues/{}/{}?if-empty=true", "/api/queues/{}/{}?if-empty=true&if-unused=true"},
    };
    bool if_empty = line->options[DELETE_IF_EMPTY] != NULL;
    bool if_unused = line->options[DELETE_IF_UNUSED] != NULL;
    struct change change = {
        .method = "DELETE",
        .path = paths[if_empty][if_unused],
        .in_vhost = true,
        .names = {line->operands[0]},
        .done = "queue deleted",
    };
    return change_run(&change, line, io);
}

static int
say_purged(const struct output *output, json_int_t count, const char *queue)
{
    struct buffer name;
    buffer_init(&name);
    cell_put_escaped(&name, bytes_of(queue));
    int result = output_result(
        output, json_pack("{s:s, s:s, s:I}", "name", queue, "done", "purged", "messages", count),
        "%lld %s purged: %.*s", (long long)count, count == 1 ? "message" : "messages",
        BYTES_FORMAT(buffer_bytes(&name)));
    buffer_fini(&name);
    return result;
}

int
purge_run(const struct command_line *line, const struct command_io *io)
{
    struct output output = output_of(line, io);
    struct client *client;
    json_t *answer = NULL;
    int result = client_open(&client, line, io);
    if (result == COMMAND_OK) {
        char *path = client_path_new("/api/bourse/queues/{}/{}/purge", client_vhost(client),
                                     line->operands[0]);
        json_t *body = json_object();
        result = client_call(client, "POST", path, body, &answer);
        json_decref(body);
        free(path);
    }
    if (result == COMMAND_OK) {
        result = say_purged(&output, json_integer_value(json_object_get(answer, "messages")),
                            line->operands[0]);
    }
    json_decref(answer);
    client_close(&client);
    return result;
}

const struct command_option pause_options[PAUSE_OPTION_COUNT] = {
    {"note", "TEXT", "why; the audit keeps it"},
};

static json_t *
note_new(const struct command_line *line)
{
    const char *note = line->options[0];
    return note == NULL ? json_object() : json_pack("{s:s}", "note", note);
}

int
pause_run(const struct command_line *line, const struct command_io *io)
{
    struct change change = {
        .method = "POST",
        .path = "/api/bourse/queues/{}/{}/pause",
        .in_vhost = true,
        .names = {line->operands[0]},
        .body = note_new(line),
        .done = "queue paused; it takes messages and hands out none",
    };
    return change_run(&change, line, io);
}

int
resume_run(const struct command_line *line, const struct command_io *io)
{
    struct change change = {
        .method = "POST",
        .path = "/api/bourse/queues/{}/{}/resume",
        .in_vhost = true,
        .names = {line->operands[0]},
        .body = note_new(line),
        .done = "queue resumed",
    };
    return change_run(&change, line, io);
}

/* Exchanges ---------------------------------------------------------------------------------- */

/* The default exchange has an empty name, and this one in paths. */
static const char *
exchange_in_path(const char *name)
{
    return name[0] == '\0' ? "amq.default" : name;
}

enum {
    EXCHANGE_TYPE,
    EXCHANGE_TRANSIENT,
    EXCHANGE_AUTO_DELETE,
    EXCHANGE_INTERNAL,
    EXCHANGE_ARGUMENT,
};

const struct command_option exchange_declare_options[EXCHANGE_DECLARE_OPTION_COUNT] = {
    [EXCHANGE_TYPE] = {"type",
                       "direct|fanout|topic|headers|x-consistent-hash|x-modulus-hash|x-random|"
                       "x-delayed-message",
                       "how it finds queues (direct)"},
    [EXCHANGE_TRANSIENT] = {"transient", NULL, "not durable: gone after a restart"},
    [EXCHANGE_AUTO_DELETE] = {"auto-delete", NULL, "deleted with its last binding"},
    [EXCHANGE_INTERNAL] = {"internal", NULL, "takes messages from exchanges only"},
    [EXCHANGE_ARGUMENT] = {"argument", "NAME=VALUE...",
                           "an argument, such as alternate-exchange=lost"},
};

int
exchange_declare_run(const struct command_line *line, const struct command_io *io)
{
    const char *const *options = line->options;
    json_t *arguments;
    int result = pairs_read(&arguments, line, EXCHANGE_ARGUMENT, io);
    if (result != COMMAND_OK) {
        return result;
    }
    struct change change = {
        .method = "PUT",
        .path = "/api/exchanges/{}/{}",
        .in_vhost = true,
        .names = {exchange_in_path(line->operands[0])},
        .body = json_pack("{s:s, s:b, s:b, s:b, s:o}", "type",
                          options[EXCHANGE_TYPE] == NULL ? "direct" : options[EXCHANGE_TYPE],
                          "durable", options[EXCHANGE_TRANSIENT] == NULL, "auto_delete",
                          options[EXCHANGE_AUTO_DELETE] != NULL, "internal",
                          options[EXCHANGE_INTERNAL] != NULL, "arguments", arguments),
        .done = "exchange declared",
    };
    return change_run(&change, line, io);
}

const struct command_option exchange_delete_options[1] = {
    {"if-unused", NULL, "only when nothing is bound to it"},
};

int
exchange_delete_run(const struct command_line *line, const struct command_io *io)
{
    struct change change = {
        .method = "DELETE",
        .path = line->options[0] != NULL ? "/api/exchanges/{}/{}?if-unused=true"
                                         : "/api/exchanges/{}/{}",
        .in_vhost = true,
        .names = {exchange_in_path(line->operands[0])},
        .done = "exchange deleted",
    };
    return change_run(&change, line, io);
}

/* Bindings ----------------------------------------------------------------------------------- */

enum { BIND_TO_EXCHANGE, BIND_KEY, BIND_ARGUMENT };

const struct command_option bind_options[BIND_OPTION_COUNT] = {
    [BIND_TO_EXCHANGE] = {"to-exchange", NULL, "the destination is an exchange, not a queue"},
    [BIND_KEY] = {"key", "KEY", "the routing key (empty)"},
    [BIND_ARGUMENT] = {"argument", "NAME=VALUE...", "an argument, for a headers exchange"},
};

int
bind_run(const struct command_line *line, const struct command_io *io)
{
    const char *key = line->options[BIND_KEY];
    json_t *arguments;
    int result = pairs_read(&arguments, line, BIND_ARGUMENT, io);
    if (result != COMMAND_OK) {
        return result;
    }
    struct change change = {
        .method = "POST",
        .path = line->options[BIND_TO_EXCHANGE] != NULL ? "/api/bindings/{}/e/{}/e/{}"
                                                        : "/api/bindings/{}/e/{}/q/{}",
        .in_vhost = true,
        .names = {exchange_in_path(line->operands[0]), line->operands[1]},
        .body =
            json_pack("{s:s, s:o}", "routing_key", key == NULL ? "" : key, "arguments", arguments),
        .done = "bound to exchange",
    };
    if (change.body == NULL) {
        return command_misused(io, "--key is not UTF-8");
    }
    return change_run(&change, line, io);
}

/* The name by which the broker knows the binding with this key and these arguments; NULL: there is
 * no such binding. Borrowed from `bindings`. */
static const char *
find_properties_key(const json_t *bindings, const char *key, const json_t *arguments)
{
    for (size_t i = 0; i < json_array_size(bindings); i++) {
        const json_t *binding = json_array_get(bindings, i);
        const char *binding_key = json_string_value(json_object_get(binding, "routing_key"));
        if (binding_key != NULL && strcmp(binding_key, key) == 0 &&
            json_equal(json_object_get(binding, "arguments"), arguments)) {
            return json_string_value(json_object_get(binding, "properties_key"));
        }
    }
    return NULL;
}

/* Finds the binding among those between the two, and deletes it. */
static int
delete_binding(struct client *client, const struct command_line *line, const json_t *arguments,
               const struct command_io *io)
{
    bool to_exchange = line->options[BIND_TO_EXCHANGE] != NULL;
    const char *key = line->options[BIND_KEY] == NULL ? "" : line->options[BIND_KEY];
    json_t *bindings = NULL;
    char *path = client_path_new(
        to_exchange ? "/api/bindings/{}/e/{}/e/{}" : "/api/bindings/{}/e/{}/q/{}",
        client_vhost(client), exchange_in_path(line->operands[0]), line->operands[1]);
    int result = client_call(client, "GET", path, NULL, &bindings);
    const char *properties = find_properties_key(bindings, key, arguments);
    if (result == COMMAND_OK && properties == NULL) {
        result = command_error(io, COMMAND_NOT_FOUND,
                               "there is no binding with this key and these arguments between the "
                               "two; \"bourse binding ls\" shows what there is");
    } else if (result == COMMAND_OK) {
        char *one = client_path_new(to_exchange ? "/api/bindings/{}/e/{}/e/{}/{}"
                                                : "/api/bindings/{}/e/{}/q/{}/{}",
                                    client_vhost(client), exchange_in_path(line->operands[0]),
                                    line->operands[1], properties);
        result = client_call(client, "DELETE", one, NULL, NULL);
        free(one);
    }
    json_decref(bindings);
    free(path);
    return result;
}

int
unbind_run(const struct command_line *line, const struct command_io *io)
{
    struct client *client;
    json_t *arguments;
    int result = pairs_read(&arguments, line, BIND_ARGUMENT, io);
    if (result != COMMAND_OK) {
        return result;
    }
    result = client_open(&client, line, io);
    if (result == COMMAND_OK) {
        result = delete_binding(client, line, arguments, io);
    }
    if (result == COMMAND_OK) {
        struct output output = output_of(line, io);
        result = output_result(
            &output, json_pack("{s:s, s:s}", "name", line->operands[0], "done", "binding deleted"),
            "binding deleted");
    }
    json_decref(arguments);
    client_close(&client);
    return result;
}

/* Virtual hosts and connections -------------------------------------------------------------- */

int
vhost_add_run(const struct command_line *line, const struct command_io *io)
{
    struct change change = {
        .method = "PUT",
        .path = "/api/vhosts/{}",
        .names = {line->operands[0]},
        .body = json_object(),
        .done = "virtual host added",
    };
    return change_run(&change, line, io);
}

int
vhost_delete_run(const struct command_line *line, const struct command_io *io)
{
    struct change change = {
        .method = "DELETE",
        .path = "/api/vhosts/{}",
        .names = {line->operands[0]},
        .done = "virtual host deleted, with all that was in it",
    };
    return change_run(&change, line, io);
}

const struct command_option close_options[CLOSE_OPTION_COUNT] = {
    {"of-user", NULL, "the name is a user's: close all connections of that user"},
};

/* How many there were is told: a user of whom there is none may be another than was meant. */
static int
close_connections_of_user(struct client *client, const struct command_line *line,
                          const struct output *output)
{
    json_t *rows = NULL;
    const char *user = line->operands[0];
    char *path = client_path_new("/api/connections/username/{}", user);
    int result = client_call(client, "GET", path, NULL, &rows);
    if (result == COMMAND_OK) {
        result = client_call(client, "DELETE", path, NULL, NULL);
    }
    if (result == COMMAND_OK) {
        json_int_t count = (json_int_t)json_array_size(rows);
        struct buffer name;
        buffer_init(&name);
        cell_put_escaped(&name, bytes_of(user));
        result = output_result(
            output,
            json_pack("{s:s, s:s, s:I}", "name", user, "done", "closed", "connections", count),
            "%lld %s closed of user %.*s", (long long)count,
            count == 1 ? "connection" : "connections", BYTES_FORMAT(buffer_bytes(&name)));
        buffer_fini(&name);
    }
    json_decref(rows);
    free(path);
    return result;
}

int
conn_close_run(const struct command_line *line, const struct command_io *io)
{
    struct change change = {
        .method = "DELETE",
        .path = "/api/connections/{}",
        .names = {line->operands[0]},
        .done = "connection closed",
    };
    if (line->options[0] == NULL) {
        return change_run(&change, line, io);
    }
    struct output output = output_of(line, io);
    struct client *client;
    int result = client_open(&client, line, io);
    if (result == COMMAND_OK) {
        result = close_connections_of_user(client, line, &output);
    }
    client_close(&client);
    return result;
}
