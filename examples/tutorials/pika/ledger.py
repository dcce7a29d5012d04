#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Step 7, confirms: a publisher knows of each message that the broker has it.

    ledger.py each COUNT        waits for the confirm of one entry before it sends the next
    ledger.py stream COUNT      sends on, and keeps account of at most 100 that are not confirmed
    ledger.py lost              sends one that no queue takes
"""

import os
import sys

import pika

URL = os.environ.get("AMQP_URL", "amqp://guest:guest@localhost:5672/%2F")
QUEUE = "tutorial.ledger"
PERSISTENT = pika.BasicProperties(delivery_mode=2)
WINDOW = 100


def each(channel, count):
    channel.confirm_delivery()
    for number in range(1, count + 1):
        # Returns when the broker has it, on disk; a refusal is an exception.
        channel.basic_publish("", QUEUE, f"entry {number}", PERSISTENT)
    print(f"confirmed: {count}")


def lost(channel):
    channel.confirm_delivery()
    try:
        channel.basic_publish("", "tutorial.nowhere", "entry", PERSISTENT, mandatory=True)
        print("taken")
    except pika.exceptions.UnroutableError:
        print("returned: no queue takes it")


class Stream:
    """Publishes while confirms come in. One of them may speak for all up to its number."""

    def __init__(self, count):
        self.count, self.sent, self.confirmed, self.refused = count, 0, 0, 0
        self.open = set()
        self.connection = pika.SelectConnection(pika.URLParameters(URL), self.on_connection,
                                                on_close_callback=self.on_close)

    def on_connection(self, connection):
        connection.channel(on_open_callback=self.on_channel)

    def on_channel(self, channel):
        self.channel = channel
        channel.confirm_delivery(self.on_confirm)
        self.send_on()

    def send_on(self):
        while self.sent < self.count and len(self.open) < WINDOW:
            self.sent += 1
            self.open.add(self.sent)
            self.channel.basic_publish("", QUEUE, f"entry {self.sent}", PERSISTENT)

    def on_confirm(self, frame):
        tag = frame.method.delivery_tag
        done = {n for n in self.open if n <= tag} if frame.method.multiple else {tag}
        self.open -= done
        if isinstance(frame.method, pika.spec.Basic.Ack):
            self.confirmed += len(done)
        else:
            self.refused += len(done)  # the broker does not have these: send them again, or tell
        self.send_on()
        if self.sent == self.count and not self.open:
            self.connection.close()

    def on_close(self, connection, _reason):
        connection.ioloop.stop()

    def run(self):
        self.connection.ioloop.start()
        print(f"confirmed: {self.confirmed}" + (f", refused: {self.refused}" if self.refused else ""))


def main(role="", *words):
    if (role, len(words)) not in (("each", 1), ("stream", 1), ("lost", 0)):
        sys.exit(__doc__)
    connection = pika.BlockingConnection(pika.URLParameters(URL))
    channel = connection.channel()
    channel.queue_declare(QUEUE, durable=True)
    if role == "each":
        each(channel, int(words[0]))
    elif role == "lost":
        lost(channel)
    connection.close()
    if role == "stream":
        Stream(int(words[0])).run()


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except KeyboardInterrupt:
        pass
