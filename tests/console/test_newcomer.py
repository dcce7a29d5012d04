# SPDX-License-Identifier: Apache-2.0
"""Somebody who knows nothing but the console, and follows what it says: from signing in to the queue
that is stuck, to why it is, to what died of it, and to the button that sends that back. Everything is
found by its visible text, and nothing is typed into the address."""

import pytest


@pytest.fixture
def trouble(broker, channel):
    """A consumer rejected thirty orders and went away; two hundred more have come since."""
    broker.api.queue("failed-orders")
    broker.api.queue("orders", **{"x-dead-letter-exchange": "",
                                  "x-dead-letter-routing-key": "failed-orders"})
    for number in range(230):
        channel.publish("", "orders", b'{"order": %d}' % number, message_id=f"o-{number}")
    channel.wait_for_counts("orders", 230, 0)
    for _ in range(30):
        channel.reject(channel.get("orders", no_ack=False).delivery_tag, requeue=False)
    channel.wait_for_counts("failed-orders", 30, 0)
    yield broker
    for name in ("orders", "failed-orders"):
        channel.delete(name)


def test_a_newcomer_finds_the_stuck_queue_its_cause_and_the_replay_button(chromium, trouble):
    chromium.driver.delete_all_cookies()
    chromium.sign_in(trouble.http)

    # At a glance: something is wrong, and what.
    chromium.wait_text("attention.")
    item = "//h2[.='Needs attention']/following::li[contains(., 'orders') and contains(., '200 messages')]"
    assert "nobody takes them" in chromium.text_of(item)
    chromium.press("Look at the queue", item)

    # Why, in words, and what to do.
    chromium.wait_text("Why: it has no consumer")
    chromium.wait_text("start its consumer")
    assert "Nobody consumes from this queue." in chromium.text()
    chromium.wait_text("Died here since the broker started: 30 rejected.")

    # What died, and sending it back.
    chromium.press("See these dead letters")
    chromium.wait_text("30 ×")
    assert "From queue" in chromium.text() and "rejected" in chromium.text()
    chromium.press("Replay…", "//li[contains(., '30 ×')]")
    chromium.press("Dry run", "//dialog")
    chromium.wait_text("30 to orders")
    chromium.press("Replay", "//dialog")
    chromium.wait_text("30 of 30 replayed")
    assert trouble.api.call("GET", "/api/queues/%2F/orders")["messages"] == 230


def test_dead_letters_are_one_step_from_the_overview(chromium, trouble):
    chromium.driver.delete_all_cookies()
    chromium.sign_in(trouble.http)
    chromium.press("Triage and replay", "//li[contains(., 'failed-orders')]")
    chromium.wait_text("×")
    assert chromium.has("//button[.='Replay…']")


# What needs attention, the page that its button leads to, and what ends it.
def test_each_way_from_the_overview_leads_where_the_trouble_ends(browser, broker, channel):
    broker.api.queue("left-over")
    channel.publish("", "left-over", b"x")
    channel.call("exchange.declare", exchange="leads-nowhere", type="direct")
    channel.publish("leads-nowhere", "lost", b"x")
    broker.api.queue("held")
    channel.publish("", "held", b"x")
    broker.api.call("POST", "/api/bourse/queues/%2F/held/pause", {"note": ""})
    broker.api.queue("letters")
    broker.api.queue("dying", **{"x-dead-letter-exchange": "", "x-dead-letter-routing-key": "letters",
                                 "x-message-ttl": 1})
    channel.publish("", "dying", b"x")
    channel.wait_for_counts("letters", 1, 0)

    def leads(item, button, shows):
        browser.go()
        browser.press(button, f"//ul[@class='needs']/li[contains(., '{item}')]")
        browser.wait_text(shows)

    def ends(item):
        browser.go()
        browser.wait_text("Needs attention")
        browser.wait(lambda: not browser.has(f"//ul[@class='needs']/li[contains(., '{item}')]"), f"no {item}")

    leads("exchange leads-nowhere", "Explain a route", "It arrives nowhere.")
    leads("held", "Look at the queue", "Why: an operator has paused it")
    browser.press("Resume")
    browser.press("Resume", "//dialog")
    browser.wait_text("delivered again")
    leads("held", "Look at the queue", "Why: it has no consumer")
    channel.consume("held", no_ack=True)
    ends("held")
    leads("left-over", "Look at the queue", "Why: it has no consumer")
    browser.press("Purge")
    browser.fill("Type left-over", "left-over")
    browser.press("Purge", "//dialog")
    ends("left-over")
    leads("letters", "Triage and replay", "1 ×")
    browser.press("Drop…", "//li")
    browser.fill("Why", "a test")
    browser.fill("Type letters", "letters")
    browser.press("Drop", "//dialog")
    browser.wait_text("1 of 1 dropped")
    ends("letters")
