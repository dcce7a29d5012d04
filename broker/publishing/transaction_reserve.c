/* SPDX-License-Identifier: Apache-2.0 */
/* The first half of a commit: whom it reaches, and room for all of it. It may fail, and has changed
 * nothing then. */
#include "amqp/reply.h"
#include "broker/core/core_clock.h"
#include "broker/death/dead_letter.h"
#include "broker/durability/durability.h"
#include "broker/message/expiration.h"
#include "broker/publishing/enqueue.h"
#include "broker/publishing/transaction_parts.h"
#include "broker/topology/vhost.h"
#include "broker/upkeep/limits.h"
#include "queues/waiting.h"

/* In the place of a queue that is gone, the one that has taken its name since, as if the name were
 * looked up now; NULL: none has. */
static void
find_queues(struct channel *channel)
{
    struct transaction *transaction = channel->transaction;
    for (uint32_t i = 0; i < transaction->publish_count; i++) {
        struct buffered_publish *publish = &transaction->publishes[i];
        if (publish->queue == NULL || !publish->queue->deleted) {
            continue;
        }
        struct queue *successor =
            vhost_find_queue(channel_vhost(channel), queue_name(publish->queue));
        queue_unref(&publish->queue);
        publish->queue = successor == NULL ? NULL : queue_ref(successor);
    }
}

/* What was to wait, and does not any more, comes with the commit. */
static void
find_overdue(struct channel *channel)
{
    const struct core *core = channel_core(channel);
    const struct transaction *transaction = channel->transaction;
    uint64_t now_ms = waiting_due_ms(core_now_ms(core));
    for (uint32_t i = 0; i < transaction->publish_count; i++) {
        struct buffered_publish *publish = &transaction->publishes[i];
        publish->due_ms = publish->due_ms >= now_ms ? publish->due_ms : 0;
    }
}

/* Announces every copy to its queue, but for those that it refuses because it is full with what
 * came before them. What is to wait is let in whatever the queue is full of. */
static void
announce_copies(struct channel *channel)
{
    struct core *core = channel_core(channel);
    const struct transaction *transaction = channel->transaction;
    for (uint32_t i = 0; i < transaction->publish_count; i++) {
        struct buffered_publish *publish = &transaction->publishes[i];
        if (publish->queue == NULL || publish->due_ms != 0) {
            continue;
        }
        const struct content *content = chunk_pool_content(core->pool, publish->content);
        publish->is_refused = core_refuses(core, publish->queue, content->body_size);
        if (!publish->is_refused) {
            queue_announce(publish->queue, content->body_size);
        }
    }
}

/* Says at which levels they come, when consumers have been served: which level is in front does not
 * change any more. */
static enum status
announce_levels(struct channel *channel)
{
    const struct core *core = channel_core(channel);
    const struct transaction *transaction = channel->transaction;
    enum status status = STATUS_OK;
    for (uint32_t i = 0; i < transaction->publish_count && status == STATUS_OK; i++) {
        const struct buffered_publish *publish = &transaction->publishes[i];
        if (buffered_publish_is_taken(publish) && publish->due_ms == 0 &&
            publish->queue->level_max != 0) {
            const struct content *content = chunk_pool_content(core->pool, publish->content);
            status = queue_announce_level(publish->queue, content_level(content, publish->queue));
        }
    }
    return status;
}

/* Room for every copy in its queue. */
static enum status
reserve_queues(struct channel *channel)
{
    const struct transaction *transaction = channel->transaction;
    announce_copies(channel);
    enum status status = announce_levels(channel);
    for (uint32_t i = 0; i < transaction->publish_count; i++) {
        struct queue *queue = transaction->publishes[i].queue;
        if (queue != NULL && status == STATUS_OK) {
            status = queue_reserve_announced(queue);
        } else if (queue != NULL) {
            queue_forget_announced(queue);
        }
    }
    return status;
}

/* Gives up the room of delayed copies among the first `end`. */
static void
forget_delayed(struct channel *channel, uint32_t end)
{
    const struct buffered_publish *publishes = channel->transaction->publishes;
    for (uint32_t i = 0; i < end; i++) {
        if (publishes[i].queue != NULL && publishes[i].due_ms != 0) {
            queue_forget_delayed(publishes[i].queue, publishes[i].due_ms);
        }
    }
}

static enum status
reserve_delayed(struct channel *channel)
{
    const struct transaction *transaction = channel->transaction;
    for (uint32_t i = 0; i < transaction->publish_count; i++) {
        const struct buffered_publish *publish = &transaction->publishes[i];
        if (publish->queue != NULL && publish->due_ms != 0 &&
            queue_reserve_delayed(publish->queue, publish->due_ms) != STATUS_OK) {
            forget_delayed(channel, i);
            return STATUS_NO_MEMORY;
        }
    }
    return STATUS_OK;
}

/* One more message of the queue dies with the commit. STATUS_NO_MEMORY: there is no room for it. */
static enum status
announce_death(struct queue *queue, enum death_reason reason)
{
    if (queue_reserve_dying(queue, 0) != STATUS_OK) {
        return STATUS_NO_MEMORY;
    }
    uint32_t count = ++queue->dying->announced_count;
    return reason == DEATH_MAXLEN ? core_reserve_burial(queue, count)
                                  : core_reserve_deaths(queue, reason, count);
}

static void
forget_deaths(struct queue *queue)
{
    if (queue != NULL && queue->dying != NULL) {
        queue->dying->announced_count = 0;
    }
}

static bool
is_rejection(enum settlement settlement)
{
    return settlement == SETTLEMENT_REFUSED || settlement == SETTLEMENT_REJECTED;
}

/* Room for everything that dies, of what is rejected and of what queues refuse. */
static enum status
reserve_deaths(struct channel *channel)
{
    const struct transaction *transaction = channel->transaction;
    enum status status = STATUS_OK;
    for (uint32_t i = 0; i < transaction->settled_count && status == STATUS_OK; i++) {
        if (is_rejection((enum settlement)transaction->verdicts[i])) {
            status = announce_death(transaction->settled[i].queue, DEATH_REJECTED);
        }
    }
    for (uint32_t i = 0; i < transaction->publish_count && status == STATUS_OK; i++) {
        if (transaction->publishes[i].is_refused) {
            status = announce_death(transaction->publishes[i].queue, DEATH_MAXLEN);
        }
    }
    for (uint32_t i = 0; i < transaction->settled_count; i++) {
        forget_deaths(transaction->settled[i].queue);
    }
    for (uint32_t i = 0; i < transaction->publish_count; i++) {
        forget_deaths(transaction->publishes[i].queue);
    }
    return status;
}

/* How many of those copies the log will be given. */
static uint32_t
count_logged(const struct core *core, const struct buffered_publish *copies, uint32_t count)
{
    const struct content *content = chunk_pool_content(core->pool, copies->content);
    uint32_t logged_count = 0;
    for (uint32_t i = 0; i < count; i++) {
        logged_count +=
            buffered_publish_is_taken(&copies[i]) && core_logs(core, copies[i].queue, content) ? 1
                                                                                               : 0;
    }
    return logged_count;
}

/* Of how many the log keeps a deadline, a level, or until when they wait. */
static uint32_t
count_states(const struct core *core, const struct buffered_publish *copies, uint32_t count)
{
    const struct content *content = chunk_pool_content(core->pool, copies->content);
    uint64_t expiration = content_expiration(content);
    uint32_t state_count = 0;
    for (uint32_t i = 0; i < count; i++) {
        const struct queue *queue = copies[i].queue;
        bool has_state =
            queue != NULL && core_logs(core, queue, content) &&
            (copies[i].due_ms != 0 || core_log_keeps_state(queue, content, expiration));
        state_count += has_state ? 1 : 0;
    }
    return state_count;
}

static void
add_need(const struct core *core, const struct buffered_publish *copies, uint32_t count,
         struct log_need *need)
{
    uint32_t logged_count = count_logged(core, copies, count);
    if (logged_count == 0) {
        return;
    }
    const struct content *content = chunk_pool_content(core->pool, copies->content);
    need->publish_count++;
    need->targets_max = logged_count > need->targets_max ? logged_count : need->targets_max;
    need->content_octets += content_octets(content) + RECORD_ALIGNMENT;
    need->record_octets += record_publish_size(logged_count);
    uint32_t state_count = count_states(core, copies, count);
    need->states_max = state_count > need->states_max ? state_count : need->states_max;
    need->record_octets += state_count * record_row_state_size_max(1);
}

/* Every removal counts as a record of its own, and what goes back may have its state written. */
static uint64_t
settlement_octets(const struct transaction *transaction)
{
    uint64_t octets = (uint64_t)transaction->settled_count * RECORD_ACK_MAX;
    for (uint32_t i = 0; i < transaction->settled_count; i++) {
        bool is_counted = transaction->verdicts[i] != SETTLEMENT_ACK &&
                          transaction->settled[i].queue->settings->counts_failures;
        octets += is_counted ? record_row_state_size_max(1) : 0;
    }
    return octets;
}

/* What all of it takes in the log, at most. */
static struct log_need
measure(const struct channel *channel)
{
    const struct transaction *transaction = channel->transaction;
    struct log_need need = {.record_octets = settlement_octets(transaction)};
    for (uint32_t i = 0; i < transaction->publish_count;) {
        uint32_t count = transaction_copies_at(transaction, i);
        if (count > 0) {
            add_need(channel_core(channel), &transaction->publishes[i], count, &need);
        }
        i += count > 0 ? count : 1;
    }
    return need;
}

/* The same with the dead letters of what is rejected, as far as they are moved at once. They are no
 * reason to refuse the transaction: what a segment cannot hold with it comes in the next one. */
static struct log_need
measure_with_deaths(const struct channel *channel)
{
    const struct core *core = channel_core(channel);
    const struct transaction *transaction = channel->transaction;
    struct log_need need = measure(channel);
    struct log_need with_deaths = need;
    for (uint32_t i = 0; i < transaction->settled_count; i++) {
        if (transaction->verdicts[i] != SETTLEMENT_ACK) {
            core_add_death_need(core, transaction->settled[i].queue, &transaction->settled[i].entry,
                                &with_deaths);
        }
    }
    return core_log_fits(core, &with_deaths) ? with_deaths : need;
}

/* Room in the log for all of it, so that it is one batch; too much is 406. */
static enum status
reserve_log(struct channel *channel, struct fault *fault)
{
    struct core *core = channel_core(channel);
    if (!core_has_log(core)) {
        return STATUS_OK;
    }
    struct log_need need = measure_with_deaths(channel);
    switch (core_log_reserve(core, &need)) {
    case STATUS_OK:
        return STATUS_OK;
    case STATUS_FULL:
        return fault_channel(fault, REPLY_PRECONDITION_FAILED,
                             "transaction is larger than a segment of the log");
    default:
        return fault_no_memory(fault);
    }
}

enum status
transaction_reserve(struct channel *channel, struct fault *fault)
{
    find_queues(channel);
    find_overdue(channel);
    enum status status = reserve_queues(channel);
    if (status == STATUS_OK) {
        status = reserve_delayed(channel);
    }
    if (status == STATUS_OK && (status = reserve_deaths(channel)) != STATUS_OK) {
        forget_delayed(channel, channel->transaction->publish_count);
    }
    if (status != STATUS_OK) {
        status = fault_no_memory(fault);
    } else if ((status = reserve_log(channel, fault)) != STATUS_OK) {
        forget_delayed(channel, channel->transaction->publish_count);
    }
    if (status != STATUS_OK) {
        entry_memory_free_spares(&channel_core(channel)->queue_memory);
    }
    return status;
}
