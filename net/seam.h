/* SPDX-License-Identifier: Apache-2.0 */
/* The wall between the threads that move bytes and the core that decides. Network code hands the
 * core events, the core hands it actions; both are values, and the only things they point at are
 * views that live until the call returns (a ring copies them behind its item) and contents in
 * chunks: the network side names one by its place, and the core hands it back by its address.
 * Neither side knows the other's structs: a link goes by its id, which is never used twice, and an
 * item for an unknown id is dropped.
 *
 * With one thread, `handle` and `post` are plain calls within the same turn of the loop. With more,
 * both only put an item into a ring (net/seam_ring.h): each side hears of the other's a little
 * later, in order. Only the handshake of a link still goes step by step. */
#ifndef BOURSE_NET_SEAM_H
#define BOURSE_NET_SEAM_H

#include "base/bytes.h"
#include "base/status.h"
#include "store/chunk_writer.h"

#include <stdint.h>

enum {
    NET_ADDRESS_SIZE = 64,
    NET_SUBJECT_SIZE = 256,
    NET_NETWORKS_MAX = 64,
    NET_NETWORK_SHIFT = 58, /* in the id of a link: the number of its network is above */
};

/* The network that a link belongs to. */
static inline uint32_t
net_link_network(uint64_t link)
{
    return (uint32_t)(link >> NET_NETWORK_SHIFT);
}

/* No link, but its network: for what concerns the network as a whole. */
static inline uint64_t
net_no_link(uint32_t network)
{
    return (uint64_t)network << NET_NETWORK_SHIFT;
}

/* Who is at the other end. Made on the heap by the network side; goes over to the core with OPENED,
 * which frees it with its connection. */
struct net_peer {
    char address[NET_ADDRESS_SIZE];       /* numeric, such as "127.0.0.1" or "::1" */
    char local_address[NET_ADDRESS_SIZE]; /* the end that the peer connected to */
    uint16_t port;
    uint16_t local_port;
    bool is_loopback; /* the *peer's* address is in 127.0.0.0/8 or ::1 (also v4-mapped) */
    bool is_tls;
    bool has_certificate;        /* a client certificate was presented and verified */
    char user[NET_SUBJECT_SIZE]; /* name taken from it as configured; empty: none could be */
    char tls_version[16];        /* such as "TLSv1.3" */
    char tls_cipher[64];
};

enum net_event_type {
    NET_EVENT_OPENED,  /* the protocol header was right: the core answers connection.start */
    NET_EVENT_METHOD,  /* a method without content; before ESTABLISHED and on channel 0 also
                          basic.publish, which is out of place there */
    NET_EVENT_PUBLISH, /* basic.publish with its whole content */
    NET_EVENT_FAULT,   /* the peer broke framing or assembly; no publish of the link follows */
    NET_EVENT_WRITTEN, /* the socket took octets that the core posted */
    NET_EVENT_CLOSED,  /* the last event of this link: its socket is gone, or all is written and
                          only the peer's end is awaited */
    NET_EVENT_CHUNK_OPENED,  /* contents will be named in a new chunk; of no link */
    NET_EVENT_CHUNK_CLOSED,  /* no further content will be named in it; of no link */
    NET_EVENT_LOAN_RETURNED, /* a content that an action lent is read no more; of no link */
};

enum net_close_reason {
    NET_CLOSE_BY_PEER,   /* end of stream or reset */
    NET_CLOSE_BY_CORE,   /* NET_ACTION_CLOSE */
    NET_CLOSE_HEARTBEAT, /* nothing heard for two whole intervals */
    NET_CLOSE_DEADLINE,  /* the handshake took too long */
    NET_CLOSE_ERROR,     /* a failed read or write, or a TLS error */
};

struct net_event {
    enum net_event_type type;
    uint16_t channel; /* METHOD, PUBLISH, FAULT */
    uint64_t link;
    union {
        struct {
            struct net_peer *peer; /* taken by the handler */
        } opened;
        struct {
            struct bytes payload; /* ids and arguments, not yet decoded; at least 4 octets */
        } method;
        /* When the announced body is over max-message-size no content exists (`place` names none),
         * the event comes at the header frame, and the body frames are discarded by the network
         * side. */
        struct {
            struct chunk_place place; /* in a chunk that opened before and closes later */
            uint64_t body_size;       /* as announced */
            struct bytes exchange;    /* as in the method, valid also without content */
            struct bytes routing_key;
            bool mandatory;
            bool immediate;
        } publish;
        struct {
            const struct fault *fault;
            uint16_t class_id; /* the offending method where one is known, else 0 */
            uint16_t method_id;
        } fault;
        struct {
            uint64_t octets; /* in units of net_action_octets */
        } written;
        struct {
            enum net_close_reason reason;
        } closed;
        struct chunk_notice chunk; /* CHUNK_OPENED: the memory is the core's from then on */
        struct {
            uint64_t loan; /* as the action had it */
        } returned;
    };
};

enum net_action_type {
    NET_ACTION_METHOD,      /* one method frame */
    NET_ACTION_DELIVER,     /* basic.deliver with a content */
    NET_ACTION_CONTENT,     /* any other method with a content: get-ok, return */
    NET_ACTION_TUNE,        /* values that tune-ok settled */
    NET_ACTION_ESTABLISHED, /* connection.open succeeded: the handshake deadline is off */
    NET_ACTION_PAUSE,       /* stop reading the socket (heartbeat check of input rests as well) */
    NET_ACTION_RESUME,
    NET_ACTION_CLOSE, /* write what is queued, then close; the deadline bounds the writing */
    NET_ACTION_CHUNK_RETURNED, /* memory of a closed chunk that nobody reads any more; of no link */
};

struct net_action {
    enum net_action_type type;
    uint16_t channel;
    uint64_t link;
    /* DELIVER, CONTENT: not 0, the content is lent and stays where it is until
     * NET_EVENT_LOAN_RETURNED brings this number back, which it does once, whatever becomes of the
     * link. 0: it stays until the network has carried out all actions of this tick, which copies
     * what the socket does not take. */
    uint64_t loan;
    union {
        struct {
            struct bytes payload; /* ids and arguments, at most frame-max - 8 octets */
        } method;
        struct {
            const struct content *content;
            uint64_t delivery_tag;
            struct bytes consumer_tag;
            struct bytes exchange; /* as it is to appear; mostly the content's own */
            struct bytes routing_key;
            bool redelivered;
        } deliver;
        struct {
            const struct content *content;
            struct bytes payload; /* the method's ids and arguments */
        } content;
        struct {
            uint32_t frame_max;   /* octets, frame overhead included */
            uint16_t heartbeat_s; /* 0: none in either direction */
        } tune;
        struct {
            uint8_t *memory;
            size_t capacity; /* as it was told when the chunk opened */
        } chunk_returned;
        struct {
            uint32_t linger_ms; /* how long unsent octets are still written; 0 drops them */
        } close;
    };
};

/* Where the network side delivers its events: filled in by the core. */
struct net_events {
    void (*handle)(void *context, const struct net_event *event);
    void *context;
};

/* Where the core posts its actions: filled in by the network side. */
struct net_port {
    void (*post)(void *context, const struct net_action *action);
    void *context;
};

/* Octets that METHOD, DELIVER and CONTENT put on the wire when a frame may be `frame_max` octets.
 * Both sides count with it, so the core knows how much of what it posted is not written yet.
 * `content` is the content that the action names (ignored for METHOD). */
uint64_t net_action_octets(const struct net_action *action, const struct content *content,
                           uint32_t frame_max);

#endif
