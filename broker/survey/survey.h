/* SPDX-License-Identifier: Apache-2.0 */
/* What there is, copied out of the core in slices: queues, their bindings and consumers, vhosts,
 * and how much of everything. Each survey is a struct that says what is wanted, a step that a
 * request (broker/core/request.h) or a test calls until it is done, and rows in memory of its own
 * that live until it is freed; after the last step it needs the core no more, and may belong to
 * another thread.
 *
 * What is made or deleted while a survey is under way may or may not be in it; everything else is
 * in it once. Rows are in no order that means anything. */
#ifndef BOURSE_BROKER_SURVEY_SURVEY_H
#define BOURSE_BROKER_SURVEY_SURVEY_H

#include "broker/core/request.h"
#include "broker/survey/survey_walk.h"
#include "queues/clocks.h"
#include "queues/waiting.h"

/* Reading a queue's clocks walks what has come back to it: takes what that is worth from the
 * budget.
 */
void survey_spend_on_clocks(const struct queue *queue, uint32_t *budget);

/* Queues ------------------------------------------------------------------------------------- */

struct survey_queue {
    struct bytes vhost, name;
    struct bytes arguments;                              /* table body */
    struct bytes policy, operator_policy;                /* names; data NULL: none applies */
    struct bytes policy_definition, operator_definition; /* table bodies */
    struct bytes owner;      /* exclusive: the name of its connection; data NULL: shared */
    struct bytes owner_host; /* where that comes from */
    uint16_t owner_port;
    struct bytes exclusive_tag; /* of the consumer that is the only one; data NULL: none */
    struct bytes active_tag;    /* of the single active consumer; data NULL: none */
    enum queue_type type;
    bool durable, exclusive, auto_delete, from_file, is_paused;
    uint64_t ready, unacked;
    uint64_t waiting[WAITING_KIND_COUNT];
    uint64_t dying;
    uint64_t ready_bytes, unacked_bytes, waiting_bytes, memory_bytes;
    uint32_t consumers;
    double utilisation; /* queue_consumer_utilisation */
    uint64_t published, delivered, redelivered, acked, died[DEATH_REASON_COUNT];
    uint64_t delivered_by[DELIVERY_KIND_COUNT], get_empty;
    bool has_clocks;
    uint64_t oldest_ready_ms, oldest_unacked_ms; /* ages; NEVER_MS: there is none */
    struct queue_rates rates;                    /* of RATE_10_S */
    uint64_t wait_count, wait_sum_ms;
};

struct queue_survey {
    struct survey_viewer viewer;
    struct bytes vhost;         /* only there; data NULL: everywhere */
    struct bytes queue;         /* only this one, in `vhost`; data NULL: all */
    bool leaves_clocks;         /* ages and rates are not wanted */
    struct survey_queue **rows; /* point into the arena */
    uint32_t count;
    struct arena arena; /* owned */
    uint32_t capacity;
    struct survey_walk walk;
    struct survey_vhost_name last; /* whose row was the last one */
};

/* All zero but for what is wanted, whose views live as long as the survey. */
enum request_progress queue_survey_step(struct queue_survey *survey, struct core *core,
                                        uint32_t *budget);
void queue_survey_fini(struct queue_survey *survey);

/* Puts the rows in order of vhost and name, each once. Needs no core. */
void queue_survey_sort(struct queue_survey *survey);

/* What one queue has ------------------------------------------------------------------------- */

struct survey_consumer {
    struct bytes tag, connection, user, peer_host;
    uint16_t channel, peer_port, prefetch;
    bool needs_ack, exclusive, is_active;
    int64_t priority, timeout_ms;
};

/* A consumer of the queue, its texts copied. */
struct queue;
struct consumer;
struct survey_consumer survey_consumer_of(struct arena *arena, const struct queue *queue,
                                          const struct consumer *consumer);

/* Consumers of one queue: at most 4,096 of them. */
struct queue_details {
    struct bytes vhost, queue;
    bool is_found; /* there is such a queue */
    struct survey_consumer *consumers;
    uint32_t consumer_count;
    struct arena arena; /* owned */
};

enum request_progress queue_details_step(struct queue_details *details, struct core *core,
                                         uint32_t *budget);
void queue_details_fini(struct queue_details *details);

/* Vhosts ------------------------------------------------------------------------------------- */

struct survey_vhost {
    struct bytes name;
    struct bytes description, tags, default_queue_type; /* as they were given; empty: none was */
    bool is_traced, is_protected;
    uint32_t queues, exchanges, connections;
    uint64_t ready, unacked;
    uint64_t published, delivered_by[DELIVERY_KIND_COUNT], get_empty, redelivered, acked;
    struct queue_rates rates; /* summed up over its queues */
};

struct vhost_survey {
    struct survey_viewer viewer;
    struct bytes vhost; /* only this one; data NULL: all */
    struct survey_vhost *rows;
    uint32_t count;
    struct arena arena; /* owned */
    uint32_t capacity;
    struct survey_walk walk;
};

enum request_progress vhost_survey_step(struct vhost_survey *survey, struct core *core,
                                        uint32_t *budget);
void vhost_survey_fini(struct vhost_survey *survey);

/* Counters of the core that rates are shown of. */
enum core_rate {
    CORE_RATE_PUBLISHED,
    CORE_RATE_CONFIRMED,
    CORE_RATE_DELIVERED, /* and so many more: by the way in which */
    CORE_RATE_REDELIVERED = CORE_RATE_DELIVERED + DELIVERY_KIND_COUNT,
    CORE_RATE_GOT_NOTHING,
    CORE_RATE_ACKED,
    CORE_RATE_RETURNED,
    CORE_RATE_DROPPED,
    CORE_RATE_CONNECTIONS_OPENED,
    CORE_RATE_CONNECTIONS_CLOSED,
    CORE_RATE_CHANNELS_OPENED,
    CORE_RATE_CHANNELS_CLOSED,
    CORE_RATE_QUEUES_DECLARED,
    CORE_RATE_QUEUES_CREATED,
    CORE_RATE_QUEUES_DELETED,
    CORE_RATE_COUNT,
};

/* Everything --------------------------------------------------------------------------------- */

/* How much of everything there is: the queues of the vhosts that the viewer may see, and the
 * core's counters. */
struct core_survey {
    struct survey_viewer viewer;
    bool leaves_queues; /* only what the core counts by itself is wanted: no walk */
    struct core_counters counters;
    uint64_t uptime_ms;
    struct bytes cluster_name; /* JSON; data NULL: nobody has given it one */
    uint64_t ready, unacked;
    uint64_t queues, exchanges, consumers, connections, channels;
    uint64_t memory_bytes, memory_mark_bytes;
    uint64_t disk_mark_bytes;              /* as in struct core_settings */
    uint32_t disk_mark_percent;            /* likewise */
    uint8_t alarms;                        /* of enum core_alarm */
    struct queue_rates rates;              /* summed up over the queues */
    double counter_rates[CORE_RATE_COUNT]; /* by enum core_rate */
    struct survey_walk walk;
    struct arena arena; /* owned */
};

enum request_progress core_survey_step(struct core_survey *survey, struct core *core,
                                       uint32_t *budget);
void core_survey_fini(struct core_survey *survey);

#endif
