/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/durability/durable_topology.h"

#include <inttypes.h>

#include "amqp/table.h"
#include "base/assert.h"
#include "broker/changes/audit.h"
#include "broker/changes/generation.h"
#include "broker/changes/parameters.h"
#include "broker/durability/durability.h"
#include "broker/topology/vhost_record.h"
#include "broker/users/user_record.h"
#include "broker/watch/trace.h"
#include "routing/topic_trie.h"
#include "store/record_fact.h"

enum { NAME_SIZE_MAX = 255 };

static struct core *
exchange_core(const struct exchange *exchange)
{
    const struct vhost *vhost = exchange->vhost;
    return vhost->core;
}

/* State to records --------------------------------------------------------------------------- */

void
vhost_remember(const struct vhost *vhost)
{
    struct core *core = vhost->core;
    if (core_has_log(core)) {
        uint32_t flags =
            (vhost->from_file ? RECORD_FROM_FILE : 0u) | (vhost->is_traced ? RECORD_TRACED : 0u);
        struct buffer rest;
        buffer_init(&rest);
        vhost_rest_encode(&rest, vhost);
        assert(!rest.failed); /* a few octets */
        record_put_described_vhost(core_begin_record(core), vhost->id, vhost->connections_max,
                                   vhost->queues_max, flags, vhost->name, buffer_bytes(&rest));
        buffer_fini(&rest);
        core_log_record(core);
    }
}

void
exchange_remember(const struct exchange *exchange)
{
    struct core *core = exchange_core(exchange);
    const struct vhost *vhost = exchange->vhost;
    if (!exchange->durable || !core_has_log(core)) {
        return;
    }
    uint32_t flags = (exchange->from_file ? RECORD_FROM_FILE : 0u) |
                     (exchange->auto_delete ? RECORD_AUTO_DELETE : 0u) |
                     (exchange->internal ? RECORD_INTERNAL : 0u) |
                     (exchange->predeclared ? RECORD_PREDECLARED : 0u) |
                     (exchange->is_protected ? RECORD_PROTECTED : 0u);
    record_put_made_exchange(core_begin_record(core), exchange->target.id, vhost->id, flags,
                             exchange->made, exchange->name,
                             bytes_of(exchange_declared_type(exchange)->name), exchange->arguments);
    core_log_record(core);
}

void
queue_remember(const struct queue *queue)
{
    const struct vhost *vhost = queue->vhost;
    struct core *core = vhost->core;
    if (!queue->durable || !core_has_log(core)) {
        return;
    }
    uint32_t flags = (queue->from_file ? RECORD_FROM_FILE : 0u) |
                     (queue->auto_delete ? RECORD_AUTO_DELETE : 0u) |
                     (queue->is_protected ? RECORD_PROTECTED : 0u) |
                     (queue->is_paused ? RECORD_PAUSED : 0u);
    record_put_made_queue(core_begin_record(core), queue->target.id, vhost->id, flags, queue->made,
                          queue_name(queue), queue->arguments);
    core_log_record(core);
}

static void
log_binding(const struct binding *binding, enum record_type type)
{
    const struct exchange *source = binding->source;
    struct core *core = exchange_core(source);
    if (!binding->durable || !core_has_log(core)) {
        return;
    }
    bool to_exchange = binding->target->kind == ROUTE_TARGET_EXCHANGE;
    uint32_t flags =
        (binding->from_file ? RECORD_FROM_FILE : 0u) | (to_exchange ? RECORD_TO_EXCHANGE : 0u);
    record_put_binding(core_begin_record(core), type, source->target.id, binding->target->id, flags,
                       binding_routing_key(binding), binding_arguments(binding));
    core_log_record(core);
}

void
binding_remember(const struct binding *binding)
{
    log_binding(binding, RECORD_BINDING_SET);
}

uint64_t
policy_octets(const struct policy_properties *properties)
{
    return properties->name.size + properties->pattern.size + properties->definition.size;
}

void
policy_remember(const struct vhost *vhost, const struct policy *policy)
{
    struct core *core = vhost->core;
    if (!core_has_log(core)) {
        return;
    }
    struct record_policy record = {
        .id = policy->id,
        .vhost = vhost->id,
        .flags = (policy->is.from_file ? RECORD_FROM_FILE : 0u) |
                 (policy->is.kind == POLICY_OPERATOR ? RECORD_OPERATOR : 0u),
        .priority = policy->is.priority,
        .target = (uint32_t)policy->is.target,
        .name = policy->is.name,
        .pattern = policy->is.pattern,
        .definition = policy->is.definition,
    };
    record_put_policy(core_begin_record(core), &record);
    core_log_record(core);
}

void
user_remember(struct core *core, struct user *user)
{
    if (!core_has_log(core)) {
        return;
    }
    struct buffer rest;
    buffer_init(&rest);
    user_record_encode(&rest, core, user);
    assert(!rest.failed); /* at most a few times the file */
    uint32_t flags =
        (user->from_file ? RECORD_FROM_FILE : 0u) | (user->is_disabled ? RECORD_DISABLED : 0u);
    record_put_user(core_begin_record(core), user->id, flags, user->name, buffer_bytes(&rest));
    buffer_fini(&rest);
    struct bytes record = buffer_bytes(&core->record);
    if (bytes_equal(record, buffer_bytes(&user->record))) {
        return;
    }
    core_log_record(core);
    buffer_clear(&user->record);
    buffer_put_bytes(&user->record, record);
}

static void
log_delete(struct core *core, enum record_type type, uint64_t id)
{
    if (core_has_log(core)) {
        record_put_delete(core_begin_record(core), type, id);
        core_log_record(core);
    }
}

void
exchange_forget(const struct exchange *exchange)
{
    if (exchange->durable) {
        log_delete(exchange_core(exchange), RECORD_EXCHANGE_DELETE, exchange->target.id);
    }
}

void
queue_forget(const struct queue *queue)
{
    const struct vhost *vhost = queue->vhost;
    if (queue->durable) {
        log_delete(vhost->core, RECORD_QUEUE_DELETE, queue->target.id);
    }
}

void
binding_forget(const struct binding *binding)
{
    log_binding(binding, RECORD_BINDING_DELETE);
}

void
vhost_forget(const struct vhost *vhost)
{
    log_delete(vhost->core, RECORD_VHOST_DELETE, vhost->id);
}

void
user_forget(struct core *core, const struct user *user)
{
    log_delete(core, RECORD_USER_DELETE, user->id);
}

void
policy_forget(const struct vhost *vhost, const struct policy *policy)
{
    log_delete(vhost->core, RECORD_POLICY_DELETE, policy->id);
}

/* Records to state --------------------------------------------------------------------------- */

void
topology_restore_init(struct topology_restore *restore, struct core *core)
{
    assert(!core_has_log(core));
    restore->core = core;
    map_init(&restore->vhosts, core->seed);
    map_init(&restore->users, core->seed);
    map_init(&restore->policies, core->seed);
    map_init(&restore->exchanges, core->seed);
}

void
topology_restore_fini(struct topology_restore *restore)
{
    map_fini(&restore->vhosts);
    map_fini(&restore->users);
    map_fini(&restore->policies);
    map_fini(&restore->exchanges);
}

static void *
find_by_id(const struct map *map, uint64_t id)
{
    return map_get(map, bytes_make(&id, sizeof(id)));
}

/* `id` is a field of `object`, so that the key lives as long. */
static void
put_by_id(struct map *map, const uint64_t *id, void *object)
{
    map_put(map, bytes_make(id, sizeof(*id)), object);
}

/* `why` is what is wrong with a record about `id`. */
static enum status
refuse(const struct topology_restore *restore, const char *kind, uint64_t id, const char *why)
{
    log_error(restore->core->log, "recovery.bad_record", "kind=%s id=%" PRIu64 " reason=\"%s\"",
              kind, id, why);
    return STATUS_CORRUPT;
}

/* Whether a durable object can have this number; later ones are then above it. */
static bool
take_id(struct core *core, uint64_t id)
{
    static const uint64_t ID_MAX = (UINT64_C(1) << 63) - 2;
    if (id == 0 || id > ID_MAX) {
        return false;
    }
    if (id >= core->next_durable_id) {
        core->next_durable_id = id + 1;
    }
    return true;
}

/* NULL, or what is wrong with the number or name of a new object. */
static const char *
new_object_problem(const struct topology_restore *restore, const struct map *by_id, uint64_t id,
                   const struct map *by_name, struct bytes name)
{
    if (!take_id(restore->core, id)) {
        return "no number of a durable object";
    }
    if (find_by_id(by_id, id) != NULL) {
        return "its number is taken";
    }
    if (name.size > NAME_SIZE_MAX) {
        return "its name is too long";
    }
    return map_get(by_name, name) != NULL ? "its name is taken" : NULL;
}

static enum status
restore_vhost(struct topology_restore *restore, const struct record *record)
{
    struct core *core = restore->core;
    const char *problem = new_object_problem(restore, &restore->vhosts, record->vhost.id,
                                             &core->vhosts, record->vhost.name);
    if (problem == NULL && (record->vhost.connections_max < -1 || record->vhost.queues_max < -1)) {
        problem = "a limit is below -1";
    }
    if (problem != NULL) {
        return refuse(restore, "vhost", record->vhost.id, problem);
    }
    struct vhost *vhost = core_restore_vhost(core, record->vhost.id, record->vhost.name);
    vhost->connections_max = record->vhost.connections_max;
    vhost->queues_max = record->vhost.queues_max;
    vhost->from_file = (record->vhost.flags & RECORD_FROM_FILE) != 0;
    if ((record->vhost.flags & RECORD_TRACED) != 0) {
        vhost_restore_tracing(vhost);
    }
    put_by_id(&restore->vhosts, &vhost->id, vhost);
    if (vhost_rest_decode(vhost, record->vhost.rest) != STATUS_OK) {
        return refuse(restore, "vhost", vhost->id, "the rest is not understood");
    }
    return STATUS_OK;
}

static enum status
restore_user(struct topology_restore *restore, const struct record *record)
{
    struct core *core = restore->core;
    const char *problem = new_object_problem(restore, &restore->users, record->user.id,
                                             &core->users, record->user.name);
    if (problem != NULL) {
        return refuse(restore, "user", record->user.id, problem);
    }
    struct user *user = core_restore_user(core, record->user.id, record->user.name);
    put_by_id(&restore->users, &user->id, user);
    user->from_file = (record->user.flags & RECORD_FROM_FILE) != 0;
    user->is_disabled = (record->user.flags & RECORD_DISABLED) != 0;
    if (user_record_decode(user, core, &restore->vhosts, record->user.rest) != STATUS_OK) {
        return refuse(restore, "user", record->user.id, "the rest is not understood");
    }
    buffer_put_bytes(&user->record, record->octets);
    return user->record.failed ? STATUS_NO_MEMORY : STATUS_OK;
}

/* NULL, or what is wrong with what is peculiar to policies. */
static const char *
policy_problem(const struct record_policy *record, const struct policy_properties *properties)
{
    char why[512];
    struct fault fault;
    if (record->target >= POLICY_TARGET_COUNT) {
        return "what it applies to is not known";
    }
    if (table_validate(record->definition, TABLE_FIELDS_MAX, &fault) != STATUS_OK) {
        return "its definition is no table";
    }
    return policy_definition_check(properties, why, sizeof(why)) ? NULL
                                                                 : "its definition is not accepted";
}

static enum status
restore_policy(struct topology_restore *restore, const struct record *octets)
{
    const struct record_policy *record = &octets->policy;
    struct vhost *vhost = find_by_id(&restore->vhosts, record->vhost);
    if (vhost == NULL) {
        return refuse(restore, "policy", record->id, "its vhost is not known");
    }
    struct policy_properties properties = {
        .kind = (record->flags & RECORD_OPERATOR) != 0 ? POLICY_OPERATOR : POLICY_ORDINARY,
        .target = (enum policy_target)record->target,
        .priority = record->priority,
        .from_file = (record->flags & RECORD_FROM_FILE) != 0,
        .name = record->name,
        .pattern = record->pattern,
        .definition = record->definition,
    };
    const char *problem =
        new_object_problem(restore, &restore->policies, record->id,
                           &vhost->policies.sets[properties.kind].by_name, record->name);
    problem = problem == NULL ? policy_problem(record, &properties) : problem;
    if (problem != NULL) {
        return refuse(restore, "policy", record->id, problem);
    }
    struct policy *policy = vhost_restore_policy(vhost, record->id, &properties);
    if (policy == NULL) {
        return STATUS_NO_MEMORY;
    }
    put_by_id(&restore->policies, &policy->id, policy);
    return STATUS_OK;
}

/* NULL, or what is wrong with what is peculiar to exchanges. */
static const char *
exchange_problem(const struct record *record, const struct exchange_type *type)
{
    struct table_value alternate;
    struct fault fault;
    bool predeclared = (record->exchange.flags & RECORD_PREDECLARED) != 0;
    if (type == NULL) {
        return "its type is not known";
    }
    if (record->exchange.name.size == 0 && !predeclared) {
        return "it has no name";
    }
    if (table_validate(record->exchange.arguments, TABLE_FIELDS_MAX, &fault) != STATUS_OK) {
        return "its arguments are no table";
    }
    if (table_find(record->exchange.arguments, "alternate-exchange", &alternate) &&
        table_value_class(&alternate) != TABLE_CLASS_STRING) {
        return "its alternate exchange is no name";
    }
    if (exchange_type_check_arguments(type, record->exchange.arguments, "exchange", &fault) !=
        STATUS_OK) {
        return "its arguments are not accepted";
    }
    return NULL;
}

static enum status
restore_exchange(struct topology_restore *restore, const struct record *record)
{
    uint64_t id = record->exchange.id;
    struct vhost *vhost = find_by_id(&restore->vhosts, record->exchange.vhost);
    if (vhost == NULL) {
        return refuse(restore, "exchange", id, "its vhost is not known");
    }
    const struct exchange_type *type = exchange_type_find(record->exchange.type);
    const char *problem = new_object_problem(restore, &restore->exchanges, id, &vhost->exchanges,
                                             record->exchange.name);
    problem = problem == NULL ? exchange_problem(record, type) : problem;
    if (problem != NULL) {
        return refuse(restore, "exchange", id, problem);
    }
    struct exchange_properties properties = {
        .name = record->exchange.name,
        .type = type,
        .durable = true,
        .auto_delete = (record->exchange.flags & RECORD_AUTO_DELETE) != 0,
        .internal = (record->exchange.flags & RECORD_INTERNAL) != 0,
        .predeclared = (record->exchange.flags & RECORD_PREDECLARED) != 0,
        .from_file = (record->exchange.flags & RECORD_FROM_FILE) != 0,
        .is_protected = (record->exchange.flags & RECORD_PROTECTED) != 0,
        .made = record->exchange.made,
        .arguments = record->exchange.arguments,
    };
    struct exchange *exchange = vhost_restore_exchange(vhost, id, &properties);
    if (exchange == NULL) {
        return STATUS_NO_MEMORY;
    }
    put_by_id(&restore->exchanges, &exchange->target.id, exchange);
    return STATUS_OK;
}

/* NULL, or what is wrong with what is peculiar to queues. */
static const char *
queue_problem(const struct record *record)
{
    struct queue_settings settings;
    struct fault fault;
    if (record->queue.name.size == 0) {
        return "it has no name";
    }
    if (table_validate(record->queue.arguments, TABLE_FIELDS_MAX, &fault) != STATUS_OK) {
        return "its arguments are no table";
    }
    if (queue_settings_read(&settings, record->queue.arguments, "queue", &fault) != STATUS_OK) {
        return "its arguments are not accepted";
    }
    return NULL;
}

static enum status
restore_queue(struct topology_restore *restore, const struct record *record)
{
    uint64_t id = record->queue.id;
    struct vhost *vhost = find_by_id(&restore->vhosts, record->queue.vhost);
    if (vhost == NULL) {
        return refuse(restore, "queue", id, "its vhost is not known");
    }
    const char *problem = new_object_problem(restore, &restore->core->durable_queues, id,
                                             &vhost->queues, record->queue.name);
    problem = problem == NULL ? queue_problem(record) : problem;
    if (problem != NULL) {
        return refuse(restore, "queue", id, problem);
    }
    struct queue_properties properties = {
        .name = record->queue.name,
        .arguments = record->queue.arguments,
        .durable = true,
        .auto_delete = (record->queue.flags & RECORD_AUTO_DELETE) != 0,
        .from_file = (record->queue.flags & RECORD_FROM_FILE) != 0,
        .is_protected = (record->queue.flags & RECORD_PROTECTED) != 0,
        .made = record->queue.made,
    };
    struct queue *queue = vhost_restore_queue(vhost, id, &properties);
    if (queue == NULL) {
        return STATUS_NO_MEMORY;
    }
    queue->is_paused = (record->queue.flags & RECORD_PAUSED) != 0;
    return STATUS_OK;
}

/* NULL, or what is wrong with key or arguments. */
static const char *
binding_problem(const struct record *record, const struct exchange *source)
{
    struct fault fault;
    if (record->binding.routing_key.size > TOPIC_KEY_SIZE_MAX) {
        return "its key is too long";
    }
    if (table_validate(record->binding.arguments, TABLE_FIELDS_MAX, &fault) != STATUS_OK) {
        return "its arguments are no table";
    }
    if (source->type->check(record->binding.routing_key, record->binding.arguments, &fault) !=
        STATUS_OK) {
        return "its arguments are not accepted";
    }
    return NULL;
}

/* Where the binding leads, if that is in `vhost`; else NULL. */
static struct route_target *
find_target(const struct topology_restore *restore, const struct record *record,
            const struct vhost *vhost)
{
    uint64_t id = record->binding.target;
    if ((record->binding.flags & RECORD_TO_EXCHANGE) != 0) {
        struct exchange *exchange = find_by_id(&restore->exchanges, id);
        return exchange == NULL || exchange->vhost != vhost ? NULL : &exchange->target;
    }
    struct queue *queue = core_find_queue_by_id(restore->core, id);
    return queue == NULL || queue->vhost != vhost ? NULL : &queue->target;
}

static enum status
restore_binding(struct topology_restore *restore, const struct record *record)
{
    uint64_t id = record->binding.source;
    struct exchange *source = find_by_id(&restore->exchanges, id);
    if (source == NULL) {
        return refuse(restore, "binding", id, "its source is not known");
    }
    struct vhost *vhost = source->vhost;
    struct route_target *target = find_target(restore, record, vhost);
    const char *problem =
        target == NULL ? "its target is not known" : binding_problem(record, source);
    if (problem != NULL) {
        return refuse(restore, "binding", id, problem);
    }
    struct binding *binding;
    struct fault fault;
    if (vhost_bind(vhost, source, target, record->binding.routing_key, record->binding.arguments,
                   &binding, &fault) != STATUS_OK) {
        return STATUS_NO_MEMORY;
    }
    binding->from_file = (record->binding.flags & RECORD_FROM_FILE) != 0;
    return STATUS_OK;
}

static enum status
restore_generation(struct topology_restore *restore, const struct record *record)
{
    const struct vhost *vhost = find_by_id(&restore->vhosts, record->generation.vhost);
    if (vhost == NULL) {
        return refuse(restore, "generation", record->generation.id, "its vhost is not known");
    }
    if (core_restore_generation(restore->core, vhost, &record->generation) != STATUS_OK) {
        return refuse(restore, "generation", record->generation.id, "the rest is not understood");
    }
    return STATUS_OK;
}

static enum status
restore_fact(struct topology_restore *restore, const struct record *record)
{
    struct core *core = restore->core;
    uint64_t id = record->fact.id;
    switch (record->fact.kind) {
    case RECORD_FACT_PARAMETER:
        if (!take_id(core, id) || parameter_restore(core, id, record->fact.rest) != STATUS_OK) {
            return refuse(restore, "parameter", id, "it is not understood");
        }
        return STATUS_OK;
    case RECORD_FACT_AUDIT:
        return audit_restore(core, id, record->fact.rest) == STATUS_OK
                   ? STATUS_OK
                   : refuse(restore, "audit", id, "it is not understood");
    default:
        return refuse(restore, "fact", id, "its kind is not known");
    }
}

enum status
topology_restore_record(void *context, const struct record *record)
{
    struct topology_restore *restore = context;
    switch (record->type) {
    case RECORD_VHOST_SET:
        return restore_vhost(restore, record);
    case RECORD_USER_SET:
        return restore_user(restore, record);
    case RECORD_POLICY_SET:
        return restore_policy(restore, record);
    case RECORD_EXCHANGE_SET:
        return restore_exchange(restore, record);
    case RECORD_QUEUE_SET:
        return restore_queue(restore, record);
    case RECORD_BINDING_SET:
        return restore_binding(restore, record);
    case RECORD_GENERATION_SET:
        return restore_generation(restore, record);
    case RECORD_FACT_SET:
        return restore_fact(restore, record);
    case RECORD_HANDOUT: /* of messages: recovery's own business */
        return STATUS_OK;
    default:
        return refuse(restore, "record", record->type, "no record of this type belongs here");
    }
}

void
core_complete_topology(struct core *core, uint64_t next_object_id)
{
    if (next_object_id > core->next_durable_id) {
        core->next_durable_id = next_object_id;
    }
    uint32_t position = 0;
    for (struct map_entry *entry; (entry = map_next(&core->vhosts, &position)) != NULL;) {
        vhost_make_predeclared(entry->value, true);
    }
}
