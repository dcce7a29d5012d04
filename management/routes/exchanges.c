/* SPDX-License-Identifier: Apache-2.0 */
/* Looking at exchanges and at bindings. The default exchange is called amq.default in paths. */
#include <string.h>

#include "base/assert.h"
#include "management/ask/survey_ask.h"
#include "management/http/server.h"
#include "management/routes/handlers.h"
#include "management/views/queue_json.h"
#include "management/views/row_answer.h"

/* Exchanges ---------------------------------------------------------------------------------- */

static void
write_exchange_stats(struct json_writer *json, const struct survey_exchange *exchange)
{
    if (exchange->published == 0) {
        return;
    }
    json_key(json, "message_stats");
    json_begin_object(json);
    put_counter(json, "publish_in", exchange->published, exchange->published_rate);
    put_counter(json, "publish_out", exchange->routed, exchange->routed_rate);
    json_end_object(json);
}

static void
write_exchange_members(struct json_writer *json, const struct survey_exchange *exchange)
{
    json_put_text(json, "name", exchange->name);
    json_put_text(json, "vhost", exchange->vhost);
    json_put_string(json, "type", exchange->type);
    json_put_bool(json, "durable", exchange->durable);
    json_put_bool(json, "auto_delete", exchange->auto_delete);
    json_put_bool(json, "internal", exchange->internal);
    json_key(json, "arguments");
    json_table(json, exchange->arguments);
    if (exchange->policy.data != NULL) {
        json_put_text(json, "policy", exchange->policy);
    }
    write_exchange_stats(json, exchange);
    json_key(json, "bourse");
    json_begin_object(json);
    json_put_bool(json, "from_file", exchange->from_file);
    json_put_unsigned(json, "bindings", exchange->bindings);
    json_put_unsigned(json, "unroutable", exchange->unroutable);
    json_end_object(json);
}

static void
write_exchange(struct json_writer *json, const void *row, const void *context)
{
    (void)context;
    json_begin_object(json);
    write_exchange_members(json, row);
    json_end_object(json);
}

static struct bytes
name_of_exchange(const void *row)
{
    return ((const struct survey_exchange *)row)->name;
}

static int
compare_exchange_name(const void *a, const void *b)
{
    return bytes_compare(name_of_exchange(a), name_of_exchange(b));
}

static int
compare_exchange_vhost(const void *a, const void *b)
{
    return bytes_compare(((const struct survey_exchange *)a)->vhost,
                         ((const struct survey_exchange *)b)->vhost);
}

static int
compare_exchange_type(const void *a, const void *b)
{
    return strcmp(((const struct survey_exchange *)a)->type,
                  ((const struct survey_exchange *)b)->type);
}

static int
compare_exchange_published(const void *a, const void *b)
{
    uint64_t first = ((const struct survey_exchange *)a)->published;
    uint64_t second = ((const struct survey_exchange *)b)->published;
    return first < second ? -1 : first > second;
}

static const struct list_column exchange_columns[] = {
    {"name", compare_exchange_name},
    {"vhost", compare_exchange_vhost},
    {"type", compare_exchange_type},
    {"message_stats.publish_in", compare_exchange_published},
};

static const struct list_kind exchange_list_kind = {
    .name = name_of_exchange,
    .write = write_exchange,
    .columns = exchange_columns,
    .column_count = ARRAY_LEN(exchange_columns),
};

static void
write_exchanges(struct call *call, struct survey_ask *ask)
{
    exchange_survey_sort(&ask->exchanges);
    rows_answer(call, &exchange_list_kind, &ask->exchanges.rows);
}

void
handle_exchanges(struct call *call)
{
    struct survey_ask *ask = survey_ask_for_exchanges(call, write_exchanges);
    if (call->name_count > 0) {
        ask->exchanges.vhost = call_name(call, 0);
    }
    call_ask(call, &ask->ask);
}

static void
write_one_exchange(struct call *call, struct survey_ask *ask)
{
    struct json_writer json;
    if (ask->exchanges.rows.count == 0) {
        call_fail(call, 404, "Not Found");
        return;
    }
    json_init(&json);
    json_begin_object(&json);
    write_exchange_members(&json, ask->exchanges.rows.rows[0]);
    put_empty_array(&json, "incoming");
    put_empty_array(&json, "outgoing");
    json_end_object(&json);
    object_answer(call, &json);
}

void
handle_exchange(struct call *call)
{
    struct survey_ask *ask = survey_ask_for_exchanges(call, write_one_exchange);
    ask->exchanges.vhost = call_name(call, 0);
    ask->exchanges.exchange = call_exchange_name(call, 1);
    call_ask(call, &ask->ask);
}

/* Bindings ----------------------------------------------------------------------------------- */

static void
write_binding(struct json_writer *json, const void *row, const void *context)
{
    (void)context;
    route_write(json, row);
}

/* Bindings have no name: `name` looks for a part of their source. */
static struct bytes
source_of(const void *row)
{
    return ((const struct survey_route *)row)->source;
}

#define COMPARE(member)                                                                            \
    static int compare_##member(const void *a, const void *b)                                      \
    {                                                                                              \
        return bytes_compare(((const struct survey_route *)a)->member,                             \
                             ((const struct survey_route *)b)->member);                            \
    }
COMPARE(vhost)
COMPARE(source)
COMPARE(destination)
COMPARE(routing_key)
#undef COMPARE

static const struct list_column binding_columns[] = {
    {"vhost", compare_vhost},
    {"source", compare_source},
    {"destination", compare_destination},
    {"routing_key", compare_routing_key},
};

static const struct list_kind binding_list_kind = {
    .name = source_of,
    .write = write_binding,
    .columns = binding_columns,
    .column_count = ARRAY_LEN(binding_columns),
};

static void
write_bindings(struct call *call, struct survey_ask *ask)
{
    binding_survey_sort(&ask->bindings);
    rows_answer(call, &binding_list_kind, &ask->bindings.rows);
}

void
handle_bindings(struct call *call)
{
    struct survey_ask *ask = survey_ask_for_bindings(call, write_bindings);
    if (call->name_count > 0) {
        ask->bindings.ends.vhost = call_name(call, 0);
    }
    call_ask(call, &ask->ask);
}

/* Of an exchange or queue that is there. */
static void
write_bindings_of_ends(struct call *call, struct survey_ask *ask)
{
    if (!ask->bindings.ends_exist) {
        call_fail(call, 404, "Not Found");
        return;
    }
    write_bindings(call, ask);
}

void
handle_bindings_from(struct call *call)
{
    struct survey_ask *ask = survey_ask_for_bindings(call, write_bindings_of_ends);
    ask->bindings.ends.vhost = call_name(call, 0);
    ask->bindings.ends.source = call_exchange_name(call, 1);
    call_ask(call, &ask->ask);
}

void
handle_bindings_to_exchange(struct call *call)
{
    struct survey_ask *ask = survey_ask_for_bindings(call, write_bindings_of_ends);
    ask->bindings.ends.vhost = call_name(call, 0);
    ask->bindings.ends.destination = call_exchange_name(call, 1);
    ask->bindings.ends.only_to_exchanges = true;
    call_ask(call, &ask->ask);
}

void
handle_queue_bindings(struct call *call)
{
    struct survey_ask *ask = survey_ask_for_bindings(call, write_bindings_of_ends);
    ask->bindings.ends.vhost = call_name(call, 0);
    ask->bindings.ends.destination = call_name(call, 1);
    ask->bindings.ends.only_to_queues = true;
    call_ask(call, &ask->ask);
}

static void
set_ends(struct survey_ends *ends, const struct call *call)
{
    bool to_exchange = strstr(call->route->path, "/e/{destination}") != NULL;
    ends->vhost = call_name(call, 0);
    ends->source = call_exchange_name(call, 1);
    ends->destination = call_name(call, 2);
    ends->only_to_exchanges = to_exchange;
    ends->only_to_queues = !to_exchange;
}

void
handle_bindings_between(struct call *call)
{
    struct survey_ask *ask = survey_ask_for_bindings(call, write_bindings);
    set_ends(&ask->bindings.ends, call);
    call_ask(call, &ask->ask);
}

static void
write_one_binding(struct call *call, struct survey_ask *ask)
{
    struct survey_rows *rows = &ask->bindings.rows;
    struct buffer key;
    for (uint32_t i = 0; i < rows->count; i++) {
        const struct survey_route *route = rows->rows[i];
        buffer_init(&key);
        binding_put_properties_key(&key, route->routing_key, route->arguments);
        bool is_it = bytes_equal(buffer_bytes(&key), call_name(call, 3));
        buffer_fini(&key);
        if (is_it) {
            rows->rows[0] = rows->rows[i];
            row_answer(call, &binding_list_kind, rows);
            return;
        }
    }
    call_fail(call, 404, "Not Found");
}

void
handle_binding(struct call *call)
{
    struct survey_ask *ask = survey_ask_for_bindings(call, write_one_binding);
    set_ends(&ask->bindings.ends, call);
    call_ask(call, &ask->ask);
}
