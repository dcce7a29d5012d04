# SPDX-License-Identifier: Apache-2.0
"""`bourse store`: what a stopped broker's data holds, what is wrong with it, and how it goes on."""

import base64
import json
import pathlib
import shutil

import pytest

from support import broker as brokers

pytestmark = pytest.mark.bourse_only

GOLDEN = pathlib.Path(__file__).parents[1] / "unit" / "store" / "golden" / "format-2"
BODIES = [b"first", b"second " * 100, bytes(range(256))]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """The directory of a broker that was killed: its log has no index yet."""
    directory = tmp_path_factory.mktemp("store") / "data"
    broker = brokers.Bourse(data_dir=directory)
    connection = broker.open()
    channel = connection.channel()
    channel.call("confirm.select")
    channel.call("exchange.declare", exchange="bills", type="fanout", durable=True)
    for queue in ("orders", "bills"):
        channel.call("queue.declare", queue=queue, durable=True)
    channel.call("queue.bind", queue="bills", exchange="bills", routing_key="")
    for body in BODIES:
        channel.publish("", "orders", body, delivery_mode=2, content_type="text/plain",
                        message_id="m1")
        channel.expect("basic.ack")
    channel.publish("bills", "eu", b"bill", delivery_mode=2)
    channel.expect("basic.ack")
    connection.drop()
    broker.kill()
    return directory


@pytest.fixture
def copy(data, tmp_path):
    shutil.copytree(data, tmp_path / "copy", ignore=shutil.ignore_patterns("*.sock"))
    (tmp_path / "copy").chmod(0o700)
    return tmp_path / "copy"


def store(*words):
    return brokers.run_command("store", *(str(word) for word in words))


def files(directory):
    return {path.name: path.read_bytes() for path in pathlib.Path(directory).iterdir()}


def damage(directory, octets):
    """Changes the first place where a file of the log holds these octets."""
    for path in sorted(pathlib.Path(directory).glob("seg.*")):
        content = path.read_bytes()
        at = content.find(octets)
        if at >= 0:
            path.write_bytes(content[:at] + b"X" + content[at + 1:])
            return path.name
    raise AssertionError(f"{octets!r} is in no segment")


def test_verify_and_dump_change_nothing(copy):
    before = files(copy)
    verified, dumped = store("verify", copy), store("dump", copy)
    assert (verified.returncode, verified.stdout) == (0, "ok\n"), verified.stderr
    assert dumped.returncode == 0, dumped.stderr
    assert files(copy) == before


def test_dump_as_text_names_objects_and_messages(copy):
    text = store("dump", copy).stdout
    for part in ('vhost name="/"', 'user name="guest"', 'exchange name="bills"',
                 'queue name="orders"', 'binding source="bills" queue="bills"',
                 'queue "orders": 3 messages', 'content_type="text/plain"', 'message_id="m1"'):
        assert part in text, text
    assert "password" not in text


def test_dump_as_json_is_one_object_a_line_with_bodies(copy):
    lines = [json.loads(line) for line in store("dump", "--json", copy).stdout.splitlines()]
    messages = [line for line in lines if line["type"] == "message"]
    orders = [line for line in messages if line["queue"] == "orders"]
    assert [base64.b64decode(line["body"]) for line in orders] == BODIES
    assert [line["body_octets"] for line in orders] == [len(body) for body in BODIES]
    assert {line["type"] for line in lines} == {"vhost", "user", "exchange", "queue", "binding",
                                                "message"}


def test_dump_of_one_queue_leaves_others_out(copy):
    lines = store("dump", "--json", "--queue", "bills", copy).stdout.splitlines()
    messages = [json.loads(line) for line in lines if '"message"' in line]
    assert [base64.b64decode(line["body"]) for line in messages] == [b"bill"]


def test_dump_tells_what_is_kept_of_a_message(tmp_path):
    """A deadline, a due time, counts: of the directory that the unit tests keep."""
    shutil.copytree(GOLDEN, tmp_path / "data", ignore=shutil.ignore_patterns("expected.txt"))
    (tmp_path / "data").chmod(0o700)
    assert store("verify", tmp_path / "data").stdout == "ok\n"
    lines = store("dump", "--json", tmp_path / "data").stdout.splitlines()
    messages = {(message["lsn"], message["queue"]): message
                for message in map(json.loads, lines) if message["type"] == "message"}
    first = messages[8640, "bills"]
    assert (first["due_ms"], first["deadline_ms"], first["arrival_ms"]) == (
        2082758400000, 1 << 40, 1600000000000)
    returned = messages[8896, "bills"]
    assert (returned["delivery_count"], returned["acquired_count"]) == (3, 3)
    assert (returned["last_verdict"], returned["level_offset"]) == ("lost", 33)
    assert "due_ms" not in returned
    assert not {"due_ms", "level_offset", "last_verdict"} & messages[9088, "bills"].keys()


def test_damage_is_found_refused_and_repaired(copy):
    name = damage(copy, BODIES[1])
    verified = store("verify", copy)
    assert verified.returncode == 1
    assert name in verified.stdout and "offset" in verified.stdout
    refused = brokers.run_command("serve", "--data-dir", str(copy), "--amqp", "127.0.0.1:0")
    assert refused.returncode != 0 and name in refused.stderr
    assert store("repair", copy).returncode == 64, "only when it is said"
    repaired = store("repair", copy, "--salvage")
    assert repaired.returncode == 0, repaired.stdout + repaired.stderr
    assert "1 message" in repaired.stdout
    assert (copy / f"{name}.damaged").exists()
    broker = brokers.Bourse(data_dir=copy)
    channel = broker.open().channel()
    assert channel.drain("orders") == [BODIES[0], BODIES[2]]
    broker.stop()


def test_directory_in_use_is_refused(tmp_path):
    broker = brokers.Bourse(data_dir=tmp_path / "data")
    for words in (("verify", broker.data_dir), ("dump", broker.data_dir),
                  ("repair", broker.data_dir, "--salvage")):
        result = store(*words)
        assert result.returncode == 1 and "in use" in result.stderr, words
    broker.stop()


def test_directory_that_is_not_there_is_not_made(tmp_path):
    for words in (("verify",), ("dump",), ("repair", "--salvage")):
        result = store(*words, tmp_path / "nothing")
        assert result.returncode == 1 and "nothing" in result.stderr, words
    assert not (tmp_path / "nothing").exists()


# -- backup

def test_a_backup_is_a_directory_that_a_broker_starts_on(data, tmp_path):
    target = tmp_path / "backup"
    result = store("backup", data, target)
    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith("ok: ") and " 0 copied" in result.stdout
    assert store("verify", target).returncode == 0
    assert store("dump", target).stdout == store("dump", data).stdout
    with brokers.Bourse(data_dir=target) as broker:
        channel = broker.open().channel()
        assert [channel.get("orders").body for _ in BODIES] == BODIES
    assert store("verify", data).returncode == 0


# What is linked is one file with two names: a broker that goes on must not write over it.
def test_a_broker_that_goes_on_leaves_its_backup_alone(copy, tmp_path):
    target = tmp_path / "backup"
    assert store("backup", copy, target).returncode == 0
    before = files(target)
    with brokers.Bourse(data_dir=copy) as broker:
        channel = broker.open().channel()
        for queue in ("orders", "bills"):
            channel.call("queue.purge", queue=queue)
        channel.call("confirm.select")
        channel.publish("", "orders", b"later", delivery_mode=2)
        channel.expect("basic.ack")
    with brokers.Bourse(data_dir=copy):
        pass
    assert files(target) == before


@pytest.mark.parametrize("make, text", [
    (lambda path: path.mkdir(mode=0o700) or (path / "file").write_text("x"), "not empty"),
    (lambda path: path.write_text("x"), "is not a directory")])
def test_a_backup_does_not_go_where_something_is(data, tmp_path, make, text):
    target = tmp_path / "backup"
    make(target)
    result = store("backup", data, target)
    assert result.returncode == 1
    assert text in result.stderr


def test_a_running_broker_is_not_backed_up_from_outside(tmp_path):
    with brokers.Bourse(data_dir=tmp_path / "data"):
        result = store("backup", tmp_path / "data", tmp_path / "backup")
    assert result.returncode == 1
    assert "in use" in result.stderr
    assert not (tmp_path / "backup").exists()


# A file that both have is repaired in a copy of its own.
def test_a_repair_does_not_change_a_backup(copy, tmp_path):
    target = tmp_path / "backup"
    assert store("backup", copy, target).returncode == 0
    damage(copy, BODIES[1])
    before = files(target)
    assert store("repair", "--salvage", copy).returncode == 0
    assert store("verify", copy).returncode == 0
    assert files(target) == before
