/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of this folder share: the struct behind net/network.h. Nobody else includes it. */
#ifndef BOURSE_NET_NETWORK_STATE_H
#define BOURSE_NET_NETWORK_STATE_H

#include "base/list.h"
#include "base/timer.h"
#include "net/inbox.h"
#include "net/link.h"
#include "net/listener.h"
#include "net/loop.h"
#include "net/network.h"
#include "net/network_group.h"
#include "net/output.h"
#include "net/strangers.h"

#include <stdatomic.h>

enum {
    /* One read. Small enough that what was read is still in the second-level cache when it is
     * copied into a chunk, large enough that a system call is nothing beside what it brings. */
    READ_SIZE = 64 * 1024,
    /* Octets are not what a turn costs but messages, and while one peer has its turn all others
     * wait. So a peer whose messages are small is read less at a time: about so many events, or the
     * least octets that are worth a system call. */
    READ_EVENTS = 256,
    READ_SIZE_MIN = 16 * 1024,
    /* The incomplete frame of the last read up to this size is put in front of the next one. A
     * larger one is completed where it lies, so that a peer that sends octet by octet costs no
     * copying. */
    TAIL_COPY_MAX = 4096,
    /* What one flush writes, and not much more. The core hands out less in a tick; above it are
     * links that have large messages to write on. */
    FLUSH_OCTETS = 4 * 1024 * 1024,
};

/* Where a link's id leads: the slot of its low bits, if the generation is still the same. */
struct link_slot {
    struct link *link; /* NULL: free */
    uint64_t generation;
    uint32_t next_free; /* number + 1; 0 at the end */
};

struct network {
    struct network_settings settings;
    struct network_group *group; /* owned if it is alone in it */
    struct strangers *strangers; /* of the group; borrowed */
    uint32_t number;             /* in the group */
    bool owns_group;
    _Atomic uint32_t load; /* links, with those in the inbox; anybody reads it */
    struct inbox inbox;
    atomic_bool is_called; /* somebody wants something: look around */
    atomic_bool is_asked_to_stop_listening;
    struct bell *bell;      /* borrowed; NULL: nobody else is on another thread */
    struct loop_watch rung; /* for the bell's descriptor; only wakes */
    bool holds_input;
    struct chunk_writer *writer; /* owned */
    struct clock_source clock;
    struct log *log;
    struct net_events events;

    struct loop loop;
    struct timer_wheel timers;
    uint64_t now_ms;         /* monotonic, read once per turn */
    uint64_t turn;           /* counted from 1 */
    uint64_t member_read_ms; /* when an established link was read last */
    uint64_t private_key_ms; /* when a handshake used it last */
    uint64_t event_count;    /* posted to the core since the beginning */

    struct link_slot *slots; /* owned, and so are the links */
    uint32_t slot_count;
    uint32_t slot_capacity;
    uint32_t free_slot; /* number + 1; 0: none */
    uint32_t link_count;
    uint32_t unestablished_count;

    struct list ready;     /* links that may have input */
    struct list greeting;  /* links whose handshake may take a step */
    struct list roomless;  /* links whose next content waits for memory */
    bool is_roomless;      /* the group knows that there are some */
    struct list dirty;     /* links with output for the next flush */
    struct list unwritten; /* the same, once the flush under way has had them */
    struct list reports;   /* links that have something to tell the core, or have ended */
    struct list watches;

    struct listeners listeners;
    struct output_pool outputs;
    struct timer trim; /* armed while memory is kept that might not be needed again */
    uint8_t *scratch;  /* TAIL_COPY_MAX + READ_SIZE octets: what is being parsed */
};

/* Has `network` look into its inbox and whether there is room for strangers. From any thread. */
void network_call(struct network *network);

/* Has the link wait until the group has room for contents. False when there is some by now. */
bool network_await_room(struct network *network, struct link *link);

/* Makes a link of an accepted socket that `load` counts already. Takes the socket. */
void network_take_newcomer(struct network *network, const struct newcomer *newcomer);

/* Gives `link` an id that no link ever had. STATUS_FULL when all numbers are in use. */
MUST_CHECK enum status network_register(struct network *network, struct link *link);
void network_unregister(struct network *network, struct link *link);

#endif
