/* SPDX-License-Identifier: Apache-2.0 */
/* One turn takes actions, writes, reports what was written, reads, and shows the core all of it at
 * once. */
#include "net/network_thread.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdalign.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "base/bell.h"
#include "base/short_turns.h"
#include "net/seam_ring.h"

enum {
    TURN_OCTETS_MAX = 1024 * 1024,
    /* Octets of bodies that may be on their way to the core before input rests, however small
     * their items are: what one thread reads in a tick. */
    BODY_OCTETS_MAX = 1024 * 1024,
};

struct network_thread {
    pthread_t thread;
    bool is_running;
    atomic_bool is_asked_to_end;
    struct bell bell;        /* the thread sleeps on it */
    struct ring *events;     /* owned */
    struct ring *actions;    /* owned */
    struct network *network; /* owned; the thread's */
    struct net_port port;    /* of the network; the thread's */

    /* Each side writes its own with every item. */
    alignas(ALLOC_APART) struct seam_network_end network_end;
    bool holds_input; /* the thread's */
    alignas(ALLOC_APART) struct seam_core_end core_end;
    _Atomic uint64_t taken_octets; /* of bodies, by the core */

    /* To be taken, with its input at rest: the core rings then. */
    alignas(ALLOC_APART) atomic_bool waits_for_bodies;
};

/* Life ---------------------------------------------------------------------------------------- */

static void
post_event(void *context, const struct net_event *event)
{
    struct network_thread *thread = context;
    seam_post_event(&thread->network_end, event);
}

static void
make_rings(struct network_thread *thread, const struct network_thread_settings *settings)
{
    thread->events = ring_new(settings->ring_octets_max, settings->core, &thread->bell);
    thread->actions = ring_new(settings->ring_octets_max, &thread->bell, settings->core);
    seam_network_end_init(&thread->network_end, thread->events, thread->actions);
    seam_core_end_init(&thread->core_end, thread->events, thread->actions);
}

struct network_thread *
network_thread_new(const struct network_thread_settings *settings)
{
    struct network_thread *thread = xalloc_apart(sizeof(*thread));
    struct net_events events = {.handle = post_event, .context = thread};
    if (bell_open(&thread->bell) != STATUS_OK) {
        free(thread);
        return NULL;
    }
    make_rings(thread, settings);
    thread->network = network_new(&settings->network, settings->group, settings->memory,
                                  &settings->clock, settings->log, &events);
    if (thread->network == NULL || network_use_bell(thread->network, &thread->bell) != STATUS_OK) {
        network_thread_free(&thread);
        return NULL;
    }
    thread->port = network_port(thread->network);
    return thread;
}

void
network_thread_stop(struct network_thread *thread)
{
    if (thread->is_running) {
        atomic_store(&thread->is_asked_to_end, true);
        bell_ring(&thread->bell);
        int result = pthread_join(thread->thread, NULL);
        assert(result == 0);
        thread->is_running = false;
    }
}

void
network_thread_free(struct network_thread **thread_pointer)
{
    struct network_thread *thread = *thread_pointer;
    if (thread == NULL) {
        return;
    }
    int cause = errno;
    network_thread_stop(thread);
    network_free(&thread->network);
    ring_free(&thread->events);
    ring_free(&thread->actions);
    bell_close(&thread->bell);
    free(thread);
    *thread_pointer = NULL;
    errno = cause;
}

struct network *
network_thread_network(struct network_thread *thread)
{
    return thread->network;
}

/* The thread ---------------------------------------------------------------------------------- */

static bool
has_many_bodies_posted(const struct network_thread *thread)
{
    return thread->network_end.posted_octets - atomic_load(&thread->taken_octets) > BODY_OCTETS_MAX;
}

/* What the core has no room or no time for waits here; to read more would make it grow. */
static bool
input_must_rest(const struct network_thread *thread)
{
    return ring_overflow_octets(thread->events) > 0 || has_many_bodies_posted(thread);
}

/* Asked once more after sleep was announced: who has made work since then rings. */
static bool
has_work(const struct network_thread *thread)
{
    return (thread->holds_input && !input_must_rest(thread)) || ring_has_items(thread->actions) ||
           ring_can_move(thread->events) || network_has_work(thread->network) ||
           atomic_load(&thread->is_asked_to_end);
}

static void
wait_for_work(struct network_thread *thread)
{
    if (has_work(thread)) {
        network_wait(thread->network, 0);
        return;
    }
    bell_announce_sleep(&thread->bell);
    network_wait(thread->network, has_work(thread) ? 0 : UINT64_MAX);
    bell_end_sleep(&thread->bell);
}

/* Says that it waits before has_work looks what was taken, all seq_cst, so that either the core
 * sees that it is to ring or the thread that it is not to sleep. */
static void
hold_input(struct network_thread *thread)
{
    thread->holds_input = input_must_rest(thread);
    bool waits_for_bodies = has_many_bodies_posted(thread);
    if (waits_for_bodies != atomic_load(&thread->waits_for_bodies)) {
        atomic_store(&thread->waits_for_bodies, waits_for_bodies);
    }
    network_hold_input(thread->network, thread->holds_input);
}

static void
turn(struct network_thread *thread)
{
    wait_for_work(thread);
    (void)seam_take_actions(&thread->network_end, TURN_OCTETS_MAX, &thread->port);
    network_flush(thread->network);
    seam_report_passed(&thread->network_end);
    network_read(thread->network);
    ring_flush(thread->events);
    hold_input(thread);
}

static void *
run(void *context)
{
    struct network_thread *thread = context;
    short_turns_ask();
    while (!atomic_load(&thread->is_asked_to_end)) {
        turn(thread);
    }
    return NULL;
}

enum status
network_thread_start(struct network_thread *thread, uint32_t number)
{
    sigset_t all;
    sigset_t before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int result = pthread_create(&thread->thread, NULL, run, thread);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (result != 0) {
        errno = result;
        return STATUS_IO;
    }
    thread->is_running = true;
    char name[16];
    (void)snprintf(name, sizeof(name), "bourse-net-%u", number);
    (void)pthread_setname_np(thread->thread, name);
    return STATUS_OK;
}

/* The core's side ----------------------------------------------------------------------------- */

void
network_thread_post(struct network_thread *thread, const struct net_action *action)
{
    seam_post_action(&thread->core_end, action);
}

/* Lets input go on that rests for bodies. Comes behind the tick's actions, so that links that they
 * pause are not read once more before. */
static void
show_taken(struct network_thread *thread)
{
    if (thread->core_end.taken_octets ==
        atomic_load_explicit(&thread->taken_octets, memory_order_relaxed)) {
        return;
    }
    atomic_store(&thread->taken_octets, thread->core_end.taken_octets);
    if (atomic_load(&thread->waits_for_bodies)) {
        bell_ring(&thread->bell);
    }
}

void
network_thread_flush(struct network_thread *thread, uint64_t tick)
{
    seam_flush_actions(&thread->core_end, tick);
    show_taken(thread);
}

size_t
network_thread_take(struct network_thread *thread, size_t octets_max,
                    const struct net_events *events)
{
    return seam_take_events(&thread->core_end, octets_max, events);
}

bool
network_thread_has_work(const struct network_thread *thread)
{
    return ring_has_items(thread->events) || ring_can_move(thread->actions);
}

uint64_t
network_thread_passed(const struct network_thread *thread, uint64_t tick)
{
    const struct seam_core_end *end = &thread->core_end;
    return end->passed_tick == end->named_tick ? tick : end->passed_tick;
}

void
network_thread_drain(struct network_thread *thread, const struct net_events *events)
{
    assert(!thread->is_running);
    do {
        ring_flush(thread->events);
    } while (network_thread_take(thread, SIZE_MAX, events) > 0);
    do {
        ring_flush(thread->actions);
    } while (seam_take_actions(&thread->network_end, SIZE_MAX, &thread->port) > 0);
}
