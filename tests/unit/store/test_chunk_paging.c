/* SPDX-License-Identifier: Apache-2.0 */
/* Chunks that leave the memory while entries go on naming their contents. */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <signal.h>
#include <stdlib.h>

#include "base/assert.h"
#include "store/chunk.h"
#include "store/spill_space.h"

static struct chunk_pool *pool;
static struct spill_space *space;
static size_t mapped_bytes;

static void *
counted_map(void *context, size_t size)
{
    (void)context;
    mapped_bytes += size;
    return aligned_alloc(4096, (size + 4095) & ~(size_t)4095);
}

static void
counted_unmap(void *context, void *memory, size_t size)
{
    (void)context;
    mapped_bytes -= size;
    free(memory);
}

static void
set_up(void)
{
    space = spill_space_new();
    pool = chunk_pool_new_with((struct chunk_memory){.map = counted_map, .unmap = counted_unmap});
    chunk_pool_use_spill(pool, space);
}

static void
tear_down(void)
{
    chunk_pool_free(&pool);
    cr_expect(eq(sz, mapped_bytes, 0), "all memory went back");
    cr_expect(eq(u64, spill_space_bytes(space), 0), "all room in spill files went back");
    spill_space_free(&space);
}

TestSuite(chunk_paging, .init = set_up, .fini = tear_down);

enum { BODY_SIZE = 60000, PER_CHUNK = 4 };

/* A content that one entry names, with `lsn`; four of them fill a chunk. */
static struct content_ref
entry_of(enum chunk_kind kind, uint64_t lsn, uint8_t filler)
{
    struct content_shape shape = {.body_size = BODY_SIZE, .kind = kind};
    struct content_ref ref;
    uint8_t *body;
    enum status status = chunk_pool_reserve(pool, &shape, &ref, &body);
    cr_assert(eq(int, status, STATUS_OK));
    memset(body, filler, BODY_SIZE);
    chunk_pool_retain_entry(pool, ref, lsn);
    chunk_pool_release(pool, ref);
    return ref;
}

/* Fills a chunk and begins the next, so that the first is closed. */
static void
fill(enum chunk_kind kind, uint64_t first_lsn, struct content_ref refs[static PER_CHUNK + 1])
{
    for (uint64_t i = 0; i <= PER_CHUNK; i++) {
        refs[i] = entry_of(kind, first_lsn == 0 ? 0 : first_lsn + 8 * i, (uint8_t)('a' + i));
    }
}

static void
let_go(const struct content_ref *refs, uint64_t first_lsn)
{
    for (uint64_t i = 0; i <= PER_CHUNK; i++) {
        chunk_pool_release_entry(pool, refs[i], first_lsn == 0 ? 0 : first_lsn + 8 * i);
    }
    chunk_pool_end_tick(pool, chunk_pool_tick(pool));
}

static int
place(struct content_ref ref)
{
    return (int)chunk_pool_place(pool, ref);
}

/* Paging out a message that the log has writes nothing and touches no queue. */
Test(chunk_paging, committed_chunk_is_dropped_and_its_entries_know_it)
{
    struct content_ref refs[PER_CHUNK + 1];
    fill(CHUNK_KIND_PERSISTENT, 800, refs);
    cr_expect(eq(u64, chunk_pool_drop(pool, 1, 10000), CHUNK_SIZE));
    cr_expect(eq(int, place(refs[0]), CONTENT_IN_LOG));
    cr_expect(eq(int, place(refs[PER_CHUNK - 1]), CONTENT_IN_LOG));
    cr_expect(eq(int, place(refs[PER_CHUNK]), CONTENT_IN_MEMORY), "the open chunk stays");
    cr_expect(eq(u64, chunk_pool_bytes(pool), CHUNK_SIZE));
    let_go(refs, 800);
    cr_expect(eq(u32, chunk_pool_slots_used(pool), 1));
}

/* A message that is dropped before it is on disk would be lost. */
Test(chunk_paging, chunk_stays_until_the_last_of_its_contents_is_committed)
{
    struct content_ref refs[PER_CHUNK + 1];
    fill(CHUNK_KIND_PERSISTENT, 800, refs);
    uint64_t last = 800 + 8 * (PER_CHUNK - 1);
    cr_expect(eq(u64, chunk_pool_drop(pool, UINT64_MAX, last), 0));
    cr_expect(eq(u64, chunk_pool_drop(pool, UINT64_MAX, last + 1), CHUNK_SIZE));
    let_go(refs, 800);
}

/* One content among a thousand that is in no log keeps the chunk from being dropped. */
Test(chunk_paging, chunk_with_a_content_that_is_in_no_log_is_not_dropped)
{
    struct content_ref refs[PER_CHUNK + 1];
    fill(CHUNK_KIND_PERSISTENT, 800, refs);
    chunk_pool_retain_entry(pool, refs[1], 0);
    cr_expect(eq(u64, chunk_pool_drop(pool, UINT64_MAX, 10000), 0));
    chunk_pool_release_entry(pool, refs[1], 0);
    cr_expect(eq(u64, chunk_pool_drop(pool, UINT64_MAX, 10000), CHUNK_SIZE));
    let_go(refs, 800);
}

/* The log's thread reads the contents of its batches; a channel reads what it has buffered. */
Test(chunk_paging, pinned_chunk_is_neither_dropped_nor_spilled)
{
    struct content_ref logged[PER_CHUNK + 1];
    struct content_ref unlogged[PER_CHUNK + 1];
    fill(CHUNK_KIND_PERSISTENT, 800, logged);
    fill(CHUNK_KIND_TRANSIENT, 0, unlogged);
    chunk_pool_retain(pool, logged[0]);
    chunk_pool_retain(pool, unlogged[0]);
    struct chunk_spill spill;
    cr_expect(eq(u64, chunk_pool_drop(pool, UINT64_MAX, 10000), 0));
    cr_expect(not(chunk_pool_begin_spill(pool, &spill)));
    chunk_pool_release(pool, logged[0]);
    chunk_pool_release(pool, unlogged[0]);
    let_go(logged, 800);
    let_go(unlogged, 0);
}

/* A backlog loses its oldest messages first; what was read back can be had again. */
Test(chunk_paging, fetched_chunks_go_first_then_the_oldest)
{
    struct content_ref first[PER_CHUNK + 1];
    struct content_ref second[PER_CHUNK];
    fill(CHUNK_KIND_PERSISTENT, 800, first);
    for (uint64_t i = 0; i < PER_CHUNK; i++) {
        second[i] = entry_of(CHUNK_KIND_PERSISTENT, 2000 + 8 * i, 'x');
    }
    uint8_t *block = chunk_pool_lend_block(pool, CHUNK_SIZE);
    struct content_ref fetched;
    enum status status = chunk_pool_adopt(pool, block, CHUNK_SIZE, &fetched);
    cr_assert(eq(int, status, STATUS_OK));
    chunk_pool_retain_entry(pool, fetched, 400);
    chunk_pool_release(pool, fetched);

    cr_expect(eq(u64, chunk_pool_drop(pool, 1, 10000), CHUNK_SIZE));
    cr_expect(eq(int, place(fetched), CONTENT_IN_LOG));
    cr_expect(eq(int, place(first[0]), CONTENT_IN_MEMORY));
    cr_expect(eq(u64, chunk_pool_drop(pool, 1, 10000), CHUNK_SIZE));
    cr_expect(eq(int, place(first[0]), CONTENT_IN_LOG));
    cr_expect(eq(int, place(second[0]), CONTENT_IN_MEMORY));

    chunk_pool_release_entry(pool, fetched, 400);
    for (uint64_t i = 0; i < PER_CHUNK; i++) {
        chunk_pool_release_entry(pool, second[i], 2000 + 8 * i);
    }
    let_go(first, 800);
}

/* However often the slot of a dropped chunk could be used again: an entry that still names it must
 * never find somebody else's message. */
Test(chunk_paging, slot_of_a_dropped_chunk_is_not_used_again_before_all_entries_let_go)
{
    struct content_ref refs[PER_CHUNK + 1];
    fill(CHUNK_KIND_PERSISTENT, 800, refs);
    cr_expect(eq(u64, chunk_pool_drop(pool, 1, 10000), CHUNK_SIZE));
    for (int i = 0; i < 100; i++) {
        struct content_ref others[PER_CHUNK + 1];
        fill(CHUNK_KIND_TRANSIENT, 0, others);
        cr_expect(not(content_ref_same_chunk(others[0], refs[0])));
        let_go(others, 0);
        cr_expect(eq(int, place(refs[0]), CONTENT_IN_LOG));
    }
    let_go(refs, 800);
}

Test(chunk_paging, releasing_an_entry_of_a_dropped_chunk_once_too_often_is_a_caught_bug,
     .signal = SIGABRT)
{
    struct content_ref refs[PER_CHUNK + 1];
    fill(CHUNK_KIND_PERSISTENT, 800, refs);
    (void)chunk_pool_drop(pool, 1, 10000);
    for (int i = 0; i <= PER_CHUNK; i++) {
        chunk_pool_release_entry(pool, refs[0], 800);
    }
}

Test(chunk_paging, content_that_is_not_in_memory_cannot_be_read, .signal = SIGABRT)
{
    struct content_ref refs[PER_CHUNK + 1];
    fill(CHUNK_KIND_PERSISTENT, 800, refs);
    (void)chunk_pool_drop(pool, 1, 10000);
    (void)chunk_pool_content(pool, refs[0]);
}

/* What came back from the log is named content by content, wherever it lies in its block. */
Test(chunk_paging, adopted_block_lives_as_long_as_its_contents_are_named)
{
    enum { OFFSET = 4096 };
    uint8_t *block = chunk_pool_lend_block(pool, CHUNK_SIZE);
    cr_assert(not(zero(ptr, block)));
    cr_expect(eq(u64, chunk_pool_bytes(pool), CHUNK_SIZE));
    *(struct content *)(void *)(block + OFFSET) = (struct content){.body_size = 1234};
    struct content_ref chunk;
    enum status status = chunk_pool_adopt(pool, block, CHUNK_SIZE, &chunk);
    cr_assert(eq(int, status, STATUS_OK));
    struct content_ref ref = content_ref_at(chunk, OFFSET);
    chunk_pool_retain_entry(pool, ref, 4096);
    chunk_pool_release(pool, chunk);
    chunk_pool_end_tick(pool, chunk_pool_tick(pool));
    cr_expect(eq(u32, chunk_pool_content(pool, ref)->body_size, 1234));
    chunk_pool_release_entry(pool, ref, 4096);
    chunk_pool_end_tick(pool, chunk_pool_tick(pool));
    cr_expect(eq(u64, chunk_pool_bytes(pool), 0));
}

Test(chunk_paging, block_that_is_not_needed_goes_back)
{
    uint8_t *block = chunk_pool_lend_block(pool, 3 * (size_t)CHUNK_SIZE);
    chunk_pool_take_back_block(pool, block, 3 * (size_t)CHUNK_SIZE);
    cr_expect(eq(u64, chunk_pool_bytes(pool), 0));
    cr_expect(chunk_pool_trim(pool), "it may be wanted again soon");
    cr_expect(not(chunk_pool_trim(pool)));
    cr_expect(eq(sz, mapped_bytes, 0));
}

/* Takes the place of the disk: returns what was written, to be read back. */
static uint8_t *
spill_one(struct chunk_spill *spill)
{
    bool found = chunk_pool_begin_spill(pool, spill);
    cr_assert(found);
    uint8_t *disk = malloc(spill->size);
    memcpy(disk, spill->octets, spill->size);
    spill->crc = 4711;
    chunk_pool_end_spill(pool, spill, true);
    return disk;
}

/* Transient messages under pressure: the same references are good after the chunk came back. */
Test(chunk_paging, spilled_chunk_comes_back_as_it_was)
{
    struct content_ref refs[PER_CHUNK + 1];
    fill(CHUNK_KIND_TRANSIENT, 0, refs);
    struct chunk_spill spill;
    uint8_t *disk = spill_one(&spill);
    cr_expect(eq(int, place(refs[0]), CONTENT_SPILLED));
    cr_expect(eq(u64, chunk_pool_bytes(pool), CHUNK_SIZE), "the open one");

    struct chunk_spill back;
    cr_assert(chunk_pool_begin_restore(pool, refs[2], &back));
    cr_expect(eq(int, place(refs[0]), CONTENT_COMING));
    cr_expect(eq(u64, back.place, spill.place));
    cr_expect(eq(u32, back.crc, 4711));
    cr_assert(eq(sz, back.size, spill.size));
    memcpy(back.octets, disk, back.size);
    free(disk);
    chunk_pool_end_restore(pool, &back, true);
    chunk_pool_release(pool, back.chunk);
    for (int i = 0; i < PER_CHUNK; i++) {
        struct bytes body = content_body(chunk_pool_content(pool, refs[i]));
        cr_expect(eq(sz, body.size, BODY_SIZE));
        cr_expect(eq(u8, body.data[BODY_SIZE - 1], (uint8_t)('a' + i)));
    }
    let_go(refs, 0);
}

/* Memory that the disk did not take stays what it is. */
Test(chunk_paging, chunk_whose_spilling_failed_stays_in_memory)
{
    struct content_ref refs[PER_CHUNK + 1];
    fill(CHUNK_KIND_TRANSIENT, 0, refs);
    struct chunk_spill spill;
    cr_assert(chunk_pool_begin_spill(pool, &spill));
    chunk_pool_end_spill(pool, &spill, false);
    cr_expect(eq(int, place(refs[0]), CONTENT_IN_MEMORY));
    let_go(refs, 0);
    cr_expect(eq(u64, chunk_pool_bytes(pool), 0));
}

/* The last message may be acknowledged while its chunk is being written. */
Test(chunk_paging, chunk_that_dies_on_its_way_out_leaves_nothing_behind)
{
    struct content_ref refs[PER_CHUNK + 1];
    fill(CHUNK_KIND_TRANSIENT, 0, refs);
    struct chunk_spill spill;
    cr_assert(chunk_pool_begin_spill(pool, &spill));
    let_go(refs, 0);
    chunk_pool_end_spill(pool, &spill, true);
    chunk_pool_end_tick(pool, chunk_pool_tick(pool));
    cr_expect(eq(u64, chunk_pool_bytes(pool), 0));
}

/* A network on another thread is behind by some ticks. */
Test(chunk_paging, chunk_that_an_action_named_stays_until_that_is_carried_out)
{
    struct content_ref logged[PER_CHUNK + 1];
    struct content_ref transient[PER_CHUNK + 1];
    struct chunk_spill spill;
    fill(CHUNK_KIND_PERSISTENT, 4096, logged);
    fill(CHUNK_KIND_TRANSIENT, 0, transient);
    (void)chunk_pool_name(pool, logged[1]);
    (void)chunk_pool_name(pool, transient[2]);
    chunk_pool_end_tick(pool, 0);
    cr_expect(eq(u64, chunk_pool_drop(pool, CHUNK_SIZE, UINT64_MAX), 0));
    cr_expect(not(chunk_pool_begin_spill(pool, &spill)));

    chunk_pool_end_tick(pool, 1);
    cr_expect(eq(u64, chunk_pool_drop(pool, CHUNK_SIZE, UINT64_MAX), CHUNK_SIZE));
    free(spill_one(&spill));
    cr_expect(eq(int, place(transient[0]), CONTENT_SPILLED));
    let_go(logged, 4096);
    let_go(transient, 0);
}

/* A message may be handed out while its chunk is being written. */
Test(chunk_paging, chunk_that_is_named_on_its_way_out_stays_in_memory)
{
    struct content_ref refs[PER_CHUNK + 1];
    struct chunk_spill spill;
    fill(CHUNK_KIND_TRANSIENT, 0, refs);
    cr_assert(chunk_pool_begin_spill(pool, &spill));
    (void)chunk_pool_name(pool, refs[0]);
    chunk_pool_end_tick(pool, 0);
    chunk_pool_end_spill(pool, &spill, true);
    cr_expect(eq(int, place(refs[0]), CONTENT_IN_MEMORY));
    let_go(refs, 0);
}

Test(chunk_paging, spilled_chunk_that_nobody_names_gives_its_room_back)
{
    struct content_ref refs[PER_CHUNK + 1];
    fill(CHUNK_KIND_TRANSIENT, 0, refs);
    struct chunk_spill spill;
    free(spill_one(&spill));
    cr_expect(ge(u64, spill_space_bytes(space), 1));
    let_go(refs, 0);
    cr_expect(eq(u64, spill_space_bytes(space), 0));
    cr_expect(eq(u32, chunk_pool_slots_used(pool), 1), "the open one");
}

/* A message that the disk gave back wrong is lost, and said to be; it is never delivered. */
Test(chunk_paging, chunk_that_cannot_be_read_back_is_lost)
{
    struct content_ref refs[PER_CHUNK + 1];
    fill(CHUNK_KIND_TRANSIENT, 0, refs);
    struct chunk_spill spill;
    free(spill_one(&spill));
    struct chunk_spill back;
    cr_assert(chunk_pool_begin_restore(pool, refs[0], &back));
    chunk_pool_end_restore(pool, &back, false);
    chunk_pool_release(pool, back.chunk);
    chunk_pool_end_tick(pool, chunk_pool_tick(pool));
    cr_expect(eq(int, place(refs[0]), CONTENT_LOST));
    let_go(refs, 0);
    cr_expect(eq(u32, chunk_pool_slots_used(pool), 1));
}
