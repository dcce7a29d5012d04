/* SPDX-License-Identifier: Apache-2.0 */
/* The fanout exchange: every binding matches, keys do not matter (AMQP 0-9-1, 3.1.3.2). A target
 * bound under several keys gets one copy. */
#include <stdlib.h>

#include "base/alloc.h"
#include "exchanges/exchange.h"
#include "routing/target_bag.h"

static void *
fanout_new(const struct matcher_tools *tools)
{
    (void)tools;
    struct target_bag *targets = xalloc(sizeof(*targets));
    return targets;
}

static void
fanout_free(void *matcher)
{
    target_bag_fini(matcher);
    free(matcher);
}

static enum status
fanout_check(struct bytes routing_key, struct bytes arguments, struct fault *fault)
{
    (void)routing_key;
    (void)arguments;
    (void)fault;
    return STATUS_OK;
}

static void
fanout_bind(void *matcher, struct binding *binding)
{
    target_bag_add(matcher, binding->target);
}

static void
fanout_unbind(void *matcher, struct binding *binding)
{
    target_bag_remove(matcher, binding->target);
}

static void
fanout_route(void *matcher, const struct exchange_message *message, struct route_set *set)
{
    (void)message;
    target_bag_collect(matcher, set);
}

static void
fanout_explain(void *matcher, const struct binding *binding, const struct exchange_message *message,
               struct binding_verdict *verdict_out)
{
    (void)matcher;
    (void)binding;
    (void)message;
    *verdict_out = (struct binding_verdict){.matches = true, .reason = VERDICT_ALWAYS};
}

const struct exchange_type exchange_type_fanout = {
    .name = "fanout",
    .matcher_new = fanout_new,
    .matcher_free = fanout_free,
    .check = fanout_check,
    .bind = fanout_bind,
    .unbind = fanout_unbind,
    .route = fanout_route,
    .explain = fanout_explain,
};
