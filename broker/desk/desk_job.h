/* SPDX-License-Identifier: Apache-2.0 */
/* What the two halves of the desk share: keeping jobs (desk.c), and carrying them out (desk_act.c).
 *
 * Owner: the core thread. */
#ifndef BOURSE_BROKER_DESK_DESK_JOB_H
#define BOURSE_BROKER_DESK_DESK_JOB_H

#include "base/map.h"
#include "base/timer.h"
#include "broker/desk/desk.h"
#include "broker/desk/desk_walk.h"

struct desk {
    struct core *core;
    struct list running;  /* of desk_job.link: those that may go on */
    struct list waiting;  /* of the same */
    struct list finished; /* of the same, the oldest first */
    uint32_t open_count;  /* running and waiting */
    uint32_t finished_count;
    uint64_t last_number;
    uint32_t moves_left, octets_left; /* in this tick */
};

struct desk_job {
    struct list_link link;
    struct core *core;
    struct queue *queue; /* a reference; NULL: it is over */
    uint64_t number;
    struct desk_order request;  /* with texts of its own */
    struct desk_filter *filter; /* owned */
    struct buffer texts;        /* of the request, and: */
    struct bytes queue_name, vhost_name;
    struct desk_progress progress;
    struct desk_walk *walk; /* owned; NULL: it is over */
    uint64_t *positions;    /* of the filter's ids; owned; NULL: none */
    struct desk_positions only;
    struct replay replay;
    struct desk_groups groups;
    struct map targets; /* struct desk_target_count by name; owns */
    struct desk_target_count other_targets;
    bool is_cancelled;
    bool is_told;           /* its end is in the audit already */
    bool is_exhausted;      /* it has had its share of the tick */
    uint64_t paced_us;      /* up to when what it sent on has used its rate; monotonic */
    uint64_t full_since_ms; /* monotonic; 0: nothing is full */
    struct timer timer;
};

/* Whether it changes anything. */
bool desk_job_is_changing(const struct desk_job *job);

/* It waits, for `ms` or until it is woken (0). */
void desk_job_wait(struct desk_job *job, enum desk_state state, uint64_t ms);

/* It is over; it may be gone after the call. */
void desk_job_end(struct desk_job *job, enum desk_state state);

#endif
