/* SPDX-License-Identifier: Apache-2.0 */
/* ack, nack, reject, recover, and what comes back when a channel or a connection is lost. */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#include "amqp/table.h"
#include "tests/unit/broker/messaging.h"

static struct rig *rig;
static uint64_t a, b;

static void
set_up(void)
{
    rig = messaging_rig(NULL);
    a = messaging_client(rig);
    b = messaging_client(rig);
    declare_queue(rig, a, "q");
}

static void
tear_down(void)
{
    rig_free(&rig);
}

TestSuite(settle, .init = set_up, .fini = tear_down);

/* Client b holds 1 to `count` open. */
static void
hand_out(int count)
{
    publish_numbers(rig, a, "q", 1, count);
    for (int i = 0; i < count; i++) {
        cr_assert(ne(ptr, (void *)get_message(rig, b, "q", false), NULL));
    }
}

static uint64_t
open_count(void)
{
    return find_queue(rig, "q")->unacked_count;
}

/* What is in the queue, by a consumer without acknowledgement on client a. */
static const char *
drain(void)
{
    consume(rig, a, 1, "q", "drain", true);
    return deliveries(rig, a);
}

Test(settle, ack_settles_one_or_all_up_to_it)
{
    hand_out(6);
    send_ack(rig, b, 1, 2, false);
    cr_expect(eq(u64, open_count(), 5));
    send_ack(rig, b, 1, 4, true);
    cr_expect(eq(u64, open_count(), 2));
    send_ack(rig, b, 1, 0, true);
    cr_expect(eq(u64, open_count(), 0));
    send_ack(rig, b, 1, 0, true); /* nothing is open: fine */
    rig_expect_nothing(rig, b);
}

Test(settle, an_unknown_tag_closes_the_channel_and_returns_what_is_open)
{
    static const struct {
        uint64_t tag;
        bool multiple;
        const char *text;
    } rows[] = {
        {1, false, "unknown delivery tag 1"}, /* settled before */
        {4, false, "unknown delivery tag 4"},
        {4, true, "unknown delivery tag 4"},
        {0, false, "unknown delivery tag 0"},
        {UINT64_MAX, true, "unknown delivery tag 18446744073709551615"},
    };
    publish_numbers(rig, a, "q", 1, 8);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        for (int taken = 0; taken < 3; taken++) {
            cr_assert(ne(ptr, (void *)get_message(rig, b, "q", false), NULL));
        }
        send_ack(rig, b, 1, 1, false);
        send_ack(rig, b, 1, rows[i].tag, rows[i].multiple);
        rig_expect_channel_close(rig, b, 1, 406, rows[i].text);
        cr_expect(eq(u64, open_count(), 0));
        rig_send_id(rig, b, 1, METHOD_CHANNEL_CLOSE_OK);
        rig_open_channel(rig, b, 1);
    }
    cr_expect(eq(u64, ready_count(rig, "q"), 8 - ARRAY_LEN(rows)));
}

Test(settle, requeue_puts_messages_back_where_they_were)
{
    hand_out(5);
    publish_numbers(rig, a, "q", 6, 7);
    send_nack(rig, b, 1, 4, false, true);
    send_nack(rig, b, 1, 2, false, true);
    send_nack(rig, b, 1, 1, false, false); /* dropped */
    cr_expect(eq(str, (char *)drain(), "2 4 6 7"));
    send_nack(rig, b, 1, 5, true, true);
    cr_expect(eq(str, (char *)deliveries(rig, a), "3 5"));
}

Test(settle, what_comes_back_is_marked_redelivered)
{
    hand_out(1);
    struct method reject = {.id = METHOD_BASIC_REJECT,
                            .basic_reject = {.delivery_tag = 1, .requeue = true}};
    rig_send(rig, b, 1, &reject);
    const struct posted *again = get_message(rig, b, "q", false);
    cr_assert(ne(ptr, (void *)again, NULL));
    cr_expect(again->method.basic_get_ok.redelivered);
    cr_expect(eq(u64, again->method.basic_get_ok.delivery_tag, 2), "tags are never used twice");
}

Test(settle, recover_returns_everything_and_then_answers)
{
    hand_out(3);
    struct method recover = {.id = METHOD_BASIC_RECOVER, .basic_recover = {.requeue = true}};
    rig_send(rig, b, 1, &recover);
    (void)rig_expect(rig, b, 1, METHOD_BASIC_RECOVER_OK);
    cr_expect(eq(u64, open_count(), 0));
    cr_expect(eq(str, (char *)drain(), "1 2 3"));
    recover.basic_recover.requeue = false;
    rig_send(rig, b, 1, &recover);
    rig_expect_close(rig, b, 540, "requeue=false");
}

Test(settle, a_lost_connection_returns_everything_in_order)
{
    hand_out(4);
    publish_numbers(rig, a, "q", 5, 5);
    send_ack(rig, b, 1, 2, false);
    rig_hang_up(rig, b);
    cr_expect(eq(str, (char *)drain(), "1 3 4 5"));
}

Test(settle, what_is_open_of_a_deleted_queue_is_dropped)
{
    hand_out(2);
    (void)vhost_delete_queue(rig_vhost(rig), find_queue(rig, "q"));
    send_nack(rig, b, 1, 1, false, true);
    send_ack(rig, b, 1, 2, false);
    rig_expect_nothing(rig, b);
    rig_turn(rig);
    cr_expect(eq(u64, chunk_pool_bytes(rig->pool), 0));
}

Test(settle, get_tells_what_is_left_and_leaves_nothing_open_without_acknowledgement)
{
    publish_numbers(rig, a, "q", 1, 3);
    const struct posted *got = get_message(rig, b, "q", true);
    cr_expect(eq(u32, got->method.basic_get_ok.message_count, 2));
    cr_expect(eq(u64, open_count(), 0));
    got = get_message(rig, b, "q", false);
    cr_expect(eq(u32, got->method.basic_get_ok.message_count, 1));
    cr_expect(eq(u64, open_count(), 1));
}

Test(settle, memory_of_messages_goes_when_they_are_settled)
{
    hand_out(3);
    cr_expect(ge(u64, chunk_pool_bytes(rig->pool), 1));
    send_ack(rig, b, 1, 3, true);
    cr_expect(eq(u64, chunk_pool_bytes(rig->pool), 0));
}

Test(settle, basic_get_is_refused_on_a_quorum_queue_with_a_single_active_consumer)
{
    struct buffer arguments;
    buffer_init(&arguments);
    table_put_boolean(&arguments, "x-single-active-consumer", true);
    table_put_text(&arguments, "x-queue-type", bytes_of("quorum"));
    struct queue_declare declare = {
        .queue = bytes_of("s"), .durable = true, .arguments = buffer_bytes(&arguments)};
    declare_queue_as(rig, a, &declare);
    buffer_fini(&arguments);
    struct method get = {.id = METHOD_BASIC_GET, .basic_get = {.queue = bytes_of("s")}};
    rig_send(rig, b, 1, &get);
    rig_expect_channel_close(rig, b, 1, 405,
                             "cannot obtain access to locked queue 's' in vhost '/'. basic.get "
                             "operations are not supported by quorum queues with single active "
                             "consumer");
}
