/* SPDX-License-Identifier: Apache-2.0 */
/* Writes batches into segments and flushes them: the work of the log thread as plain calls, so that
 * a simulator can make them when it likes. After any STATUS_IO the writer is poisoned: what is on
 * disk is not known, nothing is ever written or flushed again, and the process is to end. */
#ifndef BOURSE_STORE_LOG_WRITER_H
#define BOURSE_STORE_LOG_WRITER_H

#include "base/disk.h"
#include "base/status.h"
#include "store/batch.h"
#include "store/log_failure.h"

struct log_writer;

/* `disk` is borrowed. Nothing is opened before the first batch. */
struct log_writer *log_writer_new(const struct disk *disk);
void log_writer_free(struct log_writer **writer);

/* Before the first batch: has the rows of the segments that are written kept on `shelf`, which is
 * borrowed. */
void log_writer_set_shelf(struct log_writer *writer, struct index_shelf *shelf);

/* Writes the first of the batches that wait, and with the same call to the disk those that lie
 * right behind it in its segment, up to 1 MiB; moves them from `waiting`, which is not empty, to
 * the end of `written`. A batch of another segment than the last flushes the old one first (and so
 * commits it) and opens the new file, which must be there and have the header that belongs to it:
 * STATUS_AGAIN when it is not there yet, and nothing was done. STATUS_IO: poisoned, `*failure_out`
 * says what, now and whenever it is asked again; nothing was moved. */
MUST_CHECK enum status log_writer_write(struct log_writer *writer, struct list *waiting,
                                        struct list *written, struct log_failure *failure_out);

/* Flushes what was written; afterwards log_writer_durable_lsn is the end of the last batch. */
MUST_CHECK enum status log_writer_flush(struct log_writer *writer, struct log_failure *failure_out);

uint64_t log_writer_durable_lsn(const struct log_writer *writer);

#endif
