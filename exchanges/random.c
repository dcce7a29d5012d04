/* SPDX-License-Identifier: Apache-2.0 */
/* The x-random exchange: one target for each message, by chance. Keys do not matter; a target that
 * is bound under several keys has as many chances. */
#include <stdlib.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "base/number_index.h"
#include "exchanges/exchange.h"

enum { ROWS_CAPACITY_MIN = 4 };

struct random_matcher {
    struct binding **rows; /* owned array of borrowed ones, without holes */
    uint32_t count;
    uint32_t capacity;
    struct number_index places; /* of rows by binding */
    uint64_t state;             /* of the numbers that are drawn */
};

/* Asking the broker's source for every message would be a system call each. */
static void *
random_new(const struct matcher_tools *tools)
{
    struct random_matcher *matcher = xalloc(sizeof(*matcher));
    matcher->state = random_u64(tools->random);
    return matcher;
}

static void
random_free(void *context)
{
    struct random_matcher *matcher = context;
    number_index_fini(&matcher->places);
    free(matcher->rows);
    free(matcher);
}

static enum status
random_check(struct bytes routing_key, struct bytes arguments, struct fault *fault)
{
    (void)routing_key;
    (void)arguments;
    (void)fault;
    return STATUS_OK;
}

/* Of its address, which decides about nothing but where the row is found. */
static uint32_t
binding_hash(const struct binding *binding)
{
    return (uint32_t)(((uint64_t)(uintptr_t)binding * UINT64_C(0x9e3779b97f4a7c15)) >> 32);
}

static void
random_bind(void *context, struct binding *binding)
{
    struct random_matcher *matcher = context;
    if (matcher->count == matcher->capacity) {
        matcher->capacity = matcher->capacity == 0 ? ROWS_CAPACITY_MIN : 2 * matcher->capacity;
        matcher->rows = xrealloc(matcher->rows, matcher->capacity * sizeof(struct binding *));
    }
    number_index_insert(&matcher->places, binding_hash(binding), matcher->count);
    matcher->rows[matcher->count++] = binding;
}

static uint32_t
find_row(const struct random_matcher *matcher, const struct binding *binding)
{
    uint32_t slot;
    uint32_t hash = binding_hash(binding);
    uint32_t place = number_index_first(&matcher->places, hash, &slot);
    while (place != NUMBER_NONE && matcher->rows[place] != binding) {
        place = number_index_next(&matcher->places, hash, &slot);
    }
    return place;
}

/* The last row takes the place of the one that leaves. */
static void
random_unbind(void *context, struct binding *binding)
{
    struct random_matcher *matcher = context;
    uint32_t place = find_row(matcher, binding);
    assert(place != NUMBER_NONE);
    number_index_remove(&matcher->places, binding_hash(binding), place);
    matcher->count--;
    if (place != matcher->count) {
        struct binding *last = matcher->rows[matcher->count];
        matcher->rows[place] = last;
        number_index_renumber(&matcher->places, binding_hash(last), matcher->count, place);
    }
}

/* What is being deleted is as good as gone: the next one takes its messages. */
static void
random_route(void *context, const struct exchange_message *message, struct route_set *set)
{
    struct random_matcher *matcher = context;
    (void)message;
    if (matcher->count == 0) {
        return;
    }
    struct random_source source = random_seeded(&matcher->state);
    uint32_t place = (uint32_t)(random_u64(&source) % matcher->count);
    for (uint32_t i = 0; i < matcher->count; i++) {
        struct route_target *target = matcher->rows[place]->target;
        set->visit_count++;
        if (target->kind != ROUTE_TARGET_GONE) {
            route_set_add(set, target);
            return;
        }
        place = place + 1 == matcher->count ? 0 : place + 1;
    }
}

static void
random_explain(void *context, const struct binding *binding, const struct exchange_message *message,
               struct binding_verdict *verdict_out)
{
    const struct random_matcher *matcher = context;
    (void)message;
    *verdict_out = (struct binding_verdict){
        .matches = binding->target->kind != ROUTE_TARGET_GONE,
        .reason = VERDICT_CHANCE,
        .share = 1,
        .shares = matcher->count,
    };
}

const struct exchange_type exchange_type_random = {
    .name = "x-random",
    .routes_once = true,
    .matcher_new = random_new,
    .matcher_free = random_free,
    .check = random_check,
    .bind = random_bind,
    .unbind = random_unbind,
    .route = random_route,
    .explain = random_explain,
};
