/* SPDX-License-Identifier: Apache-2.0 */
/* Listening sockets and what the addresses of accepted ones look like as text. */
#ifndef BOURSE_NET_SOCKET_ADDRESS_H
#define BOURSE_NET_SOCKET_ADDRESS_H

#include <netinet/in.h>
#include <sys/socket.h>

#include "net/seam.h"

/* Listeners are of these two families only. */
union socket_address {
    struct sockaddr any;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
};

/* Resolves and listens, with the options that network_listen promises; `*port_out` is the port in
 * use. -1 with one line about the reason in `why`. */
int listening_socket_open(const char *host, uint16_t port, uint16_t *port_out, char *why,
                          size_t why_size);

/* Fills in both ends of an accepted socket whose peer is at `address`. False when it is gone
 * already. */
bool socket_describe_peer(int fd, const union socket_address *address, struct net_peer *peer);

#endif
