/* SPDX-License-Identifier: Apache-2.0 */
/* The broker in numbers, for metrics, charts and what needs attention: the core's counters, and
 * sums over all queues, taken in slices like a survey. It goes over the queues twice: first to
 * learn where dead letters go, then to count; and over exchanges, if that is wanted. A queue that
 * comes or goes meanwhile may be missing, and one may be met twice.
 *
 * Every number is a uint64_t, so that a table can name it by its offset. */
#ifndef BOURSE_BROKER_SURVEY_MEASURE_H
#define BOURSE_BROKER_SURVEY_MEASURE_H

#include "broker/core/request.h"
#include "broker/survey/survey_walk.h"
#include "queues/clocks.h"
#include "queues/waiting.h"

/* What a queue or exchange may need attention for, the worst first. */
enum measure_concern {
    CONCERN_READY_ABOVE,    /* more is ready than `alert` allows; `value` messages, `limit` */
    CONCERN_OLDEST_ABOVE,   /* its oldest message is older; milliseconds */
    CONCERN_UNSERVED,       /* messages are ready, and there is no consumer; `value` messages */
    CONCERN_IDLE_CONSUMERS, /* consumers are there and take nothing while messages wait */
    CONCERN_BUSY_CONSUMERS, /* they take some, and hardly ever have room for one; `value` messages
                             */
    CONCERN_PAUSED,         /* nothing is handed out while messages wait */
    CONCERN_UNROUTABLE,   /* an exchange: what was published there lately reached no queue; `value`
                             messages since the broker began */
    CONCERN_DEAD_LETTERS, /* dead letters go there, and some are there; `value` messages */
    CONCERN_COUNT,
};
enum { MEASURE_FINDINGS_MAX = 1000 };

/* How long a message that reached no queue is something that happened lately. */
enum { MEASURE_UNROUTABLE_MS = 10 * 60 * 1000 };

struct measure_finding {
    enum measure_concern concern;
    struct bytes vhost, name; /* of the arena */
    uint64_t value;
    uint64_t limit; /* of CONCERN_READY_ABOVE and CONCERN_OLDEST_ABOVE */
};

struct measure {
    const struct survey_viewer *viewer; /* of findings; borrowed; NULL: the house, which sees all */
    bool looks_at_exchanges;            /* for what concerns them */
    struct core_counters counters;
    uint64_t uptime_ms;
    uint64_t vhosts, queues, exchanges, connections, channels, consumers;
    uint64_t ready, unacked, ready_bytes, unacked_bytes, dying;
    uint64_t waiting[WAITING_KIND_COUNT];        /* delayed, to be tried again, parked */
    uint64_t oldest_ready_ms, oldest_unacked_ms; /* ages; 0: there is none */
    uint64_t dead_letters;                       /* messages in queues that dead letters go to */
    uint64_t unserved;       /* queues in which messages are ready, and that have no consumer */
    uint64_t alerting;       /* queues over a limit of `alert` */
    struct wait_times waits; /* of all queues that there have been */
    uint64_t memory_bytes, memory_mark_bytes, disk_free_bytes, disk_mark_bytes, held_bytes;
    uint64_t memory_alarm, disk_alarm;                     /* 1: publishers are blocked for it */
    uint64_t blocked_connections;                          /* that were told so */
    struct measure_finding findings[MEASURE_FINDINGS_MAX]; /* the worst, in no order */
    uint32_t finding_count;
    enum measure_concern mildest; /* of them, once there are as many as there may be */
    struct arena arena;           /* owned */

    /* Where it stands. */
    struct survey_walk looking, counting, exchanging;
    struct map targets; /* ids of exchanges that dead letters are published to, and of queues that
                           they reach by the default exchange */
    bool has_targets;   /* the map is there */
};

/* All zero but for the viewer before the first call. */
enum request_progress measure_step(struct measure *measure, struct core *core, uint32_t *budget);
void measure_fini(struct measure *measure);

#endif
