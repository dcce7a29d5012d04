/* SPDX-License-Identifier: Apache-2.0 */
/* The pool's side of chunk writers. Each chunk that a writer has not closed is a lease, found by
 * the writer's number for it: it says where the memory is and which slot stands for it. Chunks
 * without a slot ask for one with each content that comes in them. */
#include "store/chunk.h"

#include <stdlib.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "store/chunk_slots.h"

enum { LEASES_FIRST = 8 };

void
pool_give_back(struct chunk_pool *pool, uint32_t number, uint8_t *memory, size_t capacity)
{
    const struct chunk_source *source = &pool->sources[number];
    if (source->writer != NULL) {
        chunk_writer_take_back(source->writer, memory, capacity);
    } else if (pool->returns.take != NULL) {
        pool->returns.take(pool->returns.context, number, memory, capacity);
    } else {
        pool->memory.unmap(pool->memory.context, memory, capacity);
    }
}

void
chunk_pool_use_returns(struct chunk_pool *pool, struct chunk_returns returns)
{
    pool->returns = returns;
}

void
chunk_pool_share_thread(struct chunk_pool *pool, uint32_t number, struct chunk_writer *writer)
{
    assert(number < CHUNK_WRITERS_MAX);
    pool->sources[number].writer = writer;
    if (number >= pool->near_writers) {
        pool->near_writers = number + 1;
    }
}

/* Leases --------------------------------------------------------------------------------------- */

/* The lease of a chunk, or NULL when nothing is known of it. */
static struct chunk_lease *
source_lease(const struct chunk_source *source, uint32_t chunk)
{
    bool is_known = chunk < source->capacity && source->leases[chunk].memory != NULL;
    return is_known ? &source->leases[chunk] : NULL;
}

/* Makes room for the lease of `chunk`. */
static enum status
source_grow(struct chunk_source *source, uint32_t chunk)
{
    if (chunk < source->capacity) {
        return STATUS_OK;
    }
    uint32_t capacity = source->capacity == 0 ? LEASES_FIRST : source->capacity;
    while (capacity <= chunk) {
        capacity *= 2;
    }
    struct chunk_lease *leases = try_realloc(source->leases, capacity * sizeof(*leases));
    if (leases == NULL) {
        return STATUS_NO_MEMORY;
    }
    for (uint32_t i = source->capacity; i < capacity; i++) {
        leases[i] = (struct chunk_lease){.slot = NO_SLOT};
    }
    source->leases = leases;
    source->capacity = capacity;
    return STATUS_OK;
}

/* Gives a slot to a leased chunk that has none. */
static enum status
pool_admit(struct chunk_pool *pool, uint32_t number, struct chunk_lease *lease)
{
    enum status status = pool_take_slot(pool, &lease->slot);
    if (status != STATUS_OK) {
        return status;
    }
    struct chunk_slot *slot = &pool->slots[lease->slot];
    slot->memory = lease->memory;
    slot->capacity = lease->capacity;
    slot->source = (uint8_t)number;
    slot->is_open = true;
    slot->is_counted = true;
    return STATUS_OK;
}

void
chunk_pool_open(struct chunk_pool *pool, uint32_t number, const struct chunk_notice *notice)
{
    assert(number < CHUNK_SOURCE_COUNT);
    struct chunk_source *source = &pool->sources[number];
    if (source_grow(source, notice->chunk) != STATUS_OK) {
        /* Its contents are refused; the memory goes back when it closes. */
        if (source->writer != NULL) {
            chunk_writer_keep(source->writer, notice->chunk);
        }
        return;
    }
    struct chunk_lease *lease = &source->leases[notice->chunk];
    assert(lease->memory == NULL);
    *lease = (struct chunk_lease){
        .memory = notice->memory,
        .capacity = notice->capacity,
        .slot = NO_SLOT,
    };
    pool->bytes += notice->capacity;
    if (!notice->is_own) {
        source->open[notice->kind] = notice->chunk;
    }
    /* Without a slot, its first content asks again and says what is wrong. */
    (void)pool_admit(pool, number, lease);
}

/* The writer is done with a chunk that has a slot: from now on it may leave the memory. */
static void
pool_close_slot(struct chunk_pool *pool, uint32_t slot_number, const struct chunk_notice *notice)
{
    struct chunk_slot *slot = &pool->slots[slot_number];
    assert(slot->is_open);
    slot->is_open = false;
    slot->fill = notice->fill;
    if (!slot->is_counted) {
        slot->is_counted = true;
        pool->bytes += slot->capacity;
    }
    pool_age_append(pool, slot_number,
                    notice->kind == CHUNK_KIND_PERSISTENT ? CHUNK_LIST_PERSISTENT
                                                          : CHUNK_LIST_TRANSIENT);
    if (!slot_is_named(slot)) {
        pool_list_idle(pool, slot_number);
    }
}

void
chunk_pool_close(struct chunk_pool *pool, uint32_t number, const struct chunk_notice *notice)
{
    assert(number < CHUNK_SOURCE_COUNT);
    struct chunk_source *source = &pool->sources[number];
    struct chunk_lease *lease = source_lease(source, notice->chunk);
    if (lease == NULL) {
        pool_give_back(pool, number, notice->memory, notice->capacity);
        return;
    }
    assert(lease->memory == notice->memory);
    if (lease->slot != NO_SLOT) {
        pool_close_slot(pool, lease->slot, notice);
    } else {
        pool->bytes -= lease->capacity;
        pool_give_back(pool, number, lease->memory, lease->capacity);
    }
    *lease = (struct chunk_lease){.slot = NO_SLOT};
    for (int kind = 0; kind < CHUNK_KIND_COUNT; kind++) {
        if (source->open[kind] == notice->chunk) {
            source->open[kind] = NO_CHUNK;
        }
    }
}

/* The first content of a chunk that had no slot until now, or of one that was rewound. */
static bool
pool_prepare(struct chunk_pool *pool, uint32_t number, struct chunk_place place)
{
    struct chunk_lease *lease = source_lease(&pool->sources[number], place.chunk);
    if (lease == NULL || (lease->slot == NO_SLOT && pool_admit(pool, number, lease) != STATUS_OK)) {
        return false;
    }
    struct chunk_slot *slot = &pool->slots[lease->slot];
    if (!slot->is_counted) {
        slot->is_counted = true;
        pool->bytes += slot->capacity;
    }
    return true;
}

struct content_ref
chunk_pool_receive(struct chunk_pool *pool, uint32_t number, struct chunk_place place)
{
    assert(number < CHUNK_SOURCE_COUNT);
    const struct chunk_source *source = &pool->sources[number];
    bool is_ready = place.chunk < source->capacity && source->leases[place.chunk].slot != NO_SLOT &&
                    pool->slots[source->leases[place.chunk].slot].is_counted;
    if (!is_ready && !pool_prepare(pool, number, place)) {
        return (struct content_ref){0};
    }
    uint32_t slot_number = source->leases[place.chunk].slot;
    struct chunk_slot *slot = &pool->slots[slot_number];
    size_t offset = (size_t)((const uint8_t *)place.content - slot->memory);
    assert(offset < slot->capacity);
    slot->pins++;
    return ref_make(slot_number, slot->generation, offset);
}

/* Has the writer fill its open chunk from the front again, if nobody names what is in it. */
static void
pool_rewind(struct chunk_pool *pool, const struct chunk_source *source, uint32_t chunk)
{
    const struct chunk_lease *lease = &source->leases[chunk];
    if (lease->slot == NO_SLOT) {
        return;
    }
    struct chunk_slot *slot = &pool->slots[lease->slot];
    if (!slot->is_counted || slot_is_named(slot) || !slot_is_passed(pool, slot) ||
        !chunk_writer_rewind(source->writer, chunk)) {
        return;
    }
    slot->generation = generation_after(slot->generation);
    slot->lsn = 0;
    slot->is_counted = false;
    pool->bytes -= slot->capacity;
}

static void
source_rewind_open(struct chunk_pool *pool, const struct chunk_source *source)
{
    for (int kind = 0; source->writer != NULL && kind < CHUNK_KIND_COUNT; kind++) {
        if (source->open[kind] != NO_CHUNK) {
            pool_rewind(pool, source, source->open[kind]);
        }
    }
}

void
pool_rewind_open(struct chunk_pool *pool)
{
    source_rewind_open(pool, &pool->sources[CHUNK_SOURCE_OWN]);
    for (uint32_t i = 0; i < pool->near_writers; i++) {
        source_rewind_open(pool, &pool->sources[i]);
    }
}

/* Only the writer knows how full they are, and of which kind: who ends it pages nothing any more.
 */
static void
source_close_all(struct chunk_pool *pool, uint32_t number)
{
    struct chunk_source *source = &pool->sources[number];
    for (uint32_t chunk = 0; chunk < source->capacity; chunk++) {
        const struct chunk_lease *lease = source_lease(source, chunk);
        if (lease != NULL) {
            struct chunk_notice notice = {
                .memory = lease->memory,
                .capacity = lease->capacity,
                .fill = lease->capacity,
                .chunk = chunk,
                .kind = CHUNK_KIND_TRANSIENT,
            };
            chunk_pool_close(pool, number, &notice);
        }
    }
    free(source->leases);
    source->leases = NULL;
    source->capacity = 0;
}

void
chunk_pool_forget_writers(struct chunk_pool *pool)
{
    pool->returns = (struct chunk_returns){0};
    pool->near_writers = 0;
    for (uint32_t i = 0; i < CHUNK_WRITERS_MAX; i++) {
        pool->sources[i].writer = NULL;
        source_close_all(pool, i);
    }
}

/* The pool's own writer ------------------------------------------------------------------------ */

static void
own_chunk_opened(void *context, const struct chunk_notice *notice)
{
    chunk_pool_open(context, CHUNK_SOURCE_OWN, notice);
}

static void
own_chunk_closed(void *context, const struct chunk_notice *notice)
{
    chunk_pool_close(context, CHUNK_SOURCE_OWN, notice);
}

void
pool_init_sources(struct chunk_pool *pool)
{
    for (uint32_t i = 0; i < CHUNK_SOURCE_COUNT; i++) {
        for (int kind = 0; kind < CHUNK_KIND_COUNT; kind++) {
            pool->sources[i].open[kind] = NO_CHUNK;
        }
    }
    struct chunk_sink sink = {
        .opened = own_chunk_opened, .closed = own_chunk_closed, .context = pool};
    pool->sources[CHUNK_SOURCE_OWN].writer = chunk_writer_new(pool->memory, sink);
}

void
pool_fini_sources(struct chunk_pool *pool)
{
    chunk_pool_forget_writers(pool);
    source_close_all(pool, CHUNK_SOURCE_OWN);
    chunk_writer_free(&pool->sources[CHUNK_SOURCE_OWN].writer);
}

enum status
chunk_pool_reserve(struct chunk_pool *pool, const struct content_shape *shape,
                   struct content_ref *ref_out, uint8_t **body_out)
{
    struct chunk_writer *writer = pool->sources[CHUNK_SOURCE_OWN].writer;
    struct chunk_place place;
    uint8_t *body;
    enum status status = chunk_writer_reserve(writer, shape, &place, &body);
    if (status != STATUS_OK) {
        return status;
    }
    struct content_ref ref = chunk_pool_receive(pool, CHUNK_SOURCE_OWN, place);
    if (!content_ref_is_set(ref)) {
        chunk_writer_give_up(writer, place.chunk);
    }
    chunk_writer_release(writer, place);
    chunk_writer_report(writer);
    if (!content_ref_is_set(ref)) {
        return pool->used_count == CHUNK_SLOTS_MAX ? STATUS_FULL : STATUS_NO_MEMORY;
    }
    *ref_out = ref;
    *body_out = body;
    return STATUS_OK;
}
