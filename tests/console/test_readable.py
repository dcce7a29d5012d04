# SPDX-License-Identifier: Apache-2.0
"""What the console makes of numbers, expressions, bodies and pictures for somebody to read."""

import pytest

from console import places

TOPOLOGY = """exchanges:
  orders: {type: topic}
  order.eu: {}
queues:
  stock-1: {from: [{exchange: orders, key: "order.#"}]}
  billing: {}
"""
USERS = """
  billing-service: {auth: password, password-file: pw, publish: [orders, order.eu],
                    consume: [billing, "stock*"], topics: {orders: ["order.eu.#"]}}
listeners:"""


@pytest.fixture(scope="module", autouse=True)
def client(broker):
    text = broker.config.read_text(encoding="utf-8")
    broker.config.write_text(text.replace("\nlisteners:", USERS), encoding="utf-8")
    broker.reload()


def of_module(browser, module, expression):
    """What the expression is where `m` is that module."""
    browser.driver.set_script_timeout(20)
    return browser.driver.execute_async_script("""
const [module, expression, done] = arguments;
import(new URL(module, document.querySelector("script[type=module]").src)).then((m) =>
  done(EXPRESSION)).catch((error) => done(String(error)));
""".replace("EXPRESSION", expression), module, expression)


@pytest.mark.parametrize("expression, text", [
    ("m.count(0)", "0"), ("m.count(9999)", "9999"), ("m.count(10000)", "10.0 k"), ("m.count(1e12)", "1.0 T"),
    ("m.count(null)", "–"), ("m.plural(1, 'message')", "1 message"), ("m.rate(0.04)", "0.0/s"),
    ("m.rate(0)", "0/s"), ("m.octets(0)", "0 B"), ("m.octets(1023)", "1023 B"), ("m.octets(2 ** 40)", "1.0 TiB"),
    ("m.span(0)", "0 ms"), ("m.span(-5000)", "0 ms"), ("m.span(59600)", "1 min 0 s"),
    ("m.span(86400000 * 400)", "400 d 0 h"), ("m.time(null)", "–"),
    ("m.time(Date.UTC(2026, 0, 2, 3, 4, 5) + new Date(1767323045000).getTimezoneOffset() * 60000)",
     "2026-01-02 03:04:05"),
    # A clock that was put back, or stood still.
    ("m.sparkline([[5, 1], [5, 2]]).outerHTML.includes('NaN')", False),
    ("m.chart('x', [[5, 0]], m.count, 'c1').textContent", "x0 ms agotop: 0now")])
def test_numbers_at_their_edges_are_readable(browser, expression, text):
    assert of_module(browser, "dom.js", expression) == text


# To read a number is to lose what does not fit 53 bits: an order's id was shown as another one.
@pytest.mark.parametrize("body, shown", [
    ('{"id":12345678901234567890,"price":1.10}', '{\n  "id": 12345678901234567890,\n  "price": 1.10\n}'),
    ('{"a":[],"b":{},"c":[1,{"d":"x,\\"]:{ y"}]}',
     '{\n  "a": [],\n  "b": {},\n  "c": [\n    1,\n    {\n      "d": "x,\\"]:{ y"\n    }\n  ]\n}'),
    (' [ 1 ,\t2 ] ', "[\n  1,\n  2\n]"), ("7", "7"), ('{"a":', "This is no JSON, or not all of it.")])
def test_a_body_is_shown_as_json_without_another_number_in_it(browser, broker, channel, body, shown):
    broker.api.queue("bodies")
    channel.call("queue.purge", queue="bodies")
    channel.publish("", "bodies", body.encode())
    browser.go("queue/%2F/bodies")
    browser.press("Look")
    browser.click("//summary[contains(., 'bodies')]")
    browser.press("JSON")
    browser.wait(lambda: browser.driver.execute_script(
        "return [...document.querySelectorAll('details pre')].at(-1).textContent") == shown, shown)


def test_rights_are_told_in_plain_words_topics_included(browser, broker):
    broker.api.call("PUT", "/api/users/by-hand", {"password_hash": "", "tags": ""})
    # Begins with a, or ends with b: to say less than that would be wrong.
    broker.api.call("PUT", "/api/permissions/%2F/by-hand", {"configure": "^a|b$", "write": "^c", "read": ""})
    browser.go("users")
    browser.wait_text("may publish to orders, order.eu; consume from billing, what begins with stock; "
                      "create and delete nothing.")
    browser.wait_text("/: on orders with routing keys that match")
    browser.wait_text("may publish to what begins with c; consume from nothing; "
                      "create and delete what matches ^a|b$.")


# As many lines lay on each other as there were keys, with as many labels over other queues' names.
def test_bindings_between_the_same_two_are_one_line_with_all_their_keys(browser, broker, channel):
    for number in range(12):
        channel.bind("billing", "orders", f"order.eu.{number}")
    for number in range(9):
        channel.call("exchange.declare", exchange=f"also-{number}", type="fanout")
        channel.bind("billing", f"also-{number}", "")
    browser.go("graph")
    browser.wait_text("order.eu.0 · +11")
    lines = browser.driver.execute_script("return [...document.querySelectorAll('.edge title')]"
                                          ".map((at) => at.textContent)")
    [line] = [at for at in lines if at.startswith("orders to billing:")]
    assert all(f"order.eu.{number}" in line for number in range(12))
    labels = browser.driver.execute_script(
        "return [...document.querySelectorAll('.edge-key')].map((at) => at.getAttribute('y'))")
    assert len(labels) == len(set(labels)) == 5  # four beside a queue, and the other queue's
    assert browser.driver.execute_script(
        "return Number(document.querySelector('.node.exchange rect').getAttribute('y'))") < 60


def test_what_is_no_number_is_a_text_in_a_header(browser, broker):
    browser.go("routes?vhost=%2F&exchange=orders")
    browser.wait_text("It arrives")
    browser.fill("Headers", "code=007\nbig=12345678901234567890\nflag=true")
    places.run(browser, """
const asked = [];
const real = window.fetch;
window.fetch = (path, options) => { if (options.body) asked.push(options.body); return real(path, options); };
document.querySelector("form").requestSubmit();
await wait(() => asked.length > 0, "the question");
window.fetch = real;
const { headers } = JSON.parse(asked[0]);
if (headers.code !== "007" || headers.big !== "12345678901234567890" || headers.flag !== true) {
  throw new Error(asked[0]);
}
""")


@pytest.mark.parametrize("path", ["queue", "queue/%2F", "queue/%2F/a/b", "nothing"])
def test_an_address_that_leads_nowhere_says_so(browser, path):
    browser.go(path)
    browser.wait_text("There is no such page")
    assert "undefined" not in browser.driver.title


def test_queues_are_sorted_by_how_fast_they_grow(browser, broker, channel):
    for name in ("grows-fast", "grows-slowly", "rests"):
        broker.api.queue(name)
    browser.go("queues")
    browser.wait_text("rests")
    browser.press("Trend")

    def order():
        for _ in range(100):
            channel.publish("", "grows-fast", b"x")
        for _ in range(10):
            channel.publish("", "grows-slowly", b"x")
        names = [at.text for at in browser.driver.find_elements("css selector", ".vbody a")]
        return names[:2] == ["grows-fast", "grows-slowly"] and "+" in browser.text()
    browser.wait(order, "their order")


def test_who_leaves_while_a_sample_begins_leaves_no_tracing(browser, broker):
    browser.go("sample")
    places.run(browser, """
await press("Start");
go("settings");
""")
    browser.wait_text("server.threads")
    browser.wait(lambda: "trace.stopped" in broker.log.text(), "the end of tracing")
    assert not broker.api.call("GET", "/api/bourse/vhosts/%2F/tracing")["tracing"]


# What a client calls itself is what the list shows: the filter looked at addresses only.
def test_a_client_is_found_and_sorted_by_the_name_that_is_shown(browser, broker):
    clients = []
    for name in ("Zebra-Keeper", "ant-keeper"):
        clients.append(broker.connect())
        clients[-1].open(user="admin", password="secret", properties={"connection_name": name})
    browser.go("connections")
    browser.wait_text("Zebra-Keeper")

    def names():
        return [at.text.split()[0] for at in browser.driver.find_elements("css selector", ".vbody .wide")]
    browser.wait(lambda: names() == ["Zebra-Keeper", "ant-keeper"], "their order")
    browser.on("//input[@type='search']", lambda at: at.send_keys("zebra"))
    browser.wait(lambda: names() == ["Zebra-Keeper"], "the one")
    # With a name that tells it from the others, whoever hears it.
    assert browser.has("//button[starts-with(@aria-label, 'Close 127.0.0.1:')]")
    for client in clients:
        client.close()


def test_drift_is_shown_where_the_overview_sends_one(browser, broker):
    broker.api.queue("beside-the-files")
    browser.go("plan")
    browser.wait_text("What differs from what was applied")
    browser.wait_text("+ queue beside-the-files: made by admin")
