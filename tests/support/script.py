# SPDX-License-Identifier: Apache-2.0
"""Scripts of frames that are played to two brokers, and the transcripts of what each answered.

A script is a name and steps; a step is one of

  call(METHOD, …)       sends a method and takes what comes up to its answer
  send(METHOD, …)       sends a method that has no answer, then makes a round trip
  publish(EXCHANGE, KEY, …)    a whole content, then a round trip
  take(COUNT)           that many methods which come by themselves: deliveries and cancels
  confirms(COUNT)       waits until so many publishes are confirmed, however they are grouped
  verdicts(COUNT)       the same where some are refused: which were acked and which nacked
  login(…)              a connection of its own, with these tune-ok values, login and vhost
  arrive(QUEUE, COUNT)  asks with basic.get until so many messages were there (`within_s=`, then it
                        goes on without the rest), and does not tell how often it asked. With
                        `settle="reject"` or `"requeue"` each is rejected as soon as it has come
  depth(QUEUE, COUNT)   asks until so many messages are ready
  gone(QUEUE)           asks until there is no such queue, in a way that is no use of it

Each has a channel (1 unless `channel=` says otherwise). A channel that the broker closes is opened
again, and a connection made anew, so that the script goes on. `differs="…"` says why the two
brokers answer this step differently on purpose.

In a transcript fields carry their type letters, and the fields of a table stand in order of their
names: a peer keeps no order (`order=True` of arrive shows what it is). A time that is not long ago
is `now`.
"""

import collections
import re
import time

from . import amqp, wire


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
verdicts, arrive = _step("verdicts"), _step("arrive")
depth, gone = _step("depth"), _step("gone")

# How long a step asks for what must come, and how often.
PATIENCE_S = 10
ASK_EVERY_S = 0.01
NOT_LONG_AGO_S = 600

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


def describe_field(field, in_order=False):
    """A typed field value, such as l:5 or {name=S:'x'}."""
    if isinstance(field, wire.Typed):
        if field.letter == "T" and abs(time.time() - field.value) < NOT_LONG_AGO_S:
            return "T:now"
        return f"{field.letter}:{describe_field(field.value, in_order)}"
    if isinstance(field, dict):
        names = list(field) if in_order else sorted(field)
        return "{" + ", ".join(f"{name}={describe_field(field[name], in_order)}"
                               for name in names) + "}"
    if isinstance(field, list):
        return "[" + ", ".join(describe_field(item, in_order) for item in field) + "]"
    return repr(field)


def describe_content(method, in_order=False):
    _size, properties = wire.decode_header(method.raw_header, typed=True)
    return f"properties={describe_field(properties, in_order)} body={method.body!r}"


def describe(method):
    text = repr(method)
    if method.spec.has_content:
        text += " " + describe_content(method)
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

    def _verdicts(self, step):
        """Publishes are answered out of order where one needs the disk and another does not."""
        said = {}
        while len(said) < step.arguments[0][0]:
            method = self._next_unasked(step.channel)
            if method.name not in ("basic.ack", "basic.nack"):
                self.lines.append(describe(method))
                continue
            tags = [method.delivery_tag]
            if method.multiple:
                tags = [tag for tag in range(1, method.delivery_tag + 1) if tag not in said]
            said.update(dict.fromkeys(tags, method.name))
        self.lines += [f"{tag}: {said[tag]}" for tag in sorted(said)]

    def _ask(self, step, question, within_s=PATIENCE_S):
        """Asks until `question` answers something that is true, which is returned, or None when
        the time is over."""
        self._open_channel(step.channel)
        deadline = time.monotonic() + within_s
        while True:
            answer = question()
            if answer or time.monotonic() > deadline:
                return answer or None
            time.sleep(ASK_EVERY_S)

    def _answer(self, number, name, *others, **arguments):
        """Sends a method and returns its answer, or the close, without a line for it."""
        self.conn.send(number, name, **arguments)
        while True:
            method = self.conn.next_method(number)
            if method.name in (*amqp.reply_names(name), *others):
                return method
            self.inbox[number].append(method)

    def _arrive(self, step):
        (queue, count), options = step.arguments
        settle = options.get("settle")

        def get_one():
            method = self._answer(step.channel, "basic.get", queue=queue, no_ack=settle is None)
            return method if method.name == "basic.get-ok" else None

        for _ in range(count):
            method = self._ask(step, get_one, options.get("within_s", PATIENCE_S))
            if method is None:
                self.lines.append("nothing in time")
                return
            redelivered = " redelivered" if method.redelivered else ""
            content = describe_content(method, options.get("order", False))
            self.lines.append(normal(f"{method.exchange!r} {method.routing_key!r}{redelivered} "
                                     f"{content}"))
            if settle:
                self.conn.send(step.channel, "basic.reject", delivery_tag=method.delivery_tag,
                               requeue=settle == "requeue")

    def _depth(self, step):
        queue, count = step.arguments[0]
        seen = []

        def ask_depth():
            seen.append(self._answer(step.channel, "queue.declare", queue=queue,
                                     passive=True).message_count)
            return seen[-1] == count

        self._ask(step, ask_depth)
        self.lines.append(f"{seen[-1]} ready")

    def _gone(self, step):
        """Binding asks whether a queue is there; unlike declaring it passively it is no use."""
        (queue,) = step.arguments[0]

        def try_to_bind():
            method = self._answer(step.channel, "queue.bind", "channel.close", queue=queue,
                                  exchange="amq.direct", routing_key="is-it-there")
            if method.name == "channel.close":
                self.conn.send(step.channel, "channel.close-ok")
                self.conn.call(step.channel, "channel.open")
                self.lines.append(describe(method))
            return method.name == "channel.close"

        if not self._ask(step, try_to_bind):
            self.lines.append("still there")

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
