/* SPDX-License-Identifier: Apache-2.0 */
/* Accepting. Listeners are watched by level, so what one turn leaves in the backlog is reported
 * again; while accepting rests, they wait for nothing. */
#include "net/listener.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "base/random.h"
#include "net/network_state.h"

enum {
    BACKLOG = 1024,
    ACCEPTS_PER_TURN = 16, /* the rest is reported again; members wait meanwhile */
    REST_MS = 100,         /* out of descriptors: how long accepting waits for some to come back */
};

struct listener {
    struct loop_watch watch;
    struct list_link link;   /* on listeners.list */
    struct network *network; /* borrowed */
    int fd;                  /* owned; -1 once it is closed */
    bool is_tls;
    struct transport_factory factory;
};

/* An address from which strangers come. */
struct source {
    char address[NET_ADDRESS_SIZE];
    uint32_t count; /* of links that are not established */
};

/* Descriptors --------------------------------------------------------------------------------- */

static uint32_t
descriptor_limit(void)
{
    struct rlimit limit;
    int result = getrlimit(RLIMIT_NOFILE, &limit);
    assert(result == 0);
    return limit.rlim_cur > UINT32_MAX ? UINT32_MAX : (uint32_t)limit.rlim_cur;
}

uint32_t
listeners_unestablished_max(void)
{
    uint32_t share = descriptor_limit() / 8;
    return share > 1 ? share : 1;
}

static int
reserve_open(void)
{
    return open("/dev/null", O_RDONLY | O_CLOEXEC);
}

void
listeners_init(struct listeners *listeners)
{
    struct random_source random = random_system();
    *listeners = (struct listeners){.reserve_fd = reserve_open()};
    list_init(&listeners->list);
    map_init(&listeners->sources, random_u64(&random));
    listeners->descriptors_low = descriptor_limit() / 5 * 4;
}

static void
listener_close(struct listener *listener)
{
    if (listener->fd >= 0) {
        close(listener->fd); /* which also ends the watch */
        listener->fd = -1;
    }
}

void
listeners_fini(struct listeners *listeners, struct network *network)
{
    struct list_link *link;
    while ((link = list_pop(&listeners->list)) != NULL) {
        struct listener *listener = CONTAINER_OF(link, struct listener, link);
        listener_close(listener);
        free(listener);
    }
    timer_cancel(&network->timers, &listeners->rest);
    assert(map_count(&listeners->sources) == 0);
    map_fini(&listeners->sources);
    if (listeners->reserve_fd >= 0) {
        close(listeners->reserve_fd);
    }
}

void
listeners_close(struct network *network)
{
    /* An event for one of them may be under way; so their memory stays until the end. */
    LIST_FOR_EACH(&network->listeners.list, link)
    {
        listener_close(CONTAINER_OF(link, struct listener, link));
    }
}

/* Resting ------------------------------------------------------------------------------------- */

static bool
listeners_accept(const struct listeners *listeners)
{
    return !listeners->is_resting && !listeners->is_full;
}

/* Makes the listeners wait for newcomers, or for nothing. */
static void
listeners_watch(struct network *network)
{
    uint32_t events = listeners_accept(&network->listeners) ? EPOLLIN : 0;
    LIST_FOR_EACH(&network->listeners.list, link)
    {
        struct listener *listener = CONTAINER_OF(link, struct listener, link);
        if (listener->fd >= 0) {
            loop_modify(&network->loop, &listener->watch, listener->fd, events);
        }
    }
}

static void
listeners_on_rested(struct timer *timer, void *context)
{
    (void)timer;
    struct network *network = context;
    if (network->listeners.reserve_fd < 0) {
        network->listeners.reserve_fd = reserve_open();
    }
    network->listeners.is_resting = false;
    listeners_watch(network);
}

/* There is no descriptor for a newcomer. Shows one of them out, and rests. */
static void
listener_shed(struct listener *listener, int cause)
{
    struct network *network = listener->network;
    struct listeners *listeners = &network->listeners;
    if (listeners->reserve_fd >= 0) {
        close(listeners->reserve_fd);
        int fd = accept4(listener->fd, NULL, NULL, SOCK_CLOEXEC);
        if (fd >= 0) {
            close(fd);
        }
        listeners->reserve_fd = reserve_open();
    }
    log_limited(network->log, LOG_LEVEL_ERROR, "listener.out_of_descriptors",
                "reason=\"%s\" links=%u", strerrordesc_np(cause), network->link_count);
    listeners->is_resting = true;
    listeners_watch(network);
    timer_arm(&network->timers, &listeners->rest, network->now_ms + REST_MS, listeners_on_rested,
              network);
}

/* Sources ------------------------------------------------------------------------------------- */

/* The source of `address`, counting one more; NULL when it has as many strangers as it may. */
static struct source *
source_enter(struct network *network, const char *address)
{
    struct map *sources = &network->listeners.sources;
    struct source *source = map_get(sources, bytes_of(address));
    if (source == NULL) {
        source = xalloc(sizeof(*source));
        memcpy(source->address, address, strlen(address));
        map_put(sources, bytes_of(source->address), source);
    }
    if (source->count >= network->settings.unestablished_per_source_max) {
        return NULL;
    }
    source->count++;
    return source;
}

static void
source_leave(struct network *network, struct source *source)
{
    assert(source->count > 0);
    source->count--;
    if (source->count == 0) {
        void *removed = map_remove(&network->listeners.sources, bytes_of(source->address));
        assert(removed == source);
        free(source);
    }
}

void
listeners_forget(struct network *network, struct link *link)
{
    assert(network->unestablished_count > 0);
    network->unestablished_count--;
    source_leave(network, link->source);
    link->source = NULL;
    if (network->listeners.is_full) {
        network->listeners.is_full = false;
        listeners_watch(network);
    }
}

/* Accepting ----------------------------------------------------------------------------------- */

/* Listeners are of these two families only. */
union socket_address {
    struct sockaddr any;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
};

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

/* False when the socket is gone already. */
static bool
describe_peer(const struct listener *listener, int fd, const union socket_address *address,
              struct net_peer *peer)
{
    union socket_address local = {0};
    socklen_t size = sizeof(local);
    if (getsockname(fd, &local.any, &size) < 0) {
        return false;
    }
    *peer = (struct net_peer){.is_tls = listener->is_tls, .is_loopback = is_loopback(address)};
    describe_address(address, peer->address, &peer->port);
    describe_address(&local, peer->local_address, &peer->local_port);
    return true;
}

/* Makes a link of an accepted socket, or closes it. */
static void
listener_admit(struct listener *listener, int fd, const union socket_address *address)
{
    struct network *network = listener->network;
    struct net_peer peer;
    if (!describe_peer(listener, fd, address, &peer)) {
        close(fd);
        return;
    }
    if ((uint32_t)fd >= network->listeners.descriptors_low) {
        log_limited(network->log, LOG_LEVEL_WARN, "listener.descriptors_low",
                    "links=%u descriptor=%d", network->link_count, fd);
    }
    struct source *source = source_enter(network, peer.address);
    if (source == NULL) {
        log_limited(network->log, LOG_LEVEL_WARN, "listener.too_many_strangers", "peer=%s limit=%u",
                    peer.address, network->settings.unestablished_per_source_max);
        close(fd);
        return;
    }
    if (link_new(network, fd, &listener->factory, &peer, source) == NULL) {
        log_limited(network->log, LOG_LEVEL_WARN, "listener.no_memory", "peer=%s", peer.address);
    }
    if (network->unestablished_count >= network->settings.unestablished_max) {
        network->listeners.is_full = true;
        listeners_watch(network);
        log_limited(network->log, LOG_LEVEL_WARN, "listener.full", "unestablished=%u",
                    network->unestablished_count);
    }
}

static bool
is_shortage(int cause)
{
    return cause == EMFILE || cause == ENFILE || cause == ENOBUFS || cause == ENOMEM;
}

/* Accepts one newcomer; false when there is none. Errors that belong to a newcomer (it has reset
 * the connection already, its route is gone) are its own business. */
static bool
listener_accept(struct listener *listener)
{
    union socket_address address = {0};
    socklen_t size = sizeof(address);
    int fd = accept4(listener->fd, &address.any, &size, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd >= 0) {
        listener_admit(listener, fd, &address);
        return true;
    }
    if (is_shortage(errno)) {
        listener_shed(listener, errno);
        return false;
    }
    return errno != EAGAIN && errno != EWOULDBLOCK;
}

static void
listener_on_event(struct loop_watch *watch, uint32_t events)
{
    (void)events;
    struct listener *listener = CONTAINER_OF(watch, struct listener, watch);
    for (int i = 0; i < ACCEPTS_PER_TURN; i++) {
        bool may_accept = listener->fd >= 0 && listeners_accept(&listener->network->listeners);
        if (!may_accept || !listener_accept(listener)) {
            break;
        }
    }
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

enum status
listener_open(struct network *network, const char *host, uint16_t port, bool is_tls,
              struct transport_factory factory, uint16_t *port_out, char *why, size_t why_size)
{
    int fd = listen_on(host, port, why, why_size);
    if (fd < 0) {
        return STATUS_IO;
    }
    struct listener *listener = xalloc(sizeof(*listener));
    listener->watch.ready = listener_on_event;
    listener->network = network;
    listener->fd = fd;
    listener->is_tls = is_tls;
    listener->factory = factory;
    uint32_t events = listeners_accept(&network->listeners) ? EPOLLIN : 0;
    if (loop_add(&network->loop, &listener->watch, fd, events) != STATUS_OK) {
        snprintf(why, why_size, "cannot watch the socket of %s: %s", host, strerrordesc_np(errno));
        listener_close(listener);
        free(listener);
        return STATUS_IO;
    }
    list_append(&network->listeners.list, &listener->link);
    *port_out = port_of(fd);
    return STATUS_OK;
}
