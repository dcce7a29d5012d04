# SPDX-License-Identifier: Apache-2.0
"""A fixed conversation with a broker that may end the conversation at any point, and what must be
there afterwards according to the answers that came."""

import signal

from crash import bodies
from crash.history import History
from support import amqp

TIMEOUT_S = 10
SIZES = (0, 1, 300, 5000)
ENDED = (amqp.Closed, OSError, TimeoutError, amqp.Unexpected)


def connect(address):
    """As the user of a variant's file, with frames that every variant allows."""
    return amqp.Connection(address, timeout_s=TIMEOUT_S).open(user="crash", password="crash",
                                                              frame_max=8192)


class Session:
    """`run` goes as far as the broker lets it; `finished` tells whether that was to the end. Names
    map to True, False or None: answered to be there, to be gone, or not answered."""

    def __init__(self):
        self.history, self.finished = History(), False
        self.queues = {"a": False, "b": False, "c": False}
        self.exchanges = {"x": False, "y": False}

    def run(self, process):
        connection = None
        try:
            connection = connect(process.address)
            for part in (self._declare, self._publish, self._consume, self._commit, self._remove):
                part(connection)
            connection.close()
            self.finished = True
        except ENDED:
            if connection is not None:
                connection.drop()
        if self.finished:
            process.signal(signal.SIGTERM)

    def _change(self, channel, names, name, is_there, method, **arguments):
        names[name] = None
        channel.call(method, **arguments)
        names[name] = is_there

    def _declare(self, connection):
        channel = connection.channel()
        for queue in self.queues:
            self._change(channel, self.queues, queue, True, "queue.declare", queue=queue,
                         durable=True)
        for exchange in self.exchanges:
            self._change(channel, self.exchanges, exchange, True, "exchange.declare",
                         exchange=exchange, type="fanout", durable=True)
        channel.bind("a", "x")
        channel.bind("b", "x")

    def _send(self, channel, exchange, key, queues, size, transaction=None):
        number = self.history.attempt(f"channel {channel.number}", queues, size, transaction)
        channel.publish(exchange, key, bodies.make(number, size), delivery_mode=2,
                        message_id=str(number))
        return number

    def _send_and_wait(self, channel, *message):
        number = self._send(channel, *message)
        channel.expect("basic.ack")
        self.history.confirm(number)

    def _publish(self, connection):
        channel = connection.channel()
        channel.call("confirm.select")
        for size in SIZES:
            self._send_and_wait(channel, "x", "", ("a", "b"), size)
            self._send_and_wait(channel, "", "c", ("c",), size)
        numbers = [self._send(channel, "", "c", ("c",), size) for size in SIZES]
        confirmed = 0
        while confirmed < len(SIZES):
            ack = channel.expect("basic.ack")
            confirmed = ack.delivery_tag - 2 * len(SIZES)
        for number in numbers:
            self.history.confirm(number)

    def _take(self, channel, queue):
        method = channel.get(queue, no_ack=False)
        number = int(method.properties["message_id"])
        self.history.deliver(queue, number, method.redelivered, f"channel {channel.number}",
                             method.body)
        return method.delivery_tag, number

    def _consume(self, connection):
        """The confirm of the last publish says that the acknowledgements are on disk."""
        channel = connection.channel()
        channel.call("confirm.select")
        taken = [self._take(channel, "a") for _ in range(2)]
        for tag, number in taken:
            channel.ack(tag)
            self.history.acknowledge("a", number)
        self._send_and_wait(channel, "", "a", ("a",), 10)
        for _tag, number in taken:
            self.history.settle("a", number)

    def _commit(self, connection):
        channel = connection.channel()
        channel.call("tx.select")
        transaction = self.history.begin_transaction()
        for queue in "abc":
            self._send(channel, "", queue, (queue,), 200, transaction)
        tag, number = self._take(channel, "b")
        channel.ack(tag)
        self.history.acknowledge_in(transaction, "b", number)
        self.history.commit_sent(transaction)
        channel.call("tx.commit")
        self.history.committed(transaction)

    def _remove(self, connection):
        channel = connection.channel()
        self._empty(channel, "queue.purge", "b")
        self.queues["c"] = None
        self._empty(channel, "queue.delete", "c")
        self.queues["c"] = False
        channel.call("queue.unbind", queue="a", exchange="x")
        self._change(channel, self.exchanges, "y", False, "exchange.delete", exchange="y")

    def _empty(self, channel, method, queue):
        self.history.empty(queue, answered=False)
        channel.call(method, queue=queue)
        self.history.empty(queue)

    # -- after a restart

    def check(self, process):
        """Compares what is there with what was answered. Returns the History's Report."""
        self.history.begin_life()
        connection = connect(process.address)
        for queue, expected in self.queues.items():
            if self._check_object(connection, "queue", queue, expected):
                self._drain(connection.channel(), queue)
        for exchange, expected in self.exchanges.items():
            self._check_object(connection, "exchange", exchange, expected)
        connection.close()
        return self.history.check()

    def _check_object(self, connection, kind, name, expected):
        channel = connection.channel()
        channel.send(f"{kind}.declare", passive=True, **{kind: name})
        is_there = channel.expect(f"{kind}.declare-ok", "channel.close").name != "channel.close"
        if expected is not None and is_there != expected:
            self.history.violation("topology", f"{kind} {name} is "
                                               f"{'there' if is_there else 'gone'}")
        if not is_there and kind == "queue":
            self.history.empty(name)
        return is_there

    def _drain(self, channel, queue):
        while (method := channel.get(queue)) is not None:
            number = int(method.properties["message_id"])
            self.history.deliver(queue, number, method.redelivered, "drain", method.body)
            self.history.acknowledge(queue, number)
