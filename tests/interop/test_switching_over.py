# SPDX-License-Identifier: Apache-2.0
"""`bourse drain` between Debian's rabbitmq-server and Bourse, both ways, and the steps of
docs/migrating-from-rabbitmq.md."""

import pytest

from support import broker as brokers, letters

pytestmark = pytest.mark.skipif(not brokers.RabbitMQ.installed(),
                                reason="rabbitmq-server is not installed")


@pytest.fixture(name="bourse", scope="module")
def fixture_bourse():
    with brokers.Bourse(options=["--ephemeral"]) as running:
        yield running


def address(broker, path=""):
    return f"amqp://guest:guest@127.0.0.1:{broker.amqp[1]}/{path}"


@pytest.fixture(name="ends", params=["from rabbitmq", "to rabbitmq"])
def fixture_ends(request, oracle, bourse):
    return (oracle, bourse) if request.param == "from rabbitmq" else (bourse, oracle)


def all_of(channel, queue):
    taken = []
    while (got := channel.get(queue)) is not None:
        taken.append(got)
    return taken


def test_messages_arrive_as_they_were(ends):
    source, target = (end.open().channel() for end in ends)
    source.declare("old/orders", durable=True)
    target.declare("orders", durable=True)
    bodies = [b"", b"\x00\xff", b"x" * 300000, *(b"%d" % number for number in range(2000))]
    for body in bodies:
        source.publish("", "old/orders", body, **letters.PROPERTIES)
    source.wait_for_counts("old/orders", len(bodies), 0)  # a queue of RabbitMQ has a turn of its own
    words = ("drain", address(ends[0], "%2F/old%2Forders"), "--target", address(ends[1]))
    planned = brokers.run_command(*words, "--to", "orders", "--dry-run")
    assert planned.returncode == 0 and "2003 messages would be" in planned.stdout, planned.stderr
    done = brokers.run_command(*words, "--to", "orders")
    assert done.returncode == 0 and done.stdout == "2003 messages drained\n", done.stderr
    got = all_of(target, "orders")
    assert [message.body for message in got] == bodies
    block = letters.wire.encode_header(0, letters.PROPERTIES)[12:]
    assert {message.raw_header[12:] for message in got} == {block}
    assert source.counts("old/orders") == (0, 0)
    source.delete("old/orders")
    target.delete("orders")


def test_what_is_refused_is_told(oracle, bourse):
    words = ("drain", address(oracle, "none"), "--target", address(bourse), "--to", "x")
    missing = brokers.run_command(*words)
    assert missing.returncode == 66 and "404" in missing.stderr
    wrong = brokers.run_command("drain", address(oracle, "q").replace("guest:guest", "guest:wrong"),
                                "--to", "x")
    assert wrong.returncode == 77 and "403" in wrong.stderr and "wrong" not in wrong.stderr


def test_the_migration_page_step_by_step(tmp_path):
    """Topology, users and messages go over, and back."""
    with brokers.RabbitMQ(management=True) as old, brokers.Bourse() as new:
        fill_old_broker(old)
        secret = tmp_path / "pw"
        secret.write_text("guest\n")
        url = "http://{}:{}".format(*old.http)
        exported = brokers.run_command("export", "--from", url, "--user", "guest",
                                       "--password-file", str(secret), "--format", "definitions")
        assert exported.returncode == 0, exported.stderr
        (tmp_path / "old.json").write_text(exported.stdout)
        topology = tmp_path / "topology"
        made = brokers.run_command("import", str(tmp_path / "old.json"), "--out", str(topology))
        assert made.returncode == 0, made.stderr
        shop = str(topology / "shop.yaml")
        assert brokers.run_command("check", shop).returncode == 0
        context = ("--context", f"{new.data_dir}/bourse.sock")
        assert brokers.run_command("plan", shop, *context).returncode == 2
        assert brokers.run_command("apply", shop, "--yes", *context).returncode == 0
        listed = brokers.run_command("ls", "queues", "--vhost", "shop", "-o", "name", *context)
        assert listed.stdout.split() == ["billing", "dlq"]
        (tmp_path / "old.txt").write_text(place(old) + "/billing\n")
        (tmp_path / "new.txt").write_text(place(new) + "\n")
        words = ("drain", f"@{tmp_path}/old.txt", "--to", "billing", "--target",
                 f"@{tmp_path}/new.txt")
        assert "500 messages" in brokers.run_command(*words, "--dry-run").stdout
        done = brokers.run_command(*words)
        assert done.stdout == "500 messages drained\n", done.stderr
        channel = new.connect().open(vhost="shop", user="billing", password="till").channel()
        assert [message.body for message in all_of(channel, "billing")] == [
            b"%d" % number for number in range(500)]
        # And back: what the new broker holds by then.
        channel.publish("orders", "eu.late", "late")
        channel.wait_for_counts("billing", 1, 0)
        (tmp_path / "new-billing.txt").write_text(place(new) + "/billing\n")
        (tmp_path / "old-vhost.txt").write_text(place(old) + "\n")
        back = brokers.run_command("drain", f"@{tmp_path}/new-billing.txt", "--to", "billing",
                                   "--target", f"@{tmp_path}/old-vhost.txt")
        assert back.stdout == "1 message drained\n", back.stderr
        last = old.connect().open(vhost="shop", user="billing", password="till").channel()
        assert [message.body for message in all_of(last, "billing")] == [b"late"]


def place(broker):
    return f"amqp://billing:till@127.0.0.1:{broker.amqp[1]}/shop"


def fill_old_broker(old):
    old.import_definitions({
        "vhosts": [{"name": "/"}, {"name": "shop"}],
        "users": [{"name": "guest", "password": "guest", "tags": "administrator"},
                  {"name": "billing", "password": "till", "tags": ""}],
        "permissions": [
            {"user": user, "vhost": vhost, "configure": ".*", "write": ".*", "read": ".*"}
            for user, vhost in (("guest", "/"), ("guest", "shop"), ("billing", "shop"))],
        "exchanges": [{"name": "orders", "vhost": "shop", "type": "topic", "durable": True,
                       "auto_delete": False, "internal": False, "arguments": {}}],
        "queues": [
            {"name": "billing", "vhost": "shop", "durable": True, "auto_delete": False,
             "arguments": {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": "dlq"}},
            {"name": "dlq", "vhost": "shop", "durable": True, "auto_delete": False,
             "arguments": {}}],
        "bindings": [{"source": "orders", "vhost": "shop", "destination": "billing",
                      "destination_type": "queue", "routing_key": "eu.#", "arguments": {}}],
    })
    channel = old.connect().open(vhost="shop", user="billing", password="till").channel()
    for number in range(500):
        channel.publish("orders", "eu.order", str(number), delivery_mode=2)
    channel.wait_for_counts("billing", 500, 0)


@pytest.mark.parametrize("words, status, told", [
    (("--from", "http://rabbit.example:15672"), 64, "--allow-http"),
    (("--from", "http://admin:kanarie@rabbit.example:15672"), 64, "--user"),
    (("--from", "https://127.0.0.1:1"), 69, "no broker answers"),
    (("--from", "http://127.0.0.1:1", "--user", "x", "--password-env", "NOT_SET"), 1, "NOT_SET"),
    (("--from", "http://127.0.0.1:1", "--password-env", "X", "--password-file", "y"), 64, "both"),
])
def test_what_is_wrong_with_an_address_is_told(words, status, told):
    done = brokers.run_command("export", *words)
    assert done.returncode == status and told in done.stderr and "kanarie" not in done.stderr
