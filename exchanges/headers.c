/* SPDX-License-Identifier: Apache-2.0 */
/* The headers exchange: a binding's arguments are held against the message's headers (AMQP 0-9-1,
 * 3.1.3.4); keys do not matter. */
#include <stdlib.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "base/number_index.h"
#include "exchanges/exchange.h"
#include "routing/header_match.h"

enum { ROWS_CAPACITY_MIN = 4, ROWS_PER_VISIT = 4 };

struct headers_row {
    struct binding *binding;
    struct header_match match;
};

struct headers_matcher {
    struct headers_row *rows; /* owned, without holes */
    uint32_t count;
    uint32_t capacity;
    struct number_index places; /* of rows by binding */
    struct header_index index;  /* of the message under way */
};

/* Of its address, which no peer chooses; it decides about nothing but where the place is found. */
static uint32_t
binding_hash(const struct binding *binding)
{
    return (uint32_t)(((uint64_t)(uintptr_t)binding * UINT64_C(0x9e3779b97f4a7c15)) >> 32);
}

static void *
headers_new(const struct matcher_tools *tools)
{
    struct headers_matcher *matcher = xalloc(sizeof(*matcher));
    header_index_init(&matcher->index, tools->seed);
    return matcher;
}

static void
headers_free(void *context)
{
    struct headers_matcher *matcher = context;
    for (uint32_t i = 0; i < matcher->count; i++) {
        header_match_fini(&matcher->rows[i].match);
    }
    header_index_fini(&matcher->index);
    number_index_fini(&matcher->places);
    free(matcher->rows);
    free(matcher);
}

static enum status
headers_check(struct bytes routing_key, struct bytes arguments, struct fault *fault)
{
    (void)routing_key;
    return header_match_check(arguments, fault);
}

static void
headers_bind(void *context, struct binding *binding)
{
    struct headers_matcher *matcher = context;
    if (matcher->count == matcher->capacity) {
        matcher->capacity = matcher->capacity == 0 ? ROWS_CAPACITY_MIN : 2 * matcher->capacity;
        matcher->rows = xrealloc(matcher->rows, matcher->capacity * sizeof(*matcher->rows));
    }
    number_index_insert(&matcher->places, binding_hash(binding), matcher->count);
    struct headers_row *row = &matcher->rows[matcher->count++];
    row->binding = binding;
    header_match_init(&row->match, binding_arguments(binding), matcher->index.seed);
}

static uint32_t
find_row(const struct headers_matcher *matcher, const struct binding *binding)
{
    uint32_t slot;
    uint32_t hash = binding_hash(binding);
    uint32_t place = number_index_first(&matcher->places, hash, &slot);
    while (place != NUMBER_NONE && matcher->rows[place].binding != binding) {
        place = number_index_next(&matcher->places, hash, &slot);
    }
    return place;
}

/* The last row takes the place of the one that leaves. */
static void
headers_unbind(void *context, struct binding *binding)
{
    struct headers_matcher *matcher = context;
    uint32_t place = find_row(matcher, binding);
    assert(place != NUMBER_NONE);
    struct headers_row *row = &matcher->rows[place];
    header_match_fini(&row->match);
    number_index_remove(&matcher->places, binding_hash(binding), place);
    matcher->count--;
    if (place != matcher->count) {
        *row = matcher->rows[matcher->count];
        number_index_renumber(&matcher->places, binding_hash(row->binding), matcher->count, place);
    }
}

static void
headers_route(void *context, const struct exchange_message *message, struct route_set *set)
{
    struct headers_matcher *matcher = context;
    header_index_read(&matcher->index, message->headers);
    for (uint32_t i = 0; i < matcher->count; i++) {
        const struct headers_row *row = &matcher->rows[i];
        if (header_match_matches(&row->match, &matcher->index)) {
            route_set_add(set, row->binding->target);
        }
    }
    set->visit_count += matcher->count / ROWS_PER_VISIT;
}

/* What its finding views is the message's and the binding's. */
static void
headers_explain(void *context, const struct binding *binding,
                const struct exchange_message *message, struct binding_verdict *verdict_out)
{
    enum { WEIGHT_OF_HEADER = 2 };
    struct headers_matcher *matcher = context;
    const struct headers_row *row = &matcher->rows[find_row(matcher, binding)];
    struct header_finding finding;
    header_index_read(&matcher->index, message->headers);
    header_match_explain(&row->match, &matcher->index, &finding);
    *verdict_out = (struct binding_verdict){
        .matches = finding.matches,
        .reason = finding.wanted == NULL ? VERDICT_NO_HEADERS : VERDICT_HEADERS,
        .distance = finding.unmatched * WEIGHT_OF_HEADER + (finding.found == NULL ? 1 : 0),
        .needs_all = row->match.kind == HEADER_MATCH_ALL,
        .has_found = finding.found != NULL,
    };
    if (finding.wanted != NULL) {
        verdict_out->header = finding.wanted->name;
        verdict_out->wanted = finding.wanted->value;
    }
    if (finding.found != NULL) {
        verdict_out->found = *finding.found;
    }
}

const struct exchange_type exchange_type_headers = {
    .name = "headers",
    .matcher_new = headers_new,
    .matcher_free = headers_free,
    .check = headers_check,
    .bind = headers_bind,
    .unbind = headers_unbind,
    .route = headers_route,
    .explain = headers_explain,
};
