# SPDX-License-Identifier: Apache-2.0
"""A client that declares, binds, purges and deletes durable objects of its own while the broker is
killed. What was answered must be there, or be gone, after the restart; what was not answered may be
either, and is looked at before the client goes on from it."""

from crash.clients import Client
from crash.inspector import Inspector

QUEUES, EXCHANGES = ("q0", "q1", "q2"), ("x0", "x1")
OK = {"queue.declare": "queue.declare-ok", "queue.delete": "queue.delete-ok",
      "queue.bind": "queue.bind-ok", "queue.unbind": "queue.unbind-ok",
      "queue.purge": "queue.purge-ok", "exchange.declare": "exchange.declare-ok",
      "exchange.delete": "exchange.delete-ok"}


class Architect(Client):
    """One request at a time. An object is True, False or None: there, gone, or not known."""

    def __init__(self, campaign, name):
        super().__init__(campaign, name)
        self.objects = {}               # ("queue", name), ("exchange", name) or ("binding", x, q)
        for queue in QUEUES:
            self.objects["queue", self._own(queue)] = False
        for exchange in EXCHANGES:
            self.objects["exchange", self._own(exchange)] = False
            for queue in QUEUES:
                self.objects["binding", self._own(exchange), self._own(queue)] = False
        self.request, self.probes, self.inspector = None, {}, None

    def _own(self, name):
        return f"{self.name} {name}"

    def names(self, kind):
        return [key[1] for key, is_there in self.objects.items() if key[0] == kind and is_there]

    def queues(self):
        return self.names("queue")

    # -- a new life

    def begin(self, address):
        self._end_request()
        self.probes = {}
        self.inspector = Inspector(self.campaign, self._questions())
        self.inspector.begin(address)
        super().begin(address)

    def _end_request(self):
        """The broker died over it: whatever it was about is not known."""
        if self.request is not None:
            name, changes, emptied = self.request
            for key, value in changes.items():
                self.objects[key] = None if value != self.objects[key] else value
            if name == "queue.purge":
                self.history.empty(emptied, answered=False)
            self.request = None

    def _questions(self):
        self.asked = [key for key in self.objects if key[0] != "binding"]
        return [(f"{kind}.declare", {kind: name, "passive": True, "durable": True})
                for kind, name in self.asked]

    def look(self, campaign):
        """The same without going on afterwards."""
        self._end_request()
        self._learn(campaign.ask(self._questions()))

    def _learn(self, inspector):
        """What the inspector saw, compared with what was answered in lives before."""
        for key, (_, answer) in zip(self.asked, inspector.results()):
            is_there, expected = answer.name != "channel.close", self.objects[key]
            if expected is not None and is_there != expected:
                self.campaign.problem("topology", f"{key} is {'there' if is_there else 'gone'}, "
                                                  f"answered otherwise")
            if not is_there:
                self._forget(key)
            self.objects[key] = is_there

    def _forget(self, key):
        """A queue or exchange that is gone took its bindings and messages with it."""
        if key[0] == "queue":
            self.history.empty(key[1])
        for binding in self.objects:
            if binding[0] == "binding" and key[1] in binding[1:]:
                self.objects[binding] = False

    # -- going on

    def turn(self):
        if self.inspector is not None:
            if self.inspector.done:
                self._learn(self.inspector)
                self.inspector = None
            return
        if self.request is None and not self.outstanding:
            if self.rng.random() < 0.5:
                self._probe()
            else:
                self.rng.choice((self._declare, self._delete, self._bind, self._unbind,
                                 self._purge, self._declare, self._bind))()
        self.link.flush()

    def _send(self, name, changes, arguments, emptied=None):
        self.request = (name, changes, emptied)
        self.link.send(1, name, **arguments)

    def _declare(self):
        kind, name = self.rng.choice([key for key in self.objects if key[0] != "binding"])
        more = {"type": "topic"} if kind == "exchange" else {}
        self._send(f"{kind}.declare", {(kind, name): True}, {kind: name, "durable": True, **more})

    def _delete(self):
        if self.rng.random() < 0.5:
            return                      # seldom enough that something comes to be
        kind, name = self.rng.choice([key for key in self.objects if key[0] != "binding"])
        changes = {key: False for key in self.objects if name in key[1:]}
        self._send(f"{kind}.delete", changes, {kind: name},
                   emptied=name if kind == "queue" else None)

    def _pair(self):
        exchanges, queues = self.names("exchange"), self.names("queue")
        if not exchanges or not queues:
            return None, None
        return self.rng.choice(exchanges), self.rng.choice(queues)

    def _bind(self, name="queue.bind", value=True):
        exchange, queue = self._pair()
        if exchange is not None:
            self._send(name, {("binding", exchange, queue): value},
                       {"queue": queue, "exchange": exchange, "routing_key": queue})

    def _unbind(self):
        self._bind("queue.unbind", False)

    def _purge(self):
        if queues := self.names("queue"):
            queue = self.rng.choice(queues)
            self._send("queue.purge", {}, {"queue": queue}, emptied=queue)

    def _probe(self):
        """A mandatory message by each binding that may be: it comes back, or it stays."""
        exchange, queue = self._pair()
        if exchange is None:
            return
        for _ in range(self.rng.randint(1, 4)):
            number = self.publish(exchange, queue, (queue,), mandatory=True)
            self.probes[number] = ("binding", exchange, queue)

    # -- answers

    def on_returned(self, number):
        self.history.returned(number)
        self._expect_binding(self.probes.pop(number), False)

    def _settle(self, number, settles, is_ack):
        super()._settle(number, settles, is_ack)
        if number in self.probes:
            self._expect_binding(self.probes.pop(number), True)

    def _expect_binding(self, key, is_bound):
        if self.objects[key] not in (None, is_bound):
            self.campaign.problem("topology", f"{key} {'routes' if is_bound else 'does not route'}, "
                                              f"answered otherwise")
        self.objects[key] = is_bound

    def on_method(self, link, channel, method):
        if self.request is not None and method.name == OK[self.request[0]]:
            _name, changes, emptied = self.request
            self.objects.update(changes)
            if emptied is not None:
                self.history.empty(emptied)
            self.request = None
        else:
            super().on_method(link, channel, method)
