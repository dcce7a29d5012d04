/* SPDX-License-Identifier: Apache-2.0 */
/* Keeps the data directory in order from the core's side: has the next segments ready before the
 * journal needs them, full ones indexed, dead ones used again, snapshots taken, sparse ones folded
 * and packed, old backlog sorted by queue. One job of housekeeping at a time; which one is decided
 * here, from numbers only. A pack is made step by step (store/pack.h): segments that the log waits
 * for are prepared, and full ones indexed, between two steps, and nothing else is done until the
 * last.
 *
 * On a disk that copies on write it keeps a ballast (store/ballast.h): made slice by slice once it
 * is known that there is room, given up before anything else is done when the disk is low, and made
 * again when it is not. Its room counts as taken whether it is there or not, so that giving it up
 * does not end the alarm that it was given up for, nor making it raise one.
 *
 * Owner: the core thread. Makes no system call. */
#ifndef BOURSE_STORE_KEEPER_H
#define BOURSE_STORE_KEEPER_H

#include "base/log.h"
#include "store/io_job.h"
#include "store/journal.h"
#include "store/recovery.h"
#include "store/space.h"

struct keeper;

struct keeper_settings {
    uint64_t slot_size;
    uint32_t spares_wanted;   /* segments ready ahead of the journal, 2 */
    uint64_t snapshot_octets; /* as in store/space.h; 0: the usual */
    uint32_t sort_slots;      /* as in store/space.h; 0: the usual */
    bool may_pack;            /* as in store/space.h */
};

/* Takes over what recovery found: spares, segments, removals, the manifest, which it owns from now
 * on. `port` and `log` are borrowed. */
struct keeper *keeper_new(const struct keeper_settings *settings, struct recovery *recovery,
                          const struct io_port *port, struct log *log);
void keeper_free(struct keeper **keeper); /* no job is under way */

struct space *keeper_space(struct keeper *keeper);

/* Makes the first segment of this epoch, before there are threads: blocks. Without spares it has
 * SEGMENT_FIRST_SIZE octets. `*settings_out` is what the journal starts from. */
MUST_CHECK enum status keeper_begin(struct keeper *keeper, const struct disk *disk,
                                    struct journal_settings *settings_out,
                                    struct log_failure *failure_out);

/* Once per tick, and once a second without one: sees how far the journal has come (and forgets the
 * segments that it has left and that have their index now) and submits the next job, if none is
 * under way. `now_ms` is loop time: what failed for want of room is tried again after a while. */
void keeper_turn(struct keeper *keeper, struct journal *journal, uint64_t now_ms);

/* A job of housekeeping (every type but IO_FETCH and IO_SPILL) is back. Takes it. A fatal one
 * (job->is_fatal) has ended the process before. */
void keeper_job_done(struct keeper *keeper, struct io_job *job);
bool keeper_is_busy(const struct keeper *keeper);

/* A backup under way: begins when no pack is being made, and then nothing of the directory is
 * removed, packed or folded until it is done; segments are prepared and indexed. `done` is called
 * once, from keeper_job_done or keeper_end_backup; the backup is the caller's again then. False:
 * another one is under way. */
struct backup;
typedef void keeper_backup_done(void *context, struct backup *backup, enum status status);
bool keeper_begin_backup(struct keeper *keeper, struct backup *backup, keeper_backup_done *done,
                         void *context);

/* Gives up the one that is under way, if there is one and no step of it is; at the end. Blocks. */
void keeper_end_backup(struct keeper *keeper, const struct disk *disk);

/* How much room the file system had a second ago or so, without that of the ballast where it is
 * missing; NULL while that is not known. */
const struct disk_space *keeper_disk_space(const struct keeper *keeper);

/* Whether that is less than the disk mark, which the keeper does not know; it is not, so far. */
void keeper_set_disk_is_low(struct keeper *keeper, bool is_low);

/* Orderly stop, after the threads are drained, all is committed and nothing is under way: indexes
 * of the segments that have none, a snapshot if the topology has changed, and the manifest with the
 * clean flag and the exact end of the log. Blocks. A failure is no loss: the next start recovers;
 * STATUS_IO says what failed in `*failure_out` (NULL: nobody asks). */
MUST_CHECK enum status keeper_finish(struct keeper *keeper, const struct disk *disk,
                                     struct journal *journal, struct log_failure *failure_out);

#endif
