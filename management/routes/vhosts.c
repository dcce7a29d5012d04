/* SPDX-License-Identifier: Apache-2.0 */
#include "management/ask/survey_ask.h"
#include "management/http/server.h"
#include "management/routes/handlers.h"
#include "management/views/list_page.h"
#include "management/views/row_answer.h"

#include <stdlib.h>

#include "base/alloc.h"

static enum request_progress
go_on(struct survey_ask *ask, struct core *core, uint32_t *budget)
{
    return vhost_survey_step(&ask->vhosts, core, budget);
}

static void
fini(struct survey_ask *ask)
{
    vhost_survey_fini(&ask->vhosts);
}

static struct survey_ask *
ask_for_vhosts(const struct call *call, void (*write)(struct call *call, struct survey_ask *ask))
{
    struct survey_ask *ask = survey_ask_new(write);
    ask->vhosts.viewer = call_viewer(call);
    ask->go_on = go_on;
    ask->fini = fini;
    return ask;
}

static struct bytes
name_of(const void *row)
{
    return ((const struct survey_vhost *)row)->name;
}

static int
compare_name(const void *a, const void *b)
{
    return bytes_compare(name_of(a), name_of(b));
}

static void
write_description(struct json_writer *json, const struct survey_vhost *vhost)
{
    json_put_text(json, "description", vhost->description);
    json_put_words(json, "tags", vhost->tags);
    json_put_text(json, "default_queue_type",
                  vhost->default_queue_type.size > 0 ? vhost->default_queue_type
                                                     : bytes_of("classic"));
    json_put_bool(json, "protected_from_deletion", vhost->is_protected);
}

/* The same once more: tools read it in one place or the other. */
static void
write_metadata(struct json_writer *json, const struct survey_vhost *vhost)
{
    json_key(json, "metadata");
    json_begin_object(json);
    write_description(json, vhost);
    json_end_object(json);
}

static void
write_counts(struct json_writer *json, const struct survey_vhost *vhost)
{
    const struct queue_rates *rates = &vhost->rates;
    json_put_unsigned(json, "messages", vhost->ready + vhost->unacked);
    put_rate(json, "messages_details", rates->arrived - rates->served);
    json_put_unsigned(json, "messages_ready", vhost->ready);
    put_rate(json, "messages_ready_details", rates->arrived - rates->delivered);
    json_put_unsigned(json, "messages_unacknowledged", vhost->unacked);
    put_rate(json, "messages_unacknowledged_details", rates->delivered - rates->served);
}

static void
write_message_stats(struct json_writer *json, const struct survey_vhost *vhost)
{
    const struct queue_rates *rates = &vhost->rates;
    json_key(json, "message_stats");
    json_begin_object(json);
    put_counter(json, "publish", vhost->published, rates->arrived);
    put_deliveries(json, vhost->delivered_by, rates->delivered_by);
    put_counter(json, "get_empty", vhost->get_empty, rates->got_nothing);
    put_counter(json, "redeliver", vhost->redelivered, rates->redelivered);
    put_counter(json, "ack", vhost->acked, rates->acked);
    json_end_object(json);
}

static void
write_vhost(struct json_writer *json, const void *row, const void *context)
{
    const struct survey_vhost *vhost = row;
    json_begin_object(json);
    json_put_text(json, "name", vhost->name);
    write_description(json, vhost);
    json_put_bool(json, "tracing", vhost->is_traced);
    write_metadata(json, vhost);
    write_counts(json, vhost);
    write_message_stats(json, vhost);
    json_key(json, "cluster_state");
    json_begin_object(json);
    json_put_string(json, context, "running");
    json_end_object(json);
    json_end_object(json);
}

static int
compare_rows(const void *a, const void *b)
{
    return compare_name(*(const void *const *)a, *(const void *const *)b);
}

static const struct list_column vhost_columns[] = {{"name", compare_name}};

static void
write_list(struct call *call, struct survey_ask *ask)
{
    struct list_kind kind = {
        .name = name_of,
        .write = write_vhost,
        .context = call->management->node,
        .columns = vhost_columns,
        .column_count = ARRAY_LEN(vhost_columns),
    };
    const void **rows = xalloc((ask->vhosts.count + 1) * sizeof(*rows));
    for (uint32_t i = 0; i < ask->vhosts.count; i++) {
        rows[i] = &ask->vhosts.rows[i];
    }
    qsort((void *)rows, ask->vhosts.count, sizeof(*rows), compare_rows);
    list_answer(call, &kind, rows, ask->vhosts.count);
    free((void *)rows);
}

void
handle_vhosts(struct call *call)
{
    call_ask(call, &ask_for_vhosts(call, write_list)->ask);
}

static void
write_one(struct call *call, struct survey_ask *ask)
{
    struct json_writer json;
    if (ask->vhosts.count == 0) {
        call_fail(call, 404, "Not Found");
        return;
    }
    json_init(&json);
    write_vhost(&json, &ask->vhosts.rows[0], call->management->node);
    call_answer_json(call, 200, &json);
    json_fini(&json);
}

void
handle_vhost(struct call *call)
{
    struct survey_ask *ask = ask_for_vhosts(call, write_one);
    ask->vhosts.vhost = call_name(call, 0);
    call_ask(call, &ask->ask);
}
