/* SPDX-License-Identifier: Apache-2.0 */
/* What the message has reached so far: each exchange and each queue once. */
#include "broker/explain/explain_walk.h"

#include <stdlib.h>

#include "broker/explain/explain_list.h"

static uint32_t
hash_id(uint64_t id)
{
    return (uint32_t)((id * UINT64_C(0x9e3779b97f4a7c15)) >> 32);
}

/* The place of the exchange, or NUMBER_NONE. */
static uint32_t
find_exchange(const struct route_explanation *explanation, const struct exchange *exchange)
{
    uint32_t slot;
    uint32_t hash = hash_id(exchange->target.id);
    uint32_t place = number_index_first(&explanation->exchange_index, hash, &slot);
    while (place != NUMBER_NONE && explanation->route.exchanges[place]->exchange != exchange) {
        place = number_index_next(&explanation->exchange_index, hash, &slot);
    }
    return place;
}

uint32_t
explanation_find_queue(const struct route_explanation *explanation, const struct queue *queue)
{
    uint32_t slot;
    uint32_t hash = hash_id(queue->target.id);
    uint32_t number = number_index_first(&explanation->queue_index, hash, &slot);
    while (number != NUMBER_NONE && explanation->queue_ids[number] != queue->target.id) {
        number = number_index_next(&explanation->queue_index, hash, &slot);
    }
    return number;
}

static void
add_exchange(struct route_explanation *explanation, struct exchange *exchange,
             enum explained_way way, uint32_t from, bool is_by_chance)
{
    struct explained_route *route = &explanation->route;
    struct arena *arena = &explanation->arena;
    struct explained_exchange *step = arena_alloc(arena, sizeof(*step));
    *step = (struct explained_exchange){
        .name = arena_copy(arena, exchange->name),
        .type = exchange_declared_type(exchange)->name,
        .inner_type = exchange->type->name,
        .way = way,
        .from = from,
        .is_by_chance = is_by_chance,
        .is_delayed = explanation->is_behind,
        .exchange = exchange,
    };
    step->alternate = explanation_copy_text(arena, exchange->alternate);
    if (route->exchange_count == route->exchange_capacity) {
        route->exchange_capacity = route->exchange_capacity == 0 ? 8 : 2 * route->exchange_capacity;
        route->exchanges = xrealloc(route->exchanges,
                                    route->exchange_capacity * sizeof(struct explained_exchange *));
    }
    number_index_insert(&explanation->exchange_index, hash_id(exchange->target.id),
                        route->exchange_count);
    route->exchanges[route->exchange_count++] = step;
}

/* It was taken for reached by chance, and is not: what is behind it is to be looked at once more.
 */
static void
make_certain(struct route_explanation *explanation, uint32_t place)
{
    struct explained_exchange *step = explanation->route.exchanges[place];
    step->is_by_chance = false;
    if (step->is_done) {
        step->is_done = false;
        explained_bindings_clear(&step->matches, &explanation->room);
        explained_bindings_clear(&step->misses, &explanation->room);
        explanation->at = place < explanation->at ? place : explanation->at;
    }
}

void
explanation_reach_exchange(struct route_explanation *explanation,
                           const struct found_exchange *found, enum explained_way way,
                           uint32_t from)
{
    uint32_t place = find_exchange(explanation, found->exchange);
    if (place == NUMBER_NONE) {
        add_exchange(explanation, found->exchange, way, from, found->is_by_chance);
    } else if (!found->is_by_chance && explanation->route.exchanges[place]->is_by_chance) {
        make_certain(explanation, place);
    }
}

/* Its number is that of its place in the list, as long as there is one. */
static void
add_queue(struct route_explanation *explanation, struct queue *queue, bool is_by_chance)
{
    struct explained_route *route = &explanation->route;
    uint32_t number = (uint32_t)route->queue_total++;
    if (number == explanation->id_capacity) {
        explanation->id_capacity = number == 0 ? 16 : 2 * number;
        explanation->queue_ids =
            xrealloc(explanation->queue_ids, explanation->id_capacity * sizeof(uint64_t));
    }
    explanation->queue_ids[number] = queue->target.id;
    number_index_insert(&explanation->queue_index, hash_id(queue->target.id), number);
    if (number >= EXPLAIN_QUEUES_MAX) {
        return;
    }
    struct explained_queue *reached = arena_alloc(&explanation->arena, sizeof(*reached));
    reached->name = arena_copy(&explanation->arena, queue_name(queue));
    reached->from = explanation->at;
    reached->is_by_chance = is_by_chance;
    reached->is_delayed = explanation->is_behind;
    queue_look_ahead(queue, explanation->question.body_size, explanation->expiration,
                     &explanation->arena, &reached->outlook);
    if (route->queue_count == route->queue_capacity) {
        route->queue_capacity = route->queue_capacity == 0 ? 8 : 2 * route->queue_capacity;
        route->queues =
            xrealloc(route->queues, route->queue_capacity * sizeof(struct explained_queue *));
    }
    route->queues[route->queue_count++] = reached;
}

void
explanation_reach_queue(struct route_explanation *explanation, struct queue *queue,
                        bool is_by_chance)
{
    uint32_t number = explanation_find_queue(explanation, queue);
    if (number == NUMBER_NONE) {
        add_queue(explanation, queue, is_by_chance);
    } else if (!is_by_chance && number < explanation->route.queue_count) {
        explanation->route.queues[number]->is_by_chance = false;
    }
}
