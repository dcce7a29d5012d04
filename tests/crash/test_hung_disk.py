# SPDX-License-Identifier: Apache-2.0
"""A disk whose flushes do not come back. The end in order waits for it; a second signal does
not (F18), and what was confirmed before is there after the next start."""

import os
import select
import signal
import time

import pytest

from crash import fail_call
from crash.replays import ControlSocket
from support import broker as brokers

CONFIRMED = 50
PATIENCE_S = 10
AT_ONCE_S = 2


class HungDisk:
    """A broker on a disk that hangs from `hang` on."""

    def __init__(self, directory):
        self.data, self.switch, fifo = directory / "data", directory / "hang", directory / "fired"
        os.mkfifo(fifo)
        self.report = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
        environment = {"LD_PRELOAD": fail_call.preload(), "FAIL_CALL_KIND": "flush",
                       "FAIL_CALL_HOW": "hang", "FAIL_CALL_WHEN": str(self.switch),
                       "FAIL_CALL_DIRECTORY": str(self.data), "FAIL_CALL_REPORT": str(fifo)}
        self.broker = brokers.Bourse(data_dir=self.data, environment=environment)

    def hang(self):
        self.switch.touch()

    def wait_until_it_hangs(self):
        readable, _, _ = select.select([self.report], [], [], PATIENCE_S)
        assert readable, "nobody has flushed anything"

    def close(self):
        os.close(self.report)
        self.broker.kill()


@pytest.fixture
def disk(tmp_path):
    one = HungDisk(tmp_path)
    yield one
    one.close()


def publish_confirmed(channel):
    channel.declare("q", durable=True)
    channel.call("confirm.select")
    for number in range(CONFIRMED):
        channel.publish("", "q", b"%d" % number, delivery_mode=2)
    last = 0
    while last < CONFIRMED:
        last = channel.expect("basic.ack").delivery_tag


def check_second_signal(disk, number):
    """It ends the broker at once, as a signal does; the next one has what was confirmed."""
    started = time.monotonic()
    disk.broker.signal(number)
    assert disk.broker.wait_exit(PATIENCE_S) == -number
    assert time.monotonic() - started < AT_ONCE_S
    assert not disk.broker.sanitizer_reports()
    with brokers.Bourse(data_dir=disk.data) as recovered:
        bodies = recovered.open().channel().drain("q")
    assert bodies[:CONFIRMED] == [b"%d" % number for number in range(CONFIRMED)]
    assert len(bodies) <= CONFIRMED + 1


# All clients are gone: the broker closes its data directory, and that flush hangs.
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_ends_a_broker_that_waits_for_the_disk(disk, number):
    conn = disk.broker.open()
    publish_confirmed(conn.channel())
    conn.close()
    disk.hang()
    disk.broker.signal(signal.SIGTERM)
    disk.wait_until_it_hangs()
    assert disk.broker.process.poll() is None
    check_second_signal(disk, number)


# A publisher waits for its confirm, and so does the end in order.
def test_a_second_signal_ends_a_broker_that_owes_a_confirm(disk):
    channel = disk.broker.open().channel()
    publish_confirmed(channel)
    disk.hang()
    channel.publish("", "q", b"unconfirmed", delivery_mode=2)
    disk.wait_until_it_hangs()
    disk.broker.signal(signal.SIGTERM)
    disk.broker.log.wait_for(r"server\.stopping")
    assert disk.broker.process.poll() is None
    check_second_signal(disk, signal.SIGTERM)


# Not even the first is heard before the loop turns: both come while it does not.
def test_two_signals_that_come_together_end_a_broker_that_waits_for_the_disk(disk):
    conn = disk.broker.open()
    publish_confirmed(conn.channel())
    conn.close()
    disk.hang()
    disk.broker.signal(signal.SIGSTOP)
    disk.broker.signal(signal.SIGTERM)
    disk.broker.signal(signal.SIGINT)
    disk.broker.signal(signal.SIGCONT)
    assert disk.broker.wait_exit(PATIENCE_S) in (-signal.SIGTERM, -signal.SIGINT)


# What was asked is in the log, behind the flush that hangs: nobody may take it for undone.
def test_who_asks_for_a_change_hears_that_it_may_still_be_done(disk):
    publish_confirmed(disk.broker.open().channel())
    disk.hang()
    api = ControlSocket(disk.data / "bourse.sock")
    status, answer = api.ask("PUT", "/api/policies/%2F/p", {"pattern": "^a", "definition": {"max-length": 5}})
    assert status == 503 and "what was asked may still be done" in answer["reason"]
    api.close()


# docs/dead-letter-desk.md: whoever waits for a job is answered within eight seconds, on disk or not.
def test_a_job_of_the_desk_that_is_not_on_disk_says_so(disk):
    channel = disk.broker.open().channel()
    publish_confirmed(channel)
    disk.hang()
    api = ControlSocket(disk.data / "bourse.sock")
    status, job = api.ask("POST", "/api/bourse/queues/%2F/q/drop", {"limit": 3, "wait": True})
    assert (status, job["state"], job["done"], job["on_disk"]) == (202, "done", 3, False)
    assert api.ask("GET", f"/api/bourse/replays/{job['id']}")[1]["on_disk"] is False
    api.close()
