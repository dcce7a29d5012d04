/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/upkeep/expiry.h"

#include "broker/core/core_clock.h"
#include "broker/death/dead_letter.h"
#include "broker/delivery/handing_out.h"
#include "broker/durability/durability.h"
#include "broker/paging/paging.h"
#include "broker/topology/vhost.h"

#include <inttypes.h>

/* What deleting a queue counts as, in deaths. */
enum { DEATHS_OF_QUEUE = 64 };

/* A deadline that is over, whenever the broker began, and none of a message that may be handed out
 * in the tick in which it comes. */
static const uint64_t OVERDUE_MS = (uint64_t)(DUE_AT_ONCE + 1) * DUE_STEP_MS;

/* When something is tried again that there was no memory for. */
static const uint64_t RETRY_MS = 100;

/* Being looked at ------------------------------------------------------------------------------ */

void
core_expire_soon(struct core *core, struct queue *queue)
{
    if (!list_link_is_linked(&queue->times->link)) {
        list_append(&core->expiring, &queue->times->link);
    }
}

static void
on_due(struct timer *timer, void *context)
{
    struct queue_times *times = CONTAINER_OF(timer, struct queue_times, timer);
    core_expire_soon(context, times->queue);
}

static void
look_at(struct core *core, struct queue *queue, uint64_t due_ms)
{
    timer_arm(&core->timers, &queue->times->timer, core->base_ms + due_ms, on_due, core);
}

/* The timer may fire too early, for the message that it was armed for is mostly gone by then, and
 * is armed anew when it does. */
static void
look_not_after(struct core *core, struct queue *queue, uint64_t due_ms)
{
    const struct timer *timer = &queue->times->timer;
    if (!timer_is_armed(timer) || timer->due_ms - core->base_ms > due_ms) {
        look_at(core, queue, due_ms);
    }
}

/* Coming --------------------------------------------------------------------------------------- */

/* Such messages may be handed out in the tick in which they come. */
static void
note_at_once(struct core *core, struct queue *queue)
{
    struct queue_times *times = queue->times;
    uint64_t tick = chunk_pool_tick(core->pool);
    if (times->order.at_once_tick != tick) {
        times->order.at_once_tick = tick;
        times->order.at_once_from = queue->next_position - 1;
    }
    core_expire_soon(core, queue);
}

static enum status
push_until(struct core *core, struct queue *queue, struct queue_entry *entry, uint64_t due_ms)
{
    if (queue_push_until(queue, entry, due_ms) != STATUS_OK) {
        return STATUS_NO_MEMORY;
    }
    if (due_ms <= core_now_ms(core)) {
        core_expire_soon(core, queue);
    } else {
        look_not_after(core, queue, due_ms);
    }
    return STATUS_OK;
}

enum status
core_push_for(struct core *core, struct queue *queue, struct queue_entry *entry, uint64_t ttl_ms)
{
    if (ttl_ms > 0) {
        return push_until(core, queue, entry, core_now_ms(core) + core->now.begun_ms + ttl_ms);
    }
    enum status status = push_until(core, queue, entry, 0);
    if (status == STATUS_OK) {
        note_at_once(core, queue);
    }
    return status;
}

enum status
core_push_late(struct core *core, struct queue *queue, struct queue_entry *entry, uint64_t ttl_ms,
               uint64_t late_ms)
{
    uint64_t left_ms = ttl_ms > late_ms ? ttl_ms - late_ms : 0;
    return left_ms > 0 || ttl_ms == 0 ? core_push_for(core, queue, entry, left_ms)
                                      : push_until(core, queue, entry, OVERDUE_MS);
}

uint64_t
queue_time_to_live_ms(const struct queue *queue, uint64_t expiration)
{
    int64_t of_queue = queue->settings->message_ttl_ms;
    uint64_t ttl_ms = of_queue < 0 ? UINT64_MAX : (uint64_t)of_queue;
    return expiration != 0 && expiration - 1 < ttl_ms ? expiration - 1 : ttl_ms;
}

uint64_t
core_wall_deadline_ms(const struct core *core, const struct queue *queue, uint64_t expiration)
{
    if (queue_is_endless(queue, expiration)) {
        return 0;
    }
    return core_now_wall_ms(core) + core->now.begun_ms + queue_time_to_live_ms(queue, expiration);
}

enum status
core_restore_mortal(struct core *core, struct queue *queue, struct queue_entry *entry,
                    uint64_t wall_deadline_ms)
{
    uint64_t wall_ms = core_now_wall_ms(core);
    uint64_t due_ms =
        wall_deadline_ms <= wall_ms ? 0 : core_now_ms(core) + (wall_deadline_ms - wall_ms);
    return push_until(core, queue, entry, due_ms);
}

void
core_watch_returned(struct core *core, struct queue *queue, const struct queue_entry *entry,
                    uint64_t position)
{
    if (entry->due == DUE_NONE) {
        return;
    }
    uint64_t due_ms = queue_deadline_ms(queue, entry, position);
    if (due_ms <= core_now_ms(core) || queue->times->lacks_rows) {
        core_expire_soon(core, queue);
    } else {
        look_not_after(core, queue, due_ms);
    }
}

/* Dying ---------------------------------------------------------------------------------------- */

/* Whether one more message of the queue may die in this tick; it counts as dead then. */
static bool
may_die(struct core *core, struct queue_times *times)
{
    uint64_t tick = chunk_pool_tick(core->pool);
    if (times->death_tick != tick) {
        times->death_tick = tick;
        times->death_count = 0;
    }
    if (times->death_count == CORE_EXPIRED_PER_QUEUE || core->deaths_left == 0) {
        return false;
    }
    times->death_count++;
    core->deaths_left--;
    return true;
}

static void
let_die(struct core *core, struct queue *queue, const struct queue_entry *entry, uint64_t position)
{
    queue->times->expired_count++;
    core->counters.expired++;
    core_let_die(core, queue, entry, position, DEATH_EXPIRED);
}

/* Whether what is there may die now, as far as memory is concerned. */
static bool
has_room_for_dead(struct queue *queue)
{
    return queue->ready_count == 0 || core_reserve_deaths(queue, DEATH_EXPIRED, 1) == STATUS_OK;
}

/* STATUS_OK: nothing is due any more. STATUS_FULL: the rest is for the next tick. STATUS_NO_MEMORY:
 * it is tried again later. */
static enum status
let_due_die(struct core *core, struct queue *queue)
{
    struct queue_entry entry;
    uint64_t position;
    enum status status = STATUS_FULL;
    while (may_die(core, queue->times)) {
        if (!has_room_for_dead(queue)) {
            return STATUS_NO_MEMORY;
        }
        status = queue_take_expired(queue, core_now_ms(core), &entry, &position);
        if (status == STATUS_OK) {
            let_die(core, queue, &entry, position);
        } else if (status != STATUS_FULL) {
            return status == STATUS_AGAIN ? STATUS_OK : status;
        }
    }
    return STATUS_FULL;
}

void
core_let_due_die(struct core *core, struct queue *queue)
{
    if (queue->times == NULL || queue_next_deadline_ms(queue) > core_now_ms(core)) {
        return;
    }
    if (let_due_die(core, queue) != STATUS_OK) {
        core_expire_soon(core, queue);
    }
}

/* A message that is due at once is on time in its own tick, unless it was handed out before. */
bool
core_head_is_overdue(const struct core *core, const struct queue *queue)
{
    const struct queue_deadlines *order = &queue->times->order;
    uint64_t due_ms = queue_head_deadline_ms(queue);
    if (due_ms > core_now_ms(core)) {
        return false;
    }
    bool is_new = due_ms == (uint64_t)DUE_AT_ONCE * DUE_STEP_MS && !queue_head_is_returned(queue) &&
                  order->at_once_tick == chunk_pool_tick(core->pool) &&
                  queue_head_position(queue) >= order->at_once_from;
    return !is_new;
}

bool
core_head_is_on_time(struct core *core, struct queue *queue)
{
    while (queue->times != NULL && core_head_is_overdue(core, queue)) {
        struct queue_entry entry;
        uint64_t position;
        if (!may_die(core, queue->times) ||
            core_reserve_deaths(queue, DEATH_EXPIRED, 1) != STATUS_OK) {
            core_expire_soon(core, queue);
            return false;
        }
        bool taken = queue_pop(queue, &entry, &position);
        assert(taken);
        queue_entry_clear_flag(&entry, ENTRY_INDEXED);
        let_die(core, queue, &entry, position);
    }
    return true;
}

/* Queues --------------------------------------------------------------------------------------- */

static uint64_t
lease_end_ms(const struct core *core, const struct queue *queue)
{
    /* What was restored before the first tick has not been used less for the time that took. */
    uint64_t used_ms = queue->times->used_ms;
    used_ms = used_ms < core->first_tick_ms ? core->first_tick_ms : used_ms;
    return used_ms + (uint64_t)queue->settings->expires_ms;
}

static bool
lease_is_over(const struct core *core, const struct queue *queue)
{
    return queue->settings->expires_ms >= 0 && queue->consumer_count == 0 &&
           core->now.monotonic_ms >= lease_end_ms(core, queue);
}

static void
on_lease(struct timer *timer, void *context)
{
    struct core *core = context;
    struct queue_times *times = CONTAINER_OF(timer, struct queue_times, lease);
    const struct queue *queue = times->queue;
    if (lease_is_over(core, queue)) {
        core_expire_soon(core, times->queue);
    } else if (queue->settings->expires_ms >= 0 && queue->consumer_count == 0) {
        timer_arm(&core->timers, timer, lease_end_ms(core, queue), on_lease, core);
    }
}

/* The timer is armed anew only if it would fire too late: an argument may have changed. */
void
core_use_queue(struct core *core, struct queue *queue)
{
    if (queue->settings->expires_ms < 0) {
        return;
    }
    struct queue_times *times = queue_times_of(queue);
    times->used_ms = core_from_now_ms(core);
    uint64_t end_ms = times->used_ms + (uint64_t)queue->settings->expires_ms;
    if (!timer_is_armed(&times->lease) || times->lease.due_ms > end_ms) {
        timer_arm(&core->timers, &times->lease, end_ms, on_lease, core);
    }
}

static void
delete_unused(struct core *core, struct queue *queue)
{
    char text[QUEUE_FIELDS_SIZE];
    log_limited(core->log, LOG_LEVEL_INFO, "queue.expired",
                "%s unused_ms=%" PRId64 " ready=%" PRIu64, vhost_queue_fields(queue, text),
                queue->settings->expires_ms, queue->ready_count);
    core->deaths_left -= core->deaths_left < DEATHS_OF_QUEUE ? core->deaths_left : DEATHS_OF_QUEUE;
    (void)vhost_delete_queue(queue->vhost, queue);
}

void
core_forget_times(struct core *core, struct queue *queue)
{
    if (queue->times == NULL) {
        return;
    }
    timer_cancel(&core->timers, &queue->times->timer);
    timer_cancel(&core->timers, &queue->times->lease);
    list_remove(&queue->times->link);
    queue_forget_times(queue);
}

/* Looking -------------------------------------------------------------------------------------- */

/* The next message is another one, or there is none. */
static void
on_new_head(struct core *core, struct queue *queue)
{
    if (queue->ready_count == 0) {
        core_release_windows(core, queue);
    }
    if (queue->head_waits && core_head_is_on_time(core, queue)) {
        core_try_head_again(core, queue);
    }
}

static void
look_again_later(struct core *core, struct queue *queue, enum status status)
{
    uint64_t due_ms = queue_next_deadline_ms(queue);
    if (status == STATUS_FULL) {
        core_expire_soon(core, queue);
    } else if (status == STATUS_NO_MEMORY) {
        look_at(core, queue, core_now_ms(core) + RETRY_MS);
    } else if (due_ms != NEVER_MS) {
        look_at(core, queue, due_ms);
    }
}

/* Deadlines of messages whose entries are spilled are known when they are back. */
static void
expire_queue(struct core *core, struct queue *queue)
{
    if (lease_is_over(core, queue)) {
        delete_unused(core, queue);
        return;
    }
    enum status status = queue_add_missing_rows(queue);
    enum status deaths = let_due_die(core, queue);
    on_new_head(core, queue);
    look_again_later(core, queue, deaths == STATUS_OK ? status : deaths);
    core_read_entries(core, queue);
}

void
core_expire(struct core *core)
{
    struct list looked_at;
    list_init(&looked_at);
    struct list_link *link;
    while ((link = list_pop(&core->expiring)) != NULL) {
        list_append(&looked_at, link);
    }
    while (core->deaths_left > 0 && (link = list_pop(&looked_at)) != NULL) {
        expire_queue(core, CONTAINER_OF(link, struct queue_times, link)->queue);
    }
    while ((link = list_pop(&looked_at)) != NULL) {
        list_append(&core->expiring, link);
    }
    core->deaths_left = CORE_EXPIRED_PER_TICK;
}
