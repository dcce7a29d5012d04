/* SPDX-License-Identifier: Apache-2.0 */
/* The set of a routing pass is its work list as well: exchanges are collected beside queues, and
 * the walk goes on until it has been through all of them. A target that is in the set already is
 * not added again, which bounds the walk. */
#include "broker/publishing/route.h"

#include "broker/core/core_clock.h"
#include "broker/message/delay.h"
#include "broker/topology/vhost.h"
#include "queues/waiting.h"

/* Publishers mostly name the queue that was named last, which takes no hash to see. */
static struct queue *
find_named_queue(struct vhost *vhost, struct bytes name)
{
    if (vhost->named_last == NULL || !bytes_equal(queue_name(vhost->named_last), name)) {
        vhost->named_last = vhost_find_queue(vhost, name);
    }
    return vhost->named_last;
}

/* The default exchange has every queue bound under its name, and no other bindings. */
static void
route_to_named_queues(struct vhost *vhost, const struct route_message *message,
                      struct route_set *set)
{
    for (uint32_t i = 0; i < message->key_count; i++) {
        struct queue *queue = find_named_queue(vhost, message->keys[i]);
        if (queue != NULL) {
            route_set_add(set, &queue->target);
        }
    }
}

static void
route_keys(struct core *core, struct exchange *exchange, const struct route_message *message,
           struct route_set *set)
{
    bool is_asked_once = exchange->type->routes_once;
    uint32_t times = is_asked_once ? 1 : message->key_count;
    UNINITIALIZED struct exchange_message shown;
    shown.headers = message->headers;
    shown.properties = message->properties;
    shown.other_keys = message->keys + 1;
    shown.other_key_count = is_asked_once ? message->key_count - 1 : 0;
    for (uint32_t i = 0; i < times; i++) {
        shown.routing_key = message->keys[i];
        exchange_route(exchange, &shown, core->cache, set);
    }
}

/* Whether a target from `start` on is still there: mostly the first that is asked. */
static bool
reaches_anybody(const struct route_set *set, uint32_t start)
{
    for (uint32_t i = start; i < set->count; i++) {
        if (set->targets[i]->kind != ROUTE_TARGET_GONE) {
            return true;
        }
    }
    return false;
}

/* Whether the exchange matches anything at all, when all it may have matched was in the set before:
 * matches once more under a stamp of its own, then marks what is in the set anew. */
static bool
matches_known_targets(struct core *core, struct exchange *exchange,
                      const struct route_message *message)
{
    struct route_set *set = &core->routes;
    struct route_set probe;
    route_set_init(&probe);
    probe.stamp = ++set->stamp;
    route_keys(core, exchange, message, &probe);
    bool matches = reaches_anybody(&probe, 0);
    set->stamp = probe.stamp + 1; /* it may have taken more than one */
    route_set_fini(&probe);
    for (uint32_t i = 0; i < set->count; i++) {
        set->targets[i]->stamp = set->stamp;
    }
    return matches;
}

/* What an exchange could not route goes to its alternate exchange; one that does not exist, or no
 * longer, drops it. */
static void
route_alternate(struct vhost *vhost, const struct exchange *exchange, struct route_set *set)
{
    struct exchange *alternate = vhost_find_exchange(vhost, exchange->alternate);
    if (alternate != NULL) {
        route_set_add(set, &alternate->target);
    }
}

static inline void
route_exchange(struct core *core, struct vhost *vhost, struct exchange *exchange,
               const struct route_message *message)
{
    struct route_set *set = &core->routes;
    if (exchange->name.size == 0) {
        route_to_named_queues(vhost, message, set);
        return;
    }
    uint32_t known_count = set->count;
    route_keys(core, exchange, message, set);
    bool may_be_unrouted = exchange->alternate.data != NULL && !reaches_anybody(set, known_count);
    if (may_be_unrouted && !matches_known_targets(core, exchange, message)) {
        route_alternate(vhost, exchange, set);
    }
}

static bool
is_exchange(const struct route_target *target)
{
    return target->kind == ROUTE_TARGET_EXCHANGE;
}

/* Until when the exchange holds the message back, as a row of it is due; 0: not at all. */
static uint64_t
hold_until_ms(const struct core *core, const struct exchange *exchange,
              const struct route_message *message)
{
    uint64_t delay_ms = 0;
    struct fault fault;
    if (exchange->is_delayed && message->headers.size > 0) {
        enum status status = delay_read(message->headers, core->now.wall_ms, &delay_ms, &fault);
        (void)status; /* what it could read counts, and ten years of what was longer */
    }
    return delay_ms == 0 ? 0 : waiting_due_ms(core_now_ms(core) + delay_ms);
}

/* Walks from target `start` of the set on. Exchanges that hold the message back are passed over;
 * returns whether there are any. */
static bool
walk_promptly(struct core *core, struct vhost *vhost, const struct route_message *message,
              uint32_t start)
{
    struct route_set *set = &core->routes;
    bool is_held = false;
    for (uint32_t i = start; i < set->count; i++) {
        if (!is_exchange(set->targets[i])) {
            continue;
        }
        struct exchange *exchange = exchange_of_target(set->targets[i]);
        if (exchange->is_delayed && hold_until_ms(core, exchange, message) != 0) {
            core->route_due_ms = hold_until_ms(core, exchange, message);
            is_held = true;
        } else {
            route_exchange(core, vhost, exchange, message);
        }
    }
    return is_held;
}

/* Goes on behind those that were passed over; what it finds stands behind the first `prompt_count`
 * targets. */
static SELDOM void
walk_behind_held(struct core *core, struct vhost *vhost, const struct route_message *message,
                 uint32_t prompt_count)
{
    struct route_set *set = &core->routes;
    for (uint32_t i = 0; i < set->count; i++) {
        if (!is_exchange(set->targets[i])) {
            continue;
        }
        struct exchange *exchange = exchange_of_target(set->targets[i]);
        if (i >= prompt_count || hold_until_ms(core, exchange, message) != 0) {
            route_exchange(core, vhost, exchange, message);
        }
    }
}

/* Only queues stay, in their order; not those that are deleted. */
static void
keep_queues(struct core *core, uint32_t prompt_count)
{
    struct route_set *set = &core->routes;
    uint32_t kept = 0;
    core->prompt_count = 0;
    for (uint32_t i = 0; i < set->count; i++) {
        if (set->targets[i]->kind == ROUTE_TARGET_QUEUE) {
            set->targets[kept++] = set->targets[i];
            core->prompt_count += i < prompt_count ? 1 : 0;
        }
    }
    set->count = kept;
}

static bool
holds_only_queues(const struct route_set *set)
{
    for (uint32_t i = 0; i < set->count; i++) {
        if (set->targets[i]->kind != ROUTE_TARGET_QUEUE) {
            return false;
        }
    }
    return true;
}

/* Most exchanges lead to queues and to nothing else: then there is no walk, and the exchange needs
 * no place in the set, only the mark that it is known, which one key does not renew. False: it has
 * its place now, and was routed; the walk goes on behind it. */
static inline bool
route_to_queues(struct core *core, struct exchange *exchange, const struct route_message *message)
{
    struct route_set *set = &core->routes;
    exchange->target.stamp = set->stamp;
    route_keys(core, exchange, message, set);
    if (!holds_only_queues(set)) {
        route_set_put_first(set, &exchange->target);
        return false;
    }
    core->prompt_count = set->count;
    return true;
}

static void
route_by_walking(struct core *core, struct vhost *vhost, const struct route_message *message,
                 uint32_t start)
{
    bool is_held = walk_promptly(core, vhost, message, start);
    uint32_t prompt_count = core->routes.count;
    if (is_held) {
        walk_behind_held(core, vhost, message, prompt_count);
    }
    keep_queues(core, prompt_count);
}

void
core_route(struct core *core, struct vhost *vhost, struct exchange *exchange,
           const struct route_message *message)
{
    struct route_set *set = &core->routes;
    route_set_begin(set);
    if (exchange->name.size == 0) {
        route_to_named_queues(vhost, message, set); /* and nothing is behind them */
        core->prompt_count = set->count;
        return;
    }
    if (exchange->is_delayed || exchange->alternate.data != NULL || message->key_count > 1) {
        route_set_add(set, &exchange->target);
        route_by_walking(core, vhost, message, 0);
    } else if (!route_to_queues(core, exchange, message)) {
        route_by_walking(core, vhost, message, 1);
    }
}
