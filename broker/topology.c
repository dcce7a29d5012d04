/* SPDX-License-Identifier: Apache-2.0 */
/* Making what a configuration declares. Everything is checked before anything is changed, so that a
 * configuration that cannot be had leaves things as they were. Objects are only ever added: one
 * that is there with other properties may hold messages, and stays as it is. Users are the file's
 * alone: their rights become what it says, and those it no longer names may do nothing any more. */
#include <inttypes.h>

#include "amqp/reply.h"
#include "broker/access.h"
#include "broker/channel.h"
#include "broker/connection.h"
#include "broker/core.h"
#include "broker/vhost.h"
#include "routing/topic_trie.h"

/* One line of the log about one place in the file. */
static void
log_at(struct core *core, enum log_level level, const char *event, const struct config_mark *mark,
       const char *reason)
{
    char file[512];
    char text[2 * FAULT_TEXT_SIZE];
    log_line(core->log, level, event, "file=%s line=%" PRIu32 " column=%" PRIu32 " reason=%s",
             log_escape(file, sizeof(file), bytes_of(mark->file)), mark->line, mark->column,
             log_escape(text, sizeof(text), bytes_of(reason)));
}

static enum status
reject_at(struct core *core, const struct config_mark *mark, const char *reason)
{
    log_at(core, LOG_LEVEL_ERROR, "topology.rejected", mark, reason);
    return STATUS_REJECTED;
}

/* What is there differs from what the file says, or nothing is there and cannot be made. */
static enum status
differs_at(struct core *core, const struct config_mark *mark, bool exists,
           const struct fault *fault)
{
    if (!exists) {
        return reject_at(core, mark, fault->text);
    }
    log_at(core, LOG_LEVEL_WARN, "topology.differs", mark, fault->text);
    return STATUS_OK;
}

/* `status`, unless something was rejected before. */
static void
keep_worst(enum status *worst, enum status status)
{
    if (status != STATUS_OK) {
        *worst = status;
    }
}

/* Checking ----------------------------------------------------------------------------------- */

static enum status
check_queues(struct core *core, const struct vhost *vhost, const struct config *config)
{
    enum status worst = STATUS_OK;
    uint64_t count = map_count(&vhost->queues);
    for (size_t i = 0; i < config->queue_count; i++) {
        const struct config_queue *queue = &config->queues[i];
        if (vhost_find_queue(vhost, queue->name) != NULL) {
            continue;
        }
        count++;
        char subject[RESOURCE_TEXT_SIZE];
        struct queue_settings settings;
        struct fault fault;
        if (queue_settings_read(&settings, queue->arguments,
                                vhost_queue_text(vhost, queue->name, subject),
                                &fault) != STATUS_OK) {
            keep_worst(&worst, reject_at(core, &queue->mark, fault.text));
        } else if (config->queues_max >= 0 && count > (uint64_t)config->queues_max) {
            keep_worst(&worst,
                       reject_at(core, &queue->mark, "more queues than the vhost may have"));
        }
    }
    return worst;
}

static enum status
check_exchanges(struct core *core, const struct config *config)
{
    enum status worst = STATUS_OK;
    for (size_t i = 0; i < config->exchange_count; i++) {
        const struct config_exchange *exchange = &config->exchanges[i];
        if (exchange_type_find(bytes_of(exchange->type)) == NULL) {
            keep_worst(&worst, reject_at(core, &exchange->mark, "unknown exchange type"));
        }
    }
    return worst;
}

/* The ends that bindings name, whether they are there already or will be. */
struct known_names {
    struct map exchanges; /* struct exchange_type by name; const, never written through */
    struct map queues;    /* struct config_queue or struct queue by name; the same */
};

static void
known_names_init(struct known_names *names, const struct vhost *vhost, const struct config *config)
{
    map_init(&names->exchanges, vhost->core->seed);
    map_init(&names->queues, vhost->core->seed);
    for (size_t i = 0; i < config->exchange_count; i++) {
        const struct exchange_type *type = exchange_type_find(bytes_of(config->exchanges[i].type));
        if (type != NULL) {
            map_put(&names->exchanges, config->exchanges[i].name, (void *)type);
        }
    }
    for (size_t i = 0; i < config->queue_count; i++) {
        map_put(&names->queues, config->queues[i].name, (void *)&config->queues[i]);
    }
    uint32_t position = 0;
    for (struct map_entry *entry; (entry = map_next(&vhost->exchanges, &position)) != NULL;) {
        const struct exchange *exchange = entry->value;
        map_put(&names->exchanges, exchange->name, (void *)exchange->type);
    }
    position = 0;
    for (struct map_entry *entry; (entry = map_next(&vhost->queues, &position)) != NULL;) {
        map_put(&names->queues, entry->key, entry->value);
    }
}

static void
known_names_fini(struct known_names *names)
{
    map_fini(&names->exchanges);
    map_fini(&names->queues);
}

static enum status
check_binding(struct core *core, const struct known_names *names,
              const struct config_binding *binding)
{
    const struct exchange_type *type = map_get(&names->exchanges, binding->source);
    const struct map *ends = binding->to_exchange ? &names->exchanges : &names->queues;
    struct fault fault;
    if (type == NULL || binding->source.size == 0) {
        return reject_at(core, &binding->mark, "a binding from an exchange that does not exist");
    }
    if (map_get(ends, binding->destination) == NULL) {
        return reject_at(core, &binding->mark, "a binding to something that does not exist");
    }
    if (binding->routing_key.size > TOPIC_KEY_SIZE_MAX) {
        return reject_at(core, &binding->mark, "a key has at most 255 octets");
    }
    if (type->check(binding->routing_key, binding->arguments, &fault) != STATUS_OK) {
        return reject_at(core, &binding->mark, fault.text);
    }
    return STATUS_OK;
}

static enum status
check_bindings(struct core *core, const struct vhost *vhost, const struct config *config)
{
    struct known_names names;
    known_names_init(&names, vhost, config);
    enum status worst = STATUS_OK;
    for (size_t i = 0; i < config->binding_count; i++) {
        keep_worst(&worst, check_binding(core, &names, &config->bindings[i]));
    }
    known_names_fini(&names);
    return worst;
}

static enum status
check_topology(struct core *core, const struct vhost *vhost, const struct config *config)
{
    enum status worst = check_exchanges(core, config);
    keep_worst(&worst, check_queues(core, vhost, config));
    keep_worst(&worst, check_bindings(core, vhost, config));
    return worst;
}

/* Exchanges, queues, bindings ---------------------------------------------------------------- */

static enum status
apply_exchange(struct vhost *vhost, const struct config_exchange *config)
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
    struct exchange *exchange;
    struct fault fault;
    if (vhost_declare_exchange(vhost, &properties, &exchange, &fault) != STATUS_OK) {
        return differs_at(vhost->core, &config->mark, true, &fault);
    }
    exchange->from_file = true;
    return STATUS_OK;
}

static enum status
apply_queue(struct vhost *vhost, const struct config_queue *config)
{
    struct queue_properties properties = {
        .name = config->name,
        .arguments = config->arguments,
        .durable = config->durable,
        .from_file = true,
    };
    struct queue *queue;
    struct fault fault;
    if (vhost_declare_queue(vhost, &properties, &queue, &fault) != STATUS_OK) {
        bool exists = vhost_find_queue(vhost, config->name) != NULL;
        return differs_at(vhost->core, &config->mark, exists, &fault);
    }
    queue->from_file = true;
    return STATUS_OK;
}

/* A queue of that name may be somebody's own: it is not the one that the file means. */
static struct route_target *
find_destination(const struct vhost *vhost, const struct config_binding *config)
{
    if (config->to_exchange) {
        struct exchange *exchange = vhost_find_exchange(vhost, config->destination);
        return exchange == NULL ? NULL : &exchange->target;
    }
    struct queue *queue = vhost_find_queue(vhost, config->destination);
    return queue == NULL || queue->owner_link != 0 ? NULL : &queue->target;
}

static enum status
apply_binding(struct vhost *vhost, const struct config_binding *config)
{
    struct exchange *source = vhost_find_exchange(vhost, config->source);
    struct route_target *target = find_destination(vhost, config);
    struct fault fault;
    if (source == NULL || target == NULL) {
        log_at(vhost->core, LOG_LEVEL_WARN, "topology.differs", &config->mark,
               "not bound: one of the ends is not what the file says");
        return STATUS_OK;
    }
    if (vhost_bind(vhost, source, target, config->routing_key, config->arguments, &fault) !=
        STATUS_OK) {
        return differs_at(vhost->core, &config->mark, false, &fault);
    }
    return STATUS_OK;
}

static enum status
apply_topology(struct vhost *vhost, const struct config *config)
{
    enum status worst = STATUS_OK;
    vhost->connections_max = config->connections_max;
    vhost->queues_max = config->queues_max;
    for (size_t i = 0; i < config->exchange_count; i++) {
        keep_worst(&worst, apply_exchange(vhost, &config->exchanges[i]));
    }
    for (size_t i = 0; i < config->queue_count; i++) {
        keep_worst(&worst, apply_queue(vhost, &config->queues[i]));
    }
    for (size_t i = 0; i < config->binding_count; i++) {
        keep_worst(&worst, apply_binding(vhost, &config->bindings[i]));
    }
    return worst;
}

/* Users and their connections ---------------------------------------------------------------- */

static enum status
apply_users(struct core *core, const struct vhost *vhost, const struct config *config)
{
    enum status worst = STATUS_OK;
    for (size_t i = 0; i < config->user_count; i++) {
        if (core_put_user(core, &config->users[i], vhost->name) != STATUS_OK) {
            keep_worst(&worst, reject_at(core, &config->users[i].mark,
                                         "an expression of this user cannot be used"));
        }
    }
    return worst;
}

/* Users that the file no longer names. */
static void
disable_other_users(struct core *core, const struct config *config)
{
    struct map named;
    map_init(&named, core->seed);
    for (size_t i = 0; i < config->user_count; i++) {
        map_put(&named, config->users[i].name, &config->users[i]);
    }
    uint32_t position = 0;
    for (struct map_entry *entry; (entry = map_next(&core->users, &position)) != NULL;) {
        struct user *user = entry->value;
        if (!user->is_disabled && map_get(&named, user->name) == NULL) {
            user->is_disabled = true;
            user->version++;
            char name[RESOURCE_TEXT_SIZE];
            log_info(core->log, "user.disabled", "user=%s",
                     log_escape(name, sizeof(name), user->name));
        }
    }
    map_fini(&named);
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

enum status
core_apply(struct core *core, const struct config *config)
{
    struct vhost *found = core_find_vhost(core, config->vhost);
    struct vhost *vhost = found != NULL ? found : vhost_new(core, config->vhost);
    if (check_topology(core, vhost, config) != STATUS_OK) {
        if (found == NULL) {
            vhost_free(&vhost);
        }
        return STATUS_REJECTED;
    }
    if (found == NULL) {
        map_put(&core->vhosts, vhost->name, vhost);
    }
    enum status worst = apply_topology(vhost, config);
    keep_worst(&worst, apply_users(core, vhost, config));
    disable_other_users(core, config);
    recheck_connections(core);
    return worst;
}
