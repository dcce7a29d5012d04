# SPDX-License-Identifier: Apache-2.0
"""No secret in any log (threat T22): passwords planted by every test of the run are looked for in
all that all brokers of the run have written."""

import base64
import http.client
import json
import os
import pathlib
import re
import resource
import signal
import subprocess

import pytest

from support import amqp, broker as brokers, documents

pytestmark = pytest.mark.bourse_only


# Every way in which a password can pass through the broker, with debug logs on.
def test_every_way_of_handling_a_password(serve, canaries):
    broker = serve("""
        bourse: 1
        server: {log: {level: debug}}
        users:
          plain: {auth: password, password-file: plain.pw,
                  rights: {configure: "", write: "", read: ""}}
          env: {auth: password, password-env: ENV_SECRET,
                rights: {configure: "", write: "", read: ""}}
        listeners: {amqp: {bind: "127.0.0.1:0"}}
        """, passwords=["plain"], environment={"ENV_SECRET": canaries["env"]})
    for mechanism in ("PLAIN", "AMQPLAIN"):
        conn = broker.open(user="plain", password=canaries["plain"], mechanism=mechanism)
        conn.call(0, "connection.update-secret", new_secret=canaries["plain"], reason="test")
        conn.close()
        conn = broker.connect()
        conn.read_start()
        conn.send_start_ok(user="plain", password=canaries["wrong"], mechanism=mechanism)
        conn.expect_close(403)
    broker.open(user="env", password=canaries["env"]).close()
    # A password where none belongs: in the place of the user, and in a response that is broken.
    for response in (f"\0{canaries['as user']}\0x", f"{canaries['no nul']}",
                     f"\0{canaries['one nul']}"):
        conn = amqp.Connection(broker.amqp, source="127.0.12.1")
        conn.read_start()
        conn.send_start_ok(response=response.encode())
        conn.expect_end(403, 502)
    broker.reload()
    broker.signal(15)
    broker.wait_exit()
    text = broker.log.text() + broker.stdout.text()
    assert "login.refused" in text
    for name, secret in canaries.items():
        if name != "as user":       # a user name is no secret; we log it to tell who failed
            assert secret not in text, name
    del canaries["as user"]


def test_neither_arguments_nor_environment_show_secrets_of_files(shop_broker, shop):
    shop.open(shop_broker, "tester").close()
    for name in ("cmdline", "environ"):
        with open(f"/proc/{shop_broker.pid}/{name}", "rb") as file:
            text = file.read().decode(errors="replace")
        assert not any(secret in text for secret in shop.passwords.values())


def test_a_secret_file_readable_by_all_is_a_warning(write_config, tmp_path, canaries):
    path = write_config("""
        bourse: 1
        users: {u: {auth: password, password-file: u.pw,
                    rights: {configure: "", write: "", read: ""}}}
        listeners: {amqp: {bind: "127.0.0.1:0"}}
        """, passwords=["u"])
    os.chmod(tmp_path / "u.pw", 0o644)
    result = brokers.run_command("check", str(path))
    assert re.search(r"warning: .*u\.pw", result.stderr) and canaries["u"] not in result.stderr


def fetch(address, path, user=None, password=None):
    connection = http.client.HTTPConnection(*address, timeout=15)
    pair = base64.b64encode(f"{user}:{password}".encode()).decode()
    connection.request("GET", path, headers={"Authorization": f"Basic {pair}"} if user else {})
    answer = connection.getresponse()
    text = answer.read().decode()
    connection.close()
    return answer.status, text


def plant_everywhere(broker, planted):
    """Logs in right and wrong in every way there is, and sends what belongs to nobody else."""
    conn = broker.open(user="app", password=planted["app"])
    conn.call(0, "connection.update-secret", new_secret=planted["new secret"], reason="test")
    ch = conn.channel()
    queue = ch.temp_queue()
    ch.publish("", queue, planted["body"].encode(),
               headers={"authorization": planted["header"], "x-uri": f"amqp://u:{planted['uri']}@h"},
               correlation_id=planted["correlation"])
    ch.publish("", planted["routing key"], b"")
    for mechanism in ("PLAIN", "AMQPLAIN"):
        other = broker.connect()
        other.read_start()
        other.send_start_ok(user="app", password=planted["wrong " + mechanism],
                            mechanism=mechanism)
        other.expect_close(403)
    for response in (f"{planted['no nul']}", f"\0{planted['one nul']}"):
        other = amqp.Connection(broker.amqp, source="127.0.12.9")
        other.read_start()
        other.send_start_ok(response=response.encode())
        other.expect_end(403, 502)
    api = broker.addresses["http"][0]
    assert fetch(api, "/api/whoami", "admin", planted["http wrong"])[0] == 401
    assert fetch(api, "/api/whoami", "nobody", planted["http unknown"])[0] == 401
    fetch(api, f"/api/whoami?password={planted['query']}", "admin", planted["admin"])
    fetch(api, f"/api/nothing/{planted['path']}", "admin", planted["admin"])
    fetch(api, f"/api/auth/hash_password/{planted['hashed']}", "admin", planted["admin"])
    fetch(broker.addresses["metrics"][0], f"/metrics?token={planted['metrics query']}")
    return ch


def visit_console(address, password):
    """All that a browser is given when somebody signs in: headers, answer, and the page."""
    connection = http.client.HTTPConnection(*address, timeout=15)
    connection.request("POST", "/api/bourse/session", json.dumps({"name": "admin", "password": password}),
                       {"Content-Type": "application/json"})
    answer = connection.getresponse()
    text = str(answer.getheaders()) + answer.read().decode()
    assert answer.status == 201, text
    connection.close()
    return text + fetch(address, "/")[1]


def kept_on_disk(folder):
    return b"".join(path.read_bytes() for path in pathlib.Path(folder).rglob("*") if path.is_file())


# T22: whatever is planted where secrets are is nowhere that anybody else looks: logs, answers of
# the interface, metrics, the support bundle, the console, the process list.
def test_twenty_planted_secrets_show_nowhere(serve, canaries, tmp_path):
    names = ["app", "admin", "env", "new secret", "body", "header", "uri", "correlation",
             "routing key", "wrong PLAIN", "wrong AMQPLAIN", "no nul", "one nul", "http wrong",
             "http unknown", "query", "path", "metrics query", "file", "hashed"]
    planted = {name: canaries[name] for name in names}
    assert len(set(planted.values())) == 20
    broker = serve("""
        bourse: 1
        server: {log: {level: debug}}
        users:
          app: {auth: password, password-file: app.pw,
                rights: {configure: ".*", write: ".*", read: ".*"}}
          admin: {auth: password, password-file: admin.pw, role: admin,
                  rights: {configure: ".*", write: ".*", read: ".*"}}
          file: {auth: password, password-file: file.pw,
                 rights: {configure: "", write: "", read: ""}}
          env: {auth: password, password-env: T22_SECRET,
                rights: {configure: "", write: "", read: ""}}
        listeners:
          amqp: {bind: "127.0.0.1:0"}
        """, passwords=["app", "admin", "file"], environment={"T22_SECRET": planted["env"]},
        listen=("amqp", "http", "metrics"))
    channel = plant_everywhere(broker, planted)
    seen = {}
    for path in ("/api/overview", "/api/whoami", "/api/vhosts", "/api/queues", "/api/users",
                 "/api/connections", "/api/channels", "/api/definitions",
                 "/api/bourse/attention", "/api/bourse/history", "/api/bourse/audit"):
        seen[path] = fetch(broker.addresses["http"][0], path, "admin", planted["admin"])[1]
    for path in ("/metrics", "/metrics/per-object", "/healthz", "/readyz"):
        status, seen[path] = fetch(broker.addresses["metrics"][0], path)
        assert status == 200
    assert "bourse_logins_total" in seen["/metrics"]
    bundle = tmp_path / "bundle.json"
    made = brokers.run_command("support-bundle", "--context", f"{broker.data_dir}/bourse.sock",
                               str(bundle))
    seen["what the bundle says"] = made.stdout + made.stderr
    seen["bundle"] = bundle.read_text()
    seen["console"] = visit_console(broker.addresses["http"][0], planted["admin"])
    examined = brokers.run_command("doctor", "--context", f"{broker.data_dir}/bourse.sock")
    seen["doctor"] = examined.stdout + examined.stderr
    seen["arguments"] = pathlib.Path(f"/proc/{broker.pid}/cmdline").read_text()
    channel.connection.close()
    broker.reload()
    broker.signal(15)
    broker.wait_exit()
    seen["log"] = broker.log.text() + broker.stdout.text()
    assert "login.refused" in seen["log"]
    found = [(name, where) for where, text in seen.items() for name, secret in planted.items()
             if secret in text]
    assert found == []
    kept = kept_on_disk(broker.data_dir)
    logins = [name for name in names if name not in ("body", "header", "uri", "correlation")]
    assert [name for name in logins if planted[name].encode() in kept] == []


def dies_with_a_core(process):
    """Whether the system wrote down the memory of a process that SIGQUIT ended."""
    os.kill(process.pid, signal.SIGQUIT)
    _pid, status = os.waitpid(process.pid, 0)
    process.returncode = -os.WTERMSIG(status)
    assert os.WIFSIGNALED(status)
    return os.WCOREDUMP(status)


# Secrets are in memory: whatever limit and system say, no core file has them.
def test_a_broker_leaves_no_core_behind(tmp_path):
    def allow_cores():
        resource.setrlimit(resource.RLIMIT_CORE, (resource.getrlimit(resource.RLIMIT_CORE)[1],) * 2)

    sanitizer = os.environ.get("ASAN_OPTIONS", "") + ":disable_coredump=0"
    options = {"cwd": tmp_path, "preexec_fn": allow_cores, "stdout": subprocess.PIPE,
               "env": {**os.environ, "ASAN_OPTIONS": sanitizer}}
    other = subprocess.Popen(["cat"], stdin=subprocess.PIPE, **options)
    if not dies_with_a_core(other):
        pytest.skip("nothing leaves a core on this system")
    with subprocess.Popen([brokers.binary(), "serve", "--ephemeral", "--amqp", "127.0.0.1:0",
                           "--http", "off", "--metrics", "off"], stderr=subprocess.DEVNULL, **options) as broker:
        while not broker.stdout.readline().startswith(b"bourse ready:"):
            pass
        assert not dies_with_a_core(broker)


@pytest.mark.last
def test_every_event_of_this_run_is_in_the_page_of_the_log():
    known = documents.events()
    text = "\n".join(brokers.all_logs)
    seen = set(re.findall(r'^time=\S+ level=\w+ event=(\S+)', text, re.MULTILINE))
    seen |= set(re.findall(r'^\{"time":"[^"]+","level":"\w+","event":"([^"]+)"', text, re.MULTILINE))
    assert len(seen) > 10 and seen - known == set()


@pytest.mark.last
def test_no_planted_secret_is_in_any_log_of_this_run(canaries):
    assert len(canaries) >= 3
    text = "\n".join(brokers.all_logs)
    for name, secret in canaries.items():
        assert secret not in text, f"the secret of {name} is in a log"
