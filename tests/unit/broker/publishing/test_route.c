/* SPDX-License-Identifier: Apache-2.0 */
/* From exchange to queues: bindings between exchanges, cycles, alternates, one copy a queue. */
#include "broker/publishing/route.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#include <stdio.h>

#include "amqp/table.h"
#include "tests/unit/broker/messaging.h"

static struct rig *rig;
static uint64_t a;

static void
set_up(void)
{
    rig = messaging_rig(NULL);
    a = messaging_client(rig);
    static const char *const queues[] = {"q1", "q2", "q3"};
    for (size_t i = 0; i < ARRAY_LEN(queues); i++) {
        declare_queue(rig, a, queues[i]);
    }
}

static void
tear_down(void)
{
    rig_free(&rig);
}

TestSuite(route, .init = set_up, .fini = tear_down);

/* Which queues a message reaches, such as "q1 q3"; keys end with NULL. */
static const char *
reach(const char *exchange, const char *const *keys)
{
    static char names[256];
    struct bytes views[8];
    struct route_message message = {.keys = views};
    for (; *keys != NULL; keys++) {
        views[message.key_count++] = bytes_of(*keys);
    }
    struct exchange *source = vhost_find_exchange(rig_vhost(rig), bytes_of(exchange));
    cr_assert(ne(ptr, source, NULL));
    core_route(rig->core, rig_vhost(rig), source, &message);
    size_t used = 0;
    names[0] = '\0';
    for (uint32_t i = 0; i < rig->core->routes.count; i++) {
        const struct queue *queue = queue_of_target(rig->core->routes.targets[i]);
        used += (size_t)snprintf(names + used, sizeof(names) - used, "%s%.*s", i == 0 ? "" : " ",
                                 BYTES_FORMAT(queue_name(queue)));
    }
    return names;
}

#define KEYS(...) ((const char *const[]){__VA_ARGS__, NULL})
/* Twice: the second time through the cache. */
#define EXPECT_REACH(exchange, keys, queues)                                                       \
    for (int pass_ = 0; pass_ < 2; pass_++) {                                                      \
        cr_expect(eq(str, (char *)reach(exchange, keys), queues), "pass %d", pass_);               \
    }

Test(route, the_default_exchange_reaches_the_queue_of_that_name)
{
    EXPECT_REACH("", KEYS("q2"), "q2");
    EXPECT_REACH("", KEYS("nowhere"), "");
    EXPECT_REACH("", KEYS("q3", "nowhere", "q1", "q3"), "q3 q1");
}

Test(route, a_queue_gets_one_copy_however_many_bindings_match)
{
    bind_queue(rig, a, "q1", "amq.topic", "a.#");
    bind_queue(rig, a, "q1", "amq.topic", "#.b");
    bind_queue(rig, a, "q2", "amq.topic", "*.b");
    EXPECT_REACH("amq.topic", KEYS("a.b"), "q1 q2");
    EXPECT_REACH("amq.topic", KEYS("a.c", "x.b"), "q1 q2");
}

Test(route, walks_through_exchanges_and_visits_each_once)
{
    declare_exchange(rig, a, "x", "fanout", NULL);
    declare_exchange(rig, a, "y", "fanout", NULL);
    declare_exchange(rig, a, "z", "direct", NULL);
    bind_exchange(rig, a, "y", "x", "");
    bind_exchange(rig, a, "z", "x", "");
    bind_exchange(rig, a, "x", "y", ""); /* a cycle */
    bind_exchange(rig, a, "y", "y", ""); /* and a short one */
    bind_queue(rig, a, "q1", "y", "");
    bind_queue(rig, a, "q2", "z", "k");
    bind_queue(rig, a, "q1", "z", "k");
    EXPECT_REACH("x", KEYS("k"), "q1 q2");
    EXPECT_REACH("x", KEYS("other"), "q1");
    EXPECT_REACH("y", KEYS("k"), "q1 q2");
}

/* As many as the set has room for: the exchange itself then has its place in front of them. */
Test(route, walks_through_very_many_exchanges)
{
    enum { EXCHANGES = 16 };
    declare_exchange(rig, a, "x", "fanout", NULL);
    for (int i = 0; i < EXCHANGES; i++) {
        char name[16];
        (void)snprintf(name, sizeof(name), "y%d", i);
        declare_exchange(rig, a, name, "fanout", NULL);
        bind_exchange(rig, a, name, "x", "");
        bind_queue(rig, a, i % 2 == 0 ? "q1" : "q2", name, "");
    }
    EXPECT_REACH("x", KEYS("k"), "q1 q2");
}

Test(route, what_matches_nothing_goes_to_the_alternate_exchange)
{
    declare_exchange(rig, a, "last", "fanout", NULL);
    declare_exchange(rig, a, "second", "direct", "last");
    declare_exchange(rig, a, "first", "direct", "second");
    bind_queue(rig, a, "q1", "first", "one");
    bind_queue(rig, a, "q2", "second", "two");
    bind_queue(rig, a, "q3", "last", "");
    EXPECT_REACH("first", KEYS("one"), "q1");
    EXPECT_REACH("first", KEYS("two"), "q2");
    EXPECT_REACH("first", KEYS("three"), "q3");
    EXPECT_REACH("first", KEYS("three", "one"), "q1");
}

Test(route, alternates_in_a_circle_or_missing_drop_the_message)
{
    declare_exchange(rig, a, "p", "direct", "r");
    declare_exchange(rig, a, "r", "direct", "p");
    declare_exchange(rig, a, "s", "direct", "no such exchange");
    EXPECT_REACH("p", KEYS("k"), "");
    EXPECT_REACH("s", KEYS("k"), "");
}

Test(route, the_default_exchange_may_be_an_alternate)
{
    declare_exchange(rig, a, "p", "direct", "");
    EXPECT_REACH("p", KEYS("q2"), "q2");
}

/* What matched may have been collected on another way; then there is nothing to rescue. */
Test(route, a_match_that_was_known_already_is_a_match)
{
    declare_exchange(rig, a, "start", "fanout", NULL);
    declare_exchange(rig, a, "middle", "direct", "rescue");
    declare_exchange(rig, a, "rescue", "fanout", NULL);
    bind_queue(rig, a, "q1", "start", "");
    bind_exchange(rig, a, "middle", "start", "");
    bind_queue(rig, a, "q1", "middle", "k");
    bind_queue(rig, a, "q3", "rescue", "");
    EXPECT_REACH("start", KEYS("k"), "q1");
    EXPECT_REACH("start", KEYS("other"), "q1 q3");
    EXPECT_REACH("start", KEYS("other", "k"), "q1");
}

Test(route, a_deleted_queue_is_reached_no_more)
{
    bind_queue(rig, a, "q1", "amq.topic", "k");
    EXPECT_REACH("amq.topic", KEYS("k"), "q1");
    (void)vhost_delete_queue(rig_vhost(rig), find_queue(rig, "q1"));
    EXPECT_REACH("amq.topic", KEYS("k"), "");
}

/* RabbitMQ looks at the first key only, so that CC does not make copies of what is to go one way.
 */
Test(route, a_message_with_cc_reaches_one_queue_of_an_exchange_that_spreads)
{
    static const char *const types[] = {"x-consistent-hash", "x-modulus-hash", "x-random"};
    for (size_t i = 0; i < ARRAY_LEN(types); i++) {
        declare_exchange(rig, a, types[i], types[i], NULL);
        bind_queue(rig, a, "q1", types[i], "1");
        bind_queue(rig, a, "q2", types[i], "1");
        bind_queue(rig, a, "q3", types[i], "1");
        (void)reach(types[i], KEYS("k", "cc1", "cc2", "cc3", "cc4", "cc5"));
        cr_expect(eq(u32, rig->core->routes.count, 1), "%s", types[i]);
    }
}

Test(route, an_exchange_that_spreads_may_lead_to_exchanges)
{
    declare_exchange(rig, a, "spread", "x-consistent-hash", NULL);
    declare_exchange(rig, a, "all", "fanout", NULL);
    bind_exchange(rig, a, "all", "spread", "5");
    bind_queue(rig, a, "q1", "all", "");
    bind_queue(rig, a, "q2", "all", "");
    EXPECT_REACH("spread", KEYS("k"), "q1 q2");
}

Test(route, an_exchange_that_spreads_and_has_no_bindings_uses_its_alternate)
{
    declare_exchange(rig, a, "spread", "x-random", "amq.fanout");
    bind_queue(rig, a, "q3", "amq.fanout", "");
    EXPECT_REACH("spread", KEYS("k"), "q3");
    bind_queue(rig, a, "q1", "spread", "");
    EXPECT_REACH("spread", KEYS("k"), "q1");
}
