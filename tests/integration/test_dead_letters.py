# SPDX-License-Identifier: Apache-2.0
"""Dead letters as clients see them, and what is left of them after the broker was killed."""

import base64
import hashlib
import os
import re
import time

import pytest

from support import amqp, broker as brokers, wire

DOCUMENT = os.path.join(brokers.REPOSITORY, "docs", "dead-letters.md")


def source(ch, exchange="", key=None, **options):
    """The name of a new queue whose dead letters go there."""
    arguments = {"x-dead-letter-exchange": exchange}
    if key is not None:
        arguments["x-dead-letter-routing-key"] = key
    return ch.temp_queue(arguments=arguments, **options)


def reject_all(ch, queue):
    count = 0
    while (method := ch.get(queue, no_ack=False)) is not None:
        ch.reject(method.delivery_tag, requeue=False)
        count += 1
    return count


def plain_headers(method):
    return method.properties["headers"]


# The reference's 16.4: every key, with its letter and value.
@pytest.mark.bourse_only
def test_x_death_field_by_field(ch):
    dead = ch.temp_queue()
    queue = source(ch, "", dead)
    before = int(time.time())
    ch.publish("amq.direct", "nowhere")
    ch.bind(queue, "amq.direct", "key")
    ch.publish("amq.direct", "key", "body", expiration="600000", content_type="text/plain",
               headers={"CC": ["cc"], "mine": wire.Typed("I", 5)})
    assert reject_all(ch, queue) == 1
    method = ch.wait_for(dead)
    assert (method.exchange, method.routing_key, method.redelivered) == ("", dead, False)
    assert method.body == b"body"
    assert set(method.properties) == {"content_type", "headers"}
    headers = method.typed_headers
    assert list(headers) == [
        "mine", "x-first-death-queue", "x-first-death-reason", "x-first-death-exchange",
        "x-last-death-queue", "x-last-death-reason", "x-last-death-exchange", "x-death"]
    assert headers["mine"] == wire.Typed("I", 5)
    for which in ("first", "last"):
        for name, value in (("queue", queue), ("reason", "rejected"), ("exchange", "amq.direct")):
            assert headers[f"x-{which}-death-{name}"] == wire.Typed("S", value)
    assert headers["x-death"].letter == "A"
    (death,) = headers["x-death"].value
    assert death.letter == "F"
    assert list(death.value) == ["count", "reason", "queue", "time", "exchange", "routing-keys",
                                 "original-expiration"]
    when = death.value.pop("time")
    assert when.letter == "T" and before <= when.value <= time.time()
    keys = death.value.pop("routing-keys")
    assert keys.letter == "A"
    assert keys.value == [wire.Typed("S", "key"), wire.Typed("S", "cc")]
    assert death.value == {"count": wire.Typed("l", 1), "reason": wire.Typed("S", "rejected"),
                           "queue": wire.Typed("S", queue),
                           "exchange": wire.Typed("S", "amq.direct"),
                           "original-expiration": wire.Typed("S", "600000")}


# A retry loop in the consumer's hands: it counts, and never ends by itself.
def test_a_loop_with_rejections_counts(ch):
    queue = amqp.unique("loop")
    ch.declare(queue, exclusive=True, arguments={"x-dead-letter-exchange": "",
                                                 "x-dead-letter-routing-key": queue})
    ch.publish("", queue, "again")
    for count in range(5):
        method = None
        deadline = time.monotonic() + 20
        while method is None:
            assert time.monotonic() < deadline
            method = ch.get(queue, no_ack=False)
        if count > 0:
            assert plain_headers(method)["x-death"][0]["count"] == count
        ch.reject(method.delivery_tag, requeue=False)


def test_bcc_is_a_key_of_the_dead_letter_and_stays_hidden(ch):
    exchange = ch.temp_exchange("direct")
    queue, dead = source(ch, exchange), ch.temp_queue()
    ch.bind(dead, exchange, "secret")
    ch.publish("", queue, "body", headers={"BCC": ["secret"]})
    ch.ping()
    reject_all(ch, queue)
    headers = plain_headers(ch.wait_for(dead))
    assert "BCC" not in headers
    assert headers["x-death"][0]["routing-keys"] == [queue]


def test_nack_multiple_keeps_the_order(ch):
    dead = ch.temp_queue()
    queue = source(ch, "", dead)
    for number in range(1000):
        ch.publish("", queue, b"%d" % number)
    ch.ping()
    tags = [ch.get(queue, no_ack=False).delivery_tag for _ in range(1000)]
    ch.nack(tags[-1], multiple=True, requeue=False)
    assert [ch.wait_for(dead).body for _ in range(1000)] == [b"%d" % n for n in range(1000)]


def test_a_transaction_moves_at_its_commit(ch, conn):
    dead = ch.temp_queue()
    queue = source(ch, "", dead)
    ch.publish("", queue, "body")
    ch.ping()
    other = conn.channel()
    other.call("tx.select")
    other.reject(other.get(queue, no_ack=False).delivery_tag, requeue=False)
    other.ping()
    assert ch.counts(dead)[0] == 0
    other.call("tx.rollback")
    other.call("tx.commit")
    assert ch.counts(dead)[0] == 0
    other.nack(0, multiple=True, requeue=False)
    other.call("tx.commit")
    assert ch.wait_for(dead).body == b"body"


# One of the clients that people use, as they use it.
def test_pika_reads_x_death(broker):
    pika = pytest.importorskip("pika")
    host, port = broker.amqp
    connection = pika.BlockingConnection(pika.ConnectionParameters(host, port))
    channel = connection.channel()
    dead = channel.queue_declare("", exclusive=True).method.queue
    queue = channel.queue_declare("", exclusive=True, arguments={
        "x-dead-letter-exchange": "", "x-dead-letter-routing-key": dead}).method.queue
    channel.basic_publish("", queue, b"body", pika.BasicProperties(
        headers={"a": 1, "b": [True, None], "c": {"d": "e"}}, expiration="600000"))
    for method, _properties, _body in channel.consume(queue, inactivity_timeout=20):
        channel.basic_reject(method.delivery_tag, requeue=False)
        break
    channel.cancel()
    for _method, properties, body in channel.consume(dead, inactivity_timeout=20, auto_ack=True):
        break
    assert body == b"body" and properties.expiration is None
    headers = properties.headers
    (death,) = headers.pop("x-death")
    assert death.pop("time").timestamp() <= time.time() + 86400
    assert death == {"count": 1, "reason": "rejected", "queue": queue, "exchange": "",
                     "routing-keys": [queue], "original-expiration": "600000"}
    assert headers["x-first-death-queue"] == headers["x-last-death-queue"] == queue
    assert {name: headers[name] for name in "abc"} == {"a": 1, "b": [True, None], "c": {"d": "e"}}
    connection.close()


# -- after the end


def confirmed(ch, queue, *bodies):
    ch.call("confirm.select")
    for body in bodies:
        ch.publish("", queue, body, delivery_mode=2)
        ch.expect("basic.ack")


@pytest.fixture
def durable(tmp_path):
    """Starts brokers on one directory, one after the other."""
    if "--ephemeral" not in brokers.run_command("serve", "--help").stdout:
        pytest.skip("this broker keeps nothing on disk")
    running = []

    def start(end=None):
        if end is not None:
            one = running.pop()
            for connection in one.connections:
                connection.drop()
            one.stop() if end == "stop" else one.kill()
        running.append(brokers.Bourse(data_dir=tmp_path / "data"))
        return running[-1].open().channel()

    yield start
    for one in running:
        for connection in one.connections:
            connection.drop()
        one.stop()


def declare_pair(ch, key="dead"):
    ch.declare("dead", durable=True)
    ch.declare("q", durable=True, arguments={"x-dead-letter-exchange": "",
                                             "x-dead-letter-routing-key": key})


# What tells the broker's x-death from a client's is on the disk with the message.
@pytest.mark.bourse_only
@pytest.mark.parametrize("end", ("stop", "kill"))
def test_deaths_are_counted_on_after_a_restart(durable, end):
    ch = durable()
    declare_pair(ch, "q")
    confirmed(ch, "q", "body")
    ch.reject(ch.get("q", no_ack=False).delivery_tag, requeue=False)
    first = ch.get("q", no_ack=False)
    assert plain_headers(first)["x-death"][0]["count"] == 1
    confirmed(ch.connection.channel(), "dead", "a later confirm covers it")
    ch = durable(end)
    again = ch.get("q", no_ack=False)
    assert again.raw_header == first.raw_header
    ch.reject(again.delivery_tag, requeue=False)
    assert plain_headers(ch.get("q", no_ack=False))["x-death"][0]["count"] == 2


# BCC is taken out of the message, and its keys are on the disk with it.
@pytest.mark.bourse_only
@pytest.mark.parametrize("end", ("stop", "kill"))
def test_keys_of_bcc_survive_a_restart(durable, end):
    ch = durable()
    ch.declare("secret", durable=True)
    ch.declare("q", durable=True, arguments={"x-dead-letter-exchange": ""})
    ch.call("confirm.select")
    ch.publish("", "q", "body", delivery_mode=2, headers={"BCC": ["secret"], "a": 1})
    ch.expect("basic.ack")
    assert ch.drain("secret") == [b"body"]
    ch = durable(end)
    method = ch.get("q", no_ack=False)
    assert plain_headers(method) == {"a": 1}
    ch.reject(method.delivery_tag, requeue=False)
    assert ch.wait_for("secret").body == b"body"


# The promise of the issue: exactly one place, never none, never two, whenever the process dies.
@pytest.mark.bourse_only
@pytest.mark.parametrize("rejected", (1, 50, 255, 300, 700))
def test_a_message_is_in_exactly_one_place_after_a_kill(durable, rejected):
    ch = durable()
    declare_pair(ch)
    bodies = [b"%d" % number for number in range(700)]
    confirmed(ch, "q", *bodies)
    tags = [ch.get("q", no_ack=False).delivery_tag for _ in bodies]
    ch.nack(tags[rejected - 1], multiple=True, requeue=False)
    if rejected % 2 == 0:
        ch.ping()
    ch = durable("kill")
    stayed, moved = ch.drain("q"), ch.drain("dead")
    assert sorted(stayed + moved) == sorted(bodies)
    assert moved == bodies[:len(moved)] and len(moved) <= rejected


# -- the page


@pytest.mark.bourse_only
def test_the_example_of_the_page(tmp_path):
    with open(DOCUMENT, encoding="utf-8") as document:
        example = re.search(r"```yaml\n(.*?)```", document.read(), re.DOTALL).group(1)
    password = base64.b64encode(b"salt" + hashlib.sha256(b"salt" + b"secret").digest()).decode()
    config = tmp_path / "example.yaml"
    config.write_text("bourse: 1\n" + example + f"""
users:
  shop:
    auth: password
    password-hash: {password}
    rights: {{configure: "", write: ".*", read: ".*"}}
""")
    checked = brokers.run_command("check", str(config))
    assert checked.returncode == 0 and "dead-letter" not in checked.stderr, checked.stderr
    running = brokers.Bourse(config, data_dir=tmp_path / "data")
    ch = running.open(user="shop", password="secret").channel()
    ch.publish("", "orders", "an order", delivery_mode=2)
    ch.ping()
    assert reject_all(ch, "orders") == 1
    assert ch.wait_for("unpaid").body == b"an order"
    ch.connection.drop()
    running.stop()


# -- what limits let die

def bodies(ch, queue, count):
    return [ch.wait_for(queue).body.decode() for _ in range(count)]


# docs/limits.md: what a queue drops from its head is dead-lettered, the oldest first.
def test_what_is_dropped_from_the_head_is_dead_lettered(ch):
    dead = ch.temp_queue()
    queue = ch.temp_queue(arguments={"x-max-length": 2, "x-dead-letter-exchange": "",
                                     "x-dead-letter-routing-key": dead})
    for number in range(5):
        ch.publish("", queue, str(number))
    method = ch.wait_for(dead)
    assert method.body == b"0"
    death = plain_headers(method)["x-death"][0]
    assert (death["reason"], death["queue"], death["count"]) == ("maxlen", queue, 1)
    assert bodies(ch, dead, 2) == ["1", "2"]
    assert bodies(ch, queue, 2) == ["3", "4"]


# The publisher hears that the queue did not take it; the message itself is not lost.
@pytest.mark.parametrize("overflow", ["reject-publish", "reject-publish-dlx"])
def test_what_a_full_queue_refuses_is_dead_lettered_only_if_it_says_so(ch, conn, overflow):
    dead = ch.temp_queue()
    queue = ch.temp_queue(arguments={"x-max-length": 1, "x-overflow": overflow,
                                     "x-dead-letter-exchange": "",
                                     "x-dead-letter-routing-key": dead})
    publisher = conn.channel()
    publisher.call("confirm.select")
    publisher.publish("", queue, "first")
    assert publisher.next_method().name == "basic.ack"
    publisher.publish("", queue, "second")
    assert publisher.next_method().name == "basic.nack"
    publisher.publish("", dead, "end")
    assert publisher.next_method().name == "basic.ack"
    if overflow == "reject-publish-dlx":
        method = ch.wait_for(dead)
        assert method.body == b"second"
        assert plain_headers(method)["x-death"][0]["reason"] == "maxlen"
    assert bodies(ch, dead, 1) == ["end"]
    assert bodies(ch, queue, 1) == ["first"]


# A dead letter is never refused: it would have nowhere to go.
@pytest.mark.bourse_only
def test_dead_letters_go_beyond_the_limit_of_their_queue(ch):
    dead = ch.temp_queue(arguments={"x-max-length": 1, "x-overflow": "reject-publish"})
    queue = source(ch, "", dead)
    for number in range(3):
        ch.publish("", queue, str(number))
    assert reject_all(ch, queue) == 3
    assert bodies(ch, dead, 3) == ["0", "1", "2"]


# -- what expires

# docs/ttl.md: the message's own time is over; what it was stands in its death.
def test_what_expires_is_dead_lettered(ch):
    dead = ch.temp_queue()
    queue = source(ch, "", dead)
    ch.publish("", queue, "lives")
    ch.publish("", queue, "dies", expiration="20")
    ch.consume(dead, no_ack=True)
    method = ch.delivery()
    assert method.body == b"dies"
    assert "expiration" not in method.properties
    death = plain_headers(method)["x-death"][0]
    assert (death["reason"], death["queue"], death["original-expiration"]) == ("expired", queue,
                                                                              "20")
    assert ch.counts(queue) == (1, 0)


# A retry loop as Sneakers builds it: reject, wait in a queue with a time to live, come back.
def test_a_message_goes_back_and_forth_and_counts_its_rejections(ch):
    work, waiting = amqp.unique("work"), amqp.unique("waiting")
    ch.declare(work, exclusive=True, arguments={"x-dead-letter-exchange": "",
                                                "x-dead-letter-routing-key": waiting})
    ch.declare(waiting, exclusive=True, arguments={"x-message-ttl": 10,
                                                   "x-dead-letter-exchange": "",
                                                   "x-dead-letter-routing-key": work})
    ch.publish("", work, "job")
    ch.consume(work)
    for attempt in range(5):
        method = ch.delivery()
        deaths = plain_headers(method)["x-death"] if attempt > 0 else []
        counts = {(death["queue"], death["reason"]): death["count"] for death in deaths}
        expected = {} if attempt == 0 else {(work, "rejected"): attempt,
                                            (waiting, "expired"): attempt}
        assert counts == expected
        ch.reject(method.delivery_tag, requeue=False)


LEVELS = 28


def declare_ladder(ch, prefix):
    """Delayed delivery as Celery 5.5 declares it: a bit of the delay in seconds for each level."""
    last = f"{prefix}_delivery"
    ch.call("exchange.declare", exchange=last, type="topic", durable=True)
    for level in range(LEVELS):
        name = f"{prefix}_{level}"
        ch.call("exchange.declare", exchange=name, type="topic", durable=True)
        onward = f"{prefix}_{level - 1}" if level > 0 else last
        ch.declare(name, durable=True, arguments={
            "x-dead-letter-exchange": onward, "x-message-ttl": 2 ** level * 1000,
            "x-queue-type": "quorum", "x-overflow": "reject-publish",
            "x-dead-letter-strategy": "at-least-once"})
        above = "*." * (LEVELS - 1 - level)
        ch.bind(name, name, f"{above}1.#")
        ch.call("exchange.bind", destination=onward, source=name, routing_key=f"{above}0.#")
    return last


# product 5.2: 28 levels, times beyond 2^32 ms, exchanges bound to each other in a row.
@pytest.mark.bourse_only
def test_the_ladder_of_delays_that_celery_declares(ch):
    prefix = amqp.unique("delayed")
    last = declare_ladder(ch, prefix)
    queue = ch.temp_queue()
    ch.bind(queue, last, f"#.{queue}")
    ch.consume(queue, no_ack=True)
    before = time.monotonic()
    ch.publish(f"{prefix}_{LEVELS - 1}", "0." * (LEVELS - 1) + f"1.{queue}", "in a second",
               delivery_mode=2)
    ch.publish(f"{prefix}_{LEVELS - 1}", "0." * LEVELS + queue, "at once")
    assert ch.delivery().body == b"at once"
    method = ch.delivery()
    assert method.body == b"in a second"
    assert 1 <= time.monotonic() - before
    assert method.exchange == last
    assert plain_headers(method)["x-death"][0]["queue"] == f"{prefix}_0"
    for level in range(LEVELS):
        ch.call("queue.delete", queue=f"{prefix}_{level}")
        ch.call("exchange.delete", exchange=f"{prefix}_{level}")
    ch.call("exchange.delete", exchange=last)
