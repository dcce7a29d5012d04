/* SPDX-License-Identifier: Apache-2.0 */
#include "queues/expiry.h"

#include "base/alloc.h"
#include "queues/clocks.h"
#include "queues/waiting.h"

#include <stdlib.h>

/* Rows of lent messages that one call passes over. */
enum { LENT_ROWS_MAX = 256 };

/* Life ----------------------------------------------------------------------------------------- */

static bool
is_empty(const struct queue *queue)
{
    return queue->ready_count == 0 && queue->unacked_count == 0 &&
           (queue->waiting == NULL || queue->waiting->counts[WAITING_RETRY] == 0);
}

struct queue_times *
queue_times_of(struct queue *queue)
{
    struct queue_times *times = queue->times;
    if (times == NULL) {
        times = xalloc(sizeof(*times));
        times->queue = queue;
        times->order.latest_ms = is_empty(queue) ? 0 : NEVER_MS;
        for (unsigned i = 0; queue->levels != NULL && i <= queue->level_max; i++) {
            queue->levels->of[i].order = times->order;
        }
        queue->times = times;
    }
    return times;
}

/* Call with what the indexes took before they were changed. */
static void
count_memory(struct queue *queue, uint64_t before)
{
    entry_deque_count_memory(&queue->deque, before, queue_times_bytes(queue->times));
}

static void
forget_rows(struct queue *queue)
{
    struct queue_times *times = queue->times;
    uint64_t before = queue_times_bytes(times);
    due_index_fini(&times->index);
    due_index_fini(&times->far);
    count_memory(queue, before);
}

/* Which of those that came back have died: as long as one of those stands there, nothing else says
 * that it does not live. */
static void
forget_dead_returned(struct queue *queue)
{
    uint64_t before = queue_times_bytes(queue->times);
    due_index_fini(&queue->times->dead_returned);
    count_memory(queue, before);
}

void
queue_forget_times(struct queue *queue)
{
    struct queue_times *times = queue->times;
    if (times == NULL) {
        return;
    }
    assert(!timer_is_armed(&times->timer));
    assert(!timer_is_armed(&times->lease));
    assert(!list_link_is_linked(&times->link));
    forget_rows(queue);
    forget_dead_returned(queue);
    free(times);
    queue->times = NULL;
}

/* Deadlines ------------------------------------------------------------------------------------ */

static bool
is_indexed(const struct queue_entry *entry)
{
    return (queue_entry_flags(entry) & ENTRY_INDEXED) != 0;
}

uint64_t
queue_deadline_ms(const struct queue *queue, const struct queue_entry *entry, uint64_t position)
{
    if (entry->due == DUE_NONE) {
        return NEVER_MS;
    }
    if (entry->due != DUE_FAR) {
        return (uint64_t)entry->due * DUE_STEP_MS;
    }
    const struct due_row *row =
        due_index_find(&queue->times->far, &(struct due_key){.position = position});
    assert(row != NULL);
    return row->entry.content.bits;
}

uint64_t
queue_head_deadline_ms(const struct queue *queue)
{
    const struct queue_entry *head = queue_peek(queue);
    return head == NULL ? NEVER_MS : queue_deadline_ms(queue, head, queue_head_position(queue));
}

static uint64_t
first_row_ms(const struct queue *queue)
{
    const struct due_row *row = due_index_first(&queue->times->index);
    return row == NULL ? NEVER_MS : row->key.due_ms;
}

/* Of the oldest messages of all levels; in a queue with one they are the head, or stand behind what
 * has come back: from the quarantine also without a deadline. */
static uint64_t
levels_deadline_ms(const struct queue *queue, uint8_t *level_out)
{
    *level_out = 0;
    bool has_others = queue->levels != NULL || queue->returned_count > 0;
    return has_others ? queue_levels_deadline_ms(queue, level_out) : NEVER_MS;
}

static uint64_t
earlier(uint64_t a_ms, uint64_t b_ms)
{
    return a_ms < b_ms ? a_ms : b_ms;
}

uint64_t
queue_next_deadline_ms(const struct queue *queue)
{
    uint8_t level;
    return earlier(first_row_ms(queue),
                   earlier(queue_head_deadline_ms(queue), levels_deadline_ms(queue, &level)));
}

/* Rows ----------------------------------------------------------------------------------------- */

static enum status
add_far(struct queue_times *times, uint64_t due_ms, uint64_t position)
{
    struct due_row row = {.key = {.position = position}, .entry.content.bits = due_ms};
    return due_index_add(&times->far, &row);
}

static void
take_far(struct queue_times *times, uint64_t position)
{
    struct due_row row;
    (void)due_index_take(&times->far, &(struct due_key){.position = position}, &row);
}

static enum status
add_row(struct queue *queue, uint64_t due_ms, uint64_t position, const struct queue_entry *entry)
{
    uint64_t before = queue_times_bytes(queue->times);
    struct due_row row = {.key = {.due_ms = due_ms, .position = position}, .entry = *entry};
    enum status status = due_index_add(&queue->times->index, &row);
    count_memory(queue, before);
    return status;
}

static struct due_row *
find_row(const struct queue *queue, const struct queue_entry *entry, uint64_t position)
{
    struct due_key key = {.due_ms = queue_deadline_ms(queue, entry, position),
                          .position = position};
    return due_index_find(&queue->times->index, &key);
}

/* The row may be gone: the message came due while it was lent, or the queue was purged. */
static void
drop_row(struct queue *queue, const struct due_key *key)
{
    struct due_row row;
    uint64_t before = queue_times_bytes(queue->times);
    (void)due_index_take(&queue->times->index, key, &row);
    count_memory(queue, before);
}

/* Coming --------------------------------------------------------------------------------------- */

/* Nobody is in the queue: what is known of the past counts no more. */
static void
begin_anew(struct queue *queue)
{
    if (queue_times_bytes(queue->times) > 0) {
        forget_rows(queue);
        if (queue->returned_count == 0) {
            forget_dead_returned(queue);
        }
    }
    queue->times->order.latest_ms = 0;
    queue->times->is_out_of_order = false;
}

void
queue_times_on_endless(struct queue *queue)
{
    if (is_empty(queue)) {
        begin_anew(queue);
    }
    queue->times->order.latest_ms = NEVER_MS;
}

/* Sets `due`; returns the deadline that it stands for. */
static uint64_t
set_due(struct queue_entry *entry, uint64_t due_ms)
{
    uint64_t steps = due_ms / DUE_STEP_MS + (due_ms % DUE_STEP_MS != 0 ? 1 : 0);
    steps = steps == 0 ? DUE_AT_ONCE : steps;
    entry->due = steps < DUE_FAR ? (uint32_t)steps : DUE_FAR;
    return steps * DUE_STEP_MS;
}

/* A deadline that is far away and cannot be noted is none: false. */
static bool
note_far(struct queue *queue, struct queue_entry *entry, uint64_t position, uint64_t due_ms)
{
    uint64_t before = queue_times_bytes(queue->times);
    if (entry->due == DUE_FAR && add_far(queue->times, due_ms, position) != STATUS_OK) {
        entry->due = DUE_NONE;
        return false;
    }
    count_memory(queue, before);
    queue_entry_set_flag(entry, ENTRY_INDEXED);
    return true;
}

static void
index_next(struct queue *queue, struct queue_entry *entry, uint64_t due_ms)
{
    uint64_t position = queue->next_position;
    if (!note_far(queue, entry, position, due_ms)) {
        return;
    }
    if (add_row(queue, due_ms, position, entry) != STATUS_OK) {
        queue_entry_clear_flag(entry, ENTRY_INDEXED);
    }
}

/* The latest deadline so far: also one that has a row, for what comes behind it and is due earlier
 * needs one, too. */
static void
note_latest(struct queue_times *times, const struct queue_entry *entry, uint64_t rounded_ms)
{
    uint64_t due_ms = entry->due == DUE_NONE ? NEVER_MS : rounded_ms;
    if (times->order.latest_ms < due_ms) {
        times->order.latest_ms = due_ms;
    }
}

enum status
queue_push_until(struct queue *queue, struct queue_entry *entry, uint64_t due_ms)
{
    struct queue_times *times = queue_times_of(queue);
    if (is_empty(queue)) {
        begin_anew(queue);
    }
    uint64_t rounded_ms = set_due(entry, due_ms);
    bool is_in_order = rounded_ms >= times->order.latest_ms && entry->due != DUE_FAR;
    if (!is_in_order) {
        index_next(queue, entry, rounded_ms);
    }
    uint64_t position = queue->next_position;
    if (queue_push_entry(queue, entry) != STATUS_OK) {
        queue_times_on_gone(queue, entry, position);
        return STATUS_NO_MEMORY;
    }
    note_latest(times, entry, rounded_ms);
    return STATUS_OK;
}

/* Lent and returned ---------------------------------------------------------------------------- */

void
queue_times_on_gone(struct queue *queue, const struct queue_entry *entry, uint64_t position)
{
    if (is_indexed(entry)) {
        struct due_key key = {.due_ms = queue_deadline_ms(queue, entry, position),
                              .position = position};
        drop_row(queue, &key);
    }
    if (entry->due == DUE_FAR) {
        uint64_t before = queue_times_bytes(queue->times);
        take_far(queue->times, position);
        count_memory(queue, before);
    }
}

void
queue_times_on_lent(struct queue *queue, const struct queue_entry *entry, uint64_t position)
{
    struct due_row *row = is_indexed(entry) ? find_row(queue, entry, position) : NULL;
    if (row != NULL) {
        queue_entry_clear_flag(&row->entry, ENTRY_IS_BACK);
    }
}

/* A row that stands for no place in the deque nor for one that came back goes, for nobody could
 * tell that it does not, and is made again when the message comes back. */
void
queue_times_on_lent_last(struct queue *queue, const struct queue_entry *entry, uint64_t position)
{
    if (is_indexed(entry)) {
        struct due_key key = {.due_ms = queue_deadline_ms(queue, entry, position),
                              .position = position};
        drop_row(queue, &key);
    }
}

/* A row for a returned message that has none. */
static enum status
index_returned(struct queue *queue, struct queue_entry *entry, uint64_t position)
{
    queue_entry_set_flag(entry, ENTRY_INDEXED);
    struct queue_entry copy = *entry;
    queue_entry_set_flag(&copy, ENTRY_IS_BACK);
    if (add_row(queue, queue_deadline_ms(queue, entry, position), position, &copy) == STATUS_OK) {
        return STATUS_OK;
    }
    queue_entry_clear_flag(entry, ENTRY_INDEXED);
    return STATUS_NO_MEMORY;
}

/* In a quorum queue what came back stands in no order that deadlines could have, and where there
 * are levels not in one. */
static bool
returned_need_rows(const struct queue *queue)
{
    return queue->settings->type == QUEUE_TYPE_QUORUM || queue->levels != NULL ||
           queue->times->is_out_of_order;
}

void
queue_times_on_returned(struct queue *queue, struct queue_entry *entry, uint64_t position)
{
    if (!is_indexed(entry) && !returned_need_rows(queue)) {
        return;
    }
    struct due_row *row = find_row(queue, entry, position);
    if (row != NULL) {
        row->entry = *entry;
        queue_entry_set_flag(&row->entry, ENTRY_IS_BACK);
    } else if (index_returned(queue, entry, position) != STATUS_OK) {
        queue->times->lacks_rows = true;
    }
}

void
queue_times_on_patched(struct queue *queue, const struct queue_entry *entry, uint64_t position)
{
    struct due_row *row = find_row(queue, entry, position);
    if (row != NULL) {
        row->entry.content = entry->content;
    }
}

enum status
queue_add_missing_rows(struct queue *queue)
{
    if (!queue->times->lacks_rows) {
        return STATUS_OK;
    }
    for (uint32_t i = 0; i < queue->returned_count; i++) {
        struct queue_entry *entry = queue_returned_entry(queue, i);
        if (entry != NULL && entry->due != DUE_NONE && !is_indexed(entry) &&
            index_returned(queue, entry, queue_returned_position(queue, i)) != STATUS_OK) {
            return STATUS_NO_MEMORY;
        }
    }
    queue->times->lacks_rows = false;
    return STATUS_OK;
}

/* Once is enough: what comes back from now on gets its row then. */
void
queue_times_on_released(struct queue *queue)
{
    if (!queue->times->is_out_of_order) {
        queue->times->is_out_of_order = true;
        queue_times_on_levels(queue);
    }
}

/* What has come back needs rows from now on. */
void
queue_times_on_levels(struct queue *queue)
{
    queue->times->lacks_rows = queue->returned_count > 0;
    /* What there is no memory for is tried again when the queue is looked at. */
    enum status status = queue_add_missing_rows(queue);
    (void)status;
}

/* Rows of lent messages go with the others, and are made again when those come back. What is far
 * away is still needed for them, and is forgotten when the queue is empty. */
void
queue_times_on_purged(struct queue *queue)
{
    struct queue_times *times = queue->times;
    uint64_t before = queue_times_bytes(times);
    due_index_fini(&times->index);
    due_index_fini(&times->dead_returned);
    times->lacks_rows = false;
    count_memory(queue, before);
}

/* Dying ---------------------------------------------------------------------------------------- */

enum status
queue_times_kill_returned(struct queue *queue, uint64_t position)
{
    struct queue_times *times = queue->times;
    uint64_t before = queue_times_bytes(times);
    struct due_row row = {.key = {.position = position}};
    enum status status = due_index_add(&times->dead_returned, &row);
    count_memory(queue, before);
    return status;
}

bool
queue_times_is_dead(struct queue *queue, uint64_t position, bool take)
{
    struct due_index *dead = &queue->times->dead_returned;
    struct due_key key = {.position = position};
    struct due_row row;
    if (!take || dead->count == 0) {
        return dead->count > 0 && due_index_find(dead, &key) != NULL;
    }
    uint64_t before = queue_times_bytes(queue->times);
    bool was_dead = due_index_take(dead, &key, &row);
    count_memory(queue, before);
    return was_dead;
}

/* Of a message in front, or that came back. STATUS_AGAIN: it is lent, or was lost, and the row is
 * gone. */
static enum status
take_row(struct queue *queue, struct due_row row, struct queue_entry *entry_out,
         uint64_t *position_out)
{
    uint64_t position = row.key.position;
    uint64_t first = queue_deque_position(queue);
    enum status status = STATUS_AGAIN;
    if ((queue_entry_flags(&row.entry) & ENTRY_IS_BACK) != 0) {
        status = queue_times_kill_returned(queue, position);
    } else if (position >= first) {
        status = entry_deque_kill(&queue->deque, position - first, &row.entry);
    }
    if (status == STATUS_NO_MEMORY) {
        return status;
    }
    drop_row(queue, &row.key);
    if (status != STATUS_OK) {
        return status;
    }
    take_far(queue->times, position);
    queue->ready_count--;
    queue->ready_bytes -= row.entry.size;
    queue_clocks_on_gone(queue, position);
    queue_skip_dead(queue);
    queue_entry_clear_flag(&row.entry, ENTRY_IS_BACK);
    queue_entry_clear_flag(&row.entry, ENTRY_INDEXED);
    *entry_out = row.entry;
    *position_out = position;
    return STATUS_OK;
}

/* The first row is due; otherwise as take_row. */
static enum status
take_first_row(struct queue *queue, struct queue_entry *entry_out, uint64_t *position_out)
{
    struct due_row row = *due_index_first(&queue->times->index);
    queue_turn_to_level(queue, position_level(row.key.position));
    enum status status = take_row(queue, row, entry_out, position_out);
    queue_serve_highest(queue);
    return status;
}

static void
take_head(struct queue *queue, struct queue_entry *entry_out, uint64_t *position_out)
{
    bool taken = queue_pop(queue, entry_out, position_out);
    assert(taken);
    queue_entry_clear_flag(entry_out, ENTRY_INDEXED);
}

static void
take_head_of_level(struct queue *queue, uint8_t level, struct queue_entry *entry_out,
                   uint64_t *position_out)
{
    queue_turn_to_level(queue, level);
    queue_take_from_deque(queue, entry_out, position_out);
    queue_clocks_on_gone(queue, *position_out);
    queue_times_on_gone(queue, entry_out, *position_out);
    queue_skip_dead(queue);
    queue_serve_highest(queue);
    queue_entry_clear_flag(entry_out, ENTRY_INDEXED);
}

enum status
queue_take_expired(struct queue *queue, uint64_t now_ms, struct queue_entry *entry_out,
                   uint64_t *position_out)
{
    for (int i = 0; i < LENT_ROWS_MAX; i++) {
        uint8_t level;
        uint64_t row_ms = first_row_ms(queue);
        uint64_t head_ms = queue_head_deadline_ms(queue);
        uint64_t level_ms = levels_deadline_ms(queue, &level);
        if (earlier(row_ms, earlier(head_ms, level_ms)) > now_ms) {
            return STATUS_AGAIN;
        }
        enum status status = STATUS_OK;
        if (level_ms < head_ms && level_ms <= row_ms) {
            take_head_of_level(queue, level, entry_out, position_out);
        } else if (head_ms <= row_ms) {
            take_head(queue, entry_out, position_out);
        } else {
            status = take_first_row(queue, entry_out, position_out);
        }
        if (status != STATUS_AGAIN) {
            return status;
        }
    }
    return STATUS_FULL;
}

/* Checking ------------------------------------------------------------------------------------- */

/* Of messages that are lent nothing is known here. */
static void
check_row(const struct queue *queue, const struct due_row *row)
{
    assert(queue_knows_position(queue, row->key.position));
    assert(queue_deadline_ms(queue, &row->entry, row->key.position) == row->key.due_ms);
}

static void
check_deque_rows(const struct queue *queue, const struct entry_deque *deque, uint64_t position)
{
    struct entry_cursor cursor = entry_deque_seek(deque, 0);
    for (const struct queue_entry *entry; (entry = entry_cursor_next(&cursor)) != NULL;
         position++) {
        assert(!is_indexed(entry) || find_row(queue, entry, position) != NULL);
    }
}

static void
check_returned_rows(const struct queue *queue)
{
    uint64_t dead_count = 0;
    for (uint32_t i = 0; i < queue->returned_count; i++) {
        const struct queue_entry *entry = queue_returned_entry((struct queue *)queue, i);
        if (entry == NULL) {
            assert(i > 0);
            dead_count++;
        } else if (is_indexed(entry)) {
            const struct due_row *row = find_row(queue, entry, queue_returned_position(queue, i));
            assert(row != NULL);
            assert(row->entry.content.bits == entry->content.bits);
            assert((queue_entry_flags(&row->entry) & ENTRY_IS_BACK) != 0);
        }
    }
    assert(dead_count == queue->times->dead_returned.count);
}

void
queue_check_times(const struct queue *queue)
{
    const struct queue_times *times = queue->times;
    due_index_check(&times->index);
    due_index_check(&times->far);
    due_index_check(&times->dead_returned);
    struct due_cursor cursor = due_index_seek(&times->index, &(struct due_key){0});
    for (const struct due_row *row; (row = due_cursor_next(&cursor)) != NULL;) {
        check_row(queue, row);
    }
    check_deque_rows(queue, &queue->deque, queue_deque_position(queue));
    for (unsigned i = 0; queue->levels != NULL && i <= queue->level_max; i++) {
        uint64_t first = queue_first_position_of(queue, position_of_level((uint8_t)i));
        check_deque_rows(queue, &queue->levels->of[i].deque, first);
    }
    check_returned_rows(queue);
}
