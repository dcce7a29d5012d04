/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/connections/connection.h"

#include <inttypes.h>

#include "amqp/frame.h"
#include "amqp/reply.h"
#include "base/alloc.h"
#include "base/sampled_rates.h"
#include "broker/channels/channel.h"
#include "broker/channels/commit_wait.h"
#include "broker/connections/house.h"
#include "broker/connections/login.h"
#include "broker/durability/durability.h"
#include "broker/topology/vhost.h"
#include "broker/users/access.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

/* How long a client may take to answer connection.close; a shorter heartbeat shortens it. */
static const uint64_t CONNECTION_CLOSE_WAIT_MS = 30000;
/* The same when the network side no longer trusts the input: a close-ok would not be recognised. */
static const uint64_t CONNECTION_FRAMING_WAIT_MS = 3000;
/* How long octets that are already queued are still written to a socket that is to be closed. */
static const uint32_t CONNECTION_LINGER_MS = 3000;

static const char *const connection_state_names[] = {
    [CONNECTION_STARTING] = "starting", [CONNECTION_CHECKING] = "securing",
    [CONNECTION_TUNING] = "tuning",     [CONNECTION_OPENING] = "opening",
    [CONNECTION_RUNNING] = "running",   [CONNECTION_CLOSING] = "closing",
    [CONNECTION_CLOSED] = "closed",
};

static char *
connection_make_name(const struct net_peer *peer)
{
    char name[2 * NET_ADDRESS_SIZE + 32];
    (void)snprintf(name, sizeof(name), "%s:%u -> %s:%u", peer->address, (unsigned)peer->port,
                   peer->local_address, (unsigned)peer->local_port);
    return xstrdup(name);
}

static struct connection *
connection_make(struct core *core, uint64_t link, struct net_peer *peer)
{
    struct connection *connection = xalloc(sizeof(*connection));
    connection->core = core;
    connection->link = link;
    connection->peer = peer;
    connection->state = CONNECTION_STARTING;
    connection->opened_wall_ms = core->now.wall_ms;
    connection->frame_max = FRAME_MAX_BEFORE_TUNE;
    connection->name = connection_make_name(peer);
    list_init(&connection->exclusive_queues);
    list_init(&connection->held);
    list_append(&core->connection_list, &connection->core_link);
    return connection;
}

struct connection *
connection_new(struct core *core, uint64_t link, struct net_peer *peer)
{
    struct connection *connection = connection_make(core, link, peer);
    core->connection_count++;
    log_limited(core->log, LOG_LEVEL_DEBUG, "connection.opened", "conn=\"%s\" tls=%s",
                connection->name, peer->is_tls ? peer->tls_version : "no");
    connection_send_start(connection);
    return connection;
}

struct connection *
connection_new_for_house(struct core *core, struct house *house, uint64_t link,
                         struct net_peer *peer)
{
    struct connection *connection = connection_make(core, link, peer);
    connection->house = house;
    connection->frame_max = core->settings.frame_max;
    return connection;
}

static void
connection_leave_vhost(struct connection *connection)
{
    if (connection->vhost != NULL && connection->house == NULL) {
        connection->vhost->connection_count--;
        connection->user->connection_count--;
        connection->vhost = NULL;
    }
}

void
connection_free(struct connection **connection_pointer)
{
    struct connection *connection = *connection_pointer;
    if (connection == NULL) {
        return;
    }
    connection->state = CONNECTION_CLOSED; /* nothing is posted any more: the link is gone */
    connection_end_channels(connection);
    connection_leave_vhost(connection);
    login_forget(connection);
    if (connection->user != NULL) {
        user_unref(connection->user);
    }
    timer_cancel(&connection->core->timers, &connection->close_timer);
    list_remove(&connection->reopen_link);
    list_remove(&connection->replay_link);
    list_remove(&connection->log_paused_link);
    list_remove(&connection->core_link);
    connection->core->connection_count -= connection->house == NULL ? 1 : 0;
    free(connection->peer);
    sampled_rates_free(&connection->rates);
    free(connection->name);
    free(connection->client_name);
    free((uint8_t *)connection->client_properties.data);
    free(connection);
    *connection_pointer = NULL;
}

/* `content` is what the action names; NULL: it is a method. */
static void
connection_post(struct connection *connection, struct net_action *action,
                const struct content *content)
{
    if (connection->state == CONNECTION_CLOSED) {
        return;
    }
    action->link = connection->link;
    if (connection->house != NULL) {
        house_take_action(connection->house, action);
        return;
    }
    connection->window_used += net_action_octets(action, content, connection->frame_max);
    struct net_port *net = &connection->core->ports.net;
    net->post(net->context, action);
    if (connection->window_used > CORE_OUTPUT_OCTETS) {
        connection_pause(connection, PAUSE_OUTPUT);
    }
}

void
connection_post_content(struct connection *connection, struct net_action *action,
                        struct content_ref ref, const struct content *content)
{
    bool is_large = content->body_size > connection->core->settings.lend_bytes_min;
    if (is_large && connection->state != CONNECTION_CLOSED && connection->house == NULL) {
        chunk_pool_retain(connection->core->pool, ref);
        action->loan = ref.bits;
    }
    connection_post(connection, action, content);
}

void
connection_post_method(struct connection *connection, uint16_t channel, struct bytes payload)
{
    struct net_action action = {
        .type = NET_ACTION_METHOD,
        .channel = channel,
        .method = {.payload = payload},
    };
    connection_post(connection, &action, NULL);
}

void
connection_send(struct connection *connection, uint16_t channel, const struct method *method)
{
    struct buffer *payload = &connection->core->payload;
    buffer_clear(payload);
    method_encode(payload, method);
    if (payload->failed) {
        payload->failed = false;
        connection_drop(connection, 0);
        return;
    }
    connection_post_method(connection, channel, buffer_bytes(payload));
}

void
connection_post_control(struct connection *connection, struct net_action *action)
{
    action->link = connection->link;
    if (connection->house != NULL) {
        house_take_action(connection->house, action);
        return;
    }
    struct net_port *net = &connection->core->ports.net;
    net->post(net->context, action);
}

static void
connection_post_plain(struct connection *connection, enum net_action_type type)
{
    struct net_action action = {.type = type};
    connection_post_control(connection, &action);
}

void
connection_pause(struct connection *connection, enum connection_pause reason)
{
    if (connection->pause_reasons == 0 && connection->state != CONNECTION_CLOSED) {
        connection_post_plain(connection, NET_ACTION_PAUSE);
    }
    connection->pause_reasons |= (uint8_t)reason;
}

void
connection_resume(struct connection *connection, enum connection_pause reason)
{
    bool was_paused = connection->pause_reasons != 0;
    connection->pause_reasons &= (uint8_t)~reason;
    if (was_paused && connection->pause_reasons == 0 && connection->state != CONNECTION_CLOSED) {
        connection_post_plain(connection, NET_ACTION_RESUME);
    }
}

void
connection_drop(struct connection *connection, uint32_t linger_ms)
{
    if (connection->state == CONNECTION_CLOSED) {
        return;
    }
    connection_end_channels(connection);
    login_forget(connection);
    timer_cancel(&connection->core->timers, &connection->close_timer);
    connection->state = CONNECTION_CLOSED;
    struct net_action action = {
        .type = NET_ACTION_CLOSE,
        .close = {.linger_ms = linger_ms},
    };
    connection_post_control(connection, &action);
}

void
connection_end_channels(struct connection *connection)
{
    connection_drop_held(connection);
    for (uint16_t i = 0; i < connection->channel_capacity; i++) {
        if (connection->channels[i] != NULL) {
            connection_forget_channel(connection, connection->channels[i]);
        }
    }
    free(connection->channels);
    connection->channels = NULL;
    connection->channel_capacity = 0;
    struct list_link *link;
    while ((link = list_first(&connection->exclusive_queues)) != NULL) {
        struct queue *queue = CONTAINER_OF(link, struct queue, owner_list_link);
        (void)vhost_delete_queue(queue->vhost, queue);
    }
}

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

void
connection_on_written(struct connection *connection, uint64_t octets)
{
    assert(octets <= connection->window_used);
    connection->window_used -= octets;
    connection->sent_octets += octets;
    if (connection->window_used <= CORE_WINDOW_OCTETS) {
        connection_resume(connection, PAUSE_OUTPUT);
    }
    if (connection->window_was_full && connection->window_used <= CORE_WINDOW_OCTETS / 2 &&
        !list_link_is_linked(&connection->reopen_link)) {
        list_append(&connection->core->reopened, &connection->reopen_link);
    }
}

void
connection_raise(struct connection *connection, uint16_t number, const struct fault *fault,
                 uint16_t class_id, uint16_t method_id)
{
    struct channel *channel = connection_find_channel(connection, number);
    if (fault->reply_code == REPLY_INTERNAL_ERROR) {
        connection->core->counters.internal_errors++;
    }
    if (fault->scope == FAULT_CHANNEL && channel != NULL) {
        channel_close(channel, fault, class_id, method_id);
    } else {
        connection_close(connection, fault, class_id, method_id);
    }
}

static void
connection_on_close_timeout(struct timer *timer, void *context)
{
    (void)timer;
    connection_drop(context, 0);
}

static uint64_t
connection_close_wait_ms(const struct connection *connection)
{
    uint64_t heartbeat_ms = (uint64_t)connection->heartbeat_s * 1000;
    return heartbeat_ms != 0 && heartbeat_ms < CONNECTION_CLOSE_WAIT_MS ? heartbeat_ms
                                                                        : CONNECTION_CLOSE_WAIT_MS;
}

void
connection_close(struct connection *connection, const struct fault *fault, uint16_t class_id,
                 uint16_t method_id)
{
    if (connection->state >= CONNECTION_CLOSING) {
        return;
    }
    char text[REPLY_TEXT_SIZE];
    struct bytes reply = reply_text(fault, text);
    char escaped[2 * REPLY_TEXT_SIZE];
    log_limited(connection->core->log, LOG_LEVEL_WARN, "connection.error",
                "conn=\"%s\" code=%u text=%s", connection->name, (unsigned)fault->reply_code,
                log_escape(escaped, sizeof(escaped), reply));
    connection_end_channels(connection);
    login_forget(connection);
    struct method close = {
        .id = METHOD_CONNECTION_CLOSE,
        .connection_close = {.reply_code = fault->reply_code,
                             .reply_text = reply,
                             .class_id = class_id,
                             .method_id = method_id},
    };
    connection->state = CONNECTION_CLOSING;
    connection_send(connection, 0, &close);
    connection_resume(connection,
                      PAUSE_LOGIN | PAUSE_HELD | PAUSE_OUTPUT | PAUSE_LOG | PAUSE_COMMIT);
    timer_arm(&connection->core->timers, &connection->close_timer,
              connection->core->now.monotonic_ms + connection_close_wait_ms(connection),
              connection_on_close_timeout, connection);
}
