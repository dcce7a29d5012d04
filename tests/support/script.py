# SPDX-License-Identifier: Apache-2.0
"""Scripts of frames that are played to two brokers, and the transcripts of what each answered.

A script is a name and steps; a step is one of

  call(METHOD, …)       sends a method and takes what comes up to its answer
  send(METHOD, …)       sends a method that has no answer, then makes a round trip
  publish(EXCHANGE, KEY, …)    a whole content, then a round trip
  take(COUNT)           that many methods which come by themselves: deliveries and cancels
  confirms(COUNT)       waits until so many publishes are confirmed, however they are grouped
  login(…)              a connection of its own, with these tune-ok values, login and vhost

Each has a channel (1 unless `channel=` says otherwise). A channel that the broker closes is opened
again, and a connection made anew, so that the script goes on. `differs="…"` says why the two
brokers answer this step differently on purpose.
"""

import collections
import re

from . import amqp


class Step:
    def __init__(self, kind, arguments, channel=1, differs=None):
        self.kind, self.arguments, self.channel, self.differs = kind, arguments, channel, differs

    def __repr__(self):
        return f"{self.kind} {self.arguments}"


class Script:
    def __init__(self, name, *steps):
        self.name, self.steps = name, steps


def _step(kind):
    def make(*names, channel=1, differs=None, **arguments):
        return Step(kind, (names, arguments), channel, differs)
    return make


call, send, publish = _step("call"), _step("send"), _step("publish")
take, confirms, login = _step("take"), _step("confirms"), _step("login")

_GENERATED = [(re.compile(r"amq\.gen-[\w-]{22}"), "amq.gen-*"),
              (re.compile(r"amq\.ctag-[\w-]+"), "amq.ctag-*"),
              (re.compile(r"amq\.rabbitmq\.reply-to\.[\w.+/=-]+"), "amq.rabbitmq.reply-to.*")]


# These come when the broker is ready, before or after the answer to a round trip.
UNASKED = ("basic.deliver", "basic.cancel", "basic.ack", "basic.nack")


def normal(text):
    """The text with names that a broker makes up replaced."""
    for pattern, replacement in _GENERATED:
        text = pattern.sub(replacement, text)
    return text


def describe(method):
    text = repr(method)
    if method.spec.has_content:
        text += f" properties={sorted(method.properties.items())} body={method.body!r}"
    return normal(text)


class Player:
    """Plays a script to one broker; `transcript` gets one list of lines per step."""

    def __init__(self, broker):
        self.broker, self.conn, self.transcript = broker, None, []
        self.last_queue = ""
        self.inbox = collections.defaultdict(collections.deque)

    def play(self, script):
        self.conn, self.channels = self.broker.open(), set()
        for step in script.steps:
            self.lines = []
            getattr(self, "_" + step.kind)(step)
            self.transcript.append(self.lines)
        self.lines = [describe(method) for number in sorted(self.inbox)
                      for method in self.inbox[number]]
        self.transcript.append(self.lines)
        # Its exclusive queues are gone with close-ok; after a mere end of the socket RabbitMQ takes
        # its time, and the next script may find them.
        self.conn.close()
        return self.transcript

    def _open_channel(self, number):
        if number not in self.channels:
            self.conn.call(number, "channel.open")
            self.channels.add(number)

    def _arguments(self, arguments):
        """"$queue" stands for the name of the last server-named queue."""
        return {key: self.last_queue if value == "$queue" else value
                for key, value in arguments.items()}

    def _collect(self, number, until):
        """Takes methods of a channel up to one of the names, or to the end of channel or
        connection, which is repaired."""
        while True:
            try:
                method = self.conn.next_method(number)
            except amqp.Closed:
                self.lines.append("end of the socket")
                return self._reconnect()
            except amqp.Unexpected:
                if not self.conn.pending[0]:
                    self.lines.append("nothing in time")
                    return None
                method = self.conn.pending[0].popleft()
            if method.name in UNASKED and method.name not in until:
                self.inbox[number].append(method)
                continue
            if method.name != "channel.flow-ok":
                self.lines.append(describe(method))
            if method.name == "queue.declare-ok" and method.queue.startswith("amq.gen-"):
                self.last_queue = method.queue
            if method.name == "channel.close":
                self.conn.send(number, "channel.close-ok")
                self.conn.call(number, "channel.open")
                return None
            if method.name == "connection.close":
                return self._reconnect()
            if method.name == "channel.close-ok":
                self.channels.discard(number)
            if method.name in until:
                return method

    def _reconnect(self):
        self.conn.drop()
        self.conn, self.channels = self.broker.open(), set()

    def _call(self, step):
        (name,), arguments = step.arguments
        self._open_channel(step.channel)
        self.conn.send(step.channel, name, **self._arguments(arguments))
        self._collect(step.channel, amqp.reply_names(name))

    def _round_trip(self, number):
        self.conn.send(number, "channel.flow", active=True)
        self._collect(number, ("channel.flow-ok",))

    def _send(self, step):
        (name,), arguments = step.arguments
        self._open_channel(step.channel)
        self.conn.send(step.channel, name, **self._arguments(arguments))
        self._round_trip(step.channel)

    def _publish(self, step):
        (exchange, key, *body), properties = step.arguments
        self._open_channel(step.channel)
        key = self.last_queue if key == "$queue" else key
        amqp.Channel(self.conn, step.channel).publish(exchange, key, *body, **properties)
        self._round_trip(step.channel)

    def _next_unasked(self, number):
        return self.inbox[number].popleft() if self.inbox[number] else self.conn.next_method(number)

    def _take(self, step):
        for _ in range(step.arguments[0][0]):
            self.lines.append(describe(self._next_unasked(step.channel)))

    def _confirms(self, step):
        confirmed = set()
        while len(confirmed) < step.arguments[0][0]:
            method = self._next_unasked(step.channel)
            if method.name != "basic.ack":
                self.lines.append(describe(method))
                continue
            first = max(confirmed, default=0) + 1 if method.multiple else method.delivery_tag
            confirmed |= set(range(first, method.delivery_tag + 1))
        self.lines.append(f"confirmed {sorted(confirmed)}")

    def _login(self, step):
        """Ends in open-ok, a close, or the end of the socket; the connection is dropped."""
        _names, arguments = step.arguments
        arguments = dict(arguments)
        tune = {key: arguments.pop(key) for key in ("channel_max", "frame_max", "heartbeat")
                if key in arguments}
        vhost = arguments.pop("vhost", "/")
        conn = self.broker.connect()
        try:
            conn.read_start()
            conn.send_start_ok(**arguments)
            first = conn.expect(0, "connection.tune", "connection.close")
            if first.name == "connection.tune":
                conn.tune(**{"channel_max": 100, "frame_max": 131072, "heartbeat": 0, **tune})
                conn.send(0, "connection.open", virtual_host=vhost)
                first = conn.expect(0, "connection.open-ok", "connection.close")
            self.lines.append(describe(first))
        except amqp.Closed:
            self.lines.append("end of the socket")
        conn.drop()
