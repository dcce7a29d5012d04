/* SPDX-License-Identifier: Apache-2.0 */
/* The pool of chunks. A slot table says what a content reference means: memory and generation. A
 * freed slot keeps its generation and takes the next one when it is used again, so a reference that
 * outlived its content is a caught bug and not somebody else's message. */
#include "store/chunk.h"

#include <stdlib.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "store/chunk_slots.h"
#include "store/spill_space.h"

_Static_assert(CHUNK_SIZE / CHUNK_ALIGNMENT <= 1 << CHUNK_OFFSET_BITS,
               "an offset fits a reference");
_Static_assert(CHUNK_SLOT_BITS + CHUNK_GENERATION_BITS + CHUNK_OFFSET_BITS == 64,
               "a reference is one word");

struct chunk_pool *
chunk_pool_new(void)
{
    return chunk_pool_new_with(chunk_memory_anonymous());
}

struct chunk_pool *
chunk_pool_new_with(struct chunk_memory memory)
{
    struct chunk_pool *pool = xalloc(sizeof(*pool));
    pool->memory = memory;
    pool->free_slots = NO_SLOT;
    pool->idle_slots = NO_SLOT;
    pool->tick = 1;
    for (int list = 0; list < CHUNK_LIST_COUNT; list++) {
        pool->ages[list] = (struct chunk_ages){.oldest = NO_SLOT, .newest = NO_SLOT};
    }
    pool_init_sources(pool);
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
    pool_fini_sources(dying);
    for (uint32_t i = 0; i < dying->slot_count; i++) {
        const struct chunk_slot *slot = &dying->slots[i];
        if (slot->state == CHUNK_RESIDENT) {
            dying->memory.unmap(dying->memory.context, slot->memory, slot->capacity);
        }
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
chunk_pool_prefetch(const struct chunk_pool *pool, struct content_ref ref)
{
    const struct chunk_slot *slot = slot_of(pool, ref);
    if (slot->state == CHUNK_RESIDENT) {
        __builtin_prefetch(slot->memory + ref_offset(ref));
    }
}

const struct content *
chunk_pool_name(struct chunk_pool *pool, struct content_ref ref)
{
    struct chunk_slot *slot = slot_of(pool, ref);
    assert(slot->state == CHUNK_RESIDENT);
    slot->named_tick = pool->tick;
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

void
pool_vacate_memory(struct chunk_pool *pool, struct chunk_slot *slot)
{
    assert(slot->state == CHUNK_RESIDENT);
    assert(slot->is_counted);
    pool_give_back(pool, slot->source, slot->memory, slot->capacity);
    pool->bytes -= slot->capacity;
    slot->memory = NULL;
}

/* Gives back what the chunk lies in: memory, or room in a spill file. */
static void
pool_vacate(struct chunk_pool *pool, struct chunk_slot *slot)
{
    if (slot->state == CHUNK_RESIDENT) {
        pool_vacate_memory(pool, slot);
    } else if (slot->state == CHUNK_SPILLED && pool->space != NULL) {
        spill_space_give_back(pool->space, slot->place, slot->fill);
    }
}

/* Nobody names its contents: gives its memory and its slot back. */
static void
pool_recycle(struct chunk_pool *pool, uint32_t number)
{
    struct chunk_slot *slot = &pool->slots[number];
    assert(slot->state != CHUNK_RESTORING); /* pinned */
    slot->generation = generation_after(slot->generation);
    pool_vacate(pool, slot);
    pool_age_remove(pool, number);
    pool_free_slot(pool, number);
}

uint64_t
chunk_pool_tick(const struct chunk_pool *pool)
{
    return pool->tick;
}

/* What nobody has named at least once since the last call: it goes, unless it is named again, is
 * still being filled, or may still be read. */
static void
pool_recycle_idle(struct chunk_pool *pool)
{
    uint32_t number = pool->idle_slots;
    pool->idle_slots = NO_SLOT;
    while (number != NO_SLOT) {
        struct chunk_slot *slot = &pool->slots[number];
        uint32_t next = slot->next;
        slot->is_idle_listed = false;
        slot->next = NO_SLOT;
        if (!slot_is_named(slot) && !slot->is_open) {
            if (slot_is_passed(pool, slot)) {
                pool_recycle(pool, number);
            } else {
                pool_list_idle(pool, number);
            }
        }
        number = next;
    }
}

void
chunk_pool_end_tick(struct chunk_pool *pool, uint64_t passed_tick)
{
    assert(passed_tick >= pool->passed_tick);
    assert(passed_tick <= pool->tick);
    pool->passed_tick = passed_tick;
    pool_recycle_idle(pool);
    pool_rewind_open(pool);
    pool->tick++;
}

bool
chunk_pool_trim(struct chunk_pool *pool)
{
    return chunk_writer_trim(pool->sources[CHUNK_SOURCE_OWN].writer);
}

bool
chunk_pool_has_spares(const struct chunk_pool *pool)
{
    return chunk_writer_has_spares(pool->sources[CHUNK_SOURCE_OWN].writer);
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
