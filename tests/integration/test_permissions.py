# SPDX-License-Identifier: Apache-2.0
"""Rights, from a matrix: every operation for every combination of configure, write and read.

The file is written here from the same table as the expectations; a cell that is wrong in the broker
cannot be right in both.
"""

import itertools

import pytest

from support import broker as brokers, wire

pytestmark = pytest.mark.bourse_only

# One user for each subset of the three rights, on objects whose names start with p-.
RIGHTS = ("configure", "write", "read")
USERS = {"".join(right[0] for right in subset) or "none": set(subset)
         for size in range(4) for subset in itertools.combinations(RIGHTS, size)}

# name → (method, arguments, rights needed; a tuple of several means any one of them). USER in an
# argument is replaced, so that each user creates objects of its own.
DURABLE = {"durable": True}
OPERATIONS = {
    "declare a queue": ("queue.declare", {"queue": "p-queue", **DURABLE}, ["configure"]),
    "declare a new queue": ("queue.declare", {"queue": "p-new-USER", "exclusive": True},
                            ["configure"]),
    "declare a queue with dead letters": (
        "queue.declare", {"queue": "p-dlq-USER", "exclusive": True,
                          "arguments": {"x-dead-letter-exchange": "p-direct"}},
        ["configure", "read", "write"]),
    "look at a queue": ("queue.declare", {"queue": "p-queue", "passive": True},
                        [("configure", "write", "read")]),
    "look at a missing queue": ("queue.declare", {"queue": "p-gone", "passive": True},
                                [("configure", "write", "read")]),
    "delete a queue": ("queue.delete", {"queue": "p-gone"}, ["configure"]),
    "purge a queue": ("queue.purge", {"queue": "p-queue"}, ["read"]),
    "bind a queue": ("queue.bind", {"queue": "p-queue", "exchange": "p-direct", "routing_key": "k"},
                     ["write", "read"]),
    "unbind a queue": ("queue.unbind", {"queue": "p-queue", "exchange": "p-direct",
                                        "routing_key": "k"}, ["write", "read"]),
    "declare an exchange": ("exchange.declare",
                            {"exchange": "p-direct", "type": "direct", **DURABLE},
                            ["configure"]),
    "declare an exchange with an alternate": (
        "exchange.declare", {"exchange": "p-new-USER", "type": "direct", **DURABLE,
                             "arguments": {"alternate-exchange": "p-direct"}},
        ["configure", "read", "write"]),
    "look at an exchange": ("exchange.declare", {"exchange": "p-direct", "type": "direct",
                                                 "passive": True},
                            [("configure", "write", "read")]),
    "delete an exchange": ("exchange.delete", {"exchange": "p-gone"}, ["configure"]),
    "bind an exchange": ("exchange.bind", {"destination": "p-direct", "source": "p-topic",
                                           "routing_key": "k"}, ["write", "read"]),
    "unbind an exchange": ("exchange.unbind", {"destination": "p-direct", "source": "p-topic",
                                               "routing_key": "k"}, ["write", "read"]),
    "publish": ("basic.publish", {"exchange": "p-direct", "routing_key": "nowhere"}, ["write"]),
    "publish to a missing exchange": ("basic.publish", {"exchange": "p-gone", "routing_key": "k"},
                                      ["write"]),
    "get": ("basic.get", {"queue": "p-queue"}, ["read"]),
    "get from a missing queue": ("basic.get", {"queue": "p-gone"}, ["read"]),
    "consume": ("basic.consume", {"queue": "p-queue"}, ["read"]),
}
# Those that are allowed and then find nothing: 403 comes before 404.
MISSING = {"look at a missing queue", "publish to a missing exchange", "get from a missing queue"}

FILE = """
    bourse: 1
    vhost: matrix
    exchanges:
      p-direct: {type: direct}
      p-topic: {type: topic}
    queues:
      p-queue: {}
      other-queue: {from: [{exchange: p-topic, key: "#"}]}
    listeners:
      amqp: {bind: "127.0.0.1:0"}
    users:
      narrow: {auth: password, password-file: matrix.pw,
               publish: [p-topic], topics: {p-topic: ["a.*.c", "d.#"]}}
      words: {auth: password, password-file: matrix.pw,
              publish: [p-direct, "p-to*"], consume: ["other*"]}
      searched: {auth: password, password-file: matrix.pw,
                 rights: {configure: "", write: "irec", read: "^other"}}
      slow: {auth: password, password-file: matrix.pw,
             rights: {configure: "", write: "^(([a-z])+.)+[A-Z]([a-z])+$", read: ""}}
      default: {auth: password, password-file: matrix.pw,
                rights: {configure: "", write: "^amq[.]default$", read: ""}}
      generated: {auth: password, password-file: matrix.pw,
                  rights: {configure: "^amq[.]gen", write: "", read: "^amq[.]gen"}}
"""


def user_lines():
    for name, rights in USERS.items():
        fields = ", ".join(f'{right}: "{"^p-" if right in rights else ""}"' for right in RIGHTS)
        yield (f"      u-{name}: {{auth: password, password-file: matrix.pw, "
               f"rights: {{{fields}}}}}\n")


@pytest.fixture(scope="module")
def matrix(tmp_path_factory, canaries):
    """A broker with the users of the matrix; matrix(user) is a channel of one of them."""
    directory = tmp_path_factory.mktemp("matrix")
    (directory / "matrix.pw").write_text(canaries["matrix"] + "\n")
    file = directory / "matrix.yaml"
    text = "\n".join(line[4:] for line in (FILE + "".join(user_lines())).splitlines())
    file.write_text(text)
    running = brokers.Bourse(file)
    opened = {}

    def channel(user):
        if user not in opened:
            opened[user] = running.open(vhost="matrix", user=user, password=canaries["matrix"])
        return opened[user].channel()

    yield channel
    for conn in opened.values():
        conn.close()
    running.stop()


def attempt(channel, name, arguments):
    """The reply code of the refusal, or 0."""
    if name == "basic.publish":
        channel.publish(arguments["exchange"], arguments["routing_key"], b"x")
        channel.send("channel.flow", active=True)
        answer = channel.expect("channel.flow-ok", "channel.close")
    else:
        channel.send(name, **arguments)
        answer = channel.next_method()
    if answer.name != "channel.close":
        channel.close()
        return 0, ""
    channel.send("channel.close-ok")
    return answer.reply_code, answer.reply_text


def is_allowed(rights, needed):
    return all(bool(rights & set(need)) if isinstance(need, tuple) else need in rights
               for need in needed)


@pytest.mark.parametrize("user", USERS)
@pytest.mark.parametrize("operation", OPERATIONS)
def test_matrix(matrix, operation, user):
    name, arguments, needed = OPERATIONS[operation]
    arguments = {key: value.replace("USER", user) if isinstance(value, str) else value
                 for key, value in arguments.items()}
    code, text = attempt(matrix(f"u-{user}"), name, arguments)
    if not is_allowed(USERS[user], needed):
        assert code == 403, (code, text)
        assert f"refused for user 'u-{user}'" in text
    else:
        assert code == (404 if operation in MISSING else 0), text


@pytest.mark.parametrize("operation, right, resource", [
    ("declare a queue", "configure", "queue 'p-queue'"), ("purge a queue", "read",
                                                          "queue 'p-queue'"),
    ("delete an exchange", "configure", "exchange 'p-gone'"),
    ("publish", "write", "exchange 'p-direct'"), ("get", "read", "queue 'p-queue'"),
])
def test_a_refusal_names_right_resource_and_user(matrix, operation, right, resource):
    name, arguments, _needed = OPERATIONS[operation]
    assert attempt(matrix("u-none"), name, arguments) == (
        403, f"ACCESS_REFUSED - {right} access to {resource} in vhost 'matrix' refused for user "
        "'u-none'")


# What is missing and what is forbidden look alike to somebody without rights.
@pytest.mark.parametrize("name", ["basic.get", "basic.consume", "queue.purge"])
def test_probing_does_not_reveal_names(matrix, name):
    for queue in ("other-queue", "no-such-queue"):
        code, text = attempt(matrix("u-cwr"), name, {"queue": queue})
        assert (code, text) == (403, f"ACCESS_REFUSED - read access to queue '{queue}' in vhost "
                                "'matrix' refused for user 'u-cwr'")


# Expressions are searched for, not anchored.
def test_expressions_are_searched(matrix):
    assert attempt(matrix("searched"), "basic.publish",
                   {"exchange": "p-direct", "routing_key": "k"})[0] == 0
    assert attempt(matrix("searched"), "basic.publish",
                   {"exchange": "p-topic", "routing_key": "k"})[0] == 403


# T26: an expression that would run for ever stops at its match limit and denies.
def test_an_expression_that_backtracks_without_end_denies_in_time(matrix):
    channel = matrix("slow")
    code, _text = attempt(channel, "basic.publish", {"exchange": "a" * 250, "routing_key": "k"})
    assert code == 403


def test_the_default_exchange_is_called_amq_default_in_rights(matrix):
    publish = ("basic.publish", {"exchange": "", "routing_key": "other-queue"})
    assert attempt(matrix("default"), *publish)[0] == 0
    code, text = attempt(matrix("u-w"), *publish)
    assert (code, text) == (403, "ACCESS_REFUSED - write access to exchange 'amq.default' in vhost "
                            "'matrix' refused for user 'u-w'")


def test_server_named_queues_need_an_expression_that_matches_them(matrix):
    assert attempt(matrix("generated"), "queue.declare", {"exclusive": True})[0] == 0
    assert attempt(matrix("u-cwr"), "queue.declare", {"exclusive": True})[0] == 403


# -- topics

@pytest.mark.parametrize("key, allowed", [
    ("a.b.c", True), ("a..c", True), ("d", True), ("d.e.f", True), ("a.c", False),
    ("a.b.b.c", False),
    ("x.a.b.c", False), ("a.b.c.d", False), ("", False), ("dd", False), ("aXbXc", False),
])
def test_topics_narrow_what_may_be_published(matrix, key, allowed):
    code, text = attempt(matrix("narrow"), "basic.publish",
                         {"exchange": "p-topic", "routing_key": key})
    if allowed:
        assert code == 0, text
    else:
        assert (code, text) == (
            403, f"ACCESS_REFUSED - write access to topic '{key}' in exchange 'p-topic' in vhost "
            "'matrix' refused for user 'narrow'")


# Every routing key of the message counts, those in CC and BCC as well.
@pytest.mark.parametrize("header", ["CC", "BCC"])
def test_topics_hold_for_further_routing_keys(matrix, header):
    channel = matrix("narrow")
    channel.publish("p-topic", "a.b.c", b"x", headers={header: ["d.e", "x.y"]})
    close = channel.expect_close(403)
    assert "topic 'x.y'" in close.reply_text


# -- publish and consume in words

@pytest.mark.parametrize("name, arguments, code", [
    ("basic.publish", {"exchange": "p-direct", "routing_key": "k"}, 0),
    ("basic.publish", {"exchange": "p-topic", "routing_key": "k"}, 0),
    ("basic.publish", {"exchange": "xp-direct", "routing_key": "k"}, 403),
    ("basic.publish", {"exchange": "p-directx", "routing_key": "k"}, 403),
    ("basic.publish", {"exchange": "p-toxic", "routing_key": "k"}, 404),
    ("basic.publish", {"exchange": "", "routing_key": "other-queue"}, 403),
    ("basic.get", {"queue": "other-queue"}, 0), ("basic.get", {"queue": "another-queue"}, 403),
    ("basic.get", {"queue": "p-queue"}, 403), ("queue.purge", {"queue": "other-queue"}, 0),
    ("queue.declare", {"queue": "other-queue", "durable": True}, 403),
    ("queue.declare", {"queue": "mine"}, 403), ("queue.declare", {"exclusive": True}, 403),
    ("exchange.declare", {"exchange": "p-direct", "type": "direct", "durable": True}, 403),
    ("queue.delete", {"queue": "other-queue"}, 403), ("exchange.delete", {"exchange": "p-direct"},
                                                      403),
    ("queue.bind", {"queue": "other-queue", "exchange": "p-direct"}, 403),
    ("exchange.bind", {"destination": "p-direct", "source": "p-topic"}, 403),
    ("queue.declare", {"queue": "other-queue", "passive": True}, 0),
    ("queue.declare", {"queue": "p-queue", "passive": True}, 403),
])
def test_words_become_exactly_these_rights(matrix, name, arguments, code):
    assert attempt(matrix("words"), name, arguments)[0] == code


# T16: there is one vhost in the file; the others are not there for its users.
def test_other_vhosts_are_not_found(serve, canaries):
    broker = serve("""
        bourse: 1
        vhost: matrix
        users: {u: {auth: password, password-file: u.pw,
                    rights: {configure: "", write: "", read: ""}}}
        listeners: {amqp: {bind: "127.0.0.1:0"}}
        """, passwords=["u"])
    for vhost in ("/", "", "Matrix", "matrix/"):
        conn = broker.connect()
        conn.login(user="u", password=canaries["u"])
        conn.tune()
        conn.send(0, "connection.open", virtual_host=vhost)
        conn.expect_close(530, f"NOT_ALLOWED - vhost {vhost} not found")


# With a file there is no guest.
def test_there_is_no_guest_beside_a_file(serve):
    broker = serve("""
        bourse: 1
        listeners: {amqp: {bind: "127.0.0.1:0"}}
        """)
    conn = broker.connect()
    conn.read_start()
    conn.send_start_ok()
    conn.expect_close(403)


# The user-id rule looks at the login of the connection, whoever that is.
def test_user_id_is_that_of_the_login(matrix):
    channel = matrix("u-w")
    channel.publish("p-direct", "k", b"x", user_id="u-w")
    channel.ping()
    channel.publish("p-direct", "k", b"x", user_id="narrow")
    channel.expect_close(406, "PRECONDITION_FAILED - user_id property set to 'narrow' but "
                         "authenticated user was 'u-w'")


def test_the_matrix_covers_every_method_that_needs_rights():
    covered = {name for name, _arguments, _needed in OPERATIONS.values()}
    with_rights = {name for name in wire.METHODS if name.startswith(("exchange.", "queue.",
                                                                     "basic."))
                   and not name.endswith("-ok") and name not in (
                       "basic.qos", "basic.cancel", "basic.return", "basic.deliver",
                       "basic.get-empty",
                       "basic.ack", "basic.reject", "basic.nack", "basic.recover",
                       "basic.recover-async")}
    assert covered == with_rights
