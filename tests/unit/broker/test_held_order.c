/* SPDX-License-Identifier: Apache-2.0 */
/* What is held for want of time goes on in the order in which its channel has sent it, whatever it
 * is, and whatever happens to the channel meanwhile. */
#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#include "amqp/reply.h"
#include "tests/unit/broker/messaging.h"

static struct rig *rig;
static uint64_t client;

static void
set_up(void)
{
    rig = messaging_rig(NULL);
    client = messaging_client(rig);
    declare_queue(rig, client, "q");
    declare_queue(rig, client, "old");
}

static void
tear_down(void)
{
    rig_free(&rig);
}

TestSuite(held_order, .init = set_up, .fini = tear_down);

/* The tick goes on, but has no time left for publishes. */
static void
spend_all_work(void)
{
    rig->holds_turn = true;
    rig->core->work_left = 0;
}

/* The next tick has time for everything. */
static void
catch_up(void)
{
    rig->holds_turn = false;
    rig_turn(rig);
}

static void
hold_publish(uint64_t link, const char *body)
{
    spend_all_work();
    rig_publish(rig, link, 1, "", "q", body);
    rig_expect_nothing(rig, link);
}

static uint32_t
ready(const char *name)
{
    return (uint32_t)find_queue(rig, name)->ready_count;
}

static void
send_get(const char *queue)
{
    struct method get = {.id = METHOD_BASIC_GET, .basic_get = {.queue = bytes_of(queue)}};
    rig_send(rig, client, 1, &get);
}

/* A message that the channel has and has not settled: its tag is 1. */
static void
take_one(void)
{
    publish_text(rig, client, "old", "taken");
    cr_assert(get_message(rig, client, "old", false) != NULL);
}

static void
send_ack_of_one(void)
{
    struct method ack = {.id = METHOD_BASIC_ACK, .basic_ack = {.delivery_tag = 1}};
    rig_send(rig, client, 1, &ack);
}

Test(held_order, a_get_finds_what_was_published_before_it)
{
    hold_publish(client, "a");
    send_get("q");
    rig_expect_nothing(rig, client);
    catch_up();
    const struct posted *posted = rig_expect_posted(rig, client, 1, METHOD_BASIC_GET_OK);
    cr_expect(eq(u8, posted->body.data[0], 'a'));
}

Test(held_order, a_consumer_starts_behind_what_was_published_before_it)
{
    hold_publish(client, "a");
    struct method consume = {
        .id = METHOD_BASIC_CONSUME,
        .basic_consume = {.queue = bytes_of("q"), .consumer_tag = bytes_of("c"), .no_ack = true}};
    rig_send(rig, client, 1, &consume);
    rig_publish(rig, client, 1, "", "q", "b");
    rig_expect_nothing(rig, client);
    catch_up();
    (void)rig_expect(rig, client, 1, METHOD_BASIC_CONSUME_OK);
    cr_expect(eq(str, (char *)deliveries(rig, client), "a b"));
}

Test(held_order, a_consumer_that_is_cancelled_behind_a_publish_loses_nothing)
{
    consume(rig, client, 1, "q", "c", false);
    hold_publish(client, "a");
    struct method cancel = {.id = METHOD_BASIC_CANCEL,
                            .basic_cancel = {.consumer_tag = bytes_of("c")}};
    rig_send(rig, client, 1, &cancel);
    rig_expect_nothing(rig, client);
    catch_up();
    (void)rig_expect(rig, client, 1, METHOD_BASIC_CANCEL_OK);
    rig_expect_nothing(rig, client);
    cr_expect(eq(u32, ready("q"), 1));
}

Test(held_order, a_recovery_waits_its_turn)
{
    take_one();
    hold_publish(client, "a");
    struct method recover = {.id = METHOD_BASIC_RECOVER, .basic_recover = {.requeue = true}};
    rig_send(rig, client, 1, &recover);
    rig_expect_nothing(rig, client);
    cr_expect(eq(u32, ready("old"), 0));
    catch_up();
    (void)rig_expect(rig, client, 1, METHOD_BASIC_RECOVER_OK);
    cr_expect(eq(u32, ready("old"), 1));
    cr_expect(eq(u32, ready("q"), 1));
}

static void
select_transactions(void)
{
    rig_send_id(rig, client, 1, METHOD_TX_SELECT);
    (void)rig_expect(rig, client, 1, METHOD_TX_SELECT_OK);
}

Test(held_order, a_commit_takes_the_publish_and_the_settlement_before_it)
{
    take_one();
    select_transactions();
    hold_publish(client, "a");
    send_ack_of_one();
    rig_send_id(rig, client, 1, METHOD_TX_COMMIT);
    rig_expect_nothing(rig, client);
    cr_expect(eq(u64, rig->core->counters.acked, 0));
    catch_up();
    (void)rig_expect(rig, client, 1, METHOD_TX_COMMIT_OK);
    cr_expect(eq(u64, rig->core->counters.acked, 1));
    cr_expect(eq(u32, ready("q"), 1));
}

Test(held_order, a_rollback_takes_back_the_publish_and_the_settlement_before_it)
{
    take_one();
    select_transactions();
    hold_publish(client, "a");
    send_ack_of_one();
    rig_send_id(rig, client, 1, METHOD_TX_ROLLBACK);
    catch_up();
    (void)rig_expect(rig, client, 1, METHOD_TX_ROLLBACK_OK);
    cr_expect(eq(u64, rig->core->counters.acked, 0));
    cr_expect(eq(u32, ready("q"), 0));
    rig_hang_up(rig, client);
    cr_expect(eq(u32, ready("old"), 1));
}

/* What settles outside of a transaction is settled for good: a client that hangs up before its
 * commit would have lost the message. */
Test(held_order, a_settlement_behind_a_select_that_waits_belongs_to_the_transaction)
{
    take_one();
    hold_publish(client, "a");
    rig_send_id(rig, client, 1, METHOD_TX_SELECT);
    send_ack_of_one();
    cr_expect(eq(u64, rig->core->counters.acked, 0));
    catch_up();
    (void)rig_expect(rig, client, 1, METHOD_TX_SELECT_OK);
    cr_expect(eq(u64, rig->core->counters.acked, 0));
    rig_hang_up(rig, client);
    cr_expect(eq(u32, ready("old"), 1));
    cr_expect(eq(u32, ready("q"), 1));
}

Test(held_order, a_channel_ends_behind_what_it_has_published)
{
    hold_publish(client, "a");
    rig_send_id(rig, client, 1, METHOD_CHANNEL_CLOSE);
    rig_expect_nothing(rig, client);
    catch_up();
    (void)rig_expect(rig, client, 1, METHOD_CHANNEL_CLOSE_OK);
    cr_expect(eq(u32, ready("q"), 1));
}

Test(held_order, a_connection_ends_behind_what_it_has_published)
{
    hold_publish(client, "a");
    rig_send_id(rig, client, 0, METHOD_CONNECTION_CLOSE);
    rig_expect_nothing(rig, client);
    catch_up();
    (void)rig_expect(rig, client, 0, METHOD_CONNECTION_CLOSE_OK);
    cr_expect(eq(u32, ready("q"), 1));
}

/* A client may send an ack before it has read what it acknowledges, for it knows the tag. */
Test(held_order, an_ack_waits_for_the_get_that_brings_its_message_about)
{
    hold_publish(client, "a");
    send_get("q");
    send_ack_of_one();
    rig_expect_nothing(rig, client);
    catch_up();
    (void)rig_expect_posted(rig, client, 1, METHOD_BASIC_GET_OK);
    rig_expect_nothing(rig, client);
    cr_expect(eq(u64, rig->core->counters.acked, 1));
}

Test(held_order, an_ack_of_a_message_that_is_out_passes_what_is_held)
{
    take_one();
    hold_publish(client, "a");
    send_get("q");
    send_ack_of_one();
    send_ack(rig, client, 1, 2, false);
    cr_expect(eq(u64, rig->core->counters.acked, 1));
    catch_up();
    (void)rig_expect_posted(rig, client, 1, METHOD_BASIC_GET_OK);
    rig_expect_nothing(rig, client);
    cr_expect(eq(u64, rig->core->counters.acked, 2));
}

Test(held_order, an_ack_of_what_never_comes_is_refused_in_its_turn)
{
    hold_publish(client, "a");
    send_nack(rig, client, 1, 7, true, false);
    rig_expect_nothing(rig, client);
    catch_up();
    rig_expect_channel_close(rig, client, 1, REPLY_PRECONDITION_FAILED, "unknown delivery tag 7");
    cr_expect(eq(u32, ready("q"), 1));
}

/* Of a delivery tag, two octets. */
Test(held_order, a_settlement_that_is_cut_short_is_a_fault_at_once)
{
    static const uint8_t CUT_SHORT[] = {0, 60, 0, 80, 0, 0};
    hold_publish(client, "a");
    rig_send_payload(rig, client, 1, bytes_make(CUT_SHORT, sizeof(CUT_SHORT)));
    const struct method *method = rig_expect(rig, client, 0, METHOD_CONNECTION_CLOSE);
    cr_expect(eq(u16, method->connection_close.reply_code, REPLY_SYNTAX_ERROR));
}

static void
send_fault(const char *text)
{
    struct fault fault;
    (void)fault_connection(&fault, REPLY_FRAME_ERROR, "%s", text);
    rig_send_fault(rig, client, 1, &fault);
}

/* What arrived whole before the fault is as good as if the fault had come a tick later. */
Test(held_order, a_fault_ends_the_connection_behind_what_it_has_published)
{
    hold_publish(client, "a");
    send_fault("no end octet");
    rig_expect_nothing(rig, client);
    catch_up();
    rig_expect_close(rig, client, REPLY_FRAME_ERROR, "no end octet");
    cr_expect(eq(u32, ready("q"), 1));
    rig_send_id(rig, client, 0, METHOD_CONNECTION_CLOSE_OK);
    cr_expect(rig_is_closed(rig, client));
}

Test(held_order, a_fault_waits_for_what_another_channel_has_published)
{
    rig_open_channel(rig, client, 2);
    spend_all_work();
    rig_publish(rig, client, 2, "", "q", "a");
    send_fault("no end octet");
    catch_up();
    rig_expect_close(rig, client, REPLY_FRAME_ERROR, "no end octet");
    cr_expect(eq(u32, ready("q"), 1));
}

/* Neither a second fault, which would have come too late, nor a method, which would have been
 * dropped unread. */
Test(held_order, nothing_is_heard_behind_a_fault_that_waits)
{
    hold_publish(client, "a");
    send_fault("first");
    send_fault("second");
    rig_send_id(rig, client, 2, METHOD_CHANNEL_OPEN);
    rig_send_id(rig, client, 0, METHOD_CONNECTION_CLOSE);
    catch_up();
    rig_expect_close(rig, client, REPLY_FRAME_ERROR, "first");
    rig_expect_nothing(rig, client);
    cr_expect(eq(u32, ready("q"), 1));
}

/* A thread of the client that still publishes while another one closes does not have the close wait
 * for ever, and what it says then was not asked for any more. */
Test(held_order, nothing_is_heard_behind_a_close_that_waits)
{
    hold_publish(client, "a");
    rig_send_id(rig, client, 0, METHOD_CONNECTION_CLOSE);
    rig_publish(rig, client, 1, "", "q", "b");
    send_get("q");
    send_fault("no end octet");
    rig_expect_nothing(rig, client);
    catch_up();
    (void)rig_expect(rig, client, 0, METHOD_CONNECTION_CLOSE_OK);
    rig_expect_nothing(rig, client);
    cr_expect(rig_is_closed(rig, client));
    cr_expect(eq(u32, ready("q"), 1));
}

/* Its socket would not have been read under an alarm, so the end comes no sooner. */
Test(held_order, a_fault_waits_for_the_end_of_an_alarm)
{
    core_set_alarm(rig->core, ALARM_DISK, true);
    rig_publish(rig, client, 1, "", "q", "a");
    send_fault("no end octet");
    (void)rig_expect(rig, client, 0, METHOD_CONNECTION_BLOCKED);
    rig_turn(rig);
    rig_expect_nothing(rig, client);
    core_set_alarm(rig->core, ALARM_DISK, false);
    rig_turn(rig);
    rig_expect_close(rig, client, REPLY_FRAME_ERROR, "no end octet");
    cr_expect(eq(u32, ready("q"), 1));
}

/* tear_down asserts that nothing is left of it. */
Test(held_order, a_fault_that_waits_goes_with_its_connection)
{
    hold_publish(client, "a");
    send_fault("no end octet");
    rig_hang_up(rig, client);
    catch_up();
    cr_expect(eq(u32, ready("q"), 0));
}

Test(held_order, a_fault_of_one_channel_waits_for_that_channel_alone)
{
    struct fault fault;
    (void)fault_channel(&fault, REPLY_PRECONDITION_FAILED, "invalid message");
    rig_open_channel(rig, client, 2);
    hold_publish(client, "a");
    rig_send_fault(rig, client, 2, &fault);
    rig_expect_channel_close(rig, client, 2, REPLY_PRECONDITION_FAILED, "invalid message");
    rig_send_fault(rig, client, 1, &fault);
    rig_expect_nothing(rig, client);
    catch_up();
    rig_expect_channel_close(rig, client, 1, REPLY_PRECONDITION_FAILED, "invalid message");
    cr_expect(eq(u32, ready("q"), 1));
}

/* It was not confirmed either. tear_down asserts that its content was released. */
Test(held_order, what_a_lost_connection_held_is_dropped)
{
    rig_send_id(rig, client, 1, METHOD_CONFIRM_SELECT);
    (void)rig_expect(rig, client, 1, METHOD_CONFIRM_SELECT_OK);
    hold_publish(client, "a");
    rig_hang_up(rig, client);
    catch_up();
    cr_expect(eq(u32, ready("q"), 0));
    cr_expect(eq(u64, rig->core->counters.confirmed, 0));
}

/* The end of an alarm may depend on it: a consumer has to declare its queue first. */
Test(held_order, a_change_of_topology_does_not_wait_for_the_end_of_an_alarm)
{
    core_set_alarm(rig->core, ALARM_DISK, true);
    spend_all_work();
    struct method declare = {.id = METHOD_QUEUE_DECLARE,
                             .queue_declare = {.queue = bytes_of("new")}};
    rig_send(rig, client, 1, &declare);
    rig_expect_nothing(rig, client);
    catch_up();
    (void)rig_expect(rig, client, 1, METHOD_QUEUE_DECLARE_OK);
}

/* Others have spent the tick's work, so that what the closed channel held is still there when its
 * number is used again: it must be neither published nor confirmed in the name of the new one. */
Test(held_order, what_a_closed_channel_held_is_not_handled_on_the_next_of_its_number)
{
    uint64_t other = messaging_client(rig);
    rig->core->settings.work_per_tick = 1;
    hold_publish(other, "o");
    rig_publish(rig, other, 1, "", "q", "o");
    rig_publish(rig, client, 1, "", "old", "of the first channel");
    send_ack(rig, client, 1, 0, false);
    rig_turn(rig);
    rig_expect_channel_close(rig, client, 1, REPLY_PRECONDITION_FAILED, "unknown delivery tag 0");
    rig_send_id(rig, client, 1, METHOD_CHANNEL_CLOSE_OK);
    struct method open = {.id = METHOD_CHANNEL_OPEN};
    rig_send(rig, client, 1, &open);
    rig_send_id(rig, client, 1, METHOD_CONFIRM_SELECT);
    catch_up();
    (void)rig_expect(rig, client, 1, METHOD_CHANNEL_OPEN_OK);
    (void)rig_expect(rig, client, 1, METHOD_CONFIRM_SELECT_OK);
    catch_up();
    rig_expect_nothing(rig, client);
    cr_expect(eq(u32, ready("old"), 0));
}

/* Who has not had a turn comes before who has spent the tick's work. */
Test(held_order, connections_take_turns)
{
    enum { CLIENTS = 3, ROUNDS = 4 };
    static const char *const queues[CLIENTS] = {"q0", "q1", "q2"};
    uint64_t links[CLIENTS];
    for (int i = 0; i < CLIENTS; i++) {
        links[i] = messaging_client(rig);
        declare_queue(rig, links[i], queues[i]);
    }
    rig->core->settings.work_per_tick = 1;
    spend_all_work();
    for (int i = 0; i < CLIENTS; i++) {
        for (int round = 0; round < ROUNDS; round++) {
            rig_publish(rig, links[i], 1, "", queues[i], "x");
        }
    }
    for (int turn = 0; turn < CLIENTS * ROUNDS; turn++) {
        rig_turn(rig);
        for (int i = 0; i < CLIENTS; i++) {
            uint32_t expected = (uint32_t)(turn / CLIENTS + (i <= turn % CLIENTS));
            cr_expect(eq(u32, ready(queues[i]), expected), "turn %d, client %d", turn, i);
        }
    }
    cr_expect(ne(u64, core_wait_ms(rig->core), 0));
}
