# SPDX-License-Identifier: Apache-2.0
"""What is done to the broker while it is killed: one class for each way of using it."""

import base64
import hashlib
import signal
import time

from crash import bodies
from crash.applier import Applier
from crash.clients import (PASSWORD, USER, Consumer, Mourner, Publisher, Rejecter, Retrier,
                           Transactor)
from crash.delays import Delays
from crash.history import History
from crash.places import Places, Retries, dead_of
from crash.topology import Architect

# RabbitMQ's form: cheap to check, so that a life of a few milliseconds gets past its logins.
_SALT = b"salt"
_HASH = base64.b64encode(_SALT + hashlib.sha256(_SALT + PASSWORD.encode()).digest()).decode()


class Variant:
    """Eight publishers and eight consumers on four queues; the base of the others."""

    name = "plain"
    history_class = History
    server = {}
    size_max = bodies.SIZE_MAX
    backlog_max = 3000
    wait_max_s = 0                      # for which a message may be in its queue without being ready
    style_weights = (4, 3, 3, 2)        # of Consumer.STYLES
    queue_names = ("a", "b", "c", "d")

    def config(self):
        lines = ["bourse: 1", "server:", "  log: {level: warn}"]
        lines += [f"  {key}: {value}" for key, value in self.server.items()]
        lines += ["users:", f"  {USER}:", f"    auth: password", f"    password-hash: {_HASH}", "    role: admin",
                  '    rights: {configure: ".*", write: ".*", read: ".*"}',
                  "listeners: {amqp: {bind: \"127.0.0.1:0\"}}"]
        return "\n".join(lines) + "\n"

    def draw_expiration_ms(self, _rng):
        """How long a message is to live; None: for ever."""

    def draw_headers(self, _rng, _exchange):
        """Headers of a message that is published there; None: it has none."""

    def queues(self, _campaign):
        return list(self.queue_names)

    def declarations(self, passive):
        return [("queue.declare", {"queue": queue, "durable": True, "passive": passive})
                for queue in self.queue_names]

    def targets(self):
        return [("", queue, (queue,)) for queue in self.queue_names]

    def clients(self, campaign):
        queues = self.queue_names
        return ([Publisher(campaign, f"publisher {i}", self.targets()) for i in range(8)]
                + [Consumer(campaign, f"consumer {i}", queues[i % len(queues)]) for i in range(8)])

    def draw_end(self, rng):
        """The signals that end a life, in order. The file is read again before some of the ends."""
        return [signal.SIGHUP] * rng.choice((0, 0, 0, 0, 0, 0, 0, 1, 3)) + [signal.SIGKILL]

    def after_death(self, campaign):
        """What is known to be gone in the next life."""

    def before_drain(self, campaign):
        """What is to be known before `queues` is asked for the last time."""

    def after_drain(self, campaign):
        """The broker has stopped in order, and its queues are empty."""


class Fanout(Variant):
    """One publish, five queues: all of them or none. And one that is not durable, and starts again
    with every life."""

    name = "fanout"
    queue_names = ("a", "b", "c", "d", "e")
    backlog_max = 6000

    def declarations(self, passive):
        exchange = {"exchange": "all", "type": "fanout", "durable": True, "passive": passive}
        bound = ["passing"] if passive else ["passing", *self.queue_names]
        return [("exchange.declare", exchange), *super().declarations(passive),
                ("queue.declare", {"queue": "passing"}),
                *[("queue.bind", {"queue": queue, "exchange": "all"}) for queue in bound]]

    def queues(self, campaign):
        return [*super().queues(campaign), "passing"]

    def targets(self):
        return [("all", "", (*self.queue_names, "passing"))]

    def clients(self, campaign):
        return [*super().clients(campaign), Consumer(campaign, "consumer 8", "passing")]

    def after_death(self, campaign):
        campaign.history.empty("passing")


class Segments(Variant):
    """Segments of the smallest size: rolled, folded, compacted and recycled all the time."""

    name = "segments"
    server = {"segment-size": "64KiB", "max-message-size": "40KiB", "frame-max": "16KiB"}
    size_max = 40 * 1024


class Transactions(Variant):
    """Transactors that publish, and transactors that move messages on."""

    name = "tx"
    server = {"segment-size": "1MiB", "max-message-size": "64KiB"}
    queue_names = ("a", "b", "c", "d")

    def clients(self, campaign):
        first, second = self.targets()[:2], self.targets()[2:]
        return ([Publisher(campaign, f"publisher {i}", first) for i in range(4)]
                + [Transactor(campaign, f"transactor {i}", self.targets()) for i in range(4)]
                + [Transactor(campaign, f"mover {i}", second, "ab"[i % 2]) for i in range(4)]
                + [Consumer(campaign, f"consumer {i}", "abcd"[i % 4]) for i in range(8)])


class Topology(Variant):
    """Objects come and go; a little traffic beside it, so that their records lie among others."""

    name = "topology"
    server = {"segment-size": "64KiB", "max-message-size": "16KiB", "frame-max": "16KiB"}
    size_max = 2048
    queue_names = ("a", "b")

    def clients(self, campaign):
        self.architects = [Architect(campaign, f"architect {i}") for i in range(6)]
        return [*self.architects,
                *[Publisher(campaign, f"publisher {i}", self.targets()) for i in range(2)],
                *[Consumer(campaign, f"consumer {i}", "ab"[i]) for i in range(2)]]

    def before_drain(self, campaign):
        for each in self.architects:
            each.look(campaign)

    def queues(self, campaign):
        return super().queues(campaign) + [queue for each in self.architects
                                           for queue in each.queues()]


class Shutdown(Variant):
    """SIGTERM, and SIGKILL while it drains; some are left to drain to the end."""

    name = "shutdown"
    server = {"segment-size": "256KiB", "max-message-size": "64KiB"}

    def draw_end(self, rng):
        hangups = [signal.SIGHUP] * rng.choice((0, 0, 1, 5))
        if rng.random() < 0.2:
            return [*hangups, signal.SIGTERM]
        return [*hangups, signal.SIGTERM, signal.SIGKILL]


class Paging(Variant):
    """More messages than memory: they are dropped from it and read back."""

    name = "paging"
    server = {"segment-size": "1MiB", "max-message-size": "64KiB", "memory": "8MiB"}
    backlog_max = 8000
    style_weights = (1, 1, 2, 6)


class Large(Variant):
    """Bodies that fill chunks of their own and many frames, next to small ones."""

    name = "large"
    server = {"segment-size": "4MiB", "max-message-size": "1MiB"}
    size_max = bodies.LARGE_SIZE_MAX
    backlog_max = 500


class DeadLetters(Variant):
    """Half of what is delivered is rejected, and goes to where the dead of its queue go: after every
    death of the broker it is in one of both places."""

    name = "dead"
    history_class = Places
    queue_names = ("a", "b")
    server = {"segment-size": "256KiB", "max-message-size": "64KiB"}

    @staticmethod
    def places(queue):
        """Where a message that was published to the queue may be."""
        return (queue, dead_of(queue))

    def source_of(self, dead):
        return next(queue for queue in self.queue_names if dead_of(queue) == dead)

    def queues(self, _campaign):
        return [place for queue in self.queue_names for place in self.places(queue)]

    def arguments(self, queue):
        return {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": dead_of(queue)}

    def declarations(self, passive):
        return [question for queue in self.queue_names for question in (
            ("queue.declare", {"queue": dead_of(queue), "durable": True, "passive": passive}),
            ("queue.declare", {"queue": queue, "durable": True, "passive": passive,
                               "arguments": self.arguments(queue)}))]

    def targets(self):
        return [("", queue, self.places(queue)) for queue in self.queue_names]

    def clients(self, campaign):
        queues = self.queue_names
        return ([Publisher(campaign, f"publisher {i}", self.targets()) for i in range(4)]
                + [Rejecter(campaign, f"rejecter {i}", queues[i % 2]) for i in range(4)]
                + [Mourner(campaign, f"mourner {i}", dead_of(queues[i % 2])) for i in range(4)])


class Expiring(DeadLetters):
    """Messages expire by their own time or that of their queue, also while the broker is away; fewer
    are consumed before that."""

    name = "ttl"
    style_weights = (1, 1, 2, 6)
    queue_ttl_ms = 400

    def draw_expiration_ms(self, rng):
        return rng.choice((None, 0, rng.randint(1, 60), rng.randint(1, 1000)))

    def clients(self, campaign):
        campaign.history.queue_ttl_s = {self.queue_names[0]: self.queue_ttl_ms / 1000}
        return super().clients(campaign)

    def arguments(self, queue):
        ttl = {"x-message-ttl": self.queue_ttl_ms} if queue == self.queue_names[0] else {}
        return {**super().arguments(queue), **ttl}


class Delaying(Variant):
    """Most messages are held back, some for longer than a life lasts; what comes due while the broker is
    away comes when it is back. Beside them some that are not, also in transactions."""

    name = "delay"
    history_class = Delays
    queue_names = ("a", "b")
    server = {"segment-size": "1MiB", "max-message-size": "64KiB"}
    delay_max_ms = 700
    wait_max_s = 1.5 * delay_max_ms / 1000

    def declarations(self, passive):
        exchange = {"exchange": "later", "type": "x-delayed-message", "durable": True, "passive": passive,
                    "arguments": {"x-delayed-type": "direct"}}
        bindings = [] if passive else [
            ("queue.bind", {"queue": queue, "exchange": "later", "routing_key": queue})
            for queue in self.queue_names]
        return [("exchange.declare", exchange), *super().declarations(passive), *bindings]

    def targets(self):
        return [("later", queue, (queue,)) for queue in self.queue_names] + super().targets()[:1]

    def draw_headers(self, rng, exchange):
        """A delay of some letter, a time, or both, of which the later counts."""
        if exchange != "later":
            return None
        delay_ms = rng.choice((0, rng.randint(1, 30), rng.randint(1, 200), rng.randint(1, self.delay_max_ms)))
        due_ms = int(time.time() * 1000) + rng.randint(-50, self.delay_max_ms)
        return rng.choice(({"x-delay": delay_ms}, {"x-delay": delay_ms}, {"x-deliver-at": due_ms},
                           {"x-delay": delay_ms, "x-deliver-at": due_ms}))

    def clients(self, campaign):
        queues = self.queue_names
        return ([Publisher(campaign, f"publisher {i}", self.targets()) for i in range(4)]
                + [Transactor(campaign, f"transactor {i}", self.targets()) for i in range(2)]
                + [Consumer(campaign, f"consumer {i}", queues[i % 2]) for i in range(4)])


class Retrying(DeadLetters):
    """Half of what is delivered fails, waits and comes again; what fails too often dies, or is parked in
    its queue where nobody takes the dead."""

    name = "retry"
    history_class = Retries
    limit, first_ms, max_ms = 2, 60, 100
    wait_max_s = 3 * max_ms / 1000
    parking = "c"

    def arguments(self, queue):
        dead_letters = {} if queue == self.parking else super().arguments(queue)
        return {**dead_letters, "x-delivery-limit": self.limit,
                "x-delayed-retry-type": "all", "x-delayed-retry-min": self.first_ms,
                "x-delayed-retry-max": self.max_ms, "x-delayed-retry-multiplier": 2}

    def declarations(self, passive):
        return [*super().declarations(passive),
                ("queue.declare", {"queue": self.parking, "durable": True, "passive": passive,
                                   "arguments": self.arguments(self.parking)})]

    def queues(self, campaign):
        return [*super().queues(campaign), self.parking]

    def targets(self):
        return [*super().targets(), ("", self.parking, self.places(self.parking))]

    def clients(self, campaign):
        history, queues = campaign.history, (*self.queue_names, self.parking)
        history.limit = self.limit
        history.first_s, history.max_s = self.first_ms / 1000, self.max_ms / 1000
        return ([Publisher(campaign, f"publisher {i}", self.targets()) for i in range(4)]
                + [Retrier(campaign, f"retrier {i}", queues[i % 3]) for i in range(6)]
                + [Mourner(campaign, f"mourner {i}", dead_of(queues[i % 2])) for i in range(4)])

    def after_drain(self, campaign):
        """What is parked is in no count either, and nobody can consume it."""
        campaign.history.stop_parking(self.parking)
        for message in campaign.dump(self.parking):
            campaign.history.park(self.parking, int(message["message_id"]),
                                  message.get("delivery_count", 0), message.get("due_ms", 0))


class Applying(Variant):
    """Two configurations of another vhost are applied in turn, or gone back to; some traffic beside it,
    and small segments, so that their batches lie between others."""

    name = "apply"
    server = {"segment-size": "256KiB", "max-message-size": "16KiB", "frame-max": "16KiB"}
    size_max = 2048
    queue_names = ("a", "b")

    def config(self):
        return super().config().replace(
            'listeners: {', 'listeners: {http: {bind: "127.0.0.1:0"}, ')

    def clients(self, campaign):
        credentials = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        self.applier = Applier(campaign, credentials)
        return [self.applier,
                *[Publisher(campaign, f"publisher {i}", self.targets()) for i in range(2)],
                *[Consumer(campaign, f"consumer {i}", "ab"[i]) for i in range(2)]]

    def before_drain(self, campaign):
        self.applier.look_once(campaign.process)


VARIANTS = {variant.name: variant
            for variant in (Variant, Fanout, Segments, Transactions, Topology, Shutdown, Paging,
                            Large, DeadLetters, Expiring, Delaying, Retrying, Applying)}
