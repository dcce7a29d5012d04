#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Sends a reminder through the broker of examples/reminders.yaml, or prints those that are due.

    examples/remind.py WHEN TEXT    WHEN is 90s, 30m, 12h or 7d, or a time such as 2030-01-31T09:00
    examples/remind.py --wait [N]   prints reminders as they come; after N of them it ends

Needs pika (Debian: python3-pika).
"""

import datetime
import re
import sys
import uuid

import pika

SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def connect(port=5672):
    return pika.BlockingConnection(pika.ConnectionParameters(
        "127.0.0.1", port, "reminders", credentials=pika.PlainCredentials("reminder", "remind-me")))


def headers_for(when):
    """What tells the broker to hold a message back: a while, or until a time."""
    while_ = re.fullmatch(r"(\d+)([smhd])", when)
    if while_:
        return {"x-delay": int(while_[1]) * SECONDS[while_[2]] * 1000}
    return {"x-deliver-at": int(datetime.datetime.fromisoformat(when).timestamp() * 1000)}


def remind(channel, when, text):
    """Returns the message-id, by which the reminder can be cancelled. It is on disk then."""
    message_id = str(uuid.uuid4())
    channel.confirm_delivery()
    channel.basic_publish("reminders", "mail.me", text,
                          pika.BasicProperties(delivery_mode=2, message_id=message_id,
                                               headers=headers_for(when)))
    return message_id


def wait(channel, count):
    for number, (method, _, body) in enumerate(channel.consume("mail"), start=1):
        print(body.decode(), flush=True)
        channel.basic_ack(method.delivery_tag)
        if number == count:
            channel.cancel()
            return


def main(words, port=5672):
    connection = connect(port)
    channel = connection.channel()
    if words[:1] == ["--wait"]:
        wait(channel, int(words[1]) if len(words) > 1 else None)
    elif len(words) == 2:
        print(remind(channel, *words))
    else:
        sys.exit(__doc__)
    connection.close()


if __name__ == "__main__":
    main(sys.argv[1:])
