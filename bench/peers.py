#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Measures Bourse beside Debian's rabbitmq-server and the bare relay, in turns within one run.

The rounds go over all workloads, so that a run that is cut short has them all, and in every round
the brokers take turns at each workload. What was measured so far is written after every figure
(peers.json) and shown after every round (peers.md, peers.svg). A workload that fails is reported
and the rest goes on; what would not end within --minutes is left out and named.
"""

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack

import brokers
import peers_report
import run
import workloads

# Workloads that show nothing beside a peer that the others do not show.
LEFT_OUT = ("confirm-16", "confirm-1k", "ten-queues", "topic-10k-hash", "connect", "connect-tls")
FLOWS = tuple(workload for workload in workloads.WORKLOADS if not workload.fresh
              and workload.name.removesuffix("-tls") not in LEFT_OUT
              and workload.name != "latency-confirm-tls")
IDLE = tuple(workload for workload in workloads.WORKLOADS if workload.fresh)

FILL = ("--persistent", "--confirm-window", "1000", "--size", "1024", "--fill")
DRAIN = ("--persistent", "--prefetch", "1000", "--ack-every", "100", "--size", "1024", "--drain")
START_S = {"bourse": 0.5, "rabbitmq": 12, "relay": 0.2}
OPENS_PER_S = {"bourse": 2000, "rabbitmq": 250}
FILLED_PER_S = {"bourse": 200_000, "rabbitmq": 8_000}
DRAINED_PER_S = {"bourse": 300_000, "rabbitmq": 20_000}


class TimeIsUp(Exception):
    """What comes next would not end in time."""


class PeerBench(run.BesidePeers):
    """One run with all contestants, which writes what it knows as it goes."""

    patience_s = 90

    def __init__(self, options, directory, conditions):
        super().__init__(options, directory)
        self.conditions = conditions
        self.began = time.monotonic()
        self.ends = {}  # broker -> how often it did not start, or ended by itself

    # Who, and how long ------------------------------------------------------------------------

    def flow_s(self, workload, name):
        """Return about how long one round of a flow takes."""
        declares = 20 if "topic" in workload.name and name == "rabbitmq" else 0.8
        return self.options.seconds + self.options.warmup + declares

    def idle_s(self, workload, name):
        """Return about how long the idle connections take."""
        handshakes = 2 if workload.tls else 1
        return START_S[name] + handshakes * self.options.idle / OPENS_PER_S[name] + \
            self.options.seconds

    def backlog_s(self, name):
        """Return about how long one backlog takes."""
        messages = self.options.messages
        return messages / FILLED_PER_S[name] + messages / DRAINED_PER_S[name] + 4 * START_S[name]

    def backlog_rounds(self, name):
        """Return how often a backlog is measured: the peers are slow, and do not vary so much."""
        return self.options.rounds if name == "bourse" else 1

    def estimate_s(self, chosen):
        """Return about how long the whole run takes."""
        flows = sum(self.flow_s(workload, name) for workload in chosen if workload in FLOWS
                    for name in self.contestants(workload))
        flows += self.options.seconds if self.measures_flush(chosen) else 0
        idle = sum(self.idle_s(workload, name) for workload in chosen if workload in IDLE
                   for name in self.contestants(workload))
        backlog = sum(self.backlog_rounds(name) * self.backlog_s(name)
                      for name in ("bourse", "rabbitmq")) if self.measures_backlog() else 0
        return self.options.rounds * flows + idle + backlog + sum(START_S.values())

    def measures_flush(self, chosen):
        """Tell whether a target depends on what a flush takes."""
        return any(workload.name == "latency-confirm" for workload in chosen)

    def measures_backlog(self):
        """Tell whether the backlog was asked for."""
        return not self.options.only or "backlog" in self.options.only

    def take_time(self, needed_s):
        """Raise TimeIsUp when `needed_s` more would be too much."""
        if time.monotonic() - self.began + needed_s > 60 * self.options.minutes:
            raise TimeIsUp(f"left out: {self.options.minutes} minutes are over")

    # Results ----------------------------------------------------------------------------------

    def record(self, workload, name, figures):
        super().record(workload, name, figures)
        path = os.path.join(self.options.report, "peers.json")
        with open(path + ".new", "w", encoding="utf-8") as text:
            json.dump({"conditions": self.conditions, "failures": self.failures,
                       "rounds": {f"{row} {contestant}": rounds for (row, contestant), rounds
                                  in self.figures.items()}}, text, indent=1)
        os.replace(path + ".new", path)

    def attempt(self, workload, name, needed_s, measure):
        """Measure one thing; whatever goes wrong is kept and the rest goes on. Returns success."""
        try:
            self.take_time(needed_s)
            measure()
            return True
        except (brokers.BrokerError, subprocess.SubprocessError, TimeIsUp, OSError, KeyError,
                ValueError) as error:
            self.fail(workload, name, error)
            return False

    # What is measured -------------------------------------------------------------------------

    def run_rounds(self, chosen):
        """Run all flows, round by round, on brokers that stay up."""
        with ExitStack() as stack:
            running = {}
            for round_number in range(self.options.rounds):
                print(f"round {round_number + 1} of {self.options.rounds}", file=sys.stderr)
                for workload in chosen:
                    names = self.contestants(workload)
                    # Every other round in reverse, so that nobody always goes first.
                    for name in names if round_number % 2 == 0 else reversed(names):
                        self.attempt(workload, name, self.flow_s(workload, name),
                                     lambda w=workload, n=name: self.run_flow(stack, running, w, n))
                if self.measures_flush(chosen):
                    self.attempt(workloads.FLUSH, "disk", self.options.seconds, self.probe_flush)
                peers_report.write(self, show_table=False)

    def run_flow(self, stack, running, workload, name):
        """Give up on a broker that has ended twice: each attempt to start it may take minutes."""
        host = run.BROKER_OF.get(name, name)
        if self.ends.get(host, 0) >= 2:
            raise brokers.BrokerError("given up: it has ended twice in this run")
        super().run_flow(stack, running, workload, name)
        if (host, workload.tls and name in run.APART_WITH_TLS) not in running:
            self.ends[host] = self.ends.get(host, 0) + 1

    def probe_flush(self):
        """Measure what one flush of this disk takes."""
        path = os.path.join(self.directory, "flush-probe")
        done = subprocess.run([self.options.flush_probe, path, str(self.options.seconds)],
                              capture_output=True, text=True, check=True, timeout=self.patience_s)
        self.record(workloads.FLUSH, "disk", json.loads(done.stdout))

    def run_idle(self, workload):
        """Measure idle connections on brokers that have just started, once."""
        for name in self.contestants(workload):
            self.attempt(workload, name, self.idle_s(workload, name),
                         lambda n=name: self.run_idle_on(workload, n))

    def run_idle_on(self, workload, name):
        """Start one broker and hold idle connections to it."""
        self.patience_s = 90 + 4 * self.idle_s(workload, name)
        try:
            with self.make(name, workload.tls) as broker:
                self.record(workload, name, self.load(broker, workload, name))
        finally:
            self.patience_s = PeerBench.patience_s

    def run_backlog(self):
        """Fill a queue, end the broker both ways, and drain what is there."""
        for name in ("bourse", "rabbitmq"):
            for _ in range(self.backlog_rounds(name)):
                if not self.attempt(workloads.BACKLOG_FILL, name, self.backlog_s(name),
                                    lambda n=name: self.run_backlog_on(n)):
                    break

    def run_backlog_on(self, name):
        """Do it once on one broker."""
        self.patience_s = 90 + 4 * self.backlog_s(name)
        broker = self.make(name, tls=False)
        count = str(self.options.messages)
        try:
            with broker:
                self.record(workloads.BACKLOG_FILL, name, self.backlog_load(broker, [*FILL, count]))
                rss = {"rss_mib": run.rss_kib(broker.pid) / 1024}
                self.record(workloads.BACKLOG_RSS, name, rss)
                stopping = time.monotonic()
            stop_s = time.monotonic() - stopping
            with broker:
                self.record(workloads.RESTART_STOP, name, {"restart_s": stop_s + broker.start_s})
                time.sleep(0.5)  # what the start itself still does is not what is measured
                broker.kill()
            with broker:
                self.record(workloads.RESTART_KILL, name, {"restart_s": broker.start_s})
                self.record(workloads.BACKLOG_DRAIN, name,
                            self.backlog_load(broker, [*DRAIN, count]))
        finally:
            self.patience_s = PeerBench.patience_s
            shutil.rmtree(broker.directory, ignore_errors=True)

    def backlog_load(self, broker, arguments):
        """Run the load generator over a backlog."""
        backlog = workloads.Workload("backlog", "", tuple(arguments))
        return self.load(broker, backlog, broker.name)


def parse_options():
    """Return the command line; its defaults end within 40 minutes."""
    here = os.path.dirname(os.path.abspath(__file__))
    build = os.path.join(os.path.dirname(here), "build")
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    run.add_options(parser, rounds=5, seconds=3, idle=10_000)
    parser.add_argument("--messages", type=int, default=1_000_000, help="backlog (1000000)")
    parser.add_argument("--minutes", type=float, default=40, help="nothing is begun that would "
                        "end later (40)")
    parser.add_argument("--report", default=os.path.join(build, "bench-peers"),
                        help="directory for peers.json, peers.md, peers.svg (build/bench-peers)")
    names = [workload.name for workload in FLOWS + IDLE] + ["backlog", "start"]
    options = run.settle_options(parser, names)
    if options.messages < 1:
        parser.error("--messages must be above zero")
    if not brokers.RabbitMQ.is_installed():
        parser.error("rabbitmq-server is not installed (make deps-test)")
    for program in (options.relay, options.flush_probe):
        if not os.access(program, os.X_OK):
            parser.error(f"{program} is not there; run `make bench-peers`")
    return options


def measure(bench, chosen):
    """Run everything that was asked for."""
    seconds = bench.estimate_s(chosen)
    print(f"about {seconds / 60:.0f} minutes; results go to {bench.options.report}", flush=True)
    bench.run_rounds([workload for workload in chosen if workload in FLOWS])
    for workload in chosen:
        if workload in IDLE:
            bench.run_idle(workload)
    if bench.measures_backlog():
        bench.run_backlog()
    if not bench.options.only or "start" in bench.options.only:
        bench.run_start()


def main():
    """Measure, write the report, and return the exit status."""
    options = parse_options()
    run.prepare(options)
    signal.signal(signal.SIGHUP, lambda *_: sys.exit(129))
    os.makedirs(options.report, exist_ok=True)
    chosen = [workload for workload in FLOWS + IDLE
              if not options.only or workload.name in options.only]
    conditions = peers_report.conditions(options)
    print("\n".join(conditions) + "\n", flush=True)
    with tempfile.TemporaryDirectory(prefix="bench-data-", dir=options.directory) as directory:
        bench = PeerBench(options, directory, conditions)
        try:
            measure(bench, chosen)
        finally:
            peers_report.write(bench, show_table=True)
    return 1 if bench.failures else 0


if __name__ == "__main__":
    sys.exit(brokers.run(main))
