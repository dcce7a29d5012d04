/* SPDX-License-Identifier: Apache-2.0 */
/* What the metrics listener says of the broker, in tables: under names of our own, and under those
 * of RabbitMQ, so that what was drawn for it shows data. docs/metrics.md lists the names; a test
 * compares. Owner: the admin thread. */
#ifndef BOURSE_MANAGEMENT_MONITOR_METRICS_H
#define BOURSE_MANAGEMENT_MONITOR_METRICS_H

#include "broker/broker.h"
#include "broker/survey/measure.h"
#include "broker/survey/survey.h"
#include "management/monitor/metric_text.h"
#include "management/views/process.h"

struct management;

/* Which names are wanted. */
enum metric_set { METRICS_OWN = 1 << 0, METRICS_RABBITMQ = 1 << 1 };

/* Everything that is said once, whatever there is. */
struct metric_totals {
    const struct measure *measure; /* borrowed */
    struct process_figures process;
    struct store_flushes flushes;
    uint64_t log_lines_dropped;
    uint64_t reload_succeeded;        /* 1: the last reload did, or there was none */
    uint64_t dead_lettered;           /* messages, for all reasons */
    uint64_t logins;                  /* succeeded and failed */
    uint64_t messages, message_bytes; /* ready and not acknowledged */
    uint64_t topology_drift;          /* differences, at the last look */
    uint64_t alarm_descriptors;       /* 1: hardly a descriptor is left */
};

/* Fills in what is not of the core; `measure` is borrowed. */
void metrics_read_totals(struct management *management, const struct measure *measure,
                         struct metric_totals *totals_out);

/* What is wanted of the totals. */
struct totals_style {
    uint32_t sets;               /* of enum metric_set */
    const char *rabbitmq_prefix; /* of RabbitMQ's names */
    bool without_queues;         /* not what queues say of themselves on the same page */
};
void metrics_put_totals(struct buffer *out, struct management *management,
                        const struct metric_totals *totals, const struct totals_style *style);

/* Who answers, on which endpoint ("aggregated", "per-object", "detailed"). `cluster_name` is what
 * somebody has named the cluster, as JSON has it; data NULL: nobody has. */
void metrics_put_identity(struct buffer *out, const struct management *management,
                          const char *endpoint, uint32_t sets, struct bytes cluster_name);

/* Families of queues. A list of which RabbitMQ's /metrics/detailed knows the names. */
enum metric_family {
    FAMILY_QUEUE_COARSE = 1 << 0,    /* queue_coarse_metrics: how many messages */
    FAMILY_QUEUE = 1 << 1,           /* queue_metrics: octets, ages */
    FAMILY_QUEUE_CONSUMERS = 1 << 2, /* queue_consumer_count */
    FAMILY_QUEUE_DELIVERY = 1 << 3,  /* queue_delivery_metrics: what came and went */
    FAMILY_TOTALS = 1 << 4,          /* what is said once: churn, node, ... */
    FAMILY_ALL = 0x1f,
};

/* False: no family of that name is known; 0 is one that there is nothing to say of here. */
bool metrics_find_family(const char *name, uint32_t *families_out);

/* Each family of `families` for all queues, in pieces. Our names stand without, RabbitMQ's with
 * `rabbitmq_prefix`. */
struct queue_metrics {
    const struct queue_survey *queues; /* borrowed */
    uint32_t families, sets;           /* of enum metric_family, metric_set */
    const char *rabbitmq_prefix;
    struct buffer labels; /* of all queues, each NUL-terminated; owned */
    /* What comes next. */
    size_t name;     /* of a list of ours and RabbitMQ's names in turn */
    uint32_t row;    /* of the queues */
    size_t label_at; /* in the labels */
};

/* `queue_metrics` says what is wanted, the rest is zero. False: there is no memory. */
bool queue_metrics_begin(struct queue_metrics *queue_metrics);

/* Appends the next lines, about so many octets of them; false: there are no more. */
bool queue_metrics_put(struct queue_metrics *queue_metrics, struct buffer *out, size_t octets);
void queue_metrics_fini(struct queue_metrics *queue_metrics);

#endif
