/* SPDX-License-Identifier: Apache-2.0 */
/* Definitions taken over by a running broker, in slices: users, vhosts, rights, policies, queues,
 * exchanges and bindings, in RabbitMQ's order. Users, rights, policies and limits become what the
 * definitions say; queues, exchanges and bindings that are there stay as they are; nothing is
 * deleted. The first thing that cannot be had ends it, and what was done so far stays.
 *
 * Owner: the core thread, from the first step to the last. */
#ifndef BOURSE_MANAGEMENT_DEFINITIONS_DEFINITIONS_APPLY_H
#define BOURSE_MANAGEMENT_DEFINITIONS_DEFINITIONS_APPLY_H

#include "broker/changes/change.h"
#include "broker/core/request.h"
#include "management/definitions/definitions.h"

struct definitions_apply {
    const struct definitions *definitions; /* borrowed */
    struct bytes by;                       /* who asks; data NULL: the house */
    struct bytes vhost;                    /* the only one, which must be there; data NULL: all */
    struct change change;                  /* why it was refused */
    size_t stage, at;
    uint64_t made_count; /* objects that were not there */
    bool has_begun, is_refused, is_applied;
    uint64_t token;
};

/* All zero but for what is wanted. Done when what was written down is on disk. */
enum request_progress definitions_apply_step(struct definitions_apply *apply, struct core *core,
                                             uint32_t *budget);

#endif
