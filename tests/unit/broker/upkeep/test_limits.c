/* SPDX-License-Identifier: Apache-2.0 */
/* Length limits: who is dropped, who is refused, what publishers hear of it, and what the log says.
 * The rules are RabbitMQ's where nothing else is said. */
#include "broker/topology/policies.h"
#include "broker/upkeep/limits.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <stdio.h>

#include "amqp/table.h"
#include "tests/unit/broker/log_harness.h"

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
    rig_free(&rig);
}

TestSuite(limits, .init = set_up, .fini = tear_down);

enum { NONE = -1 };

static void
put_limits(struct buffer *arguments, int64_t length, int64_t bytes, const char *overflow)
{
    buffer_init(arguments);
    if (length != NONE) {
        table_put_integer(arguments, "x-max-length", length);
    }
    if (bytes != NONE) {
        table_put_integer(arguments, "x-max-length-bytes", bytes);
    }
    if (overflow != NULL) {
        table_put_text(arguments, "x-overflow", bytes_of(overflow));
    }
}

static void
declare_limited(const char *name, int64_t length, int64_t bytes, const char *overflow)
{
    struct buffer arguments;
    put_limits(&arguments, length, bytes, overflow);
    struct queue_declare declare = {.queue = bytes_of(name), .arguments = buffer_bytes(&arguments)};
    declare_queue_as(rig, a, &declare);
    buffer_fini(&arguments);
}

/* What a file or a policy that changes does. */
static void
change_limits(const char *name, int64_t length, int64_t bytes, const char *overflow)
{
    struct buffer arguments;
    put_limits(&arguments, length, bytes, overflow);
    struct queue *queue = find_queue(rig, name);
    uint32_t changed;
    cr_assert(eq(int, queue_set_arguments(queue, buffer_bytes(&arguments), &changed), STATUS_OK));
    if (changed != 0) {
        core_settings_changed(rig->core, queue, changed);
    }
    buffer_fini(&arguments);
}

/* Everything that is ready, taken out. */
static const char *
contents(const char *queue)
{
    consume(rig, b, 1, queue, "reader", true);
    const char *texts = deliveries(rig, b);
    cancel(rig, b, "reader");
    return texts;
}

static void
expect_nack(uint64_t number, bool multiple)
{
    const struct method *nack = rig_expect(rig, a, 1, METHOD_BASIC_NACK);
    cr_expect(eq(u64, nack->basic_nack.delivery_tag, number));
    cr_expect(eq(int, nack->basic_nack.multiple, multiple));
}

/* drop-head ------------------------------------------------------------------------------------ */

Test(limits, the_oldest_messages_are_dropped)
{
    declare_limited("q", 3, NONE, NULL);
    publish_numbers(rig, a, "q", 1, 5);
    cr_expect(eq(u64, ready_count(rig, "q"), 3));
    rig->holds_turn = true;
    publish_numbers(rig, a, "q", 6, 10);
    rig->holds_turn = false;
    rig_turn(rig);
    cr_expect(eq(str, (char *)contents("q"), "8 9 10"));
}

/* Octets of bodies count, and either limit is enough. */
Test(limits, octets_count_as_well)
{
    declare_limited("q", 4, 10, "drop-head");
    publish_text(rig, a, "q", "aaaa");
    publish_text(rig, a, "q", "bbbb");
    publish_text(rig, a, "q", "cc");
    cr_expect(eq(u64, ready_count(rig, "q"), 3), "10 octets are within the limit");
    publish_text(rig, a, "q", "d");
    cr_expect(eq(str, (char *)contents("q"), "bbbb cc d"));
    publish_text(rig, a, "q", "far too long");
    cr_expect(eq(u64, ready_count(rig, "q"), 0), "it is the victim itself");
    for (int i = 0; i < 6; i++) {
        publish_text(rig, a, "q", "e");
    }
    cr_expect(eq(u64, ready_count(rig, "q"), 4));
}

Test(limits, a_queue_of_length_0_keeps_nothing_that_nobody_waits_for)
{
    declare_limited("q", 0, NONE, NULL);
    publish_text(rig, a, "q", "lost");
    cr_expect(eq(u64, ready_count(rig, "q"), 0));
    consume(rig, b, 1, "q", "c", true);
    publish_text(rig, a, "q", "taken");
    cr_expect(eq(str, (char *)deliveries(rig, b), "taken"));
}

/* Design, part 5: the limit applies after dispatch. */
Test(limits, what_a_consumer_waits_for_is_not_dropped)
{
    declare_limited("q", 2, NONE, NULL);
    consume(rig, b, 1, "q", "c", true);
    rig->holds_turn = true;
    publish_numbers(rig, a, "q", 1, 9);
    rig->holds_turn = false;
    rig_turn(rig);
    cr_expect(eq(str, (char *)deliveries(rig, b), "1 2 3 4 5 6 7 8 9"));
}

/* More than a tick hands out: the rest goes to the consumer in the next ones. */
Test(limits, what_a_consumer_will_get_in_the_next_tick_is_not_dropped)
{
    enum { COUNT = CORE_DISPATCH_PER_TICK + 100, CONSUMERS = 8 };
    uint64_t links[CONSUMERS];
    declare_limited("q", 2, NONE, NULL);
    for (size_t i = 0; i < CONSUMERS; i++) {
        links[i] = messaging_client(rig);
        consume(rig, links[i], 1, "q", "c", true);
    }
    rig->holds_turn = true;
    for (int i = 0; i < COUNT; i++) {
        publish_text(rig, a, "q", "");
    }
    rig->holds_turn = false;
    rig_turn(rig);
    rig_turn(rig);
    size_t count = 0;
    for (size_t i = 0; i < CONSUMERS; i++) {
        count += rig_count(rig, links[i], NET_ACTION_DELIVER);
    }
    cr_expect(eq(sz, count, COUNT));
}

/* A method that counts or takes messages sees the queue as it will be. */
Test(limits, methods_of_the_same_tick_see_the_limit)
{
    declare_limited("q", 3, NONE, NULL);
    rig->holds_turn = true;
    publish_numbers(rig, a, "q", 1, 8);
    struct method passive = {.id = METHOD_QUEUE_DECLARE,
                             .queue_declare = {.queue = bytes_of("q"), .passive = true}};
    rig_send(rig, a, 1, &passive);
    struct method get = {.id = METHOD_BASIC_GET,
                         .basic_get = {.queue = bytes_of("q"), .no_ack = true}};
    rig_send(rig, a, 1, &get);
    rig->holds_turn = false;
    rig_turn(rig);
    const struct method *ok = rig_expect(rig, a, 1, METHOD_QUEUE_DECLARE_OK);
    cr_expect(eq(u32, ok->queue_declare_ok.message_count, 3));
    const struct posted *got = rig_expect_posted(rig, a, 1, METHOD_BASIC_GET_OK);
    cr_expect(bytes_equal_text(got->body, "6"));
}

/* Open deliveries do not count; when they come back they do, and are the oldest. */
Test(limits, what_comes_back_may_be_dropped)
{
    declare_limited("q", 2, NONE, NULL);
    publish_numbers(rig, a, "q", 1, 2);
    (void)get_message(rig, b, "q", false);
    (void)get_message(rig, b, "q", false);
    publish_numbers(rig, a, "q", 3, 4);
    cr_expect(eq(u64, ready_count(rig, "q"), 2));
    cr_expect(eq(u64, find_queue(rig, "q")->unacked_count, 2));
    send_nack(rig, b, 1, 2, true, true);
    cr_expect(eq(str, (char *)contents("q"), "3 4"));
}

Test(limits, a_dropped_message_is_confirmed)
{
    declare_limited("q", 1, NONE, NULL);
    select_confirms(rig, a, 1);
    publish_numbers(rig, a, "q", 1, 1);
    expect_confirm(rig, a, 1, 1, false);
    publish_numbers(rig, a, "q", 2, 2);
    expect_confirm(rig, a, 1, 2, false);
}

Test(limits, a_lower_limit_cuts_at_once)
{
    declare_limited("q", NONE, NONE, NULL);
    publish_numbers(rig, a, "q", 1, 6);
    change_limits("q", 2, NONE, NULL);
    rig_turn(rig);
    cr_expect(eq(u64, ready_count(rig, "q"), 2));
    change_limits("q", 1, NONE, "reject-publish");
    rig_turn(rig);
    cr_expect(eq(u64, ready_count(rig, "q"), 2), "who refuses does not drop");
    change_limits("q", 1, NONE, "drop-head");
    rig_turn(rig);
    cr_expect(eq(str, (char *)contents("q"), "6"));
}

Test(limits, a_queue_may_be_deleted_or_purged_while_it_is_too_long)
{
    declare_limited("q", 1, NONE, NULL);
    declare_limited("r", 1, NONE, NULL);
    rig->holds_turn = true;
    publish_numbers(rig, a, "q", 1, 5);
    publish_numbers(rig, a, "r", 1, 5);
    struct method delete = {.id = METHOD_QUEUE_DELETE,
                            .queue_delete = {.queue = bytes_of("q"), .nowait = true}};
    struct method purge = {.id = METHOD_QUEUE_PURGE,
                           .queue_purge = {.queue = bytes_of("r"), .nowait = true}};
    rig_send(rig, a, 1, &delete);
    rig_send(rig, a, 1, &purge);
    rig->holds_turn = false;
    rig_turn(rig);
    cr_expect(eq(u64, ready_count(rig, "r"), 0));
}

/* I10. */
Test(limits, a_tick_drops_so_many_and_publishers_wait_for_the_rest)
{
    enum { COUNT = 2 * CORE_DROPS_PER_TICK + 100 };
    declare_limited("q", NONE, NONE, NULL);
    declare_limited("other", NONE, NONE, NULL);
    for (int i = 0; i < COUNT; i++) {
        publish_text(rig, a, "q", "");
    }
    change_limits("q", 0, NONE, NULL);
    rig_turn(rig);
    cr_expect(eq(u64, ready_count(rig, "q"), COUNT - CORE_DROPS_PER_TICK));
    cr_expect(eq(u64, core_wait_ms(rig->core), 0), "there is something to do");
    rig->holds_turn = true;
    publish_text(rig, a, "other", "x");
    rig->holds_turn = false;
    cr_expect(eq(u64, ready_count(rig, "other"), 0), "it is held");
    rig_turn(rig);
    cr_expect(eq(u64, ready_count(rig, "q"), 100));
    cr_expect(eq(u64, ready_count(rig, "other"), 0));
    rig_turn(rig);
    cr_expect(eq(u64, ready_count(rig, "q"), 0));
    rig_turn(rig);
    cr_expect(eq(u64, ready_count(rig, "other"), 1));
}

/* reject-publish --------------------------------------------------------------------------------
 */

Test(limits, a_full_queue_refuses)
{
    declare_limited("q", 2, NONE, "reject-publish");
    declare_limited("octets", NONE, 5, "reject-publish");
    publish_numbers(rig, a, "q", 1, 4);
    rig_expect_nothing(rig, a);
    cr_expect(eq(u64, rig->core->counters.refused, 2));
    cr_expect(eq(str, (char *)contents("q"), "1 2"));
    publish_text(rig, a, "octets", "abc");
    publish_text(rig, a, "octets", "def");
    publish_text(rig, a, "octets", "gh");
    cr_expect(eq(str, (char *)contents("octets"), "abc gh"));
}

/* Answers come in the order of publish numbers, and none under a `multiple` of the other kind. */
Test(limits, a_refused_publish_is_answered_by_nack_in_its_place)
{
    declare_limited("q", 2, NONE, "reject-publish");
    declare_queue(rig, a, "free");
    select_confirms(rig, a, 1);
    rig->holds_turn = true;
    publish_numbers(rig, a, "q", 1, 3);
    publish_text(rig, a, "free", "4");
    publish_numbers(rig, a, "q", 5, 6);
    rig->holds_turn = false;
    rig_turn(rig);
    expect_confirm(rig, a, 1, 2, true);
    expect_nack(3, false);
    expect_confirm(rig, a, 1, 4, false);
    expect_nack(6, true);
    publish_text(rig, a, "q", "7");
    expect_nack(7, false);
    cr_expect(eq(str, (char *)contents("q"), "1 2"));
    publish_text(rig, a, "q", "8");
    expect_confirm(rig, a, 1, 8, false);
}

/* RabbitMQ hands a message to a waiting consumer before it looks at the length. */
Test(limits, a_queue_whose_consumer_waits_is_not_full)
{
    declare_limited("q", 2, NONE, "reject-publish");
    consume(rig, b, 1, "q", "c", true);
    rig->holds_turn = true;
    publish_numbers(rig, a, "q", 1, 9);
    rig->holds_turn = false;
    rig_turn(rig);
    cr_expect(eq(str, (char *)deliveries(rig, b), "1 2 3 4 5 6 7 8 9"));
    cr_expect(eq(u64, rig->core->counters.refused, 0));
}

/* The room that was reserved before another queue refused is reserved anew, and given up. */
Test(limits, room_that_a_refusal_made_needless_is_given_up)
{
    enum { MESSAGES = 3000 };
    declare_queue(rig, a, "q");
    declare_limited("full", 0, NONE, "reject-publish");
    bind_queue(rig, a, "q", "amq.fanout", "");
    bind_queue(rig, a, "full", "amq.fanout", "");
    for (int i = 0; i < MESSAGES; i++) {
        rig_publish(rig, a, 1, "amq.fanout", "", "x");
    }
    cr_expect(eq(u64, ready_count(rig, "q"), MESSAGES));
    cr_expect(eq(u64, rig->core->counters.refused, MESSAGES));
    cr_expect(eq(ptr, (void *)rig->core->queue_memory.spares, NULL));
}

Test(limits, a_publish_that_one_queue_refuses_is_refused_and_kept_by_the_others)
{
    declare_limited("full", 0, NONE, "reject-publish");
    declare_limited("also-full", 0, NONE, "reject-publish-dlx");
    declare_queue(rig, a, "q1");
    declare_queue(rig, a, "q2");
    bind_queue(rig, a, "q1", "amq.fanout", "");
    bind_queue(rig, a, "full", "amq.fanout", "");
    bind_queue(rig, a, "also-full", "amq.fanout", "");
    bind_queue(rig, a, "q2", "amq.fanout", "");
    select_confirms(rig, a, 1);
    rig_publish(rig, a, 1, "amq.fanout", "", "x");
    expect_nack(1, false);
    cr_expect(eq(u64, ready_count(rig, "q1"), 1));
    cr_expect(eq(u64, ready_count(rig, "q2"), 1));
    cr_expect(eq(u64, rig->core->counters.refused, 2));
}

Test(limits, a_refused_message_is_not_unroutable)
{
    declare_limited("q", 0, NONE, "reject-publish");
    select_confirms(rig, a, 1);
    struct rig_publish publish = {
        .exchange = "", .routing_key = "q", .body = bytes_of("x"), .mandatory = true};
    rig_publish_as(rig, a, 1, &publish);
    expect_nack(1, false);
    rig_expect_nothing(rig, a);
    cr_expect(eq(u64, rig->core->counters.unroutable_returned, 0));
}

Test(limits, requeueing_is_never_refused)
{
    declare_limited("q", 1, NONE, "reject-publish");
    publish_text(rig, a, "q", "1");
    (void)get_message(rig, b, "q", false);
    publish_text(rig, a, "q", "2");
    send_nack(rig, b, 1, 1, false, true);
    cr_expect(eq(str, (char *)contents("q"), "1 2"));
}

/* As in RabbitMQ what fits is kept and what was settled is settled. */
Test(limits, a_transaction_that_a_queue_refuses_in_part_ends_in_406)
{
    declare_limited("q", 2, 6, "reject-publish");
    declare_queue(rig, a, "free");
    publish_text(rig, a, "free", "settled");
    (void)get_message(rig, a, "free", false);
    rig_send_id(rig, a, 1, METHOD_TX_SELECT);
    (void)rig_expect(rig, a, 1, METHOD_TX_SELECT_OK);
    publish_text(rig, a, "q", "one");
    publish_text(rig, a, "q", "too long");
    publish_text(rig, a, "free", "free");
    publish_text(rig, a, "q", "two");
    publish_text(rig, a, "q", "3");
    send_ack(rig, a, 1, 1, false);
    rig_send_id(rig, a, 1, METHOD_TX_COMMIT);
    rig_expect_channel_close(rig, a, 1, 406, "partial tx completion");
    cr_expect(eq(str, (char *)contents("q"), "one two"));
    cr_expect(eq(str, (char *)contents("free"), "free"));
    cr_expect(eq(u64, rig->core->counters.acked, 1));
}

Test(limits, a_transaction_that_fits_is_committed)
{
    declare_limited("q", 2, NONE, "reject-publish");
    rig_send_id(rig, a, 1, METHOD_TX_SELECT);
    (void)rig_expect(rig, a, 1, METHOD_TX_SELECT_OK);
    for (int i = 0; i < 2; i++) {
        publish_numbers(rig, a, "q", 1, 2);
        rig_send_id(rig, a, 1, METHOD_TX_COMMIT);
        (void)rig_expect(rig, a, 1, METHOD_TX_COMMIT_OK);
        cr_expect(eq(str, (char *)contents("q"), "1 2"));
    }
}

/* The log ---------------------------------------------------------------------------------------
 */

static struct log_rig *disk;

static void
set_up_log(void)
{
    disk = log_rig_new(NULL, 0);
    rig = disk->rig;
    a = messaging_client(rig);
    b = messaging_client(rig);
}

static void
tear_down_log(void)
{
    log_rig_free(&disk);
}

TestSuite(limits_log, .init = set_up_log, .fini = tear_down_log);

static void
declare_durable(const char *name, int64_t length, const char *overflow)
{
    log_declare(disk, a, name);
    change_limits(name, length, NONE, overflow);
}

static void
bind_durable(const char *name)
{
    struct method bind = {
        .id = METHOD_QUEUE_BIND,
        .queue_bind = {.queue = bytes_of(name), .exchange = bytes_of("amq.fanout"), .nowait = true},
    };
    rig_send(rig, a, 1, &bind);
}

static uint64_t
queue_id(const char *name)
{
    return find_queue(rig, name)->target.id;
}

/* Design, part 6: the record names the queues that take the message. */
Test(limits_log, a_queue_that_refuses_is_left_out_of_the_record)
{
    declare_durable("full", 1, "reject-publish");
    declare_durable("free", NONE, NULL);
    bind_durable("full");
    bind_durable("free");
    log_settle(disk);
    log_publish(disk, a, "amq.fanout", "", "1");
    log_publish(disk, a, "amq.fanout", "", "2");
    log_settle(disk);
    log_check(disk);
    cr_expect(eq(u64, log_row_count(disk, queue_id("full"), disk->batch_count), 1));
    cr_expect(eq(u64, log_row_count(disk, queue_id("free"), disk->batch_count), 2));
    log_publish(disk, a, "", "full", "3");
    log_settle(disk);
    cr_expect(eq(sz, disk->row_count, 3), "what no queue takes is not written at all");
}

/* I1 holds for acks, and a nack must not overtake them: an ack with `multiple` would cover it. */
Test(limits_log, a_nack_waits_behind_the_confirms_before_it)
{
    declare_durable("q", 2, "reject-publish");
    select_confirms(rig, a, 1);
    log_publish_numbers(disk, a, "q", 1, 4);
    rig_expect_nothing(rig, a);
    log_commit(disk);
    expect_confirm(rig, a, 1, 2, true);
    expect_nack(4, true);
    log_publish(disk, a, "", "q", "5");
    expect_nack(5, false);
}

/* What is dropped in the tick in which it came is never there after a crash. */
Test(limits_log, a_message_and_its_end_are_in_one_batch)
{
    declare_durable("q", 2, "drop-head");
    log_settle(disk);
    rig->holds_turn = true;
    log_publish_numbers(disk, a, "q", 1, 7);
    rig->holds_turn = false;
    rig_turn(rig);
    log_settle(disk);
    log_check(disk);
    for (uint32_t batches = 0; batches <= disk->batch_count; batches++) {
        cr_expect(le(u64, log_row_count(disk, queue_id("q"), batches), 2));
    }
    cr_expect(eq(u64, log_row_count(disk, queue_id("q"), disk->batch_count), 2));
}

Test(limits_log, a_transaction_in_part_is_one_batch)
{
    declare_durable("q", 2, "reject-publish");
    rig_send_id(rig, a, 1, METHOD_TX_SELECT);
    (void)rig_expect(rig, a, 1, METHOD_TX_SELECT_OK);
    log_publish_numbers(disk, a, "q", 1, 4);
    uint32_t before = disk->batch_count;
    rig_send_id(rig, a, 1, METHOD_TX_COMMIT);
    rig_expect_channel_close(rig, a, 1, 406, "partial tx completion");
    log_settle(disk);
    log_check(disk);
    cr_expect(eq(u64, log_row_count(disk, queue_id("q"), before), 0));
    cr_expect(eq(u64, log_row_count(disk, queue_id("q"), before + 1), 2));
}
