/* SPDX-License-Identifier: Apache-2.0 */
/* Directories as a broker leaves them, on a disk in memory, and what comes back. */
#include "store/recovery.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <stdio.h>

#include "base/assert.h"
#include "store/crc32c.h"
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

enum { FILLED_MS = 1000000 }; /* when `fill` begins */

/* Many segments, with and without indexes, a start in between. */
static void
fill(uint64_t *lsns, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        journal_set_time(maker.journal, (int64_t)(FILLED_MS + i));
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
        cr_expect(eq(u64, content.rows[at].arrival_ms, FILLED_MS + i));
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
    cr_expect(lt(u32, 4, maker.recovery.segment_count));
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

/* Changes the type of the only record of a batch to one that nobody knows, with all checksums
 * right. */
static void
make_record_unknown(const char *name, uint64_t offset)
{
    struct batch_header batch;
    uint8_t octets[1024];
    memcpy(octets, sim_disk_content(sim, name).data + offset, sizeof(octets));
    cr_assert(eq(int, batch_header_decode(&batch, octets), STATUS_OK));
    uint8_t *control = octets + BATCH_HEADER_SIZE + batch.data_size;
    cr_assert(eq(int, control[0], RECORD_HANDOUT));
    control[0] = 200;
    batch.control_crc = crc32c(0, control, batch.control_size);
    batch_header_encode(&batch, octets);
    sim_disk_set(sim, name, offset, bytes_make(octets, sizeof(octets)));
}

/* Design, I12: what a newer version wrote at the very end is not taken for a torn end, though
 * nothing behind it proves that it was flushed: it may have been promised. */
Test(recovery, unknown_records_at_the_end_of_the_log_are_refused_and_not_cut)
{
    begin();
    uint64_t lsn = publish_to(ORDERS, 100);
    journal_hand_out(maker.journal, ORDERS, lsn);
    uint64_t batch_lsn = journal_open_lsn(maker.journal);
    store_maker_seal(&maker, true);
    char name[STORE_NAME_SIZE];
    store_file_name(STORE_FILE_SEGMENT, journal_segment_number(maker.journal), 0, name);
    uint64_t offset = batch_lsn - journal_segment_base(maker.journal);
    make_record_unknown(name, offset);
    expect_refused("does not know");
    expect_refused(name);
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

/* Recovers what a power cut left of a recovery, and compares with what that one found. */
static void
expect_same_after_cut(struct sim_recording *recording, uint32_t prefix, int policy, uint64_t seed)
{
    struct sim_disk *after = sim_disk_replay(recording, prefix, (enum sim_disk_policy)policy, seed);
    struct disk other = disk_of_sim(after);
    struct store_content found = {0};
    struct recovery recovery;
    struct recovery_sink sink = store_content_sink(&found);
    struct recovery_options options = {.slot_size = STORE_MAKER_SLOT, .may_write = true};
    struct random_source random = random_seeded(&seed);
    enum status status =
        recovery_run(&recovery, &other, &options, &sink, &random, NULL, why, sizeof(why));
    cr_assert(eq(int, status, STATUS_OK), "after %u calls: %s", prefix, why);
    cr_expect(eq(sz, found.row_count, content.row_count), "after %u calls", prefix);
    cr_expect(eq(sz, found.record_count, content.record_count));
    for (size_t i = 0; i < found.row_count && i < content.row_count; i++) {
        cr_expect(eq(u64, found.rows[i].lsn, content.rows[i].lsn));
    }
    cr_expect(ge(u64, recovery.next_segment_base, maker.recovery.next_segment_base));
    recovery_fini(&recovery);
    store_content_fini(&found);
    sim_disk_free(&after);
}

/* Reliability, F2: the machine may lose its power during recovery as well, at any call. The torn
 * end that was cut stays cut, and nothing that was recovered gets lost. */
Test(recovery, power_cut_during_recovery_changes_nothing)
{
    uint64_t lsns[40];
    begin();
    maker.without_index = true;
    fill(lsns, ARRAY_LEN(lsns));
    uint64_t torn = publish_to(ORDERS, 5000);
    uint64_t base = maker.newest.base_lsn - maker.slot_size;
    char name[STORE_NAME_SIZE];
    store_file_name(STORE_FILE_SEGMENT, maker.newest.number - 1, 0, name);
    store_maker_end(&maker);
    sim_disk_flip_bit(sim, name, torn - base + 1000, 3);
    struct sim_recording *recording = sim_disk_record(sim);
    start();
    sim_disk_stop_recording(sim);
    cr_assert(eq(sz, content.row_count, ARRAY_LEN(lsns)));
    cr_assert(ne(u64, maker.recovery.torn_lsn, 0));
    for (uint32_t prefix = 0; prefix <= sim_recording_count(recording); prefix++) {
        for (int policy = SIM_DISK_NONE; policy <= SIM_DISK_RANDOM; policy++) {
            expect_same_after_cut(recording, prefix, policy, prefix * 7 + 1);
        }
    }
    sim_recording_free(&recording);
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

/* What a killed process left in the page cache was handed over once, so it must not go any more: it
 * is flushed before it is believed. */
Test(recovery, what_was_recovered_survives_a_power_cut_that_follows)
{
    begin();
    uint64_t queue = ORDERS;
    (void)store_maker_publish(&maker, &queue, 1, "unflushed", 100);
    store_maker_seal(&maker, false);
    store_maker_end(&maker);
    start();
    cr_assert(eq(sz, content.row_count, 1));
    store_maker_end(&maker);
    sim_disk_crash(sim, SIM_DISK_NONE, NULL);
    sim_disk_remove(sim, "seg.0000000000000001.idx");
    start();
    cr_expect(eq(sz, content.row_count, 1));
}

/* Prepared but never written: nothing was in it, so the file is used again. */
Test(recovery, empty_segments_become_spares)
{
    maker.prepared_ahead = 3;
    begin();
    publish_to(ORDERS, 10);
    restart();
    cr_expect(eq(u32, maker.recovery.spare_count, 3));
    cr_expect(sim_disk_has(sim, "spare.0000000000000001"));
    cr_expect(eq(sz, content.row_count, 1));
}

/* What is left of a process that ended in the middle of something. */
Test(recovery, files_that_mean_nothing_are_removed_and_unknown_ones_left_alone)
{
    begin();
    store_maker_end(&maker);
    sim_disk_replace(sim, "seg.0000000000000001.idx.tmp", bytes_of("half"));
    sim_disk_replace(sim, "spill.0000000000000007", bytes_of("memory"));
    sim_disk_replace(sim, "snap.0000000000009000", bytes_of("no manifest names it"));
    sim_disk_replace(sim, "seg.00000000000000ff.dead", bytes_of("of no segment"));
    sim_disk_replace(sim, "notes.txt", bytes_of("of the operator"));
    sim_disk_replace(sim, "ballast", bytes_of("of a disk that copies on write"));
    start();
    cr_expect(not(sim_disk_has(sim, "ballast")));
    cr_expect(not(sim_disk_has(sim, "seg.0000000000000001.idx.tmp")));
    cr_expect(not(sim_disk_has(sim, "spill.0000000000000007")));
    cr_expect(not(sim_disk_has(sim, "snap.0000000000009000")));
    cr_expect(not(sim_disk_has(sim, "seg.00000000000000ff.dead")));
    cr_expect(sim_disk_has(sim, "notes.txt"));
}

Test(recovery, segment_of_another_directory_is_refused)
{
    struct segment_header header;
    uint8_t octets[SEGMENT_HEADER_SIZE];
    begin();
    publish_to(ORDERS, 10);
    store_maker_end(&maker);
    struct bytes content_of_file = sim_disk_content(sim, "seg.0000000000000001");
    cr_assert(eq(int, segment_header_decode(&header, content_of_file.data), STATUS_OK));
    header.cluster_id[0] ^= 1;
    segment_header_encode(&header, octets);
    sim_disk_set(sim, "seg.0000000000000001", 0, bytes_make(octets, sizeof(octets)));
    expect_refused("belongs to another data directory");
}

Test(recovery, segments_without_a_manifest_are_refused)
{
    begin();
    store_maker_end(&maker);
    sim_disk_remove(sim, STORE_MANIFEST_NAME);
    expect_refused("MANIFEST is missing");
}

/* The batch that joins two segments says that there was more. */
Test(recovery, segment_that_ends_too_early_is_refused)
{
    uint64_t lsns[40];
    begin();
    maker.without_index = true;
    fill(lsns, ARRAY_LEN(lsns));
    store_maker_end(&maker);
    uint8_t zeros[30000] = {0};
    sim_disk_set(sim, "seg.0000000000000002", 65536 - sizeof(zeros),
                 bytes_make(zeros, sizeof(zeros)));
    expect_refused("seg.0000000000000002");
}

/* A segment that nobody needed is gone, and the one before it never got its index. */
Test(recovery, gap_behind_a_segment_without_index_is_no_damage)
{
    uint64_t lsns[60];
    begin();
    fill(lsns, ARRAY_LEN(lsns));
    store_maker_end(&maker);
    sim_disk_remove(sim, "seg.0000000000000002.idx");
    sim_disk_remove(sim, "seg.0000000000000003");
    sim_disk_remove(sim, "seg.0000000000000003.idx");
    start();
    cr_expect(lt(sz, content.row_count, ARRAY_LEN(lsns)));
    cr_expect(lt(sz, ARRAY_LEN(lsns) / 2, content.row_count));
    cr_expect(eq(u64, content.rows[content.row_count - 1].lsn, lsns[ARRAY_LEN(lsns) - 1]));
}

/* A message must not hold what passes for a batch: its octets cannot know the epoch. */
Test(recovery, epochs_rise_in_steps_that_differ)
{
    uint64_t numbers[4];
    for (size_t i = 0; i < ARRAY_LEN(numbers); i++) {
        start();
        const struct manifest *manifest = &maker.recovery.manifest;
        numbers[i] = manifest->epochs[manifest->epoch_count - 1].number;
        store_maker_end(&maker);
    }
    for (size_t i = 2; i < ARRAY_LEN(numbers); i++) {
        cr_expect(lt(u64, numbers[i - 1], numbers[i]));
        cr_expect(ne(u64, numbers[i] - numbers[i - 1], numbers[i - 1] - numbers[i - 2]));
    }
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

/* A log whose last batch, with a queue in it, is cut by a start that leaves no index of its
 * segment.
 */
static void
cut_without_index(bool is_right_again)
{
    char name[STORE_NAME_SIZE];
    begin();
    publish_to(ORDERS, 100);
    store_maker_queue(&maker, 9, VHOST, "cut");
    uint64_t at = publish_to(ORDERS, 5000) - (maker.newest.base_lsn - maker.slot_size) + 1000;
    uint64_t number = maker.newest.number - 1;
    store_file_name(STORE_FILE_SEGMENT, number, 0, name);
    sim_disk_flip_bit(sim, name, at, 3);
    restart();
    if (is_right_again) {
        sim_disk_flip_bit(sim, name, at, 3);
    }
    (void)disk.unlink(disk.context, store_file_name(STORE_FILE_INDEX, number, 0, name));
    publish_to(ORDERS, 100);
}

static void
expect_snapshot_without_what_was_cut(void)
{
    uint64_t octets;
    struct log_failure failure;
    uint64_t lsn = journal_commit_lsn(maker.journal);
    enum status status = snapshot_take(&disk, &maker.recovery.manifest, lsn, &octets, &failure);
    cr_assert(eq(int, status, STATUS_OK));
    restart();
    cr_expect(eq(sz, content.queue_count, 2));
    cr_expect(eq(u64, maker.recovery.manifest.snapshot_lsn, lsn));
}

Test(recovery, a_snapshot_does_not_stumble_over_what_was_cut)
{
    cut_without_index(false);
    expect_snapshot_without_what_was_cut();
}

Test(recovery, a_snapshot_does_not_bring_back_what_was_cut)
{
    cut_without_index(true);
    expect_snapshot_without_what_was_cut();
}

static void
put_policy(uint64_t id, uint64_t vhost, const char *definition)
{
    struct buffer record = {0};
    record_put_policy(&record, &(struct record_policy){
                                   .id = id,
                                   .vhost = vhost,
                                   .name = bytes_of("p"),
                                   .pattern = bytes_of("^o"),
                                   .definition = bytes_of(definition),
                               });
    store_maker_put(&maker, &record);
}

static void
put_delete(enum record_type type, uint64_t id)
{
    struct buffer record = {0};
    record_put_delete(&record, type, id);
    store_maker_put(&maker, &record);
}

/* "ID DEFINITION" of every policy that came back, in order; each stands before the first queue. */
static const char *
recovered_policies(void)
{
    static char text[256];
    struct bytes left = buffer_bytes(&content.records);
    struct record record;
    size_t used = 0;
    bool had_queue = false;
    text[0] = '\0';
    while (record_next(&left, &record) == STATUS_OK) {
        had_queue = had_queue || record.type == RECORD_QUEUE_SET;
        if (record.type == RECORD_POLICY_SET) {
            cr_expect(not(had_queue));
            used += (size_t)snprintf(text + used, sizeof(text) - used, "%s%d %.*s",
                                     used == 0 ? "" : ", ", (int)record.policy.id,
                                     BYTES_FORMAT(record.policy.definition));
        }
    }
    return text;
}

/* From the log alone, then from a snapshot and what follows it. What was set last counts; a policy
 * goes with its virtual host. */
Test(recovery, policies_come_back_as_they_were_last)
{
    enum { OTHER = 20 };
    uint64_t octets;
    struct log_failure failure;
    begin();
    store_maker_vhost(&maker, OTHER, "other");
    put_policy(30, VHOST, "first");
    put_policy(31, VHOST, "goes");
    put_policy(32, OTHER, "goes with its host");
    put_policy(33, VHOST, "stays");
    put_policy(30, VHOST, "second");
    put_delete(RECORD_POLICY_DELETE, 31);
    put_delete(RECORD_VHOST_DELETE, OTHER);
    store_maker_seal(&maker, true);
    restart();
    cr_expect(eq(str, (char *)recovered_policies(), "30 second, 33 stays"));
    cr_expect(eq(u64, maker.recovery.next_object_id, 34));

    publish_to(BILLS, 1);
    store_maker_seal(&maker, true);
    uint64_t lsn = journal_commit_lsn(maker.journal);
    enum status status = snapshot_take(&disk, &maker.recovery.manifest, lsn, &octets, &failure);
    cr_assert(eq(int, status, STATUS_OK));
    struct topology_fold fold;
    topology_fold_init(&fold);
    cr_expect(eq(int, snapshot_read(&fold, &disk, lsn), STATUS_OK));
    cr_expect(topology_fold_has(&fold, FOLD_POLICY, 33));
    topology_fold_fini(&fold);
    put_policy(33, VHOST, "stays otherwise");
    store_maker_seal(&maker, true);
    restart();
    cr_expect(eq(u64, maker.recovery.manifest.snapshot_lsn, lsn));
    cr_expect(eq(str, (char *)recovered_policies(), "30 second, 33 stays otherwise"));
}
