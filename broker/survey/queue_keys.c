/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/survey/queue_keys.h"

#include <stdlib.h>

#include "broker/topology/vhost.h"

static uint64_t
number_of(const struct queue *queue, enum queue_number number)
{
    switch (number) {
    case QUEUE_NUMBER_MESSAGES:
        return queue->ready_count + queue->unacked_count;
    case QUEUE_NUMBER_READY:
        return queue->ready_count;
    case QUEUE_NUMBER_UNACKED:
        return queue->unacked_count;
    case QUEUE_NUMBER_READY_BYTES:
        return queue->ready_bytes;
    case QUEUE_NUMBER_CONSUMERS:
        return queue->consumer_count;
    case QUEUE_NUMBER_DURABLE:
        return queue->durable ? 1 : 0;
    case QUEUE_NUMBER_NONE:
        break;
    }
    return 0;
}

static void
add_key(struct queue_key_survey *survey, const struct queue *queue)
{
    struct arena *arena = &survey->arena;
    survey->keys =
        survey_grow(survey->keys, survey->count, &survey->capacity, sizeof(*survey->keys));
    survey->keys[survey->count++] = (struct queue_key){
        .vhost = survey_vhost_name(&survey->last, arena, queue->vhost),
        .name = arena_copy(arena, queue_name(queue)),
        .number = number_of(queue, survey->number),
    };
}

enum request_progress
queue_key_survey_step(struct queue_key_survey *survey, struct core *core, uint32_t *budget)
{
    struct survey_plan plan = {
        .core = core,
        .viewer = &survey->viewer,
        .only = survey->vhost,
        .arena = &survey->arena,
    };
    uint32_t left = *budget * QUEUE_KEYS_PER_ROW;
    const struct queue *queue;
    while ((queue = survey_walk_next(&survey->walk, &plan, &left)) != NULL) {
        add_key(survey, queue);
    }
    *budget = left / QUEUE_KEYS_PER_ROW;
    return survey->walk.is_done ? REQUEST_DONE : REQUEST_MORE;
}

void
queue_key_survey_fini(struct queue_key_survey *survey)
{
    free(survey->keys);
    survey->keys = NULL;
    arena_fini(&survey->arena);
}

static int
compare_keys(const void *a, const void *b, void *context)
{
    const struct queue_key *first = a;
    const struct queue_key *second = b;
    (void)context;
    return survey_compare_names(first->vhost, first->name, second->vhost, second->name);
}

void
queue_key_survey_sort(struct queue_key_survey *survey)
{
    survey->count =
        survey_sort(survey->keys, survey->count, sizeof(*survey->keys), compare_keys, NULL);
}
