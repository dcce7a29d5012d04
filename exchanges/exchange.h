/* SPDX-License-Identifier: Apache-2.0 */
/* An exchange: a name, a type, and bindings that lead to targets. The type matches; what the
 * matches mean (walking on through exchanges, alternate exchanges, one copy per queue) is the
 * broker's. */
#ifndef BOURSE_EXCHANGES_EXCHANGE_H
#define BOURSE_EXCHANGES_EXCHANGE_H

#include "base/bytes.h"
#include "base/list.h"
#include "base/made.h"
#include "base/random.h"
#include "base/status.h"
#include "exchanges/verdict.h"
#include "routing/binding_table.h"
#include "routing/target.h"

struct policy; /* queues/policy.h; not used here */

/* What a message shows to an exchange. */
struct exchange_message {
    struct bytes routing_key; /* no longer than a shortstr, or (from a CC header) no match by key */
    const struct bytes *other_keys; /* to a type that routes once: of the headers CC and BCC */
    uint32_t other_key_count;
    struct bytes headers;    /* table body, validated; empty when the message has none */
    struct bytes properties; /* its property block, validated; empty: none */
};

/* What the broker lends to matchers. */
struct matcher_tools {
    uint64_t seed;                      /* secret, for hashes of what peers choose */
    const struct random_source *random; /* borrowed; outlives the exchange */
    /* The name of a queue or exchange that is still there; lives as long as its bindings. */
    struct bytes (*target_name)(const struct route_target *target);
};

/* One implementation per type: direct.c fanout.c topic.c headers.c consistent_hash.c modulus_hash.c
 * random.c delayed.c. */
struct exchange_type {
    const char *name;
    bool is_cacheable; /* the result depends on the key alone, and costs more than a cache does */
    bool is_topic;     /* topic permissions apply */
    bool routes_once;  /* asked once for a message, not once for each of its keys */
    bool is_delayed;   /* only a name: an argument says which type matches (exchange_type_inner) */
    void *(*matcher_new)(const struct matcher_tools *tools); /* which are borrowed */
    void (*matcher_free)(void *matcher);
    /* Refuses arguments of a binding that mean nothing to the type: STATUS_FAULT, 406 at channel
     * scope. */
    enum status (*check)(struct bytes routing_key, struct bytes arguments, struct fault *fault);
    /* The same for arguments of the exchange; `subject` is what a text calls it. Without it the
     * type has none of its own. */
    enum status (*check_arguments)(struct bytes arguments, const char *subject,
                                   struct fault *fault);
    /* The exchange has these arguments from now on, checked; a view that lives until the next
     * call. Comes with check_arguments. */
    void (*configure)(void *matcher, struct bytes arguments);
    /* Take in a binding that was checked, and forget it again: at a cost that does not grow with
     * the number of bindings, or that `work` knows. */
    void (*bind)(void *matcher, struct binding *binding);
    void (*unbind)(void *matcher, struct binding *binding);
    /* How many bindings of another type binding or unbinding this one costs as much as. Without it
     * 1. */
    uint32_t (*work)(const void *matcher, const struct binding *binding);
    void (*route)(void *matcher, const struct exchange_message *message, struct route_set *set);
    /* What this binding, which the matcher has, says to the message, and why: what `route` would do
     * about it. Draws no lots. */
    void (*explain)(void *matcher, const struct binding *binding,
                    const struct exchange_message *message, struct binding_verdict *verdict_out);
};

/* The type called `name`, or NULL. Static memory. */
const struct exchange_type *exchange_type_find(struct bytes name);

struct exchange {
    struct route_target target;       /* as the destination of another exchange's binding */
    struct bytes name;                /* owned */
    const struct exchange_type *type; /* that matches */
    bool is_delayed;                  /* declared as x-delayed-message: it may hold messages back */
    bool durable;
    bool auto_delete;
    bool internal;
    bool predeclared;              /* "" and amq.*: never deleted */
    bool from_file;                /* the topology file made it, not a client */
    bool is_named;                 /* by the file that is being applied */
    bool is_protected;             /* the file has it under `protect` */
    bool had_binding;              /* auto-delete waits for the first */
    struct made made;              /* as it is: by whom, and when */
    struct bytes arguments;        /* table body as declared; owned */
    struct bytes alternate;        /* that of the arguments or else the policy's; data NULL: none */
    struct bytes policy_alternate; /* borrowed; data NULL: none */
    struct policy *policy;         /* the broker's, which applies; NULL: none */
    struct binding_table bindings; /* with this exchange as source; owns them */
    struct matcher_tools tools;
    void *matcher;
    uint64_t generation;          /* raised by every bind and unbind: caches compare it */
    void *vhost;                  /* the broker's; not used here */
    struct list_link doomed_link; /* the broker's list of exchanges that are being deleted */
    uint64_t published_count, unroutable_count;
    uint64_t unroutable_ms;      /* when the last of them came; monotonic */
    uint64_t routed_count;       /* queues that what was published reached, summed up */
    struct sampled_rates *rates; /* of published and routed; owned; NULL: nobody has looked */
};

/* What an exchange is made from; all views are copied. */
struct exchange_properties {
    struct bytes name;
    const struct exchange_type *type;
    bool durable, auto_delete, internal, predeclared, from_file, is_protected;
    struct made made;
    struct bytes arguments; /* validated table body, accepted by exchange_type_check_arguments */
    struct matcher_tools tools;
};

extern const struct exchange_type exchange_type_direct;
extern const struct exchange_type exchange_type_fanout;
extern const struct exchange_type exchange_type_topic;
extern const struct exchange_type exchange_type_headers;
extern const struct exchange_type exchange_type_consistent_hash;
extern const struct exchange_type exchange_type_modulus_hash;
extern const struct exchange_type exchange_type_random;
extern const struct exchange_type exchange_type_delayed;

/* Whether an exchange of that type may be declared with these arguments, which `subject` ("exchange
 * 'x' in vhost '/'") stands for in the text. STATUS_FAULT: 406 at channel scope. */
MUST_CHECK enum status exchange_type_check_arguments(const struct exchange_type *type,
                                                     struct bytes arguments, const char *subject,
                                                     struct fault *fault);

/* The type that does the matching for an exchange that is declared as `type` with these arguments:
 * mostly the same. NULL: they are not to be accepted. */
const struct exchange_type *exchange_type_inner(const struct exchange_type *type,
                                                struct bytes arguments);

/* The type as it was declared. */
static inline const struct exchange_type *
exchange_declared_type(const struct exchange *exchange)
{
    return exchange->is_delayed ? &exchange_type_delayed : exchange->type;
}

/* NULL when there is no memory: the peer chose how much name and arguments take. */
struct exchange *exchange_new(uint64_t id, const struct exchange_properties *properties);

/* Replaces the arguments, which were checked, name the same inner type, and are copied.
 * STATUS_NO_MEMORY changes nothing. */
MUST_CHECK enum status exchange_set_arguments(struct exchange *exchange, struct bytes arguments);

/* From now on a policy says `alternate` (data NULL: nothing), which is in force where the arguments
 * say nothing. Borrowed until the next call, or the end of the exchange. */
void exchange_set_policy_alternate(struct exchange *exchange, struct bytes alternate);

/* Frees the exchange and its bindings. The caller has unbound it as a destination. */
void exchange_free(struct exchange **exchange);

/* Binds `target` under key and arguments (copied). `*created_out` is false when the same binding
 * was there already, which is no error. STATUS_FAULT as the type's check; STATUS_NO_MEMORY changes
 * nothing. */
MUST_CHECK enum status exchange_bind(struct exchange *exchange, struct route_target *target,
                                     struct bytes routing_key, struct bytes arguments, bool durable,
                                     bool *created_out, struct fault *fault);

/* Removes that binding; false when there was none. */
bool exchange_unbind(struct exchange *exchange, struct route_target *target,
                     struct bytes routing_key, struct bytes arguments);

/* Removes one binding that is known by address, such as from a target's list. */
void exchange_unbind_binding(struct exchange *exchange, struct binding *binding);

/* How many usual bindings it costs as much as to bind or unbind this one. */
uint32_t exchange_binding_work(const struct binding *binding);

/* Removes all bindings at once: for the end, when nobody waits. */
void exchange_unbind_all(struct exchange *exchange);

/* Adds the targets of the bindings that match to `set`. `exchange->type` does the work; a result
 * that depends on the key alone comes from `cache` when it is still good (NULL: no cache). A target
 * counts as known when it is in the set, whatever its stamp says. */
struct route_cache;
void exchange_route(struct exchange *exchange, const struct exchange_message *message,
                    struct route_cache *cache, struct route_set *set);

#endif
