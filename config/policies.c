/* SPDX-License-Identifier: Apache-2.0 */
#include "config/policies.h"

#include "config/arguments.h"
#include "config/report.h"
#include "config/topology.h"

/* Where messages of somebody else's may be lost for a misspelt name. */
static void
check_exchange(struct config *config, const struct document *document, const struct node *key)
{
    bool is_name = bytes_equal_text(key->key, "dead-letter-exchange") ||
                   bytes_equal_text(key->key, "alternate-exchange");
    if (!is_name || key->kind != NODE_SCALAR || key->text.size == 0 ||
        topology_has_exchange(document, key->text)) {
        return;
    }
    report_warning(config, key->mark,
                   "\"%.*s\" names the exchange \"%.*s\", which is not declared here",
                   BYTES_FORMAT(key->key), BYTES_FORMAT(key->text));
}

static void
compile_keys(struct config *config, const struct document *document, const struct node *definition,
             struct config_policy *out)
{
    out->keys = arena_alloc(&config->arena, (definition->count + 1) * sizeof(*out->keys));
    for (const struct node *key = definition->first; key != NULL; key = key->next) {
        out->keys[out->key_count++] = (struct config_policy_key){
            .name = key->key,
            .mark = key->key_mark,
            .value_mark = key->mark,
        };
        check_exchange(config, document, key);
    }
}

static void
compile_policy(struct config *config, const struct document *document,
               const struct document_policy *policy, bool is_operator)
{
    struct config_policy *out = &config->policies[config->policy_count++];
    struct buffer table;
    *out = (struct config_policy){
        .name = policy->named.name,
        .is_operator = is_operator,
        .pattern = policy->pattern.value.text,
        .pattern_mark = policy->pattern.node->mark,
        .apply_to =
            policy->apply_to.node == NULL ? "all" : (const char *)policy->apply_to.value.text.data,
        .priority = (int32_t)policy->priority.value.integer,
        .mark = policy->named.mark,
    };
    buffer_init(&table);
    arguments_put_map(config, &table, policy->definition);
    out->definition = arguments_finish(config, &table);
    compile_keys(config, document, policy->definition, out);
}

/* Without them it was reported. */
static bool
is_whole(const struct document_policy *policy)
{
    return policy->pattern.node != NULL && policy->definition != NULL &&
           (policy->definition->kind == NODE_MAPPING || node_is_null(policy->definition));
}

static void
compile_list(struct config *config, const struct document *document, const struct named_list *list,
             bool is_operator)
{
    for (size_t i = 0; i < list->count; i++) {
        const struct document_policy *policy = list->items[i];
        if (is_whole(policy)) {
            compile_policy(config, document, policy, is_operator);
        }
    }
}

void
policies_compile(struct config *config, const struct document *document)
{
    size_t count = document->policies.count + document->operator_policies.count;
    config->policies = arena_alloc(&config->arena, (count + 1) * sizeof(*config->policies));
    compile_list(config, document, &document->policies, false);
    compile_list(config, document, &document->operator_policies, true);
}
