#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Step 2, work for several: a task goes to one worker, and to another one if that one dies.

    work.py add NAME SECONDS
    work.py work                until Ctrl-C; start as many as you like
"""

import json
import os
import sys

import pika

URL = os.environ.get("AMQP_URL", "amqp://guest:guest@localhost:5672/%2F")
QUEUE = "tutorial.work"


def add(channel, name, seconds):
    # Durable queue and persistent message: the task outlives a restart of the broker.
    channel.basic_publish(exchange="", routing_key=QUEUE,
                          body=json.dumps({"name": name, "seconds": float(seconds)}),
                          properties=pika.BasicProperties(delivery_mode=2))
    print(f"added: {name}")


def work(channel):
    def on_task(_channel, method, _properties, body):
        task = json.loads(body)
        again = " again" if method.redelivered else ""
        print(f"begins{again}: {task['name']}", flush=True)
        channel.connection.sleep(task["seconds"])  # which goes on answering the broker meanwhile
        print(f"done: {task['name']}", flush=True)
        # Until here the task is the broker's: if this program dies, another one gets it.
        channel.basic_ack(method.delivery_tag)

    # One task at a time: who is busy is not handed a second one.
    channel.basic_qos(prefetch_count=1)
    channel.basic_consume(QUEUE, on_task)
    print("waiting", flush=True)
    channel.start_consuming()


def main(role="", *words):
    if (role, len(words)) not in (("add", 2), ("work", 0)):
        sys.exit(__doc__)
    connection = pika.BlockingConnection(pika.URLParameters(URL))
    channel = connection.channel()
    channel.queue_declare(QUEUE, durable=True)
    if role == "add":
        add(channel, *words)
    else:
        work(channel)
    connection.close()


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except KeyboardInterrupt:
        pass
