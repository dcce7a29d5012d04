# SPDX-License-Identifier: Apache-2.0
"""The dead-letter desk over HTTP: what is looked at stays as it is, and what is moved is moved once."""

import base64
import json
import socket
import time

import pytest

from tests.integration.test_management_api import Api
from tests.support import broker as brokers

CONFIG = """
bourse: 1
users:
  admin: {auth: password, password-file: pw, role: admin,
          rights: {configure: ".*", write: ".*", read: ".*"}}
  operator: {auth: password, password-file: pw, role: operator,
             rights: {configure: "^mine", write: "^(mine|amq.default)", read: "^(mine|dead)"}}
  narrow: {auth: password, password-file: pw, role: operator,
           rights: {configure: "^$", write: "^mine", read: ".*"}}
  monitor: {auth: password, password-file: pw, role: monitor,
            rights: {configure: ".*", write: ".*", read: ".*"}}
listeners:
  amqp: {bind: "127.0.0.1:0"}
  http: {bind: "127.0.0.1:0"}
"""

DESK = "/api/bourse/queues/%2F"


@pytest.fixture(name="place", scope="module")
def fixture_place(tmp_path_factory):
    return tmp_path_factory.mktemp("desk")


@pytest.fixture(name="broker", scope="module")
def fixture_broker(place):
    (place / "pw").write_text("secret\n")
    (place / "bourse.yaml").write_text(CONFIG)
    with brokers.Bourse(place / "bourse.yaml", listen=("amqp", "http"), data_dir=place / "data") as running:
        yield running


@pytest.fixture(name="api")
def fixture_api(broker):
    return Api(broker.addresses["http"][0])


def as_user(api, user):
    return Api(api.address, user)


@pytest.fixture(name="dead")
def fixture_dead(api):
    """A queue of dead letters, with three of `orders` in it."""
    for name in ("dead", "orders"):
        api.delete(f"/api/queues/%2F/{name}")
    api.put("/api/queues/%2F/dead", {})
    api.put("/api/queues/%2F/orders", {"arguments": {"x-dead-letter-exchange": "",
                                                     "x-dead-letter-routing-key": "dead"}})
    for number in range(3):
        assert api.publish("orders", f"order {number}", delivery_mode=2, message_id=f"m-{number}",
                           headers={"shop": "north" if number else "south"})[1]["routed"]
    assert len(api.take("orders", "reject_requeue_false", 3)[1]) == 3
    assert until(lambda: depth(api, "dead") == 3)
    return "dead"


def depth(api, queue):
    return api.get(f"/api/queues/%2F/{queue}")[1]["messages_ready"]


def until(condition, seconds=10):
    """Asks again until it holds: what goes on in the broker is seen from outside only."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
    return True


def bodies(answer):
    return [message["payload"] for message in answer["messages"]]


def test_peeking_changes_nothing(api, dead):
    before = api.get(f"/api/queues/%2F/{dead}")[1]
    for _ in range(3):
        status, page = api.get(f"{DESK}/{dead}/peek")
        assert status == 200 and bodies(page) == ["order 0", "order 1", "order 2"]
        assert page["next"] is None
        assert [message["redelivered"] for message in page["messages"]] == [False] * 3
    after = api.get(f"/api/queues/%2F/{dead}")[1]
    assert before["messages_ready"] == after["messages_ready"] == 3
    taken = api.take(dead, count=3)[1]
    assert [(one["payload"], one["redelivered"]) for one in taken] == [
        ("order 0", False), ("order 1", False), ("order 2", False)]


def test_a_message_says_where_it_comes_from(api, dead):
    message = api.get(f"{DESK}/{dead}/peek?count=1")[1]["messages"][0]
    assert (message["origin_queue"], message["reason"], message["exchange"]) == ("orders", "rejected", "")
    assert (message["routing_key"], message["place"], message["error_class"]) == ("dead", "ready", None)
    assert message["properties"]["message_id"] == "m-0"
    assert message["properties"]["headers"]["x-death"][0]["queue"] == "orders"
    assert abs(message["arrival_ms"] + message["age_ms"] - time.time() * 1000) < 60000


def test_pages_go_on_where_the_last_one_ended(api, dead):
    first = api.get(f"{DESK}/{dead}/peek?count=2")[1]
    assert bodies(first) == ["order 0", "order 1"]
    second = api.get(f"{DESK}/{dead}/peek?count=2&after={first['next']}")[1]
    assert bodies(second) == ["order 2"] and second["next"] is None


def test_a_page_that_has_exactly_the_rest_is_the_last(api, dead):
    whole = api.get(f"{DESK}/{dead}/peek?count=3")[1]
    assert len(whole["messages"]) == 3 and whole["next"] is None
    ready = api.get(f"{DESK}/{dead}/peek?count=3&reason=rejected")[1]
    assert len(ready["messages"]) == 3 and ready["next"] is None
    part = api.get(f"{DESK}/{dead}/peek?count=2")[1]
    rest = api.get(f"{DESK}/{dead}/peek?count=1&after={part['next']}")[1]
    assert bodies(rest) == ["order 2"] and rest["next"] is None


def test_a_filter_chooses_and_a_misspelt_one_is_refused(api, dead):
    assert bodies(api.get(f"{DESK}/{dead}/peek?header=shop&header_value=north")[1]) == ["order 1", "order 2"]
    assert bodies(api.get(f"{DESK}/{dead}/peek?message_id=-2")[1]) == ["order 2"]
    assert bodies(api.get(f"{DESK}/{dead}/peek?reason=expired")[1]) == []
    identity = api.get(f"{DESK}/{dead}/peek")[1]["messages"][1]["id"]
    assert bodies(api.get(f"{DESK}/{dead}/peek?ids={identity}")[1]) == ["order 1"]
    for query in ("raeson=x", "count=0", "after=zz", "places=nowhere", "header=shop", "encoding=utf7",
                  "ids=12"):
        status, answer = api.get(f"{DESK}/{dead}/peek?{query}")
        assert status == 400 and answer["reason"], query


def test_a_body_is_cut_and_shown_as_base64_where_it_is_no_text(api):
    api.put("/api/queues/%2F/mine-raw", {})
    api.call("POST", "/api/exchanges/%2F/amq.default/publish",
             {"properties": {}, "routing_key": "mine-raw", "payload_encoding": "base64",
              "payload": base64.b64encode(b"\xff\x00\xfe").decode()})
    api.publish("mine-raw", "\u00e4" * 3000)
    raw, text = api.get(f"{DESK}/mine-raw/peek")[1]["messages"]
    assert (raw["payload_encoding"], base64.b64decode(raw["payload"])) == ("base64", b"\xff\x00\xfe")
    assert (text["payload"], text["payload_truncated"]) == ("\u00e4" * 2048, True)
    assert text["payload_bytes"] == 6000
    cut = api.get(f"{DESK}/mine-raw/peek?truncate=3")[1]["messages"][1]
    assert (cut["payload"], cut["payload_encoding"]) == ("\u00e4", "string")
    api.delete("/api/queues/%2F/mine-raw")


def test_groups_say_what_messages_have_in_common(api, dead):
    status, answer = api.get(f"{DESK}/{dead}/groups")
    assert status == 200 and answer["messages"] == 3 and answer["others"]["count"] == 0
    assert [(group["origin_queue"], group["reason"], group["routing_key"], group["count"])
            for group in answer["groups"]] == [("orders", "rejected", "orders", 3)]
    assert answer["groups"][0]["octets"] == 21


def test_a_replay_sends_back_to_the_origin_and_says_when_it_is_on_disk(api, dead):
    status, answer = api.post(f"{DESK}/{dead}/replay", {"dry_run": True, "wait": True})
    assert (status, answer["state"], answer["done"]) == (200, "done", 3) and depth(api, dead) == 3
    status, answer = api.post(f"{DESK}/{dead}/replay", {"dry_run": True})
    assert status == 202
    assert until(lambda: api.get(f"/api/bourse/replays/{answer['id']}")[1]["state"] != "running")
    assert api.get(f"/api/bourse/replays/{answer['id']}")[1]["state"] == "done"
    status, answer = api.post(f"{DESK}/{dead}/replay",
                              {"wait": True, "filter": {"message_id": "m-1"}, "note": "one first"})
    assert (status, answer["state"], answer["done"], answer["on_disk"]) == (200, "done", 1, True)
    assert answer["targets"] == [{"queue": "orders", "count": 1}]
    status, answer = api.post(f"{DESK}/{dead}/replay", {"to": "origin", "batch": "rest"})
    assert status == 202 and answer["batch"] == "rest" and answer["total"] == 2
    assert until(lambda: api.get(f"/api/bourse/replays/{answer['id']}")[1]["state"] == "done")
    assert depth(api, dead) == 0
    back = api.take("orders", count=9)[1]
    assert sorted(message["payload"] for message in back) == ["order 0", "order 1", "order 2"]
    assert {message["redelivered"] for message in back} == {False}
    assert answer["id"] in [job["id"] for job in api.get("/api/bourse/replays")[1]["replays"]]
    entries = api.get("/api/bourse/audit")[1]["entries"]
    assert [(entry["user"], entry["phase"], entry["done_count"]) for entry in entries
            if entry["batch"] == "rest"] == [("admin", "begun", 0), ("admin", "ended", 2)]
    assert any(entry["note"] == "one first" for entry in entries)


def test_a_replay_to_an_exchange_takes_a_key(api, dead):
    api.put("/api/queues/%2F/mine-other", {})
    status, answer = api.post(f"{DESK}/{dead}/replay", {"exchange": "amq.default", "wait": True,
                                                        "routing_key": "mine-other", "limit": 2})
    assert status == 200 and answer["to"] == "exchange" and answer["done"] == 2
    assert depth(api, "mine-other") == 2 and depth(api, dead) == 1
    api.delete("/api/queues/%2F/mine-other")


def test_a_replay_to_an_exchange_needs_one_and_one_to_the_origin_takes_none(api, dead):
    told = {"to": "exchange"}, {"to": "origin", "exchange": "x"}, {"to": "origin", "routing_key": "k"}
    reasons = [api.post(f"{DESK}/{dead}/replay", body)[1]["reason"] for body in told]
    assert reasons[0] == '"exchange" is missing; "" is the default exchange'
    assert reasons[1] == reasons[2] == '"exchange" and "routing_key" go with "to": "exchange"'


def test_what_is_at_consumers_is_not_counted_as_meant(broker, api, dead):
    client = broker.open(user="admin", password="secret").channel()
    client.get(dead, no_ack=False)
    for places, total in ((["unacked"], 0), (["unacked", "ready"], 2), (None, 2)):
        body = {"dry_run": True, "wait": True, "filter": {"places": places} if places else {}}
        assert api.post(f"{DESK}/{dead}/replay", body)[1]["total"] == total, places
    client.connection.close()


# A client may put an octet 0 into any name, key, header or body; nobody else may be kept from it thereby.
def test_a_group_with_zeros_in_its_names_is_replayed_and_published_again(broker, api, dead):
    channel = broker.open(user="admin", password="secret").channel()
    source = "orders\0old"
    channel.declare(source, durable=True, arguments={"x-dead-letter-exchange": "",
                                                     "x-dead-letter-routing-key": dead})
    channel.publish("", source, b"a\0b", delivery_mode=2)
    channel.reject(channel.get(source, no_ack=False).delivery_tag, requeue=False)
    assert until(lambda: depth(api, dead) == 4)
    group = next(group for group in api.get(f"{DESK}/{dead}/groups")[1]["groups"] if group["origin_queue"] == source)
    chosen = {"origin_queue": source, "routing_key": group["routing_key"]}
    shown = api.get(f"{DESK}/{dead}/peek?ids={group['sample']}")[1]["messages"][0]
    replayed = api.post(f"{DESK}/{dead}/replay", {"filter": chosen, "wait": True})
    assert replayed[0] == 200 and replayed[1]["targets"] == [{"queue": source, "count": 1}]
    again = {name: shown[name] for name in ("properties", "payload", "payload_encoding")} | {"routing_key": source}
    assert api.post("/api/exchanges/%2F/amq.default/publish", again) == (200, {"routed": True})
    assert [channel.get(source).body for _ in range(2)] == [b"a\0b"] * 2
    channel.delete(source)
    channel.connection.close()


def test_a_slow_replay_is_cancelled(api, dead):
    status, answer = api.post(f"{DESK}/{dead}/replay", {"rate": 1})
    assert status == 202
    one = f"/api/bourse/replays/{answer['id']}"
    status, cancelled = api.delete(one)
    assert status == 202
    assert until(lambda: api.get(one)[1]["state"] == "cancelled")
    assert api.delete(one)[0] == 400
    assert depth(api, dead) + depth(api, "orders") == 3
    assert api.get("/api/bourse/replays/4711")[0] == 404 and api.get("/api/bourse/replays/x")[0] == 404


def test_messages_are_dropped_by_id_by_filter_and_all(api, dead):
    identity = api.get(f"{DESK}/{dead}/peek")[1]["messages"][1]["id"]
    status, answer = api.post(f"{DESK}/{dead}/drop", {"filter": {"ids": [identity]}, "wait": True})
    assert (status, answer["action"], answer["done"]) == (200, "drop", 1)
    assert bodies(api.get(f"{DESK}/{dead}/peek")[1]) == ["order 0", "order 2"]
    status, answer = api.post(f"{DESK}/{dead}/drop", {"wait": True})
    assert status == 400 and "all" in answer["reason"] and depth(api, dead) == 2
    assert api.post(f"{DESK}/{dead}/drop", {"filter": {"age_min_ms": 3600000}, "wait": True})[1]["done"] == 0
    assert api.post(f"{DESK}/{dead}/drop", {"all": True, "wait": True, "note": "test"})[1]["done"] == 2
    assert depth(api, dead) == 0
    assert api.post(f"{DESK}/{dead}/drop", {"al": True})[0] == 400


def test_a_paused_queue_hands_out_nothing(api, dead):
    assert api.post(f"{DESK}/{dead}/pause", {"note": "looking"})[0] == 204
    assert api.take(dead)[1] == []
    assert api.post(f"{DESK}/{dead}/resume", {})[0] == 204
    assert len(api.take(dead)[1]) == 1
    assert [entry["action"] for entry in api.get("/api/bourse/audit")[1]["entries"]][-3:] == [
        "pause", "resume", "take"]


def publish_delayed(api, number):
    api.publish("slow", f"later {number}", exchange="mine-delayed", delivery_mode=2,
                message_id=f"d-{number}", headers={"x-delay": 3600000 + number})


def test_delayed_messages_are_listed_released_and_cancelled(broker, api):
    api.put("/api/queues/%2F/slow", {})
    channel = broker.open(user="admin", password="secret").channel()
    channel.call("exchange.declare", exchange="mine-delayed", type="x-delayed-message", durable=True,
                 arguments={"x-delayed-type": "direct"})
    channel.bind("slow", "mine-delayed", "slow")
    for number in range(4):
        publish_delayed(api, number)
    status, answer = api.get(f"{DESK}/slow/delayed?count=3")
    assert status == 200 and answer["counts"] == {"delayed": 4, "retry": 0, "parked": 0}
    assert [message["message_id"] for message in answer["messages"]] == ["d-0", "d-1", "d-2"]
    rest = api.get(f"{DESK}/slow/delayed?count=3&after={answer['next']}")[1]
    assert [message["message_id"] for message in rest["messages"]] == ["d-3"] and rest["next"] is None
    assert 3500000 < rest["messages"][0]["due_in_ms"] <= 3600003
    key = rest["messages"][0]["key"]
    assert api.post(f"{DESK}/slow/delayed/release", {"key": key})[1] == {"count": 1, "unreadable": 0}
    assert api.post(f"{DESK}/slow/delayed/release", {"key": key})[0] == 404
    assert depth(api, "slow") == 1
    assert api.post(f"{DESK}/slow/delayed/cancel", {"message_id": "d-1"})[1]["count"] == 1
    assert api.post(f"{DESK}/slow/delayed/release", {"all": True})[1]["count"] == 2
    assert sorted(message["payload"] for message in api.take("slow", count=9)[1]) == [
        "later 0", "later 2", "later 3"]
    for body in ({}, {"key": "x"}, {"all": True, "key": key}, {"all": True, "kinds": ["no"]}):
        assert api.post(f"{DESK}/slow/delayed/cancel", body)[0] == 400, body
    api.delete("/api/queues/%2F/slow")


def test_queues_of_dead_letters_are_found(api, dead):
    queues = api.get("/api/bourse/dead-letters")[1]["queues"]
    assert [(queue["queue"], queue["is_target"], queue["messages"]) for queue in queues] == [(dead, True, 3)]
    assert queues[0]["oldest_ms"] is not None


def test_rights_are_those_of_the_vhost_and_the_role(api, dead):
    api.put("/api/queues/%2F/private", {})
    operator, narrow, monitor = (as_user(api, name) for name in ("operator", "narrow", "monitor"))
    assert monitor.get(f"{DESK}/{dead}/peek")[0] == 401
    assert monitor.get(f"{DESK}/{dead}/groups")[0] == 200
    assert monitor.post(f"{DESK}/{dead}/replay", {})[0] == 401
    assert operator.get(f"{DESK}/{dead}/peek")[0] == 200
    status, answer = operator.get(f"{DESK}/private/peek")
    assert status == 401 and "read access to queue 'private'" in answer["reason"]
    assert operator.get(f"{DESK}/nothing/peek")[0] == 401
    assert operator.get(f"{DESK}/mine-nothing/peek")[0] == 404
    assert operator.post(f"{DESK}/{dead}/pause", {})[0] == 401
    assert operator.post("/api/bourse/backup", {"directory": "/tmp/x"})[0] == 401
    status, answer = operator.post(f"{DESK}/{dead}/replay", {"exchange": "amq.topic", "wait": True})
    assert status == 401 and "write access to exchange 'amq.topic'" in answer["reason"]
    status, answer = narrow.post(f"{DESK}/{dead}/replay", {"wait": True})
    assert (status, answer["done"], answer["not_allowed_count"]) == (200, 0, 3)
    assert depth(api, dead) == 3
    assert operator.post(f"{DESK}/{dead}/replay", {"wait": True})[1]["done"] == 3
    api.delete("/api/queues/%2F/private")


def test_tracing_is_switched(api):
    path = "/api/bourse/vhosts/%2F/tracing"
    assert api.get(path) == (200, {"vhost": "/", "tracing": False})
    assert api.post(path, {"tracing": True}) == (200, {"vhost": "/", "tracing": True})
    assert api.post(path, {"tracing": False}) == (200, {"vhost": "/", "tracing": False})
    assert api.post(path, {})[0] == 400
    assert as_user(api, "operator").post(path, {"tracing": True})[0] == 401


def test_a_backup_is_made_where_it_is_said(api, place):
    target = place / "copy"
    status, answer = api.post("/api/bourse/backup", {"directory": str(target)})
    assert status == 200 and answer["directory"] == str(target) and answer["lsn"] > 0
    assert (target / "MANIFEST").exists() or any(target.iterdir())
    status, answer = api.post("/api/bourse/backup", {"directory": str(target)})
    assert status == 400 and answer["reason"]
    assert api.post("/api/bourse/backup", {"directory": "relative"})[0] == 400


def fill(api, queue, count, size):
    api.put(f"/api/queues/%2F/{queue}", {})
    for number in range(count):
        api.publish(queue, f"{number:06d}" + "x" * size)


def test_an_export_is_lines_and_leaves_everything_there(api):
    fill(api, "mine-many", 30, 100000)
    status, text = api.get(f"{DESK}/mine-many/export")
    lines = [json.loads(line) for line in text.decode().splitlines()]
    assert status == 200 and api.headers["Content-Type"] == "application/x-ndjson"
    assert [line["payload"][:6] for line in lines] == [f"{number:06d}" for number in range(30)]
    assert {len(line["payload"]) for line in lines} == {100006}
    assert len(api.get(f"{DESK}/mine-many/export?limit=7&truncate=5")[1].splitlines()) == 7
    assert api.get(f"{DESK}/mine-nothing/export")[0] == 404
    assert api.call("HEAD", f"{DESK}/mine-many/export")[0] == 200
    assert depth(api, "mine-many") == 30
    api.delete("/api/queues/%2F/mine-many")
    api.put("/api/queues/%2F/mine-many", {})
    assert api.get(f"{DESK}/mine-many/export") == (200, b"")
    api.delete("/api/queues/%2F/mine-many")


def resident_kib(pid):
    with open(f"/proc/{pid}/status", encoding="ascii") as file:
        return int(next(line for line in file if line.startswith("VmRSS")).split()[1])


def test_a_slow_reader_of_an_export_fills_no_memory_and_may_go_away(broker, api):
    fill(api, "mine-slow", 60, 500000)
    before = resident_kib(broker.pid)
    readers = []
    for _ in range(8):
        reader = socket.create_connection(api.address)
        reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        login = base64.b64encode(b"admin:secret").decode()
        reader.sendall(f"GET {DESK}/mine-slow/export HTTP/1.1\r\nHost: x\r\n"
                       f"Authorization: Basic {login}\r\n\r\n".encode())
        assert reader.recv(15) == b"HTTP/1.1 200 OK"
        readers.append(reader)
    assert len(api.get(f"{DESK}/mine-slow/export")[1].splitlines()) == 60
    assert resident_kib(broker.pid) - before < 120 * 1024
    for reader in readers:
        reader.close()
    assert api.get(f"{DESK}/mine-slow/peek?count=1")[0] == 200
    api.delete("/api/queues/%2F/mine-slow")


def test_a_client_gets_what_was_peeked_at_as_if_nobody_had_looked(broker, api):
    """On the wire: order, redelivered and who holds what."""
    channel = broker.open(user="admin", password="secret").channel()
    channel.declare("mine-wire")
    for number in range(4):
        channel.publish("", "mine-wire", b"%d" % number)
    held = [channel.get("mine-wire", no_ack=False) for _ in range(2)]
    channel.nack(held[1].delivery_tag)
    channel.ping()
    seen = api.get(f"{DESK}/mine-wire/peek")[1]["messages"]
    assert [(one["payload"], one["place"], one["redelivered"]) for one in seen] == [
        ("1", "ready", True), ("2", "ready", False), ("3", "ready", False), ("0", "unacked", False)]
    assert api.get(f"{DESK}/mine-wire/export")[0] == 200
    assert api.get(f"{DESK}/mine-wire/groups")[1]["messages"] == 4
    assert [(one.body, one.redelivered) for one in (channel.get("mine-wire") for _ in range(3))] == [
        (b"1", True), (b"2", False), (b"3", False)]
    channel.nack(held[0].delivery_tag)
    assert (lambda one: (one.body, one.redelivered))(channel.get("mine-wire")) == (b"0", True)
    channel.delete("mine-wire")


def test_a_broker_that_stops_ends_an_export_that_nobody_reads(tmp_path):
    (tmp_path / "pw").write_text("secret\n")
    (tmp_path / "bourse.yaml").write_text(CONFIG)
    with brokers.Bourse(tmp_path / "bourse.yaml", listen=("amqp", "http")) as broker:
        api = Api(broker.addresses["http"][0])
        fill(api, "mine-stop", 30, 500000)
        reader = socket.create_connection(api.address)
        login = base64.b64encode(b"admin:secret").decode()
        reader.sendall(f"GET {DESK}/mine-stop/export HTTP/1.1\r\nHost: x\r\n"
                       f"Authorization: Basic {login}\r\n\r\n".encode())
        assert reader.recv(15) == b"HTTP/1.1 200 OK"
    reader.close()      # the broker has stopped


def test_a_replay_goes_on_when_its_client_has_gone(api, dead):
    client = socket.create_connection(api.address)
    login = base64.b64encode(b"admin:secret").decode()
    body = json.dumps({"rate": 20, "wait": True, "batch": "alone"})
    client.sendall(f"POST {DESK}/{dead}/replay HTTP/1.1\r\nHost: x\r\nAuthorization: Basic {login}\r\n"
                   f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode())
    assert until(lambda: any(job["batch"] == "alone" for job in api.get("/api/bourse/replays")[1]["replays"]))
    client.close()
    assert until(lambda: depth(api, dead) == 0)


def test_an_old_client_gets_its_export_without_chunks(api):
    fill(api, "mine-old", 3, 700000)
    client = socket.create_connection(api.address)
    login = base64.b64encode(b"admin:secret").decode()
    client.sendall(f"GET {DESK}/mine-old/export HTTP/1.0\r\nAuthorization: Basic {login}\r\n\r\n".encode())
    text = b"".join(iter(lambda: client.recv(65536), b""))
    head, body = text.split(b"\r\n\r\n", 1)
    assert head.startswith(b"HTTP/1.0 200") and b"chunked" not in head
    assert [json.loads(line)["payload"][:6] for line in body.splitlines()] == ["000000", "000001", "000002"]
    client.close()
    api.delete("/api/queues/%2F/mine-old")
