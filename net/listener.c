/* SPDX-License-Identifier: Apache-2.0 */
/* Accepting. Listeners are watched by level, so what one turn leaves in the backlog is reported
 * again; while accepting rests, they wait for nothing. */
#include "net/listener.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "net/network_state.h"
#include "net/socket_address.h"

enum {
    ACCEPTS_PER_TURN = 16, /* the rest is reported again; members wait meanwhile */
    REST_MS = 100,         /* out of descriptors: how long accepting waits for some to come back */
};

struct listener {
    struct loop_watch watch;
    struct list_link link;   /* on listeners.list */
    struct network *network; /* borrowed */
    int fd;                  /* owned; other networks may hold it as well. -1 once it is closed */
    bool is_watched;
    struct listener_settings settings; /* without host and descriptor */
};

static void listeners_on_room(void *context);
static void listeners_on_rested(struct timer *timer, void *context);

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
listeners_init(struct listeners *listeners, struct network *network)
{
    *listeners = (struct listeners){.reserve_fd = reserve_open()};
    list_init(&listeners->list);
    listeners->waiter.wake = listeners_on_room;
    listeners->waiter.context = network;
    listeners->descriptors_low = descriptor_limit() / 5 * 4;
}

/* Waits for newcomers, or no longer. Of the networks that wait for the same ones mostly one is
 * woken. False when that is not to be had. */
static bool
listener_watch(struct listener *listener, bool is_wanted)
{
    struct loop *loop = &listener->network->loop;
    if (is_wanted && !listener->is_watched) {
        listener->is_watched =
            loop_add(loop, &listener->watch, listener->fd, EPOLLIN | EPOLLEXCLUSIVE) == STATUS_OK;
    } else if (!is_wanted && listener->is_watched) {
        loop_remove(loop, listener->fd);
        listener->is_watched = false;
    }
    return listener->is_watched == is_wanted;
}

static void
listener_close(struct listener *listener)
{
    if (listener->fd >= 0) {
        (void)listener_watch(listener, false); /* closing does not, if others hold it too */
        close(listener->fd);
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
    strangers_forget_waiter(network->strangers, &listeners->waiter);
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

static void
listeners_rest(struct network *network)
{
    network->listeners.is_resting = true;
    timer_arm(&network->timers, &network->listeners.rest, network->now_ms + REST_MS,
              listeners_on_rested, network);
}

/* Makes the listeners wait for newcomers, or for nothing. If the system cannot watch one, that is
 * tried again soon. */
static void
listeners_watch(struct network *network)
{
    bool is_wanted = listeners_accept(&network->listeners);
    LIST_FOR_EACH(&network->listeners.list, link)
    {
        struct listener *listener = CONTAINER_OF(link, struct listener, link);
        if (listener->fd >= 0 && !listener_watch(listener, is_wanted)) {
            log_limited(network->log, LOG_LEVEL_ERROR, "listener.not_watched", "reason=\"%s\"",
                        strerrordesc_np(errno));
            listeners_rest(network);
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
                "reason=\"%s\" links=%u", strerrordesc_np(cause),
                network_group_link_count(network->group));
    listeners_rest(network);
    listeners_watch(network);
}

/* Strangers ----------------------------------------------------------------------------------- */

/* Somebody has made room, maybe on another thread. */
static void
listeners_on_room(void *context)
{
    network_call(context);
}

void
listeners_look_for_room(struct network *network)
{
    if (network->listeners.is_full) {
        network->listeners.is_full = false;
        listeners_watch(network);
    }
}

void
listeners_forget(struct network *network, struct link *link)
{
    assert(network->unestablished_count > 0);
    network->unestablished_count--;
    strangers_leave(network->strangers, link->source);
    link->source = NULL;
}

static void
log_too_many(const struct network *network, const char *address)
{
    log_limited(network->log, LOG_LEVEL_WARN, "listener.too_many_strangers", "peer=%s limit=%u",
                address, strangers_per_source_max(network->strangers));
}

bool
listeners_name_source(struct network *network, struct link *link, const char *address)
{
    struct source *source = strangers_move(network->strangers, link->source, address);
    if (source == NULL) {
        log_too_many(network, address);
        return false;
    }
    link->source = source;
    return true;
}

/* A place for one who has not come yet. Without one accepting rests until there is room. */
static bool
listeners_claim_place(struct network *network)
{
    struct listeners *listeners = &network->listeners;
    if (strangers_claim(network->strangers, &listeners->waiter)) {
        return true;
    }
    listeners->is_full = true;
    listeners_watch(network);
    log_limited(network->log, LOG_LEVEL_WARN, "listener.full", "unestablished=%u",
                strangers_count(network->strangers));
    return false;
}

/* Accepting ----------------------------------------------------------------------------------- */

/* Makes a link of an accepted socket, here or in a network that has fewer of them. */
static void
listener_settle(const struct listener *listener, int fd, const struct net_peer *peer,
                struct source *source)
{
    struct network *network = listener->network;
    struct network *target = network_group_emptiest(network->group, network);
    atomic_fetch_add_explicit(&target->load, 1, memory_order_relaxed);
    struct newcomer newcomer = {
        .fd = fd,
        .factory = listener->settings.factory,
        .peer = *peer,
        .source = source,
        .is_behind_proxy = listener->settings.proxies != NULL,
    };
    if (target != network) {
        inbox_put(&target->inbox, &newcomer);
        network_call(target);
    } else {
        network_take_newcomer(network, &newcomer);
    }
}

static bool
listener_trusts(const struct listener *listener, const union socket_address *address)
{
    const struct listener_settings *settings = &listener->settings;
    uint8_t octets[CIDR_ADDRESS_SIZE];
    socket_address_octets(address, octets);
    for (size_t i = 0; i < settings->proxy_count; i++) {
        if (cidr_contains(&settings->proxies[i], octets)) {
            return true;
        }
    }
    return false;
}

/* Counts the newcomer, for whom a place was claimed, under its address. NULL when it is not let in,
 * which is logged; the place is free again then. A proxy brings any number, and which addresses
 * they come from it says later. */
static struct source *
listener_count(const struct listener *listener, const union socket_address *address,
               const struct net_peer *peer)
{
    struct network *network = listener->network;
    if (listener->settings.proxies == NULL) {
        struct source *source = strangers_enter(network->strangers, peer->address);
        if (source == NULL) {
            log_too_many(network, peer->address);
        }
        return source;
    }
    if (listener_trusts(listener, address)) {
        return strangers_enter_by_proxy(network->strangers, peer->address);
    }
    strangers_give_up(network->strangers);
    log_limited(network->log, LOG_LEVEL_WARN, "listener.not_a_proxy", "peer=%s local_port=%u",
                peer->address, (unsigned)peer->local_port);
    return NULL;
}

/* Lets the one who was accepted in, or closes its socket. A place was claimed for it. */
static void
listener_admit(struct listener *listener, int fd, const union socket_address *address)
{
    struct network *network = listener->network;
    struct net_peer peer = {.is_tls = listener->settings.is_tls};
    if (!socket_describe_peer(fd, address, &peer)) {
        strangers_give_up(network->strangers);
        close(fd);
        return;
    }
    if ((uint32_t)fd >= network->listeners.descriptors_low) {
        log_limited(network->log, LOG_LEVEL_WARN, "listener.descriptors_low",
                    "links=%u descriptor=%d", network_group_link_count(network->group), fd);
    }
    /* Who comes through a proxy is not from here, whatever the addresses say. */
    peer.is_loopback = peer.is_loopback && listener->settings.proxies == NULL;
    struct source *source = listener_count(listener, address, &peer);
    if (source == NULL) {
        close(fd);
        return;
    }
    listener_settle(listener, fd, &peer, source);
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
    struct network *network = listener->network;
    if (!listeners_claim_place(network)) {
        return false;
    }
    union socket_address address = {0};
    socklen_t size = sizeof(address);
    int fd = accept4(listener->fd, &address.any, &size, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd >= 0) {
        listener_admit(listener, fd, &address);
        return true;
    }
    int cause = errno;
    strangers_give_up(network->strangers);
    if (is_shortage(cause)) {
        listener_shed(listener, cause);
        return false;
    }
    return cause != EAGAIN && cause != EWOULDBLOCK;
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

/* Takes `fd`. */
static enum status
listener_add(struct network *network, int fd, const struct listener_settings *settings)
{
    struct listener *listener = xalloc(sizeof(*listener));
    listener->watch.ready = listener_on_event;
    listener->network = network;
    listener->fd = fd;
    listener->settings = *settings;
    listener->settings.host = NULL;
    listener->settings.passed_fd = 0;
    list_append(&network->listeners.list, &listener->link);
    if (!listener_watch(listener, listeners_accept(&network->listeners))) {
        list_remove(&listener->link);
        listener_close(listener);
        free(listener);
        return STATUS_IO;
    }
    return STATUS_OK;
}

enum status
listener_open(struct network *network, const struct listener_settings *settings, uint16_t *port_out,
              char *why, size_t why_size)
{
    uint16_t open_port;
    int fd = settings->passed_fd != 0
                 ? listening_socket_take(settings->passed_fd, &open_port, why, why_size)
                 : listening_socket_open(settings->host, settings->port, &open_port, why, why_size);
    if (fd < 0) {
        return STATUS_IO;
    }
    if (listener_add(network, fd, settings) != STATUS_OK) {
        snprintf(why, why_size, "cannot watch the socket of %s: %s", settings->host,
                 strerrordesc_np(errno));
        return STATUS_IO;
    }
    *port_out = open_port;
    return STATUS_OK;
}

enum status
listeners_share(struct network *network, const struct network *first)
{
    LIST_FOR_EACH(&first->listeners.list, link)
    {
        const struct listener *listener = CONTAINER_OF(link, struct listener, link);
        int fd = fcntl(listener->fd, F_DUPFD_CLOEXEC, 0);
        if (fd < 0 || listener_add(network, fd, &listener->settings) != STATUS_OK) {
            return STATUS_IO;
        }
    }
    return STATUS_OK;
}
