/* SPDX-License-Identifier: Apache-2.0 */
/* The desk at which an operator looks at the messages of a queue, sends them on and drops them:
 * those of a dead-letter queue above all, but of any queue. Each thing that is asked for is a job,
 * which goes in slices, some messages a tick, between which clients are served; what is on disk is
 * read for it and let go of again.
 *
 * Browsing and grouping change nothing. Replaying (replay.h) and dropping are one step in the log
 * for each message: what a crash or an end leaves undone is where it was, and the same request goes
 * on with it. The job itself is not in the log.
 *
 * Owner: the core thread. */
#ifndef BOURSE_BROKER_DESK_DESK_H
#define BOURSE_BROKER_DESK_DESK_H

#include "broker/desk/desk_filter.h"
#include "broker/desk/desk_groups.h"
#include "broker/desk/replay.h"

/* Of all jobs in one tick: messages that are sent on or dropped, and octets of bodies copied. */
enum { DESK_MOVES_PER_TICK = 512, DESK_OCTETS_PER_TICK = 1024 * 1024 };

enum {
    DESK_JOBS_MAX = 64,            /* under way at once */
    DESK_FINISHED_KEPT = 32,       /* replays and drops that are over and still known of */
    DESK_BATCH_MAX = 64,           /* octets of a batch's name */
    DESK_NOTE_MAX = 1024,          /* octets of a note */
    DESK_TARGETS_MAX = 100,        /* queues that are counted one by one */
    DESK_FULL_PATIENCE_MS = 60000, /* how long a replay waits for a queue that is full */
};

enum desk_action {
    DESK_BROWSE,
    DESK_GROUP,
    DESK_REPLAY,
    DESK_DROP, /* deleting one message, and purging, are that */
    DESK_ACTION_COUNT,
};

struct desk_job;

/* Everything is copied. */
struct desk_order {
    enum desk_action action;
    struct desk_filter filter; /* of replays and drops: what is at consumers is never meant */
    struct desk_cursor from;   /* DESK_BROWSE: where to begin */
    uint64_t limit;            /* messages that are shown, sent on or dropped; 0: all */
    struct replay_target target;
    bool is_dry;        /* DESK_REPLAY: counts, and changes nothing */
    uint32_t rate;      /* DESK_REPLAY: messages a second; 0: as fast as it goes */
    struct bytes batch; /* DESK_REPLAY: its name, for its second run that of the first; empty: one
                           is made */
    struct bytes user;  /* who asks, for the audit */
    bool is_by_user;    /* DESK_REPLAY: messages go only where that user may publish them */
    struct bytes note;  /* what they say about it */
    /* DESK_BROWSE: one message; `facts` is NULL where its content cannot be read. Everything is
     * good for the call. False: enough. */
    bool (*show)(void *context, const struct desk_row *row, const struct desk_facts *facts);
    /* It is over: called from core_end_tick, never from desk_begin. The job goes after the call,
     * but for replays and drops, which desk_find gives for a while. */
    void (*done)(void *context, const struct desk_job *job);
    void *context;
};

enum desk_state {
    DESK_RUNS,
    DESK_WAITS_FOR_DISK, /* or memory */
    DESK_WAITS_FOR_RATE,
    DESK_WAITS_FOR_ROOM,  /* a queue is full that refuses what it has no room for */
    DESK_WAITS_FOR_ALARM, /* memory or disk are short, or the log is behind */
    DESK_IS_DONE,
    DESK_IS_CANCELLED,
    DESK_HAS_GIVEN_UP, /* the queue stayed full, or is gone */
};

struct desk_progress {
    enum desk_state state;
    uint64_t done_count; /* shown, counted, sent on (or would be), dropped */
    uint64_t done_octets;
    uint64_t no_target_count;             /* stayed: nothing is known of where to */
    uint64_t full_count;                  /* would be refused (dry), or had to wait */
    uint64_t too_large_count;             /* stayed */
    uint64_t unreadable_count;            /* stayed */
    uint64_t not_allowed_count;           /* stayed: the user may not publish there */
    uint64_t total_count;                 /* the queue had at the places that are meant */
    struct desk_cursor cursor;            /* behind what was looked at */
    int64_t begun_wall_ms, ended_wall_ms; /* 0: not yet */
    uint64_t token; /* what was changed is on disk when it is committed (core_is_committed) */
};

/* How many went to a queue. */
struct desk_target_count {
    struct bytes name;
    uint64_t count;
};

/* With the core. */
struct desk;
struct desk *desk_new(struct core *core);
void desk_free(struct desk **desk); /* nobody is told; no job reads */

/* STATUS_REJECTED: too many are under way; STATUS_NO_MEMORY. Both change nothing. The number names
 * the job. */
MUST_CHECK enum status desk_begin(struct core *core, struct queue *queue,
                                  const struct desk_order *request, uint64_t *number_out);

/* False: there is none of that number, or it is over. What it has done stays done. */
bool desk_cancel(struct core *core, uint64_t number);

/* The broker stops: replays and drops end where they are, and the audit says how far they came. */
void desk_stop(struct core *core);

/* Who asked for it is gone: `show` and `done` are not called any more. Browsing and grouping,
 * which are for nobody else, are cancelled. Nothing if it is over. */
void desk_leave(struct core *core, uint64_t number);

/* The job of that number, or the next one behind `number` (0: the first), under way or over; NULL:
 * there is none. */
const struct desk_job *desk_find(const struct core *core, uint64_t number);
const struct desk_job *desk_next(const struct core *core, uint64_t number);

uint64_t desk_job_number(const struct desk_job *job);
const struct desk_progress *desk_job_progress(const struct desk_job *job);
const struct desk_order *desk_job_request(const struct desk_job *job); /* its copy */
struct bytes desk_job_queue_name(const struct desk_job *job);
struct bytes desk_job_vhost_name(const struct desk_job *job);
const struct desk_groups *desk_job_groups(const struct desk_job *job); /* DESK_GROUP */
/* Where its messages went, those beyond DESK_TARGETS_MAX queues under a name without `data`. NULL
 * at the end; `*at` begins with 0. */
const struct desk_target_count *desk_job_next_target(const struct desk_job *job, uint32_t *at);

/* A slice of every job. */
void core_work_on_desk(struct core *core);

/* Whether that has something to do at once. */
bool core_has_desk_work(const struct core *core);

#endif
