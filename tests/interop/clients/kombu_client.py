# SPDX-License-Identifier: Apache-2.0
"""The story of README.md with kombu (py-amqp underneath)."""

import os
import sys

import kombu
from cut import cut_connections
from kombu.pools import producers

NAME = f"interop-kombu-{os.getpid()}"


def connect():
    url = sys.argv[1].replace("amqps://", "amqp://")
    ssl = {"ca_certs": sys.argv[2]} if len(sys.argv) > 2 else False
    return kombu.Connection(url, ssl=ssl, heartbeat=10, connect_timeout=10,
                            transport_options={"confirm_publish": True})


def done(step):
    print("ok", step, flush=True)


connection = connect()
connection.connect()
done("connect")

exchange = kombu.Exchange(NAME, "topic", durable=False, auto_delete=True)
queue = kombu.Queue(NAME, exchange, routing_key="order.#", durable=True, max_length=100,
                    message_ttl=600, expires=600)
queue(connection.default_channel).declare()
done("declare")

with producers[connection].acquire(block=True) as producer:
    for number in range(10):
        producer.publish({"number": number}, exchange=exchange, routing_key="order.placed",
                         serializer="json", compression="zlib", priority=3, retry=True,
                         headers={"h": [1, 2.5, None, {"a": True}]})
    done("publish")
    done("confirm")
    returned = []
    producer.channel.events["basic_return"].add(lambda *arguments: returned.append(arguments))
    producer.publish("lost", exchange=exchange, routing_key="nowhere", mandatory=True)
assert [error.reply_code for error, *_rest in returned] == [312], returned
done("return")

seen = []


def on_message(body, message):
    assert message.headers["h"] == [1, 2.5, None, {"a": True}], message.headers
    if body["number"] == 4 and not message.delivery_info["redelivered"]:
        message.requeue()
        return
    message.ack()
    seen.append((body["number"], message.delivery_info["redelivered"]))


with kombu.Consumer(connection, queue, callbacks=[on_message], prefetch_count=3):
    while len(seen) < 10:
        connection.drain_events(timeout=5)
assert sorted(seen) == [(n, n == 4) for n in range(10)], seen
done("consume")
done("ack")
done("nack")
assert queue(connection.default_channel).queue_declare(passive=True).consumer_count == 0
done("cancel")

connection.heartbeat_check()
simple = connection.SimpleQueue(f"{NAME}-simple")
simple.put({"x": 1})
assert simple.get(timeout=5).payload == {"x": 1}
simple.clear()
simple.close()
connection.default_channel.queue_delete(f"{NAME}-simple")

try:
    connection.channel().queue_declare("interop-missing", passive=True)
    raise SystemExit("a missing queue was found")
except connection.channel_errors as error:
    assert error.code == 404

# ensure() comes back by itself after the socket is lost.
kombu.Producer(connection).publish({"number": 99}, exchange=exchange, routing_key="order.placed")
held = queue(connection.default_channel).get()
assert held is not None
cut_connections(sys.argv[1])


def take(channel):
    """The held message, once the broker has put it back."""
    message = None
    while message is None:
        message = queue(channel).get(no_ack=True)
    return message


message, _channel = connection.autoretry(take, max_retries=5)()
assert message.payload == {"number": 99} and message.delivery_info["redelivered"]
done("reconnect")

queue(connection.default_channel).delete()
connection.release()
