# SPDX-License-Identifier: Apache-2.0
"""`bourse drain`: the messages of one broker's queue come to another, and none is lost on the way."""

import collections
import json
import os
import signal
import socket
import struct
import subprocess
import threading
import time

import pytest

from support import amqp, broker as brokers, letters

pytestmark = pytest.mark.bourse_only


def address(broker, path="/", user=""):
    return f"amqp://{user}127.0.0.1:{broker.amqp[1]}{path}"


def run(source, *words, **options):
    return brokers.run_command("drain", source, *words, **options)


@pytest.fixture(name="target", scope="module")
def fixture_target():
    with brokers.Bourse(options=["--ephemeral"]) as running:
        yield running


@pytest.fixture(name="ends")
def fixture_ends(broker, target):
    """A channel to each, a queue at each, and the words that name both."""
    source_channel, target_channel = broker.open().channel(), target.open().channel()
    queue, into = amqp.unique("old"), amqp.unique("new")
    source_channel.declare(queue, durable=True)
    target_channel.declare(into, durable=True)
    words = (address(broker, f"/{queue}"), "--target", address(target), "--to", into)
    yield source_channel, target_channel, queue, into, words
    source_channel.delete(queue)
    target_channel.delete(into)


def fill(channel, queue, count, **properties):
    for number in range(count):
        channel.publish("", queue, str(number), **properties)
    channel.ping()


def all_of(channel, queue):
    """What is ready in the queue, in order."""
    taken = []
    while (got := channel.get(queue)) is not None:
        taken.append(got)
    return taken


def test_messages_arrive_as_they_were(ends):
    source, target, queue, into, words = ends
    bodies = [b"", b"\x00\xff" * 10, b"x" * 300000]
    for body in bodies:
        source.publish("", queue, body, **letters.PROPERTIES)
    source.publish("", queue, "plain")
    done = run(*words)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "4 messages drained\n"
    got = all_of(target, into)
    assert [message.body for message in got] == bodies + [b"plain"]
    block = letters.wire.encode_header(0, letters.PROPERTIES)[12:]
    assert [message.raw_header[12:] for message in got[:3]] == [block] * 3
    assert got[3].properties == {}
    assert source.counts(queue) == (0, 0)


def test_a_dry_run_counts_and_leaves_everything(ends):
    source, target, queue, into, words = ends
    fill(source, queue, 30)
    planned = run(*words, "--dry-run", "--limit", "20", "-o", "json")
    assert json.loads(planned.stdout) == {"ready": 30, "would_drain": 20, "ready_in_target": 0}
    assert "20 messages would be drained, of 30" in run(*words, "--dry-run", "--limit", "20").stdout
    assert source.counts(queue) == (30, 0) and target.counts(into) == (0, 0)
    assert not source.get(queue).redelivered


def test_run_again_it_goes_on(ends):
    source, target, queue, into, words = ends
    fill(source, queue, 100)
    first = run(*words, "--limit", "30", "-o", "json")
    assert json.loads(first.stdout)["drained"] == 30
    assert source.counts(queue)[0] == 70
    assert run(*words, "-q").stdout == ""
    assert [int(message.body) for message in all_of(target, into)] == list(range(100))


def start(*words):
    return subprocess.Popen([brokers.binary(), "drain", *words], stdout=subprocess.PIPE,
                            stderr=subprocess.PIPE, text=True)


def wait_for(channel, queue, count):
    deadline = time.monotonic() + 20
    while channel.counts(queue)[0] < count:
        assert time.monotonic() < deadline


def test_a_killed_run_loses_nothing_and_repeats_what_was_under_way(ends):
    source, target, queue, into, words = ends
    fill(source, queue, 2000, delivery_mode=2)
    for seen in (100, 300, 600):
        process = start(*words, "--rate", "2000")
        wait_for(target, into, seen)
        process.kill()
        process.communicate()
    while source.counts(queue)[1] != 0:
        pass  # the end of the last run's connection has not been seen yet
    done = run(*words)
    assert done.returncode == 0, done.stderr
    counted = collections.Counter(int(message.body) for message in all_of(target, into))
    assert sorted(counted) == list(range(2000))
    assert source.counts(queue)[0] == 0


def test_an_interrupt_ends_it_between_two_messages(ends):
    source, target, queue, into, words = ends
    fill(source, queue, 1000)
    process = start(*words, "--rate", "200")
    wait_for(target, into, 20)
    process.send_signal(signal.SIGINT)
    _out, told = process.communicate(timeout=20)
    assert process.returncode == 1 and "run this again" in told
    run(*words)
    assert [int(message.body) for message in all_of(target, into)] == list(range(1000))


def test_following_goes_on_until_it_is_interrupted(ends):
    source, target, queue, into, words = ends
    process = start(*words, "--follow")
    fill(source, queue, 5)
    wait_for(target, into, 5)
    time_before = len(all_of(target, into))
    fill(source, queue, 3)
    wait_for(target, into, 3)
    process.send_signal(signal.SIGINT)
    out, told = process.communicate(timeout=20)
    assert process.returncode == 0, told
    assert out == "8 messages drained\n" and time_before == 5


def test_a_rate_is_kept(ends):
    source, _target, queue, _into, words = ends
    fill(source, queue, 60)
    begun = time.monotonic()
    assert run(*words, "--rate", "50").returncode == 0
    assert time.monotonic() - begun > 0.9


def test_what_a_full_target_refuses_stays_in_the_source(broker, target):
    source, target_channel = broker.open().channel(), target.open().channel()
    queue, into = amqp.unique("old"), amqp.unique("small")
    source.declare(queue)
    target_channel.declare(into, arguments={"x-max-length": 10, "x-overflow": "reject-publish"})
    fill(source, queue, 100)
    words = (address(broker, f"/{queue}"), "--target", address(target), "--to", into)
    done = run(*words)
    assert done.returncode == 1 and "make room" in done.stderr and "10 messages" in done.stdout
    source.wait_for_counts(queue, 90, 0)
    assert len(all_of(target_channel, into)) == 10
    assert [int(message.body) for message in all_of(source, queue)] == list(range(10, 100))


def test_what_no_queue_takes_stays_in_the_source(broker, target):
    source, target_channel = broker.open().channel(), target.open().channel()
    queue = amqp.unique("old")
    exchange = target_channel.temp_exchange("topic", durable=True)
    source.declare(queue)
    fill(source, queue, 10)
    words = (address(broker, f"/{queue}"), "--target", address(target), "--exchange", exchange)
    done = run(*words)
    assert done.returncode == 1 and "no queue takes" in done.stderr, done.stderr
    source.wait_for_counts(queue, 10, 0)
    # With a queue there, they keep the keys that they have.
    into = target_channel.temp_queue()
    target_channel.bind(into, exchange, "#")
    assert run(*words).returncode == 0
    assert {message.routing_key for message in all_of(target_channel, into)} == {queue}


def test_further_keys_of_a_message_send_no_copies(ends):
    source, target, queue, into, words = ends
    other = target.temp_queue()
    source.publish("", queue, "both", headers={"CC": [other]})
    source.publish("", queue, "one")
    assert run(*words).returncode == 0
    got = all_of(target, into)
    assert [message.body for message in got] == [b"both", b"one"]
    assert got[0].properties["headers"] == {"CC": [other]}
    assert target.get(other) is None
    assert target.refused("exchange.declare", 404, exchange=got[0].exchange, passive=True)


def test_a_message_in_anothers_name_is_told_or_loses_the_name(broker, serve, canaries):
    target = serve("""
        bourse: 1
        queues: {new: {}}
        users:
          u: {auth: password, password-file: u.pw, rights: {configure: "", write: ".*", read: ""}}
          v: {auth: password, password-file: v.pw, rights: {configure: "", write: "", read: ".*"}}
    """, ["u", "v"])
    source, queue = broker.open().channel(), amqp.unique("old")
    source.declare(queue)
    source.publish("", queue, "1", app_id="a")
    source.publish("", queue, "2", user_id="guest", app_id="a", headers={"h": 1})
    source.publish("", queue, "3")
    place = address(target, user="u:" + canaries["u"] + "@")
    words = (address(broker, f"/{queue}"), "--target", place, "--to", "new")
    done = run(*words)
    assert done.returncode == 1 and 'user "guest"' in done.stderr
    assert "--drop-user-id" in done.stderr and done.stdout == "1 message drained\n"
    source.wait_for_counts(queue, 2, 0)
    assert run(*words, "--drop-user-id").returncode == 0
    reader = target.connect().open(user="v", password=canaries["v"]).channel()
    got = all_of(reader, "new")
    assert [message.body for message in got] == [b"1", b"2", b"3"]
    assert got[1].properties == {"app_id": "a", "headers": {"h": 1}}


def on_a_terminal(words, **options):
    """What a command writes when standard error is a terminal, and its exit status."""
    outer, inner = os.openpty()
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=inner, **options)
    os.close(inner)
    text = b""
    while True:
        try:
            piece = os.read(outer, 65536)
        except OSError:
            break
        if not piece:
            break
        text += piece
    os.close(outer)
    return text.decode(), process.wait(20)


def test_on_a_terminal_a_bar_shows_how_far_it_is(ends):
    source, _target, queue, _into, words = ends
    fill(source, queue, 60)
    command = [brokers.binary(), "drain", *words, "--rate", "50"]
    shown, status = on_a_terminal([*command, "--limit", "30"])
    assert status == 0 and "[###" in shown and " of 30 " in shown
    assert shown.endswith("\r\x1b[K")
    shown, status = on_a_terminal([*command, "--quiet"])
    assert status == 0 and shown == ""


@pytest.mark.parametrize("words, status, told", [
    (("amqp://127.0.0.1:1/q", "--to", "x"), 69, "nobody answers there"),
    (("amqp://no.such.host.invalid/q", "--to", "x"), 69, "no such host"),
    (("127.0.0.1/q", "--to", "x"), 64, "amqp://"),
    (("amqp://127.0.0.1/", "--to", "x"), 64, "names no queue"),
    (("amqp://127.0.0.1", "--to", "x"), 64, "names no queue"),
    (("amqp://127.0.0.1/a/b/c", "--to", "x"), 64, "names no queue"),
    (("amqp://127.0.0.1/%zz", "--to", "x"), 64, "percent"),
    (("amqp://127.0.0.1:0/q", "--to", "x"), 64, "port"),
    (("amqp://127.0.0.1:70000/q", "--to", "x"), 64, "port"),
    (("amqp://[::1/q", "--to", "x"), 64, "bracket"),
    (("amqp:///q", "--to", "x"), 64, "no host"),
    (("amqp://h/q?nonsense=1", "--to", "x"), 64, "setting"),
    (("amqp://h/q?verify=maybe", "--to", "x"), 64, "verify_none"),
    (("amqp://h/q",), 64, "--to QUEUE"),
    (("amqp://h/q", "--to", "x", "--exchange", "y"), 64, "--to QUEUE"),
    (("amqp://h/q", "--to", ""), 64, "255"),
    (("amqp://h/q", "--to", "x", "--rate", "0"), 64, "--rate"),
    (("amqp://h/q", "--to", "x", "--prefetch", "20000"), 64, "10000"),
    (("amqp://h/q", "--to", "x", "--target", "http://h"), 64, "amqp://"),
    (("@/no/such/file", "--to", "x"), 1, "/no/such/file"),
    (("env:NO_SUCH_VARIABLE", "--to", "x"), 1, "NO_SUCH_VARIABLE"),
])
def test_what_is_wrong_is_told(words, status, told):
    done = run(*words)
    assert done.returncode == status, done.stderr
    assert told in done.stderr and done.stderr.count("\n") == 1


def test_names_that_are_not_there(broker, target, ends):
    _source, _target, queue, into, words = ends
    missing = run(address(broker, "/no-such-queue"), *words[1:])
    assert missing.returncode == 66 and "404" in missing.stderr and "source" in missing.stderr
    missing = run(words[0], "--target", address(target), "--to", "no-such-queue")
    assert missing.returncode == 66 and "target" in missing.stderr
    missing = run(address(broker, f"/nowhere/{queue}"), *words[1:])
    assert missing.returncode == 77 and "530" in missing.stderr
    assert into


# Each message would be there again as soon as it has gone, and the queue never empty.
@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_a_queue_is_not_drained_into_itself(broker, ends, host):
    source, _target, queue, _into, words = ends
    source.publish("", queue, "once")
    port = broker.amqp[1]
    done = run(words[0], "--target", f"amqp://{host}:{port}/", "--to", queue)
    assert done.returncode == 1 and "this is the source itself" in done.stderr and done.stdout == ""
    assert source.counts(queue) == (1, 0)


def test_a_password_shows_nowhere(broker, ends, tmp_path):
    _source, _target, queue, _into, words = ends
    wrong = address(broker, f"/{queue}", user="guest:kan%40arie@")
    done = run(wrong, *words[1:])
    assert done.returncode == 77 and "kan" not in done.stderr and "arie" not in done.stderr
    assert "amqp://guest@127.0.0.1" in done.stderr
    secret = tmp_path / "address"
    secret.write_text(address(broker, f"/{queue}", user="guest:guest@") + "\n")
    assert run(f"@{secret}", *words[1:]).returncode == 0
    named = {**os.environ, "OLD": address(broker, f"/%2F/{queue}", user="guest:guest@")}
    assert run("env:OLD", *words[1:], env=named).returncode == 0
    process = start(address(broker, f"/{queue}", user="guest:guest@"), *words[1:], "--follow")
    source = broker.open().channel()
    deadline = time.monotonic() + 20
    while source.counts(queue)[1] == 0:
        assert time.monotonic() < deadline
    with open(f"/proc/{process.pid}/cmdline") as file:
        shown = file.read()
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=20)
    assert "guest:*****@" in shown and "guest:guest" not in shown


def test_over_tls_the_source_proves_who_it_is(authority, tmp_path, target):
    file = tmp_path / "b.yaml"
    file.write_text(f"""
bourse: 1
queues: {{old: {{}}}}
users:
  u: {{auth: password, password-file: pw, rights: {{configure: ".*", write: ".*", read: ".*"}}}}
listeners:
  amqp: {{bind: "127.0.0.1:0"}}
  amqps:
    bind: "127.0.0.1:0"
    tls: {{certificate: {authority.path('server.pem')}, key: {authority.path('server.key')}}}
""")
    (tmp_path / "pw").write_text("secret\n")
    into = target.open().channel()
    queue = into.temp_queue()
    with brokers.Bourse(file, listen=("amqps",)) as source:
        channel = source.connect().open(user="u", password="secret").channel()
        fill(channel, "old", 50)
        place = f"amqps://u:secret@localhost:{source.amqps[1]}/old"
        kept = into.connection.channel()
        name = amqp.unique("kept")
        kept.declare(name)
        words = ("--target", address(target), "--to", name)
        doubted = run(place, *words)
        assert doubted.returncode == 69 and "certificate" in doubted.stderr, doubted.stderr
        trusted = run(f"{place}?cacertfile={authority.path('ca.pem')}", *words)
        assert trusted.returncode == 0, trusted.stderr
        assert kept.counts(name)[0] == 50
        fill(channel, "old", 1)
        assert run(f"{place}?verify=verify_none", *words).returncode == 0
        assert queue


def method(class_id, method_id, arguments):
    payload = struct.pack(">HH", class_id, method_id) + arguments
    return struct.pack(">BHL", 1, 0, len(payload)) + payload + b"\xce"


# Frames of 8 octets have no room for any of a body: a message would be sent in pieces of nothing
# for ever.
@pytest.mark.parametrize("frame_max", [1, 8, 4095])
def test_a_server_that_offers_frames_smaller_than_there_may_be_is_left(frame_max):
    listener = socket.create_server(("127.0.0.1", 0))

    def serve():
        peer, _ = listener.accept()
        with peer:
            peer.recv(8)
            mechanisms = struct.pack(">L", 5) + b"PLAIN" + struct.pack(">L", 5) + b"en_US"
            peer.sendall(method(10, 10, b"\x00\x09" + struct.pack(">L", 0) + mechanisms))
            peer.recv(4096)
            peer.sendall(method(10, 30, struct.pack(">HLH", 0, frame_max, 0)))
            peer.settimeout(5)
            peer.recv(4096)

    thread = threading.Thread(target=serve)
    thread.start()
    with listener:
        address = f"amqp://127.0.0.1:{listener.getsockname()[1]}/q"
        done = run(address, "--target", address, "--to", "q")
        thread.join()
    assert done.returncode == 69 and f"frames of {frame_max} octets" in done.stderr, done
