/* SPDX-License-Identifier: Apache-2.0 */
/* Removals folded into the segment whose rows they end. */
#include "store/fold.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#include "base/assert.h"
#include "tests/support/sim_disk.h"
#include "tests/support/store_maker.h"

static struct sim_disk *sim;
static struct disk disk;
static struct store_maker maker;
static struct store_content content;
static struct log_failure failure;
static char why[512];

enum { VHOST = 1, QUEUE = 2, COUNT = 60 };
static uint64_t lsns[COUNT];

static void
start(void)
{
    store_content_fini(&content);
    enum status status = store_maker_start(&maker, &content, why, sizeof(why));
    cr_assert(eq(int, status, STATUS_OK), "%s", why);
}

static void
set_up(void)
{
    sim = sim_disk_new();
    disk = disk_of_sim(sim);
    store_maker_init(&maker, &disk);
    start();
    store_maker_vhost(&maker, VHOST, "/");
    store_maker_queue(&maker, QUEUE, VHOST, "orders");
    uint64_t queue = QUEUE;
    for (size_t i = 0; i < COUNT; i++) {
        lsns[i] = store_maker_publish(&maker, &queue, 1, "text", 3000);
        store_maker_seal(&maker, true);
    }
    for (size_t i = 0; i < COUNT; i += 2) {
        journal_remove(maker.journal, QUEUE, lsns[i]);
    }
    store_maker_seal(&maker, true);
}

static void
tear_down(void)
{
    store_maker_fini(&maker);
    store_content_fini(&content);
    sim_disk_free(&sim);
}

TestSuite(fold, .init = set_up, .fini = tear_down);

static void
fold(uint64_t number)
{
    enum status status = fold_run(&disk, number, journal_commit_lsn(maker.journal), &failure);
    cr_assert(eq(int, status, STATUS_OK), "%s %s", failure.what, failure.file);
}

static void
read_dead(uint64_t number, struct dead_rows *dead)
{
    struct segment_index index;
    cr_assert(eq(int, segment_index_read(&index, &disk, number), STATUS_OK));
    cr_assert(eq(int, dead_rows_read(dead, &disk, &index), STATUS_OK));
    segment_index_fini(&index);
}

Test(fold, removed_rows_are_marked)
{
    struct dead_rows dead;
    fold(1);
    read_dead(1, &dead);
    cr_expect(eq(u64, dead.folded_lsn, journal_commit_lsn(maker.journal)));
    cr_expect(lt(u64, 10, dead.row_count));
    for (uint64_t i = 0; i < dead.row_count; i++) {
        cr_expect(eq(int, dead_bit(dead.bits, i), i % 2 == 0), "row %zu", (size_t)i);
    }
    dead_rows_fini(&dead);
}

Test(fold, later_fold_adds_to_the_earlier_one)
{
    struct dead_rows dead;
    fold(1);
    journal_remove(maker.journal, QUEUE, lsns[1]);
    store_maker_seal(&maker, true);
    fold(1);
    read_dead(1, &dead);
    cr_expect(dead_bit(dead.bits, 0));
    cr_expect(dead_bit(dead.bits, 1));
    cr_expect(not(dead_bit(dead.bits, 3)));
    dead_rows_fini(&dead);
}

/* What pins a segment is reported, and no longer when it was folded. */
Test(fold, recovery_needs_no_removal_that_was_folded)
{
    store_maker_end(&maker);
    start();
    uint32_t needed = maker.recovery.removal_count;
    uint32_t older = maker.recovery.segment_count - 1;
    cr_expect(ge(u32, needed, 1));
    for (uint32_t i = 0; i < older; i++) {
        /* All of it is committed: it was recovered. */
        enum status status = fold_run(&disk, maker.recovery.segments[i].number,
                                      maker.recovery.next_segment_base, &failure);
        cr_assert(eq(int, status, STATUS_OK));
    }
    store_maker_end(&maker);
    start();
    cr_expect(eq(u32, maker.recovery.removal_count, 0));
    cr_expect(eq(sz, content.row_count, COUNT / 2));
}

/* A row that was acknowledged and whose removal stands nowhere else may come back when the file is
 * damaged, but marked; and no job makes a new file that forgets it. */
Test(fold, damaged_file_marks_messages_as_delivered_and_is_not_written_over)
{
    fold(1);
    sim_disk_flip_bit(sim, "seg.0000000000000001.dead", 65, 1);
    enum status status = fold_run(&disk, 1, journal_commit_lsn(maker.journal), &failure);
    cr_expect(eq(int, status, STATUS_CORRUPT));
    store_maker_end(&maker);
    start();
    cr_expect(eq(sz, content.row_count, COUNT / 2), "the removals are still there");
    cr_expect(content.rows[0].was_handed_out);
    cr_expect(not(content.rows[content.row_count - 1].was_handed_out));
}

/* A pack, or a segment made anew, has other rows. */
Test(fold, file_about_other_rows_is_not_believed)
{
    struct segment_index index;
    struct dead_rows dead;
    fold(1);
    cr_assert(eq(int, segment_index_read(&index, &disk, 1), STATUS_OK));
    index.rows[3].body_size--;
    cr_expect(eq(int, dead_rows_read(&dead, &disk, &index), STATUS_AGAIN));
    segment_index_fini(&index);
}
