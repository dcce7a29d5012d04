/* SPDX-License-Identifier: Apache-2.0 */
/* Two arrays that grow: what to publish, one element per target, and what to settle.
 *
 * A commit has two halves. The first finds out whom it reaches and makes room for all of it, in the
 * queues and in the log; it may fail, and has changed nothing then. The second changes things, and
 * nothing in it can fail. */
#include "broker/transaction.h"

#include <inttypes.h>
#include <stdlib.h>

#include "amqp/reply.h"
#include "base/alloc.h"
#include "broker/core_clock.h"
#include "broker/dead_letter.h"
#include "broker/durability.h"
#include "broker/expiry.h"
#include "broker/limits.h"
#include "broker/publish.h"
#include "broker/reply_to.h"
#include "broker/vhost.h"
#include "broker/waiting.h"

enum { TRANSACTION_CAPACITY_MIN = 16, TRANSACTION_CAPACITY_KEPT = 256 };
enum { DISCARD_PAUSE_MS = 500 }; /* between two that are discarded */

enum buffered_kind {
    BUFFERED_MESSAGE,
    BUFFERED_REPLY,
    BUFFERED_RETURN,
};

struct buffered_publish {
    enum buffered_kind kind;
    bool is_refused;            /* BUFFERED_MESSAGE: its queue is full; set by the commit */
    struct content_ref content; /* counted */
    struct queue *queue;        /* BUFFERED_MESSAGE: a reference */
    uint64_t due_ms;            /* the same: when the queue is to have it, as a row of it is due; 0:
                                   with the commit */
    uint8_t reply_name_size;    /* BUFFERED_REPLY */
    char reply_name[REPLY_NAME_SIZE];
};

struct transaction {
    struct channel *channel;
    struct list_link link;              /* core->transactions, while it has messages */
    uint64_t memory_octets;             /* that its messages keep, at most */
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

/* The first half of a commit ------------------------------------------------------------------- */

/* How many publishes from `first` on are the same message for one queue after the other; 0: it is
 * none for a queue. */
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

/* Whether there is a queue that takes this copy. */
static bool
is_taken(const struct buffered_publish *publish)
{
    return publish->queue != NULL && !publish->is_refused;
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
        if (is_taken(publish) && publish->due_ms == 0 && publish->queue->level_max != 0) {
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
        logged_count += is_taken(&copies[i]) && core_logs(core, copies[i].queue, content) ? 1 : 0;
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
        uint32_t count = copies_at(transaction, i);
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

static enum status
reserve(struct channel *channel, struct fault *fault)
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

/* The second half ------------------------------------------------------------------------------ */

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
        if (is_taken(&copies[i]) && core_logs(core, copies[i].queue, content)) {
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
        if (is_taken(&copies[i])) {
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
        uint32_t count = copies_at(transaction, i);
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
    if (reserve(channel, fault) != STATUS_OK) {
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
