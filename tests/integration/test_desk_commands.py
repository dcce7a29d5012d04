# SPDX-License-Identifier: Apache-2.0
"""The dead-letter desk from the command line, against a real broker."""

import json
import os

import pytest

from tests.support import broker as brokers

pytestmark = pytest.mark.bourse_only


@pytest.fixture(name="broker", scope="module")
def fixture_broker():
    with brokers.Bourse() as broker:
        yield broker


@pytest.fixture(name="run", scope="module")
def fixture_run(broker):
    environment = {**os.environ, "BOURSE_CONTEXT": f"{broker.data_dir}/bourse.sock"}

    def run(*words, status=0):
        result = brokers.run_command(*words, env=environment)
        assert result.returncode == status, (words, result.stdout, result.stderr)
        return result

    run("queue", "declare", "dead")
    run("queue", "declare", "orders", "--argument", "x-dead-letter-exchange=",
        "--argument", "x-dead-letter-routing-key=dead")
    return run


@pytest.fixture(name="dead")
def fixture_dead(run):
    """Three dead letters."""
    run("purge", "dead")
    run("purge", "orders")
    for number in range(3):
        run("publish", "", "orders", f"order {number}", "--property", f"message_id=m{number}")
    run("get", "orders", "-n", "3", "--reject")
    return "dead"


# Numbers of JSON that its readers cannot hold cost the whole answer.
@pytest.mark.parametrize("arguments", [("--type", "quorum"), ("--argument", "x-max-priority=9")])
def test_messages_of_a_queue_with_priorities_are_shown(run, arguments):
    run("queue", "declare", "urgent", *arguments)
    run("publish", "", "urgent", "first", "--property", "priority=1")
    shown = json.loads(run("peek", "urgent", "-o", "json").stdout)
    assert [(row["payload"], row["position"]) for row in shown] == [("first", 1)]
    assert "first" in run("dlq", "export", "urgent").stdout
    run("queue", "delete", "urgent")


def rows(run, *words):
    return json.loads(run(*words, "-o", "json").stdout)


def test_queues_messages_and_groups_are_shown(run, dead):
    assert rows(run, "dlq", "ls")[0] | {"oldest_ms": 0} == {
        "vhost": "/", "queue": "dead", "is_target": True, "messages": 3, "parked": 0, "oldest_ms": 0,
        "top_reason": "rejected", "top_origin": "orders"}
    assert [row["payload"] for row in rows(run, "dlq", "show", dead)] == ["order 0", "order 1", "order 2"]
    assert "orders" in run("dlq", "group", dead).stdout
    first = run("dlq", "show", dead, "-n", "1", "-o", "name")
    assert first.stdout.count("\n") == 1 and "--after" in first.stderr
    after = first.stderr.split()[-1]
    assert [row["payload"] for row in rows(run, "dlq", "show", dead, "--after", after)] == ["order 1", "order 2"]
    assert [row["payload"] for row in rows(run, "dlq", "show", dead, "--id", first.stdout.strip())] == ["order 0"]
    assert rows(run, "dlq", "show", dead, "--older", "1h") == []
    assert len(rows(run, "dlq", "show", dead, "--younger", "1h")) == 3
    assert rows(run, "dlq", "show", dead, "--younger", "1ms") == []
    assert len(rows(run, "peek", dead, "-n", "2")) == 2


def test_a_second_run_leaves_out_what_has_failed_again(run, dead):
    words = ("dlq", "replay", dead, "--batch", "b", "--not-replayed-in", "b", "--wait")
    assert run(*words, "--limit", "2").stdout.startswith("2 messages replayed")
    run("get", "orders", "-n", "2", "--reject")
    assert run(*words).stdout.startswith("1 message replayed")
    assert len(rows(run, "dlq", "show", dead, "--replayed-in", "b")) == 2


# docs/migrating-from-rabbitmq.md: what `drain` brings was not written by this broker, whatever it says.
def test_dead_letters_of_another_broker_are_sent_on_by_their_headers(run):
    run("purge", "dead")
    run("purge", "orders")
    run("publish", "", "dead", "old", "--header", "x-first-death-queue=orders")
    assert "0 messages would be replayed" in run("dlq", "replay", "dead", "--dry-run").stdout
    words = ("--header", "x-first-death-queue=orders", "--to", "amq.default", "--key", "orders", "--wait")
    assert run("dlq", "replay", "dead", *words).stdout == "1 message replayed\n  1 to orders\n"


def test_messages_beyond_the_groups_that_are_shown_are_told(run, broker):
    run("queue", "declare", "many")
    channel = broker.open().channel()
    channel.bind("many", "amq.fanout", "")
    for number in range(1003):
        channel.publish("amq.fanout", f"k{number}", b"")
    assert channel.call("queue.declare", queue="many", passive=True).message_count == 1003
    grouped = run("dlq", "group", "many")
    assert grouped.stdout.count("\n") == 1001
    assert grouped.stderr == "3 more in groups beyond these: a filter chooses among them\n"
    assert run("dlq", "group", "many", "-q").stderr == ""
    run("queue", "delete", "many")


def test_an_export_is_what_is_there(run, dead):
    lines = [json.loads(line) for line in run("dlq", "export", dead).stdout.splitlines()]
    assert [line["properties"]["message_id"] for line in lines] == ["m0", "m1", "m2"]
    assert run("dlq", "export", dead, "--message-id", "m9").stdout == ""
    missing = run("dlq", "export", "nothing", status=66)
    assert missing.stdout == "" and 'no queue "nothing"' in missing.stderr


def test_messages_are_replayed_and_dropped(run, dead):
    assert "3 messages would be replayed" in run("dlq", "replay", dead, "--dry-run").stdout
    assert run("dlq", "replay", dead, "--message-id", "m1", "--wait").stdout == (
        "1 message replayed\n  1 to orders\n")
    stayed = run("dlq", "replay", dead, "--to", "amq.direct", "--key", "nobody", "--wait").stdout
    assert "0 messages replayed" in stayed and "2 stayed: " in stayed
    run("dlq", "replay", dead, "--to", "nowhere", status=66)
    assert run("dlq", "drop", dead, "--limit", "1", "--note", "bad").stdout == "1 message dropped\n"
    jobs = rows(run, "dlq", "jobs")
    assert [(job["action"], job["done"]) for job in jobs[-2:]] == [("replay", 0), ("drop", 1)]
    run("dlq", "cancel", str(jobs[-1]["id"]), status=1)
    begun = rows(run, "dlq", "replay", dead, "--rate", "1")
    assert begun["state"] in ("running", "done") and begun["rate"] == 1


@pytest.mark.parametrize("words, told", [
    (("drop", "dead", "--limit", "1"), "--note"), (("drop", "dead", "--note", "x"), "--all"),
    (("replay", "dead", "--key", "k"), "--to EXCHANGE"), (("show", "dead", "--older", "soon"), "--older"),
    (("show", "dead", "--younger", "soon"), "--younger"),
    (("show", "dead", "--header", "x"), "NAME=VALUE"), (("show", "dead", "-n", "0"), "1 to 1000"),
    (("replay", "dead", "--rate", "0"), "--rate"), (("show", "dead", "--place", "here"), "ready|waiting"),
    (("replay", "dead", "--batch", "\udcff"), "UTF-8"), (("replay", "dead", "--note", "\udcff"), "UTF-8"),
    (("replay", "dead", "--to", "amq.direct", "--key", "\udcff"), "UTF-8"),
    (("drop", "dead", "--limit", "1", "--note", "\udcff"), "UTF-8"),
])
def test_misuse_is_told(run, words, told):
    assert told in run("dlq", *words, status=64).stderr


def test_waiting_messages_are_listed_released_and_cancelled(run, broker):
    run("queue", "declare", "slow")
    channel = broker.open().channel()
    channel.call("exchange.declare", exchange="later", type="x-delayed-message",
                 arguments={"x-delayed-type": "direct"})
    channel.bind("slow", "later", "slow")
    for number in range(4):
        run("publish", "later", "slow", "x", "--header", "x-delay=3600000", "--property", f"message_id=d{number}")
    waiting = rows(run, "delayed", "ls", "slow")
    assert [row["message_id"] for row in waiting] == ["d0", "d1", "d2", "d3"]
    assert run("delayed", "release", "slow", waiting[0]["key"]).stdout == "1 message released\n"
    assert run("delayed", "cancel", "slow", "--message-id", "d2").stdout == "1 message cancelled\n"
    assert run("delayed", "release", "slow", "--all").stdout == "2 messages released\n"
    assert rows(run, "delayed", "ls", "slow", "--kind", "parked") == []
    run("delayed", "release", "slow", waiting[0]["key"], status=66)
    assert "one of" in run("delayed", "cancel", "slow", status=64).stderr
    assert "UTF-8" in run("delayed", "cancel", "slow", "--message-id", "\udcff", status=64).stderr


def test_a_pause_whose_note_cannot_be_kept_does_not_begin(run, dead):
    assert "UTF-8" in run("pause", dead, "--note", "\udcff", status=64).stderr
    assert not rows(run, "queue", "show", dead)["bourse"]["paused"]


def test_a_pause_is_in_the_audit_with_its_note(run, dead):
    run("pause", dead, "--note", "looking into it")
    assert run("get", dead, "-o", "json").stdout.strip() == "[]"
    run("resume", dead)
    assert [(entry["action"], entry["user"], entry["note"]) for entry in rows(run, "dlq", "audit")[-2:]] == [
        ("pause", "(local)", "looking into it"), ("resume", "(local)", "")]


def test_a_purge_says_how_many_went(run, dead):
    assert run("purge", dead).stdout == "3 messages purged: dead\n"
    run("publish", "", dead, "x")
    assert run("queue", "purge", dead).stdout == "1 message purged: dead\n"
    assert run("purge", dead).stdout == "0 messages purged: dead\n"
    assert "no queue" in run("purge", "never", status=66).stderr


def test_tracing_is_switched_and_told(run):
    assert run("trace", "status").stdout == "tracing is off\n"
    assert "amq.rabbitmq.trace" in run("trace", "on").stdout
    assert run("trace", "off").stdout == "tracing is off\n"


def test_a_backup_can_be_read(run, tmp_path):
    target = tmp_path / "copy"
    assert run("backup", str(target)).stdout.startswith(f"backed up to {target}: ")
    run("store", "verify", str(target))
    assert "not empty" in run("backup", str(target), status=1).stderr
