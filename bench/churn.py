#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Measures what queues cost that come and go: declared, published to once, unused, expired.

Each queue has a short x-expires. They are declared as fast as the broker answers, a message goes into
each, and the run ends when the last has expired; then every name is published to once more, and all
of these must come back. Printed is how many a second on the wall, from the first declaration to the
last expiry, and for how many a second of the broker's CPU is enough. Nothing passes or fails on a
timing here.
"""

import argparse
import os
import struct
import tempfile
import time

import brokers
import topology

BATCH = 500
BODY = b"sixteen octets.."
MANDATORY = b"\1"


def declare(queue, durable, expires_ms):
    """Encode queue.declare."""
    table = topology.short("x-expires") + b"l" + struct.pack(">q", expires_ms)
    return topology.method(50, 10, b"\0\0" + topology.short(queue) + (b"\2" if durable else b"\0") +
                           struct.pack(">I", len(table)) + table)


def ask(queue):
    """Encode a mandatory publish: it comes back when the queue is gone."""
    published = topology.publish("", queue, BODY, False)
    method = topology.method(60, 40, b"\0\0" + topology.short("") + topology.short(queue) + b"\0")
    return method[:-2] + MANDATORY + published[len(method) - 1:]


def returned_octets(queue):
    """Return what a message that comes back takes on the wire."""
    returned = topology.method(60, 50, struct.pack(">H", 312) + topology.short("NO_ROUTE") +
                               topology.short("") + topology.short(queue))
    published = topology.publish("", queue, BODY, False)
    method = topology.method(60, 40, b"\0\0" + topology.short("") + topology.short(queue) + b"\0")
    return len(returned) + len(published) - len(method)


def gone_count(connection, names):
    """Ask after queues, and return how many of them are gone."""
    answer = len(topology.method(60, 11, b""))
    connection.socket.sendall(b"".join(map(ask, names)) + topology.QOS)
    octets = b""
    while not octets.endswith(topology.method(60, 11, b"")):
        octets += connection.socket.recv(topology.READ_OCTETS)
    return (len(octets) - answer) // returned_octets(names[0])


def measure(broker, count, durable, expires_ms):
    """Have that many queues come and go."""
    kind = "durable" if durable else "transient"
    connection = topology.Connection(broker)
    names = [f"{kind}-{i:07}" for i in range(count)]
    cpu, started = topology.cpu_seconds(broker.pid), time.monotonic()
    for start in range(0, count, BATCH):
        batch = names[start:start + BATCH]
        connection.socket.sendall(b"".join(
            declare(name, durable, expires_ms) + topology.publish("", name, BODY, durable)
            for name in batch))
        connection.wait(len(batch))
    declared = time.monotonic()
    time.sleep(expires_ms / 1000)
    while gone_count(connection, names[-1:]) < 1:
        time.sleep(0.01)
    ended = time.monotonic()
    cpu = topology.cpu_seconds(broker.pid) - cpu
    left = count - sum(gone_count(connection, names[start:start + BATCH])
                       for start in range(0, count, BATCH))
    print(f"{kind:10} {count / (ended - started):10,.0f} queues a second {count / cpu:10,.0f} a CPU"
          f" second  {1e6 * cpu / count:6.1f} us  declared in {declared - started:.2f} s, the last"
          f" gone {1000 * (ended - declared):.0f} ms later, {left} left", flush=True)
    if left > 0:
        raise brokers.BrokerError(f"{left} queues have not expired")


def main():
    """Run both kinds on one broker."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bourse", default="build/release/bourse")
    parser.add_argument("--count", type=int, default=50000)
    parser.add_argument("--expires", type=int, default=500, help="milliseconds (500)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir="build") as directory:
        with brokers.Bourse(os.path.join(directory, "broker"), options.bourse) as broker:
            for durable in (False, True):
                measure(broker, options.count, durable, options.expires)


if __name__ == "__main__":
    main()
