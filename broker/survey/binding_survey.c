/* SPDX-License-Identifier: Apache-2.0 */
#include "broker/survey/binding_survey.h"

#include "base/sampled_rates.h"
#include "broker/core/core_clock.h"
#include "broker/topology/vhost.h"
#include "queues/policy.h"

enum { FEW_BINDINGS = 1024 };

/* Exchanges ---------------------------------------------------------------------------------- */

/* Its counters began with it, or with the broker if it is older. */
static void
read_exchange_rates(struct survey_exchange *row, struct exchange *exchange)
{
    const struct vhost *vhost = exchange->vhost;
    const struct core *core = vhost->core;
    const uint64_t counters[] = {exchange->published_count, exchange->routed_count};
    double rates[ARRAY_LEN(counters)];
    uint64_t uptime_ms = core_uptime_ms(core);
    int64_t age_ms = core->now.wall_ms - (int64_t)exchange->made.wall_s * 1000;
    bool is_younger = exchange->made.wall_s != 0 && age_ms >= 0 && (uint64_t)age_ms < uptime_ms;
    sampled_rates_look(&exchange->rates, counters, ARRAY_LEN(counters), core_from_now_ms(core),
                       is_younger ? (uint64_t)age_ms : uptime_ms, rates);
    row->published_rate = rates[0];
    row->routed_rate = rates[1];
}

static void
add_exchange(struct exchange_survey *survey, struct exchange *exchange)
{
    const struct vhost *vhost = exchange->vhost;
    struct arena *arena = &survey->rows.arena;
    struct survey_exchange *row = survey_rows_add(&survey->rows, sizeof(*row));
    row->vhost = arena_copy(arena, vhost->name);
    row->name = arena_copy(arena, exchange->name);
    row->arguments = arena_copy(arena, exchange->arguments);
    row->type = exchange_declared_type(exchange)->name;
    row->durable = exchange->durable;
    row->auto_delete = exchange->auto_delete;
    row->internal = exchange->internal;
    row->from_file = exchange->from_file;
    row->bindings = exchange->bindings.count;
    row->published = exchange->published_count;
    row->routed = exchange->routed_count;
    row->unroutable = exchange->unroutable_count;
    read_exchange_rates(row, exchange);
    if (exchange->policy != NULL) {
        row->policy = arena_copy(arena, exchange->policy->is.name);
    }
}

/* The exchange of that name where the viewer may look; NULL: there is none. */
static struct exchange *
find_exchange(struct core *core, const struct survey_viewer *viewer, struct bytes vhost_name,
              struct bytes name)
{
    const struct vhost *vhost = core_find_vhost(core, vhost_name);
    return vhost == NULL || !survey_may_see(core, viewer, vhost_name)
               ? NULL
               : vhost_find_exchange(vhost, name);
}

enum request_progress
exchange_survey_step(struct exchange_survey *survey, struct core *core, uint32_t *budget)
{
    struct exchange *exchange;
    if (survey->exchange.data != NULL) {
        exchange = find_exchange(core, &survey->viewer, survey->vhost, survey->exchange);
        if (exchange != NULL) {
            add_exchange(survey, exchange);
        }
        return REQUEST_DONE;
    }
    struct survey_plan plan = {
        .core = core,
        .viewer = &survey->viewer,
        .only = survey->vhost,
        .map = SURVEY_EXCHANGES,
        .arena = &survey->rows.arena,
    };
    while ((exchange = survey_walk_next(&survey->walk, &plan, budget)) != NULL) {
        add_exchange(survey, exchange);
    }
    return survey->walk.is_done ? REQUEST_DONE : REQUEST_MORE;
}

void
exchange_survey_fini(struct exchange_survey *survey)
{
    survey_rows_fini(&survey->rows);
}

static int
compare_exchanges(const void *a, const void *b)
{
    const struct survey_exchange *first = a;
    const struct survey_exchange *second = b;
    return survey_compare_names(first->vhost, first->name, second->vhost, second->name);
}

void
exchange_survey_sort(struct exchange_survey *survey)
{
    survey_rows_sort(&survey->rows, compare_exchanges);
}

/* Bindings ----------------------------------------------------------------------------------- */

static struct bytes
name_of_target(struct route_target *target)
{
    return target->kind == ROUTE_TARGET_QUEUE ? queue_name(queue_of_target(target))
                                              : exchange_of_target(target)->name;
}

static bool
is_wanted(const struct survey_ends *ends, struct route_target *target)
{
    bool is_kind =
        target->kind == ROUTE_TARGET_QUEUE ? !ends->only_to_exchanges : !ends->only_to_queues;
    return target->kind != ROUTE_TARGET_GONE && is_kind &&
           (ends->destination.data == NULL ||
            bytes_equal(ends->destination, name_of_target(target)));
}

static void
add_binding(struct binding_survey *survey, const struct binding *binding)
{
    struct arena *arena = &survey->rows.arena;
    struct survey_route *row = survey_rows_add(&survey->rows, sizeof(*row));
    row->vhost = survey->source_vhost;
    row->source = survey->source;
    row->destination = arena_copy(arena, name_of_target(binding->target));
    row->to_exchange = binding->target->kind == ROUTE_TARGET_EXCHANGE;
    row->routing_key = arena_copy(arena, binding_routing_key(binding));
    row->arguments = arena_copy(arena, binding_arguments(binding));
}

/* The exchange under way, if it is still the same. */
static const struct exchange *
source_under_way(const struct binding_survey *survey, struct core *core)
{
    const struct vhost *vhost = core_find_vhost(core, survey->source_vhost);
    const struct exchange *exchange =
        vhost == NULL ? NULL : vhost_find_exchange(vhost, survey->source);
    return exchange == NULL || exchange->target.id != survey->source_id ? NULL : exchange;
}

static void
begin_source(struct binding_survey *survey, const struct exchange *exchange)
{
    const struct vhost *vhost = exchange->vhost;
    struct arena *arena = &survey->rows.arena;
    survey->source_vhost = arena_copy(arena, vhost->name);
    survey->source = arena_copy(arena, exchange->name);
    survey->source_id = exchange->target.id;
    survey->bindings = (struct binding_walk){.has_begun = false};
    survey->mark = survey->rows.count;
}

/* As many of its bindings as the budget allows; true: that was the last one. When they change
 * between two slices, the part under way is read anew and in one go: it might never end else. */
static bool
walk_source(struct binding_survey *survey, const struct exchange *exchange, uint32_t *budget)
{
    bool is_new_part;
    bool is_whole =
        !binding_walk_resume(&survey->bindings, &exchange->bindings, exchange->generation);
    survey->rows.count = is_whole ? survey->mark : survey->rows.count;
    while (*budget > 0 || is_whole) {
        const struct binding *binding =
            binding_walk_next(&survey->bindings, &exchange->bindings, &is_new_part);
        if (binding == NULL) {
            return true;
        }
        if (is_new_part) {
            survey->mark = survey->rows.count;
            is_whole = false;
        }
        if (is_wanted(&survey->ends, binding->target)) {
            add_binding(survey, binding);
        }
        *budget -= *budget > 0 ? 1 : 0;
    }
    return false;
}

/* Goes through exchanges; true at their end. */
static bool
walk_exchanges(struct binding_survey *survey, struct core *core, uint32_t *budget)
{
    struct survey_plan plan = {
        .core = core,
        .viewer = &survey->viewer,
        .only = survey->ends.vhost,
        .map = SURVEY_EXCHANGES,
        .arena = &survey->rows.arena,
    };
    while (*budget > 0) {
        const struct exchange *exchange;
        if (survey->source.data != NULL) {
            exchange = source_under_way(survey, core);
            if (exchange == NULL || walk_source(survey, exchange, budget)) {
                survey->source = bytes_make(NULL, 0);
            }
            continue;
        }
        exchange = survey_walk_next(&survey->exchanges, &plan, budget);
        if (exchange == NULL) {
            break;
        }
        if (exchange->bindings.count > 0) {
            begin_source(survey, exchange);
        }
    }
    return survey->exchanges.is_done;
}

static void
add_default_binding(struct binding_survey *survey, const struct queue *queue)
{
    const struct vhost *vhost = queue->vhost;
    struct arena *arena = &survey->rows.arena;
    struct survey_route *row = survey_rows_add(&survey->rows, sizeof(*row));
    row->vhost = arena_copy(arena, vhost->name);
    row->source = bytes_make("", 0);
    row->destination = arena_copy(arena, queue_name(queue));
    row->routing_key = row->destination;
    row->arguments = bytes_make("", 0);
}

static bool
wants_default(const struct survey_ends *ends)
{
    return !ends->only_to_exchanges && (ends->source.data == NULL || ends->source.size == 0);
}

/* The bindings of the default exchange; true at their end. */
static bool
walk_queues(struct binding_survey *survey, struct core *core, uint32_t *budget)
{
    struct survey_plan plan = {
        .core = core,
        .viewer = &survey->viewer,
        .only = survey->ends.vhost,
        .map = SURVEY_QUEUES,
        .arena = &survey->rows.arena,
    };
    const struct queue *queue;
    while ((queue = survey_walk_next(&survey->queues, &plan, budget)) != NULL) {
        if (survey->ends.destination.data == NULL ||
            bytes_equal(survey->ends.destination, queue_name(queue))) {
            add_default_binding(survey, queue);
        }
    }
    return survey->queues.is_done;
}

/* Whether what the ends name is there. Looked at once, at the beginning. */
static bool
check_ends(const struct survey_ends *ends, struct core *core)
{
    const struct vhost *vhost =
        ends->vhost.data == NULL ? NULL : core_find_vhost(core, ends->vhost);
    if (ends->vhost.data == NULL || vhost == NULL) {
        return ends->vhost.data == NULL;
    }
    bool has_source = ends->source.data == NULL || vhost_find_exchange(vhost, ends->source) != NULL;
    bool has_destination =
        ends->destination.data == NULL ||
        (!ends->only_to_exchanges && vhost_find_queue(vhost, ends->destination) != NULL) ||
        (!ends->only_to_queues && vhost_find_exchange(vhost, ends->destination) != NULL);
    return has_source && has_destination;
}

/* The one queue or exchange that bindings are to lead to; NULL: there is none, or there may be two.
 */
static struct route_target *
named_target(const struct binding_survey *survey, struct core *core)
{
    const struct survey_ends *ends = &survey->ends;
    const struct vhost *vhost =
        ends->vhost.data == NULL ? NULL : core_find_vhost(core, ends->vhost);
    if (vhost == NULL || ends->destination.data == NULL ||
        ends->only_to_queues == ends->only_to_exchanges ||
        !survey_may_see(core, &survey->viewer, ends->vhost)) {
        return NULL;
    }
    if (ends->only_to_queues) {
        struct queue *queue = vhost_find_queue(vhost, ends->destination);
        return queue == NULL ? NULL : &queue->target;
    }
    struct exchange *exchange = vhost_find_exchange(vhost, ends->destination);
    return exchange == NULL ? NULL : &exchange->target;
}

static bool
has_few_bindings(const struct route_target *target)
{
    uint32_t count = 0;
    LIST_FOR_EACH(&target->bindings, link)
    {
        if (++count > FEW_BINDINGS) {
            return false;
        }
    }
    return true;
}

/* All that lead to the target, at once: they hang on it. */
static void
take_few(struct binding_survey *survey, const struct route_target *target, uint32_t *budget)
{
    LIST_FOR_EACH(&target->bindings, link)
    {
        const struct binding *binding = CONTAINER_OF(link, struct binding, target_link);
        const struct exchange *source = binding->source;
        const struct vhost *vhost = source->vhost;
        *budget -= *budget > 0 ? 1 : 0;
        if (survey->ends.source.data != NULL && !bytes_equal(survey->ends.source, source->name)) {
            continue;
        }
        survey->source_vhost = arena_copy(&survey->rows.arena, vhost->name);
        survey->source = arena_copy(&survey->rows.arena, source->name);
        add_binding(survey, binding);
    }
    if (target->kind == ROUTE_TARGET_QUEUE && wants_default(&survey->ends)) {
        add_default_binding(survey, CONTAINER_OF(target, struct queue, target));
    }
    survey->source = bytes_make(NULL, 0);
    survey->exchanges.has_begun = true;
    survey->exchanges.is_done = true;
    survey->queues.is_done = true;
}

static void
begin_named_source(struct binding_survey *survey, struct core *core)
{
    const struct exchange *exchange =
        find_exchange(core, &survey->viewer, survey->ends.vhost, survey->ends.source);
    if (exchange != NULL) {
        begin_source(survey, exchange);
    }
    survey->exchanges.has_begun = true;
    survey->exchanges.is_done = true;
}

/* A source by name needs no walk to be found, nor do a few bindings of one destination. */
static void
begin(struct binding_survey *survey, struct core *core, uint32_t *budget)
{
    const struct route_target *target = named_target(survey, core);
    survey->ends_exist = check_ends(&survey->ends, core);
    if (target != NULL && has_few_bindings(target)) {
        take_few(survey, target, budget);
    } else if (survey->ends.source.data != NULL) {
        begin_named_source(survey, core);
    }
}

enum request_progress
binding_survey_step(struct binding_survey *survey, struct core *core, uint32_t *budget)
{
    if (!survey->exchanges.has_begun) {
        begin(survey, core, budget);
    }
    while (*budget > 0 && (survey->source.data != NULL || !survey->exchanges.is_done)) {
        (void)walk_exchanges(survey, core, budget);
    }
    if (survey->source.data != NULL || !survey->exchanges.is_done) {
        return REQUEST_MORE;
    }
    bool is_done = survey->queues.is_done || !wants_default(&survey->ends) ||
                   walk_queues(survey, core, budget);
    return is_done ? REQUEST_DONE : REQUEST_MORE;
}

void
binding_survey_fini(struct binding_survey *survey)
{
    survey_rows_fini(&survey->rows);
}

static int
compare_bindings(const void *a, const void *b)
{
    const struct survey_route *first = a;
    const struct survey_route *second = b;
    int order = bytes_compare(first->vhost, second->vhost);
    order = order != 0 ? order : bytes_compare(first->source, second->source);
    order = order != 0 ? order : first->to_exchange - second->to_exchange;
    order = order != 0 ? order : bytes_compare(first->destination, second->destination);
    order = order != 0 ? order : bytes_compare(first->routing_key, second->routing_key);
    return order != 0 ? order : bytes_compare(first->arguments, second->arguments);
}

void
binding_survey_sort(struct binding_survey *survey)
{
    survey_rows_sort(&survey->rows, compare_bindings);
}
