/* SPDX-License-Identifier: Apache-2.0 */
/* Surveys (survey.h) of exchanges and of the bindings that lead from them. */
#ifndef BOURSE_BROKER_SURVEY_BINDING_SURVEY_H
#define BOURSE_BROKER_SURVEY_BINDING_SURVEY_H

#include "broker/core/request.h"
#include "broker/survey/survey_walk.h"
#include "exchanges/exchange.h"

/* Exchanges ---------------------------------------------------------------------------------- */

struct survey_exchange {
    struct bytes vhost, name, arguments;
    struct bytes policy; /* data NULL: none applies */
    const char *type;    /* static memory */
    bool durable, auto_delete, internal, from_file;
    uint32_t bindings;
    uint64_t published, routed, unroutable;
    double published_rate, routed_rate; /* a second (base/sampled_rates.h) */
};

struct exchange_survey {
    struct survey_viewer viewer;
    struct bytes vhost;      /* only there; data NULL: everywhere */
    struct bytes exchange;   /* only this one, in `vhost`; data NULL: all */
    struct survey_rows rows; /* of struct survey_exchange */
    struct survey_walk walk;
};

/* All zero but for what is wanted, whose views live as long as the survey. */
enum request_progress exchange_survey_step(struct exchange_survey *survey, struct core *core,
                                           uint32_t *budget);
void exchange_survey_fini(struct exchange_survey *survey);
void exchange_survey_sort(struct exchange_survey *survey);

/* Bindings ----------------------------------------------------------------------------------- */

struct survey_route {
    struct bytes vhost, source, destination, routing_key, arguments;
    bool to_exchange;
};

/* Which bindings. A name whose data is NULL is any. */
struct survey_ends {
    struct bytes vhost, source, destination;
    bool only_to_queues, only_to_exchanges;
};

struct binding_survey {
    struct survey_viewer viewer;
    struct survey_ends ends;
    bool ends_exist; /* the source and the destination that were named, or there were none */
    struct survey_rows rows; /* of struct survey_route */
    /* Where it stands. */
    struct survey_walk exchanges, queues;
    struct bytes source;       /* whose bindings come, in exchanges.vhost; data NULL: the next's */
    uint64_t source_id;        /* of its target */
    struct bytes source_vhost; /* shared by the rows of one source */
    struct binding_walk bindings;
    uint32_t mark; /* rows of its parts that are done */
};

/* As above; the default exchange's binding with every queue is one of them. */
enum request_progress binding_survey_step(struct binding_survey *survey, struct core *core,
                                          uint32_t *budget);
void binding_survey_fini(struct binding_survey *survey);
void binding_survey_sort(struct binding_survey *survey);

#endif
