#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Measures Bourse alone, against its targets. bench/peers.py measures it beside others.

A figure is the median of the rounds. bench/README.md tells how to read the tables.
"""

import argparse
import json
import os
import platform
import resource
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack

import brokers
import workloads
from figures import show


# Which broker a contestant lives in, where the names differ: quorum queues live in the same broker
# as the classic ones.
BROKER_OF = {"quorum": "rabbitmq"}
# Those whose TLS listener is a process of its own.
APART_WITH_TLS = ("bourse", "relay")


class Bench:
    """One run: its options, the directory for everything it writes, and the figures so far."""

    patience_s = 300  # that a load generator may take beside what it was told to

    def __init__(self, options, directory):
        self.options = options
        self.directory = directory
        self.certificates = brokers.make_certificates(directory)
        self.started = 0
        self.figures = {}  # (workload name, broker name) -> list of dicts, one a round
        self.failures = []

    def make(self, name, tls):
        """Return a broker, not started, with a directory of its own."""
        self.started += 1
        directory = os.path.join(self.directory, f"{name}-{self.started}")
        if name == "relay":
            return self.make_relay(directory, tls)
        if name == "rabbitmq":
            return brokers.RabbitMQ(directory, self.certificates)
        if tls:
            return brokers.BourseTls(directory, self.options.bourse, self.certificates)
        return brokers.Bourse(directory, self.options.bourse)

    def make_relay(self, directory, tls):
        """Return a relay, not started."""
        if tls:
            return brokers.RelayTls(directory, self.options.relay, self.certificates)
        return brokers.Relay(directory, self.options.relay)

    def contestants(self, workload):  # pylint: disable=unused-argument
        """Return the names of the brokers that take part in a workload."""
        return ["bourse"]

    def load(self, broker, workload, name):
        """Run the load generator against `broker` once; return its figures."""
        options = self.options
        port = broker.tls_port if workload.tls else broker.port
        command = [options.loadgen, "--json", "--port", str(port), "--user", broker.user,
                   "--password", broker.password, "--broker-pid", str(broker.pid),
                   "--duration", str(options.seconds), "--warmup", str(options.warmup)]
        if workload.tls:
            command += ["--tls", "--ca", self.certificates["ca"]]
        if name == "quorum":
            command += ["--queue-type", "quorum"]
        command += [part.format(idle=options.idle) for part in workload.arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=False,
                              timeout=options.seconds + options.warmup + self.patience_s)
        if done.returncode != 0:
            raise brokers.BrokerError(done.stderr.strip())
        return json.loads(done.stdout) | {"load_average": os.getloadavg()[0]}

    def record(self, workload, name, figures):
        """Keep the figures of one round and show that something happened."""
        self.figures.setdefault((workload.name, name), []).append(figures)
        value = show(figures[workload.figure])
        print(f"  {workload.name:<20} {name:<9} {value:>12} {workload.unit}", file=sys.stderr)

    def fail(self, workload, name, error):
        """Keep a failure; the other workloads go on."""
        self.failures.append(f"{workload.name}, {name}: {error}")
        print(f"  {workload.name:<20} {name:<9} FAILED: {error}", file=sys.stderr)

    def run_flows(self, chosen):
        """Run all workloads on brokers that stay up, in turns."""
        with ExitStack() as stack:
            running = {}
            for workload in chosen:
                for round_number in range(self.options.rounds):
                    names = self.contestants(workload)
                    # Every other round in reverse, so that nobody always goes first.
                    for name in names if round_number % 2 == 0 else reversed(names):
                        self.run_flow(stack, running, workload, name)

    def run_flow(self, stack, running, workload, name):
        """Run one workload on one broker, starting it if this is its first."""
        host = BROKER_OF.get(name, name)
        key = (host, workload.tls and name in APART_WITH_TLS)
        try:
            if key not in running:
                running[key] = stack.enter_context(self.make(host, workload.tls))
            self.record(workload, name, self.load(running[key], workload, name))
        except (brokers.BrokerError, subprocess.TimeoutExpired) as error:
            self.fail(workload, name, error)
            if key in running and running[key].has_ended():
                self.fail(workload, name, running[key].last_words())
                del running[key]  # the next workload gets a new one

    def run_fresh(self, workload):
        """Run one workload on brokers that have just started, one after the other."""
        for name in self.contestants(workload):
            try:
                with self.make(name, workload.tls) as broker:
                    self.record(workload, name, self.load(broker, workload, name))
            except (brokers.BrokerError, subprocess.TimeoutExpired) as error:
                self.fail(workload, name, error)

    def run_start(self):
        """Measure starting time and the memory of a broker that has nothing to do."""
        for name in self.contestants(workloads.START):
            rounds = 5 * self.options.rounds if name == "bourse" else 1
            for _ in range(rounds):
                try:
                    with self.make(name, tls=False) as broker:
                        time.sleep(0.2 if name == "bourse" else 5)
                        rss_mib = rss_kib(broker.pid) / 1024
                        self.record(workloads.START, name, {"start_ms": broker.start_s * 1000})
                        self.record(workloads.IDLE_RSS, name, {"rss_mib": rss_mib})
                except brokers.BrokerError as error:
                    self.fail(workloads.START, name, error)
                    break

    def median(self, workload, name, figure=None):
        """Return the median over the rounds of one figure, or None if it was not measured."""
        rounds = self.figures.get((workload.name, name), [])
        values = [figures[figure or workload.figure] for figures in rounds
                  if (figure or workload.figure) in figures]
        return statistics.median(values) if values else None


class BesidePeers(Bench):
    """The same beside RabbitMQ, with both kinds of its queues, and the relay."""

    def contestants(self, workload):
        names = ["bourse", "rabbitmq"]
        if workload.quorum:
            names.append("quorum")
        if workload.relay and self.options.relay is not None:
            names.append("relay")
        return names


def rss_kib(pid):
    """Return the resident memory of a process in KiB."""
    with open(f"/proc/{pid}/status", encoding="ascii") as status:
        for line in status:
            if line.startswith("VmRSS:"):
                return int(line.split()[1])
    return 0


def file_system(directory):
    """Return type and device of the file system that holds `directory`."""
    best = ("", "unknown", "")
    real = os.path.realpath(directory)
    with open("/proc/mounts", encoding="utf-8", errors="replace") as mounts:
        for line in mounts:
            device, point, kind = line.split()[:3]
            inside = point == "/" or real == point or real.startswith(point + "/")
            if inside and len(point) >= len(best[2]):
                best = (device, kind, point)
    return f"{best[1]} on {best[0]}"


def shown_path(path):
    """Return a path as it is known within the project, if it lies there."""
    root = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    inside = os.path.relpath(path, root)
    return path if inside.startswith("..") else inside


def conditions(options):
    """Return the lines that have to stand beside any figure of this run."""
    model = "unknown processor"
    with open("/proc/cpuinfo", encoding="ascii", errors="replace") as cpuinfo:
        for line in cpuinfo:
            if line.startswith("model name"):
                model = line.split(":", 1)[1].strip()
                break
    version = subprocess.run([options.bourse, "version"], capture_output=True, text=True,
                             check=False).stdout.strip().replace("\n", "; ")
    load = ", ".join(f"{value:.2f}" for value in os.getloadavg())
    return [
        f"{time.strftime('%Y-%m-%d %H:%M')}, {os.cpu_count()} processors: {model}; "
        f"Linux {platform.release()}",
        f"{version}; loopback, broker and load generator share the processors",
        f"{options.seconds:g} s after {options.warmup:g} s of warm-up, median of "
        f"{options.rounds}; load average at the start {load}, niceness {options.nice}",
        f"data directories of all brokers below {shown_path(options.directory)}: "
        f"{file_system(options.directory)}",
    ]


def print_table(header, rows):
    """Print rows of text; the first two columns are words, the others figures."""
    widths = [max(len(row[i]) for row in [header, *rows]) for i in range(len(header))]
    for row in [header, ["-" * width for width in widths], *rows]:
        cells = [cell.ljust(width) if i < 2 else cell.rjust(width)
                 for i, (cell, width) in enumerate(zip(row, widths))]
        print("  ".join(cells).rstrip())


def verdict(workload, value):
    """Say in one word how a figure stands to its target."""
    if workload.target is None or value is None:
        return ""
    good = value >= workload.target if workload.better == "more" else value <= workload.target
    return "reached" if good else "MISSED"


def print_targets(bench, measured):
    """Print target and figure of every workload, and what a message costs."""
    rows = []
    for workload in measured:
        value = bench.median(workload, "bourse")
        rows.append([
            workload.name, workload.words, show(value), workload.unit,
            show(workload.target), verdict(workload, value),
            show(bench.median(workload, "bourse", "delivered_per_s")),
            show(bench.median(workload, "bourse", "user_ns_per_message")),
            show(bench.median(workload, "bourse", "system_ns_per_message")),
        ])
    print_table(["workload", "what", "figure", "unit", "target", "", "msg/s", "user ns",
                 "kernel ns"], rows)


LATENCY_FIGURES = ("latency_p50_us", "latency_p99_us", "latency_p999_us", "latency_max_us",
                   "send_lag_p99_us", "confirm_p50_us", "confirm_p99_us")


def print_latencies(bench, measured):
    """Print the percentiles of the workloads at a fixed rate."""
    rows = []
    for workload in measured:
        if workload.figure == "latency_p99_us" and bench.median(workload, "bourse") is not None:
            rows.append([workload.name, workload.words,
                         *(show(bench.median(workload, "bourse", figure))
                           for figure in LATENCY_FIGURES)])
    if rows:
        print()
        print_table(["workload", "what", "p50 us", "p99", "p99.9", "max", "sent late p99",
                     "confirm p50", "confirm p99"], rows)


def add_options(parser, rounds, seconds, idle):
    """Add the options that every run has, with the defaults of this one."""
    here = os.path.dirname(os.path.abspath(__file__))
    build = os.path.join(os.path.dirname(here), "build")
    parser.add_argument("--bourse", default=os.path.join(build, "bourse"), help="the broker")
    for tool in ("loadgen", "relay", "flush_probe"):
        parser.add_argument("--" + tool.replace("_", "-"),
                            default=os.path.join(build, "bench", tool))
    parser.add_argument("--directory", default=build,
                        help="data directories are made and removed here (build/)")
    parser.add_argument("--seconds", type=float, default=seconds,
                        help=f"per workload and round ({seconds})")
    parser.add_argument("--warmup", type=float, default=1, help="seconds before that (1)")
    parser.add_argument("--rounds", type=int, default=rounds,
                        help=f"the median counts ({rounds})")
    parser.add_argument("--idle", type=int, default=idle, help=f"idle connections ({idle})")
    parser.add_argument("--only", default="", help="comma list of workloads; --list names them")
    parser.add_argument("--list", action="store_true", help="name the workloads and end")
    parser.add_argument("--nice", type=int, default=0,
                        help="of everything in this run, for a busy machine; below 0 as root (0)")


def settle_options(parser, names):
    """Parse and check the command line of a run whose workloads are called `names`."""
    options = parser.parse_args()
    if options.list:
        print("\n".join(names))
        sys.exit(0)
    options.only = [name for name in options.only.split(",") if name]
    unknown = sorted(set(options.only) - set(names))
    if unknown:
        parser.error(f"no workload named {', '.join(unknown)}; there are: {', '.join(names)}")
    if options.rounds < 1 or options.seconds <= 0 or options.warmup < 0 or options.idle < 1:
        parser.error("--rounds, --seconds and --idle must be above zero")
    for program in (options.bourse, options.loadgen):
        if not os.access(program, os.X_OK):
            parser.error(f"{program} is not there; run `make` first")
    return options


def parse_options():
    """Return the command line, with defaults that give a table in a few minutes."""
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    add_options(parser, rounds=3, seconds=4, idle=5000)
    parser.add_argument("--json", help="also write every figure of every round to this file")
    return settle_options(parser, [workload.name for workload in workloads.WORKLOADS] + ["start"])


def raise_file_limit():
    """Allow as many open files as the system lets us; the brokers inherit it."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def take_priority(nice):
    """Let everything of this run go before what else the machine does, brokers and load alike."""
    if nice != 0:
        brokers.prefer(os.getpid(), nice)
        brokers.Broker.nice = nice


def prepare(options):
    """Make this process and those it starts ready for a run."""
    # A polite end runs the clean-up as Ctrl-C does: no broker is left behind.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    raise_file_limit()
    take_priority(options.nice)


def main():
    """Measure what was asked for, print the tables, and return the exit status."""
    options = parse_options()
    prepare(options)
    chosen = [workload for workload in workloads.WORKLOADS
              if not options.only or workload.name in options.only]
    print("\n".join(conditions(options)) + "\n", flush=True)
    with tempfile.TemporaryDirectory(prefix="bench-data-", dir=options.directory) as directory:
        bench = Bench(options, directory)
        if not options.only or "start" in options.only:
            bench.run_start()
            chosen = [*chosen, workloads.START, workloads.IDLE_RSS]
        for workload in chosen:
            if workload.fresh and workload.arguments:
                bench.run_fresh(workload)
        bench.run_flows([workload for workload in chosen if not workload.fresh])
    print_targets(bench, chosen)
    print_latencies(bench, chosen)
    if options.json:
        with open(options.json, "w", encoding="utf-8") as text:
            json.dump({f"{workload} {name}": rounds
                       for (workload, name), rounds in bench.figures.items()}, text, indent=1)
    for failure in bench.failures:
        print(f"FAILED {failure}", file=sys.stderr)
    return 1 if bench.failures else 0


if __name__ == "__main__":
    sys.exit(brokers.run(main))
