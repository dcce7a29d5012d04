/* SPDX-License-Identifier: Apache-2.0 */
/* Which queues are there for dead letters, or hold messages in quarantine: copied out of the core
 * in slices, as the surveys of survey.h. A queue is a target when some queue's dead letters go to
 * it: under the default exchange by its name, else by a binding of its own with that exchange. What
 * leads there through other exchanges is not followed. */
#ifndef BOURSE_BROKER_SURVEY_DEAD_LETTER_SURVEY_H
#define BOURSE_BROKER_SURVEY_DEAD_LETTER_SURVEY_H

#include "base/map.h"
#include "broker/survey/survey.h"

struct dead_letter_queue {
    struct bytes vhost, name;
    bool is_target;
    uint64_t messages; /* ready and out at consumers */
    uint64_t parked;
    uint64_t oldest_ms; /* age of what is ready; NEVER_MS: nothing is */
};

struct dead_letter_survey {
    struct survey_viewer viewer;
    struct dead_letter_queue *rows; /* point into the arena */
    uint32_t count;
    struct arena arena; /* owned */
    uint32_t capacity;
    struct survey_vhost_name last; /* whose row was the last one */
    struct map targets; /* "Q" VHOST 0 QUEUE and "X" VHOST 0 EXCHANGE; the keys are the arena's */
    uint32_t pass;      /* first what leads there is noted, then queues are looked at */
    uint32_t vhosts_left, queues_left;
    struct bytes vhost; /* data NULL: the next one's */
    bool has_begun;
};

/* All zero but for the viewer. */
enum request_progress dead_letter_survey_step(struct dead_letter_survey *survey, struct core *core,
                                              uint32_t *budget);
void dead_letter_survey_fini(struct dead_letter_survey *survey);

/* Puts the rows in order of vhost and name, each once. Needs no core. */
void dead_letter_survey_sort(struct dead_letter_survey *survey);

#endif
