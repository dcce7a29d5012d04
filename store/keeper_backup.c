/* SPDX-License-Identifier: Apache-2.0 */
/* The steps of a backup, among the keeper's other work. */
#include "store/keeper_work.h"

#include "store/backup.h"

/* What is copied is chosen when the backup begins: everything that is on the disk by then. A full
 * segment that is not wholly on the disk yet is the one that is cut. */
static void
plan_backup(struct keeper *keeper, const struct journal *journal)
{
    const struct journal_segment *left = journal_oldest_left(journal);
    uint64_t commit_lsn = journal_commit_lsn(journal);
    bool is_cut = left != NULL && left->end_lsn > commit_lsn;
    struct backup_plan plan = {
        .manifest = &keeper->manifest,
        .commit_lsn = commit_lsn,
        .open_segment = is_cut ? left->number : journal_segment_number(journal),
    };
    backup_prepare(keeper->backup, &plan);
    keeper->backup_has_begun = true;
}

void
keeper_submit_backup_step(struct keeper *keeper, const struct journal *journal)
{
    if (!keeper->backup_has_begun) {
        plan_backup(keeper, journal);
    }
    if (keeper->disk_is_low) {
        backup_give_up(keeper->backup, "the disk of the data directory is nearly full: nothing is "
                                       "kept there longer than it is needed");
    }
    keeper->job = (struct io_job){.type = IO_BACKUP, .backup = keeper->backup};
    keeper_submit(keeper);
}

bool
keeper_begin_backup(struct keeper *keeper, struct backup *backup, keeper_backup_done *done,
                    void *context)
{
    if (keeper->backup != NULL) {
        return false;
    }
    keeper->backup = backup;
    keeper->backup_has_begun = false;
    keeper->backup_done = done;
    keeper->backup_context = context;
    return true;
}

static void
end_backup(struct keeper *keeper, enum status status)
{
    struct backup *backup = keeper->backup;
    keeper->backup = NULL;
    keeper->backup_has_begun = false;
    keeper->backup_done(keeper->backup_context, backup, status);
}

void
keeper_backup_step_done(struct keeper *keeper, const struct io_job *job)
{
    if (job->status != STATUS_AGAIN) {
        end_backup(keeper, job->status);
    }
}

void
keeper_end_backup(struct keeper *keeper, const struct disk *disk)
{
    if (keeper->backup != NULL && !keeper->is_busy) {
        backup_cancel(keeper->backup, disk, "the broker stops");
        end_backup(keeper, STATUS_REJECTED);
    }
}
