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


TOPOLOGY = """exchanges:
  orders: {type: topic}
  events: {type: fanout, from: [{exchange: orders, key: order.eu.*}]}
  dlx: {type: fanout}
queues:
  dead: {from: [{exchange: dlx}]}
  billing:
    from: [{exchange: orders, key: order.*.placed}]
    limits: {max-length: 50000}
    ttl: 1h
    dead-letter: {exchange: dlx}
  mail: {from: [{exchange: events}], dead-letter: {exchange: dlx}}
  stock: {from: [{exchange: orders, key: "order.#"}]}
policies:
  a-day:
    pattern: ^(stock|billing)$
    apply-to: queues
    definition: {message-ttl: 86400000}
"""


def declare(broker, channel):
    """One queue that a client made beside the file."""
    broker.api.queue("reports.daily")
    channel.bind("reports.daily", "orders", "order.us.*")


def send(channel, number_of=300):
    for number in range(number_of):
        channel.publish("orders", "order.eu.placed" if number % 3 else "order.us.paid",
                        b'{"order": %d, "total": "19.90"}' % number, message_id=f"m-{number}", delivery_mode=2)


def reject(channel, queue, count):
    for _ in range(count):
        channel.reject(channel.get(queue, no_ack=False).delivery_tag, requeue=False)


@contextlib.contextmanager
def fill(broker):
    connection = broker.connect()
    connection.open(user="admin", password="secret", properties={
        "connection_name": "stock-keeper", "product": "shop", "version": "7.1"})
    channel = connection.channel()
    declare(broker, channel)
    send(channel)
    channel.wait_for_counts("stock", 300, 0)
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
