/* SPDX-License-Identifier: Apache-2.0 */
/* Asking the core for a survey (broker/survey/survey.h) on behalf of a call, so that a route is no
 * more than what is wanted and what is written of it. */
#ifndef BOURSE_MANAGEMENT_ASK_SURVEY_ASK_H
#define BOURSE_MANAGEMENT_ASK_SURVEY_ASK_H

#include "broker/survey/binding_survey.h"
#include "broker/survey/client_survey.h"
#include "broker/survey/rights_survey.h"
#include "broker/survey/survey.h"
#include "management/http/call.h"

/* A survey and the function that goes on with it; NULL as well: it is asked for nothing, which
 * shows that the core's loop turns. */
struct survey_ask {
    struct call_ask ask;
    union {
        struct queue_survey queues;
        struct vhost_survey vhosts;
        struct core_survey core;
        struct client_survey clients;
        struct exchange_survey exchanges;
        struct binding_survey bindings;
        struct rights_survey rights;
    };
    struct client_survey others; /* of a channel its consumers; of channels their connection */
    struct queue_details details;
    enum request_progress (*go_on)(struct survey_ask *ask, struct core *core, uint32_t *budget);
    void (*fini)(struct survey_ask *ask);                     /* NULL: nothing */
    void (*write)(struct call *call, struct survey_ask *ask); /* answers the call */
};

/* Zero but for what every one has. */
struct survey_ask *survey_ask_new(void (*write)(struct call *call, struct survey_ask *ask));

/* Queues as the call's viewer sees them, sorted when they are written. */
struct survey_ask *survey_ask_for_queues(const struct call *call,
                                         void (*write)(struct call *call, struct survey_ask *ask));

/* Connections, channels or consumers that the call's viewer may see; likewise exchanges, bindings,
 * and users, rights, policies and limits. */
struct survey_ask *survey_ask_for_clients(const struct call *call, enum client_survey_kind kind,
                                          void (*write)(struct call *call, struct survey_ask *ask));
struct survey_ask *survey_ask_for_exchanges(const struct call *call,
                                            void (*write)(struct call *call,
                                                          struct survey_ask *ask));
struct survey_ask *survey_ask_for_bindings(const struct call *call,
                                           void (*write)(struct call *call,
                                                         struct survey_ask *ask));
struct survey_ask *survey_ask_for_rights(const struct call *call, enum rights_survey_kind kind,
                                         void (*write)(struct call *call, struct survey_ask *ask));

/* What the core counts by itself, without a look at queues. */
struct survey_ask *survey_ask_for_core(const struct call *call,
                                       void (*write)(struct call *call, struct survey_ask *ask));

#endif
