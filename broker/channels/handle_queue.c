/* SPDX-License-Identifier: Apache-2.0 */
/* Methods of class queue. Rights come before existence: a 404 must not tell a stranger which names
 * exist. */
#include <stdio.h>

#include "amqp/reply.h"
#include "amqp/table.h"
#include "base/assert.h"
#include "broker/changes/audit.h"
#include "broker/changes/generation.h"
#include "broker/channels/channel.h"
#include "broker/channels/commit_wait.h"
#include "broker/channels/handle_binding.h"
#include "broker/death/retry.h"
#include "broker/durability/durability.h"
#include "broker/names/resource_name.h"
#include "broker/publishing/reply_to.h"
#include "broker/topology/vhost.h"
#include "broker/upkeep/expiry.h"
#include "broker/users/access.h"

enum status
channel_queue_name(struct channel *channel, struct bytes name, struct bytes *name_out,
                   struct fault *fault)
{
    if (name.size == 0 && channel->last_queue.size == 0) {
        return fault_channel(fault, REPLY_NOT_FOUND, "no previously declared queue");
    }
    *name_out = name.size == 0 ? channel->last_queue : name;
    return STATUS_OK;
}

enum status
channel_find_queue(struct channel *channel, struct bytes name, struct queue **queue_out,
                   struct fault *fault)
{
    struct bytes meant = {0};
    if (channel_queue_name(channel, name, &meant, fault) != STATUS_OK) {
        return STATUS_FAULT;
    }
    struct queue *queue = vhost_find_queue(channel_vhost(channel), meant);
    if (queue == NULL) {
        return fault_no_queue(fault, channel_vhost(channel), meant);
    }
    if (queue_check_owner(queue, channel->connection->link, fault) != STATUS_OK) {
        return STATUS_FAULT;
    }
    *queue_out = queue;
    return STATUS_OK;
}

/* Declaring ---------------------------------------------------------------------------------- */

/* Counts have 32 bits on the wire. */
static uint32_t
wire_count(uint64_t count)
{
    return count > UINT32_MAX ? UINT32_MAX : (uint32_t)count;
}

/* Every successful declare makes the name the channel's last one. What it says about a durable
 * queue is said when it is on disk, also to the second who asks. */
static enum status
answer_declare(struct channel *channel, struct bytes name, uint64_t ready_count,
               uint32_t consumer_count, bool nowait)
{
    channel_remember_queue(channel, name);
    channel_core(channel)->counters.queues_declared++;
    if (!nowait) {
        struct method answer = {
            .id = METHOD_QUEUE_DECLARE_OK,
            .queue_declare_ok = {.queue = name,
                                 .message_count = wire_count(ready_count),
                                 .consumer_count = consumer_count},
        };
        channel_send_after(channel, &answer, core_topology_token(channel_core(channel)));
    }
    return STATUS_OK;
}

/* Declaring a direct reply-to name asks whether the requester is still there; the bare name always
 * is. Whoever knows the token may ask. */
static enum status
probe_replies(struct channel *channel, struct bytes name, bool nowait, struct fault *fault)
{
    if (!bytes_equal_text(name, REPLY_TO_QUEUE) && channel_find_requester(channel, name) == NULL) {
        return fault_no_queue(fault, channel_vhost(channel), name);
    }
    return answer_declare(channel, name, 0, 1, nowait);
}

static enum status
declare_passively(struct channel *channel, struct bytes name, bool nowait, struct fault *fault)
{
    struct vhost *vhost = channel_vhost(channel);
    if (access_require_any(channel->connection, ACCESS_QUEUE, name, fault) != STATUS_OK) {
        return STATUS_FAULT;
    }
    struct queue *queue = vhost_find_queue(vhost, name);
    if (queue == NULL) {
        return fault_no_queue(fault, vhost, name);
    }
    if (queue_check_owner(queue, channel->connection->link, fault) != STATUS_OK) {
        return STATUS_FAULT;
    }
    core_use_queue(channel_core(channel), queue);
    core_serve_consumers(channel_core(channel), queue);
    return answer_declare(channel, name, queue->ready_count, queue->consumer_count, nowait);
}

/* Whoever names a dead-letter exchange sends it what dies in the queue: that takes read on the one
 * and write on the other. */
static enum status
check_dead_letter(const struct channel *channel, struct bytes name, struct bytes arguments,
                  struct fault *fault)
{
    struct table_value value;
    if (!table_find(arguments, "x-dead-letter-exchange", &value)) {
        return STATUS_OK;
    }
    if (table_value_class(&value) != TABLE_CLASS_STRING) {
        char text[RESOURCE_TEXT_SIZE];
        return fault_channel(fault, REPLY_PRECONDITION_FAILED,
                             "invalid type '%s' for arg 'x-dead-letter-exchange' in %s",
                             table_type_name(value.type),
                             vhost_queue_text(channel_vhost(channel), name, text));
    }
    if (access_require(channel->connection, ACCESS_READ, ACCESS_QUEUE, name, fault) != STATUS_OK) {
        return STATUS_FAULT;
    }
    return access_require(channel->connection, ACCESS_WRITE, ACCESS_EXCHANGE, value.raw, fault);
}

static enum status
check_declare(const struct channel *channel, struct bytes name, struct bytes arguments,
              struct fault *fault)
{
    const struct vhost *vhost = channel_vhost(channel);
    if (access_require(channel->connection, ACCESS_CONFIGURE, ACCESS_QUEUE, name, fault) !=
        STATUS_OK) {
        return STATUS_FAULT;
    }
    if (vhost_find_queue(vhost, name) != NULL) {
        return STATUS_OK;
    }
    if (vhost_check_queue_limit(vhost, name, fault) != STATUS_OK) {
        return STATUS_FAULT;
    }
    return check_dead_letter(channel, name, arguments, fault);
}

static enum status
declare_named(struct channel *channel, const struct queue_declare *args, struct bytes name,
              struct fault *fault)
{
    if (check_declare(channel, name, args->arguments, fault) != STATUS_OK) {
        return STATUS_FAULT;
    }
    struct queue_properties properties = {
        .name = name,
        .arguments = args->arguments,
        .durable = args->durable,
        .exclusive = args->exclusive,
        .auto_delete = args->auto_delete,
        .made = connection_maker(channel->connection),
        .owner_link = args->exclusive ? channel->connection->link : 0,
    };
    struct queue *queue;
    if (vhost_declare_queue(channel_vhost(channel), &properties, &queue, fault) != STATUS_OK) {
        return STATUS_FAULT;
    }
    core_use_queue(channel_core(channel), queue);
    core_serve_consumers(channel_core(channel), queue);
    return answer_declare(channel, name, queue->ready_count, queue->consumer_count, args->nowait);
}

static enum status
declare_server_named(struct channel *channel, const struct queue_declare *args, struct fault *fault)
{
    struct table_value type;
    if (table_find(args->arguments, "x-queue-type", &type) &&
        table_value_class(&type) == TABLE_CLASS_STRING && bytes_equal_text(type.raw, "quorum")) {
        return fault_channel(fault, REPLY_PRECONDITION_FAILED,
                             "Cannot declare a server-named queue for type rabbit_quorum_queue");
    }
    char name[sizeof("amq.gen-") + RANDOM_NAME_SIZE];
    char random[RANDOM_NAME_SIZE];
    random_name(&channel_core(channel)->ports.random, random);
    (void)snprintf(name, sizeof(name), "amq.gen-%s", random);
    return declare_named(channel, args, bytes_of(name), fault);
}

enum status
channel_handle_queue_declare(struct channel *channel, const struct queue_declare *args,
                             struct fault *fault)
{
    uint8_t scratch[RESOURCE_NAME_SIZE_MAX];
    struct bytes name = resource_name_clean(args->queue, scratch);
    if (bytes_starts_with(name, REPLY_TO_QUEUE)) {
        return probe_replies(channel, name, args->nowait, fault);
    }
    if (args->passive) {
        return declare_passively(channel, name, args->nowait, fault);
    }
    if (name.size == 0) {
        return declare_server_named(channel, args, fault);
    }
    if (resource_name_is_reserved(name)) {
        return fault_reserved_name(fault, "queue", name);
    }
    return declare_named(channel, args, name, fault);
}

/* Bindings ----------------------------------------------------------------------------------- */

/* With neither queue nor key given, the name of the queue is the key, too. */
static enum status
make_request(struct channel *channel, struct bytes queue, struct binding_request *request,
             struct fault *fault)
{
    if (channel_queue_name(channel, queue, &request->destination, fault) != STATUS_OK) {
        return STATUS_FAULT;
    }
    request->kind = ACCESS_QUEUE;
    if (queue.size == 0 && request->routing_key.size == 0) {
        request->routing_key = request->destination;
    }
    return STATUS_OK;
}

enum status
channel_handle_queue_bind(struct channel *channel, const struct queue_bind *args,
                          struct fault *fault)
{
    struct binding_request request = {
        .source = args->exchange,
        .routing_key = args->routing_key,
        .arguments = args->arguments,
    };
    if (make_request(channel, args->queue, &request, fault) != STATUS_OK ||
        channel_bind(channel, &request, fault) != STATUS_OK) {
        return STATUS_FAULT;
    }
    if (!args->nowait) {
        struct method answer = {.id = METHOD_QUEUE_BIND_OK};
        channel_send_after(channel, &answer, core_topology_token(channel_core(channel)));
    }
    return STATUS_OK;
}

enum status
channel_handle_queue_unbind(struct channel *channel, const struct queue_unbind *args,
                            struct fault *fault)
{
    struct binding_request request = {
        .source = args->exchange,
        .routing_key = args->routing_key,
        .arguments = args->arguments,
    };
    if (make_request(channel, args->queue, &request, fault) != STATUS_OK ||
        channel_unbind(channel, &request, fault) != STATUS_OK) {
        return STATUS_FAULT;
    }
    struct method answer = {.id = METHOD_QUEUE_UNBIND_OK};
    channel_send_after(channel, &answer, core_topology_token(channel_core(channel)));
    return STATUS_OK;
}

/* Purging and deleting ----------------------------------------------------------------------- */

static enum status
answer_purge(struct channel *channel, uint64_t count, bool nowait)
{
    if (!nowait) {
        struct method answer = {
            .id = METHOD_QUEUE_PURGE_OK,
            .queue_purge_ok = {.message_count = wire_count(count)},
        };
        channel_send_after(channel, &answer, core_log_token(channel_core(channel)));
    }
    return STATUS_OK;
}

/* The removal of many messages is written down in slices; the method waits for the last of them,
 * and is handled again then. */
static enum status
wait_for_purge(struct channel *channel, uint64_t count)
{
    struct core *core = channel_core(channel);
    channel->purged_count = count;
    channel->purge_sequence = core->discards.discarded_sequence;
    list_append(&core->purgers, &channel->wait_link);
    return STATUS_AGAIN;
}

enum status
channel_handle_queue_purge(struct channel *channel, const struct queue_purge *args,
                           struct fault *fault)
{
    if (channel->has_purged) {
        channel->has_purged = false;
        return answer_purge(channel, channel->purged_count, args->nowait);
    }
    uint8_t scratch[RESOURCE_NAME_SIZE_MAX];
    struct bytes name = {0};
    struct queue *queue = NULL;
    if (channel_queue_name(channel, resource_name_clean(args->queue, scratch), &name, fault) !=
            STATUS_OK ||
        access_require(channel->connection, ACCESS_READ, ACCESS_QUEUE, name, fault) != STATUS_OK ||
        channel_find_queue(channel, name, &queue, fault) != STATUS_OK) {
        return STATUS_FAULT;
    }
    assert(queue != NULL);
    struct core *core = channel_core(channel);
    core_serve_consumers(core, queue);
    core_purge_failures(core, queue);
    uint64_t purged_count = queue_purge(queue, &core->discards);
    audit_method(
        channel->connection,
        &(struct audit_entry){.action = AUDIT_PURGE, .queue = name, .done_count = purged_count});
    core_heed_hold(core, queue);
    if (core_has_log(core) && queue->durable && !queue_discards_is_empty(&core->discards)) {
        return wait_for_purge(channel, purged_count);
    }
    return answer_purge(channel, purged_count, args->nowait);
}

/* Emptiness is asked for first. */
static enum status
check_delete(const struct channel *channel, const struct queue *queue,
             const struct queue_delete *args, struct fault *fault)
{
    if (queue_check_owner(queue, channel->connection->link, fault) != STATUS_OK) {
        return STATUS_FAULT;
    }
    char text[RESOURCE_TEXT_SIZE];
    if (args->if_empty && queue->ready_count > 0) {
        return fault_channel(fault, REPLY_PRECONDITION_FAILED, "%s not empty",
                             vhost_queue_text(queue->vhost, queue_name(queue), text));
    }
    if (args->if_unused && queue->consumer_count > 0) {
        return fault_channel(fault, REPLY_PRECONDITION_FAILED, "%s in use",
                             vhost_queue_text(queue->vhost, queue_name(queue), text));
    }
    return STATUS_OK;
}

/* A queue that is not there was deleted all the same. */
enum status
channel_handle_queue_delete(struct channel *channel, const struct queue_delete *args,
                            struct fault *fault)
{
    uint8_t scratch[RESOURCE_NAME_SIZE_MAX];
    struct bytes name = {0};
    if (channel_queue_name(channel, resource_name_clean(args->queue, scratch), &name, fault) !=
            STATUS_OK ||
        access_require(channel->connection, ACCESS_CONFIGURE, ACCESS_QUEUE, name, fault) !=
            STATUS_OK) {
        return STATUS_FAULT;
    }
    uint64_t deleted_count = 0;
    struct queue *queue = vhost_find_queue(channel_vhost(channel), name);
    if (queue != NULL) {
        core_serve_consumers(channel_core(channel), queue);
        if (check_delete(channel, queue, args, fault) != STATUS_OK) {
            return STATUS_FAULT;
        }
        deleted_count = vhost_delete_queue(channel_vhost(channel), queue);
        audit_method(channel->connection, &(struct audit_entry){.action = AUDIT_QUEUE_DELETED,
                                                                .queue = name,
                                                                .done_count = deleted_count});
    }
    if (!args->nowait) {
        struct method answer = {
            .id = METHOD_QUEUE_DELETE_OK,
            .queue_delete_ok = {.message_count = wire_count(deleted_count)},
        };
        channel_send_after(channel, &answer, core_topology_token(channel_core(channel)));
    }
    return STATUS_OK;
}
