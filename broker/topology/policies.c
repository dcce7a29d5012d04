/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/topology/policies.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "broker/death/retry.h"
#include "broker/durability/durability.h"
#include "broker/durability/durable_topology.h"
#include "broker/topology/vhost.h"
#include "broker/upkeep/ack_timeout.h"
#include "broker/upkeep/expiry.h"
#include "broker/upkeep/limits.h"

enum {
    WITHOUT_LIMIT = -1,
    STEPS_OF_OBJECT = 64,       /* of a walk: to look at one, whatever there is to match */
    STEPS_OF_GIVING_UP = 65536, /* an expression that ran into its limit */
    STEPS_OF_WORK = 32,         /* in the unit of core_spend */
};

/* Sets --------------------------------------------------------------------------------------- */

void
vhost_policies_init(struct vhost *vhost)
{
    for (int kind = 0; kind < POLICY_KIND_COUNT; kind++) {
        map_init(&vhost->policies.sets[kind].by_name, vhost->core->seed);
    }
}

static void
policy_rule_fini(struct policy_rule *rule)
{
    expression_fini(&rule->expression);
    policy_unref(&rule->policy);
}

static void
policy_set_fini(struct policy_set *set)
{
    for (uint32_t i = 0; i < set->count; i++) {
        policy_rule_fini(&set->rules[i]);
    }
    free(set->rules);
    map_fini(&set->by_name);
}

void
vhost_policies_fini(struct vhost *vhost)
{
    list_remove(&vhost->policies.walk_link);
    for (int kind = 0; kind < POLICY_KIND_COUNT; kind++) {
        policy_set_fini(&vhost->policies.sets[kind]);
    }
    expression_runner_fini(&vhost->policies.runner);
}

struct policy *
vhost_find_policy(const struct vhost *vhost, enum policy_kind kind, struct bytes name)
{
    return map_get(&vhost->policies.sets[kind].by_name, name);
}

struct policy *
vhost_policy_at(const struct vhost *vhost, enum policy_kind kind, uint32_t at)
{
    const struct policy_set *set = &vhost->policies.sets[kind];
    return at < set->count ? set->rules[at].policy : NULL;
}

/* Whether `a` is tried before `b`. */
static bool
comes_before(const struct policy *a, const struct policy *b)
{
    if (a->is.priority != b->is.priority) {
        return a->is.priority > b->is.priority;
    }
    return bytes_compare(a->is.name, b->is.name) < 0;
}

static MUST_CHECK enum status
policy_set_grow(struct policy_set *set)
{
    if (set->count < set->capacity) {
        return STATUS_OK;
    }
    uint32_t capacity = set->capacity == 0 ? 4 : 2 * set->capacity;
    struct policy_rule *rules = try_realloc(set->rules, capacity * sizeof(*rules));
    if (rules == NULL) {
        return STATUS_NO_MEMORY;
    }
    set->rules = rules;
    set->capacity = capacity;
    return STATUS_OK;
}

/* Takes the rule in; there is room. */
static void
policy_set_add(struct policy_set *set, const struct policy_rule *rule)
{
    uint32_t at = set->count++;
    for (; at > 0 && comes_before(rule->policy, set->rules[at - 1].policy); at--) {
        set->rules[at] = set->rules[at - 1];
    }
    set->rules[at] = *rule;
    map_put(&set->by_name, rule->policy->is.name, rule->policy);
}

static void
policy_set_remove(struct policy_set *set, const struct policy *policy)
{
    uint32_t at = 0;
    while (set->rules[at].policy != policy) {
        at++;
    }
    (void)map_remove(&set->by_name, policy->is.name);
    policy_rule_fini(&set->rules[at]);
    set->count--;
    memmove(&set->rules[at], &set->rules[at + 1], (set->count - at) * sizeof(*set->rules));
}

/* Making and deleting ------------------------------------------------------------------------ */

bool
policy_check(const struct policy_properties *properties, char *why, size_t why_size)
{
    struct expression expression;
    struct expression_error error;
    if (!policy_definition_check(properties, why, why_size)) {
        return false;
    }
    if (!expression_compile(&expression, properties->pattern, &error)) {
        (void)snprintf(why, why_size, "the pattern does not compile: %s, at offset %zu",
                       error.reason, error.offset);
        return false;
    }
    expression_fini(&expression);
    return true;
}

static void
log_pattern(const struct vhost *vhost, const struct policy *policy,
            const struct expression_error *error)
{
    char texts[2][RESOURCE_TEXT_SIZE];
    log_error(
        vhost->core->log, "policy.bad_pattern", "%s=%s pattern=%s at=%zu reason=\"%s\"",
        policy_kind_name(policy->is.kind), log_escape(texts[0], sizeof(texts[0]), policy->is.name),
        log_escape(texts[1], sizeof(texts[1]), policy->is.pattern), error->offset, error->reason);
}

struct policy *
vhost_restore_policy(struct vhost *vhost, uint64_t id, const struct policy_properties *properties)
{
    struct vhost_policies *policies = &vhost->policies;
    struct policy_set *set = &policies->sets[properties->kind];
    struct policy_rule rule = {.policy = NULL};
    struct expression_error error;
    if (policy_set_grow(set) != STATUS_OK ||
        (policies->runner.data == NULL && expression_runner_init(&policies->runner) != STATUS_OK)) {
        return NULL;
    }
    rule.policy = policy_new(id, properties);
    if (rule.policy == NULL) {
        return NULL;
    }
    if (!expression_compile(&rule.expression, properties->pattern, &error)) {
        log_pattern(vhost, rule.policy, &error);
    }
    policy_set_add(set, &rule);
    return rule.policy;
}

/* What is accepted and does nothing is told once for each policy, as for queues. */
static void
log_without_effect(const struct vhost *vhost, const struct policy *policy)
{
    char names[512];
    char texts[2][RESOURCE_TEXT_SIZE];
    size_t used = 0;
    struct byte_reader reader = byte_reader_make(policy->is.definition);
    struct bytes key;
    struct table_value value;
    while (table_next(&reader, &key, &value) && used < sizeof(names) - 1) {
        if (policy_does_nothing_by(policy->is.target, key)) {
            int length = snprintf(names + used, sizeof(names) - used, "%s%.*s",
                                  used == 0 ? "" : ", ", BYTES_FORMAT(key));
            used += length > 0 ? (size_t)length : 0;
        }
    }
    if (used > 0) {
        log_warn(vhost->core->log, "policy.keys_without_effect", "vhost=%s %s=%s keys=\"%s\"",
                 log_escape(texts[0], sizeof(texts[0]), vhost->name),
                 policy_kind_name(policy->is.kind),
                 log_escape(texts[1], sizeof(texts[1]), policy->is.name), names);
    }
}

enum status
vhost_put_policy(struct vhost *vhost, const struct policy_properties *properties)
{
    struct core *core = vhost->core;
    struct policy *replaced = vhost_find_policy(vhost, properties->kind, properties->name);
    uint64_t id = replaced != NULL ? replaced->id : core_new_id(core, true);
    enum status status = core_prepare_record(core, policy_octets(properties));
    if (status != STATUS_OK) {
        return status;
    }
    struct policy *policy = vhost_restore_policy(vhost, id, properties);
    if (policy == NULL) {
        return STATUS_NO_MEMORY;
    }
    if (replaced != NULL) {
        policy_set_remove(&vhost->policies.sets[properties->kind], replaced);
        map_put(&vhost->policies.sets[properties->kind].by_name, policy->is.name, policy);
    }
    policy_remember(vhost, policy);
    log_without_effect(vhost, policy);
    return STATUS_OK;
}

void
vhost_delete_policy(struct vhost *vhost, struct policy *policy)
{
    policy_forget(vhost, policy);
    policy_set_remove(&vhost->policies.sets[policy->is.kind], policy);
}

/* Matching ----------------------------------------------------------------------------------- */

struct match {
    struct vhost *vhost;
    struct bytes name;
    enum policy_object object;
    uint32_t steps; /* what it has taken */
};

static void
log_gave_up(const struct match *match, const struct policy *policy)
{
    char texts[2][RESOURCE_TEXT_SIZE];
    log_limited(match->vhost->core->log, LOG_LEVEL_WARN, "policy.pattern_too_costly",
                "%s=%s name=%s", policy_kind_name(policy->is.kind),
                log_escape(texts[0], sizeof(texts[0]), policy->is.name),
                log_escape(texts[1], sizeof(texts[1]), match->name));
}

/* An expression that gives up does not match. */
static bool
rule_matches(struct match *match, const struct policy_rule *rule)
{
    match->steps++;
    if ((policy_target_objects(rule->policy->is.target) & match->object) == 0) {
        return false;
    }
    switch (expression_match(&rule->expression, &match->vhost->policies.runner, match->name)) {
    case EXPRESSION_DIFFERS_AT_ONCE:
        return false;
    case EXPRESSION_GAVE_UP:
        match->steps += STEPS_OF_GIVING_UP;
        log_gave_up(match, rule->policy);
        return false;
    case EXPRESSION_DIFFERS:
        match->steps += POLICY_STEPS_OF_MATCH;
        return false;
    case EXPRESSION_MATCHES:
        break;
    }
    match->steps += POLICY_STEPS_OF_MATCH;
    return true;
}

static struct policy *
find_match(struct match *match, enum policy_kind kind)
{
    const struct policy_set *set = &match->vhost->policies.sets[kind];
    for (uint32_t i = 0; i < set->count; i++) {
        if (rule_matches(match, &set->rules[i])) {
            return set->rules[i].policy;
        }
    }
    return NULL;
}

/* Finds what applies now; returns which settings are other than before, and counts the steps. */
static uint32_t
match_queue(struct queue *queue, uint32_t *steps)
{
    struct match match = {
        .vhost = queue->vhost,
        .name = queue_name(queue),
        .object = queue->settings->type == QUEUE_TYPE_QUORUM ? POLICY_ON_QUORUM_QUEUE
                                                             : POLICY_ON_CLASSIC_QUEUE,
    };
    struct policy *policy = find_match(&match, POLICY_ORDINARY);
    struct policy *operator_policy = find_match(&match, POLICY_OPERATOR);
    *steps += match.steps;
    if (policy == queue_policy(queue, POLICY_ORDINARY) &&
        operator_policy == queue_policy(queue, POLICY_OPERATOR)) {
        return 0;
    }
    return queue_set_policies(queue, policy, operator_policy);
}

/* Operator policies have no key for exchanges. True: another applies now. */
static bool
match_exchange(struct exchange *exchange, uint32_t *steps)
{
    struct match match = {
        .vhost = exchange->vhost,
        .name = exchange->name,
        .object = POLICY_ON_EXCHANGE,
    };
    struct policy *policy = find_match(&match, POLICY_ORDINARY);
    struct policy *replaced = exchange->policy;
    *steps += match.steps;
    if (policy == replaced) {
        return false;
    }
    exchange->policy = policy_ref(policy);
    exchange_set_policy_alternate(exchange, policy == NULL ? bytes_make(NULL, 0)
                                                           : policy->alternate_exchange);
    policy_unref(&replaced);
    return true;
}

/* What a client's method has cost beyond what is counted for every one. */
static void
spend_steps(const struct vhost *vhost, uint32_t steps)
{
    core_spend(vhost->core, steps / STEPS_OF_WORK);
}

void
queue_match_policies(struct queue *queue)
{
    uint32_t steps = 0;
    (void)match_queue(queue, &steps);
    spend_steps(queue->vhost, steps);
}

void
exchange_match_policies(struct exchange *exchange)
{
    uint32_t steps = 0;
    (void)match_exchange(exchange, &steps);
    spend_steps(exchange->vhost, steps);
}

void
exchange_leave_policies(struct exchange *exchange)
{
    exchange_set_policy_alternate(exchange, bytes_make(NULL, 0));
    policy_unref(&exchange->policy);
}

/* Walking ------------------------------------------------------------------------------------ */

static bool
match_next_exchange(struct vhost *vhost, uint32_t *steps)
{
    struct vhost_policies *policies = &vhost->policies;
    struct map_entry *entry = map_previous(&vhost->exchanges, &policies->exchanges_left);
    if (entry == NULL) {
        return false;
    }
    *steps += STEPS_OF_OBJECT;
    policies->walked_count++;
    policies->changed_count += match_exchange(entry->value, steps);
    return true;
}

static bool
match_next_queue(struct vhost *vhost, uint32_t *steps)
{
    struct vhost_policies *policies = &vhost->policies;
    struct map_entry *entry = map_previous(&vhost->queues, &policies->queues_left);
    if (entry == NULL) {
        return false;
    }
    struct queue *queue = entry->value;
    uint32_t changed = match_queue(queue, steps);
    *steps += STEPS_OF_OBJECT;
    policies->walked_count++;
    if (changed != 0) {
        policies->changed_count++;
        *steps += STEPS_OF_OBJECT + queue->consumer_count;
        core_settings_changed(vhost->core, queue, changed);
    }
    return true;
}

static void
end_walk(struct vhost *vhost)
{
    const struct vhost_policies *policies = &vhost->policies;
    char text[RESOURCE_TEXT_SIZE];
    list_remove(&vhost->policies.walk_link);
    log_info(vhost->core->log, "policy.matched", "vhost=%s objects=%" PRIu64 " changed=%" PRIu64,
             log_escape(text, sizeof(text), vhost->name), policies->walked_count,
             policies->changed_count);
}

/* Goes on until `steps_max` are taken (WITHOUT_LIMIT: to the end); false when some were left. */
static bool
walk(struct vhost *vhost, int64_t steps_max)
{
    int64_t left = steps_max;
    uint32_t steps = 0;
    while (match_next_exchange(vhost, &steps) || match_next_queue(vhost, &steps)) {
        left -= steps;
        steps = 0;
        if (steps_max != WITHOUT_LIMIT && left <= 0) {
            return false;
        }
    }
    end_walk(vhost);
    return true;
}

void
vhost_match_policies_anew(struct vhost *vhost)
{
    struct core *core = vhost->core;
    struct vhost_policies *policies = &vhost->policies;
    list_remove(&policies->walk_link);
    list_append(&core->policy_walks, &policies->walk_link);
    policies->queues_left = map_places(&vhost->queues);
    policies->exchanges_left = map_places(&vhost->exchanges);
    policies->walked_count = 0;
    policies->changed_count = 0;
    bool is_start = core->counters.connections_opened == 0;
    (void)walk(vhost, is_start ? WITHOUT_LIMIT : POLICY_STEPS_PER_TICK);
}

void
core_match_policies(struct core *core)
{
    struct list_link *link = list_first(&core->policy_walks);
    if (link != NULL) {
        struct vhost *vhost = CONTAINER_OF(link, struct vhost, policies.walk_link);
        (void)walk(vhost, POLICY_STEPS_PER_TICK);
    }
}

/* What has changed ---------------------------------------------------------------------------- */

static const char *
settings_text(uint32_t changed, char *out, size_t out_size)
{
    size_t used = 0;
    out[0] = '\0';
    for (enum queue_setting i = 0; i < QUEUE_SETTING_COUNT && used < out_size; i++) {
        if ((changed >> i & 1) != 0) {
            int length = snprintf(out + used, out_size - used, "%s%s", used == 0 ? "" : ",",
                                  queue_setting_name(i));
            used += length > 0 ? (size_t)length : 0;
        }
    }
    return out;
}

static const char *
policy_text(const struct policy *policy, char out[static RESOURCE_TEXT_SIZE])
{
    return log_escape(out, RESOURCE_TEXT_SIZE, policy == NULL ? bytes_of("") : policy->is.name);
}

static void
log_changed_settings(struct core *core, const struct queue *queue, uint32_t changed)
{
    const struct vhost *vhost = queue->vhost;
    char texts[4][RESOURCE_TEXT_SIZE];
    char settings[512];
    log_debug(core->log, "queue.settings_changed",
              "vhost=%s queue=%s settings=%s policy=%s operator_policy=%s",
              log_escape(texts[0], sizeof(texts[0]), vhost->name),
              log_escape(texts[1], sizeof(texts[1]), queue_name(queue)),
              settings_text(changed, settings, sizeof(settings)),
              policy_text(queue_policy(queue, POLICY_ORDINARY), texts[2]),
              policy_text(queue_policy(queue, POLICY_OPERATOR), texts[3]));
}

void
core_settings_changed(struct core *core, struct queue *queue, uint32_t changed)
{
    assert(changed != 0);
    if ((changed >> SETTING_CONSUMER_TIMEOUT & 1) != 0) {
        queue_review_timeouts(queue);
    }
    if ((changed >> SETTING_EXPIRES & 1) != 0) {
        core_use_queue(core, queue);
    }
    core_review_hold(core, queue);
    core_heed_limit(core, queue);
    if (log_is_enabled(core->log, LOG_LEVEL_DEBUG)) {
        log_changed_settings(core, queue, changed);
    }
}
