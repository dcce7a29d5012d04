/* SPDX-License-Identifier: Apache-2.0 */
/* Making what a configuration declares. Everything is checked before anything is changed, so that a
 * configuration that cannot be had leaves things as they were. What is missing is made; arguments,
 * limits, users and rights become what the file says; a difference that only a new object could
 * settle refuses the whole file, for the one that is there may hold messages. What the file no
 * longer names stays and is reported once; users are the file's alone, and those it no longer names
 * may do nothing any more. */
#include <stdio.h>

#include "amqp/reply.h"
#include "amqp/table.h"
#include "broker/access.h"
#include "broker/channel.h"
#include "broker/connection.h"
#include "broker/core.h"
#include "broker/durability.h"
#include "broker/durable_topology.h"
#include "broker/topology_check.h"
#include "broker/topology_left.h"
#include "broker/vhost.h"

/* What the log is told, at most: so many octets are kept together. */
static uint64_t
record_octets(const struct config *config)
{
    enum { PREDECLARED_OCTETS = 1024 };
    uint64_t octets = CORE_RECORD_FIXED + config->vhost.size + PREDECLARED_OCTETS;
    for (size_t i = 0; i < config->exchange_count; i++) {
        const struct config_exchange *exchange = &config->exchanges[i];
        octets += CORE_RECORD_FIXED + exchange->name.size + exchange->arguments.size;
    }
    for (size_t i = 0; i < config->queue_count; i++) {
        const struct config_queue *queue = &config->queues[i];
        octets += CORE_RECORD_FIXED + queue->name.size + queue->arguments.size;
    }
    for (size_t i = 0; i < config->binding_count; i++) {
        const struct config_binding *binding = &config->bindings[i];
        octets += CORE_RECORD_FIXED + binding->routing_key.size + binding->arguments.size;
    }
    for (size_t i = 0; i < config->policy_count; i++) {
        const struct config_policy *policy = &config->policies[i];
        octets +=
            CORE_RECORD_FIXED + policy->name.size + policy->pattern.size + policy->definition.size;
    }
    for (size_t i = 0; i < config->user_count; i++) {
        octets += CORE_RECORD_FIXED + config_user_octets(&config->users[i]);
    }
    return octets;
}

/* Vhost, exchanges, queues, bindings --------------------------------------------------------- */

static void
apply_vhost(struct application *application)
{
    const struct config *config = application->config;
    struct vhost *vhost = application->vhost;
    if (config->is_development && !application->is_new) {
        return; /* it says nothing about limits */
    }
    bool from_file = !config->is_development;
    bool is_changed = vhost->connections_max != config->connections_max ||
                      vhost->queues_max != config->queues_max || vhost->from_file != from_file;
    vhost->connections_max = config->connections_max;
    vhost->queues_max = config->queues_max;
    vhost->from_file = from_file;
    if (application->is_new) {
        core_add_vhost(application->core, vhost);
        application->is_new = false;
    } else if (is_changed) {
        vhost_remember(vhost);
    }
}

/* For want of memory, which no check can foresee. */
static void
reject_memory(struct application *application, const struct config_mark *mark)
{
    application_reject(application, mark, "there is no memory for it");
}

/* Policies come before what they apply to: what is made is under them at once. */
static void
apply_policy(struct application *application, const struct config_policy *config, bool *is_changed)
{
    struct vhost *vhost = application->vhost;
    struct policy_properties properties = config_policy_properties(config);
    struct policy *policy = vhost_find_policy(vhost, properties.kind, properties.name);
    if (policy == NULL || !policy_says_the_same(policy, &properties)) {
        if (vhost_put_policy(vhost, &properties) != STATUS_OK) {
            reject_memory(application, &config->mark);
            return;
        }
        *is_changed = true;
        policy = vhost_find_policy(vhost, properties.kind, properties.name);
    } else if (!policy->is.from_file) {
        policy->is.from_file = true;
        policy_remember(vhost, policy);
    }
    policy->is_named = true;
}

static void
apply_policies(struct application *application)
{
    bool is_changed = false;
    for (size_t i = 0; i < application->config->policy_count; i++) {
        apply_policy(application, &application->config->policies[i], &is_changed);
    }
    if (is_changed) {
        vhost_match_policies_anew(application->vhost);
    }
}

static struct exchange *
make_exchange(struct vhost *vhost, const struct config_exchange *config)
{
    struct exchange_properties properties = {
        .name = config->name,
        .type = exchange_type_find(bytes_of(config->type)),
        .durable = config->durable,
        .auto_delete = config->auto_delete,
        .internal = config->internal,
        .from_file = true,
        .arguments = config->arguments,
    };
    struct exchange *exchange = NULL;
    struct fault fault;
    return vhost_declare_exchange(vhost, &properties, &exchange, &fault) == STATUS_OK ? exchange
                                                                                      : NULL;
}

/* Gives an exchange that is there the file's arguments; false without memory. */
static bool
change_exchange(struct exchange *exchange, const struct config_exchange *config)
{
    bool is_changed = !table_equal(exchange->arguments, config->arguments);
    if (is_changed && exchange_set_arguments(exchange, config->arguments) != STATUS_OK) {
        return false;
    }
    if (is_changed || !exchange->from_file) {
        exchange->from_file = true;
        exchange_remember(exchange);
    }
    return true;
}

static void
apply_exchange(struct application *application, const struct config_exchange *config)
{
    struct exchange *exchange = vhost_find_exchange(application->vhost, config->name);
    if (exchange == NULL) {
        exchange = make_exchange(application->vhost, config);
    } else if (!change_exchange(exchange, config)) {
        exchange = NULL;
    }
    if (exchange == NULL) {
        reject_memory(application, &config->mark);
        return;
    }
    exchange->is_named = true;
}

static struct queue *
make_queue(struct vhost *vhost, const struct config_queue *config)
{
    struct queue_properties properties = {
        .name = config->name,
        .arguments = config->arguments,
        .durable = config->durable,
        .from_file = true,
    };
    struct queue *queue = NULL;
    struct fault fault;
    return vhost_declare_queue(vhost, &properties, &queue, &fault) == STATUS_OK ? queue : NULL;
}

/* The same for a queue. */
static bool
change_queue(struct vhost *vhost, struct queue *queue, const struct config_queue *config)
{
    bool is_changed = !table_equal(queue->arguments, config->arguments);
    uint32_t changed = 0;
    if (is_changed && queue_set_arguments(queue, config->arguments, &changed) != STATUS_OK) {
        return false;
    }
    if (changed != 0) {
        core_settings_changed(vhost->core, queue, changed);
    }
    if (is_changed || !queue->from_file) {
        queue->from_file = true;
        queue_remember(queue);
    }
    return true;
}

static void
apply_queue(struct application *application, const struct config_queue *config)
{
    struct queue *queue = vhost_find_queue(application->vhost, config->name);
    if (queue == NULL) {
        queue = make_queue(application->vhost, config);
    } else if (!change_queue(application->vhost, queue, config)) {
        queue = NULL;
    }
    if (queue == NULL) {
        reject_memory(application, &config->mark);
        return;
    }
    queue->is_named = true;
}

static struct route_target *
find_destination(const struct vhost *vhost, const struct config_binding *config)
{
    if (config->to_exchange) {
        struct exchange *exchange = vhost_find_exchange(vhost, config->destination);
        return exchange == NULL ? NULL : &exchange->target;
    }
    struct queue *queue = vhost_find_queue(vhost, config->destination);
    return queue == NULL ? NULL : &queue->target;
}

static void
apply_binding(struct application *application, const struct config_binding *config)
{
    struct vhost *vhost = application->vhost;
    struct exchange *source = vhost_find_exchange(vhost, config->source);
    struct route_target *target = find_destination(vhost, config);
    struct binding *binding;
    struct fault fault;
    if (source == NULL || target == NULL ||
        vhost_bind(vhost, source, target, config->routing_key, config->arguments, &binding,
                   &fault) != STATUS_OK) {
        reject_memory(application, &config->mark);
        return;
    }
    if (!binding->from_file) {
        binding->from_file = true;
        binding_remember(binding);
    }
    binding->is_named = true;
}

static void
apply_topology(struct application *application)
{
    const struct config *config = application->config;
    for (size_t i = 0; i < config->exchange_count; i++) {
        apply_exchange(application, &config->exchanges[i]);
    }
    for (size_t i = 0; i < config->queue_count; i++) {
        apply_queue(application, &config->queues[i]);
    }
    for (size_t i = 0; i < config->binding_count; i++) {
        apply_binding(application, &config->bindings[i]);
    }
}

/* Users and their connections ---------------------------------------------------------------- */

static void
apply_users(struct application *application)
{
    const struct config *config = application->config;
    for (size_t i = 0; i < config->user_count; i++) {
        struct core *core = application->core;
        if (core_put_user(core, &config->users[i], application->vhost->name) != STATUS_OK) {
            reject_memory(application, &config->users[i].mark);
        } else {
            core_find_user(core, config->users[i].name)->is_named = !config->is_development;
        }
    }
}

/* Closes the connection if its user may no longer be where it is; else ends the consumers that may
 * no longer read. Publishing asks each time. */
static void
recheck_connection(struct connection *connection)
{
    const struct user *user = connection->user;
    struct fault fault;
    if (user == NULL) {
        return; /* its login will ask */
    }
    if (user->is_disabled) {
        (void)fault_connection(&fault, REPLY_CONNECTION_FORCED, "user '%.*s' was deleted",
                               BYTES_FORMAT(user->name));
        connection_close(connection, &fault, 0, 0);
    } else if (connection->vhost != NULL && !access_may_enter(user, connection->vhost->name)) {
        (void)fault_connection(&fault, REPLY_CONNECTION_FORCED,
                               "access to vhost '%.*s' was revoked for user '%.*s'",
                               BYTES_FORMAT(connection->vhost->name), BYTES_FORMAT(user->name));
        connection_close(connection, &fault, 0, 0);
    } else {
        connection_recheck_consumers(connection);
    }
}

static void
recheck_connections(struct core *core)
{
    LIST_FOR_EACH(&core->connection_list, link)
    {
        recheck_connection(CONTAINER_OF(link, struct connection, core_link));
    }
}

static void
apply_everything(struct application *application)
{
    core_log_together(application->core, record_octets(application->config));
    apply_vhost(application);
    apply_policies(application);
    apply_topology(application);
    apply_users(application);
    /* Without a file nothing can have left it. */
    if (!application->config->is_development) {
        core_report_left(application->core, application->vhost);
        core_disable_left_users(application->core, application->vhost);
    }
    recheck_connections(application->core);
}

/* Says how many refusals there were behind the one that is told. */
static void
count_refusals(const struct application *application)
{
    size_t length = strlen(application->why);
    if (application->refusal_count > 1) {
        (void)snprintf(application->why + length, application->why_size - length,
                       " (and %zu more in the log)", application->refusal_count - 1);
    }
}

enum status
core_apply(struct core *core, const struct config *config, char *why, size_t why_size)
{
    struct vhost *found = core_find_vhost(core, config->vhost);
    struct application application = {
        .core = core,
        .config = config,
        .vhost = found != NULL ? found : vhost_new(core, config->vhost),
        .is_new = found == NULL,
        .why = why,
        .why_size = why_size,
    };
    if (application_check(&application)) {
        apply_everything(&application);
        core->wants_flush = true; /* whoever asked for it is told when it is on disk */
    }
    if (application.is_new) {
        vhost_free(&application.vhost);
    }
    count_refusals(&application);
    return application.refusal_count == 0 ? STATUS_OK : STATUS_REJECTED;
}
