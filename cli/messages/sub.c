/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/messages/sub.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/assert.h"
#include "cli/client/client.h"
#include "cli/command/interrupt.h"
#include "cli/command/whole_number.h"
#include "cli/output/output.h"

enum { SUB_EXCHANGE, SUB_KEY, SUB_COUNT, SUB_TRUNCATE, TRUNCATE = 4096, TRUNCATE_MAX = 262144 };

const struct command_option sub_options[SUB_OPTION_COUNT] = {
    [SUB_EXCHANGE] = {"exchange", "EXCHANGE", "what passes this exchange; \"\" is the default one"},
    [SUB_KEY] = {"key", "PATTERN", "with --exchange: keys that match it, as a topic binding (#)"},
    [SUB_COUNT] = {"count", "NUMBER", "end after so many"},
    [SUB_TRUNCATE] = {"truncate", "OCTETS", "so many of each body, 1 to 262144 (4096)"},
};

struct sub {
    const struct command_io *io;
    struct output output;
    uint64_t seen, missed;
    uint64_t count_max; /* 0: until it is interrupted */
};

/* Printing ----------------------------------------------------------------------------------- */

static const struct column columns[] = {
    {"TIME", "time_ms", CELL_TEXT, false},         {"EXCHANGE", "exchange", CELL_TEXT, false},
    {"KEY", "routing_key", CELL_TEXT, false},      {"SIZE", "payload_bytes", CELL_SIZE, false},
    {"PROPERTIES", "properties", CELL_JSON, true}, {"PAYLOAD", "payload", CELL_TEXT, false},
};

static const int widths[] = {12, 12, 16, 9, 0, 0};

/* The time of day: "13:05:09.123". */
static void
put_time(struct buffer *out, const json_t *message)
{
    enum { MS_PER_S = 1000 };
    json_int_t ms = json_integer_value(json_object_get(message, "time_ms"));
    time_t seconds = (time_t)(ms / MS_PER_S);
    struct tm parts;
    char text[16] = "";
    if (localtime_r(&seconds, &parts) != NULL) {
        strftime(text, sizeof(text), "%H:%M:%S", &parts);
    }
    buffer_printf(out, "%s.%03d", text, (int)(ms % MS_PER_S));
}

static void
print_row(const struct sub *sub, const json_t *message)
{
    struct buffer cell;
    buffer_init(&cell);
    for (size_t i = 0; i < ARRAY_LEN(columns); i++) {
        if (columns[i].is_wide && sub->output.format != OUTPUT_WIDE) {
            continue;
        }
        buffer_clear(&cell);
        if (i == 0) {
            put_time(&cell, message);
        } else {
            cell_put(&cell, cell_value(message, columns[i].path), columns[i].kind);
        }
        fprintf(sub->io->out, "%s%-*.*s", i == 0 ? "" : "  ", widths[i],
                BYTES_FORMAT(buffer_bytes(&cell)));
    }
    fputc('\n', sub->io->out);
    buffer_fini(&cell);
}

/* The first has the headings with it. */
static void
print_record(const struct sub *sub, json_t *message)
{
    struct output output = sub->output;
    json_t *rows = json_pack("[O]", message);
    output.is_quiet = output.is_quiet || sub->seen > 0;
    int result = output_rows(&output, columns, ARRAY_LEN(columns), rows);
    (void)result; /* that it cannot be written shows at the stream */
    json_decref(rows);
}

static void
print_message(const struct sub *sub, json_t *message, struct bytes line)
{
    switch (sub->output.format) {
    case OUTPUT_JSON:
        fwrite(line.data, 1, line.size, sub->io->out);
        break;
    case OUTPUT_NAME: {
        struct buffer key;
        buffer_init(&key);
        cell_put(&key, json_object_get(message, "routing_key"), CELL_TEXT);
        fprintf(sub->io->out, "%.*s\n", BYTES_FORMAT(buffer_bytes(&key)));
        buffer_fini(&key);
        break;
    }
    case OUTPUT_CSV:
        print_record(sub, message);
        break;
    case OUTPUT_TABLE:
    case OUTPUT_WIDE:
        print_row(sub, message);
        break;
    }
}

/* Following ---------------------------------------------------------------------------------- */

static void
say_missed(struct sub *sub, const json_t *event)
{
    json_int_t count = json_integer_value(json_object_get(event, "count"));
    sub->missed += (uint64_t)count;
    fprintf(sub->io->err, "bourse: %lld more passed faster than they are read here\n", count);
}

static void
take_line(struct sub *sub, struct bytes line)
{
    json_t *event = json_loadb((const char *)line.data, line.size, JSON_ALLOW_NUL, NULL);
    const char *kind = json_string_value(json_object_get(event, "event"));
    if (kind != NULL && strcmp(kind, "message") == 0) {
        print_message(sub, event, line);
        sub->seen++;
    } else if (kind != NULL && strcmp(kind, "missed") == 0) {
        say_missed(sub, event);
    } else if (kind != NULL && strcmp(kind, "begun") == 0 && !sub->output.is_quiet) {
        fprintf(sub->io->err, "bourse: looking on; Ctrl-C ends it\n");
    }
    json_decref(event);
}

static bool
has_enough(const struct sub *sub)
{
    return (sub->count_max != 0 && sub->seen == sub->count_max) || ferror(sub->io->out) != 0 ||
           interrupt_came();
}

static bool
take_lines(void *context, struct bytes lines)
{
    struct sub *sub = context;
    while (lines.size > 0 && !has_enough(sub)) {
        const uint8_t *end = memchr(lines.data, '\n', lines.size);
        size_t size = end == NULL ? lines.size : (size_t)(end - lines.data) + 1;
        take_line(sub, bytes_make(lines.data, size));
        lines = bytes_make(lines.data + size, lines.size - size);
    }
    fflush(sub->io->out);
    return !has_enough(sub);
}

static int
judge_end(const struct sub *sub)
{
    if (ferror(sub->io->out) != 0) {
        return command_error(sub->io, COMMAND_FAILED,
                             "what comes cannot be written; is the disk full, or has the reader "
                             "gone?");
    }
    if (sub->missed > 0) {
        fprintf(sub->io->err,
                "bourse: %llu messages seen, %llu missed; -o json into a file is "
                "faster, and --key or --truncate make it less\n",
                (unsigned long long)sub->seen, (unsigned long long)sub->missed);
    }
    return COMMAND_OK;
}

/* The command -------------------------------------------------------------------------------- */

static char *
path_new(const struct client *client, const struct command_line *line, const char *truncate)
{
    const char *exchange = line->options[SUB_EXCHANGE];
    const char *key = line->options[SUB_KEY];
    if (exchange == NULL) {
        return client_path_new("/api/bourse/queues/{}/{}/traffic?truncate={}", client_vhost(client),
                               line->operands[0], truncate);
    }
    /* The default exchange has no name, which a path cannot say. */
    return client_path_new("/api/bourse/exchanges/{}/{}/traffic?key={}&truncate={}",
                           client_vhost(client), exchange[0] == '\0' ? "amq.default" : exchange,
                           key != NULL ? key : "#", truncate);
}

static int
check_words(const struct command_line *line, const struct command_io *io)
{
    bool has_exchange = line->options[SUB_EXCHANGE] != NULL;
    if (has_exchange == (line->operand_count > 0)) {
        return command_misused(io, "say what to look at: a QUEUE, or --exchange EXCHANGE");
    }
    if (line->options[SUB_KEY] != NULL && !has_exchange) {
        return command_misused(io, "--key goes with --exchange: a queue has no keys of its own");
    }
    return COMMAND_OK;
}

int
sub_run(const struct command_line *line, const struct command_io *io)
{
    struct sub sub = {.io = io, .output = output_of(line, io)};
    struct client *client = NULL;
    uint64_t truncate = TRUNCATE;
    char text[24];
    int result = check_words(line, io);
    if (result == COMMAND_OK) {
        result = whole_number_read(&sub.count_max, line, SUB_COUNT, INT64_MAX, io);
    }
    if (result == COMMAND_OK) {
        result = whole_number_read(&truncate, line, SUB_TRUNCATE, TRUNCATE_MAX, io);
    }
    if (result == COMMAND_OK) {
        result = client_open(&client, line, io);
    }
    if (result == COMMAND_OK) {
        interrupt_watch();
        snprintf(text, sizeof(text), "%llu", (unsigned long long)truncate);
        char *path = path_new(client, line, text);
        result = client_follow(client, path, take_lines, &sub);
        free(path);
    }
    client_close(&client);
    return result == COMMAND_OK ? judge_end(&sub) : result;
}
