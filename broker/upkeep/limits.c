/* SPDX-License-Identifier: Apache-2.0 */
/* A queue that is too long stands on core->overlong. It leaves the list when it has been cut, or
 * waits for entries that are read back from disk, after which it is looked at again. */
#include "broker/upkeep/limits.h"

#include "broker/channels/channel.h"
#include "broker/death/dead_letter.h"
#include "broker/durability/durability.h"
#include "broker/paging/paging.h"

void
core_note_overlong(struct core *core, struct queue *queue)
{
    if (queue->settings->overflow != OVERFLOW_DROP_HEAD || queue->deleted) {
        return;
    }
    if (queue_reserve_dying(queue, 0) != STATUS_OK) {
        return; /* the next message has it looked at */
    }
    struct list_link *link = &queue->dying->overlong_link;
    if (!list_link_is_linked(link)) {
        list_append(&core->overlong, link);
    }
}

bool
core_refuses(struct core *core, struct queue *queue, uint32_t body_size)
{
    if (!queue_would_refuse(queue, body_size)) {
        return false;
    }
    if (!queue_has_ready_consumer(queue)) {
        return true;
    }
    core_serve_consumers(core, queue);
    return queue_would_refuse(queue, body_size);
}

enum status
core_reserve_burial(struct queue *queue, uint32_t count)
{
    return queue->settings->overflow == OVERFLOW_REJECT_PUBLISH_DLX
               ? core_reserve_deaths(queue, DEATH_MAXLEN, count)
               : STATUS_OK;
}

void
core_end_refused(struct core *core, struct queue *queue, struct content_ref ref,
                 const struct content *content)
{
    core->counters.refused++;
    if (queue->settings->overflow != OVERFLOW_REJECT_PUBLISH_DLX) {
        return;
    }
    bool is_persistent = queue->durable && (content->flags & CONTENT_PERSISTENT) != 0;
    struct queue_entry entry = {
        .content = ref,
        .lsn_and_flags = queue_entry_pack(0, is_persistent ? ENTRY_PERSISTENT : 0),
        .size = content->body_size,
    };
    queue_entry_retain(&entry, core->pool);
    core_let_die(core, queue, &entry, 0, DEATH_MAXLEN);
}

/* Drops from the head until the queue is within its limit, the tick allows no more, or what comes
 * next is on disk. Contents are not looked at, so they may be anywhere. False: there is no memory
 * for more dead. */
static bool
drop_heads(struct core *core, struct queue *queue)
{
    struct queue_entry entry;
    uint64_t position;
    enum status status = STATUS_OK;
    while (core->drops_left > 0 && queue_is_over_limit(queue)) {
        status = core_reserve_deaths(queue, DEATH_MAXLEN, 1);
        if (status != STATUS_OK || !queue_pop(queue, &entry, &position)) {
            break;
        }
        core->drops_left--;
        core_let_die(core, queue, &entry, position, DEATH_MAXLEN);
    }
    if (queue->ready_count == 0) {
        core_release_windows(core, queue);
    }
    return status == STATUS_OK;
}

/* Whether the queue is through, for this tick or until its entries are there. Without memory it is
 * too long until the next message has it looked at. */
static bool
cut_queue(struct core *core, struct queue *queue)
{
    if (queue->settings->overflow != OVERFLOW_DROP_HEAD) {
        return true;
    }
    if (!drop_heads(core, queue) || !queue_is_over_limit(queue)) {
        return true;
    }
    if (!queue_head_is_away(queue)) {
        return false;
    }
    core_read_entries(core, queue);
    return true;
}

/* Messages that consumers will take in the next tick are not dropped before. */
static bool
has_more_to_hand_out(const struct queue *queue)
{
    return list_link_is_linked(&queue->dispatch_link);
}

void
core_cut_queue(struct core *core, struct queue *queue)
{
    if (queue->dying != NULL && list_link_is_linked(&queue->dying->overlong_link) &&
        cut_queue(core, queue)) {
        list_remove(&queue->dying->overlong_link);
    }
}

void
core_cut_queues(struct core *core)
{
    struct list kept;
    struct list_link *link;
    list_init(&kept);
    while ((link = list_pop(&core->overlong)) != NULL) {
        struct queue *queue = CONTAINER_OF(link, struct queue_dying, overlong_link)->queue;
        if (has_more_to_hand_out(queue) || !cut_queue(core, queue)) {
            list_remove(link); /* what was dropped may have held back the rest */
            list_append(&kept, link);
        }
    }
    while ((link = list_pop(&kept)) != NULL) {
        list_append(&core->overlong, link);
    }
    core->drops_left = CORE_DROPS_PER_TICK;
    if (core->is_cutting || !list_is_empty(&core->overlong)) {
        core->is_cutting = !list_is_empty(&core->overlong);
        core->work_left = core->is_cutting ? 0 : core->settings.work_per_tick;
    }
}
