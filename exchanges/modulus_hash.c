/* SPDX-License-Identifier: Apache-2.0 */
/* The x-modulus-hash exchange: one target for each message, the one whose number is the hash of the
 * message's routing keys modulo the number of bindings. Keys of bindings do not matter. Targets are
 * numbered in the order of their names, so that messages go the same way after a restart; one that
 * is bound under several keys counts as often. */
#include <stdlib.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "exchanges/exchange.h"

enum { ROWS_CAPACITY_MIN = 4, ROWS_PER_BINDING_WORK = 1024 };

/* Where messages go follows from it: to change it moves them. */
static const uint64_t KEY_SEED = UINT64_C(0x6d6f64756c75732d);

struct modulus_row {
    struct bytes name; /* of the target; lives as long as the binding */
    struct route_target *target;
    bool is_queue; /* while it is there */
};

struct modulus_matcher {
    struct matcher_tools tools;
    struct modulus_row *rows; /* owned, in order */
    uint32_t count;
    uint32_t capacity;
};

static void *
modulus_new(const struct matcher_tools *tools)
{
    struct modulus_matcher *matcher = xalloc(sizeof(*matcher));
    matcher->tools = *tools;
    return matcher;
}

static void
modulus_free(void *context)
{
    struct modulus_matcher *matcher = context;
    free(matcher->rows);
    free(matcher);
}

static enum status
modulus_check(struct bytes routing_key, struct bytes arguments, struct fault *fault)
{
    (void)routing_key;
    (void)arguments;
    (void)fault;
    return STATUS_OK;
}

/* Exchanges before queues, then by name. */
static int
compare_rows(const struct modulus_row *a, const struct modulus_row *b)
{
    return a->is_queue != b->is_queue ? (int)a->is_queue - (int)b->is_queue
                                      : bytes_compare(a->name, b->name);
}

/* The number of rows that come before it. */
static uint32_t
find_place(const struct modulus_matcher *matcher, const struct modulus_row *row)
{
    uint32_t low = 0;
    uint32_t high = matcher->count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (compare_rows(&matcher->rows[middle], row) < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

static void
modulus_bind(void *context, struct binding *binding)
{
    struct modulus_matcher *matcher = context;
    struct modulus_row row = {
        .name = matcher->tools.target_name(binding->target),
        .target = binding->target,
        .is_queue = binding->target->kind == ROUTE_TARGET_QUEUE,
    };
    if (matcher->count == matcher->capacity) {
        matcher->capacity = matcher->capacity == 0 ? ROWS_CAPACITY_MIN : 2 * matcher->capacity;
        matcher->rows = xrealloc(matcher->rows, matcher->capacity * sizeof(*matcher->rows));
    }
    uint32_t place = find_place(matcher, &row);
    memmove(matcher->rows + place + 1, matcher->rows + place,
            (matcher->count - place) * sizeof(*matcher->rows));
    matcher->rows[place] = row;
    matcher->count++;
}

/* What the target was is no longer known when it is being deleted. */
static void
modulus_unbind(void *context, struct binding *binding)
{
    struct modulus_matcher *matcher = context;
    uint32_t place = 0;
    while (place < matcher->count && matcher->rows[place].target != binding->target) {
        place++;
    }
    assert(place < matcher->count);
    matcher->count--;
    memmove(matcher->rows + place, matcher->rows + place + 1,
            (matcher->count - place) * sizeof(*matcher->rows));
}

/* It moves what comes behind. */
static uint32_t
modulus_work(const void *context, const struct binding *binding)
{
    const struct modulus_matcher *matcher = context;
    (void)binding;
    return 1 + matcher->count / ROWS_PER_BINDING_WORK;
}

static uint64_t
hash_keys(const struct exchange_message *message)
{
    uint64_t hash = bytes_hash(message->routing_key, KEY_SEED);
    for (uint32_t i = 0; i < message->other_key_count; i++) {
        hash = bytes_hash(message->other_keys[i], hash);
    }
    return hash;
}

/* Whom the hash belongs to. What is being deleted is as good as gone: the next one takes its
 * messages. NULL: nobody is there. */
static struct route_target *
find_target(const struct modulus_matcher *matcher, uint64_t hash, uint32_t *visit_count)
{
    uint32_t place = matcher->count == 0 ? 0 : (uint32_t)(hash % matcher->count);
    for (uint32_t i = 0; i < matcher->count; i++) {
        struct route_target *target = matcher->rows[place].target;
        (*visit_count)++;
        if (target->kind != ROUTE_TARGET_GONE) {
            return target;
        }
        place = place + 1 == matcher->count ? 0 : place + 1;
    }
    return NULL;
}

static void
modulus_route(void *context, const struct exchange_message *message, struct route_set *set)
{
    struct route_target *target = find_target(context, hash_keys(message), &set->visit_count);
    if (target != NULL) {
        route_set_add(set, target);
    }
}

static void
modulus_explain(void *context, const struct binding *binding,
                const struct exchange_message *message, struct binding_verdict *verdict_out)
{
    const struct modulus_matcher *matcher = context;
    uint32_t visit_count = 0;
    uint64_t hash = hash_keys(message);
    *verdict_out = (struct binding_verdict){
        .matches = find_target(matcher, hash, &visit_count) == binding->target,
        .reason = VERDICT_HASH,
        .hashed = message->other_key_count == 0 ? "the routing key" : "all routing keys",
        .hash = hash,
        .share = 1,
        .shares = matcher->count,
    };
}

const struct exchange_type exchange_type_modulus_hash = {
    .name = "x-modulus-hash",
    .routes_once = true,
    .matcher_new = modulus_new,
    .matcher_free = modulus_free,
    .check = modulus_check,
    .bind = modulus_bind,
    .unbind = modulus_unbind,
    .work = modulus_work,
    .route = modulus_route,
    .explain = modulus_explain,
};
