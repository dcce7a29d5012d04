# SPDX-License-Identifier: Apache-2.0
"""The history of messages that are held back. Each is in one place, which is its queue, whether it waits
there or not, so the rules of History hold; but it comes in the order in which messages are due and not in
that of their publishers. Kinds:

    early      before it was due
    reordered  to one consumer for the first time, behind one that had waited and was certainly due later

When exactly a message is due only the broker knows: not before the delay has passed since the publish was
handed to the socket, nor later than when it has since the confirm came.
"""

import time

from crash.history import History

# The broker counts whole milliseconds on two clocks.
ROUNDING_S = 0.002


class Delays(History):
    def __init__(self):
        super().__init__()
        self._sent_s = {}               # by number, monotonic, of all messages that are held back
        self._delay_s = {}              # by number, relative to the publish
        self._due_s = {}                # by number, on the wall clock
        self._confirmed_s = {}          # by number, monotonic
        self._latest = {}               # by consumer: (since when at the earliest one was due, which)

    # -- publishers

    def delays(self, number, headers):
        """The message has these headers, and asks to be held back by them."""
        if not headers.keys() & {"x-delay", "x-deliver-at"}:
            return
        self._sent_s[number] = time.monotonic()
        self._delay_s[number] = headers.get("x-delay", 0) / 1000
        self._due_s[number] = headers.get("x-deliver-at", 0) / 1000

    def confirm(self, number):
        super().confirm(number)
        self._confirmed_s.setdefault(number, time.monotonic())

    # -- when

    def _due_since(self, number, published_s):
        """When it is due if it was published then; monotonic."""
        wall_s = self._due_s[number] - time.time() + time.monotonic()
        return max(published_s + self._delay_s[number], wall_s)

    def _due_earliest(self, number):
        return self._due_since(number, self._sent_s[number])

    def _has_waited(self, number):
        """Certainly. What is due when it is published or committed does not wait, and overtakes whatever
        waits for the next step of the broker's timers."""
        confirmed_s = self._confirmed_s.get(number)
        if confirmed_s is not None and self._due_earliest(number) > confirmed_s:
            return True
        return self._delay_s[number] > 0 and self.messages[number].transaction is None

    def _due_latest(self, number):
        return self._due_since(number, self._confirmed_s[number])

    # -- consumers

    def deliver(self, queue, number, redelivered, consumer, body):
        if number in self._sent_s:
            early_s = self._due_earliest(number) - time.monotonic()
            if early_s > ROUNDING_S:
                self.violation("early", f"message {number} comes from {queue} {early_s:.3f} s early")
        super().deliver(queue, number, redelivered, consumer, body)

    def begin_life(self, is_restart=True):
        super().begin_life(is_restart)
        self._latest.clear()

    def _check_order(self, copy, redelivered, consumer):
        number = copy.message.number
        if number not in self._sent_s:
            super()._check_order(copy, redelivered, consumer)
        elif not redelivered:
            self._check_due_order(copy, number, consumer)

    def _check_due_order(self, copy, number, consumer):
        earliest_s, before = self._latest.get(consumer, (0, None))
        if number in self._confirmed_s and self._due_latest(number) + ROUNDING_S < earliest_s:
            self.violation("reordered", f"{copy} was delivered after {before}, which was due "
                                        f"{earliest_s - self._due_latest(number):.3f} s later")
        if self._has_waited(number) and self._due_earliest(number) > earliest_s:
            self._latest[consumer] = (self._due_earliest(number), copy)
