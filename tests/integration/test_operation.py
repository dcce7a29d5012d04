# SPDX-License-Identifier: Apache-2.0
"""What docs/operation.md tells an operator to do, done: every command of the part that says so, in its
order, on a broker that a stand-in for systemctl starts and stops."""

import os
import pathlib
import re
import subprocess
import textwrap

import pytest

from support import amqp, broker as brokers

pytestmark = pytest.mark.bourse_only

CONFIG = """
bourse: 1
server:
  data-dir: {root}/var/lib/bourse
  control-socket: {root}/run/bourse.sock
  disk-free: 64MiB
users:
  admin:
    auth: password
    password-file: admin.password
    role: admin
    rights: {{configure: ".*", write: ".*", read: ".*"}}
queues:
  orders: {{}}
listeners:
  amqp: {{bind: "127.0.0.1:{port}"}}
  amqps:
    bind: "127.0.0.1:0"
    tls: {{certificate: server.pem, key: server.key}}
"""

# The service manager of these tests, as far as the page uses it.
SYSTEMCTL = """#!/bin/bash
set -eu
root=$(dirname "$(dirname "$0")")
test "$2" = bourse
case $1 in
start)
    bourse serve "$root/etc/bourse/bourse.yaml" > "$root/out" 2>> "$root/log" &
    echo $! > "$root/pid"
    until bourse ping > /dev/null 2>&1; do kill -0 "$(cat "$root/pid")"; sleep 0.02; done
    ;;
reload)
    before=$(grep -c 'event=config.reload' "$root/log" || true)
    kill -HUP "$(cat "$root/pid")"
    until [ "$(grep -c 'event=config.reload' "$root/log")" -gt "$before" ]; do sleep 0.02; done
    ;;
stop)
    kill -TERM "$(cat "$root/pid")"
    while kill -0 "$(cat "$root/pid")" 2> /dev/null; do sleep 0.02; done
    ;;
esac
"""
JOURNALCTL = """#!/bin/bash
root=$(dirname "$(dirname "$0")")
exec tail -n "$4" "$root/log"
"""
CHOWN = "#!/bin/sh\n"   # these tests have one user


def blocks():
    """(heading, commands) of each block in the part of the page that a test runs."""
    page = pathlib.Path(brokers.REPOSITORY, "docs/operation.md").read_text()
    part = re.search(r"^## Day by day$(.*?)^## ", page, re.MULTILINE | re.DOTALL)[1]
    return re.findall(r"^### ([^\n]+)$.*?^```sh\n(.*?)^```$", part, re.MULTILINE | re.DOTALL)


class Machine:
    """A root of files like an installed machine's, with the commands that the page uses."""

    def __init__(self, root, authority):
        self.root = root
        for folder in ("bin", "etc/bourse", "var/lib", "var/backups/bourse", "run", "tmp", "work/renewed"):
            (root / folder).mkdir(parents=True)
        for name, text in (("systemctl", SYSTEMCTL), ("journalctl", JOURNALCTL), ("chown", CHOWN)):
            (root / "bin" / name).write_text(text)
            (root / "bin" / name).chmod(0o755)
        (root / "bin/bourse").symlink_to(brokers.binary())
        self.port = brokers.free_port()
        self.config = root / "etc/bourse/bourse.yaml"
        self.config.write_text(CONFIG.format(root=root, port=self.port))
        self.give_certificate(authority, root / "etc/bourse", days=5)
        self.give_certificate(authority, root / "work/renewed", days=90)
        self.password = "of-the-operator"
        (root / "etc/bourse/admin.password").write_text(self.password)
        (root / "etc/bourse/admin.password").chmod(0o600)
        self.run("systemctl start bourse")

    @staticmethod
    def give_certificate(authority, folder, days):
        for source in authority.issue_server(f"server-{days}", days=days):
            name = "server" + pathlib.Path(source).suffix
            (folder / name).write_bytes(pathlib.Path(source).read_bytes())

    def run(self, commands):
        """Each line by itself: ([(line, exit status)], all that was printed)."""
        commands = re.sub(r"(?<![\w/])/(?=(?:var|etc/bourse|tmp)/)", f"{self.root}/", commands)
        environment = {**os.environ, "PATH": f"{self.root}/bin:{os.environ['PATH']}",
                       "BOURSE_CONTEXT": f"{self.root}/run/bourse.sock", "HOME": str(self.root)}
        statuses, printed = [], ""
        for line in commands.splitlines():
            done = subprocess.run(["bash", "-c", line], cwd=self.root / "work", env=environment, text=True,
                                  stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60, check=False)
            statuses.append((line.replace(str(self.root), ""), done.returncode))
            printed += done.stdout
        return statuses, printed

    def channel(self):
        return amqp.Connection(("127.0.0.1", self.port)).open(user="admin", password=self.password).channel()

    def publish(self, *bodies):
        channel = self.channel()
        channel.call("confirm.select")
        for body in bodies:
            channel.publish("", "orders", body, delivery_mode=2)
            channel.expect("basic.ack")
        channel.connection.close()

    def log(self):
        return (self.root / "log").read_text()


@pytest.fixture
def machine(tmp_path, authority):
    made = Machine(tmp_path, authority)
    yield made
    if "systemctl stop" not in made.log():
        made.run("systemctl stop bourse 2> /dev/null")
    brokers.all_logs.append(made.log())


def test_the_page_is_done_as_it_is_written(machine):
    machine.publish(b"before the backup")
    told = {}
    for heading, commands in blocks():
        if heading == "Change the configuration":
            machine.config.write_text(machine.config.read_text().replace("orders: {}", "orders: {}\n  more: {}"))
        if heading == "Restore it":
            machine.publish(b"after the backup")
        statuses, told[heading] = machine.run(textwrap.dedent(commands))
        allowed = {"bourse plan /etc/bourse/bourse.yaml": 2}
        bad = [(line, status) for line, status in statuses if status != allowed.get(line, 0)]
        assert bad == [], told[heading]
        if heading == "Restore it":
            channel = machine.channel()
            assert channel.get("orders").body == b"before the backup"
            assert channel.get("orders") is None
            channel.connection.close()
    assert list(told) == ["How is it?", "Change the configuration", "Renew a certificate", "Back it up", "Restore it",
                          "Hand over what is known", "Stop it"]
    assert "another 4 days" in told["How is it?"]
    assert "more" in told["Change the configuration"] and "config.reloaded" in told["Change the configuration"]
    assert "another 89 days" in told["Renew a certificate"]
    assert "more" in told["Restore it"]
    assert "event=broker.stopped" in machine.log().splitlines()[-1]


# Connections outlive a renewed certificate, and so does who logs in by one.
def test_a_connection_outlives_a_renewed_certificate(machine):
    channel = machine.channel()
    machine.run("cp renewed/server.pem renewed/server.key /etc/bourse/\nsystemctl reload bourse")
    assert "event=tls.reloaded" in machine.log()
    channel.ping()
    channel.connection.close()
