# SPDX-License-Identifier: Apache-2.0
"""What happened to every message, and whether it was allowed to.

The history goes on over the lives of a broker that is killed and started again. It is told what
the clients did and saw, and keeps the sets of reliability.md, part 1: attempted, confirmed,
delivered, acknowledged, lost, unexpected, duplicated, recovered. One message that goes to several
queues is one *copy* in each; all rules but that of transactions are about copies.

The rules, each the `kind` of a Violation:

    lost         confirmed, and neither acknowledged by a consumer nor in a queue at the end
    unexpected   delivered from a queue it was never published to, returned, rolled back, purged; or
                 transient, and of an earlier life
    duplicated   delivered again without redelivered=true
    flagged      delivered for the first time, in the life it was published, with redelivered=true
    resurrected  delivered after its acknowledgement was on disk, or in the life of that
    reordered    before an earlier one of the same channel and queue
    altered      a body that is not the published one
    torn         of a transaction some is there and some is not
    undrained    a queue that does not come to zero, or counts what is not there
    topology     an answered declare, delete, bind or unbind that did not last
    process      the broker ended, answered or started otherwise than it should

Numbers of messages rise in the order in which they are published.
"""

import collections

from crash import bodies

Violation = collections.namedtuple("Violation", "kind text")
VIOLATIONS_KEPT_MAX = 1000


class Message:
    """One publish. `attempts` is above one when its publisher sent it again."""

    __slots__ = ("number", "channel", "size", "attempts", "life", "confirmed", "void", "copies",
                 "transaction", "persistent")

    def __init__(self, number, channel, size, life, transaction, persistent):
        self.number, self.channel, self.size, self.life = number, channel, size, life
        self.attempts, self.confirmed, self.transaction = 1, False, transaction
        self.persistent = persistent
        self.void = None                # why it must not be anywhere
        self.copies = []


class Copy:
    """A message in one queue. Lives are counted from 1; 0 stands for never."""

    __slots__ = ("message", "queue", "deliveries", "last_life", "acknowledged", "acknowledged_life",
                 "settled", "gone", "excused", "waits")

    def __init__(self, message, queue):
        self.message, self.queue = message, queue
        self.deliveries, self.last_life = 0, 0
        self.acknowledged, self.acknowledged_life = False, 0
        self.settled = False            # the acknowledgement is known to be on disk
        self.gone = False               # its queue was purged or deleted, and that was answered
        self.excused = False            # the same without an answer: it may be there or not
        self.waits = True               # counted in `waiting`

    def __str__(self):
        return f"message {self.message.number} of {self.message.channel} in {self.queue}"


class Transaction:
    """Publishes and acknowledgements between two commits of a channel."""

    def __init__(self, life):
        self.life = life
        self.messages, self.copies = [], []
        self.state = "open"             # then "sent", then "committed" or "rolled back"


class History:
    def __init__(self):
        self.life = 1
        self.messages, self.copies, self.transactions = {}, {}, []
        self._queues = collections.defaultdict(list)    # of copies, emptied with the queue
        self.counts = collections.Counter()
        self.violations = []
        # Copies that are thought to be in a queue; a publish that a death left unconfirmed is not.
        self.waiting = 0
        self._in_doubt = []             # messages of this life, in order
        self._requeued = set()          # queues in which order may be broken, in this life
        self._lost_channel = set()      # queues to which unseen deliveries went back
        self._last_first, self._last_any = {}, {}
        self._high, self._floor = {}, {}
        self.started_s = 0              # the process of this life; monotonic

    def violation(self, kind, text):
        self.counts["violations"] += 1
        if len(self.violations) < VIOLATIONS_KEPT_MAX:
            self.violations.append(Violation(kind, f"life {self.life}: {text}"))

    # -- lives

    def begin_life(self, is_restart=True):
        """The broker was started again, or else only all connections were cut; every consumer is a
        new one."""
        self.life += 1
        self._requeued.clear()
        self._lost_channel.clear()
        self._last_first.clear()
        self._last_any.clear()
        self._floor = dict(self._high)
        for message in self._in_doubt if is_restart else ():
            self._survive(message)
        self._in_doubt.clear()
        for transaction in self.transactions:
            if transaction.state == "open":
                self.rolled_back(transaction)
        self.transactions = [each for each in self.transactions if each.state == "sent"]

    def _survive(self, message):
        """What the end of the life it was published in makes of a message."""
        if not message.persistent:
            message.void = "transient, of an earlier life"
        for copy in message.copies:
            if not message.persistent:
                self._leave(copy)
            elif not message.confirmed:
                self._stop_waiting(copy)

    # -- publishers

    def attempt(self, channel, queues, size, transaction=None, persistent=True):
        """A publish is handed to the socket; returns the number of the message."""
        number = len(self.messages) + 1
        message = Message(number, channel, size, self.life, transaction, persistent)
        self.messages[number] = message
        self._in_doubt.append(message)
        for queue in queues:
            copy = Copy(message, queue)
            message.copies.append(copy)
            self.copies[queue, number] = copy
            self._queues[queue].append(copy)
        self.waiting += len(message.copies)
        self.counts["attempted"] += 1
        if transaction is not None:
            transaction.messages.append(message)
        return number

    def expires(self, number, ms):
        """The message has been given so long to live."""

    def delays(self, number, headers):
        """The message has headers that say for how long it is held back."""

    def attempt_again(self, number):
        self.messages[number].attempts += 1

    def confirm(self, number):
        message = self.messages[number]
        self.counts["confirmed"] += not message.confirmed
        message.confirmed = True

    def refuse(self, number):
        """basic.nack: the broker did not take it; whether it is there is open."""
        self.counts["refused"] += 1
        assert not self.messages[number].confirmed, "confirmed and refused"

    def returned(self, number):
        self._forbid(self.messages[number], "returned")

    def _forbid(self, message, why):
        """From now on `message` must not be seen; it counts as nowhere."""
        message.void = why
        for copy in message.copies:
            self._leave(copy)
            if copy.deliveries:
                self.violation("unexpected", f"{copy} was delivered and then {why}")

    def _leave(self, copy):
        self._stop_waiting(copy)
        copy.gone = True

    def _stop_waiting(self, copy):
        self.waiting -= copy.waits
        copy.waits = False

    # -- consumers

    def deliver(self, queue, number, redelivered, consumer, body):
        """`consumer` names one basic.consume of this life; order is kept for each."""
        self.counts["deliveries"] += 1
        copy = self.copies.get((queue, number))
        if copy is None:
            self._deliver_unknown(queue, number, body)
            return
        message = copy.message
        if message.void is not None or copy.gone:
            self.violation("unexpected", f"{copy} was delivered, but {message.void or 'removed'}")
        if body != bodies.make(number, message.size):
            self.violation("altered", f"{copy} has {message.size} octets, delivered "
                                      f"{bodies.describe(body)}")
        self._check_acknowledged(copy)
        self._check_flag(copy, redelivered)
        self._check_order(copy, redelivered, consumer)
        self.counts["delivered"] += copy.deliveries == 0
        self.counts["duplicated"] += copy.deliveries > 0
        copy.deliveries += 1
        copy.last_life = self.life

    def _deliver_unknown(self, queue, number, body):
        known = self.messages.get(number)
        text = f"is for {[copy.queue for copy in known.copies]}" if known else "is not known"
        self.violation("unexpected", f"message {number} was delivered from {queue} and {text}: "
                                     f"{bodies.describe(body)}")

    def _check_acknowledged(self, copy):
        if copy.settled:
            self.violation("resurrected", f"{copy} came back after its acknowledgement of life "
                                          f"{copy.acknowledged_life} was on disk")
        elif copy.acknowledged and copy.acknowledged_life == self.life:
            self.violation("resurrected", f"{copy} came back in the life it was acknowledged in")

    def _check_flag(self, copy, redelivered):
        if not redelivered and copy.deliveries >= copy.message.attempts:
            self.violation("duplicated", f"{copy} was delivered in life {copy.last_life} and comes "
                                         "without redelivered")
        if redelivered and copy.deliveries == 0 and copy.message.life == self.life \
                and copy.queue not in self._lost_channel:
            self.violation("flagged", f"{copy} is new and comes with redelivered")

    def _check_order(self, copy, redelivered, consumer):
        number, channel = copy.message.number, copy.message.channel
        place = (consumer, copy.queue, channel)
        if copy.queue not in self._requeued:
            self._follow(self._last_any, place, copy, "to one consumer")
        if not redelivered:
            self._follow(self._last_first, place, copy, "to one consumer for the first time")
            floor = self._floor.get((copy.queue, channel), 0)
            if number <= floor and copy.deliveries == 0:
                self.violation("reordered", f"{copy} comes without redelivered, after {floor} in an "
                                            "earlier life")
        high = (copy.queue, channel)
        self._high[high] = max(number, self._high.get(high, 0))

    def _follow(self, last, place, copy, how):
        number = copy.message.number
        if number < last.get(place, 0) and copy.message.attempts == 1:
            self.violation("reordered", f"{copy} was delivered {how} after {last[place]}")
        last[place] = number

    def acknowledge(self, queue, number):
        """basic.ack was handed to the socket."""
        copy = self.copies.get((queue, number))
        if copy is None:
            return
        if not copy.acknowledged:
            self.counts["acknowledged"] += 1
            self._stop_waiting(copy)
        copy.acknowledged, copy.acknowledged_life = True, self.life

    def settle(self, queue, number):
        """The acknowledgement is on disk: something later of the same channel was confirmed."""
        copy = self.copies.get((queue, number))
        if copy is not None:
            self.counts["settled"] += not copy.settled
            copy.settled = True

    def requeue(self, queue):
        """A consumer gave a message back: the order of redelivered ones is free in this life."""
        self._requeued.add(queue)

    def lose_channel(self, queue):
        """A consuming channel ended: what it had not read yet comes again, flagged."""
        self._requeued.add(queue)
        self._lost_channel.add(queue)

    # -- queues

    def empty(self, queue, answered=True):
        """A purge or delete of a queue that nobody consumes from."""
        for copy in self._queues[queue]:
            if answered:
                self._leave(copy)
            else:
                copy.excused = True
        if answered:
            self._queues[queue].clear()

    def left(self, queue, count):
        """The number of messages that `queue` says it holds at the very end."""
        if count:
            self.violation("undrained", f"{queue} is at {count} at the end")

    # -- transactions

    def begin_transaction(self):
        self.transactions.append(Transaction(self.life))
        return self.transactions[-1]

    def acknowledge_in(self, transaction, queue, number):
        copy = self.copies.get((queue, number))
        if copy is not None:
            transaction.copies.append(copy)

    def commit_sent(self, transaction):
        transaction.state = "sent"
        for copy in transaction.copies:
            self.acknowledge(copy.queue, copy.message.number)

    def committed(self, transaction):
        transaction.state = "committed"
        for message in transaction.messages:
            self.confirm(message.number)
        for copy in transaction.copies:
            self.settle(copy.queue, copy.message.number)

    def rolled_back(self, transaction):
        """Answered, or the channel ended before tx.commit was sent."""
        transaction.state = "rolled back"
        for message in transaction.messages:
            self._forbid(message, "rolled back")

    # -- the end

    def check(self, is_drained=True):
        """Called once, after the last drain. Returns a Report. Without a drain nobody can say what
        is lost."""
        lost = [copy for copy in self.copies.values() if is_drained and self._is_lost(copy)]
        for copy in lost:
            seen = f"last seen in life {copy.last_life}" if copy.deliveries else "never delivered"
            self.violation("lost", f"{copy}, of life {copy.message.life}, was confirmed; {seen}")
        for transaction in self.transactions:
            if transaction.state == "sent" and is_drained:
                self._check_whole(transaction)
        self.counts["recovered"] = sum(copy.deliveries > 0 and not copy.message.confirmed
                                       for copy in self.copies.values())
        self.counts["lost"] = len(lost)
        return Report(self.life, self.counts, self.violations)

    @staticmethod
    def _is_lost(copy):
        return (copy.message.confirmed and not copy.acknowledged and not copy.gone
                and not copy.excused)

    def _check_whole(self, transaction):
        """What later lives have shown of a commit without answer must all say the same."""
        there, missing = [], []
        for message in transaction.messages:
            for copy in message.copies:
                if copy.last_life > transaction.life:
                    there.append(f"{copy} is there")
                elif copy.acknowledged_life != transaction.life:
                    missing.append(f"{copy} is not")
        for copy in transaction.copies:
            if copy.last_life > transaction.life:
                missing.append(f"the acknowledgement of {copy} is not")
            elif copy.message.confirmed and copy.message.persistent:
                there.append(f"the acknowledgement of {copy} is there")
        if there and missing:
            self.violation("torn", f"a transaction of life {transaction.life}: {there[0]}, "
                                   f"{missing[0]} ({len(there)} and {len(missing)})")


class Report:
    """The sums of a history."""

    SETS = ("attempted", "confirmed", "delivered", "acknowledged", "settled", "recovered",
            "duplicated", "refused", "lost")

    def __init__(self, lives, counts, violations):
        self.lives, self.counts, self.violations = lives, counts, violations
        self.kinds = collections.Counter(violation.kind for violation in violations)

    @property
    def violation_count(self):
        return self.counts["violations"]

    def summary(self):
        return " ".join(f"{name} {self.counts[name]}" for name in self.SETS)

    def text(self, limit=20):
        lines = [f"{violation.kind}: {violation.text}" for violation in self.violations[:limit]]
        kinds = ", ".join(f"{kind} {count}" for kind, count in sorted(self.kinds.items()))
        return "\n".join([self.summary(), f"{self.violation_count} violations: {kinds or 'none'}",
                          *lines])
