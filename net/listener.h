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
#include "base/timer.h"
#include "net/network.h"
#include "net/strangers.h"

struct link;

struct listeners {
    struct list list;         /* of struct listener; owned */
    int reserve_fd;           /* owned; -1 when even that was not to be had */
    uint32_t descriptors_low; /* number of a descriptor from which on they are getting scarce */
    bool is_resting;          /* out of descriptors a moment ago */
    bool is_full;             /* no place for one more stranger */
    struct strangers_waiter waiter;
    struct timer rest;
};

void listeners_init(struct listeners *listeners, struct network *network);
void listeners_fini(struct listeners *listeners, struct network *network);

/* The default of unestablished_max: an eighth of the descriptors that the process may have. */
uint32_t listeners_unestablished_max(void);

/* network_listen. */
MUST_CHECK enum status listener_open(struct network *network,
                                     const struct listener_settings *settings, uint16_t *port_out,
                                     char *why, size_t why_size);

/* network_share_listeners. */
MUST_CHECK enum status listeners_share(struct network *network, const struct network *first);

/* network_stop_listening. */
void listeners_close(struct network *network);

/* There may be room for strangers again: accepts, if only want of room kept it from that. */
void listeners_look_for_room(struct network *network);

/* `link` is established or gone: it no longer counts as a stranger. */
void listeners_forget(struct network *network, struct link *link);

/* The stranger behind `link`, which a proxy has brought, comes from `address`. False when there are
 * as many from there as there may be, which is logged. */
bool listeners_name_source(struct network *network, struct link *link, const char *address);

#endif
