#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The whole story in a few seconds: orders over TLS, a copy for every queue that asked for one.

    tools/demo.py BOURSE

Starts a broker of its own, on free ports, with the shop of examples/shop.yaml and one more user,
"auditor", who may look at every queue. Everything is checked on the way: the exit status is 0 only
if it all came out as told.
"""

import pathlib
import re
import shutil
import ssl
import subprocess
import sys
import time

import pika

ROOT = pathlib.Path(__file__).resolve().parent.parent
TLS = ROOT / "build/dev/tls"
DIRECTORY = ROOT / "build/demo"
AUDITOR = ("  auditor: {auth: password, password-file: secrets/auditor,"
           ' rights: {write: "^amq\\\\.direct$", read: ".*"}}\n')

ORDERS = [("order.eu.placed", "three books"), ("order.us.placed", "a lamp"),
          ("order.eu.placed", "a bicycle"), ("order.jp.placed", "green tea")]
QUEUES = ["billing", "warehouse", "mail", "analytics", "orders.unrouted", "dlq"]
EXPECTED = {"billing": 3, "warehouse": 5, "mail": 4, "analytics": 4, "orders.unrouted": 0, "dlq": 1}


def prepare():
    """Certificates, passwords, the shop's file with the auditor in it, and nothing of a run before."""
    shutil.rmtree(DIRECTORY / "data", ignore_errors=True)
    subprocess.run([ROOT / "tools/dev-certs", TLS, "checkout", "billing", "warehouse"], check=True)
    subprocess.run([ROOT / "tools/dev-secrets", ROOT / "build/dev/secrets", "mailer", "oncall"],
                   check=True)
    subprocess.run([ROOT / "tools/dev-secrets", DIRECTORY / "secrets", "auditor"], check=True)
    shop = (ROOT / "examples/shop.yaml").read_text()
    shop = shop.replace("../build/dev/", "../dev/").replace("\nusers:\n", "\nusers:\n" + AUDITOR)
    (DIRECTORY / "shop.yaml").write_text(shop)


class Broker:
    """A broker on free ports of loopback."""

    def __init__(self, bourse):
        self.log = open(DIRECTORY / "log", "wb")
        self.process = subprocess.Popen(
            [bourse, "serve", DIRECTORY / "shop.yaml", "--amqp", "127.0.0.1:0",
             "--amqps", "127.0.0.1:0", "--https", "off", "--metrics", "off",
             "--data-dir", DIRECTORY / "data"],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=self.log, text=True)
        line = self.process.stdout.readline()
        while line and not line.startswith("bourse ready:"):
            line = self.process.stdout.readline()
        if not line:
            sys.exit(f"the broker did not start:\n{(DIRECTORY / 'log').read_text()}")
        self.port = {scheme: int(port)
                     for scheme, port in re.findall(r"(amqps?)://\S+:(\d+)", line)}

    def __enter__(self):
        return self

    def __exit__(self, *_error):
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.log.close()

    def _connect(self, credentials, certificate_of=None):
        context = ssl.create_default_context(cafile=TLS / "ca.pem")
        if certificate_of:
            context.load_cert_chain(TLS / f"{certificate_of}.pem", TLS / f"{certificate_of}.key")
        return pika.BlockingConnection(pika.ConnectionParameters(
            "localhost", self.port["amqps"], "shop", credentials=credentials,
            ssl_options=pika.SSLOptions(context, "localhost")))

    def service(self, name):
        """Logs in by client certificate."""
        return self._connect(pika.credentials.ExternalCredentials(), name)

    def person(self, name, secret):
        """Logs in by password."""
        return self._connect(pika.PlainCredentials(name, secret.read_text().strip()))


def say(text):
    print(text, flush=True)


def expect(what, value, expected):
    if value != expected:
        sys.exit(f"demo: {what}: {value!r} instead of {expected!r}")


def place_orders(broker):
    connection = broker.service("checkout")
    channel = connection.channel()
    channel.confirm_delivery()
    for key, what in ORDERS:
        channel.basic_publish("orders", key, what, pika.BasicProperties(delivery_mode=2),
                              mandatory=True)
        say(f"  checkout places {what:12} as {key}: confirmed")
    try:
        channel.basic_publish("orders", "order.eu.paid", "not mine to say")
        sys.exit("demo: checkout was allowed to publish order.eu.paid")
    except pika.exceptions.ChannelClosedByBroker as refusal:
        expect("reply code", refusal.reply_code, 403)
        say(f"  checkout may not say order.eu.paid: {refusal.reply_code}")
    connection.close()


def take(channel, queue):
    """The next message of `queue`, not yet acknowledged; the others stay where they are."""
    method, _properties, body = channel.basic_get(queue)
    if method is None:
        sys.exit(f"demo: nothing waits in {queue}")
    return method, body.decode()


def work(broker):
    """billing takes two orders: one it can bill, one it rejects. Then it says what was paid."""
    connection = broker.service("billing")
    channel = connection.channel()
    method, body = take(channel, "billing")
    channel.basic_ack(method.delivery_tag)
    channel.confirm_delivery()
    channel.basic_publish("orders", "order.eu.paid", f"paid: {body}")
    say(f"  billing acknowledges {body!r} and publishes order.eu.paid")
    method, body = take(channel, "billing")
    channel.basic_reject(method.delivery_tag, requeue=False)
    say(f"  billing rejects {body!r}, which goes to dlq")
    connection.close()


def read_mail(broker):
    connection = broker.person("mailer", ROOT / "build/dev/secrets/mailer")
    channel = connection.channel()
    method, body = take(channel, "mail")
    channel.basic_ack(method.delivery_tag)
    say(f"  mailer, by password, acknowledges {body!r}")
    connection.close()


def publish_nowhere(channel):
    """No queue is bound to amq.direct: a mandatory message comes back, and is confirmed."""
    channel.confirm_delivery()
    try:
        channel.basic_publish("amq.direct", "nobody", "hello?", mandatory=True)
        sys.exit("demo: a mandatory message without a queue was not returned")
    except pika.exceptions.UnroutableError as error:
        returned = error.messages[0].method
        expect("returned with", (returned.reply_code, returned.reply_text), (312, "NO_ROUTE"))
        say(f"  auditor publishes to nobody: returned, {returned.reply_code} {returned.reply_text}")


def depths(channel):
    """Messages waiting in each queue; a passive declare changes nothing."""
    return {queue: channel.queue_declare(queue, passive=True).method.message_count
            for queue in QUEUES}


def overview(copies, rejected, left):
    say(f"\n  {'queue':16} {'copies':>7} {'acked':>7} {'rejected':>9} {'waiting':>8}")
    total = [0, 0, 0, 0]
    for queue in QUEUES:
        refused = rejected.get(queue, 0)
        row = [copies[queue], copies[queue] - refused - left[queue], refused, left[queue]]
        total = [sum(pair) for pair in zip(total, row)]
        say(f"  {queue:16} {row[0]:7} {row[1]:7} {row[2]:9} {row[3]:8}")
    say(f"  {'all':16} {total[0]:7} {total[1]:7} {total[2]:9} {total[3]:8}")


def main():
    started = time.monotonic()
    DIRECTORY.mkdir(parents=True, exist_ok=True)
    prepare()
    with Broker(sys.argv[1]) as broker:
        say(f"A broker with the shop of examples/shop.yaml; TLS on port {broker.port['amqps']}.")
        place_orders(broker)
        auditor = broker.person("auditor", DIRECTORY / "secrets/auditor")
        channel = auditor.channel()
        copies = depths(channel)
        say("  copies: " + ", ".join(f"{count} in {queue}" for queue, count in copies.items()))
        work(broker)
        copies["warehouse"] += 1  # order.eu.paid
        copies["dlq"] += 1  # what was rejected
        read_mail(broker)
        publish_nowhere(channel)
        left = depths(channel)
        auditor.close()
    expect("copies", copies, EXPECTED)
    expect("waiting", left, {**EXPECTED, "billing": 1, "mail": 3})
    overview(copies, {"billing": 1}, left)
    say(f"\n{len(ORDERS) + 1} messages routed, 1 rejected, 1 returned, 1 publish refused;"
        f" all as told, in {time.monotonic() - started:.1f} s.")


if __name__ == "__main__":
    main()
