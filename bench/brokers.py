# SPDX-License-Identifier: Apache-2.0
"""Brokers under measurement: started on free ports with directories of their own, and stopped.

Every broker is a context manager with the same face: `pid` (the process that does the work),
`port`, `tls_port` (None without TLS), `user`, `password`, `start_s` (from exec until the protocol
header was answered). When one does not start or ends by itself, the last lines of its log are in
the message.
"""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time

HOST = "127.0.0.1"
PROTOCOL_HEADER = b"AMQP\x00\x00\x09\x01"


class BrokerError(Exception):
    """A broker could not be started; the text says which, and where its log is."""


def run(main):
    """Carry out a script; return its exit status, with one line for what it could not do."""
    try:
        return main()
    except (BrokerError, OSError) as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def free_port():
    """Return a port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return probe.getsockname()[1]


def answers_amqp(port):
    """Tell whether a broker on `port` answers the protocol header with a frame."""
    try:
        with socket.create_connection((HOST, port), timeout=2) as connection:
            connection.sendall(PROTOCOL_HEADER)
            return connection.recv(1) == b"\x01"
    except OSError:
        return False


def await_amqp(broker):
    """Wait until `broker` answers; raise BrokerError if it ends or its time runs out."""
    deadline = time.monotonic() + broker.start_timeout_s
    while not broker.answers():
        if broker.has_ended():
            raise BrokerError(f"{broker.name} {broker.last_words()}")
        if time.monotonic() > deadline:
            raise BrokerError(f"{broker.name} does not answer: {tail(broker.log)}")
        time.sleep(0.0005)


def prefer(pid, nice):
    """Let a process, and those it starts, go before others. Where the kernel groups processes by
    session, the group has a niceness of its own."""
    os.setpriority(os.PRIO_PROCESS, pid, nice)
    try:
        with open(f"/proc/{pid or 'self'}/autogroup", "w", encoding="ascii") as group:
            group.write(str(nice))
    except OSError:
        pass  # not grouped


def tail(path, lines=8):
    """Return the last lines of a text file, or nothing if there is none."""
    try:
        with open(path, encoding="utf-8", errors="replace") as text:
            return "".join(text.readlines()[-lines:])
    except OSError:
        return ""


def stop(process, timeout_s=20):
    """End a process that leads its own group, politely first."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            pass
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    process.wait()


def make_certificates(directory):
    """Make a certificate authority and a server certificate for the loopback address.

    Returns a dict of paths: ca, certificate, key. P-256, as `make run` uses.
    """
    paths = {name: os.path.join(directory, name + ".pem")
             for name in ("ca", "ca-key", "certificate", "key", "request")}
    extensions = os.path.join(directory, "extensions")
    with open(extensions, "w", encoding="ascii") as text:
        text.write(f"subjectAltName=IP:{HOST},DNS:localhost\n")
    new_key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    openssl("req", "-x509", *new_key, "-subj", "/CN=bench-ca", "-days", "2",
            "-keyout", paths["ca-key"], "-out", paths["ca"])
    openssl("req", *new_key, "-subj", "/CN=localhost",
            "-keyout", paths["key"], "-out", paths["request"])
    openssl("x509", "-req", "-in", paths["request"], "-days", "2", "-CA", paths["ca"],
            "-CAkey", paths["ca-key"], "-CAcreateserial", "-extfile", extensions,
            "-out", paths["certificate"])
    return paths


def openssl(*arguments):
    """Run the openssl command; raise BrokerError with its words if it fails."""
    done = subprocess.run(["openssl", *arguments], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise BrokerError(f"openssl {arguments[0]}: {done.stderr.strip()}")


class Broker:
    """What the brokers share: a directory, a log and a process group."""

    name = ""
    user = "guest"
    password = "guest"
    start_timeout_s = 60
    stop_timeout_s = 20
    nice = 0  # of all brokers of a run

    def __init__(self, directory):
        self.directory = directory
        self.log = os.path.join(directory, "log")
        self.port = free_port()
        self.tls_port = None
        self.process = None
        self.pid = 0
        self.start_s = 0.0

    def __enter__(self):
        os.makedirs(self.directory, exist_ok=True)
        started = time.monotonic()
        try:
            self.launch()
            await_amqp(self)
            self.start_s = time.monotonic() - started
            self.pid = self.find_pid()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_):
        self.close()

    def spawn(self, command, environment=None):
        """Start `command` as the leader of a new process group, its output in the log."""
        with open(self.log, "ab") as log:
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                       env=environment, start_new_session=True)
        if self.nice != 0:
            prefer(process.pid, self.nice)
        return process

    def launch(self):
        """Start self.process; it need not be ready when this returns."""
        raise NotImplementedError

    def answers(self):
        """Tell whether the broker is ready for clients."""
        return answers_amqp(self.port)

    def find_pid(self):
        """Return the process whose CPU and memory count."""
        return self.process.pid

    def has_ended(self):
        """Tell whether the broker has ended although nobody stopped it."""
        return self.process.poll() is not None

    def last_words(self):
        """Say how an ended broker ended."""
        return f"ended with status {self.process.returncode}: {tail(self.log)}"

    def kill(self):
        """End the broker as kill -9 does; `with` starts it again on the same directory."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self.process = None
        self.close()

    def close(self):
        """Stop everything this broker started. Safe to call twice."""
        if self.process is not None:
            stop(self.process, self.stop_timeout_s)
            self.process = None


class Bourse(Broker):
    """Our broker in development mode, with as many threads as it takes by itself or is told."""

    name = "bourse"

    def __init__(self, directory, binary, threads=None):
        super().__init__(directory)
        self.binary = binary
        self.threads = threads

    def launch(self):
        command = [self.binary, "serve", "--amqp", f"{HOST}:{self.port}", "--http", "off",
                   "--metrics", "off",
                   "--data-dir", os.path.join(self.directory, "data")]
        if self.threads is not None:
            command += ["--threads", str(self.threads)]
        self.process = self.spawn(command)

    def thread_seconds(self):
        """Return the CPU time that each thread has had, by its number: that of the process is the
        core's.
        """
        seconds = {}
        for thread in os.listdir(f"/proc/{self.pid}/task"):
            with open(f"/proc/{self.pid}/task/{thread}/schedstat", encoding="ascii") as text:
                seconds[int(thread)] = int(text.read().split()[0]) / 1e9
        return seconds


class BourseFromFile(Bourse):
    """Our broker with a configuration file: a memory mark, and a user of its own."""

    user = "bench"
    password = "bench-secret"
    LISTENERS = """\
  amqp: {{bind: "{host}:{port}"}}
"""
    CONFIG = """\
bourse: 1
vhost: /
server: {{memory: {memory}}}
users:
  {user}: {{auth: password, password-file: secret, rights: {{configure: ".*", write: ".*", read: ".*"}}}}
listeners:
"""

    def __init__(self, directory, binary, memory="40%"):
        super().__init__(directory, binary)
        self.memory = memory

    def listeners(self):
        """Return the rest of the configuration file."""
        return self.LISTENERS.format(host=HOST, port=self.port)

    def launch(self):
        config = os.path.join(self.directory, "bench.yaml")
        secret = os.path.join(self.directory, "secret")
        with open(config, "w", encoding="utf-8") as text:
            text.write(self.CONFIG.format(user=self.user, memory=self.memory) + self.listeners())
        with open(os.open(secret, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w",
                  encoding="utf-8") as text:
            text.write(self.password + "\n")
        self.process = self.spawn([self.binary, "serve", config,
                                   "--data-dir", os.path.join(self.directory, "data")])


class BourseTls(BourseFromFile):
    """Our broker with TLS beside plain TCP."""

    TLS_LISTENER = """\
  amqps:
    bind: "{host}:{tls_port}"
    tls: {{certificate: "{certificate}", key: "{key}"}}
"""

    def __init__(self, directory, binary, certificates):
        super().__init__(directory, binary)
        self.certificates = certificates
        self.tls_port = free_port()

    def listeners(self):
        return super().listeners() + self.TLS_LISTENER.format(
            host=HOST, tls_port=self.tls_port, **self.certificates)


class RabbitMQ(Broker):
    """Debian's rabbitmq-server with its own node name, ports, directories and epmd; no plugins."""

    name = "rabbitmq"
    start_timeout_s = 300  # it looks through all its messages after a kill -9
    stop_timeout_s = 120
    SERVER = "/usr/lib/rabbitmq/bin/rabbitmq-server"

    CONFIG = """\
listeners.tcp.1 = {host}:{port}
listeners.ssl.1 = {host}:{tls_port}
ssl_options.cacertfile = {ca}
ssl_options.certfile = {certificate}
ssl_options.keyfile = {key}
ssl_options.verify = verify_none
"""

    def __init__(self, directory, certificates, memory=None):
        super().__init__(directory)
        self.certificates = certificates
        self.memory = memory  # where it blocks publishers; None: 40 % of RAM, its default
        self.tls_port = free_port()
        self.epmd = None

    @classmethod
    def is_installed(cls):
        """Tell whether there is a rabbitmq-server to compare with."""
        return os.path.exists(cls.SERVER) and shutil.which("epmd") is not None

    def write_files(self):
        """Write configuration and the empty list of plugins; return the environment to use."""
        path = lambda name: os.path.join(self.directory, name)
        with open(path("rabbitmq.conf"), "w", encoding="ascii") as text:
            text.write(self.CONFIG.format(host=HOST, port=self.port, tls_port=self.tls_port,
                                          **self.certificates))
            if self.memory is not None:
                text.write(f"vm_memory_high_watermark.absolute = {self.memory}\n")
        with open(path("plugins"), "w", encoding="ascii") as text:
            text.write("[].\n")
        return {
            "PATH": os.environ["PATH"],
            "HOME": self.directory,
            "LANG": "C.UTF-8",
            "RABBITMQ_NODENAME": f"bench{self.port}@localhost",
            "RABBITMQ_MNESIA_BASE": path("mnesia"),
            "RABBITMQ_LOG_BASE": path("logs"),
            "RABBITMQ_NODE_PORT": str(self.port),
            "RABBITMQ_DIST_PORT": str(free_port()),
            "RABBITMQ_CONFIG_FILE": path("rabbitmq.conf"),
            "RABBITMQ_CONF_ENV_FILE": path("no-such-file"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": path("plugins"),
            "RABBITMQ_PID_FILE": path("pid"),
            "ERL_EPMD_PORT": str(free_port()),
            "ERL_EPMD_ADDRESS": HOST,
        }

    def launch(self):
        environment = self.write_files()
        # Its own epmd in the foreground, or the server would leave a daemon behind.
        self.epmd = self.spawn(["epmd", "-port", environment["ERL_EPMD_PORT"],
                                "-address", HOST], environment)
        self.process = self.spawn([self.SERVER], environment)

    def find_pid(self):
        for pid in filter(str.isdigit, os.listdir("/proc")):
            try:
                with open(f"/proc/{pid}/comm", encoding="ascii") as comm:
                    is_beam = comm.read().startswith("beam")
                if is_beam and os.getpgid(int(pid)) == self.process.pid:
                    return int(pid)
            except OSError:
                continue  # it ended while we looked
        raise BrokerError("rabbitmq: no Erlang machine in its process group")

    def close(self):
        super().close()
        if self.epmd is not None:
            stop(self.epmd)
            self.epmd = None


class Relay(Broker):
    """bench/relay: forwards each publish as a delivery, with no queue. The limit, not a broker."""

    name = "relay"

    def __init__(self, directory, binary):
        super().__init__(directory)
        self.binary = binary

    def launch(self):
        self.process = self.spawn([self.binary, str(self.port)])


class RelayTls(Relay):
    """The relay on one port that speaks TLS."""

    def __init__(self, directory, binary, certificates):
        super().__init__(directory, binary)
        self.certificates = certificates
        self.tls_port = self.port

    def launch(self):
        self.process = self.spawn([self.binary, str(self.port), self.certificates["certificate"],
                                   self.certificates["key"]])

    def answers(self):
        """Tell whether somebody listens: what a TLS port answers to a bare protocol header is
        nothing."""
        try:
            with socket.create_connection((HOST, self.port), timeout=2):
                return True
        except OSError:
            return False
