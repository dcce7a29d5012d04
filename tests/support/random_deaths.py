# SPDX-License-Identifier: Apache-2.0
"""Random deaths for the differential test: messages that are rejected and expire in queues whose
dead-letter exchanges lead to each other, with copies, alternate exchanges and circles.

RabbitMQ moves dead letters from queue to queue at once and in no order between queues, so a round
takes all of a queue, waits between steps, and what came is compared as a set. What stands in a
queue with a time to live dies before the next step.
"""

import random
import time

from . import wire
from .script import describe_field

PAUSE_S = 0.03
ROUNDS = 12
WORDS = ["a", "b", "a.b", ""]


class RandomDeaths:
    def __init__(self, seed):
        self.random = random.Random(seed)
        self.queues = [f"deaths-{seed}-q{number}" for number in range(4)]
        self.exchanges = [f"deaths-{seed}-x{number}" for number in range(3)]
        self.keys = WORDS + self.queues
        self.mortal = set()  # queues with a time to live
        self.rounds = 0

    def chance(self, probability):
        return self.random.random() < probability

    def pick(self, values):
        return self.random.choice(values)

    def topology(self):
        """Methods that declare it, with their arguments."""
        for exchange in self.exchanges:
            alternate = {"alternate-exchange": self.pick(self.exchanges)}
            yield "exchange.declare", {
                "exchange": exchange, "type": self.pick(["direct", "fanout", "topic", "headers"]),
                "arguments": alternate if self.chance(0.3) else {}}
        for queue in self.queues:
            yield "queue.declare", {"queue": queue, "exclusive": True,
                                    "arguments": self.queue_arguments(queue)}
        for _ in range(6):
            yield "queue.bind", {"queue": self.pick(self.queues),
                                 "exchange": self.pick(self.exchanges),
                                 "routing_key": self.pick(self.keys + ["#", "*", "a.*"]),
                                 "arguments": self.match()}
        for _ in range(2):
            yield "exchange.bind", {"destination": self.pick(self.exchanges),
                                    "source": self.pick(self.exchanges),
                                    "routing_key": self.pick(self.keys + ["#"])}

    def queue_arguments(self, queue):
        arguments = {}
        if self.chance(0.8):
            arguments["x-dead-letter-exchange"] = self.pick(self.exchanges + ["", ""])
            if self.chance(0.6):
                arguments["x-dead-letter-routing-key"] = self.pick(self.keys)
        if self.chance(0.4):
            arguments["x-message-ttl"] = self.pick([0, 1])
            self.mortal.add(queue)
        return arguments

    def match(self):
        if not self.chance(0.4):
            return {}
        return {"x-match": self.pick(["any", "all"]), "kind": self.pick(["1", "2"])}

    def message(self):
        """Exchange, key, and the properties of a message."""
        headers = {}
        for name in ("CC", "BCC"):
            if self.chance(0.25):
                headers[name] = [self.pick(self.keys) for _ in range(self.pick([1, 2]))]
        if self.chance(0.3):
            headers["kind"] = "1"
        properties = {"headers": headers} if headers else {}
        if self.chance(0.3):
            properties["delivery_mode"] = 2
        queue = self.pick(self.queues)
        if queue in self.mortal and not headers and self.chance(0.5):
            return "", queue, {**properties, "expiration": self.pick(["0", "1", "100000"])}
        if self.chance(0.6):
            return "", queue, properties
        return self.pick(self.exchanges), self.pick(self.keys), properties


def described(method):
    """A message with all that it says; RabbitMQ 3.10 has no x-last-death, and its own order of
    deaths (docs/differences-from-rabbitmq.md)."""
    properties = wire.decode_header(method.raw_header, typed=True)[1]
    headers = {name: value for name, value in properties.get("headers", {}).items()
               if not name.startswith("x-last-death")}
    if "x-death" in headers:
        headers["x-death"] = sorted(map(describe_field, headers["x-death"].value))
    shown = describe_field({**properties, "headers": str(describe_field(headers))})
    return f"{method.exchange!r} {method.routing_key!r} {method.redelivered} {method.body} {shown}"


class Player:
    """Plays the rounds of a seed to one broker; `transcript` is what came in each."""

    def __init__(self, broker, seed):
        self.deaths, self.transcript = RandomDeaths(seed), []
        self.conn = broker.open()
        self.channel, self.transaction = self.conn.channel(), self.conn.channel()

    def play(self):
        for method, arguments in self.deaths.topology():
            self.channel.call(method, **arguments)
        self.transaction.call("tx.select")
        for number in range(ROUNDS):
            for _ in range(2):
                exchange, key, properties = self.deaths.message()
                self.channel.publish(exchange, key, str(number), **properties)
                self.pause()
            self.settle(self.deaths.pick(self.deaths.queues))
            self.pause()
        for queue in self.deaths.queues:
            self.take_all(self.channel, queue)
        for exchange in self.deaths.exchanges:
            self.channel.call("exchange.delete", exchange=exchange)
        self.conn.close()
        return self.transcript

    def pause(self):
        time.sleep(PAUSE_S)

    def take_all(self, channel, queue):
        """The tag of the last of them, or None."""
        taken = []
        while (method := channel.get(queue, no_ack=False)) is not None:
            taken.append(method)
        self.transcript.append((queue, sorted(map(described, taken))))
        return taken[-1].delivery_tag if taken else None

    def settle(self, queue):
        """All that is ready: rejected, requeued or acknowledged, some of it by a transaction."""
        verdict = self.deaths.pick(["reject", "reject", "requeue", "ack"])
        in_transaction = self.deaths.chance(0.2)
        channel = self.transaction if in_transaction else self.channel
        last = self.take_all(channel, queue)
        if last is None:
            return
        if verdict == "ack":
            channel.send("basic.ack", delivery_tag=last, multiple=True)
        else:
            channel.send("basic.nack", delivery_tag=last, multiple=True,
                         requeue=verdict == "requeue")
        if in_transaction:
            channel.call("tx.commit")


def outcome(broker, seed):
    return Player(broker, seed).play()
