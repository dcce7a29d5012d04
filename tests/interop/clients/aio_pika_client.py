# SPDX-License-Identifier: Apache-2.0
"""The story of README.md with aio-pika's robust connection."""

import asyncio
import os
import ssl
import sys

import aio_pika
from cut import cut_connections

NAME = f"interop-aio-{os.getpid()}"


async def connect():
    options = {}
    if len(sys.argv) > 2:
        options["ssl_context"] = ssl.create_default_context(cafile=sys.argv[2])
    return await aio_pika.connect_robust(sys.argv[1] + "?reconnect_interval=1", **options)


def done(step):
    print("ok", step, flush=True)


async def consume_ten(queue):
    seen = []
    async with queue.iterator() as messages:
        async for message in messages:
            assert message.headers["kind"] == "interop"
            if message.body == b"4" and not message.redelivered:
                await message.nack(requeue=True)
                continue
            await message.ack()
            seen.append((int(message.body), message.redelivered))
            if len(seen) == 10:
                return seen


async def lose_socket(connection):
    """Cuts the connection under the library, which has to come back by itself."""
    came_back = asyncio.Event()
    connection.reconnect_callbacks.add(lambda *_arguments: came_back.set())
    cut_connections(sys.argv[1])
    await asyncio.wait_for(came_back.wait(), 10)


async def main():
    connection = await connect()
    channel = await connection.channel(publisher_confirms=True, on_return_raises=True)
    done("connect")

    exchange = await channel.declare_exchange(NAME, aio_pika.ExchangeType.TOPIC, auto_delete=True)
    queue = await channel.declare_queue(NAME, durable=True)
    await queue.bind(exchange, "order.*.placed")
    done("declare")

    for number in range(10):
        message = aio_pika.Message(b"%d" % number, headers={"kind": "interop"},
                                   delivery_mode=aio_pika.DeliveryMode.PERSISTENT)
        await exchange.publish(message, "order.eu.placed")
    done("publish")
    done("confirm")

    try:
        await exchange.publish(aio_pika.Message(b"lost"), "nowhere", mandatory=True)
        raise SystemExit("an unroutable message was not returned")
    except aio_pika.exceptions.DeliveryError as error:
        assert error.message.body == b"lost"
    done("return")

    await channel.set_qos(prefetch_count=3)
    seen = await consume_ten(queue)
    assert sorted(seen) == [(n, n == 4) for n in range(10)], seen
    done("consume")
    done("ack")
    done("nack")
    done("cancel")

    await exchange.publish(aio_pika.Message(b"survivor"), "order.eu.placed")
    held = await queue.get()
    assert held.body == b"survivor"
    await lose_socket(connection)
    again = await queue.get(timeout=10, fail=False)
    while again is None:
        again = await queue.get(timeout=10, fail=False)
    assert again.body == b"survivor" and again.redelivered
    await again.ack()
    done("reconnect")

    await queue.delete(if_unused=False, if_empty=False)
    await connection.close()


asyncio.run(asyncio.wait_for(main(), 40))
