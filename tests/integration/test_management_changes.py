# SPDX-License-Identifier: Apache-2.0
"""The changing routes of the HTTP interface, against a real broker with a data directory."""

import base64
import hashlib
import json
import shutil
import subprocess
import urllib.parse

import pytest

from tests.integration.test_management_api import CONFIG, Api
from tests.support import broker as brokers

ALL = {"configure": ".*", "write": ".*", "read": ".*"}


@pytest.fixture(name="broker", scope="module")
def fixture_broker(tmp_path_factory):
    path = tmp_path_factory.mktemp("changes")
    (path / "pw").write_text("secret\n")
    (path / "bourse.yaml").write_text(CONFIG)
    with brokers.Bourse(path / "bourse.yaml", listen=("amqp", "http", "metrics")) as running:
        yield running


def api_of(broker, user="admin", password="secret"):
    return Api(broker.addresses["http"][0], user, password)


@pytest.fixture(name="api")
def fixture_api(broker):
    return api_of(broker)


def quoted(name):
    return urllib.parse.quote(name, safe="")


# Exchanges and bindings -------------------------------------------------------------------------

def test_an_exchange_is_declared_and_deleted(api):
    path = "/api/exchanges/%2F/ex1"
    assert api.put(path, {"type": "topic", "auto_delete": "false"})[0] == 201
    assert api.put(path, {"type": "topic"})[0] == 204
    status, error = api.put(path, {"type": "fanout"})
    assert status == 400 and "inequivalent arg 'type'" in error["reason"]
    assert api.put("/api/exchanges/%2F/ex2", {})[0] == 201
    assert api.put("/api/exchanges/%2F/ex2", {"type": "direct"})[0] == 204
    assert api.put("/api/exchanges/%2F/ex3", {"type": "no-such"})[0] == 400
    api.put("/api/queues/%2F/bound", {})
    assert api.post("/api/bindings/%2F/e/ex1/q/bound", {"routing_key": "a.#"})[0] == 201
    assert api.delete(path + "?if-unused=true")[0] == 412
    assert api.delete(path)[0] == 204
    assert api.delete(path)[0] == 404


@pytest.mark.parametrize("key,arguments", [
    ("", {}), ("plain", {}), ("a/b c#ü%", {}), ("k", {"x-match": "all", "n": 1}), ("", {"n": 2}),
    ("~", {}), ("a~b", {}), ("~", {"n": 3})])
def test_a_binding_is_deleted_by_the_key_that_its_location_says(api, key, arguments):
    api.put("/api/queues/%2F/q%20ends", {})
    api.put("/api/exchanges/%2F/h", {"type": "headers"})
    body = {"routing_key": key, "arguments": arguments}
    assert api.post("/api/bindings/%2F/e/h/q/q%20ends", body)[0] == 201
    location = api.headers["Location"]
    assert location.startswith("/api/bindings/%2F/e/h/q/q%20ends/")
    bindings = [b for b in api.get("/api/queues/%2F/q%20ends/bindings")[1] if b["source"] == "h"]
    assert [(b["routing_key"], b["arguments"]) for b in bindings] == [(key, arguments)]
    assert quoted(bindings[0]["properties_key"]) == location.rsplit("/", 1)[1]
    assert api.delete(location)[0] == 204
    assert api.delete(location)[0] == 404


# "~" stands for no key at all: a key of that name is not to be taken for it.
def test_a_key_that_looks_like_none_is_another_binding(api):
    api.put("/api/queues/%2F/tilde", {})
    api.put("/api/exchanges/%2F/tildes", {"type": "topic"})
    for key in ("", "~"):
        assert api.post("/api/bindings/%2F/e/tildes/q/tilde", {"routing_key": key})[0] == 201
    found = api.get("/api/bindings/%2F/e/tildes/q/tilde")[1]
    assert {b["routing_key"]: b["properties_key"] for b in found} == {"": "~", "~": "%7E"}
    assert api.delete("/api/bindings/%2F/e/tildes/q/tilde/%257E")[0] == 204
    found = api.get("/api/bindings/%2F/e/tildes/q/tilde")[1]
    assert [b["routing_key"] for b in found] == [""]


def test_exchanges_are_bound_to_exchanges(api):
    api.put("/api/exchanges/%2F/from", {"type": "fanout"})
    api.put("/api/exchanges/%2F/to", {"type": "fanout"})
    assert api.post("/api/bindings/%2F/e/from/e/to", {})[0] == 201
    assert api.headers["Location"] == "/api/bindings/%2F/e/from/e/to/~"
    assert api.delete("/api/bindings/%2F/e/from/e/to/~")[0] == 204
    assert api.delete("/api/bindings/%2F/e/from/e/to/~")[0] == 404
    assert api.post("/api/bindings/%2F/e/from/e/missing", {})[0] == 404


def test_rights_of_amqp_hold_for_exchanges_and_bindings(broker, api):
    operator = api_of(broker, "operator")
    assert operator.put("/api/exchanges/%2F/mine.x", {"type": "direct"})[0] == 201
    status, error = operator.put("/api/exchanges/%2F/theirs", {"type": "direct"})
    assert status == 401 and error["reason"].startswith("ACCESS_REFUSED - configure access to")
    assert operator.delete("/api/exchanges/%2F/from")[0] == 401


# Users ------------------------------------------------------------------------------------------

def test_a_user_comes_with_a_password_and_goes_with_its_connections(broker, api):
    body = {"password": "geheim", "tags": "management,policymaker"}
    assert api.put("/api/users/eve", body)[0] == 201
    eve = api_of(broker, "eve", "geheim")
    assert eve.get("/api/whoami")[0] == 200
    assert eve.get("/api/queues/%2F")[0] == 401
    assert api.put("/api/permissions/%2F/eve", ALL)[0] == 201
    assert api.put("/api/permissions/%2F/eve", ALL)[0] == 204
    assert eve.get("/api/queues/%2F")[0] == 200
    connection = broker.open(user="eve", password="geheim")
    assert api.delete("/api/users/eve")[0] == 204
    connection.expect_close(320, "CONNECTION_FORCED - user 'eve' was deleted")
    assert eve.get("/api/whoami")[0] == 401
    assert api.delete("/api/users/eve")[0] == 404


def salted(name, password):
    salt = b"\x01\x02\x03\x04"
    return base64.b64encode(salt + hashlib.new(name, salt + password).digest()).decode()


@pytest.mark.parametrize("name", ["md5", "sha256", "sha512"])
def test_hashes_of_rabbitmq_are_taken_and_checked(broker, api, name):
    body = {"password_hash": salted(name, b"pw"), "tags": ["monitoring"],
            "hashing_algorithm": f"rabbit_password_hashing_{name}"}
    assert api.put("/api/users/hashed", body)[0] in (201, 204)
    assert api_of(broker, "hashed", "pw").get("/api/overview")[0] == 200
    assert api_of(broker, "hashed", "no").get("/api/overview")[0] == 401
    status, shown = api.get("/api/users/hashed")
    assert status == 200 and {key: shown[key] for key in body} == body
    assert [shown] == [row for row in api.get("/api/users")[1] if row["name"] == "hashed"]
    assert body.items() <= [row for row in api.get("/api/definitions")[1]["users"]
                            if row["name"] == "hashed"][0].items()


def test_a_hash_is_made_that_is_taken(broker, api):
    status, answer = api.get("/api/auth/hash_password/p%C3%A4ss")
    assert status == 200
    assert api.put("/api/users/made", {"password_hash": answer["ok"],
                                       "tags": "monitoring"})[0] == 201
    assert api_of(broker, "made", "p\u00e4ss").get("/api/overview")[0] == 200


@pytest.mark.parametrize("body,reason", [
    ({"password": "x"}, '"tags" is missing'),
    ({"password": "x", "password_hash": "y", "tags": ""}, "only one of"),
    ({"password_hash": "zz", "tags": ""}, "in no form that can be checked"),
    ({"password_hash": salted("sha256", b"x"), "tags": "",
      "hashing_algorithm": "rabbit_password_hashing_sha512"}, "has the form of"),
    ({"password": 5, "tags": ""}, "password"),
    ({"tags": [5]}, '"tags" takes'),
])
def test_a_user_that_makes_no_sense_is_refused(api, body, reason):
    status, error = api.put("/api/users/nonsense", body)
    assert status == 400 and reason in error["reason"]
    assert api.delete("/api/users/nonsense")[0] == 404


def test_several_users_are_deleted_but_protected_ones(api):
    for name, tags in (("b1", ""), ("b2", "protected"), ("b3", "")):
        assert api.put(f"/api/users/{name}", {"password_hash": "", "tags": tags})[0] == 201
    assert api.post("/api/users/bulk-delete", {"users": ["b1", "b2", "b3", "b4"]})[0] == 204
    assert api.delete("/api/users/b1")[0] == 404
    status, error = api.delete("/api/users/b2")
    assert status == 400 and "protected" in error["reason"]
    assert api.post("/api/users/bulk-delete", {"users": "b1"})[0] == 400


def test_rights_that_are_taken_away_close_connections(broker, api):
    api.put("/api/users/mallory", {"password": "m", "tags": ""})
    api.put("/api/permissions/%2F/mallory", ALL)
    connection = broker.open(user="mallory", password="m")
    assert api.delete("/api/permissions/%2F/mallory")[0] == 204
    connection.expect_close(320)
    assert api.delete("/api/permissions/%2F/mallory")[0] == 404
    assert api.put("/api/permissions/%2F/nobody", ALL) == (400, {
        "error": "bad_request", "reason": "vhost_or_user_not_found"})
    assert api.put("/api/permissions/none/mallory", ALL)[0] == 400
    status, error = api.put("/api/permissions/%2F/mallory", dict(ALL, read="(["))
    assert status == 400 and "no regular expression" in error["reason"]


def test_topic_permissions_narrow_what_may_be_published(broker, api):
    api.put("/api/users/tim", {"password": "t", "tags": ""})
    narrow = {"exchange": "amq.topic", "write": "^a\\.", "read": ".*"}
    assert api.put("/api/topic-permissions/%2F/tim", narrow)[0] == 400
    api.put("/api/permissions/%2F/tim", ALL)
    assert api.put("/api/topic-permissions/%2F/tim", narrow)[0] == 201
    assert api.put("/api/topic-permissions/%2F/tim", narrow)[0] == 204
    topics = [t for t in api.get("/api/definitions")[1]["topic_permissions"] if t["user"] == "tim"]
    assert topics == [dict(narrow, user="tim", vhost="/")]
    assert api.delete("/api/topic-permissions/%2F/tim/amq.fanout")[0] == 404
    assert api.delete("/api/topic-permissions/%2F/tim/amq.topic")[0] == 204
    assert api.delete("/api/topic-permissions/%2F/tim")[0] == 404


# Virtual hosts, policies, limits ----------------------------------------------------------------

def test_a_vhost_is_made_described_protected_and_deleted(broker, api):
    body = {"description": "d", "tags": ["t1", "t2"], "default_queue_type": "quorum",
            "tracing": True}
    assert api.put("/api/vhosts/made%2Fhere", body)[0] == 201
    assert api.put("/api/vhosts/made%2Fhere", {})[0] == 204
    shown = api.get("/api/vhosts/made%2Fhere")[1]
    assert body.items() <= shown.items() and not shown["protected_from_deletion"]
    assert {"description": "d", "tags": ["t1", "t2"]}.items() <= shown["metadata"].items()
    assert api.put("/api/permissions/made%2Fhere/admin", ALL)[0] == 204  # its maker has them
    assert api.put("/api/queues/made%2Fhere/q", {})[0] == 201
    connection = broker.open(user="admin", password="secret", vhost="made/here")
    assert api.post("/api/vhosts/made%2Fhere/deletion/protection", {})[0] == 204
    assert api.get("/api/vhosts/made%2Fhere")[1]["protected_from_deletion"] is True
    status, error = api.delete("/api/vhosts/made%2Fhere")
    assert status == 400 and "protected" in error["reason"]
    assert api.delete("/api/vhosts/made%2Fhere/deletion/protection")[0] == 204
    assert api.delete("/api/vhosts/made%2Fhere")[0] == 204
    connection.expect_close(320, "CONNECTION_FORCED - vhost 'made/here' was deleted")
    assert api.delete("/api/vhosts/made%2Fhere")[0] == 404
    # Another of its name has nothing of the first one.
    assert api.put("/api/vhosts/made%2Fhere", {})[0] == 201
    assert api.get("/api/definitions/made%2Fhere")[1]["queues"] == []
    assert api.get("/api/queues/made%2Fhere/q")[0] == 404
    assert api.delete("/api/vhosts/made%2Fhere")[0] == 204


def test_policies_are_set_and_refused_with_reasons(broker, api):
    good = {"pattern": "^pol", "definition": {"max-length": 3}, "apply-to": "queues",
            "priority": 2}
    api.put("/api/queues/%2F/pol.q", {})
    assert api.put("/api/policies/%2F/p", good)[0] == 201
    assert api.put("/api/policies/%2F/p", good)[0] == 204
    queue = api.get("/api/queues/%2F/pol.q")[1]
    assert queue["policy"] == "p" and queue["effective_policy_definition"] == {"max-length": 3}
    for wrong, reason in (({"definition": {"max-length": -1}}, "max"),
                          ({"definition": {"no-such": 1}}, "no-such"),
                          ({"pattern": "(["}, "pattern"), ({"apply-to": "x"}, "apply-to"),
                          ({"definition": {}}, ""), ({"priority": "x"}, "priority")):
        status, error = api.put("/api/policies/%2F/p", dict(good, **wrong))
        assert status == 400 and reason in error["reason"], wrong
    assert api.put("/api/policies/none/p", good)[0] == 404
    assert api.put("/api/operator-policies/%2F/op", dict(good, definition={"max-length": 2}))[
        0] == 201
    assert api_of(broker, "operator").put("/api/operator-policies/%2F/op", good)[0] == 401
    assert api_of(broker, "operator").put("/api/policies/%2F/mine", good)[0] == 201
    for path in ("policies/%2F/p", "policies/%2F/mine", "operator-policies/%2F/op"):
        assert api.delete("/api/" + path)[0] == 204
        assert api.delete("/api/" + path)[0] == 404


def test_limits_hold_and_are_lifted(broker, api):
    assert api.put("/api/vhosts/limited", {})[0] == 201
    api.put("/api/permissions/limited/admin", ALL)
    assert api.put("/api/vhost-limits/limited/max-queues", {"value": 1})[0] == 204
    assert api.put("/api/queues/limited/one", {})[0] == 201
    assert api.put("/api/queues/limited/two", {})[0] == 400
    assert api.delete("/api/vhost-limits/limited/max-queues")[0] == 204
    assert api.put("/api/queues/limited/two", {})[0] == 201
    assert api.put("/api/vhost-limits/limited/max-fun", {"value": 1})[0] == 400
    assert api.put("/api/vhost-limits/none/max-queues", {"value": 1})[0] == 404
    assert api.put("/api/user-limits/admin/max-channels", {"value": 5})[0] == 204
    assert api.put("/api/user-limits/admin/max-channels", {})[0] == 400
    assert api.delete("/api/user-limits/admin/max-channels")[0] == 204
    assert api.delete("/api/vhosts/limited")[0] == 204


# Definitions ------------------------------------------------------------------------------------

DEFINITIONS = {
    "users": [{"name": "imported", "password_hash": salted("sha256", b"pw"),
               "hashing_algorithm": "rabbit_password_hashing_sha256", "tags": ["management"]}],
    "vhosts": [{"name": "imp", "description": "what came", "tags": ["x", "y"],
                "default_queue_type": "quorum"}],
    "permissions": [dict(ALL, user="imported", vhost="imp")],
    "topic_permissions": [],
    "parameters": [], "global_parameters": [],
    "policies": [{"vhost": "imp", "name": "p", "pattern": ".*", "apply-to": "queues",
                  "definition": {"max-length": 9}, "priority": 0}],
    "queues": [{"name": "q", "vhost": "imp", "durable": True, "auto_delete": False,
                "arguments": {"x-message-ttl": 5000}}],
    "exchanges": [{"name": "x", "vhost": "imp", "type": "topic", "durable": True,
                   "auto_delete": False, "internal": False, "arguments": {}}],
    "bindings": [{"source": "x", "vhost": "imp", "destination": "q", "destination_type": "queue",
                  "routing_key": "a.#", "arguments": {}}],
}


def test_definitions_come_back_as_they_were_imported(broker, api):
    assert api.post("/api/definitions", DEFINITIONS)[0] == 204
    assert api.post("/api/definitions", DEFINITIONS)[0] == 204
    status, out = api.get("/api/definitions")
    assert status == 200
    for key in ("users", "vhosts", "permissions", "policies", "queues", "exchanges", "bindings"):
        for wanted in DEFINITIONS[key]:
            assert any(wanted.items() <= found.items() for found in out[key]), key
    assert not [x for x in out["exchanges"] if x["name"].startswith("amq.")]
    assert api_of(broker, "imported", "pw").get("/api/queues/imp")[0] == 200
    status, one = api.get("/api/definitions/imp")
    assert status == 200 and [q["name"] for q in one["queues"]] == ["q"]
    assert api.get("/api/definitions/none")[0] == 404


# A client may choose such names, and one of them was enough that nothing could be imported again.
def test_names_with_an_octet_0_come_back(broker, api):
    assert api.put("/api/vhosts/zero", {})[0] == 201
    api.put("/api/permissions/zero/admin", ALL)
    connection = broker.connect().open(user="admin", password="secret", vhost="zero")
    channel = connection.channel()
    channel.call("queue.declare", queue="q\0.", durable=True, arguments={"x-note": "n\0."})
    channel.call("queue.bind", queue="q\0.", exchange="amq.topic", routing_key="k\0.")
    connection.close()
    taken = api.get("/api/definitions")[1]
    assert api.delete("/api/vhosts/zero")[0] == 204
    assert api.post("/api/definitions", taken)[0] == 204
    left = api.get("/api/definitions/zero")[1]
    assert [(row["name"], row["arguments"]) for row in left["queues"]] == [
        ("q\0.", {"x-note": "n\0."})]
    assert [row["routing_key"] for row in left["bindings"]] == ["k\0."]
    assert api.delete("/api/vhosts/zero")[0] == 204


@pytest.mark.parametrize("vhost", [
    {"name": "old", "metadata": {"description": "d", "tags": ["a", "b"]}},
    {"name": "old", "tags": "a, b", "description": "d", "default_queue_type": "undefined"}])
def test_what_describes_a_vhost_may_stand_in_two_places(api, vhost):
    assert api.post("/api/definitions", {"vhosts": [vhost]})[0] == 204
    shown = api.get("/api/vhosts/old")[1]
    assert (shown["description"], shown["tags"]) == ("d", ["a", "b"])
    assert shown["default_queue_type"] == "classic"
    status, error = api.post("/api/definitions", {"vhosts": [dict(vhost, tags=3)]})
    assert status == 400 and "tags" in error["reason"]
    assert api.delete("/api/vhosts/old")[0] == 204


def test_definitions_come_as_a_form_with_a_file(api):
    text = json.dumps({"queues": [{"name": "formed", "durable": True, "arguments": {}}]})
    form = ("--b0und\r\nContent-Disposition: form-data; name=\"x\"\r\n\r\nno\r\n--b0und\r\n"
            "Content-Disposition: form-data; name=\"file\"; filename=\"d.json\"\r\n"
            f"Content-Type: application/json\r\n\r\n{text}\r\n--b0und--\r\n")
    headers = {"Content-Type": "multipart/form-data; boundary=b0und"}
    assert api.call("POST", "/api/definitions/%2F", form, headers)[0] == 204
    assert api.get("/api/queues/%2F/formed")[0] == 200
    assert api.call("POST", "/api/definitions/%2F", "--b0und--", headers)[0] == 400


# As with RabbitMQ: so one vhost is made like another. What is said of vhosts and users stays out.
def test_definitions_of_one_vhost_go_into_another(api):
    for vhost in ("one", "other"):
        assert api.put(f"/api/vhosts/{vhost}", {})[0] == 201
    api.put("/api/queues/one/q", {"arguments": {"x-max-length": 5}})
    api.put("/api/exchanges/one/x", {"type": "topic"})
    api.post("/api/bindings/one/e/x/q/q", {"routing_key": "a.#"})
    api.put("/api/policies/one/p", {"pattern": "^q", "definition": {"max-length": 9}})
    api.put("/api/vhost-limits/one/max-queues", {"value": 7})
    taken = api.get("/api/definitions/one")[1]
    assert api.delete("/api/vhosts/one")[0] == 204
    assert api.post("/api/definitions/other", taken)[0] == 204
    assert api.get("/api/vhosts/one")[0] == 404
    left = api.get("/api/definitions/other")[1]
    for part in ("queues", "exchanges", "bindings", "policies", "parameters"):
        assert left[part] == [{**row, "vhost": "other"} for row in taken[part]] != [], part
    assert api.delete("/api/vhosts/other")[0] == 204


def test_an_import_ends_at_what_cannot_be_had_and_says_what(api):
    body = {"queues": [{"name": "before", "arguments": {}},
                       {"name": "wrong", "arguments": {"x-max-length": "x"}},
                       {"name": "after", "arguments": {}}]}
    status, error = api.post("/api/definitions/%2F", body)
    assert status == 400 and '"wrong"' in error["reason"]
    assert api.get("/api/queues/%2F/before")[0] == 200
    assert api.get("/api/queues/%2F/after")[0] == 404
    assert api.post("/api/definitions/none", {})[0] == 400


# A restart ----------------------------------------------------------------------------------------

# Whatever clients may bind, the definitions bring back whole.
def test_internal_exchanges_and_their_bindings_come_back(api):
    for vhost in ("inner", "outer"):
        assert api.put(f"/api/vhosts/{vhost}", {})[0] == 201
    api.put("/api/exchanges/inner/hidden", {"type": "topic", "internal": True})
    api.put("/api/exchanges/inner/shown", {"type": "topic", "arguments": {"alternate-exchange": "hidden"}})
    api.put("/api/queues/inner/q", {})
    for path, key in (("shown/e/hidden", "a"), ("hidden/q/q", "b"), ("shown/e/amq.fanout", "c"),
                      ("amq.fanout/q/q", ""), ("amq.topic/e/shown", "#")):
        assert api.post(f"/api/bindings/inner/e/{path}", {"routing_key": key})[0] == 201, path
    made = api.get("/api/definitions/inner")[1]
    assert {row["name"]: row["internal"] for row in made["exchanges"]} == {"hidden": True, "shown": False}
    assert sorted((row["source"], row["destination"], row["routing_key"]) for row in made["bindings"]) == [
        ("amq.fanout", "q", ""), ("amq.topic", "shown", "#"), ("hidden", "q", "b"),
        ("shown", "amq.fanout", "c"), ("shown", "hidden", "a")]
    assert api.post("/api/definitions/outer", made)[0] == 204
    again = api.get("/api/definitions/outer")[1]
    for part in ("exchanges", "queues", "bindings"):
        rows = [sorted(json.dumps({**row, "vhost": ""}, sort_keys=True) for row in side[part])
                for side in (made, again)]
        assert rows[0] == rows[1], part
    for vhost in ("inner", "outer"):
        assert api.delete(f"/api/vhosts/{vhost}")[0] == 204


# An import says of every limit that there is none: that is nothing that has changed.
def test_limits_that_stay_are_no_change(broker, api):
    body = {"users": [{"name": "unbounded", "password_hash": "", "tags": "", "limits": {}}],
            "vhosts": [{"name": "unbounded", "limits": {}}]}
    assert api.post("/api/definitions", body)[0] == 204
    for path, value in (("user-limits/unbounded/max-channels", 5), ("vhost-limits/unbounded/max-queues", 5)):
        for _ in range(2):
            assert api.put(f"/api/{path}", {"value": value})[0] == 204
    broker.log.wait_for('vhost.limited .*vhost="unbounded" max-queues=5')
    told = [line for line in broker.log.lines if "limited" in line and "unbounded" in line]
    assert [line.split("event=")[1].split()[0] for line in told] == ["user.limited", "vhost.limited"], told
    assert api.delete("/api/users/unbounded")[0] == 204 and api.delete("/api/vhosts/unbounded")[0] == 204


# What is left out is not left out without a word.
def test_an_import_says_how_much_it_left_out(broker, api):
    parts = {"exchanges": [{"name": "odd", "vhost": "/", "type": "x-odd", "durable": True,
                            "auto_delete": False, "internal": False, "arguments": {}}],
             "parameters": [{"component": "shovel", "vhost": "/", "name": "s", "value": {}}]}
    assert api.post("/api/definitions", parts)[0] == 204
    assert api.headers["X-Bourse-Left-Out"] == "2"
    broker.log.wait_for("definitions.left_out .*x-odd")
    assert api.post("/api/definitions", {"exchanges": []})[0] == 204
    assert "X-Bourse-Left-Out" not in api.headers


# As editors save it, and with a text that JSON has and names cannot have.
def test_marks_of_utf_8_are_taken_and_octets_0_are_told(api):
    assert api.put("/api/queues/%2F/marked", b"\xef\xbb\xbf{}")[0] in (201, 204)
    assert api.post("/api/definitions", b'\xef\xbb\xbf{"queues": []}')[0] == 204
    status, error = api.put("/api/queues/%2F/marked", b'{"a": "\\u0000"}')
    assert status == 400 and "\\u0000 is not allowed here" in error["reason"], error
    assert api.put("/api/queues/%2F/marked", b"\xef\xbb\xbf")[0] == 400


def test_what_was_answered_is_there_after_kill_9(tmp_path):
    (tmp_path / "pw").write_text("secret\n")
    (tmp_path / "bourse.yaml").write_text(CONFIG)
    arguments = {"listen": ("amqp", "http"), "data_dir": tmp_path / "data"}
    running = brokers.Bourse(tmp_path / "bourse.yaml", **arguments)
    api = api_of(running)
    assert api.post("/api/definitions", DEFINITIONS)[0] == 204
    assert api.put("/api/global-parameters/kept", {"value": {"a": 1}})[0] == 201
    assert api.put("/api/permissions/imp/admin", ALL)[0] == 201
    assert api.post("/api/bourse/queues/imp/q/pause", {"note": "for the test"})[0] == 204
    assert api.put("/api/vhosts/kept", {"description": "why", "tags": "a,b"})[0] == 201
    assert api.post("/api/vhosts/kept/deletion/protection", {})[0] == 204
    assert api.put("/api/users/kept", {"password": "p", "tags": "monitoring"})[0] == 201
    assert api.put("/api/users/lost", {"password": "p", "tags": ""})[0] == 201
    assert api.put("/api/permissions/imp/kept", ALL)[0] == 201
    assert api.put("/api/vhosts/lost", {})[0] == 201
    assert api.put("/api/permissions/lost/kept", ALL)[0] == 201
    assert api.put("/api/permissions/lost/admin", ALL)[0] == 204
    assert api.put("/api/queues/lost/q", {})[0] == 201
    assert api.delete("/api/vhosts/lost")[0] == 204
    assert api.delete("/api/users/lost")[0] == 204
    before = api.get("/api/definitions")[1]
    running.kill()
    with brokers.Bourse(tmp_path / "bourse.yaml", **arguments) as running:
        api = api_of(running)
        assert api.get("/api/global-parameters/kept")[1]["value"] == {"a": 1}
        (entry,) = [entry for entry in api.get("/api/bourse/audit")[1]["entries"] if entry["action"] == "pause"]
        assert (entry["action"], entry["queue"], entry["user"], entry["note"]) == (
            "pause", "q", "admin", "for the test")
        shown = api.get("/api/vhosts/kept")[1]
        assert (shown["description"], shown["tags"]) == ("why", ["a", "b"])
        after = api.get("/api/definitions")[1]
        for key in before:
            if isinstance(before[key], list):
                # Of the file's own users the file says what they may, at every start.
                order = [sorted(json.dumps(row) for row in side[key]
                                if row.get("user") not in ("admin", "operator", "service"))
                         for side in (before, after)]
                assert order[0] == order[1], key
        assert api.delete("/api/vhosts/kept")[0] == 400
        assert api_of(running, "kept", "p").get("/api/overview")[0] == 200
        assert api.delete("/api/users/lost")[0] == 404


# What tools ask for -------------------------------------------------------------------------------

def test_small_routes_answer_as_tools_expect(api):
    assert api.get("/api/parameters") == (200, [])
    assert api.get("/api/parameters/shovel/%2F/s")[0] == 404
    status, error = api.put("/api/parameters/shovel/%2F/s", {"value": {}})
    assert status == 400 and "component shovel not found" in error["reason"]
    api.put("/api/queues/%2F/acted", {})
    assert api.post("/api/queues/%2F/acted/actions", {"action": "sync"})[0] == 204
    assert api.post("/api/queues/%2F/acted/actions", {"action": "jump"})[0] == 400
    assert api.post("/api/login", {})[1]["name"] == "admin"
    assert api.delete("/api/reset")[0] == 204
    assert api.post("/api/rebalance/queues", {})[0] == 204


def test_global_parameters_are_kept(api):
    value = {"a": [1, None, "ü"], "b": 1.5}
    assert api.get("/api/global-parameters") == (200, [])
    assert api.put("/api/global-parameters/x%2Fy", {"name": "x/y", "value": value})[0] == 201
    assert api.put("/api/global-parameters/x%2Fy", {"value": value})[0] == 204
    assert api.put("/api/global-parameters/n", {"value": None})[0] == 201
    assert api.get("/api/global-parameters/x%2Fy") == (200, {"name": "x/y", "value": value})
    assert [row["name"] for row in api.get("/api/global-parameters")[1]] == ["n", "x/y"]
    defined = api.get("/api/definitions")[1]["global_parameters"]
    assert {row["name"]: row["value"] for row in defined} == {"n": None, "x/y": value}
    status, error = api.put("/api/global-parameters/z", {"valu": 1})
    assert status == 400 and "value" in error["reason"]
    status, error = api.put("/api/global-parameters/z", {"value": "x" * 40000})
    assert status == 400 and "32768" in error["reason"]
    for name in ("x%2Fy", "n"):
        assert api.delete("/api/global-parameters/" + name)[0] == 204
        assert api.delete("/api/global-parameters/" + name)[0] == 404
    assert api.post("/api/definitions", {"global_parameters": [{"name": "in", "value": 7}]})[0] == 204
    assert api.get("/api/global-parameters/in")[1]["value"] == 7
    assert api.delete("/api/global-parameters/in")[0] == 204


def test_a_cluster_has_the_name_that_it_is_given(broker, api):
    name = api.get("/api/cluster-name")[1]["name"]
    assert name == api.get("/api/overview")[1]["node"]
    assert api.put("/api/cluster-name", {"name": 'a "b" ü'})[0] == 204
    assert api.get("/api/cluster-name") == (200, {"name": 'a "b" ü'})
    assert api.get("/api/overview")[1]["cluster_name"] == 'a "b" ü'
    assert api.get("/api/global-parameters/cluster_name")[1]["value"] == 'a "b" ü'
    metrics = Api(broker.addresses["metrics"][0], "", "").get("/metrics")[1]
    assert r'rabbitmq_cluster="a \"b\" ü"' in (
        metrics if isinstance(metrics, str) else metrics.decode())
    assert api.put("/api/cluster-name", {"name": ""})[0] == 400
    assert api.delete("/api/global-parameters/cluster_name")[0] == 204
    assert api.get("/api/cluster-name")[1]["name"] == name


def test_parameters_are_another_way_to_operator_policies_and_limits(api):
    path = "/api/parameters/operator_policy/%2F/capped"
    policy = {"pattern": "^c", "apply-to": "queues", "definition": {"max-length": 7},
              "priority": 2}
    assert api.put(path, {"value": policy})[0] == 201
    assert api.put(path, {"value": policy})[0] == 204
    row = {"component": "operator_policy", "vhost": "/", "name": "capped", "value": policy}
    assert api.get(path) == (200, row)
    assert api.get("/api/operator-policies/%2F/capped")[1]["definition"] == {"max-length": 7}
    limits = "/api/parameters/vhost-limits/%2F/limits"
    assert api.put(limits, {"value": {"max-queues": 5000}})[0] == 204
    assert api.get("/api/parameters/vhost-limits") == (200, [
        {"component": "vhost-limits", "vhost": "/", "name": "limits",
         "value": {"max-queues": 5000}}])
    assert [row["component"] for row in api.get("/api/parameters")[1]] == [
        "operator_policy", "vhost-limits"]
    assert api.get("/api/vhost-limits/%2F")[1][0]["value"] == {"max-queues": 5000}
    assert api.get("/api/definitions")[1]["parameters"] == api.get("/api/parameters")[1]
    for wrong, body in ((path, {"value": {"pattern": "("}}), (path, {"value": []}), (path, {}),
                        (limits, {"value": {"max-queues": "x"}}),
                        (limits.replace("limits/%2F/limits", "limits/%2F/other"), {"value": {}}),
                        (path.replace("operator_policy", "policy"), {"value": policy})):
        assert api.put(wrong, body)[0] == 400, (wrong, body)
    for gone in (path, limits):
        assert api.delete(gone)[0] == 204
        assert api.get(gone)[0] == 404
    assert api.delete(path)[0] == 404
    assert api.get("/api/parameters") == (200, [])


# What this broker has none of is not set without a word.
@pytest.mark.parametrize("kind", ["policies", "operator-policies"])
def test_keys_of_policies_that_do_nothing_are_told(broker, api, kind):
    path = f"/api/{kind}/%2F/foreign"
    federated = {"federation-upstream-set": "all", "max-length": 5}
    definition = federated if kind == "policies" else {"max-length": 5}
    assert api.put(path, {"pattern": "^none$", "definition": definition})[0] == 201
    assert api.headers.get("X-Bourse-Without-Effect") == \
        ("federation-upstream-set" if kind == "policies" else None)
    shown = api.get(path)[1]
    assert shown.get("bourse") == \
        ({"without_effect": ["federation-upstream-set"]} if kind == "policies" else None)
    assert api.delete(path)[0] == 204
    if kind == "policies":
        broker.log.wait_for('policy.keys_without_effect .*foreign.*keys="federation-upstream-set"')


def test_a_policy_for_streams_does_nothing_and_says_so(broker, api):
    path = "/api/policies/%2F/streams-only"
    assert api.put(path, {"pattern": "^none$", "definition": {"max-age": "1h"},
                          "apply-to": "streams"})[0] == 201
    assert api.headers["X-Bourse-Without-Effect"] == "there are no streams"
    assert api.get(path)[1]["bourse"] == {"without_effect": ["max-age"]}
    broker.log.wait_for('policy.keys_without_effect .*streams-only.*keys="max-age"')
    assert api.delete(path)[0] == 204


# null is no number: it must not become the limit that lets nobody in.
@pytest.mark.parametrize("path", ["/api/vhost-limits/%2F/max-connections",
                                  "/api/user-limits/admin/max-connections"])
def test_a_limit_of_null_is_none_at_all(api, path):
    assert api.put(path, {"value": None}) == (400, {"error": "bad_request",
                                                    "reason": '"value" is missing'})
    assert [row for row in api.get(path.rsplit("/", 1)[0])[1] if "max-connections" in row["value"]] == []


def test_a_user_comes_with_limits(api):
    path = "/api/users/bounded"
    body = {"password": "word", "tags": "", "limits": {"max-channels": 4}}
    assert api.put(path, body)[0] == 201 and api.get(path)[1]["limits"] == {"max-channels": 4}
    assert api.put(path, {**body, "limits": {"max-connections": 2}})[0] == 204
    assert api.get(path)[1]["limits"] == {"max-channels": 4, "max-connections": 2}
    assert api.put(path, {**body, "limits": {"max-channels": -1}})[0] == 204
    assert api.get(path)[1]["limits"] == {"max-connections": 2}
    for limits in ([], 5, {"max-queues": 5}, {"max-channels": "many"}, {"max-channels": 2**40}):
        assert api.put(path, {**body, "limits": limits})[0] == 400, limits
    assert api.delete(path)[0] == 204


def test_topic_permissions_are_set_at_the_path_of_their_exchange(api):
    api.put("/api/users/topical", {"password": "word", "tags": ""})
    api.put("/api/permissions/%2F/topical", ALL)
    path = "/api/topic-permissions/%2F/topical/amq.topic"
    assert api.put(path, {"write": "^a", "read": "^b"})[0] == 201
    assert api.get(path) == (200, [{"user": "topical", "vhost": "/", "exchange": "amq.topic",
                                    "write": "^a", "read": "^b"}])
    assert api.put(path, {"exchange": "amq.topic", "write": "", "read": ""})[0] in (201, 204)
    assert api.put(path, {"exchange": "other", "write": "", "read": ""})[0] == 400
    assert api.delete("/api/users/topical")[0] == 204


# Where old checks and tools look.
def test_routes_of_older_tools_answer(api):
    node = api.get("/api/overview")[1]["node"]
    assert api.get("/api/healthchecks/node") == (200, {"status": "ok"})
    assert api.get(f"/api/healthchecks/node/{node}") == (200, {"status": "ok"})
    assert api.get("/api/healthchecks/node/other@host")[0] == 404
    assert api.get(f"/api/auth/attempts/{node}/source") == (200, [])
    assert api.post(f"/api/vhosts/%2F/start/{node}", {})[0] == 204
    assert api.post("/api/vhosts/%2F/start/other@host", {})[0] == 404
    assert api.post(f"/api/vhosts/none/start/{node}", {})[0] == 404
    assert api.get("/api/health/checks/protocol-listener/AMQP091") == \
        (200, {"status": "ok", "protocol": "amqp"})


def test_the_default_exchange_has_no_bindings_to_make(api):
    api.put("/api/queues/%2F/by-itself", {})
    for path in ("amq.default/q/by-itself", "amq.topic/e/amq.default"):
        status, error = api.post(f"/api/bindings/%2F/e/{path}", {"routing_key": "k"})
        assert status == 401 and "not permitted on the default exchange" in error["reason"]


@pytest.mark.parametrize("properties", [5, "x", True, None, 1.5, [1]])
def test_properties_of_another_type_are_refused(api, properties):
    status, error = api.post("/api/exchanges/%2F/amq.default/publish",
                             {"properties": properties, "routing_key": "x", "payload": "x",
                              "payload_encoding": "string"})
    assert status == 400 and '"properties"' in error["reason"]


# Seam of the description: what is described is served, and who may not is told so.
ROLES = {"any role": {"admin", "operator", "monitor"}, "role monitor": {"admin", "operator", "monitor"},
         "role operator": {"admin", "operator"}, "role admin": {"admin"}}


def described(api):
    status, description = api.get("/api/openapi.json")
    assert status == 200 and description["openapi"] == "3.1.0"
    for path, operations in description["paths"].items():
        for method, operation in operations.items():
            yield path, method.upper(), operation


@pytest.mark.parametrize("user", ["admin", "operator", "monitor", "service"])
def test_every_route_is_for_the_roles_that_its_description_says(broker, api, user):
    """A wrong name everywhere: what a role may not do is 401, and says so."""
    checked = 0
    for path, method, operation in described(api):
        if not operation["security"]:
            continue
        allowed = user in next(
            users for role, users in ROLES.items() if role in operation["description"])
        if allowed and method != "GET" and "{" not in path:
            continue  # it would be done
        if path == "/api/bourse/session" or (allowed and path == "/api/bourse/events"):
            continue  # credentials are in the body, and events have no end (test_sessions.py)
        caller = api_of(broker, user)
        filled = path
        for name in [p["name"] for p in operation["parameters"]]:
            filled = filled.replace("{" + name + "}", "%2F" if name == "vhost" else "no-such")
        if allowed and filled in ("/api/vhosts/%2F", "/api/vhosts/%2F/deletion/protection"):
            continue
        body = "[]" if method in ("PUT", "POST") else None
        status, answer = caller.call(method, filled, body)
        is_by_role = status == 401 and not answer["reason"].startswith("ACCESS_REFUSED")
        assert is_by_role == (not allowed), (method, path, status, answer)
        assert status != 405, (method, path)
        checked += 1
    assert checked > 40


def test_the_description_has_every_row_of_the_table(api):
    with open(brokers.REPOSITORY + "/management/routes/table.c", encoding="utf-8") as text:
        rows = text.read().count("{ROUTE_")
    assert len(list(described(api))) == rows


# RabbitMQ's own tool ------------------------------------------------------------------------------

def test_rabbitmqadmin_declares_deletes_exports_and_imports(broker, api, tmp_path):
    script = shutil.which("rabbitmqadmin")
    if script is None:
        pytest.skip("there is no rabbitmqadmin here")
    host, port = broker.addresses["http"][0]

    def run(*words):
        result = subprocess.run(["python3", script, "-H", host, "-P", str(port), "-u", "admin",
                                 "-p", "secret", *words], capture_output=True, text=True,
                                timeout=20)
        assert result.returncode == 0, (words, result.stdout + result.stderr)
        return result.stdout

    run("declare", "vhost", "name=tool", "tracing=false")
    run("declare", "user", "name=tool", "password=x", "tags=management")
    run("declare", "permission", "vhost=tool", "user=tool", "configure=.*", "write=.*", "read=.*")
    run("declare", "permission", "vhost=tool", "user=admin", "configure=.*", "write=.*", "read=.*")
    run("-V", "tool", "declare", "exchange", "name=x", "type=topic")
    run("-V", "tool", "declare", "queue", "name=q", "durable=true")
    run("-V", "tool", "declare", "binding", "source=x", "destination=q", "routing_key=a.b")
    run("-V", "tool", "declare", "policy", "name=p", "pattern=.*", 'definition={"max-length":5}',
        "apply-to=queues")
    run("declare", "operator_policy", "--vhost=tool", "name=o", "pattern=.*",
        'definition={"max-length":4}', "apply-to=queues")
    run("declare", "vhost_limit", "vhost=tool", "name=max-queues", "value=10")
    path = str(tmp_path / "out.json")
    run("export", path)
    run("-V", "tool", "delete", "binding", "source=x", "destination=q", "destination_type=queue",
        "properties_key=a.b")
    run("-V", "tool", "delete", "queue", "name=q")
    run("-V", "tool", "delete", "exchange", "name=x")
    run("-V", "tool", "delete", "policy", "name=p")
    run("delete", "operator_policy", "--vhost=tool", "name=o")
    run("delete", "vhost_limit", "vhost=tool", "name=max-queues")
    run("delete", "permission", "vhost=tool", "user=tool")
    run("import", path)
    assert [b["routing_key"] for b in api.get("/api/definitions/tool")[1]["bindings"]] == ["a.b"]
    run("delete", "user", "name=tool")
    run("delete", "vhost", "name=tool")
    assert "tool" not in [v["name"] for v in api.get("/api/definitions")[1]["vhosts"]]


# The oracle ---------------------------------------------------------------------------------------

# Requests as Terraform's provider and the Kubernetes operators (both by rabbit-hole), rabbitmqadmin
# and NServiceBus send them, in an order in which each finds what it needs.
SCRIPT = [
    ("PUT", "/api/vhosts/s", {"description": "d", "tags": "a,b", "tracing": False}),
    ("GET", "/api/vhosts/s", None),
    ("PUT", "/api/vhosts/s", {}),
    ("PUT", "/api/users/su", {"password": "p", "tags": "management"}),
    ("PUT", "/api/users/su", {"password": "p2", "tags": "management,policymaker"}),
    ("PUT", "/api/users/sv", {"password_hash": salted("sha256", b"pw"), "tags": "",
                              "hashing_algorithm": "rabbit_password_hashing_sha256"}),
    ("PUT", "/api/users/sw", {"password": "p"}),
    ("PUT", "/api/permissions/s/su", ALL),
    ("PUT", "/api/permissions/s/su", ALL),
    ("PUT", "/api/permissions/s/nobody", ALL),
    ("PUT", "/api/permissions/s/su", {"configure": ".*"}),
    ("PUT", "/api/permissions/s/ME", ALL),
    ("PUT", "/api/topic-permissions/s/su", {"exchange": "amq.topic", "write": ".*", "read": ".*"}),
    ("PUT", "/api/exchanges/s/x", {"type": "topic", "durable": True, "auto_delete": False,
                                   "arguments": {}}),
    ("PUT", "/api/exchanges/s/x", {"type": "topic", "durable": True, "auto_delete": False}),
    ("PUT", "/api/exchanges/s/x", {"type": "direct"}),
    ("PUT", "/api/exchanges/s/y", {}),
    ("PUT", "/api/exchanges/s/y", {"type": "fanout"}),
    ("PUT", "/api/queues/s/q", {"durable": True, "auto_delete": False, "arguments": {}}),
    ("POST", "/api/bindings/s/e/x/q/q", {"routing_key": "k", "arguments": {}}),
    ("POST", "/api/bindings/s/e/x/q/q", {"routing_key": "k", "arguments": {}}),
    ("POST", "/api/exchanges/s/x/publish", {"properties": {}, "routing_key": "k", "payload": "p",
                                            "payload_encoding": "string"}),
    ("POST", "/api/exchanges/s/x/publish", {"properties": {"delivery_mode": 2}, "routing_key": "k",
                                            "payload": "cA==", "payload_encoding": "base64"}),
    ("POST", "/api/queues/s/q/get", {"count": 1, "ackmode": "ack_requeue_true",
                                     "encoding": "auto"}),
    ("POST", "/api/queues/s/q/get", {"count": 1, "ackmode": "ack_requeue_false",
                                     "encoding": "base64", "truncate": 10}),
    ("POST", "/api/queues/s/none/get", {"count": 1, "ackmode": "ack_requeue_true",
                                        "encoding": "auto"}),
    ("DELETE", "/api/queues/s/q/contents", None),
    ("DELETE", "/api/queues/s/none/contents", None),
    ("GET", "/api/bindings/s/e/x/q/q", None),
    ("GET", "/api/bindings/s/e/x/q/q/k", None),
    ("GET", "/api/bindings/s/e/x/q/q/none", None),
    ("PUT", "/api/policies/s/nsb.delivery-limit", {"pattern": "^q$", "apply-to": "queues",
                                                   "definition": {"max-length": 9},
                                                   "priority": 0}),
    ("DELETE", "/api/policies/s/nsb.delivery-limit", None),
    ("POST", "/api/bindings/s/e/x/q/none", {"routing_key": "k", "arguments": {}}),
    ("POST", "/api/bindings/s/e/x/e/y", {"routing_key": "#"}),
    ("DELETE", "/api/exchanges/s/x?if-unused=true", None),
    ("DELETE", "/api/bindings/s/e/x/q/q/k", None),
    ("DELETE", "/api/bindings/s/e/x/q/q/k", None),
    ("DELETE", "/api/bindings/s/e/x/e/y/%23", None),
    ("PUT", "/api/policies/s/p", {"pattern": "^a", "definition": {"max-length": 1},
                                  "priority": 0, "apply-to": "queues"}),
    ("PUT", "/api/policies/s/p", {"pattern": "^b", "definition": {"max-length": 1},
                                  "priority": 0, "apply-to": "queues"}),
    ("PUT", "/api/policies/s/bad", {"pattern": "^a", "definition": {"nonsense": 1}}),
    ("PUT", "/api/policies/s/bad", {"pattern": "^a"}),
    ("PUT", "/api/operator-policies/s/o", {"pattern": "^a", "definition": {"max-length": 1},
                                           "priority": 0, "apply-to": "queues"}),
    ("PUT", "/api/vhost-limits/s/max-queues", {"value": 5}),
    ("PUT", "/api/user-limits/su/max-channels", {"value": 5}),
    ("PUT", "/api/parameters/nothing/s/n", {"value": {}}),
    ("GET", "/api/parameters", None),
    ("GET", "/api/parameters/vhost-limits/s", None),
    ("GET", "/api/parameters/vhost-limits/s/limits", None),
    ("GET", "/api/parameters/operator_policy/s/o", None),
    ("GET", "/api/parameters/operator_policy/s/none", None),
    ("PUT", "/api/parameters/policy/s/n", {"value": {}}),
    ("PUT", "/api/parameters/vhost-limits/s/limits", {"value": {"max-queues": 6}}),
    ("DELETE", "/api/parameters/operator_policy/s/none", None),
    ("PUT", "/api/global-parameters/g", {"name": "g", "value": {"a": 1}}),
    ("PUT", "/api/global-parameters/g", {"value": 2}),
    ("PUT", "/api/global-parameters/g", {}),
    ("GET", "/api/global-parameters/g", None),
    ("DELETE", "/api/global-parameters/g", None),
    ("DELETE", "/api/global-parameters/g", None),
    ("GET", "/api/global-parameters/g", None),
    ("PUT", "/api/cluster-name", {"name": "named"}),
    ("GET", "/api/cluster-name", None),
    ("POST", "/api/queues/s/q/actions", {"action": "sync"}),
    ("POST", "/api/definitions", {"queues": [{"name": "d", "vhost": "s", "durable": True,
                                              "auto_delete": False, "arguments": {}}]}),
    ("POST", "/api/definitions/s", {"queues": [{"name": "e", "durable": True,
                                                "auto_delete": False, "arguments": {}}]}),
    ("DELETE", "/api/vhost-limits/s/max-queues", None),
    ("DELETE", "/api/user-limits/su/max-channels", None),
    ("DELETE", "/api/policies/s/p", None),
    ("DELETE", "/api/policies/s/p", None),
    ("DELETE", "/api/operator-policies/s/o", None),
    ("DELETE", "/api/queues/s/q", None),
    ("DELETE", "/api/exchanges/s/x", None),
    ("DELETE", "/api/exchanges/s/x", None),
    ("DELETE", "/api/topic-permissions/s/su", None),
    ("DELETE", "/api/permissions/s/su", None),
    ("DELETE", "/api/permissions/s/su", None),
    ("POST", "/api/users/bulk-delete", {"users": ["sv"]}),
    ("DELETE", "/api/users/su", None),
    ("DELETE", "/api/users/su", None),
    ("DELETE", "/api/vhosts/s", None),
    ("DELETE", "/api/vhosts/s", None),
]


def test_statuses_are_those_of_rabbitmq(api):
    if not brokers.RabbitMQ.installed():
        pytest.skip("there is no rabbitmq-server here")
    with brokers.RabbitMQ(management=True) as peer:
        other = Api(peer.http, "guest", "guest")
        differences = []
        for method, path, body in SCRIPT:
            answers = [side.call(method, path.replace("ME", side.user), body)
                       for side in (api, other)]
            # RabbitMQ 3.10 says 400 for an exchange in use; later ones and queues say 412.
            if answers[0][0] != answers[1][0] and "if-unused" not in path:
                differences.append((method, path, body, answers))
            elif method == "GET" and answers[0][0] == 200:
                shown = [body if isinstance(body, (dict, list)) else json.loads(body)
                         for _, body in answers]
                if "/vhosts/" in path:
                    shown = [{key: one[key] for key in ("name", "description", "tags", "tracing")}
                             for one in shown]
                if path == "/api/parameters":
                    shown = [sorted(one, key=str) for one in
                             ([sorted(row.items()) for row in one] for one in shown)]
                if shown[0] != shown[1]:
                    differences.append((path, shown))
            if method == "POST" and answers[0][0] == answers[1][0] == 201:
                places = [{name.lower(): text for name, text in side.headers.items()}["location"]
                          for side in (api, other)]
                ends = [place.rsplit("/", 1)[-1] for place in places]
                assert ends[0] == ends[1], path
        assert not differences, "\n".join(map(str, differences))


# Commands -----------------------------------------------------------------------------------------

def test_commands_change_a_running_broker(broker, api, tmp_path):
    """Through the control socket, as the local administrator."""
    (tmp_path / "pw").write_text("word\n")
    for words in (["vhost", "add", "cli"],
                  ["user", "add", "cliff", "--role", "operator", "--password-file",
                   str(tmp_path / "pw")],
                  ["user", "rights", "cliff", ".*", ".*", ".*", "--vhost", "cli"],
                  ["exchange", "declare", "x", "--type", "topic", "--vhost", "cli"],
                  ["queue", "declare", "q", "--vhost", "cli"],
                  ["binding", "add", "x", "q", "--vhost", "cli"],
                  ["policy", "set", "p", ".*", '{"max-length": 5}', "--vhost", "cli"],
                  ["policy", "set", "o", ".*", '{"max-length": 4}', "--operator", "--vhost",
                   "cli"]):
        done = brokers.run_command(*words, "--context", broker.data_dir + "/bourse.sock")
        assert done.returncode == 0, (words, done.stdout, done.stderr)
    assert api_of(broker, "cliff", "word").get("/api/queues/cli")[0] == 200
    out = api.get("/api/definitions/cli")[1]
    assert [len(out[key]) for key in ("queues", "exchanges", "bindings")] == [1, 1, 1]
    for words in (["policy", "delete", "p", "--vhost", "cli"],
                  ["policy", "delete", "o", "--operator", "--vhost", "cli"],
                  ["exchange", "delete", "x", "--vhost", "cli"],
                  ["user", "rights", "cliff", "--clear", "--vhost", "cli"],
                  ["user", "delete", "cliff"], ["vhost", "delete", "cli"]):
        done = brokers.run_command(*words, "--context", broker.data_dir + "/bourse.sock")
        assert done.returncode == 0, (words, done.stdout, done.stderr)
    assert "vhost.deleted by=\"(local)\" vhost=\"cli\"" in broker.log.text()
