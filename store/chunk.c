/* SPDX-License-Identifier: Apache-2.0 */
/* The pool of chunks. A slot table says what a content reference means: memory and generation. A
 * freed slot keeps its generation and takes the next one when it is used again, so a reference that
 * outlived its content is a caught bug and not somebody else's message. */
#include "store/chunk.h"

#include <stdlib.h>
#include <sys/mman.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "store/chunk_slots.h"
#include "store/spill_space.h"

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
    for (int list = 0; list < CHUNK_LIST_COUNT; list++) {
        pool->ages[list] = (struct chunk_ages){.oldest = NO_SLOT, .newest = NO_SLOT};
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
        const struct chunk_slot *slot = &dying->slots[i];
        if (slot->state == CHUNK_RESIDENT) {
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

enum status
pool_take_slot(struct chunk_pool *pool, uint32_t *number_out)
{
    uint32_t number = pool->free_slots;
    if (number != NO_SLOT) {
        pool->free_slots = pool->slots[number].next;
    } else {
        enum status status = pool_grow_slots(pool);
        if (status != STATUS_OK) {
            return status;
        }
        number = pool->slot_count++;
        pool->slots[number] = (struct chunk_slot){.generation = 1};
    }
    uint32_t generation = pool->slots[number].generation;
    pool->slots[number] = (struct chunk_slot){
        .generation = generation,
        .state = CHUNK_RESIDENT,
        .list = CHUNK_LIST_NONE,
        .next = NO_SLOT,
        .older = NO_SLOT,
        .newer = NO_SLOT,
    };
    pool->used_count++;
    *number_out = number;
    return STATUS_OK;
}

static void
pool_free_slot(struct chunk_pool *pool, uint32_t number)
{
    struct chunk_slot *slot = &pool->slots[number];
    slot->state = CHUNK_FREE;
    slot->next = pool->free_slots;
    pool->free_slots = number;
    pool->used_count--;
}

void
pool_age_append(struct chunk_pool *pool, uint32_t number, enum chunk_list list)
{
    struct chunk_slot *slot = &pool->slots[number];
    struct chunk_ages *ages = &pool->ages[list];
    assert(slot->list == CHUNK_LIST_NONE);
    slot->list = (uint8_t)list;
    slot->newer = NO_SLOT;
    slot->older = ages->newest;
    if (ages->newest == NO_SLOT) {
        ages->oldest = number;
    } else {
        pool->slots[ages->newest].newer = number;
    }
    ages->newest = number;
    ages->count++;
}

void
pool_age_remove(struct chunk_pool *pool, uint32_t number)
{
    struct chunk_slot *slot = &pool->slots[number];
    if (slot->list == CHUNK_LIST_NONE) {
        return;
    }
    struct chunk_ages *ages = &pool->ages[slot->list];
    *(slot->older == NO_SLOT ? &ages->oldest : &pool->slots[slot->older].newer) = slot->newer;
    *(slot->newer == NO_SLOT ? &ages->newest : &pool->slots[slot->newer].older) = slot->older;
    ages->count--;
    slot->list = CHUNK_LIST_NONE;
}

uint8_t *
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

void
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
    uint8_t *memory = pool_map(pool, capacity);
    if (memory == NULL) {
        return STATUS_NO_MEMORY;
    }
    enum status status = pool_take_slot(pool, number_out);
    if (status != STATUS_OK) {
        pool_unmap(pool, memory, capacity);
        return status;
    }
    struct chunk_slot *slot = &pool->slots[*number_out];
    slot->memory = memory;
    slot->capacity = capacity;
    return STATUS_OK;
}

static enum chunk_list
list_of_kind(enum chunk_kind kind)
{
    return kind == CHUNK_KIND_PERSISTENT ? CHUNK_LIST_PERSISTENT : CHUNK_LIST_TRANSIENT;
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
        /* It had contents, so it is counted or on the idle list. */
        if (pool->open[kind] != NO_SLOT) {
            pool_age_append(pool, pool->open[kind], list_of_kind(kind));
        }
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
    size_t padded_size = (size + CHUNK_ALIGNMENT - 1) & ~(size_t)(CHUNK_ALIGNMENT - 1);
    enum status status = is_own ? pool_add_chunk(pool, padded_size, &number)
                                : pool_open_chunk(pool, shape->kind, size, &number);
    if (status != STATUS_OK) {
        return status;
    }
    struct chunk_slot *slot = &pool->slots[number];
    size_t offset = slot->fill;
    if (offset == 0) {
        pool->bytes += slot->capacity;
    }
    if (is_own) {
        pool_age_append(pool, number, list_of_kind(shape->kind));
    }
    slot->fill = (uint32_t)(offset + padded_size);
    slot->pins++;
    *body_out = content_write((struct content *)(void *)(slot->memory + offset), shape);
    *ref_out = ref_make(number, slot->generation, offset);
    return STATUS_OK;
}

const struct content *
chunk_pool_content(const struct chunk_pool *pool, struct content_ref ref)
{
    uint32_t number = ref_slot(ref);
    assert(number < pool->slot_count);
    const struct chunk_slot *slot = &pool->slots[number];
    assert(slot->state == CHUNK_RESIDENT);
    assert(slot->generation == ref_generation(ref));
    return (const struct content *)(const void *)(slot->memory + ref_offset(ref));
}

void
chunk_pool_retain(struct chunk_pool *pool, struct content_ref ref)
{
    struct chunk_slot *slot = slot_of(pool, ref);
    assert(slot_is_named(slot));
    assert(slot->pins < UINT32_MAX);
    slot->pins++;
}

void
chunk_pool_release(struct chunk_pool *pool, struct content_ref ref)
{
    struct chunk_slot *slot = slot_of(pool, ref);
    assert(slot->pins > 0);
    slot->pins--;
    if (!slot_is_named(slot)) {
        pool_list_idle(pool, ref_slot(ref));
    }
}

void
chunk_pool_retain_entry(struct chunk_pool *pool, struct content_ref ref, uint64_t lsn)
{
    struct chunk_slot *slot = slot_of(pool, ref);
    assert(slot_is_named(slot));
    uint32_t *count = lsn == 0 ? &slot->unlogged : &slot->logged;
    assert(*count < UINT32_MAX);
    (*count)++;
    if (lsn > slot->lsn) {
        slot->lsn = lsn;
    }
}

void
chunk_pool_release_entry(struct chunk_pool *pool, struct content_ref ref, uint64_t lsn)
{
    if (lsn != 0 && !content_ref_is_set(ref)) {
        return;
    }
    struct chunk_slot *slot = slot_of(pool, ref);
    uint32_t *count = lsn == 0 ? &slot->unlogged : &slot->logged;
    assert(*count > 0);
    (*count)--;
    if (!slot_is_named(slot)) {
        pool_list_idle(pool, ref_slot(ref));
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

/* Gives back what the chunk lies in: memory, or room in a spill file. */
static void
pool_vacate(struct chunk_pool *pool, struct chunk_slot *slot)
{
    if (slot->state == CHUNK_RESIDENT) {
        pool_unmap(pool, slot->memory, slot->capacity);
        pool->bytes -= slot->capacity;
    } else if (slot->state == CHUNK_SPILLED && pool->space != NULL) {
        spill_space_give_back(pool->space, slot->place, slot->fill);
    }
}

/* Nobody names its contents: an open chunk starts again at its front, where the cache is warm; any
 * other gives its memory and its slot back. */
static void
pool_recycle(struct chunk_pool *pool, uint32_t number)
{
    struct chunk_slot *slot = &pool->slots[number];
    assert(slot->state != CHUNK_RESTORING); /* pinned */
    slot->generation = generation_after(slot->generation);
    if (pool_is_open(pool, number)) {
        pool->bytes -= slot->capacity;
        slot->fill = 0;
        slot->lsn = 0;
        return;
    }
    pool_vacate(pool, slot);
    pool_age_remove(pool, number);
    pool_free_slot(pool, number);
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
        slot->next = NO_SLOT;
        if (!slot_is_named(slot)) {
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

uint32_t
chunk_pool_slots_used(const struct chunk_pool *pool)
{
    return pool->used_count;
}
