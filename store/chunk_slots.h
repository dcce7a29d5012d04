/* SPDX-License-Identifier: Apache-2.0 */
/* Inside of the chunk pool, shared by the three files that are it: chunk.c counts and frees what
 * nobody names, chunk_leases.c takes chunks over from their writers, chunk_paging.c sends chunks
 * out of memory and takes them back. */
#ifndef BOURSE_STORE_CHUNK_SLOTS_H
#define BOURSE_STORE_CHUNK_SLOTS_H

#include "base/assert.h"
#include "store/chunk.h"

enum {
    CHUNK_SLOTS_MAX = 1 << CHUNK_SLOT_BITS,
    CHUNK_SLOTS_FIRST = 16,
    CHUNK_GENERATION_MAX = (1 << CHUNK_GENERATION_BITS) - 1,
    CHUNK_SOURCE_OWN = CHUNK_WRITERS_MAX, /* the pool's own writer; also what it maps itself */
    CHUNK_SOURCE_COUNT,
};

static const uint32_t NO_SLOT = UINT32_MAX;
static const uint32_t NO_CHUNK = UINT32_MAX;

enum chunk_state {
    CHUNK_FREE,
    CHUNK_RESIDENT,
    CHUNK_DROPPED,   /* its contents are in the log; no memory */
    CHUNK_SPILLED,   /* lies in a spill file; no memory */
    CHUNK_RESTORING, /* the same, and is being read back */
    CHUNK_LOST,      /* could not be read back */
};

/* Closed chunks by age, the oldest first; where the next to go is looked for. */
enum chunk_list {
    CHUNK_LIST_TRANSIENT,
    CHUNK_LIST_PERSISTENT,
    CHUNK_LIST_FETCHED, /* read back from the log */
    CHUNK_LIST_COUNT,
    CHUNK_LIST_NONE = CHUNK_LIST_COUNT, /* open, or free */
};

struct chunk_slot {
    union {
        uint8_t *memory; /* CHUNK_RESIDENT; owned */
        uint64_t place;  /* CHUNK_SPILLED, CHUNK_RESTORING: in the spill files */
    };
    uint64_t lsn; /* the highest that an entry knows a content of it by */
    union {
        uint64_t named_tick; /* CHUNK_RESIDENT: of the last action that named a content; 0: none */
        uint32_t crc;        /* CHUNK_SPILLED: of its octets */
    };
    uint32_t capacity;   /* CHUNK_SIZE, or the size of what it was mapped for */
    uint32_t generation; /* never 0 */
    uint32_t pins;       /* counts that need its memory */
    uint32_t unlogged;   /* entries whose content is nowhere else */
    uint32_t logged;     /* entries whose content is in the log as well */
    uint32_t fill;       /* octets used, a multiple of CHUNK_ALIGNMENT; known once it is closed */
    uint32_t next;       /* in the list of free or of idle slots; NO_SLOT at the end */
    uint32_t older;      /* in the list by age; NO_SLOT at either end */
    uint32_t newer;
    uint8_t state;           /* of enum chunk_state */
    uint8_t list;            /* of enum chunk_list */
    uint8_t source;          /* where its memory came from and goes back to */
    bool is_idle_listed : 1; /* nobody named it at least once since it was looked at */
    bool is_open : 1;        /* its writer may still add contents */
    bool is_counted : 1;     /* its memory is in the pool's bytes: false while it is rewound */
};

_Static_assert(sizeof(struct chunk_slot) == 64, "a slot is a cache line");

struct chunk_ages {
    uint32_t oldest; /* NO_SLOT: none */
    uint32_t newest;
    uint32_t count;
};

/* A chunk that its writer has not closed. */
struct chunk_lease {
    uint8_t *memory; /* NULL: there is no such chunk */
    uint32_t capacity;
    uint32_t slot; /* NO_SLOT: none was to be had yet */
};

/* One writer, as the pool knows it. */
struct chunk_source {
    struct chunk_lease *leases; /* by the writer's number of the chunk; owned */
    uint32_t capacity;
    uint32_t open[CHUNK_KIND_COUNT]; /* the chunk that takes the next content, or NO_CHUNK */
    struct chunk_writer *writer;     /* NULL: on another thread. The pool's own is owned, others
                                        are borrowed */
};

struct chunk_pool {
    struct chunk_memory memory;
    struct chunk_slot *slots; /* owned */
    uint32_t slot_count;      /* slots that were ever used */
    uint32_t slot_capacity;
    uint32_t used_count; /* slots that are not free */
    uint32_t free_slots; /* head of a list */
    uint32_t idle_slots; /* head of a list */
    struct chunk_ages ages[CHUNK_LIST_COUNT];
    struct chunk_source sources[CHUNK_SOURCE_COUNT];
    uint32_t near_writers; /* others' writers on this thread have numbers below */
    struct chunk_returns returns;
    struct spill_space *space; /* borrowed; NULL: nothing is spilled */
    uint64_t bytes;
    uint64_t tick;        /* under way */
    uint64_t passed_tick; /* actions up to here are carried out */
};

static inline struct content_ref
ref_make(uint32_t slot, uint32_t generation, size_t offset)
{
    uint64_t bits = (uint64_t)slot << (CHUNK_GENERATION_BITS + CHUNK_OFFSET_BITS) |
                    (uint64_t)generation << CHUNK_OFFSET_BITS | offset / CHUNK_ALIGNMENT;
    return (struct content_ref){.bits = bits};
}

static inline uint32_t
ref_slot(struct content_ref ref)
{
    return (uint32_t)(ref.bits >> (CHUNK_GENERATION_BITS + CHUNK_OFFSET_BITS));
}

static inline uint32_t
ref_generation(struct content_ref ref)
{
    return (uint32_t)(ref.bits >> CHUNK_OFFSET_BITS) & CHUNK_GENERATION_MAX;
}

static inline size_t
ref_offset(struct content_ref ref)
{
    return (ref.bits & ((1 << CHUNK_OFFSET_BITS) - 1)) * CHUNK_ALIGNMENT;
}

/* The slot that `ref` names; a reference that has outlived its counts is a bug of ours. */
static inline struct chunk_slot *
slot_of(const struct chunk_pool *pool, struct content_ref ref)
{
    uint32_t number = ref_slot(ref);
    assert(number < pool->slot_count);
    struct chunk_slot *slot = &pool->slots[number];
    assert(slot->state != CHUNK_FREE);
    assert(slot->generation == ref_generation(ref));
    return slot;
}

static inline bool
slot_is_named(const struct chunk_slot *slot)
{
    return (slot->pins | slot->unlogged | slot->logged) != 0;
}

/* Nobody reads it any more on behalf of an action. */
static inline bool
slot_is_passed(const struct chunk_pool *pool, const struct chunk_slot *slot)
{
    return slot->state != CHUNK_RESIDENT || slot->named_tick <= pool->passed_tick;
}

static inline uint32_t
generation_after(uint32_t generation)
{
    return generation == CHUNK_GENERATION_MAX ? 1 : generation + 1;
}

/* Memory goes back to the writer that it came from, or on its way there. Counts nothing. */
void pool_give_back(struct chunk_pool *pool, uint32_t source, uint8_t *memory, size_t capacity);

/* The same for the memory of a resident chunk, which no longer counts then. */
void pool_vacate_memory(struct chunk_pool *pool, struct chunk_slot *slot);

void pool_init_sources(struct chunk_pool *pool);
void pool_fini_sources(struct chunk_pool *pool);

/* Rewinds the open chunks of writers on this thread as far as nobody names their contents. */
void pool_rewind_open(struct chunk_pool *pool);

/* A slot that names nothing yet, in CHUNK_RESIDENT and on no list. STATUS_FULL, STATUS_NO_MEMORY:
 * there is none. */
MUST_CHECK enum status pool_take_slot(struct chunk_pool *pool, uint32_t *number_out);

/* Nobody names it any more, perhaps: looked at when the tick ends. */
static inline void
pool_list_idle(struct chunk_pool *pool, uint32_t number)
{
    struct chunk_slot *slot = &pool->slots[number];
    if (!slot->is_idle_listed) {
        slot->is_idle_listed = true;
        slot->next = pool->idle_slots;
        pool->idle_slots = number;
    }
}

/* Puts a chunk that is on no list at the young end of one; takes it off its list, if it is on one.
 */
void pool_age_append(struct chunk_pool *pool, uint32_t number, enum chunk_list list);
void pool_age_remove(struct chunk_pool *pool, uint32_t number);

#endif
