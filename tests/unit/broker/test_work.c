/* SPDX-License-Identifier: Apache-2.0 */
/* What clients may have done in one tick: a publish may reach very many queues, a client may delete
 * and bind as fast as it writes. The rest waits for the next tick, in order. */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <stdio.h>

#include "tests/unit/broker/core_harness.h"

static struct rig *rig;
static struct vhost *vhost;

static void
set_up(void)
{
    rig = rig_new(NULL);
    rig_add_user(rig, "alice", "secret");
    vhost = rig_vhost(rig);
}

static void
tear_down(void)
{
    rig_free(&rig);
}

TestSuite(work, .init = set_up, .fini = tear_down);

static uint64_t
connect_client(void)
{
    uint64_t link = rig_connect(rig, "alice", "secret");
    rig_open_channel(rig, link, 1);
    return link;
}

static struct queue *
make_queue(const char *name)
{
    struct queue_properties properties = {.name = bytes_of(name)};
    struct queue *queue;
    struct fault fault;
    cr_assert(eq(int, vhost_declare_queue(vhost, &properties, &queue, &fault), STATUS_OK));
    return queue;
}

static uint64_t
ready_count(const char *name)
{
    return vhost_find_queue(vhost, bytes_of(name))->ready_count;
}

Test(work, publishes_beyond_the_work_of_a_tick_wait_for_the_next_in_order)
{
    uint64_t link = connect_client();
    make_queue("q");
    rig->holds_turn = true;
    rig->core->work_left = 4;
    rig_publish(rig, link, 1, "", "q", "a");
    rig_publish(rig, link, 1, "", "q", "b");
    cr_expect(core_has_worked(rig->core), "two publishes, two copies");
    rig_publish(rig, link, 1, "", "q", "c");
    rig_publish(rig, link, 1, "", "q", "d");
    rig_expect_nothing(rig, link); /* and is not told that it is blocked */
    cr_expect(eq(u64, ready_count("q"), 2));
    cr_expect(eq(u64, core_wait_ms(rig->core), 0));
    rig->holds_turn = false;
    rig_turn(rig);
    cr_expect(eq(u64, ready_count("q"), 4));
    struct method consume = {
        .id = METHOD_BASIC_CONSUME,
        .basic_consume = {.queue = bytes_of("q"), .consumer_tag = bytes_of("c"), .no_ack = true}};
    rig_send(rig, link, 1, &consume);
    (void)rig_expect(rig, link, 1, METHOD_BASIC_CONSUME_OK);
    for (const char *body = "abcd"; *body != '\0'; body++) {
        const struct posted *posted = rig_expect_posted(rig, link, 1, METHOD_BASIC_DELIVER);
        cr_expect(eq(u8, posted->body.data[0], (uint8_t)*body));
    }
}

Test(work, a_change_of_topology_waits_and_a_settlement_does_not)
{
    uint64_t link = connect_client();
    make_queue("q");
    rig_publish(rig, link, 1, "", "q", "a");
    struct method get = {.id = METHOD_BASIC_GET, .basic_get = {.queue = bytes_of("q")}};
    rig_send(rig, link, 1, &get);
    (void)rig_expect_posted(rig, link, 1, METHOD_BASIC_GET_OK);
    rig->holds_turn = true;
    rig->core->work_left = 0;
    struct method declare = {.id = METHOD_QUEUE_DECLARE,
                             .queue_declare = {.queue = bytes_of("new")}};
    struct method ack = {.id = METHOD_BASIC_ACK, .basic_ack = {.delivery_tag = 1}};
    rig_send(rig, link, 1, &declare);
    rig_send(rig, link, 1, &ack);
    rig_expect_nothing(rig, link);
    cr_expect(eq(u64, rig->core->counters.acked, 1));
    rig->holds_turn = false;
    rig_turn(rig);
    (void)rig_expect(rig, link, 1, METHOD_QUEUE_DECLARE_OK);
}

Test(work, every_change_of_topology_counts)
{
    uint64_t link = connect_client();
    struct method declare = {.id = METHOD_QUEUE_DECLARE,
                             .queue_declare = {.queue = bytes_of("q"), .nowait = true}};
    rig->holds_turn = true;
    uint32_t before = rig->core->work_left;
    rig_send(rig, link, 1, &declare);
    cr_expect(eq(u32, before - rig->core->work_left, CORE_WORK_OF_CHANGE));
    rig->holds_turn = false;
}

/* Patterns with `#` and header arguments can be asked in vain, and as many as a client binds. */
Test(work, what_matching_looked_at_counts)
{
    uint64_t link = connect_client();
    struct exchange *headers = vhost_find_exchange(vhost, bytes_of("amq.headers"));
    struct exchange *topic = vhost_find_exchange(vhost, bytes_of("amq.topic"));
    struct queue *queue = make_queue("q");
    struct fault fault;
    char key[32];
    static const char arguments[] = "\1aS\0\0\0\1x";
    for (uint32_t i = 0; i < 400; i++) {
        snprintf(key, sizeof(key), "#.a.%u.#.b", i);
        cr_assert(
            eq(int,
               vhost_bind(vhost, topic, &queue->target, bytes_of(key), bytes_of(""), NULL, &fault),
               STATUS_OK));
        cr_assert(eq(int,
                     vhost_bind(vhost, headers, &queue->target, bytes_of(key),
                                bytes_make(arguments, sizeof(arguments) - 1), NULL, &fault),
                     STATUS_OK));
    }
    rig->holds_turn = true;
    uint32_t before = rig->core->work_left;
    rig_publish(rig, link, 1, "amq.headers", "", "x");
    cr_expect(eq(u32, before - rig->core->work_left, 1 + 400 / 4));
    before = rig->core->work_left;
    rig_publish(rig, link, 1, "amq.topic", "a.1.x.7.b", "x");
    cr_expect(before - rig->core->work_left > 4);
    rig->holds_turn = false;
}

/* Who has more than a tick's work waiting goes behind those who have little. */
Test(work, a_flood_to_many_queues_does_not_keep_another_waiting)
{
    enum { QUEUE_COUNT = 300, FLOOD_COUNT = 1500 };
    uint64_t flooder = connect_client();
    uint64_t other = connect_client();
    struct exchange *fanout = vhost_find_exchange(vhost, bytes_of("amq.fanout"));
    struct fault fault;
    for (uint32_t i = 0; i < QUEUE_COUNT; i++) {
        char name[16];
        snprintf(name, sizeof(name), "f%u", i);
        struct queue *queue = make_queue(name);
        cr_assert(
            eq(int,
               vhost_bind(vhost, fanout, &queue->target, bytes_of(""), bytes_of(""), NULL, &fault),
               STATUS_OK));
    }
    make_queue("q");
    rig->holds_turn = true;
    rig->core->work_left = 0;
    for (uint32_t i = 0; i < FLOOD_COUNT; i++) {
        rig_publish(rig, flooder, 1, "amq.fanout", "", "x");
    }
    rig_publish(rig, other, 1, "", "q", "y");
    rig->holds_turn = false;
    rig_turn(rig);
    uint64_t done = ready_count("f0");
    cr_expect(done > 0);
    cr_expect(done * QUEUE_COUNT <= CORE_WORK_PER_TICK + QUEUE_COUNT);
    cr_expect(eq(u64, ready_count("q"), 0));
    rig_turn(rig);
    cr_expect(eq(u64, ready_count("q"), 1), "before the rest of the flood");
    rig_turn(rig);
    cr_expect(eq(u64, ready_count("f0"), FLOOD_COUNT));
}
