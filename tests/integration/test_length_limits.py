# SPDX-License-Identifier: Apache-2.0
"""x-max-length, x-max-length-bytes, x-overflow: dropping the oldest and refusing the newest."""

import pytest

from support import documents


def limited(ch, **arguments):
    return ch.temp_queue(arguments={f"x-{name.replace('_', '-')}": value
                                    for name, value in arguments.items()})


def publish_all(ch, queue, bodies, exchange=""):
    for body in bodies:
        ch.publish(exchange, queue, body)
    ch.ping()


def answers(ch, last):
    """What the broker said to each publish up to number `last`: a string of a (ack) and n (nack)."""
    said = {}
    while len(said) < last:
        method = ch.expect("basic.ack", "basic.nack")
        first = 1 if method.multiple else method.delivery_tag
        for number in range(first, method.delivery_tag + 1):
            said.setdefault(number, "a" if method.name == "basic.ack" else "n")
    return "".join(said[number] for number in sorted(said))


# -- dropping

def test_the_oldest_messages_are_dropped(ch):
    queue = limited(ch, max_length=3)
    publish_all(ch, queue, ["1", "2", "3", "4", "5"])
    assert ch.counts(queue)[0] == 3
    assert ch.drain(queue) == [b"3", b"4", b"5"]


def test_octets_of_bodies_count(ch):
    queue = limited(ch, max_length_bytes=10, overflow="drop-head")
    publish_all(ch, queue, ["aaaa", "bbbb", "cc"])
    assert ch.counts(queue)[0] == 3
    publish_all(ch, queue, ["d"])
    assert ch.drain(queue) == [b"bbbb", b"cc", b"d"]
    publish_all(ch, queue, ["a body longer than the limit"])
    assert ch.drain(queue) == []


def test_either_limit_is_enough(ch):
    queue = limited(ch, max_length=2, max_length_bytes=10)
    publish_all(ch, queue, ["a", "b", "c"])
    publish_all(ch, queue, ["ten octets"])
    assert ch.drain(queue) == [b"ten octets"]


def test_a_queue_of_length_0_passes_messages_to_waiting_consumers_only(ch):
    queue = limited(ch, max_length=0)
    publish_all(ch, queue, ["lost"])
    ch.consume(queue, no_ack=True)
    ch.publish("", queue, b"taken")
    assert ch.delivery().body == b"taken"
    ch.expect_nothing(queue)


def test_open_deliveries_do_not_count_until_they_come_back(ch):
    queue = limited(ch, max_length=2)
    publish_all(ch, queue, ["1", "2"])
    tag = [ch.get(queue, no_ack=False).delivery_tag for _ in range(2)][-1]
    publish_all(ch, queue, ["3", "4"])
    assert ch.counts(queue)[0] == 2
    ch.nack(tag, multiple=True, requeue=True)
    ch.ping()
    assert ch.drain(queue) == [b"3", b"4"]


def test_a_dropped_message_is_confirmed(ch):
    queue = limited(ch, max_length=1)
    ch.call("confirm.select")
    for _ in range(3):
        ch.publish("", queue, b"x")
    assert answers(ch, 3) == "aaa"


# -- refusing

@pytest.mark.parametrize("overflow", ["reject-publish", "reject-publish-dlx"])
def test_a_full_queue_refuses_and_says_so(ch, overflow):
    queue = limited(ch, max_length=2, overflow=overflow)
    ch.call("confirm.select")
    for number in range(4):
        ch.publish("", queue, str(number))
    assert answers(ch, 4) == "aann"
    assert ch.get(queue).body == b"0"
    ch.publish("", queue, "again")
    assert answers_from(ch, 5) == "basic.ack"
    assert ch.drain(queue) == [b"1", b"again"]


def answers_from(ch, number):
    method = ch.expect("basic.ack", "basic.nack")
    assert method.delivery_tag == number, method
    return method.name


def test_octets_are_counted_before_a_message_is_taken(ch):
    queue = limited(ch, max_length_bytes=5, overflow="reject-publish")
    ch.call("confirm.select")
    for body in ("abc", "def", "gh", ""):
        ch.publish("", queue, body)
    assert answers(ch, 4) == "anaa"
    assert ch.drain(queue) == [b"abc", b"gh", b""]


def test_without_confirms_nobody_is_told(ch):
    queue = limited(ch, max_length=1, overflow="reject-publish")
    publish_all(ch, queue, ["kept", "refused"])
    ch.expect_nothing()
    assert ch.drain(queue) == [b"kept"]


def test_a_waiting_consumer_keeps_a_queue_from_being_full(ch):
    queue = limited(ch, max_length=1, overflow="reject-publish")
    ch.consume(queue, no_ack=True)
    ch.call("confirm.select")
    for number in range(50):
        ch.publish("", queue, str(number))
    bodies = []
    said = 0
    while len(bodies) < 50 or said < 50:
        method = ch.expect("basic.deliver", "basic.ack")
        if method.name == "basic.deliver":
            bodies.append(method.body)
        else:
            said = method.delivery_tag
    assert bodies == [str(number).encode() for number in range(50)]


def test_one_queue_that_refuses_makes_a_nack_and_the_others_keep_the_message(ch):
    exchange = ch.temp_exchange("fanout")
    full = limited(ch, max_length=0, overflow="reject-publish")
    free = ch.temp_queue()
    ch.bind(full, exchange)
    ch.bind(free, exchange)
    ch.call("confirm.select")
    ch.publish(exchange, "", b"x")
    assert answers(ch, 1) == "n"
    assert (ch.drain(full), ch.drain(free)) == ([], [b"x"])


def test_a_refused_message_is_not_returned(ch):
    queue = limited(ch, max_length=0, overflow="reject-publish")
    ch.call("confirm.select")
    ch.publish("", queue, b"x", mandatory=True)
    assert ch.expect("basic.return", "basic.nack").name == "basic.nack"
    ch.expect_nothing()


def test_a_transaction_that_is_refused_in_part(ch):
    queue, free = limited(ch, max_length=1, overflow="reject-publish"), ch.temp_queue()
    ch.call("tx.select")
    for body in ("1", "2"):
        ch.publish("", queue, body)
    ch.publish("", free, b"3")
    ch.refused("tx.commit", 406, "PRECONDITION_FAILED - partial tx completion")
    assert (ch.drain(queue), ch.drain(free)) == ([b"1"], [b"3"])


# -- in files

FILE = """
    bourse: 1
    queues:
      drops: {limits: {max-length: 100, on-full: drop-oldest}}
    users:
      keeper: {auth: password, password-file: keeper.pw,
               rights: {configure: ".*", write: ".*", read: ".*"}}
    listeners:
      amqp: {bind: "127.0.0.1:0"}
"""


@pytest.mark.bourse_only
def test_a_lower_limit_in_the_file_cuts_at_once(serve, write_config, canaries):
    broker = serve(FILE, passwords=("keeper",))
    ch = broker.open(user="keeper", password=canaries["keeper"]).channel()
    publish_all(ch, "drops", [str(number) for number in range(10)])
    write_config(FILE.replace("100", "2"), passwords=("keeper",))
    broker.reload(r"config\.reloaded")
    assert ch.counts("drops")[0] == 2
    assert ch.drain("drops") == [b"8", b"9"]


# docs/limits.md
@pytest.mark.bourse_only
def test_the_example_of_the_documents(serve, canaries):
    ch = documents.serve_example(serve, canaries, "limits.md")
    publish_all(ch, "prices", ["1", "2", "3", "4", "5"])
    assert ch.drain("prices") == [b"3", b"4", b"5"]
    ch.call("confirm.select")
    for _ in range(3):
        ch.publish("", "orders", b"o" * 400)
    assert answers(ch, 3) == "aan"
    assert len(ch.drain("orders")) == 2
