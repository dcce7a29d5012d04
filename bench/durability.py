#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Measures what it costs that confirmed means on disk, and what a restart and a long backlog cost.

Against the targets of the project and, with --peers, beside RabbitMQ's classic and quorum queues.
Brokers take turns, round by round; a figure is the median of the rounds. Nothing passes or fails
here: a figure is put beside its target. bench/README.md tells what each one means.
"""

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import ExitStack

import brokers
import figures
import run
import workloads

PERSISTENT = ("--persistent --confirm-window 1000 --prefetch 1000 --ack-every 100 "
              "--size 1024").split()
BODY_BYTES = 1024
PARTS = ("flow", "latency", "fanout", "start", "recovery", "backlog")
COLUMNS = ("bourse", "classic", "quorum", "relay", "probe", "ideal", "relay*", "probe*", "ideal*")
# What bench/run.py calls them.
RUN_NAMES = {"bourse": "bourse", "classic": "rabbitmq", "quorum": "quorum", "relay": "relay"}


def in_turn(names, round_number):
    """Return the names, every other round in reverse, so that nobody always goes first."""
    return list(names) if round_number % 2 == 0 else list(reversed(names))


def counter(path, key):
    """Return one of the numbers of a file of /proc that reads `key: number`."""
    with open(path, encoding="ascii") as lines:
        for line in lines:
            if line.startswith(key + ":"):
                return int(line.split()[1])
    return 0


def log_thread(pid):
    """Return the id of the thread that writes Bourse's log."""
    for thread in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{thread}/comm", encoding="ascii") as comm:
            if comm.read().strip() == "bourse-log":
                return thread
    raise brokers.BrokerError("bourse: no thread called bourse-log")


def forget_cache(directory):
    """Drop the files below `directory`, and no others, from the page cache."""
    for folder, _, names in os.walk(directory):
        for name in names:
            try:
                file = os.open(os.path.join(folder, name), os.O_RDONLY)
            except OSError:
                continue  # a socket
            try:
                os.fdatasync(file)
                os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
            finally:
                os.close(file)


class MemoryWatch:
    """Reads the resident memory of a process ten times a second while it is entered."""

    def __init__(self, pid):
        self.pid = pid
        self.series = []  # (seconds, MiB)
        self.ended = threading.Event()
        self.thread = threading.Thread(target=self.watch, daemon=True)

    def watch(self):
        """Run until the end; the process may end first."""
        start = time.monotonic()
        while not self.ended.wait(0.1):
            try:
                self.series.append((time.monotonic() - start, run.rss_kib(self.pid) / 1024))
            except OSError:
                return

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.ended.set()
        self.thread.join()

    def most_mib(self):
        """Return the most that was seen."""
        return max((mib for _, mib in self.series), default=0)


class Durability:
    """One run: its options, the directory for everything it writes, and the figures so far."""

    def __init__(self, options, directory):
        self.options = options
        self.directory = directory
        self.bench = (run.BesidePeers if options.peers else run.Bench)(options, directory)
        self.figures = {}
        self.series = {}
        self.failures = []
        self.made = 0

    # Figures --------------------------------------------------------------------------------

    def figure(self, name, words, unit, **more):
        """Return the figure of that name, new if there is none yet."""
        if name not in self.figures:
            self.figures[name] = figures.Figure(name, words, unit, **more)
        return self.figures[name]

    def say(self, name, contestant, text):
        """Show that something happened."""
        print(f"  {name:<18} {contestant:<9} {text}", file=sys.stderr, flush=True)

    def fail(self, name, contestant, error):
        """Keep a failure; the other parts go on."""
        self.failures.append(f"{name}, {contestant}: {error}")
        self.say(name, contestant, f"FAILED: {error}")

    # Brokers --------------------------------------------------------------------------------

    def queue_kinds(self):
        """Return those that keep messages: us, and with --peers both kinds of queue."""
        return ["bourse", "classic", "quorum"] if self.options.peers else ["bourse"]

    def new_directory(self, name):
        """Return a directory that nobody has used."""
        self.made += 1
        return os.path.join(self.directory, f"durable-{name}-{self.made}")

    def make(self, name, memory=None):
        """Return a broker, not started, with a directory of its own."""
        directory = self.new_directory(name)
        if name in ("classic", "quorum"):
            return brokers.RabbitMQ(directory, self.bench.certificates, memory)
        if memory is not None:
            return brokers.BourseFromFile(directory, self.options.bourse, memory)
        return brokers.Bourse(directory, self.options.bourse)

    def load(self, broker, name, arguments):
        """Run the load generator; return its figures and the lines of its progress."""
        command = [self.options.loadgen, "--json", "--port", str(broker.port), "--user",
                   broker.user, "--password", broker.password, "--broker-pid", str(broker.pid),
                   *PERSISTENT, *arguments]
        if name == "quorum":
            command += ["--queue-type", "quorum"]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=7200)
        lines = done.stderr.splitlines()
        if done.returncode != 0:
            words = [line for line in lines if not line.startswith("progress ")]
            if broker.has_ended():
                words.append(broker.last_words())
            raise brokers.BrokerError("\n".join(words))
        progress = [[float(word) for word in line.split()[1:]] for line in lines
                    if line.startswith("progress ")]
        return json.loads(done.stdout), progress

    # Messages per broker CPU second -----------------------------------------------------------

    def flow(self):
        """Persistent messages, window 1,000, acknowledged by the hundred."""
        chosen = [workload for workload in workloads.WORKLOADS
                  if workload.name in ("persistent-1k", "persistent-16")]
        self.bench.run_flows(chosen)
        for workload in chosen:
            row = self.figure(workload.name, workload.words, workload.unit, better="more",
                              target=workload.target)
            for column, name in RUN_NAMES.items():
                for figure in self.bench.figures.get((workload.name, name), []):
                    row.add(column, figure[workload.figure])
                    row.loads[-1] = figure["load_average"]
            wall = {column: self.bench.median(workload, name, "delivered_per_s")
                    for column, name in RUN_NAMES.items()}
            row.note("on the wall: " + ", ".join(
                f"{column} {figures.show(value)}/s" for column, value in wall.items()
                if value is not None))
        self.failures += self.bench.failures
        self.bench.failures = []

    # Latency of confirms ----------------------------------------------------------------------

    def start_probe(self, *options):
        """Start bench/flush_probe for as long as one contestant is measured."""
        path = os.path.join(self.directory, "flush-probe")
        seconds = self.options.warmup + self.options.seconds
        return subprocess.Popen([self.options.flush_probe, path, str(seconds), *options],
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def end_probe(self, probe):
        """Return the figures of a probe that was started."""
        output, words = probe.communicate()
        if probe.returncode != 0:
            raise brokers.BrokerError(words.strip())
        return json.loads(output)

    def latency(self):
        """From the intended send time to the confirm, at 5,000 a second."""
        workload = next(w for w in workloads.WORKLOADS if w.name == "latency-confirm")
        names = ["probe", *(self.queue_kinds()),
                 *(["relay", "together"] if self.options.relay else [])]
        with ExitStack() as stack:
            running = {}
            for round_number in range(self.options.rounds):
                for name in in_turn(names, round_number):
                    self.latency_once(stack, running, workload, name)
        self.latency_targets()

    def latency_targets(self):
        """Three flushes and the way of a message, each measured alone; and what a message waits for
        a flush and on its way where both are measured at once."""
        p99 = self.figures.get("confirm-p99")
        if p99 is None or p99.median("probe") is None or p99.median("relay") is None:
            return
        p99.target = 3 * p99.median("probe") + p99.median("relay")
        p99.target_words = "3 x p99 of write and flush of 4 KiB, and p99 of the relay"
        if p99.median("probe*") is None or p99.median("bourse") is None:
            return
        both = self.figure("confirm-p99*", p99.words, "us", rounds=p99.rounds, loads=p99.loads)
        both.target = p99.median("ideal*") + p99.median("relay*")
        both.target_words = ("p99 of what a message waits for a flush, and p99 of the relay, both "
                             "at the same time")

    # A new broker writes its next segments ahead, which others' flushes would have to wait for.
    SETTLE_S = 3

    def settle(self, stack, running, run_name):
        """Start a broker before its first round, and let it come to rest."""
        host = run.BROKER_OF.get(run_name, run_name)
        if (host, False) not in running:
            running[(host, False)] = stack.enter_context(self.bench.make(host, False))
            time.sleep(self.SETTLE_S)

    LATENCY_WORDS = (("p50", "half of the confirms"), ("p99", "99 % of the confirms"),
                     ("p999", "99.9 % of the confirms"))

    def latency_once(self, stack, running, workload, name):
        """Measure one contestant once."""
        if name == "probe":
            self.add_probe(self.end_probe(self.start_probe()), "")
            return
        run_name = RUN_NAMES.get(name, "relay")
        mark = "*" if name == "together" else ""
        self.settle(stack, running, run_name)
        probe = self.start_probe("paced") if mark else None
        self.bench.run_flow(stack, running, workload, run_name)
        if probe is not None:
            self.add_probe(self.end_probe(probe), mark)
        rounds = self.bench.figures.get((workload.name, run_name))
        if not rounds or self.bench.failures:
            self.failures += self.bench.failures
            self.bench.failures = []
            return
        measured = rounds[-1]
        for percent, words in self.LATENCY_WORDS:
            self.latency_figure(percent, words).add(run_name + mark if mark else name,
                                                    measured[f"confirm_{percent}_us"])
        lag = self.figure("send-lag-p99", "of that, the generator's own lateness, 99 %", "us")
        lag.add(run_name + mark if mark else name, measured["send_lag_p99_us"])

    def latency_figure(self, percent, words):
        """Return one of the percentiles, as a row."""
        row = self.figure(f"confirm-{percent}", f"1 KiB at 5,000/s: {words} after", "us")
        row.note("probe: write and fdatasync of 4 KiB, one after the other; ideal: what 5,000 "
                 "messages a second would wait for these flushes, had they nothing else to do; "
                 "*: relay and probe at the same time, the probe flushing for 5,000 messages a "
                 "second as they come")
        return row

    def add_probe(self, measured, mark):
        """Keep what a probe has measured."""
        for percent, words in self.LATENCY_WORDS:
            row = self.latency_figure(percent, words)
            row.add("probe" + mark, measured[f"flush_{percent}_us"])
            row.add("ideal" + mark, measured[f"wait_{percent}_us"])

    # Octets on the disk -----------------------------------------------------------------------

    def fanout(self):
        """One message to ten durable queues with a consumer each."""
        with ExitStack() as stack:
            running = {}
            for round_number in range(self.options.rounds):
                for name in in_turn(self.queue_kinds(), round_number):
                    try:
                        if name not in running:
                            running[name] = stack.enter_context(self.make(name))
                            time.sleep(self.SETTLE_S)
                        self.fanout_once(running[name], name)
                    except brokers.BrokerError as error:
                        self.fail("fanout", name, error)

    def fanout_once(self, broker, name):
        """Count what the broker writes for each message that is published."""
        logged = self.figure("fanout-log", "octets that the log's thread wrote per message to ten "
                             "durable queues", "octets", target=1.3 * BODY_BYTES + 400,
                             target_words="1.3 x body and 400")
        dirtied = self.figure("fanout-dirtied", "octets that the kernel charged the process for",
                              "octets")
        logged.note("log: wchar of the thread, what it handed to pwritev, acknowledgements included")
        dirtied.note("write_bytes of the process: whole pages of the cache, or larger folios, each "
                     "time they become dirty; includes segments made ahead and indexes")
        task = None if name != "bourse" else f"/proc/{broker.pid}/task/{log_thread(broker.pid)}/io"
        process = f"/proc/{broker.pid}/io"
        before = (counter(process, "write_bytes"), task and counter(task, "wchar"))
        measured, _ = self.load(broker, name, [
            "--exchange", "fanout", "--queues", "10", "--consumers", "10", "--warmup", "0",
            "--duration", str(self.options.seconds)])
        published = measured["published_in_all"]
        dirtied.add(name, (counter(process, "write_bytes") - before[0]) / published)
        if task is not None:
            logged.add(name, (counter(task, "wchar") - before[1]) / published)
        cost = self.figure("fanout-cpu", "the same: deliveries per broker CPU second", "msg/CPU-s",
                           better="more")
        cost.add(name, measured["delivered_per_cpu_s"])
        self.say("fanout", name, f"{measured['delivered_per_cpu_s']:,.0f} msg/CPU-s")

    # Starting ---------------------------------------------------------------------------------

    def start(self):
        """With a new data directory, and again with what an orderly stop left of it."""
        new = self.figure("start-new", "exec until the header is answered, new directory", "ms",
                          target=30)
        empty = self.figure("start-empty", "the same, with an empty log", "ms", target=30)
        for name in ("bourse", "classic") if self.options.peers else ("bourse",):
            for _ in range(5 * self.options.rounds if name == "bourse" else 1):
                try:
                    broker = self.make(name)
                    for figure in (new, empty):
                        with broker:
                            figure.add(name, broker.start_s * 1000)
                    shutil.rmtree(broker.directory)
                except brokers.BrokerError as error:
                    self.fail("start", name, error)
                    break
            self.say("start", name, f"{figures.show(new.median(name))} ms new, "
                     f"{figures.show(empty.median(name))} ms empty")

    # Recovery ---------------------------------------------------------------------------------

    RECOVERIES = (
        ("recover-kill", "killed, warm", True, False),
        ("recover-stop", "stopped, warm", False, False),
        ("recover-kill-cold", "killed, nothing in the page cache", True, True),
        ("recover-stop-cold", "stopped, nothing in the page cache", False, True),
    )

    def recovery(self):
        """Exec until the header is answered, with a backlog; each way as often as there are
        rounds, the peers once."""
        for name in self.queue_kinds():
            count = self.options.messages if name == "bourse" else self.options.peer_messages
            try:
                self.recovery_of(name, count)
            except brokers.BrokerError as error:
                self.fail("recovery", name, error)

    def recovery_of(self, name, count):
        """Fill, end and start again, and see at last that everything is still there."""
        broker = self.make(name)
        with broker:
            self.load(broker, name, ["--fill", str(count)])
        for _ in range(self.options.rounds if name == "bourse" else 1):
            for figure_name, words, is_killed, is_cold in self.RECOVERIES:
                figure = self.figure(
                    figure_name, f"{self.options.messages:,} of 1 KiB, {words}: until the header "
                    "is answered", "s", target=None if is_cold else 1)
                if count != self.options.messages:
                    figure.note(f"{name}: {count:,} messages, its time as it is")
                self.recover_once(broker, figure, name, is_killed, is_cold)
        with broker:
            self.load(broker, name, ["--drain", str(count)])
        shutil.rmtree(broker.directory)

    def recover_once(self, broker, figure, name, is_killed, is_cold):
        """End the broker one way or the other and measure the start after it."""
        with broker:
            if is_killed:
                time.sleep(0.5)  # what the start itself still does is not what is measured
                broker.kill()
        if is_cold:
            forget_cache(broker.directory)
        with broker:
            figure.add(name, broker.start_s)
            read_mib = counter(f"/proc/{broker.pid}/io", "read_bytes") / 2**20
            self.say(figure.name, name, f"{broker.start_s:.2f} s, {read_mib:,.0f} MiB read from "
                     f"the disk, {run.rss_kib(broker.pid) / 1024:,.0f} MiB resident")

    # Backlogs ---------------------------------------------------------------------------------

    def backlog(self):
        """More messages than memory: filling, holding and draining one queue, then a hundred."""
        for name in self.queue_kinds():
            count = self.options.backlog if name == "bourse" else self.options.peer_messages
            needed = 2 * count * (BODY_BYTES + 200) + 2**30
            free = shutil.disk_usage(self.directory).free
            if free < needed:
                self.fail("backlog", name, f"needs {needed >> 20:,} MiB free, there are "
                          f"{free >> 20:,}")
                continue
            for queues in (1, 100):
                try:
                    self.backlog_of(name, count, queues)
                except brokers.BrokerError as error:
                    self.fail("backlog", name, error)

    def backlog_of(self, name, count, queues):
        """Fill and drain once; memory is watched all along."""
        tag = "" if queues == 1 else f"-{queues}"
        words = f"{self.options.backlog:,} of 1 KiB in {queues} queue" + ("s" if queues > 1 else "")
        spread = ["--queues", str(queues)]
        with self.make(name, self.options.memory) as broker:
            with MemoryWatch(broker.pid) as memory:
                filled, filling = self.load(broker, name,
                                            [*spread, "--fill", str(count), "--progress"])
                self.backlog_filled(name, tag, words, count, filled, filling)
                for part, arguments, target in self.drain_parts(queues):
                    if self.options.cold:
                        forget_cache(broker.directory)
                    read = counter(f"/proc/{broker.pid}/io", "read_bytes")
                    drained, draining = self.load(
                        broker, name, [*spread, "--drain", str(count), "--progress", *arguments])
                    rate = self.figure(f"backlog-drain{tag}{part}", f"{words}: drained"
                                       + (", one of them alone" if part == "-one" else "")
                                       + (", the rest together" if part == "-rest" else ""),
                                       "msg/s", better="more", target=target)
                    rate.add(name, drained["delivered_per_s"])
                    read = counter(f"/proc/{broker.pid}/io", "read_bytes") - read
                    rate.note(f"{name}: {drained['delivered_per_cpu_s']:,.0f} per broker CPU "
                              f"second, {drained['published_in_all']:,.0f} messages, "
                              f"{read >> 20:,} MiB read from the disk, the rest from the page cache")
                    self.series[f"drain{tag}{part} {name}"] = draining
                    self.say(rate.name, name, f"{drained['delivered_per_s']:,.0f} msg/s")
            rss = self.figure(f"backlog-rss{tag}", f"{words}, {self.options.memory} mark: most "
                              "that was resident", "MiB", target=400)
            rss.add(name, memory.most_mib())
            self.series[f"rss{tag} {name}"] = memory.series
            self.say(rss.name, name, f"{memory.most_mib():,.0f} MiB")
        shutil.rmtree(broker.directory)

    def drain_parts(self, queues):
        """Return the drains of a backlog: name, options, target."""
        if queues == 1:
            return (("", [], 150_000),)
        return (("-one", ["--drain-queues", "1"], None), ("-rest", ["--drain-from", "1"], None))

    def backlog_filled(self, name, tag, words, count, filled, filling):
        """Keep what was seen while the backlog grew."""
        rate = self.figure(f"backlog-fill{tag}", f"{words}, {self.options.memory} mark: published",
                           "msg/s", better="more")
        rate.add(name, filled["published_per_s"])
        steps = [(late[1] - early[1]) / (late[0] - early[0])
                 for early, late in zip(filling, filling[1:])]
        slowest = f"slowest second {min(steps):,.0f}/s, " if steps else ""
        rate.note(f"{name}: {count:,} messages, {slowest}{filled['published_per_cpu_s']:,.0f} "
                  f"per broker CPU second, blocked {filled.get('blocked_count', 0):.0f} times")
        self.series[f"fill{tag} {name}"] = filling
        self.say(rate.name, name, f"{filled['published_per_s']:,.0f} msg/s, {slowest}"
                 f"{filled['broker_rss_mib']:,.0f} MiB at the end")


def parse_options():
    """Return the command line, with defaults that end within some minutes."""
    here = os.path.dirname(os.path.abspath(__file__))
    build = os.path.join(os.path.dirname(here), "build")
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bourse", default=os.path.join(build, "bourse"), help="the broker")
    for tool in ("loadgen", "relay", "flush_probe"):
        parser.add_argument("--" + tool.replace("_", "-"), default=os.path.join(build, "bench", tool))
    parser.add_argument("--peers", action="store_true", help="measure RabbitMQ too")
    parser.add_argument("--only", default=",".join(PARTS), help="of: " + ", ".join(PARTS))
    parser.add_argument("--directory", default=build,
                        help="data directories are made and removed here (build/)")
    parser.add_argument("--seconds", type=float, default=4, help="per workload and round (4)")
    parser.add_argument("--warmup", type=float, default=1, help="seconds before that (1)")
    parser.add_argument("--rounds", type=int, default=3, help="the median counts (3)")
    parser.add_argument("--messages", type=int, default=1_000_000,
                        help="that are recovered (1000000)")
    parser.add_argument("--backlog", type=int, default=1_000_000,
                        help="messages in the backlog (1000000; the target speaks of 10000000, "
                        "which takes 25 GB of free disk)")
    parser.add_argument("--memory", default="256MiB", help="memory mark in the backlog (256MiB)")
    parser.add_argument("--cold", action="store_true",
                        help="drop a backlog from the page cache before it is drained")
    parser.add_argument("--peer-messages", type=int, default=100_000,
                        help="the same two for the peers, which are slow (100000)")
    parser.add_argument("--nice", type=int, default=0,
                        help="of everything in this run, for a busy machine; below 0 as root (0)")
    parser.add_argument("--json", help="also write every figure of every round to this file")
    options = parser.parse_args()
    options.only = options.only.split(",")
    options.idle = 0
    unknown = sorted(set(options.only) - set(PARTS))
    if unknown:
        parser.error(f"no part named {', '.join(unknown)}; there are: {', '.join(PARTS)}")
    for program in (options.bourse, options.loadgen, options.flush_probe):
        if not os.access(program, os.X_OK):
            parser.error(f"{program} is not there; run `make bench-durability`")
    if options.peers and not brokers.RabbitMQ.is_installed():
        parser.error("rabbitmq-server is not installed (make deps-test)")
    if not os.access(options.relay, os.X_OK):
        options.relay = None
    return options


def print_results(durability, contestants):
    """Print the table and what belongs beside single figures."""
    measured = list(durability.figures.values())
    print()
    run.print_table(*figures.rows_of(measured, contestants))
    print()
    for figure in measured:
        target = [f"target: {figure.target_words}"] if figure.target_words else []
        for note in [*target, *figure.notes]:
            print(f"{figure.name}: {note}")


def main():
    """Measure what was asked for, print the table, and return the exit status."""
    options = parse_options()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    run.raise_file_limit()
    run.take_priority(options.nice)
    lines = run.conditions(options)
    print("\n".join(lines) + "\n", flush=True)
    with tempfile.TemporaryDirectory(prefix="bench-data-", dir=options.directory) as directory:
        durability = Durability(options, directory)
        for part in PARTS:
            if part in options.only:
                getattr(durability, part)()
    contestants = [name for name in COLUMNS if name == "bourse" or any(
        figure.median(name) is not None for figure in durability.figures.values())]
    print_results(durability, contestants)
    if options.json:
        with open(options.json, "w", encoding="utf-8") as text:
            json.dump({"conditions": lines,
                       "figures": [figure.as_json() for figure in durability.figures.values()],
                       "series": durability.series, "failures": durability.failures}, text,
                      indent=1)
    for failure in durability.failures:
        print(f"FAILED {failure}", file=sys.stderr)
    return 1 if durability.failures else 0


if __name__ == "__main__":
    sys.exit(brokers.run(main))
