#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Measures what a message costs, part by part, and prints it beside the budget of the design.

Three sources: the micro-benchmarks of bench/micro_*.c, one module each; the broker under load,
whose CPU time the kernel knows, whose system calls are counted by tracepoints (perf, else strace)
and whose allocations by a preloaded library; and the broker under callgrind, which counts
instructions exactly but lets it run fifty times slower. Figures per message are differences
between a long and a short run, so that neither start nor login is in them.
"""

import argparse
import json
import os
import re
import shutil
import statistics
import struct
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass

import brokers
import run
from figures import show

PARTS = ("micro", "broker", "threads", "calls", "allocations", "instructions", "connections")
CALLGRIND_STEPS = 1280  # whole batches of 64
CALLS = ("epoll_wait", "read", "recvfrom", "recvmsg", "readv", "write", "writev", "sendto",
         "sendmsg", "pwritev", "pwritev2", "pwrite64", "fdatasync", "futex", "epoll_ctl",
         "timerfd_settime", "madvise", "mmap", "munmap")
PERSISTENT = ("--persistent", "--confirm-window", "1000", "--prefetch", "1000", "--ack-every",
              "100")


@dataclass(frozen=True)
class Load:
    """One flow that the broker is measured under."""

    name: str
    words: str
    arguments: tuple


LOADS = tuple(
    Load(f"{kind}-{size}", f"{size} octets, {words}", ("--size", str(size), *arguments))
    for kind, words, arguments in (("transient", "transient, no confirms", ()),
                                   ("persistent", "persistent, window 1000, ack/100", PERSISTENT))
    for size in (16, 128, 1024)) + (
    Load("rate", "1,024 octets at 5,000/s, transient", ("--size", "1024", "--rate", "5000")),
    Load("rate-persistent", "1,024 octets at 5,000/s, persistent, confirm, ack/1",
         ("--size", "1024", "--rate", "5000", "--persistent", "--confirm-window", "1000",
          "--prefetch", "1000", "--ack-every", "1")))

# With one thread and with two: what a message costs, and how long it takes beside the relay.
TEN_BY_TEN = Load("ten-by-ten", "1,024 octets, 10 to 10 over 10 queues, transient, no confirms",
                  ("--producers", "10", "--queues", "10", "--consumers", "10", "--size", "1024"))
SMALL = Load("small", "16 octets, transient, no confirms", ("--size", "16"))
RATE = LOADS[-2]
THREADS = (1, 2)

# What, under which load, which figure, the most it should be. Of system calls, three for 64
# messages, and two more for each commit, of which every 64 messages ask for one.
BUDGET = (
    ("CPU, 16 octets", "transient-16", "cpu_ns_per_message", 200, "ns"),
    ("of that in user space", "transient-16", "user_ns_per_message", 90, "ns"),
    ("of that in the kernel", "transient-16", "system_ns_per_message", 110, "ns"),
    ("CPU, 128 octets", "transient-128", "cpu_ns_per_message", 220, "ns"),
    ("of that in user space", "transient-128", "user_ns_per_message", 100, "ns"),
    ("of that in the kernel", "transient-128", "system_ns_per_message", 120, "ns"),
    ("user CPU, 1 KiB, transient", "transient-1024", "user_ns_per_message", 250, "ns"),
    ("CPU, 128 octets, persistent", "persistent-128", "cpu_ns_per_message", 420, "ns"),
    ("of that in user space", "persistent-128", "user_ns_per_message", 200, "ns"),
    ("of that in the kernel", "persistent-128", "system_ns_per_message", 220, "ns"),
    ("user CPU, 1 KiB, persistent", "persistent-1024", "user_ns_per_message", 500, "ns"),
    ("allocations, transient", "transient-128", "allocations", 0, ""),
    ("allocations, persistent", "persistent-128", "allocations", 0, ""),
    ("system calls for 1,000 messages, transient", "transient-128", "calls_per_1000", 47, ""),
    ("the same, persistent", "persistent-128", "calls_per_1000", 78, ""),
    ("check word of 1 KiB", "micro", "check-1k", 120, "ns"),
    ("routing, remembered", "micro", "topic: route, 1,024 keys, cached", 60, "ns"),
    ("routing, 1,000,000 bindings, not remembered", "micro", "topic: route, not cached", 1500,
     "ns"),
    ("1,000,000 of 1 KiB a second keep a core thread busy", "threads 2", "core busy %", 25, "%"),
    ("CPU of a message, 2 threads for 1 of 1 thread", "threads", "ten-by-ten", 1 / 0.85, "times"),
    ("idle connection with a channel", "connections", "plain", 3 * 1024, "octets"),
    ("the same over TLS", "connections", "tls", 20 * 1024, "octets"),
    ("empty queue", "micro octets", "queue: make, idle", 512, "octets"),
    ("topic binding", "micro octets", "topic: bind, 1,000,000 of dev.N.*.temp", 130, "octets"),
)


class CountedBourse(brokers.Bourse):
    """The broker with a library in front of the allocator; `counter` is a file of eight octets."""

    def __init__(self, directory, binary, library, counter):
        super().__init__(directory, binary)
        self.environment = os.environ | {"LD_PRELOAD": library, "BENCH_COUNT_CALLS": counter}

    def spawn(self, command, environment=None):
        return super().spawn(command, self.environment)


class BourseInCallgrind(brokers.Bourse):
    """The broker in callgrind, which writes its counts to `out` when the broker ends."""

    start_timeout_s = 120
    stop_timeout_s = 120

    def __init__(self, directory, binary, out):
        super().__init__(directory, binary)
        self.out = out

    def spawn(self, command, environment=None):
        return super().spawn(["valgrind", "--tool=callgrind", "--callgrind-out-file=" + self.out,
                              *command], environment)


class Costs:
    """One run: its options, where it writes, and what it found: (load, figure) -> value."""

    def __init__(self, options, directory):
        self.options = options
        self.directory = directory
        self.found = {}
        self.cases = []  # of the micro-benchmarks, in their order
        self.calls = {}  # load -> {system call: per message}
        self.failures = []
        self.started = 0

    def fresh(self, name):
        """Return a path that is not in use."""
        self.started += 1
        return os.path.join(self.directory, f"{name}-{self.started}")

    def attempt(self, what, measure):
        """Measure one thing; a failure is kept and the rest goes on."""
        print(f"  {what}", file=sys.stderr, flush=True)
        try:
            measure()
        except (brokers.BrokerError, subprocess.SubprocessError, OSError, ValueError,
                KeyError) as error:
            self.failures.append(f"{what}: {' '.join(str(error).split())}")

    def load(self, broker, load, seconds, prefix=()):
        """Run the load generator; return its figures."""
        command = [*prefix, self.options.loadgen, "--json", "--port", str(broker.port),
                   "--broker-pid", str(broker.pid), "--duration", str(seconds), "--warmup", "0.5",
                   *load.arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=False,
                              timeout=seconds + 120)
        if done.returncode != 0:
            raise brokers.BrokerError(done.stderr.strip())
        return json.loads(done.stdout)

    # The parts --------------------------------------------------------------------------------

    def micro(self):
        """Run every micro-benchmark that knows --json."""
        for program in sorted(os.listdir(self.options.programs)):
            if program.startswith("micro_"):
                self.attempt(program, lambda p=program: self.micro_program(p))

    def micro_program(self, program):
        """Run one micro-benchmark, and each of its cases in callgrind. Programs that have a main
        of their own print words."""
        path = os.path.join(self.options.programs, program)
        done = subprocess.run([path, "--json"], capture_output=True, text=True, check=False,
                              timeout=300)
        if not done.stdout.startswith("{"):
            done = subprocess.run([path], capture_output=True, text=True, check=True, timeout=300)
        for line in done.stdout.splitlines():
            case = case_in(line)
            if case is None:
                continue
            if case.get("instructions", 0) < 0 and self.options.callgrind:
                case["instructions"] = self.micro_instructions(path, case["case"])
            self.cases.append(case | {"program": program})
            self.found["micro", case["case"]] = case["ns"]
            self.found["micro octets", case["case"]] = case.get("octets")

    def micro_instructions(self, path, case):
        """Count the instructions of one step in callgrind."""
        out = self.fresh("callgrind")
        subprocess.run(["valgrind", "--tool=callgrind", "--toggle-collect=micro_measured",
                        "--callgrind-out-file=" + out, path, "--case", case,
                        "--count", str(CALLGRIND_STEPS)], capture_output=True, check=True,
                       timeout=300)
        return callgrind_total(out) / CALLGRIND_STEPS

    def broker(self):
        """Read CPU time per message, the median of some rounds."""
        with brokers.Bourse(self.fresh("bourse"), self.options.bourse) as broker:
            for load in LOADS:
                self.attempt(f"CPU time, {load.words}", lambda l=load: self.broker_cpu(broker, l))

    def broker_cpu(self, broker, load):
        """Measure one load some times; the median by CPU time counts."""
        rounds = [self.load(broker, load, self.options.seconds)
                  for _ in range(self.options.rounds)]
        rounds.sort(key=lambda figures: figures["cpu_ns_per_message"])
        for figure, value in rounds[len(rounds) // 2].items():
            self.found[load.name, figure] = value

    def count_threads(self):
        """Measure one thread and two in turns, and the relay's latency beside theirs."""
        rounds = {}
        for _ in range(self.options.rounds):
            for count in THREADS:
                name = f"threads {count}"
                self.attempt(name, lambda n=name, c=count: rounds.setdefault(n, []).append(
                    self.round_of_threads(c)))
            self.attempt("relay", lambda: rounds.setdefault("relay", []).append(
                self.round_of_relay()))
        for name, found in rounds.items():
            for figure in found[0]:
                self.found[name, figure] = statistics.median(one[figure] for one in found)
        one, two = (self.found[f"threads {count}", "ten-by-ten ns"] for count in THREADS)
        self.found["threads", "ten-by-ten"] = two / one

    def round_of_threads(self, count):
        """Measure one round of a broker with so many threads."""
        path = self.fresh("bourse")
        with brokers.Bourse(path, self.options.bourse, threads=count) as broker:
            before = broker.thread_seconds()
            ten = self.load(broker, TEN_BY_TEN, self.options.seconds)
            core_s = broker.thread_seconds()[broker.pid] - before[broker.pid]
            small = self.load(broker, SMALL, self.options.seconds)
            core_ns = core_s * 1e9 / ten["published_in_all"]
            return {"ten-by-ten ns": ten["cpu_ns_per_message"], "core ns": core_ns,
                    "ten-by-ten rate": ten["delivered_per_s"],
                    # At a million a second a message may take 1,000 ns.
                    "core busy %": core_ns / 10, "small ns": small["cpu_ns_per_message"],
                    **latencies(self.load(broker, RATE, self.options.seconds))}

    def round_of_relay(self):
        """Measure one round of the relay."""
        program = os.path.join(self.options.programs, "relay")
        with brokers.Relay(self.fresh("relay"), program) as broker:
            return latencies(self.load(broker, RATE, self.options.seconds))

    def count_calls(self):
        """Count system calls per message and per tick."""
        with brokers.Bourse(self.fresh("bourse"), self.options.bourse) as broker:
            for load in LOADS:
                self.attempt(f"system calls, {load.words}",
                             lambda l=load: self.calls_of(broker, l))

    def calls_of(self, broker, load):
        """Count the system calls of one load."""
        count = count_with_perf if shutil.which("perf") else count_with_strace
        counts, figures = count(self, broker, load)
        messages = figures["published_in_all"]
        self.calls[load.name] = {name: calls / messages for name, calls in counts.items() if calls}
        total = sum(counts.values())
        self.found[load.name, "calls_per_1000"] = 1000 * total / messages
        if counts.get("epoll_wait"):
            self.found[load.name, "calls_per_tick"] = total / counts["epoll_wait"]
            self.found[load.name, "messages_per_tick"] = messages / counts["epoll_wait"]

    def count_allocations(self):
        """Count allocations per message: a long run less a short one."""
        for load in LOADS:
            self.attempt(f"allocations, {load.words}", lambda l=load: self.allocations_of(l))

    def allocations_of(self, load):
        """Count the allocations of one load."""
        counter = self.fresh("counter")
        with open(counter, "wb") as out:
            out.write(bytes(8))
        library = os.path.join(self.options.programs, "count_calls.so")
        made = []
        with CountedBourse(self.fresh("bourse"), self.options.bourse, library, counter) as broker:
            self.load(broker, load, 0.5)  # what grows once grows here
            for seconds in (0.5, self.options.seconds + 0.5):
                before = number_in(counter)
                messages = self.load(broker, load, seconds)["published_in_all"]
                made.append((number_in(counter) - before, messages))
        self.found[load.name, "allocations"] = slope(made)

    def instructions(self):
        """Count the broker's instructions per message in callgrind."""
        if not self.options.callgrind:
            return
        for load in LOADS:
            self.attempt(f"instructions, {load.words}", lambda l=load: self.instructions_of(l))

    def instructions_of(self, load):
        """Count the instructions of one load: a long run less a short one."""
        made = []
        for seconds in (0.2, self.options.seconds):
            out = os.path.join(self.options.keep, f"callgrind.{load.name}.{seconds:g}s")
            with BourseInCallgrind(self.fresh("bourse"), self.options.bourse, out) as broker:
                messages = self.load(broker, load, seconds)["published_in_all"]
            made.append((callgrind_total(out), messages))
        self.found[load.name, "instructions"] = slope(made)

    def connections(self):
        """Measure what an idle connection takes."""
        certificates = brokers.make_certificates(self.directory)
        idle = Load("idle", "", ("--idle", str(self.options.idle)))
        secured = Load("idle", "", (*idle.arguments, "--tls", "--ca", certificates["ca"]))
        self.attempt("idle connections", lambda: self.connections_of(
            "plain", idle, brokers.Bourse(self.fresh("bourse"), self.options.bourse), "port"))
        tls = brokers.BourseTls(self.fresh("bourse"), self.options.bourse, certificates)
        login = ("--user", tls.user, "--password", tls.password)
        secured = Load("idle", "", (*secured.arguments, *login))
        self.attempt("idle connections over TLS",
                     lambda: self.connections_of("tls", secured, tls, "tls_port"))

    def connections_of(self, name, load, broker, port):
        """Hold idle connections to one broker."""
        with broker:
            broker.port = getattr(broker, port)
            figures = self.load(broker, load, 3)
        self.found["connections", name] = figures["bytes_per_connection"]


def latencies(figures):
    """Return what a run at a fixed rate says of its latency."""
    return {f"latency {name} us": figures[f"latency_{name}_us"] for name in ("p50", "p99", "p999")}


def case_in(line):
    """Return the case that a line of a micro-benchmark speaks of, or None."""
    if line.startswith("{"):
        return json.loads(line)
    words = re.match(r"(\S.*?):?(?: \([\d.]+ targets\))?\s+([\d.]+) ns\b(.*)", line)
    if words is None:
        return None
    case = {"case": words[1], "what": "", "ns": float(words[2])}
    for unit in ("instructions", "allocations", "octets"):
        number = re.search(rf"(-?[\d.]+) {unit}", words[3])
        if number is not None:
            case[unit] = float(number[1])
    return case


def number_in(path):
    """Return the number that the preloaded library keeps in a file."""
    with open(path, "rb") as counter:
        return struct.unpack("=Q", counter.read(8))[0]


def slope(made):
    """Return what one message more costs, from (cost, messages) of a short and a long run."""
    (cost, messages), (more_cost, more_messages) = made
    if more_messages <= messages:
        raise ValueError("the longer run carried fewer messages")
    return (more_cost - cost) / (more_messages - messages)


def callgrind_total(path):
    """Return the instructions that a file of callgrind's says were collected."""
    with open(path, encoding="utf-8", errors="replace") as text:
        for line in text:
            if line.startswith(("summary:", "totals:")):
                return int(line.split()[1])
    raise ValueError(f"{path} has no total")


def count_with_perf(costs, broker, load):
    """Count by tracepoints, which cost next to nothing."""
    out = costs.fresh("perf")
    known = [call for call in CALLS
             if os.path.isdir(f"/sys/kernel/tracing/events/syscalls/sys_enter_{call}")]
    events = ",".join(["raw_syscalls:sys_enter",
                       *(f"syscalls:sys_enter_{call}" for call in known)])
    figures = costs.load(broker, load, costs.options.seconds, (
        "perf", "stat", "-x", ",", "-o", out, "-e", events, "-p", str(broker.pid), "--"))
    counts = {}
    with open(out, encoding="utf-8") as text:
        for match in re.finditer(r"^(\d+),[^,]*,[a-z_]+:sys_enter_?(\w*),", text.read(), re.M):
            counts[match[2]] = int(match[1])
    total = counts.pop("")
    return counts | {"others": total - sum(counts.values())}, figures


def count_with_strace(costs, broker, load):
    """Count by strace, which slows the broker down: more messages share a tick."""
    out = costs.fresh("strace")
    tracer = subprocess.Popen(["strace", "-f", "-c", "-o", out, "-p", str(broker.pid)],
                              stderr=subprocess.DEVNULL)
    try:
        time.sleep(0.5)  # until it has attached
        figures = costs.load(broker, load, costs.options.seconds)
    finally:
        tracer.send_signal(2)
        tracer.wait(20)
    with open(out, encoding="utf-8") as text:
        rows = re.findall(r"^\s*[\d.]+\s+[\d.]+\s+\d+\s+(\d+)\s+(?:\d+\s+)?(\w+)$", text.read(),
                          re.M)
    return {name: int(calls) for calls, name in rows if name != "total"}, figures


# Tables -----------------------------------------------------------------------------------------

def print_budget(costs):
    """Print the budget with what was measured beside it."""
    rows = []
    for words, load, figure, budget, unit in BUDGET:
        value = costs.found.get((load, figure))
        within = "" if value is None else ("within" if value <= budget else "OVER")
        rows.append([words, load, show(budget), show(value), unit, within])
    run.print_table(["what", "measured under", "budget", "measured", "unit", ""], rows)


def print_loads(costs):
    """Print everything that is known of a message under each load."""
    figures = ("user_ns_per_message", "system_ns_per_message", "instructions", "allocations",
               "calls_per_1000", "calls_per_tick", "messages_per_tick")
    rows = [[load.name, load.words,
             *(show(costs.found.get((load.name, figure))) for figure in figures)]
            for load in LOADS]
    run.print_table(["load", "what", "user ns", "kernel ns", "instructions", "allocations",
                     "calls/1,000", "calls a tick", "messages a tick"], rows)


def print_threads(costs):
    """Print what one thread and two cost, and how long a message takes at 5,000 a second."""
    names = [*(f"threads {count}" for count in THREADS), "relay"]
    figures = ("ten-by-ten ns", "core ns", "core busy %", "ten-by-ten rate", "small ns",
               "latency p50 us", "latency p99 us", "latency p999 us")
    rows = [[name, "", *(show(costs.found.get((name, figure))) for figure in figures)]
            for name in names]
    run.print_table(["one thread and two", "", "10:10:10 1 KiB ns", "core thread ns",
                     "core busy at 1 M/s %", "10:10:10 msg/s", "16 octets ns",
                     "5,000/s p50 us", "p99", "p99.9"], rows)


def print_calls(costs):
    """Print which system calls a thousand messages make."""
    names = sorted({name for calls in costs.calls.values() for name in calls})
    rows = [[name, "", *(show(1000 * costs.calls.get(load.name, {}).get(name, 0))
                         for load in LOADS)] for name in names]
    run.print_table(["calls for 1,000 messages", "", *(load.name for load in LOADS)], rows)


def print_cases(costs):
    """Print the micro-benchmarks."""
    rows = [[case["case"], case["what"], show(case.get("ns")), show(case.get("instructions")),
             show(case.get("allocations")), show(case.get("octets"))] for case in costs.cases]
    run.print_table(["case", "what one step is", "ns", "instructions", "allocations", "octets"],
                    rows)


def parse_options():
    """Return the command line; with its defaults it takes some minutes."""
    here = os.path.dirname(os.path.abspath(__file__))
    build = os.path.join(os.path.dirname(here), "build")
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bourse", default=os.path.join(build, "bourse"), help="the broker")
    parser.add_argument("--loadgen", default=os.path.join(build, "bench", "loadgen"))
    parser.add_argument("--programs", default=os.path.join(build, "bench"),
                        help="where the micro-benchmarks are (build/bench)")
    parser.add_argument("--directory", default=build,
                        help="data directories are made and removed here (build/)")
    parser.add_argument("--keep", default=os.path.join(build, "cost"),
                        help="callgrind's files stay here, for callgrind_annotate (build/cost)")
    parser.add_argument("--only", default=",".join(PARTS), help="of: " + ", ".join(PARTS))
    parser.add_argument("--seconds", type=float, default=2, help="per load and round (2)")
    parser.add_argument("--rounds", type=int, default=3, help="of the CPU time (3)")
    parser.add_argument("--idle", type=int, default=5000, help="idle connections (5000)")
    parser.add_argument("--nice", type=int, default=0,
                        help="run broker and load at this niceness; below 0 needs root (0)")
    parser.add_argument("--json", help="also write every figure to this file")
    options = parser.parse_args()
    options.only = options.only.split(",")
    unknown = sorted(set(options.only) - set(PARTS))
    if unknown:
        parser.error(f"no part named {', '.join(unknown)}; there are: {', '.join(PARTS)}")
    if options.rounds < 1 or options.seconds <= 0.5 or options.idle < 1:
        parser.error("--rounds and --idle begin at 1, --seconds above 0.5")
    for program in (options.bourse, options.loadgen):
        if not os.access(program, os.X_OK):
            parser.error(f"{program} is not there; run `make bench-cost`")
    options.warmup = 0.5
    options.callgrind = shutil.which("valgrind") is not None
    return options


def measure(costs):
    """Measure the parts that were asked for."""
    parts = {"micro": costs.micro, "broker": costs.broker, "threads": costs.count_threads,
             "calls": costs.count_calls, "allocations": costs.count_allocations,
             "instructions": costs.instructions, "connections": costs.connections}
    for name in PARTS:
        if name in costs.options.only:
            print(f"{name}", file=sys.stderr)
            costs.attempt(name, parts[name])


def write_json(costs):
    """Write everything that was found."""
    with open(costs.options.json, "w", encoding="utf-8") as text:
        json.dump({"loads": {f"{load} {figure}": value
                             for (load, figure), value in costs.found.items()},
                   "calls": costs.calls, "cases": costs.cases, "failures": costs.failures},
                  text, indent=1)


def main():
    """Measure, print the tables, and return the exit status."""
    options = parse_options()
    run.prepare(options)
    os.makedirs(options.keep, exist_ok=True)
    print("\n".join(run.conditions(options)) + "\n", flush=True)
    if not options.callgrind:
        print("valgrind is not installed: no instructions\n")
    with tempfile.TemporaryDirectory(prefix="bench-data-", dir=options.directory) as directory:
        costs = Costs(options, directory)
        measure(costs)
    for print_part in (print_budget, print_loads, print_threads, print_calls, print_cases):
        print()
        print_part(costs)
    if options.json:
        write_json(costs)
    for failure in costs.failures:
        print(f"FAILED {failure}", file=sys.stderr)
    return 1 if costs.failures else 0


if __name__ == "__main__":
    sys.exit(brokers.run(main))
