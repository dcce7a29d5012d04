# SPDX-License-Identifier: Apache-2.0
"""Figures of a run that are not one workload of the load generator: collected round by round,
compared with a target and with the peers, printed as one table and written as JSON.
"""

import os
import statistics
from dataclasses import dataclass, field


def show(value):
    """Format a figure for a table."""
    if value is None:
        return "-"
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"


@dataclass
class Figure:
    """One row: what was measured, of whom, how often, and what it should be."""

    name: str
    words: str
    unit: str
    better: str = "less"
    target: float | None = None
    target_words: str = ""  # how the target came about, where it was measured itself
    rounds: dict = field(default_factory=dict)  # contestant -> values, one a round
    loads: list = field(default_factory=list)  # load average beside each value
    notes: list = field(default_factory=list)

    def add(self, contestant, value):
        """Keep the value of one round, and how busy the machine was."""
        self.rounds.setdefault(contestant, []).append(value)
        self.loads.append(os.getloadavg()[0])

    def note(self, text):
        """Keep a condition that belongs to this figure only. Said once."""
        if text not in self.notes:
            self.notes.append(text)

    def median(self, contestant):
        """Return the median over the rounds, or None if it was not measured."""
        values = self.rounds.get(contestant)
        return statistics.median(values) if values else None

    def verdict(self):
        """Say in one word how our figure stands to its target."""
        value = self.median("bourse")
        if self.target is None or value is None:
            return ""
        good = value >= self.target if self.better == "more" else value <= self.target
        return "reached" if good else "MISSED"

    def to_target(self):
        """Return our figure as a part of the target."""
        value = self.median("bourse")
        return value / self.target if self.target and value is not None else None

    def times_better(self, contestant):
        """Say how many times better we are than a contestant, whichever way is better."""
        ours, theirs = self.median("bourse"), self.median(contestant)
        if not ours or not theirs:
            return "-"
        times = ours / theirs if self.better == "more" else theirs / ours
        return f"{times:.3g}x"

    def load(self):
        """Return the range of the load average while this was measured."""
        if not self.loads:
            return "-"
        return f"{min(self.loads):.0f}-{max(self.loads):.0f}"

    def as_json(self):
        """Return everything about this figure."""
        return {
            "name": self.name, "what": self.words, "unit": self.unit, "better": self.better,
            "target": self.target, "target_is": self.target_words, "verdict": self.verdict(),
            "to_target": self.to_target(), "rounds": self.rounds, "load_averages": self.loads,
            "median": {name: self.median(name) for name in self.rounds}, "notes": self.notes,
        }


def rows_of(figures, contestants):
    """Return header and rows of the table of all figures."""
    header = ["figure", "what", "unit", "target", "bourse", "", "of target", *contestants[1:],
              *("to " + name for name in contestants[1:]), "load"]
    rows = []
    for figure in figures:
        share = figure.to_target()
        rows.append([
            figure.name, figure.words, figure.unit, show(figure.target),
            show(figure.median("bourse")), figure.verdict(),
            "-" if share is None else f"{share:.2f}",
            *(show(figure.median(name)) for name in contestants[1:]),
            *(figure.times_better(name) for name in contestants[1:]), figure.load(),
        ])
    return header, rows
