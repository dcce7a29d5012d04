# SPDX-License-Identifier: Apache-2.0
"""Sessions of the web console and the events that it is told, request by request."""

import contextlib
import http.client
import json
import socket

import pytest

from tests.support import broker as brokers

JSON = {"Content-Type": "application/json"}


@pytest.fixture(scope="module")
def server():
    with brokers.Bourse(listen=("amqp", "http"), measured=True) as running:
        running.http = running.addresses["http"][0]
        yield running


def call(server, method, path, body=None, headers=None):
    connection = http.client.HTTPConnection(*server.http, timeout=10)
    connection.request(method, path, None if body is None else json.dumps(body), headers or {})
    answer = connection.getresponse()
    text = answer.read()
    connection.close()
    return answer.status, dict(answer.getheaders()), text


@pytest.fixture
def session(server):
    """Headers of a session that may change things."""
    status, headers, text = call(server, "POST", "/api/bourse/session",
                                 {"name": "guest", "password": "guest"}, JSON)
    assert status == 201
    return {"Cookie": headers["Set-Cookie"].split(";")[0], "X-Bourse-CSRF": json.loads(text)["csrf"]}


def without(headers, name):
    return {key: value for key, value in headers.items() if key != name}


def test_the_cookie_is_for_this_site_and_no_script(server):
    _, headers, _ = call(server, "POST", "/api/bourse/session",
                         {"name": "guest", "password": "guest"}, JSON)
    assert headers["Set-Cookie"].startswith("bourse-session-")
    assert "; HttpOnly; SameSite=Strict" in headers["Set-Cookie"]


# A browser sends a cookie to every port of a host: under one name, signing in to one broker was signing
# out of another one on the same machine.
@pytest.mark.parametrize("host, name", [
    ("localhost:15672", "bourse-session-15672"), ("127.0.0.1:1", "bourse-session-1"),
    ("[::1]:15672", "bourse-session-15672"), ("[::1]", "bourse-session"), ("localhost", "bourse-session"),
    ("localhost:", "bourse-session"), ("localhost:x;", "bourse-session"),
    ("localhost:123456", "bourse-session"), ("localhost:1=x", "bourse-session")])
def test_the_cookie_is_called_for_the_port_that_was_asked_for(server, host, name):
    status, headers, _ = call(server, "POST", "/api/bourse/session",
                              {"name": "guest", "password": "guest"}, {**JSON, "Host": host})
    assert status == 201
    cookie = headers["Set-Cookie"].split(";")[0]
    assert cookie.split("=")[0] == name
    assert call(server, "GET", "/api/whoami", None, {"Cookie": cookie, "Host": host})[0] == 200
    other = {"Cookie": cookie, "Host": "localhost:9"}
    assert call(server, "GET", "/api/whoami", None, other)[0] == 401


@pytest.mark.parametrize("body, status", [
    ({"name": "guest", "password": "wrong"}, 401), ({"name": "guest"}, 400), ({}, 400),
    ({"name": 1, "password": "guest"}, 400), ([], 400)])
def test_signing_in_needs_both(server, body, status):
    found, headers, _ = call(server, "POST", "/api/bourse/session", body, JSON)
    assert found == status
    assert "Set-Cookie" not in headers


def test_a_change_needs_the_proof_of_the_session(server, session):
    path = "/api/queues/%2F/proven"
    for headers in (without(session, "X-Bourse-CSRF"), {**session, "X-Bourse-CSRF": "x" * 22},
                    {**session, "Origin": "http://elsewhere.example"}):
        assert call(server, "PUT", path, {}, {**headers, **JSON})[0] == 403
    assert call(server, "PUT", path, {}, {**session, **JSON})[0] == 201
    assert call(server, "GET", path, None, without(session, "X-Bourse-CSRF"))[0] == 200


def test_another_site_can_sign_nobody_in(server):
    for headers in ({"Origin": "http://elsewhere.example"}, {"Sec-Fetch-Site": "cross-site"}):
        assert call(server, "POST", "/api/bourse/session", {"name": "guest", "password": "guest"},
                    {**JSON, **headers})[0] == 403


def test_a_session_that_has_ended_is_none(server, session):
    assert call(server, "GET", "/api/whoami", None, session)[0] == 200
    assert call(server, "DELETE", "/api/bourse/session", None, session)[0] == 204
    assert call(server, "GET", "/api/whoami", None, session)[0] == 401
    assert call(server, "GET", "/api/whoami", None, {"Cookie": session["Cookie"].split("=")[0] + "=" + "A" * 22})[0] == 401


# Whoever had the former one, or had put it there, has nothing by it.
def test_signing_in_again_is_another_session_and_ends_the_former(server, session):
    status, headers, _ = call(server, "POST", "/api/bourse/session", {"name": "guest", "password": "guest"},
                              {**JSON, "Cookie": session["Cookie"]})
    assert status == 201
    cookie = headers["Set-Cookie"].split(";")[0]
    assert cookie != session["Cookie"]
    assert call(server, "GET", "/api/whoami", None, {"Cookie": cookie})[0] == 200
    assert call(server, "GET", "/api/whoami", None, session)[0] == 401
    # A password that is wrong ends nothing.
    assert call(server, "POST", "/api/bourse/session", {"name": "guest", "password": "wrong"},
                {**JSON, "Cookie": cookie})[0] == 401
    assert call(server, "GET", "/api/whoami", None, {"Cookie": cookie})[0] == 200


@pytest.mark.parametrize("query", ["watch=%2Fapi%2Fwhoami", "watch=%2Fnothing", "watch=x",
                                   "watch=%2Fapi%2Fbourse%2Fevents", "watch=%2F",
                                   "&".join(["watch=%2Fapi%2Foverview"] * 9)])
def test_what_may_not_be_watched_is_refused(server, session, query):
    assert call(server, "GET", f"/api/bourse/events?{query}", None, session)[0] == 400


# Each of these begins to watch three paths before the fourth is refused.
def test_what_was_to_be_watched_beside_what_is_refused_is_forgotten(server, session):
    def resident_kib():
        with open(f"/proc/{server.pid}/status") as status:
            return next(int(line.split()[1]) for line in status if line.startswith("VmRSS"))

    connection = http.client.HTTPConnection(*server.http, timeout=10)
    pad = "x" * 1500
    before = 0
    for number in range(2500):
        watches = "".join(f"watch=%2Fapi%2Fqueues%3Fat%3D{number}-{at}{pad}&" for at in range(3))
        connection.request("GET", f"/api/bourse/events?{watches}watch=x", None, session)
        answer = connection.getresponse()
        assert (answer.status, answer.read() != b"") == (400, True)
        before = resident_kib() if number == 500 else before
    connection.close()
    assert resident_kib() < before + 8 * 1024


def test_the_head_of_a_stream_is_answered_and_the_connection_goes_on(server, session):
    connection = http.client.HTTPConnection(*server.http, timeout=10)
    connection.request("HEAD", "/api/bourse/events?watch=%2Fapi%2Foverview", None, session)
    answer = connection.getresponse()
    assert (answer.status, answer.getheader("Content-Type")) == (200, "text/event-stream")
    answer.read()
    connection.request("GET", "/api/whoami", None, session)
    assert connection.getresponse().status == 200
    connection.close()


class Stream:
    def __init__(self, server, session, query):
        self.sock = socket.create_connection(server.http, timeout=20)
        self.sock.sendall(f"GET /api/bourse/events?{query} HTTP/1.1\r\n"
                          f"Host: {server.http[0]}:{server.http[1]}\r\n"
                          f"Cookie: {session['Cookie']}\r\n\r\n".encode())
        self.text = b""

    def read_until(self, wanted):
        while wanted not in self.text:
            piece = self.sock.recv(65536)
            assert piece, self.text
            self.text += piece
        return self.text

    def close(self):
        self.sock.close()


def test_a_change_is_told_and_the_end_of_the_session_too(server, session):
    stream = Stream(server, session, "watch=%2Fapi%2Fqueues%3Fpage%3D1%26name%3Dtold")
    stream.read_until(b"event: w0")
    assert call(server, "PUT", "/api/queues/%2F/told", {}, {**session, **JSON})[0] == 201
    stream.read_until(b'"name":"told"')
    assert call(server, "DELETE", "/api/bourse/session", None, session)[0] == 204
    stream.read_until(b"event: end")
    stream.close()


def test_a_refusal_is_told_as_one(server, session):
    stream = Stream(server, session, "watch=%2Fapi%2Fqueues%2F%252F%2Fnot-there")
    assert b"Not Found" in stream.read_until(b"event: f0\ndata: ") or stream.read_until(b"Not Found")
    stream.close()


# A comment would do for proxies, but no page is told of one: it could not know that nothing comes any more.
def test_a_stream_with_nothing_to_tell_says_that_it_is_there(server, session):
    stream = Stream(server, session, "watch=%2Fapi%2Fqueues%2F%252F%2Fnot-there")
    stream.read_until(b"event: alive\ndata: {}\n\n")
    stream.close()


def test_streams_are_bounded_and_room_comes_back(server, session):
    query = "watch=%2Fapi%2Foverview"
    streams = [Stream(server, session, query) for _ in range(64)]
    for stream in streams:
        stream.read_until(b"event: w0")
    assert call(server, "GET", f"/api/bourse/events?{query}", None, session)[0] == 503
    for stream in streams:
        stream.close()
    again = None
    while again is None:
        attempt = Stream(server, session, query)
        if b" 200 " in attempt.read_until(b"\r\n"):
            again = attempt
        else:
            attempt.close()
    again.read_until(b"event: w0")
    again.close()


def test_who_does_not_read_is_cut_off_and_others_are_not(server, session):
    """Several mebibytes, which arrive at once: for who reads that is no fault."""
    connection = server.open()
    channel = connection.channel()
    for number in range(1500):
        channel.send("queue.declare", queue=f"unread-{number:04}", auto_delete=False, nowait=True)
    channel.declare("unread-last")
    lists = [f"watch=%2Fapi%2Fqueues%3Fsort%3D{column}" for column in
             ("name", "vhost", "messages", "messages_ready", "consumers", "memory", "durable",
              "messages_unacknowledged")]
    slow = Stream(server, session, "&".join(lists))
    quick = Stream(server, session, "&".join(lists))
    for number in range(len(lists)):
        quick.read_until(b"event: w%d" % number)
    server.log.wait_for(r"http\.reader_cut_off", timeout_s=30)
    with contextlib.suppress(ConnectionResetError):
        while slow.sock.recv(1 << 20):
            pass
    quick.text = b""
    assert call(server, "DELETE", "/api/queues/%2F/unread-0000", None, session)[0] == 204
    quick.read_until(b"event: w0")
    quick.close()
    connection.close()
