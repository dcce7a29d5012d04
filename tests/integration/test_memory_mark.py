# SPDX-License-Identifier: Apache-2.0
"""The memory mark: publishers are blocked, consumers and acknowledgements are not. Without a data
directory, for with one a backlog leaves memory long before the mark is reached."""

import pytest

from support import amqp

pytestmark = pytest.mark.bourse_only

FILE = """
    bourse: 1
    server: {memory: 24MiB}
    users:
      u: {auth: password, password-file: u.pw, rights: {configure: ".*", write: ".*", read: ".*"}}
    listeners:
      amqp: {bind: "127.0.0.1:0"}
"""
BODY = b"m" * 262144


@pytest.fixture
def broker(serve):
    return serve(FILE, passwords=["u"], options=("--ephemeral",))


@pytest.fixture
def open_channel(broker, canaries):
    def make(**options):
        return broker.open(user="u", password=canaries["u"], **options).channel()
    return make


@pytest.fixture
def filled(open_channel):
    """The channel of a publisher that has just been blocked; `backlog` holds what it sent."""
    publisher = open_channel()
    publisher.declare("backlog")
    for count in range(1, 400):
        publisher.publish("", "backlog", BODY)
        try:
            blocked = publisher.connection.expect(0, "connection.blocked", timeout_s=0.005)
        except amqp.Unexpected:
            continue
        assert blocked.reason == "low on memory"
        publisher.count = count
        return publisher
    raise AssertionError("100 MiB went in under a mark of 24 MiB")


def blocked_by_a_small_message(channel):
    """A publisher meets the alarm with its first message."""
    channel.publish("", "small", b"held")
    channel.connection.expect(0, "connection.blocked")


def relieve(channel):
    channel.call("queue.purge", queue="backlog")


def test_blocked_comes_once_and_unblocked_when_there_is_room(filled, open_channel):
    consumer = open_channel()
    assert 24 <= filled.count <= 200
    filled.publish("", "backlog", b"the last")
    consumer.consume("backlog", no_ack=True)
    consumer.deliveries(filled.count)
    filled.connection.expect(0, "connection.unblocked")
    assert consumer.delivery().body == b"the last"
    filled.ping()
    assert not filled.connection.received()


def test_unblocked_comes_when_the_backlog_is_purged(filled, open_channel):
    relieve(open_channel())
    filled.connection.expect(0, "connection.unblocked")


# Only those are blocked that publish; others hear nothing.
def test_a_connection_that_does_not_publish_is_not_told(filled, open_channel):
    other = open_channel()
    other.ping()
    assert other.temp_queue() and other.connection.is_alive()
    assert not other.connection.received()


# Without the capability there is back pressure and silence.
def test_without_the_capability_publishers_are_held_silently(filled, open_channel):
    quiet, observer = open_channel(capabilities={}), open_channel()
    observer.declare("small")
    quiet.publish("", "small", b"held")
    assert observer.counts("small") == (0, 0)
    relieve(observer)
    observer.consume("small", no_ack=True)
    assert observer.delivery().body == b"held"
    assert not quiet.connection.received()


# Trap 23: on a connection that does both, acknowledgements and other channels go on.
def test_acknowledgements_of_a_blocked_publisher_are_handled(open_channel, request):
    mixed, observer = open_channel(), open_channel()
    for queue in ("work", "small"):
        observer.declare(queue)
    observer.publish("", "work", b"to do")
    observer.ping()
    mixed.call("basic.qos", prefetch_count=1)
    mixed.consume("work")
    tag = mixed.delivery().delivery_tag
    filled = request.getfixturevalue("filled")
    blocked_by_a_small_message(mixed)
    mixed.ack(tag)
    other = mixed.connection.channel()
    other.ping()
    assert observer.counts("small") == (0, 0)
    mixed.connection.drop()
    assert observer.call("queue.delete", queue="work").message_count == 0
    relieve(observer)
    filled.connection.expect(0, "connection.unblocked")


def test_confirms_of_held_publishes_come_after_unblocked(filled, open_channel):
    publisher, observer = open_channel(), open_channel()
    observer.declare("small")
    publisher.call("confirm.select")
    blocked_by_a_small_message(publisher)
    relieve(observer)
    publisher.connection.expect(0, "connection.unblocked")
    assert publisher.expect("basic.ack").delivery_tag == 1


# The client's heartbeats are not missed while its publishes are held.
@pytest.mark.slow
def test_a_blocked_publisher_is_not_dropped_for_missing_heartbeats(filled, open_channel):
    publisher, observer = open_channel(heartbeat=1), open_channel()
    blocked_by_a_small_message(publisher)
    publisher.publish("", "small", BODY)
    with pytest.raises(amqp.Unexpected):
        publisher.next_method(timeout_s=3.5)
    relieve(observer)
    publisher.connection.expect(0, "connection.unblocked")
    publisher.ping()
