/* SPDX-License-Identifier: Apache-2.0 */
/* Two lists, worked off from the front; what falls on the way joins the back. A budget that each
 * tick fills up again bounds what all deletions of a tick do together. */
#include "broker/topology/doomed.h"

#include "broker/channels/channel.h"
#include "broker/connections/connection.h"
#include "broker/durability/durable_topology.h"
#include "broker/topology/vhost.h"

/* False when the tick allows no more; else the binding may go, whatever it costs. */
static bool
spend(struct core *core, const struct binding *binding)
{
    if (core->unbinds_left == 0) {
        return false;
    }
    uint32_t work = exchange_binding_work(binding);
    core->unbinds_left -= work < core->unbinds_left ? work : core->unbinds_left;
    return true;
}

/* From now on a match of it is none (broker/publishing/route.c). */
static void
leave_routes(struct route_target *target)
{
    target->kind = ROUTE_TARGET_GONE;
}

static void
doom_exchange(struct core *core, struct exchange *exchange)
{
    struct vhost *vhost = exchange->vhost;
    exchange_forget(exchange);
    leave_routes(&exchange->target);
    (void)map_remove(&vhost->exchanges, exchange->name);
    vhost->exchange_deletions++;
    list_append(&core->doomed_exchanges, &exchange->doomed_link);
}

/* A source that is itself doomed is on the list already. */
static void
remove_binding(struct core *core, struct binding *binding)
{
    struct exchange *source = binding->source;
    exchange_unbind_binding(source, binding);
    if (source->auto_delete && source->bindings.count == 0 &&
        !list_link_is_linked(&source->doomed_link)) {
        doom_exchange(core, source);
    }
}

/* Removes the bindings that lead to `target`; false when the tick allows no more. */
static bool
remove_bindings_to(struct core *core, struct route_target *target)
{
    for (struct list_link *link; (link = list_first(&target->bindings)) != NULL;) {
        struct binding *binding = CONTAINER_OF(link, struct binding, target_link);
        if (!spend(core, binding)) {
            return false;
        }
        remove_binding(core, binding);
    }
    return true;
}

/* Removes the bindings of which `exchange` is the source. */
static bool
remove_bindings_of(struct core *core, struct exchange *exchange)
{
    for (struct binding *binding; (binding = binding_table_any(&exchange->bindings)) != NULL;) {
        if (!spend(core, binding)) {
            return false;
        }
        exchange_unbind_binding(exchange, binding);
    }
    return true;
}

static bool
end_exchanges(struct core *core)
{
    for (struct list_link *link; (link = list_first(&core->doomed_exchanges)) != NULL;) {
        struct exchange *exchange = CONTAINER_OF(link, struct exchange, doomed_link);
        if (!remove_bindings_of(core, exchange) || !remove_bindings_to(core, &exchange->target)) {
            return false;
        }
        list_remove(&exchange->doomed_link);
        exchange_leave_policies(exchange);
        exchange_free(&exchange);
    }
    return true;
}

static bool
end_queues(struct core *core)
{
    for (struct list_link *link; (link = list_first(&core->doomed_queues)) != NULL;) {
        struct queue *queue = CONTAINER_OF(link, struct queue, owner_list_link);
        if (!remove_bindings_to(core, &queue->target)) {
            return false;
        }
        list_remove(&queue->owner_list_link);
        queue_unref(&queue);
    }
    return true;
}

void
core_unbind_doomed(struct core *core)
{
    if (end_queues(core)) {
        (void)end_exchanges(core); /* which the queues may have made more */
    }
}

void
core_doom_exchange(struct core *core, struct exchange *exchange)
{
    doom_exchange(core, exchange);
    core_unbind_doomed(core);
}

void
core_doom_queue(struct core *core, struct queue *queue)
{
    leave_routes(&queue->target);
    list_append(&core->doomed_queues, &queue->owner_list_link);
    core_unbind_doomed(core);
}

void
core_remove_binding(struct core *core, struct binding *binding)
{
    remove_binding(core, binding);
    core_unbind_doomed(core);
}

bool
core_is_unbinding(const struct core *core)
{
    return !list_is_empty(&core->doomed_exchanges) || !list_is_empty(&core->doomed_queues);
}

void
core_begin_unbinding(struct core *core)
{
    core->unbinds_left = CORE_UNBINDS_PER_TICK;
    core_unbind_doomed(core);
    if (core_is_unbinding(core)) {
        return;
    }
    struct list_link *link;
    while ((link = list_pop(&core->unbind_waiters)) != NULL) {
        connection_replay_later(CONTAINER_OF(link, struct channel, wait_link)->connection);
    }
}

void
core_unbind_all(struct core *core)
{
    while (core_is_unbinding(core)) {
        core->unbinds_left = CORE_UNBINDS_PER_TICK;
        core_unbind_doomed(core);
    }
}
