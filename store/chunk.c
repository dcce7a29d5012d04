/* SPDX-License-Identifier: Apache-2.0 */
/* The pool of chunks. A slot table says what a content reference means: memory and generation. A
 * freed slot keeps its generation and takes the next one when it is used again, so a reference that
 * outlived its content is a caught bug and not somebody else's message. */
#include "store/chunk.h"

#include <stdlib.h>
#include <sys/mman.h>

#include "base/alloc.h"
#include "base/assert.h"

enum {
    CHUNK_SLOTS_MAX = 1 << CHUNK_SLOT_BITS,
    CHUNK_SLOTS_FIRST = 16,
    CHUNK_GENERATION_MAX = (1 << CHUNK_GENERATION_BITS) - 1,
    CHUNK_ALIGNMENT = 8,
};

static const uint32_t NO_SLOT = UINT32_MAX;

struct chunk_slot {
    uint8_t *memory;     /* NULL: the slot is free */
    size_t capacity;     /* CHUNK_SIZE, or the size of the one content that it was mapped for */
    uint32_t generation; /* never 0 */
    uint32_t live;       /* how many counts name a content in it */
    uint32_t fill;       /* octets used, a multiple of CHUNK_ALIGNMENT; of a shared chunk only */
    uint32_t next;       /* in the list of free or of idle slots; NO_SLOT at the end */
    bool is_idle_listed; /* its count was zero at least once in this tick */
};

struct chunk_pool {
    struct chunk_memory memory;
    struct chunk_slot *slots; /* owned */
    uint32_t slot_count;      /* slots that were ever used */
    uint32_t slot_capacity;
    uint32_t free_slots;             /* head of a list */
    uint32_t idle_slots;             /* head of a list */
    uint32_t open[CHUNK_KIND_COUNT]; /* the chunk that takes the next content, or NO_SLOT */
    uint8_t *spares[CHUNK_SPARES_MAX];
    uint32_t spare_count;
    uint32_t spare_count_min; /* since the last trim: so many were not needed */
    uint64_t bytes;
};

_Static_assert(CHUNK_SIZE / CHUNK_ALIGNMENT <= 1 << CHUNK_OFFSET_BITS,
               "an offset fits a reference");
_Static_assert(CHUNK_SLOT_BITS + CHUNK_GENERATION_BITS + CHUNK_OFFSET_BITS == 64,
               "a reference is one word");

static void *
anonymous_map(void *context, size_t size)
{
    (void)context;
    void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    return memory == MAP_FAILED ? NULL : memory;
}

static void
anonymous_unmap(void *context, void *memory, size_t size)
{
    (void)context;
    int result = munmap(memory, size);
    assert(result == 0);
}

static struct content_ref
ref_make(uint32_t slot, uint32_t generation, size_t offset)
{
    uint64_t bits = (uint64_t)slot << (CHUNK_GENERATION_BITS + CHUNK_OFFSET_BITS) |
                    (uint64_t)generation << CHUNK_OFFSET_BITS | offset / CHUNK_ALIGNMENT;
    return (struct content_ref){.bits = bits};
}

static uint32_t
ref_slot(struct content_ref ref)
{
    return (uint32_t)(ref.bits >> (CHUNK_GENERATION_BITS + CHUNK_OFFSET_BITS));
}

static uint32_t
ref_generation(struct content_ref ref)
{
    return (uint32_t)(ref.bits >> CHUNK_OFFSET_BITS) & CHUNK_GENERATION_MAX;
}

static size_t
ref_offset(struct content_ref ref)
{
    return (ref.bits & ((1 << CHUNK_OFFSET_BITS) - 1)) * CHUNK_ALIGNMENT;
}

/* The slot that `ref` names; a stale reference is a bug of ours. */
static struct chunk_slot *
slot_of(const struct chunk_pool *pool, struct content_ref ref)
{
    uint32_t number = ref_slot(ref);
    assert(number < pool->slot_count);
    struct chunk_slot *slot = &pool->slots[number];
    assert(slot->memory != NULL);
    assert(slot->generation == ref_generation(ref));
    return slot;
}

static uint32_t
generation_after(uint32_t generation)
{
    return generation == CHUNK_GENERATION_MAX ? 1 : generation + 1;
}

struct chunk_pool *
chunk_pool_new(void)
{
    return chunk_pool_new_with(
        (struct chunk_memory){.map = anonymous_map, .unmap = anonymous_unmap});
}

struct chunk_pool *
chunk_pool_new_with(struct chunk_memory memory)
{
    struct chunk_pool *pool = xalloc(sizeof(*pool));
    pool->memory = memory;
    pool->free_slots = NO_SLOT;
    pool->idle_slots = NO_SLOT;
    for (int kind = 0; kind < CHUNK_KIND_COUNT; kind++) {
        pool->open[kind] = NO_SLOT;
    }
    return pool;
}

void
chunk_pool_free(struct chunk_pool **pool)
{
    struct chunk_pool *dying = *pool;
    if (dying == NULL) {
        return;
    }
    *pool = NULL;
    for (uint32_t i = 0; i < dying->slot_count; i++) {
        struct chunk_slot *slot = &dying->slots[i];
        if (slot->memory != NULL) {
            dying->memory.unmap(dying->memory.context, slot->memory, slot->capacity);
        }
    }
    for (uint32_t i = 0; i < dying->spare_count; i++) {
        dying->memory.unmap(dying->memory.context, dying->spares[i], CHUNK_SIZE);
    }
    free(dying->slots);
    free(dying);
}

/* Makes room for one more slot that was never used. */
static enum status
pool_grow_slots(struct chunk_pool *pool)
{
    if (pool->slot_count == CHUNK_SLOTS_MAX) {
        return STATUS_FULL;
    }
    if (pool->slot_count < pool->slot_capacity) {
        return STATUS_OK;
    }
    uint32_t capacity = pool->slot_capacity == 0 ? CHUNK_SLOTS_FIRST : pool->slot_capacity * 2;
    struct chunk_slot *slots = try_realloc(pool->slots, capacity * sizeof(*slots));
    if (slots == NULL) {
        return STATUS_NO_MEMORY;
    }
    pool->slots = slots;
    pool->slot_capacity = capacity;
    return STATUS_OK;
}

/* Takes a slot that is free; its memory is the caller's to set. */
static uint32_t
pool_take_slot(struct chunk_pool *pool)
{
    if (pool->free_slots != NO_SLOT) {
        uint32_t number = pool->free_slots;
        pool->free_slots = pool->slots[number].next;
        return number;
    }
    pool->slots[pool->slot_count] = (struct chunk_slot){.generation = 1};
    return pool->slot_count++;
}

static uint8_t *
pool_map(struct chunk_pool *pool, size_t capacity)
{
    if (capacity == CHUNK_SIZE && pool->spare_count > 0) {
        pool->spare_count--;
        if (pool->spare_count < pool->spare_count_min) {
            pool->spare_count_min = pool->spare_count;
        }
        return pool->spares[pool->spare_count];
    }
    return pool->memory.map(pool->memory.context, capacity);
}

static void
pool_unmap(struct chunk_pool *pool, uint8_t *memory, size_t capacity)
{
    if (capacity == CHUNK_SIZE && pool->spare_count < CHUNK_SPARES_MAX) {
        pool->spares[pool->spare_count++] = memory;
        return;
    }
    pool->memory.unmap(pool->memory.context, memory, capacity);
}

/* A new chunk without contents. */
static enum status
pool_add_chunk(struct chunk_pool *pool, size_t capacity, uint32_t *number_out)
{
    if (pool->free_slots == NO_SLOT) {
        enum status status = pool_grow_slots(pool);
        if (status != STATUS_OK) {
            return status;
        }
    }
    uint8_t *memory = pool_map(pool, capacity);
    if (memory == NULL) {
        return STATUS_NO_MEMORY;
    }
    uint32_t number = pool_take_slot(pool);
    struct chunk_slot *slot = &pool->slots[number];
    slot->memory = memory;
    slot->capacity = capacity;
    slot->live = 0;
    slot->fill = 0;
    slot->next = NO_SLOT;
    *number_out = number;
    return STATUS_OK;
}

/* The open chunk of `kind`, after making sure that it has room for `size` octets. */
static enum status
pool_open_chunk(struct chunk_pool *pool, enum chunk_kind kind, size_t size, uint32_t *number_out)
{
    uint32_t number = pool->open[kind];
    if (number == NO_SLOT || pool->slots[number].fill + size > CHUNK_SIZE) {
        enum status status = pool_add_chunk(pool, CHUNK_SIZE, &number);
        if (status != STATUS_OK) {
            return status;
        }
        /* The one that was open had contents, so it is counted or on the idle list. */
        pool->open[kind] = number;
    }
    *number_out = number;
    return STATUS_OK;
}

/* Writes everything but the body and returns where the body goes. */
static uint8_t *
content_write(struct content *content, const struct content_shape *shape)
{
    *content = (struct content){
        .body_size = shape->body_size,
        .properties_size = (uint32_t)shape->properties.size,
        .flags = shape->flags,
        .exchange_size = (uint8_t)shape->exchange.size,
        .routing_key_size = (uint8_t)shape->routing_key.size,
    };
    const struct bytes parts[] = {shape->exchange, shape->routing_key, shape->properties};
    uint8_t *at = content->octets;
    for (size_t i = 0; i < ARRAY_LEN(parts); i++) {
        if (parts[i].size > 0) {
            memcpy(at, parts[i].data, parts[i].size);
        }
        at += parts[i].size;
    }
    return at;
}

enum status
chunk_pool_reserve(struct chunk_pool *pool, const struct content_shape *shape,
                   struct content_ref *ref_out, uint8_t **body_out)
{
    assert(shape->exchange.size <= UINT8_MAX);
    assert(shape->routing_key.size <= UINT8_MAX);
    assert(shape->properties.size <= UINT32_MAX);
    assert(shape->kind < CHUNK_KIND_COUNT);

    size_t size = sizeof(struct content) + shape->exchange.size + shape->routing_key.size +
                  shape->properties.size + shape->body_size;
    /* A huge property block must not leave most of a shared chunk unused either. */
    bool is_own = shape->body_size > CHUNK_BODY_OWN || size > CHUNK_SIZE / 2;
    uint32_t number;
    /* Padding is part of what the log writes. */
    size_t own_size = (size + CHUNK_ALIGNMENT - 1) & ~(size_t)(CHUNK_ALIGNMENT - 1);
    enum status status = is_own ? pool_add_chunk(pool, own_size, &number)
                                : pool_open_chunk(pool, shape->kind, size, &number);
    if (status != STATUS_OK) {
        return status;
    }
    struct chunk_slot *slot = &pool->slots[number];
    size_t offset = slot->fill;
    if (offset == 0) {
        pool->bytes += slot->capacity;
    }
    if (!is_own) {
        size_t mask = CHUNK_ALIGNMENT - 1;
        slot->fill = (uint32_t)((offset + size + mask) & ~mask);
    }
    slot->live++;
    *body_out = content_write((struct content *)(void *)(slot->memory + offset), shape);
    *ref_out = ref_make(number, slot->generation, offset);
    return STATUS_OK;
}

const struct content *
chunk_pool_content(const struct chunk_pool *pool, struct content_ref ref)
{
    return (const struct content *)(const void *)(slot_of(pool, ref)->memory + ref_offset(ref));
}

void
chunk_pool_retain(struct chunk_pool *pool, struct content_ref ref)
{
    struct chunk_slot *slot = slot_of(pool, ref);
    assert(slot->live > 0);
    assert(slot->live < UINT32_MAX);
    slot->live++;
}

void
chunk_pool_release(struct chunk_pool *pool, struct content_ref ref)
{
    struct chunk_slot *slot = slot_of(pool, ref);
    assert(slot->live > 0);
    slot->live--;
    if (slot->live == 0 && !slot->is_idle_listed) {
        slot->is_idle_listed = true;
        slot->next = pool->idle_slots;
        pool->idle_slots = ref_slot(ref);
    }
}

static bool
pool_is_open(const struct chunk_pool *pool, uint32_t number)
{
    for (int kind = 0; kind < CHUNK_KIND_COUNT; kind++) {
        if (pool->open[kind] == number) {
            return true;
        }
    }
    return false;
}

/* Nobody names its contents: an open chunk starts again at its front, where the cache is warm; any
 * other gives its memory and its slot back. */
static void
pool_recycle(struct chunk_pool *pool, uint32_t number)
{
    struct chunk_slot *slot = &pool->slots[number];
    pool->bytes -= slot->capacity;
    slot->generation = generation_after(slot->generation);
    slot->fill = 0;
    if (pool_is_open(pool, number)) {
        slot->next = NO_SLOT;
        return;
    }
    pool_unmap(pool, slot->memory, slot->capacity);
    slot->memory = NULL;
    slot->next = pool->free_slots;
    pool->free_slots = number;
}

void
chunk_pool_end_tick(struct chunk_pool *pool)
{
    uint32_t number = pool->idle_slots;
    pool->idle_slots = NO_SLOT;
    while (number != NO_SLOT) {
        struct chunk_slot *slot = &pool->slots[number];
        uint32_t next = slot->next;
        slot->is_idle_listed = false;
        if (slot->live == 0) {
            pool_recycle(pool, number);
        }
        number = next;
    }
}

bool
chunk_pool_trim(struct chunk_pool *pool)
{
    for (; pool->spare_count_min > 0; pool->spare_count_min--) {
        uint8_t *memory = pool->spares[--pool->spare_count];
        pool->memory.unmap(pool->memory.context, memory, CHUNK_SIZE);
    }
    pool->spare_count_min = pool->spare_count;
    return pool->spare_count > 0;
}

uint64_t
chunk_pool_bytes(const struct chunk_pool *pool)
{
    return pool->bytes;
}
