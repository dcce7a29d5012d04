# SPDX-License-Identifier: Apache-2.0
"""Messages by priority: docs/priorities.md, over real sockets."""

import os
import re

import pytest

from support import amqp, broker as brokers


USER = '''
users:
  u: {auth: password, password-file: u.pw, rights: {configure: ".*", write: ".*", read: ".*"}}
listeners:
  amqp: {bind: "127.0.0.1:0"}
'''


def read_example():
    with open(os.path.join(brokers.REPOSITORY, "docs", "priorities.md")) as file:
        return re.search(r"```yaml\n(.*?)```", file.read(), re.DOTALL).group(1)


def publish_all(channel, queue, *messages, **properties):
    """Publishes (priority, body) pairs; priority None: the property is absent."""
    for priority, body in messages:
        given = {} if priority is None else {"priority": priority}
        channel.publish("", queue, body, **given, **properties)


# What the document shows does what the document says.
@pytest.mark.bourse_only
def test_the_example_of_the_document(serve, canaries):
    broker = serve(read_example() + USER, ["u"])
    channel = broker.open(user="u", password=canaries["u"]).channel()
    publish_all(channel, "mail", (None, b"none"), (9, b"9"), (7, b"7"), (8, b"8"), (200, b"200"))
    assert channel.drain("mail") == [b"9", b"200", b"8", b"7", b"none"]
    publish_all(channel, "jobs", (None, b"none"), (5, b"5"), (3, b"3"), (31, b"31"), (40, b"40"))
    assert channel.drain("jobs") == [b"31", b"40", b"5", b"none", b"3"]
    assert not [line for line in broker.log.lines if "priorities" in line and "no effect" in line]


@pytest.mark.parametrize("max_priority, levels", [(0, 1), (1, 1), (5, 5), (255, 255)])
def test_the_highest_level_comes_first(ch, max_priority, levels):
    queue = ch.temp_queue(arguments={"x-max-priority": max_priority})
    publish_all(ch, queue, (0, b"low1"), (None, b"low2"), (levels, b"high1"), (255, b"high2"),
                (0, b"low3"))
    assert ch.drain(queue) == [b"high1", b"high2", b"low1", b"low2", b"low3"]


# A queue that was not declared for it does not look at the property.
def test_a_queue_without_levels_keeps_the_order_of_publishing(ch):
    queue = ch.temp_queue()
    publish_all(ch, queue, (0, b"1"), (9, b"2"), (5, b"3"))
    assert ch.drain(queue) == [b"1", b"2", b"3"]


# What a consumer holds is out of reach.
def test_an_urgent_message_overtakes_what_was_not_handed_out(ch, conn):
    queue = ch.temp_queue(arguments={"x-max-priority": 5})
    publish_all(ch, queue, *[(1, b"%d" % number) for number in range(4)])
    reader = conn.channel()
    reader.call("basic.qos", prefetch_count=2)
    reader.consume(queue)
    first = reader.deliveries(2)
    assert [method.body for method in first] == [b"0", b"1"]
    publish_all(ch, queue, (5, b"urgent"))
    ch.ping()
    reader.ack(first[0].delivery_tag)
    assert reader.delivery().body == b"urgent"
    reader.ack(first[1].delivery_tag)
    assert reader.delivery().body == b"2"


def test_a_requeued_message_takes_its_place_in_its_level(ch):
    queue = ch.temp_queue(arguments={"x-max-priority": 5})
    publish_all(ch, queue, (1, b"low1"), (1, b"low2"))
    tag = ch.get(queue, no_ack=False).delivery_tag
    publish_all(ch, queue, (5, b"high"))
    ch.nack(tag)
    assert ch.drain(queue) == [b"high", b"low1", b"low2"]


# Each level has deadlines of its own, and none hides behind another.
def test_messages_die_on_time_in_levels_that_are_not_served(ch):
    queue = ch.temp_queue(arguments={"x-max-priority": 5})
    publish_all(ch, queue, (5, b"stays"))
    for priority in range(5):
        publish_all(ch, queue, (priority, b"%d" % priority), expiration=str(100 + 20 * priority))
    ch.ping()
    ch.wait_for_counts(queue, 1, 0)
    assert ch.drain(queue) == [b"stays"]


def test_a_dead_letter_stands_where_its_priority_says(ch):
    dead = ch.temp_queue(arguments={"x-max-priority": 5})
    queue = ch.temp_queue(arguments={"x-dead-letter-exchange": "",
                                     "x-dead-letter-routing-key": dead})
    publish_all(ch, queue, (1, b"low"), (4, b"high"), (None, b"none"))
    for _ in range(3):
        ch.reject(ch.get(queue, no_ack=False).delivery_tag, requeue=False)
    ch.wait_for_counts(dead, 3, 0)
    assert ch.drain(dead) == [b"high", b"low", b"none"]


# RabbitMQ: no policy sets it, and nobody changes it.
def test_another_number_of_levels_is_another_queue(ch, conn):
    queue = ch.declare(amqp.unique("q"), exclusive=True, arguments={"x-max-priority": 5}).queue
    conn.channel().refused("queue.declare", 406, queue=queue, exclusive=True,
                           arguments={"x-max-priority": 6})
    conn.channel().refused("queue.declare", 406, queue=amqp.unique("q"), durable=True,
                           arguments={"x-max-priority": 5, "x-queue-type": "quorum"})


@pytest.mark.bourse_only
@pytest.mark.parametrize("how", ["stop", "kill"])
def test_levels_survive_a_restart(tmp_path, how):
    running = brokers.Bourse(None, data_dir=tmp_path / "data")
    try:
        channel = running.open().channel()
        channel.declare("q", durable=True, arguments={"x-max-priority": 9})
        channel.declare("jobs", durable=True, arguments={"x-queue-type": "quorum"})
        channel.call("confirm.select")
        messages = [(None, b"none"), (3, b"3"), (9, b"9"), (0, b"0"), (3, b"3 again"), (5, b"5")]
        for queue in ("q", "jobs"):
            for message in messages:
                publish_all(channel, queue, message, delivery_mode=2)
                channel.expect("basic.ack")
        for connection in running.connections:
            connection.drop()
        running.stop() if how == "stop" else running.kill()
        running = brokers.Bourse(None, data_dir=tmp_path / "data")
        channel = running.open().channel()
        assert channel.drain("q") == [b"9", b"5", b"3", b"3 again", b"none", b"0"]
        assert channel.drain("jobs") == [b"9", b"5", b"none", b"3", b"3 again", b"0"]
    finally:
        for connection in running.connections:
            connection.drop()
        running.stop()


@pytest.fixture
def broker_url(broker):
    host, port = broker.amqp
    return f"amqp://guest:guest@{host}:{port}/%2F"


# Clients that applications use: the property as pika and kombu write it.
def test_pika_publishes_with_priorities(ch, broker_url):
    pika = pytest.importorskip("pika")
    queue = ch.declare(amqp.unique("pika"), arguments={"x-max-priority": 9}).queue
    connection = pika.BlockingConnection(pika.URLParameters(broker_url))
    channel = connection.channel()
    for priority in (1, 9, 5):
        channel.basic_publish("", queue, str(priority), pika.BasicProperties(priority=priority))
    bodies = [channel.basic_get(queue, auto_ack=True)[2] for _ in range(3)]
    connection.close()
    ch.delete(queue)
    assert bodies == [b"9", b"5", b"1"]


def test_kombu_publishes_with_priorities(ch, broker_url):
    kombu = pytest.importorskip("kombu")
    name = amqp.unique("kombu")
    with kombu.Connection(broker_url) as connection:
        queue = kombu.Queue(name, kombu.Exchange(""), name, durable=False, auto_delete=True,
                            max_priority=9)
        bound = queue(connection.channel())
        bound.declare()
        producer = connection.Producer()
        for priority in (1, 9, 5):
            producer.publish(str(priority), routing_key=name, priority=priority)
        bodies = [bound.get(no_ack=True).body for _ in range(3)]
        bound.delete()
    assert bodies == ["9", "5", "1"]
