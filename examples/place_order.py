#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Publishes one order to the shop of examples/shop.yaml, over TLS, and waits for the confirm.

    examples/place_order.py [ROUTING-KEY [BODY]]

Logs in as "checkout" with the client certificate that `make run` has created: no password.
Needs pika (Debian: python3-pika).
"""

import pathlib
import ssl
import sys

import pika

TLS = pathlib.Path(__file__).resolve().parent.parent / "build/dev/tls"


def connect(user, port=5671):
    """A connection over TLS as the service `user`, which proves itself by its certificate."""
    context = ssl.create_default_context(cafile=TLS / "ca.pem")
    context.load_cert_chain(TLS / f"{user}.pem", TLS / f"{user}.key")
    return pika.BlockingConnection(pika.ConnectionParameters(
        "localhost", port, "shop",
        credentials=pika.credentials.ExternalCredentials(),
        ssl_options=pika.SSLOptions(context, "localhost")))


def main(key="order.eu.placed", body='{"order": 1}', port=5671):
    connection = connect("checkout", port)
    channel = connection.channel()
    channel.confirm_delivery()
    try:
        channel.basic_publish("orders", key, body,
                              pika.BasicProperties(content_type="application/json"))
    except pika.exceptions.ChannelClosedByBroker as refusal:
        sys.exit(f"refused: {refusal.reply_code} {refusal.reply_text}")
    connection.close()
    print(f"confirmed: {key}")


if __name__ == "__main__":
    main(*sys.argv[1:3])
