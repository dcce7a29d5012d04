/* SPDX-License-Identifier: Apache-2.0 */
/* What all exchange types share, and each type by what it routes. */
#include "exchanges/exchange.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <stdio.h>

#include "amqp/table.h"
#include "base/assert.h"
#include "routing/route_cache.h"

enum { TARGET_COUNT = 4 };

static struct route_target targets[TARGET_COUNT];
static struct route_set set;
static struct route_cache *cache;
static const struct bytes nothing = {.data = NULL, .size = 0};

static void
set_up(void)
{
    for (size_t i = 0; i < TARGET_COUNT; i++) {
        route_target_init(&targets[i], ROUTE_TARGET_QUEUE, i + 1);
    }
    route_set_init(&set);
    cache = route_cache_new(5);
}

static void
tear_down(void)
{
    route_cache_free(&cache);
    route_set_fini(&set);
}

TestSuite(exchange, .init = set_up, .fini = tear_down);

static struct exchange *
make(const char *type)
{
    struct exchange_properties properties = {
        .name = bytes_of("x"),
        .type = exchange_type_find(bytes_of(type)),
        .durable = true,
        .tools = {.seed = 11},
    };
    cr_assert(ne(ptr, (void *)properties.type, NULL));
    return exchange_new(100, &properties);
}

static bool
bind(struct exchange *exchange, size_t target, const char *key, struct bytes arguments)
{
    bool created = false;
    struct fault fault;
    cr_assert(eq(int,
                 exchange_bind(exchange, &targets[target], bytes_of(key), arguments, false,
                               &created, &fault),
                 STATUS_OK));
    return created;
}

/* Bit i is target i. */
static unsigned
route(struct exchange *exchange, const char *key, struct bytes headers)
{
    struct exchange_message message = {.routing_key = bytes_of(key), .headers = headers};
    route_set_begin(&set);
    exchange_route(exchange, &message, cache, &set);
    unsigned found = 0;
    for (uint32_t i = 0; i < set.count; i++) {
        unsigned bit = 1U << (set.targets[i] - targets);
        cr_assert(eq(u32, found & bit, 0), "each target once");
        found |= bit;
    }
    return found;
}

Test(exchange, types_are_found_by_name)
{
    static const char *const names[] = {
        "direct", "fanout", "topic", "headers", "x-consistent-hash", "x-modulus-hash", "x-random",
    };
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        const struct exchange_type *type = exchange_type_find(bytes_of(names[i]));
        cr_assert(ne(ptr, (void *)type, NULL));
        cr_expect(eq(str, (char *)type->name, (char *)names[i]));
    }
    cr_expect(eq(ptr, (void *)exchange_type_find(bytes_of("Direct")), NULL));
    cr_expect(eq(ptr, (void *)exchange_type_find(nothing), NULL));
}

Test(exchange, the_alternate_exchange_is_read_from_the_arguments)
{
    struct buffer arguments;
    buffer_init(&arguments);
    table_put_integer(&arguments, "other", 1);
    table_put_text(&arguments, "alternate-exchange", bytes_of("ae"));
    struct exchange_properties properties = {
        .name = bytes_of("x"),
        .type = &exchange_type_direct,
        .arguments = buffer_bytes(&arguments),
    };
    struct exchange *exchange = exchange_new(1, &properties);
    buffer_fini(&arguments);
    cr_expect(bytes_equal_text(exchange->alternate, "ae"));
    exchange_free(&exchange);
    cr_expect(eq(ptr, exchange, NULL));
}

Test(exchange, direct_compares_keys_octet_for_octet)
{
    struct exchange *exchange = make("direct");
    bind(exchange, 0, "a", nothing);
    bind(exchange, 1, "a", nothing);
    bind(exchange, 2, "A", nothing);
    bind(exchange, 3, "", nothing);
    cr_expect(eq(u32, route(exchange, "a", nothing), 3));
    cr_expect(eq(u32, route(exchange, "A", nothing), 4));
    cr_expect(eq(u32, route(exchange, "", nothing), 8));
    cr_expect(eq(u32, route(exchange, "*", nothing), 0));
    cr_expect(exchange_unbind(exchange, &targets[0], bytes_of("a"), nothing));
    cr_expect(eq(u32, route(exchange, "a", nothing), 2));
    exchange_free(&exchange);
}

/* One copy for a queue, however many of its bindings match. */
Test(exchange, fanout_gives_every_target_one_copy)
{
    struct exchange *exchange = make("fanout");
    cr_expect(eq(u32, route(exchange, "k", nothing), 0));
    bind(exchange, 0, "a", nothing);
    bind(exchange, 0, "b", nothing);
    bind(exchange, 1, "a", nothing);
    cr_expect(eq(u32, route(exchange, "k", nothing), 3));
    exchange_unbind(exchange, &targets[0], bytes_of("a"), nothing);
    cr_expect(eq(u32, route(exchange, "k", nothing), 3));
    exchange_unbind(exchange, &targets[0], bytes_of("b"), nothing);
    cr_expect(eq(u32, route(exchange, "k", nothing), 2));
    exchange_free(&exchange);
}

Test(exchange, topic_matches_patterns)
{
    struct exchange *exchange = make("topic");
    bind(exchange, 0, "order.*.placed", nothing);
    bind(exchange, 1, "order.#", nothing);
    bind(exchange, 2, "#", nothing);
    cr_expect(eq(u32, route(exchange, "order.eu.placed", nothing), 7));
    cr_expect(eq(u32, route(exchange, "order", nothing), 6));
    cr_expect(eq(u32, route(exchange, "", nothing), 4));
    exchange_free(&exchange);
}

Test(exchange, headers_holds_arguments_against_headers)
{
    struct exchange *exchange = make("headers");
    struct buffer eu;
    struct buffer us;
    buffer_init(&eu);
    buffer_init(&us);
    table_put_text(&eu, "region", bytes_of("eu"));
    table_put_text(&us, "region", bytes_of("us"));
    bind(exchange, 0, "", buffer_bytes(&eu));
    bind(exchange, 1, "", buffer_bytes(&us));
    bind(exchange, 2, "", nothing);
    bind(exchange, 0, "another key", buffer_bytes(&eu));
    cr_expect(eq(u32, route(exchange, "any key", buffer_bytes(&eu)), 5));
    cr_expect(eq(u32, route(exchange, "any key", buffer_bytes(&us)), 6));
    cr_expect(eq(u32, route(exchange, "any key", nothing), 4));
    exchange_unbind(exchange, &targets[0], nothing, buffer_bytes(&eu));
    cr_expect(eq(u32, route(exchange, "any key", buffer_bytes(&eu)), 5));
    exchange_unbind(exchange, &targets[0], bytes_of("another key"), buffer_bytes(&eu));
    cr_expect(eq(u32, route(exchange, "any key", buffer_bytes(&eu)), 4));
    exchange_free(&exchange);
    buffer_fini(&eu);
    buffer_fini(&us);
}

Test(exchange, headers_refuses_a_wrong_x_match_and_other_types_do_not_read_it)
{
    struct buffer arguments;
    buffer_init(&arguments);
    table_put_text(&arguments, "x-match", bytes_of("none"));
    struct exchange *headers = make("headers");
    struct exchange *topic = make("topic");
    bool created;
    struct fault fault;
    cr_expect(eq(int,
                 exchange_bind(headers, &targets[0], nothing, buffer_bytes(&arguments), false,
                               &created, &fault),
                 STATUS_FAULT));
    cr_expect(eq(u16, fault.reply_code, 406));
    cr_expect(eq(u32, headers->bindings.count, 0));
    cr_expect(bind(topic, 0, "", buffer_bytes(&arguments)));
    exchange_free(&headers);
    exchange_free(&topic);
    buffer_fini(&arguments);
}

Test(exchange, binding_twice_is_binding_once)
{
    static const char *const types[] = {"direct", "fanout", "topic", "headers"};
    for (size_t i = 0; i < ARRAY_LEN(types); i++) {
        struct exchange *exchange = make(types[i]);
        cr_expect(bind(exchange, 0, "k", nothing));
        cr_expect(not(bind(exchange, 0, "k", nothing)));
        cr_expect(exchange_unbind(exchange, &targets[0], bytes_of("k"), nothing));
        cr_expect(not(exchange_unbind(exchange, &targets[0], bytes_of("k"), nothing)));
        cr_expect(eq(u32, route(exchange, "k", nothing), 0), "%s", types[i]);
        exchange_free(&exchange);
    }
}

/* A remembered route must not outlive the binding that made it. */
Test(exchange, a_remembered_route_changes_with_the_bindings)
{
    struct exchange *exchange = make("topic");
    bind(exchange, 0, "a.*", nothing);
    for (int i = 0; i < 3; i++) {
        cr_expect(eq(u32, route(exchange, "a.b", nothing), 1));
    }
    bind(exchange, 1, "#", nothing);
    cr_expect(eq(u32, route(exchange, "a.b", nothing), 3));
    exchange_unbind(exchange, &targets[0], bytes_of("a.*"), nothing);
    cr_expect(eq(u32, route(exchange, "a.b", nothing), 2));
    exchange_free(&exchange);
}

/* The broker's pass has other targets in the set already: what is remembered must still be all. */
Test(exchange, what_was_in_the_set_before_does_not_spoil_what_is_remembered)
{
    struct exchange *exchange = make("topic");
    bind(exchange, 0, "a", nothing);
    bind(exchange, 1, "#", nothing);
    struct exchange_message message = {.routing_key = bytes_of("a"), .headers = nothing};
    route_set_begin(&set);
    route_set_add(&set, &targets[0]);
    route_set_add(&set, &targets[2]);
    exchange_route(exchange, &message, cache, &set);
    cr_expect(eq(u32, set.count, 3));
    uint64_t generation = exchange->generation;
    route_set_begin(&set);
    cr_assert(route_cache_find(cache, 100, generation, bytes_of("a"), &set));
    cr_expect(eq(u32, set.count, 2));
    cr_expect(eq(u32, route(exchange, "a", nothing), 3));
    exchange_free(&exchange);
}
