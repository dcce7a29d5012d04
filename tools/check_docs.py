#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Checks that what the documents name is there: linked files, functions in back quotes, and events of
the log, which docs/logs.md has all of.

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
LOG_CALL = re.compile(r'\blog_(error|warn|info|debug)\([^,;]+,\s*"([a-z_]+\.[a-z_]+)"')
LOG_CALL_WITH_LEVEL = re.compile(
    r'\blog_(?:limited|line)\([^,;]+,\s*(?:LOG_LEVEL_([A-Z]+)|[^",;]+),\s*"([a-z_]+\.[a-z_]+)"')
DOTTED = re.compile(r'"([a-z_]+)\.([a-z_]+)"')
# Where events go by a variable: every dotted name there whose first word is an event's is one.
NO_EVENTS = {"connection.blocked", "rights.configure", "rights.read", "rights.write"}
EVENT_FOLDERS = ("net", "tls", "store", "broker")
FOLDERS = "base amqp net tls config routing exchanges queues store broker management cli".split()


def documents():
    return sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *ROOT.glob("*/README.md")])


def names_in_sources():
    """Every identifier of our sources, and per file."""
    files = {path: set(re.findall(r"\w+", path.read_text()))
             for folder in FOLDERS for path in (ROOT / folder).rglob("*.*")
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
            # Metrics are named by a prefix and what stands in the tables of management/monitor/metrics_*.c.
            if not {name, METRIC_PREFIX.sub("", name)} & everything:
                yield number, f"{name} is not in the sources"
        if names and linked and line.startswith("| `") and names[0] not in linked \
                and names[-1] not in linked:
            yield number, f"neither {names[0]} nor {names[-1]} is in what the row links"


def events_of_page():
    """Every event that docs/logs.md has, with the levels of its row."""
    rows = re.findall(r"^\| (`[^|]+) \| ([a-z, ]+) \|", (ROOT / "docs/logs.md").read_text(), re.MULTILINE)
    return {name: set(levels.split(", ")) for names, levels in rows
            for name in re.findall(r"`([a-z_]+\.[a-z_]+)`", names)}


def events_of_sources(families):
    """Every event that a source logs, with its level; None: that goes by a variable."""
    events = set()
    for folder in FOLDERS:
        for path in (ROOT / folder).rglob("*.c"):
            text = path.read_text()
            events |= {(name, level) for level, name in LOG_CALL.findall(text)}
            events |= {(name, level.lower() or None) for level, name in LOG_CALL_WITH_LEVEL.findall(text)}
            if folder in EVENT_FOLDERS or "change_log(" in text:
                events |= {(f"{family}.{what}", None) for family, what in DOTTED.findall(text)
                           if family in families}
    return {(name, level) for name, level in events if name not in NO_EVENTS}


def check_events():
    """Yields a complaint for each event that is on one side only, or there at another level."""
    page = events_of_page()
    sources = events_of_sources({name.split(".")[0] for name in page})
    for name in sorted(page.keys() - {name for name, _level in sources}):
        yield f"docs/logs.md: {name} is not logged anywhere"
    for name in sorted({name for name, _level in sources} - page.keys()):
        yield f"docs/logs.md: {name} is missing"
    for name, level in sorted(sources, key=str):
        if name not in page:
            continue
        if level is not None and level not in page[name]:
            yield f"docs/logs.md: {name} is logged as {level}"


def main():
    everything, files = names_in_sources()
    bad = 0
    for complaint in check_events():
        print(complaint)
        bad += 1
    for document in documents():
        for number, complaint in check(document, everything, files):
            print(f"{document.relative_to(ROOT)}:{number}: {complaint}")
            bad += 1
    print(f"documents: {len(documents())} files, {bad} complaints")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
