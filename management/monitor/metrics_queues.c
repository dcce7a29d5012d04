/* SPDX-License-Identifier: Apache-2.0 */
#include "management/monitor/metrics.h"

#include <stddef.h>
#include <string.h>

#include "base/assert.h"

/* One number of each queue, under two names. A name of RabbitMQ that only /metrics/detailed has
 * would be no use elsewhere: there are none. */
struct queue_metric {
    const char *own, *rabbitmq; /* without prefix; NULL: it has no such name */
    const char *help;
    uint64_t (*read)(const struct survey_queue *queue);
    uint64_t per_unit;
    uint32_t family;
    enum metric_kind kind;
};

#define READS(name, expression)                                                                    \
    static uint64_t name(const struct survey_queue *queue)                                         \
    {                                                                                              \
        return (expression);                                                                       \
    }

READS(read_ready, queue->ready)
READS(read_unacked, queue->unacked)
READS(read_messages, queue->ready + queue->unacked)
READS(read_consumers, queue->consumers)
READS(read_utilisation, (uint64_t)(queue->utilisation * 1000))
READS(read_ready_bytes, queue->ready_bytes)
READS(read_unacked_bytes, queue->unacked_bytes)
READS(read_bytes, queue->ready_bytes + queue->unacked_bytes)
READS(read_memory, queue->memory_bytes)
READS(read_oldest, queue->oldest_ready_ms == NEVER_MS ? 0 : queue->oldest_ready_ms)
READS(read_oldest_unacked, queue->oldest_unacked_ms == NEVER_MS ? 0 : queue->oldest_unacked_ms)
READS(read_delayed, queue->waiting[WAITING_DELAYED])
READS(read_retry, queue->waiting[WAITING_RETRY])
READS(read_parked, queue->waiting[WAITING_PARKED])
READS(read_published, queue->published)
READS(read_delivered, queue->delivered)
READS(read_consumed, queue->delivered_by[DELIVERY_CONSUMED])
READS(read_consumed_for_good, queue->delivered_by[DELIVERY_CONSUMED_FOR_GOOD])
READS(read_got, queue->delivered_by[DELIVERY_GOT])
READS(read_got_for_good, queue->delivered_by[DELIVERY_GOT_FOR_GOOD])
READS(read_get_empty, queue->get_empty)
READS(read_redelivered, queue->redelivered)
READS(read_acked, queue->acked)

static const struct queue_metric metrics[] = {
    {"queue_messages_ready", "queue_messages_ready", "Messages that wait for a consumer",
     read_ready, 1, FAMILY_QUEUE_COARSE, METRIC_GAUGE},
    {"queue_messages_unacknowledged", "queue_messages_unacked",
     "Messages that were handed out and are not acknowledged", read_unacked, 1, FAMILY_QUEUE_COARSE,
     METRIC_GAUGE},
    {NULL, "queue_messages", "Messages, ready or not acknowledged", read_messages, 1,
     FAMILY_QUEUE_COARSE, METRIC_GAUGE},
    {"queue_consumers", "queue_consumers", "Consumers", read_consumers, 1, FAMILY_QUEUE_CONSUMERS,
     METRIC_GAUGE},
    {"queue_consumer_utilisation", "queue_consumer_utilisation",
     "Part of about the last minute in which a consumer had room for a message; 0: no consumers",
     read_utilisation, 1000, FAMILY_QUEUE, METRIC_GAUGE},
    {NULL, "queue_consumer_capacity",
     "Part of about the last minute in which a consumer had room for a message; 0: no consumers",
     read_utilisation, 1000, FAMILY_QUEUE, METRIC_GAUGE},
    {"queue_messages_ready_bytes", "queue_messages_ready_bytes",
     "Octets of bodies of messages that wait for a consumer", read_ready_bytes, 1, FAMILY_QUEUE,
     METRIC_GAUGE},
    {"queue_messages_unacknowledged_bytes", "queue_messages_unacked_bytes",
     "Octets of bodies of messages that are not acknowledged", read_unacked_bytes, 1, FAMILY_QUEUE,
     METRIC_GAUGE},
    {NULL, "queue_messages_bytes", "Octets of bodies, ready or not acknowledged", read_bytes, 1,
     FAMILY_QUEUE, METRIC_GAUGE},
    {"queue_memory_bytes", "queue_process_memory_bytes", "Memory that the queue holds", read_memory,
     1, FAMILY_QUEUE, METRIC_GAUGE},
    {"queue_oldest_message_age_seconds", NULL,
     "Age of the oldest message that waits for a consumer; 0: none does", read_oldest, 1000,
     FAMILY_QUEUE, METRIC_GAUGE},
    {"queue_oldest_unacknowledged_age_seconds", NULL,
     "Age of the oldest message that is not acknowledged; 0: none is open", read_oldest_unacked,
     1000, FAMILY_QUEUE, METRIC_GAUGE},
    {"queue_messages_delayed", NULL, "Messages that come later", read_delayed, 1, FAMILY_QUEUE,
     METRIC_GAUGE},
    {"queue_retry_scheduled", NULL, "Messages that have failed and are tried again later",
     read_retry, 1, FAMILY_QUEUE, METRIC_GAUGE},
    {"queue_messages_quarantined", NULL, "Messages over their limit that nobody took", read_parked,
     1, FAMILY_QUEUE, METRIC_GAUGE},
    {"queue_published_total", "queue_messages_published_total", "Messages that came",
     read_published, 1, FAMILY_QUEUE_DELIVERY, METRIC_COUNTER},
    {"queue_delivered_total", NULL, "Messages handed out", read_delivered, 1, FAMILY_QUEUE_DELIVERY,
     METRIC_COUNTER},
    {NULL, "queue_messages_delivered_ack_total", "Messages to consumers that acknowledge",
     read_consumed, 1, FAMILY_QUEUE_DELIVERY, METRIC_COUNTER},
    {NULL, "queue_messages_delivered_total", "Messages to consumers that do not acknowledge",
     read_consumed_for_good, 1, FAMILY_QUEUE_DELIVERY, METRIC_COUNTER},
    {NULL, "queue_get_ack_total", "Messages by basic.get, to be acknowledged", read_got, 1,
     FAMILY_QUEUE_DELIVERY, METRIC_COUNTER},
    {NULL, "queue_get_total", "Messages by basic.get, without acknowledgement", read_got_for_good,
     1, FAMILY_QUEUE_DELIVERY, METRIC_COUNTER},
    {"queue_get_empty_total", "queue_get_empty_total", "Calls of basic.get that found nothing",
     read_get_empty, 1, FAMILY_QUEUE_DELIVERY, METRIC_COUNTER},
    {"queue_redelivered_total", "queue_messages_redelivered_total", "Messages handed out again",
     read_redelivered, 1, FAMILY_QUEUE_DELIVERY, METRIC_COUNTER},
    {"queue_acknowledged_total", "queue_messages_acked_total", "Messages acknowledged", read_acked,
     1, FAMILY_QUEUE_DELIVERY, METRIC_COUNTER},
};

bool
metrics_find_family(const char *name, uint32_t *families_out)
{
    static const struct {
        const char *name;
        uint32_t families;
    } known[] = {
        {"queue_coarse_metrics", FAMILY_QUEUE_COARSE},
        {"queue_metrics", FAMILY_QUEUE},
        {"queue_consumer_count", FAMILY_QUEUE_CONSUMERS},
        {"queue_delivery_metrics", FAMILY_QUEUE_DELIVERY},
        {"connection_churn_metrics", FAMILY_TOTALS},
        {"node_metrics", FAMILY_TOTALS},
        {"node_coarse_metrics", FAMILY_TOTALS},
        {"auth_attempt_metrics", FAMILY_TOTALS},
        {"auth_attempt_detailed_metrics", 0},
        {"channel_metrics", 0},
        {"channel_exchange_metrics", 0},
        {"channel_process_metrics", 0},
        {"channel_queue_metrics", 0},
        {"channel_queue_exchange_metrics", 0},
        {"connection_coarse_metrics", 0},
        {"connection_metrics", 0},
        {"connection_process_metrics", 0},
        {"exchange_metrics", 0},
        {"exchange_bindings", 0},
        {"exchange_names", 0},
        {"node_persister_metrics", 0},
        {"queue_exchange_metrics", 0},
        {"ra_metrics", 0},
        {"stream_consumer_metrics", 0},
        {"vhost_status", 0},
    };
    for (size_t i = 0; i < ARRAY_LEN(known); i++) {
        if (strcmp(known[i].name, name) == 0) {
            *families_out = known[i].families;
            return true;
        }
    }
    return false;
}

/* They come again with each family. */
bool
queue_metrics_begin(struct queue_metrics *queue_metrics)
{
    struct buffer *labels = &queue_metrics->labels;
    struct buffer one;
    buffer_init(labels);
    buffer_init(&one);
    for (uint32_t i = 0; i < queue_metrics->queues->count; i++) {
        const struct survey_queue *queue = queue_metrics->queues->rows[i];
        buffer_clear(&one);
        metric_put_label(&one, "vhost", queue->vhost);
        metric_put_label(&one, "queue", queue->name);
        buffer_put_u8(&one, '\0');
        buffer_put_bytes(labels, buffer_bytes(&one));
        labels->failed = labels->failed || one.failed;
    }
    buffer_fini(&one);
    return !labels->failed;
}

/* The name that comes next, or NULL when it is not wanted. */
static const char *
next_name(const struct queue_metrics *queue_metrics, const char **prefix_out)
{
    const struct queue_metric *metric = &metrics[queue_metrics->name / 2];
    bool is_own = queue_metrics->name % 2 == 0;
    uint32_t set = is_own ? METRICS_OWN : METRICS_RABBITMQ;
    *prefix_out = is_own ? "bourse_" : queue_metrics->rabbitmq_prefix;
    bool is_wanted =
        (metric->family & queue_metrics->families) != 0 && (queue_metrics->sets & set) != 0;
    return !is_wanted ? NULL : is_own ? metric->own : metric->rabbitmq;
}

/* One family, or a part of it. */
static void
put_family(struct queue_metrics *walk, struct buffer *out, size_t octets)
{
    const struct queue_metric *metric = &metrics[walk->name / 2];
    const char *prefix;
    const char *name = next_name(walk, &prefix);
    if (name != NULL && walk->row == 0) {
        metric_begin(out, prefix, name, metric->kind, metric->help);
    }
    while (name != NULL && walk->row < walk->queues->count && buffer_size(out) < octets) {
        const char *labels = (const char *)walk->labels.data + walk->label_at;
        metric_put_scaled(out, prefix, name, labels, metric->read(walk->queues->rows[walk->row++]),
                          metric->per_unit);
        walk->label_at += strlen(labels) + 1;
    }
    if (name == NULL || walk->row == walk->queues->count) {
        walk->name++;
        walk->row = 0;
        walk->label_at = 0;
    }
}

bool
queue_metrics_put(struct queue_metrics *queue_metrics, struct buffer *out, size_t octets)
{
    while (queue_metrics->name < 2 * ARRAY_LEN(metrics) && buffer_size(out) < octets) {
        put_family(queue_metrics, out, octets);
    }
    return queue_metrics->name < 2 * ARRAY_LEN(metrics);
}

void
queue_metrics_fini(struct queue_metrics *queue_metrics)
{
    buffer_fini(&queue_metrics->labels);
}
