/* SPDX-License-Identifier: Apache-2.0 */
/* Listening sockets, and what bounds the strangers behind them: a cap on links that have not logged
 * in, overall and of one address, and calm when the process is out of descriptors.
 *
 * At the overall cap nobody is turned away: newcomers wait in the kernel's backlog until a login or
 * a handshake deadline makes room. Out of descriptors, one newcomer is shown out through a
 * descriptor that is kept in reserve, so that it does not wait for nothing, and accepting rests for
 * a moment instead of spinning. */
#ifndef BOURSE_NET_LISTENER_H
#define BOURSE_NET_LISTENER_H

#include "base/list.h"
#include "base/map.h"
#include "base/timer.h"
#include "net/network.h"

struct link;
struct source;

struct listeners {
    struct list list;         /* of struct listener; owned */
    struct map sources;       /* of struct source by address; owned */
    int reserve_fd;           /* owned; -1 when even that was not to be had */
    uint32_t descriptors_low; /* number of a descriptor from which on they are getting scarce */
    bool is_resting;          /* out of descriptors a moment ago */
    bool is_full;             /* at the cap of links that are not established */
    struct timer rest;
};

void listeners_init(struct listeners *listeners);
void listeners_fini(struct listeners *listeners, struct network *network);

/* The default of unestablished_max: an eighth of the descriptors that the process may have. */
uint32_t listeners_unestablished_max(void);

/* network_listen. */
MUST_CHECK enum status listener_open(struct network *network, const char *host, uint16_t port,
                                     bool is_tls, struct transport_factory factory,
                                     uint16_t *port_out, char *why, size_t why_size);

/* network_stop_listening. */
void listeners_close(struct network *network);

/* `link` is established or gone: it no longer counts as a stranger. */
void listeners_forget(struct network *network, struct link *link);

#endif
