/* SPDX-License-Identifier: Apache-2.0 */
/* The file that takes room, on a disk in memory that copies on write. */
#include "store/ballast.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#include <errno.h>

#include "base/assert.h"
#include "tests/support/sim_disk.h"

enum { SEED = 4711, OCTETS_MAX = 2 * BALLAST_SLICE + 5000 };

static struct sim_disk *sim;
static struct disk disk;
static struct log_failure failure;

static void
set_up(void)
{
    sim = sim_disk_new();
    sim_disk_set_copies_on_write(sim, true);
    disk = disk_of_sim(sim);
}

static void
tear_down(void)
{
    sim_disk_free(&sim);
}

TestSuite(ballast, .init = set_up, .fini = tear_down);

static uint64_t
make(uint64_t seed)
{
    uint64_t octets = 0;
    while (octets < OCTETS_MAX) {
        cr_assert(eq(int, ballast_extend(&disk, &octets, OCTETS_MAX, seed, &failure), STATUS_OK));
    }
    return octets;
}

/* Nobody waits for more than a slice of it, and what is reported is on the disk. */
Test(ballast, grows_slice_by_slice_and_is_flushed_each_time)
{
    static const uint64_t SIZES[] = {BALLAST_SLICE, 2 * BALLAST_SLICE, OCTETS_MAX};
    uint64_t octets = 0;
    for (size_t i = 0; i < ARRAY_LEN(SIZES); i++) {
        cr_assert(eq(int, ballast_extend(&disk, &octets, OCTETS_MAX, SEED, &failure), STATUS_OK));
        cr_expect(eq(u64, octets, SIZES[i]));
        cr_expect(eq(u64, sim_disk_call_count(sim, SIM_DISK_WRITE), i + 1));
        cr_expect(eq(u64, sim_disk_call_count(sim, SIM_DISK_FLUSH), i + 1));
    }
    sim_disk_crash(sim, SIM_DISK_NAMES, NULL);
    cr_expect(eq(u64, sim_disk_content(sim, STORE_BALLAST_NAME).size, OCTETS_MAX));
}

/* A file system that compresses, or keeps equal blocks once, must not see through it. */
Test(ballast, its_octets_take_the_room_that_they_stand_for)
{
    static uint32_t counts[256];
    static uint8_t first[BALLAST_SLICE];
    make(SEED);
    struct bytes content = sim_disk_content(sim, STORE_BALLAST_NAME);
    memcpy(first, content.data, sizeof(first));
    cr_expect(ne(int, memcmp(first, content.data + BALLAST_SLICE, BALLAST_SLICE), 0));
    for (size_t i = 0; i < content.size; i++) {
        counts[content.data[i]]++;
    }
    for (size_t i = 0; i < ARRAY_LEN(counts); i++) {
        cr_expect(lt(u64, counts[i], content.size / 256 + content.size / 2560), "octet %zu", i);
    }
    make(SEED + 1);
    content = sim_disk_content(sim, STORE_BALLAST_NAME);
    cr_expect(ne(int, memcmp(first, content.data, sizeof(first)), 0), "of another directory");
}

/* What is left of an attempt that failed, or of the last run, is replaced. */
Test(ballast, a_new_one_takes_the_place_of_what_is_there)
{
    sim_disk_replace(sim, STORE_BALLAST_NAME, bytes_of("left"));
    uint64_t octets = 0;
    cr_assert(eq(int, ballast_extend(&disk, &octets, 10, SEED, &failure), STATUS_OK));
    cr_expect(eq(u64, octets, 10));
    cr_expect(eq(u64, sim_disk_content(sim, STORE_BALLAST_NAME).size, 10));
}

/* Its room is back when that is reported, not some time later. */
Test(ballast, what_is_given_up_is_room_at_once)
{
    make(SEED);
    sim_disk_set_capacity(sim, OCTETS_MAX);
    cr_assert(eq(u64, sim_disk_free_bytes(sim), 0));
    cr_assert(eq(int, ballast_give_up(&disk, &failure), STATUS_OK));
    cr_expect(eq(u64, sim_disk_free_bytes(sim), OCTETS_MAX));
    cr_expect(eq(int, ballast_give_up(&disk, &failure), STATUS_OK), "nothing is there");
}

/* Each call that can fail says what, and reports no more than is there. */
Test(ballast, a_failure_names_the_call)
{
    static const struct {
        enum sim_disk_call call;
        int error;
        const char *what;
    } rows[] = {
        {SIM_DISK_UNLINK, EIO, "unlink"},
        {SIM_DISK_OPEN, EMFILE, "open"},
        {SIM_DISK_WRITE, ENOSPC, "write"},
        {SIM_DISK_FLUSH, EIO, "flush"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        uint64_t octets = 0;
        sim_disk_fail(sim, rows[i].call, 1, rows[i].error);
        cr_expect(eq(int, ballast_extend(&disk, &octets, OCTETS_MAX, SEED, &failure), STATUS_IO));
        cr_expect(eq(u64, octets, 0));
        cr_expect(eq(str, (char *)failure.what, (char *)rows[i].what));
        cr_expect(eq(int, failure.error, rows[i].error));
        cr_expect(eq(str, failure.file, (char *)STORE_BALLAST_NAME));
    }
    make(SEED);
    sim_disk_fail(sim, SIM_DISK_UNLINK, 1, EROFS);
    cr_expect(eq(int, ballast_give_up(&disk, &failure), STATUS_IO));
    cr_expect(eq(str, (char *)failure.what, (char *)"unlink"));
    sim_disk_fail(sim, SIM_DISK_FLUSH_DIRECTORY, 1, EIO);
    cr_expect(eq(int, ballast_give_up(&disk, &failure), STATUS_IO));
    cr_expect(log_failure_is_of_directory(&failure));
}
