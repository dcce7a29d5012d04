/* SPDX-License-Identifier: Apache-2.0 */
#include "queues/queue_arguments.h"

#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/assert.h"

void
queue_read_arguments(struct queue_settings *settings, struct bytes arguments)
{
    struct fault fault;
    enum status status = queue_settings_read(settings, arguments, "queue", &fault);
    assert(status == STATUS_OK);
}

/* Arguments that were changed, and what they say. */
struct changed_arguments {
    struct queue_settings settings;
    uint8_t octets[];
};

/* NULL: they are as declared. */
static struct changed_arguments *
changed_arguments(const struct queue *queue)
{
    if (!queue->has_own_arguments) {
        return NULL;
    }
    const uint8_t *octets = queue->arguments.data;
    return (struct changed_arguments *)(uintptr_t)(octets -
                                                   offsetof(struct changed_arguments, octets));
}

/* What the arguments say, whatever policies do. */
static const struct queue_settings *
declared_settings(const struct queue *queue)
{
    const struct changed_arguments *changed = changed_arguments(queue);
    if (changed != NULL) {
        return &changed->settings;
    }
    const uint8_t *declared = (const uint8_t *)queue + queue_settings_offset(queue->name_size);
    return queue->arguments.size > 0 ? (const struct queue_settings *)(const void *)declared
                                     : queue_settings_default();
}

/* Policies ------------------------------------------------------------------------------------- */

/* Of queues that policies apply to. */
struct queue_policies {
    struct queue_settings settings; /* what is in force */
    struct policy *applied[POLICY_KIND_COUNT];
};

static struct queue_policies *
queue_policies(const struct queue *queue)
{
    return queue->has_policies ? (struct queue_policies *)(uintptr_t)queue->settings : NULL;
}

struct policy *
queue_policy(const struct queue *queue, enum policy_kind kind)
{
    const struct queue_policies *policies = queue_policies(queue);
    return policies == NULL ? NULL : policies->applied[kind];
}

static void
queue_policies_free(struct queue_policies *policies)
{
    if (policies != NULL) {
        policy_unref(&policies->applied[POLICY_ORDINARY]);
        policy_unref(&policies->applied[POLICY_OPERATOR]);
        free(policies);
    }
}

static void
merge_settings(struct queue_policies *policies, const struct queue_settings *declared)
{
    const struct policy *policy = policies->applied[POLICY_ORDINARY];
    const struct policy *operator_policy = policies->applied[POLICY_OPERATOR];
    queue_settings_merge(&policies->settings, declared, policy == NULL ? NULL : &policy->settings,
                         operator_policy == NULL ? NULL : &operator_policy->settings);
}

uint32_t
queue_set_policies(struct queue *queue, struct policy *policy, struct policy *operator_policy)
{
    struct queue_policies *before = queue_policies(queue);
    const struct queue_settings *settings_before = queue->settings;
    queue->has_policies = policy != NULL || operator_policy != NULL;
    queue->settings = declared_settings(queue);
    if (queue->has_policies) {
        struct queue_policies *policies = xalloc(sizeof(*policies));
        policies->applied[POLICY_ORDINARY] = policy_ref(policy);
        policies->applied[POLICY_OPERATOR] = policy_ref(operator_policy);
        merge_settings(policies, queue->settings);
        queue->settings = &policies->settings;
    }
    uint32_t changed = queue_settings_differences(settings_before, queue->settings);
    queue_policies_free(before);
    return changed;
}

/* Arguments ------------------------------------------------------------------------------------ */

enum status
queue_set_arguments(struct queue *queue, struct bytes arguments, uint32_t *changed_out)
{
    struct changed_arguments *changed = try_alloc(sizeof(*changed) + arguments.size);
    if (changed == NULL) {
        return STATUS_NO_MEMORY;
    }
    if (arguments.size > 0) {
        memcpy(changed->octets, arguments.data, arguments.size);
    }
    struct bytes copy = bytes_make(changed->octets, arguments.size);
    queue_read_arguments(&changed->settings, copy);
    assert(changed->settings.type == queue->settings->type);
    assert(changed->settings.max_priority == queue->settings->max_priority);
    assert(changed->settings.single_active_consumer == queue->settings->single_active_consumer);
    struct queue_policies *policies = queue_policies(queue);
    struct queue_settings before = *queue->settings;
    struct changed_arguments *replaced = changed_arguments(queue);
    queue->arguments = copy;
    queue->has_own_arguments = true;
    queue->settings = &changed->settings;
    if (policies != NULL) {
        merge_settings(policies, &changed->settings);
        queue->settings = &policies->settings;
    }
    *changed_out = queue_settings_differences(&before, queue->settings);
    free(replaced);
    return STATUS_OK;
}

void
queue_free_arguments(struct queue *queue)
{
    queue_policies_free(queue_policies(queue));
    free(changed_arguments(queue));
}
