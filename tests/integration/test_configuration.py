# SPDX-License-Identifier: Apache-2.0
"""The YAML file: what is wrong is told with its place, all of it in one run, and nothing starts."""

import base64
import hashlib
import random
import re

import pytest

from support import broker as brokers

pytestmark = pytest.mark.bourse_only

GOOD = """\
bourse: 1
vhost: test
defaults:
  queue: {limits: {max-bytes: 2GiB}}
exchanges:
  orders: {type: topic, unrouted: lost}
  lost: {type: fanout}
  events:
    type: fanout
    from:
      - {exchange: orders, key: "order.#"}
queues:
  billing:
    from: [{exchange: events}]
    ttl: 5m
users:
  reader: {auth: cert, consume: [billing]}
  writer:
    auth: password
    password-hash: "$scrypt$ln=14,r=8,p=5$by0cmnvgTVOIofDD0rTmlw$W3XcNLnYycFc7mvTDAfEeTIQg3cEkjCBXBTn2vJ61Lw"
    publish: [orders, "ev*"]
listeners:
  amqp: {bind: "127.0.0.1:5672"}
"""


def check(path):
    result = brokers.run_command("check", str(path))
    assert result.returncode in (0, 1), result.stderr
    return result


def errors(result):
    """(line, column, text) of each error."""
    found = re.findall(r"^\S+?:(\d+):(\d+): error: (.*)$", result.stderr, re.MULTILINE)
    return [(int(line), int(column), text) for line, column, text in found]


def test_a_good_file_passes(write_config):
    result = check(write_config(GOOD))
    assert result.returncode == 0, result.stderr


def line_of(text, part):
    return text[:text.index(part)].count("\n") + 1


# (what is replaced, by what, where the error is: a part of the changed text, a word of the message)
WRONG = [
    # unknown keys, with what was probably meant
    ("vhost: test", "vhots: test", "vhots", 'did you mean "vhost"'),
    ("exchanges:", "exchange:", "exchange:", 'did you mean "exchanges"'),
    ("type: topic", "typ: topic", "typ:", 'did you mean "type"'),
    ("consume: [billing]", "consumes: [billing]", "consumes", 'did you mean "consume"'),
    ('amqp: {bind', 'ampq: {bind', "ampq", 'did you mean "amqp"'),
    ("ttl: 5m", "tll: 5m", "tll", 'did you mean "ttl"'),
    ("ttl: 5m", "completely-unheard-of: 5m", "completely", "completely-unheard-of"),
    ('limits: {max-bytes', 'limits: {max-byte', "max-byte", 'did you mean "max-bytes"'),
    ("bind:", "bond:", "bond", 'did you mean "bind"'),
    # wrong types and values
    ("bourse: 1", "bourse: 2", "bourse: 2", "1"), ("bourse: 1", "bourse: one", "one", ""),
    ("bourse: 1\n", "", "vhost", "bourse"),
    ("type: topic", "type: [topic]", "[topic]", ""), ("type: topic", "type: topick", "topick",
                                                      "topic"),
    ("type: fanout}", "type: direct, durable: perhaps}", "perhaps", ""),
    ("type: fanout}", "type: direct, durable: 1}", "durable: 1", ""),
    ("from: [{exchange: events}]", "from: events", "from: events", ""),
    ("from: [{exchange: events}]", "from: [events]", "[events]", ""),
    ("ttl: 5m", "ttl: 5", "ttl: 5", "unit"), ("ttl: 5m", "ttl: 5 minutes", "5 minutes", ""),
    ("ttl: 5m", "ttl: -5m", "-5m", ""), ("ttl: 5m", "ttl: {a: b}", "{a: b}", ""),
    ("ttl: 5m", "ttl: 99999999999999999999d", "9999", ""),
    ("2GiB", "2G", "2G}", ""), ("2GiB", "2", "2}", "unit"), ("2GiB", "-1GiB", "-1GiB", ""),
    ("consume: [billing]", "consume: billing", "consume: billing", ""),
    ("auth: cert", "auth: magic", "magic", ""), ("auth: cert, ", "", "reader", "auth"),
    ('"127.0.0.1:5672"', '"127.0.0.1"', '"127.0.0.1"', "ADDR:PORT"),
    ('"127.0.0.1:5672"', '"127.0.0.1:99999"', '99999', ""),
    ('"127.0.0.1:5672"', '"localhost.example:abc"', 'localhost', ""),
    ('{bind: "127.0.0.1:5672"}', '{}', 'amqp: {}', "bind"),
    # references
    ("exchange: events", "exchange: evens", "evens", 'did you mean "events"'),
    ("unrouted: lost", "unrouted: last", "last", 'did you mean "lost"'),
    ("consume: [billing]", "consume: [bill]", "bill]", "bill"),
    ("publish: [orders", "publish: [order", "order,", 'did you mean "orders"'),
    ("ttl: 5m", "retry: gentle", "gentle", "gentle"),
    # names
    ("  lost: {type: fanout}", "  lost: {type: fanout}\n  lost: {type: direct}",
     "lost: {type: direct", "lost"),
    ("  events:\n", "  amq.mine: {}\n  events:\n", "amq.mine", "amq."),
    ("  billing:\n", f"  {'q' * 256}: {{}}\n  billing:\n", "qqqq", "255"),
    ("  billing:\n", "  amq.gen-mine: {}\n  billing:\n", "amq.gen-mine", "amq."),
    ("bourse: 1\n", "bourse: 1\nbourse: 1\n", "bourse: 1\nv", "twice"),
    # users
    ("auth: cert", "auth: cert, password-env: X", "", "cert"),
    ("    password-hash", "    password-env: X\n    password-hash", "", "exactly one"),
    ('"$scrypt$', '"$argon2$', "argon2", ""), ('"$scrypt$ln=14,', '"$scrypt$ln=40,', "scrypt", ""),
    ('"$scrypt$', '"not base64!', "not base64", ""),
    ("consume: [billing]", 'rights: {configure: "(", write: "", read: ""}', '"("', ""),
    ("consume: [billing]", 'rights: {configure: "", write: "' + "a" * 300 + '", read: ""}', 'aaa',
     ""),
    ("consume: [billing]", 'consume: [billing], rights: {configure: "", write: "", read: ""}',
     "rights", ""),
    # arguments that the broker would refuse
    ("ttl: 5m", "arguments: {x-expires: 0}", "", "x-expires"),
    ("ttl: 5m", "arguments: {x-max-priority: 300}", "", "x-max-priority"),
    ("ttl: 5m", "priorities: 300", "300", ""), ("ttl: 5m", "type: stream", "stream", ""),
    # what YAML can do and we do not
    ("queues:\n", "queues: &anchor\n", "&anchor", "anchor"), ("ttl: 5m", "ttl: *x", "*x", "alias"),
    ("ttl: 5m", "ttl: !!str 5m", "!!str", "tag"), ("    ttl: 5m", "    <<: {ttl: 5m}", "<<", ""),
    # not YAML at all
    ("queues:\n", "queues: [\n", "", ""), ("vhost: test", "vhost: \"test", "", ""),
    ("vhost: test", "\tvhost: test", "", ""), ("vhost: test", "vhost: test\n---\nbourse: 1", "",
                                               ""),
    ("vhost: test", "vhost: \x01", "", ""),
]


@pytest.mark.parametrize("old, new, place, word", WRONG, ids=[row[1][:40] for row in WRONG])
def test_what_is_wrong_is_told_with_its_place(write_config, old, new, place, word):
    assert GOOD.count(old) >= 1
    text = GOOD.replace(old, new, 1)
    result = check(write_config(text))
    assert result.returncode == 1
    found = errors(result)
    assert found, result.stderr
    assert any(word in message for _line, _column, message in found), result.stderr
    if place:
        assert line_of(text, place) in [line for line, _column, _message in found], result.stderr
    assert result.stdout == ""


# The column is that of the word that is wrong, counted from 1.
def test_the_column_is_exact(write_config):
    found = errors(check(write_config(GOOD.replace("type: topic", "typ: topic"))))
    assert found[0][:2] == (6, 12)


def test_all_errors_of_a_file_are_told_in_one_run(write_config):
    text = (GOOD.replace("type: topic", "type: topick").replace("ttl: 5m", "ttl: 5")
            .replace("exchange: events", "exchange: evens").replace("auth: cert", "auth: magic")
            .replace("2GiB", "2G").replace("vhost:", "vhots:"))
    lines = [line for line, _column, _text in errors(check(write_config(text)))]
    assert lines == sorted(lines)
    assert {2, 4, 6, 14, 15, 17} <= set(lines)


def test_serve_with_an_error_does_not_start(write_config):
    path = write_config(GOOD.replace("type: topic", "type: topick"))
    result = brokers.run_command("serve", str(path))
    assert result.returncode == 1
    assert "bourse.yaml:6:" in result.stderr and "ready" not in result.stdout


# check says what serve says, word for word.
def test_check_and_serve_agree(write_config):
    path = write_config(GOOD.replace("type: topic", "type: topick").replace("ttl: 5m", "ttl: 5"))
    assert errors(check(path)) == errors(brokers.run_command("serve", str(path)))


# check may run where the secrets are not.
def test_a_file_missing_here_is_a_warning_for_check_and_an_error_for_serve(write_config):
    tls = '  amqps: {bind: "127.0.0.1:0", tls: {certificate: gone.pem, key: gone.key}}\n'
    secret = "  third: {auth: password, password-file: gone.pw, consume: [billing]}\nlisteners:"
    path = write_config(GOOD.replace("listeners:", secret) + tls)
    result = check(path)
    assert result.returncode == 0, result.stderr
    for name in ("gone.pem", "gone.key", "gone.pw"):
        assert re.search(rf"warning: .*{name}", result.stderr), result.stderr
    result = brokers.run_command("serve", str(path))
    assert result.returncode == 1
    for name in ("gone.pem", "gone.key", "gone.pw"):
        assert re.search(rf"error: .*{name}", result.stderr), result.stderr


# -- T25: files made to hurt

def test_a_billion_laughs_are_one_error(write_config):
    text = "bourse: 1\na: &a [x, x]\nb: &b [*a, *a]\nc: [*b, *b]\n"
    assert "anchor" in check(write_config(text)).stderr


@pytest.mark.parametrize("text", [
    "bourse: 1\nvhost: " + "[" * 100_000, "bourse: 1\nvhost: " + "{a: " * 5000,
    "bourse: 1\nqueues: {" + "a: {" * 40 + "}" * 41,
])
def test_deep_nesting_is_an_error_at_once(write_config, text):
    result = check(write_config(text))
    assert result.returncode == 1 and errors(result)


def test_a_file_over_1_mib_is_an_error(write_config):
    result = check(write_config(GOOD + "#" + "x" * (1 << 20) + "\n"))
    assert result.returncode == 1 and "error" in result.stderr


def test_a_scalar_over_64_kib_is_an_error(write_config):
    result = check(write_config(GOOD.replace("vhost: test", f"vhost: {'v' * 70_000}")))
    assert result.returncode == 1 and errors(result)
    assert max(map(len, result.stderr.splitlines())) < 2000


def test_an_empty_file_is_an_error(write_config):
    for text in ("", "\n", "# only a comment\n", "[]\n", "text\n", "~\n"):
        result = check(write_config(text))
        assert result.returncode == 1 and "error" in result.stderr, text


@pytest.mark.parametrize("path", ["/nowhere/at/all.yaml", "/", "/dev/null"])
def test_a_file_that_cannot_be_read_is_an_error(path):
    result = brokers.run_command("check", path)
    assert result.returncode == 1 and path in result.stderr


# F13: whatever happens to a file, the answer is a verdict, never a crash.
def test_mutated_files_get_a_verdict(write_config):
    chance = random.Random(1)
    for _ in range(40):
        text = list(GOOD)
        for _ in range(chance.randint(1, 6)):
            at = chance.randrange(len(text))
            text[at:at + chance.randint(0, 5)] = chance.choice(
                ["", " ", "\n", ":", "{", "}", "[", "]", '"', "'", "- ", "&a ", "*a ", "\0", "é",
                 "%"])
        path = write_config("")
        path.write_bytes("".join(text).encode())
        result = check(path)
        assert (result.returncode == 1) == ("error:" in result.stderr), result.stderr


# -- several files

def test_several_files_make_one_configuration(tmp_path):
    first, second = tmp_path / "first.yaml", tmp_path / "second.yaml"
    first.write_text('bourse: 1\nexchanges: {a: {type: fanout}}\n'
                     'listeners: {amqp: {bind: "127.0.0.1:0"}}\n')
    second.write_text("bourse: 1\nqueues: {q: {from: [{exchange: a}]}}\n")
    result = brokers.run_command("check", str(first), str(second))
    assert result.returncode == 0, result.stderr
    second.write_text("bourse: 1\nexchanges: {a: {type: fanout}}\n")
    result = brokers.run_command("check", str(first), str(second))
    assert result.returncode == 1 and "second.yaml:2:" in result.stderr


# -- what the file says is there

def test_the_topology_of_a_file_works(serve, canaries):
    broker = serve(GOOD.replace("  reader:", "  t: {auth: password, password-file: t.pw, rights: "
                                '{configure: ".*", write: ".*", read: ".*"}}\n  reader:'), ["t"])
    channel = broker.open(vhost="test", user="t", password=canaries["t"]).channel()
    channel.publish("orders", "order.1", b"bound")
    channel.publish("orders", "else", b"unrouted")
    channel.ping()
    assert channel.drain("billing") == [b"bound"]
    channel.declare("billing", durable=True, arguments={"x-message-ttl": 300000,
                                                        "x-max-length-bytes": 2 * 2**30,
                                                        "x-overflow": "reject-publish"})


# base64(salt + H(salt + password)), as RabbitMQ exports it.
def test_rabbitmqs_salted_hashes_are_accepted(serve):
    salt = b"salt"
    for algorithm in ("sha256", "sha512"):
        digest = hashlib.new(algorithm, salt + b"canary-of-a-hash").digest()
        encoded = base64.b64encode(salt + digest).decode()
        broker = serve(f"""
            bourse: 1
            users:
              u: {{auth: password, password-hash: "{encoded}",
                   rights: {{configure: "", write: "", read: ""}}}}
            listeners: {{amqp: {{bind: "127.0.0.1:0"}}}}
            """)
        broker.open(user="u", password="canary-of-a-hash").close()
        conn = broker.connect()
        conn.read_start()
        conn.send_start_ok(user="u", password="canary-of-a-hasH")
        conn.expect_close(403)


def test_a_password_may_come_from_the_environment(serve, canaries):
    broker = serve("""
        bourse: 1
        users: {u: {auth: password, password-env: TEST_SECRET,
                    rights: {configure: "", write: "", read: ""}}}
        listeners: {amqp: {bind: "127.0.0.1:0"}}
        """, environment={"TEST_SECRET": canaries["environment"]})
    broker.open(user="u", password=canaries["environment"]).close()


def test_server_settings_reach_the_wire(serve, canaries):
    broker = serve("""
        bourse: 1
        server: {frame-max: 8KiB, channel-max: 10, heartbeat: 7s, max-message-size: 1KiB}
        users: {u: {auth: password, password-file: u.pw,
                    rights: {configure: ".*", write: ".*", read: ".*"}}}
        listeners: {amqp: {bind: ["127.0.0.1:0", "127.0.0.2:0"]}}
        """, passwords=["u"], listen=())
    assert [host for host, _port in broker.addresses["amqp"]] == ["127.0.0.1", "127.0.0.2"]
    conn = broker.connect()
    tune = conn.login(user="u", password=canaries["u"])
    assert (tune.frame_max, tune.channel_max, tune.heartbeat) == (8192, 10, 7)
    conn.tune(channel_max=10, frame_max=8192)
    conn.call(0, "connection.open", virtual_host="/")
    channel = conn.channel()
    channel.publish("", "nowhere", b"x" * 1024)
    channel.ping()
    channel.publish("", "nowhere", b"x" * 1025)
    channel.expect_close(406, "PRECONDITION_FAILED - message size 1025 is larger than configured "
                         "max size 1024")
