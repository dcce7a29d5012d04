/* SPDX-License-Identifier: Apache-2.0 */
/* A network with a thread of its own, and the rings that join it with the core. The thread never
 * waits but for descriptors: if the core is slow it stops reading sockets, and goes on writing.
 *
 * Owner: the core thread. What is the thread's alone is only touched before it starts and after it
 * has ended. */
#ifndef BOURSE_NET_NETWORK_THREAD_H
#define BOURSE_NET_NETWORK_THREAD_H

#include "net/network.h"

struct network_thread;

struct network_thread_settings {
    struct network_settings network;
    struct network_group *group; /* borrowed */
    struct chunk_memory memory;
    struct clock_source clock;
    struct log *log;        /* borrowed */
    struct bell *core;      /* borrowed; rung when there is something for the core */
    size_t ring_octets_max; /* of either ring; a power of two */
};

/* Makes the network and the rings; nothing runs yet. NULL with errno set when there are no
 * descriptors to be had. */
struct network_thread *network_thread_new(const struct network_thread_settings *settings);

/* Ends the thread, if it runs, after the turn that it is in. */
void network_thread_stop(struct network_thread *thread);

/* Frees it. What is in the rings is lost: network_thread_drain takes it first. */
void network_thread_free(struct network_thread **thread);

/* Starts the thread, with the name bourse-net-`number` and all signals blocked. STATUS_IO: errno
 * says why there is none. */
MUST_CHECK enum status network_thread_start(struct network_thread *thread, uint32_t number);

/* Its network: to be set up before the thread starts, and later for what any thread may call. */
struct network *network_thread_network(struct network_thread *thread);

/* Puts an action into the ring. */
void network_thread_post(struct network_thread *thread, const struct net_action *action);

/* Shows the network what was posted up to the end of tick `tick`, which rises. */
void network_thread_flush(struct network_thread *thread, uint64_t tick);

/* Hands events to `events`, at most about `octets_max` octets of them; returns how many. While much
 * of what was read is not taken, counted in items, nothing is read; the same while it is in octets
 * of bodies, until the end of the tick that takes them. */
size_t network_thread_take(struct network_thread *thread, size_t octets_max,
                           const struct net_events *events);

/* Something is there to be taken, or room for what waits to be flushed: to be asked after the core
 * has announced sleep. */
bool network_thread_has_work(const struct network_thread *thread);

/* The last tick all of whose actions are carried out; `tick` if it has no more to carry out. */
uint64_t network_thread_passed(const struct network_thread *thread, uint64_t tick);

/* Once the thread has ended: hands over all events and carries out all actions that are left. */
void network_thread_drain(struct network_thread *thread, const struct net_events *events);

#endif
