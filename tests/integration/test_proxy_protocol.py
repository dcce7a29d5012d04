# SPDX-License-Identifier: Apache-2.0
"""The PROXY protocol on listeners: what a client behind a proxy is to the broker."""

import contextlib
import shutil
import socket
import struct

import pytest

from support import amqp

pytestmark = pytest.mark.bourse_only

SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"
LINE = b"PROXY TCP4 203.0.113.7 198.51.100.2 40000 5672\r\n"
FILE = """
    bourse: 1
    users:
      keeper: {auth: password, password-file: keeper.pw,
               rights: {configure: ".*", write: ".*", read: ".*"}}
    listeners:
      amqp: {bind: "127.0.0.1:0", proxy-protocol: ["127.0.0.0/8"]}
      amqps:
        bind: "127.0.0.1:0"
        proxy-protocol: ["127.0.0.0/8"]
        tls: {certificate: server.pem, key: server.key}
"""


def binary_header(source, destination, command=0x21):
    family, size = (0x21, socket.AF_INET6) if ":" in source else (0x11, socket.AF_INET)
    addresses = socket.inet_pton(size, source) + socket.inet_pton(size, destination)
    rest = addresses + struct.pack(">HH", 40000, 5672) + b"\x04\x00\x01\x00"
    return SIGNATURE + bytes([command, family]) + struct.pack(">H", len(rest)) + rest


@pytest.fixture
def proxied(tmp_path, authority, serve):
    """A broker that is reached through proxies only."""
    for name in ("server.pem", "server.key"):
        shutil.copy(authority.path(name), tmp_path / name)
    return serve(FILE, passwords=("keeper",), listen=("amqp", "amqps"))


def log_in(broker, canaries, header, **options):
    conn = broker.connect(prefix=header, **options)
    return conn.open(user="keeper", password=canaries["keeper"])


@pytest.mark.parametrize("header", [LINE, binary_header("203.0.113.7", "198.51.100.2")])
def test_the_client_is_known_by_its_own_address(proxied, header):
    conn = proxied.connect(prefix=header)
    with pytest.raises((amqp.Closed, amqp.Unexpected)):
        conn.open(user="keeper", password="wrong")
    proxied.log.wait_for(r"203\.0\.113\.7")


@pytest.mark.parametrize("header", [
    LINE, b"PROXY UNKNOWN\r\n", binary_header("2001:db8::7", "2001:db8::1"),
    binary_header("203.0.113.7", "198.51.100.2", command=0x20)])
def test_a_client_behind_a_proxy_publishes_and_gets(proxied, canaries, header):
    channel = log_in(proxied, canaries, header).channel()
    queue = channel.temp_queue()
    channel.publish("", queue, b"through")
    assert channel.get(queue).body == b"through"


def test_the_header_stands_before_tls(proxied, canaries, authority):
    log_in(proxied, canaries, LINE, tls=authority.client_context()).channel().ping()


@pytest.mark.parametrize("octets", [b"", b"PROXY TCP9 1.2.3.4 5.6.7.8 1 2\r\n",
                                    SIGNATURE + b"\x21\x12\x00\x0c" + bytes(12)])
def test_without_a_header_that_is_right_nobody_gets_in(proxied, canaries, octets):
    with pytest.raises((OSError, amqp.Closed, amqp.Unexpected)):
        log_in(proxied, canaries, octets)
    proxied.log.wait_for(r"link\.bad_proxy_header")


# T27: whoever is not named speaks for nobody, not even for himself.
def test_who_is_not_named_is_turned_away(serve):
    broker = serve("""
        bourse: 1
        listeners:
          amqp: {bind: "127.0.0.1:0", proxy-protocol: ["192.0.2.0/24"]}
    """)
    with socket.create_connection(broker.amqp) as sock:
        sock.settimeout(amqp.TIMEOUT_S)
        with contextlib.suppress(OSError):
            sock.sendall(LINE)
            assert sock.recv(1) == b""
    broker.log.wait_for(r"listener\.not_a_proxy")
