/* SPDX-License-Identifier: Apache-2.0 */
/* What comes from a client: for one of its channels, which are opened and ended here, or for the
 * connection itself. */
#include "broker/connections/connection.h"

#include <inttypes.h>
#include <stdlib.h>

#include "amqp/frame.h"
#include "amqp/reply.h"
#include "base/alloc.h"
#include "broker/channels/channel.h"
#include "broker/channels/commit_wait.h"
#include "broker/durability/durability.h"
#include "broker/users/user.h"

/* How long a client may take to answer connection.close when the network side no longer trusts the
 * input: a close-ok would not be recognised. */
static const uint64_t CONNECTION_FRAMING_WAIT_MS = 3000;
/* How long octets that are already queued are still written to a socket that is to be closed. */
static const uint32_t CONNECTION_LINGER_MS = 3000;

static const char *const connection_state_names[] = {
    [CONNECTION_STARTING] = "starting", [CONNECTION_CHECKING] = "securing",
    [CONNECTION_TUNING] = "tuning",     [CONNECTION_OPENING] = "opening",
    [CONNECTION_RUNNING] = "running",   [CONNECTION_CLOSING] = "closing",
    [CONNECTION_CLOSED] = "closed",
};

struct channel *
connection_find_channel(const struct connection *connection, uint16_t number)
{
    if (number == 0 || number > connection->channel_capacity) {
        return NULL;
    }
    return connection->channels[number - 1];
}

/* Room for `number` in the table, which grows with the highest number in use. */
static void
connection_grow_channels(struct connection *connection, uint16_t number)
{
    uint32_t capacity = connection->channel_capacity;
    if (number <= capacity) {
        return;
    }
    uint32_t grown = capacity * 2 > number ? capacity * 2 : number;
    if (grown > UINT16_MAX) {
        grown = UINT16_MAX;
    }
    connection->channels = xrealloc(connection->channels, grown * sizeof(struct channel *));
    memset(connection->channels + capacity, 0, (grown - capacity) * sizeof(struct channel *));
    connection->channel_capacity = (uint16_t)grown;
}

static enum status
connection_check_channel_limits(const struct connection *connection, uint16_t number,
                                struct fault *fault)
{
    if (connection->channel_max != 0 && (connection->channel_count >= connection->channel_max ||
                                         number > connection->channel_max)) {
        return fault_connection(
            fault, REPLY_NOT_ALLOWED,
            "number of channels opened (%u) has reached the negotiated channel_max (%u)",
            (unsigned)connection->channel_count, (unsigned)connection->channel_max);
    }
    const struct user *user = connection->user;
    if (connection->house == NULL && user->channels_max >= 0 &&
        user->channel_count >= user->channels_max) {
        return fault_connection(fault, REPLY_NOT_ALLOWED,
                                "number of channels opened for user '%.*s' has reached the maximum "
                                "allowed user limit of %lld",
                                BYTES_FORMAT(user->name), (long long)user->channels_max);
    }
    return STATUS_OK;
}

/* One more, one less, of those that clients have. */
static void
connection_count_channel(struct connection *connection, int change)
{
    struct core_counters *counters = &connection->core->counters;
    if (connection->house != NULL) {
        return;
    }
    if (change > 0) {
        connection->user->channel_count++;
        counters->channels_opened++;
    } else {
        connection->user->channel_count--;
        counters->channels_closed++;
    }
}

static enum status
connection_open_channel(struct connection *connection, uint16_t number, struct fault *fault)
{
    if (connection_check_channel_limits(connection, number, fault) != STATUS_OK) {
        return STATUS_FAULT;
    }
    connection_grow_channels(connection, number);
    connection->channels[number - 1] = channel_new(connection, number);
    connection->channel_count++;
    connection_count_channel(connection, 1);
    struct method answer = {.id = METHOD_CHANNEL_OPEN_OK};
    connection_send(connection, number, &answer);
    return STATUS_OK;
}

void
connection_forget_channel(struct connection *connection, struct channel *channel)
{
    assert(connection->channels[channel->number - 1] == channel);
    channel_end(channel);
    channel_drop_waits(channel);
    connection->channels[channel->number - 1] = NULL;
    connection->channel_count--;
    connection_count_channel(connection, -1);
    list_append(&connection->core->doomed_channels, &channel->doomed_link);
}

/* The client's channel.close: what is open goes back first, so that close-ok means it. STATUS_AGAIN
 * while something of the channel waits for a commit, be it our own channel.close: close-ok says
 * that all of it is done. */
static enum status
connection_answer_channel_close(struct connection *connection, struct channel *channel)
{
    uint16_t number = channel->number;
    channel_flush_confirms(channel);
    if (channel_waits(channel)) {
        return STATUS_AGAIN;
    }
    if (!channel->is_closing) {
        connection_forget_channel(connection, channel);
    }
    struct method answer = {.id = METHOD_CHANNEL_CLOSE_OK};
    connection_send(connection, number, &answer);
    return STATUS_OK;
}

/* Our channel.close is out: only its end is heard. */
static enum status
connection_on_closing_channel(struct connection *connection, struct channel *channel,
                              enum method_id id)
{
    if (id == METHOD_CHANNEL_CLOSE) {
        return connection_answer_channel_close(connection, channel);
    }
    if (id == METHOD_CHANNEL_CLOSE_OK) {
        connection_forget_channel(connection, channel);
    }
    return STATUS_OK;
}

static enum status
connection_route_method(struct connection *connection, uint16_t number, const struct method *method,
                        struct fault *fault)
{
    if (connection->state != CONNECTION_RUNNING) {
        return fault_connection(fault, REPLY_CHANNEL_ERROR,
                                "unexpected method in connection state %s",
                                connection_state_names[connection->state]);
    }
    struct channel *channel = connection_find_channel(connection, number);
    if (channel == NULL) {
        if (method->id != METHOD_CHANNEL_OPEN) {
            return fault_connection(fault, REPLY_CHANNEL_ERROR, "expected 'channel.open'");
        }
        return connection_open_channel(connection, number, fault);
    }
    if (channel->is_closing) {
        return connection_on_closing_channel(connection, channel, method->id);
    }
    if (method->id == METHOD_CHANNEL_CLOSE) {
        return connection_answer_channel_close(connection, channel);
    }
    if (method->id == METHOD_CHANNEL_OPEN) {
        return fault_connection(fault, REPLY_CHANNEL_ERROR, "second 'channel.open' seen");
    }
    enum status status = channel_handle_method(channel, method, fault);
    if (method_info(method->id)->class_id != CLASS_BASIC) {
        core_spend(connection->core, CORE_WORK_OF_CHANGE);
        connection_heed_log(connection); /* publishes see to it; settlements must go on */
    }
    return status;
}

static void
connection_flush_confirms(struct connection *connection)
{
    for (uint16_t i = 0; i < connection->channel_capacity; i++) {
        if (connection->channels[i] != NULL) {
            channel_flush_confirms(connection->channels[i]);
        }
    }
}

/* The client's connection.close: exclusive queues are gone before close-ok is written. STATUS_AGAIN
 * while something of its channels waits for a commit. */
static enum status
connection_handle_close(struct connection *connection, const struct connection_close *args)
{
    connection_flush_confirms(connection);
    if (connection->waiting_channels > 0) {
        return STATUS_AGAIN;
    }
    char text[300];
    log_limited(connection->core->log,
                args->reply_code == REPLY_SUCCESS ? LOG_LEVEL_DEBUG : LOG_LEVEL_INFO,
                "connection.closing", "conn=\"%s\" code=%u text=%s", connection->name,
                (unsigned)args->reply_code, log_escape(text, sizeof(text), args->reply_text));
    connection_end_channels(connection);
    struct method answer = {.id = METHOD_CONNECTION_CLOSE_OK};
    connection_send(connection, 0, &answer);
    connection_drop(connection, CONNECTION_LINGER_MS);
    return STATUS_OK;
}

/* Which state each method of class connection belongs to; close and close-ok are heard in any. */
static enum status
connection_check_state(const struct connection *connection, enum method_id id, struct fault *fault)
{
    static const struct {
        enum method_id id;
        enum connection_state state;
    } expected[] = {
        {METHOD_CONNECTION_START_OK, CONNECTION_STARTING},
        {METHOD_CONNECTION_SECURE_OK, CONNECTION_CHECKING},
        {METHOD_CONNECTION_TUNE_OK, CONNECTION_TUNING},
        {METHOD_CONNECTION_OPEN, CONNECTION_OPENING},
        {METHOD_CONNECTION_UPDATE_SECRET, CONNECTION_RUNNING},
    };
    for (size_t i = 0; i < ARRAY_LEN(expected); i++) {
        if (expected[i].id == id && expected[i].state == connection->state) {
            return STATUS_OK;
        }
    }
    return fault_connection(fault, REPLY_CHANNEL_ERROR, "unexpected method in connection state %s",
                            connection_state_names[connection->state]);
}

static enum status
connection_handle_method(struct connection *connection, const struct method *method,
                         struct fault *fault)
{
    if (method->id == METHOD_CONNECTION_CLOSE) {
        return connection_handle_close(connection, &method->connection_close);
    }
    if (method->id == METHOD_CONNECTION_CLOSE_OK && connection->state == CONNECTION_CLOSING) {
        connection_drop(connection, CONNECTION_LINGER_MS);
        return STATUS_OK;
    }
    if ((method_info(method->id)->sender & METHOD_SENDER_CLIENT) == 0) {
        return fault_connection(fault, REPLY_COMMAND_INVALID, "unimplemented method");
    }
    if (connection_check_state(connection, method->id, fault) != STATUS_OK) {
        return STATUS_FAULT;
    }
    switch (method->id) {
    case METHOD_CONNECTION_START_OK:
        return connection_handle_start_ok(connection, &method->connection_start_ok, fault);
    case METHOD_CONNECTION_SECURE_OK:
        return connection_handle_secure_ok(connection, &method->connection_secure_ok, fault);
    case METHOD_CONNECTION_TUNE_OK:
        return connection_handle_tune_ok(connection, &method->connection_tune_ok, fault);
    case METHOD_CONNECTION_OPEN:
        return connection_handle_open(connection, &method->connection_open, fault);
    default:
        return connection_handle_update_secret(connection, &method->connection_update_secret,
                                               fault);
    }
}

/* While closing, what was under way when our close left is dropped unread. */
static bool
connection_ignores(const struct connection *connection, const struct method *method)
{
    return connection->state == CONNECTION_CLOSING && method->id != METHOD_CONNECTION_CLOSE &&
           method->id != METHOD_CONNECTION_CLOSE_OK;
}

void
connection_run_method(struct connection *connection, uint16_t channel, struct bytes payload)
{
    UNINITIALIZED struct method method;
    UNINITIALIZED struct fault fault;
    enum status status = method_decode(&method, payload, &fault);
    if (status == STATUS_OK) {
        if (connection_ignores(connection, &method)) {
            return;
        }
        status = channel == 0 ? connection_handle_method(connection, &method, &fault)
                              : connection_route_method(connection, channel, &method, &fault);
    } else if (connection->state == CONNECTION_CLOSING) {
        return;
    }
    if (status == STATUS_FAULT) {
        connection_raise(connection, channel, &fault, get_u16(payload.data),
                         get_u16(payload.data + 2));
    } else if (status == STATUS_AGAIN) {
        connection_hold_again(connection, channel, payload);
    }
}

/* What the client has said last of all waits for its turn: what follows it is not heard. */
static bool
connection_has_heard_all(const struct connection *connection)
{
    return connection->has_held_fault || connection->has_held_close;
}

void
connection_on_method(struct connection *connection, uint16_t channel, struct bytes payload)
{
    connection->received_octets += payload.size + FRAME_OVERHEAD;
    if (connection->state == CONNECTION_CLOSED || connection_has_heard_all(connection) ||
        connection_hold_method(connection, channel, payload)) {
        return;
    }
    connection_run_method(connection, channel, payload);
}

static enum status
connection_route_publish(struct connection *connection, const struct net_event *event,
                         struct content_ref content, struct fault *fault)
{
    if (connection->state != CONNECTION_RUNNING) {
        return fault_connection(fault, REPLY_CHANNEL_ERROR,
                                "unexpected method in connection state %s",
                                connection_state_names[connection->state]);
    }
    struct channel *channel = connection_find_channel(connection, event->channel);
    if (channel == NULL) {
        return fault_connection(fault, REPLY_CHANNEL_ERROR, "expected 'channel.open'");
    }
    if (channel->is_closing) {
        return STATUS_OK;
    }
    if (event->publish.place.content != NULL && !content_ref_is_set(content)) {
        return fault_connection(fault, REPLY_RESOURCE_ERROR,
                                "no memory for a message of %" PRIu64 " octets",
                                event->publish.body_size);
    }
    return channel_handle_publish(channel, event, content, fault);
}

static void
connection_release_content(struct connection *connection, struct content_ref content)
{
    if (content_ref_is_set(content)) {
        chunk_pool_release(connection->core->pool, content);
    }
}

void
connection_run_publish(struct connection *connection, const struct net_event *event,
                       struct content_ref content)
{
    UNINITIALIZED struct fault fault;
    if (connection->state < CONNECTION_CLOSING &&
        connection_route_publish(connection, event, content, &fault) == STATUS_FAULT) {
        const struct method_info *info = method_info(METHOD_BASIC_PUBLISH);
        connection_raise(connection, event->channel, &fault, info->class_id, info->method_id);
    }
    connection_release_content(connection, content);
}

/* What it took on the wire, but for the properties: three frames at least. */
static uint64_t
publish_octets(const struct net_event *event, uint32_t frame_max)
{
    enum { METHOD_OCTETS = 9, HEADER_OCTETS = 14 };
    uint32_t body_max = frame_max == 0 ? UINT32_MAX : frame_max - FRAME_OVERHEAD;
    uint64_t frames = 2 + (event->publish.body_size + body_max - 1) / body_max;
    return frames * FRAME_OVERHEAD + METHOD_OCTETS + HEADER_OCTETS + event->publish.exchange.size +
           event->publish.routing_key.size + event->publish.body_size;
}

void
connection_on_publish(struct connection *connection, const struct net_event *event,
                      struct content_ref content)
{
    assert(!connection->has_held_fault);
    connection->received_octets += publish_octets(event, connection->frame_max);
    if (connection->has_held_close) {
        connection_release_content(connection, content);
    } else if (!connection_hold_publish(connection, event, content)) {
        connection_run_publish(connection, event, content);
    }
}

void
connection_run_fault(struct connection *connection, const struct net_event *event)
{
    if (connection->state >= CONNECTION_CLOSING) {
        return;
    }
    connection_raise(connection, event->channel, event->fault.fault, event->fault.class_id,
                     event->fault.method_id);
    if (connection->state == CONNECTION_CLOSING) {
        timer_arm(&connection->core->timers, &connection->close_timer,
                  connection->core->now.monotonic_ms + CONNECTION_FRAMING_WAIT_MS,
                  connection->close_timer.callback, connection);
    }
}

void
connection_on_fault(struct connection *connection, const struct net_event *event)
{
    if (!connection_has_heard_all(connection) && !connection_hold_fault(connection, event)) {
        connection_run_fault(connection, event);
    }
}
