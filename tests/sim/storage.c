/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/sim/storage.h"

#include <errno.h>

#include "base/assert.h"
#include "broker/durability/durability.h"
#include "broker/durability/durable_topology.h"
#include "broker/paging/paging.h"
#include "store/recovery.h"

void
storage_init(struct storage *storage, struct sim_disk *files, enum mutant mutant,
             struct trace *trace)
{
    struct disk disk = disk_of_sim(files);
    *storage = (struct storage){
        .files = files,
        .disk = mutant_disk(&disk, mutant),
        .log_disk = mutant_log_disk(&disk, mutant),
        .trace = trace,
        .mutant = mutant,
    };
}

/* Ports ---------------------------------------------------------------------------------------- */

static void
submit_batch(void *context, struct batch *batch)
{
    struct storage *storage = context;
    trace_note(storage->trace, "batch", batch->header.base_lsn, batch->end_lsn, batch->wants_flush);
    list_append(&storage->waiting, &batch->link);
}

static void
submit_job(void *context, struct io_job *job)
{
    struct storage *storage = context;
    trace_note(storage->trace, "job", (uint64_t)job->type, 0, 0);
    list_append(&storage->jobs, &job->link);
}

/* Before there are threads. */
static void
run_job_now(void *context, struct io_job *job)
{
    struct storage *storage = context;
    io_job_run(job, &storage->disk, NULL);
    trace_note(storage->trace, "job is run at once", (uint64_t)job->type, (uint64_t)job->status, 0);
    core_job_done(storage->core, job);
}

/* Starting ------------------------------------------------------------------------------------- */

enum { RELIEVE_ROWS = 64 }; /* far fewer than the broker, whose directories are larger */

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
recover(struct storage *storage, struct core *core, struct recovery *recovery, struct log *log,
        const struct random_source *random, char *why, size_t why_size)
{
    struct restore restore = {.core = core};
    struct recovery_options options = {.slot_size = STORAGE_SLOT, .may_write = true};
    struct recovery_sink sink = {.record = restore_record, .row = restore_row, .context = &restore};
    topology_restore_init(&restore.topology, core);
    enum status status =
        recovery_run(recovery, &storage->disk, &options, &sink, random, log, why, why_size);
    topology_restore_fini(&restore.topology);
    return status;
}

/* Where the log of the process before ends, by the manifest of this one. */
static uint64_t
find_cut(const struct storage *storage, const struct recovery *recovery)
{
    for (uint32_t i = 0; i < recovery->manifest.epoch_count; i++) {
        if (recovery->manifest.epochs[i].number == storage->epoch) {
            return recovery->manifest.epochs[i].end_lsn;
        }
    }
    return storage->first_lsn;
}

static enum status
begin_log(struct storage *storage, struct core *core, struct chunk_pool *pool, struct log *log,
          struct recovery *recovery, char *why, size_t why_size)
{
    struct keeper_settings settings = {
        .slot_size = STORAGE_SLOT, .spares_wanted = 2, .sort_slots = 4, .may_pack = true};
    struct io_port io_port = {.submit = submit_job, .context = storage};
    struct journal_port journal_port = {.submit = submit_batch, .context = storage};
    struct journal_settings journal_settings;
    struct log_failure failure;
    storage->keeper = keeper_new(&settings, recovery, &io_port, log);
    if (keeper_begin(storage->keeper, &storage->disk, &journal_settings, &failure) != STATUS_OK) {
        (void)snprintf(why, why_size, "%s %s: %s", failure.what, failure.file,
                       strerror(failure.error));
        return STATUS_IO;
    }
    journal_settings.removals_max = STORAGE_REMOVALS_MAX;
    storage->journal = journal_new(&journal_settings, pool, &journal_port);
    storage->writer = log_writer_new(&storage->log_disk);
    storage->shelf = index_shelf_new();
    log_writer_set_shelf(storage->writer, storage->shelf);
    storage->fetch_files = fetch_files_new(&storage->disk);
    core_set_paging_port(core, &io_port, journal_settings.segment_base);
    storage->epoch = journal_settings.epoch;
    storage->first_lsn = journal_settings.segment_base;
    return STATUS_OK;
}

enum status
storage_start(struct storage *storage, struct core *core, struct chunk_pool *pool, struct log *log,
              const struct random_source *random, uint64_t *cut_out, char *why, size_t why_size)
{
    list_init(&storage->waiting);
    list_init(&storage->round);
    list_init(&storage->written);
    list_init(&storage->jobs);
    list_init(&storage->done);
    storage->wants_flush = false;
    storage->told_lsn = 0;
    storage->core = core;
    struct io_port port = {.submit = run_job_now, .context = storage};
    core_attach_paging(core, &port);
    struct recovery recovery;
    enum status status = recover(storage, core, &recovery, log, random, why, why_size);
    if (status != STATUS_OK) {
        return status;
    }
    *cut_out = find_cut(storage, &recovery);
    uint64_t next_object_id = recovery.next_object_id;
    status = begin_log(storage, core, pool, log, &recovery, why, why_size);
    recovery_fini(&recovery);
    if (status == STATUS_OK) {
        core_attach_store(core, storage->journal, keeper_space(storage->keeper));
        core_complete_topology(core, next_object_id);
    }
    return status;
}

/* Ending --------------------------------------------------------------------------------------- */

static void
drop_batches(struct list *batches, struct chunk_pool *pool)
{
    for (struct list_link *link; (link = list_pop(batches)) != NULL;) {
        struct batch *batch = CONTAINER_OF(link, struct batch, link);
        for (size_t i = 0; i < batch->held_count; i++) {
            chunk_pool_release(pool, batch->held[i]);
        }
        batch->held_count = 0;
        batch_free(&batch);
    }
}

static void
job_done(struct storage *storage, struct core *core, struct io_job *job)
{
    if (job->type == IO_FETCH || job->type == IO_SPILL) {
        core_job_done(core, job);
    } else {
        keeper_job_done(storage->keeper, job);
    }
}

/* Whose memory they are gets them back. */
static void
drop_jobs(struct storage *storage, struct core *core, struct list *jobs)
{
    for (struct list_link *link; (link = list_pop(jobs)) != NULL;) {
        struct io_job *job = CONTAINER_OF(link, struct io_job, link);
        if (job->type == IO_FETCH) {
            job->fetch->fetched_count = 0;
        }
        job->status = STATUS_REJECTED;
        job->is_fatal = false;
        job_done(storage, core, job);
    }
}

void
storage_drop_jobs(struct storage *storage, struct core *core)
{
    /* One that is back may make another one go out. */
    while (storage->keeper != NULL &&
           (!list_is_empty(&storage->jobs) || !list_is_empty(&storage->done))) {
        drop_jobs(storage, core, &storage->jobs);
        drop_jobs(storage, core, &storage->done);
    }
    core_set_paging_port(core, NULL, 0);
}

void
storage_kill(struct storage *storage, struct chunk_pool *pool)
{
    if (storage->keeper == NULL) {
        return;
    }
    drop_batches(&storage->round, pool);
    drop_batches(&storage->waiting, pool);
    drop_batches(&storage->written, pool);
    journal_free(&storage->journal);
    keeper_free(&storage->keeper);
    log_writer_free(&storage->writer);
    index_shelf_free(&storage->shelf);
    fetch_files_free(&storage->fetch_files);
}

/* Steps ---------------------------------------------------------------------------------------- */

uint64_t
storage_flushed(const struct storage *storage)
{
    return storage->writer == NULL ? 0 : log_writer_durable_lsn(storage->writer);
}

/* As many batches as the thread of the log may find at once. */
static void
take_round(struct storage *storage, struct dice *dice)
{
    do {
        list_append(&storage->round, list_pop(&storage->waiting));
    } while (!list_is_empty(&storage->waiting) && dice_below(dice, 4) != 0);
}

/* What one call wrote. */
static void
add_written(struct storage *storage, struct list *written)
{
    for (struct list_link *link; (link = list_pop(written)) != NULL;) {
        const struct batch *batch = CONTAINER_OF(link, struct batch, link);
        trace_note(storage->trace, "written", batch->header.base_lsn, batch_size(batch), 0);
        storage->wants_flush |= batch->wants_flush;
        list_append(&storage->written, link);
    }
}

static enum status
write_batches(struct storage *storage, struct dice *dice)
{
    if (list_is_empty(&storage->round)) {
        take_round(storage, dice);
    }
    struct list written;
    list_init(&written);
    struct log_failure failure;
    enum status status = log_writer_write(storage->writer, &storage->round, &written, &failure);
    trace_note(storage->trace, "write", (uint64_t)status, 0, 0);
    add_written(storage, &written);
    return status == STATUS_AGAIN ? STATUS_OK : status;
}

static enum status
flush(struct storage *storage)
{
    struct log_failure failure;
    enum status status = log_writer_flush(storage->writer, &failure);
    trace_note(storage->trace, "flush", storage_flushed(storage), (uint64_t)status, 0);
    storage->wants_flush = false;
    return status;
}

static enum status
run_job(struct storage *storage)
{
    struct io_job *job = CONTAINER_OF(list_pop(&storage->jobs), struct io_job, link);
    io_job_take_kept(job, storage->shelf);
    io_job_run(job, &storage->disk, storage->fetch_files);
    trace_note(storage->trace, "job is run", (uint64_t)job->type, (uint64_t)job->status,
               job->is_fatal);
    list_append(&storage->done, &job->link);
    return job->is_fatal ? STATUS_IO : STATUS_OK;
}

static void
tell_commit(struct storage *storage, struct core *core, uint64_t lsn)
{
    if (lsn > storage->told_lsn) {
        storage->told_lsn = lsn;
        journal_committed(storage->journal, lsn);
        core_on_committed(core);
    }
}

static void
give_back_batch(struct storage *storage, struct core *core)
{
    struct batch *batch = CONTAINER_OF(list_pop(&storage->written), struct batch, link);
    uint64_t end_lsn = batch->end_lsn;
    journal_batch_written(storage->journal, batch);
    core_on_written(core);
    if (storage->mutant == MUTANT_EARLY_COMMIT) {
        tell_commit(storage, core, end_lsn);
    }
}

/* A commit is told only when what it covers was given back, as store/threads.c does. */
static uint64_t
commit_to_tell(const struct storage *storage)
{
    uint64_t flushed = storage_flushed(storage);
    return list_is_empty(&storage->written) && flushed > storage->told_lsn ? flushed : 0;
}

static void
give_back_job(struct storage *storage, struct core *core)
{
    job_done(storage, core, CONTAINER_OF(list_pop(&storage->done), struct io_job, link));
}

enum step { STEP_WRITE, STEP_FLUSH, STEP_RUN_JOB, STEP_GIVE_BATCH, STEP_TELL, STEP_GIVE_JOB };

static uint32_t
list_steps(const struct storage *storage, enum step steps[6])
{
    uint32_t count = 0;
    if (!list_is_empty(&storage->round) || !list_is_empty(&storage->waiting)) {
        steps[count++] = STEP_WRITE;
    }
    if (storage->wants_flush) {
        steps[count++] = STEP_FLUSH;
    }
    if (!list_is_empty(&storage->jobs)) {
        steps[count++] = STEP_RUN_JOB;
    }
    if (!list_is_empty(&storage->written)) {
        steps[count++] = STEP_GIVE_BATCH;
    }
    if (commit_to_tell(storage) != 0) {
        steps[count++] = STEP_TELL;
    }
    if (!list_is_empty(&storage->done)) {
        steps[count++] = STEP_GIVE_JOB;
    }
    return count;
}

enum status
storage_step(struct storage *storage, struct core *core, struct dice *dice)
{
    enum step steps[6];
    uint32_t count = list_steps(storage, steps);
    if (count == 0) {
        return STATUS_OK;
    }
    storage->step_count++;
    switch (steps[dice_below(dice, count)]) {
    case STEP_WRITE:
        return write_batches(storage, dice);
    case STEP_FLUSH:
        return flush(storage);
    case STEP_RUN_JOB:
        return run_job(storage);
    case STEP_GIVE_BATCH:
        give_back_batch(storage, core);
        break;
    case STEP_TELL:
        tell_commit(storage, core, commit_to_tell(storage));
        break;
    case STEP_GIVE_JOB:
        give_back_job(storage, core);
        break;
    }
    return STATUS_OK;
}

bool
storage_is_quiet(const struct storage *storage)
{
    enum step steps[6];
    return list_steps(storage, steps) == 0 && !keeper_is_busy(storage->keeper);
}

enum status
storage_finish(struct storage *storage)
{
    struct log_failure failure;
    return keeper_finish(storage->keeper, &storage->disk, storage->journal, &failure);
}

void
storage_end_turn(struct storage *storage, struct core *core)
{
    const struct disk_space *space = keeper_disk_space(storage->keeper);
    if (space != NULL) {
        core_set_disk_space(core, space->free_bytes, space->total_bytes);
        keeper_set_disk_is_low(storage->keeper, core_disk_is_low(core));
    }
    keeper_turn(storage->keeper, storage->journal, core->now.monotonic_ms);
}
