# SPDX-License-Identifier: Apache-2.0
"""What strangers and greedy clients can cost: deadlines, connections, memory, descriptors."""

import gzip
import resource
import select
import signal
import socket
import struct
import subprocess
import threading
import time

import pytest

from support import amqp, broker as brokers, wire

pytestmark = pytest.mark.bourse_only


@pytest.fixture
def own_broker():
    """A broker in development mode for tests that misuse it; own_broker(**options) starts it."""
    started = []

    def start(**options):
        started.append(brokers.Bourse(**options))
        return started[-1]

    yield start
    for one in started:
        one.stop()


def cpu_seconds(broker):
    with open(f"/proc/{broker.pid}/stat") as stat:
        fields = stat.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100


def resident_mib(broker):
    if "/thread/" in brokers.binary():
        pytest.skip("under the thread sanitizer every octet has shadows that count as resident")
    with open(f"/proc/{broker.pid}/status") as status:
        line = next(line for line in status if line.startswith("VmRSS"))
    return int(line.split()[1]) / 1024


def dribble(sock, data, until):
    """One octet every 300 ms: always alive, never done."""
    for octet in data:
        if time.monotonic() > until:
            return
        try:
            sock.sendall(bytes([octet]))
        except OSError:
            return
        yield


# T3: the deadlines are absolute; a byte now and then does not move them. F18: clients that do not
# answer the close of a stopping broker hold it up for ten seconds at most. Both at once, because
# both take their time.
@pytest.mark.slow
def test_deadlines_of_handshakes_and_of_stopping(broker, shop_broker, shop, own_broker):
    stopping = own_broker()
    unanswering = stopping.open()
    stopping.signal(signal.SIGTERM)
    started = time.monotonic()
    unanswering.expect(0, "connection.close")
    stopping.signal(signal.SIGHUP)  # there is nothing to read again any more
    silent, slow = (socket.create_connection(broker.amqp) for _ in range(2))
    greeted, tuned = (amqp.Connection(broker.amqp) for _ in range(2))
    greeted.read_start()
    tuned.login()
    watched = {"silent": silent, "greeted": greeted.sock, "tuned": tuned.sock, "slow": slow,
               "no tls": socket.create_connection(shop_broker.amqps),
               "tls only": shop_broker.connect(shop.tls()).sock,
               "stopping": unanswering.sock}
    ended = watch(watched, dribble(slow, SLOW_HELLO, started + 14), started)
    assert 4 <= ended.pop("no tls") <= 7, ended
    assert 7 <= ended.pop("stopping") <= 10, ended
    assert set(ended) == set(watched) - {"no tls", "stopping"}, ended
    assert all(9 <= after <= 12.5 for after in ended.values()), ended
    assert stopping.wait_exit(2) == 0
    assert "event=broker.stopped" in stopping.log.text()
    assert "config.reload" not in stopping.log.text()


SLOW_HELLO = wire.PROTOCOL_HEADER + wire.method_frame(
    0, "connection.start-ok", client_properties={"x": "y" * 200}, mechanism="PLAIN",
    response=b"\0guest\0guest", locale="en_US")


def watch(watched, dripping, started):
    """When each socket ended, in seconds since `started`."""
    ended = {}
    for sock in watched.values():
        sock.settimeout(0.05)
    while len(ended) < len(watched) and time.monotonic() < started + 14:
        next(dripping, None)
        for name, sock in watched.items():
            if name not in ended and is_over(sock):
                ended[name] = time.monotonic() - started
    for sock in watched.values():
        sock.close()
    return ended


def is_over(sock):
    """Reads what is there; true at the end of the socket."""
    try:
        return sock.recv(4096) == b""
    except (TimeoutError, BlockingIOError):
        return False
    except OSError:
        return True


def accepted(address, source, count):
    """That many silent connections from one source address; those that stay open for a moment."""
    conns = [socket.create_connection(address, source_address=(source, 0)) for _ in range(count)]
    time_left = time.monotonic() + 1.0
    kept = []
    for conn in conns:
        conn.settimeout(max(0.01, min(0.1, time_left - time.monotonic())))
        (conn.close if is_over(conn) else lambda conn=conn: kept.append(conn))()
    return kept


# T4: one source may have 64 connections that have not logged in.
def test_a_source_may_have_64_connections_before_login(own_broker):
    broker = own_broker()
    kept = accepted(broker.amqp, "127.0.7.1", 80)
    assert len(kept) == 64
    # Others, and those that are logged in, do not count.
    other = amqp.Connection(broker.amqp, source="127.0.7.2").open()
    kept.pop().close()
    logged_in = None
    for _ in range(50):
        try:
            logged_in = amqp.Connection(broker.amqp, source="127.0.7.1").open()
            break
        except (amqp.Closed, OSError):
            continue
    assert logged_in is not None and other.is_alive()
    for conn in kept:
        conn.close()


# T4: the cap on all of them keeps descriptors for clients that are logged in. Those above it wait
# in the kernel's backlog.
def test_strangers_cannot_take_every_descriptor(own_broker):
    broker = own_broker(limits={resource.RLIMIT_NOFILE: 256})
    client = broker.open()
    strangers = [socket.create_connection(broker.amqp, source_address=(f"127.0.8.{1 + n // 20}", 0))
                 for n in range(200)]
    for sock in strangers:
        sock.sendall(wire.PROTOCOL_HEADER)
    assert client.is_alive()
    greeted = select.select(strangers, [], [], 0.5)[0]
    assert 16 <= len(greeted) <= 64, "an eighth of the descriptors is 32"
    assert client.is_alive()
    for sock in strangers:
        sock.close()
    amqp.Connection(broker.amqp).open().close()


# F8: without descriptors the broker neither spins nor forgets those it has.
@pytest.mark.slow
def test_running_out_of_descriptors(own_broker):
    broker = own_broker(limits={resource.RLIMIT_NOFILE: 64})
    clients = []
    for number in range(80):
        try:
            conn = amqp.Connection(broker.amqp, source=f"127.0.9.{number + 1}", timeout_s=1)
            clients.append(conn.open())
        except (amqp.Closed, amqp.Unexpected, OSError):
            break
    assert 20 <= len(clients) < 64
    waiting = [socket.create_connection(broker.amqp) for _ in range(20)]
    before = cpu_seconds(broker)
    assert all(conn.is_alive() for conn in clients)
    quiet_until = time.monotonic() + 1
    while time.monotonic() < quiet_until:
        clients[0].is_alive()
        time.sleep(0.05)
    assert cpu_seconds(broker) - before < 0.7, "it spins on accept"
    for conn in waiting:
        conn.close()
    for conn in clients[1:]:
        conn.close()
    amqp.Connection(broker.amqp).open().close()
    assert clients[0].is_alive()


# F8, CVE-2017-7652 of another broker: a reload without descriptors must not fall back to anything.
def test_a_reload_without_descriptors_keeps_the_configuration(serve, canaries):
    broker = serve("""
        bourse: 1
        users: {u: {auth: password, password-file: u.pw,
                    rights: {configure: "", write: "", read: ""}}}
        listeners: {amqp: {bind: "127.0.0.1:0"}}
        """, passwords=["u"], limits={resource.RLIMIT_NOFILE: 64})
    clients = []
    for _ in range(80):
        try:
            conn = amqp.Connection(broker.amqp, timeout_s=1)
            clients.append(conn.open(user="u", password=canaries["u"]))
        except (amqp.Closed, amqp.Unexpected, OSError):
            break
    broker.reload(r"config\.reload")
    clients.pop().close()
    clients.pop().close()
    conn = amqp.Connection(broker.amqp)
    conn.read_start()
    conn.send_start_ok()                        # guest is no user of this file
    conn.expect_close(403)
    amqp.Connection(broker.amqp, source="127.0.9.200").open(user="u",
                                                            password=canaries["u"]).close()
    for client in clients:
        client.drop()


# T2, Mosquitto's CVEs: nothing is reserved for what a stranger only claims.
def test_claimed_sizes_cost_nothing(own_broker):
    broker = own_broker(measured=True)
    broker.open().close()
    before = resident_mib(broker)
    conns = []
    for number in range(60):
        conn = amqp.Connection(broker.amqp, source="127.0.10.1")
        conn.read_start()
        conn.send_bytes(struct.pack(">BHI", 1, 0, 8000) + b"\0\x0a\0\x0b\xff\xff\xff\xff")
        conns.append(conn)
    assert resident_mib(broker) - before < 20
    for conn in conns:
        conn.drop()


# T9: bodies that are announced and never finished are bounded by the connection, and hurt nobody.
def test_unfinished_bodies_on_many_channels_are_bounded(own_broker):
    broker = own_broker()
    bystander = broker.open().channel()
    queue = bystander.temp_queue()
    conn = broker.open()
    sent = 0
    conn.sock.settimeout(1)
    try:
        for number in range(1, 31):
            conn.channel(number)
            conn.send_bytes(wire.method_frame(number, "basic.publish", routing_key=queue)
                            + wire.encode_frame(wire.FRAME_HEADER, number,
                                                wire.encode_header(16 * 2**20)))
        for _turn in range(60):
            for number in range(1, 31):
                conn.send_frame(wire.FRAME_BODY, number, b"x" * 131064)
                sent += 131064
    except (OSError, amqp.Closed, amqp.Unexpected):
        pass
    assert sent < 120 * 2**20, "the budget of a connection is 64 MiB"
    bystander.publish("", queue, b"undisturbed")
    assert bystander.get(queue).body == b"undisturbed"
    conn.drop()
    bystander.connection.close()


# What waits for a client that does not read is bounded: it is not read either until it reads.
def test_answers_that_nobody_reads_are_bounded(own_broker):
    broker = own_broker(measured=True)
    channel = broker.open().channel()
    before = resident_mib(broker)
    count, sent = 400, [0]

    def send():
        for _ in range(count):
            channel.publish("", "no-such-queue", b"r" * 262144, mandatory=True)
            sent[0] += 1

    channel.connection.sock.settimeout(30)
    sender = threading.Thread(target=send)
    sender.start()
    last = -1
    while last != sent[0]:      # until it stalls, because the broker has stopped reading
        last = sent[0]
        sender.join(0.5)
    assert sent[0] < count, "100 MiB of returns were taken in"
    assert resident_mib(broker) - before < 60
    for _ in range(count):
        assert len(channel.expect("basic.return", timeout_s=10).body) == 262144
    sender.join()


# T7: a table is checked where it lies; what it would be as a tree does not matter.
def test_tables_of_many_tiny_fields_cost_their_octets(own_broker):
    broker = own_broker(measured=True)
    channel = broker.open().channel()
    queue = channel.temp_queue()
    before = resident_mib(broker)
    headers = {"list": wire.Typed("A", [None] * 4000)}
    for _ in range(100):
        channel.publish("", queue, b"x", headers=headers)
    channel.ping()
    assert resident_mib(broker) - before < 10, "the octets are 400 KiB"
    assert len(channel.get(queue).properties["headers"]["list"]) == 4000


# T28: content encodings are the clients' business; nothing is ever inflated.
def test_compressed_bodies_pass_untouched(ch):

    bomb, queue = gzip.compress(bytes(10_000_000)), ch.temp_queue()
    ch.publish("", queue, bomb, content_encoding="gzip")
    got = ch.get(queue)
    assert got.body == bomb and got.properties == {"content_encoding": "gzip"}


# T10: many of everything on one connection; the only limit that is on by default is on channels.
def test_many_channels_consumers_queues_and_bindings(broker):
    conn = broker.open()
    channels = [conn.channel(number) for number in range(1, 201)]
    queues = [channel.temp_queue() for channel in channels]
    for channel, queue in zip(channels, queues):
        channel.bind(queue, "amq.topic", f"many.{queue}.#")
        for _ in range(5):
            channel.consume(queue, no_ack=True)
    channels[0].publish("amq.topic", f"many.{queues[150]}.x", b"found")
    assert channels[150].delivery().body == b"found"
    conn.close()


# A loopback-only user is judged by the address of the peer, not of the listener.
def test_guest_is_accepted_from_loopback_only(own_broker):
    outside = own_address()
    if outside is None:
        pytest.skip("this machine has no address but loopback")
    broker = own_broker(listen=(), options=["--amqp", "0.0.0.0:0"])
    port = broker.addresses["amqp"][0][1]
    amqp.Connection(("127.0.0.1", port)).open().close()
    conn = amqp.Connection((outside, port))
    conn.read_start()
    conn.send_start_ok()
    conn.expect_close(403,
                      "ACCESS_REFUSED - Login was refused using authentication mechanism PLAIN. "
                      "For details see the broker logfile.")


def own_address():
    """An address of this machine that is not loopback, or None. Nothing is sent to it."""
    words = subprocess.run(["hostname", "-I"], capture_output=True, text=True, check=False).stdout
    return next((word for word in words.split() if "." in word and not word.startswith("127.")),
                None)


# T6: checking passwords is work for two threads of their own; the others' messages go on meanwhile.
def test_a_storm_of_wrong_passwords_does_not_stop_messages(own_broker):
    broker = own_broker()
    bystander = broker.open().channel()
    queue = bystander.temp_queue()
    guessers = []
    for number in range(100):
        conn = amqp.Connection(broker.amqp, source=f"127.0.11.{number + 1}", timeout_s=15)
        conn.read_start()
        conn.send_start_ok(user=f"user{number}", password="guess")
        guessers.append(conn)
    slowest = 0
    for number in range(100):
        started = time.monotonic()
        bystander.publish("", queue, b"x")
        assert bystander.get(queue)
        slowest = max(slowest, time.monotonic() - started)
    assert slowest < 1
    for conn in guessers:
        conn.drop()
    bystander.connection.close()


# Reconnecting with the right password is cheap: verified credentials are remembered for a while.
def test_a_reconnect_storm_costs_one_password_check(serve, canaries):
    broker = serve("""
        bourse: 1
        users: {u: {auth: password, password-file: u.pw,
                    rights: {configure: "", write: "", read: ""}}}
        listeners: {amqp: {bind: "127.0.0.1:0"}}
        """, passwords=["u"])
    broker.open(user="u", password=canaries["u"]).close()
    before = cpu_seconds(broker)
    for _ in range(100):
        amqp.Connection(broker.amqp).open(user="u", password=canaries["u"]).close()
    assert cpu_seconds(broker) - before < 3, "one scrypt costs about 0.3 s, a hundred 30 s"
