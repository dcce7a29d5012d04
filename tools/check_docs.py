#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Checks that what the documents name is there: linked files, and functions in back quotes.

A name counts as a function of ours when it has an underscore and nothing but small letters, digits
and underscores. It must occur in a C source or header, and where its row of a table links a source,
in one of the sources that the row links.
"""

import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
LINK = re.compile(r"\]\(([^)#]+)(?:#[^)]*)?\)")
FUNCTION = re.compile(r"`([a-z][a-z0-9]*(?:_[a-z0-9]+)+)`")
METRIC_PREFIX = re.compile("^(bourse|rabbitmq)_(?:detailed_)?")
FOLDERS = "base amqp net tls config routing exchanges queues store broker management cli".split()


def documents():
    return sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *ROOT.glob("*/README.md")])


def names_in_sources():
    """Every identifier of our sources, and per file."""
    files = {path: set(re.findall(r"\w+", path.read_text()))
             for folder in FOLDERS for path in (ROOT / folder).iterdir()
             if path.suffix in (".c", ".h", ".def")}
    return set().union(*files.values()), files


def check(document, everything, files):
    """Yields (line number, complaint)."""
    for number, line in enumerate(document.read_text().splitlines(), 1):
        linked = set()
        for target in LINK.findall(line):
            if re.match(r"[a-z]+:", target):
                continue
            path = (document.parent / target).resolve()
            if not path.exists():
                yield number, f"{target} is not there"
            linked |= files.get(path, set())
        names = FUNCTION.findall(line) if document.parent == ROOT / "docs" else []
        for name in names:
            # Metrics are named by a prefix and what stands in the tables of management/metrics_*.c.
            if not {name, METRIC_PREFIX.sub("", name)} & everything:
                yield number, f"{name} is not in the sources"
        if names and linked and line.startswith("| `") and names[0] not in linked \
                and names[-1] not in linked:
            yield number, f"neither {names[0]} nor {names[-1]} is in what the row links"


def main():
    everything, files = names_in_sources()
    bad = 0
    for document in documents():
        for number, complaint in check(document, everything, files):
            print(f"{document.relative_to(ROOT)}:{number}: {complaint}")
            bad += 1
    print(f"documents: {len(documents())} files, {bad} complaints")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
