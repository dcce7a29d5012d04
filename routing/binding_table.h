/* SPDX-License-Identifier: Apache-2.0 */
/* The bindings of one source, each identified by target, routing key and arguments (compared as a
 * set of fields). Keeps them in order of creation; finding one costs the same however many there
 * are. */
#ifndef BOURSE_ROUTING_BINDING_TABLE_H
#define BOURSE_ROUTING_BINDING_TABLE_H

#include "base/bytes.h"
#include "base/list.h"
#include "base/status.h"
#include "routing/target.h"

struct binding {
    struct route_target *target;  /* borrowed */
    void *source;                 /* the exchange that owns the table; not used here */
    struct list_link source_link; /* in binding_table.bindings, which owns it */
    struct list_link target_link; /* in target->bindings, which points */
    struct bytes routing_key;     /* owned, in the same allocation */
    struct bytes arguments;       /* table body; owned, in the same allocation */
    uint64_t hash;
    bool durable;
    bool from_file;        /* the topology file made it, not a client */
    bool is_named;         /* by the file that is being applied */
    uint32_t matcher_slot; /* for the exchange type's own bookkeeping */
};

struct binding_table {
    struct list bindings;   /* of source_link, oldest first */
    struct binding **slots; /* hash table, open addressing, at most half full; owned */
    uint32_t slot_count;    /* a power of two; 0 before the first binding */
    uint32_t count;
    uint64_t seed;
};

/* `seed` is secret: peers choose keys and arguments. */
void binding_table_init(struct binding_table *table, uint64_t seed);
void binding_table_fini(struct binding_table *table); /* frees every binding */

/* NULL when there is none. */
struct binding *binding_table_find(const struct binding_table *table,
                                   const struct route_target *target, struct bytes routing_key,
                                   struct bytes arguments);

/* Adds a binding that is not there yet, and puts it on the target's list. `routing_key` and
 * `arguments` are copied. STATUS_NO_MEMORY changes nothing. */
MUST_CHECK enum status binding_table_add(struct binding_table *table, void *source,
                                         struct route_target *target, struct bytes routing_key,
                                         struct bytes arguments, bool durable,
                                         struct binding **binding_out);

/* Takes it out of both lists and frees it. */
void binding_table_remove(struct binding_table *table, struct binding *binding);

#endif
