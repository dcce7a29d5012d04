# SPDX-License-Identifier: Apache-2.0
"""Reads what strace wrote of a broker: did an answer leave before what it answers was on disk?

strace prints a call when it begins and completes the line when it ends; where another thread comes
between, it says `unfinished` and `resumed`. So the order of the lines is the order of beginnings and
ends, which is all that is needed here."""

import re

CALLS = "write,writev,pwrite64,pwritev,pwritev2,fdatasync,fsync,sendto,sendmsg"
# -y: what a descriptor is; -v, -s: all octets, in hexadecimal by -xx.
OPTIONS = ["-f", "-y", "-v", "-xx", "-s", "4194304", "-e", f"trace={CALLS}", "-e", "signal=none"]

_LINE = re.compile(r"^(\d+)\s+(.*)$")
_WHOLE = re.compile(r"^(\w+)\((.*)\)\s+= (-?\d+)")
_BEGUN = re.compile(r"^(\w+)\((.*?)\s*<unfinished \.\.\.>$")
_ENDED = re.compile(r"^<\.\.\. (\w+) resumed>.*\)\s+= (-?\d+)")
_DESCRIPTOR = re.compile(r"^(\d+)<(.*?)>")
# A basic.ack on channel 1: tag and multiple.
_CONFIRM = re.compile(r"0100010000000d003c0050([0-9a-f]{16})0([01])ce")


def _octets(text):
    """All strings of a call behind each other, in hexadecimal; -y writes paths that way too."""
    return "".join(part.replace("\\x", "") for part in re.findall(r'"((?:\\x[0-9a-f]{2})*)"', text))


def _plain(path):
    """A path of -y under -xx."""
    if path.startswith("\\x"):
        return bytes.fromhex(path.replace("\\x", "")).decode(errors="replace")
    return path


class Trace:
    """`markers` are texts, each of which is in exactly one durable thing. `early` names the answers
    that left too early, `confirmed` and `answered` count those that were seen."""

    def __init__(self, directory, confirms, answers):
        """`confirms` maps a delivery tag of channel 1 to its marker, `answers` the octets of an
        answer to the markers it needs."""
        self.directory = str(directory)
        self.confirms = {tag: marker.encode().hex() for tag, marker in confirms.items()}
        self.answers = {octets.hex(): [marker.encode().hex() for marker in markers]
                        for octets, markers in answers.items()}
        self.markers = set(self.confirms.values())
        self.markers.update(marker for needed in self.answers.values() for marker in needed)
        self.running = {}               # by thread: (call, arguments, what it covers)
        self.written, self.flushed = {}, set()
        self.unconfirmed = dict(self.confirms)
        self.early, self.confirmed, self.answered, self.flushes = [], 0, 0, 0

    def read(self, lines):
        for line in lines:
            match = _LINE.match(line)
            if match:
                self._line(int(match.group(1)), match.group(2))
        return self

    def _line(self, thread, text):
        if whole := _WHOLE.match(text):
            self._begin(thread, whole.group(1), whole.group(2))
            self._end(thread, int(whole.group(3)))
        elif begun := _BEGUN.match(text):
            self._begin(thread, begun.group(1), begun.group(2))
        elif ended := _ENDED.match(text):
            self._end(thread, int(ended.group(2)))

    def _begin(self, thread, call, arguments):
        descriptor = _DESCRIPTOR.match(arguments)
        path = _plain(descriptor.group(2)) if descriptor else ""
        covers = set()
        if path.startswith(self.directory):
            if call in ("fdatasync", "fsync"):
                covers = set(self.written.get(path, ()))
            else:
                octets = _octets(arguments)
                covers = {marker for marker in self.markers if marker in octets}
        else:
            self._send(_octets(arguments))  # to a client, or a line for whoever started it
        self.running[thread] = (call, arguments, path, covers)

    def _end(self, thread, result):
        call, arguments, path, covers = self.running.pop(thread, ("", "", "", set()))
        if not path.startswith(self.directory) or result < 0:
            return
        if call in ("fdatasync", "fsync"):
            self.flushes += 1
            self.flushed |= covers
        else:
            self.written.setdefault(path, set()).update(covers)
            if "RWF_DSYNC" in arguments or "RWF_SYNC" in arguments:
                self.flushed |= covers

    def _send(self, octets):
        for tag, multiple in _CONFIRM.findall(octets):
            self._confirm(int(tag, 16), multiple == "1")
        for answer, needed in self.answers.items():
            if answer in octets:
                self.answered += 1
                self._require(f"the answer {bytes.fromhex(answer)!r}", needed)

    def _confirm(self, tag, multiple):
        tags = [each for each in self.unconfirmed if each == tag or (multiple and each < tag)]
        for each in tags:
            self.confirmed += 1
            self._require(f"the confirm of {each}", [self.unconfirmed.pop(each)])

    def _require(self, what, markers):
        missing = [bytes.fromhex(marker) for marker in markers if marker not in self.flushed]
        if missing:
            self.early.append(f"{what} left before {missing} was flushed")
