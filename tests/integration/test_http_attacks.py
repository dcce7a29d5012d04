# SPDX-License-Identifier: Apache-2.0
"""What somebody may try at the HTTP interface before, or without, being anybody: bodies that nobody
may send, heads without end, slow clients, methods and paths that mean something elsewhere."""

import base64
import concurrent.futures
import os
import socket
import time

import pytest

from support import broker as brokers
from support import certs

pytestmark = pytest.mark.bourse_only

MIB = 1024 * 1024
GUEST = b"Host: localhost\r\nConnection: close\r\nAuthorization: Basic Z3Vlc3Q6Z3Vlc3Q=\r\n"
JSON = b"Content-Type: application/json\r\n"


@pytest.fixture(name="broker", scope="module")
def fixture_broker():
    with brokers.Bourse(listen=("amqp", "http", "metrics"), measured=True) as running:
        yield running


@pytest.fixture(name="address")
def fixture_address(broker):
    return broker.addresses["http"][0]


def resident_bytes(broker):
    with open(f"/proc/{broker.pid}/status") as status:
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmRSS"))


def ask(address, octets, timeout_s=15):
    """What comes back until the broker closes."""
    with socket.create_connection(address, timeout=timeout_s) as conn:
        conn.sendall(octets)
        return read_all(conn)


def read_all(conn):
    answer = b""
    while True:
        part = conn.recv(65536)
        if not part:
            return answer
        answer += part


def status_of(answer):
    assert answer.startswith(b"HTTP/1."), answer[:100]
    return int(answer.split(b" ", 2)[1])


def send_until_refused(address, head, octets):
    """The socket after as many octets of a body as the broker takes."""
    conn = socket.create_connection(address, timeout=15)
    conn.sendall(head)
    try:
        for _ in range(octets // MIB):
            conn.sendall(b" " * MIB)
    except OSError:
        pass
    return conn


# RabbitMQ's advisory 57212, T3: the limit of a route holds while the body comes, not once it is
# there; by length, and in chunks, whoever sends it.
@pytest.mark.parametrize("credentials", [b"Host: x\r\n", GUEST])
@pytest.mark.parametrize("line, size", [
    (b"PUT /api/queues/%2F/large HTTP/1.1\r\n", 80 * MIB),
    (b"POST /api/bourse/session HTTP/1.1\r\n", 80 * MIB),
    (b"POST /api/nothing HTTP/1.1\r\n", 80 * MIB),
    (b"GET /api/overview HTTP/1.1\r\n", 80 * MIB),
    (b"PATCH /api/overview HTTP/1.1\r\n", 80 * MIB),
])
def test_a_body_above_its_routes_limit_is_not_kept(broker, address, line, size, credentials):
    before = resident_bytes(broker)
    conn = send_until_refused(address, line + credentials + JSON +
                              b"Content-Length: %d\r\n\r\n" % size, size)
    answer = conn.recv(65536)
    conn.close()
    assert status_of(answer) == 413
    assert resident_bytes(broker) - before < 16 * MIB


def test_a_body_in_chunks_is_bounded_as_well(broker, address):
    before = resident_bytes(broker)
    head = b"PUT /api/queues/%2F/large HTTP/1.1\r\n" + GUEST + JSON
    conn = send_until_refused(address, head + b"Transfer-Encoding: chunked\r\n\r\n4000000\r\n",
                              64 * MIB)
    conn.close()
    assert resident_bytes(broker) - before < 16 * MIB


# The second request of a connection is bounded like the first, also when it came ahead of its turn.
def test_a_request_behind_another_is_bounded_by_its_own_route(broker, address):
    first = b"GET /api/version HTTP/1.1\r\n" + GUEST.replace(b"close", b"keep-alive") + b"\r\n"
    second = (b"PUT /api/queues/%2F/large HTTP/1.1\r\n" + GUEST + JSON +
              b"Content-Length: %d\r\n\r\n" % MIB)
    conn = socket.create_connection(address, timeout=15)
    conn.sendall(first + second)
    conn.sendall(b" " * MIB)
    answer = read_all(conn)
    conn.close()
    assert answer.count(b"HTTP/1.1 200 ") == 1 and answer.count(b"HTTP/1.1 413 ") == 1


# Where much may be sent it still is, when other requests of the connection may not.
def test_a_large_body_is_taken_where_the_route_takes_it(address):
    body = b'{"queues": []' + b" " * MIB + b"}"
    request = (b"POST /api/definitions HTTP/1.1\r\n" + GUEST + JSON +
               b"Content-Length: %d\r\n\r\n" % len(body) + body)
    assert status_of(ask(address, request)) in (200, 201, 204)


STRANGERS = [b"Host: localhost\r\n", b"Host: localhost\r\nAuthorization: Basic Z3Vlc3Q6d3Jvbmc=\r\n",
             b"Host: localhost\r\nAuthorization: Bearer x\r\n",
             b"Host: localhost\r\nCookie: bourse-session=0123456789abcdef0123456789abcdef\r\n"]


# T3: what a route takes of its users it does not keep of strangers: they are told before it has come.
@pytest.mark.parametrize("credentials", STRANGERS, ids=["nobody", "wrong password", "bearer", "no session"])
@pytest.mark.parametrize("framing", [b"Content-Length: %d\r\n\r\n" % (30 * MIB),
                                     b"Transfer-Encoding: chunked\r\n\r\n1e00000\r\n"], ids=["length", "chunks"])
def test_a_large_body_of_a_stranger_is_refused_unread(broker, address, credentials, framing):
    before = resident_bytes(broker)
    with socket.create_connection(address, timeout=15) as conn:
        conn.sendall(b"POST /api/definitions HTTP/1.1\r\n" + credentials + JSON + framing)
        conn.sendall(b" " * 4096)
        answer = conn.recv(65536)
        assert status_of(answer) == 401 and b"Connection: close" in answer
        assert b'"error":"not_authorized"' in answer.replace(b" ", b"")
        try:
            conn.sendall(b" " * (20 * MIB))
        except OSError:
            pass
        assert resident_bytes(broker) - before < 8 * MIB
    assert status_of(ask(address, b"GET /api/version HTTP/1.1\r\n" + GUEST + b"\r\n")) == 200


# Who waited for the core to say who it is goes on where it stopped.
def test_a_large_body_in_chunks_is_taken_where_the_route_takes_it(address):
    body = b'{"queues": []' + b" " * MIB + b"}"
    request = (b"POST /api/definitions HTTP/1.1\r\n" + GUEST + JSON + b"Transfer-Encoding: chunked\r\n\r\n" +
               b"%x\r\n" % len(body) + body + b"\r\n0\r\n\r\n")
    assert status_of(ask(address, request)) == 204


def test_a_large_body_over_tls_waits_for_who_sends_it(tmp_path):
    authority = certs.Authority(tmp_path)
    authority.issue_server()
    (tmp_path / "pw").write_text("secret\n")
    (tmp_path / "bourse.yaml").write_text(
        "bourse: 1\nusers: {admin: {auth: password, password-file: pw, role: admin}}\n"
        "listeners:\n  amqp: {bind: '127.0.0.1:0'}\n  https: {bind: '127.0.0.1:0', tls: {certificate: server.pem, key: server.key}}\n")
    body = b'{"users": []' + b" " * MIB + b"}"
    right = b"Authorization: Basic YWRtaW46c2VjcmV0\r\n"
    with brokers.Bourse(tmp_path / "bourse.yaml", listen=("amqp", "https")) as running:
        for credentials, status in ((right, 204), (b"", 401), (b"Authorization: Basic YWRtaW46eA==\r\n", 401)):
            plain = socket.create_connection(running.addresses["https"][0], timeout=15)
            with authority.client_context().wrap_socket(plain, server_hostname="localhost") as conn:
                conn.sendall(b"POST /api/definitions HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n" +
                             credentials + JSON + b"Content-Length: %d\r\n\r\n" % len(body))
                if status == 204:
                    conn.sendall(body)
                assert status_of(conn.recv(65536)) == status


# Nothing can be said between two requests that came in one go.
def test_a_large_body_that_comes_ahead_of_its_turn_is_not_kept(broker, address):
    before = resident_bytes(broker)
    first = b"GET /api/version HTTP/1.1\r\n" + GUEST.replace(b"close", b"keep-alive") + b"\r\n"
    second = (b"POST /api/definitions HTTP/1.1\r\nHost: x\r\n" + JSON +
              b"Content-Length: %d\r\n\r\n" % (30 * MIB))
    conn = send_until_refused(address, first + second, 30 * MIB)
    answer = conn.recv(65536)
    conn.close()
    assert status_of(answer) == 200
    assert resident_bytes(broker) - before < 8 * MIB
    assert status_of(ask(address, b"GET /api/version HTTP/1.1\r\n" + GUEST + b"\r\n")) == 200


# RFC 9110, 10.1.1: who may not is told so in place of being told to go on.
def test_only_who_may_is_told_to_go_on(address):
    line = b"POST /api/definitions HTTP/1.1\r\n"
    rest = JSON + b"Expect: 100-continue\r\nContent-Length: 12\r\n\r\n"
    with socket.create_connection(address, timeout=15) as conn:
        conn.sendall(line + GUEST + rest)
        assert conn.recv(65536).startswith(b"HTTP/1.1 100 ")
        conn.sendall(b'{"users":[]}')
        assert status_of(conn.recv(65536)) == 204
    for credentials in STRANGERS:
        with socket.create_connection(address, timeout=15) as conn:
            conn.sendall(line + credentials + rest)
            assert status_of(conn.recv(65536)) == 401
    assert status_of(ask(address, line + GUEST + rest.replace(b"100-continue", b"a-miracle"))) == 417


# What libevent takes for a size, and a proxy in front for something else.
@pytest.mark.parametrize("body", [
    b"0x2\r\n{}\r\n0\r\n\r\n", b"+2\r\n{}\r\n0\r\n\r\n", b" 2\r\n{}\r\n0\r\n\r\n", b"2 \r\n{}\r\n0\r\n\r\n",
    b"2\n{}\n0\n\n", b"2\r\n{}0\r\n\r\n", b"2\r\n{}\r\n0x0\r\n\r\n",
    b"2\r\n{}\r\n0\r\nAuthorization: Basic Z3Vlc3Q6Z3Vlc3Q=\r\n\r\n", b"2;x=y\r\n{}\r\n0\r\n\r\n", b"-2\r\n{}\r\n0\r\n\r\n", b"\r\n2\r\n{}\r\n0\r\n\r\n",
])
def test_a_chunk_whose_size_could_be_another_is_refused(address, body):
    request = (b"PUT /api/queues/%2F/chunked HTTP/1.1\r\n" + GUEST + JSON +
               b"Transfer-Encoding: chunked\r\n\r\n" + body)
    assert status_of(ask(address, request)) in (400, 413)
    gone = b"GET /api/queues/%2F/chunked HTTP/1.1\r\n" + GUEST + b"\r\n"
    assert status_of(ask(address, gone)) == 404


def test_chunks_that_are_sound_are_taken(address):
    request = (b"PUT /api/queues/%2F/in-chunks HTTP/1.1\r\n" + GUEST + JSON +
               b"Transfer-Encoding: chunked\r\n\r\n01\r\n{\r\n1\r\n}\r\n000\r\n\r\n")
    assert status_of(ask(address, request)) == 201


# What one client may have others lose nothing by: refused octets are not counted as kept.
def test_bodies_that_are_refused_leave_room_for_others(address):
    line = b"PUT /api/queues/%2F/large HTTP/1.1\r\n" + GUEST + JSON
    held = [send_until_refused(address, line + b"Content-Length: %d\r\n\r\n" % (200 * MIB),
                               40 * MIB) for _ in range(4)]
    assert status_of(ask(address, b"GET /api/version HTTP/1.1\r\n" + GUEST + b"\r\n")) == 200
    for conn in held:
        conn.close()


# T3: ten seconds from the first octet to the last one of a request, however steadily they come.
# Head and body at once, for both take that time.
def test_a_request_that_comes_octet_by_octet_ends_in_time(address):
    openings = [b"GET /api/version HTTP/1.1\r\n",
                b"PUT /api/queues/%2F/slow HTTP/1.1\r\n" + GUEST + JSON + b"Content-Length: 5000\r\n\r\n"]
    began = time.monotonic()
    open_ones = {opening: socket.create_connection(address, timeout=0.1) for opening in openings}
    ended = {}
    for opening, conn in open_ones.items():
        conn.sendall(opening)
    while open_ones and time.monotonic() - began < 20:
        for opening, conn in list(open_ones.items()):
            if ends_at_one_more(conn):
                ended[opening] = time.monotonic() - began
                open_ones.pop(opening).close()
    assert set(ended) == set(openings)
    assert all(8 < after < 15 for after in ended.values()), ended


def ends_at_one_more(conn):
    """Sends an octet; True when the other side has closed, with or without an answer."""
    try:
        conn.sendall(b"X")
        return conn.recv(4096) == b""
    except TimeoutError:
        return False
    except OSError:
        return True


# A broker that closes while octets are on their way may be seen to reset the connection.
@pytest.mark.parametrize("line, count", [(b"X: " + b"y" * 20000 + b"\r\n", 1), (b"X: y\r\n", 4000),
                                         (b"X: y", 40000)], ids=["long", "many", "endless"])
def test_a_head_that_is_too_large_is_refused(address, line, count):
    head = b"GET /api/version HTTP/1.1\r\n" + GUEST + line * count + b"\r\n"
    with socket.create_connection(address, timeout=15) as conn:
        try:
            conn.sendall(head)
            answer = read_all(conn)
        except OSError as error:
            assert not isinstance(error, TimeoutError)
            return
    assert answer == b"" or status_of(answer) == 400


@pytest.mark.parametrize("method", ["TRACE", "OPTIONS", "PATCH", "PROPFIND", "get", "BREW"])
def test_methods_that_nothing_has_are_refused(address, method):
    answer = ask(address, method.encode() + b" /api/version HTTP/1.1\r\n" + GUEST + b"\r\n")
    assert status_of(answer) in (400, 405, 501)
    assert b"Access-Control" not in answer


# It is for proxies; libevent would keep the connection.
def test_connect_ends_the_connection(address):
    assert ask(address, b"CONNECT example.net:80 HTTP/1.1\r\n" + GUEST + b"\r\n") == b""


# A header of other frameworks does not make a DELETE of what is a GET.
@pytest.mark.parametrize("name", [b"X-HTTP-Method-Override", b"X-HTTP-Method", b"X-Method-Override"])
def test_the_method_is_that_of_the_request_line(address, name):
    made = b"PUT /api/queues/%2F/kept HTTP/1.1\r\n" + GUEST + JSON + b"Content-Length: 2\r\n\r\n{}"
    assert status_of(ask(address, made)) in (201, 204)
    line = b"GET /api/queues/%2F/kept HTTP/1.1\r\n"
    assert status_of(ask(address, line + GUEST + name + b": DELETE\r\n\r\n")) == 200
    assert status_of(ask(address, line + GUEST + b"\r\n")) == 200


@pytest.mark.parametrize("path", [
    b"/console/../../../etc/passwd", b"/console/x/..%2f..%2f..%2fetc%2fpasswd",
    b"/console/%2e%2e/%2e%2e/etc/passwd", b"//etc/passwd", b"/..", b"/console/x/\\..\\..\\passwd",
    b"/console//app.js", b"file:///etc/passwd", b"/metrics", b"/healthz",
])
def test_a_path_names_routes_and_no_files(address, path):
    answer = ask(address, b"GET " + path + b" HTTP/1.1\r\n" + GUEST + b"\r\n")
    assert status_of(answer) in (400, 404)
    assert b"root:" not in answer


# RFC 9112, 3: a proxy in front may take the first word for the whole path.
@pytest.mark.parametrize("path", [b"/api/queues/%2F/a b", b"/api/version HTTP/1.1 x", b"/api/version "])
def test_a_path_with_a_space_is_refused(address, path):
    answer = ask(address, b"GET " + path + b" HTTP/1.1\r\n" + GUEST + b"\r\n")
    assert status_of(answer) == 400


# Nobody is who a header says: T20.
@pytest.mark.parametrize("header", [b"X-Forwarded-For: 127.0.0.1", b"Forwarded: for=127.0.0.1",
                                    b"X-Real-IP: 127.0.0.1", b"X-Forwarded-User: guest",
                                    b"Remote-User: guest"])
def test_headers_of_proxies_give_no_rights(address, header):
    request = b"GET /api/whoami HTTP/1.1\r\nHost: x\r\nConnection: close\r\n" + header
    assert status_of(ask(address, request + b"\r\n\r\n")) == 401


# T20, and a page whose name means this machine by now (DNS rebinding): for it the browser says that
# it is of the same origin, and where the URL is plain http it says nothing at all.
@pytest.mark.parametrize("host", [b"localhost", b"LocalHost:15672", b"127.0.0.1:80", b"[::1]:15672",
                                  b"10.1.2.3"])
def test_guest_is_let_in_for_names_of_this_machine(address, host):
    request = b"GET /api/whoami HTTP/1.1\r\n" + GUEST.replace(b"localhost", host) + b"\r\n"
    assert status_of(ask(address, request)) == 200


# Each refusal counts as a guess and slows the next login, until one succeeds.
@pytest.mark.parametrize("host, more", [
    (b"attacker.example", b""), (b"attacker.example:15672", b""),
    (b"localhost.attacker.example", b""), (b"127.0.0.1.attacker.example", b""), (b"[::1", b""),
    (b"[]", b""), (b"", b""), (b"::1", b""), (b"[127.0.0.1]", b""),
    (b"localhost", b"X-Forwarded-For: 127.0.0.1\r\n"), (b"localhost", b"X-Real-IP: 10.0.0.1\r\n"),
    (b"localhost", b"Forwarded: for=127.0.0.1\r\n"),
])
def test_guest_is_not_let_in_for_other_names_or_through_a_proxy(address, host, more):
    line = b"GET /api/whoami HTTP/1.1\r\n"
    request = line + GUEST.replace(b"localhost", host) + more + b"\r\n"
    assert status_of(ask(address, request)) == 401
    assert status_of(ask(address, line + GUEST + b"\r\n")) == 200


# T18: what a form of another site can send without being asked for it.
@pytest.mark.parametrize("kind", [b"text/plain", b"application/x-www-form-urlencoded",
                                  b"multipart/form-data; boundary=b", b"",
                                  b"text/plain; application/json", b"application/jsonx"])
def test_what_a_form_can_send_changes_nothing(address, kind):
    request = (b"PUT /api/queues/%2F/forged HTTP/1.1\r\n" + GUEST + b"Content-Type: " + kind +
               b"\r\nContent-Length: 2\r\n\r\n{}")
    assert status_of(ask(address, request)) == 415
    gone = b"GET /api/queues/%2F/forged HTTP/1.1\r\n" + GUEST + b"\r\n"
    assert status_of(ask(address, gone)) == 404


# T28: an empty coding, one that means nothing, one in other letters.
@pytest.mark.parametrize("coding", [b"gzip", b"GZIP", b"identity", b"br, gzip", b"x"])
def test_no_coding_of_a_body_is_taken(address, coding):
    request = (b"PUT /api/queues/%2F/coded HTTP/1.1\r\n" + GUEST + JSON + b"Content-Encoding: " +
               coding + b"\r\nContent-Length: 2\r\n\r\n{}")
    assert status_of(ask(address, request)) == 415


# Strangers who take all connections of one listener lock nobody out of the others: neither who
# measures, nor the operator at the machine.
def test_a_full_listener_leaves_the_others_alone(broker, address):
    held = [socket.create_connection(address, timeout=5) for _ in range(300)]
    with socket.create_connection(address, timeout=5) as surplus:
        assert surplus.recv(1) == b""
    local = socket.socket(socket.AF_UNIX)
    local.settimeout(10)
    local.connect(os.path.join(broker.data_dir, "bourse.sock"))
    local.sendall(b"GET /api/whoami HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    assert status_of(read_all(local)) == 200
    health = b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    assert status_of(ask(broker.addresses["metrics"][0], health)) == 200
    for conn in [*held, local]:
        conn.close()


# Nor does who sends as much as all may send together, and never comes to an end.
def test_who_sends_little_is_answered_while_others_send_much(address):
    head = (b"POST /api/definitions HTTP/1.1\r\n" + GUEST + JSON +
            b"Content-Length: %d\r\n\r\n" % (32 * MIB))
    held = [socket.create_connection(address, timeout=15) for _ in range(3)]
    for conn in held:
        conn.sendall(head + b" " * (32 * MIB - len(head) - 10))
    for _ in range(50):  # some come before all octets of the others have
        answer = ask(address, b"GET /api/version HTTP/1.1\r\n" + GUEST + b"\r\n")
        assert status_of(answer) == 200
    for conn in held:
        conn.close()


# A browser that keeps a password sends it with what a page of another site posts; where there is no
# TLS it does not say Sec-Fetch-Site, but always Origin. A form is the one body that needs no leave.
@pytest.mark.parametrize("origin", [b"http://elsewhere.example", b"null",
                                    b"http://localhost:1"])
def test_a_change_that_another_origin_asks_for_is_refused(address, origin):
    form = (b"--b\r\nContent-Disposition: form-data; name=\"file\"\r\n\r\n"
            b"{\"vhosts\": [{\"name\": \"forged\"}]}\r\n--b--\r\n")
    post = (b"POST /api/definitions HTTP/1.1\r\n" + GUEST +
            b"Content-Type: multipart/form-data; boundary=b\r\nContent-Length: %d\r\n" % len(form))
    vhost = b"GET /api/vhosts/forged HTTP/1.1\r\n" + GUEST
    assert status_of(ask(address, post + b"Origin: " + origin + b"\r\n\r\n" + form)) == 403
    assert status_of(ask(address, vhost + b"\r\n")) == 404
    assert status_of(ask(address, vhost + b"Origin: " + origin + b"\r\n\r\n")) == 404
    assert status_of(ask(address, post + b"Origin: http://localhost\r\n\r\n" + form)) == 204
    gone = b"DELETE /api/vhosts/forged HTTP/1.1\r\n" + GUEST + b"\r\n"
    assert status_of(ask(address, gone)) == 204


# Who guesses is slowed down; a wrong password in a probe must not look like a broker that is ill. What is
# known to be right is not slowed.
def test_a_login_that_has_to_wait_too_long_is_told_that(tmp_path):
    with brokers.Bourse(listen=("amqp", "http")) as running:
        place = running.addresses["http"][0]
        line = b"GET /api/whoami HTTP/1.1\r\n"

        def guess(word):
            return ask(place, line + GUEST.replace(b"Z3Vlc3Q6Z3Vlc3Q=", base64.b64encode(b"guest:" + word)) + b"\r\n")

        assert status_of(ask(place, line + GUEST + b"\r\n")) == 200
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            guesses = list(pool.map(guess, [b"guess%d" % number for number in range(8)]))
        assert {status_of(answer) for answer in guesses} <= {401, 429}
        late = guess(b"one more")
        assert status_of(late) == 429 and b"\r\nRetry-After: 30\r\n" in late, late
        assert b"failed logins" in late and b"too_many_requests" in late
        assert status_of(ask(place, line + GUEST + b"\r\n")) == 200
