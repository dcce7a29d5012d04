# SPDX-License-Identifier: Apache-2.0
"""What is measured: each workload is a command line of bench/loadgen and the figure that counts.

`figure` is a key of the load generator's JSON. `better` says which way is good. `target` is what
Bourse is to reach on one thread; None where the project has set none. Workloads with `fresh` get a
broker that has just started, because they measure its memory. `relay` marks those that the relay
can take part in: the default exchange over plain TCP, one consumer. `quorum` marks those that also
run on the peer's quorum queues, which flush before they confirm as Bourse does; its classic queues
do not.
"""

from dataclasses import dataclass

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


def _flow(name, words, arguments, **more):
    return Workload(name, words, tuple(arguments.split()), **more)


CONFIRMS = "--confirm-window 1000"
PERSISTENT = "--persistent --confirm-window 1000 --prefetch 1000 --ack-every 100"
TOPIC = "--bindings 10000 --queues 10 --size 1024"

WORKLOADS = (
    _flow("transient-16", "16 B, transient, auto-ack", "--size 16", target=1_500_000, relay=True),
    _flow("transient-1k", "1 KiB, transient, auto-ack", "--size 1024", target=450_000, relay=True),
    _flow("confirm-16", "16 B, transient, window 1000, auto-ack", f"--size 16 {CONFIRMS}",
          relay=True),
    _flow("confirm-1k", "1 KiB, transient, window 1000, auto-ack", f"--size 1024 {CONFIRMS}",
          relay=True),
    _flow("persistent-16", "16 B, persistent, window 1000, ack/100", f"--size 16 {PERSISTENT}",
          target=900_000, relay=True, quorum=True),
    _flow("persistent-1k", "1 KiB, persistent, window 1000, ack/100", f"--size 1024 {PERSISTENT}",
          target=300_000, relay=True, quorum=True),
    _flow("fanout-10", "1 KiB to 10 queues and consumers, window 1000",
          f"--exchange fanout --queues 10 --consumers 10 --size 1024 {CONFIRMS}"),
    _flow("ten-by-ten", "1 KiB, 10 producers, 10 queues, 10 consumers, window 1000",
          f"--producers 10 --queues 10 --consumers 10 --size 1024 {CONFIRMS}"),
    _flow("ten-queues", "1 KiB, one consumer of 10 queues, auto-ack", "--queues 10 --size 1024"),
    _flow("topic-10k", "1 KiB, topic, 10,000 bindings dev.N.*.temp", f"--exchange topic {TOPIC}",
          target=350_000),
    _flow("topic-10k-hash", "1 KiB, topic, 10,000 bindings dev.N.#",
          f"--exchange topic-hash {TOPIC}", target=350_000),
    _flow("tls-1k", "1 KiB over TLS, transient, auto-ack", "--size 1024", tls=True),
    _flow("latency", "1 KiB at 5,000/s, transient: p99", "--size 1024 --rate 5000",
          figure="latency_p99_us", unit="us", better="less", relay=True),
    _flow("latency-confirm", "1 KiB at 5,000/s, persistent, confirm, ack/1: p99",
          "--size 1024 --rate 5000 --persistent --confirm-window 1000 --prefetch 1000 "
          "--ack-every 1", figure="latency_p99_us", unit="us", better="less", relay=True,
          quorum=True),
    _flow("connect", "open, log in, open a channel, close", "--connect-rate",
          figure="open_cpu_us", unit="us CPU", better="less"),
    _flow("connect-tls", "the same over TLS", "--connect-rate", figure="open_cpu_us",
          unit="us CPU", better="less", tls=True),
    _flow("idle", "idle connection with a channel", "--idle {idle}", fresh=True,
          figure="bytes_per_connection", unit="bytes", better="less", target=4 * 1024),
    _flow("idle-tls", "the same over TLS", "--idle {idle}", tls=True, fresh=True,
          figure="bytes_per_connection", unit="bytes", better="less", target=20 * 1024),
)

# Measured without the load generator, on brokers that have just started.
START = Workload("start", "exec until the protocol header is answered", (), figure="start_ms",
                 unit="ms", better="less", target=20, fresh=True)
IDLE_RSS = Workload("idle-rss", "resident memory with no connection", (), figure="rss_mib",
                    unit="MiB", better="less", target=8, fresh=True)
