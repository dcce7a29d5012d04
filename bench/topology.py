#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Measures what large topologies cost a broker: declaring, binding, publishing to many queues,
deleting, and starting again with all of it.

Every step prints what it did a second on the wall, what one operation cost the broker in CPU time,
how much memory the broker gained, and the longest that another connection waited for an answer
meanwhile: about the longest tick. Nothing passes or fails here. bench/README.md tells the rest.
"""

import argparse
import json
import multiprocessing
import os
import shutil
import socket
import struct
import sys
import tempfile
import time

import brokers

READ_OCTETS = 1 << 18
PROBE_PAUSE_S = 0.001


# The wire ---------------------------------------------------------------------------------------

def short(text):
    """Encode a short string."""
    octets = text.encode()
    return bytes((len(octets),)) + octets


def method(class_id, method_id, arguments, channel=1):
    """Encode a method frame."""
    return (struct.pack(">BHIHH", 1, channel, 4 + len(arguments), class_id, method_id) +
            arguments + b"\xce")


def queue_declare(name, durable=False, exclusive=False, nowait=False):
    """Encode queue.declare."""
    bits = (2 if durable else 0) | (4 if exclusive else 0) | (16 if nowait else 0)
    return method(50, 10, b"\0\0" + short(name) + bytes((bits,)) + b"\0\0\0\0")


def queue_bind(queue, exchange, key, nowait=False):
    """Encode queue.bind."""
    return method(50, 20, b"\0\0" + short(queue) + short(exchange) + short(key) +
                  bytes((nowait,)) + b"\0\0\0\0")


def queue_unbind(queue, exchange, key):
    """Encode queue.unbind, which has no nowait."""
    return method(50, 50, b"\0\0" + short(queue) + short(exchange) + short(key) + b"\0\0\0\0")


def queue_delete(name, nowait=False):
    """Encode queue.delete."""
    return method(50, 40, b"\0\0" + short(name) + bytes((4 if nowait else 0,)))


def exchange_declare(name, kind, durable):
    """Encode exchange.declare."""
    return method(40, 10, b"\0\0" + short(name) + short(kind) + bytes((2 if durable else 0,)) +
                  b"\0\0\0\0")


def exchange_delete(name):
    """Encode exchange.delete."""
    return method(40, 20, b"\0\0" + short(name) + b"\0")


def publish(exchange, key, body, persistent):
    """Encode basic.publish with its content."""
    header = struct.pack(">HHQH", 60, 0, len(body), 0x1000) + bytes((2 if persistent else 1,))
    return (method(60, 40, b"\0\0" + short(exchange) + short(key) + b"\0") +
            struct.pack(">BHI", 2, 1, len(header)) + header + b"\xce" +
            struct.pack(">BHI", 3, 1, len(body)) + body + b"\xce")


QOS = method(60, 10, struct.pack(">IHB", 0, 0, 0))
CONFIRM_SELECT = method(85, 10, b"\0")


class Connection:
    """A connection with channel 1 open, that writes in bulk and counts the frames of answers."""

    def __init__(self, broker):
        self.socket = socket.create_connection((brokers.HOST, broker.port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.left = b""
        login = b"\0" + broker.user.encode() + b"\0" + broker.password.encode()
        self.socket.sendall(brokers.PROTOCOL_HEADER)
        self.wait(1)
        self.socket.sendall(method(10, 11, b"\0\0\0\0" + short("PLAIN") +
                                   struct.pack(">I", len(login)) + login + short("en_US"), 0))
        self.wait(1)
        self.socket.sendall(method(10, 31, struct.pack(">HIH", 2047, 131072, 0), 0) +
                            method(10, 40, short("/") + b"\0\0", 0) + method(20, 10, b"\0"))
        self.wait(2)

    def wait(self, count):
        """Read that many frames; a close from the broker is an error."""
        while count > 0:
            at = 0
            while count > 0 and len(self.left) - at >= 8:
                size = 8 + struct.unpack_from(">I", self.left, at + 3)[0]
                if len(self.left) - at < size:
                    break
                if self.left[at] == 1 and self.left[at + 7:at + 11] in (b"\0\x14\0\x28",
                                                                       b"\0\x0a\0\x32"):
                    raise brokers.BrokerError(f"closed: {self.left[at + 11:at + size]!r}")
                if self.left[at] != 8:
                    count -= 1
                at += size
            self.left = self.left[at:]
            if count > 0:
                more = self.socket.recv(READ_OCTETS)
                if not more:
                    raise brokers.BrokerError("the broker closed the connection")
                self.left += more

    def call(self, frame):
        """Send one method and wait for its answer."""
        self.socket.sendall(frame)
        self.wait(1)


def pipeline(broker, frames, answers):
    """Send all `frames`, reading answers meanwhile; then wait for a durable change of its own."""
    connection = Connection(broker)
    answered = 0
    for start in range(0, len(frames), 500):
        batch = frames[start:start + 500]
        connection.socket.sendall(b"".join(batch))
        if answers:
            # One batch is under way while the one before it is answered.
            connection.wait(start - answered)
            answered = start
    if answers:
        connection.wait(len(frames) - answered)
    connection.call(queue_declare(f"sync-{os.getpid()}-{time.monotonic_ns()}", durable=True))
    connection.socket.close()


def spread(broker, frames, answers, processes):
    """Pipeline `frames` over several connections, each of a process of its own."""
    workers = [multiprocessing.Process(target=pipeline,
                                       args=(broker, frames[i::processes], answers))
               for i in range(processes)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
        if worker.exitcode != 0:
            raise brokers.BrokerError("a client failed")


# Watching ---------------------------------------------------------------------------------------

def probe(broker, ready, stop, worst_ms):
    """Ask for nothing again and again, and keep the longest time an answer took."""
    connection = Connection(broker)
    ready.set()
    while not stop.is_set():
        start = time.monotonic()
        connection.call(QOS)
        worst_ms.value = max(worst_ms.value, 1e3 * (time.monotonic() - start))
        time.sleep(PROBE_PAUSE_S)


def cpu_seconds(pid):
    """Return user and system time of a process."""
    with open(f"/proc/{pid}/stat", encoding="ascii") as stat:
        fields = stat.read().rsplit(") ", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def resident_octets(pid):
    """Return the anonymous resident memory of a process: files it has mapped do not count."""
    with open(f"/proc/{pid}/status", encoding="ascii") as status:
        for line in status:
            if line.startswith("RssAnon:"):
                return 1024 * int(line.split()[1])
    return 0


class Step:
    """Measures what happens in its `with` block, and prints it."""

    rows = []

    def __init__(self, broker, name, count):
        self.broker, self.name, self.count = broker, name, count
        self.ready, self.stop = multiprocessing.Event(), multiprocessing.Event()
        self.worst_ms = multiprocessing.Value("d", 0.0)
        self.process = multiprocessing.Process(
            target=probe, args=(broker, self.ready, self.stop, self.worst_ms))

    def __enter__(self):
        self.process.start()
        self.ready.wait()
        self.memory = resident_octets(self.broker.pid)
        self.cpu = cpu_seconds(self.broker.pid)
        self.wall = time.monotonic()
        return self

    def __exit__(self, kind, *_):
        wall = time.monotonic() - self.wall
        time.sleep(0.2)
        cpu = cpu_seconds(self.broker.pid) - self.cpu
        memory = resident_octets(self.broker.pid) - self.memory
        self.stop.set()
        self.process.join()
        if kind is not None:
            return
        row = {"step": self.name, "count": self.count, "per_s": self.count / wall,
               "cpu_us": 1e6 * cpu / self.count, "octets": memory / self.count,
               "longest_ms": self.worst_ms.value}
        Step.rows.append(row)
        print(f"{self.name:44} {self.count:9,} {row['per_s']:11,.0f}/s {row['cpu_us']:9.2f} us CPU"
              f" {row['octets']:8.0f} octets {row['longest_ms']:8.1f} ms", flush=True)


# Steps ------------------------------------------------------------------------------------------

def measure_queues(broker, args, durable, nowait):
    """Declare, bind to one fanout, unbind half, delete all."""
    word = ("durable" if durable else "transient") + (", nowait" if nowait else "")
    count = args.queues
    names = [f"queue-{i:07}" for i in range(count)]
    control = Connection(broker)
    control.call(exchange_declare("all", "fanout", durable))
    with Step(broker, f"declare queues, {word}", count):
        spread(broker, [queue_declare(name, durable, nowait=nowait) for name in names],
               not nowait, args.connections)
    with Step(broker, f"bind to one fanout, {word}", count):
        spread(broker, [queue_bind(name, "all", "", nowait) for name in names], not nowait,
               args.connections)
    control.call(CONFIRM_SELECT)
    for i in range(2):
        with Step(broker, f"publish to all of them ({i + 1}), {word}", count):
            control.call(publish("all", "", b"x" * 16, durable))
    with Step(broker, f"unbind half of them, {word}", count // 2):
        spread(broker, [queue_unbind(name, "all", "") for name in names[::2]], True,
               args.connections)
    with Step(broker, f"delete queues, {word}", count):
        spread(broker, [queue_delete(name, nowait) for name in names], not nowait,
               args.connections)
    control.call(exchange_delete("all"))
    control.socket.close()


def measure_bindings(broker, args, kind, durable, keep=False):
    """Bind a few queues under very many keys, and delete the exchange, or a queue."""
    word = f"{kind}, " + ("durable" if durable else "transient")
    control = Connection(broker)
    control.call(exchange_declare("many", kind, durable))
    names = [f"few-{i}" for i in range(10)]
    for name in names:
        control.call(queue_declare(name, durable))
    form = "dev.{}.*.temp" if kind == "topic" else "dev.{}.kitchen.temp"
    frames = [queue_bind(names[i % 10], "many", form.format(i), True)
              for i in range(args.bindings)]
    with Step(broker, f"bind, {word}", args.bindings):
        spread(broker, frames, False, args.connections)
    del frames
    if not keep:
        with Step(broker, f"delete a queue with a tenth of them, {word}", args.bindings // 10):
            control.call(queue_delete(names[0]))
        with Step(broker, f"delete the exchange, {word}", args.bindings * 9 // 10):
            control.call(exchange_delete("many"))
        for name in names[1:]:
            control.call(queue_delete(name))
    control.socket.close()


def measure_exclusive(broker, args):
    """Close a connection that has very many exclusive queues."""
    control = Connection(broker)
    owner = Connection(broker)
    control.call(exchange_declare("all", "fanout", False))
    for i in range(args.queues):
        owner.socket.sendall(queue_declare(f"own-{i}", exclusive=True, nowait=True) +
                             queue_bind(f"own-{i}", "all", "", True))
    owner.call(QOS)
    with Step(broker, "close a connection with exclusive queues", args.queues):
        owner.socket.sendall(method(10, 50, struct.pack(">HBHH", 200, 0, 0, 0), 0))
        while owner.socket.recv(READ_OCTETS):
            pass
    control.call(exchange_delete("all"))
    control.socket.close()


def measure_flood(broker, args):
    """Publish faster than messages can be copied to very many queues."""
    count, messages = 1000, 5000
    control = Connection(broker)
    control.call(exchange_declare("all", "fanout", False))
    for i in range(count):
        control.socket.sendall(queue_declare(f"queue-{i}", nowait=True) +
                               queue_bind(f"queue-{i}", "all", "", True))
    control.call(QOS)
    with Step(broker, "copies of a flood to a fanout of 1,000", count * messages):
        control.socket.sendall(publish("all", "", b"x" * 16, False) * messages)
        control.call(QOS)  # its answer comes behind all of them
    control.socket.close()


def measure_restart(broker, args, kill):
    """Start again with everything that was declared."""
    word = "kill -9" if kill else "an orderly stop"
    if kill:
        broker.kill()
    else:
        start = time.monotonic()
        broker.close()
        print(f"orderly stop: {1e3 * (time.monotonic() - start):.0f} ms")
    broker.__enter__()
    cpu = cpu_seconds(broker.pid)
    memory = resident_octets(broker.pid)
    Step.rows.append({"step": f"start after {word}", "start_s": broker.start_s, "cpu_s": cpu,
                      "resident": memory})
    print(f"start after {word}: {broker.start_s:.2f} s, {cpu:.2f} s CPU, "
          f"{memory / 2**20:.0f} MiB resident", flush=True)


def measure_start(broker, args):
    """Restarts with queues and bindings in the log."""
    names = [f"queue-{i:07}" for i in range(args.queues)]
    with Step(broker, "declare queues, durable, nowait", args.queues):
        spread(broker, [queue_declare(name, True, nowait=True) for name in names], False,
               args.connections)
    measure_bindings(broker, args, "topic", True, keep=True)
    measure_restart(broker, args, True)
    measure_restart(broker, args, False)
    measure_restart(broker, args, True)


PARTS = {
    "durable": lambda broker, args: measure_queues(broker, args, True, False),
    "durable-nowait": lambda broker, args: measure_queues(broker, args, True, True),
    "transient": lambda broker, args: measure_queues(broker, args, False, False),
    "transient-nowait": lambda broker, args: measure_queues(broker, args, False, True),
    "topic": lambda broker, args: measure_bindings(broker, args, "topic", False),
    "topic-durable": lambda broker, args: measure_bindings(broker, args, "topic", True),
    "direct": lambda broker, args: measure_bindings(broker, args, "direct", False),
    "exclusive": measure_exclusive,
    "flood": measure_flood,
    "start": measure_start,
}


def main():
    """Run the parts that were asked for, each on a broker that has just started."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bourse", default="build/release/bourse", help="the broker's binary")
    parser.add_argument("--queues", type=int, default=100_000)
    parser.add_argument("--bindings", type=int, default=1_000_000)
    parser.add_argument("--connections", type=int, default=2)
    parser.add_argument("--only", default=",".join(PARTS), help="parts, by comma")
    parser.add_argument("--directory", default="build", help="where data directories go")
    parser.add_argument("--json", help="file for all figures")
    parser.add_argument("--nice", type=int, default=0, help="of everything that runs")
    args = parser.parse_args()
    brokers.Broker.nice = args.nice
    if args.nice != 0:
        brokers.prefer(0, args.nice)
    for part in args.only.split(","):
        directory = tempfile.mkdtemp(prefix="bench-topology-", dir=args.directory)
        try:
            with brokers.Bourse(directory, args.bourse) as broker:
                with Step(broker, f"[{part}] nothing, for comparison", 1):
                    time.sleep(1)
                PARTS[part](broker, args)
        finally:
            shutil.rmtree(directory, ignore_errors=True)
    if args.json:
        with open(args.json, "w", encoding="utf-8") as out:
            json.dump(Step.rows, out, indent=1)
    return 0


if __name__ == "__main__":
    sys.exit(main())
