#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Measures what a dead letter costs: handed out, rejected, and moved to the queue behind the
dead-letter exchange.

Messages of 16 octets lie in a queue; one consumer takes them and rejects each by itself, as fast as
the broker goes, and the run ends when all of them are in the other queue. Printed is how many of them
a second of the broker's CPU is enough for, from the first delivery on, and with publishing. Then the
same for messages that are dropped from the head of a queue that is too long, which nobody was handed:
publishing is in both. Nothing passes or fails here.
"""

import argparse
import os
import struct
import tempfile
import time

import brokers
import expiry
import topology

TAG = "c"
PREFETCH = 2000
REJECTS_AT_ONCE = 500
PATIENCE_S = 60


def declare(queue, durable, arguments):
    """Encode queue.declare."""
    table = b"".join(topology.short(name) + value for name, value in arguments.items())
    return topology.method(50, 10, b"\0\0" + topology.short(queue) + (b"\2" if durable else b"\0") +
                           struct.pack(">I", len(table)) + table)


def text(value):
    """Encode a long string of a table."""
    return b"S" + struct.pack(">I", len(value)) + value.encode()


def reject(tag):
    """Encode basic.reject without requeue."""
    return topology.method(60, 90, struct.pack(">QB", tag, 0))


def delivery_octets(queue, persistent):
    """Return what a delivery of one message takes on the wire."""
    deliver = topology.method(60, 60, topology.short(TAG) + struct.pack(">QB", 0, 0) +
                              topology.short("") + topology.short(queue))
    published = topology.publish("", queue, expiry.BODY, persistent)
    asked = topology.method(60, 40, b"\0\0" + topology.short("") + topology.short(queue) + b"\0")
    return len(deliver) + len(published) - len(asked)


def fill(connection, queue, count, persistent):
    """Publish that many messages, and wait until the broker has them."""
    block = topology.publish("", queue, expiry.BODY, persistent) * expiry.BLOCK
    for _ in range(count // expiry.BLOCK):
        connection.socket.sendall(block)
    connection.call(topology.QOS)


def reject_all(broker, queue, count, persistent):
    """Take every message and reject it, each by itself."""
    connection = topology.Connection(broker)
    connection.call(topology.method(60, 10, struct.pack(">IHB", 0, PREFETCH, 0)))
    connection.call(topology.method(60, 20, b"\0\0" + topology.short(queue) + topology.short(TAG) +
                                    b"\0\0\0\0\0"))
    size = delivery_octets(queue, persistent)
    octets, rejected = len(connection.left), 0
    while rejected < count:
        while octets // size < min(rejected + REJECTS_AT_ONCE, count):
            octets += len(connection.socket.recv(topology.READ_OCTETS))
        last = octets // size
        connection.socket.sendall(b"".join(map(reject, range(rejected + 1, last + 1))))
        rejected = last
    connection.call(topology.QOS)
    connection.socket.close()


def wait_for(connection, queue, count):
    """Wait until exactly so many messages are ready."""
    deadline = time.monotonic() + PATIENCE_S
    while (ready := expiry.ready_count(connection, queue)) != count:
        if time.monotonic() > deadline:
            raise brokers.BrokerError(f"{queue} has {ready:,} messages instead of {count:,}")
        time.sleep(0.02)


def show(words, count, cpu_s, wall_s):
    """Print one line."""
    print(f"{words:62} {count / cpu_s:12,.0f} a CPU second  {1e9 * cpu_s / count:6.0f} ns"
          f"  {wall_s:6.2f} s", flush=True)


def measure_rejects(broker, count, persistent):
    """Fill a queue, and have all of it rejected."""
    kind = "persistent" if persistent else "transient"
    connection = topology.Connection(broker)
    connection.call(declare("dead", persistent, {}))
    connection.call(declare("work", persistent, {"x-dead-letter-exchange": text(""),
                                                 "x-dead-letter-routing-key": text("dead")}))
    before = topology.cpu_seconds(broker.pid)
    fill(connection, "work", count, persistent)
    filled, started = topology.cpu_seconds(broker.pid), time.monotonic()
    reject_all(broker, "work", count, persistent)
    wait_for(connection, "dead", count)
    ended, wall_s = topology.cpu_seconds(broker.pid), time.monotonic() - started
    show(f"{kind}: handed out, rejected, moved", count, ended - filled, wall_s)
    show(f"{kind}: the same with publishing", count, ended - before, wall_s)
    for queue in ("work", "dead"):
        connection.call(topology.queue_delete(queue))


def measure_drops(broker, count, persistent):
    """Publish to a queue that keeps a thousand messages; the rest are dead letters."""
    kind = "persistent" if persistent else "transient"
    kept = 1000
    connection = topology.Connection(broker)
    connection.call(declare("dead", persistent, {}))
    connection.call(declare("short", persistent, {"x-dead-letter-exchange": text(""),
                                                  "x-dead-letter-routing-key": text("dead"),
                                                  "x-max-length": b"l" + struct.pack(">q", kept)}))
    before, started = topology.cpu_seconds(broker.pid), time.monotonic()
    fill(connection, "short", count, persistent)
    wait_for(connection, "dead", count - kept)
    cpu_s = topology.cpu_seconds(broker.pid) - before
    show(f"{kind}: published, dropped from the head, moved", count, cpu_s,
         time.monotonic() - started)
    for queue in ("short", "dead"):
        connection.call(topology.queue_delete(queue))


def main():
    """Run all cases on one broker."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bourse", default="build/release/bourse")
    parser.add_argument("--count", type=int, default=500000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir="build") as directory:
        with brokers.Bourse(os.path.join(directory, "broker"), options.bourse) as broker:
            for persistent in (False, True):
                measure_rejects(broker, options.count, persistent)
                measure_drops(broker, options.count, persistent)


if __name__ == "__main__":
    main()
