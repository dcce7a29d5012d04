/* SPDX-License-Identifier: Apache-2.0 */
/* What carries octets over a socket: plain TCP (net/tcp.c) or TLS (tls/). A transport owns neither
 * the descriptor nor the event loop. */
#ifndef BOURSE_NET_TRANSPORT_H
#define BOURSE_NET_TRANSPORT_H

#include "base/bytes.h"
#include "base/status.h"
#include "net/seam.h"

#include <sys/uio.h>

struct transport;

/* Every function returns STATUS_OK, STATUS_AGAIN (wait until the descriptor is ready as `wants`
 * says), STATUS_CLOSED (orderly end of the stream) or STATUS_IO (broken: close it; transport_error
 * tells why). */
struct transport_operations {
    /* Drives the handshake as far as what has come allows; STATUS_OK once octets may flow, after
     * which it is not called again. Plain TCP is done at once. */
    enum status (*handshake)(struct transport *transport);
    /* Reads at most `size` octets into `out`; `*size_out` > 0 on STATUS_OK. */
    enum status (*read)(struct transport *transport, uint8_t *out, size_t size, size_t *size_out);
    /* Writes from the front of `parts`; `*size_out` octets were taken (> 0 on STATUS_OK). After
     * STATUS_AGAIN the same octets are offered again, though perhaps from other memory. */
    enum status (*write)(struct transport *transport, const struct iovec *parts, int part_count,
                         size_t *size_out);
    /* Sends the orderly end of the stream if the transport has one of its own (TLS: close_notify);
     * best effort, once. The caller shuts the socket down. */
    void (*shutdown)(struct transport *transport);
    /* Octets that were read from the socket but not handed out yet: such a transport must be read
     * again without waiting for the descriptor. */
    bool (*has_pending)(const struct transport *transport);
    /* Fills the TLS fields of `peer`; called once after the handshake. */
    void (*describe)(const struct transport *transport, struct net_peer *peer);
    /* Why the last call failed, for the log; static or transport-owned memory. */
    const char *(*error)(const struct transport *transport);
    void (*free)(struct transport *transport);
};

enum transport_wants {
    TRANSPORT_WANTS_READ = 1, /* a call returned STATUS_AGAIN until the descriptor is readable */
    TRANSPORT_WANTS_WRITE = 2,
};

/* Embedded first in every kind of transport. */
struct transport {
    const struct transport_operations *operations;
    int fd;                     /* borrowed */
    enum transport_wants wants; /* what the last STATUS_AGAIN waits for */
    /* The last read of the socket left nothing in it: what comes later makes the descriptor ready,
     * so nobody reads again only to hear STATUS_AGAIN. Whoever hears that it is ready sets it back.
     */
    bool is_drained;
    /* The last step of the handshake used the private key: what a handshake costs, and what the
     * network does once a turn at most. */
    bool used_private_key;
};

/* Makes a transport for an accepted, non-blocking socket: one for each listener. NULL when there is
 * no memory. */
struct transport_factory {
    struct transport *(*make)(void *context, int fd);
    void *context;
};

/* Plain TCP; `context` is unused. */
struct transport_factory transport_factory_tcp(void);

#endif
