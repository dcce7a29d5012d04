# SPDX-License-Identifier: Apache-2.0
"""The differences from RabbitMQ that are on purpose: the table in docs/differences-from-rabbitmq.md,
and the comparison of two brokers that allows these and no others."""

import functools
import os
import re

from .broker import REPOSITORY
from .script import Player

DOCUMENT = os.path.join(REPOSITORY, "docs", "differences-from-rabbitmq.md")
# What differs in every dead letter would hide everything else; it is looked at where a step says so.
LAST_DEATH = re.compile(r", x-last-death-(?:exchange|queue|reason)=S:'[^']*'")
ROW = re.compile(r"^\| `([a-z0-9-]+)` \|(.*)\|$", re.MULTILINE)


@functools.lru_cache
def rows_of_tables():
    with open(DOCUMENT, encoding="utf-8") as file:
        rows = ROW.findall(file.read())
    assert len(rows) == len({name for name, _text in rows}), "a name occurs twice"
    return {name: text.strip() for name, text in rows}


def listed():
    """What the first table says about each difference, by its name."""
    return {name: text for name, text in rows_of_tables().items() if not name.startswith("api-")}


def listed_of_interface():
    """The same of the table of the management interface."""
    return {name: text for name, text in rows_of_tables().items() if name.startswith("api-")}


def without_last_death(lines):
    return [LAST_DEATH.sub("", line) for line in lines]


def compare(script, oracle, broker):
    """Plays the script to both. A step that says `differs=NAME` must differ, and the table must
    have that name; every other step must not."""
    theirs, ours = Player(oracle).play(script), Player(broker).play(script)
    for number, step in enumerate(script.steps):
        place = f"step {number}, {step}\nRabbitMQ: {theirs[number]}\nBourse:   {ours[number]}"
        if step.differs:
            assert step.differs in listed(), f"{step.differs} is not in {DOCUMENT}"
            assert theirs[number] != ours[number], f"no longer differs: {step.differs}\n{place}"
        else:
            assert theirs[number] == without_last_death(ours[number]), place
    assert theirs[-1] == ours[-1], "what came by itself and was not taken"
