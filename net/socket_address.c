/* SPDX-License-Identifier: Apache-2.0 */
/* Addresses of sockets. Nothing here waits but the resolver, at start. */
#include "net/socket_address.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
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

void
socket_address_octets(const union socket_address *address, uint8_t out[static CIDR_ADDRESS_SIZE])
{
    if (address->any.sa_family == AF_INET6) {
        memcpy(out, &address->v6.sin6_addr, CIDR_ADDRESS_SIZE);
        return;
    }
    static const uint8_t mapped[] = {[10] = 0xFF, [11] = 0xFF};
    memcpy(out, mapped, sizeof(mapped));
    memcpy(out + sizeof(mapped), &address->v4.sin_addr, sizeof(address->v4.sin_addr));
}

void
socket_address_text(const union socket_address *address, char text[static NET_ADDRESS_SIZE],
                    uint16_t *port_out)
{
    enum { MAPPED_SIZE = 12 };
    bool is_v4 = address->any.sa_family == AF_INET;
    bool is_mapped = !is_v4 && IN6_IS_ADDR_V4MAPPED(&address->v6.sin6_addr);
    uint8_t octets[CIDR_ADDRESS_SIZE];
    socket_address_octets(address, octets);
    const char *written = is_v4 || is_mapped
                              ? inet_ntop(AF_INET, octets + MAPPED_SIZE, text, NET_ADDRESS_SIZE)
                              : inet_ntop(AF_INET6, octets, text, NET_ADDRESS_SIZE);
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
    socket_address_text(address, peer->address, &peer->port);
    socket_address_text(&local, peer->local_address, &peer->local_port);
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
    socket_address_text(&address, text, &port);
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

/* Of a socket that does not listen there is nothing to accept, and of one that is not of TCP nobody
 * could tell the address. */
static bool
is_listening(int fd)
{
    int listens = 0;
    int type = 0;
    int domain = 0;
    socklen_t size = sizeof(int);
    return getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &size) == 0 && listens != 0 &&
           getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size) == 0 && type == SOCK_STREAM &&
           getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &size) == 0 &&
           (domain == AF_INET || domain == AF_INET6);
}

static bool
make_ready(int fd)
{
    int on = 1;
    int flags = fcntl(fd, F_GETFL);
    return flags >= 0 && fcntl(fd, F_SETFL, flags | O_NONBLOCK) == 0 &&
           fcntl(fd, F_SETFD, FD_CLOEXEC) == 0 &&
           setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)) == 0;
}

int
listening_socket_take(int fd, uint16_t *port_out, char *why, size_t why_size)
{
    if (!is_listening(fd)) {
        snprintf(why, why_size, "descriptor %d, which was passed, is no listening socket of TCP",
                 fd);
    } else if (!make_ready(fd)) {
        snprintf(why, why_size, "cannot use descriptor %d, which was passed: %s", fd,
                 strerrordesc_np(errno));
    } else {
        *port_out = port_of(fd);
        return fd;
    }
    close(fd);
    return -1;
}
