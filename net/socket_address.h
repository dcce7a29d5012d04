/* SPDX-License-Identifier: Apache-2.0 */
/* Listening sockets and what the addresses of accepted ones look like as text. */
#ifndef BOURSE_NET_SOCKET_ADDRESS_H
#define BOURSE_NET_SOCKET_ADDRESS_H

#include <netinet/in.h>
#include <sys/socket.h>

#include "base/cidr.h"
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

/* Makes a listening socket that somebody else has made ready for this process: it does not block,
 * and its connections send small frames at once. -1 when it is none, or not of TCP, with one line
 * about that in `why`; it is closed then. */
int listening_socket_take(int fd, uint16_t *port_out, char *why, size_t why_size);

/* The address as a range of addresses has it (base/cidr.h). */
void socket_address_octets(const union socket_address *address,
                           uint8_t out[static CIDR_ADDRESS_SIZE]);

/* The address as text, IPv6 without brackets, IPv4 as such where it is mapped to IPv6. */
void socket_address_text(const union socket_address *address, char text[static NET_ADDRESS_SIZE],
                         uint16_t *port_out);

/* Fills in both ends of an accepted socket whose peer is at `address`. False when it is gone
 * already. */
bool socket_describe_peer(int fd, const union socket_address *address, struct net_peer *peer);

#endif
