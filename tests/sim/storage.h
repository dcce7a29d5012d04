/* SPDX-License-Identifier: Apache-2.0 */
/* The broker's store in a simulated process: recovery, the keeper of the directory, the journal and
 * the writer of the log are the real ones; the threads around them are lists, from which one thing
 * at a time is carried out when the dice say so. The disk loses what was not flushed. */
#ifndef BOURSE_TESTS_SIM_STORAGE_H
#define BOURSE_TESTS_SIM_STORAGE_H

#include "broker/core/core.h"
#include "store/fetch.h"
#include "store/index_shelf.h"
#include "store/io_job.h"
#include "store/journal.h"
#include "store/keeper.h"
#include "store/log_writer.h"
#include "tests/sim/dice.h"
#include "tests/sim/mutant.h"
#include "tests/sim/trace.h"
#include "tests/support/sim_disk.h"

/* Segments are left when they are full, and mostly before, for their removals. */
enum { STORAGE_SLOT = 64 * 1024, STORAGE_REMOVALS_MAX = 300 };

struct storage {
    struct sim_disk *files; /* borrowed; outlives processes */
    struct disk disk;       /* the same, as the process sees it */
    struct disk log_disk;   /* and as the writer of its log does */
    struct trace *trace;    /* borrowed */
    struct core *core;      /* of the process; borrowed */
    enum mutant mutant;
    struct log_writer *writer; /* NULL: no process */
    struct index_shelf *shelf; /* of the process */
    struct journal *journal;
    struct keeper *keeper;
    struct fetch_files *fetch_files;
    struct list waiting; /* of struct batch: not written */
    struct list round;   /* of struct batch: the first of them, taken to be written */
    struct list written; /* of struct batch: not given back */
    struct list jobs;    /* of struct io_job: not carried out */
    struct list done;    /* of struct io_job: not given back */
    bool wants_flush;    /* somebody waits for what is written */
    uint64_t told_lsn;   /* how far the core knows the log to be on the disk */
    uint64_t epoch;      /* of the last process; 0: there was none */
    uint64_t first_lsn;  /* where it began */
    uint64_t step_count; /* writes, flushes, jobs, and what was given back */
};

/* No process yet; `files` and `trace` are borrowed. */
void storage_init(struct storage *storage, struct sim_disk *files, enum mutant mutant,
                  struct trace *trace);

/* A process starts: recovers into `core`, which is new, and attaches the store to it. `*cut_out` is
 * where the log of the process before ends. STATUS_IO: the disk failed, and the process ends;
 * STATUS_CORRUPT: the directory is refused, `why` says why. */
MUST_CHECK enum status storage_start(struct storage *storage, struct core *core,
                                     struct chunk_pool *pool, struct log *log,
                                     const struct random_source *random, uint64_t *cut_out,
                                     char *why, size_t why_size);

/* The process is about to go: jobs that are under way go back to whose they are. */
void storage_drop_jobs(struct storage *storage, struct core *core);

/* The process is gone, and the core with it. */
void storage_kill(struct storage *storage, struct chunk_pool *pool);

/* One thing happens that threads may do now; nothing when there is none. STATUS_IO: it failed, so
 * that the process ends. */
MUST_CHECK enum status storage_step(struct storage *storage, struct core *core, struct dice *dice);

/* An orderly stop, when nothing is under way any more: the directory is marked as clean. */
bool storage_is_quiet(const struct storage *storage);
MUST_CHECK enum status storage_finish(struct storage *storage);

/* The core's turn has ended. */
void storage_end_turn(struct storage *storage, struct core *core);

/* What is flushed, as the process knows it. */
uint64_t storage_flushed(const struct storage *storage);

#endif
