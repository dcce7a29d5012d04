/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/fuzz/client.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "amqp/frame.h"
#include "amqp/properties.h"
#include "base/alloc.h"
#include "base/assert.h"
#include "tests/support/alloc_faults.h"

/* What the broker sends ----------------------------------------------------------------------- */

static void
answer_close(struct client *client, const struct frame *frame, const struct method *method)
{
    enum method_id answer = METHOD_COUNT;
    if (method->id == METHOD_CHANNEL_CLOSE) {
        assert(method->channel_close.reply_code != 541);
        answer = METHOD_CHANNEL_CLOSE_OK;
    } else if (method->id == METHOD_CONNECTION_CLOSE) {
        assert(method->connection_close.reply_code != 541);
        answer = METHOD_CONNECTION_CLOSE_OK;
    }
    if (client->answers && answer != METHOD_COUNT) {
        client_send_method(client, frame->channel, &(struct method){.id = answer});
    }
    if (client->answers && answer == METHOD_CHANNEL_CLOSE_OK) {
        client_send_method(client, frame->channel, &(struct method){.id = METHOD_CHANNEL_OPEN});
    }
}

static void
hear_method(struct client *client, const struct frame *frame)
{
    struct method method;
    struct fault fault;
    enum status status = method_decode(&method, frame->payload, &fault);
    assert(status == STATUS_OK);
    const struct method_info *info = method_info(method.id);
    assert((info->sender & METHOD_SENDER_SERVER) != 0);
    assert((info->class_id == CLASS_CONNECTION) == (frame->channel == 0));
    assert(!client->header_is_due);
    assert(client->body_left == 0);
    /* Behind a close only the answer to the peer's own. */
    bool is_end = method.id == METHOD_CONNECTION_CLOSE || method.id == METHOD_CONNECTION_CLOSE_OK;
    assert(!client->heard_close || method.id == METHOD_CONNECTION_CLOSE_OK);
    client->heard_close = client->heard_close || is_end;
    client->method_counts[method.id]++;
    client->header_is_due = info->has_content;
    client->content_channel = frame->channel;
    answer_close(client, frame, &method);
}

static void
hear_header(struct client *client, const struct frame *frame)
{
    struct content_header header;
    struct properties properties;
    struct fault fault;
    assert(client->header_is_due);
    assert(frame->channel == client->content_channel);
    enum status status = content_header_decode(&header, frame->payload, &fault);
    assert(status == STATUS_OK);
    status = properties_decode(&properties, header.properties, &fault);
    assert(status == STATUS_OK);
    client->header_is_due = false;
    client->body_left = header.body_size;
}

static void
hear_frame(struct client *client, const struct frame *frame)
{
    switch (frame->type) {
    case FRAME_TYPE_METHOD:
        hear_method(client, frame);
        break;
    case FRAME_TYPE_HEADER:
        hear_header(client, frame);
        break;
    case FRAME_TYPE_BODY:
        assert(!client->header_is_due);
        assert(frame->channel == client->content_channel);
        assert(frame->payload.size > 0);
        assert(frame->payload.size <= client->body_left);
        client->body_left -= frame->payload.size;
        break;
    case FRAME_TYPE_HEARTBEAT:
        assert(client->body_left == 0);
        assert(!client->header_is_due);
        break;
    }
}

/* Frames, but for the one answer to a wrong protocol header. */
static void
hear(struct client *client)
{
    struct frame frame;
    struct fault fault;
    struct bytes octets = buffer_bytes(&client->received);
    if (octets.size > 0 && octets.data[0] == protocol_header_supported[0]) {
        assert(octets.size <= PROTOCOL_HEADER_SIZE);
        assert(memcmp(octets.data, protocol_header_supported, octets.size) == 0);
        return;
    }
    enum status status;
    while ((status = frame_decode(&frame, buffer_bytes(&client->received), client->frame_max, NULL,
                                  &fault)) == STATUS_OK) {
        assert(frame.payload.size + FRAME_OVERHEAD <= client->frame_max);
        hear_frame(client, &frame);
        buffer_consume(&client->received, frame.payload.size + FRAME_OVERHEAD);
    }
    assert(status == STATUS_AGAIN);
}

/* The transport ------------------------------------------------------------------------------- */

struct memory_transport {
    struct transport base;
    struct client *client;
    uint32_t connection; /* of the client */
};

static const uint32_t NO_CONNECTION = UINT32_MAX;

/* NULL when the client has gone on to another connection, or never made this one. */
static struct client *
client_of(const struct transport *transport)
{
    const struct memory_transport *memory = (const void *)transport;
    return memory->connection == memory->client->connection ? memory->client : NULL;
}

static enum status
memory_handshake(struct transport *transport)
{
    (void)transport;
    return STATUS_OK;
}

static enum status
memory_read(struct transport *transport, uint8_t *out, size_t size, size_t *size_out)
{
    struct client *client = client_of(transport);
    if (client == NULL) {
        return STATUS_CLOSED;
    }
    size_t there = buffer_size(&client->sent);
    if (there == 0) {
        transport->wants = TRANSPORT_WANTS_READ;
        return client->has_ended ? STATUS_CLOSED : STATUS_AGAIN;
    }
    size = size < there ? size : there;
    size = size < client->read_max ? size : client->read_max;
    memcpy(out, buffer_bytes(&client->sent).data, size);
    buffer_consume(&client->sent, size);
    *size_out = size;
    return STATUS_OK;
}

static enum status
memory_write(struct transport *transport, const struct iovec *parts, int part_count,
             size_t *size_out)
{
    struct client *client = client_of(transport);
    if (client == NULL) {
        errno = EPIPE;
        return STATUS_IO;
    }
    if (client->is_stuck) {
        transport->wants = TRANSPORT_WANTS_WRITE;
        return STATUS_AGAIN;
    }
    size_t size = 0;
    bool held = alloc_faults_hold(true); /* what fails is the broker's memory, not ours */
    for (int i = 0; i < part_count; i++) {
        buffer_put(&client->received, parts[i].iov_base, parts[i].iov_len);
        size += parts[i].iov_len;
    }
    assert(size > 0);
    *size_out = size;
    hear(client);
    (void)alloc_faults_hold(held);
    return STATUS_OK;
}

static void
memory_shutdown(struct transport *transport)
{
    (void)transport;
}

static bool
memory_has_pending(const struct transport *transport)
{
    (void)transport;
    return false;
}

static void
memory_describe(const struct transport *transport, struct net_peer *peer)
{
    (void)transport;
    peer->is_tls = false;
}

static const char *
memory_error(const struct transport *transport)
{
    (void)transport;
    return "none";
}

static void
memory_free(struct transport *transport)
{
    free(transport);
}

static const struct transport_operations memory_operations = {
    .handshake = memory_handshake,
    .read = memory_read,
    .write = memory_write,
    .shutdown = memory_shutdown,
    .has_pending = memory_has_pending,
    .describe = memory_describe,
    .error = memory_error,
    .free = memory_free,
};

/* Whether the client has made that connection. Another process may find the port open: that is
 * nobody, and hears so. */
static bool
is_of_client(const struct client *client, int fd)
{
    struct sockaddr_in address = {0};
    socklen_t size = sizeof(address);
    int done = getpeername(fd, (struct sockaddr *)&address, &size);
    return done == 0 && client->bell < 0 && address.sin_port == client->port;
}

/* The accepted socket gives its place to one end of a pair: what happens on a pair happens before
 * the call returns, so that a run is repeatable. */
static struct transport *
memory_make(void *context, int fd)
{
    struct client **accepted = context;
    struct linger linger = {.l_onoff = 1}; /* of thousands of sockets none stays in TIME_WAIT */
    int set = setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
    assert(set == 0);
    struct memory_transport *transport = xalloc(sizeof(*transport));
    *transport = (struct memory_transport){
        .base = {.operations = &memory_operations, .fd = fd},
        .client = *accepted,
        .connection = NO_CONNECTION,
    };
    if (!is_of_client(*accepted, fd)) {
        return &transport->base;
    }
    transport->connection = (*accepted)->connection;
    int pair[2];
    int made = socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair);
    assert(made == 0);
    int placed = dup3(pair[1], fd, O_CLOEXEC);
    assert(placed == fd);
    close(pair[1]);
    (*accepted)->bell = pair[0];
    return &transport->base;
}

struct transport_factory
client_factory(struct client **accepted)
{
    return (struct transport_factory){.make = memory_make, .context = accepted};
}

/* The client ---------------------------------------------------------------------------------- */

void
client_init(struct client *client)
{
    *client = (struct client){.bell = -1, .read_max = SIZE_MAX, .frame_max = 131072};
}

void
client_fini(struct client *client)
{
    if (client->bell >= 0) {
        close(client->bell);
    }
    buffer_fini(&client->sent);
    buffer_fini(&client->received);
    client->bell = -1;
}

void
client_renew(struct client *client)
{
    uint32_t connection = client->connection;
    client_fini(client);
    client_init(client);
    client->connection = connection + 1;
}

void
client_send(struct client *client, struct bytes octets)
{
    buffer_put_bytes(&client->sent, octets);
    assert(!client->sent.failed);
}

void
client_send_method(struct client *client, uint16_t channel, const struct method *method)
{
    struct buffer payload;
    buffer_init(&payload);
    method_encode(&payload, method);
    frame_encode(&client->sent, FRAME_TYPE_METHOD, channel, buffer_bytes(&payload));
    buffer_fini(&payload);
}

void
client_ring(struct client *client)
{
    /* Nobody reads these octets. When no more of them fit, the broker has ended the link or will
     * be woken by those that are there. */
    (void)send(client->bell, "", 1, MSG_NOSIGNAL | MSG_DONTWAIT);
}

bool
client_is_over(const struct client *client)
{
    if (client->bell < 0 || client->has_ended || client->heard_close) {
        return true;
    }
    /* The broker never writes to the socket, so this tells whether it has closed it. */
    uint8_t octet;
    return recv(client->bell, &octet, 1, MSG_DONTWAIT) >= 0 || errno != EAGAIN;
}

void
client_hang_up(struct client *client)
{
    client->has_ended = true;
    (void)shutdown(client->bell, SHUT_WR);
}
