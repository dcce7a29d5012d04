# SPDX-License-Identifier: Apache-2.0
"""Back pressure from end to end. What waits for a consumer that does not read is bounded by the
output of its connection and leaves memory with the rest of the queue; what goes beyond the memory
mark stops publishers and never consumers; and who ignores that is not read. Whatever they do, the
broker's memory stays in bounds, and once they go on nothing is missing."""

import shutil
import socket
import ssl
import struct
import threading
import time

import pytest

from support import amqp, broker as brokers, wire

pytestmark = pytest.mark.bourse_only

MARK_MIB = 24           # of LITTLE_MEMORY
WINDOW_MIB = 0.25       # of output that a connection may have unwritten
BODY_SIZE = 16384
STALL_S = 0.5           # so long nothing moves: a peer is not read
PATIENCE_S = 60


@pytest.fixture
def start(tmp_path, authority, write_config, canaries):
    """start(options…) serves the file; its open_channel(tls=…) is a channel of a connection
    that waits longer than others, for the broker has much to do."""
    for name in ("server.pem", "server.key"):
        shutil.copy(authority.path(name), tmp_path / name)
    started = []

    def serve(**options):
        broker = brokers.Bourse(write_config(brokers.LITTLE_MEMORY, ["u"]), measured=True, **options)
        started.append(broker)

        def open_channel(tls=False, **open_options):
            if tls is True:
                tls = authority.client_context()
            connection = broker.connect(tls or None, timeout_s=PATIENCE_S)
            return connection.open(user="u", password=canaries["u"], **open_options).channel()
        broker.open_channel = open_channel
        return broker

    yield serve
    for broker in started:
        broker.stop()


def resident_mib(broker):
    if "/thread/" in brokers.binary():
        pytest.skip("under the thread sanitizer every octet has shadows that count as resident")
    with open(f"/proc/{broker.pid}/status") as status:
        line = next(line for line in status if line.startswith("VmRSS"))
    return int(line.split()[1]) / 1024


def body(number):
    return b"%08d" % number * (BODY_SIZE // 8)


def publish_confirmed(channel, exchange, key, count):
    """Publishes body(0), body(1), …, never more than 50 ahead of their confirms."""
    channel.call("confirm.select")
    confirmed = 0
    for number in range(1, count + 1):
        channel.publish(exchange, key, body(number - 1))
        while number - confirmed >= 50 or (number == count and confirmed < number):
            confirmed = channel.expect("basic.ack").delivery_tag
    channel.connection.received()


# -- consumers that do not read

# Neither of these modes has a bound of its own: no acknowledgements, or no prefetch.
@pytest.mark.parametrize("no_ack", [True, False], ids=["no-ack", "unlimited-prefetch"])
@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
def test_a_consumer_that_does_not_read_costs_its_window(start, tls, no_ack):
    count = 4000    # 62 MiB
    broker = start()
    silent, publisher = broker.open_channel(tls), broker.open_channel()
    silent.declare("q", durable=True)
    before = resident_mib(broker)
    silent.send("basic.consume", queue="q", no_ack=no_ack)
    publish_confirmed(publisher, "", "q", count)
    # As for any backlog, twice the mark may stay resident.
    assert resident_mib(broker) - before < 2 * MARK_MIB
    ready, consumers = publisher.counts("q")
    assert consumers == 1 and ready > 0
    # Nothing was dropped, and the order is the publisher's.
    silent.expect("basic.consume-ok")
    for number in range(count):
        delivery = silent.delivery()
        assert delivery.body == body(number)
        if not no_ack and number % 50 == 49:
            silent.ack(delivery.delivery_tag, multiple=True)
    silent.connection.close()
    publisher.connection.close()


def test_many_consumers_that_do_not_read_cost_a_window_each(start):
    count, silent_count = 1000, 40      # 15 MiB for each of them
    broker = start()
    publisher, attentive = broker.open_channel(), broker.open_channel()
    publisher.call("exchange.declare", exchange="all", type="fanout", durable=True)
    silent = [broker.open_channel(tls=number % 2 == 0) for number in range(silent_count)]
    before = resident_mib(broker)
    for channel in silent:
        queue = channel.temp_queue()
        channel.bind(queue, "all")
        channel.send("basic.consume", queue=queue, no_ack=True)
    queue = attentive.temp_queue()
    attentive.bind(queue, "all")
    attentive.consume(queue, no_ack=True)
    publisher_thread = threading.Thread(
        target=publish_confirmed, args=(publisher, "all", "", count))
    publisher_thread.start()
    assert all(attentive.delivery().body == body(number) for number in range(count))
    publisher_thread.join(PATIENCE_S)
    # A window that is full holds one message more, and memory may be twice what it is used for.
    output_mib = 2 * silent_count * (WINDOW_MIB + BODY_SIZE / 2**20)
    assert resident_mib(broker) - before < 2 * MARK_MIB + output_mib
    for channel in silent:
        channel.connection.drop()
    publisher.connection.close()
    attentive.connection.close()


# -- blocked publishers

@pytest.fixture
def full(start):
    """A broker without a disk, whose memory mark is passed: publishers are blocked."""
    broker = start(options=("--ephemeral",))
    channel = broker.open_channel()
    channel.declare("backlog")
    for _ in range(400):
        channel.publish("", "backlog", b"m" * 262144)
        try:
            channel.connection.expect(0, "connection.blocked", timeout_s=0.005)
            break
        except amqp.Unexpected:
            continue
    broker.filler = channel
    return broker


def relieve(broker):
    broker.open_channel().call("queue.purge", queue="backlog")


class Deaf:
    """A publisher that never listens to connection.blocked: a thread that sends and sends."""

    SIZE, COUNT = 65536, 64     # 4 MiB

    def __init__(self, channel, queue):
        self.channel, self.queue, self.sent = channel, queue, 0
        # What the kernel takes says nothing of the broker.
        channel.connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 65536)
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        for _ in range(self.COUNT):
            self.channel.publish("", self.queue, b"d" * self.SIZE)
            self.sent += 1


def wait_until_none_is_read(deaf):
    deadline = time.monotonic() + PATIENCE_S
    last = None
    while last != (now := [one.sent for one in deaf]):
        assert time.monotonic() < deadline
        last = now
        deaf[0].thread.join(STALL_S)


def test_publishers_that_ignore_connection_blocked_are_not_read(full):
    deaf_count, queue = 24, "deaf"      # together four times the mark
    taker = full.open_channel()
    taker.declare(queue)
    channels = [full.open_channel(tls=number % 3 == 0) for number in range(deaf_count)]
    before = resident_mib(full)
    deaf = [Deaf(channel, queue) for channel in channels]
    wait_until_none_is_read(deaf)
    # A socket that is read fast at first gets megabytes of buffer from the kernel, so one of them may
    # be rid of everything; together they are not.
    assert sum(one.sent for one in deaf) < deaf_count * Deaf.COUNT / 2, "they are read"
    # Each holds one message, 256 KiB that came behind it, and an unfinished message.
    held_mib = (2 * Deaf.SIZE + 256 * 1024) / 2**20
    assert resident_mib(full) - before < 2 * deaf_count * held_mib
    assert taker.counts(queue) == (0, 0)
    # Others are served meanwhile: consumers, and what is no publish.
    assert taker.get("backlog").body == b"m" * 262144
    taker.consume(queue, no_ack=True)
    relieve(full)
    for _ in range(deaf_count * Deaf.COUNT):
        assert len(taker.delivery().body) == Deaf.SIZE
    for one in deaf:
        one.thread.join(PATIENCE_S)
        assert one.sent == Deaf.COUNT
        one.channel.ping()
        # More than once, perhaps: what all of them hold is above the mark again.
        heard = one.channel.connection.received()
        assert heard[0::2] == ["connection.blocked"] * len(heard[0::2]) and heard
        assert heard[1::2] == ["connection.unblocked"] * len(heard[1::2])


# What each may hold is bounded, and so is what all of them hold, however large their messages are.
def test_what_blocked_publishers_hold_is_bounded_over_all_of_them(full):
    publisher_count, size, queue = 24, 4 << 20, "large"
    taker = full.open_channel()
    taker.declare(queue)
    channels = [full.open_channel(tls=number % 3 == 0) for number in range(publisher_count)]
    before = resident_mib(full)
    threads = [threading.Thread(target=channel.publish, args=("", queue, b"l" * size), daemon=True)
               for channel in channels]
    for thread in threads:
        thread.start()
    # Octets that nobody reads stay where they are: as soon as nothing moves any more, all who can
    # be held are.
    last = None
    while last != (now := resident_mib(full)):
        last = now
        threads[-1].join(STALL_S)
    # A quarter of the mark and the message that came last; output and input besides.
    assert now - before < 2 * (MARK_MIB / 4 + size / 2**20) < publisher_count * size / 2**20 / 4
    assert taker.counts(queue) == (0, 0)
    taker.consume(queue, no_ack=True)
    relieve(full)
    for _ in channels:
        assert taker.delivery().body == b"l" * size
    for thread, channel in zip(threads, channels):
        thread.join(PATIENCE_S)
        channel.ping()


# Both ways: the broker's heartbeats come, and the client's are heard although its publish waits.
@pytest.mark.slow
def test_acknowledgements_and_heartbeats_flow_on_a_blocked_connection(start):
    broker = start(options=("--ephemeral",))
    mixed = broker.open_channel(heartbeat=1)
    mixed.declare("work")
    mixed.declare("small")
    for number in range(100):
        mixed.publish("", "work", b"%d" % number)
    mixed.call("basic.qos", prefetch_count=1)
    mixed.consume("work")
    filler = broker.open_channel()
    filler.declare("backlog")
    mixed.connection.send_frame(wire.FRAME_HEARTBEAT, 0, b"")
    blocked = None
    for _ in range(400):
        filler.publish("", "backlog", b"m" * 262144)
        try:
            blocked = filler.connection.expect(0, "connection.blocked", timeout_s=0.005)
            break
        except amqp.Unexpected:
            mixed.connection.send_frame(wire.FRAME_HEARTBEAT, 0, b"")
    assert blocked is not None
    mixed.publish("", "small", b"held")
    mixed.connection.expect(0, "connection.blocked")
    beats = mixed.connection.heartbeats_received
    taken, until = 0, time.monotonic() + 4      # a peer is given up after two intervals
    while time.monotonic() < until:
        if taken < 100:
            delivery = mixed.delivery()
            assert delivery.body == b"%d" % taken
            mixed.ack(delivery.delivery_tag)
            taken += 1
            continue
        mixed.connection.send_frame(wire.FRAME_HEARTBEAT, 0, b"")
        mixed.connection.listen(0.4)
    assert taken == 100
    assert mixed.connection.heartbeats_received - beats >= 2
    observer = broker.open_channel()
    assert observer.counts("small") == (0, 0)
    relieve(broker)
    mixed.connection.expect(0, "connection.unblocked")
    mixed.ping()
    assert observer.counts("small") == (1, 0)


# -- output

class RecordTap:
    """A TLS client over a plain socket that sees the records. It stands where amqp.Connection
    wants an SSL context, and then where it wants the socket."""

    HEADER, APPLICATION_DATA = 5, 23

    def __init__(self, context):
        self.context, self.sizes, self.raw = context, [], bytearray()

    def wrap_socket(self, sock, server_hostname):
        self.sock, self.incoming, self.outgoing = sock, ssl.MemoryBIO(), ssl.MemoryBIO()
        self.stream = self.context.wrap_bio(self.incoming, self.outgoing,
                                            server_hostname=server_hostname)
        self._until_done(self.stream.do_handshake)
        return self

    def _send(self):
        if self.outgoing.pending:
            self.sock.sendall(self.outgoing.read())

    def _until_done(self, call, *arguments):
        while True:
            try:
                result = call(*arguments)
                self._send()
                return result
            except ssl.SSLWantReadError:
                self._send()
                data = self.sock.recv(65536)
                self._note(data)
                if data:
                    self.incoming.write(data)
                else:
                    self.incoming.write_eof()

    def _note(self, data):
        self.raw += data
        while len(self.raw) >= self.HEADER:
            kind, _version, size = struct.unpack_from(">BHH", self.raw)
            if len(self.raw) < self.HEADER + size:
                return
            if kind == self.APPLICATION_DATA:
                self.sizes.append(size)
            del self.raw[:self.HEADER + size]

    def recv(self, size):
        return self._until_done(self.stream.read, size)

    def sendall(self, data):
        self._until_done(self.stream.write, data)

    def __getattr__(self, name):
        return getattr(self.sock, name)


# A record costs an encryption, a tag and 22 octets, whatever is in it. While there is enough to
# write all but the last of a flush are full; small messages share them.
@pytest.mark.parametrize("size", [100, 3000, 100000])
def test_records_are_full_while_there_is_enough_to_write(start, authority, size):
    full_record, count = 16384, 4000000 // size
    broker = start()
    publisher = broker.open_channel()
    publisher.declare("q")
    for _ in range(count):
        publisher.publish("", "q", b"r" * size)
    assert publisher.counts("q") == (count, 0)
    tap = RecordTap(authority.client_context())
    consumer = broker.open_channel(tap)
    consumer.send("basic.consume", queue="q", no_ack=True)
    consumer.expect("basic.consume-ok")
    del tap.sizes[:]
    consumer.deliveries(count)
    octets = sum(tap.sizes)
    full = [one for one in tap.sizes if one >= full_record]
    assert max(tap.sizes) <= full_record + 17, "the rest is the type and the tag of TLS 1.3"
    assert sum(full) > 0.9 * octets, f"{len(full)} of {len(tap.sizes)} records are full"


# One basic.ack with `multiple` for what a turn has confirmed: with a window of 1,000 there are
# many publishes in a turn.
@pytest.mark.parametrize("delivery_mode", [1, 2])
def test_confirms_of_a_window_are_coalesced(start, delivery_mode):
    window, count = 1000, 20000
    broker = start()
    channel = broker.open_channel()
    channel.declare("q", durable=True)
    channel.call("confirm.select")
    publish = (wire.method_frame(channel.number, "basic.publish", routing_key="q")
               + wire.encode_frame(wire.FRAME_HEADER, channel.number,
                                   wire.encode_header(4, {"delivery_mode": delivery_mode}))
               + wire.encode_frame(wire.FRAME_BODY, channel.number, b"body"))
    sent = confirmed = acks = 0
    while confirmed < count:
        room = min(window - (sent - confirmed), count - sent)
        if room >= window // 2 or 0 < room == count - sent:
            channel.connection.send_bytes(publish * room)
            sent += room
        ack = channel.expect("basic.ack")
        assert confirmed < ack.delivery_tag <= sent
        assert ack.multiple or ack.delivery_tag == confirmed + 1
        confirmed = ack.delivery_tag
        acks += 1
    assert acks <= count / 10, f"{count} messages took {acks} acknowledgements"
    assert channel.counts("q") == (count, 0)
