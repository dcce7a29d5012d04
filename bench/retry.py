#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Measures what a failure costs: a message is given back, waits, and is handed out again.

Messages of 16 octets lie in a queue that counts; one consumer takes them, gives each back by itself
once, and acknowledges it when it comes again with what it says of its failure. The run ends when the
queue is empty. Printed is how many failures, each with the delivery before and the one after it, a
second of the broker's CPU is enough for: where the message comes back at once, and where it waits for
a time in which all of them have failed. Nothing passes or fails here.
"""

import argparse
import os
import struct
import tempfile
import time

import brokers
import dead_letters
import expiry
import topology

WAIT_MS = 3000


def nack(tag):
    """Encode basic.nack with requeue."""
    return topology.method(60, 120, struct.pack(">QB", tag, 2))


def ack(tag):
    """Encode basic.ack of one."""
    return topology.method(60, 80, struct.pack(">QB", tag, 0))


class Deliveries:
    """Counts what comes, frame by frame."""

    def __init__(self, connection):
        self.connection, self.left = connection, connection.left

    def read(self):
        """Read what is there: tag and redelivered flag of the deliveries in it."""
        self.left += self.connection.socket.recv(topology.READ_OCTETS)
        at, end, found = 0, len(self.left), []
        while end - at >= 8:
            kind, _, size = struct.unpack_from(">BHI", self.left, at)
            if end - at < size + 8:
                break
            if kind == 1 and self.left[at + 7:at + 11] == b"\0\x3c\0\x3c":
                tag_at = at + 12 + self.left[at + 11]
                found.append((int.from_bytes(self.left[tag_at:tag_at + 8], "big"),
                              self.left[tag_at + 8] & 1))
            at += size + 8
        self.left = self.left[at:]
        return found


def fail_once_each(broker, queue, count):
    """Give every message back once, and acknowledge it the second time."""
    connection = topology.Connection(broker)
    connection.call(topology.method(60, 10, struct.pack(">IHB", 0, dead_letters.PREFETCH, 0)))
    connection.call(topology.method(60, 20, b"\0\0" + topology.short(queue) +
                                    topology.short(dead_letters.TAG) + b"\0\0\0\0\0"))
    deliveries = Deliveries(connection)
    done = 0
    while done < count:
        out = []
        for tag, redelivered in deliveries.read():
            done += redelivered
            out.append(ack(tag) if redelivered else nack(tag))
        connection.socket.sendall(b"".join(out))
    connection.call(topology.QOS)
    connection.socket.close()


def measure(broker, words, count, persistent, wait_ms):
    """Fill a queue, and have all of it fail once."""
    kind = "persistent" if persistent else "transient"
    arguments = {"x-delivery-limit": b"l" + struct.pack(">q", 5)}
    if wait_ms > 0:
        arguments["x-delayed-retry-min"] = b"l" + struct.pack(">q", wait_ms)
    connection = topology.Connection(broker)
    connection.call(dead_letters.declare("work", persistent, arguments))
    dead_letters.fill(connection, "work", count, persistent)
    before, started = topology.cpu_seconds(broker.pid), time.monotonic()
    fail_once_each(broker, "work", count)
    while expiry.ready_count(connection, "work") > 0:
        time.sleep(0.02)
    cpu_s, wall_s = topology.cpu_seconds(broker.pid) - before, time.monotonic() - started
    dead_letters.show(f"{kind}: {words}", count, cpu_s, wall_s)
    connection.call(topology.queue_delete("work"))


def main():
    """Run all cases on one broker."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bourse", default="build/release/bourse")
    parser.add_argument("--count", type=int, default=300000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir="build") as directory:
        with brokers.Bourse(os.path.join(directory, "broker"), options.bourse) as broker:
            for persistent in (False, True):
                measure(broker, "fails, comes back at once, is acknowledged", options.count,
                        persistent, 0)
                measure(broker, f"fails, waits {WAIT_MS / 1000:.0f} s, is acknowledged",
                        options.count, persistent, WAIT_MS)


if __name__ == "__main__":
    main()
