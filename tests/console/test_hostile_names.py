# SPDX-License-Identifier: Apache-2.0
"""Reliability T19: sixty names full of markup, in every place where a name shows, are text and never
run. The places are counted, and each is looked for by what it shows: a page that shows nothing proves
nothing."""

import contextlib
import json
import re
import urllib.parse

import pytest

from console import places
from console.names import NAMES
from support import broker as brokers
from support import certs


def part(name):
    return urllib.parse.quote(name, safe="")


def exactly(name):
    return "^" + re.sub(r"([^\w])", r"\\\1", name) + "$"


def make(broker, name):
    """A client of that name that names everything so, consumes under that tag, and rejects what it
    gets; what only the interface makes comes behind."""
    connection = broker.connect()
    connection.open(user="admin", password="secret", properties={
        "connection_name": name, "product": name, "version": name, "platform": name})
    channel = connection.channel()
    dead = "dead " + name
    channel.call("queue.declare", queue=dead)
    channel.call("queue.declare", queue=name, arguments={
        "x-dead-letter-exchange": "", "x-dead-letter-routing-key": dead, "x-" + name: name})
    channel.call("exchange.declare", exchange=name, type="topic")
    channel.bind(name, name, name, {name: name})
    channel.bind(dead, name, "no." + name)
    channel.publish(name, name, name.encode(), message_id=name, content_type=name, app_id=name,
                    type=name, headers={name: name})
    channel.consume(name, consumer_tag=name, no_ack=False)
    channel.reject(channel.delivery().delivery_tag, requeue=False)
    api = broker.api
    api.call("PUT", f"/api/vhosts/{part(name)}")
    api.call("PUT", f"/api/users/{part(name)}", {"password_hash": "", "tags": "monitoring"})
    api.call("PUT", f"/api/permissions/%2F/{part(name)}",
             {"configure": exactly(name), "write": exactly(name), "read": exactly(name)})
    api.call("PUT", f"/api/topic-permissions/%2F/{part(name)}",
             {"exchange": name, "write": exactly(name), "read": ".*"})
    api.call("PUT", f"/api/policies/%2F/{part(name)}", {
        "pattern": exactly(name), "definition": {"max-length": 1000}, "apply-to": "queues"})
    for action in ("pause", "resume"):
        api.call("POST", f"/api/bourse/queues/%2F/{part(dead)}/{action}", {"note": name})
    return connection


@pytest.fixture(scope="module")
def hostile(broker):
    with contextlib.ExitStack() as stack:
        for name in NAMES:
            stack.callback(make(broker, name).close)
        yield broker


# One name after the other: the pages of what is called so ----------------------------------------

OF_ONE = """
const [name] = given;
const dead = `dead ${name}`;
go(`queue/%2F/${part(name)}`);
await shows("h1", name);                                          // 1 heading
if (!document.title.includes(name.trim().replace(/\\s+/g, " "))) throw new Error("title");  // 2 title
await shows("td", `x-${name}`);                                   // 3 an argument's name
await shows("td", JSON.stringify(name));                          // 4 its value
await shows("td", `policy ${name}`);                              // 5 the policy in force
await wait(() => texts("table td:first-child").includes(name), "consumer tag");   // 6 consumer tag
await wait(() => texts("td:nth-child(2)").includes(name), "routing key");         // 7 a binding's key
await shows("td", JSON.stringify({ [name]: name }));              // 8 its arguments
await press("Purge");
await shows("dialog label", `Type ${name} to confirm`);           // 9 what is to be typed
await press("Cancel", "dialog");

go(`queue/%2F/${part(dead)}`);
await press("Look");
await wait(() => { const one = document.querySelector("details.one summary");
  if (one) one.click(); return one; }, "a message");
await shows("details dd", name);                                  // 10 exchange, key, origin
await wait(() => texts("details pre").some((at) => at.includes(JSON.stringify(name))),
  "properties");                                                  // 11 properties and headers
await wait(() => texts("details pre").includes(name), "body");    // 12 the body
for (const view of ["JSON", "Hex", "Text"]) await press(view);

go(`dead-letters/%2F/${part(dead)}`);
await shows(".groups dd", name);                                  // 13 a group's queue and key
await press("Sample");
await shows("dialog dd", name);                                   // 14 the sample
await press("Close", "dialog");
await press("Replay…", ".groups li");
await shows("dialog p", dead);                                    // 15 the dialog
await press("Dry run", "dialog");
await shows("dialog li", name);                                   // 16 a target
await press("Cancel", "dialog");

go(`routes?vhost=%2F&exchange=${part(name)}&key=${part(name)}`);
await shows(".steps li strong", name);                            // 17 an exchange on the way
await shows(".steps .miss, .steps .hit", name);                   // 18 what does and does not match
await shows("td", name);                                          // 19 a queue that gets it

go(`queue/${part(name)}/${part("absent " + name)}`);
await shows("h1", `absent ${name}`);                              // 20 what is not there
await shows(".crumbs", name);                                     // 21 its vhost
"""


def test_on_the_pages_of_what_is_called_so(browser, hostile):
    browser.driver.get(f"{browser.base}/?poll")
    browser.wait_text("Needs attention")
    for name in NAMES:
        places.run(browser, OF_ONE, name)
        assert browser.executed() == 0, name
    assert browser.complaints() == []


# All at once: lists -------------------------------------------------------------------------------

def test_in_lists_and_pictures_that_show_all(browser, hostile):
    browser.driver.get(f"{browser.base}/?poll")
    browser.wait_text("Needs attention")
    places.run(browser, """
const [names] = given;
const every = async (path, selector, textOf = (name) => name) => {
  if (path !== null) go(path);
  for (const name of names) await shows(selector, textOf(name));
};
await every("", ".needs a", (name) => `dead ${name}`);            // 22 what needs attention
await every("dead-letters", "td a", (name) => `dead ${name}`);    // 23 queues of dead letters
await every("users", "td strong", (name) => name);                // 24 users, 25 their rights
await every(null, "td li", (name) => `on ${name} with routing keys`);
await every("audit", "td");                                       // 26 queues and notes
await every("routes", "option");                                  // 27 vhosts
await every("graph", ".node title", (name) => `queue ${name}`);   // 28 boxes
await every(null, ".graph .edge title");                          // 29 lines
""", NAMES)
    assert browser.executed() == 0
    assert browser.complaints() == []


def test_in_rows_that_are_looked_for(browser, hostile):
    browser.driver.get(f"{browser.base}/?poll")
    browser.wait_text("Needs attention")
    places.run(browser, """
const [names] = given;
const scroll = async (selector, textOf) => {
  const seen = new Set();
  const view = await wait(() => document.querySelector(".vview"), "a list");
  await wait(() => texts(selector).length > 10, "rows");
  for (let turn = 0; turn < 80 && seen.size < names.length; turn++) {
    const rows = texts(selector);
    for (const name of names) if (rows.includes(textOf(name))) seen.add(name);
    view.scrollTop += 300;
    await sleep(150);
  }
  const missing = names.filter((name) => !seen.has(name));
  if (missing.length > 0) throw new Error(`no row of ${missing}`);
};
go("queues?sort=name");
await scroll(".vbody a", (name) => name);                         // 30 queues
const search = document.querySelector("input[type=search]");
for (const name of names.filter((name, at) => at % 5 === 0 &&
    names.filter((each) => each.includes(name)).length === 1)) {
  search.value = name;                                            // 31 the filter
  search.dispatchEvent(new Event("input"));
  await wait(() => texts(".vbody a").includes(name) && texts(".vbody a").length <= 8, name);
}
go("connections");
await scroll(".vbody .cell.wide", (name) => `${name} ${name} ${name}`);   // 32 clients, products
""", NAMES)
    assert browser.executed() == 0
    assert browser.complaints() == []


def test_in_plans_and_what_is_wrong_with_them(browser, hostile):
    plain = [name for name in NAMES if "\t" not in name]  # a file's names have no control characters
    good = {"bourse": 1, "vhost": "planned", "exchanges": {name: {"type": "topic"} for name in plain},
            "queues": {name: {"from": [{"exchange": name, "key": name}]} for name in plain}}
    bad = {"bourse": 1, "queues": {"q": {name: 1 for name in NAMES}}}
    browser.go("plan")
    places.run(browser, """
const [names, good, bad] = given;
const write = async (text) => {
  const area = await wait(() => document.querySelector("textarea"), "the text");
  area.value = text;
  await press("Plan");
};
await write(good);
for (const name of names) await shows(".plan strong", name);      // 33 steps of a plan
await write(bad);
await wait(() => texts(".health").some((at) => at.includes("xss()")), "errors");    // 34 errors
""", plain, json.dumps(good), json.dumps(bad))
    assert browser.executed() == 0
    assert browser.complaints() == []


def test_in_the_log_and_the_sample(browser, hostile):
    browser.go("log")
    browser.wait(lambda: "xss()" in browser.text(), "a name in the log")     # 35 lines of the log
    browser.go("sample")
    browser.fill("Which", "publish.#")
    browser.press("Start")
    browser.wait_text("ends by itself")
    connection = hostile.connect()
    connection.open(user="admin", password="secret")
    channel = connection.channel()
    for name in NAMES:
        channel.publish(name, name, name.encode(), type=name, headers={name: name})
    places.run(browser, """
for (const name of given[0]) await shows(".samples summary", name);         // 36 keys of a sample
all(".samples summary").forEach((at) => at.click());
for (const name of given[0]) await wait(() => texts(".samples pre").includes(name), name);   // 37 bodies
""", NAMES)
    browser.press("Stop")
    browser.wait_text("It has ended")
    connection.close()
    assert browser.executed() == 0
    assert browser.complaints() == []


def test_as_the_name_that_signs_in(chromium, hostile):
    """38: who is signed in."""
    name = NAMES[0]
    hostile.api.call("PUT", f"/api/users/{part(name)}", {"password": "secret", "tags": "monitoring"})
    chromium.driver.delete_all_cookies()
    chromium.sign_in(hostile.http, name)
    chromium.wait(lambda: name in chromium.text(), "the name")
    assert chromium.executed() == 0
    assert chromium.complaints() == []


def test_a_certificates_subject_is_text(chromium, tmp_path):
    """39: the distinguished name that a client shows over TLS."""
    authority = certs.Authority(tmp_path / "ca")
    certificate, key = authority.issue_server()
    hostiles = [name for name in NAMES if "<" in name and len(name) <= 60][:8]
    (tmp_path / "pw").write_text("secret")
    (tmp_path / "pw").chmod(0o600)
    users = "".join(f"  {json.dumps(name)}: {{auth: cert, rights: "
                    '{configure: ".*", write: ".*", read: ".*"}}\n' for name in hostiles)
    (tmp_path / "bourse.yaml").write_text(f"""bourse: 1
users:
  admin: {{auth: password, password-file: pw, role: admin}}
{users}listeners:
  amqps:
    bind: "127.0.0.1:0"
    tls: {{certificate: {certificate}, key: {key}, client-ca: {authority.certificate},
          client-cert: require}}
  http: {{bind: "127.0.0.1:0"}}
""")
    with brokers.Bourse(tmp_path / "bourse.yaml", listen=(), options=["--http", "127.0.0.1:0"]) as running, \
            contextlib.ExitStack() as stack:
        for number, name in enumerate(hostiles):
            subject = "/CN=" + name.replace("\\", "\\\\").replace("/", "\\/")
            context = authority.client_context(authority.issue(f"client{number}", subject=subject))
            connection = running.connect(tls=context)
            connection.open(mechanism="EXTERNAL", response=b"")
            stack.callback(connection.close)
        chromium.driver.delete_all_cookies()
        chromium.sign_in(running.addresses["http"][0])
        chromium.go("connections")
        places.run(chromium, """
for (const name of given[0]) await shows(".vbody .cell.w1 small", name.replaceAll("\\\\", "\\\\\\\\"));
""", hostiles)
        assert chromium.executed() == 0
        assert chromium.complaints() == []


def test_an_answer_that_lies_about_its_kind_is_not_run(browser, broker):
    """A refusal repeats the name that was asked for: as JSON, which no browser sniffs."""
    url = f"{browser.base}/api/queues/%2F/{part('<script>xss()</script>')}"
    browser.driver.get(url)
    assert browser.executed() == 0
    browser.driver.get(browser.base + "/")
