# SPDX-License-Identifier: Apache-2.0
"""Malformed and misplaced input, one row per case: where the connection stands, what is sent, and
what the broker has to answer.

`stage` is how far a well-behaved beginning goes:
  connected   nothing was sent
  started     our header was sent, connection.start has come
  authenticated   start-ok was sent, connection.tune has come
  opened      connection.open-ok has come
  channel     channel 1 is open, and the broker has a queue and an exchange for the row (QUEUE, …)

`answer` is one of
  header()        our protocol header, then the end of the socket
  closed(…)       connection.close with one of these codes
  soft(code)      channel.close with this code; the connection goes on
  ended(…)        the end of the socket; a connection.close before it must carry one of these codes
                  (before login a broker may owe a stranger silence)

Codes are those of the protocol's table of reply codes. Where the rules leave a choice between two
codes (a frame too short to hold a method is as much a framing as a syntax error), both are listed.
"""

import struct

from support import wire
from support.wire import FRAME_BODY, FRAME_HEADER, FRAME_HEARTBEAT, FRAME_METHOD, Typed

QUEUE, EXCHANGE, LOCKED = "malformed-queue", "malformed-exchange", "malformed-locked"
FRAME_MAX = 131072
MAX_BODY = 16 * 1024 * 1024


class Answer:
    def __init__(self, kind, codes=()):
        self.kind, self.codes = kind, codes


def header():
    return Answer("header")


def closed(*codes):
    return Answer("closed", codes)


def soft(code):
    return Answer("soft", (code,))


def ended(*codes):
    return Answer("ended", codes)


class Case:
    def __init__(self, name, stage, data, answer, differs=None):
        self.name, self.stage, self.data, self.answer = name, stage, data, answer
        self.differs = differs      # why RabbitMQ 3.10 answers otherwise; None where it does not


CASES = []


def case(name, stage, data, answer, differs=None):
    assert name not in {known.name for known in CASES}, name
    CASES.append(Case(name, stage, data, answer, differs))


def method(name, channel=1, **arguments):
    return wire.method_frame(channel, name, **arguments)


def raw_method(class_id, method_id, arguments=b"", channel=1):
    payload = struct.pack(">HH", class_id, method_id) + arguments
    return wire.encode_frame(FRAME_METHOD, channel, payload)


def frame_start(kind, channel, size):
    return struct.pack(">BHI", kind, channel, size)


# -- the protocol header

for _name, _greeting in [
    ("0-8", b"AMQP\x01\x01\x08\x00"), ("0-9-2", b"AMQP\x00\x00\x09\x02"),
    ("0-10", b"AMQP\x01\x01\x00\x0a"), ("1.0 plain", b"AMQP\x00\x01\x00\x00"),
    ("1.0 sasl", b"AMQP\x03\x01\x00\x00"), ("1.0 tls", b"AMQP\x02\x01\x00\x00"),
    ("0-0-0", b"AMQP\0\0\0\0"), ("0-9-0", b"AMQP\0\0\x09\0"), ("ones", b"AMQP\xff\xff\xff\xff"),
    ("lower case", b"amqp\0\0\x09\x01"), ("http get", b"GET /api HTTP/1.1\r\nHost: x\r\n\r\n"),
    ("http post", b"POST / HTTP/1.0\r\n\r\n"), ("ssh", b"SSH-2.0-OpenSSH_9.2\r\n"),
    ("zeros", bytes(8)), ("a frame without a header", b"\x01\0\0\0\0\0\x04\0\x0a\0\x0b\xce"),
]:
    case(f"protocol header: {_name}", "connected", _greeting, header(),
         "3.10 knows 0-8" if _name == "0-8" else None)

# -- before login

_LONG = wire.encode_method("connection.start-ok", client_properties={"x": "y" * 9000},
                           mechanism="PLAIN", response=b"\0guest\0guest", locale="en_US")


def start_ok(properties=b"", mechanism=b"PLAIN", response=b"\0guest\0guest", locale=b"en_US"):
    """start-ok from parts, each of which may be broken; `properties` is a table's body."""
    arguments = (wire.encode_longstr(properties) + wire.encode_shortstr(mechanism)
                 + wire.encode_longstr(response) + wire.encode_shortstr(locale))
    return raw_method(10, 11, arguments, channel=0)


def deep_table(depth):
    """A table body with tables nested `depth` deep, each five octets of overhead."""
    body = b""
    for _ in range(depth):
        body = wire.encode_shortstr("") + b"F" + wire.encode_longstr(body)
    return body


def deep_array(depth):
    body = b""
    for _ in range(depth):
        body = b"A" + wire.encode_longstr(body)
    return wire.encode_shortstr("a") + (body or b"V")


def void_fields(count):
    """`count` fields of two octets each: an empty name and a void."""
    return b"\0V" * count


BROKEN_TABLES = [
    ("unknown type letter", b"\x01aZ\0\0\0\0"), ("letter zero", b"\x01a\0"),
    ("a name without value", b"\x01a"), ("a name that overruns", b"\xffabc"),
    ("a string that overruns", b"\x01aS\0\0\0\x05abc"),
    ("a string of 4 GiB", b"\x01aS\xff\xff\xff\xffabc"),
    ("a nested table that overruns", b"\x01aF\0\0\0\x09\x01bV"),
    ("an array that overruns", b"\x01aA\0\0\0\x09V"),
    ("an array item that overruns its array", b"\x01aA\0\0\0\x02lV\0\0\0\0\0\0"),
    ("an integer cut short", b"\x01aI\0\0"), ("a longlong cut short", b"\x01al\0\0\0\0"),
    ("a double cut short", b"\x01ad\0\0\0"), ("a decimal cut short", b"\x01aD\0\0"),
    ("a timestamp cut short", b"\x01aT\0"), ("a boolean cut short", b"\x01at"),
    ("a byte array that overruns", b"\x01ax\0\0\0\x05ab"),
    ("a broken field inside a nested table", b"\x01aF\0\0\0\x03\x01bZ"),
    ("an unknown letter inside an array", b"\x01aA\0\0\0\x02V?"),
]
OWN_LIMITS = [
    ("tables nested 17 deep", deep_table(17)), ("tables nested 1000 deep", deep_table(1000)),
    ("arrays nested 1000 deep", deep_array(1000)),
]

for _name, _data, _codes in [
    ("tune-ok first", method("connection.tune-ok", 0, channel_max=1, frame_max=8192), (504,)),
    ("open first", method("connection.open", 0, virtual_host="/"), (504,)),
    ("secure-ok first", method("connection.secure-ok", 0), (504,)),
    ("close-ok first", method("connection.close-ok", 0), (504,)),
    ("update-secret first", method("connection.update-secret", 0), (504,)),
    ("a channel first", method("channel.open"), (504,)),
    ("a queue first", method("queue.declare", queue="q"), (504,)),
    ("a publish first", method("basic.publish") + wire.encode_frame(
        FRAME_HEADER, 1, wire.encode_header(0)), (504,)),
    ("a server method", method("connection.start", 0), (503, 504)),
    ("a header frame", wire.encode_frame(FRAME_HEADER, 0, wire.encode_header(1)), (504, 505)),
    ("a body frame", wire.encode_frame(FRAME_BODY, 0, b"x"), (504, 505)),
    ("an unknown frame type", wire.encode_frame(7, 0, b"x"), (501,)),
    ("a wrong frame end", wire.encode_frame(FRAME_METHOD, 0, b"\0\x0a\0\x0b", end=0xCD), (501,)),
    ("an unknown class", raw_method(99, 1, channel=0), (540, 504)),
    ("an empty method frame", wire.encode_frame(FRAME_METHOD, 0, b""), (501, 502)),
    ("a frame over 8 KiB", wire.encode_frame(FRAME_METHOD, 0, _LONG), (501,)),
    ("a frame that claims 4 GiB", frame_start(FRAME_METHOD, 0, 2**32 - 1), (501,)),
    ("a frame that claims 128 KiB", frame_start(FRAME_METHOD, 0, FRAME_MAX - 8), (501,)),
    ("start-ok cut short", raw_method(10, 11, b"\0\0\0\0\x05PL", channel=0), (501, 502)),
    ("start-ok with octets left over", raw_method(
        10, 11, wire.encode_method("connection.start-ok", mechanism="PLAIN",
                                   response=b"\0guest\0guest")[4:] + b"x", channel=0), (501, 502)),
    ("properties that overrun the frame", raw_method(10, 11, b"\0\0\xff\xff", channel=0),
     (501, 502)),
    ("an unknown mechanism", start_ok(mechanism=b"GUESS"), (503,)),
    ("an empty mechanism", start_ok(mechanism=b""), (503,)),
    ("EXTERNAL without TLS", start_ok(mechanism=b"EXTERNAL"), (503,)),
    ("PLAIN without NULs", start_ok(response=b"guest"), (502,)),
    ("PLAIN with one NUL", start_ok(response=b"\0guest"), (502,)),
    ("PLAIN that is empty", start_ok(response=b""), (502,)),
    ("PLAIN with three NULs", start_ok(response=b"\0guest\0guest\0more"), (502, 403)),
    ("AMQPLAIN that is no table", start_ok(mechanism=b"AMQPLAIN", response=b"\xff\xff"),
     (501, 502)),
    ("AMQPLAIN without a password", start_ok(mechanism=b"AMQPLAIN", response=wire.encode_table_body(
        {"LOGIN": "guest"})), (502,)),
    ("start-ok and then again", start_ok() * 2, (504,)),
    ("a mechanism that is not UTF-8", start_ok(mechanism=b"\xff\xfe"), (501, 503)),
]:
    case(f"before login: {_name}", "started", _data, ended(*_codes))
for _name, _table in BROKEN_TABLES:
    case(f"before login: client properties with {_name}", "started", start_ok(_table), ended(501))
for _name, _table in OWN_LIMITS + [("2000 fields", void_fields(2000))]:
    case(f"before login: client properties with {_name}", "started", start_ok(_table), ended(501),
         "no such limit in 3.10")

# -- tuning and opening

for _name, _values in [
    ("frame-max 1", (1, 1)), ("frame-max 4095", (1, 4095)), ("frame-max over the offer",
                                                             (1, 131073)),
    ("frame-max 2^32-1", (1, 2**32 - 1)), ("frame-max 0", (1, 0)),
    ("channel-max 0", (0, 131072)), ("channel-max over the offer", (2048, 131072)),
    ("channel-max 65535", (65535, 131072)),
]:
    case(f"tune-ok with {_name}", "authenticated",
         method("connection.tune-ok", 0, channel_max=_values[0], frame_max=_values[1]), closed(530),
         "3.10 closes without a word")
_TUNE_OK = method("connection.tune-ok", 0, channel_max=8, frame_max=8192)
for _name, _data, _codes in [
    ("start-ok instead of tune-ok", start_ok(), (504,)),
    ("open instead of tune-ok", method("connection.open", 0, virtual_host="/"), (504,)),
    ("a channel instead of tune-ok", method("channel.open"), (504,)),
    ("tune-ok cut short", raw_method(10, 31, b"\0\x01\0\0\x20", channel=0), (501, 502)),
    ("tune-ok twice", _TUNE_OK * 2, (504,)),
    ("a channel instead of open", _TUNE_OK + method("channel.open"), (504, 505)),
    ("open cut short", _TUNE_OK + raw_method(10, 40, b"\x05/", channel=0), (501, 502)),
]:
    case(f"tuning: {_name}", "authenticated", _data, ended(*_codes),
         "3.10 says nothing" if "twice" in _name else None)
case("opening an unknown vhost", "authenticated",
     _TUNE_OK + method("connection.open", 0, virtual_host="nowhere"), closed(530))
case("opening a vhost with an empty name", "authenticated",
     _TUNE_OK + method("connection.open", 0, virtual_host=""), closed(530))

# -- framing on an open connection

for _kind, _label in [(FRAME_METHOD, "method"), (FRAME_HEADER, "header"), (FRAME_BODY, "body"),
                      (FRAME_HEARTBEAT, "heartbeat")]:
    case(f"{_label} frame with a wrong end octet", "channel", wire.encode_frame(
        _kind, 0 if _kind == FRAME_HEARTBEAT else 1,
        {FRAME_METHOD: b"\0\x14\0\x14\x01", FRAME_HEADER: wire.encode_header(0), FRAME_BODY: b"x",
         FRAME_HEARTBEAT: b""}[_kind], end=0), closed(501))
    _channel = 0 if _kind == FRAME_HEARTBEAT else 1
    case(f"{_label} frame over frame-max", "channel", frame_start(_kind, _channel, FRAME_MAX + 1),
         closed(501))
    case(f"{_label} frame that claims 4 GiB", "channel", frame_start(_kind, _channel, 2**32 - 1),
         closed(501))
for _kind in (0, 4, 5, 6, 7, 9, 65, 255):
    case(f"frame of type {_kind}", "channel", wire.encode_frame(_kind, 1, b"abc"), closed(501))
case("frame of type 7 on channel 0", "opened", wire.encode_frame(7, 0, b""), closed(501))
case("heartbeat on channel 1", "channel", wire.encode_frame(FRAME_HEARTBEAT, 1, b""), closed(505))
case("heartbeat on a channel that is not open", "opened", wire.encode_frame(
    FRAME_HEARTBEAT, 9, b""), closed(505))
case("heartbeat with a payload", "channel", wire.encode_frame(FRAME_HEARTBEAT, 0, b"x"),
     closed(501))
case("text instead of frames", "channel", b"Hello, broker!\r\n", closed(501))
case("a protocol header again", "channel", wire.PROTOCOL_HEADER, closed(501))
for _size in range(4):
    case(f"method frame of {_size} octets", "channel",
         wire.encode_frame(FRAME_METHOD, 1, b"\0\x14\0"[:_size]), closed(501, 502))

# -- methods that are unknown, misplaced or not a client's

for _class, _method in [(0, 0), (1, 1), (11, 10), (70, 10), (80, 10), (100, 10), (65535, 65535),
                        (20, 99), (40, 41), (40, 99), (50, 99), (60, 99), (60, 0), (85, 20),
                        (90, 99)]:
    case(f"unknown method {_class}.{_method}", "channel", raw_method(_class, _method), closed(540),
         "501 or 541 in 3.10, depending on the id")
case("unknown connection method", "opened", raw_method(10, 99, channel=0), closed(540),
     "501 in 3.10")

SERVER_ONLY = [
    "channel.open-ok", "access.request-ok", "exchange.declare-ok", "exchange.delete-ok",
    "exchange.bind-ok", "exchange.unbind-ok", "queue.declare-ok", "queue.bind-ok", "queue.purge-ok",
    "queue.delete-ok", "queue.unbind-ok", "basic.qos-ok", "basic.consume-ok", "basic.get-empty",
    "basic.recover-ok", "confirm.select-ok", "tx.select-ok", "tx.commit-ok", "tx.rollback-ok",
]
for _name in SERVER_ONLY:
    case(f"a client sends {_name}", "channel", method(_name), closed(503))
for _name in ("basic.deliver", "basic.return", "basic.get-ok"):
    case(f"a client sends {_name}", "channel", method(_name) + wire.encode_frame(
        FRAME_HEADER, 1, wire.encode_header(0)), closed(503))
for _name in ("connection.start", "connection.secure", "connection.tune", "connection.open-ok",
              "connection.blocked", "connection.unblocked", "connection.update-secret-ok"):
    case(f"a client sends {_name}", "opened", method(_name, 0), closed(503, 504))
for _name in ("connection.start-ok", "connection.secure-ok", "connection.tune-ok",
              "connection.open"):
    case(f"{_name} on an open connection", "opened", method(_name, 0), closed(504))
for _name in ("channel.open", "channel.close", "exchange.declare", "queue.declare", "basic.qos",
              "basic.publish", "basic.ack", "confirm.select", "tx.select", "access.request"):
    case(f"{_name} on channel 0", "opened", method(_name, 0), closed(504))
for _name in ("connection.close", "connection.close-ok", "connection.open", "connection.tune-ok"):
    case(f"{_name} on channel 1", "channel", method(_name, 1), closed(503, 504))
for _name in ("channel.close", "queue.declare", "basic.ack", "tx.select", "channel.flow"):
    case(f"{_name} on a channel that is not open", "opened", method(_name, 3), closed(504),
         "3.10 answers close-ok" if _name == "channel.close" else None)
case("a publish on a channel that is not open", "opened", method("basic.publish", 3)
     + wire.encode_frame(FRAME_HEADER, 3, wire.encode_header(0)), closed(504))
case("channel.open twice", "channel", method("channel.open"), closed(504))
case("channel.close-ok without a close", "channel", method("channel.close-ok"), closed(503, 504),
     "3.10 takes it for the end of the channel")
for _number in (2048, 65535):
    case(f"channel {_number} where 2047 is the maximum", "opened", method("channel.open", _number),
         closed(530), "3.10 counts channels instead")
for _kind, _label, _payload in [(FRAME_HEADER, "header", wire.encode_header(0)),
                                (FRAME_BODY, "body", b"x")]:
    case(f"a {_label} on a channel that is not open", "opened",
         wire.encode_frame(_kind, 3, _payload), closed(504, 505))
    case(f"a {_label} on channel 0", "opened", wire.encode_frame(_kind, 0, _payload),
         closed(504, 505))

# -- arguments cut short, too long, not UTF-8, tables

CLIENT_METHODS = {
    "channel.flow": {"active": True}, "channel.close": {"reply_text": "x"},
    "access.request": {"realm": "/data"},
    "exchange.declare": {"exchange": "e", "type": "direct"}, "exchange.delete": {"exchange": "e"},
    "exchange.bind": {"destination": "d", "source": "s"},
    "exchange.unbind": {"destination": "d", "source": "s"},
    "queue.declare": {"queue": "q"}, "queue.bind": {"queue": "q", "exchange": "e"},
    "queue.unbind": {"queue": "q", "exchange": "e"}, "queue.purge": {"queue": "q"},
    "queue.delete": {"queue": "q"}, "basic.qos": {"prefetch_count": 1},
    "basic.consume": {"queue": "q"}, "basic.cancel": {"consumer_tag": "t"},
    "basic.publish": {"exchange": "", "routing_key": "k"}, "basic.get": {"queue": "q"},
    "basic.ack": {"delivery_tag": 1}, "basic.nack": {"delivery_tag": 1},
    "basic.reject": {"delivery_tag": 1}, "basic.recover": {"requeue": True},
    "basic.recover-async": {"requeue": True}, "confirm.select": {},
}
_WHY = "3.10 does not check the end of arguments, or says 501 or 541"
for _name, _arguments in CLIENT_METHODS.items():
    _payload = wire.encode_method(_name, **_arguments)
    _has_table = wire.METHODS[_name].fields[-1][1] == "table"
    case(f"{_name} cut short by an octet", "channel",
         wire.encode_frame(FRAME_METHOD, 1, _payload[:-1]),
         closed(501, 502) if _has_table else closed(502), _WHY)
    case(f"{_name} without arguments", "channel", wire.encode_frame(FRAME_METHOD, 1, _payload[:4]),
         closed(502), _WHY)
    case(f"{_name} with an octet too many", "channel",
         wire.encode_frame(FRAME_METHOD, 1, _payload + b"\0"), closed(502), _WHY)
for _name in ("tx.select", "tx.commit", "tx.rollback"):
    case(f"{_name} with an octet too many", "channel",
         wire.encode_frame(FRAME_METHOD, 1, wire.encode_method(_name) + b"\0"), closed(502), _WHY)
case("connection.close cut short", "opened", raw_method(10, 50, b"\0\xc8\x05ab", channel=0),
     closed(502), _WHY)
case("a short string that overruns the frame", "channel", raw_method(
    50, 10, b"\0\0\xffqueue"), closed(502), _WHY)
for _name, _arguments in [
    ("queue.declare", {"queue": b"\xff\xfe"}), ("exchange.declare",
                                                {"exchange": b"\xc3\x28", "type": "direct"}),
    ("exchange.declare", {"exchange": "e", "type": b"\xff"}),
    ("queue.delete", {"queue": b"q\xe2\x82"}), ("basic.consume",
                                                {"queue": QUEUE, "consumer_tag": b"\x80"}),
    ("basic.get", {"queue": b"\xc0\xaf"}),
]:
    _field = next(key for key, value in _arguments.items() if isinstance(value, bytes))
    case(f"{_name} with a {_field} that is not UTF-8", "channel", method(_name, **_arguments),
         closed(501))


def declare_with_table(body):
    return raw_method(50,
                      10, b"\0\0" + wire.encode_shortstr("t") + b"\0" + wire.encode_longstr(body))


for _name, _table in BROKEN_TABLES:
    case(f"queue.declare arguments with {_name}", "channel", declare_with_table(_table),
         closed(501),
         "3.10 drops the socket")
for _name, _table in OWN_LIMITS + [("1025 fields", void_fields(1025)),
                                   ("60000 fields", void_fields(60000))]:
    case(f"queue.declare arguments with {_name}", "channel", declare_with_table(_table),
         closed(501),
         "no such limit in 3.10")
case("a table length that overruns the frame", "channel",
     raw_method(50, 10, b"\0\0\x01q\0\0\0\x10\0"), closed(501, 502))
case("a table length of 4 GiB", "channel",
     raw_method(50, 10, b"\0\0\x01q\0\xff\xff\xff\xff"), closed(501, 502))

# -- contents

PUBLISH = method("basic.publish", routing_key=QUEUE)


def content_header(payload, channel=1):
    return wire.encode_frame(FRAME_HEADER, channel, payload)


def body(data, channel=1):
    return wire.encode_frame(FRAME_BODY, channel, data)


for _name, _data, _codes in [
    ("a header without a method", content_header(wire.encode_header(0)), (505,)),
    ("a body without a method", body(b"x"), (505,)),
    ("a body before its header", PUBLISH + body(b"x"), (505,)),
    ("a method instead of the header", PUBLISH + method("basic.qos"), (505,)),
    ("a publish instead of the header", PUBLISH + PUBLISH, (505,)),
    ("a method instead of the body", PUBLISH + content_header(wire.encode_header(5))
     + method("basic.qos"), (505,)),
    ("a method in the middle of the body", PUBLISH + content_header(wire.encode_header(5))
     + body(b"ab") + method("basic.qos"), (505,)),
    ("channel.close in the middle of the body", PUBLISH + content_header(wire.encode_header(5))
     + body(b"ab") + method("channel.close"), (505,)),
    ("a second header", PUBLISH + content_header(wire.encode_header(5)) * 2, (505,)),
    ("a header of class 50", PUBLISH + content_header(wire.encode_header(0, class_id=50)), (505,)),
    ("a header of class 0", PUBLISH + content_header(wire.encode_header(0, class_id=0)), (505,)),
    ("a body longer than announced",
     PUBLISH + content_header(wire.encode_header(3)) + body(b"four"),
     (501,)),
    ("a second piece longer than what is left", PUBLISH + content_header(wire.encode_header(3))
     + body(b"tw") + body(b"two"), (501,)),
    ("a body after an empty content", PUBLISH + content_header(wire.encode_header(0)) + body(b"x"),
     (505,)),
    ("a body size over 512 MiB", PUBLISH + content_header(wire.encode_header(512 * 2**20 + 1)),
     (501,)),
    ("a body size of 2^63", PUBLISH + content_header(wire.encode_header(2**63)), (501,)),
    ("a body size of 2^64-1", PUBLISH + content_header(wire.encode_header(2**64 - 1)), (501,)),
]:
    case(f"content: {_name}", "channel", _data, closed(*_codes),
         "3.10 reads any size" if "body size" in _name or "longer" in _name else None)
case("content: a body size over the largest message", "channel",
     PUBLISH + content_header(wire.encode_header(MAX_BODY + 1)), soft(406), "128 MiB in 3.10")
for _size in (0, 1, 3, 11, 13):
    case(f"content: a header of {_size} octets", "channel",
         PUBLISH + content_header(wire.encode_header(0)[:_size]), closed(501, 502, 505),
         "541 in 3.10")


def flags(bits, values=b""):
    return PUBLISH + content_header(struct.pack(">HHQH", 60, 0, 0, bits) + values)


for _name, _data in [
    ("a property that is announced and missing", flags(1 << 15)),
    ("a property string that overruns", flags(1 << 15, b"\x05ab")),
    ("octets after the last property", flags(1 << 15, b"\x02abcd")),
    ("properties without flags", flags(0, b"\x02ab")),
    ("a delivery mode cut off", flags(1 << 12)),
    ("a timestamp cut short", flags(1 << 6, b"\0\0\0")),
    ("a second flag word that is missing", flags(1)),
]:
    case(f"properties: {_name}", "channel", _data, closed(501, 502), "541 in 3.10, or not checked")
for _name, _table in BROKEN_TABLES:
    case(f"message headers with {_name}", "channel", flags(1 << 13, wire.encode_longstr(_table)),
         closed(501), "looked at later, or never, in 3.10")
for _name, _table in OWN_LIMITS + [("4097 fields", void_fields(4097)),
                                   ("60000 fields", void_fields(60000))]:
    case(f"message headers with {_name}", "channel", flags(1 << 13, wire.encode_longstr(_table)),
         closed(501), "no such limit in 3.10")
case("message headers that overrun the frame", "channel", flags(1 << 13, b"\0\0\1\0\x01aV"),
     closed(501, 502), "looked at later, or never, in 3.10")

# -- well-formed, but not to be done: the code of each rule

for _name, _data, _answer in [
    ("passive declare of a missing queue", method("queue.declare", queue="gone", passive=True),
     soft(404)),
    ("passive declare of a missing exchange", method(
        "exchange.declare", exchange="gone", type="direct", passive=True), soft(404)),
    ("bind of a missing queue", method("queue.bind", queue="gone", exchange="amq.direct"),
     soft(404)),
    ("bind to a missing exchange", method("queue.bind", queue=QUEUE, exchange="gone"), soft(404)),
    ("exchange bind from a missing source", method(
        "exchange.bind", destination="amq.fanout", source="gone"), soft(404)),
    ("consume from a missing queue", method("basic.consume", queue="gone"), soft(404)),
    ("get from a missing queue", method("basic.get", queue="gone"), soft(404)),
    ("purge of a missing queue", method("queue.purge", queue="gone"), soft(404)),
    ("publish to a missing exchange", method("basic.publish", exchange="gone")
     + content_header(wire.encode_header(0)), soft(404)),
    ("consume without any queue", method("basic.consume"), soft(404)),
    ("a queue name with the reserved prefix", method("queue.declare", queue="amq.x"), soft(403)),
    ("an exchange name with the reserved prefix", method(
        "exchange.declare", exchange="amq.x", type="direct"), soft(403)),
    ("declare of the default exchange", method("exchange.declare", exchange="", type="direct"),
     soft(403)),
    ("delete of the default exchange", method("exchange.delete", exchange=""), soft(403)),
    ("delete of amq.direct", method("exchange.delete", exchange="amq.direct"), soft(403)),
    ("bind to the default exchange", method("queue.bind", queue=QUEUE, exchange=""), soft(403)),
    ("publish to an internal exchange", method("basic.publish", exchange="amq.rabbitmq.trace")
     + content_header(wire.encode_header(0)), soft(403)),
    ("use of a locked queue", method("basic.get", queue=LOCKED), soft(405)),
    ("redeclare with another durability", method("queue.declare", queue=QUEUE, durable=True),
     soft(406)),
    ("redeclare with another exclusive flag", method("queue.declare", queue=QUEUE, exclusive=True),
     soft(405)),
    ("redeclare of an exchange with another type", method(
        "exchange.declare", exchange=EXCHANGE, type="fanout"), soft(406)),
    ("an invalid argument value", method("queue.declare", queue="t", arguments={"x-expires": 0}),
     soft(406)),
    ("an argument of the wrong type", method(
        "queue.declare", queue="t", arguments={"x-max-length": "many"}), soft(406)),
    ("an invalid x-match", method("queue.bind", queue=QUEUE, exchange="amq.headers",
                                  arguments={"x-match": "maybe"}), soft(406)),
    ("an unknown delivery tag", method("basic.ack", delivery_tag=1), soft(406)),
    ("delivery tag 2^64-1", method("basic.nack", delivery_tag=2**64 - 1, multiple=True), soft(406)),
    ("commit without select", method("tx.commit"), soft(406)),
    ("tx after confirm", method("confirm.select", nowait=True) + method("tx.select"), soft(406)),
    ("a user-id that is not the login", method("basic.publish", routing_key=QUEUE)
     + content_header(wire.encode_header(0, {"user_id": "root"})), soft(406)),
    ("an expiration that is no number", method("basic.publish", routing_key=QUEUE)
     + content_header(wire.encode_header(0, {"expiration": "soon"})), soft(406)),
    ("CC that is no array", method("basic.publish", routing_key=QUEUE)
     + content_header(wire.encode_header(0, {"headers": {"CC": Typed("S", "x")}})), soft(406)),
    ("a reply-to without a reply consumer", method("basic.publish", routing_key=QUEUE)
     + content_header(wire.encode_header(0, {"reply_to": "amq.rabbitmq.reply-to"})), soft(406)),
    ("a reply consumer that acknowledges", method(
        "basic.consume", queue="amq.rabbitmq.reply-to"), soft(406)),
    ("a consumer tag used twice",
     method("basic.consume", queue=QUEUE, consumer_tag="t", nowait=True)
     * 2, closed(530)),
    ("immediate", method("basic.publish", routing_key=QUEUE, immediate=True)
     + content_header(wire.encode_header(0)), closed(540)),
    ("a prefetch size", method("basic.qos", prefetch_size=1), closed(540)),
    ("channel.flow(false)", method("channel.flow", active=False), closed(540)),
]:
    case(f"rule: {_name}", "channel", _data, _answer)
case("rule: recover without requeue", "channel", method("basic.recover", requeue=False),
     closed(540))
case("rule: an unknown exchange type", "channel",
     method("exchange.declare", exchange="t", type="x-guess"), soft(406), "503 in 3.10")
