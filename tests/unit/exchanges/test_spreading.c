/* SPDX-License-Identifier: Apache-2.0 */
/* The types that give a message to one target of many: x-consistent-hash, x-modulus-hash and
 * x-random. Shares are held against what chance allows, with fixed seeds. */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <stdio.h>

#include "amqp/properties.h"
#include "amqp/table.h"
#include "base/assert.h"
#include "exchanges/exchange.h"

enum { TARGET_COUNT = 16, KEY_COUNT = 20000, NOWHERE = TARGET_COUNT };

static struct route_target targets[TARGET_COUNT];
static char names[TARGET_COUNT][16];
static struct route_set set;
static uint64_t random_state;
static struct random_source source;
static const struct bytes nothing = {.data = NULL, .size = 0};

static struct bytes
target_name(const struct route_target *target)
{
    return bytes_of(names[target - targets]);
}

static void
set_up(void)
{
    random_state = 99;
    source = random_seeded(&random_state);
    for (size_t i = 0; i < TARGET_COUNT; i++) {
        route_target_init(&targets[i], ROUTE_TARGET_QUEUE, 1000 - i);
        (void)snprintf(names[i], sizeof(names[i]), "queue-%zu", i);
    }
    route_set_init(&set);
}

static void
tear_down(void)
{
    route_set_fini(&set);
}

TestSuite(spreading, .init = set_up, .fini = tear_down);

static struct exchange *
make(const char *type, struct bytes arguments)
{
    struct exchange_properties properties = {
        .name = bytes_of("x"),
        .type = exchange_type_find(bytes_of(type)),
        .arguments = arguments,
        .tools = {.seed = 3, .random = &source, .target_name = target_name},
    };
    struct fault fault;
    cr_assert(ne(ptr, (void *)properties.type, NULL));
    cr_assert(
        eq(int, exchange_type_check_arguments(properties.type, arguments, "x", &fault), STATUS_OK));
    return exchange_new(1, &properties);
}

static void
bind(struct exchange *exchange, size_t target, const char *key)
{
    bool created;
    struct fault fault;
    cr_assert(eq(
        int,
        exchange_bind(exchange, &targets[target], bytes_of(key), nothing, false, &created, &fault),
        STATUS_OK));
}

static void
unbind(struct exchange *exchange, size_t target, const char *key)
{
    cr_assert(exchange_unbind(exchange, &targets[target], bytes_of(key), nothing));
}

static size_t
route_message(struct exchange *exchange, const struct exchange_message *message)
{
    route_set_begin(&set);
    exchange_route(exchange, message, NULL, &set);
    cr_assert(le(u32, set.count, 1));
    return set.count == 0 ? NOWHERE : (size_t)(set.targets[0] - targets);
}

static size_t
route(struct exchange *exchange, const char *key)
{
    struct exchange_message message = {.routing_key = bytes_of(key)};
    return route_message(exchange, &message);
}

/* Where each of KEY_COUNT keys goes, and how many each target gets. */
struct census {
    uint8_t went[KEY_COUNT];
    uint32_t counts[TARGET_COUNT + 1];
};

static void
count_all(struct exchange *exchange, struct census *census)
{
    memset(census, 0, sizeof(*census));
    for (uint32_t i = 0; i < KEY_COUNT; i++) {
        char key[16];
        (void)snprintf(key, sizeof(key), "key %u", i);
        census->went[i] = (uint8_t)route(exchange, key);
        census->counts[census->went[i]]++;
    }
}

static double
share(const struct census *census, size_t target)
{
    return (double)census->counts[target] / KEY_COUNT;
}

static struct census before;
static struct census after;

/* x-consistent-hash --------------------------------------------------------------------------- */

Test(spreading, weights_divide_what_is_hashed)
{
    struct exchange *exchange = make("x-consistent-hash", nothing);
    bind(exchange, 0, "10");
    bind(exchange, 1, "10");
    bind(exchange, 2, "20");
    bind(exchange, 3, "20");
    count_all(exchange, &before);
    static const double wanted[] = {1 / 6.0, 1 / 6.0, 2 / 6.0, 2 / 6.0};
    for (size_t i = 0; i < ARRAY_LEN(wanted); i++) {
        cr_expect(ge(dbl, share(&before, i), wanted[i] * 0.9), "target %zu", i);
        cr_expect(lt(dbl, share(&before, i), wanted[i] * 1.1), "target %zu", i);
    }
    exchange_free(&exchange);
}

/* Clients that follow RabbitMQ's documentation bind with "1". */
Test(spreading, weights_of_one_divide_almost_evenly)
{
    struct exchange *exchange = make("x-consistent-hash", nothing);
    for (size_t i = 0; i < 8; i++) {
        bind(exchange, i, "1");
    }
    count_all(exchange, &before);
    for (size_t i = 0; i < 8; i++) {
        cr_expect(ge(dbl, share(&before, i), 0.125 * 0.7), "target %zu", i);
        cr_expect(lt(dbl, share(&before, i), 0.125 * 1.3), "target %zu", i);
    }
    exchange_free(&exchange);
}

Test(spreading, removing_a_target_moves_what_it_had_and_nothing_else)
{
    struct exchange *exchange = make("x-consistent-hash", nothing);
    for (size_t i = 0; i < 8; i++) {
        bind(exchange, i, "3");
    }
    count_all(exchange, &before);
    unbind(exchange, 5, "3");
    count_all(exchange, &after);
    for (uint32_t i = 0; i < KEY_COUNT; i++) {
        cr_assert(ne(u8, after.went[i], 5));
        cr_assert(before.went[i] == 5 || before.went[i] == after.went[i]);
    }
    for (size_t i = 0; i < 8; i++) {
        cr_expect(i == 5 || after.counts[i] > before.counts[i], "the others share it");
    }
    bind(exchange, 5, "3");
    count_all(exchange, &after);
    cr_expect(eq(int, memcmp(before.went, after.went, sizeof(before.went)), 0));
    exchange_free(&exchange);
}

Test(spreading, a_greater_weight_only_takes)
{
    struct exchange *exchange = make("x-consistent-hash", nothing);
    for (size_t i = 0; i < 4; i++) {
        bind(exchange, i, "5");
    }
    count_all(exchange, &before);
    bind(exchange, 2, "10");
    count_all(exchange, &after);
    for (uint32_t i = 0; i < KEY_COUNT; i++) {
        cr_assert(after.went[i] == before.went[i] || after.went[i] == 2);
    }
    cr_expect(ge(dbl, share(&after, 2), 0.9 * 15 / 30), "5 and 10 of one target add up");
    cr_expect(lt(dbl, share(&after, 2), 1.1 * 15 / 30));
    unbind(exchange, 2, "5");
    unbind(exchange, 2, "10");
    bind(exchange, 2, "5");
    count_all(exchange, &after);
    cr_expect(eq(int, memcmp(before.went, after.went, sizeof(before.went)), 0));
    exchange_free(&exchange);
}

/* What a restart must not change: the order of binding, ids, seeds. */
static void
expect_the_same_elsewhere(const char *type)
{
    struct exchange *exchange = make(type, nothing);
    for (size_t i = 0; i < 6; i++) {
        bind(exchange, i, "2");
    }
    count_all(exchange, &before);
    exchange_free(&exchange);
    for (size_t i = 0; i < TARGET_COUNT; i++) {
        route_target_init(&targets[i], ROUTE_TARGET_QUEUE, 5 + i);
    }
    struct exchange_properties properties = {
        .name = bytes_of("another"),
        .type = exchange_type_find(bytes_of(type)),
        .tools = {.seed = 4, .random = &source, .target_name = target_name},
    };
    exchange = exchange_new(2, &properties);
    bind(exchange, 9, "7");
    for (size_t i = 6; i-- > 0;) {
        bind(exchange, i, "2");
    }
    unbind(exchange, 9, "7");
    count_all(exchange, &after);
    cr_expect(eq(int, memcmp(before.went, after.went, sizeof(before.went)), 0), "%s", type);
    exchange_free(&exchange);
}

Test(spreading, keys_go_where_they_went_whatever_the_order_ids_and_seeds)
{
    expect_the_same_elsewhere("x-consistent-hash");
    expect_the_same_elsewhere("x-modulus-hash");
}

/* Written down: messages of one version must go the same way under the next. */
Test(spreading, keys_go_where_they_went_in_earlier_versions)
{
    struct exchange *ring = make("x-consistent-hash", nothing);
    struct exchange *modulus = make("x-modulus-hash", nothing);
    static const char *const keys[] = {"", "a", "order.1", "order.2", "order.3", "kunde 4711"};
    static const size_t by_ring[] = {2, 2, 3, 3, 4, 0};
    static const size_t by_modulus[] = {2, 1, 1, 3, 2, 3};
    for (size_t i = 0; i < 5; i++) {
        bind(ring, i, "4");
        bind(modulus, i, "");
    }
    for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
        cr_expect(eq(sz, route(ring, keys[i]), by_ring[i]), "\"%s\"", keys[i]);
        cr_expect(eq(sz, route(modulus, keys[i]), by_modulus[i]), "\"%s\"", keys[i]);
    }
    exchange_free(&ring);
    exchange_free(&modulus);
}

Test(spreading, a_binding_key_that_is_no_weight_is_refused)
{
    static const struct {
        const char *key;
        const char *text;
    } rows[] = {
        {"1", NULL},
        {"+20", NULL},
        {"007", NULL},
        {"1000", NULL},
        {"", "The binding key must be an integer: <<>>"},
        {"-", "The binding key must be an integer: <<\"-\">>"},
        {"a lot", "The binding key must be an integer: <<\"a lot\">>"},
        {"1.5", "The binding key must be an integer: <<\"1.5\">>"},
        {" 1", "The binding key must be an integer: <<\" 1\">>"},
        {"0", "The binding key must be greater than 0"},
        {"-3", "The binding key must be greater than 0"},
        {"-99999999999999999999", "The binding key must be greater than 0"},
        {"1001", "The binding key must not be greater than 1000"},
        {"18446744073709551617", "The binding key must not be greater than 1000"},
    };
    struct exchange *exchange = make("x-consistent-hash", nothing);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        bool created;
        struct fault fault = {.reply_code = 0};
        enum status status = exchange_bind(exchange, &targets[i], bytes_of(rows[i].key), nothing,
                                           false, &created, &fault);
        if (rows[i].text == NULL) {
            cr_expect(eq(int, status, STATUS_OK), "\"%s\"", rows[i].key);
        } else {
            cr_expect(eq(int, status, STATUS_FAULT), "\"%s\"", rows[i].key);
            cr_expect(eq(u16, fault.reply_code, 406));
            cr_expect(eq(str, fault.text, (char *)rows[i].text));
        }
    }
    exchange_free(&exchange);
}

/* Arguments ------------------------------------------------------------------------------------ */

struct text_argument {
    const char *name;
    const char *value; /* NULL: an integer */
};

static void
put_arguments(struct buffer *table, const struct text_argument *arguments, size_t count)
{
    buffer_init(table);
    for (size_t i = 0; i < count && arguments[i].name != NULL; i++) {
        if (arguments[i].value == NULL) {
            table_put_integer(table, arguments[i].name, 5);
        } else {
            table_put_text(table, arguments[i].name, bytes_of(arguments[i].value));
        }
    }
}

Test(spreading, arguments_that_name_nothing_to_hash_are_refused)
{
    static const struct {
        struct text_argument arguments[2];
        const char *text;
    } rows[] = {
        {{{"hash-header", "h"}}, NULL},
        {{{"hash-property", "message_id"}}, NULL},
        {{{"hash-property", "correlation_id"}}, NULL},
        {{{"hash-property", "timestamp"}}, NULL},
        {{{"x-other", NULL}}, NULL},
        {{{"hash-property", "app_id"}}, "Unsupported property: app_id"},
        {{{"hash-header", "h"}, {"hash-property", "message_id"}},
         "hash-header and hash-property are mutually exclusive"},
        {{{"hash-header", NULL}}, "invalid type 'long' for arg 'hash-header' in exchange 'x'"},
        {{{"hash-property", NULL}}, "invalid type 'long' for arg 'hash-property' in exchange 'x'"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct buffer table;
        struct fault fault = {.reply_code = 0};
        put_arguments(&table, rows[i].arguments, ARRAY_LEN(rows[i].arguments));
        enum status status = exchange_type_check_arguments(
            &exchange_type_consistent_hash, buffer_bytes(&table), "exchange 'x'", &fault);
        cr_expect(eq(int, status, rows[i].text == NULL ? STATUS_OK : STATUS_FAULT), "row %zu", i);
        if (rows[i].text != NULL) {
            cr_expect(eq(str, fault.text, (char *)rows[i].text));
        }
        cr_expect(eq(int,
                     exchange_type_check_arguments(&exchange_type_fanout, buffer_bytes(&table),
                                                   "exchange 'x'", &fault),
                     STATUS_OK),
                  "other types do not read them");
        buffer_fini(&table);
    }
}

static struct exchange *
make_with(const char *name, const char *value)
{
    const struct text_argument argument = {name, value};
    struct buffer table;
    put_arguments(&table, &argument, 1);
    struct exchange *exchange = make("x-consistent-hash", buffer_bytes(&table));
    buffer_fini(&table);
    for (size_t i = 0; i < 8; i++) {
        bind(exchange, i, "10");
    }
    return exchange;
}

/* Sends 200 messages that differ in `make_message`'s number, each under two routing keys; returns
 * how many targets they reach, and asserts that the routing key does not matter. */
static size_t
count_reached(struct exchange *exchange,
              void (*make_message)(struct exchange_message *message, struct buffer *scratch,
                                   unsigned number))
{
    bool is_reached[TARGET_COUNT + 1] = {false};
    size_t reached_count = 0;
    for (unsigned i = 0; i < 200; i++) {
        struct exchange_message message = {.routing_key = bytes_of("one")};
        struct buffer scratch;
        buffer_init(&scratch);
        make_message(&message, &scratch, i);
        size_t target = route_message(exchange, &message);
        message.routing_key = bytes_of("two");
        cr_assert(eq(sz, route_message(exchange, &message), target));
        reached_count += !is_reached[target];
        is_reached[target] = true;
        buffer_fini(&scratch);
    }
    cr_assert(not(is_reached[NOWHERE]));
    return reached_count;
}

static void
put_header(struct exchange_message *message, struct buffer *scratch, unsigned number)
{
    table_put_text(scratch, "other", bytes_of("same"));
    table_put_integer(scratch, "customer", number);
    message->headers = buffer_bytes(scratch);
}

static void
put_other_header(struct exchange_message *message, struct buffer *scratch, unsigned number)
{
    table_put_integer(scratch, "custome", number);
    message->headers = buffer_bytes(scratch);
}

static void
put_properties(struct exchange_message *message, struct buffer *scratch, unsigned number)
{
    char text[16];
    (void)snprintf(text, sizeof(text), "%u", number);
    struct properties properties = {
        .flags = PROPERTY_MESSAGE_ID | PROPERTY_CORRELATION_ID | PROPERTY_TIMESTAMP,
        .message_id = bytes_of(text),
        .correlation_id = bytes_of(text),
        .timestamp = number,
    };
    properties_encode(scratch, &properties);
    message->properties = buffer_bytes(scratch);
}

static void
put_other_properties(struct exchange_message *message, struct buffer *scratch, unsigned number)
{
    char text[16];
    (void)snprintf(text, sizeof(text), "%u", number);
    struct properties properties = {.flags = PROPERTY_APP_ID, .app_id = bytes_of(text)};
    properties_encode(scratch, &properties);
    message->properties = buffer_bytes(scratch);
}

Test(spreading, a_header_is_hashed_in_place_of_the_routing_key)
{
    struct exchange *exchange = make_with("hash-header", "customer");
    cr_expect(eq(sz, count_reached(exchange, put_header), 8));
    cr_expect(eq(sz, count_reached(exchange, put_other_header), 1), "without it all go one way");
    exchange_free(&exchange);
}

/* A client's library may write the same number as a short or a long one. */
Test(spreading, the_width_of_an_integer_header_does_not_matter)
{
    struct exchange *exchange = make_with("hash-header", "n");
    static const uint8_t narrow[] = {1, 'n', 'b', 42};
    static const uint8_t wide[] = {1, 'n', 'l', 0, 0, 0, 0, 0, 0, 0, 42};
    struct exchange_message messages[] = {{.headers = bytes_make(narrow, sizeof(narrow))},
                                          {.headers = bytes_make(wide, sizeof(wide))}};
    cr_expect(eq(sz, route_message(exchange, &messages[0]), route_message(exchange, &messages[1])));
    exchange_free(&exchange);
}

Test(spreading, a_property_is_hashed_in_place_of_the_routing_key)
{
    static const char *const properties[] = {"message_id", "correlation_id", "timestamp"};
    for (size_t i = 0; i < ARRAY_LEN(properties); i++) {
        struct exchange *exchange = make_with("hash-property", properties[i]);
        cr_expect(eq(sz, count_reached(exchange, put_properties), 8), "%s", properties[i]);
        cr_expect(eq(sz, count_reached(exchange, put_other_properties), 1), "%s", properties[i]);
        exchange_free(&exchange);
    }
}

/* A dead letter may have more headers than a client may send: it goes where the message went. */
static void
put_properties_and_many_headers(struct exchange_message *message, struct buffer *scratch,
                                unsigned number)
{
    struct buffer headers;
    char text[16];
    buffer_init(&headers);
    for (unsigned i = 0; i <= TABLE_HEADER_FIELDS_MAX; i++) {
        table_put_boolean(&headers, "h", true);
    }
    (void)snprintf(text, sizeof(text), "%u", number);
    struct properties properties = {.flags = PROPERTY_HEADERS | PROPERTY_MESSAGE_ID,
                                    .headers = buffer_bytes(&headers),
                                    .message_id = bytes_of(text)};
    properties_encode(scratch, &properties);
    message->properties = buffer_bytes(scratch);
    buffer_fini(&headers);
}

Test(spreading, a_property_counts_whatever_headers_a_death_has_added)
{
    struct exchange *exchange = make_with("hash-property", "message_id");
    cr_expect(eq(sz, count_reached(exchange, put_properties_and_many_headers), 8));
    exchange_free(&exchange);
}

/* A file that is read again may change what is hashed. */
Test(spreading, new_arguments_are_in_force_at_once)
{
    struct exchange *exchange = make_with("hash-header", "customer");
    cr_assert(eq(int, exchange_set_arguments(exchange, nothing), STATUS_OK));
    cr_expect(ne(sz, route(exchange, "a"), route(exchange, "c")));
    exchange_unbind_all(exchange);
    bind(exchange, 3, "1");
    cr_expect(eq(sz, route(exchange, "a"), 3));
    exchange_free(&exchange);
}

/* x-modulus-hash, x-random -------------------------------------------------------------------- */

Test(spreading, a_modulus_divides_evenly)
{
    struct exchange *exchange = make("x-modulus-hash", nothing);
    for (size_t i = 0; i < 5; i++) {
        bind(exchange, i, "");
    }
    count_all(exchange, &before);
    for (size_t i = 0; i < 5; i++) {
        cr_expect(ge(dbl, share(&before, i), 0.19), "target %zu", i);
        cr_expect(lt(dbl, share(&before, i), 0.21), "target %zu", i);
    }
    bind(exchange, 0, "once more");
    count_all(exchange, &after);
    cr_expect(ge(dbl, share(&after, 0), 0.31), "two of six bindings");
    exchange_free(&exchange);
}

/* RabbitMQ hashes the list of all keys. */
Test(spreading, a_modulus_hashes_all_keys_of_a_message)
{
    struct exchange *exchange = make("x-modulus-hash", nothing);
    for (size_t i = 0; i < 8; i++) {
        bind(exchange, i, "");
    }
    bool moves = false;
    for (unsigned i = 0; i < 20; i++) {
        char key[16];
        (void)snprintf(key, sizeof(key), "cc %u", i);
        struct bytes other = bytes_of(key);
        struct exchange_message message = {
            .routing_key = bytes_of("k"), .other_keys = &other, .other_key_count = 1};
        moves = moves || route_message(exchange, &message) != route(exchange, "k");
    }
    cr_expect(moves);
    exchange_free(&exchange);
}

Test(spreading, chance_divides_evenly_and_a_target_bound_twice_has_two_chances)
{
    struct exchange *exchange = make("x-random", nothing);
    bind(exchange, 0, "a");
    bind(exchange, 0, "b");
    bind(exchange, 1, "");
    bind(exchange, 2, "");
    count_all(exchange, &before);
    cr_expect(ge(dbl, share(&before, 0), 0.48));
    cr_expect(lt(dbl, share(&before, 0), 0.52));
    cr_expect(ge(dbl, share(&before, 1), 0.23));
    cr_expect(lt(dbl, share(&before, 1), 0.27));
    unbind(exchange, 0, "a");
    unbind(exchange, 1, "");
    count_all(exchange, &after);
    cr_expect(eq(u32, after.counts[1], 0));
    cr_expect(ge(dbl, share(&after, 2), 0.48));
    exchange_free(&exchange);
}

/* What a simulator relies on. */
Test(spreading, the_same_seed_draws_the_same_targets)
{
    for (int i = 0; i < 2; i++) {
        random_state = 1234;
        struct exchange *exchange = make("x-random", nothing);
        for (size_t target = 0; target < 8; target++) {
            bind(exchange, target, "");
        }
        count_all(exchange, i == 0 ? &before : &after);
        exchange_free(&exchange);
    }
    cr_expect(eq(int, memcmp(before.went, after.went, sizeof(before.went)), 0));
}

/* Deleting what many bindings lead to takes several ticks; a message that comes meanwhile must not
 * be lost to a queue that nobody has any more. */
Test(spreading, what_is_being_deleted_gets_nothing)
{
    static const char *const types[] = {"x-consistent-hash", "x-modulus-hash", "x-random"};
    for (size_t i = 0; i < ARRAY_LEN(types); i++) {
        struct exchange *exchange = make(types[i], nothing);
        for (size_t target = 0; target < 3; target++) {
            bind(exchange, target, "5");
        }
        targets[1].kind = ROUTE_TARGET_GONE;
        count_all(exchange, &before);
        cr_expect(eq(u32, before.counts[1], 0), "%s", types[i]);
        cr_expect(eq(u32, before.counts[NOWHERE], 0), "%s", types[i]);
        targets[0].kind = targets[2].kind = ROUTE_TARGET_GONE;
        cr_expect(eq(sz, route(exchange, "k"), NOWHERE), "%s", types[i]);
        unbind(exchange, 1, "5");
        targets[0].kind = targets[1].kind = targets[2].kind = ROUTE_TARGET_QUEUE;
        cr_expect(ne(sz, route(exchange, "k"), NOWHERE), "%s", types[i]);
        exchange_free(&exchange);
    }
}

Test(spreading, without_bindings_there_is_nowhere_to_go)
{
    static const char *const types[] = {"x-consistent-hash", "x-modulus-hash", "x-random"};
    for (size_t i = 0; i < ARRAY_LEN(types); i++) {
        struct exchange *exchange = make(types[i], nothing);
        cr_expect(eq(sz, route(exchange, "k"), NOWHERE));
        bind(exchange, 4, "1");
        cr_expect(eq(sz, route(exchange, "k"), 4));
        unbind(exchange, 4, "1");
        cr_expect(eq(sz, route(exchange, "k"), NOWHERE));
        exchange_free(&exchange);
    }
}

/* Taking a heavy target away costs more than a tick allows for one binding. */
Test(spreading, the_work_of_a_weight_is_known)
{
    struct exchange *exchange = make("x-consistent-hash", nothing);
    bind(exchange, 0, "1000");
    bind(exchange, 1, "1");
    struct binding *heavy =
        binding_table_find(&exchange->bindings, &targets[0], bytes_of("1000"), nothing);
    struct binding *light =
        binding_table_find(&exchange->bindings, &targets[1], bytes_of("1"), nothing);
    cr_expect(ge(u32, exchange_binding_work(heavy), 500 * exchange_binding_work(light)));
    exchange_free(&exchange);
    struct exchange *fanout = make("fanout", nothing);
    bind(fanout, 0, "");
    struct binding *plain = binding_table_find(&fanout->bindings, &targets[0], nothing, nothing);
    cr_expect(eq(u32, exchange_binding_work(plain), 1));
    exchange_free(&fanout);
}
