/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/connections/connection.h"

#include <stdio.h>
#include <stdlib.h>

#include "amqp/frame.h"
#include "amqp/reply.h"
#include "base/alloc.h"
#include "base/sampled_rates.h"
#include "broker/channels/channel.h"
#include "broker/connections/house.h"
#include "broker/connections/login.h"
#include "broker/topology/vhost.h"
#include "broker/users/user.h"

/* How long a client may take to answer connection.close; a shorter heartbeat shortens it. */
static const uint64_t CONNECTION_CLOSE_WAIT_MS = 30000;

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
