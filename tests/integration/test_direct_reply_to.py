# SPDX-License-Identifier: Apache-2.0
"""Direct reply-to: the pseudo queue amq.rabbitmq.reply-to."""

import pytest

REPLY_TO = "amq.rabbitmq.reply-to"


@pytest.fixture
def requester(connect):
    channel = connect().channel()
    channel.consume(REPLY_TO, no_ack=True, consumer_tag="replies")
    return channel


def token_of(requester, ch):
    """What the responder sees as reply-to of a request."""
    queue = ch.temp_queue()
    requester.publish("", queue, b"question", reply_to=REPLY_TO, correlation_id="1")
    ch.consume(queue, no_ack=True)
    request = ch.delivery()
    assert request.properties["correlation_id"] == "1"
    return request.properties["reply_to"]


def test_a_reply_goes_straight_to_the_requester(requester, ch):
    token = token_of(requester, ch)
    assert token.startswith(REPLY_TO + ".") and len(token) > len(REPLY_TO) + 16
    ch.publish("", token, b"answer", correlation_id="1")
    reply = requester.delivery()
    assert (reply.consumer_tag, reply.exchange, reply.routing_key) == ("replies", "", token)
    assert (reply.body, reply.properties) == (b"answer", {"correlation_id": "1"})


def test_replies_of_any_size_arrive(requester, ch):
    token = token_of(requester, ch)
    for size in (0, 1, 400_000):
        ch.publish("", token, b"r" * size)
        assert len(requester.delivery().body) == size


def test_a_consumer_that_would_acknowledge_is_406(ch):
    ch.refused("basic.consume", 406, "PRECONDITION_FAILED - reply consumer cannot acknowledge",
               queue=REPLY_TO)


def test_a_second_reply_consumer_on_a_channel_is_406(requester):
    requester.refused("basic.consume", 406, "PRECONDITION_FAILED - reply consumer already set",
                      queue=REPLY_TO, no_ack=True)


def test_a_request_without_a_reply_consumer_is_406(ch):
    ch.publish("", "somewhere", b"x", reply_to=REPLY_TO)
    ch.expect_close(406, "PRECONDITION_FAILED - fast reply consumer does not exist")


# The consumer must be on the channel of the request, not only on its connection.
def test_the_reply_consumer_of_another_channel_does_not_count(requester):
    other = requester.connection.channel()
    other.publish("", "somewhere", b"x", reply_to=REPLY_TO)
    other.expect_close(406)


def test_declaring_the_token_tells_whether_the_requester_lives(requester, ch):
    token = token_of(requester, ch)
    answer = ch.declare(token, passive=True)
    assert (answer.queue, answer.message_count, answer.consumer_count) == (token, 0, 1)
    requester.close()
    ch.refused("queue.declare", 404, queue=token, passive=True)


def test_a_reply_to_a_requester_that_is_gone_is_dropped(requester, ch):
    token = token_of(requester, ch)
    requester.connection.close()
    ch.publish("", token, b"too late")
    ch.ping()


def test_cancelling_the_reply_consumer_ends_it(requester, ch):
    token = token_of(requester, ch)
    requester.call("basic.cancel", consumer_tag="replies")
    ch.publish("", token, b"nobody listens")
    requester.expect_nothing()
    requester.consume(REPLY_TO, no_ack=True)


# T15: tokens are random; a changed one reaches nobody.
def test_a_forged_token_reaches_nobody(requester, ch):
    token = token_of(requester, ch)
    forged = token[:-4] + ("AAAA" if not token.endswith("AAAA") else "BBBB")
    ch.publish("", forged, b"forged")
    ch.ping()
    requester.expect_nothing()
    ch.publish("", token, b"real")
    assert requester.delivery().body == b"real"


def test_every_channel_has_a_token_of_its_own(connect, ch):
    tokens = set()
    for _ in range(3):
        channel = connect().channel()
        channel.consume(REPLY_TO, no_ack=True)
        tokens.add(token_of(channel, ch.connection.channel()))
    assert len(tokens) == 3


# Newer servers refuse it outright; a reply queue is nobody's to route to.
@pytest.mark.differs("404 in 3.10")
def test_binding_the_pseudo_queue_is_403(requester, ch):
    token = token_of(requester, ch)
    ch.refused("queue.bind", 403, queue=token, exchange="amq.direct", routing_key="k")
