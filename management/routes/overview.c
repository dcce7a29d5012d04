/* SPDX-License-Identifier: Apache-2.0 */
/* The broker at a glance, and who is asking. */
#include "management/ask/survey_ask.h"
#include "management/http/server.h"
#include "management/routes/handlers.h"
#include "management/views/node_json.h"
#include "management/views/row_answer.h"

#ifndef BOURSE_VERSION
#error "the Makefile defines BOURSE_VERSION"
#endif

/* whoami ------------------------------------------------------------------------------------- */

static void
write_tags(struct json_writer *json, uint8_t abilities)
{
    static const struct {
        uint8_t needs;
        const char *tag;
    } tags[] = {
        {ABILITY_ADMIN, "administrator"},
        {ABILITY_SEE_ALL, "monitoring"},
        {ABILITY_POLICY, "policymaker"},
        {ABILITY_OPERATE, "management"},
    };
    bool is_admin = (abilities & ABILITY_ADMIN) != 0;
    json_key(json, "tags");
    json_begin_array(json);
    for (size_t i = 0; i < (is_admin ? 1 : ARRAY_LEN(tags)); i++) {
        if ((abilities & tags[i].needs) != 0) {
            json_text(json, bytes_of(tags[i].tag));
        }
    }
    json_end_array(json);
}

void
handle_whoami(struct call *call)
{
    struct json_writer json;
    json_init(&json);
    json_begin_object(&json);
    json_put_string(&json, "name", call->user.name[0] == '\0' ? "house" : call->user.name);
    write_tags(&json, call->user.abilities);
    json_end_object(&json);
    call_answer_json(call, 200, &json);
    json_fini(&json);
}

/* overview ----------------------------------------------------------------------------------- */

static void
write_identity(struct json_writer *json, const struct management *management,
               struct bytes cluster_name)
{
    json_put_string(json, "management_version", management->rabbitmq_version);
    json_put_string(json, "rabbitmq_version", management->rabbitmq_version);
    json_put_string(json, "product_name", "Bourse");
    json_put_string(json, "product_version", BOURSE_VERSION);
    json_put_string(json, "erlang_version", "");
    json_put_string(json, "erlang_full_version", "");
    cluster_name_put(json, "cluster_name", management, cluster_name);
    json_put_string(json, "node", management->node);
    json_put_string(json, "rates_mode", "basic");
    json_put_unsigned(json, "statistics_db_event_queue", 0);
    json_put_bool(json, "disable_stats", false);
    json_put_bool(json, "enable_queue_totals", false);
}

static void
write_messages(struct json_writer *json, const struct core_survey *survey)
{
    const struct core_counters *counters = &survey->counters;
    const double *rates = survey->counter_rates;
    json_key(json, "message_stats");
    json_begin_object(json);
    put_counter(json, "publish", counters->published, rates[CORE_RATE_PUBLISHED]);
    put_counter(json, "confirm", counters->confirmed, rates[CORE_RATE_CONFIRMED]);
    put_deliveries(json, counters->delivered_by, &rates[CORE_RATE_DELIVERED]);
    put_counter(json, "get_empty", counters->get_empty, rates[CORE_RATE_GOT_NOTHING]);
    put_counter(json, "redeliver", counters->redelivered, rates[CORE_RATE_REDELIVERED]);
    put_counter(json, "ack", counters->acked, rates[CORE_RATE_ACKED]);
    put_counter(json, "return_unroutable", counters->unroutable_returned,
                rates[CORE_RATE_RETURNED]);
    put_counter(json, "drop_unroutable", counters->unroutable_dropped, rates[CORE_RATE_DROPPED]);
    json_end_object(json);
}

static void
write_totals(struct json_writer *json, const struct core_survey *survey)
{
    const struct queue_rates *rates = &survey->rates;
    json_key(json, "queue_totals");
    json_begin_object(json);
    json_put_unsigned(json, "messages", survey->ready + survey->unacked);
    put_rate(json, "messages_details", rates->arrived - rates->served);
    json_put_unsigned(json, "messages_ready", survey->ready);
    put_rate(json, "messages_ready_details", rates->arrived - rates->delivered);
    json_put_unsigned(json, "messages_unacknowledged", survey->unacked);
    put_rate(json, "messages_unacknowledged_details", rates->delivered - rates->served);
    json_end_object(json);
    json_key(json, "object_totals");
    json_begin_object(json);
    json_put_unsigned(json, "channels", survey->channels);
    json_put_unsigned(json, "connections", survey->connections);
    json_put_unsigned(json, "consumers", survey->consumers);
    json_put_unsigned(json, "exchanges", survey->exchanges);
    json_put_unsigned(json, "queues", survey->queues);
    json_end_object(json);
}

static void
write_churn(struct json_writer *json, const struct core_survey *survey)
{
    const struct core_counters *counters = &survey->counters;
    json_key(json, "churn_rates");
    json_begin_object(json);
    const struct {
        const char *name;
        const char *details;
        uint64_t count;
    } rows[] = {
        {"connection_created", "connection_created_details", counters->connections_opened},
        {"connection_closed", "connection_closed_details", counters->connections_closed},
        {"channel_created", "channel_created_details", counters->channels_opened},
        {"channel_closed", "channel_closed_details", counters->channels_closed},
        {"queue_declared", "queue_declared_details", counters->queues_declared},
        {"queue_created", "queue_created_details", counters->queues_created},
        {"queue_deleted", "queue_deleted_details", counters->queues_deleted},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        json_put_unsigned(json, rows[i].name, rows[i].count);
        put_rate(json, rows[i].details, survey->counter_rates[CORE_RATE_CONNECTIONS_OPENED + i]);
    }
    json_end_object(json);
}

static void
write_own(struct json_writer *json, const struct core_survey *survey)
{
    json_key(json, "bourse");
    json_begin_object(json);
    json_put_unsigned(json, "uptime_ms", survey->uptime_ms);
    json_put_unsigned(json, "memory_bytes", survey->memory_bytes);
    json_put_unsigned(json, "memory_mark_bytes", survey->memory_mark_bytes);
    json_put_bool(json, "memory_alarm", (survey->alarms & ALARM_MEMORY) != 0);
    json_put_bool(json, "disk_alarm", (survey->alarms & ALARM_DISK) != 0);
    json_end_object(json);
}

static void
write_overview(struct call *call, struct survey_ask *ask)
{
    const struct management *management = call->management;
    struct json_writer json;
    json_init(&json);
    json_begin_object(&json);
    write_identity(&json, management, ask->core.cluster_name);
    put_exchange_types(&json);
    write_messages(&json, &ask->core);
    write_totals(&json, &ask->core);
    write_churn(&json, &ask->core);
    put_listeners(&json, management);
    put_contexts(&json, management);
    write_own(&json, &ask->core);
    json_end_object(&json);
    call_answer_json(call, 200, &json);
    json_fini(&json);
}

static enum request_progress
go_on(struct survey_ask *ask, struct core *core, uint32_t *budget)
{
    return core_survey_step(&ask->core, core, budget);
}

static void
fini(struct survey_ask *ask)
{
    core_survey_fini(&ask->core);
}

void
handle_overview(struct call *call)
{
    struct survey_ask *ask = survey_ask_new(write_overview);
    ask->core.viewer = call_viewer(call);
    ask->go_on = go_on;
    ask->fini = fini;
    call_ask(call, &ask->ask);
}
