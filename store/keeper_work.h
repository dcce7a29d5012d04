/* SPDX-License-Identifier: Apache-2.0 */
/* What the parts of the keeper share: keeper.c decides what to do next, keeper_done.c takes what
 * has come back, keeper_backup.c has both for a backup. Nobody else includes this. */
#ifndef BOURSE_STORE_KEEPER_WORK_H
#define BOURSE_STORE_KEEPER_WORK_H

#include "store/keeper.h"

/* When something that failed is tried again. */
struct keeper_retry {
    uint64_t delay_ms; /* 0: it did not fail the last time */
    uint64_t due_ms;
};

struct keeper_ballast {
    uint64_t octets_max; /* that it is to have; 0: the disk needs none */
    uint64_t octets;     /* that it has */
    bool is_there;       /* a file of that name may be */
    bool has_failed;     /* it could not be made: what there is of it is to go first */
};

struct keeper {
    struct keeper_settings settings;
    struct manifest manifest;
    struct space *space;
    struct io_port port;
    struct log *log;

    struct segment_header newest; /* of the segments that are prepared, or being prepared */
    uint64_t indexed_number;      /* of the segments of this epoch: up to here they have an index,
                                     or never will */
    uint64_t *spares;             /* numbers of spare files; owned */
    uint32_t spare_count, spare_capacity;
    uint64_t last_spare; /* the highest number ever given to one */

    struct io_job job; /* the one under way */
    bool is_busy;
    struct io_job pack; /* its next step; without `packing`: none is under way */
    uint64_t now_ms;
    struct backup *backup; /* borrowed; NULL: none is asked for */
    bool backup_has_begun; /* its plan is made */
    keeper_backup_done *backup_done;
    void *backup_context;
    struct keeper_retry retries[IO_JOB_TYPE_COUNT]; /* by type of job */
    struct disk_space disk_space;
    bool disk_space_is_known;
    uint64_t disk_space_due_ms;
    bool disk_is_low;
    struct keeper_ballast ballast;
};

/* A spare file of that number is there. */
void keeper_add_spare(struct keeper *keeper, uint64_t number);

/* Whether a job of that type may be tried: it did not fail, or long enough ago. */
bool keeper_is_due(const struct keeper *keeper, enum io_job_type type);

/* Hands keeper->job over. */
void keeper_submit(struct keeper *keeper);

void keeper_log_job_failure(struct keeper *keeper, const struct io_job *job);

/* The next step of the backup that was asked for; the first one chooses what is copied. */
void keeper_submit_backup_step(struct keeper *keeper, const struct journal *journal);

/* A step of it is back. */
void keeper_backup_step_done(struct keeper *keeper, const struct io_job *job);

#endif
