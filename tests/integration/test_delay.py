# SPDX-License-Identifier: Apache-2.0
"""Messages that come later: docs/delay.md, over real sockets and by the real clock."""

import os
import random
import re
import time

import pytest

from support import broker as brokers, wire

pytestmark = pytest.mark.bourse_only

USER = '''
users:
  u: {auth: password, password-file: u.pw, rights: {configure: ".*", write: ".*", read: ".*"}}
listeners:
  amqp: {bind: "127.0.0.1:0"}
'''

TEN_YEARS_MS = 315360000000


def read_example():
    with open(os.path.join(brokers.REPOSITORY, "docs", "delay.md")) as file:
        return re.search(r"```yaml\n(.*?)```", file.read(), re.DOTALL).group(1)


def now_ms():
    return int(time.time() * 1000)


def delayed_exchange(ch, name="later", kind="fanout", **options):
    ch.call("exchange.declare", exchange=name, type="x-delayed-message",
            arguments={"x-delayed-type": kind}, **options)
    return name


@pytest.fixture
def later(ch):
    """A queue behind the delayed exchange `later`."""
    queue = ch.temp_queue()
    delayed_exchange(ch, auto_delete=True)
    ch.bind(queue, "later")
    return queue


# What the document shows does what the document says.
def test_the_example_of_the_document(serve, canaries):
    broker = serve(read_example() + USER, ["u"])
    channel = broker.open(user="u", password=canaries["u"]).channel()
    sent = time.monotonic()
    channel.publish("reminders", "mail.welcome", b"later", headers={"x-delay": 300})
    channel.publish("reminders", "mail.welcome", b"at once")
    channel.publish("reminders", "other", b"nobody's")
    assert channel.wait_for("mail").body == b"at once"
    assert channel.wait_for("mail").body == b"later"
    assert time.monotonic() - sent >= 0.3
    assert channel.get("mail") is None


@pytest.mark.parametrize("delay", [200, "200", 200.7, wire.Typed("s", 200), wire.Typed("L", 200)])
def test_a_message_is_held_back(ch, later, delay):
    sent = time.monotonic()
    ch.publish("later", "", b"x", headers={"x-delay": delay})
    ch.ping()
    assert ch.get(later) is None
    message = ch.wait_for(later)
    assert time.monotonic() - sent >= 0.2
    assert "x-delay" in message.properties["headers"]


# Celery's `eta`.
def test_an_absolute_time_is_kept(ch, later):
    at = now_ms() + 300
    ch.publish("later", "", b"x", headers={"x-deliver-at": at})
    ch.wait_for(later)
    assert now_ms() >= at


def test_messages_come_in_due_order(ch, later):
    for delay in (300, 100, 200, 0, 400):
        ch.publish("later", "", str(delay), headers={"x-delay": delay})
    assert [ch.wait_for(later).body for _ in range(5)] == [b"0", b"100", b"200", b"300", b"400"]


# A consumer that waits gets each when it is due.
def test_a_consumer_gets_them_when_they_are_due(ch, later):
    ch.consume(later, no_ack=True)
    for delay in (150, 50):
        ch.publish("later", "", str(delay), headers={"x-delay": delay})
    assert [ch.delivery().body for _ in range(2)] == [b"50", b"150"]


@pytest.mark.parametrize("headers", [{"x-delay": "soon"}, {"x-delay": True},
                                     {"x-delay": TEN_YEARS_MS + 1}, {"x-deliver-at": 2 ** 62}])
def test_what_is_no_delay_is_refused(conn, headers):
    channel = conn.channel()
    delayed_exchange(channel, "refusing", auto_delete=True)
    queue = channel.temp_queue()
    channel.bind(queue, "refusing")
    channel.publish("refusing", "", b"x", headers=headers)
    assert "invalid header" in channel.expect_close(406).reply_text


@pytest.mark.parametrize("arguments, text", [
    ({}, "Invalid argument, 'x-delayed-type' must be an existing exchange type"),
    ({"x-delayed-type": 5}, "Invalid argument, 'x-delayed-type' must be an existing exchange type"),
    ({"x-delayed-type": "x-delayed-message"},
     "Invalid argument, 'x-delayed-type' must be an existing exchange type"),
    ({"x-delayed-type": "nothing"}, "unknown exchange type 'nothing'"),
])
def test_an_inner_type_is_needed(ch, arguments, text):
    closed = ch.refused("exchange.declare", 406, exchange="no", type="x-delayed-message",
                        arguments=arguments)
    assert text in closed.reply_text


def test_another_inner_type_is_another_exchange(ch):
    delayed_exchange(ch, "one", auto_delete=True)
    delayed_exchange(ch, "one", auto_delete=True)
    closed = ch.refused("exchange.declare", 406, exchange="one", type="x-delayed-message",
                        auto_delete=True, arguments={"x-delayed-type": "topic"})
    assert "inequivalent arg 'x-delayed-type'" in closed.reply_text


DURABLE = '''
bourse: 1
exchanges:
  later: {type: x-delayed-message, arguments: {x-delayed-type: fanout}}
queues:
  q: {from: [{exchange: later}]}
''' + USER


# What is overdue when the broker comes back comes in due order; what is not waits on.
def test_delays_survive_being_killed(write_config, canaries, tmp_path):
    config = write_config(DURABLE, ["u"])
    broker = brokers.Bourse(config, data_dir=tmp_path / "data")
    channel = broker.open(user="u", password=canaries["u"]).channel()
    channel.call("confirm.select")
    last = now_ms() + 4000
    for number, at in ((3, last), (2, now_ms() + 900), (1, now_ms() + 500), (0, now_ms() + 700)):
        channel.publish("later", "", str(number), delivery_mode=2, headers={"x-deliver-at": at})
    while channel.expect("basic.ack").delivery_tag < 4:
        pass
    broker.kill()
    time.sleep(1)
    broker = brokers.Bourse(config, data_dir=tmp_path / "data")
    try:
        channel = broker.open(user="u", password=canaries["u"]).channel()
        assert [channel.wait_for("q").body for _ in range(3)] == [b"1", b"0", b"2"]
        message = channel.wait_for("q")
        assert message.body == b"3" and now_ms() >= last
        assert not message.redelivered
    finally:
        broker.stop()


# Whatever was confirmed comes once it is due, not before, and what is due in order in order; over
# as many ends as there are, however they come.
@pytest.mark.parametrize("seed", range(3))
def test_nothing_is_early_lost_or_out_of_order_over_kills(write_config, canaries, tmp_path, seed):
    dice = random.Random(seed)
    config = write_config(DURABLE, ["u"])
    owed, got = {}, []
    number = 0
    for life in range(4):
        broker = brokers.Bourse(config, data_dir=tmp_path / "data")
        channel = broker.open(user="u", password=canaries["u"]).channel()
        channel.call("confirm.select")
        sent = {}
        for _ in range(60):
            due = now_ms() + dice.choice([0, dice.randrange(300), dice.randrange(2500)])
            channel.publish("later", "", str(number), delivery_mode=2, headers={"x-deliver-at": due})
            sent[number] = due
            number += 1
        while channel.expect("basic.ack").delivery_tag < len(sent):
            pass
        owed.update(sent)
        ends = time.monotonic() + dice.random() * 0.7
        while time.monotonic() < ends or life == 3 and owed:
            message = channel.get("q", no_ack=True)
            if message is not None:
                assert now_ms() >= owed[int(message.body)], "early"
                got.append((life, owed.pop(int(message.body))))
            assert time.monotonic() < ends + 20, f"lost: {owed}"
        if life < 3:
            # What was got and not written down yet may come again: it is owed no more.
            channel.ping()
            time.sleep(0.2)
            broker.kill()
        else:
            broker.stop()
    assert len(got) == number
    # Overdue ones of the life before come first, behind nothing.
    last = [due for life, due in got if life == 3][-20:]
    assert last == sorted(last)
