/* SPDX-License-Identifier: Apache-2.0 */
/* The route explainer agrees with routing: over random topologies, in slices, and while the
 * topology changes under it. */
#include "broker/explain/explain_route.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#include <stdio.h>

#include "amqp/properties.h"
#include "amqp/table.h"
#include "base/assert.h"
#include "broker/publishing/route.h"
#include "tests/unit/broker/messaging.h"

static struct rig *rig;
static uint64_t a;

static void
set_up(void)
{
    rig = messaging_rig(NULL);
    a = messaging_client(rig);
}

static void
tear_down(void)
{
    rig_free(&rig);
}

TestSuite(explain_route, .init = set_up, .fini = tear_down);

static struct route_question
question_about(const char *exchange, const char *key)
{
    return (struct route_question){
        .vhost = bytes_of("/"),
        .exchange = bytes_of(exchange),
        .routing_key = bytes_of(key),
    };
}

static const struct explained_queue *
find_reached(const struct explained_route *route, struct bytes name)
{
    for (uint32_t i = 0; i < route->queue_count; i++) {
        if (bytes_equal(route->queues[i]->name, name)) {
            return route->queues[i];
        }
    }
    return NULL;
}

/* Random topologies ---------------------------------------------------------------------------- */

enum { EXCHANGES = 7, QUEUES = 6, BINDINGS = 24, MESSAGES = 12 };

static const char *const types[] = {
    "direct",
    "fanout",
    "topic",
    "headers",
    "x-consistent-hash",
    "x-modulus-hash",
    "x-random",
    "x-delayed-message",
};

struct world {
    struct random_source random;
    uint64_t state;
    struct vhost *vhost;
    bool has_chance; /* an exchange of the type x-random is among them */
};

static uint32_t
draw(struct world *world, uint32_t count)
{
    return (uint32_t)(random_u64(&world->random) % count);
}

static const char *
draw_of(struct world *world, const char *const *words, uint32_t count)
{
    return words[draw(world, count)];
}

static const char *
draw_type(struct world *world, uint32_t count)
{
    const char *type = draw_of(world, types, count);
    world->has_chance |= strcmp(type, "x-random") == 0;
    return type;
}

static void
make_exchange(struct world *world, uint32_t number)
{
    char name[8];
    char alternate[8];
    struct buffer arguments;
    struct fault fault;
    (void)snprintf(name, sizeof(name), "x%u", number);
    (void)snprintf(alternate, sizeof(alternate), "x%u", draw(world, EXCHANGES + 1));
    buffer_init(&arguments);
    const char *type = draw_type(world, ARRAY_LEN(types));
    if (strcmp(type, "x-delayed-message") == 0) {
        const char *inner = draw_type(world, ARRAY_LEN(types) - 1);
        table_put_text(&arguments, "x-delayed-type", bytes_of(inner));
    }
    if (draw(world, 2) == 0) {
        bool is_default = draw(world, 6) == 0;
        table_put_text(&arguments, "alternate-exchange", bytes_of(is_default ? "" : alternate));
    }
    struct exchange_properties properties = {
        .name = bytes_of(name),
        .type = exchange_type_find(bytes_of(type)),
        .arguments = buffer_bytes(&arguments),
    };
    cr_assert(eq(int, vhost_declare_exchange(world->vhost, &properties, NULL, &fault), STATUS_OK));
    buffer_fini(&arguments);
}

static struct exchange *
find_exchange(const struct world *world, uint32_t number)
{
    char name[8];
    (void)snprintf(name, sizeof(name), "x%u", number);
    return vhost_find_exchange(world->vhost, bytes_of(name));
}

static void
put_headers(struct world *world, struct buffer *table)
{
    static const char *const values[] = {"1", "2"};
    for (uint32_t i = 0; i < 3; i++) {
        char name[4] = {'h', (char)('0' + i)};
        if (draw(world, 2) == 0) {
            table_put_text(table, name, bytes_of(draw_of(world, values, 2)));
        }
    }
}

static void
make_binding(struct world *world)
{
    static const char *const patterns[] = {"a", "b", "a.b", "a.*", "#", "*.b", "#.b.#", "", "q1"};
    static const char *const matches[] = {"all", "any", "all-with-x", "any-with-x"};
    struct exchange *source = find_exchange(world, draw(world, EXCHANGES));
    struct buffer arguments;
    struct fault fault;
    const char *key = draw_of(world, patterns, ARRAY_LEN(patterns));
    buffer_init(&arguments);
    if (strcmp(source->type->name, "x-consistent-hash") == 0) {
        key = draw(world, 2) == 0 ? "1" : "3";
    } else if (strcmp(source->type->name, "headers") == 0) {
        table_put_text(&arguments, "x-match", bytes_of(draw_of(world, matches, 4)));
        put_headers(world, &arguments);
    }
    char name[8];
    (void)snprintf(name, sizeof(name), "q%u", draw(world, QUEUES));
    struct queue *queue = vhost_find_queue(world->vhost, bytes_of(name));
    bool to_exchange = draw(world, 3) == 0;
    struct route_target *target =
        to_exchange ? &find_exchange(world, draw(world, EXCHANGES))->target : &queue->target;
    cr_assert(eq(int,
                 vhost_bind(world->vhost, source, target, bytes_of(key), buffer_bytes(&arguments),
                            NULL, &fault),
                 STATUS_OK));
    buffer_fini(&arguments);
}

static void
make_world(struct world *world, uint64_t seed)
{
    char name[24];
    *world = (struct world){.state = seed};
    world->random = random_seeded(&world->state);
    (void)snprintf(name, sizeof(name), "v%u", (unsigned)seed);
    world->vhost = rig_add_vhost(rig, name);
    for (uint32_t i = 0; i < EXCHANGES; i++) {
        make_exchange(world, i);
    }
    for (uint32_t i = 0; i < QUEUES; i++) {
        struct fault fault;
        (void)snprintf(name, sizeof(name), "q%u", i);
        struct queue_properties properties = {.name = bytes_of(name)};
        cr_assert(eq(int, vhost_declare_queue(world->vhost, &properties, NULL, &fault), STATUS_OK));
    }
    for (uint32_t i = 0; i < BINDINGS; i++) {
        make_binding(world);
    }
}

/* A message: keys, headers, sometimes a delay and more keys. */
struct message {
    struct buffer headers, block;
    struct bytes keys[4];
    uint32_t key_count;
};

static void
put_more_keys(struct world *world, struct message *message)
{
    static const char *const keys[] = {"a", "b", "a.b", "b.a", "q2"};
    buffer_put_shortstr(&message->headers, bytes_of("CC"));
    buffer_put_u8(&message->headers, 'A');
    size_t size_at = table_begin_counted(&message->headers);
    for (uint32_t i = 0; i < 2; i++) {
        struct bytes key = bytes_of(draw_of(world, keys, ARRAY_LEN(keys)));
        buffer_put_u8(&message->headers, 'S');
        buffer_put_longstr(&message->headers, key);
        message->keys[message->key_count++] = key;
    }
    table_end_counted(&message->headers, size_at);
}

static void
draw_message(struct world *world, struct message *message)
{
    static const char *const keys[] = {"a", "b", "a.b", "b.a", "a.c.b", "", "q1", "none"};
    *message = (struct message){.key_count = 1};
    message->keys[0] = bytes_of(draw_of(world, keys, ARRAY_LEN(keys)));
    buffer_init(&message->headers);
    buffer_init(&message->block);
    put_headers(world, &message->headers);
    if (draw(world, 2) == 0) {
        table_put_integer(&message->headers, "x-delay", 1000);
    }
    if (draw(world, 3) == 0) {
        put_more_keys(world, message);
    }
    struct properties properties = {
        .flags = PROPERTY_HEADERS,
        .headers = buffer_bytes(&message->headers),
    };
    properties_encode(&message->block, &properties);
}

static void
message_fini(struct message *message)
{
    buffer_fini(&message->headers);
    buffer_fini(&message->block);
}

static bool
was_routed(const struct core *core, struct bytes name, bool *is_delayed_out)
{
    for (uint32_t i = 0; i < core->routes.count; i++) {
        if (bytes_equal(queue_name(queue_of_target(core->routes.targets[i])), name)) {
            *is_delayed_out = i >= core->prompt_count;
            return true;
        }
    }
    return false;
}

/* Where chance takes part, routing reaches what is certain, and nothing that is not explained. */
static void
compare(const struct world *world, const struct explained_route *route, uint64_t seed)
{
    const struct core *core = rig->core;
    uint32_t certain_count = 0;
    for (uint32_t i = 0; i < core->routes.count; i++) {
        const struct queue *queue = queue_of_target(core->routes.targets[i]);
        cr_assert(ne(ptr, (void *)find_reached(route, queue_name(queue)), NULL), "seed %lu: %.*s",
                  (unsigned long)seed, BYTES_FORMAT(queue_name(queue)));
    }
    for (uint32_t i = 0; i < route->queue_count; i++) {
        const struct explained_queue *queue = route->queues[i];
        bool is_delayed = false;
        bool is_routed = was_routed(core, queue->name, &is_delayed);
        certain_count += queue->is_by_chance ? 0 : 1;
        cr_assert(is_routed || queue->is_by_chance, "seed %lu: %.*s", (unsigned long)seed,
                  BYTES_FORMAT(queue->name));
        cr_assert(world->has_chance || is_delayed == queue->is_delayed, "seed %lu: %.*s",
                  (unsigned long)seed, BYTES_FORMAT(queue->name));
    }
    cr_assert(world->has_chance || certain_count == core->routes.count);
    cr_assert(eq(u64, route->queue_total, route->queue_count));
}

static struct route_explanation *
explain_in_slices(const struct route_question *question, uint32_t rows)
{
    struct route_explanation *explanation = route_explanation_new(question);
    uint32_t budget = rows;
    while (!route_explanation_step(explanation, rig->core, &budget)) {
        cr_assert(eq(u32, budget, 0));
        budget = rows;
    }
    return explanation;
}

static void
check_message(struct world *world, uint64_t seed)
{
    struct message message;
    draw_message(world, &message);
    struct exchange *exchange = draw(world, 8) == 0
                                    ? vhost_find_exchange(world->vhost, bytes_of(""))
                                    : find_exchange(world, draw(world, EXCHANGES));
    struct route_question question = {
        .vhost = world->vhost->name,
        .exchange = exchange->name,
        .routing_key = message.keys[0],
        .properties = buffer_bytes(&message.block),
    };
    struct route_explanation *explanation = explain_in_slices(&question, 1 + draw(world, 9));
    struct route_message shown = {
        .keys = message.keys,
        .key_count = message.key_count,
        .headers = buffer_bytes(&message.headers),
        .properties = buffer_bytes(&message.block),
    };
    core_route(rig->core, world->vhost, exchange, &shown);
    compare(world, route_explanation_result(explanation), seed);
    route_explanation_free(&explanation);
    message_fini(&message);
}

Test(explain_route, reaches_what_routing_reaches_over_random_topologies)
{
    enum { SEEDS = 400 };
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        struct world world;
        make_world(&world, seed);
        world.random = random_seeded(&world.state);
        for (int i = 0; i < MESSAGES; i++) {
            check_message(&world, seed);
        }
    }
}

/* Reasons and bounds ----------------------------------------------------------------------------
 */

Test(explain_route, lists_the_nearest_misses_and_counts_the_rest)
{
    char key[24];
    declare_queue(rig, a, "q");
    declare_exchange(rig, a, "t", "topic", NULL);
    for (int i = 0; i < 50; i++) {
        (void)snprintf(key, sizeof(key), "x.%d.y.z", i);
        bind_queue(rig, a, "q", "t", key);
    }
    bind_queue(rig, a, "q", "t", "a.b.d");
    bind_queue(rig, a, "q", "t", "a.b.c.d");
    struct route_question question = question_about("t", "a.b.c");
    question.misses = 3;
    struct route_explanation *explanation = route_explain(rig->core, &question);
    const struct explained_route *route = route_explanation_result(explanation);
    const struct explained_bindings *misses = &route->exchanges[0]->misses;
    cr_expect(eq(u64, route->queue_total, 0));
    cr_expect(eq(u64, misses->total, 52));
    cr_assert(eq(u32, misses->count, 3));
    cr_expect(eq(str, misses->items[0].why, "the key ends where the pattern wants \"d\""));
    cr_expect(eq(str, misses->items[1].why, "word 3 is \"c\", the pattern wants \"d\""));
    route_explanation_free(&explanation);
}

Test(explain_route, more_queues_than_are_listed_are_counted)
{
    char name[16];
    declare_exchange(rig, a, "f", "fanout", NULL);
    for (int i = 0; i < EXPLAIN_QUEUES_MAX + 5; i++) {
        (void)snprintf(name, sizeof(name), "q%d", i);
        declare_queue(rig, a, name);
        bind_queue(rig, a, name, "f", "");
    }
    struct route_question question = question_about("f", "");
    struct route_explanation *explanation = explain_in_slices(&question, 64);
    const struct explained_route *route = route_explanation_result(explanation);
    cr_expect(eq(u64, route->queue_total, EXPLAIN_QUEUES_MAX + 5));
    cr_expect(eq(u32, route->queue_count, EXPLAIN_QUEUES_MAX));
    cr_expect(eq(u64, route->exchanges[0]->matches.total, EXPLAIN_QUEUES_MAX + 5));
    cr_expect(eq(u32, route->exchanges[0]->matches.count, EXPLAIN_MATCHES));
    route_explanation_free(&explanation);
}

Test(explain_route, says_what_the_queue_would_do)
{
    struct buffer arguments;
    buffer_init(&arguments);
    table_put_integer(&arguments, "x-max-length", 1);
    table_put_text(&arguments, "x-overflow", bytes_of("reject-publish"));
    table_put_integer(&arguments, "x-message-ttl", 5000);
    table_put_text(&arguments, "x-dead-letter-exchange", bytes_of("nowhere"));
    declare_queue_as(
        rig, a,
        &(struct queue_declare){.queue = bytes_of("full"), .arguments = buffer_bytes(&arguments)});
    publish_text(rig, a, "full", "one");
    struct route_question question = question_about("", "full");
    struct route_explanation *explanation = route_explain(rig->core, &question);
    const struct explained_route *route = route_explanation_result(explanation);
    cr_assert(eq(u32, route->queue_count, 1));
    const struct queue_outlook *outlook = &route->queues[0]->outlook;
    cr_expect(eq(int, outlook->reception, RECEPTION_REFUSES));
    cr_expect(eq(u64, outlook->ready_count, 1));
    cr_expect(eq(i64, outlook->time_to_live_ms, 5000));
    cr_expect(outlook->dead_letters_get_lost);
    cr_expect(eq(u32, outlook->consumer_count, 0));
    route_explanation_free(&explanation);
    buffer_fini(&arguments);
}

static void
expect_refusal(const struct route_question *question, uint16_t code, const char *text)
{
    struct route_explanation *explanation = route_explain(rig->core, question);
    const struct explained_route *route = route_explanation_result(explanation);
    cr_assert(route->is_refused, "%s", text);
    cr_expect(eq(u16, route->refusal.reply_code, code));
    cr_expect(eq(str, (char *)route->refusal.text, (char *)text));
    route_explanation_free(&explanation);
}

Test(explain_route, refuses_as_publishing_does)
{
    struct config_user user = rig_user("narrow", "hash");
    struct config_topic_right topic = {bytes_of("t"), "^a$", ".*"};
    user.write = "^t$";
    user.topics = &topic;
    user.topic_count = 1;
    rig_put_user(rig, &user);
    declare_exchange(rig, a, "t", "topic", NULL);
    struct route_question question = question_about("t", "a");
    expect_refusal(&(struct route_question){.vhost = bytes_of("nowhere")}, 530,
                   "vhost nowhere not found");
    question.exchange = bytes_of("u");
    expect_refusal(&question, 404, "no exchange 'u' in vhost '/'");
    question.user = bytes_of("nobody");
    expect_refusal(&question, 403, "there is no user 'nobody'");
    question.user = bytes_of("narrow");
    expect_refusal(&question, 403,
                   "write access to exchange 'u' in vhost '/' refused for user "
                   "'narrow'");
    question.exchange = bytes_of("t");
    question.routing_key = bytes_of("b");
    expect_refusal(&question, 403,
                   "write access to topic 'b' in exchange 't' in vhost '/' refused "
                   "for user 'narrow'");
    question.exchange = bytes_of("amq.rabbitmq.trace");
    question.user = bytes_of("u");
    expect_refusal(&question, 403,
                   "cannot publish to internal exchange 'amq.rabbitmq.trace' in vhost '/'");
}

/* Changes under way -----------------------------------------------------------------------------
 */

Test(explain_route, begins_anew_when_the_topology_changes_between_slices)
{
    declare_exchange(rig, a, "f", "fanout", NULL);
    for (int i = 0; i < 10; i++) {
        char name[16];
        (void)snprintf(name, sizeof(name), "q%d", i);
        declare_queue(rig, a, name);
        bind_queue(rig, a, name, "f", "");
    }
    struct route_question question = question_about("f", "");
    struct route_explanation *explanation = route_explanation_new(&question);
    uint32_t budget = 4;
    cr_assert(not(route_explanation_step(explanation, rig->core, &budget)));
    (void)vhost_delete_queue(rig_vhost(rig), find_queue(rig, "q3"));
    budget = 1000;
    cr_assert(route_explanation_step(explanation, rig->core, &budget));
    cr_expect(eq(u64, route_explanation_result(explanation)->queue_total, 9));
    cr_expect(
        eq(ptr, (void *)find_reached(route_explanation_result(explanation), bytes_of("q3")), NULL));
    route_explanation_free(&explanation);
}

Test(explain_route, an_exchange_that_goes_between_slices_is_not_looked_at_again)
{
    declare_exchange(rig, a, "f", "fanout", NULL);
    declare_exchange(rig, a, "g", "fanout", NULL);
    declare_queue(rig, a, "q");
    bind_exchange(rig, a, "g", "f", "");
    bind_queue(rig, a, "q", "g", "");
    struct route_question question = question_about("f", "");
    struct route_explanation *explanation = route_explanation_new(&question);
    uint32_t budget = 2;
    cr_assert(not(route_explanation_step(explanation, rig->core, &budget)));
    vhost_delete_exchange(rig_vhost(rig), vhost_find_exchange(rig_vhost(rig), bytes_of("g")));
    rig_turn(rig);
    budget = 1000;
    cr_assert(route_explanation_step(explanation, rig->core, &budget));
    cr_expect(eq(u64, route_explanation_result(explanation)->queue_total, 0));
    cr_expect(eq(u32, route_explanation_result(explanation)->exchange_count, 1));
    route_explanation_free(&explanation);
}

Test(explain_route, gives_up_when_the_topology_never_stands_still)
{
    declare_exchange(rig, a, "f", "fanout", NULL);
    declare_queue(rig, a, "q");
    for (int i = 0; i < 10; i++) {
        char key[24];
        (void)snprintf(key, sizeof(key), "k%d", i);
        bind_queue(rig, a, "q", "f", key);
    }
    struct route_question question = question_about("f", "");
    struct route_explanation *explanation = route_explanation_new(&question);
    bool is_done = false;
    for (int i = 0; i <= EXPLAIN_RESTARTS_MAX + 1 && !is_done; i++) {
        char key[24];
        uint32_t budget = 4;
        is_done = route_explanation_step(explanation, rig->core, &budget);
        (void)snprintf(key, sizeof(key), "n%d", i);
        bind_queue(rig, a, "q", "f", key);
    }
    cr_expect(is_done);
    cr_expect(route_explanation_result(explanation)->is_changing);
    route_explanation_free(&explanation);
}
