/* SPDX-License-Identifier: Apache-2.0 */
/* Methods of class connection: the way from the protocol header to a running connection. */
#include "amqp/frame.h"
#include "amqp/reply.h"
#include "amqp/table.h"
#include "base/alloc.h"
#include "broker/channels/channel.h"
#include "broker/connections/connection.h"
#include "broker/connections/login.h"
#include "broker/topology/vhost.h"
#include "broker/users/access.h"

#include <stdlib.h>

/* A failed login of a client that cannot hear why is closed without a word after this long. */
static const uint64_t LOGIN_SILENT_CLOSE_MS = 3000;
static const size_t CLIENT_NAME_MAX = 255;
/* What a client says of itself is kept up to this size, for who looks at connections. */
static const size_t CLIENT_PROPERTIES_MAX = 2048;

/* What the broker can do; announced only when it is really done. */
static const char *const server_capabilities[] = {
    "publisher_confirms",           "exchange_exchange_bindings", "basic.nack",
    "consumer_cancel_notify",       "connection.blocked",         "consumer_priorities",
    "authentication_failure_close", "per_consumer_qos",           "direct_reply_to",
};

static void
connection_put_server_properties(struct buffer *table)
{
    struct buffer capabilities;
    buffer_init(&capabilities);
    for (size_t i = 0; i < ARRAY_LEN(server_capabilities); i++) {
        table_put_boolean(&capabilities, server_capabilities[i], true);
    }
    table_put_table(table, "capabilities", buffer_bytes(&capabilities));
    table->failed = table->failed || capabilities.failed;
    buffer_fini(&capabilities);
    table_put_text(table, "product", bytes_of("Bourse"));
    table_put_text(table, "version", bytes_of(BOURSE_VERSION));
    table_put_text(table, "compat", bytes_of("RabbitMQ 4.x"));
    table_put_text(table, "cluster_name", bytes_of("bourse"));
    table_put_text(table, "platform", bytes_of("Linux"));
    table_put_text(table, "copyright", bytes_of("The Bourse authors"));
    table_put_text(table, "information", bytes_of("Licensed under the Apache License 2.0"));
}

void
connection_send_start(struct connection *connection)
{
    struct buffer properties;
    buffer_init(&properties);
    connection_put_server_properties(&properties);
    struct method start = {
        .id = METHOD_CONNECTION_START,
        .connection_start = {.version_major = 0,
                             .version_minor = 9,
                             .server_properties = buffer_bytes(&properties),
                             .mechanisms = bytes_of(login_mechanisms(connection->peer)),
                             .locales = bytes_of("en_US")},
    };
    if (properties.failed) {
        connection_drop(connection, 0);
    } else {
        connection_send(connection, 0, &start);
    }
    buffer_fini(&properties);
}

static void
connection_read_capabilities(struct connection *connection, struct bytes client_properties)
{
    static const struct {
        const char *name;
        enum connection_capability capability;
    } known[] = {
        {"consumer_cancel_notify", CAPABILITY_CONSUMER_CANCEL_NOTIFY},
        {"connection.blocked", CAPABILITY_CONNECTION_BLOCKED},
        {"authentication_failure_close", CAPABILITY_AUTHENTICATION_FAILURE_CLOSE},
    };
    struct table_value capabilities;
    if (!table_find(client_properties, "capabilities", &capabilities) ||
        table_value_class(&capabilities) != TABLE_CLASS_TABLE) {
        return;
    }
    for (size_t i = 0; i < ARRAY_LEN(known); i++) {
        struct table_value value;
        if (table_find(capabilities.raw, known[i].name, &value) &&
            table_value_class(&value) == TABLE_CLASS_BOOLEAN && table_value_boolean(&value)) {
            connection->capabilities |= (uint8_t)known[i].capability;
        }
    }
}

static void
connection_read_client_name(struct connection *connection, struct bytes client_properties)
{
    struct table_value value;
    if (!table_find(client_properties, "connection_name", &value) ||
        table_value_class(&value) != TABLE_CLASS_STRING || !bytes_is_utf8(value.raw)) {
        return;
    }
    size_t size = bytes_utf8_prefix(value.raw, CLIENT_NAME_MAX);
    connection->client_name = xalloc(size + 1);
    memcpy(connection->client_name, value.raw.data, size);
}

static void
connection_keep_client_properties(struct connection *connection, struct bytes properties)
{
    if (connection->house == NULL && properties.size <= CLIENT_PROPERTIES_MAX) {
        uint8_t *copy = xalloc(properties.size + 1);
        memcpy(copy, properties.data, properties.size);
        connection->client_properties = bytes_make(copy, properties.size);
    }
}

enum status
connection_handle_start_ok(struct connection *connection, const struct connection_start_ok *args,
                           struct fault *fault)
{
    connection_read_capabilities(connection, args->client_properties);
    connection_read_client_name(connection, args->client_properties);
    connection_keep_client_properties(connection, args->client_properties);
    connection->state = CONNECTION_CHECKING;
    if (login_begin(connection, args->mechanism, args->response, fault) != STATUS_OK) {
        return STATUS_FAULT;
    }
    if (connection->state == CONNECTION_CHECKING) {
        connection_pause(connection, PAUSE_LOGIN); /* nothing is due before the verdict */
    }
    return STATUS_OK;
}

enum status
connection_handle_secure_ok(struct connection *connection, const struct connection_secure_ok *args,
                            struct fault *fault)
{
    (void)connection;
    (void)args;
    return fault_connection(fault, REPLY_CHANNEL_ERROR,
                            "secure-ok without a challenge: no mechanism here has a second step");
}

void
connection_login_succeeded(struct connection *connection, struct user *user)
{
    assert(connection->state == CONNECTION_CHECKING);
    const struct core_settings *settings = &connection->core->settings;
    connection->core->counters.logins_succeeded++;
    connection->user = user;
    user_ref(user);
    connection->state = CONNECTION_TUNING;
    struct method tune = {
        .id = METHOD_CONNECTION_TUNE,
        .connection_tune = {.channel_max = settings->channel_max,
                            .frame_max = settings->frame_max,
                            .heartbeat = settings->heartbeat_s},
    };
    connection_send(connection, 0, &tune);
    connection_resume(connection, PAUSE_LOGIN);
}

static void
connection_on_silent_close(struct timer *timer, void *context)
{
    (void)timer;
    connection_drop(context, 0);
}

void
connection_login_failed(struct connection *connection, const char *mechanism)
{
    struct core *core = connection->core;
    core->counters.logins_failed++;
    if ((connection->capabilities & CAPABILITY_AUTHENTICATION_FAILURE_CLOSE) == 0) {
        connection_pause(connection, PAUSE_LOGIN);
        timer_arm(&core->timers, &connection->close_timer,
                  core->now.monotonic_ms + LOGIN_SILENT_CLOSE_MS, connection_on_silent_close,
                  connection);
        return;
    }
    struct fault fault;
    (void)fault_connection(&fault, REPLY_ACCESS_REFUSED,
                           "Login was refused using authentication mechanism %s. For details see "
                           "the broker logfile.",
                           mechanism);
    connection_close(connection, &fault, 0, 0);
}

/* One field of tune-ok: `server_value` 0 means no limit of ours, and only then may the client have
 * none. */
static enum status
connection_check_tuned(const char *field, uint32_t value, uint32_t minimum, uint32_t server_value,
                       struct fault *fault)
{
    if (value != 0 && value < minimum) {
        return fault_connection(fault, REPLY_NOT_ALLOWED,
                                "negotiated %s = %u is lower than the minimum allowed value (%u)",
                                field, (unsigned)value, (unsigned)minimum);
    }
    if (server_value != 0 && (value == 0 || value > server_value)) {
        return fault_connection(fault, REPLY_NOT_ALLOWED,
                                "negotiated %s = %u is higher than the maximum allowed value (%u)",
                                field, (unsigned)value, (unsigned)server_value);
    }
    return STATUS_OK;
}

enum status
connection_handle_tune_ok(struct connection *connection, const struct connection_tune_ok *args,
                          struct fault *fault)
{
    const struct core_settings *settings = &connection->core->settings;
    if (connection_check_tuned("frame_max", args->frame_max, FRAME_MAX_MINIMUM, settings->frame_max,
                               fault) != STATUS_OK ||
        connection_check_tuned("channel_max", args->channel_max, 1, settings->channel_max, fault) !=
            STATUS_OK) {
        return STATUS_FAULT;
    }
    connection->frame_max = args->frame_max;
    connection->channel_max = args->channel_max;
    connection->heartbeat_s = args->heartbeat;
    connection->state = CONNECTION_OPENING;
    struct net_action action = {
        .type = NET_ACTION_TUNE,
        .tune = {.frame_max = args->frame_max, .heartbeat_s = args->heartbeat},
    };
    connection_post_control(connection, &action);
    return STATUS_OK;
}

/* The order of these checks is part of the protocol's behaviour: limits of the virtual host, its
 * existence, limits of the user, and rights last. */
static enum status
connection_check_open(const struct connection *connection, struct bytes name,
                      const struct vhost *vhost, struct fault *fault)
{
    const struct user *user = connection->user;
    if (vhost == NULL) {
        return fault_connection(fault, REPLY_NOT_ALLOWED, "vhost %.*s not found",
                                BYTES_FORMAT(name));
    }
    if (vhost->connections_max >= 0 && vhost->connection_count >= vhost->connections_max) {
        return fault_connection(
            fault, REPLY_NOT_ALLOWED,
            "access to vhost '%.*s' refused for user '%.*s': connection limit (%lld) is reached",
            BYTES_FORMAT(name), BYTES_FORMAT(user->name), (long long)vhost->connections_max);
    }
    if (user->connections_max >= 0 && user->connection_count >= user->connections_max) {
        return fault_connection(
            fault, REPLY_NOT_ALLOWED,
            "connection refused for user '%.*s': user connection limit (%lld) is reached",
            BYTES_FORMAT(user->name), (long long)user->connections_max);
    }
    if (!access_may_enter(user, name)) {
        return fault_connection(fault, REPLY_NOT_ALLOWED,
                                "access to vhost '%.*s' refused for user '%.*s'",
                                BYTES_FORMAT(name), BYTES_FORMAT(user->name));
    }
    return STATUS_OK;
}

static void
log_established(const struct connection *connection)
{
    char user[RESOURCE_TEXT_SIZE];
    char vhost[RESOURCE_TEXT_SIZE];
    char client[300];
    log_limited(
        connection->core->log, LOG_LEVEL_INFO, "connection.established",
        "conn=\"%s\" user=%s vhost=%s client=%s tls=%s", connection->name,
        log_escape(user, sizeof(user), connection->user->name),
        log_escape(vhost, sizeof(vhost), connection->vhost->name),
        log_escape(client, sizeof(client),
                   bytes_of(connection->client_name != NULL ? connection->client_name : "")),
        connection->peer->is_tls ? connection->peer->tls_version : "no");
}

enum status
connection_handle_open(struct connection *connection, const struct connection_open *args,
                       struct fault *fault)
{
    struct vhost *vhost = core_find_vhost(connection->core, args->virtual_host);
    if (connection_check_open(connection, args->virtual_host, vhost, fault) != STATUS_OK) {
        return STATUS_FAULT;
    }
    connection->vhost = vhost;
    vhost->connection_count++;
    connection->user->connection_count++;
    connection->state = CONNECTION_RUNNING;
    struct net_action action = {.type = NET_ACTION_ESTABLISHED};
    connection_post_control(connection, &action);
    log_established(connection);
    struct method answer = {.id = METHOD_CONNECTION_OPEN_OK};
    connection_send(connection, 0, &answer);
    return STATUS_OK;
}

/* Users here have no secret that expires, so there is nothing a new one would have to prove, and
 * RabbitMQ takes any for its own users as well; rights are asked anew. */
enum status
connection_handle_update_secret(struct connection *connection,
                                const struct connection_update_secret *args, struct fault *fault)
{
    (void)args;
    const struct user *user = connection->user;
    struct bytes vhost = connection->vhost->name;
    if (!access_may_enter(user, vhost)) {
        return fault_connection(fault, REPLY_NOT_ALLOWED,
                                "access to vhost '%.*s' refused for user '%.*s'",
                                BYTES_FORMAT(vhost), BYTES_FORMAT(user->name));
    }
    connection_recheck_consumers(connection);
    struct method answer = {.id = METHOD_CONNECTION_UPDATE_SECRET_OK};
    connection_send(connection, 0, &answer);
    return STATUS_OK;
}

/* Cancels the consumers of one channel whose queue the user may no longer read. */
static void
channel_recheck_consumers(struct channel *channel)
{
    LIST_FOR_EACH(&channel->consumer_list, link)
    {
        struct consumer *consumer = CONTAINER_OF(link, struct consumer, channel_link);
        struct fault fault;
        if (access_require(channel->connection, ACCESS_READ, ACCESS_QUEUE,
                           queue_name(consumer->queue), &fault) != STATUS_OK) {
            channel_cancel_consumer(channel, consumer, true);
        }
    }
}

void
connection_recheck_consumers(struct connection *connection)
{
    for (uint16_t i = 0; i < connection->channel_capacity; i++) {
        if (connection->channels[i] != NULL) {
            channel_recheck_consumers(connection->channels[i]);
        }
    }
}
