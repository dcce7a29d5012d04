/* SPDX-License-Identifier: Apache-2.0 */
/* Two arrays that grow: what to publish, one element per target, and what to settle.
 *
 * A commit has two halves. The first finds out whom it reaches and makes room for all of it
 * (transaction_reserve.c); it may fail, and has changed nothing then. The second, which is here,
 * changes things, and nothing in it can fail. */
#include "broker/publishing/transaction.h"

#include <inttypes.h>
#include <stdlib.h>

#include "amqp/reply.h"
#include "base/alloc.h"
#include "broker/core/core_clock.h"
#include "broker/death/dead_letter.h"
#include "broker/durability/durability.h"
#include "broker/message/expiration.h"
#include "broker/publishing/enqueue.h"
#include "broker/publishing/transaction_parts.h"
#include "broker/upkeep/limits.h"

enum { TRANSACTION_CAPACITY_MIN = 16, TRANSACTION_CAPACITY_KEPT = 256 };
enum { DISCARD_PAUSE_MS = 500 }; /* between two that are discarded */

struct transaction *
transaction_new(struct channel *channel)
{
    struct transaction *transaction = xalloc(sizeof(*transaction));
    transaction->channel = channel;
    return transaction;
}

uint32_t
transaction_publish_count(const struct transaction *transaction)
{
    return transaction == NULL ? 0 : transaction->publish_count;
}

uint32_t
transaction_settled_count(const struct transaction *transaction)
{
    return transaction == NULL ? 0 : transaction->settled_count;
}

static uint32_t
grown(uint32_t capacity)
{
    return capacity == 0 ? TRANSACTION_CAPACITY_MIN : capacity * 2;
}

/* Whether one more operation with so many octets fits. */
static enum status
check_limits(const struct transaction *transaction, uint64_t octets, struct fault *fault)
{
    if (transaction->publish_count + transaction->settled_count >= TRANSACTION_OPERATIONS_MAX) {
        return fault_channel(fault, REPLY_PRECONDITION_FAILED,
                             "transaction has more than %d operations", TRANSACTION_OPERATIONS_MAX);
    }
    if (transaction->octets + octets > TRANSACTION_OCTETS_MAX) {
        return fault_channel(fault, REPLY_PRECONDITION_FAILED,
                             "transaction is larger than %d octets", TRANSACTION_OCTETS_MAX);
    }
    return STATUS_OK;
}

/* Publishing ----------------------------------------------------------------------------------- */

/* Message memory that the last publish keeps and those before it do not: a content keeps the chunk
 * that it lies in. */
static uint64_t
octets_kept(const struct transaction *transaction, const struct core *core)
{
    const struct buffered_publish *last = &transaction->publishes[transaction->publish_count - 1];
    if (transaction->publish_count > 1 && content_ref_same_chunk(last[-1].content, last->content)) {
        return 0;
    }
    const struct content *content = chunk_pool_content(core->pool, last->content);
    return content->body_size > CHUNK_BODY_OWN ? content_octets(content) : CHUNK_SIZE;
}

static void
count_memory(struct transaction *transaction)
{
    struct core *core = channel_core(transaction->channel);
    uint64_t octets = octets_kept(transaction, core);
    transaction->memory_octets += octets;
    core->transaction_octets += octets;
    if (!list_link_is_linked(&transaction->link)) {
        list_append(&core->transactions, &transaction->link);
    }
}

static enum status
add_publish(struct channel *channel, const struct buffered_publish *publish, struct fault *fault)
{
    struct transaction *transaction = channel->transaction;
    struct chunk_pool *pool = channel_core(channel)->pool;
    uint64_t octets = chunk_pool_content(pool, publish->content)->body_size;
    if (check_limits(transaction, octets, fault) != STATUS_OK) {
        return STATUS_FAULT;
    }
    if (transaction->publish_count == transaction->publish_capacity) {
        uint32_t capacity = grown(transaction->publish_capacity);
        struct buffered_publish *publishes =
            try_realloc(transaction->publishes, capacity * sizeof(*publishes));
        if (publishes == NULL) {
            return fault_no_memory(fault);
        }
        transaction->publishes = publishes;
        transaction->publish_capacity = capacity;
    }
    transaction->publishes[transaction->publish_count++] = *publish;
    transaction->octets += octets;
    chunk_pool_retain(pool, publish->content);
    if (publish->queue != NULL) {
        (void)queue_ref(publish->queue);
    }
    count_memory(transaction);
    return STATUS_OK;
}

enum status
transaction_add_message(struct channel *channel, struct queue *queue, struct content_ref content,
                        uint64_t row_due_ms, struct fault *fault)
{
    struct buffered_publish publish = {
        .kind = BUFFERED_MESSAGE, .content = content, .queue = queue, .due_ms = row_due_ms};
    return add_publish(channel, &publish, fault);
}

enum status
transaction_add_reply(struct channel *channel, struct bytes name, struct content_ref content,
                      struct fault *fault)
{
    struct buffered_publish publish = {.kind = BUFFERED_REPLY, .content = content};
    assert(name.size <= sizeof(publish.reply_name)); /* it was found under this name */
    publish.reply_name_size = (uint8_t)name.size;
    memcpy(publish.reply_name, name.data, name.size);
    return add_publish(channel, &publish, fault);
}

enum status
transaction_add_return(struct channel *channel, struct content_ref content, struct fault *fault)
{
    struct buffered_publish publish = {.kind = BUFFERED_RETURN, .content = content};
    return add_publish(channel, &publish, fault);
}

static void
release_publishes(struct channel *channel)
{
    struct transaction *transaction = channel->transaction;
    for (uint32_t i = 0; i < transaction->publish_count; i++) {
        chunk_pool_release(channel_core(channel)->pool, transaction->publishes[i].content);
        queue_unref(&transaction->publishes[i].queue);
    }
    list_remove(&transaction->link);
    channel_core(channel)->transaction_octets -= transaction->memory_octets;
    transaction->memory_octets = 0;
    transaction->publish_count = 0;
    transaction->octets = 0;
    if (transaction->publish_capacity > TRANSACTION_CAPACITY_KEPT) {
        free(transaction->publishes);
        transaction->publishes = NULL;
        transaction->publish_capacity = 0;
    }
}

/* Under the alarm ------------------------------------------------------------------------------ */

static bool
keep_too_much(const struct core *core)
{
    return core->transaction_octets > core->settings.memory_mark_bytes / 4;
}

static void
discard_oldest(const struct core *core)
{
    struct fault fault;
    const struct transaction *oldest =
        CONTAINER_OF(list_first(&core->transactions), struct transaction, link);
    (void)fault_channel(&fault, REPLY_PRECONDITION_FAILED,
                        "transaction discarded: memory is short, and open transactions keep "
                        "%" PRIu64 " octets of it",
                        core->transaction_octets);
    channel_close(oldest->channel, &fault, 0, 0);
}

/* One at a time: what it gives back is known when the tick has ended. */
static void
on_patience_ends(struct timer *timer, void *context)
{
    struct core *core = context;
    bool discards = keep_too_much(core);
    timer_arm(&core->timers, timer,
              core->now.monotonic_ms + (discards ? DISCARD_PAUSE_MS : TRANSACTION_PATIENCE_MS),
              on_patience_ends, core);
    if (discards) {
        discard_oldest(core);
    }
}

void
core_watch_transactions(struct core *core, bool memory_is_short)
{
    if (memory_is_short) {
        timer_arm(&core->timers, &core->transactions_timer,
                  core->now.monotonic_ms + TRANSACTION_PATIENCE_MS, on_patience_ends, core);
    } else {
        timer_cancel(&core->timers, &core->transactions_timer);
    }
}

/* Settling ------------------------------------------------------------------------------------- */

/* Room for one more settlement in both arrays. */
static enum status
grow_settled(struct transaction *transaction)
{
    if (transaction->settled_count < transaction->settled_capacity) {
        return STATUS_OK;
    }
    uint32_t capacity = grown(transaction->settled_capacity);
    struct unacked *settled = try_realloc(transaction->settled, capacity * sizeof(*settled));
    if (settled == NULL) {
        return STATUS_NO_MEMORY;
    }
    transaction->settled = settled;
    uint8_t *verdicts = try_realloc(transaction->verdicts, capacity * sizeof(*verdicts));
    if (verdicts == NULL) {
        return STATUS_NO_MEMORY;
    }
    transaction->verdicts = verdicts;
    transaction->settled_capacity = capacity;
    return STATUS_OK;
}

enum status
transaction_add_settlement(struct channel *channel, struct unacked *item,
                           enum settlement settlement, struct fault *fault)
{
    struct transaction *transaction = channel->transaction;
    if (check_limits(transaction, 0, fault) != STATUS_OK) {
        channel_settle_return(channel, item, RETRY_NO_VERDICT);
        return STATUS_FAULT;
    }
    if (grow_settled(transaction) != STATUS_OK) {
        channel_settle_return(channel, item, RETRY_NO_VERDICT);
        return fault_no_memory(fault);
    }
    transaction->verdicts[transaction->settled_count] = (uint8_t)settlement;
    transaction->settled[transaction->settled_count++] = *item;
    return STATUS_OK;
}

static void
forget_settled(struct transaction *transaction)
{
    transaction->settled_count = 0;
    if (transaction->settled_capacity > TRANSACTION_CAPACITY_KEPT) {
        free(transaction->settled);
        free(transaction->verdicts);
        transaction->settled = NULL;
        transaction->verdicts = NULL;
        transaction->settled_capacity = 0;
    }
}

/* Settles as was said. Does not fail. */
static void
end_settled(struct channel *channel)
{
    struct transaction *transaction = channel->transaction;
    for (uint32_t i = 0; i < transaction->settled_count; i++) {
        channel_settle(channel, &transaction->settled[i],
                       (enum settlement)transaction->verdicts[i]);
    }
    forget_settled(transaction);
}

/* What was settled is open again, and ends with the channel; without memory for that it goes back
 * to the queues at once. */
static void
reopen_settled(struct channel *channel)
{
    struct transaction *transaction = channel->transaction;
    uint32_t count = transaction->settled_count;
    if (unacked_table_put_back(&channel->unacked, transaction->settled, count) != STATUS_OK) {
        for (uint32_t i = 0; i < count; i++) {
            channel_settle_return(channel, &transaction->settled[i], RETRY_NO_VERDICT);
        }
    }
    forget_settled(transaction);
}

/* The second half of a commit ------------------------------------------------------------------ */

uint32_t
transaction_copies_at(const struct transaction *transaction, uint32_t first)
{
    const struct buffered_publish *publishes = transaction->publishes;
    uint32_t at = first;
    while (at < transaction->publish_count && publishes[at].kind == BUFFERED_MESSAGE &&
           publishes[at].content.bits == publishes[first].content.bits) {
        at++;
    }
    return at - first;
}

/* Writes the message down, once, for those of its queues that keep it. Returns its LSN. */
static uint64_t
log_copies(struct core *core, const struct buffered_publish *copies, uint32_t count,
           uint64_t expiration)
{
    const struct content *content = chunk_pool_content(core->pool, copies->content);
    enum status status = STATUS_OK;
    uint64_t lsn = 0;
    core_log_begin(core, content, expiration);
    for (uint32_t i = 0; i < count; i++) {
        if (buffered_publish_is_taken(&copies[i]) && core_logs(core, copies[i].queue, content)) {
            status = core_log_target_until(core, copies[i].queue, copies[i].due_ms);
            assert(status == STATUS_OK);
        }
    }
    status = core_log_publish(core, copies->content, &lsn);
    assert(status == STATUS_OK);
    return lsn;
}

/* One message for all its queues. */
static void
enqueue_copies(struct core *core, const struct buffered_publish *copies, uint32_t count)
{
    const struct content *content = chunk_pool_content(core->pool, copies->content);
    struct logged_message message = {.expiration = content_expiration(content)};
    if (core_has_log(core)) {
        message.lsn = log_copies(core, copies, count, message.expiration);
    }
    for (uint32_t i = 0; i < count; i++) {
        if (buffered_publish_is_taken(&copies[i])) {
            message.due_ms = copies[i].due_ms;
            core_enqueue(core, copies[i].queue, copies->content, content, &message);
        }
    }
}

static void
enqueue_all(struct channel *channel)
{
    const struct transaction *transaction = channel->transaction;
    for (uint32_t i = 0; i < transaction->publish_count;) {
        uint32_t count = transaction_copies_at(transaction, i);
        if (count > 0) {
            enqueue_copies(channel_core(channel), &transaction->publishes[i], count);
        }
        i += count > 0 ? count : 1;
    }
    assert(channel_core(channel)->queue_memory.spares == NULL);
}

static bool
send_reply(struct channel *channel, const struct buffered_publish *publish)
{
    struct bytes name = bytes_make(publish->reply_name, publish->reply_name_size);
    struct channel *requester = channel_find_requester(channel, name);
    return requester != NULL && channel_deliver_reply(requester, name, publish->content);
}

/* Replies to requesters that are still there, and what comes back to the publisher: the return that
 * stands behind a mandatory message asks whether that was the one that reached somebody last. A
 * return that cannot be sent ends the channel, and with it what is left here. */
static void
send_all(struct channel *channel)
{
    const struct transaction *transaction = channel->transaction;
    struct content_ref reached = {0};
    for (uint32_t i = 0; !channel->is_ended && i < transaction->publish_count; i++) {
        const struct buffered_publish *publish = &transaction->publishes[i];
        bool reaches = publish->kind == BUFFERED_MESSAGE && publish->queue != NULL;
        if (publish->kind == BUFFERED_REPLY) {
            reaches = send_reply(channel, publish);
        }
        if (reaches) {
            reached = publish->content;
        } else if (publish->kind == BUFFERED_RETURN && reached.bits != publish->content.bits) {
            channel_return_message(channel, publish->content);
        }
    }
}

/* Ends ----------------------------------------------------------------------------------------- */

/* Returns how many copies their queues have refused; those become what the queue wants of them. */
static uint32_t
end_refused(struct channel *channel)
{
    struct core *core = channel_core(channel);
    const struct transaction *transaction = channel->transaction;
    uint32_t refused_count = 0;
    for (uint32_t i = 0; i < transaction->publish_count; i++) {
        const struct buffered_publish *publish = &transaction->publishes[i];
        if (publish->is_refused) {
            core_end_refused(core, publish->queue, publish->content,
                             chunk_pool_content(core->pool, publish->content));
            refused_count++;
        }
    }
    return refused_count;
}

enum status
transaction_commit(struct channel *channel, uint64_t *token_out, struct fault *fault)
{
    if (transaction_reserve(channel, fault) != STATUS_OK) {
        return STATUS_FAULT;
    }
    enqueue_all(channel);
    struct core *core = channel_core(channel);
    channel->deaths.first = core_last_death(core);
    end_settled(channel);
    uint32_t refused_count = end_refused(channel);
    channel->deaths.last = core_last_death(core);
    core_move_dead(core);
    *token_out = core_log_token(core);
    send_all(channel);
    if (channel->is_ended) {
        return STATUS_OK;
    }
    release_publishes(channel);
    /* As in RabbitMQ everything else is done all the same. */
    return refused_count == 0
               ? STATUS_OK
               : fault_channel(fault, REPLY_PRECONDITION_FAILED, "partial tx completion");
}

enum status
transaction_rollback(struct channel *channel, struct fault *fault)
{
    struct transaction *transaction = channel->transaction;
    if (unacked_table_put_back(&channel->unacked, transaction->settled,
                               transaction->settled_count) != STATUS_OK) {
        return fault_no_memory(fault);
    }
    forget_settled(transaction);
    release_publishes(channel);
    channel_review_timeouts(channel); /* what came back may have waited too long */
    return STATUS_OK;
}

void
transaction_free(struct channel *channel)
{
    struct transaction *transaction = channel->transaction;
    if (transaction == NULL) {
        return;
    }
    release_publishes(channel);
    reopen_settled(channel);
    free(transaction->publishes);
    free(transaction->settled);
    free(transaction->verdicts);
    free(transaction);
    channel->transaction = NULL;
}
