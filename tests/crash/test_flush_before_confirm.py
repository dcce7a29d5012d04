# SPDX-License-Identifier: Apache-2.0
"""I1 of the design: no confirm and no other success answer for durable state leaves before the flush
that covers it has returned. Shown by the system calls themselves, as strace sees them."""

import os
import shutil
import signal
import subprocess
import time

import pytest

from crash import trace
from crash.process import Process
from crash.session import connect
from crash.variants import Segments
from support import wire

COUNT = 200


def hexadecimal(data):
    return "".join(f"\\x{octet:02x}" for octet in data)


ACK = wire.method_frame(1, "basic.ack", delivery_tag=1, multiple=False)
SEGMENT = "9</data/seg.1>"
SOCKET = "12<socket:[77]>"
WRITE, WRITE_OF_2 = (f'10 pwritev({SEGMENT}, [{{iov_base="{hexadecimal(data)}", iov_len=12}}], 1, 0)'
                     " = 12" for data in (b"..marker-1..", b"..marker-2.."))
FLUSH = f"11 fdatasync({SEGMENT}) = 0"
SEND = f'10 sendto({SOCKET}, "{hexadecimal(ACK)}", {len(ACK)}, 0, NULL, 0) = {len(ACK)}'


# The reader of traces must see what is wrong, in every order of lines that is wrong.
@pytest.mark.parametrize("lines,is_early", [
    ([WRITE, FLUSH, SEND], False),
    ([WRITE, SEND, FLUSH], True),
    ([WRITE, SEND], True),
    ([FLUSH, WRITE, SEND], True),
    ([SEND], True),
    ([WRITE, f"11 fdatasync({SEGMENT}) = -1 EIO (Input/output error)", SEND], True),
    ([WRITE, FLUSH.replace("seg.1", "seg.2"), SEND], True),
    # The flush has begun, and not ended.
    ([WRITE, f"11 fdatasync({SEGMENT} <unfinished ...>", SEND,
      "11 <... fdatasync resumed>) = 0"], True),
    ([WRITE, f"11 fdatasync({SEGMENT} <unfinished ...>", "11 <... fdatasync resumed>) = 0",
      SEND], False),
    # The write ends only after the flush has begun.
    ([WRITE.replace(") = 12", " <unfinished ...>"), f"11 fdatasync({SEGMENT} <unfinished ...>",
      "10 <... pwritev resumed>) = 12", "11 <... fdatasync resumed>) = 0", SEND], True),
    ([WRITE_OF_2, FLUSH, SEND], True),
])
def test_an_answer_before_its_flush_is_found(lines, is_early):
    seen = trace.Trace("/data", {1: "marker-1"}, {}).read(lines)
    assert seen.confirmed == 1
    assert bool(seen.early) == is_early, seen.early


# multiple covers everything before.
def test_a_confirm_of_many_needs_all_of_them():
    ack = wire.method_frame(1, "basic.ack", delivery_tag=2, multiple=True)
    lines = [WRITE, FLUSH, f'10 sendto({SOCKET}, "{hexadecimal(ack)}", 21, 0, NULL, 0) = 21']
    seen = trace.Trace("/data", {1: "marker-1", 2: "marker-2"}, {}).read(lines)
    assert seen.confirmed == 2
    assert seen.early == ["the confirm of 2 left before [b'marker-2'] was flushed"]


@pytest.fixture
def strace(tmp_path):
    """The command that traces; skips where tracing is not allowed."""
    if shutil.which("strace") is None:
        pytest.skip("strace is not installed")
    command = ["strace", *trace.OPTIONS, "-o", str(tmp_path / "trace")]
    probe = subprocess.run([*command, "sync", str(tmp_path)], capture_output=True, text=True)
    if probe.returncode != 0:
        pytest.skip(f"strace does not work here: {probe.stderr.strip().splitlines()[-1]}")
    return command


def publish_all(connection):
    """Channel 1, confirms: one by one, then all at once. Returns the markers by delivery tag."""
    channel = connection.channel(1)
    channel.declare("q", durable=True)
    channel.call("confirm.select")
    confirms = {tag: f"marker-{tag:06}-of-a-publish" for tag in range(1, 2 * COUNT + 1)}
    done = 0
    for tag, marker in confirms.items():
        channel.publish("", "q", marker, delivery_mode=2)
        while tag <= COUNT and done < tag:
            done = channel.expect("basic.ack").delivery_tag
    while done < 2 * COUNT:
        done = max(done, channel.expect("basic.ack").delivery_tag)
    return confirms


def declare_all(connection):
    """Channel 2. Returns the octets of each answer with the name it needs."""
    channel = connection.channel(2)
    answers = {}
    for number in range(20):
        name = f"marker-{number:06}-of-a-queue"
        channel.declare(name, durable=True)
        answers[wire.method_frame(2, "queue.declare-ok", queue=name)] = [name]
    return answers


def commit(connection):
    channel = connection.channel(3)
    channel.call("tx.select")
    markers = [f"marker-{number:06}-of-a-commit" for number in range(5)]
    for marker in markers:
        channel.publish("", "q", marker, delivery_mode=2)
    channel.call("tx.commit")
    return {wire.method_frame(3, "tx.commit-ok"): markers}


def signal_traced(process, number):
    """To the broker, which is the child of strace."""
    pid = process.process.pid
    with open(f"/proc/{pid}/task/{pid}/children") as children:
        os.kill(int(children.read().split()[0]), number)


def stop_traced(process):
    """strace ends with the broker."""
    signal_traced(process, signal.SIGTERM)
    assert process.reap() == 0, process.log_tail()


def wait_for_line(process, text, timeout_s=20):
    deadline = time.monotonic() + timeout_s
    while text not in process.log_tail():
        assert time.monotonic() < deadline and not process.has_ended(), process.log_tail()


def test_no_answer_leaves_before_the_flush_that_covers_it(strace, tmp_path, keeps_data):
    config = tmp_path / "bourse.yaml"
    config.write_text(Segments().config())
    process = Process(config, tmp_path, prefix=strace)
    assert process.wait_ready(20), process.log_tail()
    connection = connect(process.address)
    confirms = publish_all(connection)
    answers = {**declare_all(connection), **commit(connection)}
    connection.close()
    stop_traced(process)
    with open(tmp_path / "trace", errors="replace") as lines:
        seen = trace.Trace(tmp_path / "data", confirms, answers).read(lines)
    assert seen.confirmed == len(confirms)
    assert seen.answered == len(answers)
    assert seen.early == []
    assert seen.flushes > COUNT


# Whoever reads the line may kill the broker in the same moment.
def test_ready_and_reloaded_are_said_after_the_flush_of_what_the_file_made(strace, tmp_path,
                                                                           keeps_data):
    config = tmp_path / "bourse.yaml"
    plain = Segments().config().replace("level: warn", "level: info")
    config.write_text(plain + "queues: {marker-of-the-start: {}}\n")
    process = Process(config, tmp_path, prefix=strace)
    assert process.wait_ready(20), process.log_tail()
    config.write_text(plain + "queues: {marker-of-the-start: {}, marker-of-a-reload: {}}\n")
    signal_traced(process, signal.SIGHUP)
    wait_for_line(process, "config.reloaded")
    stop_traced(process)
    with open(tmp_path / "trace", errors="replace") as lines:
        seen = trace.Trace(tmp_path / "data", {}, {
            b"bourse ready:": ["marker-of-the-start"],
            b"event=config.reloaded": ["marker-of-a-reload"],
        }).read(lines)
    assert seen.answered == 2
    assert seen.early == []
