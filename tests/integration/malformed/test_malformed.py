# SPDX-License-Identifier: Apache-2.0
"""Runs the table of malformed input: each case over a fresh connection, while a second,
well-behaved connection must not notice."""

import pytest

from cases import CASES, EXCHANGE, LOCKED, QUEUE
from support import amqp, wire


@pytest.fixture(scope="module")
def bystander(broker):
    """A channel that does ordinary work beside every case."""
    channel = broker.open().channel()
    channel.declare(QUEUE)
    channel.call("exchange.declare", exchange=EXCHANGE, type="direct")
    channel.declare(LOCKED, exclusive=True)
    channel.own_queue = channel.temp_queue()
    yield channel
    channel.call("queue.delete", queue=QUEUE)
    channel.call("exchange.delete", exchange=EXCHANGE)
    channel.connection.close()


@pytest.fixture(scope="module")
def ending():
    """(case name, connection) of sockets that the broker may close after a grace period: waited
    for in one go at the end, so that the table does not take minutes."""
    return []


def brought_to(broker, stage, source):
    """A connection that has behaved well up to `stage`. Each has a source address of its own, since
    connections that have not logged in are counted per source."""
    conn = amqp.Connection(broker.amqp, source=source)
    if stage == "started":
        conn.read_start()
    elif stage == "authenticated":
        conn.login()
    elif stage in ("opened", "channel"):
        conn.open()
        if stage == "channel":
            conn.channel(1)
    return conn


def send(conn, data):
    """The broker may close while we are still writing; what it says has arrived by then."""
    try:
        conn.send_bytes(data)
    except OSError:
        pass


def expect(conn, answer):
    """Checks the answer; true when the end of the socket is still due."""
    if answer.kind == "header":
        assert conn.read_exactly(8) == wire.PROTOCOL_HEADER
    elif answer.kind == "closed":
        close = conn.expect(0, "connection.close")
        assert close.reply_code in answer.codes, close
    elif answer.kind == "soft":
        close = conn.expect(1, "channel.close")
        assert close.reply_code in answer.codes, close
        conn.send(1, "channel.close-ok")
        conn.call(1, "channel.open")
        conn.close()
        return False
    return True


@pytest.mark.parametrize("number, case", enumerate(CASES), ids=[case.name for case in CASES])
def test_malformed(broker, peer, bystander, ending, number, case):
    if peer == "rabbitmq" and case.differs:
        pytest.skip(case.differs)
    conn = brought_to(broker, case.stage, f"127.0.{4 + number // 200}.{1 + number % 200}")
    send(conn, case.data)
    if expect(conn, case.answer):
        ending.append((case, conn))
    bystander.publish("", bystander.own_queue, case.name)
    assert bystander.get(bystander.own_queue).body == case.name.encode()


# After a framing error the input is not trusted any more: the socket goes, if after a moment.
def test_every_socket_was_closed_in_the_end(ending, bystander):
    assert bystander.connection.is_alive()
    for case, conn in ending:
        try:
            if case.answer.kind == "closed":
                send(conn, wire.method_frame(0, "connection.close-ok"))
                conn.expect_eof()
            elif case.answer.kind == "header":
                conn.expect_eof()
            else:
                conn.expect_end(*case.answer.codes, skip=("connection.tune",))
        except AssertionError as error:
            raise AssertionError(f"{case.name}: {error}") from error
        finally:
            conn.drop()


def test_the_table_is_large_enough():
    assert len(CASES) >= 150
