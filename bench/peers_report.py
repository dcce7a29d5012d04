# SPDX-License-Identifier: Apache-2.0
"""What bench/peers.py found, as a page of tables (peers.md), a chart (peers.svg) and a table on
standard output. Everything is a median; what was not measured is a dash.
"""

import os
import subprocess
import time

import chart
import run
import workloads
from figures import show

CONTESTANTS = ("bourse", "rabbitmq", "quorum", "relay")
HEADS = ("Bourse", "RabbitMQ classic", "RabbitMQ quorum", "relay")
CHART = "peers.svg"

# Of a workload at a fixed rate: figure, words, and how many times the relay's is allowed.
LATENCIES = (
    ("latency_p50_us", "p50, us", 1.3),
    ("latency_p99_us", "p99, us", 1.5),
    ("confirm_p50_us", "confirm p50, us", None),
    ("confirm_p99_us", "confirm p99, us", None),
    ("cpu_ns_per_message", "broker CPU, ns a message", 1.5),
)
# What a persistent message may wait beside that: one flush of the disk.
FLUSHES = {"latency_p50_us": "flush_p50_us", "latency_p99_us": "flush_p99_us"}


# Conditions -------------------------------------------------------------------------------------

def output_of(*command):
    """Return what a command prints, or nothing if it is not there or fails."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=20)
        return done.stdout.strip() if done.returncode == 0 else ""
    except (OSError, subprocess.TimeoutExpired):
        return ""


def commit():
    """Return the commit that is measured, and whether something in it was changed."""
    here = os.path.dirname(os.path.abspath(__file__))
    name = output_of("git", "-C", here, "rev-parse", "--short=12", "HEAD")
    changed = output_of("git", "-C", here, "status", "--porcelain", "--untracked-files=no",
                        "--", ".", "../[a-z]*/*.[ch]", "../Makefile")
    return (name or "unknown") + (" with changes" if changed else "")


def machine():
    """Say what sort of machine this is."""
    with open("/proc/meminfo", encoding="ascii") as meminfo:
        gib = int(meminfo.readline().split()[1]) / 2**20
    with open("/proc/cpuinfo", encoding="ascii", errors="replace") as cpuinfo:
        is_virtual = " hypervisor" in cpuinfo.read()
    return f"{gib:.0f} GiB, " + ("a virtual machine" if is_virtual else "no virtual machine")


def conditions(options):
    """Return the lines that have to stand beside any figure of this run."""
    versions = {package: output_of("dpkg-query", "-W", "-f", "${Version}", package) or "unknown"
                for package in ("rabbitmq-server", "erlang-base")}
    lines = run.conditions(options)
    lines.insert(1, f"{machine()}; commit {commit()}; rabbitmq-server "
                 f"{versions['rabbitmq-server']} on Erlang {versions['erlang-base']}")
    return lines


# Rows -------------------------------------------------------------------------------------------

def times(value, by, digits=3):
    """Return the quotient as text."""
    return f"{value / by:.{digits}g}" if value is not None and by else "-"


def better(workload, ours, theirs):
    """Say how many times better Bourse is, whichever way is better."""
    return times(ours, theirs) if workload.better == "more" else times(theirs, ours)


def verdict(workload, value, target):
    """Say how a figure stands to its target."""
    if target is None or value is None:
        return show(target)
    good = value >= target if workload.better == "more" else value <= target
    return f"{show(target)} {'reached' if good else 'MISSED'}"


def medians(bench, workload, figure=None):
    """Return the medians of all contestants, in their order."""
    return [bench.median(workload, name, figure) for name in CONTESTANTS]


def flow_rows(bench):
    """Return the rows of messages per broker CPU second."""
    rows = []
    for workload in workloads.FLOWS_AND_TLS:
        values = medians(bench, workload)
        if workload.figure != workloads.PER_CPU or not any(values):
            continue
        ours, classic, quorum, relay = values
        wall = bench.median(workload, "bourse", "delivered_per_s")
        rows.append([workload.words, *map(show, values), better(workload, ours, classic),
                     better(workload, ours, quorum), times(ours, relay, 2),
                     verdict(workload, ours, workload.target), show(wall)])
    return rows


def allowed(bench, workload, figure, factor, relay):
    """Return what a figure of a workload at a fixed rate may be."""
    if factor is None or relay is None:
        return None
    flush = None
    if "--persistent" in workload.arguments and figure in FLUSHES:
        flush = bench.median(workloads.FLUSH, "disk", FLUSHES[figure])
        if flush is None:
            return None
    return factor * relay + (flush or 0)


def latency_rows(bench):
    """Return the rows of workloads at a fixed rate."""
    rows = []
    for workload in workloads.FLOWS_AND_TLS:
        for figure, words, factor in LATENCIES:
            values = medians(bench, workload, figure)
            if workload.figure == workloads.PER_CPU or not any(values):
                continue
            ours, classic, quorum, relay = values
            target = allowed(bench, workload, figure, factor, relay)
            rows.append([workload.words.removesuffix(": p99").replace(": p99, ", ", "), words,
                         *map(show, values), better(workload, ours, classic),
                         better(workload, ours, quorum), times(ours, relay),
                         verdict(workload, ours, target)])
    return rows


def other_rows(bench):
    """Return the rows of memory, backlog and restart."""
    rows = []
    others = [workload for workload in workloads.WORKLOADS if workload.fresh]
    for workload in (*others, *workloads.BACKLOG, workloads.START, workloads.IDLE_RSS):
        ours, classic = (bench.median(workload, name) for name in ("bourse", "rabbitmq"))
        if ours is not None or classic is not None:
            words = workload.words.format(messages=bench.options.messages)
            rows.append([words, workload.unit, show(ours), show(classic),
                         better(workload, ours, classic),
                         verdict(workload, ours, workload.target)])
    return rows


FLOW_HEAD = ["workload", *HEADS, "to classic", "to quorum", "of the relay", "target",
             "wall msg/s"]
LATENCY_HEAD = ["1 KiB at 5,000/s", "figure", *HEADS, "to classic", "to quorum", "to the relay",
                "allowed"]
OTHER_HEAD = ["what", "unit", "Bourse", "RabbitMQ", "times better", "target"]


# The page ---------------------------------------------------------------------------------------

def table(head, rows, words):
    """Return a table as Markdown; the first `words` columns are words, the others figures."""
    lines = ["| " + " | ".join(head) + " |",
             "|" + "".join("---|" if i < words else "---:|" for i in range(len(head)))]
    return lines + ["| " + " | ".join(row) + " |" for row in rows]


def page(bench):
    """Return the page as lines."""
    rounds = max((len(bench.figures.get((workload.name, "bourse"), []))
                  for workload in workloads.FLOWS_AND_TLS), default=0)
    lines = ["# Bourse beside RabbitMQ and a bare relay", "",
             "Written by `make bench-peers`; [bench/README.md](../../bench/README.md) says what "
             "each word means, `peers.json` has every round.", ""]
    lines += [f"- {line}" for line in bench.conditions]
    lines += [f"- brokers take turns at each workload, up to {rounds} rounds; finished "
              f"{time.strftime('%Y-%m-%d %H:%M')}", "",
              f"![The same as a chart]({CHART})", "",
              "## Messages per broker CPU second", "",
              *table(FLOW_HEAD, flow_rows(bench), 1), "",
              "## At a fixed rate", "",
              "From the moment a message was due to be sent. *Allowed* is 1.3 times the relay's "
              "p50 and 1.5 times its p99 and CPU in this run, and one flush of this disk where "
              "messages are persistent: half of the flushes took "
              f"{show(bench.median(workloads.FLUSH, 'disk', 'flush_p50_us'))} us, 99 % at most "
              f"{show(bench.median(workloads.FLUSH, 'disk', 'flush_p99_us'))} us.", "",
              *table(LATENCY_HEAD, latency_rows(bench), 2), "",
              "## Connections, backlog, restart", "",
              f"{bench.options.idle:,} idle connections, {bench.options.messages:,} messages.", "",
              *table(OTHER_HEAD, other_rows(bench), 2), ""]
    if bench.failures:
        lines += ["## What failed or was left out", "",
                  *(f"- {' '.join(failure.split())}" for failure in bench.failures), ""]
    return lines


def chart_of(bench):
    """Return the chart as SVG."""
    bars = []
    for workload in workloads.FLOWS_AND_TLS:
        ours, classic, _, relay = medians(bench, workload)
        if workload.figure == workloads.PER_CPU and ours and classic and relay:
            bars.append(chart.Bar(workload.words, ours, classic, relay))
    spans = []
    for workload in workloads.FLOWS_AND_TLS:
        p50, p99 = (medians(bench, workload, figure)
                    for figure in ("latency_p50_us", "latency_p99_us"))
        for i, name in ((0, "Bourse"), (1, "RabbitMQ"), (3, "relay")):
            if p50[i] and p99[i]:
                words = workload.words.removeprefix("1 KiB at 5,000/s, ").replace(": p99", "")
                spans.append(chart.Span(words, name, p50[i], p99[i]))
    return chart.draw(bars, spans, bench.conditions[:2])


def write_text(path, text):
    """Replace a file at once: a reader never sees half of it."""
    with open(path + ".new", "w", encoding="utf-8") as out:
        out.write(text)
    os.replace(path + ".new", path)


def write(bench, show_table):
    """Write page and chart of what is known so far; show the tables too if asked."""
    directory = bench.options.report
    write_text(os.path.join(directory, "peers.md"), "\n".join(page(bench)))
    write_text(os.path.join(directory, CHART), chart_of(bench))
    if show_table:
        for head, rows in ((FLOW_HEAD, flow_rows(bench)), (LATENCY_HEAD, latency_rows(bench)),
                           (OTHER_HEAD, other_rows(bench))):
            if rows:
                print()
                run.print_table(head, rows)
