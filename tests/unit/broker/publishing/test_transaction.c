/* SPDX-License-Identifier: Apache-2.0 */
/* Class tx: nothing happens before commit, and everything does then. */
#include "broker/publishing/transaction.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#include <stdlib.h>

#include "tests/support/alloc_faults.h"
#include "tests/unit/broker/messaging.h"

static struct rig *rig;
static uint64_t a, b; /* a has a transactional channel */

static void
set_up(void)
{
    rig = messaging_rig(NULL);
    a = messaging_client(rig);
    b = messaging_client(rig);
    declare_queue(rig, b, "q");
    rig_send_id(rig, a, 1, METHOD_TX_SELECT);
    (void)rig_expect(rig, a, 1, METHOD_TX_SELECT_OK);
}

static void
tear_down(void)
{
    rig_free(&rig);
}

TestSuite(transaction, .init = set_up, .fini = tear_down);

static void
commit(void)
{
    rig_send_id(rig, a, 1, METHOD_TX_COMMIT);
    (void)rig_expect(rig, a, 1, METHOD_TX_COMMIT_OK);
}

static void
roll_back(void)
{
    rig_send_id(rig, a, 1, METHOD_TX_ROLLBACK);
    (void)rig_expect(rig, a, 1, METHOD_TX_ROLLBACK_OK);
}

static uint64_t
open_count(void)
{
    return find_queue(rig, "q")->unacked_count;
}

Test(transaction, messages_appear_at_commit)
{
    publish_numbers(rig, a, "q", 1, 3);
    cr_expect(eq(u64, ready_count(rig, "q"), 0));
    commit();
    cr_expect(eq(u64, ready_count(rig, "q"), 3));
    publish_numbers(rig, a, "q", 4, 5);
    roll_back();
    commit();
    cr_expect(eq(u64, ready_count(rig, "q"), 3));
    consume(rig, b, 1, "q", "", true);
    cr_expect(eq(str, (char *)deliveries(rig, b), "1 2 3"));
}

Test(transaction, settlements_happen_at_commit)
{
    publish_numbers(rig, b, "q", 1, 4);
    for (int i = 0; i < 4; i++) {
        (void)get_message(rig, a, "q", false);
    }
    send_ack(rig, a, 1, 2, true);
    send_nack(rig, a, 1, 3, false, true);
    send_nack(rig, a, 1, 4, false, false);
    cr_expect(eq(u64, open_count(), 4));
    cr_expect(eq(u64, ready_count(rig, "q"), 0));
    commit();
    cr_expect(eq(u64, open_count(), 0));
    consume(rig, b, 1, "q", "", true);
    cr_expect(eq(str, (char *)deliveries(rig, b), "3"));
}

Test(transaction, rollback_opens_settlements_again)
{
    publish_numbers(rig, b, "q", 1, 4);
    for (int i = 0; i < 4; i++) {
        (void)get_message(rig, a, "q", false);
    }
    send_ack(rig, a, 1, 3, false);
    send_ack(rig, a, 1, 2, true);
    roll_back();
    cr_expect(eq(u64, open_count(), 4));
    cr_expect(eq(u64, ready_count(rig, "q"), 0), "open, not requeued");
    send_ack(rig, a, 1, 3, true);
    commit();
    cr_expect(eq(u64, open_count(), 1));
    send_ack(rig, a, 1, 4, false);
    commit();
    cr_expect(eq(u64, open_count(), 0));
}

Test(transaction, what_it_settles_is_not_open_meanwhile)
{
    publish_numbers(rig, b, "q", 1, 1);
    (void)get_message(rig, a, "q", false);
    send_ack(rig, a, 1, 1, false);
    send_ack(rig, a, 1, 1, false);
    rig_expect_channel_close(rig, a, 1, 406, "unknown delivery tag 1");
    cr_expect(eq(u64, ready_count(rig, "q"), 1), "the transaction is discarded");
}

Test(transaction, is_discarded_with_its_channel_or_connection)
{
    publish_numbers(rig, b, "q", 1, 2);
    (void)get_message(rig, a, "q", false);
    send_ack(rig, a, 1, 1, false);
    publish_numbers(rig, a, "q", 3, 3);
    rig_hang_up(rig, a);
    consume(rig, b, 1, "q", "", true);
    cr_expect(eq(str, (char *)deliveries(rig, b), "1 2"));
    cr_expect(eq(u64, chunk_pool_bytes(rig->pool), 0));
}

Test(transaction, checks_come_with_the_publish_and_returns_with_commit)
{
    struct rig_publish publish = {.exchange = "", .routing_key = "nowhere", .mandatory = true};
    rig_publish_as(rig, a, 1, &publish);
    rig_expect_nothing(rig, a);
    rig_send_id(rig, a, 1, METHOD_TX_COMMIT);
    (void)rig_expect_posted(rig, a, 1, METHOD_BASIC_RETURN);
    (void)rig_expect(rig, a, 1, METHOD_TX_COMMIT_OK);
    rig_publish(rig, a, 1, "missing", "k", "x");
    rig_expect_channel_close(rig, a, 1, 404, "no exchange 'missing' in vhost '/'");
}

Test(transaction, queues_that_go_before_commit_get_nothing)
{
    publish_numbers(rig, a, "q", 1, 2);
    (void)vhost_delete_queue(rig_vhost(rig), find_queue(rig, "q"));
    commit();
    cr_expect(eq(u64, chunk_pool_bytes(rig->pool), 0));
}

/* Routed at the publish, but whom it reaches is known at the commit: a name that is gone counts as
 * no route, and a queue that was declared anew under its name gets the message, as with RabbitMQ.
 */
Test(transaction, a_mandatory_message_whose_queue_went_before_commit_is_returned)
{
    struct rig_publish publish = {.exchange = "", .routing_key = "q", .mandatory = true};
    rig_publish_as(rig, a, 1, &publish);
    (void)vhost_delete_queue(rig_vhost(rig), find_queue(rig, "q"));
    rig_send_id(rig, a, 1, METHOD_TX_COMMIT);
    (void)rig_expect_posted(rig, a, 1, METHOD_BASIC_RETURN);
    (void)rig_expect(rig, a, 1, METHOD_TX_COMMIT_OK);
}

Test(transaction, a_queue_that_was_declared_anew_gets_what_was_meant_for_its_name)
{
    struct rig_publish publish = {.exchange = "", .routing_key = "q", .mandatory = true};
    rig_publish_as(rig, a, 1, &publish);
    (void)vhost_delete_queue(rig_vhost(rig), find_queue(rig, "q"));
    declare_queue(rig, b, "q");
    commit();
    cr_expect(eq(u64, ready_count(rig, "q"), 1));
}

Test(transaction, a_mandatory_message_that_reaches_one_of_two_queues_is_not_returned)
{
    declare_queue(rig, b, "gone");
    bind_queue(rig, b, "gone", "amq.fanout", "");
    bind_queue(rig, b, "q", "amq.fanout", "");
    struct rig_publish publish = {.exchange = "amq.fanout", .routing_key = "", .mandatory = true};
    rig_publish_as(rig, a, 1, &publish);
    (void)vhost_delete_queue(rig_vhost(rig), find_queue(rig, "gone"));
    commit();
    cr_expect(eq(u64, ready_count(rig, "q"), 1));
}

Test(transaction, commit_and_rollback_need_select)
{
    rig_send_id(rig, b, 1, METHOD_TX_COMMIT);
    rig_expect_channel_close(rig, b, 1, 406, "channel is not transactional");
    rig_send_id(rig, b, 1, METHOD_CHANNEL_CLOSE_OK);
    rig_open_channel(rig, b, 1);
    rig_send_id(rig, b, 1, METHOD_TX_ROLLBACK);
    rig_expect_channel_close(rig, b, 1, 406, "channel is not transactional");
}

/* Threat: a transaction that never ends. */
Test(transaction, is_bounded)
{
    enum { BODY = 8 * 1024 * 1024 };
    uint8_t *body = calloc(1, BODY);
    struct rig_publish publish = {
        .exchange = "", .routing_key = "q", .body = bytes_make(body, BODY)};
    for (int i = 0; i < TRANSACTION_OCTETS_MAX / BODY; i++) {
        rig_publish_as(rig, a, 1, &publish);
    }
    rig_expect_nothing(rig, a);
    rig_publish_as(rig, a, 1, &publish);
    rig_expect_channel_close(rig, a, 1, 406, "transaction is larger than 67108864 octets");
    cr_expect(eq(u64, ready_count(rig, "q"), 0));
    rig_turn(rig);
    cr_expect(eq(u64, chunk_pool_bytes(rig->pool), 0));
    free(body);
}

Test(transaction, ends_the_connection_when_there_is_no_memory)
{
    publish_numbers(rig, b, "q", 1, 1);
    (void)get_message(rig, a, "q", false);
    alloc_faults_plan(2); /* the first is the test's own, for the method */
    send_ack(rig, a, 1, 1, false);
    rig_expect_close(rig, a, 506, "no memory for the message");
    cr_expect(eq(u64, ready_count(rig, "q"), 1), "what was to be settled is back");
}
