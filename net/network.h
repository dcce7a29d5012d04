/* SPDX-License-Identifier: Apache-2.0 */
/* The byte-moving side: listeners, links (one per socket: transport, frame parser, assembly of
 * contents, output buffer, heartbeats) and the epoll loop that drives them. Everything here belongs
 * to one network thread; with one thread that is the core's as well. It knows nothing of queues,
 * users or rights: what arrives becomes a net_event, what leaves comes as a net_action. */
#ifndef BOURSE_NET_NETWORK_H
#define BOURSE_NET_NETWORK_H

#include "base/cidr.h"
#include "base/clock.h"
#include "base/log.h"
#include "net/seam.h"
#include "net/transport.h"

struct network;

struct bell;
struct network_group;

/* Zero takes the default given in brackets. */
struct network_settings {
    uint32_t frame_max;          /* offered in tune: upper bound of a link (131072) */
    uint64_t message_bytes_max;  /* a larger body is refused at its header (16 MiB) */
    uint64_t assembly_bytes_max; /* unfinished contents of one link (64 MiB): 506 beyond */
    uint32_t tls_handshake_ms;   /* absolute (5000) */
    uint32_t handshake_ms;       /* absolute, accept to NET_ACTION_ESTABLISHED (10000) */
    uint32_t unestablished_max;  /* links before ESTABLISHED (1024, or 1/8 of the fds) */
    uint32_t unestablished_per_source_max; /* of one address (64) */
    uint32_t input_octets_per_tick;        /* over all links (1 MiB) */
    uint32_t ready_links_per_tick;         /* (256), each read once */
    uint32_t handshake_steps_per_tick;     /* of TLS; the private key is used once at most (8) */
    uint32_t number; /* of one that is alone, below NET_NETWORKS_MAX; a group gives its own (0) */
};

/* Contents are laid down in memory from `memory`. `group` is the networks that this one is to be
 * one of, and has the limits on links that are not established; NULL: it is alone. `group`, `log`
 * and what `events` points at are borrowed and outlive the network. NULL with errno set when epoll
 * is not to be had. */
struct network *network_new(const struct network_settings *settings, struct network_group *group,
                            struct chunk_memory memory, const struct clock_source *clock,
                            struct log *log, const struct net_events *events);

/* Closes everything; posts no events. */
void network_free(struct network **network);

/* What the core posts to. */
struct net_port network_port(struct network *network);

/* What lays the contents down; borrowed. For a core on the same thread: see
 * chunk_pool_share_thread. */
struct chunk_writer *network_chunk_writer(struct network *network);

/* Where to listen, and for whom. What the factory's context and `proxies` point at outlives the
 * network; the rest is needed for the call only. */
struct listener_settings {
    const char *host; /* a numeric address or a host name */
    uint16_t port;    /* 0: the system picks one */
    int passed_fd;    /* a socket that listens already, taken in place of host and port, in every
                         case; 0: none */
    bool is_tls;
    struct transport_factory factory;
    /* Who may connect: each says in a PROXY header, before anything else, for whom it does. NULL:
     * everybody connects, and nobody sends a header. */
    const struct cidr *proxies;
    size_t proxy_count;
};

/* Opens a listening socket, or takes the one that is passed. `*port_out` is the port in use.
 * STATUS_IO leaves a one-line reason in `why`. SO_REUSEADDR, backlog 1024, IPv6 addresses v6-only;
 * of a socket that is passed that is the business of who made it. */
MUST_CHECK enum status network_listen(struct network *network,
                                      const struct listener_settings *settings, uint16_t *port_out,
                                      char *why, size_t why_size);

/* Has `network` accept where `first` listens; newcomers go to the one of the group that has the
 * fewest links. STATUS_IO: errno says why, and some listeners may be shared already. */
MUST_CHECK enum status network_share_listeners(struct network *network,
                                               const struct network *first);

/* Stops accepting on all listeners and closes them; links live on. */
void network_stop_listening(struct network *network);

/* The same from another thread: it happens in the next turn of the network's loop. */
void network_ask_to_stop_listening(struct network *network);

/* For a network that has a thread of its own: others ring `bell` (borrowed) when they want
 * something of it. STATUS_IO when its descriptor cannot be watched; errno says why. */
MUST_CHECK enum status network_use_bell(struct network *network, struct bell *bell);

/* While input is held no link is read: the core has not taken what was read before. */
void network_hold_input(struct network *network, bool is_held);

/* Calls `ready(context)` from network_poll whenever `fd` is readable (an eventfd, a signalfd). The
 * descriptor stays the caller's. */
typedef void network_watch_callback(void *context);
MUST_CHECK enum status network_watch(struct network *network, int fd, network_watch_callback *ready,
                                     void *context);

/* Waits up to `wait_ms` (0: not at all, UINT64_MAX: until something happens; own timers shorten it)
 * and turns what is ready into events, bounded by the settings; what is left over makes
 * network_has_work true. Due timers (deadlines, heartbeats) fire here. */
void network_poll(struct network *network, uint64_t wait_ms);

/* The two halves of network_poll, for a loop that has something to do between them: the first finds
 * out who is ready, accepts, and goes on writing; the second reads. */
void network_wait(struct network *network, uint64_t wait_ms);
void network_read(struct network *network);

bool network_has_work(const struct network *network);

/* Writes what the core posted since the last call: one write per link that has output, of 256 KiB
 * at most, and 4 MiB or so in all; what is left over makes network_has_work true. What a socket
 * does not take is copied and goes on when it is writable. Reports NET_EVENT_WRITTEN and
 * NET_EVENT_LOAN_RETURNED. After it returns no content posted earlier is read any more but those
 * that were lent. */
void network_flush(struct network *network);

/* Live links, and those among them that are not ESTABLISHED. */
uint32_t network_link_count(const struct network *network);
uint32_t network_unestablished_count(const struct network *network);

#endif
