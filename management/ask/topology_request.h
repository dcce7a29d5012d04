/* SPDX-License-Identifier: Apache-2.0 */
/* What plan, apply and rollback are asked for: texts of files, and the words that allow what would
 * otherwise be refused. */
#ifndef BOURSE_MANAGEMENT_ASK_TOPOLOGY_REQUEST_H
#define BOURSE_MANAGEMENT_ASK_TOPOLOGY_REQUEST_H

#include "broker/plan/plan.h"
#include "management/http/call.h"

struct topology_request {
    struct plan_options options; /* names are views into the call */
    bool has_digest;
    uint64_t digest;
    bool is_dry_run;
};

/* "prune", "discard", "unprotect", "digest", "dry_run". False: the call was answered. */
bool topology_request_read(struct call *call, struct topology_request *request_out);

/* "files" and "passwords": the configuration they are, judged as `serve` would. NULL: the call was
 * answered; 422 with everything that is wrong. The caller frees it. */
struct config *topology_config_new(struct call *call);

/* The same of texts at hand; `sources` are borrowed. Its report says whether it is good. */
struct config *topology_config_of(const struct config_source *sources, size_t count);

/* Answers 422 with what is wrong with the configuration. */
void topology_refuse_config(struct call *call, const struct config *config);

#endif
