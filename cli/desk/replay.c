/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/desk/replay.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/assert.h"
#include "cli/client/list.h"
#include "cli/command/pairs.h"
#include "cli/output/output.h"
#include "cli/output/progress.h"

/* A job ---------------------------------------------------------------------------------------- */

enum { LOOK_AGAIN_MS = 100 };

static json_int_t
number_of(const json_t *job, const char *name)
{
    return json_integer_value(json_object_get(job, name));
}

static const char *
text_of(const json_t *job, const char *name)
{
    const char *text = json_string_value(json_object_get(job, name));
    return text == NULL ? "" : text;
}

static bool
is_over(const json_t *job)
{
    return json_is_integer(json_object_get(job, "ended_ms"));
}

/* Messages that were looked at and stayed. */
static json_int_t
stayed_of(const json_t *job)
{
    return number_of(job, "no_target_count") + number_of(job, "too_large_count") +
           number_of(job, "unreadable_count") + number_of(job, "not_allowed_count");
}

static void
show_progress(struct progress *progress, const json_t *job)
{
    json_int_t total = number_of(job, "total");
    json_int_t done = number_of(job, "done") + stayed_of(job);
    progress_show(progress, (uint64_t)(is_over(job) ? total : done), (uint64_t)total,
                  "%lld of %lld  %s", number_of(job, "done"), total, text_of(job, "state"));
}

/* Asks until it is over. Takes `*job` and leaves the last answer there. */
static int
wait_for_end(struct client *client, json_t **job, const struct output *output)
{
    int result = COMMAND_OK;
    char path[64];
    struct timespec pause = {.tv_nsec = LOOK_AGAIN_MS * 1000L * 1000L};
    struct progress progress = progress_begin(output->io, output->is_quiet);
    snprintf(path, sizeof(path), "/api/bourse/replays/%lld", number_of(*job, "id"));
    while (result == COMMAND_OK && !json_is_true(json_object_get(*job, "on_disk"))) {
        show_progress(&progress, *job);
        nanosleep(&pause, NULL);
        json_t *next = NULL;
        result = client_call(client, "GET", path, NULL, &next);
        if (result == COMMAND_OK) {
            json_decref(*job);
            *job = next;
        }
    }
    progress_end(&progress);
    return result;
}

static const struct {
    const char *name;
    const char *text;
} reasons[] = {
    {"no_target_count", "nothing is known of where to, or no queue is there"},
    {"too_large_count", "no segment of the log holds them with all their queues"},
    {"unreadable_count", "they cannot be read"},
    {"not_allowed_count", "you may not publish them there"},
    {"full_count", "the queue had no room for them"},
};

static void
say_stayed(const json_t *job, const struct output *output)
{
    for (size_t i = 0; i < ARRAY_LEN(reasons); i++) {
        json_int_t count = number_of(job, reasons[i].name);
        bool is_wait = strcmp(reasons[i].name, "full_count") == 0 &&
                       !json_is_true(json_object_get(job, "dry_run"));
        if (count > 0 && !is_wait) {
            output_done(output, "%lld stayed: %s", count, reasons[i].text);
        }
    }
}

static void
say_targets(const json_t *job, const struct output *output)
{
    size_t index;
    const json_t *target;
    json_array_foreach(json_object_get(job, "targets"), index, target)
    {
        struct buffer name;
        buffer_init(&name);
        const char *queue = text_of(target, "queue");
        cell_put_escaped(&name, bytes_of(queue[0] == '\0' ? "(others)" : queue));
        output_done(output, "  %lld to %.*s", number_of(target, "count"),
                    BYTES_FORMAT(buffer_bytes(&name)));
        buffer_fini(&name);
    }
}

/* What came of it. */
static int
say_end(const json_t *job, const struct output *output)
{
    const char *state = text_of(job, "state");
    bool is_replay = strcmp(text_of(job, "action"), "replay") == 0;
    bool is_dry = json_is_true(json_object_get(job, "dry_run"));
    if (output->format == OUTPUT_JSON) {
        output_json(output, job);
    } else {
        output_done(output, "%lld message%s %s%s%s", number_of(job, "done"),
                    number_of(job, "done") == 1 ? "" : "s", is_dry ? "would be " : "",
                    is_replay ? "replayed" : "dropped",
                    strcmp(state, "cancelled") == 0 ? " before it was cancelled" : "");
        say_targets(job, output);
        say_stayed(job, output);
    }
    if (strcmp(state, "given_up") == 0) {
        return command_error(output->io, COMMAND_FAILED,
                             "the broker has given up: a queue stayed full, or was deleted; what "
                             "was done stays done, the rest is where it was");
    }
    return COMMAND_OK;
}

static int
say_begun(const json_t *job, const struct output *output)
{
    if (output->format == OUTPUT_JSON) {
        output_json(output, job);
    } else {
        output_done(output, "begun as job %lld; \"bourse dlq jobs\" shows how far it is",
                    number_of(job, "id"));
    }
    return COMMAND_OK;
}

int
desk_change_run(const struct command_line *line, const struct command_io *io, const char *action,
                json_t *body, bool waits)
{
    struct output output = output_of(line, io);
    struct client *client;
    json_t *job = NULL;
    int result = client_open(&client, line, io);
    if (result == COMMAND_OK) {
        char *path = client_path_new("/api/bourse/queues/{}/{}/{}", client_vhost(client),
                                     line->operands[0], action);
        client_allow(client, CLIENT_LOOK_SECONDS);
        result = client_call(client, "POST", path, body, &job);
        free(path);
    }
    if (result == COMMAND_OK && waits) {
        result = wait_for_end(client, &job, &output);
    }
    if (result == COMMAND_OK) {
        result = waits ? say_end(job, &output) : say_begun(job, &output);
    }
    json_decref(job);
    json_decref(body);
    client_close(&client);
    return result;
}

/* Replaying ------------------------------------------------------------------------------------ */

enum {
    REPLAY_TO = DESK_FILTER_OPTION_COUNT,
    REPLAY_KEY,
    REPLAY_LIMIT,
    REPLAY_DRY_RUN,
    REPLAY_RATE,
    REPLAY_WAIT,
    REPLAY_BATCH,
    REPLAY_NOTE,
};

const struct command_option dlq_replay_options[DLQ_REPLAY_OPTION_COUNT] = {
    DESK_FILTER_OPTIONS,
    [REPLAY_TO] = {"to", "PLACE",
                   "origin: its queue (so if none is given); origin-exchange; or an exchange"},
    [REPLAY_KEY] = {"key", "KEY", "under this key, to an exchange"},
    [REPLAY_LIMIT] = {"limit", "NUMBER", "so many at most, from the front"},
    [REPLAY_DRY_RUN] = {"dry-run", NULL, "count what would go where, and change nothing"},
    [REPLAY_RATE] = {"rate", "NUMBER", "so many a second at most"},
    [REPLAY_WAIT] = {"wait", NULL, "until it is over and on disk"},
    [REPLAY_BATCH] = {"batch", "NAME", "its name; of a second run that of the first"},
    [REPLAY_NOTE] = {"note", "TEXT", "why; the audit keeps it"},
};

static int
put_target(json_t *body, const struct command_line *line, const struct command_io *io)
{
    const char *to = line->options[REPLAY_TO];
    const char *key = line->options[REPLAY_KEY];
    bool is_origin = to == NULL || strcmp(to, "origin") == 0;
    bool is_exchange = !is_origin && strcmp(to, "origin-exchange") != 0;
    if (key != NULL && !is_exchange) {
        return command_misused(io, "--key goes with --to EXCHANGE");
    }
    json_object_set_new(body, "to",
                        json_string(is_origin     ? "origin"
                                    : is_exchange ? "exchange"
                                                  : "origin_exchange"));
    int result = pairs_put_text(body, "exchange", is_exchange ? to : NULL, io);
    return result == COMMAND_OK ? pairs_put_text(body, "routing_key", key, io) : result;
}

static int
put_bounds(json_t *body, const struct command_line *line, const struct command_io *io)
{
    json_int_t limit = 0;
    json_int_t rate = 0;
    if (desk_read_number(&limit, line, REPLAY_LIMIT, INT64_MAX, io) != COMMAND_OK ||
        desk_read_number(&rate, line, REPLAY_RATE, UINT32_MAX, io) != COMMAND_OK) {
        return COMMAND_MISUSED;
    }
    if (limit > 0) {
        json_object_set_new(body, "limit", json_integer(limit));
    }
    json_object_set_new(body, "rate", json_integer(rate));
    return COMMAND_OK;
}

int
dlq_replay_run(const struct command_line *line, const struct command_io *io)
{
    json_t *filter;
    if (desk_filter_object(&filter, line, io) != COMMAND_OK) {
        return COMMAND_MISUSED;
    }
    bool is_dry = line->options[REPLAY_DRY_RUN] != NULL;
    json_t *body = json_pack("{s:o, s:b}", "filter", filter, "dry_run", is_dry);
    if (pairs_put_text(body, "batch", line->options[REPLAY_BATCH], io) != COMMAND_OK ||
        pairs_put_text(body, "note", line->options[REPLAY_NOTE], io) != COMMAND_OK ||
        put_target(body, line, io) != COMMAND_OK || put_bounds(body, line, io) != COMMAND_OK) {
        json_decref(body);
        return COMMAND_MISUSED;
    }
    return desk_change_run(line, io, "replay", body, is_dry || line->options[REPLAY_WAIT] != NULL);
}

/* Jobs ----------------------------------------------------------------------------------------- */

static const struct column job_columns[] = {
    {"ID", "id", CELL_NUMBER, false},       {"ACTION", "action", CELL_TEXT, false},
    {"QUEUE", "queue", CELL_TEXT, false},   {"VHOST", "vhost", CELL_TEXT, true},
    {"STATE", "state", CELL_TEXT, false},   {"DONE", "done", CELL_NUMBER, false},
    {"OF", "total", CELL_NUMBER, false},    {"BATCH", "batch", CELL_TEXT, false},
    {"USER", "user", CELL_TEXT, false},     {"BEGUN", "begun_ms", CELL_WHEN, false},
    {"ENDED", "ended_ms", CELL_WHEN, true}, {"NOTE", "note", CELL_TEXT, true},
};

static const struct column audit_columns[] = {
    {"NUMBER", "number", CELL_NUMBER, false},
    {"TIME", "time_ms", CELL_WHEN, false},
    {"USER", "user", CELL_TEXT, false},
    {"ACTION", "action", CELL_TEXT, false},
    {"PHASE", "phase", CELL_TEXT, false},
    {"QUEUE", "queue", CELL_TEXT, false},
    {"VHOST", "vhost", CELL_TEXT, true},
    {"DONE", "done_count", CELL_NUMBER, false},
    {"STAYED", "stayed_count", CELL_NUMBER, false},
    {"OUTCOME", "outcome", CELL_TEXT, true},
    {"BATCH", "batch", CELL_TEXT, true},
    {"FILTER", "filter", CELL_TEXT, true},
    {"TARGET", "target", CELL_TEXT, true},
    {"NOTE", "note", CELL_TEXT, false},
};

/* The list that is a member of the answer. */
static int
print_member(struct client *client, const struct output *output, const char *path,
             const char *member, const struct column *columns, size_t column_count)
{
    json_t *answer = NULL;
    int result = client_call(client, "GET", path, NULL, &answer);
    if (result == COMMAND_OK) {
        result = output_rows(output, columns, column_count, json_object_get(answer, member));
    }
    json_decref(answer);
    return result;
}

static int
print_jobs(struct client *client, const struct command_line *line, const struct output *output)
{
    (void)line;
    return print_member(client, output, "/api/bourse/replays", "replays", job_columns,
                        ARRAY_LEN(job_columns));
}

static int
print_audit(struct client *client, const struct command_line *line, const struct output *output)
{
    (void)line;
    return print_member(client, output, "/api/bourse/audit", "entries", audit_columns,
                        ARRAY_LEN(audit_columns));
}

int
dlq_jobs_run(const struct command_line *line, const struct command_io *io)
{
    return list_watch(line, io, print_jobs);
}

int
dlq_audit_run(const struct command_line *line, const struct command_io *io)
{
    return list_watch(line, io, print_audit);
}

int
dlq_cancel_run(const struct command_line *line, const struct command_io *io)
{
    struct output output = output_of(line, io);
    struct client *client;
    json_t *job = NULL;
    int result = client_open(&client, line, io);
    if (result == COMMAND_OK) {
        char *path = client_path_new("/api/bourse/replays/{}", line->operands[0]);
        result = client_call(client, "DELETE", path, NULL, &job);
        free(path);
    }
    if (result == COMMAND_OK) {
        result = output_result(
            &output, json_pack("{s:s, s:s}", "id", line->operands[0], "done", "job cancelled"),
            "job cancelled; what it has done stays done");
    }
    json_decref(job);
    client_close(&client);
    return result;
}
