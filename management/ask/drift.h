/* SPDX-License-Identifier: Apache-2.0 */
/* What has changed beside the configurations that were applied last: one plan for each vhost that
 * has one, made with `prune` (broker/plan/plan.h). Configurations are read on the admin thread,
 * plans are made in slices in the core. */
#ifndef BOURSE_MANAGEMENT_ASK_DRIFT_H
#define BOURSE_MANAGEMENT_ASK_DRIFT_H

#include "broker/core/request.h"
#include "broker/plan/plan.h"
#include "management/ask/generation_copy.h"

/* One vhost: what it is meant to be, and what it would take to make it so. */
struct drift_item {
    struct bytes vhost; /* of the arena */
    uint64_t generation_id;
    struct config *config; /* owned */
    struct planner
        *planner; /* owned; NULL: not begun, or the configuration is not taken any more */
};

struct drift_look {
    struct plan_options options;
    struct drift_item *items; /* owned */
    size_t count;
    size_t at; /* the one that is looked at */
    struct arena arena;
};

/* The newest generations of their vhosts, with texts; what is in `look` is zero. */
void drift_look_begin(struct drift_look *look, const struct generation_copy *copies, size_t count);

/* In the core. What is left of the budget is used up. */
enum request_progress drift_look_step(struct drift_look *look, struct core *core, uint32_t *budget);

/* Forgets what was found, so that the same may be looked at again. */
void drift_look_again(struct drift_look *look);

void drift_look_fini(struct drift_look *look);

#endif
