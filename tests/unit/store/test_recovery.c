/* SPDX-License-Identifier: Apache-2.0 */
/* Directories as a broker leaves them, on a disk in memory, and what comes back. */
#include "store/recovery.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#include "base/assert.h"
#include "store/index.h"
#include "store/log_failure.h"
#include "store/snapshot.h"
#include "tests/support/sim_disk.h"
#include "tests/support/store_maker.h"

static struct sim_disk *sim;
static struct disk disk;
static struct store_maker maker;
static struct store_content content;
static char why[512];

enum { VHOST = 1, ORDERS = 2, BILLS = 3 };

static void
set_up(void)
{
    sim = sim_disk_new();
    disk = disk_of_sim(sim);
    store_maker_init(&maker, &disk);
    content = (struct store_content){0};
}

static void
tear_down(void)
{
    store_maker_fini(&maker);
    store_content_fini(&content);
    sim_disk_free(&sim);
}

TestSuite(recovery, .init = set_up, .fini = tear_down);

static void
start(void)
{
    store_content_fini(&content);
    enum status status = store_maker_start(&maker, &content, why, sizeof(why));
    cr_assert(eq(int, status, STATUS_OK), "%s", why);
}

static void
restart(void)
{
    store_maker_end(&maker);
    start();
}

/* A start that must be refused, with a text that holds `word`. */
static void
expect_refused(const char *word)
{
    store_maker_end(&maker);
    store_content_fini(&content);
    enum status status = store_maker_start(&maker, &content, why, sizeof(why));
    cr_assert(ne(int, status, STATUS_OK));
    cr_expect(strstr(why, word) != NULL, "\"%s\" in: %s", word, why);
    cr_expect(eq(sz, content.row_count + content.record_count, 0), "nothing was handed over");
}

static void
begin(void)
{
    start();
    store_maker_vhost(&maker, VHOST, "/");
    store_maker_queue(&maker, ORDERS, VHOST, "orders");
    store_maker_queue(&maker, BILLS, VHOST, "bills");
    store_maker_seal(&maker, true);
}

static uint64_t
publish_to(uint64_t queue, uint32_t size)
{
    uint64_t lsn = store_maker_publish(&maker, &queue, 1, "a message ", size);
    store_maker_seal(&maker, true);
    return lsn;
}

Test(recovery, new_directory_is_empty_and_gets_a_manifest)
{
    start();
    cr_expect(maker.recovery.was_new);
    cr_expect(eq(u64, maker.recovery.next_object_id, 1));
    cr_expect(sim_disk_has(sim, STORE_MANIFEST_NAME));
}

Test(recovery, what_was_flushed_comes_back_in_order_after_a_power_cut)
{
    begin();
    uint64_t first = publish_to(ORDERS, 100);
    uint64_t second = publish_to(BILLS, 0);
    sim_disk_crash(sim, SIM_DISK_NONE, NULL);
    restart();
    cr_assert(eq(sz, content.row_count, 2));
    cr_expect(eq(u64, content.rows[0].lsn, first));
    cr_expect(eq(u64, content.rows[0].queue, ORDERS));
    cr_expect(eq(u32, content.rows[0].body_size, 100));
    cr_expect(eq(u64, content.rows[1].lsn, second));
    cr_expect(eq(sz, content.record_count, 3));
    cr_expect(eq(u64, maker.recovery.next_object_id, BILLS + 1));
    cr_expect(not(maker.recovery.was_clean));
}

Test(recovery, acknowledged_messages_do_not_come_back)
{
    begin();
    uint64_t queues[] = {BILLS, ORDERS};
    uint64_t lsn = store_maker_publish(&maker, queues, 2, "both", 10);
    store_maker_seal(&maker, true);
    journal_remove(maker.journal, ORDERS, lsn);
    store_maker_seal(&maker, true);
    restart();
    cr_assert(eq(sz, content.row_count, 1));
    cr_expect(eq(u64, content.rows[0].queue, BILLS));
    journal_remove(maker.journal, BILLS, lsn);
    store_maker_seal(&maker, true);
    restart();
    cr_expect(eq(sz, content.row_count, 0));
}

/* Many segments, with and without indexes, a start in between. */
static void
fill(uint64_t *lsns, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        lsns[i] = publish_to(i % 3 == 0 ? BILLS : ORDERS, 3000);
    }
}

enum { MANY = 120 };

static void
expect_rows(const uint64_t *lsns, const bool *is_gone, size_t count)
{
    size_t at = 0;
    for (size_t i = 0; i < count; i++) {
        if (is_gone[i]) {
            continue;
        }
        cr_assert(lt(sz, at, content.row_count), "row %zu of message %zu", at, i);
        cr_expect(eq(u64, content.rows[at].lsn, lsns[i]));
        cr_expect(eq(u64, content.rows[at].queue, i % 3 == 0 ? BILLS : ORDERS));
        at++;
    }
    cr_expect(eq(sz, at, content.row_count));
}

static void
check_many(void)
{
    uint64_t lsns[MANY];
    bool is_gone[MANY] = {false};
    begin();
    fill(lsns, MANY);
    for (size_t i = 0; i < MANY; i += 7) {
        journal_remove(maker.journal, i % 3 == 0 ? BILLS : ORDERS, lsns[i]);
        is_gone[i] = true;
    }
    store_maker_seal(&maker, true);
    restart();
    expect_rows(lsns, is_gone, MANY);
    cr_expect(gt(u32, maker.recovery.segment_count, 4));
    cr_expect(eq(u64, maker.recovery.torn_lsn, 0));
    for (size_t i = 1; i < MANY; i += 7) {
        journal_remove(maker.journal, i % 3 == 0 ? BILLS : ORDERS, lsns[i]);
        is_gone[i] = true;
    }
    store_maker_seal(&maker, true);
    restart();
    expect_rows(lsns, is_gone, MANY);
}

Test(recovery, messages_of_many_segments_come_back_by_indexes)
{
    check_many();
}

/* An index repeats what the segment holds: without, the same comes back. */
Test(recovery, messages_of_many_segments_come_back_without_indexes)
{
    maker.without_index = true;
    check_many();
}

/* Design, part 8: the tail that was never flushed is cut, and stays cut. */
Test(recovery, torn_end_is_cut_for_good)
{
    begin();
    publish_to(ORDERS, 100);
    uint64_t torn = publish_to(ORDERS, 5000);
    uint64_t base = maker.newest.base_lsn - maker.slot_size;
    store_maker_end(&maker);
    char name[STORE_NAME_SIZE];
    store_file_name(STORE_FILE_SEGMENT, maker.newest.number - 1, 0, name);
    sim_disk_flip_bit(sim, name, torn - base + 1000, 3);
    start();
    cr_expect(eq(sz, content.row_count, 1));
    cr_expect(ne(u64, maker.recovery.torn_lsn, 0));
    sim_disk_flip_bit(sim, name, torn - base + 1000, 3);
    restart();
    cr_expect(eq(sz, content.row_count, 1), "what was cut does not exist any more");
}

/* The same damage with a later batch that was written when the place was known to be flushed. */
Test(recovery, damage_of_what_was_once_durable_is_refused_with_its_place)
{
    begin();
    uint64_t lsn = publish_to(ORDERS, 5000);
    publish_to(ORDERS, 10);
    publish_to(ORDERS, 10);
    char name[STORE_NAME_SIZE];
    store_file_name(STORE_FILE_SEGMENT, maker.newest.number - 1, 0, name);
    sim_disk_flip_bit(sim, name, lsn - (maker.newest.base_lsn - maker.slot_size) + 1000, 3);
    expect_refused(name);
    expect_refused("offset");
}

/* Recovery's own work is repeated when the process dies during it. */
Test(recovery, start_after_a_start_that_wrote_nothing_finds_the_same)
{
    begin();
    uint64_t lsn = publish_to(ORDERS, 100);
    for (int i = 0; i < 5; i++) {
        restart();
        cr_assert(eq(sz, content.row_count, 1));
        cr_expect(eq(u64, content.rows[0].lsn, lsn));
    }
    cr_expect(le(u32, maker.recovery.manifest.epoch_count, 3), "empty epochs are dropped");
}

Test(recovery, messages_up_to_the_mark_may_have_been_handed_out)
{
    begin();
    uint64_t first = publish_to(ORDERS, 1);
    publish_to(BILLS, 1);
    uint64_t flagged = ORDERS | RECORD_QUEUE_HANDED_OUT;
    uint64_t third = store_maker_publish(&maker, &flagged, 1, "x", 1);
    journal_hand_out(maker.journal, ORDERS, first);
    store_maker_seal(&maker, true);
    uint64_t fourth = publish_to(ORDERS, 1);
    restart();
    cr_assert(eq(sz, content.row_count, 4));
    cr_expect(content.rows[0].was_handed_out);
    cr_expect(not(content.rows[1].was_handed_out));
    cr_expect(eq(u64, content.rows[2].lsn, third));
    cr_expect(content.rows[2].was_handed_out);
    cr_expect(eq(u64, content.rows[2].queue, ORDERS));
    cr_expect(eq(u64, content.rows[3].lsn, fourth));
    cr_expect(not(content.rows[3].was_handed_out));
}

Test(recovery, rows_of_a_deleted_queue_are_dead)
{
    struct buffer record = {0};
    begin();
    publish_to(ORDERS, 1);
    publish_to(BILLS, 1);
    record_put_delete(&record, RECORD_QUEUE_DELETE, ORDERS);
    store_maker_put(&maker, &record);
    store_maker_seal(&maker, true);
    restart();
    cr_expect(eq(sz, content.row_count, 1));
    cr_expect(eq(sz, content.queue_count, 1));
    cr_expect(eq(u64, maker.recovery.next_object_id, BILLS + 1));
}

Test(recovery, topology_comes_from_the_snapshot_and_what_follows_it)
{
    struct buffer record = {0};
    begin();
    uint64_t octets;
    struct log_failure failure;
    uint64_t lsn = journal_commit_lsn(maker.journal);
    enum status status = snapshot_take(&disk, &maker.recovery.manifest, lsn, &octets, &failure);
    cr_assert(eq(int, status, STATUS_OK));
    record_put_delete(&record, RECORD_QUEUE_DELETE, ORDERS);
    store_maker_put(&maker, &record);
    store_maker_queue(&maker, 9, VHOST, "later");
    store_maker_seal(&maker, true);
    restart();
    cr_expect(eq(sz, content.queue_count, 2));
    cr_expect(eq(sz, content.record_count, 3));
    cr_expect(eq(u64, maker.recovery.next_object_id, 10));
    cr_expect(eq(u64, maker.recovery.manifest.snapshot_lsn, lsn));
}
