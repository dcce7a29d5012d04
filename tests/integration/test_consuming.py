# SPDX-License-Identifier: Apache-2.0
"""Consumers: deliveries, prefetch in both meanings, who gets the next message, cancel."""

import re
import time

import pytest

from support import amqp, documents, wire


def fill(ch, queue, count, start=1):
    for number in range(start, start + count):
        ch.publish("", queue, str(number))


def bodies(channel, count):
    return [int(delivery.body) for delivery in channel.deliveries(count)]


# -- consume and deliver

def test_the_server_makes_a_tag_when_none_is_given(ch):
    tag = ch.consume(ch.temp_queue())
    assert re.fullmatch(r"amq\.ctag-[A-Za-z0-9_-]+", tag)


def test_deliveries_carry_tag_number_exchange_and_key(ch):
    exchange, queue = ch.temp_exchange("topic"), ch.temp_queue()
    ch.bind(queue, exchange, "#")
    ch.consume(queue, consumer_tag="me")
    for number, key in enumerate(["a", "b.c", ""], start=1):
        ch.publish(exchange, key, key)
        got = ch.delivery()
        assert (got.consumer_tag, got.delivery_tag, got.redelivered) == ("me", number, False)
        assert (got.exchange, got.routing_key, got.body) == (exchange, key, key.encode())


# One count per channel over all consumers and gets.
def test_delivery_tags_count_per_channel(ch, conn):
    queue, other = ch.temp_queue(), conn.channel()
    fill(ch, queue, 2)
    assert ch.get(queue, no_ack=False).delivery_tag == 1
    assert ch.get(queue, no_ack=True).delivery_tag == 2
    ch.consume(queue)
    fill(ch, queue, 1)
    assert ch.delivery().delivery_tag == 3
    ch.call("basic.cancel", consumer_tag="nobody")
    other.publish("", queue, b"x")
    assert ch.delivery().delivery_tag == 4


def test_messages_that_waited_are_delivered_in_order_after_consume_ok(ch):
    queue = ch.temp_queue()
    fill(ch, queue, 300)
    ch.consume(queue, no_ack=True)
    assert bodies(ch, 300) == list(range(1, 301))


def test_the_same_tag_may_live_on_two_channels(ch, conn):
    queue = ch.temp_queue()
    ch.consume(queue, consumer_tag="t")
    conn.channel().consume(queue, consumer_tag="t")


def test_a_cancelled_tag_can_be_used_again(ch):
    queue = ch.temp_queue()
    ch.consume(queue, consumer_tag="t")
    ch.call("basic.cancel", consumer_tag="t")
    assert ch.consume(queue, consumer_tag="t") == "t"


def test_consume_with_nowait_is_not_answered(ch):
    queue = ch.temp_queue()
    ch.send("basic.consume", queue=queue, consumer_tag="t", nowait=True, no_ack=True)
    ch.publish("", queue, b"x")
    assert ch.delivery().consumer_tag == "t"


# no-local is ignored, as in RabbitMQ.
def test_no_local_is_ignored(ch):
    queue = ch.temp_queue()
    ch.consume(queue, no_local=True)
    ch.publish("", queue, b"own")
    assert ch.delivery().body == b"own"


# -- get

def test_get_tells_how_many_are_left(ch):
    queue = ch.temp_queue()
    fill(ch, queue, 3)
    assert [ch.get(queue).message_count for _ in range(3)] == [2, 1, 0]
    assert ch.get(queue) is None


# -- prefetch

def test_without_prefetch_everything_is_delivered(ch):
    queue = ch.temp_queue()
    fill(ch, queue, 500)
    ch.consume(queue)
    assert bodies(ch, 500) == list(range(1, 501))


def test_prefetch_limits_what_is_unacknowledged(ch, conn):
    queue, publisher = ch.temp_queue(), conn.channel()
    fill(publisher, queue, 10)
    ch.call("basic.qos", prefetch_count=3)
    ch.consume(queue)
    assert bodies(ch, 3) == [1, 2, 3]
    ch.expect_nothing(queue)
    ch.ack(1)
    assert bodies(ch, 1) == [4]
    ch.ack(3, multiple=True)
    assert bodies(ch, 2) == [5, 6]
    ch.expect_nothing(queue)


# global=false: a limit for each consumer started later; trap 5: existing ones keep theirs.
def test_qos_per_consumer_holds_for_later_consumers_only(ch):
    first, second, third = (ch.temp_queue() for _ in range(3))
    for queue in (first, second, third):
        fill(ch, queue, 5)
    ch.call("basic.qos", prefetch_count=2)
    ch.consume(first, consumer_tag="two")
    assert [ch.delivery().consumer_tag for _ in range(2)] == ["two"] * 2
    ch.call("basic.qos", prefetch_count=1)
    ch.consume(second, consumer_tag="one")
    assert ch.delivery().consumer_tag == "one"
    ch.call("basic.qos", prefetch_count=0)
    ch.consume(third, consumer_tag="all")
    assert [ch.delivery().consumer_tag for _ in range(5)] == ["all"] * 5
    ch.expect_nothing(first)
    ch.ack(1)
    assert ch.delivery().consumer_tag == "two"
    ch.expect_nothing(second)


# global=true: one limit for all consumers of the channel, at once.
def test_qos_per_channel_is_shared_and_effective_at_once(ch):
    first, second = ch.temp_queue(), ch.temp_queue()
    ch.call("basic.qos", prefetch_count=3, global_=True)
    ch.consume(first, consumer_tag="a")
    ch.consume(second, consumer_tag="b")
    for _ in range(3):
        ch.publish("", first, b"x")
        ch.publish("", second, b"x")
    assert {ch.delivery().consumer_tag for _ in range(3)} <= {"a", "b"}
    ch.expect_nothing(first)
    ch.expect_nothing(second)
    ch.call("basic.qos", prefetch_count=5, global_=True)
    ch.deliveries(2)
    ch.expect_nothing(first)
    ch.ack(2, multiple=True)
    ch.delivery()


# The Java client's test of fairness: every queue has its turn at the only place there is.
def test_the_limit_of_a_channel_is_shared_fairly_by_its_queues(ch):
    queues = [ch.temp_queue() for _ in range(3)]
    for queue in queues:
        fill(ch, queue, 20)
    ch.call("basic.qos", prefetch_count=1, global_=True)
    for queue in queues:
        ch.send("basic.consume", queue=queue, consumer_tag=queue, nowait=True)
    served = set()
    for _ in range(19):
        got = ch.delivery()
        served.add(got.consumer_tag)
        ch.ack(got.delivery_tag)
    assert served == set(queues)


# A consumer that waits has precedence over a get, even one that comes with the publish.
def test_get_takes_nothing_that_a_consumer_waits_for(ch):
    queue = ch.temp_queue()
    ch.consume(queue, no_ack=True)
    ch.connection.send_bytes(
        wire.method_frame(ch.number, "basic.publish", exchange="", routing_key=queue) +
        wire.encode_frame(wire.FRAME_HEADER, ch.number, wire.encode_header(1)) +
        wire.encode_frame(wire.FRAME_BODY, ch.number, b"x") +
        wire.method_frame(ch.number, "basic.get", queue=queue, no_ack=True))
    assert {ch.expect("basic.deliver", "basic.get-empty").name for _ in range(2)} == \
        {"basic.deliver", "basic.get-empty"}


def test_both_limits_apply_together(ch):
    queue = ch.temp_queue()
    fill(ch, queue, 10)
    ch.call("basic.qos", prefetch_count=2)
    ch.call("basic.qos", prefetch_count=3, global_=True)
    ch.consume(queue)
    assert bodies(ch, 2) == [1, 2]
    ch.expect_nothing(queue)
    ch.consume(queue)
    assert bodies(ch, 1) == [3]
    ch.expect_nothing(queue)


# Trap 4: neither no-ack consumers nor basic.get count against the limit.
def test_prefetch_is_not_for_no_ack_consumers_or_get(ch):
    queue = ch.temp_queue()
    ch.call("basic.qos", prefetch_count=1)
    fill(ch, queue, 3)
    for _ in range(3):
        assert ch.get(queue, no_ack=False)
    ch.consume(queue, no_ack=True)
    fill(ch, queue, 5)
    assert bodies(ch, 5) == [1, 2, 3, 4, 5]


def test_a_nack_frees_prefetch_room_too(ch):
    queue = ch.temp_queue()
    fill(ch, queue, 3)
    ch.call("basic.qos", prefetch_count=1)
    ch.consume(queue)
    assert bodies(ch, 1) == [1]
    ch.nack(1, requeue=False)
    assert bodies(ch, 1) == [2]
    ch.reject(2, requeue=False)
    assert bodies(ch, 1) == [3]


# -- who is next

def test_messages_go_round_among_equal_consumers(ch, conn):
    queue, others = ch.temp_queue(), [conn.channel() for _ in range(3)]
    for other in others:
        other.consume(queue, no_ack=True)
    fill(ch, queue, 30)
    shares = [bodies(other, 10) for other in others]
    assert sorted(sum(shares, [])) == list(range(1, 31))
    assert all(share == list(range(share[0], 31, 3)) for share in shares), shares


def test_a_full_consumer_is_passed_over(ch, conn):
    queue, slow, fast = ch.temp_queue(), conn.channel(), conn.channel()
    slow.call("basic.qos", prefetch_count=1)
    slow.consume(queue)
    fast.consume(queue, no_ack=True)
    fill(ch, queue, 20)
    held = bodies(slow, 1)
    assert sorted(held + bodies(fast, 19)) == list(range(1, 21))
    slow.expect_nothing(queue)


def test_the_highest_priority_is_served_first_until_it_is_full(ch, conn):
    queue, low, high = ch.temp_queue(), conn.channel(), conn.channel()
    low.consume(queue, arguments={"x-priority": -5}, no_ack=True)
    high.call("basic.qos", prefetch_count=2)
    high.consume(queue, arguments={"x-priority": 10})
    fill(ch, queue, 5)
    assert bodies(high, 2) == [1, 2]
    assert bodies(low, 3) == [3, 4, 5]
    high.ack(2, multiple=True)
    high.expect_nothing(queue)
    fill(ch, queue, 1, start=6)
    assert bodies(high, 1) == [6]


def test_after_an_exclusive_consumer_is_cancelled_others_may_come(ch, conn):
    queue, other = ch.temp_queue(), conn.channel()
    tag = ch.consume(queue, exclusive=True)
    other.refused("basic.consume", 403, queue=queue)
    ch.call("basic.cancel", consumer_tag=tag)
    other.consume(queue)


# -- single active consumer

SAC = {"x-single-active-consumer": True}


def test_only_the_first_consumer_of_a_single_active_queue_receives(ch, conn):
    queue, waiting = ch.temp_queue(arguments=SAC), conn.channel()
    tag = ch.consume(queue, no_ack=True)
    waiting.consume(queue, no_ack=True)
    fill(ch, queue, 3)
    assert bodies(ch, 3) == [1, 2, 3]
    waiting.expect_nothing(queue)
    ch.call("basic.cancel", consumer_tag=tag)
    fill(ch, queue, 2, start=4)
    assert bodies(waiting, 2) == [4, 5]


# What the failed one held returns first, in its order.
def test_the_next_consumer_takes_over_with_what_the_first_left(ch, conn):
    queue = ch.temp_queue(arguments=SAC)
    first, second, third = (conn.channel() for _ in range(3))
    for channel in (first, second, third):
        channel.call("basic.qos", prefetch_count=2)
        channel.consume(queue)
    fill(ch, queue, 4)
    assert bodies(first, 2) == [1, 2]
    first.close()
    got = second.deliveries(2)
    assert [(int(d.body), d.redelivered) for d in got] == [(1, True), (2, True)]
    third.expect_nothing(queue)
    second.ack(2, multiple=True)
    assert bodies(second, 2) == [3, 4]


def test_an_exclusive_consumer_is_refused_on_a_single_active_queue(ch):
    queue = ch.temp_queue(arguments=SAC)
    ch.refused("basic.consume", 403, queue=queue, exclusive=True)


# docs/consumers.md: the queue of type quorum and the classic one.
@pytest.mark.bourse_only
def test_the_example_of_the_page_about_consumers(serve, canaries):
    ch = documents.serve_example(serve, canaries, "consumers.md")
    second = ch.connection.channel()
    ch.consume("ledger", consumer_tag="first")
    second.consume("ledger", arguments={"x-priority": 1})
    fill(ch, "ledger", 1)
    assert second.delivery().body == b"1"
    ch.refused("basic.get", 405, queue="ledger")
    ch.refused("queue.declare", 406, queue="other", durable=True,
               arguments={"x-queue-type": "quorum", "x-max-priority": 5})
    fill(ch, "mail", 2)
    taken = [ch.get("mail", no_ack=False) for _ in range(2)]
    for got in reversed(taken):
        ch.send("basic.nack", delivery_tag=got.delivery_tag, requeue=True)
    assert ch.drain("mail") == [b"1", b"2"]


# -- cancel

# Trap 27.
def test_cancelling_an_unknown_tag_is_answered(ch):
    assert ch.call("basic.cancel", consumer_tag="never-was").consumer_tag == "never-was"


def test_no_delivery_follows_cancel_ok(ch, conn):
    queue, publisher = ch.temp_queue(), conn.channel()
    ch.consume(queue, consumer_tag="t", no_ack=True)
    fill(publisher, queue, 50)
    ch.send("basic.cancel", consumer_tag="t")
    received = 0
    while ch.next_method().name != "basic.cancel-ok":
        received += 1
    ch.expect_nothing(queue)
    assert received + ch.counts(queue)[0] == 50


def test_open_deliveries_of_a_cancelled_consumer_can_still_be_settled(ch):
    queue = ch.temp_queue()
    fill(ch, queue, 2)
    tag = ch.consume(queue)
    ch.deliveries(2)
    ch.call("basic.cancel", consumer_tag=tag)
    assert ch.counts(queue) == (0, 0)
    ch.ack(1)
    ch.nack(2)
    ch.consume(queue)
    assert bodies(ch, 1) == [2]
    ch.expect_nothing(queue)


def test_cancel_with_nowait_is_not_answered(ch):
    queue = ch.temp_queue()
    ch.consume(queue, consumer_tag="t")
    ch.send("basic.cancel", consumer_tag="t", nowait=True)
    assert ch.counts(queue) == (0, 0)


# Only to clients that say they understand it.
@pytest.mark.parametrize("understood", [True, False])
def test_a_consumer_is_told_when_its_queue_is_deleted(connect, ch, understood):
    queue = amqp.unique("q")
    ch.declare(queue)
    channel = connect(capabilities={"consumer_cancel_notify": understood}).channel()
    channel.consume(queue, consumer_tag="told")
    ch.call("queue.delete", queue=queue)
    if understood:
        cancel = channel.expect("basic.cancel")
        assert (cancel.consumer_tag, cancel.nowait) == ("told", True)
    channel.expect_nothing()
    # The tag is free again.
    channel.consume(channel.temp_queue(), consumer_tag="told")


# The broker's cancel asks for no answer, but clients that send one mean no harm.
@pytest.mark.differs("503 in 3.10")
def test_a_cancel_ok_from_the_client_is_ignored(ch):
    queue = ch.temp_queue()
    ch.consume(queue, consumer_tag="t")
    ch.send("queue.delete", queue=queue)
    assert {ch.next_method().name, ch.next_method().name} == {"queue.delete-ok", "basic.cancel"}
    ch.send("basic.cancel-ok", consumer_tag="t")
    ch.ping()


# -- a consumer that stops reading

# F10, T11: its window fills, and then it is skipped; the others go on at full speed.
@pytest.mark.bourse_only
def test_a_consumer_that_stops_reading_slows_nobody(connect, ch):
    queue = amqp.unique("q")
    ch.declare(queue)
    stuck, healthy = connect().channel(), connect().channel()
    stuck.consume(queue, no_ack=True)
    healthy.consume(queue, no_ack=True)
    body = b"x" * 65536
    for _ in range(800):
        ch.publish("", queue, body)
    seen = 0
    # The stuck one takes what fits its window and the socket buffers (a few MiB), no more.
    while seen < 600:
        healthy.delivery()
        seen += 1
    ch.delete(queue)


# Its share comes back when it goes away: nothing is lost that was not written.
@pytest.mark.bourse_only
def test_what_a_stuck_consumer_holds_returns_when_it_is_lost(connect, ch):
    queue = amqp.unique("q")
    ch.declare(queue)
    stuck = connect()
    stuck.channel().consume(queue)
    for number in range(200):
        ch.publish("", queue, str(number).encode() + b"." * 65536)
    ch.ping()
    stuck.drop()
    ch.wait_for_counts(queue, 200, 0)
    ch.consume(queue)
    got = [int(ch.delivery().body.partition(b".")[0]) for _ in range(200)]
    assert got == list(range(200))
    ch.delete(queue)


# -- acknowledgement timeout

# docs/ack-timeout.md: the message alone goes back; the consumer ends; a late ack is no error.
@pytest.mark.bourse_only
def test_a_message_nobody_settles_in_time_goes_to_another_consumer(ch, conn):
    queue, other = ch.temp_queue(arguments={"x-consumer-timeout": 50}), conn.channel()
    tag = ch.consume(queue)
    fill(ch, queue, 1)
    got = ch.delivery()
    assert ch.expect("basic.cancel").consumer_tag == tag
    other.consume(queue, no_ack=True)
    again = other.delivery()
    assert (again.body, again.redelivered) == (b"1", True)
    ch.send("basic.ack", delivery_tag=got.delivery_tag)
    assert ch.counts(queue) == (0, 1)


@pytest.mark.bourse_only
def test_the_example_of_the_page_about_acknowledgement_timeouts(serve, canaries):
    ch = documents.serve_example(serve, canaries, "ack-timeout.md")
    tag = ch.consume("billing")
    fill(ch, "billing", 1)
    begun = time.monotonic()
    ch.delivery()
    assert ch.expect("basic.cancel").consumer_tag == tag
    assert time.monotonic() - begun >= 0.3
    assert ch.wait_for("billing").redelivered


@pytest.mark.bourse_only
def test_a_message_that_was_fetched_and_not_settled_closes_its_channel(ch, conn):
    queue, other = ch.temp_queue(arguments={"x-consumer-timeout": 50}), conn.channel()
    fill(ch, queue, 1)
    other.get(queue, no_ack=False)
    close = other.expect_close(406)
    assert close.reply_text.startswith("PRECONDITION_FAILED - delivery acknowledgement on channel")
    assert ch.get(queue, no_ack=True).redelivered
