/* SPDX-License-Identifier: Apache-2.0 */
/* The threads that may wait for a disk: one writes the log, one fetches messages, one does
 * everything else. The core hands them batches and jobs and gets them back in its own loop; an
 * eventfd says that something has come back. */
#ifndef BOURSE_STORE_THREADS_H
#define BOURSE_STORE_THREADS_H

#include "base/disk.h"
#include "store/flushes.h"
#include "store/io_job.h"
#include "store/journal.h"

#include <stdbool.h>

struct store_threads;

/* What came back; called from store_threads_collect, on the caller's thread, in order. */
struct store_events {
    void (*written)(void *context, struct batch *batch);
    void (*committed)(void *context, uint64_t commit_lsn);
    void (*job_done)(void *context, struct io_job *job);
    void *context;
};

/* Called on the log's thread (or on the one whose flush of manifest or snapshot failed) when what
 * is on disk is no longer known. Must not return: it writes a last line and ends the process at
 * once. */
typedef void store_fatal(void *context, const struct log_failure *failure);

/* NULL with errno set when there are no threads or descriptors to be had. */
struct store_threads *store_threads_new(const struct disk *disk, store_fatal *fatal, void *context);

/* Ends the threads after everything that was submitted is carried out; what has not been collected
 * is passed to `events` (NULL: to nobody) first. Only batches whose segment nobody has prepared, as
 * after store_threads_drain returned false, are dropped: they were never written. */
void store_threads_free(struct store_threads **threads, const struct store_events *events);

struct journal_port store_threads_journal_port(struct store_threads *threads);
struct io_port store_threads_io_port(struct store_threads *threads);

/* Readable when there is something that is worth a turn: a commit, a job, a batch that somebody
 * waits for, contents that go back. What is written besides is collected with it. */
int store_threads_fd(const struct store_threads *threads);
void store_threads_collect(struct store_threads *threads, const struct store_events *events);

/* Blocks until everything submitted was written, flushed as it wanted, and is ready to be
 * collected; for an orderly stop. False when it cannot go on by itself: the log waits for a
 * segment, and no job is left that could make it. Then collect, let the keeper prepare it, and call
 * again. */
bool store_threads_drain(struct store_threads *threads);

/* Adds what it knows to `flushes`. Any thread may ask. */
void store_threads_add_flushes(struct store_threads *threads, struct store_flushes *flushes);

#endif
