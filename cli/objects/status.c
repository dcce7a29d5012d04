/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/objects/status.h"

#include <stdlib.h>
#include <time.h>

#include "base/assert.h"
#include "cli/client/client.h"
#include "cli/client/list.h"
#include "cli/output/output.h"

/* Of the object {overview, node}. */
static const struct column status_columns[] = {
    {"product", "overview.product_name", CELL_TEXT, false},
    {"version", "overview.product_version", CELL_TEXT, false},
    {"like RabbitMQ", "overview.rabbitmq_version", CELL_TEXT, true},
    {"node", "overview.node", CELL_TEXT, false},
    {"up for", "node.uptime", CELL_AGE, false},
    {"process", "node.os_pid", CELL_TEXT, false},
    {"memory used", "node.mem_used", CELL_SIZE, false},
    {"memory mark", "node.mem_limit", CELL_SIZE, false},
    {"memory alarm", "node.mem_alarm", CELL_TEXT, false},
    {"disk free", "node.disk_free", CELL_SIZE, false},
    {"disk mark", "node.disk_free_limit", CELL_SIZE, false},
    {"disk alarm", "node.disk_free_alarm", CELL_TEXT, false},
    {"descriptors", "node.fd_used", CELL_NUMBER, false},
    {"of at most", "node.fd_total", CELL_NUMBER, true},
    {"connections", "overview.object_totals.connections", CELL_NUMBER, false},
    {"channels", "overview.object_totals.channels", CELL_NUMBER, false},
    {"exchanges", "overview.object_totals.exchanges", CELL_NUMBER, false},
    {"queues", "overview.object_totals.queues", CELL_NUMBER, false},
    {"consumers", "overview.object_totals.consumers", CELL_NUMBER, false},
    {"ready", "overview.queue_totals.messages_ready", CELL_NUMBER, false},
    {"unacknowledged", "overview.queue_totals.messages_unacknowledged", CELL_NUMBER, false},
    {"published", "overview.message_stats.publish_details.rate", CELL_RATE, false},
    {"confirmed", "overview.message_stats.confirm_details.rate", CELL_RATE, false},
    {"delivered", "overview.message_stats.deliver_get_details.rate", CELL_RATE, false},
    {"acknowledged", "overview.message_stats.ack_details.rate", CELL_RATE, false},
    {"unroutable", "overview.message_stats.drop_unroutable", CELL_NUMBER, true},
};

/* Fetches them; the node's part, and what needs attention, may be kept from this user, and are then
 * left out. */
static int
fetch_status(struct client *client, json_t **status_out)
{
    json_t *overview = NULL;
    json_t *nodes = NULL;
    json_t *attention = NULL;
    int result = client_call(client, "GET", "/api/overview", NULL, &overview);
    if (result != COMMAND_OK) {
        return result;
    }
    (void)client_probe(client, "/api/nodes", &nodes);
    (void)client_probe(client, "/api/bourse/attention", &attention);
    json_t *node = json_array_get(nodes, 0);
    *status_out = json_pack("{s:o, s:O*, s:O*}", "overview", overview, "node", node, "attention",
                            json_object_get(attention, "items"));
    json_decref(nodes);
    json_decref(attention);
    return COMMAND_OK;
}

static void
put_part(FILE *out, const char *before, const json_t *item, const char *member)
{
    struct buffer text;
    buffer_init(&text);
    cell_put(&text, json_object_get(item, member), CELL_TEXT);
    fprintf(out, "%s%.*s", before, BYTES_FORMAT(buffer_bytes(&text)));
    buffer_fini(&text);
}

/* What is wrong, worst first, each with what to do about it. */
static void
print_attention(const struct output *output, const json_t *items)
{
    size_t index;
    const json_t *item;
    FILE *out = output->io->out;
    if (json_is_array(items) && json_array_size(items) == 0) {
        fputs("\nnothing needs attention\n", out);
    }
    json_array_foreach(items, index, item)
    {
        fputs(index == 0 ? "\nneeds attention\n" : "", out);
        put_part(out, "  ", item, "severity");
        put_part(out, ": ", item, "object");
        put_part(out, " ", item, "name");
        put_part(out, ": ", item, "what");
        put_part(out, "; ", item, "action");
        fputc('\n', out);
    }
}

static int
print_status(struct client *client, const struct command_line *line, const struct output *output)
{
    json_t *status;
    (void)line;
    int result = fetch_status(client, &status);
    if (result == COMMAND_OK) {
        result = output_object(output, status_columns, ARRAY_LEN(status_columns), status);
        if (output->format == OUTPUT_TABLE || output->format == OUTPUT_WIDE) {
            print_attention(output, json_object_get(status, "attention"));
        }
        json_decref(status);
    }
    return result;
}

int
status_run(const struct command_line *line, const struct command_io *io)
{
    return list_watch(line, io, print_status);
}

/* Top ---------------------------------------------------------------------------------------- */

static void
print_totals(const struct output *output, const json_t *overview)
{
    static const struct column totals[] = {
        {"ready", "queue_totals.messages_ready", CELL_NUMBER, false},
        {"unacked", "queue_totals.messages_unacknowledged", CELL_NUMBER, false},
        {"in", "message_stats.publish_details.rate", CELL_RATE, false},
        {"out", "message_stats.deliver_get_details.rate", CELL_RATE, false},
        {"acked", "message_stats.ack_details.rate", CELL_RATE, false},
        {"connections", "object_totals.connections", CELL_NUMBER, false},
        {"consumers", "object_totals.consumers", CELL_NUMBER, false},
    };
    struct buffer text;
    buffer_init(&text);
    for (size_t i = 0; i < ARRAY_LEN(totals); i++) {
        buffer_printf(&text, "%s%s ", i == 0 ? "" : "   ", totals[i].title);
        cell_put(&text, cell_value(overview, totals[i].path), totals[i].kind);
    }
    fprintf(output->io->out, "%.*s\n\n", BYTES_FORMAT(buffer_bytes(&text)));
    buffer_fini(&text);
}

/* The longest queues, which fit a screen. */
static int
print_top(struct client *client, const struct command_line *line, const struct output *output)
{
    const struct list_kind *kind = list_kind_find("queues");
    json_t *overview = NULL;
    json_t *page = NULL;
    (void)line;
    int result = client_call(client, "GET", "/api/overview", NULL, &overview);
    if (result == COMMAND_OK) {
        result = client_call(client, "GET",
                             "/api/queues?page=1&page_size=20&sort=messages&sort_reverse=true",
                             NULL, &page);
    }
    if (result == COMMAND_OK && output->format <= OUTPUT_WIDE) {
        print_totals(output, overview);
    }
    if (result == COMMAND_OK) {
        result =
            output_rows(output, kind->columns, kind->column_count, json_object_get(page, "items"));
    }
    json_decref(page);
    json_decref(overview);
    return result;
}

int
top_run(const struct command_line *line, const struct command_io *io)
{
    struct command_line watched = *line;
    struct output output = output_of(line, io);
    if (output.is_terminal) {
        watched.shared[SHARED_WATCH] = "watch";
    }
    return list_watch(&watched, io, print_top);
}

/* Ping --------------------------------------------------------------------------------------- */

static double
now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec * 1e3 + (double)now.tv_nsec / 1e6;
}

int
ping_run(const struct command_line *line, const struct command_io *io)
{
    struct output output = output_of(line, io);
    struct client *client;
    int result = client_open_place(&client, line, io);
    if (result == COMMAND_OK) {
        double begin_ms = now_ms();
        result = client_ping(client);
        if (result == COMMAND_OK) {
            double took_ms = now_ms() - begin_ms;
            result = output_result(
                &output,
                json_pack("{s:s, s:f}", "broker", client_place(client), "took_ms", took_ms),
                "ok: %s answered in %.1f ms", client_place(client), took_ms);
        }
    }
    client_close(&client);
    return result;
}
