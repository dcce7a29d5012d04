# SPDX-License-Identifier: Apache-2.0
"""Delays as Celery 5.5 declares them for quorum queues, with kombu: 28 levels, of which each has an
exchange and a queue whose messages die after 2^level seconds towards the next level below. A bit
of the delay for each level is in front of the routing key. Names, arguments and bindings are
Celery's; the last three levels are waited through."""

import sys
import time

import kombu

LEVELS = 28
LAST = "celery_delayed_delivery"
QUEUE = "celery_delayed_target"


def done(step):
    print("ok", step, flush=True)


def name_of(level):
    return f"celery_delayed_{level}"


def queue_arguments(level):
    return {"x-queue-type": "quorum", "x-dead-letter-strategy": "at-least-once",
            "x-overflow": "reject-publish", "x-message-ttl": 2 ** level * 1000,
            "x-dead-letter-exchange": name_of(level - 1) if level > 0 else LAST}


def declare(channel):
    exchanges = {level: kombu.Exchange(name_of(level), type="topic").bind(channel)
                 for level in range(LEVELS)}
    exchanges[-1] = kombu.Exchange(LAST, type="topic").bind(channel)
    for exchange in exchanges.values():
        exchange.declare()
    for level in range(LEVELS):
        above = "*." * (LEVELS - 1 - level)
        queue = kombu.Queue(name_of(level), queue_arguments=queue_arguments(level)).bind(channel)
        queue.declare()
        queue.bind_to(exchange=name_of(level), routing_key=above + "1.#")
        exchanges[level - 1].bind_to(exchange=name_of(level), routing_key=above + "0.#")


def routing_key(delay_s):
    return ".".join(f"{delay_s:0{LEVELS}b}") + "." + QUEUE


connection = kombu.Connection(sys.argv[1], transport_options={"confirm_publish": True})
channel = connection.default_channel
declare(channel)
declare(channel)    # every worker does
done("declare")

target = kombu.Queue(QUEUE, kombu.Exchange(LAST, type="topic"), routing_key=f"#.{QUEUE}",
                     queue_arguments={"x-queue-type": "quorum"})
target(channel).declare()
came = {}


def on_message(body, message):
    came[body] = (time.monotonic() - begin, [death["queue"] for death in
                                             message.headers.get("x-death", [])])
    message.ack()


begin = time.monotonic()
producer = kombu.Producer(channel)
for delay_s in (3, 1, 0, 2 ** LEVELS - 1):
    producer.publish(delay_s, exchange=name_of(LEVELS - 1), routing_key=routing_key(delay_s),
                     delivery_mode=2)
done("publish")

with kombu.Consumer(connection, target, callbacks=[on_message]):
    while len(came) < 3:
        connection.drain_events(timeout=20)
for delay_s, queues in ((0, []), (1, [name_of(0)]), (3, [name_of(0), name_of(1)])):
    after_s, deaths = came[delay_s]
    assert delay_s <= after_s < delay_s + 2 and deaths == queues, came
waits = kombu.Queue(name_of(LEVELS - 1), queue_arguments=queue_arguments(LEVELS - 1))
assert waits(channel).queue_declare(passive=True).message_count == 1
done("delay")

for name in [*map(name_of, range(LEVELS)), QUEUE]:
    channel.queue_delete(name)
for name in [*map(name_of, range(LEVELS)), LAST]:
    channel.exchange_delete(name)
connection.release()
done("close")
