/* SPDX-License-Identifier: Apache-2.0 */
/* Vhosts, users, exchanges, queues and bindings as records of the log, both ways: every change of
 * what is durable is said as it is made, and recovery makes the state again from what was said.
 *
 * Durable are vhosts, users, policies, durable exchanges (the predeclared ones with them), durable
 * queues that belong to no connection, and bindings whose ends are both durable. They go by numbers
 * that core_new_id gives; what is not durable has numbers of its own and no records. */
#ifndef BOURSE_BROKER_DURABILITY_DURABLE_TOPOLOGY_H
#define BOURSE_BROKER_DURABILITY_DURABLE_TOPOLOGY_H

#include "broker/core/core.h"
#include "broker/topology/vhost.h"
#include "broker/users/user.h"
#include "store/record.h"

/* Give the log the state of the object as it is now; nothing when it is not durable, or there is no
 * log. Whoever made or changed it has called core_prepare_record. */
void vhost_remember(const struct vhost *vhost);
void exchange_remember(const struct exchange *exchange);
void queue_remember(const struct queue *queue);
void binding_remember(const struct binding *binding);
void policy_remember(const struct vhost *vhost, const struct policy *policy);
void user_remember(struct core *core, struct user *user); /* nothing when it is what the log has */

/* Tell it that the object goes; call while it is whole. The bindings of an exchange or queue go
 * with it, and are not told. */
void exchange_forget(const struct exchange *exchange);
void queue_forget(const struct queue *queue);
void binding_forget(const struct binding *binding);
void vhost_forget(const struct vhost *vhost); /* and with it all that is in it */
void user_forget(struct core *core, const struct user *user);
void policy_forget(const struct vhost *vhost, const struct policy *policy);

/* Octets of the texts of its record. */
uint64_t policy_octets(const struct policy_properties *properties);

/* Making a core's state again from records, in the order in which recovery gives them: only SET
 * records, vhosts before what is in them, policies before what they apply to, exchanges and queues
 * before bindings, generations behind all of them. All zero but `core`
 * is the start. The core has no journal yet. */
struct topology_restore {
    struct core *core;
    struct map vhosts;    /* struct vhost by id; points */
    struct map users;     /* struct user by id; points */
    struct map policies;  /* struct policy by id; points */
    struct map exchanges; /* struct exchange by id; points */
};
void topology_restore_init(struct topology_restore *restore, struct core *core);
void topology_restore_fini(struct topology_restore *restore);

/* `record` of a struct recovery_sink; `context` is the struct topology_restore. STATUS_CORRUPT when
 * the record makes no sense (an unknown vhost, arguments that no broker accepts, a name that is
 * taken): the log says which; STATUS_NO_MEMORY. */
enum status topology_restore_record(void *context, const struct record *record);

/* When everything is restored and the journal is there: ids go on from `next_object_id`, and
 * predeclared exchanges are made that this version has and the stored vhosts do not. */
void core_complete_topology(struct core *core, uint64_t next_object_id);

#endif
