/* SPDX-License-Identifier: Apache-2.0 */
/* Class basic but for publishing: prefetch, consumers, basic.get, settlements. Handlers change
 * state before they answer; nothing is delivered before the tick ends, so an answer always comes
 * first. */
#include <inttypes.h>
#include <stdio.h>

#include "amqp/reply.h"
#include "broker/channels/channel.h"
#include "broker/death/dead_letter.h"
#include "broker/death/retry.h"
#include "broker/delivery/handing_out.h"
#include "broker/durability/durability.h"
#include "broker/publishing/transaction.h"
#include "broker/topology/vhost.h"
#include "broker/upkeep/expiry.h"
#include "broker/users/access.h"
#include "broker/watch/trace.h"
#include "queues/clocks.h"

/* qos ------------------------------------------------------------------------------------------ */

enum status
channel_handle_basic_qos(struct channel *channel, const struct basic_qos *args, struct fault *fault)
{
    if (args->prefetch_size != 0) {
        return fault_connection(fault, REPLY_NOT_IMPLEMENTED, "prefetch_size!=0 (%" PRIu32 ")",
                                args->prefetch_size);
    }
    if (args->global) {
        channel->prefetch_global = args->prefetch_count;
        if (channel->was_full && channel_has_room(channel)) {
            channel_wake_consumers(channel);
        }
    } else {
        channel->prefetch_default = args->prefetch_count;
    }
    struct method answer = {.id = METHOD_BASIC_QOS_OK};
    channel_send(channel, &answer);
    return STATUS_OK;
}

/* consume and cancel --------------------------------------------------------------------------- */

struct bytes
channel_consumer_tag(struct channel *channel, struct bytes tag, char out[static CONSUMER_TAG_SIZE])
{
    if (tag.size > 0) {
        return tag;
    }
    char name[RANDOM_NAME_SIZE];
    random_name(&channel_core(channel)->ports.random, name);
    int length = snprintf(out, CONSUMER_TAG_SIZE, "amq.ctag-%s", name);
    assert(length > 0 && length < CONSUMER_TAG_SIZE);
    return bytes_make(out, (size_t)length);
}

static bool
is_reply_tag(const struct channel *channel, struct bytes tag)
{
    return channel->reply_token[0] != '\0' && bytes_equal(channel->reply_consumer_tag, tag);
}

static enum status
check_tag_is_free(const struct channel *channel, struct bytes tag, struct fault *fault)
{
    if (tag.size > 0 && (map_get(&channel->consumers, tag) != NULL || is_reply_tag(channel, tag))) {
        return fault_connection(fault, REPLY_NOT_ALLOWED, "attempt to reuse consumer tag '%.*s'",
                                BYTES_FORMAT(tag));
    }
    return STATUS_OK;
}

/* The queue of a method that reads from it. Rights first: a 404 must not tell a stranger which
 * names exist. */
static enum status
find_readable_queue(struct channel *channel, struct bytes given_name, struct queue **queue_out,
                    struct fault *fault)
{
    struct bytes name;
    if (channel_queue_name(channel, given_name, &name, fault) != STATUS_OK ||
        access_require(channel->connection, ACCESS_READ, ACCESS_QUEUE, name, fault) != STATUS_OK) {
        return STATUS_FAULT;
    }
    return channel_find_queue(channel, name, queue_out, fault);
}

/* An exclusive consumer is alone; a queue with a single active consumer takes none. Quorum queues
 * ignore the flag, as RabbitMQ's do. */
static enum status
check_exclusive(const struct queue *queue, bool *exclusive, struct fault *fault)
{
    if (queue->settings->type == QUEUE_TYPE_QUORUM) {
        *exclusive = false;
    }
    bool is_refused =
        queue_is_in_exclusive_use(queue) ||
        (*exclusive && (queue->consumer_count > 0 || queue->settings->single_active_consumer));
    if (is_refused) {
        char text[RESOURCE_TEXT_SIZE];
        return fault_channel(fault, REPLY_ACCESS_REFUSED, "%s in exclusive use",
                             vhost_queue_text(queue->vhost, queue_name(queue), text));
    }
    return STATUS_OK;
}

static struct consumer *
channel_add_consumer(struct channel *channel, const struct basic_consume *args, struct queue *queue,
                     const struct consume_settings *settings, bool exclusive)
{
    char made[CONSUMER_TAG_SIZE];
    struct consumer *consumer =
        consumer_new(channel_consumer_tag(channel, args->consumer_tag, made));
    consumer->channel = channel;
    consumer->priority = settings->priority;
    consumer->timeout_ms = settings->timeout_ms;
    consumer->prefetch_count = channel->prefetch_default;
    consumer->no_ack = args->no_ack;
    consumer->exclusive = exclusive;
    map_put(&channel->consumers, consumer->tag, consumer);
    list_append(&channel->consumer_list, &consumer->channel_link);
    queue_add_consumer(queue, consumer);
    if (queue->ready_count > 0) {
        core_wake_queue(channel_core(channel), queue);
    }
    return consumer;
}

static enum status
channel_consume_queue(struct channel *channel, const struct basic_consume *args,
                      struct fault *fault)
{
    struct queue *queue;
    if (find_readable_queue(channel, args->queue, &queue, fault) != STATUS_OK) {
        return STATUS_FAULT;
    }
    char text[RESOURCE_TEXT_SIZE];
    (void)vhost_queue_text(queue->vhost, queue_name(queue), text);
    struct consume_settings settings;
    bool exclusive = args->exclusive;
    if (queue_consume_arguments_read(&settings, args->arguments, queue->settings->type, text,
                                     fault) != STATUS_OK ||
        check_exclusive(queue, &exclusive, fault) != STATUS_OK) {
        return STATUS_FAULT;
    }
    const struct consumer *consumer =
        channel_add_consumer(channel, args, queue, &settings, exclusive);
    if (!args->nowait) {
        struct method answer = {.id = METHOD_BASIC_CONSUME_OK,
                                .basic_consume_ok = {.consumer_tag = consumer->tag}};
        channel_send(channel, &answer);
    }
    return STATUS_OK;
}

enum status
channel_handle_basic_consume(struct channel *channel, const struct basic_consume *args,
                             struct fault *fault)
{
    if (check_tag_is_free(channel, args->consumer_tag, fault) != STATUS_OK) {
        return STATUS_FAULT;
    }
    if (bytes_equal_text(args->queue, REPLY_TO_QUEUE)) {
        return channel_consume_replies(channel, args, fault);
    }
    return channel_consume_queue(channel, args, fault);
}

static void
channel_notify_cancel(struct channel *channel, struct bytes tag)
{
    if ((channel->connection->capabilities & CAPABILITY_CONSUMER_CANCEL_NOTIFY) == 0) {
        return;
    }
    struct method cancel = {.id = METHOD_BASIC_CANCEL,
                            .basic_cancel = {.consumer_tag = tag, .nowait = true}};
    channel_send(channel, &cancel);
}

void
channel_cancel_consumer(struct channel *channel, struct consumer *consumer, bool notify)
{
    struct queue *queue = consumer->queue;
    (void)map_remove(&channel->consumers, consumer->tag);
    list_remove(&consumer->channel_link);
    (void)consumer_ref(consumer); /* its tag is needed once more */
    queue_remove_consumer(queue, consumer);
    if (notify) {
        channel_notify_cancel(channel, consumer->tag);
    }
    consumer_unref(&consumer);
    if (queue->deleted) {
        return;
    }
    core_use_queue(channel_core(channel), queue);
    if (queue->auto_delete && queue->consumer_count == 0) {
        (void)vhost_delete_queue(queue->vhost, queue);
    } else if (queue->ready_count > 0 && queue_has_ready_consumer(queue)) {
        core_wake_queue(channel_core(channel), queue); /* another one became active */
    }
}

/* A tag that is not known is answered all the same. */
enum status
channel_handle_basic_cancel(struct channel *channel, const struct basic_cancel *args,
                            struct fault *fault)
{
    (void)fault;
    struct consumer *consumer = map_get(&channel->consumers, args->consumer_tag);
    if (consumer != NULL) {
        channel_cancel_consumer(channel, consumer, false);
    } else if (is_reply_tag(channel, args->consumer_tag)) {
        channel_stop_replies(channel);
    }
    if (!args->nowait) {
        struct method answer = {.id = METHOD_BASIC_CANCEL_OK,
                                .basic_cancel_ok = {.consumer_tag = args->consumer_tag}};
        channel_send(channel, &answer);
    }
    return STATUS_OK;
}

/* get ------------------------------------------------------------------------------------------ */

/* What a basic.get has taken. */
struct got {
    struct queue_entry entry;
    uint64_t position;
    struct content_ref made; /* goes out in place of the entry's content; unset: that one does */
};

/* Takes the next message, noting it as open unless `no_ack`. STATUS_AGAIN when there is none. */
static enum status
take_for_get(struct channel *channel, struct queue *queue, bool no_ack, struct got *got)
{
    struct unacked item = {
        .tag = channel->next_delivery_tag,
        .queue = queue,
        .delivered_ms = core_from_now_ms(channel_core(channel)),
    };
    if (no_ack && queue_pop(queue, &got->entry, &got->position)) {
        queue_clocks_on_served(queue, got->position);
        return STATUS_OK;
    }
    if (no_ack) {
        return STATUS_AGAIN;
    }
    enum status status = queue_lend(queue, &item.entry, &item.position);
    if (status != STATUS_OK) {
        return status;
    }
    if (unacked_table_add(&channel->unacked, &item) != STATUS_OK) {
        queue_return(queue, &item.entry, item.position);
        return STATUS_NO_MEMORY;
    }
    (void)queue_ref(queue);
    channel_watch_delivery(channel, &item);
    got->entry = item.entry;
    return STATUS_OK;
}

static void
count_got(struct channel *channel, struct queue *queue, enum delivery_kind kind,
          bool is_redelivered)
{
    struct core_counters *counters = &channel_core(channel)->counters;
    queue->clocks->delivered_counts[kind]++;
    channel->counters.delivered[kind]++;
    counters->delivered_by[kind]++;
    counters->delivered++;
    queue->clocks->redelivered_count += is_redelivered;
    channel->counters.redelivered += is_redelivered;
    counters->redelivered += is_redelivered;
}

static void
send_got_message(struct channel *channel, struct queue *queue, bool no_ack, const struct got *got)
{
    struct core *core = channel_core(channel);
    struct content_ref ref = content_ref_is_set(got->made) ? got->made : got->entry.content;
    const struct content *content = chunk_pool_content(core->pool, ref);
    bool is_redelivered = (queue_entry_flags(&got->entry) & ENTRY_REDELIVERED) != 0;
    uint64_t left_count = queue->ready_count < UINT32_MAX ? queue->ready_count : UINT32_MAX;
    struct method answer = {
        .id = METHOD_BASIC_GET_OK,
        .basic_get_ok = {.delivery_tag = channel->next_delivery_tag++,
                         .redelivered = is_redelivered,
                         .exchange = content_exchange(content),
                         .routing_key = content_routing_key(content),
                         .message_count = (uint32_t)left_count},
    };
    count_got(channel, queue, no_ack ? DELIVERY_GOT_FOR_GOOD : DELIVERY_GOT, is_redelivered);
    channel_send_content(channel, &answer, ref);
    if (core_is_tracing(core)) {
        channel_trace_delivery(channel, queue, content, is_redelivered);
    }
}

/* Quorum queues of RabbitMQ refuse it, for the message would pass the active consumer by. */
static enum status
check_may_get(const struct queue *queue, struct fault *fault)
{
    if (queue->settings->type != QUEUE_TYPE_QUORUM || !queue->settings->single_active_consumer) {
        return STATUS_OK;
    }
    char text[RESOURCE_TEXT_SIZE];
    return fault_channel(fault, REPLY_RESOURCE_LOCKED,
                         "cannot obtain access to locked %s. basic.get operations are not "
                         "supported by %s queues with single active consumer",
                         vhost_queue_text(queue->vhost, queue_name(queue), text),
                         queue_type_name(queue->settings->type));
}

/* The next message, of which `made` is what goes out if it has failed before. */
static enum status
get_message(struct channel *channel, struct queue *queue, bool no_ack, struct got *got)
{
    struct core *core = channel_core(channel);
    enum status status = take_for_get(channel, queue, no_ack, got);
    if (status != STATUS_OK) {
        return status;
    }
    send_got_message(channel, queue, no_ack, got);
    if (no_ack) {
        core_log_departure(core, queue, &got->entry, got->position);
        queue_entry_release(&got->entry, core->pool);
    }
    return STATUS_OK;
}

/* The same in a queue in which messages may have failed; nothing is there for somebody who asks
 * once while its head is held back. */
static enum status
get_failed_message(struct channel *channel, struct queue *queue, bool no_ack, struct got *got)
{
    struct core *core = channel_core(channel);
    if (core_head_is_held(queue)) {
        return STATUS_AGAIN;
    }
    if (core_show_head(core, queue, channel->connection->frame_max, &got->made) != STATUS_OK) {
        return STATUS_NO_MEMORY;
    }
    enum status status = get_message(channel, queue, no_ack, got);
    if (content_ref_is_set(got->made)) {
        chunk_pool_release(core->pool, got->made);
    }
    return status;
}

/* Without memory the queue does not know of it. */
static enum status
answer_empty(struct channel *channel, struct queue *queue)
{
    if (queue_make_clocks(queue) == STATUS_OK) {
        queue->clocks->get_empty_count++;
    }
    channel->counters.get_empty++;
    channel_core(channel)->counters.get_empty++;
    struct method answer = {.id = METHOD_BASIC_GET_EMPTY};
    channel_send(channel, &answer);
    return STATUS_OK;
}

enum status
channel_handle_basic_get(struct channel *channel, const struct basic_get *args, struct fault *fault)
{
    struct queue *queue;
    struct got got = {0};
    if (find_readable_queue(channel, args->queue, &queue, fault) != STATUS_OK ||
        check_may_get(queue, fault) != STATUS_OK) {
        return STATUS_FAULT;
    }
    struct core *core = channel_core(channel);
    core_use_queue(core, queue);
    core_serve_consumers(core, queue);
    if (queue->is_paused) {
        return answer_empty(channel, queue);
    }
    if (!core_head_is_ready(core, queue) && !core_head_is_held(queue)) {
        channel_start_getting(channel, queue);
        return STATUS_AGAIN;
    }
    enum status status = queue->failures == NULL
                             ? get_message(channel, queue, args->no_ack, &got)
                             : get_failed_message(channel, queue, args->no_ack, &got);
    if (status == STATUS_AGAIN) {
        return answer_empty(channel, queue);
    }
    if (status != STATUS_OK) {
        return fault_connection(fault, REPLY_RESOURCE_ERROR, "no memory for the delivery");
    }
    return STATUS_OK;
}

/* ack, nack, reject, recover ------------------------------------------------------------------- */

static enum status
settle_now_or_later(struct channel *channel, struct unacked *item, enum settlement settlement,
                    struct fault *fault)
{
    if (channel->mode == CHANNEL_TX) {
        return transaction_add_settlement(channel, item, settlement, fault);
    }
    channel_settle(channel, item, settlement);
    return STATUS_OK;
}

static enum status
fault_unknown_tag(struct fault *fault, uint64_t tag)
{
    return fault_channel(fault, REPLY_PRECONDITION_FAILED, "unknown delivery tag %" PRIu64, tag);
}

/* Everything open up to `tag`, which must itself be open; tag 0 means all there is. In slices, but
 * in a transaction, which only takes note of it. */
static enum status
settle_multiple(struct channel *channel, uint64_t tag, enum settlement settlement,
                struct fault *fault)
{
    if (tag != 0 && unacked_table_find(&channel->unacked, tag) == NULL &&
        !channel_take_timed_out(channel, tag)) {
        return fault_unknown_tag(fault, tag);
    }
    uint64_t tag_max = tag == 0 ? channel->next_delivery_tag - 1 : tag;
    if (channel->mode != CHANNEL_TX) {
        channel_settle_up_to(channel, tag_max, settlement);
        return STATUS_OK;
    }
    struct unacked item;
    while (unacked_table_take_first(&channel->unacked, tag_max, &item)) {
        if (transaction_add_settlement(channel, &item, settlement, fault) != STATUS_OK) {
            return STATUS_FAULT;
        }
    }
    return STATUS_OK;
}

static enum status
settle_one(struct channel *channel, uint64_t tag, enum settlement settlement, struct fault *fault)
{
    struct unacked item;
    if (!unacked_table_take(&channel->unacked, tag, &item)) {
        return channel_take_timed_out(channel, tag) ? STATUS_OK : fault_unknown_tag(fault, tag);
    }
    return settle_now_or_later(channel, &item, settlement, fault);
}

enum status
channel_handle_basic_ack(struct channel *channel, const struct basic_ack *args, struct fault *fault)
{
    return args->multiple ? settle_multiple(channel, args->delivery_tag, SETTLEMENT_ACK, fault)
                          : settle_one(channel, args->delivery_tag, SETTLEMENT_ACK, fault);
}

enum status
channel_handle_basic_reject(struct channel *channel, const struct basic_reject *args,
                            struct fault *fault)
{
    enum settlement settlement = args->requeue ? SETTLEMENT_REQUEUED : SETTLEMENT_REJECTED;
    enum status status = settle_one(channel, args->delivery_tag, settlement, fault);
    core_move_dead(channel_core(channel));
    return status;
}

enum status
channel_handle_basic_nack(struct channel *channel, const struct basic_nack *args,
                          struct fault *fault)
{
    enum settlement settlement = args->requeue ? SETTLEMENT_NACKED : SETTLEMENT_REFUSED;
    enum status status = args->multiple
                             ? settle_multiple(channel, args->delivery_tag, settlement, fault)
                             : settle_one(channel, args->delivery_tag, settlement, fault);
    core_move_dead(channel_core(channel));
    return status;
}

/* Even in a transaction at once, as RabbitMQ does: what the transaction settles is not open. Nobody
 * says that anything has failed. */
enum status
channel_handle_basic_recover(struct channel *channel, bool requeue, bool async, struct fault *fault)
{
    if (!requeue) {
        return fault_connection(fault, REPLY_NOT_IMPLEMENTED, "requeue=false");
    }
    struct unacked item;
    while (unacked_table_take_first(&channel->unacked, UINT64_MAX, &item)) {
        channel_settle_return(channel, &item, RETRY_NO_VERDICT);
    }
    if (!async) {
        struct method answer = {.id = METHOD_BASIC_RECOVER_OK};
        channel_send(channel, &answer);
    }
    return STATUS_OK;
}
