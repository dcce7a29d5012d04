# SPDX-License-Identifier: Apache-2.0
"""The AMQP 0-9-1 wire format as pure functions: methods, tables, properties, frames.

Written from the specification and its errata, independently of the broker, so that a mistake in
the broker's codec cannot hide behind the same mistake here. `encode_*` return bytes, `decode_*`
take bytes and an offset and return (value, next offset).
"""

import struct

FRAME_METHOD, FRAME_HEADER, FRAME_BODY, FRAME_HEARTBEAT = 1, 2, 3, 8
FRAME_END = 0xCE
PROTOCOL_HEADER = b"AMQP\x00\x00\x09\x01"

# name, class id, method id, arguments in wire order. '*' after the name: content follows.
_METHOD_TABLE = """
connection.start 10 10 version_major:octet version_minor:octet server_properties:table mechanisms:longstr locales:longstr
connection.start-ok 10 11 client_properties:table mechanism:shortstr response:longstr locale:shortstr
connection.secure 10 20 challenge:longstr
connection.secure-ok 10 21 response:longstr
connection.tune 10 30 channel_max:short frame_max:long heartbeat:short
connection.tune-ok 10 31 channel_max:short frame_max:long heartbeat:short
connection.open 10 40 virtual_host:shortstr capabilities:shortstr insist:bit
connection.open-ok 10 41 known_hosts:shortstr
connection.close 10 50 reply_code:short reply_text:shortstr class_id:short method_id:short
connection.close-ok 10 51
connection.blocked 10 60 reason:shortstr
connection.unblocked 10 61
connection.update-secret 10 70 new_secret:longstr reason:shortstr
connection.update-secret-ok 10 71
channel.open 20 10 out_of_band:shortstr
channel.open-ok 20 11 channel_id:longstr
channel.flow 20 20 active:bit
channel.flow-ok 20 21 active:bit
channel.close 20 40 reply_code:short reply_text:shortstr class_id:short method_id:short
channel.close-ok 20 41
access.request 30 10 realm:shortstr exclusive:bit passive:bit active:bit write:bit read:bit
access.request-ok 30 11 ticket:short
exchange.declare 40 10 ticket:short exchange:shortstr type:shortstr passive:bit durable:bit auto_delete:bit internal:bit nowait:bit arguments:table
exchange.declare-ok 40 11
exchange.delete 40 20 ticket:short exchange:shortstr if_unused:bit nowait:bit
exchange.delete-ok 40 21
exchange.bind 40 30 ticket:short destination:shortstr source:shortstr routing_key:shortstr nowait:bit arguments:table
exchange.bind-ok 40 31
exchange.unbind 40 40 ticket:short destination:shortstr source:shortstr routing_key:shortstr nowait:bit arguments:table
exchange.unbind-ok 40 51
queue.declare 50 10 ticket:short queue:shortstr passive:bit durable:bit exclusive:bit auto_delete:bit nowait:bit arguments:table
queue.declare-ok 50 11 queue:shortstr message_count:long consumer_count:long
queue.bind 50 20 ticket:short queue:shortstr exchange:shortstr routing_key:shortstr nowait:bit arguments:table
queue.bind-ok 50 21
queue.purge 50 30 ticket:short queue:shortstr nowait:bit
queue.purge-ok 50 31 message_count:long
queue.delete 50 40 ticket:short queue:shortstr if_unused:bit if_empty:bit nowait:bit
queue.delete-ok 50 41 message_count:long
queue.unbind 50 50 ticket:short queue:shortstr exchange:shortstr routing_key:shortstr arguments:table
queue.unbind-ok 50 51
basic.qos 60 10 prefetch_size:long prefetch_count:short global_:bit
basic.qos-ok 60 11
basic.consume 60 20 ticket:short queue:shortstr consumer_tag:shortstr no_local:bit no_ack:bit exclusive:bit nowait:bit arguments:table
basic.consume-ok 60 21 consumer_tag:shortstr
basic.cancel 60 30 consumer_tag:shortstr nowait:bit
basic.cancel-ok 60 31 consumer_tag:shortstr
basic.publish* 60 40 ticket:short exchange:shortstr routing_key:shortstr mandatory:bit immediate:bit
basic.return* 60 50 reply_code:short reply_text:shortstr exchange:shortstr routing_key:shortstr
basic.deliver* 60 60 consumer_tag:shortstr delivery_tag:longlong redelivered:bit exchange:shortstr routing_key:shortstr
basic.get 60 70 ticket:short queue:shortstr no_ack:bit
basic.get-ok* 60 71 delivery_tag:longlong redelivered:bit exchange:shortstr routing_key:shortstr message_count:long
basic.get-empty 60 72 cluster_id:shortstr
basic.ack 60 80 delivery_tag:longlong multiple:bit
basic.reject 60 90 delivery_tag:longlong requeue:bit
basic.recover-async 60 100 requeue:bit
basic.recover 60 110 requeue:bit
basic.recover-ok 60 111
basic.nack 60 120 delivery_tag:longlong multiple:bit requeue:bit
confirm.select 85 10 nowait:bit
confirm.select-ok 85 11
tx.select 90 10
tx.select-ok 90 11
tx.commit 90 20
tx.commit-ok 90 21
tx.rollback 90 30
tx.rollback-ok 90 31
"""


class MethodSpec:
    """One row of the method table."""

    def __init__(self, name, class_id, method_id, fields):
        self.has_content = name.endswith("*")
        self.name = name.rstrip("*")
        self.class_id, self.method_id, self.fields = class_id, method_id, fields


def _parse_method_table():
    specs = []
    for line in _METHOD_TABLE.strip().splitlines():
        name, class_id, method_id, *fields = line.split()
        fields = [tuple(field.split(":")) for field in fields]
        specs.append(MethodSpec(name, int(class_id), int(method_id), fields))
    return specs


METHODS = {spec.name: spec for spec in _parse_method_table()}
METHODS_BY_ID = {(spec.class_id, spec.method_id): spec for spec in METHODS.values()}

# The content properties in the order of their flag bits, from bit 15 down.
PROPERTIES = [
    ("content_type", "shortstr"), ("content_encoding", "shortstr"), ("headers", "table"),
    ("delivery_mode", "octet"), ("priority", "octet"), ("correlation_id", "shortstr"),
    ("reply_to", "shortstr"), ("expiration", "shortstr"), ("message_id", "shortstr"),
    ("timestamp", "longlong"), ("type", "shortstr"), ("user_id", "shortstr"),
    ("app_id", "shortstr"), ("cluster_id", "shortstr"),
]


class Typed:
    """A field value with its type letter spelled out, such as Typed('s', -1)."""

    def __init__(self, letter, value):
        self.letter, self.value = letter, value

    def __eq__(self, other):
        return isinstance(other, Typed) and (self.letter, self.value) == (other.letter, other.value)

    def __repr__(self):
        return f"Typed({self.letter!r}, {self.value!r})"


class Malformed(Exception):
    """What the broker sent is not AMQP 0-9-1."""


def to_bytes(text):
    return text if isinstance(text, bytes) else text.encode()


def encode_shortstr(text):
    data = to_bytes(text)
    assert len(data) <= 255, "a shortstr holds 255 octets"
    return bytes([len(data)]) + data


def encode_longstr(text):
    data = to_bytes(text)
    return struct.pack(">I", len(data)) + data


_FIXED = {"b": ">b", "B": ">B", "s": ">h", "u": ">H", "I": ">i", "i": ">I", "l": ">q", "L": ">q",
          "f": ">f", "d": ">d", "T": ">Q"}


def _guess_letter(value):
    if value is None:
        return "V"
    if isinstance(value, bool):
        return "t"
    if isinstance(value, int):
        return "I" if -2**31 <= value < 2**31 else "l"
    for kind, letter in ((float, "d"), (str, "S"), (bytes, "x"), (dict, "F"), (list, "A")):
        if isinstance(value, kind):
            return letter
    raise TypeError(f"no field type for {value!r}")


def encode_field(value):
    """A field value with its type letter in front."""
    if not isinstance(value, Typed):
        value = Typed(_guess_letter(value), value)
    letter, content = value.letter, value.value
    if letter in _FIXED:
        data = struct.pack(_FIXED[letter], content)
    elif letter == "t":
        data = bytes([1 if content is True else int(content)])
    elif letter == "D":
        data = struct.pack(">BI", *content)
    elif letter in "Sx":
        data = encode_longstr(content)
    elif letter == "A":
        data = encode_longstr(b"".join(encode_field(item) for item in content))
    elif letter == "F":
        data = encode_table(content)
    else:
        assert letter == "V", letter
        data = b""
    return letter.encode() + data


def encode_table_body(table):
    return b"".join(encode_shortstr(name) + encode_field(value) for name, value in table.items())


def encode_table(table):
    """A dict as a table; raw bytes are taken as the body of one."""
    return encode_longstr(table if isinstance(table, bytes) else encode_table_body(table))


def decode_field(data, at, typed=False):
    letter, at = chr(data[at]), at + 1
    if letter in _FIXED:
        form = _FIXED[letter]
        value, at = struct.unpack_from(form, data, at)[0], at + struct.calcsize(form)
    elif letter == "t":
        value, at = data[at] != 0, at + 1
    elif letter == "D":
        value, at = struct.unpack_from(">BI", data, at), at + 5
    elif letter in "Sx":
        value, at = decode_longstr(data, at)
        if letter == "S":
            value = value.decode(errors="surrogateescape")
    elif letter == "A":
        body, at = decode_longstr(data, at)
        value, inner = [], 0
        while inner < len(body):
            item, inner = decode_field(body, inner, typed)
            value.append(item)
    elif letter == "F":
        value, at = decode_table(data, at, typed)
    elif letter == "V":
        value = None
    else:
        raise Malformed(f"unknown field type {letter!r}")
    return (Typed(letter, value) if typed else value), at


def decode_longstr(data, at):
    (length,) = struct.unpack_from(">I", data, at)
    at += 4
    if at + length > len(data):
        raise Malformed("a long string ends after its frame")
    return bytes(data[at:at + length]), at + length


def decode_shortstr(data, at):
    end = at + 1 + data[at]
    if end > len(data):
        raise Malformed("a short string ends after its frame")
    return bytes(data[at + 1:end]).decode(errors="surrogateescape"), end


def decode_table(data, at, typed=False):
    body, at = decode_longstr(data, at)
    table, inner = {}, 0
    while inner < len(body):
        name, inner = decode_shortstr(body, inner)
        table[name], inner = decode_field(body, inner, typed)
    return table, at


_INTEGERS = {"octet": ">B", "short": ">H", "long": ">I", "longlong": ">Q"}
_EMPTY = {"shortstr": "", "longstr": "", "table": {}}


def _encode_argument(kind, value):
    if kind in _INTEGERS:
        return struct.pack(_INTEGERS[kind], value)
    return {"shortstr": encode_shortstr, "longstr": encode_longstr, "table": encode_table}[kind](value)


def _decode_argument(kind, data, at, typed=False):
    if kind in _INTEGERS:
        form = _INTEGERS[kind]
        return struct.unpack_from(form, data, at)[0], at + struct.calcsize(form)
    if kind == "shortstr":
        return decode_shortstr(data, at)
    if kind == "longstr":
        return decode_longstr(data, at)
    return decode_table(data, at, typed)


def encode_method(name, **arguments):
    """The payload of a method frame. Arguments left out are zero, empty or false."""
    spec = METHODS[name]
    data, bits, bit_count = struct.pack(">HH", spec.class_id, spec.method_id), 0, 0
    unknown = set(arguments) - {field for field, _ in spec.fields}
    assert not unknown, f"{name} has no argument {unknown}"
    for field, kind in spec.fields:
        if kind == "bit":
            bits |= bool(arguments.get(field, False)) << bit_count
            bit_count += 1
            continue
        if bit_count:
            data, bits, bit_count = data + bytes([bits]), 0, 0
        data += _encode_argument(kind, arguments.get(field, _EMPTY.get(kind, 0)))
    return data + (bytes([bits]) if bit_count else b"")


class Method:
    """A received method: `.name`, its arguments as attributes, `.properties` and `.body` of the
    content where it carries one, `.raw_header` the header frame's payload as it came."""

    def __init__(self, spec, arguments):
        self.name, self.spec, self.arguments = spec.name, spec, arguments
        self.properties, self.body, self.raw_header = None, None, None
        self.__dict__.update(arguments)

    @property
    def typed_headers(self):
        """The headers of the content, each with its type on the wire."""
        return decode_header(self.raw_header, typed=True)[1]["headers"]

    def __repr__(self):
        text = ", ".join(f"{key}={value!r}" for key, value in self.arguments.items())
        return f"{self.name}({text})"


def decode_method(payload):
    ids = struct.unpack_from(">HH", payload)
    if ids not in METHODS_BY_ID:
        raise Malformed(f"unknown method {ids}")
    spec, arguments, at, bit_count = METHODS_BY_ID[ids], {}, 4, 0
    for field, kind in spec.fields:
        if kind == "bit":
            arguments[field] = bool(payload[at] >> bit_count & 1)
            bit_count += 1
            continue
        if bit_count:
            at, bit_count = at + 1, 0
        arguments[field], at = _decode_argument(kind, payload, at)
    at += 1 if bit_count else 0
    if at != len(payload):
        raise Malformed(f"{spec.name} has {len(payload) - at} octets too many")
    return Method(spec, arguments)


def encode_header(body_size, properties=None, class_id=60, weight=0):
    flags, values = 0, b""
    properties = dict(properties or {})
    for index, (name, kind) in enumerate(PROPERTIES):
        if name in properties:
            flags |= 1 << (15 - index)
            values += _encode_argument(kind, properties.pop(name))
    assert not properties, f"no such property: {list(properties)}"
    return struct.pack(">HHQH", class_id, weight, body_size, flags) + values


def decode_header(payload, typed=False):
    """(body size, properties) of a header frame's payload."""
    _class_id, weight, body_size, flags = struct.unpack_from(">HHQH", payload)
    if weight != 0:
        raise Malformed("weight is not 0")
    properties, at = {}, 14
    for index, (name, kind) in enumerate(PROPERTIES):
        if flags & (1 << (15 - index)):
            properties[name], at = _decode_argument(kind, payload, at, typed)
    if at != len(payload):
        raise Malformed("octets after the last property")
    return body_size, properties


def encode_frame(kind, channel, payload, end=FRAME_END):
    return struct.pack(">BHI", kind, channel, len(payload)) + payload + bytes([end])


def method_frame(channel, name, **arguments):
    return encode_frame(FRAME_METHOD, channel, encode_method(name, **arguments))


def plain_response(user, password):
    return b"\0" + to_bytes(user) + b"\0" + to_bytes(password)


def amqplain_response(user, password):
    return encode_table_body({"LOGIN": user, "PASSWORD": password})


HEARTBEAT = encode_frame(FRAME_HEARTBEAT, 0, b"")
