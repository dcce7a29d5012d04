# SPDX-License-Identifier: Apache-2.0
"""Looking at a broker over HTTP: every route shows the same situation as Debian's RabbitMQ does, with
the same names and the same JSON types; each program that reads them finds its fields; and nobody
sees more than he may."""

import contextlib
import json
import shutil
import subprocess
import time

import pytest

from tests.support import broker as brokers
from tests.support import wire
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

USER = [
    ("users/u", {"password": "secret", "tags": ""}),
    ("permissions/%2F/u", {"configure": ".*", "write": ".*", "read": ".*"}),
    ("topic-permissions/%2F/u", {"exchange": "x", "write": ".*", "read": ".*"}),
    ("user-limits/u/max-channels", {"value": 100}),
]


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
        for path, body in USER:
            assert Api(running.http).call("PUT", path, body)[0] in (201, 204), path
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
    "sample_retention_policies", "release_series_support_status",
    "cowboy_opts", "ra_open_file_metrics", "ssl_hash", "user_who_performed_action",
    "message_bytes_paged_out", "message_bytes_persistent", "message_bytes_ram",
    "messages_paged_out", "messages_persistent", "messages_ram",
    "messages_ready_ram", "messages_unacknowledged_ram", "slave_nodes", "synchronised_slave_nodes",
    "recoverable_slaves", "metrics_gc_queue_length", "disk_reads", "disk_writes",
    "socket_opts", "ssl_opts",
}
# Lists that are empty here.
EMPTY = {"", ".applications", "[].applications", ".cluster_links", "[].cluster_links"}
ABSENT_UNDER = {
    # Octets of a vhost are not counted.
    "vhosts": ("recv_oct", "send_oct"), "vhosts/%2F": ("recv_oct", "send_oct"),
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
            if at.endswith("cluster_state"):
                continue  # the names of nodes
            if key in ours and key not in ABSENT:
                yield from differences(path, ours[key], value, f"{at}.{key}")
            elif not is_absent(path, key) and not is_counter(key):
                yield f"{at}.{key} is missing"
    elif isinstance(theirs, list) and theirs and isinstance(theirs[0], dict):
        if not ours and not (at in EMPTY and path in ("extensions", "nodes", "nodes/{node}")):
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
                      "operator_policy", "effective_policy_definition", "state", "message_bytes",
                      "message_bytes_ready", "message_bytes_unacknowledged"]),
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


# Who reads what ---------------------------------------------------------------------------------

# product.md 5.1: the programs that ask, what they ask, and the fields without which they fail.
READERS = [
    ("KEDA", "queues/%2F/q", ["name", "messages", "messages_ready", "messages_unacknowledged",
                              "message_stats.publish_details.rate",
                              "message_stats.deliver_get_details.rate"]),
    ("KEDA", "queues/%2F?page=1&use_regex=true&pagination=false&name=%5Eq&page_size=100",
     ["items", "page_count", "items.0.name", "items.0.messages"]),
    ("NServiceBus", "overview", ["rabbitmq_version", "product_name", "cluster_name", "node"]),
    ("NServiceBus", "queues/%2F/q", ["type", "arguments", "effective_policy_definition", "policy",
                                     "operator_policy"]),
    ("NServiceBus", "queues/%2F/?page=1&page_size=500", ["items.0.name", "page_count", "page"]),
    ("NServiceBus", "exchanges/%2F/y/bindings/destination",
     ["0.source", "0.destination", "0.destination_type", "0.routing_key", "0.properties_key"]),
    ("NServiceBus", "queues/%2F/q/bindings", ["0.source", "0.routing_key", "0.properties_key"]),
    ("Spring AMQP", "queues/%2F/q", ["node", "leader", "name"]),
    ("Spring AMQP", "aliveness-test/%2F", ["status"]),
    ("rabbitmqadmin v2", "overview", ["product_name", "product_version", "rabbitmq_version",
                                      "erlang_version", "management_version", "churn_rates",
                                      "object_totals", "queue_totals", "listeners.0.port",
                                      "contexts.0.port", "statistics_db_event_queue"]),
    ("rabbitmqadmin v2", "nodes", ["0.name", "0.uptime", "0.run_queue", "0.processors", "0.os_pid",
                                   "0.fd_total", "0.proc_total", "0.sockets_total", "0.mem_limit",
                                   "0.mem_alarm", "0.disk_free_limit", "0.disk_free_alarm",
                                   "0.rates_mode", "0.running", "0.being_drained"]),
    ("rabbitmqadmin v2", "nodes/{node}/memory", ["memory.total.rss", "memory.strategy"]),
    ("rabbitmqadmin v2", "connections", ["0.name", "0.node", "0.state", "0.protocol", "0.user",
                                         "0.connected_at", "0.host", "0.port", "0.peer_host",
                                         "0.peer_port", "0.channel_max", "0.channels",
                                         "0.client_properties", "0.vhost", "0.frame_max"]),
    ("rabbitmqadmin v2", "connections/username/guest", ["0.name", "0.node", "0.user", "0.vhost"]),
    ("rabbitmqadmin v2", "channels", ["0.number", "0.name", "0.connection_details.name", "0.vhost",
                                      "0.state", "0.consumer_count", "0.confirm",
                                      "0.transactional", "0.prefetch_count",
                                      "0.messages_unacknowledged", "0.messages_unconfirmed"]),
    ("rabbitmqadmin v2", "consumers", ["0.consumer_tag", "0.active", "0.ack_required", "0.queue.name",
                                       "0.queue.vhost", "0.channel_details.number",
                                       "0.channel_details.connection_name", "0.exclusive",
                                       "0.arguments", "0.prefetch_count", "0.activity_status"]),
    ("rabbitmqadmin v2", "queues/detailed", ["0.name", "0.vhost", "0.type", "0.durable",
                                             "0.exclusive", "0.auto_delete", "0.arguments",
                                             "0.memory", "0.consumers"]),
    ("rabbitmqadmin v2", "feature-flags", ["0.name", "0.state", "0.stability", "0.desc",
                                           "0.doc_url", "0.provided_by"]),
    ("rabbitmqadmin v2", "auth/attempts/{node}", ["0.protocol", "0.auth_attempts",
                                                  "0.auth_attempts_failed",
                                                  "0.auth_attempts_succeeded"]),
    ("rabbitmqadmin v2", "connections/{connection}", ["name", "node", "state", "protocol", "user",
                                                      "connected_at", "peer_host", "peer_port",
                                                      "channel_max", "channels", "frame_max",
                                                      "client_properties", "vhost"]),
    ("rabbitmqadmin v2", "connections/{connection}/channels", ["0.number", "0.name", "0.vhost"]),
    ("rabbitmqadmin v2", "consumers/%2F", ["0.consumer_tag", "0.queue.name"]),
    ("rabbitmqadmin v2", "queues", ["0.name", "0.vhost", "0.type", "0.durable", "0.exclusive",
                                    "0.auto_delete", "0.arguments", "0.state", "0.leader",
                                    "0.members", "0.online", "0.node"]),
    ("rabbitmqadmin v2", "queues/%2F/q", ["name", "vhost", "type", "memory", "consumers", "messages",
                                          "messages_ready", "messages_unacknowledged",
                                          "message_bytes", "message_bytes_ready",
                                          "message_bytes_unacknowledged",
                                          "consumer_utilisation"]),
    ("rabbitmqadmin v2", "queues/%2F/q/bindings", ["0.source", "0.destination",
                                                   "0.destination_type", "0.routing_key",
                                                   "0.arguments", "0.properties_key", "0.vhost"]),
    ("rabbitmqadmin v2", "exchanges", ["0.name", "0.vhost", "0.type", "0.durable", "0.auto_delete",
                                       "0.internal", "0.arguments"]),
    ("rabbitmqadmin v2", "exchanges/%2F/x/bindings/source", ["0.destination", "0.properties_key"]),
    ("rabbitmqadmin v2", "exchanges/%2F/y/bindings/destination", ["0.source", "0.routing_key"]),
    ("rabbitmqadmin v2", "bindings", ["0.vhost", "0.source", "0.destination", "0.destination_type",
                                      "0.routing_key", "0.arguments", "0.properties_key"]),
    ("rabbitmqadmin v2", "vhosts", ["0.name", "0.tags", "0.description", "0.default_queue_type",
                                    "0.metadata.tags", "0.metadata.description", "0.tracing"]),
    ("rabbitmqadmin v2", "permissions", ["0.user", "0.vhost", "0.configure", "0.read", "0.write"]),
    ("rabbitmqadmin v2", "topic-permissions", ["0.user", "0.vhost", "0.exchange", "0.read",
                                               "0.write"]),
    ("rabbitmqadmin v2", "users/u/permissions", ["0.user", "0.vhost", "0.configure"]),
    ("rabbitmqadmin v2", "policies", ["0.name", "0.vhost", "0.pattern", "0.apply-to", "0.priority",
                                      "0.definition"]),
    ("rabbitmqadmin v2", "operator-policies", ["0.name", "0.vhost", "0.pattern", "0.apply-to",
                                               "0.priority", "0.definition"]),
    ("rabbitmqadmin v2", "parameters", ["0.name", "0.vhost", "0.component", "0.value"]),
    ("rabbitmqadmin v2", "parameters/vhost-limits", ["0.vhost", "0.value.max-queues"]),
    ("rabbitmqadmin v2", "parameters/operator_policy/%2F/o", ["name", "component", "vhost",
                                                              "value.pattern"]),
    ("rabbitmqadmin v2", "global-parameters", []),
    ("rabbitmqadmin v2", "vhost-limits", ["0.vhost", "0.value"]),
    ("rabbitmqadmin v2", "user-limits", ["0.user", "0.value"]),
    ("rabbitmqadmin v2", "definitions", ["product_name", "product_version", "rabbitmq_version",
                                         "users.0.name", "users.0.password_hash",
                                         "users.0.hashing_algorithm", "users.0.tags",
                                         "vhosts.0.name", "vhosts.0.metadata",
                                         "permissions.0.user", "policies.0.apply-to",
                                         "parameters.0.component", "global_parameters",
                                         "topic_permissions.0.exchange", "queues.0.arguments",
                                         "exchanges.0.type", "bindings.0.destination_type"]),
    ("rabbitmqadmin v2", "definitions/%2F", ["queues.0.name", "exchanges.0.name", "policies.0.name",
                                             "bindings.0.source"]),
    ("rabbitmqadmin v2", "deprecated-features", []),
    ("rabbitmqadmin v2", "deprecated-features/used", []),
    ("rabbitmqadmin v2", "health/checks/local-alarms", ["status"]),
    ("rabbitmqadmin v2", "whoami", ["name", "tags"]),
    ("rabbitmqadmin v2", "users", ["0.name", "0.tags", "0.password_hash", "0.limits"]),
    ("rabbitmqadmin v2", "health/checks/alarms", ["status"]),
    ("rabbitmqadmin v2", "health/checks/node-is-quorum-critical", ["status"]),
    ("rabbitmqadmin v2", "health/checks/protocol-listener/amqp", ["status"]),
    ("rabbit-hole", "overview", ["management_version", "rabbitmq_version", "cluster_name",
                                 "erlang_full_version", "exchange_types.0.name"]),
    ("rabbit-hole", "bindings/%2F/e/x/q/q", ["0.properties_key", "0.arguments", "0.routing_key"]),
    ("rabbit-hole", "vhosts/%2F", ["name", "tracing", "description", "default_queue_type",
                                   "cluster_state", "messages", "tags"]),
    ("rabbit-hole", "bindings/%2F", ["0.source", "0.vhost", "0.destination", "0.destination_type",
                                     "0.routing_key", "0.arguments", "0.properties_key"]),
    ("rabbit-hole", "queues/%2F/q", ["name", "vhost", "type", "durable", "auto_delete", "exclusive",
                                     "arguments", "node", "policy", "state", "consumers"]),
    ("rabbit-hole", "operator-policies/%2F/o", ["vhost", "name", "pattern", "apply-to", "priority",
                                                "definition"]),
    ("rabbit-hole", "exchanges/%2F/x", ["name", "vhost", "type", "durable", "auto_delete",
                                        "internal", "arguments"]),
    ("rabbit-hole", "users/guest", ["name", "password_hash", "hashing_algorithm", "tags"]),
    ("rabbit-hole", "permissions/%2F/u", ["user", "vhost", "configure", "write", "read"]),
    ("rabbit-hole", "topic-permissions/%2F/u", ["0.exchange", "0.write", "0.read"]),
    ("rabbit-hole", "policies/%2F/p", ["vhost", "name", "pattern", "apply-to", "priority",
                                       "definition"]),
    ("rabbit-hole", "vhost-limits/%2F", ["0.vhost", "0.value.max-queues"]),
    ("rabbit-hole", "user-limits/u", ["0.user", "0.value.max-channels"]),
    ("Flower", "queues/%2F", ["0.name", "0.messages", "0.consumers"]),
]


def field(value, path):
    for part in path.split("."):
        value = value[int(part)] if isinstance(value, list) else value[part]
    return value


@pytest.mark.parametrize("reader, path, fields", READERS)
def test_a_reader_finds_its_fields(bourse, reader, path, fields):
    body = bourse.api.found(bourse.path(path))
    for name in fields:
        assert field(body, name) is not None, f"{reader} needs {name}"


# NServiceBus: broker requirements checks.
def test_nservicebus_accepts_the_broker(bourse):
    flags = {flag["name"]: flag["state"] for flag in bourse.api.found("feature-flags")}
    assert flags["stream_queue"] == "enabled"
    version = bourse.api.found("overview")["rabbitmq_version"]
    assert tuple(int(part) for part in version.split(".")) >= (3, 10, 0)
    assert bourse.api.found("queues/%2F/q")["effective_policy_definition"] == \
        {"max-length": 3, "expires": 3600000}


def test_a_certificate_check_without_certificates_is_well(bourse):
    assert bourse.api.get("health/checks/certificate-expiration/2/months") == (200, {"status": "ok"})
    status, error = bourse.api.get("health/checks/certificate-expiration/2/moons")
    assert status == 400 and "days, weeks, months or years" in error["reason"]


@pytest.mark.parametrize("path", ["is-in-service", "ready-to-serve-clients", "virtual-hosts",
                                  "below-node-connection-limit", "metadata-store/initialized"])
def test_a_broker_that_runs_is_well(bourse, path):
    assert bourse.api.get("health/checks/" + path) == (200, {"status": "ok"})


def test_a_port_is_listened_at_or_not(bourse):
    port = bourse.broker.amqp[1]
    assert bourse.api.get(f"health/checks/port-listener/{port}") == \
        (200, {"status": "ok", "port": port})
    status, missing = bourse.api.get("health/checks/port-listener/1")
    assert status == 503 and missing["missing"] == 1 and port in missing["ports"]
    assert bourse.api.get("health/checks/port-listener/amqp")[0] == 400
    assert bourse.api.get("health/checks/port-listener/65536")[0] == 400


def test_the_effective_configuration_has_no_secrets(bourse):
    settings = {row["key"]: row["value"] for row in bourse.api.found("config/effective")}
    assert settings["server.rabbitmq-version"] == "3.13.7"
    assert settings["listeners.amqp"] == ["127.0.0.1:0"]
    assert not [key for key in settings if "password" in key or "key" in key or "users" in key]


# Lists ----------------------------------------------------------------------------------------------

@pytest.mark.parametrize("path, names", [
    ("exchanges?name=AMQ.H", ["amq.headers"]),
    ("exchanges?name=%5E%5Bxy%5D%24&use_regex=true&sort=name&sort_reverse=true", ["y", "x"]),
    ("exchanges?sort=type&columns=name&name=x", ["x"]),
    ("users?sort=name&sort_reverse=true", ["watcher", "u", "guest"]),
    ("users/without-permissions", []),
    ("policies?name=p", ["p"]),
    ("policies?name=none", []),
])
def test_lists_are_filtered_and_sorted(bourse, path, names):
    assert [row["name"] for row in bourse.api.found(path)] == names


def test_a_page_of_bindings_has_its_counts(bourse):
    page = bourse.api.found("bindings?page=2&page_size=2")
    assert (page["page"], page["page_count"], page["total_count"], page["item_count"]) == (2, 2, 3, 1)


def test_columns_of_one_are_those_asked_for(bourse):
    assert bourse.api.found("exchanges/%2F/x?columns=name,type") == {"name": "x", "type": "topic"}
    assert bourse.api.found(bourse.path("channels/{channel}?columns=number")) == {"number": 1}
    [node] = bourse.api.found("nodes?columns=name,running")
    assert (set(node), node["running"]) == ({"name", "running"}, True)


def test_a_page_of_nothing_is_no_page(bourse):
    page = bourse.api.found("queues?page=1&name=none")
    assert (page["items"], page["page_count"], page["filtered_count"]) == ([], 0, 0)


def test_the_order_of_names_is_turned_round_without_a_column(bourse):
    for path in ("exchanges/%2F", "users", "vhosts", "queues?page=1&"):
        sign = "" if path.endswith("&") else "?"
        rows = [bourse.api.found(path + sign + query) for query in ("", "sort_reverse=true")]
        names = [[row["name"] for row in (found["items"] if isinstance(found, dict) else found)]
                 for found in rows]
        assert names[1] == names[0][::-1] == sorted(names[0], reverse=True)


@pytest.mark.parametrize("query, told", [("name=a%00b", "octet 0"), ("&".join(["a=b"] * 33), "too many")])
def test_a_query_that_cannot_be_read_is_refused(bourse, query, told):
    status, error = bourse.api.get("queues?" + query)
    assert status == 400 and told in error["reason"]


# What clients call their arguments is theirs: it must not spoil what others read.
def test_arguments_with_odd_names_are_good_json(bourse):
    names = ['in "quotes"\\', "\u0001", "\u00fc", "\U0001f680", "a.b"]
    arguments = {name: {name: 5} for name in names}
    octets = wire.encode_table_body({"twice": 1, **arguments}) + wire.encode_table_body({"twice": 2}) + \
        b"\x03a\xff!b\x01" + b"\x03a\xfe!b\x02" + b"\x06a\\xff!b\x03"
    many = b"".join(wire.encode_table_body({f"n{i % 300}": i}) for i in range(600))
    client = bourse.broker.open()
    channel = client.channel()
    channel.call("queue.declare", queue="odd", exclusive=True, arguments=octets)
    channel.call("queue.declare", queue="many", exclusive=True, arguments=many)
    shown = {"twice": 1, **arguments, "a\\xff!": 1, "a\\xfe!": 2}
    for path in ("queues/%2F/odd", "queues/%2F/odd?columns=arguments", "queues/%2F/odd?columns=arguments,name"):
        status, text = bourse.api.call("GET", path, raw=True)
        assert status == 200
        assert json.loads(text, object_pairs_hook=unique)["arguments"] == shown
    part = bourse.api.call("GET", "queues/%2F/odd?columns=arguments.%C3%BC,arguments.a.b", raw=True)[1]
    assert json.loads(part, object_pairs_hook=unique) == {"arguments": {"\u00fc": {"\u00fc": 5}, "a.b": {"a.b": 5}}}
    assert bourse.api.found("queues/%2F/many")["arguments"] == {f"n{i}": i for i in range(300)}
    client.close()


def unique(pairs):
    assert len(pairs) == len(dict(pairs)), pairs
    return dict(pairs)


# Who sees what --------------------------------------------------------------------------------------

def test_a_user_without_a_role_sees_nothing(bourse):
    api = Api(bourse.api.address, "u", "secret")
    for path in ("connections", "channels", "users", "bindings", "policies", "nodes", "version"):
        assert api.get(path)[0] == 401


def test_a_monitor_sees_all_but_users(bourse):
    api = Api(bourse.api.address, "watcher", "secret")
    assert len(api.found("connections")) == 1 and len(api.found("consumers")) == 1
    assert len(api.found("nodes")) == 1
    for path in ("users", "users/u", "permissions", "topic-permissions", "config/effective",
                 "user-limits"):
        assert api.get(path)[0] == 401
    assert api.call("DELETE", bourse.path("connections/{connection}"))[0] == 401


def test_a_connection_that_is_not_there_has_no_channels(bourse):
    assert bourse.api.get("connections/none/channels")[0] == 404
    assert bourse.api.get("parameters/operator_policy/none")[0] == 404


# Closing --------------------------------------------------------------------------------------------

@contextlib.contextmanager
def client_of(bourse, user="guest", password="guest"):
    connection = bourse.broker.open(user=user, password=password)
    host, port = connection.sock.getsockname()[:2]
    names = [row["name"] for row in bourse.api.found(f"connections?name={host}:{port}")]
    assert len(names) == 1
    yield connection, names[0]


def test_a_closed_connection_is_told_the_reason(bourse):
    with client_of(bourse) as (connection, name):
        path = "connections/" + quoted(name)
        assert bourse.api.call("DELETE", path, headers={"X-Reason": "too loud"}) == (204, b"")
        connection.expect_close(320, "CONNECTION_FORCED - too loud")
        assert bourse.api.get(path)[0] == 404
        assert bourse.api.call("DELETE", path)[0] == 404


def test_without_a_reason_it_is_told_who_did_it(bourse):
    with client_of(bourse) as (connection, name):
        assert bourse.api.call("DELETE", "connections/" + quoted(name))[0] == 204
        connection.expect_close(320,
                                "CONNECTION_FORCED - closed by the management interface")


# It goes out in a frame, as text.
def test_a_reason_that_is_no_text_is_refused(bourse):
    with client_of(bourse) as (connection, name):
        for path in ("connections/" + quoted(name), "connections/username/guest"):
            status, error = bourse.api.call("DELETE", path, headers={"X-Reason": "\u00ff"})
            assert status == 400 and "X-Reason" in error["reason"]
        assert connection.is_alive()
        utf8 = ("zu laut \u00fc" * 40).encode().decode("latin-1")
        assert bourse.api.call("DELETE", "connections/" + quoted(name), headers={"X-Reason": utf8})[0] == 204
        method = connection.expect_close(320)
        assert method.reply_text.startswith("CONNECTION_FORCED - zu laut \u00fczu laut") and \
            len(method.reply_text.encode()) <= 255


def test_all_connections_of_a_user_are_closed_and_no_others(bourse):
    with client_of(bourse, "u", "secret") as (first, _name), \
            client_of(bourse, "u", "secret") as (second, _other):
        assert len(bourse.api.found("connections/username/u")) == 2
        assert bourse.api.call("DELETE", "connections/username/u")[0] == 204
        first.expect_close(320)
        second.expect_close(320)
    assert bourse.api.found("connections/username/u") == []
    assert bourse.connection.is_alive()
    assert bourse.api.call("DELETE", "connections/username/u")[0] == 204


# Tools ----------------------------------------------------------------------------------------------

def run(*command):
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


ADMIN = ("exchanges", "queues", "bindings", "users", "vhosts", "permissions", "policies",
         "operator_policies", "connections", "channels", "consumers", "nodes", "vhost_limits")


@pytest.mark.skipif(shutil.which("rabbitmqadmin") is None, reason="rabbitmqadmin is not installed")
@pytest.mark.parametrize("what", ADMIN)
def test_rabbitmqadmin_lists(bourse, what):
    host, port = bourse.api.address
    done = run("rabbitmqadmin", "-H", host, "-P", str(port), "-f", "raw_json", "list", what)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.strip().startswith("[{"), done.stdout
    table = run("rabbitmqadmin", "-H", host, "-P", str(port), "-f", "long", "list", what)
    assert table.returncode == 0, table.stdout + table.stderr


@pytest.mark.skipif(shutil.which("rabbitmqadmin") is None, reason="rabbitmqadmin is not installed")
def test_rabbitmqadmin_shows_the_overview(bourse):
    host, port = bourse.api.address
    done = run("rabbitmqadmin", "-H", host, "-P", str(port), "show", "overview")
    assert done.returncode == 0 and "3.13.7" in done.stdout, done.stdout + done.stderr


# The checks and their options. They put "rabbit@" before a node's name, and know one realm only.
CHECKS = {
    "aliveness": ("--vhost=/",), "connections": (), "objects": (), "overview": (),
    "partition": ("-n", "{node}"), "queue": ("--vhost=/", "--queue=q"), "server": ("-n", "{node}"),
    "watermark": ("-n", "{node}"),
}


@pytest.mark.skipif(shutil.which("check_rabbitmq_server") is None,
                    reason="nagios-plugins-rabbitmq is not installed")
@pytest.mark.parametrize("check", CHECKS)
def test_nagios_checks_a_broker_that_is_well(bourse, check):
    host, port = bourse.api.address
    host_name = bourse.node.removeprefix("bourse@")
    options = [option.format(node=host_name) for option in CHECKS[check]]
    done = run(f"check_rabbitmq_{check}", "-H", host, f"--port={port}", "-u", "guest", "-p", "guest",
               *options)
    assert done.returncode == 0 and " OK" in done.stdout, done.stdout + done.stderr


# Rows of our own command line, which come from these lists.
LISTS = {
    "connections": "the-client", "channels": "(1)", "consumers": "ct", "exchanges": "amq.fanout",
    "bindings": "a.#", "users": "watcher", "vhosts": "/", "policies": "p", "queues": "q",
    "permissions": "watcher",
}


@pytest.mark.parametrize("what", LISTS)
def test_the_command_line_lists(bourse, what):
    socket = bourse.broker.data_dir + "/bourse.sock"
    done = run(brokers.binary(), "ls", what, "--context", socket)
    assert done.returncode == 0 and LISTS[what] in done.stdout, done.stdout + done.stderr


# Health in trouble ------------------------------------------------------------------------------

def wait_for_alarm(api):
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        status, answer = api.get("health/checks/alarms")
        if status == 503:
            return answer
        time.sleep(0.1)
    raise AssertionError("there is no alarm")


@pytest.fixture(name="alarmed", scope="module")
def fixture_alarmed(tmp_path_factory, rabbit):
    """Both brokers with a disk that is too full: what their checks answer, by path."""
    path = tmp_path_factory.mktemp("alarmed")
    (path / "pw").write_text("secret\n")
    (path / "guest").write_text("guest\n")
    (path / "bourse.yaml").write_text(CONFIG.replace("server: {", "server: {disk-free: 99%, "))
    rabbit.broker.ctl("set_disk_free_limit", str(10**15))
    try:
        with brokers.Bourse(path / "bourse.yaml", listen=("amqp", "http")) as running:
            ours = Api(running.addresses["http"][0])
            yield wait_for_alarm(ours), wait_for_alarm(rabbit.api), ours, rabbit.api
    finally:
        rabbit.broker.ctl("set_disk_free_limit", "1000000")


def test_an_alarm_is_told_as_rabbitmq_tells_it(alarmed):
    ours, theirs, _, _ = alarmed
    assert ours["status"] == theirs["status"] == "failed"
    assert set(theirs) <= set(ours)
    assert [set(alarm) for alarm in ours["alarms"]] == [set(alarm) for alarm in theirs["alarms"]]
    assert [alarm["resource"] for alarm in ours["alarms"]] == [alarm["resource"] for alarm in theirs["alarms"]]


@pytest.mark.parametrize("path", [
    "health/checks/local-alarms", "health/checks/virtual-hosts", "health/checks/port-listener/1",
    "health/checks/protocol-listener/mqtt", "health/checks/node-is-quorum-critical", "aliveness-test/%2F",
])
def test_a_check_in_trouble_answers_as_rabbitmqs(alarmed, path):
    _, _, ours, theirs = alarmed
    our_status, our_answer = ours.get(path)
    their_status, their_answer = theirs.get(path)
    assert our_status == their_status
    assert set(their_answer) <= set(our_answer)
    assert our_answer["status"] == their_answer["status"]


def test_a_node_in_trouble_says_so(alarmed):
    _, _, ours, theirs = alarmed
    deadline = time.monotonic() + 30
    while not theirs.found("nodes")[0]["disk_free_alarm"] and time.monotonic() < deadline:
        time.sleep(0.1)  # its numbers come late
    for api in (ours, theirs):
        node = api.found("nodes")[0]
        assert node["disk_free_alarm"] is True and node["mem_alarm"] is False


# What the console asks for --------------------------------------------------------------------------

def test_the_place_of_each_setting_is_told(bourse):
    rows = {row["key"]: row for row in bourse.api.found("config/effective")}
    version = rows["server.rabbitmq-version"]
    assert version["file"].endswith("bourse.yaml") and version["line"] == 3
    assert (rows["server.data-dir"]["file"], rows["server.data-dir"]["line"]) == ("command line", None)
    assert (rows["server.frame-max"]["file"], rows["server.frame-max"]["line"]) == (None, None)


def test_the_lines_that_name_a_queue_and_its_policies_are_told(bourse):
    found = bourse.api.found("bourse/sources/%2F/q")
    assert found["queue"]["line"] == 9
    [argument] = found["queue"]["arguments"]
    assert (argument["name"], argument["line"]) == ("x-max-length", 9)
    places = {at["name"]: (at["is_operator"], at["line"], [(key["name"], key["line"]) for key in at["keys"]])
              for at in found["policies"]}
    assert places == {"p": (False, 11, [("max-length", 11)]), "o": (True, 13, [("expires", 13)])}
    assert found["generation"] >= 1 and found["queue"]["file"].endswith("bourse.yaml")
    assert bourse.api.found("bourse/sources/%2F/not-there")["queue"] is None


def test_the_log_is_read_from_a_line_on(bourse):
    bourse.api.call("POST", "bourse/vhosts/%2F/tracing", {"tracing": True})
    bourse.api.call("POST", "bourse/vhosts/%2F/tracing", {"tracing": False})
    answer = bourse.api.found("bourse/log")
    assert [line.split("event=")[1].split()[0] for line in answer["lines"][-2:]] == \
        ["trace.started", "trace.stopped"]
    last = answer["first"] + len(answer["lines"]) - 1
    assert bourse.api.found(f"bourse/log?after={last - 1}")["lines"] == answer["lines"][-1:]
    assert bourse.api.found(f"bourse/log?after={last}") == {"first": last + 1, "lines": []}
    assert bourse.api.get("bourse/log?after=x")[0] == 400


def test_flushes_and_dead_letters_of_longer_times_are_told(bourse):
    vitals = bourse.api.found("bourse/vitals")
    assert set(vitals) == {"flush_p99_ms", "dead_letters", "certificates"}
    assert vitals["certificates"] == []
    deadline = time.monotonic() + 20
    while vitals["dead_letters"] is None:
        assert time.monotonic() < deadline
        vitals = bourse.api.found("bourse/vitals")
    assert vitals["dead_letters"]["now"] >= 0 and vitals["dead_letters"]["before_ms"] > 0


def test_whether_a_vhost_is_traced_is_in_the_list(bourse):
    for is_on in (True, False):
        bourse.api.call("POST", "bourse/vhosts/%2F/tracing", {"tracing": is_on})
        assert bourse.api.found("vhosts/%2F")["tracing"] is is_on
