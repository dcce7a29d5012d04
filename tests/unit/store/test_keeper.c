/* SPDX-License-Identifier: Apache-2.0 */
/* The keeper with a journal, a log writer and a simulated disk; jobs are run when the test likes.
 */
#include "store/keeper.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#include <errno.h>
#include <stdlib.h>

#include "base/assert.h"
#include "store/backup.h"
#include "store/log_writer.h"
#include "tests/support/sim_disk.h"

enum { SLOT = 64 * 1024, LARGE = 30 * 1000, QUEUE = 7 };

static struct sim_disk *sim;
static struct disk disk;
static struct chunk_pool *pool;
static struct keeper *keeper;
static struct journal *journal;
static struct log_writer *writer;
static struct list batches;
static struct io_job *job; /* the one under way */
static uint64_t now_ms;
static uint64_t slot_size;   /* of the next start */
static struct log *test_log; /* the same; NULL: none */

static void
submit_batch(void *context, struct batch *batch)
{
    (void)context;
    list_append(&batches, &batch->link);
}

static void
submit_job(void *context, struct io_job *submitted)
{
    (void)context;
    cr_assert(eq(ptr, job, NULL), "one job at a time");
    job = submitted;
}

/* What recovery leaves of a new directory. */
static struct recovery
new_directory(void)
{
    struct recovery recovery = {
        .next_segment_number = 1,
        .next_segment_base = SLOT,
        .was_new = true,
    };
    manifest_add_epoch(&recovery.manifest, 1, SLOT);
    return recovery;
}

static void
start(struct recovery *recovery)
{
    static const struct io_port PORT = {.submit = submit_job};
    static const struct journal_port JOURNAL_PORT = {.submit = submit_batch};
    struct keeper_settings settings = {
        .slot_size = slot_size, .spares_wanted = 2, .sort_slots = 16, .may_pack = true};
    keeper = keeper_new(&settings, recovery, &PORT, test_log);
    struct journal_settings journal_settings;
    struct log_failure failure;
    cr_assert(eq(int, keeper_begin(keeper, &disk, &journal_settings, &failure), STATUS_OK));
    journal = journal_new(&journal_settings, pool, &JOURNAL_PORT);
}

static void
set_up(void)
{
    sim = sim_disk_new();
    disk = disk_of_sim(sim);
    pool = chunk_pool_new();
    list_init(&batches);
    writer = log_writer_new(&disk);
    job = NULL;
    now_ms = 5000;
    slot_size = SLOT;
    test_log = NULL;
    struct recovery recovery = new_directory();
    start(&recovery);
}

static void
tear_down(void)
{
    if (job != NULL) {
        job->status = STATUS_REJECTED;
        keeper_job_done(keeper, job);
    }
    for (struct list_link *link; (link = list_pop(&batches)) != NULL;) {
        journal_batch_written(journal, CONTAINER_OF(link, struct batch, link));
    }
    log_writer_free(&writer);
    journal_free(&journal);
    keeper_free(&keeper);
    chunk_pool_free(&pool);
    sim_disk_free(&sim);
}

TestSuite(keeper, .init = set_up, .fini = tear_down);

static bool
has_segment(uint64_t number)
{
    char name[STORE_NAME_SIZE];
    return sim_disk_has(sim, store_file_name(STORE_FILE_SEGMENT, number, 0, name));
}

static void
run_job(void)
{
    cr_assert(job != NULL);
    struct io_job *done = job;
    job = NULL;
    io_job_run(done, &disk, NULL);
    keeper_job_done(keeper, done);
}

/* Turns until the keeper has nothing more to do. */
static void
settle(void)
{
    for (uint32_t i = 0; i < 1000; i++) {
        keeper_turn(keeper, journal, now_ms);
        if (job == NULL) {
            return;
        }
        run_job();
    }
    cr_assert(false, "the keeper never comes to rest");
}

/* Writes the first of what was handed over, and what goes with it. */
static enum status
write_first(struct log_failure *failure)
{
    struct list written;
    list_init(&written);
    enum status status = log_writer_write(writer, &batches, &written, failure);
    for (struct list_link *link; (link = list_pop(&written)) != NULL;) {
        journal_batch_written(journal, CONTAINER_OF(link, struct batch, link));
    }
    return status;
}

/* Writes and flushes what was handed over, as far as there are segments for it. */
static void
write_log(void)
{
    struct log_failure failure;
    while (!list_is_empty(&batches)) {
        if (write_first(&failure) != STATUS_OK) {
            break;
        }
    }
    cr_assert(eq(int, log_writer_flush(writer, &failure), STATUS_OK));
    journal_committed(journal, log_writer_durable_lsn(writer));
}

/* One message, in a batch of its own, which is counted. */
static uint64_t
publish(uint32_t size)
{
    struct content_shape shape = {.body_size = size, .kind = CHUNK_KIND_PERSISTENT};
    struct content_ref content;
    uint8_t *body;
    cr_assert(eq(int, chunk_pool_reserve(pool, &shape, &content, &body), STATUS_OK));
    memset(body, 'x', size);
    uint64_t queue = QUEUE;
    uint64_t lsn;
    cr_assert(eq(int, journal_publish(journal, content, &queue, 1, &lsn), STATUS_OK));
    chunk_pool_release(pool, content);
    space_add_rows(keeper_space(keeper), lsn, 1, space_row_octets(size));
    cr_assert(journal_seal(journal, true));
    return lsn;
}

/* Part 7: the next segments are ready before the journal needs them, one behind the other. */
Test(keeper, segments_are_prepared_ahead_of_the_journal)
{
    cr_expect(has_segment(1));
    settle();
    cr_expect(has_segment(2));
    cr_expect(has_segment(3));
    cr_expect(not(has_segment(4)));
    for (size_t i = 0; i < 3; i++) {
        publish(LARGE);
    }
    write_log();
    settle();
    cr_expect(eq(u64, journal_segment_number(journal), 2));
    cr_expect(has_segment(4));
    cr_expect(not(has_segment(5)));
}

/* However far the journal runs ahead within a tick, nothing is left out. */
Test(keeper, a_journal_that_has_run_ahead_gets_every_segment_it_has_passed)
{
    for (size_t i = 0; i < 20; i++) {
        publish(LARGE);
    }
    cr_assert(eq(u64, journal_segment_number(journal), 10));
    settle();
    for (uint64_t number = 1; number <= 12; number++) {
        cr_expect(has_segment(number), "segment %lu", (unsigned long)number);
    }
    write_log();
    cr_expect(list_is_empty(&batches));
    cr_expect(eq(u64, journal_commit_lsn(journal), journal_token(journal)));
}

/* A header says where the segment stands and whose it is. */
Test(keeper, prepared_segments_have_the_header_that_the_journal_will_want)
{
    settle();
    char name[STORE_NAME_SIZE];
    store_file_name(STORE_FILE_SEGMENT, 3, 0, name);
    struct segment_header header;
    struct bytes content = sim_disk_content(sim, name);
    cr_assert(eq(int, segment_header_decode(&header, content.data), STATUS_OK));
    cr_expect(eq(u64, header.number, 3));
    cr_expect(eq(u64, header.base_lsn, 3 * SLOT));
    cr_expect(eq(u64, header.capacity, SLOT));
    cr_expect(eq(u64, header.epoch, 1));
}

/* F3: a full disk stops the keeper, not the broker, and not for good; and it does not hammer. */
Test(keeper, a_segment_that_found_no_room_is_tried_again_a_second_later)
{
    settle();
    sim_disk_set_capacity(sim, 3 * SLOT);
    publish(LARGE);
    publish(LARGE);
    publish(LARGE);
    write_log();
    keeper_turn(keeper, journal, now_ms);
    cr_assert(eq(int, job->type, IO_PREPARE));
    run_job();
    cr_expect(not(has_segment(4)));
    settle();
    uint64_t writes = sim_disk_call_count(sim, SIM_DISK_WRITE);
    now_ms += 900;
    settle();
    cr_expect(eq(u64, sim_disk_call_count(sim, SIM_DISK_WRITE), writes), "not at once");
    sim_disk_set_capacity(sim, 100 * SLOT);
    now_ms += 200;
    settle();
    cr_expect(has_segment(4));
}

/* The core blocks publishers by what the keeper has seen last. */
Test(keeper, the_room_of_the_file_system_is_looked_at_once_a_second)
{
    cr_expect(eq(ptr, (void *)keeper_disk_space(keeper), NULL));
    settle();
    cr_assert(ne(ptr, (void *)keeper_disk_space(keeper), NULL));
    uint64_t free_bytes = keeper_disk_space(keeper)->free_bytes;
    cr_expect(ge(u64, free_bytes, 1));
    sim_disk_set_capacity(sim, 4 * SLOT);
    settle();
    cr_expect(eq(u64, keeper_disk_space(keeper)->free_bytes, free_bytes));
    now_ms += 1000;
    settle();
    cr_expect(lt(u64, keeper_disk_space(keeper)->free_bytes, free_bytes));
}

static void
put_spare(uint64_t number, size_t size)
{
    char name[STORE_NAME_SIZE];
    uint8_t *octets = calloc(1, size);
    sim_disk_replace(sim, store_file_name(STORE_FILE_SPARE, number, 0, name),
                     bytes_make(octets, size));
    free(octets);
}

static uint32_t
count_files(enum store_file_kind kind)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < sim_disk_file_count(sim); i++) {
        uint64_t number;
        uint64_t last;
        count += store_file_parse(sim_disk_name(sim, i), &number, &last) == kind ? 1 : 0;
    }
    return count;
}

/* Spares that recovery found are used first; those that do not fit or are too many only take room.
 */
Test(keeper, spares_of_the_last_run_are_used_and_the_useless_ones_removed)
{
    tear_down();
    set_up();
    tear_down();
    sim = sim_disk_new();
    disk = disk_of_sim(sim);
    pool = chunk_pool_new();
    writer = log_writer_new(&disk);
    struct recovery recovery = new_directory();
    uint64_t spares[] = {1, 2, 3, 4, 5, 6, 7};
    for (size_t i = 0; i < ARRAY_LEN(spares); i++) {
        put_spare(spares[i], i == 2 ? SLOT / 2 : SLOT);
    }
    recovery.spares = spares;
    recovery.spare_count = ARRAY_LEN(spares);
    start(&recovery);
    cr_expect(eq(u32, count_files(STORE_FILE_SPARE), 3), "four are kept, one of them is in use");
    uint64_t writes = sim_disk_call_count(sim, SIM_DISK_WRITE);
    settle();
    cr_expect(eq(u32, count_files(STORE_FILE_SPARE), 1));
    cr_expect(eq(u64, sim_disk_call_count(sim, SIM_DISK_WRITE), writes + 2), "headers only");
    cr_expect(has_segment(3));
}

/* The message of that size is done with; in a batch of its own. */
static void
remove_message(uint64_t lsn, uint32_t size)
{
    journal_remove(journal, QUEUE, lsn);
    space_remove_row(keeper_space(keeper), lsn, space_row_octets(size), journal_open_lsn(journal));
    cr_assert(journal_seal(journal, true));
}

static void
put_queue_record(void)
{
    struct buffer record;
    buffer_init(&record);
    record_put_queue(&record, QUEUE, 1, 0, bytes_of("orders"), bytes_of(""));
    journal_put(journal, buffer_bytes(&record));
    space_add_topology(keeper_space(keeper), journal_open_lsn(journal));
    buffer_fini(&record);
    cr_assert(journal_seal(journal, true));
}

static bool
has_index(uint64_t number)
{
    char name[STORE_NAME_SIZE];
    return sim_disk_has(sim, store_file_name(STORE_FILE_INDEX, number, 0, name));
}

/* Full segments get their indexes when all of them is committed, not before. */
Test(keeper, a_segment_gets_its_index_once_it_is_full_and_committed)
{
    settle();
    for (size_t i = 0; i < 5; i++) {
        publish(LARGE);
    }
    settle();
    cr_expect(not(has_index(1)));
    write_log();
    settle();
    cr_expect(has_index(1));
    cr_expect(has_index(2));
    cr_expect(not(has_index(3)), "it is under way");
}

/* In a steady flow the same files go round: nothing new is written full of zeros. */
Test(keeper, dead_segments_are_used_again)
{
    settle();
    uint32_t files = 0;
    for (size_t i = 0; i < 100; i++) {
        uint64_t lsn = publish(LARGE);
        remove_message(lsn, LARGE);
        write_log();
        settle();
        if (i == 20) {
            files = sim_disk_file_count(sim);
        }
    }
    cr_expect(lt(u64, 45, journal_segment_number(journal)));
    cr_expect(le(u32, sim_disk_file_count(sim), files + 1));
    cr_expect(le(u32, count_files(STORE_FILE_SEGMENT), 7));
    cr_expect(le(u32, count_files(STORE_FILE_SPARE), 4));
    cr_expect(not(has_segment(10)));
}

/* When a backlog is gone, so is its room: a few spares are kept, the rest goes back. */
Test(keeper, spares_that_are_too_many_are_removed)
{
    settle();
    uint64_t lsns[60];
    for (size_t i = 0; i < ARRAY_LEN(lsns); i++) {
        lsns[i] = publish(LARGE);
        settle();
        write_log();
    }
    settle();
    cr_assert(ge(u32, count_files(STORE_FILE_SEGMENT), 30));
    for (size_t i = 0; i < ARRAY_LEN(lsns); i++) {
        remove_message(lsns[i], LARGE);
    }
    write_log();
    settle();
    cr_expect(le(u32, count_files(STORE_FILE_SEGMENT), 7));
    cr_expect(le(u32, count_files(STORE_FILE_SPARE), 4));
}

/* Topology alone does not keep a log: a snapshot takes its place. */
Test(keeper, a_snapshot_frees_segments_that_only_topology_keeps)
{
    settle();
    for (size_t i = 0; i < 40; i++) {
        put_queue_record();
        uint64_t lsn = publish(LARGE);
        remove_message(lsn, LARGE);
        write_log();
        settle();
    }
    cr_expect(eq(u32, count_files(STORE_FILE_SNAPSHOT), 1));
    cr_expect(le(u32, count_files(STORE_FILE_SEGMENT), 12));
    cr_expect(not(has_segment(1)));
}

/* I9: a snapshot that could not be flushed leaves nobody sure of anything. */
Test(keeper, a_snapshot_that_cannot_be_flushed_is_fatal_and_one_without_room_is_not)
{
    static const struct {
        enum sim_disk_call call;
        uint64_t nth; /* 1: of the snapshot; 2: of the manifest */
        int error;
        bool is_fatal;
    } rows[] = {
        {SIM_DISK_FLUSH, 1, EIO, true},
        {SIM_DISK_FLUSH, 2, EIO, true},
        {SIM_DISK_WRITE, 1, EIO, true},
        {SIM_DISK_WRITE, 2, EIO, true},
        {SIM_DISK_RENAME, 1, EIO, true},
        {SIM_DISK_RENAME, 2, EIO, true},
        {SIM_DISK_WRITE, 1, ENOSPC, false},
        {SIM_DISK_WRITE, 2, ENOSPC, false},
        {SIM_DISK_FLUSH_DIRECTORY, 1, ENOSPC, true},
        {SIM_DISK_FLUSH_DIRECTORY, 2, ENOSPC, true},
        {SIM_DISK_READ, 1, EIO, false},
        {SIM_DISK_OPEN, 1, EMFILE, false},
    };
    put_queue_record();
    write_log();
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct manifest manifest = {0};
        manifest_add_epoch(&manifest, 1, SLOT);
        struct io_job snapshot = {
            .type = IO_SNAPSHOT,
            .snapshot = {.lsn = journal_open_lsn(journal), .manifest = &manifest},
        };
        sim_disk_fail(sim, rows[i].call, rows[i].nth, rows[i].error);
        io_job_run(&snapshot, &disk, NULL);
        cr_expect(eq(int, snapshot.status, STATUS_IO), "row %zu", i);
        cr_expect(eq(int, snapshot.is_fatal, rows[i].is_fatal), "row %zu", i);
        manifest_fini(&manifest);
    }
}

/* What recovery hands over. */
struct found {
    uint32_t queues;
    uint32_t rows;
};

static enum status
count_record(void *context, const struct record *record)
{
    struct found *found = context;
    found->queues += record->type == RECORD_QUEUE_SET ? 1 : 0;
    return STATUS_OK;
}

static enum status
count_row(void *context, const struct recovered_row *row)
{
    struct found *found = context;
    (void)row;
    found->rows++;
    return STATUS_OK;
}

static struct found
recover(struct recovery *recovery)
{
    struct found found = {0};
    struct recovery_options options = {.slot_size = SLOT, .may_write = true};
    struct recovery_sink sink = {.record = count_record, .row = count_row, .context = &found};
    struct random_source random = random_system();
    char why[200];
    cr_assert(eq(int,
                 recovery_run(recovery, &disk, &options, &sink, &random, NULL, why, sizeof(why)),
                 STATUS_OK),
              "%s", why);
    return found;
}

/* Instead of the directory that set_up invents, one that recovery has made. */
static struct found
restart(struct recovery *recovery)
{
    if (journal != NULL) {
        log_writer_free(&writer);
        journal_free(&journal);
        keeper_free(&keeper);
    }
    writer = log_writer_new(&disk);
    struct found found = recover(recovery);
    start(recovery);
    return found;
}

static void
new_disk(bool copies_on_write)
{
    tear_down();
    sim = sim_disk_new();
    sim_disk_set_copies_on_write(sim, copies_on_write);
    disk = disk_of_sim(sim);
    pool = chunk_pool_new();
    list_init(&batches);
}

static void
start_anew_on(bool copies_on_write)
{
    new_disk(copies_on_write);
    struct recovery recovery;
    cr_expect(eq(u32, restart(&recovery).rows, 0));
    cr_expect(recovery.was_new);
    recovery_fini(&recovery);
}

static void
start_anew(void)
{
    start_anew_on(false);
}

static void
put_vhost_record(void)
{
    struct buffer record;
    buffer_init(&record);
    record_put_vhost(&record, 1, -1, -1, 0, bytes_of("/"));
    journal_put(journal, buffer_bytes(&record));
    space_add_topology(keeper_space(keeper), journal_open_lsn(journal));
    buffer_fini(&record);
}

/* A slow consumer must not hold every segment since its oldest message; and what was folded and
 * then used again stays folded: acknowledged messages do not come back. */
Test(keeper, removals_are_folded_and_their_segments_used_again)
{
    start_anew();
    put_vhost_record();
    put_queue_record();
    uint64_t old[30];
    for (size_t i = 0; i < ARRAY_LEN(old); i++) {
        old[i] = publish(1000);
    }
    for (size_t i = 0; i < 20; i++) {
        uint64_t lsn = publish(LARGE);
        remove_message(lsn, LARGE);
        remove_message(old[i], 1000);
        write_log();
        settle();
    }
    cr_expect(ge(u32, count_files(STORE_FILE_DEAD), 1));
    cr_expect(not(has_segment(4)), "it holds removals of the oldest messages");
    sim_disk_kill(sim);
    struct recovery recovery;
    struct found found = restart(&recovery);
    cr_expect(eq(u32, found.rows, 10));
    recovery_fini(&recovery);
}

enum { SPARSE_MESSAGES = 160, SPARSE_SIZE = 4000, SPARSE_SHARE = 16 };

/* Segments in which one message of sixteen is left. */
static void
make_sparse(uint64_t lsns[static SPARSE_MESSAGES])
{
    start_anew();
    put_vhost_record();
    put_queue_record();
    for (size_t i = 0; i < SPARSE_MESSAGES; i++) {
        lsns[i] = publish(SPARSE_SIZE);
        settle();
        write_log();
    }
    for (size_t i = 0; i < SPARSE_MESSAGES; i++) {
        if (i % SPARSE_SHARE != 0) {
            remove_message(lsns[i], SPARSE_SIZE);
        }
    }
    write_log();
}

/* Segments in which little lives become one file, and nothing of that is lost. */
Test(keeper, sparse_segments_are_packed_and_their_messages_stay)
{
    uint64_t lsns[SPARSE_MESSAGES];
    make_sparse(lsns);
    settle();
    cr_expect(ge(u32, count_files(STORE_FILE_PACK), 1));
    cr_expect(le(u32, count_files(STORE_FILE_SEGMENT), 6));
    sim_disk_kill(sim);
    struct recovery recovery;
    cr_expect(eq(u32, restart(&recovery).rows, SPARSE_MESSAGES / SPARSE_SHARE));
    recovery_fini(&recovery);
    for (size_t i = 0; i < SPARSE_MESSAGES; i += SPARSE_SHARE) {
        remove_message(lsns[i], SPARSE_SIZE);
    }
    write_log();
    settle();
    cr_expect(eq(u32, count_files(STORE_FILE_PACK), 0));
}

/* F2: while a pack takes the place of its segments, every message is there once. */
Test(keeper, a_power_cut_while_segments_are_packed_loses_and_doubles_nothing)
{
    uint64_t lsns[SPARSE_MESSAGES];
    make_sparse(lsns);
    struct sim_recording *recording = sim_disk_record(sim);
    settle();
    sim_disk_stop_recording(sim);
    cr_expect(ge(u32, count_files(STORE_FILE_PACK), 1));
    struct disk whole = disk;
    for (uint32_t prefix = 0; prefix <= sim_recording_count(recording); prefix++) {
        static const enum sim_disk_policy POLICIES[] = {SIM_DISK_NONE, SIM_DISK_ALL,
                                                        SIM_DISK_RANDOM, SIM_DISK_RANDOM};
        for (size_t i = 0; i < ARRAY_LEN(POLICIES); i++) {
            struct sim_disk *after =
                sim_disk_replay(recording, prefix, POLICIES[i], 1000 * prefix + i);
            disk = disk_of_sim(after);
            struct recovery recovery;
            struct found found = recover(&recovery);
            cr_expect(eq(u32, found.rows, SPARSE_MESSAGES / SPARSE_SHARE), "prefix %u", prefix);
            recovery_fini(&recovery);
            sim_disk_free(&after);
        }
    }
    disk = whole;
    sim_recording_free(&recording);
}

/* Sorting old backlog ends by itself, and its messages stay. */
Test(keeper, old_backlog_is_sorted_and_its_messages_stay)
{
    enum { MESSAGES = 400 };
    start_anew();
    put_vhost_record();
    put_queue_record();
    for (size_t i = 0; i < MESSAGES; i++) {
        publish(SPARSE_SIZE);
        settle();
        write_log();
    }
    settle();
    cr_expect(ge(u32, count_files(STORE_FILE_PACK), 1));
    sim_disk_kill(sim);
    struct recovery recovery;
    cr_expect(eq(u32, restart(&recovery).rows, MESSAGES));
    recovery_fini(&recovery);
    settle();
}

/* The log never waits for a pack that takes long: a segment that is wanted is made between two
 * steps of it. What is unfinished when the process ends is forgotten. */
Test(keeper, a_segment_is_prepared_between_the_steps_of_a_pack)
{
    start_anew();
    put_vhost_record();
    put_queue_record();
    bool is_packing = false;
    while (!is_packing) {
        publish(SPARSE_SIZE);
        write_log();
        for (keeper_turn(keeper, journal, now_ms); job != NULL && !is_packing;
             keeper_turn(keeper, journal, now_ms)) {
            is_packing = job->type == IO_PACK;
            run_job();
        }
    }
    cr_expect(eq(u32, count_files(STORE_FILE_PACK), 0));
    keeper_turn(keeper, journal, now_ms);
    cr_assert(eq(int, job->type, IO_PACK), "the next step");
    run_job();
    uint64_t number = journal_segment_number(journal);
    while (journal_segment_number(journal) == number) {
        publish(SPARSE_SIZE);
        write_log();
    }
    keeper_turn(keeper, journal, now_ms);
    cr_assert(eq(int, job->type, IO_PREPARE));
    run_job();
    keeper_turn(keeper, journal, now_ms);
    cr_assert(eq(int, job->type, IO_INDEX));
    run_job();
    keeper_turn(keeper, journal, now_ms);
    cr_assert(eq(int, job->type, IO_PACK));
    run_job();
    cr_expect(eq(u32, count_files(STORE_FILE_PACK), 0));
}

/* What cannot be sorted stays as it is, and is not tried for again and again. */
Test(keeper, a_sort_that_failed_is_not_repeated)
{
    start_anew();
    put_vhost_record();
    put_queue_record();
    for (;;) {
        publish(SPARSE_SIZE);
        write_log();
        keeper_turn(keeper, journal, now_ms);
        if (job != NULL && job->type == IO_PACK) {
            break;
        }
        if (job != NULL) {
            run_job();
        }
    }
    struct io_job *failed = job;
    job = NULL;
    failed->status = STATUS_CORRUPT;
    keeper_job_done(keeper, failed);
    now_ms += UINT64_C(1000) * 1000;
    settle();
    cr_expect(eq(u32, count_files(STORE_FILE_PACK), 0));
}

/* Sorting needs room beside what it sorts: where that is scarce, order is not worth it. */
Test(keeper, backlog_is_not_sorted_where_room_is_scarce)
{
    start_anew();
    put_vhost_record();
    put_queue_record();
    sim_disk_set_capacity(sim, UINT64_C(40) * SLOT);
    for (size_t i = 0; i < 400; i++) {
        publish(SPARSE_SIZE);
        now_ms += 1000;
        settle();
        write_log();
    }
    settle();
    cr_expect(eq(u32, count_files(STORE_FILE_PACK), 0));
}

/* Part 13: what an orderly stop leaves is found again, clean, by the next start; and starting and
 * stopping does not fill the disk. */
Test(keeper, what_an_orderly_stop_leaves_is_found_by_the_next_start)
{
    start_anew();
    put_vhost_record();
    put_queue_record();
    settle();
    for (size_t i = 0; i < 7; i++) {
        publish(LARGE);
    }
    write_log();
    uint32_t files = 0;
    for (size_t i = 0; i < 12; i++) {
        settle();
        write_log();
        cr_assert(eq(int, keeper_finish(keeper, &disk, journal, NULL), STATUS_OK));
        struct recovery recovery;
        struct found found = restart(&recovery);
        cr_expect(eq(u32, found.rows, 7 + i));
        cr_expect(eq(u32, found.queues, 1));
        cr_expect(recovery.was_clean);
        recovery_fini(&recovery);
        publish(100);
        write_log();
        files = i == 3 ? sim_disk_file_count(sim) : files;
    }
    cr_expect(le(u32, sim_disk_file_count(sim), files + 2 * 8 + 1), "a segment and its index each");
}

/* The clean flag says that everything is flushed. */
Test(keeper, a_log_that_is_not_committed_is_not_marked_clean)
{
    publish(100);
    cr_expect(eq(int, keeper_finish(keeper, &disk, journal, NULL), STATUS_AGAIN));
    cr_expect(not(sim_disk_has(sim, STORE_MANIFEST_NAME)));
    write_log();
    cr_expect(eq(int, keeper_finish(keeper, &disk, journal, NULL), STATUS_OK));
}

/* F1: without the orderly stop as well; and what only topology and removals kept is used again. */
Test(keeper, a_start_after_a_kill_goes_on_with_the_account_where_it_was)
{
    start_anew();
    put_vhost_record();
    put_queue_record();
    settle();
    uint64_t last = 0;
    for (size_t i = 0; i < 20; i++) {
        if (last != 0) {
            remove_message(last, LARGE);
        }
        last = publish(LARGE);
        write_log();
        settle();
    }
    uint64_t live = space_live_octets(keeper_space(keeper));
    sim_disk_kill(sim);
    struct recovery recovery;
    struct found found = restart(&recovery);
    cr_expect(eq(u32, found.rows, 1));
    cr_expect(not(recovery.was_clean));
    recovery_fini(&recovery);
    cr_expect(eq(u64, space_live_octets(keeper_space(keeper)), live));
    remove_message(last, LARGE);
    for (size_t i = 0; i < 20; i++) {
        uint64_t lsn = publish(LARGE);
        remove_message(lsn, LARGE);
        write_log();
        settle();
    }
    cr_expect(le(u32, count_files(STORE_FILE_SEGMENT), 12));
}

/* The clean flag is the last thing that is written. */
Test(keeper, an_orderly_stop_leaves_a_clean_manifest)
{
    settle();
    cr_assert(eq(int, keeper_finish(keeper, &disk, journal, NULL), STATUS_OK));
    struct manifest manifest;
    char why[100];
    cr_assert(eq(int, manifest_read(&manifest, &disk, why, sizeof(why)), STATUS_OK));
    cr_expect(manifest.is_clean);
    cr_expect(eq(u32, manifest.epoch_count, 1));
    manifest_fini(&manifest);
}

/* The ballast ---------------------------------------------------------------------------------- */

enum { DISK_MARK = 4 * SLOT, BALLAST = 2 * SLOT, SECOND_MS = 1000 };

static bool disk_is_low;

/* Starts on a disk that copies on write, without recovery. */
static void
start_on_copies_that_are(bool known)
{
    new_disk(true);
    disk.copies_on_write = known;
    writer = log_writer_new(&disk);
    struct recovery recovery = new_directory();
    start(&recovery);
    disk_is_low = false;
}

static void
start_on_copies(void)
{
    start_on_copies_that_are(true);
}

/* As the core does: low below the mark, until there is a tenth more. */
static void
judge_space(void)
{
    const struct disk_space *space = keeper_disk_space(keeper);
    if (space != NULL) {
        uint64_t mark = disk_is_low ? DISK_MARK + DISK_MARK / 10 : DISK_MARK;
        disk_is_low = space->free_bytes < mark;
        keeper_set_disk_is_low(keeper, disk_is_low);
    }
}

/* A second goes by, and everything that it brings is done. */
static void
pass_second(void)
{
    now_ms += SECOND_MS;
    for (int i = 0; i < 100; i++) {
        judge_space();
        keeper_turn(keeper, journal, now_ms);
        if (job == NULL) {
            return;
        }
        run_job();
    }
    cr_assert(false, "the keeper never comes to rest");
}

static bool
has_ballast(void)
{
    return sim_disk_has(sim, STORE_BALLAST_NAME);
}

static uint64_t
ballast_size(void)
{
    return has_ballast() ? sim_disk_content(sim, STORE_BALLAST_NAME).size : 0;
}

/* Leaves so much of the disk free. */
static void
leave_free(uint64_t octets)
{
    struct disk_space space;
    cr_assert(eq(int, disk.space(disk.context, &space), STATUS_OK));
    sim_disk_set_capacity(sim, space.total_bytes - space.free_bytes + octets);
}

/* What was handed over; false when the log fails. */
static bool
log_takes_all(void)
{
    struct log_failure failure;
    while (!list_is_empty(&batches)) {
        enum status status = write_first(&failure);
        if (status == STATUS_IO) {
            cr_expect(eq(int, failure.error, ENOSPC));
            return false;
        }
        cr_assert(eq(int, status, STATUS_OK), "a segment is missing");
    }
    cr_assert(eq(int, log_writer_flush(writer, &failure), STATUS_OK));
    journal_committed(journal, log_writer_durable_lsn(writer));
    return true;
}

enum { FULL_MESSAGES_MAX = 200 };

/* Publishers fill the disk to the mark, somebody else takes what is left of it to the last octet,
 * and then everything is acknowledged and something declared. False when the log fails. */
static bool
live_on_a_full_disk(void)
{
    static uint64_t lsns[FULL_MESSAGES_MAX];
    size_t count = 0;
    sim_disk_set_capacity(sim, 40 * SLOT);
    pass_second();
    uint64_t kept = ballast_size();
    while (!disk_is_low && count < FULL_MESSAGES_MAX) {
        lsns[count++] = publish(LARGE);
        cr_assert(log_takes_all());
        pass_second();
    }
    cr_assert(disk_is_low, "%zu messages", count);
    cr_expect(not(has_ballast()));
    leave_free(kept);
    for (size_t i = 0; i < count; i++) {
        remove_message(lsns[i], LARGE);
        if (i == 10) {
            put_queue_record();
        }
        if (!log_takes_all()) {
            return false;
        }
        pass_second();
    }
    return true;
}

/* Part 7: acknowledgements and deletes make room, so they are taken on a disk that has none, also
 * where what a segment held before cannot be written over without any. */
Test(keeper, a_full_disk_that_copies_on_write_takes_what_makes_room)
{
    start_on_copies();
    cr_expect(live_on_a_full_disk());
    cr_expect(not(disk_is_low), "room again");
    cr_expect(eq(u64, ballast_size(), BALLAST), "and a ballast for the next time");
}

/* The same without one: that is what the test above is about. */
Test(keeper, without_a_ballast_a_full_disk_that_copies_on_write_fails_the_log)
{
    start_on_copies_that_are(false);
    cr_expect(not(live_on_a_full_disk()));
}

/* Elsewhere what is written can be written over, and nothing is kept. */
Test(keeper, a_disk_that_writes_in_place_needs_no_ballast)
{
    for (int i = 0; i < 5; i++) {
        pass_second();
        cr_expect(not(has_ballast()));
    }
    leave_free(DISK_MARK);
    uint64_t unlinks = sim_disk_call_count(sim, SIM_DISK_UNLINK);
    pass_second();
    cr_expect(not(disk_is_low));
    leave_free(DISK_MARK - 1);
    pass_second();
    pass_second();
    cr_expect(disk_is_low);
    cr_expect(eq(u64, sim_disk_call_count(sim, SIM_DISK_UNLINK), unlinks));
}

/* The log waits for segments, and nobody for a ballast. */
Test(keeper, the_ballast_comes_after_the_segments_and_once_the_room_is_known)
{
    start_on_copies();
    for (keeper_turn(keeper, journal, now_ms); job->type != IO_BALLAST;
         keeper_turn(keeper, journal, now_ms)) {
        cr_expect(not(has_ballast()));
        run_job();
    }
    cr_expect(has_segment(3));
    cr_expect(ne(ptr, (void *)keeper_disk_space(keeper), NULL));
    run_job();
    cr_expect(eq(u64, ballast_size(), BALLAST));
    keeper_turn(keeper, journal, now_ms);
    cr_expect(eq(ptr, job, NULL));
}

/* Whether the ballast is there or not, the mark is compared with the same number: so neither giving
 * it up nor making it turns the alarm. */
Test(keeper, the_ballast_counts_as_taken_whether_it_is_there_or_not)
{
    start_on_copies();
    settle();
    cr_expect(has_ballast());
    leave_free(DISK_MARK);
    pass_second();
    cr_expect(not(disk_is_low));
    cr_expect(eq(u64, keeper_disk_space(keeper)->free_bytes, DISK_MARK));
    leave_free(DISK_MARK - 1);
    pass_second();
    pass_second();
    cr_expect(not(has_ballast()));
    cr_expect(eq(u64, sim_disk_free_bytes(sim), DISK_MARK - 1 + BALLAST));
    uint64_t opens = sim_disk_call_count(sim, SIM_DISK_OPEN);
    leave_free(BALLAST + DISK_MARK + DISK_MARK / 10 - 1);
    for (int i = 0; i < 100; i++) {
        pass_second();
        cr_expect(disk_is_low);
    }
    cr_expect(eq(u64, sim_disk_call_count(sim, SIM_DISK_OPEN), opens), "not made and given up");
    leave_free(BALLAST + DISK_MARK + DISK_MARK / 10);
    for (int i = 0; i < 100; i++) {
        pass_second();
        cr_expect(eq(u64, ballast_size(), BALLAST));
        cr_expect(not(disk_is_low));
    }
    leave_free(0);
    pass_second();
    cr_expect(not(has_ballast()));
    leave_free(BALLAST / 2);
    pass_second();
    cr_expect(eq(u64, keeper_disk_space(keeper)->free_bytes, 0), "less than the ballast lacks");
}

/* Nor is it where nobody can tell how much room there is. */
Test(keeper, no_ballast_is_made_while_the_room_is_not_known)
{
    start_on_copies();
    sim_disk_fail(sim, SIM_DISK_SPACE, 1, EIO);
    settle();
    cr_expect(not(has_ballast()));
    now_ms += SECOND_MS;
    settle();
    cr_expect(has_ballast());
}

/* Nothing of it is made where it would itself reach the mark. */
Test(keeper, a_ballast_is_made_only_where_there_is_clearly_room)
{
    start_on_copies();
    sim_disk_set_capacity(sim, 3 * SLOT + DISK_MARK + BALLAST - 1);
    pass_second();
    pass_second();
    cr_expect(disk_is_low);
    cr_expect(not(has_ballast()));
}

/* A disk that becomes full while the ballast is made gets back what was made. */
Test(keeper, a_ballast_that_is_being_made_is_given_up_when_the_disk_is_low)
{
    slot_size = UINT64_C(1) << 20; /* so that it takes two slices */
    start_on_copies();
    do {
        keeper_turn(keeper, journal, now_ms);
        cr_assert(job != NULL);
        run_job();
    } while (!has_ballast());
    cr_assert(eq(u64, ballast_size(), slot_size));
    keeper_set_disk_is_low(keeper, true);
    keeper_turn(keeper, journal, now_ms);
    cr_assert(eq(int, job->type, IO_GIVE_UP));
    run_job();
    cr_expect(not(has_ballast()));
    keeper_turn(keeper, journal, now_ms);
    cr_expect(eq(ptr, job, NULL));
    keeper_set_disk_is_low(keeper, false);
    settle();
    cr_expect(eq(u64, ballast_size(), 2 * slot_size));
}

static uint32_t failure_lines;

static void
count_failures(void *context, struct bytes line)
{
    (void)context;
    char text[512];
    (void)snprintf(text, sizeof(text), "%.*s", BYTES_FORMAT(line));
    failure_lines += strstr(text, "store.job_failed") != NULL ? 1 : 0;
}

static struct clock_reading
read_clock(void *context)
{
    (void)context;
    return (struct clock_reading){.monotonic_ms = now_ms};
}

/* A ballast is a thing one can do without: what there is of it goes, it is said once, and tried
 * again after a while. */
Test(keeper, a_ballast_that_cannot_be_made_is_thrown_away_and_tried_for_later)
{
    static const struct {
        enum sim_disk_call call;
        uint64_t nth; /* of the calls of making it */
        int error;
    } rows[] = {
        {SIM_DISK_UNLINK, 1, EIO},   {SIM_DISK_OPEN, 1, EMFILE},  {SIM_DISK_OPEN, 2, EIO},
        {SIM_DISK_WRITE, 1, EIO},    {SIM_DISK_WRITE, 1, ENOSPC}, {SIM_DISK_WRITE, 2, ENOSPC},
        {SIM_DISK_WRITE, 2, EDQUOT}, {SIM_DISK_FLUSH, 1, EIO},    {SIM_DISK_FLUSH, 2, ENOSPC},
    };
    struct log log = {
        .level = LOG_LEVEL_WARN, .write = count_failures, .clock = {.read = read_clock}};
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        tear_down();
        set_up();
        slot_size = UINT64_C(1) << 20;
        test_log = &log;
        failure_lines = 0;
        start_on_copies();
        uint64_t delay_ms = 60 * SECOND_MS;
        for (int attempt = 0; attempt < 3; attempt++) {
            for (keeper_turn(keeper, journal, now_ms); job->type != IO_BALLAST;
                 keeper_turn(keeper, journal, now_ms)) {
                run_job();
            }
            sim_disk_fail(sim, rows[i].call, rows[i].nth, rows[i].error);
            settle();
            cr_expect(eq(u64, sim_disk_fault_left(sim, rows[i].call), 0), "row %zu", i);
            cr_expect(not(has_ballast()), "row %zu", i);
            now_ms += delay_ms - 1;
            settle();
            cr_expect(not(has_ballast()), "row %zu", i);
            now_ms += 1;
            delay_ms *= 2;
        }
        cr_expect(eq(u32, failure_lines, 1), "row %zu", i);
        settle();
        cr_expect(eq(u64, ballast_size(), 2 * slot_size), "row %zu", i);
    }
}

/* Room is wanted badly then. */
Test(keeper, a_ballast_that_cannot_be_given_up_is_tried_again_a_second_later)
{
    start_on_copies();
    settle();
    keeper_set_disk_is_low(keeper, true);
    for (int i = 0; i < 3; i++) {
        sim_disk_fail(sim, SIM_DISK_UNLINK, 1, EIO);
        settle();
        cr_expect(has_ballast());
        now_ms += SECOND_MS;
    }
    settle();
    cr_expect(not(has_ballast()));
    cr_expect(ge(u64, sim_disk_free_bytes(sim), 1));
}

/* I9, as everywhere. */
Test(keeper, a_ballast_whose_name_may_or_may_not_be_gone_is_fatal)
{
    start_on_copies();
    settle();
    keeper_set_disk_is_low(keeper, true);
    keeper_turn(keeper, journal, now_ms);
    cr_assert(eq(int, job->type, IO_GIVE_UP));
    sim_disk_fail(sim, SIM_DISK_FLUSH_DIRECTORY, 1, EIO);
    io_job_run(job, &disk, NULL);
    cr_expect(job->is_fatal);
    job->is_fatal = false;
}

/* What a start needs to write may be what the ballast was kept for. */
Test(keeper, the_next_start_gives_the_ballast_up_before_it_writes_anything)
{
    start_anew_on(true);
    put_vhost_record();
    put_queue_record();
    settle();
    cr_assert(has_ballast());
    for (int i = 0; i < 3; i++) {
        publish(LARGE); /* the first segment is full, and has no index yet */
    }
    write_log();
    sim_disk_kill(sim);
    leave_free(0);
    struct recovery recovery;
    struct found found = restart(&recovery);
    cr_expect(eq(u32, found.rows, 3));
    cr_expect(not(has_ballast()));
    cr_expect(has_index(1));
    recovery_fini(&recovery);
}

/* F2: whatever is left of it, or of its name, nothing else suffers. */
Test(keeper, a_power_cut_around_the_ballast_changes_nothing_else)
{
    start_anew_on(true);
    put_vhost_record();
    put_queue_record();
    publish(100);
    write_log();
    struct sim_recording *recording = sim_disk_record(sim);
    settle();
    cr_assert(has_ballast());
    keeper_set_disk_is_low(keeper, true);
    settle();
    cr_assert(not(has_ballast()));
    sim_disk_stop_recording(sim);
    struct disk whole = disk;
    uint32_t left_count = 0;
    for (uint32_t prefix = 0; prefix <= sim_recording_count(recording); prefix++) {
        static const enum sim_disk_policy POLICIES[] = {SIM_DISK_NONE, SIM_DISK_NAMES, SIM_DISK_ALL,
                                                        SIM_DISK_RANDOM};
        for (size_t i = 0; i < ARRAY_LEN(POLICIES); i++) {
            struct sim_disk *after =
                sim_disk_replay(recording, prefix, POLICIES[i], 1000 * prefix + i);
            disk = disk_of_sim(after);
            left_count += sim_disk_has(after, STORE_BALLAST_NAME) ? 1 : 0;
            struct recovery recovery;
            struct found found = recover(&recovery);
            cr_expect(eq(u32, found.rows, 1), "prefix %u", prefix);
            cr_expect(not(sim_disk_has(after, STORE_BALLAST_NAME)), "prefix %u", prefix);
            recovery_fini(&recovery);
            sim_disk_free(&after);
        }
    }
    cr_expect(ge(u32, left_count, 1));
    disk = whole;
    sim_recording_free(&recording);
}

/* Power cuts ----------------------------------------------------------------------------------- */

enum { LIVES = 40 };

/* When a message was committed, when its removal was about to be written, and when that was
 * committed: counts of recorded calls; 0: it did not happen. */
struct life {
    uint64_t lsn;
    uint32_t size;
    uint32_t committed, removing, removed;
};

static struct life lives[LIVES];
static bool is_found[LIVES];

static enum status
find_row(void *context, const struct recovered_row *row)
{
    (void)context;
    for (size_t i = 0; i < LIVES; i++) {
        if (lives[i].lsn == row->lsn) {
            cr_expect(not(is_found[i]), "twice");
            is_found[i] = true;
            return STATUS_OK;
        }
    }
    cr_expect(false, "a message that nobody sent");
    return STATUS_OK;
}

static enum status
pass_record(void *context, const struct record *record)
{
    (void)context;
    (void)record;
    return STATUS_OK;
}

/* What is committed at the power cut is there, what was committed as removed is not. */
static void
judge(struct sim_disk *after, uint32_t prefix)
{
    struct disk after_disk = disk_of_sim(after);
    struct recovery recovery;
    struct recovery_options options = {.slot_size = SLOT, .may_write = true};
    struct recovery_sink sink = {.record = pass_record, .row = find_row};
    struct random_source random = random_system();
    char why[200];
    memset(is_found, 0, sizeof(is_found));
    enum status status =
        recovery_run(&recovery, &after_disk, &options, &sink, &random, NULL, why, sizeof(why));
    cr_assert(eq(int, status, STATUS_OK), "prefix %u: %s", prefix, why);
    for (size_t i = 0; i < LIVES; i++) {
        const struct life *life = &lives[i];
        bool must_be = life->committed != 0 && life->committed <= prefix &&
                       (life->removing == 0 || prefix <= life->removing);
        bool must_not_be = life->removed != 0 && life->removed <= prefix;
        cr_expect(not(must_be && !is_found[i]), "prefix %u: message %zu is lost", prefix, i);
        cr_expect(not(must_not_be && is_found[i]), "prefix %u: message %zu is back", prefix, i);
    }
    recovery_fini(&recovery);
}

static void
begin_removal(struct life *life)
{
    life->removing = UINT32_MAX;
    remove_message(life->lsn, life->size);
}

/* Writes what was handed over. */
static void
write_removals(struct sim_recording *recording)
{
    uint32_t before = sim_recording_count(recording);
    write_log();
    for (size_t i = 0; i < LIVES; i++) {
        struct life *life = &lives[i];
        if (life->removing == UINT32_MAX) {
            life->removing = before;
            life->removed = sim_recording_count(recording);
        }
    }
}

/* Sends and removes so that segments are indexed, folded, covered by snapshots, retired and used
 * again, also while removals are under way: the first ten messages live long, the others a little.
 */
static void
live(struct sim_recording *recording)
{
    memset(lives, 0, sizeof(lives));
    for (size_t i = 0; i < LIVES; i++) {
        struct life *life = &lives[i];
        life->size = i < 10 ? 1000 : LARGE;
        life->lsn = publish(life->size);
        write_log();
        life->committed = sim_recording_count(recording);
        if (i >= 14) {
            begin_removal(&lives[i - 4]);
        }
        if (i >= 16 && i % 3 == 0) {
            begin_removal(&lives[(i - 16) / 3]);
        }
        if (i % 5 == 0) {
            put_queue_record();
        }
        settle();
        write_removals(recording);
        settle();
    }
}

/* F2, I8: whenever the power goes, in whatever the keeper and the log are doing, what was confirmed
 * is there and what was acknowledged stays away. */
Test(keeper, no_power_cut_loses_or_brings_back_a_message)
{
    start_anew();
    put_vhost_record();
    put_queue_record();
    settle();
    write_log();
    struct sim_recording *recording = sim_disk_record(sim);
    live(recording);
    sim_disk_stop_recording(sim);
    cr_expect(ge(u32, count_files(STORE_FILE_DEAD), 1), "it was folded");
    cr_expect(ge(u32, count_files(STORE_FILE_SNAPSHOT), 1), "a snapshot was taken");
    cr_expect(not(has_segment(2)), "segments were used again");
    uint32_t count = sim_recording_count(recording);
    for (uint32_t prefix = 0; prefix <= count; prefix++) {
        static const enum sim_disk_policy POLICIES[] = {SIM_DISK_NONE, SIM_DISK_ALL,
                                                        SIM_DISK_RANDOM, SIM_DISK_RANDOM};
        for (size_t i = 0; i < ARRAY_LEN(POLICIES); i++) {
            struct sim_disk *after =
                sim_disk_replay(recording, prefix, POLICIES[i], 1000 * prefix + i);
            judge(after, prefix);
            sim_disk_free(&after);
        }
    }
    sim_recording_free(&recording);
}

/* Backups ---------------------------------------------------------------------------------------
 */

static struct sim_disk *sim_target;
static uint32_t backups_done;
static enum status backup_status;

static enum status
open_target(void *context, struct disk *disk_out, char *why, size_t why_size)
{
    (void)context;
    (void)why;
    (void)why_size;
    *disk_out = disk_of_sim(sim_target);
    return STATUS_OK;
}

static void
close_target(void *context)
{
    (void)context;
}

static void
on_backed_up(void *context, struct backup *backup, enum status status)
{
    (void)context;
    (void)backup;
    backups_done++;
    backup_status = status;
}

static struct backup *
begin_backup(void)
{
    static const struct backup_target target = {.open = open_target, .close = close_target};
    struct backup *backup = backup_new(&target);
    sim_target = sim_disk_new();
    backups_done = 0;
    cr_assert(keeper_begin_backup(keeper, backup, on_backed_up, NULL));
    return backup;
}

/* The log never waits for a backup: segments are prepared and indexed between its steps. Nothing
 * that it may still need is removed. */
Test(keeper, backup_goes_on_beside_the_log_and_keeps_what_it_copies)
{
    uint64_t lsn = publish(LARGE);
    write_log();
    settle();
    for (size_t i = 0; i < 4; i++) {
        publish(LARGE);
    }
    write_log();
    struct backup *backup = begin_backup();
    cr_expect(not(keeper_begin_backup(keeper, backup, on_backed_up, NULL)), "one at a time");
    keeper_turn(keeper, journal, now_ms);
    while (job->type != IO_BACKUP) {
        run_job();
        keeper_turn(keeper, journal, now_ms);
    }
    uint64_t commit_lsn = journal_commit_lsn(journal);
    run_job();
    space_remove_row(keeper_space(keeper), lsn, space_row_octets(LARGE), journal_open_lsn(journal));
    for (size_t i = 0; i < 6; i++) {
        publish(LARGE);
    }
    write_log();
    bool has_prepared = false;
    while (backups_done == 0) {
        keeper_turn(keeper, journal, now_ms);
        cr_assert(job != NULL);
        cr_expect(ne(int, job->type, IO_RETIRE));
        cr_expect(ne(int, job->type, IO_SNAPSHOT));
        has_prepared |= job->type == IO_PREPARE;
        run_job();
        write_log();
    }
    cr_expect(has_prepared);
    cr_expect(eq(int, backup_status, STATUS_OK));
    cr_expect(eq(u64, backup_report(backup)->commit_lsn, commit_lsn));
    cr_expect(sim_disk_has(sim_target, STORE_MANIFEST_NAME));
    backup_free(&backup);
    sim_disk_free(&sim_target);
    settle();
}

Test(keeper, backup_is_given_up_at_the_end_and_where_room_is_short)
{
    publish(LARGE);
    write_log();
    settle();
    struct backup *backup = begin_backup();
    keeper_turn(keeper, journal, now_ms);
    run_job();
    keeper_end_backup(keeper, &disk);
    cr_expect(eq(u32, backups_done, 1));
    cr_expect(eq(int, backup_status, STATUS_REJECTED));
    cr_expect(eq(u32, sim_disk_file_count(sim_target), 0));
    backup_free(&backup);
    sim_disk_free(&sim_target);

    backup = begin_backup();
    keeper_turn(keeper, journal, now_ms);
    run_job();
    keeper_set_disk_is_low(keeper, true);
    settle();
    cr_expect(eq(u32, backups_done, 1));
    cr_expect(eq(int, backup_status, STATUS_REJECTED));
    cr_expect(strstr(backup_report(backup)->why, "nearly full") != NULL);
    backup_free(&backup);
    sim_disk_free(&sim_target);
}
