# SPDX-License-Identifier: Apache-2.0
"""Topology as code with a running broker: plan, apply, rollback, drift, export, import, route."""

import concurrent.futures
import http.server
import json
import os
import re
import socketserver
import threading

import pytest

from tests.support import broker as brokers

pytestmark = pytest.mark.bourse_only

SERVE = """
bourse: 1
users:
  admin: {auth: password, password-file: pw, role: admin,
          rights: {configure: ".*", write: ".*", read: ".*"}}
  monitor: {auth: password, password-file: pw, role: monitor}
  service: {auth: password, password-file: pw}
listeners:
  amqp: {bind: "127.0.0.1:0"}
  http: {bind: "127.0.0.1:0"}
"""

SHOP = """
bourse: 1
vhost: shop
exchanges:
  orders: {type: topic}
queues:
  billing: {from: [{exchange: orders, key: "order.eu.#"}]}
  mail: {from: [{exchange: orders, key: "order.*.placed"}], ttl: 1d}
users:
  checkout: {auth: password, password-file: checkout.pw, publish: [orders], consume: [billing]}
"""


class Shop:
    """A broker, and a folder with files for it."""

    def __init__(self, path, broker):
        self.path, self.broker = path, broker
        self.socket = os.path.join(broker.data_dir, "bourse.sock")

    def write(self, text, name="shop.yaml"):
        (self.path / name).write_text(text)

    def run(self, *words, **options):
        command = [words[0], *words[1:], "--context", self.socket]
        return brokers.run_command(*command, cwd=self.path, **options)

    def apply(self, *words):
        result = self.run("apply", "shop.yaml", "--yes", *words)
        assert result.returncode == 0, result.stderr + result.stdout
        return int(re.search(r"generation (\d+)", result.stdout).group(1))

    def log_in(self, user, password):
        self.broker.connect().open(vhost="shop", user=user, password=password).close()

    def publish(self, queue, count=1, vhost="shop"):
        for _ in range(count):
            result = self.run("publish", "", queue, "x", "--vhost", vhost)
            assert result.returncode == 0, result.stderr


@pytest.fixture(name="shop")
def fixture_shop(tmp_path):
    (tmp_path / "pw").write_text("secret\n")
    (tmp_path / "checkout.pw").write_text("till\n")
    (tmp_path / "pw").chmod(0o600)
    (tmp_path / "checkout.pw").chmod(0o600)
    (tmp_path / "serve.yaml").write_text(SERVE)
    with brokers.Bourse(tmp_path / "serve.yaml", listen=("amqp", "http")) as broker:
        shop = Shop(tmp_path, broker)
        shop.write(SHOP)
        yield shop


# product.md 8.2: 0 nothing, 2 changes, 1 error.
def test_a_plan_shows_what_would_change_and_changes_nothing(shop):
    planned = shop.run("plan", "shop.yaml")
    assert planned.returncode == 2, planned.stderr
    assert "+ queue billing" in planned.stdout and "+ exchange orders" in planned.stdout
    assert '+ binding orders -> billing (key order.eu.' in planned.stdout.replace('"', "")
    assert shop.run("plan", "shop.yaml").stdout == planned.stdout
    assert shop.apply() > 0
    again = shop.run("plan", "shop.yaml")
    assert (again.returncode, again.stdout) == (0, "Plan for vhost shop: nothing to do\n")


# `serve` has read the password of "service" from a file and kept no hash of it: it may not be taken for a user of
# certificates. Over the control socket the command asks by logging in; elsewhere a plan says that it cannot know.
def test_a_user_whose_password_serve_has_read_stays_one_of_passwords(shop):
    exported = shop.run("export")
    assert "  service:\n    # Its password did not come along" in exported.stdout
    assert "    auth: password\n    password-env: BOURSE_PASSWORD_SERVICE\n" in exported.stdout
    assert 'user "service": the password stands in a file' in exported.stderr


def test_a_password_that_serve_has_read_is_compared_and_no_difference(shop):
    first = shop.run("plan", "serve.yaml")
    assert (first.returncode, first.stdout) == (0, "Plan for vhost /: nothing to do\n")
    (shop.path / "pw").write_text("another\n")
    second = shop.run("plan", "serve.yaml")
    assert second.returncode == 2, second.stderr
    assert "password: (one that serve has read, which cannot be compared) -> (that of this file)" in second.stdout
    assert shop.run("apply", "serve.yaml", "--yes").returncode == 0
    assert shop.run("plan", "serve.yaml").returncode == 0
    assert "password-hash: " in shop.run("export").stdout


def test_a_password_goes_in_the_clear_to_the_control_socket_alone(shop, monkeypatch):
    """A context with an address may be another broker than was meant: hashes go there, and nothing else."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(shop.path / "config"))
    url = "http://{}:{}".format(*shop.broker.addresses["http"][0])
    added = brokers.run_command("context", "add", "web", "--url", url, "--user", "admin", "--password-file",
                                str(shop.path / "pw"))
    assert added.returncode == 0, added.stderr
    asked = brokers.run_command("plan", "serve.yaml", "--context", "web", cwd=shop.path)
    assert asked.returncode == 2, asked.stderr
    assert "password: (one that serve has read, which cannot be compared)" in asked.stdout


EVERY_KEY = """
bourse: 1
vhost: shop
limits: {max-connections: 500, max-queues: 1000}
defaults:
  queue: {limits: {max-bytes: 2GiB, on-full: reject}}
exchanges:
  orders: {type: topic, unrouted: lost}
  events: {type: fanout, from: [{exchange: orders, key: "order.*.placed"}]}
  lost: {type: fanout}
  dead: {type: topic}
  heads: {type: headers, internal: true, arguments: {x-note: "hello, \\"you\\""}}
  late: {type: x-delayed-message, arguments: {x-delayed-type: topic}}
  spread: {type: x-consistent-hash, arguments: {hash-header: id}}
  passing: {durable: false, auto-delete: true,
            from: [{exchange: heads, arguments: {x-match: all, n: 5, b: true, f: 1.5, s: "5"}}]}
  "with blank: ünï": {}
retry:
  gentle: {first: 2s, factor: 2, max: 5m, jitter: 20%, attempts: 6, then: dead}
  strict: {first: 500ms, factor: 3.5, max: 30s, jitter: full, attempts: 3, max-age: 1d, counts: [nack, timeout],
           order: hold, then: dead}
queues:
  billing:
    from: [{exchange: orders, key: "order.eu.placed"}, {exchange: orders, key: "order.us.placed"}]
    retry: gentle
    ack-timeout: 5m
    ttl: 90s
    expires: 1w
    priorities: 9
    consumers: {single-active: true}
    limits: {max-length: 1000, max-bytes: 10MB, on-full: dead-letter}
    dead-letter: {exchange: dead, key: billing.dead}
    alert: {ready-above: 10, oldest-above: 1h}
  q2: {type: quorum, retry: strict, from: [{exchange: spread, key: "3"}]}
  q3: {durable: false, limits: {on-full: drop-oldest, max-length: 0}, alert: {ready-above: 0}}
  q4: {from: [{exchange: heads, arguments: {x-match: any, a: "1", list: [1, "x", true]}}],
       arguments: {x-custom: {a: 1}, x-queue-mode: lazy}}
  q5: {retry: {first: 1s, attempts: 2}, from: [{exchange: late, key: "#"}]}
  "q 6/ü\\"": {from: [{exchange: "with blank: ünï"}]}
policies:
  p1: {pattern: "^q", apply-to: queues, priority: 3, definition: {max-length: 77, overflow: drop-head}}
  p2: {pattern: "^orders$", apply-to: exchanges, definition: {alternate-exchange: lost}}
operator-policies:
  op1: {pattern: "^q", apply-to: queues, definition: {max-length: 500}}
users:
  cert1: {auth: cert, publish: [orders], topics: {orders: ["order.*.placed"]}}
  cert2: {auth: cert, consume: [billing, "q*"], publish: [orders, "ev*"], role: monitor,
          limits: {max-connections: 5, max-channels: 10}}
  checkout: {auth: password, password-file: checkout.pw, role: operator}
  raw: {auth: cert, rights: {configure: "^$", write: ".*", read: "^q"}}
protect: [billing, orders]
"""


def test_what_is_exported_is_all_of_it(shop):
    shop.write(EVERY_KEY)
    shop.apply()
    exported = shop.run("export", "--vhost", "shop")
    assert exported.returncode == 0, exported.stderr
    shop.write(exported.stdout, "exported.yaml")
    planned = shop.run("plan", "exported.yaml")
    assert (planned.returncode, planned.stdout) == (0, "Plan for vhost shop: nothing to do\n"), exported.stdout
    names = re.findall(r"^  (\S+):$", exported.stdout.split("\nqueues:\n")[1].split("\npolicies:\n")[0], re.M)
    assert names == sorted(names) and names[0] == "billing"


def test_definitions_go_out_and_into_a_fresh_broker(shop):
    shop.write(EVERY_KEY)
    shop.apply()
    definitions = shop.run("export", "--vhost", "shop", "--format", "definitions").stdout
    (shop.path / "definitions.json").write_text(definitions)
    with brokers.Bourse() as fresh:
        context = ("--context", os.path.join(fresh.scratch, "data", "bourse.sock"))
        imported = brokers.run_command("import", "definitions.json", "--vhost", "shop", "--apply", "--yes", *context,
                                       cwd=shop.path)
        assert imported.returncode == 0, imported.stderr
        again = brokers.run_command("export", "--vhost", "shop", "--format", "definitions", *context).stdout
    ours, theirs = json.loads(definitions), json.loads(again)
    for section in ("exchanges", "queues", "bindings", "policies", "parameters", "topic_permissions"):
        assert theirs[section] == ours[section], section
    queue = next(row for row in ours["queues"] if row["name"] == "billing")
    assert queue["bourse"] == {"protect": True, "ready_above": 10, "oldest_above_ms": 3600000}


def test_definitions_of_one_vhost_have_nothing_of_another(shop):
    shop.apply()
    shop.run("queue", "declare", "elsewhere")
    definitions = json.loads(shop.run("export", "--vhost", "shop", "--format", "definitions").stdout)
    for section in ("permissions", "topic_permissions", "policies", "exchanges", "queues", "bindings"):
        assert {row["vhost"] for row in definitions[section]} <= {"shop"}, section
    assert "checkout" in {user["name"] for user in definitions["users"]}
    assert "admin" not in {user["name"] for user in definitions["users"]}  # who has rights elsewhere alone


# RabbitMQ refuses the whole file for one hash in a form that it does not know.
def test_a_file_for_rabbitmq_has_no_hash_that_it_refuses(shop):
    shop.write(EVERY_KEY)
    shop.apply()
    exported = shop.run("export", "--vhost", "shop", "--format", "rabbitmq")
    assert exported.returncode == 0 and "scrypt" not in exported.stdout
    limits = {row["name"]: row["arguments"].get("x-delivery-limit") for row in json.loads(exported.stdout)["queues"]}
    assert limits["q2"] == 2 and limits["billing"] is None and limits["q5"] is None
    assert 'queue "billing" goes without x-delivery-limit' in exported.stderr
    assert 'user "checkout" has no password there: RabbitMQ cannot check a scrypt hash' in exported.stderr


# <(envsubst < shop.yaml) and - are files that can be read once, and that take their time.
def test_files_may_come_from_pipes(shop):
    text = SHOP.split("users:")[0]
    for words, status in ((("plan",), 2), (("apply", "--yes"), 0)):
        out, into = os.pipe()
        with concurrent.futures.ThreadPoolExecutor() as pool:
            running = pool.submit(shop.run, words[0], f"/dev/fd/{out}", *words[1:], pass_fds=(out,))
            with os.fdopen(into, "w") as writer:
                writer.write(text)
            done = running.result()
        os.close(out)
        assert done.returncode == status, done.stderr
    assert shop.run("plan", "-", input=text).returncode == 0
    checked = brokers.run_command("check", "-", input=text, cwd=shop.path)
    assert checked.returncode == 0 and "ok: vhost shop" in checked.stdout


# Two pipelines that say the same: --yes is to whatever there is to do by then.
def test_who_is_not_asked_need_not_be_the_first(shop):
    with concurrent.futures.ThreadPoolExecutor() as pool:
        done = list(pool.map(lambda _: shop.run("apply", "shop.yaml", "--yes"), range(4)))
    assert [one.returncode for one in done] == [0] * 4, done
    assert shop.run("plan", "shop.yaml").returncode == 0


def test_a_broker_that_goes_during_an_apply_leaves_a_question_and_says_so(shop):
    class Gone(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            self.rfile.read(int(self.headers["Content-Length"]))
            if self.path == "/api/bourse/plan":
                octets = json.dumps({"vhost": "shop", "digest": "1", "is_applicable": True, "steps": [{}],
                                     "counts": {}, "text": "Plan\\n", "salts": {}}).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(octets)))
                self.end_headers()
                self.wfile.write(octets)
            self.close_connection = True

        do_GET = do_POST

        def log_message(self, *_words):
            pass

        def address_string(self):
            return "local"

    shop.write("bourse: 1\nqueues: {a: {}}\n")
    path = str(shop.path / "gone.sock")
    with socketserver.UnixStreamServer(path, Gone) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        done = brokers.run_command("apply", "shop.yaml", "--yes", "--context", path, cwd=shop.path)
        server.shutdown()
    assert done.returncode == 69 and "whether it was applied is not known" in done.stderr, done


def test_applying_twice_is_applying_once(shop):
    first = shop.apply()
    assert shop.apply() == first


# The password lies where the operator is, and only its hash travels.
def test_a_user_whose_password_is_in_a_file_can_log_in_after_apply(shop):
    shop.apply()
    shop.log_in("checkout", "till")
    (shop.path / "checkout.pw").write_text("another\n")
    changed = shop.run("plan", "shop.yaml")
    assert changed.returncode == 2 and "password: (one) -> (another)" in changed.stdout
    shop.apply()
    shop.log_in("checkout", "another")
    assert shop.run("plan", "shop.yaml").returncode == 0
    log = shop.broker.log.text()
    assert "till" not in log and "$scrypt$" not in log


def test_a_password_that_cannot_be_read_is_kept(shop):
    shop.apply()
    (shop.path / "checkout.pw").unlink()
    planned = shop.run("plan", "shop.yaml")
    assert planned.returncode == 0 and "keeps the one it knows" in planned.stderr
    shop.apply()
    shop.log_in("checkout", "till")


def test_messages_are_not_lost_without_the_word(shop):
    shop.apply()
    shop.publish("mail", 2)
    shop.write(SHOP.replace("ttl: 1d", "priorities: 5"))
    planned = shop.run("plan", "shop.yaml")
    assert planned.returncode == 2 and "2 messages would be lost" in planned.stdout
    refused = shop.run("apply", "shop.yaml", "--yes")
    assert refused.returncode == 1 and "--discard mail" in refused.stdout + refused.stderr
    assert "2 messages" in shop.run("plan", "shop.yaml").stdout
    shop.apply("--discard", "mail")
    assert shop.run("plan", "shop.yaml").returncode == 0


def test_what_the_files_do_not_name_goes_only_when_told(shop):
    shop.apply()
    shop.write(SHOP.replace("  mail:", "  post:"))
    shop.apply()
    assert "mail" in shop.run("queue", "ls", "-o", "name", "--vhost", "shop").stdout
    pruned = shop.run("plan", "shop.yaml", "--prune")
    assert pruned.returncode == 2 and "- queue mail" in pruned.stdout
    shop.apply("--prune")
    assert "mail" not in shop.run("queue", "ls", "-o", "name", "--vhost", "shop").stdout


def test_without_a_terminal_apply_needs_a_word(shop):
    refused = shop.run("apply", "shop.yaml", input="y\n")
    assert refused.returncode == 1 and "--yes" in refused.stderr
    assert shop.run("plan", "shop.yaml").returncode == 2


# ADR 0031: what somebody looked at is what is done.
def test_a_plan_that_is_no_longer_true_is_refused(shop):
    assert shop.run("plan", "shop.yaml", "--out", "plan.json").returncode == 2
    kept = json.loads((shop.path / "plan.json").read_text())
    assert kept["bourse_plan"] == 1 and len(kept["digest"]) == 16
    shop.apply()
    stale = shop.run("apply", "shop.yaml", "--plan", "plan.json")
    assert stale.returncode == 1 and "make a new plan" in stale.stderr
    assert stale.stdout.count("Plan for vhost") == 1
    shop.write(SHOP.replace("ttl: 1d", "ttl: 2d"))
    assert shop.run("plan", "shop.yaml", "--out", "plan.json").returncode == 2
    assert shop.run("apply", "shop.yaml", "--plan", "plan.json").returncode == 0
    assert shop.run("apply", "shop.yaml", "--plan", "shop.yaml").returncode == 1
    assert shop.run("apply", "shop.yaml", "--plan", "plan.json", "--prune").returncode == 64


def test_errors_of_files_are_told_by_place(shop):
    shop.write(SHOP.replace("exchange: orders", "exchange: ordrs"))
    for command in ("plan", "apply"):
        result = shop.run(command, "shop.yaml")
        assert result.returncode == 1
        assert re.search(r"^shop.yaml:\d+:\d+: error: .*ordrs", result.stderr, re.M), result.stderr
        assert len(re.findall("error:", result.stderr)) >= 2


def test_rollback_goes_back_to_what_was_in_force_before(shop):
    first = shop.apply()
    shop.write(SHOP.replace("ttl: 1d", "ttl: 2d"))
    second = shop.apply()
    back = shop.run("rollback", "--yes")
    assert back.returncode == 0 and "ttl: 2d -> 1d" in back.stdout, back.stderr
    listed = json.loads(shop.run("generation", "ls", "-o", "json").stdout)
    newest = listed[0]
    assert (newest["cause"], newest["restored_id"], newest["vhost"]) == ("rollback", first, "shop")
    assert [row["id"] for row in listed if row["vhost"] == "shop"] == [newest["id"], second, first]
    assert shop.run("rollback", str(second), "--yes").returncode == 0
    assert shop.run("plan", "shop.yaml").returncode == 0
    assert shop.run("rollback", "999", "--yes").returncode == 66
    assert shop.run("rollback", "x", "--yes").returncode == 64


def test_drift_names_what_clients_did(shop):
    shop.apply()
    none = shop.run("drift", "--vhost", "shop")
    assert (none.returncode, none.stdout) == (0, "Drift of vhost shop: none\n")
    assert shop.run("queue", "declare", "tmp", "--vhost", "shop").returncode == 0
    assert shop.run("queue", "delete", "mail", "--vhost", "shop").returncode == 0
    drift = shop.run("drift")
    assert drift.returncode == 2
    assert "+ queue tmp: made" in drift.stdout and "- queue mail: is gone" in drift.stdout
    rows = json.loads(shop.run("drift", "--format", "json", "--vhost", "shop").stdout)
    found = {(row["difference"], row["object"], row["name"]) for row in rows[0]["differences"]}
    assert ("made", "queue", "tmp") in found and ("gone", "queue", "mail") in found


def test_route_explains_what_the_broker_would_do(shop):
    shop.apply()
    routed = shop.run("route", "orders", "order.eu.placed", "-u", "checkout", "--vhost", "shop")
    assert routed.returncode == 0, routed.stderr
    assert '"billing"' in routed.stdout and '"mail"' in routed.stdout
    assert 'user "checkout": may publish' in routed.stdout and "NO CONSUMER" in routed.stdout
    nowhere = shop.run("route", "orders", "x", "--vhost", "shop")
    assert nowhere.returncode == 1 and "UNROUTABLE" in nowhere.stdout
    refused = shop.run("route", "", "mail", "-u", "checkout", "--vhost", "shop")
    assert refused.returncode == 1 and "REFUSED: 403" in refused.stdout
    copied = shop.run("route", "orders", "x", "-H", "CC=order.eu.x,y", "-H", "n=1",
                      "--vhost", "shop")
    assert copied.returncode == 0 and '"billing"' in copied.stdout
    assert shop.run("route", "orders", "x", "--vhost", "none").returncode == 66
    for words in (["\udcff", "x"], ["orders", "\udcff"], ["orders", "x", "-u", "\udcff"],
                  ["orders", "x", "-H", "n=\udcff"], ["orders", "x", "-H", "CC=a,\udcff"]):
        unclear = shop.run("route", *words, "--vhost", "shop")
        assert (unclear.returncode, "not UTF-8" in unclear.stderr) == (64, True), words


# The same question to the file and to the broker that has it: the same way.
def test_route_says_the_same_of_file_and_broker(shop):
    shop.apply()
    (shop.path / "checkout.pw").chmod(0o600)
    online = shop.run("route", "orders", "order.us.placed", "--vhost", "shop")
    offline = brokers.run_command("route", "orders", "order.us.placed", "--file", "shop.yaml",
                                  cwd=shop.path)
    plain = re.sub(r"; NO CONSUMER", "", online.stdout)
    assert plain == offline.stdout and online.returncode == offline.returncode == 0
