# SPDX-License-Identifier: Apache-2.0
"""A small AMQP 0-9-1 client on a blocking socket, for tests that look at single frames.

It does nothing behind the test's back: no heartbeats, no automatic close-ok, no retries. What is
received is sorted by channel; `expect` takes the next method of one channel and says clearly what
came instead. Every wait ends after TIMEOUT_S at the latest.
"""

import collections
import itertools
import socket
import ssl
import struct
import time

from . import wire

TIMEOUT_S = 5.0
CAPABILITIES = {"authentication_failure_close": True, "consumer_cancel_notify": True,
                "connection.blocked": True, "basic.nack": True, "publisher_confirms": True}

_names = itertools.count(1)


def unique(prefix):
    """A name that no other test of this run uses."""
    return f"{prefix}-{next(_names)}"


class Closed(AssertionError):
    """The broker closed the socket."""


class Unexpected(AssertionError):
    """Another method came, or none in time."""


def reply_names(name):
    """The methods that answer `name`."""
    if name == "basic.get":
        return ("basic.get-ok", "basic.get-empty")
    return (name + "-ok",)


class Connection:
    """One connection. `open()` logs in; before that, the pieces of the handshake are at hand."""

    def __init__(self, address, tls=None, server_hostname="localhost", timeout_s=TIMEOUT_S,
                 source=None, prefix=b""):
        """`source` is the loopback address to connect from, such as "127.0.0.9"; `prefix` is sent
        before anything else, TLS included: what a proxy says first."""
        self.timeout_s = timeout_s
        self.sock = socket.create_connection(address, timeout=timeout_s,
                                             source_address=(source, 0) if source else None)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock.sendall(prefix)
        if tls is not None:
            self.sock = tls.wrap_socket(self.sock, server_hostname=server_hostname)
        self.buffer = bytearray()
        self.pending = collections.defaultdict(collections.deque)
        self.unfinished = {}
        self.heartbeats_received = 0
        self.frame_max = 131072
        self.channel_max = 2047
        self.server_properties = {}
        self.mechanisms = []
        self.frames_received = []

    # -- bytes and frames

    def send_bytes(self, data):
        self.sock.sendall(data)

    def send_frame(self, kind, channel, payload, end=wire.FRAME_END):
        self.send_bytes(wire.encode_frame(kind, channel, payload, end))

    def send(self, channel, name, **arguments):
        self.send_bytes(wire.method_frame(channel, name, **arguments))

    def _fill(self, deadline):
        left_s = deadline - time.monotonic()
        if left_s <= 0:
            raise TimeoutError("nothing more came in time")
        self.sock.settimeout(left_s)
        try:
            data = self.sock.recv(65536)
        except (ConnectionError, ssl.SSLError) as error:
            raise Closed(f"socket lost: {error}") from error
        finally:
            if self.sock.fileno() != -1:
                self.sock.settimeout(self.timeout_s)
        if not data:
            raise Closed("the broker closed the socket")
        self.buffer += data

    def listen(self, seconds):
        """Reads what comes for that long: heartbeats are counted, methods left in `pending`."""
        deadline = time.monotonic() + seconds
        try:
            while True:
                self._read_event(max(0.0, deadline - time.monotonic()))
        except TimeoutError:
            return

    def read_exactly(self, count, timeout_s=None):
        deadline = time.monotonic() + (timeout_s or self.timeout_s)
        while len(self.buffer) < count:
            self._fill(deadline)
        data = bytes(self.buffer[:count])
        del self.buffer[:count]
        return data

    def read_frame(self, timeout_s=None):
        """(type, channel, payload) of the next frame, whatever it is."""
        deadline = time.monotonic() + (self.timeout_s if timeout_s is None else timeout_s)
        while True:
            if len(self.buffer) >= 7:
                kind, channel, size = struct.unpack_from(">BHI", self.buffer)
                if size > self.frame_max - 8 and size > 131072 - 8:
                    raise wire.Malformed(f"frame of {size} octets")
                if len(self.buffer) >= size + 8:
                    break
            self._fill(deadline)
        payload = bytes(self.buffer[7:7 + size])
        if self.buffer[7 + size] != wire.FRAME_END:
            raise wire.Malformed("frame without its end octet")
        del self.buffer[:size + 8]
        return kind, channel, payload

    def _read_event(self, timeout_s):
        kind, channel, payload = self.read_frame(timeout_s)
        if kind == wire.FRAME_HEARTBEAT:
            if channel != 0 or payload:
                raise wire.Malformed("a heartbeat is empty and on channel 0")
            self.heartbeats_received += 1
        elif kind == wire.FRAME_METHOD:
            if channel in self.unfinished:
                raise wire.Malformed("a method interrupts a content on its channel")
            method = wire.decode_method(payload)
            if method.spec.has_content:
                self.unfinished[channel] = (method, None, b"")
            else:
                self.pending[channel].append(method)
        else:
            self._add_content(kind, channel, payload)

    def _add_content(self, kind, channel, payload):
        if channel not in self.unfinished:
            raise wire.Malformed("content without a method")
        method, size, body = self.unfinished[channel]
        if kind == wire.FRAME_HEADER:
            if size is not None:
                raise wire.Malformed("a second header")
            size, method.properties = wire.decode_header(payload)
            method.raw_header = payload
        else:
            if size is None or not payload or len(payload) > self.frame_max - 8:
                raise wire.Malformed("a body frame that should not be")
            body += payload
        if len(body) > size:
            raise wire.Malformed("more body than announced")
        if len(body) == size:
            method.body = body
            del self.unfinished[channel]
            self.pending[channel].append(method)
        else:
            self.unfinished[channel] = (method, size, body)

    # -- methods

    def next_method(self, channel, timeout_s=None):
        """The next method on `channel`. A connection.close where nobody asked for it raises."""
        deadline = time.monotonic() + (self.timeout_s if timeout_s is None else timeout_s)
        while not self.pending[channel]:
            if channel != 0 and self.pending[0]:
                if self.pending[0][0].name == "connection.close":
                    raise Unexpected(f"the connection ended: {self.pending[0][0]}")
            left_s = max(0.0, deadline - time.monotonic())
            try:
                self._read_event(left_s)
            except (TimeoutError, socket.timeout) as error:
                raise Unexpected(f"no method on channel {channel} in time") from error
        return self.pending[channel].popleft()

    def expect(self, channel, *names, timeout_s=None):
        method = self.next_method(channel, timeout_s)
        if method.name not in names:
            raise Unexpected(f"expected {' or '.join(names)}, got {method}")
        return method

    def call(self, channel, name, **arguments):
        self.send(channel, name, **arguments)
        return self.expect(channel, *reply_names(name))

    def expect_close(self, code, text=None, timeout_s=None):
        """A connection.close with this code and, if given, exactly this text; answers it and
        waits for the end of the socket. Returns the method."""
        method = self.expect(0, "connection.close", timeout_s=timeout_s)
        assert method.reply_code == code, f"expected {code}, got {method}"
        assert text is None or method.reply_text == text, f"{method.reply_text!r} is not {text!r}"
        try:
            self.send(0, "connection.close-ok")
        except OSError:
            pass
        self.expect_eof()
        return method

    def expect_eof(self, timeout_s=None):
        """Waits until the broker has closed the socket. Methods that come before that are left
        in `pending`."""
        deadline = time.monotonic() + (self.timeout_s if timeout_s is None else timeout_s)
        try:
            while True:
                self._read_event(max(0.0, deadline - time.monotonic()))
        except Closed:
            return
        except (TimeoutError, socket.timeout) as error:
            raise Unexpected("the socket is still open") from error

    def expect_end(self, *codes, timeout_s=None, skip=()):
        """The end of the socket, before which the broker may say connection.close with one of
        these codes (it is answered) or nothing. Methods named in `skip` may come before. Returns
        the close or None."""
        try:
            close = self.expect(0, "connection.close", *skip, timeout_s=timeout_s)
            while close.name in skip:
                close = self.expect(0, "connection.close", *skip, timeout_s=timeout_s)
        except Closed:
            return None
        assert close.reply_code in codes, f"expected {codes}, got {close}"
        try:
            self.send(0, "connection.close-ok")
        except OSError:
            pass
        self.expect_eof(timeout_s)
        return close

    def received(self, channel=0):
        """The names of the methods that came on `channel` and were not taken yet."""
        return [method.name for method in self.pending[channel]]

    # -- the handshake, piece by piece

    def read_start(self):
        self.send_bytes(wire.PROTOCOL_HEADER)
        start = self.expect(0, "connection.start")
        self.server_properties = start.server_properties
        self.mechanisms = start.mechanisms.decode().split(" ")
        return start

    def send_start_ok(self, user="guest", password="guest", mechanism="PLAIN", response=None,
                      capabilities=None, properties=None):
        if response is None:
            response = {"PLAIN": lambda: wire.plain_response(user, password),
                        "AMQPLAIN": lambda: wire.amqplain_response(user, password),
                        "EXTERNAL": lambda: b""}[mechanism]()
        properties = dict(properties or {"product": "bourse-tests"})
        properties["capabilities"] = CAPABILITIES if capabilities is None else capabilities
        self.send(0, "connection.start-ok", client_properties=properties, mechanism=mechanism,
                  response=response, locale="en_US")

    def login(self, **options):
        """Up to connection.tune, which is returned."""
        self.read_start()
        self.send_start_ok(**options)
        return self.expect(0, "connection.tune")

    def tune(self, channel_max=2047, frame_max=131072, heartbeat=0):
        self.frame_max, self.channel_max = frame_max or 131072, channel_max
        self.send(0, "connection.tune-ok", channel_max=channel_max, frame_max=frame_max,
                  heartbeat=heartbeat)

    def open(self, vhost="/", channel_max=2047, frame_max=131072, heartbeat=0, **options):
        self.login(**options)
        self.tune(channel_max, frame_max, heartbeat)
        self.call(0, "connection.open", virtual_host=vhost)
        return self

    # -- channels and the end

    def channel(self, number=None):
        if number is None:
            self._last_channel = getattr(self, "_last_channel", 0) + 1
            number = self._last_channel
        self.call(number, "channel.open")
        return Channel(self, number)

    def close(self):
        """A polite end: close, then close-ok, whatever else was still on its way."""
        self.send(0, "connection.close", reply_code=200, reply_text="Goodbye")
        while self.next_method(0).name != "connection.close-ok":
            pass
        self.sock.close()

    def drop(self):
        """The socket simply ends, as when a process is killed."""
        self.sock.close()

    def is_alive(self):
        """Whether a channel can still be opened and closed (uses the highest number)."""
        number = self.channel_max or 65535
        self.call(number, "channel.open")
        self.call(number, "channel.close", reply_code=200)
        return True


class Channel:
    """One channel of a Connection; the methods are shorthands for frequent scenes."""

    def __init__(self, connection, number):
        self.connection, self.number = connection, number

    def send(self, name, **arguments):
        self.connection.send(self.number, name, **arguments)

    def call(self, name, **arguments):
        return self.connection.call(self.number, name, **arguments)

    def expect(self, *names, timeout_s=None):
        return self.connection.expect(self.number, *names, timeout_s=timeout_s)

    def next_method(self, timeout_s=None):
        return self.connection.next_method(self.number, timeout_s)

    def expect_close(self, code, text=None, timeout_s=None):
        """A channel.close with this code and exactly this text; answers it."""
        method = self.expect("channel.close", timeout_s=timeout_s)
        assert method.reply_code == code, f"expected {code}, got {method}"
        assert text is None or method.reply_text == text, f"{method.reply_text!r} is not {text!r}"
        self.send("channel.close-ok")
        return method

    def refused(self, name, code, text=None, **arguments):
        """Sends a method and expects the channel to be closed for it; the channel is opened
        again under the same number, so that a table of cases can go on."""
        self.send(name, **arguments)
        method = self.expect_close(code, text)
        spec = wire.METHODS[name]
        assert (method.class_id, method.method_id) == (spec.class_id, spec.method_id), method
        self.call("channel.open")
        return method

    def close(self):
        self.call("channel.close", reply_code=200)

    # -- shorthands

    def delete(self, queue):
        """Deletes a queue; what arrives before the answer, such as basic.cancel, is dropped."""
        self.send("queue.delete", queue=queue)
        while self.next_method().name != "queue.delete-ok":
            pass

    def declare(self, queue="", **options):
        return self.call("queue.declare", queue=queue, **options)

    def wait_for_counts(self, queue, messages, consumers, timeout_s=20):
        """Until another connection's end has been noticed, say: each has a thread of its own."""
        deadline = time.monotonic() + timeout_s
        while self.counts(queue) != (messages, consumers):
            assert time.monotonic() < deadline, self.counts(queue)

    def temp_queue(self, **options):
        """The name of a new exclusive queue; it ends with the connection."""
        return self.declare("", exclusive=True, **options).queue

    def temp_exchange(self, kind="direct", prefix="x", **options):
        """The name of a new auto-delete exchange."""
        name = unique(prefix)
        self.call("exchange.declare", exchange=name, type=kind, **options)
        return name

    def bind(self, queue, exchange, key="", arguments=None):
        return self.call("queue.bind", queue=queue, exchange=exchange, routing_key=key,
                         arguments=arguments or {})

    def publish(self, exchange, key, body=b"", mandatory=False, immediate=False, **properties):
        """Method, header and body frames in one write."""
        body = wire.to_bytes(body)
        piece = self.connection.frame_max - 8
        data = wire.method_frame(self.number, "basic.publish", exchange=exchange, routing_key=key,
                                 mandatory=mandatory, immediate=immediate)
        data += wire.encode_frame(wire.FRAME_HEADER, self.number,
                                  wire.encode_header(len(body), properties))
        for at in range(0, len(body), piece):
            data += wire.encode_frame(wire.FRAME_BODY, self.number, body[at:at + piece])
        self.connection.send_bytes(data)

    def get(self, queue, no_ack=True):
        """basic.get: the method get-ok with its content, or None."""
        method = self.call("basic.get", queue=queue, no_ack=no_ack)
        return None if method.name == "basic.get-empty" else method

    def wait_for(self, queue, timeout_s=20):
        """The next message: whoever moves it there may take a moment."""
        deadline = time.monotonic() + timeout_s
        while (method := self.get(queue)) is None:
            assert time.monotonic() < deadline, f"nothing in {queue}"
            time.sleep(0.005)
        return method

    def drain(self, queue):
        """Every body that is ready in `queue`, taken out."""
        bodies = []
        while (method := self.get(queue)) is not None:
            bodies.append(method.body)
        return bodies

    def consume(self, queue, **options):
        """The consumer tag; deliveries follow on the channel."""
        return self.call("basic.consume", queue=queue, **options).consumer_tag

    def delivery(self, timeout_s=None):
        return self.expect("basic.deliver", timeout_s=timeout_s)

    def deliveries(self, count):
        return [self.delivery() for _ in range(count)]

    def counts(self, queue):
        """(ready messages, consumers)"""
        method = self.declare(queue, passive=True)
        return method.message_count, method.consumer_count

    def ack(self, tag, multiple=False):
        self.send("basic.ack", delivery_tag=tag, multiple=multiple)

    def nack(self, tag, multiple=False, requeue=True):
        self.send("basic.nack", delivery_tag=tag, multiple=multiple, requeue=requeue)

    def reject(self, tag, requeue=True):
        self.send("basic.reject", delivery_tag=tag, requeue=requeue)

    def ping(self):
        """A round trip that changes nothing."""
        self.call("channel.flow", active=True)

    def expect_nothing(self, queue=None):
        """Nothing but the answers to two round trips arrives. With `queue` the round trips go
        through that queue, so that a delivery it could have made would have come first."""
        for _ in range(2):
            if queue is None:
                self.ping()
            else:
                self.declare(queue, passive=True)
        assert not self.connection.pending[self.number], self.connection.pending[self.number]
