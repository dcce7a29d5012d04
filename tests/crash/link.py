# SPDX-License-Identifier: Apache-2.0
"""An AMQP client that never waits: one non-blocking socket with one channel or a few.

Light on purpose, for sixteen of them share one thread with the checker and the broker should be
the one that is busy. What comes is handed to an actor: `on_open`, `on_deliver`, `on_settled`
(confirms), `on_returned`, `on_method` for the rest, `on_end` when the socket has ended and
everything the broker wrote to it has been read.
"""

import errno
import selectors
import socket
import struct

from support import wire

FRAME = struct.Struct(">BHI")
HEADER = struct.Struct(">HHQH")
DELIVER, ACK, NACK, RETURN = 60 << 16 | 60, 60 << 16 | 80, 60 << 16 | 120, 60 << 16 | 50
# delivery-mode and message-id
FLAGS = 1 << 12 | 1 << 7
EXPIRATION_FLAG = 1 << 8
HEADERS_FLAG = 1 << 13
READ_BYTES = 256 * 1024
FRAME_MAX = 131072


class Link:
    def __init__(self, address, selector, actor, user, password):
        self.selector, self.actor = selector, actor
        self.is_open, self.ended = False, False
        self.out, self.input = bytearray(wire.PROTOCOL_HEADER), bytearray()
        self.contents = {}              # by channel: [what it is, arguments, size, number, parts]
        self.response = wire.plain_response(user, password)
        self.prefixes, self.piece = {}, FRAME_MAX - 8
        self.sock = socket.socket()
        self.sock.setblocking(False)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock.connect_ex(address)
        self.events = selectors.EVENT_READ | selectors.EVENT_WRITE
        selector.register(self.sock, self.events, self)

    # -- octets

    def on_ready(self, events):
        if events & selectors.EVENT_WRITE:
            self.flush()
        if events & selectors.EVENT_READ:
            self.read()

    def flush(self):
        """Writes what the socket takes. An error is found again by reading, which comes to the end
        of what the broker had written before."""
        while self.out and not self.ended:
            try:
                sent = self.sock.send(memoryview(self.out)[:READ_BYTES])
            except BlockingIOError:
                break
            except OSError as error:
                if error.errno == errno.ENOTCONN:
                    break
                self.out.clear()
                break
            del self.out[:sent]
        self._watch(selectors.EVENT_READ | (selectors.EVENT_WRITE if self.out else 0))

    def _watch(self, events):
        if events != self.events and not self.ended:
            self.events = events
            self.selector.modify(self.sock, events, self)

    def read(self):
        try:
            data = self.sock.recv(READ_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self.end()
            return
        self.input += data
        self._parse()

    def end(self):
        if not self.ended:
            self.ended, self.is_open = True, False
            self.selector.unregister(self.sock)
            self.sock.close()
            self.actor.on_end(self)

    # -- frames in

    def _parse(self):
        data, at, end = self.input, 0, len(self.input)
        while end - at >= 8:
            kind, channel, size = FRAME.unpack_from(data, at)
            if end - at < size + 8:
                break
            if data[at + 7 + size] != wire.FRAME_END:
                raise wire.Malformed("frame without its end octet")
            self._frame(kind, channel, bytes(memoryview(data)[at + 7:at + 7 + size]))
            at += size + 8
        del data[:at]

    def _frame(self, kind, channel, payload):
        if kind == wire.FRAME_METHOD:
            self._method(channel, payload)
        elif kind == wire.FRAME_HEADER:
            content = self.contents[channel]
            content[2], content[3] = self._header(payload)
            if content[2] == 0:
                self._content(channel)
        elif kind == wire.FRAME_BODY:
            content = self.contents[channel]
            content[4].append(payload)
            content[2] -= len(payload)
            if content[2] <= 0:
                self._content(channel)

    def _header(self, payload):
        _class, _weight, size, flags = HEADER.unpack_from(payload)
        self.headers = {}
        if flags == FLAGS:
            return size, payload[16:16 + payload[15]]
        _size, properties = wire.decode_header(payload)
        self.headers = properties.get("headers", {})
        return size, properties.get("message_id", "").encode()

    def _method(self, channel, payload):
        (name,) = struct.unpack_from(">I", payload)
        if name == DELIVER:
            at = 5 + payload[4]
            tag, redelivered = struct.unpack_from(">QB", payload, at)
            self.contents[channel] = [DELIVER, (tag, redelivered == 1), None, None, []]
        elif name in (ACK, NACK):
            tag, bits = struct.unpack_from(">QB", payload, 4)
            self.actor.on_settled(tag, bits & 1 == 1, name == ACK)
        else:
            method = wire.decode_method(payload)
            if method.spec.has_content:
                self.contents[channel] = [name, method, None, None, []]
            else:
                self._event(channel, method)

    def _content(self, channel):
        name, what, _left, number, parts = self.contents.pop(channel)
        body = b"".join(parts)
        number = int(number) if number.isdigit() else 0
        if name == DELIVER:
            self.actor.on_deliver(what[0], what[1], number, body)
        elif name == RETURN:
            self.actor.on_returned(number)
        else:
            what.body, what.number = body, number
            self.actor.on_method(self, channel, what)

    def _event(self, channel, method):
        if method.name == "connection.start":
            self.send(0, "connection.start-ok", mechanism="PLAIN", response=self.response,
                      locale="en_US", client_properties={"product": "bourse-crash"})
        elif method.name == "connection.tune":
            frame_max = min(FRAME_MAX, method.frame_max)
            self.piece = frame_max - 8
            self.send(0, "connection.tune-ok", channel_max=2047, frame_max=frame_max, heartbeat=0)
            self.send(0, "connection.open", virtual_host="/")
        elif method.name == "connection.open-ok":
            self.is_open = True
            self.actor.on_open(self)
        elif method.name == "connection.close":
            self.send(0, "connection.close-ok")
            self.actor.on_closed(method)
        elif method.name == "connection.close-ok":
            self.end()
        else:
            self.actor.on_method(self, channel, method)
        self.flush()

    # -- frames out; `flush` sends them

    def send(self, channel, name, **arguments):
        self.out += wire.method_frame(channel, name, **arguments)

    def publish(self, channel, exchange, key, number, body, mandatory=False, persistent=True,
                expiration_ms=None, headers=None):
        """A message whose message-id is `number`."""
        place = (channel, exchange, key, mandatory)
        if place not in self.prefixes:
            self.prefixes[place] = wire.method_frame(channel, "basic.publish", exchange=exchange,
                                                     routing_key=key, mandatory=mandatory)
        name = b"%d" % number
        flags, table, expiration = FLAGS, b"", b""
        if headers:
            flags, table = flags | HEADERS_FLAG, wire.encode_table(headers)
        if expiration_ms is not None:
            text = b"%d" % expiration_ms
            flags, expiration = flags | EXPIRATION_FLAG, bytes([len(text)]) + text
        header = (HEADER.pack(60, 0, len(body), flags) + table + bytes([1 + persistent])
                  + expiration + bytes([len(name)]) + name)
        self.out += self.prefixes[place]
        self.out += FRAME.pack(wire.FRAME_HEADER, channel, len(header)) + header + b"\xce"
        for at in range(0, len(body), self.piece):
            piece = body[at:at + self.piece]
            self.out += FRAME.pack(wire.FRAME_BODY, channel, len(piece)) + piece + b"\xce"

    def ack(self, channel, tag, multiple=False):
        self.out += struct.pack(">BHIIQBB", 1, channel, 13, ACK, tag, multiple, wire.FRAME_END)

    def nack(self, channel, tag, requeue=True):
        """One message: back to its queue, or not wanted any more."""
        self.out += struct.pack(">BHIIQBB", 1, channel, 13, NACK, tag, 2 * requeue, wire.FRAME_END)


class Actor:
    """Does nothing with what comes; the base of those who do."""

    def on_open(self, link):
        """connection.open-ok has come."""

    def on_deliver(self, tag, redelivered, number, body):
        """A delivery is complete."""

    def on_settled(self, tag, multiple, is_ack):
        """basic.ack or basic.nack of the broker."""

    def on_returned(self, number):
        """basic.return."""

    def on_method(self, link, channel, method):
        """Anything else."""

    def on_closed(self, method):
        """The broker closes the connection; close-ok has been sent."""

    def on_end(self, link):
        """Nothing more will come."""
