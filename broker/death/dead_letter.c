/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/death/dead_letter.h"

#include <stdlib.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "broker/channels/channel.h"
#include "broker/channels/failure_notes.h"
#include "broker/death/death_move.h"
#include "broker/death/retry.h"
#include "broker/durability/durability.h"
#include "broker/paging/paging.h"
#include "queues/clocks.h"

struct dead_letters {
    struct core *core;
    struct list dying;    /* of queue_dying.link: something can be moved */
    struct list waiting;  /* of queue_dying.link: tried again when the timer fires */
    struct list all;      /* of queue_dying.all_link: something is dying */
    uint64_t last_number; /* of all deaths */
    struct timer retry;   /* armed while somebody waits */
    uint32_t octets_left; /* in this tick */
    uint32_t work_left;   /* the same */
    struct death_scratch scratch;
};

struct dead_letters *
dead_letters_new(struct core *core)
{
    struct dead_letters *letters = xalloc(sizeof(*letters));
    letters->core = core;
    list_init(&letters->dying);
    list_init(&letters->waiting);
    list_init(&letters->all);
    death_scratch_init(&letters->scratch);
    letters->octets_left = CORE_DEATH_OCTETS_PER_TICK;
    letters->work_left = CORE_DEATH_WORK_PER_TICK;
    return letters;
}

void
core_pass_first_dead_on(struct core *core, struct queue *queue)
{
    struct queue *kept = queue_ref(queue);
    core_free_failure(core, &queue_first_dying(queue)->failure);
    queue_take_dying(queue);
    if (queue->dying->count == 0) {
        list_remove(&queue->dying->all_link);
    }
    core_heed_dying_window(core, queue);
    queue_unref(&kept);
}

void
core_take_first_dead(struct core *core, struct queue *queue)
{
    struct queue_entry entry = queue_first_dying(queue)->entry;
    core_pass_first_dead_on(core, queue);
    queue_entry_release(&entry, core->pool);
}

void
core_set_dying_aside(struct core *core, struct queue *queue)
{
    const struct dying_message *first = queue_first_dying(queue);
    core_set_failures_aside(core, queue, &first->entry, first->position);
    core_take_first_dead(core, queue);
}

static void
forget_all(struct core *core, struct list *list)
{
    struct list_link *link;
    while ((link = list_pop(list)) != NULL) {
        struct queue *queue = queue_ref(CONTAINER_OF(link, struct queue_dying, link)->queue);
        while (queue_first_dying(queue) != NULL) {
            core_take_first_dead(core, queue);
        }
        queue_unref(&queue);
    }
}

void
dead_letters_free(struct dead_letters **letters_pointer)
{
    struct dead_letters *letters = *letters_pointer;
    if (letters == NULL) {
        return;
    }
    *letters_pointer = NULL;
    forget_all(letters->core, &letters->dying);
    forget_all(letters->core, &letters->waiting);
    timer_cancel(&letters->core->timers, &letters->retry);
    death_scratch_fini(&letters->scratch);
    free(letters);
}

/* Dying ---------------------------------------------------------------------------------------- */

/* Else it is dropped. */
static bool
is_kept(const struct queue *queue, enum death_reason reason)
{
    bool is_parked_else = reason == DEATH_DELIVERY_LIMIT;
    return !queue->deleted && (queue->settings->has_dead_letter_exchange || is_parked_else);
}

/* What is dropped needs room only to be counted, and goes without. */
enum status
core_reserve_deaths(struct queue *queue, enum death_reason reason, uint32_t count)
{
    bool needs_room = is_kept(queue, reason);
    enum status status = queue_reserve_dying(queue, needs_room ? count : 0);
    return needs_room ? status : STATUS_OK;
}

void
core_let_die(struct core *core, struct queue *queue, const struct queue_entry *entry,
             uint64_t position, enum death_reason reason)
{
    core_let_failed_die(core, queue, entry, position, reason, NULL);
}

/* One that died between others has left while those before it are there: a purge is not to take for
 * ready what is dying. */
static void
leave_deque(struct queue *queue, const struct queue_entry *entry, uint64_t position)
{
    struct failure_row *row =
        queue_entry_has_failed(entry) ? queue_find_failure(queue, position) : NULL;
    if (row != NULL) {
        row->is_in_deque = false;
    }
}

void
core_let_failed_die(struct core *core, struct queue *queue, const struct queue_entry *entry,
                    uint64_t position, enum death_reason reason, struct failure *failure)
{
    assert(reason < DEATH_REASON_COUNT);
    struct queue_dying *dying = queue->dying;
    queue_clocks_touch(queue);
    if (dying != NULL) {
        dying->died_count[reason]++;
    }
    core->counters.died[reason]++;
    if (!is_kept(queue, reason)) {
        core->counters.dead_letters_dropped++;
        core_log_departure(core, queue, entry, position);
        queue_entry_release(entry, core->pool);
        core_free_failure(core, &failure);
        return;
    }
    assert(dying != NULL); /* room was reserved */
    leave_deque(queue, entry, position);
    struct dead_letters *letters = core->dead_letters;
    struct dying_message message = {
        .entry = *entry,
        .number = ++letters->last_number,
        .position = position,
        .failure = failure,
        .reason = reason,
    };
    if (dying->count == 0) {
        list_append(&letters->dying, &dying->link);
        list_append(&letters->all, &dying->all_link);
    }
    queue_add_dying(queue, &message);
}

uint64_t
core_last_death(const struct core *core)
{
    return core->dead_letters->last_number;
}

bool
core_deaths_are_over(const struct core *core, struct death_range range)
{
    LIST_FOR_EACH(&core->dead_letters->all, link)
    {
        struct queue *queue = CONTAINER_OF(link, struct queue_dying, all_link)->queue;
        if (queue_first_dying(queue)->number <= range.last &&
            queue_last_dying(queue)->number > range.first) {
            return false;
        }
    }
    return true;
}

void
core_release_committers(struct core *core)
{
    LIST_FOR_EACH(&core->committers, link)
    {
        struct channel *channel = CONTAINER_OF(link, struct channel, wait_link);
        if (core_deaths_are_over(core, channel->deaths)) {
            list_remove(link);
            channel->has_committed = true;
            connection_replay_later(channel->connection);
        }
    }
}

void
core_add_death_need(const struct core *core, const struct queue *queue,
                    const struct queue_entry *entry, struct log_need *need)
{
    enum { TARGETS_EXPECTED = 16, HEADERS_EXPECTED = 4096 };
    if (queue->deleted || !queue->settings->has_dead_letter_exchange ||
        chunk_pool_place(core->pool, entry->content) != CONTENT_IN_MEMORY) {
        return;
    }
    const struct content *content = chunk_pool_content(core->pool, entry->content);
    need->publish_count++;
    need->content_octets += content_octets(content) + content->properties_size + HEADERS_EXPECTED;
    need->record_octets += record_publish_size(TARGETS_EXPECTED) + RECORD_ACK_MAX +
                           TARGETS_EXPECTED * record_row_state_size_max(1);
}

/* Moving all ----------------------------------------------------------------------------------- */

static void
on_retry(struct timer *timer, void *context)
{
    (void)timer;
    struct dead_letters *letters = context;
    struct list_link *link;
    while ((link = list_pop(&letters->waiting)) != NULL) {
        list_append(&letters->dying, link);
    }
}

static void
wait_for_memory(struct dead_letters *letters, struct queue_dying *dying)
{
    struct core *core = letters->core;
    core_give_up_dying_window(core, dying->queue);
    list_append(&letters->waiting, &dying->link);
    if (!timer_is_armed(&letters->retry)) {
        timer_arm(&core->timers, &letters->retry, core->now.monotonic_ms + CORE_DEATH_RETRY_MS,
                  on_retry, letters);
    }
}

/* While the disk is nearly full, or the log has more to write than it should, everything stays
 * where it is. */
static bool
may_move(const struct core *core)
{
    bool disk_is_low = core_has_log(core) && (core->alarms & ALARM_DISK) != 0;
    return !disk_is_low && !core_log_is_behind(core);
}

/* Whether the tick has something left for the queue. */
static bool
has_share(const struct core *core, struct queue_dying *dying)
{
    uint64_t tick = chunk_pool_tick(core->pool);
    if (dying->tick != tick) {
        dying->tick = tick;
        dying->tick_count = 0;
    }
    const struct dead_letters *letters = core->dead_letters;
    return dying->tick_count < CORE_DEATHS_PER_QUEUE && letters->octets_left > 0 &&
           letters->work_left > 0 && !core_has_worked(core);
}

/* Moves the first one, at the tick's expense. */
static enum moving
move_first(struct core *core, struct queue *queue)
{
    struct dead_letters *letters = core->dead_letters;
    struct moving_cost cost;
    enum moving moving = core_move_first_dead(core, queue, &letters->scratch, &cost);
    letters->octets_left -= cost.octets < letters->octets_left ? cost.octets : letters->octets_left;
    letters->work_left -= cost.work < letters->work_left ? cost.work : letters->work_left;
    core_spend(core, cost.work);
    return moving;
}

static enum moving
move_queue(struct core *core, struct queue *queue)
{
    enum moving moving = MOVING_DONE;
    while (moving == MOVING_DONE && queue_first_dying(queue) != NULL &&
           has_share(core, queue->dying) && may_move(core)) {
        queue->dying->tick_count++;
        core_take_time(core);
        moving = move_first(core, queue);
    }
    return moving;
}

bool
core_can_move_dead(const struct core *core)
{
    return !list_is_empty(&core->dead_letters->dying) && may_move(core);
}

void
core_begin_moving_dead(struct core *core)
{
    core->dead_letters->octets_left = CORE_DEATH_OCTETS_PER_TICK;
    core->dead_letters->work_left = CORE_DEATH_WORK_PER_TICK;
}

static void
give_up_windows(struct core *core)
{
    LIST_FOR_EACH(&core->dead_letters->all, link)
    {
        core_give_up_dying_window(core, CONTAINER_OF(link, struct queue_dying, all_link)->queue);
    }
}

void
core_move_dead(struct core *core)
{
    struct dead_letters *letters = core->dead_letters;
    if (!may_move(core)) {
        give_up_windows(core);
        return;
    }
    struct list left;
    list_init(&left);
    struct list_link *link;
    while ((link = list_pop(&letters->dying)) != NULL) {
        struct queue_dying *dying = CONTAINER_OF(link, struct queue_dying, link);
        struct queue *queue = queue_ref(dying->queue);
        enum moving moving = move_queue(core, queue);
        if (moving == MOVING_WAITS) {
            wait_for_memory(letters, dying);
        } else if (moving == MOVING_DONE && dying->count > 0) {
            list_append(&left, link);
        }
        queue_unref(&queue);
    }
    while ((link = list_pop(&left)) != NULL) {
        list_append(&letters->dying, link);
    }
}

void
core_dying_is_there(struct core *core, struct queue *queue)
{
    struct queue_dying *dying = queue->dying;
    if (dying != NULL && dying->count > 0 && !list_link_is_linked(&dying->link)) {
        list_append(&core->dead_letters->dying, &dying->link);
    }
}
