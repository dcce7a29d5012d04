/* SPDX-License-Identifier: Apache-2.0 */
/* Direct reply-to: a request, a reply, and what must not work. */
#include "broker/publishing/reply_to.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>

#include <stdio.h>

#include "amqp/properties.h"
#include "tests/unit/broker/messaging.h"

static struct rig *rig;
static uint64_t requester, responder;
static char reply_name[128]; /* as the responder saw it */

static void
set_up(void)
{
    rig = messaging_rig(NULL);
    requester = messaging_client(rig);
    responder = messaging_client(rig);
    declare_queue(rig, responder, "rpc");
}

static void
tear_down(void)
{
    rig_free(&rig);
}

TestSuite(reply_to, .init = set_up, .fini = tear_down);

static void
send_request(void)
{
    struct buffer block;
    buffer_init(&block);
    struct properties properties = {.flags = PROPERTY_REPLY_TO | PROPERTY_CORRELATION_ID,
                                    .reply_to = bytes_of(REPLY_TO_QUEUE),
                                    .correlation_id = bytes_of("7")};
    properties_encode(&block, &properties);
    struct rig_publish publish = {.exchange = "",
                                  .routing_key = "rpc",
                                  .properties = buffer_bytes(&block),
                                  .body = bytes_of("question")};
    rig_publish_as(rig, requester, 1, &publish);
    buffer_fini(&block);
}

/* A request goes out and comes in; its reply-to is noted. */
static void
request(void)
{
    send_request();
    const struct posted *got = get_message(rig, responder, "rpc", true);
    cr_assert(ne(ptr, (void *)got, NULL));
    struct properties properties;
    struct fault fault;
    cr_assert(eq(int, properties_decode(&properties, got->properties, &fault), STATUS_OK));
    cr_expect(bytes_equal_text(properties.correlation_id, "7"), "the rest stays as it was");
    cr_expect(bytes_equal_text(got->body, "question"));
    snprintf(reply_name, sizeof(reply_name), "%.*s", BYTES_FORMAT(properties.reply_to));
}

static void
reply(bool mandatory)
{
    struct rig_publish publish = {.exchange = "",
                                  .routing_key = reply_name,
                                  .body = bytes_of("answer"),
                                  .mandatory = mandatory};
    rig_publish_as(rig, responder, 1, &publish);
}

Test(reply_to, a_reply_goes_straight_to_the_channel_that_asked)
{
    consume(rig, requester, 1, REPLY_TO_QUEUE, "replies", true);
    request();
    cr_expect(eq(int, strncmp(reply_name, REPLY_TO_QUEUE ".", sizeof(REPLY_TO_QUEUE)), 0));
    cr_expect(ge(sz, strlen(reply_name), sizeof(REPLY_TO_QUEUE) + 22), "128 random bits");
    reply(true);
    const struct basic_deliver *deliver =
        &expect_delivery(rig, requester, "answer")->method.basic_deliver;
    cr_expect(bytes_equal_text(deliver->consumer_tag, "replies"));
    cr_expect(bytes_equal_text(deliver->exchange, ""));
    cr_expect(bytes_equal_text(deliver->routing_key, reply_name));
    cr_expect(eq(u64, deliver->delivery_tag, 1));
    cr_expect(not(deliver->redelivered));
    rig_expect_nothing(rig, responder);
}

Test(reply_to, a_reply_waits_for_commit_in_a_transaction)
{
    consume(rig, requester, 1, REPLY_TO_QUEUE, "replies", true);
    request();
    rig_send_id(rig, responder, 1, METHOD_TX_SELECT);
    (void)rig_expect(rig, responder, 1, METHOD_TX_SELECT_OK);
    reply(true);
    rig_expect_nothing(rig, requester);
    rig_send_id(rig, responder, 1, METHOD_TX_COMMIT);
    (void)rig_expect(rig, responder, 1, METHOD_TX_COMMIT_OK);
    (void)expect_delivery(rig, requester, "answer");
}

Test(reply_to, a_reply_to_nobody_is_dropped_or_returned)
{
    consume(rig, requester, 1, REPLY_TO_QUEUE, "replies", true);
    request();
    cancel(rig, requester, "replies");
    reply(false);
    rig_expect_nothing(rig, responder);
    reply(true);
    (void)rig_expect_posted(rig, responder, 1, METHOD_BASIC_RETURN);
    rig_hang_up(rig, requester);
    reply(true);
    (void)rig_expect_posted(rig, responder, 1, METHOD_BASIC_RETURN);
}

Test(reply_to, tokens_differ_from_consumer_to_consumer)
{
    char first[sizeof(reply_name)];
    consume(rig, requester, 1, REPLY_TO_QUEUE, "replies", true);
    request();
    memcpy(first, reply_name, sizeof(first));
    cancel(rig, requester, "replies");
    consume(rig, requester, 1, REPLY_TO_QUEUE, "replies", true);
    request();
    cr_expect(ne(str, first, reply_name));
}

/* Threat: output for a requester that does not read. */
Test(reply_to, nothing_is_buffered_for_a_requester_that_does_not_read)
{
    enum { BODY = 64 * 1024 };
    static char body[BODY + 1];
    memset(body, 'x', BODY);
    consume(rig, requester, 1, REPLY_TO_QUEUE, "replies", true);
    request();
    rig_link(rig, requester)->is_stuck = true;
    for (int i = 0; i < 20; i++) {
        rig_publish(rig, responder, 1, "", reply_name, body);
    }
    cr_expect(le(sz, rig_count(rig, requester, NET_ACTION_DELIVER), CORE_WINDOW_OCTETS / BODY + 1));
    reply(true);
    (void)rig_expect_posted(rig, responder, 1, METHOD_BASIC_RETURN);
}

Test(reply_to, another_vhost_is_out_of_reach)
{
    consume(rig, requester, 1, REPLY_TO_QUEUE, "replies", true);
    request();
    struct channel *asking = connection_find_channel(core_find_connection(rig->core, requester), 1);
    struct channel *answering =
        connection_find_channel(core_find_connection(rig->core, responder), 1);
    cr_expect(eq(ptr, channel_find_requester(answering, bytes_of(reply_name)), asking));
    struct vhost *own = answering->connection->vhost;
    answering->connection->vhost = rig_add_vhost(rig, "other");
    cr_expect(eq(ptr, channel_find_requester(answering, bytes_of(reply_name)), NULL));
    answering->connection->vhost = own;
}

Test(reply_to, misuse_closes_the_channel)
{
    static const struct {
        bool no_ack;
        bool is_second;
        const char *text;
    } rows[] = {
        {false, false, "reply consumer cannot acknowledge"},
        {true, true, "reply consumer already set"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        if (rows[i].is_second) {
            consume(rig, requester, 1, REPLY_TO_QUEUE, "replies", true);
        }
        struct method method = {
            .id = METHOD_BASIC_CONSUME,
            .basic_consume = {.queue = bytes_of(REPLY_TO_QUEUE), .no_ack = rows[i].no_ack}};
        rig_send(rig, requester, 1, &method);
        rig_expect_channel_close(rig, requester, 1, 406, rows[i].text);
        rig_send_id(rig, requester, 1, METHOD_CHANNEL_CLOSE_OK);
        rig_open_channel(rig, requester, 1);
    }
    send_request();
    rig_expect_channel_close(rig, requester, 1, 406, "fast reply consumer does not exist");
}
