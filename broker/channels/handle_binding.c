/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/channels/handle_binding.h"

#include "amqp/reply.h"
#include "broker/changes/audit.h"
#include "broker/channels/channel.h"
#include "broker/names/resource_name.h"
#include "broker/topology/vhost.h"

enum status
fault_default_exchange(struct fault *fault)
{
    return fault_channel(fault, REPLY_ACCESS_REFUSED,
                         "operation not permitted on the default exchange");
}

/* A request whose names are fit for use. */
struct binding_names {
    struct bytes destination;
    struct bytes source;
    uint8_t destination_scratch[RESOURCE_NAME_SIZE_MAX];
    uint8_t source_scratch[RESOURCE_NAME_SIZE_MAX];
};

static void
clean_names(struct binding_names *names, const struct binding_request *request)
{
    names->destination = resource_name_clean(request->destination, names->destination_scratch);
    names->source = resource_name_clean(request->source, names->source_scratch);
}

static enum status
fault_cannot_be_bound(struct fault *fault, const struct vhost *vhost, struct bytes name)
{
    char text[RESOURCE_TEXT_SIZE];
    return fault_channel(fault, REPLY_ACCESS_REFUSED, "%s cannot be bound",
                         vhost_queue_text(vhost, name, text));
}

/* Rights on both ends, and what can never be an end, in the order in which RabbitMQ asks. */
static enum status
check_ends(const struct channel *channel, const struct binding_request *request,
           const struct binding_names *names, struct fault *fault)
{
    struct connection *connection = channel->connection;
    if (access_require(connection, ACCESS_WRITE, request->kind, names->destination, fault) !=
        STATUS_OK) {
        return STATUS_FAULT;
    }
    if (names->source.size == 0 ||
        (request->kind == ACCESS_EXCHANGE && names->destination.size == 0)) {
        return fault_default_exchange(fault);
    }
    if (access_require(connection, ACCESS_READ, ACCESS_EXCHANGE, names->source, fault) !=
        STATUS_OK) {
        return STATUS_FAULT;
    }
    if (request->kind == ACCESS_QUEUE && bytes_starts_with(names->destination, REPLY_TO_QUEUE)) {
        return fault_cannot_be_bound(fault, channel_vhost(channel), names->destination);
    }
    return STATUS_OK;
}

static enum status
check_topic(const struct channel *channel, const struct exchange *source, struct bytes routing_key,
            struct fault *fault)
{
    if (source == NULL || !source->type->is_topic) {
        return STATUS_OK;
    }
    return access_require_topic(channel->connection, ACCESS_READ, source->name, routing_key, fault);
}

/* The destination, NULL when there is none. STATUS_FAULT: 405. */
static enum status
find_destination(const struct channel *channel, const struct binding_request *request,
                 struct bytes name, struct route_target **target_out, struct fault *fault)
{
    struct vhost *vhost = channel_vhost(channel);
    *target_out = NULL;
    if (request->kind == ACCESS_EXCHANGE) {
        struct exchange *exchange = vhost_find_exchange(vhost, name);
        *target_out = exchange == NULL ? NULL : &exchange->target;
        return STATUS_OK;
    }
    struct queue *queue = vhost_find_queue(vhost, name);
    if (queue == NULL) {
        return STATUS_OK;
    }
    if (queue_check_owner(queue, channel->connection->link, fault) != STATUS_OK) {
        return STATUS_FAULT;
    }
    *target_out = &queue->target;
    return STATUS_OK;
}

enum status
channel_bind(struct channel *channel, const struct binding_request *request, struct fault *fault)
{
    struct binding_names names;
    clean_names(&names, request);
    struct vhost *vhost = channel_vhost(channel);
    if (check_ends(channel, request, &names, fault) != STATUS_OK) {
        return STATUS_FAULT;
    }
    struct exchange *source = vhost_find_exchange(vhost, names.source);
    if (check_topic(channel, source, request->routing_key, fault) != STATUS_OK) {
        return STATUS_FAULT;
    }
    if (source == NULL) {
        return fault_no_exchange(fault, vhost, names.source);
    }
    struct route_target *target;
    if (find_destination(channel, request, names.destination, &target, fault) != STATUS_OK) {
        return STATUS_FAULT;
    }
    if (target == NULL) {
        return request->kind == ACCESS_QUEUE ? fault_no_queue(fault, vhost, names.destination)
                                             : fault_no_exchange(fault, vhost, names.destination);
    }
    return vhost_bind(vhost, source, target, request->routing_key, request->arguments, NULL, fault);
}

enum status
channel_unbind(struct channel *channel, const struct binding_request *request, struct fault *fault)
{
    struct binding_names names;
    clean_names(&names, request);
    struct vhost *vhost = channel_vhost(channel);
    if (check_ends(channel, request, &names, fault) != STATUS_OK) {
        return STATUS_FAULT;
    }
    struct exchange *source = vhost_find_exchange(vhost, names.source);
    struct route_target *target;
    if (check_topic(channel, source, request->routing_key, fault) != STATUS_OK ||
        find_destination(channel, request, names.destination, &target, fault) != STATUS_OK) {
        return STATUS_FAULT;
    }
    if (source == NULL || target == NULL) {
        return STATUS_OK;
    }
    if (vhost_unbind(vhost, source, target, request->routing_key, request->arguments, fault) !=
        STATUS_OK) {
        return STATUS_FAULT;
    }
    audit_unbound(channel->connection, names.source, names.destination, request->routing_key);
    return STATUS_OK;
}
