/* SPDX-License-Identifier: Apache-2.0 */
/* Messages first, then consumers.
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
    TURN_CAPACITY_MIN = 4,
};

struct queue_block {
    struct queue_block *next;
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

struct queue_turn {
    int64_t priority;
    uint64_t turn;
    struct consumer *consumer; /* its ready_slot is this place + 1 */
};

_Static_assert(sizeof(struct queue) <= 464, "a million queues may be idle");

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
        xalloc(sizeof(*queue) + properties->name.size + properties->arguments.size);
    uint8_t *end = (uint8_t *)(queue + 1);
    route_target_init(&queue->target, ROUTE_TARGET_QUEUE, id);
    queue->name = copy_behind(&end, properties->name);
    queue->arguments = copy_behind(&end, properties->arguments);
    struct fault fault;
    enum status status = queue_settings_read(&queue->settings, queue->arguments, "queue", &fault);
    assert(status == STATUS_OK);
    queue->owner_link = properties->owner_link;
    queue->references = 1;
    queue->durable = properties->durable;
    queue->exclusive = properties->exclusive;
    queue->auto_delete = properties->auto_delete;
    queue->from_file = properties->from_file;
    queue->next_position = 1;
    list_init(&queue->consumers);
    return queue;
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
    free(queue->turns);
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
discard_blocks(struct queue *queue, struct queue_discards *discards)
{
    if (queue->head_block == NULL) {
        return;
    }
    for (const struct queue_block *block = queue->head_block; block != NULL; block = block->next) {
        queue->memory_bytes -= block_bytes(block->capacity);
    }
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
queue_purge(struct queue *queue, struct chunk_pool *pool, struct queue_discards *discards)
{
    uint64_t count = queue->ready_count;
    for (uint32_t i = 0; i < queue->returned_count; i++) {
        chunk_pool_release(pool, queue->returned[i].entry.content);
    }
    discard_blocks(queue, discards);
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
    free(block);
}

bool
queue_discards_release(struct queue_discards *discards, struct chunk_pool *pool,
                       uint32_t message_max)
{
    uint32_t released = 0;
    while (discards->first != NULL && released < message_max) {
        const struct queue_block *block = discards->first;
        for (uint32_t i = block->start; i < block->end; i++) {
            chunk_pool_release(pool, block->entries[i].content);
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

/* Turns ---------------------------------------------------------------------------------------- */

static bool
turn_is_before(const struct queue_turn *a, const struct queue_turn *b)
{
    return a->priority != b->priority ? a->priority > b->priority : a->turn < b->turn;
}

static void
put_turn(struct queue *queue, uint32_t at, const struct queue_turn *turn)
{
    queue->turns[at] = *turn;
    turn->consumer->ready_slot = at + 1;
}

/* Both move `turn` to its place, starting at the free place `at`. */
static void
sift_up(struct queue *queue, uint32_t at, struct queue_turn turn)
{
    while (at > 0 && turn_is_before(&turn, &queue->turns[(at - 1) / 2])) {
        put_turn(queue, at, &queue->turns[(at - 1) / 2]);
        at = (at - 1) / 2;
    }
    put_turn(queue, at, &turn);
}

static void
sift_down(struct queue *queue, uint32_t at, struct queue_turn turn)
{
    uint32_t count = queue->ready_consumer_count;
    for (uint32_t child = 2 * at + 1; child < count; child = 2 * at + 1) {
        if (child + 1 < count && turn_is_before(&queue->turns[child + 1], &queue->turns[child])) {
            child++;
        }
        if (!turn_is_before(&queue->turns[child], &turn)) {
            break;
        }
        put_turn(queue, at, &queue->turns[child]);
        at = child;
    }
    put_turn(queue, at, &turn);
}

static void
add_turn(struct queue *queue, struct consumer *consumer)
{
    if (consumer_is_ready(consumer)) {
        return;
    }
    assert(queue->ready_consumer_count < queue->turn_capacity);
    struct queue_turn turn = {
        .priority = consumer->priority, .turn = queue->next_turn++, .consumer = consumer};
    sift_up(queue, queue->ready_consumer_count++, turn);
}

void
queue_consumer_not_ready(struct consumer *consumer)
{
    if (!consumer_is_ready(consumer)) {
        return;
    }
    struct queue *queue = consumer->queue;
    uint32_t at = consumer->ready_slot - 1;
    assert(queue->turns[at].consumer == consumer);
    consumer->ready_slot = 0;
    struct queue_turn last = queue->turns[--queue->ready_consumer_count];
    if (at == queue->ready_consumer_count) {
        return;
    }
    if (at > 0 && turn_is_before(&last, &queue->turns[(at - 1) / 2])) {
        sift_up(queue, at, last);
    } else {
        sift_down(queue, at, last);
    }
}

struct consumer *
queue_next_consumer(const struct queue *queue)
{
    return queue->ready_consumer_count == 0 ? NULL : queue->turns[0].consumer;
}

void
queue_consumer_served(struct queue *queue, struct consumer *consumer)
{
    if (queue->ready_consumer_count <= 1) {
        return;
    }
    assert(consumer_is_ready(consumer));
    uint32_t at = consumer->ready_slot - 1;
    struct queue_turn turn = queue->turns[at];
    turn.turn = queue->next_turn++;
    sift_down(queue, at, turn);
}

/* Consumers ------------------------------------------------------------------------------------ */

static bool
is_single_active(const struct queue *queue)
{
    return queue->settings.single_active_consumer;
}

static void
activate(struct queue *queue, struct consumer *consumer)
{
    if (queue->active != NULL) {
        queue_consumer_not_ready(queue->active);
    }
    queue->active = consumer;
    queue->successor = NULL;
    if (consumer != NULL) {
        add_turn(queue, consumer);
    }
}

/* Who becomes active when nobody is: the first registered, in a quorum queue among those of the
 * highest priority. */
static struct consumer *
find_heir(const struct queue *queue)
{
    struct consumer *heir = NULL;
    LIST_FOR_EACH(&queue->consumers, link)
    {
        struct consumer *consumer = CONTAINER_OF(link, struct consumer, queue_link);
        if (heir == NULL || consumer->priority > heir->priority) {
            heir = consumer;
        }
        if (queue->settings.type == QUEUE_TYPE_CLASSIC) {
            break;
        }
    }
    return heir;
}

/* Whether `consumer` comes before `other` when a quorum queue chooses its active consumer. */
static bool
supersedes(const struct queue *queue, const struct consumer *consumer, const struct consumer *other)
{
    return queue->settings.type == QUEUE_TYPE_QUORUM && consumer->priority > other->priority;
}

/* The active one is served no more when another has precedence, and gives way once it has settled
 * what it holds. */
static void
give_way(struct queue *queue)
{
    queue_consumer_not_ready(queue->active);
    if (queue->active->unacked_count == 0) {
        activate(queue, queue->successor);
    }
}

/* A newcomer on a queue that serves one consumer at a time. */
static void
join_single_active(struct queue *queue, struct consumer *consumer)
{
    if (queue->active == NULL) {
        activate(queue, consumer);
        return;
    }
    const struct consumer *best = queue->successor != NULL ? queue->successor : queue->active;
    if (supersedes(queue, consumer, best)) {
        queue->successor = consumer;
        give_way(queue);
    }
}

static void
leave_single_active(struct queue *queue, const struct consumer *consumer)
{
    if (consumer == queue->active) {
        queue->active = NULL;
        activate(queue, find_heir(queue));
        return;
    }
    if (consumer == queue->successor) {
        struct consumer *heir = find_heir(queue);
        queue->successor = supersedes(queue, heir, queue->active) ? heir : NULL;
        if (queue->successor == NULL) {
            add_turn(queue, queue->active);
        }
    }
}

static void
make_room_for_turn(struct queue *queue)
{
    if (queue->consumer_count < queue->turn_capacity) {
        return;
    }
    uint32_t capacity = queue->turn_capacity == 0 ? TURN_CAPACITY_MIN : queue->turn_capacity * 2;
    queue->turns = xrealloc(queue->turns, capacity * sizeof(*queue->turns));
    queue->turn_capacity = capacity;
}

void
queue_add_consumer(struct queue *queue, struct consumer *consumer)
{
    assert(consumer->queue == NULL || consumer->queue == queue);
    consumer->queue = queue;
    make_room_for_turn(queue);
    list_append(&queue->consumers, &consumer->queue_link);
    queue->consumer_count++;
    queue->had_consumer = true;
    if (consumer->exclusive) {
        assert(queue->consumer_count == 1);
        queue->exclusive_consumer = consumer;
    }
    if (is_single_active(queue)) {
        join_single_active(queue, consumer);
    } else {
        add_turn(queue, consumer);
    }
}

void
queue_remove_consumer(struct queue *queue, struct consumer *consumer)
{
    assert(consumer->queue == queue);
    queue_consumer_not_ready(consumer);
    list_remove(&consumer->queue_link);
    queue->consumer_count--;
    if (queue->exclusive_consumer == consumer) {
        queue->exclusive_consumer = NULL;
    }
    if (is_single_active(queue)) {
        leave_single_active(queue, consumer);
    }
    if (queue->consumer_count == 0) {
        free(queue->turns);
        queue->turns = NULL;
        queue->turn_capacity = 0;
    }
    consumer->queue = NULL;
    consumer->channel = NULL;
    consumer_unref(&consumer);
}

void
queue_consumer_ready(struct queue *queue, struct consumer *consumer)
{
    assert(consumer->queue == queue);
    if (!is_single_active(queue)) {
        add_turn(queue, consumer);
    } else if (consumer == queue->active) {
        if (queue->successor != NULL) {
            give_way(queue);
        } else {
            add_turn(queue, consumer);
        }
    }
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

static void
check_consumers(const struct queue *queue)
{
    uint32_t count = 0;
    uint32_t ready_count = 0;
    LIST_FOR_EACH(&queue->consumers, link)
    {
        const struct consumer *consumer = CONTAINER_OF(link, struct consumer, queue_link);
        assert(consumer->queue == queue);
        count++;
        ready_count += consumer_is_ready(consumer);
    }
    assert(count == queue->consumer_count);
    assert(ready_count == queue->ready_consumer_count);
    for (uint32_t i = 0; i < ready_count; i++) {
        assert(queue->turns[i].consumer->ready_slot == i + 1);
        assert(i == 0 || turn_is_before(&queue->turns[(i - 1) / 2], &queue->turns[i]));
        assert(!is_single_active(queue) || queue->turns[i].consumer == queue->active);
    }
    assert(!is_single_active(queue) || (queue->active != NULL) == (count > 0));
}

void
queue_check(const struct queue *queue)
{
    check_messages(queue);
    check_consumers(queue);
}
