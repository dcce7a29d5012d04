# SPDX-License-Identifier: Apache-2.0
"""Random scripts for the differential test: ordinary operations in an unordinary order.

Only operations whose answer does not depend on timing are used. The names are few, so that things
meet: what is declared is redeclared otherwise, bound in circles, deleted while bound or full.
"""

import random

from .script import Script, call, publish, send

KEYS = ["", "a", "a.b", "a.b.c", "b", "#", "*", "a.#", "#.b", "*.b", "."]
TYPES = ["direct", "fanout", "topic", "headers"]
HEADERS = [{}, {"a": 1}, {"a": 1, "b": "x"}, {"b": "x"}, {"a": None}, {"x-a": 1}]
MATCHES = [{}, {"x-match": "all", "a": 1}, {"x-match": "any", "a": 1, "b": "x"}, {"a": None},
           {"x-match": "any"}, {"x-match": "none"}]
QUEUE_ARGUMENTS = [{}, {}, {}, {"x-max-priority": 0}, {"x-note": 1}, {"x-message-ttl": 900_000},
                   {"x-max-length": -1}, {"x-single-active-consumer": True}]


class Generator:
    def __init__(self, seed):
        self.random = random.Random(seed)
        self.queues = [f"random-{seed}-q{number}" for number in range(3)]
        self.exchanges = [f"random-{seed}-x{number}" for number in range(3)]
        self.taken = 0      # deliveries that channel 1 may still settle, roughly

    def pick(self, *values):
        return self.random.choice(values)

    def chance(self, probability):
        return self.random.random() < probability

    def queue(self):
        return "random-gone" if self.chance(0.03) else self.pick(*self.queues)

    def exchange(self):
        if self.chance(0.15):
            return self.pick("amq.direct", "amq.topic", "amq.headers", "random-gone")
        return self.pick(*self.exchanges)

    def key(self):
        return self.pick(*KEYS, *self.queues, *self.queues)

    def beginning(self):
        """Something of everything, so that what follows meets it."""
        for queue in self.queues:
            yield call("queue.declare", queue=queue, exclusive=self.chance(0.2),
                       arguments=self.pick({}, {}, {"x-max-priority": 0}))
        for exchange in self.exchanges:
            alternate = {"alternate-exchange": self.pick(*self.exchanges)}
            yield call("exchange.declare", exchange=exchange, type=self.pick(*TYPES),
                       arguments=alternate if self.chance(0.3) else {})
        for _ in range(6):
            yield self.bind_queue()
        for _ in range(2):
            yield self.bind_exchange()

    def declare_queue(self):
        return call("queue.declare", queue=self.pick(*self.queues), passive=self.chance(0.2),
                    durable=self.chance(0.3), exclusive=self.chance(0.15),
                    arguments=self.pick(*QUEUE_ARGUMENTS))

    def declare_exchange(self):
        arguments = {"alternate-exchange": self.pick(*self.exchanges)} if self.chance(0.2) else {}
        return call("exchange.declare", exchange=self.pick(*self.exchanges), type=self.pick(*TYPES),
                    passive=self.chance(0.15), durable=self.chance(0.2),
                    auto_delete=self.chance(0.2), internal=self.chance(0.1), arguments=arguments)

    def bind_queue(self):
        return call(self.pick("queue.bind", "queue.bind", "queue.bind", "queue.unbind"),
                    queue=self.queue(), exchange=self.exchange(), routing_key=self.key(),
                    arguments=self.pick({}, {}, *MATCHES))

    def bind_exchange(self):
        # A binding between two amq.* exchanges would outlive the script.
        return call(self.pick("exchange.bind", "exchange.bind", "exchange.unbind"),
                    destination=self.pick(*self.exchanges), source=self.exchange(),
                    routing_key=self.key())

    def publish(self):
        headers = dict(self.pick(*HEADERS))
        if self.chance(0.2):
            headers[self.pick("CC", "BCC")] = [self.key() for _ in range(self.pick(0, 1, 2))]
        properties = {"headers": headers} if headers else {}
        return publish(self.pick("", self.exchange(), self.exchange()), self.key(),
                       b"%d" % self.random.randrange(1000), mandatory=self.chance(0.5),
                       channel=self.pick(1, 1, 1, 2), **properties)

    def get(self):
        no_ack = self.chance(0.5)
        self.taken += not no_ack
        return call("basic.get", queue=self.queue(), no_ack=no_ack)

    def settle(self):
        tag = self.random.randint(0, self.taken + 1) if self.chance(0.2) else self.taken
        name = self.pick("basic.ack", "basic.nack", "basic.reject")
        options = {} if name == "basic.reject" else {"multiple": self.chance(0.4)}
        if name != "basic.ack":
            options["requeue"] = self.chance(0.7)
        return send(name, delivery_tag=tag, **options)

    def transaction(self):
        return call(self.pick("tx.select", "tx.select", "tx.commit", "tx.rollback"), channel=2)

    def remove(self):
        if self.chance(0.5):
            return call("queue.delete", queue=self.queue(), if_unused=self.chance(0.3),
                        if_empty=self.chance(0.3))
        return call("exchange.delete", exchange=self.exchange(), if_unused=self.chance(0.4))

    def purge(self):
        return call("queue.purge", queue=self.queue())

    def script(self, length):
        choices = ([self.declare_queue] * 2 + [self.declare_exchange] * 2 + [self.bind_queue] * 5
                   + [self.bind_exchange] * 3 + [self.publish] * 14 + [self.get] * 8
                   + [self.settle] * 3 + [self.transaction, self.remove, self.purge])
        steps = list(self.beginning()) + [self.pick(*choices)() for _ in range(length)]
        # Closing the channels returns what is open; what is left in the queues is compared next.
        steps += [call("channel.close"), call("channel.close", channel=2)]
        steps += [call("basic.get", queue=queue, no_ack=True, channel=3)
                  for queue in self.queues for _ in range(6)]
        steps += [call("queue.delete", queue=queue, channel=3) for queue in self.queues]
        steps += [call("exchange.delete", exchange=exchange, channel=3)
                  for exchange in self.exchanges]
        return Script(f"random {self.queues[0]}", *steps)
