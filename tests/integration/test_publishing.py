# SPDX-License-Identifier: Apache-2.0
"""Publishing: the order of checks, bodies, properties passed through, returns, confirms."""

import os

import pytest

from support import amqp, wire

# -- the order of checks: each publish breaks two rules, and the earlier one answers

MAX_SIZE = 16 * 1024 * 1024


def test_immediate_comes_before_everything(ch):
    ch.publish("gone", "k", b"x", immediate=True)
    ch.connection.expect_close(540)


@pytest.mark.differs("the size limit of 3.10 is 128 MiB and is looked at later")
def test_size_comes_before_existence(ch):
    ch.send("basic.publish", exchange="gone", routing_key="k")
    ch.connection.send_frame(wire.FRAME_HEADER, ch.number, wire.encode_header(MAX_SIZE + 1))
    ch.expect_close(406, f"PRECONDITION_FAILED - message size {MAX_SIZE + 1} is larger than "
                    f"configured max size {MAX_SIZE}")


def test_existence_comes_before_properties(ch):
    ch.publish("gone", "k", b"x", expiration="nonsense", user_id="root")
    ch.expect_close(404)


def test_internal_comes_before_expiration(ch):
    name = ch.temp_exchange(internal=True)
    ch.publish(name, "k", b"x", expiration="nonsense")
    ch.expect_close(403)


def test_the_reply_queue_comes_before_expiration(ch):
    ch.publish("amq.direct", "k", b"x", reply_to="amq.rabbitmq.reply-to", expiration="nonsense")
    ch.expect_close(406, "PRECONDITION_FAILED - fast reply consumer does not exist")


@pytest.mark.differs("3.10 looks at user-id first")
def test_expiration_comes_before_cc_and_user_id(ch):
    ch.publish("amq.direct", "k", b"x", expiration="nonsense", headers={"CC": 1}, user_id="root")
    assert "invalid expiration" in ch.expect_close(406).reply_text


@pytest.mark.differs("3.10 looks at user-id first")
def test_cc_comes_before_user_id(ch):
    ch.publish("amq.direct", "k", b"x", headers={"CC": 1}, user_id="root")
    assert "invalid message" in ch.expect_close(406).reply_text


# A failed check stores nothing, and the number of the publish is never confirmed.
def test_a_refused_publish_is_neither_stored_nor_confirmed(ch, conn):
    queue, other = ch.temp_queue(), conn.channel()
    ch.call("confirm.select")
    ch.publish("", queue, b"fine")
    ch.expect("basic.ack")
    ch.publish("", queue, b"not fine", expiration="x")
    ch.expect_close(406)
    assert other.drain(queue) == [b"fine"]


# -- bodies

@pytest.mark.parametrize("size", [0, 1, 2, 7, 4087, 4088, 4089, 131063, 131064, 131065, 262128,
                                  1_000_000])
def test_a_body_comes_back_as_it_was(ch, size):
    queue, body = ch.temp_queue(), os.urandom(size)
    ch.publish("", queue, body)
    assert ch.get(queue).body == body


# Trap 10: pieces are frame_max - 8; the client here checks every frame it receives.
@pytest.mark.parametrize("frame_max", [8192, 10000, 131072])
def test_bodies_are_cut_to_the_negotiated_frame_size(connect, frame_max):
    channel = connect(frame_max=frame_max).channel()
    queue, body = channel.temp_queue(), os.urandom(3 * frame_max)
    channel.publish("", queue, body)
    assert channel.get(queue).body == body


@pytest.mark.differs("the largest message of 3.10 is 128 MiB")
def test_the_largest_message_is_16_mib(ch):
    queue, body = ch.temp_queue(), b"m" * MAX_SIZE
    ch.publish("", queue, body)
    assert ch.get(queue).body == body


# The refusal comes at the header; the body frames that follow are dropped with the channel's.
@pytest.mark.differs("the largest message of 3.10 is 128 MiB")
def test_a_message_over_the_limit_is_refused_at_its_header(ch):
    queue = ch.temp_queue()
    ch.send("basic.publish", routing_key=queue)
    ch.connection.send_frame(wire.FRAME_HEADER, ch.number, wire.encode_header(MAX_SIZE + 1))
    ch.expect("channel.close")
    for _ in range(4):
        ch.connection.send_frame(wire.FRAME_BODY, ch.number, b"x" * 131064)
    ch.send("channel.close-ok")
    ch.call("channel.open")
    assert ch.counts(queue) == (0, 0)


def test_a_message_larger_than_a_frame_reaches_every_queue_it_is_routed_to(ch):
    exchange, body = ch.temp_exchange("fanout"), os.urandom(300_000)
    queues = [ch.temp_queue() for _ in range(3)]
    for queue in queues:
        ch.bind(queue, exchange)
    ch.publish(exchange, "", body)
    assert [ch.get(queue).body == body for queue in queues] == [True] * 3


# -- properties

EVERY_PROPERTY = {
    "content_type": "text/plain", "content_encoding": "utf-8", "delivery_mode": 2, "priority": 200,
    "correlation_id": "c" * 255, "reply_to": "nobody", "expiration": "60000", "message_id": "",
    "timestamp": 2**63, "type": "t", "user_id": "guest", "app_id": "a", "cluster_id": "old",
}


def test_every_property_comes_back(ch):
    queue = ch.temp_queue()
    ch.publish("", queue, b"x", **EVERY_PROPERTY)
    assert ch.get(queue).properties == EVERY_PROPERTY


def test_no_properties_stay_no_properties(ch):
    queue = ch.temp_queue()
    ch.publish("", queue, b"x")
    assert ch.get(queue).properties == {}


# Traps 11 and 12: a header keeps its type letter, whoever looks at it on the way.
EVERY_FIELD = {
    "t": wire.Typed("t", True), "b": wire.Typed("b", -128), "B": wire.Typed("B", 255),
    "s": wire.Typed("s", -32768), "u": wire.Typed("u", 65535), "I": wire.Typed("I", -2**31),
    "i": wire.Typed("i", 2**32 - 1), "l": wire.Typed("l", -2**63), "f": wire.Typed("f", 0.5),
    "d": wire.Typed("d", -0.1), "D": wire.Typed("D", (3, 314159)), "S": wire.Typed("S", "ü" * 300),
    "x": wire.Typed("x", bytes(range(256))), "T": wire.Typed("T", 2**40),
    "V": wire.Typed("V", None),
    "A": wire.Typed("A", [wire.Typed("s", 1), wire.Typed("A", []), wire.Typed("F", {})]),
    "F": wire.Typed("F", {"in": wire.Typed("F", {"deep": wire.Typed("u", 1)})}),
    "": wire.Typed("I", 0), "n" * 255: wire.Typed("V", None),
}


def test_headers_of_every_type_come_back_octet_for_octet(ch):
    queue = ch.temp_queue()
    header = wire.encode_header(1, {"headers": EVERY_FIELD})
    ch.connection.send_bytes(wire.method_frame(ch.number, "basic.publish", routing_key=queue)
                             + wire.encode_frame(wire.FRAME_HEADER, ch.number, header)
                             + wire.encode_frame(wire.FRAME_BODY, ch.number, b"x"))
    got = ch.get(queue)
    _size, properties = wire.decode_header(got.raw_header, typed=True)
    assert properties["headers"] == EVERY_FIELD
    assert list(properties["headers"]) == list(EVERY_FIELD)


@pytest.mark.differs("3.10 turns L into l")
def test_headers_are_kept_as_the_octets_received(ch):
    queue = ch.temp_queue()
    header = wire.encode_header(0, {"headers": {"L": wire.Typed("L", 5), "t": wire.Typed("t", 7)},
                                    "type": "x"})
    ch.connection.send_bytes(wire.method_frame(ch.number, "basic.publish", routing_key=queue)
                             + wire.encode_frame(wire.FRAME_HEADER, ch.number, header))
    assert ch.get(queue).raw_header == header


# BCC is taken out of the middle; everything around it keeps its octets.
def test_taking_bcc_out_leaves_the_other_headers_alone(ch):
    queue = ch.temp_queue()
    fields = dict(EVERY_FIELD)
    sent = {"first": wire.Typed("s", 1), "BCC": wire.Typed("A", [wire.Typed("S", "x")]), **fields}
    header = wire.encode_header(0, {"headers": sent, "priority": 1})
    ch.connection.send_bytes(wire.method_frame(ch.number, "basic.publish", routing_key=queue)
                             + wire.encode_frame(wire.FRAME_HEADER, ch.number, header))
    _size, properties = wire.decode_header(ch.get(queue).raw_header, typed=True)
    del sent["BCC"]
    assert properties["headers"] == sent and properties["priority"] == 1


@pytest.mark.parametrize("expiration", ["0", "1", "60000", "315360000000"])
def test_a_good_expiration_is_accepted(ch, expiration):
    ch.publish("amq.direct", "nowhere", b"x", expiration=expiration)
    ch.ping()


# -- unroutable

@pytest.mark.parametrize("exchange", ["", "amq.direct", "amq.topic", "amq.fanout", "amq.headers"])
def test_a_mandatory_message_without_a_queue_is_returned(ch, exchange):
    exchange = exchange and ch.temp_exchange(exchange.removeprefix("amq."))
    ch.publish(exchange, "no.where", b"come back", mandatory=True, headers={"h": 1}, type="t")
    back = ch.expect("basic.return")
    assert (back.reply_code, back.reply_text) == (312, "NO_ROUTE")
    assert (back.exchange, back.routing_key, back.body) == (exchange, "no.where", b"come back")
    assert back.properties == {"headers": {"h": 1}, "type": "t"}


def test_a_large_or_empty_mandatory_message_is_returned_whole(ch):
    for body in (b"", os.urandom(400_000)):
        ch.publish("", "no-such-queue", body, mandatory=True)
        assert ch.expect("basic.return").body == body


def test_without_mandatory_an_unroutable_message_is_dropped(ch):
    ch.publish("", "no-such-queue", b"x")
    ch.expect_nothing()


# -- confirms

def test_confirms_cover_every_publish_once(ch):
    queue = ch.temp_queue()
    ch.call("confirm.select")
    ch.call("confirm.select")
    for _ in range(500):
        ch.publish("", queue, b"x")
    open_numbers = set(range(1, 501))
    while open_numbers:
        ack = ch.expect("basic.ack")
        done = {number for number in open_numbers if number == ack.delivery_tag
                or ack.multiple and number < ack.delivery_tag}
        assert ack.delivery_tag in done, ack
        open_numbers -= done
    ch.expect_nothing(queue)


def test_numbers_start_with_the_first_publish_after_select(ch):
    queue = ch.temp_queue()
    ch.publish("", queue, b"before")
    ch.call("confirm.select")
    ch.publish("", queue, b"after")
    assert ch.expect("basic.ack").delivery_tag == 1


def test_select_with_nowait_is_not_answered(ch):
    ch.send("confirm.select", nowait=True)
    ch.publish("", "no-such-queue", b"x")
    assert ch.expect("basic.ack").delivery_tag == 1


# Trap 2: the return of a publish comes before its confirm.
def test_the_return_comes_before_the_confirm(ch):
    ch.call("confirm.select")
    for number in range(1, 21):
        ch.publish("", "no-such-queue", b"%d" % number, mandatory=True)
    unreturned = list(range(1, 21))
    confirmed = 0
    while confirmed < 20:
        method = ch.next_method()
        if method.name == "basic.return":
            assert int(method.body) == unreturned.pop(0)
            continue
        assert method.name == "basic.ack"
        confirmed = method.delivery_tag
        assert not unreturned or unreturned[0] > confirmed


def test_unroutable_messages_are_confirmed(ch):
    ch.call("confirm.select")
    ch.publish("amq.direct", "no-where", b"x")
    assert ch.expect("basic.ack").delivery_tag == 1


@pytest.mark.parametrize("mode", [1, 2])
def test_persistent_and_transient_messages_are_confirmed_in_durable_queues(ch, mode):
    queue = amqp.unique("q")
    ch.declare(queue, durable=True)
    ch.call("confirm.select")
    ch.publish("", queue, b"x", delivery_mode=mode)
    assert ch.expect("basic.ack").delivery_tag == 1
    ch.call("queue.delete", queue=queue)


def test_every_channel_counts_for_itself(conn):
    one, two = conn.channel(), conn.channel()
    for channel in (one, two):
        channel.call("confirm.select")
        channel.publish("", "no-such-queue", b"x")
        assert channel.expect("basic.ack").delivery_tag == 1
