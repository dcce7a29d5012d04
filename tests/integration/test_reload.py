# SPDX-License-Identifier: Apache-2.0
"""SIGHUP: additions and changed users and rights take effect; a bad file changes nothing."""

import re
import signal
import time

import pytest

from support import broker as brokers

pytestmark = pytest.mark.bourse_only

FILE = """
    bourse: 1
    exchanges:
      orders: {type: topic}
      spare: {type: fanout}
    queues:
      billing: {from: [{exchange: orders, key: "#"}]}
    users:
      shopper: {auth: password, password-file: shopper.pw, publish: [orders], consume: [billing]}
      keeper: {auth: password, password-file: keeper.pw,
               rights: {configure: ".*", write: ".*", read: ".*"}}
    listeners:
      amqp: {bind: "127.0.0.1:0"}
"""
USERS = ("shopper", "keeper")


@pytest.fixture
def broker(serve):
    return serve(FILE, passwords=USERS)


@pytest.fixture
def rewrite(broker, write_config):
    """rewrite(old, new) changes the file, reloads it, and returns the line that tells the end."""

    def change(old, new, passwords=USERS):
        assert old in FILE
        write_config(FILE.replace(old, new), passwords)
        return broker.reload(r"config\.reloaded|config\.reload_refused")

    return change


def log_in(broker, canaries, user):
    return broker.open(user=user, password=canaries[user])


def test_new_objects_and_bindings_appear(broker, rewrite, canaries):
    keeper = log_in(broker, canaries, "keeper").channel()
    keeper.publish("orders", "k", b"before")
    line = rewrite("    queues:\n",
                   """      events: {type: fanout, from: [{exchange: orders, key: "e.*"}]}
    queues:
      mail: {from: [{exchange: events}]}
""")
    assert "config.reloaded" in line
    keeper.publish("orders", "e.1", b"after")
    keeper.ping()
    assert keeper.drain("mail") == [b"after"]
    assert keeper.drain("billing") == [b"before", b"after"]


def test_connections_messages_and_client_objects_outlive_a_reload(broker, rewrite, canaries):
    channel = log_in(broker, canaries, "keeper").channel()
    channel.declare("mine", exclusive=True)
    channel.publish("", "mine", b"kept")
    tag = channel.get("mine", no_ack=False).delivery_tag
    rewrite("type: topic}\n", "type: topic}\n      more: {}\n")
    channel.nack(tag)
    assert channel.get("mine").body == b"kept"


# An object that left the file is not deleted: removing is an operation of its own.
def test_objects_that_leave_the_file_stay(broker, rewrite, canaries):
    assert "config.reloaded" in rewrite("      spare: {type: fanout}\n", "")
    log_in(broker, canaries, "keeper").channel().call("exchange.declare", exchange="spare",
                                                      type="fanout", passive=True)


def test_an_object_that_left_the_file_is_told_once(broker, rewrite):
    rewrite("      spare: {type: fanout}\n", "")
    broker.log.wait_for(r'event=topology\.left_file kind=exchange vhost="/" name="spare"', 5)
    rewrite("      spare: {type: fanout}\n", "")
    assert broker.log.text().count("topology.left_file") == 1


# What is there may hold messages: it is never replaced, and nothing else of such a file is done.
def test_a_difference_that_needs_replacing_refuses_the_reload(broker, rewrite, canaries):
    line = rewrite("type: topic}\n", "type: headers}\n      more: {}\n")
    assert ("config.reload_refused" in line and
            "error: exchange 'orders' has type 'topic' in the" in line and
            "the file says 'headers'; delete it or change the file" in line)
    assert re.search(r"\.yaml:4:3: error", line), line
    channel = log_in(broker, canaries, "keeper").channel()
    channel.refused("exchange.declare", 404, exchange="more", type="direct", passive=True)


def test_arguments_change_in_place(broker, rewrite, canaries):
    keeper = log_in(broker, canaries, "keeper").channel()
    keeper.publish("orders", "k", b"kept")
    assert "config.reloaded" in rewrite("billing: {", "billing: {ttl: 1h, ")
    assert keeper.drain("billing") == [b"kept"]
    keeper.refused("queue.declare", 406, queue="billing", durable=True)


def test_a_new_user_can_log_in(broker, rewrite, canaries):
    rewrite("      shopper:", "      newcomer: {auth: password, password-file: newcomer.pw, "
            "publish: [orders]}\n      shopper:", passwords=USERS + ("newcomer",))
    channel = log_in(broker, canaries, "newcomer").channel()
    channel.publish("orders", "k", b"x")
    channel.ping()


def test_a_changed_password_replaces_the_old_one(broker, rewrite, canaries):
    old = canaries["shopper"]
    log_in(broker, canaries, "shopper").close()
    canaries["shopper"] = canaries["shopper-renewed"]
    assert "config.reloaded" in rewrite("type: topic}\n", "type: topic}\n      more: {}\n")
    log_in(broker, canaries, "shopper").close()
    conn = broker.connect()
    conn.read_start()
    conn.send_start_ok(user="shopper", password=old)
    conn.expect_close(403)


# T17: a right that was taken away ends what it allowed within a second.
def test_a_revoked_right_cancels_consumers_at_once(broker, rewrite, canaries):
    channel = log_in(broker, canaries, "shopper").channel()
    channel.consume("billing", consumer_tag="reader")
    started = time.monotonic()
    rewrite(", consume: [billing]", "")
    cancel = channel.expect("basic.cancel", timeout_s=1)
    assert cancel.consumer_tag == "reader" and time.monotonic() - started < 1
    assert log_in(broker, canaries, "keeper").channel().counts("billing") == (0, 0)
    channel.refused("basic.consume", 403, queue="billing")


def test_a_revoked_right_refuses_the_next_publish(broker, rewrite, canaries):
    channel = log_in(broker, canaries, "shopper").channel()
    channel.publish("orders", "k", b"x")
    channel.ping()
    rewrite("publish: [orders], ", "")
    channel.publish("orders", "k", b"x")
    channel.expect_close(403, "ACCESS_REFUSED - write access to exchange 'orders' in vhost '/' "
                         "refused for user 'shopper'")


def test_changed_topics_narrow_the_next_publish(broker, rewrite, canaries):
    channel = log_in(broker, canaries, "shopper").channel()
    channel.publish("orders", "a", b"x")
    channel.ping()
    rewrite("publish: [orders], ", 'publish: [orders], topics: {orders: ["b"]}, ')
    channel.publish("orders", "b", b"x")
    channel.ping()
    channel.publish("orders", "a", b"x")
    channel.expect_close(403)


def test_a_granted_right_works_on_open_channels(broker, rewrite, canaries):
    channel = log_in(broker, canaries, "shopper").channel()
    channel.refused("queue.declare", 403, queue="mine")
    rewrite("publish: [orders], consume: [billing]",
            'rights: {configure: "^mine$", write: "", read: ""}')
    channel.declare("mine", exclusive=True)


# A user who is gone has no rights left; whether the connection is closed at once or at its next
# step, nothing can be done with it.
def test_a_removed_user_can_do_nothing_more(broker, rewrite, canaries):
    channel = log_in(broker, canaries, "shopper").channel()
    channel.consume("billing")
    line = rewrite(next(line for line in FILE.splitlines() if "shopper:" in line) + "\n", "")
    assert "config.reloaded" in line
    close = channel.connection.expect(0, "connection.close", timeout_s=1)
    assert close.reply_code == 320
    conn = broker.connect()
    conn.read_start()
    conn.send_start_ok(user="shopper", password=canaries["shopper"])
    conn.expect_close(403)


BAD = [
    ("type: topic", "type: topick"), ("bourse: 1", "bourse: 2"), ("users:", "user:"),
    ("publish: [orders]", "publish: [order]"), ("password-file: shopper.pw", "password-file: gone"),
    ("bourse: 1", "bourse: 1\n    bourse: 1"), ("    listeners:", "    listeners: ["),
    ('key: "#"', 'key: ["#"'), ('configure: ".*"', 'configure: "("'),
]


# F13: parsed and checked completely before anything is changed.
@pytest.mark.parametrize("old, new", BAD, ids=[new for _old, new in BAD])
def test_a_bad_file_changes_nothing(broker, rewrite, canaries, old, new):
    channel = log_in(broker, canaries, "shopper").channel()
    channel.consume("billing")
    assert "config.reload_refused" in rewrite(old, new)
    assert broker.log.wait_for(r"bourse\.yaml:\d+:\d+: error")
    channel.publish("orders", "k", b"still")
    assert channel.delivery().body == b"still"
    log_in(broker, canaries, "shopper").close()


def test_an_unreadable_file_changes_nothing(broker, write_config, canaries):
    path = write_config(FILE, USERS)
    path.unlink()
    assert "refused" in broker.reload(r"config\.reloaded|config\.reload_refused")
    log_in(broker, canaries, "keeper").close()


# F18: signals that pile up are one reload after the other, and no connection notices.
def test_a_storm_of_sighup_is_harmless(broker, canaries):
    channel = log_in(broker, canaries, "keeper").channel()
    for _ in range(100):
        broker.signal(signal.SIGHUP)
        channel.publish("orders", "k", b"x")
    channel.ping()
    assert len(channel.drain("billing")) == 100
    assert log_in(broker, canaries, "shopper").is_alive()


# An equal file is no change: nothing is declared again, no consumer is disturbed.
def test_an_unchanged_file_disturbs_nobody(broker, canaries):
    channel = log_in(broker, canaries, "shopper").channel()
    channel.consume("billing", consumer_tag="reader")
    assert "config.reloaded" in broker.reload(r"config\.reloaded|config\.reload_refused")
    channel.publish("orders", "k", b"x")
    assert channel.delivery().consumer_tag == "reader"


def test_development_mode_has_nothing_to_reload():
    with brokers.Bourse() as broker:
        conn = broker.open()
        broker.signal(signal.SIGHUP)
        broker.log.wait_for(r"config\.reload_skipped")
        assert conn.is_alive()
        conn.close()
