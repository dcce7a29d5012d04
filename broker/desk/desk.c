/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/desk/desk.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "broker/changes/audit.h"
#include "broker/desk/desk_job.h"
#include "broker/durability/durability.h"
#include "broker/topology/vhost.h"

/* Life ----------------------------------------------------------------------------------------- */

struct desk *
desk_new(struct core *core)
{
    struct desk *desk = xalloc(sizeof(*desk));
    desk->core = core;
    list_init(&desk->running);
    list_init(&desk->waiting);
    list_init(&desk->finished);
    return desk;
}

static void
free_targets(struct desk_job *job)
{
    uint32_t at = 0;
    struct map_entry *entry;
    while ((entry = map_next(&job->targets, &at)) != NULL) {
        free(entry->value);
    }
    map_fini(&job->targets);
}

static void
job_free(struct desk_job *job)
{
    list_remove(&job->link);
    timer_cancel(&job->core->timers, &job->timer);
    desk_walk_free(&job->walk);
    replay_fini(&job->replay);
    desk_groups_fini(&job->groups);
    free_targets(job);
    buffer_fini(&job->texts);
    queue_unref(&job->queue);
    free(job->positions);
    free(job->filter);
    free(job);
}

static void
free_jobs(struct list *list)
{
    struct list_link *link;
    while ((link = list_first(list)) != NULL) {
        job_free(CONTAINER_OF(link, struct desk_job, link));
    }
}

void
desk_free(struct desk **desk_pointer)
{
    struct desk *desk = *desk_pointer;
    if (desk == NULL) {
        return;
    }
    *desk_pointer = NULL;
    free_jobs(&desk->running);
    free_jobs(&desk->waiting);
    free_jobs(&desk->finished);
    free(desk);
}

/* Beginning ------------------------------------------------------------------------------------ */

static struct bytes
cut(struct bytes text, size_t size_max)
{
    return text.data == NULL ? text : bytes_make(text.data, bytes_utf8_prefix(text, size_max));
}

/* Copies what the request says; the texts lie one behind the other. */
static void
copy_texts(struct desk_job *job, const struct desk_order *request)
{
    char made[DESK_BATCH_MAX];
    (void)snprintf(made, sizeof(made), "%" PRIx64 "-%" PRIu64, (uint64_t)job->core->now.wall_ms,
                   job->number);
    struct bytes sources[] = {
        request->batch.size == 0 ? bytes_of(made) : cut(request->batch, DESK_BATCH_MAX),
        cut(request->user, UINT8_MAX),
        cut(request->note, DESK_NOTE_MAX),
        cut(request->target.exchange, UINT8_MAX),
        cut(request->target.routing_key, UINT8_MAX),
        queue_name(job->queue),
        ((const struct vhost *)job->queue->vhost)->name,
    };
    struct bytes *texts[] = {
        &job->request.batch,
        &job->request.user,
        &job->request.note,
        &job->request.target.exchange,
        &job->request.target.routing_key,
        &job->queue_name,
        &job->vhost_name,
    };
    size_t at = 0;
    for (size_t i = 0; i < ARRAY_LEN(sources); i++) {
        buffer_put(&job->texts, sources[i].data, sources[i].size);
    }
    for (size_t i = 0; i < ARRAY_LEN(sources) && !job->texts.failed; i++) {
        if (sources[i].data != NULL) {
            *texts[i] = bytes_make(job->texts.data + at, sources[i].size);
            at += sources[i].size;
        }
    }
}

static enum status
list_positions(struct desk_job *job)
{
    const struct desk_filter *filter = job->filter;
    if (filter->ids == NULL) {
        return STATUS_OK;
    }
    job->positions = try_alloc((filter->id_count + 1) * sizeof(*job->positions));
    if (job->positions == NULL) {
        return STATUS_NO_MEMORY;
    }
    for (uint32_t i = 0; i < filter->id_count; i++) {
        job->positions[i] = filter->ids[i].position;
    }
    job->only = (struct desk_positions){.at = job->positions, .count = filter->id_count};
    return STATUS_OK;
}

bool
desk_job_is_changing(const struct desk_job *job)
{
    return job->request.action == DESK_DROP ||
           (job->request.action == DESK_REPLAY && !job->request.is_dry);
}

static void
wake(void *context)
{
    struct desk_job *job = context;
    list_remove(&job->link);
    list_append(&job->core->desk->running, &job->link);
}

/* What a walk is for that drops, and asks nothing of contents, needs none. */
static enum status
make_walk(struct desk_job *job)
{
    struct desk_filter *filter = job->filter;
    bool needs_contents = job->request.action != DESK_DROP || desk_filter_needs_content(filter);
    if (job->request.action == DESK_REPLAY || job->request.action == DESK_DROP) {
        filter->places &= ~(1U << DESK_UNACKED);
    }
    job->walk =
        desk_walk_new(job->core, job->queue, filter->places, needs_contents, &job->request.from,
                      job->only.at == NULL ? NULL : &job->only, wake, job);
    return job->walk == NULL ? STATUS_NO_MEMORY : STATUS_OK;
}

static enum status
fill(struct desk_job *job, const struct desk_order *request)
{
    copy_texts(job, request);
    job->filter = desk_filter_copy(&request->filter);
    if (job->texts.failed || job->filter == NULL || list_positions(job) != STATUS_OK) {
        return STATUS_NO_MEMORY;
    }
    job->request.filter = *job->filter;
    job->replay.target = job->request.target;
    job->replay.batch = job->request.batch;
    job->replay.is_dry = job->request.is_dry;
    job->replay.user = request->is_by_user ? job->request.user : bytes_make(NULL, 0);
    return make_walk(job);
}

/* Messages of the queue at the places that are meant. */
static uint64_t
count_meant(const struct queue *queue, const struct desk_filter *filter)
{
    uint32_t places = filter->places;
    uint64_t count = 0;
    count += (places & 1U << DESK_READY) != 0 ? queue->ready_count : 0;
    count += (places & 1U << DESK_UNACKED) != 0 ? queue->unacked_count : 0;
    if (queue->waiting != NULL) {
        const uint64_t *waiting = queue->waiting->counts;
        bool means_waiting = (places & 1U << DESK_WAITING) != 0;
        count += means_waiting ? waiting[WAITING_DELAYED] + waiting[WAITING_RETRY] : 0;
        count += (places & 1U << DESK_PARKED) != 0 ? waiting[WAITING_PARKED] : 0;
    }
    return filter->ids != NULL && filter->id_count < count ? filter->id_count : count;
}

enum status
desk_begin(struct core *core, struct queue *queue, const struct desk_order *request,
           uint64_t *number_out)
{
    struct desk *desk = core->desk;
    assert(request->action < DESK_ACTION_COUNT);
    if (desk->open_count == DESK_JOBS_MAX) {
        return STATUS_REJECTED;
    }
    struct desk_job *job = xalloc(sizeof(*job));
    job->core = core;
    job->queue = queue_ref(queue);
    job->number = desk->last_number + 1;
    job->request = *request;
    job->progress.begun_wall_ms = core->now.wall_ms;
    buffer_init(&job->texts);
    replay_init(&job->replay, core, queue);
    desk_groups_init(&job->groups, core->seed);
    map_init(&job->targets, core->seed);
    if (fill(job, request) != STATUS_OK) {
        job_free(job);
        return STATUS_NO_MEMORY;
    }
    job->progress.total_count = count_meant(queue, job->filter);
    desk->last_number++;
    desk->open_count++;
    list_append(&desk->running, &job->link);
    if (desk_job_is_changing(job)) {
        audit_job(core, job, AUDIT_BEGUN);
    }
    *number_out = job->number;
    return STATUS_OK;
}

/* Ending --------------------------------------------------------------------------------------- */

static void
keep_finished(struct desk *desk, struct desk_job *job)
{
    queue_unref(&job->queue);
    list_append(&desk->finished, &job->link);
    if (++desk->finished_count > DESK_FINISHED_KEPT) {
        desk->finished_count--;
        job_free(CONTAINER_OF(list_first(&desk->finished), struct desk_job, link));
    }
}

static void
tell_end(struct desk_job *job)
{
    if (!job->is_told) {
        job->is_told = true;
        audit_job(job->core, job, AUDIT_ENDED);
    }
}

void
desk_job_end(struct desk_job *job, enum desk_state state)
{
    struct desk *desk = job->core->desk;
    job->progress.state = state;
    job->progress.ended_wall_ms = job->core->now.wall_ms;
    job->progress.cursor = desk_walk_cursor(job->walk);
    job->progress.unreadable_count += desk_walk_unreadable(job->walk);
    job->progress.token = core_log_token(job->core);
    job->core->requests_go_on = true; /* who waits for it may be one of them */
    desk_walk_free(&job->walk);
    timer_cancel(&job->core->timers, &job->timer);
    list_remove(&job->link);
    desk->open_count--;
    if (desk_job_is_changing(job)) {
        job->core->wants_flush = true;
        tell_end(job);
    }
    if (job->request.done != NULL) {
        job->request.done(job->request.context, job);
    }
    if (job->request.action == DESK_REPLAY || job->request.action == DESK_DROP) {
        keep_finished(desk, job);
    } else {
        job_free(job);
    }
}

void
desk_leave(struct core *core, uint64_t number)
{
    struct desk_job *job = (struct desk_job *)(uintptr_t)desk_find(core, number);
    if (job == NULL || job->walk == NULL) {
        return;
    }
    job->request.show = NULL;
    job->request.done = NULL;
    if (job->request.action == DESK_BROWSE || job->request.action == DESK_GROUP) {
        (void)desk_cancel(core, number);
    }
}

static void
on_timer(struct timer *timer, void *context)
{
    (void)context;
    wake(CONTAINER_OF(timer, struct desk_job, timer));
}

void
desk_job_wait(struct desk_job *job, enum desk_state state, uint64_t ms)
{
    struct core *core = job->core;
    job->progress.state = state;
    list_remove(&job->link);
    list_append(&core->desk->waiting, &job->link);
    if (ms > 0) {
        timer_arm(&core->timers, &job->timer, core->now.monotonic_ms + ms, on_timer, NULL);
    }
}

bool
desk_cancel(struct core *core, uint64_t number)
{
    struct desk_job *job = (struct desk_job *)(uintptr_t)desk_find(core, number);
    if (job == NULL || job->walk == NULL) {
        return false;
    }
    job->is_cancelled = true;
    if (!desk_walk_is_reading(job->walk)) {
        wake(job);
    }
    return true;
}

static void
stop_all(const struct list *jobs)
{
    LIST_FOR_EACH(jobs, link)
    {
        struct desk_job *job = CONTAINER_OF(link, struct desk_job, link);
        if (desk_job_is_changing(job)) {
            job->is_cancelled = true;
            tell_end(job);
        }
    }
}

void
desk_stop(struct core *core)
{
    stop_all(&core->desk->running);
    stop_all(&core->desk->waiting);
}

/* Looking -------------------------------------------------------------------------------------- */

static const struct desk_job *
next_in(const struct list *list, uint64_t number, const struct desk_job *best)
{
    LIST_FOR_EACH(list, link)
    {
        const struct desk_job *job = CONTAINER_OF(link, struct desk_job, link);
        if (job->number > number && (best == NULL || job->number < best->number)) {
            best = job;
        }
    }
    return best;
}

const struct desk_job *
desk_next(const struct core *core, uint64_t number)
{
    const struct desk *desk = core->desk;
    const struct desk_job *best = next_in(&desk->finished, number, NULL);
    best = next_in(&desk->waiting, number, best);
    return next_in(&desk->running, number, best);
}

const struct desk_job *
desk_find(const struct core *core, uint64_t number)
{
    const struct desk_job *job = number == 0 ? NULL : desk_next(core, number - 1);
    return job != NULL && job->number == number ? job : NULL;
}

uint64_t
desk_job_number(const struct desk_job *job)
{
    return job->number;
}

const struct desk_progress *
desk_job_progress(const struct desk_job *job)
{
    return &job->progress;
}

const struct desk_order *
desk_job_request(const struct desk_job *job)
{
    return &job->request;
}

struct bytes
desk_job_queue_name(const struct desk_job *job)
{
    return job->queue_name;
}

struct bytes
desk_job_vhost_name(const struct desk_job *job)
{
    return job->vhost_name;
}

const struct desk_groups *
desk_job_groups(const struct desk_job *job)
{
    return &job->groups;
}

const struct desk_target_count *
desk_job_next_target(const struct desk_job *job, uint32_t *at)
{
    const struct map_entry *entry = map_next(&job->targets, at);
    if (entry != NULL) {
        return entry->value;
    }
    bool has_others = *at != UINT32_MAX && job->other_targets.count > 0;
    *at = UINT32_MAX;
    return has_others ? &job->other_targets : NULL;
}
