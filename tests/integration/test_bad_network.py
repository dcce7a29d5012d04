# SPDX-License-Identifier: Apache-2.0
"""Small pieces, delays, cuts at any octet, half-open connections (faults F11 and F12)."""

import os
import time

import pytest

from support import amqp, wire
from support.proxy import Proxy


@pytest.fixture
def through(broker):
    """through(piece=…, …) is an open connection through a proxy with these habits."""
    proxies = []

    def connect(open_options=None, **habits):
        proxies.append(Proxy(broker.amqp, **habits))
        conn = amqp.Connection(proxies[-1].address)
        conn.proxy = proxies[-1]
        return conn.open(**(open_options or {}))

    yield connect
    for proxy in proxies:
        proxy.close()


# Frames arrive in pieces of any size; confirms come for each number, messages in order and whole.
@pytest.mark.parametrize("piece", [1, 7, 1000])
def test_a_session_in_small_pieces_loses_nothing(through, piece):
    channel = through(piece=piece).channel()
    queue = channel.temp_queue()
    channel.call("confirm.select")
    bodies = [os.urandom(size) for size in (0, 1, 5, 100, 1000, 5000, 20, 3)]
    for body in bodies:
        channel.publish("", queue, body, headers={"size": len(body)})
    confirmed = 0
    while confirmed < len(bodies):
        ack = channel.expect("basic.ack")
        assert ack.multiple or ack.delivery_tag == confirmed + 1
        confirmed = ack.delivery_tag
    channel.consume(queue)
    for body in bodies:
        delivery = channel.delivery()
        assert delivery.body == body and delivery.properties["headers"] == {"size": len(body)}
        channel.ack(delivery.delivery_tag)


def test_a_slow_line_keeps_the_order_of_confirms(through, ch):
    queue = amqp.unique("q")
    ch.declare(queue)
    channel = through(delay_s=0.05).channel()
    channel.call("confirm.select")
    for number in range(20):
        channel.publish("", queue, str(number))
    highest = 0
    while highest < 20:
        ack = channel.expect("basic.ack")
        assert ack.delivery_tag > highest
        highest = ack.delivery_tag
    assert [int(body) for body in ch.drain(queue)] == list(range(20))
    ch.delete(queue)


# Cut after every count of octets of a publish: what was whole counts, the rest never was.
def test_a_connection_cut_at_any_octet_leaves_whole_messages_only(broker, ch):
    queue = amqp.unique("q")
    ch.declare(queue)
    publish = (wire.method_frame(1, "basic.publish", routing_key=queue)
               + wire.encode_frame(wire.FRAME_HEADER, 1, wire.encode_header(5))
               + wire.encode_frame(wire.FRAME_BODY, 1, b"whole"))
    for cut in range(0, len(publish) + 1, 3):
        conn = broker.open()
        conn.channel(1)
        conn.send_bytes(publish[:cut])
        conn.drop()
    whole = broker.open().channel(1)
    whole.connection.send_bytes(publish)
    whole.ping()
    assert set(ch.drain(queue)) <= {b"whole"}
    assert ch.counts(queue)[0] == 0
    ch.delete(queue)


# F11: a peer that is silently gone is noticed by its missing heartbeats, and its messages return.
@pytest.mark.slow
def test_a_half_open_connection_ends_after_missed_heartbeats(through, ch):
    queue = amqp.unique("q")
    ch.declare(queue)
    ch.publish("", queue, b"held")
    ch.ping()
    lost = through({"heartbeat": 1})
    assert lost.channel().get(queue, no_ack=False).body == b"held"
    started = time.monotonic()
    lost.proxy.freeze()
    ch.consume(queue)
    delivery = ch.delivery()
    assert delivery.redelivered and 1 < time.monotonic() - started < 4.5
    ch.delete(queue)


# A client that vanishes in the middle of a large body takes nothing with it.
def test_a_client_lost_in_the_middle_of_a_body(through, ch):
    queue = ch.temp_queue()
    conn = through(cut_after=100_000)
    channel = conn.channel()
    try:
        channel.publish("", queue, os.urandom(1_000_000))
        conn.expect_eof()
    except (OSError, amqp.Closed):
        pass
    assert ch.counts(queue) == (0, 0)
