/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the route explainer share: the walk as it is between two slices. Private to
 * them. */
#ifndef BOURSE_BROKER_EXPLAIN_EXPLAIN_WALK_H
#define BOURSE_BROKER_EXPLAIN_EXPLAIN_WALK_H

#include "base/number_index.h"
#include "broker/explain/explain_route.h"
#include "broker/topology/vhost.h"

/* An exchange that the one under way leads to. */
struct found_exchange {
    struct exchange *exchange;
    bool is_by_chance;
};

struct route_explanation {
    struct arena question_arena;
    struct route_question question;
    struct explained_route route;
    struct arena arena; /* of what the route has */
    bool has_begun;
    uint32_t restart_count;
    uint64_t vhost_id, exchange_deletions; /* as they were when it began */
    uint64_t generation;                   /* of the exchange under way */
    uint64_t expiration;                   /* as in struct logged_message */
    struct bytes headers;                  /* a view of the question's properties */
    struct number_index exchange_index;    /* of places by the target's id */
    struct number_index queue_index;       /* of numbers by the target's id */
    uint64_t *queue_ids;                   /* by number; owned */
    uint32_t id_capacity;
    uint32_t room;                /* bindings that may still be listed */
    bool is_behind;               /* those that hold the message back are gone through */
    bool has_held;                /* there are some */
    bool is_open;                 /* exchange `at` is being gone through */
    uint32_t at;                  /* the next that may not be done */
    uint64_t position;            /* in its bindings */
    uint32_t queue_place;         /* of the default exchange: in the vhost's queues */
    struct found_exchange *found; /* owned */
    uint32_t found_count, found_capacity;
};

/* Reads the question and judges it: true when there is an exchange to walk from. */
bool explanation_begin(struct route_explanation *explanation, struct core *core);

/* The number of a queue that was reached before, or NUMBER_NONE. */
uint32_t explanation_find_queue(const struct route_explanation *explanation,
                                const struct queue *queue);

void explanation_reach_queue(struct route_explanation *explanation, struct queue *queue,
                             bool is_by_chance);
void explanation_reach_exchange(struct route_explanation *explanation,
                                const struct found_exchange *found, enum explained_way way,
                                uint32_t from);

/* A text that may be none (data NULL), copied. */
static inline struct bytes
explanation_copy_text(struct arena *arena, struct bytes text)
{
    return text.data == NULL ? text : arena_copy(arena, text);
}

#endif
