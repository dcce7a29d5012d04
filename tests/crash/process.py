# SPDX-License-Identifier: Apache-2.0
"""A broker process that is started again and again on one data directory."""

import os
import pathlib
import re
import select
import signal
import subprocess
import threading
import time

from support import broker as brokers

LOG_KEPT_BYTES = 16 * 1024


class Process:
    """One life. `ready` is the address once the line came; `pidfd` becomes readable at the end."""

    def __init__(self, config, directory, options=(), environment=None, prefix=()):
        """`prefix` are words in front of the command, of a program that runs it."""
        self.environment = environment or {}
        self.directory = pathlib.Path(directory)
        self.log = open(self.directory / "stderr", "ab")
        self.log_start = self.log.tell()
        self.started = time.monotonic()
        command = [*prefix, brokers.binary(), "serve", str(config), "--data-dir", str(self.directory / "data"),
                   "--amqp", "127.0.0.1:0", *brokers.thread_options(), *options]
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                        stderr=self.log, env=self._environment())
        self.pidfd = os.pidfd_open(self.process.pid)
        self.address, self.ready_s = None, None
        self.output = b""
        self.killers = []

    def _environment(self):
        report = f"log_path={self.directory / 'sanitizer'}"
        return {**os.environ, "ASAN_OPTIONS": f"{report}:exitcode=99:detect_leaks=0",
                "UBSAN_OPTIONS": f"{report}:halt_on_error=1:print_stacktrace=1",
                "TSAN_OPTIONS": f"{report}:exitcode=99", **self.environment}

    def fileno(self):
        return self.process.stdout.fileno()

    def on_output(self):
        """Reads what was printed. True when the line has just come."""
        data = os.read(self.fileno(), 4096)
        self.output += data
        match = re.search(rb"bourse ready: amqp://(\S+)", self.output)
        if match and self.address is None:
            self.address = brokers.parse_address(match.group(1).decode())
            self.ready_s = time.monotonic() - self.started
            return True
        return False

    @property
    def http(self):
        """The address of the management interface, once the broker is ready."""
        return brokers.parse_address(re.search(rb"http://(\S+)", self.output).group(1).decode())

    def wait_ready(self, timeout_s):
        """For those who have nothing else to do meanwhile."""
        deadline = time.monotonic() + timeout_s
        while self.address is None and not self.has_ended():
            left_s = deadline - time.monotonic()
            if left_s <= 0:
                return False
            if select.select([self, self.pidfd], [], [], left_s)[0]:
                self.on_output()
        return self.address is not None

    def has_ended(self):
        return self.process.poll() is not None

    def signal_after(self, delay_s, *numbers):
        """Sends signals from a thread of its own: the moment knows nothing of what the clients
        do."""
        def run():
            time.sleep(delay_s)
            for number in numbers:
                self.signal(number)

        self.killers.append(threading.Thread(target=run, daemon=True))
        self.killers[-1].start()

    def signal(self, number):
        try:
            signal.pidfd_send_signal(self.pidfd, number)
        except ProcessLookupError:
            pass

    def reap(self, timeout_s=20):
        """The exit status, negative for a signal; kills what does not end."""
        try:
            status = self.process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            status = None
        for killer in self.killers:
            killer.join()
        self.process.stdout.close()
        self.log.close()
        os.close(self.pidfd)
        return status

    def log_tail(self):
        """What this life wrote to standard error, the end of it."""
        with open(self.log.name, "rb") as log:
            log.seek(0, os.SEEK_END)
            log.seek(max(self.log_start, log.tell() - LOG_KEPT_BYTES))
            return log.read().decode(errors="replace")

    def sanitizer_reports(self):
        return "".join(path.read_text(errors="replace")
                       for path in sorted(self.directory.glob("sanitizer*")))
