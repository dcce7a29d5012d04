/* SPDX-License-Identifier: Apache-2.0 */
/* What a channel says only when the log is committed: confirms, and answers about what is durable
 * (design: I1), in the order in which they were made. */
#include "broker/channels/commit_wait.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#include <stdio.h>

#include "amqp/reply.h"
#include "tests/unit/broker/log_harness.h"

static struct log_rig *disk;
static struct rig *rig;
static uint64_t client;

static void
set_up(void)
{
    disk = log_rig_new(NULL, 0);
    rig = disk->rig;
    client = messaging_client(rig);
    log_declare(disk, client, "q");
}

static void
tear_down(void)
{
    log_rig_free(&disk);
}

TestSuite(commit_wait, .init = set_up, .fini = tear_down);

static void
send_declare(uint64_t link, uint16_t channel, const char *name, bool passive)
{
    struct method method = {
        .id = METHOD_QUEUE_DECLARE,
        .queue_declare = {.queue = bytes_of(name), .durable = true, .passive = passive},
    };
    rig_send(rig, link, channel, &method);
}

static void
send_consume(uint64_t link, uint16_t channel, const char *queue)
{
    struct method method = {
        .id = METHOD_BASIC_CONSUME,
        .basic_consume = {.queue = bytes_of(queue), .consumer_tag = bytes_of("c")}};
    rig_send(rig, link, channel, &method);
}

static void
send_get(uint64_t link, uint16_t channel, const char *queue)
{
    struct method method = {.id = METHOD_BASIC_GET, .basic_get = {.queue = bytes_of(queue)}};
    rig_send(rig, link, channel, &method);
}

static void
send_connection_close(uint64_t link)
{
    struct method method = {.id = METHOD_CONNECTION_CLOSE,
                            .connection_close = {.reply_code = REPLY_SUCCESS}};
    rig_send(rig, link, 0, &method);
}

/* Confirms ------------------------------------------------------------------------------------- */

/* I1. Being written is not enough. */
Test(commit_wait, no_confirm_leaves_before_its_commit)
{
    select_confirms(rig, client, 1);
    log_publish(disk, client, "", "q", "1");
    rig_expect_nothing(rig, client);
    log_write(disk, UINT32_MAX);
    rig_expect_nothing(rig, client);
    log_flush(disk);
    expect_confirm(rig, client, 1, 1, false);
}

/* Each confirm stands for what its own commit covered. */
Test(commit_wait, a_confirm_comes_with_the_commit_that_covers_it)
{
    select_confirms(rig, client, 1);
    log_publish(disk, client, "", "q", "1");
    log_commit(disk);
    expect_confirm(rig, client, 1, 1, false);
    log_publish(disk, client, "", "q", "2");
    rig_expect_nothing(rig, client);
    log_commit(disk);
    expect_confirm(rig, client, 1, 2, false);
}

/* One basic.ack for all that one flush covers, however many turns it took to publish it. */
Test(commit_wait, one_ack_says_multiple_for_what_one_commit_covers)
{
    select_confirms(rig, client, 1);
    log_publish_numbers(disk, client, "q", 1, 5);
    rig_expect_nothing(rig, client);
    log_commit(disk);
    expect_confirm(rig, client, 1, 5, true);
    rig_expect_nothing(rig, client);
}

/* Confirms keep the order of the publishes on their channel. */
Test(commit_wait, a_transient_message_is_not_confirmed_before_the_durable_one_ahead_of_it)
{
    select_confirms(rig, client, 1);
    log_publish(disk, client, "", "q", "1");
    publish_text(rig, client, "q", "transient");
    rig_expect_nothing(rig, client);
    log_commit(disk);
    expect_confirm(rig, client, 1, 2, true);
    publish_text(rig, client, "q", "transient");
    expect_confirm(rig, client, 1, 3, false);
}

/* A message that no log has waits for no disk, also while another channel does. */
Test(commit_wait, what_is_in_memory_only_is_confirmed_at_once)
{
    uint64_t other = messaging_client(rig);
    select_confirms(rig, client, 1);
    select_confirms(rig, other, 1);
    log_publish(disk, client, "", "q", "1");
    publish_text(rig, other, "q", "transient");
    expect_confirm(rig, other, 1, 1, false);
    rig_expect_nothing(rig, client);
}

/* Answers -------------------------------------------------------------------------------------- */

/* I1, for each answer about something durable. */
Test(commit_wait, answers_about_durable_things_wait_for_their_commit)
{
    struct method methods[] = {
        {.id = METHOD_EXCHANGE_DECLARE,
         .exchange_declare = {.exchange = bytes_of("x"),
                              .type = bytes_of("fanout"),
                              .durable = true}},
        {.id = METHOD_QUEUE_DECLARE, .queue_declare = {.queue = bytes_of("r"), .durable = true}},
        {.id = METHOD_QUEUE_BIND,
         .queue_bind = {.queue = bytes_of("r"), .exchange = bytes_of("x")}},
        {.id = METHOD_QUEUE_PURGE, .queue_purge = {.queue = bytes_of("q")}},
        {.id = METHOD_QUEUE_UNBIND,
         .queue_unbind = {.queue = bytes_of("r"), .exchange = bytes_of("x")}},
        {.id = METHOD_QUEUE_DELETE, .queue_delete = {.queue = bytes_of("r")}},
        {.id = METHOD_EXCHANGE_DELETE, .exchange_delete = {.exchange = bytes_of("x")}},
    };
    static const enum method_id answers[] = {
        METHOD_EXCHANGE_DECLARE_OK, METHOD_QUEUE_DECLARE_OK, METHOD_QUEUE_BIND_OK,
        METHOD_QUEUE_PURGE_OK,      METHOD_QUEUE_UNBIND_OK,  METHOD_QUEUE_DELETE_OK,
        METHOD_EXCHANGE_DELETE_OK,
    };
    log_publish(disk, client, "", "q", "1");
    log_settle(disk);
    for (size_t i = 0; i < ARRAY_LEN(methods); i++) {
        rig_send(rig, client, 1, &methods[i]);
        rig_turn(rig);
        rig_turn(rig);
        rig_expect_nothing(rig, client);
        log_write(disk, UINT32_MAX);
        rig_expect_nothing(rig, client);
        log_settle(disk);
        (void)rig_expect(rig, client, 1, answers[i]);
    }
}

/* Pipelined, they come in the order in which they were asked for. */
Test(commit_wait, pipelined_answers_keep_their_order)
{
    send_declare(client, 1, "a", false);
    rig_send_id(rig, client, 1, METHOD_TX_SELECT);
    send_declare(client, 1, "b", false);
    struct method qos = {.id = METHOD_BASIC_QOS, .basic_qos = {.prefetch_count = 1}};
    rig_send(rig, client, 1, &qos);
    rig_expect_nothing(rig, client);
    log_settle(disk);
    (void)rig_expect(rig, client, 1, METHOD_QUEUE_DECLARE_OK);
    (void)rig_expect(rig, client, 1, METHOD_TX_SELECT_OK);
    (void)rig_expect(rig, client, 1, METHOD_QUEUE_DECLARE_OK);
    (void)rig_expect(rig, client, 1, METHOD_BASIC_QOS_OK);
    rig_expect_nothing(rig, client);
}

/* What the second is told is true only when it is on disk. */
Test(commit_wait, the_second_who_declares_a_queue_waits_for_it_too)
{
    uint64_t other = messaging_client(rig);
    uint64_t third = messaging_client(rig);
    send_declare(client, 1, "new", false);
    send_declare(other, 1, "new", false);
    send_declare(third, 1, "new", true);
    rig_expect_nothing(rig, client);
    rig_expect_nothing(rig, other);
    rig_expect_nothing(rig, third);
    log_settle(disk);
    (void)rig_expect(rig, client, 1, METHOD_QUEUE_DECLARE_OK);
    (void)rig_expect(rig, other, 1, METHOD_QUEUE_DECLARE_OK);
    (void)rig_expect(rig, third, 1, METHOD_QUEUE_DECLARE_OK);
}

/* The deliveries that basic.consume sets off, and the message of basic.get, come behind the answer
 * that is still to be said. */
Test(commit_wait, a_consumer_starts_behind_a_waiting_answer)
{
    log_publish(disk, client, "", "q", "1");
    log_settle(disk);
    send_declare(client, 1, "new", false);
    send_consume(client, 1, "q");
    rig_expect_nothing(rig, client);
    log_settle(disk);
    (void)rig_expect(rig, client, 1, METHOD_QUEUE_DECLARE_OK);
    (void)rig_expect(rig, client, 1, METHOD_BASIC_CONSUME_OK);
    (void)expect_delivery(rig, client, "1");
}

Test(commit_wait, a_get_waits_behind_a_waiting_answer)
{
    publish_text(rig, client, "q", "in memory");
    send_declare(client, 1, "new", false);
    send_get(client, 1, "q");
    rig_expect_nothing(rig, client);
    log_settle(disk);
    (void)rig_expect(rig, client, 1, METHOD_QUEUE_DECLARE_OK);
    (void)rig_expect(rig, client, 1, METHOD_BASIC_GET_OK);
}

/* As without a log: an answer comes before the deliveries that its method sets off. */
Test(commit_wait, what_is_recovered_comes_again_behind_a_waiting_answer)
{
    publish_text(rig, client, "q", "in memory");
    consume(rig, client, 1, "q", "c", false);
    (void)expect_delivery(rig, client, "in memory");
    struct method recover = {.id = METHOD_BASIC_RECOVER, .basic_recover = {.requeue = true}};
    send_declare(client, 1, "new", false);
    rig_send(rig, client, 1, &recover);
    rig_expect_nothing(rig, client);
    log_settle(disk);
    (void)rig_expect(rig, client, 1, METHOD_QUEUE_DECLARE_OK);
    (void)rig_expect(rig, client, 1, METHOD_BASIC_RECOVER_OK);
    (void)expect_delivery(rig, client, "in memory");
}

/* Confirms are no answers: a consumer need not wait for them. */
Test(commit_wait, a_consumer_starts_while_confirms_wait)
{
    select_confirms(rig, client, 1);
    publish_text(rig, client, "q", "in memory");
    expect_confirm(rig, client, 1, 1, false);
    log_publish(disk, client, "", "q", "2");
    send_consume(client, 1, "q");
    (void)rig_expect(rig, client, 1, METHOD_BASIC_CONSUME_OK);
    (void)expect_delivery(rig, client, "in memory");
}

/* Ends ----------------------------------------------------------------------------------------- */

/* Close-ok says that everything before it is done. */
Test(commit_wait, close_ok_of_a_channel_comes_behind_what_waits_on_it)
{
    select_confirms(rig, client, 1);
    log_publish(disk, client, "", "q", "1");
    send_declare(client, 1, "new", false);
    rig_send_id(rig, client, 1, METHOD_CHANNEL_CLOSE);
    rig_send_id(rig, client, 1, METHOD_CHANNEL_OPEN);
    rig_expect_nothing(rig, client);
    log_settle(disk);
    expect_confirm(rig, client, 1, 1, false);
    (void)rig_expect(rig, client, 1, METHOD_QUEUE_DECLARE_OK);
    (void)rig_expect(rig, client, 1, METHOD_CHANNEL_CLOSE_OK);
    (void)rig_expect(rig, client, 1, METHOD_CHANNEL_OPEN_OK);
    rig_expect_nothing(rig, client);
}

/* The publish and the close came in one turn: no confirm waits yet when the close is seen. */
Test(commit_wait, close_ok_of_a_channel_comes_behind_the_confirms_of_its_own_turn)
{
    select_confirms(rig, client, 1);
    rig->holds_turn = true;
    log_publish(disk, client, "", "q", "1");
    rig_send_id(rig, client, 1, METHOD_CHANNEL_CLOSE);
    rig->holds_turn = false;
    log_settle(disk);
    expect_confirm(rig, client, 1, 1, false);
    (void)rig_expect(rig, client, 1, METHOD_CHANNEL_CLOSE_OK);
}

Test(commit_wait, close_ok_of_a_connection_comes_behind_what_waits_on_its_channels)
{
    rig_open_channel(rig, client, 2);
    select_confirms(rig, client, 1);
    rig->holds_turn = true;
    log_publish(disk, client, "", "q", "1");
    send_connection_close(client);
    rig->holds_turn = false;
    rig_expect_nothing(rig, client);
    log_settle(disk);
    expect_confirm(rig, client, 1, 1, false);
    (void)rig_expect(rig, client, 0, METHOD_CONNECTION_CLOSE_OK);
    cr_expect(rig_is_closed(rig, client));
}

/* What was accepted before the fault is confirmed before channel.close tells of it. */
Test(commit_wait, a_fault_closes_the_channel_behind_the_confirms_that_wait)
{
    select_confirms(rig, client, 1);
    log_publish(disk, client, "", "q", "1");
    log_publish(disk, client, "nowhere", "q", "2");
    rig_expect_nothing(rig, client);
    log_settle(disk);
    expect_confirm(rig, client, 1, 1, false);
    rig_expect_channel_close(rig, client, 1, REPLY_NOT_FOUND, "no exchange 'nowhere' in vhost '/'");
    rig_send_id(rig, client, 1, METHOD_CHANNEL_CLOSE_OK);
    rig_open_channel(rig, client, 1);
}

/* Both sides close at once, and ours waits: close-ok must not come first, for the number is free
 * with it. */
Test(commit_wait, close_ok_comes_behind_a_channel_close_that_waits)
{
    select_confirms(rig, client, 1);
    log_publish(disk, client, "", "q", "1");
    log_publish(disk, client, "nowhere", "q", "2");
    rig_send_id(rig, client, 1, METHOD_CHANNEL_CLOSE);
    rig_expect_nothing(rig, client);
    log_settle(disk);
    expect_confirm(rig, client, 1, 1, false);
    (void)rig_expect(rig, client, 1, METHOD_CHANNEL_CLOSE);
    (void)rig_expect(rig, client, 1, METHOD_CHANNEL_CLOSE_OK);
    rig_send_id(rig, client, 1, METHOD_CHANNEL_CLOSE_OK);
    rig_open_channel(rig, client, 1);
}

/* Nobody is there to be told, and nothing is left behind. */
Test(commit_wait, a_connection_that_vanishes_while_it_waits_is_forgotten)
{
    select_confirms(rig, client, 1);
    log_publish(disk, client, "", "q", "1");
    send_declare(client, 1, "new", false);
    send_get(client, 1, "q");
    rig_send_id(rig, client, 1, METHOD_CHANNEL_CLOSE);
    rig_hang_up(rig, client);
    log_settle(disk);
    cr_expect(core_has_said_all(rig->core));
    log_check(disk);
    cr_expect(eq(u64, ready_count(rig, "q"), 1));
}

/* A connection.close of ours ends all that waits. */
Test(commit_wait, a_closing_connection_says_nothing_more)
{
    select_confirms(rig, client, 1);
    log_publish(disk, client, "", "q", "1");
    struct rig_publish immediate = {.exchange = "", .routing_key = "q", .immediate = true};
    rig_publish_as(rig, client, 1, &immediate);
    rig_expect_close(rig, client, REPLY_NOT_IMPLEMENTED, "immediate=true");
    log_settle(disk);
    rig_expect_nothing(rig, client);
    cr_expect(core_has_said_all(rig->core));
}

/* I11: a client that asks and asks is not read while the answers wait. */
Test(commit_wait, too_many_waiting_answers_stop_the_reading)
{
    int sent = 0;
    send_declare(client, 1, "new", false);
    while (!rig_link(rig, client)->is_paused && sent < 2 * COMMIT_WAITS_MAX) {
        send_declare(client, 1, "q", true);
        sent++;
    }
    cr_expect(eq(int, sent, COMMIT_WAITS_MAX));
    log_settle(disk);
    cr_expect(not(rig_link(rig, client)->is_paused));
    for (int i = 0; i <= sent; i++) {
        (void)rig_expect(rig, client, 1, METHOD_QUEUE_DECLARE_OK);
    }
    rig_expect_nothing(rig, client);
}

/* However many channels they wait on: what a connection may have waiting is bounded as a whole. */
Test(commit_wait, waiting_answers_of_all_channels_count_together)
{
    enum { CHANNELS = 8 };
    for (uint16_t channel = 2; channel <= CHANNELS; channel++) {
        rig_open_channel(rig, client, channel);
    }
    int sent = 0;
    send_declare(client, 1, "new", false);
    while (!rig_link(rig, client)->is_paused && sent < 2 * COMMIT_WAITS_MAX) {
        send_declare(client, (uint16_t)(1 + sent % CHANNELS), "q", true);
        sent++;
    }
    cr_expect(eq(int, sent, COMMIT_WAITS_MAX));
    log_settle(disk);
    cr_expect(not(rig_link(rig, client)->is_paused));
    int answers = 0;
    while (rig_next(rig, client) != NULL) {
        answers++;
    }
    cr_expect(eq(int, answers, sent + 1));
}

/* A paused link that goes is told nothing more. */
Test(commit_wait, a_connection_that_vanishes_while_it_is_not_read_is_forgotten)
{
    send_declare(client, 1, "new", false);
    while (!rig_link(rig, client)->is_paused) {
        send_declare(client, 1, "q", true);
    }
    rig_hang_up(rig, client);
    log_settle(disk);
    cr_expect(core_has_said_all(rig->core));
}

/* Two channels of a connection wait; the first that is through lets nobody pass on the other. */
Test(commit_wait, channels_of_a_connection_wait_each_for_itself)
{
    rig_open_channel(rig, client, 2);
    send_declare(client, 1, "a", false);
    log_write(disk, 1);
    send_declare(client, 2, "b", false);
    send_consume(client, 2, "q");
    log_flush(disk);
    (void)rig_expect(rig, client, 1, METHOD_QUEUE_DECLARE_OK);
    rig_expect_nothing(rig, client);
    log_settle(disk);
    (void)rig_expect(rig, client, 2, METHOD_QUEUE_DECLARE_OK);
    (void)rig_expect(rig, client, 2, METHOD_BASIC_CONSUME_OK);
}
