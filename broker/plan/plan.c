/* SPDX-License-Identifier: Apache-2.0 */
/* Walks the configuration against what is there, then what is there against the configuration. */
#include "broker/plan/plan.h"

#include <stdlib.h>

#include "amqp/table.h"
#include "base/assert.h"
#include "broker/changes/generation.h"
#include "broker/plan/plan_parts.h"
#include "broker/plan/plan_rights.h"
#include "broker/plan/plan_words.h"
#include "queues/dying.h"
#include "queues/waiting.h"

struct vhost *
planner_vhost(const struct planner *planner)
{
    return core_find_vhost(planner->core, planner->config->vhost);
}

/* Steps --------------------------------------------------------------------------------------- */

struct plan_step *
planner_add_step(struct planner *planner, enum plan_action action, enum plan_object object,
                 struct bytes name)
{
    struct plan *plan = planner->plan;
    plan->counts[action]++;
    if (plan->step_count == PLAN_STEPS_MAX) {
        plan->omitted_count++;
        planner->spare = (struct plan_step){.action = action};
        return &planner->spare;
    }
    if (plan->step_count == plan->step_capacity) {
        plan->step_capacity = plan->step_capacity == 0 ? 64 : 2 * plan->step_capacity;
        plan->steps = xrealloc(plan->steps, plan->step_capacity * sizeof(*plan->steps));
    }
    struct plan_step *step = &plan->steps[plan->step_count++];
    *step = (struct plan_step){.action = action,
                               .object = object,
                               .name = arena_copy(&plan->arena, name),
                               .arguments = ""};
    return step;
}

/* Takes back the step that was added last: nothing was different. */
void
planner_drop_step(struct planner *planner, const struct plan_step *step)
{
    struct plan *plan = planner->plan;
    plan->counts[step->action]--;
    if (step == &planner->spare) {
        plan->omitted_count--;
    } else {
        assert(step == &plan->steps[plan->step_count - 1]);
        plan->step_count--;
    }
}

void
planner_add_line(struct planner *planner, struct plan_step *step, const char *key, const char *from,
                 const char *to)
{
    plan_lines_add(&planner->plan->arena, &step->lines,
                   (struct plan_line){.key = key, .from = from, .to = to});
}

void
planner_add_sentence(struct planner *planner, struct plan_step *step, const char *sentence)
{
    plan_lines_add(&planner->plan->arena, &step->lines, (struct plan_line){.sentence = sentence});
}

static bool
names_have(const struct bytes *names, size_t count, struct bytes name)
{
    for (size_t i = 0; i < count; i++) {
        if (bytes_equal(names[i], name)) {
            return true;
        }
    }
    return false;
}

/* What goes with the object, and whether that was allowed. */
void
planner_judge_loss(struct planner *planner, struct plan_step *step, bool is_protected)
{
    const struct plan_options *options = planner->options;
    bool loses = step->message_count + step->consumer_count + step->binding_count > 0;
    if (loses && !names_have(options->discards, options->discard_count, step->name)) {
        step->needs |= PLAN_NEEDS_DISCARD;
    }
    if (is_protected && !names_have(options->unprotected, options->unprotected_count, step->name)) {
        step->needs |= PLAN_NEEDS_UNPROTECT;
    }
    planner->plan->refused_count += step->needs != 0;
}

void
planner_note_queue_loss(struct plan_step *step, const struct queue *queue)
{
    step->message_count = queue->ready_count + queue->unacked_count + queue_waiting_count(queue) +
                          (queue->dying == NULL ? 0 : queue->dying->count);
    step->consumer_count = queue->consumer_count;
}

/* Who made it is told of what clients made; what the file made is the file's. */
void
planner_note_maker(struct planner *planner, struct plan_step *step, const struct made *made)
{
    step->made_by = arena_copy(&planner->plan->arena, core_maker_name(planner->core, made));
    step->made_s = made->wall_s;
}

/* Bindings --------------------------------------------------------------------------------------
 */

/* Hardly any two bindings have the same one, also where many are between one exchange and one
 * queue. Lives until the next call. */
static struct bytes
binding_key(struct planner *planner, const struct config_binding *binding)
{
    struct buffer *key = &planner->key;
    uint64_t hash =
        binding_texts_hash(planner->core->seed, binding->routing_key, binding->arguments);
    buffer_clear(key);
    buffer_put_u8(key, binding->to_exchange);
    buffer_put_u64(key, hash);
    buffer_put_longstr(key, binding->source);
    buffer_put_bytes(key, binding->destination);
    assert(!key->failed);
    return buffer_bytes(key);
}

void
planner_note_binding(struct planner *planner, const struct config_binding *binding)
{
    struct bytes key = binding_key(planner, binding);
    struct named_binding *named = arena_alloc(&planner->keys, sizeof(*named));
    named->binding = binding;
    named->next = map_get(&planner->bindings, key);
    map_put(&planner->bindings, arena_copy(&planner->keys, key), named);
}

struct bytes
binding_destination(const struct binding *binding)
{
    return binding->target->kind == ROUTE_TARGET_EXCHANGE
               ? exchange_of_target(binding->target)->name
               : queue_name(queue_of_target(binding->target));
}

/* The binding leads somewhere: its target is not being deleted. */
bool
planner_names_binding(struct planner *planner, const struct binding *binding)
{
    const struct exchange *source = binding->source;
    const struct config_binding asked = {
        .source = source->name,
        .destination = binding_destination(binding),
        .to_exchange = binding->target->kind == ROUTE_TARGET_EXCHANGE,
        .routing_key = binding_routing_key(binding),
        .arguments = binding_arguments(binding),
    };
    const struct named_binding *named = map_get(&planner->bindings, binding_key(planner, &asked));
    while (named != NULL && (!bytes_equal(named->binding->routing_key, asked.routing_key) ||
                             !table_equal(named->binding->arguments, asked.arguments))) {
        named = named->next;
    }
    return named != NULL;
}

struct plan_step *
planner_add_binding_step(struct planner *planner, enum plan_action action,
                         const struct config_binding *binding)
{
    struct plan_step *step = planner_add_step(planner, action, PLAN_BINDING, binding->source);
    if (step != &planner->spare) {
        struct arena *arena = &planner->plan->arena;
        step->to_exchange = binding->to_exchange;
        step->destination = arena_copy(arena, binding->destination);
        step->routing_key = arena_copy(arena, binding->routing_key);
        step->table = arena_copy(arena, binding->arguments);
        step->arguments = plan_table_text(arena, binding->arguments);
    }
    return step;
}

/* The walk ------------------------------------------------------------------------------------- */

static void
next_phase(struct planner *planner)
{
    const struct vhost *vhost = planner_vhost(planner);
    planner->phase++;
    planner->at = 0;
    if (vhost == NULL) {
        return;
    }
    if (planner->phase == PHASE_LEFT_EXCHANGES || planner->phase == PHASE_LEFT_BINDINGS) {
        planner->at = map_places(&vhost->exchanges);
    } else if (planner->phase == PHASE_LEFT_QUEUES) {
        planner->at = map_places(&vhost->queues);
    }
}

/* The next object of a list of the configuration; false at its end. */
static bool
step_list(struct planner *planner, enum phase phase)
{
    const struct config *config = planner->config;
    const size_t counts[] = {
        [PHASE_POLICIES] = config->policy_count, [PHASE_EXCHANGES] = config->exchange_count,
        [PHASE_QUEUES] = config->queue_count,    [PHASE_BINDINGS] = config->binding_count,
        [PHASE_USERS] = config->user_count,
    };
    if (planner->at >= counts[phase]) {
        return false;
    }
    size_t at = planner->at++;
    switch (phase) {
    case PHASE_POLICIES:
        plan_policy(planner, &config->policies[at]);
        return true;
    case PHASE_EXCHANGES:
        plan_exchange(planner, &config->exchanges[at]);
        return true;
    case PHASE_QUEUES:
        plan_queue(planner, &config->queues[at]);
        return true;
    case PHASE_BINDINGS:
        plan_binding(planner, &config->bindings[at]);
        return true;
    default:
        plan_user(planner, &config->users[at]);
        return true;
    }
}

static bool
step_left_bindings(struct planner *planner, const struct vhost *vhost, uint32_t *budget)
{
    uint32_t at = planner->at;
    const struct map_entry *entry = map_previous(&vhost->exchanges, &at);
    if (entry == NULL) {
        return false;
    }
    (*budget)++; /* that of this step */
    if (plan_left_bindings(planner, entry->value, budget)) {
        planner->at = at;
    }
    *budget -= *budget > 0;
    return true;
}

static bool
step_left_users(struct planner *planner)
{
    if (planner->config->is_development) {
        return false; /* without a file nobody can have left it */
    }
    const struct map_entry *entry = map_next(&planner->core->users, &planner->at);
    if (entry != NULL) {
        plan_left_user(planner, entry->value);
    }
    return entry != NULL;
}

/* What is there and may not be in the file; false at the end of the phase. */
static bool
step_left(struct planner *planner, uint32_t *budget)
{
    const struct vhost *vhost = planner_vhost(planner);
    const struct map_entry *entry;
    if (vhost == NULL) {
        return planner->phase == PHASE_LEFT_USERS && step_left_users(planner);
    }
    switch (planner->phase) {
    case PHASE_LEFT_POLICIES:
        plan_left_policies(planner, vhost);
        return false;
    case PHASE_LEFT_EXCHANGES:
        if ((entry = map_previous(&vhost->exchanges, &planner->at)) != NULL) {
            plan_left_exchange(planner, entry->value);
        }
        return entry != NULL;
    case PHASE_LEFT_QUEUES:
        if ((entry = map_previous(&vhost->queues, &planner->at)) != NULL) {
            plan_left_queue(planner, entry->value);
        }
        return entry != NULL;
    case PHASE_LEFT_BINDINGS:
        return step_left_bindings(planner, vhost, budget);
    default:
        return step_left_users(planner);
    }
}

static bool
step_phase(struct planner *planner, uint32_t *budget)
{
    if (planner->phase == PHASE_HOST) {
        plan_host(planner);
        return false;
    }
    return planner->phase <= PHASE_USERS ? step_list(planner, planner->phase)
                                         : step_left(planner, budget);
}

bool
planner_step(struct planner *planner, uint32_t budget)
{
    while (planner->phase != PHASE_END && budget > 0) {
        budget--;
        if (!step_phase(planner, &budget)) {
            next_phase(planner);
        }
    }
    return planner->phase == PHASE_END;
}

/* Beginning and end ---------------------------------------------------------------------------- */

static void
note_names(struct planner *planner)
{
    const struct config *config = planner->config;
    for (size_t i = 0; i < config->exchange_count; i++) {
        map_put(&planner->exchanges, config->exchanges[i].name, (void *)&config->exchanges[i]);
    }
    for (size_t i = 0; i < config->queue_count; i++) {
        map_put(&planner->queues, config->queues[i].name, (void *)&config->queues[i]);
    }
    for (size_t i = 0; i < config->user_count; i++) {
        map_put(&planner->users, config->users[i].name, (void *)&config->users[i]);
    }
    for (size_t i = 0; i < config->binding_count; i++) {
        planner_note_binding(planner, &config->bindings[i]);
    }
}

struct planner *
planner_new(struct core *core, const struct config *config, const struct plan_options *options)
{
    struct planner *planner = xalloc(sizeof(*planner));
    planner->core = core;
    planner->config = config;
    planner->options = options;
    planner->plan = xalloc(sizeof(*planner->plan));
    planner->plan->vhost = arena_copy(&planner->plan->arena, config->vhost);
    map_init(&planner->exchanges, core->seed);
    map_init(&planner->queues, core->seed);
    map_init(&planner->users, core->seed);
    map_init(&planner->bindings, core->seed);
    note_names(planner);
    return planner;
}

static int
compare_steps(const void *left, const void *right)
{
    const struct plan_step *a = left;
    const struct plan_step *b = right;
    const struct bytes *texts[][2] = {
        {&a->name, &b->name},
        {&a->destination, &b->destination},
        {&a->routing_key, &b->routing_key},
        {&a->table, &b->table},
    };
    if (a->object != b->object) {
        return a->object < b->object ? -1 : 1;
    }
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        int order = bytes_compare(*texts[i][0], *texts[i][1]);
        if (order != 0) {
            return order;
        }
        if (i == 0 && a->to_exchange != b->to_exchange) {
            return a->to_exchange ? 1 : -1;
        }
    }
    return (int)a->action - (int)b->action;
}

/* What changed while the walk went on may have been seen twice. */
static void
drop_repeated(struct plan *plan)
{
    size_t kept = 0;
    for (size_t i = 0; i < plan->step_count; i++) {
        if (kept > 0 && compare_steps(&plan->steps[kept - 1], &plan->steps[i]) == 0) {
            plan->counts[plan->steps[i].action]--;
            plan->refused_count -= plan->steps[i].needs != 0;
        } else {
            plan->steps[kept++] = plan->steps[i];
        }
    }
    plan->step_count = kept;
}

static uint64_t
digest_of(const struct plan *plan)
{
    struct buffer text;
    buffer_init(&text);
    plan_put_steps(&text, plan);
    assert(!text.failed);
    uint64_t digest = bytes_hash(buffer_bytes(&text), 0);
    buffer_fini(&text);
    return digest;
}

struct plan *
planner_finish(struct planner **planner_pointer)
{
    struct planner *planner = *planner_pointer;
    struct plan *plan = planner->plan;
    assert(planner->phase == PHASE_END);
    if (plan->step_count > 0) {
        qsort(plan->steps, plan->step_count, sizeof(*plan->steps), compare_steps);
        drop_repeated(plan);
    }
    plan->digest = digest_of(plan);
    planner->plan = NULL;
    planner_free(planner_pointer);
    return plan;
}

void
planner_free(struct planner **planner_pointer)
{
    struct planner *planner = *planner_pointer;
    *planner_pointer = NULL;
    if (planner == NULL) {
        return;
    }
    plan_free(&planner->plan);
    map_fini(&planner->exchanges);
    map_fini(&planner->queues);
    map_fini(&planner->users);
    map_fini(&planner->bindings);
    arena_fini(&planner->keys);
    buffer_fini(&planner->key);
    free(planner);
}

struct plan *
plan_make(struct core *core, const struct config *config, const struct plan_options *options)
{
    struct planner *planner = planner_new(core, config, options);
    while (!planner_step(planner, UINT32_MAX)) {
    }
    return planner_finish(&planner);
}

void
plan_free(struct plan **plan_pointer)
{
    struct plan *plan = *plan_pointer;
    *plan_pointer = NULL;
    if (plan == NULL) {
        return;
    }
    arena_fini(&plan->arena);
    free(plan->steps);
    free(plan);
}
