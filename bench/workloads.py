# SPDX-License-Identifier: Apache-2.0
"""What is measured: each workload is a command line of bench/loadgen and the figure that counts.

`figure` is a key of the load generator's JSON. `better` says which way is good. `target` is what
Bourse is to reach on one thread; None where the project has set none. Workloads with `fresh` get a
broker that has just started, because they measure its memory. `relay` marks those that the relay
can take part in. `quorum` marks those that also run on the peer's quorum queues, which flush before
they confirm as Bourse does; its classic queues do not. Every flow of messages is there a second
time over TLS, its name ending in `-tls`.
"""

from dataclasses import dataclass, replace

PER_CPU = "delivered_per_cpu_s"


@dataclass(frozen=True)
class Workload:
    """One row of the tables."""

    name: str
    words: str
    arguments: tuple
    figure: str = PER_CPU
    unit: str = "msg/CPU-s"
    better: str = "more"
    target: float | None = None
    tls: bool = False
    fresh: bool = False
    relay: bool = False
    quorum: bool = False


def _workload(name, words, arguments, **more):
    return Workload(name, words, tuple(arguments.split()), **more)


def _flow(name, words, arguments, **more):
    return _workload(name, words, arguments, relay=True, **more)


CONFIRMS = "--confirm-window 1000"
PERSISTENT = "--persistent --confirm-window 1000 --prefetch 1000 --ack-every 100"
TOPIC = "--bindings 10000 --queues 10 --size 1024"
RATE = "--size 1024 --rate 5000"
P99 = {"figure": "latency_p99_us", "unit": "us", "better": "less"}

FLOWS = (
    _flow("transient-16", "16 B, transient, auto-ack", "--size 16", target=4_000_000),
    _flow("transient-1k", "1 KiB, transient, auto-ack", "--size 1024", target=800_000),
    _flow("confirm-16", "16 B, transient, window 1000, auto-ack", f"--size 16 {CONFIRMS}"),
    _flow("confirm-1k", "1 KiB, transient, window 1000, auto-ack", f"--size 1024 {CONFIRMS}"),
    _flow("persistent-16", "16 B, persistent, window 1000, ack/100", f"--size 16 {PERSISTENT}",
          target=1_500_000, quorum=True),
    _flow("persistent-1k", "1 KiB, persistent, window 1000, ack/100",
          f"--size 1024 {PERSISTENT}", target=450_000, quorum=True),
    _flow("fanout-10", "1 KiB to 10 queues and consumers, window 1000",
          f"--exchange fanout --queues 10 --consumers 10 --size 1024 {CONFIRMS}",
          target=1_000_000),
    _flow("ten-by-ten", "1 KiB, 10 to 10 over 10 queues, window 1000",
          f"--producers 10 --queues 10 --consumers 10 --size 1024 {CONFIRMS}", target=700_000),
    _flow("ten-queues", "1 KiB, one consumer of 10 queues, auto-ack", "--queues 10 --size 1024"),
    _flow("topic-10k", "1 KiB, topic, 10,000 bindings dev.N.*.temp", f"--exchange topic {TOPIC}",
          target=600_000),
    _flow("topic-10k-hash", "1 KiB, topic, 10,000 bindings dev.N.#",
          f"--exchange topic-hash {TOPIC}", target=600_000),
    _flow("latency", "1 KiB at 5,000/s, transient: p99", RATE, **P99),
    _flow("latency-confirm", "1 KiB at 5,000/s, persistent, confirm, ack/1: p99",
          f"{RATE} --persistent --confirm-window 1000 --prefetch 1000 --ack-every 1",
          quorum=True, **P99),
)

TLS_TARGETS = {"transient-1k": 400_000}


def _over_tls(flow):
    """The same flow over TLS."""
    return replace(flow, name=flow.name + "-tls", words=flow.words + ", TLS", tls=True,
                   quorum=False, target=TLS_TARGETS.get(flow.name))


FLOWS_AND_TLS = FLOWS + tuple(_over_tls(flow) for flow in FLOWS)
WORKLOADS = FLOWS_AND_TLS + (
    _workload("connect", "open, log in, open a channel, close", "--connect-rate",
              figure="open_cpu_us", unit="us CPU", better="less"),
    _workload("connect-tls", "the same over TLS", "--connect-rate", figure="open_cpu_us",
              unit="us CPU", better="less", tls=True),
    _workload("idle", "idle connection with a channel", "--idle {idle}", fresh=True,
              figure="bytes_per_connection", unit="bytes", better="less", target=3 * 1024),
    _workload("idle-tls", "the same over TLS", "--idle {idle}", tls=True, fresh=True,
              figure="bytes_per_connection", unit="bytes", better="less", target=20 * 1024),
)

# Measured without the load generator, on brokers that have just started.
START = Workload("start", "exec until the protocol header is answered", (), figure="start_ms",
                 unit="ms", better="less", target=20, fresh=True)
IDLE_RSS = Workload("idle-rss", "resident memory with no connection", (), figure="rss_mib",
                    unit="MiB", better="less", target=8, fresh=True)

# A backlog and what becomes of it when the broker ends: bench/peers.py.
BACKLOG_FILL = Workload("backlog-fill", "{messages:,} of 1 KiB, persistent, into one queue", (),
                        figure="published_per_cpu_s")
BACKLOG_RSS = Workload("backlog-rss", "resident memory with them waiting", (), figure="rss_mib",
                       unit="MiB", better="less")
RESTART_STOP = Workload("restart-stop", "SIGTERM until the header is answered again, with them",
                        (), figure="restart_s", unit="s", better="less")
RESTART_KILL = Workload("restart-kill", "start after kill -9, with them", (), figure="restart_s",
                        unit="s", better="less")
BACKLOG_DRAIN = Workload("backlog-drain", "drained and checked, prefetch 1000, ack/100", (),
                         figure="delivered_per_cpu_s")
FLUSH = Workload("flush", "4 KiB written and fdatasync, one after the other", (),
                 figure="flush_p50_us", unit="us", better="less")
BACKLOG = (BACKLOG_FILL, BACKLOG_RSS, RESTART_STOP, RESTART_KILL, BACKLOG_DRAIN)
