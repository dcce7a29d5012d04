/* SPDX-License-Identifier: Apache-2.0 */
/* Two arrays that grow: what to publish, one element per target, and what to settle. */
#include "broker/transaction.h"

#include <stdlib.h>

#include "amqp/reply.h"
#include "base/alloc.h"
#include "broker/durability.h"
#include "broker/publish.h"
#include "broker/reply_to.h"
#include "broker/vhost.h"

enum { TRANSACTION_CAPACITY_MIN = 16, TRANSACTION_CAPACITY_KEPT = 256 };

enum buffered_kind {
    BUFFERED_MESSAGE,
    BUFFERED_REPLY,
    BUFFERED_RETURN,
};

struct buffered_publish {
    enum buffered_kind kind;
    struct content_ref content; /* counted */
    struct queue *queue;        /* BUFFERED_MESSAGE: a reference */
    uint8_t reply_name_size;    /* BUFFERED_REPLY */
    char reply_name[REPLY_NAME_SIZE];
};

struct transaction {
    struct buffered_publish *publishes; /* owned */
    uint32_t publish_count;
    uint32_t publish_capacity;
    struct unacked *settled; /* owned; a settlement for each in `verdicts` */
    uint8_t *verdicts;       /* of enum settlement; owned */
    uint32_t settled_count;
    uint32_t settled_capacity; /* of both */
    uint64_t octets;
};

struct transaction *
transaction_new(void)
{
    return xalloc(sizeof(struct transaction));
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
    return STATUS_OK;
}

enum status
transaction_add_message(struct channel *channel, struct queue *queue, struct content_ref content,
                        struct fault *fault)
{
    struct buffered_publish publish = {
        .kind = BUFFERED_MESSAGE, .content = content, .queue = queue};
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

/* The queue itself, or the one that has taken its name since, as if the name were looked up now. */
static struct queue *
queue_of_today(const struct channel *channel, const struct buffered_publish *publish)
{
    return publish->queue->deleted ? vhost_find_queue(channel_vhost(channel), publish->queue->name)
                                   : publish->queue;
}

/* How many publishes from `first` on are the same message for one queue after the other. */
static uint32_t
copies_at(const struct transaction *transaction, uint32_t first)
{
    const struct buffered_publish *publishes = transaction->publishes;
    uint32_t at = first;
    while (at < transaction->publish_count && publishes[at].kind == BUFFERED_MESSAGE &&
           publishes[at].content.bits == publishes[first].content.bits) {
        at++;
    }
    return at - first;
}

/* Writes the message down, once, for those of its queues that keep it. */
static enum status
log_copies(struct channel *channel, const struct buffered_publish *copies, uint32_t count,
           uint64_t *lsn_out)
{
    struct core *core = channel_core(channel);
    const struct content *content = chunk_pool_content(core->pool, copies->content);
    core_log_begin(core);
    for (uint32_t i = 0; i < count; i++) {
        const struct queue *queue = queue_of_today(channel, &copies[i]);
        if (queue != NULL && core_logs(core, queue, content) &&
            core_log_target(core, queue) != STATUS_OK) {
            return STATUS_NO_MEMORY;
        }
    }
    return core_log_publish(core, copies->content, lsn_out);
}

/* One message for all its queues. */
static enum status
carry_out_copies(struct channel *channel, const struct buffered_publish *copies, uint32_t count,
                 struct content_ref *reached, struct fault *fault)
{
    struct core *core = channel_core(channel);
    const struct content *content = chunk_pool_content(core->pool, copies->content);
    struct logged_message message = {0};
    if (core_has_log(core)) {
        enum status status = log_copies(channel, copies, count, &message.lsn);
        if (status != STATUS_OK) {
            return fault_not_logged(fault, status);
        }
    }
    for (uint32_t i = 0; i < count; i++) {
        struct queue *queue = queue_of_today(channel, &copies[i]);
        if (queue == NULL) {
            continue;
        }
        *reached = copies->content;
        if (core_enqueue(core, queue, copies->content, content, &message) != STATUS_OK) {
            return fault_no_memory(fault);
        }
    }
    return STATUS_OK;
}

static bool
carry_out_reply(struct channel *channel, const struct buffered_publish *publish)
{
    struct bytes name = bytes_make(publish->reply_name, publish->reply_name_size);
    struct channel *requester = channel_find_requester(channel, name);
    return requester != NULL && channel_deliver_reply(requester, name, publish->content);
}

/* Carries out what stands at `first`, and returns in `*next_out` what comes behind it. A queue or
 * requester that went away in the meantime gets nothing. `*reached` is the message that somebody
 * got last: the return that stands behind a mandatory one asks whether it was that. */
static enum status
carry_out(struct channel *channel, uint32_t first, uint32_t *next_out, struct content_ref *reached,
          struct fault *fault)
{
    const struct buffered_publish *publish = &channel->transaction->publishes[first];
    *next_out = first + 1;
    switch (publish->kind) {
    case BUFFERED_MESSAGE: {
        uint32_t count = copies_at(channel->transaction, first);
        *next_out = first + count;
        return carry_out_copies(channel, publish, count, reached, fault);
    }
    case BUFFERED_REPLY:
        if (carry_out_reply(channel, publish)) {
            *reached = publish->content;
        }
        break;
    case BUFFERED_RETURN:
        if (reached->bits != publish->content.bits) {
            channel_return_message(channel, publish->content);
        }
        break;
    }
    return STATUS_OK;
}

static void
release_publishes(struct channel *channel)
{
    struct transaction *transaction = channel->transaction;
    for (uint32_t i = 0; i < transaction->publish_count; i++) {
        chunk_pool_release(channel_core(channel)->pool, transaction->publishes[i].content);
        queue_unref(&transaction->publishes[i].queue);
    }
    transaction->publish_count = 0;
    transaction->octets = 0;
    if (transaction->publish_capacity > TRANSACTION_CAPACITY_KEPT) {
        free(transaction->publishes);
        transaction->publishes = NULL;
        transaction->publish_capacity = 0;
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
        channel_settle_requeue(channel, item);
        return STATUS_FAULT;
    }
    if (grow_settled(transaction) != STATUS_OK) {
        channel_settle_requeue(channel, item);
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

/* Settles as was said, or gives everything back to the queues. */
static void
end_settled(struct channel *channel, bool is_committed)
{
    struct transaction *transaction = channel->transaction;
    for (uint32_t i = 0; i < transaction->settled_count; i++) {
        channel_settle(channel, &transaction->settled[i],
                       is_committed ? (enum settlement)transaction->verdicts[i]
                                    : SETTLEMENT_REQUEUE);
    }
    forget_settled(transaction);
}

/* Ends ----------------------------------------------------------------------------------------- */

/* How many of those copies the log will be given. */
static uint32_t
count_logged(struct channel *channel, const struct buffered_publish *copies, uint32_t count)
{
    const struct core *core = channel_core(channel);
    const struct content *content = chunk_pool_content(core->pool, copies->content);
    uint32_t logged_count = 0;
    for (uint32_t i = 0; i < count; i++) {
        const struct queue *queue = queue_of_today(channel, &copies[i]);
        logged_count += queue != NULL && core_logs(core, queue, content) ? 1 : 0;
    }
    return logged_count;
}

/* What all of it takes in the log, at most: every removal counts as a record of its own. */
static void
measure(struct channel *channel, uint64_t *content_size_out, uint64_t *record_size_out)
{
    const struct transaction *transaction = channel->transaction;
    *content_size_out = 0;
    *record_size_out = (uint64_t)transaction->settled_count * RECORD_ACK_MAX;
    uint32_t count;
    for (uint32_t i = 0; i<transaction->publish_count; i += count> 0 ? count : 1) {
        const struct buffered_publish *publish = &transaction->publishes[i];
        count = copies_at(transaction, i);
        uint32_t logged_count = count_logged(channel, publish, count);
        if (logged_count > 0) {
            const struct content *content =
                chunk_pool_content(channel_core(channel)->pool, publish->content);
            *content_size_out += content_octets(content) + RECORD_ALIGNMENT;
            *record_size_out += record_publish_size(logged_count);
        }
    }
}

/* Room in the log for all of it, so that it is one batch; too much is 406. */
static enum status
reserve_log(struct channel *channel, struct fault *fault)
{
    struct core *core = channel_core(channel);
    if (!core_has_log(core)) {
        return STATUS_OK;
    }
    uint64_t content_size;
    uint64_t record_size;
    measure(channel, &content_size, &record_size);
    if (!journal_fits(core->journal, content_size, record_size)) {
        return fault_channel(fault, REPLY_PRECONDITION_FAILED,
                             "transaction is larger than a segment of the log");
    }
    journal_reserve(core->journal, content_size, record_size);
    return STATUS_OK;
}

enum status
transaction_commit(struct channel *channel, uint64_t *token_out, struct fault *fault)
{
    enum status status = reserve_log(channel, fault);
    struct content_ref reached = {0};
    for (uint32_t i = 0; status == STATUS_OK && i < channel->transaction->publish_count;) {
        status = carry_out(channel, i, &i, &reached, fault);
        if (channel->is_ended) {
            return STATUS_OK; /* a return could not be sent; the transaction went with the channel
                               */
        }
    }
    release_publishes(channel);
    end_settled(channel, status == STATUS_OK);
    *token_out = core_log_token(channel_core(channel));
    return status;
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
    end_settled(channel, false);
    free(transaction->publishes);
    free(transaction->settled);
    free(transaction->verdicts);
    free(transaction);
    channel->transaction = NULL;
}
