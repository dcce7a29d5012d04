# SPDX-License-Identifier: Apache-2.0
"""The story of README.md with pika's BlockingConnection."""

import os
import ssl
import sys

import pika
from cut import cut_connections

NAME = f"interop-pika-{os.getpid()}"


def connect():
    parameters = pika.URLParameters(sys.argv[1])
    if len(sys.argv) > 2:
        context = ssl.create_default_context(cafile=sys.argv[2])
        parameters.ssl_options = pika.SSLOptions(context, "localhost")
    return pika.BlockingConnection(parameters)


def done(step):
    print("ok", step, flush=True)


connection = connect()
channel = connection.channel()
done("connect")

channel.exchange_declare(NAME, "topic", auto_delete=True)
channel.queue_declare(NAME, durable=True, arguments={"x-message-ttl": 600000})
channel.queue_bind(NAME, NAME, "order.*.placed")
assert channel.queue_declare(NAME, passive=True).method.message_count == 0
done("declare")

channel.confirm_delivery()
properties = pika.BasicProperties(content_type="text/plain", delivery_mode=2, headers={
    "n": 1, "big": 2**40, "nested": {"list": [1, "two", None, True]}})
for number in range(10):
    channel.basic_publish(NAME, "order.eu.placed", b"%d" % number, properties)
done("publish")
done("confirm")

try:
    channel.basic_publish(NAME, "nowhere", b"lost", mandatory=True)
    raise SystemExit("an unroutable message was not returned")
except pika.exceptions.UnroutableError as error:
    assert error.messages[0].body == b"lost"
    assert error.messages[0].method.reply_code == 312
done("return")

channel.basic_qos(prefetch_count=3)
bodies = []
for method, got, body in channel.consume(NAME):
    assert got.headers == properties.headers, got.headers
    if int(body) == 4 and not method.redelivered:
        channel.basic_nack(method.delivery_tag, requeue=True)
        continue
    channel.basic_ack(method.delivery_tag)
    bodies.append((int(body), method.redelivered))
    if len(bodies) == 10:
        break
assert sorted(bodies) == [(n, n == 4) for n in range(10)], bodies
done("consume")
done("ack")
done("nack")

channel.cancel()
assert channel.queue_declare(NAME, passive=True).method.consumer_count == 0
done("cancel")

# An error of the channel leaves the connection in use.
try:
    channel.queue_declare("interop-missing", passive=True)
    raise SystemExit("a missing queue was found")
except pika.exceptions.ChannelClosedByBroker as error:
    assert error.reply_code == 404
channel = connection.channel()

# A held message comes back after the connection is lost.
channel.basic_publish("", NAME, b"survivor", pika.BasicProperties(delivery_mode=2))
method, _properties, body = channel.basic_get(NAME)
assert body == b"survivor" and not method.redelivered
cut_connections(sys.argv[1])
connection = connect()
channel = connection.channel()
method = None
while method is None:
    method, _properties, body = channel.basic_get(NAME, auto_ack=True)
assert body == b"survivor" and method.redelivered
done("reconnect")

# What nobody takes in its time is gone.
channel.basic_publish("", NAME, b"short", pika.BasicProperties(expiration="50"))
channel.basic_publish("", NAME, b"long", pika.BasicProperties(expiration="60000"))
while channel.queue_declare(NAME, passive=True).method.message_count != 1:
    connection.sleep(0.02)
assert channel.basic_get(NAME, auto_ack=True)[2] == b"long"
done("expire")

channel.queue_delete(NAME)
connection.close()
