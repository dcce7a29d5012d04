/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/definitions/definitions_config.h"

const char *const *
definitions_role_tags(enum config_role role)
{
    static const char *const tags[][4] = {
        [ROLE_NONE] = {NULL},
        [ROLE_MONITOR] = {"monitoring", NULL},
        [ROLE_OPERATOR] = {"monitoring", "policymaker", "management", NULL},
        [ROLE_ADMIN] = {"administrator", NULL},
    };
    return tags[role];
}

static struct bytes
keep(struct definitions *definitions, struct bytes text)
{
    return arena_copy(&definitions->arena, text);
}

static const char *
keep_text(struct definitions *definitions, const char *text)
{
    return arena_strdup(&definitions->arena, text);
}

static void
add_tags(struct definitions *definitions, enum config_role role, struct definitions_user *user)
{
    const char *const *tags = definitions_role_tags(role);
    user->tags = arena_alloc(&definitions->arena, 4 * sizeof(*user->tags));
    for (; tags[user->tag_count] != NULL; user->tag_count++) {
        user->tags[user->tag_count] = bytes_of(tags[user->tag_count]);
    }
}

static void
add_user(struct definitions *definitions, const struct config_user *config)
{
    struct definitions_user *user = definitions_add(definitions, &definitions->users);
    user->name = keep(definitions, config->name);
    user->connections_max = config->connections_max;
    user->channels_max = config->channels_max;
    add_tags(definitions, config->role, user);
    if (config->password_hash != NULL) {
        user->hash = keep(definitions, bytes_of(config->password_hash));
        user->hash_kind = definitions_hash_kind(user->hash);
    } else if (config->auth == AUTH_PASSWORD) {
        user->hash_kind = DEFINITIONS_FOREIGN;
        definitions_warn(definitions,
                         "user \"%.*s\": the password stands in a file or a variable and is not "
                         "exported",
                         BYTES_FORMAT(config->name));
    }
}

static void
add_rights(struct definitions *definitions, const struct config_user *config, struct bytes vhost)
{
    struct definitions_permission *permission =
        definitions_add(definitions, &definitions->permissions);
    struct bytes user = keep(definitions, config->name);
    *permission = (struct definitions_permission){
        .user = user,
        .vhost = vhost,
        .configure = keep_text(definitions, config->configure),
        .write = keep_text(definitions, config->write),
        .read = keep_text(definitions, config->read),
    };
    for (size_t i = 0; i < config->topic_count; i++) {
        *definitions_add(definitions, &definitions->topic_permissions) =
            (struct definitions_topic_permission){
                .user = user,
                .vhost = vhost,
                .exchange = keep(definitions, config->topics[i].exchange),
                .write = keep_text(definitions, config->topics[i].write),
                .read = keep_text(definitions, config->topics[i].read),
            };
    }
}

static void
add_policy(struct definitions *definitions, const struct config_policy *config, struct bytes vhost)
{
    *definitions_add(definitions, &definitions->policies) = (struct definitions_policy){
        .vhost = vhost,
        .name = keep(definitions, config->name),
        .pattern = keep(definitions, config->pattern),
        .apply_to = keep_text(definitions, config->apply_to),
        .priority = config->priority,
        .is_operator = config->is_operator,
        .definition = keep(definitions, config->definition),
    };
}

static void
add_topology(struct definitions *definitions, const struct config *config, struct bytes vhost)
{
    for (size_t i = 0; i < config->exchange_count; i++) {
        const struct config_exchange *exchange = &config->exchanges[i];
        *definitions_add(definitions, &definitions->exchanges) = (struct definitions_exchange){
            .vhost = vhost,
            .name = keep(definitions, exchange->name),
            .type = keep_text(definitions, exchange->type),
            .durable = exchange->durable,
            .auto_delete = exchange->auto_delete,
            .internal = exchange->internal,
            .is_protected = exchange->is_protected,
            .arguments = keep(definitions, exchange->arguments),
        };
    }
    for (size_t i = 0; i < config->queue_count; i++) {
        const struct config_queue *queue = &config->queues[i];
        *definitions_add(definitions, &definitions->queues) = (struct definitions_queue){
            .vhost = vhost,
            .name = keep(definitions, queue->name),
            .durable = queue->durable,
            .is_protected = queue->is_protected,
            .alert = queue->alert,
            .arguments = keep(definitions, queue->arguments),
        };
    }
    for (size_t i = 0; i < config->binding_count; i++) {
        const struct config_binding *binding = &config->bindings[i];
        *definitions_add(definitions, &definitions->bindings) = (struct definitions_binding){
            .vhost = vhost,
            .source = keep(definitions, binding->source),
            .destination = keep(definitions, binding->destination),
            .routing_key = keep(definitions, binding->routing_key),
            .to_exchange = binding->to_exchange,
            .arguments = keep(definitions, binding->arguments),
        };
    }
}

void
definitions_add_config(struct definitions *definitions, const struct config *config)
{
    struct definitions_vhost *vhost = definitions_put_vhost(definitions, config->vhost);
    vhost->connections_max = config->connections_max;
    vhost->queues_max = config->queues_max;
    struct bytes name = vhost->name; /* the list may move */
    for (size_t i = 0; i < config->user_count; i++) {
        add_user(definitions, &config->users[i]);
        add_rights(definitions, &config->users[i], name);
    }
    for (size_t i = 0; i < config->policy_count; i++) {
        add_policy(definitions, &config->policies[i], name);
    }
    add_topology(definitions, config, name);
}
