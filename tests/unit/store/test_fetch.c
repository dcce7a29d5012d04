/* SPDX-License-Identifier: Apache-2.0 */
/* Contents back from the disk into memory. */
#include "store/fetch.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <errno.h>
#include <stdlib.h>

#include "base/assert.h"
#include "store/chunk.h"
#include "tests/support/sim_disk.h"
#include "tests/support/store_maker.h"

static struct sim_disk *sim;
static struct disk disk;
static struct store_maker maker;
static struct fetch_files *files;
static struct io_fetch fetch;
static struct log_failure failure;
static char why[512];

enum { QUEUE = 2 };

static void
set_up(void)
{
    sim = sim_disk_new();
    disk = disk_of_sim(sim);
    store_maker_init(&maker, &disk);
    enum status status = store_maker_start(&maker, NULL, why, sizeof(why));
    cr_assert(eq(int, status, STATUS_OK));
    files = fetch_files_new(&disk);
    fetch = (struct io_fetch){.block = aligned_alloc(8, FETCH_WINDOW), .block_size = FETCH_WINDOW};
}

static void
tear_down(void)
{
    free(fetch.block);
    fetch_files_free(&files);
    store_maker_fini(&maker);
    sim_disk_free(&sim);
}

TestSuite(fetch, .init = set_up, .fini = tear_down);

/* Publishes, and asks for it later. */
static void
publish(uint32_t size, bool is_wanted)
{
    uint64_t queue = QUEUE;
    uint64_t lsn = store_maker_publish(&maker, &queue, 1, "body ", size);
    store_maker_seal(&maker, true);
    if (is_wanted) {
        fetch.lsns[fetch.count] = lsn;
        fetch.sizes[fetch.count++] = size;
    }
}

static void
expect_content(uint32_t at)
{
    cr_assert(eq(u32, fetch.offsets[at] % 8, 0));
    const struct content *content = (const struct content *)(fetch.block + fetch.offsets[at]);
    struct bytes body = content_body(content);
    cr_assert(eq(sz, body.size, fetch.sizes[at]));
    cr_expect(bytes_equal_text(content_exchange(content), "orders"));
    cr_expect(bytes_equal_text(content_routing_key(content), "eu.paid"));
    for (uint32_t i = 0; i < body.size; i++) {
        cr_assert(eq(u8, body.data[i], store_maker_octet("body ", i)), "octet %u of %u", i, at);
    }
}

static void
run(uint32_t fetched)
{
    enum status status = fetch_run(files, &fetch, &failure);
    cr_assert(eq(int, status, STATUS_OK), "%s %s", failure.what, failure.file);
    cr_expect(eq(u32, fetch.fetched_count, fetched));
    for (uint32_t i = 0; i < fetch.fetched_count; i++) {
        expect_content(i);
    }
}

Test(fetch, neighbours_come_by_one_read)
{
    for (uint32_t i = 0; i < 20; i++) {
        publish(100 + i, true);
    }
    fetch.count = 10;
    run(10);
    for (uint32_t i = 0; i < 10; i++) {
        fetch.lsns[i] = fetch.lsns[i + 10];
        fetch.sizes[i] = fetch.sizes[i + 10];
    }
    uint64_t before = sim_disk_call_count(sim, SIM_DISK_READ);
    run(10);
    cr_expect(eq(u64, sim_disk_call_count(sim, SIM_DISK_READ) - before, 1));
}

Test(fetch, contents_far_apart_and_in_several_segments_come_back)
{
    for (uint32_t i = 0; i < 30; i++) {
        publish(i * 31, true);
        publish(9000, false);
    }
    cr_expect(lt(u64, 5, maker.newest.number));
    run(30);
}

Test(fetch, content_that_fills_the_block_exactly_comes_alone)
{
    publish(20000, true);
    publish(20000, true);
    fetch.block_size = 16 + 6 + 7 + 3 + 20000;
    run(1);
}

/* Its properties are longer than was allowed for: the rest is read behind. */
Test(fetch, block_takes_as_many_as_it_has_room_for)
{
    for (uint32_t i = 0; i < 10; i++) {
        publish(10000, true);
    }
    fetch.block_size = 45000;
    run(4);
}

/* Never a wrong body: what is damaged is named, and what was before it is good. */
Test(fetch, damaged_content_is_named_and_those_before_it_are_fetched)
{
    for (uint32_t i = 0; i < 5; i++) {
        publish(1000, true);
    }
    char name[STORE_NAME_SIZE];
    store_file_name(STORE_FILE_SEGMENT, maker.newest.number - 1, 0, name);
    uint64_t base = maker.newest.base_lsn - maker.slot_size;
    sim_disk_flip_bit(sim, name, fetch.lsns[3] - base + 500, 0);
    enum status status = fetch_run(files, &fetch, &failure);
    cr_expect(eq(int, status, STATUS_CORRUPT));
    cr_expect(eq(u32, fetch.fetched_count, 3));
    cr_expect(eq(str, failure.file, name));
    cr_expect(eq(u64, failure.offset, fetch.lsns[3] - base));
}

Test(fetch, read_error_is_no_damage)
{
    publish(1000, true);
    run(1);
    sim_disk_fail(sim, SIM_DISK_READ, 1, EIO);
    enum status status = fetch_run(files, &fetch, &failure);
    cr_expect(eq(int, status, STATUS_IO));
    cr_expect(eq(int, failure.error, EIO));
}

/* A file that is open here may be another segment by now. */
Test(fetch, segment_that_was_used_again_is_looked_up_anew)
{
    for (uint32_t i = 0; i < 12; i++) {
        publish(9000, true);
    }
    fetch.count = 1;
    run(1);
    fetch.count = 12;
    uint64_t number = maker.newest.number - 1;
    char name[STORE_NAME_SIZE];
    char other[STORE_NAME_SIZE];
    store_file_name(STORE_FILE_SEGMENT, number, 0, name);
    store_file_name(STORE_FILE_SEGMENT, number - 1, 0, other);
    sim_disk_swap(sim, name, other);
    sim_disk_swap(sim, name, other);
    run(12);
}

Test(fetch, message_of_a_segment_that_is_gone_is_named)
{
    publish(10, true);
    fetch.lsns[0] += UINT64_C(1) << 40;
    enum status status = fetch_run(files, &fetch, &failure);
    cr_expect(eq(int, status, STATUS_CORRUPT));
    cr_expect(eq(str, failure.file, "no segment"));
}
