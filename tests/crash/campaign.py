# SPDX-License-Identifier: Apache-2.0
"""One history over many lives of a broker: started, loaded, killed at a random moment, started
again on the same directory, in the end drained and checked."""

import json
import pathlib
import random
import selectors
import signal
import subprocess
import time

from crash.clients import Drainer
from crash.inspector import Inspector, count_questions
from crash.link import Link
from crash.process import Process
from support import broker as brokers

READY_TIMEOUT_S = 20
LIFE_TIMEOUT_S = 30
DRAIN_TIMEOUT_S = 30
KILL_AFTER_S = 0.3
# Lives that end in order before SIGKILL comes count less, so that a campaign has an end.
STOPS_PER_KILL = 4
NEXT_SIGNAL_AFTER_S = 0.05
# How many lives end while the broker is still starting, and how soon.
EARLY_SHARE, EARLY_AFTER_S = 0.1, 0.05


class Failed(Exception):
    """The broker is in no state to go on with."""


class Campaign:
    def __init__(self, variant, seed, directory):
        self.variant, self.seed = variant, seed
        self.rng = random.Random(f"{variant.name} {seed}")
        self.directory = pathlib.Path(directory)
        self.directory.mkdir(parents=True)
        self.history = variant.history_class()
        self.selector = selectors.DefaultSelector()
        self.draining, self.declared = False, False
        self.kills_wanted, self.kills, self.stops, self.starts_s = 0, 0, 0, []
        self.seconds = 0                # what it took, when it is over
        self.process, self.killed_at_start = None, False
        self.config = self.directory / "bourse.yaml"
        self.config.write_text(variant.config())
        self.clients = variant.clients(self)

    def problem(self, kind, text):
        self.history.violation(kind, text)

    # -- a whole run

    def run(self, kills):
        """Returns the history's Report; what stops the run early is in it as well."""
        self.kills_wanted = kills
        is_drained = False
        try:
            while self.kills + self.stops // STOPS_PER_KILL < kills:
                self._live()
                self._begin_life()
            self._drain()
            self.variant.after_drain(self)
            is_drained = True
            self._begin_life()
            self._expect_empty()
        except Failed as failed:
            self.problem("process", str(failed))
        finally:
            if self.process is not None:
                self.process.signal(signal.SIGKILL)
                self._end_links()
                self.process.reap()
            self.selector.close()
        return self.history.check(is_drained)

    def _begin_life(self):
        self.history.begin_life()
        self.variant.after_death(self)

    def draw_style(self, styles):
        if self.history.waiting > self.variant.backlog_max * 3 // 4:
            return "eager"
        return self.rng.choices(styles, self.variant.style_weights)[0]

    # -- a life

    def _start(self):
        self.process = Process(self.config, self.directory)
        self.history.started_s = self.process.started
        self.selector.register(self.process, selectors.EVENT_READ, self.process)
        self.selector.register(self.process.pidfd, selectors.EVENT_READ, None)

    def _live(self):
        """Ends with the death of the broker, at a moment drawn beforehand."""
        self.killed_at_start = self.declared and self.rng.random() < EARLY_SHARE
        moment = self.rng.uniform(0, EARLY_AFTER_S if self.killed_at_start else KILL_AFTER_S)
        numbers = [signal.SIGKILL] if self.killed_at_start else self.variant.draw_end(self.rng)
        self._start()
        if self.killed_at_start:
            self.process.signal_after(moment, *numbers)
        elif self._await_ready():
            for delay_s, number in numbers_with_delays(self.rng, moment, numbers):
                self.process.signal_after(delay_s, number)
        self._load()
        self._bury(numbers)

    def _await_ready(self):
        deadline = time.monotonic() + READY_TIMEOUT_S
        while self.process.address is None and not self.process.has_ended():
            self._turn(())
            if time.monotonic() > deadline:
                raise Failed(f"not ready after {READY_TIMEOUT_S} s\n{self.process.log_tail()}")
        if self.process.address is not None:
            self.starts_s.append(self.process.ready_s)
        return self.process.address is not None

    def _load(self):
        """Runs the clients until the process has ended."""
        deadline = time.monotonic() + LIFE_TIMEOUT_S
        clients = []
        if self._await_ready() and self._inspect():
            clients = self.clients
            for client in clients:
                client.begin(self.process.address)
        while not self.process.has_ended():
            self._turn(clients)
            if time.monotonic() > deadline:
                raise Failed(f"still running {LIFE_TIMEOUT_S} s after its signal")

    def _bury(self, numbers):
        self._end_links()
        status = self._reap()
        allowed = {-signal.SIGKILL} if signal.SIGKILL in numbers else {0}
        if signal.SIGTERM in numbers:
            allowed.add(0)
        self.kills += status == -signal.SIGKILL
        self.stops += status == 0
        reports = self.process.sanitizer_reports()
        log = self.process.log_tail()
        self.process = None
        if reports or status not in allowed:
            raise Failed(f"the broker ended with status {status}\n{log}{reports}")

    def _reap(self):
        self.selector.unregister(self.process.pidfd)
        try:
            self.selector.unregister(self.process)
        except KeyError:
            pass
        return self.process.reap()

    def _turn(self, clients, timeout_s=0.02):
        for key, events in self.selector.select(timeout_s):
            if isinstance(key.data, Link):
                key.data.on_ready(events)
            elif key.data is self.process and self.process is not None:
                self.process.on_output()
                if self.process.has_ended():
                    self.selector.unregister(self.process)
        for client in clients:
            if client.link is not None and client.link.is_open and client.ready:
                client.turn()

    def _let_come(self):
        """What waits is in no count; so does what was on its way to a drainer that has closed."""
        deadline = time.monotonic() + self.variant.wait_max_s
        while time.monotonic() < deadline:
            self._turn(())

    def _links(self):
        return [key.data for key in self.selector.get_map().values() if isinstance(key.data, Link)]

    def _end_links(self):
        """Reads what the broker wrote before it died: a confirm in there has left it."""
        deadline = time.monotonic() + 5
        while links := self._links():
            for link in links:
                link.on_ready(selectors.EVENT_READ)
                if time.monotonic() > deadline:
                    link.end()

    # -- what is there

    def _inspect(self):
        """Declares everything, or looks whether it is still there. False: the broker has died."""
        inspector = self.ask(self.variant.declarations(passive=self.declared))
        if inspector is None:
            return False
        for arguments, answer in inspector.results():
            if answer.name == "channel.close":
                self.problem("topology", f"{arguments}: {answer.reply_text}")
                self.declared = False
        if not self.declared:
            if self.ask(self.variant.declarations(passive=False)) is None:
                return False
            self.declared = True
        return True

    def ask(self, questions):
        """An Inspector with all answers, or None if the broker has died over it."""
        inspector = Inspector(self, questions)
        inspector.begin(self.process.address)
        deadline = time.monotonic() + LIFE_TIMEOUT_S
        while not (inspector.done and inspector.link.ended):
            self._turn(())
            if self.process.has_ended() and inspector.link.ended:
                return None
            if time.monotonic() > deadline:
                raise Failed("no answer to a passive declare")
        return inspector

    def dump(self, queue):
        """The messages of a durable queue of a broker that has stopped, parked ones included."""
        lines = subprocess.run([brokers.binary(), "store", "dump", "--json", "--queue", queue,
                                self.directory / "data"], capture_output=True, text=True, check=True)
        return [entry for entry in map(json.loads, lines.stdout.splitlines()) if entry["type"] == "message"]

    # -- the end

    def _drain(self):
        """Takes out what is there; then every queue must count zero."""
        self.draining = True
        self._start()
        if not self._await_ready() or not self._inspect():
            raise Failed(f"did not start for the drain\n{self.process.log_tail()}")
        self.variant.before_drain(self)
        self._let_come()
        deadline = time.monotonic() + DRAIN_TIMEOUT_S
        while any(self._drain_once(deadline).values()):
            if time.monotonic() > deadline:
                break
        self._stop()

    def _drain_once(self, deadline):
        """Consumes from all queues until they count zero and nothing more comes."""
        drainers = [Drainer(self, queue) for queue in self.variant.queues(self)]
        for drainer in drainers:
            drainer.begin(self.process.address)
        seen = -1
        while seen != self.history.counts["deliveries"] or any(self._counts(drainers).values()):
            seen = self.history.counts["deliveries"]
            self._turn(drainers)
            if time.monotonic() > deadline or self.process.has_ended():
                break
        for drainer in drainers:
            drainer.close()
        while not all(drainer.link.ended for drainer in drainers):
            self._turn(drainers)
        self._let_come()
        return self._counts(())

    def _counts(self, clients):
        queues = self.variant.queues(self)
        inspector = self.ask(count_questions(queues))
        if inspector is None:
            raise Failed(f"the broker died while it was drained\n{self.process.log_tail()}")
        for client in clients:
            client.turn()
        return {queue: getattr(answer, "message_count", 0)
                for queue, (_, answer) in zip(queues, inspector.results())}

    def _stop(self):
        self.process.signal(signal.SIGTERM)
        self._load_nothing()
        self._bury([signal.SIGTERM])

    def _load_nothing(self):
        deadline = time.monotonic() + LIFE_TIMEOUT_S
        while not self.process.has_ended():
            self._turn(())
            if time.monotonic() > deadline:
                raise Failed("did not stop after SIGTERM")

    def _expect_empty(self):
        """A clean stop keeps every acknowledgement: after one more start nothing is left."""
        self._start()
        if not self._await_ready():
            raise Failed(f"did not start after the drain\n{self.process.log_tail()}")
        for queue, count in self._counts(()).items():
            self.history.left(queue, count)
        self._stop()


def numbers_with_delays(rng, moment_s, numbers):
    """(delay, signal) for each of `numbers`: the first at `moment_s`, each other soon after the one
    before, and more often at once than late."""
    delays, at_s = [], moment_s
    for number in numbers:
        delays.append((at_s, number))
        at_s += NEXT_SIGNAL_AFTER_S * rng.random() ** 4
    return delays
