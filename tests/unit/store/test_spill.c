/* SPDX-License-Identifier: Apache-2.0 */
/* Memory lent to the disk comes back as it was, or not at all. */
#include "store/spill.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#include <errno.h>
#include <string.h>

#include "tests/support/sim_disk.h"

enum { SIZE = 4096 };

static struct sim_disk *sim;
static struct disk disk;

static void
set_up(void)
{
    sim = sim_disk_new();
    disk = disk_of_sim(sim);
}

static void
tear_down(void)
{
    sim_disk_free(&sim);
}

TestSuite(spill, .init = set_up, .fini = tear_down);

/* Writes SIZE octets of `filler` at `offset`; the checksum is in what it returns. */
static struct io_spill
spill_out(uint8_t filler, uint64_t offset)
{
    static uint8_t octets[SIZE];
    memset(octets, filler, sizeof(octets));
    struct io_spill spill = {
        .is_write = true, .number = 3, .offset = offset, .octets = octets, .size = SIZE};
    cr_assert(eq(int, spill_run(&spill, &disk), STATUS_OK));
    return spill;
}

Test(spill, what_was_lent_comes_back)
{
    struct io_spill first = spill_out('a', 0);
    struct io_spill second = spill_out('b', SIZE);
    uint8_t octets[SIZE];
    first.is_write = false;
    first.octets = octets;
    cr_assert(eq(int, spill_run(&first, &disk), STATUS_OK));
    cr_expect(eq(int, octets[SIZE - 1], 'a'));
    second.is_write = false;
    second.octets = octets;
    cr_assert(eq(int, spill_run(&second, &disk), STATUS_OK));
    cr_expect(eq(int, octets[0], 'b'));
}

/* A spill file means nothing after the process: a flush would only cost. */
Test(spill, a_spill_file_is_never_flushed)
{
    (void)spill_out('a', 0);
    cr_expect(eq(u64, sim_disk_call_count(sim, SIM_DISK_FLUSH), 0));
    cr_expect(eq(u64, sim_disk_call_count(sim, SIM_DISK_FLUSH_DIRECTORY), 0));
}

/* F6: memory that the disk changed is not memory any more. */
Test(spill, octets_that_have_changed_are_refused)
{
    struct io_spill spill = spill_out('a', 0);
    uint8_t octets[SIZE];
    spill.is_write = false;
    spill.octets = octets;
    sim_disk_flip_bit(sim, "spill.0000000000000003", 100, 3);
    cr_expect(eq(int, spill_run(&spill, &disk), STATUS_CORRUPT));
    sim_disk_flip_bit(sim, "spill.0000000000000003", 100, 3);
    sim_disk_cut(sim, "spill.0000000000000003", SIZE - 1);
    cr_expect(eq(int, spill_run(&spill, &disk), STATUS_CORRUPT));
}

/* F3: the memory stays where it is. */
Test(spill, a_write_that_finds_no_room_is_reported)
{
    sim_disk_set_capacity(sim, SIZE / 2);
    uint8_t octets[SIZE] = {0};
    struct io_spill spill = {.is_write = true, .number = 3, .octets = octets, .size = SIZE};
    cr_expect(eq(int, spill_run(&spill, &disk), STATUS_IO));
    cr_expect(eq(int, errno, ENOSPC));
}
