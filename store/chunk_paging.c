/* SPDX-License-Identifier: Apache-2.0 */
/* Chunks out of memory and back. The candidates stand in lists by age; one that cannot go at the
 * moment is moved to the young end, so that it is not looked at again and again. */
#include "store/chunk.h"

#include "base/assert.h"
#include "store/chunk_slots.h"
#include "store/spill_space.h"

/* Candidates that one call looks at: there are ticks enough. */
enum { CANDIDATES_MAX = 256 };

void
chunk_pool_use_spill(struct chunk_pool *pool, struct spill_space *space)
{
    pool->space = space;
}

static struct content_ref
slot_ref(const struct chunk_pool *pool, uint32_t number)
{
    return ref_make(number, pool->slots[number].generation, 0);
}

static void
make_young(struct chunk_pool *pool, uint32_t number)
{
    enum chunk_list list = (enum chunk_list)pool->slots[number].list;
    pool_age_remove(pool, number);
    pool_age_append(pool, number, list);
}

/* Dropping ------------------------------------------------------------------------------------- */

static bool
may_drop(const struct chunk_pool *pool, const struct chunk_slot *slot, uint64_t commit_lsn)
{
    return slot->pins == 0 && slot->unlogged == 0 && slot->logged > 0 && slot->lsn < commit_lsn &&
           slot_is_passed(pool, slot);
}

static uint64_t
drop_chunk(struct chunk_pool *pool, uint32_t number)
{
    struct chunk_slot *slot = &pool->slots[number];
    pool_age_remove(pool, number);
    pool_vacate_memory(pool, slot);
    slot->state = CHUNK_DROPPED;
    return slot->capacity;
}

/* Bounded by the list as it was and by `*candidates`. */
static uint64_t
drop_from(struct chunk_pool *pool, enum chunk_list list, uint64_t octets_wanted,
          uint64_t commit_lsn, uint32_t *candidates)
{
    uint64_t dropped = 0;
    uint32_t count = pool->ages[list].count;
    for (; count > 0 && *candidates > 0 && dropped < octets_wanted; count--) {
        uint32_t number = pool->ages[list].oldest;
        (*candidates)--;
        if (may_drop(pool, &pool->slots[number], commit_lsn)) {
            dropped += drop_chunk(pool, number);
        } else {
            make_young(pool, number);
        }
    }
    return dropped;
}

uint64_t
chunk_pool_drop(struct chunk_pool *pool, uint64_t octets_wanted, uint64_t commit_lsn)
{
    uint32_t candidates = CANDIDATES_MAX;
    uint64_t dropped = drop_from(pool, CHUNK_LIST_FETCHED, octets_wanted, commit_lsn, &candidates);
    if (dropped < octets_wanted) {
        dropped += drop_from(pool, CHUNK_LIST_PERSISTENT, octets_wanted - dropped, commit_lsn,
                             &candidates);
    }
    return dropped;
}

enum content_place
chunk_pool_place(const struct chunk_pool *pool, struct content_ref ref)
{
    if (!content_ref_is_set(ref)) {
        return CONTENT_IN_LOG;
    }
    switch ((enum chunk_state)slot_of(pool, ref)->state) {
    case CHUNK_RESIDENT:
        return CONTENT_IN_MEMORY;
    case CHUNK_DROPPED:
        return CONTENT_IN_LOG;
    case CHUNK_SPILLED:
        return CONTENT_SPILLED;
    case CHUNK_RESTORING:
        return CONTENT_COMING;
    case CHUNK_LOST:
    case CHUNK_FREE:
        break;
    }
    return CONTENT_LOST;
}

/* Blocks from elsewhere ------------------------------------------------------------------------ */

uint8_t *
chunk_pool_lend_block(struct chunk_pool *pool, size_t size)
{
    uint8_t *block = chunk_writer_map(pool->sources[CHUNK_SOURCE_OWN].writer, size);
    if (block != NULL) {
        pool->bytes += size;
    }
    return block;
}

void
chunk_pool_take_back_block(struct chunk_pool *pool, uint8_t *block, size_t size)
{
    pool_give_back(pool, CHUNK_SOURCE_OWN, block, size);
    pool->bytes -= size;
}

enum status
chunk_pool_adopt(struct chunk_pool *pool, uint8_t *block, size_t size, struct content_ref *ref_out)
{
    uint32_t number;
    enum status status = pool_take_slot(pool, &number);
    if (status != STATUS_OK) {
        return status;
    }
    struct chunk_slot *slot = &pool->slots[number];
    slot->memory = block;
    slot->capacity = (uint32_t)size;
    slot->source = CHUNK_SOURCE_OWN;
    slot->is_counted = true;
    slot->pins = 1;
    pool_age_append(pool, number, CHUNK_LIST_FETCHED);
    *ref_out = slot_ref(pool, number);
    return STATUS_OK;
}

/* Spilling ------------------------------------------------------------------------------------- */

/* What a batch under way or a channel needs in memory is pinned; what the log has as well is
 * dropped, which is cheaper. */
static bool
may_spill(const struct chunk_pool *pool, const struct chunk_slot *slot)
{
    return slot->state == CHUNK_RESIDENT && slot->pins == 0 && slot->unlogged > 0 &&
           slot_is_passed(pool, slot);
}

static bool
find_spillable(struct chunk_pool *pool, enum chunk_list list, uint32_t *candidates,
               uint32_t *number_out)
{
    uint32_t count = pool->ages[list].count;
    for (; count > 0 && *candidates > 0; count--) {
        uint32_t number = pool->ages[list].oldest;
        (*candidates)--;
        make_young(pool, number);
        if (may_spill(pool, &pool->slots[number])) {
            *number_out = number;
            return true;
        }
    }
    return false;
}

bool
chunk_pool_begin_spill(struct chunk_pool *pool, struct chunk_spill *spill_out)
{
    uint32_t candidates = CANDIDATES_MAX;
    uint32_t number;
    uint64_t place;
    if (pool->space == NULL ||
        (!find_spillable(pool, CHUNK_LIST_TRANSIENT, &candidates, &number) &&
         !find_spillable(pool, CHUNK_LIST_PERSISTENT, &candidates, &number)) ||
        spill_space_take(pool->space, pool->slots[number].fill, &place) != STATUS_OK) {
        return false;
    }
    struct chunk_slot *slot = &pool->slots[number];
    slot->pins++;
    *spill_out = (struct chunk_spill){
        .chunk = slot_ref(pool, number),
        .octets = slot->memory,
        .size = slot->fill,
        .place = place,
    };
    return true;
}

void
chunk_pool_end_spill(struct chunk_pool *pool, const struct chunk_spill *spill, bool is_written)
{
    struct chunk_slot *slot = slot_of(pool, spill->chunk);
    assert(slot->state == CHUNK_RESIDENT);
    assert(slot->pins > 0);
    slot->pins--;
    if (!is_written || slot->pins > 0 || !slot_is_named(slot) || !slot_is_passed(pool, slot)) {
        spill_space_give_back(pool->space, spill->place, spill->size);
        if (!slot_is_named(slot)) {
            pool_list_idle(pool, ref_slot(spill->chunk));
        }
        return;
    }
    pool_age_remove(pool, ref_slot(spill->chunk));
    pool_vacate_memory(pool, slot);
    slot->place = spill->place;
    slot->crc = spill->crc;
    slot->state = CHUNK_SPILLED;
}

bool
chunk_pool_begin_restore(struct chunk_pool *pool, struct content_ref ref,
                         struct chunk_spill *spill_out)
{
    struct chunk_slot *slot = slot_of(pool, ref);
    assert(slot->state == CHUNK_SPILLED);
    uint8_t *memory = chunk_pool_lend_block(pool, slot->capacity);
    if (memory == NULL) {
        return false;
    }
    slot->state = CHUNK_RESTORING;
    slot->pins++;
    *spill_out = (struct chunk_spill){
        .chunk = slot_ref(pool, ref_slot(ref)),
        .octets = memory,
        .size = slot->fill,
        .place = slot->place,
        .crc = slot->crc,
    };
    return true;
}

void
chunk_pool_end_restore(struct chunk_pool *pool, const struct chunk_spill *spill, bool is_read)
{
    struct chunk_slot *slot = slot_of(pool, spill->chunk);
    assert(slot->state == CHUNK_RESTORING);
    spill_space_give_back(pool->space, slot->place, slot->fill);
    if (is_read) {
        slot->memory = spill->octets;
        slot->source = CHUNK_SOURCE_OWN;
        slot->named_tick = 0;
        slot->state = CHUNK_RESIDENT;
        pool_age_append(pool, ref_slot(spill->chunk),
                        slot->logged > 0 ? CHUNK_LIST_PERSISTENT : CHUNK_LIST_TRANSIENT);
    } else {
        chunk_pool_take_back_block(pool, spill->octets, slot->capacity);
        slot->memory = NULL;
        slot->state = CHUNK_LOST;
    }
}
