# SPDX-License-Identifier: Apache-2.0
"""F3: a disk that fills up. Publishers wait, consumers and acknowledgements go on, nothing confirmed
is lost, and publishing goes on without a restart when there is room again."""

import os
import signal
import subprocess
import time

import pytest

from crash.process import Process
from crash.session import connect
from crash.variants import Variant

MIB = 1024 * 1024
DISK_MIB, MARK_MIB = 48, 12
RESUME_S = 5


class Small(Variant):
    server = {"segment-size": "1MiB", "max-message-size": "64KiB", "disk-free": f"{MARK_MIB}MiB"}


class Disk:
    """A file system of its own in memory, with a file to fill it up."""

    def __init__(self, path):
        self.path, self.ballast = path, path / "ballast"

    def free(self):
        now = os.statvfs(self.path)
        return now.f_bavail * now.f_frsize

    def fill(self, leave):
        """Leaves `leave` octets, or none at all."""
        with open(self.ballast, "ab") as file:
            size = os.fstat(file.fileno()).st_size
            os.posix_fallocate(file.fileno(), 0, size + max(0, self.free() - leave))

    def clear(self):
        self.ballast.unlink()


@pytest.fixture
def disk(tmp_path):
    path = tmp_path / "disk"
    path.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK_MIB}m,mode=0700", "tmpfs", str(path)]
    done = subprocess.run(mount, capture_output=True, text=True)
    if done.returncode != 0:
        pytest.skip(f"a file system cannot be mounted here: {done.stderr.strip()}")
    yield Disk(path)
    subprocess.run(["umount", "-l", str(path)], check=True)


class Scene:
    """A broker on the disk, a publisher with confirms and a consumer, both connected in time."""

    def __init__(self, disk):
        self.disk, self.sent, self.confirmed, self.taken = disk, 0, set(), set()
        self.config = disk.path.parent / "bourse.yaml"
        self.config.write_text(Small().config())
        self.start()

    def start(self):
        self.process = Process(self.config, self.disk.path)
        assert self.process.wait_ready(20), self.process.log_tail()
        self.publisher = connect(self.process.address).channel()
        self.consumer = connect(self.process.address).channel()
        self.consumer.declare("q", durable=True)
        self.publisher.call("confirm.select")
        self.tags = {}

    def end(self, number):
        self.process.signal(number)
        for channel in (self.publisher, self.consumer):
            channel.connection.drop()
        return self.process.reap()

    def publish(self):
        body = b"%08d" % self.sent + bytes(8000)
        self.sent += 1
        self.tags[len(self.tags) + 1] = body[:8]
        self.publisher.publish("", "q", body, delivery_mode=2)

    def hear(self, *names, timeout_s=0.2):
        """Takes confirms until one of the connection's methods `names` comes, or nothing does."""
        deadline = time.monotonic() + timeout_s
        connection = self.publisher.connection
        while time.monotonic() < deadline:
            connection.listen(0.01)
            while connection.pending[self.publisher.number]:
                self._confirm(connection.pending[self.publisher.number].popleft())
            if connection.pending[0]:
                return connection.expect(0, *names)
        return None

    def _confirm(self, method):
        assert method.name == "basic.ack", method
        for tag in self.tags:
            if tag == method.delivery_tag or (method.multiple and tag < method.delivery_tag):
                self.confirmed.add(self.tags[tag])

    def publish_until_blocked(self):
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            self.publish()
            if blocked := self.hear("connection.blocked", timeout_s=0.02):
                assert blocked.reason == "low on disk"
                return
        pytest.fail("publishers were not blocked")

    def take(self, count):
        for _ in range(count):
            method = self.consumer.get("q", no_ack=False)
            self.consumer.ack(method.delivery_tag)
            self.taken.add(method.body[:8])
        self.consumer.ping()

    def wait_until_confirmed(self, timeout_s=RESUME_S):
        deadline = time.monotonic() + timeout_s
        while len(self.confirmed) < self.sent and time.monotonic() < deadline:
            self.hear(timeout_s=0.05)

    def check_kept(self):
        left = {body[:8] for body in self.consumer.drain("q")}
        assert self.confirmed <= left | self.taken


# The mark comes well before the end of the disk.
def test_publishers_wait_at_the_mark_and_nobody_else(disk, keeps_data):
    scene = Scene(disk)
    for _ in range(50):
        scene.publish()
    scene.wait_until_confirmed()
    disk.fill(MARK_MIB * MIB // 2)
    scene.publish_until_blocked()
    other = connect(scene.process.address).channel()
    other.declare("other", durable=True)
    scene.take(20)
    other.delete("other")
    disk.clear()
    assert scene.hear("connection.unblocked", timeout_s=RESUME_S), "still blocked"
    scene.publish()
    scene.wait_until_confirmed()
    assert len(scene.confirmed) == scene.sent
    scene.end(signal.SIGKILL)
    scene.start()
    scene.check_kept()
    assert scene.end(signal.SIGTERM) == 0


# Not even the last octet is needed for what was promised: the segments in use were written before.
@pytest.mark.parametrize("dies_full", [False, True])
def test_a_disk_without_any_room_loses_nothing(disk, dies_full, keeps_data):
    scene = Scene(disk)
    for _cycle in range(2):
        for _ in range(30):
            scene.publish()
        scene.wait_until_confirmed()
        disk.fill(0)
        scene.publish_until_blocked()
        scene.take(10)
        assert not scene.process.has_ended(), scene.process.log_tail()
        if dies_full:
            scene.end(signal.SIGKILL)
            disk.clear()
            scene.start()
        else:
            disk.clear()
            assert scene.hear("connection.unblocked", timeout_s=RESUME_S), "still blocked"
            scene.wait_until_confirmed()
            assert len(scene.confirmed) == scene.sent
    scene.end(signal.SIGKILL)
    scene.start()
    scene.check_kept()
    assert scene.end(signal.SIGTERM) == 0


# A start that finds no room says so, and does no harm.
def test_a_start_on_a_full_disk_is_refused_or_works(disk, keeps_data):
    scene = Scene(disk)
    for _ in range(30):
        scene.publish()
    scene.wait_until_confirmed()
    scene.end(signal.SIGKILL)
    disk.fill(0)
    process = Process(scene.config, disk.path)
    if not process.wait_ready(20):
        assert "No space left on device" in process.log_tail()
    process.signal(signal.SIGKILL)
    assert process.reap() != -signal.SIGABRT
    disk.clear()
    scene.start()
    scene.check_kept()
    assert scene.end(signal.SIGTERM) == 0
