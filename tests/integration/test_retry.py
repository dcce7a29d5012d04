# SPDX-License-Identifier: Apache-2.0
"""Retry, delivery limits and quarantine as clients see them (docs/retry.md): by argument, by policy and
in YAML, over real sockets, and after a restart. Most of it through pika, as it comes."""

import re
import time

import pika
import pytest

from support import amqp, broker as brokers, documents

pytestmark = pytest.mark.bourse_only

NAMES = ("x-delivery-count", "x-acquired-count", "x-last-verdict")

STAGE = """
users:
  u: {auth: password, password-file: u.pw, rights: {configure: ".*", write: ".*", read: ".*"}}
listeners:
  amqp: {bind: "127.0.0.1:0"}
"""


class Pika:
    """One connection of pika's with one channel."""

    def __init__(self, running, user="guest", password="guest"):
        host, port = running.amqp
        self.connection = pika.BlockingConnection(pika.ConnectionParameters(
            host, port, credentials=pika.PlainCredentials(user, password), heartbeat=0,
            blocked_connection_timeout=30))
        self.channel = self.connection.channel()

    def declare(self, queue, durable=False, **arguments):
        self.channel.queue_declare(queue, durable=durable, arguments={
            "x-" + name.replace("_", "-"): value for name, value in arguments.items()})
        return queue

    def publish(self, queue, body=b"x", mode=2, **headers):
        self.channel.basic_publish("", queue, body, pika.BasicProperties(
            delivery_mode=mode, headers=headers or None))

    def get(self, queue, timeout_s=20):
        """The next message, which may not be due yet: method, properties, body."""
        deadline = time.monotonic() + timeout_s
        while True:
            got = self.channel.basic_get(queue)
            if got[0] is not None:
                return got
            assert time.monotonic() < deadline, f"nothing in {queue}"
            time.sleep(0.005)

    def is_empty(self, queue):
        return self.channel.basic_get(queue)[0] is None

    def fail(self, queue):
        """Takes the next message and gives it back; what it said of its failures."""
        method, properties, _ = self.get(queue)
        self.channel.basic_nack(method.delivery_tag, requeue=True)
        return counts(properties)

    def close(self):
        self.connection.close()


def counts(properties):
    return tuple((properties.headers or {}).get(name) for name in NAMES)


@pytest.fixture
def client(broker):
    one = Pika(broker)
    yield one
    one.close()


@pytest.fixture
def queue(client):
    name = amqp.unique("retry")
    yield name
    client.channel.queue_delete(name)


# -- what counts, and what it says

def test_a_loop_of_nacks_counts_up_until_the_message_is_a_dead_letter(client, queue):
    dead = client.channel.queue_declare("", exclusive=True).method.queue
    client.declare(queue, delivery_limit=3, dead_letter_exchange="", dead_letter_routing_key=dead)
    client.publish(queue, b"poison", mine="stays")
    assert [client.fail(queue) for _ in range(4)] == [
        (None, None, None), (1, 1, "nack"), (2, 2, "nack"), (3, 3, "nack")]
    _, properties, body = client.get(dead)
    assert body == b"poison" and counts(properties) == (4, 4, "nack")
    assert properties.headers["mine"] == "stays"
    death = properties.headers["x-death"][0]
    assert (death["reason"], death["queue"], death["count"]) == ("delivery_limit", queue, 1)
    assert client.is_empty(queue)


def test_a_quorum_queue_allows_twenty_failures(client, queue):
    dead = client.channel.queue_declare("", exclusive=True).method.queue
    client.declare(queue, durable=True, queue_type="quorum", dead_letter_exchange="",
                   dead_letter_routing_key=dead)
    client.publish(queue)
    for _ in range(21):
        client.fail(queue)
    assert counts(client.get(dead)[1]) == (21, 21, "nack")


def test_a_queue_that_says_nothing_of_failures_adds_nothing(client, queue):
    client.declare(queue)
    client.publish(queue)
    client.fail(queue)
    method, properties, _ = client.get(queue)
    assert method.redelivered and properties.headers is None


# The letters of the headers, and those of the client's own, which do not change.
def test_headers_have_the_letters_that_clients_expect(ch):
    from support import wire
    queue = ch.temp_queue(arguments={"x-delivery-limit": 5})
    ch.publish("", queue, "x", headers={"mine": wire.Typed("I", 5), "x-delivery-count": 77})
    ch.reject(ch.get(queue, no_ack=False).delivery_tag, requeue=True)
    method = ch.get(queue)
    headers = wire.decode_header(method.raw_header, typed=True)[1]["headers"]
    assert list(headers) == ["mine", *NAMES]
    assert headers["mine"] == wire.Typed("I", 5)
    assert headers["x-delivery-count"] == wire.Typed("l", 1)
    assert headers["x-acquired-count"] == wire.Typed("l", 1)
    assert headers["x-last-verdict"] == wire.Typed("S", b"reject") or \
        headers["x-last-verdict"] == wire.Typed("S", "reject")


# Only the message in work counts, not the whole prefetch.
def test_of_a_lost_connection_only_the_oldest_message_has_failed(connect, client, queue):
    client.declare(queue, delivery_limit=5)
    for number in range(3):
        client.publish(queue, str(number).encode())
    lost = connect()
    consumer = lost.channel()
    consumer.consume(queue)
    consumer.deliveries(3)
    lost.drop()
    assert [counts(client.get(queue)[1]) for _ in range(3)] == [
        (1, 1, "lost"), (None, 1, None), (None, 1, None)]


# -- waiting

def test_a_failed_message_is_not_tried_early_and_blocks_nobody(client, queue):
    client.declare(queue, delayed_retry_min=200, delayed_retry_multiplier=2, delivery_limit=5)
    client.publish(queue, b"fails")
    client.publish(queue, b"works")
    begun = time.monotonic()
    client.fail(queue)
    method, _, body = client.get(queue)
    assert body == b"works" and time.monotonic() - begun < 0.2
    client.channel.basic_ack(method.delivery_tag)
    assert client.fail(queue) == (1, 1, "nack")
    again = time.monotonic()
    assert again - begun >= 0.2
    assert counts(client.get(queue)[1]) == (2, 2, "nack")
    assert time.monotonic() - again >= 0.4


def test_strict_order_waits_for_the_message_that_failed(client, queue):
    client.declare(queue, delayed_retry_min=200, delayed_retry_order="hold")
    for number in range(3):
        client.publish(queue, str(number).encode())
    begun = time.monotonic()
    client.fail(queue)
    assert client.channel.queue_declare(queue, passive=True).method.message_count == 3
    bodies = []
    for method, _, body in client.channel.consume(queue, auto_ack=True):
        bodies.append(body)
        if len(bodies) == 3:
            break
    client.channel.cancel()
    assert bodies == [b"0", b"1", b"2"] and time.monotonic() - begun >= 0.2


# The levels of a queue come before the order within them.
def test_an_urgent_message_overtakes_one_that_is_held(client, queue):
    client.declare(queue, max_priority=5, delayed_retry_min=300, delayed_retry_order="hold")
    client.publish(queue, b"held")
    client.fail(queue)
    client.publish(queue, b"behind it")
    assert client.is_empty(queue)
    client.channel.basic_publish("", queue, b"urgent", pika.BasicProperties(priority=5))
    assert [client.get(queue)[2] for _ in range(3)] == [b"urgent", b"held", b"behind it"]


def test_verdicts_that_do_not_count_return_at_once(client, queue):
    client.declare(queue, delayed_retry_min=60000, delivery_limit=0, delayed_retry_counts="lost")
    client.publish(queue)
    for _ in range(5):
        client.fail(queue)
    assert counts(client.get(queue)[1]) == (None, 5, "nack")


# -- restart

@pytest.mark.parametrize("how", ["stop", "kill"])
def test_waits_counts_and_quarantine_survive_a_restart(tmp_path, how):
    running = brokers.Bourse(data_dir=tmp_path / "data")
    client = Pika(running)
    client.channel.confirm_delivery()
    client.declare("waits", durable=True, delayed_retry_min=1500, delivery_limit=5)
    client.declare("parks", durable=True, delivery_limit=0)
    client.declare("dlq", durable=True)
    for queue in ("waits", "parks"):
        client.publish(queue, queue.encode())
        client.fail(queue)
    begun = time.monotonic()
    client.publish("dlq", b"end")   # confirmed: what came before is on disk as well
    running.log.wait_for("queue.quarantined")
    client.close()
    if how == "kill":
        running.kill()
    else:
        running.stop()
    running = brokers.Bourse(data_dir=tmp_path / "data")
    client = Pika(running)
    assert client.is_empty("parks")
    _, properties, body = client.get("waits")
    assert body == b"waits" and counts(properties) == (1, 1, "nack")
    assert time.monotonic() - begun >= 1.4
    client.close()
    running.stop()


# -- quarantine

def test_what_nobody_takes_is_parked_and_told_once(serve, canaries):
    running = serve("bourse: 1\n" + STAGE, ["u"])
    client = Pika(running, "u", canaries["u"])
    client.declare("q", delivery_limit=1)
    for number in range(3):
        client.publish("q", str(number).encode())
    for _ in range(6):
        client.fail("q")
    assert client.is_empty("q")
    running.log.wait_for("queue.quarantined")
    assert running.log.text().count("event=queue.quarantined") == 1
    client.close()


# -- policies and YAML

POLICY = """bourse: 1
queues: {q: {durable: false}}
policies:
  p: {pattern: "^q$", apply-to: queues, definition: {%s}}
""" + STAGE


# In force for what is there, from the next failure on.
def test_a_policy_takes_effect_on_a_live_queue(serve, write_config, canaries):
    running = serve(POLICY % "max-length: 1000", ["u"])
    client = Pika(running, "u", canaries["u"])
    client.publish("q", b"x")
    client.fail("q")
    client.fail("q")
    assert counts(client.get("q")[1]) == (None, None, None)
    client.channel.basic_recover(requeue=True)
    write_config(POLICY % "delivery-limit: 1, delayed-retry-type: all, delayed-retry-min: 100",
                 ["u"])
    running.reload()
    client.fail("q")
    begun = time.monotonic()
    assert client.fail("q") == (1, 1, "nack")
    assert time.monotonic() - begun >= 0.1
    running.log.wait_for("queue.quarantined")
    client.close()


# What the document shows does what the document says.
def test_the_example_of_the_document(serve, canaries):
    ch = documents.serve_example(serve, canaries, "retry.md")
    ch.publish("orders", "billing", b"bill")
    attempts = 0
    deadline = time.monotonic() + 20
    while (dead := ch.get("unpaid")) is None:
        assert time.monotonic() < deadline
        if (method := ch.get("billing", no_ack=False)) is not None:
            attempts += 1
            ch.nack(method.delivery_tag)
    assert attempts == 3 and dead.body == b"bill"
    assert dead.properties["headers"]["x-delivery-count"] == 3
    ch.publish("orders", "mail", b"1")
    ch.publish("orders", "mail", b"2")
    first = ch.get("mail", no_ack=False)
    ch.nack(first.delivery_tag)
    ch.consume("mail")
    assert [method.body for method in ch.deliveries(2)] == [b"1", b"2"]


def test_a_file_with_retry_has_no_warning_but_for_the_quarantine(tmp_path):
    text = documents.examples("retry.md")[0]
    (tmp_path / "f.yaml").write_text(text)
    result = brokers.run_command("check", str(tmp_path / "f.yaml"))
    assert result.returncode == 0, result.stderr
    assert "no effect" not in result.stderr
    assert re.search(r"f\.yaml:13:\d+: warning: queue \"mail\" retries, .*quarantine",
                     result.stderr), result.stderr


@pytest.mark.parametrize("block, place, text", [
    ("{first: 5s, max: 1s}", "3:35", '"max" is less than "first"'),
    ("{first: 5s, counts: [nack, never]}", "3:45", '"never"'),
    ("{first: 5s, then: nowhere}", "3:36", '"nowhere"'),
    ("{first: 5s, factor: 0.5}", "3:38", "factor"),
    ("{first: 5s, order: maybe}", "3:37", '"maybe"'),
    ("{max: 5s}", "3:18", "first"),
    ("gentel", "3:18", '"gentel"'),
])
def test_a_bad_retry_block_is_told_with_its_place(tmp_path, block, place, text):
    (tmp_path / "f.yaml").write_text(f"bourse: 1\nqueues:\n  q:     {{retry: {block}}}\n")
    result = brokers.run_command("check", str(tmp_path / "f.yaml"))
    assert result.returncode == 1
    assert any(f"f.yaml:{place}: error:" in line and text in line
               for line in result.stderr.splitlines()), result.stderr


@pytest.mark.parametrize("arguments, reason", [
    ({"x-delivery-limit": -2}, "{value_negative,-2}"),
    ({"x-delayed-retry-min": 0}, "{value_zero,0}"),
    ({"x-delayed-retry-min": 10, "x-delayed-retry-max": 9},
     '"x-delayed-retry-max (9) must not be smaller than x-delayed-retry-min (10)"'),
    ({"x-delayed-retry-jitter": 101}, "{max_value_exceeded,101}"),
    ({"x-delayed-retry-counts": "nack,never"}, "invalid_delayed_retry_counts"),
    ({"x-delayed-retry-order": "maybe"}, "invalid_delayed_retry_order"),
])
def test_a_bad_argument_is_refused_with_its_reason(conn, arguments, reason):
    queue = amqp.unique("bad")
    name = list(arguments)[-1]
    conn.channel().refused("queue.declare", 406,
                           f"PRECONDITION_FAILED - invalid arg '{name}' for queue '{queue}' in "
                           f"vhost '/': {reason}", queue=queue, arguments=arguments)
