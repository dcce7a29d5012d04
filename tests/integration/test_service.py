# SPDX-License-Identifier: Apache-2.0
"""The broker under a service manager: what it tells it, and sockets that it is handed."""

import os
import signal
import socket
import subprocess
import tempfile
import time

import pytest

from support import amqp, broker as brokers

pytestmark = pytest.mark.bourse_only

FILE = """
    bourse: 1
    users:
      keeper: {auth: password, password-file: keeper.pw,
               rights: {configure: ".*", write: ".*", read: ".*"}}
    listeners:
      amqp: {bind: "127.0.0.1:%d"}
"""


class Manager:
    """The socket that a service manager listens on."""

    def __init__(self):
        self.folder = tempfile.TemporaryDirectory(prefix="bourse-notify-")
        self.path = os.path.join(self.folder.name, "notify")
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.sock.bind(self.path)
        self.sock.settimeout(amqp.TIMEOUT_S)

    def hear(self, wanted):
        """The next message that begins with `wanted`; those before it are passed over."""
        deadline = time.monotonic() + amqp.TIMEOUT_S
        while time.monotonic() < deadline:
            text = self.sock.recv(4096).decode()
            if text.startswith(wanted):
                return text
        raise AssertionError(f"nothing that begins with {wanted}")

    def close(self):
        self.sock.close()
        self.folder.cleanup()


@pytest.fixture
def manager():
    made = Manager()
    yield made
    made.close()


def test_the_manager_hears_of_every_state(serve, write_config, manager):
    broker = serve(FILE % 0, passwords=("keeper",),
                   environment={"NOTIFY_SOCKET": manager.path, "WATCHDOG_USEC": "200000"})
    assert "data directory" in manager.hear("STATUS=starting")
    assert f"amqp://127.0.0.1:{broker.amqp[1]}" in manager.hear("READY=1")
    manager.hear("WATCHDOG=1")
    broker.reload(r"config\.reloaded")
    assert "MONOTONIC_USEC=" in manager.hear("RELOADING=1")
    assert "reloaded" in manager.hear("READY=1")
    write_config("bourse: 1\nnonsense: 1\n")
    broker.reload(r"config\.reload_refused")
    manager.hear("RELOADING=1")
    assert "refused" in manager.hear("READY=1")
    broker.signal(signal.SIGTERM)
    manager.hear("STOPPING=1")
    assert broker.wait_exit() == 0


# A core that does not turn must not be taken for one that lives.
def test_a_broker_that_is_stuck_says_nothing(serve, manager):
    broker = serve(FILE % 0, passwords=("keeper",),
                   environment={"NOTIFY_SOCKET": manager.path, "WATCHDOG_USEC": "100000"})
    manager.hear("WATCHDOG=1")
    broker.signal(signal.SIGSTOP)
    time.sleep(0.05)
    manager.sock.setblocking(False)
    with pytest.raises(BlockingIOError):
        while True:
            manager.sock.recv(4096)
    manager.sock.settimeout(0.5)
    with pytest.raises(TimeoutError):
        manager.sock.recv(4096)
    broker.signal(signal.SIGCONT)
    manager.sock.settimeout(amqp.TIMEOUT_S)
    manager.hear("WATCHDOG=1")


def test_a_manager_that_cannot_be_is_refused():
    result = brokers.run_command("serve", "--ephemeral", "--amqp", "127.0.0.1:0",
                                 env={**os.environ, "NOTIFY_SOCKET": "nowhere"})
    assert result.returncode == 1
    assert "NOTIFY_SOCKET" in result.stderr


class Activated:
    """A broker that is handed sockets, as from descriptor 3 on."""

    def __init__(self, sockets, words, names="", extra_environment=None):
        def hand_over():
            for number, sock in enumerate(copies):
                os.dup2(sock, 3 + number)
                os.set_inheritable(3 + number, True)

        # Out of the way of the places that they are to have.
        copies = [os.dup(sock.fileno()) for sock in sockets]
        while min(copies) < 3 + len(copies):
            copies = [os.dup(fd) for fd in copies]
        # LISTEN_PID is the shell's, which the broker takes the place of.
        script = 'export LISTEN_PID=$$; exec "$@"'
        environment = {**os.environ, "LISTEN_FDS": str(len(sockets)), "LISTEN_FDNAMES": names,
                       **(extra_environment or {})}
        self.process = subprocess.Popen(
            ["/bin/sh", "-c", script, "sh", brokers.binary(), "serve", *words],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment,
            preexec_fn=hand_over, close_fds=False)

    def ready(self):
        for line in self.process.stdout:
            if line.startswith("bourse ready:"):
                return line
        raise AssertionError(self.process.stderr.read())

    def stop(self):
        self.process.terminate()
        out, err = self.process.communicate(timeout=brokers.STOP_TIMEOUT_S)
        brokers.all_logs.append(out + err)
        assert self.process.returncode == 0, err


@pytest.fixture
def listening():
    sock = socket.create_server(("127.0.0.1", 0), backlog=64)
    yield sock
    sock.close()


def test_a_socket_that_is_handed_over_is_listened_on(listening, write_config, canaries, tmp_path):
    port = listening.getsockname()[1]
    config = write_config(FILE % port, passwords=("keeper",))
    broker = Activated([listening], [str(config), "--data-dir", str(tmp_path / "data")])
    assert f"amqp://127.0.0.1:{port}" in broker.ready()
    channel = amqp.Connection(("127.0.0.1", port)).open(user="keeper",
                                                        password=canaries["keeper"]).channel()
    channel.ping()
    channel.connection.drop()
    broker.stop()


# During a restart nobody is refused: who connects waits in the backlog of the socket that the
# manager keeps, and is served by the next broker.
def test_who_connects_during_a_restart_waits(listening, write_config, canaries, tmp_path):
    port = listening.getsockname()[1]
    config = write_config(FILE % port, passwords=("keeper",))
    words = [str(config), "--data-dir", str(tmp_path / "data")]
    first = Activated([listening], words, names="amqp")
    first.ready()
    first.stop()
    waiting = [amqp.Connection(("127.0.0.1", port)) for _ in range(8)]
    second = Activated([listening], words, names="amqp")
    second.ready()
    for conn in waiting:
        conn.open(user="keeper", password=canaries["keeper"]).channel().ping()
        conn.drop()
    second.stop()


def test_a_socket_that_belongs_to_no_listener_is_refused(listening, write_config):
    config = write_config(FILE % 1, passwords=("keeper",))
    broker = Activated([listening], [str(config), "--ephemeral"])
    _out, err = broker.process.communicate(timeout=20)
    assert broker.process.returncode == 1
    assert "which is no address of a listener" in err
