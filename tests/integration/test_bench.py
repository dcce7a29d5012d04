# SPDX-License-Identifier: Apache-2.0
"""`bourse bench`: what it counts is what went through the broker, and it leaves nothing behind."""

import json
import signal
import subprocess
import time

import pytest

from support import broker as brokers

pytestmark = pytest.mark.bourse_only


@pytest.fixture(name="running", scope="module")
def fixture_running():
    with brokers.Bourse() as running:
        yield running


def run(running, *words):
    return brokers.run_command("bench", f"amqp://127.0.0.1:{running.amqp[1]}", *words, timeout_s=60)


def queues_of(running):
    listed = brokers.run_command("ls", "queues", "-o", "name", "--context",
                                 f"{running.data_dir}/bourse.sock")
    assert listed.returncode == 0, listed.stderr
    return listed.stdout.split()


def test_what_is_published_is_confirmed_and_received(running):
    done = run(running, "--seconds", "1", "--producers", "3", "--consumers", "2", "--rate", "300",
               "-o", "json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    counts = {row["measure"]: row for row in told["measures"]}
    assert set(counts) == {"published", "confirmed", "received"}
    assert len({row["count"] for row in told["measures"]}) == 1 and done.stderr == ""
    assert 200 <= counts["published"]["count"] <= 310
    for name in ("confirmed", "received"):
        row = counts[name]
        assert 0 < row["p50_ms"] <= row["p90_ms"] <= row["p99_ms"] <= row["p999_ms"]
        assert row["p999_ms"] <= row["max_ms"]
        assert sum(step["count"] for step in told["histogram"][name]) == row["count"]
    assert told["settings"] == {"producers": 3, "consumers": 2, "size": 256, "confirm": 100,
                                "prefetch": 200, "rate": 300, "persistent": True}
    assert queues_of(running) == []


def test_as_fast_as_it_goes_without_confirms_and_as_a_table(running):
    done = run(running, "--seconds", "1", "--confirm", "0", "--transient", "--size", "8")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].split()[:2] == ["MESSAGES", "COUNT"]
    assert [line.split()[0] for line in lines[1:3]] == ["published", "received"]
    assert "####" in done.stdout and "\x1b" not in done.stdout + done.stderr
    assert queues_of(running) == []


def test_publishing_alone(running):
    done = run(running, "--seconds", "1", "--consumers", "0", "--rate", "100", "-o", "csv")
    assert done.returncode == 0, done.stderr
    assert "0000001" not in done.stdout
    assert [line.split(",")[0] for line in done.stdout.splitlines()] == [
        "measure", "published", "confirmed"]


def test_an_interrupt_ends_it_with_what_was_measured(running):
    process = subprocess.Popen(
        [brokers.binary(), "bench", f"amqp://127.0.0.1:{running.amqp[1]}", "--seconds", "60",
         "--rate", "100", "-o", "json"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 20
    while not queues_of(running):
        assert time.monotonic() < deadline
    process.send_signal(signal.SIGINT)
    out, told = process.communicate(timeout=20)
    assert process.returncode == 0, told
    assert json.loads(out)["measures"]
    assert queues_of(running) == []


@pytest.mark.parametrize("words, status, told", [
    (("--size", "7"), 64, "at least 8"), (("--producers", "0"), 64, "--producers"),
    (("--producers", "101"), 64, "1 to 100"), (("--seconds", "x"), 64, "3600"),
    (("--confirm", "-1"), 64, "--confirm"),
])
def test_what_is_wrong_is_told(running, words, status, told):
    done = run(running, *words)
    assert done.returncode == status and told in done.stderr


def test_nobody_is_there():
    done = brokers.run_command("bench", "amqp://127.0.0.1:1")
    assert done.returncode == 69 and done.stderr.count("\n") == 1
