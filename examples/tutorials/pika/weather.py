#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Step 5, patterns: keys of words with dots between them, such as "north.harbour.wind".

    weather.py report KEY TEXT
    weather.py watch PATTERN... until Ctrl-C; in a pattern * is one word, # any number of them
"""

import os
import sys

import pika

URL = os.environ.get("AMQP_URL", "amqp://guest:guest@localhost:5672/%2F")
EXCHANGE = "tutorial.weather"


def report(channel, key, text):
    channel.basic_publish(exchange=EXCHANGE, routing_key=key, body=text)
    print(f"reported {key}: {text}")


def watch(channel, patterns):
    def on_message(_channel, method, _properties, body):
        print(f"{method.routing_key}: {body.decode()}", flush=True)

    queue = channel.queue_declare("", exclusive=True).method.queue
    for pattern in patterns:
        # However many patterns of one queue match, it gets the message once.
        channel.queue_bind(queue, EXCHANGE, routing_key=pattern)
    channel.basic_consume(queue, on_message, auto_ack=True)
    print("waiting", flush=True)
    channel.start_consuming()


def main(role="", *words):
    if not (role == "report" and len(words) == 2 or role == "watch" and words):
        sys.exit(__doc__)
    connection = pika.BlockingConnection(pika.URLParameters(URL))
    channel = connection.channel()
    channel.exchange_declare(EXCHANGE, "topic", durable=True)
    if role == "report":
        report(channel, *words)
    else:
        watch(channel, words)
    connection.close()


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except KeyboardInterrupt:
        pass
