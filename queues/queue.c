/* SPDX-License-Identifier: Apache-2.0 */
/* The messages of a queue; its consumers are in queue_consumers.c.
 *
 * Memory: the first block starts small and grows, so a queue with a handful of messages costs a
 * handful of entries; an empty queue keeps one small block at most, so that a steady flow allocates
 * nothing, and before the first message it has none. */
#include "queues/queue.h"

#include <stdlib.h>

#include "base/alloc.h"
#include "base/assert.h"

enum {
    BLOCK_BYTES = 8 * 1024,
    BLOCK_CAPACITY_FIRST = 16,
    BLOCK_GROWTH = 4,
    RETURNED_CAPACITY_MIN = 16,
};

struct queue_block {
    struct queue_block *next;
    uint64_t queue_id; /* among discards: whose; 0: of a queue that is gone */
    uint64_t
        sequence;   /* among discards: of the purge that this is the last block of; 0: not last */
    uint32_t start; /* of the first entry that is still here */
    uint32_t end;
    uint32_t capacity;
    struct queue_entry entries[];
};

enum {
    BLOCK_CAPACITY_MAX = (BLOCK_BYTES - sizeof(struct queue_block)) / sizeof(struct queue_entry),
};

/* The heap is ordered by `order`: the position, or the number of the return in a quorum queue. */
struct queue_returned {
    uint64_t order;
    uint64_t position;
    struct queue_entry entry;
};

_Static_assert(sizeof(struct queue) <= 472, "a million queues may be idle");

/* Life ----------------------------------------------------------------------------------------- */

static struct bytes
copy_behind(uint8_t **end, struct bytes bytes)
{
    uint8_t *copy = *end;
    if (bytes.size > 0) {
        memcpy(copy, bytes.data, bytes.size);
    }
    *end += bytes.size;
    return bytes_make(copy, bytes.size);
}

struct queue *
queue_new(uint64_t id, const struct queue_properties *properties)
{
    struct queue *queue =
        try_alloc(sizeof(*queue) + properties->name.size + properties->arguments.size);
    if (queue == NULL) {
        return NULL;
    }
    *queue = (struct queue){.references = 1};
    uint8_t *end = (uint8_t *)(queue + 1);
    route_target_init(&queue->target, ROUTE_TARGET_QUEUE, id);
    queue->name = copy_behind(&end, properties->name);
    queue->arguments = copy_behind(&end, properties->arguments);
    struct fault fault;
    enum status status = queue_settings_read(&queue->settings, queue->arguments, "queue", &fault);
    assert(status == STATUS_OK);
    queue->owner_link = properties->owner_link;
    queue->durable = properties->durable;
    queue->exclusive = properties->exclusive;
    queue->auto_delete = properties->auto_delete;
    queue->from_file = properties->from_file;
    queue->next_position = 1;
    list_init(&queue->consumers);
    return queue;
}

/* As declared they lie behind the name, in the queue's own allocation. */
static void
free_own_arguments(struct queue *queue)
{
    if (queue->arguments.data != queue->name.data + queue->name.size) {
        free((void *)queue->arguments.data);
    }
}

enum status
queue_set_arguments(struct queue *queue, struct bytes arguments)
{
    uint8_t *copy = try_alloc(arguments.size + 1);
    if (copy == NULL) {
        return STATUS_NO_MEMORY;
    }
    if (arguments.size > 0) {
        memcpy(copy, arguments.data, arguments.size);
    }
    struct queue_settings settings;
    struct fault fault;
    enum status status =
        queue_settings_read(&settings, bytes_make(copy, arguments.size), "queue", &fault);
    assert(status == STATUS_OK);
    assert(settings.type == queue->settings.type);
    assert(settings.max_priority == queue->settings.max_priority);
    assert(settings.single_active_consumer == queue->settings.single_active_consumer);
    free_own_arguments(queue);
    queue->arguments = bytes_make(copy, arguments.size);
    queue->settings = settings;
    return STATUS_OK;
}

struct queue *
queue_ref(struct queue *queue)
{
    assert(queue->references > 0);
    queue->references++;
    return queue;
}

static void
count_memory(struct queue *queue, size_t freed, size_t taken)
{
    assert(queue->memory_bytes >= freed);
    queue->memory_bytes += taken - freed;
    if (queue->memory_total != NULL) {
        assert(*queue->memory_total >= freed);
        *queue->memory_total += taken - freed;
    }
}

static size_t
block_bytes(uint32_t capacity)
{
    return sizeof(struct queue_block) + capacity * sizeof(struct queue_entry);
}

static void
free_head_block(struct queue *queue)
{
    struct queue_block *block = queue->head_block;
    queue->head_block = block->next;
    if (queue->head_block == NULL) {
        queue->tail_block = NULL;
    }
    count_memory(queue, block_bytes(block->capacity), 0);
    free(block);
}

static void
free_returned(struct queue *queue)
{
    count_memory(queue, queue->returned_capacity * sizeof(*queue->returned), 0);
    free(queue->returned);
    queue->returned = NULL;
    queue->returned_capacity = 0;
}

void
queue_unref(struct queue **queue_pointer)
{
    struct queue *queue = *queue_pointer;
    if (queue == NULL) {
        return;
    }
    *queue_pointer = NULL;
    assert(queue->references > 0);
    if (--queue->references > 0) {
        return;
    }
    assert(queue->ready_count == 0);
    assert(queue->unacked_count == 0);
    assert(queue->consumer_count == 0);
    list_remove(&queue->dispatch_link);
    list_remove(&queue->owner_list_link);
    while (queue->head_block != NULL) {
        free_head_block(queue);
    }
    free_returned(queue);
    if (queue->handout != NULL) {
        list_remove(&queue->handout->link);
        free(queue->handout);
    }
    free(queue->turns);
    free_own_arguments(queue);
    free(queue);
}

/* The deque ------------------------------------------------------------------------------------ */

static uint64_t
deque_count(const struct queue *queue)
{
    return queue->ready_count - queue->returned_count;
}

static enum status
add_tail_block(struct queue *queue)
{
    uint32_t capacity = queue->tail_block == NULL ? BLOCK_CAPACITY_FIRST : BLOCK_CAPACITY_MAX;
    struct queue_block *block = try_alloc(block_bytes(capacity));
    if (block == NULL) {
        return STATUS_NO_MEMORY;
    }
    *block = (struct queue_block){.capacity = capacity};
    if (queue->tail_block == NULL) {
        queue->head_block = block;
    } else {
        queue->tail_block->next = block;
    }
    queue->tail_block = block;
    count_memory(queue, 0, block_bytes(capacity));
    return STATUS_OK;
}

static enum status
grow_only_block(struct queue *queue)
{
    uint32_t old_capacity = queue->tail_block->capacity;
    uint32_t capacity = old_capacity * BLOCK_GROWTH;
    if (capacity > BLOCK_CAPACITY_MAX) {
        capacity = BLOCK_CAPACITY_MAX;
    }
    struct queue_block *block = try_realloc(queue->tail_block, block_bytes(capacity));
    if (block == NULL) {
        return STATUS_NO_MEMORY;
    }
    block->capacity = capacity;
    queue->head_block = block;
    queue->tail_block = block;
    count_memory(queue, block_bytes(old_capacity), block_bytes(capacity));
    return STATUS_OK;
}

/* Room for one more entry in the tail block. */
static enum status
make_room(struct queue *queue)
{
    struct queue_block *block = queue->tail_block;
    if (block == NULL) {
        return add_tail_block(queue);
    }
    if (block->capacity == BLOCK_CAPACITY_MAX) {
        return add_tail_block(queue);
    }
    assert(queue->head_block == block); /* only the first block is small */
    if (block->start >= block->capacity / 2) {
        uint32_t count = block->end - block->start;
        memmove(block->entries, block->entries + block->start, count * sizeof(*block->entries));
        block->start = 0;
        block->end = count;
        return STATUS_OK;
    }
    return grow_only_block(queue);
}

enum status
queue_push(struct queue *queue, const struct queue_entry *entry)
{
    struct queue_block *block = queue->tail_block;
    if (block == NULL || block->end == block->capacity) {
        if (make_room(queue) != STATUS_OK) {
            return STATUS_NO_MEMORY;
        }
        block = queue->tail_block;
    }
    block->entries[block->end++] = *entry;
    queue->next_position++;
    queue->ready_count++;
    queue->ready_bytes += entry->size;
    return STATUS_OK;
}

/* The head block has nothing more to give. The last small one stays for the next message. */
static void
finish_head_block(struct queue *queue)
{
    struct queue_block *block = queue->head_block;
    if (block->next == NULL && block->capacity == BLOCK_CAPACITY_FIRST) {
        block->start = 0;
        block->end = 0;
        return;
    }
    free_head_block(queue);
}

static void
take_from_deque(struct queue *queue, struct queue_entry *entry_out, uint64_t *position_out)
{
    struct queue_block *block = queue->head_block;
    *position_out = queue->next_position - deque_count(queue);
    *entry_out = block->entries[block->start++];
    if (block->start == block->end) {
        finish_head_block(queue);
    }
}

/* Returned messages ---------------------------------------------------------------------------- */

static void
place_returned(struct queue *queue, const struct queue_returned *item)
{
    struct queue_returned *heap = queue->returned;
    uint32_t at = queue->returned_count++;
    while (at > 0 && heap[(at - 1) / 2].order > item->order) {
        heap[at] = heap[(at - 1) / 2];
        at = (at - 1) / 2;
    }
    heap[at] = *item;
}

static void
take_returned(struct queue *queue, struct queue_entry *entry_out, uint64_t *position_out)
{
    struct queue_returned *heap = queue->returned;
    *entry_out = heap[0].entry;
    *position_out = heap[0].position;
    uint32_t count = --queue->returned_count;
    struct queue_returned last = heap[count];
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

static uint64_t
returned_needed(const struct queue *queue)
{
    return queue->returned_count + queue->unacked_count;
}

static enum status
resize_returned(struct queue *queue, uint32_t capacity)
{
    struct queue_returned *returned =
        try_realloc(queue->returned, capacity * sizeof(*queue->returned));
    if (returned == NULL) {
        return STATUS_NO_MEMORY;
    }
    count_memory(queue, queue->returned_capacity * sizeof(*returned), capacity * sizeof(*returned));
    queue->returned = returned;
    queue->returned_capacity = capacity;
    return STATUS_OK;
}

/* Room to take one more message back. */
static enum status
keep_room(struct queue *queue)
{
    if (returned_needed(queue) < queue->returned_capacity) {
        return STATUS_OK;
    }
    if (queue->returned_capacity > UINT32_MAX / 2) {
        return STATUS_NO_MEMORY;
    }
    return resize_returned(queue, queue->returned_capacity == 0 ? RETURNED_CAPACITY_MIN
                                                                : queue->returned_capacity * 2);
}

/* Gives memory back when seven of eight places are unused. */
static void
shrink_room(struct queue *queue)
{
    uint32_t capacity = queue->returned_capacity;
    if (capacity > RETURNED_CAPACITY_MIN && returned_needed(queue) <= capacity / 8) {
        /* A shrinking that fails leaves the larger array, which is as good. */
        enum status status = resize_returned(queue, capacity / 2);
        (void)status;
    }
}

void
queue_return(struct queue *queue, const struct queue_entry *entry, uint64_t position)
{
    assert(queue->unacked_count > 0);
    assert(position < queue->next_position);
    assert(queue->returned_count < queue->returned_capacity);
    bool is_quorum = queue->settings.type == QUEUE_TYPE_QUORUM;
    struct queue_returned item = {
        .order = is_quorum ? queue->next_return++ : position,
        .position = position,
        .entry = *entry,
    };
    queue_entry_set_flag(&item.entry, ENTRY_REDELIVERED);
    place_returned(queue, &item);
    queue->unacked_count--;
    queue->ready_count++;
    queue->ready_bytes += entry->size;
}

void
queue_settle(struct queue *queue)
{
    assert(queue->unacked_count > 0);
    queue->unacked_count--;
    shrink_room(queue);
}

/* Taking --------------------------------------------------------------------------------------- */

const struct queue_entry *
queue_peek(const struct queue *queue)
{
    if (queue->ready_count == 0) {
        return NULL;
    }
    return queue->returned_count > 0 ? &queue->returned[0].entry
                                     : &queue->head_block->entries[queue->head_block->start];
}

/* The highest LSN in a block: entries stand in the order of the log. */
static uint64_t
block_last_lsn(const struct queue_block *block)
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
queue_horizon_lsn(const struct queue *queue)
{
    enum { HORIZON_BLOCKS = 16 };
    uint64_t lsn = 0;
    const struct queue_block *block = queue->head_block;
    for (int i = 0; i < HORIZON_BLOCKS && block != NULL; i++, block = block->next) {
        uint64_t last = block_last_lsn(block);
        lsn = last > lsn ? last : lsn;
    }
    return lsn;
}

bool
queue_pop(struct queue *queue, struct queue_entry *entry_out, uint64_t *position_out)
{
    if (queue->ready_count == 0) {
        return false;
    }
    /* What came back was once at the head, so it stands before whatever is in the deque. */
    if (queue->returned_count > 0) {
        take_returned(queue, entry_out, position_out);
    } else {
        take_from_deque(queue, entry_out, position_out);
    }
    queue->ready_count--;
    queue->ready_bytes -= entry_out->size;
    return true;
}

enum status
queue_lend(struct queue *queue, struct queue_entry *entry_out, uint64_t *position_out)
{
    if (queue->ready_count == 0) {
        return STATUS_AGAIN;
    }
    if (keep_room(queue) != STATUS_OK) {
        return STATUS_NO_MEMORY;
    }
    bool taken = queue_pop(queue, entry_out, position_out);
    assert(taken);
    queue->unacked_count++;
    return STATUS_OK;
}

/* Hands the chain of blocks over, still counted in the total of memory. */
static void
discard_blocks(struct queue *queue, uint64_t queue_id, struct queue_discards *discards)
{
    if (queue->head_block == NULL) {
        return;
    }
    for (struct queue_block *block = queue->head_block; block != NULL; block = block->next) {
        queue->memory_bytes -= block_bytes(block->capacity);
        block->queue_id = queue_id;
        block->sequence = 0;
    }
    queue->tail_block->sequence = ++discards->discarded_sequence;
    if (discards->last == NULL) {
        discards->first = queue->head_block;
    } else {
        discards->last->next = queue->head_block;
    }
    discards->last = queue->tail_block;
    discards->memory_total = queue->memory_total;
    queue->head_block = NULL;
    queue->tail_block = NULL;
}

uint64_t
queue_purge(struct queue *queue, struct queue_discards *discards)
{
    uint64_t count = queue->ready_count;
    uint64_t queue_id = queue->deleted ? 0 : queue->target.id;
    for (uint32_t i = 0; i < queue->returned_count; i++) {
        discards->release(discards->context, queue_id, &queue->returned[i].entry);
    }
    discard_blocks(queue, queue_id, discards);
    queue->returned_count = 0;
    queue->ready_count = 0;
    queue->ready_bytes = 0;
    if (queue->unacked_count == 0) {
        free_returned(queue);
    }
    return count;
}

static void
drop_discarded_block(struct queue_discards *discards)
{
    struct queue_block *block = discards->first;
    discards->first = block->next;
    if (discards->first == NULL) {
        discards->last = NULL;
    }
    if (discards->memory_total != NULL) {
        *discards->memory_total -= block_bytes(block->capacity);
    }
    if (block->sequence != 0) {
        discards->released_sequence = block->sequence;
    }
    free(block);
}

bool
queue_discards_release(struct queue_discards *discards, uint32_t message_max)
{
    uint32_t released = 0;
    while (discards->first != NULL && released < message_max) {
        const struct queue_block *block = discards->first;
        for (uint32_t i = block->start; i < block->end; i++) {
            discards->release(discards->context, block->queue_id, &block->entries[i]);
        }
        released += block->end - block->start;
        drop_discarded_block(discards);
    }
    return discards->first != NULL;
}

uint64_t
queue_memory_bytes(const struct queue *queue)
{
    return queue->memory_bytes;
}

/* Checking ------------------------------------------------------------------------------------- */

static void
check_messages(const struct queue *queue)
{
    uint64_t count = 0;
    uint64_t bytes = 0;
    size_t memory = queue->returned_capacity * sizeof(*queue->returned);
    const struct queue_block *last = NULL;
    for (const struct queue_block *block = queue->head_block; block != NULL; block = block->next) {
        assert(block->start <= block->end);
        assert(block->end <= block->capacity);
        for (uint32_t i = block->start; i < block->end; i++) {
            bytes += block->entries[i].size;
        }
        count += block->end - block->start;
        memory += block_bytes(block->capacity);
        last = block;
    }
    assert(last == queue->tail_block);
    assert(count == deque_count(queue));
    for (uint32_t i = 0; i < queue->returned_count; i++) {
        assert(i == 0 || queue->returned[(i - 1) / 2].order < queue->returned[i].order);
        assert(queue->returned[i].position < queue->next_position - count);
        bytes += queue->returned[i].entry.size;
    }
    assert(bytes == queue->ready_bytes);
    assert(memory == queue->memory_bytes);
    assert(returned_needed(queue) <= queue->returned_capacity);
}

void
queue_check(const struct queue *queue)
{
    check_messages(queue);
    queue_check_consumers(queue);
}
