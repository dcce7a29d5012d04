/* SPDX-License-Identifier: Apache-2.0 */
/* Which messages of a queue are meant: everything that is said has to hold. All zero means all that
 * are ready, waiting, parked or out at consumers.
 *
 * Owner: the core thread. */
#ifndef BOURSE_BROKER_DESK_DESK_FILTER_H
#define BOURSE_BROKER_DESK_DESK_FILTER_H

#include "broker/desk/desk_facts.h"

/* Messages that one request can name one by one. */
enum { DESK_IDS_MAX = 100000 };

/* Names a message: its position alone means another one after a restart, and then it has another
 * LSN as well, if it is in a log. */
struct desk_id {
    uint64_t position;
    uint64_t lsn; /* 0: in no log */
};

/* Texts without `data` are not asked for. */
struct desk_filter {
    uint32_t places;           /* a bit for each enum desk_place; 0: all of them */
    const struct desk_id *ids; /* NULL: any; by position */
    uint32_t id_count;
    struct bytes exchange;     /* to which it was published last */
    struct bytes routing_key;  /* its own, or that of before its first death */
    struct bytes origin_key;   /* that of before its first death; its own, if it has not died */
    struct bytes origin_queue; /* of its first death */
    struct bytes reason;       /* of its last death */
    struct bytes error_class;
    struct bytes header_name; /* of a header with the value `header_text`, as text: "5", "true" */
    struct bytes header_text;
    struct bytes message_id;         /* is part of the property message-id */
    struct bytes batch;              /* the last replay that it was part of */
    struct bytes not_batch;          /* and this was not */
    uint64_t age_min_ms, age_max_ms; /* how long it has been in the queue; 0: any */
};

/* A copy with texts and ids of its own, in one allocation; NULL: no memory. The ids are sorted, and
 * those that are there twice are there once. Release with free(). */
struct desk_filter *desk_filter_copy(const struct desk_filter *filter);

/* Whether the contents of messages have to be looked at. */
bool desk_filter_needs_content(const struct desk_filter *filter);

/* As far as that is known without the content; and the rest of it. */
bool desk_filter_may_mean(const struct desk_filter *filter, const struct core *core,
                          const struct queue *queue, const struct desk_row *row);
bool desk_filter_means(const struct desk_filter *filter, const struct desk_row *row,
                       const struct desk_facts *facts);

#endif
