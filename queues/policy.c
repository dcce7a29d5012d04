/* SPDX-License-Identifier: Apache-2.0 */
#include "queues/policy.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "base/assert.h"

static const struct {
    const char *name;
    uint8_t objects;
} targets[POLICY_TARGET_COUNT] = {
    [POLICY_FOR_ALL] = {"all", POLICY_ON_CLASSIC_QUEUE | POLICY_ON_QUORUM_QUEUE | POLICY_ON_STREAM |
                                   POLICY_ON_EXCHANGE},
    [POLICY_FOR_QUEUES] = {"queues",
                           POLICY_ON_CLASSIC_QUEUE | POLICY_ON_QUORUM_QUEUE | POLICY_ON_STREAM},
    [POLICY_FOR_CLASSIC_QUEUES] = {"classic_queues", POLICY_ON_CLASSIC_QUEUE},
    [POLICY_FOR_QUORUM_QUEUES] = {"quorum_queues", POLICY_ON_QUORUM_QUEUE},
    [POLICY_FOR_STREAMS] = {"streams", POLICY_ON_STREAM},
    [POLICY_FOR_EXCHANGES] = {"exchanges", POLICY_ON_EXCHANGE},
};

bool
policy_target_find(struct bytes name, enum policy_target *target_out)
{
    for (int i = 0; i < POLICY_TARGET_COUNT; i++) {
        if (bytes_equal_text(name, targets[i].name)) {
            *target_out = (enum policy_target)i;
            return true;
        }
    }
    return false;
}

const char *
policy_target_name(enum policy_target target)
{
    return targets[target].name;
}

uint8_t
policy_target_objects(enum policy_target target)
{
    return targets[target].objects;
}

const char *
policy_kind_name(enum policy_kind kind)
{
    return kind == POLICY_OPERATOR ? "operator_policy" : "policy";
}

/* Life --------------------------------------------------------------------------------------- */

static struct bytes
copy_behind(uint8_t **end, struct bytes bytes)
{
    uint8_t *copy = *end;
    if (bytes.size > 0) {
        memcpy(copy, bytes.data, bytes.size);
    }
    *end += bytes.size;
    return bytes_make(copy, bytes.size);
}

static void
read_definition(struct policy *policy)
{
    bool is_operator = policy->is.kind == POLICY_OPERATOR;
    queue_settings_fill(&policy->settings, QUEUE_TYPE_CLASSIC, policy->is.definition,
                        SETTINGS_OF_POLICY,
                        is_operator ? SETTING_FROM_OPERATOR_POLICY : SETTING_FROM_POLICY);
    struct table_value value;
    if (table_find(policy->is.definition, "alternate-exchange", &value)) {
        policy->alternate_exchange = value.raw;
    }
}

struct policy *
policy_new(uint64_t id, const struct policy_properties *properties)
{
    size_t octets = properties->name.size + properties->pattern.size + properties->definition.size;
    struct policy *policy = try_alloc(sizeof(*policy) + octets);
    if (policy == NULL) {
        return NULL;
    }
    *policy = (struct policy){.is = *properties, .references = 1, .id = id};
    uint8_t *end = (uint8_t *)(policy + 1);
    policy->is.name = copy_behind(&end, properties->name);
    policy->is.pattern = copy_behind(&end, properties->pattern);
    policy->is.definition = copy_behind(&end, properties->definition);
    read_definition(policy);
    return policy;
}

struct policy *
policy_ref(struct policy *policy)
{
    if (policy != NULL) {
        assert(policy->references > 0);
        policy->references++;
    }
    return policy;
}

void
policy_unref(struct policy **policy_pointer)
{
    struct policy *policy = *policy_pointer;
    *policy_pointer = NULL;
    if (policy == NULL) {
        return;
    }
    assert(policy->references > 0);
    if (--policy->references == 0) {
        free(policy);
    }
}

bool
policy_says_the_same(const struct policy *policy, const struct policy_properties *properties)
{
    return policy->is.target == properties->target && policy->is.priority == properties->priority &&
           bytes_equal(policy->is.pattern, properties->pattern) &&
           table_equal(policy->is.definition, properties->definition);
}
