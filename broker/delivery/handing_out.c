/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/delivery/handing_out.h"

#include "base/alloc.h"
#include "broker/channels/channel.h"
#include "broker/connections/connection.h"
#include "broker/death/retry.h"
#include "broker/paging/paging.h"
#include "broker/upkeep/expiry.h"
#include "broker/upkeep/limits.h"
#include "store/journal.h"
#include "store/space.h"

/* Has the log say that messages of the queue may have been handed out up to some way ahead of
 * `lsn`, so that the next mark is written long before it is needed. Tokens rise along the list. */
static void
raise_mark(struct core *core, struct queue *queue, uint64_t lsn)
{
    if (queue->handout == NULL) {
        queue->handout = xalloc(sizeof(*queue->handout));
    }
    struct queue_handout *handout = queue->handout;
    uint64_t horizon = queue_horizon_lsn(queue);
    handout->queue = queue;
    handout->logged_lsn = horizon > lsn ? horizon : lsn;
    handout->raise_lsn = lsn + (handout->logged_lsn - lsn) / 2;
    journal_hand_out(core->journal, queue->target.id, handout->logged_lsn);
    space_add_topology(core->space, journal_open_lsn(core->journal));
    handout->token = journal_token(core->journal);
    list_remove(&handout->link);
    list_append(&core->handouts, &handout->link);
}

/* Half of the way to the last mark is gone: raises it, if the queue has something behind it. */
static void
raise_mark_ahead(struct core *core, struct queue *queue, uint64_t lsn)
{
    struct queue_handout *handout = queue->handout;
    if (queue_horizon_lsn(queue) > handout->logged_lsn) {
        raise_mark(core, queue, lsn);
    } else {
        handout->raise_lsn = lsn + (handout->logged_lsn - lsn) / 2;
    }
}

/* Whether the log, as far as it is written, says that the message may have been handed out. A mark
 * in the message's own batch will do: either both are there after a crash, or neither. */
static bool
is_marked(struct core *core, struct queue *queue, uint64_t lsn)
{
    struct queue_handout *handout = queue->handout;
    if (handout != NULL && lsn <= handout->written_lsn) {
        if (lsn > handout->raise_lsn && !list_link_is_linked(&handout->link)) {
            raise_mark_ahead(core, queue, lsn);
        }
        return true;
    }
    if (handout == NULL || lsn > handout->logged_lsn) {
        raise_mark(core, queue, lsn);
        handout = queue->handout;
    }
    return lsn >= journal_open_lsn(core->journal) && handout->token == journal_token(core->journal);
}

/* The same for the next message; what is in no log needs no mark. */
static inline bool
head_is_marked(struct core *core, struct queue *queue, const struct queue_entry *head)
{
    static const uint8_t MARKED = ENTRY_REDELIVERED | ENTRY_HANDED_OUT;
    return queue_entry_lsn(head) == 0 || core->journal == NULL ||
           (queue_entry_flags(head) & MARKED) != 0 || is_marked(core, queue, queue_entry_lsn(head));
}

/* Who asked before went away to wait, and so may others have since. */
static void
end_head_wait(struct core *core, struct queue *queue)
{
    queue->head_waits = false;
    core->heads_came = true;
    if (queue->ready_count > 0 && queue_has_ready_consumer(queue)) {
        core_wake_queue(core, queue);
    }
}

bool
core_head_is_ready(struct core *core, struct queue *queue)
{
    if (queue->times != NULL && !core_head_is_on_time(core, queue)) {
        queue->head_waits = true;
        return false;
    }
    if (queue->failures != NULL && !core_head_may_be_tried(core, queue)) {
        queue->head_waits = true;
        return false;
    }
    const struct queue_entry *head = core_head_in_memory(core, queue);
    bool is_there = head != NULL || queue->ready_count == 0;
    head = head == NULL ? queue_peek(queue) : head; /* its content may be under way */
    bool may_go = head == NULL || head_is_marked(core, queue, head);
    if (queue->times != NULL && core_head_is_overdue(core, queue)) {
        core_expire_soon(core, queue); /* it has come in the place of one that was lost */
        may_go = false;
    }
    bool waits = !is_there || !may_go;
    if (queue->head_waits && !waits) {
        end_head_wait(core, queue);
    }
    queue->head_waits = waits;
    return !waits;
}

void
core_try_head_again(struct core *core, struct queue *queue)
{
    queue->head_waits = false;
    core->heads_came = true;
    core_heed_limit(core, queue);
    if (!queue->deleted && queue->ready_count > 0 && queue_has_ready_consumer(queue)) {
        core_wake_queue(core, queue);
    }
}

void
core_head_is_there(struct core *core, struct queue *queue)
{
    if (queue->times != NULL) {
        core_expire_soon(core, queue);
    }
    core_try_head_again(core, queue);
}

void
core_release_getters(struct core *core)
{
    if (!core->heads_came) {
        return;
    }
    core->heads_came = false;
    LIST_FOR_EACH(&core->getters, link)
    {
        struct channel *channel = CONTAINER_OF(link, struct channel, getter_link);
        if (!channel->getting_from->head_waits) {
            channel_stop_getting(channel);
            connection_replay_later(channel->connection);
        }
    }
}

void
core_note_marks_written(struct core *core, uint64_t written_lsn)
{
    LIST_FOR_EACH(&core->handouts, link)
    {
        struct queue_handout *handout = CONTAINER_OF(link, struct queue_handout, link);
        if (!journal_token_is_committed(handout->token, written_lsn)) {
            break;
        }
        list_remove(link);
        handout->written_lsn = handout->logged_lsn;
        core_head_is_there(core, handout->queue);
    }
}
