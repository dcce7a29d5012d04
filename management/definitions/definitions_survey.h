/* SPDX-License-Identifier: Apache-2.0 */
/* What a running broker has, as definitions, copied out in slices: one row of the budget for each
 * user, policy, exchange, queue and binding. Exclusive queues with their bindings, and exchanges
 * that every vhost has, are no definitions; what is bound from and to those is.
 *
 * Owner: the core thread, from the first step to the last. */
#ifndef BOURSE_MANAGEMENT_DEFINITIONS_DEFINITIONS_SURVEY_H
#define BOURSE_MANAGEMENT_DEFINITIONS_DEFINITIONS_SURVEY_H

#include "broker/core/request.h"
#include "management/definitions/definitions.h"

struct definitions_survey {
    struct definitions *definitions; /* borrowed; grows */
    struct bytes vhost;              /* only this one, without users; data NULL: all of them */
    bool is_found;                   /* the vhost is there, or all are wanted */
    bool has_begun;
    size_t vhost_at; /* in definitions->vhosts */
    bool is_in_vhost;
    uint64_t vhost_id; /* of that one: another of its name is not walked on with */
    uint32_t queues_left, exchanges_left;
    uint64_t binding_at;      /* of the exchange that `exchanges_left` points at */
    struct bytes bindings_of; /* its name; data NULL: the next one */
};

/* All zero but for what is wanted. */
enum request_progress definitions_survey_step(struct definitions_survey *survey, struct core *core,
                                              uint32_t *budget);

#endif
