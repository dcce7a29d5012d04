/* SPDX-License-Identifier: Apache-2.0 */
#include "store/threads.h"

#include "base/alloc.h"
#include "base/assert.h"
#include "store/fetch.h"
#include "store/index_shelf.h"
#include "store/log_writer.h"
#include "store/spill.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

/* A thread that carries out jobs, one after the other. */
struct worker {
    struct store_threads *threads;
    pthread_t thread;
    bool is_started;
    bool is_busy;
    uint64_t preparing; /* number of the segment that it is preparing; 0: none */
    struct list jobs;
    pthread_cond_t work;
};

struct store_threads {
    struct disk disk;
    store_fatal *fatal;
    void *fatal_context;
    int event_fd;
    struct log_writer *writer; /* the log thread's */
    struct index_shelf *shelf; /* the log thread fills it, the keeper's takes */
    uint64_t collected_lsn;    /* the core's: the last that it was told */

    pthread_mutex_t mutex; /* guards everything below it */
    pthread_t log_thread;
    bool log_is_started;
    bool log_is_busy;
    bool log_wants_segment; /* it waits for a segment, and none was prepared since */
    struct list batches;
    pthread_cond_t log_work;
    uint64_t prepared_count; /* jobs that prepared a segment, or tried to */
    struct worker fetch;
    struct worker other;
    bool is_stopping;
    pthread_cond_t quiet; /* somebody has come to rest */

    /* To be collected. */
    struct list written;
    struct list done;
    uint64_t durable_lsn;
    bool is_signalled; /* event_fd was written since the last collection */

    struct store_flushes flushes;
};

const uint64_t store_flush_bounds_us[FLUSH_BUCKET_COUNT] = {
    50, 100, 250, 500, 1000, 2500, 5000, 10000, 25000, 50000, 100000, 250000, 1000000, UINT64_MAX,
};

/* Moves everything from one list to the end of another. */
static void
list_move(struct list *from, struct list *to)
{
    for (struct list_link *link; (link = list_pop(from)) != NULL;) {
        list_append(to, link);
    }
}

/* Says that something can be collected; called with the mutex, which it releases. */
static void
unlock_and_signal(struct store_threads *threads)
{
    bool must_signal = !threads->is_signalled;
    threads->is_signalled = true;
    pthread_mutex_unlock(&threads->mutex);
    if (must_signal) {
        eventfd_write(threads->event_fd, 1);
    }
}

/* The log thread ------------------------------------------------------------------------------- */

/* What the log thread took at once, and what it has to say. */
struct round {
    struct list waiting;
    struct list written;
    bool wants_flush;
    bool wants_report;       /* the core waits for what was written */
    uint64_t unreported;     /* octets written since the core was last woken */
    uint64_t segment_number; /* of the last batch written; 0: none was */
    uint64_t prepared_count; /* when it last looked */
};

/* Waits for batches; false when there are none and the threads are to end. */
static bool
round_take(struct store_threads *threads, struct round *round)
{
    pthread_mutex_lock(&threads->mutex);
    threads->log_is_busy = false;
    pthread_cond_broadcast(&threads->quiet);
    while (list_is_empty(&threads->batches) && !threads->is_stopping) {
        pthread_cond_wait(&threads->log_work, &threads->mutex);
    }
    list_move(&threads->batches, &round->waiting);
    threads->log_is_busy = !list_is_empty(&round->waiting);
    round->prepared_count = threads->prepared_count;
    pthread_mutex_unlock(&threads->mutex);
    return !list_is_empty(&round->waiting);
}

/* Lays out what was written, and how far the log is on the disk, for the core to collect; wakes it
 * if told to. */
static void
round_publish(struct store_threads *threads, struct round *round, bool must_wake)
{
    pthread_mutex_lock(&threads->mutex);
    list_move(&round->written, &threads->written);
    threads->durable_lsn = log_writer_durable_lsn(threads->writer);
    if (!must_wake) {
        pthread_mutex_unlock(&threads->mutex);
        return;
    }
    round->wants_report = false;
    round->unreported = 0;
    unlock_and_signal(threads);
}

static uint64_t
read_clock_us(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

static void
count_flush(struct store_threads *threads, uint64_t took_us)
{
    unsigned bucket = 0;
    while (took_us > store_flush_bounds_us[bucket]) {
        bucket++;
    }
    pthread_mutex_lock(&threads->mutex);
    threads->flushes.counts[bucket]++;
    threads->flushes.sum_us += took_us;
    pthread_mutex_unlock(&threads->mutex);
}

/* A segment can be opened, and written, as soon as it has its name, which is on the disk only when
 * the job that prepares it is done. Until then a power cut may take the name away, and with it what
 * is flushed. */
static void
wait_for_name(struct store_threads *threads, const struct round *round)
{
    pthread_mutex_lock(&threads->mutex);
    while (round->segment_number != 0 && threads->other.preparing == round->segment_number) {
        pthread_cond_wait(&threads->log_work, &threads->mutex);
    }
    pthread_mutex_unlock(&threads->mutex);
}

/* Before the flush, which takes longest, the core is woken only for what is worth it: contents that
 * go back, a mark that a consumer waits for. Every flush wakes it anyhow, and what wants none is
 * flushed within 100 ms. */
static void
round_flush(struct store_threads *threads, struct round *round)
{
    enum { WORTH_WAKING_OCTETS = 32 * 1024 };
    round_publish(threads, round, round->wants_report || round->unreported >= WORTH_WAKING_OCTETS);
    struct log_failure failure;
    if (!round->wants_flush) {
        return;
    }
    wait_for_name(threads, round);
    uint64_t began_us = read_clock_us();
    if (log_writer_flush(threads->writer, &failure) != STATUS_OK) {
        threads->fatal(threads->fatal_context, &failure);
    }
    count_flush(threads, read_clock_us() - began_us);
    round->wants_flush = false;
    round_publish(threads, round, true);
}

static bool
is_quiet(const struct worker *worker)
{
    return !worker->is_busy && list_is_empty(&worker->jobs);
}

/* Waits until another segment is prepared; false when that will not happen. */
static bool
wait_for_segment(struct store_threads *threads, struct round *round)
{
    pthread_mutex_lock(&threads->mutex);
    threads->log_wants_segment = threads->prepared_count == round->prepared_count;
    pthread_cond_broadcast(&threads->quiet);
    while (threads->log_wants_segment && !(threads->is_stopping && is_quiet(&threads->other))) {
        pthread_cond_wait(&threads->log_work, &threads->mutex);
    }
    bool is_prepared = !threads->log_wants_segment;
    threads->log_wants_segment = false;
    round->prepared_count = threads->prepared_count;
    pthread_mutex_unlock(&threads->mutex);
    return is_prepared;
}

static void
round_add_written(struct round *round, struct list *written)
{
    for (struct list_link *link; (link = list_pop(written)) != NULL;) {
        const struct batch *batch = CONTAINER_OF(link, struct batch, link);
        round->wants_flush |= batch->wants_flush;
        round->wants_report |= batch->wants_report;
        round->unreported += batch_size(batch);
        round->segment_number = batch->segment_number;
        list_append(&round->written, link);
    }
}

/* Writes what was taken. False when the segment of the next batch will never come. */
static bool
round_write(struct store_threads *threads, struct round *round)
{
    struct list written;
    list_init(&written);
    while (!list_is_empty(&round->waiting)) {
        struct log_failure failure;
        enum status status = log_writer_write(threads->writer, &round->waiting, &written, &failure);
        if (status == STATUS_AGAIN) {
            round_flush(threads, round);
            if (!wait_for_segment(threads, round)) {
                return false;
            }
            continue;
        }
        if (status != STATUS_OK) {
            threads->fatal(threads->fatal_context, &failure);
        }
        round_add_written(round, &written);
    }
    return true;
}

/* Batches whose segment never came. The contents that they hold stay counted: whoever gives up a
 * log gives up its memory as well. */
static void
drop_batches(struct list *batches)
{
    for (struct list_link *link; (link = list_pop(batches)) != NULL;) {
        struct batch *batch = CONTAINER_OF(link, struct batch, link);
        batch->held_count = 0;
        batch_free(&batch);
    }
}

static void *
run_log(void *context)
{
    struct store_threads *threads = context;
    struct round round = {.wants_flush = false};
    list_init(&round.waiting);
    list_init(&round.written);
    while (round_take(threads, &round)) {
        if (!round_write(threads, &round)) {
            drop_batches(&round.waiting);
            break;
        }
        round_flush(threads, &round);
    }
    return NULL;
}

/* The threads that carry out jobs -------------------------------------------------------------- */

static uint64_t
prepared_by(const struct io_job *job)
{
    return job != NULL && job->type == IO_PREPARE ? job->prepare.header.number : 0;
}

static struct io_job *
worker_take(struct worker *worker)
{
    struct store_threads *threads = worker->threads;
    pthread_mutex_lock(&threads->mutex);
    worker->is_busy = false;
    pthread_cond_broadcast(&threads->quiet);
    pthread_cond_signal(&threads->log_work); /* it may wait for a job of this thread */
    while (list_is_empty(&worker->jobs) && !threads->is_stopping) {
        pthread_cond_wait(&worker->work, &threads->mutex);
    }
    struct list_link *link = list_pop(&worker->jobs);
    struct io_job *job = link == NULL ? NULL : CONTAINER_OF(link, struct io_job, link);
    worker->is_busy = job != NULL;
    worker->preparing = prepared_by(job);
    pthread_mutex_unlock(&threads->mutex);
    return job;
}

static void *
run_worker(void *context)
{
    struct worker *worker = context;
    struct store_threads *threads = worker->threads;
    struct fetch_files *files = worker == &threads->fetch ? fetch_files_new(&threads->disk) : NULL;
    for (struct io_job *job; (job = worker_take(worker)) != NULL;) {
        io_job_take_kept(job, threads->shelf);
        io_job_run(job, &threads->disk, files);
        if (job->is_fatal) {
            threads->fatal(threads->fatal_context, &job->failure);
        }
        pthread_mutex_lock(&threads->mutex);
        if (job->type == IO_PREPARE) {
            threads->prepared_count++;
            threads->log_wants_segment = false;
            worker->preparing = 0;
            pthread_cond_signal(&threads->log_work);
        }
        list_append(&threads->done, &job->link);
        unlock_and_signal(threads);
    }
    fetch_files_free(&files);
    return NULL;
}

/* Starting and stopping ------------------------------------------------------------------------ */

static void
worker_init(struct worker *worker, struct store_threads *threads)
{
    worker->threads = threads;
    list_init(&worker->jobs);
    pthread_cond_init(&worker->work, NULL);
}

/* The name tells the threads apart in top -H and perf. */
static int
start_one(pthread_t *thread, const pthread_attr_t *attributes, void *(*run)(void *), void *context,
          const char *name)
{
    int error = pthread_create(thread, attributes, run, context);
    if (error == 0) {
        pthread_setname_np(*thread, name);
    }
    return error;
}

static int
start_all(struct store_threads *threads, const pthread_attr_t *attributes)
{
    int error = start_one(&threads->log_thread, attributes, run_log, threads, "bourse-log");
    threads->log_is_started = error == 0;
    struct worker *workers[] = {&threads->fetch, &threads->other};
    static const char *const names[] = {"bourse-fetch", "bourse-keeper"};
    for (size_t i = 0; i < ARRAY_LEN(workers) && error == 0; i++) {
        error = start_one(&workers[i]->thread, attributes, run_worker, workers[i], names[i]);
        workers[i]->is_started = error == 0;
    }
    return error;
}

/* Signals are the core's. */
static bool
start(struct store_threads *threads)
{
    static const size_t STACK_SIZE = 1024 * 1024;
    pthread_attr_t attributes;
    int error = pthread_attr_init(&attributes);
    if (error != 0) {
        errno = error;
        return false;
    }
    error = pthread_attr_setstacksize(&attributes, STACK_SIZE);
    sigset_t all;
    sigset_t before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    if (error == 0) {
        error = start_all(threads, &attributes);
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attributes);
    errno = error;
    return error == 0;
}

struct store_threads *
store_threads_new(const struct disk *disk, store_fatal *fatal, void *context)
{
    struct store_threads *threads = xalloc(sizeof(*threads));
    threads->disk = *disk;
    threads->fatal = fatal;
    threads->fatal_context = context;
    threads->writer = log_writer_new(&threads->disk);
    threads->shelf = index_shelf_new();
    log_writer_set_shelf(threads->writer, threads->shelf);
    pthread_mutex_init(&threads->mutex, NULL);
    pthread_cond_init(&threads->log_work, NULL);
    pthread_cond_init(&threads->quiet, NULL);
    list_init(&threads->batches);
    list_init(&threads->written);
    list_init(&threads->done);
    worker_init(&threads->fetch, threads);
    worker_init(&threads->other, threads);
    threads->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (threads->event_fd < 0 || !start(threads)) {
        int error = errno;
        store_threads_free(&threads, NULL);
        errno = error;
    }
    return threads;
}

static void
stop(struct store_threads *threads)
{
    pthread_mutex_lock(&threads->mutex);
    threads->is_stopping = true;
    pthread_cond_broadcast(&threads->log_work);
    pthread_cond_broadcast(&threads->fetch.work);
    pthread_cond_broadcast(&threads->other.work);
    pthread_mutex_unlock(&threads->mutex);
    if (threads->fetch.is_started) {
        pthread_join(threads->fetch.thread, NULL);
    }
    if (threads->other.is_started) {
        pthread_join(threads->other.thread, NULL);
    }
    if (threads->log_is_started) {
        pthread_join(threads->log_thread, NULL);
    }
}

void
store_threads_free(struct store_threads **threads_pointer, const struct store_events *events)
{
    struct store_threads *threads = *threads_pointer;
    if (threads == NULL) {
        return;
    }
    *threads_pointer = NULL;
    stop(threads);
    if (events != NULL) {
        store_threads_collect(threads, events);
    }
    drop_batches(&threads->batches);
    drop_batches(&threads->written);
    if (threads->event_fd >= 0) {
        close(threads->event_fd);
    }
    log_writer_free(&threads->writer);
    index_shelf_free(&threads->shelf);
    pthread_cond_destroy(&threads->fetch.work);
    pthread_cond_destroy(&threads->other.work);
    pthread_cond_destroy(&threads->quiet);
    pthread_cond_destroy(&threads->log_work);
    pthread_mutex_destroy(&threads->mutex);
    free(threads);
}

/* The core's side ------------------------------------------------------------------------------ */

static void
submit_batch(void *context, struct batch *batch)
{
    struct store_threads *threads = context;
    pthread_mutex_lock(&threads->mutex);
    list_append(&threads->batches, &batch->link);
    pthread_mutex_unlock(&threads->mutex);
    /* Without the mutex, which the thread that wakes wants first. */
    pthread_cond_signal(&threads->log_work);
}

struct journal_port
store_threads_journal_port(struct store_threads *threads)
{
    return (struct journal_port){.submit = submit_batch, .context = threads};
}

static void
submit_job(void *context, struct io_job *job)
{
    struct store_threads *threads = context;
    bool is_awaited = job->type == IO_FETCH ||
                      (job->type == IO_SPILL && !job->spill->is_write && !job->spill->is_removal);
    struct worker *worker = is_awaited ? &threads->fetch : &threads->other;
    pthread_mutex_lock(&threads->mutex);
    list_append(&worker->jobs, &job->link);
    pthread_mutex_unlock(&threads->mutex);
    pthread_cond_signal(&worker->work);
}

struct io_port
store_threads_io_port(struct store_threads *threads)
{
    return (struct io_port){.submit = submit_job, .context = threads};
}

int
store_threads_fd(const struct store_threads *threads)
{
    return threads->event_fd;
}

void
store_threads_collect(struct store_threads *threads, const struct store_events *events)
{
    eventfd_t count;
    (void)eventfd_read(threads->event_fd, &count);
    struct list written;
    struct list done;
    list_init(&written);
    list_init(&done);
    pthread_mutex_lock(&threads->mutex);
    threads->is_signalled = false;
    list_move(&threads->written, &written);
    list_move(&threads->done, &done);
    uint64_t durable_lsn = threads->durable_lsn;
    pthread_mutex_unlock(&threads->mutex);
    for (struct list_link *link; (link = list_pop(&written)) != NULL;) {
        events->written(events->context, CONTAINER_OF(link, struct batch, link));
    }
    if (durable_lsn != threads->collected_lsn) {
        threads->collected_lsn = durable_lsn;
        events->committed(events->context, durable_lsn);
    }
    for (struct list_link *link; (link = list_pop(&done)) != NULL;) {
        events->job_done(events->context, CONTAINER_OF(link, struct io_job, link));
    }
}

bool
store_threads_drain(struct store_threads *threads)
{
    pthread_mutex_lock(&threads->mutex);
    for (;;) {
        bool jobs_are_done = is_quiet(&threads->other) && is_quiet(&threads->fetch);
        bool log_is_done = !threads->log_is_busy && list_is_empty(&threads->batches);
        if (jobs_are_done && (log_is_done || threads->log_wants_segment)) {
            pthread_mutex_unlock(&threads->mutex);
            return log_is_done;
        }
        pthread_cond_wait(&threads->quiet, &threads->mutex);
    }
}

void
store_threads_add_flushes(struct store_threads *threads, struct store_flushes *flushes)
{
    pthread_mutex_lock(&threads->mutex);
    for (unsigned i = 0; i < FLUSH_BUCKET_COUNT; i++) {
        flushes->counts[i] += threads->flushes.counts[i];
    }
    flushes->sum_us += threads->flushes.sum_us;
    pthread_mutex_unlock(&threads->mutex);
}
