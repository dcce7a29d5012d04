/* SPDX-License-Identifier: Apache-2.0 */
/* The exchanges that were found are the work list, as in route.c; each is gone through once, or
 * once more when it turns out that not only chance leads there. Exchanges that hold the message
 * back come last, and what is behind them is delayed. */
#include "broker/explain/explain_route.h"

#include <stdlib.h>

#include "broker/explain/explain_list.h"
#include "broker/explain/explain_walk.h"

enum { HEADER_OCTETS_OF_ROW = 256 };

struct route_explanation *
route_explanation_new(const struct route_question *question)
{
    struct route_explanation *explanation = xalloc(sizeof(*explanation));
    struct arena *arena = &explanation->question_arena;
    arena_init(arena);
    arena_init(&explanation->arena);
    explanation->question = *question;
    explanation->question.vhost = explanation_copy_text(arena, question->vhost);
    explanation->question.exchange = explanation_copy_text(arena, question->exchange);
    explanation->question.routing_key = explanation_copy_text(arena, question->routing_key);
    explanation->question.properties = explanation_copy_text(arena, question->properties);
    explanation->question.user = explanation_copy_text(arena, question->user);
    if (question->misses == 0) {
        explanation->question.misses = EXPLAIN_MISSES;
    }
    return explanation;
}

/* Forgets everything but the question. */
static void
forget(struct route_explanation *explanation)
{
    struct explained_route *route = &explanation->route;
    for (uint32_t i = 0; i < route->exchange_count; i++) {
        explained_bindings_clear(&route->exchanges[i]->matches, &explanation->room);
        explained_bindings_clear(&route->exchanges[i]->misses, &explanation->room);
    }
    free(route->exchanges);
    free(route->queues);
    free(explanation->queue_ids);
    free(explanation->found);
    number_index_fini(&explanation->exchange_index);
    number_index_fini(&explanation->queue_index);
    arena_fini(&explanation->arena);
}

static void
begin_anew(struct route_explanation *explanation)
{
    struct route_explanation fresh = {
        .question_arena = explanation->question_arena,
        .question = explanation->question,
        .restart_count = explanation->restart_count + 1,
    };
    forget(explanation);
    arena_init(&fresh.arena);
    *explanation = fresh;
}

void
route_explanation_free(struct route_explanation **explanation_pointer)
{
    struct route_explanation *explanation = *explanation_pointer;
    *explanation_pointer = NULL;
    if (explanation != NULL) {
        forget(explanation);
        arena_fini(&explanation->question_arena);
        free(explanation);
    }
}

const struct explained_route *
route_explanation_result(const struct route_explanation *explanation)
{
    return &explanation->route;
}

/* Exchanges come when all bindings were looked at, in the order of their names; until then one that
 * several bindings lead to is noted several times. */
static void
note_exchange(struct route_explanation *explanation, struct exchange *exchange, bool is_by_chance)
{
    if (explanation->found_count == explanation->found_capacity) {
        explanation->found_capacity =
            explanation->found_capacity == 0 ? 8 : 2 * explanation->found_capacity;
        explanation->found =
            xrealloc(explanation->found, explanation->found_capacity * sizeof(*explanation->found));
    }
    explanation->found[explanation->found_count++] =
        (struct found_exchange){.exchange = exchange, .is_by_chance = is_by_chance};
}

static int
compare_found(const void *left, const void *right)
{
    const struct found_exchange *a = left;
    const struct found_exchange *b = right;
    return bytes_compare(a->exchange->name, b->exchange->name);
}

/* One binding ---------------------------------------------------------------------------------- */

/* The verdict on the message with its key number `at`. */
static struct binding_verdict
ask_about_key(const struct route_explanation *explanation, const struct exchange *exchange,
              const struct binding *binding, uint32_t at)
{
    const struct explained_route *route = &explanation->route;
    bool once = exchange->type->routes_once;
    struct exchange_message message = {
        .routing_key = route->keys[at],
        .other_keys = once ? route->keys + 1 : NULL,
        .other_key_count = once ? route->key_count - 1 : 0,
        .headers = explanation->headers,
        .properties = explanation->question.properties,
    };
    struct binding_verdict verdict;
    exchange->type->explain(exchange->matcher, binding, &message, &verdict);
    return verdict;
}

/* The verdict on the message: one key that matches is enough; else that which came nearest. */
static struct binding_verdict
ask_about_message(const struct route_explanation *explanation, const struct exchange *exchange,
                  const struct binding *binding, uint32_t *key_out)
{
    struct binding_verdict best = ask_about_key(explanation, exchange, binding, 0);
    uint32_t key_count = exchange->type->routes_once ? 1 : explanation->route.key_count;
    *key_out = 0;
    for (uint32_t i = 1; i < key_count && !best.matches; i++) {
        struct binding_verdict verdict = ask_about_key(explanation, exchange, binding, i);
        if (verdict.matches || verdict.distance < best.distance) {
            best = verdict;
            *key_out = i;
        }
    }
    return best;
}

static void
follow(struct route_explanation *explanation, struct route_target *target, bool is_by_chance)
{
    if (target->kind == ROUTE_TARGET_QUEUE) {
        explanation_reach_queue(explanation, queue_of_target(target), is_by_chance);
    } else {
        note_exchange(explanation, exchange_of_target(target), is_by_chance);
    }
}

static void
look_at(struct route_explanation *explanation, struct explained_exchange *step,
        const struct binding *binding)
{
    const struct exchange *exchange = step->exchange;
    struct route_target *target = binding->target;
    if (target->kind == ROUTE_TARGET_GONE) {
        return; /* it is being deleted */
    }
    struct explained_offer offer = {
        .to_exchange = target->kind == ROUTE_TARGET_EXCHANGE,
        .destination = exchange->tools.target_name(target),
        .key = binding_routing_key(binding),
    };
    struct binding_verdict verdict =
        ask_about_message(explanation, exchange, binding, &offer.message_key);
    offer.verdict = &verdict;
    explanation->route.looked_at++;
    if (verdict.matches) {
        explained_bindings_offer(&step->matches, EXPLAIN_MATCHES, &explanation->room, &offer);
        follow(explanation, target, step->is_by_chance || verdict.reason == VERDICT_CHANCE);
    } else {
        explained_bindings_offer(&step->misses, explanation->question.misses, &explanation->room,
                                 &offer);
    }
}

/* The default exchange ------------------------------------------------------------------------- */

/* Whether an earlier key is the same; bounded by the keys that a message may have. */
static bool
key_is_repeated(const struct explained_route *route, uint32_t at)
{
    for (uint32_t i = 0; i < at; i++) {
        if (bytes_equal(route->keys[i], route->keys[at])) {
            return true;
        }
    }
    return false;
}

static void
look_at_named_queues(struct route_explanation *explanation, struct explained_exchange *step,
                     const struct vhost *vhost)
{
    const struct explained_route *route = &explanation->route;
    for (uint32_t i = 0; i < route->key_count; i++) {
        struct queue *queue = vhost_find_queue(vhost, route->keys[i]);
        if (queue == NULL || key_is_repeated(route, i)) {
            continue;
        }
        struct binding_verdict verdict = {.matches = true, .reason = VERDICT_KEY};
        struct explained_offer offer = {
            .destination = queue_name(queue),
            .key = queue_name(queue),
            .message_key = i,
            .verdict = &verdict,
            .why = "the default exchange leads to the queue of that name",
        };
        explained_bindings_offer(&step->matches, EXPLAIN_MATCHES, &explanation->room, &offer);
        explanation_reach_queue(explanation, queue, step->is_by_chance);
    }
}

/* Queues of other names are what may have been meant. False behind the last. */
static bool
look_at_other_queue(struct route_explanation *explanation, struct explained_exchange *step,
                    const struct vhost *vhost)
{
    const struct map_entry *entry = map_next(&vhost->queues, &explanation->queue_place);
    if (entry == NULL) {
        return false;
    }
    const struct queue *queue = entry->value;
    struct bytes key = explanation->route.keys[0];
    if (explanation_find_queue(explanation, queue) != NUMBER_NONE) {
        return true;
    }
    struct binding_verdict verdict = {
        .reason = VERDICT_KEY,
        .distance = verdict_key_distance(key, queue_name(queue)),
        .routing_key = queue_name(queue),
        .message_key = key,
    };
    struct explained_offer offer = {
        .destination = queue_name(queue),
        .key = queue_name(queue),
        .verdict = &verdict,
    };
    explained_bindings_offer(&step->misses, explanation->question.misses, &explanation->room,
                             &offer);
    return true;
}

/* Exchange by exchange ------------------------------------------------------------------------- */

static bool
is_held(const struct route_explanation *explanation, const struct explained_exchange *step)
{
    return step->exchange->is_delayed && explanation->route.delay_ms > 0;
}

/* Opens the next exchange that is to be gone through; false when none is left. */
static bool
open_next(struct route_explanation *explanation)
{
    struct explained_route *route = &explanation->route;
    for (;;) {
        for (; explanation->at < route->exchange_count; explanation->at++) {
            struct explained_exchange *step = route->exchanges[explanation->at];
            if (step->is_done) {
                continue;
            }
            if (explanation->is_behind || !is_held(explanation, step)) {
                explanation->is_open = true;
                explanation->position = 0;
                explanation->queue_place = 0;
                explanation->generation = step->exchange->generation;
                return true;
            }
            step->holds_back = true;
            explanation->has_held = true;
        }
        if (explanation->is_behind || !explanation->has_held) {
            return false;
        }
        explanation->is_behind = true;
        explanation->at = 0;
    }
}

static void
take_alternate(struct route_explanation *explanation, struct explained_exchange *step,
               const struct vhost *vhost)
{
    struct found_exchange found = {
        .exchange = vhost_find_exchange(vhost, step->alternate),
        .is_by_chance = step->is_by_chance,
    };
    step->takes_alternate = true;
    step->alternate_is_missing = found.exchange == NULL;
    if (found.exchange != NULL) {
        explanation_reach_exchange(explanation, &found, WAY_ALTERNATE, explanation->at);
    }
}

static void
close_exchange(struct route_explanation *explanation, const struct vhost *vhost)
{
    uint32_t place = explanation->at;
    struct explained_exchange *step = explanation->route.exchanges[place];
    step->is_done = true;
    explanation->is_open = false;
    if (explanation->found_count > 0) {
        qsort(explanation->found, explanation->found_count, sizeof(*explanation->found),
              compare_found);
    }
    for (uint32_t i = 0; i < explanation->found_count; i++) {
        explanation_reach_exchange(explanation, &explanation->found[i], WAY_BOUND, place);
    }
    explanation->found_count = 0;
    if (step->matches.total == 0 && step->alternate.data != NULL) {
        take_alternate(explanation, step, vhost);
    }
}

/* What one binding costs: the headers are read for each. */
static uint32_t
binding_rows(const struct route_explanation *explanation)
{
    return 1 + (uint32_t)(explanation->headers.size / HEADER_OCTETS_OF_ROW) +
           explanation->route.key_count / 8;
}

static void
spend(uint32_t *budget, uint32_t rows)
{
    *budget -= rows < *budget ? rows : *budget;
}

/* The exchange that is open, as far as the budget goes. */
static void
go_through(struct route_explanation *explanation, const struct vhost *vhost, uint32_t *budget)
{
    struct explained_exchange *step = explanation->route.exchanges[explanation->at];
    bool is_default = step->exchange->name.size == 0;
    if (is_default && explanation->queue_place == 0) {
        look_at_named_queues(explanation, step, vhost);
    }
    bool is_left = true;
    while (is_left && *budget > 0) {
        if (is_default) {
            is_left = look_at_other_queue(explanation, step, vhost);
        } else {
            const struct binding *binding =
                binding_table_next(&step->exchange->bindings, &explanation->position);
            is_left = binding != NULL;
            if (is_left) {
                look_at(explanation, step, binding);
            }
        }
        spend(budget, binding_rows(explanation));
    }
    if (!is_left) {
        close_exchange(explanation, vhost);
    }
}

/* Slices --------------------------------------------------------------------------------------- */

/* Whether what the walk remembers is still as it was. */
static bool
stands_still(const struct route_explanation *explanation, const struct vhost *vhost)
{
    if (vhost == NULL || vhost->id != explanation->vhost_id ||
        vhost->exchange_deletions != explanation->exchange_deletions) {
        return false;
    }
    return !explanation->is_open ||
           explanation->route.exchanges[explanation->at]->exchange->generation ==
               explanation->generation;
}

static int
compare_queues(const void *left, const void *right)
{
    const struct explained_queue *const *a = left;
    const struct explained_queue *const *b = right;
    return bytes_compare((*a)->name, (*b)->name);
}

static bool
finish(struct route_explanation *explanation)
{
    struct explained_route *route = &explanation->route;
    if (route->queue_count > 0) {
        qsort(route->queues, route->queue_count, sizeof(struct explained_queue *), compare_queues);
    }
    return true;
}

bool
route_explanation_step(struct route_explanation *explanation, struct core *core, uint32_t *budget)
{
    const struct vhost *vhost = core_find_vhost(core, explanation->question.vhost);
    spend(budget, *budget > 1 ? 1 : 0); /* something is left for a step ahead */
    if (explanation->has_begun && !stands_still(explanation, vhost)) {
        begin_anew(explanation);
    }
    if (explanation->restart_count > EXPLAIN_RESTARTS_MAX) {
        explanation->route.is_changing = true;
        return true;
    }
    if (!explanation->has_begun && !explanation_begin(explanation, core)) {
        return true;
    }
    while (*budget > 0) {
        if (!explanation->is_open && !open_next(explanation)) {
            return finish(explanation);
        }
        go_through(explanation, vhost, budget);
    }
    return false;
}

struct route_explanation *
route_explain(struct core *core, const struct route_question *question)
{
    struct route_explanation *explanation = route_explanation_new(question);
    uint32_t budget;
    do {
        budget = UINT32_MAX;
    } while (!route_explanation_step(explanation, core, &budget));
    return explanation;
}
