/* SPDX-License-Identifier: Apache-2.0 */
/* Message memory. Contents are laid one behind the other into chunks of 256 KiB, so that a message
 * costs no allocation and a chunk that is read while it is warm costs no cache miss. A content is
 * written once, by the thread that reads the socket, and never changed after it was published;
 * liveness is counted per chunk, by the core.
 *
 * Lifetime: whoever names a content is counted at its chunk, as one of three: a pin needs the
 * content in memory (a reservation, a publish that is held or buffered, a batch under way, a window
 * that is about to be handed out); an entry (of a queue, or an open delivery) can wait for it, and
 * does so with the log behind it or without. A chunk that nobody names is freed or rewound by
 * chunk_pool_end_tick, never earlier: what a tick released may still be read until the tick's
 * output is written.
 *
 * Paging: between ticks, a chunk without pins may leave the memory while entries go on naming it.
 * One whose contents are all in the log is dropped, and its contents come back as parts of other
 * chunks, by LSN (store/fetch.h); another is written to a spill file and comes back as it was. The
 * slot stays until the last entry has let go, so a reference never means somebody else's content.
 */
#ifndef BOURSE_STORE_CHUNK_H
#define BOURSE_STORE_CHUNK_H

#include "base/bytes.h"
#include "base/status.h"

#include <stdint.h>

enum {
    CHUNK_SIZE = 256 * 1024,
    CHUNK_BODY_OWN = 64 * 1024, /* a larger body gets a chunk of its own, of its own size */
    CHUNK_SLOT_BITS = 20,
    CHUNK_GENERATION_BITS = 28,
    CHUNK_OFFSET_BITS = 16, /* in units of 8 octets */
    CHUNK_SPARES_MAX = 64,  /* freed chunks whose memory is kept, until chunk_pool_trim */
};

enum chunk_kind {
    CHUNK_KIND_TRANSIENT,
    CHUNK_KIND_PERSISTENT, /* delivery mode 2 */
    CHUNK_KIND_COUNT,
};

enum content_flag {
    CONTENT_PERSISTENT = 1 << 0,  /* delivery mode 2 */
    CONTENT_HAS_HEADERS = 1 << 1, /* the headers table is present */
};

/* One message as it came over the wire: this header, then exchange name, routing key, property
 * block (flag words and values) and body, without gaps. Starts 8-byte aligned. */
struct content {
    uint32_t body_size;
    uint32_t properties_size;
    uint16_t flags; /* of enum content_flag */
    uint8_t exchange_size;
    uint8_t routing_key_size;
    uint32_t check; /* written by the log's thread; 0 while the content is in no log */
    uint8_t octets[];
};

_Static_assert(sizeof(struct content) == 16, "a content's header is two words");

static inline struct bytes
content_exchange(const struct content *content)
{
    return bytes_make(content->octets, content->exchange_size);
}

static inline struct bytes
content_routing_key(const struct content *content)
{
    return bytes_make(content->octets + content->exchange_size, content->routing_key_size);
}

static inline struct bytes
content_properties(const struct content *content)
{
    return bytes_make(content->octets + content->exchange_size + content->routing_key_size,
                      content->properties_size);
}

static inline struct bytes
content_body(const struct content *content)
{
    return bytes_make(content->octets + content->exchange_size + content->routing_key_size +
                          content->properties_size,
                      content->body_size);
}

/* Octets of the whole content, this header included. */
static inline size_t
content_octets(const struct content *content)
{
    return sizeof(*content) + content->exchange_size + content->routing_key_size +
           content->properties_size + content->body_size;
}

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

/* Where the pool's memory comes from: anonymous mappings in production, what a test wants to see.
 * `map` returns page-aligned memory that is resident only where it was touched, or NULL. */
struct chunk_memory {
    void *(*map)(void *context, size_t size);
    void (*unmap)(void *context, void *memory, size_t size);
    void *context;
};

/* A pool that holds no memory yet: the first chunk comes with the first content. The pool bounds
 * nothing; chunk_pool_bytes is what the memory mark is compared with. */
struct chunk_pool *chunk_pool_new(void);
struct chunk_pool *chunk_pool_new_with(struct chunk_memory memory);
void chunk_pool_free(struct chunk_pool **pool); /* asserts nothing about live contents */

/* What a content will consist of, known when its header frame has arrived. */
struct content_shape {
    struct bytes exchange;    /* at most 255 octets */
    struct bytes routing_key; /* at most 255 octets */
    struct bytes properties;
    uint32_t body_size;
    enum chunk_kind kind;
    uint16_t flags;
};

/* Reserves room for a content, writes everything but the body, and counts one. `*body_out` is where
 * the body's octets go (body_size of them). The caller has compared body_size with its limits.
 * STATUS_NO_MEMORY when the machine has none, STATUS_FULL when all slots are in use; then nothing
 * changes. Memory of a body over CHUNK_BODY_OWN is mapped, so that only octets that really arrive
 * become resident. */
MUST_CHECK enum status chunk_pool_reserve(struct chunk_pool *pool,
                                          const struct content_shape *shape,
                                          struct content_ref *ref_out, uint8_t **body_out);

/* The content that `ref` names; asserts that it is alive and in memory. Valid until the end of the
 * tick in which its last count was released. */
const struct content *chunk_pool_content(const struct chunk_pool *pool, struct content_ref ref);

/* One more, one less pin. */
void chunk_pool_retain(struct chunk_pool *pool, struct content_ref ref);
void chunk_pool_release(struct chunk_pool *pool, struct content_ref ref);

/* One more, one less entry that names the content. `lsn` is what the log knows the content by; 0:
 * it is in no log, and lost with its chunk. Releasing an entry that has an LSN and no reference is
 * fine: it was never in memory, or has let go of it. */
void chunk_pool_retain_entry(struct chunk_pool *pool, struct content_ref ref, uint64_t lsn);
void chunk_pool_release_entry(struct chunk_pool *pool, struct content_ref ref, uint64_t lsn);

/* Call once per tick, after the tick's output was written or copied: frees or rewinds chunks that
 * nobody names any more. */
void chunk_pool_end_tick(struct chunk_pool *pool);

/* Gives back the memory of chunks that were kept for the next contents and not needed since the
 * last call. True while more is kept: call again after a second or so, and not at all once it is
 * false. */
bool chunk_pool_trim(struct chunk_pool *pool);

/* Octets of message memory held: chunks in use (their whole size) and mapped bodies. A rewound
 * chunk and the few that are kept for the next contents do not count. */
uint64_t chunk_pool_bytes(const struct chunk_pool *pool);

/* Slots in use, of 2^CHUNK_SLOT_BITS: chunks that are out of memory have one too. */
uint32_t chunk_pool_slots_used(const struct chunk_pool *pool);

/* Paging (chunk_paging.c). Everything here only between ticks, when no output names a content. */

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
 * nobody has pinned it meanwhile. */
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
