/* SPDX-License-Identifier: Apache-2.0 */
/* The plain transport: octets go to the socket as they are. */
#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "net/transport.h"

struct tcp_transport {
    struct transport base;
    int error; /* errno of the last call that failed */
};

static struct tcp_transport *
tcp_of(struct transport *transport)
{
    return CONTAINER_OF(transport, struct tcp_transport, base);
}

/* What a failed call on the socket means. */
static enum status
tcp_failed(struct transport *transport, enum transport_wants wants)
{
    if (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR) {
        transport->wants = wants;
        return STATUS_AGAIN;
    }
    tcp_of(transport)->error = errno;
    return STATUS_IO;
}

static enum status
tcp_handshake(struct transport *transport)
{
    (void)transport;
    return STATUS_OK;
}

static enum status
tcp_read(struct transport *transport, uint8_t *out, size_t size, size_t *size_out)
{
    ssize_t count = recv(transport->fd, out, size, 0);
    if (count < 0) {
        return tcp_failed(transport, TRANSPORT_WANTS_READ);
    }
    if (count == 0) {
        return STATUS_CLOSED;
    }
    transport->is_drained = (size_t)count < size;
    *size_out = (size_t)count;
    return STATUS_OK;
}

static enum status
tcp_write(struct transport *transport, const struct iovec *parts, int part_count, size_t *size_out)
{
    /* MSG_NOSIGNAL: a peer that is gone is an error of this call, not a signal to the process. */
    struct msghdr message = {
        .msg_iov = (struct iovec *)(uintptr_t)parts,
        .msg_iovlen = (size_t)part_count,
    };
    ssize_t count = sendmsg(transport->fd, &message, MSG_NOSIGNAL);
    if (count < 0) {
        return tcp_failed(transport, TRANSPORT_WANTS_WRITE);
    }
    *size_out = (size_t)count;
    return STATUS_OK;
}

static void
tcp_shutdown(struct transport *transport)
{
    (void)transport;
}

static bool
tcp_has_pending(const struct transport *transport)
{
    (void)transport;
    return false;
}

static void
tcp_describe(const struct transport *transport, struct net_peer *peer)
{
    (void)transport;
    peer->is_tls = false;
}

static const char *
tcp_error(const struct transport *transport)
{
    const struct tcp_transport *tcp =
        (const struct tcp_transport *)(const void *)((const char *)transport -
                                                     offsetof(struct tcp_transport, base));
    const char *name = strerrordesc_np(tcp->error);
    return name != NULL ? name : "unknown error";
}

static void
tcp_free(struct transport *transport)
{
    free(tcp_of(transport));
}

static const struct transport_operations tcp_operations = {
    .handshake = tcp_handshake,
    .read = tcp_read,
    .write = tcp_write,
    .shutdown = tcp_shutdown,
    .has_pending = tcp_has_pending,
    .describe = tcp_describe,
    .error = tcp_error,
    .free = tcp_free,
};

static struct transport *
tcp_make(void *context, int fd)
{
    (void)context;
    struct tcp_transport *tcp = try_alloc(sizeof(*tcp));
    if (tcp == NULL) {
        return NULL;
    }
    *tcp = (struct tcp_transport){
        .base = {.operations = &tcp_operations, .fd = fd},
    };
    return &tcp->base;
}

struct transport_factory
transport_factory_tcp(void)
{
    return (struct transport_factory){.make = tcp_make, .context = NULL};
}
