/* SPDX-License-Identifier: Apache-2.0 */
#include "queues/clocks.h"

#include <stdlib.h>

#include "base/alloc.h"
#include "base/assert.h"

/* Arrival -------------------------------------------------------------------------------------- */

uint64_t
queue_arrival_ms(const struct queue *queue, uint64_t position)
{
    assert(queue->clocks != NULL);
    return (uint64_t)arrival_marks_ms(&queue->clocks->marks, position);
}

/* Call with what the marks took before they were changed. */
static void
count_memory(struct queue *queue, size_t before)
{
    size_t after = arrival_marks_bytes(&queue->clocks->marks);
    if (after != before) {
        entry_deque_count_memory(&queue->deque, before, after);
    }
}

void
queue_clocks_on_new_time(struct queue *queue, uint64_t position)
{
    if (queue->clocks == NULL) {
        queue->clocks = xalloc(sizeof(*queue->clocks));
    }
    struct arrival_marks *marks = &queue->clocks->marks;
    size_t before = arrival_marks_bytes(marks);
    arrival_marks_note(marks, position,
                       queue->deque.memory == NULL ? 0 : queue->deque.memory->now_ms);
    count_memory(queue, before);
}

void
queue_clocks_on_gone_elsewhere(struct queue *queue, uint64_t position)
{
    struct arrival_marks *marks = &queue->clocks->marks;
    size_t before = arrival_marks_bytes(marks);
    arrival_marks_take(marks, position);
    count_memory(queue, before);
}

void
queue_clocks_on_back(struct queue *queue, uint64_t position)
{
    struct arrival_marks *marks = &queue->clocks->marks;
    size_t before = arrival_marks_bytes(marks);
    arrival_marks_bring_back(marks, position);
    count_memory(queue, before);
}

void
queue_clocks_on_lost(struct queue *queue, uint64_t count)
{
    arrival_marks_lose(&queue->clocks->marks, queue_deque_position(queue), count);
}

void
queue_clocks_on_purged(struct queue *queue, uint64_t position)
{
    if (queue->clocks == NULL) {
        return;
    }
    struct arrival_marks *marks = &queue->clocks->marks;
    size_t before = arrival_marks_bytes(marks);
    arrival_marks_purge(marks, position, queue->next_position, queue->unacked_count);
    count_memory(queue, before);
}

void
queue_forget_clocks(struct queue *queue)
{
    if (queue->clocks == NULL) {
        return;
    }
    size_t before = arrival_marks_bytes(&queue->clocks->marks);
    arrival_marks_fini(&queue->clocks->marks);
    count_memory(queue, before);
    free(queue->clocks);
    queue->clocks = NULL;
}

/* Checking ------------------------------------------------------------------------------------- */

uint64_t
queue_check_clocks(const struct queue *queue)
{
    if (queue->clocks == NULL) {
        assert(queue->next_position == 1);
        return 0;
    }
    int64_t living = arrival_marks_check(&queue->clocks->marks, queue->next_position);
    assert(living == (int64_t)(queue->ready_count + queue->unacked_count));
    return arrival_marks_bytes(&queue->clocks->marks);
}
