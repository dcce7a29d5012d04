# SPDX-License-Identifier: Apache-2.0
"""Looking at a broker over HTTP: every route shows the same situation as Debian's RabbitMQ does, with
the same names and the same JSON types; each program that reads them finds its fields; and nobody
sees more than he may."""

import contextlib
import shutil
import subprocess
import threading
import time

import pytest

from tests.support import amqp
from tests.support import broker as brokers
from tests.support.api import Api, quoted

CONFIG = """
bourse: 1
server: {rabbitmq-version: "3.13.7"}
vhost: /
exchanges:
  x: {type: topic, from: []}
  y: {type: fanout, from: [{exchange: x, key: ""}]}
queues:
  q: {arguments: {x-max-length: 5}, from: [{exchange: x, key: "a.#", arguments: {k: 1}}]}
policies:
  p: {pattern: "^q", apply-to: queues, definition: {max-length: 3}}
operator-policies:
  o: {pattern: "^q", apply-to: queues, definition: {expires: 3600000}}
limits: {max-queues: 100}
users:
  guest: {auth: password, password-file: guest, role: admin,
          rights: {configure: ".*", write: ".*", read: ".*"}}
  u: {auth: password, password-file: pw, limits: {max-channels: 100},
      rights: {configure: ".*", write: ".*", read: ".*", topics: {x: {write: ".*", read: ".*"}}}}
  watcher: {auth: password, password-file: pw, role: monitor,
            rights: {configure: "", write: "", read: ""}}
listeners:
  amqp: {bind: "127.0.0.1:0"}
  http: {bind: "127.0.0.1:0"}
"""

# The same in RabbitMQ's words.
DEFINITIONS = {
    "exchanges": [{"name": name, "vhost": "/", "type": kind, "durable": True, "auto_delete": False,
                   "internal": False, "arguments": {}} for name, kind in (("x", "topic"),
                                                                          ("y", "fanout"))],
    "queues": [{"name": "q", "vhost": "/", "durable": True, "auto_delete": False,
                "arguments": {"x-max-length": 5}}],
    "bindings": [
        {"source": "x", "vhost": "/", "destination": "q", "destination_type": "queue",
         "routing_key": "a.#", "arguments": {"k": 1}},
        {"source": "x", "vhost": "/", "destination": "y", "destination_type": "exchange",
         "routing_key": "", "arguments": {}}],
    "policies": [{"vhost": "/", "name": "p", "pattern": "^q", "apply-to": "queues",
                  "definition": {"max-length": 3}, "priority": 0}],
    "parameters": [
        {"vhost": "/", "component": "operator_policy", "name": "o",
         "value": {"pattern": "^q", "apply-to": "queues", "definition": {"expires": 3600000},
                   "priority": 0}},
        {"vhost": "/", "component": "vhost-limits", "name": "limits", "value": {"max-queues": 100}}],
}


class Situation:
    """One client that publishes, confirms and consumes; what is asked of it by name."""

    def __init__(self, broker, address):
        self.broker, self.api = broker, Api(address)
        self.connection = broker.open(properties={"connection_name": "the-client",
                                                  "product": "test"})
        channel = self.connection.channel()
        channel.call("basic.qos", prefetch_count=7)
        channel.call("confirm.select")
        channel.call("basic.consume", queue="q", consumer_tag="ct", arguments={"x-priority": 3})
        channel.publish("x", "a.b", b"hello")
        self._wait()
        self.name = self.api.found("connections")[0]["name"]
        self.node = self.api.found("overview")["node"]

    def _wait(self):
        """RabbitMQ's numbers come late, and there is no event that tells."""
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            channels = self.api.found("channels")
            if self.api.found("consumers") and channels and channels[0]["messages_unacknowledged"] \
                    and "message_stats" in channels[0]:
                return
            time.sleep(0.1)
        raise AssertionError("the client does not appear")

    def path(self, path):
        return path.format(connection=quoted(self.name), channel=quoted(self.name + " (1)"),
                           node=quoted(self.node))


@pytest.fixture(name="bourse", scope="module")
def fixture_bourse(tmp_path_factory):
    path = tmp_path_factory.mktemp("reads")
    (path / "pw").write_text("secret\n")
    (path / "guest").write_text("guest\n")
    (path / "bourse.yaml").write_text(CONFIG)
    with brokers.Bourse(path / "bourse.yaml", listen=("amqp", "http")) as running:
        yield Situation(running, running.addresses["http"][0])


@pytest.fixture(name="rabbit", scope="module")
def fixture_rabbit():
    if not brokers.RabbitMQ.installed():
        pytest.skip("rabbitmq-server is not installed")
    with brokers.RabbitMQ(management=True) as running:
        running.import_definitions(DEFINITIONS)
        running.ctl("add_user", "u", "secret")
        running.ctl("set_permissions", "-p", "/", "u", ".*", ".*", ".*")
        running.ctl("set_topic_permissions", "-p", "/", "u", "x", ".*", ".*")
        running.ctl("set_user_limits", "u", '{"max-channels": 100}')
        yield Situation(running, running.http)


# The oracle ---------------------------------------------------------------------------------------

PATHS = """
overview nodes nodes/{node} nodes/{node}/memory cluster-name extensions whoami
connections vhosts/%2F/connections connections/{connection} connections/username/guest
connections/{connection}/channels channels vhosts/%2F/channels channels/{channel}
consumers consumers/%2F
exchanges exchanges/%2F exchanges/%2F/x exchanges/%2F/amq.default exchanges?page=1&page_size=2
exchanges/%2F/x/bindings/source exchanges/%2F/y/bindings/destination
queues queues/%2F queues/%2F/q queues/%2F/q/bindings queues/%2F/q?columns=name,messages
bindings bindings/%2F bindings/%2F/e/x/q/q bindings/%2F/e/x/e/y bindings/%2F/e/x/e/y/~
bindings/%2F/e/amq.default/q/q bindings/%2F/e/none/q/q
vhosts vhosts/%2F users users/guest users/without-permissions users/u/permissions
users/u/topic-permissions user-limits user-limits/u vhost-limits vhost-limits/%2F
permissions permissions/%2F/u vhosts/%2F/permissions
topic-permissions topic-permissions/%2F/u vhosts/%2F/topic-permissions
policies policies/%2F policies/%2F/p operator-policies operator-policies/%2F/o
feature-flags auth/attempts/{node} aliveness-test/%2F
health/checks/alarms health/checks/local-alarms health/checks/virtual-hosts
health/checks/node-is-quorum-critical health/checks/node-is-mirror-sync-critical
health/checks/protocol-listener/amqp health/checks/protocol-listener/mqtt
health/checks/port-listener/1 health/checks/certificate-expiration/1/weeks
health/checks/certificate-expiration/x/weeks
exchanges/%2F/none connections/none channels/none vhosts/none users/none consumers/none
users/none/permissions policies/%2F/none bindings/%2F/e/x/q/q/none connections/username/none
queues/%2F/none
""".split()

# What only Erlang has, and what the broker does not count.
ABSENT = {
    "garbage_collection", "reductions", "reductions_details", "backing_queue_status", "idle_since",
    "sample_retention_policies", "release_series_support_status", "statistics_db_event_queue",
    "cowboy_opts", "ra_open_file_metrics", "ssl_hash", "user_who_performed_action",
    "message_bytes_paged_out", "message_bytes_persistent", "message_bytes_ram",
    "message_bytes_unacknowledged", "messages_paged_out", "messages_persistent", "messages_ram",
    "messages_ready_ram", "messages_unacknowledged_ram", "slave_nodes", "synchronised_slave_nodes",
    "recoverable_slaves", "metrics_gc_queue_length", "disk_reads", "disk_writes",
    "operator_policy", "policy",
}
ABSENT_UNDER = {
    # Counts of Erlang's runtime and of its store.
    "nodes": ("io_", "mnesia_", "msg_store_", "queue_index_", "queue_journal_", "gc_",
              "context_switches", "channel_", "connection_", "queue_", "mem_used_details",
              "disk_free_details", "fd_used_details", "sockets_used_details",
              "proc_used_details"),
    "nodes/{node}/memory": ("connection_", "queue_slave", "quorum_", "stream_", "plugins",
                            "other_proc", "metrics", "mgmt_db", "mnesia", "other_ets", "binary",
                            "msg_index", "code", "atom", "allocated_unused",
                            "reserved_unallocated"),
}


def is_absent(path, key):
    base = "nodes" if path in ("nodes", "nodes/{node}") else path
    return key in ABSENT or key.startswith(ABSENT_UNDER.get(base, ("\0",)))


def is_counter(key):
    """A counter that never moved is absent."""
    return key.removesuffix("_details") in {
        "ack", "confirm", "deliver", "deliver_no_ack", "get", "get_no_ack", "get_empty", "redeliver",
        "drop_unroutable", "return_unroutable", "publish", "publish_in", "publish_out", "deliver_get",
        "disk_reads", "disk_writes"}


def kind_of(value):
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, (int, float)):
        return "number"
    return {str: "text", list: "list", dict: "object", type(None): "null"}[type(value)]


def same(row):
    """What says that two objects of two lists are the same thing."""
    return tuple(str(row.get(key)) for key in ("name", "source", "destination", "routing_key", "user")
                 if key in row)


def differences(path, ours, theirs, at=""):
    """Where `ours` lacks a field of `theirs`, or has another type there."""
    if kind_of(ours) != kind_of(theirs):
        if theirs not in (None, "") and ours is not None:
            yield f"{at}: {kind_of(ours)}, not {kind_of(theirs)}"
        return
    if isinstance(theirs, dict):
        for key, value in theirs.items():
            if key in ours:
                yield from differences(path, ours[key], value, f"{at}.{key}")
            elif not is_absent(path, key) and not is_counter(key):
                yield f"{at}.{key} is missing"
    elif isinstance(theirs, list) and theirs and isinstance(theirs[0], dict):
        if not ours:
            yield f"{at}: an empty list"
        for row in ours[:1]:
            match = next((other for other in theirs if same(other) == same(row)), theirs[0])
            yield from differences(path, row, match, f"{at}[]")


@pytest.mark.parametrize("path", PATHS)
def test_a_route_answers_as_rabbitmq_does(bourse, rabbit, path):
    our_status, ours = bourse.api.get(bourse.path(path))
    their_status, theirs = rabbit.api.get(rabbit.path(path))
    assert our_status == their_status, ours
    found = [] if our_status in (400, 404) else list(differences(path, ours, theirs))
    assert not found, "\n".join(found)


# Values, where both brokers are in the same situation and these cannot differ.
@pytest.mark.parametrize("path, fields", [
    ("exchanges/%2F/x", ["name", "vhost", "type", "durable", "auto_delete", "internal", "arguments"]),
    ("queues/%2F/q", ["name", "vhost", "type", "durable", "exclusive", "arguments", "consumers",
                      "messages", "messages_ready", "messages_unacknowledged", "policy",
                      "operator_policy", "effective_policy_definition", "state"]),
    ("bindings/%2F/e/x/e/y", None), ("exchanges/%2F/y/bindings/destination", None),
    ("bindings/%2F/e/amq.default/q/q", None), ("bindings/%2F/e/x/e/y/~", None),
    ("policies", None), ("policies/%2F/p", None), ("operator-policies", None),
    ("vhost-limits", None), ("vhost-limits/%2F", None), ("user-limits", None), ("user-limits/u", None),
    ("permissions/%2F/u", None), ("users/u/permissions", None), ("users/u/topic-permissions", None),
    ("topic-permissions/%2F/u", None),
    ("channels/{channel}", ["number", "confirm", "transactional", "prefetch_count",
                            "global_prefetch_count", "consumer_count", "messages_unacknowledged",
                            "messages_unconfirmed", "messages_uncommitted", "acks_uncommitted", "user",
                            "vhost", "state"]),
    ("connections/{connection}", ["user", "vhost", "protocol", "state", "channels", "channel_max",
                                  "frame_max", "timeout", "auth_mechanism", "client_properties",
                                  "ssl", "host", "type", "user_provided_name"]),
])
def test_both_brokers_say_the_same(bourse, rabbit, path, fields):
    ours = bourse.api.found(bourse.path(path))
    theirs = rabbit.api.found(rabbit.path(path))
    if fields is not None:
        ours = {field: ours.get(field) for field in fields}
        theirs = {field: theirs.get(field) for field in fields}
    assert ours == theirs


def test_consumers_of_both_are_the_same(bourse, rabbit):
    fields = ("consumer_tag", "ack_required", "exclusive", "prefetch_count", "active",
              "activity_status", "arguments", "queue")
    ours, theirs = bourse.api.found("consumers"), rabbit.api.found("consumers")
    assert [{field: row[field] for field in fields} for row in ours] == \
        [{field: row[field] for field in fields} for row in theirs]
