# SPDX-License-Identifier: Apache-2.0
"""From the first octet to connection.open-ok: versions, start, tune, open, and their order."""

import struct

import pytest

from support import wire


# AMQP 0-9-1, 4.2.2: on a protocol header that the server does not speak it writes the one it
# does speak and closes. 0-8, 0-10 and 1.0 are such; so is HTTP on the wrong port.
@pytest.mark.parametrize("greeting", [
    pytest.param(b"AMQP\x01\x01\x08\x00", marks=pytest.mark.differs("3.10 still accepts 0-8")),
    b"AMQP\x01\x01\x00\x0a", b"AMQP\x00\x00\x09\x02",
    b"AMQP\x00\x00\x0a\x00", b"AMQP\x02\x01\x00\x00",
    b"AMQP\xff\xff\xff\xff", b"GET / HTTP/1.1\r\n",
], ids=["0-8", "0-10", "0-9-2", "0-10-0", "tls-id", "all-ones", "http"])
def test_a_header_of_another_protocol_is_answered_with_ours_and_a_close(connect, greeting):
    conn = connect(raw=True)
    conn.send_bytes(greeting)
    assert conn.read_exactly(8) == wire.PROTOCOL_HEADER
    conn.expect_eof()


# RabbitMQ switches to AMQP 1.0 here when it can; we speak 0-9-1 only.
def test_amqp_1_0_with_sasl_is_answered_with_our_header_and_a_close(connect):
    conn = connect(raw=True)
    conn.send_bytes(b"AMQP\x03\x01\x00\x00")
    assert conn.read_exactly(8) == wire.PROTOCOL_HEADER
    conn.expect_eof()


# A TLS ClientHello on the plain port is not AMQP; an alert or our header would both be noise.
@pytest.mark.differs("3.10 writes its header first")
def test_a_tls_hello_on_the_plain_port_ends_in_a_close(connect):
    conn = connect(raw=True)
    conn.send_bytes(bytes.fromhex("1603010200010001fc0303") + bytes(32))
    conn.expect_eof()


# AMQP 0-9 and 0-9-1 share their methods; brokers accept the header of both.
def test_the_header_of_0_9_is_accepted_as_0_9_1(connect):
    conn = connect(raw=True)
    conn.send_bytes(b"AMQP\x01\x01\x00\x09")
    assert conn.expect(0, "connection.start").version_minor == 9


# The header may arrive octet by octet; TCP promises no more.
def test_a_header_in_eight_pieces_is_read_as_one(connect):
    conn = connect(raw=True)
    for octet in wire.PROTOCOL_HEADER:
        conn.send_bytes(bytes([octet]))
    conn.expect(0, "connection.start")


# Health probes of load balancers connect and leave; the broker goes on.
def test_a_probe_that_sends_nothing_is_no_trouble(connect):
    connect(raw=True).drop()
    assert connect().is_alive()


def test_start_names_version_locale_and_mechanisms_for_a_plain_socket(connect):
    start = connect(raw=True).read_start()
    assert (start.version_major, start.version_minor) == (0, 9)
    assert start.locales == b"en_US"
    # EXTERNAL needs a certificate and is offered over TLS only.
    assert sorted(start.mechanisms.decode().split(" ")) == ["AMQPLAIN", "PLAIN"]


# Clients decide by these what they may use; each has tests of its own elsewhere in this folder.
def test_start_announces_the_capabilities_that_work(connect):
    start = connect(raw=True).read_start()
    for name in ("publisher_confirms", "exchange_exchange_bindings", "basic.nack",
                 "consumer_cancel_notify", "connection.blocked", "consumer_priorities",
                 "authentication_failure_close", "per_consumer_qos", "direct_reply_to"):
        assert start.server_properties["capabilities"][name] is True, name


@pytest.mark.bourse_only
def test_start_tells_product_version_and_platform(connect):
    properties = connect(raw=True).read_start().server_properties
    assert properties["product"] == b"Bourse".decode()
    for name in ("version", "platform", "cluster_name", "copyright", "information"):
        assert isinstance(properties[name], str) and properties[name], name


def test_tune_proposes_2047_channels_128_kib_frames_and_60_seconds(connect):
    tune = connect(raw=True).login()
    assert (tune.channel_max, tune.frame_max, tune.heartbeat) == (2047, 131072, 60)


@pytest.mark.parametrize("mechanism", ["PLAIN", "AMQPLAIN"])
def test_login_with(connect, mechanism):
    assert connect(mechanism=mechanism).is_alive()


# AMQPLAIN's values may be long strings or byte arrays, in any order, among other fields.
@pytest.mark.differs("3.10 takes long strings only")
def test_amqplain_takes_byte_arrays_and_other_fields(connect):
    response = wire.encode_table_body({"REALM": 1, "PASSWORD": b"guest", "LOGIN": b"guest"})
    assert connect(mechanism="AMQPLAIN", response=response).is_alive()


# Clients may write tune-ok and open without waiting in between.
def test_tune_ok_and_open_may_be_pipelined(connect):
    conn = connect(raw=True)
    conn.login()
    conn.send_bytes(wire.method_frame(0, "connection.tune-ok", channel_max=10, frame_max=8192)
                    + wire.method_frame(0, "connection.open", virtual_host="/")
                    + wire.method_frame(1, "channel.open"))
    assert conn.expect(0, "connection.open-ok").known_hosts == ""
    assert conn.expect(1, "channel.open-ok").channel_id == b""


@pytest.mark.parametrize("value", [8192, 8193, 131071, 131072])
def test_a_frame_max_within_the_offer_is_accepted(connect, value):
    assert connect(frame_max=value).is_alive()


# The specification's minimum; RabbitMQ asks for 8192 in newer versions, older clients for 4096.
def test_a_frame_max_of_4096_is_accepted(connect):
    assert connect(frame_max=4096).is_alive()


def refused_tune(connect, text, **values):
    conn = connect(raw=True)
    conn.login()
    conn.tune(**values)
    conn.expect_close(530, text)


@pytest.mark.differs("3.10 closes without a word")
@pytest.mark.parametrize("value", [1, 8, 4095])
def test_a_frame_max_under_the_minimum_is_refused(connect, value):
    refused_tune(connect, f"NOT_ALLOWED - negotiated frame_max = {value} is lower than the "
                 "minimum allowed value (4096)", frame_max=value)


@pytest.mark.differs("3.10 closes without a word")
@pytest.mark.parametrize("value", [131073, 2**32 - 1])
def test_a_frame_max_over_the_offer_is_refused(connect, value):
    refused_tune(connect, f"NOT_ALLOWED - negotiated frame_max = {value} is higher than the "
                 "maximum allowed value (131072)", frame_max=value)


# 0 means "no limit", which the server did not offer.
@pytest.mark.differs("3.10 closes without a word")
def test_a_frame_max_of_zero_is_refused(connect):
    conn = connect(raw=True)
    conn.login()
    conn.send(0, "connection.tune-ok", channel_max=1, frame_max=0)
    conn.expect_close(530)


@pytest.mark.differs("3.10 closes without a word")
@pytest.mark.parametrize("value", [2048, 65535])
def test_a_channel_max_over_the_offer_is_refused(connect, value):
    refused_tune(connect, f"NOT_ALLOWED - negotiated channel_max = {value} is higher than the "
                 "maximum allowed value (2047)", channel_max=value)


@pytest.mark.differs("3.10 closes without a word")
def test_a_channel_max_of_zero_is_refused(connect):
    refused_tune(connect, None, channel_max=0)


def test_the_smallest_channel_max_is_one(connect):
    assert connect(channel_max=1).channel(1)


def test_an_unknown_vhost_is_refused(connect):
    conn = connect(raw=True)
    conn.login()
    conn.tune()
    conn.send(0, "connection.open", virtual_host="nowhere")
    conn.expect_close(530, "NOT_ALLOWED - vhost nowhere not found")


# Before login the only frames are start-ok and its successors, and they fit 8 KiB.
def test_a_start_ok_over_8_kib_ends_the_connection(connect):
    conn = connect(raw=True)
    conn.read_start()
    conn.send_start_ok(properties={"filler": "x" * 9000})
    conn.expect_end(501)


@pytest.mark.differs("3.10 allows 4 KiB")
def test_a_start_ok_just_under_8_kib_is_read(connect):
    conn = connect(raw=True)
    conn.read_start()
    conn.send_start_ok(properties={"filler": "x" * 7800})
    conn.expect(0, "connection.tune")


# Large counts of tiny fields must cost no more than their octets; a client's own are few.
def test_client_properties_of_every_field_type_are_read(connect):
    properties = {letter: wire.Typed(letter, value) for letter, value in {
        "t": True, "b": -1, "B": 255, "s": -2, "u": 65535, "I": -3, "i": 4, "l": -5, "L": -6,
        "f": 1.5, "d": 2.5, "D": (2, 314), "S": "text", "A": [1, "two", None], "T": 1700000000,
        "F": {"deep": {"er": 1}}, "V": None, "x": b"\0\1\2"}.items()}
    assert connect(properties=properties).is_alive()


# Before authentication a broker owes a stranger nothing but silence: RabbitMQ closes the socket
# after a while, some send a close first. Either way the connection is over.
def test_a_method_out_of_turn_before_login_ends_the_connection(connect):
    early = [("connection.tune-ok", {}), ("connection.open", {"virtual_host": "/"}),
             ("connection.secure-ok", {"response": b"x"}), ("channel.open", {}),
             ("queue.declare", {"queue": "q"}), ("connection.start", {}),
             ("connection.close-ok", {})]
    conns = [connect(raw=True) for _ in early]
    for conn, (name, arguments) in zip(conns, early):
        conn.read_start()
        conn.send(1 if name.startswith(("channel", "queue")) else 0, name, **arguments)
    for conn in conns:
        conn.expect_end(503, 504)


@pytest.mark.parametrize("name", ["connection.start-ok", "connection.tune-ok", "connection.open",
                                  "connection.secure-ok"])
def test_handshake_methods_after_open_are_out_of_turn(conn, name):
    conn.send(0, name)
    conn.expect_close(504)


def test_anything_but_the_connection_class_on_channel_0_is_a_channel_error(conn):
    conn.send(0, "queue.declare", queue="q")
    conn.expect_close(504)


# A frame of 8 KiB is the limit until tune; after it the negotiated size holds at once.
def test_after_tune_a_large_frame_is_read_before_open_is_answered(connect):
    conn = connect(raw=True)
    conn.login()
    conn.tune()
    conn.call(0, "connection.open", virtual_host="/")
    channel = conn.channel()
    queue = channel.temp_queue()
    channel.publish("", queue, b"x" * 131064)
    assert len(channel.get(queue).body) == 131064


def test_a_payload_of_just_the_frame_max_is_tolerated(conn):
    # Several clients forget the eight octets of overhead; RabbitMQ forgives them.
    channel = conn.channel()
    queue = channel.temp_queue()
    body = b"x" * conn.frame_max
    conn.send_bytes(wire.method_frame(1, "basic.publish", routing_key=queue)
                    + wire.encode_frame(wire.FRAME_HEADER, 1, wire.encode_header(len(body)))
                    + wire.encode_frame(wire.FRAME_BODY, 1, body))
    assert channel.get(queue).body == body


def test_a_payload_over_the_frame_max_is_a_frame_error(conn):
    conn.channel()
    conn.send_bytes(struct.pack(">BHI", wire.FRAME_BODY, 1, conn.frame_max + 1))
    conn.expect_close(501)
