/* SPDX-License-Identifier: Apache-2.0 */
/* A copy of a data directory as it stood at one LSN, made step by step by a thread that may wait
 * for the disk, while the broker goes on. What no longer changes is linked: full segments, their
 * indexes, packs, the snapshot. The segment that is being written is copied up to that LSN, and cut
 * there. The manifest comes last: a copy without one is of no use to anybody, and says so.
 *
 * A linked segment must not be written again: see segment_is_shared. Where linking is not possible,
 * as on another file system, everything is copied.
 *
 * What was confirmed before the LSN was taken is in the copy, and a broker starts on it as after a
 * crash at that LSN. */
#ifndef BOURSE_STORE_BACKUP_H
#define BOURSE_STORE_BACKUP_H

#include "base/disk.h"
#include "store/log_failure.h"
#include "store/manifest.h"

struct backup;

/* The directory that the copy goes to. It is opened by the first step and closed by the last. */
struct backup_target {
    /* Makes it if need be. STATUS_IO or STATUS_REJECTED with a reason in one line. */
    enum status (*open)(void *context, struct disk *disk_out, char *why, size_t why_size);
    void (*close)(void *context);
    void *context;
};

/* What is copied. */
struct backup_plan {
    const struct manifest *manifest; /* as it is on the disk; copied. NULL: the directory is at
                                        rest, and all of it is copied as it is */
    uint64_t commit_lsn;             /* the end of the copy: everything below is on the disk */
    uint64_t open_segment; /* segments of a lower number are full and lie below commit_lsn; in this
                              one it may lie; later ones are not copied */
};

/* How far it has come; how far it came. */
struct backup_report {
    uint64_t commit_lsn;
    uint64_t files_linked, files_copied;
    uint64_t octets_copied;
    char why[256]; /* one line, when it failed; else empty */
};

/* `target` is copied. */
struct backup *backup_new(const struct backup_target *target);
void backup_free(struct backup **backup); /* its last step is done, or it never had one */

/* Says what is to be copied, before the first step. */
void backup_prepare(struct backup *backup, const struct backup_plan *plan);

/* A few links, or a few MiB. STATUS_AGAIN: there is more. STATUS_OK: all of it is on the disk.
 * Otherwise it has failed, the report says why, and what it had made is removed again. `failure` is
 * filled on STATUS_IO. Blocks. */
MUST_CHECK enum status backup_step(struct backup *backup, const struct disk *from,
                                   struct log_failure *failure);

/* Its next step will fail for that reason (static). */
void backup_give_up(struct backup *backup, const char *why);

/* Gives it up now: the same as a step that fails. Blocks. */
void backup_cancel(struct backup *backup, const struct disk *from, const char *why);

const struct backup_report *backup_report(const struct backup *backup);

/* A directory of the file system that is empty or not there yet. `path` is borrowed. */
struct backup_directory {
    const char *path;
    struct disk_directory *directory; /* NULL: not open */
};
struct backup_target backup_target_directory(struct backup_directory *directory);

#endif
