/* SPDX-License-Identifier: Apache-2.0 */
/* The bindings of one source, each identified by target, routing key and arguments (compared as a
 * set of fields). Finding one costs the same however many there are, and no call moves more than
 * some thousand (slot_directory.h). */
#ifndef BOURSE_ROUTING_BINDING_TABLE_H
#define BOURSE_ROUTING_BINDING_TABLE_H

#include <stddef.h>

#include "base/bytes.h"
#include "base/list.h"
#include "base/slot_directory.h"
#include "base/status.h"
#include "routing/target.h"

enum { BINDING_KEY_SIZE_MAX = 255 }; /* octets: a shortstr */

/* There may be millions: 38 octets and its texts. */
struct binding {
    struct route_target *target;  /* borrowed */
    void *source;                 /* the exchange that owns the table; not used here */
    struct list_link target_link; /* in target->bindings, which points */
    uint32_t arguments_size;
    uint8_t key_size;
    bool durable : 1;
    bool from_file : 1; /* the topology file made it, not a client */
    bool is_named : 1;  /* by the file that is being applied */
    uint8_t texts[];    /* routing key, then arguments */
};

/* What is allocated for a binding; sizeof would count what fills the struct up. */
enum { BINDING_FIXED_OCTETS = offsetof(struct binding, texts) };

struct binding_table {
    struct slot_directory slots; /* of struct binding by identity; owns them */
    uint32_t count;
    uint64_t seed;
    uint64_t emptied_to; /* where binding_table_any looks first */
};

/* Views that live as long as the binding. */
static inline struct bytes
binding_routing_key(const struct binding *binding)
{
    return bytes_make(binding->texts, binding->key_size);
}

static inline struct bytes
binding_arguments(const struct binding *binding)
{
    return bytes_make(binding->texts + binding->key_size, binding->arguments_size);
}

/* The same for texts that make the same binding of one source and one target. `seed` is secret. */
uint64_t binding_texts_hash(uint64_t seed, struct bytes routing_key, struct bytes arguments);

/* `seed` is secret: peers choose keys and arguments. */
void binding_table_init(struct binding_table *table, uint64_t seed);
void binding_table_fini(struct binding_table *table); /* frees every binding */

/* NULL when there is none. */
struct binding *binding_table_find(const struct binding_table *table,
                                   const struct route_target *target, struct bytes routing_key,
                                   struct bytes arguments);

/* Adds a binding that is not there yet, and puts it on the target's list. `routing_key` (at most
 * BINDING_KEY_SIZE_MAX octets) and `arguments` are copied. STATUS_NO_MEMORY changes nothing. */
MUST_CHECK enum status binding_table_add(struct binding_table *table, void *source,
                                         struct route_target *target, struct bytes routing_key,
                                         struct bytes arguments, bool durable,
                                         struct binding **binding_out);

/* Takes it out of table and list and frees it. */
void binding_table_remove(struct binding_table *table, struct binding *binding);

/* The next binding of a walk that starts with `*position` 0, or NULL at the end. The order means
 * nothing, but is the same for the same seed and history. The table does not change meanwhile. */
struct binding *binding_table_next(const struct binding_table *table, uint64_t *position);

/* A walk in slices, between which the table may change. Start with `walk` zero and the table's
 * generation, a number that the caller raises by every change. Every binding that is there all the
 * time is met once, but for those of the part under way (some thousand at most) when the table has
 * changed: they are met again. */
struct binding_walk {
    uint64_t position;
    uint64_t generation;
    uint32_t first_hash; /* of the part of the table that is under way */
    bool has_begun;
};

/* Goes on with a walk; false: the table has changed, and the part that was under way begins anew.
 */
bool binding_walk_resume(struct binding_walk *walk, const struct binding_table *table,
                         uint64_t generation);

/* The next one, or NULL at the end; *is_new_part_out: it is the first of another part, and nothing
 * before it is met again. */
struct binding *binding_walk_next(struct binding_walk *walk, const struct binding_table *table,
                                  bool *is_new_part_out);

/* Any of the bindings, or NULL when there is none: for whoever removes one after the other. */
struct binding *binding_table_any(struct binding_table *table);

#endif
