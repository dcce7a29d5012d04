/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/upkeep/waiting.h"

#include "broker/core/core_clock.h"
#include "broker/death/retry.h"
#include "broker/durability/durability.h"
#include "broker/upkeep/expiry.h"
#include "broker/upkeep/limits.h"

/* When something is tried again that there was no memory for. */
static const uint64_t RETRY_MS = 100;

uint64_t
core_row_of_wall_ms(const struct core *core, uint64_t wall_ms)
{
    if (wall_ms >= INT64_MAX) {
        return PARKED_MS;
    }
    return waiting_due_ms(core_now_ms(core)) + (wall_ms - core_now_wall_ms(core));
}

uint64_t
core_due_of_wall_ms(const struct core *core, uint64_t wall_ms)
{
    uint64_t row_due_ms = core_row_of_wall_ms(core, wall_ms);
    if (row_due_ms == PARKED_MS) {
        return PARKED_MS;
    }
    return row_due_ms > WAITING_EPOCH_MS ? row_due_ms - WAITING_EPOCH_MS : 0;
}

uint64_t
core_wall_of_row_ms(const struct core *core, uint64_t row_due_ms)
{
    if (row_due_ms == PARKED_MS) {
        return INT64_MAX;
    }
    int64_t from_now_ms = (int64_t)(row_due_ms - waiting_due_ms(core_now_ms(core)));
    int64_t wall_ms = (int64_t)core_now_wall_ms(core) + from_now_ms;
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

/* Clocks are cut to milliseconds: within the one in which it is due a message might be early. */
static bool
is_over(const struct core *core, uint64_t due_ms)
{
    return due_ms < core_now_ms(core);
}

static void
look_at(struct core *core, struct queue *queue, uint64_t due_ms)
{
    timer_arm(&core->timers, &queue->waiting->timer, core->base_ms + due_ms + 1, on_due, core);
}

void
core_look_at_waiting(struct core *core, struct queue *queue, uint64_t due_ms)
{
    const struct timer *timer = &queue->waiting->timer;
    if (is_over(core, due_ms)) {
        look_soon(core, queue);
    } else if (due_ms < PARKED_MS &&
               (!timer_is_armed(timer) || timer->due_ms - core->base_ms > due_ms + 1)) {
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
    uint64_t now_of_rows_ms = waiting_due_ms(core_now_ms(core));
    return key->due_ms < now_of_rows_ms ? now_of_rows_ms - key->due_ms : 0;
}

/* A message that comes before its time is in the log as one that waits: that is said anew, and
 * where it was said is kept with what is known of failures until the message leaves. Its level is
 * in front. */
static enum status
note_release(struct core *core, struct queue *queue, struct queue_entry *entry)
{
    struct failure_row *row;
    if (queue_entry_lsn(entry) == 0 || !core_has_log(core)) {
        return STATUS_OK;
    }
    if (queue_add_failure(queue, queue->next_position, &row) != STATUS_OK) {
        return STATUS_NO_MEMORY;
    }
    struct row_state state = {
        .deadline_ms = core_wall_deadline_ms(core, queue, delayed_expiration(entry)),
        .priority = queue->level_max == 0 ? 0 : queue_logged_level(queue, queue_front_level(queue)),
    };
    row->state_lsn = core_log_return(core, queue, entry, &state, NULL, 0);
    row->is_in_deque = true;
    queue_entry_set_flag(entry, ENTRY_HAS_FAILED);
    return STATUS_OK;
}

/* Its time to live counts from when it was due, or comes before that. There is room for it at the
 * level in front. */
static void
push_delayed(struct core *core, struct queue *queue, struct queue_entry *entry, uint64_t late_ms)
{
    uint64_t expiration = delayed_expiration(entry);
    entry->due = DUE_NONE;
    enum status status =
        queue_is_endless(queue, expiration)
            ? queue_push(queue, entry)
            : core_push_late(core, queue, entry, queue_time_to_live_ms(queue, expiration), late_ms);
    assert(status == STATUS_OK);
}

static enum status
end_delay(struct core *core, struct queue *queue, const struct due_key *key, bool is_early)
{
    struct due_row *there = due_index_find(&queue->waiting->index, key);
    uint8_t level = delayed_level(key->position);
    if (queue_reserve(queue, level) != STATUS_OK) {
        return STATUS_NO_MEMORY;
    }
    queue_turn_to_level(queue, level);
    enum status status = is_early ? note_release(core, queue, &there->entry) : STATUS_OK;
    if (status == STATUS_OK) {
        struct due_row row;
        bool taken = queue_take_waiting(queue, key, &row);
        assert(taken);
        push_delayed(core, queue, &row.entry, late_ms(core, key));
    }
    queue_serve_highest(queue);
    return status;
}

static enum status
end_retry(struct core *core, struct queue *queue, const struct due_key *key, bool is_early)
{
    struct queue_entry entry;
    if (queue_end_retry(queue, key, &entry) != STATUS_OK) {
        return STATUS_NO_MEMORY;
    }
    if (is_early) {
        core_forgive(core, queue, &entry, key->position);
    }
    core_watch_returned(core, queue, &entry, key->position);
    return STATUS_OK;
}

enum status
core_end_wait(struct core *core, struct queue *queue, const struct due_key *key)
{
    bool is_delayed = (key->position & QUEUE_POSITION_DELAYED) != 0;
    bool is_early = key->due_ms > waiting_due_ms(core_now_ms(core));
    enum status status =
        is_delayed ? end_delay(core, queue, key, is_early) : end_retry(core, queue, key, is_early);
    if (status == STATUS_OK) {
        on_ready(core, queue);
    }
    return status;
}

/* What a queue may let in at once when it has let in nothing for a while. */
static const uint64_t BURST_US = 20000;

/* Whether the message may come in now as far as the queue's rate is concerned; then it counts. */
static bool
keeps_pace(const struct core *core, struct queue *queue, const struct due_key *key)
{
    struct queue_waiting *waiting = queue->waiting;
    int64_t rate = queue->settings->release_rate;
    if (rate <= 0 || late_ms(core, key) <= CORE_OVERDUE_MS) {
        return true;
    }
    uint64_t now_us = core->now.monotonic_ms * 1000;
    if (waiting->paced_us > now_us) {
        return false;
    }
    uint64_t from_us = now_us > BURST_US ? now_us - BURST_US : 0;
    waiting->paced_us = waiting->paced_us > from_us ? waiting->paced_us : from_us;
    waiting->paced_us += (uint64_t)(1000000 / rate);
    return true;
}

/* STATUS_FULL: there is more, for the next tick. STATUS_AGAIN: when its pace allows it. */
static enum status
end_waits(struct core *core, struct queue *queue)
{
    for (uint32_t i = 0; i < CORE_WAITED_PER_QUEUE && core->waits_left > 0; i++) {
        if (!is_over(core, queue_next_due_ms(queue))) {
            return STATUS_OK;
        }
        struct due_key key = queue_first_waiting(queue)->key;
        if (!keeps_pace(core, queue, &key)) {
            return STATUS_AGAIN;
        }
        core_take_time(core);
        if (core_end_wait(core, queue, &key) != STATUS_OK) {
            return STATUS_NO_MEMORY;
        }
        core->waits_left--;
    }
    return is_over(core, queue_next_due_ms(queue)) ? STATUS_FULL : STATUS_OK;
}

static void
look_at_queue(struct core *core, struct queue *queue)
{
    enum status status = end_waits(core, queue);
    if (status == STATUS_FULL) {
        look_soon(core, queue);
    } else if (status == STATUS_NO_MEMORY) {
        look_at(core, queue, core_now_ms(core) + RETRY_MS);
    } else if (status == STATUS_AGAIN) {
        look_at(core, queue, (queue->waiting->paced_us + 999) / 1000 - core->base_ms);
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
    if (row_due_ms > waiting_due_ms(core_now_ms(core))) {
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
