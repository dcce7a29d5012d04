#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Step 1, a queue between two programs: neither waits for the other.

    hello.py send TEXT...
    hello.py receive            until Ctrl-C
"""

import os
import sys

import pika

URL = os.environ.get("AMQP_URL", "amqp://guest:guest@localhost:5672/%2F")
QUEUE = "tutorial.hello"


def send(channel, texts):
    for text in texts:
        # Every queue hangs on the exchange "" under its own name.
        channel.basic_publish(exchange="", routing_key=QUEUE, body=text)
        print(f"sent: {text}")


def receive(channel):
    def on_message(_channel, _method, _properties, body):
        print(f"received: {body.decode()}", flush=True)

    channel.basic_consume(QUEUE, on_message, auto_ack=True)
    print("waiting", flush=True)
    channel.start_consuming()


def main(role="", *texts):
    if role not in ("send", "receive"):
        sys.exit(__doc__)
    connection = pika.BlockingConnection(pika.URLParameters(URL))
    channel = connection.channel()
    # Both declare it: whoever comes first makes it, for the other it is there.
    channel.queue_declare(QUEUE, durable=True)
    if role == "send":
        send(channel, texts)
    else:
        receive(channel)
    connection.close()


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except KeyboardInterrupt:
        pass
