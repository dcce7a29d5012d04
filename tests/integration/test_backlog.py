# SPDX-License-Identifier: Apache-2.0
"""Backlogs several times larger than the memory mark: publishing goes on, resident memory stays
bounded, and every message comes back whole and in order."""

import os
import re

import pytest

from support import broker as brokers

pytestmark = pytest.mark.bourse_only

FILE = """
    bourse: 1
    server: {memory: 24MiB}
    users:
      u: {auth: password, password-file: u.pw, rights: {configure: ".*", write: ".*", read: ".*"}}
    listeners:
      amqp: {bind: "127.0.0.1:0"}
"""
COUNT, SIZE = 8000, 16384  # 125 MiB
BURST = 50


def body(number):
    return b"%08d" % number * (SIZE // 8)


def resident_mib(broker):
    if "thread" in os.path.dirname(brokers.binary()):
        pytest.skip("under the thread sanitizer every octet has shadows that count as resident")
    with open(f"/proc/{broker.process.pid}/status") as status:
        return int(re.search(r"VmRSS:\s+(\d+)", status.read())[1]) // 1024


class Backlog:
    """A broker under a small mark, and the next one on the same directory."""

    def __init__(self, write_config, canaries, directory):
        self.config = write_config(FILE, ["u"])
        self.password, self.directory = canaries["u"], directory
        self.broker = None
        self.start()

    def start(self):
        self.broker = brokers.Bourse(self.config, data_dir=self.directory, measured=True)

    def channel(self):
        return self.broker.open(user="u", password=self.password).channel()

    def restart(self):
        for connection in self.broker.connections:
            connection.drop()
        self.broker.stop()
        self.start()

    def fill(self, queue, delivery_mode):
        channel = self.channel()
        channel.declare(queue, durable=True)
        channel.call("confirm.select")
        for number in range(COUNT):
            channel.publish("", queue, body(number), delivery_mode=delivery_mode)
            if number % BURST == BURST - 1:
                while channel.expect("basic.ack").delivery_tag != number + 1:
                    pass
        # Where the disk is slower than we are it may have been blocked, and let go, for a moment.
        channel.connection.received()
        return channel


@pytest.fixture
def backlog(write_config, canaries, tmp_path):
    one = Backlog(write_config, canaries, tmp_path / "data")
    yield one
    one.broker.stop()


def drain(channel, queue, first=0, last=COUNT):
    """Takes and acknowledges messages, which must be `first` to `last` in order."""
    channel.call("basic.qos", prefetch_count=BURST)
    channel.consume(queue)
    for number in range(first, last):
        delivery = channel.delivery()
        assert delivery.body == body(number)
        if number % 10 == 9 or number == last - 1:
            channel.ack(delivery.delivery_tag, multiple=True)


# Twice the mark is what resident memory may come to beside what a broker without messages has: chunks
# that are kept for the next contents, and what the allocator keeps.
@pytest.mark.parametrize("delivery_mode", [1, 2])
def test_a_backlog_of_five_times_the_mark_comes_back_in_order(backlog, delivery_mode):
    before = resident_mib(backlog.broker)
    channel = backlog.fill("q", delivery_mode)
    assert resident_mib(backlog.broker) - before < 48
    assert channel.counts("q")[0] == COUNT
    drain(channel, "q")
    assert channel.counts("q")[0] == 0
    assert resident_mib(backlog.broker) - before < 48


def test_a_backlog_survives_a_restart(backlog):
    backlog.fill("q", 2)
    backlog.restart()
    drain(backlog.channel(), "q")


def test_messages_that_come_back_from_a_lost_consumer_keep_their_place(backlog):
    backlog.fill("q", 2)
    first = backlog.channel()
    first.consume("q")
    first.deliveries(3000)
    first.connection.drop()
    second = backlog.channel()
    second.wait_for_counts("q", COUNT, 0)
    drain(second, "q")


def test_purge_counts_what_is_on_disk(backlog):
    channel = backlog.fill("q", 2)
    assert channel.call("queue.purge", queue="q").message_count == COUNT
    assert channel.counts("q")[0] == 0
    backlog.restart()
    assert backlog.channel().counts("q")[0] == 0
