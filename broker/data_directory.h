/* SPDX-License-Identifier: Apache-2.0 */
/* A core with its data directory: opening it, which gives the core the state that the directory
 * stands for; carrying what the core writes down to the threads of the store and what they report
 * back; and leaving it in order. */
#ifndef BOURSE_BROKER_DATA_DIRECTORY_H
#define BOURSE_BROKER_DATA_DIRECTORY_H

#include "base/log.h"
#include "broker/core/core.h"
#include "store/backup.h"

struct data_directory;

struct data_directory_settings {
    const char *path;
    uint64_t segment_bytes;
};

/* Exit status of a process whose disk has failed. */
enum { DATA_DIRECTORY_EXIT_STATUS = 74 };

/* Opens, locks and recovers the directory, restores the core (which has no state yet), makes the
 * first segment and starts the threads. All but `settings` is borrowed and outlives the directory.
 * NULL: `why` says what is wrong and what to do; the core is of no use then.
 *
 * When the disk fails later, the process ends at once with one last line of log and
 * DATA_DIRECTORY_EXIT_STATUS: what is on the disk is not known then, so nothing may be sent. */
struct data_directory *data_directory_open(const struct data_directory_settings *settings,
                                           struct core *core, struct chunk_pool *pool,
                                           struct log *log, char *why, size_t why_size);

/* Readable while the threads have something to report; then call data_directory_collect. */
int data_directory_fd(const struct data_directory *directory);
void data_directory_collect(struct data_directory *directory);

/* How long flushes of its log took (store/threads.h). Any thread may ask. */
struct store_flushes;
void data_directory_add_flushes(const struct data_directory *directory,
                                struct store_flushes *flushes);

/* Once per turn of the loop, after the core's tick has ended. */
void data_directory_turn(struct data_directory *directory);

/* Copies the directory, as it stands now or a little later, to `path`, which is empty or not there
 * yet (store/backup.h): everything that was confirmed before the call is in the copy. `done` is
 * called once, when the copy is whole (STATUS_OK) or has failed (`report->why`), from
 * data_directory_collect or data_directory_close. False: another copy is being made. */
typedef void data_directory_backed_up(void *context, enum status status,
                                      const struct backup_report *report);
bool data_directory_back_up(struct data_directory *directory, const char *path,
                            data_directory_backed_up *done, void *context);

/* Waits until everything that was written down is on disk, and marks the directory as left in an
 * orderly way. The core has no log afterwards. */
void data_directory_close(struct data_directory **directory);

#endif
