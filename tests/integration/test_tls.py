# SPDX-License-Identifier: Apache-2.0
"""TLS: versions, client certificates and the user taken from them, renewal of certificates."""

import shutil
import signal
import socket
import ssl
import subprocess

import pytest

from support import amqp, broker as brokers, certs

pytestmark = pytest.mark.bourse_only

FILE = """
    bourse: 1
    vhost: /
    exchanges: {{own: {{type: direct}}}}
    users:
      alice: {{auth: cert, publish: [own]}}
      "CN=alice,O=Shop": {{auth: cert, publish: [own]}}
      "alice@example.org": {{auth: cert, publish: [own]}}
      alice.example.org: {{auth: cert, publish: [own]}}
      pass: {{auth: password, password-file: pass.pw, publish: [own]}}
    listeners:
      amqps:
        bind: "127.0.0.1:0"
        tls: {{certificate: server.pem, key: server.key, client-ca: ca.pem, {more}}}
"""


@pytest.fixture
def tls_broker(tmp_path, authority, serve):
    """tls_broker("client-cert: request, user-from: cn") serves with a copy of the certificates."""

    def start(more="client-cert: request", **options):
        for name in ("ca.pem", "server.pem", "server.key"):
            shutil.copy(authority.path(name), tmp_path / name)
        return serve(FILE.format(more=more), passwords=["pass"], listen=("amqps",), **options)

    return start


def log_in_with_certificate(broker, authority, certificate):
    conn = broker.connect(authority.client_context(certificate))
    conn.open(mechanism="EXTERNAL")
    return conn


def handshake_fails(broker, context, **options):
    """TLS 1.3 clients learn of a refused certificate only with the first read."""
    try:
        conn = broker.connect(context, **options)
        conn.send_bytes(b"AMQP\x00\x00\x09\x01")
        conn.read_exactly(8)
    except TimeoutError:
        raise AssertionError("neither refused nor accepted") from None
    except (ssl.SSLError, OSError, amqp.Closed):
        return True
    return False


# -- versions

@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_tls_1_2_and_1_3_are_spoken(tls_broker, authority, canaries, version):
    broker = tls_broker()
    context = authority.client_context()
    context.minimum_version = context.maximum_version = version
    conn = broker.connect(context).open(user="pass", password=canaries["pass"])
    assert conn.sock.version() == {ssl.TLSVersion.TLSv1_2: "TLSv1.2",
                                   ssl.TLSVersion.TLSv1_3: "TLSv1.3"}[version]
    assert conn.is_alive()


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion")
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1])
def test_older_versions_are_refused(tls_broker, authority, version):
    broker = tls_broker()
    context = authority.client_context(minimum=version, maximum=version)
    assert handshake_fails(broker, context)


def test_min_version_1_3_refuses_1_2(tls_broker, authority):
    broker = tls_broker('client-cert: none, min-version: "1.3"')
    assert handshake_fails(broker, authority.client_context(maximum=ssl.TLSVersion.TLSv1_2))
    assert not handshake_fails(broker, authority.client_context())


@pytest.mark.parametrize("cipher", ["AES128-SHA", "AES256-GCM-SHA384", "ECDHE-ECDSA-AES128-SHA"])
def test_ciphers_without_forward_secrecy_or_authentication_are_refused(tls_broker, authority,
                                                                       cipher):
    broker = tls_broker()
    context = authority.client_context(maximum=ssl.TLSVersion.TLSv1_2)
    context.set_ciphers(cipher)
    assert handshake_fails(broker, context)


# T5: a client that asks for renegotiation is refused, and nobody else notices.
def test_renegotiation_is_refused(tls_broker, authority, canaries):
    broker = tls_broker()
    bystander = broker.connect(authority.client_context()).open(user="pass",
                                                                password=canaries["pass"])
    result = subprocess.run(
        ["openssl", "s_client", "-connect", "%s:%d" % broker.amqps, "-tls1_2", "-CAfile",
         authority.certificate], input=b"R\n", capture_output=True, timeout=10, check=False)
    assert b"no renegotiation" in result.stderr or b"error" in result.stderr, result.stderr
    assert b"Compression: NONE" in result.stdout
    assert bystander.is_alive()


def test_plain_amqp_on_the_tls_port_ends_in_a_close(tls_broker):
    broker = tls_broker()
    with socket.create_connection(broker.amqps, timeout=5) as sock:
        sock.sendall(b"AMQP\x00\x00\x09\x01")
        received = b""
        while data := sock.recv(1000):
            received += data
    assert not received.startswith(b"AMQP")


def test_the_server_certificate_holds_for_its_names(tls_broker, authority):
    broker = tls_broker()
    broker.connect(authority.client_context(), server_hostname="127.0.0.1").drop()
    with pytest.raises(ssl.SSLCertVerificationError):
        broker.connect(authority.client_context(), server_hostname="elsewhere.example.org")


def test_large_messages_pass_over_tls(tls_broker, authority, canaries):
    broker = tls_broker()
    channel = broker.connect(authority.client_context()).open(
        user="pass", password=canaries["pass"]).channel()
    for size in (0, 1, 16383, 16384, 16385, 1_000_000):
        channel.publish("own", "nowhere", b"t" * size, mandatory=True)
        assert channel.expect("basic.return").body == b"t" * size


# -- client certificates

@pytest.mark.parametrize("user_from, subject, san", [
    ("cn", "/CN=alice", None),
    ("dn", "/O=Shop/CN=alice", None),
    ("san-dns", "/CN=x", "DNS:alice.example.org"),
    ("san-email", "/CN=x", "email:alice@example.org"),
    ("san-uri", "/CN=x", "URI:spiffe://shop/alice"),
    ("san-uri", "/CN=x", "DNS:other,URI:spiffe://shop/team/alice"),
])
def test_the_user_is_taken_from_the_certificate(tls_broker, authority, user_from, subject, san):
    broker = tls_broker(f"client-cert: request, user-from: {user_from}")
    certificate = authority.issue(amqp.unique("client"), subject=subject, san=san)
    log_in_with_certificate(broker, authority, certificate).close()


def refused_with(broker, context):
    conn = broker.connect(context)
    conn.read_start()
    conn.send_start_ok(mechanism="EXTERNAL")
    return conn.expect_end(403, 503, timeout_s=20)


@pytest.mark.parametrize("subject, san", [
    ("/CN=nobody", None), ("/O=no common name", None), ("/CN=Alice", None), ("/CN=alice ", None),
    ("/CN=pass", None),
])
def test_a_certificate_of_nobody_is_refused(tls_broker, authority, subject, san):
    broker = tls_broker("client-cert: request, user-from: cn")
    certificate = authority.issue(amqp.unique("client"), subject=subject, san=san)
    assert refused_with(broker, authority.client_context(certificate)).reply_code == 403


def test_external_without_a_certificate_is_refused(tls_broker, authority):
    broker = tls_broker()
    refused_with(broker, authority.client_context())


def test_require_refuses_clients_without_a_certificate(tls_broker, authority):
    broker = tls_broker("client-cert: require")
    assert handshake_fails(broker, authority.client_context())
    log_in_with_certificate(broker, authority, authority.issue("alice")).close()


# F14: the log names what was wrong.
@pytest.mark.parametrize("how", ["expired", "foreign", "for servers"])
def test_a_certificate_that_does_not_verify_is_refused(tls_broker, authority, tmp_path, how):
    broker = tls_broker()
    if how == "expired":
        certificate = authority.issue("expired", subject="/CN=alice", days=-1)
    elif how == "foreign":
        certificate = certs.Authority(tmp_path / "foreign", "foreign").issue("alice")
    else:
        certificate = authority.issue("for-servers", subject="/CN=alice", usage="serverAuth")
    seen = len(broker.log.lines)
    assert handshake_fails(broker, authority.client_context(certificate))
    line = broker.log.wait_for(r"event=link\.handshake_failed", after=seen)
    reason = {"expired": "has expired", "foreign": "local issuer", "for servers": "purpose"}[how]
    assert reason in line
    serial = subprocess.run(["openssl", "x509", "-noout", "-serial", "-in", certificate[0]],
                            capture_output=True, text=True, check=True).stdout.strip()
    assert serial.removeprefix("serial=").lstrip("0").lower() in line.lower()


# -- renewal

def serial(broker, authority):
    conn = broker.connect(authority.client_context())
    number = conn.sock.getpeercert()["serialNumber"]
    conn.drop()
    return number


def renew(authority, tmp_path, name):
    """Puts a new certificate and key in place of those the broker was started with."""
    for source, target in zip(authority.issue_server(name), ("server.pem", "server.key")):
        shutil.copy(source, tmp_path / target)


def test_sighup_takes_a_new_certificate_without_dropping_anyone(tls_broker, authority, canaries,
                                                                tmp_path):
    broker = tls_broker()
    conns = [broker.connect(authority.client_context()).open(user="pass", password=canaries["pass"])
             for _ in range(5)]
    before = serial(broker, authority)
    for turn in range(3):
        renew(authority, tmp_path, f"renewed-{turn}")
        assert "config.reloaded" in broker.reload()
        after = serial(broker, authority)
        assert after != before
        before = after
    assert all(conn.is_alive() for conn in conns)


@pytest.mark.parametrize("damage", ["garbage", "missing", "another key", "empty"])
def test_a_bad_new_certificate_keeps_the_old_one_and_says_why(tls_broker, authority, canaries,
                                                              tmp_path, damage):
    broker = tls_broker()
    conn = broker.connect(authority.client_context()).open(user="pass", password=canaries["pass"])
    before = serial(broker, authority)
    if damage == "garbage":
        (tmp_path / "server.pem").write_text("this is no certificate\n")
    elif damage == "empty":
        (tmp_path / "server.key").write_text("")
    elif damage == "missing":
        (tmp_path / "server.pem").unlink()
    else:
        shutil.copy(authority.issue_server(amqp.unique("other"))[1], tmp_path / "server.key")
    seen = len(broker.log.lines)
    broker.signal(signal.SIGHUP)
    broker.log.wait_for(r"server\.(pem|key)|certificate|key", after=seen)
    assert serial(broker, authority) == before
    assert conn.is_alive()


# All or nothing, when something else in the file is refused: the broker's listener and the console's.
def test_a_refused_reload_keeps_the_certificates(serve, authority, write_config, tmp_path):
    for name in ("ca.pem", "server.pem", "server.key"):
        shutil.copy(authority.path(name), tmp_path / name)
    text = FILE.format(more="client-cert: request") + """\
      https: {bind: "127.0.0.1:0", tls: {certificate: server.pem, key: server.key}}
"""
    broker = serve(text, passwords=["pass"], listen=("amqps", "https"))

    def served():
        return {ssl.get_server_certificate(broker.addresses[name][0]) for name in ("amqps", "https")}

    before = served()
    renew(authority, tmp_path, "renewed-refused")
    write_config(text.replace("type: direct", "type: fanout"), ["pass"])
    assert "config.reload_refused" in broker.reload(r"config\.reloaded|config\.reload_refused")
    assert served() == before
    write_config(text, ["pass"])
    assert "config.reloaded" in broker.reload(r"config\.reloaded|config\.reload_refused")
    assert len(served()) == 1 and served() != before


def test_a_revoked_certificate_is_refused(tls_broker, authority, tmp_path):
    """The list is made by `openssl ca`; it is read like the certificates."""
    revoked, fine = authority.issue("revoked", subject="/CN=alice"), authority.issue("alice")
    certs.revoke(authority, revoked[0], tmp_path / "crl.pem")
    broker = tls_broker("client-crl: crl.pem, client-cert: request")
    log_in_with_certificate(broker, authority, fine).close()
    assert handshake_fails(broker, authority.client_context(revoked))


# -- start

def test_amqps_without_a_certificate_is_an_error_in_one_line():
    result = brokers.run_command("serve", "--amqps", "127.0.0.1:0")
    assert result.returncode != 0
    assert len(result.stderr.strip().splitlines()) == 1 and "certificate" in result.stderr


def test_serve_refuses_an_unreadable_key(write_config):
    path = write_config(FILE.format(more="client-cert: none"), passwords=["pass"])
    result = brokers.run_command("serve", str(path))
    assert result.returncode == 1
    assert "bourse.yaml:" in result.stderr and "error:" in result.stderr
