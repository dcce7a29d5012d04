/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/publishing/enqueue.h"

#include "base/assert.h"
#include "broker/death/retry.h"
#include "broker/durability/durability.h"
#include "broker/publishing/route.h"
#include "broker/topology/vhost.h"
#include "broker/upkeep/expiry.h"
#include "broker/upkeep/limits.h"
#include "broker/upkeep/waiting.h"
#include "broker/watch/tap.h"
#include "queues/clocks.h"

/* LSN and flags of the entry that the message gets in the queue. */
static uint64_t
entry_bits(const struct core *core, const struct queue *queue, const struct content *content,
           struct logged_message *message)
{
    bool is_persistent = queue->durable && (content->flags & CONTENT_PERSISTENT) != 0;
    uint8_t flags = is_persistent ? ENTRY_PERSISTENT : 0;
    if (message->lsn == 0 || !core_logs(core, queue, content)) {
        return queue_entry_pack(0, flags);
    }
    assert(message->next_target < core->log_target_count);
    uint64_t target = core->log_targets[message->next_target++];
    assert((target & ~RECORD_QUEUE_HANDED_OUT) == queue->target.id);
    flags |= (target & RECORD_QUEUE_HANDED_OUT) != 0 ? ENTRY_HANDED_OUT : 0;
    return queue_entry_pack(message->lsn, flags);
}

/* The message comes in when it is due (broker/upkeep/waiting.h). */
static SELDOM void
enqueue_delayed(struct core *core, struct queue *queue, const struct queue_entry *entry,
                const struct content *content, const struct logged_message *message)
{
    queue_push_delayed(queue, entry, content_level(content, queue), message->due_ms,
                       message->expiration);
    queue_entry_retain(entry, core->pool);
    queue->clocks->published_count++;
    core_look_at_waiting(core, queue, queue_next_due_ms(queue));
}

static enum status
push_in_order(struct core *core, struct queue *queue, struct queue_entry *entry,
              const struct logged_message *message)
{
    if (queue_is_endless(queue, message->expiration)) {
        return queue_push(queue, entry);
    }
    return core_push_for(core, queue, entry, queue_time_to_live_ms(queue, message->expiration));
}

static enum status
push_at_level(struct core *core, struct queue *queue, struct queue_entry *entry,
              const struct content *content, const struct logged_message *message)
{
    queue_turn_to_level(queue, content_level(content, queue));
    enum status status = push_in_order(core, queue, entry, message);
    queue_serve_highest(queue);
    core_heed_hold(core, queue);
    return status;
}

void
core_enqueue(struct core *core, struct queue *queue, struct content_ref ref,
             const struct content *content, struct logged_message *message)
{
    struct queue_entry entry = {
        .content = ref,
        .lsn_and_flags = entry_bits(core, queue, content, message),
        .size = content->body_size,
    };
    if (core_is_tapped(core)) {
        core_tap_queue(core, queue, content);
    }
    if (message->due_ms != 0) {
        enqueue_delayed(core, queue, &entry, content, message);
        return;
    }
    enum status status = queue->levels == NULL
                             ? push_in_order(core, queue, &entry, message)
                             : push_at_level(core, queue, &entry, content, message);
    assert(status == STATUS_OK);
    queue_entry_retain(&entry, core->pool);
    queue->clocks->published_count++;
    core_heed_limit(core, queue);
    if (queue_has_ready_consumer(queue)) {
        core_wake_queue(core, queue);
    }
}

void
core_forget_delayed(struct core *core, uint32_t end)
{
    for (uint32_t i = core->prompt_count; i < end; i++) {
        queue_forget_delayed(queue_of_target(core->routes.targets[i]), core->route_due_ms);
    }
}

enum status
core_reserve_delayed(struct core *core)
{
    for (uint32_t i = core->prompt_count; i < core->routes.count; i++) {
        if (queue_reserve_delayed(queue_of_target(core->routes.targets[i]), core->route_due_ms) !=
            STATUS_OK) {
            core_forget_delayed(core, i);
            return STATUS_NO_MEMORY;
        }
    }
    return STATUS_OK;
}
