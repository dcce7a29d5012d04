# SPDX-License-Identifier: Apache-2.0
"""The log: one event a line, in two formats, and nothing a peer sends can forge a line."""

import fcntl
import json
import os
import re
import shlex
import subprocess
import urllib.request

import pytest

from support import amqp, broker as brokers
from support.api import Api

pytestmark = pytest.mark.bourse_only

FILE = """
    bourse: 1
    server: {{log: {{format: {format}, level: debug}}}}
    users: {{u: {{auth: password, password-file: u.pw,
                  rights: {{configure: ".*", write: ".*", read: ".*"}}}}}}
    listeners: {{amqp: {{bind: "127.0.0.1:0"}}}}
"""

FORGED = 'evil" level=error event=forged\r\n{"event": "forged"}\x1b[31m\x00\u202e'


def failing_queues(channel):
    """What a queue says of itself: a message in quarantine, a circle, and its own end."""
    name = FORGED.replace("\r\n", "")   # RabbitMQ takes line ends out of names, and so do we
    channel.declare(name, arguments={"x-delivery-limit": 0, "x-note": FORGED})
    channel.publish("", name)
    channel.nack(channel.get(name, no_ack=False).delivery_tag)
    circle = "c" + name
    channel.declare(circle, arguments={"x-message-ttl": 0, "x-dead-letter-exchange": "",
                                       "x-dead-letter-routing-key": circle, "x-expires": 50})
    channel.publish("", circle)


def busy_session(broker, canaries):
    """Something for most events: logins good and bad, errors of channel and connection, probes."""
    conn = broker.open(user="u", password=canaries["u"], properties={"connection_name": FORGED})
    channel = conn.channel()
    channel.refused("queue.declare", 404, queue=FORGED, passive=True)
    failing_queues(channel)
    broker.log.wait_for("queue.expired")
    conn.close()
    stranger = amqp.Connection(broker.amqp, source="127.0.30.1")
    stranger.read_start()
    stranger.send_start_ok(user=FORGED.replace("\0", ""), password="x")
    stranger.expect_close(403)
    amqp.Connection(broker.amqp).send_bytes(b"GET /" + FORGED.encode()[:40])
    broken = broker.open(user="u", password=canaries["u"])
    broken.send_frame(99, 1, FORGED.encode())
    broken.expect(0, "connection.close")
    broker.signal(15)
    broken.drop()
    assert broker.wait_exit() == 0


def events_of_logfmt(lines):
    for line in lines:
        fields = dict(word.split("=", 1) for word in shlex.split(line))
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", fields["time"]), line
        assert fields["level"] in ("error", "warn", "info", "debug"), line
        yield fields["event"]


def log_lines(broker):
    """Without the diagnostics of the file, which come before there is a log."""
    return [line for line in broker.log.lines if ": warning:" not in line.split("event=")[0]]


def test_logfmt_has_one_event_a_line(serve, canaries):
    broker = serve(FILE.format(format="logfmt"), ["u"])
    busy_session(broker, canaries)
    events = list(events_of_logfmt(log_lines(broker)))
    assert "forged" not in events
    assert {"connection.established", "channel.error", "connection.error", "login.refused",
            "queue.quarantined", "dead_letter.cycle", "queue.expired", "server.stopping"} <= set(events)


def test_json_has_one_object_a_line(serve, canaries):
    broker = serve(FILE.format(format="json"), ["u"])
    busy_session(broker, canaries)
    events = [json.loads(line) for line in log_lines(broker)]
    assert "forged" not in [event["event"] for event in events]
    assert all({"time", "level", "event"} <= set(event) for event in events)
    names = [event.get("client") for event in events if event["event"] == "connection.established"]
    assert any(name and name.startswith("evil") for name in names)


def test_no_control_characters_reach_the_log(serve, canaries):
    broker = serve(FILE.format(format="logfmt"), ["u"])
    busy_session(broker, canaries)
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f]", broker.log.text())


# What a peer can repeat is rate-limited: a thousand errors are not a thousand lines.
def test_what_a_peer_repeats_is_limited(serve, canaries):
    broker = serve(FILE.format(format="logfmt"), ["u"])
    channel = broker.open(user="u", password=canaries["u"]).channel()
    for _ in range(1000):
        channel.refused("queue.declare", 404, queue="gone", passive=True)
    assert len([line for line in broker.log.lines if "channel.error" in line]) < 200


def test_the_level_holds_back_what_is_below_it(serve):
    broker = serve("""
        bourse: 1
        server: {log: {level: error}}
        listeners: {amqp: {bind: "127.0.0.1:0"}}
        """)
    conn = broker.connect()
    conn.read_start()
    conn.send_start_ok(user="nobody", password="x")
    conn.expect_close(403)
    broker.signal(15)
    assert broker.wait_exit() == 0
    assert not re.search(r"level=(warn|info|debug)", broker.log.text())


# A health probe that connects and leaves is not worth a line at the usual level.
def test_probes_are_silent_at_the_usual_level():
    with brokers.Bourse() as broker:
        for _ in range(5):
            amqp.Connection(broker.amqp).drop()
        broker.open().close()
        broker.log.wait_for("connection.closed")
        assert "protocol_header" not in broker.log.text()


# The first and last lines say what the broker runs with, where it listens, and what it has done.
def test_start_and_end_are_told(serve, canaries):
    broker = serve(FILE.format(format="json"), ["u"])
    channel = broker.open(user="u", password=canaries["u"]).channel()
    channel.call("confirm.select")
    channel.declare("q")
    channel.publish("", "q", b"one", delivery_mode=2)
    channel.expect("basic.ack")
    channel.get("q")
    channel.connection.close()
    broker.signal(15)
    assert broker.wait_exit() == 0
    events = [json.loads(line) for line in log_lines(broker)]
    first = next(event for event in events if event["event"] == "server.starting")
    assert first["data_dir"] == broker.data_dir and first["flush"] == "before_confirm"
    assert first["files"].endswith(".yaml") and first["descriptors_max"] > 0
    ready = next(event for event in events if event["event"] == "server.ready")
    assert f"amqp://127.0.0.1:{broker.amqp[1]}" in ready["listening"]
    last = events[-1]
    assert last["event"] == "broker.stopped"
    assert (last["published"], last["confirmed"], last["delivered"]) == (1, 1, 1)
    assert last["internal_errors"] == 0 and last["uptime_ms"] >= 0


# F15: nobody reads. The broker loses lines, says how many, and works on.
def test_lines_that_nobody_reads_are_counted_where_it_is_looked_for():
    read_end, write_end = os.pipe()
    fcntl.fcntl(write_end, fcntl.F_SETPIPE_SZ, 4096)
    process = subprocess.Popen([brokers.binary(), "serve", "--ephemeral", "--amqp", "127.0.0.1:0",
                                "--http", "127.0.0.1:0", "--metrics", "127.0.0.1:0"],
                               stdout=subprocess.PIPE, stderr=write_end, text=True)
    os.close(write_end)
    try:
        ready = next(line for line in process.stdout if line.startswith("bourse ready:"))
        address, http_address, metrics = (
            brokers.parse_address(re.search(rf"{name}://(\S+)", ready)[1]) for name in ("amqp", "http", "metrics"))
        for _ in range(20):
            channel = amqp.Connection(address).open().channel()
            channel.declare("q")
            channel.publish("", "q", b"x")
            assert channel.get("q").body == b"x"
            channel.connection.close()
        with urllib.request.urlopen(f"http://{metrics[0]}:{metrics[1]}/metrics", timeout=10) as answer:
            counted = re.search(r"^bourse_log_lines_dropped_total (\d+)$", answer.read().decode(), re.MULTILINE)
        assert int(counted[1]) >= 20
        kinds = [item["kind"] for item in Api(http_address).found("bourse/attention")["items"]]
        assert "log_lines_dropped" in kinds
    finally:
        process.terminate()
        assert process.wait(12) == 0
        process.stdout.close()
        os.close(read_end)
