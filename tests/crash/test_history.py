# SPDX-License-Identifier: Apache-2.0
"""The checker must see every kind of violation, and nothing where all was right. Fabricated
histories: here nobody runs a broker."""

import pytest

from crash import bodies
from crash.history import History


class Story:
    """A history told in short sentences, about one publisher and one consumer."""

    def __init__(self):
        self.history, self.sizes = History(), {}

    def publish(self, *queues, channel="p", size=100, confirm=True, transaction=None,
                persistent=True):
        number = self.history.attempt(channel, queues or ("q",), size, transaction, persistent)
        self.sizes[number] = size
        if confirm:
            self.history.confirm(number)
        return number

    def deliver(self, number, queue="q", redelivered=False, ack=True, body=None, consumer="c"):
        body = bodies.make(number, self.sizes.get(number, 20)) if body is None else body
        self.history.deliver(queue, number, redelivered, consumer, body)
        if ack:
            self.history.acknowledge(queue, number)

    def restart(self):
        self.history.begin_life()

    def kinds(self):
        return dict(self.history.check().kinds)


@pytest.fixture
def story():
    return Story()


# Nothing is wrong with what a correct broker may do.
def test_what_is_allowed_is_no_violation(story):
    first, second, third = story.publish(), story.publish(confirm=False), story.publish()
    story.deliver(first)
    story.deliver(second, ack=False)
    story.restart()
    story.deliver(second, redelivered=True)
    story.deliver(third)
    assert story.kinds() == {}
    counts = story.history.counts
    assert (counts["attempted"], counts["confirmed"], counts["delivered"]) == (3, 2, 3)
    assert (counts["acknowledged"], counts["duplicated"], counts["recovered"]) == (3, 1, 1)


# Promise 1: a confirmed message is never lost.
def test_a_confirmed_message_that_never_comes_is_lost(story):
    story.publish()
    assert story.kinds() == {"lost": 1}
    assert story.history.counts["lost"] == 1


# F1: what was out for delivery comes back.
def test_a_confirmed_message_that_was_seen_but_not_acknowledged_is_lost(story):
    story.deliver(story.publish(), ack=False)
    story.restart()
    assert story.kinds() == {"lost": 1}


# Without a confirm nothing was promised.
def test_an_unconfirmed_message_may_vanish(story):
    story.publish(confirm=False)
    story.deliver(story.publish(confirm=False), ack=False)
    story.restart()
    assert story.kinds() == {}


# Part 6 of the design: one publish, all its queues.
def test_a_message_missing_in_one_of_its_queues_is_lost(story):
    number = story.publish("a", "b", "c")
    story.deliver(number, queue="a")
    story.deliver(number, queue="c")
    assert story.kinds() == {"lost": 1}


# A negative answer promises nothing.
def test_a_refused_message_may_be_there_or_not(story):
    story.history.refuse(story.publish(confirm=False))
    number = story.publish(confirm=False)
    story.history.refuse(number)
    story.deliver(number)
    assert story.kinds() == {}


# The set `unexpected`: never published, or not to there.
@pytest.mark.parametrize("queue,number", [("q", 99), ("elsewhere", 1)])
def test_a_message_from_nowhere_is_unexpected(story, queue, number):
    story.deliver(story.publish())
    story.deliver(number, queue=queue)
    assert story.kinds() == {"unexpected": 1}


# basic.return says that no queue has it.
def test_a_message_that_was_returned_and_delivered_is_unexpected(story):
    number = story.publish(confirm=False)
    story.history.returned(number)
    story.deliver(number)
    assert story.kinds() == {"unexpected": 1}


# The other way round as well.
def test_a_message_that_was_delivered_and_returned_is_unexpected(story):
    number = story.publish(confirm=False)
    story.deliver(number)
    story.history.returned(number)
    assert story.kinds() == {"unexpected": 1}


# A purge or delete that was answered is a durable change like any other.
def test_a_purged_message_that_comes_back_is_unexpected(story):
    number = story.publish()
    story.history.empty("q")
    story.restart()
    story.deliver(number)
    assert story.kinds() == {"unexpected": 1}


# And what it took is not lost.
def test_purged_messages_may_be_missing(story):
    story.publish()
    story.history.empty("q")
    story.publish()
    story.history.empty("q", answered=False)
    story.deliver(story.publish())
    assert story.kinds() == {}


# Only what was there before.
def test_a_message_published_after_a_purge_is_lost_when_it_is_missing(story):
    story.history.empty("q")
    story.publish()
    assert story.kinds() == {"lost": 1}


# Duplicates only with redelivered, in the same life or a later one.
@pytest.mark.parametrize("restarts", [0, 1])
def test_a_second_delivery_without_redelivered_is_a_duplicate(story, restarts):
    number = story.publish()
    story.deliver(number, ack=False)
    for _ in range(restarts):
        story.restart()
    story.deliver(number)
    assert story.kinds()["duplicated"] == 1


# ... or after the publisher has sent it again.
def test_a_message_published_twice_may_come_twice(story):
    number = story.publish(confirm=False)
    story.history.attempt_again(number)
    story.deliver(number)
    story.restart()
    story.deliver(number)
    assert story.kinds() == {}


# Once more than that is one too many.
def test_a_message_published_twice_may_not_come_three_times(story):
    number = story.publish(confirm=False)
    story.history.attempt_again(number)
    for _ in range(3):
        story.restart()
        story.deliver(number)
    assert story.kinds() == {"duplicated": 1}


# A flag that is always set says nothing.
def test_redelivered_on_a_new_message_is_a_violation(story):
    story.deliver(story.publish(), redelivered=True)
    assert story.kinds() == {"flagged": 1}


# It may have been on its way to a consumer that never read it.
def test_redelivered_is_right_after_a_restart_or_the_end_of_a_channel(story):
    first = story.publish()
    story.restart()
    story.deliver(first, redelivered=True)
    second = story.publish()
    story.history.lose_channel("q")
    story.deliver(second, redelivered=True)
    assert story.kinds() == {}


# F1: acked-and-synced never reappear.
def test_a_settled_message_that_comes_back_is_resurrected(story):
    number = story.publish()
    story.deliver(number)
    story.history.settle("q", number)
    story.restart()
    story.deliver(number, redelivered=True)
    assert story.kinds() == {"resurrected": 1}


# Nothing forgets an acknowledgement but a crash.
def test_a_message_that_comes_back_in_the_life_of_its_acknowledgement_is_resurrected(story):
    number = story.publish()
    story.deliver(number)
    story.deliver(number, redelivered=True)
    assert story.kinds() == {"resurrected": 1}


# The last 100 ms of acknowledgements may be forgotten.
def test_an_acknowledged_message_may_come_back_after_a_crash(story):
    number = story.publish()
    story.deliver(number)
    story.restart()
    story.deliver(number, redelivered=True)
    assert story.kinds() == {}


# I5: publish order = queue order, for a channel and a queue.
def test_an_earlier_message_after_a_later_one_is_reordered(story):
    first, second = story.publish(), story.publish()
    story.deliver(second)
    story.deliver(first)
    assert "reordered" in story.kinds()


# Between channels, queues and consumers there is no order.
def test_order_is_kept_for_one_channel_queue_and_consumer_only(story):
    first, second = story.publish(channel="p1"), story.publish(channel="p2")
    story.deliver(second)
    story.deliver(first)
    first, second = story.publish("a"), story.publish("b")
    story.deliver(second, queue="b")
    story.deliver(first, queue="a")
    first, second = story.publish(), story.publish()
    story.deliver(second, consumer="c2")
    story.deliver(first, consumer="c1")
    assert story.kinds() == {}


# F1: unacked come back in order.
def test_redelivered_messages_out_of_order_are_reordered(story):
    first, second = story.publish(), story.publish()
    story.deliver(first, ack=False)
    story.deliver(second, ack=False)
    story.restart()
    story.deliver(second, redelivered=True)
    story.deliver(first, redelivered=True)
    assert story.kinds() == {"reordered": 1}


# A consumer that gives back chooses when.
def test_given_back_messages_may_come_later(story):
    first, second = story.publish(), story.publish()
    story.deliver(first, ack=False)
    story.history.requeue("q")
    story.deliver(second)
    story.deliver(first, redelivered=True)
    assert story.kinds() == {}


# What was handed out before a crash was handed out after everything before it in its queue.
def test_an_earlier_message_without_redelivered_in_a_later_life_is_reordered(story):
    first, second = story.publish(), story.publish()
    story.deliver(second, consumer="c2")
    story.restart()
    story.deliver(first)
    assert story.kinds() == {"reordered": 1}


# F6: never a wrong body. Nor a shorter, longer or empty one, nor somebody else's.
@pytest.mark.parametrize("change", [
    lambda body: body[:-1], lambda body: body + b"x", lambda body: b"",
    lambda body: body[:50] + bytes([body[50] ^ 1]) + body[51:],
    lambda body: bytes(len(body)), lambda body: bodies.make(2, len(body)),
])
def test_a_body_that_is_not_what_was_published_is_altered(story, change):
    number = story.publish()
    story.deliver(number, body=change(bodies.make(number, 100)))
    assert story.kinds() == {"altered": 1}


# Empty bodies and the largest are bodies as well.
@pytest.mark.parametrize("size", [0, 1, 15, 16, 17, bodies.SIZE_MAX])
def test_a_body_of_any_size_is_recognized(story, size):
    number = story.publish(size=size)
    assert len(bodies.make(number, size)) == size
    story.deliver(number)
    assert story.kinds() == {}


# The end: every queue is empty.
def test_a_queue_that_is_not_empty_at_the_end_is_undrained(story):
    story.deliver(story.publish())
    story.history.left("q", 1)
    story.history.left("r", 0)
    assert story.kinds() == {"undrained": 1}


class TransactionStory(Story):
    """A transaction of two publishes and one acknowledgement."""

    def __init__(self):
        super().__init__()
        self.consumed = self.publish("in")
        self.deliver(self.consumed, queue="in", ack=False)
        self.transaction = self.history.begin_transaction()
        self.first = self.publish(confirm=False, transaction=self.transaction)
        self.second = self.publish(confirm=False, transaction=self.transaction)
        self.history.acknowledge_in(self.transaction, "in", self.consumed)


@pytest.fixture
def tx():
    return TransactionStory()


# tx.commit-ok is a confirm for everything in it.
def test_a_committed_message_that_never_comes_is_lost(tx):
    tx.history.commit_sent(tx.transaction)
    tx.history.committed(tx.transaction)
    tx.deliver(tx.first)
    tx.restart()
    assert tx.kinds() == {"lost": 1}


# ... its acknowledgements too.
def test_a_committed_acknowledgement_that_is_forgotten_is_resurrected(tx):
    tx.history.commit_sent(tx.transaction)
    tx.history.committed(tx.transaction)
    tx.deliver(tx.first)
    tx.deliver(tx.second)
    tx.restart()
    tx.deliver(tx.consumed, queue="in", redelivered=True)
    assert tx.kinds() == {"resurrected": 1}


# Rolled back, or never committed because the broker died, is never seen.
@pytest.mark.parametrize("end", ["rollback", "death"])
def test_a_message_that_was_not_committed_is_unexpected(tx, end):
    if end == "rollback":
        tx.history.rolled_back(tx.transaction)
    tx.restart()
    tx.deliver(tx.first)
    tx.deliver(tx.consumed, queue="in", redelivered=True)
    assert tx.kinds() == {"unexpected": 1}


# A commit without answer has happened or not.
def test_a_commit_without_answer_may_have_happened(tx):
    tx.history.commit_sent(tx.transaction)
    tx.restart()
    tx.deliver(tx.first)
    tx.deliver(tx.second)
    assert tx.kinds() == {}


# The other half of the same.
def test_a_commit_without_answer_may_not_have_happened(tx):
    tx.history.commit_sent(tx.transaction)
    tx.restart()
    tx.deliver(tx.consumed, queue="in", redelivered=True)
    assert tx.kinds() == {}


# All or nothing: messages among each other, messages and acknowledgements.
@pytest.mark.parametrize("seen", [["first"], ["second"], ["first", "second", "consumed"], []])
def test_half_a_commit_is_torn(tx, seen):
    tx.history.commit_sent(tx.transaction)
    tx.restart()
    for name in seen:
        if name == "consumed":
            tx.deliver(tx.consumed, queue="in", redelivered=True)
        else:
            tx.deliver(getattr(tx, name))
    assert tx.kinds() == {"torn": 1}


# Delivery does not wait for the commit: what was seen in the same life proves nothing.
def test_what_was_seen_before_the_death_does_not_count_for_a_commit(tx):
    tx.history.commit_sent(tx.transaction)
    tx.deliver(tx.first, ack=False)
    tx.restart()
    tx.deliver(tx.consumed, queue="in", redelivered=True)
    assert tx.kinds() == {}


# A message that would not have come back anyway says nothing about its acknowledgement.
def test_the_acknowledgement_of_a_transient_message_tells_nothing_of_its_commit(story):
    consumed = story.publish("in", persistent=False)
    story.deliver(consumed, queue="in", ack=False)
    transaction = story.history.begin_transaction()
    story.publish(confirm=False, transaction=transaction)
    story.history.acknowledge_in(transaction, "in", consumed)
    story.history.commit_sent(transaction)
    story.restart()
    assert story.kinds() == {}


# AMQP 0-9-1: a transient message ends with the broker, and not before.
def test_a_transient_message_is_lost_only_while_the_broker_lives(story):
    first = story.publish(persistent=False)
    story.publish(persistent=False)
    story.restart()
    story.deliver(first)
    story.publish(persistent=False)
    assert story.kinds() == {"unexpected": 1, "lost": 1}


# Clients stop publishing at a backlog: what a death has swallowed must not count for it for ever.
def test_the_backlog_counts_what_may_be_in_a_queue(story):
    first, second = story.publish("a", "b"), story.publish(confirm=False)
    assert story.history.waiting == 3
    story.deliver(first, queue="a")
    assert story.history.waiting == 2
    story.restart()
    assert story.history.waiting == 1
    story.deliver(second)
    story.deliver(first, queue="b")
    assert story.history.waiting == 0
