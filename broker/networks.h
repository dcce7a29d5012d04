/* SPDX-License-Identifier: Apache-2.0 */
/* The network side of a broker as its loop sees it, in one of two shapes. Without threads there is
 * one network, and everything is a plain call of it. With threads each has a network of its own
 * (net/network_thread.h); the core's loop then waits for nothing but its own descriptors and the
 * bell that the threads ring, and what passes between them lies in rings.
 *
 * Owner: the core thread. */
#ifndef BOURSE_BROKER_NETWORKS_H
#define BOURSE_BROKER_NETWORKS_H

#include "net/network.h"

struct networks;

struct networks_settings {
    uint32_t thread_count; /* 0: plain calls; below NET_NETWORKS_MAX */
    struct network_settings network;
    struct clock_source clock;
    struct log *log; /* borrowed */
};

/* `events` is where links' events go, from within networks_poll and networks_flush. NULL: `why` has
 * the reason in one line. */
struct networks *networks_new(const struct networks_settings *settings,
                              const struct net_events *events, char *why, size_t why_size);

/* Ends the threads and takes what is left in the rings: from then on nothing runs beside the core.
 * Before the core goes. */
void networks_stop(struct networks *networks);

/* After the core has gone. */
void networks_free(struct networks **networks);

/* What the core posts to. */
struct net_port networks_port(struct networks *networks);

/* What lays contents down on the core's own thread; NULL with threads. */
struct chunk_writer *networks_shared_writer(struct networks *networks);

/* As network_listen; before networks_start. */
MUST_CHECK enum status networks_listen(struct networks *networks,
                                       const struct listener_settings *settings, uint16_t *port_out,
                                       char *why, size_t why_size);

/* Starts the threads. STATUS_IO: `why` has the reason in one line. */
MUST_CHECK enum status networks_start(struct networks *networks, char *why, size_t why_size);

/* Nobody accepts any more, or soon does not; links live on. */
void networks_stop_listening(struct networks *networks);

/* Calls `ready(context)` from networks_poll whenever `fd` is readable: see network_watch. */
MUST_CHECK enum status networks_watch(struct networks *networks, int fd,
                                      network_watch_callback *ready, void *context);

/* Waits up to `wait_ms` and hands over events, bounded; what is left over makes networks_has_work
 * true. */
void networks_poll(struct networks *networks, uint64_t wait_ms);
bool networks_has_work(const struct networks *networks);

/* The end of tick `tick`: what the core posted is written, or goes on its way to be written. */
void networks_flush(struct networks *networks, uint64_t tick);

/* The last tick all of whose output is written or copied, asked after networks_flush(tick). */
uint64_t networks_passed(const struct networks *networks, uint64_t tick);

/* How many octets of message memory the networks may have opened in all, from the beginning, before
 * links that bring a further content wait: see core_contents_allowed. */
void networks_allow(struct networks *networks, uint64_t octets);

/* Links, with those that have not logged in. */
uint32_t networks_link_count(const struct networks *networks);

#endif
