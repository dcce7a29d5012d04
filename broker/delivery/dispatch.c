/* SPDX-License-Identifier: Apache-2.0 */
/* Messages meet consumers: once per tick, queue by queue in turn, each at most so many messages, so
 * that a busy queue keeps no other waiting. A method that looks at the messages of a queue has its
 * consumers served first.
 *
 * What holds: a queue that has ready messages and ready consumers is on core->dispatch_queues.
 * Ready means "not known to be unable": a consumer that turns out to have no room leaves the ready
 * ones, and comes back when a settlement, a wider prefetch or the socket makes room, or when memory
 * may be had again. */
#include "broker/channels/channel.h"
#include "broker/death/retry.h"
#include "broker/delivery/handing_out.h"
#include "broker/durability/durability.h"
#include "broker/paging/paging.h"
#include "broker/upkeep/expiry.h"
#include "broker/upkeep/limits.h"
#include "broker/watch/trace.h"
#include "queues/clocks.h"

/* Whether one more message may go to the consumer. What stands in its way remembers that it has
 * to call. */
static bool
may_deliver(const struct consumer *consumer)
{
    struct channel *channel = consumer->channel;
    if (!connection_has_window(channel->connection)) {
        channel->connection->window_was_full = true;
        return false;
    }
    if (consumer->no_ack) {
        return true;
    }
    if (!consumer_has_room(consumer)) {
        return false; /* its next settlement calls */
    }
    if (!channel_has_room(channel)) {
        channel->was_full = true;
        return false;
    }
    return true;
}

/* `ref` is what goes out: the entry's content, or what is made for this delivery. */
static void
post_delivery(struct core *core, const struct consumer *consumer, const struct queue_entry *entry,
              struct content_ref ref, uint64_t tag)
{
    const struct content *content = chunk_pool_name(core->pool, ref);
    if (core_is_tracing(core)) {
        channel_trace_delivery(consumer->channel, consumer->queue, content,
                               (queue_entry_flags(entry) & ENTRY_REDELIVERED) != 0);
    }
    UNINITIALIZED struct net_action action;
    action.type = NET_ACTION_DELIVER;
    action.channel = consumer->channel->number;
    action.loan = 0;
    action.deliver.content = content;
    action.deliver.delivery_tag = tag;
    action.deliver.consumer_tag = consumer->tag;
    action.deliver.exchange = content_exchange(content);
    action.deliver.routing_key = content_routing_key(content);
    action.deliver.redelivered = (queue_entry_flags(entry) & ENTRY_REDELIVERED) != 0;
    connection_post_content(consumer->channel->connection, &action, ref, content);
}

static void
count_delivery(struct core *core, struct queue *queue, struct channel *channel,
               const struct queue_entry *entry, enum delivery_kind kind)
{
    queue->clocks->delivered_counts[kind]++;
    channel->counters.delivered[kind]++;
    core->counters.delivered_by[kind]++;
    core->counters.delivered++;
    if ((queue_entry_flags(entry) & ENTRY_REDELIVERED) != 0) {
        queue->clocks->redelivered_count++;
        channel->counters.redelivered++;
        core->counters.redelivered++;
    }
}

static struct content_ref
content_to_post(const struct queue_entry *entry, struct content_ref made)
{
    return content_ref_is_set(made) ? made : entry->content;
}

/* The message is gone once it is posted; its memory stays until the tick ends. */
static void
deliver_for_good(struct core *core, struct queue *queue, struct consumer *consumer,
                 struct content_ref made)
{
    struct queue_entry entry;
    uint64_t position;
    bool taken = queue_pop(queue, &entry, &position);
    assert(taken);
    queue_clocks_on_served(queue, position);
    post_delivery(core, consumer, &entry, content_to_post(&entry, made),
                  consumer->channel->next_delivery_tag++);
    count_delivery(core, queue, consumer->channel, &entry, DELIVERY_CONSUMED_FOR_GOOD);
    core_log_departure(core, queue, &entry, position);
    queue_entry_release(&entry, core->pool);
}

/* STATUS_NO_MEMORY leaves the message where it was. */
static enum status
deliver_for_settlement(struct core *core, struct queue *queue, struct consumer *consumer,
                       struct content_ref made)
{
    struct channel *channel = consumer->channel;
    core_take_time(core);
    struct unacked item = {
        .tag = channel->next_delivery_tag,
        .queue = queue,
        .consumer = consumer,
        .delivered_ms = core_from_now_ms(core),
    };
    if (queue_lend(queue, &item.entry, &item.position) != STATUS_OK) {
        return STATUS_NO_MEMORY;
    }
    if (unacked_table_add(&channel->unacked, &item) != STATUS_OK) {
        queue_return(queue, &item.entry, item.position);
        return STATUS_NO_MEMORY;
    }
    (void)queue_ref(queue);
    (void)consumer_ref(consumer);
    channel->next_delivery_tag++;
    channel->unacked_by_consumers++;
    consumer->unacked_count++;
    channel_watch_delivery(channel, &item);
    post_delivery(core, consumer, &item.entry, content_to_post(&item.entry, made), item.tag);
    count_delivery(core, queue, channel, &item.entry, DELIVERY_CONSUMED);
    return STATUS_OK;
}

/* The next message goes to the consumer. STATUS_NO_MEMORY leaves it where it was. */
static enum status
deliver(struct core *core, struct queue *queue, struct consumer *consumer, struct content_ref made)
{
    if (consumer->no_ack) {
        deliver_for_good(core, queue, consumer, made);
        return STATUS_OK;
    }
    return deliver_for_settlement(core, queue, consumer, made);
}

/* The same in any queue: where messages may have failed, the next one may have to say so. */
static enum status
deliver_head(struct core *core, struct queue *queue, struct consumer *consumer)
{
    struct content_ref made = {0};
    enum status status = STATUS_OK;
    if (queue->failures != NULL) {
        uint32_t frame_max = consumer->channel->connection->frame_max;
        status = core_show_head(core, queue, frame_max, &made);
    }
    if (status == STATUS_OK) {
        status = deliver(core, queue, consumer, made);
    }
    if (content_ref_is_set(made)) {
        chunk_pool_release(core->pool, made);
    }
    return status;
}

/* Who was served last is woken last: otherwise the first consumers of a channel would take its
 * whole window again and again. */
static void
stand_behind_others(struct consumer *consumer)
{
    struct list *list = &consumer->channel->consumer_list;
    if (list_next(list, &consumer->channel_link) != NULL) {
        list_remove(&consumer->channel_link);
        list_append(list, &consumer->channel_link);
    }
}

/* Contents that lie in memory since some time are far away for the processor: their fronts are on
 * their way while messages before them are handed out. */
static void
prefetch_ahead(const struct core *core, const struct queue *queue)
{
    enum { AHEAD = 8 };
    const struct queue_entry *entry = entry_deque_ahead(&queue->deque, AHEAD);
    if (entry != NULL && content_ref_is_set(entry->content)) {
        chunk_pool_prefetch(core->pool, entry->content);
    }
}

/* Offers the next message to the consumer whose turn it is. Returns the octets of body that went.
 */
static uint32_t
dispatch_message(struct core *core, struct queue *queue, struct consumer *consumer)
{
    if (!may_deliver(consumer)) {
        queue_consumer_not_ready(consumer);
        return 0;
    }
    uint64_t waiting_octets = queue->ready_bytes;
    prefetch_ahead(core, queue);
    enum status status = deliver_head(core, queue, consumer);
    if (status != STATUS_OK) {
        log_limited(core->log, LOG_LEVEL_ERROR, "memory.exhausted", "conn=\"%s\" channel=%u",
                    consumer->channel->connection->name, (unsigned)consumer->channel->number);
        queue_consumer_not_ready(consumer);
        core_serve_later(consumer->channel->connection);
        return 0;
    }
    queue_consumer_served(queue, consumer);
    stand_behind_others(consumer);
    return (uint32_t)(waiting_octets - queue->ready_bytes);
}

/* What a tick may still hand out. */
struct dispatch_budget {
    uint32_t offers;
    uint32_t octets;
};

static bool
budget_is_left(const struct dispatch_budget *budget)
{
    return budget->offers > 0 && budget->octets > 0;
}

static void
budget_spend(struct dispatch_budget *budget, uint32_t octets)
{
    octets = octets < CHUNK_BODY_OWN ? octets : CHUNK_BODY_OWN;
    budget->octets -= octets < budget->octets ? octets : budget->octets;
    budget->offers--;
}

/* Whether there is a message that may be handed out now. Those in front of it may be lost, or die,
 * while that is found out. */
static bool
has_next(struct core *core, struct queue *queue)
{
    return queue->ready_count > 0 && core_head_is_ready(core, queue) && queue->ready_count > 0;
}

/* One turn of one queue: offers as long as there is budget, and not many more octets than
 * CORE_DISPATCH_OCTETS_PER_QUEUE. A refused offer counts too, for it costs as much. */
static void
dispatch_queue(struct core *core, struct queue *queue, struct dispatch_budget *budget)
{
    uint32_t offers = 0;
    uint32_t octets = 0;
    while (budget_is_left(budget) && offers < CORE_DISPATCH_PER_QUEUE &&
           octets < CORE_DISPATCH_OCTETS_PER_QUEUE) {
        struct consumer *consumer = queue_next_consumer(queue);
        if (consumer == NULL || !has_next(core, queue)) {
            break;
        }
        uint32_t body_octets = dispatch_message(core, queue, consumer);
        budget_spend(budget, body_octets);
        octets += body_octets;
        offers++;
    }
}

void
core_serve_consumers(struct core *core, struct queue *queue)
{
    struct dispatch_budget budget = {.offers = CORE_DISPATCH_PER_TICK, .octets = UINT32_MAX};
    while (budget_is_left(&budget) && !queue->head_waits && queue->ready_count > 0 &&
           queue_has_ready_consumer(queue)) {
        dispatch_queue(core, queue, &budget);
    }
    core_let_due_die(core, queue);
    core_cut_queue(core, queue);
}

void
core_dispatch(struct core *core)
{
    struct dispatch_budget budget = {
        .offers = CORE_DISPATCH_PER_TICK,
        .octets = CORE_DISPATCH_OCTETS_PER_TICK,
    };
    while (budget_is_left(&budget)) {
        struct list_link *link = list_pop(&core->dispatch_queues);
        if (link == NULL) {
            return;
        }
        struct queue *queue = CONTAINER_OF(link, struct queue, dispatch_link);
        dispatch_queue(core, queue, &budget);
        if (queue->ready_count == 0) {
            core_release_windows(core, queue);
        } else if (queue_has_ready_consumer(queue)) {
            core_wake_queue(core, queue);
        }
    }
}

void
channel_send_content(struct channel *channel, const struct method *method, struct content_ref ref)
{
    struct connection *connection = channel->connection;
    struct core *core = channel_core(channel);
    buffer_clear(&core->payload);
    method_encode(&core->payload, method);
    if (core->payload.failed) {
        buffer_clear(&core->payload);
        connection_drop(connection, 0);
        return;
    }
    const struct content *content = chunk_pool_name(core->pool, ref);
    struct net_action action = {
        .type = NET_ACTION_CONTENT,
        .channel = channel->number,
        .content = {.content = content, .payload = buffer_bytes(&core->payload)},
    };
    connection_post_content(connection, &action, ref, content);
}
