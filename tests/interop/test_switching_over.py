# SPDX-License-Identifier: Apache-2.0
"""`bourse drain` between Debian's rabbitmq-server and Bourse, both ways, and the steps of
docs/migrating-from-rabbitmq.md."""

import pytest

from support import broker as brokers, letters

pytestmark = pytest.mark.skipif(not brokers.RabbitMQ.installed(),
                                reason="rabbitmq-server is not installed")


@pytest.fixture(name="bourse", scope="module")
def fixture_bourse():
    with brokers.Bourse(options=["--ephemeral"]) as running:
        yield running


def address(broker, path=""):
    return f"amqp://guest:guest@127.0.0.1:{broker.amqp[1]}/{path}"


@pytest.fixture(name="ends", params=["from rabbitmq", "to rabbitmq"])
def fixture_ends(request, oracle, bourse):
    return (oracle, bourse) if request.param == "from rabbitmq" else (bourse, oracle)


def all_of(channel, queue):
    taken = []
    while (got := channel.get(queue)) is not None:
        taken.append(got)
    return taken


def test_messages_arrive_as_they_were(ends):
    source, target = (end.open().channel() for end in ends)
    source.declare("old/orders", durable=True)
    target.declare("orders", durable=True)
    bodies = [b"", b"\x00\xff", b"x" * 300000, *(b"%d" % number for number in range(2000))]
    for body in bodies:
        source.publish("", "old/orders", body, **letters.PROPERTIES)
    source.ping()
    words = ("drain", address(ends[0], "%2F/old%2Forders"), "--target", address(ends[1]))
    planned = brokers.run_command(*words, "--to", "orders", "--dry-run")
    assert planned.returncode == 0 and "2003 messages would be" in planned.stdout, planned.stderr
    done = brokers.run_command(*words, "--to", "orders")
    assert done.returncode == 0 and done.stdout == "2003 messages drained\n", done.stderr
    got = all_of(target, "orders")
    assert [message.body for message in got] == bodies
    block = letters.wire.encode_header(0, letters.PROPERTIES)[12:]
    assert {message.raw_header[12:] for message in got} == {block}
    assert source.counts("old/orders") == (0, 0)
    source.delete("old/orders")
    target.delete("orders")


def test_what_is_refused_is_told(oracle, bourse):
    words = ("drain", address(oracle, "none"), "--target", address(bourse), "--to", "x")
    missing = brokers.run_command(*words)
    assert missing.returncode == 66 and "404" in missing.stderr
    wrong = brokers.run_command("drain", address(oracle, "q").replace("guest:guest", "guest:wrong"),
                                "--to", "x")
    assert wrong.returncode == 77 and "403" in wrong.stderr and "wrong" not in wrong.stderr
