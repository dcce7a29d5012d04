# SPDX-License-Identifier: Apache-2.0
"""One choke point: what AMQP refuses, HTTP and the command line refuse, with the same words; and
every route with every role in a vhost of one's own, of others, and in one that is not there."""

import http.client
import itertools
import json
import os

import pytest

from support import broker as brokers
from support.api import Api, quoted

pytestmark = pytest.mark.bourse_only

RIGHTS = ("configure", "write", "read")
SUBSETS = {"".join(right[0] for right in subset) or "none": set(subset)
           for size in range(4) for subset in itertools.combinations(RIGHTS, size)}
ROUTES = os.path.join(os.path.dirname(__file__), "golden", "rights.txt")
ALL_RIGHTS = {right: ".*" for right in RIGHTS}

# What a role or tag is able to; see docs/management.md.
ABILITIES = {
    "administrator": {"look", "see-all", "operate", "policy", "admin"},
    "monitoring": {"look", "see-all"}, "management": {"look", "operate"},
    "policymaker": {"look", "operate", "policy"}, "impersonator": set(), "": set(),
    "monitoring,management": {"look", "see-all", "operate"},
}


@pytest.fixture(name="broker", scope="module")
def fixture_broker(tmp_path_factory):
    """Two vhosts; a user of each set of tags with all rights in `in` and none in `out`, and one of
    each subset of rights on what begins with p-, who may operate."""
    with brokers.Bourse(listen=("amqp", "http")) as running:
        running.home = tmp_path_factory.mktemp("home")
        api = api_of(running, "guest", "guest")
        for vhost in ("in", "out"):
            made(api.call("PUT", f"vhosts/{vhost}"))
        for tags in ABILITIES:
            name = f"tags-{tags}"
            made(api.call("PUT", f"users/{name}", {"tags": tags, "password": "pw"}))
            made(api.call("PUT", f"permissions/in/{name}", ALL_RIGHTS))
        for name, rights in SUBSETS.items():
            made(api.call("PUT", f"users/u-{name}", {"tags": "management", "password": "pw"}))
            made(api.call("PUT", f"permissions/in/u-{name}", {
                right: "^p-" if right in rights else "" for right in RIGHTS}))
        made(api.call("PUT", "exchanges/in/p-direct", {"type": "direct"}))
        made(api.call("PUT", "exchanges/in/p-topic", {"type": "topic"}))
        made(api.call("PUT", "exchanges/out/p-direct", {"type": "fanout"}))
        made(api.call("PUT", "queues/in/p-queue", {}))
        yield running


def made(answer):
    assert answer[0] in (201, 204), answer


def api_of(broker, user, password="pw"):
    return Api(broker.addresses["http"][0], user, password)


# -- one choke point

# Name, rights that are needed (a tuple of several: any of them), and how each interface asks. USER
# is replaced, so that each user makes objects of its own; WAY by the interface.
DEAD = {"x-dead-letter-exchange": "p-direct"}
OTHER = {"alternate-exchange": "p-direct"}
OPERATIONS = {
    "declare a queue that is there": (
        ["configure"], ("queue.declare", {"queue": "p-queue", "durable": True}),
        ("PUT", "queues/in/p-queue", {}), ("queue", "declare", "p-queue")),
    "declare a queue": (
        ["configure"], ("queue.declare", {"queue": "p-USER-WAY", "durable": True}),
        ("PUT", "queues/in/p-USER-WAY", {}), ("queue", "declare", "p-USER-WAY")),
    "declare a queue with dead letters": (
        ["configure", "read", "write"],
        ("queue.declare", {"queue": "p-dl-USER-WAY", "durable": True, "arguments": DEAD}),
        ("PUT", "queues/in/p-dl-USER-WAY", {"arguments": DEAD}),
        ("queue", "declare", "p-dl-USER-WAY", "--argument", "x-dead-letter-exchange=p-direct")),
    "delete a queue": (
        ["configure"], ("queue.delete", {"queue": "p-gone"}), ("DELETE", "queues/in/p-gone", None),
        ("queue", "delete", "p-gone")),
    "purge a queue": (
        ["read"], ("queue.purge", {"queue": "p-queue"}),
        ("DELETE", "queues/in/p-queue/contents", None), ("purge", "p-queue")),
    "bind a queue": (
        ["write", "read"],
        ("queue.bind", {"queue": "p-queue", "exchange": "p-direct", "routing_key": "k"}),
        ("POST", "bindings/in/e/p-direct/q/p-queue", {"routing_key": "k"}),
        ("binding", "add", "p-direct", "p-queue", "--key", "k")),
    "unbind a queue": (
        ["write", "read"],
        ("queue.unbind", {"queue": "p-queue", "exchange": "p-direct", "routing_key": "k"}),
        ("DELETE", "bindings/in/e/p-direct/q/p-queue/k", None),
        ("binding", "delete", "p-direct", "p-queue", "--key", "k")),
    "declare an exchange": (
        ["configure"], ("exchange.declare", {"exchange": "p-direct", "type": "direct",
                                             "durable": True}),
        ("PUT", "exchanges/in/p-direct", {"type": "direct"}), ("exchange", "declare", "p-direct")),
    "declare an exchange with an alternate": (
        ["configure", "read", "write"],
        ("exchange.declare", {"exchange": "p-ae-USER-WAY", "type": "direct", "durable": True,
                              "arguments": OTHER}),
        ("PUT", "exchanges/in/p-ae-USER-WAY", {"type": "direct", "arguments": OTHER}),
        ("exchange", "declare", "p-ae-USER-WAY", "--argument", "alternate-exchange=p-direct")),
    "delete an exchange": (
        ["configure"], ("exchange.delete", {"exchange": "p-gone"}),
        ("DELETE", "exchanges/in/p-gone", None), ("exchange", "delete", "p-gone")),
    "bind an exchange": (
        ["write", "read"], ("exchange.bind", {"destination": "p-direct", "source": "p-topic",
                                              "routing_key": "k"}),
        ("POST", "bindings/in/e/p-topic/e/p-direct", {"routing_key": "k"}),
        ("binding", "add", "p-topic", "p-direct", "--to-exchange", "--key", "k")),
    "unbind an exchange": (
        ["write", "read"], ("exchange.unbind", {"destination": "p-direct", "source": "p-topic",
                                                "routing_key": "k"}),
        ("DELETE", "bindings/in/e/p-topic/e/p-direct/k", None),
        ("binding", "delete", "p-topic", "p-direct", "--to-exchange", "--key", "k")),
    "publish": (
        ["write"], ("basic.publish", {"exchange": "p-direct", "routing_key": "none"}),
        ("POST", "exchanges/in/p-direct/publish",
         {"properties": {}, "routing_key": "none", "payload": "x", "payload_encoding": "string"}),
        ("publish", "p-direct", "none", "x")),
    "publish to an exchange that is not there": (
        ["write"], ("basic.publish", {"exchange": "p-gone", "routing_key": "none"}),
        ("POST", "exchanges/in/p-gone/publish",
         {"properties": {}, "routing_key": "none", "payload": "x", "payload_encoding": "string"}),
        ("publish", "p-gone", "none", "x")),
    "get": (
        ["read"], ("basic.get", {"queue": "p-queue"}),
        ("POST", "queues/in/p-queue/get",
         {"count": 1, "ackmode": "ack_requeue_false", "encoding": "auto"}), ("get", "p-queue")),
    "get from a queue that is not there": (
        ["read"], ("basic.get", {"queue": "p-gone"}),
        ("POST", "queues/in/p-gone/get",
         {"count": 1, "ackmode": "ack_requeue_false", "encoding": "auto"}), ("get", "p-gone")),
}

# What AMQP has no method for.
HTTP_ONLY = {
    "peek": (["read"], ("GET", "bourse/queues/in/p-queue/peek", None), ("peek", "p-queue")),
    "export": (["read"], ("GET", "bourse/queues/in/p-queue/export", None),
               ("dlq", "export", "p-queue")),
    "groups": (["read"], ("GET", "bourse/queues/in/p-queue/groups", None),
               ("dlq", "group", "p-queue")),
    "delayed": (["read"], ("GET", "bourse/queues/in/p-queue/delayed", None),
                ("delayed", "ls", "p-queue")),
    "release": (["read"], ("POST", "bourse/queues/in/p-queue/delayed/release", {"all": True}),
                ("delayed", "release", "p-queue", "--all")),
    "drop": (["read"], ("POST", "bourse/queues/in/p-queue/drop", {"all": True, "wait": True}),
             ("dlq", "drop", "p-queue", "--all", "--note", "x")),
    "replay": (["read", "write"],
               ("POST", "bourse/queues/in/p-queue/replay", {"exchange": "p-direct", "wait": True}),
               ("dlq", "replay", "p-queue", "--to", "p-direct")),
    "pause": (["configure"], ("POST", "bourse/queues/in/p-queue/pause", {}), ("pause", "p-queue")),
    "resume": (["configure"], ("POST", "bourse/queues/in/p-queue/resume", {}),
               ("resume", "p-queue")),
}


def filled(value, user, way):
    if isinstance(value, str):
        return value.replace("USER", user).replace("WAY", way)
    if isinstance(value, dict):
        return {key: filled(item, user, way) for key, item in value.items()}
    if isinstance(value, tuple):
        return tuple(filled(item, user, way) for item in value)
    return value


def by_amqp(broker, user, name, arguments):
    """The text of the refusal, or None."""
    connection = broker.open(vhost="in", user=user, password="pw")
    channel = connection.channel()
    if name == "basic.publish":
        channel.publish(arguments["exchange"], arguments["routing_key"], b"x")
        channel.send("channel.flow", active=True)
    else:
        channel.send(name, **arguments)
    answer = channel.next_method()
    connection.drop()
    return answer.reply_text if answer.name == "channel.close" and answer.reply_code == 403 else None


def by_http(broker, user, method, path, body):
    status, answer = api_of(broker, user).call(method, path, body)
    assert status not in (400, 403, 405, 415, 500), (status, answer)
    return answer["reason"] if status == 401 else None


def by_command(broker, user, words):
    done = command(broker, user, "in", words)
    assert done.returncode in (0, 1, 66, 77), (words, done.stdout, done.stderr)
    return done.stderr if done.returncode == 77 else None


def command(broker, user, vhost, words):
    """Runs it as that user, over HTTP with a password."""
    environment = {**os.environ, "XDG_CONFIG_HOME": str(broker.home), "BOURSE_PW": "pw"}
    context = f"as-{user}-in-{vhost}".replace(",", "-")
    if not os.path.exists(broker.home / context):
        url = "http://{}:{}".format(*broker.addresses["http"][0])
        added = brokers.run_command("context", "add", context, "--url", url, "--user", user,
                                    "--password-env", "BOURSE_PW", "--default-vhost", vhost,
                                    env=environment)
        assert added.returncode == 0, added.stderr
        (broker.home / context).touch()
    return brokers.run_command(*words, "--context", context, env=environment, input="pw\n")


def is_allowed(user, needed):
    return all(need in SUBSETS[user] for need in needed)


@pytest.mark.parametrize("user", SUBSETS)
def test_all_interfaces_refuse_the_same_with_the_same_words(broker, user):
    for operation, (needed, amqp, http_call, words) in OPERATIONS.items():
        # What is to be undone is there, so that no 404 hides a missing right.
        api = api_of(broker, "guest", "guest")
        answers = []
        for way, ask in (("amqp", lambda: by_amqp(broker, f"u-{user}", *filled(amqp, user, "amqp"))),
                         ("http", lambda: by_http(broker, f"u-{user}",
                                                  *filled(http_call, user, "amqp"))),
                         ("command", lambda: by_command(broker, f"u-{user}",
                                                        filled(words, user, "amqp")))):
            made(api.call("POST", "bindings/in/e/p-direct/q/p-queue", {"routing_key": "k"}))
            made(api.call("POST", "bindings/in/e/p-topic/e/p-direct", {"routing_key": "k"}))
            answers.append((way, ask()))
        for way, answer in answers:
            assert (answer is None) == is_allowed(user, needed), (operation, way, answer)
        if answers[0][1] is not None:
            assert answers[0][1] == answers[1][1], operation
            assert answers[0][1] in answers[2][1], operation


@pytest.mark.parametrize("user", SUBSETS)
def test_what_amqp_has_no_method_for_needs_rights_as_well(broker, user):
    for operation, (needed, http_call, words) in HTTP_ONLY.items():
        answer = by_http(broker, f"u-{user}", *http_call)
        assert (answer is None) == is_allowed(user, needed), (operation, answer)
        told = by_command(broker, f"u-{user}", words)
        assert (told is None) == (answer is None), (operation, told)
        if answer is not None:
            assert answer.startswith("ACCESS_REFUSED - ") and answer in told, operation


# An answer that goes on is refused or begins.
@pytest.mark.parametrize("user", SUBSETS)
@pytest.mark.parametrize("place", ["queues/in/p-queue", "exchanges/in/p-topic"])
def test_watching_what_passes_needs_the_right_to_read(broker, user, place):
    connection = http.client.HTTPConnection(*broker.addresses["http"][0], timeout=15)
    connection.request("GET", f"/api/bourse/{place}/traffic", headers={
        "Authorization": api_of(broker, f"u-{user}").authorization})
    answer = connection.getresponse()
    assert answer.status == (200 if "read" in SUBSETS[user] else 401)
    if answer.status == 401:
        kind, name = place.replace("s/in/", " ").split()
        assert f"ACCESS_REFUSED - read access to {kind} '{name}'" in answer.read().decode()
    connection.close()


# Topics narrow what may be published, whichever way it comes: RabbitMQ's advisory 57217.
def test_topic_rights_hold_on_every_way(broker):
    api = api_of(broker, "guest", "guest")
    made(api.call("PUT", "topic-permissions/in/u-cwr",
                  {"exchange": "p-topic", "write": "^eu[.]", "read": "^eu[.]"}))
    for key, is_right in (("eu.x", True), ("us.eu.x", False), ("us.x", False)):
        answers = [
            by_amqp(broker, "u-cwr", "basic.publish", {"exchange": "p-topic", "routing_key": key}),
            by_http(broker, "u-cwr", "POST", "exchanges/in/p-topic/publish", {
                "properties": {}, "routing_key": key, "payload": "x", "payload_encoding": "string"}),
            by_command(broker, "u-cwr", ("publish", "p-topic", key, "x")),
            by_amqp(broker, "u-cwr", "queue.bind", {"queue": "p-queue", "exchange": "p-topic",
                                                    "routing_key": key}),
            by_http(broker, "u-cwr", "POST", "bindings/in/e/p-topic/q/p-queue",
                    {"routing_key": key}),
            by_command(broker, "u-cwr", ("binding", "add", "p-topic", "p-queue", "--key", key)),
        ]
        assert [answer is None for answer in answers] == [is_right] * 6, (key, answers)
        if not is_right:
            assert answers[0] == answers[1] and answers[0] in answers[2]
            assert answers[3] == answers[4] and answers[3] in answers[5]
    made(api.call("DELETE", "topic-permissions/in/u-cwr"))


# A client that may do nothing may still do what concerns only its own channel. Methods that need
# a right are those of the matrix in test_permissions.py, and these are all others.
NO_RIGHT_NEEDED = [
    ("access.request", {"realm": "/data"}), ("channel.flow", {"active": True}),
    ("basic.qos", {"prefetch_count": 1}), ("basic.recover", {"requeue": True}),
    ("confirm.select", {}), ("basic.cancel", {"consumer_tag": "none"}),
    ("basic.consume", {"queue": "amq.rabbitmq.reply-to", "no_ack": True}),
]


@pytest.mark.parametrize("name, arguments", NO_RIGHT_NEEDED)
def test_some_methods_need_no_right(broker, name, arguments):
    connection = broker.open(vhost="in", user="u-none", password="pw")
    connection.channel().call(name, **arguments)
    connection.drop()


def test_a_transaction_needs_no_right_until_something_is_done_in_it(broker):
    connection = broker.open(vhost="in", user="u-none", password="pw")
    channel = connection.channel()
    for name in ("tx.select", "tx.commit", "tx.rollback"):
        channel.call(name)
    channel.publish("p-direct", "k", b"x")
    channel.expect_close(403)
    connection.drop()


# Reading a queue is no right to be handed what is for somebody else, nor to bind where it goes:
# RabbitMQ's advisory 57215. Asking whether a requester lives needs none.
def test_a_token_of_direct_reply_to_gives_nobody_more_than_a_reply(broker):
    requester = broker.open(vhost="in", user="u-none", password="pw").channel()
    requester.call("basic.consume", queue="amq.rabbitmq.reply-to", no_ack=True)
    responder = broker.open(vhost="in", user="tags-management", password="pw")
    server = responder.channel()
    server.call("queue.declare", queue="p-asked", exclusive=True)
    # Who asks must be able to publish; so does the requester here for once.
    api = api_of(broker, "guest", "guest")
    made(api.call("PUT", "permissions/in/u-none", {**{right: "" for right in RIGHTS},
                                                   "write": "^amq[.]default$"}))
    requester.publish("", "p-asked", b"?", reply_to="amq.rabbitmq.reply-to")
    requester.ping()
    token = server.get("p-asked").properties["reply_to"]
    for name, arguments in (("basic.consume", {}), ("basic.get", {}), ("queue.purge", {}),
                            ("queue.bind", {"exchange": "amq.direct"})):
        answer = server_refusal(responder, name, {"queue": token, **arguments})
        assert answer in (403, 404, 405, 406), (name, answer)
    responder.channel().call("queue.delete", queue=token)  # as of any name that is not there
    made(api.call("PUT", "permissions/in/u-none", {right: "" for right in RIGHTS}))
    stranger = broker.open(vhost="out", user="guest", password="guest")
    assert server_refusal(stranger, "queue.declare", {"queue": token, "passive": True}) == 404
    stranger.channel().publish("", token, b"forged")
    stranger.drop()
    server.publish("", token, b"!")
    assert requester.delivery().body == b"!"
    responder.drop()
    requester.connection.drop()


def server_refusal(connection, name, arguments):
    channel = connection.channel()
    channel.send(name, **arguments)
    answer = channel.next_method()
    if answer.name != "channel.close":
        return 0
    channel.send("channel.close-ok")
    return answer.reply_code


# T16: the same name in a vhost of others is another object, for every way of asking.
def test_names_of_another_vhost_are_out_of_reach(broker):
    user = "tags-management"
    assert by_amqp(broker, user, "exchange.declare",
                   {"exchange": "p-direct", "type": "direct", "durable": True}) is None
    for path in ("exchanges/out/p-direct", "queues/out", "bindings/out", "consumers/out",
                 "bourse/queues/out/p-queue/peek", "bourse/history/out/p-queue",
                 "bourse/vhosts/out/tracing", "vhosts/out", "vhosts/out/connections"):
        status, answer = api_of(broker, user).get(path)
        assert status == 401 and "no rights in vhost 'out'" in answer["reason"], (path, answer)
    for path in ("queues", "exchanges", "bindings", "vhosts", "policies", "bourse/dead-letters",
                 "bourse/attention", "bourse/audit", "vhost-limits"):
        status, answer = api_of(broker, user).get(path)
        assert status == 200 and '"out"' not in json.dumps(answer), path
    assert command(broker, user, "out", ("ls", "queues")).returncode == 77
    assert command(broker, user, "out", ("queue", "declare", "q")).returncode == 77


# Parameters are another way to operator policies and limits, and as narrow.
def test_parameters_of_another_vhost_are_not_seen(broker):
    api = api_of(broker, "guest", "guest")
    for vhost in ("in", "out"):
        made(api.call("PUT", f"vhost-limits/{vhost}/max-queues", {"value": 77}))
        made(api.call("PUT", f"operator-policies/{vhost}/cap",
                      {"pattern": "^cap", "definition": {"max-length": 7}}))
    for path in ("parameters", "parameters/vhost-limits", "parameters/operator_policy",
                 "vhost-limits", "operator-policies"):
        status, rows = api_of(broker, "tags-policymaker").get(path)
        assert status == 200 and {row["vhost"] for row in rows} == {"in"}, (path, rows)
    for path in ("parameters/vhost-limits/out", "parameters/operator_policy/out"):
        assert api_of(broker, "tags-policymaker").get(path)[1] == [], path
    for path in ("parameters/vhost-limits/out/limits", "parameters/operator_policy/out/cap"):
        assert api_of(broker, "tags-policymaker").get(path)[0] == 404, path


# -- every route with every role

def routes():
    with open(ROUTES, encoding="utf-8") as file:
        return [tuple(line.split()) for line in file if not line.startswith("#")]


def test_the_matrix_has_the_routes_of_the_broker(broker):
    paths = api_of(broker, "guest", "guest").found("openapi.json")["paths"]
    served = {(method.upper(), path) for path, methods in paths.items() for method in methods}
    assert served == {(method, path) for method, _needs, _vhost, path in routes()}


class Caller:
    """Calls of one user over one connection, which is made anew where the broker ends it."""

    def __init__(self, broker, user, password="pw"):
        self.address = broker.addresses["http"][0]
        self.authorization = api_of(broker, user, password).authorization if user else None
        self.connection = None

    def call(self, method, path, body):
        if self.connection is None:
            self.connection = http.client.HTTPConnection(*self.address, timeout=15)
        headers = {"Authorization": self.authorization} if self.authorization else {}
        if body is not None:
            headers["Content-Type"] = "application/json"
        self.connection.request(method, path, body, headers)
        answer = self.connection.getresponse()
        has_end = answer.getheader("Content-Type") != "text/event-stream"
        text = answer.read() if has_end else b""
        if answer.will_close or not has_end:
            self.connection.close()
            self.connection = None
        return answer.status, text.decode(errors="replace")


def path_of(pattern, vhost):
    parts = [vhost if part == "{vhost}" else "matrix-none" if part.startswith("{") else part
             for part in pattern.split("/")]
    return "/".join(quoted(part) for part in parts)


def verdict_of(status, text):
    """What stopped it, "passed" for whatever comes of it otherwise."""
    if status == 401 and "has no role that allows this" in text:
        return "role"
    if status == 401 and "has no rights in vhost" in text:
        return "vhost"
    if status == 401 and "Not logged in" in text:
        return "login"
    if status == 404 and "Not Found: vhost" in text:
        return "no vhost"
    return "passed"


def expected(abilities, method, needs, vhost):
    if needs not in abilities:
        return "role"
    if vhost == "in" or vhost is None:
        return "passed"
    sees = "see-all" in abilities
    if vhost == "out":
        return "passed" if needs == "admin" or (method == "GET" and sees) else "vhost"
    return "no vhost" if sees else "vhost"


# T21, RabbitMQ's advisories 66069, 66075, 67233. The body is wrong for everything, and names are of
# what is not there, so that who may call changes nothing.
@pytest.mark.parametrize("tags", ABILITIES)
def test_every_route_with_every_role_in_every_vhost(broker, tags):
    caller = Caller(broker, f"tags-{tags}")
    seen = 0
    for method, needs, in_vhost, pattern in routes():
        if needs in ("open", "session"):
            continue
        for vhost in ("in", "out", "no-such") if in_vhost == "vhost" else (None,):
            path = path_of(pattern, vhost or "matrix-none")
            body = "[]" if method in ("PUT", "POST") else None
            status, text = caller.call(method, path, body)
            wanted = expected(ABILITIES[tags], method, needs, vhost)
            assert verdict_of(status, text) == wanted, (method, path, status, text)
            assert status not in (405, 500), (method, path, status, text)
            seen += 1
    assert seen > 250


def test_without_a_login_only_what_is_open_answers(broker):
    caller = Caller(broker, None)
    for method, needs, _vhost, pattern in routes():
        if needs == "open":
            continue
        body = "[]" if method in ("PUT", "POST") else None
        status, text = caller.call(method, path_of(pattern, "in"), body)
        if (method, pattern) == ("POST", "/api/bourse/session"):
            assert status == 400, text  # it takes name and password in its body
        else:
            assert (status, verdict_of(status, text)) == (401, "login"), (method, pattern, text)


# -- every verb with every role

# Commands that ask a broker: what they need, and words with which they do no harm. FILE is an empty
# topology of a vhost of its own.
VERBS = {
    "plan": ("see-all", ["FILE"]), "apply": ("admin", ["FILE", "--yes"]), "export": ("admin", []),
    "ls": ("look", ["queues"]),
    "ping": ("look", []), "status": ("look", []), "trace on": ("admin", []),
    "trace off": ("admin", []), "trace status": ("look", []),
    "backup": ("admin", ["/nonexistent/matrix"]),
    "drift": ("see-all", []), "generation ls": ("see-all", []),
    "rollback": ("admin", ["999", "--yes"]),
    "route": ("look", ["p-direct", "k"]),
    "peek": ("operate", ["matrix-none"]), "get": ("operate", ["matrix-none"]),
    "publish": ("operate", ["matrix-none", "k", "x"]), "purge": ("operate", ["matrix-none"]),
    "pause": ("operate", ["matrix-none"]), "resume": ("operate", ["matrix-none"]),
    "dlq ls": ("look", []), "dlq show": ("operate", ["matrix-none"]),
    "dlq group": ("look", ["matrix-none"]), "dlq replay": ("operate", ["matrix-none"]),
    "dlq drop": ("operate", ["matrix-none", "--all", "--note", "x"]), "dlq export": ("operate", ["matrix-none"]),
    "dlq jobs": ("look", []), "dlq cancel": ("operate", ["999"]), "dlq audit": ("look", []), "audit": ("look", []),
    "delayed ls": ("look", ["matrix-none"]),
    "delayed release": ("operate", ["matrix-none", "k"]),
    "delayed cancel": ("operate", ["matrix-none", "k"]),
    "queue ls": ("look", []), "queue show": ("look", ["matrix-none"]),
    "queue declare": ("operate", ["p-queue"]), "queue delete": ("operate", ["matrix-none"]),
    "queue purge": ("operate", ["matrix-none"]),
    "exchange ls": ("look", []), "exchange show": ("look", ["matrix-none"]),
    "exchange declare": ("operate", ["p-direct"]),
    "exchange delete": ("operate", ["matrix-none"]),
    "binding ls": ("look", []), "binding add": ("operate", ["matrix-none", "matrix-none"]),
    "binding delete": ("operate", ["p-direct", "p-queue", "--key", "k"]),
    "user ls": ("admin", []), "user add": ("admin", ["matrix-user"]),
    "user role": ("admin", ["matrix-none", "none"]),
    "user passwd": ("admin", ["matrix-none"]), "user rights": ("admin", ["matrix-none"]),
    "user delete": ("admin", ["matrix-none"]),
    "vhost ls": ("look", []), "vhost add": ("admin", ["matrix-added"]),
    "vhost delete": ("admin", ["matrix-added"]),
    "policy ls": ("look", []), "policy set": ("policy", ["p", "^matrix-none$", "{}"]),
    "policy delete": ("policy", ["p"]),
    "conn ls": ("look", []), "conn close": ("operate", ["matrix-none"]),
}

# Those that ask none, those that ask for many things and go on without what they may not see, those
# that go on until they are interrupted, and those that speak AMQP, where test_permissions.py is.
LEFT_OUT = {
    "serve", "check", "test", "import", "store verify", "store dump", "store repair",
    "store backup", "context ls", "context add", "context use", "context rm", "explain",
    "completion", "man", "version", "help", "doctor", "support-bundle", "top", "sub", "drain",
    "bench",
}


def listed_verbs():
    """The words of each command that `bourse help` lists."""
    for line in brokers.run_command("help").stdout.splitlines():
        if line.startswith("  ") and not line.startswith("   "):
            yield " ".join(itertools.takewhile(lambda word: word.islower() and word.isalpha() or
                                               word == "support-bundle", line[2:33].split()))


def test_every_verb_is_in_the_matrix():
    known = set(VERBS) | LEFT_OUT
    for verb in listed_verbs():
        assert verb in known or verb.split()[0] in known, verb


@pytest.mark.parametrize("tags", ["administrator", "monitoring", "management", "policymaker", ""])
def test_every_verb_with_every_role(broker, tmp_path, tags):
    made(api_of(broker, "guest", "guest").call("POST", "bindings/in/e/p-direct/q/p-queue",
                                               {"routing_key": "k"}))
    file = tmp_path / "empty.yaml"
    file.write_text("bourse: 1\nvhost: applied\n")
    for verb, (needs, words) in VERBS.items():
        words = [str(file) if word == "FILE" else word for word in words]
        done = command(broker, f"tags-{tags}", "in", (*verb.split(), *words))
        is_refused = done.returncode == 77
        assert is_refused == (needs not in ABILITIES[tags]), (verb, done.stdout, done.stderr)
        assert done.returncode != 64, (verb, done.stderr)
