/* SPDX-License-Identifier: Apache-2.0 */
/* The seam between two threads: what net/seam.h passes as values becomes items of rings, and comes
 * out on the other side as the same values. Payloads are copied behind their item; a content goes
 * by its address, and names that are the content's own are read from it. The busy ones, PUBLISH and
 * DELIVER, take at most 64 octets.
 *
 * Besides what is posted, two marks travel. At the end of a tick in which actions named contents
 * the core sends the tick's number behind them; the network reports it back when everything that it
 * took in front of the mark is written or copied, for only then may such a content be freed.
 *
 * One pair of rings joins the core with one network. What is in the rings when they are freed is
 * lost, and with it memory that events and actions hand over; so whoever ends the threads takes all
 * of it first, and actions before the contents go that they name: taking reads them. */
#ifndef BOURSE_NET_SEAM_RING_H
#define BOURSE_NET_SEAM_RING_H

#include "base/ring.h"
#include "net/seam.h"

/* The network's ends. Owner: its thread. */
struct seam_network_end {
    struct ring *events;    /* borrowed */
    struct ring *actions;   /* borrowed */
    uint64_t taken_tick;    /* the last mark that was taken; 0: none */
    uint64_t passed_tick;   /* the last one reported */
    uint64_t posted_octets; /* of bodies whose publishes were posted, ever */
};

/* The core's ends. Owner: the core thread. */
struct seam_core_end {
    struct ring *events;   /* borrowed */
    struct ring *actions;  /* borrowed */
    bool names_content;    /* an action since the last mark did */
    uint64_t named_tick;   /* of the last mark; equals passed_tick when none is on its way */
    uint64_t passed_tick;  /* the network reads no content that was named up to this tick */
    uint64_t taken_octets; /* of bodies whose publishes were taken, ever */
};

/* The network's functions --------------------------------------------------------------------- */

void seam_network_end_init(struct seam_network_end *end, struct ring *events, struct ring *actions);

/* Puts `event` into the ring; the core sees it after the next ring_flush of `end->events`. A peer
 * that OPENED points at and memory of CHUNK_OPENED are the core's from then on. */
void seam_post_event(struct seam_network_end *end, const struct net_event *event);

/* Hands what the core has flushed to `port`, in order, until `octets_max` octets of items are taken
 * or nothing is left. Returns how many octets were taken. */
size_t seam_take_actions(struct seam_network_end *end, size_t octets_max,
                         const struct net_port *port);

/* Everything taken so far is written or copied: reports the mark, if a new one was among it. */
void seam_report_passed(struct seam_network_end *end);

/* The core's functions ------------------------------------------------------------------------ */

void seam_core_end_init(struct seam_core_end *end, struct ring *events, struct ring *actions);

/* Puts `action` into the ring; the network sees it after the next seam_flush_actions. */
void seam_post_action(struct seam_core_end *end, const struct net_action *action);

/* See seam_take_actions. */
size_t seam_take_events(struct seam_core_end *end, size_t octets_max,
                        const struct net_events *events);

/* Once at the end of tick `tick`, which rises: shows the network what was posted. */
void seam_flush_actions(struct seam_core_end *end, uint64_t tick);

#endif
