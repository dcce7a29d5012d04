/* SPDX-License-Identifier: Apache-2.0 */
/* One socket from accept to close: transport handshake, protocol header, frames, and an end in
 * which the last frame still arrives.
 *
 * A link holds buffers only while it has input that is not a whole frame yet or output that the
 * socket did not take; thousands of idle ones cost their struct and little else.
 *
 * Events of the core never nest: the core may post anything from inside its handler, CLOSE for the
 * same link included. So posting only notes what is to be done, no link is freed before
 * network_report, and code that has called the handler looks at the link's state again.
 *
 * Owner: the network thread. */
#ifndef BOURSE_NET_LINK_H
#define BOURSE_NET_LINK_H

#include "base/buffer.h"
#include "base/list.h"
#include "base/timer.h"
#include "net/assembly.h"
#include "net/heartbeat.h"
#include "net/loop.h"
#include "net/output.h"
#include "net/seam.h"
#include "net/transport.h"

struct network;
struct newcomer;
struct source;

enum link_state {
    LINK_PROXY,     /* a PROXY header comes first */
    LINK_HANDSHAKE, /* of the transport */
    LINK_PROTOCOL,  /* the protocol header is due */
    LINK_FRAMES,
    LINK_DISTRUSTED, /* the framing broke: input is dropped until the core closes the link */
    LINK_CLOSING,    /* writes what is queued and drops input */
    LINK_DRAINING,   /* all is written; waits for the peer's end, since closing earlier could reset
                        the connection and lose the last frame on its way */
    LINK_ENDED,      /* waits to be freed */
};

struct link {
    struct loop_watch watch;
    struct network *network; /* borrowed */
    uint64_t id;
    int fd;                      /* owned */
    struct transport *transport; /* owned */
    struct net_peer *peer;       /* owned; NULL once the core has it */
    char *address;               /* the peer's, for the log; owned */
    uint16_t port;
    struct source *source; /* while not established: counts the links of its address */

    enum link_state state;
    enum net_close_reason reason; /* once it is on its way out */
    bool is_opened;               /* the core knows it */
    bool is_established;
    bool is_closed_due; /* CLOSED is to be reported */
    bool is_closed_reported;
    bool is_paused;
    bool awaits_core; /* a method of the handshake is not answered; what follows depends on it */
    bool awaits_room; /* a content is next in the input, and there is no memory for it now */
    bool is_hung_up;  /* the peer has ended its side; some input may still be unread */
    bool ignores_content;   /* it gets or got connection.close: only methods matter any more */
    bool input_is_unparsed; /* whole frames may lie in `input`, from before a pause */
    bool read_wants_write;  /* a TLS read waits for a writable socket */
    bool write_wants_read;

    struct list_link ready_link;  /* on network.ready, .roomless or, in its handshake, .greeting */
    struct list_link dirty_link;  /* on network.dirty or .unwritten: for the next flush */
    struct list_link report_link; /* on network.reports: WRITTEN or CLOSED are due, or its end */

    struct buffer input; /* the front of a frame that has not arrived completely */
    size_t input_needed; /* how long that frame is, as far as is known */
    uint32_t frame_max;
    uint32_t read_size;   /* of one read, from READ_SIZE_MIN to READ_SIZE */
    uint32_t stream_left; /* octets of a body frame that is taken as it comes, end octet included */
    uint16_t stream_channel;
    struct assembly_table assemblies;

    struct output output;
    uint64_t written;      /* in units of net_action_octets, not reported yet */
    uint64_t turn_of_read; /* network.turn in which it was read last */

    struct heartbeat heartbeat;
    struct timer heartbeat_timer;
    struct timer deadline;
    uint64_t accepted_ms;
};

_Static_assert(sizeof(struct link) < 600, "an idle connection stays small");

/* Takes over a newcomer's socket, in every case: on failure it is closed. Starts the transport's
 * handshake. NULL when there is no memory. */
struct link *link_new(struct network *network, const struct newcomer *newcomer);

/* Frees it at once and posts nothing. */
void link_free(struct link *link);

/* What has come of the PROXY header is looked at; once it is whole, the transport's handshake
 * begins. */
void link_read_proxy_header(struct link *link);

/* The transport's handshake begins: something may have come already. */
void link_begin_handshake(struct link *link);

/* One step of the transport's handshake. True when it used the private key. */
bool link_greet(struct link *link);

/* One turn of reading: at most one read of the socket. Returns how many octets came. A link that
 * may have more puts itself on the ready list again. */
size_t link_read(struct link *link);

/* The peer has ended its side of the stream: reports it, and still writes what is queued. */
void link_peer_ended(struct link *link);

/* A call of the transport has failed; errno may say more. `event` is what to log. */
void link_broke(struct link *link, const char *event);

/* Whether what came, or still comes, may be handled now. */
static inline bool
link_may_read(const struct link *link)
{
    return !link->is_paused && !link->awaits_core && !link->awaits_room;
}

/* A content is next: true when it has to wait for memory, and the link with it. */
bool link_awaits_room(struct link *link);

/* There may be memory for it now. */
void link_find_room(struct link *link);

/* Puts the link on the ready list, unless it does not read. */
void link_make_ready(struct link *link);

/* Carries out what the core wants. Posts no event. */
void link_act(struct link *link, const struct net_action *action);

/* Writes what is queued, as far as the socket takes it and the link's turn goes, and copies what
 * stays of contents that were not lent. Returns how many octets went; a link that has to go on puts
 * itself on the list of those. */
size_t link_flush(struct link *link);

/* Copies what is queued of contents that were not lent, without writing. */
void link_settle(struct link *link);

/* Posts WRITTEN and CLOSED as far as they are due, then frees a link that has ended. */
void link_report(struct link *link);

/* Hands `event` to the core. */
void link_post(struct link *link, struct net_event *event);

/* Ends the link for `reason`; what is not written is lost. */
void link_end(struct link *link, enum net_close_reason reason);

/* Writes what is queued for at most `linger_ms`, then ends the link for `reason`. */
void link_close(struct link *link, enum net_close_reason reason, uint32_t linger_ms);

#endif
