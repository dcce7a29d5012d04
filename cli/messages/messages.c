/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/messages/messages.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "cli/client/client.h"
#include "cli/client/list.h"
#include "cli/command/pairs.h"
#include "cli/output/output.h"
#include "cli/text/base64.h"

enum { COUNT_MAX = 1000, READ_SIZE = 65536, BODY_BYTES_MAX = 64 << 20 };

static const struct column message_columns[] = {
    {"EXCHANGE", "exchange", CELL_TEXT, false},
    {"KEY", "routing_key", CELL_TEXT, false},
    {"SIZE", "payload_bytes", CELL_SIZE, false},
    {"REDELIVERED", "redelivered", CELL_TEXT, false},
    {"TYPE", "properties.content_type", CELL_TEXT, true},
    {"ID", "properties.message_id", CELL_TEXT, true},
    {"HEADERS", "properties.headers", CELL_JSON, true},
    {"ENCODING", "payload_encoding", CELL_TEXT, true},
    {"PAYLOAD", "payload", CELL_TEXT, false},
};

static const struct column peek_columns[] = {
    {"ID", "id", CELL_TEXT, false},
    {"PLACE", "place", CELL_TEXT, true},
    {"AGE", "age_ms", CELL_AGE, false},
    {"EXCHANGE", "exchange", CELL_TEXT, false},
    {"KEY", "routing_key", CELL_TEXT, false},
    {"SIZE", "payload_bytes", CELL_SIZE, false},
    {"REDELIVERED", "redelivered", CELL_TEXT, false},
    {"TYPE", "properties.content_type", CELL_TEXT, true},
    {"MESSAGE-ID", "properties.message_id", CELL_TEXT, true},
    {"HEADERS", "properties.headers", CELL_JSON, true},
    {"ENCODING", "payload_encoding", CELL_TEXT, true},
    {"PAYLOAD", "payload", CELL_TEXT, false},
};

/* Looking ------------------------------------------------------------------------------------ */

/* --count is the first option of both commands. */
enum { OPTION_COUNT, GET_DEAD_LETTER };

#define COUNT_OPTION                                                                               \
    [OPTION_COUNT] = {"count", "NUMBER", "how many, from the front of the queue: 1 to 1000 (1)"}

const struct command_option peek_options[PEEK_OPTION_COUNT] = {COUNT_OPTION};

const struct command_option get_options[GET_OPTION_COUNT] = {
    COUNT_OPTION,
    [GET_DEAD_LETTER] = {"reject", NULL,
                         "reject them, to the dead-letter exchange if there is one"},
};

static int
read_count(json_int_t *count_out, const struct command_line *line, const struct command_io *io)
{
    const char *text = line->options[OPTION_COUNT];
    char *end;
    *count_out = 1;
    if (text == NULL) {
        return COMMAND_OK;
    }
    errno = 0;
    *count_out = strtoll(text, &end, 10);
    if (end == text || *end != '\0' || errno != 0 || *count_out < 1 || *count_out > COUNT_MAX) {
        return command_misused(io, "--count \"%s\" is not a number, 1 to %d", text, COUNT_MAX);
    }
    return COMMAND_OK;
}

/* The list within what the broker says: that itself, or its member "messages" or "items". */
static const json_t *
list_within(const json_t *answer)
{
    const json_t *messages = json_object_get(answer, "messages");
    if (json_is_array(answer)) {
        return answer;
    }
    return json_is_array(messages) ? messages : json_object_get(answer, "items");
}

static int
print_peeked(struct client *client, const struct command_line *line, const struct output *output)
{
    json_int_t count = 1;
    char text[24];
    json_t *answer = NULL;
    (void)read_count(&count, line, output->io); /* it was good before anybody was asked */
    snprintf(text, sizeof(text), "%lld", count);
    char *path = client_path_new("/api/bourse/queues/{}/{}/peek?count={}", client_vhost(client),
                                 line->operands[0], text);
    client_allow(client, CLIENT_LOOK_SECONDS);
    int result = client_call(client, "GET", path, NULL, &answer);
    if (result == COMMAND_OK) {
        result = output_rows(output, peek_columns, ARRAY_LEN(peek_columns), list_within(answer));
    }
    json_decref(answer);
    free(path);
    return result;
}

int
peek_run(const struct command_line *line, const struct command_io *io)
{
    json_int_t count;
    int result = read_count(&count, line, io);
    return result == COMMAND_OK ? list_watch(line, io, print_peeked) : result;
}

static int
take_messages(struct client *client, const struct command_line *line, const struct command_io *io,
              const json_t *body)
{
    struct output output = output_of(line, io);
    json_t *answer = NULL;
    char *path = client_path_new("/api/queues/{}/{}/get", client_vhost(client), line->operands[0]);
    client_allow(client, CLIENT_LOOK_SECONDS);
    int result = client_call(client, "POST", path, body, &answer);
    if (result == COMMAND_OK) {
        result =
            output_rows(&output, message_columns, ARRAY_LEN(message_columns), list_within(answer));
    }
    json_decref(answer);
    free(path);
    return result;
}

int
get_run(const struct command_line *line, const struct command_io *io)
{
    json_int_t count;
    struct client *client;
    if (read_count(&count, line, io) != COMMAND_OK) {
        return COMMAND_MISUSED;
    }
    json_t *body = json_pack("{s:I, s:s, s:s}", "count", count, "ackmode",
                             line->options[GET_DEAD_LETTER] != NULL ? "reject_requeue_false"
                                                                    : "ack_requeue_false",
                             "encoding", "auto");
    int result = client_open(&client, line, io);
    if (result == COMMAND_OK) {
        result = take_messages(client, line, io, body);
    }
    json_decref(body);
    client_close(&client);
    return result;
}

/* Publishing --------------------------------------------------------------------------------- */

enum { PUBLISH_FILE, PUBLISH_HEADER, PUBLISH_PROPERTY, PUBLISH_TRANSIENT };

const struct command_option publish_options[PUBLISH_OPTION_COUNT] = {
    [PUBLISH_FILE] = {"file", "FILE", "the body is this file's content"},
    [PUBLISH_HEADER] = {"header", "NAME=VALUE...", "a header"},
    [PUBLISH_PROPERTY] = {"property", "NAME=VALUE...",
                          "a property, such as content_type=text/plain or expiration=\"60000\""},
    [PUBLISH_TRANSIENT] = {"transient", NULL, "need not survive a restart"},
};

/* Reads to the end of `file`. */
static int
read_body(struct buffer *body, FILE *file, const char *name, const struct command_io *io)
{
    size_t size;
    do {
        uint8_t *at = buffer_reserve(body, READ_SIZE);
        size = at == NULL ? 0 : fread(at, 1, READ_SIZE, file);
        buffer_commit(body, size);
    } while (size > 0 && buffer_size(body) <= BODY_BYTES_MAX);
    if (ferror(file) || body->failed) {
        return command_error(io, COMMAND_FAILED, "the body cannot be read from %s: %s", name,
                             body->failed ? "no memory" : strerror(errno));
    }
    if (buffer_size(body) > BODY_BYTES_MAX) {
        return command_error(io, COMMAND_FAILED,
                             "the body in %s is larger than %d MiB, which this command sends at "
                             "most; publish it with a client over AMQP",
                             name, BODY_BYTES_MAX >> 20);
    }
    return COMMAND_OK;
}

/* From the command line, a file, or standard input. */
static int
find_body(struct buffer *body, const struct command_line *line, const struct command_io *io)
{
    const char *path = line->options[PUBLISH_FILE];
    if (line->operand_count > 2 && path != NULL) {
        return command_misused(io, "the body is given twice: as BODY and by --file");
    }
    if (line->operand_count > 2) {
        buffer_put_bytes(body, bytes_of(line->operands[2]));
        return COMMAND_OK;
    }
    if (path == NULL) {
        return io->in == NULL ? COMMAND_OK : read_body(body, io->in, "standard input", io);
    }
    FILE *file = fopen(path, "re");
    if (file == NULL) {
        return command_error(io, COMMAND_FAILED, "the body cannot be read from %s: %s", path,
                             strerror(errno));
    }
    int result = read_body(body, file, path, io);
    fclose(file);
    return result;
}

/* As text where it is text, else as base64. */
static void
set_payload(json_t *request, struct bytes body)
{
    json_t *text = json_stringn(body.size == 0 ? "" : (const char *)body.data, body.size);
    if (text != NULL) {
        json_object_set_new(request, "payload", text);
        json_object_set_new(request, "payload_encoding", json_string("string"));
        return;
    }
    char *encoded = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&encoded, &size);
    base64_print(out, body);
    fclose(out);
    json_object_set_new(request, "payload", json_string(encoded));
    json_object_set_new(request, "payload_encoding", json_string("base64"));
    free(encoded);
}

static int
make_request(json_t **request_out, const struct command_line *line, const struct command_io *io)
{
    json_t *properties;
    json_t *headers;
    int result = pairs_read(&properties, line, PUBLISH_PROPERTY, io);
    if (result != COMMAND_OK) {
        return result;
    }
    result = pairs_read(&headers, line, PUBLISH_HEADER, io);
    if (result != COMMAND_OK) {
        json_decref(properties);
        return result;
    }
    if (json_object_get(properties, "delivery_mode") == NULL) {
        bool is_transient = line->options[PUBLISH_TRANSIENT] != NULL;
        json_object_set_new(properties, "delivery_mode", json_integer(is_transient ? 1 : 2));
    }
    if (json_object_size(headers) > 0) {
        json_object_set(properties, "headers", headers);
    }
    json_decref(headers);
    *request_out =
        json_pack("{s:o, s:s}", "properties", properties, "routing_key", line->operands[1]);
    return *request_out != NULL ? COMMAND_OK : command_misused(io, "the routing key is not UTF-8");
}

/* The default exchange has no name, which a path cannot say. */
static const char *
exchange_in_path(const char *name)
{
    return name[0] == '\0' ? "amq.default" : name;
}

static int
send_message(const struct command_line *line, const struct command_io *io, const json_t *request)
{
    struct output output = output_of(line, io);
    struct client *client;
    json_t *answer = NULL;
    int result = client_open(&client, line, io);
    if (result == COMMAND_OK) {
        char *path = client_path_new("/api/exchanges/{}/{}/publish", client_vhost(client),
                                     exchange_in_path(line->operands[0]));
        result = client_call(client, "POST", path, request, &answer);
        free(path);
    }
    if (result == COMMAND_OK && !json_is_true(json_object_get(answer, "routed"))) {
        result = command_error(io, COMMAND_FAILED,
                               "no queue got the message: nothing is bound to exchange \"%s\" for "
                               "key \"%s\"; \"bourse binding ls\" shows what is",
                               line->operands[0], line->operands[1]);
    } else if (result == COMMAND_OK) {
        result = output_result(&output,
                               json_pack("{s:s, s:s, s:s}", "exchange", line->operands[0],
                                         "routing_key", line->operands[1], "done", "published"),
                               "published");
    }
    json_decref(answer);
    client_close(&client);
    return result;
}

int
publish_run(const struct command_line *line, const struct command_io *io)
{
    struct buffer body;
    json_t *request;
    buffer_init(&body);
    int result = find_body(&body, line, io);
    if (result == COMMAND_OK) {
        result = make_request(&request, line, io);
    }
    if (result == COMMAND_OK) {
        set_payload(request, buffer_bytes(&body));
        result = send_message(line, io, request);
        json_decref(request);
    }
    buffer_fini(&body);
    return result;
}
