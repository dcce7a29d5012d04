# SPDX-License-Identifier: Apache-2.0
"""The command line: version, help, check, and what is misused."""

import os
import pathlib
import re
import subprocess

import pytest

from support import broker as brokers

pytestmark = pytest.mark.bourse_only


def run(*words):
    return brokers.run_command(*words)


def test_version_is_one_line():
    result = run("version")
    assert result.returncode == 0 and re.fullmatch(r"bourse \d+\.\d+\.\d+\S*\n", result.stdout)
    assert result.stderr == ""


def test_help_lists_the_commands_and_explains_each():
    listed = run("help")
    assert listed.returncode == 0
    for command in ("serve", "check", "version", "help"):
        assert command in listed.stdout
        explained = run("help", command)
        assert explained.returncode == 0 and f"bourse {command}" in explained.stdout
    for option in ("--data-dir", "--ephemeral", "--amqp", "--amqps", "--threads"):
        assert option in run("help", "serve").stdout
    assert run("serve", "--help").stdout == run("help", "serve").stdout


def test_check_says_ok():
    example = run("check", f"{brokers.REPOSITORY}/examples/shop.yaml")
    assert example.returncode == 0 and "ok" in example.stdout, example.stderr


@pytest.mark.parametrize("words, told", [
    ((), ""), (("serf",), 'did you mean "serve"'), (("check",), "FILE"),
    (("nonsense-command",), ""),
    (("serve", "--amqp"), "--amqp"), (("serve", "--ampq", "x"), 'did you mean'),
    (("serve", "--amqp", "nonsense"), "ADDR:PORT"), (("serve", "--amqp", "127.0.0.1:70000"), ""),
    (("serve", "--threads", "0"), "1 to 64"), (("serve", "--threads", "65"), "1 to 64"),
    (("serve", "--threads", "2x"), "1 to 64"), (("serve", "--threads", ""), "1 to 64"),
    (("version", "extra"), "extra"), (("help", "nonsense"), "nonsense"),
])
def test_misuse_is_told_on_stderr(words, told):
    result = run(*words)
    assert result.returncode not in (0, 1, 99) and result.returncode > 0
    assert told in result.stderr and result.stdout == ""


# A script that keeps an export looks at the exit status, and at nothing else.
@pytest.mark.parametrize("words", [
    ("export", "--from", f"{brokers.REPOSITORY}/examples/shop.yaml"), ("version",), ("help",),
    ("route", "--file", f"{brokers.REPOSITORY}/examples/shop.yaml", "orders", "order.eu.placed")])
def test_output_that_cannot_be_written_is_a_failure(words):
    with open("/dev/full", "w", encoding="utf-8") as full:
        result = subprocess.run([brokers.binary(), *words], stdout=full, stderr=subprocess.PIPE,
                                text=True, timeout=20, check=False)
    assert result.returncode == 1
    assert "standard output cannot be written: No space left on device" in result.stderr


def test_a_broker_whose_first_lines_nobody_takes_ends_well():
    words = ["serve", "--ephemeral", "--amqp", "127.0.0.1:0", "--http", "off", "--metrics", "off"]
    with open("/dev/full", "w", encoding="utf-8") as full, \
            subprocess.Popen([brokers.binary(), *words], stdout=full, stderr=subprocess.PIPE,
                             text=True) as process:
        while "event=server.ready" not in process.stderr.readline():
            assert process.poll() is None
        process.terminate()
        process.communicate(timeout=20)
    assert process.returncode == 0


def test_serve_says_where_data_lies():
    with brokers.Bourse() as broker:
        text = "\n".join(broker.stdout.lines)
        assert f"data directory {broker.scratch}/data, flushed before every confirm" in text
    assert "guest" in text and "loopback" in text


def test_serve_says_that_nothing_lasts_and_writes_nothing():
    with brokers.Bourse(options=["--ephemeral"]) as broker:
        text = "\n".join(broker.stdout.lines)
        assert "nothing survives a restart" in text and "data directory" not in text
        assert not any(name.endswith("data") for name in os.listdir(broker.scratch))


def threads_of(pid):
    """The names of a process's threads."""
    tasks = pathlib.Path(f"/proc/{pid}/task")
    return sorted((task / "comm").read_text().strip() for task in tasks.iterdir())


def network_threads_of(broker):
    return [name for name in threads_of(broker.pid) if name.startswith("bourse-net")]


def test_threads_are_as_many_as_the_file_or_the_option_says(write_config):
    file = write_config("bourse: 1\nserver: {threads: 3}\n")
    with brokers.Bourse(file, threads=None) as broker:
        assert network_threads_of(broker) == ["bourse-net-1", "bourse-net-2"]
    with brokers.Bourse(file, options=["--threads", "2"]) as broker:
        assert network_threads_of(broker) == ["bourse-net-1"]
    with brokers.Bourse(options=["--threads", "1"]) as broker:
        assert network_threads_of(broker) == []
    with brokers.Bourse(options=["--threads", "64"]) as broker:
        assert len(network_threads_of(broker)) == 63
        broker.open().close()


def test_the_ready_line_names_every_address(authority, tmp_path):
    file = tmp_path / "b.yaml"
    file.write_text(f"""
bourse: 1
listeners:
  amqp: {{bind: ["127.0.0.1:0", "[::1]:0"]}}
  amqps:
    bind: "127.0.0.1:0"
    tls: {{certificate: {authority.path('server.pem')}, key: {authority.path('server.key')}}}
""")
    with brokers.Bourse(file, listen=()) as broker:
        assert len(broker.addresses["amqp"]) == 2 and len(broker.addresses["amqps"]) == 1
        for address in broker.addresses["amqp"]:
            assert address[1] > 0
        assert ("::1", broker.addresses["amqp"][1][1]) == broker.addresses["amqp"][1]


def test_a_flag_replaces_the_listener_of_the_file(write_config):
    taken = write_config('bourse: 1\nlisteners: {amqp: {bind: "192.0.2.1:1"}}\n')
    with brokers.Bourse(taken) as broker:
        assert [host for host, _port in broker.addresses["amqp"]] == ["127.0.0.1"]


def test_an_address_in_use_is_told_in_one_line():
    with brokers.Bourse() as broker:
        result = run("serve", "--amqp", "127.0.0.1:%d" % broker.amqp[1])
    assert result.returncode == 1
    lines = [line for line in result.stderr.splitlines() if str(broker.amqp[1]) in line]
    assert len(lines) >= 1 and "in use" in lines[0]
