/* SPDX-License-Identifier: Apache-2.0 */
/* Applying a configuration: a plan is made, judged and carried out in one go, and what it changes
 * is one batch of the log, so that after a crash there is the old or the new topology and nothing
 * between. What was applied becomes a generation (generation.h).
 *
 * The file of `serve`, at a start and when it is read again, never replaces or deletes: where only
 * that would do, it is refused. One that is as it was when it was applied last does not undo what
 * was given to the running broker since: it gives users their passwords, and that is all. */
#ifndef BOURSE_BROKER_PLAN_APPLY_H
#define BOURSE_BROKER_PLAN_APPLY_H

#include "broker/changes/generation.h"
#include "broker/plan/plan.h"

struct apply_options {
    enum generation_cause cause;
    struct bytes maker;       /* who asks for it */
    struct plan_options plan; /* of GENERATION_APPLY and GENERATION_ROLLBACK */
    const uint64_t *digest; /* of the plan that was looked at; another one is refused; NULL: any */
    uint64_t restored_id;   /* of GENERATION_ROLLBACK: which generation the configuration is of */
};

struct apply_result {
    struct plan *plan;      /* what was or would have been done; the caller frees it; may be NULL */
    uint64_t generation_id; /* of the one that is in force now; 0: none is kept */
    bool is_stale;          /* refused, for the plan is another one than that of the digest */
};

/* STATUS_REJECTED: nothing was changed, and `why` has the first reason; the log has all that is
 * wrong with the configuration. `result` is filled in either case. On STATUS_OK core_log_token is
 * what a success has to wait for. */
MUST_CHECK enum status core_apply_as(struct core *core, const struct config *config,
                                     const struct apply_options *options,
                                     struct apply_result *result, char *why, size_t why_size);

#endif
