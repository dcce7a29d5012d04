/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/desk.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "broker/audit.h"
#include "broker/desk_walk.h"
#include "broker/durability.h"
#include "broker/vhost.h"

/* How long a job waits before it looks again whether it may go on. */
enum { LOOK_AGAIN_MS = 50 };

/* A job may send on what its rate has given it in this time, at once. */
enum { RATE_BURST_US = 100 * 1000 };

struct desk {
    struct core *core;
    struct list running;  /* of desk_job.link: those that may go on */
    struct list waiting;  /* of the same */
    struct list finished; /* of the same, the oldest first */
    uint32_t open_count;  /* running and waiting */
    uint32_t finished_count;
    uint64_t last_number;
    uint32_t moves_left, octets_left; /* in this tick */
};

struct desk_job {
    struct list_link link;
    struct core *core;
    struct queue *queue; /* a reference; NULL: it is over */
    uint64_t number;
    struct desk_request request; /* with texts of its own */
    struct desk_filter *filter;  /* owned */
    struct buffer texts;         /* of the request, and: */
    struct bytes queue_name, vhost_name;
    struct desk_progress progress;
    struct desk_walk *walk; /* owned; NULL: it is over */
    uint64_t *positions;    /* of the filter's ids; owned; NULL: none */
    struct desk_positions only;
    struct replay replay;
    struct desk_groups groups;
    struct map targets; /* struct desk_target_count by name; owns */
    struct desk_target_count other_targets;
    bool is_cancelled;
    bool is_exhausted;      /* it has had its share of the tick */
    uint64_t paced_us;      /* up to when what it sent on has used its rate; monotonic */
    uint64_t full_since_ms; /* monotonic; 0: nothing is full */
    struct timer timer;
};

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
copy_texts(struct desk_job *job, const struct desk_request *request)
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
        job->queue->name,
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

static bool
is_changing(const struct desk_job *job)
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
fill(struct desk_job *job, const struct desk_request *request)
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
    return make_walk(job);
}

enum status
desk_begin(struct core *core, struct queue *queue, const struct desk_request *request,
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
    desk->last_number++;
    desk->open_count++;
    list_append(&desk->running, &job->link);
    if (is_changing(job)) {
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
end_job(struct desk_job *job, enum desk_state state)
{
    struct desk *desk = job->core->desk;
    job->progress.state = state;
    job->progress.ended_wall_ms = job->core->now.wall_ms;
    job->progress.cursor = desk_walk_cursor(job->walk);
    job->progress.unreadable_count += desk_walk_unreadable(job->walk);
    job->progress.token = core_log_token(job->core);
    desk_walk_free(&job->walk);
    timer_cancel(&job->core->timers, &job->timer);
    list_remove(&job->link);
    desk->open_count--;
    if (is_changing(job)) {
        job->core->wants_flush = true;
        audit_job(job->core, job, AUDIT_ENDED);
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

static void
on_timer(struct timer *timer, void *context)
{
    (void)context;
    wake(CONTAINER_OF(timer, struct desk_job, timer));
}

static void
wait_in(struct desk_job *job, enum desk_state state, uint64_t ms)
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

const struct desk_request *
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

/* Where messages went -------------------------------------------------------------------------- */

static struct desk_target_count *
target_of(struct desk_job *job, struct bytes name)
{
    struct desk_target_count *target = map_get(&job->targets, name);
    if (target != NULL || map_count(&job->targets) == DESK_TARGETS_MAX) {
        return target == NULL ? &job->other_targets : target;
    }
    target = try_alloc(sizeof(*target) + name.size);
    if (target == NULL) {
        return &job->other_targets;
    }
    memcpy(target + 1, name.data, name.size);
    *target = (struct desk_target_count){.name = bytes_make(target + 1, name.size)};
    map_put(&job->targets, target->name, target);
    return target;
}

static void
count_targets(struct desk_job *job)
{
    const struct route_set *routes = &job->core->routes;
    for (uint32_t i = 0; i < routes->count; i++) {
        target_of(job, queue_of_target(routes->targets[i])->name)->count++;
    }
}

/* Acting --------------------------------------------------------------------------------------- */

static enum desk_answer
count_done(struct desk_job *job, const struct desk_row *row)
{
    job->progress.done_count++;
    job->progress.done_octets += row->entry.size;
    return job->progress.done_count == job->request.limit ? DESK_ENOUGH : DESK_GO_ON;
}

static enum desk_answer
show(struct desk_job *job, const struct desk_row *row, const struct desk_facts *facts)
{
    bool wants_more =
        job->request.show == NULL || job->request.show(job->request.context, row, facts);
    enum desk_answer answer = count_done(job, row);
    return wants_more ? answer : DESK_ENOUGH;
}

static enum desk_answer
wait_for_memory(struct desk_job *job)
{
    wait_in(job, DESK_WAITS_FOR_DISK, LOOK_AGAIN_MS);
    return DESK_LATER;
}

/* Whether the tick has something left for it. */
static bool
has_share(struct desk_job *job)
{
    const struct desk *desk = job->core->desk;
    job->is_exhausted =
        desk->moves_left == 0 || desk->octets_left == 0 || core_has_worked(job->core);
    return !job->is_exhausted;
}

static void
take_share(struct desk *desk, uint32_t octets)
{
    desk->moves_left--;
    desk->octets_left -= octets < desk->octets_left ? octets : desk->octets_left;
}

static enum desk_answer
drop(struct desk_job *job, const struct desk_row *row)
{
    if (!has_share(job)) {
        return DESK_LATER;
    }
    take_share(job->core->desk, 0);
    if (desk_drop_message(job->core, job->queue, row) != STATUS_OK) {
        return wait_for_memory(job);
    }
    job->core->counters.desk_dropped++;
    return count_done(job, row);
}

/* Whether its rate allows one more now; else it waits. */
static bool
is_in_time(struct desk_job *job)
{
    uint64_t now_us = job->core->now.monotonic_ms * 1000;
    if (job->request.rate == 0 || job->request.is_dry) {
        return true;
    }
    if (job->paced_us + RATE_BURST_US < now_us) {
        job->paced_us = now_us - RATE_BURST_US;
    }
    if (job->paced_us > now_us) {
        wait_in(job, DESK_WAITS_FOR_RATE, (job->paced_us - now_us) / 1000 + 1);
        return false;
    }
    return true;
}

static enum desk_answer
count_replayed(struct desk_job *job, const struct desk_row *row)
{
    count_targets(job);
    job->full_since_ms = 0;
    if (!job->request.is_dry) {
        job->core->counters.desk_replayed++;
    }
    if (job->request.rate > 0) {
        job->paced_us += UINT64_C(1000000) / job->request.rate;
    }
    return count_done(job, row);
}

static enum desk_answer
on_full(struct desk_job *job)
{
    if (job->request.is_dry) {
        job->progress.full_count++;
        return DESK_GO_ON;
    }
    if (job->full_since_ms == 0) {
        job->full_since_ms = job->core->now.monotonic_ms;
        job->progress.full_count++;
    }
    wait_in(job, DESK_WAITS_FOR_ROOM, LOOK_AGAIN_MS);
    return DESK_LATER;
}

static enum desk_answer
send_on(struct desk_job *job, const struct desk_row *row, const struct desk_facts *facts)
{
    if (!has_share(job) || !is_in_time(job)) {
        return DESK_LATER;
    }
    take_share(job->core->desk, job->request.is_dry ? 0 : row->entry.size);
    switch (replay_message(&job->replay, row, facts)) {
    case REPLAY_DONE:
        return count_replayed(job, row);
    case REPLAY_NO_TARGET:
        job->progress.no_target_count++;
        return DESK_GO_ON;
    case REPLAY_TARGET_FULL:
        return on_full(job);
    case REPLAY_TOO_LARGE:
        job->progress.too_large_count++;
        return DESK_GO_ON;
    case REPLAY_NO_MEMORY:
        break;
    }
    return wait_for_memory(job);
}

static enum desk_answer
act(struct desk_job *job, const struct desk_row *row, const struct desk_facts *facts)
{
    switch (job->request.action) {
    case DESK_BROWSE:
        return show(job, row, facts);
    case DESK_GROUP:
        desk_groups_add(&job->groups, row, facts, desk_row_age_ms(job->core, job->queue, row));
        return count_done(job, row);
    case DESK_REPLAY:
        return send_on(job, row, facts);
    case DESK_DROP:
        return drop(job, row);
    case DESK_ACTION_COUNT:
        break;
    }
    return DESK_ENOUGH;
}

/* What cannot be read is shown, if nothing is asked of its content, and stays as it is. */
static enum desk_answer
pass_unreadable(struct desk_job *job, const struct desk_row *row)
{
    job->progress.unreadable_count++;
    bool is_shown = job->request.action == DESK_BROWSE && !desk_filter_needs_content(job->filter);
    return is_shown ? show(job, row, NULL) : DESK_GO_ON;
}

static enum desk_answer
look(void *context, const struct desk_row *row)
{
    struct desk_job *job = context;
    UNINITIALIZED struct desk_facts facts;
    if (row->is_unreadable) {
        return pass_unreadable(job, row);
    }
    if (row->content == NULL) {
        return act(job, row, NULL);
    }
    desk_facts_read(&facts, job->core, job->queue, row);
    return desk_filter_means(job->filter, row, &facts) ? act(job, row, &facts) : DESK_GO_ON;
}

static bool
is_meant(void *context, const struct desk_row *row)
{
    const struct desk_job *job = context;
    return desk_filter_may_mean(job->filter, job->core, job->queue, row);
}

/* Working -------------------------------------------------------------------------------------- */

/* While memory or the disk are short, nothing is published. */
static bool
may_publish(const struct core *core)
{
    return core->alarms == 0 && !core_log_is_behind(core);
}

/* Whether the job is over before its next slice. */
static bool
ends_before(struct desk_job *job)
{
    const struct core *core = job->core;
    if (job->is_cancelled) {
        end_job(job, DESK_IS_CANCELLED);
        return true;
    }
    if (job->queue->deleted ||
        (job->full_since_ms != 0 &&
         core->now.monotonic_ms - job->full_since_ms >= DESK_FULL_PATIENCE_MS)) {
        end_job(job, DESK_HAS_GIVEN_UP);
        return true;
    }
    return false;
}

static void
work_on(struct desk_job *job)
{
    struct desk_looker looker = {.is_meant = is_meant, .look = look, .context = job};
    if (ends_before(job)) {
        return;
    }
    if (job->request.action == DESK_REPLAY && !job->request.is_dry && !may_publish(job->core)) {
        wait_in(job, DESK_WAITS_FOR_ALARM, LOOK_AGAIN_MS);
        return;
    }
    timer_cancel(&job->core->timers, &job->timer);
    job->progress.state = DESK_RUNS;
    job->is_exhausted = false;
    switch (desk_walk_step(job->walk, &looker)) {
    case DESK_STEP_MORE:
        list_append(&job->core->desk->running, &job->link);
        break;
    case DESK_STEP_WAITS:
        wait_in(job, DESK_WAITS_FOR_DISK, 0);
        break;
    case DESK_STEP_LATER:
        if (job->is_exhausted) {
            list_append(&job->core->desk->running, &job->link);
        }
        break;
    case DESK_STEP_ENOUGH:
    case DESK_STEP_END:
        end_job(job, DESK_IS_DONE);
        break;
    }
}

void
core_work_on_desk(struct core *core)
{
    struct desk *desk = core->desk;
    if (list_is_empty(&desk->running)) {
        return;
    }
    struct list working;
    desk->moves_left = DESK_MOVES_PER_TICK;
    desk->octets_left = DESK_OCTETS_PER_TICK;
    list_init(&working);
    struct list_link *link;
    while ((link = list_pop(&desk->running)) != NULL) {
        list_append(&working, link);
    }
    while ((link = list_pop(&working)) != NULL) {
        work_on(CONTAINER_OF(link, struct desk_job, link));
    }
}

bool
core_has_desk_work(const struct core *core)
{
    return !list_is_empty(&core->desk->running);
}
