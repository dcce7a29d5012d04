# SPDX-License-Identifier: Apache-2.0
"""The broker as a process: signals, its end, what it leaves behind, several at once."""

import os
import signal
import subprocess
import time

import pytest

from support import amqp, broker as brokers

pytestmark = pytest.mark.bourse_only


@pytest.fixture
def own_broker():
    started = []

    def start(**options):
        started.append(brokers.Bourse(**options))
        return started[-1]

    yield start
    for one in started:
        one.kill()


# 320 tells clients with automatic recovery to come again.
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_broker_in_order(own_broker, number):
    broker = own_broker()
    conns = [broker.open() for _ in range(3)]
    channel = conns[0].channel()
    channel.consume(channel.temp_queue())
    broker.signal(number)
    for conn in conns:
        close = conn.expect_close(320)
        assert close.reply_text.startswith("CONNECTION_FORCED - ")
    assert broker.wait_exit() == 0
    assert not broker.sanitizer_reports()


# F18: clients that do not answer the close hold the end up, but not after a second signal. Whoever
# started the broker sees that it did not end in order. A disk that holds it up: tests/crash.
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_ends_at_once(own_broker, number):
    broker = own_broker()
    conn = broker.open()
    broker.signal(signal.SIGTERM)
    conn.expect(0, "connection.close")
    started = time.monotonic()
    broker.signal(number)
    assert broker.wait_exit(5) == -number
    assert time.monotonic() - started < 2


# A shell gives SIGINT to no one it has put into the background: it is ignored there from the start.
def test_a_second_signal_ends_at_once_where_it_was_ignored_before(own_broker):
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        broker = own_broker()
    finally:
        signal.signal(signal.SIGINT, before)
    conn = broker.open()
    broker.signal(signal.SIGINT)
    conn.expect(0, "connection.close")
    broker.signal(signal.SIGINT)
    assert broker.wait_exit(5) == -signal.SIGINT


def test_a_stopping_broker_takes_nobody_new(own_broker):
    broker = own_broker()
    conn = broker.open()
    broker.signal(signal.SIGTERM)
    conn.expect(0, "connection.close")
    with pytest.raises((OSError, amqp.Closed, amqp.Unexpected)):
        amqp.Connection(broker.amqp, timeout_s=1).open()
    conn.send(0, "connection.close-ok")
    assert broker.wait_exit() == 0


# F18: signals in the first milliseconds, before anything is set up.
@pytest.mark.parametrize("delay_ms", [0, 2, 5, 10, 20, 50])
def test_a_signal_during_start_ends_in_order(own_broker, delay_ms):
    broker = own_broker(wait_ready=False)
    time.sleep(delay_ms / 1000)
    broker.signal(signal.SIGTERM)
    assert broker.wait_exit() in (0, -signal.SIGTERM)
    assert not broker.sanitizer_reports()


def test_sighup_during_start_does_no_harm(own_broker, write_config):
    config = write_config('bourse: 1\nlisteners: {amqp: {bind: "127.0.0.1:0"}}\n')
    for _ in range(5):
        broker = own_broker(config=config, wait_ready=False)
        # Before the handlers are there SIGHUP ends a process; from then on it is a reload.
        broker.stdout.wait_for("data directory", 10)
        for _ in range(20):
            broker.signal(signal.SIGHUP)
        broker.wait_ready()
        broker.signal(signal.SIGTERM)
        assert broker.wait_exit() == 0


def test_a_storm_of_signals_is_survived(own_broker):
    broker = own_broker()
    conn = broker.open()
    for _ in range(50):
        broker.signal(signal.SIGPIPE)
        broker.signal(signal.SIGHUP)
    assert conn.is_alive()


# A peer that resets the connection while the broker writes is no reason to end.
def test_peers_that_vanish_while_being_written_to(own_broker):
    broker = own_broker()
    publisher = broker.open().channel()
    publisher.declare("q")
    for _ in range(10):
        reader = broker.open()
        reader.channel().consume("q")
        for _ in range(10):
            publisher.publish("", "q", b"x" * 100_000)
        reader.drop()
    publisher.ping()
    assert publisher.connection.is_alive()


# F15: nobody reads the log, or nobody can: the broker goes on.
def test_a_log_that_nobody_reads_does_not_stop_the_broker():
    read_end, write_end = os.pipe()
    process = subprocess.Popen([brokers.binary(), "serve", "--amqp", "127.0.0.1:0",
                                "--http", "off", "--metrics", "off"],
                               stdout=subprocess.PIPE, stderr=write_end)
    os.close(write_end)
    os.close(read_end)
    try:
        for line in process.stdout:
            if line.startswith(b"bourse ready:"):
                break
        address = brokers.parse_address(line.split(b"amqp://")[1].split()[0].decode())
        for _ in range(20):
            conn = amqp.Connection(address)
            conn.read_start()
            conn.send_bytes(b"garbage that is logged")
            conn.drop()
        amqp.Connection(address).open().close()
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(12) == 0
        process.stdout.close()


def test_two_brokers_know_nothing_of_each_other(own_broker):
    one, two = own_broker().open().channel(), own_broker().open().channel()
    one.declare("only-here")
    two.refused("queue.declare", 404, queue="only-here", passive=True)
