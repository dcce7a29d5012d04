/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/desk/delayed.h"

#include <stdlib.h>

#include "base/assert.h"
#include "cli/client/client.h"
#include "cli/client/list.h"
#include "cli/command/pairs.h"
#include "cli/desk/desk_filter.h"
#include "cli/output/output.h"

enum { LISTED_COUNT = 100, COUNT_MAX = 1000 };

/* The list ------------------------------------------------------------------------------------- */

enum { LS_COUNT, LS_AFTER, LS_KIND };

#define KINDS "delayed|retry|parked"

const struct command_option delayed_ls_options[DELAYED_LS_OPTION_COUNT] = {
    [LS_COUNT] = {"count", "NUMBER", "how many: 1 to 1000 (100)"},
    [LS_AFTER] = {"after", "PLACE", "go on there: what the page before said"},
    [LS_KIND] = {"kind", KINDS, "only these"},
};

static const struct column columns[] = {
    {"KEY", "key", CELL_TEXT, false},
    {"KIND", "kind", CELL_TEXT, false},
    {"DUE", "due_ms", CELL_WHEN, false},
    {"IN", "due_in_ms", CELL_AGE, false},
    {"SIZE", "payload_bytes", CELL_SIZE, false},
    {"ROUTING-KEY", "routing_key", CELL_TEXT, false},
    {"MESSAGE-ID", "message_id", CELL_TEXT, false},
};

static char *
list_path_new(const struct client *client, const struct command_line *line, json_int_t count)
{
    char number[24];
    const char *after = line->options[LS_AFTER];
    const char *kind = line->options[LS_KIND];
    snprintf(number, sizeof(number), "%lld", count);
    const char *format = after != NULL && kind != NULL
                             ? "/api/bourse/queues/{}/{}/delayed?count={}&after={}&kind={}"
                         : after != NULL ? "/api/bourse/queues/{}/{}/delayed?count={}&after={}"
                         : kind != NULL  ? "/api/bourse/queues/{}/{}/delayed?count={}&kind={}"
                                         : "/api/bourse/queues/{}/{}/delayed?count={}";
    return client_path_new(format, client_vhost(client), line->operands[0], number,
                           after != NULL ? after : kind, kind);
}

static int
print_pending(struct client *client, const struct command_line *line, const struct output *output)
{
    json_t *answer = NULL;
    json_int_t count = LISTED_COUNT;
    (void)desk_read_number(&count, line, LS_COUNT, COUNT_MAX, output->io); /* it was good before */
    char *path = list_path_new(client, line, count);
    client_allow(client, CLIENT_LOOK_SECONDS);
    int result = client_call(client, "GET", path, NULL, &answer);
    free(path);
    if (result == COMMAND_OK) {
        result =
            output_rows(output, columns, ARRAY_LEN(columns), json_object_get(answer, "messages"));
    }
    if (result == COMMAND_OK) {
        list_say_next(line, output, answer);
    }
    json_decref(answer);
    return result;
}

int
delayed_ls_run(const struct command_line *line, const struct command_io *io)
{
    json_int_t count;
    int result = desk_read_number(&count, line, LS_COUNT, COUNT_MAX, io);
    return result == COMMAND_OK ? list_watch(line, io, print_pending) : result;
}

/* Release and cancel --------------------------------------------------------------------------- */

enum { SETTLE_MESSAGE_ID, SETTLE_ALL, SETTLE_KIND };

const struct command_option delayed_settle_options[DELAYED_SETTLE_OPTION_COUNT] = {
    [SETTLE_MESSAGE_ID] = {"message-id", "TEXT", "those with exactly this message-id"},
    [SETTLE_ALL] = {"all", NULL, "all of them"},
    [SETTLE_KIND] = {"kind", KINDS, "only these (delayed and retry)"},
};

static int
settle(const struct command_line *line, const struct command_io *io, const char *action,
       const char *done)
{
    struct output output = output_of(line, io);
    struct client *client;
    json_t *answer = NULL;
    const char *key = line->operand_count > 1 ? line->operands[1] : NULL;
    const char *message_id = line->options[SETTLE_MESSAGE_ID];
    bool is_all = line->options[SETTLE_ALL] != NULL;
    if ((key != NULL) + (message_id != NULL) + is_all != 1) {
        return command_misused(io, "which messages? Give one of KEY, --message-id and --all");
    }
    json_t *body = json_pack("{s:b}", "all", is_all);
    if (pairs_put_text(body, "key", key, io) != COMMAND_OK ||
        pairs_put_text(body, "message_id", message_id, io) != COMMAND_OK) {
        json_decref(body);
        return COMMAND_MISUSED;
    }
    if (line->options[SETTLE_KIND] != NULL) {
        json_object_set_new(body, "kinds", json_pack("[s]", line->options[SETTLE_KIND]));
    }
    int result = client_open(&client, line, io);
    if (result == COMMAND_OK) {
        char *path = client_path_new("/api/bourse/queues/{}/{}/delayed/{}", client_vhost(client),
                                     line->operands[0], action);
        client_allow(client, CLIENT_LOOK_SECONDS);
        result = client_call(client, "POST", path, body, &answer);
        free(path);
    }
    if (result == COMMAND_OK) {
        long long count = json_integer_value(json_object_get(answer, "count"));
        result = output_result(&output,
                               json_pack("{s:s, s:s, s:I}", "name", line->operands[0], "done", done,
                                         "messages", (json_int_t)count),
                               "%lld message%s %s", count, count == 1 ? "" : "s", done);
    }
    json_decref(body);
    json_decref(answer);
    client_close(&client);
    return result;
}

int
delayed_release_run(const struct command_line *line, const struct command_io *io)
{
    return settle(line, io, "release", "released");
}

int
delayed_cancel_run(const struct command_line *line, const struct command_io *io)
{
    return settle(line, io, "cancel", "cancelled");
}
