/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/survey/queue_keys.h"

#include <stdlib.h>

#include "base/alloc.h"
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

/* Keys of a vhost share its name. The struct of a vhost stays as long as the core. */
static struct bytes
vhost_name_of(struct queue_key_survey *survey, const struct vhost *vhost)
{
    if (survey->named != vhost) {
        survey->named = vhost;
        survey->name_of_vhost = arena_copy(&survey->arena, vhost->name);
    }
    return survey->name_of_vhost;
}

static void
add_key(struct queue_key_survey *survey, const struct queue *queue)
{
    enum { CAPACITY_MIN = 64 };
    if (survey->count == survey->capacity) {
        survey->capacity = survey->capacity == 0 ? CAPACITY_MIN : survey->capacity * 2;
        survey->keys = xrealloc(survey->keys, survey->capacity * sizeof(*survey->keys));
    }
    survey->keys[survey->count++] = (struct queue_key){
        .vhost = vhost_name_of(survey, queue->vhost),
        .name = arena_copy(&survey->arena, queue_name(queue)),
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
compare_keys(const void *a, const void *b)
{
    const struct queue_key *first = a;
    const struct queue_key *second = b;
    bool is_same = first->vhost.data == second->vhost.data;
    int order = is_same ? 0 : bytes_compare(first->vhost, second->vhost);
    return order != 0 ? order : bytes_compare(first->name, second->name);
}

void
queue_key_survey_sort(struct queue_key_survey *survey)
{
    if (survey->count == 0) {
        return;
    }
    qsort(survey->keys, survey->count, sizeof(*survey->keys), compare_keys);
    uint32_t kept = 1;
    for (uint32_t i = 1; i < survey->count; i++) {
        if (compare_keys(&survey->keys[i], &survey->keys[kept - 1]) != 0) {
            survey->keys[kept++] = survey->keys[i];
        }
    }
    survey->count = kept;
}
