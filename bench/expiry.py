#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Measures what messages cost that nobody takes: published, and gone when their time is over.

Messages of 16 octets go into one queue as fast as the broker takes them, and the run ends when the
queue is empty again (or holds only what lives for ever): transient ones, then persistent ones in a
durable queue. Printed is how many of them a
second of the broker's CPU is enough for, publishing included, and how long after the last was due
the queue was empty. Nothing passes or fails here.
"""

import argparse
import os
import random
import struct
import tempfile
import time

import brokers
import topology

BODY = b"sixteen octets.."
BLOCK = 1000  # publishes that are written again and again


def publish(queue, expiration, persistent):
    """Encode basic.publish with that time to live in milliseconds; None: for ever."""
    flags = (0x1000 if persistent else 0) | (0 if expiration is None else 0x0100)
    values = b"\2" if persistent else b""
    values += b"" if expiration is None else topology.short(str(expiration))
    header = struct.pack(">HHQH", 60, 0, len(BODY), flags) + values
    return (topology.method(60, 40, b"\0\0" + topology.short("") + topology.short(queue) + b"\0") +
            struct.pack(">BHI", 2, 1, len(header)) + header + b"\xce" +
            struct.pack(">BHI", 3, 1, len(BODY)) + BODY + b"\xce")


def declare(queue, durable, ttl_ms=None):
    """Encode queue.declare."""
    table = b"" if ttl_ms is None else topology.short("x-message-ttl") + b"l" + struct.pack(">q", ttl_ms)
    return topology.method(50, 10, b"\0\0" + topology.short(queue) + (b"\2" if durable else b"\0") +
                           struct.pack(">I", len(table)) + table)


def ready_count(connection, queue):
    """Ask how many messages are ready."""
    connection.socket.sendall(topology.method(50, 10, b"\0\0" + topology.short(queue) + b"\1" +
                                              b"\0\0\0\0"))
    while len(connection.left) < 8 or len(connection.left) < size_of(connection.left):
        connection.left += connection.socket.recv(1 << 16)
    frame = connection.left[:size_of(connection.left)]
    connection.left = connection.left[len(frame):]
    return struct.unpack(">I", frame[-9:-5])[0]


def size_of(octets):
    """Return the size of the frame at the front."""
    return 8 + struct.unpack_from(">I", octets, 3)[0]


def measure(broker, words, persistent, queue_ttl_ms, expirations, count, lives=0):
    """Publish `count` messages whose times are `expirations` in turn, and wait for their end."""
    connection = topology.Connection(broker)
    connection.call(declare("mortal", persistent, queue_ttl_ms))
    for _ in range(lives):
        connection.socket.sendall(publish("mortal", None, persistent))
    times = [expirations[i % len(expirations)] for i in range(BLOCK)]
    block = b"".join(publish("mortal", expiration, persistent) for expiration in times)
    cpu = topology.cpu_seconds(broker.pid)
    started = time.monotonic()
    for _ in range(count // BLOCK):
        connection.socket.sendall(block)
    while ready_count(connection, "mortal") > lives:
        time.sleep(0.02)
    last_due = queue_ttl_ms if queue_ttl_ms is not None else max(expirations)
    ended = time.monotonic()
    cpu = topology.cpu_seconds(broker.pid) - cpu
    kind = "persistent" if persistent else "transient"
    print(f"{kind + ', ' + words:62} {count / cpu:12,.0f} a CPU second  {1e9 * cpu / count:6.0f} ns"
          f"  {ended - started:6.2f} s (times up to {last_due / 1000:.1f} s)", flush=True)
    connection.call(topology.queue_delete("mortal"))


def main():
    """Run all cases on one broker."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bourse", default="build/release/bourse")
    parser.add_argument("--count", type=int, default=1000000)
    options = parser.parse_args()
    scattered = list(range(1, 4001))
    random.Random(1).shuffle(scattered)
    with tempfile.TemporaryDirectory(dir="build") as directory:
        with brokers.Bourse(os.path.join(directory, "broker"), options.bourse) as broker:
            for persistent in (False, True):
                measure(broker, "a time of the queue, 2 s", persistent, 2000, [None], options.count)
                measure(broker, "no time at all", persistent, 0, [None], options.count)
                measure(broker, "times of 1 ms to 4 s in no order", persistent, None, scattered,
                        options.count)
                measure(broker, "the same behind one that lives for ever", persistent, None,
                        scattered, options.count, lives=1)


if __name__ == "__main__":
    main()
