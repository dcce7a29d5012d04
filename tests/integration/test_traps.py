# SPDX-License-Identifier: Apache-2.0
"""Mistakes that other brokers and clients have made, one test for each.

The traps that concern durable storage, dead-lettering and the HTTP API belong to those parts.
"""

import os

import pytest

from support import amqp, wire


# Trap 1.
def test_deliveries_before_consume_ok(ch):
    queue = ch.temp_queue()
    for _ in range(50):
        ch.publish("", queue, b"waiting")
    ch.ping()
    for _ in range(20):
        ch.send("basic.consume", queue=queue, consumer_tag="t")
        assert ch.next_method().name == "basic.consume-ok"
        ch.send("basic.cancel", consumer_tag="t")
        while ch.next_method().name != "basic.cancel-ok":
            pass
        ch.call("basic.recover", requeue=True)


# Trap 2.
def test_ack_before_return_of_the_same_publish(ch):
    ch.call("confirm.select")
    ch.publish("", "no-such-queue", os.urandom(300_000), mandatory=True)
    assert ch.next_method().name == "basic.return"
    assert ch.next_method().name == "basic.ack"


# Trap 4.
def test_counting_prefetch_for_no_ack_consumers_and_get(ch):
    queue = ch.temp_queue()
    ch.call("basic.qos", prefetch_count=1)
    ch.consume(queue, no_ack=True)
    for _ in range(5):
        ch.publish("", queue, b"x")
    assert len(ch.deliveries(5)) == 5


# Trap 5.
def test_qos_changing_existing_consumers(ch):
    queue = ch.temp_queue()
    ch.call("basic.qos", prefetch_count=1)
    ch.consume(queue)
    ch.call("basic.qos", prefetch_count=10)
    for _ in range(3):
        ch.publish("", queue, b"x")
    ch.delivery()
    ch.expect_nothing(queue)


# Trap 6: a soft error closes the channel, a reused consumer tag the connection.
def test_closing_the_wrong_thing(ch, conn, connect):
    ch.refused("queue.declare", 404, queue="gone", passive=True)
    assert conn.is_alive()
    queue = ch.temp_queue()
    ch.consume(queue, consumer_tag="t")
    ch.send("basic.consume", queue=queue, consumer_tag="t")
    conn.expect_close(530, "NOT_ALLOWED - attempt to reuse consumer tag 't'")


# Trap 7: the number is still in use until the client's close-ok; the open is a dropped frame.
@pytest.mark.differs("3.10 takes the open at once")
def test_a_new_open_on_a_number_whose_close_ok_is_due(ch):
    ch.send("queue.declare", queue="gone", passive=True)
    ch.expect("channel.close")
    ch.send("channel.open")
    ch.send("channel.close-ok")
    ch.call("channel.open")
    ch.expect_nothing()


# Trap 8.
def test_frames_of_a_closed_channel_as_errors(ch, conn):
    ch.send("queue.declare", queue="gone", passive=True)
    for _ in range(3):
        ch.publish("gone", "k", b"some body")
    ch.ack(5)
    ch.send("basic.get", queue="gone")
    ch.expect_close(404)
    assert conn.is_alive()


# Trap 9: the client here refuses a content that another method of its channel interrupts.
def test_interleaved_contents_on_one_channel(ch):
    queues = [ch.temp_queue() for _ in range(3)]
    for queue in queues:
        ch.consume(queue, no_ack=True)
    for _ in range(5):
        for queue in queues:
            ch.publish("", queue, b"x" * 200_000)
    assert all(len(delivery.body) == 200_000 for delivery in ch.deliveries(15))


# Trap 10: a frame is at most frame_max octets with its overhead.
def test_bodies_split_at_frame_max(connect):
    conn = connect(frame_max=8192)
    channel = conn.channel()
    queue = channel.temp_queue()
    channel.publish("", queue, b"x" * 20_000)
    channel.send("basic.get", queue=queue, no_ack=True)
    sizes = []
    while sum(sizes) < 20_000:
        kind, _channel, payload = conn.read_frame()
        if kind == wire.FRAME_BODY:
            sizes.append(len(payload))
    assert sizes == [8184, 8184, 20_000 - 2 * 8184]


def round_trip_headers(ch, headers):
    queue = ch.temp_queue()
    ch.publish("", queue, b"x", headers=headers)
    delivery = ch.get(queue)
    _size, properties = wire.decode_header(delivery.raw_header, typed=True)
    return properties["headers"]


# Trap 11: 's' is a 16-bit integer and 'l' is signed.
def test_the_letters_s_and_l(ch):
    headers = {"s": wire.Typed("s", -2), "l": wire.Typed("l", -(2**40)), "S": wire.Typed("S", "s")}
    assert round_trip_headers(ch, headers) == headers


# Trap 12.
def test_integer_widths_change_on_redelivery(ch):
    headers = {letter: wire.Typed(letter, 7) for letter in "bBsuIil"}
    queue = ch.temp_queue()
    ch.publish("", queue, b"x", headers=headers)
    first = ch.get(queue, no_ack=False)
    ch.nack(first.delivery_tag)
    again = ch.get(queue)
    assert again.raw_header == first.raw_header
    assert wire.decode_header(again.raw_header, typed=True)[1]["headers"] == headers


# Trap 13.
def test_arguments_compared_by_exact_letter(ch):
    queue = amqp.unique("q")
    ch.declare(queue, exclusive=True, arguments={"x-message-ttl": wire.Typed("I", 60000)})
    ch.declare(queue, exclusive=True, arguments={"x-message-ttl": wire.Typed("l", 60000)})


# Trap 14.
def test_exclusive_queues_deleted_after_close_ok(connect):
    queue = amqp.unique("mine")
    for _ in range(10):
        conn = connect()
        conn.channel().declare(queue, exclusive=True)
        conn.close()


# Trap 15.
def test_auto_delete_of_a_queue_that_never_had_a_consumer(ch, conn):
    queue = amqp.unique("q")
    other = conn.channel()
    other.declare(queue, auto_delete=True)
    other.get(queue)
    other.close()
    assert ch.counts(queue) == (0, 0)
    ch.call("queue.delete", queue=queue)


# Trap 20.
def test_bcc_left_in_the_delivered_headers(ch):
    queue, blind = ch.temp_queue(), ch.temp_queue()
    ch.publish("", queue, b"x", headers={"BCC": [blind]})
    for name in (queue, blind):
        assert "BCC" not in ch.get(name).properties.get("headers", {})


# Trap 21: octets of a body are signs of life, and a long body is no excuse not to beat.
@pytest.mark.slow
def test_heartbeats_while_a_large_body_is_on_its_way(connect):
    conn = connect(heartbeat=1)
    channel = conn.channel()
    queue = channel.temp_queue()
    pieces = 8
    channel.send("basic.publish", routing_key=queue)
    conn.send_frame(wire.FRAME_HEADER, 1, wire.encode_header(pieces * 10))
    for _ in range(pieces):
        conn.send_frame(wire.FRAME_BODY, 1, b"0123456789")
        conn.listen(0.5)
    assert conn.heartbeats_received >= 3
    assert channel.get(queue).body == b"0123456789" * pieces


# Trap 22.
@pytest.mark.slow
def test_heartbeats_required_of_a_client_that_negotiated_0(connect):
    silent, beating = connect(heartbeat=0), connect(heartbeat=1)
    beating.expect_eof()
    assert silent.is_alive() and silent.heartbeats_received == 0


# Trap 23 is with the memory mark, in test_memory_mark.py.

# Trap 24.
def test_declare_ok_counts_all_messages(ch):
    queue = ch.temp_queue()
    for _ in range(3):
        ch.publish("", queue, b"x")
    ch.get(queue, no_ack=False)
    ch.get(queue, no_ack=False)
    assert ch.counts(queue) == (1, 0)


# Trap 25.
@pytest.mark.differs("3.10 cuts inside a character")
@pytest.mark.parametrize("offset", range(4))
def test_reply_text_too_long_or_cut_inside_a_character(ch, offset):
    name = "a" * offset + "€" * 80
    text = ch.refused("queue.declare", 404, None, queue=name, passive=True).reply_text
    assert len(text.encode("utf-8")) <= 255


# Trap 26.
def test_unknown_arguments_rejected(ch):
    ch.declare("", exclusive=True, arguments={"x-from-the-future": {"a": [True, None, 1.5]}})
    ch.temp_exchange(arguments={"x-from-the-future": 1})
    ch.consume(ch.temp_queue(), arguments={"x-from-the-future": b"\0"})


# Trap 27.
def test_cancel_of_an_unknown_tag_left_unanswered(ch):
    ch.call("basic.cancel", consumer_tag="")
    ch.call("basic.cancel", consumer_tag="unheard of")


# Trap 28.
def test_a_clients_channel_close_while_the_servers_is_outstanding(ch, conn):
    ch.send("queue.declare", queue="gone", passive=True)
    ch.send("channel.close", reply_code=200)
    ch.expect("channel.close")
    ch.expect("channel.close-ok")
    ch.send("channel.close-ok")
    ch.call("channel.open")
    assert conn.is_alive()


# Trap 29: each announced capability is used once.
def test_capabilities_that_are_not_honoured(ch, conn):
    announced = conn.server_properties["capabilities"]
    source = ch.temp_exchange()
    queue = ch.temp_queue()
    ch.call("exchange.bind", destination="amq.fanout", source=source, routing_key="k")
    ch.publish("", queue, b"x")
    ch.nack(ch.get(queue, no_ack=False).delivery_tag, requeue=False)
    ch.consume("amq.rabbitmq.reply-to", no_ack=True)
    ch.consume(queue, arguments={"x-priority": 1}, consumer_tag="told")
    ch.send("queue.delete", queue=queue)
    assert {ch.next_method().name, ch.next_method().name} == {"queue.delete-ok", "basic.cancel"}
    ch.call("confirm.select")
    assert all(announced[name] for name in ("exchange_exchange_bindings", "basic.nack",
                                            "direct_reply_to", "consumer_priorities",
                                            "consumer_cancel_notify", "publisher_confirms"))
