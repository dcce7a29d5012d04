/* SPDX-License-Identifier: Apache-2.0 */
/* The topic exchange: binding keys with `*` and `#` (AMQP 0-9-1, 3.1.3.3). */
#include "exchanges/exchange.h"
#include "routing/topic_trie.h"

static void *
topic_new(const struct matcher_tools *tools)
{
    return topic_trie_new(tools->seed);
}

static void
topic_free(void *matcher)
{
    struct topic_trie *trie = matcher;
    topic_trie_free(&trie);
}

/* Every key is a pattern. */
static enum status
topic_check(struct bytes routing_key, struct bytes arguments, struct fault *fault)
{
    (void)routing_key;
    (void)arguments;
    (void)fault;
    return STATUS_OK;
}

static void
topic_bind(void *matcher, struct binding *binding)
{
    topic_trie_bind(matcher, binding_routing_key(binding), binding->target);
}

static void
topic_unbind(void *matcher, struct binding *binding)
{
    topic_trie_unbind(matcher, binding_routing_key(binding), binding->target);
}

static void
topic_route(void *matcher, const struct exchange_message *message, struct route_set *set)
{
    topic_trie_route(matcher, message->routing_key, set);
}

/* Words that are left over weigh more than octets that differ in one of them. */
static uint32_t
topic_distance(const struct topic_finding *finding)
{
    enum { OCTETS_OF_WORD = 256 };
    return finding->unmatched * OCTETS_OF_WORD +
           verdict_key_distance(finding->found, finding->wanted);
}

static void
topic_explain_binding(void *matcher, const struct binding *binding,
                      const struct exchange_message *message, struct binding_verdict *verdict_out)
{
    (void)matcher;
    *verdict_out = (struct binding_verdict){.reason = VERDICT_TOPIC};
    topic_explain(binding_routing_key(binding), message->routing_key, &verdict_out->topic);
    verdict_out->matches = verdict_out->topic.stop == TOPIC_MATCHES;
    verdict_out->distance = topic_distance(&verdict_out->topic);
}

const struct exchange_type exchange_type_topic = {
    .name = "topic",
    .is_cacheable = true,
    .is_topic = true,
    .matcher_new = topic_new,
    .matcher_free = topic_free,
    .check = topic_check,
    .bind = topic_bind,
    .unbind = topic_unbind,
    .route = topic_route,
    .explain = topic_explain_binding,
};
