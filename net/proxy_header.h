/* SPDX-License-Identifier: Apache-2.0 */
/* The PROXY protocol, versions 1 and 2: what a proxy sends in front of everything else to say for
 * whom it has connected. Pure functions over octets; who may send it is not decided here. */
#ifndef BOURSE_NET_PROXY_HEADER_H
#define BOURSE_NET_PROXY_HEADER_H

#include "base/bytes.h"
#include "base/status.h"

enum {
    PROXY_HEADER_V1_MAX = 107,   /* octets of a line of version 1, its end included */
    PROXY_HEADER_MAX = 4096,     /* of a header of version 2 with what it says besides addresses */
    PROXY_ADDRESS_TEXT_SIZE = 46 /* of the longest IPv6 address, NUL included */
};

struct proxy_header {
    size_t size;        /* octets that belong to it: what follows is the client's */
    bool has_addresses; /* false: it speaks of the proxy's own connection, or does not know */
    char source[PROXY_ADDRESS_TEXT_SIZE]; /* the client, as the proxy sees it; numeric */
    char destination[PROXY_ADDRESS_TEXT_SIZE];
    uint16_t source_port;
    uint16_t destination_port;
};

/* Decodes the header at the start of `input`. STATUS_AGAIN asks for more octets, which happens only
 * while all that has come can be the front of a header, and never with PROXY_HEADER_MAX octets.
 * STATUS_REJECTED: it is none, and `*why_out` (static) says why in a few words. */
MUST_CHECK enum status proxy_header_decode(struct proxy_header *header, struct bytes input,
                                           const char **why_out);

#endif
