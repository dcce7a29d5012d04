# SPDX-License-Identifier: Apache-2.0
"""Wrong credentials: what the client is told, and what it must not learn.

Failed logins are slowed down per user and per source, so these tests use a broker of their own and
give every case a source address of its own out of 127.0.0.0/8.
"""

import itertools
import time

import pytest

from support import amqp, broker as brokers, wire

REFUSED = ("ACCESS_REFUSED - Login was refused using authentication mechanism {}. "
           "For details see the broker logfile.")
PATIENCE_S = 20

_sources = itertools.count(10)


@pytest.fixture(scope="module")
def guessed(request, peer):
    """The (host, port) of a broker in development mode that only these tests use."""
    if peer == "rabbitmq":
        yield request.getfixturevalue("broker").amqp
        return
    running = brokers.Bourse()
    yield running.amqp
    running.stop()


def greeted(address):
    conn = amqp.Connection(address, source=f"127.0.1.{next(_sources)}", timeout_s=PATIENCE_S)
    conn.read_start()
    return conn


# With authentication_failure_close the client gets a 403, and the same one whether or not the
# user exists.
@pytest.mark.parametrize("mechanism", ["PLAIN", "AMQPLAIN"])
def test_a_wrong_login_is_a_403_that_tells_nothing(guessed, mechanism):
    wrong = [("guest", "wrong"), ("nobody", "guest"), ("nobody", ""), ("guest", "")]
    conns = [greeted(guessed) for _ in wrong]
    for conn, (user, password) in zip(conns, wrong):
        conn.send_start_ok(user=user, password=password, mechanism=mechanism)
    answers = {conn.expect_close(403, REFUSED.format(mechanism)).reply_text for conn in conns}
    assert len(answers) == 1


# Without the capability the socket is closed without a word, late enough to slow guessing down.
@pytest.mark.slow
def test_without_the_capability_a_wrong_login_is_a_silent_close_after_3_s(guessed):
    started = time.monotonic()
    conns = [greeted(guessed) for _ in range(2)]
    for conn, user in zip(conns, ("nobody", "nobody-else")):
        conn.send_start_ok(user=user, password="wrong", capabilities={})
    for conn in conns:
        conn.expect_eof()
        assert not conn.received()
    assert 2.5 <= time.monotonic() - started <= 7


# A mechanism that was not offered, or a response that is none: there is no login to refuse.
@pytest.mark.slow
def test_an_unusable_mechanism_or_response_ends_the_connection(guessed):
    unusable = [
        ("NOSUCH", b""), ("EXTERNAL", b""), ("ANONYMOUS", b""), ("", b""),
        ("PLAIN", b""), ("PLAIN", b"guest"), ("PLAIN", b"guest\0guest"), ("PLAIN", b"\0guest"),
        ("AMQPLAIN", b""), ("AMQPLAIN", b"\xff"),
        ("AMQPLAIN", wire.encode_table_body({"LOGIN": "guest"})),
        ("AMQPLAIN", wire.encode_table_body({"LOGIN": 1, "PASSWORD": 2})),
    ]
    conns = [greeted(guessed) for _ in unusable]
    for conn, (mechanism, response) in zip(conns, unusable):
        conn.send_start_ok(mechanism=mechanism, response=response)
    for conn in conns:
        conn.expect_end(501, 502, 503)


# The authorisation identity of PLAIN must be empty: nobody acts for somebody else.
def test_plain_with_an_authorisation_identity_is_no_login(guessed):
    conn = greeted(guessed)
    conn.send_start_ok(response=b"admin\0guest\0guest")
    conn.expect_end(502, 403)


# Guessing is slowed per user and source: each failure doubles how long the next check waits. The sum
# of these is the least that it takes, however busy the machine is.
@pytest.mark.bourse_only
@pytest.mark.slow
def test_guessing_is_slowed_down(guessed):
    started = time.monotonic()
    for _ in range(5):
        conn = amqp.Connection(guessed, source="127.0.2.1", timeout_s=PATIENCE_S)
        conn.read_start()
        conn.send_start_ok(user="somebody", password="guess")
        conn.expect_close(403)
    assert time.monotonic() - started >= 0.25 + 0.5 + 1 + 2


# Others do not wait for the one who guesses.
@pytest.mark.bourse_only
def test_a_right_login_from_elsewhere_is_not_slowed_down_by_guessing(guessed):
    for _ in range(3):
        conn = amqp.Connection(guessed, source="127.0.2.2", timeout_s=PATIENCE_S)
        conn.read_start()
        conn.send_start_ok(user="another", password="guess")
    started = time.monotonic()
    amqp.Connection(guessed, source="127.0.2.3").open().close()
    assert time.monotonic() - started < 2
