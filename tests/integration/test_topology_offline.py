# SPDX-License-Identifier: Apache-2.0
"""Commands about topology that need no broker: check, route, test, import, export."""

import json
import pathlib
import re
import shlex
import subprocess
import xml.etree.ElementTree as xml

import pytest
import yaml

from tests.support import broker as brokers

pytestmark = pytest.mark.bourse_only

GOLDEN = pathlib.Path(__file__).parent / "golden"
SHOP = GOLDEN / "shop.yaml"


def run(*words, **options):
    return brokers.run_command(*words, **options)


def golden_routes():
    """(words, exit status, text) of each case of routes.txt."""
    cases = re.split(r"^=== ", (GOLDEN / "routes.txt").read_text(), flags=re.M)[1:]
    for case in cases:
        head, text = case.split("\n", 1)
        words, status = re.fullmatch(r"(.*) \(exits with (\d)\)", head).groups()
        yield pytest.param(shlex.split(words), int(status), text, id=words)


# What an operator reads, word for word.
@pytest.mark.parametrize("words, status, text", golden_routes())
def test_a_route_is_printed_as_it_was(words, status, text):
    routed = run("route", "--file", str(SHOP), *words)
    assert (routed.stdout, routed.returncode, routed.stderr) == (text, status, "")


@pytest.mark.parametrize("words, told", [
    (("--size", "x"), "--size"), (("--misses", "0"), "--misses"), (("-H", "novalue"), "NAME=VALUE"),
    (("--nonsense",), "--nonsense")])
def test_a_misused_route_is_told(words, told):
    misused = run("route", "--file", str(SHOP), "orders", "x", *words)
    assert misused.returncode == 64 and told in misused.stderr


TESTS = """
bourse-tests: 1
tests:
  - {name: placed, publish: {exchange: orders, key: order.eu.placed}, expect: [billing, mail]}
  - {name: "lost <&>", publish: {exchange: orders, key: x}, expect: [mail]}
"""


def test_tests_are_reported_as_text_and_junit(tmp_path):
    (tmp_path / "tests.yaml").write_text(TESTS)
    said = run("test", str(SHOP), "tests.yaml", cwd=tmp_path)
    assert said.returncode == 1, said.stderr
    assert "placed" in said.stdout and "lost" in said.stdout
    suite = xml.fromstring(run("test", str(SHOP), "tests.yaml", "--format", "junit",
                               cwd=tmp_path).stdout)
    cases = {case.get("name"): case.find("failure") for case in suite.iter("testcase")}
    assert set(cases) == {"placed", "lost <&>"}
    assert cases["placed"] is None and cases["lost <&>"] is not None
    (tmp_path / "tests.yaml").write_text(TESTS.replace("expect: [mail]", "expect: [lost]"))
    assert run("test", str(SHOP), "tests.yaml", cwd=tmp_path).returncode == 0
    (tmp_path / "tests.yaml").write_text(TESTS.replace("[mail]", "[maul]"))
    wrong = run("test", str(SHOP), "tests.yaml", cwd=tmp_path)
    assert wrong.returncode == 1 and re.search(r"tests.yaml:5:\d+: error: .*maul", wrong.stderr)


def test_check_reports_as_json_and_sarif(tmp_path):
    (tmp_path / "bad.yaml").write_text("bourse: 1\nqueues: {q: {tll: 5m}}\n")
    report = json.loads(run("check", "bad.yaml", "--format", "json", cwd=tmp_path).stdout)
    assert report["errors"] == 1
    assert [row["line"] for row in report["items"] if row["severity"] == "error"] == [2]
    sarif = json.loads(run("check", "bad.yaml", "--format", "sarif", cwd=tmp_path).stdout)
    results = sarif["runs"][0]["results"]
    assert sarif["version"] == "2.1.0" and {row["level"] for row in results} == {"error", "warning"}
    place = results[0]["locations"][0]["physicalLocation"]
    assert place["artifactLocation"]["uri"] == "bad.yaml" and place["region"]["startLine"] >= 1
    assert run("check", "bad.yaml", "--format", "xml").returncode == 64


# What GitHub's code scanning requires of an upload: a reference for the file, and three texts for each rule.
def test_a_code_host_takes_the_sarif(tmp_path):
    path = tmp_path / "a file 100%.yaml"
    path.write_text("bourse: 1\nqueues: {q: {tll: 5m}}\n")
    for given, uri in (("a file 100%.yaml", "a%20file%20100%25.yaml"),
                       (str(path), "file://" + str(tmp_path) + "/a%20file%20100%25.yaml")):
        log = json.loads(run("check", given, "--format", "sarif", cwd=tmp_path).stdout)["runs"][0]
        rule, = log["tool"]["driver"]["rules"]
        for name in ("shortDescription", "fullDescription", "help"):
            assert rule[name]["text"], name
        for result in log["results"]:
            place = result["locations"][0]["physicalLocation"]
            assert place["artifactLocation"]["uri"] == uri
            assert result["ruleId"] == rule["id"] and result["message"]["text"]


def certificate(path, days):
    """A certificate of its own authority that ends in so many days; negative: it has ended."""
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
                    "-nodes", "-subj", "/CN=localhost", "-days", str(days), "-keyout",
                    path / "server.key", "-out", path / "server.pem"], check=True,
                   capture_output=True)


@pytest.mark.parametrize("days, told", [(300, None), (10, "expires in 9 days"),
                                        (1, "expires in 0 days")])
def test_check_tells_of_certificates_that_expire(tmp_path, days, told):
    certificate(tmp_path, days)
    (tmp_path / "tls.yaml").write_text(
        "bourse: 1\nlisteners:\n  amqps:\n    bind: 127.0.0.1:5671\n"
        "    tls: {certificate: server.pem, key: server.key}\n")
    checked = run("check", "tls.yaml", cwd=tmp_path)
    assert checked.returncode == 0, checked.stderr
    if told is None:
        assert "expires" not in checked.stderr
    else:
        assert re.search(rf"^tls.yaml:5:\d+: warning: .*server.pem {told}", checked.stderr, re.M), \
            checked.stderr


def test_a_topology_is_exported_in_four_forms(tmp_path):
    forms = {form: run("export", "--from", str(SHOP), "--format", form)
             for form in ("yaml", "definitions", "dot", "asyncapi")}
    assert all(done.returncode == 0 for done in forms.values())
    written = yaml.safe_load(forms["yaml"].stdout)
    assert written["vhost"] == "shop" and set(written["queues"]) == {"billing", "mail", "lost",
                                                                     "urgent"}
    definitions = json.loads(forms["definitions"].stdout)
    assert {row["name"] for row in definitions["queues"]} == set(written["queues"])
    assert len(definitions["bindings"]) == 6
    assert forms["dot"].stdout.startswith('digraph "shop" {')
    assert '"x:orders" -> "q:billing" [label="order.eu.placed"]' in forms["dot"].stdout
    document = json.loads(forms["asyncapi"].stdout)
    assert document["asyncapi"] == "3.0.0"
    assert {f"queue.{name}" for name in written["queues"]} <= set(document["channels"])
    assert run("export", "--from", str(SHOP), "--format", "dott").returncode == 64
    # What was written is the same topology again.
    (tmp_path / "again.yaml").write_text(forms["yaml"].stdout)
    again = run("export", "--from", str(tmp_path / "again.yaml"), "--format", "definitions")
    assert json.loads(again.stdout) == definitions


def definitions_file(path, **more):
    path.write_text(json.dumps({"vhosts": [{"name": "/"}, {"name": "a/b"}], "users": [],
                                "queues": [{"name": "q", "vhost": "/", "durable": True,
                                            "auto_delete": False, "arguments": {}}], **more}))
    return str(path)


def test_an_import_makes_a_file_for_each_vhost(tmp_path):
    source = definitions_file(tmp_path / "definitions.json")
    made = run("import", source, "--out", "out", cwd=tmp_path)
    assert made.returncode == 0, made.stderr
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a%2Fb.yaml",
                                                                          "default.yaml"]
    again = run("import", source, "--out", "out", cwd=tmp_path)
    assert again.returncode == 1 and "cannot write" in again.stderr
    assert "move it away, or name another folder with --out" in again.stderr
    several = run("import", source)
    assert several.returncode == 1 and "--vhost" in several.stderr
    assert "q" in yaml.safe_load(run("import", source, "--vhost", "/").stdout)["queues"]
    both = run("import", source, "--out", "x", "--apply")
    assert both.returncode == 64 and "--out" in both.stderr


# Of another version, or of a plugin's: silence would be taken for "it came along".
def test_an_import_names_the_sections_that_it_does_not_know(tmp_path):
    source = definitions_file(tmp_path / "definitions.json", shovels=[{"name": "s"}], nothing=[],
                              rabbitmq_version="4.1.0", product="LavinMQ")
    made = run("import", source, "--vhost", "/")
    assert made.returncode == 0 and '"shovels" is left out' in made.stderr
    assert "nothing" not in made.stderr.replace("there is nothing like it", "")
    assert "version" not in made.stderr and "product" not in made.stderr


# default.yaml was taken for "/", and the import ended in the middle.
def test_a_vhost_called_default_has_a_file_of_its_own(tmp_path):
    source = definitions_file(tmp_path / "definitions.json", vhosts=[{"name": "/"},
                                                                     {"name": "default"}])
    made = run("import", source, "--out", "out", cwd=tmp_path)
    assert made.returncode == 0, made.stderr
    vhosts = {path.name: yaml.safe_load(path.read_text())["vhost"]
              for path in (tmp_path / "out").iterdir()}
    assert vhosts == {"default.yaml": "/", "%64efault.yaml": "default"}


# What YAML takes for the end of a line, for a mark at the beginning of a file, or for nothing that
# may be in a file was written as it is: `check` could not read the file, or read another name.
@pytest.mark.parametrize("character", ["\u0080", "\u0085", "\u009b", "\u00a0", "\u2028",
                                       "\u2029", "\ufeff", "\ufffe", "\uffff", "\U0010ffff", "\x01",
                                       "\t", '"', "\\", "é"], ids=lambda one: f"U+{ord(one):04X}")
def test_a_name_of_any_characters_is_written_so_that_it_can_be_read(tmp_path, character):
    name = f"a{character}{character}b"
    queue = {"name": "q", "vhost": "/", "durable": True, "auto_delete": False,
             "arguments": {"x-note": name}}
    exchange = {"name": "x", "vhost": "/", "type": "topic", "durable": True, "auto_delete": False,
                "internal": False, "arguments": {}}
    binding = {"source": "x", "vhost": "/", "destination": "q", "destination_type": "queue",
               "routing_key": name, "arguments": {}}
    source = definitions_file(tmp_path / "definitions.json", vhosts=[{"name": "/"}],
                              queues=[queue], exchanges=[exchange], bindings=[binding])
    (tmp_path / "made.yaml").write_text(run("import", source).stdout)
    checked = run("check", "made.yaml", cwd=tmp_path)
    assert checked.returncode == 0, checked.stderr
    again = json.loads(run("export", "--from", "made.yaml", "--format", "definitions",
                           cwd=tmp_path).stdout)
    assert [row["routing_key"] for row in again["bindings"]] == [name]
    assert [row["arguments"]["x-note"] for row in again["queues"]] == [name]


# bcrypt is LavinMQ's; nothing here checks it, and that is said for each user.
def test_a_hash_that_cannot_be_checked_is_told(tmp_path):
    source = definitions_file(tmp_path / "definitions.json", users=[
        {"name": "lavin", "password_hash": "$2a$04$abcdefghijklmnopqrstuv", "tags": "",
         "hashing_algorithm": "rabbit_password_hashing_bcrypt"}])
    made = run("import", source, "--vhost", "/")
    assert made.returncode == 0 and "password-env: BOURSE_PASSWORD_LAVIN" in made.stdout
    assert re.search(r'warning: .*"lavin"', made.stderr), made.stderr
    assert "$2a$" not in made.stdout + made.stderr


def test_what_is_no_definitions_file_is_told(tmp_path):
    (tmp_path / "x.json").write_text('{"queues": [}')
    for words in (("import", "x.json"), ("export", "--from", "x.json"), ("import", "none.json")):
        wrong = run(*words, cwd=tmp_path)
        assert wrong.returncode == 1 and "bourse:" in wrong.stderr and wrong.stdout == ""


# Found by fuzzing: a file was written that no check takes, and nothing said so.
def test_a_vhost_whose_name_no_file_can_say_is_left_out_with_a_warning(tmp_path):
    file = tmp_path / "definitions.json"
    file.write_text(json.dumps({"vhosts": [{"name": "sh\x7fp"}, {"name": "ok"}],
                                "queues": [{"vhost": "ok", "name": "q"}]}))
    done = run("import", str(file), "--out", str(tmp_path / "out"))
    assert done.returncode == 0 and [path.name for path in (tmp_path / "out").iterdir()] == [
        "ok.yaml"]
    assert 'vhost "sh?p" is left out: the name contains a control character' in done.stderr
    file.write_text(json.dumps({"vhosts": [{"name": "sh\x7fp"}], "queues": []}))
    done = run("import", str(file))
    assert done.returncode == 1 and "has no vhost" in done.stderr and "left out" in done.stderr


def test_what_has_an_octet_0_is_left_out_with_a_warning(tmp_path):
    zero = "a\0b"
    queue = {"name": "q", "vhost": "/", "durable": True, "auto_delete": False, "arguments": {}}
    exchange = {"name": "x", "vhost": "/", "type": "topic", "durable": True, "auto_delete": False,
                "internal": False, "arguments": {}}
    binding = {"source": "x", "vhost": "/", "destination": "q", "destination_type": "queue",
               "routing_key": "k", "arguments": {}}
    source = definitions_file(tmp_path / "definitions.json", vhosts=[{"name": "/"}], queues=[
        {**queue, "arguments": {"x-note": zero, "x-deep": {"a": ["b", {"c": zero}]}, "x-max-length": 7}},
        {**queue, "name": zero}
    ], exchanges=[
        exchange, {**exchange, "name": "y", "arguments": {"alternate-exchange": zero}}
    ], bindings=[
        binding, {**binding, "routing_key": zero}, {**binding, "arguments": {"n": zero}}
    ], policies=[
        {"name": "p", "vhost": "/", "pattern": "^q", "apply-to": "queues", "priority": 0,
         "definition": {"dead-letter-routing-key": zero}}])
    made = run("import", source)
    assert made.stderr.count("warning") == 7, made.stderr
    (tmp_path / "made.yaml").write_text(made.stdout)
    checked = run("check", "made.yaml", cwd=tmp_path)
    assert checked.returncode == 0, checked.stderr
    again = json.loads(run("export", "--from", "made.yaml", "--format", "definitions",
                           cwd=tmp_path).stdout)
    assert [row["name"] for row in again["exchanges"]] == ["x"] and again["policies"] == []
    assert [(row["name"], row["arguments"]) for row in again["queues"]] == [
        ("q", {"x-max-length": 7})]
    assert [row["routing_key"] for row in again["bindings"]] == ["k"]
