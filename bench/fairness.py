#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Measures what a bad neighbour costs: the latency of a polite pair at a fixed rate, alone and
beside one that takes what it can.

The neighbours are a publisher without confirms, messages of 16 MiB, a consumer that does not read
while its queue is long and grows, and a flood of TLS handshakes. What counts is by how much the
polite pair's p99 grows. bench/README.md tells how to read the table.
"""

import argparse
import contextlib
import json
import multiprocessing
import os
import select
import signal
import socket
import ssl
import statistics
import struct
import subprocess
import sys
import tempfile
import time

import brokers
import run
from figures import show

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "tests"))
from support import amqp  # noqa: E402  (the small client of the tests)

TARGET = 2.0  # times the p99 without a neighbour
RATIOS = ("latency_p50_us", "latency_p90_us", "latency_p99_us")
BACKLOG = 100000
NEIGHBOUR_NICE = 5  # a neighbour's own need of a processor is not what is measured


def step_back():
    """Let broker and polite pair go before this process, a neighbour."""
    os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
    os.nice(NEIGHBOUR_NICE)


def record_hello():
    """Return the octets of a TLS client hello."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    sent = ssl.MemoryBIO()
    stream = context.wrap_bio(ssl.MemoryBIO(), sent)
    with contextlib.suppress(ssl.SSLWantReadError):
        stream.do_handshake()
    return sent.read()


def flood(port, answered):
    """Open connections, send each the same hello, and leave when it was answered with a signature;
    it costs the client nearly nothing. Never returns."""
    step_back()
    hello, reset = record_hello(), struct.pack("ii", 1, 0)
    poll = select.epoll()
    waiting = {}
    number = 0
    while True:
        while len(waiting) < 100:
            number += 1
            try:
                sock = socket.create_connection(
                    (brokers.HOST, port), source_address=(f"127.0.12.{number % 50 + 1}", 0))
            except OSError:
                break
            # No port stays in TIME_WAIT.
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, reset)
            sock.send(hello)
            waiting[sock.fileno()] = sock
            poll.register(sock.fileno(), select.EPOLLIN)
        for descriptor, _ in poll.poll(1):
            waiting.pop(descriptor).close()
            with answered.get_lock():
                answered.value += 1


class Fairness:
    """One run: its options, its broker, and the figures so far."""

    def __init__(self, options, directory):
        self.options = options
        self.certificates = brokers.make_certificates(directory)
        self.directory = directory
        self.figures = {}  # neighbour -> list of dicts, one a round
        self.machine = {}  # the same through the relay, which no neighbour speaks to

    def loadgen(self, broker, *arguments):
        """Return the command line of the load generator."""
        return [self.options.loadgen, "--json", "--port", str(broker.port), "--user", broker.user,
                "--password", broker.password, *arguments]

    def measure(self, broker):
        """Return the polite pair's figures, through any broker."""
        options = self.options
        command = self.loadgen(broker, "--name", "polite", "--size", "1024",
                               "--rate", str(options.rate), "--duration", str(options.seconds),
                               "--warmup", str(options.warmup))
        done = subprocess.run(command, capture_output=True, text=True, check=False,
                              timeout=options.seconds + options.warmup + 120)
        if done.returncode != 0:
            raise brokers.BrokerError(done.stderr.strip())
        return json.loads(done.stdout)

    # The neighbours: each is a context that lasts as long as it disturbs.

    @contextlib.contextmanager
    def load(self, broker, *arguments):
        """Run the load generator until the end of the context."""
        command = self.loadgen(broker, "--duration", "3600", *arguments)
        # A session of its own would be a group with a share of the processors of its own.
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                                   preexec_fn=step_back)
        try:
            yield
            if process.poll() is not None:
                raise brokers.BrokerError("the neighbour ended: " + process.stderr.read().decode())
        finally:
            process.kill()
            process.wait()
            process.stderr.close()

    def greedy(self, broker):
        """A publisher of 16 bytes that nothing holds back but a very long queue."""
        return self.load(broker, "--name", "greedy", "--size", "16", "--in-flight", "1000000")

    def huge(self, broker):
        """Messages of the largest size, four of them on their way."""
        return self.load(broker, "--name", "huge", "--size", str(16 << 20), "--in-flight", "4")

    @contextlib.contextmanager
    def silent(self, broker):
        """A consumer that does not read; its queue is long, and a publisher makes it longer."""
        connection = amqp.Connection((brokers.HOST, broker.port), timeout_s=60)
        channel = connection.open(user=broker.user, password=broker.password).channel()
        channel.declare("silent", arguments={"x-max-length": 2 * BACKLOG})
        for _ in range(BACKLOG):
            channel.publish("", "silent", b"s" * 1024)
        channel.send("basic.consume", queue="silent", no_ack=True)
        publisher = multiprocessing.Process(target=publish_on, args=(broker, "silent"), daemon=True)
        publisher.start()
        try:
            yield
        finally:
            publisher.kill()
            publisher.join()
            connection.drop()
            other = amqp.Connection((brokers.HOST, broker.port), timeout_s=60)
            other.open(user=broker.user, password=broker.password).channel().delete("silent")
            other.close()

    @contextlib.contextmanager
    def flood(self, broker):
        """TLS handshakes as fast as the broker answers them."""
        answered = multiprocessing.Value("Q", 0)
        process = multiprocessing.Process(target=flood, args=(broker.tls_port, answered),
                                          daemon=True)
        process.start()
        started = time.monotonic()
        try:
            yield
            rate = answered.value / (time.monotonic() - started)
            print(f"  {rate:,.0f} handshakes/s were answered meanwhile", file=sys.stderr)
        finally:
            process.kill()
            process.join()

    def neighbours(self):
        """Return name, words and context of each; the first is nobody."""
        rows = [("alone", "nobody", lambda _: contextlib.nullcontext()),
                ("greedy", "publisher of 16 B, no confirms", self.greedy),
                ("huge", "messages of 16 MiB", self.huge),
                ("silent", "consumer that does not read, long queue", self.silent),
                ("tls-flood", "TLS handshakes without end", self.flood)]
        only = self.options.only
        return [row for row in rows if not only or row[0] in ("alone", *only)]

    def run(self):
        """Measure every neighbour in every round, on one broker."""
        relay = brokers.Relay(os.path.join(self.directory, "relay"), self.options.relay)
        with brokers.BourseTls(os.path.join(self.directory, "bourse"), self.options.bourse,
                               self.certificates) as broker, relay:
            for _ in range(self.options.rounds):
                for name, _, neighbour in self.neighbours():
                    with neighbour(broker):
                        figures = self.measure(broker)
                        machine = self.measure(relay)
                    self.figures.setdefault(name, []).append(figures)
                    self.machine.setdefault(name, []).append(machine)
                    print(f"  {name:<10} p99 {show(figures['latency_p99_us']):>8} us, "
                          f"relay {show(machine['latency_p99_us']):>8} us", file=sys.stderr)

    def median(self, name, figure):
        """Return the median of a figure over the rounds."""
        return statistics.median(figures[figure] for figures in self.figures[name])

    def machine_median(self, name, figure):
        """Return the same of the relay."""
        return statistics.median(figures[figure] for figures in self.machine[name])

    def print(self):
        """Print the table."""
        alone = {figure: self.median("alone", figure) for figure in RATIOS}
        machine_alone = {figure: self.machine_median("alone", figure) for figure in RATIOS}
        columns = ("latency_p50_us", "latency_p90_us", "latency_p99_us", "latency_p999_us", "latency_max_us",
                   "send_lag_p99_us")
        rows = []
        for name, words, _ in self.neighbours():
            ratios = [self.median(name, figure) / alone[figure] for figure in RATIOS]
            relay = [self.machine_median(name, figure) for figure in RATIOS]
            relay_ratios = [us / machine_alone[figure] for us, figure in zip(relay, RATIOS)]
            rows.append([name, words, *(show(self.median(name, column)) for column in columns),
                         *(f"{ratio:.2f}x" for ratio in ratios),
                         "reached" if ratios[-1] <= TARGET else "MISSED",
                         *(show(us) for us in relay),
                         *(f"{ratio:.2f}x" for ratio in relay_ratios)])
        run.print_table(["beside", "what", "p50 us", "p90", "p99", "p99.9", "max", "sent late p99",
                         "p50 to alone", "p90", "p99", f"target {TARGET:g}x",
                         "relay p50 us", "p90", "p99", "p50 to alone", "p90", "p99"], rows)


def publish_on(broker, queue):
    """Publish without confirms and without end."""
    step_back()
    connection = amqp.Connection((brokers.HOST, broker.port), timeout_s=60)
    channel = connection.open(user=broker.user, password=broker.password).channel()
    while True:
        channel.publish("", queue, b"s" * 1024)


def parse_options():
    """Return the command line."""
    build = os.path.join(os.path.dirname(HERE), "build")
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bourse", default=os.path.join(build, "bourse"), help="the broker")
    parser.add_argument("--loadgen", default=os.path.join(build, "bench", "loadgen"))
    parser.add_argument("--relay", default=os.path.join(build, "bench", "relay"))
    parser.add_argument("--directory", default=build, help="the data directory is made here")
    parser.add_argument("--rate", type=float, default=2000, help="of the polite pair (2000/s)")
    parser.add_argument("--seconds", type=float, default=4, help="per neighbour and round (4)")
    parser.add_argument("--warmup", type=float, default=1, help="seconds before that (1)")
    parser.add_argument("--rounds", type=int, default=3, help="the median counts (3)")
    parser.add_argument("--only", default="", help="comma list of neighbours")
    parser.add_argument("--nice", type=int, default=0, help="of broker and polite pair (0)")
    parser.add_argument("--realtime", action="store_true",
                        help="broker and polite pair before all else the machine does; as root")
    parser.add_argument("--json", help="also write every figure of every round to this file")
    options = parser.parse_args()
    options.only = [name for name in options.only.split(",") if name]
    for program in (options.bourse, options.loadgen, options.relay):
        if not os.access(program, os.X_OK):
            parser.error(f"{program} is not there; run `make bench-fairness`")
    return options


def main():
    """Measure, print, and return the exit status."""
    options = parse_options()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    run.raise_file_limit()
    run.take_priority(options.nice)
    if options.realtime:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
    print("\n".join(run.conditions(options)) + "\n", flush=True)
    with tempfile.TemporaryDirectory(prefix="bench-data-", dir=options.directory) as directory:
        fairness = Fairness(options, directory)
        fairness.run()
        fairness.print()
    if options.json:
        with open(options.json, "w", encoding="utf-8") as text:
            json.dump({"bourse": fairness.figures, "relay": fairness.machine}, text, indent=1)
    return 0


if __name__ == "__main__":
    sys.exit(brokers.run(main))
