# SPDX-License-Identifier: Apache-2.0
"""The broker is killed and keeps what it confirmed."""

import concurrent.futures
import os
import shutil
import zlib

import pytest

from crash import run
from crash.campaign import Campaign, Failed
from crash.variants import VARIANTS, Variant

# 305 in all.
KILLS = {"plain": 25, "fanout": 25, "segments": 30, "tx": 25, "topology": 30, "shutdown": 25,
         "paging": 20, "large": 20, "dead": 20, "ttl": 20, "delay": 20,
         "retry": 20, "apply": 25}


class Disconnecting(Campaign):
    """Lives end for the clients only: all their connections are cut, the broker runs on."""

    def _start(self):
        if self.process is None:
            super()._start()

    def _live(self):
        self._start()
        if not self._await_ready() or not self._inspect():
            raise Failed(self.process.log_tail())
        for client in self.clients:
            client.begin(self.process.address)
            # The broker may still be reading what the last connection had sent.
            client.channel = client.session
        for _ in range(self.rng.randint(0, 60)):
            self._turn(self.clients)
        # What is asked over a connection that was cut might be done after the next one has looked.
        while any(getattr(client, "request", None) for client in self.clients):
            self._turn(())
        for link in self._links():
            link.end()
        self.kills += 1
        self.draining = False

    def _begin_life(self):
        """Nothing is gone; what was on its way comes again, at any time."""
        self.history.begin_life(is_restart=False)
        for queue in self.variant.queues(self):
            self.history.lose_channel(queue)

    def _expect_empty(self):
        """A broker without a disk has nothing to show after its end."""


# The harness itself: what survives must be found, or else every violation below means nothing.
@pytest.mark.parametrize("name", VARIANTS)
def test_a_broker_that_was_not_killed_has_lost_nothing(name, tmp_path):
    report = Disconnecting(VARIANTS[name](), 6, tmp_path / "campaign").run(5)
    assert report.violation_count == 0, report.text()
    assert report.counts["confirmed"] > 0, report.summary()
    assert report.counts["delivered"] > 0, report.summary()


class Forgetting(Campaign):
    """Starts every life with an empty directory, as a broker would that writes nothing."""

    def _start(self):
        shutil.rmtree(self.directory / "data", ignore_errors=True)
        super()._start()


# And what does not survive must be seen as well.
def test_a_broker_that_forgets_is_found_out(tmp_path):
    report = Forgetting(Variant(), 1, tmp_path / "campaign").run(6)
    assert report.kinds["lost"] > 0, report.text()
    assert report.kinds["topology"] > 0, report.text()


def run_and_describe(name):
    seed = zlib.crc32(name.encode())
    campaign, report = run.run_one(name, seed, KILLS[name], run.OUT / "test")
    return report.violation_count, run.describe(campaign, report)


@pytest.fixture(scope="module")
def campaigns(keeps_data):
    """The results by name, to be waited for. Half of a life is waiting, so all processors work on
    several at once."""
    with concurrent.futures.ProcessPoolExecutor(os.cpu_count()) as pool:
        yield {name: pool.submit(run_and_describe, name) for name in VARIANTS}


# Promises 1 and 2 of the design; F1 and F18. 305 kills over all variants, and the restarts after.
@pytest.mark.parametrize("name", VARIANTS)
def test_nothing_confirmed_is_lost_by_kill(name, campaigns):
    violations, text = campaigns[name].result()
    print(text)
    assert violations == 0, text
