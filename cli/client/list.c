/* SPDX-License-Identifier: Apache-2.0 */
/* Each kind of object is a row with its columns. */
#include "cli/client/list.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/assert.h"

static const struct column queue_columns[] = {
    {"NAME", "name", CELL_TEXT, false},
    {"VHOST", "vhost", CELL_TEXT, false},
    {"TYPE", "type", CELL_TEXT, true},
    {"STATE", "state", CELL_TEXT, false},
    {"READY", "messages_ready", CELL_NUMBER, false},
    {"UNACKED", "messages_unacknowledged", CELL_NUMBER, false},
    {"SIZE", "message_bytes", CELL_SIZE, true},
    {"CONSUMERS", "consumers", CELL_NUMBER, false},
    {"IN", "message_stats.publish_details.rate", CELL_RATE, false},
    {"OUT", "message_stats.deliver_get_details.rate", CELL_RATE, false},
    {"OLDEST", "bourse.oldest_ready_age_ms", CELL_AGE, false},
    {"DURABLE", "durable", CELL_TEXT, true},
    {"POLICY", "policy", CELL_TEXT, true},
    {"ARGUMENTS", "arguments", CELL_JSON, true},
};

static const struct column exchange_columns[] = {
    {"NAME", "name", CELL_TEXT, false},
    {"VHOST", "vhost", CELL_TEXT, false},
    {"TYPE", "type", CELL_TEXT, false},
    {"DURABLE", "durable", CELL_TEXT, false},
    {"AUTO-DELETE", "auto_delete", CELL_TEXT, true},
    {"INTERNAL", "internal", CELL_TEXT, true},
    {"IN", "message_stats.publish_in_details.rate", CELL_RATE, false},
    {"OUT", "message_stats.publish_out_details.rate", CELL_RATE, false},
    {"POLICY", "policy", CELL_TEXT, true},
    {"ARGUMENTS", "arguments", CELL_JSON, true},
};

static const struct column binding_columns[] = {
    {"SOURCE", "source", CELL_TEXT, false},
    {"VHOST", "vhost", CELL_TEXT, false},
    {"DESTINATION", "destination", CELL_TEXT, false},
    {"TO", "destination_type", CELL_TEXT, false},
    {"KEY", "routing_key", CELL_TEXT, false},
    {"ARGUMENTS", "arguments", CELL_JSON, false},
    {"PROPERTIES KEY", "properties_key", CELL_TEXT, true},
};

static const struct column consumer_columns[] = {
    {"TAG", "consumer_tag", CELL_TEXT, false},
    {"VHOST", "queue.vhost", CELL_TEXT, false},
    {"QUEUE", "queue.name", CELL_TEXT, false},
    {"CONNECTION", "channel_details.connection_name", CELL_TEXT, false},
    {"CHANNEL", "channel_details.number", CELL_NUMBER, true},
    {"USER", "channel_details.user", CELL_TEXT, true},
    {"ACK", "ack_required", CELL_TEXT, false},
    {"PREFETCH", "prefetch_count", CELL_NUMBER, false},
    {"ACTIVE", "active", CELL_TEXT, false},
    {"STATUS", "activity_status", CELL_TEXT, true},
    {"ARGUMENTS", "arguments", CELL_JSON, true},
};

static const struct column connection_columns[] = {
    {"NAME", "name", CELL_TEXT, false},
    {"CLIENT", "client_properties.connection_name", CELL_TEXT, false},
    {"USER", "user", CELL_TEXT, false},
    {"VHOST", "vhost", CELL_TEXT, false},
    {"STATE", "state", CELL_TEXT, false},
    {"CHANNELS", "channels", CELL_NUMBER, false},
    {"TLS", "ssl_protocol", CELL_TEXT, true},
    {"CIPHER", "ssl_cipher", CELL_TEXT, true},
    {"PRODUCT", "client_properties.product", CELL_TEXT, true},
    {"VERSION", "client_properties.version", CELL_TEXT, true},
    {"SINCE", "connected_at", CELL_WHEN, false},
    {"RECEIVED", "recv_oct", CELL_SIZE, true},
    {"SENT", "send_oct", CELL_SIZE, true},
};

static const struct column channel_columns[] = {
    {"NAME", "name", CELL_TEXT, false},
    {"USER", "user", CELL_TEXT, false},
    {"VHOST", "vhost", CELL_TEXT, false},
    {"STATE", "state", CELL_TEXT, false},
    {"CONSUMERS", "consumer_count", CELL_NUMBER, false},
    {"UNACKED", "messages_unacknowledged", CELL_NUMBER, false},
    {"UNCONFIRMED", "messages_unconfirmed", CELL_NUMBER, false},
    {"PREFETCH", "prefetch_count", CELL_NUMBER, false},
    {"CONFIRMS", "confirm", CELL_TEXT, true},
    {"TRANSACTIONS", "transactional", CELL_TEXT, true},
};

static const struct column user_columns[] = {
    {"NAME", "name", CELL_TEXT, false},
    {"TAGS", "tags", CELL_WORDS, false},
    {"LIMITS", "limits", CELL_JSON, false},
};

static const struct column vhost_columns[] = {
    {"NAME", "name", CELL_TEXT, false},
    {"DESCRIPTION", "description", CELL_TEXT, true},
    {"READY", "messages_ready", CELL_NUMBER, false},
    {"UNACKED", "messages_unacknowledged", CELL_NUMBER, false},
    {"QUEUE TYPE", "default_queue_type", CELL_TEXT, true},
    {"TRACING", "tracing", CELL_TEXT, false},
    {"TAGS", "tags", CELL_WORDS, true},
};

static const struct column policy_columns[] = {
    {"NAME", "name", CELL_TEXT, false},           {"VHOST", "vhost", CELL_TEXT, false},
    {"PATTERN", "pattern", CELL_TEXT, false},     {"APPLIES TO", "apply-to", CELL_TEXT, false},
    {"PRIORITY", "priority", CELL_NUMBER, false}, {"DEFINITION", "definition", CELL_JSON, false},
};

static const struct column permission_columns[] = {
    {"USER", "user", CELL_TEXT, false},           {"VHOST", "vhost", CELL_TEXT, false},
    {"CONFIGURE", "configure", CELL_TEXT, false}, {"WRITE", "write", CELL_TEXT, false},
    {"READ", "read", CELL_TEXT, false},
};

static const struct column topic_permission_columns[] = {
    {"USER", "user", CELL_TEXT, false},         {"VHOST", "vhost", CELL_TEXT, false},
    {"EXCHANGE", "exchange", CELL_TEXT, false}, {"WRITE", "write", CELL_TEXT, false},
    {"READ", "read", CELL_TEXT, false},
};

static const struct column generation_columns[] = {
    {"ID", "id", CELL_NUMBER, false},
    {"VHOST", "vhost", CELL_TEXT, false},
    {"APPLIED", "applied_ms", CELL_WHEN, false},
    {"CAUSE", "cause", CELL_TEXT, false},
    {"BY", "maker", CELL_TEXT, false},
    {"CURRENT", "is_current", CELL_TEXT, false},
    {"RESTORED", "restored_id", CELL_NUMBER, true},
    {"DIGEST", "digest", CELL_TEXT, true},
};

#define COLUMNS(table) (table), ARRAY_LEN(table)
#define BARE(path) (path), (path "?disable_stats=true")

static const struct list_kind kinds[] = {
    {"queues", "queue", BARE("/api/queues"), BARE("/api/queues/{}"), "/api/queues/{}/{}",
     COLUMNS(queue_columns)},
    {"exchanges", "exchange", BARE("/api/exchanges"), BARE("/api/exchanges/{}"),
     "/api/exchanges/{}/{}", COLUMNS(exchange_columns)},
    {"bindings", "binding", BARE("/api/bindings"), BARE("/api/bindings/{}"), NULL,
     COLUMNS(binding_columns)},
    {"consumers", "consumer", BARE("/api/consumers"), BARE("/api/consumers/{}"), NULL,
     COLUMNS(consumer_columns)},
    {"connections", "conn", BARE("/api/connections"), BARE("/api/vhosts/{}/connections"), NULL,
     COLUMNS(connection_columns)},
    {"channels", "channel", BARE("/api/channels"), BARE("/api/vhosts/{}/channels"), NULL,
     COLUMNS(channel_columns)},
    {"users", "user", BARE("/api/users"), NULL, NULL, NULL, COLUMNS(user_columns)},
    {"vhosts", "vhost", BARE("/api/vhosts"), NULL, NULL, NULL, COLUMNS(vhost_columns)},
    {"policies", "policy", BARE("/api/policies"), BARE("/api/policies/{}"), NULL,
     COLUMNS(policy_columns)},
    {"operator-policies", "operator-policy", BARE("/api/operator-policies"),
     BARE("/api/operator-policies/{}"), NULL, COLUMNS(policy_columns)},
    {"permissions", "permission", BARE("/api/permissions"), BARE("/api/vhosts/{}/permissions"),
     NULL, COLUMNS(permission_columns)},
    {"topic-permissions", "topic-permission", BARE("/api/topic-permissions"),
     BARE("/api/vhosts/{}/topic-permissions"), NULL, COLUMNS(topic_permission_columns)},
    {"generations", "generation", "/api/bourse/generations", "/api/bourse/generations",
     "/api/bourse/generations?vhost={}", "/api/bourse/generations?vhost={}", NULL,
     COLUMNS(generation_columns)},
};

const struct list_kind *
list_kind_find(const char *name)
{
    size_t size = strcspn(name, " ");
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
        if (strcmp(kinds[i].name, name) == 0 ||
            (strlen(kinds[i].singular) == size && strncmp(kinds[i].singular, name, size) == 0)) {
            return &kinds[i];
        }
    }
    return NULL;
}

/* Watching ----------------------------------------------------------------------------------- */

/* What the terminal shows goes, and the cursor to its corner; elsewhere an empty line parts what
 * was from what is. */
static void
begin_again(const struct output *output)
{
    fputs(output->is_terminal ? "\033[H\033[2J" : "\n", output->io->out);
}

/* Until the broker answers again. Nothing is said meanwhile: what went wrong was. */
static void
wait_for_broker(struct client *client, const struct command_io *io)
{
    json_t *answer = NULL;
    (void)command_error(io, COMMAND_UNREACHABLE,
                        "looking again every second until it is back; Ctrl-C ends this");
    fflush(io->err);
    do {
        nanosleep(&(struct timespec){.tv_sec = 1}, NULL);
        json_decref(answer);
    } while (client_probe(client, "/api/whoami", &answer) == 0);
    json_decref(answer);
}

int
list_watch(const struct command_line *line, const struct command_io *io,
           int (*print)(struct client *client, const struct command_line *line,
                        const struct output *output))
{
    struct output output = output_of(line, io);
    struct client *client;
    int result = client_open(&client, line, io);
    bool is_watching = line->shared[SHARED_WATCH] != NULL;
    if (result == COMMAND_OK && is_watching && output.is_terminal) {
        begin_again(&output);
    }
    bool was_there = false; /* a broker that never answered is no broker to wait for */
    while (result == COMMAND_OK) {
        result = print(client, line, &output);
        fflush(io->out);
        if (!is_watching) {
            break;
        }
        if (result == COMMAND_OK) {
            nanosleep(&(struct timespec){.tv_sec = 1}, NULL);
            begin_again(&output);
        } else if (result == COMMAND_UNREACHABLE && was_there) {
            wait_for_broker(client, io);
            begin_again(&output);
            result = COMMAND_OK;
        }
        was_there = true;
    }
    client_close(&client);
    return result;
}

void
list_say_next(const struct command_line *line, const struct output *output, const json_t *answer)
{
    const char *next = json_string_value(json_object_get(answer, "next"));
    if (next != NULL && !output->is_quiet && line->shared[SHARED_WATCH] == NULL) {
        command_note(output->io, "there is more: --after %s", next);
    }
}

/* Lists -------------------------------------------------------------------------------------- */

/* Names alone are asked for without statistics, which is what completion does. */
static char *
list_path_new(const struct client *client, const struct list_kind *kind,
              const struct output *output)
{
    bool is_bare = output->format == OUTPUT_NAME;
    if (client_has_vhost(client) && kind->in_vhost != NULL) {
        return client_path_new(is_bare ? kind->in_vhost_bare : kind->in_vhost,
                               client_vhost(client));
    }
    return client_path_new(is_bare ? kind->path_bare : kind->path);
}

static int
print_list(struct client *client, const struct command_line *line, const struct output *output)
{
    const char *word =
        strcmp(line->command->name, "ls") == 0 ? line->operands[0] : line->command->name;
    const struct list_kind *kind = list_kind_find(word);
    json_t *rows = NULL;
    char *path = list_path_new(client, kind, output);
    int result = client_call(client, "GET", path, NULL, &rows);
    if (result == COMMAND_OK && !json_is_array(rows)) {
        result = command_error(output->io, COMMAND_UNREACHABLE,
                               "what answers at %s gives no list; is a broker behind that "
                               "address?",
                               client_place(client));
    } else if (result == COMMAND_OK) {
        result = output_rows(output, kind->columns, kind->column_count, rows);
    }
    json_decref(rows);
    free(path);
    return result;
}

int
list_run(const struct command_line *line, const struct command_io *io)
{
    return list_watch(line, io, print_list);
}

/* One object --------------------------------------------------------------------------------- */

static int
print_object(struct client *client, const struct command_line *line, const struct output *output)
{
    const struct list_kind *kind = list_kind_find(line->command->name);
    json_t *object = NULL;
    /* The default exchange, which has no name, is the only one to have an empty one. */
    const char *name = line->operands[0][0] == '\0' ? "amq.default" : line->operands[0];
    char *path = client_path_new(kind->one, client_vhost(client), name);
    int result = client_call(client, "GET", path, NULL, &object);
    if (result == COMMAND_OK) {
        struct output all = *output;
        all.format = all.format == OUTPUT_TABLE ? OUTPUT_WIDE : all.format;
        result = output_object(&all, kind->columns, kind->column_count, object);
    }
    json_decref(object);
    free(path);
    return result;
}

int
show_run(const struct command_line *line, const struct command_io *io)
{
    return list_watch(line, io, print_object);
}
