/* SPDX-License-Identifier: Apache-2.0 */
/* Messages and queues whose time is over, on a clock that only moves when it is stepped. */
#include "broker/upkeep/expiry.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <stdio.h>

#include "amqp/properties.h"
#include "amqp/table.h"
#include "broker/topology/policies.h"
#include "queues/clocks.h"
#include "tests/support/alloc_faults.h"
#include "tests/unit/broker/messaging.h"

static struct rig *rig;
static uint64_t a, b;

static void
set_up(void)
{
    rig = messaging_rig(NULL);
    a = messaging_client(rig);
    b = messaging_client(rig);
}

static void
tear_down(void)
{
    struct queue *queue = find_queue(rig, "q");
    if (queue != NULL) {
        queue_check(queue);
    }
    rig_free(&rig);
}

TestSuite(message_ttl, .init = set_up, .fini = tear_down);
TestSuite(queue_lease, .init = set_up, .fini = tear_down);

/* A queue with one integer argument. */
static void
declare_with(const char *name, const char *argument, int64_t value)
{
    struct buffer arguments;
    buffer_init(&arguments);
    table_put_integer(&arguments, argument, value);
    struct queue_declare declare = {.queue = bytes_of(name), .arguments = buffer_bytes(&arguments)};
    declare_queue_as(rig, a, &declare);
    buffer_fini(&arguments);
}

static void
publish_for(const char *text, const char *expiration)
{
    struct properties properties = {.flags = PROPERTY_EXPIRATION,
                                    .expiration = bytes_of(expiration)};
    struct buffer block;
    buffer_init(&block);
    properties_encode(&block, &properties);
    struct rig_publish publish = {
        .exchange = "",
        .routing_key = "q",
        .properties = buffer_bytes(&block),
        .body = bytes_of(text),
    };
    rig_publish_as(rig, a, 1, &publish);
    buffer_fini(&block);
}

/* The queue gets another value, as by a policy or the file. */
static void
change(const char *argument, int64_t value)
{
    struct buffer arguments;
    buffer_init(&arguments);
    table_put_integer(&arguments, argument, value);
    uint32_t changed = 0;
    enum status status =
        queue_set_arguments(find_queue(rig, "q"), buffer_bytes(&arguments), &changed);
    cr_assert(eq(int, status, STATUS_OK));
    core_settings_changed(rig->core, find_queue(rig, "q"), changed);
    buffer_fini(&arguments);
}

/* Moves the clock, and begins a tick that goes on until rig_turn. */
static void
begin_tick_later(uint64_t ms)
{
    rig->now.monotonic_ms += ms;
    rig->now.wall_ms += (int64_t)ms;
    core_begin_tick(rig->core, rig->now);
    rig->holds_turn = true;
}

static void
end_tick(void)
{
    rig->holds_turn = false;
    rig_turn(rig);
}

static uint64_t
expired_count(void)
{
    return rig->core->counters.expired;
}

/* Messages ------------------------------------------------------------------------------------- */

Test(message_ttl, message_lives_for_its_whole_time_though_its_millisecond_had_begun)
{
    declare_with("q", "x-message-ttl", 1000);
    rig->now.begun_ms = 1;
    rig_step(rig, 10);
    publish_text(rig, a, "q", "1");
    rig_step(rig, 1000);
    cr_expect(eq(u64, ready_count(rig, "q"), 1));
    rig_step(rig, 10);
    cr_expect(eq(u64, ready_count(rig, "q"), 0));
}

/* More are due than may die in a tick. Whoever asks in the next one has the rest die, and all that
 * asked before are answered as well. */
Test(message_ttl, two_who_ask_behind_many_dead_are_both_answered)
{
    declare_queue(rig, a, "q");
    for (int i = 0; i < CORE_EXPIRED_PER_QUEUE + 10; i++) {
        publish_for("late", "100");
    }
    publish_numbers(rig, a, "q", 1, 2);
    struct method get = {.id = METHOD_BASIC_GET, .basic_get = {.queue = bytes_of("q")}};
    begin_tick_later(200);
    rig_send(rig, a, 1, &get);
    end_tick();
    rig_expect_nothing(rig, a);
    rig_send(rig, b, 1, &get);
    (void)rig_expect_posted(rig, b, 1, METHOD_BASIC_GET_OK);
    rig_turn(rig);
    (void)rig_expect_posted(rig, a, 1, METHOD_BASIC_GET_OK);
}

/* Nobody has to be there to take them. */
Test(message_ttl, message_dies_when_the_time_of_its_queue_is_over)
{
    declare_with("q", "x-message-ttl", 1000);
    publish_numbers(rig, a, "q", 1, 3);
    rig_step(rig, 990);
    cr_expect(eq(u64, ready_count(rig, "q"), 3));
    rig_step(rig, 20);
    cr_expect(eq(u64, ready_count(rig, "q"), 0));
    cr_expect(eq(u64, expired_count(), 3));
    cr_expect(eq(u64, find_queue(rig, "q")->ready_bytes, 0));
}

Test(message_ttl, shorter_of_the_queues_and_the_messages_time_counts)
{
    declare_with("q", "x-message-ttl", 1000);
    publish_for("short", "200");
    publish_for("long", "5000");
    rig_step(rig, 210);
    cr_expect(eq(u64, ready_count(rig, "q"), 1));
    rig_step(rig, 780);
    cr_expect(eq(u64, ready_count(rig, "q"), 1));
    rig_step(rig, 20);
    cr_expect(eq(u64, ready_count(rig, "q"), 0));
}

/* RabbitMQ would let it wait until it comes to the head. */
Test(message_ttl, message_dies_behind_one_that_lives_longer)
{
    declare_queue(rig, a, "q");
    publish_text(rig, a, "q", "for ever");
    publish_for("long", "1000");
    publish_for("short", "100");
    rig_step(rig, 110);
    cr_expect(eq(u64, ready_count(rig, "q"), 2));
    consume(rig, b, 1, "q", "c", true);
    (void)expect_delivery(rig, b, "for ever");
    (void)expect_delivery(rig, b, "long");
    rig_expect_nothing(rig, b);
}

Test(message_ttl, message_without_time_goes_to_who_waits_or_dies)
{
    declare_with("q", "x-message-ttl", 0);
    publish_text(rig, a, "q", "nobody");
    cr_expect(eq(u64, ready_count(rig, "q"), 0));
    cr_expect(eq(u64, expired_count(), 1));
    consume(rig, b, 1, "q", "c", false);
    publish_text(rig, a, "q", "somebody");
    (void)expect_delivery(rig, b, "somebody");
    send_nack(rig, b, 1, 1, false, true);
    cr_expect(eq(u64, ready_count(rig, "q"), 0), "what came back was handed out once");
    cr_expect(eq(u64, expired_count(), 2));
    rig_expect_nothing(rig, b);
}

/* Neither counted nor got by what the same client sends behind it. */
Test(message_ttl, message_without_time_is_seen_by_nobody_who_looks_later)
{
    declare_with("q", "x-message-ttl", 0);
    rig->holds_turn = true;
    publish_text(rig, a, "q", "x");
    struct method get = {.id = METHOD_BASIC_GET, .basic_get = {.queue = bytes_of("q")}};
    rig_send(rig, a, 1, &get);
    end_tick();
    (void)rig_expect(rig, a, 1, METHOD_BASIC_GET_EMPTY);
}

/* The tick in which it comes due hands out messages before it lets them die. */
Test(message_ttl, overdue_message_is_not_handed_out)
{
    declare_queue(rig, a, "q");
    set_prefetch(rig, b, 1, 1, false);
    consume(rig, b, 1, "q", "c", false);
    publish_text(rig, a, "q", "first");
    publish_for("second", "100");
    publish_text(rig, a, "q", "third");
    (void)expect_delivery(rig, b, "first");
    begin_tick_later(100);
    send_ack(rig, b, 1, 1, false);
    end_tick();
    (void)expect_delivery(rig, b, "third");
    rig_expect_nothing(rig, b);
    cr_expect(eq(u64, expired_count(), 1));
}

/* Then there is none. */
Test(message_ttl, last_message_may_come_due_when_its_consumer_has_room_again)
{
    declare_queue(rig, a, "q");
    set_prefetch(rig, b, 1, 1, false);
    consume(rig, b, 1, "q", "c", false);
    publish_text(rig, a, "q", "first");
    publish_for("second", "100");
    (void)expect_delivery(rig, b, "first");
    begin_tick_later(100);
    send_ack(rig, b, 1, 1, false);
    end_tick();
    rig_expect_nothing(rig, b);
    cr_expect(eq(u64, expired_count(), 1));
}

Test(message_ttl, overdue_message_is_neither_got_nor_counted)
{
    declare_queue(rig, a, "q");
    publish_for("x", "100");
    publish_text(rig, a, "q", "y");
    begin_tick_later(100);
    struct queue_declare declare = {.queue = bytes_of("q"), .passive = true};
    struct method count = {.id = METHOD_QUEUE_DECLARE, .queue_declare = declare};
    rig_send(rig, b, 1, &count);
    struct method get = {.id = METHOD_BASIC_GET,
                         .basic_get = {.queue = bytes_of("q"), .no_ack = true}};
    rig_send(rig, b, 1, &get);
    end_tick();
    const struct method *answer = rig_expect(rig, b, 1, METHOD_QUEUE_DECLARE_OK);
    cr_expect(eq(u32, answer->queue_declare_ok.message_count, 1));
    const struct posted *got = rig_expect_posted(rig, b, 1, METHOD_BASIC_GET_OK);
    cr_expect(bytes_equal_text(got->body, "y"));
}

/* Unacknowledged messages do not expire. */
Test(message_ttl, open_delivery_outlives_its_time_until_it_comes_back)
{
    declare_with("q", "x-message-ttl", 100);
    consume(rig, b, 1, "q", "c", false);
    publish_numbers(rig, a, "q", 1, 2);
    cr_expect(eq(str, (char *)deliveries(rig, b), "1 2"));
    rig_step(rig, 500);
    cr_expect(eq(u64, expired_count(), 0));
    send_nack(rig, b, 1, 1, false, true);
    cr_expect(eq(u64, expired_count(), 1));
    send_ack(rig, b, 1, 2, false);
    rig_expect_nothing(rig, b);
    cr_expect(eq(u64, find_queue(rig, "q")->clocks->acked_count, 1));
}

Test(message_ttl, message_that_comes_back_keeps_its_deadline)
{
    declare_with("q", "x-message-ttl", 1000);
    publish_text(rig, a, "q", "x");
    (void)get_message(rig, b, "q", false);
    rig_step(rig, 500);
    send_nack(rig, b, 1, 1, false, true);
    rig_step(rig, 480);
    cr_expect(eq(u64, ready_count(rig, "q"), 1));
    rig_step(rig, 30);
    cr_expect(eq(u64, ready_count(rig, "q"), 0));
}

/* A policy, or the file, may say otherwise later. */
Test(message_ttl, change_of_the_queues_time_is_for_messages_that_come_later)
{
    declare_with("q", "x-message-ttl", 1000);
    publish_text(rig, a, "q", "early");
    change("x-message-ttl", 100);
    publish_text(rig, a, "q", "late");
    rig_step(rig, 110);
    cr_expect(eq(u64, ready_count(rig, "q"), 1));
    const struct posted *left = get_message(rig, b, "q", true);
    cr_expect(bytes_equal_text(left->body, "early"));
}

/* At tx.commit it comes to the queue. */
Test(message_ttl, time_of_a_message_in_a_transaction_begins_with_the_commit)
{
    declare_queue(rig, a, "q");
    rig_send_id(rig, a, 1, METHOD_TX_SELECT);
    (void)rig_expect(rig, a, 1, METHOD_TX_SELECT_OK);
    publish_for("x", "1000");
    rig_step(rig, 900);
    rig_send_id(rig, a, 1, METHOD_TX_COMMIT);
    (void)rig_expect(rig, a, 1, METHOD_TX_COMMIT_OK);
    rig_step(rig, 900);
    cr_expect(eq(u64, ready_count(rig, "q"), 1));
    rig_step(rig, 110);
    cr_expect(eq(u64, ready_count(rig, "q"), 0));
}

/* Many deaths are no reason for others to wait, nor for an overdue message to be handed out. */
Test(message_ttl, many_die_in_slices_and_nobody_is_handed_one_meanwhile)
{
    enum { COUNT = 3 * CORE_EXPIRED_PER_QUEUE };
    declare_queue(rig, a, "q");
    for (int i = 0; i < COUNT; i++) {
        publish_for("x", "100");
    }
    publish_text(rig, a, "q", "y");
    rig_step(rig, 110);
    cr_expect(eq(u64, ready_count(rig, "q"), 1 + COUNT - CORE_EXPIRED_PER_QUEUE));
    cr_expect(eq(u64, core_wait_ms(rig->core), 0));
    struct method get = {.id = METHOD_BASIC_GET,
                         .basic_get = {.queue = bytes_of("q"), .no_ack = true}};
    rig_send(rig, b, 1, &get);
    while (core_wait_ms(rig->core) == 0) {
        rig_turn(rig);
    }
    const struct posted *got = rig_expect_posted(rig, b, 1, METHOD_BASIC_GET_OK);
    cr_expect(bytes_equal_text(got->body, "y"));
    cr_expect(eq(u64, expired_count(), COUNT));
}

Test(message_ttl, purge_and_delete_forget_the_deadlines)
{
    declare_queue(rig, a, "q");
    publish_text(rig, a, "q", "x");
    publish_for("y", "100");
    struct method purge = {.id = METHOD_QUEUE_PURGE, .queue_purge = {.queue = bytes_of("q")}};
    rig_send(rig, a, 1, &purge);
    (void)rig_expect(rig, a, 1, METHOD_QUEUE_PURGE_OK);
    publish_text(rig, a, "q", "x");
    publish_for("y", "200");
    (void)get_message(rig, b, "q", false);
    struct method delete = {.id = METHOD_QUEUE_DELETE, .queue_delete = {.queue = bytes_of("q")}};
    rig_send(rig, a, 1, &delete);
    (void)rig_expect(rig, a, 1, METHOD_QUEUE_DELETE_OK);
    rig_step(rig, 1000);
    cr_expect(eq(u64, expired_count(), 0));
    send_nack(rig, b, 1, 1, false, true);
    rig_expect_nothing(rig, b);
}

/* It dies a little later, and nobody gets it. */
Test(message_ttl, death_that_finds_no_memory_comes_later)
{
    declare_queue(rig, a, "q");
    publish_text(rig, a, "q", "x");
    publish_for("y", "100");
    (void)get_message(rig, b, "q", false);
    (void)get_message(rig, b, "q", false);
    send_nack(rig, b, 1, 2, true, true);
    alloc_faults_plan(2); /* the first is room to count it, which it goes without */
    rig_step(rig, 110);
    alloc_faults_plan(0);
    cr_expect(eq(u64, ready_count(rig, "q"), 2));
    rig_step(rig, 110);
    cr_expect(eq(u64, ready_count(rig, "q"), 1));
    cr_expect(eq(u64, expired_count(), 1));
}

/* Queues --------------------------------------------------------------------------------------- */

static bool
queue_is_there(void)
{
    return vhost_find_queue(rig_vhost(rig), bytes_of("q")) != NULL;
}

/* Messages do not renew it, and do not die: they are gone with it. */
Test(queue_lease, unused_queue_is_deleted_with_its_messages)
{
    declare_with("q", "x-expires", 1000);
    bind_queue(rig, a, "q", "amq.fanout", "k");
    rig_step(rig, 900);
    publish_text(rig, a, "q", "x");
    cr_expect(queue_is_there());
    rig_step(rig, 110);
    cr_expect(not(queue_is_there()));
    cr_expect(eq(u64, expired_count(), 0));
    cr_expect(rig_logged(rig, "queue.expired"));
    declare_queue(rig, a, "q");
    cr_expect(eq(u64, ready_count(rig, "q"), 0));
}

Test(queue_lease, queue_stays_for_the_whole_time_though_its_millisecond_had_begun)
{
    rig->now.begun_ms = 1;
    rig_step(rig, 10);
    declare_with("q", "x-expires", 1000);
    rig_step(rig, 1000);
    cr_expect(queue_is_there());
    rig_step(rig, 10);
    cr_expect(not(queue_is_there()));
}

Test(queue_lease, declare_and_get_renew_it)
{
    declare_with("q", "x-expires", 1000);
    rig_step(rig, 900);
    declare_with("q", "x-expires", 1000);
    rig_step(rig, 900);
    struct queue_declare passive = {.queue = bytes_of("q"), .passive = true};
    declare_queue_as(rig, b, &passive);
    rig_step(rig, 900);
    cr_expect(zero(ptr, (void *)get_message(rig, b, "q", true)));
    rig_step(rig, 900);
    cr_expect(queue_is_there());
    rig_step(rig, 110);
    cr_expect(not(queue_is_there()));
}

Test(queue_lease, queue_with_a_consumer_stays_and_its_last_one_begins_it_anew)
{
    declare_with("q", "x-expires", 1000);
    consume(rig, a, 1, "q", "c", true);
    consume(rig, b, 1, "q", "d", true);
    rig_step(rig, 5000);
    cancel(rig, a, "c");
    rig_step(rig, 5000);
    cr_expect(queue_is_there());
    rig_hang_up(rig, b);
    rig_step(rig, 980);
    cr_expect(queue_is_there());
    rig_step(rig, 30);
    cr_expect(not(queue_is_there()));
}

Test(queue_lease, begins_anew_when_it_is_changed)
{
    declare_with("q", "x-expires", 5000);
    rig_step(rig, 900);
    change("x-expires", 1000);
    rig_step(rig, 980);
    cr_expect(queue_is_there());
    rig_step(rig, 30);
    cr_expect(not(queue_is_there()));
}

/* What a client has open of it is settled as for any queue that was deleted. */
Test(queue_lease, open_delivery_of_an_expired_queue_can_be_settled)
{
    declare_with("q", "x-expires", 1000);
    publish_text(rig, a, "q", "x");
    (void)get_message(rig, b, "q", false);
    rig_step(rig, 1010);
    cr_expect(not(queue_is_there()));
    send_ack(rig, b, 1, 1, false);
    rig_expect_nothing(rig, b);
}

/* Where many expire together, they go in slices. */
Test(queue_lease, many_queues_expire_in_slices)
{
    enum { COUNT = 400 };
    for (int i = 0; i < COUNT; i++) {
        char name[16];
        snprintf(name, sizeof(name), "q%d", i);
        declare_with(name, "x-expires", 1000);
    }
    rig_step(rig, 1010);
    uint32_t left = map_count(&rig_vhost(rig)->queues);
    cr_expect(ge(u32, left, 1));
    cr_expect(lt(u32, left, COUNT));
    while (core_wait_ms(rig->core) == 0) {
        rig_turn(rig);
    }
    cr_expect(eq(u32, map_count(&rig_vhost(rig)->queues), 0));
}
