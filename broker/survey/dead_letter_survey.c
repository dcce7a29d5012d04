/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/survey/dead_letter_survey.h"

#include <stdlib.h>

#include "base/alloc.h"
#include "broker/topology/vhost.h"
#include "broker/upkeep/queue_clocks.h"

/* Bindings of one queue that are looked at. */
enum { BINDINGS_MAX = 4096 };

/* The walk ----------------------------------------------------------------------------------- */

static bool
enter_next_vhost(struct dead_letter_survey *survey, struct core *core)
{
    uint32_t places = map_places(&core->vhosts);
    survey->vhosts_left = survey->vhosts_left < places ? survey->vhosts_left : places;
    const struct map_entry *entry = map_previous(&core->vhosts, &survey->vhosts_left);
    if (entry == NULL) {
        return false;
    }
    const struct vhost *vhost = entry->value;
    if (survey_may_see(core, &survey->viewer, vhost->name)) {
        survey->vhost = arena_copy(&survey->arena, vhost->name);
        survey->queues_left = map_places(&vhost->queues);
    }
    return true;
}

/* The next queue of the vhost under way, which may be gone by now; NULL: there is none. */
static struct queue *
next_in_vhost(struct dead_letter_survey *survey, struct core *core)
{
    const struct vhost *vhost =
        survey->vhost.data == NULL ? NULL : core_find_vhost(core, survey->vhost);
    if (vhost == NULL) {
        return NULL;
    }
    uint32_t places = map_places(&vhost->queues);
    survey->queues_left = survey->queues_left < places ? survey->queues_left : places;
    const struct map_entry *entry = map_previous(&vhost->queues, &survey->queues_left);
    return entry == NULL ? NULL : entry->value;
}

/* What leads there ----------------------------------------------------------------------------- */

static void
put_key(struct buffer *key, char kind, struct bytes vhost, struct bytes name)
{
    buffer_clear(key);
    buffer_put_u8(key, (uint8_t)kind);
    buffer_put_shortstr(key, vhost);
    buffer_put_bytes(key, name);
}

static bool
is_noted(const struct dead_letter_survey *survey, char kind, struct bytes vhost, struct bytes name)
{
    struct buffer key;
    buffer_init(&key);
    put_key(&key, kind, vhost, name);
    bool is_there = !key.failed && map_get(&survey->targets, buffer_bytes(&key)) != NULL;
    buffer_fini(&key);
    return is_there;
}

static void
note(struct dead_letter_survey *survey, char kind, struct bytes vhost, struct bytes name)
{
    struct buffer key;
    if (is_noted(survey, kind, vhost, name)) {
        return;
    }
    buffer_init(&key);
    put_key(&key, kind, vhost, name);
    if (!key.failed) {
        map_put(&survey->targets, arena_copy(&survey->arena, buffer_bytes(&key)), survey);
    }
    buffer_fini(&key);
}

static void
note_targets(struct dead_letter_survey *survey, const struct queue *queue)
{
    const struct queue_settings *settings = queue->settings;
    const struct vhost *vhost = queue->vhost;
    if (!settings->has_dead_letter_exchange) {
        return;
    }
    if (settings->dead_letter_exchange.size > 0) {
        note(survey, 'X', vhost->name, settings->dead_letter_exchange);
    } else if (settings->has_dead_letter_routing_key) {
        note(survey, 'Q', vhost->name, settings->dead_letter_routing_key);
    }
}

static bool
is_target(const struct dead_letter_survey *survey, const struct queue *queue)
{
    const struct vhost *vhost = queue->vhost;
    uint32_t looked = 0;
    if (is_noted(survey, 'Q', vhost->name, queue_name(queue))) {
        return true;
    }
    LIST_FOR_EACH(&queue->target.bindings, link)
    {
        const struct binding *binding = CONTAINER_OF(link, struct binding, target_link);
        const struct exchange *source = binding->source;
        if (is_noted(survey, 'X', vhost->name, source->name)) {
            return true;
        }
        if (++looked == BINDINGS_MAX) {
            break;
        }
    }
    return false;
}

/* Rows --------------------------------------------------------------------------------------- */

static void
add_row(struct dead_letter_survey *survey, struct core *core, struct queue *queue, bool is_target)
{
    struct queue_clock_reading reading;
    survey->rows =
        survey_grow(survey->rows, survey->count, &survey->capacity, sizeof(*survey->rows));
    core_read_queue_clocks(core, queue, &reading);
    survey->rows[survey->count++] = (struct dead_letter_queue){
        .vhost = survey_vhost_name(&survey->last, &survey->arena, queue->vhost),
        .name = arena_copy(&survey->arena, queue_name(queue)),
        .is_target = is_target,
        .messages = queue->ready_count + queue->unacked_count,
        .parked = queue->waiting == NULL ? 0 : queue->waiting->counts[WAITING_PARKED],
        .oldest_ms = reading.oldest_ready_ms,
    };
}

static void
look_at(struct dead_letter_survey *survey, struct core *core, struct queue *queue)
{
    if (survey->pass == 0) {
        note_targets(survey, queue);
        return;
    }
    bool is_there_for_it = map_count(&survey->targets) > 0 && is_target(survey, queue);
    bool has_parked = queue->waiting != NULL && queue->waiting->counts[WAITING_PARKED] > 0;
    if (is_there_for_it || has_parked) {
        add_row(survey, core, queue, is_there_for_it);
    }
}

static void
begin_pass(struct dead_letter_survey *survey, const struct core *core)
{
    survey->vhosts_left = map_places(&core->vhosts);
    survey->vhost = bytes_make(NULL, 0);
}

enum request_progress
dead_letter_survey_step(struct dead_letter_survey *survey, struct core *core, uint32_t *budget)
{
    if (!survey->has_begun) {
        survey->has_begun = true;
        map_init(&survey->targets, core->seed);
        begin_pass(survey, core);
    }
    for (; *budget > 0; (*budget)--) {
        struct queue *queue = next_in_vhost(survey, core);
        if (queue != NULL) {
            look_at(survey, core, queue);
            continue;
        }
        survey->vhost = bytes_make(NULL, 0);
        if (enter_next_vhost(survey, core)) {
            continue;
        }
        if (++survey->pass == 2) {
            return REQUEST_DONE;
        }
        begin_pass(survey, core);
    }
    return REQUEST_MORE;
}

void
dead_letter_survey_fini(struct dead_letter_survey *survey)
{
    if (survey->has_begun) {
        map_fini(&survey->targets);
    }
    free(survey->rows);
    survey->rows = NULL;
    arena_fini(&survey->arena);
}

static int
compare_rows(const void *a, const void *b, void *context)
{
    const struct dead_letter_queue *first = a;
    const struct dead_letter_queue *second = b;
    (void)context;
    return survey_compare_names(first->vhost, first->name, second->vhost, second->name);
}

void
dead_letter_survey_sort(struct dead_letter_survey *survey)
{
    survey->count =
        survey_sort(survey->rows, survey->count, sizeof(*survey->rows), compare_rows, NULL);
}
