/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/durability/durability.h"

#include "base/alloc.h"
#include "broker/channels/commit_wait.h"
#include "broker/connections/connection.h"
#include "broker/death/retry.h"
#include "broker/delivery/handing_out.h"
#include "broker/publishing/publish.h"
#include "broker/upkeep/expiry.h"
#include "broker/upkeep/limits.h"
#include "broker/upkeep/waiting.h"

#include <stdlib.h>

enum { LOG_TARGETS_FIRST = 16, LOG_STATES_FIRST = 4 };

void
core_attach_store(struct core *core, struct journal *journal, struct space *space)
{
    core->journal = journal;
    core->space = space;
}

/* Tokens --------------------------------------------------------------------------------------- */

uint64_t
core_log_token(const struct core *core)
{
    return core->journal == NULL ? 0 : journal_token(core->journal);
}

bool
core_is_committed(const struct core *core, uint64_t token)
{
    return core->journal == NULL ||
           journal_token_is_committed(token, journal_commit_lsn(core->journal));
}

/* Messages ------------------------------------------------------------------------------------- */

/* A quorum queue keeps every message, whatever its delivery mode. */
bool
core_logs(const struct core *core, const struct queue *queue, const struct content *content)
{
    return core->journal != NULL && queue->durable &&
           ((content->flags & CONTENT_PERSISTENT) != 0 ||
            queue->settings->type == QUEUE_TYPE_QUORUM);
}

void
core_log_begin(struct core *core, const struct content *content, uint64_t expiration)
{
    core->log_content = content;
    core->log_target_count = 0;
    core->log_state_count = 0;
    core->log_expiration = expiration;
}

/* Room for a list of so many queues. */
static enum status
reserve_targets(struct core *core, uint32_t count)
{
    if (count <= core->log_target_capacity) {
        return STATUS_OK;
    }
    uint32_t capacity =
        core->log_target_capacity == 0 ? LOG_TARGETS_FIRST : core->log_target_capacity * 2;
    capacity = capacity < count ? count : capacity;
    uint64_t *targets = try_realloc(core->log_targets, capacity * sizeof(*targets));
    if (targets == NULL) {
        return STATUS_NO_MEMORY;
    }
    core->log_targets = targets;
    core->log_target_capacity = capacity;
    return STATUS_OK;
}

static inline enum status
add_target(struct core *core, const struct queue *queue, bool may_go_at_once)
{
    if (reserve_targets(core, core->log_target_count + 1) != STATUS_OK) {
        return STATUS_NO_MEMORY;
    }
    core->log_targets[core->log_target_count++] =
        queue->target.id | (may_go_at_once ? RECORD_QUEUE_HANDED_OUT : 0);
    return STATUS_OK;
}

static enum status
reserve_states(struct core *core, uint32_t count)
{
    if (count <= core->log_state_capacity) {
        return STATUS_OK;
    }
    uint32_t capacity =
        core->log_state_capacity == 0 ? LOG_STATES_FIRST : core->log_state_capacity * 2;
    capacity = capacity < count ? count : capacity;
    struct journal_state *states = try_realloc(core->log_states, capacity * sizeof(*states));
    if (states == NULL) {
        return STATUS_NO_MEMORY;
    }
    core->log_states = states;
    core->log_state_capacity = capacity;
    return STATUS_OK;
}

/* Whether the last of the states is that of the targets right before the newest, and the same. */
static bool
shares_last_state(const struct core *core, const struct row_state *state)
{
    if (core->log_state_count == 0) {
        return false;
    }
    const struct journal_state *last = &core->log_states[core->log_state_count - 1];
    return last->first + last->count == core->log_target_count - 1 &&
           row_state_equals(&last->state, state);
}

/* Without anything that the log keeps of it. */
static enum status
add_plain_target(struct core *core, const struct queue *queue)
{
    return add_target(core, queue, queue_has_ready_consumer(queue));
}

static enum status
add_target_with(struct core *core, const struct queue *queue, const struct row_state *state)
{
    bool may_go_at_once = state->due_ms == 0 && queue_has_ready_consumer(queue);
    if (reserve_states(core, core->log_state_count + 1) != STATUS_OK ||
        add_target(core, queue, may_go_at_once) != STATUS_OK) {
        return STATUS_NO_MEMORY;
    }
    if (shares_last_state(core, state)) {
        core->log_states[core->log_state_count - 1].count++;
    } else {
        core->log_states[core->log_state_count++] = (struct journal_state){
            .state = *state, .first = core->log_target_count - 1, .count = 1};
    }
    return STATUS_OK;
}

/* What the log keeps of the level at which the content stands in the queue. */
static uint8_t
logged_level(const struct queue *queue, const struct content *content)
{
    return queue->level_max == 0 ? 0 : queue_logged_level(queue, content_level(content, queue));
}

bool
core_log_keeps_state(const struct queue *queue, const struct content *content, uint64_t expiration)
{
    return !queue_is_endless(queue, expiration) || logged_level(queue, content) != 0;
}

enum status
core_log_target_with(struct core *core, const struct queue *queue, const struct row_state *state)
{
    struct row_state full = state == NULL ? (struct row_state){0} : *state;
    if (!queue_is_endless(queue, core->log_expiration)) {
        full.deadline_ms = full.due_ms == 0
                               ? core_wall_deadline_ms(core, queue, core->log_expiration)
                               : full.due_ms + queue_time_to_live_ms(queue, core->log_expiration);
    }
    full.priority = logged_level(queue, core->log_content);
    return row_state_is_empty(&full) ? add_plain_target(core, queue)
                                     : add_target_with(core, queue, &full);
}

enum status
core_log_delayed_target(struct core *core, const struct queue *queue, uint64_t row_due_ms)
{
    struct row_state state = {.due_ms = core_wall_of_row_ms(core, row_due_ms)};
    return core_log_target_with(core, queue, &state);
}

enum status
core_log_target(struct core *core, const struct queue *queue)
{
    return core_log_keeps_state(queue, core->log_content, core->log_expiration)
               ? core_log_target_with(core, queue, NULL)
               : add_plain_target(core, queue);
}

/* What the list takes in the log, at most. */
static size_t
list_octets(const struct core *core)
{
    size_t octets = record_publish_size(core->log_target_count);
    for (uint32_t i = 0; i < core->log_state_count; i++) {
        octets += record_row_state_size_max(core->log_states[i].count);
    }
    return octets;
}

enum status
core_log_publish(struct core *core, struct content_ref ref, uint64_t *lsn_out)
{
    *lsn_out = 0;
    if (core->log_target_count == 0) {
        return STATUS_OK;
    }
    const struct content *content = chunk_pool_content(core->pool, ref);
    if (!journal_fits(core->journal, content_octets(content) + RECORD_ALIGNMENT,
                      list_octets(core))) {
        return STATUS_FULL;
    }
    enum status status =
        core->log_state_count == 0
            ? journal_publish(core->journal, ref, core->log_targets, core->log_target_count,
                              lsn_out)
            : journal_publish_with(core->journal, ref, core->log_targets, core->log_target_count,
                                   core->log_states, core->log_state_count, lsn_out);
    if (status == STATUS_OK) {
        space_add_rows(core->space, *lsn_out, core->log_target_count,
                       core->log_target_count * space_row_octets(content->body_size));
    }
    return status;
}

bool
core_log_fits(const struct core *core, const struct log_need *need)
{
    return !core_has_log(core) ||
           journal_fits(core->journal, need->content_octets, need->record_octets);
}

enum status
core_log_reserve(struct core *core, const struct log_need *need)
{
    if (!core_has_log(core)) {
        return STATUS_OK;
    }
    if (!journal_fits(core->journal, need->content_octets, need->record_octets)) {
        return STATUS_FULL;
    }
    if (reserve_targets(core, need->targets_max) != STATUS_OK ||
        reserve_states(core, need->states_max) != STATUS_OK) {
        return STATUS_NO_MEMORY;
    }
    return journal_reserve_publishes(core->journal, need->publish_count, need->content_octets,
                                     need->record_octets);
}

void
core_log_discarded_with(struct core *core, uint64_t queue_id, const struct queue_entry *entry,
                        uint64_t state_lsn)
{
    uint64_t lsn = queue_entry_lsn(entry);
    if (lsn == 0 || core->journal == NULL) {
        return;
    }
    uint64_t batch_lsn = 0;
    if (queue_id != 0) {
        journal_remove(core->journal, queue_id, lsn);
        batch_lsn = journal_open_lsn(core->journal);
    }
    space_remove_row(core->space, lsn, space_row_octets(entry->size), batch_lsn);
    if (state_lsn != 0) {
        space_remove_state(core->space, state_lsn, batch_lsn);
    }
}

void
core_log_discarded(struct core *core, uint64_t queue_id, const struct queue_entry *entry)
{
    core_log_discarded_with(core, queue_id, entry, 0);
}

void
core_log_removal_with(struct core *core, const struct queue *queue, const struct queue_entry *entry,
                      uint64_t state_lsn)
{
    core_log_discarded_with(core, queue->deleted ? 0 : queue->target.id, entry, state_lsn);
}

void
core_log_end_state(struct core *core, const struct queue *queue, uint64_t state_lsn)
{
    if (state_lsn != 0 && core->journal != NULL) {
        space_remove_state(core->space, state_lsn,
                           queue->deleted ? 0 : journal_open_lsn(core->journal));
    }
}

uint64_t
core_log_return(struct core *core, const struct queue *queue, const struct queue_entry *entry,
                const struct row_state *state, const struct row_attempts *attempts,
                uint64_t state_lsn)
{
    uint64_t lsn = queue_entry_lsn(entry);
    if (lsn == 0 || core->journal == NULL || queue->deleted) {
        return state_lsn;
    }
    uint64_t new_lsn = journal_return(core->journal, queue->target.id, lsn, state, attempts);
    space_add_state(core->space, new_lsn);
    if (state_lsn != 0) {
        space_remove_state(core->space, state_lsn, journal_open_lsn(core->journal));
    }
    return new_lsn;
}

/* Topology ------------------------------------------------------------------------------------- */

enum status
core_prepare_record(struct core *core, uint64_t text_octets)
{
    uint64_t octets = CORE_RECORD_FIXED + text_octets;
    if (!core_has_log(core)) {
        return STATUS_OK;
    }
    if (!journal_fits(core->journal, 0, octets)) {
        return STATUS_FULL;
    }
    buffer_clear(&core->record);
    return buffer_reserve(&core->record, octets) != NULL ? STATUS_OK : STATUS_NO_MEMORY;
}

struct buffer *
core_begin_record(struct core *core)
{
    buffer_clear(&core->record);
    return &core->record;
}

void
core_log_record(struct core *core)
{
    if (!core_has_log(core)) {
        return;
    }
    assert(!core->record.failed);
    journal_put(core->journal, buffer_bytes(&core->record));
    space_add_topology(core->space, journal_open_lsn(core->journal));
    core->topology_token = journal_token(core->journal);
}

void
core_log_together(struct core *core, uint64_t record_octets)
{
    if (core_has_log(core) && journal_fits(core->journal, 0, record_octets)) {
        journal_reserve(core->journal, 0, record_octets);
    }
}

/* The loop ------------------------------------------------------------------------------------- */

static void
on_flush_timer(struct timer *timer, void *context)
{
    (void)timer;
    struct core *core = context;
    core->wants_flush = true;
}

static void
on_write_timer(struct timer *timer, void *context)
{
    (void)timer;
    struct core *core = context;
    core->wants_write = journal_is_open(core->journal);
}

/* The deadline is that of the first record that waits. */
static void
seal_later(struct core *core)
{
    if (!timer_is_armed(&core->write_timer)) {
        timer_arm(&core->timers, &core->write_timer, core->now.monotonic_ms + CORE_WRITE_WAIT_MS,
                  on_write_timer, core);
    }
}

void
core_seal_tick(struct core *core)
{
    struct journal *journal = core->journal;
    if (journal == NULL) {
        return;
    }
    if (!core->wants_flush && !core->wants_write && journal_can_wait(journal)) {
        seal_later(core);
        return;
    }
    (void)journal_seal(journal, core->wants_flush);
    core->wants_flush = false;
    core->wants_write = false;
    if (journal_wants_flush(journal) && !timer_is_armed(&core->flush_timer)) {
        timer_arm(&core->timers, &core->flush_timer, core->now.monotonic_ms + CORE_FLUSH_WAIT_MS,
                  on_flush_timer, core);
    }
}

bool
core_wants_seal(const struct core *core)
{
    if (core->journal == NULL) {
        return false;
    }
    bool has_deadline = timer_is_armed(&core->write_timer);
    bool is_due = core->wants_write || !has_deadline || !journal_can_wait(core->journal);
    return core->wants_flush || (journal_is_open(core->journal) && is_due);
}

bool
core_log_is_behind(const struct core *core)
{
    return core->journal != NULL && journal_backlog_octets(core->journal) > CORE_LOG_BACKLOG_OCTETS;
}

void
connection_heed_log(struct connection *connection)
{
    if (core_log_is_behind(connection->core) &&
        !list_link_is_linked(&connection->log_paused_link)) {
        list_append(&connection->core->log_paused, &connection->log_paused_link);
        connection_pause(connection, PAUSE_LOG);
    }
}

static void
resume_publishers(struct core *core)
{
    if (journal_backlog_octets(core->journal) > CORE_LOG_BACKLOG_OCTETS / 2) {
        return;
    }
    struct list_link *link;
    while ((link = list_pop(&core->log_paused)) != NULL) {
        connection_resume(CONTAINER_OF(link, struct connection, log_paused_link), PAUSE_LOG);
    }
}

void
core_on_written(struct core *core)
{
    core_note_marks_written(core, journal_written_lsn(core->journal));
    resume_publishers(core);
}

void
core_on_committed(struct core *core)
{
    struct list looked_at;
    list_init(&looked_at);
    struct list_link *link;
    while ((link = list_pop(&core->awaiting_commit)) != NULL) {
        list_append(&looked_at, link);
        channel_on_commit(CONTAINER_OF(link, struct channel, commit_link));
    }
    while ((link = list_pop(&looked_at)) != NULL) {
        list_append(&core->awaiting_commit, link);
    }
}

/* Recovery ------------------------------------------------------------------------------------- */

/* At its level; behind those that stand there. */
static enum status
restore_entry(struct core *core, struct queue *queue, struct queue_entry *entry,
              const struct row_state *state)
{
    uint8_t level = queue_level_from_log(queue, state->priority);
    if (queue_open_level(queue, level) != STATUS_OK) {
        return STATUS_NO_MEMORY;
    }
    queue_turn_to_level(queue, level);
    enum status status = state->deadline_ms == 0
                             ? queue_push(queue, entry)
                             : core_restore_mortal(core, queue, entry, state->deadline_ms);
    queue_serve_highest(queue);
    return status;
}

/* It has failed before, or waits for its next try: only of such messages the log says so. */
static bool
has_come_back(const struct row_state *state)
{
    return state->acquired_count > 0 || state->delivery_count > 0 ||
           state->verdict != ROW_VERDICT_NONE;
}

static enum status
restore_row(struct core *core, struct queue *queue, struct queue_entry *entry,
            const struct recovered_row *row)
{
    if (has_come_back(&row->state) || row->state_lsn != 0) {
        return core_restore_failed(core, queue, entry, row);
    }
    return row->state.due_ms != 0 ? core_restore_delayed(core, queue, entry, &row->state)
                                  : restore_entry(core, queue, entry, &row->state);
}

/* Has what is pushed come when the message came, as far as that is known; returns what the time
 * was. */
static int64_t
go_back_to_arrival(struct core *core, uint64_t arrival_ms)
{
    int64_t now_ms = core->queue_memory.now_ms;
    int64_t age_ms = core->now.wall_ms - (int64_t)arrival_ms;
    core->queue_memory.now_ms -= arrival_ms != 0 && age_ms > 0 ? age_ms : 0;
    return now_ms;
}

enum status
core_restore_row(void *context, const struct recovered_row *row)
{
    struct core *core = context;
    struct queue *queue = core_find_queue_by_id(core, row->queue);
    if (queue == NULL) {
        return STATUS_CORRUPT;
    }
    uint8_t flags = ENTRY_PERSISTENT | (row->was_handed_out ? ENTRY_REDELIVERED : 0);
    struct queue_entry entry = {
        .lsn_and_flags = queue_entry_pack(row->lsn, flags),
        .size = row->body_size,
    };
    int64_t now_ms = go_back_to_arrival(core, row->arrival_ms);
    enum status status = restore_row(core, queue, &entry, row);
    core->queue_memory.now_ms = now_ms;
    if (status != STATUS_OK) {
        return STATUS_NO_MEMORY;
    }
    core_heed_limit(core, queue);
    return STATUS_OK;
}
