# SPDX-License-Identifier: Apache-2.0
"""What an operator does in the console, with a browser and a real broker."""

from selenium.webdriver.common.keys import Keys

TOPOLOGY = """queues:
  kept:
    ttl: 1h
    limits: {max-length: 5}
policies:
  short:
    pattern: ^kept$
    definition: {expires: 6000000}
"""


def test_a_wrong_password_is_told_and_the_right_one_leads_to_the_overview(chromium, broker):
    chromium.driver.delete_all_cookies()
    chromium.driver.get(f"http://{broker.http[0]}:{broker.http[1]}/")
    chromium.fill("Name", "admin")
    chromium.fill("Password", "wrong" + Keys.ENTER)
    chromium.wait_text("Login failed")
    chromium.sign_in(broker.http)
    chromium.wait_text("All is well")
    assert "memory" in chromium.text().lower()


def test_a_session_outlives_a_reload_and_ends_with_signing_out(browser):
    browser.driver.refresh()
    browser.wait_text("Needs attention")
    cookie = browser.driver.get_cookies()[0]
    assert cookie["httpOnly"] and cookie["sameSite"] == "Strict"
    assert "secret" not in cookie["value"]
    browser.press("Sign out")
    browser.wait_text("Password")
    browser.driver.refresh()
    browser.wait_text("Password")


def test_a_queue_that_grows_without_a_consumer_is_named_as_needing_attention(browser, broker, channel):
    broker.api.queue("left-alone")
    browser.go()
    browser.wait_text("Needs attention")
    assert "left-alone" not in browser.text()
    for number in range(200):
        channel.publish("", "left-alone", b"%d" % number)
    browser.wait_text("left-alone")
    browser.wait_text("200 messages")
    text = browser.text()
    assert "200" in text
    assert "consume" in text
    browser.press("left-alone")
    browser.wait_text("Settings, and where they come from")
    browser.wait_text("no consumer")


def test_a_queue_is_found_by_a_part_of_its_name_and_sorted(browser, broker):
    for name in ("alpha-one", "alpha-two", "beta"):
        broker.api.queue(name)
    browser.go("queues")
    browser.wait_text("beta")
    browser.on("//input[@type='search']", lambda at: at.send_keys("alpha"))
    browser.wait_gone("beta")
    browser.press("Queue")
    browser.wait(lambda: [at.text for at in browser.driver.find_elements(
        "css selector", ".vbody a")] == ["alpha-one", "alpha-two"], "their order")


def test_a_message_is_looked_at_without_being_touched(browser, broker, channel):
    broker.api.queue("looked-at")
    channel.publish("", "looked-at", b'{"order": 7}', headers={})
    browser.go("queue/%2F/looked-at")
    browser.press("Look")
    browser.click("//summary[contains(., 'looked-at')]")
    browser.press("JSON")
    browser.wait_text('"order": 7')
    assert not channel.get("looked-at").redelivered


def test_a_queue_is_paused_resumed_and_purged_with_its_name_typed(browser, broker, channel):
    broker.api.queue("handled")
    channel.publish("", "handled", b"x")
    browser.go("queue/%2F/handled")
    browser.press("Pause")
    browser.fill("Note", "incident 7")
    browser.press("Pause", "//dialog")
    browser.wait_text("The queue is paused.")
    browser.press("Resume")
    browser.press("Resume", "//dialog")
    browser.wait_text("delivered again")
    browser.press("Purge")
    assert not browser.on("//dialog//button[.='Purge']", lambda at: at.is_enabled())
    browser.fill("Type handled", "handled")
    browser.press("Purge", "//dialog")
    browser.wait_text("The queue was purged.")
    assert broker.api.call("GET", "/api/queues/%2F/handled")["messages"] == 0


# A browser leaves "." and ".." out of a path, however they are written: to purge the queue "." was to
# delete the queue "contents".
def test_a_name_that_no_path_of_a_browser_can_have_is_not_asked_about(browser, broker, channel):
    broker.api.queue("contents")
    channel.call("queue.declare", queue=".", durable=True)
    channel.publish("", ".", b"x")
    browser.go("queue/%2F/.")
    browser.press("Purge")
    browser.fill("Type .", ".")
    browser.press("Purge", "//dialog")
    browser.wait_text("on the command line")
    assert broker.api.call("GET", "/api/queues/%2F/contents")["name"] == "contents"
    browser.press("Cancel", "//dialog")
    channel.call("queue.delete", queue=".")


def test_four_thousand_dead_letters_are_triaged_and_replayed(browser, broker, channel):
    broker.api.queue("dead")
    broker.api.queue("orders", **{"x-dead-letter-exchange": "", "x-dead-letter-routing-key": "dead"})
    for number in range(4000):
        channel.publish("", "orders", b"%d" % number)
    channel.wait_for_counts("orders", 4000, 0)
    channel.consume("orders", no_ack=False)
    last = channel.deliveries(4000)[-1]
    channel.nack(last.delivery_tag, multiple=True, requeue=False)
    channel.wait_for_counts("dead", 4000, 0)
    channel.close()

    browser.go("dead-letters")
    browser.press("Triage", "//tr[contains(., 'dead')]")
    browser.wait_text("4000 ×")
    browser.wait_text("rejected")
    browser.press("Sample")
    browser.wait_text("Died because")
    browser.press("Close", "//dialog")
    browser.press("Replay…", "//li")
    browser.press("Dry run", "//dialog")
    browser.wait_text("4000 of 4000 would go")
    browser.fill("Note", "mended")
    browser.press("Replay", "//dialog")
    browser.wait_text("4000 of 4000 replayed")
    browser.wait_text("There is nothing here.")
    assert broker.api.call("GET", "/api/queues/%2F/orders")["messages"] == 4000
    browser.go("audit")
    browser.wait_text("mended")


# The group of messages without a reason, error class or origin was shown with a filter that leaves
# these out: it meant every message of that key, whatever it died of.
def test_a_group_without_a_reason_is_no_more_than_that_group(browser, broker, channel):
    broker.api.queue("mixed")
    broker.api.queue("tasks", **{"x-dead-letter-exchange": "", "x-dead-letter-routing-key": "mixed",
                                 "x-message-ttl": 1})
    channel.publish("", "mixed", b"nobody knows why")
    channel.publish("", "tasks", b"expired")
    channel.wait_for_counts("mixed", 2, 0)
    browser.go("dead-letters/%2F/mixed")
    browser.wait_text("in 2 groups")
    href = browser.on("//li[contains(., 'unknown')]//a[.='Export']", lambda at: at.get_attribute("href"))
    path = href[href.index("/api/"):]
    assert broker.api.call("GET", path)["payload"] == "nobody knows why"  # one line
    browser.press("Drop…", "//li[contains(., 'unknown')]")
    browser.fill("Type mixed", "mixed")
    assert browser.on("//dialog//button[.='Drop']", lambda at: not at.is_enabled()), "without a note"
    browser.fill("Why", "nobody asked")
    browser.press("Drop", "//dialog")
    browser.wait_text("1 of 2 dropped")
    assert broker.api.call("GET", "/api/queues/%2F/mixed")["messages"] == 1


def test_a_route_is_explained_with_the_reasons_of_those_that_do_not_match(browser, broker, channel):
    broker.api.queue("eu")
    broker.api.queue("us")
    channel.call("exchange.declare", exchange="by-region", type="topic")
    channel.bind("eu", "by-region", "order.eu.#")
    channel.bind("us", "by-region", "order.us.#")
    browser.go("routes")
    browser.fill("Exchange", "by-region")
    browser.fill("Routing key", "order.eu.placed")
    browser.press("Explain")
    browser.wait_text("It arrives in 1 queue.")
    browser.click("//summary[contains(., 'Not matching')]")
    browser.wait_text("order.us.#")


def test_a_plan_is_shown_before_it_is_applied(browser, broker):
    browser.go("plan")
    browser.field("Topology").send_keys("bourse: 1\nvhost: planning\nqueues:\n  planned: {}\n")
    browser.press("Plan")
    browser.wait_text("planned")
    assert not any(at["name"] == "planned" for at in broker.api.call("GET", "/api/queues"))
    browser.press("Apply")
    browser.wait_text("Applied: generation")
    assert any(at["name"] == "planned" for at in broker.api.call("GET", "/api/queues"))


def test_who_may_only_look_sees_no_button_that_changes(chromium, broker):
    broker.api.queue("seen")
    chromium.driver.delete_all_cookies()
    chromium.sign_in(broker.http, "monitor")
    chromium.go("queue/%2F/seen")
    chromium.wait_text("Settings")
    for text in ("Purge", "Pause", "Look", "Triage and replay"):
        assert not chromium.has(f"//button[.='{text}'] | //a[.='{text}']"), text
    assert not chromium.has("//nav/a[.='Dead letters']")
    assert not chromium.has("//nav/a[.='Users']")


def test_it_is_used_without_a_mouse(browser, broker):
    broker.api.queue("keyed")
    browser.go("queues")
    browser.wait_text("keyed")
    search = browser.find("//input[@type='search']")
    search.send_keys("keyed")
    browser.wait(lambda: len(browser.driver.find_elements("css selector", ".vbody a")) == 1, "one row")
    for _ in range(20):
        browser.key(Keys.TAB)
        if browser.driver.execute_script("return document.activeElement.textContent") == "keyed":
            break
    browser.key(Keys.ENTER)
    browser.wait_text("Settings, and where they come from")


def tab_to(browser, text):
    """With Tab alone, to what says so; the focus is seen on the way."""
    for _ in range(60):
        browser.key(Keys.TAB)
        found, outline = browser.driver.execute_script("const at = document.activeElement;"
            "return [at.textContent, getComputedStyle(at).outlineStyle]")
        if found == text:
            assert outline != "none"
            return
    raise AssertionError(f"Tab does not come to {text!r}")


def test_the_focus_stays_where_numbers_change(browser, broker, channel):
    broker.api.queue("changing")
    channel.publish("", "changing", b"x")
    channel.publish("", "changing", b"x")
    browser.go()
    for text, more in (("changing", 3), ("Look at the queue", 4)):
        browser.wait_text(f"changing: {more - 1} messages")
        path = f"//li[contains(., 'changing')]//a[.='{text}']"
        browser.on(path, lambda at: browser.driver.execute_script("arguments[0].focus()", at))
        channel.publish("", "changing", b"x")
        browser.wait_text(f"changing: {more} messages")
        assert browser.driver.execute_script("return document.activeElement.textContent") == text


def test_a_queue_is_paused_from_the_overview_with_keys_alone(browser, broker, channel):
    broker.api.queue("keys")
    channel.publish("", "keys", b"x")
    browser.go()
    browser.wait_text("keys: 1 message")
    browser.driver.execute_script("document.activeElement.blur()")
    tab_to(browser, "Skip to content")
    browser.key(Keys.ENTER)
    tab_to(browser, "keys")
    browser.key(Keys.ENTER)
    browser.wait_text("Settings, and where they come from")
    tab_to(browser, "Purge")
    browser.key(Keys.ENTER)
    browser.wait_text("Purge this queue?")
    browser.key(Keys.ESCAPE)
    browser.wait_gone("Purge this queue?")
    assert browser.driver.execute_script("return document.activeElement.textContent") == "Purge"
    tab_to(browser, "Triage and replay")
    browser.key(Keys.SHIFT, Keys.TAB)
    browser.key(Keys.SHIFT, Keys.TAB)
    browser.key(Keys.ENTER)
    browser.wait_text("Pause this queue?")
    browser.key("by keys" + Keys.TAB + Keys.TAB + Keys.ENTER)
    browser.wait_text("The queue is paused.")


def test_it_works_where_events_do_not_come(browser, broker, channel):
    broker.api.queue("polled")
    browser.driver.get(f"{browser.base}/?poll#/queue/%2F/polled")
    browser.wait_text("idle")
    channel.publish("", "polled", b"x")
    browser.wait_text("no consumer")


def test_a_session_ends_when_its_user_changes(browser, broker):
    browser.go()
    browser.wait_text("Needs attention")
    text = open(broker.config).read()
    with open(broker.config, "w", encoding="utf-8") as file:
        file.write(text.replace("role: admin", "role: monitor"))
    broker.reload()
    browser.wait_text("Sign in")
    with open(broker.config, "w", encoding="utf-8") as file:
        file.write(text)
    broker.reload()
    browser.sign_in(broker.http)


def test_a_setting_is_shown_with_the_line_that_says_so(browser, broker):
    browser.go("queue/%2F/kept")
    browser.wait_text("shop.yaml, line 15")
    rows = {row.text.split()[0]: row.text
            for row in browser.driver.find_elements("css selector", "tbody tr")}
    assert "shop.yaml, line 15" in rows["x-message-ttl"]
    assert "shop.yaml, line 16" in rows["x-max-length"]
    assert "policy short (shop.yaml, line 20)" in rows["expires"]
    browser.go("settings")
    browser.wait_text("server.data-dir")
    rows = {row.text.split()[0]: row.text
            for row in browser.driver.find_elements("css selector", "tbody tr")}
    assert "command line" in rows["server.data-dir"]
    assert "default" in rows["server.frame-max"]
    assert "shop.yaml, line 11" in rows["listeners.amqp"]


def test_the_log_is_shown_as_it_is_written(browser, broker):
    broker.api.queue("logged")
    browser.go("log")
    for action in ("pause", "resume"):
        broker.api.call("POST", f"/api/bourse/queues/%2F/logged/{action}", {"note": f"to {action} it"})
        browser.wait_text(f"audit.{action}")
    browser.on("//input[@type='search']", lambda at: at.send_keys("to pause"))
    browser.wait_gone("audit.resume")
    browser.wait_text("to pause it")


def test_a_sample_shows_what_goes_by_and_leaves_nothing_behind(browser, broker, channel):
    broker.api.queue("watched")
    browser.go("sample")
    browser.press("Start")
    browser.wait_text("ends by itself")
    assert broker.api.call("GET", "/api/bourse/vhosts/%2F/tracing")["tracing"]
    channel.publish("", "watched", b"see me")
    browser.click("//summary[contains(., 'watched')]")
    browser.wait_text("see me")
    browser.go("")
    browser.wait_text("Needs attention")
    browser.wait(lambda: not broker.api.call("GET", "/api/bourse/vhosts/%2F/tracing")["tracing"], "its end")
    browser.wait(lambda: not any("sample" in at["name"] for at in broker.api.call("GET", "/api/queues")),
                 "no queue of it")


def test_tracing_that_was_left_on_is_told_and_switched_off(browser, broker):
    broker.api.call("POST", "/api/bourse/vhosts/%2F/tracing", {"tracing": True})
    browser.go("sample")
    browser.press("Switch off")
    browser.wait_gone("Tracing of /")
    assert not broker.api.call("GET", "/api/bourse/vhosts/%2F/tracing")["tracing"]


def test_a_line_of_the_topology_is_as_wide_as_its_rate(browser, broker, channel):
    for name in ("fast", "slow"):
        broker.api.queue(name)
        channel.call("exchange.declare", exchange=f"to-{name}", type="fanout")
        channel.bind(name, f"to-{name}", "")
    browser.go("graph")
    browser.wait_text("to-fast")

    def rates_are_there():
        for _ in range(200):
            channel.publish("to-fast", "", b"x")
        channel.publish("to-slow", "", b"x")
        return browser.driver.execute_script("""
            const width = (name) => { const line = [...document.querySelectorAll(".edge")].find((at) =>
              at.textContent.startsWith(name)); return line.classList.contains("busy") &&
              Number(line.getAttribute("stroke-width")); };
            return [width("to-fast"), width("to-slow")];""")
    fast, slow = browser.wait(lambda: all(rates_are_there()) and rates_are_there(), "rates")
    assert fast > slow + 0.5
    assert "/s" in browser.text()


def test_the_overview_tells_flushes_and_the_days_dead_letters(browser, broker, channel):
    channel.call("confirm.select")
    broker.api.queue("written")
    browser.go()
    browser.wait(lambda: channel.publish("", "written", b"x", delivery_mode=2) or "≤" in browser.text(),
                 "the time of a flush")
    text = browser.text()
    assert "Flush p99" in text
    browser.wait_text(" in ")  # dead letters against before
