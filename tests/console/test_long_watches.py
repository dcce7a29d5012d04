# SPDX-License-Identifier: Apache-2.0
"""Somebody has a page open while things change below it: numbers, the session, the broker, the page
before. What was begun on it is kept, and what it shows is said to be old when it is."""

import pytest
from selenium.webdriver.common.keys import Keys

from console import places
from console.test_pace import LISTEN
from support import broker as brokers

# Timers of more than half a minute go off when they are told to.
PATIENCE = """
window.patient = [];
const later = window.setTimeout;
window.setTimeout = (action, ms, ...more) => {
  if (ms > 30000) { window.patient.push(action); return -window.patient.length; }
  return later(action, ms, ...more);
};
const forget = window.clearTimeout;
window.clearTimeout = (id) => { if (id < 0) window.patient[-id - 1] = null; else forget(id); };
"""


# Says to the page what the broker would; that is heard no more.
TELL = """
const stream = await wait(() => window.streams.at(-1)?.said.w1 && window.streams.at(-1), "a stream");
const tell = (kind, value) => {
  stream.close();
  stream.dispatchEvent(new MessageEvent(kind, { data: JSON.stringify(value) }));
};
"""


@pytest.fixture
def listening(chromium, broker):
    scripts = [chromium.driver.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": source})
               for source in (LISTEN, PATIENCE)]
    chromium.driver.delete_all_cookies()
    chromium.sign_in(broker.http)
    yield chromium
    for script in scripts:
        chromium.driver.execute_cdp_cmd("Page.removeScriptToEvaluateOnNewDocument", script)


# Each second the rows were made anew: a click whose button was down by then went nowhere, and a name
# that was about to be copied was selected no more.
@pytest.mark.parametrize("page, row, number", [
    ("", "//li[.//a[.='watched']]", "//strong[starts-with(., '{} messages')]"),
    ("queues", "//*[@role='row'][.//a[.='watched']]", "//*[@role='cell'][3][starts-with(., '{} ')]"),
    ("dead-letters", "//tr[.//a[.='watched']]", "//td[2][.='{}']")])
def test_a_link_stays_the_same_while_numbers_change_around_it(browser, broker, channel, page, row, number):
    broker.api.queue("watched")
    channel.call("queue.purge", queue="watched")
    if page == "dead-letters":
        broker.api.queue("source", **{"x-dead-letter-exchange": "", "x-dead-letter-routing-key": "watched"})
    channel.publish("", "watched", b"x")
    channel.publish("", "watched", b"x")
    browser.go(page)
    browser.find(row + number.format(2))
    link = browser.find(row + "//a[.='watched']")
    browser.driver.execute_script("getSelection().selectAllChildren(arguments[0])", link)
    channel.publish("", "watched", b"x")
    browser.find(row + number.format(3))
    assert browser.driver.execute_script("return arguments[0].isConnected", link)
    assert browser.driver.execute_script("return getSelection().toString()") == "watched"


def test_a_dialog_goes_with_the_page_that_it_belongs_to(browser, broker):
    broker.api.queue("asked-about")
    browser.go("queues")
    browser.wait_text("asked-about")
    browser.press("asked-about")
    browser.press("Purge")
    browser.wait_text("Purge this queue?")
    browser.driver.back()
    browser.find("//input[@type='search']")
    browser.wait_gone("Purge this queue?")


# A dialog that stayed had the keyboard, and nobody could sign in below it.
def test_who_has_to_sign_in_again_can_though_a_dialog_was_open(browser, broker):
    broker.api.queue("asked-about")
    browser.go("queue/%2F/asked-about")
    browser.press("Purge")
    browser.wait_text("Purge this queue?")
    browser.driver.delete_all_cookies()
    browser.fill("Type asked-about", "asked-about")
    browser.press("Purge", "//dialog")
    browser.wait_text("Your session is over. Sign in again.")
    browser.key("admin" + Keys.TAB + "secret" + Keys.ENTER)
    browser.wait_text("Settings, and where they come from")  # the page that was left


# Behind a dialog nothing is read out and nothing can be clicked.
def test_what_goes_wrong_in_a_dialog_is_told_in_it(browser, broker):
    broker.api.queue("gone-soon")
    browser.go("queue/%2F/gone-soon")
    browser.press("Purge")
    browser.fill("Type gone-soon", "gone-soon")
    broker.api.call("DELETE", "/api/queues/%2F/gone-soon")
    browser.press("Purge", "//dialog")
    browser.find("//dialog//*[@role='alert'][contains(., 'no queue')]")
    browser.click("//dialog//*[@role='alert']//button")
    browser.press("Cancel", "//dialog")


def test_a_queue_that_was_deleted_meanwhile_has_no_buttons_left(browser, broker):
    broker.api.queue("short-lived")
    browser.go("queue/%2F/short-lived")
    browser.wait_text("Messages ready")
    broker.api.call("DELETE", "/api/queues/%2F/short-lived")
    browser.wait_text("There is no such queue.")
    assert not browser.has("//button[.='Purge']")
    broker.api.queue("short-lived")
    browser.find("//button[.='Purge']")


def test_a_connection_that_says_nothing_is_told_and_begun_anew(listening):
    listening.wait_text("Needs attention")
    places.run(listening, """
const [stream] = window.streams;
await wait(() => window.patient.some(Boolean), "patience");
window.patient.findLast(Boolean)();
await shows("#live", "No connection: what you see is old");
await wait(() => window.streams.length === 1 && window.streams[0] !== stream, "another stream");
await wait(() => texts("#live")[0] === "", "it to be live again");
""")


# The streams' ends were not looked at: the list that was left began to watch again.
def test_a_list_that_is_left_while_it_settles_begins_nothing(listening, broker):
    for number in range(150):
        broker.api.queue(f"settles-{number:03}")
    listening.go("queues?sort=name")
    places.run(listening, """
const view = await wait(() => document.querySelector(".vview"), "a list");
await shows(".vbody a", "settles-1");
view.scrollTop = 150 * 40;
await wait(() => window.streams.at(-1)?.url.includes("page%3D2"), "the second page");
view.scrollTop -= 40;
await new Promise(requestAnimationFrame);
go("settings");
await shows("td", "server.threads");
await sleep(300);
if (window.streams.length > 0) throw new Error(`${window.streams.length} streams are open`);
""")
    for number in range(150):
        broker.api.call("DELETE", f"/api/queues/%2F/settles-{number:03}")


def test_a_filter_that_is_taken_back_at_once_leaves_the_rows(listening, broker):
    broker.api.queue("still-here")
    listening.go("queues?sort=name")
    places.run(listening, """
await shows(".vbody a", "still-here");
window.streams.at(-1).close();  // as if nothing had changed since
document.querySelector("input[type=search]").dispatchEvent(new Event("input"));
await sleep(250);
await shows(".vbody a", "still-here");
""")


def test_a_list_that_has_become_short_is_shown_from_its_beginning(listening, broker):
    broker.api.queue("a-first-one")
    for number in range(250):
        broker.api.queue(f"fades-{number:03}")
    listening.go("queues?sort=name")
    places.run(listening, """
const view = await wait(() => document.querySelector(".vview"), "a list");
await wait(() => view.scrollHeight > 10000, "its length");
view.scrollTop = view.scrollHeight;
await shows(".vbody a", "a-first-one");
""")
    for number in range(250):
        broker.api.call("DELETE", f"/api/queues/%2F/fades-{number:03}")
    listening.wait_gone("fades-")
    listening.wait_gone("page_out_of_range")
    listening.wait_text("a-first-one")


# Points of half a minute and those of each second stood side by side as if they were of the same time.
def test_the_chart_of_an_hour_is_drawn_by_time(listening, broker):
    broker.api.queue("charted")
    listening.go("queue/%2F/charted")
    listening.wait_text("Messages ready")
    points = places_of_line(listening, """
const now = JSON.parse(stream.said.w1).checked_ms + 1000;
tell("w3", { points: [
  { at_ms: now - 3600000, ready: 0 }, { at_ms: now - 3570000, ready: 50 },
  { at_ms: now - 1800000, ready: 100 }] });
tell("w1", { checked_ms: now, items: [] });
await shows(".axis", "1 h 0 min ago");
""")
    assert [at for at, _ in points] == pytest.approx([0, 5, 300, 599.8, 600], abs=0.3)
    heights = [height for _, height in points]
    assert heights[0] > heights[1] > heights[2]


def places_of_line(browser, script):
    places.run(browser, TELL + script)
    line = browser.driver.execute_script("return document.querySelector('polyline.c1').getAttribute('points')")
    return [tuple(float(each) for each in point.split(",")) for point in line.split()]


# It was asked for once, when the page was opened.
def test_drift_and_the_disk_are_told_while_the_overview_is_open(listening):
    listening.wait_text("Disk free")
    places.run(listening, TELL + """
await wait(() => stream.said.w5, "the node");
const [node] = JSON.parse(stream.said.w5);
tell("w5", [{ ...node, disk_free: 5 * 1024 ** 3 }]);
await shows(".tile", "5.0 GiB");
tell("w1", { checked_ms: 1, items: [] });
await shows(".tile", "as the files say");
tell("w1", { checked_ms: 2, items: ["a", "b"].map((name) => ({ severity: "warning", value: 3, name,
  kind: "topology_drift", object: "vhost", vhost: name, what: "", why: "", action: "" })) });
await shows(".tile", "Drift6beside the files");
""")


def test_two_tabs_of_a_browser_have_the_same_user(browser, broker):
    browser.wait_text("Needs attention")
    first = browser.driver.current_window_handle
    browser.driver.switch_to.new_window("tab")
    try:
        browser.driver.get(browser.base + "/")
        browser.press("Sign out")
        browser.sign_in(broker.http, "monitor")
        browser.driver.switch_to.window(first)
        browser.wait(lambda: browser.text_of("//*[@class='name']") == "monitor", "the other user")
        assert not browser.has("//nav/a[.='Users']")
    finally:
        for handle in browser.driver.window_handles:
            if handle != first:
                browser.driver.switch_to.window(handle)
                browser.driver.close()
        browser.driver.switch_to.window(first)


# A browser sends a cookie to every port of a machine.
def test_two_brokers_on_one_machine_have_a_session_each(browser, broker):
    with brokers.Bourse(options=["--http", "127.0.0.1:0"]) as other:
        browser.wait_text("Needs attention")
        mine = browser.base
        browser.sign_in(other.addresses["http"][0], "guest", "guest")
        browser.driver.get(mine + "/")
        browser.wait(lambda: browser.text_of("//*[@class='name']") == "admin", "the first session")


@pytest.mark.parametrize("page", ["", "queues", "log"])
def test_a_broker_that_went_away_is_told_in_words(chromium, page):
    running = brokers.Bourse(options=["--http", "127.0.0.1:0"])
    chromium.driver.delete_all_cookies()
    chromium.sign_in(running.addresses["http"][0], "guest", "guest")
    chromium.go(page)
    chromium.wait(lambda: chromium.driver.find_elements("css selector", "nav a[aria-current]")
                  [0].get_attribute("href").endswith(f"#/{page}"), page)
    assert "No connection" not in chromium.text()
    running.stop()
    chromium.wait_text("No connection: what you see is old")
    # The session may be there when the broker is again.
    chromium.press("Sign out")
    chromium.wait_text("The broker does not answer.")
    assert chromium.has("//nav")
    chromium.driver.get("about:blank")
    chromium.driver.get_log("browser")


def test_after_a_restart_who_signs_in_again_is_where_he_was(chromium, tmp_path):
    address = f"127.0.0.1:{brokers.free_port()}"
    options = ["--http", address]
    running = brokers.Bourse(options=options, data_dir=tmp_path / "data")
    chromium.driver.delete_all_cookies()
    chromium.sign_in(running.addresses["http"][0], "guest", "guest")
    chromium.go("connections")
    chromium.wait_text("Nobody is connected.")
    running.stop()
    chromium.wait_text("No connection: what you see is old")
    with brokers.Bourse(options=options, data_dir=tmp_path / "data"):
        chromium.wait_text("Your session is over. Sign in again.")
        chromium.fill("Name", "guest")
        chromium.fill("Password", "guest" + Keys.ENTER)
        chromium.wait_text("Nobody is connected.")
        chromium.wait_gone("No connection")
    chromium.driver.get("about:blank")
    chromium.driver.get_log("browser")
