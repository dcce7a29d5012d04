/* SPDX-License-Identifier: Apache-2.0 */
#include "management/definitions/definitions_write.h"

/* Users and vhosts ---------------------------------------------------------------------------- */

void
definitions_write_limits(struct json_writer *json, const char *key, int64_t connections,
                         const char *second, int64_t others)
{
    json_key(json, key);
    json_begin_object(json);
    if (connections >= 0) {
        json_put_number(json, "max-connections", connections);
    }
    if (others >= 0) {
        json_put_number(json, second, others);
    }
    json_end_object(json);
}

/* A hash that nobody here can check goes no further: its algorithm is not known. Nor does a
 * password of which there is no hash. */
static void
write_user(struct json_writer *json, const struct definitions_user *user)
{
    enum definitions_hash kind =
        user->hash_kind == DEFINITIONS_FOREIGN ? DEFINITIONS_NO_HASH : user->hash_kind;
    json_begin_object(json);
    json_put_text(json, "name", user->name);
    json_put_text(json, "password_hash", kind == DEFINITIONS_NO_HASH ? bytes_of("") : user->hash);
    json_put_string(json, "hashing_algorithm", definitions_hash_algorithm(kind));
    if (user->hash_kind == DEFINITIONS_FOREIGN) {
        json_put_string(json, "auth", "password"); /* without a hash it would mean a certificate */
    }
    json_key(json, "tags");
    json_begin_array(json);
    for (size_t i = 0; i < user->tag_count; i++) {
        json_text(json, user->tags[i]);
    }
    json_end_array(json);
    definitions_write_limits(json, "limits", user->connections_max, "max-channels",
                             user->channels_max);
    json_end_object(json);
}

static const char *
text_or(const char *text, const char *otherwise)
{
    return text == NULL ? otherwise : text;
}

static void
write_description(struct json_writer *json, const struct definitions_vhost *vhost)
{
    json_put_string(json, "description", text_or(vhost->description, ""));
    json_put_words(json, "tags", bytes_of(text_or(vhost->tags, "")));
    if (vhost->default_queue_type != NULL) {
        json_put_string(json, "default_queue_type", vhost->default_queue_type);
    }
}

/* What describes it stands there twice, as in what RabbitMQ writes. */
static void
write_vhost(struct json_writer *json, const struct definitions_vhost *vhost)
{
    json_begin_object(json);
    json_put_text(json, "name", vhost->name);
    write_description(json, vhost);
    json_key(json, "metadata");
    json_begin_object(json);
    write_description(json, vhost);
    json_end_object(json);
    definitions_write_limits(json, "limits", vhost->connections_max, "max-queues",
                             vhost->queues_max);
    json_end_object(json);
}

static void
write_permission(struct json_writer *json, const struct definitions_permission *permission)
{
    json_begin_object(json);
    json_put_text(json, "user", permission->user);
    json_put_text(json, "vhost", permission->vhost);
    json_put_string(json, "configure", permission->configure);
    json_put_string(json, "write", permission->write);
    json_put_string(json, "read", permission->read);
    json_end_object(json);
}

static void
write_topic_permission(struct json_writer *json,
                       const struct definitions_topic_permission *permission)
{
    json_begin_object(json);
    json_put_text(json, "user", permission->user);
    json_put_text(json, "vhost", permission->vhost);
    json_put_text(json, "exchange", permission->exchange);
    json_put_string(json, "write", permission->write);
    json_put_string(json, "read", permission->read);
    json_end_object(json);
}

/* Policies ------------------------------------------------------------------------------------ */

static void
write_policy_body(struct json_writer *json, const struct definitions_policy *policy)
{
    json_put_text(json, "pattern", policy->pattern);
    json_put_string(json, "apply-to", policy->apply_to);
    json_key(json, "definition");
    json_table(json, policy->definition);
    json_put_number(json, "priority", policy->priority);
}

static void
write_policy(struct json_writer *json, const struct definitions_policy *policy)
{
    if (policy->is_operator) {
        return;
    }
    json_begin_object(json);
    json_put_text(json, "vhost", policy->vhost);
    json_put_text(json, "name", policy->name);
    write_policy_body(json, policy);
    json_end_object(json);
}

static void
write_operator_policy(struct json_writer *json, const struct definitions_policy *policy)
{
    if (!policy->is_operator) {
        return;
    }
    json_begin_object(json);
    json_put_string(json, "component", "operator_policy");
    json_put_text(json, "name", policy->name);
    json_put_text(json, "vhost", policy->vhost);
    json_key(json, "value");
    json_begin_object(json);
    write_policy_body(json, policy);
    json_end_object(json);
    json_end_object(json);
}

/* RabbitMQ keeps limits of vhosts among the parameters, and reads them from there. */
static void
write_limits_parameter(struct json_writer *json, const struct definitions_vhost *vhost)
{
    if (vhost->connections_max < 0 && vhost->queues_max < 0) {
        return;
    }
    json_begin_object(json);
    json_put_string(json, "component", "vhost-limits");
    json_put_string(json, "name", "limits");
    json_put_text(json, "vhost", vhost->name);
    definitions_write_limits(json, "value", vhost->connections_max, "max-queues",
                             vhost->queues_max);
    json_end_object(json);
}

static void
write_parameters(struct json_writer *json, const struct definitions *definitions)
{
    json_key(json, "parameters");
    json_begin_array(json);
    for (size_t i = 0; i < definitions->policies.count; i++) {
        write_operator_policy(json, &definitions->policies.items[i]);
    }
    for (size_t i = 0; i < definitions->vhosts.count; i++) {
        write_limits_parameter(json, &definitions->vhosts.items[i]);
    }
    json_end_array(json);
}

static void
write_global_parameter(struct json_writer *json, const struct definitions_parameter *parameter)
{
    json_begin_object(json);
    json_put_text(json, "name", parameter->name);
    json_key(json, "value");
    json_raw(json, parameter->value);
    json_end_object(json);
}

/* Exchanges, queues, bindings ----------------------------------------------------------------- */

static void
write_arguments(struct json_writer *json, struct bytes arguments)
{
    json_key(json, "arguments");
    json_table(json, arguments);
}

/* What other brokers do not know, and pass over. Nothing where it says nothing. */
static void
write_ours(struct json_writer *json, bool is_protected, const struct config_alert *alert)
{
    if (!is_protected && !alert->has_ready && !alert->has_oldest) {
        return;
    }
    json_key(json, "bourse");
    json_begin_object(json);
    json_put_bool(json, "protect", is_protected);
    if (alert->has_ready) {
        json_put_number(json, "ready_above", alert->ready_above);
    }
    if (alert->has_oldest) {
        json_put_number(json, "oldest_above_ms", alert->oldest_above_ms);
    }
    json_end_object(json);
}

static void
write_exchange(struct json_writer *json, const struct definitions_exchange *exchange)
{
    json_begin_object(json);
    json_put_text(json, "name", exchange->name);
    json_put_text(json, "vhost", exchange->vhost);
    json_put_string(json, "type", exchange->type);
    json_put_bool(json, "durable", exchange->durable);
    json_put_bool(json, "auto_delete", exchange->auto_delete);
    json_put_bool(json, "internal", exchange->internal);
    write_arguments(json, exchange->arguments);
    write_ours(json, exchange->is_protected, &(struct config_alert){.has_ready = false});
    json_end_object(json);
}

static void
write_queue(struct json_writer *json, const struct definitions_queue *queue)
{
    json_begin_object(json);
    json_put_text(json, "name", queue->name);
    json_put_text(json, "vhost", queue->vhost);
    json_put_bool(json, "durable", queue->durable);
    json_put_bool(json, "auto_delete", queue->auto_delete);
    write_arguments(json, queue->arguments);
    write_ours(json, queue->is_protected, &queue->alert);
    json_end_object(json);
}

static void
write_binding(struct json_writer *json, const struct definitions_binding *binding)
{
    json_begin_object(json);
    json_put_text(json, "source", binding->source);
    json_put_text(json, "vhost", binding->vhost);
    json_put_text(json, "destination", binding->destination);
    json_put_string(json, "destination_type", binding->to_exchange ? "exchange" : "queue");
    json_put_text(json, "routing_key", binding->routing_key);
    write_arguments(json, binding->arguments);
    json_end_object(json);
}

/* The object ---------------------------------------------------------------------------------- */

#define WRITE_LIST(name, list, write_row)                                                          \
    do {                                                                                           \
        json_key(json, (name));                                                                    \
        json_begin_array(json);                                                                    \
        for (size_t i_ = 0; i_ < (list).count; i_++) {                                             \
            write_row(json, &(list).items[i_]);                                                    \
        }                                                                                          \
        json_end_array(json);                                                                      \
    } while (0)

void
definitions_write(const struct definitions *definitions, const char *version,
                  const char *rabbitmq_version, struct json_writer *json)
{
    json_begin_object(json);
    json_put_string(json, "product_name", "Bourse");
    json_put_string(json, "product_version", version);
    json_put_string(json, "rabbit_version", rabbitmq_version);
    json_put_string(json, "rabbitmq_version", rabbitmq_version);
    WRITE_LIST("users", definitions->users, write_user);
    WRITE_LIST("vhosts", definitions->vhosts, write_vhost);
    WRITE_LIST("permissions", definitions->permissions, write_permission);
    WRITE_LIST("topic_permissions", definitions->topic_permissions, write_topic_permission);
    write_parameters(json, definitions);
    WRITE_LIST("global_parameters", definitions->parameters, write_global_parameter);
    WRITE_LIST("policies", definitions->policies, write_policy);
    WRITE_LIST("queues", definitions->queues, write_queue);
    WRITE_LIST("exchanges", definitions->exchanges, write_exchange);
    WRITE_LIST("bindings", definitions->bindings, write_binding);
    json_end_object(json);
}
