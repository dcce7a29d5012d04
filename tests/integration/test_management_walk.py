# SPDX-License-Identifier: Apache-2.0
"""The same requests to the management interfaces of Debian's rabbitmq-server and of Bourse, which are in
the same state: every route with every tag, with and without what it names; lists with every
parameter; every change with bodies that are good, empty, no JSON, of another type, or lack a member.
Status, shape of what comes, and what the change has made are compared.

What differs on purpose is a row of the second table of docs/differences-from-rabbitmq.md. A difference
that no row explains fails, and so does a row that explains nothing any more."""

import json

import pytest

from tests.integration.test_management_reads import differences as differences_of_shape
from tests.support import broker as brokers
from tests.support import differences
from tests.support.api import quoted
from tests.support.walk import ALL, USERS, Side, decoded

pytestmark = [pytest.mark.bourse_only,
              pytest.mark.skipif(not brokers.RabbitMQ.installed(),
                                 reason="rabbitmq-server is not installed")]

USED = set()  # names of the table's rows that explained something


@pytest.fixture(name="sides", scope="module")
def fixture_sides():
    with brokers.RabbitMQ(management=True) as rabbit, \
            brokers.Bourse(listen=("amqp", "http")) as bourse:
        sides = [Side(bourse, bourse.addresses["http"][0]), Side(rabbit, rabbit.http)]
        yield sides
        for side in sides:
            side.stop()


def reason(text):
    answer = decoded(text)
    return str(answer.get("reason")) if isinstance(answer, dict) else ""


def explain(ours, theirs, rules):
    """The name of the row that says why statuses differ; None: there is none."""
    for name, holds in rules:
        if holds(ours[0], theirs[0], reason(ours[2]), reason(theirs[2])):
            USED.add(name)
            return name
    return None


def told(request, ours, theirs):
    return f"{request}: {ours[0]} {ours[2][:150]!r}, RabbitMQ {theirs[0]} {theirs[2][:150]!r}"


# Of any request.
RULES = [
    ("api-no-500", lambda ours, theirs, *_: theirs == 500 and ours != 500),
    ("api-tags", lambda ours, _theirs, why, _: ours == 401 and "has no role that allows" in why),
    ("api-strangers", lambda ours, _theirs, why, _: ours == 401 and "has no rights in vhost" in why),
    ("api-strangers", lambda ours, theirs, *_: ours == 200 and theirs == 404),
    ("api-sees-more", lambda ours, theirs, *_: theirs == 401 and ours in (200, 204, 404)),
]


# Reading ------------------------------------------------------------------------------------------

READS = """
overview cluster-name nodes nodes/{node} nodes/{node}/memory extensions definitions definitions/shop
definitions/closed connections vhosts/shop/connections vhosts/none/connections connections/{connection}
connections/none connections/username/guest connections/username/none connections/{connection}/channels
channels vhosts/shop/channels vhosts/none/channels channels/{connection}%20%281%29 channels/none
channels/{connection}%20%28999%29 consumers consumers/shop consumers/none consumers/closed
exchanges exchanges/shop exchanges/none exchanges/shop/dir exchanges/shop/amq.default exchanges/shop/none
exchanges/none/x exchanges/shop/internal exchanges/shop/hash exchanges/shop/top/bindings/source
exchanges/shop/fan/bindings/destination exchanges/shop/amq.default/bindings/source
queues queues/shop queues/none queues/closed queues/shop/plain queues/shop/none queues/none/x
queues/closed/x queues/shop/all queues/shop/quorum queues/shop/a%2Bb queues/shop/a%2Fb queues/shop/a%20b
queues/shop/a+b queues/shop/%252F queues/shop/%25252F queues/shop/%C3%BC queues/shop/mine
queues/shop/transient queues/shop/q.2 queues/w%2F%C3%BC%2Bv queues/shop/plain/bindings
bindings bindings/shop bindings/none bindings/shop/e/dir/q/plain bindings/shop/e/none/q/plain
bindings/shop/e/dir/q/none bindings/shop/e/top/e/fan bindings/shop/e/dir/e/none
bindings/shop/e/dir/q/plain/k bindings/shop/e/dir/q/plain/none
bindings/shop/e/top/e/fan/b%252Fc%2520d bindings/shop/e/none/q/plain/k bindings/shop/e/amq.default/q/plain
bindings/shop/e/amq.default/q/plain/plain bindings/none/e/x/q/y/~
vhosts vhosts/shop vhosts/none vhosts/closed vhosts/shop/permissions vhosts/none/permissions
vhosts/shop/topic-permissions vhosts/none/topic-permissions users users/guest users/none users/certonly
users/without-permissions users/mgm/permissions users/none/permissions users/mgm/topic-permissions
users/none/topic-permissions user-limits user-limits/mgm user-limits/none user-limits/guest vhost-limits
vhost-limits/shop vhost-limits/none vhost-limits/closed whoami permissions permissions/shop/mgm
permissions/shop/none permissions/none/mgm permissions/closed/guest topic-permissions
topic-permissions/shop/mgm topic-permissions/shop/guest topic-permissions/shop/none
topic-permissions/none/mgm parameters parameters/operator_policy parameters/none
parameters/operator_policy/shop parameters/operator_policy/none parameters/operator_policy/shop/op1
parameters/operator_policy/shop/none parameters/vhost-limits/shop/limits parameters/none/shop
parameters/none/shop/x global-parameters global-parameters/gp global-parameters/none policies
policies/shop policies/none policies/shop/pol1 policies/shop/none policies/none/x operator-policies
operator-policies/shop operator-policies/none operator-policies/shop/op1 operator-policies/shop/none
health/checks/alarms health/checks/local-alarms health/checks/virtual-hosts
health/checks/node-is-quorum-critical health/checks/node-is-mirror-sync-critical
health/checks/port-listener/1 health/checks/port-listener/x health/checks/protocol-listener/amqp
health/checks/protocol-listener/AMQP health/checks/protocol-listener/amqps
health/checks/protocol-listener/http health/checks/protocol-listener/none
health/checks/protocol-listener/amqp0-9-1 health/checks/certificate-expiration/1/days
health/checks/certificate-expiration/1/years health/checks/certificate-expiration/x/days
health/checks/certificate-expiration/1/moons feature-flags auth/attempts/{node} auth/attempts/none
auth/attempts auth/attempts/{node}/source login nonsense nonsense/x queues/shop/plain/nonsense
queues/shop/plain/get exchanges/shop/dir/publish queues/shop/plain/contents queues/shop/plain/actions
users/bulk-delete healthchecks/node healthchecks/node/{node} queues/shop/plain/consumers
rebalance/queues reset vhosts/shop/start/{node} permissions/shop user-limits/mgm/max-channels
vhost-limits/shop/max-queues bindings/shop/e/top aliveness-test/none
""".split()
# Where one of the two has nothing on purpose.
READS_APART = {
    "definitions/none": "api-not-there", "exchanges/shop/none/bindings/source": "api-bindings-of-none",
    "exchanges/none/x/bindings/source": "api-bindings-of-none",
    "exchanges/shop/none/bindings/destination": "api-bindings-of-none",
    "queues/shop/none/bindings": "api-bindings-of-none",
    "queues/none/x/bindings": "api-bindings-of-none", "bindings/none/e/x/q/y": "api-bindings-of-none",
    "health/checks/port-listener/-1": "api-bounds",
    "health/checks/port-listener/99999999": "api-bounds",
    "health/checks/certificate-expiration/0/days": "api-bounds",
    "health/checks/certificate-expiration/99999999999/years": "api-bounds",
    "health/checks/certificate-expiration/1/day": "api-bounds",
    "auth": "api-of-the-console", "index.html": "api-of-the-console",
    "auth/hash_password/abc": "api-later-routes",
}
# A route that one user's right opens: RabbitMQ answers a stranger 404 or 405 before it asks who he is.
CALLERS = ["guest", *USERS, None]


def test_every_route_is_read_with_every_tag(sides):
    wrong, compared = [], 0
    for path in READS:
        for user in CALLERS:
            ours, theirs = [side.ask("GET", path, user=user) for side in sides]
            compared += 1
            if ours[0] != theirs[0] and explain(ours, theirs, RULES) is None:
                wrong.append(told((path, user), ours, theirs))
            if ours[0] >= 400 and user != "guest" and ours[0] == theirs[0]:
                answer = decoded(ours[2])
                assert ours[1]["content-type"] == "application/json" and \
                    set(answer) in ({"error", "reason"}, {"status", "reason", "missing", "ports"},
                                    {"status", "reason", "missing", "protocols"}), (path, ours)
            if ours[0] == 401 and user is None:
                assert ours[1]["www-authenticate"].startswith("Basic realm="), path
                assert theirs[0] != 401 or "www-authenticate" in theirs[1], path
            if ours[0] == 405 and theirs[0] == 405:
                allowed = theirs[1]["allow"].removesuffix(", OPTIONS")
                assert ours[1]["allow"] == allowed, path
    assert not wrong, "\n".join(wrong)
    assert compared > 1400


@pytest.mark.parametrize("path", READS_APART)
def test_what_is_read_apart_differs(sides, path):
    ours, theirs = [side.ask("GET", path) for side in sides]
    assert ours[0] != theirs[0], told(path, ours, theirs)
    USED.add(READS_APART[path])


# What quorum queues count of their own logs.
OF_QUORUM = (".messages_dlx", ".message_bytes_dlx", ".open_files", ".single_active_consumer_ctag")


# Names and types of members, of objects that have everything that they can have.
def test_shapes_are_those_of_rabbitmq(sides):
    wrong = []
    for path in READS:
        ours, theirs = [side.ask("GET", path) for side in sides]
        if ours[0] == theirs[0] == 200 and not path.startswith(("nodes", "extensions")):
            row = path.replace("w%2F%C3%BC%2Bv", "%2F").replace("shop", "%2F") \
                if path.startswith("vhosts") else path
            wrong += [f"{path} {text}" for text in
                      differences_of_shape(row, decoded(ours[2]), decoded(theirs[2]))
                      if text.split()[0].removeprefix("[]") not in OF_QUORUM]
    assert not wrong, "\n".join(wrong)


# Lists ----------------------------------------------------------------------------------------------

LISTS = """queues queues/shop exchanges/shop bindings/shop connections channels consumers vhosts users
permissions policies topic-permissions user-limits vhost-limits operator-policies parameters
vhosts/shop/connections overview queues/shop/plain exchanges/shop/dir channels/{connection}%20%281%29
nodes definitions""".split()
PAGED = {"queues", "queues/shop", "exchanges/shop", "connections", "channels"}
QUERIES = """
page=1 page=2 page=0 page=-1 page=x page=1.5 page= page=99999999999999999999 page=1&page_size=2
page=2&page_size=2 page=100&page_size=2 page=1&page_size=0 page=1&page_size=500 page=1&page_size=501
page=1&page_size=x page=1&page_size=-1 page_size=2 page=1&name=a page=1&name=q%5C.&use_regex=true
page=1&name=(&use_regex=true page=1&name=A page=1&name=nothing page=1&pagination=false pagination=true
pagination=false&page=1&page_size=1 page=1&use_regex=maybe&name=a page=1&name=%2Ba use_regex=true
page=1&use_regex=true&name= columns=name columns=name,type,none
columns=message_stats.publish_details.rate,name columns=arguments columns=name,name columns=queue.name,name
columns=name,vhost&page=1&page_size=1 sort=name sort=name&sort_reverse=true sort=none sort_reverse=true
sort=messages disable_stats=true enable_queue_totals=true disable_stats=true&enable_queue_totals=true
disable_stats=maybe lengths_age=60&lengths_incr=5 msg_rates_age=60&msg_rates_incr=5
data_rates_age=60&data_rates_incr=5 lengths_age=x&lengths_incr=5 lengths_age=60
lengths_age=60&lengths_incr=0 node_stats_age=60&node_stats_incr=5 nonsense=1 name=%ff&page=1 name=a
columns=x.y.z columns=
""".split()


def names_of(rows):
    return [row.get("name", row.get("source")) if isinstance(row, dict) else row for row in rows]


def without_our_own(rows):
    return [row for row in rows if not isinstance(row, dict) or row.get("name") != "bourse.control"]


def list_rules(path, query):
    return [
        ("api-rate-windows", lambda ours, theirs, *_: ours == 200 and theirs == 400 and
         "_age=60" in query and "incr=0" in query),
        ("api-stats-of-channels", lambda ours, theirs, *_: ours == 200 and theirs == 400 and
         "disable_stats=true" in query and path.startswith(("channels", "consumers", "overview", "nodes"))),
        ("api-pages", lambda ours, theirs, *_: ours == 400 and theirs == 200 and "page" in query),
        *RULES]


def explain_rows(path, query, ours, theirs):
    """The same of two lists whose rows differ."""
    if isinstance(ours, dict) != isinstance(theirs, dict) and "page=" in query and path not in PAGED:
        return "api-pages"
    if query == "name=a":
        return "api-name-without-page"
    if [] in (theirs if isinstance(theirs, list) else theirs.get("items", [])):
        return "api-no-columns"
    if path in ("bindings/shop", "policies", "vhosts", "consumers", "topic-permissions", "permissions",
                "parameters", "users") and "sort" in query:
        return "api-order-of-rows"
    return None


def rows_of(answer):
    if isinstance(answer, dict):
        counts = {key: value for key, value in answer.items() if key != "items"}
        return without_our_own(answer.get("items", [])), counts
    return without_our_own(answer), {}


@pytest.mark.parametrize("path", LISTS)
def test_lists_take_the_parameters_of_rabbitmq(sides, path):
    wrong = []
    is_of_names = path not in ("connections", "channels", "consumers", "vhosts/shop/connections", "nodes",
                               "policies", "parameters") and "{" not in path
    for query in QUERIES:
        ours, theirs = [side.ask("GET", f"{path}?{query}") for side in sides]
        if ours[0] != theirs[0]:
            if explain(ours, theirs, list_rules(path, query)) is None:
                wrong.append(told((path, query), ours, theirs))
            continue
        if ours[0] != 200 or (path == "exchanges/shop" and query == "columns=arguments"):
            continue
        bodies = [decoded(text) for text in (ours[2], theirs[2])]
        if path in ("overview", "nodes", "definitions") or "/plain" in path or "/dir" in path or \
                "channels/" in path:
            continue  # no list: the status is what counts
        rows, counts = zip(*map(rows_of, bodies))
        is_apart = counts[0] != counts[1] and path != "exchanges/shop"
        if is_of_names:
            is_apart = is_apart or names_of(rows[0]) != names_of(rows[1])
        else:
            is_apart = is_apart or len(rows[0]) != len(rows[1])
        if is_apart:
            name = explain_rows(path, query, *bodies)
            USED.add(name)
            if name is None:
                wrong.append(f"{path}?{query}: {counts[0]} {names_of(rows[0])[:9]}, "
                             f"RabbitMQ {counts[1]} {names_of(rows[1])[:9]}")
    assert not wrong, "\n".join(wrong)


# Changes --------------------------------------------------------------------------------------------

class Change:
    """A route that changes something: a good body, what is made before each try and cleared away,
    where to look after it. `more` are further bodies, each with the row that says why it differs,
    or None."""

    def __init__(self, method, path, good=None, made=(), look=(), more=(), differs=None):
        self.method, self.path, self.good, self.made = method, path, good, list(made)
        self.look, self.more, self.differs = list(look), list(more), differs


QUEUE = [("PUT", "queues/shop/wq", {"durable": True})]
EXCHANGE = [("PUT", "exchanges/shop/wx", {"type": "topic", "durable": True})]
USER = [("PUT", "users/wu", {"password_hash": "", "tags": "management"})]
VHOST = [("PUT", "vhosts/wv", {})]
POLICY = [("PUT", "policies/shop/wp", {"pattern": "^wq", "definition": {"max-length": 5}})]
CLEAN = ["queues/shop/wq", "exchanges/shop/wx", "users/wu", "vhosts/wv", "policies/shop/wp",
         "operator-policies/shop/wp", "global-parameters/wg", "vhost-limits/shop/max-connections"]
GET = {"count": 1, "ackmode": "ack_requeue_true", "encoding": "auto", "truncate": 50}
PUBLISH = {"properties": {"delivery_mode": 2, "headers": {"a": 1}}, "routing_key": "k", "payload": "hi",
           "payload_encoding": "string"}
DEFINED = {"pattern": "^wq", "definition": {"max-length": 5}, "priority": 1, "apply-to": "queues"}


def with_definition(differs, *definitions):
    return [({"pattern": "^wq", "definition": definition, "apply-to": "queues"}, differs)
            for definition in definitions]


CHANGES = [
    Change("PUT", "queues/shop/wq", {"durable": True, "auto_delete": False, "arguments": {"x-max-length": 5}},
           look=["queues/shop/wq"], more=[
        ({"durable": "true"}, None), ({"durable": "yes"}, None), ({"durable": True, "auto_delete": "true"}, None),
        ({"durable": True, "exclusive": True}, None), ({"durable": True, "vhost": "other", "name": "zz"}, None),
        *[({"durable": True, "arguments": arguments}, None) for arguments in (
            {"x-message-ttl": "5"}, {"x-message-ttl": -1}, {"x-message-ttl": 1.5}, {"x-message-ttl": 60000},
            {"x-unknown": 5}, {"x-queue-type": "none"}, {"x-max-priority": 256},
            {"x-queue-type": "quorum"}, {"a": {"b": [1, "x", 1.5, True]}})],
        ({"durable": False, "arguments": {"x-queue-type": "quorum"}}, None),
        ({"durable": True, "arguments": {"a": None}}, "api-null"),
        ({"durable": True, "arguments": {"x": 2**63}}, "api-bounds"),
        ({"durable": True, "arguments": {"k" * 256: 1}}, "api-bounds"),
        ({"durable": True, "arguments": {"x-queue-type": "stream"}}, "api-no-streams"),
        ({"durable": True, "node": "x"}, "api-one-node")]),
    Change("PUT", "queues/shop/amq.wq", {"durable": True}), Change("PUT", "queues/none/wq", {"durable": True}),
    Change("PUT", "queues/shop/" + "q" * 256, {}), Change("PUT", "queues/shop/all", {"durable": True}),
    Change("PUT", "queues/shop/mine", {"durable": True}), Change("PUT", "queues/shop/plain", {"durable": False}),
    Change("DELETE", "queues/shop/wq", made=QUEUE, look=["queues/shop/wq"]),
    Change("DELETE", "queues/shop/none"), Change("DELETE", "queues/none/x"), Change("DELETE", "queues/shop/mine"),
    Change("DELETE", "queues/shop/plain?if-unused=true", differs="api-precondition"),
    Change("DELETE", "queues/shop/q.2?if-empty=true", differs="api-precondition"),
    Change("DELETE", "queues/shop/wq?if-unused=true&if-empty=true", made=QUEUE, look=["queues/shop/wq"]),
    Change("DELETE", "queues/shop/wq/contents", made=QUEUE), Change("DELETE", "queues/shop/none/contents"),
    Change("DELETE", "queues/shop/mine/contents"),
    Change("POST", "queues/shop/wq/actions", {"action": "sync"}, QUEUE,
           more=[({"action": "cancel_sync"}, None), ({"action": "x"}, None)]),
    Change("POST", "queues/shop/wq/get", GET, QUEUE + [
        ("POST", "exchanges/shop/amq.default/publish", {**PUBLISH, "routing_key": "wq"})], more=[
        ({**GET, "count": "2"}, None), ({**GET, "count": 5, "ackmode": "ack_requeue_false", "encoding": "base64"}, None),
        ({**GET, "encoding": "x"}, None), ({**GET, "ackmode": "reject_requeue_true"}, None),
        ({**GET, "ackmode": "reject_requeue_false"}, None), ({**GET, "truncate": 1}, None),
        ({**GET, "count": 0}, "api-bounds"), ({**GET, "count": -1}, "api-bounds"),
        ({**GET, "count": 1.0}, "api-bounds"),
        ({"count": 1, "requeue": True, "encoding": "auto"}, "api-older-bodies")]),
    Change("POST", "queues/shop/none/get", GET), Change("POST", "queues/shop/mine/get", GET),
    Change("PUT", "exchanges/shop/wx", {"type": "topic", "durable": True, "auto_delete": False, "internal": False,
                                        "arguments": {"alternate-exchange": "fan"}}, look=["exchanges/shop/wx"],
           more=[({"type": kind, "durable": True}, None) for kind in ("x-none", "", "Topic", "fanout")] + [
               ({"type": "fanout", "durable": "false"}, None),
               ({"type": "fanout", "durable": True, "internal": "true"}, None),
               ({"type": "direct", "durable": True, "arguments": {"alternate-exchange": 5}}, None)]),
    Change("PUT", "exchanges/shop/amq.wx", {"type": "topic", "durable": True}),
    Change("PUT", "exchanges/shop/amq.default", {"type": "direct", "durable": True}),
    Change("PUT", "exchanges/none/wx", {"type": "topic"}), Change("PUT", "exchanges/shop/dir", {"type": "topic"}),
    Change("PUT", "exchanges/shop/amq.topic", {"type": "topic", "durable": True}),
    Change("DELETE", "exchanges/shop/wx", made=EXCHANGE, look=["exchanges/shop/wx"]),
    Change("DELETE", "exchanges/shop/none"), Change("DELETE", "exchanges/none/x"),
    Change("DELETE", "exchanges/shop/amq.topic"), Change("DELETE", "exchanges/shop/amq.default"),
    Change("DELETE", "exchanges/shop/dir?if-unused=true", differs="api-precondition"),
    Change("POST", "exchanges/shop/wx/publish", PUBLISH,
           EXCHANGE + QUEUE + [("POST", "bindings/shop/e/wx/q/wq", {"routing_key": "k"})], more=[
        ({**PUBLISH, "routing_key": "none"}, None), ({**PUBLISH, "payload": "aGk=", "payload_encoding": "base64"}, None),
        ({**PUBLISH, "payload": "!!", "payload_encoding": "base64"}, None), ({**PUBLISH, "payload_encoding": "utf"}, None),
        *[({**PUBLISH, "properties": properties}, None) for properties in (
            {"none": 1}, {"delivery_mode": 3}, {"expiration": "x"}, {"user_id": "nobody"}, {"timestamp": "x"},
            {"headers": {"CC": ["none"]}}, {"content_type": "text/plain", "correlation_id": "c", "priority": 3,
                                            "expiration": "5000", "user_id": "guest", "timestamp": 5})],
        ({**PUBLISH, "properties": {"delivery_mode": "2"}}, "api-numbers-in-texts"),
        ({**PUBLISH, "properties": {"priority": -1}}, "api-bounds"),
        ({**PUBLISH, "properties": {"headers": []}}, "api-bounds"),
        ({**PUBLISH, "routing_key": "k" * 256}, "api-bounds")]),
    Change("POST", "exchanges/shop/none/publish", PUBLISH, differs="api-publish-refusals"),
    Change("POST", "exchanges/shop/internal/publish", PUBLISH, differs="api-publish-refusals"),
    Change("POST", "bindings/shop/e/wx/q/wq", {"routing_key": "k", "arguments": {"a": 1}}, EXCHANGE + QUEUE,
           look=["bindings/shop/e/wx/q/wq"], more=[
        ({"routing_key": "a/b c%2F~"}, None), ({"routing_key": "~"}, None), ({"props": {}}, None),
        ({"source": "zz", "destination": "yy"}, None), ({"routing_key": "k" * 256}, "api-bounds")]),
    Change("POST", "bindings/shop/e/none/q/wq", {"routing_key": "k"}, QUEUE),
    Change("POST", "bindings/shop/e/wx/q/none", {"routing_key": "k"}, EXCHANGE),
    Change("POST", "bindings/none/e/x/q/y", {}), Change("POST", "bindings/shop/e/amq.default/q/plain", {"routing_key": "k"}),
    Change("POST", "bindings/shop/e/hdr/q/wq", {"arguments": {"x-match": "x"}}, QUEUE),
    Change("POST", "bindings/shop/e/wx/e/fan", {"routing_key": "k", "arguments": {}}, EXCHANGE,
           look=["bindings/shop/e/wx/e/fan"]),
    Change("POST", "bindings/shop/e/wx/e/none", {"routing_key": "k"}, EXCHANGE),
    Change("POST", "bindings/shop/e/wx/e/amq.default", {"routing_key": "k"}, EXCHANGE),
    Change("DELETE", "bindings/shop/e/wx/q/wq/k",
           made=EXCHANGE + QUEUE + [("POST", "bindings/shop/e/wx/q/wq", {"routing_key": "k"})],
           look=["bindings/shop/e/wx/q/wq"]),
    Change("DELETE", "bindings/shop/e/wx/q/wq/none", made=EXCHANGE + QUEUE),
    Change("DELETE", "bindings/shop/e/none/q/none/x"), Change("DELETE", "bindings/none/e/none/q/none/x"),
    Change("PUT", "vhosts/wv", {"description": "d", "tags": "a,b", "tracing": False}, look=["vhosts/wv"],
           more=[({"tags": ["a"]}, None), ({"tags": 5}, None), ({"description": ""}, None), ({"name": "zz"}, None)]),
    Change("PUT", "vhosts/shop", {}), Change("DELETE", "vhosts/wv", made=VHOST, look=["vhosts/wv"]),
    Change("DELETE", "vhosts/none"), Change("POST", "vhosts/shop/start/{node}"),
    Change("POST", "vhosts/shop/start/none", differs="api-one-node"),
    Change("PUT", "vhosts/" + "v" * 256, {}, differs="api-bounds"),
    Change("PUT", "users/wu", {"password_hash": "", "tags": "management,policymaker"},
           look=["users/wu", "users/wu/permissions"], more=[
        ({"password_hash": "", "tags": ["monitoring"]}, None), ({"password_hash": "!!", "tags": ""}, None),
        ({"password_hash": "2lmoth8l4H0DViLaK9Fxi6l9ds8=", "tags": "",
          "hashing_algorithm": "rabbit_password_hashing_md5"}, None),
        ({"password": "pw", "password_hash": "", "tags": ""}, None), ({"password_hash": "", "tags": "none"}, None),
        ({"password_hash": "", "tags": " administrator , monitoring"}, None), ({"password_hash": "", "tags": ",,"}, None),
        ({"tags": "management"}, None), ({"password_hash": "", "tag": "x"}, None),
        ({"password_hash": "", "tags": "", "limits": {"max-channels": 4}}, None),
        ({"password_hash": "", "tags": "", "name": "zz"}, None), ({"password": 5, "tags": ""}, None),
        ({"password_hash": "", "tags": ["a", 5]}, "api-bounds"), ({"password_hash": "abc", "tags": ""}, None),
        ({"password_hash": "", "administrator": True}, "api-older-bodies")]),
    Change("PUT", "users/" + "u" * 256, {"password_hash": "", "tags": ""}, differs="api-bounds"),
    Change("DELETE", "users/wu", made=USER, look=["users/wu"]), Change("DELETE", "users/none"),
    Change("POST", "users/bulk-delete", {"users": ["wu"]}, USER, look=["users/wu"],
           more=[({"users": []}, None), ({"users": "wu"}, None), ({"users": ["wu", "nobody"]}, "api-bulk-delete")]),
    Change("PUT", "permissions/shop/wu", {"configure": "^a", "write": "", "read": ".*"}, USER,
           look=["permissions/shop/wu", "users/wu/permissions"],
           more=[({"configure": "(", "write": "", "read": ""}, None), ({"configure": "", "write": "[", "read": "*"}, None),
                 ({"user": "zz", "vhost": "/", **ALL}, None)]),
    Change("PUT", "permissions/none/wu", ALL, USER), Change("PUT", "permissions/shop/none", ALL),
    Change("DELETE", "permissions/shop/wu", made=USER + [("PUT", "permissions/shop/wu", ALL)], look=["permissions/shop/wu"]),
    Change("DELETE", "permissions/shop/none"), Change("DELETE", "permissions/none/guest"),
    Change("DELETE", "permissions/closed/out"),
    Change("PUT", "topic-permissions/shop/wu", {"exchange": "top", "write": "^a", "read": ".*"},
           USER + [("PUT", "permissions/shop/wu", ALL)], look=["topic-permissions/shop/wu", "users/wu/topic-permissions"],
           more=[({"exchange": "top", "write": "(", "read": ""}, None), ({"exchange": "none", "write": "", "read": ""}, None)]),
    Change("PUT", "topic-permissions/shop/out", {"exchange": "top", "write": "", "read": ""}, differs="api-topics-first"),
    Change("PUT", "topic-permissions/shop/none", {"exchange": "top", "write": "", "read": ""}),
    Change("PUT", "topic-permissions/none/wu", {"exchange": "top", "write": "", "read": ""}, USER),
    Change("DELETE", "topic-permissions/shop/none"),
    Change("DELETE", "topic-permissions/shop/mgm/none", differs="api-not-there"),
    Change("PUT", "policies/shop/wp", DEFINED, look=["policies/shop/wp"], more=[
        *with_definition(None, {}, {"none": 1}, {"max-length": "5"}, {"max-length": -1}, {"max-length": 1.5},
                         {"message-ttl": 0}, {"expires": 0}, {"overflow": "x"}, {"dead-letter-exchange": 5},
                         {"delivery-limit": 3}, {"queue-mode": "lazy"}, {"queue-version": 2}, {"max-age": "1h"},
                         {"queue-leader-locator": "balanced"}, {"initial-cluster-size": 3}, {"max-priority": 5}),
        *with_definition("api-keys-of-policies", {"federation-upstream": "x"}, {"consumer-timeout": 5},
                         {"ha-mode": "all"}, {"queue-master-locator": "min-masters"}, {"max-in-memory-length": 5}),
        *with_definition("api-bounds", {"message-ttl": 2**40}),
        ({**DEFINED, "pattern": "("}, None), ({**DEFINED, "pattern": ""}, None), ({**DEFINED, "apply-to": "x"}, None),
        ({**DEFINED, "priority": -5}, None), ({**DEFINED, "apply-to": "classic_queues"}, "api-later-targets"),
        ({**DEFINED, "apply-to": "exchanges"}, "api-keys-of-policies"), ({**DEFINED, "priority": "5"}, "api-numbers-in-texts"),
        ({**DEFINED, "priority": 1.5}, "api-bounds")]),
    Change("PUT", "policies/none/wp", DEFINED), Change("DELETE", "policies/shop/wp", made=POLICY, look=["policies/shop/wp"]),
    Change("DELETE", "policies/shop/none"), Change("DELETE", "policies/none/x"),
    Change("PUT", "operator-policies/shop/wp", DEFINED, look=["operator-policies/shop/wp"], more=[
        *with_definition(None, {}, {"none": 1}, {"max-length": -1}, {"dead-letter-exchange": "x"}, {"expires": 5}),
        *with_definition("api-keys-of-policies", {"overflow": "reject-publish"}, {"max-in-memory-length": 5})]),
    Change("DELETE", "operator-policies/shop/none"), Change("PUT", "operator-policies/none/x", DEFINED),
    Change("PUT", "vhost-limits/shop/max-connections", {"value": 500}, look=["vhost-limits/shop"],
           more=[({"value": None}, None), ({"value": 1.5}, None), ({"value": "5"}, "api-numbers-in-texts"),
                 ({"value": 10**12}, "api-bounds")]),
    Change("PUT", "vhost-limits/shop/none", {"value": 5}), Change("PUT", "vhost-limits/none/max-queues", {"value": 5}),
    Change("DELETE", "vhost-limits/shop/max-connections"), Change("DELETE", "vhost-limits/shop/none", differs="api-not-there"),
    Change("PUT", "user-limits/wu/max-connections", {"value": 500}, USER, look=["user-limits/wu"],
           more=[({"value": None}, None), ({"value": 1.5}, None), ({"value": "5"}, "api-numbers-in-texts")]),
    Change("PUT", "user-limits/wu/none", {"value": 5}, USER), Change("DELETE", "user-limits/wu/max-channels", made=USER),
    Change("PUT", "user-limits/none/max-channels", {"value": 5}, differs="api-not-there"),
    Change("PUT", "parameters/shovel/shop/s", {"value": {"src-uri": "amqp://"}}),
    Change("PUT", "parameters/federation-upstream/shop/s", {"value": {"uri": "amqp://"}}),
    Change("DELETE", "parameters/shovel/shop/none"),
    Change("PUT", "parameters/operator_policy/shop/wp", {"value": DEFINED},
           look=["operator-policies/shop/wp", "parameters/operator_policy/shop/wp"]),
    Change("PUT", "global-parameters/wg", {"value": {"a": [1, None, "x", 1.5, True]}}, look=["global-parameters/wg"],
           more=[*[({"value": value}, None) for value in (None, 5, "x", [])], ({"value": {"a": 2**70}}, "api-bounds")]),
    Change("DELETE", "global-parameters/none"),
    Change("PUT", "cluster-name", {"name": "cn"}, look=["cluster-name"], more=[({"name": ""}, "api-bounds")]),
    Change("DELETE", "connections/none"), Change("DELETE", "connections/username/none"), Change("DELETE", "reset"),
    Change("POST", "rebalance/queues"), Change("DELETE", "reset/{node}", differs="api-nothing-to-reset"),
    Change("DELETE", "auth/attempts/{node}", differs="api-nothing-to-reset"),
    Change("POST", "definitions", {"queues": [{"name": "wq", "vhost": "shop", "durable": True, "auto_delete": False,
                                               "arguments": {}}]}, look=["queues/shop/wq"], more=[
        ({"queues": [{"vhost": "shop"}]}, None), ({"global_parameters": [{"name": "wg", "value": 1}]}, None),
        ({"users": [{"name": "wu", "password_hash": "", "tags": []}]}, None), ({"vhosts": [{"name": "wv"}]}, None),
        ({"permissions": [{"user": "none", "vhost": "shop", **ALL}]}, None),
        ({"policies": [{"vhost": "shop", "name": "wp", "pattern": "a", "definition": {"none": 1}}]}, None),
        ({}, "api-definitions"), ({"nonsense": []}, "api-definitions"),
        ({"queues": [{"name": "wq"}]}, "api-definitions"),
        ({"parameters": [{"component": "shovel", "vhost": "shop", "name": "x", "value": {}}]}, "api-definitions"),
        ({"exchanges": [{"name": "wx", "vhost": "shop", "type": "none", "durable": True, "auto_delete": False,
                         "internal": False, "arguments": {}}]}, "api-definitions"),
        ({"bindings": [{"source": "none", "vhost": "shop", "destination": "wq", "destination_type": "queue",
                        "routing_key": "", "arguments": {}}]}, "api-definitions")]),
    Change("POST", "definitions/shop", {"queues": [{"name": "wq", "durable": True, "auto_delete": False,
                                                    "arguments": {}}]}, look=["queues/shop/wq"]),
    Change("POST", "definitions/none", {"queues": []}, differs="api-not-there"),
]
TYPES = ["text/plain", "application/x-www-form-urlencoded", "application/xml", None,
         "application/json; charset=utf-8", "application/JSON"]
NO_JSON = [b"{", b"[]", b'"x"', b"5", b"null", b"true", b"{} x", b"\xff", b'{"a":1,"a":2}', b"\xef\xbb\xbf{}",
           b"{'a': 1}", b'{"a":NaN}', b'{"a":1e400}', b"[" * 5000, b" ", b'{"a":"\\u0000"}', b'{"a":"\\ud800"}']
WRONG = [5, "x", [], {}, True, None, 1.5]
# Their bodies are read by other code than the rest's, or not at all.
READ_APART = ("definitions", "bindings/shop/e/wx/q/wq", "policies/shop/wp", "users/wu", "queues/shop/wq",
              "exchanges/shop/wx/publish")


def tries(change):
    """(label, body, content type, row that says why it differs)."""
    if change.method == "DELETE":
        yield "none", None, None, change.differs
        yield "json", b"{}", "application/json", change.differs
        return
    good = change.good or {}
    yield "good", good, "application/json", change.differs
    yield "no body", None, None, change.differs
    if change.path in READ_APART:
        for kind in TYPES:
            yield f"type {kind}", good, kind, change.differs
        for body in NO_JSON:
            yield f"raw {body[:20]}", body, "application/json", change.differs
    for key in good:
        yield f"without {key}", {name: value for name, value in good.items() if name != key}, \
            "application/json", change.differs
        for value in WRONG:
            if type(value) is not type(good[key]):
                yield f"{key}={json.dumps(value)}", {**good, key: value}, "application/json", change.differs
    yield "extra", {**good, "unknown": [1]}, "application/json", change.differs
    for body, differs in change.more:
        yield f"more {json.dumps(body)[:200]}", body, "application/json", differs


def change_rules(change, label):
    is_typed = "=" in label and not label.startswith("more")
    return [
        ("api-json-only", lambda ours, *_: ours == 415 and label.startswith("type")),
        ("api-json-only", lambda ours, theirs, *_: theirs == 415 and ours == 400 and label == "no body"),
        ("api-strict-json", lambda ours, *_: ours == 400 and label.startswith("raw")),
        ("api-durable", lambda ours, _t, _why, why: ours in (201, 204) and "'durable'" in why),
        ("api-older-bodies", lambda _ours, theirs, *_: theirs == 400 and
         label in ("without encoding", "without ackmode")),
        ("api-null", lambda _ours, theirs, *_: theirs == 400 and label.endswith("null")),
        ("api-null", lambda ours, theirs, *_: ours == 400 and theirs in (200, 201, 204) and
         label.endswith("null")),
        ("api-types-first", lambda ours, theirs, *_: is_typed and ours == 400 and theirs != 400),
        ("api-types-first", lambda ours, theirs, *_: label.startswith("without") and ours == 400 and
         theirs == 404),
        ("api-definitions", lambda ours, *_: ours == 400 and label == "without queues"),
        ("api-publish-refusals", lambda ours, theirs, *_: "publish" in change.path and ours in (401, 404)
         and theirs in (400, 401)),
        *RULES]


UNSTEADY = {
    "node", "leader", "members", "online", "bourse", "garbage_collection", "reductions", "memory",
    "backing_queue_status", "idle_since", "slave_nodes", "synchronised_slave_nodes", "recoverable_slaves",
    "message_stats", "cluster_state", "protected_from_deletion", "effective_policy_definition",
    "consumer_details", "incoming", "outgoing", "deliveries", "user_who_performed_action", "state",
    "consumer_capacity", "consumer_utilisation", "consumers", "default_queue_type", "metadata", "tracing",
    "properties_key", "redelivered", "policy", "operator_policy", "exclusive_consumer_tag",
    "single_active_consumer_tag", "head_message_timestamp", "password_hash"}


def steady(value):
    """What both must have, and at once: RabbitMQ's numbers come late."""
    if isinstance(value, dict):
        return {name: steady(member) for name, member in value.items()
                if name not in UNSTEADY and not name.startswith(("message_bytes", "messages"))
                and not name.endswith("_details")}
    if isinstance(value, list):
        return [steady(member) for member in value]
    return value


def same_values(ours, theirs):
    """Empty lists of RabbitMQ are empty objects where an object is meant."""
    if isinstance(ours, dict) and theirs == []:
        return not ours
    if isinstance(ours, dict) and isinstance(theirs, dict):
        return set(ours) == set(theirs) and all(same_values(ours[key], theirs[key]) for key in ours)
    if isinstance(ours, list) and isinstance(theirs, list):
        return len(ours) == len(theirs) and all(map(same_values, ours, theirs))
    return ours == theirs


def tried(side, change, body, kind, user="guest"):
    for path in CLEAN:
        if change.look or change.made or path in change.path:
            side.ask("DELETE", path)
    for method, path, made in change.made:
        status, _headers, text = side.ask(method, path, made)
        assert status in (200, 201, 204), (change.path, path, status, text)
    answer = side.ask(change.method, change.path, body, user=user, kind=kind)
    return answer, [side.ask("GET", path) for path in change.look]


def compare_made(change, label, ours, theirs):
    """What is there after a change that both have made."""
    if not label.endswith("null") and ours[0][1].get("location", "").rsplit("/", 1)[-1].split("~")[0] != \
            theirs[0][1].get("location", "").rsplit("/", 1)[-1].split("~")[0].replace("%2B", "%2520"):
        yield f"{change.path} {label}: Location {ours[0][1]}, RabbitMQ {theirs[0][1]}"
    for ours_now, theirs_now in zip([ours[0], *ours[1]], [theirs[0], *theirs[1]]):
        if ours_now[0] != theirs_now[0]:
            yield told((change.path, label), ours_now, theirs_now)
            continue
        values = [steady(decoded(text)) for text in (ours_now[2], theirs_now[2])]
        if ours_now[0] >= 300 or same_values(*values):
            continue
        is_durable = all(isinstance(value, dict) and "durable" in value for value in values) and \
            same_values(*[{**value, "durable": None} for value in values])
        is_null = label.endswith("null")
        if is_durable or is_null:
            USED.add("api-durable" if is_durable else "api-null")
        else:
            yield f"{change.path} {label}: {values[0]}, RabbitMQ {values[1]}"


def check_refusal(change, label, answer):
    """Every refusal of ours says what is wrong."""
    status, headers, text = answer
    if status >= 400:
        assert headers["content-type"] == "application/json", (change.path, label, answer)
        assert set(decoded(text)) == {"error", "reason"} and reason(text), (change.path, label, answer)


@pytest.mark.parametrize("change", CHANGES,
                         ids=[f"{change.method} {change.path[:60]}" for change in CHANGES])
def test_changes_are_answered_and_made_as_rabbitmq_does(sides, change):
    wrong = []
    for label, body, kind, differs in tries(change):
        ours, theirs = [tried(side, change, body, kind) for side in sides]
        check_refusal(change, label, ours[0])
        if ours[0][0] == theirs[0][0]:
            if ours[0][0] < 300:
                wrong += compare_made(change, label, ours, theirs)
            if differs is not None and label.startswith("more"):
                wrong.append(f"no longer differs, {differs}: " + told((change.path, label), ours[0], theirs[0]))
            continue
        if differs is not None:
            USED.add(differs)
        elif explain(ours[0], theirs[0], change_rules(change, label)) is None:
            wrong.append(told((change.path, label), ours[0], theirs[0]))
    for user in [*USERS, None]:
        ours, theirs = [tried(side, change, change.good, "application/json", user)[0] for side in sides]
        if ours[0] != theirs[0] and change.differs is None and \
                explain(ours, theirs, change_rules(change, "good")) is None:
            wrong.append(told((change.path, user), ours, theirs))
    for side in sides:
        for path in CLEAN:
            side.ask("DELETE", path)
    assert not wrong, "\n".join(wrong)


def test_every_difference_of_the_interface_that_is_listed_was_found():
    assert USED == set(differences.listed_of_interface())
