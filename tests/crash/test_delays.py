# SPDX-License-Identifier: Apache-2.0
"""The judge of messages that are held back, shown histories with one thing wrong, and none. Its clocks
stand where the test puts them."""

import types

import pytest

from crash import bodies, delays
from crash.delays import Delays

QUEUE = "a"


@pytest.fixture
def clock(monkeypatch):
    """Seconds of both clocks, which are 1000 apart."""
    clock = types.SimpleNamespace(now_s=100.0)
    monkeypatch.setattr(delays, "time", types.SimpleNamespace(
        monotonic=lambda: clock.now_s, time=lambda: clock.now_s + 1000))
    return clock


@pytest.fixture
def history(clock):
    return Delays()


def publish(history, headers, confirmed=True, transaction=None):
    number = history.attempt("publisher", (QUEUE,), 100, transaction)
    history.delays(number, headers)
    if confirmed:
        history.confirm(number)
    return number


def take(history, *numbers):
    for number in numbers:
        history.deliver(QUEUE, number, False, "consumer", bodies.make(number, 100))
        history.acknowledge(QUEUE, number)


def kinds(history):
    return dict(history.check().kinds)


def at(seconds):
    return {"x-deliver-at": int((seconds + 1000) * 1000)}


@pytest.mark.parametrize("headers", [{"x-delay": 500}, at(100.5), {"x-delay": 100, **at(100.5)},
                                     {"x-delay": 500, **at(90)}])
def test_before_it_is_due_it_is_early(history, clock, headers):
    number = publish(history, headers)
    clock.now_s += 0.4
    take(history, number)
    assert kinds(history) == {"early": 1}


@pytest.mark.parametrize("headers", [{"x-delay": 500}, at(100.5), {"x-delay": 100, **at(100.5)}, {}])
def test_when_it_is_due_it_is_right(history, clock, headers):
    number = publish(history, headers)
    clock.now_s += 0.5
    take(history, number)
    assert kinds(history) == {}


def test_in_the_order_in_which_they_are_due_is_right(history, clock):
    late, soon = publish(history, {"x-delay": 500}), publish(history, {"x-delay": 100})
    clock.now_s += 1
    take(history, soon, late)
    assert kinds(history) == {}


def test_in_the_order_in_which_they_were_published_is_reordered(history, clock):
    late, soon = publish(history, {"x-delay": 500}), publish(history, at(100.1))
    clock.now_s += 1
    take(history, late, soon)
    assert kinds(history) == {"reordered": 1}


# When it is due nobody knows but the broker.
def test_an_unconfirmed_one_may_come_whenever_it_was_published(history, clock):
    late, soon = publish(history, {"x-delay": 500}), publish(history, {"x-delay": 100}, confirmed=False)
    clock.now_s += 1
    take(history, late, soon)
    assert kinds(history) == {}


def test_what_is_due_at_once_overtakes(history, clock):
    waiting = publish(history, {"x-delay": 100})
    clock.now_s += 0.105
    prompt = publish(history, at(100.104))
    take(history, prompt, waiting)
    assert kinds(history) == {}


def test_what_is_committed_too_late_overtakes(history, clock):
    transaction = history.begin_transaction()
    waiting = publish(history, {"x-delay": 100})
    clock.now_s += 0.01
    committed = publish(history, {"x-delay": 100}, confirmed=False, transaction=transaction)
    clock.now_s += 0.105
    history.commit_sent(transaction)
    history.committed(transaction)
    take(history, committed, waiting)
    assert kinds(history) == {}


def test_due_and_nowhere_is_lost(history, clock):
    publish(history, {"x-delay": 100})
    clock.now_s += 1
    assert kinds(history) == {"lost": 1}
