# SPDX-License-Identifier: Apache-2.0
"""Messages and queues that expire: docs/ttl.md, over real sockets and by the real clock."""

import os
import re
import time

import pytest

from support import amqp, broker as brokers


USER = '''
users:
  u: {auth: password, password-file: u.pw, rights: {configure: ".*", write: ".*", read: ".*"}}
listeners:
  amqp: {bind: "127.0.0.1:0"}
'''


# Binding it asks whether it is there, and does not use it.
def wait_until_gone(channel, queue, timeout_s=5):
    deadline = time.monotonic() + timeout_s
    while True:
        try:
            channel.refused("queue.bind", 404, queue=queue, exchange="amq.direct")
            return
        except AssertionError:
            assert time.monotonic() < deadline, f"{queue} is still there"
            time.sleep(0.02)


def read_example():
    with open(os.path.join(brokers.REPOSITORY, "docs", "ttl.md")) as file:
        return re.search(r"```yaml\n(.*?)```", file.read(), re.DOTALL).group(1)


# What the document shows does what the document says.
@pytest.mark.bourse_only
def test_the_example_of_the_document(serve, canaries):
    broker = serve(read_example() + USER, ["u"])
    channel = broker.open(user="u", password=canaries["u"]).channel()
    channel.publish("prices", "", b"17")
    assert channel.get("ticker").body == b"17"
    channel.publish("prices", "", b"18")
    channel.publish("", "draft", b"x")
    channel.ping()
    channel.wait_for_counts("ticker", 0, 0)
    wait_until_gone(channel, "draft")


# A queue's time, with nobody there.
@pytest.mark.parametrize("count", [1, 1000])
def test_messages_die_without_a_consumer(ch, count):
    queue = ch.temp_queue(arguments={"x-message-ttl": 200})
    for number in range(count):
        ch.publish("", queue, str(number))
    ch.ping()
    ch.wait_for_counts(queue, 0, 0)


# The property counts where it is the shorter one.
def test_the_shorter_time_counts(ch):
    queue = ch.temp_queue(arguments={"x-message-ttl": 60000})
    ch.publish("", queue, b"short", expiration="100")
    ch.publish("", queue, b"long", expiration="120000")
    ch.ping()
    ch.wait_for_counts(queue, 1, 0)
    assert ch.get(queue).body == b"long"


# RabbitMQ lets it wait for its turn.
@pytest.mark.bourse_only
def test_a_message_dies_behind_one_that_stays(ch):
    queue = ch.temp_queue()
    ch.publish("", queue, b"first")
    for _ in range(500):
        ch.publish("", queue, b"short", expiration="50")
    ch.publish("", queue, b"last", expiration="60000")
    ch.ping()
    ch.wait_for_counts(queue, 2, 0)
    assert ch.drain(queue) == [b"first", b"last"]


def test_no_time_at_all_is_enough_for_a_consumer_that_waits(ch, conn):
    queue = ch.temp_queue(arguments={"x-message-ttl": 0})
    ch.publish("", queue, b"nobody")
    ch.wait_for_counts(queue, 0, 0)
    other = conn.channel()
    other.consume(queue, no_ack=True)
    ch.publish("", queue, b"somebody")
    assert other.delivery().body == b"somebody"


def test_an_open_delivery_does_not_expire_until_it_comes_back(ch):
    queue = ch.temp_queue(arguments={"x-message-ttl": 100})
    ch.publish("", queue, b"x")
    got = ch.get(queue, no_ack=False)
    time.sleep(0.2)
    ch.send("basic.nack", delivery_tag=got.delivery_tag, requeue=True)
    assert ch.get(queue) is None


def test_an_unused_queue_is_deleted(ch, conn):
    queue = amqp.unique("lease")
    arguments = {"x-expires": 300}
    ch.declare(queue, arguments=arguments)
    tag = ch.consume(queue)
    time.sleep(0.5)
    assert ch.declare(queue, arguments=arguments).consumer_count == 1
    ch.call("basic.cancel", consumer_tag=tag)
    ch.publish("", queue, b"x")
    for _ in range(5):
        time.sleep(0.1)
        ch.get(queue)
    wait_until_gone(conn.channel(), queue)


# Invariant of the whole: whatever is delivered was delivered in time, and everything else is gone.
@pytest.mark.bourse_only
def test_nothing_is_delivered_late(ch, conn):
    queue = ch.temp_queue()
    other = conn.channel()
    times = [(number * 37) % 400 for number in range(1500)]
    for number, expiration in enumerate(times):
        body = f"{time.time() + expiration / 1000:.4f}"
        ch.publish("", queue, body, expiration=str(expiration))
        if number % 300 == 299:
            time.sleep(0.05)
    other.call("basic.qos", prefetch_count=20)
    delivered = 0
    while ch.counts(queue)[0] > 0:
        got = other.get(queue, no_ack=True)
        if got is not None:
            delivered += 1
            # Between the core's decision and our looking at the clock lies a round trip.
            assert float(got.body) > time.time() - 1.0
    assert delivered > 0


# The clock goes on while the broker is away.
@pytest.mark.bourse_only
def test_deadlines_survive_a_kill(tmp_path):
    broker = brokers.Bourse(data_dir=tmp_path / "data")
    channel = broker.open().channel()
    channel.declare("q", durable=True, arguments={"x-message-ttl": 3000})
    channel.call("confirm.select")
    for number in range(50):
        expiration = "60000" if number % 2 else "300"
        channel.publish("", "q", str(number), delivery_mode=2, expiration=expiration)
    while channel.expect("basic.ack").delivery_tag < 50:
        pass
    broker.kill()
    time.sleep(0.4)
    broker = brokers.Bourse(data_dir=tmp_path / "data")
    try:
        channel = broker.open().channel()
        assert channel.get("q", no_ack=True).body == b"1"
        channel.wait_for_counts("q", 0, 0)
    finally:
        broker.stop()
