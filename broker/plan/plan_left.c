/* SPDX-License-Identifier: Apache-2.0 */
/* What is there and the configuration does not name. */
#include "broker/durability/durability.h"
#include "broker/plan/plan_parts.h"
#include "queues/policy.h"

void
plan_left_policies(struct planner *planner, const struct vhost *vhost)
{
    for (enum policy_kind kind = 0; kind < POLICY_KIND_COUNT; kind++) {
        const struct policy *policy;
        for (uint32_t at = 0; (policy = vhost_policy_at(vhost, kind, at)) != NULL; at++) {
            const struct config *config = planner->config;
            bool is_named = false;
            for (size_t i = 0; i < config->policy_count && !is_named; i++) {
                is_named = bytes_equal(config->policies[i].name, policy->is.name) &&
                           config->policies[i].is_operator == (kind == POLICY_OPERATOR);
            }
            if (!is_named && planner->options->prune) {
                (void)planner_add_step(planner, PLAN_DELETE,
                                       kind == POLICY_OPERATOR ? PLAN_OPERATOR_POLICY : PLAN_POLICY,
                                       policy->is.name);
            }
        }
    }
}

/* It stays; the log is told that it is no longer of the file, if it was. */
static void
note_left(struct planner *planner, bool was_of_file, size_t text_octets)
{
    planner->plan->left_count++;
    planner->plan->left_octets += was_of_file ? CORE_RECORD_FIXED + text_octets : 0;
}

void
plan_left_exchange(struct planner *planner, const struct exchange *exchange)
{
    if (exchange->predeclared || map_get(&planner->exchanges, exchange->name) != NULL) {
        return;
    }
    if (!planner->options->prune) {
        note_left(planner, exchange->from_file, exchange->name.size + exchange->arguments.size);
        return;
    }
    struct plan_step *step = planner_add_step(planner, PLAN_DELETE, PLAN_EXCHANGE, exchange->name);
    planner_note_maker(planner, step, &exchange->made);
    planner_judge_loss(planner, step, exchange->is_protected);
}

/* What belongs to a connection ends with it, and is nobody else's business. */
void
plan_left_queue(struct planner *planner, const struct queue *queue)
{
    if (queue->exclusive || map_get(&planner->queues, queue_name(queue)) != NULL) {
        return;
    }
    if (!planner->options->prune) {
        note_left(planner, queue->from_file, queue_name(queue).size + queue->arguments.size);
        return;
    }
    struct plan_step *step = planner_add_step(planner, PLAN_DELETE, PLAN_QUEUE, queue_name(queue));
    planner_note_queue_loss(step, queue);
    planner_note_maker(planner, step, &queue->made);
    planner_judge_loss(planner, step, queue->is_protected);
}

/* Whether the end of a binding is there after the plan: what goes takes its bindings along. */
static bool
target_stays(const struct planner *planner, struct route_target *target)
{
    switch (target->kind) {
    case ROUTE_TARGET_QUEUE:
        return map_get(&planner->queues, queue_name(queue_of_target(target))) != NULL;
    case ROUTE_TARGET_EXCHANGE:
        return exchange_of_target(target)->predeclared ||
               map_get(&planner->exchanges, exchange_of_target(target)->name) != NULL;
    default:
        return false;
    }
}

static void
plan_left_binding(struct planner *planner, const struct binding *binding)
{
    const struct exchange *source = binding->source;
    bool is_asked = planner->options->prune || binding->from_file;
    if (!is_asked || !target_stays(planner, binding->target) ||
        planner_names_binding(planner, binding)) {
        return;
    }
    if (!planner->options->prune) {
        planner->plan->left_octets +=
            CORE_RECORD_FIXED + binding_routing_key(binding).size + binding_arguments(binding).size;
        return;
    }
    struct config_binding left = {
        .source = source->name,
        .destination = binding_destination(binding),
        .to_exchange = binding->target->kind == ROUTE_TARGET_EXCHANGE,
        .routing_key = binding_routing_key(binding),
        .arguments = binding_arguments(binding),
    };
    (void)planner_add_binding_step(planner, PLAN_DELETE, &left);
}

/* Some of the bindings of one exchange; true when that were all. */
bool
plan_left_bindings(struct planner *planner, struct exchange *exchange, uint32_t *budget)
{
    if (planner->exchange_id != exchange->target.id) {
        planner->exchange_id = exchange->target.id;
        planner->binding_at = 0;
    }
    bool stays = exchange->name.size > 0 && target_stays(planner, &exchange->target);
    while (stays && *budget > 0) {
        const struct binding *binding =
            binding_table_next(&exchange->bindings, &planner->binding_at);
        if (binding == NULL) {
            return true;
        }
        (*budget)--;
        plan_left_binding(planner, binding);
    }
    return !stays;
}

/* Users are the file's: one who is not in it may do nothing here any more. */
void
plan_left_user(struct planner *planner, const struct user *user)
{
    struct user_grant grant;
    bool is_ours =
        planner->options->is_alone || planner_find_grant(user, planner->config->vhost, &grant);
    if (!user->from_file || user->is_disabled || !is_ours ||
        map_get(&planner->users, user->name) != NULL) {
        return;
    }
    struct plan_step *step = planner_add_step(planner, PLAN_DELETE, PLAN_USER, user->name);
    planner_add_sentence(planner, step, "is not in the file: may do nothing any more");
}
