/* SPDX-License-Identifier: Apache-2.0 */
/* Each kind of job does what it is called, and says which failures nobody may go on after. */
#include "store/io_job.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#include <errno.h>

#include "base/assert.h"
#include "store/spill.h"
#include "tests/support/sim_disk.h"

enum { SLOT = 64 * 1024 };

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

TestSuite(io_job, .init = set_up, .fini = tear_down);

static struct io_job
prepare_job(uint64_t number, uint64_t spare)
{
    return (struct io_job){
        .type = IO_PREPARE,
        .prepare = {.header = {.number = number,
                               .base_lsn = number * SLOT,
                               .slot_size = SLOT,
                               .capacity = SLOT,
                               .epoch = 1},
                    .spare = spare},
    };
}

static void
run(struct io_job *job)
{
    io_job_run(job, &disk, NULL);
    cr_assert(eq(int, job->status, STATUS_OK), "%s", job->failure.what);
    cr_expect(not(job->is_fatal));
}

/* The way of a file: spare, segment, spare, segment, gone. */
Test(io_job, a_file_goes_round)
{
    struct io_job spare = {.type = IO_SPARE, .spare = {.number = 5, .octets = SLOT}};
    run(&spare);
    cr_expect(sim_disk_has(sim, "spare.0000000000000005"));
    struct io_job prepare = prepare_job(1, 5);
    run(&prepare);
    cr_expect(sim_disk_has(sim, "seg.0000000000000001"));
    struct io_job retire = {.type = IO_RETIRE, .retire = {.number = 1, .spare = 6}};
    run(&retire);
    cr_expect(sim_disk_has(sim, "spare.0000000000000006"));
    prepare = prepare_job(2, 6);
    run(&prepare);
    retire = (struct io_job){.type = IO_RETIRE, .retire = {.number = 2}};
    run(&retire);
    cr_expect(eq(u32, sim_disk_file_count(sim), 0));
}

Test(io_job, the_room_of_the_disk_is_told)
{
    struct io_job space = {.type = IO_SPACE};
    sim_disk_set_capacity(sim, 10 * SLOT);
    run(&space);
    cr_expect(eq(u64, space.space.total_bytes, 10 * SLOT));
    cr_expect(eq(u64, space.space.free_bytes, 10 * SLOT));
}

/* I9. Only where names may or may not be on the disk, nobody can go on: a later flush of the
 * directory says yes to names that it has lost. Everything else is one file, which is thrown away.
 */
Test(io_job, only_a_directory_that_cannot_be_flushed_is_fatal_for_a_segment)
{
    static const struct {
        enum sim_disk_call call;
        int error;
        bool is_fatal;
    } rows[] = {
        {SIM_DISK_OPEN, EMFILE, false},
        {SIM_DISK_WRITE, ENOSPC, false},
        {SIM_DISK_WRITE, EIO, false},
        {SIM_DISK_FLUSH, EIO, false},
        {SIM_DISK_RENAME, EIO, false},
        {SIM_DISK_FLUSH_DIRECTORY, EIO, true},
        {SIM_DISK_FLUSH_DIRECTORY, ENOSPC, true},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct io_job prepare = prepare_job(i + 1, 0);
        sim_disk_fail(sim, rows[i].call, 1, rows[i].error);
        io_job_run(&prepare, &disk, NULL);
        cr_expect(eq(int, prepare.status, STATUS_IO), "row %zu", i);
        cr_expect(eq(int, prepare.failure.error, rows[i].error), "row %zu", i);
        cr_expect(eq(int, prepare.is_fatal, rows[i].is_fatal), "row %zu", i);
    }
}

/* A job that is used again says nothing about its last life. */
Test(io_job, a_job_that_succeeds_has_no_failure)
{
    struct io_job prepare = prepare_job(1, 0);
    sim_disk_fail(sim, SIM_DISK_FLUSH_DIRECTORY, 1, EIO);
    io_job_run(&prepare, &disk, NULL);
    cr_expect(prepare.is_fatal);
    prepare = prepare_job(2, 0);
    run(&prepare);
    cr_expect(eq(ptr, (void *)(uintptr_t)prepare.failure.what, NULL));
}

Test(io_job, a_spill_that_fails_says_where)
{
    uint8_t octets[512];
    struct io_spill spill = {.number = 9, .offset = 4096, .octets = octets, .size = 512};
    struct io_job job = {.type = IO_SPILL, .spill = &spill};
    io_job_run(&job, &disk, NULL);
    cr_expect(eq(int, job.status, STATUS_IO));
    cr_expect(eq(str, job.failure.file, (char *)"spill.0000000000000009"));
    cr_expect(eq(int, job.failure.error, ENOENT));
    cr_expect(not(job.is_fatal));
}
