#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Measures what delayed messages cost: memory while they wait, how fast they come in when they are
due, and how punctually.

Memory: persistent messages of 100 octets, due in any order within a day that begins in a day, in one
durable queue. Printed is what the broker's resident memory has grown by for each when they have been
published (with a memory mark, contents leave memory above 0.8 of it), and after a restart, when only
what waits is in memory. Release: transient messages that are all due at one time; printed is how many
came in a second from then on, publishing not included. Timing: messages that are due at random
moments reach a consumer that waits; printed is how late they are. Nothing passes or fails here.
"""

import argparse
import os
import random
import struct
import tempfile
import time

import brokers
import expiry
import topology

BODY = b"x" * 100
BLOCK = 1000  # publishes that are written at once
DAY_MS = 24 * 3600 * 1000


def now_ms():
    """Return the wall clock."""
    return int(time.time() * 1000)


def declare_delayed(name, durable):
    """Encode exchange.declare of a delayed fanout exchange."""
    table = topology.short("x-delayed-type") + b"S" + struct.pack(">I", 6) + b"fanout"
    return topology.method(40, 10, b"\0\0" + topology.short(name) +
                           topology.short("x-delayed-message") + bytes((2 if durable else 0,)) +
                           struct.pack(">I", len(table)) + table)


def publish(exchange, due_ms, body, persistent):
    """Encode basic.publish of a message that is due at that time."""
    table = topology.short("x-deliver-at") + b"l" + struct.pack(">q", due_ms)
    header = (struct.pack(">HHQH", 60, 0, len(body), 0x3000) + struct.pack(">I", len(table)) +
              table + bytes((2 if persistent else 1,)))
    return (topology.method(60, 40, b"\0\0" + topology.short(exchange) + topology.short("") + b"\0")
            + struct.pack(">BHI", 2, 1, len(header)) + header + b"\xce" +
            struct.pack(">BHI", 3, 1, len(body)) + body + b"\xce")


def open_queue(broker, name, durable):
    """Declare a delayed exchange and a queue behind it, of one name; return the connection."""
    connection = topology.Connection(broker)
    connection.call(topology.queue_declare(name, durable=durable))
    connection.call(declare_delayed(name, durable))
    connection.call(topology.queue_bind(name, name, ""))
    return connection


def send(connection, name, dues, persistent):
    """Publish a message for each of the due times."""
    for start in range(0, len(dues), BLOCK):
        connection.socket.sendall(b"".join(publish(name, due, BODY, persistent)
                                           for due in dues[start:start + BLOCK]))
    expiry.ready_count(connection, name)


def measure_memory(options, in_order):
    """Print what a message that waits takes."""
    words = "in due order" if in_order else "in any order"
    with tempfile.TemporaryDirectory(dir="build") as directory:
        place = os.path.join(directory, "broker")
        with brokers.BourseFromFile(place, options.bourse, options.memory) as broker:
            connection = open_queue(broker, "memory", True)
            before = topology.resident_octets(broker.pid)
            began = time.monotonic()
            first_ms = now_ms() + DAY_MS
            dice = random.Random(1)
            for start in range(0, options.count, 100000):
                count = min(100000, options.count - start)
                dues = [first_ms + (DAY_MS * (start + i) // options.count if in_order
                                    else dice.randrange(DAY_MS)) for i in range(count)]
                send(connection, "memory", dues, True)
            took = time.monotonic() - began
            grown = topology.resident_octets(broker.pid) - before
        with brokers.BourseFromFile(place, options.bourse, options.memory) as broker:
            began = time.monotonic()
            restored = topology.resident_octets(broker.pid) - before
            print(f"{options.count:,} that wait, {words}: published {options.count / took:,.0f}/s, "
                  f"{grown / options.count:.1f} octets resident each (mark {options.memory}), "
                  f"{restored / options.count:.1f} after a restart", flush=True)


def measure_release(options):
    """Print how fast messages come in that are due at one time."""
    with tempfile.TemporaryDirectory(dir="build") as directory:
        with brokers.Bourse(os.path.join(directory, "broker"), options.bourse) as broker:
            connection = open_queue(broker, "release", False)
            due_ms = now_ms() + options.release // 25 + 2000
            send(connection, "release", [due_ms + i % 100 for i in range(options.release)], False)
            if now_ms() >= due_ms:
                print("publishing took too long; try fewer messages")
                return
            while now_ms() < due_ms + 100:
                time.sleep(0.001)
            cpu = topology.cpu_seconds(broker.pid)
            began = time.monotonic()
            first = expiry.ready_count(connection, "release")
            while expiry.ready_count(connection, "release") < options.release:
                time.sleep(0.001)
            took = time.monotonic() - began
            cpu = topology.cpu_seconds(broker.pid) - cpu
            rest = options.release - first
            print(f"{options.release:,} due within 0.1 s: the last {rest:,} came in {took:.2f} s, "
                  f"{rest / took:,.0f}/s, {rest / cpu if cpu else 0:,.0f} a CPU second", flush=True)


def measure_timing(options):
    """Print how late messages reach a consumer."""
    with tempfile.TemporaryDirectory(dir="build") as directory:
        with brokers.Bourse(os.path.join(directory, "broker"), options.bourse) as broker:
            connection = open_queue(broker, "timing", False)
            first_ms = now_ms() + 2000
            dice = random.Random(2)
            for _ in range(options.timed):
                due = first_ms + dice.randrange(10000)
                connection.socket.sendall(publish("timing", due, struct.pack(">q", due), False))
            connection.call(topology.method(60, 20, b"\0\0" + topology.short("timing") +
                                            topology.short("") + b"\2" + b"\0\0\0\0"))
            late = []
            while len(late) < options.timed:
                while (len(connection.left) < 8 or
                       len(connection.left) < expiry.size_of(connection.left)):
                    connection.left += connection.socket.recv(1 << 16)
                arrived = time.time() * 1000
                size = expiry.size_of(connection.left)
                if connection.left[0] == 3:
                    late.append(arrived - struct.unpack(">q", connection.left[7:15])[0])
                connection.left = connection.left[size:]
            late.sort()
            print(f"{options.timed:,} over 10 s: late by {late[len(late) // 2]:.1f} ms in the middle, "
                  f"p99 {late[len(late) * 99 // 100]:.1f} ms, at most {late[-1]:.1f} ms, "
                  f"at least {late[0]:.1f} ms", flush=True)


def main():
    """Run what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bourse", default="build/release/bourse")
    parser.add_argument("--count", type=int, default=10000000, help="that wait (memory)")
    parser.add_argument("--memory", default="640MiB", help="the memory mark")
    parser.add_argument("--release", type=int, default=1000000, help="that come due together")
    parser.add_argument("--timed", type=int, default=5000)
    parser.add_argument("--only", choices=("memory", "release", "timing"))
    options = parser.parse_args()
    if options.only in (None, "timing"):
        measure_timing(options)
    if options.only in (None, "release"):
        measure_release(options)
    if options.only in (None, "memory"):
        measure_memory(options, False)
        measure_memory(options, True)


if __name__ == "__main__":
    main()
