/* SPDX-License-Identifier: Apache-2.0 */
/* What lies between clients and the core: some network threads with their rings, or none. The
 * rings, what travels in them, and the writers of contents are the real ones, and hold four items
 * or so; the threads around them take their turns when somebody says so. Sockets are not there:
 * what a client sends is posted at once, as if read, and what is sent to it arrives when a network
 * has taken it.
 *
 * With each event and action goes a note on the side, by another way, that nothing can reorder:
 * what comes out of a ring must be what the next note speaks of. */
#ifndef BOURSE_TESTS_SIM_WIRE_H
#define BOURSE_TESTS_SIM_WIRE_H

#include "net/seam_ring.h"
#include "store/chunk.h"
#include "tests/sim/dice.h"
#include "tests/sim/sent.h"

enum { WIRE_NETWORKS_MAX = 3, WIRE_ALL = 1 << 30 };

/* An action that the network has not taken, or whose content it may still read. */
struct posted {
    enum net_action_type type;
    uint16_t channel;
    uint64_t link;
    const struct content *content; /* NULL: it names none */
    uint64_t loan;                 /* 0: the content is not lent */
    uint32_t message;              /* that the content is; HISTORY_NONE: nobody knows */
    uint32_t arrival_count;        /* what the client will read because of it */
    uint64_t octets;               /* on the socket */
};

/* Notes in the order of what they speak of. */
struct sent_notes {
    struct sent *notes; /* owned */
    uint32_t first, end, capacity;
};
struct posted_notes {
    struct posted *notes; /* owned */
    uint32_t first, end, capacity;
};

struct wire;

struct wire_network {
    struct wire *wire;
    uint32_t number;
    struct ring *events;
    struct ring *actions;
    struct seam_network_end network_end;
    struct seam_core_end core_end;
    struct chunk_writer *writer;
    struct bell bell;
    bool is_asleep;
    bool has_input; /* something came from a socket since its last turn */
    struct sent_notes sent;
    struct posted_notes posted;
    struct posted_notes unwritten; /* taken, and not written to a socket */
    struct posted_notes lent;      /* of them, those that a socket takes later than all others */
};

struct wire_events {
    /* An event has reached the core. */
    void (*handle)(void *context, const struct net_event *event, const struct sent *sent);
    /* An action has reached its network, and later its content was written to the socket. */
    void (*take)(void *context, const struct posted *posted);
    void (*write)(void *context, const struct posted *posted);
    void (*wrong)(void *context, enum history_rule rule, const char *what);
    void *context;
};

struct wire {
    struct wire_events to;
    uint32_t network_count; /* as wished: 0: everything is a plain call */
    size_t ring_octets;
    bool is_running;
    struct chunk_pool *pool; /* borrowed */
    struct bell core_bell;
    bool core_is_asleep;
    struct wire_network networks[WIRE_NETWORKS_MAX];
};

void wire_init(struct wire *wire, struct wire_events to);
void wire_fini(struct wire *wire);

/* A process begins with `pool`. */
void wire_start(struct wire *wire, struct chunk_pool *pool, struct chunk_memory memory);

/* It ends: what is in the rings gets lost, but for memory, which goes where it belongs. `core` is
 * still there. */
void wire_drain(struct wire *wire, const struct net_events *core);
void wire_stop(struct wire *wire); /* when the core is gone */

static inline bool
wire_is_direct(const struct wire *wire)
{
    return wire->network_count == 0;
}

/* What lays down contents that come over the link. */
struct chunk_writer *wire_writer(struct wire *wire, uint64_t link);

/* Whether its network reads the link. */
bool wire_may_read(const struct wire *wire, uint64_t link);

/* Something came over a link; `sent` travels along. Handled before the call returns if there are no
 * networks. */
void wire_post_event(struct wire *wire, const struct net_event *event, const struct sent *sent);

/* The core has posted something. */
void wire_post_action(struct wire *wire, const struct net_action *action,
                      const struct posted *posted);

/* A network has its turn, if it is awake: takes actions of at most so many octets, then writes what
 * it has taken if `writes`. */
void wire_turn(struct wire *wire, uint32_t number, size_t octets_max, bool writes);

/* The core takes events of one network, if it is awake. */
void wire_take(struct wire *wire, uint32_t number, size_t octets_max);

/* At the end of the core's tick `tick`: what was posted is shown. Returns the tick that all
 * networks have passed. */
uint64_t wire_flush(struct wire *wire, uint64_t tick);

/* The core gives memory away that was message memory: no network may read it any more. */
void wire_check_memory(struct wire *wire, const uint8_t *memory, size_t size);

/* Nothing is on its way. */
bool wire_is_empty(const struct wire *wire);

#endif
