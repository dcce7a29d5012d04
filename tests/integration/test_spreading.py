# SPDX-License-Identifier: Apache-2.0
"""Exchanges that give a message to one of many: x-consistent-hash, x-modulus-hash, x-random."""

import re

import pytest

from support import amqp, broker, documents

HASHES = ["x-consistent-hash", "x-modulus-hash"]
KINDS = [*HASHES, "x-random"]


def spread(ch, kind, weights, arguments=None):
    """An exchange of `kind` with one queue for each weight."""
    exchange = ch.temp_exchange(kind, arguments=arguments or {})
    queues = [ch.temp_queue() for _ in weights]
    for queue, weight in zip(queues, weights):
        ch.bind(queue, exchange, str(weight))
    return exchange, queues


def counts(ch, queues):
    ch.ping()
    return [ch.call("queue.purge", queue=queue).message_count for queue in queues]


@pytest.mark.parametrize("kind", KINDS)
def test_each_message_reaches_one_queue(ch, kind):
    exchange, queues = spread(ch, kind, [10, 10, 10, 10])
    for number in range(400):
        ch.publish(exchange, f"key {number}", b"x")
    got = counts(ch, queues)
    assert sum(got) == 400
    assert all(count > 40 for count in got), got


def test_weights_are_shares(ch):
    exchange, queues = spread(ch, "x-consistent-hash", [10, 10, 20, 20])
    for number in range(3000):
        ch.publish(exchange, f"key {number}", b"x")
    got = counts(ch, queues)
    assert sum(got) == 3000
    for count, wanted in zip(got, [500, 500, 1000, 1000]):
        assert 0.75 * wanted < count < 1.25 * wanted, got


@pytest.mark.parametrize("kind", HASHES)
def test_equal_keys_go_to_the_same_queue(ch, kind):
    exchange, queues = spread(ch, kind, [1, 2, 3])
    for _ in range(50):
        ch.publish(exchange, "always this one", b"x")
    assert sorted(counts(ch, queues)) == [0, 0, 50]


# RabbitMQ's plugins look at a message once; each of its keys would make a copy.
@pytest.mark.parametrize("kind", KINDS)
def test_cc_makes_no_copies(ch, kind):
    exchange, queues = spread(ch, kind, [5, 5, 5])
    for number in range(20):
        ch.publish(exchange, f"key {number}", b"x", headers={"CC": ["a", "b", "c", "d"]})
    assert sum(counts(ch, queues)) == 20


VALUES = {
    "hash-header": ("customer", lambda value: {"headers": {"customer": value}}),
    "message_id": ("message_id", lambda value: {"message_id": value}),
    "correlation_id": ("correlation_id", lambda value: {"correlation_id": value}),
    "timestamp": ("timestamp", lambda value: {"timestamp": int(value)}),
}


@pytest.mark.parametrize("what", VALUES)
def test_a_header_or_property_is_hashed_in_place_of_the_key(ch, what):
    name, properties = VALUES[what]
    argument = "hash-header" if what == "hash-header" else "hash-property"
    exchange, queues = spread(ch, "x-consistent-hash", [10] * 3, {argument: name})
    for number in range(60):
        ch.publish(exchange, "the same key", b"x", **properties(str(number)))
    assert all(counts(ch, queues))
    for number in range(20):
        ch.publish(exchange, f"key {number}", b"x", **properties("4711"))
    assert sorted(counts(ch, queues)) == [0, 0, 20]
    for number in range(20):
        ch.publish(exchange, f"key {number}", b"x")
    assert sorted(counts(ch, queues)) == [0, 0, 20], "without the value all go one way"


@pytest.mark.parametrize("arguments, text", [
    ({"hash-header": "h", "hash-property": "message_id"},
     "PRECONDITION_FAILED - hash-header and hash-property are mutually exclusive"),
    ({"hash-property": "app_id"}, "PRECONDITION_FAILED - Unsupported property: app_id"),
])
def test_arguments_that_cannot_be_are_406(ch, arguments, text):
    ch.refused("exchange.declare", 406, text, exchange=amqp.unique("x"), type="x-consistent-hash",
               arguments=arguments)


@pytest.mark.parametrize("key, text", [
    ("many", 'PRECONDITION_FAILED - The binding key must be an integer: <<"many">>'),
    ("", "PRECONDITION_FAILED - The binding key must be an integer: <<>>"),
    ("0", "PRECONDITION_FAILED - The binding key must be greater than 0"),
    ("-1", "PRECONDITION_FAILED - The binding key must be greater than 0"),
])
def test_a_binding_key_that_is_no_weight_is_406(ch, key, text):
    exchange, queue = ch.temp_exchange("x-consistent-hash"), ch.temp_queue()
    ch.refused("queue.bind", 406, text, queue=queue, exchange=exchange, routing_key=key)


# A ring of millions of points would be memory for the asking.
@pytest.mark.bourse_only
def test_a_weight_over_a_thousand_is_406(ch):
    exchange, queue = ch.temp_exchange("x-consistent-hash"), ch.temp_queue()
    text = "PRECONDITION_FAILED - The binding key must not be greater than 1000"
    ch.refused("queue.bind", 406, text, queue=queue, exchange=exchange, routing_key="1001")


def homes(ch, exchange, queues):
    """Which queue each of some keys goes to."""
    result = {}
    for number in range(200):
        ch.publish(exchange, f"key {number}", str(number))
    ch.ping()
    for queue in queues:
        result.update((body, queue) for body in ch.drain(queue))
    return result


# Consistent hashing is about this: only what the queue had has to move.
@pytest.mark.bourse_only
def test_removing_a_queue_moves_only_its_keys(ch):
    exchange, queues = spread(ch, "x-consistent-hash", [3] * 5)
    before = homes(ch, exchange, queues)
    ch.call("queue.delete", queue=queues[2])
    after = homes(ch, exchange, [*queues[:2], *queues[3:]])
    assert len(after) == 200
    assert all(before[key] in (queues[2], after[key]) for key in before)


@pytest.mark.parametrize("kind", KINDS)
def test_an_exchange_can_be_one_of_the_many(ch, kind):
    exchange, queues = spread(ch, kind, [5])
    inner, behind = ch.temp_exchange("fanout"), ch.temp_queue()
    ch.bind(behind, inner)
    ch.call("exchange.bind", destination=inner, source=exchange, routing_key="5")
    for number in range(100):
        ch.publish(exchange, f"key {number}", b"x")
    got = counts(ch, [*queues, behind])
    assert sum(got) == 100
    assert all(got), got


@pytest.mark.parametrize("kind", KINDS)
def test_without_bindings_a_message_is_returned(ch, kind):
    exchange = ch.temp_exchange(kind)
    ch.publish(exchange, "k", b"x", mandatory=True)
    assert ch.expect("basic.return").reply_code == 312
    queue = ch.temp_queue()
    ch.bind(queue, exchange, "1")
    ch.publish(exchange, "k", b"x", mandatory=True)
    assert len(ch.drain(queue)) == 1
    ch.call("queue.delete", queue=queue)
    ch.publish(exchange, "k", b"x", mandatory=True)
    assert ch.expect("basic.return").reply_code == 312


# docs/exchanges.md
@pytest.mark.bourse_only
def test_the_example_of_the_documents_keeps_a_customer_in_one_queue(serve, canaries):
    ch = documents.serve_example(serve, canaries, "exchanges.md")
    queues = ["orders.1", "orders.2", "orders.3"]
    for number in range(600):
        ch.publish("orders", f"order {number}", b"x", headers={"customer": f"c{number % 300}"})
    got = counts(ch, queues)
    assert sum(got) == 600
    assert all(count % 2 == 0 for count in got), "both orders of a customer are together"
    assert 220 < got[2] < 380, got
    ch.publish("orders", "one", b"1", headers={"customer": "c"})
    ch.publish("orders", "two", b"2", headers={"customer": "c"})
    assert sorted(counts(ch, queues)) == [0, 0, 2]


@pytest.mark.bourse_only
def test_a_file_that_binds_without_a_weight_is_refused_with_the_place(write_config):
    path = write_config("""\
        bourse: 1
        exchanges:
          orders: {type: x-consistent-hash}
        queues:
          one:
            from:
              - {exchange: orders}
        """)
    result = broker.run_command("check", str(path))
    assert result.returncode == 1
    assert re.search(r":7:9: error: The binding key must be an integer: <<>>", result.stderr), result
