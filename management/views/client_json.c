/* SPDX-License-Identifier: Apache-2.0 */
#include "management/views/client_json.h"

#include "management/views/queue_json.h"
#include "management/views/row_answer.h"

#define COMPARE_NUMBER(row_type, name, expression)                                                 \
    static int compare_##name(const void *a, const void *b)                                        \
    {                                                                                              \
        const struct row_type *row = a;                                                            \
        uint64_t first = (expression);                                                             \
        row = b;                                                                                   \
        uint64_t second = (expression);                                                            \
        return first < second ? -1 : first > second;                                               \
    }
#define COMPARE_TEXT(row_type, name, expression)                                                   \
    static int compare_##name(const void *a, const void *b)                                        \
    {                                                                                              \
        const struct row_type *row = a;                                                            \
        struct bytes first = (expression);                                                         \
        row = b;                                                                                   \
        return bytes_compare(first, (expression));                                                 \
    }

/* Connections -------------------------------------------------------------------------------- */

static void
write_tls(struct json_writer *json, const struct survey_connection *connection)
{
    struct bytes none = bytes_make(NULL, 0);
    bool is_tls = connection->is_tls;
    json_put_bool(json, "ssl", is_tls);
    put_text_or_null(json, "ssl_protocol", is_tls ? connection->tls_version : none);
    put_text_or_null(json, "ssl_cipher", is_tls ? connection->tls_cipher : none);
    json_put_null(json, "ssl_key_exchange");
    json_put_null(json, "ssl_hash");
    put_text_or_null(json, "peer_cert_subject",
                     connection->has_certificate ? connection->certificate_user : none);
    json_put_null(json, "peer_cert_issuer");
    json_put_null(json, "peer_cert_validity");
}

static void
write_traffic(struct json_writer *json, const struct survey_connection *connection)
{
    json_put_unsigned(json, "recv_oct", connection->received_octets);
    put_rate(json, "recv_oct_details", connection->received_rate);
    json_put_unsigned(json, "send_oct", connection->sent_octets);
    put_rate(json, "send_oct_details", connection->sent_rate);
    json_put_unsigned(json, "recv_cnt", 0);
    json_put_unsigned(json, "send_cnt", 0);
    json_put_unsigned(json, "send_pend", connection->pending_octets);
}

static void
write_ends(struct json_writer *json, const struct survey_connection *connection)
{
    json_put_text(json, "host", connection->host);
    json_put_unsigned(json, "port", connection->port);
    json_put_text(json, "peer_host", connection->peer_host);
    json_put_unsigned(json, "peer_port", connection->peer_port);
}

static void
write_connection(struct json_writer *json, const void *row, const void *node)
{
    const struct survey_connection *connection = row;
    json_begin_object(json);
    json_put_text(json, "name", connection->name);
    if (connection->client_name.data != NULL) {
        json_put_text(json, "user_provided_name", connection->client_name);
    }
    put_text_or_null(json, "user", connection->user);
    put_text_or_null(json, "user_who_performed_action", connection->user);
    put_text_or_null(json, "vhost", connection->vhost);
    json_put_string(json, "node", node);
    json_put_string(json, "type", "network");
    json_put_string(json, "protocol", "AMQP 0-9-1");
    json_put_string(json, "state", connection->state);
    json_put_unsigned(json, "channels", connection->channels);
    json_put_unsigned(json, "channel_max", connection->channel_max);
    json_put_unsigned(json, "frame_max", connection->frame_max);
    json_put_unsigned(json, "timeout", connection->heartbeat_s);
    if (connection->mechanism == NULL) {
        json_put_null(json, "auth_mechanism");
    } else {
        json_put_string(json, "auth_mechanism", connection->mechanism);
    }
    json_put_number(json, "connected_at", connection->opened_wall_ms);
    write_ends(json, connection);
    write_tls(json, connection);
    json_key(json, "client_properties");
    json_table(json, connection->client_properties);
    write_traffic(json, connection);
    json_end_object(json);
}

static struct bytes
name_of_connection(const void *row)
{
    return ((const struct survey_connection *)row)->name;
}

/* What the client calls it, or what it is called. */
static struct bytes
own_name_of_connection(const void *row)
{
    const struct survey_connection *connection = row;
    return connection->client_name.data != NULL ? connection->client_name : connection->name;
}

COMPARE_TEXT(survey_connection, connection_name, row->name)
COMPARE_TEXT(survey_connection, connection_own_name, own_name_of_connection(row))
COMPARE_TEXT(survey_connection, connection_user, row->user)
COMPARE_TEXT(survey_connection, connection_vhost, row->vhost)
COMPARE_TEXT(survey_connection, connection_state, bytes_of(row->state))
COMPARE_NUMBER(survey_connection, connection_channels, row->channels)
COMPARE_NUMBER(survey_connection, connection_received, row->received_octets)
COMPARE_NUMBER(survey_connection, connection_sent, row->sent_octets)
COMPARE_NUMBER(survey_connection, connection_opened, (uint64_t)row->opened_wall_ms)

static const struct list_column connection_columns[] = {
    {"name", compare_connection_name},
    {"user_provided_name", compare_connection_own_name},
    {"user", compare_connection_user},
    {"vhost", compare_connection_vhost},
    {"state", compare_connection_state},
    {"channels", compare_connection_channels},
    {"recv_oct", compare_connection_received},
    {"send_oct", compare_connection_sent},
    {"connected_at", compare_connection_opened},
};

const struct list_kind connection_list_kind = {
    .name = name_of_connection,
    .other_name = own_name_of_connection,
    .write = write_connection,
    .columns = connection_columns,
    .column_count = ARRAY_LEN(connection_columns),
};

/* Channels ----------------------------------------------------------------------------------- */

static void
write_connection_details(struct json_writer *json, const struct survey_channel *channel)
{
    json_key(json, "connection_details");
    json_begin_object(json);
    json_put_text(json, "name", channel->connection);
    json_put_text(json, "peer_host", channel->peer_host);
    json_put_unsigned(json, "peer_port", channel->peer_port);
    json_end_object(json);
}

static void
write_channel_stats(struct json_writer *json, const struct survey_channel *channel)
{
    const struct channel_counters *counters = &channel->counters;
    const uint64_t *delivered = counters->delivered;
    const double *rates = channel->rates;
    if ((counters->published | delivery_count(delivered) | counters->acked | counters->get_empty) ==
        0) {
        return;
    }
    json_key(json, "message_stats");
    json_begin_object(json);
    put_counter(json, "publish", counters->published, rates[CHANNEL_RATE_PUBLISHED]);
    put_counter(json, "confirm", channel->confirmed, rates[CHANNEL_RATE_CONFIRMED]);
    put_counter(json, "return_unroutable", counters->returned, rates[CHANNEL_RATE_RETURNED]);
    put_deliveries(json, delivered, &rates[CHANNEL_RATE_DELIVERED]);
    put_counter(json, "get_empty", counters->get_empty, rates[CHANNEL_RATE_GOT_NOTHING]);
    put_counter(json, "redeliver", counters->redelivered, rates[CHANNEL_RATE_REDELIVERED]);
    put_counter(json, "ack", counters->acked, rates[CHANNEL_RATE_ACKED]);
    json_end_object(json);
}

static void
write_open_work(struct json_writer *json, const struct survey_channel *channel)
{
    bool confirms = channel->mode == CHANNEL_CONFIRM;
    json_put_bool(json, "confirm", confirms);
    json_put_bool(json, "transactional", channel->mode == CHANNEL_TX);
    json_put_unsigned(json, "prefetch_count", channel->prefetch);
    json_put_unsigned(json, "global_prefetch_count", channel->prefetch_global);
    json_put_unsigned(json, "consumer_count", channel->consumers);
    json_put_unsigned(json, "messages_unacknowledged", channel->unacked);
    json_put_unsigned(json, "messages_unconfirmed", confirms ? channel->unconfirmed : 0);
    json_put_unsigned(json, "messages_uncommitted", channel->uncommitted);
    json_put_unsigned(json, "acks_uncommitted", channel->uncommitted_acks);
    json_put_unsigned(json, "pending_raft_commands", 0);
}

static const char *
state_of_channel(const struct survey_channel *channel)
{
    if (channel->is_closing) {
        return "closing";
    }
    return channel->is_blocked ? "flow" : "running";
}

void
channel_write_members(struct json_writer *json, const struct survey_channel *channel,
                      const char *node)
{
    struct buffer name;
    buffer_init(&name);
    put_channel_name(&name, channel->connection, channel->number);
    json_put_text(json, "name", buffer_bytes(&name));
    buffer_fini(&name);
    json_put_unsigned(json, "number", channel->number);
    write_connection_details(json, channel);
    put_text_or_null(json, "user", channel->user);
    put_text_or_null(json, "user_who_performed_action", channel->user);
    put_text_or_null(json, "vhost", channel->vhost);
    json_put_string(json, "node", node);
    json_put_string(json, "state", state_of_channel(channel));
    write_open_work(json, channel);
    write_channel_stats(json, channel);
}

static void
write_channel(struct json_writer *json, const void *row, const void *node)
{
    json_begin_object(json);
    channel_write_members(json, row, node);
    json_end_object(json);
}

/* Without the number: `name` of a list looks for a part of it. */
static struct bytes
name_of_channel(const void *row)
{
    return ((const struct survey_channel *)row)->connection;
}

COMPARE_TEXT(survey_channel, channel_name, row->connection)
COMPARE_TEXT(survey_channel, channel_user, row->user)
COMPARE_TEXT(survey_channel, channel_vhost, row->vhost)
COMPARE_NUMBER(survey_channel, channel_consumers, row->consumers)
COMPARE_NUMBER(survey_channel, channel_unacked, row->unacked)
COMPARE_NUMBER(survey_channel, channel_unconfirmed, row->unconfirmed)
COMPARE_NUMBER(survey_channel, channel_prefetch, row->prefetch)

static const struct list_column channel_columns[] = {
    {"name", compare_channel_name},
    {"user", compare_channel_user},
    {"vhost", compare_channel_vhost},
    {"consumer_count", compare_channel_consumers},
    {"messages_unacknowledged", compare_channel_unacked},
    {"messages_unconfirmed", compare_channel_unconfirmed},
    {"prefetch_count", compare_channel_prefetch},
};

const struct list_kind channel_list_kind = {
    .name = name_of_channel,
    .write = write_channel,
    .columns = channel_columns,
    .column_count = ARRAY_LEN(channel_columns),
};

/* Consumers ---------------------------------------------------------------------------------- */

static void
write_subscription(struct json_writer *json, const void *row, const void *node)
{
    const struct survey_subscription *subscription = row;
    consumer_write(json, &subscription->consumer, subscription->vhost, subscription->queue, node);
}

static struct bytes
name_of_queue(const void *row)
{
    return ((const struct survey_subscription *)row)->queue;
}

COMPARE_TEXT(survey_subscription, consumer_queue, row->queue)
COMPARE_TEXT(survey_subscription, consumer_tag, row->consumer.tag)
COMPARE_NUMBER(survey_subscription, consumer_prefetch, row->consumer.prefetch)

static const struct list_column subscription_columns[] = {
    {"queue.name", compare_consumer_queue},
    {"consumer_tag", compare_consumer_tag},
    {"prefetch_count", compare_consumer_prefetch},
};

const struct list_kind subscription_list_kind = {
    .name = name_of_queue,
    .write = write_subscription,
    .columns = subscription_columns,
    .column_count = ARRAY_LEN(subscription_columns),
};
