# SPDX-License-Identifier: Apache-2.0
"""What Debian's rabbitmq-server exports goes into Bourse: by file, and straight from its interface."""

import base64
import http.client
import json
import os

import pytest

from support import amqp
from support import broker as brokers
from support.api import Api

pytestmark = pytest.mark.skipif(not brokers.RabbitMQ.installed(),
                                reason="rabbitmq-server is not installed")

# Method and path below /api, and body: what somebody has in production.
OBJECTS = [
    ("PUT", "vhosts/shop", {}),
    ("PUT", "users/billing", {"password": "till", "tags": "monitoring"}),
    ("PUT", "permissions/shop/guest", {"configure": ".*", "write": ".*", "read": ".*"}),
    ("PUT", "permissions/shop/billing", {"configure": "^$", "write": "^orders$",
                                         "read": "^(billing|dlq)$"}),
    ("PUT", "topic-permissions/shop/billing", {"exchange": "orders", "write": "^eu\\.",
                                               "read": ".*"}),
    ("PUT", "exchanges/shop/orders", {"type": "topic", "durable": True,
                                      "arguments": {"alternate-exchange": "lost"}}),
    ("PUT", "exchanges/shop/lost", {"type": "fanout", "durable": True}),
    ("PUT", "exchanges/shop/shares", {"type": "x-consistent-hash", "durable": True}),
    ("PUT", "queues/shop/billing", {"durable": True, "arguments": {
        "x-queue-type": "quorum", "x-dead-letter-exchange": "", "x-delivery-limit": 5,
        "x-dead-letter-routing-key": "dlq"}}),
    ("PUT", "queues/shop/dlq", {"durable": True, "arguments": {"x-message-ttl": 86400000}}),
    ("PUT", "queues/shop/urgent", {"durable": True, "arguments": {"x-max-priority": 5}}),
    ("PUT", "queues/shop/lost", {"durable": True, "arguments": {"x-max-length": 1000,
                                                                "x-overflow": "reject-publish"}}),
    ("POST", "bindings/shop/e/orders/q/billing", {"routing_key": "eu.#"}),
    ("POST", "bindings/shop/e/orders/q/urgent", {"routing_key": "*.urgent"}),
    ("POST", "bindings/shop/e/lost/q/lost", {}),
    ("POST", "bindings/shop/e/shares/q/urgent", {"routing_key": "1"}),
    ("POST", "bindings/shop/e/amq.headers/q/dlq", {"arguments": {"x-match": "any", "n": 5}}),
    ("PUT", "policies/shop/short", {"pattern": "^urgent$", "definition": {"message-ttl": 60000},
                                    "apply-to": "queues", "priority": 3}),
]


# What both say of the same object in words of their own.
OURS = {"metadata", "protected_from_deletion", "default_queue_type"}


def ask(server, method, path, body):
    connection = http.client.HTTPConnection(*server.http, timeout=30)
    connection.request(method, f"/api/{path}", json.dumps(body), {
        "Authorization": "Basic " + base64.b64encode(b"guest:guest").decode(),
        "Content-Type": "application/json"})
    answer = connection.getresponse()
    text = answer.read()
    connection.close()
    assert answer.status < 300, (method, path, answer.status, text)


@pytest.fixture(name="server", scope="module")
def fixture_server():
    with brokers.RabbitMQ(management=True) as server:
        for method, path, body in OBJECTS:
            ask(server, method, path, body)
        yield server


@pytest.fixture(name="export", scope="module")
def fixture_export(server, tmp_path_factory):
    path = tmp_path_factory.mktemp("export") / "definitions.json"
    server.ctl("export_definitions", str(path))
    return path


def run(*words, **options):
    return brokers.run_command(*words, **options)


def test_an_export_of_rabbitmq_becomes_a_file_that_is_good(export, tmp_path):
    made = run("import", str(export), "--vhost", "shop", "--out", str(tmp_path / "out"))
    assert made.returncode == 0, made.stderr
    path = tmp_path / "out" / "shop.yaml"
    checked = run("check", str(path))
    assert checked.returncode == 0, checked.stderr + path.read_text()
    routed = run("route", "orders", "eu.urgent", "-u", "billing", "--file", str(path))
    assert routed.returncode == 0 and '"billing"' in routed.stdout and '"urgent"' in routed.stdout
    refused = run("route", "orders", "us.urgent", "-u", "billing", "--file", str(path))
    assert refused.returncode == 1 and "REFUSED: 403" in refused.stdout


def test_an_export_of_rabbitmq_goes_into_a_running_broker(export):
    with brokers.Bourse() as broker:
        context = os.path.join(broker.data_dir, "bourse.sock")
        words = ("import", str(export), "--vhost", "shop", "--apply")
        unsure = run(*words, "--context", context, input="")
        assert unsure.returncode == 1 and "--yes" in unsure.stderr
        done = run(*words, "--yes", "--context", context)
        assert done.returncode == 0, done.stderr
        assert "+ queue billing" in done.stdout and "+ user billing" in done.stdout
        again = run(*words, "--yes", "--context", context)
        assert again.returncode == 0 and "nothing to do" in again.stdout
        # The password is RabbitMQ's hash of it; so are the rights.
        broker.connect().open(vhost="shop", user="billing", password="till").close()
        channel = broker.connect().open(vhost="shop", user="billing", password="till").channel()
        channel.call("queue.declare", queue="billing", passive=True)


def test_a_running_rabbitmq_is_exported_by_its_address(server, export, tmp_path):
    home = {**os.environ, "XDG_CONFIG_HOME": str(tmp_path), "RABBIT_PW": "guest"}
    url = "http://{}:{}".format(*server.http)
    added = run("context", "add", "rabbit", "--url", url, "--user", "guest", "--password-env",
                "RABBIT_PW", env=home)
    assert added.returncode == 0, added.stderr
    exported = run("export", "--context", "rabbit", "--vhost", "shop", env=home)
    assert exported.returncode == 0, exported.stderr
    written = run("export", "--from", str(export), "--vhost", "shop")
    assert sorted(exported.stdout.splitlines()) == sorted(written.stdout.splitlines())
    drawn = run("export", "--context", "rabbit", "--vhost", "shop", "--format", "dot", env=home)
    assert drawn.stdout.startswith("digraph") and '"x:orders"' in drawn.stdout
    several = run("export", "--context", "rabbit", env=home)
    assert several.returncode == 1 and "--vhost" in several.stderr
    missing = run("export", "--context", "rabbit", "--vhost", "none", env=home)
    assert missing.returncode == 1 and 'no vhost "none"' in missing.stderr


# Straight from one interface into the other and back: hashes stay what they are, and passwords good.
def test_definitions_go_from_interface_to_interface_and_back(server):
    def may_log_in(broker, user, password):
        try:
            broker.open(vhost="shop", user=user, password=password).close()
        except (amqp.Closed, amqp.Unexpected):
            return False
        return True

    def parts_of(definitions):
        return {name: sorted(json.dumps({key: value for key, value in row.items() if key not in OURS}, sort_keys=True)
                             for row in definitions[name])
                for name in ("users", "permissions", "topic_permissions", "policies", "queues", "exchanges", "bindings")}

    theirs = Api(server.http)
    exported = theirs.found("definitions")
    of_shop = theirs.found("definitions/shop")
    with brokers.Bourse(listen=("amqp", "http")) as broker:
        ours = Api(broker.addresses["http"][0])
        assert ours.call("POST", "definitions", exported)[0] == 204
        taken = ours.found("definitions")
        assert parts_of(taken) == parts_of(exported)
        assert may_log_in(broker, "billing", "till") and not may_log_in(broker, "billing", "other")
        assert ours.call("PUT", "vhosts/copy", {})[0] == 201
        assert ours.call("POST", "definitions/copy", of_shop)[0] == 204
        copied = ours.found("definitions/copy")
        assert [len(copied[part]) for part in ("queues", "exchanges", "bindings", "policies")] == \
            [len(of_shop[part]) for part in ("queues", "exchanges", "bindings", "policies")]
        assert ours.call("DELETE", "vhosts/copy")[0] == 204
        for vhost in ("shop", "copy"):
            assert theirs.call("PUT", f"vhosts/{vhost}", {})[0] in (201, 204)
        for name in ("billing",):
            assert theirs.call("DELETE", f"users/{name}")[0] == 204
        assert theirs.call("POST", "definitions", taken)[0] in (201, 204)
        assert theirs.call("POST", "definitions/copy", ours.found("definitions/shop"))[0] in (201, 204)
    assert may_log_in(server, "billing", "till") and not may_log_in(server, "billing", "other")
    assert theirs.call("DELETE", "vhosts/copy")[0] == 204
    assert parts_of(theirs.found("definitions")) == parts_of(exported)


# What a new password here is hashed by RabbitMQ does not know, and says so.
def test_a_password_that_was_set_here_is_set_anew_in_rabbitmq(server):
    with brokers.Bourse(listen=("amqp", "http")) as broker:
        ours = Api(broker.addresses["http"][0])
        made = ours.found("auth/hash_password/till")["ok"]
        for name, body in (("fresh", {"password": "till"}), ("prepared", {"password_hash": made})):
            assert ours.call("PUT", f"users/{name}", {**body, "tags": ""})[0] == 201
            broker.log.wait_for(f'user.created .*user="{name}"')
        users = {row["name"]: row for row in ours.found("definitions")["users"]}
    for name, statuses in (("fresh", (400,)), ("prepared", (201, 204))):
        assert Api(server.http).call("POST", "definitions", {"users": [users[name]]})[0] in statuses, name
