/* SPDX-License-Identifier: Apache-2.0 */
/* What the command line says becomes a question; who answers it (a core made from files) and how
 * the answer is printed (broker/explain/route_text.h) are things apart. */
#include "cli/messages/route.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "amqp/table.h"
#include "base/assert.h"
#include "broker/explain/route_text.h"
#include "cli/client/client.h"
#include "cli/files/offline.h"
#include "cli/output/output.h"
#include "cli/text/cell.h"
#include "cli/text/message_headers.h"
#include "management/views/explanation_json.h"

enum { ROUTE_FILE, ROUTE_USER, ROUTE_HEADER, ROUTE_SIZE, ROUTE_MISSES, MISSES_MAX = 1000 };

static const uint64_t BODY_SIZE_MAX = UINT64_C(512) * 1024 * 1024;

const struct command_option route_options[ROUTE_OPTION_COUNT] = {
    {"file", "FILE", "ask what this configuration file declares, without a broker"},
    {"user", "USER", "say whether USER may publish it, too"},
    {"header", "NAME=VALUE...", "a header of the message"},
    {"size", "OCTETS", "of the body; 0 if not given"},
    {"misses", "N", "list so many bindings of an exchange that do not match (10)"},
};

/* A number from 0 to `max`; what is not given stays as it is. */
static bool
read_number(const char *text, uint64_t max, uint64_t *value)
{
    char *end;
    if (text == NULL) {
        return true;
    }
    errno = 0;
    *value = strtoull(text, &end, 10);
    return text[0] >= '0' && text[0] <= '9' && *end == '\0' && errno == 0 && *value <= max;
}

static int
read_headers(const struct command_line *line, const struct command_io *io, struct buffer *block)
{
    struct buffer headers;
    struct fault fault;
    const char *why;
    const char *given;
    size_t at = 0;
    int result = COMMAND_OK;
    buffer_init(&headers);
    while (result == COMMAND_OK && (given = command_line_next(line, ROUTE_HEADER, &at)) != NULL) {
        if (!message_header_put(&headers, given, &why)) {
            result = command_misused(io, "--header \"%s\" %s", given, why);
        }
    }
    if (result == COMMAND_OK && buffer_size(&headers) > 0) {
        if (table_validate(buffer_bytes(&headers), TABLE_HEADER_FIELDS_MAX, &fault) != STATUS_OK) {
            result = command_misused(io, "--header: %s", fault.text);
        } else {
            message_properties_put(block, buffer_bytes(&headers));
        }
    }
    buffer_fini(&headers);
    return result;
}

static int
read_question(const struct command_line *line, const struct command_io *io, struct buffer *block,
              struct route_question *question)
{
    uint64_t size = 0;
    uint64_t misses = EXPLAIN_MISSES;
    if (!read_number(line->options[ROUTE_SIZE], BODY_SIZE_MAX, &size)) {
        return command_misused(io, "--size \"%s\" is no number of octets up to 512 MiB",
                               line->options[ROUTE_SIZE]);
    }
    if (!read_number(line->options[ROUTE_MISSES], MISSES_MAX, &misses) || misses == 0) {
        return command_misused(io, "--misses \"%s\" is no number from 1 to %d",
                               line->options[ROUTE_MISSES], MISSES_MAX);
    }
    if (strlen(line->operands[1]) > EXPLAIN_NAME_SIZE_MAX) {
        return command_misused(io, "a routing key has at most 255 octets");
    }
    int result = read_headers(line, io, block);
    *question = (struct route_question){
        .exchange = bytes_of(line->operands[0]),
        .routing_key = bytes_of(line->operands[1]),
        .properties = buffer_bytes(block),
        .body_size = (uint32_t)size,
        .misses = (uint32_t)misses,
    };
    if (line->options[ROUTE_USER] != NULL) {
        question->user = bytes_of(line->options[ROUTE_USER]);
    }
    return result;
}

/* What people read is text; rows are the queues that get the message. */
static int
print_answer(const struct output *output, const json_t *answer)
{
    static const struct column columns[] = {
        {"QUEUE", "name", CELL_TEXT, false},
        {"FROM", "from", CELL_TEXT, false},
        {"RECEPTION", "reception", CELL_TEXT, false},
    };
    if (output_is_text(output)) {
        const char *text = json_string_value(json_object_get(answer, "text"));
        cell_print_lines(output->io->out, text == NULL ? "" : text);
        return COMMAND_OK;
    }
    if (output->format == OUTPUT_JSON) {
        output_json(output, answer);
        return COMMAND_OK;
    }
    return output_rows(output, columns, ARRAY_LEN(columns), json_object_get(answer, "queues"));
}

/* Prints it. COMMAND_FAILED when no queue gets the message. */
static int
print_and_judge(const json_t *answer, const struct command_line *line, const struct command_io *io)
{
    struct output output = output_of(line, io);
    int result = print_answer(&output, answer);
    bool arrives = json_is_true(json_object_get(answer, "arrives"));
    return result == COMMAND_OK && !arrives ? COMMAND_FAILED : result;
}

/* Of a file ------------------------------------------------------------------------------------ */

/* What a broker would say of it, which the caller releases. */
static json_t *
explanation_object(const struct explained_route *route)
{
    struct json_writer json;
    json_init(&json);
    explanation_write(&json, route, ROUTE_OF_FILE);
    struct bytes text = buffer_bytes(&json.out);
    json_t *object = json_loadb((const char *)text.data, text.size, JSON_ALLOW_NUL, NULL);
    json_fini(&json);
    return object;
}

static int
answer_from_file(const struct command_line *line, const struct command_io *io,
                 struct route_question *question)
{
    struct offline offline;
    char *const paths[] = {(char *)(uintptr_t)line->options[ROUTE_FILE]};
    if (!offline_open(&offline, paths, 1, false, io)) {
        return COMMAND_FAILED;
    }
    question->vhost = offline.config->vhost;
    struct route_explanation *explanation = route_explain(offline.core, question);
    json_t *answer = explanation_object(route_explanation_result(explanation));
    int result = print_and_judge(answer, line, io);
    json_decref(answer);
    route_explanation_free(&explanation);
    offline_close(&offline);
    return result;
}

/* Of a running broker -------------------------------------------------------------------------- */

static json_t *
keys_of(const char *text)
{
    json_t *keys = json_array();
    for (;;) {
        size_t size = strcspn(text, ",");
        if (json_array_append_new(keys, json_stringn(text, size)) != 0) {
            json_decref(keys);
            return NULL;
        }
        if (text[size] == '\0') {
            return keys;
        }
        text += size + 1;
    }
}

/* The same values as message_header_put makes of them; NULL: it is not UTF-8. */
static json_t *
header_value(const char *name, const char *text)
{
    size_t size = strlen(text);
    char *end;
    errno = 0;
    long long number = strtoll(text, &end, 10);
    bool begins = (text[0] >= '0' && text[0] <= '9') || text[0] == '-' || text[0] == '+';
    if (strcmp(name, "CC") == 0 || strcmp(name, "BCC") == 0) {
        return keys_of(text);
    }
    if (begins && end != text && *end == '\0' && errno == 0) {
        return json_integer(number);
    }
    if (strcmp(text, "true") == 0 || strcmp(text, "false") == 0) {
        return json_boolean(text[0] == 't');
    }
    return size >= 2 && text[0] == '"' && text[size - 1] == '"' ? json_stringn(text + 1, size - 2)
                                                                : json_string(text);
}

/* They were read as headers before, so each is NAME=VALUE. NULL: one is not UTF-8. */
static json_t *
headers_given(const struct command_line *line)
{
    json_t *headers = json_object();
    const char *given;
    size_t at = 0;
    int status = 0;
    while (status == 0 && (given = command_line_next(line, ROUTE_HEADER, &at)) != NULL) {
        size_t size = strcspn(given, "=");
        char *name = xstrdup(given);
        name[size] = '\0';
        status = json_object_set_new(headers, name, header_value(name, given + size + 1));
        free(name);
    }
    if (status != 0) {
        json_decref(headers);
        headers = NULL;
    }
    return headers;
}

/* The question as the broker takes it; NULL: something of it is not UTF-8. */
static json_t *
body_new(const struct command_line *line, const struct route_question *question)
{
    const char *user = line->options[ROUTE_USER];
    json_t *headers = headers_given(line);
    if (headers == NULL) {
        return NULL;
    }
    return json_pack("{s:s, s:s, s:o, s:I, s:I, s:s*}", "exchange", line->operands[0],
                     "routing_key", line->operands[1], "headers", headers, "body_bytes",
                     (json_int_t)question->body_size, "misses", (json_int_t)question->misses,
                     "user", user);
}

static int
answer_from_broker(const struct command_line *line, const struct command_io *io,
                   const struct route_question *question)
{
    struct client *client;
    json_t *answer = NULL;
    json_t *body = body_new(line, question);
    if (body == NULL) {
        return command_misused(io, "what is asked for is not UTF-8");
    }
    int result = client_open(&client, line, io);
    if (result == COMMAND_OK) {
        char *path = client_path_new("/api/bourse/route/{}", client_vhost(client));
        result = client_call(client, "POST", path, body, &answer);
        free(path);
    }
    if (result == COMMAND_OK) {
        result = print_and_judge(answer, line, io);
    }
    json_decref(answer);
    json_decref(body);
    client_close(&client);
    return result;
}

int
route_run(const struct command_line *line, const struct command_io *io)
{
    struct buffer block;
    struct route_question question = {.misses = 0};
    buffer_init(&block);
    int result = read_question(line, io, &block, &question);
    if (result == COMMAND_OK) {
        result = line->options[ROUTE_FILE] != NULL ? answer_from_file(line, io, &question)
                                                   : answer_from_broker(line, io, &question);
    }
    buffer_fini(&block);
    return result;
}
