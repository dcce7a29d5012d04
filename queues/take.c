/* SPDX-License-Identifier: Apache-2.0 */
#include "queues/take.h"

#include "base/assert.h"
#include "queues/clocks.h"
#include "queues/expiry.h"

/* The head of a queue that has no times needs no dead place: most of what is taken is that. */
static bool
is_plain_head(const struct queue *queue, enum queue_stand stand, uint64_t position)
{
    return stand == STAND_IN_DEQUE && queue->times == NULL &&
           position == queue_deque_position(queue) && !entry_deque_head_is_away(&queue->deque);
}

/* Its place stays behind as that of one that has died, which only queues with times look for. */
static enum status
kill_at(struct queue *queue, enum queue_stand stand, uint64_t position, struct queue_entry *entry)
{
    struct queue_times *times = queue_times_of(queue);
    if (stand == STAND_RETURNED) {
        return queue_times_kill_returned(times->queue, position);
    }
    uint64_t skip = position - queue_deque_position(queue);
    enum status status = entry_deque_kill(&queue->deque, skip, entry);
    assert(status != STATUS_AGAIN);
    return status;
}

enum status
queue_take_at(struct queue *queue, enum queue_stand stand, uint64_t position,
              struct queue_entry *entry)
{
    assert(queue->ready_count > 0);
    queue_turn_to_level(queue, position_level(position));
    if (is_plain_head(queue, stand, position)) {
        uint64_t taken;
        queue_take_from_deque(queue, entry, &taken);
        assert(taken == position);
    } else if (kill_at(queue, stand, position, entry) != STATUS_OK) {
        queue_serve_highest(queue);
        return STATUS_NO_MEMORY;
    } else {
        queue->ready_count--;
        queue->ready_bytes -= entry->size;
    }
    queue_clocks_on_gone(queue, position);
    if (queue->times != NULL && entry->due != DUE_NONE) {
        queue_times_on_gone(queue, entry, position);
    }
    queue_entry_clear_flag(entry, ENTRY_INDEXED);
    return STATUS_OK;
}

void
queue_end_taking(struct queue *queue, uint64_t position)
{
    queue_turn_to_level(queue, position_level(position));
    queue_skip_dead(queue);
    queue_serve_highest(queue);
}
