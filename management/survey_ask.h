/* SPDX-License-Identifier: Apache-2.0 */
/* Asking the core for a survey (broker/survey.h) on behalf of a call, so that a route is no more
 * than what is wanted and what is written of it. */
#ifndef BOURSE_MANAGEMENT_SURVEY_ASK_H
#define BOURSE_MANAGEMENT_SURVEY_ASK_H

#include "broker/survey.h"
#include "management/call.h"

/* A survey and the function that goes on with it; NULL as well: it is asked for nothing, which
 * shows that the core's loop turns. */
struct survey_ask {
    struct call_ask ask;
    union {
        struct queue_survey queues;
        struct vhost_survey vhosts;
        struct core_survey core;
    };
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

#endif
