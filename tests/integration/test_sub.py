# SPDX-License-Identifier: Apache-2.0
"""Looking on: what passes an exchange or enters a queue is shown, and nothing else changes."""

import base64
import http.client
import json
import os
import signal
import socket
import subprocess
import time

import pytest

from support import broker as brokers

pytestmark = pytest.mark.bourse_only


@pytest.fixture(name="running", scope="module")
def fixture_running():
    with brokers.Bourse(listen=("amqp", "http")) as running:
        yield running


def context_of(running):
    return os.path.join(running.data_dir, "bourse.sock")


class Watcher:
    """A `bourse sub` that is under way."""

    def __init__(self, running, *words):
        self.process = subprocess.Popen(
            [brokers.binary(), "sub", *words, "--context", context_of(running)],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.log = brokers.LogReader(self.process.stderr)
        self.out = brokers.LogReader(self.process.stdout)
        self.log.wait_for("looking on")

    def messages(self, count):
        """The first so many of -o json."""
        deadline = time.monotonic() + 20
        with self.out.arrived:
            while len(self.out.lines) < count:
                assert self.out.arrived.wait(deadline - time.monotonic()), self.log.text()
        return [json.loads(line) for line in self.out.lines]

    def end(self):
        self.process.send_signal(signal.SIGINT)
        status = self.process.wait(20)
        self.log.join(5)
        self.out.join(5)
        return status


def test_what_passes_an_exchange_under_keys_that_match(running):
    channel = running.open().channel()
    exchange = channel.temp_exchange("topic")
    watcher = Watcher(running, "--exchange", exchange, "--key", "eu.#", "-o", "json")
    channel.publish(exchange, "us.one", "no")
    channel.publish(exchange, "eu.one", "first", headers={"h": 1}, message_id="m")
    channel.publish(exchange, "eu.two.three", b"\x00\xff")
    seen = watcher.messages(2)
    assert [(one["routing_key"], one["payload"], one["payload_encoding"]) for one in seen] == [
        ("eu.one", "first", "string"), ("eu.two.three", "AP8=", "base64")]
    assert seen[0]["properties"] == {"headers": {"h": 1}, "message_id": "m"}
    assert seen[0]["exchange"] == exchange and abs(seen[0]["time_ms"] / 1000 - time.time()) < 60
    assert watcher.end() == 0 and len(watcher.out.lines) == 2


def test_an_unroutable_message_stays_unroutable(running):
    channel = running.open().channel()
    exchange = channel.temp_exchange("fanout")
    watcher = Watcher(running, "--exchange", exchange, "-o", "name")
    channel.publish(exchange, "k", "x", mandatory=True)
    assert channel.expect("basic.return").reply_code == 312
    watcher.out.wait_for("^k$")
    assert watcher.end() == 0


def test_what_comes_by_another_exchange_or_as_a_dead_letter(running):
    channel = running.open().channel()
    first, second, dead = (channel.temp_exchange("fanout") for _ in range(3))
    channel.call("exchange.bind", destination=second, source=first)
    queue = channel.temp_queue(arguments={"x-dead-letter-exchange": dead})
    channel.bind(queue, second)
    watcher = Watcher(running, "--exchange", second, "-o", "json")
    mourner = Watcher(running, "--exchange", dead, "-o", "json")
    into = channel.temp_queue()
    channel.bind(into, dead)
    channel.publish(first, "k", "x")
    assert watcher.messages(1)[0]["exchange"] == first
    channel.reject(channel.get(queue, no_ack=False).delivery_tag, requeue=False)
    dead_letter = mourner.messages(1)[0]
    assert dead_letter["properties"]["headers"]["x-first-death-reason"] == "rejected"
    assert watcher.end() == 0 and mourner.end() == 0


def test_the_firehose_can_be_looked_at(running):
    context = ("--context", context_of(running))
    channel = running.open().channel()
    queue = channel.temp_queue()
    assert brokers.run_command("trace", "on", *context).returncode == 0
    watcher = Watcher(running, "--exchange", "amq.rabbitmq.trace", "-o", "name")
    channel.publish("", queue, "x")
    channel.get(queue)
    watcher.out.wait_for(r"^publish\.$")
    watcher.out.wait_for(rf"^deliver\.{queue}$")
    brokers.run_command("trace", "off", *context)
    assert watcher.end() == 0


def test_what_enters_a_queue_and_stays_there(running):
    channel = running.open().channel()
    queue = channel.temp_queue()
    watcher = Watcher(running, queue, "--count", "3", "--truncate", "4", "-o", "json")
    for number in range(5):
        channel.publish("", queue, f"body {number}")
    assert [one["payload"] for one in watcher.messages(3)] == ["body"] * 3
    assert watcher.messages(3)[0]["payload_bytes"] == 6
    assert watcher.messages(3)[0]["payload_truncated"] is True
    assert watcher.process.wait(20) == 0
    assert [channel.get(queue).redelivered for _ in range(5)] == [False] * 5


def test_the_default_exchange_and_the_forms_of_output(running):
    channel = running.open().channel()
    queue = channel.temp_queue()
    plain = Watcher(running, "--exchange", "", "--key", queue)
    table = Watcher(running, queue, "-o", "csv")
    wide = Watcher(running, queue, "-o", "wide")
    channel.publish("", queue, "two\nlines \x1b[31m", app_id="shop")
    line = plain.out.wait_for("lines")
    assert "two\\nlines \\x1b[31m" in line and queue in line
    assert table.out.wait_for("time_ms") and table.out.wait_for("two")
    assert '"app_id":"shop"' in wide.out.wait_for("shop")
    assert [one.end() for one in (plain, table, wide)] == [0, 0, 0]


def test_a_slow_reader_misses_messages_and_holds_up_nobody(running):
    channel = running.open().channel()
    queue = channel.temp_queue(arguments={"x-max-length": 1})
    with socket.socket(socket.AF_UNIX) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.connect(context_of(running))
        path = f"/api/bourse/queues/%2F/{queue}/traffic?truncate=262144"
        sock.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        assert b"begun" in sock.recv(4096)
        for number in range(100):
            channel.publish("", queue, bytes([number]) * 200000)
        channel.ping()
        text = b""
        sock.settimeout(20)
        while b'"missed"' not in text:
            text += sock.recv(1 << 20)
    assert channel.counts(queue) == (1, 0)


def test_the_rights_that_a_client_would_need(serve):
    running = serve("""
        bourse: 1
        exchanges: {orders: {type: topic}, secret: {}}
        queues: {mine: {}, yours: {}}
        users:
          eu:
            auth: password
            password-file: eu.pw
            role: operator
            rights: {configure: "", write: "", read: "^(orders|mine)$",
                     topics: {orders: {read: "^eu", write: ".*"}}}
          boss: {auth: password, password-file: boss.pw, role: admin}
          guest: {auth: password, password-file: guest.pw, role: monitor, rights: {configure: "", write: "", read: ".*"}}
    """, ["eu", "boss", "guest"], listen=("amqp", "http"))
    def ask(user, path):
        connection = http.client.HTTPConnection(*running.addresses["http"][0], timeout=10)
        with open(os.path.join(os.path.dirname(str(running.config)), f"{user}.pw")) as file:
            password = file.read().strip()
        token = base64.b64encode(f"{user}:{password}".encode()).decode()
        connection.request("GET", path, headers={"Authorization": f"Basic {token}"})
        answer = connection.getresponse()
        first = answer.readline() if answer.status == 200 else answer.read()
        connection.close()
        return answer.status, first

    base = "/api/bourse"
    assert ask("eu", f"{base}/exchanges/%2F/orders/traffic?key=eu.%23") == (
        200, b'{"event":"begun"}\n')
    assert ask("eu", f"{base}/exchanges/%2F/orders/traffic")[0] == 401
    assert ask("eu", f"{base}/exchanges/%2F/secret/traffic")[0] == 401
    assert ask("eu", f"{base}/queues/%2F/mine/traffic")[0] == 200
    assert ask("eu", f"{base}/queues/%2F/yours/traffic")[0] == 401
    assert ask("guest", f"{base}/queues/%2F/mine/traffic")[0] == 401
    assert ask("eu", f"{base}/queues/%2F/mine/traffic?truncate=999999999")[0] == 400
    assert ask("eu", f"{base}/queues/%2F/mine/traffic?encoding=x")[0] == 400


# Who may operate no more sees no more, however long ago the looking began.
def test_it_ends_when_the_role_is_taken_away(serve):
    running = serve("""
        bourse: 1
        queues: {mine: {}}
        users: {boss: {auth: password, password-file: boss.pw, role: admin}}
    """, ["boss"], listen=("amqp", "http"))
    with open(os.path.join(os.path.dirname(str(running.config)), "boss.pw")) as file:
        boss = file.read().strip()

    def ask(user, password, method, path, body=None):
        connection = http.client.HTTPConnection(*running.addresses["http"][0], timeout=15)
        token = base64.b64encode(f"{user}:{password}".encode()).decode()
        connection.request(method, path, body, {"Authorization": f"Basic {token}",
                                                "Content-Type": "application/json"})
        return connection.getresponse()

    rights = '{"configure": ".*", "write": ".*", "read": ".*"}'
    assert ask("boss", boss, "PUT", "/api/users/eye", '{"password": "p", "tags": "management"}').status == 201
    assert ask("boss", boss, "PUT", "/api/permissions/%2F/eye", rights).status == 201
    watching = ask("eye", "p", "GET", "/api/bourse/queues/%2F/mine/traffic")
    assert watching.readline() == b'{"event":"begun"}\n'
    assert ask("boss", boss, "PUT", "/api/users/eye", '{"password": "p", "tags": "monitoring"}').status == 204
    assert b"no role" in watching.readline()


def test_it_ends_when_the_queue_is_gone(running):
    channel = running.open().channel()
    channel.declare("short-lived")
    watcher = Watcher(running, "short-lived", "-o", "json")
    channel.publish("", "short-lived", "x")
    watcher.messages(1)
    channel.delete("short-lived")
    assert watcher.process.wait(20) == 1
    assert "no queue 'short-lived'" in watcher.log.wait_for("before the end")


def test_it_ends_with_the_broker(serve):
    running = serve()
    running.open().channel().declare("q")
    watcher = Watcher(running, "q", "-o", "json")
    running.stop()
    running.stop = lambda: None
    assert watcher.process.wait(20) in (1, 69)  # its last word may not get through any more
    assert watcher.log.wait_for("before the end|broke off")


def test_there_is_room_for_so_many_and_no_more(running):
    channel = running.open().channel()
    queue = channel.temp_queue()
    watchers = [Watcher(running, queue) for _ in range(16)]
    refused = brokers.run_command("sub", queue, "--context", context_of(running))
    assert refused.returncode == 1 and "as many as may" in refused.stderr
    assert [watcher.end() for watcher in watchers] == [0] * 16
    deadline = time.monotonic() + 20
    while True:
        channel.ping()
        try:
            watcher = Watcher(running, queue)
            break
        except AssertionError:
            assert time.monotonic() < deadline
    assert watcher.end() == 0


@pytest.mark.parametrize("words, status, told", [
    ((), 64, "QUEUE, or --exchange"), (("q", "--exchange", "x"), 64, "QUEUE, or --exchange"),
    (("q", "--key", "k"), 64, "--exchange"), (("q", "--count", "0"), 64, "--count"),
    (("q", "--truncate", "x"), 64, "262144"), (("no-such-queue",), 66, "no queue"),
    (("--exchange", "no-such-exchange"), 66, "no exchange"),
    (("--exchange", "x", "--key", "k" * 256), 1, "255"),
])
def test_what_is_wrong_is_told(running, words, status, told):
    done = brokers.run_command("sub", *words, "--context", context_of(running))
    assert done.returncode == status and told in done.stderr, done.stderr


def test_names_are_not_mixed_up_between_virtual_hosts(running):
    context = ("--context", context_of(running))
    assert brokers.run_command("vhost", "add", "other", *context).returncode == 0
    brokers.run_command("queue", "declare", "same", "--vhost", "other", *context)
    channel = running.open().channel()
    channel.declare("same")
    watcher = Watcher(running, "same", "--vhost", "other", "-o", "json")
    channel.publish("", "same", "elsewhere")
    channel.ping()
    brokers.run_command("publish", "", "same", "here", "--vhost", "other", *context)
    assert [one["payload"] for one in watcher.messages(1)] == ["here"]
    assert watcher.end() == 0
