/* SPDX-License-Identifier: Apache-2.0 */
/* The direct exchange: a binding matches when its key equals the routing key, octet for octet
 * (AMQP 0-9-1, 3.1.3.1). */
#include <stdlib.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "base/number_index.h"
#include "exchanges/exchange.h"
#include "routing/key_targets.h"

enum { ROWS_CAPACITY_MIN = 4 };

/* One row a key; the place of a free row is the next free one. */
struct direct_matcher {
    struct key_targets *rows; /* owned */
    uint32_t used_count;      /* free ones included */
    uint32_t capacity;
    uint32_t first_free;       /* NUMBER_NONE: none */
    struct number_index index; /* of rows by key */
    uint64_t seed;
};

static void *
direct_new(const struct matcher_tools *tools)
{
    struct direct_matcher *matcher = xalloc(sizeof(*matcher));
    matcher->first_free = NUMBER_NONE;
    matcher->seed = tools->seed;
    return matcher;
}

static void
direct_free(void *context)
{
    struct direct_matcher *matcher = context;
    for (uint32_t i = 0; i < matcher->used_count; i++) {
        key_targets_fini(&matcher->rows[i]); /* of a free row it holds nothing */
    }
    number_index_fini(&matcher->index);
    free(matcher->rows);
    free(matcher);
}

static enum status
direct_check(struct bytes routing_key, struct bytes arguments, struct fault *fault)
{
    (void)routing_key;
    (void)arguments;
    (void)fault;
    return STATUS_OK;
}

static uint32_t
key_hash(const struct direct_matcher *matcher, struct bytes key)
{
    return (uint32_t)(bytes_hash(key, matcher->seed) >> 32);
}

/* The row of `key`, or NUMBER_NONE. */
static uint32_t
find_row(const struct direct_matcher *matcher, struct bytes key, uint32_t hash)
{
    uint32_t slot;
    uint32_t row = number_index_first(&matcher->index, hash, &slot);
    while (row != NUMBER_NONE && !bytes_equal(key_targets_key(&matcher->rows[row]), key)) {
        row = number_index_next(&matcher->index, hash, &slot);
    }
    return row;
}

static uint32_t
take_row(struct direct_matcher *matcher)
{
    uint32_t row = matcher->first_free;
    if (row != NUMBER_NONE) {
        matcher->first_free = matcher->rows[row].place;
        return row;
    }
    if (matcher->used_count == matcher->capacity) {
        matcher->capacity = matcher->capacity == 0 ? ROWS_CAPACITY_MIN : 2 * matcher->capacity;
        matcher->rows = xrealloc(matcher->rows, matcher->capacity * sizeof(*matcher->rows));
    }
    return matcher->used_count++;
}

static void
direct_bind(void *context, struct binding *binding)
{
    struct direct_matcher *matcher = context;
    struct bytes key = binding_routing_key(binding);
    uint32_t hash = key_hash(matcher, key);
    uint32_t row = find_row(matcher, key, hash);
    if (row != NUMBER_NONE) {
        key_targets_add(&matcher->rows[row], binding->target);
        return;
    }
    row = take_row(matcher);
    key_targets_init(&matcher->rows[row], key, binding->target);
    number_index_insert(&matcher->index, hash, row);
}

static void
direct_unbind(void *context, struct binding *binding)
{
    struct direct_matcher *matcher = context;
    struct bytes key = binding_routing_key(binding);
    uint32_t hash = key_hash(matcher, key);
    uint32_t row = find_row(matcher, key, hash);
    assert(row != NUMBER_NONE);
    if (!key_targets_remove(&matcher->rows[row], binding->target)) {
        number_index_remove(&matcher->index, hash, row);
        matcher->rows[row].place = matcher->first_free;
        matcher->first_free = row;
    }
}

static void
direct_route(void *context, const struct exchange_message *message, struct route_set *set)
{
    const struct direct_matcher *matcher = context;
    struct bytes key = message->routing_key;
    uint32_t row = find_row(matcher, key, key_hash(matcher, key));
    if (row != NUMBER_NONE) {
        key_targets_collect(&matcher->rows[row], set);
    }
}

static void
direct_explain(void *matcher, const struct binding *binding, const struct exchange_message *message,
               struct binding_verdict *verdict_out)
{
    (void)matcher;
    struct bytes key = binding_routing_key(binding);
    *verdict_out = (struct binding_verdict){
        .matches = bytes_equal(key, message->routing_key),
        .reason = VERDICT_KEY,
        .distance = verdict_key_distance(key, message->routing_key),
        .routing_key = key,
        .message_key = message->routing_key,
    };
}

const struct exchange_type exchange_type_direct = {
    .name = "direct",
    .matcher_new = direct_new,
    .matcher_free = direct_free,
    .check = direct_check,
    .bind = direct_bind,
    .unbind = direct_unbind,
    .route = direct_route,
    .explain = direct_explain,
};
