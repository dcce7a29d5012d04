# SPDX-License-Identifier: Apache-2.0
"""Starts and stops brokers: Bourse, and Debian's RabbitMQ as an oracle.

Both are context managers with `.amqp`, the (host, port) of the plain listener. A Bourse that is
stopped must exit cleanly and must have left no sanitizer report; otherwise `stop` fails the test.
"""

import contextlib
import json
import os
import re
import resource
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time

from . import amqp, api

REPOSITORY = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
START_TIMEOUT_S = 10
STOP_TIMEOUT_S = 12

# The stderr of every Bourse of this run, for the test that looks for secrets in it.
all_logs = []


def binary():
    return os.path.join(REPOSITORY, os.environ.get("BOURSE_BIN", "build/bourse"))


# A user, both listeners, and a memory mark that a test reaches. Certificates lie beside the file.
LITTLE_MEMORY = """
    bourse: 1
    server: {memory: 24MiB}
    users:
      u: {auth: password, password-file: u.pw, rights: {configure: ".*", write: ".*", read: ".*"}}
    listeners:
      amqp: {bind: "127.0.0.1:0"}
      amqps:
        bind: "127.0.0.1:0"
        tls: {certificate: server.pem, key: server.key}
"""


def thread_options(threads=os.environ.get("BOURSE_THREADS")):
    """Words for `serve`; by default of the number of threads that the environment asks for."""
    return ["--threads", threads] if threads else []


def run_command(*arguments, timeout_s=20, **options):
    """Runs `bourse ARGUMENTS` to its end; the finished process with text output."""
    result = subprocess.run([binary(), *arguments], capture_output=True, text=True,
                            timeout=timeout_s, **options)
    all_logs.append(result.stdout + result.stderr)
    return result


def parse_address(text):
    host, port = text.rsplit(":", 1)
    return host.strip("[]"), int(port)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class LogReader(threading.Thread):
    """Collects the lines of a pipe, so that the broker never blocks on it."""

    def __init__(self, pipe):
        super().__init__(daemon=True)
        self.pipe, self.lines, self.arrived = pipe, [], threading.Condition()
        self.ended = False
        self.start()

    def run(self):
        with self.pipe:
            for line in self.pipe:
                with self.arrived:
                    self.lines.append(line.decode(errors="replace").rstrip("\n"))
                    self.arrived.notify_all()
        with self.arrived:
            self.ended = True
            self.arrived.notify_all()

    def wait_for(self, pattern, timeout_s=amqp.TIMEOUT_S, after=0):
        """The first line at or after index `after` that matches; waits for it to be written."""
        deadline = time.monotonic() + timeout_s
        at = after
        with self.arrived:
            while True:
                while at < len(self.lines):
                    if re.search(pattern, self.lines[at]):
                        return self.lines[at]
                    at += 1
                left_s = deadline - time.monotonic()
                if self.ended or left_s <= 0:
                    raise AssertionError(f"no line matches {pattern!r} in:\n" + self.text())
                self.arrived.wait(left_s)

    def text(self):
        return "\n".join(self.lines)


class Bourse:
    """A running `bourse serve`. `options` are further command-line words; if they do not say how
    many threads it has, BOURSE_THREADS in the environment does. With `measured` a
    sanitized broker gives freed memory back at once, so that its resident size means something.
    `data_dir` outlives the broker; without it there is one for this process only."""

    def __init__(self, config=None, options=(), listen=("amqp",), environment=None, limits=None,
                 wait_ready=True, cwd=None, measured=False, data_dir=None,
                 threads=os.environ.get("BOURSE_THREADS")):
        self.scratch = tempfile.mkdtemp(prefix="bourse-test-")
        self.config = config
        command = [binary(), "serve"] + ([str(config)] if config else [])
        for name in listen:
            command += [f"--{name}", "127.0.0.1:0"]
        for name in {"http", "https", "metrics"} - set(listen):
            if f"--{name}" not in options:
                command += [f"--{name}", "off"]
        self.data_dir = str(data_dir or os.path.join(self.scratch, "data"))
        if "--ephemeral" not in options:
            command += ["--data-dir", self.data_dir]
        if "--threads" not in options:
            command += thread_options(threads)
        self.command = command + list(options)
        self.environment = {**os.environ, **self._sanitizer_options(measured),
                            **(environment or {})}
        self.limits, self.cwd = limits or {}, cwd
        self.addresses, self.amqp, self.amqps = {}, None, None
        self.connections = []
        self._start()
        if wait_ready:
            self.wait_ready()

    def _sanitizer_options(self, measured):
        quarantine = ":quarantine_size_mb=0:thread_local_quarantine_size_kb=0" if measured else ""
        reports = os.path.join(self.scratch, "sanitizer")
        return {name: ":".join(filter(None, [os.environ.get(name), f"log_path={reports}", extra]))
                for name, extra in (("ASAN_OPTIONS", "exitcode=99" + quarantine),
                                    ("UBSAN_OPTIONS", "halt_on_error=1:print_stacktrace=1"),
                                    ("TSAN_OPTIONS", "exitcode=99"))}

    def _apply_limits(self):
        for limit, value in self.limits.items():
            resource.setrlimit(limit, (value, value))

    def _start(self):
        self.process = subprocess.Popen(self.command, stdin=subprocess.DEVNULL,
                                        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                        env=self.environment, cwd=self.cwd,
                                        preexec_fn=self._apply_limits if self.limits else None)
        self.stdout = LogReader(self.process.stdout)
        self.log = LogReader(self.process.stderr)

    def wait_ready(self):
        try:
            line = self.stdout.wait_for(r"bourse ready:", START_TIMEOUT_S)
        except AssertionError as error:
            self.kill()
            raise AssertionError(f"{self.command} is not ready:\n{self.log.text()}") from error
        for scheme, address in re.findall(r"(\w+)://(\S+)", line):
            self.addresses.setdefault(scheme, []).append(parse_address(address))
        self.amqp = self.addresses.get("amqp", [None])[0]
        self.amqps = self.addresses.get("amqps", [None])[0]

    @property
    def pid(self):
        return self.process.pid

    def signal(self, number):
        self.process.send_signal(number)

    def connect(self, tls=None, **options):
        """A raw, not yet opened connection; with a TLS context to the amqps listener."""
        address = self.amqps if tls is not None else self.amqp
        self.connections.append(amqp.Connection(address, tls=tls, **options))
        return self.connections[-1]

    def open(self, tls=None, **options):
        return self.connect(tls).open(**options)

    def reload(self, expect=r"config\.reload"):
        """SIGHUP, then waits for the line that says how it went, and returns it."""
        seen = len(self.log.lines)
        self.signal(signal.SIGHUP)
        return self.log.wait_for(expect, after=seen)

    def wait_exit(self, timeout_s=STOP_TIMEOUT_S):
        status = self.process.wait(timeout_s)
        self.log.join(5)
        self.stdout.join(5)
        return status

    def sanitizer_reports(self):
        texts = []
        for name in sorted(os.listdir(self.scratch)):
            if name.startswith("sanitizer"):
                with open(os.path.join(self.scratch, name), errors="replace") as report:
                    texts.append(report.read())
        return "\n".join(texts)

    def kill(self):
        """SIGKILL; what a sanitizer had to say before is still a failure."""
        if self.process.poll() is None:
            self.process.kill()
        self.wait_exit()
        reports = self.sanitizer_reports()
        self._clean_up()
        assert not reports, reports

    def _clean_up(self):
        all_logs.append(self.log.text() + "\n" + self.stdout.text())
        shutil.rmtree(self.scratch, ignore_errors=True)

    def stop(self, expected_status=0):
        """SIGTERM, a clean end, no sanitizer report. Connections that a test left open are dropped
        first: nobody would answer the broker's close."""
        for connection in self.connections:
            connection.drop()
        if self.process.poll() is None:
            self.signal(signal.SIGTERM)
        try:
            status = self.wait_exit()
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError("bourse did not stop after SIGTERM:\n" + self.log.text())
        reports, log = self.sanitizer_reports(), self.log.text()
        self._clean_up()
        assert not reports, reports
        assert status == expected_status, f"exit status {status}\n{log[-8000:]}"

    def __enter__(self):
        return self

    def __exit__(self, kind, _error, _trace):
        if kind is None:
            self.stop()
            return
        # The test has failed already; what the broker says may tell why.
        with contextlib.suppress(AssertionError):
            print("\n".join(self.log.lines[-40:]))
            self.stop()


class RabbitMQ:
    """Debian's rabbitmq-server on free ports, with files, cookie and epmd of its own."""

    SERVER = "/usr/lib/rabbitmq/bin/rabbitmq-server"
    CTL = "/usr/lib/rabbitmq/bin/rabbitmqctl"

    def __init__(self, management=False):
        self.scratch = tempfile.mkdtemp(prefix="rabbitmq-test-")
        self.amqp = ("127.0.0.1", free_port())
        self.http = ("127.0.0.1", free_port()) if management else None
        self.epmd_port = free_port()
        self.node = f"oracle{os.getpid()}@localhost"
        config = os.path.join(self.scratch, "rabbitmq.conf")
        plugins = os.path.join(self.scratch, "enabled_plugins")
        with open(config, "w") as file:
            file.write(f"listeners.tcp.1 = 127.0.0.1:{self.amqp[1]}\nlog.console = false\n")
            if management:
                file.write(f"management.tcp.ip = 127.0.0.1\nmanagement.tcp.port = {self.http[1]}\n"
                           "collect_statistics_interval = 500\n")
        with open(plugins, "w") as file:
            file.write("[rabbitmq_consistent_hash_exchange, rabbitmq_random_exchange, "
                       "rabbitmq_sharding" + (", rabbitmq_management" if management else "") +
                       "].\n")
        self.environment = {
            **os.environ,
            "HOME": self.scratch,
            "ERL_EPMD_PORT": str(self.epmd_port),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "ERL_EPMD_RELAXED_COMMAND_CHECK": "1",  # it may be ended before it knows that the node is
            "RABBITMQ_NODENAME": self.node,
            "RABBITMQ_MNESIA_BASE": os.path.join(self.scratch, "mnesia"),
            "RABBITMQ_LOG_BASE": os.path.join(self.scratch, "log"),
            "RABBITMQ_DIST_PORT": str(free_port()),
            "RABBITMQ_CONFIG_FILE": config,
            "RABBITMQ_ADVANCED_CONFIG_FILE": os.path.join(self.scratch, "advanced.config"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": plugins,
            "RABBITMQ_PID_FILE": os.path.join(self.scratch, "pid"),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "+S 2:2 +sbwt none",
        }
        self.output = open(os.path.join(self.scratch, "output"), "wb")
        self.process = subprocess.Popen([self.SERVER], env=self.environment, cwd=self.scratch,
                                        stdin=subprocess.DEVNULL, stdout=self.output,
                                        stderr=self.output, start_new_session=True)
        self._wait_ready()

    @classmethod
    def installed(cls):
        return os.path.exists(cls.SERVER)

    def _wait_ready(self):
        """Polls the port: the server has no event to wait for that is cheaper to watch."""
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and self.process.poll() is None:
            try:
                amqp.Connection(self.amqp).open().close()
                return
            except (OSError, amqp.Closed):
                time.sleep(0.2)
        with open(self.output.name, errors="replace") as file:
            text = file.read()
        self.stop()
        raise AssertionError("rabbitmq-server did not start:\n" + text)

    def open(self, **options):
        return amqp.Connection(self.amqp).open(**options)

    def connect(self, **options):
        return amqp.Connection(self.amqp, **options)

    def ctl(self, *arguments):
        """Runs `rabbitmqctl ARGUMENTS` against this node."""
        done = subprocess.run([self.CTL, "-n", self.node, *arguments], env=self.environment,
                              cwd=self.scratch, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def import_definitions(self, definitions):
        if self.http:
            status, answer = api.Api(self.http).call("POST", "definitions", definitions)
            assert status in (200, 204), answer
            return
        path = os.path.join(self.scratch, "definitions.json")
        with open(path, "w") as file:
            json.dump(definitions, file)
        self.ctl("import_definitions", path)

    def stop(self):
        """What it keeps is thrown away: it need not end in order, which takes seconds. Its epmd is asked to
        end, too."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait(10)
        epmd = shutil.which("epmd") or "/usr/bin/epmd"
        subprocess.run([epmd, "-port", str(self.epmd_port), "-kill"], env=self.environment,
                       capture_output=True, timeout=10, check=False)
        self.output.close()
        shutil.rmtree(self.scratch, ignore_errors=True)

    def __enter__(self):
        return self

    def __exit__(self, *_error):
        self.stop()
