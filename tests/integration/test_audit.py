# SPDX-License-Identifier: Apache-2.0
"""The audit: who has done what to messages, rights, topology and connections. Every kind of it, as the
API and the command line show it, and after kill -9."""

import json
import os

import pytest

from tests.integration.test_management_api import CONFIG, Api
from tests.support import amqp
from tests.support import broker as brokers

pytestmark = pytest.mark.bourse_only

ALL = {"configure": ".*", "write": ".*", "read": ".*"}
DELAYED = "/api/bourse/queues/%2F/mine/delayed"


def start(path):
    (path / "pw").write_text("secret\n")
    (path / "bourse.yaml").write_text(CONFIG)
    return brokers.Bourse(path / "bourse.yaml", listen=("amqp", "http"), data_dir=path / "data")


def api_of(broker, user="admin"):
    return Api(broker.addresses["http"][0], user, "secret")


@pytest.fixture(name="broker", scope="module")
def fixture_broker(tmp_path_factory):
    with start(tmp_path_factory.mktemp("audit")) as running:
        yield running


@pytest.fixture(name="api")
def fixture_api(broker):
    return api_of(broker)


def entries_of(api, after=0):
    return api.get(f"/api/bourse/audit?after={after}")[1]["entries"]


def newest(api):
    entries = entries_of(api)
    return entries[-1]["number"] if entries else 0


def told(api, action):
    """What the action adds, without number and time."""
    before = newest(api)
    status, answer = action()
    assert status in (200, 201, 202, 204), answer
    return entries_of(api, before)


def only(api, action):
    (entry,) = told(api, action)
    assert entry["user"] == "admin" and entry["phase"] == "ended" and entry["outcome"] == "done"
    return entry


def publish(api, key, headers=None, exchange="amq.default"):
    body = {"routing_key": key, "payload": "x", "payload_encoding": "string",
            "properties": {"delivery_mode": 2, "headers": headers or {}, "message_id": "m-1"}}
    assert api.post(f"/api/exchanges/%2F/{exchange}/publish", body)[1]["routed"]


def test_purged_and_deleted_messages_are_counted(api):
    api.put("/api/queues/%2F/mine", {})
    for _ in range(3):
        publish(api, "mine")
    entry = only(api, lambda: api.delete("/api/queues/%2F/mine/contents"))
    assert (entry["action"], entry["vhost"], entry["queue"], entry["done_count"]) == ("purge", "/", "mine", 3)
    publish(api, "mine")
    assert api.post("/api/bourse/queues/%2F/mine/purge", {})[1] == {"messages": 1}
    assert api.post("/api/bourse/queues/%2F/never/purge", {})[0] == 404
    publish(api, "mine")
    entry = only(api, lambda: api.delete("/api/queues/%2F/mine"))
    assert (entry["action"], entry["queue"], entry["done_count"]) == ("queue_deleted", "mine", 1)


def get(api, mode, count=10):
    return api.post("/api/queues/%2F/mine/get", {"ackmode": mode, "count": count, "encoding": "auto"})


# Who has taken messages out is asked when they are missed. What only looks, and finds nothing, is no entry.
def test_messages_that_are_taken_out_by_get(api):
    api.put("/api/queues/%2F/mine", {})
    for _ in range(5):
        publish(api, "mine")
    assert told(api, lambda: get(api, "ack_requeue_true")) == []
    assert told(api, lambda: get(api, "reject_requeue_true")) == []
    entry = only(api, lambda: get(api, "ack_requeue_false", 2))
    assert (entry["action"], entry["vhost"], entry["queue"], entry["done_count"]) == ("take", "/", "mine", 2)
    entry = only(api, lambda: get(api, "reject_requeue_false"))
    assert (entry["action"], entry["queue"], entry["done_count"]) == ("reject", "mine", 3)
    assert told(api, lambda: get(api, "ack_requeue_false")) == []


# A tool that takes one message after the other would push all else out.
def test_what_is_taken_again_and_again_is_one_entry(api):
    api.put("/api/queues/%2F/mine", {})
    for _ in range(4):
        publish(api, "mine")
    before = newest(api)
    for _ in range(3):
        get(api, "ack_requeue_false", 1)
    (entry,) = entries_of(api, before)
    assert (entry["action"], entry["done_count"]) == ("take", 3)
    api.post("/api/bourse/queues/%2F/mine/pause", {})
    api.post("/api/bourse/queues/%2F/mine/resume", {})
    get(api, "ack_requeue_false", 1)
    assert [(e["action"], e["done_count"]) for e in entries_of(api, before)] == [
        ("take", 3), ("pause", 0), ("resume", 0), ("take", 1)]


def test_exchanges_that_are_deleted_and_bindings_that_are_taken_away(api):
    api.put("/api/exchanges/%2F/gone", {"type": "topic"})
    api.put("/api/queues/%2F/mine", {})
    api.post("/api/bindings/%2F/e/gone/q/mine", {"routing_key": "a.#"})
    entry = only(api, lambda: api.delete("/api/bindings/%2F/e/gone/q/mine/a.%23"))
    assert (entry["action"], entry["target"]) == (
        "unbound", 'source="gone" destination="mine" key="a.#"')
    entry = only(api, lambda: api.delete("/api/exchanges/%2F/gone"))
    assert (entry["action"], entry["target"]) == ("exchange_deleted", 'exchange="gone"')


def test_waiting_messages_that_are_let_in_or_taken_out(api):
    api.put("/api/exchanges/%2F/later", {"type": "x-delayed-message", "arguments": {"x-delayed-type": "fanout"}})
    api.put("/api/queues/%2F/mine", {})
    api.post("/api/bindings/%2F/e/later/q/mine", {})
    for _ in range(4):
        publish(api, "", {"x-delay": 3600000}, "later")
    key = api.get(DELAYED)[1]["messages"][0]["key"]
    entry = only(api, lambda: api.post(f"{DELAYED}/cancel", {"key": key}))
    assert (entry["action"], entry["filter"], entry["done_count"]) == ("cancel", f'key="{key}"', 1)
    begun, ended = told(api, lambda: api.post(f"{DELAYED}/release", {"message_id": "m-1"}))
    assert (begun["action"], begun["phase"], begun["done_count"]) == ("release", "begun", 0)
    assert (ended["action"], ended["phase"], ended["done_count"], ended["user"], ended["queue"]) == (
        "release", "ended", 3, "admin", "mine")
    assert 'message_id="m-1"' in ended["filter"]
    assert told(api, lambda: api.post(f"{DELAYED}/cancel", {"all": True}))[-1]["done_count"] == 0
    api.delete("/api/queues/%2F/mine")


def test_users_rights_and_limits(api):
    def action_of(call):
        return only(api, call)["action"]

    assert action_of(lambda: api.put("/api/users/eve", {"password": "canary-pw", "tags": "monitoring"})) == "user.created"
    entry = only(api, lambda: api.put("/api/users/eve", {"password": "canary-pw2", "tags": ""}))
    assert (entry["action"], entry["target"], entry["vhost"]) == ("user.changed", 'user="eve" tags=""', "")
    assert action_of(lambda: api.put("/api/permissions/%2F/eve", ALL)) == "rights.granted"
    assert action_of(lambda: api.put("/api/topic-permissions/%2F/eve",
                                     {"exchange": "amq.topic", "write": "a", "read": "b"})) == "rights.topics_changed"
    assert action_of(lambda: api.put("/api/user-limits/eve/max-channels", {"value": 3})) == "user.limited"
    assert action_of(lambda: api.delete("/api/permissions/%2F/eve")) == "rights.revoked"
    assert action_of(lambda: api.delete("/api/users/eve")) == "user.deleted"
    assert "canary" not in json.dumps(entries_of(api))


def test_vhosts_policies_parameters_and_tracing(api):
    def action_of(call):
        entry = only(api, call)
        return entry["action"], entry["vhost"]

    made, granted = told(api, lambda: api.put("/api/vhosts/side", {}))
    assert (made["action"], granted["action"], granted["vhost"]) == ("vhost.created", "rights.granted", "side")
    api.put("/api/permissions/side/admin", ALL)
    assert action_of(lambda: api.put("/api/vhost-limits/side/max-queues", {"value": 3})) == ("vhost.limited", "side")
    assert action_of(lambda: api.post("/api/vhosts/side/deletion/protection", {})) == ("vhost.protected", "side")
    assert action_of(lambda: api.delete("/api/vhosts/side/deletion/protection")) == ("vhost.unprotected", "side")
    assert action_of(lambda: api.post("/api/bourse/vhosts/side/tracing", {"tracing": True})) == ("trace.started", "side")
    assert action_of(lambda: api.put("/api/policies/side/p", {"pattern": ".", "definition": {"expires": 9}})) == (
        "policy.put", "side")
    assert action_of(lambda: api.delete("/api/policies/side/p")) == ("policy.deleted", "side")
    assert action_of(lambda: api.put("/api/global-parameters/g", {"value": 1})) == ("parameter.put", "")
    assert action_of(lambda: api.delete("/api/global-parameters/g")) == ("parameter.deleted", "")
    assert action_of(lambda: api.delete("/api/vhosts/side")) == ("vhost.deleted", "")


def test_what_changes_nothing_is_not_there(api):
    before = newest(api)
    assert api.delete("/api/queues/%2F/never")[0] == 404
    assert api.delete("/api/exchanges/%2F/never")[0] == 404
    assert api.delete("/api/queues/%2F/never/contents")[0] == 404
    assert api.delete("/api/users/never")[0] == 404
    assert api.delete("/api/connections/never")[0] == 404
    assert api.delete("/api/connections/username/never")[0] == 204
    assert entries_of(api, before) == []


# An import that makes a thousand users would push all else out.
def test_an_import_is_two_entries_however_much_it_makes(api):
    body = {"users": [{"name": f"u{i}", "password_hash": "", "tags": ""} for i in range(5)]}
    begun, ended = told(api, lambda: api.post("/api/definitions", body))
    assert (begun["action"], begun["phase"]) == ("definitions.imported", "begun")
    assert "users=5 " in begun["target"]
    assert (ended["phase"], ended["outcome"], ended["done_count"]) == ("ended", "done", 5)
    before = newest(api)
    wrong = {"queues": [{"name": "wrong", "arguments": {"x-max-length": "x"}}]}
    assert api.post("/api/definitions/%2F", wrong)[0] == 400
    assert entries_of(api, before)[-1]["outcome"] == "given up"


def test_connections_that_are_closed(api, broker):
    def connect():
        connection = amqp.Connection(broker.addresses["amqp"][0])
        connection.open(user="service", password="secret")
        return connection

    held = [connect(), connect()]
    entry = only(api, lambda: api.call("DELETE", "/api/connections/username/service", headers={"X-Reason": "moving"}))
    assert (entry["action"], entry["target"], entry["note"], entry["done_count"]) == (
        "connections_closed", 'user="service"', "moving", 2)
    held.append(connect())
    name = next(row["name"] for row in api.get("/api/connections")[1] if row["user"] == "service")
    entry = only(api, lambda: api.delete("/api/connections/" + name.replace(" ", "%20").replace(">", "%3E")))
    assert (entry["target"], entry["vhost"]) == (f'connection="{name}"', "/")
    for connection in held:
        connection.drop()


# What services do is no operator's doing, and would leave nothing else in it.
def test_what_a_client_does_over_amqp_is_not_there(api, broker):
    before = newest(api)
    connection = amqp.Connection(broker.addresses["amqp"][0])
    connection.open(user="service", password="secret")
    channel = connection.channel()
    channel.call("queue.declare", queue="theirs")
    channel.call("queue.purge", queue="theirs")
    channel.call("queue.delete", queue="theirs")
    connection.close()
    assert entries_of(api, before) == []


def test_applying_and_rolling_back(api, broker):
    def files(text):
        return {"files": [{"name": "b.yaml", "text": text}]}

    api.put("/api/vhosts/shop", {})
    api.put("/api/permissions/shop/admin", ALL)
    first = "bourse: 1\nvhost: shop\nqueues: {one: {}}\n"
    entry = only(api, lambda: api.post("/api/bourse/apply", files(first)))
    assert (entry["action"], entry["vhost"]) == ("topology.applied", "shop")
    assert "cause=apply created=1 " in entry["target"] and entry["done_count"] > 0
    only(api, lambda: api.post("/api/bourse/apply", files(first.replace("{}", "{ttl: 5s}"))))
    generation = next(row["id"] for row in api.get("/api/bourse/generations")[1][1:]
                      if row["vhost"] == "shop")
    entry = only(api, lambda: api.post(f"/api/bourse/rollback/{generation}", {}))
    assert "cause=rollback" in entry["target"]
    assert told(api, lambda: api.post("/api/bourse/apply", files(first))) == []


# A role that sees some vhosts only, and no users, reads neither in the audit.
def test_who_does_not_see_all_reads_of_his_own_vhosts_only(api, broker):
    api.put("/api/vhosts/secret", {})
    api.put("/api/users/near", {"password": "secret", "tags": "management"})
    api.put("/api/permissions/%2F/near", ALL)
    api.put("/api/policies/secret/p", {"pattern": ".", "definition": {"expires": 9}})
    api.put("/api/policies/%2F/p", {"pattern": ".", "definition": {"expires": 9000000}})
    shown = entries_of(api_of(broker, "near"))
    assert shown and {entry["vhost"] for entry in shown} == {"/"}
    assert {"", "secret"} <= {entry["vhost"] for entry in entries_of(api_of(broker, "monitor"))}


def test_the_command_line_shows_it(api, broker):
    environment = {**os.environ, "BOURSE_CONTEXT": f"{broker.data_dir}/bourse.sock"}
    api.put("/api/users/shown", {"password": "p", "tags": ""})
    for words in (("audit",), ("dlq", "audit")):
        result = brokers.run_command(*words, "-o", "json", env=environment)
        assert result.returncode == 0, result.stderr
        last = json.loads(result.stdout)[-1]
        assert (last["action"], last["user"], last["target"]) == ("user.created", "admin", 'user="shown" tags=""')
    assert brokers.run_command("user", "delete", "shown", env=environment).returncode == 0
    assert entries_of(api)[-1]["user"] == "(local)"


def test_all_of_it_is_there_after_kill_9(tmp_path):
    running = start(tmp_path)
    api = api_of(running)
    api.put("/api/queues/%2F/mine", {"durable": False})
    for _ in range(3):
        publish(api, "mine")
    for _ in range(2):
        assert get(api, "ack_requeue_false", 1)[0] == 200
    assert api.delete("/api/queues/%2F/mine/contents")[0] == 204
    assert api.delete("/api/queues/%2F/mine")[0] == 204
    assert api.put("/api/users/eve", {"password": "p", "tags": ""})[0] == 201
    assert api.delete("/api/users/eve")[0] == 204
    held = amqp.Connection(running.addresses["amqp"][0])
    held.open(user="service", password="secret")
    assert api.delete("/api/connections/username/service")[0] == 204
    before = entries_of(api)
    running.kill()
    held.drop()
    with start(tmp_path) as running:
        assert entries_of(api_of(running)) == before
        assert [entry["action"] for entry in before] == [
            "take", "purge", "queue_deleted", "user.created", "user.deleted", "connections_closed"]
        assert before[0]["done_count"] == 2
