/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/data_directory.h"

#include "base/alloc.h"
#include "base/disk.h"
#include "broker/durability/durability.h"
#include "broker/durability/durable_topology.h"
#include "broker/paging/paging.h"
#include "store/keeper.h"
#include "store/recovery.h"
#include "store/threads.h"

#include <errno.h>
#include <inttypes.h>
#include <malloc.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    SPARES_WANTED = 2,
    FAILURE_TEXT_SIZE = 256,
    RELIEVE_ROWS = 16384, /* messages restored between two looks at how much memory they take */
};

struct data_directory {
    struct disk_directory *directory;
    struct disk disk;
    struct store_threads *threads;
    struct keeper *keeper;
    struct journal *journal;
    struct core *core;
    struct log *log;
    struct store_events events;
    enum log_level level; /* of the log, for the last line, which another thread writes */
    enum log_format format;
};

/* Failing -------------------------------------------------------------------------------------- */

/* On a thread of the store. The core's log belongs to its own thread, so the line goes through
 * another one. */
static void
on_fatal(void *context, const struct log_failure *failure)
{
    const struct data_directory *directory = context;
    struct log log;
    char error[FAILURE_TEXT_SIZE];
    log_init_stderr(&log, directory->level, directory->format);
    log_error(&log, "store.failed",
              "what=\"%s\" file=%s offset=%" PRIu64 " error=%s action=\"ending at once; the next "
              "start recovers what was confirmed\"",
              failure->what, failure->file, failure->offset,
              log_escape(error, sizeof(error), bytes_of(strerrordesc_np(failure->error))));
    _exit(DATA_DIRECTORY_EXIT_STATUS);
}

/* What the threads report ---------------------------------------------------------------------- */

static void
on_written(void *context, struct batch *batch)
{
    struct data_directory *directory = context;
    journal_batch_written(directory->journal, batch);
}

static void
on_committed(void *context, uint64_t commit_lsn)
{
    struct data_directory *directory = context;
    journal_committed(directory->journal, commit_lsn);
}

static void
on_job_done(void *context, struct io_job *job)
{
    struct data_directory *directory = context;
    if (job->type == IO_FETCH || job->type == IO_SPILL) {
        core_job_done(directory->core, job);
    } else {
        keeper_job_done(directory->keeper, job);
    }
}

void
data_directory_collect(struct data_directory *directory)
{
    store_threads_collect(directory->threads, &directory->events);
    core_on_written(directory->core);
    core_on_committed(directory->core);
}

void
data_directory_add_flushes(const struct data_directory *directory, struct store_flushes *flushes)
{
    store_threads_add_flushes(directory->threads, flushes);
}

int
data_directory_fd(const struct data_directory *directory)
{
    return store_threads_fd(directory->threads);
}

void
data_directory_turn(struct data_directory *directory)
{
    const struct disk_space *space = keeper_disk_space(directory->keeper);
    if (space != NULL) {
        core_set_disk_space(directory->core, space->free_bytes, space->total_bytes);
        keeper_set_disk_is_low(directory->keeper, core_disk_is_low(directory->core));
    }
    keeper_turn(directory->keeper, directory->journal, directory->core->now.monotonic_ms);
}

/* Before there are threads: the job is carried out at once. */
static void
run_job_now(void *context, struct io_job *job)
{
    struct data_directory *directory = context;
    io_job_run(job, &directory->disk, NULL);
    core_job_done(directory->core, job);
}

/* Opening -------------------------------------------------------------------------------------- */

struct restore {
    struct core *core;
    struct topology_restore topology;
    uint64_t row_count;
};

static enum status
restore_record(void *context, const struct record *record)
{
    struct restore *restore = context;
    return topology_restore_record(&restore->topology, record);
}

static enum status
restore_row(void *context, const struct recovered_row *row)
{
    struct restore *restore = context;
    if (++restore->row_count % RELIEVE_ROWS == 0) {
        core_relieve_recovery(restore->core);
    }
    return core_restore_row(restore->core, row);
}

static enum status
recover(struct data_directory *directory, const struct data_directory_settings *settings,
        struct recovery *recovery, char *why, size_t why_size)
{
    struct restore restore = {.core = directory->core};
    struct io_port port = {.submit = run_job_now, .context = directory};
    core_attach_paging(directory->core, &port);
    struct recovery_options options = {.slot_size = settings->segment_bytes, .may_write = true};
    struct recovery_sink sink = {.record = restore_record, .row = restore_row, .context = &restore};
    struct random_source random = random_system();
    topology_restore_init(&restore.topology, directory->core);
    enum status status = recovery_run(recovery, &directory->disk, &options, &sink, &random,
                                      directory->log, why, why_size);
    topology_restore_fini(&restore.topology);
    if (status != STATUS_OK && why[0] == '\0') {
        (void)snprintf(why, why_size, "the data directory %s cannot be restored; the log says why",
                       settings->path);
    }
    return status;
}

static bool
begin_segment(struct data_directory *directory, struct journal_settings *journal_out, char *why,
              size_t why_size)
{
    struct log_failure failure = {0};
    if (keeper_begin(directory->keeper, &directory->disk, journal_out, &failure) == STATUS_OK) {
        return true;
    }
    (void)snprintf(why, why_size, "cannot %s %s in the data directory: %s",
                   failure.what == NULL ? "make" : failure.what, failure.file,
                   strerrordesc_np(failure.error));
    return false;
}

static bool
begin(struct data_directory *directory, const struct data_directory_settings *settings,
      struct chunk_pool *pool, struct recovery *recovery, char *why, size_t why_size)
{
    directory->threads = store_threads_new(&directory->disk, on_fatal, directory);
    if (directory->threads == NULL) {
        (void)snprintf(why, why_size, "cannot start the threads of the store: %s",
                       strerrordesc_np(errno));
        return false;
    }
    struct keeper_settings keeper = {
        .slot_size = settings->segment_bytes,
        .spares_wanted = SPARES_WANTED,
        .may_pack = true,
    };
    struct io_port io = store_threads_io_port(directory->threads);
    uint64_t next_object_id = recovery->next_object_id;
    directory->keeper = keeper_new(&keeper, recovery, &io, directory->log);
    struct journal_settings journal;
    if (!begin_segment(directory, &journal, why, why_size)) {
        return false;
    }
    core_set_paging_port(directory->core, &io, journal.segment_base);
    struct journal_port port = store_threads_journal_port(directory->threads);
    directory->journal = journal_new(&journal, pool, &port);
    core_attach_store(directory->core, directory->journal, keeper_space(directory->keeper));
    core_complete_topology(directory->core, next_object_id);
    return true;
}

static void
log_recovery(struct data_directory *directory, const char *path, const struct recovery *recovery,
             uint64_t took_ms)
{
    char escaped[FAILURE_TEXT_SIZE];
    log_info(directory->log, "store.recovered",
             "dir=%s clean=%s new=%s records=%" PRIu64 " messages=%" PRIu64 " took_ms=%" PRIu64,
             log_escape(escaped, sizeof(escaped), bytes_of(path)),
             recovery->was_clean ? "yes" : "no", recovery->was_new ? "yes" : "no",
             recovery->record_count, recovery->row_count, took_ms);
}

/* What recovery needed besides what is there now goes back to the system; the allocator by itself
 * keeps it, between what stays. */
static void
end_recovery(struct recovery *recovery)
{
    enum { MANY_RECORDS = 10000 };
    bool was_large = recovery->record_count + recovery->row_count >= MANY_RECORDS;
    recovery_fini(recovery);
    if (was_large) {
        (void)malloc_trim(0);
    }
}

struct data_directory *
data_directory_open(const struct data_directory_settings *settings, struct core *core,
                    struct chunk_pool *pool, struct log *log, char *why, size_t why_size)
{
    struct data_directory *directory = xalloc(sizeof(*directory));
    directory->core = core;
    directory->log = log;
    directory->level = log->level;
    directory->format = log->format;
    directory->events = (struct store_events){
        .written = on_written,
        .committed = on_committed,
        .job_done = on_job_done,
        .context = directory,
    };
    struct clock_source clock = clock_system();
    uint64_t start_ms = clock.read(clock.context).monotonic_ms;
    struct recovery recovery = {0};
    why[0] = '\0';
    directory->directory = disk_directory_open(settings->path, why, why_size);
    bool is_open = false;
    if (directory->directory != NULL) {
        directory->disk = disk_of_directory(directory->directory);
        if (recover(directory, settings, &recovery, why, why_size) == STATUS_OK) {
            uint64_t now_ms = clock.read(clock.context).monotonic_ms;
            log_recovery(directory, settings->path, &recovery, now_ms - start_ms);
            is_open = begin(directory, settings, pool, &recovery, why, why_size);
        }
        end_recovery(&recovery);
    }
    if (!is_open) {
        data_directory_close(&directory);
    }
    return directory;
}

/* A backup ------------------------------------------------------------------------------------- */

/* One that is under way. */
struct directory_backup {
    struct data_directory *directory;
    struct backup *backup;
    struct backup_directory target;
    data_directory_backed_up *done;
    void *context;
};

static void
on_backed_up(void *context, struct backup *backup, enum status status)
{
    struct directory_backup *work = context;
    const struct backup_report *report = backup_report(backup);
    struct log *log = work->directory->log;
    char target[FAILURE_TEXT_SIZE];
    char why[FAILURE_TEXT_SIZE];
    log_escape(target, sizeof(target), bytes_of(work->target.path));
    if (status == STATUS_OK) {
        log_info(log, "store.backed_up",
                 "target=%s lsn=%" PRIu64 " linked=%" PRIu64 " copied=%" PRIu64 " octets=%" PRIu64,
                 target, report->commit_lsn, report->files_linked, report->files_copied,
                 report->octets_copied);
    } else {
        log_error(log, "store.backup_failed", "target=%s reason=%s", target,
                  log_escape(why, sizeof(why), bytes_of(report->why)));
    }
    work->done(work->context, status, report);
    backup_free(&work->backup);
    free((void *)(uintptr_t)work->target.path);
    free(work);
}

bool
data_directory_back_up(struct data_directory *directory, const char *path,
                       data_directory_backed_up *done, void *context)
{
    struct directory_backup *work = xalloc(sizeof(*work));
    *work = (struct directory_backup){
        .directory = directory,
        .target = {.path = xstrdup(path)},
        .done = done,
        .context = context,
    };
    struct backup_target target = backup_target_directory(&work->target);
    work->backup = backup_new(&target);
    if (keeper_begin_backup(directory->keeper, work->backup, on_backed_up, work)) {
        return true;
    }
    backup_free(&work->backup);
    free((void *)(uintptr_t)work->target.path);
    free(work);
    return false;
}

/* Closing -------------------------------------------------------------------------------------- */

/* Everything that was handed over is carried out and reported back. */
static void
drain(struct data_directory *directory)
{
    /* For want of room the next segment may not be had: what waits for it was promised to nobody.
     */
    enum { TRIES_MAX = 8, TRY_MS = 10000 };
    uint64_t now_ms = directory->core->now.monotonic_ms;
    (void)journal_seal(directory->journal, true);
    for (int i = 0; i < TRIES_MAX; i++) {
        bool is_done = store_threads_drain(directory->threads);
        store_threads_collect(directory->threads, &directory->events);
        if (is_done && !keeper_is_busy(directory->keeper)) {
            return;
        }
        now_ms += TRY_MS;
        keeper_turn(directory->keeper, directory->journal, now_ms);
    }
    (void)store_threads_drain(directory->threads);
    store_threads_collect(directory->threads, &directory->events);
}

/* Marks the directory as clean. For want of room that can be left undone. */
static void
finish(struct data_directory *directory)
{
    struct log_failure failure = {0};
    enum status status =
        keeper_finish(directory->keeper, &directory->disk, directory->journal, &failure);
    if (status == STATUS_OK) {
        return;
    }
    if (status == STATUS_IO && !log_failure_is_no_room(&failure)) {
        on_fatal(directory, &failure);
    }
    log_warn(directory->log, "store.not_marked_clean", "status=%s file=%s error=\"%s\"",
             status_name(status), failure.file, strerrordesc_np(failure.error));
}

void
data_directory_close(struct data_directory **directory_pointer)
{
    struct data_directory *directory = *directory_pointer;
    if (directory == NULL) {
        return;
    }
    *directory_pointer = NULL;
    if (directory->journal != NULL) {
        drain(directory);
        keeper_end_backup(directory->keeper, &directory->disk);
        finish(directory);
        core_attach_store(directory->core, NULL, NULL);
    }
    core_set_paging_port(directory->core, NULL, 0);
    store_threads_free(&directory->threads, &directory->events);
    journal_free(&directory->journal);
    keeper_free(&directory->keeper);
    disk_directory_close(&directory->directory);
    free(directory);
}
