/* SPDX-License-Identifier: Apache-2.0 */
/* Why a message gets where it gets, and why not elsewhere: the way of core_route, walked once more
 * with every binding looked at and its verdict kept. Nothing is published and nothing changes.
 *
 * A vhost may have a million bindings, so the walk goes in slices; between two of them the topology
 * may change, and then it begins anew. Lists are bounded: of each exchange the bindings that match
 * and the nearest that do not, the rest counted.
 *
 * Owner: whoever asks; a step runs on the core's thread. What is found are copies. */
#ifndef BOURSE_BROKER_EXPLAIN_EXPLAIN_ROUTE_H
#define BOURSE_BROKER_EXPLAIN_EXPLAIN_ROUTE_H

#include "base/alloc.h"
#include "broker/core/core.h"
#include "broker/explain/explain_rights.h"
#include "broker/explain/queue_outlook.h"
#include "exchanges/verdict.h"

enum {
    EXPLAIN_MISSES = 10,       /* listed of an exchange, unless the question says otherwise */
    EXPLAIN_MATCHES = 100,     /* listed of an exchange */
    EXPLAIN_LISTED_MAX = 4000, /* bindings listed of all exchanges together */
    EXPLAIN_QUEUES_MAX = 1000, /* of those reached; the others are counted */
    EXPLAIN_RESTARTS_MAX = 8,  /* because of changes */
    EXPLAIN_NAME_SIZE_MAX = 255,
};

struct route_question {
    struct bytes vhost, exchange, routing_key;
    struct bytes properties; /* property block, validated: its headers count; empty: none */
    struct bytes user;       /* data NULL: rights are not asked for */
    uint32_t body_size;
    uint32_t misses; /* how many to list of an exchange; 0: EXPLAIN_MISSES */
};

enum explained_way { WAY_PUBLISHED, WAY_BOUND, WAY_ALTERNATE };

/* A binding that was looked at. */
struct explained_binding {
    bool to_exchange;
    uint8_t destination_size, key_size;
    uint8_t destination[EXPLAIN_NAME_SIZE_MAX], key[EXPLAIN_NAME_SIZE_MAX];
    uint32_t distance;    /* of a miss */
    uint32_t message_key; /* which of the message's keys the verdict is about; 0: its routing key */
    char why[VERDICT_TEXT_SIZE];
};

struct explained_bindings {
    struct explained_binding *items; /* owned; matches by destination, misses the nearest first */
    uint32_t count, capacity;
    uint64_t total; /* those that are not listed included */
};

/* An exchange that the message came to. */
struct explained_exchange {
    struct bytes name;
    const char *type;       /* as it was declared; static memory */
    const char *inner_type; /* that matches; the same unless it is x-delayed-message */
    enum explained_way way;
    uint32_t from;     /* place of the exchange that led here; its own for WAY_PUBLISHED */
    bool is_by_chance; /* only an exchange of the type x-random may lead here */
    bool is_delayed;   /* behind an exchange that holds the message back */
    bool holds_back;   /* it is such an exchange */
    bool takes_alternate;
    struct bytes alternate;    /* data NULL: it has none */
    bool alternate_is_missing; /* it names an exchange that is not there */
    struct explained_bindings matches, misses;
    /* The walk's own. */
    struct exchange *exchange; /* good until an exchange is deleted */
    bool is_done;
};

struct explained_queue {
    struct bytes name;
    uint32_t from; /* place of the exchange that led here first */
    bool is_by_chance, is_delayed;
    struct queue_outlook outlook;
};

struct explained_route {
    bool is_changing; /* the topology did not stand still long enough: nothing else counts */
    bool is_refused;  /* publishing this would fail, by `refusal`; the way is shown all the same */
    struct fault refusal;
    bool asked_rights;
    struct explained_rights rights;
    struct bytes vhost, exchange, user;
    struct bytes *keys; /* the routing key, then those of CC and BCC */
    uint32_t key_count;
    uint64_t delay_ms; /* that headers ask for; 0: none */
    bool has_exchange;
    struct explained_exchange **exchanges; /* in the order of the way; owned */
    uint32_t exchange_count, exchange_capacity;
    struct explained_queue **queues; /* by name; owned array */
    uint32_t queue_count, queue_capacity;
    uint64_t queue_total; /* those that are not listed included */
    uint64_t looked_at;   /* bindings */
};

struct route_explanation;

/* Copies the question. */
struct route_explanation *route_explanation_new(const struct route_question *question);
void route_explanation_free(struct route_explanation **explanation);

/* One slice: takes a row from `*budget` for each binding's worth of work, at least one in all. True
 * when it is done, and never to be called again. */
bool route_explanation_step(struct route_explanation *explanation, struct core *core,
                            uint32_t *budget);

/* The result, once it is done. Lives as long as the explanation. */
const struct explained_route *route_explanation_result(const struct route_explanation *explanation);

/* All of it at once: for a core that serves nobody, and for tests. */
struct route_explanation *route_explain(struct core *core, const struct route_question *question);

#endif
