/* SPDX-License-Identifier: Apache-2.0 */
#include "management/monitor/metrics.h"

#include <inttypes.h>
#include <jansson.h>
#include <stddef.h>
#include <stdio.h>

#include "base/assert.h"
#include "management/http/server.h"
#include "management/monitor/monitor.h"

#ifndef BOURSE_VERSION
#error "the Makefile defines BOURSE_VERSION"
#endif

/* One number under two names. Rows of one name stand behind each other and differ by labels. */
struct total {
    const char *own, *rabbitmq; /* without prefix; NULL: it has no such name */
    const char *own_labels, *rabbitmq_labels;
    const char *help;
    size_t offset; /* of the uint64_t in struct metric_totals, or in its measure */
    uint64_t per_unit;
    enum metric_kind kind;
    bool is_measured; /* in the measure */
};

#define MEASURED(field) .is_measured = true, .offset = offsetof(struct measure, field)
#define TOTAL(field) .offset = offsetof(struct metric_totals, field)
#define AMQP "protocol=\"amqp091\""
#define CLASSIC AMQP ",queue_type=\"rabbit_classic_queue\""
#define LETTERS "queue_type=\"rabbit_classic_queue\",dead_letter_strategy=\"at_least_once\""

static const struct total totals[] = {
    {"uptime_seconds", "erlang_uptime_seconds", NULL, NULL, "Since the broker began",
     MEASURED(uptime_ms), .per_unit = 1000, .kind = METRIC_GAUGE},
    {"process_resident_memory_bytes", "process_resident_memory_bytes", NULL, NULL,
     "Memory of the process", TOTAL(process.resident_bytes), .kind = METRIC_GAUGE},
    {"process_cpu_seconds_total", NULL, NULL, NULL, "Processor time of the process",
     TOTAL(process.cpu_us), .per_unit = 1000000},
    {"process_open_fds", "process_open_fds", NULL, NULL, "Open file descriptors",
     TOTAL(process.open_fds), .kind = METRIC_GAUGE},
    {"process_max_fds", "process_max_fds", NULL, NULL, "File descriptors that may be open",
     TOTAL(process.max_fds), .kind = METRIC_GAUGE},
    {"message_memory_bytes", NULL, NULL, NULL, "Memory of messages and queues",
     MEASURED(memory_bytes), .kind = METRIC_GAUGE},
    {"message_memory_limit_bytes", "resident_memory_limit_bytes", NULL, NULL,
     "Memory of messages at which publishers are blocked; 0: none", MEASURED(memory_mark_bytes),
     .kind = METRIC_GAUGE},
    {"disk_free_bytes", "disk_space_available_bytes", NULL, NULL,
     "Free octets of the file system of the data directory", MEASURED(disk_free_bytes),
     .kind = METRIC_GAUGE},
    {"disk_free_limit_bytes", "disk_space_available_limit_bytes", NULL, NULL,
     "Free octets below which publishers are blocked", MEASURED(disk_mark_bytes),
     .kind = METRIC_GAUGE},
    {"alarm", "alarms_memory_used_watermark", "alarm=\"memory\"", NULL,
     "Whether publishers are blocked, and what for", MEASURED(memory_alarm), .kind = METRIC_GAUGE},
    {"alarm", "alarms_free_disk_space_watermark", "alarm=\"disk\"", NULL,
     "Whether publishers are blocked, and what for", MEASURED(disk_alarm), .kind = METRIC_GAUGE},
    {"alarm", "alarms_file_descriptor_limit", "alarm=\"file_descriptors\"", NULL,
     "Whether hardly a descriptor is left", TOTAL(alarm_descriptors), .kind = METRIC_GAUGE},
    {"connections_blocked", NULL, NULL, NULL, "Connections that were told that they are blocked",
     MEASURED(blocked_connections), .kind = METRIC_GAUGE},
    {"held_message_bytes", NULL, NULL, NULL, "Octets of publishes that wait for an alarm to end",
     MEASURED(held_bytes), .kind = METRIC_GAUGE},

    {"vhosts", NULL, NULL, NULL, "Virtual hosts", MEASURED(vhosts), .kind = METRIC_GAUGE},
    {"connections", "connections", NULL, NULL, "Connections", MEASURED(connections),
     .kind = METRIC_GAUGE},
    {"channels", "channels", NULL, NULL, "Channels", MEASURED(channels), .kind = METRIC_GAUGE},
    {"queues", "queues", NULL, NULL, "Queues", MEASURED(queues), .kind = METRIC_GAUGE},
    {"exchanges", NULL, NULL, NULL, "Exchanges", MEASURED(exchanges), .kind = METRIC_GAUGE},
    {"publishers", "global_publishers", NULL, AMQP, "Channels that have published",
     MEASURED(counters.publishers), .kind = METRIC_GAUGE},
    {"consumers", "global_consumers", NULL, AMQP, "Consumers", MEASURED(consumers),
     .kind = METRIC_GAUGE},
    {NULL, "consumers", NULL, NULL, "Consumers", MEASURED(consumers), .kind = METRIC_GAUGE},
    {NULL, "channel_consumers", NULL, NULL, "Consumers", MEASURED(consumers), .kind = METRIC_GAUGE},
    {NULL, "queue_consumers", NULL, NULL, "Consumers", MEASURED(consumers), .kind = METRIC_GAUGE},
    {"connections_opened_total", "connections_opened_total", NULL, NULL, "Connections opened",
     MEASURED(counters.connections_opened)},
    {"connections_closed_total", "connections_closed_total", NULL, NULL, "Connections closed",
     MEASURED(counters.connections_closed)},
    {"channels_opened_total", "channels_opened_total", NULL, NULL, "Channels opened",
     MEASURED(counters.channels_opened)},
    {"channels_closed_total", "channels_closed_total", NULL, NULL, "Channels closed",
     MEASURED(counters.channels_closed)},
    {"queues_declared_total", "queues_declared_total", NULL, NULL,
     "Declarations of queues, also of those that were there", MEASURED(counters.queues_declared)},
    {"queues_created_total", "queues_created_total", NULL, NULL, "Queues created",
     MEASURED(counters.queues_created)},
    {"queues_deleted_total", "queues_deleted_total", NULL, NULL, "Queues deleted",
     MEASURED(counters.queues_deleted)},
    {"logins_total", "auth_attempts_succeeded_total", "result=\"succeeded\"", AMQP,
     "Logins, by how they ended", MEASURED(counters.logins_succeeded)},
    {"logins_total", "auth_attempts_failed_total", "result=\"failed\"", AMQP,
     "Logins, by how they ended", MEASURED(counters.logins_failed)},
    {NULL, "auth_attempts_total", NULL, AMQP, "Logins", TOTAL(logins)},

    {"messages_ready", "queue_messages_ready", NULL, NULL, "Messages that wait for a consumer",
     MEASURED(ready), .kind = METRIC_GAUGE},
    {"messages_unacknowledged", "queue_messages_unacked", NULL, NULL,
     "Messages that were handed out and are not acknowledged", MEASURED(unacked),
     .kind = METRIC_GAUGE},
    {"messages_ready_bytes", "queue_messages_ready_bytes", NULL, NULL,
     "Octets of bodies of messages that wait for a consumer", MEASURED(ready_bytes),
     .kind = METRIC_GAUGE},
    {"messages_unacknowledged_bytes", "queue_messages_unacked_bytes", NULL, NULL,
     "Octets of bodies of messages that are not acknowledged", MEASURED(unacked_bytes),
     .kind = METRIC_GAUGE},
    {NULL, "queue_messages", NULL, NULL, "Messages, ready or not acknowledged", TOTAL(messages),
     .kind = METRIC_GAUGE},
    {NULL, "queue_messages_bytes", NULL, NULL, "Octets of bodies, ready or not acknowledged",
     TOTAL(message_bytes), .kind = METRIC_GAUGE},
    {"messages_delayed", NULL, NULL, NULL, "Messages that come later",
     MEASURED(waiting[WAITING_DELAYED]), .kind = METRIC_GAUGE},
    {"retry_scheduled", NULL, NULL, NULL, "Messages that have failed and are tried again later",
     MEASURED(waiting[WAITING_RETRY]), .kind = METRIC_GAUGE},
    {"messages_quarantined", NULL, NULL, NULL, "Messages over their limit that nobody took",
     MEASURED(waiting[WAITING_PARKED]), .kind = METRIC_GAUGE},
    {"messages_dying", NULL, NULL, NULL, "Messages on their way to a dead-letter exchange",
     MEASURED(dying), .kind = METRIC_GAUGE},
    {"dlq_messages", NULL, NULL, NULL, "Messages in queues that dead letters go to",
     MEASURED(dead_letters), .kind = METRIC_GAUGE},
    {"queue_oldest_message_age_seconds", NULL, NULL, NULL,
     "Age of the oldest message that waits for a consumer, of all queues",
     MEASURED(oldest_ready_ms), .per_unit = 1000, .kind = METRIC_GAUGE},
    {"queue_oldest_unacknowledged_age_seconds", NULL, NULL, NULL,
     "Age of the oldest message that is not acknowledged, of all queues",
     MEASURED(oldest_unacked_ms), .per_unit = 1000, .kind = METRIC_GAUGE},
    {"queues_unserved", NULL, NULL, NULL, "Queues with messages and without a consumer",
     MEASURED(unserved), .kind = METRIC_GAUGE},
    {"queues_alerting", NULL, NULL, NULL, "Queues over a limit that `alert` in their file gives",
     MEASURED(alerting), .kind = METRIC_GAUGE},

    {"messages_published_total", "global_messages_received_total", NULL, AMQP,
     "Messages from publishers", MEASURED(counters.published)},
    {"messages_published_for_confirm_total", "global_messages_received_confirm_total", NULL, AMQP,
     "Messages from publishers that wait for confirms", MEASURED(counters.published_for_confirm)},
    {"messages_confirmed_total", "global_messages_confirmed_total", NULL, AMQP,
     "Messages confirmed", MEASURED(counters.confirmed)},
    {"messages_routed_total", "global_messages_routed_total", NULL, AMQP,
     "Messages that reached a queue", MEASURED(counters.routed)},
    {"messages_unroutable_total", "global_messages_unroutable_dropped_total", "result=\"dropped\"",
     AMQP, "Messages that reached no queue", MEASURED(counters.unroutable_dropped)},
    {"messages_unroutable_total", "global_messages_unroutable_returned_total",
     "result=\"returned\"", AMQP, "Messages that reached no queue",
     MEASURED(counters.unroutable_returned)},
    {"messages_refused_total", NULL, NULL, NULL, "Messages refused by queues that are full",
     MEASURED(counters.refused)},
    {NULL, "global_messages_delivered_total", NULL, CLASSIC, "Messages handed out",
     MEASURED(counters.delivered)},
    {"messages_delivered_total", "global_messages_delivered_consume_manual_ack_total",
     "method=\"consume\",ack=\"manual\"", CLASSIC, "Messages handed out",
     MEASURED(counters.delivered_by[DELIVERY_CONSUMED])},
    {"messages_delivered_total", "global_messages_delivered_consume_auto_ack_total",
     "method=\"consume\",ack=\"auto\"", CLASSIC, "Messages handed out",
     MEASURED(counters.delivered_by[DELIVERY_CONSUMED_FOR_GOOD])},
    {"messages_delivered_total", "global_messages_delivered_get_manual_ack_total",
     "method=\"get\",ack=\"manual\"", CLASSIC, "Messages handed out",
     MEASURED(counters.delivered_by[DELIVERY_GOT])},
    {"messages_delivered_total", "global_messages_delivered_get_auto_ack_total",
     "method=\"get\",ack=\"auto\"", CLASSIC, "Messages handed out",
     MEASURED(counters.delivered_by[DELIVERY_GOT_FOR_GOOD])},
    {"get_empty_total", "global_messages_get_empty_total", NULL, CLASSIC,
     "Calls of basic.get that found nothing", MEASURED(counters.get_empty)},
    {"messages_redelivered_total", "global_messages_redelivered_total", NULL, CLASSIC,
     "Messages handed out again", MEASURED(counters.redelivered)},
    {"messages_acknowledged_total", "global_messages_acknowledged_total", NULL, CLASSIC,
     "Messages acknowledged", MEASURED(counters.acked)},
    {NULL, "channel_messages_published_total", NULL, NULL, "Messages from publishers",
     MEASURED(counters.published)},
    {NULL, "channel_messages_confirmed_total", NULL, NULL, "Messages confirmed",
     MEASURED(counters.confirmed)},
    {NULL, "channel_messages_unroutable_dropped_total", NULL, NULL,
     "Messages that reached no queue and were dropped", MEASURED(counters.unroutable_dropped)},
    {NULL, "channel_messages_unroutable_returned_total", NULL, NULL,
     "Messages that reached no queue and were returned", MEASURED(counters.unroutable_returned)},
    {NULL, "channel_messages_delivered_ack_total", NULL, NULL,
     "Messages to consumers that acknowledge", MEASURED(counters.delivered_by[DELIVERY_CONSUMED])},
    {NULL, "channel_messages_delivered_total", NULL, NULL,
     "Messages to consumers that do not acknowledge",
     MEASURED(counters.delivered_by[DELIVERY_CONSUMED_FOR_GOOD])},
    {NULL, "channel_get_ack_total", NULL, NULL, "Messages by basic.get, to be acknowledged",
     MEASURED(counters.delivered_by[DELIVERY_GOT])},
    {NULL, "channel_get_total", NULL, NULL, "Messages by basic.get, without acknowledgement",
     MEASURED(counters.delivered_by[DELIVERY_GOT_FOR_GOOD])},
    {NULL, "channel_get_empty_total", NULL, NULL, "Calls of basic.get that found nothing",
     MEASURED(counters.get_empty)},
    {NULL, "channel_messages_redelivered_total", NULL, NULL, "Messages handed out again",
     MEASURED(counters.redelivered)},
    {NULL, "channel_messages_acked_total", NULL, NULL, "Messages acknowledged",
     MEASURED(counters.acked)},
    {"messages_expired_total", NULL, NULL, NULL, "Messages whose time to live was over",
     MEASURED(counters.expired)},
    {"deliveries_failed_total", NULL, NULL, NULL,
     "Deliveries that failed, in queues that count them", MEASURED(counters.failed)},
    {"deliveries_timed_out_total", NULL, NULL, NULL, "Deliveries not settled in time",
     MEASURED(counters.timed_out)},
    {"retries_total", NULL, NULL, NULL, "Failed deliveries after which the message waited",
     MEASURED(counters.retried)},
    {"quarantined_total", NULL, NULL, NULL, "Messages put in quarantine",
     MEASURED(counters.quarantined)},
    {"messages_dead_lettered_total", "global_messages_dead_lettered_rejected_total",
     "reason=\"rejected\"", LETTERS, "Dead letters that reached a queue",
     MEASURED(counters.dead_lettered[DEATH_REJECTED])},
    {"messages_dead_lettered_total", "global_messages_dead_lettered_expired_total",
     "reason=\"expired\"", LETTERS, "Dead letters that reached a queue",
     MEASURED(counters.dead_lettered[DEATH_EXPIRED])},
    {"messages_dead_lettered_total", "global_messages_dead_lettered_maxlen_total",
     "reason=\"maxlen\"", LETTERS, "Dead letters that reached a queue",
     MEASURED(counters.dead_lettered[DEATH_MAXLEN])},
    {"messages_dead_lettered_total", "global_messages_dead_lettered_delivery_limit_total",
     "reason=\"delivery_limit\"", LETTERS, "Dead letters that reached a queue",
     MEASURED(counters.dead_lettered[DEATH_DELIVERY_LIMIT])},
    {NULL, "global_messages_dead_lettered_confirmed_total", NULL, LETTERS,
     "Dead letters that are safe in a queue", TOTAL(dead_lettered)},
    {"dead_letters_dropped_total", NULL, NULL, NULL,
     "Dead letters without an exchange, or that reached no queue",
     MEASURED(counters.dead_letters_dropped)},
    {"messages_replayed_total", NULL, NULL, NULL, "Messages that operators replayed",
     MEASURED(counters.desk_replayed)},
    {"messages_discarded_total", NULL, NULL, NULL, "Messages that operators dropped",
     MEASURED(counters.desk_dropped)},
    {"messages_traced_total", NULL, NULL, NULL, "Messages of which a trace was made",
     MEASURED(counters.traced)},
    {"traces_dropped_total", NULL, NULL, NULL, "Traces that were not made for want of room",
     MEASURED(counters.traces_dropped)},
    {"internal_errors_total", NULL, NULL, NULL, "Errors of the broker's own making",
     MEASURED(counters.internal_errors)},
    {"topology_drift", NULL, NULL, NULL,
     "Differences from the configurations that were applied last", TOTAL(topology_drift),
     .kind = METRIC_GAUGE},
    {"config_last_reload_success", NULL, NULL, NULL, "Whether the last reload was taken",
     TOTAL(reload_succeeded), .kind = METRIC_GAUGE},
    {"log_lines_dropped_total", NULL, NULL, NULL, "Lines of log that nobody took",
     TOTAL(log_lines_dropped)},
};

/* What is read --------------------------------------------------------------------------------- */

void
metrics_read_totals(struct management *management, const struct measure *measure,
                    struct metric_totals *totals_out)
{
    enum { DESCRIPTORS_MIN = 64 };
    *totals_out = (struct metric_totals){
        .measure = measure,
        .reload_succeeded = !atomic_load(&management->reload_has_failed),
        .topology_drift = drift_watch_total(monitor_drift(management->monitor)),
        .logins = measure->counters.logins_succeeded + measure->counters.logins_failed,
        .messages = measure->ready + measure->unacked,
        .message_bytes = measure->ready_bytes + measure->unacked_bytes,
    };
    process_read(&totals_out->process);
    totals_out->alarm_descriptors =
        totals_out->process.open_fds + DESCRIPTORS_MIN > totals_out->process.max_fds;
    broker_add_flushes(management->broker, &totals_out->flushes);
    for (int i = 0; i < DEATH_REASON_COUNT; i++) {
        totals_out->dead_lettered += measure->counters.dead_lettered[i];
    }
    if (management->log != NULL) {
        pthread_mutex_lock(&management->log->lock);
        totals_out->log_lines_dropped = management->log->dropped;
        pthread_mutex_unlock(&management->log->lock);
    }
}

static uint64_t
value_of(const struct total *total, const struct metric_totals *from)
{
    const uint8_t *base =
        total->is_measured ? (const uint8_t *)from->measure : (const uint8_t *)from;
    uint64_t value;
    memcpy(&value, base + total->offset, sizeof(value));
    return value;
}

/* What is written ------------------------------------------------------------------------------ */

static void
put_total(struct buffer *out, const struct total *total, const char *rabbitmq_prefix,
          uint64_t value)
{
    bool is_own = rabbitmq_prefix == NULL;
    metric_put_scaled(out, is_own ? "bourse_" : rabbitmq_prefix,
                      is_own ? total->own : total->rabbitmq,
                      is_own ? total->own_labels : total->rabbitmq_labels, value,
                      total->per_unit == 0 ? 1 : total->per_unit);
}

static bool
is_of_queue(const char *name)
{
    return strncmp(name, "queue_", strlen("queue_")) == 0;
}

/* Without a prefix: our own names. */
static void
put_rows(struct buffer *out, const struct metric_totals *from, const char *rabbitmq_prefix,
         bool without_queues)
{
    const char *last = "";
    bool is_own = rabbitmq_prefix == NULL;
    for (size_t i = 0; i < ARRAY_LEN(totals); i++) {
        const char *name = is_own ? totals[i].own : totals[i].rabbitmq;
        if (name == NULL || (without_queues && is_of_queue(name))) {
            continue;
        }
        if (strcmp(name, last) != 0) {
            metric_begin(out, is_own ? "bourse_" : rabbitmq_prefix, name, totals[i].kind,
                         totals[i].help);
        }
        put_total(out, &totals[i], rabbitmq_prefix, value_of(&totals[i], from));
        last = name;
    }
}

static void
put_histogram(struct buffer *out, const char *prefix, const char *name, const char *labels,
              const char *help, const struct metric_histogram *histogram)
{
    metric_begin(out, prefix, name, METRIC_HISTOGRAM, help);
    metric_put_histogram(out, prefix, name, labels, histogram);
}

static void
put_sizes(struct buffer *out, const struct measure *measure, const struct totals_style *style)
{
    static const char *const bounds[MESSAGE_SIZE_BUCKET_COUNT] = {
        "100.0", "1000.0", "10000.0", "100000.0", "1e+06", "1e+07", "5e+07", "1e+08", "+Inf",
    };
    struct metric_histogram sizes = {.counts = measure->counters.message_sizes,
                                     .bounds = bounds,
                                     .count = MESSAGE_SIZE_BUCKET_COUNT,
                                     .sum = measure->counters.message_bytes,
                                     .per_unit = 1};
    static const char help[] = "Size of bodies of published messages";
    if ((style->sets & METRICS_OWN) != 0) {
        put_histogram(out, "bourse_", "message_size_bytes", NULL, help, &sizes);
    }
    if ((style->sets & METRICS_RABBITMQ) != 0) {
        put_histogram(out, style->rabbitmq_prefix, "message_size_bytes", AMQP, help, &sizes);
    }
}

static void
put_times(struct buffer *out, const struct metric_totals *from)
{
    static const char *const confirm_bounds[CONFIRM_BUCKET_COUNT] = {
        "0.001", "0.002", "0.005", "0.01", "0.025", "0.05", "0.1",
        "0.25",  "0.5",   "1",     "2.5",  "5",     "10",   "+Inf",
    };
    static const char *const flush_bounds[FLUSH_BUCKET_COUNT] = {
        "5e-05", "0.0001", "0.00025", "0.0005", "0.001", "0.0025", "0.005",
        "0.01",  "0.025",  "0.05",    "0.1",    "0.25",  "1",      "+Inf",
    };
    const struct core_counters *counters = &from->measure->counters;
    put_histogram(out, "bourse_", "confirm_latency_seconds", NULL,
                  "From a publish to its confirm, to the millisecond",
                  &(struct metric_histogram){.counts = counters->confirm_times,
                                             .bounds = confirm_bounds,
                                             .count = CONFIRM_BUCKET_COUNT,
                                             .sum = counters->confirm_ms,
                                             .per_unit = 1000});
    put_histogram(out, "bourse_", "fsync_seconds", NULL, "How long flushes of the log took",
                  &(struct metric_histogram){.counts = from->flushes.counts,
                                             .bounds = flush_bounds,
                                             .count = FLUSH_BUCKET_COUNT,
                                             .sum = from->flushes.sum_us,
                                             .per_unit = 1000000});
}

/* From 1 ms on each bound is twice the one before. */
static void
put_waits(struct buffer *out, const struct measure *measure)
{
    char texts[WAIT_BUCKET_COUNT][24];
    const char *bounds[WAIT_BUCKET_COUNT];
    for (int i = 0; i < WAIT_BUCKET_COUNT - 1; i++) {
        (void)snprintf(texts[i], sizeof(texts[i]), "%.10g", (double)(UINT64_C(1) << i) / 1000);
        bounds[i] = texts[i];
    }
    bounds[WAIT_BUCKET_COUNT - 1] = "+Inf";
    put_histogram(out, "bourse_", "message_wait_seconds", NULL,
                  "From a message's arrival in a queue to its acknowledgement",
                  &(struct metric_histogram){.counts = measure->waits.counts,
                                             .bounds = bounds,
                                             .count = WAIT_BUCKET_COUNT,
                                             .sum = measure->waits.sum_ms,
                                             .per_unit = 1000});
}

/* One sample for each listener that has a certificate. */
static void
put_certificates(struct buffer *out, struct management *management)
{
    struct clock_source clock = clock_system();
    int64_t now_ms = clock.read(clock.context).wall_ms;
    static const char name[] = "certificate_expiry_seconds";
    metric_begin(out, "bourse_", name, METRIC_GAUGE,
                 "Until the certificate of a listener ends; below 0: it has ended");
    for (int i = 0; i < LISTENER_KIND_COUNT; i++) {
        int64_t end_ms = atomic_load(&management->certificate_ends_ms[i]);
        if (end_ms != 0) {
            buffer_printf(out, "bourse_%s{listener=\"%s\"} %" PRId64 "\n", name,
                          config_listener_name((enum config_listener_kind)i),
                          (end_ms - now_ms) / 1000);
        }
    }
}

/* One sample for each queue over a limit that its file gives. */
static void
put_alerts(struct buffer *out, const struct measure *measure)
{
    static const char *const kinds[CONCERN_COUNT] = {
        [CONCERN_READY_ABOVE] = "ready-above",
        [CONCERN_OLDEST_ABOVE] = "oldest-above",
    };
    struct buffer labels;
    metric_begin(out, "bourse_", "queue_alert", METRIC_GAUGE,
                 "1 for each queue over a limit that `alert` in its file gives");
    buffer_init(&labels);
    for (uint32_t i = 0; i < measure->finding_count; i++) {
        const struct measure_finding *finding = &measure->findings[i];
        if (kinds[finding->concern] != NULL) {
            buffer_clear(&labels);
            metric_put_label(&labels, "vhost", finding->vhost);
            metric_put_label(&labels, "queue", finding->name);
            metric_put_label(&labels, "alert", bytes_of(kinds[finding->concern]));
            buffer_put_u8(&labels, '\0');
            metric_put(out, "bourse_", "queue_alert",
                       labels.failed ? "" : (const char *)labels.data, 1);
        }
    }
    buffer_fini(&labels);
}

static void
put_cluster_label(struct buffer *labels, const struct management *management,
                  struct bytes cluster_name)
{
    json_t *name =
        json_loadb((const char *)cluster_name.data, cluster_name.size, JSON_DECODE_ANY, NULL);
    metric_put_label(labels, "rabbitmq_cluster",
                     json_is_string(name)
                         ? bytes_make(json_string_value(name), json_string_length(name))
                         : bytes_of(management->node));
    json_decref(name);
}

void
metrics_put_identity(struct buffer *out, const struct management *management, const char *endpoint,
                     uint32_t sets, struct bytes cluster_name)
{
    struct buffer labels;
    if ((sets & METRICS_OWN) != 0) {
        metric_begin(out, "bourse_", "build_info", METRIC_GAUGE, "Which broker this is");
        buffer_printf(out, "bourse_build_info{version=\"%s\",node=\"%s\"} 1\n", BOURSE_VERSION,
                      management->node);
    }
    if ((sets & METRICS_RABBITMQ) == 0) {
        return;
    }
    buffer_init(&labels);
    metric_begin(out, "rabbitmq_", "build_info", METRIC_GAUGE, "Which RabbitMQ this stands for");
    metric_put_label(&labels, "rabbitmq_version", bytes_of(management->rabbitmq_version));
    buffer_put_u8(&labels, '\0');
    buffer_printf(out,
                  "rabbitmq_build_info{%s,prometheus_plugin_version=\"%s\","
                  "prometheus_client_version=\"\",erlang_version=\"\",product_name=\"Bourse\","
                  "product_version=\"%s\"} 1\n",
                  labels.failed ? "rabbitmq_version=\"\"" : (const char *)labels.data,
                  BOURSE_VERSION, BOURSE_VERSION);
    buffer_clear(&labels);
    put_cluster_label(&labels, management, cluster_name);
    buffer_put_u8(&labels, '\0');
    metric_begin(out, "rabbitmq_", "identity_info", METRIC_GAUGE, "Node and cluster");
    buffer_printf(out,
                  "rabbitmq_identity_info{rabbitmq_node=\"%s\",%s,"
                  "rabbitmq_cluster_permanent_id=\"%s\",rabbitmq_endpoint=\"%s\"} 1\n",
                  management->node,
                  labels.failed ? "rabbitmq_cluster=\"\"" : (const char *)labels.data,
                  management->node, endpoint);
    buffer_fini(&labels);
}

void
metrics_put_totals(struct buffer *out, struct management *management,
                   const struct metric_totals *from, const struct totals_style *style)
{
    put_sizes(out, from->measure, style);
    if ((style->sets & METRICS_OWN) != 0) {
        put_rows(out, from, NULL, style->without_queues);
        put_times(out, from);
        put_waits(out, from->measure);
        put_certificates(out, management);
        put_alerts(out, from->measure);
    }
    if ((style->sets & METRICS_RABBITMQ) != 0) {
        put_rows(out, from, style->rabbitmq_prefix, style->without_queues);
    }
}
