/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/channels/channel.h"

#include "amqp/reply.h"
#include "base/alloc.h"
#include "base/sampled_rates.h"
#include "broker/channels/commit_wait.h"
#include "broker/channels/failure_notes.h"
#include "broker/topology/vhost.h"

#include <stdlib.h>

struct channel *
channel_new(struct connection *connection, uint16_t number)
{
    struct channel *channel = xalloc(sizeof(*channel));
    channel->connection = connection;
    channel->number = number;
    channel->next_delivery_tag = 1;
    channel->opened_ms = core_from_now_ms(connection->core);
    map_init(&channel->consumers, connection->core->seed);
    list_init(&channel->consumer_list);
    unacked_table_init(&channel->unacked);
    return channel;
}

/* A consumer works on its oldest open message, so that is the one that it may have failed on; what
 * was prefetched behind it has not failed. Messages of basic.get each stand for themselves. */
static enum retry_verdict
verdict_at_end(const struct channel *channel, struct consumer *consumer)
{
    if (channel->blames_nobody || (channel_core(channel)->alarms & ALARM_STOPPING) != 0) {
        return RETRY_NO_VERDICT;
    }
    if (consumer == NULL) {
        return RETRY_LOST;
    }
    bool is_oldest = !consumer->has_lost;
    consumer->has_lost = true;
    return is_oldest ? RETRY_LOST : RETRY_NO_VERDICT;
}

/* In the order of delivery, which is the order of return that quorum queues keep; others sort. */
static void
channel_requeue_all(struct channel *channel)
{
    struct unacked item;
    while (unacked_table_take_first(&channel->unacked, UINT64_MAX, &item)) {
        channel_settle_return(channel, &item, verdict_at_end(channel, item.consumer));
    }
}

void
channel_end(struct channel *channel)
{
    if (channel->is_ended) {
        return;
    }
    channel->is_ended = true;
    channel_core(channel)->counters.publishers -= channel->is_publisher ? 1 : 0;
    transaction_free(channel);
    channel_stop_replies(channel);
    struct list_link *link;
    while ((link = list_first(&channel->consumer_list)) != NULL) {
        channel_cancel_consumer(channel, CONTAINER_OF(link, struct consumer, channel_link), false);
    }
    channel_requeue_all(channel);
    channel_end_timeouts(channel);
    channel_stop_getting(channel);
    channel_stop_settling(channel);
    list_remove(&channel->wait_link);
    list_remove(&channel->confirm_link);
}

void
channel_start_getting(struct channel *channel, struct queue *queue)
{
    assert(channel->getting_from == NULL);
    channel->getting_from = queue_ref(queue);
    list_append(&channel_core(channel)->getters, &channel->getter_link);
}

void
channel_stop_getting(struct channel *channel)
{
    list_remove(&channel->getter_link);
    queue_unref(&channel->getting_from);
}

void
channel_free(struct channel **channel_pointer)
{
    struct channel *channel = *channel_pointer;
    if (channel == NULL) {
        return;
    }
    assert(channel->is_ended);
    assert(!list_link_is_linked(&channel->commit_link));
    channel_drop_waits(channel);
    assert(channel->notes == NULL); /* they have gone with the deliveries */
    map_fini(&channel->consumers);
    unacked_table_fini(&channel->unacked);
    sampled_rates_free(&channel->rates);
    free((void *)channel->last_queue.data);
    free(channel);
    *channel_pointer = NULL;
}

void
channel_close(struct channel *channel, const struct fault *fault, uint16_t class_id,
              uint16_t method_id)
{
    if (channel->is_closing) {
        return;
    }
    char text[REPLY_TEXT_SIZE];
    struct bytes reply = reply_text(fault, text);
    char escaped[2 * REPLY_TEXT_SIZE];
    log_limited(channel_core(channel)->log, LOG_LEVEL_INFO, "channel.error",
                "conn=\"%s\" channel=%u code=%u text=%s", channel->connection->name,
                (unsigned)channel->number, (unsigned)fault->reply_code,
                log_escape(escaped, sizeof(escaped), reply));
    channel_flush_confirms(channel);
    channel_end(channel);
    channel->is_closing = true;
    if (channel->has_held) {
        /* It is dropped before the number may be used again: close-ok waits behind it. */
        connection_replay_later(channel->connection);
    }
    struct method close = {
        .id = METHOD_CHANNEL_CLOSE,
        .channel_close = {.reply_code = fault->reply_code,
                          .reply_text = reply,
                          .class_id = class_id,
                          .method_id = method_id},
    };
    channel_send_last(channel, &close);
}

void
channel_remember_queue(struct channel *channel, struct bytes name)
{
    if (bytes_equal(channel->last_queue, name)) {
        return;
    }
    uint8_t *copy = xalloc(name.size + 1);
    memcpy(copy, name.data, name.size);
    free((void *)channel->last_queue.data);
    channel->last_queue = bytes_make(copy, name.size);
}

static enum status
channel_handle_class_exchange(struct channel *channel, const struct method *method,
                              struct fault *fault)
{
    switch (method->id) {
    case METHOD_EXCHANGE_DECLARE:
        return channel_handle_exchange_declare(channel, &method->exchange_declare, fault);
    case METHOD_EXCHANGE_DELETE:
        return channel_handle_exchange_delete(channel, &method->exchange_delete, fault);
    case METHOD_EXCHANGE_BIND:
        return channel_handle_exchange_bind(channel, &method->exchange_bind, fault);
    default:
        return channel_handle_exchange_unbind(channel, &method->exchange_unbind, fault);
    }
}

static enum status
channel_handle_class_queue(struct channel *channel, const struct method *method,
                           struct fault *fault)
{
    switch (method->id) {
    case METHOD_QUEUE_DECLARE:
        return channel_handle_queue_declare(channel, &method->queue_declare, fault);
    case METHOD_QUEUE_BIND:
        return channel_handle_queue_bind(channel, &method->queue_bind, fault);
    case METHOD_QUEUE_UNBIND:
        return channel_handle_queue_unbind(channel, &method->queue_unbind, fault);
    case METHOD_QUEUE_PURGE:
        return channel_handle_queue_purge(channel, &method->queue_purge, fault);
    default:
        return channel_handle_queue_delete(channel, &method->queue_delete, fault);
    }
}

static enum status
channel_handle_class_basic(struct channel *channel, const struct method *method,
                           struct fault *fault)
{
    switch (method->id) {
    case METHOD_BASIC_ACK:
        return channel_handle_basic_ack(channel, &method->basic_ack, fault);
    case METHOD_BASIC_NACK:
        return channel_handle_basic_nack(channel, &method->basic_nack, fault);
    case METHOD_BASIC_REJECT:
        return channel_handle_basic_reject(channel, &method->basic_reject, fault);
    case METHOD_BASIC_QOS:
        return channel_handle_basic_qos(channel, &method->basic_qos, fault);
    case METHOD_BASIC_CONSUME:
        return channel_handle_basic_consume(channel, &method->basic_consume, fault);
    case METHOD_BASIC_CANCEL:
        return channel_handle_basic_cancel(channel, &method->basic_cancel, fault);
    case METHOD_BASIC_CANCEL_OK:
        return STATUS_OK; /* the answer to a consumer cancel notification that asked for none */
    case METHOD_BASIC_GET:
        return channel_handle_basic_get(channel, &method->basic_get, fault);
    case METHOD_BASIC_RECOVER:
        return channel_handle_basic_recover(channel, method->basic_recover.requeue, false, fault);
    case METHOD_BASIC_RECOVER_ASYNC:
        return channel_handle_basic_recover(channel, method->basic_recover_async.requeue, true,
                                            fault);
    default: /* basic.publish never comes without its content */
        return fault_connection(fault, REPLY_UNEXPECTED_FRAME, "expected content header");
    }
}

static enum status
channel_handle_class_tx(struct channel *channel, const struct method *method, struct fault *fault)
{
    switch (method->id) {
    case METHOD_TX_SELECT:
        return channel_handle_tx_select(channel, fault);
    case METHOD_TX_COMMIT:
        return channel_handle_tx_commit(channel, fault);
    default:
        return channel_handle_tx_rollback(channel, fault);
    }
}

/* What a client may send on an open channel, whatever the class says. */
static bool
channel_accepts(const struct method_info *info, enum method_id id)
{
    return (info->sender & METHOD_SENDER_CLIENT) != 0 && id != METHOD_CHANNEL_CLOSE_OK &&
           id != METHOD_CHANNEL_FLOW_OK && info->class_id != CLASS_CONNECTION;
}

enum status
channel_handle_method(struct channel *channel, const struct method *method, struct fault *fault)
{
    const struct method_info *info = method_info(method->id);
    if (!channel_accepts(info, method->id)) {
        return fault_connection(fault, REPLY_COMMAND_INVALID, "unimplemented method");
    }
    switch (info->class_id) {
    case CLASS_BASIC:
        return channel_handle_class_basic(channel, method, fault);
    case CLASS_QUEUE:
        return channel_handle_class_queue(channel, method, fault);
    case CLASS_EXCHANGE:
        return channel_handle_class_exchange(channel, method, fault);
    case CLASS_CHANNEL:
        return channel_handle_flow(channel, &method->channel_flow, fault);
    case CLASS_ACCESS:
        return channel_handle_access_request(channel, &method->access_request, fault);
    case CLASS_CONFIRM:
        return channel_handle_confirm_select(channel, &method->confirm_select, fault);
    default:
        return channel_handle_class_tx(channel, method, fault);
    }
}
