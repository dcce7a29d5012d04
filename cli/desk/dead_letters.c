/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/desk/dead_letters.h"

#include <stdlib.h>

#include "base/assert.h"
#include "cli/client/client.h"
#include "cli/client/list.h"
#include "cli/command/pairs.h"
#include "cli/desk/replay.h"
#include "cli/output/output.h"

enum { SHOWN_COUNT = 20, COUNT_MAX = 1000, REASONS_MAX = 50 };

/* Which queues ------------------------------------------------------------------------------- */

static const struct column queue_columns[] = {
    {"QUEUE", "queue", CELL_TEXT, false},           {"VHOST", "vhost", CELL_TEXT, false},
    {"MESSAGES", "messages", CELL_NUMBER, false},   {"PARKED", "parked", CELL_NUMBER, false},
    {"OLDEST", "oldest_ms", CELL_AGE, false},       {"TOP REASON", "top_reason", CELL_TEXT, false},
    {"TOP ORIGIN", "top_origin", CELL_TEXT, false}, {"TARGET", "is_target", CELL_TEXT, true},
};

/* The most frequent reason of the first messages, if the caller may know it. */
static void
add_reason(struct client *client, json_t *queue)
{
    json_t *answer;
    const char *vhost = json_string_value(json_object_get(queue, "vhost"));
    const char *name = json_string_value(json_object_get(queue, "queue"));
    if (vhost == NULL || name == NULL) {
        return;
    }
    char *path = client_path_new("/api/bourse/queues/{}/{}/groups?limit=1000", vhost, name);
    long status = client_probe(client, path, &answer);
    json_t *group = json_array_get(json_object_get(answer, "groups"), 0);
    if (status == 200 && group != NULL) {
        json_object_set(queue, "top_reason", json_object_get(group, "reason"));
        json_object_set(queue, "top_origin", json_object_get(group, "origin_queue"));
    }
    json_decref(answer);
    free(path);
}

static bool
is_wanted(const struct client *client, const json_t *queue)
{
    const char *vhost = json_string_value(json_object_get(queue, "vhost"));
    return !client_has_vhost(client) || (vhost != NULL && strcmp(vhost, client_vhost(client)) == 0);
}

static int
print_queues(struct client *client, const struct command_line *line, const struct output *output)
{
    json_t *answer = NULL;
    (void)line;
    int result = client_call(client, "GET", "/api/bourse/dead-letters", NULL, &answer);
    if (result == COMMAND_OK) {
        json_t *rows = json_array();
        size_t index;
        json_t *queue;
        json_array_foreach(json_object_get(answer, "queues"), index, queue)
        {
            if (is_wanted(client, queue)) {
                json_array_append(rows, queue);
            }
        }
        for (size_t i = 0; i < json_array_size(rows) && i < REASONS_MAX; i++) {
            add_reason(client, json_array_get(rows, i));
        }
        result = output_rows(output, queue_columns, ARRAY_LEN(queue_columns), rows);
        json_decref(rows);
    }
    json_decref(answer);
    return result;
}

int
dlq_ls_run(const struct command_line *line, const struct command_io *io)
{
    return list_watch(line, io, print_queues);
}

/* A queue's messages ------------------------------------------------------------------------- */

enum { SHOW_COUNT = DESK_FILTER_OPTION_COUNT, SHOW_AFTER };

const struct command_option dlq_show_options[DLQ_SHOW_OPTION_COUNT] = {
    DESK_FILTER_OPTIONS,
    [SHOW_COUNT] = {"count", "NUMBER", "how many: 1 to 1000 (20)"},
    [SHOW_AFTER] = {"after", "PLACE", "go on there: what the page before said"},
};

const struct command_option dlq_group_options[DLQ_GROUP_OPTION_COUNT] = {DESK_FILTER_OPTIONS};

static const struct column message_columns[] = {
    {"ID", "id", CELL_TEXT, false},
    {"PLACE", "place", CELL_TEXT, true},
    {"AGE", "age_ms", CELL_AGE, false},
    {"ORIGIN", "origin_queue", CELL_TEXT, false},
    {"REASON", "reason", CELL_TEXT, false},
    {"CLASS", "error_class", CELL_TEXT, false},
    {"EXCHANGE", "exchange", CELL_TEXT, true},
    {"KEY", "routing_key", CELL_TEXT, true},
    {"FAILURES", "failures", CELL_NUMBER, true},
    {"REPLAYED", "replay_count", CELL_NUMBER, true},
    {"MESSAGE-ID", "properties.message_id", CELL_TEXT, true},
    {"HEADERS", "properties.headers", CELL_JSON, true},
    {"SIZE", "payload_bytes", CELL_SIZE, false},
    {"PAYLOAD", "payload", CELL_TEXT, false},
};

static const struct column group_columns[] = {
    {"ORIGIN", "origin_queue", CELL_TEXT, false}, {"REASON", "reason", CELL_TEXT, false},
    {"CLASS", "error_class", CELL_TEXT, false},   {"KEY", "routing_key", CELL_TEXT, false},
    {"COUNT", "count", CELL_NUMBER, false},       {"SIZE", "octets", CELL_SIZE, false},
    {"OLDEST", "oldest_ms", CELL_AGE, false},     {"NEWEST", "newest_ms", CELL_AGE, false},
    {"SAMPLE", "sample", CELL_TEXT, true},
};

/* The path of the queue with the command's filter; the caller frees it. NULL: reported. */
static char *
path_new(const char *format, const struct command_line *line, const struct client *client,
         const struct command_io *io)
{
    json_t *filter;
    struct buffer query;
    if (desk_filter_object(&filter, line, io) != COMMAND_OK) {
        return NULL;
    }
    char *path = client_path_new(format, client_vhost(client), line->operands[0]);
    buffer_init(&query);
    buffer_printf(&query, "%s", path);
    free(path);
    desk_filter_put_query(&query, filter);
    json_decref(filter);
    buffer_put_u8(&query, '\0');
    char *whole = query.failed ? NULL : strdup((const char *)buffer_bytes(&query).data);
    buffer_fini(&query);
    return whole;
}

/* What the rows leave out. */
static void
tell_rest(const json_t *answer, const struct command_line *line, const struct output *output)
{
    json_int_t others =
        json_integer_value(json_object_get(json_object_get(answer, "others"), "count"));
    json_int_t unreadable = json_integer_value(json_object_get(answer, "unreadable"));
    list_say_next(line, output, answer);
    if (others > 0 && !output->is_quiet) {
        fprintf(output->io->err, "%lld more in groups beyond these: a filter chooses among them\n",
                others);
    }
    if (unreadable > 0 && !output->is_quiet) {
        fprintf(output->io->err, "%lld more cannot be read: the log of the broker says why\n",
                unreadable);
    }
}

/* Asks for `format` with the command's filter, and prints the list called `member`. */
static int
print_list(struct client *client, const struct command_line *line, const struct output *output,
           const char *format, const char *member, const struct column *columns,
           size_t column_count)
{
    json_t *answer = NULL;
    char *path = path_new(format, line, client, output->io);
    client_allow(client, CLIENT_LOOK_SECONDS);
    int result = path == NULL ? COMMAND_MISUSED : client_call(client, "GET", path, NULL, &answer);
    if (result == COMMAND_OK) {
        result = output_rows(output, columns, column_count, json_object_get(answer, member));
    }
    if (result == COMMAND_OK) {
        tell_rest(answer, line, output);
    }
    json_decref(answer);
    free(path);
    return result;
}

static int
print_messages(struct client *client, const struct command_line *line, const struct output *output)
{
    json_int_t count = SHOWN_COUNT;
    (void)desk_read_number(&count, line, SHOW_COUNT, COUNT_MAX,
                           output->io); /* it was good before */
    const char *after = line->options[SHOW_AFTER];
    struct buffer format;
    buffer_init(&format);
    char *encoded = client_path_new("{}", after == NULL ? "" : after);
    buffer_printf(&format, "/api/bourse/queues/{}/{}/peek?count=%lld%s%s", count,
                  after == NULL ? "" : "&after=", encoded);
    buffer_put_u8(&format, '\0');
    int result = print_list(client, line, output, (const char *)buffer_bytes(&format).data,
                            "messages", message_columns, ARRAY_LEN(message_columns));
    free(encoded);
    buffer_fini(&format);
    return result;
}

static int
print_groups(struct client *client, const struct command_line *line, const struct output *output)
{
    return print_list(client, line, output, "/api/bourse/queues/{}/{}/groups?", "groups",
                      group_columns, ARRAY_LEN(group_columns));
}

int
dlq_show_run(const struct command_line *line, const struct command_io *io)
{
    json_int_t count;
    int result = desk_read_number(&count, line, SHOW_COUNT, COUNT_MAX, io);
    return result == COMMAND_OK ? list_watch(line, io, print_messages) : result;
}

int
dlq_group_run(const struct command_line *line, const struct command_io *io)
{
    return list_watch(line, io, print_groups);
}

/* Out as lines ------------------------------------------------------------------------------- */

enum { EXPORT_LIMIT = DESK_FILTER_OPTION_COUNT };

const struct command_option dlq_export_options[DLQ_EXPORT_OPTION_COUNT] = {
    DESK_FILTER_OPTIONS,
    [EXPORT_LIMIT] = {"limit", "NUMBER", "so many at most"},
};

int
dlq_export_run(const struct command_line *line, const struct command_io *io)
{
    json_int_t limit = INT64_MAX;
    struct client *client;
    char format[96];
    if (desk_read_number(&limit, line, EXPORT_LIMIT, INT64_MAX, io) != COMMAND_OK) {
        return COMMAND_MISUSED;
    }
    snprintf(format, sizeof(format), "/api/bourse/queues/{}/{}/export?limit=%lld", limit);
    int result = client_open(&client, line, io);
    char *path = result == COMMAND_OK ? path_new(format, line, client, io) : NULL;
    if (result == COMMAND_OK) {
        result = path == NULL ? COMMAND_MISUSED : client_stream(client, path, io->out);
    }
    free(path);
    client_close(&client);
    return result;
}

/* Dropping ----------------------------------------------------------------------------------- */

enum { DROP_NOTE = DESK_FILTER_OPTION_COUNT, DROP_LIMIT, DROP_ALL };

const struct command_option dlq_drop_options[DLQ_DROP_OPTION_COUNT] = {
    DESK_FILTER_OPTIONS,
    [DROP_NOTE] = {"note", "TEXT", "why; the audit keeps it"},
    [DROP_LIMIT] = {"limit", "NUMBER", "so many at most, from the front"},
    [DROP_ALL] = {"all", NULL, "all of them, without a filter"},
};

int
dlq_drop_run(const struct command_line *line, const struct command_io *io)
{
    json_t *filter;
    json_int_t limit = 0;
    if (line->options[DROP_NOTE] == NULL) {
        return command_misused(io, "say why with --note TEXT: the messages are gone afterwards");
    }
    if (desk_read_number(&limit, line, DROP_LIMIT, INT64_MAX, io) != COMMAND_OK ||
        desk_filter_object(&filter, line, io) != COMMAND_OK) {
        return COMMAND_MISUSED;
    }
    if (json_object_size(filter) == 0 && limit == 0 && line->options[DROP_ALL] == NULL) {
        json_decref(filter);
        return command_misused(io, "which messages? Give a filter or --limit, or say --all");
    }
    json_t *body =
        json_pack("{s:o, s:b}", "filter", filter, "all", line->options[DROP_ALL] != NULL);
    if (pairs_put_text(body, "note", line->options[DROP_NOTE], io) != COMMAND_OK) {
        json_decref(body);
        return COMMAND_MISUSED;
    }
    if (limit > 0) {
        json_object_set_new(body, "limit", json_integer(limit));
    }
    return desk_change_run(line, io, "drop", body, true);
}
