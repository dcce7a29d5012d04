/* SPDX-License-Identifier: Apache-2.0 */
/* What a client has sent, as the judge knows it: the core may handle it much later, and only then
 * has it happened. Until then nobody may take away what it needs: names are locked. */
#ifndef BOURSE_TESTS_SIM_SENT_H
#define BOURSE_TESTS_SIM_SENT_H

#include "amqp/method.h"
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
    bool is_changing;      /* what it has locked */
    bool breaks_channel;   /* the broker closes the channel for it */
    bool happens_at_once;  /* when the core first looks at it, though it may answer later */
    enum method_id method; /* of NET_EVENT_METHOD */

    /* For the effect, as it needs them. */
    uint32_t message;        /* HISTORY_NONE: it is no publish */
    uint32_t deleting_queue; /* HISTORY_NONE: it deletes none */
    uint32_t queue, exchange, name, key;
    uint32_t consumer, verdict;
    uint16_t prefetch;
    uint64_t tag;
    uint32_t note;
    enum history_kind kind;
    bool is_multiple, is_durable, is_delayed, is_nacked, is_global;
};

/* Whether something may be sent that needs the name as it is, or that changes it. */
bool sent_may_use(const struct name_lock *lock);
bool sent_may_change(const struct name_lock *lock);
/* Until it has happened; `sent->is_changing` says which. */
void sent_lock_queue(struct sent *sent, struct name_lock *lock);
void sent_lock_exchange(struct sent *sent, struct name_lock *lock);

/* It has reached the core. */
void sent_arrive(struct world *world, const struct net_event *event, const struct sent *sent);

/* What the core does with an event; replay.c says so. */
enum sent_keeping {
    SENT_DONE,
    SENT_UNTOUCHED, /* it keeps it for later */
    SENT_BEGUN,     /* the same, when it has looked at it */
};

bool sent_is_settlement(enum method_id id);

/* The core handles the first that it keeps of a channel, or the first settlement, which may pass
 * what else it keeps outside of a transaction; and then has done so or keeps it on. */
struct sent_turn {
    struct sent sent; /* without an actor: there is none */
    bool is_settlement;
    uint64_t first; /* where the log goes on */
};
struct sent_turn sent_begin_turn(struct world *world, uint64_t link, uint16_t channel,
                                 bool is_settlement);
void sent_end_turn(struct world *world, const struct sent_turn *turn);
void sent_is_out_of_order(struct world *world, uint16_t channel);

/* The core is about to close the channel for it, with that code; `is_request`: instead of an
 * answer. */
void sent_begin_breaking(struct world *world, const struct sent *sent, uint16_t code,
                         bool is_request);

/* What the core keeps of the client goes with it. */
void sent_drop_kept(struct actor *actor);

#endif
