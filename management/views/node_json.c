/* SPDX-License-Identifier: Apache-2.0 */
#include "management/views/node_json.h"

#include <stdio.h>
#include <unistd.h>

#include "base/assert.h"
#include "broker/broker.h"
#include "broker/machine.h"
#include "exchanges/exchange.h"
#include "management/views/machine_state.h"
#include "management/views/row_answer.h"

/* Lists of the whole broker ------------------------------------------------------------------ */

static void
write_named(struct json_writer *json, const char *name, const char *description)
{
    json_begin_object(json);
    json_put_string(json, "name", name);
    json_put_string(json, "description", description);
    json_put_bool(json, "enabled", true);
    json_end_object(json);
}

void
put_exchange_types(struct json_writer *json)
{
    static const struct {
        const struct exchange_type *type;
        const char *description;
    } types[] = {
        {&exchange_type_direct, "to queues bound with the very routing key"},
        {&exchange_type_fanout, "to all that are bound"},
        {&exchange_type_topic, "to queues bound with a pattern of the routing key"},
        {&exchange_type_headers, "by header fields"},
        {&exchange_type_consistent_hash, "to one of several, by a hash of the routing key"},
        {&exchange_type_modulus_hash, "to one of several, by the rest of a hash"},
        {&exchange_type_random, "to one of several, at random"},
        {&exchange_type_delayed, "as another type, later"},
    };
    json_key(json, "exchange_types");
    json_begin_array(json);
    for (size_t i = 0; i < ARRAY_LEN(types); i++) {
        write_named(json, types[i].type->name, types[i].description);
    }
    json_end_array(json);
}

bool
listener_next(const struct management *management, struct listener_walk *walk,
              struct listener_row *row_out)
{
    static const char *const protocols[PORT_COUNT] = {
        [PORT_HTTP] = "http",
        [PORT_HTTPS] = "https",
        [PORT_METRICS] = "http/prometheus",
    };
    struct broker_address address;
    if (broker_next_address(management->broker, &walk->broker_position, &address)) {
        *row_out = (struct listener_row){
            .protocol = address.is_tls ? "amqp/ssl" : "amqp",
            .host = address.host,
            .port = address.port,
            .is_tls = address.is_tls,
        };
        return true;
    }
    if (walk->management_position == management->listener_count) {
        return false;
    }
    const struct server_listener *listener = &management->listeners[walk->management_position++];
    *row_out = (struct listener_row){
        .protocol = protocols[listener->port_kind],
        .host = listener->host,
        .port = listener->port,
        .is_tls = listener->is_tls,
    };
    return true;
}

void
put_listeners(struct json_writer *json, const struct management *management)
{
    struct listener_walk walk = {.broker_position = 0};
    struct listener_row row;
    json_key(json, "listeners");
    json_begin_array(json);
    while (listener_next(management, &walk, &row)) {
        json_begin_object(json);
        json_put_string(json, "node", management->node);
        json_put_string(json, "protocol", row.protocol);
        json_put_string(json, "ip_address", row.host);
        json_put_unsigned(json, "port", row.port);
        json_put_bool(json, "tls", row.is_tls);
        json_key(json, "socket_opts");
        json_begin_object(json);
        json_end_object(json);
        json_end_object(json);
    }
    json_end_array(json);
}

/* Who answers over HTTP. The port is a text, as in RabbitMQ. */
void
put_contexts(struct json_writer *json, const struct management *management)
{
    static const char *const descriptions[PORT_COUNT] = {
        [PORT_HTTP] = "Management",
        [PORT_HTTPS] = "Management",
        [PORT_METRICS] = "Metrics and health",
    };
    json_key(json, "contexts");
    json_begin_array(json);
    for (size_t i = 0; i < management->listener_count; i++) {
        const struct server_listener *listener = &management->listeners[i];
        char port[16];
        (void)snprintf(port, sizeof(port), "%u", (unsigned)listener->port);
        json_begin_object(json);
        json_put_string(json, "node", management->node);
        json_put_string(json, "description", descriptions[listener->port_kind]);
        json_put_string(json, "path", "/");
        json_put_string(json, "ip", listener->host);
        json_put_string(json, "port", port);
        json_end_object(json);
    }
    json_end_array(json);
}

/* The node ----------------------------------------------------------------------------------- */

static void
put_mechanisms(struct json_writer *json)
{
    json_key(json, "auth_mechanisms");
    json_begin_array(json);
    write_named(json, "PLAIN", "user and password");
    write_named(json, "AMQPLAIN", "the same in a table");
    write_named(json, "EXTERNAL", "a client certificate");
    json_end_array(json);
}

static uint64_t
count_listeners(const struct management *management)
{
    struct listener_walk walk = {.broker_position = 0};
    struct listener_row row;
    uint64_t count = 0;
    while (listener_next(management, &walk, &row)) {
        count++;
    }
    return count;
}

static void
put_machine(struct json_writer *json, const struct management *management,
            const struct machine_state *state, const struct core_survey *survey)
{
    enum { THREADS_MAX = 1048576 }; /* no other bound is known; RabbitMQ's default of processes */
    json_put_unsigned(json, "fd_used", state->process.open_fds);
    json_put_unsigned(json, "fd_total", state->process.max_fds);
    json_put_unsigned(json, "sockets_used", survey->connections + count_listeners(management));
    json_put_unsigned(json, "sockets_total", state->process.max_fds);
    json_put_unsigned(json, "proc_used", state->threads);
    json_put_unsigned(json, "proc_total", THREADS_MAX);
    json_put_unsigned(json, "run_queue", 0);
    json_put_unsigned(json, "processors", machine_processors());
}

/* The limit is the mark of message memory; where there is none, the machine's memory. */
static void
put_marks(struct json_writer *json, const struct machine_state *state,
          const struct core_survey *survey)
{
    uint64_t mark = survey->memory_mark_bytes;
    json_put_unsigned(json, "mem_used", state->process.resident_bytes);
    json_put_unsigned(json, "mem_limit", mark != 0 ? mark : machine_memory_bytes());
    json_put_bool(json, "mem_alarm", (survey->alarms & ALARM_MEMORY) != 0);
    json_put_unsigned(json, "disk_free", state->disk_free_bytes);
    json_put_unsigned(json, "disk_free_limit",
                      core_disk_mark(survey->disk_mark_bytes, survey->disk_mark_percent,
                                     state->disk_total_bytes));
    json_put_bool(json, "disk_free_alarm", (survey->alarms & ALARM_DISK) != 0);
}

static void
put_paths(struct json_writer *json, const struct management *management)
{
    json_put_string(json, "db_dir",
                    management->data_directory == NULL ? "" : management->data_directory);
    put_empty_array(json, "log_files");
    put_empty_array(json, "config_files");
    put_empty_array(json, "partitions");
    put_empty_array(json, "enabled_plugins");
    put_empty_array(json, "applications");
    put_empty_array(json, "cluster_links");
}

void
node_write(struct json_writer *json, const struct management *management,
           const struct core_survey *survey)
{
    struct machine_state state = machine_state_read(management->data_directory);
    char pid[16];
    (void)snprintf(pid, sizeof(pid), "%d", (int)getpid());
    json_begin_object(json);
    json_put_string(json, "name", management->node);
    json_put_string(json, "type", "disc");
    json_put_bool(json, "running", true);
    json_put_bool(json, "being_drained", false);
    json_put_string(json, "os_pid", pid);
    json_put_unsigned(json, "uptime", survey->uptime_ms);
    json_put_string(json, "rates_mode", "basic");
    json_put_unsigned(json, "net_ticktime", 0);
    json_put_string(json, "mem_calculation_strategy", "rss");
    put_marks(json, &state, survey);
    put_machine(json, management, &state, survey);
    put_exchange_types(json);
    put_mechanisms(json);
    put_contexts(json, management);
    put_paths(json, management);
    json_key(json, "bourse");
    json_begin_object(json);
    json_put_unsigned(json, "message_memory_bytes", survey->memory_bytes);
    json_put_unsigned(json, "disk_total_bytes", state.disk_total_bytes);
    json_end_object(json);
    json_end_object(json);
}

void
node_write_memory(struct json_writer *json, const struct core_survey *survey)
{
    struct process_figures process;
    process_read(&process);
    uint64_t resident = process.resident_bytes;
    uint64_t messages = survey->memory_bytes;
    uint64_t rest = resident > messages ? resident - messages : 0;
    json_begin_object(json);
    json_key(json, "memory");
    json_begin_object(json);
    json_put_unsigned(json, "queue_procs", messages);
    json_put_unsigned(json, "other_system", rest);
    json_put_string(json, "strategy", "rss");
    json_key(json, "total");
    json_begin_object(json);
    json_put_unsigned(json, "erlang", messages);
    json_put_unsigned(json, "rss", resident);
    json_put_unsigned(json, "allocated", resident);
    json_end_object(json);
    json_end_object(json);
    json_end_object(json);
}
