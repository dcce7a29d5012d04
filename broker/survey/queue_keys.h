/* SPDX-License-Identifier: Apache-2.0 */
/* The queues there are, by name and one number each: all that it takes to find out which of them a
 * page shows. Reading a queue whole takes ten times as long, and a page shows few. A survey like
 * those of survey.h. */
#ifndef BOURSE_BROKER_SURVEY_QUEUE_KEYS_H
#define BOURSE_BROKER_SURVEY_QUEUE_KEYS_H

#include "broker/survey/survey.h"

/* Keys that count as one row of a tick's budget. */
enum { QUEUE_KEYS_PER_ROW = 4 };

enum queue_number {
    QUEUE_NUMBER_NONE,
    QUEUE_NUMBER_MESSAGES,
    QUEUE_NUMBER_READY,
    QUEUE_NUMBER_UNACKED,
    QUEUE_NUMBER_READY_BYTES,
    QUEUE_NUMBER_CONSUMERS,
    QUEUE_NUMBER_DURABLE, /* 1: it is */
};

struct queue_key {
    struct bytes vhost, name;
    uint64_t number;
};

struct queue_key_survey {
    struct survey_viewer viewer;
    struct bytes vhost; /* only there; data NULL: everywhere */
    enum queue_number number;
    struct queue_key *keys;
    uint32_t count;
    struct arena arena; /* owned */
    uint32_t capacity;
    struct survey_walk walk;
    struct survey_vhost_name last; /* whose row was the last one */
};

/* All zero but for what is wanted, whose views live as long as the survey. */
enum request_progress queue_key_survey_step(struct queue_key_survey *survey, struct core *core,
                                            uint32_t *budget);
void queue_key_survey_fini(struct queue_key_survey *survey);

/* Puts the keys in order of vhost and name, each once. Needs no core. */
void queue_key_survey_sort(struct queue_key_survey *survey);

#endif
