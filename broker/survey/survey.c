/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/survey/survey.h"

#include <stdlib.h>

#include "base/sampled_rates.h"
#include "broker/changes/parameters.h"
#include "broker/channels/channel.h"
#include "broker/core/core_clock.h"
#include "broker/topology/vhost.h"
#include "broker/upkeep/queue_clocks.h"
#include "broker/users/user.h"

/* Reading the clocks walks what has come back. */
void
survey_spend_on_clocks(const struct queue *queue, uint32_t *budget)
{
    enum { RETURNED_PER_ROW = 128 };
    uint32_t rows = queue->returned_count / RETURNED_PER_ROW;
    *budget -= rows < *budget ? rows : *budget;
}

/* Queues ------------------------------------------------------------------------------------- */

static void
copy_policies(struct queue_survey *survey, const struct queue *queue, struct survey_queue *row)
{
    const struct policy *policy = queue_policy(queue, POLICY_ORDINARY);
    const struct policy *operator_policy = queue_policy(queue, POLICY_OPERATOR);
    if (policy != NULL) {
        row->policy = arena_copy(&survey->arena, policy->is.name);
        row->policy_definition = arena_copy(&survey->arena, policy->is.definition);
    }
    if (operator_policy != NULL) {
        row->operator_policy = arena_copy(&survey->arena, operator_policy->is.name);
        row->operator_definition = arena_copy(&survey->arena, operator_policy->is.definition);
    }
}

static void
copy_users_of_queue(struct queue_survey *survey, struct core *core, const struct queue *queue,
                    struct survey_queue *row)
{
    const struct connection *owner =
        queue->owner_link == 0 ? NULL : core_find_connection(core, queue->owner_link);
    if (owner != NULL) {
        row->owner = arena_copy(&survey->arena, bytes_of(owner->name));
        row->owner_host = arena_copy(&survey->arena, bytes_of(owner->peer->address));
        row->owner_port = owner->peer->port;
    }
    if (queue_is_in_exclusive_use(queue)) {
        row->exclusive_tag = arena_copy(&survey->arena, queue_first_consumer(queue)->tag);
    }
    const struct consumer *active = queue_active_consumer(queue);
    if (active != NULL) {
        row->active_tag = arena_copy(&survey->arena, active->tag);
    }
    row->consumers = queue->consumer_count;
    row->utilisation = queue_consumer_utilisation(queue);
}

static void
copy_counts(const struct queue *queue, struct survey_queue *row)
{
    row->ready = queue->ready_count;
    row->unacked = queue->unacked_count;
    row->ready_bytes = queue->ready_bytes;
    row->memory_bytes = queue_memory_bytes(queue);
    if (queue->waiting != NULL) {
        memcpy(row->waiting, queue->waiting->counts, sizeof(row->waiting));
        row->waiting_bytes = queue->waiting->bytes;
    }
    if (queue->dying != NULL) {
        row->dying = queue->dying->count;
        memcpy(row->died, queue->dying->died_count, sizeof(row->died));
    }
    if (queue->clocks != NULL) {
        row->unacked_bytes = queue->clocks->lent_bytes;
        row->published = queue->clocks->published_count;
        row->delivered = delivery_count(queue->clocks->delivered_counts);
        memcpy(row->delivered_by, queue->clocks->delivered_counts, sizeof(row->delivered_by));
        row->get_empty = queue->clocks->get_empty_count;
        row->redelivered = queue->clocks->redelivered_count;
        row->acked = queue->clocks->acked_count;
    }
}

static void
copy_clocks(struct core *core, struct queue *queue, struct survey_queue *row)
{
    struct queue_clock_reading reading;
    core_read_queue_clocks(core, queue, &reading);
    row->has_clocks = true;
    row->oldest_ready_ms = reading.oldest_ready_ms;
    row->oldest_unacked_ms = reading.oldest_unacked_ms;
    row->rates = reading.rates[RATE_10_S];
    row->wait_count = reading.wait_count;
    row->wait_sum_ms = reading.waits.sum_ms;
}

/* The clocks come first: messages whose time is over die then. */
static void
copy_queue(struct queue_survey *survey, struct core *core, struct queue *queue)
{
    const struct vhost *vhost = queue->vhost;
    struct survey_queue *row = arena_alloc(&survey->arena, sizeof(*row));
    if (!survey->leaves_clocks) {
        copy_clocks(core, queue, row);
    }
    row->vhost = survey_vhost_name(&survey->last, &survey->arena, vhost);
    row->name = arena_copy(&survey->arena, queue_name(queue));
    row->arguments = arena_copy(&survey->arena, queue->arguments);
    row->type = queue->settings->type;
    row->durable = queue->durable;
    row->exclusive = queue->exclusive;
    row->auto_delete = queue->auto_delete;
    row->from_file = queue->from_file;
    row->is_paused = queue->is_paused;
    copy_policies(survey, queue, row);
    copy_users_of_queue(survey, core, queue, row);
    copy_counts(queue, row);
    survey->rows =
        survey_grow(survey->rows, survey->count, &survey->capacity, sizeof(struct survey_queue *));
    survey->rows[survey->count++] = row;
}

static enum request_progress
survey_one_queue(struct queue_survey *survey, struct core *core)
{
    const struct vhost *vhost = core_find_vhost(core, survey->vhost);
    struct queue *queue = vhost == NULL || !survey_may_see(core, &survey->viewer, survey->vhost)
                              ? NULL
                              : vhost_find_queue(vhost, survey->queue);
    if (queue != NULL) {
        copy_queue(survey, core, queue);
    }
    return REQUEST_DONE;
}

enum request_progress
queue_survey_step(struct queue_survey *survey, struct core *core, uint32_t *budget)
{
    if (survey->queue.data != NULL) {
        return survey_one_queue(survey, core);
    }
    struct survey_plan plan = {
        .core = core,
        .viewer = &survey->viewer,
        .only = survey->vhost,
        .arena = &survey->arena,
    };
    struct queue *queue;
    while ((queue = survey_walk_next(&survey->walk, &plan, budget)) != NULL) {
        survey_spend_on_clocks(queue, budget);
        copy_queue(survey, core, queue);
    }
    return survey->walk.is_done ? REQUEST_DONE : REQUEST_MORE;
}

void
queue_survey_fini(struct queue_survey *survey)
{
    free(survey->rows);
    survey->rows = NULL;
    arena_fini(&survey->arena);
}

static int
compare_queues(const void *a, const void *b, void *context)
{
    const struct survey_queue *first = *(struct survey_queue *const *)a;
    const struct survey_queue *second = *(struct survey_queue *const *)b;
    (void)context;
    return survey_compare_names(first->vhost, first->name, second->vhost, second->name);
}

void
queue_survey_sort(struct queue_survey *survey)
{
    survey->count = survey_sort((void *)survey->rows, survey->count, sizeof(struct survey_queue *),
                                compare_queues, NULL);
}

/* What one queue has ------------------------------------------------------------------------- */

enum { DETAILS_MAX = 4096 };

struct survey_consumer
survey_consumer_of(struct arena *arena, const struct queue *queue, const struct consumer *consumer)
{
    const struct connection *connection = consumer->channel->connection;
    const struct consumer *active = queue_active_consumer(queue);
    return (struct survey_consumer){
        .tag = arena_copy(arena, consumer->tag),
        .connection = arena_copy(arena, bytes_of(connection->name)),
        .user = arena_copy(arena, connection->user->name),
        .peer_host = arena_copy(arena, bytes_of(connection->peer->address)),
        .peer_port = connection->peer->port,
        .channel = consumer->channel->number,
        .prefetch = consumer->prefetch_count,
        .needs_ack = !consumer->no_ack,
        .exclusive = consumer->exclusive,
        .is_active = active == NULL || active == consumer,
        .priority = consumer->priority,
        .timeout_ms = consumer->timeout_ms,
    };
}

static void
copy_consumers(struct queue_details *details, const struct queue *queue)
{
    uint32_t count = queue->consumer_count < DETAILS_MAX ? queue->consumer_count : DETAILS_MAX;
    details->consumers = arena_alloc(&details->arena, (count + 1) * sizeof(*details->consumers));
    const struct consumer *consumer = queue_first_consumer(queue);
    while (consumer != NULL && details->consumer_count < count) {
        details->consumers[details->consumer_count++] =
            survey_consumer_of(&details->arena, queue, consumer);
        consumer = queue_consumer_behind(queue, consumer);
    }
}

enum request_progress
queue_details_step(struct queue_details *details, struct core *core, uint32_t *budget)
{
    const struct vhost *vhost = core_find_vhost(core, details->vhost);
    const struct queue *queue = vhost == NULL ? NULL : vhost_find_queue(vhost, details->queue);
    if (queue == NULL) {
        return REQUEST_DONE;
    }
    details->is_found = true;
    copy_consumers(details, queue);
    *budget -= details->consumer_count < *budget ? details->consumer_count : *budget;
    return REQUEST_DONE;
}

void
queue_details_fini(struct queue_details *details)
{
    arena_fini(&details->arena);
}

/* Vhosts ------------------------------------------------------------------------------------- */

static struct bytes
copy_text(struct arena *arena, const char *text)
{
    return text == NULL ? bytes_make("", 0) : arena_copy(arena, bytes_of(text));
}

static void
enter_vhost(void *context, const struct vhost *vhost)
{
    struct vhost_survey *survey = context;
    struct arena *arena = &survey->arena;
    survey->rows =
        survey_grow(survey->rows, survey->count, &survey->capacity, sizeof(*survey->rows));
    survey->rows[survey->count++] = (struct survey_vhost){
        .name = arena_copy(arena, vhost->name),
        .description = copy_text(arena, vhost->description),
        .tags = copy_text(arena, vhost->tags),
        .default_queue_type = copy_text(arena, vhost->default_queue_type),
        .is_traced = vhost->is_traced,
        .is_protected = vhost->is_protected,
        .queues = map_count(&vhost->queues),
        .exchanges = map_count(&vhost->exchanges),
        .connections = vhost->connection_count,
    };
}

static void
add_queue_to_vhost(struct survey_vhost *row, struct queue *queue)
{
    struct queue_clock_reading reading;
    const struct queue_clocks *clocks = queue->clocks;
    row->ready += queue->ready_count;
    row->unacked += queue->unacked_count;
    if (clocks == NULL) {
        return;
    }
    row->published += clocks->published_count;
    for (int i = 0; i < DELIVERY_KIND_COUNT; i++) {
        row->delivered_by[i] += clocks->delivered_counts[i];
    }
    row->get_empty += clocks->get_empty_count;
    row->redelivered += clocks->redelivered_count;
    row->acked += clocks->acked_count;
    queue_read_clocks(queue, &reading);
    queue_rates_add(&row->rates, &reading.rates[RATE_10_S]);
}

enum request_progress
vhost_survey_step(struct vhost_survey *survey, struct core *core, uint32_t *budget)
{
    struct survey_plan plan = {
        .core = core,
        .viewer = &survey->viewer,
        .only = survey->vhost,
        .arena = &survey->arena,
        .enter = enter_vhost,
        .survey = survey,
    };
    struct queue *queue;
    while ((queue = survey_walk_next(&survey->walk, &plan, budget)) != NULL) {
        survey_spend_on_clocks(queue, budget);
        add_queue_to_vhost(&survey->rows[survey->count - 1], queue);
    }
    return survey->walk.is_done ? REQUEST_DONE : REQUEST_MORE;
}

void
vhost_survey_fini(struct vhost_survey *survey)
{
    free(survey->rows);
    survey->rows = NULL;
    arena_fini(&survey->arena);
}

/* Everything --------------------------------------------------------------------------------- */

static void
count_vhost(void *context, const struct vhost *vhost)
{
    struct core_survey *survey = context;
    survey->exchanges += map_count(&vhost->exchanges);
}

static void
count_queue(struct core_survey *survey, struct queue *queue)
{
    survey->queues++;
    survey->ready += queue->ready_count;
    survey->unacked += queue->unacked_count;
    survey->consumers += queue->consumer_count;
    if (queue->clocks == NULL) {
        return;
    }
    struct queue_clock_reading reading;
    queue_read_clocks(queue, &reading);
    queue_rates_add(&survey->rates, &reading.rates[RATE_10_S]);
}

static void
read_core_rates(struct core_survey *survey, struct core *core)
{
    const struct core_counters *now = &core->counters;
    uint64_t counters[CORE_RATE_COUNT] = {
        [CORE_RATE_PUBLISHED] = now->published,
        [CORE_RATE_CONFIRMED] = now->confirmed,
        [CORE_RATE_REDELIVERED] = now->redelivered,
        [CORE_RATE_GOT_NOTHING] = now->get_empty,
        [CORE_RATE_ACKED] = now->acked,
        [CORE_RATE_RETURNED] = now->unroutable_returned,
        [CORE_RATE_DROPPED] = now->unroutable_dropped,
        [CORE_RATE_CONNECTIONS_OPENED] = now->connections_opened,
        [CORE_RATE_CONNECTIONS_CLOSED] = now->connections_closed,
        [CORE_RATE_CHANNELS_OPENED] = now->channels_opened,
        [CORE_RATE_CHANNELS_CLOSED] = now->channels_closed,
        [CORE_RATE_QUEUES_DECLARED] = now->queues_declared,
        [CORE_RATE_QUEUES_CREATED] = now->queues_created,
        [CORE_RATE_QUEUES_DELETED] = now->queues_deleted,
    };
    memcpy(&counters[CORE_RATE_DELIVERED], now->delivered_by, sizeof(now->delivered_by));
    sampled_rates_look(&core->rates, counters, CORE_RATE_COUNT, core_from_now_ms(core),
                       core_uptime_ms(core), survey->counter_rates);
}

static void
read_core(struct core_survey *survey, struct core *core)
{
    read_core_rates(survey, core);
    survey->counters = core->counters;
    survey->uptime_ms = core_uptime_ms(core);
    survey->cluster_name = survey_copy(&survey->arena, core_cluster_name(core));
    survey->connections = core->connection_count;
    survey->channels = core->counters.channels_opened - core->counters.channels_closed;
    survey->memory_bytes = chunk_pool_bytes(core->pool) + core->queue_memory.bytes;
    survey->memory_mark_bytes = core->settings.memory_mark_bytes;
    survey->disk_mark_bytes = core->settings.disk_mark_bytes;
    survey->disk_mark_percent = core->settings.disk_mark_percent;
    survey->alarms = core->alarms;
}

enum request_progress
core_survey_step(struct core_survey *survey, struct core *core, uint32_t *budget)
{
    struct survey_plan plan = {
        .core = core,
        .viewer = &survey->viewer,
        .arena = &survey->arena,
        .enter = count_vhost,
        .survey = survey,
    };
    struct queue *queue;
    if (survey->leaves_queues) {
        read_core(survey, core);
        return REQUEST_DONE;
    }
    while ((queue = survey_walk_next(&survey->walk, &plan, budget)) != NULL) {
        survey_spend_on_clocks(queue, budget);
        count_queue(survey, queue);
    }
    if (!survey->walk.is_done) {
        return REQUEST_MORE;
    }
    read_core(survey, core);
    return REQUEST_DONE;
}

void
core_survey_fini(struct core_survey *survey)
{
    arena_fini(&survey->arena);
}
