#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Measures what looking costs: the latency of a pair at a fixed rate, on a broker with many queues,
alone and while the management interface is polled and metrics are scraped.

Rounds alternate, so that a machine that changes its mind does so for both. What counts is by how
much the pair's p99 grows; the target is a tenth.
"""

import argparse
import base64
import contextlib
import json
import multiprocessing
import os
import statistics
import subprocess
import sys
import time
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


def poll(addresses, taken):
    """Ask for everything at its time. Never returns."""
    os.nice(POLLER_NICE)
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
def polling(addresses, taken):
    """Poll until the end of the context."""
    process = multiprocessing.Process(target=poll, args=(addresses, taken), daemon=True)
    process.start()
    try:
        yield
    finally:
        process.terminate()
        process.join()


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
    options = parser.parse_args()
    figures = {"alone": [], "polled": []}
    answers = multiprocessing.Queue()
    with brokers.Bourse(listen=("amqp", "http", "metrics"), options=["--ephemeral"]) as broker:
        declare(broker, options.queues)
        for _ in range(options.rounds):
            figures["alone"].append(measure(options, broker.amqp[1]))
            with polling(broker.addresses, answers):
                figures["polled"].append(measure(options, broker.amqp[1]))
    taken = {}
    while not answers.empty():
        path, seconds = answers.get()
        taken.setdefault(path, []).append(seconds)
    return 0 if report(figures, taken) else 1


if __name__ == "__main__":
    sys.exit(main())
