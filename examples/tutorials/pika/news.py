#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Step 3, news for all: every listener gets a copy, and who is not there gets none.

    news.py publish TEXT...
    news.py listen              until Ctrl-C
"""

import os
import sys

import pika

URL = os.environ.get("AMQP_URL", "amqp://guest:guest@localhost:5672/%2F")
EXCHANGE = "tutorial.news"


def publish(channel, texts):
    for text in texts:
        # A fanout exchange looks at no key.
        channel.basic_publish(exchange=EXCHANGE, routing_key="", body=text)
        print(f"published: {text}")


def listen(channel):
    def on_message(_channel, _method, _properties, body):
        print(f"news: {body.decode()}", flush=True)

    # A queue without a name gets one of the broker's; exclusive, it ends with this connection.
    queue = channel.queue_declare("", exclusive=True).method.queue
    channel.queue_bind(queue, EXCHANGE)
    channel.basic_consume(queue, on_message, auto_ack=True)
    print("waiting", flush=True)
    channel.start_consuming()


def main(role="", *texts):
    if role not in ("publish", "listen"):
        sys.exit(__doc__)
    connection = pika.BlockingConnection(pika.URLParameters(URL))
    channel = connection.channel()
    channel.exchange_declare(EXCHANGE, "fanout", durable=True)
    if role == "publish":
        publish(channel, texts)
    else:
        listen(channel)
    connection.close()


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except KeyboardInterrupt:
        pass
