/* SPDX-License-Identifier: Apache-2.0 */
/* How a plan is made, for the files that do it: plan.c walks, plan_objects.c compares what the
 * configuration names with what is there, plan_left.c looks at what it does not name. */
#ifndef BOURSE_BROKER_PLAN_PLAN_PARTS_H
#define BOURSE_BROKER_PLAN_PLAN_PARTS_H

#include "broker/plan/plan.h"
#include "broker/topology/vhost.h"
#include "broker/users/user.h"

enum phase {
    PHASE_HOST,
    PHASE_POLICIES,
    PHASE_EXCHANGES,
    PHASE_QUEUES,
    PHASE_BINDINGS,
    PHASE_USERS,
    PHASE_LEFT_POLICIES,
    PHASE_LEFT_EXCHANGES,
    PHASE_LEFT_QUEUES,
    PHASE_LEFT_BINDINGS,
    PHASE_LEFT_USERS,
    PHASE_END,
};

/* Bindings of the configuration under one key. */
struct named_binding {
    const struct config_binding *binding;
    struct named_binding *next;
};

struct planner {
    struct core *core;
    const struct config *config;
    const struct plan_options *options;
    struct plan *plan;
    enum phase phase;
    uint32_t at;            /* in the list of the phase, or in a map from its end down */
    uint64_t binding_at;    /* where the walk over its bindings stands */
    uint64_t exchange_id;   /* of that exchange; 0: none */
    struct map exchanges;   /* struct config_exchange by name; const, never written through */
    struct map queues;      /* struct config_queue by name; the same */
    struct map users;       /* struct config_user by name; the same */
    struct map bindings;    /* struct named_binding by binding_key */
    struct arena keys;      /* of `bindings` */
    struct buffer key;      /* scratch of binding_key */
    struct plan_step spare; /* of steps that are not kept */
};

/* NULL: it is still to be made. */
struct vhost *planner_vhost(const struct planner *planner);

/* Steps: what add_step returns lives until the next one is added. */
struct plan_step *planner_add_step(struct planner *planner, enum plan_action action,
                                   enum plan_object object, struct bytes name);
struct plan_step *planner_add_binding_step(struct planner *planner, enum plan_action action,
                                           const struct config_binding *binding);
void planner_drop_step(struct planner *planner, const struct plan_step *step);
void planner_add_line(struct planner *planner, struct plan_step *step, const char *key,
                      const char *from, const char *to);
void planner_add_sentence(struct planner *planner, struct plan_step *step, const char *sentence);

/* What goes with the object, and whether that was allowed. */
void planner_judge_loss(struct planner *planner, struct plan_step *step, bool is_protected);
void planner_note_queue_loss(struct plan_step *step, const struct queue *queue);
void planner_note_maker(struct planner *planner, struct plan_step *step, const struct made *made);

/* plan_objects.c: one object of the configuration. */
void plan_host(struct planner *planner);
void plan_policy(struct planner *planner, const struct config_policy *config);
void plan_exchange(struct planner *planner, const struct config_exchange *config);
void plan_queue(struct planner *planner, const struct config_queue *config);
void plan_binding(struct planner *planner, const struct config_binding *config);
void plan_user(struct planner *planner, const struct config_user *config);

/* The rights of the user in that vhost; false: none. Views live until the user changes. */
bool planner_find_grant(const struct user *user, struct bytes vhost, struct user_grant *grant);

/* plan_left.c: one object that is there. Bindings are those of one exchange, some at a time: true
 * when that were all. */
void plan_left_policies(struct planner *planner, const struct vhost *vhost);
void plan_left_exchange(struct planner *planner, const struct exchange *exchange);
void plan_left_queue(struct planner *planner, const struct queue *queue);
bool plan_left_bindings(struct planner *planner, struct exchange *exchange, uint32_t *budget);
void plan_left_user(struct planner *planner, const struct user *user);

/* Takes the binding down as one that the configuration names; whether it has one that is there,
 * whose target is not being deleted. */
void planner_note_binding(struct planner *planner, const struct config_binding *binding);
bool planner_names_binding(struct planner *planner, const struct binding *binding);
struct bytes binding_destination(const struct binding *binding);

#endif
