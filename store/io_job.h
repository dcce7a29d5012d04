/* SPDX-License-Identifier: Apache-2.0 */
/* Work on the disk that may block and is not the log's: a value that the core fills in, a thread of
 * the store carries out with io_job_run, and the core gets back. A simulator runs the same jobs
 * inline, when it likes. One kind a function; what a kind needs is in its part of the union, and
 * everything it returns as well. */
#ifndef BOURSE_STORE_IO_JOB_H
#define BOURSE_STORE_IO_JOB_H

#include "base/disk.h"
#include "base/list.h"
#include "base/status.h"
#include "store/index.h"
#include "store/log_failure.h"
#include "store/manifest.h"
#include "store/segment.h"

enum io_job_type {
    IO_PREPARE,  /* segment_prepare: the next segment, before it is needed */
    IO_SPARE,    /* a new spare file */
    IO_INDEX,    /* the index of a full segment */
    IO_RETIRE,   /* a segment that nobody needs becomes a spare, or goes */
    IO_FOLD,     /* seg.N.dead */
    IO_PACK,     /* live contents of neighbouring segments into one file, a step of it */
    IO_SNAPSHOT, /* a new snapshot from the last one and the segments behind it, and the manifest */
    IO_SPACE,    /* how much room the file system has */
    IO_BALLAST,  /* ballast_extend: a slice more of it */
    IO_GIVE_UP,  /* ballast_give_up */
    IO_FETCH,    /* contents of messages back into memory (store/fetch.h) */
    IO_SPILL,    /* memory out to a spill file, or back (store/spill.h) */
    IO_BACKUP,   /* a copy of the directory, a step of it (store/backup.h) */
    IO_JOB_TYPE_COUNT,
};

struct backup;
struct io_fetch;
struct io_spill;
struct packing;

struct io_job {
    struct list_link link; /* in the queue of whose it is */
    enum io_job_type type;
    enum status status;         /* of the job; of disposable files a failure harms nobody */
    struct log_failure failure; /* STATUS_IO, STATUS_CORRUPT: what and where */
    bool is_fatal; /* what is on disk is no longer known: nothing may be sent or written any more,
                      the process is to end (I9) */
    union {
        struct {
            struct segment_header header;
            uint64_t spare; /* the one to use; 0: none */
        } prepare;
        struct {
            uint64_t number, octets;
        } spare;
        struct {
            uint64_t number, end_lsn;
            struct segment_index *kept; /* what was kept of it as it was written; taken. NULL: it is
                                           read */
            uint64_t topology_lsn;      /* out */
            struct index_runs runs;     /* out */
        } index;
        struct {
            uint64_t number;
            bool is_pack;
            uint64_t last;
            uint64_t spare; /* the number it gets as a spare; 0: remove it. Out: 0 when it could
                               not become one */
        } retire;
        struct {
            uint64_t number, folded_lsn;
        } fold;
        struct {
            uint64_t first, last, folded_lsn;
            struct packing *packing; /* NULL: from the beginning. Out with STATUS_AGAIN: to be
                                        given again, or to packing_free */
            uint64_t live_octets;    /* out: of the new file */
        } pack;
        struct {
            uint64_t lsn;
            struct manifest *manifest; /* the core's copy, taken and given back changed */
            uint64_t octets;           /* out */
        } snapshot;
        struct disk_space space; /* out */
        struct {
            uint64_t octets; /* that there are; it grows at most up to `octets_max` */
            uint64_t octets_max;
            uint64_t seed; /* of what is written */
        } ballast;
        struct io_fetch *fetch; /* borrowed from the core until the job is back */
        struct io_spill *spill; /* the same */
        struct backup *backup;  /* the same. Out with STATUS_AGAIN: to be given again */
    };
};

/* Before an IO_INDEX is carried out: gives it what is kept of its segment. Other jobs are left as
 * they are. */
struct index_shelf;
void io_job_take_kept(struct io_job *job, struct index_shelf *shelf);

/* Carries the job out and sets what it returns. `files` is what the calling thread keeps from
 * one IO_FETCH to the next; NULL: nothing. Blocks. */
struct fetch_files;
void io_job_run(struct io_job *job, const struct disk *disk, struct fetch_files *files);

/* Where jobs go: what a delivery may wait for (IO_FETCH, and IO_SPILL that reads back) has a thread
 * of its own, all others share one; each runs its jobs in order. They come back through the same
 * events as batches (store/threads.h). */
struct io_port {
    void (*submit)(void *context, struct io_job *job);
    void *context;
};

#endif
