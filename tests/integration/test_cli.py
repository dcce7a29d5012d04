# SPDX-License-Identifier: Apache-2.0
"""Commands that ask a running broker: what they send, what they print, and how they exit.

What a broker says is said here by a small server on a unix socket, so that every status and every
name can come; that the two fit is tried with a real broker at the end.
"""

import contextlib
import fcntl
import http.server
import json
import os
import pty
import re
import resource
import shutil
import signal
import socket
import socketserver
import stat
import struct
import subprocess
import termios
import textwrap
import threading
import time

import pytest

from support import broker as brokers

pytestmark = pytest.mark.bourse_only


class FakeBroker:
    """Answers requests on a unix socket: `answers` maps "METHOD path" to (status, JSON)."""

    def __init__(self, path, protocol="HTTP/1.1"):
        self.path, self.answers, self.requests = str(path), {}, []
        self.slow = None  # what answers instead, in its time
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = protocol

            def answer(self):
                size = int(self.headers.get("Content-Length", 0))
                body = json.loads(self.rfile.read(size)) if size else None
                key = f"{self.command} {self.path}"
                outer.requests.append((key, body))
                status, value = outer.slow() if outer.slow else outer.answers.get(
                    key, (404, {"error": "Object Not Found"}))
                octets = value if isinstance(value, bytes) else b"" if value is None else json.dumps(value).encode()
                self.send_response(status)
                if status != 204:
                    self.send_header("Content-Length", str(len(octets)))
                self.end_headers()
                self.wfile.write(octets if status != 204 else b"")

            do_GET = do_PUT = do_POST = do_DELETE = answer

            def log_message(self, *_words):
                pass

            def address_string(self):
                return "local"

        class Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
            daemon_threads = True

        self.server = Server(self.path, Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def run(self, *words, **options):
        return brokers.run_command(*words, "--context", self.path, **options)

    def close(self):
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def fake(tmp_path):
    broker = FakeBroker(tmp_path / "fake.sock")
    yield broker
    broker.close()


@pytest.fixture(autouse=True)
def own_contexts(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.delenv("BOURSE_CONTEXT", raising=False)


HOSTILE = "evil\x1b[2J,\"q\"\n$(touch pwned)"
QUEUES = [{"name": "orders", "vhost": "/", "state": "running", "messages_ready": 12},
          {"name": HOSTILE, "vhost": "/", "messages_ready": 0}]


def export_of(fake, line):
    fake.answers[f"GET /api/bourse/queues/%2F/q/export?limit={2**63 - 1}"] = (200, line)
    return subprocess.run([brokers.binary(), "dlq", "export", "q", "--context", fake.path],
                          stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, timeout=30)


# Looked through from its beginning for each part that came, it took a minute.
def test_a_long_line_is_passed_on_at_once(fake):
    done = export_of(fake, b"x" * (128 << 20) + b"\n")
    assert (done.returncode, done.stderr) == (0, "")


def test_a_line_that_is_too_long_is_not_called_a_full_disk(fake):
    done = export_of(fake, b"x" * (257 << 20) + b"\n")
    assert done.returncode == 69 and "it is too long" in done.stderr


def test_texts_of_the_broker_do_not_steer_the_terminal(fake):
    text = "Plan for vhost /:\n- queue \"\x1b[2J\x9b2J\"\n"
    fake.answers["GET /api/bourse/drift"] = (200, [{"vhost": "/", "count": 0, "text": text}])
    fake.answers["POST /api/bourse/route/%2F"] = (200, {"text": text, "arrives": True})
    for words in (["drift"], ["route", "", "k"]):
        done = fake.run(*words)
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout == "Plan for vhost /:\n- queue \"\\x1b[2J\\u{9b}2J\"\n"


def test_dead_letters_of_a_queue_without_a_name_are_a_row(fake):
    fake.answers["GET /api/bourse/dead-letters"] = (200, {"queues": [{"queue": None, "vhost": "/"}, {}]})
    done = fake.run("dlq", "ls", "-q")
    assert done.returncode == 0 and len(done.stdout.splitlines()) == 2, done.stderr


def test_rows_come_as_table_csv_json_and_names(fake):
    fake.answers["GET /api/queues"] = (200, QUEUES)
    fake.answers["GET /api/queues?disable_stats=true"] = (200, QUEUES)
    table = fake.run("ls", "queues")
    assert table.returncode == 0 and table.stderr == ""
    assert table.stdout.splitlines()[0].split()[:2] == ["NAME", "VHOST"]
    assert "\x1b" not in table.stdout and "evil\\x1b[2J" in table.stdout
    csv = fake.run("ls", "queues", "-o", "csv").stdout
    assert csv.startswith("name,vhost,type") and '"evil\\x1b[2J,""q""\\n$(touch pwned)"' in csv
    assert json.loads(fake.run("ls", "queues", "-o", "json").stdout) == QUEUES
    names = fake.run("queue", "ls", "-o", "name", "-q").stdout.splitlines()
    assert names == ["orders", 'evil\\x1b[2J,"q"\\n$(touch pwned)']


# An address of something else, as a proxy that answers everything with an object of its own.
@pytest.mark.parametrize("answer", [{"error": "no such tenant"}, "hello", None])
def test_an_answer_that_is_no_list_is_not_an_empty_one(fake, answer):
    for path in ("/api/queues", "/api/queues?disable_stats=true", "/api/users"):
        fake.answers[f"GET {path}"] = (200, answer)
    for words in (("ls", "queues"), ("ls", "queues", "-o", "json"), ("queue", "ls", "-o", "name"),
                  ("user", "ls")):
        done = fake.run(*words)
        assert done.returncode == 69 and "no list" in done.stderr and done.stdout == "", done


def test_names_are_one_segment_and_bodies_are_json(fake):
    fake.answers["PUT /api/queues/a%2Fb/x%20%2F%3F"] = (201, None)
    done = fake.run("queue", "declare", "x /?", "-p", "a/b", "--argument", "x-max-length=5",
                    "--argument", "x-overflow=drop-head", "--transient")
    assert done.returncode == 0 and done.stdout == "queue declared: x /?\n"
    assert fake.requests == [("PUT /api/queues/a%2Fb/x%20%2F%3F",
                              {"durable": False, "auto_delete": False,
                               "arguments": {"x-max-length": 5, "x-overflow": "drop-head"}})]


@pytest.mark.parametrize("status, answer, exit_status, told", [
    (401, {"error": "not_authorised"}, 77, "group bourse"),
    (401, {"error": "not_authorized", "reason": "Login failed"}, 77, "group bourse"),
    (401, {"error": "not_authorized", "reason": "read access to queue 'q' refused"}, 77, "read access"),
    (403, {"reason": "no configure right"}, 77, "no configure right"),
    (404, {"error": "Object Not Found", "reason": "Not Found"}, 66, "bourse ls"),
    (404, {"error": "Object Not Found", "reason": "Not Found: vhost '/'"}, 66, "bourse ls vhosts"),
    (404, {"error": "Object Not Found", "reason": "there is no generation 9"}, 66, "bourse: there is no generation 9\n"),
    (403, {"reason": "ACCESS_REFUSED - queue name 'amq.x' contains reserved prefix 'amq.*'"}, 77, "choose another"),
    (400, {"error": "bad_request", "reason": "vhost_or_user_not_found"}, 66, "bourse ls users"),
    (400, {"error": "bad_request", "reason": "inequivalent arg 'durable'"}, 1, "HTTP 400): inequivalent arg 'durable'\n"),
    (400, {"reason": "PRECONDITION_FAILED - inequivalent arg 'durable'"}, 1, '"bourse explain 406"'),
    (405, None, 1, "older than this command"), (412, {"reason": "in use"}, 1, "--if-empty"),
    (503, {"reason": "busy"}, 1, "try again"), (500, None, 1, "HTTP 500"),
])
def test_each_refusal_says_what_why_and_what_next(fake, status, answer, exit_status, told):
    fake.answers["DELETE /api/queues/%2F/q"] = (status, answer)
    done = fake.run("queue", "delete", "q")
    assert done.returncode == exit_status and done.stdout == ""
    assert told in done.stderr and done.stderr.count("\n") == 1


@pytest.mark.parametrize("reason", ["Not Found", "NOT_FOUND - no queue 'ordrs' in vhost '/'"])
def test_a_mistyped_name_is_guessed_from_those_that_there_are(fake, reason):
    fake.answers["GET /api/queues/%2F?disable_stats=true"] = (200, QUEUES)
    fake.answers["DELETE /api/queues/%2F/ordrs"] = (404, {"error": "Object Not Found", "reason": reason})
    done = fake.run("queue", "delete", "ordrs")
    assert done.returncode == 66
    assert done.stderr.startswith('bourse: there is no queue "ordrs" in vhost "/" (did you mean "orders"?); ')


@pytest.mark.parametrize("words", [("queue", "show", ""), ("vhost", "add", ""), ("conn", "close", ""), ("peek", "")])
def test_an_empty_name_is_misuse_and_asks_nobody(fake, words):
    done = fake.run(*words)
    assert done.returncode == 64 and done.stderr.endswith(" is empty\n") and fake.requests == []


# The library that lays out tables never ends over a letter that its locale does not know.
@pytest.mark.parametrize("locale", ["C", "C.UTF-8"])
def test_names_in_any_script_are_laid_out_in_any_locale(fake, locale):
    fake.answers["GET /api/queues"] = (200, [{"name": "bestellungen-für-中文"}, {"name": "q"}])
    done = fake.run("ls", "queues", env={**os.environ, "LC_ALL": locale})
    assert [line.split()[0] for line in done.stdout.splitlines()] == ["NAME", "bestellungen-für-中文", "q"]


def test_tags_are_words(fake):
    fake.answers["GET /api/users"] = (200, [{"name": "eve", "tags": ["monitoring", "policymaker"]}])
    assert "eve  monitoring, policymaker -" in fake.run("user", "ls").stdout


def test_the_default_exchange_is_shown_by_its_empty_name(fake):
    fake.answers["GET /api/exchanges/%2F/amq.default"] = (200, {"name": "", "type": "direct"})
    assert "TYPE         direct\n" in fake.run("exchange", "show", "").stdout


def test_no_broker_is_status_69(tmp_path):
    for words in (["--context", str(tmp_path / "none.sock")], []):
        done = brokers.run_command("ping", *words, cwd=tmp_path)
        assert done.returncode == 69 and "bourse serve" in done.stderr


# The health check of the image, in which there is no libcurl: over a control socket ping asks by itself.
@pytest.mark.parametrize("status, exit_status, told", [
    (200, 0, "ok: "), (401, 77, "control socket is for root"), (503, 1, "try again"),
])
def test_ping_says_what_the_answer_means(fake, status, exit_status, told):
    fake.answers["GET /api/whoami"] = (status, {"reason": "Not logged in"} if status == 401 else {})
    done = fake.run("ping")
    assert done.returncode == exit_status and told in done.stdout + done.stderr


@pytest.mark.parametrize("answer, told", [
    (b"", "speaks no HTTP"), (b"220 mail.example ESMTP\r\n", "speaks no HTTP"), (None, "not answered within 1 s"),
])
def test_ping_does_not_take_anything_for_a_broker(tmp_path, answer, told):
    path = str(tmp_path / "other.sock")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()

        def serve_one():
            conn, _ = listener.accept()
            with conn:
                conn.recv(4096)
                if answer is None:
                    conn.recv(1)
                else:
                    conn.sendall(answer)

        server = threading.Thread(target=serve_one)
        server.start()
        done = brokers.run_command("ping", "--context", path, "--timeout", "1")
        server.join()
    assert done.returncode == 69 and told in done.stderr


def test_ping_needs_no_library(fake):
    fake.answers["GET /api/whoami"] = (200, {})
    traced = subprocess.run(["strace", "-f", "-e", "trace=openat", brokers.binary(), "ping", "--context", fake.path],
                            capture_output=True, text=True, check=False,
                            env={**os.environ, "ASAN_OPTIONS": "detect_leaks=0"})
    assert traced.returncode == 0 and "libcurl" not in traced.stderr


def test_a_password_comes_from_input_and_is_never_printed(fake, canaries):
    secret = canaries["cli user"]
    fake.answers["PUT /api/users/eve"] = (201, None)
    done = fake.run("user", "add", "eve", "--role", "monitor", input=secret + "\n")
    assert done.returncode == 0 and secret not in done.stdout + done.stderr
    assert fake.requests == [("GET /api/users/eve", None),
                             ("PUT /api/users/eve", {"password": secret, "tags": "monitoring"})]


# Names of others stand in what a broker gives as its reason.
def test_a_reason_does_not_steer_the_terminal(fake):
    fake.answers["DELETE /api/queues/%2F/q"] = (400, {"error": "bad_request",
                                                      "reason": "of \x1b[31m'\x9b31mred\x07'"})
    done = fake.run("queue", "delete", "q")
    assert done.returncode == 1
    assert "of \\x1b[31m'\\u{9b}31mred\\x07'" in done.stderr
    assert not [octet for octet in done.stderr if octet != "\n" and not octet.isprintable()]


# PUT would take an administrator's role, and the password of whoever uses it.
def test_a_user_who_is_there_is_not_added(fake):
    fake.answers["GET /api/users/eve"] = (200, {"name": "eve", "tags": ["administrator"]})
    for words in ([], ["--role", "monitor"], ["--by-certificate"]):
        done = fake.run("user", "add", "eve", *words, input="word\n")
        assert (done.returncode, done.stdout) == (1, "")
        assert "already" in done.stderr and "user passwd" in done.stderr
    assert set(fake.requests) == {("GET /api/users/eve", None)}


def test_a_role_is_given_without_a_word_about_the_password(fake):
    fake.answers["PUT /api/bourse/users/eve/tags"] = (204, None)
    for role, tags in [("monitor", "monitoring"), ("none", ""), ("admin", "administrator"),
                       ("operator", "monitoring,policymaker,management")]:
        fake.requests.clear()
        done = fake.run("user", "role", "eve", role)
        assert done.returncode == 0, done.stderr
        assert fake.requests == [("PUT /api/bourse/users/eve/tags", {"tags": tags})]
    fake.requests.clear()
    done = fake.run("user", "role", "eve", "root")
    assert done.returncode == 64 and "none|monitor|operator|admin" in done.stderr
    assert 'did you mean "admin"' in fake.run("user", "role", "eve", "adm").stderr
    assert fake.requests == []


def test_octets_that_are_no_text_are_published_as_base64(fake, tmp_path):
    fake.answers["POST /api/exchanges/%2F/amq.default/publish"] = (200, {"routed": True})
    body = tmp_path / "body"
    body.write_bytes(b"\xff\x00\x01")
    done = fake.run("publish", "", "q", "--file", str(body), "-H", "n=1", "-H", "t=x")
    assert done.returncode == 0, done.stderr
    assert fake.requests[0][1] == {"routing_key": "q", "payload": "/wAB",
                                   "payload_encoding": "base64",
                                   "properties": {"delivery_mode": 2, "headers": {"n": 1, "t": "x"}}}


def test_a_publish_that_no_queue_got_is_a_failure(fake):
    fake.answers["POST /api/exchanges/%2F/e/publish"] = (200, {"routed": False})
    done = fake.run("publish", "e", "k", "body")
    assert done.returncode == 1 and "no queue got the message" in done.stderr


def test_contexts_are_kept_for_this_user_alone(tmp_path, fake):
    fake.answers["GET /api/whoami"] = (200, {"name": "x", "tags": []})
    assert brokers.run_command("context", "add", "a", "--socket", fake.path).returncode == 0
    assert brokers.run_command("context", "use", "a").returncode == 0
    assert brokers.run_command("ping", cwd=tmp_path).returncode == 0
    file = tmp_path / "config" / "bourse" / "contexts.json"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    refused = brokers.run_command("context", "add", "b", "--url", "http://far:1", "--user", "u")
    assert refused.returncode == 64 and "in the clear" in refused.stderr
    assert brokers.run_command("context", "rm", "a").returncode == 0
    assert brokers.run_command("context", "use", "a").returncode == 66


def test_an_address_as_a_context_is_refused_without_repeating_its_password(monkeypatch):
    address = "http://user:canary@localhost:15672"
    monkeypatch.setenv("BOURSE_CONTEXT", address)
    for words in (["ping"], ["ping", "--context", address]):
        done = brokers.run_command(*words)
        assert done.returncode == 64 and "canary" not in done.stderr
        assert "bourse context add NAME --url" in done.stderr


def test_a_support_bundle_is_for_this_user_and_holds_no_secret(fake, tmp_path):
    fake.answers["GET /api/users"] = (200, [{"name": "u", "password_hash": "canary-hash"}])
    path = tmp_path / "bundle.json"
    assert fake.run("support-bundle", str(path)).returncode == 0
    assert stat.S_IMODE(path.stat().st_mode) == 0o600 and "canary" not in path.read_text()
    assert json.loads(path.read_text())["/api/users"][0]["name"] == "u"
    assert fake.run("support-bundle", str(path)).returncode == 1, "nothing is overwritten"


def complete(shell_words, cwd, environment):
    script = ('source <("$1" completion bash); shift; COMP_WORDS=("$@"); '
              "COMP_CWORD=$(($# - 1)); _bourse 2>/dev/null; printf '%s\\n' \"${COMPREPLY[@]}\"")
    done = subprocess.run(["bash", "-c", script, "bash", brokers.binary(), *shell_words],
                          capture_output=True, text=True, cwd=cwd, env=environment, timeout=20,
                          check=True)
    return done.stdout.splitlines()


def test_completion_offers_words_and_names_and_runs_none_of_them(fake, tmp_path):
    fake.answers["GET /api/queues?disable_stats=true"] = (200, QUEUES)
    environment = {**os.environ, "BOURSE_CONTEXT": fake.path}

    def offered(*words):
        return complete([brokers.binary(), *words], tmp_path, environment)

    assert "queue" in offered("que") and "serve" in offered("")
    assert set(offered("queue", "de")) == {"declare", "delete"}
    assert "--if-empty" in offered("queue", "delete", "--if")
    assert offered("ls", "queues", "-o", "w") == ["wide"]
    assert offered("peek", "ord") == ["orders"]
    assert len(offered("peek", "")) == 2
    assert not (tmp_path / "pwned").exists()


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_shell_takes_its_script(shell, tmp_path):
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    script = tmp_path / "script"
    script.write_text(brokers.run_command("completion", shell).stdout)
    done = subprocess.run([shell, "-n", str(script)], capture_output=True, text=True, check=False)
    assert done.returncode == 0 and done.stderr == ""


def formatted(*words):
    """The manual page that `bourse man WORDS` gives, as a reader sees it."""
    page = brokers.run_command("man", *words).stdout
    done = subprocess.run(["man", "-l", "--warnings", "-"], input=page, capture_output=True,
                          text=True, env={**os.environ, "MANWIDTH": "80"}, check=False)
    assert done.returncode == 0 and done.stderr == ""
    return done.stdout


def test_the_manual_page_is_good_roff():
    assert "EXIT STATUS" in formatted()


def test_the_page_of_the_server_has_its_options_signals_files_and_sockets():
    page = formatted("bourse.8")
    for word in ("--data-dir DIR", "SIGHUP", "/etc/bourse/bourse.yaml", "EXIT STATUS", "BOURSE_CONFIG",
                 "NOTIFY_SOCKET", "LISTEN_FDNAMES", "control socket", "15692"):
        assert word in page, word


# What `bourse explain` knows of keys is on one of the two pages about files, and on one only.
def test_every_key_is_on_one_page_with_what_it_takes():
    pages = [formatted(page) for page in ("bourse.yaml", "bourse-topology")]
    keys = [set(re.findall(r"^ {7}([a-zA-Z.\[\]-]+)(?:: |$)", page[page.index("\nKEYS\n"):page.index("\nSEE ALSO")],
                           re.MULTILINE)) for page in pages]
    assert not keys[0] & keys[1] and len(keys[0] | keys[1]) > 100
    assert {"server.data-dir", "vhost", "limits"} <= keys[0]
    assert {"queues.NAME.ttl", "exchanges", "users.NAME.role", "protect", "from[].key"} <= keys[1]
    assert "queues.NAME.ttl: a duration such as 500ms, 30s or 24h\n" in pages[1]


@pytest.mark.parametrize("name", ["bourse.yaml", "bourse-topology"])
def test_a_page_about_files_has_an_example_that_holds(name, tmp_path):
    page = formatted(name)
    example = re.search(r"^EXAMPLE\n(.*?)^KEYS$", page, re.MULTILINE | re.DOTALL)[1]
    (tmp_path / "bourse.yaml").write_text(textwrap.dedent(example))
    for user in ("admin", "app"):
        (tmp_path / f"{user}.password").write_text("of the page")
        (tmp_path / f"{user}.password").chmod(0o600)
    checked = brokers.run_command("check", str(tmp_path / "bourse.yaml"))
    # A topology has no listeners and need not have those who run the broker.
    assert checked.returncode == 0 and (name == "bourse-topology" or checked.stderr == "")


# fish offers files beside what an option takes, unless it is told that it takes nothing else.
@pytest.mark.skipif(shutil.which("fish") is None, reason="fish is not installed")
def test_fish_offers_what_an_option_takes_and_no_files(tmp_path):
    script = tmp_path / "bourse.fish"
    script.write_text(brokers.run_command("completion", "fish").stdout)
    (tmp_path / "a-file").write_text("")
    for typed, offered in (("bourse plan -o ", {"table", "wide", "json", "csv", "name"}),
                           ("bourse user role eve ", {"none", "monitor", "operator", "admin"})):
        done = subprocess.run(["fish", "-c", f"source {script}; complete -C '{typed}'"], text=True,
                              capture_output=True, check=True, cwd=tmp_path,
                              env={**os.environ, "HOME": str(tmp_path)})
        assert {line.split("\t")[0] for line in done.stdout.splitlines()} == offered, done
    valued = next(line for line in script.read_text().splitlines() if "__bourse_valued -" in line).split()
    assert len(valued) == len(set(valued))


def test_a_page_that_is_not_there_is_misuse():
    asked = brokers.run_command("man", "rabbitmq.conf")
    assert asked.returncode == 64 and "bourse.yaml" in asked.stderr


def test_whoever_gives_no_password_after_all_gets_the_terminal_back():
    master, terminal = pty.openpty()

    def shows_what_is_typed():
        return bool(termios.tcgetattr(terminal)[3] & termios.ECHO)

    with subprocess.Popen([brokers.binary(), "user", "add", "x"], stdin=terminal, stdout=terminal,
                          stderr=terminal, start_new_session=True,
                          preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0)) as command:
        assert os.read(master, 100) == b"password: "
        assert not shows_what_is_typed()
        os.write(master, b"\x03")
        assert command.wait(10) == -signal.SIGINT
    assert shows_what_is_typed()
    os.close(master)
    os.close(terminal)


@pytest.fixture
def ask(own_contexts, monkeypatch):
    """Commands to a broker of their own."""
    with brokers.Bourse() as broker:
        monkeypatch.setenv("BOURSE_CONTEXT", os.path.join(broker.scratch, "data", "bourse.sock"))
        yield brokers.run_command


def test_what_a_change_has_done_comes_in_each_form(ask, tmp_path):
    name = "q \x1b,x"
    assert json.loads(ask("queue", "declare", name, "-o", "json").stdout) == {
        "name": name, "done": "queue declared"}
    assert json.loads(ask("publish", "", name, "hello", "-o", "json").stdout) == {
        "exchange": "", "routing_key": name, "done": "published"}
    assert ask("purge", name, "-o", "csv").stdout == 'name,done,messages\n"q \\x1b,x",purged,1\n'
    assert ask("queue", "delete", name, "-o", "name").stdout == "q \\x1b,x\n"
    assert json.loads(ask("trace", "status", "-o", "json").stdout) == {
        "vhost": "/", "tracing": False}
    assert json.loads(ask("ping", "-o", "json").stdout)["took_ms"] >= 0
    copied = json.loads(ask("backup", str(tmp_path / "copy"), "-o", "json").stdout)
    assert copied["directory"] == str(tmp_path / "copy") and copied["files_copied"] >= 0


def test_a_route_comes_in_each_form(ask, write_config):
    path = write_config("""
        bourse: 1
        exchanges: {o: {type: topic}}
        queues: {a: {from: [{exchange: o, key: "#"}]}, b: {from: [{exchange: o, key: x}]}}
        """)
    assert ask("apply", path, "--yes").returncode == 0
    for words in (("route", "o", "y"), ("route", "--file", path, "o", "y")):
        told = json.loads(ask(*words, "-o", "json").stdout)
        assert told["arrives"] and [queue["name"] for queue in told["queues"]] == ["a"]
        assert told["exchanges"][0]["misses"][0]["destination"] == "b"
        assert ask(*words, "-o", "name").stdout == "a\n"
        assert ask(*words, "-o", "csv").stdout == "name,from,reception\na,o,takes\n"
        assert ask(*words, "-o", "wide").stdout == ask(*words).stdout == told["text"]
        nowhere = ask(*words[:-2], "nope", "y", "-o", "json")
        assert nowhere.returncode == 1 and json.loads(nowhere.stdout)["refusal"]["code"] == 404


def test_plan_and_drift_come_in_each_form(ask, write_config):
    path = write_config("""
        bourse: 1
        exchanges: {o: {}}
        queues: {a: {from: [{exchange: o, key: k}]}}
        """)
    plan = ask("plan", path, "-o", "json")
    assert plan.returncode == 2 and json.loads(plan.stdout)["counts"]["create"] == 3
    assert plan.stdout == ask("plan", path, "--format", "json").stdout
    assert ask("plan", path, "-o", "name").stdout.splitlines()[:3] == ["o", "a", "o"]
    assert "o,binding,a,queue,k,create,,0\n" in ask("plan", path, "-o", "csv").stdout
    applied = ask("apply", path, "--yes", "-o", "json")
    assert json.loads(applied.stdout) == {"generation": 1, "vhost": "/", "done": "applied"}
    assert "+ exchange o" in applied.stderr
    assert ask("queue", "delete", "a").returncode == 0
    drift = ask("drift", "-o", "csv")
    assert drift.returncode == 2 and "a,queue,,,,/,gone,," in drift.stdout
    assert json.loads(ask("drift", "-o", "json").stdout)[0]["count"] == 2
    assert json.loads(ask("rollback", "1", "--yes", "-o", "json").stdout)["generation"] == 2


def test_watching_goes_on_when_the_broker_is_back(tmp_path):
    path = str(tmp_path / "watched.sock")
    broker = FakeBroker(path, protocol="HTTP/1.0")  # no connection outlives it
    broker.answers["GET /api/queues"] = (200, [{"name": "orders", "vhost": "/"}])
    watch = subprocess.Popen([brokers.binary(), "ls", "queues", "--watch", "--context", path],
                             stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        for line in watch.stdout:
            if line.startswith("orders"):
                break
        broker.close()
        os.unlink(path)
        assert "no broker answers" in watch.stderr.readline()
        assert "until it is back" in watch.stderr.readline()
        broker = FakeBroker(path)
        broker.answers["GET /api/queues"] = (200, [{"name": "later", "vhost": "/"}])
        for line in watch.stdout:
            if line.startswith("later"):
                break
        assert watch.poll() is None
    finally:
        watch.kill()
        watch.communicate()
        broker.close()


# getopt moves words about: which one it refused is not where it stood.
def test_a_name_that_begins_like_an_option_is_named_and_gets_through_behind_dashes(ask):
    for words, word in ((("publish", "", "-dash", "hi"), "-dash"), (("get", "a", "-x"), "-x"),
                        (("get", "-qx", "a"), "-qx"), (("get", "a", "--dash=1"), "--dash=1")):
        done = ask(*words)
        assert done.returncode == 64 and f'has no option "{word}"' in done.stderr, done
        assert "a name that begins so stands behind --" in done.stderr
    assert ask("queue", "declare", "-o", "name", "--", "-dash").stdout == "-dash\n"
    assert "stands behind" not in ask("ping", "-x").stderr + ask("get", "--cuont=1", "q").stderr


def test_closing_a_users_connections_tells_how_many_there_were(ask):
    assert ask("conn", "close", "--of-user", "gusts").stdout == (
        "0 connections closed of user gusts\n")
    assert json.loads(ask("conn", "close", "--of-user", "guest", "-o", "json").stdout) == {
        "name": "guest", "done": "closed", "connections": 0}


def test_the_default_exchange_is_bound_by_nobody(ask):
    ask("queue", "declare", "q")
    for words in (("add", "", "q"), ("add", "amq.direct", "amq.default", "--to-exchange"),
                  ("delete", "", "q", "--key", "q")):
        done = ask("binding", *words)
        assert done.returncode == 77, done
        assert "ACCESS_REFUSED" in done.stderr and "the default exchange" in done.stderr
        assert "every queue is bound to it under its own name" in done.stderr


def test_a_real_broker_is_asked_and_changed(tmp_path):
    with brokers.Bourse() as broker:
        context = ("--context", os.path.join(broker.scratch, "data", "bourse.sock"))

        def ask(*words):
            return brokers.run_command(*words, *context)

        assert ask("ping").returncode == 0
        assert ask("queue", "declare", "q").returncode == 0
        assert ask("publish", "", "q", "hello").returncode == 0
        assert json.loads(ask("queue", "show", "q", "-o", "json").stdout)["messages_ready"] == 1
        taken = json.loads(ask("get", "q", "-o", "json").stdout)
        assert [message["payload"] for message in taken] == ["hello"]
        assert ask("ls", "queues", "-o", "name").stdout == "q\n"
        assert ask("queue", "delete", "q").returncode == 0
        assert ask("queue", "show", "q").returncode == 66


def test_status_says_what_needs_attention(tmp_path):
    with brokers.Bourse() as broker:
        context = ("--context", os.path.join(broker.scratch, "data", "bourse.sock"))
        assert brokers.run_command("status", *context).stdout.endswith(
            "\nnothing needs attention\n")
        brokers.run_command("queue", "declare", "q\x1b", *context)
        brokers.run_command("publish", "", "q\x1b", "hello", *context)
        told = brokers.run_command("status", *context).stdout
        assert "\nneeds attention\n  warning: queue q\\x1b: 1 message is ready" in told
        parsed = json.loads(brokers.run_command("status", "-o", "json", *context).stdout)
        assert parsed["attention"][0]["kind"] == "queue_unserved"


def test_an_answer_comes_within_30_ms():
    """The quickest of many: how long others keep the machine is not what is measured."""
    if "address" in brokers.binary() or "thread" in brokers.binary():
        pytest.skip("a sanitizer takes longer")
    with brokers.Bourse() as broker:
        context = ("--context", os.path.join(broker.scratch, "data", "bourse.sock"))
        for words in (("status",), ("ls", "queues"), ("ping",), ("top",), ("dlq", "ls")):
            times = []
            for _ in range(20):
                begun = time.perf_counter()
                assert brokers.run_command(*words, *context).returncode == 0
                times.append(time.perf_counter() - begun)
            assert min(times) < 0.030, (words, sorted(times))


def test_what_is_meant_is_guessed_and_a_group_lists_its_commands():
    for word, guess in (("connections", "conn"), ("queu", "queue"), ("lst", "ls")):
        done = brokers.run_command(word)
        assert done.returncode == 64 and f'did you mean "{guess}"' in done.stderr
    group = brokers.run_command("help", "dlq").stdout
    assert "dlq replay QUEUE" in group and "dlq export QUEUE" in group and "--id" not in group
    for word, guess in (("queue", "queues"), ("conn", "connections"), ("polices", "policies")):
        assert f'did you mean "{guess}"' in brokers.run_command("ls", word).stderr
    assert 'did you mean "format"' in brokers.run_command("check", "-o", "json", "x").stderr
    assert '"bourse ls queues" here' in brokers.run_command("list_queues").stderr
    assert "options stand behind the command" in brokers.run_command("--context", "x", "ls").stderr
    assert "topic-permissions|generations\n" in brokers.run_command("help").stdout


def test_on_a_terminal_an_empty_list_says_so(tmp_path):
    with brokers.Bourse() as broker:
        words = [brokers.binary(), "ls", "queues", "--context",
                 os.path.join(broker.scratch, "data", "bourse.sock")]
        outer, inner = os.openpty()
        done = subprocess.run(words, stdout=inner, stderr=subprocess.PIPE, text=True, check=True)
        os.close(inner)
        os.close(outer)
        assert done.stderr == "none\n"
        assert subprocess.run(words, capture_output=True, text=True, check=True).stderr == ""


def on_a_terminal(*words, columns=60):
    """What a command prints on a terminal of so many columns."""
    outer, inner = os.openpty()
    fcntl.ioctl(inner, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    subprocess.run([brokers.binary(), *words], stdout=inner, stderr=subprocess.DEVNULL, check=False,
                   env={**os.environ, "NO_COLOR": "1"})
    os.close(inner)
    shown = b""
    with contextlib.suppress(OSError):
        while octets := os.read(outer, 65536):
            shown += octets
    os.close(outer)
    return shown.decode().replace("\r\n", "\n")


def test_a_terminal_without_room_has_names_and_advice_whole(fake):
    name = "a-queue-of-which-somebody-thought-long-and-well"
    fake.answers["GET /api/queues"] = (200, [{"name": name, "vhost": "/" * 40, "state": "running"}])
    assert name in on_a_terminal("ls", "queues", "--context", fake.path)
    told = on_a_terminal("doctor", "--context", fake.path)
    assert "\n    does the user have the role monitor, and is it a Bourse?\n" in told


# What wraps into the next line is never wiped off.
def test_a_bar_fits_into_the_line_of_its_terminal(fake):
    def slow(*_words):
        time.sleep(0.9)  # what is looked at appears after half a second
        return 200, []

    fake.slow = slow
    outer, inner = os.openpty()
    fcntl.ioctl(inner, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 40, 0, 0))
    subprocess.run([brokers.binary(), "ls", "queues", "--context", fake.path], stderr=inner,
                   stdout=subprocess.DEVNULL, check=True)
    os.close(inner)
    shown = os.read(outer, 65536).decode()
    os.close(outer)
    lines = [line.replace("\x1b[K", "") for line in shown.split("\r") if line]
    assert any(line.startswith("[") for line in lines) and max(map(len, lines)) < 40, shown


def findings(*words):
    """What `bourse doctor WORDS` finds, by check, and its exit status."""
    done = brokers.run_command("doctor", *words, "-o", "json")
    return {row["check"]: row for row in json.loads(done.stdout)}, done.returncode


# What calls somebody out at night: each says how it is and what to do, before clients notice.
def test_a_doctor_finds_what_is_about_to_go_wrong(serve, authority, tmp_path):
    authority.issue("soon", san="DNS:localhost", usage="serverAuth", days=9)
    for name in ("soon.pem", "soon.key"):
        shutil.copy(authority.path(name), tmp_path / name)
    text = """
        bourse: 1
        server: {disk-free: 90%}
        listeners:
          amqps: {bind: "127.0.0.1:0", tls: {certificate: soon.pem, key: soon.key}}
    """
    broker = serve(text, limits={resource.RLIMIT_NOFILE: 1024})
    context = ("--context", f"{broker.data_dir}/bourse.sock")
    found, status = findings(*context, str(broker.config))
    assert status == 1
    assert found["broker descriptors"]["verdict"] == "warning"
    assert "LimitNOFILE" in found["broker descriptors"]["next"]
    assert found["broker disk"]["verdict"] == "bad"
    assert "publishers are blocked below" in found["broker disk"]["found"]
    assert found["certificate"]["verdict"] == "warning" and "8 days" in found["certificate"]["found"]
    assert "amqps" in found["certificate ends"]["found"]
    assert found["message memory"]["verdict"] == "ok" and found["message memory"]["next"] == ""


def test_a_doctor_finds_a_key_of_another_certificate(write_config, authority, tmp_path):
    for name in ("one", "other"):
        authority.issue(name, san="DNS:localhost", usage="serverAuth")
    shutil.copy(authority.path("one.pem"), tmp_path / "one.pem")
    shutil.copy(authority.path("other.key"), tmp_path / "other.key")
    config = write_config("""
        bourse: 1
        listeners:
          amqps: {bind: "127.0.0.1:0", tls: {certificate: one.pem, key: other.key}}
    """)
    done = brokers.run_command("doctor", str(config), "--context", str(tmp_path / "none.sock"))
    assert done.returncode == 1
    assert ":4:" in done.stderr and "other.key is not the key of" in done.stderr
    config = write_config("""
        bourse: 1
        listeners:
          amqps: {bind: "127.0.0.1:0", tls: {certificate: two.pem, key: other.key}}
    """)
    found, status = findings(str(config), "--context", str(tmp_path / "none.sock"))
    assert status == 1 and "two.pem" in found["certificate"]["found"]
