# SPDX-License-Identifier: Apache-2.0
"""Backups of a broker that is busy: what was confirmed before is in them, whole, and nothing that never was."""

import os
import shutil
import threading

import pytest

from support import broker as brokers

pytestmark = pytest.mark.bourse_only

BODY = b"%08d" + b"x" * 2000


class Load(threading.Thread):
    """Publishes numbered messages, a few at a time, and takes every third of them."""

    def __init__(self, broker, queue):
        super().__init__()
        self.queue, self.channel = queue, broker.open().channel()
        self.channel.declare(queue, durable=True)
        self.channel.call("confirm.select")
        self.confirmed, self.taken, self.ends = 0, set(), threading.Event()

    def run(self):
        while not self.ends.is_set():
            first = self.confirmed
            for number in range(first, first + 10):
                self.channel.publish("", self.queue, BODY % number, delivery_mode=2)
            while self.confirmed < first + 10:
                ack = self.channel.expect("basic.ack")
                self.confirmed = ack.delivery_tag
            if (first // 10) % 3 == 0:
                self.taken.add(int(self.channel.get(self.queue, no_ack=False).body[:8]))


def messages_of(data_dir, queue):
    """Numbers of the messages that a broker finds that starts on the directory, in their order."""
    with brokers.Bourse(data_dir=data_dir) as broker:
        channel = broker.open().channel()
        numbers = []
        while (got := channel.get(queue)) is not None:
            number = int(got.body[:8])
            assert got.body == BODY % number
            numbers.append(number)
        return numbers


@pytest.fixture(params=["the same file system", "another file system"])
def place(request, tmp_path):
    if request.param == "the same file system":
        yield tmp_path / "same"
        return
    folder = f"/dev/shm/bourse-backup-{os.getpid()}"
    if not os.path.isdir("/dev/shm") or os.stat("/dev/shm").st_dev == os.stat(tmp_path).st_dev:
        pytest.skip("there is no other file system here")
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


# F12 and the promise of a confirm: they hold in every copy, made at any moment of a busy day.
def test_a_backup_under_load_has_what_was_confirmed_before(place, tmp_path):
    with brokers.Bourse(data_dir=tmp_path / "data") as broker:
        load = Load(broker, "q")
        load.start()
        before, copies = [], []
        for number in range(4):
            while load.confirmed < (number + 1) * 300 and load.is_alive():
                load.ends.wait(0.01)
            before.append(load.confirmed)
            copies.append(f"{place}-{number}")
            made = brokers.run_command("backup", copies[-1], "--context", f"{broker.data_dir}/bourse.sock")
            assert made.returncode == 0, made.stderr
        load.ends.set()
        load.join()
        last = load.confirmed
    try:
        for copy, confirmed in zip(copies, before):
            assert brokers.run_command("store", "verify", copy).returncode == 0
            found = messages_of(copy, "q")
            assert found == sorted(set(found))
            assert set(range(confirmed)) - load.taken <= set(found) <= set(range(last))
    finally:
        for copy in copies:
            shutil.rmtree(copy, ignore_errors=True)
