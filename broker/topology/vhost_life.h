/* SPDX-License-Identifier: Apache-2.0 */
/* Virtual hosts as an operator makes, changes and deletes them in a running broker (change.h).
 *
 * To everybody a deleted vhost is gone at once: its name is free, one record of the log says so,
 * its connections are told and closed, rights in it are taken away. What is in it goes tick by
 * tick. The struct itself stays, empty, until the core ends: queues that somebody still has a
 * reference to know their vhost. */
#ifndef BOURSE_BROKER_TOPOLOGY_VHOST_LIFE_H
#define BOURSE_BROKER_TOPOLOGY_VHOST_LIFE_H

#include "broker/changes/change.h"
#include "broker/topology/vhost.h"

/* Queues and exchanges of deleted vhosts that go in one tick. */
enum { CORE_GONE_PER_TICK = 256 };

/* What is NULL stays as it is. */
struct vhost_wish {
    struct bytes name;
    const char *description, *tags, *default_queue_type;
    const bool *is_traced;
};

/* Makes the vhost, or changes what people say about it. */
enum change_outcome change_put_vhost(struct change *change, const struct vhost_wish *wish);

/* Refused while it is protected. */
enum change_outcome change_delete_vhost(struct change *change, struct bytes name);
enum change_outcome change_protect_vhost(struct change *change, struct bytes name,
                                         bool is_protected);

/* Tracing (trace.h) begins or ends there. */
void change_trace_vhost(const struct change *change, struct vhost *vhost, bool is_traced);

/* "max-connections" or "max-queues"; -1: none. */
enum change_outcome change_limit_vhost(struct change *change, struct bytes name, struct bytes limit,
                                       int64_t value);

/* Goes on with those that were deleted. */
void core_empty_gone_vhosts(struct core *core);

#endif
