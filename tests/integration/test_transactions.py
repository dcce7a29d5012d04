# SPDX-License-Identifier: Apache-2.0
"""Transactions: what waits for commit, what rollback gives back, where checks happen."""

import pytest


@pytest.fixture
def tx(conn):
    """A transactional channel; `ch` is a plain one on the same connection."""
    channel = conn.channel()
    channel.call("tx.select")
    return channel


def test_select_twice_is_harmless(tx):
    tx.call("tx.select")
    tx.call("tx.commit")


def test_publishes_wait_for_commit(tx, ch):
    queue = ch.temp_queue()
    tx.publish("", queue, b"1")
    tx.publish("", queue, b"2")
    tx.ping()
    assert ch.counts(queue) == (0, 0)
    tx.call("tx.commit")
    assert ch.drain(queue) == [b"1", b"2"]


def test_rollback_drops_publishes(tx, ch):
    queue = ch.temp_queue()
    tx.publish("", queue, b"1")
    tx.call("tx.rollback")
    tx.call("tx.commit")
    assert ch.counts(queue) == (0, 0)
    tx.publish("", queue, b"2")
    tx.call("tx.commit")
    assert ch.drain(queue) == [b"2"]


def test_acknowledgements_wait_for_commit(tx, ch):
    queue = ch.temp_queue()
    ch.publish("", queue, b"1")
    ch.ping()
    tx.ack(tx.get(queue, no_ack=False).delivery_tag)
    tx.close()
    assert ch.drain(queue) == [b"1"]


def test_committed_acknowledgements_are_final(tx, ch):
    queue = ch.temp_queue()
    for body in (b"1", b"2", b"3"):
        ch.publish("", queue, body)
    ch.ping()
    for _ in range(3):
        tag = tx.get(queue, no_ack=False).delivery_tag
    tx.ack(tag, multiple=True)
    tx.call("tx.commit")
    tx.close()
    assert ch.counts(queue) == (0, 0)


# After rollback the deliveries are open again: not requeued, and to be settled once more.
def test_rollback_reopens_acknowledged_deliveries(tx, ch):
    queue = ch.temp_queue()
    ch.publish("", queue, b"1")
    ch.ping()
    tag = tx.get(queue, no_ack=False).delivery_tag
    tx.ack(tag)
    tx.call("tx.rollback")
    assert ch.counts(queue) == (0, 0)
    tx.nack(tag)
    tx.call("tx.commit")
    assert ch.drain(queue) == [b"1"]


def test_rejects_take_effect_at_commit(tx, ch):
    queue = ch.temp_queue()
    for body in (b"back", b"gone"):
        ch.publish("", queue, body)
    ch.ping()
    first, second = (tx.get(queue, no_ack=False).delivery_tag for _ in range(2))
    tx.reject(first, requeue=True)
    tx.reject(second, requeue=False)
    tx.ping()
    assert ch.counts(queue) == (0, 0)
    tx.call("tx.commit")
    assert ch.drain(queue) == [b"back"]


# The checks of a publish happen when it is sent, not at commit.
def test_a_bad_publish_fails_at_once(tx):
    tx.publish("no-such-exchange", "k", b"x")
    tx.expect_close(404)


def test_an_unknown_tag_fails_at_once(tx):
    tx.refused("basic.ack", 406, "PRECONDITION_FAILED - unknown delivery tag 3", delivery_tag=3)


def test_an_acknowledged_tag_is_unknown_within_the_transaction(tx, ch):
    queue = ch.temp_queue()
    ch.publish("", queue, b"1")
    ch.ping()
    tag = tx.get(queue, no_ack=False).delivery_tag
    tx.ack(tag)
    tx.refused("basic.ack", 406, delivery_tag=tag)


def test_mandatory_returns_come_at_commit(tx):
    tx.publish("", "no-such-queue", b"back", mandatory=True)
    tx.send("tx.commit")
    first, second = tx.next_method(), tx.next_method()
    assert {first.name, second.name} == {"basic.return", "tx.commit-ok"}


def test_closing_the_channel_discards_the_transaction(tx, ch):
    queue = ch.temp_queue()
    tx.publish("", queue, b"1")
    tx.close()
    assert ch.counts(queue) == (0, 0)


# Routing happens at publish time: a queue bound later gets nothing.
def test_a_publish_is_routed_when_it_is_sent(tx, ch):
    exchange, early, late = ch.temp_exchange("fanout"), ch.temp_queue(), ch.temp_queue()
    ch.bind(early, exchange)
    tx.publish(exchange, "", b"x")
    tx.ping()
    ch.bind(late, exchange)
    tx.call("tx.commit")
    assert ch.drain(early) == [b"x"] and ch.drain(late) == []
