/* SPDX-License-Identifier: Apache-2.0 */
/* Segments whose rest goes into one file. */
#include "store/pack.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <errno.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "store/batch.h"
#include "store/fetch.h"
#include "store/fold.h"
#include "store/snapshot.h"
#include "tests/support/alloc_faults.h"
#include "tests/support/sim_disk.h"
#include "tests/support/small_store.h"

enum { FILLED_MS = 1000000 }; /* when the first message comes */

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

static bool
is_dead(size_t at)
{
    return at % 7 != 0;
}

/* What a set-up puts into the log: queues whose messages alternate, and which of these are dead. */
struct filling {
    uint64_t queues;
    size_t count;
    uint32_t size; /* of each message */
    uint64_t (*queue_of)(size_t at);
    bool (*is_dead)(size_t at);
};

static void
fill(const struct filling *filling)
{
    sim = sim_disk_new();
    disk = disk_of_sim(sim);
    store_maker_init(&maker, &disk);
    start();
    store_maker_vhost(&maker, VHOST, "/");
    for (uint64_t i = 0; i < filling->queues; i++) {
        store_maker_queue(&maker, FIRST_QUEUE + i, VHOST, "name");
    }
    for (small.count = 0; small.count < filling->count; small.count++) {
        uint64_t queue = filling->queue_of(small.count);
        small.sizes[small.count] = filling->size;
        journal_set_time(maker.journal, (int64_t)(FILLED_MS + small.count));
        small.lsns[small.count] = store_maker_publish(&maker, &queue, 1, "message ", filling->size);
        store_maker_seal(&maker, true);
    }
    for (size_t i = 0; i < filling->count; i++) {
        if (filling->is_dead(i)) {
            journal_remove(maker.journal, filling->queue_of(i), small.lsns[i]);
        }
    }
    store_maker_seal(&maker, true);
}

/* Three queues; only each seventh message is left. */
static void
set_up(void)
{
    static const struct filling sparse = {
        .queues = QUEUES, .count = COUNT, .size = 3000, .queue_of = queue_of, .is_dead = is_dead};
    fill(&sparse);
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
        cr_expect(eq(u64, content.rows[i].arrival_ms, FILLED_MS + 7 * i));
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

/* Before the first commit of a run nothing has been folded, and there is no dead file. */
Test(pack, can_be_packed_by_itself_before_anything_was_committed)
{
    take_snapshot();
    pack(1, 3);
    store_maker_end(&maker);
    start();
    cr_assert(eq(u64, journal_commit_lsn(maker.journal), 0));
    pack(1, 3);
    expect_rest();
}

/* Whatever the disk does not give is named. */
Test(pack, says_which_file_cannot_be_opened)
{
    enum { OPENS = 60 };
    uint32_t failed_count = 0;
    take_snapshot();
    for (uint64_t nth = 1; nth <= OPENS; nth++) {
        failure = (struct log_failure){0};
        sim_disk_fail(sim, SIM_DISK_OPEN, nth, EIO);
        enum status status =
            pack_run(&disk, 1, 4, journal_commit_lsn(maker.journal), &pack_octets, &failure);
        sim_disk_fail(sim, SIM_DISK_OPEN, 0, 0);
        cr_expect(status == STATUS_OK || failure.what != NULL, "open %zu", (size_t)nth);
        failed_count += status != STATUS_OK;
    }
    cr_expect(lt(u32, 10, failed_count));
    expect_rest();
}

Test(pack, that_cannot_be_named_leaves_nothing_behind)
{
    take_snapshot();
    sim_disk_fail(sim, SIM_DISK_RENAME, 5, EIO); /* behind four dead files */
    enum status status =
        pack_run(&disk, 1, 4, journal_commit_lsn(maker.journal), &pack_octets, &failure);
    cr_expect(eq(int, status, STATUS_IO));
    cr_expect(eq(int, failure.error, EIO));
    cr_expect(sim_disk_has(sim, "seg.0000000000000001"));
    cr_expect(not(sim_disk_has(sim, "pack.0000000000000001.0000000000000004.tmp")));
    expect_rest();
}

/* It is passed over while the pack is there, and goes before it does. */
Test(pack, a_source_that_cannot_be_removed_does_not_outlive_the_pack)
{
    take_snapshot();
    sim_disk_fail(sim, SIM_DISK_UNLINK, 6, EIO); /* behind five of what was once written aside */
    pack(1, 4);
    cr_assert(sim_disk_has(sim, "seg.0000000000000001"));
    cr_assert(eq(int, pack_retire(&disk, 1, 4, &failure), STATUS_OK));
    cr_expect(not(sim_disk_has(sim, "seg.0000000000000001")));
    cr_expect(not(sim_disk_has(sim, "pack.0000000000000001.0000000000000004")));
    cr_expect(sim_disk_has(sim, "seg.0000000000000005"));
}

Test(pack, stays_while_there_is_no_memory_to_find_its_sources)
{
    take_snapshot();
    sim_disk_fail(sim, SIM_DISK_UNLINK, 6, EIO); /* behind five of what was once written aside */
    pack(1, 4);
    alloc_faults_plan(1);
    cr_expect(eq(int, pack_retire(&disk, 1, 4, &failure), STATUS_IO));
    cr_expect(eq(int, failure.error, ENOMEM));
    cr_expect(sim_disk_has(sim, "pack.0000000000000001.0000000000000004"));
    cr_expect(eq(int, pack_retire(&disk, 1, 4, &failure), STATUS_OK));
    cr_expect(not(sim_disk_has(sim, "seg.0000000000000001")));
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

/* The one with the removals, and one more; returns the number of the first. */
static uint64_t
leave_two_segments(void)
{
    static const uint64_t QUEUE = FIRST_QUEUE;
    uint64_t first = journal_segment_number(maker.journal);
    while (journal_segment_number(maker.journal) < first + 2) {
        uint64_t lsn = store_maker_publish(&maker, &QUEUE, 1, "message ", 3000);
        store_maker_seal(&maker, true);
        journal_remove(maker.journal, QUEUE, lsn);
        store_maker_seal(&maker, true);
    }
    return first;
}

/* Removals of messages that an older pack has left out are needed by nobody, though no dead file of
 * that pack says so. */
Test(pack, segments_that_speak_of_what_a_pack_left_out_are_packed)
{
    uint64_t speaker = leave_two_segments();
    take_snapshot();
    pack(1, speaker - 1);
    cr_expect(not(sim_disk_has(sim, "seg.0000000000000001.dead")));
    pack(speaker, speaker + 1);
    expect_rest();
}

/* As long as the older file shows one of them as alive they are. */
Test(pack, segments_that_speak_of_what_is_not_folded_are_left_alone)
{
    uint64_t speaker = leave_two_segments();
    take_snapshot();
    enum status status = pack_run(&disk, speaker, speaker + 1, journal_commit_lsn(maker.journal),
                                  &pack_octets, &failure);
    cr_expect(eq(int, status, STATUS_REJECTED));
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

/* Sorting -------------------------------------------------------------------------------------- */

enum { DENSE_QUEUES = 20, DENSE_COUNT = 180, DENSE_LAST = 16 };

static uint64_t
dense_queue_of(size_t at)
{
    return FIRST_QUEUE + at * 7 % DENSE_QUEUES;
}

static bool
dense_is_dead(size_t at)
{
    return at % 9 == 4;
}

/* Many queues; nearly all messages live. */
static void
set_up_dense(void)
{
    static const struct filling dense = {.queues = DENSE_QUEUES,
                                         .count = DENSE_COUNT,
                                         .size = 5500,
                                         .queue_of = dense_queue_of,
                                         .is_dead = dense_is_dead};
    fill(&dense);
    take_snapshot();
    cr_assert(lt(u64, DENSE_LAST, journal_segment_number(maker.journal)));
}

TestSuite(sorted_pack, .init = set_up_dense, .fini = tear_down);

static const char DENSE_NAME[] = "pack.0000000000000001.0000000000000010";

static void
expect_dense(const struct disk *on, const struct store_content *found, uint32_t prefix)
{
    size_t at = 0;
    cr_assert(eq(sz, found->row_count, DENSE_COUNT - DENSE_COUNT / 9), "after %u calls", prefix);
    for (size_t i = 0; i < DENSE_COUNT; i++) {
        if (!dense_is_dead(i)) {
            cr_expect(eq(u64, found->rows[at].lsn, small.lsns[i]));
            cr_expect(eq(u64, found->rows[at].queue, dense_queue_of(i)));
            at++;
        }
    }
    cr_expect(small_store_bodies_are_right(&small, on, found), "after %u calls", prefix);
}

/* Each queue's messages lie behind each other, in the order of their LSNs; what is done with has
 * no place. */
Test(sorted_pack, holds_what_lives_of_sixteen_segments_queue_by_queue)
{
    struct pack packed;
    const char *reason;
    pack(1, DENSE_LAST);
    enum status status = pack_read(&packed, &disk, DENSE_NAME, &reason);
    cr_assert(eq(int, status, STATUS_OK), "%s", reason);
    uint64_t next_offset[DENSE_QUEUES + 1] = {0};
    for (uint64_t i = 0; i < packed.index.row_count; i++) {
        const struct index_row *row = &packed.index.rows[i];
        const struct pack_entry *entry = pack_find(&packed, row->lsn);
        uint64_t *next = &next_offset[row->queue - FIRST_QUEUE];
        bool is_next = *next == 0 || *next == entry->offset;
        cr_expect(is_next, "right behind the one before");
        *next = entry->offset + (entry->size + 7) / 8 * 8;
    }
    for (size_t i = 0; i < DENSE_COUNT; i++) {
        if (dense_is_dead(i)) {
            cr_expect(pack_find(&packed, small.lsns[i]) == NULL);
        }
    }
    pack_fini(&packed);
    store_maker_end(&maker);
    start();
    expect_dense(&disk, &content, 0);
}

/* After a restart it is known again which segments are worth sorting. */
Test(sorted_pack, recovery_counts_runs)
{
    store_maker_end(&maker);
    start();
    const struct recovered_segment *segment = &maker.recovery.segments[1];
    cr_assert(ge(u64, segment->row_count, 8));
    cr_expect(eq(u64, segment->run_count, segment->row_count), "queues alternate");
    cr_expect(lt(u64, segment->row_count * 5500, segment->run_octets));
}

/* Who reads one queue out of many gets its messages with one read. */
Test(sorted_pack, messages_of_one_queue_are_fetched_by_one_read)
{
    struct io_fetch fetch = {.block = xalloc(FETCH_WINDOW), .block_size = FETCH_WINDOW};
    pack(1, DENSE_LAST);
    for (size_t i = 0; i < DENSE_COUNT * 7 / 8; i++) {
        if (dense_queue_of(i) == FIRST_QUEUE + 3 && !dense_is_dead(i)) {
            fetch.lsns[fetch.count] = small.lsns[i];
            fetch.sizes[fetch.count++] = small.sizes[i];
        }
    }
    cr_assert(ge(u32, fetch.count, 6));
    struct fetch_files *files = fetch_files_new(&disk);
    cr_assert(eq(int, fetch_run(files, &fetch, &failure), STATUS_OK));
    uint64_t before = sim_disk_call_count(sim, SIM_DISK_READ);
    cr_assert(eq(int, fetch_run(files, &fetch, &failure), STATUS_OK));
    cr_expect(eq(u64, sim_disk_call_count(sim, SIM_DISK_READ) - before, 1));
    cr_expect(eq(u32, fetch.fetched_count, fetch.count));
    fetch_files_free(&files);
    free(fetch.block);
}

/* Recovers what each power cut leaves of what was recorded. */
static void
expect_dense_after_each_cut(struct sim_recording *recording)
{
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
            expect_dense(&other, &found, prefix);
            recovery_fini(&recovery);
            store_content_fini(&found);
            sim_disk_free(&after);
        }
    }
}

/* Any prefix of what a power cut leaves is the same state. */
Test(sorted_pack, power_cut_while_sorting_loses_nothing)
{
    struct sim_recording *recording = sim_disk_record(sim);
    pack(1, DENSE_LAST);
    sim_disk_stop_recording(sim);
    expect_dense_after_each_cut(recording);
    sim_recording_free(&recording);
}

/* A pack that has become sparse is replaced by one of the same name: there is always one of them.
 */
Test(sorted_pack, power_cut_while_it_is_packed_by_itself_loses_nothing)
{
    pack(1, DENSE_LAST);
    struct sim_recording *recording = sim_disk_record(sim);
    pack(1, DENSE_LAST);
    sim_disk_stop_recording(sim);
    expect_dense_after_each_cut(recording);
    sim_recording_free(&recording);
}

/* Rows that were removed since are left out. */
Test(sorted_pack, gives_room_back_when_it_is_packed_by_itself)
{
    pack(1, DENSE_LAST);
    uint64_t before = sim_disk_content(sim, DENSE_NAME).size;
    size_t left = 0;
    for (size_t i = 0; i < DENSE_COUNT; i++) {
        bool goes = dense_queue_of(i) != FIRST_QUEUE + 3 && !dense_is_dead(i);
        left += !goes && !dense_is_dead(i);
        if (goes) {
            journal_remove(maker.journal, dense_queue_of(i), small.lsns[i]);
        }
    }
    store_maker_seal(&maker, true);
    pack(1, DENSE_LAST);
    cr_expect(lt(u64, sim_disk_content(sim, DENSE_NAME).size, before / 4));
    store_maker_end(&maker);
    start();
    cr_expect(eq(sz, content.row_count, left));
    cr_expect(small_store_bodies_are_right(&small, &disk, &content));
}

/* A failure leaves the segments as they were, and nothing behind; the next try succeeds. */
Test(sorted_pack, without_room_the_segments_stay)
{
    for (uint64_t nth = 1; nth < 60; nth++) {
        sim_disk_fail(sim, SIM_DISK_WRITE, nth, ENOSPC);
        enum status status = pack_run(&disk, 1, DENSE_LAST, journal_commit_lsn(maker.journal),
                                      &pack_octets, &failure);
        if (status == STATUS_OK) {
            break;
        }
        cr_assert(eq(int, status, STATUS_IO));
        cr_expect(sim_disk_has(sim, "seg.0000000000000001"));
        cr_expect(not(sim_disk_has(sim, DENSE_NAME)));
        cr_expect(not(sim_disk_has(sim, "pack.0000000000000001.0000000000000010.tmp")));
    }
    cr_expect(sim_disk_has(sim, DENSE_NAME));
    sim_disk_fail(sim, SIM_DISK_WRITE, 0, 0);
    store_maker_end(&maker);
    start();
    expect_dense(&disk, &content, 0);
}

/* A step that is never followed by another, as at the end of the process, changes nothing. */
Test(sorted_pack, may_be_given_up_after_any_step)
{
    for (uint32_t steps = 1;; steps++) {
        struct packing *packing =
            packing_new(&disk, 1, DENSE_LAST, journal_commit_lsn(maker.journal));
        enum status status = STATUS_AGAIN;
        for (uint32_t i = 0; i < steps && status == STATUS_AGAIN; i++) {
            status = packing_step(packing, &pack_octets, &failure);
        }
        packing_free(&packing);
        if (status == STATUS_OK) {
            cr_expect(lt(u32, DENSE_LAST, steps), "one source at a time");
            break;
        }
        cr_assert(eq(int, status, STATUS_AGAIN));
        cr_assert(not(sim_disk_has(sim, DENSE_NAME)));
    }
    store_maker_end(&maker);
    start();
    expect_dense(&disk, &content, 0);
}

/* A table needs more room than what is around small messages in segments. */
Test(sorted_pack, may_be_longer_than_the_segments_that_it_replaces)
{
    enum { SMALL_COUNT = 1000 };
    uint64_t queue = FIRST_QUEUE;
    while (journal_segment_number(maker.journal) == DENSE_LAST + 1) {
        (void)store_maker_publish(&maker, &queue, 1, "message ", 3000);
        store_maker_seal(&maker, true);
    }
    uint64_t first = journal_segment_number(maker.journal);
    for (size_t i = 0; journal_segment_number(maker.journal) < first + 3; i++) {
        uint64_t small_queue = dense_queue_of(i);
        (void)store_maker_publish(&maker, &small_queue, 1, "message ", 8);
        if (i % 100 == 99) {
            store_maker_seal(&maker, true);
        }
    }
    store_maker_seal(&maker, true);
    take_snapshot();
    pack(first + 1, first + 2);
    struct pack packed;
    const char *reason;
    char name[STORE_NAME_SIZE];
    store_file_name(STORE_FILE_PACK, first + 1, first + 2, name);
    enum status status = pack_read(&packed, &disk, name, &reason);
    cr_assert(eq(int, status, STATUS_OK), "%s", reason);
    cr_expect(lt(u64, packed.header.slot_size, sim_disk_content(sim, name).size));
    cr_expect(eq(u64, pack_octets, packed.header.slot_size));
    pack_fini(&packed);
    size_t rows = content.row_count;
    store_maker_end(&maker);
    start();
    cr_expect(lt(sz, rows + SMALL_COUNT, content.row_count));
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
