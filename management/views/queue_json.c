/* SPDX-License-Identifier: Apache-2.0 */
#include "management/views/queue_json.h"

#include <inttypes.h>
#include <stdio.h>

#include "amqp/table.h"
#include "management/views/row_answer.h"
#include "queues/settings.h"

/* Statistics --------------------------------------------------------------------------------- */

static void
write_message_stats(struct json_writer *json, const struct survey_queue *queue)
{
    const struct queue_rates *rates = &queue->rates;
    if (!queue->has_clocks || (queue->published | queue->delivered | queue->acked) == 0) {
        return;
    }
    json_key(json, "message_stats");
    json_begin_object(json);
    put_counter(json, "publish", queue->published, rates->arrived);
    put_deliveries(json, queue->delivered_by, rates->delivered_by);
    put_counter(json, "get_empty", queue->get_empty, rates->got_nothing);
    put_counter(json, "redeliver", queue->redelivered, rates->redelivered);
    put_counter(json, "ack", queue->acked, rates->acked);
    json_end_object(json);
}

void
age_write(struct json_writer *json, const char *name, uint64_t age_ms)
{
    if (age_ms == NEVER_MS) {
        json_put_null(json, name);
    } else {
        json_put_unsigned(json, name, age_ms);
    }
}

/* What the queue's clocks say (docs/queue-clocks.md). */
static void
write_clocks(struct json_writer *json, const struct survey_queue *queue)
{
    const struct queue_rates *rates = &queue->rates;
    age_write(json, "oldest_ready_age_ms", queue->oldest_ready_ms);
    age_write(json, "oldest_unacked_age_ms", queue->oldest_unacked_ms);
    json_put_real(json, "arrival_rate", rates->arrived);
    json_put_real(json, "service_rate", rates->served);
    json_put_real(json, "retried_part", rates->retried_part);
    age_write(json, "time_to_drain_ms", queue->ready == 0 ? 0 : rates->drained_ms);
    json_put_unsigned(json, "wait_count", queue->wait_count);
    json_put_unsigned(json, "wait_sum_ms", queue->wait_sum_ms);
}

static void
write_own(struct json_writer *json, const struct survey_queue *queue)
{
    json_key(json, "bourse");
    json_begin_object(json);
    json_put_bool(json, "from_file", queue->from_file);
    json_put_bool(json, "paused", queue->is_paused);
    json_put_unsigned(json, "messages_delayed", queue->waiting[WAITING_DELAYED]);
    json_put_unsigned(json, "messages_retrying", queue->waiting[WAITING_RETRY]);
    json_put_unsigned(json, "messages_quarantined", queue->waiting[WAITING_PARKED]);
    json_put_unsigned(json, "messages_dying", queue->dying);
    json_key(json, "died");
    json_begin_object(json);
    for (int i = 0; i < DEATH_REASON_COUNT; i++) {
        json_put_unsigned(json, death_reason_name((enum death_reason)i), queue->died[i]);
    }
    json_end_object(json);
    if (queue->has_clocks) {
        write_clocks(json, queue);
    }
    json_end_object(json);
}

/* Settings ----------------------------------------------------------------------------------- */

static void
write_policies(struct json_writer *json, const struct survey_queue *queue)
{
    struct buffer merged;
    buffer_init(&merged);
    queue_settings_merge_definitions(&merged, queue->policy_definition, queue->operator_definition);
    put_text_or_null(json, "policy", queue->policy);
    put_text_or_null(json, "operator_policy", queue->operator_policy);
    json_key(json, "effective_policy_definition");
    json_table(json, buffer_bytes(&merged));
    buffer_fini(&merged);
}

static void
write_nodes(struct json_writer *json, const char *node)
{
    static const char *const lists[] = {"members", "online"};
    json_put_string(json, "node", node);
    json_put_string(json, "leader", node);
    for (size_t i = 0; i < ARRAY_LEN(lists); i++) {
        json_key(json, lists[i]);
        json_begin_array(json);
        json_text(json, bytes_of(node));
        json_end_array(json);
    }
}

static void
write_consumers(struct json_writer *json, const struct survey_queue *queue)
{
    json_put_unsigned(json, "consumers", queue->consumers);
    json_put_real(json, "consumer_capacity", queue->utilisation);
    json_put_real(json, "consumer_utilisation", queue->utilisation);
    put_text_or_null(json, "exclusive_consumer_tag", queue->exclusive_tag);
    put_text_or_null(json, "single_active_consumer_tag", queue->active_tag);
    if (queue->owner.data != NULL) {
        json_key(json, "owner_pid_details");
        json_begin_object(json);
        json_put_text(json, "name", queue->owner);
        json_put_text(json, "peer_host", queue->owner_host);
        json_put_unsigned(json, "peer_port", queue->owner_port);
        json_end_object(json);
    }
}

static void
write_counts(struct json_writer *json, const struct survey_queue *queue)
{
    json_put_unsigned(json, "messages", queue->ready + queue->unacked);
    json_put_unsigned(json, "messages_ready", queue->ready);
    json_put_unsigned(json, "messages_unacknowledged", queue->unacked);
    if (queue->has_clocks) {
        const struct queue_rates *rates = &queue->rates;
        put_rate(json, "messages_details", rates->arrived - rates->served);
        put_rate(json, "messages_ready_details", rates->arrived - rates->delivered);
        put_rate(json, "messages_unacknowledged_details", rates->delivered - rates->served);
    }
    json_put_unsigned(json, "message_bytes",
                      queue->ready_bytes + queue->unacked_bytes + queue->waiting_bytes);
    json_put_unsigned(json, "message_bytes_ready", queue->ready_bytes);
    json_put_unsigned(json, "message_bytes_unacknowledged", queue->unacked_bytes);
    json_put_unsigned(json, "memory", queue->memory_bytes);
    json_put_null(json, "head_message_timestamp");
}

void
queue_write_members(struct json_writer *json, const struct survey_queue *queue, const char *node)
{
    json_put_text(json, "name", queue->name);
    json_put_text(json, "vhost", queue->vhost);
    json_put_string(json, "type", queue_type_name(queue->type));
    json_put_string(json, "state", "running");
    json_put_bool(json, "durable", queue->durable);
    json_put_bool(json, "auto_delete", queue->auto_delete);
    json_put_bool(json, "exclusive", queue->exclusive);
    json_key(json, "arguments");
    json_table(json, queue->arguments);
    write_nodes(json, node);
    write_policies(json, queue);
    write_consumers(json, queue);
    write_counts(json, queue);
    write_message_stats(json, queue);
    write_own(json, queue);
}

/* Lists -------------------------------------------------------------------------------------- */

static struct bytes
name_of(const void *row)
{
    return ((const struct survey_queue *)row)->name;
}

static void
write_queue(struct json_writer *json, const void *row, const void *context)
{
    json_begin_object(json);
    queue_write_members(json, row, context);
    json_end_object(json);
}

#define COMPARE(name, type, expression)                                                            \
    static type value_of_##name(const struct survey_queue *queue)                                  \
    {                                                                                              \
        return expression;                                                                         \
    }                                                                                              \
    static int compare_##name(const void *a, const void *b)                                        \
    {                                                                                              \
        type first = value_of_##name(a);                                                           \
        type second = value_of_##name(b);                                                          \
        return first < second ? -1 : first > second;                                               \
    }
COMPARE(messages, uint64_t, queue->ready + queue->unacked)
COMPARE(ready, uint64_t, queue->ready)
COMPARE(unacked, uint64_t, queue->unacked)
COMPARE(consumers, uint64_t, queue->consumers)
COMPARE(memory, uint64_t, queue->memory_bytes)
COMPARE(bytes, uint64_t, queue->ready_bytes)
COMPARE(durable, uint64_t, queue->durable)
COMPARE(trend, double, queue->rates.arrived - queue->rates.served)
COMPARE(published, double, queue->rates.arrived)
COMPARE(delivered, double, queue->rates.delivered)
COMPARE(acked, double, queue->rates.acked)
COMPARE(oldest, uint64_t, queue->oldest_ready_ms == NEVER_MS ? 0 : queue->oldest_ready_ms)
#undef COMPARE

static int
compare_name(const void *a, const void *b)
{
    return bytes_compare(name_of(a), name_of(b));
}

static int
compare_vhost(const void *a, const void *b)
{
    return bytes_compare(((const struct survey_queue *)a)->vhost,
                         ((const struct survey_queue *)b)->vhost);
}

static const struct list_column queue_columns[] = {
    {"name", compare_name},
    {"vhost", compare_vhost},
    {"messages", compare_messages},
    {"messages_ready", compare_ready},
    {"messages_unacknowledged", compare_unacked},
    {"consumers", compare_consumers},
    {"memory", compare_memory},
    {"message_bytes", compare_bytes},
    {"message_bytes_ready", compare_bytes},
    {"durable", compare_durable},
    {"messages_details.rate", compare_trend},
    {"message_stats.publish_details.rate", compare_published},
    {"message_stats.deliver_get_details.rate", compare_delivered},
    {"message_stats.ack_details.rate", compare_acked},
    {"bourse.oldest_ready_age_ms", compare_oldest},
};

const struct list_kind queue_list_kind = {
    .name = name_of,
    .write = write_queue,
    .columns = queue_columns,
    .column_count = ARRAY_LEN(queue_columns),
};

/* Bindings and consumers --------------------------------------------------------------------- */

void
put_percent_encoded(struct buffer *out, struct bytes text)
{
    static const char plain[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._";
    for (size_t i = 0; i < text.size; i++) {
        uint8_t octet = text.data[i];
        if (octet != 0 && strchr(plain, octet) != NULL) {
            buffer_put_u8(out, octet);
        } else {
            buffer_printf(out, "%%%02X", (unsigned)octet);
        }
    }
}

void
binding_put_properties_key(struct buffer *out, struct bytes routing_key, struct bytes arguments)
{
    if (routing_key.size == 0 && arguments.size == 0) {
        buffer_put_u8(out, '~');
        return;
    }
    put_percent_encoded(out, routing_key);
    if (arguments.size > 0) {
        static const uint64_t SAME_IN_EVERY_LIFE = 0;
        buffer_printf(out, "~%016" PRIx64, bytes_hash(arguments, SAME_IN_EVERY_LIFE));
    }
}

void
route_write(struct json_writer *json, const struct survey_route *route)
{
    struct buffer key;
    buffer_init(&key);
    binding_put_properties_key(&key, route->routing_key, route->arguments);
    json_begin_object(json);
    json_put_text(json, "source", route->source);
    json_put_text(json, "vhost", route->vhost);
    json_put_text(json, "destination", route->destination);
    json_put_string(json, "destination_type", route->to_exchange ? "exchange" : "queue");
    json_put_text(json, "routing_key", route->routing_key);
    json_key(json, "arguments");
    json_table(json, route->arguments);
    json_put_text(json, "properties_key", buffer_bytes(&key));
    json_end_object(json);
    buffer_fini(&key);
}

static void
write_channel_details(struct json_writer *json, const struct survey_consumer *consumer,
                      const char *node)
{
    char number[16];
    (void)snprintf(number, sizeof(number), " (%u)", (unsigned)consumer->channel);
    struct buffer name;
    buffer_init(&name);
    buffer_put_bytes(&name, consumer->connection);
    buffer_put_bytes(&name, bytes_of(number));
    json_key(json, "channel_details");
    json_begin_object(json);
    json_put_text(json, "name", buffer_bytes(&name));
    json_put_unsigned(json, "number", consumer->channel);
    json_put_text(json, "connection_name", consumer->connection);
    json_put_text(json, "peer_host", consumer->peer_host);
    json_put_unsigned(json, "peer_port", consumer->peer_port);
    json_put_text(json, "user", consumer->user);
    json_put_string(json, "node", node);
    json_end_object(json);
    buffer_fini(&name);
}

/* Those that mean something here. */
static void
write_consumer_arguments(struct json_writer *json, const struct survey_consumer *consumer)
{
    if (consumer->timeout_ms > 0) {
        json_put_number(json, "consumer_timeout", consumer->timeout_ms);
    }
    json_key(json, "arguments");
    json_begin_object(json);
    if (consumer->priority != 0) {
        json_put_number(json, "x-priority", consumer->priority);
    }
    if (consumer->timeout_ms > 0) {
        json_put_number(json, "x-consumer-timeout", consumer->timeout_ms);
    }
    json_end_object(json);
}

void
consumer_write(struct json_writer *json, const struct survey_consumer *consumer, struct bytes vhost,
               struct bytes queue, const char *node)
{
    json_begin_object(json);
    json_key(json, "queue");
    json_begin_object(json);
    json_put_text(json, "name", queue);
    json_put_text(json, "vhost", vhost);
    json_end_object(json);
    json_put_text(json, "consumer_tag", consumer->tag);
    write_channel_details(json, consumer, node);
    json_put_bool(json, "ack_required", consumer->needs_ack);
    json_put_bool(json, "exclusive", consumer->exclusive);
    json_put_unsigned(json, "prefetch_count", consumer->prefetch);
    json_put_bool(json, "active", consumer->is_active);
    json_put_string(json, "activity_status", consumer->is_active ? "up" : "waiting");
    write_consumer_arguments(json, consumer);
    json_end_object(json);
}
