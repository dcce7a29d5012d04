/* SPDX-License-Identifier: Apache-2.0 */
/* Methods of class exchange. Rights come before existence: a 404 must not tell a stranger which
 * names exist. */
#include "amqp/reply.h"
#include "amqp/table.h"
#include "broker/changes/audit.h"
#include "broker/changes/generation.h"
#include "broker/channels/channel.h"
#include "broker/channels/commit_wait.h"
#include "broker/channels/handle_binding.h"
#include "broker/durability/durability.h"
#include "broker/names/resource_name.h"
#include "broker/topology/doomed.h"
#include "broker/topology/vhost.h"
#include "broker/users/access.h"

/* What it says about durable exchanges and bindings is said when it is on disk, also to the second
 * who asks. */
static enum status
channel_answer(struct channel *channel, enum method_id id, bool nowait)
{
    if (!nowait) {
        struct method answer = {.id = id};
        channel_send_after(channel, &answer, core_topology_token(channel_core(channel)));
    }
    return STATUS_OK;
}

/* A passive declare asks whether the exchange is there, and nothing else. */
static enum status
declare_passively(struct channel *channel, struct bytes name, bool nowait, struct fault *fault)
{
    if (name.size == 0) {
        return fault_default_exchange(fault);
    }
    if (access_require_any(channel->connection, ACCESS_EXCHANGE, name, fault) != STATUS_OK) {
        return STATUS_FAULT;
    }
    if (vhost_find_exchange(channel_vhost(channel), name) == NULL) {
        return fault_no_exchange(fault, channel_vhost(channel), name);
    }
    return channel_answer(channel, METHOD_EXCHANGE_DECLARE_OK, nowait);
}

/* Whoever names an alternate exchange sends it what this one cannot route: that takes read on the
 * one and write on the other. */
static enum status
check_alternate(const struct channel *channel, struct bytes name, struct bytes arguments,
                struct fault *fault)
{
    struct table_value value;
    if (!table_find(arguments, "alternate-exchange", &value)) {
        return STATUS_OK;
    }
    if (table_value_class(&value) != TABLE_CLASS_STRING) {
        char text[RESOURCE_TEXT_SIZE];
        return fault_channel(fault, REPLY_PRECONDITION_FAILED,
                             "invalid type '%s' for arg 'alternate-exchange' in %s",
                             table_type_name(value.type),
                             vhost_exchange_text(channel_vhost(channel), name, text));
    }
    if (access_require(channel->connection, ACCESS_READ, ACCESS_EXCHANGE, name, fault) !=
        STATUS_OK) {
        return STATUS_FAULT;
    }
    return access_require(channel->connection, ACCESS_WRITE, ACCESS_EXCHANGE, value.raw, fault);
}

static enum status
check_new_exchange(const struct channel *channel, const struct exchange_type *type,
                   struct bytes name, struct bytes arguments, struct fault *fault)
{
    char subject[RESOURCE_TEXT_SIZE];
    if (vhost_find_exchange(channel_vhost(channel), name) != NULL) {
        return STATUS_OK;
    }
    if (resource_name_is_reserved(name)) {
        return fault_reserved_name(fault, "exchange", name);
    }
    if (check_alternate(channel, name, arguments, fault) != STATUS_OK) {
        return STATUS_FAULT;
    }
    vhost_exchange_text(channel_vhost(channel), name, subject);
    return exchange_type_check_arguments(type, arguments, subject, fault);
}

static enum status
declare_actively(struct channel *channel, const struct exchange_declare *args, struct bytes name,
                 struct fault *fault)
{
    const struct exchange_type *type = exchange_type_find(args->type);
    if (type == NULL) {
        return fault_channel(fault, REPLY_PRECONDITION_FAILED, "unknown exchange type '%.*s'",
                             BYTES_FORMAT(args->type));
    }
    if (name.size == 0) {
        return fault_default_exchange(fault);
    }
    if (access_require(channel->connection, ACCESS_CONFIGURE, ACCESS_EXCHANGE, name, fault) !=
            STATUS_OK ||
        check_new_exchange(channel, type, name, args->arguments, fault) != STATUS_OK) {
        return STATUS_FAULT;
    }
    struct exchange_properties properties = {
        .name = name,
        .type = type,
        .durable = args->durable,
        .auto_delete = args->auto_delete,
        .internal = args->internal,
        .made = connection_maker(channel->connection),
        .arguments = args->arguments,
    };
    if (vhost_declare_exchange(channel_vhost(channel), &properties, NULL, fault) != STATUS_OK) {
        return STATUS_FAULT;
    }
    return channel_answer(channel, METHOD_EXCHANGE_DECLARE_OK, args->nowait);
}

enum status
channel_handle_exchange_declare(struct channel *channel, const struct exchange_declare *args,
                                struct fault *fault)
{
    uint8_t scratch[RESOURCE_NAME_SIZE_MAX];
    struct bytes name = resource_name_clean(args->exchange, scratch);
    return args->passive ? declare_passively(channel, name, args->nowait, fault)
                         : declare_actively(channel, args, name, fault);
}

static enum status
check_delete(const struct channel *channel, struct bytes name, struct fault *fault)
{
    if (name.size == 0) {
        return fault_default_exchange(fault);
    }
    const struct exchange *exchange = vhost_find_exchange(channel_vhost(channel), name);
    if (resource_name_is_reserved(name) || (exchange != NULL && exchange->predeclared)) {
        char text[RESOURCE_TEXT_SIZE];
        return fault_channel(fault, REPLY_ACCESS_REFUSED, "deletion of system %s not allowed",
                             vhost_exchange_text(channel_vhost(channel), name, text));
    }
    return access_require(channel->connection, ACCESS_CONFIGURE, ACCESS_EXCHANGE, name, fault);
}

/* Some of its bindings may lead to what was deleted: asks again when those are gone. */
static enum status
wait_for_unbinding(struct channel *channel)
{
    list_append(&channel_core(channel)->unbind_waiters, &channel->wait_link);
    return STATUS_AGAIN;
}

/* An exchange that is not there was deleted all the same. */
enum status
channel_handle_exchange_delete(struct channel *channel, const struct exchange_delete *args,
                               struct fault *fault)
{
    uint8_t scratch[RESOURCE_NAME_SIZE_MAX];
    struct bytes name = resource_name_clean(args->exchange, scratch);
    if (check_delete(channel, name, fault) != STATUS_OK) {
        return STATUS_FAULT;
    }
    struct vhost *vhost = channel_vhost(channel);
    struct exchange *exchange = vhost_find_exchange(vhost, name);
    if (exchange != NULL && args->if_unused && exchange->bindings.count > 0) {
        if (core_is_unbinding(channel_core(channel))) {
            return wait_for_unbinding(channel);
        }
        char text[RESOURCE_TEXT_SIZE];
        return fault_channel(fault, REPLY_PRECONDITION_FAILED, "%s in use",
                             vhost_exchange_text(vhost, name, text));
    }
    if (exchange != NULL) {
        vhost_delete_exchange(vhost, exchange);
        audit_deleted_exchange(channel->connection, name);
    }
    return channel_answer(channel, METHOD_EXCHANGE_DELETE_OK, args->nowait);
}

enum status
channel_handle_exchange_bind(struct channel *channel, const struct exchange_bind *args,
                             struct fault *fault)
{
    struct binding_request request = {
        .kind = ACCESS_EXCHANGE,
        .destination = args->destination,
        .source = args->source,
        .routing_key = args->routing_key,
        .arguments = args->arguments,
    };
    if (channel_bind(channel, &request, fault) != STATUS_OK) {
        return STATUS_FAULT;
    }
    return channel_answer(channel, METHOD_EXCHANGE_BIND_OK, args->nowait);
}

enum status
channel_handle_exchange_unbind(struct channel *channel, const struct exchange_unbind *args,
                               struct fault *fault)
{
    struct binding_request request = {
        .kind = ACCESS_EXCHANGE,
        .destination = args->destination,
        .source = args->source,
        .routing_key = args->routing_key,
        .arguments = args->arguments,
    };
    if (channel_unbind(channel, &request, fault) != STATUS_OK) {
        return STATUS_FAULT;
    }
    return channel_answer(channel, METHOD_EXCHANGE_UNBIND_OK, args->nowait);
}
