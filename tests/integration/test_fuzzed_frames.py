# SPDX-License-Identifier: Apache-2.0
"""Sessions with random damage. Nothing is expected of the answers; the broker has to stay up, sound
(the sanitizers tell) and fair to a bystander."""

import random

import pytest

from support import amqp, wire

pytestmark = pytest.mark.bourse_only

SESSIONS_PER_SEED = 60


def session_frames(queue):
    """The frames of an ordinary session after login, in order."""
    method = wire.method_frame
    header = wire.encode_header(11, {"headers": {"a": [1, "x", {"b": None}], "CC": ["k"]},
                                     "content_type": "t", "delivery_mode": 2, "expiration": "9000",
                                     "reply_to": "r", "timestamp": 5})
    publish = [method(1, "basic.publish", exchange="amq.topic", routing_key="a.b", mandatory=True),
               wire.encode_frame(wire.FRAME_HEADER, 1, header),
               wire.encode_frame(wire.FRAME_BODY, 1, b"hello "),
               wire.encode_frame(wire.FRAME_BODY, 1, b"world")]
    return [*beginning_of_time_and_failure(queue), *ordinary_frames(queue, publish)]


def message(exchange, key, properties):
    return [wire.method_frame(3, "basic.publish", exchange=exchange, routing_key=key),
            wire.encode_frame(wire.FRAME_HEADER, 3, wire.encode_header(1, properties)),
            wire.encode_frame(wire.FRAME_BODY, 3, b"m")]


def beginning_of_time_and_failure(queue):
    """Delays, priorities, retries, a note and dead letters, on a channel of their own."""
    method, jobs, later = wire.method_frame, "jobs-" + queue, "later-" + queue
    return [
        method(3, "channel.open"),
        method(3, "queue.declare", queue=jobs, auto_delete=True, arguments={
            "x-max-priority": 9, "x-message-ttl": 60_000, "x-delivery-limit": 2,
            "x-delayed-retry-min": 1, "x-delayed-retry-jitter": "full", "x-release-rate": 9,
            "x-delayed-retry-counts": "nack,lost", "x-dead-letter-exchange": "",
            "x-dead-letter-routing-key": queue, "x-consumer-timeout": 60_000}),
        method(3, "exchange.declare", exchange=later, type="x-delayed-message", auto_delete=True,
               arguments={"x-delayed-type": "direct"}),
        method(3, "queue.bind", queue=jobs, exchange=later, routing_key="k"),
        *message(later, "k", {"headers": {"x-delay": 1, "x-deliver-at": 5}, "priority": 7}),
        *message(later, "k", {"headers": {"x-delay": wire.Typed("d", 1.5)}, "expiration": "1"}),
        *message(later, "k", {"headers": {"x-delay": 10 ** 9, "x-death": [{"count": 1}]}}),
        *message("", jobs, {"priority": 255, "expiration": "9000", "message_id": "m"}),
        *message("", jobs, {"headers": {"x-delivery-count": "?", "traceparent": "00-1-2-3"}}),
        method(3, "basic.get", queue=jobs), method(3, "basic.get", queue=jobs),
        *message("bourse.control", "failure-note", {"headers": {
            "delivery-tag": 1, "class": "E", "text": "t", "advice": "a"}}),
        method(3, "basic.reject", delivery_tag=1, requeue=False),
        method(3, "basic.nack", delivery_tag=2, requeue=True),
        method(3, "basic.consume", queue=jobs, consumer_tag="j"),
        method(3, "queue.purge", queue=jobs), method(3, "exchange.delete", exchange=later),
    ]


def ordinary_frames(queue, publish):
    method = wire.method_frame
    return [
        method(1, "channel.open"),
        method(1, "queue.declare", queue=queue, auto_delete=True,
               arguments={"x-max-length": 5, "x-note": {"a": [1.5, True]}}),
        method(1, "queue.bind", queue=queue, exchange="amq.topic", routing_key="a.#"),
        method(1, "exchange.declare", exchange=queue, type="headers", auto_delete=True),
        method(1, "exchange.bind", destination=queue, source="amq.headers",
               arguments={"x-match": "any", "a": 1}),
        *publish, method(1, "confirm.select"), *publish,
        method(1, "basic.qos", prefetch_count=3),
        method(1, "basic.consume", queue=queue, consumer_tag="t", arguments={"x-priority": 5}),
        *publish, method(1, "basic.ack", delivery_tag=1, multiple=True),
        method(1, "basic.nack", delivery_tag=2, requeue=True), wire.HEARTBEAT,
        method(2, "channel.open"), method(2, "tx.select"),
        method(2, "basic.get", queue=queue), method(2, "tx.commit"),
        method(2, "basic.recover", requeue=True), method(1, "basic.cancel", consumer_tag="t"),
        method(1, "queue.purge", queue=queue), method(1, "queue.delete", queue=queue),
        method(1, "exchange.delete", exchange=queue),
        method(0, "connection.update-secret", new_secret="guest", reason="r"),
        method(2, "channel.close"), method(0, "connection.close", reply_code=200),
    ]


def damaged(frames, chance):
    """The frames as one piece of octets, hurt in one to four places."""
    frames = list(frames)
    for _ in range(chance.randint(1, 4)):
        at = chance.randrange(len(frames))
        kind = chance.randrange(7)
        frame = bytearray(frames[at])
        if kind == 0:
            frames.insert(chance.randrange(len(frames)), frames.pop(at))
        elif kind == 1:
            frames.insert(at, frames[at])
        elif kind == 2:
            del frames[at]
        elif kind == 3:         # one octet of a payload; the frame stays whole
            position = chance.randrange(7, len(frame)) if len(frame) > 8 else 0
            frame[position] = chance.choice([0, 1, 0x7F, 0x80, 0xFF, chance.randrange(256)])
            frames[at] = bytes(frame)
        elif kind == 4:         # another channel
            frame[1:3] = chance.choice([b"\0\0", b"\0\2", b"\0\7", b"\xff\xff"])
            frames[at] = bytes(frame)
        elif kind == 5:         # a payload cut or stretched, with a size that agrees
            payload = bytes(frame[7:-1])
            cut = payload[:chance.randrange(len(payload) + 1)]
            frames[at] = wire.encode_frame(frame[0], 1, cut + bytes(chance.choice([0, 0, 3])))
        else:                   # a size that does not agree
            frame[3:7] = chance.choice([b"\0\0\0\1", b"\0\0\1\0", b"\0\1\xff\xff"])
            frames[at] = bytes(frame)
        if not frames:
            return b""
    return b"".join(frames)


@pytest.fixture(scope="module")
def bystander(broker):
    channel = broker.open().channel()
    channel.own_queue = channel.temp_queue()
    yield channel
    channel.connection.close()


@pytest.mark.parametrize("seed", range(12))
def test_random_damage_is_survived(broker, bystander, seed):
    chance = random.Random(seed)
    for turn in range(SESSIONS_PER_SEED):
        conn = amqp.Connection(broker.amqp, source=f"127.0.20.{seed + 1}").open()
        try:
            conn.send_bytes(damaged(session_frames(amqp.unique("fuzz")), chance))
            conn.listen(0.002)     # what the broker sends must be well-formed, whatever came
        except (OSError, amqp.Closed):
            pass
        finally:
            conn.drop()
        bystander.publish("", bystander.own_queue, b"%d" % turn)
        assert bystander.get(bystander.own_queue).body == b"%d" % turn
    assert bystander.connection.is_alive()


# The handshake, too: damage to the octets of a login.
def test_random_damage_to_a_login_is_survived(broker, bystander):
    chance = random.Random(99)
    for turn in range(200):
        login = [wire.method_frame(0, "connection.start-ok", mechanism="PLAIN", locale="en_US",
                                   response=b"\0guest\0guest",
                                   client_properties={"capabilities": {"basic.nack": True}}),
                 wire.method_frame(0, "connection.tune-ok", channel_max=9, frame_max=8192),
                 wire.method_frame(0, "connection.open", virtual_host="/")]
        conn = amqp.Connection(broker.amqp, source=f"127.0.21.{turn + 1}")
        try:
            conn.send_bytes(wire.PROTOCOL_HEADER + damaged(login, chance))
            conn.listen(0.002)
        except (OSError, amqp.Closed, wire.Malformed):
            pass
        finally:
            conn.drop()
    bystander.publish("", bystander.own_queue, b"still here")
    assert bystander.get(bystander.own_queue).body == b"still here"
