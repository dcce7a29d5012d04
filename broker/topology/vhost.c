/* SPDX-License-Identifier: Apache-2.0 */
/* Making, comparing, binding and deleting exchanges and queues. */
#include "broker/topology/vhost.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "amqp/reply.h"
#include "amqp/table.h"
#include "base/alloc.h"
#include "broker/channels/channel.h"
#include "broker/channels/failure_notes.h"
#include "broker/connections/connection.h"
#include "broker/death/retry.h"
#include "broker/delivery/handing_out.h"
#include "broker/durability/durability.h"
#include "broker/durability/durable_topology.h"
#include "broker/paging/paging.h"
#include "broker/topology/doomed.h"
#include "broker/upkeep/expiry.h"
#include "broker/upkeep/waiting.h"
#include "broker/watch/trace.h"

enum { VALUE_TEXT_SIZE = 128 };

/* Texts -------------------------------------------------------------------------------------- */

static const char *
resource_text(const char *kind, const struct vhost *vhost, struct bytes name,
              char out[static RESOURCE_TEXT_SIZE])
{
    (void)snprintf(out, RESOURCE_TEXT_SIZE, "%s '%.*s' in vhost '%.*s'", kind, BYTES_FORMAT(name),
                   BYTES_FORMAT(vhost->name));
    return out;
}

const char *
vhost_queue_text(const struct vhost *vhost, struct bytes name, char out[static RESOURCE_TEXT_SIZE])
{
    return resource_text("queue", vhost, name, out);
}

const char *
vhost_exchange_text(const struct vhost *vhost, struct bytes name,
                    char out[static RESOURCE_TEXT_SIZE])
{
    return resource_text("exchange", vhost, name, out);
}

const char *
vhost_queue_fields(const struct queue *queue, char out[static QUEUE_FIELDS_SIZE])
{
    const struct vhost *vhost = queue->vhost;
    char texts[2][RESOURCE_TEXT_SIZE];
    (void)snprintf(out, QUEUE_FIELDS_SIZE, "vhost=%s queue=%s",
                   log_escape(texts[0], sizeof(texts[0]), vhost->name),
                   log_escape(texts[1], sizeof(texts[1]), queue_name(queue)));
    return out;
}

enum status
fault_no_queue(struct fault *fault, const struct vhost *vhost, struct bytes name)
{
    char text[RESOURCE_TEXT_SIZE];
    return fault_channel(fault, REPLY_NOT_FOUND, "no %s", vhost_queue_text(vhost, name, text));
}

enum status
fault_no_exchange(struct fault *fault, const struct vhost *vhost, struct bytes name)
{
    char text[RESOURCE_TEXT_SIZE];
    return fault_channel(fault, REPLY_NOT_FOUND, "no %s", vhost_exchange_text(vhost, name, text));
}

enum status
fault_locked_queue(struct fault *fault, const struct queue *queue)
{
    char subject[RESOURCE_TEXT_SIZE];
    return fault_channel(fault, REPLY_RESOURCE_LOCKED,
                         "cannot obtain exclusive access to locked %s. It could be originally "
                         "declared on another connection or the exclusive property value does not "
                         "match that of the original declaration.",
                         vhost_queue_text(queue->vhost, queue_name(queue), subject));
}

/* The host and its predeclared exchanges ------------------------------------------------------ */

static struct bytes
target_name(const struct route_target *target)
{
    assert(target->kind != ROUTE_TARGET_GONE);
    return target->kind == ROUTE_TARGET_QUEUE
               ? queue_name(CONTAINER_OF(target, const struct queue, target))
               : CONTAINER_OF(target, const struct exchange, target)->name;
}

struct exchange *
vhost_restore_exchange(struct vhost *vhost, uint64_t id,
                       const struct exchange_properties *properties)
{
    struct exchange_properties equipped = *properties;
    equipped.tools = (struct matcher_tools){
        .seed = vhost->core->seed,
        .random = &vhost->core->ports.random,
        .target_name = target_name,
    };
    struct exchange *exchange = exchange_new(id, &equipped);
    if (exchange == NULL) {
        return NULL;
    }
    exchange->vhost = vhost;
    exchange_match_policies(exchange);
    map_put(&vhost->exchanges, exchange->name, exchange);
    return exchange;
}

/* NULL when there is no memory. */
static struct exchange *
make_exchange(struct vhost *vhost, const struct exchange_properties *properties)
{
    struct core *core = vhost->core;
    if (properties->durable &&
        core_prepare_record(core, properties->name.size + strlen(properties->type->name) +
                                      properties->arguments.size) != STATUS_OK) {
        return NULL;
    }
    return vhost_restore_exchange(vhost, core_new_id(core, properties->durable), properties);
}

void
vhost_make_predeclared(struct vhost *vhost, bool is_logged)
{
    static const struct {
        const char *name;
        const struct exchange_type *type;
        bool internal;
    } rows[] = {
        {"", &exchange_type_direct, false},
        {"amq.direct", &exchange_type_direct, false},
        {"amq.fanout", &exchange_type_fanout, false},
        {"amq.topic", &exchange_type_topic, false},
        {"amq.headers", &exchange_type_headers, false},
        {"amq.match", &exchange_type_headers, false},
        {"amq.rabbitmq.trace", &exchange_type_topic, true},
        {CONTROL_EXCHANGE, &exchange_type_direct, false},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct exchange_properties properties = {
            .name = bytes_of(rows[i].name),
            .type = rows[i].type,
            .durable = true,
            .internal = rows[i].internal,
            .predeclared = true,
        };
        if (vhost_find_exchange(vhost, properties.name) != NULL) {
            continue;
        }
        const struct exchange *made = make_exchange(vhost, &properties);
        assert(made != NULL); /* at start, and a few octets */
        if (is_logged) {
            exchange_remember(made);
        }
    }
}

static struct vhost *
make_vhost(struct core *core, uint64_t id, struct bytes name)
{
    struct vhost *vhost = xalloc(sizeof(*vhost));
    uint8_t *copy = xalloc(name.size + 1);
    memcpy(copy, name.data, name.size);
    vhost->core = core;
    vhost->id = id;
    vhost->name = bytes_make(copy, name.size);
    vhost->connections_max = -1;
    vhost->queues_max = -1;
    map_init(&vhost->exchanges, core->seed);
    map_init(&vhost->queues, core->seed);
    vhost_policies_init(vhost);
    return vhost;
}

struct vhost *
vhost_new(struct core *core, struct bytes name)
{
    struct vhost *vhost = make_vhost(core, core_new_id(core, true), name);
    vhost_make_predeclared(vhost, false);
    return vhost;
}

/* What the log says about a new vhost stands or falls together. */
static void
remember_new_vhost(const struct vhost *vhost)
{
    uint64_t octets = 0;
    uint32_t position = 0;
    for (struct map_entry *entry; (entry = map_next(&vhost->exchanges, &position)) != NULL;) {
        octets += CORE_RECORD_FIXED + entry->key_size + 16;
    }
    core_log_together(vhost->core, octets + CORE_RECORD_FIXED + vhost->name.size);
    vhost_remember(vhost);
    position = 0;
    for (struct map_entry *entry; (entry = map_next(&vhost->exchanges, &position)) != NULL;) {
        exchange_remember(entry->value);
    }
}

void
core_add_vhost(struct core *core, struct vhost *vhost)
{
    assert(core_find_vhost(core, vhost->name) == NULL);
    map_put(&core->vhosts, vhost->name, vhost);
    remember_new_vhost(vhost);
}

struct vhost *
core_restore_vhost(struct core *core, uint64_t id, struct bytes name)
{
    struct vhost *vhost = make_vhost(core, id, name);
    map_put(&core->vhosts, vhost->name, vhost);
    return vhost;
}

static void
free_queues(struct vhost *vhost)
{
    uint32_t position = 0;
    for (struct map_entry *entry; (entry = map_next(&vhost->queues, &position)) != NULL;) {
        (void)vhost_delete_queue(vhost, entry->value);
    }
    map_fini(&vhost->queues);
}

/* All bindings first: an exchange must not be freed while it is another's destination, and to take
 * a million of them away one by one takes a second. */
static void
free_bindings(struct vhost *vhost)
{
    uint32_t position = 0;
    for (struct map_entry *entry; (entry = map_next(&vhost->exchanges, &position)) != NULL;) {
        exchange_unbind_all(entry->value);
    }
}

static void
free_exchanges(struct vhost *vhost)
{
    uint32_t position = 0;
    for (struct map_entry *entry; (entry = map_next(&vhost->exchanges, &position)) != NULL;) {
        struct exchange *exchange = entry->value;
        exchange_leave_policies(exchange);
        exchange_free(&exchange);
    }
    map_fini(&vhost->exchanges);
}

void
vhost_free(struct vhost **vhost_pointer)
{
    struct vhost *vhost = *vhost_pointer;
    if (vhost == NULL) {
        return;
    }
    vhost_forget_traces(vhost);
    free_bindings(vhost);
    free_queues(vhost);
    core_unbind_all(vhost->core);
    free_exchanges(vhost);
    vhost_policies_fini(vhost);
    list_remove(&vhost->gone_link);
    free(vhost->description);
    free(vhost->tags);
    free(vhost->default_queue_type);
    free((void *)vhost->name.data);
    free(vhost);
    *vhost_pointer = NULL;
}

struct vhost *
core_find_vhost(struct core *core, struct bytes name)
{
    return map_get(&core->vhosts, name);
}

struct exchange *
vhost_find_exchange(const struct vhost *vhost, struct bytes name)
{
    return map_get(&vhost->exchanges, name);
}

struct queue *
vhost_find_queue(const struct vhost *vhost, struct bytes name)
{
    return map_get(&vhost->queues, name);
}

/* Declaring exchanges ------------------------------------------------------------------------ */

/* What stands behind "received" and "current is". Where both sides have a value, their types are
 * not named. */
static const char *
argument_text(const struct table_value *value, const struct table_value *other, char *out,
              size_t out_size)
{
    char text[VALUE_TEXT_SIZE];
    if (value == NULL) {
        return "none";
    }
    (void)table_value_text(value, text, sizeof(text));
    if (other == NULL) {
        (void)snprintf(out, out_size, "the value '%s' of type '%s'", text,
                       table_type_name(value->type));
    } else {
        (void)snprintf(out, out_size, "'%s'", text);
    }
    return out;
}

/* One of the arguments that count on a redeclaration. */
static enum status
compare_argument(const char *name, struct bytes received, struct bytes current, const char *subject,
                 struct fault *fault)
{
    struct table_value values[2];
    const struct table_value *now = table_find(received, name, &values[0]) ? &values[0] : NULL;
    const struct table_value *before = table_find(current, name, &values[1]) ? &values[1] : NULL;
    if (now == NULL && before == NULL) {
        return STATUS_OK;
    }
    if (now != NULL && before != NULL && table_value_equal(now, before)) {
        return STATUS_OK;
    }
    char texts[2][VALUE_TEXT_SIZE + 64];
    return fault_channel(fault, REPLY_PRECONDITION_FAILED,
                         "inequivalent arg '%s' for %s: received %s but current is %s", name,
                         subject, argument_text(now, before, texts[0], sizeof(texts[0])),
                         argument_text(before, now, texts[1], sizeof(texts[1])));
}

static const char *const compared_arguments[] = {"x-delayed-type", "alternate-exchange"};

static enum status
compare_exchange(const struct exchange *exchange, const struct exchange_properties *properties,
                 struct fault *fault)
{
    char subject[RESOURCE_TEXT_SIZE];
    vhost_exchange_text(exchange->vhost, exchange->name, subject);
    const struct exchange_type *current = exchange_declared_type(exchange);
    if (properties->type != current) {
        return fault_channel(fault, REPLY_PRECONDITION_FAILED,
                             "inequivalent arg 'type' for %s: received '%s' but current is '%s'",
                             subject, properties->type->name, current->name);
    }
    const struct {
        const char *name;
        bool received, current;
    } flags[] = {
        {"durable", properties->durable, exchange->durable},
        {"auto_delete", properties->auto_delete, exchange->auto_delete},
        {"internal", properties->internal, exchange->internal},
    };
    for (size_t i = 0; i < ARRAY_LEN(flags); i++) {
        if (queue_property_compare(flags[i].name, flags[i].received, flags[i].current, subject,
                                   fault) != STATUS_OK) {
            return STATUS_FAULT;
        }
    }
    for (size_t i = 0; i < ARRAY_LEN(compared_arguments); i++) {
        if (compare_argument(compared_arguments[i], properties->arguments, exchange->arguments,
                             subject, fault) != STATUS_OK) {
            return STATUS_FAULT;
        }
    }
    return STATUS_OK;
}

enum status
vhost_declare_exchange(struct vhost *vhost, const struct exchange_properties *properties,
                       struct exchange **exchange_out, struct fault *fault)
{
    struct exchange *exchange = vhost_find_exchange(vhost, properties->name);
    if (exchange == NULL) {
        exchange = make_exchange(vhost, properties);
        if (exchange == NULL) {
            return fault_connection(fault, REPLY_RESOURCE_ERROR, "no memory for the exchange");
        }
        exchange_remember(exchange);
    } else if (compare_exchange(exchange, properties, fault) != STATUS_OK) {
        return STATUS_FAULT;
    }
    if (exchange_out != NULL) {
        *exchange_out = exchange;
    }
    return STATUS_OK;
}

/* Declaring queues --------------------------------------------------------------------------- */

enum status
queue_check_owner(const struct queue *queue, uint64_t link, struct fault *fault)
{
    if (queue->owner_link == 0 || queue->owner_link == link) {
        return STATUS_OK;
    }
    return fault_locked_queue(fault, queue);
}

/* The order is part of the protocol's behaviour: exclusivity, durable, auto-delete, arguments. */
static enum status
compare_queue(const struct queue *queue, const struct queue_properties *properties,
              struct fault *fault)
{
    if (properties->owner_link != queue->owner_link) {
        return fault_locked_queue(fault, queue);
    }
    char subject[RESOURCE_TEXT_SIZE];
    vhost_queue_text(queue->vhost, queue_name(queue), subject);
    if (queue_property_compare("durable", properties->durable, queue->durable, subject, fault) !=
            STATUS_OK ||
        queue_property_compare("auto_delete", properties->auto_delete, queue->auto_delete, subject,
                               fault) != STATUS_OK) {
        return STATUS_FAULT;
    }
    return queue_settings_compare(properties->arguments, queue->arguments, subject, fault);
}

enum status
vhost_check_queue_limit(const struct vhost *vhost, struct bytes name, struct fault *fault)
{
    if (vhost->queues_max < 0 || map_count(&vhost->queues) < (uint64_t)vhost->queues_max) {
        return STATUS_OK;
    }
    return fault_channel(fault, REPLY_PRECONDITION_FAILED,
                         "cannot declare queue '%.*s': queue limit in vhost '%.*s' (%" PRId64
                         ") is reached",
                         BYTES_FORMAT(name), BYTES_FORMAT(vhost->name), vhost->queues_max);
}

static enum status
check_new_queue(const struct vhost *vhost, const struct queue_properties *properties,
                struct fault *fault)
{
    if (vhost_check_queue_limit(vhost, properties->name, fault) != STATUS_OK) {
        return STATUS_FAULT;
    }
    char subject[RESOURCE_TEXT_SIZE];
    vhost_queue_text(vhost, properties->name, subject);
    struct queue_settings settings;
    if (queue_settings_read(&settings, properties->arguments, subject, fault) != STATUS_OK) {
        return STATUS_FAULT;
    }
    return queue_settings_check_quorum(&settings, properties->auto_delete, properties->durable,
                                       properties->owner_link != 0, subject, fault);
}

struct queue *
vhost_restore_queue(struct vhost *vhost, uint64_t id, const struct queue_properties *properties)
{
    struct core *core = vhost->core;
    struct queue *queue = queue_new(id, properties);
    if (queue == NULL) {
        return NULL;
    }
    queue->vhost = vhost;
    queue_match_policies(queue);
    queue_count_memory(queue, &core->queue_memory);
    map_put(&vhost->queues, queue_name(queue), queue);
    if (queue->durable) {
        map_put(&core->durable_queues, bytes_make(&queue->target.id, sizeof(queue->target.id)),
                queue);
    }
    core_use_queue(core, queue);
    return queue;
}

/* NULL when there is no memory. */
static struct queue *
make_queue(struct vhost *vhost, const struct queue_properties *properties)
{
    struct core *core = vhost->core;
    if (properties->durable &&
        core_prepare_record(core, properties->name.size + properties->arguments.size) !=
            STATUS_OK) {
        return NULL;
    }
    struct queue *queue =
        vhost_restore_queue(vhost, core_new_id(core, properties->durable), properties);
    if (queue == NULL) {
        return NULL;
    }
    if (properties->owner_link != 0) {
        struct connection *owner = core_find_connection(core, properties->owner_link);
        assert(owner != NULL);
        list_append(&owner->exclusive_queues, &queue->owner_list_link);
    }
    queue_remember(queue);
    core->counters.queues_created++;
    return queue;
}

enum status
vhost_declare_queue(struct vhost *vhost, const struct queue_properties *declared,
                    struct queue **queue_out, struct fault *fault)
{
    struct queue_properties properties = *declared;
    struct queue *queue = vhost_find_queue(vhost, properties.name);
    if (queue != NULL) {
        /* What ends with its connection survives no restart, whatever was asked for. */
        properties.durable = properties.durable && properties.owner_link == 0;
        if (compare_queue(queue, &properties, fault) != STATUS_OK) {
            return STATUS_FAULT;
        }
    } else {
        enum status status = check_new_queue(vhost, &properties, fault);
        if (status != STATUS_OK) {
            return status;
        }
        properties.durable = properties.durable && properties.owner_link == 0;
        queue = make_queue(vhost, &properties);
        if (queue == NULL) {
            return fault_connection(fault, REPLY_RESOURCE_ERROR, "no memory for the queue");
        }
    }
    if (queue_out != NULL) {
        *queue_out = queue;
    }
    return STATUS_OK;
}

/* Bindings and deleting ---------------------------------------------------------------------- */

static bool
target_is_durable(struct route_target *target)
{
    return target->kind == ROUTE_TARGET_QUEUE ? queue_of_target(target)->durable
                                              : exchange_of_target(target)->durable;
}

enum status
vhost_bind(struct vhost *vhost, struct exchange *source, struct route_target *target,
           struct bytes routing_key, struct bytes arguments, struct binding **binding_out,
           struct fault *fault)
{
    assert(source->vhost == vhost);
    bool durable = source->durable && target_is_durable(target);
    bool created;
    if (durable &&
        core_prepare_record(vhost->core, routing_key.size + arguments.size) != STATUS_OK) {
        return fault_connection(fault, REPLY_RESOURCE_ERROR, "out of memory");
    }
    enum status status =
        exchange_bind(source, target, routing_key, arguments, durable, &created, fault);
    if (status == STATUS_NO_MEMORY) {
        return fault_connection(fault, REPLY_RESOURCE_ERROR, "out of memory");
    }
    if (status != STATUS_OK) {
        return status;
    }
    struct binding *binding = binding_table_find(&source->bindings, target, routing_key, arguments);
    if (created) {
        binding_remember(binding);
        core_spend(vhost->core, CORE_WORK_OF_CHANGE * (exchange_binding_work(binding) - 1));
    }
    if (binding_out != NULL) {
        *binding_out = binding;
    }
    return STATUS_OK;
}

void
vhost_delete_exchange(struct vhost *vhost, struct exchange *exchange)
{
    core_doom_exchange(vhost->core, exchange);
}

enum status
vhost_unbind(struct vhost *vhost, struct exchange *source, struct route_target *target,
             struct bytes routing_key, struct bytes arguments, struct fault *fault)
{
    struct binding *binding = binding_table_find(&source->bindings, target, routing_key, arguments);
    if (binding == NULL) {
        return STATUS_OK;
    }
    if (core_prepare_record(vhost->core, routing_key.size + binding->arguments_size) != STATUS_OK) {
        return fault_connection(fault, REPLY_RESOURCE_ERROR, "out of memory");
    }
    binding_forget(binding);
    core_remove_binding(vhost->core, binding);
    return STATUS_OK;
}

/* Tells each consumer; whoever cancels finds the queue deleted and leaves the rest of it alone. */
static void
cancel_consumers(struct queue *queue)
{
    for (struct consumer *consumer; (consumer = queue_first_consumer(queue)) != NULL;) {
        channel_cancel_consumer(consumer->channel, consumer, true);
    }
}

uint64_t
vhost_delete_queue(struct vhost *vhost, struct queue *queue)
{
    if (queue->deleted) {
        return 0;
    }
    queue->deleted = true;
    vhost->core->counters.queues_deleted++;
    queue_forget(queue);
    (void)map_remove(&vhost->queues, queue_name(queue));
    if (vhost->named_last == queue) {
        vhost->named_last = NULL;
    }
    if (queue->durable) {
        (void)map_remove(&vhost->core->durable_queues,
                         bytes_make(&queue->target.id, sizeof(queue->target.id)));
    }
    list_remove(&queue->owner_list_link);
    cancel_consumers(queue);
    list_remove(&queue->dispatch_link);
    if (queue->dying != NULL) {
        list_remove(&queue->dying->overlong_link);
    }
    core_purge_failures(vhost->core, queue);
    uint64_t ready_count = queue_purge(queue, &vhost->core->discards);
    core_stop_retries(vhost->core, queue);
    core_purge_waiting_failures(vhost->core, queue);
    core_forget_waiting(vhost->core, queue);
    core_forget_times(vhost->core, queue);
    core_forget_windows(vhost->core, queue);
    core_head_is_there(vhost->core, queue);
    core_doom_queue(vhost->core, queue);
    return ready_count;
}
