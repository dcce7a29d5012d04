/* SPDX-License-Identifier: Apache-2.0 */
/* The first block starts small and grows, so a queue with a handful of messages costs a handful of
 * entries; an empty deque keeps one small block at most, so that a steady flow allocates nothing,
 * and before the first entry it has none. */
#include "queues/entry_deque.h"

#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "queues/entry_block.h"

enum { BLOCK_CAPACITY_FIRST = 16, BLOCK_GROWTH = 4 };

void
entry_deque_count_memory(struct entry_deque *deque, size_t freed, size_t taken)
{
    assert(deque->bytes >= freed);
    deque->bytes += taken - freed;
    if (deque->memory != NULL) {
        assert(deque->memory->bytes >= freed);
        deque->memory->bytes += taken - freed;
    }
}

static void
free_head(struct entry_deque *deque)
{
    struct entry_block *block = deque->head;
    if (deque->pages != NULL) {
        entry_pages_on_head_done(deque->pages, block);
    }
    deque->head = block->next;
    if (deque->head == NULL) {
        deque->tail = NULL;
        if (entry_deque_is_settled(deque)) {
            entry_pages_free(deque);
        }
    }
    entry_deque_count_memory(deque, entry_block_bytes(block->capacity), 0);
    free(block);
}

void
entry_deque_fini(struct entry_deque *deque)
{
    entry_pages_free(deque);
    while (deque->head != NULL) {
        free_head(deque);
    }
}

void
entry_deque_forget_spilled(struct entry_deque *deque)
{
    entry_pages_free(deque);
    entry_deque_skip_dead(deque);
}

/* A chain that is not counted is short; of one that is, only the last block may be a small one. */
static uint64_t
chain_bytes(const struct entry_deque *deque)
{
    if (deque->pages != NULL && deque->tail != NULL) {
        return (deque->pages->block_count - 1) * entry_block_bytes(ENTRY_BLOCK_CAPACITY) +
               entry_block_bytes(deque->tail->capacity);
    }
    uint64_t bytes = 0;
    for (const struct entry_block *block = deque->head; block != NULL; block = block->next) {
        bytes += entry_block_bytes(block->capacity);
    }
    return bytes;
}

/* What the owner counts of its own stays with it. */
void
entry_deque_move(struct entry_deque *from, struct entry_deque *to)
{
    assert(to->head == NULL);
    assert(to->pages == NULL);
    assert(to->memory == from->memory);
    uint64_t bytes = chain_bytes(from);
    if (from->pages != NULL) {
        bytes += entry_pages_bytes(from->pages);
    }
    assert(from->bytes >= bytes);
    from->bytes -= bytes;
    to->bytes += bytes;
    to->head = from->head;
    to->tail = from->tail;
    to->pages = from->pages;
    to->has_runs = from->has_runs;
    to->dead_count = from->dead_count;
    if (to->pages != NULL) {
        to->pages->deque = to;
    }
    from->head = NULL;
    from->tail = NULL;
    from->pages = NULL;
    from->has_runs = false;
    from->dead_count = 0;
}

/* Pushing -------------------------------------------------------------------------------------- */

/* A spare block, if there is one, else a new one; NULL: no memory. */
static struct entry_block *
new_block(const struct entry_deque *deque, uint32_t capacity)
{
    struct entry_memory *memory = deque->memory;
    if (capacity == ENTRY_BLOCK_CAPACITY && memory != NULL && memory->spares != NULL) {
        struct entry_block *block = memory->spares;
        memory->spares = block->next;
        return block;
    }
    return try_alloc(entry_block_bytes(capacity));
}

static enum status
add_tail(struct entry_deque *deque)
{
    uint32_t capacity = deque->tail == NULL ? BLOCK_CAPACITY_FIRST : ENTRY_BLOCK_CAPACITY;
    struct entry_block *block = new_block(deque, capacity);
    if (block == NULL) {
        return STATUS_NO_MEMORY;
    }
    *block = (struct entry_block){.capacity = capacity};
    if (deque->tail == NULL) {
        deque->head = block;
    } else {
        deque->tail->next = block;
    }
    deque->tail = block;
    entry_deque_count_memory(deque, 0, entry_block_bytes(capacity));
    entry_pages_on_block(deque);
    return STATUS_OK;
}

static enum status
grow_only_block(struct entry_deque *deque)
{
    uint32_t old_capacity = deque->tail->capacity;
    uint32_t capacity = old_capacity * BLOCK_GROWTH;
    if (capacity > ENTRY_BLOCK_CAPACITY) {
        capacity = ENTRY_BLOCK_CAPACITY;
    }
    struct entry_block *block = try_realloc(deque->tail, entry_block_bytes(capacity));
    if (block == NULL) {
        return STATUS_NO_MEMORY;
    }
    block->capacity = capacity;
    deque->head = block;
    deque->tail = block;
    entry_deque_count_memory(deque, entry_block_bytes(old_capacity), entry_block_bytes(capacity));
    return STATUS_OK;
}

/* Only the first block is small, and it grows while it is alone. */
static bool
tail_may_grow(const struct entry_deque *deque)
{
    const struct entry_block *block = deque->tail;
    return block != NULL && block->capacity < ENTRY_BLOCK_CAPACITY && deque->head == block;
}

enum status
entry_deque_make_room(struct entry_deque *deque)
{
    if (!tail_may_grow(deque)) {
        return add_tail(deque);
    }
    struct entry_block *block = deque->tail;
    if (block->start >= block->capacity / 2) {
        uint32_t count = block->end - block->start;
        memmove(block->entries, block->entries + block->start, count * sizeof(*block->entries));
        block->start = 0;
        block->end = count;
        return STATUS_OK;
    }
    return grow_only_block(deque);
}

/* Reserving ------------------------------------------------------------------------------------ */

static uint32_t
room_in_tail(const struct entry_deque *deque)
{
    return deque->tail == NULL ? 0 : deque->tail->capacity - deque->tail->end;
}

static enum status
add_spares(struct entry_memory *memory, uint32_t block_count)
{
    for (; block_count > 0; block_count--) {
        struct entry_block *block = try_alloc(entry_block_bytes(ENTRY_BLOCK_CAPACITY));
        if (block == NULL) {
            return STATUS_NO_MEMORY;
        }
        block->next = memory->spares;
        memory->spares = block;
    }
    return STATUS_OK;
}

/* A tail that is alone is brought to its size at once, as pushes would do it step by step. */
enum status
entry_deque_reserve(struct entry_deque *deque, uint32_t count)
{
    assert(deque->memory != NULL);
    if (deque->tail == NULL && count > 0 && add_tail(deque) != STATUS_OK) {
        return STATUS_NO_MEMORY;
    }
    while (room_in_tail(deque) < count && tail_may_grow(deque)) {
        if (entry_deque_make_room(deque) != STATUS_OK) {
            return STATUS_NO_MEMORY;
        }
    }
    uint32_t room = room_in_tail(deque);
    uint32_t missing = count > room ? count - room : 0;
    return add_spares(deque->memory, (missing + ENTRY_BLOCK_CAPACITY - 1) / ENTRY_BLOCK_CAPACITY);
}

void
entry_memory_free_spares(struct entry_memory *memory)
{
    struct entry_block *block;
    while ((block = memory->spares) != NULL) {
        memory->spares = block->next;
        free(block);
    }
}

/* Taking --------------------------------------------------------------------------------------- */

/* The last small block stays for the next entry. */
void
entry_deque_finish_head(struct entry_deque *deque)
{
    struct entry_block *block = deque->head;
    if (block->next == NULL && block->capacity == BLOCK_CAPACITY_FIRST) {
        block->start = 0;
        block->end = 0;
        return;
    }
    free_head(deque);
}

/* Walking -------------------------------------------------------------------------------------- */

struct entry_cursor
entry_deque_seek(const struct entry_deque *deque, uint64_t skip)
{
    struct entry_cursor cursor = {.block = deque->head, .blocks_left = UINT32_MAX};
    if (deque->pages != NULL && deque->pages->run_count > 0) {
        cursor.blocks_left = deque->pages->front_count;
    }
    if (cursor.block == NULL || cursor.blocks_left == 0) {
        return (struct entry_cursor){0};
    }
    while (skip >= cursor.block->end - cursor.block->start) {
        skip -= cursor.block->end - cursor.block->start;
        cursor.block = cursor.block->next;
        cursor.blocks_left--;
        if (cursor.block == NULL || cursor.blocks_left == 0) {
            return (struct entry_cursor){0};
        }
    }
    cursor.at = cursor.block->start + (uint32_t)skip;
    return cursor;
}

struct queue_entry *
entry_cursor_next(struct entry_cursor *cursor)
{
    while (cursor->block != NULL && cursor->at == cursor->block->end) {
        cursor->block = --cursor->blocks_left == 0 ? NULL : cursor->block->next;
        cursor->at = cursor->block == NULL ? 0 : cursor->block->start;
    }
    return cursor->block == NULL ? NULL : &cursor->block->entries[cursor->at++];
}

static uint64_t
block_last_lsn(const struct entry_block *block)
{
    for (uint32_t i = block->end; i > block->start; i--) {
        uint64_t lsn = queue_entry_lsn(&block->entries[i - 1]);
        if (lsn != 0) {
            return lsn;
        }
    }
    return 0;
}

uint64_t
entry_deque_last_lsn(const struct entry_deque *deque, uint32_t block_max)
{
    struct entry_cursor cursor = entry_deque_seek(deque, 0);
    uint32_t count = cursor.blocks_left < block_max ? cursor.blocks_left : block_max;
    uint64_t lsn = 0;
    for (; count > 0 && cursor.block != NULL; count--, cursor.block = cursor.block->next) {
        uint64_t last = block_last_lsn(cursor.block);
        lsn = last > lsn ? last : lsn;
    }
    return lsn;
}

/* What a check adds up. */
struct entry_sums {
    uint64_t count, dead_count, body_bytes;
};

/* Blocks are found by arithmetic: all but the first and the last are full. */
static void
check_block(const struct entry_deque *deque, const struct entry_block *block,
            struct entry_sums *sums)
{
    assert(block->start <= block->end);
    assert(block->end <= block->capacity);
    assert(block == deque->tail || block->end == ENTRY_BLOCK_CAPACITY);
    uint32_t dead_count = 0;
    for (uint32_t i = block->start; i < block->end; i++) {
        assert(!queue_entry_is_dead(&block->entries[i]) || block->entries[i].size == 0);
        dead_count += queue_entry_is_dead(&block->entries[i]) ? 1 : 0;
        sums->body_bytes += block->entries[i].size;
    }
    assert(dead_count == block->dead_count);
    sums->count += block->end - block->start;
    sums->dead_count += dead_count;
}

static void
check_runs(const struct entry_pages *pages, struct entry_sums *sums)
{
    uint64_t places = 0;
    for (uint32_t i = 0; i < pages->run_count; i++) {
        const struct entry_run *run = &pages->runs[(pages->run_first + i) % pages->run_capacity];
        places += run->count;
        sums->dead_count += run->dead_count;
        sums->body_bytes += run->body_bytes;
    }
    assert(places == pages->run_places);
    sums->count += places;
    sums->dead_count += pages->dead.count;
    struct due_cursor cursor = due_index_seek(&pages->dead, &(struct due_key){0});
    for (const struct due_row *row; (row = due_cursor_next(&cursor)) != NULL;) {
        assert(row->key.position - entry_pages_first_run_number(pages) < places);
        sums->body_bytes -= row->entry.size;
    }
}

uint64_t
entry_deque_check(const struct entry_deque *deque, uint64_t own_bytes, uint64_t *body_bytes_out)
{
    const struct entry_pages *pages = deque->pages;
    struct entry_sums sums = {0};
    uint32_t block_count = 0;
    uint64_t block_bytes = 0;
    const struct entry_block *last = NULL;
    for (const struct entry_block *block = deque->head; block != NULL; block = block->next) {
        check_block(deque, block, &sums);
        block_count++;
        block_bytes += entry_block_bytes(block->capacity);
        last = block;
        assert(pages == NULL || block_count != pages->front_count || block == pages->front_last);
    }
    assert(last == deque->tail);
    uint64_t pages_bytes = pages == NULL ? 0 : entry_pages_bytes(pages);
    assert(chain_bytes(deque) == block_bytes);
    assert(deque->bytes == own_bytes + block_bytes + pages_bytes);
    if (pages != NULL) {
        assert(pages->deque == deque);
        assert(deque->has_runs == (pages->run_count > 0));
        assert(pages->block_count == block_count);
        check_runs(pages, &sums);
    }
    assert(sums.dead_count == deque->dead_count);
    const struct queue_entry *head = entry_deque_head(deque);
    assert(head == NULL || !queue_entry_is_dead(head));
    *body_bytes_out = sums.body_bytes;
    return sums.count;
}
