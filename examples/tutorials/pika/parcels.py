#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Step 4, a choice: each depot hears of the parcels for its cities, and of no others.

    parcels.py send CITY TEXT
    parcels.py watch CITY...    until Ctrl-C
"""

import os
import sys

import pika

URL = os.environ.get("AMQP_URL", "amqp://guest:guest@localhost:5672/%2F")
EXCHANGE = "tutorial.parcels"


def send(channel, city, text):
    channel.basic_publish(exchange=EXCHANGE, routing_key=city, body=text)
    print(f"sent to {city}: {text}")


def watch(channel, cities):
    def on_message(_channel, method, _properties, body):
        print(f"for {method.routing_key}: {body.decode()}", flush=True)

    queue = channel.queue_declare("", exclusive=True).method.queue
    for city in cities:
        # A direct exchange compares the key of the message with that of the binding.
        channel.queue_bind(queue, EXCHANGE, routing_key=city)
    channel.basic_consume(queue, on_message, auto_ack=True)
    print("waiting", flush=True)
    channel.start_consuming()


def main(role="", *words):
    if not (role == "send" and len(words) == 2 or role == "watch" and words):
        sys.exit(__doc__)
    connection = pika.BlockingConnection(pika.URLParameters(URL))
    channel = connection.channel()
    channel.exchange_declare(EXCHANGE, "direct", durable=True)
    if role == "send":
        send(channel, *words)
    else:
        watch(channel, words)
    connection.close()


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except KeyboardInterrupt:
        pass
