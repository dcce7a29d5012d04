/* SPDX-License-Identifier: Apache-2.0 */
#include "queues/returned.h"

#include <stdlib.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "queues/clocks.h"
#include "queues/expiry.h"

enum { RETURNED_CAPACITY_MIN = 16 };

static const uint64_t RETURN_ORDER = UINT64_C(1) << 63;

/* The heap ------------------------------------------------------------------------------------- */

static void
place_returned(struct queue *queue, const struct returned_message *item)
{
    struct returned_message *heap = queue->returned;
    uint32_t at = queue->returned_count++;
    while (at > 0 && heap[(at - 1) / 2].order > item->order) {
        heap[at] = heap[(at - 1) / 2];
        at = (at - 1) / 2;
    }
    heap[at] = *item;
}

void
queue_drop_first_returned(struct queue *queue)
{
    struct returned_message *heap = queue->returned;
    uint32_t count = --queue->returned_count;
    struct returned_message last = heap[count];
    uint32_t at = 0;
    for (uint32_t child = 1; child < count; child = 2 * at + 1) {
        if (child + 1 < count && heap[child + 1].order < heap[child].order) {
            child++;
        }
        if (last.order <= heap[child].order) {
            break;
        }
        heap[at] = heap[child];
        at = child;
    }
    heap[at] = last;
}

void
queue_take_returned(struct queue *queue, struct queue_entry *entry_out, uint64_t *position_out)
{
    *entry_out = queue->returned[0].entry;
    *position_out = queue->returned[0].position;
    queue_drop_first_returned(queue);
    queue->ready_count--;
    queue->ready_bytes -= entry_out->size;
}

/* Room ----------------------------------------------------------------------------------------- */

static enum status
resize(struct queue *queue, uint32_t capacity)
{
    struct returned_message *returned =
        try_realloc(queue->returned, capacity * sizeof(*queue->returned));
    if (returned == NULL) {
        return STATUS_NO_MEMORY;
    }
    entry_deque_count_memory(&queue->deque, queue->returned_capacity * sizeof(*returned),
                             capacity * sizeof(*returned));
    queue->returned = returned;
    queue->returned_capacity = capacity;
    return STATUS_OK;
}

enum status
queue_grow_return_room(struct queue *queue)
{
    if (queue->returned_capacity > UINT32_MAX / 2) {
        return STATUS_NO_MEMORY;
    }
    return resize(queue, queue->returned_capacity == 0 ? RETURNED_CAPACITY_MIN
                                                       : queue->returned_capacity * 2);
}

/* Gives memory back when seven of eight places are unused. */
static void
shrink_room(struct queue *queue)
{
    uint32_t capacity = queue->returned_capacity;
    if (capacity > RETURNED_CAPACITY_MIN && queue_return_room_needed(queue) <= capacity / 8) {
        /* A shrinking that fails leaves the larger array, which is as good. */
        enum status status = resize(queue, capacity / 2);
        (void)status;
    }
}

void
queue_free_returned(struct queue *queue)
{
    entry_deque_count_memory(&queue->deque, queue->returned_capacity * sizeof(*queue->returned), 0);
    free(queue->returned);
    queue->returned = NULL;
    queue->returned_capacity = 0;
}

/* Coming back ---------------------------------------------------------------------------------- */

/* Returned messages come in the order of their return, those that keep strict order before them. A
 * quorum queue has 32 levels, so the first bit of all its positions is the same; and it counts
 * failures, so there is a place for the number. */
static uint64_t
quorum_order(struct queue *queue, uint64_t position)
{
    bool keeps_place = queue->settings->retry.order == RETRY_ORDER_HOLD;
    return keeps_place ? position & ~RETURN_ORDER : RETURN_ORDER | queue->failures->next_return++;
}

/* There is room. `entry` gets the flags that it has there. */
static void
put_back(struct queue *queue, struct queue_entry *entry, uint64_t position)
{
    assert(queue_knows_position(queue, position));
    assert(queue->returned_count < queue->returned_capacity);
    bool is_quorum = queue->settings->type == QUEUE_TYPE_QUORUM;
    queue_entry_set_flag(entry, ENTRY_REDELIVERED);
    if (entry->due != DUE_NONE) {
        queue_times_on_returned(queue, entry, position);
    }
    struct returned_message item = {
        .order = is_quorum ? quorum_order(queue, position) : position,
        .position = position,
        .entry = *entry,
    };
    place_returned(queue, &item);
    queue->ready_count++;
    queue->ready_bytes += entry->size;
}

void
queue_return(struct queue *queue, const struct queue_entry *entry, uint64_t position)
{
    assert(queue->unacked_count > 0);
    struct queue_entry copy = *entry;
    put_back(queue, &copy, position);
    queue->unacked_count--;
    queue->clocks->lent_bytes -= entry->size;
}

enum status
queue_put_back(struct queue *queue, struct queue_entry *entry, uint64_t position)
{
    if (queue_keep_return_room(queue) != STATUS_OK) {
        return STATUS_NO_MEMORY;
    }
    put_back(queue, entry, position);
    queue_clocks_on_back(queue, position);
    return STATUS_OK;
}

void
queue_end_lending(struct queue *queue, const struct queue_entry *entry, uint64_t position)
{
    assert(queue->unacked_count > 0);
    queue->unacked_count--;
    queue->clocks->lent_bytes -= entry->size;
    queue_clocks_on_gone(queue, position);
    shrink_room(queue);
}

void
queue_settle(struct queue *queue, const struct queue_entry *entry, uint64_t position)
{
    assert(queue->unacked_count > 0);
    queue->unacked_count--;
    queue->clocks->lent_bytes -= entry->size;
    queue_clocks_on_gone(queue, position);
    if (entry->due != DUE_NONE && queue->times != NULL) {
        queue_times_on_gone(queue, entry, position);
    }
    shrink_room(queue);
    if (queue->failures != NULL) {
        queue_shrink_failures(queue);
    }
}

/* Looking -------------------------------------------------------------------------------------- */

const struct queue_entry *
queue_first_returned(const struct queue *queue)
{
    assert(queue->returned_count > 0);
    return &queue->returned[0].entry;
}

struct queue_entry *
queue_returned_entry(struct queue *queue, uint32_t at)
{
    assert(at < queue->returned_count);
    assert(queue->returned != NULL);
    bool is_dead =
        queue->times != NULL && queue_times_is_dead(queue, queue->returned[at].position, false);
    return is_dead ? NULL : &queue->returned[at].entry;
}

uint64_t
queue_returned_position(const struct queue *queue, uint32_t at)
{
    assert(at < queue->returned_count);
    return queue->returned[at].position;
}

void
queue_note_patched(struct queue *queue, uint32_t at)
{
    const struct returned_message *item = &queue->returned[at];
    if ((queue_entry_flags(&item->entry) & ENTRY_INDEXED) != 0) {
        queue_times_on_patched(queue, &item->entry, item->position);
    }
}

uint64_t
queue_check_returned(const struct queue *queue)
{
    const struct returned_message *heap = queue->returned;
    uint64_t bytes = 0;
    assert(queue->returned_count == 0 || heap != NULL);
    for (uint32_t i = 0; i < queue->returned_count; i++) {
        assert(i == 0 || heap[(i - 1) / 2].order < heap[i].order);
        assert(queue_knows_position(queue, heap[i].position));
        const struct queue_entry *entry = queue_returned_entry((struct queue *)queue, i);
        bytes += entry == NULL ? 0 : entry->size;
    }
    assert(queue_return_room_needed(queue) <= queue->returned_capacity);
    return bytes;
}
