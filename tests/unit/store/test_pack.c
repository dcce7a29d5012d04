/* SPDX-License-Identifier: Apache-2.0 */
/* Segments whose rest goes into one file. */
#include "store/pack.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "store/batch.h"
#include "store/fetch.h"
#include "store/fold.h"
#include "store/snapshot.h"
#include "tests/support/sim_disk.h"
#include "tests/support/small_store.h"

enum { VHOST = 1, FIRST_QUEUE = 2, QUEUES = 3, COUNT = 120 };

static struct sim_disk *sim;
static struct disk disk;
static struct store_maker maker;
static struct store_content content;
static struct log_failure failure;
static struct small_store small;
static char why[512];
static uint64_t pack_octets;

static void
start(void)
{
    store_content_fini(&content);
    enum status status = store_maker_start(&maker, &content, why, sizeof(why));
    cr_assert(eq(int, status, STATUS_OK), "%s", why);
}

static uint64_t
queue_of(size_t at)
{
    return FIRST_QUEUE + at % QUEUES;
}

/* Three queues whose messages alternate; only each sixth is left. */
static void
set_up(void)
{
    sim = sim_disk_new();
    disk = disk_of_sim(sim);
    store_maker_init(&maker, &disk);
    start();
    store_maker_vhost(&maker, VHOST, "/");
    for (uint64_t i = 0; i < QUEUES; i++) {
        store_maker_queue(&maker, FIRST_QUEUE + i, VHOST, "name");
    }
    for (small.count = 0; small.count < COUNT; small.count++) {
        uint64_t queue = queue_of(small.count);
        small.sizes[small.count] = 3000;
        small.lsns[small.count] = store_maker_publish(&maker, &queue, 1, "message ", 3000);
        store_maker_seal(&maker, true);
    }
    for (size_t i = 0; i < COUNT; i++) {
        if (i % 7 != 0) {
            journal_remove(maker.journal, queue_of(i), small.lsns[i]);
        }
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

TestSuite(pack, .init = set_up, .fini = tear_down);

static void
take_snapshot(void)
{
    uint64_t octets;
    enum status status = snapshot_take(&disk, &maker.recovery.manifest,
                                       journal_commit_lsn(maker.journal), &octets, &failure);
    cr_assert(eq(int, status, STATUS_OK));
}

static void
pack(uint64_t first, uint64_t last)
{
    enum status status =
        pack_run(&disk, first, last, journal_commit_lsn(maker.journal), &pack_octets, &failure);
    cr_assert(eq(int, status, STATUS_OK), "%s %s", failure.what, failure.file);
}

static void
expect_rest(void)
{
    store_maker_end(&maker);
    start();
    cr_expect(eq(sz, content.row_count, (COUNT + 6) / 7));
    for (size_t i = 0; i < content.row_count; i++) {
        cr_expect(eq(u64, content.rows[i].lsn, small.lsns[7 * i]));
        cr_expect(eq(u64, content.rows[i].queue, queue_of(7 * i)));
    }
    cr_expect(small_store_bodies_are_right(&small, &disk, &content));
}

Test(pack, takes_the_place_of_its_segments)
{
    take_snapshot();
    pack(1, 4);
    cr_expect(sim_disk_has(sim, "pack.0000000000000001.0000000000000004"));
    cr_expect(not(sim_disk_has(sim, "seg.0000000000000001")));
    cr_expect(not(sim_disk_has(sim, "seg.0000000000000004")));
    cr_expect(not(sim_disk_has(sim, "seg.0000000000000001.dead")));
    cr_expect(lt(u64, pack_octets, STORE_MAKER_SLOT));
    expect_rest();
}

Test(pack, can_be_packed_again_and_folded_into)
{
    take_snapshot();
    pack(1, 3);
    pack(1, 5);
    cr_expect(not(sim_disk_has(sim, "pack.0000000000000001.0000000000000003")));
    expect_rest();
    enum status status = fold_run(&disk, 1, maker.recovery.next_segment_base, &failure);
    cr_expect(eq(int, status, STATUS_OK), "%s", failure.file);
    expect_rest();
    cr_expect(not(content.rows[0].was_handed_out), "its dead file is believed");
}

/* Draining one queue out of many reads on where it read last. */
Test(pack, contents_lie_queue_by_queue)
{
    struct pack packed;
    const char *reason;
    take_snapshot();
    pack(1, 4);
    enum status status =
        pack_read(&packed, &disk, "pack.0000000000000001.0000000000000004", &reason);
    cr_assert(eq(int, status, STATUS_OK));
    for (uint64_t i = 1; i < packed.index.row_count; i++) {
        for (uint64_t j = 0; j < i; j++) {
            const struct index_row *a = &packed.index.rows[j];
            const struct index_row *b = &packed.index.rows[i];
            bool is_before =
                pack_find(&packed, a->lsn)->offset < pack_find(&packed, b->lsn)->offset;
            cr_expect(eq(int, is_before, a->queue <= b->queue));
        }
    }
    pack_fini(&packed);
}

/* In a pack a message of several queues lies with one of them, so that what is fetched in the order
 * of its LSNs may lie in another: what is read later must not land on what was read before. */
Test(pack, contents_out_of_order_are_fetched_side_by_side)
{
    /* The second lies behind the third, and the last far in front of them all. */
    static const uint64_t queues[] = {FIRST_QUEUE + QUEUES - 1, FIRST_QUEUE + QUEUES,
                                      FIRST_QUEUE + QUEUES - 1, FIRST_QUEUE};
    struct io_fetch fetch = {.block = xalloc(FETCH_WINDOW), .block_size = FETCH_WINDOW};
    uint64_t wanted[ARRAY_LEN(queues)];
    store_maker_queue(&maker, FIRST_QUEUE + QUEUES, VHOST, "another");
    for (size_t i = 0; i < ARRAY_LEN(wanted); i++) {
        wanted[i] = store_maker_publish(&maker, &queues[i], 1, "fetched ", 500);
        store_maker_seal(&maker, true);
    }
    uint64_t last = journal_segment_number(maker.journal);
    for (int i = 0; i < 60; i++) {
        (void)store_maker_publish(&maker, &queues[3], 1, "message ", 3000);
        store_maker_seal(&maker, true);
    }
    take_snapshot();
    pack(1, last);
    fetch.count = ARRAY_LEN(wanted);
    for (uint32_t i = 0; i < fetch.count; i++) {
        fetch.lsns[i] = wanted[i];
        fetch.sizes[i] = 500;
    }
    struct fetch_files *files = fetch_files_new(&disk);
    enum status status = fetch_run(files, &fetch, &failure);
    cr_assert(eq(int, status, STATUS_OK), "%s", failure.file);
    cr_assert(eq(u32, fetch.fetched_count, fetch.count));
    for (uint32_t i = 0; i < fetch.count; i++) {
        const void *at = fetch.block + fetch.offsets[i];
        const struct content *found = at;
        cr_assert(eq(u32, found->body_size, 500));
        cr_expect(
            eq(u32, content_check(bytes_make(at, content_octets(found)), wanted[i]), found->check),
            "content %u", i);
    }
    fetch_files_free(&files);
    free(fetch.block);
}

/* The only copy of a topology record must not go. */
Test(pack, segments_whose_topology_no_snapshot_covers_are_left_alone)
{
    enum status status =
        pack_run(&disk, 1, 4, journal_commit_lsn(maker.journal), &pack_octets, &failure);
    cr_expect(eq(int, status, STATUS_REJECTED));
    cr_expect(sim_disk_has(sim, "seg.0000000000000001"));
    expect_rest();
}

/* Any prefix of the names' changes that a power cut leaves is the same state. */
Test(pack, power_cut_while_packing_loses_nothing)
{
    take_snapshot();
    struct sim_recording *recording = sim_disk_record(sim);
    pack(1, 4);
    sim_disk_stop_recording(sim);
    uint64_t seed = 1;
    for (uint32_t prefix = 0; prefix <= sim_recording_count(recording); prefix++) {
        for (int policy = SIM_DISK_NONE; policy <= SIM_DISK_RANDOM; policy++) {
            struct sim_disk *after =
                sim_disk_replay(recording, prefix, (enum sim_disk_policy)policy, seed++);
            struct disk other = disk_of_sim(after);
            struct store_content found = {0};
            struct recovery recovery;
            struct recovery_sink sink = store_content_sink(&found);
            struct recovery_options options = {.slot_size = STORE_MAKER_SLOT, .may_write = true};
            struct random_source random = random_seeded(&seed);
            enum status status =
                recovery_run(&recovery, &other, &options, &sink, &random, NULL, why, sizeof(why));
            cr_assert(eq(int, status, STATUS_OK), "after %u calls: %s", prefix, why);
            cr_expect(eq(sz, found.row_count, (COUNT + 6) / 7), "after %u calls", prefix);
            cr_expect(small_store_bodies_are_right(&small, &other, &found));
            recovery_fini(&recovery);
            store_content_fini(&found);
            sim_disk_free(&after);
        }
    }
    sim_recording_free(&recording);
}

/* Each octet of a pack: refused with its name, or no wrong body. */
Test(pack, damage_is_refused_or_found_when_it_is_read)
{
    static const char name[] = "pack.0000000000000001.0000000000000004";
    take_snapshot();
    pack(1, 4);
    store_maker_end(&maker);
    uint64_t size = sim_disk_content(sim, name).size;
    for (uint64_t offset = 0; offset < size; offset += offset < 6000 ? 13 : 331) {
        struct store_content found = {0};
        struct recovery recovery;
        struct recovery_sink sink = store_content_sink(&found);
        struct recovery_options options = {.slot_size = STORE_MAKER_SLOT};
        sim_disk_flip_bit(sim, name, offset, offset % 8);
        enum status status =
            recovery_run(&recovery, &disk, &options, &sink, NULL, NULL, why, sizeof(why));
        if (status == STATUS_OK) {
            cr_expect(eq(sz, found.row_count, (COUNT + 6) / 7));
            cr_expect(small_store_bodies_are_right(&small, &disk, &found));
            recovery_fini(&recovery);
        } else {
            cr_expect(eq(int, status, STATUS_CORRUPT));
            cr_expect(strstr(why, name) != NULL, "%s", why);
        }
        store_content_fini(&found);
        sim_disk_flip_bit(sim, name, offset, offset % 8);
    }
}
