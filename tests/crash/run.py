#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Kills a broker again and again and checks what it kept.

    tests/crash/run.py --minutes 10                  all variants in turn, fresh seeds
    tests/crash/run.py --variant tx --seed 7 --kills 25

The last line is `N passed, N failed`, one for each history. What a failure leaves behind, the data
directory and the log of the broker, is kept under build/crash/. A seed draws the same plan again;
the moments of the kills fall where the machine lets them.
"""

import argparse
import os
import pathlib
import shutil
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / "tests"))

from crash.campaign import Campaign     # noqa: E402
from crash.variants import VARIANTS     # noqa: E402

OUT = ROOT / "build" / "crash"
KILLS_PER_HISTORY = 25


def run_one(name, seed, kills, out):
    """One history. Returns (Campaign, Report)."""
    started = time.monotonic()
    directory = out / f"{name}-{seed}"
    shutil.rmtree(directory, ignore_errors=True)
    campaign = Campaign(VARIANTS[name](), seed, directory)
    report = campaign.run(kills)
    campaign.seconds = time.monotonic() - started
    if report.violation_count == 0:
        shutil.rmtree(directory)
    return campaign, report


def describe(campaign, report):
    slowest = max(campaign.starts_s, default=0)
    line = (f"{campaign.variant.name:10} seed {campaign.seed:<10} {campaign.kills:3} kills"
            f" {campaign.stops:3} stops {campaign.seconds:5.1f} s, slowest start {slowest * 1000:4.0f} ms:"
            f" {report.summary()}")
    if report.violation_count:
        line += f"\n{report.text()}\nFAILED; kept in {campaign.directory}; again: " \
                f"tests/crash/run.py --variant {campaign.variant.name} --seed {campaign.seed}" \
                f" --kills {campaign.kills_wanted}"
    return line


class Sums:
    def __init__(self):
        self.passed = self.failed = self.kills = self.confirmed = self.violations = 0

    def add(self, campaign, report):
        self.passed += report.violation_count == 0
        self.failed += report.violation_count > 0
        self.kills += campaign.kills
        self.confirmed += report.counts["confirmed"]
        self.violations += report.violation_count


def plan(options):
    """(variant, seed) for each history, for as long as there is time."""
    seed, started = options.seed, time.monotonic()
    while True:
        for name in options.variant or VARIANTS:
            if options.minutes is not None and time.monotonic() - started > 60 * options.minutes:
                return
            yield name, seed
        seed += 1
        if options.minutes is None:
            return


def parse_options():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--variant", choices=VARIANTS, action="append")
    parser.add_argument("--seed", type=int, default=None, help="of the first round; else by time")
    parser.add_argument("--kills", type=int, default=KILLS_PER_HISTORY, help="per history")
    parser.add_argument("--minutes", type=float, default=None, help="rounds until then; else one")
    parser.add_argument("--out", type=pathlib.Path, default=OUT)
    options = parser.parse_args()
    if options.seed is None:
        options.seed = int(time.time() * 1000) % 10**9
    return options


def main():
    options, sums = parse_options(), Sums()
    os.makedirs(options.out, exist_ok=True)
    for name, seed in plan(options):
        campaign, report = run_one(name, seed, options.kills, options.out)
        sums.add(campaign, report)
        print(describe(campaign, report), flush=True)
    print(f"{sums.kills} kills, {sums.confirmed} messages confirmed, {sums.violations} violations")
    print(f"{sums.passed} passed, {sums.failed} failed")
    return 1 if sums.failed else 0


if __name__ == "__main__":
    sys.exit(main())
