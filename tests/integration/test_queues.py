# SPDX-License-Identifier: Apache-2.0
"""Queues: names, properties, equivalence on redeclare, deletion, purge, exclusive, auto-delete."""

import re

import pytest

from support import amqp, wire


# -- names

def test_a_server_named_queue_gets_a_random_name(ch):
    first, second = ch.declare("", exclusive=True), ch.declare("", exclusive=True)
    for answer in (first, second):
        assert re.fullmatch(r"amq\.gen-[A-Za-z0-9_-]{22}", answer.queue)
        assert (answer.message_count, answer.consumer_count) == (0, 0)
    assert first.queue != second.queue


def test_the_declared_name_is_answered_and_becomes_the_channels_last_queue(ch):
    name = amqp.unique("q")
    assert ch.declare(name, exclusive=True).queue == name
    ch.publish("", name, b"x")
    assert ch.call("queue.purge").message_count == 1
    assert ch.call("basic.get").name == "basic.get-empty"
    ch.call("queue.bind", exchange="amq.direct", routing_key="k")
    ch.call("basic.cancel", consumer_tag=ch.consume(""))
    assert ch.call("queue.delete").message_count == 0


# Also a passive declare counts as "declared on this channel".
def test_a_passive_declare_sets_the_last_queue(ch, conn):
    name = ch.temp_queue()
    other = conn.channel()
    other.declare(name, passive=True)
    assert other.call("queue.purge").message_count == 0


def test_carriage_return_and_line_feed_are_removed_from_names(ch):
    name = amqp.unique("crlf")
    assert ch.declare(f"{name}\r\n", exclusive=True).queue == name


@pytest.mark.parametrize("name", ["x" * 255, "queue with spaces", "日本", "#", ".", "a/b?c=d%",
                                  "\x01\x02"])
def test_any_name_works(ch, name):
    assert ch.declare(name, exclusive=True).queue == name
    ch.publish("", name, b"found")
    assert ch.get(name).body == b"found"


# -- declaring again

@pytest.mark.parametrize("options", [
    {"exclusive": True}, {"exclusive": True, "auto_delete": True},
    {"exclusive": True, "arguments": {"x-message-ttl": 60000}},
    {"exclusive": True, "arguments": {"x-unknown": [1, {"deep": None}]}},
])
def test_an_equal_redeclare_succeeds_and_counts(ch, options):
    name = amqp.unique("q")
    ch.declare(name, **options)
    ch.publish("", name, b"x")
    ch.ping()
    again = ch.declare(name, **options)
    assert (again.queue, again.message_count, again.consumer_count) == (name, 1, 0)


# Values of one type class are equal whatever their width; JSON tools cannot tell I from l.
@pytest.mark.parametrize("letter", list("bBsuIil"))
def test_integer_arguments_are_compared_by_value(ch, letter):
    name = amqp.unique("q")
    ch.declare(name, exclusive=True, arguments={"x-max-length": wire.Typed("I", 100)})
    ch.declare(name, exclusive=True, arguments={"x-max-length": wire.Typed(letter, 100)})


# Client libraries put their own notes into arguments: stored, not compared.
def test_unknown_arguments_may_differ_on_redeclare(ch):
    name = amqp.unique("q")
    ch.declare(name, exclusive=True, arguments={"x-note": "one", "more": 1})
    ch.declare(name, exclusive=True, arguments={"x-note": 2})
    ch.declare(name, exclusive=True)


def test_the_queue_type_classic_equals_no_type(ch):
    name = amqp.unique("q")
    ch.declare(name, exclusive=True)
    ch.declare(name, exclusive=True, arguments={"x-queue-type": "classic"})
    ch.refused("queue.declare", 406, None, queue=name, exclusive=True,
               arguments={"x-queue-type": "quorum"})


# Every argument of the comparison list: present or not must be the same as before.
@pytest.mark.parametrize("name, value", [
    ("x-expires", 60000), ("x-message-ttl", 60000), ("x-dead-letter-exchange", "dlx"),
    ("x-max-length", 5), ("x-max-length-bytes", 5), ("x-max-priority", 3),
    ("x-overflow", "reject-publish"), ("x-single-active-consumer", True),
])
def test_each_known_argument_is_compared_on_redeclare(ch, name, value):
    queue = amqp.unique("q")
    ch.declare(queue, exclusive=True, arguments={name: value})
    ch.declare(queue, exclusive=True, arguments={name: value})
    close = ch.refused("queue.declare", 406, None, queue=queue, exclusive=True)
    assert close.reply_text.startswith(
        f"PRECONDITION_FAILED - inequivalent arg '{name}' for queue '{queue}' in vhost '/': ")


def test_passive_declares_ignore_every_other_field(ch):
    name = ch.temp_queue()
    ch.declare(name, passive=True, durable=True, auto_delete=True, arguments={"x-expires": -1})


def test_nowait_declares_are_not_answered(ch):
    name = amqp.unique("q")
    ch.send("queue.declare", queue=name, exclusive=True, nowait=True)
    assert ch.declare(name, passive=True).queue == name


# Errata 9: nowait takes away the answer, not the error.
def test_nowait_does_not_hide_errors(ch):
    name = amqp.unique("q")
    ch.declare(name, exclusive=True)
    ch.refused("queue.declare", 405, None, queue=name, nowait=True)


# -- counts

# Trap 24: ready messages only; what is out for delivery is not counted.
def test_declare_ok_counts_ready_messages_and_all_consumers(ch, conn):
    name = ch.temp_queue()
    for _ in range(3):
        ch.publish("", name, b"x")
    ch.get(name, no_ack=False)
    assert ch.counts(name) == (2, 0)
    for other in (conn.channel(), conn.channel()):
        other.call("basic.qos", prefetch_count=1)
        other.consume(name)
        other.delivery()
    assert ch.counts(name) == (0, 2)


# -- purge and delete

def test_purge_takes_ready_messages_and_leaves_unacknowledged_ones(ch):
    name = ch.temp_queue()
    for body in (b"out", b"1", b"2"):
        ch.publish("", name, body)
    out = ch.get(name, no_ack=False)
    assert ch.call("queue.purge", queue=name).message_count == 2
    ch.nack(out.delivery_tag)
    assert ch.drain(name) == [b"out"]


def test_delete_counts_ready_messages(ch):
    name = ch.temp_queue()
    for _ in range(3):
        ch.publish("", name, b"x")
    ch.get(name, no_ack=False)
    assert ch.call("queue.delete", queue=name).message_count == 2
    ch.refused("queue.declare", 404, queue=name, passive=True)


def test_deleting_a_missing_queue_succeeds(ch):
    assert ch.call("queue.delete", queue="never-was").message_count == 0
    ch.call("queue.delete", queue="never-was", if_unused=True, if_empty=True)


def test_conditional_deletes_succeed_when_met(ch):
    name = ch.temp_queue()
    ch.call("queue.delete", queue=name, if_unused=True, if_empty=True)
    ch.refused("queue.declare", 404, queue=name, passive=True)


def test_nowait_deletes_and_purges_are_not_answered(ch):
    name = ch.temp_queue()
    ch.publish("", name, b"x")
    ch.send("queue.purge", queue=name, nowait=True)
    assert ch.counts(name) == (0, 0)
    ch.send("queue.delete", queue=name, nowait=True)
    ch.refused("queue.declare", 404, queue=name, passive=True)


def test_deleting_a_queue_removes_its_bindings(ch):
    name, exchange = amqp.unique("q"), ch.temp_exchange("fanout")
    ch.declare(name, exclusive=True)
    ch.bind(name, exchange)
    ch.call("queue.delete", queue=name)
    ch.declare(name, exclusive=True)
    ch.publish(exchange, "", b"x")
    ch.ping()
    assert ch.counts(name) == (0, 0)


# Acknowledgements of messages whose queue is gone are ordinary.
def test_settling_after_the_queue_was_deleted_is_no_error(ch):
    name = ch.temp_queue()
    for _ in range(3):
        ch.publish("", name, b"x")
    tags = [ch.get(name, no_ack=False).delivery_tag for _ in range(3)]
    ch.call("queue.delete", queue=name)
    ch.ack(tags[0])
    ch.nack(tags[1])
    ch.reject(tags[2], requeue=False)
    ch.ping()


# -- exclusive

# Trap 14: a client that reconnects at once must not meet its old queues.
def test_exclusive_queues_are_gone_before_close_ok(connect):
    name = amqp.unique("mine")
    for _ in range(20):
        conn = connect()
        conn.channel().declare(name, exclusive=True)
        conn.close()


def test_exclusive_queues_go_with_a_lost_socket(connect, ch):
    name = amqp.unique("mine")
    lost = connect()
    lost.channel().declare(name, exclusive=True)
    lost.drop()
    for _ in range(200):
        ch.send("queue.declare", queue=name, passive=True)
        answer = ch.expect("channel.close")
        ch.send("channel.close-ok")
        ch.call("channel.open")
        if answer.reply_code == 404:
            break
    assert answer.reply_code == 404


def test_an_exclusive_queue_belongs_to_the_connection_not_the_channel(conn):
    first = conn.channel()
    name = first.temp_queue()
    first.close()
    second = conn.channel()
    second.publish("", name, b"still there")
    assert second.get(name).body == b"still there"


# Publishing needs no exclusive access; that is how replies reach a temporary queue.
def test_others_may_publish_to_an_exclusive_queue(ch, connect):
    name = ch.temp_queue()
    other = connect().channel()
    other.publish("", name, b"reply")
    other.ping()
    assert ch.get(name).body == b"reply"


# -- auto-delete

def gone(ch, name):
    ch.send("queue.declare", queue=name, passive=True)
    if ch.next_method().name == "queue.declare-ok":
        return False
    ch.send("channel.close-ok")
    ch.call("channel.open")
    return True


def test_an_auto_delete_queue_goes_with_its_last_consumer(ch):
    name = amqp.unique("q")
    ch.declare(name, auto_delete=True)
    tags = [ch.consume(name), ch.consume(name)]
    ch.call("basic.cancel", consumer_tag=tags[0])
    assert not gone(ch, name)
    ch.call("basic.cancel", consumer_tag=tags[1])
    assert gone(ch, name)


def test_an_auto_delete_queue_goes_when_the_channel_of_its_consumer_ends(ch, conn):
    name, other = amqp.unique("q"), conn.channel()
    ch.declare(name, auto_delete=True)
    other.consume(name)
    other.close()
    assert gone(ch, name)


# Trap 15, errata 5: basic.get is no consumer, and one that never had any waits for its first.
def test_an_auto_delete_queue_that_never_had_a_consumer_stays(ch, connect):
    name, conn = amqp.unique("q"), connect()
    first = conn.channel()
    first.declare(name, auto_delete=True)
    first.publish("", name, b"x")
    assert first.get(name).body == b"x"
    conn.close()
    assert not gone(ch, name)
    ch.call("queue.delete", queue=name)


# A transient queue that is not exclusive is allowed: Celery's event queues are such.
def test_a_transient_shared_queue_outlives_its_connection(connect, ch):
    name, conn = amqp.unique("q"), connect()
    conn.channel().declare(name)
    conn.close()
    ch.declare(name)
    ch.call("queue.delete", queue=name)
