/* SPDX-License-Identifier: Apache-2.0 */
/* The question of a route explanation, judged as basic.publish would judge the message. */
#include "amqp/properties.h"
#include "amqp/reply.h"
#include "broker/explain/explain_walk.h"
#include "broker/message/delay.h"
#include "broker/publishing/publish.h"

enum { KEYS_MAX = 1 + PUBLISH_HEADER_KEYS_MAX };

static void
refuse(struct explained_route *route, const struct fault *fault)
{
    if (!route->is_refused) {
        route->is_refused = true;
        route->refusal = *fault;
    }
}

/* The keys of the message, and what else its properties say. STATUS_FAULT: it cannot be published
 * with them; what could be read counts. */
static enum status
read_properties(struct route_explanation *explanation, struct fault *fault)
{
    struct explained_route *route = &explanation->route;
    const struct route_question *question = &explanation->question;
    struct properties properties = {.flags = 0};
    route->keys = arena_alloc(&explanation->arena, KEYS_MAX * sizeof(*route->keys));
    route->keys[0] = question->routing_key;
    route->key_count = 1;
    if (question->properties.size == 0) {
        return STATUS_OK;
    }
    if (properties_decode(&properties, question->properties, fault) != STATUS_OK) {
        return STATUS_FAULT;
    }
    explanation->headers = properties.headers;
    if ((properties.flags & PROPERTY_EXPIRATION) != 0 &&
        expiration_read(properties.expiration, &explanation->expiration, fault) != STATUS_OK) {
        return STATUS_FAULT;
    }
    enum status status =
        publish_collect_keys(properties.headers, "CC", route->keys, &route->key_count, fault);
    return status != STATUS_OK ? status
                               : publish_collect_keys(properties.headers, "BCC", route->keys,
                                                      &route->key_count, fault);
}

/* The exchange, and whatever refuses the message before it is routed, in the order of a publish. */
static struct exchange *
judge(struct route_explanation *explanation, struct core *core, struct vhost *vhost)
{
    struct explained_route *route = &explanation->route;
    const struct route_question *question = &explanation->question;
    struct exchange *exchange = vhost_find_exchange(vhost, question->exchange);
    char text[RESOURCE_TEXT_SIZE];
    struct fault by_properties;
    struct fault by_rights;
    struct fault fault;
    enum status properties = read_properties(explanation, &by_properties);
    enum status rights = STATUS_OK;
    if (question->user.data != NULL) {
        route->asked_rights = true;
        rights =
            rights_explain(core, vhost, question->user, question->exchange, exchange, route->keys,
                           route->key_count, &explanation->arena, &route->rights, &by_rights);
    }
    if (rights != STATUS_OK && !route->rights.may_write) {
        refuse(route, &by_rights);
    }
    if (exchange == NULL) {
        (void)fault_no_exchange(&fault, vhost, question->exchange);
        refuse(route, &fault);
        return NULL;
    }
    if (exchange->internal) {
        (void)fault_channel(&fault, REPLY_ACCESS_REFUSED, "cannot publish to internal %s",
                            vhost_exchange_text(vhost, question->exchange, text));
        refuse(route, &fault);
    }
    if (properties != STATUS_OK) {
        refuse(route, &by_properties);
    }
    if (rights != STATUS_OK) {
        refuse(route, &by_rights);
    }
    if (delay_read(explanation->headers, core->now.wall_ms, &route->delay_ms, &fault) !=
            STATUS_OK &&
        exchange->is_delayed) {
        refuse(route, &fault);
    }
    return exchange;
}

bool
explanation_begin(struct route_explanation *explanation, struct core *core)
{
    struct explained_route *route = &explanation->route;
    const struct route_question *question = &explanation->question;
    struct vhost *vhost = core_find_vhost(core, question->vhost);
    explanation->has_begun = true;
    explanation->room = EXPLAIN_LISTED_MAX;
    route->vhost = question->vhost;
    route->exchange = question->exchange;
    route->user = question->user;
    if (vhost == NULL) {
        struct fault fault;
        (void)fault_connection(&fault, REPLY_NOT_ALLOWED, "vhost %.*s not found",
                               BYTES_FORMAT(question->vhost));
        refuse(route, &fault);
        return false;
    }
    explanation->vhost_id = vhost->id;
    explanation->exchange_deletions = vhost->exchange_deletions;
    struct exchange *exchange = judge(explanation, core, vhost);
    route->has_exchange = exchange != NULL;
    if (exchange != NULL) {
        struct found_exchange first = {.exchange = exchange};
        explanation_reach_exchange(explanation, &first, WAY_PUBLISHED, 0);
    }
    return exchange != NULL;
}
