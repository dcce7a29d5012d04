/* SPDX-License-Identifier: Apache-2.0 */
#include "store/io_job.h"

#include "base/alloc.h"
#include "base/assert.h"
#include "store/backup.h"
#include "store/ballast.h"
#include "store/fetch.h"
#include "store/fold.h"
#include "store/index.h"
#include "store/index_shelf.h"
#include "store/pack.h"
#include "store/snapshot.h"
#include "store/spill.h"

#include <errno.h>
#include <stdlib.h>

static enum status
run_retire(struct io_job *job, const struct disk *disk)
{
    if (job->retire.is_pack) {
        return pack_retire(disk, job->retire.number, job->retire.last, &job->failure);
    }
    if (job->retire.spare != 0 && segment_is_shared(disk, job->retire.number)) {
        job->retire.spare = 0;
    }
    return segment_retire(disk, job->retire.number, job->retire.spare, &job->failure);
}

static enum status
run_space(struct io_job *job, const struct disk *disk)
{
    if (disk->space(disk->context, &job->space) != STATUS_OK) {
        return log_failure_set(&job->failure, "ask for the space of", ".", 0);
    }
    return STATUS_OK;
}

static enum status
run_spill(struct io_job *job, const struct disk *disk)
{
    enum status status = spill_run(job->spill, disk);
    if (status == STATUS_IO) {
        char name[STORE_NAME_SIZE];
        store_file_name(STORE_FILE_SPILL, job->spill->number, 0, name);
        const char *what = job->spill->is_write ? "write" : "read";
        (void)log_failure_set(&job->failure, what, name, job->spill->offset);
    }
    return status;
}

void
io_job_take_kept(struct io_job *job, struct index_shelf *shelf)
{
    struct segment_index kept;
    if (job->type == IO_INDEX &&
        index_shelf_take(shelf, job->index.number, job->index.end_lsn, &kept)) {
        job->index.kept = xalloc(sizeof(kept));
        *job->index.kept = kept;
    }
}

/* On STATUS_OK the index is in its file, and the caller's. */
static enum status
make_index(struct io_job *job, const struct disk *disk, struct segment_index *index_out)
{
    if (job->index.kept == NULL) {
        return segment_index_build(index_out, disk, job->index.number, job->index.end_lsn);
    }
    struct segment_index index = *job->index.kept;
    free(job->index.kept);
    job->index.kept = NULL;
    enum status status = segment_index_write(&index, disk);
    if (status != STATUS_OK) {
        segment_index_fini(&index);
        return status;
    }
    *index_out = index;
    return STATUS_OK;
}

static enum status
run_index(struct io_job *job, const struct disk *disk)
{
    char name[STORE_NAME_SIZE];
    store_file_name(STORE_FILE_SEGMENT, job->index.number, 0, name);
    struct segment_index index;
    enum status status = make_index(job, disk, &index);
    if (status != STATUS_OK) {
        (void)log_failure_set(&job->failure, "make the index of", name, 0);
        return status;
    }
    job->index.topology_lsn = index.topology_lsn;
    job->index.runs = segment_index_runs(&index);
    segment_index_fini(&index);
    return STATUS_OK;
}

static enum status
run_pack(struct io_job *job, const struct disk *disk)
{
    if (job->pack.packing == NULL) {
        job->pack.packing =
            packing_new(disk, job->pack.first, job->pack.last, job->pack.folded_lsn);
    }
    enum status status = packing_step(job->pack.packing, &job->pack.live_octets, &job->failure);
    if (status != STATUS_AGAIN) {
        packing_free(&job->pack.packing);
    }
    return status;
}

/* A thread that fetches rarely keeps nothing between fetches. */
static enum status
run_fetch(struct io_job *job, const struct disk *disk, struct fetch_files *files)
{
    if (files != NULL) {
        return fetch_run(files, job->fetch, &job->failure);
    }
    files = fetch_files_new(disk);
    enum status status = fetch_run(files, job->fetch, &job->failure);
    fetch_files_free(&files);
    return status;
}

static enum status
dispatch(struct io_job *job, const struct disk *disk, struct fetch_files *files)
{
    switch (job->type) {
    case IO_PREPARE:
        return segment_prepare(disk, &job->prepare.header, job->prepare.spare, &job->failure);
    case IO_SPARE:
        return spare_prepare(disk, job->spare.number, job->spare.octets, &job->failure);
    case IO_RETIRE:
        return run_retire(job, disk);
    case IO_SPACE:
        return run_space(job, disk);
    case IO_SPILL:
        return run_spill(job, disk);
    case IO_INDEX:
        return run_index(job, disk);
    case IO_SNAPSHOT:
        return snapshot_take(disk, job->snapshot.manifest, job->snapshot.lsn, &job->snapshot.octets,
                             &job->failure);
    case IO_FOLD:
        return fold_run(disk, job->fold.number, job->fold.folded_lsn, &job->failure);
    case IO_BALLAST:
        return ballast_extend(disk, &job->ballast.octets, job->ballast.octets_max,
                              job->ballast.seed, &job->failure);
    case IO_GIVE_UP:
        return ballast_give_up(disk, &job->failure);
    case IO_FETCH:
        return run_fetch(job, disk, files);
    case IO_PACK:
        return run_pack(job, disk);
    case IO_BACKUP:
        return backup_step(job->backup, disk, &job->failure);
    case IO_JOB_TYPE_COUNT:
        break;
    }
    return STATUS_REJECTED;
}

/* What fails of a backup fails in the directory that it goes to.
 *
 * A file that could not be made for want of room was thrown away, and what held before holds: no
 * reason to end. So is any other file but a snapshot and the manifest behind it. Where names could
 * not be flushed, a later flush of the directory may say that they are safe when they are not. */
static bool
is_fatal(const struct io_job *job)
{
    if (job->status != STATUS_IO || job->type == IO_BACKUP) {
        return false;
    }
    if (log_failure_is_of_directory(&job->failure)) {
        return true;
    }
    return job->type == IO_SNAPSHOT && log_failure_is_of_writing(&job->failure) &&
           !log_failure_is_no_room(&job->failure);
}

void
io_job_run(struct io_job *job, const struct disk *disk, struct fetch_files *files)
{
    job->failure = (struct log_failure){0};
    job->status = dispatch(job, disk, files);
    job->is_fatal = is_fatal(job);
}
