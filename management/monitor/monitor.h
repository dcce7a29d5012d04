/* SPDX-License-Identifier: Apache-2.0 */
/* What the admin thread remembers: the broker in numbers every MONITOR_INTERVAL_MS, the queues that
 * somebody looks at every MONITOR_QUEUE_INTERVAL_MS, and which queues are over a limit of `alert`,
 * of which the log is told when it begins and when it is over. Memory is bounded: rings of
 * MONITOR_POINTS points, for at most MONITOR_QUEUES_MAX queues. Of many queues a measure takes
 * long: beyond MONITOR_MANY_QUEUES points come less often.
 *
 * Owner: the admin thread. */
#ifndef BOURSE_MANAGEMENT_MONITOR_MONITOR_H
#define BOURSE_MANAGEMENT_MONITOR_MONITOR_H

#include "broker/request_desk.h"
#include "broker/survey/measure.h"
#include "management/monitor/drift_watch.h"
#include "management/monitor/long_view.h"
#include "management/monitor/point_ring.h"

struct management;

enum {
    MONITOR_INTERVAL_MS = 5000,
    MONITOR_QUEUE_TICKS = 6, /* a point of a queue every so many of the broker's */
    MONITOR_QUEUE_INTERVAL_MS = MONITOR_INTERVAL_MS * MONITOR_QUEUE_TICKS,
    MONITOR_QUEUES_MAX = 64,
    MONITOR_PATIENCE_TICKS = 120, /* a queue nobody asks for is forgotten after so many */
    MONITOR_ALERT_TICKS = 6,      /* an alert is over when it was away for so many */
    MONITOR_MANY_QUEUES = 20000,
};

/* A queue at one time. */
struct monitor_queue_point {
    int64_t at_ms;
    uint64_t ready, unacked;
    uint64_t oldest_ready_ms; /* NEVER_MS: nothing is ready */
    double arrived, served;
};

struct monitor_queue {
    char *vhost, *name; /* owned */
    size_t vhost_size, name_size;
    uint64_t asked_tick; /* when somebody asked last */
    struct monitor_queue_point points[MONITOR_POINTS];
    uint32_t count, next;
};

struct monitor;

/* Begins at once. NULL: there is no timer to be had. */
struct monitor *monitor_new(struct management *management);

/* What it has asked the core for has come back. */
void monitor_free(struct monitor **monitor);

/* The points of the broker. */
const struct point_ring *monitor_points(const struct monitor *monitor);

/* What has changed beside the configurations that were applied. */
const struct drift_watch *monitor_drift(const struct monitor *monitor);
const struct long_view *monitor_long_view(const struct monitor *monitor);

/* Has the queue watched, from now on if it was not. Never NULL. */
const struct monitor_queue *monitor_watch(struct monitor *monitor, struct bytes vhost,
                                          struct bytes name);
const struct monitor_queue_point *monitor_queue_point_at(const struct monitor_queue *queue,
                                                         uint32_t at);

#endif
