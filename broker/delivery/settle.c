/* SPDX-License-Identifier: Apache-2.0 */
/* The end of an open delivery: by the client's verdict, or because its channel is gone. */
#include "amqp/reply.h"
#include "broker/channels/channel.h"
#include "broker/channels/failure_notes.h"
#include "broker/death/dead_letter.h"
#include "broker/death/retry.h"
#include "broker/durability/durability.h"
#include "broker/upkeep/expiry.h"
#include "broker/upkeep/limits.h"
#include "queues/clocks.h"

static void
wake_consumer(struct core *core, struct consumer *consumer)
{
    struct queue *queue = consumer->queue;
    if (queue == NULL || consumer_is_ready(consumer)) {
        return;
    }
    queue_consumer_ready(queue, consumer);
    if (queue->ready_count > 0) {
        core_wake_queue(core, queue);
    }
}

bool
channel_has_room(const struct channel *channel)
{
    static const uint32_t UNACKED_MAX_DEFAULT = 1000000;
    uint32_t unacked_max = channel_core(channel)->settings.unacked_max;
    if (unacked_max == 0) {
        unacked_max = UNACKED_MAX_DEFAULT;
    }
    if (channel->unacked.count >= unacked_max) {
        return false;
    }
    return channel->prefetch_global == 0 ||
           channel->unacked_by_consumers < channel->prefetch_global;
}

void
channel_wake_consumers(struct channel *channel)
{
    channel->was_full = false;
    LIST_FOR_EACH(&channel->consumer_list, link)
    {
        wake_consumer(channel_core(channel), CONTAINER_OF(link, struct consumer, channel_link));
    }
}

/* What the delivery held is free again: its place in the prefetch of consumer and channel. If
 * others wait for a place in the channel, its consumer is not woken before them. */
static void
end_delivery(struct channel *channel, struct unacked *item)
{
    struct consumer *consumer = item->consumer;
    if (channel->notes != NULL) {
        channel_drop_note(channel, item->tag);
    }
    if (consumer != NULL) {
        assert(consumer->unacked_count > 0);
        assert(channel->unacked_by_consumers > 0);
        consumer->unacked_count--;
        channel->unacked_by_consumers--;
    }
    if (channel->was_full && channel_has_room(channel)) {
        channel_wake_consumers(channel);
    } else if (consumer != NULL) {
        wake_consumer(channel_core(channel), consumer);
    }
    consumer_unref(&item->consumer);
    queue_unref(&item->queue);
}

/* The message is done with. */
static void
drop_message(struct channel *channel, struct unacked *item)
{
    queue_settle(item->queue, &item->entry, item->position);
    core_log_departure(channel_core(channel), item->queue, &item->entry, item->position);
    queue_entry_release(&item->entry, channel_core(channel)->pool);
    end_delivery(channel, item);
}

void
channel_settle_ack(struct channel *channel, struct unacked *item)
{
    queue_clocks_on_served(item->queue, item->position);
    item->queue->clocks->acked_count++;
    channel->counters.acked++;
    channel_core(channel)->counters.acked++;
    drop_message(channel, item);
}

void
channel_settle_return(struct channel *channel, struct unacked *item, enum retry_verdict verdict)
{
    struct queue *queue = item->queue;
    if (queue->deleted) {
        drop_message(channel, item);
        return;
    }
    queue_clocks_touch(queue);
    if (queue->settings->counts_failures) {
        channel_return_counted(channel, item, verdict);
    } else {
        core_give_back(channel_core(channel), item);
    }
    core_heed_limit(channel_core(channel), queue);
    if (queue_has_ready_consumer(queue)) {
        core_wake_queue(channel_core(channel), queue);
    }
    end_delivery(channel, item);
}

/* There is no memory for more dead: the message goes back, and nobody says that it has failed. */
static void
fail_to_reject(struct channel *channel, struct unacked *item)
{
    struct fault fault;
    channel_settle_return(channel, item, RETRY_NO_VERDICT);
    (void)fault_connection(&fault, REPLY_RESOURCE_ERROR, "no memory for the rejected message");
    connection_close(channel->connection, &fault, 0, 0);
}

static void
settle_reject(struct channel *channel, struct unacked *item, enum row_verdict verdict)
{
    if (core_reserve_deaths(item->queue, DEATH_REJECTED, 1) != STATUS_OK) {
        fail_to_reject(channel, item);
        return;
    }
    queue_settle(item->queue, &item->entry, item->position);
    struct failure *failure = channel_end_rejected(channel, item, verdict);
    core_let_failed_die(channel_core(channel), item->queue, &item->entry, item->position,
                        DEATH_REJECTED, failure);
    end_delivery(channel, item);
}

void
channel_settle(struct channel *channel, struct unacked *item, enum settlement settlement)
{
    switch (settlement) {
    case SETTLEMENT_ACK:
        channel_settle_ack(channel, item);
        break;
    case SETTLEMENT_NACKED:
        channel_settle_return(channel, item, RETRY_NACK);
        break;
    case SETTLEMENT_REQUEUED:
        channel_settle_return(channel, item, RETRY_REJECT);
        break;
    case SETTLEMENT_REFUSED:
        settle_reject(channel, item, ROW_VERDICT_NACK);
        break;
    case SETTLEMENT_REJECTED:
        settle_reject(channel, item, ROW_VERDICT_REJECT);
        break;
    }
}

/* Very many at once --------------------------------------------------------------------------- */

/* In the unit of core_spend. A failure that counts has a row, a record, and a wait. */
static uint32_t
work_of_settling(const struct unacked *item, enum settlement settlement)
{
    enum { ACK = 1, RETURN = 4, FAILURE = 16 };
    if (settlement == SETTLEMENT_ACK) {
        return ACK;
    }
    return item->queue->settings->counts_failures ? FAILURE : RETURN;
}

/* Half of the tick's work stays for others; but some are always settled. True when all are, or when
 * what was settled ended the connection. */
static bool
settle_slice(struct channel *channel)
{
    enum { SOME = 256 };
    struct core *core = channel_core(channel);
    uint32_t work_kept = core->settings.work_per_tick / 2;
    for (uint32_t count = 0; count < SOME || core->work_left > work_kept; count++) {
        struct unacked item;
        if (!unacked_table_take_first(&channel->unacked, channel->settling_to, &item)) {
            return true;
        }
        core_take_time(core);
        core_spend(core, work_of_settling(&item, channel->settling_as));
        channel_settle(channel, &item, channel->settling_as);
    }
    return channel->is_ended;
}

void
channel_settle_up_to(struct channel *channel, uint64_t tag_max, enum settlement settlement)
{
    assert(!channel_is_settling(channel));
    channel->settling_to = tag_max;
    channel->settling_as = settlement;
    if (!settle_slice(channel)) {
        list_append(&channel_core(channel)->settling, &channel->settling_link);
        channel->connection->waiting_channels++;
    }
}

void
channel_stop_settling(struct channel *channel)
{
    if (channel_is_settling(channel)) {
        list_remove(&channel->settling_link);
        channel->connection->waiting_channels--;
    }
}

void
core_go_on_settling(struct core *core)
{
    /* Each has one turn; with a connection that ends, others may leave the list. */
    struct list turns;
    list_init(&turns);
    struct list_link *link;
    while ((link = list_pop(&core->settling)) != NULL) {
        list_append(&turns, link);
    }
    while ((link = list_first(&turns)) != NULL) {
        list_remove(link);
        list_append(&core->settling, link);
        struct channel *channel = CONTAINER_OF(link, struct channel, settling_link);
        if (settle_slice(channel)) {
            channel_stop_settling(channel);
            connection_replay_later(channel->connection);
        }
    }
}
