# SPDX-License-Identifier: Apache-2.0
"""Failure notes: docs/failure-notes.md, over real sockets."""

import os
import re
import time

import pytest

from support import broker as brokers, wire

pytestmark = pytest.mark.bourse_only

DOCUMENT = os.path.join(brokers.REPOSITORY, "docs", "failure-notes.md")


def source(ch, dead):
    return ch.temp_queue(arguments={"x-dead-letter-exchange": "",
                                    "x-dead-letter-routing-key": dead})


def note(ch, tag, **headers):
    ch.publish("bourse.control", "failure-note", b"",
               headers={"delivery-tag": tag} | {k.replace("_", "-"): v for k, v in headers.items()})


def take_failure(headers):
    return {name: headers.pop(name) for name in list(headers) if name.startswith("x-failure-")}


# What the document shows does what the document says, with pika.
def test_the_example_of_the_document(broker):
    pika = pytest.importorskip("pika")
    with open(DOCUMENT, encoding="utf-8") as file:
        example = re.search(r"```python\n(.*?)```", file.read(), re.DOTALL).group(1)
    names = {"pika": pika, "bill": int}
    exec(example, names)
    connection = pika.BlockingConnection(pika.ConnectionParameters(*broker.amqp))
    channel = connection.channel()
    dead = channel.queue_declare("", exclusive=True).method.queue
    queue = channel.queue_declare("", exclusive=True, arguments={
        "x-dead-letter-exchange": "", "x-dead-letter-routing-key": dead}).method.queue
    for body in (b"17", b"much"):
        channel.basic_publish("", queue, body)
        names["on_message"](channel, *channel.basic_get(queue))
    for _method, properties, body in channel.consume(dead, inactivity_timeout=20, auto_ack=True):
        break
    assert body == b"much"
    failure = properties.headers
    assert failure["x-failure-class"] == "ValueError"
    assert failure["x-failure-text"].startswith("invalid literal for int()")
    assert failure["x-failure-advice"] == "correct the amount, then replay"
    assert failure["x-failure-queue"] == queue
    connection.close()


# Every header, with its letter and value; x-death and the message's own stay as they were.
def test_the_headers_field_by_field(ch):
    dead = ch.temp_queue()
    queue = source(ch, dead)
    trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    before = int(time.time())
    ch.publish("", queue, "body", message_id="m-17",
               headers={"traceparent": trace, "mine": wire.Typed("I", 5)})
    tag = ch.get(queue, no_ack=False).delivery_tag
    note(ch, tag, **{"class": "E17", "text": "gross", "advice": "später"})
    ch.reject(tag, requeue=False)
    headers = ch.wait_for(dead).typed_headers
    assert list(headers)[-11:] == [
        "x-death", "x-failure-queue", "x-failure-count", "x-failure-first-time",
        "x-failure-last-time", "x-failure-message-id", "x-failure-trace-id", "x-failure-class",
        "x-failure-text", "x-failure-advice", "x-failure-attempts"]
    assert headers["mine"] == wire.Typed("I", 5)
    assert headers["x-death"].letter == "A"
    failure = take_failure(headers)
    for name, value in (("queue", queue), ("message-id", "m-17"), ("trace-id", trace[3:35]),
                        ("class", "E17"), ("text", "gross"), ("advice", "später")):
        assert failure[f"x-failure-{name}"] == wire.Typed("S", value)
    assert failure["x-failure-count"] == wire.Typed("l", 1)
    for name in ("first", "last"):
        when = failure[f"x-failure-{name}-time"]
        assert when.letter == "T" and before <= when.value <= time.time()
    (attempt,) = failure["x-failure-attempts"].value
    assert attempt.value["verdict"] == wire.Typed("S", "reject")
    assert attempt.value["time"].letter == "T"
    assert not any(name.startswith("x-failure-") for name in headers)


# Any letter that stands for an integer.
@pytest.mark.parametrize("letter", "bBsuIilL")
def test_any_integer_is_a_delivery_tag(ch, letter):
    dead = ch.temp_queue()
    queue = source(ch, dead)
    ch.publish("", queue, "body")
    tag = ch.get(queue, no_ack=False).delivery_tag
    note(ch, wire.Typed(letter, tag), text="why")
    ch.reject(tag, requeue=False)
    assert ch.wait_for(dead).properties["headers"]["x-failure-text"] == "why"


def test_a_note_for_an_unknown_delivery_is_406(ch):
    note(ch, 7, text="why")
    ch.expect_close(406, "PRECONDITION_FAILED - unknown delivery tag 7")


def test_a_note_that_is_too_large_is_406(ch):
    queue = ch.temp_queue()
    ch.publish("", queue, "body")
    tag = ch.get(queue, no_ack=False).delivery_tag
    ch.publish("bourse.control", "failure-note", b"x" * 4096,
               headers={"delivery-tag": tag, "text": "why"})
    close = ch.expect_close(406)
    assert "octets of properties and body are more than 4096" in str(close)


# The exchange is the broker's.
def test_the_exchange_stays(ch):
    ch.call("exchange.declare", exchange="bourse.control", type="direct", durable=True)
    ch.refused("exchange.delete", 403, "ACCESS_REFUSED - deletion of system exchange "
               "'bourse.control' in vhost '/' not allowed", exchange="bourse.control")


# As durable as the dead letter that it is a part of.
def test_a_note_survives_with_its_dead_letter(tmp_path):
    running = brokers.Bourse(data_dir=tmp_path / "data")
    ch = running.open().channel()
    ch.declare("dead", durable=True)
    ch.declare("q", durable=True, arguments={"x-dead-letter-exchange": "",
                                             "x-dead-letter-routing-key": "dead"})
    ch.call("confirm.select")
    ch.publish("", "q", "body", delivery_mode=2)
    ch.expect("basic.ack")
    tag = ch.get("q", no_ack=False).delivery_tag
    note(ch, tag, text="why")
    ch.expect("basic.ack")
    ch.reject(tag, requeue=False)
    other = ch.connection.channel()
    other.wait_for_counts("dead", 1, 0)
    other.call("confirm.select")
    other.publish("", "q", "a later confirm covers it", delivery_mode=2)
    other.expect("basic.ack")
    ch.connection.drop()
    running.kill()
    running = brokers.Bourse(data_dir=tmp_path / "data")
    ch = running.open().channel()
    method = ch.get("dead")
    assert method.body == b"body"
    assert method.properties["headers"]["x-failure-text"] == "why"
    ch.connection.drop()
    running.stop()


# The log keeps when failures were and how they ended; what was said of them is over with the process.
def test_failures_before_a_restart_are_told_with_their_times(tmp_path):
    running = brokers.Bourse(data_dir=tmp_path / "data")
    ch = running.open().channel()
    ch.declare("dead", durable=True)
    ch.declare("q", durable=True, arguments={"x-dead-letter-exchange": "", "x-delivery-limit": 1,
                                             "x-dead-letter-routing-key": "dead"})
    ch.call("confirm.select")
    ch.publish("", "q", "body", delivery_mode=2)
    ch.expect("basic.ack")
    tag = ch.get("q", no_ack=False).delivery_tag
    note(ch, tag, text="why")
    ch.expect("basic.ack")
    first = int(time.time())
    ch.nack(tag, requeue=True)
    ch.ping()
    ch.connection.drop()
    running.stop()
    running = brokers.Bourse(data_dir=tmp_path / "data")
    ch = running.open().channel()
    again = ch.get("q", no_ack=False)
    assert again.properties["headers"]["x-delivery-count"] == 1
    ch.reject(again.delivery_tag, requeue=True)
    headers = ch.wait_for("dead").typed_headers
    (death,) = headers["x-death"].value
    failure = take_failure(headers)
    assert set(failure) == {"x-failure-queue", "x-failure-count", "x-failure-first-time",
                            "x-failure-last-time", "x-failure-attempts"}
    assert failure["x-failure-count"].value == death.value["count"].value + 1 == 2
    attempts = [attempt.value for attempt in failure["x-failure-attempts"].value]
    assert [attempt["verdict"].value for attempt in attempts] == ["nack", "reject"]
    times = [attempt["time"].value for attempt in attempts]
    assert first <= times[0] <= times[1] <= time.time()
    assert [failure[f"x-failure-{name}-time"].value for name in ("first", "last")] == times
    ch.connection.drop()
    running.stop()
