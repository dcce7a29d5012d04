/* SPDX-License-Identifier: Apache-2.0 */
/* Sockets on their way from the network that accepted them to the one that will serve them. Putting
 * and taking are for any thread; nothing that concerns a message comes this way. */
#ifndef BOURSE_NET_INBOX_H
#define BOURSE_NET_INBOX_H

#include <pthread.h>

#include "net/transport.h"

struct source;

/* An accepted, non-blocking socket. */
struct newcomer {
    int fd; /* owned */
    struct transport_factory factory;
    struct net_peer peer;
    struct source *source; /* counts it */
    bool is_behind_proxy;  /* a PROXY header comes first */
};

struct inbox {
    pthread_mutex_t lock;
    struct newcomer *newcomers; /* owned; in the order in which they came */
    uint32_t count;
    uint32_t capacity;
};

void inbox_init(struct inbox *inbox);
void inbox_fini(struct inbox *inbox); /* it is empty */

/* Copies `newcomer`, and with it takes the descriptor. */
void inbox_put(struct inbox *inbox, const struct newcomer *newcomer);

/* Moves everything to the caller: `*newcomers_out` is freed with free. Returns how many. */
uint32_t inbox_take(struct inbox *inbox, struct newcomer **newcomers_out);

#endif
