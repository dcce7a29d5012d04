# SPDX-License-Identifier: Apache-2.0
"""Something on every page: a shop with queues that are well and queues that are not."""

import contextlib

PLAN = """bourse: 1
vhost: shop
exchanges:
  orders: {type: topic}
queues:
  mail: {ttl: 1d}
  billing: {}
"""


def declare(broker, channel):
    broker.api.queue("dead")
    dead = {"x-dead-letter-exchange": "dlx"}
    broker.api.queue("billing", **{**dead, "x-max-length": 50000, "x-message-ttl": 3600000})
    broker.api.queue("mail", **dead)
    broker.api.queue("reports.daily")
    broker.api.queue("stock")
    channel.call("exchange.declare", exchange="orders", type="topic", durable=True)
    channel.call("exchange.declare", exchange="events", type="fanout", durable=True)
    channel.call("exchange.declare", exchange="dlx", type="fanout", durable=True)
    channel.bind("dead", "dlx", "")
    channel.bind("billing", "orders", "order.*.placed")
    channel.bind("stock", "orders", "order.#")
    channel.bind("reports.daily", "orders", "order.us.*")
    channel.bind("mail", "events", "")
    channel.call("exchange.bind", destination="events", source="orders", routing_key="order.eu.*")


def send(channel):
    for number in range(300):
        channel.publish("orders", "order.eu.placed" if number % 3 else "order.us.paid",
                        b'{"order": %d, "total": "19.90"}' % number, message_id=f"m-{number}")
    channel.wait_for_counts("stock", 300, 0)


def reject(channel, queue, count):
    for _ in range(count):
        channel.reject(channel.get(queue, no_ack=False).delivery_tag, requeue=False)


@contextlib.contextmanager
def fill(broker):
    connection = broker.connect()
    connection.open(user="admin", password="secret")
    channel = connection.channel()
    declare(broker, channel)
    send(channel)
    reject(channel, "mail", 40)
    reject(channel, "billing", 12)
    channel.wait_for_counts("dead", 52, 0)
    channel.call("basic.qos", prefetch_count=20)
    channel.consume("stock", no_ack=False)
    channel.deliveries(20)
    broker.api.call("POST", "/api/bourse/queues/%2F/dead/replay",
                    {"limit": 5, "note": "one customer asked", "wait": True})
    broker.api.call("POST", "/api/bourse/queues/%2F/mail/pause", {"note": "templates are broken"})
    yield channel
    connection.close()
