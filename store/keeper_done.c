/* SPDX-License-Identifier: Apache-2.0 */
/* What has come back to the keeper. */
#include "store/keeper_work.h"

#include "base/assert.h"
#include "store/pack.h"

#include <inttypes.h>
#include <string.h>

enum {
    RETRY_FIRST_MS = 1000,
    RETRY_MAX_MS = 64 * 1000,
    BALLAST_RETRY_FIRST_MS = 60 * 1000,
    BALLAST_RETRY_MAX_MS = 64 * 60 * 1000,
};

/* The log waits for segments, and may need the room of the ballast. One that could not be made may
 * have met a limit that the file system does not tell of, and each try takes room from the log for
 * a while. */
static void
retry_bounds(enum io_job_type type, uint64_t *first_ms_out, uint64_t *max_ms_out)
{
    *first_ms_out = RETRY_FIRST_MS;
    *max_ms_out = RETRY_MAX_MS;
    if (type == IO_PREPARE || type == IO_GIVE_UP) {
        *max_ms_out = RETRY_FIRST_MS;
    } else if (type == IO_BALLAST) {
        *first_ms_out = BALLAST_RETRY_FIRST_MS;
        *max_ms_out = BALLAST_RETRY_MAX_MS;
    }
}

/* Longer and longer, since a job that fails may have read or written a whole segment before. */
static void
retry_later(struct keeper *keeper, enum io_job_type type)
{
    uint64_t first_ms;
    uint64_t max_ms;
    retry_bounds(type, &first_ms, &max_ms);
    struct keeper_retry *retry = &keeper->retries[type];
    uint64_t delay_ms = retry->delay_ms == 0 ? first_ms : 2 * retry->delay_ms;
    retry->delay_ms = delay_ms < max_ms ? delay_ms : max_ms;
    retry->due_ms = keeper->now_ms + retry->delay_ms;
}

void
keeper_log_job_failure(struct keeper *keeper, const struct io_job *job)
{
    static const char *const WORDS[] = {
        [IO_PREPARE] = "prepare",         [IO_SPARE] = "spare", [IO_INDEX] = "index",
        [IO_RETIRE] = "retire",           [IO_FOLD] = "fold",   [IO_PACK] = "pack",
        [IO_SNAPSHOT] = "snapshot",       [IO_SPACE] = "space", [IO_BALLAST] = "ballast",
        [IO_GIVE_UP] = "give up ballast", [IO_FETCH] = "fetch", [IO_SPILL] = "spill",
        [IO_BACKUP] = "backup",
    };
    const struct log_failure *failure = &job->failure;
    log_warn(keeper->log, "store.job_failed",
             "job=%s status=%s what=\"%s\" file=%s offset=%" PRIu64 " error=\"%s\"",
             WORDS[job->type], status_name(job->status), failure->what == NULL ? "" : failure->what,
             failure->file, failure->offset, strerrordesc_np(failure->error));
}

static void
prepare_done(struct keeper *keeper, const struct io_job *job)
{
    keeper->newest = job->prepare.header;
}

static void
retire_done(struct keeper *keeper, const struct io_job *job)
{
    if (job->retire.spare != 0) {
        keeper_add_spare(keeper, job->retire.spare);
    }
    space_retired(keeper->space, job->retire.number);
}

/* What the ballast lacks is spoken for. */
static void
space_done(struct keeper *keeper, const struct io_job *job)
{
    uint64_t lacking = keeper->ballast.octets_max - keeper->ballast.octets;
    uint64_t free_bytes = job->space.free_bytes;
    keeper->disk_space = job->space;
    keeper->disk_space.free_bytes = free_bytes > lacking ? free_bytes - lacking : 0;
    keeper->disk_space_is_known = true;
}

static void
ballast_done(struct keeper *keeper, const struct io_job *job)
{
    keeper->ballast.octets = job->ballast.octets;
    if (job->ballast.octets == job->ballast.octets_max) {
        log_info(keeper->log, "store.ballast_made", "octets=%" PRIu64, job->ballast.octets);
    }
}

static void
give_up_done(struct keeper *keeper)
{
    struct keeper_ballast *ballast = &keeper->ballast;
    if (!ballast->has_failed && ballast->octets > 0) {
        log_info(keeper->log, "store.ballast_given_up", "octets=%" PRIu64, ballast->octets);
    }
    ballast->octets = 0;
    ballast->is_there = false;
    ballast->has_failed = false;
}

static void
index_done(struct keeper *keeper, const struct io_job *job)
{
    keeper->indexed_number = job->index.number;
    space_segment_indexed(keeper->space, job->index.number);
    space_segment_runs(keeper->space, job->index.number, job->index.runs.octets,
                       job->index.runs.count);
}

/* The disk gives something else back than was written, though it said that it had it. The segment
 * is kept as it is, for a person to look at. */
static void
index_is_damaged(struct keeper *keeper, const struct io_job *job)
{
    log_error(keeper->log, "store.segment_damaged", "file=%s", job->failure.file);
    keeper->indexed_number = job->index.number;
}

/* A ballast has succeeded when it is whole. */
static void
forget_failures(struct keeper *keeper, const struct io_job *job)
{
    if (job->type != IO_BALLAST || job->ballast.octets == job->ballast.octets_max) {
        keeper->retries[job->type].delay_ms = 0;
    }
}

static void
job_succeeded(struct keeper *keeper, const struct io_job *job)
{
    forget_failures(keeper, job);
    switch (job->type) {
    case IO_PREPARE:
        prepare_done(keeper, job);
        break;
    case IO_RETIRE:
        retire_done(keeper, job);
        break;
    case IO_SPACE:
        space_done(keeper, job);
        break;
    case IO_INDEX:
        index_done(keeper, job);
        break;
    case IO_SNAPSHOT:
        space_snapshot_taken(keeper->space, job->snapshot.lsn);
        break;
    case IO_FOLD:
        space_folded(keeper->space, job->fold.number, job->fold.folded_lsn);
        break;
    case IO_PACK:
        space_packed(keeper->space, job->pack.first, job->pack.last, job->pack.folded_lsn,
                     job->pack.live_octets);
        break;
    case IO_BALLAST:
        ballast_done(keeper, job);
        break;
    case IO_GIVE_UP:
        give_up_done(keeper);
        break;
    case IO_SPARE:
    case IO_FETCH:
    case IO_SPILL:
    case IO_BACKUP:
    case IO_JOB_TYPE_COUNT:
        break; /* not the keeper's, or told to who asked */
    }
}

static void
job_failed(struct keeper *keeper, const struct io_job *job)
{
    bool is_ballast = job->type == IO_BALLAST;
    keeper->ballast.has_failed |= is_ballast;
    /* Only the first failure of a ballast is news: everything else goes on without it. */
    if (!is_ballast || keeper->retries[IO_BALLAST].delay_ms == 0) {
        keeper_log_job_failure(keeper, job);
    }
    retry_later(keeper, job->type);
}

void
keeper_job_done(struct keeper *keeper, struct io_job *job)
{
    assert(keeper->is_busy);
    assert(job == &keeper->job);
    assert(!job->is_fatal);
    keeper->is_busy = false;
    if (job->type == IO_BACKUP) {
        keeper_backup_step_done(keeper, job);
        return;
    }
    if (job->type == IO_PACK && job->status == STATUS_AGAIN) {
        keeper->pack = *job;
        return;
    }
    if (job->type == IO_PACK && job->status != STATUS_OK) {
        packing_free(&job->pack.packing); /* of a job that was not carried out */
        space_pack_failed(keeper->space, job->pack.first, job->pack.last);
    }
    if (job->status == STATUS_OK) {
        job_succeeded(keeper, job);
    } else if (job->type == IO_INDEX && job->status == STATUS_CORRUPT) {
        index_is_damaged(keeper, job);
    } else {
        job_failed(keeper, job);
    }
}
