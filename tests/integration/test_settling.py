# SPDX-License-Identifier: Apache-2.0
"""Acknowledging and returning: multiple, requeue to the original position, redelivered, recover."""

import pytest


def filled(ch, count=5):
    queue = ch.temp_queue()
    for number in range(1, count + 1):
        ch.publish("", queue, str(number))
    ch.ping()
    return queue


def take(ch, queue, count):
    return [ch.get(queue, no_ack=False).delivery_tag for _ in range(count)]


def left(ch, queue):
    return [int(body) for body in ch.drain(queue)]


def test_ack_settles_one(ch, conn):
    queue, consumer = filled(ch, 3), conn.channel()
    tags = take(consumer, queue, 3)
    consumer.ack(tags[1])
    consumer.close()
    assert left(ch, queue) == [1, 3]


def test_multiple_settles_everything_up_to_the_tag(ch, conn):
    queue, consumer = filled(ch), conn.channel()
    tags = take(consumer, queue, 5)
    consumer.ack(tags[3], multiple=True)
    consumer.close()
    assert left(ch, queue) == [5]


def test_tag_0_with_multiple_is_everything(ch, conn):
    queue, consumer = filled(ch), conn.channel()
    take(consumer, queue, 5)
    consumer.ack(0, multiple=True)
    consumer.close()
    assert left(ch, queue) == []


def test_tag_0_with_multiple_is_fine_when_nothing_is_open(ch):
    ch.ack(0, multiple=True)
    ch.nack(0, multiple=True)
    ch.ping()


# With multiple, too, the tag that is named must be open itself.
def test_a_settled_tag_is_unknown_with_multiple_as_well(ch, conn):
    queue, consumer = filled(ch, 3), conn.channel()
    tags = take(consumer, queue, 3)
    consumer.ack(tags[1])
    consumer.refused("basic.ack", 406, "PRECONDITION_FAILED - unknown delivery tag 2",
                     delivery_tag=tags[1], multiple=True)
    assert left(ch, queue) == [1, 3]


def test_a_tag_is_known_on_its_own_channel_only(ch, conn):
    queue, other = filled(ch, 1), conn.channel()
    take(ch, queue, 1)
    other.refused("basic.ack", 406, delivery_tag=1)


def test_no_ack_deliveries_have_nothing_to_settle(ch):
    queue = filled(ch, 1)
    tag = ch.get(queue).delivery_tag
    ch.refused("basic.ack", 406, f"PRECONDITION_FAILED - unknown delivery tag {tag}",
               delivery_tag=tag)


@pytest.mark.parametrize("name", ["basic.nack", "basic.reject"])
def test_without_requeue_a_message_is_gone(ch, name):
    queue = filled(ch, 2)
    ch.send(name, delivery_tag=take(ch, queue, 1)[0], requeue=False)
    assert left(ch, queue) == [2]


# Classic queues put a message back where it was, ahead of newer ones, whoever returns first.
@pytest.mark.parametrize("order", [[0, 1, 2], [2, 1, 0], [1, 2, 0]])
@pytest.mark.parametrize("name", ["basic.nack", "basic.reject"])
def test_requeued_messages_return_to_their_places(ch, name, order):
    queue = filled(ch)
    tags = take(ch, queue, 3)
    for index in order:
        ch.send(name, delivery_tag=tags[index], requeue=True)
    assert left(ch, queue) == [1, 2, 3, 4, 5]


def test_a_message_returned_late_still_goes_to_its_place(ch):
    queue = filled(ch)
    tags = take(ch, queue, 4)
    ch.nack(tags[3])
    ch.nack(tags[1])
    assert int(ch.get(queue, no_ack=False).body) == 2
    ch.nack(tags[0])
    assert left(ch, queue) == [1, 4, 5]


def test_a_multiple_nack_returns_all_in_order(ch):
    queue = filled(ch)
    tags = take(ch, queue, 4)
    ch.nack(tags[2], multiple=True)
    assert left(ch, queue) == [1, 2, 3, 5]


def test_a_lost_channel_returns_everything_in_order(ch, conn):
    queue, consumer = filled(ch), conn.channel()
    take(consumer, queue, 3)
    consumer.close()
    assert left(ch, queue) == [1, 2, 3, 4, 5]


def test_a_channel_error_returns_everything_in_order(ch, conn):
    queue, consumer = filled(ch), conn.channel()
    take(consumer, queue, 3)
    consumer.refused("basic.ack", 406, delivery_tag=99)
    assert left(ch, queue) == [1, 2, 3, 4, 5]


def test_a_lost_connection_returns_everything_in_order(ch, connect):
    queue = "settling-lost"
    ch.declare(queue)
    for number in range(1, 6):
        ch.publish("", queue, str(number))
    ch.ping()
    lost = connect()
    take(lost.channel(), queue, 3)
    ch.consume(queue)
    assert [int(d.body) for d in ch.deliveries(2)] == [4, 5]
    lost.drop()
    returned = ch.deliveries(3)
    assert [(int(d.body), d.redelivered) for d in returned] == [(1, True), (2, True), (3, True)]
    ch.delete(queue)


def test_redelivered_tells_that_a_message_came_back(ch):
    queue = filled(ch, 2)
    first = ch.get(queue, no_ack=False)
    assert first.redelivered is False
    ch.nack(first.delivery_tag)
    assert ch.get(queue).redelivered is True
    assert ch.get(queue).redelivered is False


# With one consumer a requeue is an immediate redelivery.
def test_a_requeued_message_comes_again_to_the_only_consumer(ch):
    queue = filled(ch, 1)
    ch.consume(queue)
    for expected in (False, True, True):
        delivery = ch.delivery()
        assert (delivery.body, delivery.redelivered) == (b"1", expected)
        ch.nack(delivery.delivery_tag)
    ch.ack(ch.delivery().delivery_tag)


def test_recover_requeues_all_open_deliveries_then_answers(ch):
    queue = filled(ch, 3)
    take(ch, queue, 2)
    ch.call("basic.recover", requeue=True)
    assert [(ch.get(queue).redelivered) for _ in range(3)] == [True, True, False]
    ch.refused("basic.ack", 406, delivery_tag=1)


def test_recover_async_is_not_answered(ch):
    queue = filled(ch, 2)
    take(ch, queue, 2)
    ch.send("basic.recover-async", requeue=True)
    assert left(ch, queue) == [1, 2]


# One channel, one exchange, one queue, one consumer: in order, however large the run.
def test_messages_stay_in_order(ch):
    queue = ch.temp_queue()
    ch.call("basic.qos", prefetch_count=20)
    ch.consume(queue)
    expected = 1
    for batch in range(20):
        for number in range(batch * 50 + 1, batch * 50 + 51):
            ch.publish("", queue, str(number))
        for _ in range(50):
            delivery = ch.delivery()
            assert int(delivery.body) == expected
            expected += 1
            ch.ack(delivery.delivery_tag)
