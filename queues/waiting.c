/* SPDX-License-Identifier: Apache-2.0 */
#include "queues/waiting.h"

#include "base/alloc.h"
#include "base/assert.h"
#include "queues/clocks.h"
#include "queues/expiry.h"

#include <stdlib.h>

enum waiting_kind
due_row_kind(const struct due_row *row)
{
    if (row->key.due_ms == PARKED_MS) {
        return WAITING_PARKED;
    }
    return (row->key.position & QUEUE_POSITION_DELAYED) != 0 ? WAITING_DELAYED : WAITING_RETRY;
}

enum status
queue_make_waiting(struct queue *queue)
{
    if (queue->waiting != NULL) {
        return STATUS_OK;
    }
    struct queue_waiting *waiting = try_alloc(sizeof(*waiting));
    if (waiting == NULL) {
        return STATUS_NO_MEMORY;
    }
    *waiting = (struct queue_waiting){.queue = queue, .next_number = 1};
    queue->waiting = waiting;
    return STATUS_OK;
}

void
queue_forget_waiting(struct queue *queue)
{
    struct queue_waiting *waiting = queue->waiting;
    if (waiting == NULL) {
        return;
    }
    assert(waiting->index.count == 0);
    assert(!timer_is_armed(&waiting->timer));
    assert(!list_link_is_linked(&waiting->link));
    free(waiting);
    queue->waiting = NULL;
}

/* Rows ----------------------------------------------------------------------------------------- */

static enum status
add_row(struct queue *queue, const struct due_row *row)
{
    struct due_index *index = &queue->waiting->index;
    uint64_t before = index->bytes;
    enum status status = due_index_add(index, row);
    entry_deque_count_memory(&queue->deque, before, index->bytes);
    return status;
}

static bool
take_row(struct queue *queue, const struct due_key *key, struct due_row *row_out)
{
    struct due_index *index = &queue->waiting->index;
    uint64_t before = index->bytes;
    bool taken = due_index_take(index, key, row_out);
    entry_deque_count_memory(&queue->deque, before, index->bytes);
    return taken;
}

static void
count_row(struct queue_waiting *waiting, const struct due_row *row)
{
    waiting->counts[due_row_kind(row)]++;
    waiting->bytes += row->entry.size;
}

static void
uncount_row(struct queue_waiting *waiting, const struct due_row *row)
{
    assert(waiting->counts[due_row_kind(row)] > 0);
    waiting->counts[due_row_kind(row)]--;
    waiting->bytes -= row->entry.size;
}

/* Retrying ------------------------------------------------------------------------------------- */

static struct due_row
row_of_lent(const struct queue *queue, const struct queue_entry *entry, uint64_t position,
            uint64_t due_ms)
{
    struct due_row row = {.key = {.due_ms = waiting_due_ms(due_ms), .position = position},
                          .entry = *entry};
    if (due_ms == PARKED_MS) {
        row.entry.due = DUE_NONE;
        queue_entry_clear_flag(&row.entry, ENTRY_INDEXED);
    } else {
        uint64_t deadline_ms = queue_deadline_ms(queue, entry, position);
        row.key.due_ms = waiting_due_ms(deadline_ms < due_ms ? deadline_ms : due_ms);
    }
    return row;
}

enum status
queue_wait(struct queue *queue, const struct queue_entry *entry, uint64_t position, uint64_t due_ms)
{
    assert(queue->unacked_count > 0);
    assert(queue_knows_position(queue, position));
    struct due_row row = row_of_lent(queue, entry, position, due_ms);
    if (queue_make_waiting(queue) != STATUS_OK || add_row(queue, &row) != STATUS_OK) {
        return STATUS_NO_MEMORY;
    }
    count_row(queue->waiting, &row);
    if (row.entry.due == DUE_NONE && entry->due != DUE_NONE) {
        queue_times_on_gone(queue, entry, position);
    }
    queue_end_lending(queue, entry, position);
    return STATUS_OK;
}

enum status
queue_end_retry(struct queue *queue, const struct due_key *key, struct queue_entry *entry_out)
{
    assert((key->position & QUEUE_POSITION_DELAYED) == 0);
    const struct due_row *there = due_index_find(&queue->waiting->index, key);
    assert(there != NULL);
    struct due_row row = *there;
    if (queue_put_back(queue, &row.entry, key->position) != STATUS_OK) {
        return STATUS_NO_MEMORY;
    }
    uncount_row(queue->waiting, &row);
    bool taken = take_row(queue, key, &row);
    assert(taken);
    if (key->due_ms == PARKED_MS && queue->times != NULL) {
        queue_times_on_released(queue);
    }
    *entry_out = row.entry;
    return STATUS_OK;
}

/* Delayed -------------------------------------------------------------------------------------- */

/* Milliseconds, or, with the highest bit set, seconds. */
static const uint32_t IN_SECONDS = UINT32_C(1) << 31;

static uint32_t
pack_expiration(uint64_t expiration)
{
    if (expiration < IN_SECONDS) {
        return (uint32_t)expiration;
    }
    uint64_t seconds = (expiration - 1 + 999) / 1000;
    return IN_SECONDS | (seconds < IN_SECONDS ? (uint32_t)seconds : IN_SECONDS - 1);
}

uint64_t
delayed_expiration(const struct queue_entry *entry)
{
    if ((entry->due & IN_SECONDS) == 0) {
        return entry->due;
    }
    return (uint64_t)(entry->due & ~IN_SECONDS) * 1000 + 1;
}

static struct due_key
delayed_key(uint64_t due_ms, uint64_t number)
{
    return (struct due_key){.due_ms = due_ms,
                            .position = QUEUE_POSITION_DELAYED | number << DELAYED_NUMBER_SHIFT};
}

enum status
queue_reserve_delayed(struct queue *queue, uint64_t due_ms)
{
    assert(due_ms < PARKED_MS);
    if (queue_make_clocks(queue) != STATUS_OK || queue_make_waiting(queue) != STATUS_OK) {
        return STATUS_NO_MEMORY;
    }
    struct queue_waiting *waiting = queue->waiting;
    struct due_row row = {.key = delayed_key(due_ms, waiting->next_number)};
    if (add_row(queue, &row) != STATUS_OK) {
        return STATUS_NO_MEMORY;
    }
    waiting->next_number++;
    waiting->reserved_count++;
    return STATUS_OK;
}

/* The key that was reserved first and has no message yet. */
static struct due_key
first_reserved(struct queue_waiting *waiting, uint64_t due_ms)
{
    assert(waiting->reserved_count > 0);
    return delayed_key(due_ms, waiting->next_number - waiting->reserved_count--);
}

void
queue_forget_delayed(struct queue *queue, uint64_t due_ms)
{
    struct due_key key = first_reserved(queue->waiting, due_ms);
    struct due_row row;
    bool taken = take_row(queue, &key, &row);
    assert(taken);
}

/* The level changes nothing about the order, for no two numbers are the same. */
void
queue_push_delayed(struct queue *queue, const struct queue_entry *entry, uint8_t level,
                   uint64_t due_ms, uint64_t expiration)
{
    struct due_key key = first_reserved(queue->waiting, due_ms);
    struct due_row *row = due_index_find(&queue->waiting->index, &key);
    assert(row != NULL);
    row->key.position |= level;
    row->entry = *entry;
    row->entry.due = pack_expiration(expiration);
    count_row(queue->waiting, row);
}

/* Taking --------------------------------------------------------------------------------------- */

const struct due_row *
queue_first_waiting(const struct queue *queue)
{
    return queue->waiting == NULL ? NULL : due_index_first(&queue->waiting->index);
}

uint64_t
queue_next_due_ms(const struct queue *queue)
{
    const struct due_row *first = queue_first_waiting(queue);
    if (first == NULL || first->key.due_ms == PARKED_MS) {
        return NEVER_MS;
    }
    return first->key.due_ms > WAITING_EPOCH_MS ? first->key.due_ms - WAITING_EPOCH_MS : 0;
}

bool
queue_take_waiting(struct queue *queue, const struct due_key *key, struct due_row *row_out)
{
    if (queue->waiting == NULL || !take_row(queue, key, row_out)) {
        return false;
    }
    uncount_row(queue->waiting, row_out);
    bool has_deadline = (key->position & QUEUE_POSITION_DELAYED) == 0 &&
                        row_out->entry.due != DUE_NONE && queue->times != NULL;
    if (has_deadline) {
        queue_times_on_gone(queue, &row_out->entry, key->position);
    }
    return true;
}

/* Of what was known of the deadlines of those that were lent, rows go when they come due and the
 * rest when the queue is empty, as with a purge of what is ready. */
uint64_t
queue_purge_waiting(struct queue *queue, struct queue_discards *discards)
{
    struct queue_waiting *waiting = queue->waiting;
    if (waiting == NULL || waiting->index.count == 0) {
        return 0;
    }
    assert(waiting->reserved_count == 0);
    uint64_t count = waiting->index.count;
    entry_deque_count_memory(&queue->deque, waiting->index.bytes, 0);
    queue_discards_add_rows(discards, queue->deleted ? 0 : queue->target.id, queue->deque.memory,
                            &waiting->index);
    for (int kind = 0; kind < WAITING_KIND_COUNT; kind++) {
        waiting->counts[kind] = 0;
    }
    waiting->bytes = 0;
    return count;
}

/* Checking ------------------------------------------------------------------------------------- */

void
queue_check_waiting(const struct queue *queue)
{
    const struct queue_waiting *waiting = queue->waiting;
    if (waiting == NULL) {
        return;
    }
    due_index_check(&waiting->index);
    assert(waiting->reserved_count == 0);
    struct due_cursor cursor = due_index_seek(&waiting->index, &(struct due_key){0});
    uint64_t counts[WAITING_KIND_COUNT] = {0};
    uint64_t bytes = 0;
    for (const struct due_row *row; (row = due_cursor_next(&cursor)) != NULL;) {
        counts[due_row_kind(row)]++;
        bytes += row->entry.size;
        uint64_t number = (row->key.position & ~QUEUE_POSITION_DELAYED) >> DELAYED_NUMBER_SHIFT;
        bool is_delayed = (row->key.position & QUEUE_POSITION_DELAYED) != 0;
        assert(is_delayed ? number < waiting->next_number
                          : queue_knows_position(queue, row->key.position));
    }
    for (int kind = 0; kind < WAITING_KIND_COUNT; kind++) {
        assert(counts[kind] == waiting->counts[kind]);
    }
    assert(bytes == waiting->bytes);
}
