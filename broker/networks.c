/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/networks.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "base/bell.h"
#include "base/list.h"
#include "net/loop.h"
#include "net/network_group.h"
#include "net/network_thread.h"

enum {
    RING_OCTETS = 1024 * 1024,
    /* Items that one tick takes: some thousand messages, whose contents still fit a cache. */
    TAKE_OCTETS_MAX = 256 * 1024,
};

/* A descriptor that the core's own loop watches. */
struct networks_watch {
    struct loop_watch watch;
    struct list_link link;
    network_watch_callback *ready;
    void *context;
};

struct networks {
    struct net_events events;
    struct network_group *group; /* owned */
    struct network *first;       /* the one that listens first; owned if it has no thread */

    /* With threads only. */
    struct network_thread **threads; /* owned, and so is what they point at */
    uint32_t thread_count;           /* that exist; 0: plain calls */
    uint32_t take_first;             /* whose events come first in the next tick; any number */
    bool has_posted;                 /* something that the threads have not been shown */
    struct bell bell;                /* the core sleeps on it */
    struct loop loop;
    struct loop_watch rung;
    struct list watches; /* of struct networks_watch; owned */
};

/* Life ---------------------------------------------------------------------------------------- */

static bool
make_direct(struct networks *networks, const struct networks_settings *settings)
{
    networks->first = network_new(&settings->network, networks->group, chunk_memory_anonymous(),
                                  &settings->clock, settings->log, &networks->events);
    return networks->first != NULL;
}

static void
on_rung(struct loop_watch *watch, uint32_t events)
{
    (void)watch;
    (void)events; /* networks_poll reads the descriptor */
}

static bool
make_loop(struct networks *networks)
{
    if (bell_open(&networks->bell) != STATUS_OK) {
        return false;
    }
    networks->rung.ready = on_rung;
    if (loop_init(&networks->loop) != STATUS_OK) {
        bell_close(&networks->bell);
        return false;
    }
    return loop_add(&networks->loop, &networks->rung, networks->bell.fd, EPOLLIN) == STATUS_OK;
}

static bool
make_threads(struct networks *networks, const struct networks_settings *settings)
{
    struct network_thread_settings thread = {
        .network = settings->network,
        .group = networks->group,
        .memory = chunk_memory_anonymous(),
        .clock = settings->clock,
        .log = settings->log,
        .core = &networks->bell,
        .ring_octets_max = RING_OCTETS,
    };
    if (!make_loop(networks)) {
        return false;
    }
    networks->threads = xalloc(settings->thread_count * sizeof(struct network_thread *));
    while (networks->thread_count < settings->thread_count) {
        struct network_thread *made = network_thread_new(&thread);
        if (made == NULL) {
            return false;
        }
        networks->threads[networks->thread_count++] = made;
    }
    networks->first = network_thread_network(networks->threads[0]);
    return true;
}

struct networks *
networks_new(const struct networks_settings *settings, const struct net_events *events, char *why,
             size_t why_size)
{
    assert(settings->thread_count < NET_NETWORKS_MAX);
    struct networks *networks = xalloc(sizeof(*networks));
    networks->events = *events;
    networks->group = network_group_new(&settings->network);
    networks->bell.fd = -1;
    networks->loop.epoll_fd = -1;
    list_init(&networks->watches);
    bool is_made = settings->thread_count == 0 ? make_direct(networks, settings)
                                               : make_threads(networks, settings);
    if (!is_made) {
        (void)snprintf(why, why_size, "cannot set up the event loop: %s", strerror(errno));
        networks_free(&networks);
    }
    return networks;
}

void
networks_stop(struct networks *networks)
{
    for (uint32_t i = 0; i < networks->thread_count; i++) {
        network_thread_stop(networks->threads[i]);
    }
    for (uint32_t i = 0; i < networks->thread_count; i++) {
        network_thread_drain(networks->threads[i], &networks->events);
    }
}

static void
free_threads(struct networks *networks)
{
    for (uint32_t i = 0; i < networks->thread_count; i++) {
        network_thread_free(&networks->threads[i]);
    }
    free(networks->threads);
    struct list_link *link;
    while ((link = list_pop(&networks->watches)) != NULL) {
        free(CONTAINER_OF(link, struct networks_watch, link));
    }
    if (networks->loop.epoll_fd >= 0) {
        loop_fini(&networks->loop);
    }
    bell_close(&networks->bell);
}

void
networks_free(struct networks **networks_pointer)
{
    struct networks *networks = *networks_pointer;
    if (networks == NULL) {
        return;
    }
    if (networks->threads == NULL) {
        network_free(&networks->first);
    }
    free_threads(networks);
    network_group_free(&networks->group);
    free(networks);
    *networks_pointer = NULL;
}

struct chunk_writer *
networks_shared_writer(struct networks *networks)
{
    return networks->thread_count == 0 ? network_chunk_writer(networks->first) : NULL;
}

/* Posting ------------------------------------------------------------------------------------- */

static void
post(void *context, const struct net_action *action)
{
    struct networks *networks = context;
    uint32_t number = net_link_network(action->link);
    assert(number < networks->thread_count);
    networks->has_posted = true;
    network_thread_post(networks->threads[number], action);
}

struct net_port
networks_port(struct networks *networks)
{
    return networks->thread_count == 0 ? network_port(networks->first)
                                       : (struct net_port){.post = post, .context = networks};
}

/* Listening ----------------------------------------------------------------------------------- */

enum status
networks_listen(struct networks *networks, const struct listener_settings *settings,
                uint16_t *port_out, char *why, size_t why_size)
{
    return network_listen(networks->first, settings, port_out, why, why_size);
}

/* All of them accept what the first one listens for. */
static bool
share_listeners(struct networks *networks)
{
    for (uint32_t i = 1; i < networks->thread_count; i++) {
        struct network *network = network_thread_network(networks->threads[i]);
        if (network_share_listeners(network, networks->first) != STATUS_OK) {
            return false;
        }
    }
    return true;
}

enum status
networks_start(struct networks *networks, char *why, size_t why_size)
{
    if (!share_listeners(networks)) {
        (void)snprintf(why, why_size, "cannot share a listening socket: %s", strerror(errno));
        return STATUS_IO;
    }
    for (uint32_t i = 0; i < networks->thread_count; i++) {
        if (network_thread_start(networks->threads[i], i + 1) != STATUS_OK) {
            (void)snprintf(why, why_size, "cannot start network thread %u of %u: %s", i + 1,
                           networks->thread_count, strerror(errno));
            return STATUS_IO;
        }
    }
    return STATUS_OK;
}

void
networks_stop_listening(struct networks *networks)
{
    if (networks->thread_count == 0) {
        network_stop_listening(networks->first);
        return;
    }
    for (uint32_t i = 0; i < networks->thread_count; i++) {
        network_ask_to_stop_listening(network_thread_network(networks->threads[i]));
    }
}

/* Waiting ------------------------------------------------------------------------------------- */

static void
on_watch(struct loop_watch *watch, uint32_t events)
{
    (void)events;
    struct networks_watch *watched = CONTAINER_OF(watch, struct networks_watch, watch);
    watched->ready(watched->context);
}

enum status
networks_watch(struct networks *networks, int fd, network_watch_callback *ready, void *context)
{
    if (networks->thread_count == 0) {
        return network_watch(networks->first, fd, ready, context);
    }
    struct networks_watch *watched = xalloc(sizeof(*watched));
    watched->watch.ready = on_watch;
    watched->ready = ready;
    watched->context = context;
    if (loop_add(&networks->loop, &watched->watch, fd, EPOLLIN) != STATUS_OK) {
        free(watched);
        return STATUS_IO;
    }
    list_append(&networks->watches, &watched->link);
    return STATUS_OK;
}

bool
networks_has_work(const struct networks *networks)
{
    if (networks->thread_count == 0) {
        return network_has_work(networks->first);
    }
    for (uint32_t i = 0; i < networks->thread_count; i++) {
        if (network_thread_has_work(networks->threads[i])) {
            return true;
        }
    }
    return networks->has_posted;
}

/* Asks for work once more after sleep was announced: who has made some since then rings. */
static void
wait_for_work(struct networks *networks, uint64_t wait_ms)
{
    if (wait_ms == 0 || networks_has_work(networks)) {
        loop_wait(&networks->loop, 0);
        return;
    }
    bell_announce_sleep(&networks->bell);
    loop_wait(&networks->loop, networks_has_work(networks) ? 0 : wait_ms);
    bell_end_sleep(&networks->bell);
}

/* Each tick begins with another thread, since the first ones may use up what a tick takes. */
static void
take_events(struct networks *networks)
{
    size_t octets = 0;
    uint32_t count = networks->thread_count;
    assert(count > 0);
    for (uint32_t i = 0; i < count && octets < TAKE_OCTETS_MAX; i++) {
        struct network_thread *thread = networks->threads[(networks->take_first + i) % count];
        octets += network_thread_take(thread, TAKE_OCTETS_MAX - octets, &networks->events);
    }
    networks->take_first = (networks->take_first + 1) % count;
}

void
networks_poll(struct networks *networks, uint64_t wait_ms)
{
    if (networks->thread_count == 0) {
        network_poll(networks->first, wait_ms);
        return;
    }
    wait_for_work(networks, wait_ms);
    loop_dispatch(&networks->loop);
    take_events(networks);
}

/* The end of a tick --------------------------------------------------------------------------- */

void
networks_flush(struct networks *networks, uint64_t tick)
{
    if (networks->thread_count == 0) {
        network_flush(networks->first);
        return;
    }
    networks->has_posted = false;
    for (uint32_t i = 0; i < networks->thread_count; i++) {
        network_thread_flush(networks->threads[i], tick);
    }
}

uint64_t
networks_passed(const struct networks *networks, uint64_t tick)
{
    uint64_t passed = tick;
    for (uint32_t i = 0; i < networks->thread_count; i++) {
        uint64_t of_this = network_thread_passed(networks->threads[i], tick);
        passed = of_this < passed ? of_this : passed;
    }
    return passed;
}

uint32_t
networks_link_count(const struct networks *networks)
{
    return network_group_link_count(networks->group);
}

void
networks_allow(struct networks *networks, uint64_t octets)
{
    network_group_allow(networks->group, octets);
}
