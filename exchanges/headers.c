/* SPDX-License-Identifier: Apache-2.0 */
/* The headers exchange: a binding's arguments are held against the message's headers (AMQP 0-9-1,
 * 3.1.3.4); keys do not matter. */
#include <stdlib.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "exchanges/exchange.h"
#include "routing/header_match.h"

enum { ROWS_CAPACITY_MIN = 4 };

struct headers_row {
    struct binding *binding; /* its matcher_slot is the number of this row */
    struct header_match match;
};

struct headers_matcher {
    struct headers_row *rows; /* owned, without holes */
    uint32_t count;
    uint32_t capacity;
    struct header_index index; /* of the message under way */
};

static void *
headers_new(uint64_t seed)
{
    struct headers_matcher *matcher = xalloc(sizeof(*matcher));
    header_index_init(&matcher->index, seed);
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
    binding->matcher_slot = matcher->count++;
    struct headers_row *row = &matcher->rows[binding->matcher_slot];
    row->binding = binding;
    header_match_init(&row->match, binding->arguments, matcher->index.seed);
}

/* The last row takes the place of the one that leaves. */
static void
headers_unbind(void *context, struct binding *binding)
{
    struct headers_matcher *matcher = context;
    struct headers_row *row = &matcher->rows[binding->matcher_slot];
    assert(row->binding == binding);
    header_match_fini(&row->match);
    *row = matcher->rows[--matcher->count];
    row->binding->matcher_slot = binding->matcher_slot;
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
}

const struct exchange_type exchange_type_headers = {
    .name = "headers",
    .matcher_new = headers_new,
    .matcher_free = headers_free,
    .check = headers_check,
    .bind = headers_bind,
    .unbind = headers_unbind,
    .route = headers_route,
};
