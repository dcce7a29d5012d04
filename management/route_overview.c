/* SPDX-License-Identifier: Apache-2.0 */
/* The broker at a glance, and who is asking. */
#include <stdio.h>

#include "broker/broker.h"
#include "exchanges/exchange.h"
#include "management/handlers.h"
#include "management/server.h"
#include "management/survey_ask.h"

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
put_rate(struct json_writer *json, const char *name, double rate)
{
    char details[64];
    (void)snprintf(details, sizeof(details), "%s_details", name);
    json_key(json, details);
    json_begin_object(json);
    json_put_real(json, "rate", rate);
    json_end_object(json);
}

static void
put_counter(struct json_writer *json, const char *name, uint64_t count, double rate)
{
    if (count > 0) {
        json_put_unsigned(json, name, count);
        put_rate(json, name, rate);
    }
}

static void
write_identity(struct json_writer *json, const struct management *management)
{
    json_put_string(json, "management_version", management->rabbitmq_version);
    json_put_string(json, "rabbitmq_version", management->rabbitmq_version);
    json_put_string(json, "product_name", "Bourse");
    json_put_string(json, "product_version", BOURSE_VERSION);
    json_put_string(json, "erlang_version", "");
    json_put_string(json, "erlang_full_version", "");
    json_put_string(json, "cluster_name", management->node);
    json_put_string(json, "node", management->node);
    json_put_string(json, "rates_mode", "basic");
    json_put_bool(json, "disable_stats", false);
    json_put_bool(json, "enable_queue_totals", false);
}

static void
write_exchange_types(struct json_writer *json)
{
    static const struct exchange_type *const types[] = {
        &exchange_type_direct,  &exchange_type_fanout,          &exchange_type_topic,
        &exchange_type_headers, &exchange_type_consistent_hash, &exchange_type_modulus_hash,
        &exchange_type_random,  &exchange_type_delayed,
    };
    json_key(json, "exchange_types");
    json_begin_array(json);
    for (size_t i = 0; i < ARRAY_LEN(types); i++) {
        json_begin_object(json);
        json_put_string(json, "name", types[i]->name);
        json_put_string(json, "description", "");
        json_put_bool(json, "enabled", true);
        json_end_object(json);
    }
    json_end_array(json);
}

static void
write_messages(struct json_writer *json, const struct core_survey *survey)
{
    const struct core_counters *counters = &survey->counters;
    json_key(json, "message_stats");
    json_begin_object(json);
    put_counter(json, "publish", counters->published, survey->published_rate);
    put_counter(json, "confirm", counters->confirmed, 0);
    put_counter(json, "deliver_get", counters->delivered, survey->delivered_rate);
    put_counter(json, "redeliver", counters->redelivered, 0);
    put_counter(json, "ack", counters->acked, survey->served_rate);
    put_counter(json, "return_unroutable", counters->unroutable_returned, 0);
    put_counter(json, "drop_unroutable", counters->unroutable_dropped, 0);
    json_end_object(json);
}

static void
write_totals(struct json_writer *json, const struct core_survey *survey)
{
    json_key(json, "queue_totals");
    json_begin_object(json);
    json_put_unsigned(json, "messages", survey->ready + survey->unacked);
    put_rate(json, "messages", survey->published_rate - survey->served_rate);
    json_put_unsigned(json, "messages_ready", survey->ready);
    json_put_unsigned(json, "messages_unacknowledged", survey->unacked);
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
    json_put_unsigned(json, "connection_created", counters->connections_opened);
    json_put_unsigned(json, "connection_closed", counters->connections_closed);
    json_put_unsigned(json, "channel_created", counters->channels_opened);
    json_put_unsigned(json, "channel_closed", counters->channels_closed);
    json_end_object(json);
}

static void
write_listener(struct json_writer *json, const struct management *management, const char *protocol,
               const char *host, uint16_t port, bool is_tls)
{
    json_begin_object(json);
    json_put_string(json, "node", management->node);
    json_put_string(json, "protocol", protocol);
    json_put_string(json, "ip_address", host);
    json_put_unsigned(json, "port", port);
    json_put_bool(json, "tls", is_tls);
    json_end_object(json);
}

static void
write_listeners(struct json_writer *json, const struct management *management)
{
    static const char *const protocols[] = {
        [PORT_HTTP] = "http",
        [PORT_HTTPS] = "https",
        [PORT_METRICS] = "http/prometheus",
    };
    struct broker_address address;
    size_t position = 0;
    json_key(json, "listeners");
    json_begin_array(json);
    while (broker_next_address(management->broker, &position, &address)) {
        write_listener(json, management, address.is_tls ? "amqp/ssl" : "amqp", address.host,
                       address.port, address.is_tls);
    }
    for (size_t i = 0; i < management->listener_count; i++) {
        const struct server_listener *listener = &management->listeners[i];
        write_listener(json, management, protocols[listener->port_kind], listener->host,
                       listener->port, listener->is_tls);
    }
    json_end_array(json);
    json_key(json, "contexts");
    json_begin_array(json);
    json_end_array(json);
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
    write_identity(&json, management);
    write_exchange_types(&json);
    write_messages(&json, &ask->core);
    write_totals(&json, &ask->core);
    write_churn(&json, &ask->core);
    write_listeners(&json, management);
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
