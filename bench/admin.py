#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Measures what looking costs: the latency of a pair at a fixed rate, on a broker with many queues,
alone and while the management interface is polled and metrics are scraped; with --consoles N while N
consoles are open, of which it says too what they cost a broker that does nothing else.

Rounds alternate, so that a machine that changes its mind does so for both. What counts is by how
much the pair's p99 grows; the target is a tenth.
"""

import argparse
import base64
import contextlib
import json
import multiprocessing
import os
import select
import socket
import statistics
import subprocess
import sys
import time
import urllib.parse
import urllib.request

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.dirname(HERE))
from tests.support import broker as brokers  # noqa: E402  (starts a broker on free ports)

TARGET = 1.1  # times the p99 of who is alone
POLLER_NICE = 10

# What is asked for, and every how many seconds.
POLLED = (("metrics", "/metrics", 1), ("http", "/api/overview", 1),
          ("http", "/api/queues?page=1&page_size=100", 1), ("http", "/api/bourse/attention", 5),
          ("metrics", "/metrics/per-object", 15), ("http", "/api/queues", 15))
# What the pages of a console watch (management/web): the overview, the list of queues, one queue. The
# first console shows the overview, the second one the list, and so on.
WATCHED = (("/api/overview", "/api/bourse/attention", "/api/bourse/dead-letters", "/api/bourse/history",
            "/api/bourse/vitals"),
           ("/api/queues?columns=name%2Cvhost%2Cstate%2Cmessages%2Cmessages_ready%2C"
            "messages_unacknowledged%2Cmessages_details%2Cconsumers%2Cmessage_stats%2Cbourse"
            "&page=1&page_size=100&sort=messages_ready&sort_reverse=true",),
           ("/api/queues/%2F/queue-0", "/api/bourse/attention", "/api/bourse/dead-letters"))
CONSOLES_COST_MAX = 1.0  # percent of a core, of five


def step_back():
    """Let everything else run first, even where that is a realtime process."""
    os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
    os.nice(POLLER_NICE)


def poll(addresses, taken):
    """Ask for everything at its time. Never returns."""
    step_back()
    login = "Basic " + base64.b64encode(b"guest:guest").decode()
    due = {path: time.monotonic() for _, path, _ in POLLED}
    while True:
        for kind, path, seconds in POLLED:
            if time.monotonic() < due[path]:
                continue
            due[path] += seconds
            host, port = addresses[kind][0]
            request = urllib.request.Request(f"http://{host}:{port}{path}",
                                             headers={"Authorization": login})
            began = time.monotonic()
            with urllib.request.urlopen(request, timeout=30) as answer:
                answer.read()
            taken.put((path, time.monotonic() - began))
        time.sleep(max(0, min(due.values()) - time.monotonic()))


@contextlib.contextmanager
def looking_on(options, addresses, taken):
    """Poll, or look with consoles, until the end of the context."""
    target, arguments = (look, (addresses, options.consoles)) if options.consoles else (
        poll, (addresses, taken))
    process = multiprocessing.Process(target=target, args=arguments, daemon=True)
    process.start()
    try:
        yield
    finally:
        process.terminate()
        process.join()


def look(addresses, count):
    """Read what `count` consoles are told. Never returns."""
    step_back()
    login = base64.b64encode(b"guest:guest").decode()
    streams = []
    for number in range(count):
        paths = "&".join("watch=" + urllib.parse.quote(path, safe="")
                         for path in WATCHED[number % len(WATCHED)])
        stream = socket.create_connection(addresses["http"][0])
        stream.sendall(f"GET /api/bourse/events?{paths} HTTP/1.1\r\nHost: console\r\n"
                       f"Authorization: Basic {login}\r\n\r\n".encode())
        streams.append(stream)
    while True:
        for stream in select.select(streams, [], [])[0]:
            if not stream.recv(1 << 20):
                raise SystemExit("bench: a stream has ended")


def cpu_seconds(pid):
    """Return what the process has used of processors so far."""
    with open(f"/proc/{pid}/stat", encoding="ascii") as file:
        fields = file.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def measure_consoles(options, broker):
    """Print what consoles cost a broker without traffic; return whether the target was met."""
    costs = {}
    for count in (0, options.consoles):
        process = multiprocessing.Process(target=look, args=(broker.addresses, count), daemon=True)
        if count > 0:
            process.start()
            time.sleep(2)
        before = cpu_seconds(broker.pid)
        time.sleep(2 * options.seconds)
        costs[count] = (cpu_seconds(broker.pid) - before) * 100 / (2 * options.seconds)
        if count > 0:
            process.terminate()
            process.join()
    cost = costs[options.consoles] - costs[0]
    print(f"{options.consoles} consoles: {costs[options.consoles]:.2f} % of a core, {costs[0]:.2f} % "
          f"without them: {cost:.2f} % (target {CONSOLES_COST_MAX})")
    return cost <= CONSOLES_COST_MAX


def measure(options, port):
    """Return the pair's figures."""
    command = [options.loadgen, "--json", "--port", str(port), "--name", "pair", "--size", "1024",
               "--rate", str(options.rate), "--duration", str(options.seconds), "--warmup", "1"]
    done = subprocess.run(command, capture_output=True, text=True, check=False,
                          timeout=options.seconds + 60)
    if done.returncode != 0:
        raise SystemExit(f"bench: {done.stderr.strip()}")
    return json.loads(done.stdout)


def declare(broker, count):
    """Make queues, a message in each tenth of them."""
    channel = broker.open().channel()
    for number in range(count):
        channel.send("queue.declare", queue=f"queue-{number}", nowait=True)
        if number % 10 == 0:
            channel.publish("", f"queue-{number}", b"x")
    channel.ping()


def report(figures, taken):
    """Print what came of it; return whether the target was met."""
    for name in ("latency_p50_us", "latency_p99_us", "latency_p999_us"):
        alone, polled = (statistics.median(one[name] for one in figures[kind] if name in one)
                         if any(name in one for one in figures[kind]) else 0
                         for kind in ("alone", "polled"))
        if alone:
            print(f"{name}: {alone:.0f} alone, {polled:.0f} polled, {polled / alone:.2f} times")
    for path, seconds in sorted(taken.items()):
        print(f"{path}: {len(seconds)} answers, median {statistics.median(seconds) * 1000:.1f} ms, "
              f"longest {max(seconds) * 1000:.1f} ms")
    ratio = (statistics.median(one["latency_p99_us"] for one in figures["polled"]) /
             statistics.median(one["latency_p99_us"] for one in figures["alone"]))
    print(f"p99 {ratio:.2f} times (target {TARGET})")
    return ratio <= TARGET


def main():
    """Measure, print, and say by the exit status whether the target was met."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--loadgen", default=os.path.join(HERE, "../build/bench/loadgen"))
    parser.add_argument("--queues", type=int, default=10000)
    parser.add_argument("--rate", type=int, default=5000)
    parser.add_argument("--seconds", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--consoles", type=int, default=0, metavar="N")
    parser.add_argument("--realtime", action="store_true",
                        help="broker and pair before everything else (as root)")
    options = parser.parse_args()
    if options.realtime:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
    figures = {"alone": [], "polled": []}
    answers = multiprocessing.Queue()
    with brokers.Bourse(listen=("amqp", "http", "metrics"), options=["--ephemeral"]) as broker:
        declare(broker, options.queues)
        for _ in range(options.rounds):
            figures["alone"].append(measure(options, broker.amqp[1]))
            with looking_on(options, broker.addresses, answers):
                figures["polled"].append(measure(options, broker.amqp[1]))
        is_cheap = options.consoles == 0 or measure_consoles(options, broker)
    taken = {}
    while not answers.empty():
        path, seconds = answers.get()
        taken.setdefault(path, []).append(seconds)
    return 0 if report(figures, taken) and is_cheap else 1


if __name__ == "__main__":
    sys.exit(main())
