/* SPDX-License-Identifier: Apache-2.0 */
/* Message memory, over memory that the test counts and may refuse. */
#include "store/chunk.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <signal.h>
#include <stdlib.h>

#include "base/assert.h"
#include "tests/support/alloc_faults.h"

static struct chunk_pool *pool;
static size_t mapped_bytes;
static size_t map_count_calls;
static bool refuses;

static void *
counted_map(void *context, size_t size)
{
    (void)context;
    if (refuses) {
        return NULL;
    }
    map_count_calls++;
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
    pool = chunk_pool_new_with((struct chunk_memory){.map = counted_map, .unmap = counted_unmap});
}

static void
tear_down(void)
{
    chunk_pool_free(&pool);
    cr_expect(eq(sz, mapped_bytes, 0), "all memory went back");
}

TestSuite(chunk, .init = set_up, .fini = tear_down);

/* A content of `body_size` octets that are all `filler`. */
static struct content_ref
reserve(uint32_t body_size, enum chunk_kind kind, uint8_t filler)
{
    struct content_shape shape = {
        .exchange = bytes_of("orders"),
        .routing_key = bytes_of("eu.paid"),
        .properties = bytes_make("\x80\x00\x01t", 4),
        .body_size = body_size,
        .kind = kind,
        .flags = CONTENT_HAS_HEADERS,
    };
    struct content_ref ref;
    uint8_t *body;
    enum status status = chunk_pool_reserve(pool, &shape, &ref, &body);
    cr_assert(eq(int, status, STATUS_OK));
    memset(body, filler, body_size);
    return ref;
}

static bool
body_is(struct content_ref ref, uint32_t body_size, uint8_t filler)
{
    struct bytes body = content_body(chunk_pool_content(pool, ref));
    bool is_right = body.size == body_size;
    for (size_t i = 0; i < body.size; i++) {
        is_right = is_right && body.data[i] == filler;
    }
    return is_right;
}

Test(chunk, pool_without_contents_holds_no_memory)
{
    cr_expect(eq(sz, mapped_bytes, 0));
    cr_expect(eq(u64, chunk_pool_bytes(pool), 0));
}

Test(chunk, content_reads_back_as_it_was_laid_down)
{
    struct content_ref ref = reserve(10, CHUNK_KIND_TRANSIENT, 'x');
    const struct content *content = chunk_pool_content(pool, ref);

    cr_expect(content_ref_is_set(ref));
    cr_expect(bytes_equal_text(content_exchange(content), "orders"));
    cr_expect(bytes_equal_text(content_routing_key(content), "eu.paid"));
    cr_expect(bytes_equal(content_properties(content), bytes_make("\x80\x00\x01t", 4)));
    cr_expect(bytes_equal_text(content_body(content), "xxxxxxxxxx"));
    cr_expect(eq(int, content->flags, CONTENT_HAS_HEADERS));
    cr_expect(eq(u64, (uint64_t)(uintptr_t)content % 8, 0));
    chunk_pool_release(pool, ref);
}

Test(chunk, content_without_names_properties_and_body_takes_only_its_header)
{
    struct content_shape shape = {.kind = CHUNK_KIND_TRANSIENT};
    struct content_ref first;
    struct content_ref second;
    uint8_t *first_body;
    uint8_t *second_body;
    cr_assert(eq(int, chunk_pool_reserve(pool, &shape, &first, &first_body), STATUS_OK));
    cr_assert(eq(int, chunk_pool_reserve(pool, &shape, &second, &second_body), STATUS_OK));
    cr_expect(eq(i64, second_body - first_body, 16));
}

/* The reference that is all zero names nothing, so the very first content must not get it. */
Test(chunk, first_content_of_a_pool_has_a_reference_that_is_set)
{
    struct content_shape shape = {.kind = CHUNK_KIND_TRANSIENT};
    struct content_ref ref;
    uint8_t *body;
    cr_assert(eq(int, chunk_pool_reserve(pool, &shape, &ref, &body), STATUS_OK));
    cr_expect(content_ref_is_set(ref));
}

Test(chunk, kinds_do_not_share_a_chunk)
{
    reserve(10, CHUNK_KIND_TRANSIENT, 'a');
    reserve(10, CHUNK_KIND_PERSISTENT, 'b');
    cr_expect(eq(u64, chunk_pool_bytes(pool), 2 * CHUNK_SIZE));
}

/* A steady flow must stay in memory that the cache knows. */
Test(chunk, open_chunk_is_rewound_when_nothing_in_it_is_alive)
{
    struct content_ref ref = reserve(100, CHUNK_KIND_TRANSIENT, 'a');
    const struct content *content = chunk_pool_content(pool, ref);
    chunk_pool_release(pool, ref);
    chunk_pool_end_tick(pool, chunk_pool_tick(pool));
    cr_expect(eq(u64, chunk_pool_bytes(pool), 0));

    struct content_ref next = reserve(100, CHUNK_KIND_TRANSIENT, 'b');
    cr_expect(eq(ptr, (void *)chunk_pool_content(pool, next), (void *)content));
    cr_expect(ne(u64, next.bits, ref.bits), "a new generation");
    cr_expect(eq(u64, chunk_pool_bytes(pool), CHUNK_SIZE));
}

/* What a tick has released may still be read until its output was written. */
Test(chunk, released_content_can_be_read_until_the_tick_ends)
{
    struct content_ref ref = reserve(CHUNK_BODY_OWN + 1, CHUNK_KIND_TRANSIENT, 'z');
    chunk_pool_release(pool, ref);
    cr_expect(body_is(ref, CHUNK_BODY_OWN + 1, 'z'));
    chunk_pool_end_tick(pool, chunk_pool_tick(pool));
    cr_expect(eq(sz, mapped_bytes, 0));
}

Test(chunk, chunk_that_is_used_again_within_the_tick_stays)
{
    struct content_ref first = reserve(100, CHUNK_KIND_TRANSIENT, 'a');
    chunk_pool_release(pool, first);
    struct content_ref second = reserve(100, CHUNK_KIND_TRANSIENT, 'b');
    chunk_pool_end_tick(pool, chunk_pool_tick(pool));
    cr_expect(body_is(second, 100, 'b'));
    chunk_pool_release(pool, second);
    chunk_pool_end_tick(pool, chunk_pool_tick(pool));
    cr_expect(eq(u64, chunk_pool_bytes(pool), 0));
}

Test(chunk, each_retain_needs_a_release_of_its_own)
{
    struct content_ref ref = reserve(CHUNK_BODY_OWN + 1, CHUNK_KIND_TRANSIENT, 'a');
    chunk_pool_retain(pool, ref);
    chunk_pool_release(pool, ref);
    chunk_pool_end_tick(pool, chunk_pool_tick(pool));
    cr_expect(body_is(ref, CHUNK_BODY_OWN + 1, 'a'));
    chunk_pool_release(pool, ref);
    chunk_pool_end_tick(pool, chunk_pool_tick(pool));
    cr_expect(eq(u64, chunk_pool_bytes(pool), 0));
}

Test(chunk, large_body_gets_a_mapping_of_its_own_size)
{
    static const struct {
        uint32_t body_size;
        bool is_own;
    } rows[] = {
        {CHUNK_BODY_OWN, false},
        {CHUNK_BODY_OWN + 1, true},
        {16 * 1024 * 1024, true},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        size_t before = mapped_bytes;
        struct content_ref ref = reserve(rows[i].body_size, CHUNK_KIND_PERSISTENT, 'a');
        size_t own = 16 + strlen("orders") + strlen("eu.paid") + 4 + rows[i].body_size;
        size_t padded = (own + 7) & ~(size_t)7; /* the log writes whole words */
        size_t expected = rows[i].is_own ? padded : CHUNK_SIZE;
        cr_expect(eq(sz, mapped_bytes - before, expected), "row %zu", i);
        chunk_pool_release(pool, ref);
    }
}

/* A header table can be larger than a chunk when frame-max was raised. */
Test(chunk, huge_property_block_gets_a_mapping_of_its_own)
{
    static uint8_t properties[CHUNK_SIZE];
    struct content_shape shape = {
        .properties = bytes_make(properties, sizeof(properties)),
        .kind = CHUNK_KIND_TRANSIENT,
    };
    struct content_ref ref;
    uint8_t *body;
    cr_assert(eq(int, chunk_pool_reserve(pool, &shape, &ref, &body), STATUS_OK));
    cr_expect(eq(sz, mapped_bytes, sizeof(properties) + 16));
    cr_expect(eq(sz, content_properties(chunk_pool_content(pool, ref)).size, sizeof(properties)));
}

/* Four contents of this size fill a chunk. */
static void
fill_and_free(size_t chunk_count)
{
    static struct content_ref refs[4 * 200];
    for (size_t i = 0; i < 4 * chunk_count; i++) {
        refs[i] = reserve(CHUNK_BODY_OWN - 1024, CHUNK_KIND_TRANSIENT, 'a');
    }
    for (size_t i = 0; i < 4 * chunk_count; i++) {
        chunk_pool_release(pool, refs[i]);
    }
    chunk_pool_end_tick(pool, chunk_pool_tick(pool));
}

/* Fresh memory costs a page fault for each 4 KiB, so a busy pool keeps what it will need again. */
Test(chunk, freed_chunks_are_used_again_without_new_memory)
{
    fill_and_free(40);
    size_t calls = map_count_calls;
    fill_and_free(40);
    fill_and_free(3);
    cr_expect(eq(sz, map_count_calls, calls));
    cr_expect(eq(u64, chunk_pool_bytes(pool), 0));
}

Test(chunk, number_of_kept_chunks_is_bounded)
{
    fill_and_free(200);
    cr_expect(le(sz, mapped_bytes, (CHUNK_SPARES_MAX + 1) * (size_t)CHUNK_SIZE));
}

Test(chunk, trimming_returns_what_was_not_needed_since_the_last_time)
{
    fill_and_free(40);
    cr_expect(chunk_pool_trim(pool), "all of it was needed");
    size_t before = mapped_bytes;
    fill_and_free(11); /* the open chunk and ten spares */
    cr_expect(chunk_pool_trim(pool));
    cr_expect(eq(sz, mapped_bytes, 11 * (size_t)CHUNK_SIZE));
    cr_expect(lt(sz, mapped_bytes, before));
    cr_expect(not(chunk_pool_trim(pool)));
    cr_expect(eq(sz, mapped_bytes, CHUNK_SIZE), "the open chunk");
}

Test(chunk, refused_memory_changes_nothing)
{
    struct content_ref kept = reserve(100, CHUNK_KIND_TRANSIENT, 'k');
    uint64_t bytes = chunk_pool_bytes(pool);
    struct content_shape shape = {.body_size = CHUNK_BODY_OWN + 1, .kind = CHUNK_KIND_TRANSIENT};
    struct content_ref ref = {.bits = 7};
    uint8_t *body = NULL;

    refuses = true;
    cr_expect(eq(int, chunk_pool_reserve(pool, &shape, &ref, &body), STATUS_NO_MEMORY));
    shape = (struct content_shape){.body_size = 1, .kind = CHUNK_KIND_PERSISTENT};
    cr_expect(eq(int, chunk_pool_reserve(pool, &shape, &ref, &body), STATUS_NO_MEMORY));
    refuses = false;

    cr_expect(eq(u64, ref.bits, 7));
    cr_expect(zero(ptr, body));
    cr_expect(eq(u64, chunk_pool_bytes(pool), bytes));
    cr_expect(body_is(kept, 100, 'k'));
}

Test(chunk, slot_table_that_cannot_grow_is_no_memory)
{
    alloc_faults_plan(1);
    struct content_shape shape = {.body_size = 1, .kind = CHUNK_KIND_TRANSIENT};
    struct content_ref ref;
    uint8_t *body;
    cr_expect(eq(int, chunk_pool_reserve(pool, &shape, &ref, &body), STATUS_NO_MEMORY));
    cr_expect(eq(int, chunk_pool_reserve(pool, &shape, &ref, &body), STATUS_OK));
}

/* A reference has 20 bits for the slot. */
static uint8_t shared_memory[CHUNK_SIZE];

static void *
shared_map(void *context, size_t size)
{
    (void)context;
    (void)size;
    return shared_memory;
}

static void
shared_unmap(void *context, void *memory, size_t size)
{
    (void)context;
    (void)memory;
    (void)size;
}

Test(chunk, pool_is_full_when_all_slots_are_in_use)
{
    struct chunk_pool *wide =
        chunk_pool_new_with((struct chunk_memory){.map = shared_map, .unmap = shared_unmap});
    struct content_shape shape = {.body_size = CHUNK_BODY_OWN + 1, .kind = CHUNK_KIND_TRANSIENT};
    struct content_ref first;
    struct content_ref ref;
    uint8_t *body;
    cr_assert(eq(int, chunk_pool_reserve(wide, &shape, &first, &body), STATUS_OK));
    for (uint32_t i = 1; i < 1U << CHUNK_SLOT_BITS; i++) {
        cr_assert(eq(int, chunk_pool_reserve(wide, &shape, &ref, &body), STATUS_OK));
    }
    cr_expect(eq(int, chunk_pool_reserve(wide, &shape, &ref, &body), STATUS_FULL));

    chunk_pool_release(wide, first);
    chunk_pool_end_tick(wide, chunk_pool_tick(wide));
    cr_expect(eq(int, chunk_pool_reserve(wide, &shape, &ref, &body), STATUS_OK));
    cr_expect(ne(u64, ref.bits, first.bits));
    chunk_pool_free(&wide);
}

Test(chunk, stale_reference_is_a_caught_bug, .signal = SIGABRT)
{
    struct content_ref ref = reserve(100, CHUNK_KIND_TRANSIENT, 'a');
    chunk_pool_release(pool, ref);
    chunk_pool_end_tick(pool, chunk_pool_tick(pool));
    reserve(100, CHUNK_KIND_TRANSIENT, 'b');
    (void)chunk_pool_content(pool, ref);
}

Test(chunk, release_of_what_nobody_counts_is_a_caught_bug, .signal = SIGABRT)
{
    struct content_ref ref = reserve(100, CHUNK_KIND_TRANSIENT, 'a');
    chunk_pool_release(pool, ref);
    chunk_pool_release(pool, ref);
}

/* Against a model: what is alive keeps its octets, whatever the order of events. */
Test(chunk, live_contents_keep_their_octets_in_random_order)
{
    enum { LIVE_MAX = 300, STEPS = 40000 };
    static struct {
        struct content_ref ref;
        uint32_t size;
        uint32_t count;
        uint8_t filler;
    } live[LIVE_MAX];
    uint64_t seed = 1;
    for (uint32_t step = 0; step < STEPS; step++) {
        seed = seed * 6364136223846793005U + 1442695040888963407U;
        uint32_t random = (uint32_t)(seed >> 33);
        size_t at = random % LIVE_MAX;
        if (live[at].count == 0) {
            live[at].size = random % 97 == 0 ? CHUNK_BODY_OWN + random % 9999 : random % 3000;
            live[at].filler = (uint8_t)(random >> 8);
            live[at].count = 1;
            live[at].ref = reserve(live[at].size, random % CHUNK_KIND_COUNT, live[at].filler);
        } else if (random % 5 == 0) {
            chunk_pool_retain(pool, live[at].ref);
            live[at].count++;
        } else {
            cr_assert(body_is(live[at].ref, live[at].size, live[at].filler));
            chunk_pool_release(pool, live[at].ref);
            live[at].count--;
        }
        if (random % 16 == 0) {
            chunk_pool_end_tick(pool, chunk_pool_tick(pool));
        }
    }
    for (size_t i = 0; i < LIVE_MAX; i++) {
        for (; live[i].count > 0; live[i].count--) {
            chunk_pool_release(pool, live[i].ref);
        }
    }
    chunk_pool_end_tick(pool, chunk_pool_tick(pool));
    cr_expect(eq(u64, chunk_pool_bytes(pool), 0));
}

/* The real memory: mapped, and given back. */
Test(chunk, pool_over_anonymous_mappings_takes_and_returns_bodies)
{
    struct chunk_pool *real = chunk_pool_new();
    struct content_shape shape = {.body_size = 1000000, .kind = CHUNK_KIND_PERSISTENT};
    struct content_ref ref;
    uint8_t *body;
    cr_assert(eq(int, chunk_pool_reserve(real, &shape, &ref, &body), STATUS_OK));
    body[0] = 1;
    body[999999] = 2;
    cr_expect(eq(u64, chunk_pool_bytes(real), 1000016));
    chunk_pool_release(real, ref);
    chunk_pool_end_tick(real, chunk_pool_tick(real));
    cr_expect(eq(u64, chunk_pool_bytes(real), 0));
    chunk_pool_free(&real);
    cr_expect(zero(ptr, real));
}

/* What only the broker sees lies behind the body, in units of 8 octets that the flags count. */
Test(chunk, a_tail_lies_behind_the_body)
{
    static const size_t sizes[] = {0, 1, 8, 9, CONTENT_TAIL_MAX};
    static uint8_t tail[CONTENT_TAIL_MAX];
    memset(tail, 'x', sizeof(tail));
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        struct content_shape shape = {
            .body_size = 3,
            .flags = CONTENT_PERSISTENT,
            .kind = CHUNK_KIND_PERSISTENT,
            .tail = bytes_make(tail, sizes[i]),
        };
        struct content_ref ref;
        uint8_t *body;
        cr_assert(eq(int, (int)chunk_pool_reserve(pool, &shape, &ref, &body), STATUS_OK));
        memcpy(body, "abc", 3);
        const struct content *content = chunk_pool_content(pool, ref);
        size_t rounded = (sizes[i] + 7) / 8 * 8;
        cr_expect(eq(sz, content_octets(content), sizeof(*content) + 3 + rounded));
        cr_expect(ne(int, content->flags &CONTENT_PERSISTENT, 0));
        cr_expect(bytes_equal_text(content_body(content), "abc"));
        struct bytes found = content_tail(content);
        cr_assert(eq(sz, found.size, rounded));
        cr_expect(bytes_equal(bytes_make(found.data, sizes[i]), shape.tail));
        for (size_t at = sizes[i]; at < rounded; at++) {
            cr_expect(eq(int, found.data[at], 0));
        }
        chunk_pool_release(pool, ref);
    }
}
