/* SPDX-License-Identifier: Apache-2.0 */
/* Addresses of sockets. Nothing here waits but the resolver, at start. */
#include "net/socket_address.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <unistd.h>

#include "base/assert.h"

enum { BACKLOG = 1024 };

static bool
is_loopback(const union socket_address *address)
{
    if (address->any.sa_family == AF_INET) {
        return ntohl(address->v4.sin_addr.s_addr) >> 24 == 127;
    }
    const struct in6_addr *v6 = &address->v6.sin6_addr;
    return IN6_IS_ADDR_LOOPBACK(v6) || (IN6_IS_ADDR_V4MAPPED(v6) && v6->s6_addr[12] == 127);
}

static void
describe_address(const union socket_address *address, char text[static NET_ADDRESS_SIZE],
                 uint16_t *port_out)
{
    bool is_v4 = address->any.sa_family == AF_INET;
    const void *octets =
        is_v4 ? (const void *)&address->v4.sin_addr : (const void *)&address->v6.sin6_addr;
    const char *written = inet_ntop(address->any.sa_family, octets, text, NET_ADDRESS_SIZE);
    assert(written != NULL);
    *port_out = ntohs(is_v4 ? address->v4.sin_port : address->v6.sin6_port);
}

bool
socket_describe_peer(int fd, const union socket_address *address, struct net_peer *peer)
{
    union socket_address local = {0};
    socklen_t size = sizeof(local);
    if (getsockname(fd, &local.any, &size) < 0) {
        return false;
    }
    peer->is_loopback = is_loopback(address);
    describe_address(address, peer->address, &peer->port);
    describe_address(&local, peer->local_address, &peer->local_port);
    return true;
}

/* Listening ----------------------------------------------------------------------------------- */

/* Options, address and backlog of a new socket. TCP_NODELAY goes over to accepted sockets. */
static bool
socket_listen(int fd, const struct addrinfo *address)
{
    int on = 1;
    if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) < 0 ||
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)) < 0) {
        return false;
    }
    if (address->ai_family == AF_INET6 &&
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on)) < 0) {
        return false;
    }
    return bind(fd, address->ai_addr, address->ai_addrlen) == 0 && listen(fd, BACKLOG) == 0;
}

/* A listening socket on the first of `addresses` that works; -1 with errno of the last. */
static int
listen_on_one(const struct addrinfo *addresses)
{
    errno = EADDRNOTAVAIL;
    for (const struct addrinfo *at = addresses; at != NULL; at = at->ai_next) {
        int fd = socket(at->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        if (fd < 0) {
            continue;
        }
        if (socket_listen(fd, at)) {
            return fd;
        }
        int cause = errno;
        close(fd);
        errno = cause;
    }
    return -1;
}

/* Resolves and listens; -1 with the reason in `why`. */
static int
listen_on(const char *host, uint16_t port, char *why, size_t why_size)
{
    char service[8];
    snprintf(service, sizeof(service), "%u", port);
    struct addrinfo hints = {
        .ai_family = AF_UNSPEC,
        .ai_socktype = SOCK_STREAM,
        .ai_flags = AI_PASSIVE | AI_NUMERICSERV,
    };
    struct addrinfo *addresses;
    int result = getaddrinfo(host, service, &hints, &addresses);
    if (result != 0) {
        snprintf(why, why_size, "cannot resolve %s: %s", host, gai_strerror(result));
        return -1;
    }
    int fd = listen_on_one(addresses);
    if (fd < 0) {
        snprintf(why, why_size, "cannot listen on %s port %u: %s", host, port,
                 strerrordesc_np(errno));
    }
    freeaddrinfo(addresses);
    return fd;
}

static uint16_t
port_of(int fd)
{
    union socket_address address = {0};
    socklen_t size = sizeof(address);
    int result = getsockname(fd, &address.any, &size);
    assert(result == 0);
    char text[NET_ADDRESS_SIZE];
    uint16_t port;
    describe_address(&address, text, &port);
    return port;
}

int
listening_socket_open(const char *host, uint16_t port, uint16_t *port_out, char *why,
                      size_t why_size)
{
    int fd = listen_on(host, port, why, why_size);
    if (fd >= 0) {
        *port_out = port_of(fd);
    }
    return fd;
}
