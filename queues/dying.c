/* SPDX-License-Identifier: Apache-2.0 */
/* A chain of small blocks: a list whose length clients choose never has to be moved, and no one
 * allocation is large. */
#include "queues/dying.h"

#include <stdlib.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "queues/queue.h"

enum { DYING_PER_BLOCK = 72 };

struct dying_block {
    struct dying_block *next;
    uint32_t first, end;
    struct dying_message messages[DYING_PER_BLOCK];
};

_Static_assert(sizeof(struct dying_block) <= 4096, "a block is a page at most");

const char *
death_reason_name(enum death_reason reason)
{
    static const char *const names[DEATH_REASON_COUNT] = {
        [DEATH_REJECTED] = "rejected",
        [DEATH_EXPIRED] = "expired",
        [DEATH_MAXLEN] = "maxlen",
        [DEATH_DELIVERY_LIMIT] = "delivery_limit",
    };
    assert(reason < DEATH_REASON_COUNT);
    return names[reason];
}

static bool
make_dying(struct queue *queue)
{
    if (queue->dying == NULL) {
        queue->dying = try_alloc(sizeof(*queue->dying));
        if (queue->dying == NULL) {
            return false;
        }
        *queue->dying = (struct queue_dying){.queue = queue};
    }
    return true;
}

static bool
add_spare(struct queue *queue)
{
    struct queue_dying *dying = queue->dying;
    struct dying_block *block = try_alloc(sizeof(*block));
    if (block == NULL) {
        return false;
    }
    entry_deque_count_memory(&queue->deque, 0, sizeof(*block));
    block->next = dying->spare;
    dying->spare = block;
    dying->spare_count++;
    return true;
}

static uint64_t
count_room(const struct queue_dying *dying)
{
    uint64_t room = (uint64_t)dying->spare_count * DYING_PER_BLOCK;
    return dying->tail == NULL ? room : room + DYING_PER_BLOCK - dying->tail->end;
}

enum status
queue_reserve_dying(struct queue *queue, uint32_t count)
{
    bool is_made = make_dying(queue);
    while (is_made && count_room(queue->dying) < count) {
        is_made = add_spare(queue);
    }
    return is_made ? STATUS_OK : STATUS_NO_MEMORY;
}

static void
add_block(struct queue_dying *dying)
{
    struct dying_block *block = dying->spare;
    assert(block != NULL);
    dying->spare = block->next;
    dying->spare_count--;
    block->next = NULL;
    block->first = 0;
    block->end = 0;
    if (dying->tail == NULL) {
        dying->head = block;
    } else {
        dying->tail->next = block;
    }
    dying->tail = block;
}

void
queue_add_dying(struct queue *queue, const struct dying_message *message)
{
    struct queue_dying *dying = queue->dying;
    if (dying->tail == NULL || dying->tail->end == DYING_PER_BLOCK) {
        add_block(dying);
    }
    if (dying->count++ == 0) {
        (void)queue_ref(queue);
    }
    struct dying_block *tail = dying->tail;
    tail->messages[tail->end++] = *message;
}

struct dying_message *
queue_first_dying(struct queue *queue)
{
    if (queue->dying == NULL || queue->dying->count == 0) {
        return NULL;
    }
    struct dying_block *head = queue->dying->head;
    return &head->messages[head->first];
}

const struct dying_message *
queue_last_dying(const struct queue *queue)
{
    if (queue->dying == NULL || queue->dying->count == 0) {
        return NULL;
    }
    const struct dying_block *tail = queue->dying->tail;
    return &tail->messages[tail->end - 1];
}

static void
free_head(struct queue *queue)
{
    struct queue_dying *dying = queue->dying;
    struct dying_block *head = dying->head;
    dying->head = head->next;
    if (dying->head == NULL) {
        dying->tail = NULL;
    }
    entry_deque_count_memory(&queue->deque, sizeof(*head), 0);
    free(head);
}

static void
free_spares(struct queue *queue)
{
    struct queue_dying *dying = queue->dying;
    while (dying->spare != NULL) {
        struct dying_block *block = dying->spare;
        dying->spare = block->next;
        entry_deque_count_memory(&queue->deque, sizeof(*block), 0);
        free(block);
    }
    dying->spare_count = 0;
}

void
queue_free_dying(struct queue *queue)
{
    if (queue->dying != NULL) {
        free_spares(queue);
        free(queue->dying);
        queue->dying = NULL;
    }
}

void
queue_take_dying(struct queue *queue)
{
    struct queue_dying *dying = queue->dying;
    assert(dying != NULL);
    assert(dying->count > 0);
    dying->head->first++;
    if (dying->head->first == dying->head->end) {
        free_head(queue);
    }
    if (--dying->count == 0) {
        free_spares(queue);
        queue_unref(&queue);
    }
}

struct dying_cursor
queue_dying_begin(struct queue *queue)
{
    struct dying_block *head = queue->dying == NULL ? NULL : queue->dying->head;
    return (struct dying_cursor){.block = head, .at = head == NULL ? 0 : head->first};
}

struct dying_message *
dying_cursor_next(struct dying_cursor *cursor)
{
    if (cursor->block == NULL) {
        return NULL;
    }
    struct dying_message *message = &cursor->block->messages[cursor->at++];
    if (cursor->at == cursor->block->end) {
        cursor->block = cursor->block->next;
        cursor->at = 0;
    }
    return message;
}

uint64_t
queue_check_dying(const struct queue *queue)
{
    uint64_t octets = 0;
    uint64_t count = 0;
    if (queue->dying == NULL) {
        return 0;
    }
    for (const struct dying_block *block = queue->dying->head; block != NULL; block = block->next) {
        assert(block->first < block->end);
        count += block->end - block->first;
        octets += sizeof(*block);
    }
    assert(count == queue->dying->count);
    return octets + queue->dying->spare_count * sizeof(struct dying_block);
}
