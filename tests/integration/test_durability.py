# SPDX-License-Identifier: Apache-2.0
"""What is there after the broker was stopped, or killed, and started again on its directory; and who
may use that directory."""

import base64
import hashlib
import os
import re
import signal
import stat
import time

import pytest

from support import broker as brokers, wire

ENDS = ("stop", "kill")
pytestmark = pytest.mark.bourse_only


@pytest.fixture(scope="module", autouse=True)
def keeps_data():
    if "--ephemeral" not in brokers.run_command("serve", "--help").stdout:
        pytest.skip("this broker keeps nothing on disk")


class Durable:
    """A broker, and the next one on the same directory."""

    def __init__(self, directory, config=None):
        self.directory, self.config = directory, config
        self.running = None
        self.start()

    def start(self, **options):
        self.running = brokers.Bourse(self.config, data_dir=self.directory, **options)
        return self.running

    def end(self, how):
        if self.running is not None:
            running, self.running = self.running, None
            for connection in running.connections:
                connection.drop()
            running.stop() if how == "stop" else running.kill()

    def restart(self, how, **options):
        """A new connection to a new broker."""
        self.end(how)
        self.start(**options)
        return self.running.open()

    def open(self):
        return self.running.open()


@pytest.fixture
def durable(tmp_path):
    one = Durable(tmp_path / "data")
    yield one
    one.end("stop")


def confirmed(channel, queue, *bodies, exchange="", **properties):
    """Publishes persistent messages and waits for every confirm."""
    channel.call("confirm.select")
    properties = {"delivery_mode": 2, **properties}
    for body in bodies:
        channel.publish(exchange, queue, body, **properties)
        channel.expect("basic.ack")


def exists(connection, kind, name):
    channel = connection.channel()
    channel.send(f"{kind}.declare", passive=True, **{kind: name})
    method = channel.expect(f"{kind}.declare-ok", "channel.close")
    if method.name == "channel.close":
        assert method.reply_code == 404, method
        channel.send("channel.close-ok")
    return method.name != "channel.close"


# -- what survives


# Promise 1. Empty, small, and larger than a frame and a chunk.
@pytest.mark.parametrize("how", ENDS)
def test_confirmed_messages_survive_as_they_were(durable, how):
    ch = durable.open().channel()
    ch.declare("q", durable=True)
    bodies = [b"", b"x", b"small", bytes(range(256)) * 4096, b"last"]
    confirmed(ch, "q", *bodies)
    assert durable.restart(how).channel().drain("q") == bodies


# The property block is the publisher's; no octet of it changes.
@pytest.mark.parametrize("how", ENDS)
def test_properties_survive_octet_for_octet(durable, how):
    properties = {"content_type": "text/plain", "headers": {"a": 1, "b": {"c": [None, True, "d"]}},
                  "delivery_mode": 2, "priority": 3, "correlation_id": "c", "reply_to": "r",
                  "message_id": "m", "timestamp": 1, "type": "t", "app_id": "a"}
    ch = durable.open().channel()
    ch.declare("q", durable=True)
    confirmed(ch, "q", b"body", **properties)
    method = durable.restart(how).channel().get("q")
    assert method.raw_header == wire.encode_header(4, properties)
    assert (method.exchange, method.routing_key) == ("", "q")


# I5, through a restart and beyond it.
@pytest.mark.parametrize("how", ENDS)
def test_order_is_kept_over_a_restart(durable, how):
    ch = durable.open().channel()
    ch.declare("q", durable=True)
    confirmed(ch, "q", *[b"%d" % number for number in range(100)])
    ch = durable.restart(how).channel()
    confirmed(ch, "q", *[b"%d" % number for number in range(100, 120)])
    assert ch.drain("q") == [b"%d" % number for number in range(120)]


# AMQP 0-9-1: durable outlives the broker, the rest does not.
@pytest.mark.parametrize("how", ENDS)
def test_what_is_not_durable_is_gone(durable, how):
    conn = durable.open()
    ch = conn.channel()
    ch.declare("durable", durable=True)
    ch.declare("transient")
    ch.declare("exclusive", durable=True, exclusive=True)
    ch.call("exchange.declare", exchange="x-transient", type="direct")
    ch.call("exchange.declare", exchange="x-durable", type="direct", durable=True)
    confirmed(ch, "durable", b"transient", delivery_mode=1)
    confirmed(ch, "durable", b"persistent")
    confirmed(ch, "transient", b"persistent")
    conn = durable.restart(how)
    for name, is_there in (("durable", True), ("transient", False), ("exclusive", False)):
        assert exists(conn, "queue", name) == is_there, name
    for name, is_there in (("x-transient", False), ("x-durable", True)):
        assert exists(conn, "exchange", name) == is_there, name
    assert conn.channel().drain("durable") == [b"persistent"]


# A record names durable queues only.
@pytest.mark.parametrize("how", ENDS)
def test_a_message_to_a_durable_and_a_transient_queue_survives_in_the_durable_one(durable, how):
    ch = durable.open().channel()
    ch.call("exchange.declare", exchange="x", type="fanout", durable=True)
    for queue, is_durable in (("d", True), ("t", False)):
        ch.declare(queue, durable=is_durable)
        ch.bind(queue, "x")
    confirmed(ch, "", b"both", exchange="x")
    ch = durable.restart(how).channel()
    assert ch.drain("d") == [b"both"]
    ch.declare("t")
    assert ch.drain("t") == []
    confirmed(ch, "", b"again", exchange="x")
    assert (ch.drain("d"), ch.drain("t")) == ([b"again"], [])


# An equal declaration stays equal: type, flags and arguments were kept.
@pytest.mark.parametrize("how", ENDS)
def test_a_declaration_is_compared_with_the_one_before_the_restart(durable, how):
    arguments = {"x-single-active-consumer": True}
    ch = durable.open().channel()
    ch.declare("q", durable=True, arguments=arguments)
    ch.call("exchange.declare", exchange="x", type="topic", durable=True, internal=True)
    ch = durable.restart(how).channel()
    ch.declare("q", durable=True, arguments=arguments)
    ch.call("exchange.declare", exchange="x", type="topic", durable=True, internal=True)
    ch.refused("queue.declare", 406, queue="q", durable=True)
    ch.refused("exchange.declare", 406, exchange="x", type="direct", durable=True, internal=True)


BINDINGS = [
    ("direct", "a", {}, "a", {}, "b", {}),
    ("topic", "a.*.c", {}, "a.b.c", {}, "a.b", {}),
    ("fanout", "", {}, "any", {}, None, {}),
    ("headers", "", {"x-match": "all", "k": 1}, "", {"k": 1}, "", {"k": 2}),
]


# Keys and arguments of bindings route as before.
@pytest.mark.parametrize("how", ENDS)
@pytest.mark.parametrize("kind,key,arguments,hit,hit_headers,miss,miss_headers", BINDINGS)
def test_bindings_survive(durable, how, kind, key, arguments, hit, hit_headers, miss, miss_headers):
    ch = durable.open().channel()
    ch.declare("q", durable=True)
    ch.call("exchange.declare", exchange="x", type=kind, durable=True)
    ch.bind("q", "x", key, arguments)
    ch = durable.restart(how).channel()
    confirmed(ch, hit, b"hit", exchange="x", headers=hit_headers)
    if miss is not None:
        confirmed(ch, miss, b"miss", exchange="x", headers=miss_headers)
    assert ch.drain("q") == [b"hit"]


# What was dropped or refused before the end stays away, and the limits are still there.
@pytest.mark.parametrize("how", ENDS)
def test_length_limits_hold_over_a_restart(durable, how):
    ch = durable.open().channel()
    for queue, overflow in (("drops", "drop-head"), ("refuses", "reject-publish")):
        ch.declare(queue, durable=True, arguments={"x-max-length": 3, "x-overflow": overflow})
    ch.call("confirm.select")
    for queue in ("drops", "refuses"):
        for number in range(6):
            ch.publish("", queue, str(number), delivery_mode=2)
    while ch.expect("basic.ack", "basic.nack").delivery_tag < 12:
        pass
    ch = durable.restart(how).channel()
    assert (ch.counts("drops")[0], ch.counts("refuses")[0]) == (3, 3)
    for queue in ("drops", "refuses"):
        ch.publish("", queue, b"one more", delivery_mode=2)
    ch.ping()
    assert ch.drain("refuses") == [b"0", b"1", b"2"]
    assert ch.drain("drops") == [b"4", b"5", b"one more"]


def homes(channel, exchange, queues):
    """Which queue each of some keys goes to."""
    for number in range(60):
        channel.publish(exchange, f"key {number}", str(number))
    channel.ping()
    return {body: queue for queue in queues for body in channel.drain(queue)}


# Who relies on one queue for one key relies on it after a restart, too; and in another broker that
# has the same queues, in whatever order they were made and bound.
@pytest.mark.parametrize("kind", ["x-consistent-hash", "x-modulus-hash"])
@pytest.mark.parametrize("how", ENDS)
def test_a_hash_leads_to_the_same_queue_after_a_restart(durable, how, kind):
    ch = durable.open().channel()
    ch.call("exchange.declare", exchange="x", type=kind, durable=True)
    queues = [f"q{number}" for number in range(5)]
    for queue in queues:
        ch.declare(queue, durable=True)
        ch.bind(queue, "x", "4")
    before = homes(ch, "x", queues)
    assert len(before) == 60
    ch = durable.restart(how).channel()
    assert homes(ch, "x", queues) == before
    ch.call("exchange.declare", exchange="y", type=kind)
    for queue in reversed(queues):
        ch.call("queue.delete", queue=queue)
        ch.declare(queue)
        ch.bind(queue, "y", "4")
    assert homes(ch, "y", queues) == before


# From exchange to exchange as well; and what was unbound stays unbound.
@pytest.mark.parametrize("how", ENDS)
def test_bindings_of_exchanges_survive_and_unbound_ones_do_not(durable, how):
    ch = durable.open().channel()
    ch.declare("q", durable=True)
    for exchange in ("from", "to", "other"):
        ch.call("exchange.declare", exchange=exchange, type="fanout", durable=True)
        ch.call("exchange.bind", source="from", destination=exchange, routing_key="k")
    ch.call("exchange.unbind", source="from", destination="other", routing_key="k")
    ch.bind("q", "to")
    ch.bind("q", "other")
    ch.bind("q", "from")
    ch.call("queue.unbind", queue="q", exchange="from")
    ch = durable.restart(how).channel()
    confirmed(ch, "", b"once", exchange="from")
    assert ch.drain("q") == [b"once"]


# An answered delete is a durable change; nothing of the old queue comes back with a new one.
@pytest.mark.parametrize("how", ENDS)
def test_deleted_objects_stay_deleted(durable, how):
    ch = durable.open().channel()
    ch.call("exchange.declare", exchange="x", type="fanout", durable=True)
    for queue in ("gone", "again", "kept"):
        ch.declare(queue, durable=True)
        ch.bind(queue, "x")
    confirmed(ch, "", b"old", exchange="x")
    ch.delete("gone")
    ch.delete("again")
    ch.declare("again", durable=True)
    ch.call("exchange.delete", exchange="x")
    conn = durable.restart(how)
    ch = conn.channel()
    assert not exists(conn, "queue", "gone")
    assert not exists(conn, "exchange", "x")
    assert ch.drain("again") == []
    assert ch.drain("kept") == [b"old"]
    ch.call("exchange.declare", exchange="x", type="fanout", durable=True)
    confirmed(ch, "", b"new", exchange="x")
    assert ch.counts("kept") == (0, 0)


# purge-ok follows the commit of the last removal.
@pytest.mark.parametrize("how", ENDS)
def test_purged_messages_do_not_come_back(durable, how):
    ch = durable.open().channel()
    ch.declare("q", durable=True)
    confirmed(ch, "q", *[b"old"] * 1000)
    assert ch.call("queue.purge", queue="q").message_count == 1000
    confirmed(ch, "q", b"new")
    assert durable.restart(how).channel().drain("q") == [b"new"]


# -- what was out for delivery


# F1: unacked come back redelivered, in their places, before what nobody has had.
@pytest.mark.parametrize("how", ENDS)
def test_unacknowledged_messages_come_back_redelivered_and_in_order(durable, how):
    conn = durable.open()
    ch = conn.channel()
    ch.declare("q", durable=True)
    bodies = [b"%d" % number for number in range(6)]
    confirmed(ch, "q", *bodies)
    ch.call("basic.qos", prefetch_count=4)
    ch.consume("q")
    tags = [delivery.delivery_tag for delivery in ch.deliveries(4)]
    ch.ack(tags[1])
    confirmed(conn.channel(), "q", b"after the ack")
    ch = durable.restart(how).channel()
    got = [ch.get("q") for _ in range(6)]
    assert ch.get("q") is None
    assert [method.body for method in got] == [b"0", b"2", b"3", b"4", b"5", b"after the ack"]
    # What follows may be marked as well: the log is told ahead of what is handed out.
    assert [method.redelivered for method in got[:3]] == [True] * 3


# A backlog that nobody has touched is not said to have been handed out.
@pytest.mark.parametrize("how", ENDS)
def test_messages_that_nobody_was_given_are_not_redelivered(durable, how):
    ch = durable.open().channel()
    ch.declare("q", durable=True)
    confirmed(ch, "q", b"1", b"2")
    ch = durable.restart(how).channel()
    assert [ch.get("q").redelivered for _ in range(2)] == [False] * 2


# The log is in the core's order: a confirm covers every acknowledgement before it.
@pytest.mark.parametrize("how", ENDS)
@pytest.mark.parametrize("verb", ["ack", "nack", "reject"])
def test_settled_messages_do_not_come_back_after_a_later_confirm(durable, how, verb):
    ch = durable.open().channel()
    ch.declare("q", durable=True)
    confirmed(ch, "q", b"1", b"2")
    method = ch.get("q", no_ack=False)
    if verb == "ack":
        ch.ack(method.delivery_tag)
    else:
        getattr(ch, verb)(method.delivery_tag, requeue=False)
    confirmed(ch, "q", b"3")
    assert durable.restart(how).channel().drain("q") == [b"2", b"3"]


# Taken without acknowledgement is taken for good.
@pytest.mark.parametrize("how", ENDS)
def test_messages_taken_without_acknowledgement_do_not_come_back(durable, how):
    ch = durable.open().channel()
    ch.declare("q", durable=True)
    confirmed(ch, "q", b"1", b"2")
    assert ch.get("q", no_ack=True).body == b"1"
    confirmed(ch, "q", b"3")
    assert durable.restart(how).channel().drain("q") == [b"2", b"3"]


# A batch in which nobody waits is flushed within 100 ms.
@pytest.mark.slow
def test_an_acknowledgement_alone_is_on_disk_soon(durable):
    ch = durable.open().channel()
    ch.declare("q", durable=True)
    confirmed(ch, "q", b"1")
    ch.ack(ch.get("q", no_ack=False).delivery_tag)
    ch.ping()
    time.sleep(0.5)
    assert durable.restart("kill").channel().drain("q") == []


# A clean end keeps every acknowledgement, flushed by then or not.
def test_a_clean_stop_keeps_the_last_acknowledgement(durable):
    ch = durable.open().channel()
    ch.declare("q", durable=True)
    confirmed(ch, "q", b"1")
    ch.ack(ch.get("q", no_ack=False).delivery_tag)
    ch.ping()
    assert durable.restart("stop").channel().drain("q") == []


# -- transactions


# commit-ok is the confirm of all in it; a rollback and an open transaction leave nothing.
@pytest.mark.parametrize("how", ENDS)
def test_a_transaction_survives_whole_or_not_at_all(durable, how):
    conn = durable.open()
    ch = conn.channel()
    for queue in ("in", "out"):
        ch.declare(queue, durable=True)
    confirmed(ch, "in", b"1", b"2", b"3")
    for body, end in ((b"committed", "tx.commit"), (b"rolled back", "tx.rollback"), (b"open", None)):
        tx = conn.channel()
        tx.call("tx.select")
        tx.ack(tx.get("in", no_ack=False).delivery_tag)
        tx.publish("", "out", body, delivery_mode=2)
        tx.publish("", "out", body, delivery_mode=2)
        if end:
            tx.call(end)
        else:
            tx.ping()
    ch = durable.restart(how).channel()
    assert ch.drain("out") == [b"committed"] * 2
    assert ch.drain("in") == [b"2", b"3"]


# -- the file and the directory

USERS = """
    bourse: 1
    server: {{log: {{level: info}}}}
    users:
      ann: {{auth: password, password-file: ann.pw, role: admin, consume: [orders], publish: [shop]}}
      {other}
    exchanges:
      shop: {{type: {kind}}}
    queues:
      orders: {{from: [{{exchange: shop, key: new}}]}}
      {queue}
    listeners: {{amqp: {{bind: "127.0.0.1:0"}}}}
"""
BOB = "bob: {auth: password, password-file: bob.pw, consume: [orders]}"
KEEPER = ('bob: {auth: password, password-file: bob.pw, '
          'rights: {configure: ".*", write: ".*", read: ".*"}}')


@pytest.fixture
def shop_file(write_config):
    def write(other="", kind="direct", queue=""):
        return write_config(USERS.format(other=other, kind=kind, queue=queue), ("ann", "bob"))

    return write


def refuses(broker, user, password):
    connection = broker.connect()
    connection.read_start()
    connection.send_start_ok(user=user, password=password)
    connection.expect_close(403)


# What has left the file stays, and that is said once in the life of the directory; what is new in it
# is made.
def test_the_file_is_applied_to_what_is_there(tmp_path, shop_file, canaries):
    durable = Durable(tmp_path / "data", shop_file(other=KEEPER, queue="old: {}"))
    left = r'event=topology\.left_file kind=queue vhost="/" name="old"'
    try:
        # What was answered is on disk, and so is the file, which came before.
        bob = durable.running.open(user="bob", password=canaries["bob"])
        bob.channel().declare("mine", durable=True)
        durable.end("kill")
        durable.config = shop_file(other=KEEPER, queue="new: {}")
        durable.start()
        bob = durable.running.open(user="bob", password=canaries["bob"])
        assert all(exists(bob, "queue", name) for name in ("old", "new", "orders", "mine"))
        ann = durable.running.open(user="ann", password=canaries["ann"])
        ann.channel().refused("queue.declare", 403, queue="other", durable=True)
        assert len(re.findall(left, durable.running.log.text())) == 1
        assert durable.running.log.text().count("topology.left_file") == 1
        bob.channel().declare("another", durable=True)
        durable.end("kill")
        durable.start()
        assert "topology.left_file" not in durable.running.log.text()
    finally:
        durable.end("stop")


def ann(durable, canaries):
    return durable.running.open(user="ann", password=canaries["ann"]).channel()


# A user is the file's alone: out of it, no password opens anything any more, whether it was a secret
# that is never stored or a hash that is; and back in it, all is as before.
def test_a_user_that_left_the_file_is_shut_out(tmp_path, shop_file, canaries):
    hashed = 'bob: {auth: password, password-hash: "%s", consume: [orders]}'
    salt = os.urandom(16)
    digest = hashlib.scrypt(canaries["bob"].encode(), salt=salt, n=2, r=1, p=1, dklen=32)
    hashed %= "$scrypt$ln=1,r=1,p=1$" + "$".join(base64.b64encode(part).decode().rstrip("=")
                                                   for part in (salt, digest))
    durable = Durable(tmp_path / "data", shop_file(other=BOB))
    try:
        for entry in (BOB, hashed):
            durable.end("kill")
            durable.config = shop_file(other=entry)
            durable.start()
            durable.running.open(user="bob", password=canaries["bob"])
            # Its confirm says that the file, which came before, is on disk as well.
            confirmed(ann(durable, canaries), "new", b"", exchange="shop")
            durable.end("kill")
            durable.config = shop_file()
            durable.start()
            refuses(durable.running, "bob", canaries["bob"])
            confirmed(ann(durable, canaries), "new", b"", exchange="shop")
            assert durable.running.log.text().count('event=user.disabled user="bob"') == 1
            durable.end("kill")
            durable.start()
            refuses(durable.running, "bob", canaries["bob"])
            assert "user.disabled" not in durable.running.log.text()
    finally:
        durable.end("stop")


# Without a file there is guest, on this machine only, and all the rest as it was; the next start with
# a file shuts guest out.
def test_development_mode_on_a_directory_of_a_file(tmp_path, shop_file, canaries):
    durable = Durable(tmp_path / "data", shop_file())
    try:
        durable.end("stop")
        durable.config = None
        durable.start()
        guest = durable.open()
        assert exists(guest, "queue", "orders") and exists(guest, "exchange", "shop")
        assert "topology.left_file" not in durable.running.log.text()
        assert "user.disabled" not in durable.running.log.text()
        durable.end("kill")
        durable.config = shop_file()
        durable.start()
        refuses(durable.running, "guest", "guest")
        durable.running.open(user="ann", password=canaries["ann"])
    finally:
        durable.end("stop")


# No octet of the directory has a password that the file gave in clear text.
def test_passwords_are_in_no_file(tmp_path, shop_file, canaries):
    durable = Durable(tmp_path / "data", shop_file(other=BOB))
    durable.running.open(user="bob", password=canaries["bob"])
    durable.end("kill")
    durable.start()
    durable.end("stop")
    for path in (tmp_path / "data").iterdir():
        octets = path.read_bytes()
        for user in ("ann", "bob"):
            assert canaries[user].encode() not in octets, path


# Arguments change in place, with what is in the queue.
@pytest.mark.parametrize("how", ENDS)
def test_changed_arguments_survive(tmp_path, shop_file, canaries, how):
    durable = Durable(tmp_path / "data", shop_file(queue="extra: {ttl: 1h}"))
    try:
        for ttl in ("2h", "3h"):
            durable.end(how)
            durable.config = shop_file(queue=f"extra: {{ttl: {ttl}}}")
            durable.start()
        durable.end(how)
        durable.config = None
        durable.start()
        channel = durable.open().channel()
        channel.call("queue.declare", queue="extra", durable=True,
                     arguments={"x-message-ttl": 3 * 3_600_000})
    finally:
        durable.end("stop")


# A difference that would need replacing is an error with its place, and nothing is changed.
def test_a_file_that_would_replace_something_is_refused(tmp_path, shop_file, canaries):
    durable = Durable(tmp_path / "data", shop_file())
    durable.end("stop")
    config = shop_file(kind="topic")
    result = brokers.run_command("serve", str(config), "--data-dir", str(tmp_path / "data"))
    assert result.returncode == 1, result
    assert re.search(r"bourse\.yaml:\d+:\d+: error: .*shop.*direct", result.stderr), result.stderr
    durable.config = shop_file()
    durable.start()
    durable.end("stop")


# F16.
def test_a_second_process_on_the_same_directory_is_refused(durable, tmp_path):
    result = brokers.run_command("serve", "--data-dir", str(tmp_path / "data"),
                                 "--amqp", "127.0.0.1:0")
    assert result.returncode not in (0, 74), result
    assert result.returncode > 0, result
    assert "in use" in result.stderr and str(tmp_path / "data") in result.stderr
    ch = durable.open().channel()
    ch.declare("q", durable=True)
    confirmed(ch, "q", b"still works")


# T23: nobody else may read what is in there, whatever the umask says.
@pytest.mark.parametrize("how", ENDS)
def test_files_are_for_their_owner_only(tmp_path, how):
    before = os.umask(0)
    try:
        durable = Durable(tmp_path / "data")
    finally:
        os.umask(before)
    ch = durable.open().channel()
    ch.declare("q", durable=True)
    confirmed(ch, "q", bytes(100_000))
    durable.restart(how)
    try:
        assert stat.S_IMODE(os.stat(tmp_path / "data").st_mode) == 0o700
        found = 0
        for directory, directories, files in os.walk(tmp_path / "data"):
            for name in directories:
                assert stat.S_IMODE(os.stat(os.path.join(directory, name)).st_mode) == 0o700, name
            for name in files:
                mode = os.stat(os.path.join(directory, name)).st_mode
                # The control socket asks who connects, and is for a group.
                assert stat.S_IMODE(mode) == (0o660 if stat.S_ISSOCK(mode) else 0o600), name
                found += 1
        assert found > 0
    finally:
        durable.end("stop")


# T23: a link may lead where somebody else wants the data; others may read an open directory.
@pytest.mark.parametrize("case,words", [("link", "symbolic link"), ("open", "0700"),
                                        ("file", "not a directory")])
def test_a_directory_that_is_not_safe_is_refused(tmp_path, case, words):
    (tmp_path / "real").mkdir(mode=0o700)
    path = tmp_path / "data"
    if case == "link":
        path.symlink_to(tmp_path / "real")
    elif case == "open":
        path.mkdir()
        path.chmod(0o755)
    else:
        path.write_text("")
    result = brokers.run_command("serve", "--data-dir", str(path), "--amqp", "127.0.0.1:0")
    assert result.returncode > 0, result
    assert words in result.stderr and str(path) in result.stderr, result.stderr
    assert os.listdir(tmp_path / "real") == []


# T23: nor does a file inside lead out. What can be made again may be, and the broker goes on.
def test_a_link_in_place_of_a_file_is_not_followed(durable, tmp_path):
    durable.end("stop")
    victim = tmp_path / "victim"
    refused = set()
    for name in os.listdir(tmp_path / "data"):
        path = tmp_path / "data" / name
        if not path.is_file():
            continue
        victim.write_text("precious")
        kept = path.rename(tmp_path / name)
        path.symlink_to(victim)
        if not starts(durable):
            refused.add(name)
        assert victim.read_text() == "precious", name
        path.unlink(missing_ok=True)
        kept.rename(path)
    assert {"LOCK", "MANIFEST"} <= refused
    assert starts(durable)


def starts(durable):
    """Whether a broker starts on the directory; it is stopped again."""
    running = durable.start(wait_ready=False)
    try:
        running.wait_ready()
    except AssertionError:
        assert running.process.returncode > 0, running.log.text()
        durable.running = None
        return False
    durable.end("stop")
    return True


# Said plainly, and nothing is written.
def test_an_ephemeral_broker_keeps_nothing(tmp_path):
    command = brokers.Bourse(data_dir=tmp_path / "data", options=("--ephemeral",))
    ch = command.open().channel()
    ch.declare("q", durable=True)
    confirmed(ch, "q", b"gone")
    assert re.search("memory|nothing survives", command.stdout.text()), command.stdout.text()
    command.stop()
    assert not (tmp_path / "data").exists()


# -- signals


def takes_signal(pid, number):
    """Whether a signal no longer ends the process by default: blocked, ignored or caught."""
    with open(f"/proc/{pid}/status") as status:
        masks = re.findall(r"^(?:SigBlk|SigIgn|SigCgt):\s+(\w+)", status.read(), re.MULTILINE)
    return any(int(mask, 16) >> (number - 1) & 1 for mask in masks)


# F18: SIGHUP at any moment from start to end.
def test_hangups_during_start_and_load_are_harmless(tmp_path, shop_file, canaries):
    durable = Durable(tmp_path / "data", shop_file())
    durable.end("kill")
    running = durable.start(wait_ready=False)
    while not takes_signal(running.pid, signal.SIGHUP):
        assert running.process.poll() is None, running.log.text()
    for _ in range(200):
        running.signal(signal.SIGHUP)
    running.wait_ready()
    ch = running.open(user="ann", password=canaries["ann"]).channel()
    ch.call("confirm.select")
    for number in range(200):
        ch.publish("shop", "new", b"%d" % number, delivery_mode=2)
        running.signal(signal.SIGHUP)
    done = 0
    while done < 200:
        done = max(done, ch.expect("basic.ack").delivery_tag)
    durable.end("kill")
    durable.start()
    ch = durable.running.open(user="ann", password=canaries["ann"]).channel()
    assert ch.drain("orders") == [b"%d" % number for number in range(200)]
    durable.end("stop")


# Part 13: publishers get their confirms, connections are closed with 320, nothing is lost.
def test_a_stop_under_load_confirms_and_says_goodbye(durable):
    conn = durable.open()
    ch = conn.channel()
    ch.declare("q", durable=True)
    ch.call("confirm.select")
    for number in range(500):
        ch.publish("", "q", b"%d" % number, delivery_mode=2)
    durable.running.signal(signal.SIGTERM)
    conn.expect_close(320, timeout_s=10)
    count = 0
    for method in conn.pending[ch.number]:
        assert method.name == "basic.ack", method
        count = max(count, method.delivery_tag)
    assert durable.running.wait_exit() == 0
    durable.running.stop()
    durable.running = None
    durable.start()
    bodies = durable.open().channel().drain("q")
    assert bodies == [b"%d" % number for number in range(len(bodies))]
    assert len(bodies) >= count


# F18: a second signal ends it at once, also while the first is being obeyed.
def test_a_second_stop_signal_is_obeyed_at_once(durable):
    conn = durable.open()
    ch = conn.channel()
    ch.declare("q", durable=True)
    confirmed(ch, "q", *[b"%d" % number for number in range(50)])
    running, durable.running = durable.running, None
    started = time.monotonic()
    running.signal(signal.SIGTERM)
    running.log.wait_for(r"server\.stopping")
    running.signal(signal.SIGTERM)      # nobody has answered the broker's close
    status = running.wait_exit()
    assert time.monotonic() - started < 2
    assert status == -signal.SIGTERM
    running.stop(status)
    durable.start()
    assert durable.open().channel().drain("q") == [b"%d" % number for number in range(50)]


# A stop while it starts leaves a directory that starts.
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_a_stop_during_the_start_loses_nothing(durable, number):
    ch = durable.open().channel()
    ch.declare("q", durable=True)
    confirmed(ch, "q", b"1")
    durable.end("kill")
    for _ in range(10):
        running = durable.start(wait_ready=False)
        durable.running = None
        while not takes_signal(running.pid, signal.SIGTERM) and running.process.poll() is None:
            pass
        running.signal(number)
        running.stop(running.wait_exit())
    durable.start()
    assert durable.open().channel().drain("q") == [b"1"]
