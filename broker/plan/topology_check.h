/* SPDX-License-Identifier: Apache-2.0 */
/* Judging a configuration against what is there, before anything is changed: what cannot be had,
 * and what differs so that only a new object could settle it. */
#ifndef BOURSE_BROKER_PLAN_TOPOLOGY_CHECK_H
#define BOURSE_BROKER_PLAN_TOPOLOGY_CHECK_H

#include "broker/core/core.h"
#include "queues/policy.h"

/* A configuration on its way into the core (topology.c). */
struct application {
    struct core *core;
    const struct config *config;
    struct vhost *vhost; /* the one it is for */
    bool is_new;         /* the vhost is nobody's yet */
    bool may_replace;    /* what differs for good is not refused here: the plan says what goes */
    size_t going_count;  /* queues that the plan deletes */
    uint64_t made_by;    /* the user who asks for it; 0: nobody */
    char *why;           /* the first refusal */
    size_t why_size;
    size_t refusal_count;
};

/* Looks at everything, so that all that is wrong is told in one go. False: something was refused.
 */
bool application_check(struct application *application);

/* Refuses the configuration for what stands at `mark`: a line of the log, and `why` if it is the
 * first. */
void application_reject(struct application *application, const struct config_mark *mark,
                        const char *format, ...) PRINTF_LIKE(3, 4);

/* Octets that the texts of the user's record take, at most. */
uint64_t config_user_octets(const struct config_user *user);

/* The policy that the file means; application_check has judged it. */
struct policy_properties config_policy_properties(const struct config_policy *config);

#endif
