/* SPDX-License-Identifier: Apache-2.0 */
#include "management/monitor/drift_watch.h"

#include <stdlib.h>

#include "base/alloc.h"
#include "broker/request_desk.h"
#include "management/ask/drift.h"
#include "management/http/server.h"

/* Objects for which one more moment passes until the next look. */
enum { OBJECTS_PER_TICK = 1000 };

struct drift_watch {
    struct management *management; /* borrowed */
    struct drift_check *under_way; /* NULL: none */
    struct drift_look look;        /* the configurations that are known; with the check meanwhile */
    struct drift_found *found;     /* owned */
    size_t found_count;
    struct arena arena; /* of what was found; owned */
    uint64_t tick, next_tick;
};

/* One question to the core; its own until it is back. */
struct drift_check {
    struct desk_request desk;
    struct drift_watch *watch; /* NULL: nobody waits for it any more */
    struct drift_look look;
    bool is_compared;               /* with what is applied now */
    bool is_outdated;               /* and it was another: copies have it */
    struct generation_copy *copies; /* of the arena */
    size_t copy_count;
    struct arena arena; /* owned */
};

/* In the core ---------------------------------------------------------------------------------- */

static bool
knows(const struct drift_look *look, uint64_t generation_id)
{
    for (size_t i = 0; i < look->count; i++) {
        if (look->items[i].generation_id == generation_id) {
            return true;
        }
    }
    return false;
}

/* There are few of them: the newest of each vhost, and those kept besides. */
static void
compare(struct drift_check *check, const struct core *core)
{
    const struct generation *generation;
    size_t current_count = 0;
    for (size_t at = 0; (generation = core_generation_at(core, at)) != NULL; at++) {
        if (core_current_generation(core, generation->vhost) == generation) {
            current_count++;
            check->is_outdated |= !knows(&check->look, generation->id);
        }
    }
    check->is_outdated |= current_count != check->look.count;
    check->copies = arena_alloc(&check->arena, (current_count + 1) * sizeof(*check->copies));
}

static void
copy_texts(struct drift_check *check, const struct core *core)
{
    const struct generation *generation;
    for (size_t at = 0; (generation = core_generation_at(core, at)) != NULL; at++) {
        if (core_current_generation(core, generation->vhost) == generation) {
            generation_copy_make(&check->copies[check->copy_count++], &check->arena, generation,
                                 true);
        }
    }
}

static enum request_progress
step(struct request *request, struct core *core, uint32_t *budget)
{
    struct drift_check *check = CONTAINER_OF(request, struct drift_check, desk.request);
    if (!check->is_compared) {
        check->is_compared = true;
        compare(check, core);
        if (check->is_outdated) {
            copy_texts(check, core);
        }
    }
    return check->is_outdated ? REQUEST_DONE : drift_look_step(&check->look, core, budget);
}

/* The answer ----------------------------------------------------------------------------------- */

static void
free_check(struct drift_check *check)
{
    drift_look_fini(&check->look);
    arena_fini(&check->arena);
    free(check);
}

static void
forget_found(struct drift_watch *watch)
{
    free(watch->found);
    arena_fini(&watch->arena);
    watch->arena = (struct arena){0};
    watch->found = NULL;
    watch->found_count = 0;
}

static uint64_t
count_differences(struct drift_item *item)
{
    if (item->planner == NULL) {
        return 0;
    }
    struct plan *plan = planner_finish(&item->planner);
    uint64_t count = plan->step_count + plan->omitted_count;
    plan_free(&plan);
    return count;
}

static void
note_found(struct drift_watch *watch, struct drift_look *look)
{
    forget_found(watch);
    watch->found = xalloc((look->count + 1) * sizeof(*watch->found));
    for (size_t i = 0; i < look->count; i++) {
        watch->found[watch->found_count++] = (struct drift_found){
            .vhost = arena_copy(&watch->arena, look->items[i].vhost),
            .count = count_differences(&look->items[i]),
        };
    }
}

static uint64_t
objects_of(const struct drift_look *look)
{
    uint64_t count = 0;
    for (size_t i = 0; i < look->count; i++) {
        const struct config *config = look->items[i].config;
        count += config->queue_count + config->exchange_count + config->binding_count;
    }
    return count;
}

static void post(struct drift_watch *watch);

static void
take_answer(struct drift_watch *watch, struct drift_check *check)
{
    watch->under_way = NULL;
    if (check->is_outdated) {
        drift_look_begin(&watch->look, check->copies, check->copy_count);
        post(watch);
        return;
    }
    bool is_done = check->desk.request.status == STATUS_OK;
    if (is_done) {
        note_found(watch, &check->look);
    }
    drift_look_again(&check->look);
    watch->look = check->look;
    check->look = (struct drift_look){.count = 0};
    watch->next_tick += is_done ? objects_of(&watch->look) / OBJECTS_PER_TICK : 0;
}

static void
on_answered(struct desk_request *desk)
{
    struct drift_check *check = CONTAINER_OF(desk, struct drift_check, desk);
    if (check->watch != NULL) {
        take_answer(check->watch, check);
    }
    free_check(check);
}

static void
post(struct drift_watch *watch)
{
    struct drift_check *check = xalloc(sizeof(*check));
    check->watch = watch;
    check->look = watch->look;
    watch->look = (struct drift_look){.count = 0};
    check->desk.request.step = step;
    check->desk.answered = on_answered;
    watch->under_way = check;
    request_desk_post(watch->management->desk, &check->desk);
}

/* The watch ------------------------------------------------------------------------------------ */

void
drift_watch_tick(struct drift_watch *watch, uint64_t queue_count)
{
    watch->tick++;
    if (watch->under_way == NULL && watch->tick > watch->next_tick) {
        watch->next_tick = watch->tick + queue_count / OBJECTS_PER_TICK;
        post(watch);
    }
}

const struct drift_found *
drift_watch_at(const struct drift_watch *watch, size_t at)
{
    return at < watch->found_count ? &watch->found[at] : NULL;
}

uint64_t
drift_watch_total(const struct drift_watch *watch)
{
    uint64_t total = 0;
    for (size_t i = 0; i < watch->found_count; i++) {
        total += watch->found[i].count;
    }
    return total;
}

struct drift_watch *
drift_watch_new(struct management *management)
{
    struct drift_watch *watch = xalloc(sizeof(*watch));
    watch->management = management;
    return watch;
}

void
drift_watch_free(struct drift_watch **watch_pointer)
{
    struct drift_watch *watch = *watch_pointer;
    *watch_pointer = NULL;
    if (watch == NULL) {
        return;
    }
    if (watch->under_way != NULL) {
        watch->under_way->watch = NULL;
    }
    drift_look_fini(&watch->look);
    forget_found(watch);
    free(watch);
}
