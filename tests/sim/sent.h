/* SPDX-License-Identifier: Apache-2.0 */
/* What a client has sent, as the judge knows it: the core may handle it much later, and only then
 * has it happened. Until then nobody may take away what it needs: names are locked. */
#ifndef BOURSE_TESTS_SIM_SENT_H
#define BOURSE_TESTS_SIM_SENT_H

#include "net/seam.h"
#include "tests/sim/history.h"

struct actor;
struct world;
struct sent;

/* What is different once the core has handled it. */
typedef void sent_effect(struct world *world, const struct sent *sent, struct history_span span);

/* The name of a queue or exchange, while something is on its way that speaks of it. */
struct name_lock {
    uint32_t user_count; /* those that need it as it is */
    bool is_changing;    /* by one that makes or deletes it */
};

struct sent {
    struct actor *actor; /* NULL: a network by itself */
    enum net_event_type type;
    uint16_t channel;
    uint64_t link;
    sent_effect *effect; /* NULL: none */
    struct name_lock *queue_lock;
    struct name_lock *exchange_lock;
    bool is_changing;                /* what it has locked */
    bool happens_at_once;            /* though the core keeps it, for an answer that comes later */
    const struct list_link *held_at; /* where the core keeps it until it may be handled */

    /* For the effect, as it needs them. */
    uint32_t message;        /* HISTORY_NONE: it is no publish */
    uint32_t deleting_queue; /* HISTORY_NONE: it deletes none */
    uint32_t queue, exchange, name, key;
    uint32_t consumer, verdict;
    uint64_t tag;
    bool is_multiple, is_durable, is_fanout;
};

/* Whether something may be sent that needs the name as it is, or that changes it. */
bool sent_may_use(const struct name_lock *lock);
bool sent_may_change(const struct name_lock *lock);
/* Until it has happened; `sent->is_changing` says which. */
void sent_lock_queue(struct sent *sent, struct name_lock *lock);
void sent_lock_exchange(struct sent *sent, struct name_lock *lock);

/* It has reached the core. */
void sent_arrive(struct world *world, const struct net_event *event, const struct sent *sent);

/* The core is about to end its tick: notes in which order it will look at what it keeps. */
void sent_begin_end_of_tick(struct world *world);

/* The core is about to post something, or has done something: what it had kept and has handled
 * meanwhile has happened. */
void sent_see_kept(struct world *world);

/* What the core keeps of the client goes with it. */
void sent_drop_kept(struct world *world, struct actor *actor);

#endif
