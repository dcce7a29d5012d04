# SPDX-License-Identifier: Apache-2.0
"""The judge of messages that may die, shown histories with one thing wrong, and none."""

import pytest

from crash import bodies
from crash.places import PARKED_MS, Places, Retries, dead_of

QUEUE, DEAD = "a", dead_of("a")
REJECTED = {"x-death": [{"count": 1, "reason": "rejected"}]}
EXPIRED = {"x-death": [{"count": 1, "reason": "expired"}]}


@pytest.fixture
def history():
    return Places()


def publish(history, confirmed=True, ttl_ms=None):
    number = history.attempt("publisher", (QUEUE, DEAD), 100)
    if ttl_ms is not None:
        history.expires(number, ttl_ms)
    if confirmed:
        history.confirm(number)
    return number


def deliver(history, number, queue=QUEUE, redelivered=False):
    history.deliver(queue, number, redelivered, f"consumer of {queue}", bodies.make(number, 100))


def kinds(history):
    return dict(history.check().kinds)


def test_taken_dead_is_taken(history):
    number = publish(history)
    deliver(history, number)
    history.reject(QUEUE, number)
    history.read_deaths(DEAD, number, REJECTED)
    deliver(history, number, DEAD)
    history.acknowledge(DEAD, number)
    assert kinds(history) == {}
    assert history.waiting == 0


def test_confirmed_and_in_neither_place_is_lost(history):
    number = publish(history)
    deliver(history, number)
    history.reject(QUEUE, number)
    assert kinds(history) == {"lost": 1}


# With the broker goes what it had not written down.
def test_a_death_may_be_undone_by_the_next_life(history):
    number = publish(history)
    deliver(history, number)
    history.reject(QUEUE, number)
    deliver(history, number, DEAD)
    history.begin_life()
    deliver(history, number, redelivered=True)
    history.reject(QUEUE, number)
    deliver(history, number, DEAD)
    history.acknowledge(DEAD, number)
    assert kinds(history) == {}


def test_a_death_is_not_undone_in_its_life(history):
    number = publish(history)
    deliver(history, number)
    history.reject(QUEUE, number)
    deliver(history, number, DEAD)
    history.acknowledge(DEAD, number)
    deliver(history, number, redelivered=True)
    assert kinds(history) == {"twofold": 2}


def test_taken_dead_for_certain_it_is_not_where_it_died(history):
    number = publish(history)
    deliver(history, number)
    history.reject(QUEUE, number)
    deliver(history, number, DEAD)
    history.acknowledge(DEAD, number)
    history.settle(DEAD, number)
    history.begin_life()
    deliver(history, number, redelivered=True)
    assert kinds(history) == {"twofold": 1}


def test_acknowledged_for_certain_it_does_not_die(history):
    number = publish(history)
    deliver(history, number)
    history.acknowledge(QUEUE, number)
    history.settle(QUEUE, number)
    history.begin_life()
    deliver(history, number, DEAD)
    assert kinds(history) == {"twofold": 1}


def test_dead_twice_in_one_life_is_a_duplicate(history):
    number = publish(history)
    deliver(history, number, DEAD)
    deliver(history, number, DEAD)
    history.acknowledge(DEAD, number)
    assert kinds(history) == {"duplicated": 1}


def test_over_before_the_start_it_is_late(history):
    number = publish(history, ttl_ms=50)
    history.begin_life()
    history.started_s = history._born[number][1] + 0.1
    deliver(history, number)
    history.acknowledge(QUEUE, number)
    assert kinds(history) == {"late": 1}


# It may have come to its queue as late as when the broker died.
def test_not_over_before_the_start_it_is_in_time(history):
    number = publish(history, ttl_ms=200, confirmed=False)
    history.begin_life()
    history.started_s = history._born[number][1] + 0.1
    deliver(history, number)
    history.acknowledge(QUEUE, number)
    assert kinds(history) == {}


def test_expired_before_its_time_it_is_early(history):
    history.queue_ttl_s = {QUEUE: 60}
    number = publish(history)
    history.read_deaths(DEAD, number, EXPIRED)
    deliver(history, number, DEAD)
    history.acknowledge(DEAD, number)
    assert kinds(history) == {"early": 1}


@pytest.mark.parametrize("headers", [
    {}, REJECTED, {"x-death": REJECTED["x-death"] * 2},
    {"x-death": [{"count": 2, "reason": "expired"}]}])
def test_a_death_without_cause_is_seen(history, headers):
    number = publish(history)
    history.read_deaths(DEAD, number, headers)
    deliver(history, number, DEAD)
    history.acknowledge(DEAD, number)
    assert kinds(history) == {"causeless": 1}


@pytest.fixture
def retries():
    history = Retries()
    history.limit, history.first_s, history.max_s = 1, 60, 100
    return history


def fail(history, number):
    deliver(history, number)
    history.fail(QUEUE, number)


def come_again(history, number, count):
    history.read_failures(QUEUE, number, {"x-delivery-count": count} if count else {})
    deliver(history, number, redelivered=True)
    history.acknowledge(QUEUE, number)


def test_again_before_its_wait_is_over_is_early(retries):
    number = publish(retries)
    fail(retries, number)
    come_again(retries, number, 1)
    assert kinds(retries) == {"early": 1}


def test_again_when_its_wait_is_over_is_right(retries):
    retries.first_s = 0
    number = publish(retries)
    fail(retries, number)
    come_again(retries, number, 1)
    assert kinds(retries) == {}


def test_what_waited_over_a_death_of_the_broker_comes_in_no_order(retries):
    retries.first_s = 0
    failed, other = publish(retries), publish(retries)
    fail(retries, failed)
    retries.begin_life()
    come_again(retries, other, 0)
    come_again(retries, failed, 1)
    assert kinds(retries) == {}


# The failure went with the broker.
def test_again_without_having_failed_is_right_in_the_next_life(retries):
    number = publish(retries)
    fail(retries, number)
    retries.begin_life()
    come_again(retries, number, 0)
    assert kinds(retries) == {}


def test_again_beyond_its_limit_is_seen(retries):
    number = publish(retries)
    fail(retries, number)
    come_again(retries, number, 2)
    assert kinds(retries) == {"beyond": 1}


def test_dead_of_its_limit_before_it_is_seen(retries):
    number = publish(retries)
    retries.read_deaths(DEAD, number, {"x-death": [{"count": 1, "reason": "delivery_limit"}],
                                       "x-delivery-count": 1})
    deliver(retries, number, DEAD)
    retries.acknowledge(DEAD, number)
    assert kinds(retries) == {"beyond": 1}


def test_parked_is_not_lost(retries):
    number = publish(retries)
    fail(retries, number)
    retries.park(QUEUE, number, retries.limit + 1, PARKED_MS)
    assert kinds(retries) == {}


def test_parked_and_transient_is_gone_with_the_broker(retries):
    transient = retries.attempt("publisher", (QUEUE, DEAD), 100, persistent=False)
    retries.confirm(transient)
    publish(retries)
    retries.stop_parking(QUEUE)
    assert kinds(retries) == {"lost": 1}


@pytest.mark.parametrize("failures, due_ms", [(1, PARKED_MS), (2, 0), (2, 1)])
def test_what_is_left_without_being_parked_is_seen(retries, failures, due_ms):
    number = publish(retries)
    retries.park(QUEUE, number, failures, due_ms)
    assert kinds(retries) == {"undrained": 1, "lost": 1}


def test_parked_and_acknowledged_for_certain_is_twofold(retries):
    number = publish(retries)
    deliver(retries, number)
    retries.acknowledge(QUEUE, number)
    retries.settle(QUEUE, number)
    retries.begin_life()
    retries.park(QUEUE, number, retries.limit + 1, PARKED_MS)
    assert kinds(retries) == {"twofold": 1}
