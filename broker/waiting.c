/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/waiting.h"

#include "broker/expiry.h"
#include "broker/limits.h"
#include "broker/retry.h"

/* When something is tried again that there was no memory for. */
static const uint64_t RETRY_MS = 100;

static uint64_t
now_ms(const struct core *core)
{
    return core->now.monotonic_ms - core->base_ms;
}

/* The log has no times before 1970, whatever the machine's clock says. */
static uint64_t
now_wall_ms(const struct core *core)
{
    return core->now.wall_ms > 0 ? (uint64_t)core->now.wall_ms : 1;
}

uint64_t
core_row_of_wall_ms(const struct core *core, uint64_t wall_ms)
{
    if (wall_ms >= INT64_MAX) {
        return PARKED_MS;
    }
    return waiting_due_ms(now_ms(core)) + (wall_ms - now_wall_ms(core));
}

uint64_t
core_wall_of_row_ms(const struct core *core, uint64_t row_due_ms)
{
    if (row_due_ms == PARKED_MS) {
        return INT64_MAX;
    }
    int64_t from_now_ms = (int64_t)(row_due_ms - waiting_due_ms(now_ms(core)));
    int64_t wall_ms = (int64_t)now_wall_ms(core) + from_now_ms;
    return wall_ms > 0 ? (uint64_t)wall_ms : 1;
}

uint64_t
core_wall_of_due_ms(const struct core *core, uint64_t due_ms)
{
    return core_wall_of_row_ms(core, waiting_due_ms(due_ms));
}

/* Being looked at ------------------------------------------------------------------------------ */

static void
look_soon(struct core *core, struct queue *queue)
{
    if (!list_link_is_linked(&queue->waiting->link)) {
        list_append(&core->waking, &queue->waiting->link);
    }
}

static void
on_due(struct timer *timer, void *context)
{
    look_soon(context, CONTAINER_OF(timer, struct queue_waiting, timer)->queue);
}

static void
look_at(struct core *core, struct queue *queue, uint64_t due_ms)
{
    timer_arm(&core->timers, &queue->waiting->timer, core->base_ms + due_ms, on_due, core);
}

void
core_look_at_waiting(struct core *core, struct queue *queue, uint64_t due_ms)
{
    const struct timer *timer = &queue->waiting->timer;
    if (due_ms <= now_ms(core)) {
        look_soon(core, queue);
    } else if (due_ms != PARKED_MS &&
               (!timer_is_armed(timer) || timer->due_ms - core->base_ms > due_ms)) {
        look_at(core, queue, due_ms);
    }
}

enum status
core_wait(struct core *core, struct queue *queue, const struct queue_entry *entry,
          uint64_t position, uint64_t due_ms)
{
    assert(!queue->deleted);
    if (queue_wait(queue, entry, position, due_ms) != STATUS_OK) {
        return STATUS_NO_MEMORY;
    }
    core_look_at_waiting(core, queue, due_ms);
    if (due_ms != PARKED_MS) {
        core_look_at_waiting(core, queue, queue_deadline_ms(queue, entry, position));
    }
    return STATUS_OK;
}

void
core_forget_waiting(struct core *core, struct queue *queue)
{
    if (queue->waiting == NULL) {
        return;
    }
    (void)queue_purge_waiting(queue, &core->discards);
    timer_cancel(&core->timers, &queue->waiting->timer);
    list_remove(&queue->waiting->link);
}

/* Coming in ------------------------------------------------------------------------------------ */

/* The queue has one more ready message. */
static void
on_ready(struct core *core, struct queue *queue)
{
    core_heed_hold(core, queue);
    core_heed_limit(core, queue);
    if (queue_has_ready_consumer(queue)) {
        core_wake_queue(core, queue);
    }
}

/* How long ago the message was due; 0: it comes before. */
static uint64_t
late_ms(const struct core *core, const struct due_key *key)
{
    uint64_t now_of_rows_ms = waiting_due_ms(now_ms(core));
    return key->due_ms < now_of_rows_ms ? now_of_rows_ms - key->due_ms : 0;
}

/* A time to live counts from when the message was due, or comes before that. */
static enum status
end_delay(struct core *core, struct queue *queue, const struct due_key *key)
{
    uint8_t level = delayed_level(key->position);
    if (queue_reserve(queue, level) != STATUS_OK) {
        return STATUS_NO_MEMORY;
    }
    struct due_row row;
    bool taken = queue_take_waiting(queue, key, &row);
    assert(taken);
    uint64_t expiration = delayed_expiration(&row.entry);
    row.entry.due = DUE_NONE;
    queue_turn_to_level(queue, level);
    enum status status =
        queue_is_endless(queue, expiration)
            ? queue_push(queue, &row.entry)
            : core_push_late(core, queue, &row.entry, queue_time_to_live_ms(queue, expiration),
                             late_ms(core, key));
    assert(status == STATUS_OK);
    queue_serve_highest(queue);
    return status;
}

static enum status
end_retry(struct core *core, struct queue *queue, const struct due_key *key)
{
    struct queue_entry entry;
    if (queue_end_retry(queue, key, &entry) != STATUS_OK) {
        return STATUS_NO_MEMORY;
    }
    core_watch_returned(core, queue, &entry, key->position);
    return STATUS_OK;
}

static enum status
end_wait(struct core *core, struct queue *queue, const struct due_key *key)
{
    bool is_delayed = (key->position & QUEUE_POSITION_DELAYED) != 0;
    enum status status = is_delayed ? end_delay(core, queue, key) : end_retry(core, queue, key);
    if (status == STATUS_OK) {
        on_ready(core, queue);
    }
    return status;
}

/* STATUS_FULL: there is more, for the next tick. */
static enum status
end_waits(struct core *core, struct queue *queue)
{
    for (uint32_t i = 0; i < CORE_WAITED_PER_QUEUE && core->waits_left > 0; i++) {
        if (queue_next_due_ms(queue) > now_ms(core)) {
            return STATUS_OK;
        }
        struct due_key key = queue_first_waiting(queue)->key;
        if (end_wait(core, queue, &key) != STATUS_OK) {
            return STATUS_NO_MEMORY;
        }
        core->waits_left--;
    }
    return queue_next_due_ms(queue) > now_ms(core) ? STATUS_OK : STATUS_FULL;
}

static void
look_at_queue(struct core *core, struct queue *queue)
{
    enum status status = end_waits(core, queue);
    if (status == STATUS_FULL) {
        look_soon(core, queue);
    } else if (status == STATUS_NO_MEMORY) {
        look_at(core, queue, now_ms(core) + RETRY_MS);
    } else if (queue_next_due_ms(queue) != NEVER_MS) {
        look_at(core, queue, queue_next_due_ms(queue));
    }
}

void
core_end_waits(struct core *core)
{
    struct list looked_at;
    list_init(&looked_at);
    struct list_link *link;
    while ((link = list_pop(&core->waking)) != NULL) {
        list_append(&looked_at, link);
    }
    while (core->waits_left > 0 && (link = list_pop(&looked_at)) != NULL) {
        look_at_queue(core, CONTAINER_OF(link, struct queue_waiting, link)->queue);
    }
    while ((link = list_pop(&looked_at)) != NULL) {
        list_append(&core->waking, link);
    }
    core->waits_left = CORE_WAITED_PER_TICK;
}

/* Recovery ------------------------------------------------------------------------------------- */

/* Handing it out is told by a mark that covers whatever stands before it in the log, which a
 * message that is not due yet was not part of. */
enum status
core_restore_delayed(struct core *core, struct queue *queue, struct queue_entry *entry,
                     const struct row_state *state)
{
    uint64_t row_due_ms = core_row_of_wall_ms(core, state->due_ms);
    bool has_deadline = state->deadline_ms >= state->due_ms;
    uint64_t expiration = has_deadline ? state->deadline_ms - state->due_ms + 1 : 0;
    if (row_due_ms > waiting_due_ms(now_ms(core))) {
        queue_entry_clear_flag(entry, ENTRY_REDELIVERED);
    }
    if (queue_reserve_delayed(queue, row_due_ms) != STATUS_OK) {
        return STATUS_NO_MEMORY;
    }
    queue_push_delayed(queue, entry, queue_level_from_log(queue, state->priority), row_due_ms,
                       expiration);
    core_look_at_waiting(core, queue, queue_next_due_ms(queue));
    return STATUS_OK;
}
