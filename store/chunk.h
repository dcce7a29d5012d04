/* SPDX-License-Identifier: Apache-2.0 */
/* Message memory, as the core sees it. Writers (store/chunk_writer.h) lay contents one behind the
 * other into chunks of 256 KiB, so that a message costs no allocation and a chunk that is read
 * while it is warm costs no cache miss; the pool knows what each chunk is named by, and is the only
 * one to free it. Liveness is counted per chunk.
 *
 * Lifetime: whoever names a content is counted at its chunk, as one of three: a pin needs the
 * content in memory (a publish that is being handled, held or buffered, a batch under way, a window
 * that is about to be handed out); an entry (of a queue, or an open delivery) can wait for it, and
 * does so with the log behind it or without. A chunk that a writer still fills stays. Any other
 * that nobody names is freed by chunk_pool_end_tick, but not before every network has passed the
 * last tick whose actions named a content of it: until then it may still be read.
 *
 * Paging: between ticks, a chunk without pins may leave the memory while entries go on naming it.
 * One whose contents are all in the log is dropped, and its contents come back as parts of other
 * chunks, by LSN (store/fetch.h); another is written to a spill file and comes back as it was. The
 * slot stays until the last entry has let go, so a reference never means somebody else's content.
 *
 * Owner: the core thread. */
#ifndef BOURSE_STORE_CHUNK_H
#define BOURSE_STORE_CHUNK_H

#include "base/status.h"
#include "store/chunk_writer.h"
#include "store/content.h"

enum {
    CHUNK_SLOT_BITS = 20,
    CHUNK_GENERATION_BITS = 28,
    CHUNK_OFFSET_BITS = 16, /* in units of 8 octets */
    CHUNK_WRITERS_MAX = 64, /* that feed one pool, besides its own */
};

/* Names a content: slot (20 bits), generation (28) and offset / 8 (16). A value; it may cross
 * threads. All zero names nothing. */
struct content_ref {
    uint64_t bits;
};

static inline bool
content_ref_is_set(struct content_ref ref)
{
    return ref.bits != 0;
}

static inline bool
content_ref_same_chunk(struct content_ref a, struct content_ref b)
{
    return a.bits >> CHUNK_OFFSET_BITS == b.bits >> CHUNK_OFFSET_BITS;
}

struct chunk_pool;

/* A pool that holds no memory yet: the first chunk comes with the first content. The pool bounds
 * nothing; chunk_pool_bytes is what the memory mark is compared with. */
struct chunk_pool *chunk_pool_new(void);
struct chunk_pool *chunk_pool_new_with(struct chunk_memory memory); /* its writers map alike */
void chunk_pool_free(struct chunk_pool **pool); /* asserts nothing about live contents */

/* Writers. What they tell (struct chunk_notice) and the contents that they name must come in the
 * order in which the writer produced them. `writer` is below CHUNK_WRITERS_MAX. */

/* Where memory of a writer's chunk goes that nobody reads any more, if it does not go to the writer
 * at once: on its way to the thread of that writer. */
struct chunk_returns {
    void (*take)(void *context, uint32_t writer, uint8_t *memory, size_t capacity);
    void *context;
};
void chunk_pool_use_returns(struct chunk_pool *pool, struct chunk_returns returns);

/* Writer `number` is on the pool's thread: memory goes back to it directly, and a chunk that it has
 * open is rewound, where the cache is warm, as soon as nobody names its contents. Borrowed until
 * chunk_pool_forget_writers. */
void chunk_pool_share_thread(struct chunk_pool *pool, uint32_t number, struct chunk_writer *writer);

/* All writers but the pool's own have ended, or no longer hear of the pool: what they had open
 * takes no further content, and their memory is unmapped here. */
void chunk_pool_forget_writers(struct chunk_pool *pool);

/* A chunk opened: takes its memory and counts it. It gets a slot now, or with its first content if
 * none is to be had now. */
void chunk_pool_open(struct chunk_pool *pool, uint32_t writer, const struct chunk_notice *notice);

/* Nothing more comes to the chunk: without a name it is freed when the tick ends. */
void chunk_pool_close(struct chunk_pool *pool, uint32_t writer, const struct chunk_notice *notice);

/* The content that a writer has finished at `place` (which names one), with one pin. Not set when
 * its chunk has no slot, because all are in use or there is no memory for another: then the content
 * cannot be kept, and the next one of that chunk asks again. */
MUST_CHECK struct content_ref chunk_pool_receive(struct chunk_pool *pool, uint32_t writer,
                                                 struct chunk_place place);

/* Makes a content by the pool's own writer, with one pin: see chunk_writer_reserve. STATUS_FULL
 * when all slots are in use; then nothing changes. */
MUST_CHECK enum status chunk_pool_reserve(struct chunk_pool *pool,
                                          const struct content_shape *shape,
                                          struct content_ref *ref_out, uint8_t **body_out);

/* The content that `ref` names; asserts that it is alive and in memory. Valid until the end of the
 * tick in which its last count was released. */
const struct content *chunk_pool_content(const struct chunk_pool *pool, struct content_ref ref);

/* Has the processor fetch the front of a content that will be looked at soon; one that is not in
 * memory is fine. */
void chunk_pool_prefetch(const struct chunk_pool *pool, struct content_ref ref);

/* The same for an action that names the content: notes that the network side reads it until it has
 * passed this tick. */
const struct content *chunk_pool_name(struct chunk_pool *pool, struct content_ref ref);

/* One more, one less pin. */
void chunk_pool_retain(struct chunk_pool *pool, struct content_ref ref);
void chunk_pool_release(struct chunk_pool *pool, struct content_ref ref);

/* One more, one less entry that names the content. `lsn` is what the log knows the content by; 0:
 * it is in no log, and lost with its chunk. Releasing an entry that has an LSN and no reference is
 * fine: it was never in memory, or has let go of it. */
void chunk_pool_retain_entry(struct chunk_pool *pool, struct content_ref ref, uint64_t lsn);
void chunk_pool_release_entry(struct chunk_pool *pool, struct content_ref ref, uint64_t lsn);

/* The number of the tick under way: 1, 2 and so on. */
uint64_t chunk_pool_tick(const struct chunk_pool *pool);

/* Call once per tick: frees or rewinds chunks that nobody names any more, and begins the next tick.
 * Every network has carried out (written or copied) all actions up to tick `passed_tick`; that
 * never goes back. On one thread, where the tick's output was written before, it is the tick under
 * way. */
void chunk_pool_end_tick(struct chunk_pool *pool, uint64_t passed_tick);

/* Gives back memory that the pool itself has kept and not needed since the last call. True while
 * more is kept: call again after a second or so, and not at all once it is false. */
bool chunk_pool_trim(struct chunk_pool *pool);
bool chunk_pool_has_spares(const struct chunk_pool *pool);

/* Octets of message memory held: chunks (their whole size, from the moment they open) and mapped
 * bodies. A rewound chunk without contents and the few that are kept for the next ones do not
 * count. */
uint64_t chunk_pool_bytes(const struct chunk_pool *pool);

/* Slots in use, of 2^CHUNK_SLOT_BITS: chunks that are out of memory have one too. */
uint32_t chunk_pool_slots_used(const struct chunk_pool *pool);

/* Paging (chunk_paging.c). Everything here only between ticks; a chunk that the network side may
 * still read does not go. */

/* Where an entry finds its content. */
enum content_place {
    CONTENT_IN_MEMORY,
    CONTENT_IN_LOG,  /* by its LSN: the reference names nothing, or a dropped chunk */
    CONTENT_SPILLED, /* chunk_pool_begin_restore brings it back */
    CONTENT_COMING,  /* it is being brought back */
    CONTENT_LOST,    /* it could not be read back */
};
enum content_place chunk_pool_place(const struct chunk_pool *pool, struct content_ref ref);

/* Drops chunks of at least `octets_wanted` in all, if there are so many and a bounded search finds
 * them: those without pins whose contents are all known to the log below `commit_lsn`. Contents
 * that were read back go first, then the oldest. Returns how many octets went. */
uint64_t chunk_pool_drop(struct chunk_pool *pool, uint64_t octets_wanted, uint64_t commit_lsn);

/* Memory for contents that come from elsewhere; NULL when there is none. It counts as message
 * memory until it is adopted (and then as a chunk) or taken back. `size` as it was lent. */
uint8_t *chunk_pool_lend_block(struct chunk_pool *pool, size_t size);
void chunk_pool_take_back_block(struct chunk_pool *pool, uint8_t *block, size_t size);

/* Makes a chunk of a block that was lent: takes it, with one pin, which is the caller's.
 * content_ref_at names a content in it. STATUS_FULL, STATUS_NO_MEMORY: nothing changes. */
MUST_CHECK enum status chunk_pool_adopt(struct chunk_pool *pool, uint8_t *block, size_t size,
                                        struct content_ref *ref_out);

/* The content at `offset` (a multiple of 8, below 512 KiB) of the chunk that `chunk` names. */
static inline struct content_ref
content_ref_at(struct content_ref chunk, size_t offset)
{
    uint64_t mask = (UINT64_C(1) << CHUNK_OFFSET_BITS) - 1;
    return (struct content_ref){.bits = (chunk.bits & ~mask) | offset / 8};
}

/* From now on chunks may be spilled to places of `space` (borrowed; NULL: no longer, and room that
 * spilled chunks have is not given back). */
struct spill_space;
void chunk_pool_use_spill(struct chunk_pool *pool, struct spill_space *space);

/* One chunk on its way out or back. */
struct chunk_spill {
    struct content_ref chunk;
    uint8_t *octets;
    size_t size;
    uint64_t place; /* store/spill_space.h */
    uint32_t crc;   /* out: set by the writer before chunk_pool_end_spill; back: what it must be */
};

/* Picks the oldest chunk that can only be spilled, pins it, and says what to write where. False
 * when there is none, or no room. With chunk_pool_end_spill its memory goes, if it was written and
 * nobody has pinned or named it meanwhile. */
bool chunk_pool_begin_spill(struct chunk_pool *pool, struct chunk_spill *spill_out);
void chunk_pool_end_spill(struct chunk_pool *pool, const struct chunk_spill *spill,
                          bool is_written);

/* Brings the chunk of a content that is CONTENT_SPILLED back: says what to read where. False when
 * there is no memory. chunk_pool_end_restore makes it CONTENT_IN_MEMORY, or CONTENT_LOST when it
 * could not be read; its pin is then the caller's. */
bool chunk_pool_begin_restore(struct chunk_pool *pool, struct content_ref ref,
                              struct chunk_spill *spill_out);
void chunk_pool_end_restore(struct chunk_pool *pool, const struct chunk_spill *spill, bool is_read);

#endif
