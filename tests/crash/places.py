# SPDX-License-Identifier: Apache-2.0
"""The history of messages that may die: each has a copy in its queue and one where the dead of that
queue go, and is in one place of both. Rules beside those of History, whose `lost` becomes: confirmed,
and taken from neither place:

    twofold    delivered from its queue after it was seen dead in the same life, or taken dead in a way
               that was on disk; or seen dead after an acknowledgement in its queue of the same kind
    late       delivered from its queue, though its time was over before this life began
    early      expired before its time
    causeless  rejected, says the message, though nobody rejected it; or it has died more than once

A death that was not on disk is undone with the broker, as if nobody had rejected the message: it is
where it was, though somebody may have seen it dead.
"""

import math
import time

from crash.history import History

# What the log says of a message that nobody waits for.
PARKED_MS = 2**63 - 1
# Deadlines are rounded up to steps of the broker's timers.
STEP_S = 0.010


def dead_of(queue):
    """Where what dies in the queue goes."""
    return f"{queue} dead"


class Places(History):
    def __init__(self):
        super().__init__()
        self._born = {}                 # by number: (sent, arrived at the latest), monotonic seconds
        self._ttl_s = {}                # by number
        self.queue_ttl_s = {}           # by queue
        self._rejected = {}             # by queue and number: the life
        self._unanswered = set()        # numbers of this life that nothing is known of

    # -- publishers

    def attempt(self, channel, queues, size, transaction=None, persistent=True):
        number = super().attempt(channel, queues, size, transaction, persistent)
        self._stop_waiting(self.messages[number].copies[1])
        self._born[number] = (time.monotonic(), None)
        self._unanswered.add(number)
        return number

    def expires(self, number, ms):
        self._ttl_s[number] = ms / 1000

    def confirm(self, number):
        super().confirm(number)
        self._arrived(number)

    def _arrived(self, number):
        self._born[number] = (self._born[number][0], time.monotonic())
        self._unanswered.discard(number)

    def begin_life(self, is_restart=True):
        for number in list(self._unanswered):
            self._arrived(number)
        super().begin_life(is_restart)

    # -- consumers

    def _places(self, copy):
        return copy.message.copies

    def deliver(self, queue, number, redelivered, consumer, body):
        copy = self.copies.get((queue, number))
        if copy is not None:
            here, dead = self._places(copy)
            self._check_place(copy, here, dead)
            if copy is here:
                self._check_late(copy)
        super().deliver(queue, number, redelivered, consumer, body)

    def _check_place(self, copy, here, dead):
        if copy is here and (dead.settled or (dead.deliveries and dead.last_life == self.life)):
            self.violation("twofold", f"{copy} was delivered, and dead in life {dead.last_life}")
        if copy is here and self._rejected.get((here.queue, here.message.number)) == self.life:
            self.violation("twofold", f"{copy} was delivered again in the life it was rejected in")
        is_done = here.settled or (here.acknowledged and here.acknowledged_life == self.life)
        if copy is dead and is_done:
            self.violation("twofold", f"{copy} was acknowledged before it died")

    def _check_late(self, copy):
        number = copy.message.number
        _sent_s, arrived_s = self._born[number]
        if number not in self._ttl_s or copy.message.life == self.life or arrived_s is None:
            return
        over_s = arrived_s + self._ttl_s[number] + 2 * STEP_S
        if over_s < self.started_s:
            self.violation("late", f"{copy} was over {self.started_s - over_s:.3f} s before the start")

    def _check_flag(self, copy, redelivered):
        is_undone = copy is not self._places(copy)[0] and copy.last_life < self.life
        if not is_undone or copy.settled:
            super()._check_flag(copy, redelivered)

    def _check_order(self, copy, redelivered, consumer):
        """The dead come in the order of their deaths."""
        if copy is self._places(copy)[0]:
            super()._check_order(copy, redelivered, consumer)

    def read_deaths(self, queue, number, headers):
        """What a message says that was delivered dead."""
        copy = self.copies.get((queue, number))
        deaths = headers.get("x-death", [])
        if copy is None:
            return
        if len(deaths) != 1 or deaths[0]["count"] != 1:
            self.violation("causeless", f"{copy} says {deaths}")
            return
        here, reason = self._places(copy)[0], deaths[0]["reason"]
        if reason == "rejected" and (here.queue, number) not in self._rejected:
            self.violation("causeless", f"{copy} was rejected, says it")
        if reason == "expired":
            self._check_early(copy, number)

    def _check_early(self, copy, number):
        queue = self._places(copy)[0].queue
        ttl_s = min(self._ttl_s.get(number, math.inf), self.queue_ttl_s.get(queue, math.inf))
        left_s = self._born[number][0] + ttl_s - time.monotonic()
        if left_s > 0:
            self.violation("early", f"{copy} has expired {left_s:.3f} s before its {ttl_s} s")

    def reject(self, queue, number):
        """basic.nack without requeue was handed to the socket."""
        self._rejected[queue, number] = self.life

    def acknowledge(self, queue, number):
        super().acknowledge(queue, number)
        copy = self.copies.get((queue, number))
        if copy is not None:
            self._stop_waiting(self._places(copy)[0])

    # -- the end

    def _is_lost(self, copy):
        here, dead = self._places(copy)
        return (copy is here and super()._is_lost(here) and not dead.acknowledged)


class Retries(Places):
    """Messages that failed wait before they come again, and die when they have failed too often, or are
    parked: then they are where the dead are. Two kinds more:

        early   comes again before its wait was over, which also the next life knows
        beyond  is handed out though it has failed more often than the limit allows, or died of that
                before
    """

    def __init__(self):
        super().__init__()
        self._failures = {}             # by queue and number: when each was handed to the socket
        self.limit, self.first_s, self.max_s = 0, 0, 0

    def fail(self, queue, number):
        """basic.reject with requeue was handed to the socket."""
        self._failures.setdefault((queue, number), []).append(time.monotonic())
        self.requeue(queue)

    def _check_order(self, copy, redelivered, consumer):
        """What has failed comes when its wait is over, in whatever life that is."""
        if (copy.queue, copy.message.number) not in self._failures:
            super()._check_order(copy, redelivered, consumer)

    def read_failures(self, queue, number, headers):
        """What a message says that is delivered. A failure that a death of the broker has undone is not
        counted; then nobody knows when the last one was."""
        count, failures = headers.get("x-delivery-count", 0), self._failures.get((queue, number), [])
        if count > self.limit:
            self.violation("beyond", f"message {number} in {queue} has failed {count} times")
        if 0 < count == len(failures):
            due_s = failures[-1] + min(self.max_s, self.first_s * 2 ** (count - 1))
            if time.monotonic() < due_s:
                self.violation("early", f"message {number} in {queue} comes again "
                                        f"{due_s - time.monotonic():.3f} s early")

    def read_deaths(self, queue, number, headers):
        super().read_deaths(queue, number, headers)
        deaths = headers.get("x-death", [])
        if deaths and deaths[0]["reason"] == "delivery_limit" \
                and headers.get("x-delivery-count") != self.limit + 1:
            self.violation("beyond", f"message {number} died of its limit: {headers}")

    def stop_parking(self, queue):
        """The broker has stopped: what was parked in the queue and is transient has gone with it."""
        for copy in self._queues[queue]:
            copy.excused = copy.excused or not copy.message.persistent

    def park(self, queue, number, failures, due_ms):
        """At the very end the message was found in the queue, of which everything was taken that could
        be."""
        copy = self.copies.get((queue, number))
        if copy is None or due_ms != PARKED_MS or failures != self.limit + 1:
            self.violation("undrained", f"message {number} is in {queue}, due {due_ms}, failed {failures} "
                                        "times")
            return
        here, dead = self._places(copy)
        if here.gone:
            self.violation("unexpected", f"{here} is parked, but {here.message.void or 'removed'}")
        if here.settled or (here.acknowledged and here.acknowledged_life == self.life):
            self.violation("twofold", f"{here} is parked, but was acknowledged")
        self.counts["parked"] += 1
        dead.acknowledged, dead.acknowledged_life = True, self.life
