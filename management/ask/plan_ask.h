/* SPDX-License-Identifier: Apache-2.0 */
/* Having the core make a plan of a configuration, or apply it, for a call. */
#ifndef BOURSE_MANAGEMENT_ASK_PLAN_ASK_H
#define BOURSE_MANAGEMENT_ASK_PLAN_ASK_H

#include "broker/plan/apply.h"
#include "management/ask/topology_request.h"

/* Makes a plan, in slices, and answers with it. Takes `config`; what `options` point to is the
 * call's. */
void plan_ask_start(struct call *call, struct config *config, const struct plan_options *options);

/* Applies it and answers when that is on disk: 200 with the plan that was carried out and the
 * generation, 409 with the one that was not. Takes `config`. `restored_id`: the generation that it
 * is a rollback to; 0: it is none. */
void apply_ask_start(struct call *call, struct config *config,
                     const struct topology_request *request, uint64_t restored_id);

#endif
