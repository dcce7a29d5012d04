# SPDX-License-Identifier: Apache-2.0
"""An open connection: its end from either side, heartbeats, channels."""

import time

import pytest

from support import amqp, wire


def test_the_client_closes_and_the_broker_closes_the_socket(conn):
    conn.channel()
    conn.send(0, "connection.close", reply_code=200, reply_text="bye")
    conn.expect(0, "connection.close-ok")
    conn.drop()


@pytest.mark.differs("RabbitMQ waits for the client to close the socket")
def test_after_close_ok_the_broker_closes_the_socket_itself(conn):
    conn.send(0, "connection.close", reply_code=200, reply_text="bye")
    conn.expect(0, "connection.close-ok")
    conn.expect_eof()


# After its own close the server ignores everything but close and close-ok.
def test_after_its_close_the_broker_ignores_other_methods_until_close_ok(conn):
    channel = conn.channel()
    conn.send(0, "queue.declare", queue="q")
    assert conn.expect(0, "connection.close").reply_code == 504
    channel.send("queue.declare", queue=amqp.unique("ignored"))
    conn.send(2, "channel.open")
    conn.send(0, "connection.close-ok")
    conn.expect_eof()
    assert not conn.received(1) and not conn.received(2)


def test_a_close_that_crosses_the_brokers_close_is_answered(conn):
    conn.send(0, "queue.declare", queue="q")
    assert conn.expect(0, "connection.close").reply_code == 504
    conn.send(0, "connection.close", reply_code=200, reply_text="bye")
    conn.expect(0, "connection.close-ok")


# reply-text is "NAME - explanation"; class and method name the offender.
def test_a_connection_close_names_the_offending_method(ch):
    ch.consume(ch.temp_queue(), consumer_tag="twice")
    ch.send("basic.consume", queue="", consumer_tag="twice")
    close = ch.connection.expect_close(530, "NOT_ALLOWED - attempt to reuse consumer tag 'twice'")
    assert (close.class_id, close.method_id) == (60, 20)


# -- heartbeats


# The server declares a silent peer dead after two whole intervals, before the third ends.
@pytest.mark.slow
def test_a_silent_client_with_a_heartbeat_of_1_s_is_dropped_and_hears_beats_before(connect):
    conn = connect(heartbeat=1)
    start = time.monotonic()
    conn.expect_eof()
    assert 1.9 <= time.monotonic() - start <= 3.6
    assert conn.heartbeats_received >= 2


# Any octet is a sign of life, not only heartbeat frames.
@pytest.mark.slow
def test_a_client_that_sends_anything_stays_alive(connect):
    conn = connect(heartbeat=1)
    channel = conn.channel()
    quiet = connect(heartbeat=1)
    end = time.monotonic() + 3.8
    while time.monotonic() < end:
        channel.ping()
        quiet.send_bytes(wire.HEARTBEAT)
        conn.listen(0.4)
    assert conn.is_alive() and quiet.is_alive()


def test_heartbeats_are_accepted_though_none_were_negotiated(conn):
    conn.send_bytes(wire.HEARTBEAT * 3)
    assert conn.is_alive()


# -- channels


def test_channel_numbers_run_to_the_negotiated_maximum(connect):
    conn = connect(channel_max=20)
    for number in (1, 20, 7):
        conn.channel(number)


@pytest.mark.differs("3.10 counts open channels and lets the number be any")
def test_a_channel_number_over_the_negotiated_maximum_is_refused(connect):
    conn = connect(channel_max=20)
    conn.send(21, "channel.open")
    conn.expect_close(530)


def test_the_refusal_of_a_channel_over_the_maximum_says_so(connect):
    conn = connect(channel_max=1)
    conn.channel(1)
    conn.send(2, "channel.open")
    close = conn.expect(0, "connection.close")
    assert close.reply_code == 530
    assert close.reply_text == ("NOT_ALLOWED - number of channels opened (1) has reached the "
                                "negotiated channel_max (1)")


def test_a_method_on_a_channel_that_is_not_open_ends_the_connection(conn):
    conn.send(5, "queue.declare", queue="q")
    close = conn.expect_close(504)
    assert close.reply_text.startswith("CHANNEL_ERROR - expected 'channel.open'")


def test_opening_a_channel_twice_ends_the_connection(conn):
    conn.channel(3)
    conn.send(3, "channel.open")
    close = conn.expect_close(504)
    assert close.reply_text.startswith("CHANNEL_ERROR - second 'channel.open' seen")


def test_a_closed_channel_number_can_be_used_again_at_once(conn):
    for _ in range(3):
        conn.channel(9).close()


def test_a_soft_error_leaves_other_channels_alone(conn):
    first, second = conn.channel(), conn.channel()
    first.send("queue.declare", queue="nobody-has-this", passive=True)
    first.expect_close(404)
    second.ping()
    assert second.temp_queue()


# Until close-ok arrives the server drops every frame of the channel, also contents.
def test_frames_after_the_brokers_channel_close_are_dropped(ch):
    queue = amqp.unique("never")
    ch.send("queue.declare", queue="nobody-has-this", passive=True)
    ch.expect("channel.close")
    ch.publish("nobody-has-this", "k", b"x" * 10)
    ch.send("queue.declare", queue=queue)
    ch.send("channel.close-ok")
    ch.call("channel.open")
    ch.refused("queue.declare", 404, queue=queue, passive=True)


def test_a_channel_close_that_crosses_the_brokers_is_answered(ch):
    ch.send("queue.declare", queue="nobody-has-this", passive=True)
    ch.send("channel.close", reply_code=200)
    ch.expect("channel.close")
    ch.expect("channel.close-ok")
    ch.send("channel.close-ok")
    ch.call("channel.open")


def test_flow_true_is_answered_and_flow_false_is_not_implemented(ch):
    assert ch.call("channel.flow", active=True).active is True
    ch.send("channel.flow", active=False)
    ch.connection.expect_close(540, "NOT_IMPLEMENTED - active=false")


# Class 30 is obsolete; old clients ask and use the ticket, which is ignored everywhere.
def test_access_request_is_granted_ticket_1(ch):
    assert ch.call("access.request", realm="/data", read=True).ticket == 1
    assert ch.declare("", ticket=77, exclusive=True).queue


# Answers keep the order of the requests, however many are in one packet.
def test_a_pipelined_client_gets_its_answers_in_order(ch):
    queue = ch.temp_queue()
    ch.connection.send_bytes(b"".join(
        wire.method_frame(ch.number, "queue.declare", queue=queue, passive=True)
        + wire.method_frame(ch.number, "basic.get", queue=queue)
        + wire.method_frame(ch.number, "basic.qos", prefetch_count=1) for _ in range(200)))
    for _ in range(200):
        ch.expect("queue.declare-ok")
        ch.expect("basic.get-empty")
        ch.expect("basic.qos-ok")


def test_the_frames_of_two_channels_may_interleave_inside_a_content(conn):
    one, two = conn.channel(), conn.channel()
    queue = one.temp_queue()
    conn.send_bytes(
        wire.method_frame(1, "basic.publish", routing_key=queue)
        + wire.method_frame(2, "basic.publish", routing_key=queue)
        + wire.encode_frame(wire.FRAME_HEADER, 2, wire.encode_header(3))
        + wire.encode_frame(wire.FRAME_HEADER, 1, wire.encode_header(6))
        + wire.encode_frame(wire.FRAME_BODY, 1, b"one")
        + wire.HEARTBEAT
        + wire.encode_frame(wire.FRAME_BODY, 2, b"two")
        + wire.encode_frame(wire.FRAME_BODY, 1, b"ONE"))
    two.ping()
    one.ping()
    assert sorted(one.drain(queue)) == [b"oneONE", b"two"]


# A secret that expires is renewed this way; a password does not expire, so any is taken, as
# RabbitMQ does for its internal users. Rights are looked at again: see test_reload.py.
@pytest.mark.parametrize("secret", ["guest", "another", ""])
def test_update_secret_is_accepted(conn, secret):
    channel = conn.channel()
    channel.consume(channel.temp_queue())
    conn.call(0, "connection.update-secret", new_secret=secret, reason="rotated")
    channel.ping()
    assert conn.is_alive()
