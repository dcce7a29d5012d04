/* SPDX-License-Identifier: Apache-2.0 */
/* Jobs of the desk, carried out: what each does to a message, and in which slices. */
#include "broker/desk/desk_job.h"

#include <stdlib.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "broker/durability/durability.h"
#include "broker/topology/vhost.h"

/* How long a job waits before it looks again whether it may go on. */
enum { LOOK_AGAIN_MS = 50 };

/* A job may send on what its rate has given it in this time, at once. */
enum { RATE_BURST_US = 100 * 1000 };

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
        target_of(job, queue_name(queue_of_target(routes->targets[i])))->count++;
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
    desk_job_wait(job, DESK_WAITS_FOR_DISK, LOOK_AGAIN_MS);
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
        desk_job_wait(job, DESK_WAITS_FOR_RATE, (job->paced_us - now_us) / 1000 + 1);
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
    desk_job_wait(job, DESK_WAITS_FOR_ROOM, LOOK_AGAIN_MS);
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
    case REPLAY_NOT_ALLOWED:
        job->progress.not_allowed_count++;
        return DESK_GO_ON;
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
        desk_job_end(job, DESK_IS_CANCELLED);
        return true;
    }
    if (job->queue->deleted ||
        (job->full_since_ms != 0 &&
         core->now.monotonic_ms - job->full_since_ms >= DESK_FULL_PATIENCE_MS)) {
        desk_job_end(job, DESK_HAS_GIVEN_UP);
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
        /* What it has read may be what is too much. */
        desk_walk_let_go(job->walk);
        desk_job_wait(job, DESK_WAITS_FOR_ALARM, LOOK_AGAIN_MS);
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
        desk_job_wait(job, DESK_WAITS_FOR_DISK, 0);
        break;
    case DESK_STEP_LATER:
        if (job->is_exhausted) {
            list_append(&job->core->desk->running, &job->link);
        }
        break;
    case DESK_STEP_ENOUGH:
    case DESK_STEP_END:
        desk_job_end(job, DESK_IS_DONE);
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
