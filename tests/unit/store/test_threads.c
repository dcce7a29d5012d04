/* SPDX-License-Identifier: Apache-2.0 */
/* The threads around the log, with a journal in front and a simulated disk behind. */
#include "store/threads.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <string.h>

#include "base/assert.h"
#include "tests/support/sim_disk.h"

enum { SLOT = 64 * 1024 };

static struct sim_disk *sim;
static struct disk disk;
static struct chunk_pool *pool;
static struct store_threads *threads;
static struct journal *journal;
static struct io_port io_port;
static uint32_t written_count;
static uint32_t jobs_done;
static struct log_failure fatal_failure;
static bool is_dead;
static pthread_mutex_t fatal_mutex = PTHREAD_MUTEX_INITIALIZER;

/* Flushes of the directory wait while they are held. */
static struct {
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    bool are_held;
    bool is_waiting;
} names = {.mutex = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};

/* Stands for the end of the process: the thread that calls it does nothing any more. */
static void
die(void *context, const struct log_failure *failure)
{
    (void)context;
    pthread_mutex_lock(&fatal_mutex);
    fatal_failure = *failure;
    is_dead = true;
    pthread_mutex_unlock(&fatal_mutex);
    pthread_exit(NULL);
}

static bool
has_died(void)
{
    pthread_mutex_lock(&fatal_mutex);
    bool result = is_dead;
    pthread_mutex_unlock(&fatal_mutex);
    return result;
}

static enum status
flush_directory_if_not_held(void *context)
{
    pthread_mutex_lock(&names.mutex);
    names.is_waiting = names.are_held;
    pthread_cond_broadcast(&names.changed);
    while (names.are_held) {
        pthread_cond_wait(&names.changed, &names.mutex);
    }
    pthread_mutex_unlock(&names.mutex);
    return disk_of_sim(sim).flush_directory(context);
}

static void
hold_names(bool are_held)
{
    pthread_mutex_lock(&names.mutex);
    names.are_held = are_held;
    pthread_cond_broadcast(&names.changed);
    pthread_mutex_unlock(&names.mutex);
}

static void
wait_until_a_name_is_held(void)
{
    pthread_mutex_lock(&names.mutex);
    while (!names.is_waiting) {
        pthread_cond_wait(&names.changed, &names.mutex);
    }
    pthread_mutex_unlock(&names.mutex);
}

static struct segment_header
header_of(uint64_t number)
{
    return (struct segment_header){
        .number = number,
        .base_lsn = number * SLOT,
        .slot_size = SLOT,
        .capacity = SLOT,
        .epoch = 1,
    };
}

static void
prepare(uint64_t number)
{
    struct segment_header header = header_of(number);
    cr_assert(eq(int, segment_prepare(&disk, &header, 0, NULL), STATUS_OK));
}

static void
set_up(void)
{
    sim = sim_disk_new();
    disk = disk_of_sim(sim);
    disk.flush_directory = flush_directory_if_not_held;
    pool = chunk_pool_new();
    threads = store_threads_new(&disk, die, NULL);
    cr_assert(threads != NULL);
    struct journal_port port = store_threads_journal_port(threads);
    io_port = store_threads_io_port(threads);
    struct journal_settings settings = {
        .epoch = 1,
        .segment_number = 1,
        .segment_base = SLOT,
        .segment_capacity = SLOT,
        .slot_size = SLOT,
    };
    journal = journal_new(&settings, pool, &port);
    written_count = 0;
    jobs_done = 0;
}

static void
on_written(void *context, struct batch *batch)
{
    (void)context;
    written_count++;
    journal_batch_written(journal, batch);
}

static void
on_committed(void *context, uint64_t commit_lsn)
{
    (void)context;
    journal_committed(journal, commit_lsn);
}

static void
on_job(void *context, struct io_job *job)
{
    (void)context;
    (void)job;
    jobs_done++;
}

static const struct store_events EVENTS = {
    .written = on_written, .committed = on_committed, .job_done = on_job};

static void
tear_down(void)
{
    store_threads_free(&threads, &EVENTS);
    journal_free(&journal);
    chunk_pool_free(&pool);
    sim_disk_free(&sim);
}

TestSuite(threads, .init = set_up, .fini = tear_down);

/* One message of `size` octets. */
static void
publish(uint32_t size)
{
    struct content_shape shape = {.body_size = size, .kind = CHUNK_KIND_PERSISTENT};
    struct content_ref content;
    uint8_t *body;
    cr_assert(eq(int, chunk_pool_reserve(pool, &shape, &content, &body), STATUS_OK));
    memset(body, 'x', size);
    uint64_t queue = 1;
    uint64_t lsn;
    cr_assert(eq(int, journal_publish(journal, content, &queue, 1, &lsn), STATUS_OK));
    chunk_pool_release(pool, content);
}

/* Waits until something has come back, and takes it. */
static void
collect(void)
{
    struct pollfd wait = {.fd = store_threads_fd(threads), .events = POLLIN};
    cr_assert(eq(int, poll(&wait, 1, 30 * 1000), 1));
    store_threads_collect(threads, &EVENTS);
}

/* I1: what is reported as committed was written and flushed before. */
Test(threads, a_batch_that_wants_it_is_written_flushed_and_committed)
{
    prepare(1);
    uint64_t flushes = sim_disk_call_count(sim, SIM_DISK_FLUSH);
    publish(100);
    uint64_t token = journal_token(journal);
    cr_assert(journal_seal(journal, true));
    while (!journal_token_is_committed(journal_token(journal), journal_commit_lsn(journal))) {
        collect();
    }
    cr_expect(ge(u64, journal_commit_lsn(journal), token));
    cr_expect(eq(u32, written_count, 1));
    cr_expect(eq(u64, sim_disk_call_count(sim, SIM_DISK_FLUSH), flushes + 1));
    cr_expect(eq(u64, journal_backlog_octets(journal), 0));
}

/* Part 7: what nobody waits for is written at once and flushed with what comes later. */
Test(threads, a_batch_that_nobody_waits_for_is_written_and_not_flushed)
{
    prepare(1);
    uint64_t flushes = sim_disk_call_count(sim, SIM_DISK_FLUSH);
    publish(100);
    cr_assert(journal_seal(journal, false));
    cr_assert(store_threads_drain(threads));
    store_threads_collect(threads, &EVENTS);
    cr_expect(eq(u32, written_count, 1));
    cr_expect(eq(u64, journal_commit_lsn(journal), 0));
    cr_expect(eq(u64, sim_disk_call_count(sim, SIM_DISK_FLUSH), flushes));
    cr_assert(journal_seal(journal, true), "an empty batch that wants the flush");
    cr_assert(store_threads_drain(threads));
    store_threads_collect(threads, &EVENTS);
    cr_expect(eq(u64, journal_commit_lsn(journal), journal_written_lsn(journal)));
    cr_expect(eq(u64, sim_disk_call_count(sim, SIM_DISK_FLUSH), flushes + 1));
}

static bool
asks_to_be_collected(void)
{
    struct pollfd now = {.fd = store_threads_fd(threads), .events = POLLIN};
    return poll(&now, 1, 0) == 1;
}

/* An acknowledgement costs the core no turn of its own. */
Test(threads, a_small_batch_that_nobody_waits_for_wakes_nobody)
{
    prepare(1);
    publish(100);
    cr_assert(journal_seal(journal, false));
    cr_assert(store_threads_drain(threads));
    cr_expect(not(asks_to_be_collected()));
    store_threads_collect(threads, &EVENTS);
    cr_expect(eq(u32, written_count, 1), "it is there for whoever looks");
}

Test(threads, a_mark_that_a_consumer_waits_for_is_reported_before_any_flush)
{
    prepare(1);
    journal_hand_out(journal, 1, SLOT + 128);
    cr_assert(journal_seal(journal, false));
    collect();
    cr_expect(eq(u32, written_count, 1));
    cr_expect(eq(u64, journal_commit_lsn(journal), 0));
}

Test(threads, contents_that_amount_to_something_go_back_before_any_flush)
{
    prepare(1);
    publish(20 * 1000);
    cr_assert(journal_seal(journal, false));
    cr_assert(store_threads_drain(threads));
    cr_expect(not(asks_to_be_collected()));
    publish(20 * 1000);
    cr_assert(journal_seal(journal, false));
    collect();
    cr_expect(eq(u32, written_count, 2));
    cr_expect(eq(u64, journal_commit_lsn(journal), 0));
}

/* Part 7: without a spare the log thread waits for one. */
Test(threads, the_log_waits_for_its_segment_and_goes_on_when_it_is_prepared)
{
    prepare(1);
    for (uint32_t i = 0; i < 3; i++) {
        publish(30 * 1000);
        cr_assert(journal_seal(journal, true));
    }
    cr_expect(not(store_threads_drain(threads)), "the third message is in segment 2");
    store_threads_collect(threads, &EVENTS);
    cr_expect(eq(u32, written_count, 2));
    cr_expect(eq(u64, journal_commit_lsn(journal), journal_written_lsn(journal)));
    cr_expect(ge(u64, journal_backlog_octets(journal), 1));

    struct io_job job = {.type = IO_PREPARE, .prepare = {.header = header_of(2)}};
    io_port.submit(io_port.context, &job);
    cr_assert(store_threads_drain(threads));
    store_threads_collect(threads, &EVENTS);
    cr_expect(eq(u32, jobs_done, 1));
    cr_expect(eq(int, job.status, STATUS_OK));
    cr_expect(eq(u64, journal_commit_lsn(journal), journal_token(journal)));
}

/* I1: a segment whose name may be lost with the power is there to be written, but commits nothing.
 */
Test(threads, nothing_is_committed_in_a_segment_before_its_name_is_on_the_disk)
{
    prepare(1);
    hold_names(true);
    struct io_job job = {.type = IO_PREPARE, .prepare = {.header = header_of(2)}};
    io_port.submit(io_port.context, &job);
    wait_until_a_name_is_held();
    for (uint32_t i = 0; i < 3; i++) {
        publish(30 * 1000);
        cr_assert(journal_seal(journal, true));
    }
    while (written_count < 3) {
        collect();
    }
    /* A commit would come now: nobody tells that none does. */
    struct pollfd wait = {.fd = store_threads_fd(threads), .events = POLLIN};
    (void)poll(&wait, 1, 50);
    store_threads_collect(threads, &EVENTS);
    cr_expect(lt(u64, journal_commit_lsn(journal), 2 * SLOT));
    hold_names(false);
    cr_assert(store_threads_drain(threads));
    store_threads_collect(threads, &EVENTS);
    cr_expect(eq(u64, journal_commit_lsn(journal), journal_token(journal)));
}

/* Part 7: what gathers while the log's thread is busy costs one call. */
Test(threads, batches_that_wait_are_written_in_one_call)
{
    uint64_t before = sim_disk_call_count(sim, SIM_DISK_WRITE);
    prepare(2);
    uint64_t of_prepare = sim_disk_call_count(sim, SIM_DISK_WRITE) - before;
    for (uint32_t i = 0; i < 20; i++) {
        publish(100);
        cr_assert(journal_seal(journal, true));
    }
    cr_expect(not(store_threads_drain(threads)), "segment 1 is not there");
    struct io_job job = {.type = IO_PREPARE, .prepare = {.header = header_of(1)}};
    io_port.submit(io_port.context, &job);
    cr_assert(store_threads_drain(threads));
    uint64_t writes = sim_disk_call_count(sim, SIM_DISK_WRITE) - before - 2 * of_prepare;
    cr_expect(ge(u64, writes, 1));
    cr_expect(le(u64, writes, 2), "those that were there when it began to wait, and the others");
    store_threads_collect(threads, &EVENTS);
    cr_expect(eq(u32, written_count, 20));
    cr_expect(eq(u64, journal_commit_lsn(journal), journal_token(journal)));
}

/* What was just written is not read again: that took a sixth of the instructions of a message. */
Test(threads, the_index_of_a_full_segment_is_made_without_reading_it)
{
    prepare(1);
    prepare(2);
    for (uint32_t i = 0; i < 3; i++) {
        publish(30 * 1000);
        cr_assert(journal_seal(journal, true));
    }
    cr_assert(store_threads_drain(threads));
    uint64_t reads = sim_disk_call_count(sim, SIM_DISK_READ);
    const struct journal_segment *left = journal_oldest_left(journal);
    struct io_job job = {.type = IO_INDEX,
                         .index = {.number = left->number, .end_lsn = left->end_lsn}};
    io_port.submit(io_port.context, &job);
    cr_assert(store_threads_drain(threads));
    store_threads_collect(threads, &EVENTS);
    cr_expect(eq(u32, jobs_done, 1));
    cr_expect(eq(int, job.status, STATUS_OK));
    cr_expect(eq(u64, sim_disk_call_count(sim, SIM_DISK_READ), reads));
    cr_expect(ne(sz, sim_disk_content(sim, "seg.0000000000000001.idx").size, 0));
}

/* At an end with an error, nothing hangs that waits for a segment. */
Test(threads, threads_end_although_a_segment_never_comes)
{
    publish(100);
    cr_assert(journal_seal(journal, true));
    cr_expect(not(store_threads_drain(threads)));
}

/* F5, I9: nothing is written, flushed or reported after a flush that failed. */
Test(threads, a_failed_flush_of_the_log_ends_everything)
{
    prepare(1);
    sim_disk_fail(sim, SIM_DISK_FLUSH, 1, EIO);
    publish(100);
    cr_assert(journal_seal(journal, true));
    while (!has_died()) {
        poll(NULL, 0, 1);
    }
    cr_expect(eq(str, (char *)fatal_failure.what, (char *)"flush"));
    cr_expect(eq(str, fatal_failure.file, (char *)"seg.0000000000000001"));
    cr_expect(eq(int, fatal_failure.error, EIO));
    uint64_t writes = sim_disk_call_count(sim, SIM_DISK_WRITE);
    publish(100);
    cr_assert(journal_seal(journal, true));
    store_threads_collect(threads, &EVENTS);
    cr_expect(eq(u64, journal_commit_lsn(journal), 0));
    cr_expect(eq(u64, sim_disk_call_count(sim, SIM_DISK_WRITE), writes));
}

/* F3: no room for a segment ahead is no reason to end; it is the keeper's to try again. */
Test(threads, a_segment_that_finds_no_room_is_reported_and_ends_nothing)
{
    sim_disk_set_capacity(sim, SLOT / 2);
    struct io_job job = {.type = IO_PREPARE, .prepare = {.header = header_of(1)}};
    io_port.submit(io_port.context, &job);
    while (jobs_done == 0) {
        collect();
    }
    cr_expect(eq(int, job.status, STATUS_IO));
    cr_expect(eq(int, job.failure.error, ENOSPC));
    cr_expect(not(has_died()));
}

/* I9: names that may or may not be on the disk. */
Test(threads, a_failed_flush_of_the_directory_ends_everything)
{
    sim_disk_fail(sim, SIM_DISK_FLUSH_DIRECTORY, 1, EIO);
    struct io_job job = {.type = IO_PREPARE, .prepare = {.header = header_of(1)}};
    io_port.submit(io_port.context, &job);
    while (!has_died()) {
        poll(NULL, 0, 1);
    }
    cr_expect(eq(str, (char *)fatal_failure.what, (char *)STORE_FLUSH_DIRECTORY));
}

/* Many batches from a core that does not wait: each comes back once, in order, and all commit. */
Test(threads, a_stream_of_batches_comes_back_in_order)
{
    enum { BATCHES = 2000 };
    for (uint64_t number = 1; number <= 12; number++) {
        prepare(number);
    }
    for (uint32_t i = 0; i < BATCHES; i++) {
        publish(200);
        cr_assert(journal_seal(journal, i % 3 == 0));
        store_threads_collect(threads, &EVENTS);
    }
    (void)journal_seal(journal, true);
    cr_assert(store_threads_drain(threads));
    store_threads_collect(threads, &EVENTS);
    cr_expect(ge(u32, written_count, BATCHES));
    cr_expect(eq(u64, journal_commit_lsn(journal), journal_token(journal)));
    cr_expect(eq(u64, journal_backlog_octets(journal), 0));
}
