/* SPDX-License-Identifier: Apache-2.0 */
/* The handshake is that of AMQP 0-9-1, 2.2.4: header, start, start-ok, tune, tune-ok, open,
 * open-ok. */
#include "cli/amqp/amqp_client.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "amqp/frame.h"
#include "amqp/reply.h"
#include "amqp/table.h"
#include "base/alloc.h"
#include "base/assert.h"
#include "base/clock.h"
#include "cli/amqp/amqp_client_parts.h"

enum {
    ANSWER_WAIT_MS = 20000,
    GOODBYE_WAIT_MS = 2000,
    FRAME_MAX = 128 * 1024,
    HEARTBEAT_S_MAX = 60,
    READ_AHEAD_MAX = 2 * 1024 * 1024,
    CLIENTS_MAX = 256,
    MS_PER_S = 1000,
};

uint64_t
amqp_client_now_ms(void)
{
    struct clock_source clock = clock_system();
    return clock.read(clock.context).monotonic_ms;
}

int
amqp_client_error(const struct amqp_client *client, int status, const char *format, ...)
{
    char text[1024];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    return command_error(client->io, status, "%s %s: %s", client->role, client->address->shown,
                         text);
}

int
amqp_client_break_off(struct amqp_client *client, const char *why)
{
    client->is_broken = true;
    if (client->is_leaving) {
        return COMMAND_UNREACHABLE;
    }
    return amqp_client_error(client, COMMAND_UNREACHABLE,
                             "%s; is a broker behind that address, and does it let you connect?",
                             why);
}

/* Output ------------------------------------------------------------------------------------- */

size_t
amqp_client_output_size(const struct amqp_client *client)
{
    return buffer_size(&client->output);
}

static bool
peer_of(const struct amqp_client *client, struct sockaddr_storage *out, socklen_t *size_out)
{
    *size_out = sizeof(*out);
    memset(out, 0, sizeof(*out));
    return getpeername(client->stream.fd, (struct sockaddr *)out, size_out) == 0;
}

bool
amqp_clients_share_peer(const struct amqp_client *one, const struct amqp_client *other)
{
    struct sockaddr_storage first;
    struct sockaddr_storage second;
    socklen_t first_size;
    socklen_t second_size;
    return peer_of(one, &first, &first_size) && peer_of(other, &second, &second_size) &&
           first_size == second_size && memcmp(&first, &second, first_size) == 0;
}

bool
amqp_client_is_blocked(const struct amqp_client *client)
{
    return client->is_blocked;
}

void
amqp_client_send_on(struct amqp_client *client, uint16_t channel, const struct method *method)
{
    buffer_clear(&client->scratch);
    method_encode(&client->scratch, method);
    frame_encode(&client->output, FRAME_TYPE_METHOD, channel, buffer_bytes(&client->scratch));
    client->output.failed |= client->scratch.failed;
}

void
amqp_client_send(struct amqp_client *client, const struct method *method)
{
    amqp_client_send_on(client, AMQP_CHANNEL, method);
}

void
amqp_client_publish(struct amqp_client *client, const struct basic_publish *publish,
                    struct bytes properties, struct bytes body)
{
    struct method method = {.id = METHOD_BASIC_PUBLISH, .basic_publish = *publish};
    size_t piece_max = client->frame_max - FRAME_OVERHEAD;
    amqp_client_send_on(client, AMQP_CHANNEL, &method);
    buffer_clear(&client->scratch);
    buffer_put_u16(&client->scratch, CLASS_BASIC);
    buffer_put_u16(&client->scratch, 0);
    buffer_put_u64(&client->scratch, body.size);
    buffer_put_bytes(&client->scratch, properties);
    frame_encode(&client->output, FRAME_TYPE_HEADER, AMQP_CHANNEL, buffer_bytes(&client->scratch));
    client->output.failed |= client->scratch.failed;
    for (size_t at = 0; at < body.size; at += piece_max) {
        size_t size = body.size - at < piece_max ? body.size - at : piece_max;
        frame_encode(&client->output, FRAME_TYPE_BODY, AMQP_CHANNEL,
                     bytes_make(body.data + at, size));
    }
}

static void
put_capabilities(struct buffer *table)
{
    static const char *const names[] = {
        "publisher_confirms",           "basic.nack",
        "consumer_cancel_notify",       "connection.blocked",
        "authentication_failure_close",
    };
    struct buffer body;
    buffer_init(&body);
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        table_put_boolean(&body, names[i], true);
    }
    table_put_table(table, "capabilities", buffer_bytes(&body));
    buffer_fini(&body);
}

/* PLAIN (RFC 4616), or EXTERNAL where a certificate says who it is. */
static void
send_login(struct amqp_client *client)
{
    const struct amqp_address *address = client->address;
    bool is_external = address->user == NULL && address->certificate != NULL;
    const char *user = address->user != NULL ? address->user : "guest";
    bool is_guest = strcmp(user, "guest") == 0;
    const char *password = address->password != NULL ? address->password : is_guest ? "guest" : "";
    struct buffer properties;
    struct buffer response;
    buffer_init(&properties);
    buffer_init(&response);
    table_put_text(&properties, "product", bytes_of("bourse"));
    put_capabilities(&properties);
    if (!is_external) {
        buffer_put(&response, "", 1);
        buffer_put_bytes(&response, bytes_of(user));
        buffer_put(&response, "", 1);
        buffer_put_bytes(&response, bytes_of(password));
    }
    struct method method = {
        .id = METHOD_CONNECTION_START_OK,
        .connection_start_ok = {.client_properties = buffer_bytes(&properties),
                                .mechanism = bytes_of(is_external ? "EXTERNAL" : "PLAIN"),
                                .response = buffer_bytes(&response),
                                .locale = bytes_of("en_US")},
    };
    amqp_client_send_on(client, 0, &method);
    buffer_fini(&properties);
    explicit_bzero(response.data, response.end);
    buffer_fini(&response);
}

/* Turning ------------------------------------------------------------------------------------ */

static short
events_of(const struct amqp_client *client)
{
    bool reads = buffer_size(&client->input) < READ_AHEAD_MAX;
    bool writes = buffer_size(&client->output) > 0 || client->stream.wants_write;
    return (short)((reads ? POLLIN : 0) | (writes ? POLLOUT : 0));
}

static int
read_input(struct amqp_client *client, uint64_t now_ms)
{
    switch (amqp_stream_read(&client->stream, &client->input)) {
    case STATUS_OK:
        client->heard_ms = now_ms;
        return COMMAND_OK;
    case STATUS_AGAIN:
        return COMMAND_OK;
    case STATUS_CLOSED:
        return amqp_client_break_off(client, "the broker has ended the connection without a word");
    default:
        return amqp_client_break_off(client, client->stream.error);
    }
}

/* The broker takes no more octets: why not may stand in what it has sent before. */
static int
end_output(struct amqp_client *client)
{
    buffer_clear(&client->output);
    if (amqp_stream_read(&client->stream, &client->input) == STATUS_OK) {
        return COMMAND_OK;
    }
    return amqp_client_break_off(client, client->stream.error);
}

static int
write_output(struct amqp_client *client, uint64_t now_ms)
{
    if (client->output.failed) {
        return amqp_client_break_off(client, "there is no memory for what is to be sent");
    }
    size_t before = buffer_size(&client->output);
    enum status status = amqp_stream_write(&client->stream, &client->output);
    if (status != STATUS_OK && status != STATUS_AGAIN) {
        return end_output(client);
    }
    client->told_ms = buffer_size(&client->output) < before ? now_ms : client->told_ms;
    return COMMAND_OK;
}

/* Both sides send when they have been silent for half of the time, and give up after twice of it.
 */
static int
beat(struct amqp_client *client, uint64_t now_ms)
{
    if (client->heartbeat_ms == 0) {
        return COMMAND_OK;
    }
    if (now_ms - client->heard_ms > 2 * client->heartbeat_ms &&
        buffer_size(&client->input) < READ_AHEAD_MAX) {
        return amqp_client_break_off(client, "the broker has been silent for too long");
    }
    if (now_ms - client->told_ms > client->heartbeat_ms / 2 && buffer_size(&client->output) == 0) {
        buffer_put(&client->output, frame_heartbeat, sizeof(frame_heartbeat));
    }
    return COMMAND_OK;
}

static int
turn(struct amqp_client *client, short ready, uint64_t now_ms)
{
    int result = COMMAND_OK;
    if (buffer_size(&client->output) > 0) {
        result = write_output(client, now_ms);
    }
    bool is_ready = (ready & (POLLIN | POLLERR | POLLHUP)) != 0;
    if (result == COMMAND_OK && (is_ready || client->stream.wants_write)) {
        result = read_input(client, now_ms);
    }
    return result == COMMAND_OK ? beat(client, now_ms) : result;
}

int
amqp_clients_wait(struct amqp_client *const *clients, size_t count, int timeout_ms)
{
    struct pollfd places[CLIENTS_MAX];
    int result = COMMAND_OK;
    assert(count <= CLIENTS_MAX);
    for (size_t i = 0; i < count; i++) {
        places[i] = (struct pollfd){.fd = clients[i]->stream.fd, .events = events_of(clients[i])};
    }
    if (poll(places, count, timeout_ms) < 0) {
        return COMMAND_OK; /* interrupted: whoever calls looks why */
    }
    uint64_t now_ms = amqp_client_now_ms();
    for (size_t i = 0; i < count && result == COMMAND_OK; i++) {
        result = turn(clients[i], places[i].revents, now_ms);
    }
    return result;
}

/* Calls -------------------------------------------------------------------------------------- */

/* Until that method comes; its views live until the next call. */
static int
wait_for_method(struct amqp_client *client, enum method_id wanted, struct amqp_event *event)
{
    uint64_t end_ms = amqp_client_now_ms() + ANSWER_WAIT_MS;
    for (;;) {
        bool has_event;
        int result = amqp_client_next(client, event, &has_event);
        if (result != COMMAND_OK) {
            return result;
        }
        if (has_event && event->method.id == wanted) {
            return COMMAND_OK;
        }
        if (has_event) {
            return amqp_client_break_off(client, "it answers something else than it was asked");
        }
        if (amqp_client_now_ms() >= end_ms) {
            return amqp_client_break_off(client, "it has not answered within 20 s");
        }
        result = amqp_clients_wait(&client, 1, 100);
        if (result != COMMAND_OK) {
            return result;
        }
    }
}

static int
call_on(struct amqp_client *client, uint16_t channel, const struct method *request,
        enum method_id answer, struct method *answer_out)
{
    struct amqp_event event;
    amqp_client_send_on(client, channel, request);
    int result = wait_for_method(client, answer, &event);
    if (result == COMMAND_OK && answer_out != NULL) {
        *answer_out = event.method;
    }
    return result;
}

int
amqp_client_call(struct amqp_client *client, const struct method *request, enum method_id answer,
                 struct method *answer_out)
{
    return call_on(client, AMQP_CHANNEL, request, answer, answer_out);
}

/* Opening and closing ------------------------------------------------------------------------ */

static int
agree_tune(struct amqp_client *client, const struct connection_tune *tune)
{
    uint16_t beat_s = tune->heartbeat > HEARTBEAT_S_MAX ? HEARTBEAT_S_MAX : tune->heartbeat;
    bool is_unlimited = tune->frame_max == 0 || tune->frame_max > FRAME_MAX;
    uint32_t frame_max = is_unlimited ? FRAME_MAX : tune->frame_max;
    if (frame_max < FRAME_MAX_MINIMUM) {
        client->is_broken = true;
        return amqp_client_error(client, COMMAND_UNREACHABLE,
                                 "it wants frames of %" PRIu32
                                 " octets, where AMQP has no fewer than %d",
                                 frame_max, FRAME_MAX_MINIMUM);
    }
    struct method method = {
        .id = METHOD_CONNECTION_TUNE_OK,
        .connection_tune_ok = {.channel_max = tune->channel_max,
                               .frame_max = frame_max,
                               .heartbeat = beat_s},
    };
    amqp_client_send_on(client, 0, &method);
    client->frame_max = frame_max;
    client->heartbeat_ms = (uint64_t)beat_s * MS_PER_S;
    return COMMAND_OK;
}

static int
log_in(struct amqp_client *client)
{
    struct amqp_event event;
    struct method open = {
        .id = METHOD_CONNECTION_OPEN,
        .connection_open = {.virtual_host = bytes_of(client->address->vhost)},
    };
    struct method open_channel = {.id = METHOD_CHANNEL_OPEN};
    buffer_put(&client->output, protocol_header_supported, PROTOCOL_HEADER_SIZE);
    int result = wait_for_method(client, METHOD_CONNECTION_START, &event);
    if (result == COMMAND_OK) {
        send_login(client);
        result = wait_for_method(client, METHOD_CONNECTION_TUNE, &event);
    }
    if (result == COMMAND_OK) {
        result = agree_tune(client, &event.method.connection_tune);
    }
    if (result == COMMAND_OK) {
        result = call_on(client, 0, &open, METHOD_CONNECTION_OPEN_OK, NULL);
    }
    return result == COMMAND_OK
               ? call_on(client, AMQP_CHANNEL, &open_channel, METHOD_CHANNEL_OPEN_OK, NULL)
               : result;
}

int
amqp_client_open(struct amqp_client **client_out, const struct amqp_address *address,
                 const char *role, const struct command_io *io)
{
    struct amqp_client *client = xalloc(sizeof(*client));
    client->address = address;
    client->role = role;
    client->io = io;
    client->frame_max = FRAME_MAX_BEFORE_TUNE;
    client->heard_ms = client->told_ms = amqp_client_now_ms();
    int result = COMMAND_OK;
    if (amqp_stream_open(&client->stream, address) != STATUS_OK) {
        result = amqp_client_break_off(client, client->stream.error);
    }
    if (result == COMMAND_OK) {
        result = log_in(client);
    }
    if (result != COMMAND_OK) {
        amqp_client_close(&client);
    }
    *client_out = client;
    return result;
}

/* What comes on the way out means nothing any more: deliveries go back when the channel ends. */
static void
say_goodbye(struct amqp_client *client)
{
    struct method close = {
        .id = METHOD_CONNECTION_CLOSE,
        .connection_close = {.reply_code = REPLY_SUCCESS, .reply_text = bytes_of("done")},
    };
    uint64_t end_ms = amqp_client_now_ms() + GOODBYE_WAIT_MS;
    struct amqp_event event = {.method = {.id = METHOD_COUNT}};
    int result = COMMAND_OK;
    client->is_leaving = true;
    amqp_client_send_on(client, 0, &close);
    while (result == COMMAND_OK && event.method.id != METHOD_CONNECTION_CLOSE_OK &&
           amqp_client_now_ms() < end_ms) {
        bool has_event;
        result = amqp_client_next(client, &event, &has_event);
        if (result == COMMAND_OK && !has_event) {
            result = amqp_clients_wait(&client, 1, 100);
        }
    }
}

void
amqp_client_close(struct amqp_client **client_pointer)
{
    struct amqp_client *client = *client_pointer;
    if (client == NULL) {
        return;
    }
    *client_pointer = NULL;
    if (!client->is_broken) {
        say_goodbye(client);
    }
    amqp_stream_close(&client->stream);
    buffer_fini(&client->input);
    buffer_fini(&client->output);
    buffer_fini(&client->scratch);
    buffer_fini(&client->content.method);
    buffer_fini(&client->content.properties);
    buffer_fini(&client->content.body);
    free(client);
}
