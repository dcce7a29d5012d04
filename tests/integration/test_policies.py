# SPDX-License-Identifier: Apache-2.0
"""Policies, operator policies and limits of vhosts and users: from the file, on SIGHUP, on what is
there, and after a restart. And the example of docs/policies.md."""

import pathlib
import re

import pytest

from support import broker as brokers

pytestmark = pytest.mark.bourse_only

HEAD = """
    bourse: 1
    server: {log: {level: debug}}
    users:
      keeper: {auth: password, password-file: keeper.pw,
               rights: {configure: ".*", write: ".*", read: ".*"}}
    listeners:
      amqp: {bind: "127.0.0.1:0"}
"""
USERS = ("keeper",)

UNROUTED = """
    policies:
      unrouted: {pattern: "^orders$", apply-to: exchanges,
                 definition: {alternate-exchange: lost}}
"""


@pytest.fixture
def reload(write_config):
    """reload(broker, text) writes the file anew and returns the line that tells the end."""

    def change(broker, text, passwords=USERS):
        write_config(HEAD + text, passwords)
        return broker.reload(r"config\.reloaded|config\.reload_refused")

    return change


def log_in(broker, canaries, user="keeper"):
    return broker.open(user=user, password=canaries[user])


def declare_shop(channel):
    """An exchange "orders" without bindings, and a queue "found" behind the exchange "lost"."""
    channel.call("exchange.declare", exchange="orders", type="topic", durable=True)
    channel.call("exchange.declare", exchange="lost", type="fanout", durable=True)
    channel.declare("found", durable=True)
    channel.bind("found", "lost", "")


def publish_unrouted(channel, body):
    channel.publish("orders", "nowhere", body)
    channel.ping()


def test_an_alternate_exchange_by_policy_takes_effect_on_sighup(serve, reload, canaries):
    broker = serve(HEAD, passwords=USERS)
    channel = log_in(broker, canaries).channel()
    declare_shop(channel)
    publish_unrouted(channel, b"before")
    assert "config.reloaded" in reload(broker, UNROUTED)
    publish_unrouted(channel, b"under the policy")
    assert channel.drain("found") == [b"under the policy"]
    reload(broker, UNROUTED.replace("^orders$", "^others$"))
    publish_unrouted(channel, b"after")
    assert channel.drain("found") == []


def test_a_policy_survives_a_restart_and_its_leaving_the_file(write_config, canaries, tmp_path):
    config = write_config(HEAD + UNROUTED, USERS)
    data = tmp_path / "data"
    with brokers.Bourse(config, data_dir=data) as broker:
        declare_shop(log_in(broker, canaries).channel())
    write_config(HEAD, USERS)
    with brokers.Bourse(config, data_dir=data) as broker:
        broker.log.wait_for(r'event=topology\.left_file kind=policy vhost="/" name="unrouted"', 5)
        channel = log_in(broker, canaries).channel()
        publish_unrouted(channel, b"still")
        assert channel.drain("found") == [b"still"]
    with brokers.Bourse(config, data_dir=data) as broker:
        channel = log_in(broker, canaries).channel()
        publish_unrouted(channel, b"and still")
        assert channel.drain("found") == [b"and still"]
        assert "topology.left_file" not in broker.log.text()


def test_store_dump_shows_policies(write_config, canaries, tmp_path):
    config = write_config(HEAD + UNROUTED, USERS)
    data = tmp_path / "data"
    with brokers.Bourse(config, data_dir=data):
        pass
    dump = brokers.run_command("store", "dump", str(data))
    assert re.search(r'^policy name="unrouted" id=\d+ vhost="/" from_file pattern="\^orders\$" '
                     r"priority=0 definition_octets=\d+$", dump.stdout, re.MULTILINE), dump.stdout


SETTINGS = """
    policies:
      ages: {pattern: "^q", definition: {message-ttl: 5000, max-length: 10}}
    operator-policies:
      tight: {pattern: ".", apply-to: queues, definition: {max-length: 3}}
"""


def settings_changed(broker, queue, after=0):
    line = broker.log.wait_for(rf'queue\.settings_changed vhost="/" queue="{queue}"', 5, after)
    return dict(re.findall(r'(settings|policy|operator_policy)="?([^" ]*)"?', line))


def test_settings_of_live_queues_follow_both_kinds(serve, reload, canaries):
    broker = serve(HEAD, passwords=USERS)
    channel = log_in(broker, canaries).channel()
    channel.declare("q")
    channel.declare("other")
    reload(broker, SETTINGS)
    assert settings_changed(broker, "q") == {
        "settings": "message-ttl,max-length", "policy": "ages", "operator_policy": "tight"}
    assert settings_changed(broker, "other") == {
        "settings": "max-length", "policy": "", "operator_policy": "tight"}
    seen = len(broker.log.lines)
    reload(broker, SETTINGS.replace("10}", "2}"))
    assert settings_changed(broker, "q", seen)["settings"] == "max-length"


# A client is compared with what was declared, whatever policies say.
def test_a_redeclaration_knows_nothing_of_policies(serve, canaries):
    broker = serve(HEAD + SETTINGS, passwords=USERS)
    channel = log_in(broker, canaries).channel()
    channel.declare("q")
    channel.declare("q")
    channel.refused("queue.declare", 406, queue="q", arguments={"x-message-ttl": 5000})


BAD = [
    ("max-length: 10", "max-lenght: 10",
     r"11:57: error: .*max-lenght.* is not a key of policies \(did you mean .*max-length"),
    ("5000", "5s", r"11:51: error: .*5s.* is not a valid message TTL"),
    ('"^q"', '"("', r"11:19: error: the pattern does not compile: missing closing parenthesis"),
    ("{max-length: 3}", "{consumer-timeout: 3}",
     r"13:56: error: .*consumer-timeout.* is not for operator policies"),
]


@pytest.mark.parametrize("old, new, told", BAD, ids=[new for _old, new, _told in BAD])
def test_a_bad_policy_refuses_the_reload_and_changes_nothing(serve, reload, canaries, old, new,
                                                             told):
    broker = serve(HEAD + SETTINGS, passwords=USERS)
    assert old in SETTINGS
    log_in(broker, canaries).channel().declare("q")
    seen = len(broker.log.lines)
    assert "config.reload_refused" in reload(broker, SETTINGS.replace(old, new))
    broker.log.wait_for(told, 5, seen)
    assert "policy.matched" not in "\n".join(broker.log.lines[seen:])


def test_keys_that_do_nothing_yet_are_warned_of(write_config):
    config = write_config(HEAD + """
    policies:
      far: {pattern: ".", definition: {federation-upstream: north, alternate-exchange: amq.fanout}}
""", USERS)
    result = brokers.run_command("check", str(config))
    assert result.returncode == 0
    assert re.findall(r"warning: (.* has no effect.*)", result.stderr) == [
        '"federation-upstream" has no effect in this version']


# Limits ------------------------------------------------------------------------------------------


def refusal_of_open(broker, canaries):
    conn = broker.connect()
    conn.read_start()
    conn.send_start_ok(user="keeper", password=canaries["keeper"])
    tune = conn.expect(0, "connection.tune")
    conn.send(0, "connection.tune-ok", channel_max=tune.channel_max, frame_max=tune.frame_max,
              heartbeat=0)
    conn.send(0, "connection.open", virtual_host="/")
    return conn.expect(0, "connection.close")


def test_limits_of_the_vhost_take_effect_on_sighup(serve, reload, canaries):
    broker = serve(HEAD, passwords=USERS)
    conn = log_in(broker, canaries)
    channel = conn.channel()
    channel.declare("one")
    reload(broker, "\n    limits: {max-connections: 1, max-queues: 1}\n")
    close = refusal_of_open(broker, canaries)
    assert (close.reply_code, close.reply_text) == (
        530, "NOT_ALLOWED - access to vhost '/' refused for user 'keeper': connection limit (1) "
        "is reached")
    channel.declare("one")
    close = channel.refused("queue.declare", 406, queue="two")
    assert close.reply_text == ("PRECONDITION_FAILED - cannot declare queue 'two': queue limit in "
                                "vhost '/' (1) is reached")
    reload(broker, "\n    limits: {max-queues: 2}\n")
    log_in(broker, canaries).channel().declare("two")


def test_limits_of_a_user_take_effect_on_sighup(serve, write_config, canaries):
    broker = serve(HEAD, passwords=USERS)
    conn = log_in(broker, canaries)
    conn.channel()

    def limit(limits):
        write_config(HEAD.replace('read: ".*"}', 'read: ".*"}, limits: ' + limits), USERS)
        assert "config.reloaded" in broker.reload(r"config\.reloaded|config\.reload_refused")

    limit("{max-connections: 1, max-channels: 1}")
    close = refusal_of_open(broker, canaries)
    assert (close.reply_code, close.reply_text) == (
        530, "NOT_ALLOWED - connection refused for user 'keeper': user connection limit (1) is "
        "reached")
    conn.send(2, "channel.open")
    close = conn.expect(0, "connection.close")
    assert (close.reply_code, close.reply_text) == (
        530, "NOT_ALLOWED - number of channels opened for user 'keeper' has reached the maximum "
        "allowed user limit of 1")
    limit("{max-connections: 2, max-channels: 2}")
    conn = log_in(broker, canaries)
    conn.channel()
    conn.channel()


# The example of the documentation ----------------------------------------------------------------


def test_the_example_of_the_documentation_does_what_it_says(serve, canaries):
    text = (pathlib.Path(brokers.REPOSITORY) / "docs/policies.md").read_text()
    example = re.search(r"```yaml\n(.*?)```", text, re.DOTALL).group(1)
    broker = serve(example + "server: {log: {level: debug}}\n", passwords=["clerk"])
    channel = log_in(broker, canaries, "clerk").channel()
    channel.publish("orders", "order.eu.placed", b"an order")
    channel.publish("orders", "something.else", b"lost")
    channel.ping()
    assert channel.drain("billing") == [b"an order"]
    assert channel.drain("lost") == [b"lost"]
