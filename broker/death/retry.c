/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/death/retry.h"

#include <inttypes.h>

#include "broker/channels/channel.h"
#include "broker/channels/failure_notes.h"
#include "broker/core/core_clock.h"
#include "broker/death/dead_letter.h"
#include "broker/death/retry_headers.h"
#include "broker/delivery/handing_out.h"
#include "broker/durability/durability.h"
#include "broker/topology/vhost.h"
#include "broker/upkeep/expiry.h"
#include "broker/upkeep/waiting.h"
#include "queues/clocks.h"
#include "store/recovery.h"

/* The log ------------------------------------------------------------------------------------- */

enum row_verdict
retry_row_verdict(enum retry_verdict verdict)
{
    switch (verdict) {
    case RETRY_NACK:
        return ROW_VERDICT_NACK;
    case RETRY_REJECT:
        return ROW_VERDICT_REJECT;
    case RETRY_LOST:
        return ROW_VERDICT_LOST;
    case RETRY_TIMEOUT:
        return ROW_VERDICT_TIMEOUT;
    case RETRY_NO_VERDICT:
    case RETRY_ANY_VERDICT:
        break;
    }
    return ROW_VERDICT_NONE;
}

static uint8_t
logged_level(const struct queue *queue, uint64_t position)
{
    return queue->level_max == 0 ? 0 : queue_logged_level(queue, position_level(position));
}

/* Writes down what is known now: what stood there before counts no more, so the deadline is said
 * again. `due_ms` is wall clock; 0: the message does not wait. */
static void
log_failure(struct core *core, struct queue *queue, const struct queue_entry *entry,
            struct failure_row *row, uint64_t due_ms)
{
    uint64_t deadline_ms = queue_deadline_ms(queue, entry, row->position);
    struct row_state state = {
        .due_ms = due_ms,
        .deadline_ms = deadline_ms == NEVER_MS ? 0 : core_wall_of_ms(core, (int64_t)deadline_ms),
        .arrival_ms = core_wall_of_ms(core, row->arrival_ms),
        .delivery_count = row->delivery_count,
        .acquired_count = row->acquired_count,
        .verdict = (uint8_t)retry_row_verdict((enum retry_verdict)row->verdict),
        .priority = logged_level(queue, row->position),
    };
    struct row_attempts attempts = failure_row_attempts(row);
    row->state_lsn = core_log_return(core, queue, entry, &state, &attempts, row->state_lsn);
}

/* Holding back -------------------------------------------------------------------------------- */

/* The row of the next message; NULL: it has none, or there is no message in memory. */
static struct failure_row *
head_failure(const struct queue *queue)
{
    const struct queue_entry *head = queue->ready_count == 0 ? NULL : queue_peek(queue);
    return head == NULL || !queue_entry_has_failed(head)
               ? NULL
               : queue_find_failure(queue, queue_head_position(queue));
}

static void
end_hold(struct core *core, struct queue *queue)
{
    queue->failures->held_position = 0;
    timer_cancel(&core->timers, &queue->failures->timer);
}

static void
on_hold_ends(struct timer *timer, void *context)
{
    struct queue_failures *failures = CONTAINER_OF(timer, struct queue_failures, timer);
    failures->held_position = 0;
    core_head_is_there(context, failures->queue);
}

/* Until the next message, which has a row, is due. */
static void
hold_head(struct core *core, struct queue *queue)
{
    const struct failure_row *row = head_failure(queue);
    queue->failures->held_position = row->position;
    timer_arm(&core->timers, &queue->failures->timer, core->base_ms + row->due_ms, on_hold_ends,
              core);
}

void
core_heed_hold(struct core *core, struct queue *queue)
{
    const struct queue_failures *failures = queue->failures;
    if (failures == NULL || failures->held_position == 0 ||
        (queue->ready_count > 0 && queue_head_position(queue) == failures->held_position)) {
        return;
    }
    end_hold(core, queue);
    core_head_is_there(core, queue);
}

static bool
is_over_limit(const struct queue *queue, const struct failure_row *row)
{
    int64_t limit = queue->settings->delivery_limit;
    return limit >= 0 && row->delivery_count > limit;
}

/* The head is over its limit, and there is no memory for more dead: it is looked at again later. */
static void
hold_for_memory(struct core *core, struct queue *queue)
{
    enum { RETRY_MS = 100 };
    queue->failures->held_position = queue_head_position(queue);
    timer_arm(&core->timers, &queue->failures->timer, core->now.monotonic_ms + RETRY_MS,
              on_hold_ends, core);
}

/* False: this tick has moved as many as it may; the queue is looked at again. */
static bool
may_move_head(struct core *core, struct queue *queue)
{
    if (core->deaths_left == 0) {
        (void)queue_times_of(queue);
        core_expire_soon(core, queue);
        return false;
    }
    core->deaths_left--;
    return true;
}

static void
drop_head(struct core *core, struct queue *queue)
{
    struct queue_entry entry;
    uint64_t position;
    bool taken = queue_pop(queue, &entry, &position);
    assert(taken);
    core_let_die(core, queue, &entry, position, DEATH_DELIVERY_LIMIT);
}

static bool
keeps_order(const struct queue *queue)
{
    return queue->settings->retry.order == RETRY_ORDER_HOLD;
}

/* The next message, which is not due, waits as others do: strict order is not kept any more, or
 * there was no memory when it came back. False: there is none. */
static bool
have_head_wait(struct core *core, struct queue *queue, uint64_t due_ms)
{
    struct queue_entry entry;
    uint64_t position;
    if (queue_lend(queue, &entry, &position) != STATUS_OK) {
        return false;
    }
    if (core_wait(core, queue, &entry, position, due_ms) != STATUS_OK) {
        queue_return(queue, &entry, position);
        return false;
    }
    queue_find_failure(queue, position)->due_ms = 0;
    return true;
}

/* A limit that was lowered, or a failure that was written down last before a crash: whoever is over
 * the limit is not handed out any more. */
bool
core_head_may_be_tried(struct core *core, struct queue *queue)
{
    const struct failure_row *row;
    while ((row = head_failure(queue)) != NULL) {
        bool is_over = is_over_limit(queue, row);
        if (!is_over && row->due_ms <= core_now_ms(core)) {
            break;
        }
        if (!is_over && keeps_order(queue)) {
            hold_head(core, queue);
            return false;
        }
        if (!may_move_head(core, queue)) {
            end_hold(core, queue); /* who asks waits for what comes behind it */
            return false;
        }
        if (is_over && core_reserve_deaths(queue, DEATH_DELIVERY_LIMIT, 1) != STATUS_OK) {
            hold_for_memory(core, queue);
            return false;
        }
        if (is_over) {
            drop_head(core, queue);
        } else if (!have_head_wait(core, queue, row->due_ms)) {
            hold_head(core, queue);
            return false;
        }
    }
    end_hold(core, queue);
    return true;
}

void
core_review_hold(struct core *core, struct queue *queue)
{
    if (core_head_is_held(queue) && !keeps_order(queue)) {
        end_hold(core, queue);
        core_head_is_there(core, queue);
    }
}

/* Coming back --------------------------------------------------------------------------------- */

/* A return of a message, on its way. */
struct coming_back {
    struct core *core;
    struct channel *channel;
    struct queue *queue;
    struct unacked *item;
    struct failure_row *row;
    bool is_counted;
};

static bool
counts(const struct queue *queue, enum retry_verdict verdict)
{
    return (queue->settings->retry.counts & verdict) != 0;
}

/* Without memory, which can only be missing for a queue that has begun to count since the message
 * was lent, it comes back uncounted. */
static bool
note_return(struct coming_back *back, enum retry_verdict verdict)
{
    struct unacked *item = back->item;
    if (queue_add_failure(back->queue, item->position, &back->row) != STATUS_OK) {
        return false;
    }
    struct failure_row *row = back->row;
    if (row->acquired_count == 0) {
        row->arrival_ms = (int64_t)queue_arrival_ms(back->queue, item->position);
    }
    row->acquired_count += row->acquired_count < UINT32_MAX ? 1 : 0;
    row->due_ms = 0;
    row->verdict = verdict == RETRY_NO_VERDICT ? row->verdict : (uint8_t)verdict;
    queue_entry_set_flag(&item->entry, ENTRY_HAS_FAILED);
    back->is_counted = counts(back->queue, verdict);
    if (back->is_counted) {
        failure_row_count(row, core_now_ms(back->core), verdict);
        queue_keep_no_note(back->queue, row, row->delivery_count);
        back->queue->failures->failed_count++;
        back->core->counters.failed++;
    }
    return true;
}

static bool
is_too_old(const struct coming_back *back)
{
    int64_t max_age_ms = back->queue->settings->retry.max_age_ms;
    return max_age_ms >= 0 && (int64_t)core_now_ms(back->core) - back->row->arrival_ms > max_age_ms;
}

/* The failure is written down first, so that a crash before the message has gone where it goes does
 * not have it tried once more. */
static void
let_die(const struct coming_back *back)
{
    struct unacked *item = back->item;
    log_failure(back->core, back->queue, &item->entry, back->row, 0);
    struct failure *failure =
        back->channel->notes == NULL
            ? NULL
            : channel_end_failed(back->channel, item->tag,
                                 retry_row_verdict((enum retry_verdict)back->row->verdict));
    queue_settle(back->queue, &item->entry, item->position);
    core_let_failed_die(back->core, back->queue, &item->entry, item->position, DEATH_DELIVERY_LIMIT,
                        failure);
}

/* 0: it is tried again at once. Drawn once; what comes of it is written down. */
static uint64_t
draw_delay_ms(const struct coming_back *back)
{
    const struct retry_settings *settings = &back->queue->settings->retry;
    const struct failure_row *row = back->row;
    if (!retry_waits(settings, back->is_counted)) {
        return 0;
    }
    uint32_t number = back->is_counted ? row->delivery_count : row->acquired_count;
    return retry_delay_ms(settings, number, random_u64(&back->core->ports.random));
}

void
core_give_back(struct core *core, struct unacked *item)
{
    queue_return(item->queue, &item->entry, item->position);
    core_watch_returned(core, item->queue, &item->entry, item->position);
    core_heed_hold(core, item->queue);
}

/* What is to keep strict order, and what there is no memory for, waits at its place. */
static void
wait_for_retry(const struct coming_back *back, uint64_t delay_ms)
{
    struct core *core = back->core;
    struct queue *queue = back->queue;
    struct unacked *item = back->item;
    uint64_t due_ms = core_now_ms(core) + delay_ms;
    log_failure(core, queue, &item->entry, back->row, core_wall_of_ms(core, (int64_t)due_ms));
    queue->failures->retried_count++;
    core->counters.retried++;
    if (keeps_order(queue) ||
        core_wait(core, queue, &item->entry, item->position, due_ms) != STATUS_OK) {
        back->row->due_ms = due_ms + core->now.begun_ms;
        core_give_back(core, item);
    }
}

void
channel_return_counted(struct channel *channel, struct unacked *item, enum retry_verdict verdict)
{
    struct core *core = channel_core(channel);
    struct coming_back back = {
        .core = core, .channel = channel, .queue = item->queue, .item = item};
    if (!note_return(&back, verdict)) {
        core_give_back(core, item);
        return;
    }
    if (back.is_counted && (is_over_limit(back.queue, back.row) || is_too_old(&back)) &&
        core_reserve_deaths(back.queue, DEATH_DELIVERY_LIMIT, 1) == STATUS_OK) {
        let_die(&back);
        return;
    }
    if (verdict != RETRY_NO_VERDICT) {
        channel_keep_note(channel, item, back.row, back.is_counted ? back.row->delivery_count : 0);
    }
    uint64_t delay_ms = draw_delay_ms(&back);
    if (delay_ms > 0) {
        wait_for_retry(&back, delay_ms);
        return;
    }
    if (back.is_counted) {
        log_failure(core, back.queue, &item->entry, back.row, 0);
    }
    core_give_back(core, item);
}

/* Handing out --------------------------------------------------------------------------------- */

enum status
core_show_head(struct core *core, struct queue *queue, uint32_t frame_max,
               struct content_ref *copy_out)
{
    const struct failure_row *row = head_failure(queue);
    if (row == NULL || row->acquired_count == 0) {
        return STATUS_OK;
    }
    return core_copy_with_failures(core, queue_peek(queue)->content, row, frame_max, copy_out);
}

/* Leaving ------------------------------------------------------------------------------------- */

uint64_t
core_end_failures(struct core *core, struct queue *queue, uint64_t position)
{
    struct failure_row row = {0};
    (void)queue_take_failure(queue, position, &row);
    core_heed_hold(core, queue);
    return row.state_lsn;
}

/* Without the message: what it was in is released elsewhere. */
static void
forget_row(struct core *core, struct queue *queue, uint64_t position)
{
    struct failure_row row;
    if (queue_take_failure(queue, position, &row)) {
        core_log_end_state(core, queue, row.state_lsn);
    }
}

static void
forget_returned(struct core *core, struct queue *queue)
{
    for (uint32_t i = 0; i < queue->returned_count; i++) {
        if (queue_returned_entry(queue, i) != NULL) {
            forget_row(core, queue, queue_returned_position(queue, i));
        }
    }
}

/* Those that were restored, and have not been handed out since, stand in a deque. */
static bool
is_in_deque(const struct queue *queue, const struct failure_row *row)
{
    return row->is_in_deque && row->position >= queue_first_position_of(queue, row->position);
}

static void
forget_restored(struct core *core, struct queue *queue)
{
    uint32_t at = 0;
    for (struct failure_row *row; (row = queue_next_failure(queue, &at)) != NULL;) {
        if (is_in_deque(queue, row)) {
            forget_row(core, queue, row->position);
            at--;
        }
    }
}

void
core_purge_failures(struct core *core, struct queue *queue)
{
    if (queue->failures == NULL) {
        return;
    }
    forget_returned(core, queue);
    forget_restored(core, queue);
}

void
core_purge_waiting_failures(struct core *core, struct queue *queue)
{
    if (queue->waiting == NULL || queue->failures == NULL) {
        return;
    }
    struct due_cursor cursor = due_index_seek(&queue->waiting->index, &(struct due_key){0});
    for (const struct due_row *row; (row = due_cursor_next(&cursor)) != NULL;) {
        if (queue_entry_has_failed(&row->entry)) {
            forget_row(core, queue, row->key.position);
        }
    }
}

void
core_stop_retries(struct core *core, struct queue *queue)
{
    if (queue->failures != NULL) {
        end_hold(core, queue);
    }
}

/* Restoring ------------------------------------------------------------------------------------ */

/* In the clock of times.h; 0: over. */
static uint64_t
due_of_wall(const struct core *core, uint64_t wall_ms)
{
    if (wall_ms >= INT64_MAX) {
        return PARKED_MS;
    }
    int64_t left_ms = (int64_t)wall_ms - core->now.wall_ms;
    return left_ms <= 0 ? 0 : core_now_ms(core) + (uint64_t)left_ms;
}

static enum retry_verdict
restored_verdict(uint8_t verdict)
{
    static const enum retry_verdict verdicts[] = {
        [ROW_VERDICT_NONE] = RETRY_NO_VERDICT, [ROW_VERDICT_NACK] = RETRY_NACK,
        [ROW_VERDICT_REJECT] = RETRY_REJECT,   [ROW_VERDICT_LOST] = RETRY_LOST,
        [ROW_VERDICT_TIMEOUT] = RETRY_TIMEOUT,
    };
    return verdict < ARRAY_LEN(verdicts) ? verdicts[verdict] : RETRY_NO_VERDICT;
}

static void
fill_row(struct core *core, struct failure_row *row, const struct recovered_row *recovered)
{
    const struct row_state *state = &recovered->state;
    row->state_lsn = recovered->state_lsn;
    row->arrival_ms = (int64_t)core_now_ms(core) + ((int64_t)state->arrival_ms - core->now.wall_ms);
    row->delivery_count = state->delivery_count;
    row->acquired_count = state->acquired_count;
    row->verdict = (uint8_t)restored_verdict(state->verdict);
    failure_row_restore(row, &recovered->attempts);
}

/* At its level, behind those that stand there. What is parked has no deadline any more. */
static enum status
push_restored(struct core *core, struct queue *queue, struct queue_entry *entry,
              const struct recovered_row *recovered)
{
    const struct row_state *state = &recovered->state;
    uint8_t level = queue_level_from_log(queue, state->priority);
    struct failure_row *row;
    if (queue_open_level(queue, level) != STATUS_OK) {
        return STATUS_NO_MEMORY;
    }
    queue_turn_to_level(queue, level);
    if (queue_add_failure(queue, queue->next_position, &row) != STATUS_OK) {
        return STATUS_NO_MEMORY;
    }
    fill_row(core, row, recovered);
    return state->deadline_ms == 0 || state->due_ms >= INT64_MAX
               ? queue_push(queue, entry)
               : core_restore_mortal(core, queue, entry, state->deadline_ms);
}

/* It was pushed last. Where strict order is kept, it waits at its place. */
static enum status
wait_again(struct core *core, struct queue *queue, uint64_t due_ms)
{
    struct queue_entry entry;
    uint64_t position = queue->next_position - 1;
    struct failure_row *row = queue_find_failure(queue, position);
    bool is_held = keeps_order(queue) && due_ms != PARKED_MS;
    row->is_in_deque = due_ms <= core_now_ms(core) || is_held;
    row->due_ms = is_held ? due_ms + core->now.begun_ms : 0;
    if (row->is_in_deque) {
        return STATUS_OK;
    }
    if (queue_lend_last(queue, &entry, &position) != STATUS_OK) {
        return STATUS_NO_MEMORY;
    }
    if (core_wait(core, queue, &entry, position, due_ms) != STATUS_OK) {
        queue_return(queue, &entry, position);
        return STATUS_NO_MEMORY;
    }
    return STATUS_OK;
}

enum status
core_restore_failed(struct core *core, struct queue *queue, struct queue_entry *entry,
                    const struct recovered_row *recovered)
{
    queue_entry_set_flag(entry, ENTRY_HAS_FAILED);
    if (recovered->state.acquired_count > 0) {
        queue_entry_set_flag(entry, ENTRY_REDELIVERED);
    }
    enum status status = push_restored(core, queue, entry, recovered);
    if (status == STATUS_OK) {
        status = wait_again(core, queue, due_of_wall(core, recovered->state.due_ms));
    }
    queue_serve_highest(queue);
    return status;
}

/* Quarantine ---------------------------------------------------------------------------------- */

/* Once for each queue: there may be many. */
static void
tell(struct core *core, struct queue *queue, const struct failure_row *row)
{
    char text[QUEUE_FIELDS_SIZE];
    if (queue->failures->has_told) {
        return;
    }
    queue->failures->has_told = true;
    log_limited(core->log, LOG_LEVEL_WARN, "queue.quarantined",
                "%s failures=%" PRIu32 " verdict=%s "
                "why=\"over the delivery limit, and no dead-letter exchange takes it\"",
                vhost_queue_fields(queue, text), row->delivery_count,
                retry_verdict_name((enum retry_verdict)row->verdict));
}

enum status
core_park(struct core *core, struct queue *queue, const struct dying_message *message)
{
    struct queue_entry entry = message->entry;
    entry.due = DUE_NONE; /* nobody waits for its time any more */
    queue_entry_clear_flag(&entry, ENTRY_INDEXED);
    if (queue_lend_again(queue, &entry, message->position) != STATUS_OK) {
        return STATUS_NO_MEMORY;
    }
    if (core_wait(core, queue, &entry, message->position, PARKED_MS) != STATUS_OK) {
        queue_settle(queue, &entry, message->position);
        return STATUS_NO_MEMORY;
    }
    struct failure_row *row = queue_find_failure(queue, message->position);
    assert(row != NULL);
    row->due_ms = 0; /* it may have been held back when the limit was lowered */
    log_failure(core, queue, &entry, row, INT64_MAX);
    queue->failures->quarantined_count++;
    core->counters.quarantined++;
    tell(core, queue, row);
    return STATUS_OK;
}

/* How often it was handed out stays true. */
void
core_forgive(struct core *core, struct queue *queue, const struct queue_entry *entry,
             uint64_t position)
{
    struct failure_row *row =
        queue_entry_has_failed(entry) ? queue_find_failure(queue, position) : NULL;
    if (row == NULL) {
        return;
    }
    failure_row_forgive(row);
    queue_forget_history(queue, row);
    log_failure(core, queue, entry, row, 0);
}
