/* SPDX-License-Identifier: Apache-2.0 */
/* What a writer lays down and tells, over memory that the test counts and may refuse; the other
 * side is a list of what was told. */
#include "store/chunk_writer.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <stdlib.h>

#include "base/assert.h"
#include "tests/support/alloc_faults.h"

enum { TOLD_MAX = 256, BODY_SIZE = 60000, PER_CHUNK = 4, LARGE_CAPACITY = 3 << 20 };

static struct chunk_writer *writer;
static size_t mapped_bytes;
static bool refuses;

static struct told {
    bool is_closed;
    struct chunk_notice notice;
} told[TOLD_MAX];
static size_t told_count;

static void *
counted_map(void *context, size_t size)
{
    (void)context;
    if (refuses) {
        return NULL;
    }
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
note(bool is_closed, const struct chunk_notice *notice)
{
    cr_assert(lt(sz, told_count, TOLD_MAX));
    told[told_count++] = (struct told){.is_closed = is_closed, .notice = *notice};
}

static void
note_opened(void *context, const struct chunk_notice *notice)
{
    (void)context;
    note(false, notice);
}

static void
note_closed(void *context, const struct chunk_notice *notice)
{
    (void)context;
    note(true, notice);
}

static void
set_up(void)
{
    writer = chunk_writer_new((struct chunk_memory){.map = counted_map, .unmap = counted_unmap},
                              (struct chunk_sink){.opened = note_opened, .closed = note_closed});
}

/* What opened is the test's to give back. */
static void
tear_down(void)
{
    for (size_t i = 0; i < told_count; i++) {
        if (!told[i].is_closed) {
            counted_unmap(NULL, told[i].notice.memory, told[i].notice.capacity);
        }
    }
    chunk_writer_free(&writer);
    cr_expect(eq(sz, mapped_bytes, 0), "all memory went back");
}

TestSuite(chunk_writer, .init = set_up, .fini = tear_down);

static enum status
try_reserve(uint32_t body_size, enum chunk_kind kind, struct chunk_place *place_out)
{
    struct content_shape shape = {.exchange = bytes_of("x"), .body_size = body_size, .kind = kind};
    uint8_t *body;
    enum status status = chunk_writer_reserve(writer, &shape, place_out, &body);
    if (status == STATUS_OK) {
        memset(body, 'b', body_size);
    }
    return status;
}

static struct chunk_place
reserve(uint32_t body_size)
{
    struct chunk_place place;
    cr_assert(eq(int, try_reserve(body_size, CHUNK_KIND_TRANSIENT, &place), STATUS_OK));
    return place;
}

static void
write_one(uint32_t body_size)
{
    chunk_writer_release(writer, reserve(body_size));
}

Test(chunk_writer, chunk_is_told_of_before_its_first_content)
{
    struct chunk_place place = reserve(10);
    cr_assert(eq(sz, told_count, 1));
    cr_expect(not(told[0].is_closed));
    cr_expect(eq(u32, told[0].notice.chunk, place.chunk));
    cr_expect(eq(u32, told[0].notice.capacity, CHUNK_SIZE));
    cr_expect(eq(u32, told[0].notice.fill, 0));
    cr_expect(not(told[0].notice.is_own));
    cr_expect(eq(ptr, told[0].notice.memory, (void *)place.content));
    chunk_writer_release(writer, place);
    chunk_writer_report(writer);
    cr_expect(eq(sz, told_count, 1), "more contents may come");
}

Test(chunk_writer, full_chunk_is_told_of_as_closed_with_what_is_in_it)
{
    for (int i = 0; i <= PER_CHUNK; i++) {
        write_one(BODY_SIZE);
    }
    cr_assert(eq(sz, told_count, 2), "both opened");
    chunk_writer_report(writer);
    cr_assert(eq(sz, told_count, 3));
    cr_expect(told[2].is_closed);
    cr_expect(eq(u32, told[2].notice.chunk, told[0].notice.chunk));
    cr_expect(eq(ptr, told[2].notice.memory, told[0].notice.memory));
    cr_expect(eq(u32, told[2].notice.fill, PER_CHUNK * (BODY_SIZE + 24)));
    chunk_writer_report(writer);
    cr_expect(eq(sz, told_count, 3), "once");
}

/* A peer may take its time with the rest of a body. */
Test(chunk_writer, chunk_closes_only_when_its_last_reservation_has_ended)
{
    struct chunk_place slow[2] = {reserve(BODY_SIZE), reserve(BODY_SIZE)};
    for (int i = 0; i < PER_CHUNK; i++) {
        write_one(BODY_SIZE);
    }
    chunk_writer_report(writer);
    cr_expect(eq(sz, told_count, 2));
    chunk_writer_release(writer, slow[1]);
    chunk_writer_report(writer);
    cr_expect(eq(sz, told_count, 2));
    chunk_writer_release(writer, slow[0]);
    chunk_writer_report(writer);
    cr_assert(eq(sz, told_count, 3));
    cr_expect(eq(u32, told[2].notice.chunk, slow[0].chunk));
}

Test(chunk_writer, large_body_has_a_chunk_that_closes_behind_it)
{
    struct chunk_place place = reserve(CHUNK_BODY_OWN + 1);
    cr_assert(eq(sz, told_count, 1));
    cr_expect(told[0].notice.is_own);
    cr_expect(eq(u32, told[0].notice.capacity, CHUNK_BODY_OWN + 24));
    chunk_writer_release(writer, place);
    chunk_writer_report(writer);
    cr_assert(eq(sz, told_count, 2));
    cr_expect(told[1].is_closed);
    cr_expect(eq(u32, told[1].notice.fill, told[0].notice.capacity));
}

/* The numbers lead to places in tables on both sides. */
Test(chunk_writer, numbers_of_closed_chunks_are_used_again_and_no_others)
{
    struct chunk_place first = reserve(CHUNK_BODY_OWN + 1);
    struct chunk_place second = reserve(CHUNK_BODY_OWN + 1);
    cr_expect(ne(u32, first.chunk, second.chunk));
    chunk_writer_release(writer, first);
    struct chunk_place third = reserve(CHUNK_BODY_OWN + 1);
    cr_expect(ne(u32, third.chunk, first.chunk), "nobody was told yet that it is free");
    chunk_writer_report(writer);
    struct chunk_place fourth = reserve(CHUNK_BODY_OWN + 1);
    cr_expect(eq(u32, fourth.chunk, first.chunk));
    for (int i = 0; i < 100; i++) {
        write_one(CHUNK_BODY_OWN + 1);
        chunk_writer_report(writer);
    }
    cr_expect(le(u32, told[told_count - 1].notice.chunk, 3));
    chunk_writer_release(writer, second);
    chunk_writer_release(writer, third);
    chunk_writer_release(writer, fourth);
    chunk_writer_report(writer);
}

Test(chunk_writer, kinds_do_not_share_a_chunk)
{
    struct chunk_place places[2];
    cr_assert(eq(int, try_reserve(10, CHUNK_KIND_TRANSIENT, &places[0]), STATUS_OK));
    cr_assert(eq(int, try_reserve(10, CHUNK_KIND_PERSISTENT, &places[1]), STATUS_OK));
    cr_expect(ne(u32, places[0].chunk, places[1].chunk));
    cr_expect(eq(int, told[1].notice.kind, CHUNK_KIND_PERSISTENT));
}

Test(chunk_writer, rewound_chunk_is_filled_from_its_front)
{
    struct chunk_place place = reserve(10);
    cr_expect(not(chunk_writer_rewind(writer, place.chunk)), "its body is still to come");
    chunk_writer_release(writer, place);
    cr_expect(chunk_writer_rewind(writer, place.chunk));
    cr_expect(eq(ptr, (void *)reserve(10).content, (void *)place.content));
    cr_expect(eq(sz, told_count, 1), "it is the same chunk");
}

Test(chunk_writer, only_the_open_chunk_is_rewound)
{
    struct chunk_place full = reserve(BODY_SIZE);
    for (int i = 0; i < PER_CHUNK; i++) {
        write_one(BODY_SIZE);
    }
    struct chunk_place own = reserve(CHUNK_BODY_OWN + 1);
    chunk_writer_release(writer, full);
    chunk_writer_release(writer, own);
    cr_expect(not(chunk_writer_rewind(writer, full.chunk)));
    cr_expect(not(chunk_writer_rewind(writer, own.chunk)));
    chunk_writer_report(writer);
    cr_expect(not(chunk_writer_rewind(writer, full.chunk)));
}

Test(chunk_writer, refused_memory_tells_nothing_and_leaves_the_open_chunk_open)
{
    struct chunk_place place = reserve(BODY_SIZE);
    chunk_writer_release(writer, place);
    struct chunk_place other = {.chunk = 77};
    refuses = true;
    cr_expect(eq(int, try_reserve(1, CHUNK_KIND_PERSISTENT, &other), STATUS_NO_MEMORY));
    cr_expect(
        eq(int, try_reserve(CHUNK_BODY_OWN + 1, CHUNK_KIND_TRANSIENT, &other), STATUS_NO_MEMORY));
    for (int i = 1; i < PER_CHUNK; i++) {
        write_one(BODY_SIZE);
    }
    cr_expect(eq(int, try_reserve(BODY_SIZE, CHUNK_KIND_TRANSIENT, &other), STATUS_NO_MEMORY));
    cr_expect(eq(u32, other.chunk, 77));
    cr_expect(eq(u32, reserve(10).chunk, place.chunk), "a small one still has room");
    chunk_writer_report(writer);
    cr_expect(eq(sz, told_count, 1));
}

Test(chunk_writer, table_that_cannot_grow_is_no_memory_and_costs_none)
{
    struct chunk_place place;
    alloc_faults_plan(1);
    cr_expect(
        eq(int, try_reserve(CHUNK_BODY_OWN + 1, CHUNK_KIND_TRANSIENT, &place), STATUS_NO_MEMORY));
    cr_expect(eq(sz, told_count, 0));
    cr_expect(eq(sz, mapped_bytes, 0));
    cr_expect(eq(int, try_reserve(CHUNK_BODY_OWN + 1, CHUNK_KIND_TRANSIENT, &place), STATUS_OK));
}

/* Memory is taken from the warm end. */
Test(chunk_writer, memory_that_came_back_is_filled_again_and_trimmed_when_idle)
{
    uint8_t *memory = counted_map(NULL, CHUNK_SIZE);
    chunk_writer_take_back(writer, memory, CHUNK_SIZE);
    cr_expect(chunk_writer_has_spares(writer));
    cr_expect(eq(ptr, (void *)reserve(10).content, memory));
    cr_expect(not(chunk_writer_has_spares(writer)));

    for (int i = 0; i < CHUNK_SPARES_MAX + 5; i++) {
        chunk_writer_take_back(writer, counted_map(NULL, CHUNK_SIZE), CHUNK_SIZE);
    }
    cr_expect(eq(sz, mapped_bytes, (CHUNK_SPARES_MAX + 1) * (size_t)CHUNK_SIZE));
    chunk_writer_take_back(writer, counted_map(NULL, 100000), 100000);
    cr_expect(eq(sz, mapped_bytes, (CHUNK_SPARES_MAX + 1) * (size_t)CHUNK_SIZE), "not kept");
    cr_expect(chunk_writer_trim(writer));
    cr_expect(not(chunk_writer_trim(writer)));
    cr_expect(eq(sz, mapped_bytes, CHUNK_SIZE), "the open chunk");
}

/* Fresh memory of that size costs a page fault for every 4 KiB, and giving it back is one long step
 * in which nobody else is served. */
Test(chunk_writer, large_memory_that_came_back_serves_a_content_of_about_the_same_size)
{
    uint8_t *memory = counted_map(NULL, LARGE_CAPACITY);
    chunk_writer_take_back(writer, memory, LARGE_CAPACITY);
    cr_expect(chunk_writer_has_spares(writer));
    cr_expect(eq(ptr, (void *)reserve(LARGE_CAPACITY - 60000).content, memory));
    cr_expect(not(chunk_writer_has_spares(writer)));
    cr_expect(eq(sz, mapped_bytes, LARGE_CAPACITY));
    cr_expect(eq(u32, told[told_count - 1].notice.capacity, LARGE_CAPACITY));

    chunk_writer_take_back(writer, counted_map(NULL, LARGE_CAPACITY), LARGE_CAPACITY);
    (void)reserve(LARGE_CAPACITY / 2);
    (void)reserve(LARGE_CAPACITY + 1000);
    cr_expect(chunk_writer_has_spares(writer), "neither is about the same");
}

Test(chunk_writer, large_memory_is_kept_within_bounds_and_until_it_was_idle)
{
    enum { SIZE = 16 * 1024 * 1024 };
    for (int i = 0; i < 5; i++) {
        chunk_writer_take_back(writer, counted_map(NULL, SIZE), SIZE);
    }
    cr_expect(eq(sz, mapped_bytes, 2 * (size_t)SIZE), "as many octets as may be kept");
    for (int i = 0; i < 5; i++) {
        chunk_writer_take_back(writer, counted_map(NULL, 2 * CHUNK_SIZE), 2 * CHUNK_SIZE);
    }
    cr_expect(eq(sz, mapped_bytes, 2 * (size_t)SIZE + 4 * CHUNK_SIZE), "and pieces");
    cr_expect(chunk_writer_trim(writer));
    uint8_t *used = chunk_writer_map(writer, 2 * CHUNK_SIZE);
    chunk_writer_take_back(writer, used, 2 * CHUNK_SIZE);
    cr_expect(chunk_writer_trim(writer), "one was used since");
    cr_expect(eq(sz, mapped_bytes, 2 * (size_t)CHUNK_SIZE));
    cr_expect(not(chunk_writer_trim(writer)));
    cr_expect(eq(sz, mapped_bytes, 0));
}
