/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/plan/topology_left.h"

#include "broker/changes/generation.h"
#include "broker/durability/durable_topology.h"
#include "broker/topology/vhost.h"
#include "broker/users/user.h"

/* Whether an object has left the file, which is found once; the mark is for the next file. */
static bool
has_left(bool *from_file, bool *is_named)
{
    bool left = *from_file && !*is_named;
    *from_file = *from_file && *is_named;
    *is_named = false;
    return left;
}

/* Flags of one bit have no address. */
static bool
queue_has_left(struct queue *queue)
{
    bool from_file = queue->from_file;
    bool is_named = queue->is_named;
    bool left = has_left(&from_file, &is_named);
    queue->from_file = from_file;
    queue->is_named = is_named;
    return left;
}

static void
report_left(const struct vhost *vhost, const char *kind, struct bytes name)
{
    char vhost_name[RESOURCE_TEXT_SIZE];
    char text[RESOURCE_TEXT_SIZE];
    log_warn(vhost->core->log, "topology.left_file", "kind=%s vhost=%s name=%s", kind,
             log_escape(vhost_name, sizeof(vhost_name), vhost->name),
             log_escape(text, sizeof(text), name));
}

static void
report_left_binding(const struct vhost *vhost, const struct binding *binding)
{
    const struct exchange *source = binding->source;
    bool to_exchange = binding->target->kind == ROUTE_TARGET_EXCHANGE;
    struct bytes destination = to_exchange ? exchange_of_target(binding->target)->name
                                           : queue_name(queue_of_target(binding->target));
    char texts[4][RESOURCE_TEXT_SIZE];
    log_warn(vhost->core->log, "topology.left_file", "kind=binding vhost=%s source=%s %s=%s key=%s",
             log_escape(texts[0], sizeof(texts[0]), vhost->name),
             log_escape(texts[1], sizeof(texts[1]), source->name),
             to_exchange ? "exchange" : "queue",
             log_escape(texts[2], sizeof(texts[2]), destination),
             log_escape(texts[3], sizeof(texts[3]), binding_routing_key(binding)));
}

static void
sweep_bindings(const struct vhost *vhost, struct exchange *exchange)
{
    uint64_t position = 0;
    for (struct binding *binding;
         (binding = binding_table_next(&exchange->bindings, &position)) != NULL;) {
        bool from_file = binding->from_file;
        bool is_named = binding->is_named;
        bool left = has_left(&from_file, &is_named);
        binding->from_file = from_file;
        binding->is_named = is_named;
        if (left && binding->target->kind != ROUTE_TARGET_GONE) {
            report_left_binding(vhost, binding);
            binding_remember(binding);
        }
    }
}

static void
sweep_policies(const struct vhost *vhost, enum policy_kind kind)
{
    struct policy *policy;
    for (uint32_t at = 0; (policy = vhost_policy_at(vhost, kind, at)) != NULL; at++) {
        if (has_left(&policy->is.from_file, &policy->is_named)) {
            report_left(vhost, policy_kind_name(kind), policy->is.name);
            policy_remember(vhost, policy);
        }
    }
}

static void
sweep_vhost(struct vhost *vhost)
{
    sweep_policies(vhost, POLICY_ORDINARY);
    sweep_policies(vhost, POLICY_OPERATOR);
    uint32_t position = 0;
    for (struct map_entry *entry; (entry = map_next(&vhost->exchanges, &position)) != NULL;) {
        struct exchange *exchange = entry->value;
        sweep_bindings(vhost, exchange);
        if (has_left(&exchange->from_file, &exchange->is_named)) {
            report_left(vhost, "exchange", exchange->name);
            exchange_remember(exchange);
        }
    }
    position = 0;
    for (struct map_entry *entry; (entry = map_next(&vhost->queues, &position)) != NULL;) {
        struct queue *queue = entry->value;
        if (queue_has_left(queue)) {
            report_left(vhost, "queue", queue_name(queue));
            queue_remember(queue);
        }
    }
}

/* Whether it has a configuration that is not of the file of `serve`. */
static bool
has_own_configuration(const struct core *core, struct bytes vhost)
{
    const struct generation *generation = core_current_generation(core, vhost);
    return generation != NULL &&
           (generation->cause == GENERATION_APPLY || generation->cause == GENERATION_ROLLBACK);
}

/* Of another vhost than the one at hand. */
static bool
is_none_of_ours(const struct leaving *leaving, struct bytes vhost)
{
    return !leaving->is_alone || has_own_configuration(leaving->core, vhost);
}

void
core_report_left(const struct leaving *leaving)
{
    uint32_t position = 0;
    for (struct map_entry *entry; (entry = map_next(&leaving->core->vhosts, &position)) != NULL;) {
        struct vhost *other = entry->value;
        bool is_named = other == leaving->vhost;
        if (!is_named && is_none_of_ours(leaving, other->name)) {
            continue;
        }
        sweep_vhost(other);
        if (has_left(&other->from_file, &is_named)) {
            report_left(other, "vhost", other->name);
            vhost_remember(other);
        }
    }
}

static bool
grant_stays(const struct leaving *leaving, struct bytes vhost, bool is_named)
{
    return bytes_equal(vhost, leaving->vhost->name) ? is_named : is_none_of_ours(leaving, vhost);
}

/* Whether any right of the user stays. */
static bool
keeps_some_grant(const struct leaving *leaving, const struct user *user, bool is_named)
{
    uint32_t position = 0;
    struct user_grant grant;
    while (user_next_grant(user, &position, &grant)) {
        if (grant_stays(leaving, grant.vhost, is_named)) {
            return true;
        }
    }
    return false;
}

static void
take_grants(const struct leaving *leaving, struct user *user, bool is_named)
{
    uint32_t position = 0;
    struct user_grant grant;
    while (user_next_grant(user, &position, &grant)) {
        if (!grant_stays(leaving, grant.vhost, is_named)) {
            core_take_grant(leaving->core, user, grant.vhost);
        }
    }
}

void
core_disable_left_users(const struct leaving *leaving)
{
    uint32_t position = 0;
    for (struct map_entry *entry; (entry = map_next(&leaving->core->users, &position)) != NULL;) {
        struct user *user = entry->value;
        bool is_named = user->is_named;
        user->is_named = false;
        if (!user->from_file || user->is_disabled) {
            continue;
        }
        if (keeps_some_grant(leaving, user, is_named)) {
            take_grants(leaving, user, is_named);
        } else {
            char name[RESOURCE_TEXT_SIZE];
            core_disable_user(leaving->core, user);
            log_info(leaving->core->log, "user.disabled", "user=%s",
                     log_escape(name, sizeof(name), user->name));
        }
    }
}
