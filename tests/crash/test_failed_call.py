# SPDX-License-Identifier: Apache-2.0
"""Every system call about the data directory fails once, the first, the second, ... until a whole
session passes untouched. F3, F4 and F5: the broker goes on as if nothing had been, or ends at once
with 74, or says why it does not start; what it had answered is there after a restart."""

import concurrent.futures
import errno
import os
import pathlib
import re
import subprocess

import pytest

from crash import fail_call
from crash.operations import Operations
from crash.process import Process
from crash.session import Session
from crash.variants import Segments
from support import broker as brokers

CALLS_MAX = 2000
AT_ONCE = 4                     # each waits for its disk most of the time
EXIT_IO = 74

# The log itself: no other file has a number and nothing else behind `seg`.
LOG_FILE = re.compile(r"seg\.[0-9a-f]+$")
# Told nobody: a file that stays behind is removed at the next start; where the directory above is
# not to be opened, the whole file system is flushed; an index is made again.
UNTOLD = re.compile(r"unlink .*|open (\.\.|seg\.[0-9a-f]+\.idx)$")

# What a failure of this kind may lead to: going on, or the ordered end.
TOLERATED = [("write", "EINTR"), ("write", "short"), ("flush", "EINTR")]
FATAL = [("write", "ENOSPC"), ("write", "EIO"), ("flush", "EIO"), ("flush", "ENOSPC"),
         ("open", "EMFILE"), ("open", "EIO"), ("rename", "EIO"), ("unlink", "EIO"),
         ("truncate", "EIO")]
# What operators do is written by the same calls; another kind of session, the kinds that matter most.
OF_OPERATIONS = [("write", "short"), ("write", "ENOSPC"), ("flush", "EIO"), ("rename", "EIO"), ("open", "EIO")]


class Run:
    """One session under one failing call, and the restart after it."""

    def __init__(self, directory, kind, how, number, session_class):
        self.directory = directory / str(number)
        self.directory.mkdir()
        self.report = self.directory / "fired"
        self.config = self.directory / "bourse.yaml"
        self.config.write_text(Segments().config())
        self.session = session_class()
        environment = {"LD_PRELOAD": fail_call.preload(), "FAIL_CALL_DIRECTORY": str(self.directory / "data"),
                       "FAIL_CALL_KIND": kind, "FAIL_CALL_AT": str(number), "FAIL_CALL_HOW": how,
                       "FAIL_CALL_REPORT": str(self.report)}
        process = Process(self.config, self.directory, environment=environment)
        self.was_ready = process.wait_ready(20)
        if self.was_ready:
            self.session.run(process)
        self.status = process.reap(10)
        self.log = process.log_tail()
        self.sanitizer = process.sanitizer_reports()
        self.fired = self.report.read_text().strip() if self.report.exists() else None

    def check_end(self, may_go_on, how):
        """The exit status and the last words."""
        text = f"{self.fired}: status {self.status}\n{self.log}"
        assert not self.sanitizer, self.sanitizer
        assert self.status is not None, f"still running\n{text}"
        assert self.status >= 0, text
        if self.fired is None or may_go_on:
            assert self.session.finished and self.status == 0, text
        elif self.session.finished and self.status == 0:
            self._check_going_on(os.strerror(getattr(errno, how)), text)
        else:
            self._check_last_words(os.strerror(getattr(errno, how)), text)

    def _check_going_on(self, reason, text):
        """Only what can be done without, or done again, may fail; and it is told."""
        kind, path = self.fired.split()[0], pathlib.Path(self.fired.split()[-1])
        assert not (kind in ("write", "flush") and LOG_FILE.match(path.name)), text
        is_told = reason in self.log or UNTOLD.match(f"{kind} {path.name}")
        assert is_told, f"the failure is hidden\n{text}"

    def _check_last_words(self, reason, text):
        last = self.log.strip().splitlines()[-1] if self.log.strip() else ""
        assert reason in last, f"no reason in the last line\n{text}"
        if self.was_ready:
            assert self.status == EXIT_IO, text
            path = pathlib.Path(self.fired.split()[-1])
            # The line may name the file that was to be replaced.
            name = path.name.removesuffix(".tmp")
            names = ["directory", "file=."] if path == self.directory / "data" else [name]
            assert any(name in last for name in names), f"no file named\n{text}"
        else:
            assert self.status != 0, text

    def check_kept(self):
        process = Process(self.config, self.directory)
        assert process.wait_ready(20), f"{self.fired}: no restart\n{process.log_tail()}"
        report = self.session.check(process)
        process.signal(15)
        assert process.reap() == 0, process.log_tail()
        assert report.violation_count == 0, f"{self.fired}\n{report.text()}\n{self.directory}"


@pytest.mark.parametrize("kind,how,session_class",
                         [(*pair, Session) for pair in TOLERATED + FATAL]
                         + [(*pair, Operations) for pair in OF_OPERATIONS])
def test_the_broker_survives_or_ends_in_order_whatever_call_fails(kind, how, session_class, tmp_path,
                                                                   keeps_data):
    def try_call(number):
        run = Run(tmp_path, kind, how, number, session_class)
        run.check_end((kind, how) in TOLERATED, how)
        run.check_kept()
        assert run.fired or run.session.finished
        return run.fired

    fired = 0
    with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as pool:
        for first in range(1, CALLS_MAX, AT_ONCE):
            found = list(pool.map(try_call, range(first, first + AT_ONCE)))
            fired += sum(each is not None for each in found)
            if None in found:
                break
        else:
            pytest.fail(f"a session makes more than {CALLS_MAX} calls of the kind {kind}")
    assert fired > 0 or kind in ("unlink", "truncate"), f"no {kind} was seen"


# The library does what it says, shown without a broker.
@pytest.mark.parametrize("kind,how,script,expected", [
    ("write", "ENOSPC", "os.pwrite(f, b'abcd', 0)", "28"),
    ("write", "short", "os.pwrite(f, b'abcd', 0)", "2"),
    ("write", "short", "os.pwritev(f, [b'ab', b'cdef'], 0)", "3"),
    ("flush", "EIO", "os.fdatasync(f)", "5"),
    ("flush", "EIO", "os.fsync(f)", "5"),
    ("rename", "EIO", "os.rename('f', 'g', src_dir_fd=d, dst_dir_fd=d)", "5"),
    ("open", "EMFILE", "os.open('f', os.O_RDWR, dir_fd=d)", "24"),
    ("truncate", "EIO", "os.ftruncate(f, 0)", "5"),
    ("unlink", "EIO", "os.unlink('f', dir_fd=d)", "5"),
])
def test_the_library_fails_the_call_it_is_told_to(kind, how, script, expected, tmp_path):
    inside = tmp_path / "data"
    inside.mkdir()
    (inside / "f").write_bytes(b"")
    number = 3 if kind == "open" else 1     # the script itself opens the directory and a file
    program = (f"import os\nd = os.open({str(inside)!r}, os.O_RDONLY)\n"
               f"f = os.open('f', os.O_RDWR, dir_fd=d)\n"
               f"o = os.open({str(tmp_path / 'outside')!r}, os.O_RDWR | os.O_CREAT)\n"
               f"os.pwrite(o, b'x', 0), os.fsync(o)\n"
               f"try:\n    print({script})\nexcept OSError as e:\n    print(e.errno)\n")
    environment = {**os.environ, "LD_PRELOAD": str(fail_call.LIBRARY.resolve()), "FAIL_CALL_KIND": kind,
                   "FAIL_CALL_HOW": how, "FAIL_CALL_AT": str(number),
                   "FAIL_CALL_DIRECTORY": str(inside), "FAIL_CALL_REPORT": str(tmp_path / "fired")}
    run = subprocess.run(["/usr/bin/python3", "-S", "-c", program], env=environment, check=True,
                         capture_output=True, text=True)
    assert run.stdout.strip() == expected
    assert (tmp_path / "fired").read_text().startswith(f"{kind} {number} {how} {inside}")


def test_a_thread_that_cannot_be_had_is_told_in_one_line(tmp_path):
    """Any of them: those of the store, of the passwords, of the network."""
    told = []
    for number in range(1, 20):
        environment = {"LD_PRELOAD": fail_call.preload(), "FAIL_CALL_KIND": "thread",
                       "FAIL_CALL_AT": str(number), "FAIL_CALL_HOW": "EAGAIN",
                       "FAIL_CALL_REPORT": str(tmp_path / "fired")}
        broker = brokers.Bourse(environment=environment, options=["--threads", "3"],
                                wait_ready=False)
        try:
            broker.stdout.wait_for("bourse ready:", timeout_s=10)
        except AssertionError:
            broker.stop(expected_status=1)
            told.append(broker.log.lines[-1])
        else:
            broker.stop()
            break
    assert all(line.startswith("bourse: not started: ") and
               os.strerror(errno.EAGAIN) in line for line in told), told
    for thread in ("network thread 1 of 2", "network thread 2 of 2"):
        assert any(thread in line for line in told), told
    assert len(told) >= 4, told
